/* tsan-threads.c - what GLib hands from thread to thread, told to ThreadSanitizer
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * As with the sources of tsan-sources.c, the locks and the atomic operations that order this
 * are within GLib, where ThreadSanitizer does not see them.
 */

#include "config.h"

#include <stdlib.h>

#include "tsan-private.h"

/* Memory. GLib's own calls of free () are not looked at, see tsan-interpose.c; these are. */

gpointer
g_malloc (gsize size)
{
  gpointer memory = size > 0 ? malloc (size) : NULL;

  if (memory == NULL && size > 0)
    abort ();
  return memory;
}

gpointer
g_malloc0 (gsize size)
{
  gpointer memory = size > 0 ? calloc (1, size) : NULL;

  if (memory == NULL && size > 0)
    abort ();
  return memory;
}

void
g_free (gpointer memory)
{
  free (memory);
}

/* Counts of references */

void
(g_atomic_ref_count_init) (gatomicrefcount *count)
{
  *count = 1;
}

void
(g_atomic_ref_count_inc) (gatomicrefcount *count)
{
  g_atomic_int_inc (count);
}

gboolean
(g_atomic_ref_count_dec) (gatomicrefcount *count)
{
  return g_atomic_int_dec_and_test (count);
}

void
g_object_unref (gpointer object)
{
  NEXT (g_object_unref)

  pass_through (object);
  next (object);
}

void
g_bytes_unref (GBytes *bytes)
{
  NEXT (g_bytes_unref)

  if (bytes != NULL)
    pass_through (bytes);
  next (bytes);
}

/* Data of objects, which has a lock of its own */

static gpointer
get_place (GObject *object)
{
  return &object->qdata;
}

typedef struct
{
  GObject *object;
  GDuplicateFunc func;
  gpointer user_data;
} Duplication;

static gpointer
duplicate (gpointer data,
           gpointer user_data)
{
  Duplication *duplication = user_data;

  __tsan_acquire (get_place (duplication->object));
  return duplication->func (data, duplication->user_data);
}

gpointer
g_object_dup_qdata (GObject        *object,
                    GQuark          quark,
                    GDuplicateFunc  func,
                    gpointer        user_data)
{
  NEXT (g_object_dup_qdata)
  Duplication duplication = { object, func, user_data };

  return next (object, quark, duplicate, &duplication);
}

gboolean
g_object_replace_qdata (GObject        *object,
                        GQuark          quark,
                        gpointer        old_data,
                        gpointer        new_data,
                        GDestroyNotify  notify,
                        GDestroyNotify *old_notify)
{
  NEXT (g_object_replace_qdata)

  pass_through (get_place (object));
  return next (object, quark, old_data, new_data, notify, old_notify);
}

/* What is done once. Whoever comes later reads the location atomically, in code of its own. */

gboolean
(g_once_init_enter) (volatile void *location)
{
  NEXT (g_once_init_enter)
  gboolean first = next (location);

  __tsan_acquire ((gpointer) location);
  return first;
}

void
(g_once_init_leave) (volatile void *location,
                     gsize          result)
{
  NEXT (g_once_init_leave)

  __tsan_release ((gpointer) location);
  next (location, result);
}

/* Pools */

typedef struct
{
  GFunc func;
  gpointer user_data;
} Pool;

static void
pool_run (gpointer data,
          gpointer user_data)
{
  Pool *pool = user_data;

  __tsan_acquire (pool);
  pool->func (data, pool->user_data);
}

/* Never freed, as hardly any pool is. */
static Pool *
pool_new (GFunc    func,
          gpointer user_data)
{
  Pool *pool = g_new (Pool, 1);

  *pool = (Pool) { func, user_data };
  return pool;
}

GThreadPool *
g_thread_pool_new (GFunc     func,
                   gpointer  user_data,
                   int       max_threads,
                   gboolean  exclusive,
                   GError  **error)
{
  NEXT (g_thread_pool_new)

  return next (pool_run, pool_new (func, user_data), max_threads, exclusive, error);
}

gboolean
g_thread_pool_push (GThreadPool  *pool,
                    gpointer      data,
                    GError      **error)
{
  NEXT (g_thread_pool_push)

  __tsan_release (pool->user_data);
  return next (pool, data, error);
}

/* Queues */

void
g_async_queue_push (GAsyncQueue *queue,
                    gpointer     data)
{
  NEXT (g_async_queue_push)

  __tsan_release (queue);
  next (queue, data);
}

gpointer
g_async_queue_pop (GAsyncQueue *queue)
{
  NEXT (g_async_queue_pop)
  gpointer data = next (queue);

  __tsan_acquire (queue);
  return data;
}
