/* test-faults-wire.c - a wire that loses, delays, changes its size and goes down
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fault-network.h"

#define MIB (1024 * 1024)

/* A thread that does something to the wire while the main thread writes. */

typedef struct
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer *transfer;
  void (*func) (ZcioFaultNetwork  *network,
                ZcioFaultTransfer *transfer);
  gint done;
} Saboteur;

static gpointer
saboteur_thread (gpointer data)
{
  Saboteur *saboteur = data;

  saboteur->func (saboteur->network, saboteur->transfer);
  g_atomic_int_set (&saboteur->done, TRUE);

  return NULL;
}

/* Writes of all sizes: below the threshold, odd, and more than one call may ask for. */
static void
write_mixture (ZcioFaultTransfer *transfer,
               guint64            total)
{
  static const gsize sizes[] = { 64 * 1024, 100, 300001, 4096, 16 * 1024, 1024 * 1024 + 7 };

  for (guint i = 0; transfer->position < total; i++)
    zcio_fault_transfer_write (transfer, sizes[i % G_N_ELEMENTS (sizes)]);
}

static void
write_while (ZcioFaultNetwork  *network,
             ZcioFaultTransfer *transfer,
             void             (*func) (ZcioFaultNetwork  *network,
                                       ZcioFaultTransfer *transfer))
{
  Saboteur saboteur = { network, transfer, func, FALSE };
  GThread *thread = g_thread_new ("saboteur", saboteur_thread, &saboteur);

  while (!g_atomic_int_get (&saboteur.done))
    write_mixture (transfer, transfer->position + MIB);
  g_thread_join (thread);
}

static void
test_loss (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;

  g_test_summary ("A queue that is too short loses segments: they are sent again from buffers "
                  "that are still whole");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_TBF))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc qdisc add dev zcio-a root tbf rate 200mbit burst 4000 limit 30000");
  zcio_fault_transfer_begin (&transfer, network, GPOINTER_TO_INT (data),
                             ZCIO_ZERO_COPY_MODE_ALWAYS, ZCIO_TEST_READER_DEFAULT);
  write_mixture (&transfer, 8 * MIB);
  zcio_fault_transfer_drain (&transfer);
  g_assert_cmpuint (zcio_fault_get_retransmissions (transfer.socket), >, 0);
  g_test_message ("%u retransmissions", zcio_fault_get_retransmissions (transfer.socket));

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

static void
test_netem (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;

  g_test_summary ("Delay, disorder, doubled and lost segments change no byte");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_NETEM))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc qdisc add dev zcio-a root netem delay 5ms 3ms loss 1%% duplicate 1%% "
                  "reorder 5%% 50%%");
  zcio_fault_run (network, ZCIO_FAULT_RECEIVER, "tc qdisc add dev zcio-b root netem delay 5ms 3ms");
  zcio_fault_transfer_begin (&transfer, network, GPOINTER_TO_INT (data),
                             ZCIO_ZERO_COPY_MODE_ALWAYS, ZCIO_TEST_READER_DEFAULT);
  write_mixture (&transfer, 2 * MIB);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

/* A bucket that fills slowly delays what waits for it: here by up to 80 ms. */
static void
test_delay (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("A slow wire behind a long queue changes no byte, and writes do not wait for "
                  "completions");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_TBF))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "tc qdisc add dev zcio-a root tbf rate 10mbit burst 4000 limit 1000000");
  zcio_fault_run (network, ZCIO_FAULT_RECEIVER,
                  "tc qdisc add dev zcio-b root tbf rate 1mbit burst 2000 limit 1000000");
  zcio_fault_transfer_begin (&transfer, network, GPOINTER_TO_INT (data),
                             ZCIO_ZERO_COPY_MODE_ALWAYS, ZCIO_TEST_READER_DEFAULT);
  write_mixture (&transfer, 2 * MIB);
  statistics = zcio_socket_stream_get_statistics (transfer.stream);
  g_assert_cmpuint (statistics->peak_sends_in_flight, >, 1);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

