/* test-pairings.c - a reader and a writer of one socket, in every pairing
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "connection-fixture.h"

#define PART (256 * 1024)
#define SIZE (G_GUINT64_CONSTANT (64) * 1024 * 1024)
#define THOROUGH_SIZE (G_GUINT64_CONSTANT (4) * 1024 * 1024 * 1024)
#define N_ROUNDS 1000
#define MAX_REQUEST (64 * 1024)

typedef enum
{
  PAIRING_SAME_LOOP,
  PAIRING_BLOCKING_READER,
  PAIRING_BLOCKING_WRITER,
  PAIRING_TWO_CONTEXTS,
  N_PAIRINGS
} Pairing;

static const char *const pairing_names[] = {
  "same-loop", "blocking-reader", "blocking-writer", "two-contexts"
};

static guint64
get_size (void)
{
  return g_getenv ("ZCIO_TEST_THOROUGH") != NULL ? THOROUGH_SIZE : SIZE;
}

/* A thread with a main loop of its own */

typedef struct
{
  GMainContext *context;
  GThread *thread;
  gint stop;
} Loop;

static gpointer
run_loop (gpointer data)
{
  Loop *loop = data;

  g_main_context_push_thread_default (loop->context);
  while (!g_atomic_int_get (&loop->stop))
    g_main_context_iteration (loop->context, TRUE);
  g_main_context_pop_thread_default (loop->context);

  return NULL;
}

static void
loop_start (Loop *loop)
{
  loop->context = g_main_context_new ();
  loop->stop = FALSE;
  zcio_test_count_polls (loop->context);
  loop->thread = g_thread_new ("loop", run_loop, loop);
}

static void
loop_stop (Loop *loop)
{
  g_atomic_int_set (&loop->stop, TRUE);
  g_main_context_wakeup (loop->context);
  g_thread_join (loop->thread);
  g_main_context_unref (loop->context);
}

/* One direction's writer */

typedef struct
{
  ConnectionEnd *end;
  guint64 position;
  guint64 size;
  gint *released;
  GThread *thread;
  gint done;
} Writer;

static void write_next (Writer *writer);

static void
on_written (GObject      *object,
            GAsyncResult *result,
            gpointer      user_data)
{
  Writer *writer = user_data;
  gsize written = 0;
  GError *error = NULL;

  zcio_socket_stream_writev_zerocopy_finish (ZCIO_SOCKET_STREAM (object), result, &written, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, PART);
  writer->position += written;
  write_next (writer);
}

static void
write_next (Writer *writer)
{
  GBytes *bytes;

  if (writer->position == writer->size)
    {
      g_atomic_int_set (&writer->done, TRUE);
      return;
    }

  bytes = zcio_test_pattern_bytes (writer->position, PART, writer->released);
  zcio_socket_stream_writev_zerocopy_async (writer->end->stream, &bytes, 1, G_PRIORITY_DEFAULT, NULL,
                                            on_written, writer);
  g_bytes_unref (bytes);
}

static gpointer
write_all (gpointer data)
{
  Writer *writer = data;

  for (; writer->position < writer->size; writer->position += PART)
    connection_end_write (writer->end, writer->position, PART, writer->released);
  g_atomic_int_set (&writer->done, TRUE);

  return NULL;
}

static void
writer_start (Writer  *writer,
              Pairing  pairing)
{
  if (pairing == PAIRING_BLOCKING_WRITER)
    writer->thread = g_thread_new ("writer", write_all, writer);
  else
    write_next (writer);
}

/* One direction's reader */

typedef struct
{
  ConnectionEnd *end;
  guint64 position;
  guint64 size;
  GThread *thread;
  GSource *source;
  char *buffer;
  gint done;
  gint dispatches;
  gint spurious;
} Reader;

static void
reader_take (Reader *reader,
             gssize  n)
{
  g_assert_cmpuint (zcio_test_pattern_check (reader->position, reader->buffer, n), ==, n);
  reader->position += n;
  if (reader->position == reader->size)
    {
      g_atomic_int_set (&reader->done, TRUE);
      g_main_context_wakeup (NULL);
    }
}

static gboolean
on_readable (GObject  *object,
             gpointer  user_data)
{
  Reader *reader = user_data;
  GError *error = NULL;
  gssize n = g_pollable_input_stream_read_nonblocking (G_POLLABLE_INPUT_STREAM (object), reader->buffer,
                                                       PART, NULL, &error);

  g_atomic_int_inc (&reader->dispatches);
  if (n > 0)
    {
      reader_take (reader, n);
      return G_SOURCE_CONTINUE;
    }

  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  g_error_free (error);
  g_atomic_int_inc (&reader->spurious);

  return G_SOURCE_CONTINUE;
}

static gpointer
read_all (gpointer data)
{
  Reader *reader = data;

  while (reader->position < reader->size)
    {
      GError *error = NULL;
      gssize n = g_input_stream_read (reader->end->input, reader->buffer, PART, NULL, &error);

      g_assert_no_error (error);
      g_assert_cmpint (n, >, 0);
      reader_take (reader, n);
    }

  return NULL;
}

