/* zcio-transmitter.c - one socket's sending side
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-transmitter-private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "zcio-debug-private.h"
#include "zcio-describe-private.h"
#include "zcio-linger-private.h"
#include "zcio-peer-private.h"
#include "zcio-reaper-private.h"
#include "zcio-trace-private.h"
#include "zcio-words-private.h"

/* Read in one go at most; the rest wakes the reaper again (sock_dequeue_err_skb ()). */
#define MAX_NOTIFICATIONS_AT_ONCE 32
#define MAX_READS_IN_ONE_GO 32

/* What G_DEFINE_QUARK () makes is a data race where two threads make their first stream. */
static GQuark
zcio_transmitter_quark (void)
{
  static GQuark quark;

  if (g_atomic_int_get (&quark) == 0)
    g_atomic_int_set (&quark, g_quark_from_static_string ("zcio-transmitter"));

  return (GQuark) g_atomic_int_get (&quark);
}

static void
zcio_transmitter_finalize (ZcioTransmitter *self)
{
  g_assert (self->window.sends_in_flight == 0);
  g_assert (self->watches == NULL);
  g_assert (self->waiters == NULL);
  g_assert (self->linger == NULL);

  zcio_released_call_out (&self->collected);
  zcio_released_free (&self->collected);
  zcio_send_window_clear (&self->window);
  g_mutex_clear (&self->lock);
  g_free (self);
}

