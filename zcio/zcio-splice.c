/* zcio-splice.c - g_output_stream_splice() of a stream
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-splice-private.h"

#include <errno.h>
#include <glib-unix.h>

#include "zcio-file-splice-private.h"
#include "zcio-socket-stream-private.h"
#include "zcio-wait-private.h"
#include "zcio-words-private.h"

static gboolean
splice_init (ZcioFileSplice  *splice,
             GOutputStream   *stream,
             GInputStream    *source,
             GError         **error)
{
  ZcioSocketStream *self = ZCIO_SOCKET_STREAM (stream);

  zcio_socket_stream_ensure_watch (self);
  return zcio_file_splice_init (splice, zcio_socket_stream_get_transmitter (self),
                                zcio_socket_stream_get_socket (self), source, error);
}

static gssize
get_count (const ZcioFileSplice *splice)
{
  return (gssize) MIN (splice->bytes, (guint64) G_MAXSSIZE);
}

/* Blocking */

static gboolean
wait_for_pipe (const ZcioFileSplice  *splice,
               GCancellable          *cancellable,
               GError               **error)
{
  GPollFD fds[2] = { { .fd = splice->fd, .events = G_IO_IN } };
  gboolean has_cancel_fd = g_cancellable_make_pollfd (cancellable, &fds[1]);
  int n;

  do
    n = g_poll (fds, 1 + has_cancel_fd, -1);
  while (n < 0 && errno == EINTR);

  if (has_cancel_fd)
    g_cancellable_release_fd (cancellable);

  return !g_cancellable_set_error_if_cancelled (cancellable, error);
}

static gboolean
read_source (ZcioFileSplice  *splice,
             gboolean        *at_end,
             GCancellable    *cancellable,
             GError         **error)
{
  gsize size;
  gpointer buffer = zcio_file_splice_get_buffer (splice, &size, error);
  gssize n = -1;

  if (buffer != NULL)
    n = g_input_stream_read (splice->source, buffer, size, cancellable, error);
  if (n > 0)
    zcio_file_splice_was_read (splice, n);

  *at_end = n == 0;
  return n >= 0;
}

static gboolean
run (ZcioFileSplice  *splice,
     GCancellable    *cancellable,
     GError         **error)
{
  gboolean at_end = FALSE;
  gboolean going = TRUE;

  while (going && !at_end)
    {
      switch (zcio_file_splice_step (splice, cancellable, error))
        {
        case ZCIO_SPLICE_DONE:
          return TRUE;

        case ZCIO_SPLICE_FAILED:
          return FALSE;

        case ZCIO_SPLICE_READ:
          going = read_source (splice, &at_end, cancellable, error);
          break;

        case ZCIO_SPLICE_WAIT_WRITABLE:
          going = zcio_wait (splice->transmitter, splice->socket, ZCIO_WAIT_WRITABLE, 0,
                             cancellable, error);
          break;

        case ZCIO_SPLICE_WAIT_IN_FLIGHT:
          going = zcio_wait (splice->transmitter, splice->socket, ZCIO_WAIT_IN_FLIGHT,
                             zcio_transmitter_get_room (splice->transmitter), cancellable, error);
          break;

        case ZCIO_SPLICE_WAIT_PIPE:
          going = wait_for_pipe (splice, cancellable, error);
          break;

        case ZCIO_SPLICE_PAUSE:
        case ZCIO_SPLICE_GO_ON:
        default:
          break;
        }
    }

  return going;
}

gssize
zcio_splice (GOutputStream             *stream,
             GInputStream              *source,
             GOutputStreamSpliceFlags   flags,
             GCancellable              *cancellable,
             GError                   **error)
{
  ZcioFileSplice splice;
  gboolean result = splice_init (&splice, stream, source, error) &&
                    run (&splice, cancellable, error);
  gssize count = get_count (&splice);

  zcio_file_splice_clear (&splice);

  /* As GOutputStream does it: that the source cannot be closed is no matter, that the stream
   * cannot is one, since that may have been the last write; but the first error is told.
   */
  if (flags & G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE)
    g_input_stream_close (source, cancellable, NULL);

  if (flags & G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET)
    {
      g_output_stream_clear_pending (stream);
      if (!g_output_stream_close (stream, cancellable, result ? error : NULL))
        result = FALSE;
    }

  return result ? count : -1;
}

