/* test-reaper.c - the main loop hears of completions, and not too often
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "connection-fixture.h"
#include "zcio/zcio-reaper-private.h"

#define SIZE (64 * 1024)

static void
test_priority (void)
{
  ConnectionFixture fixture;
  GPollableInputStream *input;
  GSource *source;
  guint dispatches = 0;
  int priority;

  g_test_summary ("The reaper comes before a source of GIO's own on the same socket, which every "
                  "unread completion makes ready: that one does not spin");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_object_get (fixture.near.stream, "priority", &priority, NULL);
  g_assert_cmpint (priority, <, G_PRIORITY_HIGH);
  g_assert_cmpint (priority, ==, ZCIO_REAPER_DEFAULT_PRIORITY);

  input = G_POLLABLE_INPUT_STREAM (fixture.near.input);
  g_assert_true (g_pollable_input_stream_can_poll (input));
  source = g_socket_create_source (fixture.near.socket, G_IO_IN, NULL);
  g_source_set_priority (source, G_PRIORITY_HIGH);
  g_source_set_dummy_callback (source);
  g_source_attach (source, NULL);

  for (guint i = 0; i < 16; i++)
    {
      connection_end_write (&fixture.near, i * SIZE, SIZE, &fixture.released);
      connection_end_read (&fixture.far, i * SIZE, SIZE);
    }
  dispatches = zcio_test_run_for (NULL, 100);
  g_assert_cmpuint (dispatches, <, 50);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), ==, 16);
  g_source_destroy (source);
  g_source_unref (source);

  connection_fixture_tear_down (&fixture);
}

static void
test_idle (void)
{
  ConnectionFixture fixture;

  g_test_summary ("With nothing in flight the reaper wakes nobody");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  connection_end_write (&fixture.near, 0, SIZE, &fixture.released);
  connection_end_read (&fixture.far, 0, SIZE);
  zcio_test_wait_until (NULL, g_atomic_int_get (&fixture.released) == 1);
  /* One sweep may still be to come: it looks for sockets that were closed. */
  zcio_test_run_for (NULL, 1200);
  g_assert_cmpuint (zcio_test_run_for (NULL, 1500), <, 3);

  connection_fixture_tear_down (&fixture);
}

static void
test_no_loop (void)
{
  ConnectionFixture fixture;
  guint64 position = 0;
  guint64 most = 0;

  g_test_summary ("Where no loop runs, writes reap as they go");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  for (guint i = 0; i < 1000; i++)
    {
      connection_end_write (&fixture.near, position, SIZE, &fixture.released);
      connection_end_read (&fixture.far, position, SIZE);
      position += SIZE;
      most = MAX (most, connection_end_get_sends_in_flight (&fixture.near));
    }
  g_assert_cmpuint (most, <, 100);
  g_assert_cmpint (g_atomic_int_get (&fixture.released), >, 900);

  connection_fixture_tear_down (&fixture);
}

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  GThread *completed_in;
  guint64 bytes;
} Worker;

static void
on_completed (ZcioSocketStream *stream,
              guint             sends,
              guint64           bytes,
              gboolean          zero_copied,
              gpointer          user_data)
{
  Worker *worker = user_data;

  worker->completed_in = g_thread_self ();
  worker->bytes += bytes;
}

static gpointer
run_worker (gpointer data)
{
  Worker *worker = data;
  GMainContext *context = g_main_context_new ();
  ConnectionEnd end;
  ConnectionEnd peer;

  g_main_context_push_thread_default (context);
  connection_end_init (&end, worker->socket);
  connection_end_init (&peer, worker->peer);
  g_signal_connect (end.stream, "completed", G_CALLBACK (on_completed), worker);
  connection_end_write (&end, 0, SIZE, NULL);
  connection_end_read (&peer, 0, SIZE);
  zcio_test_wait_until (context, worker->bytes == SIZE);
  g_assert_true (worker->completed_in == g_thread_self ());
  connection_end_clear (&end);
  connection_end_clear (&peer);
  g_main_context_pop_thread_default (context);
  g_main_context_unref (context);

  return NULL;
}

