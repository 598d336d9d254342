/* zcio-send-private.h - sending a write, part by part
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-send-request-private.h"
#include "zcio-transmitter-private.h"

G_BEGIN_DECLS

typedef enum
{
  ZCIO_SEND_DONE,
  ZCIO_SEND_WOULD_BLOCK,
  ZCIO_SEND_FAILED
} ZcioSendResult;

/* Sends as much as the socket takes without waiting. A request that is done or has
 * failed has ended; one that would block goes on with the next call, or is ended by
 * zcio_transmitter_end().
 */
ZcioSendResult zcio_transmitter_send          (ZcioTransmitter     *self,
                                               GSocket             *socket,
                                               ZcioSendRequest     *request,
                                               GError             **error);
void           zcio_transmitter_end           (ZcioTransmitter     *self,
                                               ZcioSendRequest     *request);

/* One copying send: what the socket takes, or -1. GSocket has one wording of errors for
 * data, and one for messages.
 */
gssize         zcio_transmitter_send_copy     (ZcioTransmitter     *self,
                                               GSocket             *socket,
                                               const struct msghdr *message,
                                               gboolean             is_data,
                                               GError             **error);

/* Without a send: GSocket's own checks, and whether they let a send that found no space block. */
gboolean       zcio_send_check_socket         (GSocket             *socket,
                                               GError             **error);
gboolean       zcio_send_may_block            (GSocket             *socket,
                                               GError             **error);

/* The error of a write that is not to be tried, if there is one. */
gboolean       zcio_send_check_slowly         (ZcioTransmitter     *self,
                                               GSocket             *socket,
                                               GCancellable        *cancellable,
                                               GError             **error);

/* The checks that GSocket makes before it sends. */
static inline gboolean
zcio_send_check (ZcioTransmitter  *self,
                 GSocket          *socket,
                 GCancellable     *cancellable,
                 GError          **error)
{
  gboolean cancelled = cancellable != NULL && g_cancellable_is_cancelled (cancellable);

  if (G_LIKELY (!cancelled && !g_atomic_int_get (&self->timed_out)))
    return TRUE;

  return zcio_send_check_slowly (self, socket, cancellable, error);
}

G_END_DECLS
