/* zcio-send.c - sending a write, part by part
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-send-private.h"

#include <errno.h>
#include <string.h>

#include "zcio-trace-private.h"
#include "zcio-words-private.h"

/* With no main loop running, writes reap as they go: so often that little memory stays
 * pinned, so seldom that the system calls do not count.
 */
#define REAP_AFTER_SENDS 64
#define REAP_AFTER_BYTES ((gsize) 16 * 1024 * 1024)

/* GSO_MAX_SIZE: no packet of the kernel's is larger. */
#define MAX_PACKET_SIZE (8 * 65535)

/* A low limit of bytes in flight does not make the sends smaller than this. */
#define MIN_SEND_SIZE ((gsize) 64 * 1024)

static inline gssize
call_send (ZcioTransmitter    *self,
           int                 fd,
           const struct iovec *vectors,
           gsize               n_vectors,
           int                 flags)
{
  struct msghdr message = { .msg_iov = (struct iovec *) vectors, .msg_iovlen = n_vectors };
  gssize n;

  do
    {
      n = self->syscalls->send_message (self->syscalls, fd, &message, flags);
      self->counters.system_calls++;
    }
  while (n < 0 && errno == EINTR);

  return n;
}

/* Nobody knows how often this socket was sent to by zero-copy before us. One send goes
 * alone then, and its notification tells the id; all earlier ones must be back by then. They
 * are when nothing is unacknowledged, or only what we have written ourselves; and that not to
 * the same packet, for a packet comes back as a whole.
 */
static gboolean
may_send_alone_locked (ZcioTransmitter *self,
                       int              fd)
{
  ZcioNotification notifications[16];
  guint n_foreign;
  gboolean empty = FALSE;
  int unacknowledged;
  guint64 own;

  if (self->window.sends_in_flight > 0)
    return FALSE;

  unacknowledged = self->syscalls->get_unacknowledged (self->syscalls, fd);
  own = zcio_transmitter_get_bytes_written_locked (self, __atomic_load_n (&self->plain_bytes, __ATOMIC_RELAXED));
  if (unacknowledged != 0 &&
      (unacknowledged < 0 || own < (guint64) unacknowledged + MAX_PACKET_SIZE))
    return FALSE;

  while (!empty)
    {
      guint n = zcio_error_queue_read (self->syscalls, fd, notifications,
                                       G_N_ELEMENTS (notifications), &n_foreign, &empty);

      self->counters.foreign_records += n + n_foreign;
      if (n + n_foreign == 0)
        break;
    }

  return TRUE;
}

/* After a send that found no space: is there some now? */
static gboolean
is_writable (ZcioTransmitter *self,
             int              fd)
{
  struct pollfd pollfd = { .fd = fd, .events = POLLOUT };

  self->counters.system_calls++;
  self->syscalls->poll (self->syscalls, &pollfd, 1, 0);
  if (pollfd.revents == POLLERR)
    {
      /* Completions do not make it writable; but an error is to be told by a send. */
      zcio_transmitter_collect_locked (self);
      self->counters.system_calls++;
      pollfd.revents = 0;
      self->syscalls->poll (self->syscalls, &pollfd, 1, 0);
    }

  return pollfd.revents != 0;
}

typedef enum
{
  HOW_ZERO_COPY,
  HOW_COPY_BY_CHOICE,
  HOW_COPY_FOR_ENOBUFS
} How;

/*
 * ENOBUFS never reaches a caller, nor does it ever wait: what would have to be waited for is
 * the peer, and the socket is writable all the while. Unread notifications may be what fills
 * the socket's option memory, so they are read; if there were any, zero-copy gets one more
 * try. Otherwise this part is copied, which is always right and tells the real error, if
 * there is one (sendmsg() allocates the notification before it looks at the state).
 */
