/* test-tcp-connection.c - reading beside sends in flight
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <gio/gfiledescriptorbased.h>

#include "connection-fixture.h"
#include "zcio/zcio-syscalls-private.h"

#define SIZE (64 * 1024)

static void
test_streams (void)
{
  ConnectionFixture fixture;
  int fd;

  g_test_summary ("The connection is a GTcpConnection, and both of its streams can be polled "
                  "and have the socket's descriptor");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  fd = g_socket_get_fd (fixture.near.socket);
  g_assert_true (G_IS_TCP_CONNECTION (fixture.near.connection));
  g_assert_true (g_socket_connection_get_socket (G_SOCKET_CONNECTION (fixture.near.connection)) ==
                 fixture.near.socket);
  g_assert_true (g_io_stream_get_input_stream (fixture.near.connection) == fixture.near.input);
  g_assert_true (g_io_stream_get_output_stream (fixture.near.connection) == fixture.near.output);
  g_assert_true (g_pollable_input_stream_can_poll (G_POLLABLE_INPUT_STREAM (fixture.near.input)));
  g_assert_true (g_pollable_output_stream_can_poll (G_POLLABLE_OUTPUT_STREAM (fixture.near.output)));
  g_assert_cmpint (g_file_descriptor_based_get_fd (G_FILE_DESCRIPTOR_BASED (fixture.near.input)), ==, fd);
  g_assert_cmpint (g_file_descriptor_based_get_fd (G_FILE_DESCRIPTOR_BASED (fixture.near.output)), ==, fd);

  connection_fixture_tear_down (&fixture);
}

static void
test_both_ways (gconstpointer data)
{
  ConnectionFixture fixture;

  g_test_summary ("What either end sends by zero-copy the other reads, without any main loop");

  if (!connection_fixture_set_up (&fixture, GPOINTER_TO_INT (data), 0))
    return;

  for (guint i = 0; i < 16; i++)
    {
      connection_end_write (&fixture.near, i * SIZE, SIZE, &fixture.released);
      connection_end_read (&fixture.far, i * SIZE, SIZE);
      connection_end_write (&fixture.far, i * SIZE, SIZE, &fixture.released);
      connection_end_read (&fixture.near, i * SIZE, SIZE);
    }

  connection_fixture_tear_down (&fixture);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 32);
}

/* Reading */

static ZcioSyscalls counting;
static guint n_polls;
static guint n_error_queue_reads;

static int
count_poll (ZcioSyscalls  *self,
            struct pollfd *fds,
            nfds_t         n_fds,
            int            timeout)
{
  ZcioSyscalls *real = zcio_syscalls_get_real ();

  n_polls++;
  return real->poll (real, fds, n_fds, timeout);
}

static gssize
count_receive_error (ZcioSyscalls  *self,
                     int            fd,
                     struct msghdr *message)
{
  ZcioSyscalls *real = zcio_syscalls_get_real ();

  n_error_queue_reads++;
  return real->receive_error (real, fd, message);
}