static void
reader_start (Reader       *reader,
              Pairing       pairing,
              GMainContext *context)
{
  reader->buffer = g_malloc (PART);
  if (pairing == PAIRING_BLOCKING_READER)
    {
      reader->thread = g_thread_new ("reader", read_all, reader);
      return;
    }

  reader->source =
    g_pollable_input_stream_create_source (G_POLLABLE_INPUT_STREAM (reader->end->input), NULL);
  g_source_set_callback (reader->source, (GSourceFunc) (GCallback) on_readable, reader, NULL);
  g_source_attach (reader->source, context);
}

static void
reader_clear (Reader *reader)
{
  if (reader->thread != NULL)
    g_thread_join (reader->thread);
  if (reader->source != NULL)
    {
      g_source_destroy (reader->source);
      g_source_unref (reader->source);
    }
  g_free (reader->buffer);
}

/* Nobody has anything to do: the peer of @end reads nothing for the time being. */
static guint64
fill_and_idle (ConnectionFixture *fixture,
               gint              *n_buffers)
{
  guint64 position = connection_end_fill (&fixture->near, 0, n_buffers, &fixture->released);
  guint polls;
  gint64 cpu;

  zcio_test_run_for (NULL, 200);
  polls = zcio_test_get_polls ();
  cpu = zcio_test_get_process_cpu_time ();
  zcio_test_run_for (NULL, 1000);
  polls = zcio_test_get_polls () - polls;
  cpu = zcio_test_get_process_cpu_time () - cpu;
  g_test_message ("idle with %" G_GUINT64_FORMAT " sends in flight: %" G_GINT64_FORMAT " µs of CPU "
                  "a second, %u polls", connection_end_get_sends_in_flight (&fixture->near), cpu, polls);
  g_assert_cmpint (cpu, <, G_TIME_SPAN_SECOND / 50);
  g_assert_cmpuint (polls, <, 50);

  return position;
}

static void
assert_few_spurious (ConnectionFixture *fixture,
                     const Reader      *readers)
{
  g_autoptr (ZcioStatistics) near = zcio_socket_stream_get_statistics (fixture->near.stream);
  g_autoptr (ZcioStatistics) far = zcio_socket_stream_get_statistics (fixture->far.stream);
  guint64 completions = near->sends_zero_copied + near->sends_copied_by_kernel +
                        far->sends_zero_copied + far->sends_copied_by_kernel;
  guint spurious = readers[0].spurious + readers[1].spurious;

  g_test_message ("%" G_GUINT64_FORMAT " completions, %u dispatches of the readers, %u of them in vain, "
                  "%" G_GUINT64_FORMAT " of the reaper",
                  completions, readers[0].dispatches + readers[1].dispatches, spurious,
                  near->reaper_dispatches + far->reaper_dispatches);
  g_assert_cmpuint (completions, >, 0);
  g_assert_cmpuint (spurious * 10, <=, completions);
}

static void
test_transfer (gconstpointer data)
{
  Pairing pairing = GPOINTER_TO_INT (data);
  ConnectionFixture fixture;
  Loop loop = { 0 };
  Writer writers[2] = { { 0 } };
  Reader readers[2] = { { 0 } };
  GMainContext *read_context = NULL;
  guint64 size = get_size ();
  guint64 first;
  gint n_buffers = 0;
  GError *error = NULL;

  g_test_summary ("Both ends send and read at once: every byte arrives, idle waiting takes no CPU, "
                  "and completions do not dispatch the readers");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  zcio_test_count_polls (NULL);
  if (pairing == PAIRING_TWO_CONTEXTS)
    {
      loop_start (&loop);
      read_context = loop.context;
    }

  readers[0] = (Reader) { .end = &fixture.near, .size = size };
  readers[1] = (Reader) { .end = &fixture.far };
  reader_start (&readers[0], pairing, read_context);
  first = fill_and_idle (&fixture, &n_buffers);

  /* Whole parts from now on, beginning where the filling has ended. */
  readers[1].size = first + size;
  reader_start (&readers[1], pairing, read_context);
  writers[0] = (Writer) { .end = &fixture.near, .position = first, .size = first + size,
                          .released = &fixture.released };
  writers[1] = (Writer) { .end = &fixture.far, .size = size, .released = &fixture.released };
  writer_start (&writers[0], pairing);
  writer_start (&writers[1], pairing);

  while (!g_atomic_int_get (&readers[0].done) || !g_atomic_int_get (&readers[1].done))
    g_main_context_iteration (NULL, TRUE);
  for (guint i = 0; i < 2; i++)
    {
      zcio_test_wait_until (NULL, g_atomic_int_get (&writers[i].done));
      if (writers[i].thread != NULL)
        g_thread_join (writers[i].thread);
    }
  if (pairing == PAIRING_TWO_CONTEXTS)
    loop_stop (&loop);
  reader_clear (&readers[0]);
  reader_clear (&readers[1]);

  zcio_socket_stream_drain (fixture.near.stream, 0, NULL, &error);
  g_assert_no_error (error);
  zcio_socket_stream_drain (fixture.far.stream, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_atomic_int_get (&fixture.released), ==, n_buffers + 2 * (size / PART));
  assert_few_spurious (&fixture, readers);

  connection_fixture_tear_down (&fixture);
}

