/* test-simulated-kernel.c - tests the simulated kernel itself
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-kernel-fixture.h"
#include "test-util.h"

#include <errno.h>
#include <glib-unix.h>

static void
assert_send_fails (SimulatedKernel *kernel,
                   gsize size,
                   int flags,
                   int error_number)
{
  g_assert_cmpint (send_at (kernel, 0, size, flags), ==, -1);
  g_assert_cmpint (errno, ==, error_number);
}

static void
test_stream (void)
{
  SimulatedKernel *kernel = make_kernel ();
  const guint8 *stream;
  gsize size;

  g_test_summary ("Sends are accepted in order, and short ones only in part");

  simulated_kernel_script_short (kernel, SIMULATED_SEND_ZERO_COPY, 600);
  simulated_kernel_script_error (kernel, SIMULATED_SEND_COPY, EINTR);
  g_assert_cmpint (send_at (kernel, 0, 1000, MSG_ZEROCOPY), ==, 600);
  assert_send_fails (kernel, 100, 0, EINTR);
  g_assert_cmpint (send_at (kernel, 600, 400, 0), ==, 400);
  g_assert_cmpint (send_at (kernel, 1000, 0, 0), ==, 0);
  g_assert_cmpint (send_at (kernel, 1000, 0, MSG_ZEROCOPY), ==, 0);
  g_assert_cmpint (send_at (kernel, 1000, 10, MSG_ZEROCOPY), ==, 10);
  stream = simulated_kernel_get_stream (kernel, &size);
  g_assert_cmpuint (size, ==, 1010);
  g_assert_cmpuint (zcio_test_pattern_check (0, stream, size), ==, size);

  g_assert_cmpuint (kernel->zero_copy_sends, ==, 2);
  g_assert_cmpuint (kernel->zero_copy_bytes, ==, 610);
  g_assert_cmpuint (kernel->copied_bytes, ==, 400);
  g_assert_cmpuint (kernel->calls[SIMULATED_SEND_COPY], ==, 3);
  g_assert_cmpuint (kernel->calls[SIMULATED_SEND_ZERO_COPY], ==, 3);

  g_assert_cmpint (kernel->syscalls.get_unacknowledged (&kernel->syscalls, 0), ==, 1010);
  simulated_kernel_advance (kernel, 1000);
  g_assert_cmpint (kernel->syscalls.get_unacknowledged (&kernel->syscalls, 0), ==, 0);
  /* An empty send takes no id, nor does one that fails. */
  assert_notification (kernel, 0, 1, FALSE);
  assert_queue_empty (kernel);
  g_assert_cmpuint (kernel->sends_in_flight, ==, 0);
  simulated_kernel_free (kernel);
}

static void
test_send_buffer (void)
{
  SimulatedKernel *kernel = make_kernel ();
  gint64 begin;

  g_test_summary ("A full buffer gives EAGAIN, and is writable after some virtual time");

  kernel->send_buffer = 100000;
  kernel->drain_size = 10000;
  g_assert_cmpint (poll_for (kernel, POLLOUT, 0), ==, POLLOUT);
  g_assert_cmpint (send_at (kernel, 0, 150000, 0), ==, 100000);
  assert_send_fails (kernel, 1, 0, EAGAIN);
  g_assert_cmpint (poll_for (kernel, POLLOUT, 0), ==, 0);
  assert_send_fails (kernel, 1, MSG_ZEROCOPY, EAGAIN);
  g_assert_cmpuint (kernel->early_tries, ==, 1);

  begin = kernel->now;
  g_assert_cmpint (poll_for (kernel, POLLOUT, 2), ==, 0);
  g_assert_cmpint (kernel->now - begin, >=, 2000);
  g_assert_cmpint (poll_for (kernel, POLLOUT, -1), ==, POLLOUT);
  g_assert_cmpint (kernel->now - begin, >=, 3000);
  g_assert_cmpint (kernel->now - begin, <=, 5000);
  assert_sent (kernel, 1, MSG_ZEROCOPY);
  g_assert_cmpuint (kernel->early_tries, ==, 1);
  g_assert_cmpuint (kernel->would_block, ==, 2);
  simulated_kernel_advance (kernel, G_USEC_PER_SEC);
  assert_notification (kernel, 0, 0, FALSE);
  simulated_kernel_free (kernel);
}

