/* zcio-socket-input-stream.c - the reading half of a connection
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-socket-input-stream-private.h"

#include <gio/gfiledescriptorbased.h>

#include "zcio-transmitter-private.h"
#include "zcio-wait-private.h"
#include "zcio-words-private.h"

struct _ZcioSocketInputStream
{
  GInputStream parent_instance;

  GSocket *socket;
  ZcioTransmitter *transmitter;
};

static void zcio_socket_input_stream_pollable_init (GPollableInputStreamInterface *iface);
static void zcio_socket_input_stream_file_descriptor_based_init (GFileDescriptorBasedIface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (ZcioSocketInputStream, zcio_socket_input_stream, G_TYPE_INPUT_STREAM,
  G_IMPLEMENT_INTERFACE (G_TYPE_POLLABLE_INPUT_STREAM, zcio_socket_input_stream_pollable_init)
  G_IMPLEMENT_INTERFACE (G_TYPE_FILE_DESCRIPTOR_BASED, zcio_socket_input_stream_file_descriptor_based_init))

/* GSocket does the reading, and all its checks: only its waiting is of no use here. The first
 * attempt costs one system call, as with GIO's own stream.
 */
static gssize
read_data (ZcioSocketInputStream  *self,
           void                   *buffer,
           gsize                   count,
           gboolean                blocking,
           GCancellable           *cancellable,
           GError                **error)
{
  while (TRUE)
    {
      GError *local_error = NULL;
      gssize n;

      if (G_UNLIKELY (g_atomic_int_get (&self->transmitter->read_timed_out)) &&
          g_atomic_int_compare_and_exchange (&self->transmitter->read_timed_out, TRUE, FALSE))
        {
          g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, ZCIO_GIO_ (SOCKET_TIMED_OUT));
          return -1;
        }

      n = g_socket_receive_with_blocking (self->socket, buffer, count, FALSE, cancellable, &local_error);
      if (n >= 0)
        return n;

      if (!blocking || !g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
        {
          g_propagate_error (error, local_error);
          return -1;
        }

      g_clear_error (&local_error);
      if (!zcio_wait (self->transmitter, self->socket, ZCIO_WAIT_READABLE, 0, cancellable, error))
        return -1;
    }
}

static gssize
zcio_socket_input_stream_read (GInputStream  *stream,
                               void          *buffer,
                               gsize          count,
                               GCancellable  *cancellable,
                               GError       **error)
{
  return read_data (ZCIO_SOCKET_INPUT_STREAM (stream), buffer, count, TRUE, cancellable, error);
}

/* GPollableInputStream, from which GInputStream makes its asynchronous calls, too */

static gboolean
zcio_socket_input_stream_is_readable (GPollableInputStream *pollable)
{
  ZcioSocketInputStream *self = ZCIO_SOCKET_INPUT_STREAM (pollable);

  return zcio_wait_is_readable (self->transmitter, self->socket);
}

static GSource *
zcio_socket_input_stream_create_source (GPollableInputStream *pollable,
                                        GCancellable         *cancellable)
{
  ZcioSocketInputStream *self = ZCIO_SOCKET_INPUT_STREAM (pollable);
  g_autoptr (GSource) child =
    zcio_wait_source_new (self->transmitter, self->socket, ZCIO_WAIT_READABLE, 0, NULL);

  return g_pollable_source_new_full (self, child, cancellable);
}

static gssize
zcio_socket_input_stream_read_nonblocking (GPollableInputStream  *pollable,
                                           void                  *buffer,
                                           gsize                  count,
                                           GError               **error)
{
  if (g_input_stream_is_closed (G_INPUT_STREAM (pollable)))
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CLOSED, ZCIO_GIO_ (STREAM_CLOSED));
      return -1;
    }

  return read_data (ZCIO_SOCKET_INPUT_STREAM (pollable), buffer, count, FALSE, NULL, error);
}

static void
zcio_socket_input_stream_pollable_init (GPollableInputStreamInterface *iface)
{
  iface->is_readable = zcio_socket_input_stream_is_readable;
  iface->create_source = zcio_socket_input_stream_create_source;
  iface->read_nonblocking = zcio_socket_input_stream_read_nonblocking;
}

static int
zcio_socket_input_stream_get_fd (GFileDescriptorBased *fd_based)
{
  return g_socket_get_fd (ZCIO_SOCKET_INPUT_STREAM (fd_based)->socket);
}

static void
zcio_socket_input_stream_file_descriptor_based_init (GFileDescriptorBasedIface *iface)
{
  iface->get_fd = zcio_socket_input_stream_get_fd;
}

static void
zcio_socket_input_stream_finalize (GObject *object)
{
  ZcioSocketInputStream *self = ZCIO_SOCKET_INPUT_STREAM (object);

  g_clear_pointer (&self->transmitter, zcio_transmitter_unref);
  g_clear_object (&self->socket);

  G_OBJECT_CLASS (zcio_socket_input_stream_parent_class)->finalize (object);
}

static void
zcio_socket_input_stream_class_init (ZcioSocketInputStreamClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = zcio_socket_input_stream_finalize;
  G_INPUT_STREAM_CLASS (klass)->read_fn = zcio_socket_input_stream_read;
}

static void
zcio_socket_input_stream_init (ZcioSocketInputStream *self)
{
}

GInputStream *
zcio_socket_input_stream_new (GSocket *socket)
{
  ZcioSocketInputStream *self = g_object_new (ZCIO_TYPE_SOCKET_INPUT_STREAM, NULL);

  self->socket = g_object_ref (socket);
  self->transmitter = zcio_transmitter_get (socket);

  return G_INPUT_STREAM (self);
}
