/* tool-bench.c - zcio bench: sending with and without copying, in turns
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_STREAMS 256
#define MAX_ROUNDS 1000
#define DEFAULT_SIZE (1024 * 1024)
#define PAGE_SIZE ((gsize) 4096)
/* Memory that the pages of a guest stand for, and the file that is spliced. */
#define MIGRATE_MEMORY ((gsize) 64 * 1024 * 1024)
#define SPLICE_FILE ((gsize) 64 * 1024 * 1024)
#define MIGRATE_VECTORS 128

typedef enum
{
  WORKLOAD_WRITE,
  WORKLOAD_MIGRATE,
  WORKLOAD_SPLICE
} Workload;

static const char *const workload_names[] = { "write", "migrate", "splice" };

typedef struct _Bench Bench;

/* One connection, and the thread that sends over it. */
typedef struct
{
  Bench *bench;
  GSocketConnection *connection;
  ZcioSocketStream *stream;
  int file;
  guint64 bytes;
  GError *error;
} Stream;

/* What one turn in one mode cost. */
typedef struct
{
  guint64 bytes;
  double seconds;
  double cpu_seconds;
  guint64 bytes_zero_copied;
  guint64 bytes_copied_by_kernel;
} Turn;

struct _Bench
{
  ToolOptions options;
  char *size_text;
  char *workload_text;
  int n_streams;
  int n_rounds;
  double seconds;
  guint64 size;
  Workload workload;
  GSocketConnectable *peer;
  GCancellable *cancellable;

  Stream *streams;
  GBytes *memory;
  gint64 end;
  GArray *copies;
  GArray *zero_copies;
  GError *error;
};

static gboolean
send_write (Stream  *stream,
            GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new_from_bytes (stream->bench->memory, 0, stream->bench->size);
  gsize written = 0;
  gboolean success;

  success = zcio_socket_stream_write_zerocopy (stream->stream, bytes, &written, stream->bench->cancellable, error);
  stream->bytes += written;

  return success;
}

/* Pages from all over the memory, as a guest's dirty ones are. */
static gboolean
send_migrate (Stream  *stream,
              GError **error)
{
  GBytes *pages[MIGRATE_VECTORS];
  gsize written = 0;
  gboolean success;

  for (gsize i = 0; i < G_N_ELEMENTS (pages); i++)
    pages[i] = g_bytes_new_from_bytes (stream->bench->memory,
                                       (gsize) g_random_int_range (0, MIGRATE_MEMORY / PAGE_SIZE) * PAGE_SIZE, PAGE_SIZE);
  success = zcio_socket_stream_writev_zerocopy (stream->stream, pages, G_N_ELEMENTS (pages), &written,
                                                stream->bench->cancellable, error);
  for (gsize i = 0; i < G_N_ELEMENTS (pages); i++)
    g_bytes_unref (pages[i]);
  stream->bytes += written;

  return success;
}

static gboolean
send_splice (Stream  *stream,
             GError **error)
{
  g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d", stream->file);
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GFileInputStream) input = g_file_read (file, NULL, error);
  gssize n;

  if (input == NULL)
    return FALSE;

  n = g_output_stream_splice (G_OUTPUT_STREAM (stream->stream), G_INPUT_STREAM (input),
                              G_OUTPUT_STREAM_SPLICE_NONE, stream->bench->cancellable, error);
  stream->bytes += (guint64) MAX (n, 0);

  return n >= 0;
}

static gpointer
stream_thread (gpointer user_data)
{
  static gboolean (*const send[]) (Stream *, GError **) = { send_write, send_migrate, send_splice };
  Stream *stream = user_data;
  Bench *bench = stream->bench;

  do
    {
      if (!send[bench->workload] (stream, &stream->error))
        return NULL;
    }
  while (g_get_monotonic_time () < bench->end);

  /* What a turn has sent is its own to wait for, and to pay for. */
  zcio_socket_stream_drain (stream->stream, 0, bench->cancellable, &stream->error);
  return NULL;
}