ZcioTransmitter *
zcio_transmitter_ref (ZcioTransmitter *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
zcio_transmitter_unref (ZcioTransmitter *self)
{
  if (g_atomic_ref_count_dec (&self->ref_count))
    zcio_transmitter_finalize (self);
}

/* Runs while the GSocket is disposed of, when its descriptor is still open. No stream is
 * left then, since each holds a reference; but some sends may linger.
 */
static void
on_socket_disposed (gpointer data,
                    GObject *former_socket)
{
  ZcioTransmitter *self = data;

  g_mutex_lock (&self->lock);
  self->socket = NULL;
  if (self->linger != NULL)
    zcio_linger_shut_down (self->linger);
  g_mutex_unlock (&self->lock);

  zcio_transmitter_unref (self);
}

/* The descriptor of the GSocket, or -1 if it may not be used any more. */
int
zcio_transmitter_get_socket_fd_locked (ZcioTransmitter *self)
{
  if (self->socket != NULL && !self->fd_gone && !g_socket_is_closed (self->socket))
    return g_socket_get_fd (self->socket);

  return -1;
}

/* The descriptor by which the error queue can be reached, or -1. The linger does that by its
 * duplicate, since in any other thread the owner of the socket may just be closing it.
 */
int
zcio_transmitter_get_fd_locked (ZcioTransmitter *self)
{
  if (self->linger_fd >= 0)
    return self->linger_fd;

  return zcio_transmitter_get_socket_fd_locked (self);
}

/* Done early: only before the first byte is sent can it be told for certain that nobody else
 * has sent by zero-copy.
 */
static void
enable_locked (ZcioTransmitter *self)
{
  gboolean counter_known = FALSE;
  int fd = zcio_transmitter_get_fd_locked (self);

  if (self->enabled || fd < 0)
    return;

  self->enabled = TRUE;
  self->supported =
    self->syscalls->enable_zero_copy (self->syscalls, fd, &counter_known) == 0;
  self->window.base_known = counter_known;
}

static ZcioTransmitter *
zcio_transmitter_new (GSocket *socket)
{
  ZcioTransmitter *self = g_new0 (ZcioTransmitter, 1);

  g_atomic_ref_count_init (&self->ref_count);
  g_mutex_init (&self->lock);
  self->syscalls = zcio_syscalls_get_default ();
  self->socket = socket;
  self->linger_fd = -1;
  self->linger_timeout = ZCIO_DEFAULT_LINGER_TIMEOUT;
  self->reap_at = G_MAXINT64;
  self->finds_misuse = (zcio_debug_get_flags () & ZCIO_DEBUG_CHECKSUM) != 0;
  zcio_send_window_init (&self->window, TRUE);
  zcio_copy_policy_init (&self->policy, TRUE, FALSE, 0);
  enable_locked (self);

  return self;
}

/* Called, with the lock of the data, also where there is none. */
static gpointer
ref_if_any (gpointer self,
            gpointer user_data)
{
  return self != NULL ? zcio_transmitter_ref (self) : NULL;
}

/*
 * zcio_transmitter_get:
 *
 * Returns: (transfer full): the transmitter of this socket. All streams of a socket share
 *   it, so that ids and completions never cross.
 */
ZcioTransmitter *
zcio_transmitter_get (GSocket *socket)
{
  ZcioTransmitter *self;

  do
    {
      self = g_object_dup_qdata (G_OBJECT (socket), zcio_transmitter_quark (),
                                 ref_if_any, NULL);
      if (self != NULL)
        return self;

      self = zcio_transmitter_new (socket);
      if (g_object_replace_qdata (G_OBJECT (socket), zcio_transmitter_quark (),
                                  NULL, zcio_transmitter_ref (self),
                                  (GDestroyNotify) zcio_transmitter_unref, NULL))
        {
          g_object_weak_ref (G_OBJECT (socket), on_socket_disposed,
                             zcio_transmitter_ref (self));
          return self;
        }

      zcio_transmitter_unref (self);
      zcio_transmitter_unref (self);
    }
  while (TRUE);
}

/* Unlocks. What the policy has decided meanwhile is left where it can be read without. */
void
zcio_transmitter_unlock (ZcioTransmitter *self)
{
  gint64 until;
  gsize size = zcio_copy_policy_get_copied_size (&self->policy, &until);
  gboolean may_reap = self->window.sends_in_flight > 0 || self->collected.head != NULL;

  /* Where writers are held back, all are: then the lock is needed. */
  if (self->max_bytes_in_flight > 0)
    size = until = 0;

  __atomic_store_n (&self->reap_at, may_reap ? self->reap_due : G_MAXINT64, __ATOMIC_RELAXED);
  __atomic_store_n (&self->copies_below, size, __ATOMIC_RELAXED);
  __atomic_store_n (&self->copies_until, until, __ATOMIC_RELAXED);
  g_mutex_unlock (&self->lock);
}

/* Done late, by the first write that wants zero-copy: most streams never do. */
void
zcio_transmitter_prepare_locked (ZcioTransmitter *self)
{
  ZcioZeroCopyMode mode = self->policy.mode;
  gsize threshold = self->policy.threshold;
  gint64 now = self->syscalls->get_time (self->syscalls);
  gboolean is_local = FALSE;

  if (self->prepared)
    return;

  enable_locked (self);
  self->prepared = self->enabled;
  if (!self->prepared)
    return;

  /* A simulated kernel's peer is wherever the simulation says by its notifications. */
  if (self->supported && self->syscalls == zcio_syscalls_get_real ())
    is_local = zcio_peer_is_local (self->socket);

  zcio_copy_policy_init (&self->policy, self->supported, is_local, now);
  zcio_copy_policy_set_mode (&self->policy, mode, now);
  zcio_copy_policy_set_threshold (&self->policy, threshold);
  self->to_log |= ZCIO_LOG_STATE;
}

void
zcio_transmitter_state_changed_locked (ZcioTransmitter *self)
{
  self->to_log |= ZCIO_LOG_STATE;
  ZCIO_TRACE (state, self, self->policy.state, self->policy.reason);
  for (GSList *l = self->watches; l != NULL; l = l->next)
    {
      ZcioWatch *watch = l->data;

      watch->state_changed = TRUE;
      zcio_watch_notify_locked (watch);
    }
}

/* The first send is in flight. Not before is the socket certainly connected. */
void
zcio_transmitter_arm_locked (ZcioTransmitter *self)
{
  for (GSList *l = self->watches; l != NULL; l = l->next)
    {
      zcio_watch_arm_locked (l->data);
      zcio_watch_expect_locked (l->data);
    }
}

static void
tell_released_locked (ZcioTransmitter *self,
                      guint            sends,
                      guint64          bytes,
                      gboolean         copied)
{
  static const guint64 one = 1;

  for (GSList *l = self->watches; l != NULL; l = l->next)
    {
      ZcioWatch *watch = l->data;

      watch->sends += sends;
      watch->bytes += bytes;
      watch->copied |= copied;
      zcio_watch_notify_locked (watch);
    }

  for (GSList *l = self->waiters; l != NULL; l = l->next)
    {
      /* It can only fail where the counter is full, and then the waiter wakes anyway. */
      G_GNUC_UNUSED gssize n = write (GPOINTER_TO_INT (l->data), &one, sizeof one);
    }
}

/* The program has closed the GSocket under its stream: no completion can be read any
 * more, but the kernel may still send from the buffers.
 */
static void
keep_orphans_locked (ZcioTransmitter *self)
{
  if (self->window.sends_in_flight == 0 || self->linger != NULL)
    return;

  self->to_log |= ZCIO_LOG_ORPHANS;
  self->linger = zcio_linger_start (self, -1, self->linger_timeout);
}

static void
apply_locked (ZcioTransmitter        *self,
              const ZcioNotification *notifications,
              guint                   n)
{
  gint64 now = self->syscalls->get_time (self->syscalls);

  for (guint i = 0; i < n; i++)
    {
      guint sends = zcio_send_window_release (&self->window, &notifications[i], &self->collected);

      ZCIO_TRACE (notification, self, sends, notifications[i].copied);
      if (zcio_copy_policy_returned (&self->policy, sends, notifications[i].copied ? sends : 0,
                                     self->window.sends_in_flight, now))
        zcio_transmitter_state_changed_locked (self);
    }
}

/* What it releases is put on @collected. Returns how many sends came back. */
static guint
read_error_queue_locked (ZcioTransmitter *self,
                         int              fd)
{
  ZcioNotification notifications[MAX_NOTIFICATIONS_AT_ONCE];
  ZcioReleased before = self->collected;
  gboolean empty = FALSE;
  guint sends;
  guint64 bytes;
  guint copied;

  for (guint i = 0; i < MAX_READS_IN_ONE_GO && !empty; i++)
    {
      guint n_foreign = 0;
      guint n = zcio_error_queue_read (self->syscalls, fd, notifications,
                                       MAX_NOTIFICATIONS_AT_ONCE, &n_foreign, &empty);

      apply_locked (self, notifications, n);
      self->counters.notifications += n;
      self->counters.foreign_records += n_foreign;
      self->counters.system_calls += n + n_foreign + empty;
      if (n == 0 && n_foreign == 0)
        break;
    }
  self->counters.error_queue_reads++;
  self->reap_due = self->syscalls->get_time (self->syscalls) + ZCIO_REAP_INTERVAL;

  sends = self->collected.sends - before.sends;
  bytes = self->collected.bytes - before.bytes;
  copied = self->collected.copied_sends - before.copied_sends;
  self->counters.sends_copied_by_kernel += copied;
  self->counters.bytes_copied_by_kernel += self->collected.copied_bytes - before.copied_bytes;
  if (sends > 0)
    tell_released_locked (self, sends, bytes, copied > 0);

  return sends;
}

/*
 * zcio_transmitter_collect_locked:
 *
 * Reads the error queue. What it releases is put on @collected.
 *
 * Returns: how many sends came back
 */
guint
zcio_transmitter_collect_locked (ZcioTransmitter *self)
{
  int fd;

  self->sends_since_reap = 0;
  self->bytes_since_reap = 0;
  if (!self->supported || self->window.sends_in_flight == 0)
    return 0;

  fd = zcio_transmitter_get_fd_locked (self);
  if (fd < 0)
    {
      keep_orphans_locked (self);
      return 0;
    }

  return read_error_queue_locked (self, fd);
}

/* A log writer is a program's code, too. */
static void
log_unlocked (ZcioTransmitter      *self,
              guint                 to_log,
              const ZcioCopyPolicy *policy,
              guint64               sends,
              guint64               bytes)
{
  if (to_log & ZCIO_LOG_STATE)
    {
      g_autofree char *description = zcio_transmitter_describe_policy (policy, sends, bytes);

      g_debug ("transmitter %p: %s", self, description);
    }

  if (to_log & ZCIO_LOG_LIMIT)
    zcio_describe_log_limit (self->limit_size, 0);

  if (to_log & ZCIO_LOG_ORPHANS)
    g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                      "MESSAGE",
                      "A GSocket was closed with %" G_GUINT64_FORMAT " zero-copy sends in flight. "
                      "Their buffers are kept until linger-timeout has passed. "
                      "Close the ZcioSocketStream before its socket.",
                      sends);
}

