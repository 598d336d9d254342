/* tool-demo.c - zcio demo: a file to another process, all from the main loop
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <ftw.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define DEFAULT_DIRECTORY "/usr/lib"
#define DEFAULT_SIZE ((guint64) 1024 * 1024 * 1024)
#define BUFFER_SIZE ((gsize) 1024 * 1024)
#define BUFFERS_PER_WRITE 4
#define FTW_DESCRIPTORS 16

typedef struct
{
  ToolOptions options;
  ToolRunner runner;
  char *size_text;
  guint64 size;
  char *path;
  GBytes *file;
  guint64 total;
  guint64 sent;

  GSubprocess *receiver;
  GDataInputStream *receiver_output;
  GSocketConnection *connection;
  ZcioSocketStream *stream;

  GThread *hasher;
  char *expected;
  char *received;

  gint64 started;
  double seconds;
  double cpu_seconds;
  GError *error;
} Demo;

static char *largest_path;
static off_t largest_size;

static int
visit_file (const char        *path,
            const struct stat *status,
            int                type,
            struct FTW        *where)
{
  if (type == FTW_F && S_ISREG (status->st_mode) && status->st_size > largest_size)
    {
      g_free (largest_path);
      largest_path = g_strdup (path);
      largest_size = status->st_size;
    }
  return 0;
}

/* A file that is on every system, and large enough to be worth sending. */
static char *
find_largest_file (void)
{
  nftw (DEFAULT_DIRECTORY, visit_file, FTW_DESCRIPTORS, FTW_PHYS);
  return g_steal_pointer (&largest_path);
}

static gboolean
map_file (Demo    *demo,
          GError **error)
{
  g_autoptr (GMappedFile) mapped = NULL;
  g_autofree char *name = NULL;
  gsize size;

  if (demo->path == NULL)
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_INPUT, "There is no file under " DEFAULT_DIRECTORY " to send");
      return FALSE;
    }

  name = g_filename_display_name (demo->path);
  mapped = g_mapped_file_new (demo->path, FALSE, error);
  if (mapped == NULL)
    {
      tool_error_wrap (error, TOOL_EXIT_INPUT, "Cannot read “%s”", name);
      return FALSE;
    }

  size = g_mapped_file_get_length (mapped);
  if (size == 0)
    {
      g_set_error (error, TOOL_ERROR, TOOL_EXIT_INPUT, "“%s” is empty: there is nothing to show", name);
      return FALSE;
    }
  demo->file = g_mapped_file_get_bytes (mapped);
  demo->total = (demo->size + size - 1) / size * size;

  return TRUE;
}

/* In a thread of its own: the one of the main loop only sends. */
static gpointer
hash_thread (gpointer user_data)
{
  Demo *demo = user_data;
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  gsize size;
  const guint8 *data = g_bytes_get_data (demo->file, &size);

  for (guint64 done = 0; done < demo->total; done += size)
    for (gsize offset = 0; offset < size; offset += BUFFER_SIZE)
      {
        if (g_cancellable_is_cancelled (demo->runner.cancellable))
          return NULL;
        g_checksum_update (checksum, data + offset, (gssize) MIN (BUFFER_SIZE, size - offset));
      }
  demo->expected = g_strdup (g_checksum_get_string (checksum));

  return NULL;
}

/* What the receiver prints is one JSON object a line. */
static JsonObject *
parse_line (const char *line,
            GError    **error)
{
  g_autoptr (JsonNode) node = line != NULL ? json_from_string (line, error) : NULL;

  if (node != NULL && JSON_NODE_HOLDS_OBJECT (node))
    return json_node_dup_object (node);

  if (error != NULL && *error == NULL)
    g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_FAILED, "The receiver ended early");
  return NULL;
}

