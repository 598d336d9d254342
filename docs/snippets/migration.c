/* migration.c - headers by copy, scattered pages by zero-copy, one drain a round
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common.h"

#define PAGE_SIZE 4096
#define PAGES_PER_PACKET 128
#define PACKETS 8
#define HEADER_SIZE 1344

/* packet { */
/* memory of the guest: it may change while it is sent, and is then sent again */
static gboolean
send_packet (ZcioSocketStream *stream, char *memory, const guint *pages, GError **error)
{
  GOutputVector vectors[PAGES_PER_PACKET];
  char header[HEADER_SIZE] = { 0 };

  /* a plain call: the header is on our stack */
  if (!g_output_stream_write_all (G_OUTPUT_STREAM (stream), header, sizeof header,
                                  NULL, NULL, error))
    return FALSE;

  for (int i = 0; i < PAGES_PER_PACKET; i++)
    {
      vectors[i].buffer = memory + (gsize) pages[i] * PAGE_SIZE;
      vectors[i].size = PAGE_SIZE;
    }

  /* the memory is ours as long as the guest runs, so there is nothing to release */
  return zcio_socket_stream_writev_zerocopy_full (stream, vectors, PAGES_PER_PACKET,
                                                  NULL, NULL, NULL, NULL, error);
}

static gboolean
end_round (ZcioSocketStream *stream, ZcioStatistics **before, GError **error)
{
  g_autoptr (ZcioStatistics) now = NULL;

  if (!zcio_socket_stream_drain (stream, 0, NULL, error))
    return FALSE;

  now = zcio_socket_stream_get_statistics (stream);
  if (now->bytes_copied_by_kernel > (*before)->bytes_copied_by_kernel)
    g_print ("the kernel copied in this round\n");
  zcio_statistics_free (*before);
  *before = g_steal_pointer (&now);
  return TRUE;
}
/* } packet */

int
main (int argc, char **argv)
{
  g_autoptr (GSocketConnection) connection = connect_to (argv);
  g_autofree char *memory = g_malloc0 (1024 * PAGE_SIZE);
  g_autoptr (ZcioStatistics) before = NULL;
  ZcioSocketStream *stream = get_stream (connection);
  GError *error = NULL;
  guint pages[PAGES_PER_PACKET];

  /* over loopback AUTO copies, and the kernel all the same */
  zcio_socket_stream_set_zero_copy_mode (stream, ZCIO_ZERO_COPY_MODE_ALWAYS);

  before = zcio_socket_stream_get_statistics (stream);
  for (int round = 0; round < 3; round++)
    {
      for (int packet = 0; packet < PACKETS; packet++)
        {
          for (int i = 0; i < PAGES_PER_PACKET; i++)
            pages[i] = (guint) (i * 7 + packet) % 1024;
          check (send_packet (stream, memory, pages, &error), error);
        }
      check (end_round (stream, &before, &error), error);
    }
  check (g_io_stream_close (G_IO_STREAM (connection), NULL, &error), error);
  return 0;
}