static void
test_completion (void)
{
  SimulatedKernel *kernel = make_kernel ();

  g_test_summary ("Notifications are shared and merged as the kernel does it");

  /* At once, although nothing was acknowledged. */
  kernel->completion = SIMULATED_COMPLETE_AT_ONCE;
  kernel->says_copied = TRUE;
  kernel->drain_size = 0;
  assert_sent (kernel, 100, MSG_ZEROCOPY);
  g_assert_cmpint (poll_for (kernel, 0, -1), ==, POLLERR);
  /* Into the tail, and what it says about copying stays. */
  kernel->says_copied = FALSE;
  assert_sent (kernel, 100, MSG_ZEROCOPY);
  assert_notification (kernel, 0, 1, TRUE);
  assert_queue_empty (kernel);
  g_assert_cmpint (poll_for (kernel, 0, 0), ==, 0);

  /* 512 KiB at most share one, which waits for all of them. */
  kernel->completion = SIMULATED_COMPLETE_WHEN_ACKNOWLEDGED;
  kernel->window = 0;
  kernel->send_buffer = G_MAXSIZE / 2;
  for (guint i = 0; i < 9; i++)
    assert_sent (kernel, 65536, MSG_ZEROCOPY);
  simulated_kernel_acknowledge (kernel, 200 + 65536 * 8 - 1);
  assert_queue_empty (kernel);
  simulated_kernel_acknowledge (kernel, 1);
  assert_notification (kernel, 2, 9, FALSE);
  simulated_kernel_acknowledge (kernel, 65536);
  assert_notification (kernel, 10, 10, FALSE);
  g_assert_cmpuint (kernel->notifications, ==, 3);
  simulated_kernel_free (kernel);
}

static void
test_completion_by_hand (void)
{
  SimulatedKernel *kernel = make_kernel ();
  guint32 first;

  g_test_summary ("Completions come out of order, and cross the wrap of ids");

  simulated_kernel_set_counter (kernel, 0xfffffffe);
  kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  for (guint i = 0; i < 6; i++)
    g_assert_cmpint (send_at (kernel, i * 100, 100, MSG_ZEROCOPY), ==, 100);
  g_assert_cmpuint (simulated_kernel_get_incomplete (kernel, &first), ==, 6);
  g_assert_cmpuint (first, ==, 0xfffffffe);

  simulated_kernel_complete (kernel, 2, 2, FALSE);
  simulated_kernel_complete (kernel, 0xffffffff, 0, FALSE);
  simulated_kernel_complete (kernel, 1, 1, TRUE);
  simulated_kernel_queue_foreign (kernel, SIMULATED_ICMP);
  simulated_kernel_complete (kernel, 3, 3, TRUE);
  assert_notification (kernel, 2, 2, FALSE);
  assert_notification (kernel, 0xffffffff, 1, FALSE);
  g_assert_cmpuint (kernel->sends_in_flight, ==, 2);

  /* The buffers of what was read may go; the others may not. */
  simulated_kernel_released (kernel, memory + 100, 400);
  {
    ZcioNotification notification;
    guint n_foreign = 0;

    g_assert_true (read_notification (kernel, &notification, &n_foreign));
    g_assert_cmpuint (n_foreign, ==, 1);
    g_assert_cmpuint (notification.first, ==, 3);
    g_assert_true (notification.copied);
  }
  g_assert_cmpuint (simulated_kernel_get_incomplete (kernel, &first), ==, 1);
  g_assert_cmpuint (first, ==, 0xfffffffe);
  simulated_kernel_free (kernel);
}

static void
test_reordered (void)
{
  SimulatedKernel *kernel = make_kernel ();
  ZcioNotification notification;
  guint n_foreign = 0;
  guint n_backwards = 0;
  guint64 returned = 0;
  guint32 previous = 0;

  g_test_summary ("A random delay brings completions out of order, each once");

  kernel->shares = FALSE;
  kernel->random_delay = 100000;
  for (guint i = 0; i < 100; i++)
    assert_sent (kernel, 100, MSG_ZEROCOPY);
  simulated_kernel_advance (kernel, G_USEC_PER_SEC);
  while (read_notification (kernel, &notification, &n_foreign))
    {
      returned += zcio_notification_get_length (&notification);
      if (notification.first < previous)
        n_backwards++;
      previous = notification.first;
    }
  g_assert_cmpuint (returned, ==, 100);
  g_assert_cmpuint (n_backwards, >, 10);
  g_assert_cmpuint (kernel->sends_in_flight, ==, 0);
  simulated_kernel_free (kernel);
}