void
zcio_transmitter_unlock_and_release (ZcioTransmitter *self)
{
  ZcioReleased released;
  guint to_log;

  if (G_LIKELY (self->collected.head == NULL && self->to_log == 0))
    {
      zcio_transmitter_unlock (self);
      return;
    }

  released = self->collected;
  to_log = self->to_log;
  self->collected = (ZcioReleased) ZCIO_RELEASED_INIT;
  self->to_log = 0;
  if (G_UNLIKELY (to_log != 0))
    {
      ZcioCopyPolicy policy = self->policy;
      guint64 sends = self->window.sends_in_flight;
      guint64 bytes = self->window.bytes_in_flight;

      zcio_transmitter_unlock (self);
      log_unlocked (self, to_log, &policy, sends, bytes);
    }
  else
    zcio_transmitter_unlock (self);

  if (released.head == NULL)
    return;

  zcio_released_call_out (&released);

  g_mutex_lock (&self->lock);
  zcio_send_window_reuse (&self->window, &released);
  g_mutex_unlock (&self->lock);
}

guint
zcio_transmitter_reap (ZcioTransmitter *self)
{
  guint sends;

  g_mutex_lock (&self->lock);
  sends = zcio_transmitter_collect_locked (self);
  zcio_transmitter_unlock_and_release (self);

  return sends;
}

