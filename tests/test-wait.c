/* test-wait.c - the source that waits for a socket or for completions
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>

#include "simulated-kernel-private.h"
#include "simulated-stream.h"
#include "test-util.h"
#include "zcio/zcio-socket-stream-private.h"
#include "zcio/zcio-wait-private.h"

static gboolean
count_calls (gboolean timed_out,
             gpointer user_data)
{
  guint *calls = user_data;

  g_assert_false (timed_out);
  (*calls)++;
  return G_SOURCE_CONTINUE;
}

static GSource *
attach (ZcioSocketStream *stream,
        ZcioWaitFor       what,
        GMainContext     *context,
        guint            *calls)
{
  GSource *source = zcio_wait_source_new (zcio_socket_stream_get_transmitter (stream),
                                          zcio_socket_stream_get_socket (stream), what, 0, NULL);

  g_source_set_callback (source, (GSourceFunc) (GCallback) count_calls, calls, NULL);
  g_source_attach (source, context);
  return source;
}

/* So that what is set from now on differs. */
static void
wait_for_clock (void)
{
  gint64 now = g_get_monotonic_time ();

  while (g_get_monotonic_time () == now)
    g_thread_yield ();
}

static void
test_progress (void)
{
  GMainContext *context = g_main_context_new ();
  SimulatedStream s;
  GSource *source;
  gint64 deadline;
  guint32 first;
  guint calls = 0;

  g_test_summary ("A completion starts the timeout of who waits for more of them anew");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  g_socket_set_timeout (s.socket, 3600);
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));

  source = attach (s.stream, ZCIO_WAIT_IN_FLIGHT, context, &calls);
  while (g_main_context_iteration (context, FALSE))
    ;
  deadline = g_source_get_ready_time (source);
  g_assert_cmpint (deadline, >, 0);

  wait_for_clock ();
  while (g_main_context_iteration (context, FALSE))
    ;
  g_assert_cmpint (g_source_get_ready_time (source), ==, deadline);

  simulated_kernel_get_incomplete (s.kernel, &first);
  simulated_kernel_complete (s.kernel, first, first, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  while (g_main_context_iteration (context, FALSE))
    ;
  g_assert_cmpint (g_source_get_ready_time (source), >, deadline);
  g_assert_cmpuint (calls, ==, 0);

  simulated_kernel_complete (s.kernel, first + 1, first + 1, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  zcio_test_wait_until (context, calls > 0);

  g_source_destroy (source);
  g_source_unref (source);
  g_main_context_unref (context);
  simulated_stream_clear (&s);
}

static void
test_anew (void)
{
  GMainContext *context = g_main_context_new ();
  ZcioSocketStream *stream;
  GSocket *socket;
  GSocket *peer;
  GSource *source;
  gint64 deadline;
  guint calls = 0;

  g_test_summary ("The timeout of a source begins anew when it was dispatched");

  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_UNIX, 0, &socket, &peer))
    return;
  stream = zcio_socket_stream_new (socket);
  g_socket_set_timeout (socket, 3600);

  source = attach (stream, ZCIO_WAIT_WRITABLE, context, &calls);
  deadline = g_source_get_ready_time (source);
  g_assert_cmpint (deadline, >, 0);
  wait_for_clock ();
  zcio_test_wait_until (context, calls == 1);
  g_assert_cmpint (g_source_get_ready_time (source), >, deadline);

  g_socket_set_timeout (socket, 0);
  zcio_test_wait_until (context, calls == 2);
  g_assert_cmpint (g_source_get_ready_time (source), ==, -1);

  g_source_destroy (source);
  g_source_unref (source);
  g_object_unref (stream);
  g_object_unref (socket);
  g_object_unref (peer);
  g_main_context_unref (context);
}

static gboolean no_descriptors;

int __real_eventfd (unsigned int value,
                    int          flags);
int __wrap_eventfd (unsigned int value,
                    int          flags);

int
__wrap_eventfd (unsigned int value,
                int          flags)
{
  if (!no_descriptors)
    return __real_eventfd (value, flags);

  errno = EMFILE;
  return -1;
}

