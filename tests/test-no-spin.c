/* test-no-spin.c - nothing that waits uses the CPU
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

#include "test-util.h"
#include "zcio/zcio-linger-private.h"

#define BUFFER_SIZE (256 * 1024)
#define N_BUFFERS 64

/* While nothing happens for so long, the loop may turn so often, and use so much CPU: a
 * source that spins takes all of it, and thousands of turns.
 */
#define STALL_MILLISECONDS 300
#define MAX_TURNS 30
#define MAX_CPU (60 * 1000)

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  GSocketConnection *connection;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
  GAsyncResult *read_result;
  GCancellable *read_cancellable;
  char read_buffer[16];
  guint64 position;
  gint released;
} Fixture;

static gboolean
set_up (Fixture *f)
{
  *f = (Fixture) { NULL };
  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 65536, &f->socket, &f->peer))
    return FALSE;

  f->connection = g_socket_connection_factory_create_connection (f->socket);
  f->stream = zcio_socket_stream_new (f->socket);
  zcio_socket_stream_set_zero_copy_mode (f->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  f->reader = zcio_test_reader_new (f->peer, 0, ZCIO_TEST_READER_PAUSED);
  return TRUE;
}

/* A read by GIO that finds nothing: it polls the same descriptor. */
static void
start_reading (Fixture *f)
{
  f->read_cancellable = g_cancellable_new ();
  g_input_stream_read_async (g_io_stream_get_input_stream (G_IO_STREAM (f->connection)),
                             f->read_buffer, sizeof f->read_buffer, G_PRIORITY_HIGH,
                             f->read_cancellable, zcio_test_store_result, &f->read_result);
}

static void
stop_reading (Fixture *f)
{
  g_cancellable_cancel (f->read_cancellable);
  zcio_test_wait_until (NULL, f->read_result != NULL);
  g_clear_object (&f->read_result);
  g_clear_object (&f->read_cancellable);
}

static void
tear_down (Fixture *f)
{
  GError *error = NULL;

  zcio_test_reader_resume (f->reader);
  if (f->read_cancellable != NULL)
    stop_reading (f);
  g_output_stream_close (G_OUTPUT_STREAM (f->stream), NULL, &error);
  g_assert_no_error (error);
  g_object_unref (f->stream);
  g_object_unref (f->connection);
  g_object_unref (f->socket);
  g_assert_cmpuint (zcio_test_reader_finish (f->reader, NULL, NULL), ==, f->position);
  g_object_unref (f->peer);
}

static void
assert_stall_costs_nothing (const char *what)
{
  gint64 cpu_time = zcio_test_get_thread_cpu_time ();
  guint turns = zcio_test_run_for (NULL, STALL_MILLISECONDS);

  cpu_time = zcio_test_get_thread_cpu_time () - cpu_time;
  g_test_message ("%s: %u turns, %" G_GINT64_FORMAT " us of CPU in %d ms", what, turns, cpu_time,
                  STALL_MILLISECONDS);
  g_assert_cmpuint (turns, <, MAX_TURNS);
  if (g_getenv ("ZCIO_TEST_PATIENCE") == NULL)
    g_assert_cmpint (cpu_time, <, MAX_CPU);
}

static gsize
write_nonblocking (Fixture *f)
{
  GBytes *bytes = zcio_test_pattern_bytes (f->position, BUFFER_SIZE, &f->released);
  gsize written = 0;
  GError *error = NULL;

  zcio_socket_stream_writev_zerocopy_nonblocking (f->stream, &bytes, 1, &written, NULL, &error);
  g_assert_no_error (error);
  g_bytes_unref (bytes);
  f->position += written;
  return written;
}

static void
fill (Fixture *f)
{
  while (write_nonblocking (f) > 0)
    ;
}

static void
start_writing (Fixture       *f,
               GAsyncResult **result)
{
  GBytes *bytes = zcio_test_pattern_bytes (f->position, BUFFER_SIZE, &f->released);

  zcio_socket_stream_writev_zerocopy_async (f->stream, &bytes, 1, G_PRIORITY_DEFAULT, NULL,
                                            zcio_test_store_result, result);
  g_bytes_unref (bytes);
}

