/* zcio-buffer-pool.c - page-aligned buffers that come back by themselves
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-buffer-pool.h"

#include "zcio-buffer-store-private.h"

/**
 * SECTION:zcio-buffer-pool
 * @title: ZcioBufferPool
 * @short_description: Page-aligned buffers that come back by themselves
 *
 * #ZcioBufferPool hands out buffers of one size that are good for zero-copy sends,
 * and takes them back when nobody, the kernel included, uses them any more.
 *
 * The buffers begin at a page and lie on huge pages where the system has them: on
 * those that the administrator has set aside (`/proc/sys/vm/nr_hugepages`), else on
 * transparent ones. The kernel then describes a buffer to the network card by a few
 * large pieces instead of by one for each page.
 *
 * |[<!-- language="C" -->
 * g_autoptr (ZcioBuffer) buffer = zcio_buffer_pool_acquire (pool, error);
 * g_autoptr (GBytes) bytes = NULL;
 *
 * if (buffer == NULL)
 *   return FALSE;
 *
 * n = fill (zcio_buffer_get_data (buffer, &size), size);
 * bytes = zcio_buffer_to_bytes (buffer, n);
 *
 * return zcio_socket_stream_write_zerocopy (stream, bytes, &n_written, cancellable, error);
 * ]|
 *
 * The stream holds a reference to the #GBytes until the kernel has released it, so
 * there is nothing to count and nothing to wait for. The buffer goes back to its pool
 * when both the #ZcioBuffer and its #GBytes have lost their last reference, in
 * whichever thread that happens. Once the pool has as many buffers as are in use at
 * the same time, it allocates nothing but the #GBytes.
 *
 * A pool, and its buffers, may be used by several threads at the same time; only
 * what is in a buffer is left to the program. A pool may be dropped before its
 * buffers: its memory stays until the last of them is back.
 *
 * The memory of a pool does not go to child processes. After fork(), the child may
 * drop buffers and acquire new ones, but to read or write one that its parent had
 * acquired is a fault. If it were otherwise, a fork would split the huge pages of the
 * parent.
 *
 * With `protect` in the environment variable `ZCIO_DEBUG`, a buffer cannot be written
 * to after zcio_buffer_to_bytes(), before it has been acquired again: the program gets
 * a SIGSEGV at the very instruction that would have changed what is being sent.
 *
 * Since: 1.0
 */

/**
 * ZcioBufferPool:
 *
 * A pool of buffers of one size.
 *
 * Since: 1.0
 */
struct _ZcioBufferPool
{
  GObject parent_instance;

  /* Outlives the pool until the last buffer is back. */
  ZcioBufferStore *store;

  /* Only for the construction. */
  guint64 buffer_size;
  guint64 max_bytes;
};

G_DEFINE_FINAL_TYPE (ZcioBufferPool, zcio_buffer_pool, G_TYPE_OBJECT)

#define DEFAULT_BUFFER_SIZE (1024 * 1024)

enum
{
  PROP_BUFFER_SIZE = 1,
  PROP_MAX_BYTES,
  PROP_BYTES_ALLOCATED,
  PROP_BYTES_IN_USE,
  PROP_PEAK_BYTES_IN_USE,
  PROP_N_ACQUIRED,
  PROP_N_RECYCLED,
  PROP_HUGE_PAGES,
  N_PROPS
};

static GParamSpec *props[N_PROPS];

static void
zcio_buffer_pool_get_property (GObject *object,
                               guint prop_id,
                               GValue *value,
                               GParamSpec *pspec)
{
  ZcioBufferPool *self = ZCIO_BUFFER_POOL (object);

  switch (prop_id)
    {
    case PROP_BUFFER_SIZE:
      g_value_set_uint64 (value, zcio_buffer_pool_get_buffer_size (self));
      break;

    case PROP_MAX_BYTES:
      g_value_set_uint64 (value, zcio_buffer_pool_get_max_bytes (self));
      break;

    case PROP_BYTES_ALLOCATED:
      g_value_set_uint64 (value, zcio_buffer_pool_get_bytes_allocated (self));
      break;

    case PROP_BYTES_IN_USE:
      g_value_set_uint64 (value, zcio_buffer_pool_get_bytes_in_use (self));
      break;

    case PROP_PEAK_BYTES_IN_USE:
      g_value_set_uint64 (value, zcio_buffer_pool_get_peak_bytes_in_use (self));
      break;

    case PROP_N_ACQUIRED:
      g_value_set_uint64 (value, zcio_buffer_pool_get_n_acquired (self));
      break;

    case PROP_N_RECYCLED:
      g_value_set_uint64 (value, zcio_buffer_pool_get_n_recycled (self));
      break;

    case PROP_HUGE_PAGES:
      g_value_set_boolean (value, zcio_buffer_pool_get_huge_pages (self));
      break;

    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
    }
}

