/* zcio-copy-policy.c - should this send be zero-copy?
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-copy-policy-private.h"

/* A few small pieces before, between and after large ones ride along: each takes about 0.3 us of
 * CPU, and the system call that it takes to copy them about 2 us.
 */
#define MAX_SMALL_PIECES 8

/* The flag of a notification that covers several sends is that of the first of
 * them, so that one notification counts as a few samples at most.
 */
#define SAMPLE_WINDOW 32
#define MAX_SAMPLES_AT_ONCE 4
#define WEIGHT_ONE (1 << 16)
#define WEIGHT_MOSTLY_COPIED (WEIGHT_ONE / 16 * 13)
#define WEIGHT_SELDOM_COPIED (WEIGHT_ONE / 4)

#define MIN_PROBE_INTERVAL G_TIME_SPAN_SECOND
#define MAX_PROBE_INTERVAL (5 * G_TIME_SPAN_MINUTE)
/* So many probes in a row have to return without a copy. */
#define CLEAN_PROBES 8
/* After so long without a suspension the probes of the next start anew. */
#define STEADY_TIME G_TIME_SPAN_MINUTE

#define PROBE_IN_FLIGHT G_MAXINT64

/* The states hide one another, the lasting ones the passing ones. What they are
 * made from is kept apart, so that nothing is forgotten under a state that hides
 * it.
 */
static gboolean
update_state (ZcioCopyPolicy *policy)
{
  ZcioZeroCopyState old_state = policy->state;
  ZcioCopyReason old_reason = policy->reason;

  if (policy->mode == ZCIO_ZERO_COPY_MODE_NEVER)
    {
      policy->state = ZCIO_ZERO_COPY_STATE_OFF;
      policy->reason = ZCIO_COPY_REASON_MODE;
    }
  else if (!policy->supported || policy->refused)
    {
      policy->state = ZCIO_ZERO_COPY_STATE_UNSUPPORTED;
      policy->reason = policy->supported ? ZCIO_COPY_REASON_REFUSED : ZCIO_COPY_REASON_SOCKET;
    }
  else if (policy->limited)
    {
      policy->state = ZCIO_ZERO_COPY_STATE_SUSPENDED;
      policy->reason = ZCIO_COPY_REASON_LIMIT;
    }
  else if (policy->mode == ZCIO_ZERO_COPY_MODE_AUTO && policy->copies != ZCIO_COPY_REASON_NONE)
    {
      policy->state = ZCIO_ZERO_COPY_STATE_SUSPENDED;
      policy->reason = policy->copies;
    }
  else if (policy->congested)
    {
      policy->state = ZCIO_ZERO_COPY_STATE_CONGESTED;
      policy->reason = ZCIO_COPY_REASON_CONGESTED;
    }
  else
    {
      policy->state = ZCIO_ZERO_COPY_STATE_ACTIVE;
      policy->reason = ZCIO_COPY_REASON_NONE;
    }

  return policy->state != old_state || policy->reason != old_reason;
}

static void
update_minimum (ZcioCopyPolicy *policy)
{
  if (policy->mode == ZCIO_ZERO_COPY_MODE_ALWAYS)
    policy->minimum = 1;
  else
    policy->minimum = zcio_copy_policy_get_threshold (policy);
}

/* A suspension begins, or a probe has shown that it must go on. */
static void
schedule_probe (ZcioCopyPolicy *policy,
                gint64 now)
{
  gboolean goes_on = policy->state == ZCIO_ZERO_COPY_STATE_SUSPENDED;
  gboolean steady = policy->probe_interval == 0 || now - policy->resumed >= STEADY_TIME;

  if (!goes_on && steady)
    policy->probe_interval = MIN_PROBE_INTERVAL;
  else
    policy->probe_interval = CLAMP (2 * policy->probe_interval, MIN_PROBE_INTERVAL, MAX_PROBE_INTERVAL);

  policy->next_probe = now + policy->probe_interval;
  policy->clean_probes = 0;
}

static void
resume (ZcioCopyPolicy *policy,
        gint64 now)
{
  policy->copies = ZCIO_COPY_REASON_NONE;
  policy->copied_weight = 0;
  policy->samples = 0;
  policy->clean_probes = 0;
  policy->next_probe = now;
  policy->resumed = now;
}

void
zcio_copy_policy_init (ZcioCopyPolicy *policy,
                       gboolean supported,
                       gboolean peer_local,
                       gint64 now)
{
  *policy = (ZcioCopyPolicy){
    .mode = ZCIO_ZERO_COPY_MODE_AUTO,
    .supported = supported,
    .peer_local = peer_local,
    .copies = ZCIO_COPY_REASON_NONE,
    .next_probe = now,
    .resumed = now,
  };

  if (peer_local)
    {
      policy->copies = ZCIO_COPY_REASON_PEER_LOCAL;
      schedule_probe (policy, now);
    }

  update_minimum (policy);
  update_state (policy);
}