static void
finish_writing (Fixture       *f,
                GAsyncResult **result)
{
  gsize written = 0;
  GError *error = NULL;

  zcio_test_wait_until (NULL, *result != NULL);
  zcio_socket_stream_writev_zerocopy_finish (f->stream, *result, &written, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, BUFFER_SIZE);
  f->position += written;
  g_clear_object (result);
}

static void
test_one_loop (void)
{
  Fixture f;
  GAsyncResult *result = NULL;
  guint polls;

  g_test_summary ("With a reader of GIO's, of high priority, on the same loop and socket: few polls "
                  "for each write, none while the peer is stalled, none when all has come back");

  if (!set_up (&f))
    return;
  zcio_test_count_polls (NULL);
  start_reading (&f);
  zcio_test_reader_resume (f.reader);

  polls = zcio_test_get_polls ();
  for (guint i = 0; i < N_BUFFERS; i++)
    {
      start_writing (&f, &result);
      finish_writing (&f, &result);
    }
  zcio_test_wait_until (NULL, g_atomic_int_get (&f.released) == N_BUFFERS);
  polls = zcio_test_get_polls () - polls;
  g_test_message ("%u polls for %d writes", polls, N_BUFFERS);
  g_assert_cmpuint (polls, <, 50 * N_BUFFERS);
  assert_stall_costs_nothing ("all came back");

  zcio_test_reader_pause (f.reader);
  fill (&f);
  start_writing (&f, &result);
  zcio_test_run_for (NULL, 300);
  g_assert_null (result);
  assert_stall_costs_nothing ("stalled");
  zcio_test_reader_resume (f.reader);
  finish_writing (&f, &result);
  tear_down (&f);
}

#define FLOOD_MILLISECONDS 500
#define SLOW_TURN 60

static guint slow_turns;
static gint flood_ended;

static gboolean
be_slow (GSocket *socket,
         GIOCondition condition,
         gpointer data)
{
  gint64 time = g_get_monotonic_time ();

  slow_turns++;
  while (g_get_monotonic_time () - time < SLOW_TURN)
    ;
  return G_SOURCE_CONTINUE;
}

static gpointer
flood (gpointer data)
{
  Fixture *f = data;

  while (!g_atomic_int_get (&flood_ended))
    {
      GBytes *bytes = zcio_test_pattern_bytes (f->position, 64 * 1024, &f->released);

      g_assert_true (zcio_socket_stream_write_zerocopy (f->stream, bytes, NULL, NULL, NULL));
      g_bytes_unref (bytes);
      f->position += 64 * 1024;
      g_usleep (100);
    }

  return NULL;
}

static void
test_flood (void)
{
  Fixture f;
  GSource *source;
  GThread *thread;
  ZcioStatistics *statistics;

  g_test_summary ("In a flood of completions a source of GIO's on the same socket is called in vain "
                  "only a few times for each time that the error queue is read, slow as it may be");

  if (!set_up (&f))
    return;
  zcio_test_reader_resume (f.reader);
  source = g_socket_create_source (f.socket, G_IO_IN, NULL);
  g_source_set_callback (source, (GSourceFunc) (GCallback) be_slow, NULL, NULL);
  g_source_attach (source, NULL);

  thread = g_thread_new ("flood", flood, &f);
  zcio_test_run_for (NULL, FLOOD_MILLISECONDS);
  g_atomic_int_set (&flood_ended, TRUE);
  g_thread_join (thread);
  g_source_destroy (source);
  g_source_unref (source);

  statistics = zcio_socket_stream_get_statistics (f.stream);
  g_test_message ("%u calls in vain, %" G_GUINT64_FORMAT " dispatches", slow_turns,
                  statistics->reaper_dispatches);
  g_assert_cmpuint (slow_turns, <, 4 * statistics->reaper_dispatches + 100);
  zcio_statistics_free (statistics);
  g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, NULL));
  tear_down (&f);
}