/*
 * Asynchronous
 *
 * A step that may have to wait for a disk is made in a thread: whether it will have to cannot
 * be known beforehand, since a page may go between the question and the send, and not every
 * file system or user is given an answer (mincore (), RWF_NOWAIT). But no thread ever waits
 * for the socket: that is done on the loop, so that many stalled peers do not use up the
 * threads that all of GIO shares.
 */

typedef struct
{
  ZcioFileSplice splice;
  GOutputStreamSpliceFlags flags;
  ZcioSpliceResult result;
  GError *error;
  guint n_closing;
} Operation;

static void
operation_free (gpointer data)
{
  Operation *operation = data;

  zcio_file_splice_clear (&operation->splice);
  g_clear_error (&operation->error);
  g_free (operation);
}

static void step (GTask *task);

/* Takes over the reference to the task, as all of the callbacks do. */
static void
complete (GTask *task)
{
  Operation *operation = g_task_get_task_data (task);

  if (operation->error != NULL)
    g_task_return_error (task, g_steal_pointer (&operation->error));
  else
    g_task_return_int (task, get_count (&operation->splice));

  g_object_unref (task);
}

static void
on_source_closed (GObject      *object,
                  GAsyncResult *result,
                  gpointer      user_data)
{
  GTask *task = user_data;
  Operation *operation = g_task_get_task_data (task);

  g_input_stream_close_finish (G_INPUT_STREAM (object), result, NULL);
  if (--operation->n_closing == 0)
    complete (task);
}

static void
on_target_closed (GObject      *object,
                  GAsyncResult *result,
                  gpointer      user_data)
{
  GTask *task = user_data;
  Operation *operation = g_task_get_task_data (task);

  g_output_stream_close_finish (G_OUTPUT_STREAM (object), result,
                                operation->error == NULL ? &operation->error : NULL);
  if (--operation->n_closing == 0)
    complete (task);
}

static void
end (GTask *task)
{
  Operation *operation = g_task_get_task_data (task);
  GOutputStream *stream = g_task_get_source_object (task);
  GCancellable *cancellable = g_task_get_cancellable (task);
  g_autoptr (GInputStream) source = g_object_ref (operation->splice.source);

  zcio_file_splice_clear (&operation->splice);

  operation->n_closing = ((operation->flags & G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE) != 0) +
                         ((operation->flags & G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET) != 0);
  if (operation->n_closing == 0)
    {
      complete (task);
      return;
    }

  if (operation->flags & G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE)
    g_input_stream_close_async (source, g_task_get_priority (task), cancellable,
                                on_source_closed, task);

  if (operation->flags & G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET)
    {
      g_output_stream_clear_pending (stream);
      g_output_stream_close_async (stream, g_task_get_priority (task), cancellable,
                                   on_target_closed, task);
    }
}

static void
on_read (GObject      *object,
         GAsyncResult *result,
         gpointer      user_data)
{
  GTask *task = user_data;
  Operation *operation = g_task_get_task_data (task);
  gssize n = g_input_stream_read_finish (G_INPUT_STREAM (object), result, &operation->error);

  if (n > 0)
    {
      zcio_file_splice_was_read (&operation->splice, n);
      step (task);
    }
  else
    end (task);
}

static void
read_source_async (GTask *task)
{
  Operation *operation = g_task_get_task_data (task);
  gsize size;
  gpointer buffer = zcio_file_splice_get_buffer (&operation->splice, &size, &operation->error);

  if (buffer == NULL)
    end (task);
  else
    g_input_stream_read_async (operation->splice.source, buffer, size, g_task_get_priority (task),
                               g_task_get_cancellable (task), on_read, task);
}

static gboolean
on_socket_ready (gboolean timed_out,
                 gpointer user_data)
{
  GTask *task = user_data;
  Operation *operation = g_task_get_task_data (task);

  if (timed_out && !g_cancellable_is_cancelled (g_task_get_cancellable (task)))
    {
      g_set_error_literal (&operation->error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                           ZCIO_GIO_ (SOCKET_TIMED_OUT));
      end (task);
    }
  else
    step (task);

  return G_SOURCE_REMOVE;
}

static void
wait_for_socket (GTask       *task,
                 ZcioWaitFor  what,
                 guint64      max_bytes)
{
  Operation *operation = g_task_get_task_data (task);
  g_autoptr (GSource) source =
    zcio_wait_source_new (operation->splice.transmitter, operation->splice.socket, what,
                          max_bytes, g_task_get_cancellable (task));

  g_task_attach_source (task, source, (GSourceFunc) (GCallback) on_socket_ready);
}

