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
  g_test_add_data_func ("/operation/context-gone/ready", GINT_TO_POINTER (FALSE), test_context_gone);
  g_test_add_data_func ("/operation/context-gone/waits", GINT_TO_POINTER (TRUE), test_context_gone);

  return g_test_run ();
}
