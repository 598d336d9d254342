/* test-conformance-pollable.c - GPollableOutputStream, as GIO's socket stream has it
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "conformance.h"

#include <gio/gfiledescriptorbased.h>

#include "test-util.h"

typedef struct
{
  guint calls;
  gboolean again;
  GObject *stream;
} Fired;

static gboolean
on_writable (GObject  *stream,
             gpointer  user_data)
{
  Fired *fired = user_data;

  fired->calls++;
  fired->stream = stream;
  return fired->again;
}

static GPollableOutputStream *
get_pollable (Conformance *c)
{
  return G_POLLABLE_OUTPUT_STREAM (c->stream);
}

static GSource *
attach (Conformance  *c,
        GCancellable *cancellable,
        GMainContext *context,
        int           priority,
        Fired        *fired)
{
  GSource *source = g_pollable_output_stream_create_source (get_pollable (c), cancellable);

  g_source_set_callback (source, (GSourceFunc) (GCallback) on_writable, fired, NULL);
  g_source_set_priority (source, priority);
  g_source_attach (source, context);
  return source;
}

static void
detach (GSource *source)
{
  g_source_destroy (source);
  g_source_unref (source);
}

static void
test_is_writable (Conformance *c)
{
  gsize filled;

  g_test_summary ("A stream is writable unless its socket is full, and so when it has an error "
                  "to tell");

  g_assert_true (g_pollable_output_stream_can_poll (get_pollable (c)));
  g_assert_true (g_pollable_output_stream_is_writable (get_pollable (c)));
  g_assert_cmpint (g_file_descriptor_based_get_fd (G_FILE_DESCRIPTOR_BASED (c->stream)), ==,
                   g_socket_get_fd (c->socket));

  filled = conformance_fill (c);
  g_assert_false (g_pollable_output_stream_is_writable (get_pollable (c)));
  conformance_read (c, 0, filled);
  zcio_test_wait_until (NULL, g_pollable_output_stream_is_writable (get_pollable (c)));

  conformance_fill (c);
  conformance_reset (c);
  g_assert_true (g_pollable_output_stream_is_writable (get_pollable (c)));
}

static void
test_nonblocking (Conformance *c)
{
  GOutputVector vector = { "x", 1 };
  GOutputVector empty = { NULL, 0 };
  gsize written = 77;
  gsize filled;
  GError *error = NULL;

  g_test_summary ("What would block says so: a write by an error, a writev without one");

  g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", 0, NULL, &error), ==, 0);
  g_assert_no_error (error);
  g_assert_cmpint (g_pollable_output_stream_writev_nonblocking (get_pollable (c), NULL, 0, &written, NULL, &error),
                   ==, G_POLLABLE_RETURN_OK);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);
  written = 77;
  g_assert_cmpint (g_pollable_output_stream_writev_nonblocking (get_pollable (c), &empty, 1, &written, NULL, &error),
                   ==, G_POLLABLE_RETURN_OK);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);

  filled = conformance_fill (c);
  g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_WOULD_BLOCK);
  written = 77;
  g_assert_cmpint (g_pollable_output_stream_writev_nonblocking (get_pollable (c), &vector, 1, &written, NULL, &error),
                   ==, G_POLLABLE_RETURN_WOULD_BLOCK);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);
  conformance_read (c, 0, filled);
  conformance_assert_nothing_more (c);
}

static void
test_nonblocking_errors (Conformance *c)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GOutputVector vector = { "x", 1 };
  GOutputVector bad = { "x", G_MAXSIZE };
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("Calls that do not block fail as the others do");

  g_cancellable_cancel (cancellable);
  g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", 1, cancellable, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_assert_cmpint (g_pollable_output_stream_writev_nonblocking (get_pollable (c), &vector, 1, &written, cancellable, &error),
                   ==, G_POLLABLE_RETURN_FAILED);
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (written, ==, 0);
  /* The kernel is given a size that no memory has; Valgrind would complain, rightly. */
  if (g_getenv ("ZCIO_TEST_VALGRIND") == NULL)
    {
      g_assert_cmpint (g_pollable_output_stream_writev_nonblocking (get_pollable (c), &bad, 1, &written, NULL, &error),
                       ==, G_POLLABLE_RETURN_FAILED);
      conformance_assert_same_error (c, &error);
      g_assert_cmpuint (written, ==, 0);
    }
  g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", G_MAXSIZE, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_INVALID_ARGUMENT);
  conformance_assert_nothing_more (c);

  /* On purpose not as in GIO, which does not look at the stream here and writes. */
  if (!conformance_is_gio (c))
    {
      g_output_stream_close (c->stream, NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", 1, NULL, &error), ==, -1);
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
      g_assert_cmpstr (error->message, ==, "Stream is already closed");
      g_clear_error (&error);
    }

  conformance_close_socket (c);
  if (conformance_is_gio (c))
    {
      g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", 1, NULL, &error), ==, -1);
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
      g_clear_error (&error);
    }
  written = 77;
  g_assert_cmpint (g_pollable_output_stream_writev_nonblocking (get_pollable (c), &vector, 1, &written, NULL, &error),
                   ==, G_POLLABLE_RETURN_FAILED);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_cmpuint (written, ==, 0);
}

