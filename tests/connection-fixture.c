/* connection-fixture.c - two connections that are each other's peer
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "connection-fixture.h"

#include "zcio/zcio-linger-private.h"

#define BUFFER_SIZE (256 * 1024)

void
connection_end_init (ConnectionEnd *end,
                     GSocket       *socket)
{
  end->socket = socket;
  end->connection = G_IO_STREAM (zcio_tcp_connection_new (socket));
  end->input = g_io_stream_get_input_stream (end->connection);
  end->output = g_io_stream_get_output_stream (end->connection);
  end->stream = ZCIO_SOCKET_STREAM (end->output);
  zcio_socket_stream_set_zero_copy_mode (end->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
}

gboolean
connection_fixture_set_up (ConnectionFixture *fixture,
                           ZcioTestFamily     family,
                           int                buffer_size)
{
  GSocket *near_socket;
  GSocket *far_socket;

  if (!zcio_test_socket_pair (family, buffer_size, &near_socket, &far_socket))
    return FALSE;

  fixture->released = 0;
  connection_end_init (&fixture->near, near_socket);
  connection_end_init (&fixture->far, far_socket);

  return TRUE;
}

void
connection_end_clear (ConnectionEnd *end)
{
  if (end->connection != NULL)
    g_assert_finalize_object (g_steal_pointer (&end->connection));
  g_clear_object (&end->socket);
}

void
connection_fixture_tear_down (ConnectionFixture *fixture)
{
  connection_end_clear (&fixture->near);
  connection_end_clear (&fixture->far);
  connection_wait_for_linger ();
}

void
connection_end_write (ConnectionEnd *end,
                      guint64        position,
                      gsize          size,
                      gint          *released)
{
  GBytes *bytes = zcio_test_pattern_bytes (position, size, released);
  gsize written = 0;
  GError *error = NULL;

  zcio_socket_stream_write_zerocopy (end->stream, bytes, &written, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, size);
  g_bytes_unref (bytes);
}

guint64
connection_end_fill (ConnectionEnd *end,
                     guint64        position,
                     gint          *n_buffers,
                     gint          *released)
{
  gsize written;

  do
    {
      GBytes *bytes = zcio_test_pattern_bytes (position, BUFFER_SIZE, released);
      GError *error = NULL;

      zcio_socket_stream_writev_zerocopy_nonblocking (end->stream, &bytes, 1, &written, NULL, &error);
      g_assert_no_error (error);
      g_bytes_unref (bytes);
      position += written;
      if (n_buffers != NULL)
        ++*n_buffers;
    }
  while (written == BUFFER_SIZE);

  return position;
}

void
connection_end_read (ConnectionEnd *end,
                     guint64        position,
                     gsize          size)
{
  g_autofree char *buffer = g_malloc (size);
  gsize n = 0;
  GError *error = NULL;

  g_input_stream_read_all (end->input, buffer, size, &n, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (n, ==, size);
  g_assert_cmpuint (zcio_test_pattern_check (position, buffer, size), ==, size);
}

guint64
connection_end_get_sends_in_flight (ConnectionEnd *end)
{
  guint64 sends;

  g_object_get (end->stream, "sends-in-flight", &sends, NULL);
  return sends;
}

void
connection_wait_for_linger (void)
{
  gint64 deadline = zcio_test_get_deadline ();

  while (zcio_linger_count () > 0)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (1000);
    }
}
