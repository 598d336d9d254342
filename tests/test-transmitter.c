/* test-transmitter.c - the sending side of a stream, on the simulated kernel
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

static void
assert_written (SimulatedStream *s,
                gsize size)
{
  GError *error = NULL;

  simulated_stream_write (s, size, NULL, &error);
  g_assert_no_error (error);
}

static void
assert_state (SimulatedStream *s,
              ZcioZeroCopyState state)
{
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (s->stream), ==, state);
}

/* Sends by zero-copy that wait for the test to complete them. */
static void
init_by_hand (SimulatedStream *s)
{
  simulated_stream_init (s, 1);
  s->kernel->completion = SIMULATED_COMPLETE_BY_HAND;
}

static void
complete_all (SimulatedStream *s)
{
  guint32 first;
  guint n = simulated_kernel_get_incomplete (s->kernel, &first);

  for (guint i = 0; i < n; i++)
    {
      simulated_kernel_get_incomplete (s->kernel, &first);
      simulated_kernel_complete (s->kernel, first, first, FALSE);
    }
}

static void
test_interrupted (void)
{
  SimulatedStream s;

  g_test_summary ("EINTR is not seen, whichever call it interrupts");

  simulated_stream_init (&s, 1);
  for (guint i = 0; i < 3; i++)
    {
      simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, EINTR);
      simulated_kernel_script_error (s.kernel, SIMULATED_SEND_COPY, EINTR);
    }
  assert_written (&s, 1000);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_SEND_ZERO_COPY], ==, 4);
  g_assert_true (simulated_stream_write_plain (&s, 1000, NULL));
  g_assert_cmpuint (s.kernel->calls[SIMULATED_SEND_COPY], ==, 4);

  s.kernel->odds.interrupted = 50;
  assert_written (&s, 3 * 1024 * 1024);
  g_assert_true (zcio_socket_stream_drain (s.stream, 0, NULL, NULL));
  g_assert_cmpuint (s.kernel->sends_in_flight, ==, 0);
  simulated_stream_clear (&s);
}

static void
test_short (void)
{
  SimulatedStream s;

  g_test_summary ("A write of several sends is released once, when the last of them is back");

  init_by_hand (&s);
  simulated_kernel_script_short (s.kernel, SIMULATED_SEND_ZERO_COPY, 1);
  simulated_kernel_script_short (s.kernel, SIMULATED_SEND_ZERO_COPY, 4095);
  simulated_kernel_script_short (s.kernel, SIMULATED_SEND_ZERO_COPY, 10000);
  assert_written (&s, 50000);
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 4);

  simulated_kernel_complete (s.kernel, 2, 3, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 2);
  simulated_kernel_complete (s.kernel, 0, 0, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  g_assert_cmpint (s.released, ==, 0);
  simulated_kernel_complete (s.kernel, 1, 1, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  g_assert_cmpint (s.released, ==, 1);
  simulated_stream_clear (&s);
}

static void
test_short_and_copied (void)
{
  SimulatedStream s;

  g_test_summary ("A write whose last part was copied is held until its zero-copy part is back");

  init_by_hand (&s);
  simulated_kernel_script_short (s.kernel, SIMULATED_SEND_ZERO_COPY, 1000);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, ENOBUFS);
  assert_written (&s, 50000);
  g_assert_cmpuint (s.kernel->zero_copy_bytes, ==, 1000);
  g_assert_cmpuint (s.kernel->copied_bytes, ==, 49000);
  zcio_socket_stream_reap (s.stream);
  g_assert_cmpint (s.released, ==, 0);
  simulated_kernel_complete (s.kernel, 0, 0, FALSE);
  zcio_socket_stream_reap (s.stream);
  g_assert_cmpint (s.released, ==, 1);
  simulated_stream_clear (&s);
}

