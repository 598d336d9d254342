/* zcio-buffer-store.c - the memory of a buffer pool, and who has it
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-buffer-store-private.h"

#include "zcio-debug-private.h"
#include "zcio-pool-memory-private.h"

#include <errno.h>

/* The part of a slab that may be wasted for the sake of whole huge pages. */
#define MAX_WASTE_DIVISOR 8

/* The most buffers that ZCIO_DEBUG=protect protects at the same time. Each may take two
 * more of the mappings of the process, of which it has 65530 (vm.max_map_count); without
 * any left, a buffer could not be made writable again.
 */
#define MAX_PROTECTED 8192

struct _ZcioBufferSlab
{
  /* In the store's slabs, unless lost. First, since what looks for leaks wants to see a
   * pointer to the beginning.
   */
  GList link;
  ZcioBufferStore *store;
  ZcioPoolMemory memory;
  GList open_link;    /* in the store's open slabs, if there is a buffer to be had */
  gboolean lost;      /* a parent process has the memory */
  guint n_buffers;
  guint n_fresh;      /* of @buffers, the last ones: never used so far */
  guint n_in_use;
  ZcioBuffer *unused; /* used before; the last one to come back is the first */
  ZcioBuffer buffers[];
};

struct _ZcioBufferStore
{
  /* None of them changes after zcio_buffer_store_new (). */
  gsize buffer_size;
  gsize stride;       /* from one buffer to the next: whole pages */
  guint slab_buffers;
  gboolean protect;

  GMutex lock;
  GQueue slabs;
  GQueue open_slabs;
  guint n_slabs_huge;
  guint64 n_out;      /* buffers that are not here, those of lost slabs included */
  gboolean closed;
  ZcioBufferStoreState state;
};

/* Atomic. */
static int n_protected;

static gsize
round_up (gsize size,
          gsize unit)
{
  return (size + unit - 1) / unit * unit;
}

/* How many buffers to a slab: as few as waste little of its huge pages. Since less than
 * one huge page is wasted, a slab of eight is large enough for any size of buffers.
 */
static guint
choose_slab_buffers (gsize stride)
{
  gsize n = MAX (ZCIO_HUGE_PAGE_SIZE / stride, 1);

  while (TRUE)
    {
      gsize size = round_up (n * stride, ZCIO_HUGE_PAGE_SIZE);

      if ((size - n * stride) * MAX_WASTE_DIVISOR <= size)
        return (guint) n;
      n++;
    }
}

ZcioBufferStore *
zcio_buffer_store_new (gsize buffer_size)
{
  ZcioBufferStore *store = g_new0 (ZcioBufferStore, 1);

  store->buffer_size = buffer_size;
  store->stride = round_up (buffer_size, zcio_pool_memory_get_page_size ());
  store->slab_buffers = choose_slab_buffers (store->stride);
  store->protect = (zcio_debug_get_flags () & ZCIO_DEBUG_PROTECT) != 0;
  g_mutex_init (&store->lock);

  return store;
}

static void
free_slab (ZcioBufferSlab *slab)
{
  zcio_pool_memory_unmap (&slab->memory);
  g_free (slab);
}

/* Of a slab with no buffer in use. */
static void
drop_slab (ZcioBufferStore *store,
           ZcioBufferSlab *slab)
{
  g_queue_unlink (&store->slabs, &slab->link);
  g_queue_unlink (&store->open_slabs, &slab->open_link);
  store->state.bytes_allocated -= slab->memory.size;
  if (slab->memory.huge)
    store->n_slabs_huge--;

  free_slab (slab);
}

/* Gives back slabs with no buffer in use, until @max_bytes are left. */
static void
drop_idle_slabs (ZcioBufferStore *store,
                 guint64 max_bytes)
{
  GList *next;

  for (GList *link = store->open_slabs.head; link != NULL; link = next)
    {
      ZcioBufferSlab *slab = link->data;

      next = link->next;
      if (store->state.bytes_allocated <= max_bytes)
        break;
      if (slab->n_in_use == 0)
        drop_slab (store, slab);
    }
}

/* After a fork, in the child: begins anew. The slabs are either all lost or none,
 * since everybody comes by here first.
 */
static void
forget_lost_slabs (ZcioBufferStore *store)
{
  GList *link;

  while ((link = store->slabs.head) != NULL)
    {
      ZcioBufferSlab *slab = link->data;

      g_queue_unlink (&store->slabs, link);
      slab->lost = TRUE;
      if (slab->n_in_use == 0)
        free_slab (slab);
    }

  g_queue_init (&store->open_slabs);
  store->n_slabs_huge = 0;
  store->state.bytes_allocated = 0;
  store->state.bytes_in_use = 0;
}

