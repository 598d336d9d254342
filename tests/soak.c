/* soak.c - many connections that live through whatever comes, for as long as you like
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * ZCIO_SOAK_SECONDS in the environment says for how long; 5 unless it is set.
 */

#include "config.h"

#include <zcio/zcio.h>

#include "test-util.h"
#include "zcio/zcio-linger-private.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define N_WORKERS 3
#define MAX_SIZE (300 * 1024)

/* What may remain of RSS after the second phase: pieces of memory between the holes. */
#define RSS_SLACK (4 * 1024 * 1024)

/* How often the second phase comes again, where something has grown. */
#define MAX_PHASES 3

/* Of all workers, under the lock. */
typedef struct
{
  guint64 connections;
  guint64 buffers;
  guint64 bytes;
  guint64 zero_copied;
  guint64 copied_by_kernel;
  guint64 enobufs;
  guint64 notifications;
  guint64 cancelled;
  guint64 stalls;
  guint64 resets;
  guint64 dropped;
} Totals;

static GMutex totals_lock;
static Totals totals;

/* Where cancellations come from. */
static GMainContext *canceller;

typedef struct
{
  guint64 random;
  GMainContext *context;
  gboolean is_async;
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
  guint64 accepted;
  gint made;
  gint released;
  gboolean reset;
  Totals totals;
} Connection;

static guint64
choose (Connection *c,
        guint64     first,
        guint64     last)
{
  return zcio_test_random_range (&c->random, first, last);
}

static gboolean
chance (Connection *c,
        guint       percent)
{
  return zcio_test_random_chance (&c->random, percent);
}

/* Most are small, as in life. */
static gsize
choose_size (Connection *c)
{
  return chance (c, 60) ? choose (c, 0, 5000) : choose (c, 0, MAX_SIZE);
}

static gboolean
cancel (gpointer data)
{
  g_cancellable_cancel (data);
  return G_SOURCE_REMOVE;
}

/* A cancellable, or none, that will be cancelled soon. */
static GCancellable *
maybe_cancel (Connection *c,
              guint       percent)
{
  g_autoptr (GSource) source = NULL;
  GCancellable *cancellable;

  if (!chance (c, percent))
    return NULL;

  cancellable = g_cancellable_new ();
  source = g_timeout_source_new (choose (c, 0, 3));
  g_source_set_callback (source, cancel, g_object_ref (cancellable), g_object_unref);
  g_source_attach (source, canceller);

  return cancellable;
}

/* Nothing but cancellations and the end of the connection may ever be met. */
static void
check_error (Connection *c,
             GError     *error)
{
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    c->totals.cancelled++;
  else if (c->reset && error != NULL)
    g_assert_true (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE) ||
                   g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NOT_CONNECTED));
  else
    g_assert_no_error (error);
  g_clear_error (&error);
}

static gsize
make_buffers (Connection *c,
              GBytes    **buffers,
              gsize       n)
{
  gsize total = 0;

  for (gsize i = 0; i < n; i++)
    {
      gsize size = choose_size (c);

      buffers[i] = zcio_test_pattern_bytes (c->accepted + total, size, &c->released);
      c->made++;
      total += size;
    }

  return total;
}

static void
drop_buffers (GBytes **buffers,
              gsize    n)
{
  for (gsize i = 0; i < n; i++)
    g_bytes_unref (buffers[i]);
}

static void
write_zerocopy (Connection *c,
                guint       cancel_percent)
{
  g_autoptr (GCancellable) cancellable = maybe_cancel (c, cancel_percent);
  g_autoptr (GAsyncResult) result = NULL;
  GBytes *buffers[8];
  gsize n = choose (c, 0, G_N_ELEMENTS (buffers));
  gsize total = make_buffers (c, buffers, n);
  gsize written = G_MAXSIZE;
  gboolean success;
  GError *error = NULL;

  if (c->is_async)
    {
      zcio_socket_stream_writev_zerocopy_async (c->stream, buffers, n, G_PRIORITY_DEFAULT,
                                                cancellable, zcio_test_store_result, &result);
      drop_buffers (buffers, n);
      zcio_test_wait_until (c->context, result != NULL);
      success = zcio_socket_stream_writev_zerocopy_finish (c->stream, result, &written, &error);
    }
  else
    {
      success = zcio_socket_stream_writev_zerocopy (c->stream, buffers, n, &written,
                                                    cancellable, &error);
      drop_buffers (buffers, n);
    }

  g_assert_true (success ? written == total : written < total || total == 0);
  c->accepted += written;
  check_error (c, error);
}

