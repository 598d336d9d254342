/* zcio-tcp-connection.c - a GTcpConnection that sends without copying
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-tcp-connection.h"

#include "zcio-socket-input-stream-private.h"
#include "zcio-socket-stream-private.h"
#include "zcio-wait-private.h"
#include "zcio-words-private.h"

/**
 * SECTION:zcio-tcp-connection
 * @title: ZcioTcpConnection
 * @short_description: A TCP connection that sends without copying
 *
 * #ZcioTcpConnection is a #GTcpConnection whose output stream is a #ZcioSocketStream, and
 * whose input stream gets along with it.
 *
 * A completion that nobody has read makes every poll of its socket return at once. GIO's own
 * input stream on the same socket would then use up a CPU while it waits, and a read with a
 * timeout might never return. The input stream of this class reads the completions instead.
 * So a program that reads and sends by zero-copy on one socket should use this class, and
 * nobody should watch the socket behind its back.
 *
 * After zcio_tcp_connection_register() #GSocketClient, #GSocketListener, #GSocketService and
 * #GThreadedSocketService make such connections. That by itself makes nothing faster: the
 * calls of #GOutputStream go on copying, since their callers may reuse the memory. What a
 * program gains is that the `…_zerocopy` calls are there, on the stream that it has:
 *
 * |[<!-- language="C" -->
 *   GOutputStream *stream = g_io_stream_get_output_stream (G_IO_STREAM (connection));
 *
 *   if (ZCIO_IS_SOCKET_STREAM (stream))
 *     zcio_socket_stream_write_zerocopy (ZCIO_SOCKET_STREAM (stream), bytes, NULL, NULL, &error);
 * ]|
 *
 * Closing the connection flushes: it waits until the kernel has released all memory. What a
 * cancellation or the timeout of the socket leaves in flight is finished in the background,
 * for at most #ZcioSocketStream:linger-timeout; the peer gets all of it and then the end of
 * the stream. Dropping the last reference never waits, not even with
 * #GTcpConnection:graceful-disconnect.
 *
 * Completions are read in the main context that is the thread's default when the output
 * stream is asked for first.
 *
 * Since: 1.0
 */

#define DISCARD_SIZE 16384

/* Reads in one go at most while disconnecting gracefully; other sources want their turn. */
#define MAX_READS_AT_ONCE 16

/**
 * ZcioTcpConnection:
 *
 * A TCP connection that sends without copying.
 *
 * Since: 1.0
 */
struct _ZcioTcpConnection
{
  GTcpConnection parent_instance;

  GInputStream *input_stream;
  GOutputStream *output_stream;
  gboolean in_dispose;
};

G_DEFINE_FINAL_TYPE (ZcioTcpConnection, zcio_tcp_connection, G_TYPE_TCP_CONNECTION)

static GSocket *
get_socket (ZcioTcpConnection *self)
{
  return g_socket_connection_get_socket (G_SOCKET_CONNECTION (self));
}

static GInputStream *
zcio_tcp_connection_get_input_stream (GIOStream *stream)
{
  ZcioTcpConnection *self = ZCIO_TCP_CONNECTION (stream);

  if (self->input_stream == NULL)
    self->input_stream = zcio_socket_input_stream_new (get_socket (self));

  return self->input_stream;
}

static GOutputStream *
zcio_tcp_connection_get_output_stream (GIOStream *stream)
{
  ZcioTcpConnection *self = ZCIO_TCP_CONNECTION (stream);

  if (self->output_stream == NULL)
    self->output_stream = G_OUTPUT_STREAM (zcio_socket_stream_new (get_socket (self)));

  return self->output_stream;
}

/*
 * Closing
 *
 * GSocketConnection closes the streams that it has made itself, and then the socket. Ours it
 * does not know, and the socket must not be closed before what is in flight is in the linger's
 * hands. So nothing of its closing is used.
 */

static gboolean
has_sends_in_flight (ZcioTcpConnection *self)
{
  guint64 sends = 0;
  guint64 bytes;

  if (self->output_stream != NULL)
    zcio_transmitter_get_in_flight (
      zcio_socket_stream_get_transmitter (ZCIO_SOCKET_STREAM (self->output_stream)), &sends, &bytes);

  return sends > 0;
}