static void
test_worker (void)
{
  Worker worker = { 0 };
  GThread *thread;

  g_test_summary ("A stream made in a worker thread's context tells of completions there, while the "
                  "default context does not run");

  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 0, &worker.socket, &worker.peer))
    return;

  thread = g_thread_new ("worker", run_worker, &worker);
  g_thread_join (thread);
  g_assert_cmpuint (worker.bytes, ==, SIZE);
}

#define N_ROUNDS 10

/* Each is the first send in flight, after which the loop may sleep for ever, or for a second. */
static gpointer
write_elsewhere (gpointer data)
{
  ConnectionFixture *fixture = data;

  for (gint i = 0; i < N_ROUNDS; i++)
    {
      connection_end_write (&fixture->near, (guint64) i * SIZE, SIZE, &fixture->released);
      connection_end_read (&fixture->far, (guint64) i * SIZE, SIZE);
      while (g_atomic_int_get (&fixture->released) == i)
        g_usleep (100);
    }
  g_main_context_wakeup (NULL);

  return NULL;
}

static void
test_wakes_loop (void)
{
  ConnectionFixture fixture;
  GThread *thread;
  gint64 begin = g_get_monotonic_time ();

  g_test_summary ("A loop that sleeps, with nothing to wake it, hears at once of what another thread sends");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  thread = g_thread_new ("write", write_elsewhere, &fixture);
  while (g_atomic_int_get (&fixture.released) < N_ROUNDS)
    g_main_context_iteration (NULL, TRUE);
  g_thread_join (thread);
  /* The sweep finds everything, too, but only each second. */
  g_assert_cmpint (g_get_monotonic_time () - begin, <, N_ROUNDS / 2 * G_TIME_SPAN_SECOND);

  connection_fixture_tear_down (&fixture);
}

typedef struct
{
  ConnectionFixture *fixture;
  guint64 nested_bytes;
  guint depth;
} Nested;

static void
on_completed_nested (ZcioSocketStream *stream,
                     guint             sends,
                     guint64           bytes,
                     gboolean          zero_copied,
                     gpointer          user_data)
{
  Nested *nested = user_data;

  nested->nested_bytes += bytes;
  if (nested->depth++ > 0)
    return;

  connection_end_write (&nested->fixture->near, SIZE, SIZE, &nested->fixture->released);
  connection_end_read (&nested->fixture->far, SIZE, SIZE);
  zcio_test_wait_until (NULL, nested->nested_bytes == 2 * SIZE);
}

static void
test_nested (void)
{
  ConnectionFixture fixture;
  Nested nested = { &fixture, 0, 0 };

  g_test_summary ("A main loop inside a handler of completions hears of further ones");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  g_signal_connect (fixture.near.stream, "completed", G_CALLBACK (on_completed_nested), &nested);
  connection_end_write (&fixture.near, 0, SIZE, &fixture.released);
  connection_end_read (&fixture.far, 0, SIZE);
  zcio_test_wait_until (NULL, nested.nested_bytes == 2 * SIZE);
  g_assert_cmpuint (nested.depth, ==, 2);

  connection_fixture_tear_down (&fixture);
}

/* Floods */

typedef struct
{
  ConnectionEnd *end;
  guint64 size;
  gsize part;
  gint done;
} Flood;

static gpointer
write_flood (gpointer data)
{
  Flood *flood = data;
  GBytes *bytes = g_bytes_new_take (g_malloc0 (flood->part), flood->part);
  GError *error = NULL;

  for (guint64 position = 0; position < flood->size; position += flood->part)
    {
      zcio_socket_stream_write_zerocopy (flood->end->stream, bytes, NULL, NULL, &error);
      g_assert_no_error (error);
    }
  g_bytes_unref (bytes);
  g_atomic_int_set (&flood->done, TRUE);
  g_main_context_wakeup (NULL);

  return NULL;
}

