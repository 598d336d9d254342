/* test-control-message.c - file descriptors over UNIX sockets
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include <errno.h>
#include <gio/gunixfdmessage.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "simulated-stream.h"
#include "test-util.h"

#define N_FDS 16

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
} Fixture;

static void
set_up (Fixture        *f,
        ZcioTestFamily  family,
        int             buffer_size)
{
  g_assert_true (zcio_test_socket_pair (family, buffer_size, &f->socket, &f->peer));
  f->stream = zcio_socket_stream_new (f->socket);
}

static void
tear_down (Fixture *f)
{
  g_assert_finalize_object (f->stream);
  g_assert_finalize_object (f->socket);
  g_assert_finalize_object (f->peer);
}

/* A message with so many descriptors of new pipes; their inodes are put into @inodes. */
static GSocketControlMessage *
new_message (guint  n,
             ino_t *inodes)
{
  GSocketControlMessage *message = g_unix_fd_message_new ();

  for (guint i = 0; i < n; i++)
    {
      struct stat status;
      int fds[2];
      GError *error = NULL;

      g_assert_cmpint (pipe (fds), ==, 0);
      g_assert_cmpint (fstat (fds[0], &status), ==, 0);
      inodes[i] = status.st_ino;
      g_unix_fd_message_append_fd (G_UNIX_FD_MESSAGE (message), fds[0], &error);
      g_assert_no_error (error);
      close (fds[0]);
      close (fds[1]);
    }

  return message;
}

