/* zcio-error-queue.c - reads notifications from a socket's error queue
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-error-queue-private.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* A notification needs 64 bytes on an IPv6 socket. Too small a buffer would lose
 * it for ever, since the kernel dequeues a record whether it fits or not; there is
 * room for all that may come along with it: timestamps, packet information, TTL.
 */
#define CONTROL_SIZE 512

/* The most records that are not notifications, and interrupted calls, in one go:
 * with timestamps on, a peer that acknowledges fast could otherwise hold the reader
 * here.
 */
#define MAX_FOREIGN 256

/* These are the kernel's ABI (linux/errqueue.h, linux/in.h, linux/in6.h). They are
 * repeated here so that the room builds with old headers and on other systems.
 */
enum
{
  ORIGIN_ZEROCOPY = 5,
  CODE_ZEROCOPY_COPIED = 1,
  TYPE_IP_RECVERR = 11,
  TYPE_IPV6_RECVERR = 25
};

typedef struct
{
  guint32 error;
  guint8 origin;
  guint8 type;
  guint8 code;
  guint8 pad;
  guint32 info;
  guint32 data;
} ExtendedError;

G_STATIC_ASSERT (sizeof (ExtendedError) == 16);

/* Finds the control message at @offset and moves on. Neither the length nor the
 * alignment of anything is taken for granted, which is why this is not
 * CMSG_NXTHDR ().
 */
static gboolean
next_control (const guint8 *control,
              gsize control_length,
              gsize *offset,
              struct cmsghdr *header,
              const guint8 **data,
              gsize *data_length)
{
  gsize left = control_length - *offset;

  if (left < CMSG_LEN (0))
    return FALSE;

  memcpy (header, control + *offset, sizeof *header);
  if (header->cmsg_len < CMSG_LEN (0) || header->cmsg_len > left)
    return FALSE;

  *data = control + *offset + CMSG_LEN (0);
  *data_length = header->cmsg_len - CMSG_LEN (0);
  *offset += MIN (CMSG_SPACE (*data_length), left);

  return TRUE;
}

/* An IPv6 socket has its own level even for a peer with an IPv4 address. */
static gboolean
is_extended_error (const struct cmsghdr *header)
{
  return (header->cmsg_level == IPPROTO_IP && header->cmsg_type == TYPE_IP_RECVERR) ||
         (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == TYPE_IPV6_RECVERR);
}

/*
 * zcio_error_queue_parse:
 * @message: a message from an error queue
 * @notification: (out): where to put what it says
 *
 * Only the control messages are looked at, not the flags: a record that was
 * truncated behind the part that matters is as good as a whole one.
 *
 * Returns: whether the message is a notification of zero-copy sends
 */
gboolean
zcio_error_queue_parse (struct msghdr *message,
                        ZcioNotification *notification)
{
  const guint8 *control = message->msg_control;
  const guint8 *data;
  gsize offset = 0;
  gsize data_length;
  struct cmsghdr header;
  ExtendedError error;

  if (control == NULL)
    return FALSE;

  while (next_control (control, message->msg_controllen, &offset, &header, &data, &data_length))
    {
      if (!is_extended_error (&header) || data_length < sizeof error)
        continue;

      memcpy (&error, data, sizeof error);
      if (error.origin != ORIGIN_ZEROCOPY || error.error != 0)
        continue;

      notification->first = error.info;
      notification->last = error.data;
      notification->copied = (error.code & CODE_ZEROCOPY_COPIED) != 0;

      return TRUE;
    }

  return FALSE;
}

static gssize
receive (ZcioSyscalls *syscalls,
         int fd,
         struct msghdr *message,
         guint8 *control,
         gsize control_size)
{
  /* The kernel overwrites the lengths, so each call needs them anew. There is no
   * place for a payload: the packet that a timestamp brings along is cut off.
   */
  memset (message, 0, sizeof *message);
  message->msg_control = control;
  message->msg_controllen = control_size;

  return syscalls->receive_error (syscalls, fd, message);
}

/*
 * zcio_error_queue_read:
 * @syscalls: the calls into the kernel
 * @fd: a socket on which setting SO_ZEROCOPY succeeded
 * @notifications: (out): array for what is read
 * @max_notifications: size of the array
 * @n_foreign: (out) (optional): records that were not notifications, and are gone
 * @empty: (out) (optional): whether nothing is left to read. If not, there may be
 *   more, even if fewer than @max_notifications were read
 *
 * Never blocks, and leaves errno as it was.
 *
 * Returns: how many notifications were read
 */
guint
zcio_error_queue_read (ZcioSyscalls *syscalls,
                       int fd,
                       ZcioNotification *notifications,
                       guint max_notifications,
                       guint *n_foreign,
                       gboolean *empty)
{
  int saved_errno = errno;
  guint n_notifications = 0;
  guint n_foreign_read = 0;
  guint n_interrupted = 0;
  gboolean is_empty = FALSE;

  while (n_notifications < max_notifications && n_foreign_read + n_interrupted < MAX_FOREIGN)
    {
      union
      {
        struct cmsghdr align;
        guint8 bytes[CONTROL_SIZE];
      } control;
      struct msghdr message;

      if (receive (syscalls, fd, &message, control.bytes, sizeof control.bytes) < 0)
        {
          if (errno == EINTR)
            {
              n_interrupted++;
              continue;
            }

          /* EAGAIN, or an error that would come again and again: in both cases
           * there is nothing to wait for here.
           */
          is_empty = TRUE;
          break;
        }

      if (zcio_error_queue_parse (&message, &notifications[n_notifications]))
        n_notifications++;
      else
        n_foreign_read++;
    }

  if (n_foreign != NULL)
    *n_foreign = n_foreign_read;
  if (empty != NULL)
    *empty = is_empty;

  errno = saved_errno;

  return n_notifications;
}
