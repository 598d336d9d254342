/* zcio-stream-write-private.h - the writes of GOutputStream, which copy
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* Sets the virtual functions for writing. */
void zcio_stream_write_init_class    (GOutputStreamClass             *klass);
void zcio_stream_write_init_pollable (GPollableOutputStreamInterface *iface);

G_END_DECLS
