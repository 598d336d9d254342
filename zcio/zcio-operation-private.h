/* zcio-operation-private.h - an asynchronous operation of a stream, without a thread
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-send-private.h"
#include "zcio-socket-stream.h"

G_BEGIN_DECLS

/* Each is a GAsyncResult, whose source object is the stream, and is called back in the
 * thread-default context: where that is this thread's own, never before the function returns.
 * With @takes_pending it sets the stream's pending flag, and clears it before the callback; one
 * that was refused because the flag was set does not clear it.
 */
void     zcio_operation_write      (ZcioSocketStream     *stream,
                                    const GOutputVector  *vectors,
                                    gsize                 n_vectors,
                                    gboolean              takes_pending,
                                    int                   io_priority,
                                    GCancellable         *cancellable,
                                    GAsyncReadyCallback   callback,
                                    gpointer              user_data,
                                    gpointer              source_tag);
void     zcio_operation_write_zerocopy (ZcioSocketStream  *stream,
                                    GBytes *const        *buffers,
                                    gsize                 n_buffers,
                                    int                   io_priority,
                                    GCancellable         *cancellable,
                                    GAsyncReadyCallback   callback,
                                    gpointer              user_data,
                                    gpointer              source_tag);
void     zcio_operation_drain      (ZcioSocketStream     *stream,
                                    guint64               max_bytes_in_flight,
                                    int                   io_priority,
                                    GCancellable         *cancellable,
                                    GAsyncReadyCallback   callback,
                                    gpointer              user_data,
                                    gpointer              source_tag);
/* Whether the result is of an operation of this stream, with this tag. */
gboolean zcio_operation_is_valid   (GAsyncResult         *result,
                                    gpointer              stream,
                                    gpointer              source_tag);
gboolean zcio_operation_finish     (GAsyncResult         *result,
                                    gsize                *bytes_written,
                                    GError              **error);

G_END_DECLS
