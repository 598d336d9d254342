/* benchmark-connections.c - many connections on one main loop
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: benchmark-connections [N_CONNECTIONS…]
 *
 * For each number of connections, over loopback and with zero-copy forced: what an idle one
 * takes of memory, and what a completion costs the thread of the main loop.
 */

#include "config.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <zcio/zcio.h>

#define SEND_SIZE 16384
#define N_SENDS 4000
#define N_RUNS 3

typedef struct
{
  GSocketConnection *connection;
  GSocket *peer;
  ZcioSocketStream *stream;
  char byte;
} Connection;

typedef struct
{
  Connection *connections;
  guint n;
  guint64 completed;
  int epoll_fd;
  gint stop;
} Benchmark;

static void
check (gboolean ok,
       GError  *error)
{
  if (ok)
    return;

  g_printerr ("benchmark-connections: %s\n", error != NULL ? error->message : g_strerror (errno));
  exit (1);
}

static gint64
get_cpu_time (void)
{
  struct timespec time;

  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &time);
  return (gint64) time.tv_sec * G_GINT64_CONSTANT (1000000000) + time.tv_nsec;
}

static void
connect_pair (GSocket **near_socket,
              GSocket **far_socket)
{
  static GSocket *listener;
  static GSocketAddress *address;
  GError *error = NULL;

  if (listener == NULL)
    {
      g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
      g_autoptr (GSocketAddress) any = g_inet_socket_address_new (loopback, 0);

      listener = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
      check (listener != NULL, error);
      check (g_socket_bind (listener, any, FALSE, &error) && g_socket_listen (listener, &error), error);
      address = g_socket_get_local_address (listener, &error);
      check (address != NULL, error);
    }

  *near_socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
  check (*near_socket != NULL, error);
  check (g_socket_connect (*near_socket, address, NULL, &error), error);
  *far_socket = g_socket_accept (listener, NULL, &error);
  check (*far_socket != NULL, error);
}