/* What was learnt while the mode was another one counts. */
static void
review_samples (ZcioCopyPolicy *policy,
                gint64 now)
{
  if (policy->samples < SAMPLE_WINDOW)
    return;

  if (policy->copies == ZCIO_COPY_REASON_NONE && zcio_copy_policy_kernel_copies (policy))
    policy->copies = ZCIO_COPY_REASON_KERNEL_COPIES;
  else if (policy->copies != ZCIO_COPY_REASON_NONE && policy->copied_weight < WEIGHT_SELDOM_COPIED)
    resume (policy, now);
}

void
zcio_copy_policy_set_mode (ZcioCopyPolicy *policy,
                           ZcioZeroCopyMode mode,
                           gint64 now)
{
  g_assert (mode == ZCIO_ZERO_COPY_MODE_AUTO ||
            mode == ZCIO_ZERO_COPY_MODE_ALWAYS ||
            mode == ZCIO_ZERO_COPY_MODE_NEVER);

  if (mode == policy->mode)
    return;

  policy->mode = mode;
  update_minimum (policy);

  if (mode == ZCIO_ZERO_COPY_MODE_AUTO && !policy->limited)
    review_samples (policy, now);

  /* The pauses start anew, but a limit is one in any mode. */
  if (!policy->limited)
    {
      policy->probe_interval = 0;
      policy->next_probe = now;
      if (policy->copies != ZCIO_COPY_REASON_NONE && mode == ZCIO_ZERO_COPY_MODE_AUTO)
        {
          policy->probe_interval = MIN_PROBE_INTERVAL;
          policy->next_probe = now + MIN_PROBE_INTERVAL;
        }
      policy->clean_probes = 0;
    }

  update_state (policy);
}

void
zcio_copy_policy_set_threshold (ZcioCopyPolicy *policy,
                                gsize threshold)
{
  policy->threshold = threshold;
  update_minimum (policy);
}

gsize
zcio_copy_policy_get_threshold (const ZcioCopyPolicy *policy)
{
  return policy->threshold > 0 ? policy->threshold : ZCIO_COPY_POLICY_DEFAULT_THRESHOLD;
}

gboolean
zcio_copy_policy_kernel_copies (const ZcioCopyPolicy *policy)
{
  return policy->samples == SAMPLE_WINDOW && policy->copied_weight >= WEIGHT_MOSTLY_COPIED;
}

static gsize
sum_sizes (const struct iovec *vectors,
           gsize n_vectors)
{
  gsize size = 0;

  for (gsize i = 0; i < n_vectors; i++)
    size += vectors[i].iov_len;

  return size;
}

/* How many vectors, from one that is not small, are worth a zero-copy send of
 * their own. It ends with one that is not small, or with the last of all.
 */
static gsize
measure_run (const struct iovec *vectors,
             gsize n_vectors,
             gsize small_piece,
             gsize *size)
{
  gsize n_run = 0, run_size = 0;
  G_GNUC_UNUSED gsize run_pieces = 0; /* only asserted */
  gsize all_size = 0, all_pieces = 0, gap_pieces = 0;

  for (gsize i = 0; i < n_vectors && gap_pieces <= MAX_SMALL_PIECES; i++)
    {
      gsize piece = vectors[i].iov_len;

      all_size += piece;
      all_pieces += piece > 0;
      if (piece >= small_piece)
        gap_pieces = 0;
      else
        gap_pieces += piece > 0;

      if (gap_pieces == 0 || (i + 1 == n_vectors && gap_pieces <= MAX_SMALL_PIECES))
        {
          /* The pieces are so small on the average that it does not pay. */
          if (all_size < all_pieces * small_piece)
            break;
          n_run = i + 1;
          run_size = all_size;
          run_pieces = all_pieces;
        }
    }

  g_assert (run_pieces > 0);
  *size = run_size;
  return n_run;
}

static gsize
count_pieces (const struct iovec *vectors,
              gsize n_vectors)
{
  gsize n_pieces = 0;

  for (gsize i = 0; i < n_vectors; i++)
    n_pieces += vectors[i].iov_len > 0;

  return n_pieces;
}

/* Whether what comes before a run is so little that it goes with it. */
static gboolean
may_ride_along (const struct iovec *vectors,
                gsize n_head,
                gsize n_all,
                gsize small_piece)
{
  return count_pieces (vectors, n_head) <= MAX_SMALL_PIECES &&
         sum_sizes (vectors, n_all) >= count_pieces (vectors, n_all) * small_piece;
}

