/* test-faults-veth.c - a wire on which the kernel does not copy, and a tap on it
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fault-network.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE (64 * 1024)

/* What was written in between, by what became of it. */
static ZcioStatistics *
write_some (ZcioFaultTransfer *transfer,
            guint              n)
{
  for (guint i = 0; i < n; i++)
    {
      zcio_fault_transfer_write (transfer, SIZE);
      /* One at a time: a notification for several sends has the flag of the first. */
      zcio_fault_transfer_drain (transfer);
    }

  return zcio_socket_stream_get_statistics (transfer->stream);
}

static void
begin (ZcioFaultTransfer *transfer,
       ZcioFaultNetwork  *network,
       gconstpointer      family,
       ZcioZeroCopyMode   mode)
{
  zcio_fault_transfer_begin (transfer, network, GPOINTER_TO_INT (family), mode,
                             ZCIO_TEST_READER_DEFAULT);
  /* The rest of a short send may be so small that it is copied. */
  zcio_fault_set_send_buffer (transfer->socket, 4 * SIZE);
}

static void
test_not_copied (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("Where the kernel does not copy, AUTO stays active and all bytes count as "
                  "zero-copied");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_XDP))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_attach_xdp (network);
  begin (&transfer, network, data, ZCIO_ZERO_COPY_MODE_AUTO);
  statistics = write_some (&transfer, 100);

  g_assert_cmpuint (statistics->sends_zero_copied, ==, 100);
  g_assert_cmpuint (statistics->bytes_zero_copied, ==, transfer.position);
  g_assert_cmpuint (statistics->bytes_copied_by_kernel, ==, 0);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (transfer.stream), ==,
                   ZCIO_ZERO_COPY_STATE_ACTIVE);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

static void
test_copied (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("Where the kernel copies for a peer that looks remote, AUTO learns it and "
                  "stops paying for zero-copy");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_NOTHING))
    return;

  network = zcio_fault_network_new ();
  begin (&transfer, network, data, ZCIO_ZERO_COPY_MODE_AUTO);
  statistics = write_some (&transfer, 100);

  g_assert_cmpuint (statistics->bytes_zero_copied, ==, 0);
  g_assert_cmpuint (statistics->bytes_copied_by_kernel, >, 0);
  g_assert_cmpuint (statistics->bytes_copied_by_choice, >, 0);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (transfer.stream), ==,
                   ZCIO_ZERO_COPY_STATE_SUSPENDED);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

static void
write_until_state (ZcioFaultTransfer *transfer,
                   ZcioZeroCopyState  state)
{
  gint64 deadline = zcio_test_get_deadline ();

  while (zcio_socket_stream_get_zero_copy_state (transfer->stream) != state)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      zcio_fault_transfer_write (transfer, SIZE);
      zcio_fault_transfer_drain (transfer);
    }
}

static void
test_tap (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) before = NULL;
  g_autoptr (ZcioStatistics) after = NULL;
  int tap;

  g_test_summary ("A packet socket that is attached for a while makes the kernel copy: AUTO "
                  "leaves active, and regains it by itself");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_XDP))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_attach_xdp (network);
  begin (&transfer, network, data, ZCIO_ZERO_COPY_MODE_AUTO);
  before = write_some (&transfer, 40);
  g_assert_cmpuint (before->bytes_zero_copied, ==, transfer.position);

  tap = zcio_fault_open_tap (network, ZCIO_FAULT_SENDER);
  write_until_state (&transfer, ZCIO_ZERO_COPY_STATE_SUSPENDED);
  close (tap);
  write_until_state (&transfer, ZCIO_ZERO_COPY_STATE_ACTIVE);

  g_clear_pointer (&before, zcio_statistics_free);
  before = zcio_socket_stream_get_statistics (transfer.stream);
  g_assert_cmpuint (before->sends_copied_by_kernel, >, 0);
  g_assert_cmpuint (before->sends_copied_by_choice, >, 0);
  after = write_some (&transfer, 40);
  g_assert_cmpuint (after->sends_zero_copied, ==, before->sends_zero_copied + 40);
  g_assert_cmpuint (after->sends_copied_by_kernel, ==, before->sends_copied_by_kernel);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

static void
test_tap_in_flight (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;

  g_test_summary ("Taps that come and go while sends are in flight change no byte");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_XDP))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_attach_xdp (network);
  begin (&transfer, network, data, ZCIO_ZERO_COPY_MODE_ALWAYS);
  for (guint i = 0; i < 20; i++)
    {
      int tap = zcio_fault_open_tap (network, i % 2 == 0 ? ZCIO_FAULT_SENDER : ZCIO_FAULT_RECEIVER);

      for (guint j = 0; j < 4; j++)
        zcio_fault_transfer_write (&transfer, SIZE + j * 1000);
      close (tap);
      for (guint j = 0; j < 4; j++)
        zcio_fault_transfer_write (&transfer, SIZE - j * 1000);
    }

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