static void
test_foreign (gconstpointer data)
{
  SimulatedKernel *kernel = make_kernel ();
  ZcioNotification notification;
  guint n_foreign = 0;

  g_test_summary ("Foreign records are no notifications");

  kernel->family = GPOINTER_TO_INT (data);
  kernel->completion = SIMULATED_COMPLETE_BY_HAND;
  assert_sent (kernel, 100, MSG_ZEROCOPY);
  for (guint i = 0; i < SIMULATED_N_FOREIGN; i++)
    simulated_kernel_queue_foreign (kernel, i);
  simulated_kernel_complete (kernel, 0, 0, FALSE);
  simulated_kernel_notify (kernel, 0, 0, TRUE);
  g_assert_true (read_notification (kernel, &notification, &n_foreign));
  g_assert_cmpuint (n_foreign, ==, SIMULATED_N_FOREIGN);
  g_assert_cmpuint (kernel->foreign, ==, SIMULATED_N_FOREIGN);
  assert_notification (kernel, 0, 0, TRUE);
  assert_queue_empty (kernel);
  simulated_kernel_free (kernel);
}

static void
test_optmem (void)
{
  SimulatedKernel *kernel = make_kernel ();
  guint n = 0;

  g_test_summary ("ENOBUFS for optmem_max, as measured: draining does not help, reading what is unmerged does");

  kernel->shares = FALSE;
  kernel->drain_size = 0;
  while (send_at (kernel, 0, 100, MSG_ZEROCOPY) > 0)
    n++;
  g_assert_cmpint (errno, ==, ENOBUFS);
  g_assert_cmpuint (n, ==, 157);
  g_assert_cmpint (poll_for (kernel, POLLOUT, 0), ==, POLLOUT);
  assert_queue_empty (kernel);
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, ENOBUFS);
  assert_sent (kernel, 100, 0);

  /* Merging gives memory back, without any reading. */
  simulated_kernel_acknowledge (kernel, 300);
  assert_sent (kernel, 100, MSG_ZEROCOPY);
  assert_sent (kernel, 100, MSG_ZEROCOPY);
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, ENOBUFS);

  /* An unread record holds its memory. */
  assert_notification (kernel, 0, 2, FALSE);
  assert_sent (kernel, 100, MSG_ZEROCOPY);
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, ENOBUFS);
  g_assert_cmpuint (kernel->no_buffers, ==, 4);

  /* With so little, not even one. */
  kernel->optmem_max = 500;
  simulated_kernel_acknowledge (kernel, G_MAXINT32);
  assert_notification (kernel, 3, 159, FALSE);
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, ENOBUFS);
  simulated_kernel_free (kernel);
}

static void
test_memlock (void)
{
  SimulatedKernel *kernel = make_kernel ();
  guint n = 0;

  g_test_summary ("ENOBUFS for RLIMIT_MEMLOCK: by the size asked for, and trying again leaks");

  kernel->memlock_limit = 256;
  kernel->send_buffer = 2 * 1024 * 1024;
  kernel->drain_size = 0;
  assert_send_fails (kernel, 1048576, MSG_ZEROCOPY, ENOBUFS);
  assert_sent (kernel, 1040384, MSG_ZEROCOPY);
  assert_send_fails (kernel, 1, MSG_ZEROCOPY, ENOBUFS);
  simulated_kernel_acknowledge (kernel, 1040384);
  assert_notification (kernel, 0, 0, FALSE);

  kernel->send_buffer = 100;
  kernel->window = 0;
  assert_sent (kernel, 100, MSG_ZEROCOPY);
  while (send_at (kernel, 0, 1, MSG_ZEROCOPY) < 0 && errno == EAGAIN)
    n++;
  g_assert_cmpint (errno, ==, ENOBUFS);
  g_assert_cmpuint (n, ==, 127);
  simulated_kernel_acknowledge (kernel, 100);
  assert_sent (kernel, 1, MSG_ZEROCOPY);
  simulated_kernel_free (kernel);
}

static void
test_reset (void)
{
  SimulatedKernel *kernel = make_kernel ();

  g_test_summary ("A reset completes everything, newest first, and its error is given once");

  kernel->window = 100;
  kernel->drain_size = 0;
  kernel->queue_delay = 5000;
  kernel->shares = FALSE;
  for (guint i = 0; i < 4; i++)
    assert_sent (kernel, 100, MSG_ZEROCOPY);
  simulated_kernel_reset (kernel, ECONNRESET);
  assert_notification (kernel, 1, 3, FALSE);
  assert_queue_empty (kernel);
  g_assert_cmpint (poll_for (kernel, POLLOUT, 0), ==, POLLERR | POLLHUP | POLLOUT);
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, ECONNRESET);
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, EPIPE);
  assert_send_fails (kernel, 100, 0, EPIPE);
  g_assert_cmpint (poll_for (kernel, 0, -1), ==, POLLHUP);
  /* What a device held comes later. */
  simulated_kernel_advance (kernel, 5000);
  assert_notification (kernel, 0, 0, FALSE);
  g_assert_cmpint (kernel->syscalls.disconnect (&kernel->syscalls, 0), ==, 0);
  simulated_kernel_free (kernel);
}

