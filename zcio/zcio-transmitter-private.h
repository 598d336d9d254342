/* zcio-transmitter-private.h - one socket's sending side
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

#include "zcio-copy-policy-private.h"
#include "zcio-send-window-private.h"
#include "zcio-statistics.h"
#include "zcio-syscalls-private.h"

G_BEGIN_DECLS

#define ZCIO_DEFAULT_LINGER_TIMEOUT (60 * G_TIME_SPAN_SECOND)

/* Where no main loop runs, a write reaps that comes so long after the last time. */
#define ZCIO_REAP_INTERVAL (10 * G_TIME_SPAN_MILLISECOND)

/* What is to be logged when the lock is not held any more. */
enum
{
  ZCIO_LOG_STATE = 1 << 0,
  ZCIO_LOG_LIMIT = 1 << 1,
  ZCIO_LOG_ORPHANS = 1 << 2
};

typedef struct _ZcioLinger ZcioLinger;
typedef struct _ZcioTransmitter ZcioTransmitter;
typedef struct _ZcioWatch ZcioWatch;

/*
 * ZcioTransmitter:
 * @lock: protects all below it. It is never held while calling out
 * @to_log: messages to log when the lock is not held any more
 * @prepared: whether the policy knows of @supported, and of where the peer is
 * @blocked: the last send found no space; none by zero-copy is tried before the
 *   socket is writable, since each try leaks accounting (kernel.md 4.2)
 * @finds_misuse: what was sent is compared with what is there on release
 * @fd_gone: the descriptor of @socket is not to be used any more: it is about to be closed,
 *   or somebody has closed it behind its back
 * @watches: (element-type ZcioWatch) who wants to be told of completions
 * @collected: released, but not called out yet
 * @counters: what is counted while sending, but for what follows from it or from @window: see
 *   zcio_transmitter_get_statistics(). @bytes_zero_copied includes what the kernel copied
 * @socket: not owned; cleared when it is disposed of
 * @linger_fd: a duplicate by which the linger reaches the error queue, else -1
 * @n_streams: streams that use it
 * @enabled: whether SO_ZEROCOPY has been tried
 * @supported: whether it was set; only then is the error queue read: on a UNIX socket the
 *   same call would eat data
 * @limit_logged: the limit that ENOBUFS met was logged; that is done once
 * @limit_size: the size of the send that met it
 * @waiters: (element-type int) event descriptors of threads that wait for them
 * @reap_due: when a write is to reap that finds sends in flight
 *
 * It is found again through the GSocket, so that all streams of a socket share it,
 * and it outlives both while something is in flight. What each write looks at comes first, so
 * that it is together.
 */
struct _ZcioTransmitter
{
  gatomicrefcount ref_count;

  /* Atomic: a source has met the socket's timeout, and the next write is to tell; or the
   * next read.
   */
  int timed_out;
  int read_timed_out;

  /* Atomic: writes below this size, or before this time, are certainly copied, so that they
   * can do without the lock.
   */
  gsize copies_below;
  gint64 copies_until;

  /* Atomic: @reap_due while there is anything to reap, else G_MAXINT64. */
  gint64 reap_at;

  /* Not under the lock: added to atomically by copying writes, which do without it. */
  guint64 plain_sends;
  guint64 plain_bytes;

  ZcioSyscalls *syscalls;
  GMutex lock;

  guint to_log;
  gboolean prepared;
  gboolean blocked;
  gboolean finds_misuse;
  guint sends_since_reap;
  gsize bytes_since_reap;
  guint64 max_bytes_in_flight;
  gboolean fd_gone;
  GSList *watches;
  ZcioReleased collected;
  ZcioSendWindow window;
  ZcioCopyPolicy policy;
  ZcioStatistics counters;

  GSocket *socket;
  int linger_fd;
  guint n_streams;
  gboolean enabled;
  gboolean supported;
  gboolean limit_logged;
  gsize limit_size;
  gint64 linger_timeout;
  ZcioLinger *linger;
  GSList *waiters;
  gint64 reap_due;
};

ZcioTransmitter *zcio_transmitter_get              (GSocket            *socket);
ZcioTransmitter *zcio_transmitter_ref              (ZcioTransmitter    *self);
void             zcio_transmitter_unref            (ZcioTransmitter    *self);

/* A stream uses it from attach to detach. What is in flight without a stream, or without a
 * watch, is passed to the linger, until there is a stream with a watch again.
 */
void             zcio_transmitter_attach           (ZcioTransmitter    *self);
void             zcio_transmitter_detach           (ZcioTransmitter    *self);

/* Tries SO_ZEROCOPY, once; returns whether it is set. */
gboolean         zcio_transmitter_is_supported     (ZcioTransmitter    *self);
ZcioZeroCopyMode zcio_transmitter_get_mode         (ZcioTransmitter    *self);
void             zcio_transmitter_set_mode         (ZcioTransmitter    *self,
                                                    ZcioZeroCopyMode    mode);
gsize            zcio_transmitter_get_threshold    (ZcioTransmitter    *self,
                                                    gsize              *effective);
void             zcio_transmitter_set_threshold    (ZcioTransmitter    *self,
                                                    gsize               threshold);
guint64          zcio_transmitter_get_max_in_flight (ZcioTransmitter   *self);
/* The most that may be in flight when another zero-copy send is to begin: less than the limit,
 * and anything where there is none.
 */
guint64          zcio_transmitter_get_room         (ZcioTransmitter    *self);
void             zcio_transmitter_set_max_in_flight (ZcioTransmitter   *self,
                                                     guint64            max_bytes);
