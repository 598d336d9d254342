/* test-tcp-connection-close.c - closing with sends in flight
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "connection-fixture.h"
#include "zcio/zcio-linger-private.h"

#define SIZE (64 * 1024)

typedef enum
{
  CLOSE_SYNC,
  CLOSE_ASYNC
} How;

static gboolean
close_connection (GIOStream     *connection,
                  How            how,
                  GCancellable  *cancellable,
                  GError       **error)
{
  GAsyncResult *result = NULL;
  gboolean ok;

  if (how == CLOSE_SYNC)
    return g_io_stream_close (connection, cancellable, error);

  g_io_stream_close_async (connection, G_PRIORITY_DEFAULT, cancellable, zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  ok = g_io_stream_close_finish (connection, result, error);
  g_object_unref (result);

  return ok;
}

static void
test_close (gconstpointer data)
{
  ConnectionFixture fixture;
  ZcioTestReader *reader;
  gint n_buffers = 0;
  guint64 size;
  GError *error = NULL;

  g_test_summary ("Closing waits until everything in flight is back; the peer gets all of it and "
                  "the end of the stream");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  size = connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  reader = zcio_test_reader_new (fixture.far.socket, 0, ZCIO_TEST_READER_DEFAULT);
  g_assert_true (close_connection (fixture.near.connection, GPOINTER_TO_INT (data), NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, n_buffers);
  g_assert_true (g_socket_is_closed (fixture.near.socket));
  g_assert_true (g_output_stream_is_closed (fixture.near.output));
  g_assert_true (g_input_stream_is_closed (fixture.near.input));
  g_assert_true (close_connection (fixture.near.connection, GPOINTER_TO_INT (data), NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, size);

  connection_fixture_tear_down (&fixture);
}

static void
test_close_in_vain (gconstpointer data)
{
  ConnectionFixture fixture;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  ZcioTestReader *reader;
  GThread *thread;
  gint n_buffers = 0;
  guint64 size;
  GError *error = NULL;

  g_test_summary ("A cancelled close closes the socket all the same, and says that data is still "
                  "on its way; the peer gets all of it and the end of the stream");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  size = connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  thread = g_thread_new ("canceller", zcio_test_cancel_soon, cancellable);
  g_assert_false (close_connection (fixture.near.connection, GPOINTER_TO_INT (data), cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_thread_join (thread);
  g_assert_true (g_socket_is_closed (fixture.near.socket));
  g_assert_cmpuint (zcio_linger_count (), ==, 1);

  reader = zcio_test_reader_new (fixture.far.socket, 0, ZCIO_TEST_READER_DEFAULT);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, size);
  connection_wait_for_linger ();
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, n_buffers);

  connection_fixture_tear_down (&fixture);
}

static void
test_close_timeout (gconstpointer data)
{
  ConnectionFixture fixture;
  ZcioTestReader *reader;
  guint64 size;
  GError *error = NULL;

  g_test_summary ("Closing gives up after the timeout of the socket");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  size = connection_end_fill (&fixture.near, 0, NULL, NULL);
  g_socket_set_timeout (fixture.near.socket, 1);
  g_assert_false (close_connection (fixture.near.connection, GPOINTER_TO_INT (data), NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);

  reader = zcio_test_reader_new (fixture.far.socket, 0, ZCIO_TEST_READER_DEFAULT);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, size);

  connection_fixture_tear_down (&fixture);
}

static void
test_drop (gconstpointer data)
{
  gboolean graceful = GPOINTER_TO_INT (data);
  ConnectionFixture fixture;
  ZcioTestReader *reader;
  gint n_buffers = 0;
  guint64 size;

  g_test_summary ("Dropping a connection with sends in flight waits for nothing; the peer gets "
                  "all of them and the end of the stream");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_tcp_connection_set_graceful_disconnect (G_TCP_CONNECTION (fixture.near.connection), graceful);
  size = connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  /* The peer has not read a byte: a drop that waited would never come back. */
  g_clear_object (&fixture.near.socket);
  g_assert_finalize_object (g_steal_pointer (&fixture.near.connection));
  g_assert_cmpuint (zcio_linger_count (), ==, 1);

  reader = zcio_test_reader_new (fixture.far.socket, 0, ZCIO_TEST_READER_DEFAULT);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, size);
  connection_wait_for_linger ();
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, n_buffers);

  connection_fixture_tear_down (&fixture);
}