static void
test_refusals (void)
{
  SimulatedKernel *kernel = make_kernel ();
  gboolean known = TRUE;

  g_test_summary ("Zero-copy is refused for the socket, or send by send");

  kernel->refuses_flag = TRUE;
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, EOPNOTSUPP);
  assert_sent (kernel, 100, 0);
  kernel->refuses_flag = FALSE;
  simulated_kernel_script_error (kernel, SIMULATED_SEND_ZERO_COPY, EFAULT);
  simulated_kernel_script_error (kernel, SIMULATED_SEND_ZERO_COPY, ENOMEM);
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, EFAULT);
  assert_sent (kernel, 100, 0);
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, ENOMEM);
  kernel->fail_call = kernel->n_calls + 2;
  kernel->fail_errno = EPIPE;
  assert_sent (kernel, 100, MSG_ZEROCOPY);
  assert_send_fails (kernel, 100, MSG_ZEROCOPY, EPIPE);
  g_assert_cmpint (kernel->failed_call, ==, SIMULATED_SEND_ZERO_COPY);
  assert_notification (kernel, 0, 0, FALSE);
  simulated_kernel_free (kernel);

  kernel = simulated_kernel_new (1);
  kernel->no_zero_copy = TRUE;
  g_assert_cmpint (kernel->syscalls.enable_zero_copy (&kernel->syscalls, 0, &known), ==, -1);
  g_assert_cmpint (errno, ==, EOPNOTSUPP);
  g_assert_false (known);
  simulated_kernel_free (kernel);
}

static void
make_true (gpointer data)
{
  *(gboolean *) data = TRUE;
}

static void
test_time (void)
{
  SimulatedKernel *kernel = make_kernel ();
  gint64 begin = kernel->now;
  gint64 real_begin = g_get_monotonic_time ();
  gboolean happened = FALSE;

  g_test_summary ("An hour of virtual time takes no time");

  simulated_kernel_after (kernel, (gint64) 1800 * G_USEC_PER_SEC, make_true, &happened);
  g_assert_cmpint (poll_for (kernel, 0, 1000 * 1000), ==, 0);
  g_assert_false (happened);
  g_assert_cmpint (poll_for (kernel, 0, 2600 * 1000), ==, 0);
  g_assert_true (happened);
  g_assert_cmpint (kernel->syscalls.get_time (&kernel->syscalls) - begin, >=, (gint64) 3600 * G_USEC_PER_SEC);
  g_assert_cmpint (g_get_monotonic_time () - real_begin, <, (gint64) ZCIO_TEST_GUARD_SECONDS * G_USEC_PER_SEC);
  simulated_kernel_free (kernel);
}

static gboolean
store_condition (gint fd,
                 GIOCondition condition,
                 gpointer data)
{
  *(GIOCondition *) data = condition;

  return G_SOURCE_REMOVE;
}

static void
test_context (void)
{
  SimulatedKernel *kernel = make_kernel ();
  GMainContext *context = g_main_context_new ();
  GIOCondition condition = 0;
  GSource *source;
  GSocket *first, *second;

  g_test_summary ("A main context sees the simulated socket, and no other");

  g_assert_true (zcio_test_socket_pair (ZCIO_TEST_FAMILY_UNIX, 0, &first, &second));
  kernel->fd = g_socket_get_fd (first);
  simulated_kernel_set_context (kernel, context);
  source = g_unix_fd_source_new (kernel->fd, G_IO_ERR);
  g_source_set_callback (source, G_SOURCE_FUNC (store_condition), &condition, NULL);
  g_source_attach (source, context);

  g_assert_false (g_main_context_iteration (context, FALSE));
  assert_sent (kernel, 100, MSG_ZEROCOPY);
  g_assert_true (g_main_context_iteration (context, TRUE));
  g_assert_cmpint (condition, ==, G_IO_ERR);
  assert_notification (kernel, 0, 0, FALSE);
  g_assert_cmpuint (zcio_test_run_for (context, 10), <, 10);
  g_assert_cmpuint (kernel->calls[SIMULATED_CONTEXT_POLL], <, 20);

  simulated_kernel_set_context (NULL, context);
  g_source_unref (source);
  g_main_context_unref (context);
  g_object_unref (first);
  g_object_unref (second);
  simulated_kernel_free (kernel);
}