static void
set_error_once (GError **stored,
                GError  *error)
{
  if (error == NULL)
    return;

  if (*stored == NULL)
    *stored = error;
  else
    g_error_free (error);
}

/* As in GIO, what fails while a stream is closed is not told, with one exception: that some
 * data may still be on its way.
 */
static void
output_stream_closed (ZcioTcpConnection  *self,
                      GError             *flush_error,
                      GError            **error)
{
  if (has_sends_in_flight (self) &&
      !g_error_matches (flush_error, G_IO_ERROR, G_IO_ERROR_CLOSED) &&
      !g_error_matches (flush_error, G_IO_ERROR, G_IO_ERROR_PENDING))
    set_error_once (error, flush_error);
  else
    g_clear_error (&flush_error);
}

static void
close_socket (ZcioTcpConnection  *self,
              GError            **error)
{
  g_autoptr (GSocket) socket = g_object_ref (get_socket (self));
  ZcioTransmitter *transmitter = zcio_transmitter_get (socket);
  GError *local_error = NULL;

  if (self->input_stream != NULL)
    g_input_stream_close (self->input_stream, NULL, NULL);

  zcio_transmitter_close (transmitter);
  g_socket_close (socket, &local_error);
  set_error_once (error, local_error);
  zcio_transmitter_unref (transmitter);
}

static gboolean
is_graceful (ZcioTcpConnection *self,
             GCancellable      *cancellable)
{
  return g_tcp_connection_get_graceful_disconnect (G_TCP_CONNECTION (self)) &&
         !g_cancellable_is_cancelled (cancellable);
}