static void
test_reset (Conformance *c)
{
  GOutputVector vector = { "x", 1 };
  GError *error = NULL;

  g_test_summary ("After a reset they fail, with no SIGPIPE");

  conformance_reset (c);
  g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CONNECTION_CLOSED);
  g_assert_cmpint (g_pollable_output_stream_writev_nonblocking (get_pollable (c), &vector, 1, NULL, NULL, &error),
                   ==, G_POLLABLE_RETURN_FAILED);
  conformance_assert_error (c, &error, G_IO_ERROR_BROKEN_PIPE);
}

static void
test_source (Conformance *c)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  Fired fired = { .again = G_SOURCE_CONTINUE };
  GSource *source;
  gsize filled;

  g_test_summary ("A source is dispatched while the stream is writable; not while it is full, and "
                  "then the loop does not turn either");

  source = attach (c, NULL, context, G_PRIORITY_DEFAULT, &fired);
  zcio_test_wait_until (context, fired.calls >= 3);
  g_assert_true (fired.stream == G_OBJECT (c->stream));

  filled = conformance_fill (c);
  while (g_main_context_iteration (context, FALSE) && fired.calls < 1000)
    ;
  fired.calls = 0;
  g_assert_cmpuint (zcio_test_run_for (context, 100), <, 20);
  g_assert_cmpuint (fired.calls, ==, 0);

  conformance_read (c, 0, filled);
  zcio_test_wait_until (context, fired.calls > 0);
  detach (source);
}

static void
test_order (Conformance *c)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  Fired high = { .again = G_SOURCE_REMOVE };
  Fired low = { .again = G_SOURCE_REMOVE };
  GSource *low_source = attach (c, NULL, context, G_PRIORITY_LOW, &low);
  GSource *high_source = attach (c, NULL, context, G_PRIORITY_HIGH, &high);

  g_test_summary ("Of two sources that of higher priority is first, and each that returns "
                  "G_SOURCE_REMOVE is gone");

  zcio_test_wait_until (context, high.calls > 0);
  g_assert_cmpuint (low.calls, ==, 0);
  zcio_test_wait_until (context, low.calls > 0);
  zcio_test_run_for (context, 20);
  g_assert_cmpuint (high.calls, ==, 1);
  g_assert_cmpuint (low.calls, ==, 1);
  g_assert_true (g_source_is_destroyed (low_source));
  g_assert_true (g_source_is_destroyed (high_source));
  g_source_unref (low_source);
  g_source_unref (high_source);
}

static void
test_cancelled (Conformance *c)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Fired fired = { .again = G_SOURCE_REMOVE };
  GSource *source;

  g_test_summary ("Cancelling dispatches the source of a full stream");

  conformance_fill (c);
  source = attach (c, cancellable, context, G_PRIORITY_DEFAULT, &fired);
  zcio_test_run_for (context, 20);
  g_assert_cmpuint (fired.calls, ==, 0);
  g_cancellable_cancel (cancellable);
  zcio_test_wait_until (context, fired.calls == 1);
  detach (source);
}

static void
test_reset_fires (Conformance *c)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  Fired fired = { .again = G_SOURCE_REMOVE };
  GSource *source;

  g_test_summary ("A reset dispatches the source of a full stream");

  conformance_fill (c);
  source = attach (c, NULL, context, G_PRIORITY_DEFAULT, &fired);
  zcio_test_run_for (context, 20);
  g_assert_cmpuint (fired.calls, ==, 0);
  conformance_reset (c);
  zcio_test_wait_until (context, fired.calls == 1);
  detach (source);
}