static void
add_statistics (Bench *bench,
                Turn  *turn,
                int    sign)
{
  for (int i = 0; i < bench->n_streams; i++)
    {
      g_autoptr (ZcioStatistics) s = zcio_socket_stream_get_statistics (bench->streams[i].stream);

      turn->bytes_zero_copied += (guint64) sign * s->bytes_zero_copied;
      turn->bytes_copied_by_kernel += (guint64) sign * s->bytes_copied_by_kernel;
    }
}

static gboolean
run_turn (Bench           *bench,
          ZcioZeroCopyMode mode,
          Turn            *turn,
          GError         **error)
{
  g_autofree GThread **threads = g_new (GThread *, bench->n_streams);
  gint64 begin = g_get_monotonic_time ();
  double cpu = tool_get_cpu_seconds ();

  memset (turn, 0, sizeof *turn);
  add_statistics (bench, turn, -1);
  bench->end = begin + (gint64) (bench->seconds * G_USEC_PER_SEC);

  for (int i = 0; i < bench->n_streams; i++)
    {
      bench->streams[i].bytes = 0;
      zcio_socket_stream_set_zero_copy_mode (bench->streams[i].stream, mode);
      threads[i] = g_thread_new ("zcio-bench", stream_thread, &bench->streams[i]);
    }
  for (int i = 0; i < bench->n_streams; i++)
    {
      g_thread_join (threads[i]);
      turn->bytes += bench->streams[i].bytes;
    }

  turn->seconds = (double) (g_get_monotonic_time () - begin) / G_USEC_PER_SEC;
  turn->cpu_seconds = tool_get_cpu_seconds () - cpu;
  add_statistics (bench, turn, 1);

  for (int i = 0; i < bench->n_streams; i++)
    if (bench->streams[i].error != NULL)
      {
        g_propagate_error (error, g_steal_pointer (&bench->streams[i].error));
        tool_error_wrap (error, TOOL_EXIT_CONNECTION, "The connection to %s was lost", bench->options.arguments[0]);
        return FALSE;
      }
  return TRUE;
}

/* Which of the two begins changes from round to round. */
static gboolean
run_rounds (Bench   *bench,
            GError **error)
{
  Turn copy, zero_copy;

  /* Not counted: connections begin slowly. By zero-copy, since the ids of a socket
   * that has sent before are not known, and its first zero-copy send goes alone.
   */
  if (!run_turn (bench, ZCIO_ZERO_COPY_MODE_ALWAYS, &zero_copy, error))
    return FALSE;

  for (int i = 0; i < bench->n_rounds; i++)
    {
      if ((i % 2 == 1 && !run_turn (bench, ZCIO_ZERO_COPY_MODE_ALWAYS, &zero_copy, error))
          || !run_turn (bench, ZCIO_ZERO_COPY_MODE_NEVER, &copy, error)
          || (i % 2 == 0 && !run_turn (bench, ZCIO_ZERO_COPY_MODE_ALWAYS, &zero_copy, error)))
        return FALSE;

      g_array_append_val (bench->copies, copy);
      g_array_append_val (bench->zero_copies, zero_copy);
    }

  return TRUE;
}

static gboolean
open_streams (Bench   *bench,
              GError **error)
{
  for (int i = 0; i < bench->n_streams; i++)
    {
      Stream *stream = &bench->streams[i];

      stream->connection = tool_connect (bench->peer, (guint) bench->options.timeout, bench->cancellable, error);
      if (stream->connection == NULL)
        return FALSE;
      stream->stream = zcio_socket_stream_new (g_socket_connection_get_socket (stream->connection));
    }

  return TRUE;
}

static gboolean
make_file (Bench   *bench,
           GError **error)
{
  int fd = memfd_create ("zcio-bench", MFD_CLOEXEC);
  gsize size;
  const char *data = g_bytes_get_data (bench->memory, &size);

  for (gsize done = 0; fd >= 0 && done < SPLICE_FILE; )
    {
      gssize n = write (fd, data, MIN (size, SPLICE_FILE - done));

      if (n <= 0)
        break;
      done += (gsize) n;
    }
  if (fd < 0 || lseek (fd, 0, SEEK_END) != (off_t) SPLICE_FILE)
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_FAILED, "Cannot make a file of 64 MiB in memory to splice from");
      return FALSE;
    }
  for (int i = 0; i < bench->n_streams; i++)
    bench->streams[i].file = dup (fd);
  close (fd);

  return TRUE;
}

