/* test-error-queue-sockets.c - reading notifications that the kernel made
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <arpa/inet.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#include "zcio/zcio-error-queue-private.h"

/* The flags are checked here, which the reader need not do. */

static guint n_real_truncated;

static gssize
real_receive_error (ZcioSyscalls *self,
                    int fd,
                    struct msghdr *message)
{
  gssize result = recvmsg (fd, message, MSG_ERRQUEUE | MSG_DONTWAIT);

  if (result >= 0 && (message->msg_flags & MSG_CTRUNC) != 0)
    n_real_truncated++;

  return result;
}

static ZcioSyscalls real_syscalls = { .receive_error = real_receive_error };

typedef enum
{
  IPV4,
  IPV6,
  V4_MAPPED
} Kind;

static socklen_t
fill_address (Kind kind,
              struct sockaddr_storage *storage)
{
  memset (storage, 0, sizeof *storage);

  if (kind == IPV4)
    {
      struct sockaddr_in *address = (struct sockaddr_in *) storage;

      address->sin_family = AF_INET;
      address->sin_addr.s_addr = htonl (INADDR_LOOPBACK);
      return sizeof *address;
    }
  else
    {
      struct sockaddr_in6 *address = (struct sockaddr_in6 *) storage;

      address->sin6_family = AF_INET6;
      g_assert_cmpint (inet_pton (AF_INET6, kind == IPV6 ? "::1" : "::ffff:127.0.0.1", &address->sin6_addr), ==, 1);
      return sizeof *address;
    }
}

/* A connected pair; FALSE if the machine has no such addresses. */
static gboolean
make_pair (Kind kind,
           int pair[2])
{
  struct sockaddr_storage storage;
  struct sockaddr *address = (struct sockaddr *) &storage;
  socklen_t size = fill_address (kind, &storage);
  int listener = socket (address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (listener < 0 || bind (listener, address, size) != 0)
    {
      g_test_skip ("There is no such loopback address");
      if (listener >= 0)
        close (listener);
      return FALSE;
    }

  g_assert_no_errno (listen (listener, 1));
  g_assert_no_errno (getsockname (listener, address, &size));
  pair[0] = socket (address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_no_errno (pair[0]);
  g_assert_no_errno (connect (pair[0], address, size));
  pair[1] = accept (listener, NULL, NULL);
  g_assert_no_errno (pair[1]);
  close (listener);

  return TRUE;
}

static gboolean
enable (int fd)
{
  int one = 1;
  int flags = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_ACK |
              SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_CMSG;

  if (setsockopt (fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one) != 0)
    {
      g_test_skip ("The kernel has no SO_ZEROCOPY");
      return FALSE;
    }

  /* With packet information, the records are as big as they get. */
  g_assert_no_errno (setsockopt (fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags));
  setsockopt (fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
  setsockopt (fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);

  return TRUE;
}

static void
send_and_receive (int pair[2],
                  const guint8 *data,
                  gsize size)
{
  g_autofree guint8 *received = g_malloc (size);

  g_assert_cmpint (send (pair[0], data, size, MSG_ZEROCOPY | MSG_NOSIGNAL), ==, (gssize) size);
  g_assert_cmpint (recv (pair[1], received, size, MSG_WAITALL), ==, (gssize) size);
  g_assert_cmpmem (received, size, data, size);
}

static void
test_real (gconstpointer data)
{
  const Kind kind = GPOINTER_TO_INT (data);
  const guint n_sends = 20;
  static guint8 buffer[20000];
  guint returned[20] = { 0 };
  guint n_returned = 0;
  guint n_timestamps = 0;
  ZcioNotification notifications[4];
  guint n_foreign;
  gboolean empty = FALSE;
  int pair[2];

  g_test_summary ("On a loopback socket with timestamps each send comes back exactly once, and no record is truncated");

  if (!make_pair (kind, pair))
    return;
  if (!enable (pair[0]))
    goto out;

  /* The socket is a blocking one, and the read must not block on it. */
  g_assert_cmpuint (zcio_error_queue_read (&real_syscalls, pair[0], notifications, 4, &n_foreign, &empty), ==, 0);
  g_assert_cmpuint (n_foreign, ==, 0);
  g_assert_true (empty);

  n_real_truncated = 0;
  memset (buffer, 'z', sizeof buffer);
  for (guint i = 0; i < n_sends; i++)
    send_and_receive (pair, buffer, sizeof buffer);

  while (n_returned < n_sends || n_timestamps == 0 || !empty)
    {
      struct pollfd fd = { pair[0], 0, 0 };
      guint n;

      /* The time is there only so that a failure does not hang. */
      if (empty)
        g_assert_cmpint (poll (&fd, 1, 30 * 1000), ==, 1);

      n = zcio_error_queue_read (&real_syscalls, pair[0], notifications, 4, &n_foreign, &empty);
      n_timestamps += n_foreign;
      for (guint i = 0; i < n; i++)
        {
          g_assert_cmpuint (notifications[i].first, <=, notifications[i].last);
          g_assert_cmpuint (notifications[i].last, <, n_sends);
          for (guint id = notifications[i].first; id <= notifications[i].last; id++)
            {
              g_assert_cmpuint (returned[id]++, ==, 0);
              n_returned++;
            }
        }
    }

  g_assert_cmpuint (n_returned, ==, n_sends);
  g_assert_cmpuint (n_real_truncated, ==, 0);
  g_test_message ("%u foreign records", n_timestamps);

out:
  close (pair[0]);
  close (pair[1]);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/error-queue-sockets/ipv4", GINT_TO_POINTER (IPV4), test_real);
  g_test_add_data_func ("/error-queue-sockets/ipv6", GINT_TO_POINTER (IPV6), test_real);
  g_test_add_data_func ("/error-queue-sockets/v4-mapped", GINT_TO_POINTER (V4_MAPPED), test_real);

  return g_test_run ();
}
