/* zcio-control-message.c - sending file descriptors and the like
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-socket-stream-private.h"

#include <string.h>

#include "zcio-send-private.h"
#include "zcio-wait-private.h"
#include "zcio-words-private.h"

/* Returns: (transfer full) (nullable): the messages as the kernel wants them. */
static gpointer
serialize_messages (GSocketControlMessage **messages,
                    guint                   n_messages,
                    gsize                  *size)
{
  struct msghdr header = { 0 };
  struct cmsghdr *cmsg;
  gpointer control;

  *size = 0;
  for (guint i = 0; i < n_messages; i++)
    *size += CMSG_SPACE (g_socket_control_message_get_size (messages[i]));
  if (*size == 0)
    return NULL;

  control = g_malloc0 (*size);
  header.msg_control = control;
  header.msg_controllen = *size;
  cmsg = CMSG_FIRSTHDR (&header);

  for (guint i = 0; i < n_messages; i++)
    {
      gsize length = g_socket_control_message_get_size (messages[i]);

      cmsg->cmsg_level = g_socket_control_message_get_level (messages[i]);
      cmsg->cmsg_type = g_socket_control_message_get_msg_type (messages[i]);
      cmsg->cmsg_len = CMSG_LEN (length);
      g_socket_control_message_serialize (messages[i], CMSG_DATA (cmsg));
      cmsg = CMSG_NXTHDR (&header, cmsg);
    }

  return control;
}

/* Without a byte to go with, the kernel would drop the messages and call that a success. */
static gboolean
check_data (const GOutputVector  *vectors,
            gsize                 n_vectors,
            GError              **error)
{
  for (gsize i = 0; i < n_vectors; i++)
    if (vectors[i].size > 0)
      return TRUE;

  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                       "Control messages need at least one byte of data to go with");
  return FALSE;
}

/* More than 36 bytes of control data come out of the same memory as the notifications
 * (____sys_sendmsg ()), so they may have to wait for some of these.
 */
static gboolean
wait_for_memory (ZcioTransmitter  *transmitter,
                 GSocket          *socket,
                 GCancellable     *cancellable,
                 gboolean         *waited,
                 GError          **error)
{
  guint64 sends;
  guint64 bytes;

  zcio_transmitter_get_in_flight (transmitter, &sends, &bytes);
  *waited = sends > 0;

  return sends == 0 ||
         zcio_wait (transmitter, socket, ZCIO_WAIT_IN_FLIGHT, bytes / 2, cancellable, error);
}

static gssize
send_with_control (ZcioTransmitter      *transmitter,
                   GSocket              *socket,
                   const struct msghdr  *header,
                   GCancellable         *cancellable,
                   GError              **error)
{
  while (zcio_send_check (transmitter, socket, cancellable, error))
    {
      GError *local_error = NULL;
      gboolean waited = FALSE;
      gssize n = zcio_transmitter_send_copy (transmitter, socket, header,
                                             FALSE, &local_error);

      if (n >= 0)
        return n;

      if (g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
        {
          g_clear_error (&local_error);
          if (!zcio_wait (transmitter, socket, ZCIO_WAIT_WRITABLE, 0, cancellable, error))
            return -1;
          continue;
        }

      /* ENOBUFS has no code of its own. */
      if (g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_FAILED) &&
          header->msg_controllen > 0)
        {
          if (!wait_for_memory (transmitter, socket, cancellable, &waited, error))
            {
              g_clear_error (&local_error);
              return -1;
            }
        }

      if (!waited)
        {
          g_propagate_error (error, local_error);
          return -1;
        }
      g_clear_error (&local_error);
    }

  return -1;
}

/**
 * zcio_socket_stream_send_message: (skip)
 * @stream: a stream
 * @vectors: (array length=n_vectors): what to send, in this order
 * @n_vectors: how many vectors
 * @messages: (array length=n_messages) (nullable): control messages to send with it
 * @n_messages: how many messages
 * @bytes_written: (out) (optional): how many bytes were accepted
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Sends data with control messages, such as file descriptors over a UNIX socket, in order
 * with the other writes. There must be at least one byte of data, or the call fails with
 * %G_IO_ERROR_INVALID_ARGUMENT. Like g_output_stream_writev()
 * it copies, blocks until something was accepted, and may accept only a part of the data; the
 * control messages have gone with the first byte then.
 *
 * Returns: %TRUE if anything was accepted
 *
 * Since: 1.0
 */
gboolean
zcio_socket_stream_send_message (ZcioSocketStream       *stream,
                                 const GOutputVector    *vectors,
                                 gsize                   n_vectors,
                                 GSocketControlMessage **messages,
                                 guint                   n_messages,
                                 gsize                  *bytes_written,
                                 GCancellable           *cancellable,
                                 GError                **error)
{
  struct msghdr header = { 0 };
  g_autofree gpointer control = NULL;
  gsize control_size;
  gssize n;

  if (bytes_written != NULL)
    *bytes_written = 0;

  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), FALSE);
  g_return_val_if_fail (vectors != NULL && n_vectors > 0, FALSE);
  g_return_val_if_fail (messages != NULL || n_messages == 0, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (n_messages > 0 && !check_data (vectors, MIN (n_vectors, ZCIO_MAX_SEND_VECTORS), error))
    return FALSE;

  if (!g_output_stream_set_pending (G_OUTPUT_STREAM (stream), error))
    return FALSE;

  control = serialize_messages (messages, n_messages, &control_size);
  header.msg_iov = (struct iovec *) vectors;
  header.msg_iovlen = MIN (n_vectors, ZCIO_MAX_SEND_VECTORS);
  header.msg_control = control;
  header.msg_controllen = control_size;

  if (cancellable != NULL)
    g_cancellable_push_current (cancellable);
  n = send_with_control (zcio_socket_stream_get_transmitter (stream),
                         stream->socket, &header, cancellable, error);
  if (cancellable != NULL)
    g_cancellable_pop_current (cancellable);
  g_output_stream_clear_pending (G_OUTPUT_STREAM (stream));

  if (bytes_written != NULL)
    *bytes_written = MAX (n, 0);

  return n >= 0;
}

/**
 * zcio_socket_stream_send_message_bytes: (rename-to zcio_socket_stream_send_message)
 * @stream: a stream
 * @buffer: what to send, at least one byte
 * @messages: (array length=n_messages) (nullable): control messages to send with it
 * @n_messages: how many messages
 * @bytes_written: (out) (optional): how many bytes were accepted
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Does what zcio_socket_stream_send_message() does, for one #GBytes.
 *
 * Returns: %TRUE if anything was accepted
 *
 * Since: 1.0
 */
gboolean
zcio_socket_stream_send_message_bytes (ZcioSocketStream       *stream,
                                       GBytes                 *buffer,
                                       GSocketControlMessage **messages,
                                       guint                   n_messages,
                                       gsize                  *bytes_written,
                                       GCancellable           *cancellable,
                                       GError                **error)
{
  GOutputVector vector;

  g_return_val_if_fail (buffer != NULL, FALSE);

  vector.buffer = g_bytes_get_data (buffer, &vector.size);
  return zcio_socket_stream_send_message (stream, &vector, 1, messages, n_messages,
                                          bytes_written, cancellable, error);
}
