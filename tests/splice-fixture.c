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
#include <sys/resource.h>
#include <unistd.h>

/* More than the tests have in flight at once */
#define MIN_LOCKED_MEMORY (64 * 1024 * 1024)

/* Whether so much may be in flight: where the limit is met, the rest is copied. */
static gboolean
may_pin (void)
{
  struct rlimit limit;

  /* Root needs no limit (CAP_IPC_LOCK). */
  return geteuid () == 0 ||
         (getrlimit (RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur >= MIN_LOCKED_MEMORY);
}

gboolean
splice_fixture_set_up (SpliceFixture     *fixture,
                       const SpliceSetup *setup)
{
  *fixture = (SpliceFixture) { 0 };
  g_test_timer_start ();

  if (setup->family != ZCIO_TEST_FAMILY_UNIX && setup->mode != ZCIO_ZERO_COPY_MODE_NEVER && !may_pin ())
    {
      g_test_skip ("RLIMIT_MEMLOCK is too low to have a whole file in flight");
      return FALSE;
    }

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
