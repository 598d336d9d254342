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

#include "zcio-later-private.h"
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

/*
 * ZcioOperation:
 * @context: where the callback is called. Not owned: either one of the context's sources holds
 *   the operation, or it is the thread-default one of who is just starting it
 * @in_loop: whether a source of @context has taken it up, so that the callback may be called
 *   at once
 *
 * It is no #GTask, because each of those that ends at once makes a source of its own.
 */
struct _ZcioOperation
{
  GObject parent_instance;

  Kind kind;
  ZcioSocketStream *stream;
  GCancellable *cancellable;
  GMainContext *context;
  int io_priority;
  GAsyncReadyCallback callback;
  gpointer user_data;
  gpointer source_tag;
  ZcioLater later;
  gboolean in_loop;
  gboolean took_pending;
  gboolean has_ended;
  GError *error;

  ZcioTransmitter *transmitter;
  GSocket *socket;
  ZcioSendRequest request;
  guint64 max_bytes_in_flight;
  gboolean is_data;

  GBytes **buffers;
  GBytes *inline_buffers[N_INLINE];
  GOutputVector *vectors;
  GOutputVector inline_vectors[N_INLINE];
};

static void zcio_operation_async_result_init (GAsyncResultIface *iface);

G_DECLARE_FINAL_TYPE (ZcioOperation, zcio_operation, ZCIO, OPERATION, GObject)
G_DEFINE_FINAL_TYPE_WITH_CODE (ZcioOperation, zcio_operation, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (G_TYPE_ASYNC_RESULT,
                                                      zcio_operation_async_result_init))

static void
clear_pending (ZcioOperation *self)
{
  if (self->took_pending)
    {
      self->took_pending = FALSE;
      g_output_stream_clear_pending (G_OUTPUT_STREAM (self->stream));
    }
}

static void
drop_parts (ZcioOperation *self)
{
  for (gsize i = 0; self->buffers != NULL && i < self->request.n; i++)
    g_bytes_unref (self->buffers[i]);
  if (self->buffers != self->inline_buffers)
    g_free (self->buffers);
  if (self->vectors != self->inline_vectors)
    g_free (self->vectors);
  self->buffers = NULL;
  self->vectors = NULL;
}

static void
zcio_operation_finalize (GObject *object)
{
  ZcioOperation *self = ZCIO_OPERATION (object);

  /* Its context has gone, and nobody will be called. */
  if (!self->has_ended && self->kind == OPERATION_WRITE_ZEROCOPY)
    zcio_transmitter_end (self->transmitter, &self->request);
  clear_pending (self);
  drop_parts (self);
  g_clear_error (&self->error);
  g_clear_object (&self->cancellable);
  g_object_unref (self->stream);

  G_OBJECT_CLASS (zcio_operation_parent_class)->finalize (object);
}

static void
zcio_operation_class_init (ZcioOperationClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = zcio_operation_finalize;
}

static void
zcio_operation_init (ZcioOperation *self)
{
}

static gpointer
zcio_operation_get_user_data (GAsyncResult *result)
{
  return ZCIO_OPERATION (result)->user_data;
}

static GObject *
zcio_operation_get_source_object (GAsyncResult *result)
{
  return g_object_ref (G_OBJECT (ZCIO_OPERATION (result)->stream));
}

static gboolean
zcio_operation_is_tagged (GAsyncResult *result,
                          gpointer      source_tag)
{
  return ZCIO_OPERATION (result)->source_tag == source_tag;
}

static void
zcio_operation_async_result_init (GAsyncResultIface *iface)
{
  iface->get_user_data = zcio_operation_get_user_data;
  iface->get_source_object = zcio_operation_get_source_object;
  iface->is_tagged = zcio_operation_is_tagged;
}

static ZcioOperation *
operation_new (ZcioSocketStream    *stream,
               Kind                 kind,
               int                  io_priority,
               GCancellable        *cancellable,
               GAsyncReadyCallback  callback,
               gpointer             user_data,
               gpointer             source_tag)
{
  ZcioOperation *self = g_object_new (zcio_operation_get_type (), NULL);
  GMainContext *context = g_main_context_get_thread_default ();

  self->kind = kind;
  self->stream = g_object_ref (stream);
  self->cancellable = cancellable != NULL ? g_object_ref (cancellable) : NULL;
  self->context = context != NULL ? context : g_main_context_default ();
  self->io_priority = io_priority;
  self->callback = callback;
  self->user_data = user_data;
  self->source_tag = source_tag;
  /* The stream holds both. */
  self->transmitter = zcio_socket_stream_get_transmitter (stream);
  self->socket = stream->socket;

  return self;
}