static void
test_system_calls (void)
{
  ConnectionFixture fixture;

  g_test_summary ("Reading what is there costs no system call but the read, and waiting for "
                  "it one poll");

  counting = *zcio_syscalls_get_real ();
  counting.poll = count_poll;
  counting.receive_error = count_receive_error;
  zcio_syscalls_set_default (&counting);

  if (connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    {
      guint8 byte = 0;

      zcio_socket_stream_set_zero_copy_mode (fixture.far.stream, ZCIO_ZERO_COPY_MODE_NEVER);
      connection_end_write (&fixture.far, 0, SIZE, NULL);
      n_polls = n_error_queue_reads = 0;
      for (guint i = 0; i < SIZE / 1024; i++)
        connection_end_read (&fixture.near, i * 1024, 1024);
      g_assert_cmpuint (n_polls, ==, 0);
      g_assert_cmpuint (n_error_queue_reads, ==, 0);

      g_socket_set_timeout (fixture.near.socket, 1);
      g_assert_cmpint (g_input_stream_read (fixture.near.input, &byte, 1, NULL, NULL), ==, -1);
      g_assert_cmpuint (n_polls, ==, 1);
      g_assert_cmpuint (n_error_queue_reads, ==, 0);

      connection_fixture_tear_down (&fixture);
    }

  zcio_syscalls_set_default (zcio_syscalls_get_real ());
}

static gpointer
write_slowly (gpointer data)
{
  ConnectionFixture *fixture = data;
  guint64 position = 0;

  /* Each is acknowledged, so that a completion comes in while the other thread reads. */
  for (guint i = 0; i < 120; i++)
    {
      connection_end_write (&fixture->near, position, 4096, &fixture->released);
      connection_end_read (&fixture->far, position, 4096);
      position += 4096;
      g_usleep (10 * 1000);
    }

  return NULL;
}

static void
test_timeout_sync (void)
{
  ConnectionFixture fixture;
  gint64 best = G_MAXINT64;
  gint64 cpu = G_MAXINT64;

  g_test_summary ("A blocking read times out on time although completions come in all the while, "
                  "and uses no CPU");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_socket_set_timeout (fixture.near.socket, 1);

  /* On a busy machine any of them may be late. */
  for (guint i = 0; i < 3 && best > 50 * G_TIME_SPAN_MILLISECOND; i++)
    {
      GThread *thread = g_thread_new ("writer", write_slowly, &fixture);
      gint64 start = g_get_monotonic_time ();
      gint64 cpu_start = zcio_test_get_thread_cpu_time ();
      gint64 time;
      char byte;
      GError *error = NULL;

      g_assert_cmpint (g_input_stream_read (fixture.near.input, &byte, 1, NULL, &error), ==, -1);
      time = g_get_monotonic_time () - start;
      cpu = MIN (cpu, zcio_test_get_thread_cpu_time () - cpu_start);
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      g_assert_cmpstr (error->message, ==, "Socket I/O timed out");
      g_clear_error (&error);
      g_assert_cmpint (time, >=, G_TIME_SPAN_SECOND);
      best = MIN (best, time - G_TIME_SPAN_SECOND);
      g_thread_join (thread);
    }

  g_test_message ("%" G_GINT64_FORMAT " µs late, %" G_GINT64_FORMAT " µs of CPU", best, cpu);
  g_assert_cmpint (best, <, 50 * G_TIME_SPAN_MILLISECOND);
  /* A reader that spins takes 500 ms of it at the least. */
  g_assert_cmpint (cpu, <, 100 * G_TIME_SPAN_MILLISECOND);

  connection_fixture_tear_down (&fixture);
}

static void
test_timeout_async (void)
{
  ConnectionFixture fixture;
  GAsyncResult *result = NULL;
  gint64 best = G_MAXINT64;
  char byte;
  GError *error = NULL;

  g_test_summary ("An asynchronous read times out on time, once; neither a write nor the next "
                  "read has the error as well");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_socket_set_timeout (fixture.near.socket, 1);
  for (guint i = 0; i < 3 && best > 50 * G_TIME_SPAN_MILLISECOND; i++)
    {
      gint64 start = g_get_monotonic_time ();
      gint64 time;

      g_input_stream_read_async (fixture.near.input, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                                 zcio_test_store_result, &result);
      while (result == NULL)
        g_main_context_iteration (NULL, TRUE);
      time = g_get_monotonic_time () - start;
      g_assert_cmpint (g_input_stream_read_finish (fixture.near.input, result, &error), ==, -1);
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      g_clear_error (&error);
      g_clear_object (&result);
      g_assert_cmpint (time, >=, G_TIME_SPAN_SECOND);
      best = MIN (best, time - G_TIME_SPAN_SECOND);
    }
  g_assert_cmpint (best, <, 50 * G_TIME_SPAN_MILLISECOND);

  connection_end_write (&fixture.near, 0, SIZE, NULL);
  g_assert_cmpint (g_output_stream_write (fixture.near.output, "x", 1, NULL, &error), ==, 1);
  g_assert_no_error (error);
  connection_end_write (&fixture.far, 0, SIZE, NULL);
  connection_end_read (&fixture.near, 0, SIZE);
  connection_end_read (&fixture.far, 0, SIZE);

  connection_fixture_tear_down (&fixture);
}

static gboolean
quit_on_condition (GSocket      *socket,
                   GIOCondition  condition,
                   gpointer      data)
{
  *(gboolean *) data = TRUE;
  return G_SOURCE_REMOVE;
}

static void
test_timeout_of_the_socket (void)
{
  ConnectionFixture fixture;
  GSource *source;
  gboolean fired = FALSE;
  char byte;
  GError *error = NULL;

  g_test_summary ("A timeout that a source of GSocket has met is told by the next read, once");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_socket_set_timeout (fixture.near.socket, 1);
  source = g_socket_create_source (fixture.near.socket, G_IO_IN, NULL);
  g_source_set_callback (source, (GSourceFunc) (GCallback) quit_on_condition, &fired, NULL);
  g_source_attach (source, NULL);
  zcio_test_wait_until (NULL, fired);
  g_source_unref (source);

  connection_end_write (&fixture.far, 0, SIZE, NULL);
  g_assert_cmpint (g_input_stream_read (fixture.near.input, &byte, 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  connection_end_read (&fixture.near, 0, SIZE);

  connection_fixture_tear_down (&fixture);
}

static void
test_cancel (void)
{
  ConnectionFixture fixture;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GAsyncResult *result = NULL;
  GThread *thread;
  char byte;
  GError *error = NULL;

  g_test_summary ("A read that waits can be cancelled, whether it blocks or not, and the next "
                  "one reads what comes");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  connection_end_fill (&fixture.near, 0, NULL, NULL);
  thread = g_thread_new ("canceller", zcio_test_cancel_soon, cancellable);
  g_assert_cmpint (g_input_stream_read (fixture.near.input, &byte, 1, cancellable, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_thread_join (thread);

  g_cancellable_reset (cancellable);
  g_input_stream_read_async (fixture.near.input, &byte, 1, G_PRIORITY_DEFAULT, cancellable,
                             zcio_test_store_result, &result);
  zcio_test_run_for (NULL, 10);
  g_assert_null (result);
  g_cancellable_cancel (cancellable);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_cmpint (g_input_stream_read_finish (fixture.near.input, result, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_clear_object (&result);

  connection_end_write (&fixture.far, 0, SIZE, NULL);
  connection_end_read (&fixture.near, 0, SIZE);

  connection_fixture_tear_down (&fixture);
}

static gboolean
count_readable (GObject  *stream,
                gpointer  data)
{
  ++*(guint *) data;
  return G_SOURCE_CONTINUE;
}

static void
test_pollable (void)
{
  ConnectionFixture fixture;
  g_autoptr (GMainContext) context = g_main_context_new ();
  GPollableInputStream *pollable;
  GSource *source;
  guint fired = 0;
  gint64 polls;
  char buffer[SIZE];
  GError *error = NULL;

  g_test_summary ("Completions neither make the stream readable nor dispatch its source; data "
                  "does, and so does the end of the socket, once");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  pollable = G_POLLABLE_INPUT_STREAM (fixture.near.input);
  source = g_pollable_input_stream_create_source (pollable, NULL);
  g_source_set_callback (source, (GSourceFunc) (GCallback) count_readable, &fired, NULL);
  g_source_attach (source, context);

  /* The reaper's context is another one, which does not run. */
  for (guint i = 0; i < 8; i++)
    {
      connection_end_write (&fixture.near, i * SIZE, SIZE, &fixture.released);
      connection_end_read (&fixture.far, i * SIZE, SIZE);
      g_assert_false (g_pollable_input_stream_is_readable (pollable));
    }
  g_assert_cmpint (g_pollable_input_stream_read_nonblocking (pollable, buffer, 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  g_clear_error (&error);

  polls = zcio_test_run_for (context, 100);
  g_assert_cmpuint (fired, ==, 0);
  g_assert_cmpint (polls, <, 50);

  connection_end_write (&fixture.far, 0, SIZE, NULL);
  zcio_test_wait_until (context, fired > 0);
  g_assert_true (g_pollable_input_stream_is_readable (pollable));
  g_assert_cmpint (g_pollable_input_stream_read_nonblocking (pollable, buffer, SIZE, NULL, &error), >, 0);
  g_assert_no_error (error);

  g_io_stream_close (fixture.near.connection, NULL, &error);
  g_assert_no_error (error);
  fired = 0;
  g_main_context_iteration (context, FALSE);
  g_assert_cmpuint (fired, ==, 1);
  g_assert_cmpint (g_pollable_input_stream_read_nonblocking (pollable, buffer, 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);
  g_source_destroy (source);
  g_source_unref (source);

  connection_fixture_tear_down (&fixture);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 8);
}

static void
test_read_nothing (void)
{
  ConnectionFixture fixture;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GPollableInputStream *input;
  char byte = 0;
  GError *error = NULL;

  g_test_summary ("A read that was cancelled, or of a stream that was closed, takes nothing of what is there");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  input = G_POLLABLE_INPUT_STREAM (fixture.far.input);
  connection_end_write (&fixture.near, 0, 1000, &fixture.released);
  zcio_test_wait_until (NULL, g_pollable_input_stream_is_readable (input));
  g_cancellable_cancel (cancellable);
  g_assert_cmpint (g_input_stream_read (fixture.far.input, &byte, 1, cancellable, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_cmpint (g_pollable_input_stream_read_nonblocking (input, &byte, 1, cancellable, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  connection_end_read (&fixture.far, 0, 500);

  g_assert_true (g_input_stream_close (fixture.far.input, NULL, &error));
  g_assert_cmpint (g_pollable_input_stream_read_nonblocking (input, &byte, 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);

  connection_fixture_tear_down (&fixture);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/tcp-connection/streams", test_streams);
  for (ZcioTestFamily family = ZCIO_TEST_FAMILY_IPV4; family <= ZCIO_TEST_FAMILY_UNIX; family++)
    {
      g_autofree char *path = g_strconcat ("/tcp-connection/both-ways/",
                                           zcio_test_family_to_string (family), NULL);

      g_test_add_data_func (path, GINT_TO_POINTER (family), test_both_ways);
    }

  g_test_add_func ("/tcp-connection/read/system-calls", test_system_calls);
  g_test_add_func ("/tcp-connection/read/timeout/sync", test_timeout_sync);
  g_test_add_func ("/tcp-connection/read/timeout/async", test_timeout_async);
  g_test_add_func ("/tcp-connection/read/timeout/socket", test_timeout_of_the_socket);
  g_test_add_func ("/tcp-connection/read/cancel", test_cancel);
  g_test_add_func ("/tcp-connection/read/pollable", test_pollable);
  g_test_add_func ("/tcp-connection/read/nothing", test_read_nothing);

  return g_test_run ();
}
