/* test-operation.c - where, when and how often what was started asynchronously calls back
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include <sys/socket.h>
#include <unistd.h>

#include "test-util.h"

#define N_WRITES 100

/* Wakes up for nothing but what there is to do: where a wake-up is lost, the program is ended. */
#define WAIT_UNTIL(condition)                   \
  G_STMT_START                                  \
    {                                           \
      while (!(condition))                      \
        g_main_context_iteration (NULL, TRUE);  \
    }                                           \
  G_STMT_END
#define PATIENCE 100 /* seconds */

/* A stream that copies, to a peer that takes all that is written here */
typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  guint left;
  guint calls;
  guint source_id;
} Chain;

/* A thread that is just starting something must not be called back meanwhile. */
static _Thread_local gboolean starting;

static void
chain_init (Chain *self)
{
  *self = (Chain) { NULL };
  zcio_test_socket_pair (ZCIO_TEST_FAMILY_UNIX, 0, &self->socket, &self->peer);
  self->stream = zcio_socket_stream_new (self->socket);
}

static void
chain_clear (Chain *self)
{
  g_clear_object (&self->stream);
  g_object_unref (self->socket);
  g_object_unref (self->peer);
}

static void
start (Chain               *self,
       GAsyncReadyCallback  callback)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);

  starting = TRUE;
  zcio_socket_stream_writev_zerocopy_async (self->stream, &bytes, 1, G_PRIORITY_DEFAULT, NULL,
                                            callback, self);
  starting = FALSE;
}