static gboolean
write_nonblocking (Connection *c)
{
  GBytes *buffers[4];
  gsize n = choose (c, 1, G_N_ELEMENTS (buffers));
  gsize total = make_buffers (c, buffers, n);
  gsize written = G_MAXSIZE;
  GPollableReturn result;
  GError *error = NULL;

  result = zcio_socket_stream_writev_zerocopy_nonblocking (c->stream, buffers, n, &written,
                                                           NULL, &error);
  drop_buffers (buffers, n);
  g_assert_cmpuint (written, <=, total);
  c->accepted += written;
  check_error (c, error);

  return result == G_POLLABLE_RETURN_OK;
}

/* The memory is the caller's again at once. */
static void
write_plain (Connection *c)
{
  gsize size = choose_size (c);
  g_autofree guint8 *data = g_malloc (size + 1);
  gsize written = 0;
  GError *error = NULL;

  zcio_test_pattern_fill (c->accepted, data, size);
  g_output_stream_write_all (G_OUTPUT_STREAM (c->stream), data, size, &written, NULL, &error);
  memset (data, 0xdd, size);
  c->accepted += written;
  check_error (c, error);
}

static void
drain (Connection *c)
{
  g_autoptr (GCancellable) cancellable = maybe_cancel (c, 30);
  g_autoptr (GAsyncResult) result = NULL;
  guint64 max_bytes = choose (c, 0, 1) * choose (c, 0, 1000000);
  GError *error = NULL;

  if (c->is_async)
    {
      zcio_socket_stream_drain_async (c->stream, max_bytes, G_PRIORITY_DEFAULT, cancellable,
                                      zcio_test_store_result, &result);
      zcio_test_wait_until (c->context, result != NULL);
      zcio_socket_stream_drain_finish (c->stream, result, &error);
    }
  else
    zcio_socket_stream_drain (c->stream, max_bytes, cancellable, &error);

  check_error (c, error);
}

/* Nobody reads for a while: the socket fills up, and a write that waits is cancelled. */
static void
stall (Connection *c)
{
  c->totals.stalls++;
  zcio_test_reader_pause (c->reader);
  for (guint i = 0; i < 100 && write_nonblocking (c); i++)
    ;
  if (!c->is_async)
    write_zerocopy (c, 100);
  zcio_test_reader_resume (c->reader);
}

static void
set_something (Connection *c)
{
  switch (choose (c, 0, 2))
    {
    case 0:
      zcio_socket_stream_set_zero_copy_mode (c->stream, choose (c, ZCIO_ZERO_COPY_MODE_AUTO, ZCIO_ZERO_COPY_MODE_NEVER));
      break;
    case 1:
      g_object_set (c->stream, "threshold", (guint64) choose (c, 0, 20000), NULL);
      break;
    default:
      g_object_set (c->stream, "max-bytes-in-flight", (guint64) choose (c, 0, 1) * choose (c, 100000, 1000000), NULL);
      break;
    }
}

static void
operate (Connection *c)
{
  switch (choose (c, 0, 15))
    {
    case 0:
      write_plain (c);
      break;
    case 1:
      zcio_socket_stream_reap (c->stream);
      break;
    case 2:
      drain (c);
      break;
    case 3:
      stall (c);
      break;
    case 4:
      set_something (c);
      break;
    case 5:
      g_usleep (choose (c, 0, 500));
      break;
    case 6:
    case 7:
    case 8:
      write_nonblocking (c);
      break;
    case 9:
      g_main_context_iteration (c->context, FALSE);
      break;
    default:
      write_zerocopy (c, 5);
      break;
    }
}

/* A whole life */

static gboolean
has_ipv6 (void)
{
  g_autofree char *addresses = NULL;

  return g_file_get_contents ("/proc/net/if_inet6", &addresses, NULL, NULL) &&
         strstr (addresses, "00000000000000000000000000000001") != NULL;
}

static void
begin (Connection *c)
{
  static const ZcioTestFamily families[] = {
    ZCIO_TEST_FAMILY_IPV4, ZCIO_TEST_FAMILY_UNIX, ZCIO_TEST_FAMILY_IPV6, ZCIO_TEST_FAMILY_V4_MAPPED,
  };
  ZcioTestFamily family = families[choose (c, 0, has_ipv6 () ? 3 : 1)];

  c->is_async = chance (c, 50);
  /* With a smaller one TCP itself crawls: the window is less than a segment (README.md). */
  g_assert_true (zcio_test_socket_pair (family, chance (c, 50) ? 0 : choose (c, 32768, 200000),
                                        &c->socket, &c->peer));
  c->stream = zcio_socket_stream_new (c->socket);
  zcio_socket_stream_set_zero_copy_mode (c->stream, chance (c, 60) ? ZCIO_ZERO_COPY_MODE_ALWAYS
                                                                   : ZCIO_ZERO_COPY_MODE_AUTO);
  c->reader = zcio_test_reader_new (c->peer, 0, chance (c, 20) ? ZCIO_TEST_READER_SLOW
                                                               : ZCIO_TEST_READER_DEFAULT);
}

