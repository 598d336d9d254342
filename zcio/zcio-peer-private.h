/* zcio-peer-private.h - is the other end on this host?
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

gboolean zcio_peer_is_local (GSocket *socket);

G_END_DECLS
