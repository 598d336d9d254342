/* benchmark-works.c - what there is to do
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <malloc.h>
#include <unistd.h>

#include "benchmark-private.h"

#define KIB ((gsize) 1024)
#define MIB ((gsize) 1024 * 1024)

/* How much is sent for one sample: enough for a time that can be told apart, less where each
 * byte costs more. */
#define BYTES_LARGE (384 * MIB)
#define BYTES_SMALL (96 * MIB)
#define BYTES_TINY (8 * MIB)

#define AREA_SIZE (16 * MIB)
#define FAN_OUT_STREAMS 64
#define FAN_OUT_BLOCK MIB
#define SPLICE_FILE (64 * MIB)
#define SMALL_WRITE 64
#define IDLE_STREAMS 256

/* As QEMU does when it moves a running machine: 128 pages a packet, and a header */
#define MIGRATE_MEMORY (96 * MIB)
#define MIGRATE_PAGE (4 * KIB)
#define MIGRATE_PAGES 128
#define MIGRATE_HEADER 1344

static guint64
get_volume (const BenchmarkRun *run,
            gsize               block_size)
{
  gsize bytes = block_size < KIB ? BYTES_TINY : block_size <= 4 * KIB ? BYTES_SMALL : BYTES_LARGE;

  return MAX (block_size, (guint64) ((double) bytes * run->scale));
}

static void
close_streams (GPtrArray *streams)
{
  for (guint i = 0; i < streams->len; i++)
    {
      BenchmarkStream *stream = streams->pdata[i];

      stream->contender->close (stream);
    }
  g_ptr_array_unref (streams);
}

static GPtrArray *
open_streams (const BenchmarkRun *run,
              guint               n,
              GError            **error)
{
  GPtrArray *streams = g_ptr_array_new ();

  for (guint i = 0; i < n; i++)
    {
      int fd = benchmark_connect (run->work->place, error);
      BenchmarkStream *stream = fd < 0 ? NULL : run->contender->open (run->contender, fd, error);

      if (stream == NULL)
        {
          if (fd >= 0)
            close (fd);
          close_streams (streams);
          return NULL;
        }
      g_ptr_array_add (streams, stream);
    }

  return streams;
}

static gboolean
drain_streams (GPtrArray *streams,
               GError   **error)
{
  for (guint i = 0; i < streams->len; i++)
    {
      BenchmarkStream *stream = streams->pdata[i];

      if (!stream->contender->drain (stream, error))
        return FALSE;
      benchmark_wait_until_sent (stream->fd);
    }

  return TRUE;
}

/* Each work is a function that sends, between the opening and the draining that they
 * have in common; it returns the bytes, or 0. */
typedef guint64 (*Sender) (BenchmarkRun *run, GPtrArray *streams, gpointer data, GError **error);

static gboolean
measure (BenchmarkRun *run,
         guint         n_streams,
         Sender        sender,
         gpointer      data,
         GError      **error)
{
  GPtrArray *streams = open_streams (run, n_streams, error);
  gboolean success;
  guint64 bytes;

  if (streams == NULL)
    return FALSE;

  benchmark_measure_begin (&run->sample, run->count_system_calls);
  bytes = sender (run, streams, data, error);
  success = bytes > 0 && drain_streams (streams, error);
  benchmark_measure_end (&run->sample);

  run->sample.bytes = bytes;
  for (guint i = 0; i < streams->len; i++)
    benchmark_measure_add_stream (&run->sample, streams->pdata[i]);
  close_streams (streams);

  return success;
}

/* ---- write ---- */

static guint64
send_blocks (BenchmarkRun *run,
             GPtrArray    *streams,
             gpointer      data,
             GError      **error)
{
  const BenchmarkMemory *memory = data;
  BenchmarkStream *stream = streams->pdata[0];
  guint64 n = get_volume (run, run->parameter) / run->parameter;

  for (guint64 i = 0; i < n; i++)
    if (!run->contender->write (stream, &memory->blocks[i % memory->n_blocks], error))
      return 0;

  return n * run->parameter;
}

