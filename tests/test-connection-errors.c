/* test-connection-errors.c - connections that end otherwise than they should
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection-fixture.h"

#define SIZE (64 * 1024)

/* The peer goes without a word of farewell. */
static void
reset_by_peer (ConnectionEnd *end)
{
  struct linger linger = { .l_onoff = 1, .l_linger = 0 };
  GError *error = NULL;

  g_assert_cmpint (setsockopt (g_socket_get_fd (end->socket), SOL_SOCKET, SO_LINGER,
                               &linger, sizeof linger), ==, 0);
  g_socket_close (end->socket, &error);
  g_assert_no_error (error);
}

static void
assert_all_released (ConnectionFixture *fixture,
                     gint               n_buffers)
{
  GError *error = NULL;

  zcio_socket_stream_drain (fixture->near.stream, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&fixture->released), ==, n_buffers);
}

static void
assert_does_not_spin (void)
{
  gint64 cpu = zcio_test_get_thread_cpu_time ();

  g_assert_cmpuint (zcio_test_run_for (NULL, 100), <, 50);
  g_assert_cmpint (zcio_test_get_thread_cpu_time () - cpu, <, 50 * G_TIME_SPAN_MILLISECOND);
}

static void
assert_told_once (ConnectionFixture *fixture,
                  GError            *error,
                  int                code)
{
  GError *next_error = NULL;
  char byte;

  g_assert_error (error, G_IO_ERROR, code);
  g_assert_cmpint (g_input_stream_read (fixture->near.input, &byte, 1, NULL, &next_error), ==, 0);
  g_assert_no_error (next_error);
  g_assert_cmpint (g_output_stream_write (fixture->near.output, "x", 1, NULL, &next_error), ==, -1);
  g_assert_error (next_error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  g_error_free (next_error);
}

static void
test_reset_async (void)
{
  ConnectionFixture fixture;
  GAsyncResult *result = NULL;
  gint n_buffers = 0;
  char byte;
  GError *error = NULL;

  g_test_summary ("A reset ends an asynchronous read with the error, which is told once; all "
                  "memory is released, and nothing spins");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  g_input_stream_read_async (fixture.near.input, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                             zcio_test_store_result, &result);
  zcio_test_run_for (NULL, 10);
  reset_by_peer (&fixture.far);

  zcio_test_wait_until (NULL, result != NULL);
  g_assert_cmpint (g_input_stream_read_finish (fixture.near.input, result, &error), ==, -1);
  g_object_unref (result);
  assert_told_once (&fixture, error, G_IO_ERROR_CONNECTION_CLOSED);
  g_error_free (error);
  zcio_test_wait_until (NULL, g_atomic_int_get (&fixture.released) == n_buffers);
  assert_does_not_spin ();

  connection_fixture_tear_down (&fixture);
}

static gpointer
reset_soon (gpointer data)
{
  g_usleep (20 * 1000);
  reset_by_peer (data);
  return NULL;
}

static void
test_reset_blocking_read (void)
{
  ConnectionFixture fixture;
  GThread *thread;
  gint n_buffers = 0;
  char byte;
  GError *error = NULL;

  g_test_summary ("A reset ends a blocking read with the error, which is told once; all memory "
                  "is released");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV6, 0))
    return;

  connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  thread = g_thread_new ("peer", reset_soon, &fixture.far);
  g_assert_cmpint (g_input_stream_read (fixture.near.input, &byte, 1, NULL, &error), ==, -1);
  g_thread_join (thread);
  assert_told_once (&fixture, error, G_IO_ERROR_CONNECTION_CLOSED);
  g_error_free (error);
  assert_all_released (&fixture, n_buffers);

  connection_fixture_tear_down (&fixture);
}

static void
test_reset_blocking_write (void)
{
  ConnectionFixture fixture;
  GThread *thread;
  GBytes *bytes;
  gint n_buffers = 0;
  GError *error = NULL;

  g_test_summary ("A reset ends a blocking write by zero-copy with the error, which is told once; "
                  "all memory is released");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  thread = g_thread_new ("peer", reset_soon, &fixture.far);
  bytes = zcio_test_pattern_bytes (0, SIZE, &fixture.released);
  g_assert_false (zcio_socket_stream_write_zerocopy (fixture.near.stream, bytes, NULL, NULL, &error));
  g_bytes_unref (bytes);
  g_thread_join (thread);
  assert_told_once (&fixture, error, G_IO_ERROR_CONNECTION_CLOSED);
  g_error_free (error);
  assert_all_released (&fixture, n_buffers + 1);

  connection_fixture_tear_down (&fixture);
}