typedef struct
{
  GSocketConnection *connection;
  clockid_t clock;
  gint started;
} Blocking;

static gpointer
read_blocking (gpointer data)
{
  Blocking *blocking = data;
  char byte;

  g_assert_cmpint (pthread_getcpuclockid (pthread_self (), &blocking->clock), ==, 0);
  g_atomic_int_set (&blocking->started, TRUE);
  g_assert_cmpint (g_input_stream_read (g_io_stream_get_input_stream (G_IO_STREAM (blocking->connection)),
                                        &byte, 1, NULL, NULL),
                   ==, 1);
  return NULL;
}

static gint64
get_cpu_time (Blocking *blocking)
{
  struct timespec time;

  g_assert_cmpint (clock_gettime (blocking->clock, &time), ==, 0);
  return (gint64) time.tv_sec * G_USEC_PER_SEC + time.tv_nsec / 1000;
}

static void
test_other_thread (void)
{
  Fixture f;
  Blocking blocking = { NULL };
  GThread *thread;
  GAsyncResult *result = NULL;
  gint64 cpu_time;

  g_test_summary ("A blocking read of GIO's in another thread does not spin while the peer is "
                  "stalled, nor when all has come back");

  if (!set_up (&f))
    return;
  blocking.connection = f.connection;
  thread = g_thread_new ("read", read_blocking, &blocking);
  zcio_test_wait_until (NULL, g_atomic_int_get (&blocking.started));

  fill (&f);
  start_writing (&f, &result);
  zcio_test_run_for (NULL, 300);
  g_assert_null (result);
  cpu_time = get_cpu_time (&blocking);
  assert_stall_costs_nothing ("stalled");
  cpu_time = get_cpu_time (&blocking) - cpu_time;
  g_test_message ("the reader used %" G_GINT64_FORMAT " us of CPU", cpu_time);
  if (g_getenv ("ZCIO_TEST_PATIENCE") == NULL)
    g_assert_cmpint (cpu_time, <, MAX_CPU);

  zcio_test_reader_resume (f.reader);
  finish_writing (&f, &result);
  zcio_test_wait_until (NULL, zcio_test_reader_get_received (f.reader) == f.position);
  g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, NULL));
  cpu_time = get_cpu_time (&blocking);
  assert_stall_costs_nothing ("all came back");
  cpu_time = get_cpu_time (&blocking) - cpu_time;
  g_test_message ("the reader used %" G_GINT64_FORMAT " us of CPU", cpu_time);
  if (g_getenv ("ZCIO_TEST_PATIENCE") == NULL)
    g_assert_cmpint (cpu_time, <, MAX_CPU);

  g_assert_cmpint (g_socket_send (f.peer, "x", 1, NULL, NULL), ==, 1);
  g_thread_join (thread);
  tear_down (&f);
}

static gboolean
count_fired (GObject  *stream,
             gpointer  user_data)
{
  (*(guint *) user_data)++;
  return G_SOURCE_CONTINUE;
}

static void
test_back_pressure (void)
{
  Fixture f;
  GSource *source;
  GAsyncResult *result = NULL;
  guint64 in_flight;
  guint fired = 0;

  g_test_summary ("While max-bytes-in-flight is reached, neither a pollable source nor a write "
                  "turns the loop, although the socket is writable");

  if (!set_up (&f))
    return;
  g_assert_cmpint (setsockopt (g_socket_get_fd (f.socket), SOL_SOCKET, SO_SNDBUF,
                               &(int){ 16 * 1024 * 1024 }, sizeof (int)),
                   ==, 0);
  start_reading (&f);
  g_object_set (f.stream, "max-bytes-in-flight", (guint64) 65536, NULL);
  /* The peer's kernel goes on taking a little for a while. */
  while (write_nonblocking (&f) > 0)
    zcio_test_run_for (NULL, 300);
  g_object_get (f.stream, "bytes-in-flight", &in_flight, NULL);
  g_assert_cmpuint (in_flight, >=, 65536);
  g_assert_false (g_pollable_output_stream_is_writable (G_POLLABLE_OUTPUT_STREAM (f.stream)));

  source = g_pollable_output_stream_create_source (G_POLLABLE_OUTPUT_STREAM (f.stream), NULL);
  g_source_set_callback (source, (GSourceFunc) (GCallback) count_fired, &fired, NULL);
  g_source_attach (source, NULL);
  start_writing (&f, &result);
  zcio_test_run_for (NULL, 300);
  assert_stall_costs_nothing ("window full");
  g_assert_cmpuint (fired, ==, 0);
  g_assert_null (result);

  zcio_test_reader_resume (f.reader);
  zcio_test_wait_until (NULL, fired > 0);
  g_source_destroy (source);
  g_source_unref (source);
  finish_writing (&f, &result);
  tear_down (&f);
}

