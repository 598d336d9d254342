/* zcio-peer.c - is the other end on this host?
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-peer-private.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The device has one more (loopback_setup ()), but a packet of IPv4 cannot (IP_MAX_MTU). */
#define LOOPBACK_MTU 65535

/* Through the kernel's form: a program may have connected to a GNativeSocketAddress, and of
 * ::ffff:a.b.c.d this makes the host a.b.c.d, which is what interfaces have.
 */
static GInetAddress *
dup_inet_address (GSocketAddress *address)
{
  struct sockaddr_storage native = { 0 };
  g_autoptr (GSocketAddress) known = NULL;

  if (address == NULL || !g_socket_address_to_native (address, &native, sizeof native, NULL))
    return NULL;

  known = g_socket_address_new_from_native (&native, g_socket_address_get_native_size (address));
  if (!G_IS_INET_SOCKET_ADDRESS (known))
    return NULL;

  return g_object_ref (g_inet_socket_address_get_address (G_INET_SOCKET_ADDRESS (known)));
}

static gboolean
is_address_of_interface (const struct ifaddrs *interface,
                         GInetAddress         *address)
{
  const guint8 *bytes = g_inet_address_to_bytes (address);

  if (interface->ifa_addr == NULL)
    return FALSE;

  if (interface->ifa_addr->sa_family == AF_INET &&
      g_inet_address_get_family (address) == G_SOCKET_FAMILY_IPV4)
    {
      const struct sockaddr_in *in = (const void *) interface->ifa_addr;

      return memcmp (&in->sin_addr, bytes, sizeof in->sin_addr) == 0;
    }

  if (interface->ifa_addr->sa_family == AF_INET6 &&
      g_inet_address_get_family (address) == G_SOCKET_FAMILY_IPV6)
    {
      const struct sockaddr_in6 *in6 = (const void *) interface->ifa_addr;

      return memcmp (&in6->sin6_addr, bytes, sizeof in6->sin6_addr) == 0;
    }

  return FALSE;
}

/* Only to an own address can a socket be bound: that is quickly asked, and the answer is no for
 * nearly all peers. A yes is none where a system lets sockets be bound to any address
 * (ip_nonlocal_bind).
 */
static gboolean
may_be_own_address (GInetAddress *address)
{
  g_autoptr (GSocketAddress) inet = g_inet_socket_address_new (address, 0);
  struct sockaddr_storage native;
  gboolean refused;
  int fd;

  if (!g_socket_address_to_native (inet, &native, sizeof native, NULL))
    return TRUE;

  fd = socket (g_inet_address_get_family (address), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return TRUE;

  refused = bind (fd, (const struct sockaddr *) &native,
                  g_socket_address_get_native_size (inet)) != 0 && errno == EADDRNOTAVAIL;
  close (fd);

  return !refused;
}

static gboolean
is_own_address (GInetAddress *address)
{
  struct ifaddrs *interfaces = NULL;
  gboolean found = FALSE;

  if (getifaddrs (&interfaces) != 0)
    return FALSE;

  for (struct ifaddrs *i = interfaces; i != NULL && !found; i = i->ifa_next)
    found = is_address_of_interface (i, address);

  freeifaddrs (interfaces);
  return found;
}

/* What stays on this host goes over the loopback device, whose packets are larger than those of
 * any other: a connection with a smaller MTU is told by one quick call. Where somebody has made
 * the loopback's smaller, the notifications tell in the end.
 */
static gboolean
is_mtu_of_network (GSocket *socket)
{
  int mtu;

  return (g_socket_get_family (socket) == G_SOCKET_FAMILY_IPV4
            ? g_socket_get_option (socket, IPPROTO_IP, IP_MTU, &mtu, NULL)
            : g_socket_get_option (socket, IPPROTO_IPV6, IPV6_MTU, &mtu, NULL)) &&
         mtu > 0 && mtu < LOOPBACK_MTU;
}

/*
 * zcio_peer_is_local:
 *
 * What is delivered on the host that sent it is copied for the receiver
 * (skb_orphan_frags_rx ()), so zero-copy cannot pay. Only an estimate: another network
 * namespace, for one, looks like another host.
 */
gboolean
zcio_peer_is_local (GSocket *socket)
{
  g_autoptr (GSocketAddress) remote = NULL;
  g_autoptr (GSocketAddress) local = NULL;
  g_autoptr (GInetAddress) remote_address = NULL;
  g_autoptr (GInetAddress) local_address = NULL;

  if (is_mtu_of_network (socket))
    return FALSE;

  remote = g_socket_get_remote_address (socket, NULL);
  remote_address = dup_inet_address (remote);
  if (remote_address == NULL)
    return FALSE;

  local = g_socket_get_local_address (socket, NULL);
  local_address = dup_inet_address (local);

  if (local_address != NULL && g_inet_address_equal (remote_address, local_address))
    return TRUE;

  return g_inet_address_get_is_loopback (remote_address) ||
         (may_be_own_address (remote_address) && is_own_address (remote_address));
}
