/* test-simulated-kernel-catches.c - what the simulated kernel must catch
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-kernel-fixture.h"

#include <sys/resource.h>

static void
release_early (void)
{
  SimulatedKernel *kernel = make_kernel ();
  GBytes *bytes = simulated_kernel_new_bytes (kernel, 0, 1000, NULL);
  struct iovec vector = { (gpointer) g_bytes_get_data (bytes, NULL), 1000 };
  struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

  g_assert_cmpint (kernel->syscalls.send_message (&kernel->syscalls, 0, &message, MSG_ZEROCOPY), ==, 1000);
  /* It is complete, but nobody has read that. */
  simulated_kernel_advance (kernel, G_USEC_PER_SEC);
  g_bytes_unref (bytes);
}

static void
change_before_completion (void)
{
  SimulatedKernel *kernel = make_kernel ();

  assert_sent (kernel, 1000, MSG_ZEROCOPY);
  memory[999]++;
  simulated_kernel_advance (kernel, G_USEC_PER_SEC);
}

static void
change_before_reading (void)
{
  SimulatedKernel *kernel = make_kernel ();

  assert_sent (kernel, 1000, MSG_ZEROCOPY);
  simulated_kernel_advance (kernel, G_USEC_PER_SEC);
  memory[0]++;
  assert_notification (kernel, 0, 0, FALSE);
}

static void
change_before_the_end (void)
{
  SimulatedKernel *kernel = make_kernel ();

  assert_sent (kernel, 1000, MSG_ZEROCOPY);
  memory[500]++;
  simulated_kernel_free (kernel);
}

static void
wait_for_ever (void)
{
  poll_for (make_kernel (), 0, -1);
}

static void
spin (void)
{
  SimulatedKernel *kernel = make_kernel ();

  kernel->drain_size = 0;
  assert_sent (kernel, 256 * 1024, 0);
  while (send_at (kernel, 0, 1, 0) < 0)
    ;
}

static void
read_without_enabling (void)
{
  assert_queue_empty (simulated_kernel_new (1));
}

static void
read_with_small_buffer (void)
{
  SimulatedKernel *kernel = make_kernel ();
  guint64 control[6];
  struct msghdr message = { .msg_control = control, .msg_controllen = sizeof control };

  kernel->family = AF_INET6;
  simulated_kernel_notify (kernel, 0, 0, FALSE);
  kernel->syscalls.receive_error (&kernel->syscalls, 0, &message);
}

static void
ask_for_too_much (void)
{
  static struct iovec vectors[5];
  struct msghdr message = { .msg_iov = vectors, .msg_iovlen = G_N_ELEMENTS (vectors) };
  SimulatedKernel *kernel = make_kernel ();

  for (guint i = 0; i < G_N_ELEMENTS (vectors); i++)
    vectors[i] = (struct iovec){ memory, sizeof memory };
  kernel->syscalls.send_message (&kernel->syscalls, 0, &message, MSG_ZEROCOPY);
}

static const struct
{
  const char *path;
  void (*function) (void);
  const char *message;
} crimes[] = {
  { "release-early", release_early, "*Memory of the send 0 was released while it was in flight*" },
  { "change-before-completion", change_before_completion, "*Memory of the send 0 was changed*" },
  { "change-before-reading", change_before_reading, "*Memory of the send 0 was changed*" },
  { "change-before-the-end", change_before_the_end, "*Memory of the send 0 was changed*" },
  { "wait-for-ever", wait_for_ever, "*waits for ever*" },
  { "spin", spin, "*calls without any progress*" },
  { "read-without-enabling", read_without_enabling, "*where zero-copy was not enabled*" },
  { "read-with-small-buffer", read_with_small_buffer, "*control buffer has 48 bytes*64*" },
  { "ask-for-too-much", ask_for_too_much, "*asks for 5242880 bytes*" },
};

static void
test_crime (gconstpointer data)
{
  guint i = GPOINTER_TO_UINT (data);
  struct rlimit no_core = { 0, 0 };

  g_test_summary ("The simulated kernel ends the test with the story, and says why");

  if (g_test_subprocess ())
    {
      setrlimit (RLIMIT_CORE, &no_core);
      crimes[i].function ();
      return;
    }

  g_test_trap_subprocess (NULL, 0, 0);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*Simulated kernel with the seed 1,*");
  g_test_trap_assert_stderr (crimes[i].message);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (crimes); i++)
    {
      char *path = g_strconcat ("/simulated-kernel/catches/", crimes[i].path, NULL);

      g_test_add_data_func (path, GUINT_TO_POINTER (i), test_crime);
      g_free (path);
    }

  return g_test_run ();
}
