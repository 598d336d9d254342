/* test-reaper-watches.c - how completions wake main loops
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <sys/epoll.h>

#include "simulated-stream.h"
#include "test-util.h"

#define SIZE (256 * 1024)

static guint epoll_changes;
static gboolean epoll_is_full;

int __real_epoll_ctl (int                 epoll_fd,
                      int                 operation,
                      int                 fd,
                      struct epoll_event *event);
int __wrap_epoll_ctl (int                 epoll_fd,
                      int                 operation,
                      int                 fd,
                      struct epoll_event *event);

int
__wrap_epoll_ctl (int                 epoll_fd,
                  int                 operation,
                  int                 fd,
                  struct epoll_event *event)
{
  if (epoll_is_full && operation == EPOLL_CTL_ADD)
    {
      errno = ENOSPC;
      return -1;
    }

  g_atomic_int_inc (&epoll_changes);
  return __real_epoll_ctl (epoll_fd, operation, fd, event);
}

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
  guint64 position;
  gint released;
} Fixture;

static gboolean
set_up (Fixture *f)
{
  *f = (Fixture) { NULL };
  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 65536, &f->socket, &f->peer))
    return FALSE;

  f->stream = zcio_socket_stream_new (f->socket);
  zcio_socket_stream_set_zero_copy_mode (f->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  f->reader = zcio_test_reader_new (f->peer, 0, ZCIO_TEST_READER_PAUSED);
  return TRUE;
}

static void
tear_down (Fixture *f)
{
  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (f->stream), NULL, NULL));
  g_object_unref (f->stream);
  g_object_unref (f->socket);
  g_assert_cmpuint (zcio_test_reader_finish (f->reader, NULL, NULL), ==, f->position);
  g_object_unref (f->peer);
}

static gsize
write_some (Fixture *f,
            gsize    size)
{
  GBytes *bytes = zcio_test_pattern_bytes (f->position, size, &f->released);
  gsize written = 0;
  GError *error = NULL;

  zcio_socket_stream_writev_zerocopy_nonblocking (f->stream, &bytes, 1, &written, NULL, &error);
  g_assert_no_error (error);
  g_bytes_unref (bytes);
  f->position += written;
  return written;
}

static gboolean
count_sends (ZcioSocketStream *stream,
             guint             sends,
             guint64           bytes,
             gpointer          user_data)
{
  *(guint64 *) user_data += bytes;
  return G_SOURCE_CONTINUE;
}

static void
test_two_watches (void)
{
  Fixture f;
  guint64 reaped = 0;
  guint watch;
  guint changes;

  g_test_summary ("A second watch of the same main loop costs no system call for each send, and "
                  "each watch goes on when the other has gone");

  if (!set_up (&f))
    return;
  zcio_test_reader_resume (f.reader);
  watch = zcio_socket_stream_add_completion_watch (f.stream, G_PRIORITY_DEFAULT, count_sends,
                                                   &reaped, NULL);
  write_some (&f, 1000);
  zcio_test_wait_until (NULL, reaped == f.position);

  changes = g_atomic_int_get (&epoll_changes);
  for (guint i = 0; i < 50; i++)
    {
      write_some (&f, 1000);
      zcio_test_wait_until (NULL, reaped == f.position);
    }
  g_assert_cmpuint (g_atomic_int_get (&epoll_changes), ==, changes);

  /* The one that is left must see what is in flight already. */
  zcio_test_reader_pause (f.reader);
  while (write_some (&f, SIZE) == SIZE)
    ;
  g_source_remove (watch);
  zcio_test_reader_resume (f.reader);
  zcio_test_wait_until (NULL, g_atomic_int_get (&f.released) > 51);

  zcio_test_reader_pause (f.reader);
  watch = zcio_socket_stream_add_completion_watch (f.stream, G_PRIORITY_DEFAULT, count_sends,
                                                   &reaped, NULL);
  while (write_some (&f, SIZE) == SIZE)
    ;
  zcio_test_run_for (NULL, 10);
  reaped = 0;
  /* The stream gets another reaper; the old one stays with the watch. */
  g_object_set (f.stream, "priority", G_PRIORITY_HIGH, NULL);
  zcio_test_reader_resume (f.reader);
  zcio_test_wait_until (NULL, reaped > 0);

  g_source_remove (watch);
  tear_down (&f);
}

