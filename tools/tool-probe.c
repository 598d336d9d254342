/* tool-probe.c - what real sends over loopback tell about zero-copy
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-doctor.h"
#include "tool.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Enough for any use: nobody needs to know more exactly. */
#define MEMLOCK_ENOUGH ((guint64) 1024 * 1024 * 1024)
#define PROBE_SIZE ((gsize) 4096)
#define PROBE_TIMEOUT 5

#define PAGE_SHIFT 12
/* What the kernel adds to each send, since the memory may begin within a page. */
#define EXTRA_PAGES 2

/* A TCP connection of this process with itself. */
typedef struct
{
  GSocket *sender;
  GSocket *receiver;
} Pair;

static void
pair_clear (Pair *pair)
{
  g_clear_object (&pair->sender);
  g_clear_object (&pair->receiver);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Pair, pair_clear)

static gboolean
pair_open (Pair         *pair,
           GSocketFamily family,
           GError      **error)
{
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (family);
  g_autoptr (GSocketAddress) any_port = g_inet_socket_address_new (loopback, 0);
  g_autoptr (GSocketAddress) address = NULL;
  g_autoptr (GSocket) listener = g_socket_new (family, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, error);

  if (listener == NULL)
    return FALSE;

  g_socket_set_timeout (listener, PROBE_TIMEOUT);
  if (!g_socket_bind (listener, any_port, FALSE, error) || !g_socket_listen (listener, error))
    return FALSE;
  address = g_socket_get_local_address (listener, error);
  pair->sender = g_socket_new (family, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, error);
  if (address == NULL || pair->sender == NULL)
    return FALSE;

  g_socket_set_timeout (pair->sender, PROBE_TIMEOUT);
  if (!g_socket_connect (pair->sender, address, NULL, error))
    return FALSE;
  pair->receiver = g_socket_accept (listener, NULL, error);
  tool_socket_set_reset (pair->sender, TRUE);

  return pair->receiver != NULL;
}

static gboolean
pair_open_any (Pair    *pair,
               GError **error)
{
  if (pair_open (pair, G_SOCKET_FAMILY_IPV4, error))
    return TRUE;

  pair_clear (pair);
  return pair_open (pair, G_SOCKET_FAMILY_IPV6, NULL);
}

static gssize
send_zero_copy (GSocket *socket,
                gpointer data,
                gsize    size)
{
  return send (g_socket_get_fd (socket), data, size, MSG_ZEROCOPY | MSG_DONTWAIT | MSG_NOSIGNAL);
}

static gboolean
enable_zero_copy (GSocket *socket)
{
  int one = 1;

  return setsockopt (g_socket_get_fd (socket), SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one) == 0;
}

/* Until the notification is read, the send is charged for. */
static guint
get_optmem (GSocket *socket)
{
  guint32 info[SK_MEMINFO_VARS] = { 0 };
  socklen_t size = sizeof info;

  if (getsockopt (g_socket_get_fd (socket), SOL_SOCKET, SO_MEMINFO, info, &size) < 0)
    return 0;
  return info[SK_MEMINFO_OPTMEM];
}

/* The library's own way, from the send to the notification. */
static gboolean
check_library (void)
{
  g_auto (Pair) pair = { NULL, NULL };
  g_autoptr (ZcioSocketStream) stream = NULL;
  g_autoptr (ZcioStatistics) statistics = NULL;
  g_autoptr (GBytes) bytes = g_bytes_new_take (g_malloc0 (PROBE_SIZE), PROBE_SIZE);

  if (!pair_open_any (&pair, NULL))
    return FALSE;

  stream = zcio_socket_stream_new (pair.sender);
  zcio_socket_stream_set_zero_copy_mode (stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  if (!zcio_socket_stream_write_zerocopy (stream, bytes, NULL, NULL, NULL)
      || !zcio_socket_stream_drain (stream, 0, NULL, NULL))
    return FALSE;

  statistics = zcio_socket_stream_get_statistics (stream);
  return statistics->notifications > 0 && statistics->sends_in_flight == 0;
}

void
tool_probe_run (ToolProbe *probe)
{
  g_auto (Pair) pair = { NULL, NULL };
  g_autofree guint8 *data = g_malloc0 (PROBE_SIZE);

  memset (probe, 0, sizeof *probe);

  probe->connected = pair_open_any (&pair, NULL);
  if (!probe->connected)
    return;

  probe->accepted = enable_zero_copy (pair.sender);
  probe->errsv = errno;
  if (!probe->accepted)
    return;

  probe->sent = send_zero_copy (pair.sender, data, PROBE_SIZE) > 0;
  probe->errsv = errno;
  if (!probe->sent)
    return;

  probe->optmem_cost = get_optmem (pair.sender);
  probe->notified = check_library ();
}

/* Whether one send of @pages pages is within the limit. Only the size asked for
 * counts, so the memory is never touched.
 */
static gboolean
may_pin (guint64 pages)
{
  gsize size = (gsize) (pages << PAGE_SHIFT);
  void *data = mmap (NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  gboolean accepted = FALSE;

  if (data == MAP_FAILED)
    return FALSE;

  /* The kernel may still hold what the last try has pinned. */
  for (int i = 0; i < 3 && !accepted; i++)
    {
      g_auto (Pair) pair = { NULL, NULL };

      if (i > 0)
        g_usleep (2000);
      accepted = pair_open_any (&pair, NULL)
                 && enable_zero_copy (pair.sender)
                 && send_zero_copy (pair.sender, data, size) > 0;
    }
  munmap (data, size);

  return accepted;
}

/* No file and no call says what a user has pinned, nor who is exempt (a
 * capability counts in the first user namespace alone): trying does.
 */
void
tool_probe_memlock (ToolMemlock *memlock)
{
  struct rlimit limit;
  guint64 fits = 0;
  guint64 fails;

  memset (memlock, 0, sizeof *memlock);
  if (getrlimit (RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur >= MEMLOCK_ENOUGH)
    return;

  memlock->limit = limit.rlim_cur;
  memlock->hard_limit = limit.rlim_max;
  fails = (memlock->limit >> PAGE_SHIFT) + EXTRA_PAGES;
  if (may_pin (fails))
    return;

  memlock->limited = TRUE;
  while (fails - fits > 1)
    {
      guint64 middle = fits + (fails - fits) / 2;

      if (may_pin (middle))
        fits = middle;
      else
        fails = middle;
    }
  memlock->available = fits > 0 ? (fits + EXTRA_PAGES) << PAGE_SHIFT : 0;
}