gint64           zcio_transmitter_get_linger_timeout (ZcioTransmitter  *self);
void             zcio_transmitter_set_linger_timeout (ZcioTransmitter  *self,
                                                      gint64            timeout);
ZcioZeroCopyState zcio_transmitter_get_state       (ZcioTransmitter    *self);
/* Whether a send of so many bytes would go by zero-copy now; *@is_probe is whether only to
 * learn what comes back.
 */
gboolean         zcio_transmitter_may_zero_copy    (ZcioTransmitter    *self,
                                                    gsize               size,
                                                    gboolean           *is_probe);
/* What was spliced: by sendfile () or splice (), and, counted as sent already, from mappings. */
void             zcio_transmitter_add_spliced      (ZcioTransmitter    *self,
                                                    guint64             shared_sends,
                                                    guint64             shared_bytes,
                                                    guint64             mapped_bytes,
                                                    guint64             system_calls);
void             zcio_transmitter_get_statistics   (ZcioTransmitter    *self,
                                                    ZcioStatistics     *statistics);
char            *zcio_transmitter_describe         (ZcioTransmitter    *self);
void             zcio_transmitter_get_in_flight    (ZcioTransmitter    *self,
                                                    guint64            *sends,
                                                    guint64            *bytes);

/* Reads the error queue and releases. Returns the sends that it released. It calls
 * out, so no lock may be held.
 */
guint            zcio_transmitter_reap             (ZcioTransmitter    *self);
/* Reads the error queue, but leaves the releasing to somebody else: for places that
 * may not call out, such as the check() of a source.
 */
guint            zcio_transmitter_collect          (ZcioTransmitter    *self,
                                                    gboolean            by_reaper);
/* The socket was seen to be writable. */
void             zcio_transmitter_set_writable     (ZcioTransmitter    *self);
/* The same where the descriptor reports an error and nothing else: with nothing in flight,
 * too, since any record makes every poll return. Returns whether there was one.
 */
gboolean         zcio_transmitter_clear_error_queue (ZcioTransmitter   *self);
/* The socket is about to be closed: what is in flight goes to the linger, which shuts the
 * connection down.
 */
void             zcio_transmitter_close            (ZcioTransmitter    *self);
/* For the reaper: whether somebody has closed the descriptor behind the socket's back. */
gboolean         zcio_transmitter_has_lost_fd_locked (ZcioTransmitter  *self);
/* Resets the connection; what is still in flight then goes to the linger. */
gboolean         zcio_transmitter_abort            (ZcioTransmitter    *self,
                                                    GError            **error);

/* For the linger alone. Returns TRUE when nothing is left in flight. *@in_use is whether a
 * stream uses it, so that the connection must not be reset.
 */
gboolean         zcio_transmitter_reap_lingering   (ZcioTransmitter    *self,
                                                    gboolean           *in_use,
                                                    gboolean           *socket_gone);
void             zcio_transmitter_release_all      (ZcioTransmitter    *self);

/* For watches alone. */
void             zcio_transmitter_add_watch        (ZcioTransmitter    *self,
                                                    ZcioWatch          *watch);
void             zcio_transmitter_remove_watch     (ZcioTransmitter    *self,
                                                    ZcioWatch          *watch);

/* What zcio_transmitter_describe() says of such a policy. */
char            *zcio_transmitter_describe_policy  (const ZcioCopyPolicy *policy,
                                                    guint64             sends,
                                                    guint64             bytes);

/* With the lock held; for the files of the transmitter. */
int              zcio_transmitter_get_fd_locked    (ZcioTransmitter    *self);
int              zcio_transmitter_get_socket_fd_locked (ZcioTransmitter *self);
void             zcio_transmitter_prepare_locked   (ZcioTransmitter    *self);
guint            zcio_transmitter_collect_locked   (ZcioTransmitter    *self);
void             zcio_transmitter_arm_locked       (ZcioTransmitter    *self);
void             zcio_transmitter_state_changed_locked (ZcioTransmitter *self);
/* Whether a write of this size is certainly copied; without the lock. */
static inline gboolean
zcio_transmitter_will_copy (ZcioTransmitter *self,
                            gsize            size)
{
  gint64 until = __atomic_load_n (&self->copies_until, __ATOMIC_RELAXED);
  gint64 reap_at = __atomic_load_n (&self->reap_at, __ATOMIC_RELAXED);

  if (size < __atomic_load_n (&self->copies_below, __ATOMIC_RELAXED))
    until = G_MAXINT64;

  /* Where no loop runs, it is for the writes to reap. */
  until = MIN (until, reap_at);
  if (until == 0 || until == G_MAXINT64)
    return until != 0;

  return self->syscalls->get_time (self->syscalls) < until;
}

static inline guint64
zcio_transmitter_get_room_locked (const ZcioTransmitter *self)
{
  return self->max_bytes_in_flight > 0 ? self->max_bytes_in_flight - 1 : G_MAXUINT64;
}

/* All that the socket has accepted, by any way of the transmitter's; @plain_bytes was read from
 * the field of that name.
 */
static inline guint64
zcio_transmitter_get_bytes_written_locked (const ZcioTransmitter *self,
                                           guint64                plain_bytes)
{
  return self->counters.bytes_zero_copied + self->counters.bytes_copied_by_choice +
         self->counters.bytes_copied_for_enobufs + plain_bytes;
}

void             zcio_transmitter_unlock          (ZcioTransmitter    *self);
/* Unlocks, calls out what was collected, and tells the watches. */
void             zcio_transmitter_unlock_and_release (ZcioTransmitter  *self);

G_END_DECLS