/* As another thread would, while this one is about to wait. */
static void
complete_and_reap (SimulatedKernel *kernel,
                   SimulatedCall    call,
                   gpointer         data)
{
  SimulatedStream *s = data;

  if (call != SIMULATED_POLL || s->released > 0)
    return;

  simulated_kernel_complete (kernel, 0, 0, FALSE);
  /* The kernel's lock is within the transmitter's, never around it. */
  simulated_kernel_unlock (kernel);
  zcio_socket_stream_reap (s->stream);
  simulated_kernel_lock ((ZcioSyscalls *) kernel);
}

static void
test_no_descriptors (void)
{
  SimulatedStream s;

  g_test_summary ("Where there is no descriptor to be woken by, a completion that another thread "
                  "reads ends a wait all the same");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  s.kernel->hook = complete_and_reap;
  s.kernel->hook_data = &s;

  no_descriptors = TRUE;
  g_assert_true (zcio_socket_stream_drain (s.stream, 0, NULL, NULL));
  no_descriptors = FALSE;

  simulated_stream_clear (&s);
}

typedef enum
{
  ENDS_CANCELLED,
  ENDS_TIMED_OUT,
  ENDS_CONTEXT_GONE
} Ends;

/* Starts a write in the thread-default context. */
static void
start_write (SimulatedStream  *s,
             gsize             size,
             GCancellable     *cancellable,
             GAsyncResult    **result)
{
  GBytes *bytes = simulated_kernel_new_bytes (s->kernel, s->accepted, size, &s->released);

  s->made++;
  zcio_socket_stream_writev_zerocopy_async (s->stream, &bytes, 1, G_PRIORITY_DEFAULT, cancellable,
                                            zcio_test_store_result, result);
  g_bytes_unref (bytes);
}

static void
test_write_ends (gconstpointer data)
{
  Ends ends = GPOINTER_TO_INT (data);
  GMainContext *context = g_main_context_new ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  SimulatedStream s;
  GAsyncResult *result = NULL;
  gsize written = 0;
  guint32 first;
  GError *error = NULL;

  g_test_summary ("An asynchronous write that ends while it waits tells what was accepted, and holds it, "
                  "until it has come back and no longer");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  s.kernel->drain_size = 0;
  s.kernel->send_buffer = 10000;
  simulated_kernel_set_context (s.kernel, context);
  if (ends == ENDS_TIMED_OUT)
    g_socket_set_timeout (s.socket, 1);

  g_main_context_push_thread_default (context);
  start_write (&s, 50000, cancellable, &result);
  g_main_context_pop_thread_default (context);
  s.accepted = 10000;
  while (g_main_context_iteration (context, FALSE))
    ;
  g_assert_null (result);

  if (ends == ENDS_CANCELLED)
    g_cancellable_cancel (cancellable);
  if (ends != ENDS_CONTEXT_GONE)
    {
      zcio_test_wait_until (context, result != NULL);
      g_assert_false (zcio_socket_stream_writev_zerocopy_finish (s.stream, result, &written, &error));
      if (ends == ENDS_CANCELLED)
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      else
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      g_assert_cmpuint (written, ==, 10000);
      g_clear_error (&error);
      g_object_unref (result);
    }
  simulated_kernel_set_context (NULL, context);
  g_main_context_unref (context);
  g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (s.stream)));
  g_assert_cmpint (s.released, ==, 0);

  g_assert_cmpuint (simulated_kernel_get_incomplete (s.kernel, &first), ==, 1);
  simulated_kernel_complete (s.kernel, first, first, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  g_assert_cmpint (s.released, ==, 1);

  simulated_stream_clear (&s);
}

static void
test_drain_to_limit (void)
{
  SimulatedStream s;
  GAsyncResult *result = NULL;
  GError *error = NULL;

  g_test_summary ("A drain to as much as is in flight has nothing to wait for");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));

  g_assert_true (zcio_socket_stream_drain (s.stream, 1000, NULL, &error));
  zcio_socket_stream_drain_async (s.stream, 1000, G_PRIORITY_DEFAULT, NULL, zcio_test_store_result, &result);
  for (guint i = 0; i < 5; i++)
    g_main_context_iteration (NULL, FALSE);
  g_assert_nonnull (result);
  g_assert_true (zcio_socket_stream_drain_finish (s.stream, result, &error));
  g_assert_no_error (error);
  g_object_unref (result);

  simulated_kernel_complete (s.kernel, 0, 0, FALSE);
  simulated_stream_clear (&s);
}

