/* zcio-socket-stream-private.h - what other rooms need of a stream
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-socket-stream.h"
#include "zcio-transmitter-private.h"

G_BEGIN_DECLS

/* Its fields are read by all files of the stream, and changed by zcio-socket-stream.c and
 * zcio-socket-stream-properties.c alone.
 */
struct _ZcioSocketStream
{
  GOutputStream parent_instance;

  GSocket *socket;
  ZcioTransmitter *transmitter;
  GMainContext *context;
  ZcioWatch *watch;
  int priority;
  guint attached : 1;
  guint in_dispose : 1;
};

static inline ZcioTransmitter *
zcio_socket_stream_get_transmitter (ZcioSocketStream *stream)
{
  return stream->transmitter;
}

/* Installs the properties, and sets the virtual functions for them. */
void zcio_socket_stream_init_properties (GObjectClass     *klass);
/* Has it told that ZcioSocketStream:zero-copy-state is another one. */
void zcio_socket_stream_notify_state    (ZcioSocketStream *stream);

void zcio_socket_stream_make_watch      (ZcioSocketStream *stream);

/* Before the first send by zero-copy: from then on somebody has to reap. */
static inline void
zcio_socket_stream_ensure_watch (ZcioSocketStream *stream)
{
  if (G_UNLIKELY (stream->watch == NULL && stream->attached))
    zcio_socket_stream_make_watch (stream);
}

G_END_DECLS