static gssize
solve_enobufs_locked (ZcioTransmitter    *self,
                      int                 fd,
                      const struct iovec *vectors,
                      gsize               n_vectors,
                      gsize               size,
                      int                 flags,
                      How                *how)
{
  guint64 read_before = self->counters.notifications + self->counters.foreign_records;

  self->counters.enobufs++;
  ZCIO_TRACE (enobufs, self, size, self->window.sends_in_flight);
  zcio_transmitter_collect_locked (self);

  if (self->counters.notifications + self->counters.foreign_records > read_before)
    {
      gssize n = call_send (self, fd, vectors, n_vectors, flags | zcio_zero_copy_flag);

      if (n >= 0 || errno != ENOBUFS)
        {
          self->counters.enobufs_cured_by_drain++;
          return n;
        }
    }

  if (self->window.sends_in_flight > 0)
    self->counters.enobufs_congested++;
  else
    {
      self->counters.enobufs_limited++;
      if (!self->limit_logged)
        self->to_log |= ZCIO_LOG_LIMIT;
      self->limit_logged = TRUE;
      self->limit_size = size;
    }

  if (zcio_copy_policy_no_buffers (&self->policy, self->window.sends_in_flight,
                                   self->syscalls->get_time (self->syscalls)))
    zcio_transmitter_state_changed_locked (self);

  *how = HOW_COPY_FOR_ENOBUFS;
  return call_send (self, fd, vectors, n_vectors, flags);
}

/* Some memory can be sent, but not by zero-copy (secret memory, device memory); so can some
 * sockets. Only what a copy answers is real.
 */
static gssize
solve_refusal_locked (ZcioTransmitter    *self,
                      int                 fd,
                      const struct iovec *vectors,
                      gsize               n_vectors,
                      int                 flags,
                      How                *how)
{
  gboolean refused = errno == EOPNOTSUPP;
  gssize n = call_send (self, fd, vectors, n_vectors, flags);

  *how = HOW_COPY_FOR_ENOBUFS;
  if (n > 0 && refused && zcio_copy_policy_refused (&self->policy))
    zcio_transmitter_state_changed_locked (self);

  return n;
}

/* What send_whole_locked () has tried is not tried again. */
static gssize
call_zero_copy_send (ZcioTransmitter    *self,
                     ZcioSendRequest    *request,
                     int                 fd,
                     const struct iovec *vectors,
                     gsize               n_vectors,
                     int                 flags)
{
  if (!request->tried)
    return call_send (self, fd, vectors, n_vectors, flags | zcio_zero_copy_flag);

  request->tried = FALSE;
  errno = request->tried_errno;
  return request->tried_result;
}

static gssize
send_zero_copy_locked (ZcioTransmitter    *self,
                       ZcioSendRequest    *request,
                       int                 fd,
                       const struct iovec *vectors,
                       gsize               n_vectors,
                       gsize               size,
                       int                 flags,
                       How                *how)
{
  gssize n;

  if (self->blocked && !is_writable (self, fd))
    {
      errno = EAGAIN;
      return -1;
    }
  self->blocked = FALSE;

  *how = HOW_ZERO_COPY;
  n = call_zero_copy_send (self, request, fd, vectors, n_vectors, flags);
  if (n >= 0)
    return n;

  if (errno == ENOBUFS)
    n = solve_enobufs_locked (self, fd, vectors, n_vectors, size, flags, how);
  if (n < 0 && *how == HOW_ZERO_COPY &&
      (errno == EFAULT || errno == EOPNOTSUPP || errno == ENOMEM))
    n = solve_refusal_locked (self, fd, vectors, n_vectors, flags, how);

  return n;
}

/* A zero-copy send of at least one byte takes an id. */
static inline void
add_to_window_locked (ZcioTransmitter    *self,
                      ZcioSendRequest    *request,
                      const struct iovec *vectors,
                      gsize               n_vectors,
                      gsize               accepted)
{
  gint64 now = self->syscalls->get_coarse_time (self->syscalls);

  if (G_UNLIKELY (self->finds_misuse) && !request->keep_off)
    zcio_write_add_record (request->write,
                           zcio_debug_record_new (vectors, n_vectors, accepted,
                                                  g_get_monotonic_time ()));

  ZCIO_TRACE (send, self, accepted, self->window.sends_in_flight);
  zcio_send_window_add (&self->window, request->write, accepted, now);
  if (self->window.sends_in_flight == 1)
    {
      self->reap_due = now + ZCIO_REAP_INTERVAL;
      zcio_transmitter_arm_locked (self);
    }
  if (zcio_copy_policy_sent (&self->policy, now))
    zcio_transmitter_state_changed_locked (self);

  self->sends_since_reap++;
  self->bytes_since_reap += accepted;
  self->counters.bytes_zero_copied += accepted;
}

