/* test-peer.c - which peers are on this host
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <gio/gnetworking.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test-util.h"
#include "zcio/zcio-peer-private.h"

/* Addresses for documentation (RFC 5737, RFC 3849): the own ones, and others on their links. */
#define OWN_IPV4 "192.0.2.1"
#define SECOND_IPV4 "192.0.2.2"
#define OTHER_IPV4 "192.0.2.99"
#define OWN_IPV6 "2001:db8::1"
#define OTHER_IPV6 "2001:db8::99"
#define PREFIX_IPV6 64

/* As the kernel has it; <linux/ipv6.h> and <netinet/in.h> do not go together. */
struct zcio_in6_ifreq
{
  struct in6_addr address;
  guint32 prefix;
  int index;
};

static void
test_loopback (gconstpointer data)
{
  ZcioTestFamily family = GPOINTER_TO_INT (data);
  g_autoptr (GSocket) near_socket = NULL;
  g_autoptr (GSocket) far_socket = NULL;

  g_test_summary ("Both ends of a connection over loopback have a local peer, also where it was "
                  "connected to a GNativeSocketAddress; a UNIX socket has no peer with an address");

  if (!zcio_test_socket_pair (family, 0, &near_socket, &far_socket))
    return;

  g_assert_cmpint (zcio_peer_is_local (near_socket), ==, family != ZCIO_TEST_FAMILY_UNIX);
  g_assert_cmpint (zcio_peer_is_local (far_socket), ==, family != ZCIO_TEST_FAMILY_UNIX);
}

static void
test_not_connected (void)
{
  g_autoptr (GSocket) unconnected = NULL;
  g_autoptr (GError) error = NULL;

  g_test_summary ("A socket that is not connected has no local peer");

  unconnected = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
  g_assert_no_error (error);
  g_assert_false (zcio_peer_is_local (unconnected));
}

static void
test_native_address (void)
{
  g_autoptr (GSocket) netlink = NULL;
  g_autoptr (GSocketAddress) address = NULL;
  g_autoptr (GError) error = NULL;
  int fd;

  g_test_summary ("A peer whose kind of address GIO has no class for is not a local one");

  fd = socket (AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_ROUTE);
  g_assert_cmpint (fd, >=, 0);
  netlink = g_socket_new_from_fd (fd, &error);
  if (netlink == NULL)
    {
      close (fd);
      g_test_skip_printf ("GIO takes no such socket: %s", error->message);
      return;
    }

  address = g_socket_get_remote_address (netlink, &error);
  g_assert_no_error (error);
  g_assert_false (G_IS_INET_SOCKET_ADDRESS (address));
  g_assert_false (zcio_peer_is_local (netlink));
}

/* In a namespace of its own, whose loopback interface gets them. */

static void
add_ipv4 (const char *interface,
          const char *address)
{
  struct ifreq request = { 0 };
  struct sockaddr_in *in = (struct sockaddr_in *) &request.ifr_addr;
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (fd, >=, 0);
  g_strlcpy (request.ifr_name, interface, sizeof request.ifr_name);
  in->sin_family = AF_INET;
  g_assert_cmpint (inet_pton (AF_INET, address, &in->sin_addr), ==, 1);
  g_assert_cmpint (ioctl (fd, SIOCSIFADDR, &request), ==, 0);
  close (fd);
}

static void
add_ipv6 (const char *interface,
          const char *address)
{
  struct zcio_in6_ifreq request = {
    .prefix = PREFIX_IPV6,
    .index = (int) if_nametoindex (interface),
  };
  struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
  int fd = socket (AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  gint64 deadline = zcio_test_get_deadline ();

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (inet_pton (AF_INET6, address, &request.address), ==, 1);
  g_assert_cmpint (ioctl (fd, SIOCSIFADDR, &request), ==, 0);

  /* The kernel lets it be used a moment later, and tells nobody. */
  in6.sin6_addr = request.address;
  while (bind (fd, (const struct sockaddr *) &in6, sizeof in6) != 0)
    {
      g_assert_cmpint (errno, ==, EADDRNOTAVAIL);
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (1000);
    }
  close (fd);
}

static GSocketAddress *
make_address (GSocketFamily  family,
              const char    *host,
              int            port)
{
  struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = g_htons (port) };

  if (family == G_SOCKET_FAMILY_IPV4)
    return g_inet_socket_address_new_from_string (host, port);

  /* GIO would make an IPv4 address of one that is mapped. */
  g_assert_cmpint (inet_pton (AF_INET6, host, &in6.sin6_addr), ==, 1);
  return g_native_socket_address_new (&in6, sizeof in6);
}

/* Connecting a datagram socket sends nothing, so nobody need be there. */
static GSocket *
connect_to (GSocketFamily  family,
            const char    *own,
            const char    *remote)
{
  g_autoptr (GSocketAddress) remote_address = make_address (family, remote, 9);
  g_autoptr (GError) error = NULL;
  GSocket *connected = g_socket_new (family, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, &error);

  g_assert_no_error (error);
  if (own != NULL)
    {
      g_autoptr (GSocketAddress) own_address = make_address (family, own, 0);

      g_socket_bind (connected, own_address, FALSE, &error);
      g_assert_no_error (error);
    }
  g_socket_connect (connected, remote_address, NULL, &error);
  g_assert_no_error (error);

  return connected;
}

