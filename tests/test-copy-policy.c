/* test-copy-policy.c - which sends go by zero-copy
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "test-util.h"
#include "zcio/zcio-copy-policy-private.h"

#include <string.h>

#define KIB ((gsize) 1024)
#define START (1234 * G_TIME_SPAN_SECOND)
#define MAX_VECTORS 1024

static void
init_active (ZcioCopyPolicy *policy)
{
  zcio_copy_policy_init (policy, TRUE, FALSE, START);
  g_assert_cmpint (policy->state, ==, ZCIO_ZERO_COPY_STATE_ACTIVE);
}

/* The shape of a write in words: "1344 128x4096" is one vector of 1344 bytes and
 * then 128 of 4096.
 */
static gsize
parse_shape (const char *shape,
             struct iovec *vectors)
{
  g_auto (GStrv) words = g_strsplit (shape, " ", -1);
  gsize n = 0;

  for (guint i = 0; words[i] != NULL; i++)
    {
      const char *times = strchr (words[i], 'x');
      guint64 count = times != NULL ? g_ascii_strtoull (words[i], NULL, 10) : 1;
      guint64 size = g_ascii_strtoull (times != NULL ? times + 1 : words[i], NULL, 10);

      while (count-- > 0)
        {
          g_assert_cmpuint (n, <, MAX_VECTORS);
          vectors[n++] = (struct iovec){ NULL, size };
        }
    }

  return n;
}

static void
plan_next (ZcioCopyPolicy *policy,
           const struct iovec *vectors,
           gsize n_vectors,
           gint64 now,
           ZcioCopyPlan *plan)
{
  gsize size = 0;

  for (gsize i = 0; i < n_vectors; i++)
    size += vectors[i].iov_len;

  zcio_copy_policy_plan (policy, vectors, n_vectors, size, now, plan);
}

/* All system calls that a write takes: "copy 1 1344 more, zero-copy 128 524288"
 * with the number of vectors and of bytes of each.
 */
static char *
plan_all (ZcioCopyPolicy *policy,
          const struct iovec *vectors,
          gsize n_vectors)
{
  GString *calls = g_string_new (NULL);
  gsize done = 0;

  while (done < n_vectors)
    {
      ZcioCopyPlan plan;
      ZcioCopyPolicy before = *policy;

      plan_next (policy, vectors + done, n_vectors - done, START, &plan);
      g_assert_cmpmem (policy, sizeof *policy, &before, sizeof before);
      g_assert_cmpuint (plan.n_vectors, >=, 1);
      done += plan.n_vectors;
      g_assert_cmpuint (done, <=, n_vectors);
      g_string_append_printf (calls, "%s%s %" G_GSIZE_FORMAT " %" G_GSIZE_FORMAT "%s", calls->len > 0 ? ", " : "", plan.zero_copy ? "zero-copy" : "copy", plan.n_vectors, plan.size, plan.more ? " more" : "");
    }

  return g_string_free (calls, FALSE);
}

typedef struct
{
  const char *shape;
  const char *calls;
} PlanCase;

static void
assert_plans (ZcioCopyPolicy *policy,
              const PlanCase *cases,
              gsize n_cases)
{
  struct iovec vectors[MAX_VECTORS];

  for (gsize i = 0; i < n_cases; i++)
    {
      gsize n_vectors = parse_shape (cases[i].shape, vectors);
      g_autofree char *calls = plan_all (policy, vectors, n_vectors);

      g_test_message ("%s", cases[i].shape);
      g_assert_cmpstr (calls, ==, cases[i].calls);
    }
}

