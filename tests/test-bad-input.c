/* test-bad-input.c - what the zero-copy calls do with input that is empty or wrong
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include <string.h>

#include "test-util.h"
#include "zcio/zcio-linger-private.h"

#define N_MANY 3000

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  gint made;
  gint released;
} Fixture;

typedef struct
{
  ZcioTestFamily family;
  ZcioZeroCopyMode mode;
  void (*func) (Fixture *f);
} Case;

static void
count_release (gpointer data)
{
  Fixture *f = data;

  g_atomic_int_inc (&f->released);
}

static GBytes *
new_bytes (Fixture *f,
           guint64  position,
           gsize    size)
{
  f->made++;
  return zcio_test_pattern_bytes (position, size, &f->released);
}

/* A size that has no memory behind it. */
static GBytes *
new_giant (Fixture *f)
{
  f->made++;
  return g_bytes_new_with_free_func ("", G_MAXSSIZE, count_release, f);
}

static void
receive (Fixture *f,
         guint64  position,
         gsize    size)
{
  g_autofree guint8 *data = g_malloc (size + 1);
  gsize done = 0;

  while (done < size)
    {
      GError *error = NULL;
      gssize n = g_socket_receive (f->peer, (char *) data + done, size - done, NULL, &error);

      g_assert_no_error (error);
      g_assert_cmpint (n, >, 0);
      done += n;
    }
  g_assert_cmpuint (zcio_test_pattern_check (position, data, size), ==, size);
}

static void
assert_error (GError     **error,
              int          code,
              const char  *message)
{
  g_assert_error (*error, G_IO_ERROR, code);
  g_assert_cmpstr ((*error)->message, ==, message);
  g_clear_error (error);
}

