/* zcio-stream-write.c - the writes of GOutputStream, which copy
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-stream-write-private.h"

#include "zcio-operation-private.h"
#include "zcio-send-private.h"
#include "zcio-socket-stream-private.h"
#include "zcio-wait-private.h"
#include "zcio-words-private.h"

/* Virtual functions are only called for streams of the class, so no cast is checked. */

static gssize
send_copy (ZcioSocketStream     *self,
           const struct msghdr  *message,
           gboolean              is_data,
           gboolean              blocking,
           GCancellable         *cancellable,
           GError              **error)
{
  ZcioTransmitter *transmitter = self->transmitter;
  GSocket *socket = self->socket;

  while (TRUE)
    {
      GError *local_error = NULL;
      gssize n;

      if (!zcio_send_check (transmitter, socket, cancellable, error))
        return -1;

      n = zcio_transmitter_send_copy (transmitter, socket, message, is_data, &local_error);
      if (n >= 0)
        return n;

      if (!blocking || !g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
        {
          g_propagate_error (error, local_error);
          return -1;
        }

      g_clear_error (&local_error);
      if (!zcio_wait (transmitter, socket, ZCIO_WAIT_WRITABLE, 0, cancellable, error))
        return -1;
    }
}

static gssize
write_data (GOutputStream  *stream,
            const void     *buffer,
            gsize           count,
            gboolean        blocking,
            GCancellable   *cancellable,
            GError        **error)
{
  struct iovec vector = { .iov_base = (gpointer) buffer, .iov_len = count };
  struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

  return send_copy ((ZcioSocketStream *) stream, &message, TRUE, blocking, cancellable, error);
}

/* More vectors than the kernel takes are a short write, as with GIO's stream. */
static gssize
write_vectors (GOutputStream        *stream,
               const GOutputVector  *vectors,
               gsize                 n_vectors,
               gboolean              blocking,
               GCancellable         *cancellable,
               GError              **error)
{
  struct msghdr message = {
    .msg_iov = (struct iovec *) vectors,
    .msg_iovlen = MIN (n_vectors, ZCIO_MAX_SEND_VECTORS),
  };

  return send_copy ((ZcioSocketStream *) stream, &message, FALSE, blocking, cancellable, error);
}

static gssize
stream_write (GOutputStream  *stream,
              const void     *buffer,
              gsize           count,
              GCancellable   *cancellable,
              GError        **error)
{
  return write_data (stream, buffer, count, TRUE, cancellable, error);
}

static gboolean
stream_writev (GOutputStream        *stream,
               const GOutputVector  *vectors,
               gsize                 n_vectors,
               gsize                *bytes_written,
               GCancellable         *cancellable,
               GError              **error)
{
  gssize n = write_vectors (stream, vectors, n_vectors, TRUE, cancellable, error);

  if (bytes_written != NULL)
    *bytes_written = MAX (n, 0);

  return n >= 0;
}

static void
stream_write_async (GOutputStream       *stream,
                    const void          *buffer,
                    gsize                count,
                    int                  io_priority,
                    GCancellable        *cancellable,
                    GAsyncReadyCallback  callback,
                    gpointer             user_data)
{
  GOutputVector vector = { buffer, count };

  /* The caller of the virtual function has set the pending flag. */
  zcio_operation_write ((ZcioSocketStream *) stream, &vector, 1, FALSE, io_priority, cancellable,
                        callback, user_data, stream_write_async);
}

static gssize
stream_write_finish (GOutputStream  *stream,
                     GAsyncResult   *result,
                     GError        **error)
{
  gsize bytes_written;

  g_return_val_if_fail (zcio_operation_is_valid (result, stream, stream_write_async), -1);

  return zcio_operation_finish (result, &bytes_written, error) ? (gssize) bytes_written : -1;
}

static void
stream_writev_async (GOutputStream       *stream,
                     const GOutputVector *vectors,
                     gsize                n_vectors,
                     int                  io_priority,
                     GCancellable        *cancellable,
                     GAsyncReadyCallback  callback,
                     gpointer             user_data)
{
  zcio_operation_write ((ZcioSocketStream *) stream, vectors, n_vectors, TRUE, io_priority,
                        cancellable, callback, user_data, stream_writev_async);
}

static gboolean
stream_writev_finish (GOutputStream  *stream,
                      GAsyncResult   *result,
                      gsize          *bytes_written,
                      GError        **error)
{
  g_return_val_if_fail (zcio_operation_is_valid (result, stream, stream_writev_async), FALSE);

  return zcio_operation_finish (result, bytes_written, error);
}

/* GPollableOutputStream */

static gboolean
set_closed_error (GPollableOutputStream  *pollable,
                  GError                **error)
{
  if (!g_output_stream_is_closed ((GOutputStream *) pollable))
    return FALSE;

  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CLOSED, ZCIO_GIO_ (STREAM_CLOSED));
  return TRUE;
}

static gboolean
stream_is_writable (GPollableOutputStream *pollable)
{
  ZcioSocketStream *self = (ZcioSocketStream *) pollable;

  return zcio_wait_is_writable (self->transmitter,
                                self->socket);
}

static GSource *
stream_create_source (GPollableOutputStream *pollable,
                      GCancellable          *cancellable)
{
  ZcioSocketStream *self = (ZcioSocketStream *) pollable;
  g_autoptr (GSource) child =
    zcio_wait_source_new (self->transmitter,
                          self->socket, ZCIO_WAIT_WRITABLE, 0, NULL);

  return g_pollable_source_new_full (self, child, cancellable);
}

static gssize
stream_write_nonblocking (GPollableOutputStream  *pollable,
                          const void             *buffer,
                          gsize                   count,
                          GError                **error)
{
  if (set_closed_error (pollable, error))
    return -1;

  return write_data ((GOutputStream *) pollable, buffer, count, FALSE, NULL, error);
}

static GPollableReturn
stream_writev_nonblocking (GPollableOutputStream  *pollable,
                           const GOutputVector    *vectors,
                           gsize                   n_vectors,
                           gsize                  *bytes_written,
                           GError                **error)
{
  GError *local_error = NULL;
  gssize n = -1;

  if (bytes_written != NULL)
    *bytes_written = 0;

  if (!set_closed_error (pollable, &local_error))
    n = write_vectors ((GOutputStream *) pollable, vectors, n_vectors, FALSE, NULL, &local_error);
  if (n >= 0)
    {
      if (bytes_written != NULL)
        *bytes_written = n;
      return G_POLLABLE_RETURN_OK;
    }

  if (g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    {
      g_clear_error (&local_error);
      return G_POLLABLE_RETURN_WOULD_BLOCK;
    }

  g_propagate_error (error, local_error);
  return G_POLLABLE_RETURN_FAILED;
}

void
zcio_stream_write_init_pollable (GPollableOutputStreamInterface *iface)
{
  iface->is_writable = stream_is_writable;
  iface->create_source = stream_create_source;
  iface->write_nonblocking = stream_write_nonblocking;
  iface->writev_nonblocking = stream_writev_nonblocking;
}

void
zcio_stream_write_init_class (GOutputStreamClass *klass)
{
  klass->write_fn = stream_write;
  klass->writev_fn = stream_writev;
  klass->write_async = stream_write_async;
  klass->write_finish = stream_write_finish;
  klass->writev_async = stream_writev_async;
  klass->writev_finish = stream_writev_finish;
}
