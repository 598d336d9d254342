/* test-linger.c - what happens to memory in flight when its stream goes
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test-util.h"
#include "zcio/zcio-linger-private.h"

#define BUFFER_SIZE (4 * 1024 * 1024)
#define N_BUFFERS 17
#define TOTAL ((guint64) N_BUFFERS * BUFFER_SIZE)
#define MUCH (64 * 1024 * 1024)

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
  guint64 position;
  gint made;
  gint released;
} Fixture;

static gint warnings;

static GLogWriterOutput
count_warnings (GLogLevelFlags   level,
                const GLogField *fields,
                gsize            n_fields,
                gpointer         user_data)
{
  if ((level & G_LOG_LEVEL_WARNING) == 0)
    return g_log_writer_default (level, fields, n_fields, user_data);

  g_atomic_int_inc (&warnings);
  return G_LOG_WRITER_HANDLED;
}

static void
write_some (Fixture *f,
            gsize    size)
{
  GBytes *bytes = zcio_test_pattern_bytes (f->position, size, &f->released);
  gsize written = 0;
  GError *error = NULL;

  zcio_socket_stream_write_zerocopy (f->stream, bytes, &written, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, size);
  g_bytes_unref (bytes);
  f->position += size;
  f->made++;
}

static gboolean
set_up (Fixture *f)
{
  int size = 4 * MUCH;

  memset (f, 0, sizeof *f);
  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 65536, &f->socket, &f->peer))
    return FALSE;

  if (setsockopt (g_socket_get_fd (f->socket), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
    {
      g_test_skip_printf ("May not set SO_SNDBUFFORCE: %s", g_strerror (errno));
      g_clear_object (&f->socket);
      g_clear_object (&f->peer);
      return FALSE;
    }

  f->stream = zcio_socket_stream_new (f->socket);
  zcio_socket_stream_set_zero_copy_mode (f->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  f->reader = zcio_test_reader_new (f->peer, 0, ZCIO_TEST_READER_PAUSED);
  return TRUE;
}

static guint64
get_in_flight (Fixture *f)
{
  guint64 bytes;

  zcio_socket_stream_reap (f->stream);
  g_object_get (f->stream, "bytes-in-flight", &bytes, NULL);
  return bytes;
}

static void
put_much_in_flight (Fixture *f)
{
  for (guint i = 0; i < N_BUFFERS; i++)
    write_some (f, BUFFER_SIZE);
  g_assert_cmpuint (get_in_flight (f), >=, MUCH);
  g_assert_cmpint (g_atomic_int_get (&f->released), <, N_BUFFERS);
}

/* Whoever sends memory that was freed sends something of this. */
static void
churn_heap (void)
{
  for (guint round = 0; round < 2; round++)
    {
      gpointer blocks[N_BUFFERS * 2];

      for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
        {
          blocks[i] = g_malloc (BUFFER_SIZE);
          memset (blocks[i], 0x5a, BUFFER_SIZE);
        }
      for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
        g_free (blocks[i]);
    }
}

static void
wait_until_idle (Fixture *f)
{
  zcio_test_wait_until (NULL, zcio_linger_count () == 0);
  g_assert_cmpint (g_atomic_int_get (&f->released), ==, f->made);
}

/* Ends the connection, if it is still there. */
static void
tear_down (Fixture *f,
           guint64  expected)
{
  if (f->stream != NULL)
    {
      GError *error = NULL;

      zcio_test_reader_resume (f->reader);
      g_output_stream_close (G_OUTPUT_STREAM (f->stream), NULL, &error);
      g_assert_no_error (error);
      g_clear_object (&f->stream);
    }
  g_clear_object (&f->socket);
  g_assert_cmpuint (zcio_test_reader_finish (f->reader, NULL, NULL), ==, expected);
  wait_until_idle (f);
  g_clear_object (&f->peer);
}

