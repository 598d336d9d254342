/* zcio-error-queue-private.h - reads notifications from a socket's error queue
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-syscalls-private.h"

G_BEGIN_DECLS

/* The sends from @first to @last, both included, modulo 2^32: a range may cross
 * the wrap. @copied is only a hint, since the kernel merges ranges without
 * comparing it (skb_zerocopy_notify_extend ()).
 */
typedef struct
{
  guint32 first;
  guint32 last;
  gboolean copied;
} ZcioNotification;

/* How many sends a notification is about; never 0. */
static inline guint64
zcio_notification_get_length (const ZcioNotification *notification)
{
  return (guint64) (guint32) (notification->last - notification->first) + 1;
}

gboolean zcio_error_queue_parse (struct msghdr    *message,
                                 ZcioNotification *notification);
guint    zcio_error_queue_read  (ZcioSyscalls     *syscalls,
                                 int               fd,
                                 ZcioNotification *notifications,
                                 guint             max_notifications,
                                 guint            *n_foreign,
                                 gboolean         *empty);

G_END_DECLS
