/* zcio-send-request.c - a write on its way: its parts, and how far it has come
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-send-request-private.h"

#include "zcio-words-private.h"

/* The vectors of GIO are handed to the kernel as they are. */
G_STATIC_ASSERT (sizeof (GOutputVector) == sizeof (struct iovec));
G_STATIC_ASSERT (G_STRUCT_OFFSET (GOutputVector, buffer) == G_STRUCT_OFFSET (struct iovec, iov_base));
G_STATIC_ASSERT (G_STRUCT_OFFSET (GOutputVector, size) == G_STRUCT_OFFSET (struct iovec, iov_len));

gboolean
zcio_send_request_fail_too_large (const char  *function,
                                  GError     **error)
{
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               ZCIO_GIO_ (TOO_MUCH_VECTORS), function);
  return FALSE;
}

/* Returns whether the sum is one that a gssize can tell. */
static inline gboolean
add_size (ZcioSendRequest *request,
          gsize            size)
{
  request->size += size;
  request->smallest = MIN (request->smallest, size);

  return size <= (gsize) G_MAXSSIZE && request->size <= (gsize) G_MAXSSIZE;
}

gboolean
zcio_send_request_init_buffers (ZcioSendRequest  *request,
                                GBytes *const    *buffers,
                                gsize             n_buffers,
                                GError          **error)
{
  if (n_buffers == 1)
    return zcio_send_request_init_buffer (request, buffers, error);

  zcio_send_request_clear (request);
  request->buffers = buffers;
  request->n = n_buffers;
  request->zero_copy = TRUE;

  for (gsize i = 0; i < n_buffers; i++)
    if (!add_size (request, g_bytes_get_size (buffers[i])))
      return zcio_send_request_fail_too_large ("writev_zerocopy", error);

  return TRUE;
}

gboolean
zcio_send_request_init_vectors (ZcioSendRequest      *request,
                                const GOutputVector  *vectors,
                                gsize                 n_vectors,
                                gboolean              zero_copy,
                                GError              **error)
{
  zcio_send_request_clear (request);
  request->vectors = vectors;
  request->n = n_vectors;
  request->zero_copy = zero_copy;

  for (gsize i = 0; i < n_vectors; i++)
    if (!add_size (request, vectors[i].size))
      return zcio_send_request_fail_too_large (zero_copy ? "writev_zerocopy_full" : "g_output_stream_writev",
                                               error);

  return TRUE;
}

static inline gconstpointer
get_part (const ZcioSendRequest *request,
          gsize                  index,
          gsize                 *size)
{
  if (request->vectors == NULL)
    return g_bytes_get_data (request->buffers[index], size);

  *size = request->vectors[index].size;
  return request->vectors[index].buffer;
}

void
zcio_send_request_gather (const ZcioSendRequest *request,
                          struct iovec          *vectors,
                          gsize                  max_vectors,
                          gsize                  max_size,
                          ZcioSendParts         *parts)
{
  gsize index = request->index;
  gsize offset = request->offset;
  gsize n = 0;
  gsize left = max_size;

  if (request->vectors != NULL && offset == 0 && request->n - index <= max_vectors &&
      request->size - request->written <= max_size)
    {
      *parts = (ZcioSendParts) {
        .vectors = (struct iovec *) (request->vectors + index),
        .n = request->n - index,
        .size = request->size - request->written,
        .index = request->n,
      };
      return;
    }

  while (index < request->n && n < max_vectors && left > 0)
    {
      gsize size;
      const guint8 *data = get_part (request, index, &size);
      gsize rest = size - offset;
      gsize taken = MIN (rest, left);

      if (taken > 0)
        {
          vectors[n].iov_base = (gpointer) (data + offset);
          vectors[n].iov_len = taken;
          n++;
          left -= taken;
        }

      if (taken < rest)
        {
          offset += taken;
          break;
        }
      offset = 0;
      index++;
    }

  *parts = (ZcioSendParts) {
    .vectors = vectors,
    .n = n,
    .size = max_size - left,
    .index = index,
    .offset = offset,
  };
}

void
zcio_send_request_find_place (const ZcioSendRequest *request,
                              gsize                  accepted,
                              gsize                 *index,
                              gsize                 *offset)
{
  gsize size;

  *index = request->index;
  *offset = request->offset + accepted;

  for (get_part (request, *index, &size); *offset >= size; get_part (request, *index, &size))
    {
      *offset -= size;
      (*index)++;
    }
}

void
zcio_send_request_release (ZcioSendRequest *request)
{
  GDestroyNotify release = g_steal_pointer (&request->release);

  if (release != NULL)
    release (request->release_data);
}
