/* completions.c - writes and hears of completions on the main loop
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common.h"

#define BLOCKS 64
#define BLOCK_SIZE (256 * 1024)

static guint64 released;

/* signal { */
static void
on_completed (ZcioSocketStream *stream, guint sends, guint64 bytes,
              gboolean zero_copied, gpointer user_data)
{
  released += bytes;
}
/* } signal */

/* watch { */
static gboolean
on_completion (ZcioSocketStream *stream, guint sends, guint64 bytes, gpointer user_data)
{
  guint *calls = user_data;

  (*calls)++;
  return G_SOURCE_CONTINUE;
}
/* } watch */

/* write { */
typedef struct
{
  ZcioSocketStream *stream;
  GMainLoop *loop;
  GBytes *block;
  int blocks_left;
} Sender;

static void write_next (Sender *sender);

static void
on_drained (GObject *object, GAsyncResult *result, gpointer user_data)
{
  Sender *sender = user_data;
  GError *error = NULL;

  check (zcio_socket_stream_drain_finish (sender->stream, result, &error), error);
  g_main_loop_quit (sender->loop);
}

static void
on_accepted (GObject *object, GAsyncResult *result, gpointer user_data)
{
  Sender *sender = user_data;
  GError *error = NULL;

  check (zcio_socket_stream_writev_zerocopy_finish (sender->stream, result, NULL, &error), error);
  write_next (sender);
}

static void
write_next (Sender *sender)
{
  if (sender->blocks_left-- > 0)
    zcio_socket_stream_writev_zerocopy_async (sender->stream, &sender->block, 1,
                                              G_PRIORITY_DEFAULT, NULL, on_accepted, sender);
  else
    zcio_socket_stream_drain_async (sender->stream, 0, G_PRIORITY_DEFAULT, NULL,
                                    on_drained, sender);
}
/* } write */

int
main (int argc, char **argv)
{
  g_autoptr (GSocketConnection) connection = connect_to (argv);
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GBytes) block = g_bytes_new_take (g_malloc0 (BLOCK_SIZE), BLOCK_SIZE);
  Sender sender = { get_stream (connection), loop, block, BLOCKS };
  GError *error = NULL;
  guint calls = 0;

  /* over loopback AUTO copies, and there would be nothing to hear of */
  zcio_socket_stream_set_zero_copy_mode (sender.stream, ZCIO_ZERO_COPY_MODE_ALWAYS);

  g_signal_connect (sender.stream, "completed", G_CALLBACK (on_completed), NULL);
  zcio_socket_stream_add_completion_watch (sender.stream, G_PRIORITY_DEFAULT,
                                           on_completion, &calls, NULL);

  write_next (&sender);
  g_main_loop_run (loop);

  while (calls == 0)
    g_main_context_iteration (NULL, TRUE);
  g_print ("%" G_GUINT64_FORMAT " bytes released\n", released);
  check (g_io_stream_close (G_IO_STREAM (connection), NULL, &error), error);
  return 0;
}