/* Calls back, in the context, and drops the reference. As with GTask, the context is its
 * thread's default one meanwhile. Who keeps the result does not keep the buffers.
 */
static void
call_back (gpointer object)
{
  ZcioOperation *self = object;
  GMainContext *thread_default = g_main_context_get_thread_default ();
  gboolean pushes = (thread_default != NULL ? thread_default : g_main_context_default ()) != self->context;

  clear_pending (self);
  drop_parts (self);
  if (self->callback != NULL)
    {
      if (pushes)
        g_main_context_push_thread_default (self->context);
      self->callback (G_OBJECT (self->stream), (GAsyncResult *) self, self->user_data);
      if (pushes)
        g_main_context_pop_thread_default (self->context);
    }

  g_object_unref (self);
}

/* It has ended; @error is taken. Drops the reference that it has to itself until then. */
static void
operation_return (ZcioOperation *self,
                  GError        *error)
{
  self->has_ended = TRUE;
  self->error = error;
  if (self->in_loop)
    call_back (self);
  else
    zcio_later_call (&self->later, self->context, self->io_priority, call_back, self);
}

static void operation_step (ZcioOperation *self);

static gboolean
on_wait_over (gboolean timed_out,
              gpointer user_data)
{
  ZcioOperation *self = g_object_ref (user_data);
  gboolean cancelled = g_cancellable_is_cancelled (self->cancellable);

  self->in_loop = TRUE;
  if (timed_out && !cancelled)
    {
      if (self->kind == OPERATION_WRITE_ZEROCOPY)
        zcio_transmitter_end (self->transmitter, &self->request);
      operation_return (self, g_error_new_literal (G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                                                   ZCIO_GIO_ (SOCKET_TIMED_OUT)));
      return G_SOURCE_REMOVE;
    }

  if (self->kind != OPERATION_DRAIN && !self->request.wants_window && !cancelled)
    zcio_transmitter_set_writable (self->transmitter);
  operation_step (self);

  return G_SOURCE_REMOVE;
}

/* The source takes the reference, so that the operation goes with the context. */
static void
wait_for (ZcioOperation *self,
          ZcioWaitFor    what,
          guint64        max_bytes)
{
  g_autoptr (GSource) source =
    zcio_wait_source_new (self->transmitter, self->socket, what, max_bytes, self->cancellable);

  g_source_set_priority (source, self->io_priority);
  g_source_set_callback (source, (GSourceFunc) (GCallback) on_wait_over, self, g_object_unref);
  g_source_attach (source, self->context);
}

static void
step_write (ZcioOperation *self)
{
  struct msghdr message = {
    .msg_iov = (struct iovec *) self->request.vectors,
    .msg_iovlen = MIN (self->request.n, ZCIO_MAX_SEND_VECTORS),
  };
  GError *error = NULL;
  gssize n = 0;

  if (self->request.n > 0)
    n = zcio_transmitter_send_copy (self->transmitter, self->socket, &message,
                                    self->is_data, &error);
  if (n >= 0)
    {
      self->request.written = n;
      operation_return (self, NULL);
      return;
    }

  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    {
      g_clear_error (&error);
      wait_for (self, ZCIO_WAIT_WRITABLE, 0);
      return;
    }

  operation_return (self, error);
}

static void
step_write_zerocopy (ZcioOperation *self)
{
  GError *error = NULL;

  switch (zcio_transmitter_send (self->transmitter, self->socket, &self->request, &error))
    {
    case ZCIO_SEND_DONE:
      operation_return (self, NULL);
      break;

    case ZCIO_SEND_WOULD_BLOCK:
      if (self->request.wants_window)
        wait_for (self, ZCIO_WAIT_IN_FLIGHT, zcio_transmitter_get_room (self->transmitter));
      else
        wait_for (self, ZCIO_WAIT_WRITABLE, 0);
      break;

    case ZCIO_SEND_FAILED:
      operation_return (self, error);
      break;

    default:
      g_assert_not_reached ();
    }
}

