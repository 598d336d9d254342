/* zcio-buffer-store-private.h - the memory of a buffer pool, and who has it
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-buffer-pool.h"

G_BEGIN_DECLS

/* So that no sum of sizes overflows. */
#define ZCIO_BUFFER_STORE_MAX_BUFFER_SIZE (G_MAXSIZE / 64)

/*
 * ZcioBufferStore:
 *
 * Slabs of memory, each cut into buffers. It belongs to a pool, and to the buffers
 * that are not there: the last of them frees it. Any thread may call any function.
 */
typedef struct _ZcioBufferStore ZcioBufferStore;
typedef struct _ZcioBufferSlab ZcioBufferSlab;

/* Lives in its slab, so that to acquire one allocates nothing. */
struct _ZcioBuffer
{
  gatomicrefcount ref_count;
  int converted;      /* atomic; zcio_buffer_to_bytes () has been called */
  gboolean read_only; /* the memory is protected */
  guint8 *data;
  ZcioBufferSlab *slab;
  ZcioBuffer *next;   /* of those not in use */
};

typedef struct
{
  guint64 max_bytes;
  guint64 bytes_allocated;
  guint64 bytes_in_use;
  guint64 peak_bytes_in_use;
  guint64 n_acquired;
  guint64 n_recycled;
  gboolean huge_pages;
} ZcioBufferStoreState;

ZcioBufferStore *zcio_buffer_store_new  (gsize                 buffer_size);
/* The pool is gone. */
void        zcio_buffer_store_close     (ZcioBufferStore      *store);
/* Returns whether that is a change. */
gboolean    zcio_buffer_store_set_max_bytes (ZcioBufferStore  *store,
                                         guint64               max_bytes);
void        zcio_buffer_store_get_state (ZcioBufferStore      *store,
                                         ZcioBufferStoreState *state);
void        zcio_buffer_store_trim      (ZcioBufferStore      *store);
/* With one reference, and with both flags off. */
ZcioBuffer *zcio_buffer_store_acquire   (ZcioBufferStore      *store,
                                         GError              **error);

/* The last reference is gone. */
void        zcio_buffer_store_take_back (ZcioBuffer           *buffer);
gsize       zcio_buffer_store_get_size  (ZcioBuffer           *buffer);
/* Nobody will write to it any more: ZCIO_DEBUG=protect makes sure of that. */
void        zcio_buffer_store_seal      (ZcioBuffer           *buffer);

G_END_DECLS
