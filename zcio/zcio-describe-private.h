/* zcio-describe-private.h - says in words what the copy policy does, and why
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

#include "zcio-copy-policy-private.h"

G_BEGIN_DECLS

/* For a limit that is not set, does not apply or could not be read. */
#define ZCIO_LIMIT_NONE G_MAXUINT64

/* The limits that zero-copy sends can run into, in bytes. */
typedef struct
{
  guint64 memlock;          /* RLIMIT_MEMLOCK, for all that this user has pinned */
  gboolean memlock_exempt;  /* CAP_IPC_LOCK: it does not apply */
  guint64 optmem;           /* net.core.optmem_max, for each socket */
} ZcioLimits;

typedef enum
{
  ZCIO_LIMIT_UNKNOWN,
  ZCIO_LIMIT_MEMLOCK,
  ZCIO_LIMIT_OPTMEM
} ZcioLimit;

/* @proc: where the proc file system is, which is "/proc" but for tests */
void      zcio_limits_read                    (ZcioLimits           *limits,
                                               const char           *proc);
/* Which of them made the kernel answer ENOBUFS to a send of @size with nothing in
 * flight, as well as it can be told. @pinned_bytes: what this program has pinned
 */
ZcioLimit zcio_limits_find                    (const ZcioLimits     *limits,
                                               gsize                 size,
                                               guint64               pinned_bytes);

char     *zcio_describe_size                  (guint64               size);

/* One line that a person understands; the caller frees it. It may read files. */
char     *zcio_describe_policy                (const ZcioCopyPolicy *policy,
                                               guint64               sends_in_flight,
                                               guint64               bytes_in_flight,
                                               guint64               pinned_bytes);
char     *zcio_describe_policy_with_limits    (const ZcioCopyPolicy *policy,
                                               guint64               sends_in_flight,
                                               guint64               bytes_in_flight,
                                               guint64               pinned_bytes,
                                               const ZcioLimits     *limits);

/* Logs which limit a send of @size has met, its value and the remedy. The caller
 * does that once, and holds no lock: a log writer may be anything.
 */
void      zcio_describe_log_limit             (gsize                 size,
                                               guint64               pinned_bytes);
void      zcio_describe_log_limit_with_limits (gsize                 size,
                                               guint64               pinned_bytes,
                                               const ZcioLimits     *limits);

G_END_DECLS