static void
step_drain (ZcioOperation *self)
{
  guint64 sends;
  guint64 bytes;

  zcio_transmitter_reap (self->transmitter);
  zcio_transmitter_get_in_flight (self->transmitter, &sends, &bytes);
  if (sends == 0 || (self->max_bytes_in_flight > 0 && bytes <= self->max_bytes_in_flight))
    {
      operation_return (self, NULL);
      return;
    }

  if (g_socket_is_closed (self->socket))
    {
      operation_return (self, g_error_new_literal (G_IO_ERROR, G_IO_ERROR_CLOSED,
                                                   ZCIO_GIO_ (SOCKET_CLOSED)));
      return;
    }

  wait_for (self, ZCIO_WAIT_IN_FLIGHT, self->max_bytes_in_flight);
}

/* Goes on, until it has ended or must wait. */
static void
operation_step (ZcioOperation *self)
{
  GError *error = NULL;

  if (self->kind == OPERATION_DRAIN
        ? g_cancellable_set_error_if_cancelled (self->cancellable, &error)
        : !zcio_send_check (self->transmitter, self->socket, self->cancellable, &error))
    {
      if (self->kind == OPERATION_WRITE_ZEROCOPY)
        zcio_transmitter_end (self->transmitter, &self->request);
      operation_return (self, error);
      return;
    }

  switch (self->kind)
    {
    case OPERATION_WRITE:
      step_write (self);
      break;

    case OPERATION_WRITE_ZEROCOPY:
      step_write_zerocopy (self);
      break;

    case OPERATION_DRAIN:
      step_drain (self);
      break;

    default:
      g_assert_not_reached ();
    }
}

static void
operation_start (ZcioOperation *self,
                 gboolean       takes_pending)
{
  GError *error = NULL;

  if (takes_pending)
    {
      self->took_pending = g_output_stream_set_pending (G_OUTPUT_STREAM (self->stream), &error);
      if (!self->took_pending)
        {
          operation_return (self, error);
          return;
        }
    }

  if (self->kind == OPERATION_WRITE_ZEROCOPY)
    zcio_socket_stream_ensure_watch (self->stream);
  operation_step (self);
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
  ZcioOperation *self = operation_new (stream, OPERATION_WRITE, io_priority, cancellable,
                                       callback, user_data, source_tag);

  self->is_data = !takes_pending;
  self->vectors = n_vectors <= N_INLINE ? self->inline_vectors
                                        : g_new (GOutputVector, n_vectors);
  if (n_vectors > 0)
    memcpy (self->vectors, vectors, n_vectors * sizeof *vectors);

  /* Sizes that are too large are for the kernel to refuse, as with GIO's stream. */
  self->request = (ZcioSendRequest) { .vectors = self->vectors, .n = n_vectors };
  operation_start (self, takes_pending);
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
  ZcioOperation *self = operation_new (stream, OPERATION_WRITE_ZEROCOPY, io_priority, cancellable,
                                       callback, user_data, source_tag);
  GError *error = NULL;

  self->buffers = n_buffers <= N_INLINE ? self->inline_buffers
                                        : g_new (GBytes *, n_buffers);
  for (gsize i = 0; i < n_buffers; i++)
    self->buffers[i] = g_bytes_ref (buffers[i]);

  if (!zcio_send_request_init_buffers (&self->request, self->buffers, n_buffers, &error))
    {
      operation_return (self, error);
      return;
    }

  operation_start (self, TRUE);
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
  ZcioOperation *self = operation_new (stream, OPERATION_DRAIN, io_priority, cancellable,
                                       callback, user_data, source_tag);

  self->max_bytes_in_flight = max_bytes_in_flight;
  operation_start (self, FALSE);
}

/* What g_task_is_valid () and g_async_result_is_tagged () tell, without asking for interfaces. */
gboolean
zcio_operation_is_valid (GAsyncResult *result,
                         gpointer      stream,
                         gpointer      source_tag)
{
  ZcioOperation *self = (ZcioOperation *) result;

  return ZCIO_IS_OPERATION (result) && (gpointer) self->stream == stream &&
         self->source_tag == source_tag;
}

gboolean
zcio_operation_finish (GAsyncResult  *result,
                       gsize         *bytes_written,
                       GError       **error)
{
  ZcioOperation *self = (ZcioOperation *) result;

  if (bytes_written != NULL)
    *bytes_written = self->request.written;
  if (self->error == NULL)
    return TRUE;

  g_propagate_error (error, g_error_copy (self->error));
  return FALSE;
}
