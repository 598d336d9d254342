/* zcio-splice-private.h - g_output_stream_splice() of a stream
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* The virtual functions: GOutputStream has set the pending flag, and clears it. */
gssize zcio_splice        (GOutputStream             *stream,
                           GInputStream              *source,
                           GOutputStreamSpliceFlags   flags,
                           GCancellable              *cancellable,
                           GError                   **error);
void   zcio_splice_async  (GOutputStream             *stream,
                           GInputStream              *source,
                           GOutputStreamSpliceFlags   flags,
                           int                        io_priority,
                           GCancellable              *cancellable,
                           GAsyncReadyCallback        callback,
                           gpointer                   user_data);
gssize zcio_splice_finish (GOutputStream             *stream,
                           GAsyncResult              *result,
                           GError                   **error);

G_END_DECLS
