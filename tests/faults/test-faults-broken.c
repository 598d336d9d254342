/* test-faults-broken.c - connections that end while the network still holds their data
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fault-network.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "zcio/zcio-linger-private.h"

#define SIZE (64 * 1024)

/* So slow that what is in the queue stays there until the test lets it go. */
static void
make_slow (ZcioFaultNetwork *network)
{
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc qdisc add dev zcio-a root tbf rate 16kbit burst 1600 limit 10000000");
}

static void
make_fast (ZcioFaultNetwork *network)
{
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc qdisc change dev zcio-a root tbf rate 1gbit burst 100000 limit 10000000");
}

static void
begin (ZcioFaultTransfer *transfer,
       ZcioFaultNetwork  *network,
       ZcioTestFamily     family)
{
  zcio_fault_transfer_begin (transfer, network, family, ZCIO_ZERO_COPY_MODE_ALWAYS,
                             ZCIO_TEST_READER_DEFAULT);
  /* One notification may stand for half a MiB, and there shall be several. */
  zcio_fault_set_send_buffer (transfer->socket, 4 * 1024 * 1024);
}

static guint64
get_sends_in_flight (ZcioSocketStream *stream)
{
  g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (stream);

  return statistics->sends_in_flight;
}

/* Writes until that fails, and returns the error's code. */
static int
write_until_error (ZcioFaultTransfer *transfer)
{
  gint64 deadline = zcio_test_get_deadline ();
  GError *error = NULL;
  int code;

  while (error == NULL)
    {
      g_autoptr (GBytes) bytes =
        zcio_test_pattern_bytes (transfer->position, SIZE, &transfer->released);
      gsize written = 0;

      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      transfer->n_buffers++;
      zcio_socket_stream_write_zerocopy (transfer->stream, bytes, &written, NULL, &error);
      transfer->position += written;
    }

  g_assert_cmpint (error->domain, ==, (int) G_IO_ERROR);
  code = error->code;
  g_error_free (error);

  return code;
}

/* The connection has ended otherwise than it should: each buffer came back, and what the
 * peer read was right as far as it goes.
 */
static void
end_broken (ZcioFaultTransfer *transfer)
{
  int error_number;

  g_assert_cmpint (g_atomic_int_get (&transfer->released), ==, transfer->n_buffers);
  g_assert_cmpuint (zcio_test_reader_finish (transfer->reader, &error_number, NULL), <=,
                    transfer->position);
  g_clear_object (&transfer->stream);
  g_object_unref (transfer->socket);
  g_object_unref (transfer->peer);
}

/* Like drain, but the error of the connection may come up. */
static void
wait_for_release (ZcioFaultTransfer *transfer)
{
  gint64 deadline = zcio_test_get_deadline ();

  while (get_sends_in_flight (transfer->stream) > 0)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (1000);
      zcio_socket_stream_reap (transfer->stream);
    }
}

static void
test_reset_by_peer (gconstpointer data)
{
  const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  int fd;

  g_test_summary ("After a reset by the peer the writer is told, and the buffers that a queueing "
                  "discipline still holds come back only when it lets go of them");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_TBF))
    return;

  network = zcio_fault_network_new ();
  begin (&transfer, network, GPOINTER_TO_INT (data));
  zcio_fault_transfer_write (&transfer, SIZE);
  zcio_fault_transfer_drain (&transfer);

  make_slow (network);
  zcio_fault_transfer_fill (&transfer, SIZE);
  zcio_test_reader_pause (transfer.reader);
  fd = g_socket_get_fd (transfer.peer);
  g_assert_cmpint (setsockopt (fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), ==, 0);
  /* It stays a descriptor, of nothing, for the reader. */
  g_assert_cmpint (connect (fd, &(struct sockaddr){ .sa_family = AF_UNSPEC },
                            sizeof (struct sockaddr)),
                   ==, 0);

  g_assert_cmpint (write_until_error (&transfer), ==, G_IO_ERROR_CONNECTION_CLOSED);
  zcio_socket_stream_reap (transfer.stream);
  g_assert_cmpuint (get_sends_in_flight (transfer.stream), >, 0);
  g_assert_cmpint (g_atomic_int_get (&transfer.released), <, transfer.n_buffers);

  make_fast (network);
  wait_for_release (&transfer);
  end_broken (&transfer);
  zcio_fault_network_free (network);
}

static void
test_abort (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  GError *error = NULL;

  g_test_summary ("After an abort the buffers that a queueing discipline still holds stay whole "
                  "until it has sent them");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_TBF))
    return;

  network = zcio_fault_network_new ();
  begin (&transfer, network, GPOINTER_TO_INT (data));
  zcio_fault_transfer_write (&transfer, SIZE);
  zcio_fault_transfer_drain (&transfer);

  make_slow (network);
  zcio_fault_transfer_fill (&transfer, SIZE);
  zcio_socket_stream_abort (transfer.stream, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (get_sends_in_flight (transfer.stream), >, 0);
  g_assert_cmpint (g_atomic_int_get (&transfer.released), >, 1);
  g_assert_cmpint (g_atomic_int_get (&transfer.released), <, transfer.n_buffers);

  make_fast (network);
  wait_for_release (&transfer);
  end_broken (&transfer);
  zcio_fault_network_free (network);
}

