/* test-conformance-close.c - flushing, closing and dropping, as GIO's socket stream has it
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "conformance.h"

#include "test-util.h"

static gboolean
close_async (Conformance   *c,
             GCancellable  *cancellable,
             GError       **error)
{
  GAsyncResult *result = NULL;
  gboolean ok;

  g_output_stream_close_async (c->stream, G_PRIORITY_DEFAULT, cancellable,
                               zcio_test_store_result, &result);
  g_assert_null (result);
  zcio_test_wait_until (NULL, result != NULL);
  ok = g_output_stream_close_finish (c->stream, result, error);
  g_object_unref (result);
  return ok;
}

static gboolean
flush_async (Conformance   *c,
             GCancellable  *cancellable,
             GError       **error)
{
  GAsyncResult *result = NULL;
  gboolean ok;

  g_output_stream_flush_async (c->stream, G_PRIORITY_DEFAULT, cancellable,
                               zcio_test_store_result, &result);
  g_assert_null (result);
  zcio_test_wait_until (NULL, result != NULL);
  ok = g_output_stream_flush_finish (c->stream, result, error);
  g_object_unref (result);
  return ok;
}

/* The socket belongs to others, too. */
static void
assert_socket_is_open (Conformance *c)
{
  g_assert_false (g_socket_is_closed (c->socket));
  g_assert_true (g_socket_is_connected (c->socket));
  conformance_assert_nothing_more (c);
}

static void
test_twice (Conformance *c)
{
  GError *error = NULL;

  g_test_summary ("Closing twice succeeds, and leaves the socket open");

  g_assert_true (g_output_stream_close (c->stream, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_output_stream_is_closed (c->stream));
  g_assert_true (g_output_stream_close (c->stream, NULL, &error));
  g_assert_no_error (error);
  assert_socket_is_open (c);
}

static void
test_twice_async (Conformance *c)
{
  GError *error = NULL;

  g_test_summary ("Closing an open stream succeeds, and a closed one fails, asynchronously");

  g_assert_true (close_async (c, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_output_stream_is_closed (c->stream));
  g_assert_false (g_output_stream_has_pending (c->stream));
  g_assert_false (close_async (c, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  g_assert_true (g_output_stream_close (c->stream, NULL, &error));
  g_assert_no_error (error);
  assert_socket_is_open (c);
}

static void
test_cancelled (Conformance *c)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  gboolean ok;
  GError *error = NULL;

  g_test_summary ("Closing with a cancelled cancellable closes; where there is nothing to wait "
                  "for it succeeds");

  /* What is in flight is waited for only by a stream that has something in flight. */
  if (c->kind == CONFORMANCE_ZCIO_UNREAD)
    zcio_socket_stream_reap (ZCIO_SOCKET_STREAM (c->stream));

  g_cancellable_cancel (cancellable);
  ok = g_output_stream_flush (c->stream, cancellable, &error);
  g_assert_no_error (error);
  g_assert_true (ok);

  ok = g_output_stream_close (c->stream, cancellable, &error);
  g_assert_no_error (error);
  g_assert_true (ok);
  g_assert_true (g_output_stream_is_closed (c->stream));
  assert_socket_is_open (c);
}

static void
test_cancelled_async (Conformance *c)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GError *error = NULL;

  g_test_summary ("Closing with a cancelled cancellable closes, and says that it was cancelled, "
                  "asynchronously");

  g_cancellable_cancel (cancellable);
  g_assert_false (flush_async (c, cancellable, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_assert_false (close_async (c, cancellable, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_assert_true (g_output_stream_is_closed (c->stream));
  assert_socket_is_open (c);
}

static void
test_pending (Conformance *c)
{
  GError *error = NULL;

  g_test_summary ("While an operation is pending the stream cannot be closed");

  g_assert_true (g_output_stream_set_pending (c->stream, NULL));
  g_assert_false (g_output_stream_close (c->stream, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_assert_false (g_output_stream_is_closed (c->stream));
  g_assert_false (close_async (c, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_assert_true (g_output_stream_has_pending (c->stream));
  g_output_stream_clear_pending (c->stream);

  g_assert_true (g_output_stream_close (c->stream, NULL, &error));
  g_assert_no_error (error);
}

static void
test_flush (Conformance *c)
{
  GError *error = NULL;

  g_test_summary ("Flushing does not wait for what was only copied, even if the peer reads nothing");

  if (c->kind == CONFORMANCE_ZCIO_UNREAD)
    zcio_socket_stream_reap (ZCIO_SOCKET_STREAM (c->stream));
  conformance_fill (c);
  g_assert_true (g_output_stream_flush (c->stream, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (flush_async (c, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_output_stream_close (c->stream, NULL, &error));
  g_assert_no_error (error);
  g_assert_false (flush_async (c, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
}

static void
test_reset (Conformance *c)
{
  GError *error = NULL;

  g_test_summary ("After a reset flushing and closing succeed");

  conformance_fill (c);
  conformance_reset (c);
  g_assert_true (flush_async (c, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (close_async (c, NULL, &error));
  g_assert_no_error (error);
}

static void
test_drop (Conformance *c)
{
  gsize filled = conformance_fill (c);

  g_test_summary ("Dropping a stream leaves the socket as it is, and what was written arrives");

  g_clear_object (&c->stream);
  g_clear_object (&c->connection);
  conformance_read (c, 0, filled);
  assert_socket_is_open (c);
}

static void
test_dispose (Conformance *c)
{
  GError *error = NULL;

  g_test_summary ("A stream that was disposed of is closed, and takes nothing");

  g_object_run_dispose (G_OBJECT (c->stream));
  g_assert_true (g_output_stream_is_closed (c->stream));
  g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  g_object_run_dispose (G_OBJECT (c->stream));
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  conformance_add ("/conformance/close/twice", test_twice);
  conformance_add ("/conformance/close/twice-async", test_twice_async);
  conformance_add ("/conformance/close/cancelled", test_cancelled);
  conformance_add ("/conformance/close/cancelled-async", test_cancelled_async);
  conformance_add ("/conformance/close/pending", test_pending);
  conformance_add ("/conformance/close/flush", test_flush);
  conformance_add ("/conformance/close/reset", test_reset);
  conformance_add ("/conformance/close/drop", test_drop);
  conformance_add ("/conformance/close/dispose", test_dispose);

  return g_test_run ();
}
