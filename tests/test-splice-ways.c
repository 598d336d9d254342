/* test-splice-ways.c - a file goes the way that takes less CPU
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <gio/gunixinputstream.h>
#include <linux/errqueue.h>
#include <string.h>

#include "splice-fixture.h"
#include "zcio/zcio-syscalls-private.h"

#define MIB ((guint64) 1024 * 1024)

/* More than a trial and two windows, and no multiple of a page */
#define FILE_SIZE (40 * MIB + 12345)

/*
 * The real kernel, but for what CPU and faults are said to be, and that nothing is said to have
 * been copied: so that AUTO goes by zero-copy over loopback.
 *
 * @mapped_cpu: nanoseconds that a KiB takes from a mapping
 * @shared_cpu: the same by sendfile (); 0: that fails
 * @faults: of a MiB that is mapped
 */
typedef struct
{
  ZcioSyscalls table;
  guint64 mapped_cpu;
  guint64 shared_cpu;
  guint64 faults;

  guint64 mapped_bytes;
  guint64 shared_bytes;
} Kernel;

typedef struct
{
  const char *name;
  const char *summary;
  guint64 mapped_cpu;
  guint64 shared_cpu;
  guint64 faults;
  guint64 size;
  guint64 mapped;
  ZcioZeroCopyMode mode;
} Case;

static const Case cases[] = {
  { "mapping", "Where mapping is cheaper, only a trial goes by sendfile()",
    50, 90, 16, FILE_SIZE, FILE_SIZE - MIB, ZCIO_ZERO_COPY_MODE_AUTO },
  { "sendfile", "Where sendfile() is cheaper, only the beginning is mapped",
    130, 100, 16, FILE_SIZE, 4 * MIB, ZCIO_ZERO_COPY_MODE_AUTO },
  { "huge-pages", "A file in huge pages is mapped without a trial",
    130, 100, 0, FILE_SIZE, FILE_SIZE, ZCIO_ZERO_COPY_MODE_AUTO },
  { "short", "A short file is mapped without a trial",
    130, 100, 16, 11 * MIB, 11 * MIB, ZCIO_ZERO_COPY_MODE_AUTO },
  { "no-sendfile", "Where the file does not go by sendfile(), it is mapped all the same",
    130, 0, 16, FILE_SIZE, FILE_SIZE, ZCIO_ZERO_COPY_MODE_AUTO },
  { "always", "In mode ALWAYS it is mapped, whatever that takes",
    130, 100, 16, FILE_SIZE, FILE_SIZE, ZCIO_ZERO_COPY_MODE_ALWAYS },
};

static gssize
send_message (ZcioSyscalls        *self,
              int                  fd,
              const struct msghdr *message,
              int                  flags)
{
  Kernel *kernel = (Kernel *) self;
  gssize n = zcio_syscalls_get_real ()->send_message (self, fd, message, flags);

  kernel->mapped_bytes += (guint64) MAX (n, 0);
  return n;
}

static gssize
send_file (ZcioSyscalls *self,
           int           fd,
           int           file_fd,
           goffset       offset,
           gsize         size)
{
  Kernel *kernel = (Kernel *) self;
  g_autofree char *maps = NULL;
  gssize n;

  /* To undo the mapping is a part of its price. */
  g_assert_true (g_file_get_contents ("/proc/self/maps", &maps, NULL, NULL));
  g_assert_null (strstr (maps, "/zcio-splice-"));

  if (kernel->shared_cpu == 0)
    {
      errno = EINVAL;
      return -1;
    }

  n = zcio_syscalls_get_real ()->send_file (self, fd, file_fd, offset, size);
  kernel->shared_bytes += (guint64) MAX (n, 0);
  return n;
}

static void
get_usage (ZcioSyscalls *self,
           ZcioUsage    *usage)
{
  Kernel *kernel = (Kernel *) self;

  usage->cpu = (kernel->mapped_bytes * kernel->mapped_cpu + kernel->shared_bytes * kernel->shared_cpu) / 1024;
  usage->faults = kernel->mapped_bytes * kernel->faults / MIB;
  usage->reads = 0;
}

