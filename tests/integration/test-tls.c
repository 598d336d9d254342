/* test-tls.c - TLS of glib-networking over ZcioSocketStreams
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include "test-util.h"

#define SIZE (8 * 1024 * 1024)

/* A certificate that is its own issuer, made for this test; good until 2126. */
static const char certificate_pem[] =
  "-----BEGIN CERTIFICATE-----\n"
  "MIIBfzCCASWgAwIBAgIUcgTAMFhMzUaQqhObfiN+RfMO1nMwCgYIKoZIzj0EAwIw\n"
  "FDESMBAGA1UEAwwJemNpby10ZXN0MCAXDTI2MTEyNjIwMzIyNVoYDzIxMjYxMTAy\n"
  "MjAzMjI1WjAUMRIwEAYDVQQDDAl6Y2lvLXRlc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
  "PQMBBwNCAAQaI9LRZTbgSsX7cf2Xa01rcgKHkSdDKHiW05svqVX7247sZR7RmC7A\n"
  "3xUrMPBalzHobpLD40+8b6C4pjT9HHUMo1MwUTAdBgNVHQ4EFgQUmZrjFs2/2xCC\n"
  "WuAvMFNmjtz9GsYwHwYDVR0jBBgwFoAUmZrjFs2/2xCCWuAvMFNmjtz9GsYwDwYD\n"
  "VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAiH4xSoPW+jRXT1hmdT49\n"
  "cFrU8zItmPWcBlvbl0V3PsACIC70YuxQ+2u5ktuqsqG5sBea/39dMkooH/zVtLmq\n"
  "bHfM\n"
  "-----END CERTIFICATE-----\n"
  "-----BEGIN PRIVATE KEY-----\n"
  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4u42VRzjEOOZo4GP\n"
  "7NkjwWOk5bHHx2R3VXmWkVbMKiGhRANCAAQaI9LRZTbgSsX7cf2Xa01rcgKHkSdD\n"
  "KHiW05svqVX7247sZR7RmC7A3xUrMPBalzHobpLD40+8b6C4pjT9HHUM\n"
  "-----END PRIVATE KEY-----\n";

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

static gboolean
accept_certificate (GTlsConnection       *connection,
                    GTlsCertificate      *certificate,
                    GTlsCertificateFlags  errors,
                    gpointer              user_data)
{
  return TRUE;
}

typedef struct
{
  GIOStream *client;
  guint64 received;
} Client;

static gpointer
receive_all (gpointer data)
{
  Client *client = data;
  GInputStream *stream = g_io_stream_get_input_stream (client->client);
  g_autofree guint8 *buffer = g_malloc (65536);
  gssize n;
  GError *error = NULL;

  while ((n = g_input_stream_read (stream, buffer, 65536, NULL, &error)) > 0)
    {
      g_assert_cmpuint (zcio_test_pattern_check (client->received, buffer, n), ==, n);
      client->received += n;
    }
  g_assert_no_error (error);
  g_io_stream_close (client->client, NULL, &error);
  g_assert_no_error (error);
  return NULL;
}

static void
test_tls (gconstpointer data)
{
  gboolean is_async = GPOINTER_TO_INT (data);
  g_autoptr (GTlsCertificate) certificate = NULL;
  g_autoptr (GIOStream) server_base = NULL;
  g_autoptr (GIOStream) client_base = NULL;
  g_autoptr (GIOStream) server = NULL;
  g_autofree guint8 *sent = g_malloc (SIZE);
  GOutputStream *output;
  Client client = { NULL };
  GThread *thread;
  GAsyncResult *result = NULL;
  GSocket *sockets[2];
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("A server sends through TLS on top of the stream, and the client reads it all");

  if (!g_tls_backend_supports_tls (g_tls_backend_get_default ()))
    {
      g_test_skip ("GIO has no TLS here; it comes with glib-networking");
      return;
    }

  g_assert_true (zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 65536, &sockets[0], &sockets[1]));
  server_base = new_io_stream (sockets[0]);
  client_base = new_io_stream (sockets[1]);
  certificate = g_tls_certificate_new_from_pem (certificate_pem, -1, &error);
  g_assert_no_error (error);
  server = g_tls_server_connection_new (server_base, certificate, &error);
  g_assert_no_error (error);
  client.client = g_tls_client_connection_new (client_base, NULL, &error);
  g_assert_no_error (error);
  g_signal_connect (client.client, "accept-certificate", G_CALLBACK (accept_certificate), NULL);
  thread = g_thread_new ("client", receive_all, &client);

  zcio_test_pattern_fill (0, sent, SIZE);
  output = g_io_stream_get_output_stream (server);
  if (is_async)
    {
      g_output_stream_write_all_async (output, sent, SIZE, G_PRIORITY_DEFAULT, NULL,
                                       zcio_test_store_result, &result);
      zcio_test_wait_until (NULL, result != NULL);
      g_output_stream_write_all_finish (output, result, &written, &error);
      g_clear_object (&result);
      g_assert_no_error (error);
      g_io_stream_close_async (server, G_PRIORITY_DEFAULT, NULL, zcio_test_store_result, &result);
      zcio_test_wait_until (NULL, result != NULL);
      g_io_stream_close_finish (server, result, &error);
      g_clear_object (&result);
    }
  else
    {
      g_output_stream_write_all (output, sent, SIZE, &written, NULL, &error);
      g_assert_no_error (error);
      g_io_stream_close (server, NULL, &error);
    }
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, SIZE);
  g_assert_true (g_io_stream_is_closed (server_base));

  g_thread_join (thread);
  g_assert_cmpuint (client.received, ==, SIZE);
  g_object_unref (client.client);
  g_object_unref (sockets[0]);
  g_object_unref (sockets[1]);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/tls/blocking", GINT_TO_POINTER (FALSE), test_tls);
  g_test_add_data_func ("/tls/async", GINT_TO_POINTER (TRUE), test_tls);

  return g_test_run ();
}
