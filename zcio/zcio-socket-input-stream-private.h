/* zcio-socket-input-stream-private.h - the reading half of a connection
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

#define ZCIO_TYPE_SOCKET_INPUT_STREAM (zcio_socket_input_stream_get_type ())

G_DECLARE_FINAL_TYPE (ZcioSocketInputStream, zcio_socket_input_stream, ZCIO, SOCKET_INPUT_STREAM, GInputStream)

/* Reads @socket, and while it waits for data it keeps the error queue empty: with a
 * completion in it every poll would return at once, and GIO's own stream would spin.
 * Closing the stream leaves the socket open.
 */
GInputStream *zcio_socket_input_stream_new (GSocket *socket) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
