/* zcio-send-private.h - sending a write, part by part
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-transmitter-private.h"

G_BEGIN_DECLS

/*
 * ZcioSendRequest:
 * @vectors: what to send, or NULL
 * @buffers: what to send, where @vectors is NULL
 * @n: how many vectors or buffers
 * @keep_off: user space must not touch the memory: it is of a mapped file, which may shrink
 * @zero_copy: whether the memory is owned, so that it may go by zero-copy
 * @size: bytes of all of them
 * @written: bytes accepted so far
 * @index: the vector or buffer that is next
 * @offset: bytes of it that were accepted
 * @owned: buffers before this one have a reference in @write
 * @write: set while sends of the request may be in flight
 * @wants_window: it would block not on the socket, but because too much is in flight
 * @error_number: the errno with which it failed
 *
 * A write on its way. The vectors' or buffers' array must stay as it is until the
 * request has ended; the memory itself until it has been released.
 */
typedef struct
{
  const GOutputVector *vectors;
  GBytes *const *buffers;
  gsize n;
  gboolean zero_copy;
  gboolean keep_off;
  GDestroyNotify release;
  gpointer release_data;

  gsize size;
  gsize written;
  gsize index;
  gsize offset;
  gsize owned;
  ZcioWrite *write;
  gboolean wants_window;
  int error_number;
} ZcioSendRequest;

typedef enum
{
  ZCIO_SEND_DONE,
  ZCIO_SEND_WOULD_BLOCK,
  ZCIO_SEND_FAILED
} ZcioSendResult;

/* Both fail with G_IO_ERROR_INVALID_ARGUMENT if the sum is beyond G_MAXSSIZE. */
gboolean       zcio_send_request_init_buffers (ZcioSendRequest     *request,
                                               GBytes *const       *buffers,
                                               gsize                n_buffers,
                                               GError             **error);
gboolean       zcio_send_request_init_vectors (ZcioSendRequest     *request,
                                               const GOutputVector *vectors,
                                               gsize                n_vectors,
                                               gboolean             zero_copy,
                                               GError             **error);

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

/* The checks that GSocket makes before it sends. */
gboolean       zcio_send_check                (ZcioTransmitter     *self,
                                               GSocket             *socket,
                                               GCancellable        *cancellable,
                                               GError             **error);

G_END_DECLS
