/* zcio-splice-policy.c - which way of sending a file takes less CPU
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-splice-policy-private.h"

#define MIB ((guint64) 1024 * 1024)

/* What a mapping costs beside its faults, to make and to undo it, has to be a small part of the
 * measurement, as it is of a whole window; sendfile () has no such costs.
 */
#define MAPPED_TRIAL (4 * MIB)
#define SHARED_TRIAL (1 * MIB)

/* Trials, if they change nothing, are so far apart that they cost a hundredth or so, and then
 * less and less.
 */
#define FIRST_PAUSE (64 * MIB)
#define MAX_PAUSE (1024 * MIB)
#define PAUSE_FACTOR 4

/* With less left of the file a trial does not pay, whatever comes of it. */
#define MIN_REST (8 * MIB)

/* So much before a trial is measured, to compare; to look at the time costs something, too. */
#define RUN_UP MAPPED_TRIAL

/* In percent; what is measured scatters, since interrupts may count as the thread's own. */
#define MIN_GAIN 10

void
zcio_splice_policy_init (ZcioSplicePolicy *policy)
{
  *policy = (ZcioSplicePolicy) {
    .prefers_map = TRUE,
    .until_trial = RUN_UP,
    .pause = FIRST_PAUSE,
  };
}

/* Pages of 4 KiB are mapped 16 at a time (fault_around_bytes), those of larger pieces not many
 * more; a huge one by a single fault. Then sendfile (), which looks at each page of 4 KiB, takes
 * twice the CPU.
 */
static gboolean
has_huge_pages (const ZcioSplicePolicy *policy)
{
  return policy->prefers_map && policy->kept.usage.faults * MIB < policy->kept.bytes;
}

/* To read from the disk takes more than either way, and what the one has read ahead the other
 * finds there.
 */
static gboolean
had_to_read (const ZcioSpliceSample *sample)
{
  return sample->usage.reads > 0;
}

static guint64
get_trial_size (const ZcioSplicePolicy *policy)
{
  return policy->prefers_map ? SHARED_TRIAL : MAPPED_TRIAL;
}

/* What was measured is forgotten: the file need not be the same all along. */
static void
put_off_trial (ZcioSplicePolicy *policy)
{
  policy->until_trial = policy->pause;
  policy->pause = MIN (policy->pause * PAUSE_FACTOR, MAX_PAUSE);
  policy->is_trial = FALSE;
  policy->trial = (ZcioSpliceSample) { 0 };
  policy->kept = (ZcioSpliceSample) { 0 };
}

static void
prefer_other (ZcioSplicePolicy *policy)
{
  policy->prefers_map = !policy->prefers_map;
  policy->pause = FIRST_PAUSE;
}

/* What is read for a mapping lies in huge pages afterwards, if the file system can; so a mapping is
 * what to read by.
 */
static void
begin_trial (ZcioSplicePolicy *policy,
             guint64           left)
{
  gboolean cold = had_to_read (&policy->kept);

  policy->is_trial = left >= MIN_REST && policy->kept.bytes >= RUN_UP && !has_huge_pages (policy) && !cold;
  if (policy->is_trial)
    return;

  if (left >= MIN_REST && cold && !policy->prefers_map)
    prefer_other (policy);
  put_off_trial (policy);
}

gboolean
zcio_splice_policy_should_map (ZcioSplicePolicy *policy,
                               guint64           left,
                               gsize            *size,
                               gboolean         *measures)
{
  guint64 most;

  if (policy->until_trial == 0 && !policy->is_trial)
    begin_trial (policy, left);

  if (policy->is_trial)
    most = get_trial_size (policy) - policy->trial.bytes;
  else if (policy->until_trial > RUN_UP)
    most = policy->until_trial - RUN_UP;
  else
    most = policy->until_trial;

  *size = (gsize) MIN (MIN (most, left), G_MAXSIZE);
  *measures = policy->is_trial ||
              (policy->until_trial <= RUN_UP && left >= policy->until_trial + MIN_REST);
  return policy->prefers_map != policy->is_trial;
}

static gboolean
is_cheaper (const ZcioSpliceSample *sample,
            const ZcioSpliceSample *than)
{
  double cost = (double) sample->usage.cpu / (double) sample->bytes;
  double other_cost = (double) than->usage.cpu / (double) than->bytes;

  return cost * (100 + MIN_GAIN) < other_cost * 100;
}

static void
end_trial (ZcioSplicePolicy *policy)
{
  if (!had_to_read (&policy->trial) && is_cheaper (&policy->trial, &policy->kept))
    prefer_other (policy);
  put_off_trial (policy);
}

void
zcio_splice_policy_sent (ZcioSplicePolicy *policy,
                         guint64           bytes,
                         const ZcioUsage  *usage)
{
  ZcioSpliceSample *sum = policy->is_trial ? &policy->trial : &policy->kept;

  if (usage != NULL)
    {
      sum->bytes += bytes;
      sum->usage.cpu += usage->cpu;
      sum->usage.faults += usage->faults;
      sum->usage.reads += usage->reads;
    }

  if (!policy->is_trial)
    policy->until_trial -= MIN (policy->until_trial, bytes);
  else if (policy->trial.bytes >= get_trial_size (policy))
    end_trial (policy);
}

void
zcio_splice_policy_map_only (ZcioSplicePolicy *policy)
{
  policy->prefers_map = TRUE;
  policy->is_trial = FALSE;
  policy->until_trial = G_MAXUINT64;
}
