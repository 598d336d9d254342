/* splice-fixture.c - what the tests of splicing share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "splice-fixture.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* More than a test has in flight at once */
#define MIN_LOCKED_MEMORY (64 * 1024 * 1024)

/* CAP_IPC_LOCK, and that not in a user namespace: nothing else lifts the limit. */
static gboolean
may_lock_memory (void)
{
  g_autofree char *status = NULL;
  g_autofree char *map = NULL;
  g_auto (GStrv) words = NULL;
  const char *capabilities;

  if (!g_file_get_contents ("/proc/self/status", &status, NULL, NULL) ||
      !g_file_get_contents ("/proc/self/uid_map", &map, NULL, NULL))
    return FALSE;

  capabilities = strstr (status, "CapEff:");
  words = g_strsplit_set (g_strstrip (map), " ", -1);
  return capabilities != NULL &&
         (g_ascii_strtoull (capabilities + strlen ("CapEff:") + 1, NULL, 16) >> 14 & 1) != 0 &&
         g_str_equal (words[g_strv_length (words) - 1], "4294967295");
}

gboolean
splice_may_pin (const SpliceSetup *setup)
{
  struct rlimit limit;

  if (setup->family == ZCIO_TEST_FAMILY_UNIX || setup->mode == ZCIO_ZERO_COPY_MODE_NEVER ||
      may_lock_memory () ||
      (getrlimit (RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur >= MIN_LOCKED_MEMORY))
    return TRUE;

  g_test_skip ("RLIMIT_MEMLOCK is too low to have a whole file in flight");
  return FALSE;
}

gboolean
splice_fixture_set_up (SpliceFixture     *fixture,
                       const SpliceSetup *setup)
{
  *fixture = (SpliceFixture) { 0 };
  g_test_timer_start ();
  /* The accepted one knows whose peer it is, so that AUTO sees that it is on this host. */
  if (!zcio_test_socket_pair (setup->family, setup->buffer_size, &fixture->peer, &fixture->socket))
    return FALSE;

  fixture->stream = zcio_socket_stream_new (fixture->socket);
  zcio_socket_stream_set_zero_copy_mode (fixture->stream, setup->mode);
  fixture->reader = zcio_test_reader_new (fixture->peer, 0, setup->reader);

  return TRUE;
}

void
splice_fixture_tear_down (SpliceFixture  *fixture,
                          guint64         expected,
                          char          **sha256)
{
  g_autoptr (GError) error = NULL;

  if (fixture->stream != NULL)
    {
      g_output_stream_close (G_OUTPUT_STREAM (fixture->stream), NULL, &error);
      g_assert_no_error (error);
      while (g_main_context_iteration (NULL, FALSE))
        ;
      g_assert_finalize_object (fixture->stream);
    }
  g_clear_object (&fixture->socket);
  g_assert_cmpuint (zcio_test_reader_finish (fixture->reader, NULL, sha256), ==, expected);
  g_clear_object (&fixture->peer);
}

gssize
splice_run (SpliceFixture             *fixture,
            gboolean                   is_async,
            GInputStream              *source,
            GOutputStreamSpliceFlags   flags,
            GCancellable              *cancellable,
            GError                   **error)
{
  GOutputStream *stream = G_OUTPUT_STREAM (fixture->stream);
  g_autoptr (GAsyncResult) result = NULL;

  if (!is_async)
    return g_output_stream_splice (stream, source, flags, cancellable, error);

  g_output_stream_splice_async (stream, source, flags, G_PRIORITY_DEFAULT, cancellable,
                                zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  return g_output_stream_splice_finish (stream, result, error);
}

void
splice_assert_statistics (ZcioSocketStream *stream,
                          guint64           written,
                          guint64           spliced)
{
  g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (stream);

  g_assert_cmpuint (statistics->bytes_written, ==, written);
  g_assert_cmpuint (statistics->spliced_bytes, ==, spliced);
  g_assert_cmpuint (statistics->bytes_zero_copied + statistics->bytes_copied_by_kernel +
                      statistics->bytes_copied_by_choice + statistics->bytes_copied_for_enobufs,
                    ==, written);
}

void
splice_append_pattern (int     fd,
                       guint64 from,
                       guint64 to)
{
  g_autofree guint8 *data = g_malloc (1024 * 1024);

  while (from < to)
    {
      gsize size = MIN (to - from, 1024 * 1024);

      zcio_test_pattern_fill (from, data, size);
      g_assert_cmpint (pwrite (fd, data, size, (goffset) from), ==, size);
      from += size;
    }
}

int
splice_make_file (guint64 size)
{
  g_autofree char *path = NULL;
  g_autoptr (GError) error = NULL;
  int fd = g_file_open_tmp ("zcio-splice-XXXXXX", &path, &error);

  g_assert_no_error (error);
  g_assert_cmpint (g_unlink (path), ==, 0);
  splice_append_pattern (fd, 0, size);

  return fd;
}

goffset
splice_get_offset (int fd)
{
  return lseek (fd, 0, SEEK_CUR);
}
