/* test-copy-policy-probes.c - how the copy policy learns and tries again
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "test-copy-policy.h"

static void
test_probe_schedule (void)
{
  static const gint64 pauses[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300 };
  Fixture f;

  g_test_summary ("Probes that come back copied make the pauses double from one second to five "
                  "minutes.");

  set_up_peer_local (&f);
  for (gsize i = 0; i < G_N_ELEMENTS (pauses); i++)
    {
      assert_pause (&f, pauses[i] * SECOND);
      sent (&f);
      g_assert_cmpint (f.policy.next_probe, ==, G_MAXINT64);
      f.now += 100 * SECOND;
      g_assert_false (may (&f));
      returned (&f, 1, 1);
      assert_state (&f, SUSPENDED, PEER_LOCAL);
    }
}

static void
test_probes_clean (void)
{
  Fixture f;

  g_test_summary ("Eight probes in a row that were not copied end a suspension, and one that was "
                  "copied begins the count again.");

  set_up_peer_local (&f);
  f.now += SECOND;
  for (guint i = 0; i < 7; i++)
    {
      g_assert_true (may (&f));
      sent (&f);
      g_assert_false (may (&f));
      returned (&f, 1, 0);
      assert_state (&f, SUSPENDED, PEER_LOCAL);
    }
  round_trip (&f, TRUE);
  assert_pause (&f, 2 * SECOND);
  round_trips (&f, 7, FALSE);
  assert_state (&f, SUSPENDED, PEER_LOCAL);
  round_trip (&f, FALSE);
  assert_state (&f, ACTIVE, NONE);
  g_assert_true (may (&f));
}

static void
test_probe_among_others (void)
{
  Fixture f;

  g_test_summary ("What comes back from before the suspension is not taken for the probe.");

  set_up (&f);
  for (guint i = 0; i < 100; i++)
    sent (&f);
  for (guint i = 0; i < 32; i++)
    returned (&f, 1, 1);
  assert_state (&f, SUSPENDED, KERNEL_COPIES);

  f.now += SECOND;
  g_assert_true (may (&f));
  sent (&f);
  returned (&f, 60, 60);
  returned (&f, 8, 0);
  g_assert_cmpint (f.policy.next_probe, ==, G_MAXINT64);
  g_assert_false (may (&f));
  returned (&f, 1, 0);
  g_assert_true (may (&f));

  /* when they come together, most of them decide */
  sent (&f);
  f.in_flight += 5;
  returned (&f, 6, 2);
  g_assert_true (may (&f));
  sent (&f);
  f.in_flight += 5;
  returned (&f, 6, 3);
  assert_pause (&f, 2 * SECOND);
}

static void
test_probe_lost (void)
{
  Fixture f;

  g_test_summary ("A probe of which no notification comes does not end the probing.");

  set_up_probe (&f);
  f.in_flight = 0;
  returned (&f, 0, 0);
  assert_state (&f, SUSPENDED, PEER_LOCAL);
  assert_pause (&f, SECOND);

  /* also with others in front of it that left without one */
  set_up_kernel_copies (&f);
  f.in_flight = 5;
  returned (&f, 0, 0);
  f.now += SECOND;
  sent (&f);
  returned (&f, 3, 3);
  g_assert_cmpint (f.policy.next_probe, ==, G_MAXINT64);
  f.in_flight = 0;
  returned (&f, 0, 0);
  assert_pause (&f, SECOND);

  /* or when the mode was another one meanwhile */
  set_up_probe (&f);
  set_mode (&f, NEVER);
  set_mode (&f, AUTO);
  assert_pause (&f, SECOND);
}

static void
test_probe_meets_enobufs (void)
{
  Fixture f;

  g_test_summary ("ENOBUFS for a probe makes the pause double; a limit that has gone leaves what "
                  "else there is.");

  set_up_peer_local (&f);
  assert_pause (&f, SECOND);
  no_buffers (&f);
  assert_state (&f, SUSPENDED, LIMIT);
  assert_pause (&f, 2 * SECOND);
  no_buffers (&f);
  assert_pause (&f, 4 * SECOND);
  sent (&f);
  assert_state (&f, SUSPENDED, PEER_LOCAL);
  g_assert_false (may (&f));
  returned (&f, 1, 1);
  assert_pause (&f, 8 * SECOND);

  /* with sends in flight it is a congestion underneath, and holds probes back */
  f.in_flight = 4;
  no_buffers (&f);
  assert_state (&f, SUSPENDED, PEER_LOCAL);
  g_assert_false (may (&f));
  returned (&f, 2, 0);
  g_assert_true (may (&f));
}

static void
test_limit (void)
{
  static const gint64 pauses[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300 };
  static const ZcioZeroCopyMode modes[] = { AUTO, ALWAYS };
  Fixture f;

  g_test_summary ("A limit is probed with growing pauses in the modes AUTO and ALWAYS, and is over "
                  "with the first send that is accepted.");

  for (gsize mode = 0; mode < G_N_ELEMENTS (modes); mode++)
    {
      set_up (&f);
      set_mode (&f, modes[mode]);
      no_buffers (&f);
      for (gsize i = 0; i < G_N_ELEMENTS (pauses); i++)
        {
          assert_state (&f, SUSPENDED, LIMIT);
          assert_pause (&f, pauses[i] * SECOND);
          no_buffers (&f);
        }
      f.now += 300 * SECOND;
      g_assert_true (may (&f));
      sent (&f);
      assert_state (&f, ACTIVE, NONE);
      g_assert_true (may (&f));
    }
}

