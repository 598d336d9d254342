/* test-socket-stream.c - the stream on the real kernel
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include "test-util.h"
#include "zcio/zcio-linger-private.h"
#include "zcio/zcio-socket-stream-private.h"

#define BUFFER_SIZE (256 * 1024)
#define N_BUFFERS 64

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
  gint released;
} Fixture;

static gboolean
fixture_set_up (Fixture             *fixture,
                ZcioTestFamily       family,
                int                  buffer_size,
                ZcioTestReaderFlags  flags)
{
  fixture->released = 0;
  if (!zcio_test_socket_pair (family, buffer_size, &fixture->socket, &fixture->peer))
    return FALSE;

  fixture->stream = zcio_socket_stream_new (fixture->socket);
  zcio_socket_stream_set_zero_copy_mode (fixture->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  fixture->reader = zcio_test_reader_new (fixture->peer, 0, flags);

  return TRUE;
}

static void
fixture_tear_down (Fixture *fixture,
                   guint64  expected)
{
  GError *error = NULL;

  if (fixture->stream != NULL)
    {
      g_output_stream_close (G_OUTPUT_STREAM (fixture->stream), NULL, &error);
      g_assert_no_error (error);
      g_assert_finalize_object (fixture->stream);
    }
  g_clear_object (&fixture->socket);
  g_assert_cmpuint (zcio_test_reader_finish (fixture->reader, NULL, NULL), ==, expected);
  g_clear_object (&fixture->peer);
}

static void
assert_statistics_add_up (ZcioSocketStream *stream,
                          guint64           written)
{
  g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (stream);

  g_assert_cmpuint (statistics->bytes_written, ==, written);
  g_assert_cmpuint (statistics->bytes_zero_copied + statistics->bytes_copied_by_kernel +
                      statistics->bytes_copied_by_choice + statistics->bytes_copied_for_enobufs,
                    ==, written);
}

static void
test_write_zerocopy (gconstpointer data)
{
  ZcioTestFamily family = GPOINTER_TO_INT (data);
  Fixture fixture;
  guint64 position = 0;
  GError *error = NULL;

  g_test_summary ("Buffers whose last reference is dropped at once arrive unchanged at a slow "
                  "reader, and each is released exactly once");

  if (!fixture_set_up (&fixture, family, 0, ZCIO_TEST_READER_SLOW))
    return;

  for (guint i = 0; i < N_BUFFERS; i++)
    {
      GBytes *bytes = zcio_test_pattern_bytes (position, BUFFER_SIZE, &fixture.released);
      gsize written = 0;

      zcio_socket_stream_write_zerocopy (fixture.stream, bytes, &written, NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (written, ==, BUFFER_SIZE);
      position += written;
      g_bytes_unref (bytes);
    }

  zcio_socket_stream_drain (fixture.stream, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, N_BUFFERS);
  assert_statistics_add_up (fixture.stream, position);

  fixture_tear_down (&fixture, position);
}

static void
test_drain_releases (void)
{
  Fixture fixture;
  GBytes *bytes;
  guint64 sends;
  guint64 in_flight = 1;
  ZcioTransmitter *transmitter;
  GError *error = NULL;

  g_test_summary ("When a drain returns, the references are gone, too, although the completions had "
                  "been read before by somebody who may not drop them");

  if (!fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_DEFAULT))
    return;

  bytes = zcio_test_pattern_bytes (0, BUFFER_SIZE, &fixture.released);
  zcio_socket_stream_write_zerocopy (fixture.stream, bytes, NULL, NULL, &error);
  g_assert_no_error (error);
  g_bytes_unref (bytes);

  transmitter = zcio_socket_stream_get_transmitter (fixture.stream);
  while (in_flight > 0)
    {
      zcio_transmitter_collect (transmitter, FALSE);
      zcio_transmitter_get_in_flight (transmitter, &sends, &in_flight);
      g_thread_yield ();
    }
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 0);

  zcio_socket_stream_drain (fixture.stream, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 1);

  fixture_tear_down (&fixture, BUFFER_SIZE);
}

typedef struct
{
  guint sends;
  guint64 bytes;
  guint calls;
} Completions;

static void
on_completed (ZcioSocketStream *stream,
              guint             sends,
              guint64           bytes,
              gboolean          zero_copied,
              gpointer          user_data)
{
  Completions *completions = user_data;

  completions->sends += sends;
  completions->bytes += bytes;
  completions->calls++;
}

static gboolean
on_watch (ZcioSocketStream *stream,
          guint             sends,
          guint64           bytes,
          gpointer          user_data)
{
  on_completed (stream, sends, bytes, FALSE, user_data);
  return G_SOURCE_CONTINUE;
}

static void
test_main_loop (void)
{
  Fixture fixture;
  Completions by_signal = { 0 };
  Completions by_watch = { 0 };
  guint64 position = 0;
  guint watch;
  GError *error = NULL;

  g_test_summary ("Asynchronous writes are reaped by the main loop, and signal and watch tell "
                  "of every byte");

  if (!fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_DEFAULT))
    return;

  g_signal_connect (fixture.stream, "completed", G_CALLBACK (on_completed), &by_signal);
  watch = zcio_socket_stream_add_completion_watch (fixture.stream, G_PRIORITY_DEFAULT,
                                                   on_watch, &by_watch, NULL);

  for (guint i = 0; i < N_BUFFERS; i++)
    {
      GBytes *bytes = zcio_test_pattern_bytes (position, BUFFER_SIZE, &fixture.released);
      GAsyncResult *result = NULL;
      gsize written = 0;

      zcio_socket_stream_writev_zerocopy_async (fixture.stream, &bytes, 1, G_PRIORITY_DEFAULT,
                                                NULL, zcio_test_store_result, &result);
      g_bytes_unref (bytes);
      zcio_test_wait_until (NULL, result != NULL);
      zcio_socket_stream_writev_zerocopy_finish (fixture.stream, result, &written, &error);
      g_assert_no_error (error);
      g_object_unref (result);
      position += written;
    }

  zcio_test_wait_until (NULL, by_signal.bytes == position && by_watch.bytes == position);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, N_BUFFERS);
  g_assert_cmpuint (by_signal.sends, ==, by_watch.sends);
  g_source_remove (watch);
  assert_statistics_add_up (fixture.stream, position);

  fixture_tear_down (&fixture, position);
}

static void
test_drop (void)
{
  Fixture fixture;
  guint64 position = 0;
  gsize written;
  gint64 start;
  GError *error = NULL;

  g_test_summary ("Dropping the last reference with a stalled reader does not block, and every "
                  "byte arrives later");

  if (!fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_PAUSED))
    return;

  while (TRUE)
    {
      GBytes *bytes = zcio_test_pattern_bytes (position, BUFFER_SIZE, &fixture.released);
      GPollableReturn result =
        zcio_socket_stream_writev_zerocopy_nonblocking (fixture.stream, &bytes, 1, &written,
                                                        NULL, &error);

      g_assert_no_error (error);
      g_bytes_unref (bytes);
      if (result == G_POLLABLE_RETURN_WOULD_BLOCK)
        break;
      position += written;
      if (written < BUFFER_SIZE)
        break;
    }

  start = g_get_monotonic_time ();
  g_assert_finalize_object (g_steal_pointer (&fixture.stream));
  g_test_message ("dropped in %" G_GINT64_FORMAT " µs", g_get_monotonic_time () - start);
  g_assert_cmpuint (zcio_linger_count (), ==, 1);

  zcio_test_reader_resume (fixture.reader);
  fixture_tear_down (&fixture, position);
  while (zcio_linger_count () > 0)
    g_thread_yield ();
}

static void
test_stalled_reader (gconstpointer data)
{
  Fixture fixture;
  guint64 position = 0;
  GError *error = NULL;

  g_test_summary ("Where the kernel has no memory for notifications, all is sent all the same");

  if (!zcio_test_in_namespace (GPOINTER_TO_INT (data)))
    return;
  if (!fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_SLOW))
    return;

  for (guint i = 0; i < N_BUFFERS; i++)
    {
      GBytes *bytes = zcio_test_pattern_bytes (position, 2 * 1024 * 1024, &fixture.released);
      gsize written = 0;

      zcio_socket_stream_write_zerocopy (fixture.stream, bytes, &written, NULL, &error);
      g_assert_no_error (error);
      position += written;
      g_bytes_unref (bytes);
    }
  assert_statistics_add_up (fixture.stream, position);

  fixture_tear_down (&fixture, position);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/socket-stream/write-zerocopy/ipv4",
                        GINT_TO_POINTER (ZCIO_TEST_FAMILY_IPV4), test_write_zerocopy);
  g_test_add_data_func ("/socket-stream/write-zerocopy/ipv6",
                        GINT_TO_POINTER (ZCIO_TEST_FAMILY_IPV6), test_write_zerocopy);
  g_test_add_data_func ("/socket-stream/write-zerocopy/v4-mapped",
                        GINT_TO_POINTER (ZCIO_TEST_FAMILY_V4_MAPPED), test_write_zerocopy);
  g_test_add_data_func ("/socket-stream/write-zerocopy/unix",
                        GINT_TO_POINTER (ZCIO_TEST_FAMILY_UNIX), test_write_zerocopy);
  g_test_add_func ("/socket-stream/drain-releases", test_drain_releases);
  g_test_add_func ("/socket-stream/main-loop", test_main_loop);
  g_test_add_func ("/socket-stream/drop", test_drop);
  g_test_add_data_func ("/socket-stream/optmem/20480", GINT_TO_POINTER (20480),
                        test_stalled_reader);
  g_test_add_data_func ("/socket-stream/optmem/500", GINT_TO_POINTER (500), test_stalled_reader);

  return g_test_run ();
}
