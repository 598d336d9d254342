/* zcio-linger.c - finishes what a stream left in flight
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-linger-private.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* How often a socket is looked at whatever its descriptor says: whether its GSocket has gone,
 * and whether what a queueing discipline held after the reset has been let go.
 */
#define TICK (100 * G_TIME_SPAN_MILLISECOND)

/* How long the thread waits for more work. */
#define IDLE_TIME (2 * G_TIME_SPAN_SECOND)

/*
 * ZcioLinger:
 * @transmitter: owned
 * @fd: owned; -1 if there is none
 * @timeout: for how long it may linger
 * @deadline: when to reset the connection, unless another stream uses it
 * @stopped: nobody wants it any more
 *
 * @stopped and @shut_down are under the lock of the room; the rest is the thread's.
 */
struct _ZcioLinger
{
  ZcioTransmitter *transmitter;
  int fd;
  gint64 timeout;
  gint64 deadline;
  gboolean stopped;
  gboolean shut_down;
  gboolean was_shut_down;
  gboolean was_reset;
};

static GMutex linger_lock;
static GPtrArray *incoming;  /* for the thread to take */
static guint n_lingering;
static gboolean has_thread;
static int wake_fd = -1;

static void
linger_free (gpointer data)
{
  ZcioLinger *linger = data;

  if (linger->fd >= 0)
    close (linger->fd);
  zcio_transmitter_unref (linger->transmitter);
  g_free (linger);
}

static void
wake_thread_locked (void)
{
  static const guint64 one = 1;
  G_GNUC_UNUSED gssize n = write (wake_fd, &one, sizeof one);
}

/* The time is over. Without a connection that could be reset the kernel has had its time;
 * with one, what is left is in a queueing discipline, and will come back.
 */
static void
reset (ZcioLinger *linger)
{
  linger->was_reset = TRUE;
  if (!zcio_transmitter_abort (linger->transmitter, NULL))
    zcio_transmitter_release_all (linger->transmitter);
}

/* Returns whether it is done. */
static gboolean
look_at (ZcioLinger *linger,
         gint64      now)
{
  gboolean in_use = FALSE;
  gboolean socket_gone = FALSE;
  gboolean stopped;

  g_mutex_lock (&linger_lock);
  stopped = linger->stopped;
  g_mutex_unlock (&linger_lock);
  if (stopped)
    return TRUE;

  if (zcio_transmitter_reap_lingering (linger->transmitter, &in_use, &socket_gone))
    return TRUE;

  /* A stream that still sends is not to lose its connection. */
  if (in_use)
    linger->deadline = now + linger->timeout;

  if (!linger->was_reset && !in_use && now >= linger->deadline)
    {
      reset (linger);
      return zcio_transmitter_reap_lingering (linger->transmitter, &in_use, &socket_gone);
    }

  /* The duplicate holds back the FIN of a socket that nobody else has open. */
  g_mutex_lock (&linger_lock);
  socket_gone |= linger->shut_down;
  g_mutex_unlock (&linger_lock);
  if (socket_gone && !linger->was_shut_down && linger->fd >= 0)
    {
      linger->was_shut_down = TRUE;
      shutdown (linger->fd, SHUT_WR);
    }

  return FALSE;
}

/* Takes what has come in. Returns FALSE if the thread is to end. */
static gboolean
take_incoming (GPtrArray *lingering,
               int        epoll_fd,
               gboolean   idle)
{
  g_autoptr (GPtrArray) taken = NULL;
  gboolean go_on;

  g_mutex_lock (&linger_lock);
  taken = g_steal_pointer (&incoming);
  go_on = taken != NULL || lingering->len > 0 || !idle;
  has_thread = go_on;
  g_mutex_unlock (&linger_lock);

  for (guint i = 0; taken != NULL && i < taken->len; i++)
    {
      ZcioLinger *linger = taken->pdata[i];
      /* Edge-triggered: a connection that was reset wakes nobody for ever. */
      struct epoll_event event = { .events = EPOLLET };

      if (linger->fd >= 0)
        epoll_ctl (epoll_fd, EPOLL_CTL_ADD, linger->fd, &event);
      g_ptr_array_add (lingering, linger);
    }

  return go_on;
}