static void
test_plan_auto (void)
{
  static const PlanCase cases[] = {
    /* by the size of all */
    { "1", "copy 1 1" },
    { "16383", "copy 1 16383" },
    { "16384", "zero-copy 1 16384" },
    { "1048576", "zero-copy 1 1048576" },
    { "3x4096", "copy 3 12288" },
    { "4x4096", "zero-copy 4 16384" },
    { "128x4096", "zero-copy 128 524288" },
    { "1024x4096", "zero-copy 1024 4194304" },
    { "8x2048", "zero-copy 8 16384" },
    { "1024x2047", "copy 1024 2096128" },
    /* pieces that cost more to pin than to copy */
    { "64x1", "copy 64 64" },
    { "1024x100", "copy 1024 102400" },
    { "500x4096 500x100", "zero-copy 500 2048000 more, copy 500 50000" },
    { "500x100 500x4096", "copy 500 50000 more, zero-copy 500 2048000" },
    /* a small head before a large tail: few pieces go with it, more are copied first */
    { "1344 128x4096", "zero-copy 129 525632" },
    { "16 100 1200 65536", "zero-copy 4 66852" },
    { "8x10 65536", "zero-copy 9 65616" },
    { "9x10 65536", "copy 9 90 more, zero-copy 1 65536" },
    { "1344 16383", "copy 2 17727" },
    { "1344 16384", "zero-copy 2 17728" },
    { "7x1 16384", "zero-copy 8 16391" },
    { "8x1 16384", "copy 8 8 more, zero-copy 1 16384" },
    { "2047 65536", "zero-copy 2 67583" },
    { "2048 65536", "zero-copy 2 67584" },
    /* a tail, and pieces between */
    { "65536 100", "zero-copy 2 65636" },
    { "65536 8x10", "zero-copy 9 65616" },
    { "65536 9x10", "zero-copy 1 65536 more, copy 9 90" },
    { "65536 100 65536", "zero-copy 3 131172" },
    { "65536 8x10 65536", "zero-copy 10 131152" },
    { "65536 9x10 65536", "zero-copy 1 65536 more, copy 9 90 more, zero-copy 1 65536" },
    { "16384 8x10 4096", "zero-copy 10 20560" },
    { "16384 8x1", "zero-copy 1 16384 more, copy 8 8" },
    /* the average decides: no run of these is worth a call of its own */
    { "4096 100 4096 100 4096 100 4096 100", "zero-copy 8 16784" },
    { "2048 3x10 2048 3x10 2048 3x10 65536", "zero-copy 13 71770" },
    { "8x2048 9x10 4096", "zero-copy 8 16384 more, copy 10 4186" },
    { "4096 9x10 4096 9x10 4096 9x10 4096", "copy 31 16654" },
    { "8192 9x10 8192 9x10 8192", "copy 21 24756" },
    { "8192 9x10 65536", "copy 10 8282 more, zero-copy 1 65536" },
  };
  ZcioCopyPolicy policy;

  g_test_summary ("Small writes and tiny pieces are copied, large ones are not, and no system "
                  "call is spent on a run below the threshold.");
  init_active (&policy);
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));
}

static void
test_plan_empty (void)
{
  static const PlanCase cases[] = {
    { "0", "copy 1 0" },
    { "100x0", "copy 100 0" },
    { "0 0 5 0 0", "copy 5 5" },
    { "0 0 65536", "zero-copy 3 65536" },
    { "65536 0 0", "zero-copy 3 65536" },
    { "65536 100x0", "zero-copy 101 65536" },
    { "65536 100x0 65536", "zero-copy 102 131072" },
    { "0 1344 0 65536 0", "zero-copy 5 66880" },
    { "20x0 1344 65536", "zero-copy 22 66880" },
    { "0 9x10 0 65536 0", "copy 11 90 more, zero-copy 2 65536" },
    { "65536 0 9x10 0", "zero-copy 2 65536 more, copy 10 90" },
    { "65536 8x10 0", "zero-copy 10 65616" },
  };
  ZcioCopyPolicy policy;

  g_test_summary ("Empty vectors change nothing, wherever they are, and nothing is announced "
                  "with MSG_MORE when only empty ones follow.");
  init_active (&policy);
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));
}

static void
test_plan_always (void)
{
  static const PlanCase cases[] = {
    { "1", "zero-copy 1 1" },
    { "64x1", "zero-copy 64 64" },
    { "1344 128x4096", "zero-copy 129 525632" },
    { "65536 500x1 65536", "zero-copy 502 131572" },
    { "0 1 0", "zero-copy 3 1" },
    { "0", "copy 1 0" },
  };
  ZcioCopyPolicy policy;

  g_test_summary ("In the mode ALWAYS all vectors go in one zero-copy send.");
  init_active (&policy);
  zcio_copy_policy_set_mode (&policy, ZCIO_ZERO_COPY_MODE_ALWAYS, START);
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));
  /* the threshold is for AUTO */
  zcio_copy_policy_set_threshold (&policy, 1024 * KIB);
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));
}