guint
zcio_transmitter_collect (ZcioTransmitter *self,
                          gboolean         by_reaper)
{
  guint sends;

  g_mutex_lock (&self->lock);
  sends = zcio_transmitter_collect_locked (self);
  self->counters.reaper_dispatches += by_reaper;
  zcio_transmitter_unlock (self);

  return sends;
}

void
zcio_transmitter_set_writable (ZcioTransmitter *self)
{
  g_mutex_lock (&self->lock);
  self->blocked = FALSE;
  g_mutex_unlock (&self->lock);
}

gboolean
zcio_transmitter_clear_error_queue (ZcioTransmitter *self)
{
  guint64 before;
  guint64 after;
  int fd;

  g_mutex_lock (&self->lock);
  zcio_transmitter_prepare_locked (self);
  fd = zcio_transmitter_get_fd_locked (self);
  before = self->counters.notifications + self->counters.foreign_records;
  if (self->supported && fd >= 0)
    read_error_queue_locked (self, fd);
  after = self->counters.notifications + self->counters.foreign_records;
  zcio_transmitter_unlock (self);

  return after > before;
}

/* The duplicate cannot be had where somebody has closed the descriptor; or where the process
 * has none to spare, and then the linger reads by the socket's own.
 */
static void
start_linger_locked (ZcioTransmitter *self)
{
  if (self->window.sends_in_flight == 0 || self->linger != NULL)
    return;

  self->linger_fd = fcntl (zcio_transmitter_get_fd_locked (self), F_DUPFD_CLOEXEC, 3);
  if (self->linger_fd >= 0 || errno == EMFILE)
    self->linger = zcio_linger_start (self, self->linger_fd, self->linger_timeout);
  else
    keep_orphans_locked (self);
}

/* Somebody else reads the completions from now on. */
static void
stop_linger_locked (ZcioTransmitter *self)
{
  if (self->linger == NULL || zcio_transmitter_get_socket_fd_locked (self) < 0)
    return;

  zcio_linger_stop (g_steal_pointer (&self->linger));
  self->linger_fd = -1;
}

void
zcio_transmitter_close (ZcioTransmitter *self)
{
  g_mutex_lock (&self->lock);
  zcio_transmitter_collect_locked (self);
  start_linger_locked (self);
  if (self->linger != NULL)
    zcio_linger_shut_down (self->linger);
  /* While GSocket closes it, its number may already be another's. */
  self->fd_gone = TRUE;
  zcio_transmitter_unlock_and_release (self);
}