/* What was accepted, by kind. */
static void
account_locked (ZcioTransmitter     *self,
                ZcioSendRequest     *request,
                const ZcioSendParts *parts,
                gsize                accepted,
                How                  how)
{
  if (how == HOW_ZERO_COPY && request->write == NULL)
    request->write = zcio_send_window_begin (&self->window);
  zcio_send_request_accepted (request, parts, accepted, how == HOW_ZERO_COPY);

  switch (how)
    {
    case HOW_ZERO_COPY:
      add_to_window_locked (self, request, parts->vectors, parts->n, accepted);
      break;

    case HOW_COPY_BY_CHOICE:
      self->counters.bytes_copied_by_choice += accepted;
      self->counters.sends_copied_by_choice++;
      break;

    case HOW_COPY_FOR_ENOBUFS:
      self->counters.bytes_copied_for_enobufs += accepted;
      self->counters.sends_copied_for_enobufs++;
      break;

    default:
      g_assert_not_reached ();
    }
}

static gboolean
may_zero_copy_locked (ZcioTransmitter       *self,
                      const ZcioSendRequest *request,
                      int                    fd,
                      gint64                 now)
{
  if (!request->zero_copy)
    return FALSE;

  if (G_UNLIKELY (!self->prepared))
    zcio_transmitter_prepare_locked (self);
  if (!zcio_copy_policy_may_zero_copy (&self->policy, request->size - request->written, now))
    return FALSE;

  return self->window.base_known || may_send_alone_locked (self, fd);
}

static gsize
get_max_size_locked (ZcioTransmitter       *self,
                     const ZcioSendRequest *request)
{
  if (self->max_bytes_in_flight == 0 || !request->zero_copy)
    return ZCIO_MAX_SEND_SIZE;

  return CLAMP (self->max_bytes_in_flight, MIN_SEND_SIZE, ZCIO_MAX_SEND_SIZE);
}

/* Sends of @parts what @plan says. Returns what was accepted, or -1. */
static gssize
send_planned_locked (ZcioTransmitter     *self,
                     ZcioSendRequest     *request,
                     int                  fd,
                     const ZcioSendParts *parts,
                     const ZcioCopyPlan  *plan)
{
  How how = HOW_COPY_BY_CHOICE;
  int flags = plan->more ? MSG_MORE : 0;
  gssize n;

  if (plan->zero_copy)
    n = send_zero_copy_locked (self, request, fd, parts->vectors, plan->n_vectors, plan->size, flags, &how);
  else
    n = call_send (self, fd, parts->vectors, plan->n_vectors, flags);

  if (n > 0)
    account_locked (self, request, parts, n, how);

  return n;
}

/* What to send next, and how. */
static void
decide_locked (ZcioTransmitter *self,
               ZcioSendRequest *request,
               int              fd,
               gsize            max_vectors,
               gint64           now,
               ZcioSendParts   *parts,
               ZcioCopyPlan    *plan)
{
  zcio_send_request_gather (request, parts->vectors, max_vectors,
                            get_max_size_locked (self, request), parts);
  if (may_zero_copy_locked (self, request, fd, now))
    zcio_copy_policy_plan (&self->policy, parts->vectors, parts->n, parts->size, now, plan);
  else
    *plan = (ZcioCopyPlan) { .n_vectors = parts->n, .size = parts->size };
}