static int wakeup_fd;
static guint wakeups;

static gint
count_wakeups (GPollFD *fds,
               guint    n_fds,
               gint     timeout)
{
  gint n = g_poll (fds, n_fds, timeout);

  for (guint i = 0; i < n_fds; i++)
    wakeups += fds[i].fd == wakeup_fd && fds[i].revents != 0;

  return n;
}

static void
test_no_wakeups (void)
{
  Fixture f;
  GMainContext *context = g_main_context_new ();
  ZcioStatistics *statistics;
  GPollFD fd;
  int timeout;

  g_test_summary ("The reaper does not wake the loop that dispatches it, whether completions are "
                  "few or a flood");

  /* With no source there is nothing to poll but what g_main_context_wakeup () writes to. */
  g_assert_true (g_main_context_acquire (context));
  g_assert_cmpint (g_main_context_query (context, G_MAXINT, &timeout, &fd, 1), ==, 1);
  wakeup_fd = fd.fd;
  g_main_context_release (context);
  g_main_context_set_poll_func (context, count_wakeups);

  g_main_context_push_thread_default (context);
  if (set_up (&f))
    {
      zcio_test_reader_resume (f.reader);
      for (guint i = 0; i < 300; i++)
        {
          write_some (&f, 1000);
          zcio_test_wait_until (context, f.released > (int) i);
        }
      while (f.position < 200 * SIZE)
        {
          write_some (&f, SIZE);
          g_main_context_iteration (context, FALSE);
        }

      statistics = zcio_socket_stream_get_statistics (f.stream);
      g_test_message ("%u wake-ups, %" G_GUINT64_FORMAT " dispatches", wakeups,
                      statistics->reaper_dispatches);
      g_assert_cmpuint (statistics->reaper_dispatches, >, 300);
      /* A write that finds the socket full reads the error queue, too, and tells of it. */
      g_assert_cmpuint (wakeups, <, statistics->reaper_dispatches / 4);
      zcio_statistics_free (statistics);
      tear_down (&f);
    }
  g_main_context_pop_thread_default (context);
  g_main_context_unref (context);
}

/* Who writes in another thread when an error queue is next read. */
static Fixture *to_write_meanwhile;

static gpointer
write_in_thread (gpointer data)
{
  write_some (data, 1000);
  return NULL;
}

static gssize
receive_error (ZcioSyscalls  *self,
               int            fd,
               struct msghdr *message)
{
  Fixture *f = g_steal_pointer (&to_write_meanwhile);

  if (f != NULL)
    g_thread_join (g_thread_new ("write", write_in_thread, f));

  return zcio_syscalls_get_real ()->receive_error (self, fd, message);
}

static void
test_armed_meanwhile (void)
{
  ZcioSyscalls syscalls = *zcio_syscalls_get_real ();
  Fixture f;
  Fixture other;
  guint changes;

  g_test_summary ("A first send that another thread makes while the reaper is at work is noticed "
                  "in the next turn of the loop");

  syscalls.receive_error = receive_error;
  zcio_syscalls_set_default (&syscalls);
  if (!set_up (&f) || !set_up (&other))
    return;
  zcio_test_reader_resume (f.reader);
  zcio_test_reader_resume (other.reader);
  write_some (&f, 1000);
  zcio_test_wait_until (NULL, f.released == 1);

  changes = g_atomic_int_get (&epoll_changes);
  to_write_meanwhile = &other;
  write_some (&f, 1000);
  zcio_test_wait_until (NULL, f.released == 2);
  g_assert_null (to_write_meanwhile);
  for (guint i = 0; i < 5; i++)
    g_main_context_iteration (NULL, FALSE);
  g_assert_cmpuint (g_atomic_int_get (&epoll_changes), ==, changes + 1);
  zcio_test_wait_until (NULL, other.released == 1);

  tear_down (&other);
  tear_down (&f);
  zcio_syscalls_set_default (NULL);
}

