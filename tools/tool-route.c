/* tool-route.c - where packets to an address leave, and what that interface can do
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
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY_SIZE 8192

typedef struct
{
  struct nlmsghdr header;
  struct rtmsg route;
  char attributes[64];
} RouteRequest;

static void
set_errno_error (GError    **error,
                 const char *what)
{
  int errsv = errno;

  g_set_error (error, G_IO_ERROR, (int) g_io_error_from_errno (errsv), "%s: %s", what, g_strerror (errsv));
}

static void
fill_request (RouteRequest *request,
              GInetAddress *address)
{
  gsize size = g_inet_address_get_native_size (address);
  struct rtattr *attribute;

  memset (request, 0, sizeof *request);
  request->header.nlmsg_len = NLMSG_LENGTH (sizeof request->route);
  request->header.nlmsg_type = RTM_GETROUTE;
  request->header.nlmsg_flags = NLM_F_REQUEST;
  request->route.rtm_family = (unsigned char) g_inet_address_get_family (address);
  request->route.rtm_dst_len = (unsigned char) (8 * size);

  attribute = (struct rtattr *) (void *) ((char *) request + NLMSG_ALIGN (request->header.nlmsg_len));
  attribute->rta_type = RTA_DST;
  attribute->rta_len = (unsigned short) RTA_LENGTH (size);
  memcpy (RTA_DATA (attribute), g_inet_address_to_bytes (address), size);
  request->header.nlmsg_len = NLMSG_ALIGN (request->header.nlmsg_len) + RTA_ALIGN (attribute->rta_len);
}

static gboolean
read_reply (const struct nlmsghdr *header,
            gsize                  size,
            ToolRoute             *route,
            GError               **error)
{
  const struct rtmsg *message = NLMSG_DATA (header);
  const struct rtattr *attribute;
  unsigned int left;

  if (size < sizeof *header || !NLMSG_OK (header, (unsigned int) size))
    {
      errno = EBADMSG;
      set_errno_error (error, "Cannot look up the route");
      return FALSE;
    }
  if (header->nlmsg_type == NLMSG_ERROR)
    {
      const struct nlmsgerr *failure = NLMSG_DATA (header);

      errno = -failure->error;
      set_errno_error (error, "There is no route");
      return FALSE;
    }

  route->local = message->rtm_type == RTN_LOCAL;
  left = (unsigned int) RTM_PAYLOAD (header);
  /* What RTM_RTA () and RTA_NEXT () do, whose casts clang warns of. */
  attribute = (const void *) ((const char *) message + NLMSG_ALIGN (sizeof *message));
  while (RTA_OK (attribute, left))
    {
      gsize length = RTA_ALIGN (attribute->rta_len);

      if (attribute->rta_type == RTA_OIF)
        memcpy (&route->interface_index, RTA_DATA (attribute), sizeof route->interface_index);
      attribute = (const void *) ((const char *) attribute + length);
      left -= (unsigned int) MIN (length, left);
    }

  return TRUE;
}

gboolean
tool_route_find (GInetAddress *address,
                 ToolRoute    *route,
                 GError      **error)
{
  union
  {
    struct nlmsghdr header;
    char data[REPLY_SIZE];
  } reply;
  RouteRequest request;
  gssize n = -1;
  int fd;

  memset (route, 0, sizeof *route);
  fill_request (&request, address);

  fd = socket (AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd >= 0 && send (fd, &request, request.header.nlmsg_len, 0) > 0)
    n = recv (fd, &reply, sizeof reply, 0);
  if (n < 0)
    set_errno_error (error, "Cannot look up the route");
  if (fd >= 0)
    close (fd);

  return n >= 0 && read_reply (&reply.header, (gsize) n, route, error);
}

static gboolean
call_ethtool (int         fd,
              const char *name,
              void       *command)
{
  struct ifreq request = { 0 };

  g_strlcpy (request.ifr_name, name, sizeof request.ifr_name);
  request.ifr_data = command;
  return ioctl (fd, SIOCETHTOOL, &request) == 0;
}

static gboolean
read_flag (int         fd,
           const char *name,
           guint32     command,
           gboolean   *flag)
{
  struct ethtool_value value = { command, 0 };

  if (!call_ethtool (fd, name, &value))
    return FALSE;
  *flag = value.data != 0;
  return TRUE;
}

gboolean
tool_interface_read (const char    *name,
                     ToolInterface *interface,
                     GError       **error)
{
  struct ethtool_drvinfo driver = { .cmd = ETHTOOL_GDRVINFO };
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  gboolean success;

  memset (interface, 0, sizeof *interface);
  success = fd >= 0
            && read_flag (fd, name, ETHTOOL_GSG, &interface->scatter_gather)
            && read_flag (fd, name, ETHTOOL_GTXCSUM, &interface->checksum)
            && read_flag (fd, name, ETHTOOL_GTSO, &interface->tcp_segmentation)
            && read_flag (fd, name, ETHTOOL_GGSO, &interface->generic_segmentation);
  if (!success)
    set_errno_error (error, "Cannot read the offloads");
  else if (call_ethtool (fd, name, &driver))
    interface->driver = g_strndup (driver.driver, sizeof driver.driver);
  if (fd >= 0)
    close (fd);

  return success;
}

void
tool_interface_clear (ToolInterface *interface)
{
  g_clear_pointer (&interface->driver, g_free);
}

GPtrArray *
tool_interfaces_list (gboolean up)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  struct ifaddrs *addresses = NULL;

  if (getifaddrs (&addresses) < 0)
    return names;

  for (struct ifaddrs *a = addresses; a != NULL; a = a->ifa_next)
    {
      gboolean is_up = (a->ifa_flags & IFF_UP) != 0;

      if (!(a->ifa_flags & IFF_LOOPBACK) && is_up == up
          && !g_ptr_array_find_with_equal_func (names, a->ifa_name, g_str_equal, NULL))
        g_ptr_array_add (names, g_strdup (a->ifa_name));
    }
  freeifaddrs (addresses);

  return names;
}
