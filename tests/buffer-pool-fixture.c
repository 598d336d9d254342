/* buffer-pool-fixture.c - what the tests of the buffer pool share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "buffer-pool-fixture.h"

#include <string.h>
#include <sys/mman.h>

#include "zcio/zcio-pool-memory-private.h"

ZcioBuffer *
acquire (ZcioBufferPool *pool)
{
  g_autoptr (GError) error = NULL;
  ZcioBuffer *buffer = zcio_buffer_pool_acquire (pool, &error);

  g_assert_no_error (error);
  g_assert_nonnull (buffer);

  return buffer;
}

GBytes *
acquire_bytes (ZcioBufferPool *pool,
               guint8 value)
{
  g_autoptr (ZcioBuffer) buffer = acquire (pool);
  gsize size;
  gpointer data = zcio_buffer_get_data (buffer, &size);

  memset (data, value, size);

  return zcio_buffer_to_bytes (buffer, size);
}

gboolean
is_mapped (gconstpointer address)
{
  unsigned char resident;

  return mincore ((gpointer) address, zcio_pool_memory_get_page_size (), &resident) == 0;
}
