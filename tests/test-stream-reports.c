/* test-stream-reports.c - what a stream tells: completions, its state, statistics
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-stream.h"
#include "test-util.h"

static void
init_by_hand (SimulatedStream *s)
{
  simulated_stream_init (s, 1);
  s->kernel->completion = SIMULATED_COMPLETE_BY_HAND;
}

typedef struct
{
  SimulatedStream *s;
  guint left;
  guint calls;
} Again;

/* Reads what has come in meanwhile; that is told of later. */
static void
reap_again (ZcioSocketStream *stream,
            guint             sends,
            guint64           bytes,
            gboolean          zero_copied,
            gpointer          user_data)
{
  Again *again = user_data;
  guint32 first;

  again->calls++;
  g_assert_cmpuint (sends, ==, 1);
  g_assert_cmpuint (bytes, ==, 1000);
  if (again->left == 0)
    return;

  again->left--;
  g_assert_true (simulated_stream_write (again->s, 1000, NULL, NULL));
  simulated_kernel_get_incomplete (again->s->kernel, &first);
  simulated_kernel_complete (again->s->kernel, first, first, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (stream), ==, 1);
}

static void
test_reaps_in_callback (void)
{
  Again again = { NULL, 5, 0 };
  SimulatedStream s;

  g_test_summary ("What a callback writes and reaps is told of in the next turn of the loop: not in "
                  "the same one, and not later");

  init_by_hand (&s);
  again.s = &s;
  g_signal_connect (s.stream, "completed", G_CALLBACK (reap_again), &again);
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  while (g_main_context_iteration (NULL, FALSE))
    ;

  simulated_kernel_complete (s.kernel, 0, 0, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  for (guint i = 1; i <= 6; i++)
    {
      g_assert_true (g_main_context_iteration (NULL, FALSE));
      g_assert_cmpuint (again.calls, ==, i);
    }

  simulated_stream_clear (&s);
}

typedef struct
{
  guint calls;
  gboolean zero_copied;
  guint states;
} Told;

static void
note_zero_copied (ZcioSocketStream *stream,
                  guint             sends,
                  guint64           bytes,
                  gboolean          zero_copied,
                  gpointer          user_data)
{
  Told *told = user_data;

  told->calls++;
  told->zero_copied = zero_copied;
}

static void
note_state (ZcioSocketStream *stream,
            GParamSpec       *property,
            gpointer          user_data)
{
  ((Told *) user_data)->states++;
}

/* Writes so many, of which the first is told to have been copied or not, and the others were not. */
static void
complete_some (SimulatedStream *s,
               guint            n,
               gboolean         copied)
{
  guint32 first;

  for (guint i = 0; i < n; i++)
    g_assert_true (simulated_stream_write (s, 1000, NULL, NULL));
  simulated_kernel_get_incomplete (s->kernel, &first);
  simulated_kernel_complete (s->kernel, first, first, copied);
  /* Not in order, so that it does not become a part of the first notification. */
  for (guint i = n - 1; i > 0; i--)
    simulated_kernel_complete (s->kernel, first + i, first + i, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s->stream), ==, n);
  while (g_main_context_iteration (NULL, FALSE))
    ;
}

static void
test_told_once (void)
{
  SimulatedStream s;
  Told told = { 0 };

  g_test_summary ("The signal tells of each release whether some of it was copied, and a change of state is "
                  "notified once");

  init_by_hand (&s);
  g_signal_connect (s.stream, "completed", G_CALLBACK (note_zero_copied), &told);
  g_signal_connect (s.stream, "notify::zero-copy-state", G_CALLBACK (note_state), &told);

  complete_some (&s, 1, TRUE);
  g_assert_cmpuint (told.calls, ==, 1);
  g_assert_false (told.zero_copied);
  complete_some (&s, 1, FALSE);
  g_assert_cmpuint (told.calls, ==, 2);
  g_assert_true (told.zero_copied);
  complete_some (&s, 3, TRUE);
  g_assert_cmpuint (told.calls, ==, 3);
  g_assert_false (told.zero_copied);

  g_assert_cmpuint (told.states, ==, 0);
  zcio_socket_stream_set_zero_copy_mode (s.stream, ZCIO_ZERO_COPY_MODE_NEVER);
  zcio_test_wait_until (NULL, told.states == 1);
  zcio_socket_stream_set_zero_copy_mode (s.stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  zcio_test_wait_until (NULL, told.states == 2);
  complete_some (&s, 1, FALSE);
  g_assert_cmpuint (told.calls, ==, 4);
  g_assert_cmpuint (told.states, ==, 2);

  simulated_stream_clear (&s);
}

static void
test_statistics (void)
{
  ZcioStatistics *before;
  ZcioStatistics *after;
  SimulatedStream s;
  guint32 first;

  g_test_summary ("The statistics tell the age of the oldest send, and count each plain write and its system call");

  init_by_hand (&s);
  before = simulated_stream_check_statistics (&s);
  g_assert_cmpint (before->oldest_send_age, ==, 0);
  zcio_statistics_free (before);

  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  simulated_kernel_advance (s.kernel, G_TIME_SPAN_SECOND);
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  before = simulated_stream_check_statistics (&s);
  g_assert_cmpint (before->oldest_send_age, >=, G_TIME_SPAN_SECOND);
  g_assert_cmpint (before->oldest_send_age, <, 2 * G_TIME_SPAN_SECOND);

  g_assert_true (simulated_stream_write_plain (&s, 500, NULL));
  after = simulated_stream_check_statistics (&s);
  g_assert_cmpuint (after->bytes_copied_by_choice - before->bytes_copied_by_choice, ==, 500);
  g_assert_cmpuint (after->sends_copied_by_choice - before->sends_copied_by_choice, ==, 1);
  g_assert_cmpuint (after->system_calls - before->system_calls, ==, 1);
  zcio_statistics_free (before);
  zcio_statistics_free (after);

  while (simulated_kernel_get_incomplete (s.kernel, &first) > 0)
    simulated_kernel_complete (s.kernel, first, first, FALSE);
  simulated_stream_clear (&s);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/stream-reports/reaps-in-callback", test_reaps_in_callback);
  g_test_add_func ("/stream-reports/told-once", test_told_once);
  g_test_add_func ("/stream-reports/statistics", test_statistics);

  return g_test_run ();
}
