/* test-splice.c - splicing pipes and other streams, and what splicing has to keep to
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gunixinputstream.h>
#include <string.h>
#include <unistd.h>

#include "splice-fixture.h"

#define MIB ((guint64) 1024 * 1024)
#define SIZE (3 * MIB + 321)

typedef struct
{
  const char *name;
  gboolean is_async;
  SpliceSetup setup;
} Case;

static const Case cases[] = {
  { "always/sync", FALSE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 } },
  { "always/async", TRUE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 } },
  { "small-buffer/async", TRUE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 32768 } },
  { "never/sync", FALSE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_NEVER, 0, 0 } },
  { "never/async", TRUE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_NEVER, 0, 0 } },
  { "unix/sync", FALSE, { ZCIO_TEST_FAMILY_UNIX, ZCIO_ZERO_COPY_MODE_AUTO, 0, 0 } },
  { "unix/async", TRUE, { ZCIO_TEST_FAMILY_UNIX, ZCIO_ZERO_COPY_MODE_AUTO, 0, 0 } },
};

/* A source that gives the pattern, in pieces of all sizes, and then ends or fails; each read
 * waits until the loop has gone round, if there is one to count that.
 */
#define TEST_TYPE_SOURCE (test_source_get_type ())
G_DECLARE_FINAL_TYPE (TestSource, test_source, TEST, SOURCE, GInputStream)

struct _TestSource
{
  GInputStream parent_instance;

  guint64 position;
  guint64 size;
  guint64 seed;
  gsize max_read;
  gboolean fails;
  gboolean fails_to_close;
  guint min_rounds;
  GThread *loop_thread;
  gint rounds;
};

G_DEFINE_FINAL_TYPE (TestSource, test_source, G_TYPE_INPUT_STREAM)

static gssize
test_source_read (GInputStream  *stream,
                  void          *buffer,
                  gsize          count,
                  GCancellable  *cancellable,
                  GError       **error)
{
  TestSource *self = TEST_SOURCE (stream);
  gint64 deadline = zcio_test_get_deadline ();
  gint rounds = g_atomic_int_get (&self->rounds);
  gsize wanted;

  self->max_read = MAX (self->max_read, count);
  if (self->min_rounds > 0)
    {
      g_assert_true (g_thread_self () != self->loop_thread);
      while (g_atomic_int_get (&self->rounds) - rounds < (gint) self->min_rounds)
        {
          g_assert_cmpint (g_get_monotonic_time (), <, deadline);
          g_usleep (100);
        }
    }

  wanted = zcio_test_random_range (&self->seed, 1, 2 * count);
  count = MIN (count, wanted);
  count = MIN (count, self->size - self->position);
  if (count == 0 && self->fails)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "the source's own words");
      return -1;
    }

  zcio_test_pattern_fill (self->position, buffer, count);
  self->position += count;
  return count;
}

static gboolean
test_source_close (GInputStream  *stream,
                   GCancellable  *cancellable,
                   GError       **error)
{
  if (!TEST_SOURCE (stream)->fails_to_close)
    return TRUE;

  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "not closed");
  return FALSE;
}

static void
test_source_class_init (TestSourceClass *klass)
{
  G_INPUT_STREAM_CLASS (klass)->read_fn = test_source_read;
  G_INPUT_STREAM_CLASS (klass)->close_fn = test_source_close;
}

static void
test_source_init (TestSource *self)
{
  self->seed = zcio_test_get_seed ();
  self->size = SIZE;
}

static void
test_any_source (gconstpointer data)
{
  const Case *test_case = data;
  SpliceFixture fixture;
  g_autoptr (TestSource) source = g_object_new (TEST_TYPE_SOURCE, NULL);
  g_autoptr (GError) error = NULL;

  g_test_summary ("A source of no known kind is read in large pieces, and each byte arrives");

  if (!splice_fixture_set_up (&fixture, &test_case->setup))
    return;

  g_assert_cmpint (splice_run (&fixture, test_case->is_async, G_INPUT_STREAM (source), 0, NULL, &error),
                   ==, SIZE);
  g_assert_no_error (error);
  g_assert_cmpuint (source->max_read, >=, 256 * 1024);
  splice_assert_statistics (fixture.stream, SIZE, 0);

  if (test_case->setup.mode == ZCIO_ZERO_COPY_MODE_ALWAYS)
    {
      g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (fixture.stream);

      g_assert_cmpuint (statistics->bytes_zero_copied + statistics->bytes_copied_by_kernel, ==, SIZE);
    }

  splice_fixture_tear_down (&fixture, SIZE, NULL);
}

/* A filter over a file has a position of its own: the descriptor below must be left alone. */
static void
test_filters (gconstpointer data)
{
  const Case *test_case = data;
  SpliceFixture fixture;
  int fd = splice_make_file (SIZE);
  g_autoptr (GInputStream) base = g_unix_input_stream_new (fd, TRUE);
  g_autoptr (GInputStream) source = g_buffered_input_stream_new (base);
  g_autoptr (GError) error = NULL;

  g_test_summary ("What a filter has read ahead is not lost");

  if (!splice_fixture_set_up (&fixture, &test_case->setup))
    return;

  g_assert_cmpint (g_buffered_input_stream_fill (G_BUFFERED_INPUT_STREAM (source), 4096, NULL, &error),
                   >, 0);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, SIZE);
  g_assert_no_error (error);
  splice_fixture_tear_down (&fixture, SIZE, NULL);
}

