/* test-conformance-async.c - the asynchronous calls, as GIO's socket stream has them
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "conformance.h"

#include "test-util.h"

#define LARGE (4 * 1024 * 1024)

static gssize
write_finish (Conformance   *c,
              GAsyncResult **result,
              GError       **error)
{
  gssize n;

  zcio_test_wait_until (NULL, *result != NULL);
  n = g_output_stream_write_finish (c->stream, *result, error);
  g_clear_object (result);
  return n;
}

static gboolean
writev_finish (Conformance   *c,
               GAsyncResult **result,
               gsize         *written,
               GError       **error)
{
  gboolean ok;

  zcio_test_wait_until (NULL, *result != NULL);
  ok = g_output_stream_writev_finish (c->stream, *result, written, error);
  g_clear_object (result);
  return ok;
}

static void
test_write (Conformance *c)
{
  g_autofree guint8 *data = g_malloc (LARGE);
  GAsyncResult *result = NULL;
  gssize n;
  GError *error = NULL;

  g_test_summary ("A write is short where the socket takes no more; it never completes within "
                  "the call, and the pending flag is set until its callback");

  zcio_test_pattern_fill (0, data, LARGE);
  g_output_stream_write_async (c->stream, data, LARGE, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_assert_null (result);
  g_assert_true (g_output_stream_has_pending (c->stream));
  n = write_finish (c, &result, &error);
  g_assert_no_error (error);
  g_assert_cmpint (n, >, 0);
  g_assert_cmpint (n, <, LARGE);
  g_assert_false (g_output_stream_has_pending (c->stream));
  conformance_read (c, 0, n);

  g_output_stream_write_async (c->stream, data, 0, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_assert_cmpint (write_finish (c, &result, &error), ==, 0);
  g_assert_no_error (error);
  conformance_assert_nothing_more (c);
}

static void
test_waits (Conformance *c)
{
  gsize filled = conformance_fill (c);
  g_autofree guint8 *data = g_malloc (100);
  GAsyncResult *result = NULL;
  GError *error = NULL;

  g_test_summary ("A write to a full socket completes when the peer has read, and not before");

  zcio_test_pattern_fill (filled, data, 100);
  g_output_stream_write_async (c->stream, data, 100, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  zcio_test_run_for (NULL, 50);
  g_assert_null (result);
  conformance_read (c, 0, filled);
  g_assert_cmpint (write_finish (c, &result, &error), ==, 100);
  g_assert_no_error (error);
  conformance_read (c, filled, 100);
  conformance_assert_nothing_more (c);
}

static void
test_writev (Conformance *c)
{
  const gsize n = 1500;
  g_autofree guint8 *data = g_malloc (LARGE);
  g_autofree GOutputVector *many = g_new (GOutputVector, n);
  GOutputVector vectors[3] = { { data, 10 }, { NULL, 0 }, { data + 10, LARGE - 10 } };
  GAsyncResult *result = NULL;
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("Vectors may be short, empty, none and more than one system call takes");

  zcio_test_pattern_fill (0, data, LARGE);
  g_output_stream_writev_async (c->stream, vectors, 3, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &result);
  g_assert_true (writev_finish (c, &result, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, >, 10);
  g_assert_cmpuint (written, <, LARGE);
  conformance_read (c, 0, written);

  g_output_stream_writev_async (c->stream, vectors, 0, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &result);
  g_assert_true (writev_finish (c, &result, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);

  g_output_stream_writev_async (c->stream, vectors + 1, 1, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &result);
  g_assert_true (writev_finish (c, &result, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);

  for (gsize i = 0; i < n; i++)
    many[i] = (GOutputVector) { data + 7 * i, 7 };
  g_output_stream_writev_async (c->stream, many, n, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &result);
  g_assert_true (writev_finish (c, &result, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1024 * 7);
  conformance_read (c, 0, written);
  conformance_assert_nothing_more (c);
}

static void
test_too_large (Conformance *c)
{
  guint8 byte = 0;
  GOutputVector bad = { &byte, G_MAXSIZE };
  GAsyncResult *result = NULL;
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("Sizes beyond G_MAXSSIZE are refused, and nothing is sent");

  g_output_stream_write_async (c->stream, &byte, G_MAXSIZE, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_assert_cmpint (write_finish (c, &result, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_INVALID_ARGUMENT);

  g_output_stream_writev_async (c->stream, &bad, 1, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &result);
  g_assert_false (writev_finish (c, &result, &written, &error));
  conformance_assert_same_error (c, &error);
  g_assert_cmpuint (written, ==, 0);
  g_assert_false (g_output_stream_has_pending (c->stream));
  conformance_assert_nothing_more (c);
}

static void
test_all (Conformance *c)
{
  g_autofree guint8 *data = g_malloc (LARGE);
  GOutputVector vectors[3] = { { data, 1 }, { data + 1, LARGE / 2 }, { data + 1 + LARGE / 2, 99 } };
  GAsyncResult *result = NULL;
  ZcioTestReader *reader;
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("The calls that write all do so while the peer reads, in order");

  if (c->to_skip > 0)
    conformance_read (c, 0, 0);
  reader = zcio_test_reader_new (c->peer, 0, ZCIO_TEST_READER_DEFAULT);

  zcio_test_pattern_fill (0, data, LARGE);
  g_output_stream_write_all_async (c->stream, data, LARGE, G_PRIORITY_DEFAULT, NULL,
                                   zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_true (g_output_stream_write_all_finish (c->stream, result, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, LARGE);
  g_clear_object (&result);

  zcio_test_pattern_fill (LARGE, data, LARGE);
  g_output_stream_writev_all_async (c->stream, vectors, 3, G_PRIORITY_DEFAULT, NULL,
                                    zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_true (g_output_stream_writev_all_finish (c->stream, result, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 100 + LARGE / 2);
  g_clear_object (&result);

  g_socket_shutdown (c->socket, FALSE, TRUE, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, LARGE + 100 + LARGE / 2);
}

static void
test_cancelled (Conformance *c)
{
  g_autoptr (GCancellable) before = g_cancellable_new ();
  g_autoptr (GCancellable) during = g_cancellable_new ();
  GOutputVector vector = { "x", 1 };
  GAsyncResult *result = NULL;
  gsize written = 77;
  gsize filled;
  GError *error = NULL;

  g_test_summary ("A write that is cancelled before, or while it waits, sends nothing");

  g_cancellable_cancel (before);
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, before,
                               zcio_test_store_result, &result);
  g_assert_cmpint (write_finish (c, &result, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_output_stream_writev_async (c->stream, &vector, 1, G_PRIORITY_DEFAULT, before,
                                zcio_test_store_result, &result);
  g_assert_false (writev_finish (c, &result, &written, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (written, ==, 0);

  filled = conformance_fill (c);
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, during,
                               zcio_test_store_result, &result);
  zcio_test_run_for (NULL, 20);
  g_assert_null (result);
  g_cancellable_cancel (during);
  g_assert_null (result);
  g_assert_cmpint (write_finish (c, &result, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);

  conformance_read (c, 0, filled);
  conformance_assert_nothing_more (c);
}

static void
test_cancelled_after (Conformance *c)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GOutputVector vector = { "x", 1 };
  GAsyncResult *result = NULL;
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("A write that was cancelled when its bytes were accepted has written them");

  g_output_stream_writev_async (c->stream, &vector, 1, G_PRIORITY_DEFAULT, cancellable,
                                zcio_test_store_result, &result);
  g_cancellable_cancel (cancellable);
  g_assert_true (writev_finish (c, &result, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1);
  g_assert_cmpuint (conformance_get_unread (c), ==, c->to_skip + 1);
}

static void
test_cancelled_partial (Conformance *c)
{
  g_autofree guint8 *data = g_malloc (LARGE);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GAsyncResult *result = NULL;
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("A write that is cancelled after some of it went tells how much, exactly");

  zcio_test_pattern_fill (0, data, LARGE);
  g_output_stream_write_all_async (c->stream, data, LARGE, G_PRIORITY_DEFAULT, cancellable,
                                   zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, conformance_get_unread (c) > c->to_skip);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_cancellable_cancel (cancellable);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_false (g_output_stream_write_all_finish (c->stream, result, &written, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_clear_object (&result);
  g_assert_cmpuint (written, >, 0);
  g_assert_cmpuint (written, <, LARGE);
  conformance_read (c, 0, written);
  conformance_assert_nothing_more (c);
}

static void
test_timed_out (Conformance *c)
{
  gsize filled = conformance_fill (c);
  GOutputVector vector = { "x", 1 };
  GAsyncResult *result = NULL;
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("A write that waits fails after the timeout of the socket, and the next one "
                  "is as good as new");

  g_socket_set_timeout (c->socket, 1);
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_assert_cmpint (write_finish (c, &result, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_TIMED_OUT);
  g_output_stream_writev_async (c->stream, &vector, 1, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &result);
  g_assert_false (writev_finish (c, &result, &written, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_TIMED_OUT);
  g_assert_cmpuint (written, ==, 0);

  g_socket_set_timeout (c->socket, 3600);
  conformance_read (c, 0, filled);
  g_output_stream_write_async (c->stream, "", 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_assert_cmpint (write_finish (c, &result, &error), ==, 1);
  g_assert_no_error (error);
}

static void
test_pending (Conformance *c)
{
  gsize filled = conformance_fill (c);
  GOutputVector vector = { "x", 1 };
  GAsyncResult *first = NULL;
  GAsyncResult *second = NULL;
  gsize written = 77;
  guint8 byte;
  GError *error = NULL;

  g_test_summary ("While an operation is pending others are refused, and the first goes on");

  zcio_test_pattern_fill (filled, &byte, 1);
  g_output_stream_write_async (c->stream, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &first);
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &second);
  g_assert_cmpint (write_finish (c, &second, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_assert_true (g_output_stream_has_pending (c->stream));

  g_output_stream_flush_async (c->stream, G_PRIORITY_DEFAULT, NULL, zcio_test_store_result, &second);
  zcio_test_wait_until (NULL, second != NULL);
  g_assert_false (g_output_stream_flush_finish (c->stream, second, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_clear_object (&second);

  g_output_stream_close_async (c->stream, G_PRIORITY_DEFAULT, NULL, zcio_test_store_result, &second);
  zcio_test_wait_until (NULL, second != NULL);
  g_assert_false (g_output_stream_close_finish (c->stream, second, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_clear_object (&second);

  g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_assert_true (g_output_stream_has_pending (c->stream));

  g_output_stream_writev_async (c->stream, &vector, 1, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &second);
  g_assert_false (writev_finish (c, &second, &written, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_assert_cmpuint (written, ==, 0);
  /* On purpose not as in GIO, where finishing the refused operation clears the flag of the
   * first one.
   */
  if (!conformance_is_gio (c))
    g_assert_true (g_output_stream_has_pending (c->stream));

  g_assert_null (first);
  conformance_read (c, 0, filled);
  g_assert_cmpint (write_finish (c, &first, &error), ==, 1);
  g_assert_no_error (error);
  g_assert_false (g_output_stream_has_pending (c->stream));
  conformance_read (c, filled, 1);
  conformance_assert_nothing_more (c);
}