static void
test_plan_copying_states (void)
{
  static const PlanCase cases[] = {
    { "1", "copy 1 1" },
    { "1344 128x4096", "copy 129 525632" },
    { "65536 9x10 65536 0", "copy 12 131162" },
  };
  ZcioCopyPolicy policy;

  g_test_summary ("In a state that copies, everything is copied in one call.");

  zcio_copy_policy_init (&policy, FALSE, FALSE, START);
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));
  zcio_copy_policy_init (&policy, TRUE, TRUE, START);
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));

  init_active (&policy);
  g_assert_true (zcio_copy_policy_refused (&policy));
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));

  init_active (&policy);
  g_assert_true (zcio_copy_policy_no_buffers (&policy, 1, START));
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));
  zcio_copy_policy_set_mode (&policy, ZCIO_ZERO_COPY_MODE_ALWAYS, START);
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));
  g_assert_true (zcio_copy_policy_no_buffers (&policy, 0, START));
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));

  init_active (&policy);
  zcio_copy_policy_set_mode (&policy, ZCIO_ZERO_COPY_MODE_NEVER, START);
  assert_plans (&policy, cases, G_N_ELEMENTS (cases));
}

static void
test_threshold (void)
{
  static const PlanCase at_1[] = {
    { "1", "zero-copy 1 1" },
    { "64x1", "zero-copy 64 64" },
    { "1344 128x4096", "zero-copy 129 525632" },
  };
  static const PlanCase at_1000[] = {
    { "999", "copy 1 999" },
    { "1000", "zero-copy 1 1000" },
    { "999 1", "copy 2 1000" },
    { "999 1000", "copy 1 999 more, zero-copy 1 1000" },
    { "999 1001", "zero-copy 2 2000" },
  };
  static const PlanCase at_1_mib[] = {
    { "1048575", "copy 1 1048575" },
    { "1048576", "zero-copy 1 1048576" },
    { "1344 255x4096", "copy 256 1045824" },
    { "1344 256x4096", "zero-copy 257 1049920" },
  };
  ZcioCopyPolicy policy;

  g_test_summary ("The threshold can be set by hand; 0 leaves it to the policy.");

  init_active (&policy);
  g_assert_cmpuint (zcio_copy_policy_get_threshold (&policy), ==, ZCIO_COPY_POLICY_DEFAULT_THRESHOLD);
  zcio_copy_policy_set_threshold (&policy, 1);
  g_assert_cmpuint (zcio_copy_policy_get_threshold (&policy), ==, 1);
  assert_plans (&policy, at_1, G_N_ELEMENTS (at_1));
  zcio_copy_policy_set_threshold (&policy, 1000);
  assert_plans (&policy, at_1000, G_N_ELEMENTS (at_1000));
  zcio_copy_policy_set_threshold (&policy, 1024 * KIB);
  assert_plans (&policy, at_1_mib, G_N_ELEMENTS (at_1_mib));
  zcio_copy_policy_set_threshold (&policy, G_MAXSIZE);
  g_assert_false (zcio_copy_policy_may_zero_copy (&policy, G_MAXSIZE - 1, START));
  zcio_copy_policy_set_threshold (&policy, 0);
  g_assert_cmpuint (zcio_copy_policy_get_threshold (&policy), ==, ZCIO_COPY_POLICY_DEFAULT_THRESHOLD);
  g_assert_false (zcio_copy_policy_may_zero_copy (&policy, ZCIO_COPY_POLICY_DEFAULT_THRESHOLD - 1, START));
  g_assert_true (zcio_copy_policy_may_zero_copy (&policy, ZCIO_COPY_POLICY_DEFAULT_THRESHOLD, START));
}

