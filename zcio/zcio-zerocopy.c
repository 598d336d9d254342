/* zcio-zerocopy.c - the calls of a stream that GOutputStream does not have
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-socket-stream-private.h"

#include "zcio-operation-private.h"
#include "zcio-send-private.h"
#include "zcio-wait-private.h"
#include "zcio-words-private.h"

static gboolean
are_buffers (GBytes *const *buffers,
             gsize          n_buffers)
{
  for (gsize i = 0; i < n_buffers; i++)
    if (buffers[i] == NULL)
      return FALSE;

  return TRUE;
}

/* Waits for what held a request up. */
static G_NO_INLINE gboolean
wait_for_request (ZcioTransmitter        *transmitter,
                  GSocket                *socket,
                  const ZcioSendRequest  *request,
                  GCancellable           *cancellable,
                  GError                **error)
{
  if (!request->wants_window)
    return zcio_wait (transmitter, socket, ZCIO_WAIT_WRITABLE, 0, cancellable, error);

  return zcio_wait (transmitter, socket, ZCIO_WAIT_IN_FLIGHT,
                    zcio_transmitter_get_room (transmitter), cancellable, error);
}

/* A buffer that is certainly copied does without the lock, and costs no more than with GIO's
 * own stream.
 */
static G_NO_INLINE ZcioSendResult
try_copy (ZcioSocketStream  *stream,
          ZcioSendRequest   *request,
          GError           **error)
{
  GError *local_error = NULL;
  struct msghdr message = { .msg_iov = (struct iovec *) request->vectors, .msg_iovlen = 1 };
  gssize n;

  n = zcio_transmitter_send_copy (stream->transmitter, stream->socket, &message, FALSE, &local_error);
  if (n < 0 && !g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    {
      g_propagate_error (error, local_error);
      return ZCIO_SEND_FAILED;
    }

  g_clear_error (&local_error);
  request->written = request->offset = MAX (n, 0);
  return request->written == request->size ? ZCIO_SEND_DONE : ZCIO_SEND_WOULD_BLOCK;
}

/* Sends what the socket takes at once. */
static inline ZcioSendResult
send_once (ZcioSocketStream  *stream,
           ZcioSendRequest   *request,
           GError           **error)
{
  if (request->n == 1 && request->buffers != NULL && request->size > 0 && request->written == 0 &&
      zcio_transmitter_will_copy (stream->transmitter, request->size))
    return try_copy (stream, request, error);

  return zcio_transmitter_send (stream->transmitter, stream->socket, request, error);
}

static inline gboolean
send_request (ZcioSocketStream  *stream,
              ZcioSendRequest   *request,
              GCancellable      *cancellable,
              GError           **error)
{
  ZcioTransmitter *transmitter = stream->transmitter;
  GSocket *socket = stream->socket;

  while (zcio_send_check (transmitter, socket, cancellable, error))
    {
      ZcioSendResult result = send_once (stream, request, error);

      if (G_LIKELY (result != ZCIO_SEND_WOULD_BLOCK))
        return result == ZCIO_SEND_DONE;

      if (!wait_for_request (transmitter, socket, request, cancellable, error))
        break;
    }

  /* What was accepted stays owned until the kernel has released it. */
  zcio_transmitter_end (transmitter, request);
  return FALSE;
}

static inline gboolean
write_request (ZcioSocketStream  *stream,
               ZcioSendRequest   *request,
               gsize             *bytes_written,
               GCancellable      *cancellable,
               GError           **error)
{
  gboolean result = FALSE;

  /* No cast is checked: the callers have. */
  if (g_output_stream_set_pending ((GOutputStream *) stream, error))
    {
      zcio_socket_stream_ensure_watch (stream);
      if (cancellable != NULL)
        g_cancellable_push_current (cancellable);
      result = send_request (stream, request, cancellable, error);
      if (cancellable != NULL)
        g_cancellable_pop_current (cancellable);
      g_output_stream_clear_pending ((GOutputStream *) stream);
    }
  else
    zcio_transmitter_end (stream->transmitter, request);

  if (bytes_written != NULL)
    *bytes_written = request->written;

  return result;
}

/**
 * zcio_socket_stream_write_zerocopy:
 * @stream: a stream
 * @buffer: what to send
 * @bytes_written: (out) (optional): how many bytes were accepted, also where the
 *   call fails
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Sends all of @buffer, without a copy where that pays. It returns when the kernel has
 * accepted the last byte. The stream holds a reference to @buffer until the kernel has
 * released its memory; until then its content must not change.
 *
 * It blocks while the peer does not keep up, at most for the timeout of the socket each
 * time (%G_IO_ERROR_TIMED_OUT). A cancelled call fails with %G_IO_ERROR_CANCELLED;
 * what was accepted by then is sent all the same. Where another operation is under way
 * it fails with %G_IO_ERROR_PENDING, and with %G_IO_ERROR_CLOSED on a closed stream.
 * Errors of the connection are those of g_socket_send(). It may be called in any thread,
 * in one at a time.
 *
 * Returns: %TRUE if all was accepted
 *
 * Since: 1.0
 */
gboolean
zcio_socket_stream_write_zerocopy (ZcioSocketStream  *stream,
                                   GBytes            *buffer,
                                   gsize             *bytes_written,
                                   GCancellable      *cancellable,
                                   GError           **error)
{
  ZcioSendRequest request;

  if (bytes_written != NULL)
    *bytes_written = 0;

  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), FALSE);
  g_return_val_if_fail (buffer != NULL, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (!zcio_send_request_init_buffer (&request, &buffer, error))
    return FALSE;

  return write_request (stream, &request, bytes_written, cancellable, error);
}

