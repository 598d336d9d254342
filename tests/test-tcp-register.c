/* test-tcp-register.c - GIO makes the connections by itself
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include "test-util.h"

typedef GTcpConnection OtherConnection;
typedef GTcpConnectionClass OtherConnectionClass;

static GType other_connection_get_type (void);

G_DEFINE_TYPE (OtherConnection, other_connection, G_TYPE_TCP_CONNECTION)

static void
other_connection_class_init (OtherConnectionClass *klass)
{
}

static void
other_connection_init (OtherConnection *self)
{
}

static gpointer
register_in_thread (gpointer data)
{
  for (guint i = 0; i < 100; i++)
    zcio_tcp_connection_register ();

  return NULL;
}

static GSocketConnection *
construct (GType type)
{
  GSocket *socket;
  GSocketConnection *connection;
  GError *error = NULL;

  socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
  g_assert_no_error (error);
  connection = g_object_new (type, "socket", socket, "graceful-disconnect", TRUE, NULL);
  g_assert_true (g_socket_connection_get_socket (connection) == socket);
  g_assert_true (g_tcp_connection_get_graceful_disconnect (G_TCP_CONNECTION (connection)));
  g_object_unref (socket);

  return connection;
}

static void
count_notification (GObject    *object,
                    GParamSpec *pspec,
                    gpointer    data)
{
  ++*(guint *) data;
}

static void
test_construct (void)
{
  GThread *threads[4];
  GSocketConnection *connection;
  guint n_notifications = 0;

  g_test_summary ("Registering, in any thread and often, changes what becomes of a GTcpConnection, "
                  "and of nothing else");

  connection = construct (G_TYPE_TCP_CONNECTION);
  g_assert_false (ZCIO_IS_TCP_CONNECTION (connection));
  g_assert_finalize_object (connection);

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("registrar", register_in_thread, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);

  /* Its properties are set, and are notified as those of any other object. */
  connection = construct (G_TYPE_TCP_CONNECTION);
  g_assert_true (ZCIO_IS_TCP_CONNECTION (connection));
  g_signal_connect (connection, "notify::graceful-disconnect", G_CALLBACK (count_notification),
                    &n_notifications);
  g_tcp_connection_set_graceful_disconnect (G_TCP_CONNECTION (connection), FALSE);
  g_assert_cmpuint (n_notifications, ==, 1);
  g_assert_finalize_object (connection);

  connection = construct (ZCIO_TYPE_TCP_CONNECTION);
  g_assert_true (ZCIO_IS_TCP_CONNECTION (connection));
  g_assert_finalize_object (connection);

  connection = construct (other_connection_get_type ());
  g_assert_true (G_OBJECT_TYPE (connection) == other_connection_get_type ());
  g_assert_finalize_object (connection);
}

/* One way of connecting; one of accepting. */
static void
test_client_and_listener (gconstpointer data)
{
  gboolean async = GPOINTER_TO_INT (data);
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GSocketListener) listener = g_socket_listener_new ();
  g_autoptr (GSocketConnection) connection = NULL;
  g_autoptr (GSocketConnection) accepted = NULL;
  GAsyncResult *connect_result = NULL;
  GAsyncResult *accept_result = NULL;
  guint16 port;
  GError *error = NULL;

  g_test_summary ("GSocketClient and GSocketListener make such connections, and they work");

  zcio_tcp_connection_register ();
  port = g_socket_listener_add_any_inet_port (listener, NULL, &error);
  g_assert_no_error (error);

  if (async)
    {
      g_socket_client_connect_to_host_async (client, "localhost", port, NULL, zcio_test_store_result,
                                             &connect_result);
      g_socket_listener_accept_async (listener, NULL, zcio_test_store_result, &accept_result);
      zcio_test_wait_until (NULL, connect_result != NULL && accept_result != NULL);
      connection = g_socket_client_connect_to_host_finish (client, connect_result, &error);
      g_assert_no_error (error);
      accepted = g_socket_listener_accept_finish (listener, accept_result, NULL, &error);
      g_assert_no_error (error);
      g_object_unref (connect_result);
      g_object_unref (accept_result);
    }
  else
    {
      connection = g_socket_client_connect_to_host (client, "localhost", port, NULL, &error);
      g_assert_no_error (error);
      accepted = g_socket_listener_accept (listener, NULL, NULL, &error);
      g_assert_no_error (error);
    }

  g_assert_true (ZCIO_IS_TCP_CONNECTION (connection));
  g_assert_true (ZCIO_IS_TCP_CONNECTION (accepted));
  g_assert_true (ZCIO_IS_SOCKET_STREAM (g_io_stream_get_output_stream (G_IO_STREAM (accepted))));

  for (guint i = 0; i < 4; i++)
    {
      char buffer[4] = { 0 };

      g_output_stream_write_all (g_io_stream_get_output_stream (G_IO_STREAM (accepted)), "zcio", 4,
                                 NULL, NULL, &error);
      g_assert_no_error (error);
      g_input_stream_read_all (g_io_stream_get_input_stream (G_IO_STREAM (connection)), buffer, 4,
                               NULL, NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpmem (buffer, 4, "zcio", 4);
    }

  g_assert_true (g_io_stream_close (G_IO_STREAM (connection), NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_io_stream_close (G_IO_STREAM (accepted), NULL, &error));
  g_assert_no_error (error);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  /* There is no way back from registering, so this order matters. */
  g_test_add_func ("/tcp-register/construct", test_construct);
  g_test_add_data_func ("/tcp-register/gio/sync", GINT_TO_POINTER (FALSE), test_client_and_listener);
  g_test_add_data_func ("/tcp-register/gio/async", GINT_TO_POINTER (TRUE), test_client_and_listener);

  return g_test_run ();
}
