/* zcio-send-request-private.h - a write on its way: its parts, and how far it has come
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

#include "zcio-send-window-private.h"

G_BEGIN_DECLS

/*
 * ZcioSendRequest:
 * @vectors: what to send; NULL where there are several @buffers
 * @buffers: who owns what is sent, or NULL
 * @n: how many vectors or buffers
 * @only: what @vectors is, where there is one buffer
 * @keep_off: user space must not touch the memory: it is of a mapped file, which may shrink
 * @zero_copy: whether the memory is owned, so that it may go by zero-copy
 * @size: bytes of all of them
 * @smallest: bytes of the smallest
 * @written: bytes accepted so far
 * @index: the vector or buffer that is next
 * @offset: bytes of it that were accepted
 * @owned: buffers before this one have a reference in @write
 * @write: set while sends of the request may be in flight
 * @wants_window: it would block not on the socket, but because too much is in flight
 * @tried: a send of all of it was just tried, and came to @tried_result and @tried_errno: that is
 *   seen to before the lock is given up
 * @error_number: the errno with which it failed
 *
 * A write on its way. It must not be moved. The vectors' or buffers' array must stay as it is
 * until the request has ended; the memory itself until it has been released.
 */
typedef struct
{
  const GOutputVector *vectors;
  GBytes *const *buffers;
  gsize n;
  GOutputVector only;
  gboolean zero_copy;
  gboolean keep_off;
  GDestroyNotify release;
  gpointer release_data;

  gsize size;
  gsize smallest;
  gsize written;
  gsize index;
  gsize offset;
  gsize owned;
  ZcioWrite *write;
  gboolean wants_window;
  gboolean tried;
  gssize tried_result;
  int tried_errno;
  int error_number;
} ZcioSendRequest;

/*
 * ZcioSendParts:
 * @vectors: what one system call is asked to take
 * @n: how many of them
 * @size: their bytes
 * @index: the vector or buffer of the request that is next when all of it was accepted
 * @offset: how far in that
 */
typedef struct
{
  struct iovec *vectors;
  gsize n;
  gsize size;
  gsize index;
  gsize offset;
} ZcioSendParts;

/* All fail with G_IO_ERROR_INVALID_ARGUMENT if the sum is beyond G_MAXSSIZE. */
gboolean zcio_send_request_init_buffers (ZcioSendRequest      *request,
                                         GBytes *const        *buffers,
                                         gsize                 n_buffers,
                                         GError              **error);
gboolean zcio_send_request_init_vectors (ZcioSendRequest      *request,
                                         const GOutputVector  *vectors,
                                         gsize                 n_vectors,
                                         gboolean              zero_copy,
                                         GError              **error);

/* Sets the error that they fail with, in the name of @function. Returns FALSE. */
gboolean zcio_send_request_fail_too_large (const char         *function,
                                         GError              **error);

/* Field by field: a whole struct the compiler clears by an instruction that takes long to start. */
static inline void
zcio_send_request_clear (ZcioSendRequest *request)
{
  request->vectors = NULL;
  request->buffers = NULL;
  request->n = 0;
  request->zero_copy = FALSE;
  request->keep_off = FALSE;
  request->release = NULL;
  request->release_data = NULL;
  request->size = 0;
  request->smallest = G_MAXSIZE;
  request->written = 0;
  request->index = 0;
  request->offset = 0;
  request->owned = 0;
  request->write = NULL;
  request->wants_window = FALSE;
  request->tried = FALSE;
  request->error_number = 0;
}

static inline gboolean
zcio_send_request_init_buffer (ZcioSendRequest  *request,
                               GBytes *const    *buffer,
                               GError          **error)
{
  zcio_send_request_clear (request);
  request->vectors = &request->only;
  request->buffers = buffer;
  request->n = 1;
  request->zero_copy = TRUE;
  request->only.buffer = g_bytes_get_data (*buffer, &request->only.size);
  request->size = request->smallest = request->only.size;

  return G_LIKELY (request->size <= (gsize) G_MAXSSIZE) ||
         zcio_send_request_fail_too_large ("writev_zerocopy", error);
}

/* What comes next, at most @max_size bytes in at most @max_vectors pieces. They are put into
 * @vectors, unless the request has them as they are needed.
 */
void     zcio_send_request_gather       (const ZcioSendRequest *request,
                                         struct iovec          *vectors,
                                         gsize                  max_vectors,
                                         gsize                  max_size,
                                         ZcioSendParts         *parts);
/* Where the request goes on after so many bytes, fewer than it has. */
void     zcio_send_request_find_place   (const ZcioSendRequest *request,
                                         gsize                  accepted,
                                         gsize                 *index,
                                         gsize                 *offset);
/* The write, which must be there, becomes an owner of all parts before @end. */
static inline void
zcio_send_request_own (ZcioSendRequest *request,
                       gsize            end)
{
  if (request->buffers != NULL)
    {
      for (gsize i = MAX (request->owned, request->index); i < end; i++)
        zcio_write_add_bytes (request->write, request->buffers[i]);
      request->owned = MAX (request->owned, end);
    }
  else if (request->owned == 0)
    {
      zcio_write_set_release (request->write, g_steal_pointer (&request->release),
                              request->release_data);
      request->owned = request->n;
    }
}

/* The kernel has accepted so much of @parts. If it reads that in place, the request's write
 * owns each buffer that was touched.
 */
static inline void
zcio_send_request_accepted (ZcioSendRequest     *request,
                            const ZcioSendParts *parts,
                            gsize                accepted,
                            gboolean             in_place)
{
  gsize index = parts->index;
  gsize offset = parts->offset;

  if (G_UNLIKELY (accepted < parts->size))
    zcio_send_request_find_place (request, accepted, &index, &offset);
  if (in_place)
    zcio_send_request_own (request, offset > 0 ? index + 1 : index);

  request->written += accepted;
  request->index = index;
  request->offset = offset;
}

/* Vectors of which nothing went by zero-copy are the caller's again. */
void     zcio_send_request_release      (ZcioSendRequest       *request);

G_END_DECLS
