/* zcio-buffer.c - a buffer of a pool, while it is written to
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-buffer-pool.h"

#include "zcio-buffer-store-private.h"

#include <string.h>

G_DEFINE_BOXED_TYPE (ZcioBuffer, zcio_buffer, zcio_buffer_ref, zcio_buffer_unref)

/**
 * zcio_buffer_ref:
 * @buffer: a #ZcioBuffer
 *
 * Adds a reference.
 *
 * Returns: (transfer full): @buffer
 *
 * Since: 1.0
 */
ZcioBuffer *
zcio_buffer_ref (ZcioBuffer *buffer)
{
  g_return_val_if_fail (buffer != NULL, NULL);

  g_atomic_ref_count_inc (&buffer->ref_count);

  return buffer;
}

/**
 * zcio_buffer_unref:
 * @buffer: (transfer full): a #ZcioBuffer
 *
 * Drops a reference. With the last one, that of the #GBytes of
 * zcio_buffer_to_bytes() included, the buffer goes back to its pool.
 *
 * Since: 1.0
 */
void
zcio_buffer_unref (ZcioBuffer *buffer)
{
  g_return_if_fail (buffer != NULL);

  if (g_atomic_ref_count_dec (&buffer->ref_count))
    zcio_buffer_store_take_back (buffer);
}

/**
 * zcio_buffer_get_size:
 * @buffer: a #ZcioBuffer
 *
 * Gets the size of the buffer: #ZcioBufferPool:buffer-size.
 *
 * Returns: the size in bytes
 *
 * Since: 1.0
 */
gsize
zcio_buffer_get_size (ZcioBuffer *buffer)
{
  g_return_val_if_fail (buffer != NULL, 0);

  return zcio_buffer_store_get_size (buffer);
}

/**
 * zcio_buffer_get_data:
 * @buffer: a #ZcioBuffer
 * @size: (out) (optional): return location for its size in bytes, or %NULL
 *
 * Gets the memory of the buffer, which begins at a page. It may be written to until
 * zcio_buffer_to_bytes() is called, after which this function must not be called any
 * more.
 *
 * In languages that copy arrays on their way from C, what is written to the copy is
 * lost: see zcio_buffer_get_address() and zcio_buffer_set_contents().
 *
 * Returns: (transfer none) (array length=size) (element-type guint8): the memory
 *
 * Since: 1.0
 */
gpointer
zcio_buffer_get_data (ZcioBuffer *buffer,
                      gsize *size)
{
  if (size != NULL)
    *size = 0;

  g_return_val_if_fail (buffer != NULL, NULL);
  g_return_val_if_fail (!g_atomic_int_get (&buffer->converted), NULL);

  if (size != NULL)
    *size = zcio_buffer_store_get_size (buffer);

  return buffer->data;
}

/**
 * zcio_buffer_get_address:
 * @buffer: a #ZcioBuffer
 *
 * Gets where the memory of the buffer begins, as a number: zcio_buffer_get_data() for
 * languages that copy arrays on their way from C. They can make a writable view of
 * zcio_buffer_get_size() bytes at this address, and must drop that view before
 * zcio_buffer_to_bytes() is called:
 *
 * |[<!-- language="Python" -->
 * memory = (ctypes.c_char * buffer.get_size ()).from_address (buffer.get_address ())
 * n = file.readinto (memory)
 * data = buffer.to_bytes (n)
 * ]|
 *
 * Returns: the address
 *
 * Since: 1.0
 */
guintptr
zcio_buffer_get_address (ZcioBuffer *buffer)
{
  return (guintptr) zcio_buffer_get_data (buffer, NULL);
}

/**
 * zcio_buffer_set_contents:
 * @buffer: a #ZcioBuffer
 * @offset: where to begin, in bytes from the beginning of the buffer
 * @data: (array length=size) (element-type guint8): what to copy
 * @size: how many bytes; they must fit
 *
 * Copies into the buffer: for languages that cannot write to memory themselves.
 *
 * Since: 1.0
 */
void
zcio_buffer_set_contents (ZcioBuffer *buffer,
                          gsize offset,
                          gconstpointer data,
                          gsize size)
{
  gsize buffer_size;
  guint8 *memory;

  memory = zcio_buffer_get_data (buffer, &buffer_size);
  if (memory == NULL)
    return;

  g_return_if_fail (offset <= buffer_size && size <= buffer_size - offset);
  g_return_if_fail (data != NULL || size == 0);

  if (size > 0)
    memcpy (memory + offset, data, size);
}

/**
 * zcio_buffer_to_bytes:
 * @buffer: a #ZcioBuffer
 * @size: how many bytes; not more than zcio_buffer_get_size()
 *
 * Makes a #GBytes of the first @size bytes, without a copy.
 *
 * It can be called only once for a buffer, and afterwards nothing may be written to
 * the memory any more. The #GBytes holds a reference to @buffer, so it is fine, and
 * wise, to drop one's own.
 *
 * Returns: (transfer full): a new #GBytes
 *
 * Since: 1.0
 */
GBytes *
zcio_buffer_to_bytes (ZcioBuffer *buffer,
                      gsize size)
{
  gboolean first;

  g_return_val_if_fail (buffer != NULL, NULL);
  g_return_val_if_fail (size <= zcio_buffer_store_get_size (buffer), NULL);

  first = g_atomic_int_compare_and_exchange (&buffer->converted, FALSE, TRUE);
  g_return_val_if_fail (first, NULL);

  zcio_buffer_store_seal (buffer);

  return g_bytes_new_with_free_func (buffer->data, size, (GDestroyNotify) zcio_buffer_unref,
                                     zcio_buffer_ref (buffer));
}