static void
test_writev_pending (Conformance *c)
{
  gsize filled = conformance_fill (c);
  guint8 byte;
  GOutputVector vector = { &byte, 1 };
  GAsyncResult *first = NULL;
  GAsyncResult *second = NULL;
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("An asynchronous writev sets the pending flag, and clears it when it ends");

  zcio_test_pattern_fill (filled, &byte, 1);
  g_output_stream_writev_async (c->stream, &vector, 1, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &first);
  g_assert_true (g_output_stream_has_pending (c->stream));
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &second);
  g_assert_cmpint (write_finish (c, &second, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);

  conformance_read (c, 0, filled);
  g_assert_true (writev_finish (c, &first, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1);
  g_assert_false (g_output_stream_has_pending (c->stream));
  conformance_read (c, filled, 1);
}

static void
test_closed (Conformance *c)
{
  GOutputVector vector = { "x", 1 };
  GAsyncResult *result = NULL;
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("Neither a closed socket nor a closed stream takes anything");

  conformance_close_socket (c);
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_assert_cmpint (write_finish (c, &result, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  g_output_stream_writev_async (c->stream, &vector, 1, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &result);
  g_assert_false (writev_finish (c, &result, &written, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  g_assert_cmpuint (written, ==, 0);

  g_assert_true (g_output_stream_close (c->stream, NULL, &error));
  g_assert_no_error (error);
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_assert_cmpint (write_finish (c, &result, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  g_output_stream_writev_async (c->stream, &vector, 1, G_PRIORITY_DEFAULT, NULL,
                                zcio_test_store_result, &result);
  g_assert_false (writev_finish (c, &result, &written, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
}

static void
test_reset_during (Conformance *c)
{
  GAsyncResult *result = NULL;
  GError *error = NULL;

  g_test_summary ("A write that waits fails when the connection is reset");

  conformance_fill (c);
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  zcio_test_run_for (NULL, 10);
  conformance_reset (c);
  g_assert_cmpint (write_finish (c, &result, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CONNECTION_CLOSED);
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_assert_cmpint (write_finish (c, &result, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_BROKEN_PIPE);
}

static void
test_socket_closed_during (Conformance *c)
{
  GAsyncResult *result = NULL;
  GError *error = NULL;

  g_test_summary ("A write that waits fails when the socket is closed under it");

  conformance_fill (c);
  g_output_stream_write_async (c->stream, "x", 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  zcio_test_run_for (NULL, 10);
  conformance_close_socket (c);
  g_assert_cmpint (write_finish (c, &result, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
}

static void
test_context (Conformance *c)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  gsize filled = conformance_fill (c);
  GAsyncResult *result = NULL;
  guint8 byte;
  GError *error = NULL;

  g_test_summary ("An operation completes in the context that was the thread's default when it "
                  "was started, and needs no other");

  zcio_test_pattern_fill (filled, &byte, 1);
  g_main_context_push_thread_default (context);
  g_output_stream_write_async (c->stream, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_main_context_pop_thread_default (context);

  conformance_read (c, 0, filled);
  zcio_test_run_for (NULL, 20);
  g_assert_null (result);
  zcio_test_wait_until (context, result != NULL);
  g_assert_cmpint (g_output_stream_write_finish (c->stream, result, &error), ==, 1);
  g_assert_no_error (error);
  g_clear_object (&result);
  conformance_read (c, filled, 1);
}

static void
test_dropped (Conformance *c)
{
  gsize filled = conformance_fill (c);
  GAsyncResult *result = NULL;
  guint8 byte;
  GError *error = NULL;

  g_test_summary ("An operation keeps its stream alive");

  zcio_test_pattern_fill (filled, &byte, 1);
  g_output_stream_write_async (c->stream, &byte, 1, G_PRIORITY_DEFAULT, NULL,
                               zcio_test_store_result, &result);
  g_object_unref (c->stream);
  conformance_read (c, 0, filled);
  zcio_test_wait_until (NULL, result != NULL);
  c->stream = G_OUTPUT_STREAM (g_async_result_get_source_object (result));
  g_assert_cmpint (g_output_stream_write_finish (c->stream, result, &error), ==, 1);
  g_assert_no_error (error);
  g_clear_object (&result);
}

#define N_STREAMS 3

static void
note_order (GObject      *source,
            GAsyncResult *result,
            gpointer      data)
{
  GPtrArray *order = data;

  g_ptr_array_add (order, source);
}

/* GIO's own stream ignores the priority; so this is not for both. */
static void
test_priority (void)
{
  static const int priorities[N_STREAMS] = { G_PRIORITY_LOW, G_PRIORITY_HIGH, G_PRIORITY_DEFAULT };
  static const guint expected[N_STREAMS] = { 1, 2, 0 };
  g_autoptr (GPtrArray) order = g_ptr_array_new ();
  ZcioSocketStream *streams[N_STREAMS];
  GSocket *sockets[N_STREAMS];
  GSocket *peers[N_STREAMS];

  g_test_summary ("Of operations that are ready at the same time that of the highest priority "
                  "completes first");

  for (guint i = 0; i < N_STREAMS; i++)
    {
      zcio_test_socket_pair (ZCIO_TEST_FAMILY_UNIX, 0, &sockets[i], &peers[i]);
      streams[i] = zcio_socket_stream_new (sockets[i]);
      g_output_stream_write_async (G_OUTPUT_STREAM (streams[i]), "x", 1, priorities[i], NULL,
                                   note_order, order);
    }

  zcio_test_wait_until (NULL, order->len == N_STREAMS);
  for (guint i = 0; i < N_STREAMS; i++)
    g_assert_true (order->pdata[i] == streams[expected[i]]);

  g_ptr_array_set_size (order, 0);
  for (guint i = 0; i < N_STREAMS; i++)
    zcio_socket_stream_drain_async (streams[i], 0, priorities[i], NULL, note_order, order);
  zcio_test_wait_until (NULL, order->len == N_STREAMS);
  for (guint i = 0; i < N_STREAMS; i++)
    g_assert_true (order->pdata[i] == streams[expected[i]]);

  for (guint i = 0; i < N_STREAMS; i++)
    {
      g_object_unref (streams[i]);
      g_object_unref (sockets[i]);
      g_object_unref (peers[i]);
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  conformance_add ("/conformance/async/write", test_write);
  conformance_add ("/conformance/async/waits", test_waits);
  conformance_add ("/conformance/async/writev", test_writev);
  conformance_add ("/conformance/async/too-large", test_too_large);
  conformance_add ("/conformance/async/all", test_all);
  conformance_add ("/conformance/async/cancelled", test_cancelled);
  conformance_add ("/conformance/async/cancelled-after", test_cancelled_after);
  conformance_add ("/conformance/async/cancelled-partial", test_cancelled_partial);
  conformance_add ("/conformance/async/timed-out", test_timed_out);
  conformance_add ("/conformance/async/pending", test_pending);
  conformance_add ("/conformance/async/writev-pending", test_writev_pending);
  conformance_add ("/conformance/async/closed", test_closed);
  conformance_add ("/conformance/async/reset-during", test_reset_during);
  conformance_add ("/conformance/async/socket-closed-during", test_socket_closed_during);
  conformance_add ("/conformance/async/context", test_context);
  conformance_add ("/conformance/async/dropped", test_dropped);
  g_test_add_func ("/conformance/async/priority", test_priority);

  return g_test_run ();
}
