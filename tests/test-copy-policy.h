/* test-copy-policy.h - a copy policy with a fake clock
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "test-util.h"
#include "zcio/zcio-copy-policy-private.h"

#define LARGE ((gsize) 64 * 1024)
#define SECOND G_TIME_SPAN_SECOND
#define START (1234 * SECOND)

#define AUTO ZCIO_ZERO_COPY_MODE_AUTO
#define ALWAYS ZCIO_ZERO_COPY_MODE_ALWAYS
#define NEVER ZCIO_ZERO_COPY_MODE_NEVER

#define ACTIVE ZCIO_ZERO_COPY_STATE_ACTIVE
#define CONGESTED ZCIO_ZERO_COPY_STATE_CONGESTED
#define SUSPENDED ZCIO_ZERO_COPY_STATE_SUSPENDED
#define UNSUPPORTED ZCIO_ZERO_COPY_STATE_UNSUPPORTED
#define OFF ZCIO_ZERO_COPY_STATE_OFF

#define NONE ZCIO_COPY_REASON_NONE
#define MODE ZCIO_COPY_REASON_MODE
#define SOCKET ZCIO_COPY_REASON_SOCKET
#define REFUSED ZCIO_COPY_REASON_REFUSED
#define PEER_LOCAL ZCIO_COPY_REASON_PEER_LOCAL
#define KERNEL_COPIES ZCIO_COPY_REASON_KERNEL_COPIES
#define LIMIT ZCIO_COPY_REASON_LIMIT
#define CONGESTION ZCIO_COPY_REASON_CONGESTED

/* A policy, the sends in flight and the time. */
typedef struct
{
  ZcioCopyPolicy policy;
  guint64 in_flight;
  gint64 now;
} Fixture;

#define assert_state(f, expected_state, expected_reason)       \
  G_STMT_START                                                 \
  {                                                            \
    g_assert_cmpint ((f)->policy.state, ==, expected_state);   \
    g_assert_cmpint ((f)->policy.reason, ==, expected_reason); \
  }                                                            \
  G_STMT_END

static inline gboolean
may (Fixture *f)
{
  return zcio_copy_policy_may_zero_copy (&f->policy, LARGE, f->now);
}

/* What an event returns must be whether it changed anything. */
#define assert_reports_change(f, call)                       \
  G_STMT_START                                               \
  {                                                          \
    ZcioZeroCopyState state_before = (f)->policy.state;      \
    ZcioCopyReason reason_before = (f)->policy.reason;       \
    gboolean changed_ = call;                                \
    g_assert_cmpint (changed_,                               \
                     ==,                                     \
                     (f)->policy.state != state_before ||    \
                       (f)->policy.reason != reason_before); \
  }                                                          \
  G_STMT_END

static inline void
sent (Fixture *f)
{
  f->in_flight++;
  assert_reports_change (f, zcio_copy_policy_sent (&f->policy, f->now));
}

static inline void
returned (Fixture *f,
          guint sends,
          guint copied_sends)
{
  g_assert_cmpuint (sends, <=, f->in_flight);
  f->in_flight -= sends;
  assert_reports_change (f, zcio_copy_policy_returned (&f->policy, sends, copied_sends, f->in_flight, f->now));
}

static inline void
no_buffers (Fixture *f)
{
  assert_reports_change (f, zcio_copy_policy_no_buffers (&f->policy, f->in_flight, f->now));
}

static inline void
refused (Fixture *f)
{
  assert_reports_change (f, zcio_copy_policy_refused (&f->policy));
}

static inline void
set_mode (Fixture *f,
          ZcioZeroCopyMode mode)
{
  zcio_copy_policy_set_mode (&f->policy, mode, f->now);
}

/* One send that comes back before the next. */
static inline void
round_trip (Fixture *f,
            gboolean copied)
{
  sent (f);
  returned (f, 1, copied ? 1 : 0);
}

static inline void
round_trips (Fixture *f,
             guint n,
             gboolean copied)
{
  for (guint i = 0; i < n; i++)
    round_trip (f, copied);
}

/* Goes to the next probe and asserts that it is due after exactly that pause. */
static inline void
assert_pause (Fixture *f,
              gint64 pause)
{
  f->now += pause - 1;
  g_assert_false (may (f));
  f->now += 1;
  g_assert_true (may (f));
}

static inline void
set_up (Fixture *f)
{
  *f = (Fixture){ .now = START };
  zcio_copy_policy_init (&f->policy, TRUE, FALSE, f->now);
  assert_state (f, ACTIVE, NONE);
}

static inline void
set_up_peer_local (Fixture *f)
{
  *f = (Fixture){ .now = START };
  zcio_copy_policy_init (&f->policy, TRUE, TRUE, f->now);
}

static inline void
set_up_probe (Fixture *f)
{
  set_up_peer_local (f);
  f->now += SECOND;
  g_assert_true (may (f));
  sent (f);
  g_assert_false (may (f));
}

static inline void
set_up_always_local (Fixture *f)
{
  set_up_peer_local (f);
  set_mode (f, ALWAYS);
}

static inline void
set_up_unsupported (Fixture *f)
{
  *f = (Fixture){ .now = START };
  zcio_copy_policy_init (&f->policy, FALSE, FALSE, f->now);
}

static inline void
set_up_refused (Fixture *f)
{
  set_up (f);
  refused (f);
}

static inline void
set_up_congested (Fixture *f)
{
  set_up (f);
  for (guint i = 0; i < 25; i++)
    sent (f);
  no_buffers (f);
}

static inline void
set_up_limited (Fixture *f)
{
  set_up (f);
  no_buffers (f);
}

static inline void
set_up_kernel_copies (Fixture *f)
{
  set_up (f);
  round_trips (f, 32, TRUE);
}

static inline void
set_up_off (Fixture *f)
{
  set_up (f);
  set_mode (f, NEVER);
}