static void
test_no_buffers (gconstpointer data)
{
  Fixture f;
  GAsyncResult *result = NULL;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("While a peer is stalled and the kernel has no memory for notifications, nobody spins");

  if (!zcio_test_in_namespace (GPOINTER_TO_INT (data)))
    return;
  /* The state is told of on standard error, once. */
  g_assert_true (set_up (&f));
  start_reading (&f);
  fill (&f);
  start_writing (&f, &result);
  zcio_test_run_for (NULL, 300);
  g_assert_null (result);
  assert_stall_costs_nothing ("no buffers");

  zcio_test_reader_resume (f.reader);
  finish_writing (&f, &result);
  for (guint i = 0; i < 4; i++)
    {
      start_writing (&f, &result);
      finish_writing (&f, &result);
    }
  statistics = zcio_socket_stream_get_statistics (f.stream);
  g_test_message ("ENOBUFS %" G_GUINT64_FORMAT " times", statistics->enobufs);
  if (GPOINTER_TO_INT (data) == 500)
    g_assert_cmpuint (statistics->enobufs, >, 0);
  tear_down (&f);
}

static void
reset_by_peer (Fixture *f)
{
  struct linger linger = { .l_onoff = 1 };
  struct pollfd fd = { .fd = g_socket_get_fd (f->socket) };

  zcio_test_reader_pause (f->reader);
  g_assert_cmpint (setsockopt (g_socket_get_fd (f->peer), SOL_SOCKET, SO_LINGER, &linger, sizeof linger), ==, 0);
  /* Its thread still looks at the descriptor. */
  g_assert_cmpint (connect (g_socket_get_fd (f->peer), &(struct sockaddr){ .sa_family = AF_UNSPEC },
                            sizeof (struct sockaddr)),
                   ==, 0);
  while ((fd.revents & POLLHUP) == 0)
    g_assert_cmpint (poll (&fd, 1, 1000), >=, 0);
}

static void
test_reset (gconstpointer data)
{
  gboolean in_flight = GPOINTER_TO_INT (data);
  Fixture f;
  GAsyncResult *result = NULL;
  gint64 cpu_time;
  GError *error = NULL;

  g_test_summary ("After a reset nobody spins, although the socket has an error to tell, and "
                  "draining is over at once");

  if (!set_up (&f))
    return;
  if (in_flight)
    fill (&f);
  else
    {
      zcio_test_reader_resume (f.reader);
      start_writing (&f, &result);
      finish_writing (&f, &result);
      g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, NULL));
    }

  reset_by_peer (&f);
  zcio_test_run_for (NULL, 100);
  assert_stall_costs_nothing ("after the reset");

  cpu_time = zcio_test_get_thread_cpu_time ();
  g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_output_stream_flush (G_OUTPUT_STREAM (f.stream), NULL, &error));
  g_assert_no_error (error);
  cpu_time = zcio_test_get_thread_cpu_time () - cpu_time;
  if (g_getenv ("ZCIO_TEST_PATIENCE") == NULL)
    g_assert_cmpint (cpu_time, <, MAX_CPU);

  g_assert_cmpint (g_output_stream_write (G_OUTPUT_STREAM (f.stream), "x", 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED);
  g_clear_error (&error);
  g_object_unref (f.stream);
  g_object_unref (f.connection);
  g_object_unref (f.socket);
  zcio_test_reader_finish (f.reader, &(int){ 0 }, NULL);
  g_object_unref (f.peer);
}