static void
lock_store (ZcioBufferStore *store)
{
  ZcioBufferSlab *first;

  g_mutex_lock (&store->lock);
  first = g_queue_peek_head (&store->slabs);
  if (first != NULL && zcio_pool_memory_is_lost (&first->memory))
    forget_lost_slabs (store);
}

static void
free_store (ZcioBufferStore *store)
{
  g_mutex_clear (&store->lock);
  g_free (store);
}

void
zcio_buffer_store_close (ZcioBufferStore *store)
{
  gboolean last;

  lock_store (store);
  store->closed = TRUE;
  drop_idle_slabs (store, 0);
  last = store->n_out == 0;
  g_mutex_unlock (&store->lock);

  if (last)
    free_store (store);
}

gboolean
zcio_buffer_store_set_max_bytes (ZcioBufferStore *store,
                                 guint64 max_bytes)
{
  gboolean changed;

  lock_store (store);
  changed = store->state.max_bytes != max_bytes;
  store->state.max_bytes = max_bytes;
  if (max_bytes != 0)
    drop_idle_slabs (store, max_bytes);
  g_mutex_unlock (&store->lock);

  return changed;
}

void
zcio_buffer_store_get_state (ZcioBufferStore *store,
                             ZcioBufferStoreState *state)
{
  lock_store (store);
  *state = store->state;
  state->huge_pages = store->n_slabs_huge > 0;
  g_mutex_unlock (&store->lock);
}

void
zcio_buffer_store_trim (ZcioBufferStore *store)
{
  lock_store (store);
  drop_idle_slabs (store, 0);
  g_mutex_unlock (&store->lock);
}

/* How many buffers the next slab may have. The last one before the limit is smaller than
 * a huge page if need be: less speed is better than less memory than was promised.
 */
static guint
get_slab_room (ZcioBufferStore *store)
{
  guint64 max_bytes = store->state.max_bytes;
  guint64 room;

  if (max_bytes == 0)
    return store->slab_buffers;
  if (store->state.bytes_allocated >= max_bytes)
    return 0;

  room = max_bytes - store->state.bytes_allocated;
  if (room >= round_up (store->slab_buffers * store->stride, ZCIO_HUGE_PAGE_SIZE))
    return store->slab_buffers;

  return (guint) MIN (room / store->stride, store->slab_buffers);
}

static gsize
get_slab_size (ZcioBufferStore *store,
               guint n_buffers)
{
  gsize size = n_buffers * store->stride;
  gsize whole = round_up (size, ZCIO_HUGE_PAGE_SIZE);

  if (store->state.max_bytes == 0 ||
      whole <= store->state.max_bytes - store->state.bytes_allocated)
    return whole;

  return size;
}

/* NULL and errno on failure. */
static ZcioBufferSlab *
add_slab (ZcioBufferStore *store,
          guint n_buffers)
{
  ZcioPoolMemory memory;
  ZcioBufferSlab *slab;

  if (!zcio_pool_memory_map (&memory, get_slab_size (store, n_buffers), !store->protect))
    return NULL;

  slab = g_malloc0 (sizeof *slab + n_buffers * sizeof (ZcioBuffer));
  slab->store = store;
  slab->memory = memory;
  slab->link.data = slab;
  slab->open_link.data = slab;
  slab->n_buffers = n_buffers;
  slab->n_fresh = n_buffers;

  g_queue_push_head_link (&store->slabs, &slab->link);
  g_queue_push_head_link (&store->open_slabs, &slab->open_link);
  store->state.bytes_allocated += memory.size;
  if (memory.huge)
    store->n_slabs_huge++;

  return slab;
}

static ZcioBuffer *
take_buffer (ZcioBufferStore *store,
             ZcioBufferSlab *slab)
{
  ZcioBuffer *buffer = slab->unused;

  if (buffer != NULL)
    {
      slab->unused = buffer->next;
      store->state.n_recycled++;
    }
  else
    {
      guint i = slab->n_buffers - slab->n_fresh;

      slab->n_fresh--;
      buffer = &slab->buffers[i];
      buffer->slab = slab;
      buffer->data = slab->memory.address + i * store->stride;
    }

  slab->n_in_use++;
  if (slab->n_in_use == slab->n_buffers)
    g_queue_unlink (&store->open_slabs, &slab->open_link);

  store->n_out++;
  store->state.n_acquired++;
  store->state.bytes_in_use += store->stride;
  store->state.peak_bytes_in_use = MAX (store->state.peak_bytes_in_use, store->state.bytes_in_use);

  return buffer;
}