static void
take_statistics (Connection *c)
{
  g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (c->stream);

  g_assert_cmpuint (statistics->bytes_written, ==, c->accepted);
  g_assert_cmpuint (statistics->bytes_zero_copied + statistics->bytes_copied_by_kernel +
                      statistics->bytes_copied_by_choice + statistics->bytes_copied_for_enobufs,
                    ==, c->accepted);
  c->totals.zero_copied += statistics->sends_zero_copied;
  c->totals.copied_by_kernel += statistics->sends_copied_by_kernel;
  c->totals.enobufs += statistics->enobufs;
  c->totals.notifications += statistics->notifications;
}

/* Closed, dropped with sends in flight, or reset by either side. */
static void
end (Connection *c)
{
  guint how = choose (c, 0, 9);
  struct sockaddr none = { .sa_family = AF_UNSPEC };
  GError *error = NULL;

  if (how == 0 && g_socket_get_family (c->socket) != G_SOCKET_FAMILY_UNIX)
    {
      c->reset = TRUE;
      zcio_socket_stream_abort (c->stream, &error);
      g_assert_no_error (error);
    }
  else if (how == 1 && g_socket_get_family (c->socket) != G_SOCKET_FAMILY_UNIX)
    {
      c->reset = TRUE;
      g_assert_cmpint (connect (g_socket_get_fd (c->peer), &none, sizeof none), ==, 0);
      write_zerocopy (c, 0);
    }
  else if (how <= 4)
    {
      c->totals.dropped++;
      zcio_test_reader_pause (c->reader);
      for (guint i = 0; i < 10 && write_nonblocking (c); i++)
        ;
    }

  if (c->reset || how > 4)
    {
      g_output_stream_close (G_OUTPUT_STREAM (c->stream), NULL, &error);
      check_error (c, error);
    }
  c->totals.resets += c->reset;
}

static void
live (guint64       seed,
      GMainContext *context,
      Totals       *worker_totals)
{
  Connection c = { .random = seed, .context = context, .totals = *worker_totals };
  gint64 deadline;
  guint64 received;
  int error_number;

  begin (&c);
  for (guint i = choose (&c, 1, 60); i > 0; i--)
    operate (&c);
  end (&c);
  take_statistics (&c);
  g_object_unref (c.stream);
  g_object_unref (c.socket);

  received = zcio_test_reader_finish (c.reader, &error_number, NULL);
  if (c.reset)
    g_assert_cmpuint (received, <=, c.accepted);
  else
    {
      g_assert_cmpint (error_number, ==, 0);
      g_assert_cmpuint (received, ==, c.accepted);
    }
  g_object_unref (c.peer);

  deadline = zcio_test_get_deadline ();
  while (g_atomic_int_get (&c.released) < c.made)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (1000);
    }
  g_assert_cmpint (c.released, ==, c.made);

  *worker_totals = c.totals;
  worker_totals->connections++;
  worker_totals->bytes += c.accepted;
  worker_totals->buffers += c.made;
}

/* Workers */

typedef struct
{
  guint64 seed;
  gint64 until;
} Work;

static void
add_totals (const Totals *more)
{
  const guint64 *from = (const guint64 *) more;
  guint64 *to = (guint64 *) &totals;

  g_mutex_lock (&totals_lock);
  for (gsize i = 0; i < sizeof totals / sizeof *to; i++)
    to[i] += from[i];
  g_mutex_unlock (&totals_lock);
}

static gpointer
work (gpointer data)
{
  Work *self = data;
  GMainContext *context = g_main_context_new ();
  Totals worker_totals = { 0 };

  g_main_context_push_thread_default (context);
  for (guint64 i = 0; g_get_monotonic_time () < self->until; i++)
    live (self->seed + i * N_WORKERS, context, &worker_totals);
  g_main_context_pop_thread_default (context);
  g_main_context_unref (context);
  add_totals (&worker_totals);

  return NULL;
}

static void
work_for (guint64 seed,
          gint64  duration)
{
  GThread *threads[N_WORKERS];
  Work works[N_WORKERS];

  for (guint i = 0; i < N_WORKERS; i++)
    {
      works[i] = (Work) { seed + i, g_get_monotonic_time () + duration };
      threads[i] = g_thread_new ("soak", work, &works[i]);
    }
  for (guint i = 0; i < N_WORKERS; i++)
    g_thread_join (threads[i]);
}