/**
 * zcio_socket_stream_writev_zerocopy:
 * @stream: a stream
 * @buffers: (array length=n_buffers): what to send, in this order
 * @n_buffers: how many buffers
 * @bytes_written: (out) (optional): how many bytes were accepted, also where the
 *   call fails
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Like zcio_socket_stream_write_zerocopy(), for several buffers. There may be any
 * number of them. If their sizes sum up to more than %G_MAXSSIZE, nothing is sent and
 * the call fails with %G_IO_ERROR_INVALID_ARGUMENT. The array @buffers is not used after
 * the call.
 *
 * Returns: %TRUE if all was accepted
 *
 * Since: 1.0
 */
gboolean
zcio_socket_stream_writev_zerocopy (ZcioSocketStream  *stream,
                                    GBytes           **buffers,
                                    gsize              n_buffers,
                                    gsize             *bytes_written,
                                    GCancellable      *cancellable,
                                    GError           **error)
{
  ZcioSendRequest request;

  if (bytes_written != NULL)
    *bytes_written = 0;

  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), FALSE);
  g_return_val_if_fail (buffers != NULL || n_buffers == 0, FALSE);
  g_return_val_if_fail (are_buffers (buffers, n_buffers), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (!zcio_send_request_init_buffers (&request, buffers, n_buffers, error))
    return FALSE;

  return write_request (stream, &request, bytes_written, cancellable, error);
}

/**
 * zcio_socket_stream_writev_zerocopy_full: (skip)
 * @stream: a stream
 * @vectors: (array length=n_vectors): what to send, in this order
 * @n_vectors: how many vectors
 * @release: (nullable): called when the memory is not read any more
 * @release_data: data for @release
 * @bytes_written: (out) (optional): how many bytes were accepted, also where the
 *   call fails
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Like zcio_socket_stream_writev_zerocopy(), for memory that has one owner and no
 * #GBytes. @release is called exactly once, whether the call succeeds or fails: when
 * the kernel has released all of the memory, in whichever thread learns of it; that
 * may be before the call returns. The array @vectors is not used after the call.
 *
 * Returns: %TRUE if all was accepted
 *
 * Since: 1.0
 */
