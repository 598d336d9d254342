/* ownership.c - the ways to hand memory over
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common.h"

/* bytes { */
static gboolean
send_text (ZcioSocketStream *stream, char *text, GError **error)
{
  /* takes text over: g_free() will be called when the kernel is done */
  g_autoptr (GBytes) bytes = g_bytes_new_take (text, strlen (text));

  return zcio_socket_stream_write_zerocopy (stream, bytes, NULL, NULL, error);
}
/* } bytes */

/* full { */
typedef struct
{
  char header[64];
  char pages[8][4096];
} Message;

static gboolean
send_message (ZcioSocketStream *stream, GError **error)
{
  Message *message = g_new0 (Message, 1);
  GOutputVector vectors[] = {
    { message->header, sizeof message->header },
    { message->pages[2], 4096 },
    { message->pages[5], 4096 },
  };

  /* g_free (message) is called exactly once, also if this fails */
  return zcio_socket_stream_writev_zerocopy_full (stream, vectors, G_N_ELEMENTS (vectors),
                                                  g_free, message, NULL, NULL, error);
}
/* } full */

/* pool { */
static gboolean
send_from_pool (ZcioSocketStream *stream, ZcioBufferPool *pool, GError **error)
{
  g_autoptr (ZcioBuffer) buffer = zcio_buffer_pool_acquire (pool, error);
  g_autoptr (GBytes) bytes = NULL;
  gpointer data;
  gsize size;

  if (buffer == NULL)
    return FALSE;

  data = zcio_buffer_get_data (buffer, &size);
  memset (data, 'p', size);

  /* from here on the memory must not be written to */
  bytes = zcio_buffer_to_bytes (buffer, size);
  return zcio_socket_stream_write_zerocopy (stream, bytes, NULL, NULL, error);
}
/* } pool */

int
main (int argc, char **argv)
{
  g_autoptr (GSocketConnection) connection = connect_to (argv);
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (65536);
  ZcioSocketStream *stream = get_stream (connection);
  GError *error = NULL;

  /* over loopback AUTO copies */
  zcio_socket_stream_set_zero_copy_mode (stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  check (send_text (stream, g_strdup ("text\n"), &error), error);
  check (send_message (stream, &error), error);
  for (int i = 0; i < 16; i++)
    check (send_from_pool (stream, pool, &error), error);
  check (g_io_stream_close (G_IO_STREAM (connection), NULL, &error), error);

  g_print ("%" G_GUINT64_FORMAT " buffers handed out, %" G_GUINT64_FORMAT " of them used before\n",
           zcio_buffer_pool_get_n_acquired (pool), zcio_buffer_pool_get_n_recycled (pool));
  return 0;
}
