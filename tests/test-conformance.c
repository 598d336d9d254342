/* test-conformance.c - the blocking calls, as GIO's socket stream has them
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "conformance.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test-util.h"

#define LARGE (8 * 1024 * 1024)

static guint8 *
new_pattern (gsize size)
{
  guint8 *data = g_malloc (size);

  zcio_test_pattern_fill (0, data, size);
  return data;
}

static void
test_short (Conformance *c)
{
  g_autofree guint8 *data = new_pattern (LARGE);
  GOutputVector vectors[3] = { { data, 10 }, { data + 10, LARGE / 2 }, { data + 10 + LARGE / 2, 100 } };
  gsize written = 0;
  gssize n;
  GError *error = NULL;

  g_test_summary ("A write that the socket cannot take whole is short, and tells how much went");

  n = g_output_stream_write (c->stream, data, LARGE, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (n, >, 0);
  g_assert_cmpint (n, <, LARGE);
  conformance_read (c, 0, n);

  g_assert_true (g_output_stream_writev (c->stream, vectors, 3, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, >, 10);
  g_assert_cmpuint (written, <, 110 + LARGE / 2);
  conformance_read (c, 0, written);
  conformance_assert_nothing_more (c);
}

static void
test_empty (Conformance *c)
{
  GOutputVector vectors[3] = { { "", 0 }, { NULL, 0 }, { "", 0 } };
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("Nothing to write is a success, and sends nothing");

  g_assert_cmpint (g_output_stream_write (c->stream, "x", 0, NULL, &error), ==, 0);
  g_assert_no_error (error);
  g_assert_true (g_output_stream_writev (c->stream, NULL, 0, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);

  written = 77;
  g_assert_true (g_output_stream_writev (c->stream, vectors, 3, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);

  written = 77;
  g_assert_true (g_output_stream_writev_all (c->stream, vectors, 3, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);

  written = 77;
  g_assert_true (g_output_stream_write_all (c->stream, "x", 0, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);
  conformance_assert_nothing_more (c);
}

static void
test_too_large (Conformance *c)
{
  guint8 byte = 0;
  GOutputVector vectors[3] = { { &byte, 1 }, { &byte, G_MAXSIZE }, { &byte, G_MAXSIZE } };
  GOutputVector bad = { &byte, G_MAXSIZE };
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("Sizes beyond G_MAXSSIZE are refused, and nothing is sent");

  g_assert_cmpint (g_output_stream_write (c->stream, &byte, (gsize) G_MAXSSIZE + 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_INVALID_ARGUMENT);

  g_assert_false (g_output_stream_writev_all (c->stream, vectors, 3, &written, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_INVALID_ARGUMENT);
  g_assert_cmpuint (written, ==, 0);

  written = 77;
  g_assert_false (g_output_stream_writev (c->stream, &bad, 1, &written, NULL, &error));
  conformance_assert_same_error (c, &error);
  g_assert_cmpuint (written, ==, 0);
  conformance_assert_nothing_more (c);
}

static void
test_many_vectors (Conformance *c)
{
  const gsize n = 1500;
  g_autofree guint8 *data = new_pattern (n * 7);
  g_autofree GOutputVector *vectors = g_new (GOutputVector, n);
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("More vectors than one system call takes are a short write; "
                  "g_output_stream_writev_all () sends them all");

  for (gsize i = 0; i < n; i++)
    vectors[i] = (GOutputVector) { data + 7 * i, 7 };

  g_assert_true (g_output_stream_writev (c->stream, vectors, n, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1024 * 7);
  conformance_read (c, 0, written);

  g_assert_true (g_output_stream_writev_all (c->stream, vectors, n, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, n * 7);
  conformance_read (c, 0, written);
  conformance_assert_nothing_more (c);
}

static void
test_all (Conformance *c)
{
  g_autofree guint8 *data = new_pattern (LARGE);
  GOutputVector vectors[4] = { { data, 1 }, { data + 1, 0 }, { data + 1, LARGE / 2 }, { data + 1 + LARGE / 2, 99 } };
  ZcioTestReader *reader;
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("The calls that write all do so while the peer reads, in order");

  if (c->to_skip > 0)
    conformance_read (c, 0, 0);
  reader = zcio_test_reader_new (c->peer, 0, ZCIO_TEST_READER_DEFAULT);
  g_assert_true (g_output_stream_write_all (c->stream, data, LARGE, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, LARGE);
  zcio_test_pattern_fill (LARGE, data, LARGE);
  g_assert_true (g_output_stream_writev_all (c->stream, vectors, 4, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 100 + LARGE / 2);

  g_socket_shutdown (c->socket, FALSE, TRUE, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, LARGE + 100 + LARGE / 2);
}

static void
test_cancelled_before (Conformance *c)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GOutputVector vector = { "x", 1 };
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("A write that was cancelled before sends nothing");

  g_cancellable_cancel (cancellable);
  g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, cancellable, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);

  g_assert_false (g_output_stream_writev (c->stream, &vector, 1, &written, cancellable, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (written, ==, 0);

  written = 77;
  g_assert_false (g_output_stream_write_all (c->stream, "x", 1, &written, cancellable, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (written, ==, 0);
  g_assert_false (g_output_stream_has_pending (c->stream));
  conformance_assert_nothing_more (c);
}

static gpointer
cancel (gpointer data)
{
  g_cancellable_cancel (data);
  return NULL;
}

static void
test_cancelled_during (Conformance *c)
{
  gsize filled = conformance_fill (c);
  GError *error = NULL;

  g_test_summary ("A write that waits ends when it is cancelled, and has sent nothing");

  for (guint i = 0; i < 20; i++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      GThread *thread = g_thread_new ("cancel", cancel, cancellable);

      g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, cancellable, &error), ==, -1);
      conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
      g_thread_join (thread);
    }

  conformance_read (c, 0, filled);
  conformance_assert_nothing_more (c);
}

typedef struct
{
  Conformance *c;
  GCancellable *cancellable;
} Partial;

static gpointer
cancel_after_some (gpointer data)
{
  Partial *partial = data;

  while (conformance_get_unread (partial->c) <= partial->c->to_skip)
    g_usleep (1000);
  g_cancellable_cancel (partial->cancellable);
  return NULL;
}

static void
test_cancelled_partial (Conformance *c)
{
  g_autofree guint8 *data = new_pattern (LARGE);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Partial partial = { c, cancellable };
  GThread *thread = g_thread_new ("cancel", cancel_after_some, &partial);
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("A write that is cancelled after some of it went tells how much, exactly");

  g_assert_false (g_output_stream_write_all (c->stream, data, LARGE, &written, cancellable, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CANCELLED);
  g_thread_join (thread);
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
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("A write that waits fails after the timeout of the socket, and the next one "
                  "is as good as new");

  g_socket_set_timeout (c->socket, 1);
  g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_TIMED_OUT);
  g_assert_false (g_output_stream_writev (c->stream, &vector, 1, &written, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_TIMED_OUT);
  g_assert_cmpuint (written, ==, 0);

  conformance_read (c, 0, filled);
  g_socket_set_timeout (c->socket, 3600);
  g_assert_cmpint (g_output_stream_write (c->stream, "", 0, NULL, &error), ==, 0);
  g_assert_no_error (error);
  conformance_assert_nothing_more (c);
}

static void
test_reset (Conformance *c)
{
  GOutputVector vector = { "x", 1 };
  GError *error = NULL;

  g_test_summary ("After a reset writes fail, with no SIGPIPE, and flushing does not wait");

  conformance_reset (c);
  g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CONNECTION_CLOSED);
  g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_BROKEN_PIPE);
  g_assert_false (g_output_stream_writev (c->stream, &vector, 1, NULL, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_BROKEN_PIPE);
  g_assert_true (g_output_stream_flush (c->stream, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_output_stream_close (c->stream, NULL, &error));
  g_assert_no_error (error);
}

static gpointer
reset_when_filled (gpointer data)
{
  Conformance *c = data;

  while (conformance_get_unread (c) <= c->to_skip)
    g_usleep (1000);
  conformance_reset (c);
  return NULL;
}

static void
test_reset_during (Conformance *c)
{
  g_autofree guint8 *data = new_pattern (LARGE);
  GThread *thread = g_thread_new ("reset", reset_when_filled, c);
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("A write that waits fails when the connection is reset");

  g_assert_false (g_output_stream_write_all (c->stream, data, LARGE, &written, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CONNECTION_CLOSED);
  g_assert_cmpuint (written, <, LARGE);
  g_thread_join (thread);
}

static void
test_closed_stream (Conformance *c)
{
  GOutputVector vector = { "x", 1 };
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("A closed stream takes nothing");

  g_assert_true (g_output_stream_close (c->stream, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  g_assert_false (g_output_stream_writev (c->stream, &vector, 1, &written, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  g_assert_cmpuint (written, ==, 0);
  g_assert_false (g_output_stream_flush (c->stream, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  conformance_assert_nothing_more (c);
}

static void
test_pending (Conformance *c)
{
  GOutputVector vector = { "x", 1 };
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("While an operation is pending, others are refused, and leave it pending");

  g_assert_true (g_output_stream_set_pending (c->stream, &error));
  g_assert_no_error (error);
  g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_assert_false (g_output_stream_writev (c->stream, &vector, 1, &written, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_assert_false (g_output_stream_flush (c->stream, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_PENDING);
  g_assert_true (g_output_stream_has_pending (c->stream));
  g_output_stream_clear_pending (c->stream);
  conformance_assert_nothing_more (c);
}

static void
test_fd_reuse (Conformance *c)
{
  int number = g_socket_get_fd (c->socket);
  GOutputVector vector = { "x", 1 };
  int fds[2];
  char byte;
  GError *error = NULL;

  g_test_summary ("After the socket was closed nothing is written to the file that has its "
                  "number by then");

  conformance_close_socket (c);
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), ==, 0);
  if (fds[1] == number)
    {
      fds[1] = fds[0];
      fds[0] = number;
    }
  if (fds[0] != number)
    {
      g_assert_cmpint (dup2 (fds[0], number), ==, number);
      close (fds[0]);
    }

  g_assert_cmpint (g_output_stream_write (c->stream, "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  g_assert_false (g_output_stream_writev (c->stream, &vector, 1, NULL, NULL, &error));
  conformance_assert_error (c, &error, G_IO_ERROR_CLOSED);
  g_pollable_output_stream_is_writable (G_POLLABLE_OUTPUT_STREAM (c->stream));
  if (!conformance_is_gio (c))
    zcio_socket_stream_reap (ZCIO_SOCKET_STREAM (c->stream));
  g_clear_object (&c->stream);
  g_clear_object (&c->connection);

  g_assert_cmpint (read (fds[1], &byte, 1), ==, -1);
  g_assert_cmpint (errno, ==, EAGAIN);
  g_assert_cmpint (fcntl (number, F_GETFD), >=, 0);
  close (number);
  close (fds[1]);
}

static void
test_not_connected (Conformance *c)
{
  g_autoptr (GSocket) socket = NULL;
  g_autoptr (GSocketConnection) connection = NULL;
  g_autoptr (GOutputStream) stream = NULL;
  GError *error = NULL;

  g_test_summary ("A socket that was never connected takes nothing");

  socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
  g_assert_no_error (error);
  if (conformance_is_gio (c))
    {
      connection = g_socket_connection_factory_create_connection (socket);
      stream = g_object_ref (g_io_stream_get_output_stream (G_IO_STREAM (connection)));
    }
  else
    stream = G_OUTPUT_STREAM (zcio_socket_stream_new (socket));

  g_assert_cmpint (g_output_stream_write (stream, "x", 1, NULL, &error), ==, -1);
  conformance_assert_error (c, &error, G_IO_ERROR_BROKEN_PIPE);
  g_assert_true (g_output_stream_close (stream, NULL, &error));
  g_assert_no_error (error);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  conformance_add ("/conformance/short", test_short);
  conformance_add ("/conformance/empty", test_empty);
  conformance_add ("/conformance/too-large", test_too_large);
  conformance_add ("/conformance/many-vectors", test_many_vectors);
  conformance_add ("/conformance/all", test_all);
  conformance_add ("/conformance/cancelled-before", test_cancelled_before);
  conformance_add ("/conformance/cancelled-during", test_cancelled_during);
  conformance_add ("/conformance/cancelled-partial", test_cancelled_partial);
  conformance_add ("/conformance/timed-out", test_timed_out);
  conformance_add ("/conformance/reset", test_reset);
  conformance_add ("/conformance/reset-during", test_reset_during);
  conformance_add ("/conformance/closed-stream", test_closed_stream);
  conformance_add ("/conformance/pending", test_pending);
  conformance_add ("/conformance/fd-reuse", test_fd_reuse);
  conformance_add ("/conformance/not-connected", test_not_connected);

  return g_test_run ();
}