static void
finish (Chain        *self,
        GAsyncResult *result)
{
  gsize written = 0;
  GError *error = NULL;

  g_assert_false (starting);
  g_assert_true (g_async_result_get_user_data (result) == self);
  g_assert_true (zcio_socket_stream_writev_zerocopy_finish (self->stream, result, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1);
  self->calls++;
}

static void
on_written (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  Chain *self = user_data;
  guint id = g_source_get_id (g_main_current_source ());

  finish (self, result);
  g_assert_true (self->source_id == 0 || self->source_id == id);
  self->source_id = id;
  if (--self->left > 0)
    start (self, on_written);
}

static void
test_one_source (void)
{
  Chain chain;

  g_test_summary ("Writes of which each starts the next one are called back by one source, which "
                  "is not made anew for each; and it goes when nothing is left");

  chain_init (&chain);
  chain.left = N_WRITES;
  start (&chain, on_written);
  zcio_test_wait_until (NULL, chain.calls == N_WRITES);
  zcio_test_run_for (NULL, 1);
  g_assert_null (g_main_context_find_source_by_id (NULL, chain.source_id));
  chain_clear (&chain);
}

typedef struct
{
  Chain *chain;
  guint turns;
  guint last;
  guint most;
} Other;

static gboolean
on_turn (gpointer user_data)
{
  Other *other = user_data;

  other->turns++;
  other->most = MAX (other->most, other->chain->calls - other->last);
  other->last = other->chain->calls;
  return G_SOURCE_CONTINUE;
}

static void
test_turns (void)
{
  Chain chain;
  Other other = { &chain };
  guint id = g_idle_add_full (G_PRIORITY_DEFAULT, on_turn, &other, NULL);

  g_test_summary ("Writes of which each starts the next one take less than a turn of the loop each, "
                  "but another source is not kept waiting for more than eight");

  chain_init (&chain);
  chain.left = N_WRITES;
  start (&chain, on_written);
  zcio_test_wait_until (NULL, chain.calls == N_WRITES);
  g_test_message ("%u turns, at most %u calls in one", other.turns, other.most);
  g_assert_cmpuint (other.most, <=, 8);
  /* A slow machine may take each turn's time for a single one. */
  if (g_getenv ("ZCIO_TEST_PATIENCE") == NULL)
    g_assert_cmpuint (other.turns, <, N_WRITES / 2);

  g_source_remove (id);
  chain_clear (&chain);
}

static void
on_written_nested (GObject      *source,
                   GAsyncResult *result,
                   gpointer      user_data)
{
  Chain *self = user_data;

  finish (self, result);
  if (--self->left == 0)
    return;

  start (self, on_written_nested);
  WAIT_UNTIL (self->left == 0);
}

static gpointer
write_in_thread (gpointer data)
{
  start (data, on_written_nested);
  return NULL;
}

/* Called while the loop that on_written_waiting () runs has nothing to do. */
static gboolean
write_elsewhere (gpointer data)
{
  /* The context is still the main one, since the thread has none of its own. */
  g_thread_unref (g_thread_new ("write", write_in_thread, data));
  return G_SOURCE_REMOVE;
}

static void
on_written_waiting (GObject      *source,
                    GAsyncResult *result,
                    gpointer      user_data)
{
  Chain *chains = user_data;

  finish (&chains[0], result);
  g_timeout_add (20, write_elsewhere, &chains[1]);
  WAIT_UNTIL (chains[1].calls == 1);
}

static void
test_nested (void)
{
  Chain chains[2];

  g_test_summary ("A main loop within a callback is told of what is started there, and of what "
                  "another thread starts while that loop sleeps");

  chain_init (&chains[0]);
  chain_init (&chains[1]);

  chains[0].left = 10;
  start (&chains[0], on_written_nested);
  WAIT_UNTIL (chains[0].calls == 10);

  chains[1].left = 1;
  start (&chains[0], on_written_waiting);
  WAIT_UNTIL (chains[0].calls == 11);
  g_assert_cmpuint (chains[1].calls, ==, 1);

  chain_clear (&chains[0]);
  chain_clear (&chains[1]);
}

#define N_CROWD 40

/* Writes of many streams, of which the first waits for all others in a loop of its own. */
static struct
{
  Chain chains[N_CROWD];
  guint calls;
  guint calls_nested;
  guint calls_after;
} crowd;

static void
on_written_in_crowd (GObject      *source,
                     GAsyncResult *result,
                     gpointer      user_data)
{
  gboolean is_first = crowd.calls++ == 0;

  finish (user_data, result);
  if (is_first)
    {
      WAIT_UNTIL (crowd.calls >= N_CROWD);
      crowd.calls_nested = crowd.calls;
    }
  if (crowd.calls < 5 * N_CROWD)
    start (user_data, on_written_in_crowd);
}

static gboolean
on_turn_in_crowd (gpointer user_data)
{
  if (crowd.calls_nested == 0)
    return G_SOURCE_CONTINUE;

  crowd.calls_after = crowd.calls - crowd.calls_nested;
  return G_SOURCE_REMOVE;
}

static void
test_crowd (void)
{
  g_test_summary ("What a loop within a callback has called is not made up for by what was started since");

  g_idle_add_full (G_PRIORITY_DEFAULT, on_turn_in_crowd, NULL, NULL);

  for (guint i = 0; i < N_CROWD; i++)
    chain_init (&crowd.chains[i]);
  for (guint i = 0; i < N_CROWD; i++)
    start (&crowd.chains[i], on_written_in_crowd);
  WAIT_UNTIL (crowd.calls >= 5 * N_CROWD);
  zcio_test_run_for (NULL, 1);
  g_assert_cmpuint (crowd.calls_nested, >=, N_CROWD);
  g_assert_cmpuint (crowd.calls_after, <=, 8);

  for (guint i = 0; i < N_CROWD; i++)
    chain_clear (&crowd.chains[i]);
}

typedef struct
{
  gint n_freed;
  GAsyncResult *result;
} Kept;

static void
on_buffer_freed (gpointer data)
{
  ((Kept *) data)->n_freed++;
}

static void
on_written_kept (GObject      *source,
                 GAsyncResult *result,
                 gpointer      user_data)
{
  Kept *kept = user_data;

  g_assert_cmpint (kept->n_freed, ==, 1);
  kept->result = g_object_ref (result);
}

static void
test_kept (void)
{
  Chain chain;
  Kept kept = { 0 };
  GObject *source;
  gsize written = 0;
  GBytes *bytes = g_bytes_new_with_free_func ("x", 1, on_buffer_freed, &kept);

  g_test_summary ("Who keeps the result of a write does not keep its buffers, and may finish it late");

  chain_init (&chain);
  zcio_socket_stream_writev_zerocopy_async (chain.stream, &bytes, 1, G_PRIORITY_DEFAULT, NULL,
                                            on_written_kept, &kept);
  g_bytes_unref (bytes);
  g_assert_cmpint (kept.n_freed, ==, 0);
  WAIT_UNTIL (kept.result != NULL);
  g_assert_true (zcio_socket_stream_writev_zerocopy_finish (chain.stream, kept.result, &written, NULL));
  g_assert_cmpuint (written, ==, 1);

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*zcio_operation_is_valid*");
  g_assert_false (zcio_socket_stream_drain_finish (chain.stream, kept.result, NULL));
  g_test_assert_expected_messages ();

  g_assert_true (g_async_result_get_user_data (kept.result) == &kept);
  g_assert_true (g_async_result_is_tagged (kept.result, zcio_socket_stream_writev_zerocopy_async));
  g_assert_false (g_async_result_is_tagged (kept.result, zcio_socket_stream_drain_async));
  source = g_async_result_get_source_object (kept.result);
  g_assert_true (source == G_OBJECT (chain.stream));
  g_object_unref (source);
  g_object_unref (kept.result);
  chain_clear (&chain);
}

static gint written_elsewhere;

static void
on_written_elsewhere (GObject      *source,
                      GAsyncResult *result,
                      gpointer      user_data)
{
  g_assert_true (g_main_context_is_owner (g_main_context_default ()));
  finish (user_data, result);
  g_atomic_int_inc (&written_elsewhere);
}

static gpointer
write_often (gpointer data)
{
  for (int i = 0; i < N_WRITES; i++)
    {
      start (data, on_written_elsewhere);
      while (g_atomic_int_get (&written_elsewhere) == i)
        g_usleep (10);
    }

  return NULL;
}

static void
test_other_thread (void)
{
  Chain chain;
  GThread *thread;

  g_test_summary ("What a thread without a main loop starts wakes the main one, each time");

  chain_init (&chain);
  thread = g_thread_new ("write", write_often, &chain);
  WAIT_UNTIL (g_atomic_int_get (&written_elsewhere) == N_WRITES);
  g_thread_join (thread);
  chain_clear (&chain);
}

static void
never_called (GObject      *source,
              GAsyncResult *result,
              gpointer      user_data)
{
  g_assert_not_reached ();
}

static void
test_context_gone (gconstpointer data)
{
  gboolean waits = GPOINTER_TO_INT (data);
  GMainContext *context = g_main_context_new ();
  Chain chain;
  ZcioSocketStream *stream;
  GSocket *socket;

  g_test_summary ("Where the main context goes before it has called back, nobody is called, and "
                  "the stream can be written to again");

  /* The stream holds the context that it was made in. */
  chain_init (&chain);
  if (waits)
    while (send (g_socket_get_fd (chain.socket), "0123456789", 10, MSG_DONTWAIT) > 0)
      ;
  g_main_context_push_thread_default (context);
  start (&chain, never_called);
  g_assert_true (g_output_stream_has_pending (G_OUTPUT_STREAM (chain.stream)));
  g_main_context_pop_thread_default (context);
  g_main_context_unref (context);
  g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (chain.stream)));

  stream = chain.stream;
  socket = chain.socket;
  g_object_add_weak_pointer (G_OBJECT (stream), (gpointer *) &stream);
  g_object_add_weak_pointer (G_OBJECT (socket), (gpointer *) &socket);
  chain_clear (&chain);
  g_assert_null (stream);
  g_assert_null (socket);
}