static gboolean
run_write (BenchmarkRun *run,
           GError      **error)
{
  const BenchmarkMemory *memory = benchmark_memory_get (run->parameter < KIB ? MIB : AREA_SIZE, run->parameter);

  return measure (run, 1, send_blocks, (gpointer) memory, error);
}

/* ---- main-loop ---- */

static guint64
send_in_loop (BenchmarkRun *run,
              GPtrArray    *streams,
              gpointer      data,
              GError      **error)
{
  guint n = (guint) (get_volume (run, run->parameter) / run->parameter);

  if (run->contender->write_in_loop == NULL)
    return send_blocks (run, streams, data, error);

  return run->contender->write_in_loop (streams->pdata[0], data, n, error) ? n * run->parameter : 0;
}

static gboolean
run_main_loop (BenchmarkRun *run,
               GError      **error)
{
  const BenchmarkMemory *memory = benchmark_memory_get (AREA_SIZE, run->parameter);

  return measure (run, 1, send_in_loop, (gpointer) memory, error);
}

/* ---- fan-out ---- */

static guint64
send_to_all (BenchmarkRun *run,
             GPtrArray    *streams,
             gpointer      data,
             GError      **error)
{
  const BenchmarkMemory *memory = data;
  guint64 n = MAX (2, get_volume (run, FAN_OUT_BLOCK) / FAN_OUT_BLOCK / streams->len);

  for (guint64 i = 0; i < n; i++)
    for (guint j = 0; j < streams->len; j++)
      if (!run->contender->write (streams->pdata[j], &memory->blocks[i % memory->n_blocks], error))
        return 0;

  return n * streams->len * FAN_OUT_BLOCK;
}

static gboolean
run_fan_out (BenchmarkRun *run,
             GError      **error)
{
  const BenchmarkMemory *memory = benchmark_memory_get (AREA_SIZE, FAN_OUT_BLOCK);

  return measure (run, (guint) run->parameter, send_to_all, (gpointer) memory, error);
}

/* ---- migrate ---- */

typedef struct
{
  const BenchmarkMemory *memory;
  BenchmarkBlock header;
  guint *order;
  GRand *random;
} Migration;

static void
shuffle (Migration *migration)
{
  for (guint i = migration->memory->n_blocks - 1; i > 0; i--)
    {
      guint other = (guint) g_rand_int_range (migration->random, 0, (gint32) i + 1);
      guint page = migration->order[i];

      migration->order[i] = migration->order[other];
      migration->order[other] = page;
    }
}

/* One round over @n_pages random pages. The first is of full packets, in the later ones
 * many pages turn out to be the same as before. */
static guint64
send_round (BenchmarkRun *run,
            GPtrArray    *streams,
            Migration    *migration,
            guint         n_pages,
            gboolean      full,
            GError      **error)
{
  guint64 bytes = 0;
  guint packet = 0;

  for (guint done = 0; done < n_pages; packet++)
    {
      struct iovec pages[MIGRATE_PAGES];
      guint n = full ? MIGRATE_PAGES : (guint) g_rand_int_range (migration->random, 1, MIGRATE_PAGES + 1);

      n = MIN (n, n_pages - done);
      for (guint i = 0; i < n; i++)
        {
          const BenchmarkBlock *block = &migration->memory->blocks[migration->order[done + i]];

          pages[i] = (struct iovec){ (gpointer) block->data, block->size };
        }
      if (!run->contender->write_packet (streams->pdata[packet % streams->len], &migration->header, pages, n, error))
        return 0;
      done += n;
      bytes += MIGRATE_HEADER + n * MIGRATE_PAGE;
    }

  return drain_streams (streams, error) ? bytes : 0;
}

static guint64
migrate (BenchmarkRun *run,
         GPtrArray    *streams,
         gpointer      data,
         GError      **error)
{
  static const guint percentages[] = { 100, 30, 10, 3 };
  Migration *migration = data;
  guint64 total = 0;
  double passes = MAX (1, run->scale * 2);

  for (guint pass = 0; pass < (guint) passes; pass++)
    for (guint i = 0; i < G_N_ELEMENTS (percentages); i++)
      {
        guint n_pages = (guint) MAX (1, MIN (1, run->scale) * migration->memory->n_blocks * percentages[i] / 100);
        guint64 bytes = send_round (run, streams, migration, n_pages, i == 0, error);

        if (bytes == 0)
          return 0;
        total += bytes;
      }

  return total;
}