/* Requests and responses */

static guint
get_request_size (guint round)
{
  return 1 + (round * 7919) % MAX_REQUEST;
}

typedef struct
{
  ConnectionEnd *end;
  GMainContext *context; /* NULL to block */
  gint n_rounds;
  char *buffer;
} Peer;

static void serve_next (Peer *peer);

static void
on_request (GObject      *object,
            GAsyncResult *result,
            gpointer      user_data)
{
  Peer *peer = user_data;
  guint size = get_request_size (peer->n_rounds);
  gsize n = 0;
  GError *error = NULL;

  g_input_stream_read_all_finish (G_INPUT_STREAM (object), result, &n, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (n, ==, size);
  g_assert_cmpuint (zcio_test_pattern_check (peer->n_rounds, peer->buffer, size), ==, size);
  connection_end_write (peer->end, peer->n_rounds, size, NULL);
  g_atomic_int_inc (&peer->n_rounds);
  serve_next (peer);
}

static void
serve_next (Peer *peer)
{
  if (peer->n_rounds < N_ROUNDS)
    g_input_stream_read_all_async (peer->end->input, peer->buffer, get_request_size (peer->n_rounds),
                                   G_PRIORITY_DEFAULT, NULL, on_request, peer);
}

static gboolean
start_serving (gpointer data)
{
  serve_next (data);
  return G_SOURCE_REMOVE;
}

static gpointer
serve_blocking (gpointer data)
{
  Peer *peer = data;

  for (; peer->n_rounds < N_ROUNDS; peer->n_rounds++)
    {
      connection_end_read (peer->end, peer->n_rounds, get_request_size (peer->n_rounds));
      connection_end_write (peer->end, peer->n_rounds, get_request_size (peer->n_rounds), NULL);
    }

  return NULL;
}

static void
ask (Peer     *peer,
     gboolean  blocking)
{
  guint size = get_request_size (peer->n_rounds);
  GAsyncResult *result = NULL;
  gsize n = 0;
  GError *error = NULL;

  connection_end_write (peer->end, peer->n_rounds, size, NULL);
  if (blocking)
    {
      connection_end_read (peer->end, peer->n_rounds, size);
      return;
    }

  g_input_stream_read_all_async (peer->end->input, peer->buffer, size, G_PRIORITY_DEFAULT, NULL,
                                 zcio_test_store_result, &result);
  /* No timer that would hide a wake-up that was lost: then the test's own time is over. */
  while (result == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_input_stream_read_all_finish (peer->end->input, result, &n, &error);
  g_assert_no_error (error);
  g_object_unref (result);
  g_assert_cmpuint (zcio_test_pattern_check (peer->n_rounds, peer->buffer, size), ==, size);
}

static void
test_rounds (gconstpointer data)
{
  Pairing pairing = GPOINTER_TO_INT (data);
  ConnectionFixture fixture;
  Peer client = { 0 };
  Peer server = { 0 };
  Loop loop = { 0 };
  GThread *thread = NULL;

  g_test_summary ("No wake-up is lost in a thousand rounds of request and response");

  if (!connection_fixture_set_up (&fixture, ZCIO_TEST_FAMILY_IPV4, 0))
    return;

  client = (Peer) { .end = &fixture.near, .buffer = g_malloc (MAX_REQUEST) };
  server = (Peer) { .end = &fixture.far, .buffer = g_malloc (MAX_REQUEST) };

  if (pairing == PAIRING_SAME_LOOP)
    serve_next (&server);
  else if (pairing == PAIRING_TWO_CONTEXTS)
    {
      loop_start (&loop);
      g_main_context_invoke (loop.context, start_serving, &server);
    }
  else
    thread = g_thread_new ("server", serve_blocking, &server);

  for (; client.n_rounds < N_ROUNDS; client.n_rounds++)
    ask (&client, pairing == PAIRING_BLOCKING_READER);

  if (thread != NULL)
    g_thread_join (thread);
  if (pairing == PAIRING_TWO_CONTEXTS)
    loop_stop (&loop);
  g_assert_cmpint (server.n_rounds, ==, N_ROUNDS);
  g_free (client.buffer);
  g_free (server.buffer);

  connection_fixture_tear_down (&fixture);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < N_PAIRINGS; i++)
    {
      g_autofree char *transfer = g_strconcat ("/pairings/transfer/", pairing_names[i], NULL);
      g_autofree char *rounds = g_strconcat ("/pairings/rounds/", pairing_names[i], NULL);

      g_test_add_data_func (transfer, GUINT_TO_POINTER (i), test_transfer);
      g_test_add_data_func (rounds, GUINT_TO_POINTER (i), test_rounds);
    }

  return g_test_run ();
}