static gboolean
start_receiver (Demo    *demo,
                guint16 *port,
                GError **error)
{
  g_autoptr (JsonObject) object = NULL;
  g_autofree char *line = NULL;

  demo->receiver = g_subprocess_new (G_SUBPROCESS_FLAGS_STDOUT_PIPE, error, "/proc/self/exe", "receive", "--once",
                                     "--checksum", "--json", "--quiet", "--output=/dev/null", "127.0.0.1:0", NULL);
  if (demo->receiver == NULL)
    return FALSE;

  demo->receiver_output = g_data_input_stream_new (g_subprocess_get_stdout_pipe (demo->receiver));
  line = g_data_input_stream_read_line (demo->receiver_output, NULL, demo->runner.cancellable, error);
  object = parse_line (line, error);
  if (object == NULL)
    return FALSE;
  *port = (guint16) json_object_get_int_member_with_default (object, "port", 0);

  return TRUE;
}

static gboolean
open_stream (Demo    *demo,
             guint16  port,
             GError **error)
{
  g_autoptr (GSocketConnectable) peer = g_network_address_new ("127.0.0.1", port);

  demo->connection = tool_connect (peer, 0, demo->runner.cancellable, error);
  if (demo->connection == NULL)
    return FALSE;

  demo->stream = zcio_socket_stream_new (g_socket_connection_get_socket (demo->connection));
  zcio_socket_stream_set_zero_copy_mode (demo->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);

  return TRUE;
}

static void
finish (Demo   *demo,
        GError *error)
{
  if (error != NULL && demo->error == NULL)
    demo->error = error;
  else
    g_clear_error (&error);
  g_main_loop_quit (demo->runner.loop);
}

static void
receiver_line_cb (GObject      *source,
                  GAsyncResult *result,
                  gpointer      user_data)
{
  Demo *demo = user_data;
  g_autofree char *line = NULL;
  g_autoptr (JsonObject) object = NULL;
  GError *error = NULL;

  line = g_data_input_stream_read_line_finish (G_DATA_INPUT_STREAM (source), result, NULL, &error);
  if (error == NULL)
    object = parse_line (line, &error);
  if (object != NULL)
    demo->received = g_strdup (json_object_get_string_member_with_default (object, "sha256", NULL));
  finish (demo, error);
}

static void
flush_cb (GObject      *source,
          GAsyncResult *result,
          gpointer      user_data)
{
  Demo *demo = user_data;
  GError *error = NULL;

  if (!g_output_stream_flush_finish (G_OUTPUT_STREAM (source), result, &error)
      || !g_socket_shutdown (zcio_socket_stream_get_socket (demo->stream), FALSE, TRUE, &error))
    {
      finish (demo, error);
      return;
    }
  tool_socket_set_reset (zcio_socket_stream_get_socket (demo->stream), FALSE);
  demo->seconds = (double) (g_get_monotonic_time () - demo->started) / G_USEC_PER_SEC;

  g_data_input_stream_read_line_async (demo->receiver_output, G_PRIORITY_DEFAULT, demo->runner.cancellable,
                                       receiver_line_cb, demo);
}

static void write_next (Demo *demo);

static void
written_cb (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  Demo *demo = user_data;
  GError *error = NULL;
  gsize written = 0;

  if (zcio_socket_stream_writev_zerocopy_finish (ZCIO_SOCKET_STREAM (source), result, &written, &error))
    {
      demo->sent += written;
      write_next (demo);
    }
  else
    {
      demo->sent += written;
      finish (demo, error);
    }
}

/* The stream takes its own references, and drops them when the kernel is done. */
static void
write_next (Demo *demo)
{
  GBytes *buffers[BUFFERS_PER_WRITE];
  gsize n = 0;
  gsize size = g_bytes_get_size (demo->file);
  guint64 position = demo->sent;

  if (demo->sent == demo->total)
    {
      g_output_stream_flush_async (G_OUTPUT_STREAM (demo->stream), G_PRIORITY_DEFAULT, demo->runner.cancellable,
                                   flush_cb, demo);
      return;
    }

  while (n < BUFFERS_PER_WRITE && position < demo->total)
    {
      gsize offset = (gsize) (position % size);

      buffers[n] = g_bytes_new_from_bytes (demo->file, offset, MIN (BUFFER_SIZE, size - offset));
      position += g_bytes_get_size (buffers[n]);
      n++;
    }
  zcio_socket_stream_writev_zerocopy_async (demo->stream, buffers, n, G_PRIORITY_DEFAULT, demo->runner.cancellable,
                                            written_cb, demo);
  while (n > 0)
    g_bytes_unref (buffers[--n]);
}

