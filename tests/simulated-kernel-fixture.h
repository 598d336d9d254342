/* simulated-kernel-fixture.h - what the tests of the simulated kernel share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "simulated-kernel.h"
#include "zcio/zcio-error-queue-private.h"

G_BEGIN_DECLS

/* What is sent; the pattern, unless the test writes to it. */
extern guint8 memory[1024 * 1024];

/* With the seed 1, and zero-copy enabled. */
SimulatedKernel *make_kernel         (void);

/* Sends memory from @offset on, as two vectors. */
gssize           send_at             (SimulatedKernel  *kernel,
                                      gsize             offset,
                                      gsize             size,
                                      int               flags);
void             assert_sent         (SimulatedKernel  *kernel,
                                      gsize             size,
                                      int               flags);

/* What has happened to the socket when poll () returns. */
short            poll_for            (SimulatedKernel  *kernel,
                                      short             events,
                                      int               timeout);

/* FALSE: the queue is empty. */
gboolean         read_notification   (SimulatedKernel  *kernel,
                                      ZcioNotification *notification,
                                      guint            *n_foreign);
void             assert_notification (SimulatedKernel  *kernel,
                                      guint32           first,
                                      guint32           last,
                                      gboolean          copied);
void             assert_queue_empty  (SimulatedKernel  *kernel);

G_END_DECLS