static void
make_memory (Bench *bench)
{
  gsize size = MAX (bench->workload == WORKLOAD_MIGRATE ? MIGRATE_MEMORY : 0, (gsize) bench->size);
  guint8 *data = g_aligned_alloc (1, size, PAGE_SIZE);

  for (gsize i = 0; i < size; i++)
    data[i] = (guint8) (i * 31 >> 4);
  bench->memory = g_bytes_new_with_free_func (data, size, g_aligned_free, data);
}

/* A sink that counts takes a bench that has run to its end for a whole transfer. */
static void
close_streams (Bench *bench)
{
  for (int i = 0; i < bench->n_streams; i++)
    if (!tool_socket_deliver (bench->streams[i].stream, bench->options.timeout, bench->cancellable, &bench->error))
      {
        tool_error_wrap (&bench->error, TOOL_EXIT_CONNECTION, "The connection to %s was lost", bench->options.arguments[0]);
        return;
      }
}

static gpointer
bench_thread (gpointer user_data)
{
  Bench *bench = user_data;

  bench->streams = g_new0 (Stream, bench->n_streams);
  for (int i = 0; i < bench->n_streams; i++)
    {
      bench->streams[i].bench = bench;
      bench->streams[i].file = -1;
    }

  make_memory (bench);
  if ((bench->workload != WORKLOAD_SPLICE || make_file (bench, &bench->error))
      && open_streams (bench, &bench->error)
      && run_rounds (bench, &bench->error))
    close_streams (bench);

  return NULL;
}

static int
compare_doubles (gconstpointer a,
                 gconstpointer b)
{
  double x = *(const double *) a;
  double y = *(const double *) b;

  return x < y ? -1 : x > y;
}