static void
release_in_time (void)
{
  SimulatedKernel *kernel = make_kernel ();
  gint released = 0;
  GBytes *bytes = simulated_kernel_new_bytes (kernel, 0, 1000, &released);
  struct iovec vector = { (gpointer) g_bytes_get_data (bytes, NULL), 1000 };
  struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

  g_test_summary ("Memory may go when its notification was read, or after a copying send");

  g_assert_cmpint (kernel->syscalls.send_message (&kernel->syscalls, 0, &message, MSG_ZEROCOPY), ==, 1000);
  simulated_kernel_advance (kernel, G_USEC_PER_SEC);
  assert_notification (kernel, 0, 0, FALSE);
  g_assert_cmpint (kernel->syscalls.send_message (&kernel->syscalls, 0, &message, 0), ==, 1000);
  g_bytes_unref (bytes);
  g_assert_cmpint (released, ==, 1);
  simulated_kernel_free (kernel);
}

/* A run by chance, as a checksum of all that was seen. */
static char *
run_by_chance (guint64 seed)
{
  SimulatedKernel *kernel = simulated_kernel_new (seed);
  GChecksum *checksum = g_checksum_new (G_CHECKSUM_SHA256);
  ZcioNotification notification = { 0 };
  guint n_foreign = 0;
  gboolean known;
  char *result;

  zcio_test_pattern_fill (0, memory, sizeof memory);
  while (kernel->syscalls.enable_zero_copy (&kernel->syscalls, 0, &known) != 0)
    ;
  kernel->random_delay = 10000;
  kernel->odds = (SimulatedOdds){
    .short_send = 20,
    .interrupted = 10,
    .would_block = 10,
    .no_buffers = 10,
    .fault = 10,
    .no_memory = 10,
    .early_completion = 10,
    .foreign = 10,
    .duplicate = 10,
    .unshared = 50,
    .copied = 50,
    .reset = 10,
  };
  for (guint i = 0; i < 500; i++)
    {
      struct pollfd fd = { .fd = 0 };
      gssize results[4];

      results[0] = send_at (kernel, 0, 1 + i * 50, i % 3 == 0 ? 0 : MSG_ZEROCOPY);
      results[1] = results[0] < 0 ? errno : 0;
      results[2] = i % 5 == 0 ? kernel->syscalls.poll (&kernel->syscalls, &fd, 1, 1) : 0;
      results[3] = read_notification (kernel, &notification, &n_foreign);
      g_checksum_update (checksum, (guchar *) results, sizeof results);
      g_checksum_update (checksum, (guchar *) &notification, sizeof notification);
    }
  result = g_strdup (g_checksum_get_string (checksum));
  g_checksum_free (checksum);
  simulated_kernel_free (kernel);

  return result;
}

static void
test_replay (void)
{
  guint64 seed = zcio_test_get_seed ();
  char *first, *second, *other;

  g_test_summary ("A seed replays a run");

  first = run_by_chance (seed);
  second = run_by_chance (seed);
  other = run_by_chance (seed + 1);
  g_assert_cmpstr (first, ==, second);
  g_assert_cmpstr (first, !=, other);
  g_free (first);
  g_free (second);
  g_free (other);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/simulated-kernel/stream", test_stream);
  g_test_add_func ("/simulated-kernel/send-buffer", test_send_buffer);
  g_test_add_func ("/simulated-kernel/completion", test_completion);
  g_test_add_func ("/simulated-kernel/completion-by-hand", test_completion_by_hand);
  g_test_add_func ("/simulated-kernel/reordered", test_reordered);
  g_test_add_data_func ("/simulated-kernel/foreign/ipv4", GINT_TO_POINTER (AF_INET), test_foreign);
  g_test_add_data_func ("/simulated-kernel/foreign/ipv6", GINT_TO_POINTER (AF_INET6), test_foreign);
  g_test_add_func ("/simulated-kernel/optmem", test_optmem);
  g_test_add_func ("/simulated-kernel/memlock", test_memlock);
  g_test_add_func ("/simulated-kernel/reset", test_reset);
  g_test_add_func ("/simulated-kernel/refusals", test_refusals);
  g_test_add_func ("/simulated-kernel/time", test_time);
  g_test_add_func ("/simulated-kernel/context", test_context);
  g_test_add_func ("/simulated-kernel/release-in-time", release_in_time);
  g_test_add_func ("/simulated-kernel/replay", test_replay);

  return g_test_run ();
}