#define N_MANY_BUFFERS 10

static void
test_buffers (void)
{
  Chain chain;

  g_test_summary ("A write has any number of buffers");

  chain_init (&chain);
  for (gsize n = 0; n <= N_MANY_BUFFERS; n++)
    {
      GBytes *bytes[N_MANY_BUFFERS];
      GAsyncResult *result = NULL;
      Kept kept = { 0 };
      char received[N_MANY_BUFFERS + 1];
      gsize written = 77;
      GError *error = NULL;

      for (gsize i = 0; i < n; i++)
        bytes[i] = g_bytes_new_with_free_func (&"0123456789"[i], 1, on_buffer_freed, &kept);
      zcio_socket_stream_writev_zerocopy_async (chain.stream, bytes, n, G_PRIORITY_DEFAULT, NULL,
                                                zcio_test_store_result, &result);
      for (gsize i = 0; i < n; i++)
        g_bytes_unref (bytes[i]);
      WAIT_UNTIL (result != NULL);
      g_assert_true (zcio_socket_stream_writev_zerocopy_finish (chain.stream, result, &written, &error));
      g_assert_no_error (error);
      g_assert_cmpuint (written, ==, n);
      g_object_unref (result);
      g_assert_cmpint (kept.n_freed, ==, n);
      if (n > 0)
        {
          g_assert_cmpint (g_socket_receive (chain.peer, received, sizeof received, NULL, NULL), ==, n);
          g_assert_cmpmem (received, n, "0123456789", n);
        }
    }
  chain_clear (&chain);
}

static void
count_drained (GObject      *source,
               GAsyncResult *result,
               gpointer      user_data)
{
  g_assert_true (zcio_socket_stream_drain_finish (ZCIO_SOCKET_STREAM (source), result, NULL));
  (*(guint *) user_data)++;
}

static void
test_all_at_once (void)
{
  Chain chain;
  guint calls = 0;

  g_test_summary ("All that was started before a turn of the loop is called back in it");

  chain_init (&chain);
  for (guint i = 0; i < N_CROWD; i++)
    zcio_socket_stream_drain_async (chain.stream, 0, G_PRIORITY_DEFAULT, NULL, count_drained, &calls);
  g_assert_cmpuint (calls, ==, 0);
  g_assert_true (g_main_context_iteration (NULL, FALSE));
  g_assert_cmpuint (calls, ==, N_CROWD);
  chain_clear (&chain);
}

