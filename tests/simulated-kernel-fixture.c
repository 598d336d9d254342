/* simulated-kernel-fixture.c - what the tests of the simulated kernel share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-kernel-fixture.h"

#include "test-util.h"

guint8 memory[1024 * 1024];

SimulatedKernel *
make_kernel (void)
{
  SimulatedKernel *kernel = simulated_kernel_new (1);
  gboolean known = FALSE;

  zcio_test_pattern_fill (0, memory, sizeof memory);
  g_assert_cmpint (kernel->syscalls.enable_zero_copy (&kernel->syscalls, 0, &known), ==, 0);
  g_assert_true (known);

  return kernel;
}

gssize
send_at (SimulatedKernel *kernel,
         gsize offset,
         gsize size,
         int flags)
{
  struct iovec vectors[2] = {
    { memory + offset, size / 2 },
    { memory + offset + size / 2, size - size / 2 },
  };
  struct msghdr message = { .msg_iov = vectors, .msg_iovlen = 2 };

  return kernel->syscalls.send_message (&kernel->syscalls, 0, &message, flags);
}

void
assert_sent (SimulatedKernel *kernel,
             gsize size,
             int flags)
{
  g_assert_cmpint (send_at (kernel, 0, size, flags), ==, size);
}

short
poll_for (SimulatedKernel *kernel,
          short events,
          int timeout)
{
  struct pollfd fd = { .fd = 0, .events = events };
  int n = kernel->syscalls.poll (&kernel->syscalls, &fd, 1, timeout);

  g_assert_cmpint (n, ==, fd.revents != 0);

  return fd.revents;
}

gboolean
read_notification (SimulatedKernel *kernel,
                   ZcioNotification *notification,
                   guint *n_foreign)
{
  gboolean empty;

  return zcio_error_queue_read (&kernel->syscalls, 0, notification, 1, n_foreign, &empty) == 1;
}

void
assert_notification (SimulatedKernel *kernel,
                     guint32 first,
                     guint32 last,
                     gboolean copied)
{
  ZcioNotification notification;
  guint n_foreign = 0;

  g_assert_true (read_notification (kernel, &notification, &n_foreign));
  g_assert_cmpuint (notification.first, ==, first);
  g_assert_cmpuint (notification.last, ==, last);
  g_assert_cmpint (notification.copied, ==, copied);
  g_assert_cmpuint (n_foreign, ==, 0);
}

void
assert_queue_empty (SimulatedKernel *kernel)
{
  ZcioNotification notification;
  guint n_foreign = 0;

  g_assert_false (read_notification (kernel, &notification, &n_foreign));
  g_assert_cmpuint (n_foreign, ==, 0);
}