static void
set_error_full (GError **error,
                guint64 max_bytes)
{
  g_autofree char *size = g_format_size_full (max_bytes, G_FORMAT_SIZE_IEC_UNITS);

  g_set_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
               "The buffers in use leave no room in a buffer pool that is limited to %s", size);
}

static void
set_error_from_errno (GError **error,
                      int errsv)
{
  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errsv),
               "Error mapping memory for a buffer pool: %s", g_strerror (errsv));
}

/* The memory is mapped under the lock: threads that find no buffer would otherwise all
 * map some at once, for one of them to use.
 */
ZcioBuffer *
zcio_buffer_store_acquire (ZcioBufferStore *store,
                           GError **error)
{
  ZcioBuffer *buffer = NULL;
  ZcioBufferSlab *slab;
  guint64 max_bytes;
  gboolean full;
  int errsv = 0;

  lock_store (store);

  max_bytes = store->state.max_bytes;
  full = max_bytes != 0 && store->state.bytes_in_use + store->stride > max_bytes;
  slab = g_queue_peek_head (&store->open_slabs);
  if (!full && slab == NULL)
    {
      guint n_buffers = get_slab_room (store);

      full = n_buffers == 0;
      if (!full)
        slab = add_slab (store, n_buffers);
      errsv = errno;
    }
  if (!full && slab != NULL)
    buffer = take_buffer (store, slab);

  g_mutex_unlock (&store->lock);

  if (buffer == NULL)
    {
      if (full)
        set_error_full (error, max_bytes);
      else
        set_error_from_errno (error, errsv);
      return NULL;
    }

  g_atomic_ref_count_init (&buffer->ref_count);
  g_atomic_int_set (&buffer->converted, FALSE);
  buffer->next = NULL;

  return buffer;
}

/* In a child process the buffer has no memory, and its slab is in no list. */
static void
take_back_lost (ZcioBufferSlab *slab)
{
  slab->n_in_use--;
  if (slab->n_in_use == 0)
    free_slab (slab);
}

static void
take_back (ZcioBufferStore *store,
           ZcioBuffer *buffer)
{
  ZcioBufferSlab *slab = buffer->slab;
  guint64 max_bytes = store->state.max_bytes;

  buffer->next = slab->unused;
  slab->unused = buffer;
  if (slab->n_in_use == slab->n_buffers)
    g_queue_push_head_link (&store->open_slabs, &slab->open_link);
  slab->n_in_use--;
  store->state.bytes_in_use -= store->stride;

  if (slab->n_in_use == 0 &&
      (store->closed || (max_bytes != 0 && store->state.bytes_allocated > max_bytes)))
    drop_slab (store, slab);
}

static gboolean
unprotect (ZcioBuffer *buffer)
{
  ZcioBufferSlab *slab = buffer->slab;

  if (!zcio_pool_memory_is_lost (&slab->memory) &&
      !zcio_pool_memory_set_writable (buffer->data, slab->store->stride, TRUE))
    return FALSE;

  buffer->read_only = FALSE;
  g_atomic_int_add (&n_protected, -1);
  return TRUE;
}

void
zcio_buffer_store_take_back (ZcioBuffer *buffer)
{
  ZcioBufferStore *store = buffer->slab->store;
  gboolean last;

  /* The next user of it would be taken for a culprit, so there must be none. */
  if (buffer->read_only && !unprotect (buffer))
    {
      g_debug ("ZCIO_DEBUG=protect: a buffer is lost: %s", g_strerror (errno));
      return;
    }

  lock_store (store);
  if (buffer->slab->lost)
    take_back_lost (buffer->slab);
  else
    take_back (store, buffer);
  store->n_out--;
  last = store->closed && store->n_out == 0;
  g_mutex_unlock (&store->lock);

  if (last)
    free_store (store);
}

gsize
zcio_buffer_store_get_size (ZcioBuffer *buffer)
{
  return buffer->slab->store->buffer_size;
}

void
zcio_buffer_store_seal (ZcioBuffer *buffer)
{
  ZcioBufferStore *store = buffer->slab->store;

  if (!store->protect || zcio_pool_memory_is_lost (&buffer->slab->memory))
    return;

  if (g_atomic_int_add (&n_protected, 1) < MAX_PROTECTED)
    buffer->read_only = zcio_pool_memory_set_writable (buffer->data, store->stride, FALSE);
  if (!buffer->read_only)
    g_atomic_int_add (&n_protected, -1);
}