static void
test_drop_keeps_the_socket (void)
{
  ConnectionFixture fixture;
  GOutputStream *output;
  GError *error = NULL;

  g_test_summary ("Dropping a connection closes its streams, but not a socket that somebody "
                  "else has, as with GIO's own");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  output = g_object_ref (fixture.near.output);
  connection_end_write (&fixture.near, 0, SIZE, &fixture.released);
  g_assert_finalize_object (g_steal_pointer (&fixture.near.connection));
  g_assert_true (g_output_stream_is_closed (output));
  g_assert_false (g_socket_is_closed (fixture.near.socket));
  g_object_unref (output);

  connection_end_read (&fixture.far, 0, SIZE);
  g_assert_cmpint (g_socket_send (fixture.near.socket, "x", 1, NULL, &error), ==, 1);
  g_assert_no_error (error);

  connection_fixture_tear_down (&fixture);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 1);
}

static gint peer_ends;

static gpointer
end_later (gpointer data)
{
  GSocket *socket = data;
  char buffer[4096];
  GError *error = NULL;

  /* It reads to the end, says a last word, and ends. */
  while (g_socket_receive (socket, buffer, sizeof buffer, NULL, &error) > 0)
    ;
  g_assert_no_error (error);
  for (guint i = 0; i < 64; i++)
    {
      g_assert_cmpint (g_socket_send (socket, buffer, sizeof buffer, NULL, &error), >, 0);
      g_assert_no_error (error);
    }
  g_usleep (20 * 1000);
  g_atomic_int_set (&peer_ends, TRUE);
  g_socket_close (socket, &error);
  g_assert_no_error (error);

  return NULL;
}

static void
test_graceful (gconstpointer data)
{
  ConnectionFixture fixture;
  GThread *thread;
  gint n_buffers = 0;
  GError *error = NULL;

  g_test_summary ("With graceful-disconnect the peer is told of the end, and closing waits for "
                  "the peer's");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_tcp_connection_set_graceful_disconnect (G_TCP_CONNECTION (fixture.near.connection), TRUE);
  connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  g_atomic_int_set (&peer_ends, FALSE);
  thread = g_thread_new ("peer", end_later, fixture.far.socket);
  g_assert_true (close_connection (fixture.near.connection, GPOINTER_TO_INT (data), NULL, &error));
  g_assert_no_error (error);
  /* Otherwise it would not be graceful. */
  g_assert_true (g_atomic_int_get (&peer_ends));
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, n_buffers);
  g_thread_join (thread);

  connection_fixture_tear_down (&fixture);
}

