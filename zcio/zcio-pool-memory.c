/* zcio-pool-memory.c - maps the memory of a buffer pool
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-pool-memory-private.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

/* Counts the forks that lead to this process. */
static guint generation;

static void
count_fork (void)
{
  g_atomic_int_inc (&generation);
}

/* Whether this system, and this process in it, may have transparent huge pages at all:
 * the advice is accepted even if they are off.
 */
static gboolean
get_transparent_huge_pages (void)
{
#ifdef PR_GET_THP_DISABLE
  g_autofree char *enabled = NULL;

  if (prctl (PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0)
    return FALSE;

  return g_file_get_contents ("/sys/kernel/mm/transparent_hugepage/enabled", &enabled, NULL, NULL) &&
         strstr (enabled, "[never]") == NULL;
#else
  return FALSE;
#endif
}

static gboolean
initialize (void)
{
  static gsize initialized = 0;

  if (g_once_init_enter (&initialized))
    {
      gboolean transparent = get_transparent_huge_pages ();

      pthread_atfork (NULL, NULL, count_fork);
      g_once_init_leave (&initialized, transparent ? 2 : 1);
    }

  return initialized == 2;
}

gsize
zcio_pool_memory_get_page_size (void)
{
  return (gsize) sysconf (_SC_PAGESIZE);
}

static gpointer
map_anonymous (gsize size,
               int flags)
{
  gpointer address = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

  return address == MAP_FAILED ? NULL : address;
}

/* From the huge pages that the administrator has set aside. That mmap () works does
 * not mean that they are there: the limit of a control group, or of memory nodes, would
 * kill with SIGBUS at the first touch. So touch them in a way that tells; where the
 * kernel is too old for it, do without.
 */
static gpointer
map_reserved (gsize size)
{
#if defined(MAP_HUGETLB) && defined(MAP_HUGE_SHIFT) && defined(MADV_POPULATE_WRITE)
  gpointer address = map_anonymous (size, MAP_HUGETLB | (21 << MAP_HUGE_SHIFT));

  if (address == NULL)
    return NULL;

  if (madvise (address, size, MADV_POPULATE_WRITE) == 0)
    return address;

  munmap (address, size);
#endif
  return NULL;
}

/* mmap () aligns to pages: take more, and give back what is before and after. */
static gpointer
map_aligned (gsize size,
             gsize alignment,
             gsize page_size)
{
  gsize slack = alignment - page_size;
  guint8 *address;
  gsize before;

  if (size > G_MAXSIZE - slack)
    {
      errno = ENOMEM;
      return NULL;
    }

  address = map_anonymous (size + slack, 0);
  if (address == NULL)
    return NULL;

  before = (alignment - (guintptr) address % alignment) % alignment;
  if (before > 0)
    munmap (address, before);
  if (before < slack)
    munmap (address + before + size, slack - before);

  return address + before;
}

gboolean
zcio_pool_memory_map (ZcioPoolMemory *memory,
                      gsize size,
                      gboolean whole)
{
  gsize page_size = zcio_pool_memory_get_page_size ();
  gboolean large = size >= ZCIO_HUGE_PAGE_SIZE;
  gboolean transparent = initialize ();
  gpointer address = NULL;

  memory->huge = FALSE;

  if (whole && size % ZCIO_HUGE_PAGE_SIZE == 0)
    address = map_reserved (size);

  if (address != NULL)
    {
      memory->huge = TRUE;
    }
  else
    {
      address = map_aligned (size, large ? ZCIO_HUGE_PAGE_SIZE : page_size, page_size);
      if (address == NULL)
        return FALSE;

#ifdef MADV_HUGEPAGE
      if (large && madvise (address, size, MADV_HUGEPAGE) == 0)
        memory->huge = transparent;
#endif
    }

#ifdef MADV_DONTFORK
  madvise (address, size, MADV_DONTFORK);
#endif

  memory->address = address;
  memory->size = size;
  memory->generation = (guint) g_atomic_int_get (&generation);

  return TRUE;
}

void
zcio_pool_memory_unmap (ZcioPoolMemory *memory)
{
  if (!zcio_pool_memory_is_lost (memory))
    munmap (memory->address, memory->size);

  memory->address = NULL;
  memory->size = 0;
}

gboolean
zcio_pool_memory_is_lost (ZcioPoolMemory *memory)
{
#ifdef MADV_DONTFORK
  return memory->generation != (guint) g_atomic_int_get (&generation);
#else
  return FALSE;
#endif
}

gboolean
zcio_pool_memory_set_writable (gpointer address,
                               gsize size,
                               gboolean writable)
{
  return mprotect (address, size, writable ? PROT_READ | PROT_WRITE : PROT_READ) == 0;
}