static double
get_median (double *values,
            guint   n)
{
  if (n == 0)
    return 0;

  qsort (values, n, sizeof *values, compare_doubles);
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double
get_rate (const Turn *turn)
{
  return (double) turn->bytes / MAX (turn->seconds, 1e-9);
}

static double
get_cpu_per_gb (const Turn *turn)
{
  return turn->cpu_seconds * 1e9 / MAX ((double) turn->bytes, 1);
}

static double
get_zero_copied (const Turn *turn)
{
  return (double) turn->bytes_zero_copied / MAX ((double) turn->bytes, 1);
}

static double
get_copied_by_kernel (const Turn *turn)
{
  return (double) turn->bytes_copied_by_kernel / MAX ((double) turn->bytes, 1);
}

static double
get_median_of (GArray *turns,
               double (*get) (const Turn *))
{
  g_autofree double *values = g_new (double, turns->len + 1);

  for (guint i = 0; i < turns->len; i++)
    values[i] = get (&g_array_index (turns, Turn, i));

  return get_median (values, turns->len);
}

/* Of each round, so that what disturbs both turns of a round cancels out. */
static double
get_median_ratio (Bench *bench,
                  double (*get) (const Turn *))
{
  g_autofree double *values = g_new (double, bench->copies->len + 1);

  for (guint i = 0; i < bench->copies->len; i++)
    values[i] = get (&g_array_index (bench->zero_copies, Turn, i))
                / MAX (get (&g_array_index (bench->copies, Turn, i)), 1e-9);

  return get_median (values, bench->copies->len);
}

static void
print_mode (const char *name,
            GArray     *turns)
{
  g_autofree char *rate = tool_format_size ((guint64) get_median_of (turns, get_rate));

  g_print ("%-10s %10s/s %10.0f ms %9.0f %% %10.0f %%\n", name, rate,
           1000 * get_median_of (turns, get_cpu_per_gb), 100 * get_median_of (turns, get_zero_copied),
           100 * get_median_of (turns, get_copied_by_kernel));
}

static void
print_result (Bench *bench)
{
  g_autofree char *size = tool_format_size (bench->size);
  g_autofree char *streams = g_strdup_printf (bench->n_streams == 1 ? "%d stream" : "%d streams", bench->n_streams);

  if (bench->workload == WORKLOAD_WRITE)
    g_print ("%s, writes of %s, ", streams, size);
  else if (bench->workload == WORKLOAD_MIGRATE)
    g_print ("%s, writes of %d scattered pages, ", streams, MIGRATE_VECTORS);
  else
    g_print ("%s, splicing a file, ", streams);
  g_print ("medians of %u rounds\n\n", bench->copies->len);

  g_print ("%-10s %12s %13s %11s %12s\n", "", "rate", "CPU per GB", "zero-copied", "kernel copied");
  print_mode ("copy", bench->copies);
  print_mode ("zero-copy", bench->zero_copies);
  g_print ("%-10s %12.2f %13.2f\n", "ratio", get_median_ratio (bench, get_rate), get_median_ratio (bench, get_cpu_per_gb));

  if (get_median_of (bench->zero_copies, get_copied_by_kernel) > 0.5)
    g_print ("\nThe kernel copied after all: “zcio doctor” tells why.\n");
}

static void
add_mode (JsonBuilder *builder,
          const char  *name,
          GArray      *turns)
{
  json_builder_set_member_name (builder, name);
  json_builder_begin_object (builder);
  tool_json_add_double (builder, "bytes_per_second", get_median_of (turns, get_rate));
  tool_json_add_double (builder, "cpu_seconds_per_gb", get_median_of (turns, get_cpu_per_gb));
  tool_json_add_double (builder, "zero_copied", get_median_of (turns, get_zero_copied));
  tool_json_add_double (builder, "copied_by_kernel", get_median_of (turns, get_copied_by_kernel));
  json_builder_end_object (builder);
}

static gboolean
print_json (Bench   *bench,
            gboolean interrupted,
            GError **error)
{
  g_autoptr (JsonBuilder) builder = tool_json_begin ("bench");

  tool_json_add_string (builder, "peer", bench->options.arguments[0]);
  tool_json_add_string (builder, "workload", workload_names[bench->workload]);
  tool_json_add_int (builder, "streams", (guint64) bench->n_streams);
  tool_json_add_int (builder, "size", bench->size);
  tool_json_add_int (builder, "rounds", bench->copies->len);
  tool_json_add_boolean (builder, "interrupted", interrupted);
  add_mode (builder, "copy", bench->copies);
  add_mode (builder, "zero_copy", bench->zero_copies);
  json_builder_set_member_name (builder, "ratio");
  json_builder_begin_object (builder);
  tool_json_add_double (builder, "bytes_per_second", get_median_ratio (bench, get_rate));
  tool_json_add_double (builder, "cpu_seconds_per_gb", get_median_ratio (bench, get_cpu_per_gb));
  json_builder_end_object (builder);
  if (bench->error != NULL)
    tool_json_add_error (builder, bench->error);

  return tool_json_end (builder, error);
}

static gboolean
parse_arguments (Bench   *bench,
                 int      argc,
                 char   **argv,
                 GError **error)
{
  const GOptionEntry entries[] = {
    { "streams", 'n', 0, G_OPTION_ARG_INT, &bench->n_streams, "Connections at once (1)", "N" },
    { "size", 's', 0, G_OPTION_ARG_STRING, &bench->size_text, "Bytes of a write (1M)", "SIZE" },
    { "workload", 'w', 0, G_OPTION_ARG_STRING, &bench->workload_text, "What to send: write, migrate, splice", "KIND" },
    { "seconds", 'd', 0, G_OPTION_ARG_DOUBLE, &bench->seconds, "Time for each turn (1)", "SECONDS" },
    { "rounds", 'R', 0, G_OPTION_ARG_INT, &bench->n_rounds, "Rounds of two turns (5)", "N" },
    { "timeout", 't', 0, G_OPTION_ARG_INT, &bench->options.timeout, "Give up when nothing has moved for so long", "SECONDS" },
    G_OPTION_ENTRY_NULL
  };

  bench->n_streams = 1;
  bench->n_rounds = 5;
  bench->seconds = 1;
  bench->size = DEFAULT_SIZE;
  if (!tool_options_parse (&bench->options, TOOL_OPTIONS_OUTPUT, "HOST:PORT",
                           "Sends to any sink, by copy and by zero-copy in turns, and compares the two.",
                           entries, argc, argv, error))
    return FALSE;

  if (g_strv_length (bench->options.arguments) != 1)
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_USAGE, "One HOST:PORT is needed");
      return FALSE;
    }
  if (bench->n_streams < 1 || bench->n_streams > MAX_STREAMS || bench->n_rounds < 1 || bench->n_rounds > MAX_ROUNDS
      || !(bench->seconds > 0 && bench->seconds <= 3600))
    {
      g_set_error (error, TOOL_ERROR, TOOL_EXIT_USAGE,
                   "--streams must be from 1 to %d, --rounds from 1 to %d, --seconds above 0 and at most 3600",
                   MAX_STREAMS, MAX_ROUNDS);
      return FALSE;
    }
  if (bench->size_text != NULL && !tool_parse_size (bench->size_text, 1, 1 << 30, &bench->size, error))
    {
      g_prefix_error (error, "--size: ");
      return FALSE;
    }
  if (bench->workload_text != NULL)
    {
      gsize i;

      for (i = 0; i < G_N_ELEMENTS (workload_names); i++)
        if (strcmp (bench->workload_text, workload_names[i]) == 0)
          break;
      if (i == G_N_ELEMENTS (workload_names))
        {
          g_set_error (error, TOOL_ERROR, TOOL_EXIT_USAGE,
                       "--workload: “%s” is none of write, migrate and splice", bench->workload_text);
          return FALSE;
        }
      bench->workload = (Workload) i;
    }

  bench->peer = tool_parse_peer (bench->options.arguments[0], error);
  return bench->peer != NULL;
}

