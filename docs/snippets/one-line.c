/* one-line.c - a program of GIO, and one line
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
  g_autoptr (GFile) file = g_file_new_for_path (argv[0]);
  g_autoptr (GFileInputStream) input = NULL;
  g_autoptr (GError) error = NULL;

  zcio_tcp_connection_register (); /* the line */

  client = g_socket_client_new ();
  connection = g_socket_client_connect_to_host (client, argv[1], atoi (argv[2]), NULL, &error);
  if (connection != NULL)
    input = g_file_read (file, NULL, &error);
  if (input != NULL)
    send_file (G_IO_STREAM (connection), G_INPUT_STREAM (input), &error);
  if (error == NULL)
    g_io_stream_close (G_IO_STREAM (connection), NULL, &error);
  if (error != NULL)
    g_error ("%s", error->message);

  return 0;
}
/* } program */