static void
test_half_closed_by_peer (void)
{
  ConnectionFixture fixture;
  GAsyncResult *result = NULL;
  gint n_buffers = 0;
  guint64 size;
  char byte;
  GError *error = NULL;

  g_test_summary ("The peer's end of its direction ends a read, and neither the writing nor the "
                  "reaping; nothing spins");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  size = connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  g_socket_shutdown (fixture.far.socket, FALSE, TRUE, &error);
  g_assert_no_error (error);
  g_input_stream_read_async (fixture.near.input, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                             zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_cmpint (g_input_stream_read_finish (fixture.near.input, result, &error), ==, 0);
  g_assert_no_error (error);
  g_object_unref (result);
  assert_does_not_spin ();

  connection_end_read (&fixture.far, 0, size);
  zcio_test_wait_until (NULL, g_atomic_int_get (&fixture.released) == n_buffers);
  connection_end_write (&fixture.near, size, SIZE, &fixture.released);
  connection_end_read (&fixture.far, size, SIZE);

  connection_fixture_tear_down (&fixture);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, n_buffers + 1);
}

/* In a namespace of the test's own. */
static void
run_ip (const char *arguments)
{
  g_autofree char *command = g_strconcat ("ip ", arguments, NULL);
  int status = -1;
  GError *error = NULL;

  g_spawn_command_line_sync (command, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status, ==, 0);
}

static void
test_vanished (gconstpointer data)
{
  gboolean blocking = GPOINTER_TO_INT (data);
  ConnectionFixture fixture;
  GAsyncResult *result = NULL;
  gint n_buffers = 0;
  char byte;
  GError *error = NULL;

  g_test_summary ("A peer that vanishes ends a read when TCP gives up, with an error that is told "
                  "once; all memory is released, and nothing spins");

  if (!zcio_test_in_namespace (0))
    return;
  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_socket_set_option (fixture.near.socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 500, &error);
  g_assert_no_error (error);
  run_ip ("link set lo down");
  connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  if (blocking)
    g_input_stream_read (fixture.near.input, &byte, 1, NULL, &error);
  else
    {
      g_input_stream_read_async (fixture.near.input, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                                 zcio_test_store_result, &result);
      zcio_test_wait_until (NULL, result != NULL);
      g_input_stream_read_finish (fixture.near.input, result, &error);
      g_object_unref (result);
    }
  assert_told_once (&fixture, error, G_IO_ERROR_TIMED_OUT);
  g_error_free (error);
  assert_all_released (&fixture, n_buffers);
  assert_does_not_spin ();

  connection_fixture_tear_down (&fixture);
}