static void
test_pauses_start_anew (void)
{
  Fixture f;

  g_test_summary ("Pauses go on growing when a suspension comes back soon, and start anew when "
                  "zero-copy has worked for a minute.");

  set_up_limited (&f);
  assert_pause (&f, SECOND);
  sent (&f);
  returned (&f, 1, 0);
  f.now += 60 * SECOND - 1;
  no_buffers (&f);
  assert_pause (&f, 2 * SECOND);
  sent (&f);
  returned (&f, 1, 0);
  f.now += 60 * SECOND;
  no_buffers (&f);
  assert_pause (&f, SECOND);

  /* the time that counts is that since the end of the last suspension */
  set_up_peer_local (&f);
  f.now += 3600 * SECOND;
  round_trips (&f, 8, FALSE);
  assert_state (&f, ACTIVE, NONE);
  round_trips (&f, 32, TRUE);
  assert_state (&f, SUSPENDED, KERNEL_COPIES);
  assert_pause (&f, 2 * SECOND);

  /* and what the mode had hidden is no suspension */
  set_up_always_local (&f);
  f.now += SECOND;
  no_buffers (&f);
  assert_state (&f, SUSPENDED, LIMIT);
  assert_pause (&f, SECOND);
}

static void
test_kernel_copies (void)
{
  Fixture f;

  g_test_summary ("It takes 32 samples to find that the kernel copies, and eight clean probes to "
                  "find that it does not any more.");

  set_up (&f);
  round_trips (&f, 31, TRUE);
  assert_state (&f, ACTIVE, NONE);
  round_trip (&f, TRUE);
  assert_state (&f, SUSPENDED, KERNEL_COPIES);

  /* the tap has gone */
  assert_pause (&f, SECOND);
  round_trips (&f, 8, FALSE);
  assert_state (&f, ACTIVE, NONE);

  /* and is there again: what was learnt before does not count */
  round_trips (&f, 31, TRUE);
  assert_state (&f, ACTIVE, NONE);
  round_trip (&f, TRUE);
  assert_state (&f, SUSPENDED, KERNEL_COPIES);
  assert_pause (&f, 2 * SECOND);
}

static void
test_kernel_starts_to_copy (void)
{
  Fixture f;
  guint n = 0;

  g_test_summary ("After a long time without copies it takes some more samples, but not many.");

  set_up (&f);
  round_trips (&f, 10000, FALSE);
  while (f.policy.state == ACTIVE && n < 1000)
    {
      round_trip (&f, TRUE);
      n++;
    }
  g_test_message ("%u samples", n);
  assert_state (&f, SUSPENDED, KERNEL_COPIES);
  g_assert_cmpuint (n, >=, 32);
  g_assert_cmpuint (n, <=, 64);
}

static void
test_odd_records (void)
{
  Fixture f;

  g_test_summary ("Odd records change nothing: neither some copied sends in a hundred nor one "
                  "notification that covers very many.");

  set_up (&f);
  round_trip (&f, TRUE);
  assert_state (&f, ACTIVE, NONE);
  for (guint i = 0; i < 1000; i++)
    {
      round_trips (&f, 9, FALSE);
      round_trip (&f, TRUE);
      assert_state (&f, ACTIVE, NONE);
    }
  for (guint i = 0; i < 1000; i++)
    {
      round_trip (&f, FALSE);
      round_trip (&f, TRUE);
      assert_state (&f, ACTIVE, NONE);
    }

  set_up (&f);
  f.in_flight = 4000000;
  returned (&f, 2000000, 2000000);
  assert_state (&f, ACTIVE, NONE);
  returned (&f, 2000000, 2000000);
  assert_state (&f, ACTIVE, NONE);

  /* nor does one that was not copied among very many */
  set_up (&f);
  for (guint i = 0; i < 100 && f.policy.state == ACTIVE; i++)
    round_trip (&f, i % 10 != 9);
  assert_state (&f, SUSPENDED, KERNEL_COPIES);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/copy-policy/probe/limit", test_limit);
  g_test_add_func ("/copy-policy/probe/schedule", test_probe_schedule);
  g_test_add_func ("/copy-policy/probe/clean", test_probes_clean);
  g_test_add_func ("/copy-policy/probe/among-others", test_probe_among_others);
  g_test_add_func ("/copy-policy/probe/lost", test_probe_lost);
  g_test_add_func ("/copy-policy/probe/meets-enobufs", test_probe_meets_enobufs);
  g_test_add_func ("/copy-policy/probe/pauses-start-anew", test_pauses_start_anew);
  g_test_add_func ("/copy-policy/samples/kernel-copies", test_kernel_copies);
  g_test_add_func ("/copy-policy/samples/kernel-starts-to-copy", test_kernel_starts_to_copy);
  g_test_add_func ("/copy-policy/samples/odd-records", test_odd_records);

  return g_test_run ();
}