static void
test_epoll_full (void)
{
  Fixture f;
  gint64 time;

  g_test_summary ("Completions of a socket that epoll does not take are read all the same, and soon");

  if (!set_up (&f))
    return;
  zcio_test_reader_resume (f.reader);
  epoll_is_full = TRUE;
  for (guint i = 0; i < 5; i++)
    {
      time = g_get_monotonic_time ();
      write_some (&f, 1000);
      zcio_test_wait_until (NULL, f.released == (int) i + 1);
      g_assert_cmpint (g_get_monotonic_time () - time, <, 500 * G_TIME_SPAN_MILLISECOND);
    }
  epoll_is_full = FALSE;

  tear_down (&f);
}

typedef struct
{
  ZcioSocketStream *other;
  guint depth;
  guint nested_calls;
} Nested;

static gpointer
reap_in_thread (gpointer data)
{
  g_assert_cmpuint (zcio_socket_stream_reap (data), ==, 1);
  return NULL;
}

static void
on_completed (ZcioSocketStream *stream,
              guint             sends,
              guint64           bytes,
              gboolean          zero_copied,
              gpointer          user_data)
{
  Nested *nested = user_data;
  GThread *thread;

  nested->nested_calls += nested->depth > 0;
  if (nested->depth++ == 0)
    {
      /* Another thread reads what came meanwhile, so no descriptor tells of it. */
      thread = g_thread_new ("reap", reap_in_thread, nested->other);
      g_thread_join (thread);
      while (g_main_context_iteration (NULL, FALSE))
        ;
    }
}

static void
test_nested (void)
{
  Nested nested = { NULL };
  SimulatedStream s;
  guint32 first;

  g_test_summary ("A main loop that is run in turn by what a completion calls is told of further "
                  "completions, even if another thread has read them");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  s.kernel->threads = TRUE;
  nested.other = s.stream;
  g_signal_connect (s.stream, "completed", G_CALLBACK (on_completed), &nested);
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));

  simulated_kernel_get_incomplete (s.kernel, &first);
  simulated_kernel_complete (s.kernel, first, first, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  simulated_kernel_complete (s.kernel, first + 1, first + 1, FALSE);
  zcio_test_wait_until (NULL, nested.depth > 0);
  g_assert_cmpuint (nested.nested_calls, ==, 1);

  simulated_stream_clear (&s);
}

static void
test_copies_reap (gconstpointer data)
{
  gsize size = GPOINTER_TO_SIZE (data);
  SimulatedStream s;
  guint32 first;

  g_test_summary ("Where no loop runs, writes that are copied reap what is in flight, so that a "
                  "congestion ends and memory comes back");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  s.kernel->optmem_max = 4 * s.kernel->optmem_cost;
  for (guint i = 0; i < 5; i++)
    g_assert_true (simulated_stream_write (&s, 32 * 1024, NULL, NULL));
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 4);
  g_assert_cmpint (s.released, ==, 1);
  zcio_socket_stream_set_zero_copy_mode (s.stream, ZCIO_ZERO_COPY_MODE_AUTO);

  simulated_kernel_complete (s.kernel, 0, 3, FALSE);
  simulated_kernel_advance (s.kernel, G_TIME_SPAN_SECOND);
  g_assert_true (simulated_stream_write (&s, size, NULL, NULL));
  g_assert_cmpint (s.released, >=, 5);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (s.stream), ==,
                   ZCIO_ZERO_COPY_STATE_ACTIVE);

  if (simulated_kernel_get_incomplete (s.kernel, &first) > 0)
    simulated_kernel_complete (s.kernel, first, first, FALSE);
  simulated_stream_clear (&s);
}

/* What is called while a main loop is about to sleep. */
static SimulatedStream *to_reap_asleep;
static gboolean was_woken;