gboolean
zcio_socket_stream_writev_zerocopy_full (ZcioSocketStream     *stream,
                                         const GOutputVector  *vectors,
                                         gsize                 n_vectors,
                                         GDestroyNotify        release,
                                         gpointer              release_data,
                                         gsize                *bytes_written,
                                         GCancellable         *cancellable,
                                         GError              **error)
{
  ZcioSendRequest request;

  if (bytes_written != NULL)
    *bytes_written = 0;

  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), FALSE);
  g_return_val_if_fail (vectors != NULL || n_vectors == 0, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (!zcio_send_request_init_vectors (&request, vectors, n_vectors, TRUE, error))
    {
      if (release != NULL)
        release (release_data);
      return FALSE;
    }

  request.release = release;
  request.release_data = release_data;
  return write_request (stream, &request, bytes_written, cancellable, error);
}

static GPollableReturn
send_nonblocking (ZcioSocketStream  *stream,
                  ZcioSendRequest   *request,
                  GCancellable      *cancellable,
                  GError           **error)
{
  ZcioSendResult result;
  GError *local_error = NULL;

  if (!zcio_send_check (stream->transmitter, stream->socket, cancellable, error))
    return G_POLLABLE_RETURN_FAILED;

  zcio_socket_stream_ensure_watch (stream);
  result = send_once (stream, request, &local_error);
  if (result == ZCIO_SEND_WOULD_BLOCK)
    zcio_transmitter_end (stream->transmitter, request);

  /* After bytes were accepted these are told of; the next call meets the error again. */
  if (request->written > 0 || result == ZCIO_SEND_DONE)
    {
      g_clear_error (&local_error);
      return G_POLLABLE_RETURN_OK;
    }

  if (result == ZCIO_SEND_WOULD_BLOCK)
    return G_POLLABLE_RETURN_WOULD_BLOCK;

  g_propagate_error (error, local_error);
  return G_POLLABLE_RETURN_FAILED;
}

/**
 * zcio_socket_stream_writev_zerocopy_nonblocking:
 * @stream: a stream
 * @buffers: (array length=n_buffers): what to send, in this order
 * @n_buffers: how many buffers
 * @bytes_written: (out) (optional): how many bytes were accepted
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Sends of @buffers what the socket takes at once, which may be only a part. The stream
 * holds references to those buffers of which a part was accepted, until the kernel has
 * released them.
 *
 * If nothing could be accepted, it returns %G_POLLABLE_RETURN_WOULD_BLOCK and sets no
 * error; g_pollable_output_stream_create_source() tells when to try again. This also
 * happens while #ZcioSocketStream:max-bytes-in-flight is reached. The errors are those of
 * zcio_socket_stream_writev_zerocopy().
 *
 * Returns: %G_POLLABLE_RETURN_OK if anything was accepted or there was nothing to
 *   send, %G_POLLABLE_RETURN_WOULD_BLOCK, or %G_POLLABLE_RETURN_FAILED with @error set
 *
 * Since: 1.0
 */
GPollableReturn
zcio_socket_stream_writev_zerocopy_nonblocking (ZcioSocketStream  *stream,
                                                GBytes           **buffers,
                                                gsize              n_buffers,
                                                gsize             *bytes_written,
                                                GCancellable      *cancellable,
                                                GError           **error)
{
  ZcioSendRequest request;
  GPollableReturn result;

  if (bytes_written != NULL)
    *bytes_written = 0;

  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), G_POLLABLE_RETURN_FAILED);
  g_return_val_if_fail (buffers != NULL || n_buffers == 0, G_POLLABLE_RETURN_FAILED);
  g_return_val_if_fail (are_buffers (buffers, n_buffers), G_POLLABLE_RETURN_FAILED);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), G_POLLABLE_RETURN_FAILED);
  g_return_val_if_fail (error == NULL || *error == NULL, G_POLLABLE_RETURN_FAILED);

  if (!zcio_send_request_init_buffers (&request, buffers, n_buffers, error) ||
      !g_output_stream_set_pending (G_OUTPUT_STREAM (stream), error))
    return G_POLLABLE_RETURN_FAILED;

  result = send_nonblocking (stream, &request, cancellable, error);
  g_output_stream_clear_pending (G_OUTPUT_STREAM (stream));
  if (bytes_written != NULL)
    *bytes_written = request.written;

  return result;
}

