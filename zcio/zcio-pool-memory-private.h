/* zcio-pool-memory-private.h - maps the memory of a buffer pool
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Where huge pages have another size, the alignment does no harm. */
#define ZCIO_HUGE_PAGE_SIZE ((gsize) 2 * 1024 * 1024)

/*
 * ZcioPoolMemory:
 * @address: where it begins: at a multiple of ZCIO_HUGE_PAGE_SIZE, if @size is not less
 *   than that, else of the page size
 * @size: its size, a multiple of the page size
 * @huge: whether it is on huge pages, or the kernel has been asked for them and may
 *   give them
 * @generation: says in which process it was mapped
 *
 * Zeroed memory that can be written to.
 *
 * A child process does not inherit it. Were it shared until written to, then every
 * fork would take the parent's huge pages from it: a huge page that a child once had,
 * or still has, is split at the next write and copied page by page, unless nothing
 * else holds on to it, as a send in flight does. And a child that was given zeros
 * instead might send them. So to touch the memory in a child is a fault.
 */
typedef struct
{
  guint8 *address;
  gsize size;
  gboolean huge;
  guint generation;
} ZcioPoolMemory;

gsize    zcio_pool_memory_get_page_size (void);

/* @size must be a multiple of the page size. @whole: zcio_pool_memory_set_writable()
 * will not be called, so that MAP_HUGETLB may be used. FALSE and errno on failure.
 */
gboolean zcio_pool_memory_map           (ZcioPoolMemory *memory,
                                         gsize           size,
                                         gboolean        whole);
void     zcio_pool_memory_unmap         (ZcioPoolMemory *memory);
/* Whether it was mapped by a parent process, and is not there. Its addresses may be
 * somebody else's by now.
 */
gboolean zcio_pool_memory_is_lost       (ZcioPoolMemory *memory);
/* Page-aligned. FALSE and errno on failure: the protection is what it was. */
gboolean zcio_pool_memory_set_writable  (gpointer        address,
                                         gsize           size,
                                         gboolean        writable);

G_END_DECLS
