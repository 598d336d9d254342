/* simulated-poll.c - waiting for the simulated kernel
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-kernel-private.h"

#include "test-util.h"

#include <errno.h>
#include <sys/stat.h>

/* The socket may be known by a duplicate of its descriptor. */
static gboolean
is_socket (SimulatedKernel *kernel,
           int fd)
{
  struct stat ours, other;

  if (fd < 0)
    return FALSE;
  if (kernel->fd < 0 || fd == kernel->fd)
    return TRUE;

  return fstat (kernel->fd, &ours) == 0 && fstat (fd, &other) == 0 &&
         ours.st_dev == other.st_dev && ours.st_ino == other.st_ino;
}

/* tcp_poll () */
static short
get_events (SimulatedKernel *kernel,
            short wanted)
{
  SimulatedKernelPrivate *priv = kernel->priv;
  gsize queued = priv->stream->len - priv->acknowledged;
  short events = 0;

  if (priv->closed)
    return POLLNVAL;

  if (priv->error_number != 0 || priv->records.length > 0)
    events |= POLLERR;
  if (priv->dead)
    events |= POLLHUP | (wanted & (POLLIN | POLLOUT | POLLRDHUP));
  /* sk_stream_is_writeable (): not before a third of the buffer is free. */
  else if (queued + queued / 2 <= kernel->send_buffer && queued < kernel->send_buffer)
    events |= wanted & POLLOUT;

  if ((events & POLLOUT) != 0)
    priv->blocked = FALSE;

  return events;
}

/* Fills in what is ready now, without waiting, and counts it. */
static int
collect_ready (SimulatedKernel *kernel,
               struct pollfd *fds,
               nfds_t n_fds)
{
  int n_ready = 0;

  for (nfds_t i = 0; i < n_fds; i++)
    {
      if (is_socket (kernel, fds[i].fd))
        fds[i].revents = get_events (kernel, fds[i].events);
      else
        poll (&fds[i], 1, 0);
      if (fds[i].revents != 0)
        n_ready++;
    }

  return n_ready;
}

/* Waits for what is not simulated, in the time of this world. */
static void
wait_for_others (SimulatedKernel *kernel,
                 struct pollfd *fds,
                 nfds_t n_fds,
                 int timeout)
{
  struct pollfd *others = g_new (struct pollfd, n_fds + 1);
  nfds_t n_others = 0;

  for (nfds_t i = 0; i < n_fds; i++)
    {
      if (!is_socket (kernel, fds[i].fd))
        others[n_others++] = fds[i];
    }
  simulated_kernel_unlock (kernel);
  poll (others, n_others, timeout);
  simulated_kernel_lock (&kernel->syscalls);
  g_free (others);
}

int
simulated_poll (ZcioSyscalls *syscalls,
                struct pollfd *fds,
                nfds_t n_fds,
                int timeout)
{
  SimulatedKernel *kernel = simulated_kernel_lock (syscalls);
  short wanted = n_fds > 0 ? fds[0].events : 0;
  gint64 deadline = G_MAXINT64;
  gint64 guard = zcio_test_get_deadline ();
  int n_ready = 0;

  if (!simulated_kernel_begin_call (kernel, SIMULATED_POLL))
    return simulated_kernel_end_call (kernel, "poll", wanted, timeout, -1, errno);

  if (timeout >= 0)
    deadline = kernel->now + (gint64) timeout * 1000;

  while ((n_ready = collect_ready (kernel, fds, n_fds)) == 0 && kernel->now < deadline)
    {
      gint64 next = simulated_kernel_get_next_event (kernel);

      if (next != G_MAXINT64 || deadline != G_MAXINT64)
        {
          simulated_kernel_advance_to (kernel, MIN (next, deadline));
          simulated_kernel_progress (kernel);
        }
      else if (kernel->threads && g_get_monotonic_time () < guard)
        wait_for_others (kernel, fds, n_fds, 1);
      else
        simulated_kernel_fail (kernel, "A poll for %#x waits for ever", wanted);
    }

  return simulated_kernel_end_call (kernel, "poll", wanted, timeout, n_ready, 0);
}

/* Main contexts */

static SimulatedKernel *context_kernel;

static gint
poll_context (GPollFD *poll_fds,
              guint n_fds,
              gint timeout)
{
  SimulatedKernel *kernel = simulated_kernel_lock (&context_kernel->syscalls);
  /* GLib promises that they are the same. */
  struct pollfd *fds = (struct pollfd *) poll_fds;
  gint64 begin = kernel->now;
  int n_ready;

  kernel->calls[SIMULATED_CONTEXT_POLL]++;
  while ((n_ready = collect_ready (kernel, fds, n_fds)) == 0 && timeout != 0)
    {
      gint64 next = simulated_kernel_get_next_event (kernel);

      if (next != G_MAXINT64 && (timeout < 0 || next <= begin + (gint64) timeout * 1000))
        {
          simulated_kernel_advance_to (kernel, next);
          simulated_kernel_progress (kernel);
          continue;
        }

      /* The context's timers go by the clock of this world. */
      wait_for_others (kernel, fds, n_fds, timeout < 0 ? ZCIO_TEST_GUARD_SECONDS * 1000 : timeout);
      n_ready = collect_ready (kernel, fds, n_fds);
      if (timeout < 0 && n_ready == 0)
        simulated_kernel_fail (kernel, "A main context waits for ever");
      if (timeout > 0)
        simulated_kernel_advance_to (kernel, begin + (gint64) timeout * 1000);
      simulated_kernel_progress (kernel);
      break;
    }
  simulated_kernel_unlock (kernel);

  return n_ready;
}

void
simulated_kernel_set_context (SimulatedKernel *kernel,
                              GMainContext *context)
{
  context_kernel = kernel;
  g_main_context_set_poll_func (context, kernel != NULL ? poll_context : NULL);
}