void
zcio_copy_policy_plan (ZcioCopyPolicy *policy,
                       const struct iovec *vectors,
                       gsize n_vectors,
                       gsize size,
                       gint64 now,
                       ZcioCopyPlan *plan)
{
  gsize small_piece, n_run, run_size, rest;

  g_assert (n_vectors > 0);

  *plan = (ZcioCopyPlan) { .n_vectors = n_vectors, .size = size };
  if (!zcio_copy_policy_may_zero_copy (policy, size, now))
    return;
  if (policy->mode == ZCIO_ZERO_COPY_MODE_ALWAYS || n_vectors == 1)
    {
      plan->zero_copy = TRUE;
      return;
    }

  small_piece = zcio_copy_policy_get_small_piece (policy);

  for (gsize i = 0; i < n_vectors; i += n_run)
    {
      n_run = 1;
      run_size = vectors[i].iov_len;
      if (run_size >= small_piece)
        n_run = measure_run (vectors + i, n_vectors - i, small_piece, &run_size);

      if (run_size < policy->minimum)
        continue;

      plan->zero_copy = i == 0 || may_ride_along (vectors, i, i + n_run, small_piece);
      plan->n_vectors = plan->zero_copy ? i + n_run : i;
      rest = sum_sizes (vectors + plan->n_vectors, n_vectors - plan->n_vectors);
      plan->size -= rest;
      plan->more = rest > 0;
      return;
    }
}

gboolean
zcio_copy_policy_learn_from_send (ZcioCopyPolicy *policy,
                                  gint64 now)
{
  if (policy->limited)
    {
      /* That it was accepted is all there is to know. */
      policy->limited = FALSE;
      policy->resumed = now;
      policy->next_probe = now;
    }

  if (policy->mode == ZCIO_ZERO_COPY_MODE_AUTO && policy->copies != ZCIO_COPY_REASON_NONE)
    policy->next_probe = PROBE_IN_FLIGHT;

  return update_state (policy);
}

/* Nothing is sent by zero-copy after a probe, so that it is back when nothing is in
 * flight any more, and it is among those that came last.
 */
static void
settle_probe (ZcioCopyPolicy *policy,
              guint sends,
              guint copied_sends,
              guint64 sends_in_flight,
              gint64 now)
{
  if (policy->next_probe != PROBE_IN_FLIGHT || sends_in_flight > 0)
    return;

  if (sends == 0)
    policy->next_probe = now + policy->probe_interval; /* there is no answer */
  else if (copied_sends >= sends - copied_sends)
    schedule_probe (policy, now);
  else if (++policy->clean_probes >= CLEAN_PROBES)
    resume (policy, now);
  else
    policy->next_probe = now;
}

static void
weigh_samples (ZcioCopyPolicy *policy,
               guint sends,
               guint copied_sends)
{
  gint target = (gint) ((guint64) WEIGHT_ONE * copied_sends / sends);

  /* The plain average at first, which then moves. */
  for (guint i = 0; i < MIN (sends, MAX_SAMPLES_AT_ONCE); i++)
    {
      gint weight = (gint) policy->copied_weight;

      if (policy->samples < SAMPLE_WINDOW)
        policy->samples++;
      weight += (target - weight) / (gint) policy->samples;
      policy->copied_weight = (guint) weight;
    }
}

gboolean
zcio_copy_policy_returned (ZcioCopyPolicy *policy,
                           guint sends,
                           guint copied_sends,
                           guint64 sends_in_flight,
                           gint64 now)
{
  g_assert (copied_sends <= sends);

  if (sends > 0)
    weigh_samples (policy, sends, copied_sends);

  if (policy->copies != ZCIO_COPY_REASON_NONE)
    settle_probe (policy, sends, copied_sends, sends_in_flight, now);
  else if (policy->mode == ZCIO_ZERO_COPY_MODE_AUTO && zcio_copy_policy_kernel_copies (policy))
    {
      policy->copies = ZCIO_COPY_REASON_KERNEL_COPIES;
      schedule_probe (policy, now);
    }

  if (policy->congested && sends_in_flight <= policy->congested_until)
    policy->congested = FALSE;

  return update_state (policy);
}

gboolean
zcio_copy_policy_no_buffers (ZcioCopyPolicy *policy,
                             guint64 sends_in_flight,
                             gint64 now)
{
  if (sends_in_flight > 0)
    {
      policy->congested = TRUE;
      policy->congested_until = sends_in_flight / 2;
    }
  else
    {
      policy->congested = FALSE;
      policy->limited = TRUE;
      schedule_probe (policy, now);
    }

  return update_state (policy);
}

gboolean
zcio_copy_policy_refused (ZcioCopyPolicy *policy)
{
  policy->refused = TRUE;
  return update_state (policy);
}