static void
wait_for_more (ZcioFaultTransfer *transfer,
               guint64            size)
{
  zcio_test_reader_wait_received (transfer->reader,
                                  zcio_test_reader_get_received (transfer->reader) + size);
}

static void
change_mtu (ZcioFaultNetwork  *network,
            ZcioFaultTransfer *transfer)
{
  static const guint sizes[] = { 1280, 9000, 1400, 65535, 1500 };

  for (guint i = 0; i < 20; i++)
    {
      guint size = sizes[i % G_N_ELEMENTS (sizes)];

      wait_for_more (transfer, MIB);
      /* The receiver's first where it grows, so that nothing is too large for it. */
      zcio_fault_run (network, i % 2 == 0 ? ZCIO_FAULT_SENDER : ZCIO_FAULT_RECEIVER,
                      "ip link set zcio-%c mtu %u", i % 2 == 0 ? 'a' : 'b', size);
      zcio_fault_run (network, i % 2 == 0 ? ZCIO_FAULT_RECEIVER : ZCIO_FAULT_SENDER,
                      "ip link set zcio-%c mtu %u", i % 2 == 0 ? 'b' : 'a', size);
    }
}

static void
test_mtu (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;

  g_test_summary ("An MTU that changes in mid-stream changes no byte");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_NOTHING))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_transfer_begin (&transfer, network, GPOINTER_TO_INT (data),
                             ZCIO_ZERO_COPY_MODE_ALWAYS, ZCIO_TEST_READER_DEFAULT);
  write_while (network, &transfer, change_mtu);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

static void
take_down (ZcioFaultNetwork  *network,
           ZcioFaultTransfer *transfer)
{
  gint64 deadline = zcio_test_get_deadline ();

  for (ZcioFaultSide side = ZCIO_FAULT_SENDER; side <= ZCIO_FAULT_RECEIVER; side++)
    {
      const char *interface = side == ZCIO_FAULT_SENDER ? "zcio-a" : "zcio-b";

      wait_for_more (transfer, 4 * MIB);
      zcio_fault_run (network, side, "ip link set %s down", interface);
      /* Until the kernel has tried twice in vain. */
      while (zcio_fault_get_backoff (transfer->socket) < 2)
        {
          g_assert_cmpint (g_get_monotonic_time (), <, deadline);
          g_usleep (G_USEC_PER_SEC / 100);
        }
      zcio_fault_run (network, side, "ip link set %s up", interface);
    }
}

static void
test_down (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;

  g_test_summary ("An interface that goes down and comes up again, on either side, loses no byte");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_NOTHING))
    return;

  network = zcio_fault_network_new ();
  for (ZcioFaultSide side = ZCIO_FAULT_SENDER; side <= ZCIO_FAULT_RECEIVER; side++)
    zcio_fault_run (network, side, "sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/keep_addr_on_down'");
  zcio_fault_transfer_begin (&transfer, network, GPOINTER_TO_INT (data),
                             ZCIO_ZERO_COPY_MODE_ALWAYS, ZCIO_TEST_READER_DEFAULT);
  write_while (network, &transfer, take_down);

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

  g_test_add_data_func ("/faults/wire/loss/ipv4", ipv4, test_loss);
  g_test_add_data_func ("/faults/wire/loss/ipv6", ipv6, test_loss);
  g_test_add_data_func ("/faults/wire/netem/ipv4", ipv4, test_netem);
  g_test_add_data_func ("/faults/wire/netem/ipv6", ipv6, test_netem);
  g_test_add_data_func ("/faults/wire/delay/ipv4", ipv4, test_delay);
  g_test_add_data_func ("/faults/wire/delay/ipv6", ipv6, test_delay);
  g_test_add_data_func ("/faults/wire/mtu/ipv4", ipv4, test_mtu);
  g_test_add_data_func ("/faults/wire/mtu/ipv6", ipv6, test_mtu);
  g_test_add_data_func ("/faults/wire/down-and-up/ipv4", ipv4, test_down);
  g_test_add_data_func ("/faults/wire/down-and-up/ipv6", ipv6, test_down);

  return g_test_run ();
}