/* The peers, all in one other thread: they read and forget. */
static gpointer
run_peers (gpointer data)
{
  Benchmark *benchmark = data;
  g_autofree char *buffer = g_malloc (1024 * 1024);

  while (!g_atomic_int_get (&benchmark->stop))
    {
      struct epoll_event events[64];
      int n = epoll_wait (benchmark->epoll_fd, events, G_N_ELEMENTS (events), 10);

      for (int i = 0; i < n; i++)
        {
          static const int one = 1;

          while (recv (events[i].data.fd, buffer, 1024 * 1024, MSG_DONTWAIT) > 0)
            ;
          /* Otherwise each round would wait for a delayed ACK. */
          setsockopt (events[i].data.fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
        }
    }

  return NULL;
}

static void
on_completed (ZcioSocketStream *stream,
              guint             sends,
              guint64           bytes,
              gboolean          zero_copied,
              gpointer          user_data)
{
  Benchmark *benchmark = user_data;

  benchmark->completed += bytes;
}

static void
benchmark_start (Benchmark *benchmark,
                 guint      n)
{
  benchmark->connections = g_new0 (Connection, n);
  benchmark->n = n;
  benchmark->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  benchmark->stop = FALSE;

  for (guint i = 0; i < n; i++)
    {
      Connection *connection = &benchmark->connections[i];
      struct epoll_event event = { .events = EPOLLIN };
      g_autoptr (GSocket) socket = NULL;

      connect_pair (&socket, &connection->peer);
      event.data.fd = g_socket_get_fd (connection->peer);
      epoll_ctl (benchmark->epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
      connection->connection = zcio_tcp_connection_new (socket);
      connection->stream =
        ZCIO_SOCKET_STREAM (g_io_stream_get_output_stream (G_IO_STREAM (connection->connection)));
      zcio_socket_stream_set_zero_copy_mode (connection->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
      g_signal_connect (connection->stream, "completed", G_CALLBACK (on_completed), benchmark);
    }
}

static void
benchmark_stop (Benchmark *benchmark)
{
  GError *error = NULL;

  for (guint i = 0; i < benchmark->n; i++)
    {
      Connection *connection = &benchmark->connections[i];

      check (g_io_stream_close (G_IO_STREAM (connection->connection), NULL, &error), error);
      /* A read that is under way ends. */
      while (g_input_stream_has_pending (g_io_stream_get_input_stream (G_IO_STREAM (connection->connection))))
        g_main_context_iteration (NULL, TRUE);
      g_object_unref (connection->connection);
      g_object_unref (connection->peer);
    }
  close (benchmark->epoll_fd);
  g_free (benchmark->connections);
}

/* CPU time of this thread for each completion, in ns: of the main loop alone, not of the
 * sending. Each of the first @n_active connections has sends in flight.
 */
static double
measure_completions (Benchmark *benchmark,
                     guint      n_active)
{
  g_autofree char *memory = g_malloc0 (SEND_SIZE);
  g_autoptr (GBytes) bytes = g_bytes_new_static (memory, SEND_SIZE);
  gint64 cpu = 0;
  guint64 n_sends = 0;

  benchmark->completed = 0;
  while (n_sends < N_SENDS)
    {
      gint64 start;

      for (guint i = 0; i < n_active; i++)
        {
          GError *error = NULL;

          check (zcio_socket_stream_write_zerocopy (benchmark->connections[i].stream, bytes, NULL, NULL,
                                                    &error), error);
          n_sends++;
        }

      start = get_cpu_time ();
      while (benchmark->completed < n_sends * SEND_SIZE)
        g_main_context_iteration (NULL, TRUE);
      cpu += get_cpu_time () - start;
    }

  return (double) cpu / n_sends;
}

static int
compare_doubles (gconstpointer a,
                 gconstpointer b)
{
  double difference = *(const double *) a - *(const double *) b;

  return difference < 0 ? -1 : difference > 0;
}

static double
measure_median (Benchmark *benchmark,
                guint      n_active)
{
  double runs[N_RUNS];

  for (guint i = 0; i < N_RUNS; i++)
    runs[i] = measure_completions (benchmark, n_active);
  qsort (runs, N_RUNS, sizeof runs[0], compare_doubles);

  return runs[N_RUNS / 2];
}

static void
start_reading (Benchmark *benchmark)
{
  for (guint i = 0; i < benchmark->n; i++)
    {
      Connection *connection = &benchmark->connections[i];
      GInputStream *input = g_io_stream_get_input_stream (G_IO_STREAM (connection->connection));

      g_input_stream_read_async (input, &connection->byte, 1, G_PRIORITY_DEFAULT, NULL, NULL, NULL);
    }
}

static void
measure_costs (guint n)
{
  Benchmark benchmark = { 0 };
  guint n_few = MIN (n, 10);
  GThread *peers;
  double all;
  double few;
  double reading;

  benchmark_start (&benchmark, n);
  peers = g_thread_new ("peers", run_peers, &benchmark);
  all = measure_median (&benchmark, n);
  few = measure_median (&benchmark, n_few);
  start_reading (&benchmark);
  reading = measure_median (&benchmark, n);
  g_print ("%5u connections: %6.0f ns a completion with all active, %6.0f ns with %u active, "
           "%6.0f ns with all active and reading\n", n, all, few, n_few, reading);
  g_atomic_int_set (&benchmark.stop, TRUE);
  g_thread_join (peers);
  benchmark_stop (&benchmark);
}

/* Memory */

static gsize
get_memory (void)
{
  struct mallinfo2 info = mallinfo2 ();

  return info.uordblks + info.hblkhd;
}

/* Bytes for each connection with its two streams, without the socket. */
static double
measure_memory (GType    type,
                guint    n,
                gboolean used)
{
  g_autofree GSocket **near_sockets = g_new0 (GSocket *, n);
  g_autofree GSocket **far_sockets = g_new0 (GSocket *, n);
  g_autofree GIOStream **connections = g_new0 (GIOStream *, n);
  static char memory[SEND_SIZE];
  gsize before;
  gsize after;

  for (guint i = 0; i < n; i++)
    connect_pair (&near_sockets[i], &far_sockets[i]);

  before = get_memory ();
  for (guint i = 0; i < n; i++)
    {
      GOutputStream *output;
      GError *error = NULL;

      connections[i] = g_object_new (type, "socket", near_sockets[i], NULL);
      g_io_stream_get_input_stream (connections[i]);
      output = g_io_stream_get_output_stream (connections[i]);
      if (used)
        {
          g_autoptr (GBytes) bytes = g_bytes_new_static (memory, SEND_SIZE);

          zcio_socket_stream_set_zero_copy_mode (ZCIO_SOCKET_STREAM (output), ZCIO_ZERO_COPY_MODE_ALWAYS);
          check (zcio_socket_stream_write_zerocopy (ZCIO_SOCKET_STREAM (output), bytes, NULL, NULL, &error),
                 error);
          check (recv (g_socket_get_fd (far_sockets[i]), memory, SEND_SIZE, MSG_WAITALL) > 0, NULL);
          check (g_output_stream_flush (output, NULL, &error), error);
        }
    }
  while (g_main_context_iteration (NULL, FALSE))
    ;
  after = get_memory ();

  for (guint i = 0; i < n; i++)
    {
      g_object_unref (connections[i]);
      g_object_unref (near_sockets[i]);
      g_object_unref (far_sockets[i]);
    }

  return (double) (after - before) / n;
}

static void
measure (guint n)
{
  /* What is made only once is not to be counted. */
  measure_memory (G_TYPE_TCP_CONNECTION, 1, FALSE);
  measure_memory (ZCIO_TYPE_TCP_CONNECTION, 1, TRUE);

  g_print ("%5u connections: %6.0f bytes each for GIO's, %6.0f for an unused one, %6.0f for one that "
           "has sent by zero-copy and is idle\n", n,
           measure_memory (G_TYPE_TCP_CONNECTION, n, FALSE),
           measure_memory (ZCIO_TYPE_TCP_CONNECTION, n, FALSE),
           measure_memory (ZCIO_TYPE_TCP_CONNECTION, n, TRUE));
  measure_costs (n);
}

int
main (int    argc,
      char **argv)
{
  struct rlimit limit;

  /* Only malloc() can be asked. GLib may have begun already, so begin anew. */
  if (g_getenv ("G_SLICE") == NULL)
    {
      g_setenv ("G_SLICE", "always-malloc", TRUE);
      execv ("/proc/self/exe", argv);
    }

  getrlimit (RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit (RLIMIT_NOFILE, &limit);

  for (int i = 1; i < argc; i++)
    measure (MAX (atoi (argv[i]), 1));
  if (argc < 2)
    {
      measure (10);
      measure (100);
      measure (1000);
    }

  return 0;
}
