/* buffer-pool-fixture.h - what the tests of the buffer pool share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <zcio/zcio.h>

G_BEGIN_DECLS

#define KIB ((gsize) 1024)
#define MIB (1024 * KIB)

/* There must be one. */
ZcioBuffer *acquire       (ZcioBufferPool *pool);
/* A whole buffer of @value, as bytes. */
GBytes     *acquire_bytes (ZcioBufferPool *pool,
                           guint8          value);
/* Whether there is any memory at the address. */
gboolean    is_mapped     (gconstpointer   address);

G_END_DECLS