static void
test_postmortem (Conformance *c)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  Fired fired = { .again = G_SOURCE_CONTINUE };
  GSource *source;

  g_test_summary ("When its socket is closed, a source is dispatched once, even if it wants more");

  conformance_fill (c);
  source = attach (c, NULL, context, G_PRIORITY_DEFAULT, &fired);
  zcio_test_run_for (context, 20);
  g_assert_cmpuint (fired.calls, ==, 0);
  conformance_close_socket (c);
  zcio_test_wait_until (context, fired.calls > 0);
  g_assert_cmpuint (zcio_test_run_for (context, 50), <, 20);
  g_assert_cmpuint (fired.calls, ==, 1);
  detach (source);
}

static void
test_timed_out (Conformance *c)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  Fired fired = { .again = G_SOURCE_CONTINUE };
  GSource *source;
  gsize filled;
  GError *error = NULL;

  g_test_summary ("After the timeout of the socket the source of a full stream is dispatched, the "
                  "next write tells why, and the one after it does not");

  filled = conformance_fill (c);
  g_socket_set_timeout (c->socket, 1);
  source = attach (c, NULL, context, G_PRIORITY_DEFAULT, &fired);
  zcio_test_wait_until (context, fired.calls == 1);
  g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_TIMED_OUT);
  g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_WOULD_BLOCK);

  /* It goes on, and so does the clock. */
  zcio_test_wait_until (context, fired.calls == 2);
  g_assert_cmpint (g_pollable_output_stream_write_nonblocking (get_pollable (c), "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_TIMED_OUT);
  detach (source);

  conformance_read (c, 0, filled);
  conformance_assert_nothing_more (c);
}

static void
test_pollable_write (Conformance *c)
{
  g_autofree guint8 *data = g_malloc (1024 * 1024);
  ZcioTestReader *reader;
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("g_pollable_stream_write_all () writes all");

  if (c->to_skip > 0)
    conformance_read (c, 0, 0);
  reader = zcio_test_reader_new (c->peer, 0, ZCIO_TEST_READER_DEFAULT);
  zcio_test_pattern_fill (0, data, 1024 * 1024);
  g_assert_true (g_pollable_stream_write_all (c->stream, data, 1024 * 1024, TRUE, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1024 * 1024);
  g_socket_shutdown (c->socket, FALSE, TRUE, NULL);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, 1024 * 1024);
}

static void
test_child (Conformance *c)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  GSource *child = g_pollable_output_stream_create_source (get_pollable (c), NULL);
  GSource *source = g_pollable_source_new_full (c->stream, child, NULL);
  Fired fired = { .again = G_SOURCE_REMOVE };

  g_test_summary ("A source can be another's child, as TLS has it");

  g_source_unref (child);
  g_source_set_callback (source, (GSourceFunc) (GCallback) on_writable, &fired, NULL);
  g_source_attach (source, context);
  zcio_test_wait_until (context, fired.calls > 0);
  g_assert_cmpuint (fired.calls, ==, 1);
  detach (source);
}

static void
test_closed_socket (Conformance *c)
{
  g_test_summary ("The stream of a closed socket");

  conformance_close_socket (c);
  /* On purpose not as in GIO, which contradicts GPollableOutputStream here: a stream that has
   * an error to tell is writable.
   */
  if (conformance_is_gio (c))
    g_assert_false (g_pollable_output_stream_is_writable (get_pollable (c)));
  else
    g_assert_true (g_pollable_output_stream_is_writable (get_pollable (c)));
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  conformance_add ("/conformance/pollable/is-writable", test_is_writable);
  conformance_add ("/conformance/pollable/nonblocking", test_nonblocking);
  conformance_add ("/conformance/pollable/nonblocking-errors", test_nonblocking_errors);
  conformance_add ("/conformance/pollable/reset", test_reset);
  conformance_add ("/conformance/pollable/source", test_source);
  conformance_add ("/conformance/pollable/order", test_order);
  conformance_add ("/conformance/pollable/cancelled", test_cancelled);
  conformance_add ("/conformance/pollable/reset-fires", test_reset_fires);
  conformance_add ("/conformance/pollable/postmortem", test_postmortem);
  conformance_add ("/conformance/pollable/timed-out", test_timed_out);
  conformance_add ("/conformance/pollable/pollable-write", test_pollable_write);
  conformance_add ("/conformance/pollable/child", test_child);
  conformance_add ("/conformance/pollable/closed-socket", test_closed_socket);

  return g_test_run ();
}
