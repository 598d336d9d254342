/* test-copy-policy-states.c - the states of the copy policy, with a fake clock
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "test-copy-policy.h"

static void
event_sent (Fixture *f)
{
  f->now += SECOND;
  sent (f);
}

static void
event_returned (Fixture *f)
{
  if (f->in_flight > 0)
    returned (f, 1, 0);
}

static void
event_copied (Fixture *f)
{
  if (f->in_flight > 0)
    returned (f, 1, 1);
}

static void
event_all_returned (Fixture *f)
{
  if (f->in_flight > 0)
    returned (f, (guint) f->in_flight, 0);
}

static void
event_no_buffers_in_flight (Fixture *f)
{
  f->in_flight = MAX (f->in_flight, 10);
  no_buffers (f);
}

static void
event_no_buffers_alone (Fixture *f)
{
  f->in_flight = 0;
  no_buffers (f);
}

static void
event_always (Fixture *f)
{
  set_mode (f, ALWAYS);
}

static void
event_auto (Fixture *f)
{
  set_mode (f, AUTO);
}

static void
event_never (Fixture *f)
{
  set_mode (f, NEVER);
}

typedef void (*Step) (Fixture *f);

typedef struct
{
  ZcioZeroCopyState state;
  ZcioCopyReason reason;
} Outcome;

static void
test_transitions (void)
{
  static const Step events[] = {
    event_sent, event_returned, event_copied, event_all_returned, event_no_buffers_in_flight, event_no_buffers_alone, refused, event_always, event_auto, event_never
  };
  static const struct
  {
    const char *name;
    Step set_up;
    Outcome before;
    Outcome after[G_N_ELEMENTS (events)];
  } rows[] = {
    { "active", set_up, { ACTIVE, NONE }, { { ACTIVE, NONE }, { ACTIVE, NONE }, { ACTIVE, NONE }, { ACTIVE, NONE }, { CONGESTED, CONGESTION }, { SUSPENDED, LIMIT }, { UNSUPPORTED, REFUSED }, { ACTIVE, NONE }, { ACTIVE, NONE }, { OFF, MODE } } },
    { "congested", set_up_congested, { CONGESTED, CONGESTION }, { { CONGESTED, CONGESTION }, { CONGESTED, CONGESTION }, { CONGESTED, CONGESTION }, { ACTIVE, NONE }, { CONGESTED, CONGESTION }, { SUSPENDED, LIMIT }, { UNSUPPORTED, REFUSED }, { CONGESTED, CONGESTION }, { CONGESTED, CONGESTION }, { OFF, MODE } } },
    { "limited", set_up_limited, { SUSPENDED, LIMIT }, { { ACTIVE, NONE }, { SUSPENDED, LIMIT }, { SUSPENDED, LIMIT }, { SUSPENDED, LIMIT }, { SUSPENDED, LIMIT }, { SUSPENDED, LIMIT }, { UNSUPPORTED, REFUSED }, { SUSPENDED, LIMIT }, { SUSPENDED, LIMIT }, { OFF, MODE } } },
    { "peer local", set_up_peer_local, { SUSPENDED, PEER_LOCAL }, { { SUSPENDED, PEER_LOCAL }, { SUSPENDED, PEER_LOCAL }, { SUSPENDED, PEER_LOCAL }, { SUSPENDED, PEER_LOCAL }, { SUSPENDED, PEER_LOCAL }, { SUSPENDED, LIMIT }, { UNSUPPORTED, REFUSED }, { ACTIVE, NONE }, { SUSPENDED, PEER_LOCAL }, { OFF, MODE } } },
    { "probe in flight", set_up_probe, { SUSPENDED, PEER_LOCAL }, { { SUSPENDED, PEER_LOCAL }, { SUSPENDED, PEER_LOCAL }, { SUSPENDED, PEER_LOCAL }, { SUSPENDED, PEER_LOCAL }, { SUSPENDED, PEER_LOCAL }, { SUSPENDED, LIMIT }, { UNSUPPORTED, REFUSED }, { ACTIVE, NONE }, { SUSPENDED, PEER_LOCAL }, { OFF, MODE } } },
    { "kernel copies", set_up_kernel_copies, { SUSPENDED, KERNEL_COPIES }, { { SUSPENDED, KERNEL_COPIES }, { SUSPENDED, KERNEL_COPIES }, { SUSPENDED, KERNEL_COPIES }, { SUSPENDED, KERNEL_COPIES }, { SUSPENDED, KERNEL_COPIES }, { SUSPENDED, LIMIT }, { UNSUPPORTED, REFUSED }, { ACTIVE, NONE }, { SUSPENDED, KERNEL_COPIES }, { OFF, MODE } } },
    { "always, peer local", set_up_always_local, { ACTIVE, NONE }, { { ACTIVE, NONE }, { ACTIVE, NONE }, { ACTIVE, NONE }, { ACTIVE, NONE }, { CONGESTED, CONGESTION }, { SUSPENDED, LIMIT }, { UNSUPPORTED, REFUSED }, { ACTIVE, NONE }, { SUSPENDED, PEER_LOCAL }, { OFF, MODE } } },
    { "unsupported", set_up_unsupported, { UNSUPPORTED, SOCKET }, { { UNSUPPORTED, SOCKET }, { UNSUPPORTED, SOCKET }, { UNSUPPORTED, SOCKET }, { UNSUPPORTED, SOCKET }, { UNSUPPORTED, SOCKET }, { UNSUPPORTED, SOCKET }, { UNSUPPORTED, SOCKET }, { UNSUPPORTED, SOCKET }, { UNSUPPORTED, SOCKET }, { OFF, MODE } } },
    { "refused", set_up_refused, { UNSUPPORTED, REFUSED }, { { UNSUPPORTED, REFUSED }, { UNSUPPORTED, REFUSED }, { UNSUPPORTED, REFUSED }, { UNSUPPORTED, REFUSED }, { UNSUPPORTED, REFUSED }, { UNSUPPORTED, REFUSED }, { UNSUPPORTED, REFUSED }, { UNSUPPORTED, REFUSED }, { UNSUPPORTED, REFUSED }, { OFF, MODE } } },
    { "off", set_up_off, { OFF, MODE }, { { OFF, MODE }, { OFF, MODE }, { OFF, MODE }, { OFF, MODE }, { OFF, MODE }, { OFF, MODE }, { OFF, MODE }, { ACTIVE, NONE }, { ACTIVE, NONE }, { OFF, MODE } } },
  };

  g_test_summary ("Every event in every state leads where it should, and says whether it led "
                  "anywhere.");

  for (gsize row = 0; row < G_N_ELEMENTS (rows); row++)
    for (gsize event = 0; event < G_N_ELEMENTS (events); event++)
      {
        Fixture f;

        g_test_message ("%s, event %" G_GSIZE_FORMAT, rows[row].name, event);
        rows[row].set_up (&f);
        assert_state (&f, rows[row].before.state, rows[row].before.reason);
        events[event](&f);
        assert_state (&f, rows[row].after[event].state, rows[row].after[event].reason);
      }
}

static void
test_congestion (void)
{
  Fixture f;

  g_test_summary ("A congestion lasts until half of the sends are back, and begins again from "
                  "there.");

  set_up_congested (&f);
  g_assert_false (may (&f));
  returned (&f, 12, 0); /* 13 of 25 left */
  assert_state (&f, CONGESTED, CONGESTION);
  g_assert_false (may (&f));
  returned (&f, 1, 0);
  assert_state (&f, ACTIVE, NONE);
  g_assert_true (may (&f));

  sent (&f);
  no_buffers (&f); /* 13 in flight */
  assert_state (&f, CONGESTED, CONGESTION);
  returned (&f, 6, 0);
  assert_state (&f, CONGESTED, CONGESTION);
  returned (&f, 1, 0);
  assert_state (&f, ACTIVE, NONE);

  /* one alone: half of it is none */
  returned (&f, 5, 0);
  no_buffers (&f);
  assert_state (&f, CONGESTED, CONGESTION);
  returned (&f, 1, 0);
  assert_state (&f, ACTIVE, NONE);

  /* a limit takes its place */
  set_up_congested (&f);
  f.in_flight = 0;
  no_buffers (&f);
  assert_state (&f, SUSPENDED, LIMIT);
  f.now += SECOND;
  g_assert_true (may (&f));
  sent (&f);
  assert_state (&f, ACTIVE, NONE);
}

