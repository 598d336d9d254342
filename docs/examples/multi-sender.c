/* multi-sender.c - sends memory over several streams, as a live migration does
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: multi-sender HOST PORT [STREAMS [MIB [ROUNDS]]]
 *
 * Each stream has a thread. In a round all pages are sent, in packets of a header and 128
 * pages; at its end each thread waits until the kernel has let go of all pages.
 */

#include <stdlib.h>
#include <zcio/zcio.h>

#define PAGE_SIZE 4096
#define PAGES_PER_PACKET 128

/* Ends the program with the error. */
static void G_GNUC_NORETURN
fail (const GError *error)
{
  g_printerr ("%s\n", error->message);
  exit (1);
}

typedef struct
{
  guint64 magic;
  guint64 n_pages;
  guint64 offsets[PAGES_PER_PACKET];
} Header;

typedef struct
{
  const char *host;
  guint16 port;
  char *memory;
  gsize n_pages;
  guint first_page;
  guint n_streams;
  guint n_rounds;
  ZcioStatistics *statistics;
} Sender;

static gboolean
send_packet (ZcioSocketStream *stream, const Sender *sender, gsize *next, GError **error)
{
  GOutputVector pages[PAGES_PER_PACKET];
  Header header = { 0x7a63696f };

  for (; *next < sender->n_pages && header.n_pages < PAGES_PER_PACKET; *next += sender->n_streams)
    {
      guint64 offset = *next * PAGE_SIZE;

      header.offsets[header.n_pages] = offset;
      pages[header.n_pages].buffer = sender->memory + offset;
      pages[header.n_pages].size = PAGE_SIZE;
      header.n_pages++;
    }

  return g_output_stream_write_all (G_OUTPUT_STREAM (stream), &header, sizeof header, NULL, NULL, error) &&
         zcio_socket_stream_writev_zerocopy_full (stream, pages, header.n_pages, NULL, NULL,
                                                  NULL, NULL, error);
}

static gboolean
send_round (ZcioSocketStream *stream, const Sender *sender, GError **error)
{
  gsize next = sender->first_page;

  while (next < sender->n_pages)
    if (!send_packet (stream, sender, &next, error))
      return FALSE;

  return zcio_socket_stream_drain (stream, 0, NULL, error);
}

static gpointer
run (gpointer data)
{
  Sender *sender = data;
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GSocketConnection) connection = NULL;
  g_autoptr (GError) error = NULL;
  ZcioSocketStream *stream;

  connection = g_socket_client_connect_to_host (client, sender->host, sender->port, NULL, &error);
  if (connection == NULL)
    fail (error);

  g_tcp_connection_set_graceful_disconnect (G_TCP_CONNECTION (connection), FALSE);
  g_socket_set_option (g_socket_connection_get_socket (connection), 6 /* IPPROTO_TCP */,
                       1 /* TCP_NODELAY */, 1, NULL);
  stream = ZCIO_SOCKET_STREAM (g_io_stream_get_output_stream (G_IO_STREAM (connection)));
  for (guint i = 0; i < sender->n_rounds; i++)
    if (!send_round (stream, sender, &error))
      fail (error);

  sender->statistics = zcio_socket_stream_get_statistics (stream);
  if (!g_io_stream_close (G_IO_STREAM (connection), NULL, &error))
    fail (error);
  return NULL;
}

static guint
get_number (int argc, char **argv, int i, guint default_value)
{
  return argc > i ? (guint) CLAMP (atoi (argv[i]), 1, 65536) : default_value;
}

int
main (int argc, char **argv)
{
  guint n_streams = get_number (argc, argv, 3, 4);
  gsize size = (gsize) get_number (argc, argv, 4, 256) << 20;
  g_autofree char *memory = g_malloc0 (size);
  g_autofree Sender *senders = g_new0 (Sender, n_streams);
  g_autofree GThread **threads = g_new (GThread *, n_streams);
  gint64 start = g_get_monotonic_time ();

  if (argc < 3)
    {
      g_printerr ("usage: %s HOST PORT [STREAMS [MIB [ROUNDS]]]\n", argv[0]);
      return 2;
    }

  zcio_tcp_connection_register ();

  for (guint i = 0; i < n_streams; i++)
    {
      senders[i] = (Sender) { argv[1], (guint16) atoi (argv[2]), memory, size / PAGE_SIZE, i, n_streams,
                              get_number (argc, argv, 5, 3) };
      threads[i] = g_thread_new ("sender", run, &senders[i]);
    }

  for (guint i = 0; i < n_streams; i++)
    {
      g_thread_join (threads[i]);
      g_print ("stream %u: %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " of them without a copy\n",
               i, senders[i].statistics->bytes_written, senders[i].statistics->bytes_zero_copied);
      zcio_statistics_free (senders[i].statistics);
    }
  g_print ("%.1f s\n", (double) (g_get_monotonic_time () - start) / G_TIME_SPAN_SECOND);

  return 0;
}
