/* tool-send.c - zcio send: files and standard input to a host
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <string.h>

typedef struct
{
  ToolOptions options;
  const char *peer_name;
  GSocketConnectable *peer;
  GPtrArray *inputs;
  guint64 total;
  GCancellable *cancellable;

  /* The worker's, until it has ended. */
  GSocketConnection *connection;
  GChecksum *checksum;
  GError *error;
  gint64 started;
  gint64 ended;
  double cpu_seconds;

  /* Shared with the main loop's progress. */
  GMutex lock;
  ZcioSocketStream *stream;
} SendJob;

static void
send_job_clear (SendJob *job)
{
  tool_options_clear (&job->options);
  g_clear_object (&job->peer);
  g_clear_pointer (&job->inputs, g_ptr_array_unref);
  g_clear_pointer (&job->checksum, g_checksum_free);
  g_clear_error (&job->error);
  g_clear_object (&job->stream);
  g_clear_object (&job->connection);
  g_mutex_clear (&job->lock);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SendJob, send_job_clear)

static ZcioStatistics *
get_statistics (SendJob *job)
{
  g_autoptr (ZcioSocketStream) stream = NULL;

  g_mutex_lock (&job->lock);
  if (job->stream != NULL)
    stream = g_object_ref (job->stream);
  g_mutex_unlock (&job->lock);

  return stream != NULL ? zcio_socket_stream_get_statistics (stream) : NULL;
}

static void
sample_cb (ToolSample *sample,
           gpointer    user_data)
{
  g_autoptr (ZcioStatistics) statistics = get_statistics (user_data);

  sample->has_zero_copy = TRUE;
  if (statistics == NULL)
    return;

  sample->bytes = statistics->bytes_written;
  sample->bytes_zero_copied = statistics->bytes_zero_copied;
  sample->bytes_in_flight = statistics->bytes_in_flight;
}

/* Waits as long as it takes to stay below the rate that was asked for. */
static gboolean
keep_rate (SendJob *job,
           gsize    size,
           GError **error)
{
  g_autoptr (ZcioStatistics) statistics = NULL;
  double due;
  gint64 ahead;

  if (job->options.rate == 0)
    return TRUE;

  statistics = get_statistics (job);
  if (statistics == NULL)
    return TRUE;

  due = (double) (statistics->bytes_written + size) / (double) job->options.rate * G_USEC_PER_SEC;
  ahead = (gint64) due - (g_get_monotonic_time () - job->started);
  if (ahead > 0 && !tool_wait (ahead, job->cancellable))
    return !g_cancellable_set_error_if_cancelled (job->cancellable, error);

  return TRUE;
}

static gboolean
send_bytes_cb (GBytes   *bytes,
               gpointer  user_data,
               GError  **error)
{
  SendJob *job = user_data;
  gsize size;
  gconstpointer data = g_bytes_get_data (bytes, &size);

  if (job->checksum != NULL)
    g_checksum_update (job->checksum, data, (gssize) size);

  return keep_rate (job, size, error)
         && zcio_socket_stream_write_zerocopy (job->stream, bytes, NULL, job->cancellable, error);
}

static gboolean
splice_input (SendJob   *job,
              ToolInput *input,
              GError   **error)
{
  return g_output_stream_splice (G_OUTPUT_STREAM (job->stream), tool_input_get_stream (input),
                                 G_OUTPUT_STREAM_SPLICE_NONE, job->cancellable, error) >= 0;
}

/* Where nobody else has to see the bytes, the program does not touch them either. */
static gboolean
send_input (SendJob   *job,
            ToolInput *input,
            GError   **error)
{
  const ToolOptions *options = &job->options;
  gsize size = (gsize) options->buffer_size;
  guint64 known;
  gboolean regular;

  /* A small rate in small pieces, so that the bytes flow evenly. */
  if (options->rate > 0)
    size = (gsize) CLAMP (options->rate / 10, 1, size);

  /* Of what is said to be empty, such as the files of /proc, only a read can tell. */
  regular = tool_input_get_size (input, &known);
  if (job->checksum != NULL || options->mode == ZCIO_ZERO_COPY_MODE_NEVER || (regular && known == 0))
    return tool_input_read (input, size, send_bytes_cb, job, job->cancellable, error);
  if (options->mode == ZCIO_ZERO_COPY_MODE_AUTO && options->rate == 0)
    return splice_input (job, input, error);
  if (regular)
    return tool_input_map (input, size, send_bytes_cb, job, job->cancellable, error);

  return tool_input_read (input, size, send_bytes_cb, job, job->cancellable, error);
}