static gpointer
reap_meanwhile (gpointer data)
{
  Flood *flood = data;

  while (!g_atomic_int_get (&flood->done))
    {
      zcio_socket_stream_reap (flood->end->stream);
      g_usleep (100);
    }

  return NULL;
}

/* Returns how many completions there were for each dispatch of the reaper. */
static double
run_flood (gsize    part,
           guint64  size,
           gboolean reap_elsewhere)
{
  ConnectionFixture fixture;
  ZcioTestReader *reader;
  Flood flood = { .part = part, .size = size };
  g_autoptr (ZcioStatistics) statistics = NULL;
  GThread *writer;
  GThread *reaper = NULL;
  guint64 sends;
  GError *error = NULL;

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return G_MAXDOUBLE;

  g_socket_set_option (fixture.near.socket, 6, 1 /* TCP_NODELAY */, TRUE, &error);
  g_assert_no_error (error);
  reader = zcio_test_reader_new (fixture.far.socket, 0, ZCIO_TEST_READER_NO_PATTERN);
  flood.end = &fixture.near;
  writer = g_thread_new ("writer", write_flood, &flood);
  if (reap_elsewhere)
    reaper = g_thread_new ("reaper", reap_meanwhile, &flood);
  while (!g_atomic_int_get (&flood.done))
    g_main_context_iteration (NULL, TRUE);
  g_thread_join (writer);
  if (reaper != NULL)
    g_thread_join (reaper);

  g_assert_true (g_output_stream_flush (fixture.near.output, NULL, &error));
  g_assert_no_error (error);
  statistics = zcio_socket_stream_get_statistics (fixture.near.stream);
  sends = statistics->sends_zero_copied + statistics->sends_copied_by_kernel;
  g_test_message ("sends of %" G_GSIZE_FORMAT " KiB: %" G_GUINT64_FORMAT " completions, %" G_GUINT64_FORMAT
                  " notifications, %" G_GUINT64_FORMAT " dispatches of the reaper, %.0f a GB",
                  part / 1024, sends, statistics->notifications, statistics->reaper_dispatches,
                  statistics->reaper_dispatches * 1e9 / size);
  g_assert_cmpuint (sends, >, 0);

  g_assert_true (g_io_stream_close (fixture.near.connection, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, size);
  connection_fixture_tear_down (&fixture);

  return (double) sends / MAX (statistics->reaper_dispatches, 1);
}

static void
test_flood (void)
{
  double best = 0;

  g_test_summary ("In a flood of completions the reaper is dispatched at least ten times less often "
                  "than they come in");

  /* Where the machine is busy elsewhere, there may be no flood. */
  for (guint i = 0; i < 5 && best < 10; i++)
    best = run_flood (4096, 128 * 1024 * 1024, FALSE);
  g_assert_cmpfloat (best, >=, 10);
}

static void
test_full_speed (void)
{
  g_test_summary ("Dispatches of the reaper at full speed: a report");

  g_assert_cmpfloat (run_flood (SIZE, G_GUINT64_CONSTANT (512) * 1024 * 1024, FALSE), >, 0);
  g_assert_cmpfloat (run_flood (1024 * 1024, G_GUINT64_CONSTANT (1024) * 1024 * 1024, FALSE), >, 0);
}

static void
test_reap_everywhere (void)
{
  g_test_summary ("Writing in one thread, reaping in another and on the main loop is safe");

  g_assert_cmpfloat (run_flood (4096, 16 * 1024 * 1024, TRUE), >, 0);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/reaper/priority", test_priority);
  g_test_add_func ("/reaper/idle", test_idle);
  g_test_add_func ("/reaper/no-loop", test_no_loop);
  g_test_add_func ("/reaper/worker", test_worker);
  g_test_add_func ("/reaper/nested", test_nested);
  g_test_add_func ("/reaper/wakes-loop", test_wakes_loop);
  g_test_add_func ("/reaper/flood", test_flood);
  g_test_add_func ("/reaper/full-speed", test_full_speed);
  g_test_add_func ("/reaper/everywhere", test_reap_everywhere);

  return g_test_run ();
}