static gpointer
run_canceller (gpointer loop)
{
  g_main_context_push_thread_default (canceller);
  g_main_loop_run (loop);
  g_main_context_pop_thread_default (canceller);

  return NULL;
}

static gboolean
quit (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

/* Memory and descriptors, when nothing goes on */

typedef struct
{
  gsize rss;
  guint descriptors;
} Footprint;

static Footprint
measure (void)
{
  gint64 deadline = zcio_test_get_deadline ();
  g_autofree char *statm = NULL;
  Footprint footprint = { 0 };
  unsigned long pages = 0;
  GDir *dir;

  while (zcio_linger_count () > 0 || zcio_linger_has_thread ())
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (10000);
    }
  malloc_trim (0);

  g_assert_true (g_file_get_contents ("/proc/self/statm", &statm, NULL, NULL));
  g_assert_cmpint (sscanf (statm, "%*u %lu", &pages), ==, 1);
  footprint.rss = pages * (gsize) sysconf (_SC_PAGESIZE);

  dir = g_dir_open ("/proc/self/fd", 0, NULL);
  while (g_dir_read_name (dir) != NULL)
    footprint.descriptors++;
  g_dir_close (dir);

  return footprint;
}

static gint64
get_duration (void)
{
  const char *seconds = g_getenv ("ZCIO_SOAK_SECONDS");

  return (seconds != NULL ? CLAMP (atoi (seconds), 1, 7 * 24 * 3600) : 5) * G_TIME_SPAN_SECOND;
}

static gboolean
has_grown (const Footprint *from,
           const Footprint *to)
{
  return to->rss > from->rss + RSS_SLACK || to->descriptors > from->descriptors;
}

static void
test_soak (void)
{
  guint64 seed = zcio_test_get_seed ();
  gint64 duration = get_duration ();
  GMainLoop *loop;
  GThread *thread;
  Footprint warm = { 0 };
  Footprint final;

  g_test_summary ("Whatever many connections live through, every byte arrives once and each "
                  "buffer is released once; memory and descriptors stay as they were");

  canceller = g_main_context_new ();
  loop = g_main_loop_new (canceller, FALSE);
  thread = g_thread_new ("canceller", run_canceller, loop);

  work_for (seed, duration * 2 / 5);
  final = measure ();
  /* What leaks grows each time; what is made late, on a busy machine, or stays in an arena of
   * malloc ()'s for a while, does not.
   */
  for (guint i = 1; i <= MAX_PHASES; i++)
    {
      warm = final;
      work_for (seed + i * 1000000, duration * 3 / 5);
      final = measure ();
      if (!has_grown (&warm, &final))
        break;
    }

  g_main_context_invoke (canceller, quit, loop);
  g_thread_join (thread);
  g_main_loop_unref (loop);
  g_main_context_unref (canceller);

  g_test_message ("%" G_GUINT64_FORMAT " connections, %" G_GUINT64_FORMAT " MB in %" G_GUINT64_FORMAT
                  " buffers; %" G_GUINT64_FORMAT " cancelled, %" G_GUINT64_FORMAT " stalls, %" G_GUINT64_FORMAT
                  " resets, %" G_GUINT64_FORMAT " dropped",
                  totals.connections, totals.bytes / 1000000, totals.buffers, totals.cancelled,
                  totals.stalls, totals.resets, totals.dropped);
  g_test_message ("%" G_GUINT64_FORMAT " sends by zero-copy, %" G_GUINT64_FORMAT " the kernel copied, %" G_GUINT64_FORMAT
                  " notifications, %" G_GUINT64_FORMAT " ENOBUFS",
                  totals.zero_copied + totals.copied_by_kernel, totals.copied_by_kernel,
                  totals.notifications, totals.enobufs);
  g_test_message ("RSS %" G_GSIZE_FORMAT " KiB, then %" G_GSIZE_FORMAT " KiB; descriptors %u, then %u",
                  warm.rss / 1024, final.rss / 1024, warm.descriptors, final.descriptors);

  g_assert_cmpuint (totals.connections, >, 0);
  g_assert_cmpuint (totals.notifications, >, 0);
  g_assert_false (has_grown (&warm, &final));
}

static void
ignore_log (const char     *domain,
            GLogLevelFlags  level,
            const char     *message,
            gpointer        data)
{
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  /* Each connection tells what it does. */
  g_log_set_handler ("Zcio", G_LOG_LEVEL_DEBUG, ignore_log, NULL);

  g_test_add_func ("/soak", test_soak);

  return g_test_run ();
}
