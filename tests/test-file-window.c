/* test-file-window.c - mappings of parts of a file
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test-util.h"
#include "zcio/zcio-file-window-private.h"
#include "zcio/zcio-syscalls-private.h"

#define MIB ((gsize) 1024 * 1024)

/* Of which the kernel makes folios of few pages. */
#define SMALL_PIECE ((gsize) 16 * 1024)

/* Two windows, the second shorter, and no multiple of a page */
#define FILE_SIZE (ZCIO_FILE_WINDOW_SIZE + 4 * MIB + 12345)

static int
make_file (gsize size)
{
  g_autofree char *path = NULL;
  g_autofree guint8 *data = g_malloc (SMALL_PIECE);
  g_autoptr (GError) error = NULL;
  int fd = g_file_open_tmp ("zcio-window-XXXXXX", &path, &error);

  g_assert_no_error (error);
  g_assert_cmpint (g_unlink (path), ==, 0);
  for (gsize done = 0; done < size; done += SMALL_PIECE)
    {
      gsize piece = MIN (SMALL_PIECE, size - done);

      zcio_test_pattern_fill (done, data, piece);
      g_assert_cmpint (pwrite (fd, data, piece, (goffset) done), ==, piece);
    }

  return fd;
}

static void
assert_pattern (int fd,
                goffset position,
                goffset end)
{
  guint64 system_calls = 0;

  while (position < end)
    {
      g_autoptr (ZcioFileWindow) window = zcio_file_window_new (fd, position, G_MAXSIZE, end, &system_calls);
      g_autofree guint8 *expected = NULL;
      gconstpointer data;
      gsize size;

      g_assert_nonnull (window);
      data = zcio_file_window_get (window, position, &size);
      g_assert_nonnull (data);
      g_assert_cmpuint (size, >, 0);
      g_assert_cmpuint (size, <=, (gsize) (end - position));
      g_assert_cmpuint (size, <=, ZCIO_FILE_WINDOW_SIZE);
      g_assert_true (zcio_file_window_populate (window, position, size, &system_calls));

      expected = g_malloc (size);
      zcio_test_pattern_fill ((guint64) position, expected, size);
      g_assert_cmpmem (data, size, expected, size);
      position += (goffset) size;
    }

  g_assert_cmpuint (system_calls, >, 0);
}

static void
test_content (void)
{
  static const goffset positions[] = { 0, 1, 4095, 4096, 5 * MIB + 17, ZCIO_FILE_WINDOW_SIZE - 1, ZCIO_FILE_WINDOW_SIZE, FILE_SIZE - 1 };
  int fd = make_file (FILE_SIZE);

  g_test_summary ("Windows one after the other show the file, from wherever they begin");

  for (gsize i = 0; i < G_N_ELEMENTS (positions); i++)
    assert_pattern (fd, positions[i], FILE_SIZE);
  close (fd);
}

static void
test_bounds (void)
{
  guint64 system_calls = 0;
  int fd = make_file (FILE_SIZE);
  g_autoptr (ZcioFileWindow) window = zcio_file_window_new (fd, 2 * MIB, G_MAXSIZE, FILE_SIZE, &system_calls);
  g_autoptr (ZcioFileWindow) small = zcio_file_window_new (fd, 4096 + 5, 10, FILE_SIZE, &system_calls);
  gsize size = 1;

  g_test_summary ("A window ends at a multiple of the windows' size, and says so of what is outside");

  g_assert_nonnull (window);
  g_assert_null (zcio_file_window_get (window, 2 * MIB - 1, &size));
  g_assert_cmpuint (size, ==, 0);
  g_assert_null (zcio_file_window_get (window, ZCIO_FILE_WINDOW_SIZE, &size));
  g_assert_cmpuint (size, ==, 0);
  g_assert_nonnull (zcio_file_window_get (window, ZCIO_FILE_WINDOW_SIZE - 1, &size));
  g_assert_cmpuint (size, ==, 1);

  g_assert_nonnull (small);
  g_assert_nonnull (zcio_file_window_get (small, 4096 + 5, &size));
  g_assert_cmpuint (size, ==, 10);
  g_assert_null (zcio_file_window_get (small, 4096 + 15, &size));
  close (fd);
}

