/* test-stream-edges.c - what seldom happens to a stream or a connection
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <sys/socket.h>

#include "connection-fixture.h"
#include "zcio/zcio-linger-private.h"
#include "zcio/zcio-socket-stream-private.h"

#define SIZE (64 * 1024)
#define MUCH (16 * 1024 * 1024)

static gint n_warnings;

static GLogWriterOutput
count_warnings (GLogLevelFlags   level,
                const GLogField *fields,
                gsize            n_fields,
                gpointer         user_data)
{
  if ((level & G_LOG_LEVEL_WARNING) == 0)
    return g_log_writer_default (level, fields, n_fields, user_data);

  g_atomic_int_inc (&n_warnings);
  return G_LOG_WRITER_HANDLED;
}

static void
test_write_times_out (void)
{
  ConnectionFixture fixture;
  GAsyncResult *result = NULL;
  GBytes *bytes;
  guint64 position;
  gint n_buffers = 0;
  gsize written = 1;
  GError *error = NULL;

  g_test_summary ("An asynchronous write by zero-copy to a peer that takes nothing times out, and "
                  "what was accepted before still arrives");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  position = connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  g_socket_set_timeout (fixture.near.socket, 1);
  bytes = zcio_test_pattern_bytes (position, SIZE, &fixture.released);
  n_buffers++;
  zcio_socket_stream_writev_zerocopy_async (fixture.near.stream, &bytes, 1, G_PRIORITY_DEFAULT, NULL,
                                            zcio_test_store_result, &result);
  g_bytes_unref (bytes);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_false (zcio_socket_stream_writev_zerocopy_finish (fixture.near.stream, result, &written, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  g_object_unref (result);
  g_assert_cmpuint (written, <, SIZE);
  g_assert_false (g_output_stream_has_pending (fixture.near.output));

  g_socket_set_timeout (fixture.near.socket, 0);
  connection_end_read (&fixture.far, 0, position + written);
  g_assert_true (zcio_socket_stream_drain (fixture.near.stream, 0, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, n_buffers);

  connection_fixture_tear_down (&fixture);
}

static void
test_no_callback (void)
{
  ConnectionFixture fixture;
  GBytes *bytes;

  g_test_summary ("Whoever does not want to know how a write ended need not be called back");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  bytes = zcio_test_pattern_bytes (0, SIZE, &fixture.released);
  zcio_socket_stream_writev_zerocopy_async (fixture.near.stream, &bytes, 1, G_PRIORITY_DEFAULT,
                                            NULL, NULL, NULL);
  g_bytes_unref (bytes);
  g_assert_true (g_output_stream_has_pending (fixture.near.output));
  zcio_test_wait_until (NULL, !g_output_stream_has_pending (fixture.near.output));
  connection_end_read (&fixture.far, 0, SIZE);
  zcio_test_wait_until (NULL, g_atomic_int_get (&fixture.released) == 1);

  connection_fixture_tear_down (&fixture);
}

static gboolean
set_ready (GObject *stream,
           gpointer user_data)
{
  ++*(guint *) user_data;
  return G_SOURCE_CONTINUE;
}

static void
test_limit_under_source (void)
{
  ConnectionFixture fixture;
  GSource *source;
  int buffer_size = 4 * MUCH;
  guint n_ready = 0;
  guint before;

  g_test_summary ("A source that waits for a writable stream sleeps from when as much is in flight as "
                  "may be, although the socket is writable, and wakes when something came back");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 65536))
    return;

  /* More than the peer's buffer takes, and yet the socket has space. */
  if (setsockopt (g_socket_get_fd (fixture.near.socket), SOL_SOCKET, SO_SNDBUFFORCE,
                  &buffer_size, sizeof buffer_size) != 0)
    {
      g_test_skip_printf ("May not set SO_SNDBUFFORCE: %s", g_strerror (errno));
      connection_fixture_tear_down (&fixture);
      return;
    }

  source = g_pollable_output_stream_create_source (G_POLLABLE_OUTPUT_STREAM (fixture.near.stream), NULL);
  g_source_set_callback (source, (GSourceFunc) (GCallback) set_ready, &n_ready, NULL);
  g_source_attach (source, NULL);
  zcio_test_wait_until (NULL, n_ready > 2);

  connection_end_write (&fixture.near, 0, MUCH, &fixture.released);
  g_assert_true (g_socket_condition_check (fixture.near.socket, G_IO_OUT) & G_IO_OUT);
  g_object_set (fixture.near.stream, "max-bytes-in-flight", G_GUINT64_CONSTANT (1), NULL);
  g_assert_false (g_pollable_output_stream_is_writable (G_POLLABLE_OUTPUT_STREAM (fixture.near.stream)));
  before = n_ready;
  g_assert_cmpuint (zcio_test_run_for (NULL, 100), <, 50);
  g_assert_cmpuint (n_ready, ==, before);

  connection_end_read (&fixture.far, 0, MUCH);
  zcio_test_wait_until (NULL, n_ready > before);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 1);

  g_source_destroy (source);
  g_source_unref (source);
  connection_fixture_tear_down (&fixture);
}

