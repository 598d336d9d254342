/* simulated-stream.h - a stream whose kernel is simulated
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "simulated-kernel.h"

#include <zcio/zcio.h>

G_BEGIN_DECLS

/* What is written is always the next bytes of the pattern. */
typedef struct
{
  SimulatedKernel *kernel;
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  guint64 accepted;    /* bytes */
  gint made;           /* buffers */
  gint released;
} SimulatedStream;

/* To be called once, in main (): messages of the library are counted, not printed. */
void            simulated_stream_watch_log      (void);
/* How often it was logged that a limit was met. */
guint           simulated_stream_get_limits_logged (void);

/* The kernel is made with the seed, and may be set up before the first write. The
 * mode is ZCIO_ZERO_COPY_MODE_ALWAYS.
 */
void            simulated_stream_init           (SimulatedStream *self,
                                                 guint64          seed);
/* Waits until nothing is in flight; then every buffer must have been released, what
 * was accepted must be the pattern, and the statistics must add up.
 */
void            simulated_stream_settle         (SimulatedStream *self);
void            simulated_stream_clear          (SimulatedStream *self);

/* Each fails the test if *@bytes_written contradicts the result. */
gboolean        simulated_stream_write          (SimulatedStream *self,
                                                 gsize            size,
                                                 GCancellable    *cancellable,
                                                 GError         **error);
gboolean        simulated_stream_writev         (SimulatedStream *self,
                                                 const gsize     *sizes,
                                                 gsize            n,
                                                 GError         **error);
/* Vectors into memory of one owner. */
gboolean        simulated_stream_writev_full    (SimulatedStream *self,
                                                 const gsize     *sizes,
                                                 gsize            n,
                                                 GError         **error);
GPollableReturn simulated_stream_writev_nonblocking (SimulatedStream *self,
                                                     const gsize     *sizes,
                                                     gsize            n,
                                                     GError         **error);
/* A plain write: nothing of it may ever be in flight. */
gboolean        simulated_stream_write_plain    (SimulatedStream *self,
                                                 gsize            size,
                                                 GError         **error);
ZcioStatistics *simulated_stream_check_statistics (SimulatedStream *self);

G_END_DECLS
