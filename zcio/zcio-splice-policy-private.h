/* zcio-splice-policy-private.h - which way of sending a file takes less CPU
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

#include "zcio-syscalls-private.h"

G_BEGIN_DECLS

/*
 * ZcioSpliceSample:
 * @bytes: bytes that were sent
 * @usage: what that took
 */
typedef struct
{
  guint64 bytes;
  ZcioUsage usage;
} ZcioSpliceSample;

/*
 * ZcioSplicePolicy:
 * @prefers_map: whether the file is sent from mappings, as what is known says; else by sendfile ()
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
  gboolean prefers_map;
  gboolean is_trial;
  ZcioSpliceSample kept;
  ZcioSpliceSample trial;
  guint64 until_trial;
  guint64 pause;
} ZcioSplicePolicy;

void     zcio_splice_policy_init       (ZcioSplicePolicy *policy);

/* Whether to map what comes next, of @left bytes of the file. At most *@size bytes are to go that
 * way before it is asked again. *@measures is whether that is to be measured.
 */
gboolean zcio_splice_policy_should_map (ZcioSplicePolicy *policy,
                                        guint64           left,
                                        gsize            *size,
                                        gboolean         *measures);

/* So many bytes of it went; @usage is what that took, or NULL if it was not to be measured. */
void     zcio_splice_policy_sent       (ZcioSplicePolicy *policy,
                                        guint64           bytes,
                                        const ZcioUsage  *usage);

/* The file does not go by sendfile (): from now on it is mapped. */
void     zcio_splice_policy_map_only   (ZcioSplicePolicy *policy);

G_END_DECLS
