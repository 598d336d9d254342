/* test-transmitter-whole.c - writes that go in one send, and those that fall short of it
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-stream.h"
#include "test-util.h"

#include <errno.h>

#include "zcio/zcio-copy-policy-private.h"
#include "zcio/zcio-file-splice-private.h"
#include "zcio/zcio-send-private.h"
#include "zcio/zcio-socket-stream-private.h"

#define SIZE ((gsize) 50000)

/* A stream in the midst of a flood: sends are in flight, and all there is to prepare is. What is
 * called from here on is counted from 0.
 */
static void
init_flood (SimulatedStream *s)
{
  simulated_stream_init (s, 1);
  s->kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  s->kernel->send_buffer = G_MAXSIZE / 2;
  for (guint i = 0; i < 2; i++)
    g_assert_true (simulated_stream_write (s, SIZE, NULL, NULL));
  for (guint i = 0; i < SIMULATED_N_CALLS; i++)
    s->kernel->calls[i] = 0;
}

static void
complete_all (SimulatedStream *s)
{
  guint32 first;

  while (simulated_kernel_get_incomplete (s->kernel, &first) > 0)
    simulated_kernel_complete (s->kernel, first, first, FALSE);
}

static void
clear_flood (SimulatedStream *s)
{
  zcio_statistics_free (simulated_stream_check_statistics (s));
  complete_all (s);
  simulated_stream_clear (s);
}

static void
assert_calls (SimulatedStream *s,
              guint zero_copy_sends,
              guint copying_sends)
{
  g_assert_cmpuint (s->kernel->calls[SIMULATED_SEND_ZERO_COPY], ==, zero_copy_sends);
  g_assert_cmpuint (s->kernel->calls[SIMULATED_SEND_COPY], ==, copying_sends);
}

static void
test_one_call (void)
{
  const gsize sizes[] = { 3000, 1, 5000 };
  SimulatedStream s;

  g_test_summary ("A write that the socket takes at once is one system call, be it a buffer or vectors");

  init_flood (&s);
  g_assert_true (simulated_stream_write (&s, SIZE, NULL, NULL));
  assert_calls (&s, 1, 0);
  g_assert_true (simulated_stream_writev_full (&s, sizes, G_N_ELEMENTS (sizes), NULL));
  assert_calls (&s, 2, 0);
  g_assert_true (simulated_stream_writev (&s, sizes, G_N_ELEMENTS (sizes), NULL));
  assert_calls (&s, 3, 0);
  g_assert_cmpuint (s.kernel->n_calls, ==, s.kernel->zero_copy_sends + 1);
  clear_flood (&s);
}

static void
test_short (void)
{
  SimulatedStream s;

  g_test_summary ("Of a write that falls short only the rest is sent again, and no id is lost");

  init_flood (&s);
  simulated_kernel_script_short (s.kernel, SIMULATED_SEND_ZERO_COPY, 20000);
  g_assert_true (simulated_stream_write (&s, SIZE, NULL, NULL));
  assert_calls (&s, 2, 0);
  g_assert_cmpuint (s.kernel->zero_copy_bytes, ==, 3 * SIZE);

  simulated_kernel_complete (s.kernel, 3, 3, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  g_assert_cmpint (s.released, ==, 0);
  simulated_kernel_complete (s.kernel, 2, 2, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  g_assert_cmpint (s.released, ==, 1);
  clear_flood (&s);
}

static void
test_would_block (void)
{
  const gsize size = SIZE;
  SimulatedStream s;

  g_test_summary ("A write that finds no space is not tried a second time before there is some");

  init_flood (&s);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, EAGAIN);
  g_assert_cmpint (simulated_stream_writev_nonblocking (&s, &size, 1, NULL), ==,
                   G_POLLABLE_RETURN_WOULD_BLOCK);
  assert_calls (&s, 1, 0);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_POLL], ==, 0);
  g_assert_cmpuint (s.kernel->early_tries, ==, 0);

  g_assert_true (simulated_stream_write (&s, SIZE, NULL, NULL));
  g_assert_cmpuint (s.kernel->early_tries, ==, 0);
  clear_flood (&s);
}

