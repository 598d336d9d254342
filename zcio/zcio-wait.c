/* zcio-wait.c - waiting for a socket, or for completions
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-wait-private.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "zcio-reaper-private.h"
#include "zcio-words-private.h"

/* After a reset, POLLERR and POLLHUP stay set although the error queue is empty: then the
 * descriptor is left out of the poll for so long.
 */
#define MIN_PAUSE 1
#define MAX_PAUSE 128

static short
get_events (ZcioWaitFor what)
{
  switch (what)
    {
    case ZCIO_WAIT_WRITABLE:
      return POLLOUT;

    case ZCIO_WAIT_READABLE:
      return POLLIN;

    case ZCIO_WAIT_IN_FLIGHT:
    default:
      return 0;
    }
}

/* Whether an operation would not be told to wait: it may have an error to tell. */
static gboolean
is_ready (short       revents,
          ZcioWaitFor what)
{
  return (revents & (get_events (what) | POLLHUP | POLLNVAL)) != 0;
}

/* Blocking */

typedef struct
{
  ZcioTransmitter *transmitter;
  GSocket *socket;
  ZcioWaitFor what;
  guint64 max_bytes_in_flight;
  gint64 deadline;
  int pause;
  gboolean resting;
  gboolean reaped;
  int event_fd;
  GCancellable *cancellable;
  GPollFD cancel_fd;
  gboolean has_cancel_fd;
} Wait;

static gboolean
is_in_flight_at_most (ZcioTransmitter *transmitter,
                      guint64          max_bytes)
{
  guint64 sends;
  guint64 bytes;

  zcio_transmitter_get_in_flight (transmitter, &sends, &bytes);
  return max_bytes == 0 ? sends == 0 : bytes <= max_bytes;
}

static void
wait_set_deadline (Wait *wait)
{
  ZcioSyscalls *syscalls = wait->transmitter->syscalls;
  guint timeout = g_socket_get_timeout (wait->socket);

  if (timeout != 0)
    wait->deadline = syscalls->get_time (syscalls) + timeout * G_TIME_SPAN_SECOND;
}

/* Another thread may read the notification that this one waits for, and then the kernel does
 * not wake this one; so that thread does.
 */
static void
wait_begin (Wait *wait)
{
  ZcioTransmitter *transmitter = wait->transmitter;

  wait->deadline = -1;
  wait->event_fd = -1;
  wait->has_cancel_fd = g_cancellable_make_pollfd (wait->cancellable, &wait->cancel_fd);
  wait_set_deadline (wait);

  if (wait->what != ZCIO_WAIT_IN_FLIGHT)
    return;

  wait->event_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wait->event_fd < 0)
    return;

  g_mutex_lock (&transmitter->lock);
  transmitter->waiters = g_slist_prepend (transmitter->waiters, GINT_TO_POINTER (wait->event_fd));
  g_mutex_unlock (&transmitter->lock);
}

static void
wait_end (Wait *wait)
{
  ZcioTransmitter *transmitter = wait->transmitter;

  if (wait->has_cancel_fd)
    g_cancellable_release_fd (wait->cancellable);

  if (wait->event_fd < 0)
    return;

  g_mutex_lock (&transmitter->lock);
  transmitter->waiters = g_slist_remove (transmitter->waiters, GINT_TO_POINTER (wait->event_fd));
  g_mutex_unlock (&transmitter->lock);
  close (wait->event_fd);
}

/* How long to poll, in milliseconds; FALSE if the time is over. */
static gboolean
get_poll_timeout (Wait     *wait,
                  int      *timeout,
                  GError  **error)
{
  ZcioSyscalls *syscalls = wait->transmitter->syscalls;
  gint64 left;

  *timeout = wait->resting ? wait->pause : -1;
  /* Nobody can wake this thread where there was no descriptor for that. */
  if (wait->what == ZCIO_WAIT_IN_FLIGHT && wait->event_fd < 0 && *timeout < 0)
    *timeout = MAX_PAUSE;
  if (wait->deadline < 0)
    return TRUE;

  left = wait->deadline - syscalls->get_time (syscalls);
  if (left <= 0)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, ZCIO_GIO_ (SOCKET_TIMED_OUT));
      return FALSE;
    }

  left = (left + 999) / 1000;
  if (*timeout < 0 || left < *timeout)
    *timeout = MIN (left, G_MAXINT);

  return TRUE;
}