static void
zcio_buffer_pool_set_property (GObject *object,
                               guint prop_id,
                               const GValue *value,
                               GParamSpec *pspec)
{
  ZcioBufferPool *self = ZCIO_BUFFER_POOL (object);

  switch (prop_id)
    {
    case PROP_BUFFER_SIZE:
      self->buffer_size = g_value_get_uint64 (value);
      break;

    case PROP_MAX_BYTES:
      if (self->store == NULL)
        self->max_bytes = g_value_get_uint64 (value);
      else
        zcio_buffer_pool_set_max_bytes (self, g_value_get_uint64 (value));
      break;

    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
    }
}

static void
zcio_buffer_pool_constructed (GObject *object)
{
  ZcioBufferPool *self = ZCIO_BUFFER_POOL (object);

  self->store = zcio_buffer_store_new ((gsize) self->buffer_size);
  zcio_buffer_store_set_max_bytes (self->store, self->max_bytes);

  G_OBJECT_CLASS (zcio_buffer_pool_parent_class)->constructed (object);
}

static void
zcio_buffer_pool_finalize (GObject *object)
{
  ZcioBufferPool *self = ZCIO_BUFFER_POOL (object);

  zcio_buffer_store_close (self->store);

  G_OBJECT_CLASS (zcio_buffer_pool_parent_class)->finalize (object);
}