static void
test_no_buffers (void)
{
  SimulatedStream s;

  g_test_summary ("A write that meets ENOBUFS drains, and tries zero-copy once more");

  init_flood (&s);
  simulated_kernel_complete (s.kernel, 0, 0, FALSE);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, ENOBUFS);
  g_assert_true (simulated_stream_write (&s, SIZE, NULL, NULL));
  assert_calls (&s, 2, 0);
  g_assert_cmpint (s.released, ==, 1);

  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, ENOBUFS);
  g_assert_true (simulated_stream_write (&s, SIZE, NULL, NULL));
  assert_calls (&s, 3, 1);
  clear_flood (&s);
}

static void
test_failed (gconstpointer data)
{
  int error_number = GPOINTER_TO_INT (data);
  SimulatedStream s;
  GError *error = NULL;

  g_test_summary ("A write that fails tells the error of its one send, or of the copy that follows");

  init_flood (&s);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, error_number);
  if (error_number == EFAULT)
    {
      g_assert_true (simulated_stream_write (&s, SIZE, NULL, NULL));
      assert_calls (&s, 1, 1);
    }
  else
    {
      g_assert_false (simulated_stream_write (&s, SIZE, NULL, &error));
      g_assert_error (error, G_IO_ERROR, (int) g_io_error_from_errno (error_number));
      g_clear_error (&error);
      assert_calls (&s, 1, 0);
    }
  clear_flood (&s);
}

/* What a release function of a program might do. */
typedef struct
{
  SimulatedStream stream;
  guint8 memory[1000];
  guint n_calls;
  guint n_refused;
} Caller;

static void
count_refusal (Caller  *caller,
               gboolean success,
               GError  *error)
{
  g_assert_false (success);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
  g_error_free (error);
  caller->n_refused++;
}

static void
call_back (gpointer data)
{
  Caller *caller = data;
  GOutputStream *stream = G_OUTPUT_STREAM (caller->stream.stream);
  GBytes *bytes = g_bytes_new_static (caller->memory, sizeof caller->memory);
  GError *error = NULL;
  gboolean success;

  caller->n_calls++;
  g_assert_true (g_output_stream_has_pending (stream));
  success = zcio_socket_stream_write_zerocopy (caller->stream.stream, bytes, NULL, NULL, &error);
  count_refusal (caller, success, g_steal_pointer (&error));
  success = g_output_stream_write_all (stream, caller->memory, sizeof caller->memory, NULL, NULL, &error);
  count_refusal (caller, success, g_steal_pointer (&error));
  success = g_output_stream_close (stream, NULL, &error);
  count_refusal (caller, success, g_steal_pointer (&error));
  success = zcio_socket_stream_writev_zerocopy_nonblocking (caller->stream.stream, &bytes, 1, NULL, NULL, &error) !=
            G_POLLABLE_RETURN_FAILED;
  count_refusal (caller, success, g_steal_pointer (&error));
  g_bytes_unref (bytes);
}

/* Returns when the next write is to reap. */
static void
fill_until_reap (Caller *caller)
{
  const GOutputVector vector = { caller->memory, sizeof caller->memory };
  SimulatedStream *s = &caller->stream;

  simulated_stream_init (s, 1);
  s->kernel->completion = SIMULATED_COMPLETE_AT_ONCE;
  s->kernel->send_buffer = G_MAXSIZE / 2;
  zcio_test_pattern_fill (0, caller->memory, sizeof caller->memory);
  g_assert_true (zcio_socket_stream_writev_zerocopy_full (s->stream, &vector, 1, call_back, caller,
                                                          NULL, NULL, NULL));
  s->accepted = sizeof caller->memory;
  for (guint i = 1; i < 64; i++)
    g_assert_true (simulated_stream_write (s, 1000, NULL, NULL));
  g_assert_cmpuint (caller->n_calls, ==, 0);
}