static void
test_linger (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  gint64 deadline;
  gint released;

  g_test_summary ("When linger-timeout has passed, the connection is reset, and the buffers that "
                  "a queueing discipline still holds stay whole until it has sent them");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_TBF))
    return;

  network = zcio_fault_network_new ();
  begin (&transfer, network, GPOINTER_TO_INT (data));
  zcio_fault_transfer_write (&transfer, SIZE);
  zcio_fault_transfer_drain (&transfer);

  make_slow (network);
  zcio_fault_transfer_fill (&transfer, SIZE);
  released = g_atomic_int_get (&transfer.released);
  g_object_set (transfer.stream, "linger-timeout", 1, NULL);
  g_assert_finalize_object (g_steal_pointer (&transfer.stream));

  deadline = zcio_test_get_deadline ();
  while (g_atomic_int_get (&transfer.released) == released)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (1000);
    }
  g_assert_cmpint (g_atomic_int_get (&transfer.released), <, transfer.n_buffers);
  g_assert_cmpuint (zcio_linger_count (), ==, 1);

  make_fast (network);
  while (zcio_linger_count () > 0)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (1000);
    }
  end_broken (&transfer);
  zcio_fault_network_free (network);
}

/* Whom the sender's packets are for: in a black hole for nobody. */
static void
set_neighbour (ZcioFaultNetwork *network,
               const char       *address)
{
  zcio_fault_run (network, ZCIO_FAULT_SENDER, "ip neighbour replace 192.0.2.2 dev zcio-a lladdr %s",
                  address);
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "ip -6 neighbour replace 2001:db8::2 dev zcio-a lladdr %s", address);
}

static void
make_black_hole (ZcioFaultNetwork *network)
{
  set_neighbour (network, "02:00:00:00:00:0f");
}

static void
end_black_hole (ZcioFaultNetwork *network)
{
  set_neighbour (network, ZCIO_FAULT_RECEIVER_LINK_ADDRESS);
}

static void
begin_black_hole (ZcioFaultTransfer  *transfer,
                  ZcioFaultNetwork  **network,
                  gconstpointer       data)
{
  *network = zcio_fault_network_new ();
  begin (transfer, *network, GPOINTER_TO_INT (data));
  zcio_fault_transfer_write (transfer, SIZE);
  zcio_fault_transfer_drain (transfer);

  make_black_hole (*network);
  zcio_fault_transfer_fill (transfer, SIZE);
  g_assert_cmpuint (get_sends_in_flight (transfer->stream), >, 0);
}

static void
test_black_hole_timeout (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  GError *error = NULL;

  g_test_summary ("In a black hole TCP_USER_TIMEOUT ends the connection: the writer is told, and "
                  "each buffer comes back");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_NOTHING))
    return;

  begin_black_hole (&transfer, &network, data);
  g_socket_set_option (transfer.socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 1000, &error);
  g_assert_no_error (error);

  g_assert_cmpint (write_until_error (&transfer), ==, G_IO_ERROR_TIMED_OUT);
  wait_for_release (&transfer);

  end_black_hole (network);
  shutdown (g_socket_get_fd (transfer.peer), SHUT_RDWR);
  end_broken (&transfer);
  zcio_fault_network_free (network);
}

static void
test_black_hole_abort (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  GError *error = NULL;

  g_test_summary ("In a black hole an abort gives all buffers back at once");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_NOTHING))
    return;

  begin_black_hole (&transfer, &network, data);
  zcio_socket_stream_abort (transfer.stream, &error);
  g_assert_no_error (error);
  wait_for_release (&transfer);

  end_black_hole (network);
  shutdown (g_socket_get_fd (transfer.peer), SHUT_RDWR);
  end_broken (&transfer);
  zcio_fault_network_free (network);
}

static void
test_black_hole_ends (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  gint64 deadline;

  g_test_summary ("What a black hole has swallowed is sent again from buffers that are still "
                  "whole");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_NOTHING))
    return;

  begin_black_hole (&transfer, &network, data);
  deadline = zcio_test_get_deadline ();
  while (zcio_fault_get_backoff (transfer.socket) < 2)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (G_USEC_PER_SEC / 100);
    }
  g_assert_cmpint (zcio_socket_stream_reap (transfer.stream), ==, 0);
  end_black_hole (network);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

int
main (int    argc,
      char **argv)
{
  const gpointer ipv4 = GINT_TO_POINTER (ZCIO_TEST_FAMILY_IPV4);
  const gpointer ipv6 = GINT_TO_POINTER (ZCIO_TEST_FAMILY_IPV6);

  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/faults/broken/reset-by-peer/ipv4", ipv4, test_reset_by_peer);
  g_test_add_data_func ("/faults/broken/reset-by-peer/ipv6", ipv6, test_reset_by_peer);
  g_test_add_data_func ("/faults/broken/abort/ipv4", ipv4, test_abort);
  g_test_add_data_func ("/faults/broken/abort/ipv6", ipv6, test_abort);
  g_test_add_data_func ("/faults/broken/linger/ipv4", ipv4, test_linger);
  g_test_add_data_func ("/faults/broken/linger/ipv6", ipv6, test_linger);
  g_test_add_data_func ("/faults/broken/black-hole-timeout/ipv4", ipv4, test_black_hole_timeout);
  g_test_add_data_func ("/faults/broken/black-hole-timeout/ipv6", ipv6, test_black_hole_timeout);
  g_test_add_data_func ("/faults/broken/black-hole-abort/ipv4", ipv4, test_black_hole_abort);
  g_test_add_data_func ("/faults/broken/black-hole-abort/ipv6", ipv6, test_black_hole_abort);
  g_test_add_data_func ("/faults/broken/black-hole-ends/ipv4", ipv4, test_black_hole_ends);
  g_test_add_data_func ("/faults/broken/black-hole-ends/ipv6", ipv6, test_black_hole_ends);

  return g_test_run ();
}
