/* zcio-splice-policy-private.h - which way of sending a file takes less CPU
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * ZcioSpliceSample:
 * @bytes: bytes that were sent
 * @cpu: nanoseconds of CPU that this took
 * @faults: page faults that were met
 */
typedef struct
{
  guint64 bytes;
  guint64 cpu;
  guint64 faults;
} ZcioSpliceSample;

/*
 * ZcioSplicePolicy:
 * @maps: whether the file is sent from mappings, as what is known says; else by sendfile ()
 * @is_trial: it is sent the other way, for a moment
 * @kept: of the way that is taken, before a trial
 * @trial: of the other
 * @until_trial: how many bytes to send before the next trial
 * @pause: what @until_trial will be after it, if it changes nothing
 *
 * What a mapping costs depends on how large the pieces are in which the page cache holds the file;
 * and that on the file system, and on how the file was written or read. Only of huge pages can it
 * be told, by their faults, so else both ways are measured. It does no I/O, and has no clock and
 * no lock.
 */
typedef struct
{
  gboolean maps;
  gboolean is_trial;
  ZcioSpliceSample kept;
  ZcioSpliceSample trial;
  guint64 until_trial;
  guint64 pause;
} ZcioSplicePolicy;

void     zcio_splice_policy_init (ZcioSplicePolicy *policy);

/* Whether to map what comes next, of @left bytes of the file. At most *@size bytes are to go that
 * way before it is asked again.
 */
gboolean zcio_splice_policy_maps (ZcioSplicePolicy *policy,
                                  guint64           left,
                                  gsize            *size);

/* Whether that is to be measured. Of what is not, only the bytes count. */
gboolean zcio_splice_policy_measures (const ZcioSplicePolicy *policy);

/* What came of it. */
void     zcio_splice_policy_sent (ZcioSplicePolicy       *policy,
                                  const ZcioSpliceSample *sample);

/* The other way cannot be: there are no more trials. */
void     zcio_splice_policy_stay (ZcioSplicePolicy *policy);

G_END_DECLS
