/* test-faults-order.c - completions that really come out of order, and in long chains
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fault-network.h"

#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define SMALL 2000

/* Classes of the queueing discipline. */
#define FAST 0x10010
#define SLOW 0x10020

/* Buffers that remember in which order they came back. */

typedef struct
{
  GMutex lock;
  guint next;
  guint n_released;
  guint n_overtaken; /* came back after one that was written later */
  guint highest;
} Order;

typedef struct
{
  Order *order;
  guint number;
  guint8 data[SMALL];
} Numbered;

static void
numbered_free (gpointer data)
{
  Numbered *numbered = data;
  Order *order = numbered->order;

  g_mutex_lock (&order->lock);
  order->n_released++;
  if (numbered->number < order->highest)
    order->n_overtaken++;
  order->highest = MAX (order->highest, numbered->number);
  g_mutex_unlock (&order->lock);

  memset (numbered->data, 0xdd, SMALL);
  g_free (numbered);
}

static void
write_numbered (ZcioFaultTransfer *transfer,
                Order             *order)
{
  Numbered *numbered = g_new (Numbered, 1);
  g_autoptr (GBytes) bytes = NULL;
  gsize written = 0;
  GError *error = NULL;

  numbered->order = order;
  numbered->number = order->next++;
  zcio_test_pattern_fill (transfer->position, numbered->data, SMALL);
  bytes = g_bytes_new_with_free_func (numbered->data, SMALL, numbered_free, numbered);
  zcio_socket_stream_write_zerocopy (transfer->stream, bytes, &written, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, SMALL);
  transfer->position += SMALL;
}

/* Two classes on one wire: what the slow one holds is sent again on the fast one, but its
 * buffer is free only when the slow one has let it go.
 */
static void
set_up_classes (ZcioFaultNetwork *network)
{
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "ip route replace 192.0.2.0/24 dev zcio-a initcwnd 2000");
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "ip -6 route replace 2001:db8::/64 dev zcio-a initcwnd 2000");
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc qdisc add dev zcio-a root handle 1: htb default 10");
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc class add dev zcio-a parent 1: classid 1:10 htb rate 4gbit quantum 60000 "
                  "burst 1m");
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc class add dev zcio-a parent 1: classid 1:20 htb rate 4gbit quantum 60000");
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc qdisc add dev zcio-a parent 1:20 handle 20: tbf rate 40kbit burst 1600 "
                  "limit 10000000");
}

/* What the slow class still holds would take long. */
static void
end_slowness (ZcioFaultNetwork *network)
{
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc qdisc change dev zcio-a parent 1:20 handle 20: tbf rate 1gbit burst 100000 "
                  "limit 10000000");
}

static void
set_class (GSocket *socket,
           int      class)
{
  GError *error = NULL;

  g_socket_set_option (socket, SOL_SOCKET, SO_PRIORITY, class, &error);
  g_assert_no_error (error);
}

static void
write_in_both_classes (ZcioFaultTransfer *transfer,
                       Order             *order)
{
  set_class (transfer->socket, SLOW);
  write_numbered (transfer, order);
  set_class (transfer->socket, FAST);
  write_numbered (transfer, order);
}

static void
begin_in_classes (ZcioFaultTransfer *transfer,
                  ZcioFaultNetwork  *network,
                  ZcioTestFamily     family)
{
  GError *error = NULL;

  set_up_classes (network);
  zcio_fault_transfer_begin (transfer, network, family, ZCIO_ZERO_COPY_MODE_ALWAYS,
                             ZCIO_TEST_READER_DEFAULT);
  g_socket_set_option (transfer->socket, IPPROTO_TCP, TCP_NODELAY, 1, &error);
  g_assert_no_error (error);
  set_class (transfer->socket, FAST);
  for (guint i = 0; i < 50; i++)
    zcio_fault_transfer_write (transfer, 64 * 1024);
  zcio_fault_transfer_drain (transfer);
}