static void
check_thread_default (GObject      *source,
                      GAsyncResult *result,
                      gpointer      user_data)
{
  GMainContext **context = user_data;

  g_assert_true (g_main_context_get_thread_default () == *context);
  *context = NULL;
}

static void
test_thread_default (void)
{
  GMainContext *context = g_main_context_new ();
  GMainContext *expected = context;
  Chain chain;

  g_test_summary ("Where another loop runs the context, it is the thread's default one within the callback");

  chain_init (&chain);
  g_main_context_push_thread_default (context);
  zcio_socket_stream_drain_async (chain.stream, 0, G_PRIORITY_DEFAULT, NULL, check_thread_default, &expected);
  g_main_context_pop_thread_default (context);
  while (expected != NULL)
    g_main_context_iteration (context, TRUE);
  g_assert_null (g_main_context_get_thread_default ());
  chain_clear (&chain);
  g_main_context_unref (context);
}

static void
test_priority (void)
{
  Chain chain;
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  GAsyncResult *result = NULL;
  GSource *source;
  char data[1024];

  g_test_summary ("A write that has waited is called back after sources that have a higher priority");

  chain_init (&chain);
  while (send (g_socket_get_fd (chain.socket), "0123456789", 10, MSG_DONTWAIT) > 0)
    ;
  zcio_socket_stream_writev_zerocopy_async (chain.stream, &bytes, 1, G_PRIORITY_LOW, NULL,
                                            zcio_test_store_result, &result);
  source = g_idle_source_new ();
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_dummy_callback (source);
  g_source_attach (source, NULL);

  while (recv (g_socket_get_fd (chain.peer), data, sizeof data, MSG_DONTWAIT) > 0)
    ;
  for (guint i = 0; i < 10; i++)
    g_assert_true (g_main_context_iteration (NULL, FALSE));
  g_assert_null (result);

  g_source_destroy (source);
  g_source_unref (source);
  WAIT_UNTIL (result != NULL);
  g_assert_true (zcio_socket_stream_writev_zerocopy_finish (chain.stream, result, NULL, NULL));
  g_object_unref (result);
  chain_clear (&chain);
}

typedef struct
{
  guint calls;
  gint64 duration;
} Drains;

static void
on_drained (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  Drains *drains = user_data;
  gint64 end = g_get_monotonic_time () + drains->duration;

  g_assert_true (zcio_socket_stream_drain_finish (ZCIO_SOCKET_STREAM (source), result, NULL));
  while (g_get_monotonic_time () < end)
    ;
  if (++drains->calls < N_WRITES)
    zcio_socket_stream_drain_async (ZCIO_SOCKET_STREAM (source), 0, G_PRIORITY_DEFAULT, NULL, on_drained, drains);
}

static void
test_calls_in_turn (gconstpointer data)
{
  gboolean is_slow = GPOINTER_TO_INT (data);
  Drains drains = { 0, is_slow ? 300 : 0 };
  Chain chain;
  guint before;

  g_test_summary ("Of calls that each start the next one, few are made in one turn of the loop, and only "
                  "one if they are slow");

  chain_init (&chain);
  zcio_socket_stream_drain_async (chain.stream, 0, G_PRIORITY_DEFAULT, NULL, on_drained, &drains);
  do
    {
      before = drains.calls;
      g_assert_true (g_main_context_iteration (NULL, FALSE));
      g_assert_cmpuint (drains.calls, >, before);
      g_assert_cmpuint (drains.calls - before, <=, is_slow ? 1 : 8);
    }
  while (drains.calls < N_WRITES);
  zcio_test_run_for (NULL, 1);
  chain_clear (&chain);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  alarm (PATIENCE);

  g_test_add_func ("/operation/one-source", test_one_source);
  g_test_add_func ("/operation/turns", test_turns);
  g_test_add_func ("/operation/nested", test_nested);
  g_test_add_func ("/operation/crowd", test_crowd);
  g_test_add_func ("/operation/kept", test_kept);
  g_test_add_func ("/operation/other-thread", test_other_thread);
  g_test_add_func ("/operation/buffers", test_buffers);
  g_test_add_func ("/operation/all-at-once", test_all_at_once);
  g_test_add_data_func ("/operation/calls-in-turn/quick", GINT_TO_POINTER (FALSE), test_calls_in_turn);
  g_test_add_data_func ("/operation/calls-in-turn/slow", GINT_TO_POINTER (TRUE), test_calls_in_turn);
  g_test_add_func ("/operation/thread-default", test_thread_default);
  g_test_add_func ("/operation/priority", test_priority);
  g_test_add_data_func ("/operation/context-gone/ready", GINT_TO_POINTER (FALSE), test_context_gone);
  g_test_add_data_func ("/operation/context-gone/waits", GINT_TO_POINTER (TRUE), test_context_gone);

  return g_test_run ();
}