static void
bench_clear (Bench *bench)
{
  for (int i = 0; bench->streams != NULL && i < bench->n_streams; i++)
    {
      if (bench->streams[i].stream != NULL && bench->error != NULL)
        zcio_socket_stream_abort (bench->streams[i].stream, NULL);
      g_clear_object (&bench->streams[i].stream);
      g_clear_object (&bench->streams[i].connection);
      g_clear_error (&bench->streams[i].error);
      if (bench->streams[i].file >= 0)
        close (bench->streams[i].file);
    }
  g_free (bench->streams);
  g_clear_pointer (&bench->memory, g_bytes_unref);
  g_clear_pointer (&bench->copies, g_array_unref);
  g_clear_pointer (&bench->zero_copies, g_array_unref);
  g_clear_object (&bench->peer);
  g_clear_error (&bench->error);
  g_free (bench->size_text);
  g_free (bench->workload_text);
  tool_options_clear (&bench->options);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Bench, bench_clear)

int
tool_bench (int      argc,
            char   **argv,
            GError **error)
{
  g_auto (Bench) bench = { 0 };
  ToolRunner runner;
  gboolean interrupted;
  int code = TOOL_EXIT_OK;

  if (!parse_arguments (&bench, argc, argv, error))
    return TOOL_EXIT_USAGE;

  bench.copies = g_array_new (FALSE, FALSE, sizeof (Turn));
  bench.zero_copies = g_array_new (FALSE, FALSE, sizeof (Turn));
  tool_runner_init (&runner);
  bench.cancellable = runner.cancellable;
  tool_runner_run_thread (&runner, bench_thread, &bench);
  interrupted = bench.error != NULL && runner.signal_number != 0;
  if (interrupted)
    code = TOOL_EXIT_SIGNAL + runner.signal_number;
  tool_runner_clear (&runner);

  if (bench.options.json)
    {
      if (!print_json (&bench, interrupted, error))
        return TOOL_EXIT_OUTPUT;
    }
  else if (bench.copies->len > 0)
    {
      print_result (&bench);
    }

  if (bench.error != NULL)
    g_propagate_error (error, g_error_copy (bench.error));
  return code;
}