static void
test_congestion_without_notification (void)
{
  Fixture f;

  g_test_summary ("A congestion also ends when the sends left without a notification.");

  set_up_congested (&f);
  f.in_flight = 12;
  returned (&f, 0, 0);
  assert_state (&f, ACTIVE, NONE);

  set_up_congested (&f);
  set_mode (&f, NEVER);
  returned (&f, 20, 0);
  set_mode (&f, ALWAYS);
  assert_state (&f, ACTIVE, NONE);
}

static void
test_mode_back (void)
{
  Fixture f;

  g_test_summary ("Setting the mode back restores the state that holds.");

  set_up_peer_local (&f);
  set_mode (&f, NEVER);
  assert_state (&f, OFF, MODE);
  set_mode (&f, ALWAYS);
  assert_state (&f, ACTIVE, NONE);
  set_mode (&f, AUTO);
  assert_state (&f, SUSPENDED, PEER_LOCAL);
  g_assert_false (may (&f));
  f.now += SECOND;
  g_assert_true (may (&f));

  /* to set the same again does nothing, not even to a probe */
  sent (&f);
  set_mode (&f, AUTO);
  f.now += SECOND;
  g_assert_false (may (&f));
  returned (&f, 1, 0);
  g_assert_true (may (&f));

  set_up_congested (&f);
  set_mode (&f, NEVER);
  set_mode (&f, AUTO);
  assert_state (&f, CONGESTED, CONGESTION);

  set_up_limited (&f);
  set_mode (&f, NEVER);
  set_mode (&f, ALWAYS);
  assert_state (&f, SUSPENDED, LIMIT);

  set_up_unsupported (&f);
  set_mode (&f, NEVER);
  assert_state (&f, OFF, MODE);
  set_mode (&f, AUTO);
  assert_state (&f, UNSUPPORTED, SOCKET);

  /* the end of a congestion, and a refusal, are not missed meanwhile */
  set_up_congested (&f);
  set_mode (&f, NEVER);
  returned (&f, 25, 0);
  set_mode (&f, AUTO);
  assert_state (&f, ACTIVE, NONE);
  set_mode (&f, NEVER);
  refused (&f);
  set_mode (&f, AUTO);
  assert_state (&f, UNSUPPORTED, REFUSED);
}

