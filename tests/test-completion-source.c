/* test-completion-source.c - completions for programs
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "connection-fixture.h"

#define SIZE (64 * 1024)
#define N_WATCHES 8

typedef struct
{
  ZcioSocketStream *stream;
  guint calls;
  guint sends;
  guint64 bytes;
  gboolean again;
  gint notified;
} Seen;

static gboolean
on_completions (ZcioSocketStream *stream,
                guint             sends,
                guint64           bytes,
                gpointer          user_data)
{
  Seen *seen = user_data;

  seen->stream = stream;
  seen->calls++;
  seen->sends += sends;
  seen->bytes += bytes;

  return seen->again;
}

static void
count_notify (gpointer data)
{
  Seen *seen = data;

  g_atomic_int_inc (&seen->notified);
}

static GSource *
attach (ConnectionFixture *fixture,
        GMainContext      *context,
        GCancellable      *cancellable,
        Seen              *seen)
{
  GSource *source = zcio_socket_stream_create_completion_source (fixture->near.stream, cancellable);

  if (!seen->again)
    seen->again = TRUE;
  g_source_set_callback (source, (GSourceFunc) (GCallback) on_completions, seen, count_notify);
  g_source_attach (source, context);

  return source;
}

static void
exchange (ConnectionFixture *fixture)
{
  connection_end_write (&fixture->near, 0, SIZE, &fixture->released);
  connection_end_read (&fixture->far, 0, SIZE);
}

static void
test_many (void)
{
  ConnectionFixture fixture;
  Seen seen[N_WATCHES] = { { 0 } };
  guint ids[N_WATCHES];

  g_test_summary ("Many watches on one stream each hear of every byte, whatever their priorities");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  for (guint i = 0; i < N_WATCHES; i++)
    {
      seen[i].again = TRUE;
      ids[i] = zcio_socket_stream_add_completion_watch (fixture.near.stream, (int) i * 50 - 200,
                                                        on_completions, &seen[i], count_notify);
      g_assert_cmpuint (ids[i], >, 0);
    }

  for (guint i = 0; i < 10; i++)
    {
      exchange (&fixture);
      for (guint j = 0; j < N_WATCHES; j++)
        {
          zcio_test_wait_until (NULL, seen[j].bytes == (i + 1) * SIZE);
          g_assert_true (seen[j].stream == fixture.near.stream);
        }
    }

  for (guint i = 0; i < N_WATCHES; i++)
    {
      g_assert_cmpuint (seen[i].calls, >=, 1);
      g_assert_cmpuint (seen[i].sends, >=, 10);
      g_assert_cmpint (seen[i].notified, ==, 0);
      g_assert_true (g_source_remove (ids[i]));
      g_assert_cmpint (seen[i].notified, ==, 1);
    }

  connection_fixture_tear_down (&fixture);
}

static void
test_remove_in_callback (void)
{
  ConnectionFixture fixture;
  Seen seen = { 0 };
  GSource *source;

  g_test_summary ("A callback that says so is called no more");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  source = attach (&fixture, NULL, NULL, &seen);
  seen.again = FALSE;
  exchange (&fixture);
  zcio_test_wait_until (NULL, seen.calls == 1);
  g_assert_true (g_source_is_destroyed (source));
  g_source_unref (source);
  g_assert_cmpint (seen.notified, ==, 1);

  exchange (&fixture);
  zcio_test_wait_until (NULL, g_atomic_int_get (&fixture.released) == 2);
  zcio_test_run_for (NULL, 10);
  g_assert_cmpuint (seen.calls, ==, 1);

  connection_fixture_tear_down (&fixture);
}

static void
test_context (void)
{
  ConnectionFixture fixture;
  GMainContext *context = g_main_context_new ();
  Seen seen = { 0 };
  GSource *source;

  g_test_summary ("The source works in the context that it is attached to, whether the stream's own "
                  "runs or not");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  source = attach (&fixture, context, NULL, &seen);
  g_main_context_iteration (context, FALSE);
  exchange (&fixture);
  zcio_test_wait_until (context, seen.bytes == SIZE);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 1);
  g_source_destroy (source);
  g_source_unref (source);
  g_main_context_unref (context);

  connection_fixture_tear_down (&fixture);
}

static void
test_cancellable (void)
{
  ConnectionFixture fixture;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Seen seen = { 0 };
  GSource *source;

  g_test_summary ("When the cancellable is cancelled, the callback is called with 0 sends");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  source = attach (&fixture, NULL, cancellable, &seen);
  seen.again = FALSE;
  zcio_test_run_for (NULL, 10);
  g_assert_cmpuint (seen.calls, ==, 0);
  g_cancellable_cancel (cancellable);
  zcio_test_wait_until (NULL, seen.calls == 1);
  g_assert_cmpuint (seen.sends, ==, 0);
  g_source_unref (source);

  connection_fixture_tear_down (&fixture);
}

static void
test_weak (void)
{
  ConnectionFixture fixture;
  Seen seen = { 0 };
  GSource *source;

  g_test_summary ("A source keeps no stream alive, and outlives it in peace");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  source = attach (&fixture, NULL, NULL, &seen);
  zcio_test_run_for (NULL, 10);
  connection_end_write (&fixture.near, 0, SIZE, &fixture.released);
  connection_end_clear (&fixture.near);
  connection_end_read (&fixture.far, 0, SIZE);
  connection_wait_for_linger ();
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 1);
  zcio_test_run_for (NULL, 10);
  g_assert_cmpuint (seen.calls, ==, 0);
  g_source_destroy (source);
  g_source_unref (source);
  g_assert_cmpint (seen.notified, ==, 1);

  connection_fixture_tear_down (&fixture);
}

static void
test_forgotten (void)
{
  ConnectionFixture fixture;
  Seen seen = { 0 };
  GMainContext *context;

  g_test_summary ("A source that was forgotten goes with its context");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  context = g_main_context_new ();
  g_source_unref (attach (&fixture, context, NULL, &seen));
  zcio_test_run_for (context, 10);
  g_main_context_unref (context);
  g_assert_cmpint (seen.notified, ==, 1);

  connection_fixture_tear_down (&fixture);
}

static void
marshal (GClosure     *closure,
         GValue       *return_value,
         guint         n_arguments,
         const GValue *arguments,
         gpointer      invocation_hint,
         gpointer      marshal_data)
{
  Seen *seen = closure->data;

  g_assert_cmpuint (n_arguments, ==, 3);
  seen->stream = g_value_get_object (&arguments[0]);
  seen->sends += g_value_get_uint (&arguments[1]);
  seen->bytes += g_value_get_uint64 (&arguments[2]);
  seen->calls++;
  g_value_set_boolean (return_value, seen->again);
}

static void
test_closure (gconstpointer data)
{
  gboolean of_c = GPOINTER_TO_INT (data);
  ConnectionFixture fixture;
  Seen seen = { .again = TRUE };
  GClosure *closure;
  GSource *source;

  g_test_summary ("A closure, such as other languages set, gets the stream, the sends and the bytes");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  if (of_c)
    closure = g_cclosure_new (G_CALLBACK (on_completions), &seen, NULL);
  else
    {
      closure = g_closure_new_simple (sizeof (GClosure), &seen);
      g_closure_set_marshal (closure, marshal);
    }
  source = zcio_socket_stream_create_completion_source (fixture.near.stream, NULL);
  g_source_set_closure (source, closure);
  g_source_attach (source, NULL);
  exchange (&fixture);
  zcio_test_wait_until (NULL, seen.bytes == SIZE);
  g_assert_true (seen.stream == fixture.near.stream);
  g_assert_cmpuint (seen.sends, >=, 1);
  seen.again = FALSE;
  exchange (&fixture);
  zcio_test_wait_until (NULL, seen.bytes == 2 * SIZE);
  g_assert_true (g_source_is_destroyed (source));
  g_source_unref (source);

  connection_fixture_tear_down (&fixture);
}

static void
on_state (GObject    *object,
          GParamSpec *pspec,
          gpointer    user_data)
{
  GThread **thread = user_data;

  *thread = g_thread_self ();
}

static gpointer
change_mode (gpointer data)
{
  zcio_socket_stream_set_zero_copy_mode (data, ZCIO_ZERO_COPY_MODE_NEVER);
  return NULL;
}

static void
test_state (void)
{
  ConnectionFixture fixture;
  GThread *notified_in = NULL;

  g_test_summary ("A change of state is notified in the context of the stream, whichever thread has "
                  "caused it");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_signal_connect (fixture.near.stream, "notify::zero-copy-state", G_CALLBACK (on_state), &notified_in);
  exchange (&fixture);
  g_thread_join (g_thread_new ("changer", change_mode, fixture.near.stream));
  g_assert_null (notified_in);
  zcio_test_wait_until (NULL, notified_in != NULL);
  g_assert_true (notified_in == g_thread_self ());

  connection_fixture_tear_down (&fixture);
}

typedef struct
{
  GMainContext *context;
  gint stop;
} Loop;

static gpointer
run_loop (gpointer data)
{
  Loop *loop = data;

  while (!g_atomic_int_get (&loop->stop))
    g_main_context_iteration (loop->context, TRUE);

  return NULL;
}

static void
test_destroy_elsewhere (void)
{
  ConnectionFixture fixture;
  Loop loop = { g_main_context_new (), FALSE };
  GThread *thread;
  Seen seen = { 0 };

  g_test_summary ("Sources may come and go in one thread while they are dispatched in another");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  thread = g_thread_new ("loop", run_loop, &loop);
  for (guint i = 0; i < 200; i++)
    {
      GSource *source = attach (&fixture, loop.context, NULL, &seen);

      exchange (&fixture);
      g_source_destroy (source);
      g_source_unref (source);
    }
  g_atomic_int_set (&loop.stop, TRUE);
  g_main_context_wakeup (loop.context);
  g_thread_join (thread);
  g_main_context_unref (loop.context);
  g_assert_cmpint (g_atomic_int_get (&seen.notified), ==, 200);

  connection_fixture_tear_down (&fixture);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 200);
}

static void
test_each_time (void)
{
  ConnectionFixture fixture;
  Seen seen = { .again = TRUE };
  ZcioStatistics *statistics;
  GSource *source;

  g_test_summary ("A source tells only of what has come in since it was last dispatched, and goes when its "
                  "stream has gone");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  source = attach (&fixture, NULL, NULL, &seen);
  for (guint i = 1; i <= 3; i++)
    {
      exchange (&fixture);
      zcio_test_wait_until (NULL, seen.bytes >= i * SIZE);
      g_assert_cmpuint (seen.bytes, ==, i * SIZE);
    }
  statistics = zcio_socket_stream_get_statistics (fixture.near.stream);
  g_assert_cmpuint (seen.sends, ==, statistics->sends_zero_copied + statistics->sends_copied_by_kernel);
  zcio_statistics_free (statistics);

  connection_fixture_tear_down (&fixture);
  zcio_test_wait_until (NULL, g_source_is_destroyed (source));
  g_assert_cmpint (seen.notified, ==, 1);
  g_source_unref (source);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/completion-source/many", test_many);
  g_test_add_func ("/completion-source/remove-in-callback", test_remove_in_callback);
  g_test_add_func ("/completion-source/context", test_context);
  g_test_add_func ("/completion-source/cancellable", test_cancellable);
  g_test_add_func ("/completion-source/weak", test_weak);
  g_test_add_func ("/completion-source/forgotten", test_forgotten);
  g_test_add_data_func ("/completion-source/closure/own", GINT_TO_POINTER (FALSE), test_closure);
  g_test_add_data_func ("/completion-source/closure/c", GINT_TO_POINTER (TRUE), test_closure);
  g_test_add_func ("/completion-source/state", test_state);
  g_test_add_func ("/completion-source/destroy-elsewhere", test_destroy_elsewhere);
  g_test_add_func ("/completion-source/each-time", test_each_time);

  return g_test_run ();
}