static void
test_pending (gconstpointer data)
{
  gboolean is_short = GPOINTER_TO_INT (data);
  Caller caller = { 0 };

  g_test_summary ("What a write releases may find the stream pending, and gets nothing in between its parts");

  fill_until_reap (&caller);
  if (is_short)
    simulated_kernel_script_short (caller.stream.kernel, SIMULATED_SEND_ZERO_COPY, 20000);
  g_assert_true (simulated_stream_write (&caller.stream, SIZE, NULL, NULL));
  g_assert_cmpuint (caller.n_calls, ==, 1);
  g_assert_cmpuint (caller.n_refused, ==, 4);
  g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (caller.stream.stream)));
  simulated_stream_settle (&caller.stream);
  simulated_stream_clear (&caller.stream);
}

/* Called in the midst of a send. */
static void
cancel (SimulatedKernel *kernel,
        SimulatedCall    call,
        gpointer         data)
{
  if (call == SIMULATED_SEND_ZERO_COPY)
    g_cancellable_cancel (data);
}

static void
test_error_before_cancellation (void)
{
  SimulatedStream s;
  GCancellable *cancellable = g_cancellable_new ();
  GError *error = NULL;

  g_test_summary ("An error that the socket tells once is told, though the write is cancelled meanwhile");

  init_flood (&s);
  s.kernel->hook = cancel;
  s.kernel->hook_data = cancellable;
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, ECONNRESET);
  g_assert_false (simulated_stream_write (&s, SIZE, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, (int) g_io_error_from_errno (ECONNRESET));
  g_clear_error (&error);
  s.kernel->hook = NULL;
  g_object_unref (cancellable);
  clear_flood (&s);
}

static void
look_at_flag (SimulatedKernel *kernel,
              SimulatedCall    call,
              gpointer         data)
{
  SimulatedStream *s = data;

  if (call == SIMULATED_SEND_ZERO_COPY || call == SIMULATED_SEND_COPY)
    g_assert_true (g_output_stream_has_pending (G_OUTPUT_STREAM (s->stream)));
}

static void
test_flag (void)
{
  SimulatedStream s;

  g_test_summary ("The stream is pending during each send, so that another thread's write is refused");

  init_flood (&s);
  s.kernel->hook = look_at_flag;
  s.kernel->hook_data = &s;
  g_assert_true (simulated_stream_write (&s, SIZE, NULL, NULL));
  zcio_socket_stream_set_zero_copy_mode (s.stream, ZCIO_ZERO_COPY_MODE_AUTO);
  g_assert_true (simulated_stream_write (&s, SIZE, NULL, NULL));
  g_assert_true (simulated_stream_write (&s, 1000, NULL, NULL));
  assert_calls (&s, 2, 1);
  s.kernel->hook = NULL;
  clear_flood (&s);
}

static void
test_drain_is_no_write (void)
{
  const gsize size = SIZE;
  SimulatedStream s;
  GAsyncResult *result = NULL;

  g_test_summary ("That a drain has ended does not say that a socket without space is writable");

  init_flood (&s);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, EAGAIN);
  g_assert_cmpint (simulated_stream_writev_nonblocking (&s, &size, 1, NULL), ==,
                   G_POLLABLE_RETURN_WOULD_BLOCK);
  zcio_socket_stream_drain_async (s.stream, SIZE, G_PRIORITY_DEFAULT, NULL, zcio_test_store_result, &result);
  simulated_kernel_complete (s.kernel, 0, 0, FALSE);
  zcio_socket_stream_reap (s.stream);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_true (zcio_socket_stream_drain_finish (s.stream, result, NULL));
  g_object_unref (result);

  g_assert_cmpint (simulated_stream_writev_nonblocking (&s, &size, 1, NULL), ==, G_POLLABLE_RETURN_OK);
  g_assert_cmpuint (s.kernel->early_tries, ==, 0);
  clear_flood (&s);
}

/* What a write does that another thread's closing overtakes, when it has made its checks. */
static void
assert_closed (SimulatedStream *s)
{
  GBytes *bytes = g_bytes_new_static ("x", 1);
  ZcioSendRequest request;
  GError *error = NULL;

  g_assert_true (zcio_send_request_init_buffer (&request, &bytes, NULL));
  g_assert_cmpint (zcio_transmitter_send (zcio_socket_stream_get_transmitter (s->stream), s->socket, &request, &error),
                   ==, ZCIO_SEND_FAILED);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_error_free (error);
  assert_calls (s, 0, 0);
  g_bytes_unref (bytes);
}