static void
test_mode_learns (void)
{
  Fixture f;

  g_test_summary ("What notifications said in the mode ALWAYS counts when the mode is AUTO.");

  set_up (&f);
  set_mode (&f, ALWAYS);
  round_trips (&f, 100, TRUE);
  assert_state (&f, ACTIVE, NONE);
  set_mode (&f, AUTO);
  assert_state (&f, SUSPENDED, KERNEL_COPIES);
  g_assert_false (may (&f));
  f.now += SECOND;
  g_assert_true (may (&f));

  set_up_always_local (&f);
  round_trips (&f, 100, FALSE);
  set_mode (&f, AUTO);
  assert_state (&f, ACTIVE, NONE);

  set_up_always_local (&f);
  round_trips (&f, 31, FALSE);
  set_mode (&f, AUTO);
  assert_state (&f, SUSPENDED, PEER_LOCAL);
}

/* The world of a random history: sends in flight that return in any order. */
static void
random_event (Fixture *f,
              guint64 *random,
              guint percent_copied)
{
  guint kind = (guint) zcio_test_random_range (random, 0, 99);

  f->now += (gint64) zcio_test_random_range (random, 0, kind < 3 ? 400 * SECOND : SECOND / 4);

  if (kind < 45)
    {
      struct iovec vector = { NULL, zcio_test_random_range (random, 1, 4 * LARGE) };
      ZcioCopyPolicy before = f->policy;
      ZcioCopyPlan plan;
      gboolean maybe = zcio_copy_policy_may_zero_copy (&f->policy, vector.iov_len, f->now);

      zcio_copy_policy_plan (&f->policy, &vector, 1, vector.iov_len, f->now, &plan);
      g_assert_cmpmem (&before, sizeof before, &f->policy, sizeof f->policy);
      g_assert_cmpint (plan.zero_copy, ==, maybe);
      if (!plan.zero_copy)
        return;
      g_assert_true (f->policy.state == ACTIVE || f->policy.state == SUSPENDED);
      if (f->policy.state == SUSPENDED)
        g_assert_cmpint (f->policy.next_probe, <=, f->now);
      if (zcio_test_random_chance (random, 5))
        no_buffers (f);
      else
        sent (f);
    }
  else if (kind < 85)
    {
      guint sends = (guint) zcio_test_random_range (random, 0, MIN (f->in_flight, 5));
      guint copied = 0;

      for (guint i = 0; i < sends; i++)
        copied += zcio_test_random_chance (random, percent_copied);
      returned (f, sends, copied);
    }
  else if (kind < 90)
    {
      returned (f, (guint) f->in_flight, 0);
    }
  else if (kind < 92)
    {
      f->in_flight /= 2;
      returned (f, 0, 0);
    }
  else if (kind < 94)
    {
      zcio_copy_policy_set_threshold (&f->policy, zcio_test_random_range (random, 0, LARGE));
    }
  else
    {
      set_mode (f, (ZcioZeroCopyMode) zcio_test_random_range (random, AUTO, NEVER));
    }
}