gboolean
zcio_transmitter_has_lost_fd_locked (ZcioTransmitter *self)
{
  int fd = zcio_transmitter_get_fd_locked (self);

  if (fd >= 0 && fcntl (fd, F_GETFD) < 0 && errno == EBADF)
    {
      self->fd_gone = TRUE;
      fd = self->linger_fd;
    }

  return fd < 0;
}

void
zcio_transmitter_attach (ZcioTransmitter *self)
{
  g_mutex_lock (&self->lock);
  self->n_streams++;
  g_mutex_unlock (&self->lock);
}

void
zcio_transmitter_detach (ZcioTransmitter *self)
{
  g_mutex_lock (&self->lock);
  if (--self->n_streams == 0)
    {
      zcio_transmitter_collect_locked (self);
      start_linger_locked (self);
    }
  zcio_transmitter_unlock_and_release (self);
}

gboolean
zcio_transmitter_reap_lingering (ZcioTransmitter *self,
                                 gboolean        *in_use,
                                 gboolean        *socket_gone)
{
  gboolean done;

  g_mutex_lock (&self->lock);
  zcio_transmitter_collect_locked (self);
  *socket_gone = self->socket == NULL || g_socket_is_closed (self->socket);
  *in_use = self->n_streams > 0 && zcio_transmitter_get_socket_fd_locked (self) >= 0;
  done = self->window.sends_in_flight == 0 || self->linger == NULL;
  if (done)
    {
      self->linger = NULL;
      self->linger_fd = -1;
    }
  zcio_transmitter_unlock_and_release (self);

  return done;
}

void
zcio_transmitter_release_all (ZcioTransmitter *self)
{
  guint sends;
  guint64 bytes;

  g_mutex_lock (&self->lock);
  sends = self->window.sends_in_flight;
  bytes = self->window.bytes_in_flight;
  zcio_send_window_release_all (&self->window, &self->collected);
  if (zcio_copy_policy_returned (&self->policy, 0, 0, 0, self->syscalls->get_time (self->syscalls)))
    zcio_transmitter_state_changed_locked (self);
  if (sends > 0)
    tell_released_locked (self, sends, bytes, FALSE);
  zcio_transmitter_unlock_and_release (self);
}

gboolean
zcio_transmitter_abort (ZcioTransmitter  *self,
                        GError          **error)
{
  int fd;
  int result = -1;
  int errsv = EBADF;

  g_mutex_lock (&self->lock);
  fd = zcio_transmitter_get_fd_locked (self);
  if (fd >= 0)
    {
      result = self->syscalls->disconnect (self->syscalls, fd);
      errsv = errno;
      zcio_transmitter_collect_locked (self);
    }
  zcio_transmitter_unlock_and_release (self);

  if (fd < 0)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CLOSED, ZCIO_GIO_ (SOCKET_CLOSED));
  else if (result < 0)
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errsv),
                 "Error resetting the connection: %s", g_strerror (errsv));

  return result == 0;
}

void
zcio_transmitter_add_watch (ZcioTransmitter *self,
                            ZcioWatch       *watch)
{
  g_mutex_lock (&self->lock);
  self->watches = g_slist_prepend (self->watches, watch);
  if (self->n_streams > 0)
    stop_linger_locked (self);
  if (self->window.sends_in_flight > 0)
    {
      zcio_watch_arm_locked (watch);
      zcio_watch_expect_locked (watch);
    }
  g_mutex_unlock (&self->lock);
}

void
zcio_transmitter_remove_watch (ZcioTransmitter *self,
                               ZcioWatch       *watch)
{
  g_mutex_lock (&self->lock);
  self->watches = g_slist_remove (self->watches, watch);
  watch->destroyed = TRUE;
  /* Another stream of the socket may have no watch, because it has not sent anything. */
  if (self->watches == NULL && self->n_streams > 0)
    {
      zcio_transmitter_collect_locked (self);
      start_linger_locked (self);
    }
  /* Nobody may be left to call out what a check() has collected. */
  zcio_transmitter_unlock_and_release (self);
}