static gboolean
on_pipe_ready (int          fd,
               GIOCondition condition,
               gpointer     user_data)
{
  step (user_data);
  return G_SOURCE_REMOVE;
}

static void
wait_for_pipe_async (GTask *task)
{
  Operation *operation = g_task_get_task_data (task);
  g_autoptr (GSource) source = g_unix_fd_source_new (operation->splice.fd, G_IO_IN);

  if (g_task_get_cancellable (task) != NULL)
    {
      g_autoptr (GSource) child = g_cancellable_source_new (g_task_get_cancellable (task));

      g_source_set_dummy_callback (child);
      g_source_add_child_source (source, child);
    }

  g_task_attach_source (task, source, (GSourceFunc) (GCallback) on_pipe_ready);
}

static gboolean
on_pause_over (gpointer user_data)
{
  step (user_data);
  return G_SOURCE_REMOVE;
}

static void
pause_async (GTask *task)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  g_task_attach_source (task, source, on_pause_over);
}

static void
go_on (GTask *task)
{
  Operation *operation = g_task_get_task_data (task);

  switch (operation->result)
    {
    case ZCIO_SPLICE_DONE:
    case ZCIO_SPLICE_FAILED:
      end (task);
      break;

    case ZCIO_SPLICE_READ:
      read_source_async (task);
      break;

    case ZCIO_SPLICE_WAIT_WRITABLE:
      wait_for_socket (task, ZCIO_WAIT_WRITABLE, 0);
      break;

    case ZCIO_SPLICE_WAIT_IN_FLIGHT:
      wait_for_socket (task, ZCIO_WAIT_IN_FLIGHT, zcio_transmitter_get_room (operation->splice.transmitter));
      break;

    case ZCIO_SPLICE_WAIT_PIPE:
      wait_for_pipe_async (task);
      break;

    case ZCIO_SPLICE_PAUSE:
    case ZCIO_SPLICE_GO_ON:
    default:
      pause_async (task);
    }
}

static void
step_in_thread (GTask        *thread_task,
                gpointer      source_object,
                gpointer      task_data,
                GCancellable *cancellable)
{
  GTask *task = task_data;
  Operation *operation = g_task_get_task_data (task);

  operation->result = zcio_file_splice_step (&operation->splice, g_task_get_cancellable (task),
                                             &operation->error);
  g_task_return_boolean (thread_task, TRUE);
}

static void
on_thread_done (GObject      *object,
                GAsyncResult *result,
                gpointer      user_data)
{
  go_on (user_data);
}

static void
step (GTask *task)
{
  Operation *operation = g_task_get_task_data (task);

  if (zcio_file_splice_may_block (&operation->splice))
    {
      g_autoptr (GTask) thread_task = g_task_new (NULL, NULL, on_thread_done, task);

      g_task_set_source_tag (thread_task, step);
      g_task_set_priority (thread_task, g_task_get_priority (task));
      g_task_set_task_data (thread_task, task, NULL);
      g_task_run_in_thread (thread_task, step_in_thread);
      return;
    }

  operation->result = zcio_file_splice_step (&operation->splice, g_task_get_cancellable (task),
                                             &operation->error);
  go_on (task);
}

void
zcio_splice_async (GOutputStream            *stream,
                   GInputStream             *source,
                   GOutputStreamSpliceFlags  flags,
                   int                       io_priority,
                   GCancellable             *cancellable,
                   GAsyncReadyCallback       callback,
                   gpointer                  user_data)
{
  Operation *operation = g_new0 (Operation, 1);
  GTask *task = g_task_new (stream, cancellable, callback, user_data);

  operation->flags = flags;
  g_task_set_source_tag (task, zcio_splice_async);
  g_task_set_priority (task, io_priority);
  g_task_set_check_cancellable (task, FALSE);
  g_task_set_task_data (task, operation, operation_free);

  if (splice_init (&operation->splice, stream, source, &operation->error))
    step (task);
  else
    end (task);
}

gssize
zcio_splice_finish (GOutputStream  *stream,
                    GAsyncResult   *result,
                    GError        **error)
{
  g_return_val_if_fail (g_task_is_valid (result, stream), -1);

  return g_task_propagate_int (G_TASK (result), error);
}