static gboolean
is_local (GSocketFamily  family,
          const char    *own,
          const char    *remote)
{
  g_autoptr (GSocket) connected = connect_to (family, own, remote);

  return zcio_peer_is_local (connected);
}

static void
test_own_address_ipv4 (void)
{
  g_test_summary ("A peer at any address of an interface of this host is local; another address "
                  "of the same link is not");

  if (!zcio_test_in_namespace (0))
    return;

  add_ipv4 ("lo:1", OWN_IPV4);
  add_ipv4 ("lo:2", SECOND_IPV4);

  g_assert_true (is_local (G_SOCKET_FAMILY_IPV4, NULL, OWN_IPV4));
  g_assert_true (is_local (G_SOCKET_FAMILY_IPV4, SECOND_IPV4, OWN_IPV4));
  g_assert_true (is_local (G_SOCKET_FAMILY_IPV4, OWN_IPV4, "127.0.0.5"));
  g_assert_false (is_local (G_SOCKET_FAMILY_IPV4, OWN_IPV4, OTHER_IPV4));

  /* As IPv6 sees the same hosts. */
  g_assert_true (is_local (G_SOCKET_FAMILY_IPV6, "::ffff:" SECOND_IPV4, "::ffff:" OWN_IPV4));
  g_assert_true (is_local (G_SOCKET_FAMILY_IPV6, "::ffff:" OWN_IPV4, "::ffff:127.0.0.5"));
  g_assert_false (is_local (G_SOCKET_FAMILY_IPV6, "::ffff:" OWN_IPV4, "::ffff:" OTHER_IPV4));
}

static void
test_own_address_ipv6 (void)
{
  g_test_summary ("The same with IPv6, where the first bytes of the addresses are alike");

  if (access ("/proc/net/if_inet6", F_OK) != 0)
    {
      g_test_skip ("No IPv6 on this host");
      return;
    }
  if (!zcio_test_in_namespace (0))
    return;

  add_ipv4 ("lo:1", OWN_IPV4);
  add_ipv6 ("lo", OWN_IPV6);

  g_assert_true (is_local (G_SOCKET_FAMILY_IPV6, NULL, OWN_IPV6));
  g_assert_true (is_local (G_SOCKET_FAMILY_IPV6, "::1", OWN_IPV6));
  g_assert_true (is_local (G_SOCKET_FAMILY_IPV6, OWN_IPV6, "::1"));
  g_assert_false (is_local (G_SOCKET_FAMILY_IPV6, OWN_IPV6, OTHER_IPV6));
}

static void
test_interface_without_address (void)
{
  struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
  int fd;

  g_test_summary ("An interface that has no address at all is passed over");

  if (access ("/dev/net/tun", R_OK | W_OK) != 0)
    {
      g_test_skip_printf ("May not make a tunnel: %s", g_strerror (errno));
      return;
    }
  if (!zcio_test_in_namespace (0))
    return;

  fd = open ("/dev/net/tun", O_RDWR | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (ioctl (fd, TUNSETIFF, &request), ==, 0);

  add_ipv4 ("lo:1", OWN_IPV4);
  add_ipv4 ("lo:2", SECOND_IPV4);
  g_assert_true (is_local (G_SOCKET_FAMILY_IPV4, SECOND_IPV4, OWN_IPV4));
  g_assert_false (is_local (G_SOCKET_FAMILY_IPV4, OWN_IPV4, OTHER_IPV4));
  close (fd);
}

static void
test_no_descriptor (void)
{
  g_autoptr (GSocket) to_second = NULL;
  g_autoptr (GSocket) to_loopback = NULL;
  struct rlimit limit;

  g_test_summary ("Without a descriptor for asking the kernel, a peer counts as another host, "
                  "unless its address alone tells");

  if (!zcio_test_in_namespace (0))
    return;

  add_ipv4 ("lo:1", OWN_IPV4);
  add_ipv4 ("lo:2", SECOND_IPV4);
  to_second = connect_to (G_SOCKET_FAMILY_IPV4, OWN_IPV4, SECOND_IPV4);
  to_loopback = connect_to (G_SOCKET_FAMILY_IPV4, OWN_IPV4, "127.0.0.5");
  g_assert_true (zcio_peer_is_local (to_second));

  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  limit.rlim_cur = 0;
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  g_assert_false (zcio_peer_is_local (to_second));
  g_assert_true (zcio_peer_is_local (to_loopback));
  limit.rlim_cur = limit.rlim_max;
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  g_assert_true (zcio_peer_is_local (to_second));
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  for (ZcioTestFamily family = ZCIO_TEST_FAMILY_IPV4; family <= ZCIO_TEST_FAMILY_UNIX; family++)
    {
      g_autofree char *path = g_strdup_printf ("/peer/loopback/%s", zcio_test_family_to_string (family));

      g_test_add_data_func (path, GINT_TO_POINTER (family), test_loopback);
    }
  g_test_add_func ("/peer/not-connected", test_not_connected);
  g_test_add_func ("/peer/native-address", test_native_address);
  g_test_add_func ("/peer/own-address/ipv4", test_own_address_ipv4);
  g_test_add_func ("/peer/own-address/ipv6", test_own_address_ipv6);
  g_test_add_func ("/peer/interface-without-address", test_interface_without_address);
  g_test_add_func ("/peer/no-descriptor", test_no_descriptor);

  return g_test_run ();
}
