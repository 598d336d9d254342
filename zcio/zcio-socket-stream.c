/* zcio-socket-stream.c - a GOutputStream that sends without copying
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-socket-stream-private.h"

#include <gio/gfiledescriptorbased.h>

#include "zcio-completion-source-private.h"
#include "zcio-operation-private.h"
#include "zcio-reaper-private.h"
#include "zcio-splice-private.h"
#include "zcio-stream-write-private.h"

/**
 * SECTION:zcio-socket-stream
 * @title: ZcioSocketStream
 * @short_description: An output stream that sends without copying
 *
 * #ZcioSocketStream is a #GOutputStream for a connected #GSocket. It has one rule:
 * the calls of #GOutputStream copy, and the `…_zerocopy` calls own their buffers.
 *
 * g_output_stream_write() and its like let the caller reuse the memory when they
 * return, so they always copy, and are as fast as those of GIO's own stream.
 * zcio_socket_stream_writev_zerocopy() and its like take #GBytes, return as soon as
 * the kernel has accepted the data, and drop their reference when the kernel has
 * released the memory, which it does not before the peer has acknowledged the data.
 * None of them waits for that; zcio_socket_stream_drain(), g_output_stream_flush() and
 * g_output_stream_close() do.
 *
 * The kernel tells of released memory through the error queue of the socket. The
 * stream reads it on the main loop that was the thread's default when the stream was
 * made, and, where that does not run, in the course of its own calls.
 *
 * What cannot be sent by zero-copy, or is not worth it, is copied without further ado:
 * on a UNIX socket the stream works, too. #ZcioSocketStream:zero-copy-state and
 * zcio_socket_stream_describe() tell what happens and why.
 *
 * Only one thread may write at a time; reaping may happen in another one meanwhile.
 *
 * Since: 1.0
 */

/**
 * ZcioSocketStream:
 *
 * An output stream that sends without copying.
 *
 * Since: 1.0
 */

enum
{
  COMPLETED,
  N_SIGNALS
};

static guint signals[N_SIGNALS];