static void
write_to (const char *path,
          const char *value)
{
  int fd = open (path, O_WRONLY | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (write (fd, value, strlen (value)), ==, strlen (value));
  close (fd);
}

/* An ICMP message is left in the error queue: nobody answers at that address, which the
 * neighbour table finds out after a while.
 */
static void
test_failed_connect (void)
{
  g_autoptr (GSocketAddress) address = NULL;
  ConnectionEnd end;
  GSocket *socket;
  GAsyncResult *result = NULL;
  gint64 cpu = zcio_test_get_process_cpu_time ();
  char byte;
  GError *error = NULL;

  g_test_summary ("A connection whose asynchronous connecting has failed is told so; reading from "
                  "it and writing to it fail at once, and nothing spins");

  if (!zcio_test_in_namespace (0))
    return;

  run_ip ("link add zcio-a type veth peer name zcio-b");
  run_ip ("address add 198.18.1.1/24 dev zcio-a");
  run_ip ("link set zcio-a up");
  run_ip ("link set zcio-b up");
  write_to ("/proc/sys/net/ipv4/neigh/zcio-a/retrans_time_ms", "50");

  socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
  g_assert_no_error (error);
  connection_end_init (&end, socket);
  address = g_inet_socket_address_new_from_string ("198.18.1.2", 1);
  g_socket_connection_connect_async (G_SOCKET_CONNECTION (end.connection), address, NULL,
                                     zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_false (g_socket_connection_connect_finish (G_SOCKET_CONNECTION (end.connection), result,
                                                      &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_HOST_UNREACHABLE);
  g_clear_error (&error);
  g_clear_object (&result);

  /* With the record in it, every poll returns. */
  g_assert_cmpint (g_socket_condition_check (socket, 0) & G_IO_ERR, ==, G_IO_ERR);
  assert_does_not_spin ();
  g_input_stream_read_async (end.input, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                             zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_cmpint (g_input_stream_read_finish (end.input, result, &error), <=, 0);
  g_clear_error (&error);
  g_object_unref (result);
  g_assert_cmpint (g_output_stream_write (end.output, "x", 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  g_clear_error (&error);
  g_assert_cmpint (zcio_test_get_process_cpu_time () - cpu, <, G_TIME_SPAN_SECOND);

  g_assert_true (g_io_stream_close (end.connection, NULL, &error));
  g_assert_no_error (error);
  connection_end_clear (&end);
}

/* A record in the error queue of a connection that works: GIO's stream would spin. */
static void
test_foreign_record (void)
{
  ConnectionFixture fixture;
  GSocket *socket;
  GAsyncResult *result = NULL;
  char byte;
  GError *error = NULL;

  g_test_summary ("A record in the error queue that is no completion neither ends a read nor lets "
                  "it spin, even if nothing was ever sent by zero-copy");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  socket = fixture.near.socket;
  /* Software timestamps of transmission, without the packets. */
  g_socket_set_option (socket, SOL_SOCKET, SO_TIMESTAMPING, (1 << 1) | (1 << 4) | (1 << 11), &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_output_stream_write (fixture.near.output, "x", 1, NULL, &error), ==, 1);
  g_assert_no_error (error);
  g_assert_cmpint (g_input_stream_read (fixture.far.input, &byte, 1, NULL, &error), ==, 1);
  g_assert_cmpint (g_socket_condition_check (socket, 0) & G_IO_ERR, ==, G_IO_ERR);

  g_input_stream_read_async (fixture.near.input, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                             zcio_test_store_result, &result);
  assert_does_not_spin ();
  g_assert_null (result);
  g_assert_cmpint (g_output_stream_write (fixture.far.output, "y", 1, NULL, &error), ==, 1);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_cmpint (g_input_stream_read_finish (fixture.near.input, result, &error), ==, 1);
  g_assert_no_error (error);
  g_object_unref (result);

  connection_fixture_tear_down (&fixture);
}

static gint n_warnings;

static GLogWriterOutput
count_warnings (GLogLevelFlags   level,
                const GLogField *fields,
                gsize            n_fields,
                gpointer         user_data)
{
  if ((level & G_LOG_LEVEL_WARNING) == 0)
    return g_log_writer_default (level, fields, n_fields, user_data);

  g_atomic_int_inc (&n_warnings);
  return G_LOG_WRITER_HANDLED;
}

static void
test_closed_descriptor (void)
{
  ConnectionFixture fixture;
  GSocket *near_socket;
  GSocket *far_socket;
  gint n_buffers = 0;
  int fd;
  char byte;
  GError *error = NULL;

  g_test_summary ("A descriptor that somebody closes under the connection is warned of once; reads, "
                  "writes and drains fail, and all memory is released after linger-timeout");

  /* The writer of the log can be set only once in a process. */
  if (!g_test_subprocess ())
    {
      g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
      g_test_trap_assert_passed ();
      return;
    }
  g_log_set_writer_func (count_warnings, NULL, NULL);

  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 0, &near_socket, &far_socket))
    return;

  /* A number that nothing else will get when it is free. */
  fd = fcntl (g_socket_get_fd (near_socket), F_DUPFD_CLOEXEC, 700);
  g_assert_cmpint (fd, >=, 700);
  g_object_unref (near_socket);
  near_socket = g_socket_new_from_fd (fd, &error);
  g_assert_no_error (error);
  fixture.released = 0;
  connection_end_init (&fixture.near, near_socket);
  connection_end_init (&fixture.far, far_socket);
  g_object_set (fixture.near.stream, "linger-timeout", 1u, NULL);

  connection_end_fill (&fixture.near, 0, &n_buffers, &fixture.released);
  close (fd);

  g_assert_false (zcio_socket_stream_drain (fixture.near.stream, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_cmpint (g_input_stream_read (fixture.near.input, &byte, 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_cmpint (g_output_stream_write (fixture.near.output, "x", 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), <, n_buffers);

  zcio_test_wait_until (NULL, g_atomic_int_get (&fixture.released) == n_buffers);
  assert_does_not_spin ();
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);

  g_assert_false (g_io_stream_close (fixture.near.connection, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
  g_clear_error (&error);
  connection_fixture_tear_down (&fixture);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/connection-errors/reset/async", test_reset_async);
  g_test_add_func ("/connection-errors/reset/blocking-read", test_reset_blocking_read);
  g_test_add_func ("/connection-errors/reset/blocking-write", test_reset_blocking_write);
  g_test_add_func ("/connection-errors/half-closed-by-peer", test_half_closed_by_peer);
  g_test_add_data_func ("/connection-errors/vanished/async", GINT_TO_POINTER (FALSE), test_vanished);
  g_test_add_data_func ("/connection-errors/vanished/blocking", GINT_TO_POINTER (TRUE), test_vanished);
  g_test_add_func ("/connection-errors/failed-connect", test_failed_connect);
  g_test_add_func ("/connection-errors/foreign-record", test_foreign_record);
  g_test_add_func ("/connection-errors/closed-descriptor", test_closed_descriptor);

  return g_test_run ();
}
