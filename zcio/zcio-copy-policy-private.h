/* zcio-copy-policy-private.h - should this send be zero-copy?
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>
#include <sys/uio.h>

#include "zcio-enums.h"

G_BEGIN_DECLS

/* Why the policy is in its state. */
typedef enum
{
  ZCIO_COPY_REASON_NONE,           /* active */
  ZCIO_COPY_REASON_MODE,           /* off: mode NEVER */
  ZCIO_COPY_REASON_SOCKET,         /* unsupported: SO_ZEROCOPY was refused */
  ZCIO_COPY_REASON_REFUSED,        /* unsupported: send refused the flag (TLS in the kernel) */
  ZCIO_COPY_REASON_PEER_LOCAL,     /* suspended: the peer is on this host */
  ZCIO_COPY_REASON_KERNEL_COPIES,  /* suspended: notifications say that the kernel copied */
  ZCIO_COPY_REASON_LIMIT,          /* suspended: ENOBUFS with nothing in flight */
  ZCIO_COPY_REASON_CONGESTED       /* congested: ENOBUFS with sends in flight */
} ZcioCopyReason;

/*
 * ZcioCopyPlan:
 * @n_vectors: how many of the vectors go next, whole
 * @size: their size
 * @zero_copy: whether they go by zero-copy
 * @more: whether to send them with MSG_MORE, because the rest follows at once
 */
typedef struct
{
  gsize n_vectors;
  gsize size;
  gboolean zero_copy;
  gboolean more;
} ZcioCopyPlan;

/*
 * ZcioCopyPolicy:
 *
 * It does no I/O, has no clock (@now is always given, in microseconds) and no lock.
 */
typedef struct
{
  ZcioZeroCopyMode mode;
  gsize threshold;                /* as set by hand; 0: the policy chooses */
  ZcioZeroCopyState state;
  ZcioCopyReason reason;
  gboolean supported;
  gboolean refused;
  gboolean peer_local;

  gint64 probe_interval;          /* of the suspended state, doubled each time */
  gint64 next_probe;              /* when the next probe may go; G_MAXINT64: one is in flight */
  guint64 congested_until;        /* sends in flight at which the congestion is over */
  guint copied_weight;            /* evidence that the kernel copies, a moving average */
  guint samples;                  /* how much evidence there is */

  gsize minimum;                  /* least size of a zero-copy send: the threshold, or 1 */
  ZcioCopyReason copies;          /* in mode AUTO: PEER_LOCAL or KERNEL_COPIES, or NONE */
  gboolean limited;               /* ENOBUFS with nothing in flight, and no send since */
  gboolean congested;             /* until congested_until is reached */
  guint clean_probes;             /* probes in a row that were not copied */
  gint64 resumed;                 /* when the last suspension ended */
} ZcioCopyPolicy;

/* A send by zero-copy pins at least one page for each piece, however small, and 4928 bytes of the
 * send buffer go with it. On the benchmark wire vectors of pieces of 1.5 KiB cost the same
 * either way, and larger ones less by zero-copy.
 */
#define ZCIO_COPY_POLICY_SMALL_PIECE ((gsize) 2 * 1024)

/* What effective-threshold is when threshold is 0. */
#define ZCIO_COPY_POLICY_DEFAULT_THRESHOLD (16 * 1024)

void     zcio_copy_policy_init           (ZcioCopyPolicy     *policy,
                                          gboolean            supported,
                                          gboolean            peer_local,
                                          gint64              now);
void     zcio_copy_policy_set_mode       (ZcioCopyPolicy     *policy,
                                          ZcioZeroCopyMode    mode,
                                          gint64              now);
void     zcio_copy_policy_set_threshold  (ZcioCopyPolicy     *policy,
                                          gsize               threshold);
gsize    zcio_copy_policy_get_threshold  (const ZcioCopyPolicy *policy);

/* Whether so much evidence says that the kernel copies, whatever is made of it. */
gboolean zcio_copy_policy_kernel_copies  (const ZcioCopyPolicy *policy);