static gboolean
run_migrate (BenchmarkRun *run,
             GError      **error)
{
  const BenchmarkMemory *memory = benchmark_memory_get (MIGRATE_MEMORY, MIGRATE_PAGE);
  const BenchmarkMemory *header = benchmark_memory_get (4 * KIB, MIGRATE_HEADER);
  g_autofree guint *order = g_new (guint, memory->n_blocks);
  Migration migration = { memory, header->blocks[0], order, g_rand_new_with_seed (run->round) };
  gboolean success;

  for (guint i = 0; i < memory->n_blocks; i++)
    order[i] = i;
  shuffle (&migration);
  success = measure (run, (guint) run->parameter, migrate, &migration, error);
  g_rand_free (migration.random);

  return success;
}

/* ---- splice ---- */

static guint64
splice_file (BenchmarkRun *run,
             GPtrArray    *streams,
             gpointer      data,
             GError      **error)
{
  guint64 n = MAX (1, get_volume (run, MIB) / SPLICE_FILE);

  for (guint64 i = 0; i < n; i++)
    if (!run->contender->splice (streams->pdata[0], *(int *) data, SPLICE_FILE, error))
      return 0;

  return n * SPLICE_FILE;
}

static gboolean
run_splice (BenchmarkRun *run,
            GError      **error)
{
  static int file = -1;
  static gsize file_piece;

  if (file < 0 || file_piece != run->parameter)
    {
      if (file >= 0)
        close (file);
      file = benchmark_memory_open_file (SPLICE_FILE, run->parameter, error);
      file_piece = run->parameter;
    }

  return file >= 0 && measure (run, 1, splice_file, &file, error);
}

/* ---- idle ---- */

/* Prints the memory of one stream beyond its GSocket. The first of all streams is
 * made before, since with it come things that there are only once. */
gboolean
benchmark_measure_idle_stream (const BenchmarkContender *contender,
                               guint                     n,
                               GError                  **error)
{
  g_autoptr (GPtrArray) sockets = g_ptr_array_new_with_free_func (g_object_unref);
  g_autoptr (GPtrArray) streams = g_ptr_array_new_full (n + 1, g_object_unref);
  gsize before = 0;

  for (guint i = 0; i <= n; i++)
    {
      int fd = benchmark_connect (BENCHMARK_PLACE_LOOPBACK, error);
      GSocket *socket = fd < 0 ? NULL : g_socket_new_from_fd (fd, error);

      if (socket == NULL)
        return FALSE;
      g_ptr_array_add (sockets, socket);
    }

  for (guint i = 0; i <= n; i++)
    {
      if (i == 1)
        before = mallinfo2 ().uordblks;
      g_ptr_array_add (streams, contender->make_stream (contender, sockets->pdata[i]));
    }
  g_print ("%" G_GSIZE_FORMAT "\n", (mallinfo2 ().uordblks - before) / n);

  return TRUE;
}

/* Another process has to do it: GLib's own allocator, which hides what is used, can only be
 * turned off from the start, and would then make GIO slower in all works. */
static gboolean
run_idle (BenchmarkRun *run,
          GError      **error)
{
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_STDOUT_PIPE);
  g_autoptr (GSubprocess) process = NULL;
  g_autofree char *output = NULL;
  g_autofree char *parameter = g_strdup_printf ("--parameter=%" G_GSIZE_FORMAT, run->parameter);

  g_subprocess_launcher_setenv (launcher, "G_SLICE", "always-malloc", TRUE);
  process = g_subprocess_launcher_spawn (launcher, error, "/proc/self/exe", "--loopback", "--idle-stream",
                                         "--contender", run->contender->name, parameter, NULL);
  if (process == NULL || !g_subprocess_communicate_utf8 (process, NULL, NULL, &output, NULL, error))
    return FALSE;
  if (!g_subprocess_get_successful (process))
    {
      g_set_error_literal (error, BENCHMARK_ERROR, BENCHMARK_ERROR_FAILED, "Could not measure the memory of a stream");
      return FALSE;
    }
  run->sample.memory = g_ascii_strtoull (output, NULL, 10);

  return TRUE;
}

