/* http-server.c - serves the files of a directory over HTTP, on libsoup
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: http-server DIRECTORY [PORT]
 *
 * libsoup reads the request; the answer goes over the stream that it has taken it from, by
 * g_output_stream_splice_async(). Without the one line below that copies each byte twice;
 * with it the files go out from the page cache.
 */

#include <libsoup/soup.h>
#include <stdlib.h>
#include <zcio/zcio.h>

/* Ends the program with the error. */
static void G_GNUC_NORETURN
fail (const GError *error)
{
  g_printerr ("%s\n", error->message);
  exit (1);
}

typedef struct
{
  GIOStream *connection;
  GFileInputStream *file;
} Answer;

static void
answer_free (Answer *answer)
{
  g_io_stream_close_async (answer->connection, G_PRIORITY_DEFAULT, NULL, NULL, NULL);
  g_object_unref (answer->connection);
  g_object_unref (answer->file);
  g_free (answer);
}

static void
on_sent (GObject *object, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GError) error = NULL;

  if (g_output_stream_splice_finish (G_OUTPUT_STREAM (object), result, &error) < 0)
    g_printerr ("%s\n", error->message);
  if (ZCIO_IS_SOCKET_STREAM (object))
    {
      g_autofree char *what = zcio_socket_stream_describe (ZCIO_SOCKET_STREAM (object));

      g_printerr ("%s\n", what);
    }
  answer_free (user_data);
}

static void
send_file (SoupServerMessage *message, GFileInputStream *file, goffset size)
{
  Answer *answer = g_new0 (Answer, 1);
  g_autofree char *header = g_strdup_printf ("HTTP/1.1 200 OK\r\n"
                                             "Content-Length: %" G_GOFFSET_FORMAT "\r\n"
                                             "Connection: close\r\n\r\n", size);
  GOutputStream *stream;

  answer->connection = soup_server_message_steal_connection (message);
  answer->file = g_object_ref (file);
  stream = g_io_stream_get_output_stream (answer->connection);

  if (g_output_stream_write_all (stream, header, strlen (header), NULL, NULL, NULL))
    g_output_stream_splice_async (stream, G_INPUT_STREAM (file), G_OUTPUT_STREAM_SPLICE_NONE,
                                  G_PRIORITY_DEFAULT, NULL, on_sent, answer);
  else
    answer_free (answer);
}

static void
on_request (SoupServer *server, SoupServerMessage *message, const char *path,
            GHashTable *query, gpointer user_data)
{
  GFile *root = user_data;
  g_autoptr (GFile) file = g_file_resolve_relative_path (root, path + 1);
  g_autoptr (GFileInputStream) input = NULL;
  g_autoptr (GFileInfo) info = NULL;

  if (soup_server_message_get_method (message) == SOUP_METHOD_GET && g_file_has_prefix (file, root))
    input = g_file_read (file, NULL, NULL);
  if (input != NULL)
    info = g_file_input_stream_query_info (input, G_FILE_ATTRIBUTE_STANDARD_SIZE, NULL, NULL);
  if (info != NULL)
    send_file (message, input, g_file_info_get_size (info));
  else
    soup_server_message_set_status (message, SOUP_STATUS_NOT_FOUND, NULL);
}

int
main (int argc, char **argv)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (SoupServer) server = NULL;
  g_autoptr (GFile) root = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *uri = NULL;
  GSList *uris;

  if (argc < 2)
    {
      g_printerr ("usage: %s DIRECTORY [PORT]\n", argv[0]);
      return 2;
    }

  zcio_tcp_connection_register (); /* the line */

  root = g_file_new_for_path (argv[1]);
  server = soup_server_new ("server-header", "zcio-example ", NULL);
  soup_server_add_handler (server, NULL, on_request, root, NULL);
  if (!soup_server_listen_local (server, argc > 2 ? atoi (argv[2]) : 0, SOUP_SERVER_LISTEN_IPV4_ONLY, &error))
    fail (error);

  uris = soup_server_get_uris (server);
  uri = g_uri_to_string (uris->data);
  g_slist_free_full (uris, (GDestroyNotify) g_uri_unref);
  g_print ("%s\n", uri);

  g_main_loop_run (loop);
  return 0;
}