/* Whether a write of this size goes by zero-copy, whatever the time. */
static inline gboolean
zcio_copy_policy_will_zero_copy (const ZcioCopyPolicy *policy,
                                 gsize                 size)
{
  return policy->state == ZCIO_ZERO_COPY_STATE_ACTIVE && size >= policy->minimum;
}

/* A threshold set by hand to less than a small piece means it. */
static inline gsize
zcio_copy_policy_get_small_piece (const ZcioCopyPolicy *policy)
{
  return MIN (ZCIO_COPY_POLICY_SMALL_PIECE, policy->minimum);
}

/* Whether a write in pieces, the smallest of which is of size @smallest, goes by zero-copy in one
 * send: what zcio_copy_policy_plan() would say, too.
 */
static inline gboolean
zcio_copy_policy_takes_whole (const ZcioCopyPolicy *policy,
                              gsize                 size,
                              gsize                 smallest)
{
  return zcio_copy_policy_will_zero_copy (policy, size) &&
         smallest >= zcio_copy_policy_get_small_piece (policy);
}

/* Quick answer before vectors are gathered: is there any chance that a write of
 * this size goes by zero-copy? If not, all of it is copied.
 */
static inline gboolean
zcio_copy_policy_may_zero_copy (const ZcioCopyPolicy *policy,
                                gsize                 size,
                                gint64                now)
{
  if (zcio_copy_policy_will_zero_copy (policy, size))
    return TRUE;

  return policy->state == ZCIO_ZERO_COPY_STATE_SUSPENDED && size >= policy->minimum &&
         now >= policy->next_probe && !policy->congested;
}

/* Writes below this size are copied, whatever comes back meanwhile; and so are all that
 * come before *@until, where that is not 0. Both hold until the policy is next called.
 */
static inline gsize
zcio_copy_policy_get_copied_size (const ZcioCopyPolicy *policy,
                                  gint64               *until)
{
  if (policy->state == ZCIO_ZERO_COPY_STATE_ACTIVE)
    *until = 0;
  else if (policy->state == ZCIO_ZERO_COPY_STATE_SUSPENDED && !policy->congested)
    *until = policy->next_probe;
  else
    *until = G_MAXINT64;

  return policy->minimum;
}

/* What to send next of these vectors, of @size bytes; @n_vectors is at least 1. Any number
 * of vectors may be of size 0. All of them are looked at, so give no more than one
 * system call can take. A plan of size 0 has no @zero_copy and no @more.
 */
void     zcio_copy_policy_plan           (ZcioCopyPolicy     *policy,
                                          const struct iovec *vectors,
                                          gsize               n_vectors,
                                          gsize               size,
                                          gint64              now,
                                          ZcioCopyPlan       *plan);

/* What came of it. Each returns TRUE if the state or its reason has changed.
 *
 * _sent: the kernel accepted a zero-copy send, and only such a one
 * _returned: @sends were released, @copied_sends of them with the flag that the
 *   kernel copied; @sends_in_flight is what remains. To be called as well when
 *   sends left without a notification.
 * _no_buffers: ENOBUFS that draining did not cure
 * _refused: the socket takes no zero-copy sends although it said so
 */
/* For _sent alone, where there is something to learn. */
gboolean zcio_copy_policy_learn_from_send (ZcioCopyPolicy    *policy,
                                          gint64              now);
static inline gboolean
zcio_copy_policy_sent (ZcioCopyPolicy *policy,
                       gint64          now)
{
  if (G_LIKELY (!policy->limited && policy->copies == ZCIO_COPY_REASON_NONE))
    return FALSE;

  return zcio_copy_policy_learn_from_send (policy, now);
}

gboolean zcio_copy_policy_returned       (ZcioCopyPolicy     *policy,
                                          guint               sends,
                                          guint               copied_sends,
                                          guint64             sends_in_flight,
                                          gint64              now);
gboolean zcio_copy_policy_no_buffers     (ZcioCopyPolicy     *policy,
                                          guint64             sends_in_flight,
                                          gint64              now);
gboolean zcio_copy_policy_refused        (ZcioCopyPolicy     *policy);

G_END_DECLS
