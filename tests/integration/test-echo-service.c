/* test-echo-service.c - an echo server that knows nothing of zcio
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include "test-util.h"

#define N_CLIENTS 8
#define SIZE ((gsize) 4 * 1024 * 1024)

typedef struct
{
  const char *type;
  guint n_connections;
} Seen;

static void
note_type (Seen              *seen,
           GSocketConnection *connection)
{
  g_atomic_pointer_set (&seen->type, G_OBJECT_TYPE_NAME (connection));
  g_atomic_int_inc (&seen->n_connections);
}

/* The program, in its asynchronous form */

static void
on_spliced (GObject      *object,
            GAsyncResult *result,
            gpointer      user_data)
{
  GError *error = NULL;

  g_assert_cmpint (g_output_stream_splice_finish (G_OUTPUT_STREAM (object), result, &error), ==, SIZE);
  g_assert_no_error (error);
  g_io_stream_close_async (user_data, G_PRIORITY_DEFAULT, NULL, NULL, NULL);
  g_object_unref (user_data);
}

static gboolean
on_incoming (GSocketService    *service,
             GSocketConnection *connection,
             GObject           *source,
             gpointer           user_data)
{
  GIOStream *stream = g_object_ref (G_IO_STREAM (connection));

  note_type (user_data, connection);
  g_output_stream_splice_async (g_io_stream_get_output_stream (stream),
                                g_io_stream_get_input_stream (stream),
                                G_OUTPUT_STREAM_SPLICE_NONE, G_PRIORITY_DEFAULT, NULL,
                                on_spliced, stream);

  return TRUE;
}

/* And in its blocking form, in a thread for each connection */

static gboolean
on_run (GThreadedSocketService *service,
        GSocketConnection      *connection,
        GObject                *source,
        gpointer                user_data)
{
  GIOStream *stream = G_IO_STREAM (connection);
  GError *error = NULL;

  note_type (user_data, connection);
  g_output_stream_splice (g_io_stream_get_output_stream (stream),
                          g_io_stream_get_input_stream (stream),
                          G_OUTPUT_STREAM_SPLICE_NONE, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_io_stream_close (stream, NULL, &error));
  g_assert_no_error (error);

  return TRUE;
}

typedef struct
{
  guint16 port;
  gint n_done;
} Clients;

static gpointer
send_pattern (gpointer data)
{
  GIOStream *stream = data;
  g_autofree char *buffer = g_malloc (SIZE);
  GError *error = NULL;

  zcio_test_pattern_fill (0, buffer, SIZE);
  g_output_stream_write_all (g_io_stream_get_output_stream (stream), buffer, SIZE, NULL, NULL, &error);
  g_assert_no_error (error);
  g_socket_shutdown (g_socket_connection_get_socket (G_SOCKET_CONNECTION (stream)), FALSE, TRUE, &error);
  g_assert_no_error (error);

  return NULL;
}

static gpointer
run_client (gpointer data)
{
  Clients *clients = data;
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GSocketConnection) connection = NULL;
  g_autofree char *buffer = g_malloc (SIZE + 1);
  GThread *sender;
  gsize n = 0;
  GError *error = NULL;

  connection = g_socket_client_connect_to_host (client, "localhost", clients->port, NULL, &error);
  g_assert_no_error (error);
  sender = g_thread_new ("sender", send_pattern, connection);
  g_input_stream_read_all (g_io_stream_get_input_stream (G_IO_STREAM (connection)), buffer, SIZE + 1,
                           &n, NULL, &error);
  g_assert_no_error (error);
  g_thread_join (sender);
  g_assert_cmpuint (n, ==, SIZE);
  g_assert_cmpuint (zcio_test_pattern_check (0, buffer, SIZE), ==, SIZE);
  g_atomic_int_inc (&clients->n_done);

  return NULL;
}

static void
run_service (GSocketService *service,
             Seen           *seen)
{
  GThread *threads[N_CLIENTS];
  Clients clients = { 0 };
  GError *error = NULL;

  clients.port = g_socket_listener_add_any_inet_port (G_SOCKET_LISTENER (service), NULL, &error);
  g_assert_no_error (error);
  g_socket_service_start (service);

  for (guint i = 0; i < N_CLIENTS; i++)
    threads[i] = g_thread_new ("client", run_client, &clients);
  zcio_test_wait_until (NULL, g_atomic_int_get (&clients.n_done) == N_CLIENTS);
  for (guint i = 0; i < N_CLIENTS; i++)
    g_thread_join (threads[i]);

  g_assert_cmpuint (g_atomic_int_get (&seen->n_connections), ==, N_CLIENTS);
  g_socket_service_stop (service);
  g_socket_listener_close (G_SOCKET_LISTENER (service));
  g_object_unref (service);
}

static void
test_echo (gconstpointer data)
{
  const char *expected_type = data;
  Seen seen = { 0 };
  GSocketService *service;

  g_test_summary ("An echo server on GSocketService and on GThreadedSocketService works the same "
                  "with both kinds of connection");

  if (g_strcmp0 (expected_type, "ZcioTcpConnection") == 0)
    zcio_tcp_connection_register ();

  service = g_socket_service_new ();
  g_signal_connect (service, "incoming", G_CALLBACK (on_incoming), &seen);
  run_service (service, &seen);
  g_assert_cmpstr (seen.type, ==, expected_type);

  seen.n_connections = 0;
  service = g_threaded_socket_service_new (N_CLIENTS);
  g_signal_connect (service, "run", G_CALLBACK (on_run), &seen);
  run_service (service, &seen);
  g_assert_cmpstr (seen.type, ==, expected_type);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  /* There is no way back from registering, so this order matters. */
  g_test_add_data_func ("/echo-service/1-gio", "GTcpConnection", test_echo);
  g_test_add_data_func ("/echo-service/2-zcio", "ZcioTcpConnection", test_echo);

  return g_test_run ();
}