static void
test_would_block (void)
{
  SimulatedStream s;
  gsize size = 10 * 1024 * 1024;
  gsize part = 5000;
  guint polls;

  g_test_summary ("A full socket is waited for, without spinning and without trying in vain");

  simulated_stream_init (&s, 1);
  s.kernel->send_buffer = 100000;
  s.kernel->drain_size = 20000;
  assert_written (&s, size);
  g_assert_cmpuint (s.kernel->early_tries, ==, 0);
  /* Each round makes some room, and what comes back wakes it a second time. */
  polls = size / s.kernel->drain_size;
  g_assert_cmpuint (s.kernel->calls[SIMULATED_POLL], <, 3 * polls);
  g_assert_cmpuint (s.kernel->would_block, <, polls);

  /* Nobody reads any more: whoever asks without waiting must not make it worse. */
  s.kernel->drain_size = 0;
  while (simulated_stream_writev_nonblocking (&s, &part, 1, NULL) == G_POLLABLE_RETURN_OK)
    ;
  s.kernel->calls[SIMULATED_SEND_ZERO_COPY] = 0;
  for (guint i = 0; i < 1000; i++)
    g_assert_cmpint (simulated_stream_writev_nonblocking (&s, &part, 1, NULL), ==, G_POLLABLE_RETURN_WOULD_BLOCK);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_SEND_ZERO_COPY], ==, 0);
  g_assert_cmpuint (s.kernel->early_tries, ==, 0);
  simulated_stream_clear (&s);
}

static void
test_enobufs_cured (void)
{
  SimulatedStream s;
  ZcioStatistics *statistics;

  g_test_summary ("ENOBUFS because of unread notifications: they are read, and zero-copy goes on");

  init_by_hand (&s);
  s.kernel->optmem_max = 3 * 832;
  for (guint i = 0; i < 3; i++)
    assert_written (&s, 1000);
  simulated_kernel_complete (s.kernel, 2, 2, FALSE);
  simulated_kernel_complete (s.kernel, 0, 0, FALSE);
  assert_written (&s, 1000);

  g_assert_cmpuint (s.kernel->no_buffers, ==, 1);
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 4);
  g_assert_cmpuint (s.kernel->copied_bytes, ==, 0);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_POLL], ==, 0);
  g_assert_cmpint (s.released, ==, 2);
  assert_state (&s, ZCIO_ZERO_COPY_STATE_ACTIVE);
  statistics = simulated_stream_check_statistics (&s);
  g_assert_cmpuint (statistics->enobufs, ==, 1);
  g_assert_cmpuint (statistics->enobufs_cured_by_drain, ==, 1);
  zcio_statistics_free (statistics);
  complete_all (&s);
  simulated_stream_clear (&s);
}

static void
test_enobufs_congested (void)
{
  SimulatedStream s;
  ZcioStatistics *statistics;

  g_test_summary ("ENOBUFS with sends in flight and an empty queue: copies until half of them are back");

  init_by_hand (&s);
  s.kernel->optmem_max = 4 * 832;
  for (guint i = 0; i < 4; i++)
    assert_written (&s, 1000);
  assert_written (&s, 1000);
  assert_state (&s, ZCIO_ZERO_COPY_STATE_CONGESTED);
  /* No second try, since nothing had been read. */
  g_assert_cmpuint (s.kernel->no_buffers, ==, 1);
  g_assert_cmpuint (s.kernel->copied_bytes, ==, 1000);

  assert_written (&s, 1000);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_SEND_ZERO_COPY], ==, 5);
  g_assert_cmpuint (s.kernel->copied_bytes, ==, 2000);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_POLL], ==, 0);
  g_assert_cmpint (s.released, ==, 2);

  simulated_kernel_complete (s.kernel, 0, 0, FALSE);
  zcio_socket_stream_reap (s.stream);
  assert_state (&s, ZCIO_ZERO_COPY_STATE_CONGESTED);
  simulated_kernel_complete (s.kernel, 1, 1, FALSE);
  zcio_socket_stream_reap (s.stream);
  assert_state (&s, ZCIO_ZERO_COPY_STATE_ACTIVE);
  assert_written (&s, 1000);
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 5);

  statistics = simulated_stream_check_statistics (&s);
  g_assert_cmpuint (statistics->enobufs_congested, ==, 1);
  g_assert_cmpuint (statistics->bytes_copied_for_enobufs, ==, 1000);
  g_assert_cmpuint (statistics->bytes_copied_by_choice, ==, 1000);
  zcio_statistics_free (statistics);
  complete_all (&s);
  simulated_stream_clear (&s);
}

