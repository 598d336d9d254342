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
clear_flood (SimulatedStream *s)
{
  guint32 first;

  zcio_statistics_free (simulated_stream_check_statistics (s));
  while (simulated_kernel_get_incomplete (s->kernel, &first) > 0)
    simulated_kernel_complete (s->kernel, first, first, FALSE);
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
  g_test_add_func ("/transmitter-whole/plan", test_plan);

  return g_test_run ();
}
