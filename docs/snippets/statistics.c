/* statistics.c - says what became of what was sent
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common.h"

/* statistics { */
static void
report (ZcioSocketStream *stream)
{
  g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (stream);
  g_autofree char *all = zcio_statistics_to_string (statistics);

  if (statistics->bytes_copied_by_kernel > statistics->bytes_zero_copied)
    g_print ("mostly copied by the kernel after all\n");
  g_print ("%s\n", all);
}
/* } statistics */

int
main (int argc, char **argv)
{
  g_autoptr (GSocketConnection) connection = connect_to (argv);
  g_autoptr (GBytes) block = g_bytes_new_take (g_malloc0 (1 << 20), 1 << 20);
  GError *error = NULL;

  /* over loopback AUTO copies, and the kernel all the same */
  zcio_socket_stream_set_zero_copy_mode (get_stream (connection), ZCIO_ZERO_COPY_MODE_ALWAYS);
  for (int i = 0; i < 16; i++)
    check (zcio_socket_stream_write_zerocopy (get_stream (connection), block, NULL, NULL, &error), error);
  check (zcio_socket_stream_drain (get_stream (connection), 0, NULL, &error), error);
  report (get_stream (connection));
  check (g_io_stream_close (G_IO_STREAM (connection), NULL, &error), error);
  return 0;
}