static void
test_may_zero_copy (void)
{
  ZcioCopyPolicy policy, before;

  g_test_summary ("The quick answer goes by the size, the mode and the state, and a due probe "
                  "is still due after it was asked for.");

  init_active (&policy);
  g_assert_false (zcio_copy_policy_may_zero_copy (&policy, 0, START));
  zcio_copy_policy_set_mode (&policy, ZCIO_ZERO_COPY_MODE_ALWAYS, START);
  g_assert_false (zcio_copy_policy_may_zero_copy (&policy, 0, START));
  g_assert_true (zcio_copy_policy_may_zero_copy (&policy, 1, START));
  zcio_copy_policy_set_mode (&policy, ZCIO_ZERO_COPY_MODE_NEVER, START);
  g_assert_false (zcio_copy_policy_may_zero_copy (&policy, G_MAXSIZE, START));

  zcio_copy_policy_init (&policy, TRUE, TRUE, START);
  before = policy;
  g_assert_false (zcio_copy_policy_may_zero_copy (&policy, 64 * KIB, START + G_TIME_SPAN_SECOND - 1));
  g_assert_true (zcio_copy_policy_may_zero_copy (&policy, 64 * KIB, START + G_TIME_SPAN_SECOND));
  g_assert_true (zcio_copy_policy_may_zero_copy (&policy, 64 * KIB, START + G_TIME_SPAN_DAY));
  g_assert_false (zcio_copy_policy_may_zero_copy (&policy, 15 * KIB, START + G_TIME_SPAN_DAY));
  g_assert_cmpmem (&policy, sizeof policy, &before, sizeof before);
}

/* Any shape: every byte goes out once, in order, and in so few calls that each
 * zero-copy send pays for the two calls that it may cost.
 */
static void
test_plan_random (void)
{
  struct iovec vectors[MAX_VECTORS];
  guint64 state = zcio_test_get_seed ();
  guint64 rounds = zcio_test_get_rounds (3000);

  g_test_summary ("Plans for random vectors cover each of them once, keep to the threshold and "
                  "never alternate for less than it.");

  for (guint64 round = 0; round < rounds; round++)
    {
      ZcioCopyPolicy policy;
      gsize n_vectors = zcio_test_random_range (&state, 1, MAX_VECTORS);
      gsize total = 0, done = 0, sent = 0, calls = 0, threshold;
      gboolean last_zero_copy = FALSE;

      init_active (&policy);
      zcio_copy_policy_set_threshold (&policy, zcio_test_random_range (&state, 0, 2) * 5000);
      threshold = zcio_copy_policy_get_threshold (&policy);

      for (gsize i = 0; i < n_vectors; i++)
        {
          static const gsize largest[] = { 0, 1, 100, 3000, 20000 };
          gsize which = zcio_test_random_range (&state, 0, G_N_ELEMENTS (largest) - 1);

          vectors[i] = (struct iovec){ NULL, zcio_test_random_range (&state, 0, largest[which]) };
          total += vectors[i].iov_len;
        }

      while (done < n_vectors)
        {
          ZcioCopyPlan plan;
          gsize size = 0, pieces = 0;

          plan_next (&policy, vectors + done, n_vectors - done, START, &plan);
          for (gsize i = 0; i < plan.n_vectors; i++)
            {
              size += vectors[done + i].iov_len;
              pieces += vectors[done + i].iov_len > 0;
            }
          g_assert_cmpuint (plan.n_vectors, >=, 1);
          g_assert_cmpuint (plan.size, ==, size);
          /* No call is made for empty ones alone. */
          g_assert_true (size > 0 || sent == total);
          done += plan.n_vectors;
          sent += size;
          g_assert_cmpuint (done, <=, n_vectors);
          g_assert_cmpint (plan.more, ==, sent < total);
          g_assert_cmpint (done < n_vectors, ==, plan.more);
          if (plan.zero_copy)
            {
              g_assert_cmpuint (size, >=, threshold);
              g_assert_cmpuint (size / pieces, >=, 2 * KIB);
            }
          else
            {
              g_assert_true (calls == 0 || last_zero_copy);
            }
          last_zero_copy = plan.zero_copy;
          calls++;
        }

      g_assert_cmpuint (sent, ==, total);
      g_assert_cmpuint (calls, <=, 2 * (total / threshold) + 1);
    }
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/copy-policy/plan/auto", test_plan_auto);
  g_test_add_func ("/copy-policy/plan/empty", test_plan_empty);
  g_test_add_func ("/copy-policy/plan/always", test_plan_always);
  g_test_add_func ("/copy-policy/plan/copying-states", test_plan_copying_states);
  g_test_add_func ("/copy-policy/plan/random", test_plan_random);
  g_test_add_func ("/copy-policy/threshold", test_threshold);
  g_test_add_func ("/copy-policy/may-zero-copy", test_may_zero_copy);

  return g_test_run ();
}