static void
test_source_fails (gconstpointer data)
{
  const Case *test_case = data;
  SpliceFixture fixture;
  g_autoptr (TestSource) source = g_object_new (TEST_TYPE_SOURCE, NULL);
  g_autoptr (GError) error = NULL;

  g_test_summary ("An error of the source is the error of the splice; what came before it is sent");

  if (!splice_fixture_set_up (&fixture, &test_case->setup))
    return;

  source->fails = TRUE;
  source->fails_to_close = TRUE;
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, G_INPUT_STREAM (source),
                               G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE | G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET,
                               NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_assert_cmpstr (error->message, ==, "the source's own words");
  g_assert_true (g_input_stream_is_closed (G_INPUT_STREAM (source)));
  g_assert_true (g_output_stream_is_closed (G_OUTPUT_STREAM (fixture.stream)));
  g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (fixture.stream)));
  splice_fixture_tear_down (&fixture, SIZE, NULL);
}

static void
test_flags (gconstpointer data)
{
  const Case *test_case = data;

  g_test_summary ("Source and target are closed as the flags say, and everything is released by then");

  for (guint flags = 0; flags < 4; flags++)
    {
      for (guint kind = 0; kind < 2; kind++)
        {
          SpliceFixture fixture;
          g_autoptr (GInputStream) source = NULL;
          g_autoptr (GError) error = NULL;
          guint64 sends;

          if (!splice_fixture_set_up (&fixture, &test_case->setup))
            return;

          if (kind == 0)
            source = g_unix_input_stream_new (splice_make_file (SIZE), TRUE);
          else
            source = g_object_new (TEST_TYPE_SOURCE, NULL);

          g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, flags, NULL, &error), ==, SIZE);
          g_assert_no_error (error);
          g_assert_cmpint (g_input_stream_is_closed (source), ==,
                           (flags & G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE) != 0);
          g_assert_cmpint (g_output_stream_is_closed (G_OUTPUT_STREAM (fixture.stream)), ==,
                           (flags & G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET) != 0);
          g_assert_false (g_input_stream_has_pending (source));
          g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (fixture.stream)));

          g_object_get (fixture.stream, "sends-in-flight", &sends, NULL);
          if (flags & G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET)
            g_assert_cmpuint (sends, ==, 0);

          splice_fixture_tear_down (&fixture, SIZE, NULL);
        }
    }
}

static void
test_refused (gconstpointer data)
{
  const Case *test_case = data;
  SpliceFixture fixture;
  g_autoptr (GInputStream) file = g_unix_input_stream_new (splice_make_file (SIZE), TRUE);
  g_autoptr (GError) error = NULL;

  g_test_summary ("A busy or closed source is refused in GIO's words, and stays as it is");

  if (!splice_fixture_set_up (&fixture, &test_case->setup))
    return;

  g_assert_true (g_input_stream_set_pending (file, NULL));
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, file, 0, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
  g_clear_error (&error);
  g_assert_true (g_input_stream_has_pending (file));
  g_input_stream_clear_pending (file);

  g_assert_true (g_input_stream_close (file, NULL, NULL));
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, file, 0, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);

  g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (fixture.stream)));
  splice_assert_statistics (fixture.stream, 0, 0);
  splice_fixture_tear_down (&fixture, 0, NULL);
}

/* Pipes */

typedef struct
{
  int fd;
  guint64 size;
  guint64 pause_at;
  gint go_on;
} PipeWriter;

static gpointer
write_pipe (gpointer data)
{
  PipeWriter *writer = data;
  guint64 position = 0;
  guint64 seed = 1;

  while (position < writer->size)
    {
      guint8 part[10000];
      gsize wanted = zcio_test_random_range (&seed, 1, sizeof part);
      gsize size = MIN (wanted, writer->size - position);
      gssize n;

      if (writer->pause_at > 0 && position >= writer->pause_at)
        {
          while (!g_atomic_int_get (&writer->go_on))
            g_usleep (500);
        }

      zcio_test_pattern_fill (position, part, size);
      n = write (writer->fd, part, size);
      g_assert_cmpint (n, >, 0);
      position += n;
    }

  close (writer->fd);
  return NULL;
}

static GInputStream *
make_pipe (int *write_fd)
{
  int fds[2];

  g_assert_cmpint (pipe2 (fds, O_CLOEXEC), ==, 0);
  *write_fd = fds[1];
  return g_unix_input_stream_new (fds[0], TRUE);
}

