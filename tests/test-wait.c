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

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/wait/progress", test_progress);
  g_test_add_func ("/wait/anew", test_anew);
  g_test_add_func ("/wait/no-descriptors", test_no_descriptors);

  return g_test_run ();
}
