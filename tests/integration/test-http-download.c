/* test-http-download.c - an HTTP download whose two ends know nothing of zcio
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <libsoup/soup.h>
#include <zcio/zcio.h>

#include "test-util.h"

#define SIZE ((gsize) 16 * 1024 * 1024)
#define N_DOWNLOADS 4

#ifdef __SANITIZE_ADDRESS__
/* libsoup leaks a GSocket with each server; so it does in the case without zcio. */
int __lsan_is_turned_off (void);

int
__lsan_is_turned_off (void)
{
  return 1;
}
#endif

static guint n_zcio_connections;

static void
on_request (SoupServer        *server,
            SoupServerMessage *message,
            const char        *path,
            GHashTable        *query,
            gpointer           user_data)
{
  char *body = g_malloc (SIZE);

  zcio_test_pattern_fill (0, body, SIZE);
  soup_server_message_set_status (message, SOUP_STATUS_OK, NULL);
  soup_server_message_set_response (message, "application/octet-stream", SOUP_MEMORY_TAKE, body, SIZE);
}

/* The client says what kind of connection it has. */
static void
on_network_event (SoupMessage        *message,
                  GSocketClientEvent  event,
                  GIOStream          *connection,
                  gpointer            user_data)
{
  if (event == G_SOCKET_CLIENT_CONNECTED)
    n_zcio_connections += ZCIO_IS_TCP_CONNECTION (connection);
}

static void
download (SoupSession *session,
          const char  *uri)
{
  g_autoptr (SoupMessage) message = soup_message_new (SOUP_METHOD_GET, uri);
  g_autoptr (GBytes) body = NULL;
  GAsyncResult *result = NULL;
  GError *error = NULL;

  g_signal_connect (message, "network-event", G_CALLBACK (on_network_event), NULL);
  soup_session_send_and_read_async (session, message, G_PRIORITY_DEFAULT, NULL,
                                    zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  body = soup_session_send_and_read_finish (session, result, &error);
  g_assert_no_error (error);
  g_object_unref (result);
  g_assert_cmpuint (soup_message_get_status (message), ==, SOUP_STATUS_OK);
  g_assert_cmpuint (g_bytes_get_size (body), ==, SIZE);
  g_assert_cmpuint (zcio_test_pattern_check (0, g_bytes_get_data (body, NULL), SIZE), ==, SIZE);
}

static void
test_download (gconstpointer data)
{
  gboolean registered = GPOINTER_TO_INT (data);
  SoupServer *server;
  SoupSession *session;
  GSList *uris;
  g_autofree char *uri = NULL;
  GError *error = NULL;

  g_test_summary ("Downloads from a SoupServer by a SoupSession, on one main loop, arrive "
                  "unchanged, over connections that are kept alive");

  if (registered)
    zcio_tcp_connection_register ();

  server = soup_server_new (NULL, NULL);
  soup_server_add_handler (server, NULL, on_request, NULL, NULL);
  soup_server_listen_local (server, 0, SOUP_SERVER_LISTEN_IPV4_ONLY, &error);
  g_assert_no_error (error);
  uris = soup_server_get_uris (server);
  uri = g_uri_to_string (uris->data);
  g_slist_free_full (uris, (GDestroyNotify) g_uri_unref);

  session = soup_session_new ();
  for (guint i = 0; i < N_DOWNLOADS; i++)
    download (session, uri);
  g_assert_cmpuint (n_zcio_connections, ==, registered ? 1 : 0);

  soup_session_abort (session);
  soup_server_disconnect (server);
  g_object_unref (session);
  g_object_unref (server);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/http-download/1-gio", GINT_TO_POINTER (FALSE), test_download);
  g_test_add_data_func ("/http-download/2-zcio", GINT_TO_POINTER (TRUE), test_download);

  return g_test_run ();
}