static void
test_closed_and_cancelled (void)
{
  ConnectionFixture fixture;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  gsize written = 1;
  GError *error = NULL;

  g_test_summary ("Writing to a closed socket says that it is closed, also where it was cancelled");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_assert_true (g_socket_close (fixture.near.socket, &error));
  g_assert_no_error (error);
  g_cancellable_cancel (cancellable);
  g_assert_false (zcio_socket_stream_write_zerocopy (fixture.near.stream, bytes, &written,
                                                     cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_cmpuint (written, ==, 0);

  connection_fixture_tear_down (&fixture);
}

static void
test_drain_after_close (void)
{
  ConnectionFixture fixture;
  GAsyncResult *result = NULL;
  gint n_buffers = 0;
  GError *error = NULL;

  g_test_summary ("Waiting for completions of a socket that was closed under its stream fails, and the "
                  "program is warned");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_atomic_int_set (&n_warnings, 0);
  g_object_set (fixture.near.stream, "linger-timeout", 1u, NULL);
  connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  g_assert_true (g_socket_close (fixture.near.socket, &error));
  g_assert_no_error (error);

  g_assert_false (zcio_socket_stream_drain (fixture.near.stream, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);

  zcio_socket_stream_drain_async (fixture.near.stream, 0, G_PRIORITY_DEFAULT, NULL,
                                  zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_false (zcio_socket_stream_drain_finish (fixture.near.stream, result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);
  g_object_unref (result);
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);

  zcio_test_wait_until (NULL, zcio_linger_count () == 0);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, n_buffers);
  connection_fixture_tear_down (&fixture);
}

static void
test_close_without_streams (void)
{
  GSocket *near_socket;
  GSocket *far_socket;
  g_autoptr (GSocketConnection) connection = NULL;
  GAsyncResult *result = NULL;
  char byte;
  GError *error = NULL;

  g_test_summary ("A connection of which nobody has asked for a stream closes its socket all the same");

  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 0, &near_socket, &far_socket))
    return;

  connection = zcio_tcp_connection_new (near_socket);
  g_io_stream_close_async (G_IO_STREAM (connection), G_PRIORITY_DEFAULT, NULL,
                           zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_true (g_io_stream_close_finish (G_IO_STREAM (connection), result, &error));
  g_assert_no_error (error);
  g_object_unref (result);
  g_assert_true (g_socket_is_closed (near_socket));
  g_assert_cmpint (g_socket_receive (far_socket, &byte, 1, NULL, &error), ==, 0);
  g_assert_no_error (error);

  g_object_unref (near_socket);
  g_object_unref (far_socket);
}

static void
test_graceful_unconnected (gconstpointer data)
{
  gboolean is_async = GPOINTER_TO_INT (data);
  g_autoptr (GSocket) unconnected = NULL;
  g_autoptr (GSocketConnection) connection = NULL;
  GAsyncResult *result = NULL;
  GError *error = NULL;

  g_test_summary ("What cannot be disconnected gracefully is closed with an error");

  unconnected = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
  g_assert_no_error (error);
  connection = zcio_tcp_connection_new (unconnected);
  g_tcp_connection_set_graceful_disconnect (G_TCP_CONNECTION (connection), TRUE);

  if (is_async)
    {
      g_io_stream_close_async (G_IO_STREAM (connection), G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
      zcio_test_wait_until (NULL, result != NULL);
      g_assert_false (g_io_stream_close_finish (G_IO_STREAM (connection), result, &error));
      g_object_unref (result);
    }
  else
    g_assert_false (g_io_stream_close (G_IO_STREAM (connection), NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_CONNECTED);
  g_clear_error (&error);
  g_assert_true (g_socket_is_closed (unconnected));
}

static void
test_splice_from_connection (void)
{
  ConnectionFixture from;
  ConnectionFixture to;
  GError *error = NULL;

  g_test_summary ("What comes in by one connection can be spliced into another one");

  if (!connection_fixture_set_up (&from, ZCIO_TEST_FAMILY_IPV4, 0) ||
      !connection_fixture_set_up (&to, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  connection_end_write (&from.near, 0, SIZE, &from.released);
  g_assert_true (g_socket_shutdown (from.near.socket, FALSE, TRUE, &error));
  g_assert_no_error (error);
  g_assert_cmpint (g_output_stream_splice (to.near.output, from.far.input,
                                           G_OUTPUT_STREAM_SPLICE_NONE, NULL, &error), ==, SIZE);
  g_assert_no_error (error);
  connection_end_read (&to.far, 0, SIZE);

  connection_fixture_tear_down (&from);
  connection_fixture_tear_down (&to);
}

static void
test_abort_closed (void)
{
  ConnectionFixture fixture;
  GError *error = NULL;

  g_test_summary ("A closed connection cannot be reset any more");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_assert_true (g_io_stream_close (fixture.near.connection, NULL, &error));
  g_assert_no_error (error);
  g_assert_false (zcio_socket_stream_abort (fixture.near.stream, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);

  connection_fixture_tear_down (&fixture);
}

#define N_CLOSES 300
#define N_WRITES 40

typedef struct
{
  ZcioSocketStream *stream;
  GBytes *bytes;
  gint n_written;
  gint ended;
} Writer;

/* Until the stream is closed, or about to be. */
static gpointer
write_on (gpointer data)
{
  Writer *writer = data;
  GError *error = NULL;

  while (g_atomic_int_get (&writer->n_written) < N_WRITES &&
         zcio_socket_stream_write_zerocopy (writer->stream, writer->bytes, NULL, NULL, &error))
    g_atomic_int_inc (&writer->n_written);
  g_assert_true (error == NULL || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CLOSED) ||
                 g_error_matches (error, G_IO_ERROR, G_IO_ERROR_PENDING));
  g_clear_error (&error);
  g_atomic_int_set (&writer->ended, TRUE);

  return NULL;
}

static gpointer
reap_on (gpointer data)
{
  Writer *writer = data;

  while (!g_atomic_int_get (&writer->ended))
    zcio_socket_stream_reap (writer->stream);

  return NULL;
}

/* Without waiting for what is in flight; it may be refused while a write is under way. */
static void
close_now (GOutputStream *stream)
{
  GCancellable *cancellable = g_cancellable_new ();

  g_cancellable_cancel (cancellable);
  while (!g_output_stream_is_closed (stream))
    g_output_stream_close (stream, cancellable, NULL);
  g_object_unref (cancellable);
}

static void
close_in_flood (ConnectionFixture *fixture,
                gint               n_before)
{
  Writer writer = { .stream = fixture->near.stream, .bytes = g_bytes_new_take (g_malloc0 (16384), 16384) };
  ZcioTransmitter *transmitter = zcio_socket_stream_get_transmitter (writer.stream);
  GThread *threads[2];

  threads[0] = g_thread_new ("write", write_on, &writer);
  threads[1] = g_thread_new ("reap", reap_on, &writer);
  while (g_atomic_int_get (&writer.n_written) < n_before)
    g_thread_yield ();
  close_now (G_OUTPUT_STREAM (writer.stream));
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);

  g_mutex_lock (&transmitter->lock);
  g_assert_true (transmitter->window.sends_in_flight == 0 || transmitter->linger != NULL);
  g_mutex_unlock (&transmitter->lock);
  g_bytes_unref (writer.bytes);
}

static void
test_close_in_flood (void)
{
  g_test_summary ("Where another thread closes a stream in a flood of writes, none is left that nobody reaps");

  for (gint i = 0; i < N_CLOSES; i++)
    {
      ConnectionFixture fixture;

      if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
        return;
      close_in_flood (&fixture, 1 + i % 20);
      connection_fixture_tear_down (&fixture);
    }
  connection_wait_for_linger ();
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (count_warnings, NULL, NULL);

  g_test_add_func ("/stream-edges/write-times-out", test_write_times_out);
  g_test_add_func ("/stream-edges/no-callback", test_no_callback);
  g_test_add_func ("/stream-edges/limit-under-source", test_limit_under_source);
  g_test_add_func ("/stream-edges/closed-and-cancelled", test_closed_and_cancelled);
  g_test_add_func ("/stream-edges/drain-after-close", test_drain_after_close);
  g_test_add_func ("/stream-edges/close-without-streams", test_close_without_streams);
  g_test_add_data_func ("/stream-edges/graceful-unconnected/sync", GINT_TO_POINTER (FALSE),
                        test_graceful_unconnected);
  g_test_add_data_func ("/stream-edges/graceful-unconnected/async", GINT_TO_POINTER (TRUE),
                        test_graceful_unconnected);
  g_test_add_func ("/stream-edges/splice-from-connection", test_splice_from_connection);
  g_test_add_func ("/stream-edges/abort-closed", test_abort_closed);
  g_test_add_func ("/stream-edges/close-in-flood", test_close_in_flood);

  return g_test_run ();
}