static void
test_drop (void)
{
  Fixture f;
  struct rusage before;
  struct rusage after;
  gint64 cpu_time;
  gint64 time;

  g_test_summary ("Dropping a stream with 64 MiB in flight and a stalled reader neither blocks nor "
                  "works, and every byte arrives unchanged");

  if (!set_up (&f))
    return;
  put_much_in_flight (&f);

  getrusage (RUSAGE_THREAD, &before);
  cpu_time = zcio_test_get_thread_cpu_time ();
  time = g_get_monotonic_time ();
  g_assert_finalize_object (g_steal_pointer (&f.stream));
  time = g_get_monotonic_time () - time;
  cpu_time = zcio_test_get_thread_cpu_time () - cpu_time;
  getrusage (RUSAGE_THREAD, &after);

  g_test_message ("dropped in %" G_GINT64_FORMAT " us, of CPU %" G_GINT64_FORMAT " us, "
                  "gave the CPU away %ld times",
                  time, cpu_time, after.ru_nvcsw - before.ru_nvcsw);
  /* Who watches has locks of its own, and Valgrind lets only one thread run at a time. If it
   * waited for the reader, it would never come here.
   */
  if (g_getenv ("ZCIO_TEST_PATIENCE") == NULL)
    {
      g_assert_cmpint (cpu_time, <, 10000);
      /* It may meet the thread that takes over at a lock. */
      g_assert_cmpint (after.ru_nvcsw - before.ru_nvcsw, <=, 2);
    }
  g_assert_cmpuint (zcio_linger_count (), ==, 1);

  churn_heap ();
  g_assert_cmpint (g_atomic_int_get (&f.released), <, N_BUFFERS);
  zcio_test_reader_resume (f.reader);
  tear_down (&f, TOTAL);
}

