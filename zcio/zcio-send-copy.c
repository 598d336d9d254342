/* zcio-send-copy.c - sending a copy, and what is looked at before any send
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-send-private.h"

#include <errno.h>

#include "zcio-words-private.h"

/* It sends nothing, but makes GSocket's own checks: whether it is closed, and whether a source
 * of GSocket's has met its timeout.
 */
gboolean
zcio_send_check_socket (GSocket  *socket,
                        GError  **error)
{
  return g_socket_send_messages (socket, NULL, 0, 0, NULL, error) >= 0;
}

/* Where nothing could be sent there may be a timeout to tell of instead, or a program that
 * waits and tries again would do so for ever. Only there it is looked for: it costs.
 */
gboolean
zcio_send_may_block (GSocket  *socket,
                     GError  **error)
{
  return g_socket_get_timeout (socket) == 0 || zcio_send_check_socket (socket, error);
}

gboolean
zcio_send_check_slowly (ZcioTransmitter  *self,
                        GSocket          *socket,
                        GCancellable     *cancellable,
                        GError          **error)
{
  if (!zcio_send_check_socket (socket, error))
    return FALSE;

  if (g_atomic_int_compare_and_exchange (&self->timed_out, TRUE, FALSE))
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, ZCIO_GIO_ (SOCKET_TIMED_OUT));
      return FALSE;
    }

  return !g_cancellable_set_error_if_cancelled (cancellable, error);
}

gssize
zcio_transmitter_send_copy (ZcioTransmitter      *self,
                            GSocket              *socket,
                            const struct msghdr  *message,
                            gboolean              is_data,
                            GError              **error)
{
  int fd = g_socket_get_fd (socket);
  gssize n;
  int errsv;

  if (fd < 0 && !zcio_send_check_socket (socket, error))
    return -1;

  do
    n = self->syscalls->send_message (self->syscalls, fd, message, 0);
  while (n < 0 && errno == EINTR);

  if (G_LIKELY (n >= 0))
    {
      __atomic_fetch_add (&self->plain_sends, 1, __ATOMIC_RELAXED);
      __atomic_fetch_add (&self->plain_bytes, n, __ATOMIC_RELAXED);
      return n;
    }

  errsv = errno;
  if (errsv == EAGAIN && zcio_send_may_block (socket, error))
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, g_strerror (errsv));
  else if (errsv != EAGAIN)
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errsv),
                 is_data ? ZCIO_GIO_ (SENDING_DATA) : ZCIO_GIO_ (SENDING_MESSAGE),
                 g_strerror (errsv));

  return -1;
}
