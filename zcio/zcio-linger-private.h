/* zcio-linger-private.h - finishes what a stream left in flight
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-transmitter-private.h"

G_BEGIN_DECLS

/* Takes over a transmitter that has no streams any more but sends in flight. @fd is a
 * duplicate of the socket's descriptor, which the linger closes when it is done, or -1
 * if the error queue cannot be reached any more. Never blocks.
 *
 * Lock order: the transmitter's lock may be held while these are called, never the
 * other way round.
 */
ZcioLinger *zcio_linger_start         (ZcioTransmitter *transmitter,
                                       int              fd,
                                       gint64           timeout);
/* A stream uses the transmitter again, or the transmitter is done: the linger forgets
 * it and closes @fd.
 */
void        zcio_linger_stop          (ZcioLinger      *linger);
/* The GSocket has gone or was closed: the duplicate would hold back the FIN, so the
 * sending side is shut down.
 */
void        zcio_linger_shut_down     (ZcioLinger      *linger);
/* How many sockets linger; for tests. */
guint       zcio_linger_count         (void);
gboolean    zcio_linger_has_thread    (void);

G_END_DECLS
