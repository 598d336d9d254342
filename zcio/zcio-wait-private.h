/* zcio-wait-private.h - waiting for a socket, or for completions
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-transmitter-private.h"

G_BEGIN_DECLS

typedef enum
{
  ZCIO_WAIT_WRITABLE,   /* the socket takes data, or has an error to tell */
  ZCIO_WAIT_READABLE,   /* the socket has data, or its end, or an error to tell */
  ZCIO_WAIT_IN_FLIGHT   /* at most so many bytes are in flight */
} ZcioWaitFor;

/* The callback of zcio_wait_source_new(); @timed_out if it was not for what the source
 * waits for, nor for the cancellable.
 */
typedef gboolean (*ZcioWaitSourceFunc) (gboolean timed_out,
                                        gpointer user_data);

gboolean zcio_wait_is_writable (ZcioTransmitter  *transmitter,
                                GSocket          *socket);
gboolean zcio_wait_is_readable (ZcioTransmitter  *transmitter,
                                GSocket          *socket);

/* Blocks. Honours the timeout of the socket. */
gboolean zcio_wait             (ZcioTransmitter  *transmitter,
                                GSocket          *socket,
                                ZcioWaitFor       what,
                                guint64           max_bytes_in_flight,
                                GCancellable     *cancellable,
                                GError          **error);

/* A source that is ready when the condition holds, the cancellable is cancelled, or
 * the timeout of the socket has passed.
 */
GSource *zcio_wait_source_new  (ZcioTransmitter  *transmitter,
                                GSocket          *socket,
                                ZcioWaitFor       what,
                                guint64           max_bytes_in_flight,
                                GCancellable     *cancellable);

G_END_DECLS