static gssize
receive_error (ZcioSyscalls  *self,
               int            fd,
               struct msghdr *message)
{
  gssize n = zcio_syscalls_get_real ()->receive_error (self, fd, message);

  if (n < 0)
    return n;

  for (struct cmsghdr *header = CMSG_FIRSTHDR (message); header != NULL; header = CMSG_NXTHDR (message, header))
    {
      struct sock_extended_err record;

      memcpy (&record, CMSG_DATA (header), sizeof record);
      if (record.ee_origin == SO_EE_ORIGIN_ZEROCOPY)
        {
          record.ee_code = 0;
          memcpy (CMSG_DATA (header), &record, sizeof record);
        }
    }

  return n;
}

static void
run_case (const Case *test_case,
          gboolean    is_async,
          int         buffer_size)
{
  const SpliceSetup setup = { ZCIO_TEST_FAMILY_IPV4, test_case->mode, 0, buffer_size };
  Kernel kernel = {
    .table = *zcio_syscalls_get_real (),
    .mapped_cpu = test_case->mapped_cpu,
    .shared_cpu = test_case->shared_cpu,
    .faults = test_case->faults,
  };
  g_autoptr (ZcioStatistics) statistics = NULL;
  g_autoptr (GInputStream) source = NULL;
  g_autoptr (GError) error = NULL;
  SpliceFixture fixture;
  int fd;

  if (!splice_may_pin (&setup))
    return;

  kernel.table.send_message = send_message;
  kernel.table.receive_error = receive_error;
  kernel.table.send_file = send_file;
  kernel.table.get_usage = get_usage;
  zcio_syscalls_set_default (&kernel.table);
  g_assert_true (splice_fixture_set_up (&fixture, &setup));
  /* Otherwise a small rest, as a full socket leaves it, goes by sendfile (). */
  g_object_set (fixture.stream, "threshold", (guint64) 1, NULL);

  fd = splice_make_file (test_case->size);
  source = g_unix_input_stream_new (fd, TRUE);
  g_assert_cmpint (splice_run (&fixture, is_async, source, 0, NULL, &error), ==, test_case->size);
  g_assert_no_error (error);
  g_assert_cmpint (splice_get_offset (fd), ==, test_case->size);

  g_assert_cmpuint (kernel.mapped_bytes, ==, test_case->mapped);
  g_assert_cmpuint (kernel.shared_bytes, ==, test_case->size - test_case->mapped);
  splice_assert_statistics (fixture.stream, test_case->size, test_case->size);
  statistics = zcio_socket_stream_get_statistics (fixture.stream);
  g_assert_cmpuint (statistics->bytes_copied_by_choice, ==, test_case->size - test_case->mapped);

  splice_fixture_tear_down (&fixture, test_case->size, NULL);
  zcio_syscalls_set_default (NULL);
}

static void
test_sync (gconstpointer data)
{
  const Case *test_case = data;

  g_test_summary (test_case->summary);
  run_case (test_case, FALSE, 0);
}

static void
test_async (gconstpointer data)
{
  const Case *test_case = data;

  g_test_summary (test_case->summary);
  run_case (test_case, TRUE, 0);
}

static void
test_small_buffer (gconstpointer data)
{
  const Case *test_case = data;

  g_test_summary (test_case->summary);
  run_case (test_case, TRUE, 32768);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *sync = g_strdup_printf ("/zcio/splice-ways/%s/sync", cases[i].name);
      g_autofree char *async = g_strdup_printf ("/zcio/splice-ways/%s/async", cases[i].name);
      g_autofree char *small_buffer = g_strdup_printf ("/zcio/splice-ways/%s/small-buffer", cases[i].name);

      g_test_add_data_func (sync, &cases[i], test_sync);
      g_test_add_data_func (async, &cases[i], test_async);
      g_test_add_data_func (small_buffer, &cases[i], test_small_buffer);
    }

  return g_test_run ();
}