/* One poll. *revents is 0 if the descriptor was left out. */
static gboolean
poll_once (Wait     *wait,
           short    *revents,
           GError  **error)
{
  ZcioTransmitter *transmitter = wait->transmitter;
  struct pollfd fds[3];
  nfds_t n_fds = 1;
  nfds_t event_index = 0;
  int timeout;
  int n;

  if (!get_poll_timeout (wait, &timeout, error))
    return FALSE;

  fds[0].fd = wait->resting ? -1 : g_socket_get_fd (wait->socket);
  fds[0].events = get_events (wait->what);
  fds[0].revents = 0;
  if (wait->has_cancel_fd)
    fds[n_fds++] = (struct pollfd) { .fd = wait->cancel_fd.fd, .events = POLLIN };
  if (wait->event_fd >= 0)
    {
      event_index = n_fds;
      fds[n_fds++] = (struct pollfd) { .fd = wait->event_fd, .events = POLLIN };
    }

  n = transmitter->syscalls->poll (transmitter->syscalls, fds, n_fds, timeout);
  if (n < 0 && errno != EINTR)
    {
      int errsv = errno;

      g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errsv),
                   ZCIO_GIO_ (WAITING), g_strerror (errsv));
      return FALSE;
    }

  *revents = n > 0 ? fds[0].revents : 0;
  if (n > 0 && event_index != 0 && fds[event_index].revents != 0)
    {
      guint64 count;
      G_GNUC_UNUSED gssize n_read = read (wait->event_fd, &count, sizeof count);
    }

  return TRUE;
}

static gboolean
check_socket (Wait     *wait,
              GError  **error)
{
  if (g_socket_is_closed (wait->socket))
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CLOSED, ZCIO_GIO_ (SOCKET_CLOSED));
      return FALSE;
    }

  return !g_cancellable_set_error_if_cancelled (wait->cancellable, error);
}

static short
look (ZcioTransmitter *transmitter,
      GSocket         *socket,
      short            events)
{
  struct pollfd fd = { .fd = g_socket_get_fd (socket), .events = events };

  return transmitter->syscalls->poll (transmitter->syscalls, &fd, 1, 0) > 0 ? fd.revents : 0;
}

/* The descriptor reports something other than what is waited for: most likely completions,
 * which another thread may have read first. Otherwise it is an error of the socket, which the
 * next operation will be told.
 *
 * Returns: whether to let the next operation find out what it is
 */
static gboolean
rest_or_give_up (Wait *wait)
{
  /* The next turn need not look once more. */
  wait->reaped = zcio_transmitter_reap (wait->transmitter) > 0;
  if (wait->reaped ||
      zcio_transmitter_clear_error_queue (wait->transmitter) ||
      look (wait->transmitter, wait->socket, 0) == 0)
    {
      wait->pause = 0;
      return FALSE;
    }

  if (wait->what == ZCIO_WAIT_READABLE ||
      (wait->what == ZCIO_WAIT_WRITABLE && wait->pause == MAX_PAUSE))
    return TRUE;

  wait->pause = CLAMP (wait->pause * 2, MIN_PAUSE, MAX_PAUSE);
  wait->resting = TRUE;
  return FALSE;
}

/* TRUE when the wait is over; *result is whether it was of use. */
static gboolean
wait_turn (Wait      *wait,
           gboolean  *result,
           GError   **error)
{
  gboolean was_resting = wait->resting;
  short revents = 0;

  *result = FALSE;
  if (wait->reaped || zcio_transmitter_reap (wait->transmitter) > 0)
    {
      wait->reaped = FALSE;
      wait->pause = 0;
      /* The timeout is for a peer that takes nothing at all; but a reader waits for data. */
      if (wait->what != ZCIO_WAIT_READABLE)
        wait_set_deadline (wait);
    }

  if (wait->what == ZCIO_WAIT_IN_FLIGHT &&
      is_in_flight_at_most (wait->transmitter, wait->max_bytes_in_flight))
    {
      *result = TRUE;
      return TRUE;
    }

  if (!check_socket (wait, error) || !poll_once (wait, &revents, error))
    return TRUE;

  wait->resting = FALSE;
  if (was_resting || revents == 0)
    return FALSE;

  if (wait->what == ZCIO_WAIT_IN_FLIGHT && (revents & POLLNVAL) != 0)
    {
      /* Somebody has closed the descriptor: nothing will ever come in. */
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CLOSED, ZCIO_GIO_ (SOCKET_CLOSED));
      return TRUE;
    }

  *result = (wait->what != ZCIO_WAIT_IN_FLIGHT && is_ready (revents, wait->what)) ||
            rest_or_give_up (wait);
  return *result;
}

/*
 * zcio_wait:
 *
 * The error queue is drained before each poll, since while it is not empty every poll of the
 * descriptor returns at once.
 */
