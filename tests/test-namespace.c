/* test-namespace.c - runs a test case in a network namespace of its own
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "test-util.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum
{
  STEP_NONE,
  STEP_UNSHARE,
  STEP_LOOPBACK,
  STEP_OPTMEM_MAX
} Step;

static const char *const step_names[] = {
  "",
  "a network namespace",
  "its loopback interface",
  "net.core.optmem_max in it",
};

static gboolean
bring_loopback_up (void)
{
  struct ifreq request;
  gboolean up;
  int fd;

  fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return FALSE;

  memset (&request, 0, sizeof request);
  memcpy (request.ifr_name, "lo", sizeof "lo");
  up = ioctl (fd, SIOCGIFFLAGS, &request) == 0;
  if (up)
    {
      request.ifr_flags |= IFF_UP;
      up = ioctl (fd, SIOCSIFFLAGS, &request) == 0;
    }
  close (fd);

  return up;
}

static gboolean
write_optmem_max (const char *value)
{
  gssize size = strlen (value);
  gssize written;
  int fd;

  fd = open ("/proc/sys/net/core/optmem_max", O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return FALSE;

  written = write (fd, value, size);
  close (fd);

  return written == size;
}

/* Says which step failed. Called after fork (), it may only make system calls. */
static Step
enter_namespace (const char *optmem_max)
{
  /* Whoever is not root may do this in a user namespace of its own. */
  if (unshare (CLONE_NEWNET) != 0 && unshare (CLONE_NEWUSER | CLONE_NEWNET) != 0)
    return STEP_UNSHARE;

  if (!bring_loopback_up ())
    return STEP_LOOPBACK;

  if (optmem_max != NULL && !write_optmem_max (optmem_max))
    return STEP_OPTMEM_MAX;

  return STEP_NONE;
}

/* Whether a process may do all of it: so that what goes wrong later is no reason to
 * skip the test.
 */
static gboolean
try_namespace (const char *optmem_max)
{
  int result[2] = { STEP_NONE, 0 };
  int pipe_fds[2];
  int status;
  pid_t child;

  g_assert_cmpint (pipe2 (pipe_fds, O_CLOEXEC), ==, 0);
  child = fork ();
  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    {
      result[0] = enter_namespace (optmem_max);
      result[1] = errno;
      _exit (write (pipe_fds[1], result, sizeof result) == sizeof result ? 0 : 1);
    }

  close (pipe_fds[1]);
  g_assert_cmpint (read (pipe_fds[0], result, sizeof result), ==, sizeof result);
  close (pipe_fds[0]);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);

  if (result[0] != STEP_NONE)
    {
      g_test_skip_printf ("May not set up %s: %s", step_names[result[0]], g_strerror (result[1]));
      return FALSE;
    }

  return TRUE;
}

gboolean
zcio_test_in_namespace (int optmem_max)
{
  char *value = optmem_max != 0 ? g_strdup_printf ("%d", optmem_max) : NULL;

  if (g_test_subprocess ())
    {
      g_assert_cmpint (enter_namespace (value), ==, STEP_NONE);
      g_free (value);
      return TRUE;
    }

  if (try_namespace (value))
    {
      g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
      g_test_trap_assert_passed ();
    }
  g_free (value);

  return FALSE;
}