static void
look_at_all (GPtrArray *lingering,
             int        epoll_fd)
{
  gint64 now = g_get_monotonic_time ();
  guint i = 0;

  while (i < lingering->len)
    {
      ZcioLinger *linger = lingering->pdata[i];

      if (!look_at (linger, now))
        {
          i++;
          continue;
        }

      /* Closing the duplicate does not do that while its owner has the socket open, and then
       * every completion of another stream would wake this thread.
       */
      if (linger->fd >= 0)
        epoll_ctl (epoll_fd, EPOLL_CTL_DEL, linger->fd, NULL);

      g_mutex_lock (&linger_lock);
      n_lingering--;
      g_mutex_unlock (&linger_lock);
      g_ptr_array_remove_index_fast (lingering, i);
    }
}

static gint64
get_time_to_wait (GPtrArray *lingering)
{
  gint64 now = g_get_monotonic_time ();
  gint64 wait = lingering->len > 0 ? TICK : IDLE_TIME;

  for (guint i = 0; i < lingering->len; i++)
    {
      ZcioLinger *linger = lingering->pdata[i];

      if (!linger->was_reset)
        wait = MIN (wait, MAX (linger->deadline - now, 0));
    }

  return (wait + 999) / 1000;
}

/* Returns how many descriptors have news. Where the process has none to spare for epoll, the
 * sockets are looked at with each tick.
 */
static int
wait_for_news (int    epoll_fd,
               gint64 timeout)
{
  struct epoll_event events[16];
  struct pollfd wake = { .events = POLLIN };

  if (epoll_fd >= 0)
    return epoll_wait (epoll_fd, events, G_N_ELEMENTS (events), timeout);

  g_mutex_lock (&linger_lock);
  wake.fd = wake_fd;
  g_mutex_unlock (&linger_lock);

  return poll (&wake, 1, timeout);
}

static gpointer
linger_thread (gpointer data)
{
  g_autoptr (GPtrArray) lingering = g_ptr_array_new_with_free_func (linger_free);
  struct epoll_event event = { .events = EPOLLIN };
  int epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  gboolean idle = FALSE;

  epoll_ctl (epoll_fd, EPOLL_CTL_ADD, wake_fd, &event);

  while (take_incoming (lingering, epoll_fd, idle))
    {
      guint64 count;
      G_GNUC_UNUSED gssize n_read;
      int n;

      look_at_all (lingering, epoll_fd);
      n = wait_for_news (epoll_fd, get_time_to_wait (lingering));
      idle = n == 0 && lingering->len == 0;
      n_read = read (wake_fd, &count, sizeof count);
    }

  if (epoll_fd >= 0)
    close (epoll_fd);
  return NULL;
}

ZcioLinger *
zcio_linger_start (ZcioTransmitter *transmitter,
                   int              fd,
                   gint64           timeout)
{
  ZcioLinger *linger = g_new0 (ZcioLinger, 1);

  linger->transmitter = zcio_transmitter_ref (transmitter);
  linger->fd = fd;
  linger->timeout = timeout;
  linger->deadline = g_get_monotonic_time () + timeout;

  g_mutex_lock (&linger_lock);
  if (wake_fd < 0)
    wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (incoming == NULL)
    incoming = g_ptr_array_new ();
  g_ptr_array_add (incoming, linger);
  n_lingering++;

  if (!has_thread)
    {
      has_thread = TRUE;
      g_thread_unref (g_thread_new ("zcio-linger", linger_thread, NULL));
    }
  wake_thread_locked ();
  g_mutex_unlock (&linger_lock);

  return linger;
}

void
zcio_linger_stop (ZcioLinger *linger)
{
  g_mutex_lock (&linger_lock);
  linger->stopped = TRUE;
  wake_thread_locked ();
  g_mutex_unlock (&linger_lock);
}

void
zcio_linger_shut_down (ZcioLinger *linger)
{
  g_mutex_lock (&linger_lock);
  linger->shut_down = TRUE;
  wake_thread_locked ();
  g_mutex_unlock (&linger_lock);
}

guint
zcio_linger_count (void)
{
  guint n;

  g_mutex_lock (&linger_lock);
  n = n_lingering;
  g_mutex_unlock (&linger_lock);

  return n;
}

gboolean
zcio_linger_has_thread (void)
{
  gboolean result;

  g_mutex_lock (&linger_lock);
  result = has_thread;
  g_mutex_unlock (&linger_lock);

  return result;
}
