/* test-dbus.c - D-Bus, peer to peer, over ZcioSocketStreams
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include "test-util.h"

#define SIZE (4 * 1024 * 1024)

static const char description[] =
  "<node><interface name='org.example.Test'>"
  "<method name='Echo'><arg type='ay' direction='in'/><arg type='ay' direction='out'/></method>"
  "</interface></node>";

static void
on_call (GDBusConnection       *connection,
         const char            *sender,
         const char            *object_path,
         const char            *interface_name,
         const char            *method_name,
         GVariant              *parameters,
         GDBusMethodInvocation *invocation,
         gpointer               user_data)
{
  g_dbus_method_invocation_return_value (invocation, parameters);
}

static const GDBusInterfaceVTable vtable = { .method_call = on_call };

/* Reads by GIO's stream, and writes by ours. */
static GIOStream *
new_io_stream (GSocket *socket)
{
  g_autoptr (GSocketConnection) connection = g_socket_connection_factory_create_connection (socket);
  g_autoptr (GOutputStream) output = G_OUTPUT_STREAM (zcio_socket_stream_new (socket));
  GIOStream *stream = g_simple_io_stream_new (g_io_stream_get_input_stream (G_IO_STREAM (connection)), output);

  /* It would close its input stream when it goes. */
  g_object_set_data_full (G_OBJECT (stream), "connection", g_steal_pointer (&connection), g_object_unref);
  return stream;
}

static void
test_echo (gconstpointer data)
{
  ZcioTestFamily family = GPOINTER_TO_INT (data);
  g_autofree char *guid = g_dbus_generate_guid ();
  g_autoptr (GDBusNodeInfo) info = g_dbus_node_info_new_for_xml (description, NULL);
  g_autoptr (GIOStream) server_stream = NULL;
  g_autoptr (GIOStream) client_stream = NULL;
  g_autofree guint8 *sent = g_malloc (SIZE);
  GDBusConnection *server;
  GDBusConnection *client;
  GAsyncResult *result = NULL;
  GSocket *sockets[2];
  GError *error = NULL;

  g_test_summary ("Two peers authenticate and exchange large messages; each reads and writes in "
                  "its own thread");

  g_assert_true (zcio_test_socket_pair (family, 65536, &sockets[0], &sockets[1]));
  server_stream = new_io_stream (sockets[0]);
  client_stream = new_io_stream (sockets[1]);

  g_dbus_connection_new (server_stream, guid,
                         G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_SERVER |
                           G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_ALLOW_ANONYMOUS,
                         NULL, NULL, zcio_test_store_result, &result);
  client = g_dbus_connection_new_sync (client_stream, NULL, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT,
                                       NULL, NULL, &error);
  g_assert_no_error (error);
  zcio_test_wait_until (NULL, result != NULL);
  server = g_dbus_connection_new_finish (result, &error);
  g_assert_no_error (error);
  g_clear_object (&result);
  g_dbus_connection_register_object (server, "/", info->interfaces[0], &vtable, NULL, NULL, &error);
  g_assert_no_error (error);

  zcio_test_pattern_fill (0, sent, SIZE);
  for (guint i = 0; i < 4; i++)
    {
      g_autoptr (GVariant) reply = NULL;
      g_autoptr (GVariant) array = NULL;
      gconstpointer received;
      gsize size;

      g_dbus_connection_call (client, NULL, "/", "org.example.Test", "Echo",
                              g_variant_new ("(@ay)", g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, sent, SIZE, 1)),
                              G_VARIANT_TYPE ("(ay)"), G_DBUS_CALL_FLAGS_NONE, G_MAXINT, NULL,
                              zcio_test_store_result, &result);
      zcio_test_wait_until (NULL, result != NULL);
      reply = g_dbus_connection_call_finish (client, result, &error);
      g_assert_no_error (error);
      g_clear_object (&result);

      array = g_variant_get_child_value (reply, 0);
      received = g_variant_get_fixed_array (array, &size, 1);
      g_assert_cmpuint (size, ==, SIZE);
      g_assert_cmpuint (zcio_test_pattern_check (0, received, size), ==, SIZE);
    }

  g_assert_true (g_dbus_connection_flush_sync (client, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_dbus_connection_close_sync (client, NULL, &error));
  g_assert_no_error (error);
  zcio_test_wait_until (NULL, g_output_stream_is_closed (g_io_stream_get_output_stream (client_stream)));
  g_socket_close (sockets[1], NULL);
  zcio_test_wait_until (NULL, g_dbus_connection_is_closed (server));

  g_object_unref (client);
  g_object_unref (server);
  g_object_unref (sockets[0]);
  g_object_unref (sockets[1]);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/dbus/echo/tcp", GINT_TO_POINTER (ZCIO_TEST_FAMILY_IPV4), test_echo);
  g_test_add_data_func ("/dbus/echo/unix", GINT_TO_POINTER (ZCIO_TEST_FAMILY_UNIX), test_echo);

  return g_test_run ();
}
