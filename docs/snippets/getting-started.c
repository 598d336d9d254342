/* getting-started.c - sends 64 MiB to HOST PORT without copying them
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdlib.h>
#include <zcio/zcio.h>

#define SIZE (64 * 1024 * 1024)

static gboolean
send_all (GOutputStream *stream, GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new_take (g_malloc0 (SIZE), SIZE);
  g_autofree char *what = NULL;

  /* a plain call: copies, the memory is ours again at once */
  if (!g_output_stream_write_all (stream, "hello\n", 6, NULL, NULL, error))
    return FALSE;

  /* a zero-copy call: the stream has taken a reference to the bytes */
  if (!zcio_socket_stream_write_zerocopy (ZCIO_SOCKET_STREAM (stream), bytes,
                                          NULL, NULL, error))
    return FALSE;

  what = zcio_socket_stream_describe (ZCIO_SOCKET_STREAM (stream));
  g_print ("%s\n", what);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GSocketConnection) connection = NULL;

  if (argc != 3)
    {
      g_printerr ("usage: %s HOST PORT\n", argv[0]);
      return 2;
    }

  /* from now on GIO's connections can send by zero-copy */
  zcio_tcp_connection_register ();

  connection = g_socket_client_connect_to_host (client, argv[1], atoi (argv[2]), NULL, &error);
  if (connection == NULL ||
      !send_all (g_io_stream_get_output_stream (G_IO_STREAM (connection)), &error) ||
      /* closing waits until the kernel has released the bytes */
      !g_io_stream_close (G_IO_STREAM (connection), NULL, &error))
    {
      g_printerr ("%s\n", error->message);
      return 1;
    }

  return 0;
}
