/* zcio-buffer-pool.h - page-aligned buffers that come back by themselves
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

#define ZCIO_TYPE_BUFFER_POOL (zcio_buffer_pool_get_type ())
#define ZCIO_TYPE_BUFFER (zcio_buffer_get_type ())

ZCIO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ZcioBufferPool, zcio_buffer_pool, ZCIO, BUFFER_POOL, GObject)

/**
 * ZcioBuffer:
 *
 * Memory of a #ZcioBufferPool that may be written to, until
 * zcio_buffer_to_bytes() makes a #GBytes of it.
 *
 * Since: 1.0
 */
typedef struct _ZcioBuffer ZcioBuffer;

ZCIO_AVAILABLE_IN_1_0
ZcioBufferPool *zcio_buffer_pool_new (gsize buffer_size) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
gsize zcio_buffer_pool_get_buffer_size (ZcioBufferPool *pool);
ZCIO_AVAILABLE_IN_1_0
void zcio_buffer_pool_set_max_bytes (ZcioBufferPool *pool,
                                     guint64         max_bytes);
ZCIO_AVAILABLE_IN_1_0
guint64 zcio_buffer_pool_get_max_bytes (ZcioBufferPool *pool);
ZCIO_AVAILABLE_IN_1_0
guint64 zcio_buffer_pool_get_bytes_allocated (ZcioBufferPool *pool);
ZCIO_AVAILABLE_IN_1_0
guint64 zcio_buffer_pool_get_bytes_in_use (ZcioBufferPool *pool);
ZCIO_AVAILABLE_IN_1_0
guint64 zcio_buffer_pool_get_peak_bytes_in_use (ZcioBufferPool *pool);
ZCIO_AVAILABLE_IN_1_0
guint64 zcio_buffer_pool_get_n_acquired (ZcioBufferPool *pool);
ZCIO_AVAILABLE_IN_1_0
guint64 zcio_buffer_pool_get_n_recycled (ZcioBufferPool *pool);
ZCIO_AVAILABLE_IN_1_0
gboolean zcio_buffer_pool_get_huge_pages (ZcioBufferPool *pool);
ZCIO_AVAILABLE_IN_1_0
ZcioBuffer *zcio_buffer_pool_acquire (ZcioBufferPool  *pool,
                                      GError         **error) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
void zcio_buffer_pool_trim (ZcioBufferPool *pool);

ZCIO_AVAILABLE_IN_1_0
GType zcio_buffer_get_type (void);
ZCIO_AVAILABLE_IN_1_0
ZcioBuffer *zcio_buffer_ref (ZcioBuffer *buffer);
ZCIO_AVAILABLE_IN_1_0
void zcio_buffer_unref (ZcioBuffer *buffer);
ZCIO_AVAILABLE_IN_1_0
gpointer zcio_buffer_get_data (ZcioBuffer *buffer,
                               gsize      *size);
ZCIO_AVAILABLE_IN_1_0
gsize zcio_buffer_get_size (ZcioBuffer *buffer);
ZCIO_AVAILABLE_IN_1_0
guintptr zcio_buffer_get_address (ZcioBuffer *buffer);
ZCIO_AVAILABLE_IN_1_0
void zcio_buffer_set_contents (ZcioBuffer   *buffer,
                               gsize         offset,
                               gconstpointer data,
                               gsize         size);
ZCIO_AVAILABLE_IN_1_0
GBytes *zcio_buffer_to_bytes (ZcioBuffer *buffer,
                              gsize       size) G_GNUC_WARN_UNUSED_RESULT;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ZcioBuffer, zcio_buffer_unref)

G_END_DECLS
