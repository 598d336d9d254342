/* one-line.c - a program of GIO, and one line: sends a file to HOST PORT
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdlib.h>
#include <zcio/zcio.h>

/* program { */
static void
send_file (GIOStream *connection, GInputStream *file, GError **error)
{
  GOutputStream *stream = g_io_stream_get_output_stream (connection);

  g_output_stream_splice (stream, file, G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE, NULL, error);
}

int
main (int argc, char **argv)
{
  g_autoptr (GSocketClient) client = NULL;
  g_autoptr (GSocketConnection) connection = NULL;
  g_autoptr (GFile) file = NULL;
  g_autoptr (GFileInputStream) input = NULL;
  g_autoptr (GError) error = NULL;

  if (argc != 4)
    {
      g_printerr ("usage: %s HOST PORT FILE\n", argv[0]);
      return 2;
    }

  zcio_tcp_connection_register (); /* the line */

  file = g_file_new_for_path (argv[3]);
  client = g_socket_client_new ();
  connection = g_socket_client_connect_to_host (client, argv[1], atoi (argv[2]), NULL, &error);
  if (connection != NULL)
    input = g_file_read (file, NULL, &error);
  if (input != NULL)
    send_file (G_IO_STREAM (connection), G_INPUT_STREAM (input), &error);
  if (error == NULL)
    g_io_stream_close (G_IO_STREAM (connection), NULL, &error);
  if (error != NULL)
    {
      g_printerr ("%s\n", error->message);
      return 1;
    }

  return 0;
}
/* } program */