static void
test_enobufs_limited (gconstpointer data)
{
  gboolean by_memlock = GPOINTER_TO_INT (data);
  guint logged = simulated_stream_get_limits_logged ();
  SimulatedStream s;
  ZcioStatistics *statistics;
  guint64 tries;

  g_test_summary ("ENOBUFS with nothing in flight: copies, logs it once, and tries again ever more seldom");

  simulated_stream_init (&s, 1);
  if (by_memlock)
    s.kernel->memlock_limit = 0;
  else
    s.kernel->optmem_max = 500;
  for (guint i = 0; i < 100; i++)
    assert_written (&s, 1000);
  assert_state (&s, ZCIO_ZERO_COPY_STATE_SUSPENDED);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_SEND_ZERO_COPY], ==, 1);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_POLL], ==, 0);
  g_assert_cmpint (s.released, ==, 100);

  /* An hour, with a write in each second. */
  for (guint i = 0; i < 3600; i++)
    {
      simulated_kernel_advance (s.kernel, G_USEC_PER_SEC);
      assert_written (&s, 1000);
    }
  tries = s.kernel->calls[SIMULATED_SEND_ZERO_COPY];
  g_assert_cmpuint (tries, >, 3);
  g_assert_cmpuint (tries, <, 60);
  g_assert_cmpuint (simulated_stream_get_limits_logged () - logged, ==, 1);

  /* The limit is raised: it is found out. */
  s.kernel->memlock_limit = G_MAXSIZE;
  s.kernel->optmem_max = 131072;
  for (guint i = 0; i < 3600 && s.kernel->zero_copy_sends == 0; i++)
    {
      simulated_kernel_advance (s.kernel, G_USEC_PER_SEC);
      assert_written (&s, 1000);
    }
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 1);
  assert_state (&s, ZCIO_ZERO_COPY_STATE_ACTIVE);

  statistics = simulated_stream_check_statistics (&s);
  g_assert_cmpuint (statistics->enobufs_limited, ==, s.kernel->no_buffers);
  g_assert_cmpuint (statistics->enobufs, ==, s.kernel->no_buffers);
  zcio_statistics_free (statistics);
  simulated_stream_clear (&s);
}

static void
test_enobufs_hides_error (void)
{
  SimulatedStream s;
  GError *error = NULL;

  g_test_summary ("ENOBUFS hides that the connection is gone: the copy tells it");

  init_by_hand (&s);
  s.kernel->optmem_max = 832;
  assert_written (&s, 1000);
  simulated_kernel_reset (s.kernel, ECONNRESET);
  s.kernel->optmem_max = 0;
  g_assert_false (simulated_stream_write (&s, 1000, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED);
  g_clear_error (&error);
  simulated_stream_clear (&s);
}

static void
test_refused (gconstpointer data)
{
  int error_number = GPOINTER_TO_INT (data);
  SimulatedStream s;
  GError *error = NULL;

  g_test_summary ("A send that only zero-copy cannot do is copied; an error of the copy is told");

  simulated_stream_init (&s, 1);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, error_number);
  assert_written (&s, 1000);
  g_assert_cmpuint (s.kernel->copied_bytes, ==, 1000);
  g_assert_cmpint (s.released, ==, 1);

  /* It was about that memory, not about the socket. */
  assert_written (&s, 1000);
  g_assert_cmpuint (s.kernel->zero_copy_bytes, ==, 1000);

  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, error_number);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_COPY, error_number);
  g_assert_false (simulated_stream_write (&s, 1000, NULL, &error));
  g_assert_error (error, G_IO_ERROR, (int) g_io_error_from_errno (error_number));
  g_clear_error (&error);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_SEND_COPY], ==, 2);

  /* What was accepted before is reported. */
  simulated_kernel_script_short (s.kernel, SIMULATED_SEND_ZERO_COPY, 300);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, error_number);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_COPY, error_number);
  g_assert_false (simulated_stream_write (&s, 1000, NULL, &error));
  g_clear_error (&error);
  g_assert_cmpuint (s.accepted, ==, 2300);
  simulated_stream_clear (&s);
}