/* Each way to write @bytes fails with that error, has written nothing and keeps nothing. */
static void
assert_refused (Fixture      *f,
                GBytes      **bytes,
                gsize         n,
                GCancellable *cancellable,
                gboolean      also_nonblocking,
                int           code,
                const char   *message)
{
  g_autofree GOutputVector *vectors = g_new0 (GOutputVector, n);
  GAsyncResult *result = NULL;
  gsize written = 77;
  gint released;
  GError *error = NULL;

  g_assert_false (zcio_socket_stream_writev_zerocopy (f->stream, bytes, n, &written, cancellable, &error));
  assert_error (&error, code, message);
  g_assert_cmpuint (written, ==, 0);

  for (gsize i = 0; i < n; i++)
    vectors[i].buffer = g_bytes_get_data (bytes[i], &vectors[i].size);
  written = 77;
  released = g_atomic_int_get (&f->released);
  g_assert_false (zcio_socket_stream_writev_zerocopy_full (f->stream, vectors, n, count_release, f,
                                                           &written, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, code);
  g_clear_error (&error);
  g_assert_cmpuint (written, ==, 0);
  g_assert_cmpint (g_atomic_int_get (&f->released), ==, released + 1);
  f->made++;

  written = 77;
  zcio_socket_stream_writev_zerocopy_async (f->stream, bytes, n, G_PRIORITY_DEFAULT, cancellable,
                                            zcio_test_store_result, &result);
  g_assert_null (result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_false (zcio_socket_stream_writev_zerocopy_finish (f->stream, result, &written, &error));
  assert_error (&error, code, message);
  g_assert_cmpuint (written, ==, 0);
  g_object_unref (result);

  if (!also_nonblocking)
    return;

  written = 77;
  g_assert_cmpint (zcio_socket_stream_writev_zerocopy_nonblocking (f->stream, bytes, n, &written,
                                                                   cancellable, &error),
                   ==, G_POLLABLE_RETURN_FAILED);
  assert_error (&error, code, message);
  g_assert_cmpuint (written, ==, 0);
}

/* Each way to write @bytes succeeds. */
static void
assert_accepted (Fixture  *f,
                 GBytes  **bytes,
                 gsize     n,
                 gsize     size)
{
  g_autofree GOutputVector *vectors = g_new0 (GOutputVector, n);
  GAsyncResult *result = NULL;
  gsize written = 77;
  GError *error = NULL;

  g_assert_true (zcio_socket_stream_writev_zerocopy (f->stream, bytes, n, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, size);
  receive (f, 0, size);

  for (gsize i = 0; i < n; i++)
    vectors[i].buffer = g_bytes_get_data (bytes[i], &vectors[i].size);
  written = 77;
  g_assert_true (zcio_socket_stream_writev_zerocopy_full (f->stream, vectors, n, count_release, f,
                                                          &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, size);
  f->made++;
  receive (f, 0, size);

  written = 77;
  zcio_socket_stream_writev_zerocopy_async (f->stream, bytes, n, G_PRIORITY_DEFAULT, NULL,
                                            zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_true (zcio_socket_stream_writev_zerocopy_finish (f->stream, result, &written, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, size);
  g_object_unref (result);
  receive (f, 0, size);

  written = 77;
  g_assert_cmpint (zcio_socket_stream_writev_zerocopy_nonblocking (f->stream, bytes, n, &written,
                                                                   NULL, &error),
                   ==, G_POLLABLE_RETURN_OK);
  g_assert_no_error (error);
  /* Many small pieces fill the socket's buffer long before their bytes do. */
  g_assert_cmpuint (written, <=, size);
  g_assert_cmpuint (written, >=, MIN (size, 1));
  receive (f, 0, written);
}

static void
test_empty (Fixture *f)
{
  GBytes *empty[3] = { new_bytes (f, 0, 0), new_bytes (f, 0, 0), g_bytes_new (NULL, 0) };
  GBytes *mixed[4] = { empty[0], new_bytes (f, 0, 5), empty[1], new_bytes (f, 5, 100000) };
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("No buffers, and empty ones, are a success that sends nothing; between others "
                  "they do no harm");

  assert_accepted (f, NULL, 0, 0);
  assert_accepted (f, empty, 3, 0);
  g_assert_true (zcio_socket_stream_write_zerocopy (f->stream, empty[0], &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 0);
  assert_accepted (f, mixed, 1, 0);

  g_assert_true (zcio_socket_stream_writev_zerocopy (f->stream, mixed, 4, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, 100005);
  receive (f, 0, written);

  /* Nobody need care how much was written, nor what went wrong. */
  g_assert_true (zcio_socket_stream_writev_zerocopy (f->stream, empty, 3, NULL, NULL, NULL));
  g_assert_true (zcio_socket_stream_writev_zerocopy_full (f->stream, NULL, 0, NULL, NULL, NULL, NULL, NULL));

  for (guint i = 0; i < 3; i++)
    g_bytes_unref (empty[i]);
  g_bytes_unref (mixed[1]);
  g_bytes_unref (mixed[3]);
}

static void
test_many (Fixture *f)
{
  g_autofree GBytes **bytes = g_new (GBytes *, N_MANY);

  g_test_summary ("There may be more buffers than one system call takes");

  for (gsize i = 0; i < N_MANY; i++)
    bytes[i] = new_bytes (f, i * 11, 11);
  assert_accepted (f, bytes, N_MANY, N_MANY * 11);
  for (gsize i = 0; i < N_MANY; i++)
    g_bytes_unref (bytes[i]);
}

static void
test_too_large (Fixture *f)
{
  GBytes *bytes[3] = { new_bytes (f, 0, 1), new_giant (f), new_giant (f) };
  g_autoptr (GBytes) larger = g_bytes_new_static ("", (gsize) G_MAXSSIZE + 1);
  g_autoptr (GError) error = NULL;
  gsize written = 1;

  g_test_summary ("Sizes that sum up to more than G_MAXSSIZE are refused, and nothing is sent");

  assert_refused (f, bytes, 2, NULL, TRUE, G_IO_ERROR_INVALID_ARGUMENT,
                  "Sum of vectors passed to writev_zerocopy too large");
  assert_refused (f, bytes, 3, NULL, TRUE, G_IO_ERROR_INVALID_ARGUMENT,
                  "Sum of vectors passed to writev_zerocopy too large");
  g_assert_false (zcio_socket_stream_write_zerocopy (f->stream, larger, &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_assert_cmpuint (written, ==, 0);
  assert_accepted (f, bytes, 1, 1);
  for (guint i = 0; i < 3; i++)
    g_bytes_unref (bytes[i]);
}

static void
test_cancelled (Fixture *f)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GBytes *bytes = new_bytes (f, 0, 100);

  g_test_summary ("A write that was cancelled before sends nothing");

  g_cancellable_cancel (cancellable);
  assert_refused (f, &bytes, 1, cancellable, TRUE, G_IO_ERROR_CANCELLED, "Operation was cancelled");
  assert_accepted (f, &bytes, 1, 100);
  g_bytes_unref (bytes);
}

static void
test_pending (Fixture *f)
{
  GBytes *bytes = new_bytes (f, 0, 100);

  g_test_summary ("While an operation is pending others are refused, and leave it pending");

  g_assert_true (g_output_stream_set_pending (G_OUTPUT_STREAM (f->stream), NULL));
  assert_refused (f, &bytes, 1, NULL, FALSE, G_IO_ERROR_PENDING, "Stream has outstanding operation");
  g_assert_true (g_output_stream_has_pending (G_OUTPUT_STREAM (f->stream)));
  g_output_stream_clear_pending (G_OUTPUT_STREAM (f->stream));
  assert_accepted (f, &bytes, 1, 100);
  g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (f->stream)));
  g_bytes_unref (bytes);
}

static void
test_closed_stream (Fixture *f)
{
  GBytes *bytes = new_bytes (f, 0, 100);
  GBytes *empty = new_bytes (f, 0, 0);
  GError *error = NULL;

  g_test_summary ("A closed stream takes nothing; draining and reaping it is no error");

  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (f->stream), NULL, NULL));
  assert_refused (f, &bytes, 1, NULL, TRUE, G_IO_ERROR_CLOSED, "Stream is already closed");
  assert_refused (f, &empty, 1, NULL, TRUE, G_IO_ERROR_CLOSED, "Stream is already closed");
  g_assert_true (zcio_socket_stream_drain (f->stream, 0, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (zcio_socket_stream_reap (f->stream), ==, 0);
  g_bytes_unref (bytes);
  g_bytes_unref (empty);
}

static void
test_closed_socket (Fixture *f)
{
  GBytes *bytes = new_bytes (f, 0, 100);
  GError *error = NULL;

  g_test_summary ("A closed socket takes nothing, and cannot be aborted");

  g_socket_close (f->socket, NULL);
  assert_refused (f, &bytes, 1, NULL, TRUE, G_IO_ERROR_CLOSED, "Socket is already closed");
  g_assert_true (zcio_socket_stream_drain (f->stream, 0, NULL, &error));
  g_assert_no_error (error);
  g_assert_false (zcio_socket_stream_abort (f->stream, &error));
  assert_error (&error, G_IO_ERROR_CLOSED, "Socket is already closed");
  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (f->stream), NULL, &error));
  g_assert_no_error (error);
  g_bytes_unref (bytes);
}

static void
test_socket_of (GSocketType     type,
                GSocketProtocol protocol,
                int             code,
                const char     *message)
{
  Fixture f = { NULL };
  GBytes *bytes = new_bytes (&f, 0, 100);
  GError *error = NULL;

  f.socket = g_socket_new (G_SOCKET_FAMILY_IPV4, type, protocol, &error);
  g_assert_no_error (error);
  f.stream = zcio_socket_stream_new (f.socket);
  for (int mode = ZCIO_ZERO_COPY_MODE_AUTO; mode <= ZCIO_ZERO_COPY_MODE_NEVER; mode++)
    {
      zcio_socket_stream_set_zero_copy_mode (f.stream, mode);
      assert_refused (&f, &bytes, 1, NULL, TRUE, code, message);
    }
  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (f.stream), NULL, &error));
  g_assert_no_error (error);
  g_bytes_unref (bytes);
  g_assert_finalize_object (f.stream);
  g_assert_finalize_object (f.socket);
  g_assert_cmpint (f.released, ==, f.made);
}

static void
test_not_connected (void)
{
  g_test_summary ("A socket that was never connected takes nothing");

  test_socket_of (G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, G_IO_ERROR_BROKEN_PIPE,
                  "Error sending message: Broken pipe");
}

static void
test_not_a_stream (void)
{
  Fixture f = { NULL };
  g_autoptr (GSocketAddress) address = NULL;
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new (loopback, 0);
  GBytes *bytes;
  gsize written;
  guint8 data[200];
  GError *error = NULL;

  g_test_summary ("A datagram socket is no stream: it copies, and its own errors are told");

  test_socket_of (G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, G_IO_ERROR_FAILED,
                  "Error sending message: Destination address required");

  f.peer = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, &error);
  g_assert_no_error (error);
  f.socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, &error);
  g_assert_no_error (error);
  g_socket_bind (f.peer, any, FALSE, &error);
  g_assert_no_error (error);
  address = g_socket_get_local_address (f.peer, &error);
  g_assert_no_error (error);
  g_socket_connect (f.socket, address, NULL, &error);
  g_assert_no_error (error);
  f.stream = zcio_socket_stream_new (f.socket);
  zcio_socket_stream_set_zero_copy_mode (f.stream, ZCIO_ZERO_COPY_MODE_ALWAYS);

  bytes = new_bytes (&f, 0, 100);
  g_assert_true (zcio_socket_stream_write_zerocopy (f.stream, bytes, &written, NULL, &error));
  g_assert_no_error (error);
  g_bytes_unref (bytes);
  g_assert_cmpint (f.released, ==, f.made);
  g_assert_cmpint (g_socket_receive (f.peer, (char *) data, sizeof data, NULL, &error), ==, 100);
  g_assert_cmpuint (zcio_test_pattern_check (0, data, 100), ==, 100);

  bytes = new_bytes (&f, 0, 100000);
  assert_refused (&f, &bytes, 1, NULL, TRUE, G_IO_ERROR_MESSAGE_TOO_LARGE,
                  "Error sending message: Message too long");
  g_bytes_unref (bytes);

  g_assert_finalize_object (f.stream);
  g_object_unref (f.socket);
  g_object_unref (f.peer);
  g_assert_cmpint (f.released, ==, f.made);
}

static void
write_null (void)
{
  GSocket *socket;
  GSocket *peer;
  GBytes *null = NULL;

  zcio_test_socket_pair (ZCIO_TEST_FAMILY_UNIX, 0, &socket, &peer);
  zcio_socket_stream_writev_zerocopy (zcio_socket_stream_new (socket), &null, 1, NULL, NULL, NULL);
}

static void
test_null (void)
{
  g_test_summary ("A buffer that is NULL is a bug of the program, and is said to be one");

  if (g_test_subprocess ())
    {
      write_null ();
      return;
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*CRITICAL*zcio_socket_stream_writev_zerocopy: assertion*failed*");
}

static void
run_case (gconstpointer data)
{
  const Case *test = data;
  Fixture f = { NULL };

  if (!zcio_test_socket_pair (test->family, 0, &f.socket, &f.peer))
    return;
  f.stream = zcio_socket_stream_new (f.socket);
  zcio_socket_stream_set_zero_copy_mode (f.stream, test->mode);

  test->func (&f);

  if (!g_socket_is_closed (f.socket))
    g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (f.stream), NULL, NULL));
  g_assert_finalize_object (f.stream);
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, f.made);
  g_assert_finalize_object (f.socket);
  g_object_unref (f.peer);
  g_assert_cmpuint (zcio_linger_count (), ==, 0);
}