static gint
reap_while_asleep (GPollFD *fds,
                   guint    n_fds,
                   gint     timeout)
{
  gint n = g_poll (fds, n_fds, 0);
  SimulatedStream *s;
  GThread *thread;
  guint32 first;

  if (n != 0 || timeout == 0 || to_reap_asleep == NULL)
    return n;

  s = g_steal_pointer (&to_reap_asleep);
  simulated_kernel_get_incomplete (s->kernel, &first);
  simulated_kernel_complete (s->kernel, first, first, FALSE);
  thread = g_thread_new ("reap", reap_in_thread, s->stream);
  g_thread_join (thread);
  n = g_poll (fds, n_fds, 0);
  was_woken = n > 0;

  return n;
}

static void
test_woken_earlier (void)
{
  GMainContext *context = g_main_context_new ();
  SimulatedStream s;

  g_test_summary ("A loop that sleeps until the reaper next looks at the clock is woken before that by "
                  "what another thread reads");

  g_main_context_push_thread_default (context);
  g_main_context_set_poll_func (context, reap_while_asleep);
  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  s.kernel->threads = TRUE;

  /* With the clock instead of the descriptor each first send sets a time. */
  epoll_is_full = TRUE;
  for (guint i = 0; i < 2; i++)
    {
      g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
      was_woken = FALSE;
      to_reap_asleep = &s;
      while (to_reap_asleep != NULL)
        g_main_context_iteration (context, TRUE);
      g_assert_true (was_woken);
      zcio_test_wait_until (context, s.released == (gint) i + 1);
    }
  epoll_is_full = FALSE;

  simulated_stream_clear (&s);
  g_main_context_pop_thread_default (context);
  g_main_context_unref (context);
}

static void
write_to_other (ZcioSocketStream *stream,
                guint             sends,
                guint64           bytes,
                gboolean          zero_copied,
                gpointer          user_data)
{
  write_some (user_data, 1000);
}

static void
test_armed_in_callback (void)
{
  Fixture f;
  Fixture other;
  guint changes;

  g_test_summary ("A first send that a callback makes is watched from the next turn of the loop on");

  if (!set_up (&f) || !set_up (&other))
    return;
  zcio_test_reader_resume (f.reader);
  zcio_test_reader_resume (other.reader);
  g_signal_connect (f.stream, "completed", G_CALLBACK (write_to_other), &other);
  write_some (&f, 1000);
  g_main_context_iteration (NULL, FALSE);
  changes = g_atomic_int_get (&epoll_changes);
  zcio_test_wait_until (NULL, other.position > 0);
  g_main_context_iteration (NULL, FALSE);
  g_assert_cmpuint (g_atomic_int_get (&epoll_changes), ==, changes + 1);
  zcio_test_wait_until (NULL, other.released == 1);

  tear_down (&other);
  tear_down (&f);
}

static void
count_signals (ZcioSocketStream *stream,
               guint             sends,
               guint64           bytes,
               gboolean          zero_copied,
               gpointer          user_data)
{
  (*(guint *) user_data)++;
}

