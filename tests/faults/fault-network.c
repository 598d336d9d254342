/* fault-network.c - two hosts and the wire between them, made of network namespaces
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fault-network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct _ZcioFaultNetwork
{
  int namespaces[2];
  int xdp_link;
};

static const char *const interfaces[] = { "zcio-a", "zcio-b" };

/* What this host can do */

/* Returns NULL if the shell commands succeed in a namespace of their own, else why not. */
static char *
try_in_namespace (const char *commands)
{
  const char *argv[] = { "unshare", "--net", "sh", "-c", commands, NULL };
  char *complaint = NULL;
  int status = 0;
  GError *error = NULL;

  if (!g_spawn_sync (NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                     &complaint, &status, &error))
    {
      complaint = g_strdup (error->message);
      g_error_free (error);
      return complaint;
    }

  if (g_spawn_check_wait_status (status, NULL))
    g_clear_pointer (&complaint, g_free);

  return complaint != NULL ? g_strstrip (complaint) : NULL;
}

static int
load_xdp_program (void)
{
  /* return XDP_PASS; */
  const struct bpf_insn instructions[] = {
    { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
    { .code = BPF_JMP | BPF_EXIT },
  };
  union bpf_attr attributes;

  memset (&attributes, 0, sizeof attributes);
  attributes.prog_type = BPF_PROG_TYPE_XDP;
  attributes.insns = (guint64) (gsize) instructions;
  attributes.insn_cnt = G_N_ELEMENTS (instructions);
  attributes.license = (guint64) (gsize) "GPL";

  return (int) syscall (SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
}

static gboolean
have_xdp (void)
{
  int fd = load_xdp_program ();

  if (fd < 0)
    {
      g_test_skip_printf ("May not load a program for an interface: %s", g_strerror (errno));
      return FALSE;
    }

  close (fd);
  return TRUE;
}

gboolean
zcio_fault_begin (int            optmem_max,
                  ZcioFaultNeeds needs)
{
  static const char *const commands[] = {
    "ip link add zcio-a type veth peer name zcio-b",
    "tc qdisc add dev lo root tbf rate 1mbit burst 2000 limit 100000",
    "tc qdisc add dev lo root handle 1: htb default 10",
    "tc qdisc add dev lo root netem delay 1ms",
  };
  static const guint wanted_for[] = {
    ~0u, ZCIO_FAULT_NEEDS_TBF, ZCIO_FAULT_NEEDS_HTB, ZCIO_FAULT_NEEDS_NETEM
  };

  if (!g_test_subprocess ())
    {
      for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
        {
          g_autofree char *complaint = NULL;

          if (wanted_for[i] != ~0u && (needs & wanted_for[i]) == 0)
            continue;
          complaint = try_in_namespace (commands[i]);
          if (complaint != NULL)
            {
              g_test_skip_printf ("Not possible here: %s: %s", commands[i], complaint);
              return FALSE;
            }
        }

      if ((needs & ZCIO_FAULT_NEEDS_XDP) != 0 && !have_xdp ())
        return FALSE;
    }

  return zcio_test_in_namespace (optmem_max);
}

/* The network */

typedef struct
{
  ZcioFaultNetwork *network;
  ZcioFaultSide side;
  void (*func) (gpointer data);
  gpointer data;
} Visit;

static gpointer
visit_thread (gpointer data)
{
  Visit *visit = data;

  g_assert_cmpint (setns (visit->network->namespaces[visit->side], CLONE_NEWNET), ==, 0);
  visit->func (visit->data);

  return NULL;
}

/* A namespace is a thread's, and what the thread makes stays there. */
static void
visit (ZcioFaultNetwork *network,
       ZcioFaultSide     side,
       void            (*func) (gpointer data),
       gpointer          data)
{
  Visit order = { network, side, func, data };

  g_thread_join (g_thread_new ("visitor", visit_thread, &order));
}

static int
open_namespace (void)
{
  g_autofree char *path = g_strdup_printf ("/proc/self/task/%d/ns/net", gettid ());
  int fd = open (path, O_RDONLY | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  return fd;
}

static gpointer
make_namespace (gpointer data)
{
  int *fd = data;

  g_assert_cmpint (unshare (CLONE_NEWNET), ==, 0);
  *fd = open_namespace ();

  return NULL;
}

static void
run_command (gpointer data)
{
  g_autofree char *complaint = NULL;
  int status = 0;
  GError *error = NULL;

  g_spawn_command_line_sync (data, NULL, &complaint, &status, &error);
  g_assert_no_error (error);
  if (!g_spawn_check_wait_status (status, NULL))
    g_error ("%s: %s", (char *) data, complaint);
}

void
zcio_fault_run (ZcioFaultNetwork *network,
                ZcioFaultSide     side,
                const char       *format,
                ...)
{
  g_autofree char *command = NULL;
  va_list arguments;

  va_start (arguments, format);
  command = g_strdup_vprintf (format, arguments);
  va_end (arguments);

  visit (network, side, run_command, command);
}

/* Before that it loses packets, and who loses the first ones waits seconds for the next. */
static void
wait_until_running (gpointer data)
{
  gint64 deadline = zcio_test_get_deadline ();
  struct ifreq request = { 0 };
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (fd, >=, 0);
  g_strlcpy (request.ifr_name, data, sizeof request.ifr_name);
  do
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (1000);
      g_assert_cmpint (ioctl (fd, SIOCGIFFLAGS, &request), ==, 0);
    }
  while ((request.ifr_flags & IFF_RUNNING) == 0);
  close (fd);
}

ZcioFaultNetwork *
zcio_fault_network_new (void)
{
  ZcioFaultNetwork *network = g_new0 (ZcioFaultNetwork, 1);

  network->xdp_link = -1;
  network->namespaces[ZCIO_FAULT_SENDER] = open_namespace ();
  g_thread_join (g_thread_new ("namespace", make_namespace,
                               &network->namespaces[ZCIO_FAULT_RECEIVER]));

  zcio_fault_run (network, ZCIO_FAULT_SENDER,
                  "ip link add zcio-a type veth peer name zcio-b netns /proc/%d/fd/%d",
                  getpid (), network->namespaces[ZCIO_FAULT_RECEIVER]);
  zcio_fault_run (network, ZCIO_FAULT_RECEIVER,
                  "ip link set zcio-b address " ZCIO_FAULT_RECEIVER_LINK_ADDRESS);
  for (ZcioFaultSide side = ZCIO_FAULT_SENDER; side <= ZCIO_FAULT_RECEIVER; side++)
    {
      const char *interface = interfaces[side];

      zcio_fault_run (network, side, "ip address add 192.0.2.%d/24 dev %s", side + 1, interface);
      zcio_fault_run (network, side, "ip address add 2001:db8::%d/64 dev %s nodad", side + 1,
                      interface);
      zcio_fault_run (network, side, "ip link set %s up", interface);
    }

  for (ZcioFaultSide side = ZCIO_FAULT_SENDER; side <= ZCIO_FAULT_RECEIVER; side++)
    visit (network, side, wait_until_running, (gpointer) interfaces[side]);

  return network;
}

void
zcio_fault_network_free (ZcioFaultNetwork *network)
{
  if (network->xdp_link >= 0)
    close (network->xdp_link);
  close (network->namespaces[ZCIO_FAULT_SENDER]);
  close (network->namespaces[ZCIO_FAULT_RECEIVER]);
  g_free (network);
}

typedef struct
{
  ZcioTestFamily family;
  GSocket *socket;
} Listen;

static GSocketAddress *
make_receiver_address (ZcioTestFamily family,
                       guint16        port)
{
  const char *host = family == ZCIO_TEST_FAMILY_IPV6 ? "2001:db8::2" : "192.0.2.2";

  return g_inet_socket_address_new_from_string (host, port);
}

static void
listen_there (gpointer data)
{
  Listen *listen = data;
  g_autoptr (GSocketAddress) address = make_receiver_address (listen->family, 0);
  GError *error = NULL;

  listen->socket = g_socket_new (g_socket_address_get_family (address), G_SOCKET_TYPE_STREAM,
                                 G_SOCKET_PROTOCOL_TCP, &error);
  g_assert_no_error (error);
  g_socket_bind (listen->socket, address, FALSE, &error);
  g_assert_no_error (error);
  g_socket_listen (listen->socket, &error);
  g_assert_no_error (error);
}

void
zcio_fault_connect (ZcioFaultNetwork  *network,
                    ZcioTestFamily     family,
                    GSocket          **socket,
                    GSocket          **peer)
{
  Listen listen = { .family = family };
  g_autoptr (GSocketAddress) bound = NULL;
  g_autoptr (GSocketAddress) address = NULL;
  GError *error = NULL;

  visit (network, ZCIO_FAULT_RECEIVER, listen_there, &listen);
  bound = g_socket_get_local_address (listen.socket, &error);
  g_assert_no_error (error);
  address = make_receiver_address (
    family, g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (bound)));

  *socket = g_socket_new (g_socket_address_get_family (address), G_SOCKET_TYPE_STREAM,
                          G_SOCKET_PROTOCOL_TCP, &error);
  g_assert_no_error (error);
  g_socket_connect (*socket, address, NULL, &error);
  g_assert_no_error (error);
  *peer = g_socket_accept (listen.socket, NULL, &error);
  g_assert_no_error (error);
  g_object_unref (listen.socket);
}

typedef struct
{
  ZcioFaultSide side;
  int fd;
} Tap;

static void
open_tap (gpointer data)
{
  Tap *tap = data;
  struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons (ETH_P_ALL) };

  address.sll_ifindex = (int) if_nametoindex (interfaces[tap->side]);
  tap->fd = socket (AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  g_assert_cmpint (tap->fd, >=, 0);
  g_assert_cmpint (bind (tap->fd, (struct sockaddr *) &address, sizeof address), ==, 0);
}

int
zcio_fault_open_tap (ZcioFaultNetwork *network,
                     ZcioFaultSide     side)
{
  Tap tap = { side, -1 };

  visit (network, side, open_tap, &tap);
  return tap.fd;
}

static void
attach_xdp (gpointer data)
{
  int *link = data;
  int program = load_xdp_program ();
  union bpf_attr attributes;

  g_assert_cmpint (program, >=, 0);
  memset (&attributes, 0, sizeof attributes);
  attributes.link_create.prog_fd = (guint32) program;
  attributes.link_create.target_ifindex = if_nametoindex ("zcio-b");
  attributes.link_create.attach_type = BPF_XDP;
  attributes.link_create.flags = XDP_FLAGS_DRV_MODE;
  *link = (int) syscall (SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof attributes);
  g_assert_cmpint (*link, >=, 0);
  close (program);
}

void
zcio_fault_attach_xdp (ZcioFaultNetwork *network)
{
  visit (network, ZCIO_FAULT_RECEIVER, attach_xdp, &network->xdp_link);
}