static void
test_unsupported (void)
{
  SimulatedStream s;

  g_test_summary ("A socket that refuses zero-copy, at once or with each send, is copied to");

  simulated_stream_init (&s, 1);
  s.kernel->no_zero_copy = TRUE;
  for (guint i = 0; i < 10; i++)
    assert_written (&s, 100000);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_SEND_ZERO_COPY], ==, 0);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_ENABLE_ZERO_COPY], ==, 1);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_RECEIVE_ERROR], ==, 0);
  g_assert_cmpint (s.released, ==, 10);
  assert_state (&s, ZCIO_ZERO_COPY_STATE_UNSUPPORTED);
  simulated_stream_clear (&s);

  simulated_stream_init (&s, 1);
  s.kernel->refuses_flag = TRUE;
  for (guint i = 0; i < 10; i++)
    assert_written (&s, 100000);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_SEND_ZERO_COPY], ==, 1);
  g_assert_cmpint (s.released, ==, 10);
  assert_state (&s, ZCIO_ZERO_COPY_STATE_UNSUPPORTED);
  simulated_stream_clear (&s);
}

static void
test_broken_pipe (gconstpointer data)
{
  SimulatedStream s;
  GError *error = NULL;
  gsize size = 1000;

  g_test_summary ("After the connection has ended the error is told, and all is released");

  simulated_stream_init (&s, 1);
  s.kernel->drain_size = 0;
  s.kernel->send_buffer = 1024 * 1024;
  s.kernel->shares = FALSE;
  for (guint i = 0; i < 5; i++)
    assert_written (&s, 40000);
  simulated_kernel_script_short (s.kernel, SIMULATED_SEND_ZERO_COPY, 300);
  simulated_kernel_script_error (s.kernel, SIMULATED_SEND_ZERO_COPY, GPOINTER_TO_INT (data));
  g_assert_false (simulated_stream_write (&s, 1000, NULL, &error));
  g_assert_error (error, G_IO_ERROR, (int) g_io_error_from_errno (GPOINTER_TO_INT (data)));
  g_clear_error (&error);
  g_assert_cmpuint (s.accepted, ==, 200300);
  zcio_socket_stream_reap (s.stream);
  g_assert_cmpint (s.released, ==, 6);

  g_assert_cmpint (simulated_stream_writev_nonblocking (&s, &size, 1, &error), ==, G_POLLABLE_RETURN_FAILED);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  g_clear_error (&error);
  simulated_stream_clear (&s);
}

static void
test_early_completion (void)
{
  SimulatedStream s;

  g_test_summary ("A completion that is there before the send returns is for that send");

  simulated_stream_init (&s, 1);
  s.kernel->completion = SIMULATED_COMPLETE_AT_ONCE;
  for (guint i = 0; i < 10; i++)
    {
      assert_written (&s, 1000);
      zcio_socket_stream_reap (s.stream);
      g_assert_cmpint (s.released, ==, (int) i + 1);
    }
  assert_written (&s, 3 * 1024 * 1024);
  zcio_socket_stream_reap (s.stream);
  g_assert_cmpint (s.released, ==, 11);
  simulated_stream_clear (&s);
}

static void
test_disorder (gconstpointer data)
{
  SimulatedStream s;

  g_test_summary ("Ranges merged, out of order, doubled, foreign and never sent: each send is released by its own id");

  init_by_hand (&s);
  s.kernel->family = GPOINTER_TO_INT (data);
  for (guint i = 0; i < 8; i++)
    assert_written (&s, 1000 + i);

  simulated_kernel_complete (s.kernel, 5, 7, TRUE);
  simulated_kernel_queue_foreign (s.kernel, SIMULATED_TIMESTAMP);
  simulated_kernel_notify (s.kernel, 5, 7, TRUE);
  simulated_kernel_notify (s.kernel, 100, 200, FALSE);
  simulated_kernel_notify (s.kernel, 0xffffff00, 0xffffffff, FALSE);
  simulated_kernel_queue_foreign (s.kernel, SIMULATED_ICMP);
  simulated_kernel_complete (s.kernel, 0, 1, FALSE);
  simulated_kernel_queue_foreign (s.kernel, SIMULATED_TXTIME);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 5);
  g_assert_cmpint (s.released, ==, 5);
  simulated_kernel_complete (s.kernel, 4, 4, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  simulated_kernel_complete (s.kernel, 2, 3, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 2);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 0);
  g_assert_cmpint (s.released, ==, 8);
  simulated_stream_clear (&s);
}