/**
 * zcio_socket_stream_writev_zerocopy_async:
 * @stream: a stream
 * @buffers: (array length=n_buffers): what to send, in this order
 * @n_buffers: how many buffers
 * @io_priority: the priority of the request
 * @cancellable: (nullable): a #GCancellable
 * @callback: (scope async) (closure user_data): called when all was accepted, or the
 *   call has failed
 * @user_data: data for @callback
 *
 * Like zcio_socket_stream_writev_zerocopy(), but does not block. @callback is called in
 * the thread's default main context when the kernel has *accepted* all bytes, not when
 * it has released them, so that the next write can follow at once: a few writes that so
 * follow each other may be called back in one turn of the loop.
 *
 * The array @buffers is not used after this call has returned.
 *
 * Since: 1.0
 */
void
zcio_socket_stream_writev_zerocopy_async (ZcioSocketStream    *stream,
                                          GBytes             **buffers,
                                          gsize                n_buffers,
                                          int                  io_priority,
                                          GCancellable        *cancellable,
                                          GAsyncReadyCallback  callback,
                                          gpointer             user_data)
{
  g_return_if_fail (ZCIO_IS_SOCKET_STREAM (stream));
  g_return_if_fail (buffers != NULL || n_buffers == 0);
  g_return_if_fail (are_buffers (buffers, n_buffers));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  zcio_operation_write_zerocopy (stream, buffers, n_buffers, io_priority, cancellable,
                                 callback, user_data,
                                 zcio_socket_stream_writev_zerocopy_async);
}

/**
 * zcio_socket_stream_writev_zerocopy_finish:
 * @stream: a stream
 * @result: what the callback was given
 * @bytes_written: (out) (optional): how many bytes were accepted, also where the
 *   operation failed
 * @error: return location for a #GError
 *
 * Finishes zcio_socket_stream_writev_zerocopy_async(), with the errors of
 * zcio_socket_stream_writev_zerocopy().
 *
 * Returns: %TRUE if all was accepted
 *
 * Since: 1.0
 */
gboolean
zcio_socket_stream_writev_zerocopy_finish (ZcioSocketStream  *stream,
                                           GAsyncResult      *result,
                                           gsize             *bytes_written,
                                           GError           **error)
{
  if (bytes_written != NULL)
    *bytes_written = 0;

  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), FALSE);
  g_return_val_if_fail (zcio_operation_is_valid (result, stream,
                                                 zcio_socket_stream_writev_zerocopy_async),
                        FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return zcio_operation_finish (result, bytes_written, error);
}

/**
 * zcio_socket_stream_reap:
 * @stream: a stream
 *
 * Reads the completions that have come in, and drops the references that they release.
 * It never blocks. Programs that run a main loop need not call it. May be called in any
 * thread.
 *
 * Returns: how many sends were released by this call
 *
 * Since: 1.0
 */
guint
zcio_socket_stream_reap (ZcioSocketStream *stream)
{
  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), 0);

  return zcio_transmitter_reap (zcio_socket_stream_get_transmitter (stream));
}

/**
 * zcio_socket_stream_drain:
 * @stream: a stream
 * @max_bytes_in_flight: how much may still be in flight, in bytes
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Waits until at most @max_bytes_in_flight bytes are in flight; with 0, until the kernel
 * has released everything. Released is not delivered: after a reset everything is.
 *
 * It fails with %G_IO_ERROR_TIMED_OUT if nothing is released for as long as the timeout of
 * the socket, with %G_IO_ERROR_CANCELLED, or, if the socket was closed, with
 * %G_IO_ERROR_CLOSED. The memory stays owned then. It is no write: it may be called in
 * any thread, also while a write is under way.
 *
 * Returns: %TRUE if no more is in flight
 *
 * Since: 1.0
 */
