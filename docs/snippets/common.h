/* common.h - what the programs of the guide do besides
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <stdlib.h>
#include <string.h>
#include <zcio/zcio.h>

/* Ends the program with the error if there is one. */
static inline void
check (gboolean ok,
       GError  *error)
{
  if (ok)
    return;

  g_printerr ("%s\n", error->message);
  exit (1);
}

/* Connects to argv[1], port argv[2]. */
static inline GSocketConnection *
connect_to (char **argv)
{
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GError) error = NULL;
  GSocketConnection *connection;

  if (argv[1] == NULL || argv[2] == NULL)
    {
      g_printerr ("usage: %s HOST PORT\n", argv[0]);
      exit (2);
    }

  zcio_tcp_connection_register ();
  connection = g_socket_client_connect_to_host (client, argv[1], atoi (argv[2]), NULL, &error);
  check (connection != NULL, error);

  return connection;
}

static inline ZcioSocketStream *
get_stream (GSocketConnection *connection)
{
  return ZCIO_SOCKET_STREAM (g_io_stream_get_output_stream (G_IO_STREAM (connection)));
}