static void
test_unknown_counter (void)
{
  SimulatedStream s;

  g_test_summary ("With an unknown counter one send goes alone; then the ids are known, also across the wrap");

  init_by_hand (&s);
  s.kernel->drain_size = 1024 * 1024;
  simulated_kernel_set_counter (s.kernel, 0xfffffffe);
  for (guint i = 0; i < 5; i++)
    assert_written (&s, 1000);
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 1);
  g_assert_cmpuint (s.kernel->copied_bytes, ==, 4000);
  simulated_kernel_complete (s.kernel, 0xfffffffe, 0xfffffffe, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);

  for (guint i = 0; i < 5; i++)
    assert_written (&s, 1000);
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 6);
  simulated_kernel_complete (s.kernel, 3, 3, FALSE);
  simulated_kernel_complete (s.kernel, 0xffffffff, 1, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 4);
  simulated_kernel_complete (s.kernel, 2, 2, FALSE);
  g_assert_cmpuint (zcio_socket_stream_reap (s.stream), ==, 1);
  simulated_stream_clear (&s);
}

static void
cancel (gpointer data)
{
  g_cancellable_cancel (data);
}

static void
test_drain (void)
{
  SimulatedStream s;
  GCancellable *cancellable = g_cancellable_new ();
  GError *error = NULL;
  gint64 begin;

  g_test_summary ("Waiting for completions ends with them, with a cancel or with the timeout, and memory stays owned");

  simulated_stream_init (&s, 1);
  s.kernel->completion_delay = 60 * G_USEC_PER_SEC;
  s.kernel->shares = FALSE;
  for (guint i = 0; i < 3; i++)
    assert_written (&s, 10000);

  simulated_kernel_after (s.kernel, G_USEC_PER_SEC, cancel, cancellable);
  g_assert_false (zcio_socket_stream_drain (s.stream, 0, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_cmpint (s.released, ==, 0);

  begin = s.kernel->now;
  g_socket_set_timeout (s.socket, 5);
  g_assert_false (zcio_socket_stream_drain (s.stream, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  g_assert_cmpint (s.kernel->now - begin, >=, 5 * G_USEC_PER_SEC);
  g_assert_cmpint (s.kernel->now - begin, <, 6 * G_USEC_PER_SEC);
  g_assert_cmpint (s.released, ==, 0);

  g_socket_set_timeout (s.socket, 0);
  g_assert_true (zcio_socket_stream_drain (s.stream, 0, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (s.released, ==, 3);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_POLL], <, 20);
  g_object_unref (cancellable);
  simulated_stream_clear (&s);
}

static void
test_cancelled_write (void)
{
  SimulatedStream s;
  GCancellable *cancellable = g_cancellable_new ();
  GError *error = NULL;

  g_test_summary ("A write that is cancelled while it waits reports what was accepted, and holds it");

  init_by_hand (&s);
  s.kernel->drain_size = 0;
  s.kernel->send_buffer = 10000;
  simulated_kernel_after (s.kernel, 1000, cancel, cancellable);
  g_assert_false (simulated_stream_write (&s, 50000, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_cmpuint (s.accepted, ==, 10000);
  g_assert_cmpint (s.released, ==, 0);
  complete_all (&s);
  g_object_unref (cancellable);
  simulated_stream_clear (&s);
}

static void
test_drain_after_reset (void)
{
  SimulatedStream s;
  GError *error = NULL;

  g_test_summary ("After a reset, what a device still holds is waited for without spinning");

  simulated_stream_init (&s, 1);
  s.kernel->drain_size = 0;
  s.kernel->shares = FALSE;
  s.kernel->window = 20000;
  s.kernel->queue_delay = 10 * G_USEC_PER_SEC;
  for (guint i = 0; i < 10; i++)
    assert_written (&s, 10000);
  g_assert_true (zcio_socket_stream_abort (s.stream, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_DISCONNECT], ==, 1);
  zcio_socket_stream_reap (s.stream);
  g_assert_cmpint (s.released, ==, 8);
  g_assert_true (zcio_socket_stream_drain (s.stream, 0, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (s.released, ==, 10);
  /* Twenty seconds, in which POLLERR and POLLHUP are set all the while. */
  g_assert_cmpuint (s.kernel->calls[SIMULATED_POLL], <, 1000);
  simulated_stream_clear (&s);
}

static void
test_max_bytes_in_flight (void)
{
  SimulatedStream s;
  gsize size = 8000;
  guint64 in_flight;

  g_test_summary ("Never is much more in flight than was allowed");

  simulated_stream_init (&s, 1);
  s.kernel->shares = FALSE;
  s.kernel->completion_delay = 5000;
  g_object_set (s.stream, "max-bytes-in-flight", (guint64) 30000, NULL);
  for (guint i = 0; i < 100; i++)
    {
      assert_written (&s, size);
      g_object_get (s.stream, "bytes-in-flight", &in_flight, NULL);
      g_assert_cmpuint (in_flight, <, 30000 + size);
    }
  while (simulated_stream_writev_nonblocking (&s, &size, 1, NULL) == G_POLLABLE_RETURN_OK)
    ;
  g_object_get (s.stream, "bytes-in-flight", &in_flight, NULL);
  g_assert_cmpuint (in_flight, >=, 30000);
  g_assert_cmpuint (in_flight, <, 30000 + size);
  g_assert_cmpuint (s.kernel->calls[SIMULATED_POLL], <, 1000);
  simulated_stream_clear (&s);
}

static void
test_limits (void)
{
  SimulatedStream s;
  gsize *sizes = g_new (gsize, 5000);

  g_test_summary ("One call asks for no more than the kernel takes");

  simulated_stream_init (&s, 1);
  s.kernel->send_buffer = G_MAXSIZE / 2;
  assert_written (&s, 3 * ZCIO_MAX_SEND_SIZE + 1);
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 4);
  for (guint i = 0; i < 5000; i++)
    sizes[i] = i % 3;
  g_assert_true (simulated_stream_writev (&s, sizes, 5000, NULL));
  g_free (sizes);
  simulated_stream_clear (&s);
}

static void
test_plain (void)
{
  SimulatedStream s;

  g_test_summary ("Plain writes copy, whatever the mode");

  simulated_stream_init (&s, 1);
  g_assert_true (simulated_stream_write_plain (&s, 1000000, NULL));
  g_assert_cmpuint (s.kernel->zero_copy_sends, ==, 0);
  g_assert_cmpuint (s.kernel->copied_bytes, ==, 1000000);
  simulated_stream_clear (&s);
}

static void
add (const char *path,
     int value,
     GTestDataFunc function)
{
  g_test_add_data_func (path, GINT_TO_POINTER (value), function);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  simulated_stream_watch_log ();

  g_test_add_func ("/transmitter/interrupted", test_interrupted);
  g_test_add_func ("/transmitter/short", test_short);
  g_test_add_func ("/transmitter/short-and-copied", test_short_and_copied);
  g_test_add_func ("/transmitter/would-block", test_would_block);
  g_test_add_func ("/transmitter/enobufs/cured", test_enobufs_cured);
  g_test_add_func ("/transmitter/enobufs/congested", test_enobufs_congested);
  add ("/transmitter/enobufs/limited-by-optmem", FALSE, test_enobufs_limited);
  add ("/transmitter/enobufs/limited-by-memlock", TRUE, test_enobufs_limited);
  g_test_add_func ("/transmitter/enobufs/hides-error", test_enobufs_hides_error);
  add ("/transmitter/refused/fault", EFAULT, test_refused);
  add ("/transmitter/refused/no-memory", ENOMEM, test_refused);
  g_test_add_func ("/transmitter/unsupported", test_unsupported);
  add ("/transmitter/connection-ends/broken-pipe", EPIPE, test_broken_pipe);
  add ("/transmitter/connection-ends/reset", ECONNRESET, test_broken_pipe);
  add ("/transmitter/connection-ends/timed-out", ETIMEDOUT, test_broken_pipe);
  g_test_add_func ("/transmitter/early-completion", test_early_completion);
  add ("/transmitter/disorder/ipv4", AF_INET, test_disorder);
  add ("/transmitter/disorder/ipv6", AF_INET6, test_disorder);
  g_test_add_func ("/transmitter/unknown-counter", test_unknown_counter);
  g_test_add_func ("/transmitter/drain", test_drain);
  g_test_add_func ("/transmitter/cancelled-write", test_cancelled_write);
  g_test_add_func ("/transmitter/drain-after-reset", test_drain_after_reset);
  g_test_add_func ("/transmitter/max-bytes-in-flight", test_max_bytes_in_flight);
  g_test_add_func ("/transmitter/limits", test_limits);
  g_test_add_func ("/transmitter/plain", test_plain);

  return g_test_run ();
}
