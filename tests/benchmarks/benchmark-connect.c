/* benchmark-connect.c - the far ends: the wire's, and one on loopback
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "benchmark-private.h"

#define READ_SIZE (1024 * 1024)

static struct sockaddr_in loopback_address;
static pid_t loopback_process;

gboolean
benchmark_have_wire (void)
{
  return g_getenv ("ZCIO_WIRE_ADDRESS") != NULL;
}

const char *
benchmark_place_to_string (BenchmarkPlace place)
{
  return place == BENCHMARK_PLACE_WIRE && benchmark_have_wire () ? "wire" : "loopback";
}

static void
pin_to_cpu (guint cpu)
{
  cpu_set_t set;

  CPU_ZERO (&set);
  CPU_SET (cpu, &set);
  sched_setaffinity (0, sizeof set, &set);
}

/* On a wire that has been done. */
void
benchmark_pin_sender (void)
{
  if (!benchmark_have_wire () && g_get_num_processors () > 1)
    pin_to_cpu (0);
}

/* Reads from all that connect and throws it away: with MSG_TRUNC the kernel does not
 * even hand it out, so that nearly all that is measured is the sender. */
static void G_GNUC_NORETURN
read_and_discard (int listener)
{
  g_autoptr (GArray) fds = g_array_new (FALSE, FALSE, sizeof (struct pollfd));
  struct pollfd item = { listener, POLLIN, 0 };

  g_array_append_val (fds, item);
  while (TRUE)
    {
      struct pollfd *items = (struct pollfd *) (gpointer) fds->data;

      if (poll (items, fds->len, -1) < 0)
        continue;

      for (guint i = fds->len - 1; i > 0; i--)
        {
          gssize n;

          if (items[i].revents == 0)
            continue;
          n = recv (items[i].fd, NULL, READ_SIZE, MSG_TRUNC | MSG_DONTWAIT);
          if (n == 0 || (n < 0 && errno != EAGAIN))
            {
              close (items[i].fd);
              g_array_remove_index_fast (fds, i);
            }
        }

      if (items[0].revents != 0 && (item.fd = accept4 (listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        g_array_append_val (fds, item);
    }
}

gboolean
benchmark_start_loopback (GError **error)
{
  socklen_t length = sizeof loopback_address;
  struct rlimit limit = { 4096, 4096 };
  pid_t parent = getpid ();
  int listener;

  setrlimit (RLIMIT_NOFILE, &limit);

  loopback_address.sin_family = AF_INET;
  loopback_address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
  listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 ||
      bind (listener, (struct sockaddr *) &loopback_address, sizeof loopback_address) < 0 ||
      listen (listener, 1024) < 0 ||
      getsockname (listener, (struct sockaddr *) &loopback_address, &length) < 0)
    {
      benchmark_set_error_from_errno (error, "listen on loopback", errno);
      return FALSE;
    }

  loopback_process = fork ();
  if (loopback_process == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      if (getppid () != parent)
        _exit (0);
      if (g_get_num_processors () > 1 || benchmark_have_wire ())
        pin_to_cpu (1);
      read_and_discard (listener);
    }
  close (listener);

  return TRUE;
}

void
benchmark_stop_loopback (void)
{
  if (loopback_process <= 0)
    return;

  kill (loopback_process, SIGKILL);
  waitpid (loopback_process, NULL, 0);
  loopback_process = 0;
}

static gboolean
get_address (BenchmarkPlace      place,
             struct sockaddr_in *address)
{
  g_auto (GStrv) parts = NULL;

  if (place == BENCHMARK_PLACE_LOOPBACK || !benchmark_have_wire ())
    {
      *address = loopback_address;
      return TRUE;
    }

  parts = g_strsplit (g_getenv ("ZCIO_WIRE_ADDRESS"), ":", 2);
  if (g_strv_length (parts) != 2)
    return FALSE;

  *address = (struct sockaddr_in){ .sin_family = AF_INET };
  address->sin_port = htons ((guint16) atoi (parts[1]));

  return inet_pton (AF_INET, parts[0], &address->sin_addr) == 1;
}

/* Returns: a connected, blocking socket, or -1 */
int
benchmark_connect (BenchmarkPlace   place,
                   GError         **error)
{
  struct sockaddr_in address;
  int fd;

  if (!get_address (place, &address))
    {
      g_set_error_literal (error, BENCHMARK_ERROR, BENCHMARK_ERROR_FAILED, "ZCIO_WIRE_ADDRESS is no address");
      return -1;
    }

  fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect (fd, (struct sockaddr *) &address, sizeof address) < 0)
    {
      benchmark_set_error_from_errno (error, "connect", errno);
      if (fd >= 0)
        close (fd);
      return -1;
    }

  return fd;
}

/* Whoever copies is done when the kernel has all of it, but the work is not: wait for it, so that
 * all contenders are measured to the same end. */
void
benchmark_wait_until_sent (int fd)
{
  int left;

  while (ioctl (fd, SIOCOUTQ, &left) == 0 && left > 0)
    g_usleep (50);
}
