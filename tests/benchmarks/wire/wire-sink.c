/* wire-sink.c - the far end: accepts connections and answers for them
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <gio/gio.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire-private.h"

#define BACKLOG 1024
#define FLOWS_SIZE (WIRE_N_FLOWS * sizeof (struct WireFlow))

/* With nothing sent for this long the map is looked at less often. */
#define IDLE_AFTER (100 * 1000)
#define IDLE_INTERVAL 1000

typedef struct
{
  int fd;
  guint16 port;
  guint32 segments;
} Connection;

struct _WireSink
{
  const WireOptions *options;
  struct bpf_object *object;
  struct WireFlow *flows;
  WireAcks *acks;
  GArray *connections;
  int listener;

  guint64 n_connections;
  guint64 segments;
  guint64 bytes;
};

static int
print_nothing (enum libbpf_print_level level,
               const char             *format,
               va_list                 arguments)
{
  return 0;
}

static gboolean
attach_filter (WireSink  *self,
               GError   **error)
{
  DECLARE_LIBBPF_OPTS (bpf_tc_hook, hook,
                       .ifindex = (int) if_nametoindex (WIRE_SINK_INTERFACE),
                       .attach_point = BPF_TC_INGRESS);
  DECLARE_LIBBPF_OPTS (bpf_tc_opts, options);
  struct bpf_program *program;
  int result;

  program = bpf_object__find_program_by_name (self->object, "zcio_wire");
  options.prog_fd = bpf_program__fd (program);

  result = bpf_tc_hook_create (&hook);
  if (result == 0)
    result = bpf_tc_attach (&hook, &options);
  if (result != 0)
    {
      wire_set_error_from_errno (error, "attach the packet filter", -result);
      return FALSE;
    }

  return TRUE;
}

static gboolean
load_filter (WireSink  *self,
             GError   **error)
{
  g_autoptr (GBytes) resource = NULL;
  g_autofree gpointer copy = NULL;
  gsize size;
  gconstpointer data;
  gpointer flows;
  int result;

  resource = g_resources_lookup_data ("/zcio/wire/wire.bpf.o", G_RESOURCE_LOOKUP_FLAGS_NONE, error);
  if (resource == NULL)
    return FALSE;

  /* A resource need not be aligned as an object file is. */
  data = g_bytes_get_data (resource, &size);
  copy = g_memdup2 (data, size);

  libbpf_set_print (print_nothing);
  self->object = bpf_object__open_mem (copy, size, NULL);
  result = self->object == NULL ? -errno : bpf_object__load (self->object);
  if (result != 0)
    {
      wire_set_error_from_errno (error, "load the packet filter", -result);
      return FALSE;
    }

  flows = mmap (NULL, FLOWS_SIZE, PROT_READ, MAP_SHARED,
                bpf_object__find_map_fd_by_name (self->object, "flows"), 0);
  if (flows == MAP_FAILED)
    {
      wire_set_error_from_errno (error, "map the table of flows", errno);
      return FALSE;
    }
  self->flows = flows;

  return attach_filter (self, error);
}