/* Has nothing of it in memory any more, where it lies on a disk. */
static void
forget (int fd)
{
  g_assert_no_errno (fsync (fd));
  g_assert_cmpint (posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED), ==, 0);
}

/* A file of this size of which nothing is in memory; or the test is skipped, and this is -1. */
static int
make_cold_file (gsize size)
{
  int fd = make_file (size);

  forget (fd);
  if (!zcio_syscalls_is_cached (fd, 0, size))
    return fd;

  g_test_skip ("this file system keeps files in memory");
  close (fd);
  return -1;
}

static void
test_cut_off (void)
{
  guint64 system_calls = 0;
  g_autoptr (ZcioFileWindow) window = NULL;
  int fd;

  g_test_summary ("What was cut off from the file cannot be populated, and nobody gets a signal");

  fd = make_cold_file (4 * MIB);
  if (fd < 0)
    return;

  window = zcio_file_window_new (fd, 0, G_MAXSIZE, 4 * MIB, &system_calls);
  g_assert_nonnull (window);
  g_assert_no_errno (ftruncate (fd, MIB));

  g_assert_true (zcio_file_window_populate (window, 0, MIB, &system_calls));
  g_assert_false (zcio_file_window_populate (window, 2 * MIB, MIB, &system_calls));
  g_assert_cmpint (errno, ==, EFAULT);
  close (fd);
}

/* How much of a new mapping of the whole file consists of huge pages, once it was looked at. */
static gsize
get_huge (int fd,
          gsize file_size)
{
  volatile const guint8 *data = mmap (NULL, file_size, PROT_READ, MAP_SHARED, fd, 0);
  g_autofree char *start = NULL;
  g_autofree char *maps = NULL;
  g_autoptr (GError) error = NULL;
  const char *line;
  gsize huge = 0;

  g_assert_true (data != MAP_FAILED);
  for (gsize i = 0; i < file_size; i += 4096)
    (void) data[i];

  g_file_get_contents ("/proc/self/smaps", &maps, NULL, &error);
  g_assert_no_error (error);
  start = g_strdup_printf ("\n%08lx-", (gulong) (guintptr) data);
  line = strstr (maps, start);
  g_assert_nonnull (line);
  line = strstr (line, "\nFilePmdMapped:");
  if (line != NULL)
    huge = g_ascii_strtoull (line + strlen ("\nFilePmdMapped:"), NULL, 10) * 1024;
  munmap ((gpointer) data, file_size);

  return huge;
}

/* Reads the file through one mapping that asks for huge pages: what this system can do. */
static void
read_by_huge_pages (int fd,
                    gsize size)
{
  gpointer data = mmap (NULL, size, PROT_READ, MAP_SHARED, fd, 0);

  g_assert_true (data != MAP_FAILED);
  if (madvise (data, size, MADV_HUGEPAGE) == 0)
    for (gsize i = 0; i < size; i += 4096)
      (void) ((volatile const guint8 *) data)[i];
  munmap (data, size);
}

static void
test_huge_pages (void)
{
  const gsize size = 2 * ZCIO_FILE_WINDOW_SIZE;
  guint64 system_calls = 0;
  int fd = make_file (size);

  g_test_summary ("What windows read from the disk stays in huge pages, where the file system has "
                  "them");

  forget (fd);
  read_by_huge_pages (fd, size);
  if (get_huge (fd, size) < size)
    {
      g_test_skip ("this file system, or this kernel, keeps no file in huge pages");
      close (fd);
      return;
    }

  /* Written in small pieces it is not. */
  close (fd);
  fd = make_file (size);
  g_assert_cmpuint (get_huge (fd, size), ==, 0);

  forget (fd);
  for (gsize start = 0; start < size; start += ZCIO_FILE_WINDOW_SIZE)
    {
      g_autoptr (ZcioFileWindow) window = zcio_file_window_new (fd, (goffset) start, G_MAXSIZE, (goffset) size, &system_calls);

      g_assert_nonnull (window);
      for (gsize done = 0; done < ZCIO_FILE_WINDOW_SIZE; done += MIB)
        g_assert_true (zcio_file_window_populate (window, (goffset) (start + done), MIB, &system_calls));
    }
  g_assert_cmpuint (get_huge (fd, size), ==, size);
  close (fd);
}