gboolean
zcio_wait (ZcioTransmitter  *transmitter,
           GSocket          *socket,
           ZcioWaitFor       what,
           guint64           max_bytes_in_flight,
           GCancellable     *cancellable,
           GError          **error)
{
  Wait wait = {
    .transmitter = transmitter,
    .socket = socket,
    .what = what,
    .max_bytes_in_flight = max_bytes_in_flight,
    .cancellable = cancellable,
  };
  gboolean result;

  wait_begin (&wait);
  while (!wait_turn (&wait, &result, error))
    ;
  wait_end (&wait);

  if (result && what == ZCIO_WAIT_WRITABLE)
    zcio_transmitter_set_writable (transmitter);

  return result;
}

static gboolean
is_window_full (ZcioTransmitter *transmitter)
{
  return !is_in_flight_at_most (transmitter, zcio_transmitter_get_room (transmitter));
}

static gboolean
is_ready_now (ZcioTransmitter *transmitter,
              GSocket         *socket,
              ZcioWaitFor      what)
{
  short revents;

  if (g_socket_get_fd (socket) < 0)
    return TRUE;

  revents = look (transmitter, socket, get_events (what));
  if (revents == 0 || is_ready (revents, what))
    return revents != 0;

  /* An error, or just completions? */
  zcio_transmitter_clear_error_queue (transmitter);
  return look (transmitter, socket, get_events (what)) != 0;
}

/* A plain look. TRUE also where the next write has an error to tell. */
gboolean
zcio_wait_is_writable (ZcioTransmitter *transmitter,
                       GSocket         *socket)
{
  if (g_socket_get_fd (socket) >= 0 && is_window_full (transmitter))
    {
      zcio_transmitter_collect (transmitter, FALSE);
      if (is_window_full (transmitter))
        return FALSE;
    }

  return is_ready_now (transmitter, socket, ZCIO_WAIT_WRITABLE);
}

/* The same for reads. */
gboolean
zcio_wait_is_readable (ZcioTransmitter *transmitter,
                       GSocket         *socket)
{
  return is_ready_now (transmitter, socket, ZCIO_WAIT_READABLE);
}

/* The source */

typedef struct
{
  GSource base;
  ZcioTransmitter *transmitter;
  GSocket *socket;
  ZcioWaitFor what;
  guint64 max_bytes_in_flight;
  gint64 deadline;
  guint64 released;
  GPollFD fd;
  gboolean polled;
  gboolean told_closed;
  ZcioWatch *watch;
} WaitSource;

static void
ignore_completions (guint    sends,
                    guint64  bytes,
                    gboolean copied,
                    gboolean state_changed,
                    gpointer user_data)
{
  /* It was enough to wake the loop: prepare() looks. */
}

static gboolean
wait_source_holds (WaitSource *self)
{
  if (g_socket_is_closed (self->socket))
    return TRUE;

  if (self->what == ZCIO_WAIT_WRITABLE)
    return zcio_wait_is_writable (self->transmitter, self->socket);
  if (self->what == ZCIO_WAIT_READABLE)
    return zcio_wait_is_readable (self->transmitter, self->socket);

  return is_in_flight_at_most (self->transmitter, self->max_bytes_in_flight);
}

static void
wait_source_watch (WaitSource *self)
{
  if (self->watch != NULL)
    return;

  self->watch = zcio_watch_new (self->transmitter, g_source_get_context (&self->base),
                                ZCIO_REAPER_DEFAULT_PRIORITY, ignore_completions, NULL, NULL);
  zcio_transmitter_collect (self->transmitter, FALSE);
}

static void
wait_source_set_deadline (WaitSource *self)
{
  guint timeout = g_socket_get_timeout (self->socket);

  self->deadline = timeout != 0 ? g_get_monotonic_time () + timeout * G_TIME_SPAN_SECOND : -1;
  g_source_set_ready_time (&self->base, self->deadline);
}

/* The timeout is for a peer that takes nothing at all. */
static void
wait_source_note_progress (WaitSource *self)
{
  guint64 released;

  g_mutex_lock (&self->transmitter->lock);
  released = self->transmitter->window.next - self->transmitter->window.sends_in_flight;
  g_mutex_unlock (&self->transmitter->lock);

  if (released != self->released && self->deadline >= 0)
    wait_source_set_deadline (self);
  self->released = released;
}

