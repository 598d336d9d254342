/* zcio-operation.c - an asynchronous operation of a stream, without a thread
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-operation-private.h"

#include <string.h>

#include "zcio-socket-stream-private.h"
#include "zcio-wait-private.h"
#include "zcio-words-private.h"

typedef enum
{
  OPERATION_WRITE,
  OPERATION_WRITE_ZEROCOPY,
  OPERATION_DRAIN
} Kind;

/* Most operations have few parts, which need no array of their own. */
#define N_INLINE 4

typedef struct
{
  Kind kind;
  ZcioTransmitter *transmitter;
  GSocket *socket;
  ZcioSendRequest request;
  guint64 max_bytes_in_flight;
  gboolean is_data;
  gboolean took_pending;
  GAsyncReadyCallback callback;
  gpointer user_data;

  GBytes **buffers;
  GBytes *inline_buffers[N_INLINE];
  GOutputVector *vectors;
  GOutputVector inline_vectors[N_INLINE];
} Operation;

static void
operation_free (gpointer data)
{
  Operation *operation = data;

  for (gsize i = 0; operation->buffers != NULL && i < operation->request.n; i++)
    g_bytes_unref (operation->buffers[i]);
  if (operation->buffers != operation->inline_buffers)
    g_free (operation->buffers);
  if (operation->vectors != operation->inline_vectors)
    g_free (operation->vectors);

  g_free (operation);
}

static void
on_task_ready (GObject      *object,
               GAsyncResult *result,
               gpointer      user_data)
{
  Operation *operation = g_task_get_task_data (G_TASK (result));

  if (operation->took_pending)
    {
      operation->took_pending = FALSE;
      g_output_stream_clear_pending (G_OUTPUT_STREAM (object));
    }

  if (operation->callback != NULL)
    operation->callback (object, result, operation->user_data);
}

static GTask *
operation_new (ZcioSocketStream     *stream,
               Kind                  kind,
               int                   io_priority,
               GCancellable         *cancellable,
               GAsyncReadyCallback   callback,
               gpointer              user_data,
               gpointer              source_tag,
               Operation           **operation)
{
  GTask *task = g_task_new (stream, cancellable, on_task_ready, NULL);

  *operation = g_new0 (Operation, 1);
  (*operation)->kind = kind;
  /* The task has a reference to the stream, which holds both. */
  (*operation)->transmitter = zcio_socket_stream_get_transmitter (stream);
  (*operation)->socket = stream->socket;
  (*operation)->callback = callback;
  (*operation)->user_data = user_data;

  /* The macro of this name would name the task as well, and the name be copied three times. */
  (g_task_set_source_tag) (task, source_tag);
  g_task_set_priority (task, io_priority);
  /* What was accepted is accepted: a late cancellation does not undo it. */
  g_task_set_check_cancellable (task, FALSE);
  g_task_set_task_data (task, *operation, operation_free);

  return task;
}

static gboolean operation_step (GTask *task);

static gboolean
on_wait_over (gboolean timed_out,
              gpointer user_data)
{
  GTask *task = user_data;
  Operation *operation = g_task_get_task_data (task);

  gboolean cancelled = g_cancellable_is_cancelled (g_task_get_cancellable (task));

  if (timed_out && !cancelled)
    {
      if (operation->kind == OPERATION_WRITE_ZEROCOPY)
        zcio_transmitter_end (operation->transmitter, &operation->request);
      g_task_return_new_error (task, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                               "%s", ZCIO_GIO_ (SOCKET_TIMED_OUT));
      g_object_unref (task);
      return G_SOURCE_REMOVE;
    }

  if (!operation->request.wants_window && !cancelled)
    zcio_transmitter_set_writable (operation->transmitter);
  if (operation_step (task))
    g_object_unref (task);

  return G_SOURCE_REMOVE;
}

static void
wait_for (GTask       *task,
          ZcioWaitFor  what,
          guint64      max_bytes)
{
  Operation *operation = g_task_get_task_data (task);
  g_autoptr (GSource) source =
    zcio_wait_source_new (operation->transmitter, operation->socket, what, max_bytes,
                          g_task_get_cancellable (task));

  g_task_attach_source (task, source, (GSourceFunc) (GCallback) on_wait_over);
}

static gboolean
step_write (GTask     *task,
            Operation *operation)
{
  struct msghdr message = {
    .msg_iov = (struct iovec *) operation->request.vectors,
    .msg_iovlen = MIN (operation->request.n, ZCIO_MAX_SEND_VECTORS),
  };
  GError *error = NULL;
  gssize n = 0;

  if (operation->request.n > 0)
    n = zcio_transmitter_send_copy (operation->transmitter, operation->socket, &message,
                                    operation->is_data, &error);
  if (n >= 0)
    {
      operation->request.written = n;
      g_task_return_boolean (task, TRUE);
      return TRUE;
    }

  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    {
      g_clear_error (&error);
      wait_for (task, ZCIO_WAIT_WRITABLE, 0);
      return FALSE;
    }

  g_task_return_error (task, error);
  return TRUE;
}

static gboolean
step_write_zerocopy (GTask     *task,
                     Operation *operation)
{
  GError *error = NULL;

  switch (zcio_transmitter_send (operation->transmitter, operation->socket,
                                 &operation->request, &error))
    {
    case ZCIO_SEND_DONE:
      g_task_return_boolean (task, TRUE);
      return TRUE;

    case ZCIO_SEND_WOULD_BLOCK:
      if (operation->request.wants_window)
        wait_for (task, ZCIO_WAIT_IN_FLIGHT, zcio_transmitter_get_room (operation->transmitter));
      else
        wait_for (task, ZCIO_WAIT_WRITABLE, 0);
      return FALSE;

    case ZCIO_SEND_FAILED:
      g_task_return_error (task, error);
      return TRUE;

    case ZCIO_SEND_UNDECIDED:
    default:
      g_assert_not_reached ();
    }
}