static void
complete_first (SimulatedKernel *kernel,
                SimulatedCall    call,
                gpointer         data)
{
  guint32 first;

  if (call == SIMULATED_POLL && simulated_kernel_get_incomplete (kernel, &first) == 2)
    simulated_kernel_complete (kernel, first, first, FALSE);
}

static void
test_room (gconstpointer data)
{
  gboolean is_async = GPOINTER_TO_INT (data);
  SimulatedStream s;
  GAsyncResult *result = NULL;
  guint32 first;
  guint n;
  GError *error = NULL;

  g_test_summary ("A write that waits for the limit of bytes in flight goes on as soon as less is in flight, "
                  "although not all has come back");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  g_object_set (s.stream, "max-bytes-in-flight", (guint64) 20000, NULL);
  for (guint i = 0; i < 2; i++)
    g_assert_true (simulated_stream_write (&s, 10000, NULL, NULL));

  if (is_async)
    {
      start_write (&s, 10000, NULL, &result);
      for (guint i = 0; i < 5; i++)
        g_main_context_iteration (NULL, FALSE);
      g_assert_null (result);
      simulated_kernel_complete (s.kernel, 0, 0, FALSE);
      g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
      zcio_test_wait_until (NULL, result != NULL);
      g_assert_true (zcio_socket_stream_writev_zerocopy_finish (s.stream, result, NULL, &error));
      g_assert_no_error (error);
      s.accepted += 10000;
      g_object_unref (result);
    }
  else
    {
      s.kernel->hook = complete_first;
      g_assert_true (simulated_stream_write (&s, 10000, NULL, &error));
      g_assert_no_error (error);
      s.kernel->hook = NULL;
    }

  n = simulated_kernel_get_incomplete (s.kernel, &first);
  g_assert_cmpuint (n, ==, 2);
  simulated_kernel_complete (s.kernel, first, first + 1, FALSE);
  simulated_stream_clear (&s);
}

static void
complete_one (gpointer data)
{
  SimulatedKernel *kernel = data;
  guint32 first;

  simulated_kernel_get_incomplete (kernel, &first);
  simulated_kernel_complete (kernel, first, first, FALSE);
}

static void
test_blocking_progress (void)
{
  SimulatedStream s;
  gint64 begin;
  GError *error = NULL;

  g_test_summary ("The timeout of a drain that blocks begins anew with each completion, and only with one");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  for (guint i = 0; i < 3; i++)
    g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  g_socket_set_timeout (s.socket, 5);

  begin = s.kernel->now;
  simulated_kernel_after (s.kernel, 3 * G_USEC_PER_SEC, complete_one, s.kernel);
  simulated_kernel_after (s.kernel, 6 * G_USEC_PER_SEC, complete_one, s.kernel);
  g_assert_false (zcio_socket_stream_drain (s.stream, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  g_assert_cmpint (s.released, ==, 2);
  g_assert_cmpint (s.kernel->now - begin, >=, 11 * G_USEC_PER_SEC);
  g_assert_cmpint (s.kernel->now - begin, <, 12 * G_USEC_PER_SEC);

  complete_one (s.kernel);
  simulated_stream_clear (&s);
}

static void
test_progress_of_full (void)
{
  GMainContext *context = g_main_context_new ();
  SimulatedStream s;
  GSource *source;
  gint64 deadline;
  guint calls = 0;

  g_test_summary ("A completion starts the timeout of who waits for a stream to be writable anew, although "
                  "too much is in flight still");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  g_socket_set_timeout (s.socket, 3600);
  for (guint i = 0; i < 3; i++)
    g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  g_object_set (s.stream, "max-bytes-in-flight", (guint64) 1000, NULL);

  source = attach (s.stream, ZCIO_WAIT_WRITABLE, context, &calls);
  while (g_main_context_iteration (context, FALSE))
    ;
  deadline = g_source_get_ready_time (source);
  wait_for_clock ();
  complete_one (s.kernel);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  while (g_main_context_iteration (context, FALSE))
    ;
  g_assert_cmpint (g_source_get_ready_time (source), >, deadline);
  g_assert_cmpuint (calls, ==, 0);

  complete_one (s.kernel);
  complete_one (s.kernel);
  g_source_destroy (source);
  g_source_unref (source);
  g_main_context_unref (context);
  simulated_stream_clear (&s);
}

static void
test_closed_once (void)
{
  GMainContext *context = g_main_context_new ();
  ZcioSocketStream *stream;
  GSocket *socket;
  GSocket *peer;
  GSource *source;
  guint calls = 0;

  g_test_summary ("A source tells once that the socket was closed, and has no time to tell it again");

  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_UNIX, 0, &socket, &peer))
    return;
  stream = zcio_socket_stream_new (socket);
  g_socket_set_timeout (socket, 3600);
  source = attach (stream, ZCIO_WAIT_READABLE, context, &calls);
  while (g_main_context_iteration (context, FALSE))
    ;
  g_assert_cmpuint (calls, ==, 0);
  g_assert_true (g_socket_close (socket, NULL));
  for (guint i = 0; i < 5; i++)
    g_main_context_iteration (context, FALSE);
  g_assert_cmpuint (calls, ==, 1);
  g_assert_cmpint (g_source_get_ready_time (source), ==, -1);

  g_source_destroy (source);
  g_source_unref (source);
  g_object_unref (stream);
  g_object_unref (socket);
  g_object_unref (peer);
  g_main_context_unref (context);
}

