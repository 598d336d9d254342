/* test-transmitter-random.c - random histories of a stream on the simulated kernel
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-stream.h"
#include "test-util.h"

/* What the histories have met, all in all: so that it shows if one kind of trouble is
 * not made any more.
 */
typedef struct
{
  guint64 bytes;
  guint64 sends;
  guint64 notifications;
  guint64 foreign;
  guint64 no_buffers;
  guint64 cured;
  guint64 congested;
  guint64 limited;
  guint64 would_block;
  guint64 errors;
} Totals;

static guint
choose_odds (guint64 *random)
{
  static const guint choices[] = { 0, 0, 0, 0, 1, 3, 20 };

  return choices[zcio_test_random_range (random, 0, G_N_ELEMENTS (choices) - 1)];
}

static void
set_up (SimulatedKernel *kernel,
        guint64 *random)
{
  static const gsize optmem[] = { 500, 832, 3000, 20480, 20480, 131072, 131072, 131072 };
  static const gsize memlock[] = { 0, 10, 100, G_MAXSIZE, G_MAXSIZE, G_MAXSIZE, G_MAXSIZE, G_MAXSIZE };

  kernel->family = zcio_test_random_chance (random, 50) ? AF_INET : AF_INET6;
  kernel->send_buffer = zcio_test_random_range (random, 5000, 300000);
  kernel->drain_size = zcio_test_random_range (random, 1000, 100000);
  kernel->window = zcio_test_random_range (random, 0, 100000);
  kernel->completion_delay = zcio_test_random_range (random, 0, 3000);
  kernel->random_delay = zcio_test_random_chance (random, 50) ? zcio_test_random_range (random, 0, 20000) : 0;
  kernel->queue_delay = zcio_test_random_chance (random, 50) ? zcio_test_random_range (random, 0, 50000) : 0;
  kernel->optmem_max = optmem[zcio_test_random_range (random, 0, G_N_ELEMENTS (optmem) - 1)];
  kernel->memlock_limit = memlock[zcio_test_random_range (random, 0, G_N_ELEMENTS (memlock) - 1)];
  kernel->says_copied = zcio_test_random_chance (random, 20);
  if (zcio_test_random_chance (random, 5))
    kernel->no_zero_copy = TRUE;
  if (zcio_test_random_chance (random, 5))
    kernel->refuses_flag = TRUE;
  if (zcio_test_random_chance (random, 10))
    kernel->completion = SIMULATED_COMPLETE_AT_ONCE;
  if (zcio_test_random_chance (random, 30))
    simulated_kernel_set_counter (kernel, (guint32) zcio_test_random_range (random, 0, 50) - 50);

  kernel->odds.short_send = choose_odds (random);
  kernel->odds.interrupted = choose_odds (random);
  kernel->odds.would_block = choose_odds (random);
  kernel->odds.no_buffers = choose_odds (random);
  kernel->odds.fault = choose_odds (random);
  kernel->odds.no_memory = choose_odds (random);
  kernel->odds.early_completion = choose_odds (random);
  kernel->odds.foreign = choose_odds (random);
  /* While the counter is unknown, the first notification is believed. */
  kernel->odds.duplicate = kernel->counter_known ? choose_odds (random) : 0;
  kernel->odds.unshared = choose_odds (random);
  kernel->odds.copied = choose_odds (random);
  kernel->odds.reset = zcio_test_random_chance (random, 20) ? 100 : 0;
}

static ZcioZeroCopyMode
choose_mode (guint64 *random)
{
  if (zcio_test_random_chance (random, 80))
    return ZCIO_ZERO_COPY_MODE_ALWAYS;

  return zcio_test_random_chance (random, 70) ? ZCIO_ZERO_COPY_MODE_AUTO : ZCIO_ZERO_COPY_MODE_NEVER;
}

static gsize
choose_vectors (guint64 *random,
                gsize *sizes,
                gsize max)
{
  gsize n = zcio_test_random_range (random, 0, zcio_test_random_chance (random, 2) ? max : 12);
  gsize largest = zcio_test_random_chance (random, 50) ? 100 : zcio_test_random_chance (random, 80) ? 4000
                                                                                                    : 40000;

  if (n > 12)
    largest = 100;
  for (gsize i = 0; i < n; i++)
    sizes[i] = zcio_test_random_chance (random, 10) ? 0 : zcio_test_random_range (random, 0, largest);

  return n;
}