static void
test_pipe (gconstpointer data)
{
  const Case *test_case = data;
  SpliceFixture fixture;
  PipeWriter writer = { .size = SIZE };
  g_autoptr (GInputStream) source = make_pipe (&writer.fd);
  g_autoptr (GError) error = NULL;
  GThread *thread;

  g_test_summary ("What is written to a pipe arrives, until its end is closed, and is not read");

  if (!splice_fixture_set_up (&fixture, &test_case->setup))
    return;

  thread = g_thread_new ("writer", write_pipe, &writer);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, SIZE);
  g_assert_no_error (error);
  g_thread_join (thread);
  splice_assert_statistics (fixture.stream, SIZE, SIZE);
  splice_fixture_tear_down (&fixture, SIZE, NULL);
}

static gboolean
cancel (gpointer data)
{
  g_cancellable_cancel (data);
  return G_SOURCE_REMOVE;
}

static gpointer
cancel_when_received (gpointer data)
{
  gpointer *pair = data;

  zcio_test_reader_wait_received (pair[0], 1000);
  g_cancellable_cancel (pair[1]);
  return NULL;
}

/* The pipe holds nothing more, and nobody closes it. */
static void
test_pipe_cancel (gconstpointer data)
{
  const Case *test_case = data;
  SpliceFixture fixture;
  int write_fd;
  g_autoptr (GInputStream) source = make_pipe (&write_fd);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  guint8 bytes[1000];
  gpointer pair[2];
  GThread *thread;

  g_test_summary ("Waiting for a silent pipe can be cancelled, what it held is sent at once");

  if (!splice_fixture_set_up (&fixture, &test_case->setup))
    return;

  zcio_test_pattern_fill (0, bytes, sizeof bytes);
  g_assert_cmpint (write (write_fd, bytes, sizeof bytes), ==, sizeof bytes);
  pair[0] = fixture.reader;
  pair[1] = cancellable;
  thread = g_thread_new ("canceller", cancel_when_received, pair);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, cancellable, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_thread_join (thread);
  close (write_fd);
  splice_assert_statistics (fixture.stream, sizeof bytes, sizeof bytes);
  splice_fixture_tear_down (&fixture, sizeof bytes, NULL);
}

/* Responsiveness */

static gboolean
count_round (gpointer data)
{
  g_atomic_int_inc (&TEST_SOURCE (data)->rounds);
  return G_SOURCE_CONTINUE;
}

static void
test_slow_source (void)
{
  SpliceSetup setup = { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 };
  SpliceFixture fixture;
  g_autoptr (TestSource) source = g_object_new (TEST_TYPE_SOURCE, NULL);
  g_autoptr (GError) error = NULL;
  guint id;

  g_test_summary ("A source that does not go on before the loop has gone round twenty times, in each "
                  "read, is not in the way of the loop");

  if (!splice_fixture_set_up (&fixture, &setup))
    return;

  source->min_rounds = 20;
  source->loop_thread = g_thread_self ();
  id = g_idle_add (count_round, source);
  g_assert_cmpint (splice_run (&fixture, TRUE, G_INPUT_STREAM (source), 0, NULL, &error), ==, SIZE);
  g_assert_no_error (error);
  g_source_remove (id);
  splice_fixture_tear_down (&fixture, SIZE, NULL);
}

/* Somebody is idle for as long as the splice waits for a silent pipe. */
static void
test_silent_pipe_does_not_spin (void)
{
  SpliceSetup setup = { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 };
  SpliceFixture fixture;
  int write_fd;
  g_autoptr (GInputStream) source = make_pipe (&write_fd);
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_test_summary ("Waiting for a pipe, the loop sleeps");

  if (!splice_fixture_set_up (&fixture, &setup))
    return;

  g_output_stream_splice_async (G_OUTPUT_STREAM (fixture.stream), source, 0, G_PRIORITY_DEFAULT,
                                cancellable, zcio_test_store_result, &result);
  g_assert_cmpuint (zcio_test_run_for (NULL, 100), <=, 10);
  g_assert_null (result);
  g_idle_add (cancel, cancellable);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_cmpint (g_output_stream_splice_finish (G_OUTPUT_STREAM (fixture.stream), result, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  close (write_fd);
  g_clear_object (&result);
  splice_fixture_tear_down (&fixture, 0, NULL);
}

static void
add_case (const char   *name,
          const Case   *test_case,
          GTestDataFunc function)
{
  g_autofree char *path = g_strdup_printf ("/zcio/splice/%s/%s", name, test_case->name);

  g_test_add_data_func (path, test_case, function);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      add_case ("any-source", &cases[i], test_any_source);
      add_case ("filters", &cases[i], test_filters);
      add_case ("source-fails", &cases[i], test_source_fails);
      add_case ("flags", &cases[i], test_flags);
      add_case ("refused", &cases[i], test_refused);
      add_case ("pipe", &cases[i], test_pipe);
      add_case ("pipe-cancel", &cases[i], test_pipe_cancel);
    }

  g_test_add_func ("/zcio/splice/slow-source", test_slow_source);
  g_test_add_func ("/zcio/splice/silent-pipe", test_silent_pipe_does_not_spin);

  return g_test_run ();
}