static void
test_graceful_in_vain (gconstpointer data)
{
  ConnectionFixture fixture;
  GError *error = NULL;

  g_test_summary ("A peer that never ends keeps a graceful close only for the timeout of the "
                  "socket");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_tcp_connection_set_graceful_disconnect (G_TCP_CONNECTION (fixture.near.connection), TRUE);
  g_socket_set_timeout (fixture.near.socket, 1);
  connection_end_write (&fixture.near, 0, SIZE, &fixture.released);
  connection_end_read (&fixture.far, 0, SIZE);
  g_assert_false (close_connection (fixture.near.connection, GPOINTER_TO_INT (data), NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  g_assert_true (g_socket_is_closed (fixture.near.socket));
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 1);

  connection_fixture_tear_down (&fixture);
}

static void
test_close_with_operations (gconstpointer data)
{
  ConnectionFixture fixture;
  GAsyncResult *read_result = NULL;
  GAsyncResult *write_result = NULL;
  GBytes *bytes;
  ZcioTestReader *reader;
  gsize written = 0;
  guint64 size;
  char byte;
  GError *error = NULL;

  g_test_summary ("Closing with a read and a write under way ends both with an error; what was "
                  "accepted arrives");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  size = connection_end_fill (&fixture.near, 0, NULL, NULL);
  bytes = zcio_test_pattern_bytes (size, SIZE, &fixture.released);
  zcio_socket_stream_writev_zerocopy_async (fixture.near.stream, &bytes, 1, G_PRIORITY_DEFAULT, NULL,
                                            zcio_test_store_result, &write_result);
  g_bytes_unref (bytes);
  g_input_stream_read_async (fixture.near.input, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                             zcio_test_store_result, &read_result);

  g_assert_true (close_connection (fixture.near.connection, GPOINTER_TO_INT (data), NULL, &error));
  g_assert_no_error (error);
  zcio_test_wait_until (NULL, read_result != NULL && write_result != NULL);
  g_assert_cmpint (g_input_stream_read_finish (fixture.near.input, read_result, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_false (zcio_socket_stream_writev_zerocopy_finish (fixture.near.stream, write_result,
                                                             &written, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);
  g_object_unref (read_result);
  g_object_unref (write_result);

  reader = zcio_test_reader_new (fixture.far.socket, 0, ZCIO_TEST_READER_DEFAULT);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, size + written);

  connection_fixture_tear_down (&fixture);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 1);
}

static void
test_half_close (void)
{
  ConnectionFixture fixture;
  char byte;
  GError *error = NULL;

  g_test_summary ("Each direction can be ended by itself, and the other goes on");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  connection_end_write (&fixture.near, 0, SIZE, &fixture.released);
  g_socket_shutdown (fixture.near.socket, FALSE, TRUE, &error);
  g_assert_no_error (error);

  connection_end_read (&fixture.far, 0, SIZE);
  g_assert_cmpint (g_input_stream_read (fixture.far.input, &byte, 1, NULL, &error), ==, 0);
  g_assert_no_error (error);
  connection_end_write (&fixture.far, 0, SIZE, &fixture.released);
  connection_end_read (&fixture.near, 0, SIZE);
  g_assert_cmpint (g_output_stream_write (fixture.near.output, "x", 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  g_clear_error (&error);

  g_socket_shutdown (fixture.far.socket, FALSE, TRUE, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_input_stream_read (fixture.near.input, &byte, 1, NULL, &error), ==, 0);
  g_assert_no_error (error);

  connection_fixture_tear_down (&fixture);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 2);
}

int
main (int    argc,
      char **argv)
{
  static const struct
  {
    const char *name;
    GTestDataFunc function;
  } closings[] = {
    { "flush", test_close },
    { "cancel", test_close_in_vain },
    { "timeout", test_close_timeout },
    { "graceful", test_graceful },
    { "graceful-timeout", test_graceful_in_vain },
    { "operations", test_close_with_operations },
  };

  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (closings); i++)
    {
      g_autofree char *sync_path = g_strdup_printf ("/tcp-connection/close/%s/sync", closings[i].name);
      g_autofree char *async_path = g_strdup_printf ("/tcp-connection/close/%s/async", closings[i].name);

      g_test_add_data_func (sync_path, GINT_TO_POINTER (CLOSE_SYNC), closings[i].function);
      g_test_add_data_func (async_path, GINT_TO_POINTER (CLOSE_ASYNC), closings[i].function);
    }

  g_test_add_data_func ("/tcp-connection/drop/plain", GINT_TO_POINTER (FALSE), test_drop);
  g_test_add_data_func ("/tcp-connection/drop/graceful", GINT_TO_POINTER (TRUE), test_drop);
  g_test_add_func ("/tcp-connection/drop/keeps-the-socket", test_drop_keeps_the_socket);
  g_test_add_func ("/tcp-connection/half-close", test_half_close);

  return g_test_run ();
}