static void
test_more (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("A copied head that announces a zero-copy tail (MSG_MORE) is not held back, nor "
                  "is a tail of small pieces");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_XDP))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_attach_xdp (network);
  begin (&transfer, network, data, ZCIO_ZERO_COPY_MODE_AUTO);
  for (guint round = 0; round < 10; round++)
    {
      GBytes *buffers[41];
      gsize written = 0;
      GError *error = NULL;

      for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
        {
          gsize size = i == 20 ? SIZE : 10 + i;

          buffers[i] = zcio_test_pattern_bytes (transfer.position + written, size,
                                                &transfer.released);
          written += size;
        }
      transfer.n_buffers += G_N_ELEMENTS (buffers);
      zcio_socket_stream_writev_zerocopy (transfer.stream, buffers, G_N_ELEMENTS (buffers),
                                          &written, NULL, &error);
      g_assert_no_error (error);
      transfer.position += written;
      for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
        g_bytes_unref (buffers[i]);

      /* With nothing that follows and no flush. */
      zcio_test_reader_wait_received (transfer.reader, transfer.position);
    }

  statistics = zcio_socket_stream_get_statistics (transfer.stream);
  g_assert_cmpuint (statistics->sends_zero_copied, ==, 10);
  g_assert_cmpuint (statistics->sends_copied_by_choice, >, 0);

  zcio_fault_transfer_end (&transfer);
  zcio_fault_network_free (network);
}

static void
test_more_and_fault (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  gpointer forbidden;

  g_test_summary ("When the tail that a copied head has announced cannot be sent, the head is not "
                  "held back");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_XDP))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_attach_xdp (network);
  begin (&transfer, network, data, ZCIO_ZERO_COPY_MODE_AUTO);
  forbidden = mmap (NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  g_assert_true (forbidden != MAP_FAILED);
  for (int no_delay = 0; no_delay <= 1; no_delay++)
    {
      GBytes *buffers[21];
      gsize size = 0;
      gsize written = 0;
      GError *error = NULL;

      g_socket_set_option (transfer.socket, IPPROTO_TCP, TCP_NODELAY, no_delay, &error);
      g_assert_no_error (error);
      for (guint i = 0; i < 20; i++)
        {
          buffers[i] = zcio_test_pattern_bytes (transfer.position + size, 10 + i, NULL);
          size += 10 + i;
        }
      buffers[20] = g_bytes_new_static (forbidden, SIZE);
      g_assert_false (zcio_socket_stream_writev_zerocopy (transfer.stream, buffers, 21, &written,
                                                          NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
      g_clear_error (&error);
      g_assert_cmpuint (written, ==, size);
      transfer.position += size;
      for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
        g_bytes_unref (buffers[i]);

      zcio_test_reader_wait_received (transfer.reader, transfer.position);
    }

  zcio_fault_transfer_end (&transfer);
  munmap (forbidden, SIZE);
  zcio_fault_network_free (network);
}

/* Sets a feature of an interface as ethtool would. */
static void
switch_scatter_gather_off (void)
{
  struct ethtool_value value = { .cmd = ETHTOOL_SSG, .data = 0 };
  struct ifreq request = { .ifr_name = "zcio-a", .ifr_data = (gpointer) &value };
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (ioctl (fd, SIOCETHTOOL, &request), ==, 0);
  close (fd);
}

static void
test_no_scatter_gather (gconstpointer data)
{
  ZcioFaultNetwork *network;
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("A device without scatter-gather makes the kernel copy, and say so or not: the "
                  "bytes are right, and what it says is a lower bound");

  if (!zcio_fault_begin (0, ZCIO_FAULT_NEEDS_XDP))
    return;

  network = zcio_fault_network_new ();
  zcio_fault_attach_xdp (network);
  begin (&transfer, network, data, ZCIO_ZERO_COPY_MODE_ALWAYS);
  for (guint i = 0; i < 10; i++)
    zcio_fault_transfer_write (&transfer, SIZE);
  switch_scatter_gather_off ();
  statistics = write_some (&transfer, 40);
  g_assert_cmpuint (statistics->sends_zero_copied + statistics->sends_copied_by_kernel, >=, 50);
  g_test_message ("copied by the kernel, as far as it says: %" G_GUINT64_FORMAT " of 50",
                  statistics->sends_copied_by_kernel);

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

  g_test_add_data_func ("/faults/veth/not-copied/ipv4", ipv4, test_not_copied);
  g_test_add_data_func ("/faults/veth/not-copied/ipv6", ipv6, test_not_copied);
  g_test_add_data_func ("/faults/veth/copied/ipv4", ipv4, test_copied);
  g_test_add_data_func ("/faults/veth/copied/ipv6", ipv6, test_copied);
  g_test_add_data_func ("/faults/tap/leaves-and-regains-active/ipv4", ipv4, test_tap);
  g_test_add_data_func ("/faults/tap/leaves-and-regains-active/ipv6", ipv6, test_tap);
  g_test_add_data_func ("/faults/tap/in-flight/ipv4", ipv4, test_tap_in_flight);
  g_test_add_data_func ("/faults/tap/in-flight/ipv6", ipv6, test_tap_in_flight);
  g_test_add_data_func ("/faults/veth/more/ipv4", ipv4, test_more);
  g_test_add_data_func ("/faults/veth/more/ipv6", ipv6, test_more);
  g_test_add_data_func ("/faults/veth/more-and-fault/ipv4", ipv4, test_more_and_fault);
  g_test_add_data_func ("/faults/veth/more-and-fault/ipv6", ipv6, test_more_and_fault);
  g_test_add_data_func ("/faults/veth/no-scatter-gather/ipv4", ipv4, test_no_scatter_gather);
  g_test_add_data_func ("/faults/veth/no-scatter-gather/ipv6", ipv6, test_no_scatter_gather);

  return g_test_run ();
}