static void
add (const char *path,
     void        (*func) (Fixture *f))
{
  static const ZcioTestFamily families[] = { ZCIO_TEST_FAMILY_IPV4, ZCIO_TEST_FAMILY_IPV6, ZCIO_TEST_FAMILY_UNIX };
  static const char *const modes[] = { "auto", "always", "never" };

  for (guint i = 0; i < G_N_ELEMENTS (families); i++)
    for (int mode = ZCIO_ZERO_COPY_MODE_AUTO; mode <= ZCIO_ZERO_COPY_MODE_NEVER; mode++)
      {
        g_autofree char *full_path = g_strdup_printf ("%s/%s/%s", path, zcio_test_family_to_string (families[i]), modes[mode]);
        Case *test = g_new (Case, 1);

        *test = (Case) { .family = families[i], .mode = mode, .func = func };
        g_test_add_data_func_full (full_path, test, run_case, g_free);
      }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  add ("/bad-input/empty", test_empty);
  add ("/bad-input/many", test_many);
  add ("/bad-input/too-large", test_too_large);
  add ("/bad-input/cancelled", test_cancelled);
  add ("/bad-input/pending", test_pending);
  add ("/bad-input/closed-stream", test_closed_stream);
  add ("/bad-input/closed-socket", test_closed_socket);
  g_test_add_func ("/bad-input/not-connected", test_not_connected);
  g_test_add_func ("/bad-input/not-a-stream", test_not_a_stream);
  g_test_add_func ("/bad-input/null", test_null);

  return g_test_run ();
}