static void
test_short (void)
{
  const gsize size = 3 * MIB;
  g_autoptr (ZcioFileWindow) window = NULL;
  guint64 system_calls = 0;
  int fd = make_file (size);

  g_test_summary ("Of a short file no more is read at once than is asked for");

  forget (fd);
  window = zcio_file_window_new (fd, 0, G_MAXSIZE, (goffset) size, &system_calls);
  g_assert_nonnull (window);
  g_assert_true (zcio_file_window_populate (window, 0, size, &system_calls));
  g_assert_cmpuint (get_huge (fd, size), ==, 0);
  close (fd);
}

static void
test_reads (void)
{
  ZcioSyscalls *syscalls = zcio_syscalls_get_real ();
  g_autoptr (ZcioFileWindow) window = NULL;
  guint64 system_calls = 0;
  ZcioUsage before = { 0 };
  ZcioUsage after = { 0 };
  int fd;

  g_test_summary ("What a window has read from the disk is known to have been read");

  fd = make_cold_file (4 * MIB);
  if (fd < 0)
    return;

  window = zcio_file_window_new (fd, 0, G_MAXSIZE, 4 * MIB, &system_calls);
  g_assert_nonnull (window);
  syscalls->get_usage (syscalls, &before);
  g_assert_true (zcio_file_window_populate (window, 0, 4 * MIB, &system_calls));
  syscalls->get_usage (syscalls, &after);
  g_assert_cmpuint (after.reads, >, before.reads);

  /* And what is in memory was not. */
  g_clear_pointer (&window, zcio_file_window_free);
  window = zcio_file_window_new (fd, 0, G_MAXSIZE, 4 * MIB, &system_calls);
  syscalls->get_usage (syscalls, &before);
  g_assert_true (zcio_file_window_populate (window, 0, 4 * MIB, &system_calls));
  syscalls->get_usage (syscalls, &after);
  g_assert_cmpuint (after.reads, ==, before.reads);
  close (fd);
}

static void
test_cached (void)
{
  const gsize size = 8 * MIB;
  g_autoptr (ZcioFileWindow) window = NULL;
  guint64 system_calls = 0;
  int fd = make_file (size);

  g_test_summary ("Of a file in memory nothing is populated, and no pages are preferred");

  if (!zcio_syscalls_is_cached (fd, 0, size))
    {
      g_test_skip ("this kernel does not tell what is in memory");
      close (fd);
      return;
    }

  /* mmap (), munmap () and cachestat () */
  window = zcio_file_window_new (fd, 0, 5 * MIB, (goffset) size, &system_calls);
  g_assert_nonnull (window);
  g_assert_true (zcio_file_window_populate (window, 0, 5 * MIB, &system_calls));
  g_assert_cmpuint (system_calls, ==, 3);
  close (fd);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/zcio/file-window/content", test_content);
  g_test_add_func ("/zcio/file-window/bounds", test_bounds);
  g_test_add_func ("/zcio/file-window/cut-off", test_cut_off);
  g_test_add_func ("/zcio/file-window/huge-pages", test_huge_pages);
  g_test_add_func ("/zcio/file-window/short", test_short);
  g_test_add_func ("/zcio/file-window/cached", test_cached);
  g_test_add_func ("/zcio/file-window/reads", test_reads);

  return g_test_run ();
}