static void
test_overtaken (gconstpointer data)
{
  gboolean closes_connection = GPOINTER_TO_INT (data);
  ZcioSocketStream *other;
  SimulatedStream s;

  g_test_summary ("Nothing is sent when nobody would reap any more, or the socket is about to be closed");

  init_flood (&s);
  while (s.kernel->sends_in_flight > 0)
    {
      simulated_kernel_complete (s.kernel, 0, 1, FALSE);
      zcio_socket_stream_reap (s.stream);
    }
  /* It has not written anything, and so does not reap. */
  other = zcio_socket_stream_new (s.socket);
  if (closes_connection)
    zcio_transmitter_close (zcio_socket_stream_get_transmitter (s.stream));
  else
    g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (s.stream), NULL, NULL));
  assert_closed (&s);
  g_object_unref (other);
  simulated_stream_clear (&s);
}

static void
test_one_watch (void)
{
  SimulatedStream s;
  GBytes *bytes = g_bytes_new_static ("x", 1);
  GAsyncResult *result = NULL;
  GError *error = NULL;

  g_test_summary ("A write that is refused because another is under way prepares nothing for itself");

  simulated_stream_init (&s, 1);
  g_assert_true (g_output_stream_set_pending (G_OUTPUT_STREAM (s.stream), NULL));
  zcio_socket_stream_writev_zerocopy_async (s.stream, &bytes, 1, G_PRIORITY_DEFAULT, NULL, zcio_test_store_result, &result);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_false (zcio_socket_stream_writev_zerocopy_finish (s.stream, result, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
  g_clear_error (&error);
  g_object_unref (result);
  g_assert_cmpint (zcio_socket_stream_writev_zerocopy_nonblocking (s.stream, &bytes, 1, NULL, NULL, &error), ==,
                   G_POLLABLE_RETURN_FAILED);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
  g_clear_error (&error);
  g_assert_null (zcio_socket_stream_get_transmitter (s.stream)->watches);

  g_output_stream_clear_pending (G_OUTPUT_STREAM (s.stream));
  g_bytes_unref (bytes);
  simulated_stream_clear (&s);
}

static gboolean
on_timeout (GSocket      *socket,
            GIOCondition  condition,
            gpointer      data)
{
  *(gboolean *) data = TRUE;
  return G_SOURCE_REMOVE;
}

/* The pattern goes on in it, after what init_flood () has sent. */
static GInputStream *
open_file (void)
{
  static guint8 content[100000];
  GFileIOStream *stream;
  GFile *file = g_file_new_tmp (NULL, &stream, NULL);
  GInputStream *input;

  zcio_test_pattern_fill (2 * SIZE, content, sizeof content);
  g_assert_true (g_output_stream_write_all (g_io_stream_get_output_stream (G_IO_STREAM (stream)), content,
                                            sizeof content, NULL, NULL, NULL));
  input = G_INPUT_STREAM (g_file_read (file, NULL, NULL));
  g_file_delete (file, NULL, NULL);
  g_object_unref (stream);
  g_object_unref (file);

  return input;
}

static void
test_timed_out (gconstpointer data)
{
  gboolean is_short = GPOINTER_TO_INT (data);
  GInputStream *input = open_file ();
  ZcioFileSplice splice;
  SimulatedStream s;
  gboolean timed_out = FALSE;
  GSource *source;
  GError *error = NULL;

  g_test_summary ("A send that falls short leaves no error behind that hides the timeout of the socket");

  init_flood (&s);
  g_socket_set_timeout (s.socket, 1);
  source = g_socket_create_source (s.socket, G_IO_IN, NULL);
  g_source_set_callback (source, (GSourceFunc) (GCallback) on_timeout, &timed_out, NULL);
  g_source_attach (source, NULL);
  zcio_test_wait_until (NULL, timed_out);
  g_source_unref (source);

  if (is_short)
    simulated_kernel_script_short (s.kernel, SIMULATED_SEND_ZERO_COPY, 1000);
  else
    {
      simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, EFAULT);
      simulated_kernel_script_error (s.kernel, SIMULATED_SEND_COPY, EAGAIN);
    }
  g_assert_true (zcio_file_splice_init (&splice, zcio_socket_stream_get_transmitter (s.stream), s.socket, input, &error));
  errno = EFAULT;
  g_assert_cmpint (zcio_file_splice_step (&splice, NULL, &error), ==, ZCIO_SPLICE_FAILED);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  /* The real kernel holds the pages of a file that is unmapped. The simulated one looks at the
   * memory until it has told that a send is complete.
   */
  complete_all (&s);
  zcio_socket_stream_reap (s.stream);
  zcio_file_splice_clear (&splice);
  g_object_unref (input);

  s.accepted += is_short ? 1000 : 0;
  clear_flood (&s);
}

/* What needs no plan, by the short way, is what a plan would say. */
static void
test_plan (void)
{
  guint n_whole = 0;

  g_test_summary ("Where a write is taken to go whole, a plan for its vectors says the same");

  for (guint i = 0; i < 10000; i++)
    {
      struct iovec vectors[20];
      gsize n = (gsize) g_test_rand_int_range (1, G_N_ELEMENTS (vectors) + 1);
      gsize size = 0;
      gsize smallest = G_MAXSIZE;
      ZcioCopyPolicy policy;
      ZcioCopyPlan plan;

      zcio_copy_policy_init (&policy, TRUE, FALSE, 0);
      if (g_test_rand_bit ())
        zcio_copy_policy_set_mode (&policy, ZCIO_ZERO_COPY_MODE_ALWAYS, 0);
      if (g_test_rand_bit ())
        zcio_copy_policy_set_threshold (&policy, (gsize) g_test_rand_int_range (1, 100000));
      for (gsize j = 0; j < n; j++)
        {
          vectors[j].iov_len = (gsize) g_test_rand_int_range (0, g_test_rand_bit () ? 3000 : 100000);
          size += vectors[j].iov_len;
          smallest = MIN (smallest, vectors[j].iov_len);
        }

      if (!zcio_copy_policy_takes_whole (&policy, size, smallest))
        continue;
      n_whole++;
      zcio_copy_policy_plan (&policy, vectors, n, size, 0, &plan);
      g_assert_true (plan.zero_copy);
      g_assert_false (plan.more);
      g_assert_cmpuint (plan.n_vectors, ==, n);
      g_assert_cmpuint (plan.size, ==, size);
    }
  g_assert_cmpuint (n_whole, >, 1000);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  simulated_stream_watch_log ();

  g_test_add_func ("/transmitter-whole/one-call", test_one_call);
  g_test_add_func ("/transmitter-whole/short", test_short);
  g_test_add_func ("/transmitter-whole/would-block", test_would_block);
  g_test_add_func ("/transmitter-whole/no-buffers", test_no_buffers);
  g_test_add_data_func ("/transmitter-whole/failed/fault", GINT_TO_POINTER (EFAULT), test_failed);
  g_test_add_data_func ("/transmitter-whole/failed/reset", GINT_TO_POINTER (ECONNRESET), test_failed);
  g_test_add_data_func ("/transmitter-whole/pending/whole", GINT_TO_POINTER (FALSE), test_pending);
  g_test_add_data_func ("/transmitter-whole/pending/short", GINT_TO_POINTER (TRUE), test_pending);
  g_test_add_func ("/transmitter-whole/flag", test_flag);
  g_test_add_func ("/transmitter-whole/one-watch", test_one_watch);
  g_test_add_func ("/transmitter-whole/drain-is-no-write", test_drain_is_no_write);
  g_test_add_data_func ("/transmitter-whole/overtaken/stream", GINT_TO_POINTER (FALSE), test_overtaken);
  g_test_add_data_func ("/transmitter-whole/overtaken/socket", GINT_TO_POINTER (TRUE), test_overtaken);
  g_test_add_func ("/transmitter-whole/error-before-cancellation", test_error_before_cancellation);
  g_test_add_data_func ("/transmitter-whole/timed-out/refused", GINT_TO_POINTER (FALSE), test_timed_out);
  g_test_add_data_func ("/transmitter-whole/timed-out/short", GINT_TO_POINTER (TRUE), test_timed_out);
  g_test_add_func ("/transmitter-whole/plan", test_plan);

  return g_test_run ();
}