/* An error of g_output_stream_splice () may come from either end. */
static gboolean
is_connection_error (SendJob      *job,
                     const GError *error)
{
  GSocket *socket = zcio_socket_stream_get_socket (job->stream);

  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED)
         || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)
         || !g_socket_is_connected (socket)
         || !g_socket_check_connect_result (socket, NULL);
}

static void
explain_error (SendJob   *job,
               ToolInput *input,
               GError   **error)
{
  g_autoptr (GError) shorter = NULL;

  if ((*error)->domain == TOOL_ERROR)
    return;

  if (input != NULL && !is_connection_error (job, *error))
    {
      if (!g_error_matches (*error, G_IO_ERROR, G_IO_ERROR_CANCELLED)
          && !tool_input_check_size (input, &shorter))
        {
          g_clear_error (error);
          g_propagate_error (error, g_steal_pointer (&shorter));
          return;
        }
      tool_error_wrap (error, TOOL_EXIT_INPUT, "Cannot send “%s”", tool_input_get_name (input));
      return;
    }

  tool_error_wrap (error, TOOL_EXIT_CONNECTION, "The connection to %s was lost", job->peer_name);
}

static gboolean
send_inputs (SendJob *job,
             GError **error)
{
  for (guint i = 0; i < job->inputs->len; i++)
    {
      ToolInput *input = g_ptr_array_index (job->inputs, i);

      if (!send_input (job, input, error))
        {
          explain_error (job, input, error);
          return FALSE;
        }
      if (!tool_input_check_size (input, error))
        return FALSE;
    }

  if (!tool_socket_deliver (job->stream, job->options.timeout, job->cancellable, error))
    {
      explain_error (job, NULL, error);
      return FALSE;
    }

  return TRUE;
}

static gboolean
open_stream (SendJob *job,
             GError **error)
{
  ZcioSocketStream *stream;

  job->connection = tool_connect (job->peer, (guint) job->options.timeout, job->cancellable, error);
  if (job->connection == NULL)
    return FALSE;

  stream = zcio_socket_stream_new (g_socket_connection_get_socket (job->connection));
  zcio_socket_stream_set_zero_copy_mode (stream, job->options.mode);
  if (job->options.max_in_flight > 0)
    g_object_set (stream, "max-bytes-in-flight", job->options.max_in_flight, NULL);

  g_mutex_lock (&job->lock);
  job->stream = stream;
  g_mutex_unlock (&job->lock);

  return TRUE;
}

static gpointer
send_thread (gpointer user_data)
{
  SendJob *job = user_data;
  double cpu = tool_get_cpu_seconds ();

  job->started = g_get_monotonic_time ();
  if (open_stream (job, &job->error))
    {
      job->started = g_get_monotonic_time ();
      /* A peer that has a part must not take it for the whole. */
      if (!send_inputs (job, &job->error))
        zcio_socket_stream_abort (job->stream, NULL);
    }
  job->ended = g_get_monotonic_time ();
  job->cpu_seconds = tool_get_cpu_seconds () - cpu;

  return NULL;
}

static double
get_seconds (SendJob *job)
{
  return (double) (job->ended - job->started) / G_USEC_PER_SEC;
}

static void
print_table (SendJob              *job,
             const ZcioStatistics *statistics,
             gboolean              interrupted)
{
  g_autoptr (ToolTable) table = tool_table_new ();
  g_autofree char *size = tool_format_size (statistics->bytes_written);
  g_autofree char *state = zcio_socket_stream_describe (job->stream);
  double seconds = get_seconds (job);
  g_autofree char *rate = tool_format_size ((guint64) ((double) statistics->bytes_written / MAX (seconds, 1e-6)));

  tool_table_add (table, interrupted || job->error != NULL ? "sent, not all" : "sent", "%s (%" G_GUINT64_FORMAT " bytes) to %s in %.2f s, %s/s",
                  size, statistics->bytes_written, job->peer_name, seconds, rate);
  tool_table_add_statistics (table, statistics);
  tool_table_add (table, "CPU", "%.2f s", job->cpu_seconds);
  tool_table_add (table, "zero-copy", "%s", state);
  if (job->checksum != NULL && job->error == NULL)
    tool_table_add (table, "SHA-256", "%s", g_checksum_get_string (job->checksum));
  tool_table_print (table, TRUE);
}

