/* limits.c - hears when zero-copy stops or resumes
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common.h"

/* state { */
static void
on_state_changed (ZcioSocketStream *stream, GParamSpec *pspec, gpointer user_data)
{
  g_autofree char *what = zcio_socket_stream_describe (stream);

  g_print ("%s\n", what);
}
/* } state */

int
main (int argc, char **argv)
{
  g_autoptr (GSocketConnection) connection = connect_to (argv);
  g_autoptr (GBytes) block = g_bytes_new_take (g_malloc0 (1 << 20), 1 << 20);
  ZcioSocketStream *stream = get_stream (connection);
  GError *error = NULL;

  g_signal_connect (stream, "notify::zero-copy-state", G_CALLBACK (on_state_changed), NULL);

  /* budget { */
  /* no more than 8 MiB of our memory at the kernel's at any time */
  g_object_set (stream, "max-bytes-in-flight", (guint64) 8 << 20, NULL);
  /* } budget */

  zcio_socket_stream_set_zero_copy_mode (stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  for (int i = 0; i < 32; i++)
    {
      if (i == 16)
        zcio_socket_stream_set_zero_copy_mode (stream, ZCIO_ZERO_COPY_MODE_NEVER);
      check (zcio_socket_stream_write_zerocopy (stream, block, NULL, NULL, &error), error);
      while (g_main_context_iteration (NULL, FALSE))
        ;
    }
  check (g_io_stream_close (G_IO_STREAM (connection), NULL, &error), error);
  return 0;
}