static void
test_woken (void)
{
  SimulatedStream s;

  g_test_summary ("A completion that another thread reads ends a wait that was about to begin");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  s.kernel->hook = complete_and_reap;
  s.kernel->hook_data = &s;
  g_assert_true (zcio_socket_stream_drain (s.stream, 0, NULL, NULL));
  g_assert_cmpuint (s.kernel->calls[SIMULATED_POLL], ==, 1);

  simulated_stream_clear (&s);
}

static void
test_small_writes (void)
{
  const gsize small = 100;
  SimulatedStream s;
  guint64 threshold;

  g_test_summary ("A threshold holds from when it is set, and while too much is in flight small "
                  "writes, which are copied, are held back, too");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  zcio_socket_stream_set_zero_copy_mode (s.stream, ZCIO_ZERO_COPY_MODE_AUTO);
  g_object_set (s.stream, "threshold", (guint64) 1000, NULL);
  g_assert_true (simulated_stream_write (&s, 999, NULL, NULL));
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 0);
  g_assert_true (simulated_stream_write (&s, 5000, NULL, NULL));
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 1);
  g_object_get (s.stream, "effective-threshold", &threshold, NULL);
  g_assert_cmpuint (threshold, ==, 1000);
  g_object_set (s.stream, "threshold", (guint64) 500, NULL);
  g_assert_true (simulated_stream_write (&s, 600, NULL, NULL));
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 2);

  g_object_set (s.stream, "max-bytes-in-flight", (guint64) 5000, NULL);
  g_assert_cmpint (simulated_stream_writev_nonblocking (&s, &small, 1, NULL), ==, G_POLLABLE_RETURN_WOULD_BLOCK);
  complete_one (s.kernel);
  g_assert_cmpint (simulated_stream_writev_nonblocking (&s, &small, 1, NULL), ==, G_POLLABLE_RETURN_OK);
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 2);
  complete_one (s.kernel);

  simulated_stream_clear (&s);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/wait/progress", test_progress);
  g_test_add_func ("/wait/anew", test_anew);
  g_test_add_func ("/wait/no-descriptors", test_no_descriptors);
  g_test_add_data_func ("/wait/write-ends/cancelled", GINT_TO_POINTER (ENDS_CANCELLED), test_write_ends);
  g_test_add_data_func ("/wait/write-ends/timed-out", GINT_TO_POINTER (ENDS_TIMED_OUT), test_write_ends);
  g_test_add_data_func ("/wait/write-ends/context-gone", GINT_TO_POINTER (ENDS_CONTEXT_GONE), test_write_ends);
  g_test_add_func ("/wait/drain-to-limit", test_drain_to_limit);
  g_test_add_data_func ("/wait/room/sync", GINT_TO_POINTER (FALSE), test_room);
  g_test_add_data_func ("/wait/room/async", GINT_TO_POINTER (TRUE), test_room);
  g_test_add_func ("/wait/blocking-progress", test_blocking_progress);
  g_test_add_func ("/wait/progress-of-full", test_progress_of_full);
  g_test_add_func ("/wait/closed-once", test_closed_once);
  g_test_add_func ("/wait/woken", test_woken);
  g_test_add_func ("/wait/small-writes", test_small_writes);

  return g_test_run ();
}