static gboolean
step_drain (GTask     *task,
            Operation *operation)
{
  guint64 sends;
  guint64 bytes;

  zcio_transmitter_reap (operation->transmitter);
  zcio_transmitter_get_in_flight (operation->transmitter, &sends, &bytes);
  if (sends == 0 || (operation->max_bytes_in_flight > 0 && bytes <= operation->max_bytes_in_flight))
    {
      g_task_return_boolean (task, TRUE);
      return TRUE;
    }

  if (g_socket_is_closed (operation->socket))
    {
      g_task_return_new_error (task, G_IO_ERROR, G_IO_ERROR_CLOSED,
                               "%s", ZCIO_GIO_ (SOCKET_CLOSED));
      return TRUE;
    }

  wait_for (task, ZCIO_WAIT_IN_FLIGHT, operation->max_bytes_in_flight);
  return FALSE;
}

/* Goes on; returns whether the task has returned. */
static gboolean
operation_step (GTask *task)
{
  Operation *operation = g_task_get_task_data (task);
  GCancellable *cancellable = g_task_get_cancellable (task);
  GError *error = NULL;

  if (operation->kind == OPERATION_DRAIN
        ? g_cancellable_set_error_if_cancelled (cancellable, &error)
        : !zcio_send_check (operation->transmitter, operation->socket, cancellable, &error))
    {
      if (operation->kind == OPERATION_WRITE_ZEROCOPY)
        zcio_transmitter_end (operation->transmitter, &operation->request);
      g_task_return_error (task, error);
      return TRUE;
    }

  switch (operation->kind)
    {
    case OPERATION_WRITE:
      return step_write (task, operation);

    case OPERATION_WRITE_ZEROCOPY:
      return step_write_zerocopy (task, operation);

    case OPERATION_DRAIN:
      return step_drain (task, operation);

    default:
      g_assert_not_reached ();
    }
}

static void
operation_start (GTask    *task,
                 gboolean  takes_pending)
{
  Operation *operation = g_task_get_task_data (task);
  GError *error = NULL;

  if (takes_pending)
    {
      operation->took_pending =
        g_output_stream_set_pending (G_OUTPUT_STREAM (g_task_get_source_object (task)), &error);
      if (!operation->took_pending)
        {
          g_task_return_error (task, error);
          g_object_unref (task);
          return;
        }
    }

  if (operation_step (task))
    g_object_unref (task);
}

void
zcio_operation_write (ZcioSocketStream    *stream,
                      const GOutputVector *vectors,
                      gsize                n_vectors,
                      gboolean             takes_pending,
                      int                  io_priority,
                      GCancellable        *cancellable,
                      GAsyncReadyCallback  callback,
                      gpointer             user_data,
                      gpointer             source_tag)
{
  Operation *operation;
  GTask *task = operation_new (stream, OPERATION_WRITE, io_priority, cancellable,
                               callback, user_data, source_tag, &operation);

  operation->is_data = !takes_pending;
  operation->vectors = n_vectors <= N_INLINE ? operation->inline_vectors
                                             : g_new (GOutputVector, n_vectors);
  if (n_vectors > 0)
    memcpy (operation->vectors, vectors, n_vectors * sizeof *vectors);

  /* Sizes that are too large are for the kernel to refuse, as with GIO's stream. */
  operation->request = (ZcioSendRequest) { .vectors = operation->vectors, .n = n_vectors };
  operation_start (task, takes_pending);
}

void
zcio_operation_write_zerocopy (ZcioSocketStream    *stream,
                               GBytes *const       *buffers,
                               gsize                n_buffers,
                               int                  io_priority,
                               GCancellable        *cancellable,
                               GAsyncReadyCallback  callback,
                               gpointer             user_data,
                               gpointer             source_tag)
{
  Operation *operation;
  GTask *task = operation_new (stream, OPERATION_WRITE_ZEROCOPY, io_priority, cancellable,
                               callback, user_data, source_tag, &operation);
  GError *error = NULL;

  operation->buffers = n_buffers <= N_INLINE ? operation->inline_buffers
                                             : g_new (GBytes *, n_buffers);
  for (gsize i = 0; i < n_buffers; i++)
    operation->buffers[i] = g_bytes_ref (buffers[i]);

  if (!zcio_send_request_init_buffers (&operation->request, operation->buffers, n_buffers, &error))
    {
      g_task_return_error (task, error);
      g_object_unref (task);
      return;
    }

  operation_start (task, TRUE);
}

void
zcio_operation_drain (ZcioSocketStream    *stream,
                      guint64              max_bytes_in_flight,
                      int                  io_priority,
                      GCancellable        *cancellable,
                      GAsyncReadyCallback  callback,
                      gpointer             user_data,
                      gpointer             source_tag)
{
  Operation *operation;
  GTask *task = operation_new (stream, OPERATION_DRAIN, io_priority, cancellable,
                               callback, user_data, source_tag, &operation);

  operation->max_bytes_in_flight = max_bytes_in_flight;
  operation_start (task, FALSE);
}

gboolean
zcio_operation_finish (GAsyncResult  *result,
                       gsize         *bytes_written,
                       GError       **error)
{
  Operation *operation = g_task_get_task_data (G_TASK (result));

  if (bytes_written != NULL)
    *bytes_written = operation->request.written;

  return g_task_propagate_boolean (G_TASK (result), error);
}