/* ---- who can take part ---- */

static gboolean
suits_all (const BenchmarkContender *contender)
{
  return contender->write != NULL;
}

static gboolean
suits_everywhere (const BenchmarkContender *contender)
{
  return contender->everywhere;
}

static gboolean
suits_packets (const BenchmarkContender *contender)
{
  return contender->write_packet != NULL;
}

static gboolean
suits_splice (const BenchmarkContender *contender)
{
  return contender->splice != NULL;
}

static gboolean
suits_objects (const BenchmarkContender *contender)
{
  return contender->make_stream != NULL;
}

static const gsize write_sizes[] = {
  KIB, 2 * KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB,
  128 * KIB, 256 * KIB, 512 * KIB, MIB, 2 * MIB, 4 * MIB, 0
};
static const gsize loopback_sizes[] = { KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 0 };
static const gsize small_sizes[] = { SMALL_WRITE, 0 };
static const gsize main_loop_sizes[] = { 256 * KIB, 0 };
/* The page cache holds a file in as large pieces as it was written in, where the file system can. */
static const gsize splice_pieces[] = { 4 * KIB, 64 * KIB, MIB, 2 * MIB, 0 };
static const gsize loopback_splice_pieces[] = { MIB, 0 };
static const gsize migrate_streams[] = { 1, 2, 8, 0 };
static const gsize fan_out_streams[] = { FAN_OUT_STREAMS, 0 };
static const gsize idle_streams[] = { IDLE_STREAMS, 0 };

const BenchmarkWork benchmark_works[] = {
  {
    .name = "write",
    .summary = "one write after the other",
    .parameters = write_sizes,
    .suits = suits_all,
    .run = run_write,
  },
  {
    .name = "migrate",
    .summary = "packets of a header and up to 128 random pages of 4 KiB, a drain after each round",
    .parameters = migrate_streams,
    .parameter_unit = "streams",
    .suits = suits_packets,
    .run = run_migrate,
  },
  {
    .name = "fan-out",
    .summary = "the same 1 MiB to many streams",
    .parameters = fan_out_streams,
    .parameter_unit = "streams",
    .suits = suits_all,
    .run = run_fan_out,
  },
  {
    .name = "splice",
    .summary = "a file that is cached in pieces of this size",
    .parameters = splice_pieces,
    .suits = suits_splice,
    .run = run_splice,
  },
  {
    .name = "small",
    .summary = "writes of a few bytes",
    .parameters = small_sizes,
    .suits = suits_all,
    .run = run_write,
  },
  {
    .name = "main-loop",
    .summary = "asynchronous writes, where there are any",
    .parameters = main_loop_sizes,
    .suits = suits_all,
    .run = run_main_loop,
  },
  {
    .name = "loopback",
    .summary = "one write after the other, where the kernel always copies",
    .place = BENCHMARK_PLACE_LOOPBACK,
    .parameters = loopback_sizes,
    .suits = suits_everywhere,
    .run = run_write,
  },
  {
    .name = "loopback-splice",
    .summary = "the same, where the kernel copies what is sent by zero-copy",
    .place = BENCHMARK_PLACE_LOOPBACK,
    .parameters = loopback_splice_pieces,
    .suits = suits_splice,
    .run = run_splice,
  },
  {
    .name = "idle",
    .summary = "memory of a stream that does nothing, beyond its GSocket",
    .place = BENCHMARK_PLACE_LOOPBACK,
    .parameters = idle_streams,
    .parameter_unit = "streams",
    .counts_memory = TRUE,
    .suits = suits_objects,
    .run = run_idle,
  },
  { .name = NULL },
};