static void
test_close_early (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Fixture f;
  GError *error = NULL;

  g_test_summary ("Closing early, with a cancelled cancellable, never lets other bytes out");

  if (!set_up (&f))
    return;
  put_much_in_flight (&f);

  g_cancellable_cancel (cancellable);
  g_assert_false (g_output_stream_close (G_OUTPUT_STREAM (f.stream), cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_true (g_output_stream_is_closed (G_OUTPUT_STREAM (f.stream)));
  g_assert_cmpuint (zcio_linger_count (), ==, 1);
  g_clear_object (&f.stream);

  churn_heap ();
  g_assert_cmpint (g_atomic_int_get (&f.released), <, N_BUFFERS);
  zcio_test_reader_resume (f.reader);
  tear_down (&f, TOTAL);
}

static void
test_close_timed_out (void)
{
  Fixture f;
  GAsyncResult *result = NULL;
  GError *error = NULL;

  g_test_summary ("A close whose flush times out closes all the same, and the rest lingers");

  if (!set_up (&f))
    return;
  put_much_in_flight (&f);

  g_socket_set_timeout (f.socket, 1);
  g_output_stream_close_async (G_OUTPUT_STREAM (f.stream), G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_false (g_output_stream_close_finish (G_OUTPUT_STREAM (f.stream), result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  g_object_unref (result);
  g_assert_true (g_output_stream_is_closed (G_OUTPUT_STREAM (f.stream)));
  g_assert_cmpuint (zcio_linger_count (), ==, 1);
  g_clear_object (&f.stream);

  churn_heap ();
  zcio_test_reader_resume (f.reader);
  tear_down (&f, TOTAL);
}

static void
test_timeout (void)
{
  Fixture f;
  int error_number = 0;
  gint64 time;
  gint64 cpu_time;

  g_test_summary ("A peer that never reads gets the connection reset after linger-timeout, and "
                  "then everything is released");

  if (!set_up (&f))
    return;
  g_object_set (f.stream, "linger-timeout", 1, NULL);
  put_much_in_flight (&f);

  time = g_get_monotonic_time ();
  cpu_time = zcio_test_get_process_cpu_time ();
  g_clear_object (&f.stream);
  wait_until_idle (&f);
  time = g_get_monotonic_time () - time;
  cpu_time = zcio_test_get_process_cpu_time () - cpu_time;
  g_test_message ("released after %" G_GINT64_FORMAT " ms, with %" G_GINT64_FORMAT " ms of CPU",
                  time / 1000, cpu_time / 1000);
  g_assert_cmpint (time, >=, G_USEC_PER_SEC);
  if (g_getenv ("ZCIO_TEST_PATIENCE") == NULL)
    g_assert_cmpint (cpu_time, <, G_USEC_PER_SEC / 2);

  g_clear_object (&f.socket);
  zcio_test_reader_finish (f.reader, &error_number, NULL);
  g_assert_cmpint (error_number, ==, ECONNRESET);
  g_clear_object (&f.peer);
}

static void
test_owner_goes_on (void)
{
  Fixture f;
  guint8 data[1000];
  GError *error = NULL;

  g_test_summary ("When its stream was dropped, the owner of a socket goes on writing to it");

  if (!set_up (&f))
    return;
  put_much_in_flight (&f);
  g_clear_object (&f.stream);

  for (guint i = 0; i < 100; i++)
    {
      zcio_test_pattern_fill (f.position, data, sizeof data);
      g_assert_cmpint (g_socket_send (f.socket, (const char *) data, sizeof data, NULL, &error), ==, sizeof data);
      g_assert_no_error (error);
      f.position += sizeof data;
    }

  zcio_test_reader_resume (f.reader);
  wait_until_idle (&f);
  g_assert_false (g_socket_is_closed (f.socket));
  tear_down (&f, f.position);
}

static void
test_new_stream (void)
{
  Fixture f;
  gint64 deadline;
  GError *error = NULL;

  g_test_summary ("A new stream takes over what lingers, and the linger has no more to do with it");

  if (!set_up (&f))
    return;
  put_much_in_flight (&f);
  g_clear_object (&f.stream);
  g_assert_cmpuint (zcio_linger_count (), ==, 1);

  f.stream = zcio_socket_stream_new (f.socket);
  g_assert_cmpuint (get_in_flight (&f), >=, MUCH);
  zcio_test_wait_until (NULL, zcio_linger_count () == 0);
  write_some (&f, BUFFER_SIZE);
  zcio_test_reader_resume (f.reader);
  zcio_socket_stream_drain (f.stream, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, f.made);

  /* Its thread ends although completions go on coming in. */
  deadline = zcio_test_get_deadline ();
  while (zcio_linger_has_thread ())
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      write_some (&f, 65536);
      zcio_socket_stream_drain (f.stream, 0, NULL, &error);
      g_assert_no_error (error);
      zcio_test_run_for (NULL, 5);
    }

  tear_down (&f, f.position);
}

static void
test_other_stream (void)
{
  Fixture f;
  g_autoptr (ZcioSocketStream) other = NULL;

  g_test_summary ("What a stream leaves in flight comes back although another stream of the socket "
                  "does nothing, and that one keeps its connection");

  if (!set_up (&f))
    return;
  other = zcio_socket_stream_new (f.socket);
  put_much_in_flight (&f);
  g_assert_finalize_object (g_steal_pointer (&f.stream));

  zcio_test_reader_resume (f.reader);
  zcio_test_wait_until (NULL, g_atomic_int_get (&f.released) == N_BUFFERS);
  g_clear_object (&other);
  tear_down (&f, TOTAL);
}

static void
test_idle_stream (gconstpointer data)
{
  gboolean made_before = GPOINTER_TO_INT (data);
  Fixture f;
  ZcioSocketStream *other = NULL;

  g_test_summary ("What a stream left in flight is released although another stream of its socket "
                  "does nothing; that stream's connection is not reset meanwhile");

  if (!set_up (&f))
    return;
  g_object_set (f.stream, "linger-timeout", 1, NULL);
  put_much_in_flight (&f);
  if (made_before)
    other = zcio_socket_stream_new (f.socket);
  g_clear_object (&f.stream);
  if (!made_before)
    other = zcio_socket_stream_new (f.socket);

  zcio_test_run_for (NULL, 1500);
  g_assert_cmpint (g_atomic_int_get (&f.released), <, N_BUFFERS);
  zcio_test_reader_resume (f.reader);
  zcio_test_wait_until (NULL, g_atomic_int_get (&f.released) == f.made);

  f.stream = other;
  write_some (&f, BUFFER_SIZE);
  tear_down (&f, f.position);
}

static void
test_socket_finalized (void)
{
  Fixture f;

  g_test_summary ("When the socket itself goes, the peer gets every byte, and then the end");

  if (!set_up (&f))
    return;
  put_much_in_flight (&f);
  g_clear_object (&f.stream);
  g_assert_finalize_object (g_steal_pointer (&f.socket));
  churn_heap ();
  zcio_test_reader_wait_received (f.reader, 0);
  tear_down (&f, TOTAL);
}

static void
test_owner_closes (void)
{
  Fixture f;
  GError *error = NULL;

  g_test_summary ("When the owner of a lingering socket closes it, the peer gets every byte, and "
                  "then the end");

  if (!set_up (&f))
    return;
  put_much_in_flight (&f);
  g_clear_object (&f.stream);
  g_socket_close (f.socket, &error);
  g_assert_no_error (error);
  churn_heap ();
  tear_down (&f, TOTAL);
}

static void
test_closed_under_stream (void)
{
  Fixture f;
  GLogLevelFlags fatal = g_log_set_always_fatal (G_LOG_FATAL_MASK);
  gint64 time;
  GError *error = NULL;

  g_test_summary ("Where the socket was closed under its stream, that is said once, and the memory "
                  "is kept for linger-timeout");

  if (!set_up (&f))
    return;
  g_object_set (f.stream, "linger-timeout", 1, NULL);
  put_much_in_flight (&f);

  time = g_get_monotonic_time ();
  g_socket_close (f.socket, &error);
  g_assert_no_error (error);
  g_assert_false (zcio_socket_stream_drain (f.stream, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_assert_cmpstr (error->message, ==, "Socket is already closed");
  g_clear_error (&error);
  g_assert_false (g_output_stream_close (G_OUTPUT_STREAM (f.stream), NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);
  g_clear_object (&f.stream);
  g_assert_cmpint (g_atomic_int_get (&warnings), ==, 1);
  g_assert_cmpint (g_atomic_int_get (&f.released), <, f.made);

  wait_until_idle (&f);
  g_assert_cmpint (g_get_monotonic_time () - time, >=, G_USEC_PER_SEC);
  g_assert_cmpint (g_atomic_int_get (&warnings), ==, 1);
  g_log_set_always_fatal (fatal);

  /* What is sent from now on is anybody's memory; so nobody looks at it. */
  g_clear_object (&f.socket);
  g_socket_shutdown (f.peer, TRUE, TRUE, NULL);
  zcio_test_reader_finish (f.reader, NULL, NULL);
  g_clear_object (&f.peer);
}

static void
test_closed_before_loop (void)
{
  Fixture f;
  GLogLevelFlags fatal = g_log_set_always_fatal (G_LOG_FATAL_MASK);
  GError *error = NULL;

  g_test_summary ("The same where the socket was closed before the main loop has run once, and "
                  "the stream is still there");

  if (!set_up (&f))
    return;
  g_atomic_int_set (&warnings, 0);
  g_object_set (f.stream, "linger-timeout", 1, NULL);
  put_much_in_flight (&f);

  g_socket_close (f.socket, &error);
  g_assert_no_error (error);
  zcio_test_run_for (NULL, 500);
  g_assert_cmpuint (zcio_linger_count (), ==, 1);
  wait_until_idle (&f);
  g_assert_cmpint (g_atomic_int_get (&warnings), ==, 1);
  g_log_set_always_fatal (fatal);

  g_clear_object (&f.stream);
  g_clear_object (&f.socket);
  g_socket_shutdown (f.peer, TRUE, TRUE, NULL);
  zcio_test_reader_finish (f.reader, NULL, NULL);
  g_clear_object (&f.peer);
}

static void
test_abort (void)
{
  Fixture f;
  int error_number = 0;
  GError *error = NULL;

  g_test_summary ("Aborting releases everything at once, and resets the connection");

  if (!set_up (&f))
    return;
  put_much_in_flight (&f);

  g_assert_true (zcio_socket_stream_abort (f.stream, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (get_in_flight (&f), ==, 0);
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, f.made);
  g_assert_cmpint (g_output_stream_write (G_OUTPUT_STREAM (f.stream), "x", 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  g_clear_error (&error);

  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (f.stream), NULL, &error));
  g_assert_no_error (error);
  g_clear_object (&f.stream);
  g_clear_object (&f.socket);
  zcio_test_reader_finish (f.reader, &error_number, NULL);
  g_assert_cmpint (error_number, ==, ECONNRESET);
  g_clear_object (&f.peer);
}

static void
test_thread (void)
{
  Fixture f;

  g_test_summary ("The thread of the linger ends when it is idle, and starts again when needed");

  zcio_test_wait_until (NULL, !zcio_linger_has_thread ());
  if (!set_up (&f))
    return;
  g_assert_false (zcio_linger_has_thread ());
  put_much_in_flight (&f);
  g_clear_object (&f.stream);
  g_assert_true (zcio_linger_has_thread ());
  tear_down (&f, TOTAL);
  zcio_test_wait_until (NULL, !zcio_linger_has_thread ());
}

static void
test_no_descriptors (void)
{
  Fixture f;
  ZcioSocketStream *other;
  GSource *source;
  struct rlimit limit;
  struct rlimit none;
  gint before = g_atomic_int_get (&warnings);

  g_test_summary ("In a process that has no descriptor to spare the linger does its work, and its "
                  "thread ends");

  zcio_test_wait_until (NULL, !zcio_linger_has_thread ());
  if (!set_up (&f))
    return;
  put_much_in_flight (&f);

  /* Or the reaper would go with the stream, and leave its descriptor to the linger. */
  other = zcio_socket_stream_new (f.peer);
  source = zcio_socket_stream_create_completion_source (other, NULL);

  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  none = limit;
  none.rlim_cur = dup (0);
  g_assert_cmpint (close (none.rlim_cur), ==, 0);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &none), ==, 0);
  g_clear_object (&f.stream);
  zcio_test_run_for (NULL, 300);
  zcio_test_reader_resume (f.reader);
  wait_until_idle (&f);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);

  g_assert_cmpint (g_atomic_int_get (&warnings), ==, before);
  zcio_test_wait_until (NULL, !zcio_linger_has_thread ());
  g_source_unref (source);
  g_object_unref (other);
  tear_down (&f, TOTAL);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (count_warnings, NULL, NULL);

  g_test_add_func ("/linger/drop", test_drop);
  g_test_add_func ("/linger/close-early", test_close_early);
  g_test_add_func ("/linger/close-timed-out", test_close_timed_out);
  g_test_add_func ("/linger/timeout", test_timeout);
  g_test_add_func ("/linger/owner-goes-on", test_owner_goes_on);
  g_test_add_func ("/linger/new-stream", test_new_stream);
  g_test_add_func ("/linger/other-stream", test_other_stream);
  g_test_add_data_func ("/linger/idle-stream/before", GINT_TO_POINTER (TRUE), test_idle_stream);
  g_test_add_data_func ("/linger/idle-stream/after", GINT_TO_POINTER (FALSE), test_idle_stream);
  g_test_add_func ("/linger/socket-finalized", test_socket_finalized);
  g_test_add_func ("/linger/owner-closes", test_owner_closes);
  g_test_add_func ("/linger/closed-under-stream", test_closed_under_stream);
  g_test_add_func ("/linger/closed-before-loop", test_closed_before_loop);
  g_test_add_func ("/linger/abort", test_abort);
  g_test_add_func ("/linger/thread", test_thread);
  g_test_add_func ("/linger/no-descriptors", test_no_descriptors);

  return g_test_run ();
}