static GParamSpec *
count_property (const char *name)
{
  return g_param_spec_uint64 (name, NULL, NULL, 0, G_MAXUINT64, 0,
                              G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
}

static void
zcio_buffer_pool_class_init (ZcioBufferPoolClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->get_property = zcio_buffer_pool_get_property;
  object_class->set_property = zcio_buffer_pool_set_property;
  object_class->constructed = zcio_buffer_pool_constructed;
  object_class->finalize = zcio_buffer_pool_finalize;

  /**
   * ZcioBufferPool:buffer-size:
   *
   * The size of each buffer, in bytes. In memory it takes up whole pages.
   *
   * Since: 1.0
   */
  props[PROP_BUFFER_SIZE] =
    g_param_spec_uint64 ("buffer-size", NULL, NULL,
                         1, ZCIO_BUFFER_STORE_MAX_BUFFER_SIZE, DEFAULT_BUFFER_SIZE,
                         G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS);

  /**
   * ZcioBufferPool:max-bytes:
   *
   * The most that #ZcioBufferPool:bytes-allocated may be, or 0 for no limit. When it
   * is lowered, what is in use stays, and goes when it is back.
   *
   * Since: 1.0
   */
  props[PROP_MAX_BYTES] =
    g_param_spec_uint64 ("max-bytes", NULL, NULL, 0, G_MAXUINT64, 0,
                         G_PARAM_READWRITE | G_PARAM_CONSTRUCT | G_PARAM_EXPLICIT_NOTIFY |
                           G_PARAM_STATIC_STRINGS);

  /**
   * ZcioBufferPool:bytes-allocated:
   *
   * The memory that the pool has from the system, in bytes. It changes without a
   * notification, like the other numbers that can only be read.
   *
   * Since: 1.0
   */
  props[PROP_BYTES_ALLOCATED] = count_property ("bytes-allocated");

  /**
   * ZcioBufferPool:bytes-in-use:
   *
   * The memory of the buffers that are not in the pool, in bytes.
   *
   * Since: 1.0
   */
  props[PROP_BYTES_IN_USE] = count_property ("bytes-in-use");

  /**
   * ZcioBufferPool:peak-bytes-in-use:
   *
   * The most that #ZcioBufferPool:bytes-in-use has been.
   *
   * Since: 1.0
   */
  props[PROP_PEAK_BYTES_IN_USE] = count_property ("peak-bytes-in-use");

  /**
   * ZcioBufferPool:n-acquired:
   *
   * How many buffers have been acquired so far.
   *
   * Since: 1.0
   */
  props[PROP_N_ACQUIRED] = count_property ("n-acquired");

  /**
   * ZcioBufferPool:n-recycled:
   *
   * How many of #ZcioBufferPool:n-acquired had been in use before.
   *
   * Since: 1.0
   */
  props[PROP_N_RECYCLED] = count_property ("n-recycled");

  /**
   * ZcioBufferPool:huge-pages:
   *
   * Whether memory of the pool is on huge pages, or the kernel has been asked for
   * them and may give them. It is %FALSE before the first buffer has been acquired.
   *
   * Since: 1.0
   */
  props[PROP_HUGE_PAGES] =
    g_param_spec_boolean ("huge-pages", NULL, NULL, FALSE,
                          G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  g_object_class_install_properties (object_class, N_PROPS, props);
}

static void
zcio_buffer_pool_init (ZcioBufferPool *self)
{
}

/**
 * zcio_buffer_pool_new:
 * @buffer_size: the size of each buffer, in bytes; not 0
 *
 * Creates a pool of buffers. It allocates nothing before the first is acquired.
 *
 * A size that is not a multiple of the page size wastes the rest of the last page.
 *
 * Returns: (transfer full): a new #ZcioBufferPool
 *
 * Since: 1.0
 */
ZcioBufferPool *
zcio_buffer_pool_new (gsize buffer_size)
{
  g_return_val_if_fail (buffer_size > 0, NULL);
  g_return_val_if_fail (buffer_size <= ZCIO_BUFFER_STORE_MAX_BUFFER_SIZE, NULL);

  return g_object_new (ZCIO_TYPE_BUFFER_POOL, "buffer-size", (guint64) buffer_size, NULL);
}

/**
 * zcio_buffer_pool_get_buffer_size:
 * @pool: a #ZcioBufferPool
 *
 * Gets the size of each buffer.
 *
 * Returns: the size in bytes
 *
 * Since: 1.0
 */
gsize
zcio_buffer_pool_get_buffer_size (ZcioBufferPool *pool)
{
  g_return_val_if_fail (ZCIO_IS_BUFFER_POOL (pool), 0);

  return (gsize) pool->buffer_size;
}

/**
 * zcio_buffer_pool_set_max_bytes:
 * @pool: a #ZcioBufferPool
 * @max_bytes: the most memory to have from the system, in bytes; 0 for no limit
 *
 * Sets #ZcioBufferPool:max-bytes. Memory beyond it that is not in use goes back to
 * the system at once, the rest when it is back.
 *
 * Since: 1.0
 */
void
zcio_buffer_pool_set_max_bytes (ZcioBufferPool *pool,
                                guint64 max_bytes)
{
  g_return_if_fail (ZCIO_IS_BUFFER_POOL (pool));

  if (zcio_buffer_store_set_max_bytes (pool->store, max_bytes))
    g_object_notify_by_pspec (G_OBJECT (pool), props[PROP_MAX_BYTES]);
}

/* Any of the numbers is read with a lock, so that it never was half written. */
static ZcioBufferStoreState
get_state (ZcioBufferPool *pool)
{
  ZcioBufferStoreState state;

  zcio_buffer_store_get_state (pool->store, &state);

  return state;
}

/**
 * zcio_buffer_pool_get_max_bytes:
 * @pool: a #ZcioBufferPool
 *
 * Gets #ZcioBufferPool:max-bytes.
 *
 * Returns: the most memory to have from the system, in bytes, or 0 for no limit
 *
 * Since: 1.0
 */
guint64
zcio_buffer_pool_get_max_bytes (ZcioBufferPool *pool)
{
  g_return_val_if_fail (ZCIO_IS_BUFFER_POOL (pool), 0);

  return get_state (pool).max_bytes;
}

/**
 * zcio_buffer_pool_get_bytes_allocated:
 * @pool: a #ZcioBufferPool
 *
 * Gets #ZcioBufferPool:bytes-allocated. It is never less than what is in use, and
 * counts in steps of some MiB.
 *
 * Returns: the memory that the pool has from the system, in bytes
 *
 * Since: 1.0
 */
guint64
zcio_buffer_pool_get_bytes_allocated (ZcioBufferPool *pool)
{
  g_return_val_if_fail (ZCIO_IS_BUFFER_POOL (pool), 0);

  return get_state (pool).bytes_allocated;
}

/**
 * zcio_buffer_pool_get_bytes_in_use:
 * @pool: a #ZcioBufferPool
 *
 * Gets #ZcioBufferPool:bytes-in-use. A buffer counts with the whole pages that it
 * takes up, however little of it is used.
 *
 * Returns: the memory of the buffers that are not in the pool, in bytes
 *
 * Since: 1.0
 */
guint64
zcio_buffer_pool_get_bytes_in_use (ZcioBufferPool *pool)
{
  g_return_val_if_fail (ZCIO_IS_BUFFER_POOL (pool), 0);

  return get_state (pool).bytes_in_use;
}

/**
 * zcio_buffer_pool_get_peak_bytes_in_use:
 * @pool: a #ZcioBufferPool
 *
 * Gets #ZcioBufferPool:peak-bytes-in-use.
 *
 * Returns: the most memory that was in use at the same time, in bytes
 *
 * Since: 1.0
 */
guint64
zcio_buffer_pool_get_peak_bytes_in_use (ZcioBufferPool *pool)
{
  g_return_val_if_fail (ZCIO_IS_BUFFER_POOL (pool), 0);

  return get_state (pool).peak_bytes_in_use;
}

/**
 * zcio_buffer_pool_get_n_acquired:
 * @pool: a #ZcioBufferPool
 *
 * Gets #ZcioBufferPool:n-acquired.
 *
 * Returns: how many buffers have been acquired so far
 *
 * Since: 1.0
 */
guint64
zcio_buffer_pool_get_n_acquired (ZcioBufferPool *pool)
{
  g_return_val_if_fail (ZCIO_IS_BUFFER_POOL (pool), 0);

  return get_state (pool).n_acquired;
}

/**
 * zcio_buffer_pool_get_n_recycled:
 * @pool: a #ZcioBufferPool
 *
 * Gets #ZcioBufferPool:n-recycled.
 *
 * Returns: how many of the acquired buffers had been in use before
 *
 * Since: 1.0
 */
guint64
zcio_buffer_pool_get_n_recycled (ZcioBufferPool *pool)
{
  g_return_val_if_fail (ZCIO_IS_BUFFER_POOL (pool), 0);

  return get_state (pool).n_recycled;
}

/**
 * zcio_buffer_pool_get_huge_pages:
 * @pool: a #ZcioBufferPool
 *
 * Gets #ZcioBufferPool:huge-pages.
 *
 * Returns: %TRUE if the pool has memory that is, or may be, on huge pages
 *
 * Since: 1.0
 */
gboolean
zcio_buffer_pool_get_huge_pages (ZcioBufferPool *pool)
{
  g_return_val_if_fail (ZCIO_IS_BUFFER_POOL (pool), FALSE);

  return get_state (pool).huge_pages;
}

/**
 * zcio_buffer_pool_acquire:
 * @pool: a #ZcioBufferPool
 * @error: return location for a #GError, or %NULL
 *
 * Takes a buffer from the pool, or new memory from the system if there is none. It
 * never waits. What is in the buffer is undefined: it may be what an earlier user has
 * left.
 *
 * Fails with %G_IO_ERROR_NO_SPACE if the buffers that are in use leave no room within
 * #ZcioBufferPool:max-bytes; a stream may hold them, and zcio_socket_stream_reap() or
 * zcio_socket_stream_drain() brings them back. The same code says that the system has
 * no memory, which is the only way to fail for a pool without a limit.
 *
 * Returns: (transfer full): a #ZcioBuffer, or %NULL on error
 *
 * Since: 1.0
 */
ZcioBuffer *
zcio_buffer_pool_acquire (ZcioBufferPool *pool,
                          GError **error)
{
  g_return_val_if_fail (ZCIO_IS_BUFFER_POOL (pool), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return zcio_buffer_store_acquire (pool->store, error);
}

/**
 * zcio_buffer_pool_trim:
 * @pool: a #ZcioBufferPool
 *
 * Gives memory that is not in use back to the system, as far as it is not on the
 * same huge page as memory that is.
 *
 * Since: 1.0
 */
void
zcio_buffer_pool_trim (ZcioBufferPool *pool)
{
  g_return_if_fail (ZCIO_IS_BUFFER_POOL (pool));

  zcio_buffer_store_trim (pool->store);
}
