/* fault-transfer.c - a stream whose peer reads the pattern
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

void
zcio_fault_transfer_begin_with (ZcioFaultTransfer   *transfer,
                                GSocket             *socket,
                                GSocket             *peer,
                                ZcioZeroCopyMode     mode,
                                ZcioTestReaderFlags  flags)
{
  *transfer = (ZcioFaultTransfer) { .socket = socket, .peer = peer };
  transfer->stream = zcio_socket_stream_new (socket);
  zcio_socket_stream_set_zero_copy_mode (transfer->stream, mode);
  transfer->reader = zcio_test_reader_new (peer, 0, flags);
}

void
zcio_fault_transfer_begin (ZcioFaultTransfer   *transfer,
                           ZcioFaultNetwork    *network,
                           ZcioTestFamily       family,
                           ZcioZeroCopyMode     mode,
                           ZcioTestReaderFlags  flags)
{
  GSocket *socket;
  GSocket *peer;

  zcio_fault_connect (network, family, &socket, &peer);
  zcio_fault_transfer_begin_with (transfer, socket, peer, mode, flags);
}

static GBytes *
make_buffer (ZcioFaultTransfer *transfer,
             gsize              size)
{
  transfer->n_buffers++;
  return zcio_test_pattern_bytes (transfer->position, size, &transfer->released);
}

void
zcio_fault_transfer_write (ZcioFaultTransfer *transfer,
                           gsize              size)
{
  GBytes *bytes = make_buffer (transfer, size);
  gsize written = 0;
  GError *error = NULL;

  zcio_socket_stream_write_zerocopy (transfer->stream, bytes, &written, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, size);
  transfer->position += size;
  g_bytes_unref (bytes);
}

void
zcio_fault_transfer_fill (ZcioFaultTransfer *transfer,
                          gsize              size)
{
  gsize written;

  do
    {
      GBytes *bytes = make_buffer (transfer, size);
      GPollableReturn result;
      GError *error = NULL;

      result = zcio_socket_stream_writev_zerocopy_nonblocking (transfer->stream, &bytes, 1,
                                                               &written, NULL, &error);
      g_assert_no_error (error);
      if (result == G_POLLABLE_RETURN_WOULD_BLOCK)
        written = 0;
      transfer->position += written;
      g_bytes_unref (bytes);
    }
  while (written == size);
}

void
zcio_fault_transfer_drain (ZcioFaultTransfer *transfer)
{
  GError *error = NULL;

  zcio_socket_stream_drain (transfer->stream, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&transfer->released), ==, transfer->n_buffers);
}

static void
assert_statistics_add_up (ZcioFaultTransfer *transfer)
{
  g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (transfer->stream);

  g_assert_cmpuint (statistics->bytes_written, ==, transfer->position);
  g_assert_cmpuint (statistics->bytes_zero_copied + statistics->bytes_copied_by_kernel +
                      statistics->bytes_copied_by_choice + statistics->bytes_copied_for_enobufs,
                    ==, transfer->position);
  g_assert_cmpuint (statistics->sends_in_flight, ==, 0);
  g_assert_cmpuint (statistics->bytes_in_flight, ==, 0);
}

void
zcio_fault_transfer_end (ZcioFaultTransfer *transfer)
{
  GError *error = NULL;

  zcio_fault_transfer_drain (transfer);
  assert_statistics_add_up (transfer);
  g_output_stream_close (G_OUTPUT_STREAM (transfer->stream), NULL, &error);
  g_assert_no_error (error);
  g_assert_finalize_object (transfer->stream);
  g_assert_finalize_object (transfer->socket);
  g_assert_cmpuint (zcio_test_reader_finish (transfer->reader, NULL, NULL), ==,
                    transfer->position);
  g_object_unref (transfer->peer);
}

void
zcio_fault_set_send_buffer (GSocket *socket,
                            int      size)
{
  GError *error = NULL;

  g_socket_set_option (socket, SOL_SOCKET, SO_SNDBUFFORCE, size, &error);
  g_assert_no_error (error);
}

static struct tcp_info
get_tcp_info (GSocket *socket)
{
  struct tcp_info info = { 0 };
  socklen_t size = sizeof info;

  g_assert_cmpint (getsockopt (g_socket_get_fd (socket), IPPROTO_TCP, TCP_INFO, &info, &size), ==,
                   0);
  return info;
}

guint
zcio_fault_get_retransmissions (GSocket *socket)
{
  return get_tcp_info (socket).tcpi_total_retrans;
}

guint
zcio_fault_get_backoff (GSocket *socket)
{
  return get_tcp_info (socket).tcpi_backoff;
}