static gboolean
print_json (SendJob              *job,
            const ZcioStatistics *statistics,
            gboolean              interrupted,
            GError              **error)
{
  g_autoptr (JsonBuilder) builder = tool_json_begin ("send");

  tool_json_add_string (builder, "peer", job->peer_name);
  tool_json_add_string (builder, "zero_copy_mode", tool_mode_get_name (job->options.mode));
  tool_json_add_boolean (builder, "complete", job->error == NULL);
  tool_json_add_boolean (builder, "interrupted", interrupted);
  tool_json_add_int (builder, "bytes", statistics != NULL ? statistics->bytes_written : 0);
  tool_json_add_double (builder, "seconds", get_seconds (job));
  tool_json_add_double (builder, "cpu_seconds", job->cpu_seconds);
  if (job->checksum != NULL && job->error == NULL)
    tool_json_add_string (builder, "sha256", g_checksum_get_string (job->checksum));
  if (statistics != NULL)
    {
      g_autofree char *state = zcio_socket_stream_describe (job->stream);

      tool_json_add_string (builder, "zero_copy", state);
      tool_json_add_statistics (builder, statistics);
    }
  if (job->error != NULL)
    tool_json_add_error (builder, job->error);

  return tool_json_end (builder, error);
}

static int
report (SendJob    *job,
        ToolRunner *runner,
        GError    **error)
{
  g_autoptr (ZcioStatistics) statistics = get_statistics (job);
  gboolean interrupted = job->error != NULL && runner->signal_number != 0;

  if (job->options.json)
    {
      if (!print_json (job, statistics, interrupted, error))
        return TOOL_EXIT_OUTPUT;
    }
  else if (!job->options.quiet)
    {
      if (statistics != NULL && (job->error == NULL || statistics->bytes_written > 0 || interrupted))
        print_table (job, statistics, interrupted);
      else if (interrupted)
        g_printerr ("zcio: Nothing was sent to %s\n", job->peer_name);
    }

  if (job->error == NULL)
    return TOOL_EXIT_OK;
  g_propagate_error (error, g_steal_pointer (&job->error));
  return interrupted ? TOOL_EXIT_SIGNAL + runner->signal_number : TOOL_EXIT_FAILED;
}

static gboolean
open_inputs (SendJob *job,
             char   **names,
             GError **error)
{
  gboolean known = TRUE;

  job->inputs = g_ptr_array_new_with_free_func ((GDestroyNotify) tool_input_free);
  for (gsize i = 0; names[i] != NULL; i++)
    {
      ToolInput *input = tool_input_open (names[i], error);
      guint64 size;

      if (input == NULL)
        return FALSE;

      g_ptr_array_add (job->inputs, input);
      known = tool_input_get_size (input, &size) && known;
      job->total += size;
    }
  if (!known)
    job->total = 0;

  return TRUE;
}

int
tool_send (int     argc,
           char  **argv,
           GError **error)
{
  g_auto (SendJob) job = { 0 };
  g_autoptr (ToolProgress) progress = NULL;
  ToolRunner runner;
  int code;

  g_mutex_init (&job.lock);
  if (!tool_options_parse (&job.options,
                           TOOL_OPTIONS_OUTPUT | TOOL_OPTIONS_TRANSFER | TOOL_OPTIONS_SENDING,
                           "HOST:PORT FILE…",
                           "Sends the files, one after the other, over one connection. “-” is standard input.",
                           NULL, argc, argv, error))
    return TOOL_EXIT_USAGE;

  if (g_strv_length (job.options.arguments) < 2)
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_USAGE,
                           "HOST:PORT and at least one FILE are needed; “-” is standard input");
      return TOOL_EXIT_USAGE;
    }
  job.peer_name = job.options.arguments[0];
  job.peer = tool_parse_peer (job.peer_name, error);
  if (job.peer == NULL || !open_inputs (&job, job.options.arguments + 1, error))
    return TOOL_EXIT_FAILED;
  if (job.options.checksum)
    job.checksum = g_checksum_new (G_CHECKSUM_SHA256);

  tool_runner_init (&runner);
  job.cancellable = runner.cancellable;
  if (!job.options.quiet)
    progress = tool_progress_new ("sent", job.total, sample_cb, &job);
  tool_runner_run_thread (&runner, send_thread, &job);
  g_clear_pointer (&progress, tool_progress_free);

  code = report (&job, &runner, error);
  tool_runner_clear (&runner);

  return code;
}