static void zcio_socket_stream_file_descriptor_based_init (GFileDescriptorBasedIface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (ZcioSocketStream, zcio_socket_stream, G_TYPE_OUTPUT_STREAM,
  G_IMPLEMENT_INTERFACE (G_TYPE_POLLABLE_OUTPUT_STREAM, zcio_stream_write_init_pollable)
  G_IMPLEMENT_INTERFACE (G_TYPE_FILE_DESCRIPTOR_BASED, zcio_socket_stream_file_descriptor_based_init))

static void
on_completions (guint    sends,
                guint64  bytes,
                gboolean copied,
                gboolean state_changed,
                gpointer user_data)
{
  g_autoptr (ZcioSocketStream) self = g_weak_ref_get (user_data);

  if (self == NULL)
    return;

  if (sends > 0)
    g_signal_emit (self, signals[COMPLETED], 0, sends, bytes, !copied);
  if (state_changed)
    zcio_socket_stream_notify_state (self);
}

static void
free_weak_ref (gpointer data)
{
  GWeakRef *weak_ref = data;

  g_weak_ref_clear (weak_ref);
  g_free (weak_ref);
}

void
zcio_socket_stream_make_watch (ZcioSocketStream *stream)
{
  GWeakRef *weak_ref = g_new (GWeakRef, 1);

  g_weak_ref_init (weak_ref, stream);
  stream->watch = zcio_watch_new (stream->transmitter, stream->context, stream->priority,
                                  on_completions, weak_ref, free_weak_ref);
}

/* What is still in flight goes to the linger. */
static void
leave (ZcioSocketStream *self)
{
  g_clear_pointer (&self->watch, zcio_watch_destroy);
  if (self->attached)
    zcio_transmitter_detach (self->transmitter);
  self->attached = FALSE;
}

/* Flushing and closing */

static gboolean
zcio_socket_stream_flush (GOutputStream  *stream,
                          GCancellable   *cancellable,
                          GError        **error)
{
  ZcioSocketStream *self = ZCIO_SOCKET_STREAM (stream);
  guint64 sends;
  guint64 bytes;

  /* GOutputStream closes, and so flushes, in dispose(): that must not wait. */
  if (self->in_dispose)
    return TRUE;

  /* Where nothing can take long, GIO's stream does not look at the cancellable. */
  zcio_transmitter_get_in_flight (self->transmitter, &sends, &bytes);
  if (sends == 0)
    return TRUE;

  return zcio_socket_stream_drain (self, 0, cancellable, error);
}

static void
zcio_socket_stream_flush_async (GOutputStream       *stream,
                                int                  io_priority,
                                GCancellable        *cancellable,
                                GAsyncReadyCallback  callback,
                                gpointer             user_data)
{
  zcio_operation_drain (ZCIO_SOCKET_STREAM (stream), 0, io_priority, cancellable,
                        callback, user_data, zcio_socket_stream_flush_async);
}

static gboolean
zcio_socket_stream_flush_finish (GOutputStream  *stream,
                                 GAsyncResult   *result,
                                 GError        **error)
{
  g_return_val_if_fail (zcio_operation_is_valid (result, stream, zcio_socket_stream_flush_async), FALSE);

  return zcio_operation_finish (result, NULL, error);
}

static gboolean
zcio_socket_stream_close (GOutputStream  *stream,
                          GCancellable   *cancellable,
                          GError        **error)
{
  /* As with GIO's stream, the socket stays open: it belongs to others, too. */
  leave (ZCIO_SOCKET_STREAM (stream));
  return TRUE;
}

static void
zcio_socket_stream_close_async (GOutputStream       *stream,
                                int                  io_priority,
                                GCancellable        *cancellable,
                                GAsyncReadyCallback  callback,
                                gpointer             user_data)
{
  g_autoptr (GTask) task = g_task_new (stream, cancellable, callback, user_data);

  g_task_set_source_tag (task, zcio_socket_stream_close_async);
  g_task_set_priority (task, io_priority);
  leave (ZCIO_SOCKET_STREAM (stream));
  g_task_return_boolean (task, TRUE);
}

static gboolean
zcio_socket_stream_close_finish (GOutputStream  *stream,
                                 GAsyncResult   *result,
                                 GError        **error)
{
  g_return_val_if_fail (g_task_is_valid (result, stream), FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}

/* GFileDescriptorBased */

static int
zcio_socket_stream_get_fd (GFileDescriptorBased *fd_based)
{
  return g_socket_get_fd (ZCIO_SOCKET_STREAM (fd_based)->socket);
}

static void
zcio_socket_stream_file_descriptor_based_init (GFileDescriptorBasedIface *iface)
{
  iface->get_fd = zcio_socket_stream_get_fd;
}

/* GObject */

/* What another stream has left in flight has to be watched. */
static void
zcio_socket_stream_constructed (GObject *object)
{
  ZcioSocketStream *self = ZCIO_SOCKET_STREAM (object);
  guint64 sends;
  guint64 bytes;

  G_OBJECT_CLASS (zcio_socket_stream_parent_class)->constructed (object);

  zcio_transmitter_get_in_flight (self->transmitter, &sends, &bytes);
  if (sends > 0)
    zcio_socket_stream_ensure_watch (self);
}

static void
zcio_socket_stream_dispose (GObject *object)
{
  ZcioSocketStream *self = ZCIO_SOCKET_STREAM (object);

  self->in_dispose = TRUE;
  G_OBJECT_CLASS (zcio_socket_stream_parent_class)->dispose (object);
  self->in_dispose = FALSE;

  leave (self);
}

static void
zcio_socket_stream_finalize (GObject *object)
{
  ZcioSocketStream *self = ZCIO_SOCKET_STREAM (object);

  g_clear_pointer (&self->transmitter, zcio_transmitter_unref);
  g_clear_object (&self->socket);
  g_main_context_unref (self->context);

  G_OBJECT_CLASS (zcio_socket_stream_parent_class)->finalize (object);
}

static void
zcio_socket_stream_class_init (ZcioSocketStreamClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GOutputStreamClass *stream_class = G_OUTPUT_STREAM_CLASS (klass);

  object_class->constructed = zcio_socket_stream_constructed;
  object_class->dispose = zcio_socket_stream_dispose;
  object_class->finalize = zcio_socket_stream_finalize;

  zcio_stream_write_init_class (stream_class);
  stream_class->splice = zcio_splice;
  stream_class->splice_async = zcio_splice_async;
  stream_class->splice_finish = zcio_splice_finish;
  stream_class->flush = zcio_socket_stream_flush;
  stream_class->flush_async = zcio_socket_stream_flush_async;
  stream_class->flush_finish = zcio_socket_stream_flush_finish;
  stream_class->close_fn = zcio_socket_stream_close;
  stream_class->close_async = zcio_socket_stream_close_async;
  stream_class->close_finish = zcio_socket_stream_close_finish;

  zcio_socket_stream_init_properties (object_class);

  /**
   * ZcioSocketStream::completed:
   * @stream: the stream
   * @sends: sends that were released since the last emission
   * @bytes: bytes of these
   * @zero_copied: whether none of them is known to have been copied by the kernel
   *
   * Emitted when the kernel has released memory, in the main context that was the
   * thread's default when the stream was made. Released is not delivered: when a
   * connection is reset, everything is released.
   *
   * Since: 1.0
   */
  signals[COMPLETED] =
    g_signal_new ("completed", ZCIO_TYPE_SOCKET_STREAM, G_SIGNAL_RUN_LAST, 0,
                  NULL, NULL, NULL,
                  G_TYPE_NONE, 3, G_TYPE_UINT, G_TYPE_UINT64, G_TYPE_BOOLEAN);
}

static void
zcio_socket_stream_init (ZcioSocketStream *self)
{
  self->context = g_main_context_ref_thread_default ();
  self->priority = ZCIO_REAPER_DEFAULT_PRIORITY;
}

/**
 * zcio_socket_stream_new:
 * @socket: a connected stream socket
 *
 * Makes a stream that sends to @socket. Completions are read in the main context that
 * is the thread's default now.
 *
 * Closing or dropping the stream leaves @socket open. A program that has the #GSocket
 * closed while sends are in flight loses their completions; so it closes the stream
 * first.
 *
 * Returns: (transfer full): a new stream
 *
 * Since: 1.0
 */
ZcioSocketStream *
zcio_socket_stream_new (GSocket *socket)
{
  g_return_val_if_fail (G_IS_SOCKET (socket), NULL);

  return g_object_new (ZCIO_TYPE_SOCKET_STREAM, "socket", socket, NULL);
}

/**
 * zcio_socket_stream_create_completion_source:
 * @stream: a stream
 * @cancellable: (nullable): a #GCancellable
 *
 * Makes a source that is dispatched when the kernel has released memory, with a
 * #ZcioCompletionFunc as its callback. It reads the completions itself, in whichever
 * main context it is attached to. If @cancellable is cancelled, the callback is called
 * with 0 sends.
 *
 * The source does not keep @stream alive. In languages that would call a plain
 * #GSourceFunc, set the callback with g_source_set_closure(), which is
 * `GObject.source_set_closure ()` there, or use
 * zcio_socket_stream_add_completion_watch().
 *
 * Returns: (transfer full): a new #GSource
 *
 * Since: 1.0
 */
GSource *
zcio_socket_stream_create_completion_source (ZcioSocketStream *stream,
                                             GCancellable     *cancellable)
{
  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);

  return zcio_completion_source_new (stream, stream->transmitter, stream->priority, cancellable);
}

/**
 * zcio_socket_stream_add_completion_watch:
 * @stream: a stream
 * @priority: the priority of the source, such as %G_PRIORITY_DEFAULT
 * @func: (scope notified) (closure user_data) (destroy notify): called when the
 *   kernel has released memory
 * @user_data: data for @func
 * @notify: (nullable): called when @func is not needed any more
 *
 * Adds a source like that of zcio_socket_stream_create_completion_source() to the
 * thread's default main context.
 *
 * Returns: the id of the source, for g_source_remove() where that is the default
 *   context of the process
 *
 * Since: 1.0
 */
guint
zcio_socket_stream_add_completion_watch (ZcioSocketStream   *stream,
                                         int                 priority,
                                         ZcioCompletionFunc  func,
                                         gpointer            user_data,
                                         GDestroyNotify      notify)
{
  g_autoptr (GSource) source = NULL;

  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), 0);
  g_return_val_if_fail (func != NULL, 0);

  source = zcio_socket_stream_create_completion_source (stream, NULL);
  g_source_set_priority (source, priority);
  g_source_set_callback (source, (GSourceFunc) (GCallback) func, user_data, notify);

  return g_source_attach (source, g_main_context_get_thread_default ());
}