static void
sample_cb (ToolSample *sample,
           gpointer    user_data)
{
  Demo *demo = user_data;
  g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (demo->stream);

  sample->bytes = statistics->bytes_written;
  sample->has_zero_copy = TRUE;
  sample->bytes_zero_copied = statistics->bytes_zero_copied;
  sample->bytes_in_flight = statistics->bytes_in_flight;
}

static double
get_thread_cpu_seconds (void)
{
  struct rusage usage;

  getrusage (RUSAGE_THREAD, &usage);
  return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
         + (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / G_USEC_PER_SEC;
}

static void
run (Demo *demo)
{
  g_autoptr (ToolProgress) progress = NULL;
  double cpu = get_thread_cpu_seconds ();

  if (!demo->options.quiet)
    progress = tool_progress_new ("sent", demo->total, sample_cb, demo);
  demo->hasher = g_thread_new ("zcio-hash", hash_thread, demo);
  demo->started = g_get_monotonic_time ();
  write_next (demo);
  g_main_loop_run (demo->runner.loop);
  demo->cpu_seconds = get_thread_cpu_seconds () - cpu;

  if (demo->error != NULL)
    {
      demo->seconds = (double) (g_get_monotonic_time () - demo->started) / G_USEC_PER_SEC;
      g_cancellable_cancel (demo->runner.cancellable);
      zcio_socket_stream_abort (demo->stream, NULL);
    }
  g_thread_join (g_steal_pointer (&demo->hasher));
}

static gboolean
is_same (Demo *demo)
{
  return demo->error == NULL && demo->expected != NULL && g_strcmp0 (demo->expected, demo->received) == 0;
}

static void
print_table (Demo                 *demo,
             const ZcioStatistics *statistics)
{
  g_autoptr (ToolTable) table = tool_table_new ();
  g_autofree char *size = tool_format_size (demo->sent);
  g_autofree char *rate = tool_format_size ((guint64) ((double) demo->sent / MAX (demo->seconds, 1e-6)));
  g_autofree char *name = g_filename_display_name (demo->path);

  tool_table_add (table, "file", "%s (%" G_GSIZE_FORMAT " bytes, again and again)", name, g_bytes_get_size (demo->file));
  tool_table_add (table, "bytes", "%" G_GUINT64_FORMAT " (%s in %.2f s, %s/s)", demo->sent, size, demo->seconds, rate);
  tool_table_add_statistics (table, statistics);
  tool_table_add (table, "CPU", "%.2f s of the thread that sent", demo->cpu_seconds);
  if (demo->error == NULL)
    {
      tool_table_add (table, "SHA-256 sent", "%s", demo->expected);
      tool_table_add (table, "SHA-256 received", "%s, %s", demo->received != NULL ? demo->received : "none",
                      is_same (demo) ? "the same" : "NOT the same");
    }
  tool_table_print (table, FALSE);

  g_print ("\nOver loopback the kernel always copies in the end, whatever was asked for; to see zero-copy on a real wire, run "
           "“zcio receive -o /dev/null 5000” on another host and “zcio send --zero-copy=always HOST:5000 FILE” here.\n");
}

static gboolean
print_json (Demo                 *demo,
            const ZcioStatistics *statistics,
            GError              **error)
{
  g_autoptr (JsonBuilder) builder = tool_json_begin ("demo");
  g_autofree char *name = g_filename_display_name (demo->path);

  tool_json_add_string (builder, "file", name);
  tool_json_add_boolean (builder, "complete", is_same (demo));
  tool_json_add_boolean (builder, "interrupted", demo->error != NULL && demo->runner.signal_number != 0);
  tool_json_add_int (builder, "bytes", demo->sent);
  tool_json_add_double (builder, "seconds", demo->seconds);
  tool_json_add_double (builder, "cpu_seconds", demo->cpu_seconds);
  tool_json_add_string (builder, "sha256_sent", demo->expected);
  tool_json_add_string (builder, "sha256_received", demo->received);
  tool_json_add_statistics (builder, statistics);
  if (demo->error != NULL)
    tool_json_add_error (builder, demo->error);

  return tool_json_end (builder, error);
}

static int
report (Demo    *demo,
        GError **error)
{
  g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (demo->stream);

  if (demo->options.json)
    {
      if (!print_json (demo, statistics, error))
        return TOOL_EXIT_OUTPUT;
    }
  else if (!demo->options.quiet)
    {
      print_table (demo, statistics);
    }

  if (demo->error != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&demo->error));
      tool_error_wrap (error, TOOL_EXIT_CONNECTION, "The connection to the receiver was lost");
      return demo->runner.signal_number != 0 ? TOOL_EXIT_SIGNAL + demo->runner.signal_number : TOOL_EXIT_FAILED;
    }
  if (!is_same (demo))
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_MISMATCH, "The receiver did not get what was sent: the checksums differ");
      return TOOL_EXIT_MISMATCH;
    }

  return TOOL_EXIT_OK;
}