static gboolean
start_listening (WireSink  *self,
                 GError   **error)
{
  struct sockaddr_in address = { 0 };
  struct rlimit limit = { 65536, 65536 };

  /* Where this is refused there will be fewer connections. */
  setrlimit (RLIMIT_NOFILE, &limit);

  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl (WIRE_SINK_ADDRESS);
  address.sin_port = htons (WIRE_PORT);

  self->listener = socket (AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (self->listener < 0 ||
      bind (self->listener, (struct sockaddr *) &address, sizeof address) < 0 ||
      listen (self->listener, BACKLOG) < 0)
    {
      wire_set_error_from_errno (error, "listen", errno);
      return FALSE;
    }

  return TRUE;
}

/* Sets up the far end in the network namespace of the caller. */
WireSink *
wire_sink_new (const WireOptions  *options,
               GError            **error)
{
  g_autoptr (WireSink) self = g_new0 (WireSink, 1);

  self->options = options;
  self->listener = -1;
  self->connections = g_array_new (FALSE, FALSE, sizeof (Connection));

  if (!load_filter (self, error) || !start_listening (self, error))
    return NULL;

  self->acks = wire_acks_new (options, error);
  if (self->acks == NULL)
    return NULL;

  return g_steal_pointer (&self);
}

/* The sender has had the end of this connection from the wire, and the kernel's
 * idea of it is long out of date: let it go without a packet. */
static void
close_silently (Connection *connection)
{
  const int on = 1;

  setsockopt (connection->fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on);
  close (connection->fd);
}

/* A sender that is gone leaves its data with the kernel, which would keep trying
 * and the namespace alive; a reset ends that. */
static void
close_with_reset (Connection *connection)
{
  const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

  setsockopt (connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  close (connection->fd);
}

static void
forget_port (WireSink *self,
             guint16   port)
{
  for (guint i = 0; i < self->connections->len; i++)
    {
      Connection *connection = &g_array_index (self->connections, Connection, i);

      if (connection->port == port)
        {
          close_silently (connection);
          g_array_remove_index_fast (self->connections, i);
          return;
        }
    }
}

static void
accept_connections (WireSink *self)
{
  while (TRUE)
    {
      struct sockaddr_in peer;
      socklen_t length = sizeof peer;
      Connection connection = { 0 };

      connection.fd = accept4 (self->listener, (struct sockaddr *) &peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (connection.fd < 0)
        return;

      connection.port = ntohs (peer.sin_port);
      forget_port (self, connection.port);
      g_array_append_val (self->connections, connection);
      self->n_connections++;
    }
}

/* Returns: whether the connection has ended */
static gboolean
answer (WireSink   *self,
        Connection *connection,
        guint32     segments,
        gint64      now)
{
  const struct WireFlow *flow = &self->flows[connection->port];
  guint32 flags = __atomic_load_n (&flow->flags, __ATOMIC_RELAXED);

  self->segments += segments - connection->segments;
  connection->segments = segments;

  if (!(flags & WIRE_FLOW_RST))
    wire_acks_add (self->acks, connection->port,
                   __atomic_load_n (&flow->ack, __ATOMIC_RELAXED),
                   __atomic_load_n (&flow->end, __ATOMIC_RELAXED),
                   (flags & WIRE_FLOW_FIN) != 0, now);

  return (flags & (WIRE_FLOW_FIN | WIRE_FLOW_RST)) != 0;
}

/* Returns: whether there was anything new */
static gboolean
look_at_flows (WireSink *self,
               gint64    now)
{
  gboolean news = FALSE;

  for (guint i = 0; i < self->connections->len;)
    {
      Connection *connection = &g_array_index (self->connections, Connection, i);
      guint32 segments = __atomic_load_n (&self->flows[connection->port].segments, __ATOMIC_ACQUIRE);

      if (segments == connection->segments)
        {
          i++;
          continue;
        }

      news = TRUE;
      if (answer (self, connection, segments, now))
        {
          self->bytes += self->flows[connection->port].bytes;
          close_silently (connection);
          g_array_remove_index_fast (self->connections, i);
        }
      else
        i++;
    }

  return news;
}

/* Returns: microseconds to wait, or -1 for as long as nobody connects */
static gint64
get_timeout (WireSink *self,
             gint64    now,
             gint64    last_news,
             gint64    next_ack)
{
  gint64 timeout = -1;

  if (self->connections->len > 0)
    timeout = now - last_news < IDLE_AFTER ? self->options->interval : MAX (IDLE_INTERVAL, self->options->interval);
  if (next_ack >= 0)
    timeout = timeout < 0 ? next_ack - now : MIN (timeout, next_ack - now);

  return timeout < -1 ? 0 : timeout;
}

/* Runs until @stop_fd becomes readable. */
gboolean
wire_sink_run (WireSink  *self,
               int        stop_fd,
               GError   **error)
{
  struct pollfd fds[] = { { stop_fd, POLLIN, 0 }, { self->listener, POLLIN, 0 } };
  gint64 last_news = 0;

  /* The default slack would make an interval twice as long. */
  prctl (PR_SET_TIMERSLACK, 1UL, 0, 0, 0);

  while (!(fds[0].revents & POLLIN))
    {
      gint64 now = g_get_monotonic_time ();
      gint64 next_ack, timeout;
      struct timespec wait;

      if (look_at_flows (self, now))
        last_news = now;
      if (!wire_acks_send (self->acks, now, &next_ack, error))
        return FALSE;

      timeout = get_timeout (self, now, last_news, next_ack);
      wait = (struct timespec){ timeout / G_USEC_PER_SEC, timeout % G_USEC_PER_SEC * 1000 };
      if (ppoll (fds, G_N_ELEMENTS (fds), timeout < 0 ? NULL : &wait, NULL) < 0)
        continue;
      if (fds[1].revents != 0)
        {
          accept_connections (self);
          last_news = now;
        }
    }

  return TRUE;
}

static void
print_statistics (WireSink *self)
{
  guint64 sent, lost, reordered;

  wire_acks_get_counts (self->acks, &sent, &lost, &reordered);
  g_printerr ("zcio-wire: %" G_GUINT64_FORMAT " connections, %" G_GUINT64_FORMAT " bytes in %" G_GUINT64_FORMAT " frames; "
              "%" G_GUINT64_FORMAT " ACKs, %" G_GUINT64_FORMAT " lost, %" G_GUINT64_FORMAT " out of order\n",
              self->n_connections, self->bytes, self->segments, sent, lost, reordered);
}

void
wire_sink_free (WireSink *self)
{
  for (guint i = 0; i < self->connections->len; i++)
    {
      Connection *connection = &g_array_index (self->connections, Connection, i);

      self->bytes += self->flows[connection->port].bytes;
      close_with_reset (connection);
    }
  g_array_unref (self->connections);

  if (self->acks != NULL && self->options->statistics)
    print_statistics (self);

  if (self->listener >= 0)
    close (self->listener);
  g_clear_pointer (&self->acks, wire_acks_free);
  if (self->flows != NULL)
    munmap (self->flows, FLOWS_SIZE);
  bpf_object__close (self->object);
  g_free (self);
}