static void
test_out_of_order (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  Order order = { 0 };

  g_test_summary ("Completions that come out of order release each buffer once, its own");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_TBF | ZCIO_FAULT_NEEDS_HTB))
    return;

  network = zcio_fault_network_new ();
  begin_in_classes (&transfer, network, GPOINTER_TO_INT (data));
  for (guint i = 0; i < 50; i++)
    write_in_both_classes (&transfer, &order);
  /* All of it was sent again, while the slow class still holds it, too. */
  zcio_test_reader_wait_received (transfer.reader, transfer.position);
  zcio_socket_stream_reap (transfer.stream);
  end_slowness (network);
  zcio_fault_transfer_drain (&transfer);

  g_assert_cmpuint (order.n_released, ==, order.next);
  g_assert_cmpuint (order.n_overtaken, >, 0);
  g_test_message ("%u of %u came back after a later one", order.n_overtaken, order.next);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

static void
test_long_chain (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;
  Order order = { 0 };
  gint64 deadline;

  g_test_summary ("When the chain of notifications that came out of order has filled the "
                  "option memory, reading it cures ENOBUFS, and the writer never sees that");

  if (!zcio_fault_begin (20480, ZCIO_FAULT_NEEDS_TBF | ZCIO_FAULT_NEEDS_HTB))
    return;

  network = zcio_fault_network_new ();
  begin_in_classes (&transfer, network, GPOINTER_TO_INT (data));
  deadline = zcio_test_get_deadline ();
  do
    {
      g_clear_pointer (&statistics, zcio_statistics_free);
      write_in_both_classes (&transfer, &order);
      zcio_test_reader_wait_received (transfer.reader, transfer.position);
      statistics = zcio_socket_stream_get_statistics (transfer.stream);
    }
  while (statistics->enobufs_cured_by_drain == 0 && g_get_monotonic_time () < deadline);

  g_assert_cmpuint (statistics->enobufs_cured_by_drain, >, 0);
  g_test_message ("cured with send %u; ENOBUFS was met %" G_GUINT64_FORMAT " times",
                  order.next, statistics->enobufs);
  end_slowness (network);
  zcio_fault_transfer_drain (&transfer);
  g_assert_cmpuint (order.n_released, ==, order.next);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

/* With small writes that the peer acknowledges one by one, each send has a notification and
 * a timestamp, which keeps the notifications apart.
 */
static void
test_timestamping (gconstpointer data)
{
  const int flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                    SOF_TIMESTAMPING_OPT_TSONLY | SOF_TIMESTAMPING_OPT_ID;
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;
  GError *error = NULL;

  g_test_summary ("Timestamps among the notifications are skipped, and cost neither a buffer "
                  "nor the writer's peace when they fill the option memory");

  if (!zcio_fault_begin (20480, ZCIO_FAULT_NEEDS_NOTHING))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_transfer_begin (&transfer, network, GPOINTER_TO_INT (data),
                             ZCIO_ZERO_COPY_MODE_ALWAYS, ZCIO_TEST_READER_DEFAULT);
  g_socket_set_option (transfer.socket, SOL_SOCKET, SO_TIMESTAMPING, flags, &error);
  g_assert_no_error (error);
  g_socket_set_option (transfer.socket, IPPROTO_TCP, TCP_NODELAY, 1, &error);
  g_assert_no_error (error);

  for (guint i = 0; i < 200; i++)
    {
      /* So that the next send finds an empty queue, and thus takes a notification of its own. */
      zcio_fault_transfer_write (&transfer, 1000 + i);
      zcio_test_reader_wait_received (transfer.reader, transfer.position);
    }
  zcio_fault_transfer_drain (&transfer);

  statistics = zcio_socket_stream_get_statistics (transfer.stream);
  g_assert_cmpuint (statistics->foreign_records, >, 0);
  g_assert_cmpuint (statistics->enobufs, >, 0);
  g_test_message ("%" G_GUINT64_FORMAT " notifications, %" G_GUINT64_FORMAT " timestamps, "
                  "ENOBUFS %" G_GUINT64_FORMAT " times",
                  statistics->notifications, statistics->foreign_records, statistics->enobufs);

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

  g_test_add_data_func ("/faults/order/out-of-order/ipv4", ipv4, test_out_of_order);
  g_test_add_data_func ("/faults/order/out-of-order/ipv6", ipv6, test_out_of_order);
  g_test_add_data_func ("/faults/order/long-chain/ipv4", ipv4, test_long_chain);
  g_test_add_data_func ("/faults/order/long-chain/ipv6", ipv6, test_long_chain);
  g_test_add_data_func ("/faults/order/timestamping/ipv4", ipv4, test_timestamping);
  g_test_add_data_func ("/faults/order/timestamping/ipv6", ipv6, test_timestamping);

  return g_test_run ();
}