static gssize
send_vectors_locked (ZcioTransmitter *self,
                     ZcioSendRequest *request,
                     int              fd,
                     struct iovec    *vectors,
                     gsize            max_vectors,
                     gsize           *asked)
{
  ZcioSendParts parts = { .vectors = vectors };
  ZcioCopyPlan plan;
  gint64 now = self->syscalls->get_time (self->syscalls);

  decide_locked (self, request, fd, max_vectors, now, &parts, &plan);
  *asked = plan.size;

  /* Something is left, and empty parts go with what they are next to. */
  g_assert (plan.size > 0);
  g_assert (!request->tried || (plan.zero_copy && plan.size == request->size));
  return send_planned_locked (self, request, fd, &parts, &plan);
}

/* With an array on the stack that most writes do without. */
static G_NO_INLINE gssize
send_many_vectors_locked (ZcioTransmitter *self,
                          ZcioSendRequest *request,
                          int              fd,
                          gsize           *asked)
{
  struct iovec vectors[ZCIO_MAX_SEND_VECTORS];

  return send_vectors_locked (self, request, fd, vectors, G_N_ELEMENTS (vectors), asked);
}

/* Sends the next part. Returns what was accepted, or -1. *@asked is what was asked for. */
static gssize
send_part_locked (ZcioTransmitter *self,
                  ZcioSendRequest *request,
                  int              fd,
                  gsize           *asked)
{
  struct iovec vector;

  if (request->n - request->index == 1)
    return send_vectors_locked (self, request, fd, &vector, 1, asked);

  return send_many_vectors_locked (self, request, fd, asked);
}

static gboolean
is_window_full_locked (ZcioTransmitter       *self,
                       const ZcioSendRequest *request)
{
  guint64 room = zcio_transmitter_get_room_locked (self);

  if (G_LIKELY (self->window.bytes_in_flight <= room || !request->zero_copy))
    return FALSE;

  zcio_transmitter_collect_locked (self);
  return self->window.bytes_in_flight > room;
}

static ZcioSendResult
send_locked (ZcioTransmitter *self,
             ZcioSendRequest *request,
             int              fd,
             int             *errsv)
{
  request->wants_window = FALSE;

  while (request->written < request->size)
    {
      gsize asked;
      gssize n;

      if (is_window_full_locked (self, request))
        {
          request->wants_window = TRUE;
          return ZCIO_SEND_WOULD_BLOCK;
        }

      n = send_part_locked (self, request, fd, &asked);
      if (n < 0 && errno != EAGAIN)
        {
          *errsv = errno;
          return ZCIO_SEND_FAILED;
        }

      /* A short send has filled the socket's buffer: another would only be told so. */
      if (n < (gssize) asked)
        {
          self->blocked = TRUE;
          return ZCIO_SEND_WOULD_BLOCK;
        }
    }

  return ZCIO_SEND_DONE;
}

static void
end_locked (ZcioTransmitter *self,
            ZcioSendRequest *request)
{
  if (request->write != NULL)
    zcio_send_window_end (&self->window, g_steal_pointer (&request->write), &self->collected);
}

static inline gboolean
has_enough_to_reap_locked (const ZcioTransmitter *self)
{
  return self->sends_since_reap >= REAP_AFTER_SENDS || self->bytes_since_reap >= REAP_AFTER_BYTES;
}

/* Writes that are copied are not counted, and they may be copied until some sends have come back;
 * so these go by the clock, and only these.
 */
static gboolean
is_reap_due_locked (ZcioTransmitter       *self,
                    const ZcioSendRequest *request)
{
  gsize size = request->size - request->written;
  gint64 now;

  if (self->window.sends_in_flight == 0)
    return FALSE;

  if (has_enough_to_reap_locked (self))
    return TRUE;

  if (zcio_copy_policy_will_zero_copy (&self->policy, size))
    return FALSE;

  now = self->syscalls->get_time (self->syscalls);
  return now >= self->reap_due && !zcio_copy_policy_may_zero_copy (&self->policy, size, now);
}

/* Most writes go by zero-copy as a whole, in one send: there is nothing to decide, and whatever
 * decide_locked () looks at says so.
 */
static inline gboolean
goes_whole_locked (const ZcioTransmitter *self,
                   const ZcioSendRequest *request)
{
  return request->vectors != NULL && request->n <= ZCIO_MAX_SEND_VECTORS && request->zero_copy &&
         request->written == 0 && request->size <= ZCIO_MAX_SEND_SIZE &&
         zcio_copy_policy_takes_whole (&self->policy, request->size, request->smallest) &&
         self->prepared && self->window.base_known && self->max_bytes_in_flight == 0 && !self->blocked;
}