/* FALSE: the connection has ended. */
static gboolean
do_something (SimulatedStream *s,
              guint64 *random)
{
  gsize sizes[1500];
  gsize n;
  GError *error = NULL;
  gboolean ended = FALSE;

  switch (zcio_test_random_range (random, 0, 9))
    {
    case 0:
      n = choose_vectors (random, sizes, G_N_ELEMENTS (sizes));
      ended = !simulated_stream_writev_full (s, sizes, n, &error);
      break;
    case 1:
    case 2:
      n = choose_vectors (random, sizes, G_N_ELEMENTS (sizes));
      ended = !simulated_stream_writev (s, sizes, n, &error);
      break;
    case 3:
    case 4:
    case 5:
      n = choose_vectors (random, sizes, G_N_ELEMENTS (sizes));
      ended = simulated_stream_writev_nonblocking (s, sizes, n, &error) == G_POLLABLE_RETURN_FAILED;
      break;
    case 6:
      ended = !simulated_stream_write_plain (s, zcio_test_random_range (random, 1, 10000), &error);
      break;
    case 7:
      zcio_socket_stream_reap (s->stream);
      break;
    case 8:
      simulated_kernel_advance (s->kernel, zcio_test_random_range (random, 1, zcio_test_random_chance (random, 10) ? 5000000 : 5000));
      break;
    case 9:
      if (zcio_test_random_chance (random, 30))
        {
          zcio_socket_stream_drain (s->stream, zcio_test_random_range (random, 0, 100000), NULL, &error);
          g_assert_no_error (error);
        }
      else if (zcio_test_random_chance (random, 15))
        zcio_socket_stream_set_zero_copy_mode (s->stream, choose_mode (random));
      else if (zcio_test_random_chance (random, 15))
        g_object_set (s->stream, "threshold", zcio_test_random_range (random, 0, 20000), "max-bytes-in-flight", zcio_test_random_chance (random, 50) ? (guint64) 0 : zcio_test_random_range (random, 1, 100000), NULL);
      break;
    default:
      g_assert_not_reached ();
    }

  /* No other error was ever made. */
  if (ended && !g_error_matches (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE))
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED);
  else if (!ended)
    g_assert_no_error (error);
  g_clear_error (&error);
  simulated_kernel_check_memory (s->kernel);

  return !ended;
}

static void
add_totals (SimulatedStream *s,
            Totals *totals)
{
  ZcioStatistics *statistics = simulated_stream_check_statistics (s);

  totals->bytes += s->accepted;
  totals->sends += s->kernel->zero_copy_sends;
  totals->notifications += s->kernel->notifications;
  totals->foreign += s->kernel->foreign;
  totals->no_buffers += s->kernel->no_buffers;
  totals->cured += statistics->enobufs_cured_by_drain;
  totals->congested += statistics->enobufs_congested;
  totals->limited += statistics->enobufs_limited;
  totals->would_block += s->kernel->would_block;
  zcio_statistics_free (statistics);
}

/* Another thread, which reaps as a main loop would. */
typedef struct
{
  ZcioSocketStream *stream;
  gint ended;
} Reaper;

static gpointer
reap_on (gpointer data)
{
  Reaper *reaper = data;

  while (!g_atomic_int_get (&reaper->ended))
    {
      zcio_socket_stream_reap (reaper->stream);
      g_thread_yield ();
    }

  return NULL;
}

static void
live_through (guint64 seed,
              gboolean is_reaped,
              Totals *totals)
{
  guint64 random = seed;
  SimulatedStream s;
  Reaper reaper = { NULL };
  GThread *thread = NULL;
  gboolean alive = TRUE;

  simulated_stream_init (&s, seed);
  set_up (s.kernel, &random);
  s.kernel->threads = is_reaped;
  reaper.stream = s.stream;
  if (is_reaped)
    thread = g_thread_new ("reaper", reap_on, &reaper);
  zcio_socket_stream_set_zero_copy_mode (s.stream, choose_mode (&random));
  for (guint i = zcio_test_random_range (&random, 1, 60); i > 0 && alive; i--)
    alive = do_something (&s, &random);
  g_atomic_int_set (&reaper.ended, TRUE);
  g_clear_pointer (&thread, g_thread_join);
  if (alive && zcio_test_random_chance (&random, 10))
    {
      GError *error = NULL;

      zcio_socket_stream_abort (s.stream, &error);
      g_assert_no_error (error);
    }
  totals->errors += !alive;
  simulated_stream_settle (&s);
  add_totals (&s, totals);
  simulated_stream_clear (&s);
}

static void
test_random (void)
{
  guint64 seed = zcio_test_get_seed ();
  guint64 rounds = zcio_test_get_rounds (1500);
  Totals totals = { 0 };

  g_test_summary ("In random histories every byte arrives once, each buffer is released once and not early, and statistics add up");

  for (guint64 i = 0; i < rounds; i++)
    live_through (seed + i, FALSE, &totals);

  g_test_message ("%" G_GUINT64_FORMAT " histories, %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " sends by zero-copy, %" G_GUINT64_FORMAT " notifications, %" G_GUINT64_FORMAT " foreign records", rounds, totals.bytes, totals.sends, totals.notifications, totals.foreign);
  g_test_message ("ENOBUFS %" G_GUINT64_FORMAT ": cured %" G_GUINT64_FORMAT ", congested %" G_GUINT64_FORMAT ", limited %" G_GUINT64_FORMAT "; EAGAIN %" G_GUINT64_FORMAT ", connections lost %" G_GUINT64_FORMAT, totals.no_buffers, totals.cured, totals.congested, totals.limited, totals.would_block, totals.errors);

  if (rounds >= 1000)
    {
      g_assert_cmpuint (totals.sends, >, rounds);
      g_assert_cmpuint (totals.foreign, >, 0);
      g_assert_cmpuint (totals.cured, >, 0);
      g_assert_cmpuint (totals.congested, >, 0);
      g_assert_cmpuint (totals.limited, >, 0);
      g_assert_cmpuint (totals.would_block, >, 0);
      g_assert_cmpuint (totals.errors, >, 0);
    }
}

static void
test_threads (void)
{
  guint64 seed = zcio_test_get_seed ();
  guint64 rounds = zcio_test_get_rounds (300);
  Totals totals = { 0 };

  g_test_summary ("The same in random histories while another thread reaps");

  for (guint64 i = 0; i < rounds; i++)
    live_through (seed + i, TRUE, &totals);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  simulated_stream_watch_log ();

  g_test_add_func ("/transmitter/random", test_random);
  g_test_add_func ("/transmitter/random-threads", test_threads);

  return g_test_run ();
}
