/* zcio-tcp-connection.h - a GTcpConnection that sends without copying
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(ZCIO_INSIDE) && !defined(ZCIO_COMPILATION)
#error "Only <zcio/zcio.h> can be included directly."
#endif

#include <gio/gio.h>
#include <zcio/zcio-version-macros.h>

G_BEGIN_DECLS

#define ZCIO_TYPE_TCP_CONNECTION (zcio_tcp_connection_get_type ())

ZCIO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ZcioTcpConnection, zcio_tcp_connection, ZCIO, TCP_CONNECTION, GTcpConnection)

ZCIO_AVAILABLE_IN_1_0
GSocketConnection *zcio_tcp_connection_new (GSocket *socket) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
void zcio_tcp_connection_register (void);

G_END_DECLS