static gboolean
run (const char *command)
{
  int status;
  GError *error = NULL;

  if (!g_spawn_command_line_sync (command, NULL, NULL, &status, &error) ||
      !g_spawn_check_wait_status (status, &error))
    {
      g_printerr ("%s: %s\n", command, error->message);
      g_clear_error (&error);
      return FALSE;
    }

  return TRUE;
}

static void
test_queueing_discipline (gconstpointer data)
{
  gboolean dropped = GPOINTER_TO_INT (data);
  Fixture f;
  guint64 in_flight;
  gint64 cpu_time;
  int reader_error;
  g_autofree char *ip = g_find_program_in_path ("ip");
  g_autofree char *tc = g_find_program_in_path ("tc");
  GError *error = NULL;

  g_test_summary ("What a queueing discipline holds after the connection was aborted is waited for "
                  "without spinning, and stays owned until it has been let go");

  if (!g_test_subprocess () && (tc == NULL || ip == NULL))
    {
      g_test_skip ("There are no ip and tc; they come with iproute2");
      return;
    }
  if (!zcio_test_in_namespace (0))
    return;

  g_assert_true (run ("ip link set lo mtu 1500"));
  g_assert_true (set_up (&f));
  if (!run ("tc qdisc add dev lo root tbf rate 100kbit burst 5kb limit 1mb"))
    {
      g_printerr ("The kernel has no token bucket filter\n");
      return;
    }
  write_nonblocking (&f);
  g_assert_true (zcio_socket_stream_abort (f.stream, &error));
  g_assert_no_error (error);
  g_object_get (f.stream, "bytes-in-flight", &in_flight, NULL);
  g_assert_cmpuint (in_flight, >, 0);
  g_assert_cmpint (f.released, ==, 0);
  assert_stall_costs_nothing ("in the queueing discipline");

  cpu_time = zcio_test_get_process_cpu_time ();
  if (dropped)
    {
      g_clear_object (&f.stream);
      zcio_test_wait_until (NULL, zcio_linger_count () == 0);
    }
  else
    {
      g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, &error));
      g_assert_no_error (error);
    }
  cpu_time = zcio_test_get_process_cpu_time () - cpu_time;
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, 1);
  if (g_getenv ("ZCIO_TEST_PATIENCE") == NULL)
    g_assert_cmpint (cpu_time, <, G_USEC_PER_SEC / 4);

  /* The peer may know of the reset, or not yet. The namespace ends with the process. */
  g_socket_shutdown (f.peer, TRUE, TRUE, NULL);
  zcio_test_reader_finish (f.reader, &reader_error, NULL);
  g_clear_object (&f.stream);
  g_object_unref (f.connection);
  g_object_unref (f.socket);
  g_object_unref (f.peer);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/no-spin/one-loop", test_one_loop);
  g_test_add_func ("/no-spin/flood", test_flood);
  g_test_add_func ("/no-spin/other-thread", test_other_thread);
  g_test_add_func ("/no-spin/back-pressure", test_back_pressure);
  g_test_add_data_func ("/no-spin/no-buffers/20480", GINT_TO_POINTER (20480), test_no_buffers);
  g_test_add_data_func ("/no-spin/no-buffers/500", GINT_TO_POINTER (500), test_no_buffers);
  g_test_add_data_func ("/no-spin/reset/idle", GINT_TO_POINTER (FALSE), test_reset);
  g_test_add_data_func ("/no-spin/reset/in-flight", GINT_TO_POINTER (TRUE), test_reset);
  g_test_add_data_func ("/no-spin/queueing-discipline/drain", GINT_TO_POINTER (FALSE), test_queueing_discipline);
  g_test_add_data_func ("/no-spin/queueing-discipline/dropped", GINT_TO_POINTER (TRUE), test_queueing_discipline);

  return g_test_run ();
}