static void
test_priority_of_two (void)
{
  SimulatedStream s;
  GSource *idle;
  guint calls = 0;

  g_test_summary ("A stream with another priority has another reaper: sources between the two come "
                  "after the one and before the other");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  g_signal_connect (s.stream, "completed", G_CALLBACK (count_signals), &calls);
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  g_object_set (s.stream, "priority", G_PRIORITY_LOW, NULL);
  while (g_main_context_iteration (NULL, FALSE))
    ;

  idle = g_idle_source_new ();
  g_source_set_priority (idle, G_PRIORITY_DEFAULT);
  g_source_set_dummy_callback (idle);
  g_source_attach (idle, NULL);
  simulated_kernel_complete (s.kernel, 0, 0, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  for (guint i = 0; i < 10; i++)
    g_assert_true (g_main_context_iteration (NULL, FALSE));
  g_assert_cmpuint (calls, ==, 0);

  g_object_set (s.stream, "priority", G_PRIORITY_HIGH, NULL);
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  g_assert_true (g_main_context_iteration (NULL, FALSE));
  simulated_kernel_complete (s.kernel, 1, 1, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  g_assert_true (g_main_context_iteration (NULL, FALSE));
  g_assert_cmpuint (calls, ==, 1);

  g_source_destroy (idle);
  g_source_unref (idle);
  simulated_stream_clear (&s);
}

static void
test_passed_on (void)
{
  g_autoptr (GCancellable) cancelled = g_cancellable_new ();
  ZcioSocketStream *second;
  guint64 reaped = 0;
  guint watch;
  Fixture f;

  g_test_summary ("Where two streams of a socket share what the loop looks at, the second one is told of "
                  "what comes in after the first was closed");

  if (!set_up (&f))
    return;
  second = zcio_socket_stream_new (f.socket);
  while (write_some (&f, SIZE) == SIZE)
    ;
  watch = zcio_socket_stream_add_completion_watch (second, G_PRIORITY_DEFAULT, count_sends, &reaped, NULL);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_cancellable_cancel (cancelled);
  g_output_stream_close (G_OUTPUT_STREAM (f.stream), cancelled, NULL);
  g_assert_true (g_output_stream_is_closed (G_OUTPUT_STREAM (f.stream)));
  g_assert_cmpuint (reaped, ==, 0);

  zcio_test_reader_resume (f.reader);
  zcio_test_wait_until (NULL, reaped == f.position);

  g_source_remove (watch);
  g_object_unref (second);
  tear_down (&f);
}

static GSource *
watch_in_context (Fixture      *f,
                  GMainContext *context,
                  guint64      *reaped)
{
  GSource *source = zcio_socket_stream_create_completion_source (f->stream, NULL);

  g_source_set_callback (source, (GSourceFunc) (GCallback) count_sends, reaped, NULL);
  g_source_attach (source, context);
  while (g_main_context_iteration (context, FALSE))
    ;
  return source;
}

static void
test_context_reused (void)
{
  guint64 reaped = 0;
  gboolean is_same = FALSE;
  Fixture f;

  g_test_summary ("A main context is not taken for one that has gone and was at the same address, although "
                  "somebody holds a source of that");

  if (!set_up (&f))
    return;
  zcio_test_reader_resume (f.reader);
  for (guint i = 0; i < 100 && !is_same; i++)
    {
      GMainContext *context = g_main_context_new ();
      guintptr address = (guintptr) context;
      GSource *first = watch_in_context (&f, context, &reaped);
      GSource *second;

      g_main_context_unref (context);
      context = g_main_context_new ();
      is_same = (guintptr) context == address;
      second = watch_in_context (&f, context, &reaped);
      reaped = 0;
      write_some (&f, 1000);
      zcio_test_wait_until (context, reaped == 1000);
      g_source_unref (first);
      g_source_destroy (second);
      g_source_unref (second);
      g_main_context_unref (context);
    }
  if (!is_same)
    g_test_skip ("no address was used again");
  tear_down (&f);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/reaper/two-watches", test_two_watches);
  g_test_add_func ("/reaper/no-wakeups", test_no_wakeups);
  g_test_add_func ("/reaper/armed-meanwhile", test_armed_meanwhile);
  g_test_add_func ("/reaper/epoll-full", test_epoll_full);
  g_test_add_func ("/reaper/nested", test_nested);
  g_test_add_func ("/reaper/woken-earlier", test_woken_earlier);
  g_test_add_func ("/reaper/armed-in-callback", test_armed_in_callback);
  g_test_add_func ("/reaper/priority-of-two", test_priority_of_two);
  g_test_add_func ("/reaper/passed-on", test_passed_on);
  g_test_add_func ("/reaper/context-reused", test_context_reused);
  g_test_add_data_func ("/reaper/copies-reap/small", GSIZE_TO_POINTER (1000), test_copies_reap);
  g_test_add_data_func ("/reaper/copies-reap/congested", GSIZE_TO_POINTER (32 * 1024),
                        test_copies_reap);

  return g_test_run ();
}