static void
assert_invariants (Fixture *f)
{
  const ZcioCopyPolicy *policy = &f->policy;

  g_assert_cmpint (policy->state == OFF, ==, policy->mode == NEVER);
  g_assert_cmpint (policy->state == UNSUPPORTED, ==, policy->mode != NEVER && (!policy->supported || policy->refused));
  g_assert_cmpuint (policy->copied_weight, <=, 1 << 16);
  g_assert_cmpuint (policy->samples, <=, 32);

  switch (policy->state)
    {
    case ACTIVE:
      g_assert_cmpint (policy->reason, ==, NONE);
      break;
    case CONGESTED:
      g_assert_cmpint (policy->reason, ==, CONGESTION);
      g_assert_cmpuint (policy->congested_until, <, f->in_flight);
      break;
    case SUSPENDED:
      if (policy->reason == PEER_LOCAL)
        g_assert_true (policy->peer_local);
      else if (policy->reason != KERNEL_COPIES)
        g_assert_cmpint (policy->reason, ==, LIMIT);
      if (policy->reason != LIMIT)
        g_assert_cmpint (policy->mode, ==, AUTO);
      g_assert_cmpint (policy->probe_interval, >=, SECOND);
      g_assert_cmpint (policy->probe_interval, <=, 300 * SECOND);
      if (policy->next_probe == G_MAXINT64)
        g_assert_cmpuint (f->in_flight, >, 0);
      else
        g_assert_cmpint (policy->next_probe, <=, f->now + 300 * SECOND);
      break;
    case UNSUPPORTED:
      g_assert_true (policy->reason == SOCKET || policy->reason == REFUSED);
      break;
    case OFF:
      g_assert_cmpint (policy->reason, ==, MODE);
      break;
    default:
      g_assert_not_reached ();
    }
}

/* When everything has returned and nothing is copied any more, the way back to
 * active is short, whatever went before.
 */
static void
assert_recovers (Fixture *f)
{
  zcio_copy_policy_set_threshold (&f->policy, 0);
  set_mode (f, AUTO);
  returned (f, (guint) f->in_flight, 0);
  assert_invariants (f);

  for (guint i = 0; i < 20 && f->policy.state != ACTIVE; i++)
    {
      f->now += 300 * SECOND;
      g_assert_true (may (f));
      round_trip (f, FALSE);
      assert_invariants (f);
    }
  assert_state (f, ACTIVE, NONE);
}

static void
test_random_histories (void)
{
  guint64 random = zcio_test_get_seed ();
  guint64 rounds = zcio_test_get_rounds (1000);
  guint seen[5] = { 0 };

  g_test_summary ("In random histories the states keep to their rules, and every one that can be "
                  "left is left when all is well again.");

  for (guint64 round = 0; round < rounds; round++)
    {
      static const guint percents_copied[] = { 0, 5, 50, 95, 100 };
      guint percent = percents_copied[zcio_test_random_range (&random, 0, 4)];
      gboolean supported = !zcio_test_random_chance (&random, 5);
      gboolean peer_local = zcio_test_random_chance (&random, 30);
      Fixture f = { .now = START };

      zcio_copy_policy_init (&f.policy, supported, peer_local, f.now);
      for (guint i = 0; i < 500; i++)
        {
          assert_invariants (&f);
          seen[f.policy.state]++;
          random_event (&f, &random, percent);
        }
      if (supported)
        assert_recovers (&f);
    }

  for (gsize state = 0; state < G_N_ELEMENTS (seen); state++)
    {
      g_test_message ("state %" G_GSIZE_FORMAT " seen %u times", state, seen[state]);
      g_assert_cmpuint (seen[state], >, 0);
    }
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/copy-policy/states/transitions", test_transitions);
  g_test_add_func ("/copy-policy/states/congestion", test_congestion);
  g_test_add_func ("/copy-policy/states/congestion-without-notification", test_congestion_without_notification);
  g_test_add_func ("/copy-policy/states/mode-back", test_mode_back);
  g_test_add_func ("/copy-policy/states/mode-learns", test_mode_learns);
  g_test_add_func ("/copy-policy/states/random-histories", test_random_histories);

  return g_test_run ();
}