static gboolean
wait_source_prepare (GSource *source,
                     int     *timeout)
{
  WaitSource *self = (WaitSource *) source;
  gboolean is_full;

  *timeout = -1;
  if (g_socket_is_closed (self->socket))
    {
      /* The number may be another file's by now. */
      if (self->polled)
        g_source_remove_poll (source, &self->fd);
      self->polled = FALSE;
      return !self->told_closed;
    }

  if (self->what == ZCIO_WAIT_IN_FLIGHT)
    {
      wait_source_watch (self);
      wait_source_note_progress (self);
      return wait_source_holds (self);
    }

  /* While too much is in flight the socket is not even looked at: it is writable. */
  is_full = self->what == ZCIO_WAIT_WRITABLE && is_window_full (self->transmitter);
  if (is_full)
    {
      wait_source_watch (self);
      wait_source_note_progress (self);
    }
  if (is_full && self->polled)
    g_source_remove_poll (source, &self->fd);
  else if (!is_full && !self->polled)
    g_source_add_poll (source, &self->fd);
  self->polled = !is_full;

  return FALSE;
}

static gboolean
wait_source_check (GSource *source)
{
  WaitSource *self = (WaitSource *) source;

  if (self->told_closed)
    return FALSE;
  if (self->what == ZCIO_WAIT_IN_FLIGHT)
    return wait_source_holds (self);

  if (!self->polled || self->fd.revents == 0)
    return FALSE;
  if (is_ready (self->fd.revents, self->what))
    return TRUE;

  /* G_IO_ERR alone: most likely completions, which are not what this source waits for. */
  return wait_source_holds (self);
}

static gboolean
wait_source_dispatch (GSource     *source,
                      GSourceFunc  callback,
                      gpointer     user_data)
{
  WaitSource *self = (WaitSource *) source;
  gboolean timed_out = FALSE;
  gboolean again;

  self->told_closed = g_socket_is_closed (self->socket);
  if (self->deadline >= 0 && g_source_get_time (source) >= self->deadline)
    timed_out = !wait_source_holds (self);

  again = ((ZcioWaitSourceFunc) (GCallback) callback) (timed_out, user_data);

  /* As with GSocket's own source, the time begins anew, and a closed socket is told of once. */
  if (again && !self->told_closed)
    wait_source_set_deadline (self);
  else
    g_source_set_ready_time (source, -1);

  return again;
}

static void
wait_source_finalize (GSource *source)
{
  WaitSource *self = (WaitSource *) source;

  g_clear_pointer (&self->watch, zcio_watch_destroy);
  zcio_transmitter_unref (self->transmitter);
  g_object_unref (self->socket);
}

/* As a child of a pollable source it has a dummy closure; then the next write, or read, tells
 * of a timeout, as with GSocket's own source.
 */
static gboolean
wait_source_closure_callback (gboolean timed_out,
                              gpointer user_data)
{
  WaitSource *self = (WaitSource *) g_main_current_source ();
  GClosure *closure = user_data;
  g_auto (GValue) result = G_VALUE_INIT;

  if (timed_out && self->what == ZCIO_WAIT_READABLE)
    g_atomic_int_set (&self->transmitter->read_timed_out, TRUE);
  else if (timed_out)
    g_atomic_int_set (&self->transmitter->timed_out, TRUE);

  g_value_init (&result, G_TYPE_BOOLEAN);
  g_closure_invoke (closure, &result, 0, NULL, NULL);
  return g_value_get_boolean (&result);
}

static GSourceFuncs wait_source_funcs = {
  .prepare = wait_source_prepare,
  .check = wait_source_check,
  .dispatch = wait_source_dispatch,
  .finalize = wait_source_finalize,
  .closure_callback = (GSourceFunc) (GCallback) wait_source_closure_callback,
};

GSource *
zcio_wait_source_new (ZcioTransmitter *transmitter,
                      GSocket         *socket,
                      ZcioWaitFor      what,
                      guint64          max_bytes_in_flight,
                      GCancellable    *cancellable)
{
  GSource *source = g_source_new (&wait_source_funcs, sizeof (WaitSource));
  WaitSource *self = (WaitSource *) source;

  g_source_set_static_name (source, "[zcio] wait");
  self->transmitter = zcio_transmitter_ref (transmitter);
  self->socket = g_object_ref (socket);
  self->what = what;
  self->max_bytes_in_flight = max_bytes_in_flight;
  wait_source_set_deadline (self);

  /* It will be polled, but not by g_source_add_unix_fd (): with that the source is ready for
   * every event, whatever check() says; and completions are events.
   */
  self->fd.fd = g_socket_get_fd (socket);
  self->fd.events = get_events (what);

  if (cancellable != NULL)
    {
      g_autoptr (GSource) child = g_cancellable_source_new (cancellable);

      g_source_set_dummy_callback (child);
      g_source_add_child_source (source, child);
    }

  return source;
}