/* Receives at most @size bytes; returns how many, and checks the descriptors with them. */
static gsize
receive (Fixture     *f,
         gpointer     data,
         gsize        size,
         guint        n_expected,
         const ino_t *inodes)
{
  GInputVector vector = { data, size };
  GSocketControlMessage **messages = NULL;
  int n_messages = 0;
  guint n_fds = 0;
  gssize n;
  GError *error = NULL;

  n = g_socket_receive_message (f->peer, NULL, &vector, 1, &messages, &n_messages, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (n, >, 0);

  for (int i = 0; i < n_messages; i++)
    {
      g_autofree int *fds = NULL;
      int n_in_message;

      g_assert_true (G_IS_UNIX_FD_MESSAGE (messages[i]));
      fds = g_unix_fd_message_steal_fds (G_UNIX_FD_MESSAGE (messages[i]), &n_in_message);
      for (int j = 0; j < n_in_message; j++)
        {
          struct stat status;

          g_assert_cmpint (fstat (fds[j], &status), ==, 0);
          g_assert_cmpuint (n_fds, <, n_expected);
          g_assert_cmpuint (status.st_ino, ==, inodes[n_fds++]);
          close (fds[j]);
        }
      g_object_unref (messages[i]);
    }
  g_free (messages);
  g_assert_cmpuint (n_fds, ==, n_expected);

  return n;
}

static void
test_descriptors (void)
{
  Fixture f;
  ino_t inodes[N_FDS];
  GSocketControlMessage *message = new_message (N_FDS, inodes);
  GBytes *bytes = g_bytes_new_static ("def", 3);
  GOutputVector vectors[2] = { { "gh", 2 }, { "i", 1 } };
  gsize written = 0;
  char data[10];
  GError *error = NULL;

  g_test_summary ("Sixteen descriptors go with one call, in order with the writes before and after");

  set_up (&f, ZCIO_TEST_FAMILY_UNIX, 0);
  g_assert_true (g_output_stream_write_all (G_OUTPUT_STREAM (f.stream), "abc", 3, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (zcio_socket_stream_write_zerocopy (f.stream, bytes, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (zcio_socket_stream_send_message (f.stream, vectors, 2, &message, 1, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 3);
  g_assert_true (g_output_stream_write_all (G_OUTPUT_STREAM (f.stream), "jkl", 3, NULL, NULL, &error));
  g_assert_no_error (error);

  /* The kernel does not let one receive go past descriptors. */
  g_assert_cmpuint (receive (&f, data, 6, 0, NULL), ==, 6);
  g_assert_cmpint (memcmp (data, "abcdef", 6), ==, 0);
  g_assert_cmpuint (receive (&f, data, 10, N_FDS, inodes), ==, 3);
  g_assert_cmpint (memcmp (data, "ghi", 3), ==, 0);
  g_assert_cmpuint (receive (&f, data, 10, 0, NULL), ==, 3);
  g_assert_cmpint (memcmp (data, "jkl", 3), ==, 0);

  g_bytes_unref (bytes);
  g_object_unref (message);
  tear_down (&f);
}

static void
test_several (void)
{
  Fixture f;
  ino_t inodes[3];
  GSocketControlMessage *messages[2] = { new_message (1, inodes), new_message (2, inodes + 1) };
  GBytes *bytes = g_bytes_new_static ("x", 1);
  char data[10];
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("Several messages, and none, go with a GBytes");

  set_up (&f, ZCIO_TEST_FAMILY_UNIX, 0);
  g_assert_true (zcio_socket_stream_send_message_bytes (f.stream, bytes, messages, 2, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1);
  g_assert_cmpuint (receive (&f, data, 10, 3, inodes), ==, 1);

  g_assert_true (zcio_socket_stream_send_message_bytes (f.stream, bytes, NULL, 0, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (receive (&f, data, 10, 0, NULL), ==, 1);

  g_bytes_unref (bytes);
  g_object_unref (messages[0]);
  g_object_unref (messages[1]);
  tear_down (&f);
}

static void
test_partial (void)
{
  const gsize size = 4 * 1024 * 1024;
  Fixture f;
  g_autofree guint8 *data = g_malloc (size);
  g_autofree guint8 *received = g_malloc (size);
  ino_t inode;
  GSocketControlMessage *message = new_message (1, &inode);
  GOutputVector vector = { data, size };
  ZcioTestReader *reader;
  gsize written = 0;
  gsize done;
  GError *error = NULL;

  g_test_summary ("Where only a part of the data is accepted the descriptors went with it, once");

  set_up (&f, ZCIO_TEST_FAMILY_UNIX, 65536);
  zcio_test_pattern_fill (0, data, size);
  g_assert_true (zcio_socket_stream_send_message (f.stream, &vector, 1, &message, 1, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, >, 0);
  g_assert_cmpuint (written, <, size);
  done = receive (&f, received, size, 1, &inode);
  g_assert_cmpuint (zcio_test_pattern_check (0, received, done), ==, done);

  reader = zcio_test_reader_new (f.peer, done, ZCIO_TEST_READER_DEFAULT);
  g_assert_true (g_output_stream_write_all (G_OUTPUT_STREAM (f.stream), data + written, size - written, NULL, NULL, &error));
  g_assert_no_error (error);
  g_socket_shutdown (f.socket, FALSE, TRUE, NULL);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, size - done);

  g_object_unref (message);
  tear_down (&f);
}

static gpointer
receive_one (gpointer data)
{
  Fixture *f = data;
  ino_t inode = 0;
  char byte;

  /* Only descriptors that were sent by mistake would fail it. */
  g_assert_cmpuint (receive (f, &byte, 1, 0, &inode), ==, 1);
  return NULL;
}

static void
test_errors (void)
{
  Fixture f;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  ino_t inodes[1];
  GSocketControlMessage *message = new_message (1, inodes);
  GOutputVector vector = { "x", 1 };
  GOutputVector empty[2] = { { "", 0 }, { NULL, 0 } };
  gsize written = 77;
  GThread *thread;
  GError *error = NULL;

  g_test_summary ("What fails sends neither data nor descriptors; and descriptors do not get lost "
                  "for want of data to go with");

  set_up (&f, ZCIO_TEST_FAMILY_UNIX, 0);
  g_cancellable_cancel (cancellable);
  g_assert_false (zcio_socket_stream_send_message (f.stream, &vector, 1, &message, 1, &written, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_cmpuint (written, ==, 0);

  written = 77;
  g_assert_false (zcio_socket_stream_send_message (f.stream, empty, 2, &message, 1, &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_cmpuint (written, ==, 0);

  g_assert_true (g_output_stream_set_pending (G_OUTPUT_STREAM (f.stream), NULL));
  g_assert_false (zcio_socket_stream_send_message (f.stream, &vector, 1, &message, 1, &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
  g_clear_error (&error);
  g_output_stream_clear_pending (G_OUTPUT_STREAM (f.stream));

  thread = g_thread_new ("receive", receive_one, &f);
  g_assert_cmpint (g_output_stream_write (G_OUTPUT_STREAM (f.stream), "y", 1, NULL, &error), ==, 1);
  g_assert_no_error (error);
  g_thread_join (thread);

  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (f.stream), NULL, NULL));
  g_assert_false (zcio_socket_stream_send_message (f.stream, &vector, 1, &message, 1, &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);

  g_object_unref (message);
  tear_down (&f);
}

typedef struct
{
  Fixture *f;
  gsize size;
} Drain;

/* Reads what fills the socket; the message comes behind it. */
static gpointer
drain (gpointer data)
{
  Drain *self = data;
  g_autofree char *buffer = g_malloc (self->size);

  for (gsize n = 0; n < self->size;)
    {
      GError *error = NULL;
      gssize n_read = g_socket_receive (self->f->peer, buffer, self->size - n, NULL, &error);

      g_assert_no_error (error);
      g_assert_cmpint (n_read, >, 0);
      n += n_read;
    }

  return NULL;
}

static void
test_full (void)
{
  Fixture f;
  Drain full = { &f, 0 };
  ino_t inodes[2];
  GSocketControlMessage *message = new_message (2, inodes);
  GOutputVector vector = { "x", 1 };
  gsize written = 77;
  GThread *thread;
  char byte = 0;
  GError *error = NULL;

  g_test_summary ("Where the socket takes nothing, a message waits, for as long as the socket's timeout "
                  "allows; it goes as a whole or not at all");

  set_up (&f, ZCIO_TEST_FAMILY_UNIX, 32768);
  while (error == NULL)
    {
      gssize n = g_pollable_output_stream_write_nonblocking (G_POLLABLE_OUTPUT_STREAM (f.stream),
                                                             "yyyy", 4, NULL, &error);

      full.size += MAX (n, 0);
    }
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  g_clear_error (&error);

  g_socket_set_timeout (f.socket, 1);
  g_assert_false (zcio_socket_stream_send_message (f.stream, &vector, 1, &message, 1, &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  g_assert_cmpuint (written, ==, 0);

  g_socket_set_timeout (f.socket, 0);
  thread = g_thread_new ("drain", drain, &full);
  g_assert_true (zcio_socket_stream_send_message (f.stream, &vector, 1, &message, 1, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1);
  g_thread_join (thread);
  g_assert_cmpuint (receive (&f, &byte, 1, 2, inodes), ==, 1);
  g_assert_cmpint (byte, ==, 'x');

  g_object_unref (message);
  tear_down (&f);
}

static void
test_no_buffers (void)
{
  SimulatedStream s;
  ino_t inodes[1];
  GSocketControlMessage *message = new_message (1, inodes);
  guint8 byte;
  GOutputVector vector = { &byte, 1 };
  guint64 before;
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("Without memory for its control data a message waits until half of what is in flight "
                  "is back; with nothing in flight the error is told");

  simulated_stream_init (&s, zcio_test_get_seed ());
  for (guint i = 0; i < 8; i++)
    {
      simulated_stream_write (&s, 16384, NULL, &error);
      g_assert_no_error (error);
    }
  before = s.kernel->bytes_in_flight;
  g_assert_cmpuint (before, >, 0);

  zcio_test_pattern_fill (s.accepted, &byte, 1);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_COPY, ENOBUFS);
  g_assert_true (zcio_socket_stream_send_message (s.stream, &vector, 1, &message, 1, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1);
  s.accepted++;
  g_assert_cmpuint (s.kernel->bytes_in_flight, <=, before / 2);
  simulated_stream_settle (&s);

  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_COPY, ENOBUFS);
  g_assert_false (zcio_socket_stream_send_message (s.stream, &vector, 1, &message, 1, &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_cmpuint (written, ==, 0);

  g_object_unref (message);
  simulated_stream_settle (&s);
  simulated_stream_clear (&s);
}

static void
test_tcp (void)
{
  Fixture f;
  ino_t inodes[1];
  GSocketControlMessage *message = new_message (1, inodes);
  GOutputVector vector = { "x", 1 };
  gsize written = 0;
  char byte;
  GError *error = NULL;

  g_test_summary ("Over TCP the kernel lets the data through alone, as it does for GSocket");

  set_up (&f, ZCIO_TEST_FAMILY_IPV4, 0);
  g_assert_true (zcio_socket_stream_send_message (f.stream, &vector, 1, &message, 1, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 1);
  g_assert_cmpuint (receive (&f, &byte, 1, 0, NULL), ==, 1);
  g_assert_cmpint (g_socket_send_message (f.socket, NULL, &vector, 1, &message, 1, 0, NULL, &error), ==, 1);
  g_assert_no_error (error);
  g_assert_cmpuint (receive (&f, &byte, 1, 0, NULL), ==, 1);

  g_object_unref (message);
  tear_down (&f);
}

#define N_TOO_MANY 1025

static void
test_many_vectors (void)
{
  Fixture f;
  ino_t inode;
  GSocketControlMessage *message = new_message (1, &inode);
  g_autofree GOutputVector *vectors = g_new0 (GOutputVector, N_TOO_MANY);
  char data[N_TOO_MANY];
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("Of more vectors than the kernel takes the first go, and the messages with them, unless "
                  "there is no data in these");

  set_up (&f, ZCIO_TEST_FAMILY_UNIX, 0);
  vectors[N_TOO_MANY - 1] = (GOutputVector) { "x", 1 };
  g_assert_false (zcio_socket_stream_send_message (f.stream, vectors, N_TOO_MANY, &message, 1, &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_cmpuint (written, ==, 0);

  for (guint i = 0; i < N_TOO_MANY; i++)
    vectors[i] = (GOutputVector) { "x", 1 };
  g_assert_true (zcio_socket_stream_send_message (f.stream, vectors, N_TOO_MANY, &message, 1, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, N_TOO_MANY - 1);
  g_assert_cmpuint (receive (&f, data, sizeof data, 1, &inode), ==, N_TOO_MANY - 1);

  g_object_unref (message);
  tear_down (&f);
}

static void
cancel (gpointer data)
{
  g_cancellable_cancel (data);
}

static void
test_cancelled (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GOutputVector vector = { "x", 1 };
  SimulatedStream s;
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("A message that waits for a full socket can be cancelled");

  simulated_stream_init (&s, 1);
  s.kernel->drain_size = 0;
  s.kernel->send_buffer = 1000;
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  simulated_kernel_after (s.kernel, 1000, cancel, cancellable);
  g_assert_false (zcio_socket_stream_send_message (s.stream, &vector, 1, NULL, 0, &written, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_cmpuint (written, ==, 0);
  g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (s.stream)));

  simulated_stream_clear (&s);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  simulated_stream_watch_log ();

  g_test_add_func ("/control-message/descriptors", test_descriptors);
  g_test_add_func ("/control-message/several", test_several);
  g_test_add_func ("/control-message/partial", test_partial);
  g_test_add_func ("/control-message/errors", test_errors);
  g_test_add_func ("/control-message/full", test_full);
  g_test_add_func ("/control-message/no-buffers", test_no_buffers);
  g_test_add_func ("/control-message/tcp", test_tcp);
  g_test_add_func ("/control-message/many-vectors", test_many_vectors);
  g_test_add_func ("/control-message/cancelled", test_cancelled);

  return g_test_run ();
}