/* Another thread may have closed the stream, so that nobody would reap; or be about to close the
 * socket, whose descriptor is not to be used any more.
 */
static inline gboolean
may_send_locked (const ZcioTransmitter *self)
{
  return self->watches != NULL && !self->fd_gone;
}

/* In the midst of a flood nothing is to be prepared, reaped, called out or logged; and a send
 * changes nothing that is read without the lock.
 */
static inline gboolean
is_flood_locked (const ZcioTransmitter *self)
{
  return self->window.sends_in_flight > 0 && self->collected.head == NULL && self->to_log == 0 &&
         !has_enough_to_reap_locked (self);
}

/* Returns whether all was accepted. If not, what came of it is left to send_locked (), which must
 * follow before the error queue is read: a send that was accepted in part has its id already.
 */
static inline gboolean
send_whole_locked (ZcioTransmitter *self,
                   ZcioSendRequest *request,
                   int              fd)
{
  const struct iovec *vectors = (const struct iovec *) request->vectors;
  gssize n = call_send (self, fd, vectors, request->n, zcio_zero_copy_flag);

  if (G_UNLIKELY (n != (gssize) request->size))
    {
      request->tried = TRUE;
      request->tried_result = n;
      request->tried_errno = errno;
      return FALSE;
    }

  request->write = zcio_send_window_begin (&self->window);
  zcio_send_request_own (request, request->n);
  request->written = request->size;
  add_to_window_locked (self, request, vectors, request->n, request->size);

  return TRUE;
}

static G_NO_INLINE ZcioSendResult
send_and_unlock (ZcioTransmitter  *self,
                 GSocket          *socket,
                 ZcioSendRequest  *request,
                 int               fd,
                 GError          **error)
{
  ZcioSendResult result = ZCIO_SEND_FAILED;
  int errsv = 0;

  /* Between a send and its place in the window the error queue must not be read. */
  if (!request->tried && is_reap_due_locked (self, request))
    zcio_transmitter_collect_locked (self);
  if (!may_send_locked (self))
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CLOSED, ZCIO_GIO_ (STREAM_CLOSED));
  else if (fd >= 0)
    result = send_locked (self, request, fd, &errsv);
  else if (zcio_send_check_socket (socket, error))
    errsv = EBADF; /* another thread is just closing it */
  if (result == ZCIO_SEND_WOULD_BLOCK && !zcio_send_may_block (socket, error))
    result = ZCIO_SEND_FAILED;
  if (result != ZCIO_SEND_WOULD_BLOCK)
    end_locked (self, request);
  zcio_transmitter_unlock_and_release (self);

  if (result != ZCIO_SEND_WOULD_BLOCK)
    zcio_send_request_release (request);

  if (result == ZCIO_SEND_FAILED && errsv != 0)
    {
      request->error_number = errsv;
      g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errsv),
                   ZCIO_GIO_ (SENDING_MESSAGE), g_strerror (errsv));
    }

  return result;
}

ZcioSendResult
zcio_transmitter_send (ZcioTransmitter  *self,
                       GSocket          *socket,
                       ZcioSendRequest  *request,
                       GError          **error)
{
  int fd = g_socket_get_fd (socket);

  g_mutex_lock (&self->lock);
  if (G_LIKELY (fd >= 0 && may_send_locked (self) && is_flood_locked (self) &&
                goes_whole_locked (self, request) && send_whole_locked (self, request, fd)))
    {
      end_locked (self, request);
      g_mutex_unlock (&self->lock);
      return ZCIO_SEND_DONE;
    }

  return send_and_unlock (self, socket, request, fd, error);
}

void
zcio_transmitter_end (ZcioTransmitter *self,
                      ZcioSendRequest *request)
{
  g_mutex_lock (&self->lock);
  end_locked (self, request);
  zcio_transmitter_unlock_and_release (self);
  zcio_send_request_release (request);
}