gboolean
zcio_socket_stream_drain (ZcioSocketStream  *stream,
                          guint64            max_bytes_in_flight,
                          GCancellable      *cancellable,
                          GError           **error)
{
  ZcioTransmitter *transmitter;
  guint64 sends;
  guint64 bytes;

  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;

  /* Most often there is nothing to wait for; but a source's check() may have read completions,
   * and left it to others to drop the references.
   */
  transmitter = zcio_socket_stream_get_transmitter (stream);
  zcio_transmitter_reap (transmitter);
  zcio_transmitter_get_in_flight (transmitter, &sends, &bytes);
  if (sends == 0)
    return TRUE;

  return zcio_wait (transmitter, stream->socket, ZCIO_WAIT_IN_FLIGHT,
                    max_bytes_in_flight, cancellable, error);
}

/**
 * zcio_socket_stream_drain_async:
 * @stream: a stream
 * @max_bytes_in_flight: how much may still be in flight, in bytes
 * @io_priority: the priority of the request
 * @cancellable: (nullable): a #GCancellable
 * @callback: (scope async) (closure user_data): called when no more is in flight, or the
 *   call has failed
 * @user_data: data for @callback
 *
 * Like zcio_socket_stream_drain(), but does not block. @callback is called in the
 * thread's default main context.
 *
 * Since: 1.0
 */
void
zcio_socket_stream_drain_async (ZcioSocketStream    *stream,
                                guint64              max_bytes_in_flight,
                                int                  io_priority,
                                GCancellable        *cancellable,
                                GAsyncReadyCallback  callback,
                                gpointer             user_data)
{
  g_return_if_fail (ZCIO_IS_SOCKET_STREAM (stream));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  zcio_operation_drain (stream, max_bytes_in_flight, io_priority, cancellable,
                        callback, user_data, zcio_socket_stream_drain_async);
}

/**
 * zcio_socket_stream_drain_finish:
 * @stream: a stream
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes zcio_socket_stream_drain_async(), with the errors of
 * zcio_socket_stream_drain().
 *
 * Returns: %TRUE if no more is in flight
 *
 * Since: 1.0
 */
gboolean
zcio_socket_stream_drain_finish (ZcioSocketStream  *stream,
                                 GAsyncResult      *result,
                                 GError           **error)
{
  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), FALSE);
  g_return_val_if_fail (zcio_operation_is_valid (result, stream, zcio_socket_stream_drain_async),
                        FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return zcio_operation_finish (result, NULL, error);
}

/**
 * zcio_socket_stream_abort:
 * @stream: a stream
 * @error: return location for a #GError
 *
 * Resets the connection, so that the kernel releases all memory at once: what the peer has
 * not received is lost. Only what waits in a queue of the network device is released a
 * little later. The stream and its socket remain to be closed; writes fail from now on.
 *
 * It fails with %G_IO_ERROR_CLOSED if the socket is closed. May be called in any thread.
 *
 * Returns: %TRUE if the connection was reset
 *
 * Since: 1.0
 */
gboolean
zcio_socket_stream_abort (ZcioSocketStream  *stream,
                          GError           **error)
{
  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return zcio_transmitter_abort (zcio_socket_stream_get_transmitter (stream), error);
}

/**
 * zcio_socket_stream_get_statistics:
 * @stream: a stream
 *
 * Tells what was done so far. May be called in any thread.
 *
 * Returns: (transfer full): a snapshot
 *
 * Since: 1.0
 */
ZcioStatistics *
zcio_socket_stream_get_statistics (ZcioSocketStream *stream)
{
  ZcioStatistics statistics;

  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), NULL);

  zcio_transmitter_get_statistics (zcio_socket_stream_get_transmitter (stream), &statistics);
  return zcio_statistics_copy (&statistics);
}

/**
 * zcio_socket_stream_describe:
 * @stream: a stream
 *
 * Tells in one line, in English, what the stream does with `…_zerocopy` writes at the
 * moment, and why. May be called in any thread.
 *
 * Returns: (transfer full): the line, without an end of line
 *
 * Since: 1.0
 */
char *
zcio_socket_stream_describe (ZcioSocketStream *stream)
{
  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), NULL);

  return zcio_transmitter_describe (zcio_socket_stream_get_transmitter (stream));
}