static void
demo_clear (Demo *demo)
{
  tool_options_clear (&demo->options);
  if (demo->receiver != NULL && demo->received == NULL)
    g_subprocess_force_exit (demo->receiver);
  g_clear_object (&demo->receiver_output);
  g_clear_object (&demo->receiver);
  g_clear_object (&demo->stream);
  g_clear_object (&demo->connection);
  g_clear_pointer (&demo->file, g_bytes_unref);
  g_free (demo->size_text);
  g_free (demo->path);
  g_free (demo->expected);
  g_free (demo->received);
  g_clear_error (&demo->error);
  if (demo->runner.loop != NULL)
    tool_runner_clear (&demo->runner);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Demo, demo_clear)

int
tool_demo (int      argc,
           char   **argv,
           GError **error)
{
  g_auto (Demo) demo = { 0 };
  const GOptionEntry entries[] = {
    { "size", 's', 0, G_OPTION_ARG_STRING, &demo.size_text, "Send at least so many bytes (1G)", "SIZE" },
    G_OPTION_ENTRY_NULL
  };
  guint16 port;

  demo.size = DEFAULT_SIZE;
  if (!tool_options_parse (&demo.options, TOOL_OPTIONS_OUTPUT, "[FILE]",
                           "Sends FILE, or the largest one under " DEFAULT_DIRECTORY ", to another process over\n"
                           "loopback, again and again, and shows what happened.",
                           entries, argc, argv, error))
    return TOOL_EXIT_USAGE;
  if (g_strv_length (demo.options.arguments) > 1)
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_USAGE, "At most one FILE can be named");
      return TOOL_EXIT_USAGE;
    }

  if (demo.size_text != NULL && !tool_parse_size (demo.size_text, 1, G_MAXINT64 / 2, &demo.size, error))
    {
      g_prefix_error (error, "--size: ");
      return TOOL_EXIT_USAGE;
    }

  demo.path = demo.options.arguments[0] != NULL ? g_strdup (demo.options.arguments[0]) : find_largest_file ();
  if (!map_file (&demo, error))
    return TOOL_EXIT_INPUT;

  tool_runner_init (&demo.runner);
  if (!start_receiver (&demo, &port, error) || !open_stream (&demo, port, error))
    return TOOL_EXIT_CONNECT;
  run (&demo);

  return report (&demo, error);
}
