/* threads.c - one thread writes, another one waits for the kernel
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common.h"

/* threads { */
static gpointer
write_blocks (gpointer data)
{
  ZcioSocketStream *stream = data;
  GError *error = NULL;

  for (int i = 0; i < 64; i++)
    {
      g_autoptr (GBytes) block = g_bytes_new_take (g_malloc0 (1 << 18), 1 << 18);

      check (zcio_socket_stream_write_zerocopy (stream, block, NULL, NULL, &error), error);
    }
  return NULL;
}

static void
run (ZcioSocketStream *stream)
{
  GThread *writer = g_thread_new ("writer", write_blocks, stream);
  GError *error = NULL;

  /* allowed at any time: it is no write */
  check (zcio_socket_stream_drain (stream, 1 << 20, NULL, &error), error);

  g_thread_join (writer);
  check (zcio_socket_stream_drain (stream, 0, NULL, &error), error);
}
/* } threads */

int
main (int argc, char **argv)
{
  g_autoptr (GSocketConnection) connection = connect_to (argv);
  GError *error = NULL;

  zcio_socket_stream_set_zero_copy_mode (get_stream (connection), ZCIO_ZERO_COPY_MODE_ALWAYS);
  run (get_stream (connection));
  check (g_io_stream_close (G_IO_STREAM (connection), NULL, &error), error);
  return 0;
}