/* Tells the peer that nothing more comes, and waits until it says the same. */
static void
disconnect_gracefully (ZcioTcpConnection  *self,
                       GCancellable       *cancellable,
                       GError            **error)
{
  GSocket *socket = get_socket (self);
  ZcioTransmitter *transmitter;
  char buffer[DISCARD_SIZE];
  GError *local_error = NULL;
  gssize n = 0;

  if (!g_socket_shutdown (socket, FALSE, TRUE, error))
    return;

  transmitter = zcio_transmitter_get (socket);
  do
    {
      g_clear_error (&local_error);
      n = g_socket_receive_with_blocking (socket, buffer, sizeof buffer, FALSE, cancellable,
                                          &local_error);
      if (g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
        {
          g_clear_error (&local_error);
          if (zcio_wait (transmitter, socket, ZCIO_WAIT_READABLE, 0, cancellable, &local_error))
            n = 1;
        }
    }
  while (n > 0);

  set_error_once (error, local_error);
  zcio_transmitter_unref (transmitter);
}

/* What is still in flight goes to the linger. The socket remains open for those who have a
 * reference to it; if there is none, GSocket closes it in a moment.
 */
static gboolean
close_in_dispose (ZcioTcpConnection *self)
{
  g_autoptr (GCancellable) cancelled = g_cancellable_new ();

  g_cancellable_cancel (cancelled);
  if (self->output_stream != NULL)
    g_output_stream_close (self->output_stream, cancelled, NULL);
  if (self->input_stream != NULL)
    g_input_stream_close (self->input_stream, cancelled, NULL);

  return TRUE;
}

static gboolean
zcio_tcp_connection_close (GIOStream     *stream,
                           GCancellable  *cancellable,
                           GError       **error)
{
  ZcioTcpConnection *self = ZCIO_TCP_CONNECTION (stream);
  GError *first_error = NULL;

  if (self->in_dispose)
    return close_in_dispose (self);

  if (is_graceful (self, cancellable))
    disconnect_gracefully (self, cancellable, &first_error);

  if (self->output_stream != NULL)
    {
      GError *flush_error = NULL;

      g_output_stream_close (self->output_stream, cancellable, &flush_error);
      output_stream_closed (self, flush_error, &first_error);
    }

  close_socket (self, &first_error);
  if (first_error == NULL)
    return TRUE;

  g_propagate_error (error, first_error);
  return FALSE;
}

typedef struct
{
  GError *error;
} CloseData;

static void
close_data_free (gpointer data)
{
  CloseData *close_data = data;

  g_clear_error (&close_data->error);
  g_free (close_data);
}

/* Takes over the task, as do all the following steps. */
static void
close_socket_and_return (GTask *task)
{
  CloseData *data = g_task_get_task_data (task);

  close_socket (g_task_get_source_object (task), &data->error);
  if (data->error != NULL)
    g_task_return_error (task, g_steal_pointer (&data->error));
  else
    g_task_return_boolean (task, TRUE);
  g_object_unref (task);
}

static void
on_output_stream_closed (GObject      *object,
                         GAsyncResult *result,
                         gpointer      user_data)
{
  GTask *task = user_data;
  CloseData *data = g_task_get_task_data (task);
  GError *error = NULL;

  g_output_stream_close_finish (G_OUTPUT_STREAM (object), result, &error);
  output_stream_closed (g_task_get_source_object (task), error, &data->error);
  close_socket_and_return (task);
}

static void
close_output_stream_async (GTask *task)
{
  ZcioTcpConnection *self = g_task_get_source_object (task);

  if (self->output_stream == NULL)
    close_socket_and_return (task);
  else
    g_output_stream_close_async (self->output_stream, g_task_get_priority (task),
                                 g_task_get_cancellable (task), on_output_stream_closed, task);
}

static void read_to_end_async (GTask *task);

static gboolean
on_readable (gboolean timed_out,
             gpointer user_data)
{
  GTask *task = user_data;
  CloseData *data = g_task_get_task_data (task);

  if (timed_out)
    {
      set_error_once (&data->error, g_error_new_literal (G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                                                         ZCIO_GIO_ (SOCKET_TIMED_OUT)));
      close_output_stream_async (task);
    }
  else
    read_to_end_async (task);

  return G_SOURCE_REMOVE;
}

static void
read_to_end_async (GTask *task)
{
  ZcioTcpConnection *self = g_task_get_source_object (task);
  CloseData *data = g_task_get_task_data (task);
  g_autoptr (GError) error = NULL;
  gssize n = 1;

  for (guint i = 0; n > 0 && i < MAX_READS_AT_ONCE; i++)
    {
      char buffer[DISCARD_SIZE];

      n = g_socket_receive_with_blocking (get_socket (self), buffer, sizeof buffer, FALSE,
                                          g_task_get_cancellable (task), &error);
    }

  if (n > 0 || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    {
      ZcioTransmitter *transmitter = zcio_transmitter_get (get_socket (self));
      g_autoptr (GSource) source =
        zcio_wait_source_new (transmitter, get_socket (self), ZCIO_WAIT_READABLE, 0,
                              g_task_get_cancellable (task));

      g_task_attach_source (task, source, (GSourceFunc) (GCallback) on_readable);
      zcio_transmitter_unref (transmitter);
      return;
    }

  set_error_once (&data->error, g_steal_pointer (&error));
  close_output_stream_async (task);
}

static void
zcio_tcp_connection_close_async (GIOStream           *stream,
                                 int                  io_priority,
                                 GCancellable        *cancellable,
                                 GAsyncReadyCallback  callback,
                                 gpointer             user_data)
{
  ZcioTcpConnection *self = ZCIO_TCP_CONNECTION (stream);
  GTask *task = g_task_new (stream, cancellable, callback, user_data);
  CloseData *data = g_new0 (CloseData, 1);

  g_task_set_source_tag (task, zcio_tcp_connection_close_async);
  g_task_set_priority (task, io_priority);
  g_task_set_task_data (task, data, close_data_free);
  /* The socket is closed whatever happens; whether that was all right is told by the error. */
  g_task_set_check_cancellable (task, FALSE);

  if (is_graceful (self, cancellable) &&
      g_socket_shutdown (get_socket (self), FALSE, TRUE, &data->error))
    read_to_end_async (task);
  else
    close_output_stream_async (task);
}

static gboolean
zcio_tcp_connection_close_finish (GIOStream     *stream,
                                  GAsyncResult  *result,
                                  GError       **error)
{
  g_return_val_if_fail (g_task_is_valid (result, stream), FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}

static void
zcio_tcp_connection_dispose (GObject *object)
{
  ZcioTcpConnection *self = ZCIO_TCP_CONNECTION (object);

  self->in_dispose = TRUE;
  G_OBJECT_CLASS (zcio_tcp_connection_parent_class)->dispose (object);
  self->in_dispose = FALSE;
}

static void
zcio_tcp_connection_finalize (GObject *object)
{
  ZcioTcpConnection *self = ZCIO_TCP_CONNECTION (object);

  g_clear_object (&self->input_stream);
  g_clear_object (&self->output_stream);

  G_OBJECT_CLASS (zcio_tcp_connection_parent_class)->finalize (object);
}

static void
zcio_tcp_connection_class_init (ZcioTcpConnectionClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GIOStreamClass *stream_class = G_IO_STREAM_CLASS (klass);

  object_class->dispose = zcio_tcp_connection_dispose;
  object_class->finalize = zcio_tcp_connection_finalize;

  stream_class->get_input_stream = zcio_tcp_connection_get_input_stream;
  stream_class->get_output_stream = zcio_tcp_connection_get_output_stream;
  stream_class->close_fn = zcio_tcp_connection_close;
  stream_class->close_async = zcio_tcp_connection_close_async;
  stream_class->close_finish = zcio_tcp_connection_close_finish;
}

static void
zcio_tcp_connection_init (ZcioTcpConnection *self)
{
}

/**
 * zcio_tcp_connection_new:
 * @socket: a stream socket
 *
 * Makes a connection of @socket. It need not be connected yet; see
 * g_socket_connection_connect().
 *
 * Returns: (transfer full): a new connection
 *
 * Since: 1.0
 */
GSocketConnection *
zcio_tcp_connection_new (GSocket *socket)
{
  g_return_val_if_fail (G_IS_SOCKET (socket), NULL);

  return g_object_new (ZCIO_TYPE_TCP_CONNECTION, "socket", socket, NULL);
}

/* Registering */

typedef GObject *(*Constructor) (GType                  type,
                                 guint                  n_properties,
                                 GObjectConstructParam *properties);

static Constructor tcp_connection_constructor;

/* Subclasses of GTcpConnection have it, too: those whose class was made later. */
static GObject *
construct_instead (GType                  type,
                   guint                  n_properties,
                   GObjectConstructParam *properties)
{
  g_autofree const char **names = NULL;
  g_autofree GValue *values = NULL;

  if (type != G_TYPE_TCP_CONNECTION)
    return tcp_connection_constructor (type, n_properties, properties);

  names = g_new (const char *, n_properties);
  values = g_new (GValue, n_properties);
  for (guint i = 0; i < n_properties; i++)
    {
      names[i] = properties[i].pspec->name;
      /* A borrowed look at it. */
      values[i] = *properties[i].value;
    }

  return g_object_new_with_properties (ZCIO_TYPE_TCP_CONNECTION, n_properties, names, values);
}

/**
 * zcio_tcp_connection_register:
 *
 * Lets GIO make a #ZcioTcpConnection wherever it made a #GTcpConnection: from now on
 * #GSocketClient, #GSocketListener, #GSocketService and #GThreadedSocketService do so for
 * TCP over IPv4 and IPv6. Connections that are there already stay as they are.
 *
 * The output streams of these connections copy as ever, until the program calls their
 * `…_zerocopy` functions.
 *
 * It may be called in any thread, and more than once. There is no way back.
 *
 * Since: 1.0
 */
void
zcio_tcp_connection_register (void)
{
  static gsize registered = 0;
  GObjectClass *klass;

  if (!g_once_init_enter (&registered))
    return;

  /* GIO has a factory, but g_socket_connection_factory_register_type() is of no use here: it
   * keeps its types in a hash table whose keys are their values as well, and GTcpConnection is
   * there already. For a key that it has, g_hash_table_insert() keeps the old one and frees the
   * new one, which it then has as its value: the next look-up reads freed memory (true of GLib
   * 2.74). So the factory goes on making a GTcpConnection, and that class makes ours of it. A
   * constructor may return any object; GObject takes it for one that is complete.
   *
   * The class is kept for good, as static types' classes are anyway.
   */
  g_type_ensure (ZCIO_TYPE_TCP_CONNECTION);
  klass = g_type_class_ref (G_TYPE_TCP_CONNECTION);
  tcp_connection_constructor = klass->constructor;
  g_atomic_pointer_set (&klass->constructor, construct_instead);

  g_once_init_leave (&registered, 1);
}
