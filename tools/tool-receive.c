/* tool-receive.c - zcio receive: what connections bring, into files or elsewhere
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

/* Connections that are served at once; more wait in the kernel's queue. */
#define MAX_TRANSFERS 64

typedef struct _Server Server;

/* One connection; it belongs to its thread until that has ended. */
typedef struct
{
  Server *server;
  GSocketConnection *connection;
  char *peer;
  char *name;
  GChecksum *checksum;
  GError *error;
  gint64 started;
  gint64 ended;
  guint64 bytes;
} Transfer;

struct _Server
{
  ToolOptions options;
  gboolean once;
  char *output;
  gboolean shared_output;
  ToolRunner runner;
  GSocketListener *listener;
  ToolProgress *progress;

  /* The main loop's. */
  gboolean accepting;
  guint n_accepted;
  guint n_active;
  guint max_active;
  gboolean interrupted;
  GError *error;
  int code;

  GMutex lock;
  guint64 bytes;
};

static void
transfer_free (Transfer *transfer)
{
  g_clear_object (&transfer->connection);
  g_clear_pointer (&transfer->checksum, g_checksum_free);
  g_clear_error (&transfer->error);
  g_free (transfer->peer);
  g_free (transfer->name);
  g_free (transfer);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Transfer, transfer_free)

static void accept_next (Server *server);

static void
sample_cb (ToolSample *sample,
           gpointer    user_data)
{
  Server *server = user_data;

  g_mutex_lock (&server->lock);
  sample->bytes = server->bytes;
  g_mutex_unlock (&server->lock);
}

static gboolean
receive_all (Transfer   *transfer,
             ToolOutput *output,
             GError    **error)
{
  Server *server = transfer->server;
  GInputStream *input = g_io_stream_get_input_stream (G_IO_STREAM (transfer->connection));
  GCancellable *cancellable = server->runner.cancellable;
  gsize size = (gsize) server->options.buffer_size;
  g_autofree guint8 *buffer = g_malloc (size);

  while (TRUE)
    {
      gssize n = g_input_stream_read (input, buffer, size, cancellable, error);

      if (n < 0)
        {
          tool_error_wrap (error, TOOL_EXIT_CONNECTION, "The connection from %s was lost after %" G_GUINT64_FORMAT " bytes",
                           transfer->peer, transfer->bytes);
          return FALSE;
        }
      if (n == 0)
        return TRUE;

      if (transfer->checksum != NULL)
        g_checksum_update (transfer->checksum, buffer, n);
      if (!tool_output_write (output, buffer, (gsize) n, cancellable, error))
        return FALSE;

      transfer->bytes += (guint64) n;
      g_mutex_lock (&server->lock);
      server->bytes += (guint64) n;
      g_mutex_unlock (&server->lock);
    }
}

static gboolean
receive_transfer (Transfer *transfer,
                  GError  **error)
{
  g_autoptr (ToolOutput) output = tool_output_open (transfer->name, transfer->server->runner.cancellable, error);

  return output != NULL
         && receive_all (transfer, output, error)
         && tool_output_finish (output, error);
}

static void
print_table (Transfer *transfer)
{
  g_autoptr (ToolTable) table = tool_table_new ();
  g_autofree char *size = tool_format_size (transfer->bytes);
  double seconds = (double) (transfer->ended - transfer->started) / G_USEC_PER_SEC;
  g_autofree char *rate = tool_format_size ((guint64) ((double) transfer->bytes / MAX (seconds, 1e-6)));
  g_autofree char *name = g_filename_display_name (transfer->name);

  tool_table_add (table, transfer->error != NULL ? "received, not all" : "received",
                  "%s (%" G_GUINT64_FORMAT " bytes) from %s in %.2f s, %s/s",
                  size, transfer->bytes, transfer->peer, seconds, rate);
  if (transfer->error == NULL)
    tool_table_add (table, "into", "%s", strcmp (name, "-") == 0 ? "standard output" : name);
  if (transfer->checksum != NULL && transfer->error == NULL)
    tool_table_add (table, "SHA-256", "%s", g_checksum_get_string (transfer->checksum));
  tool_table_print (table, TRUE);
}

static gboolean
print_json (Transfer *transfer,
            gboolean  interrupted,
            GError  **error)
{
  g_autoptr (JsonBuilder) builder = tool_json_begin ("receive");

  tool_json_add_string (builder, "event", "transfer");
  tool_json_add_string (builder, "peer", transfer->peer);
  tool_json_add_string (builder, "output", transfer->name);
  tool_json_add_boolean (builder, "complete", transfer->error == NULL);
  tool_json_add_boolean (builder, "interrupted", interrupted);
  tool_json_add_int (builder, "bytes", transfer->bytes);
  tool_json_add_double (builder, "seconds", (double) (transfer->ended - transfer->started) / G_USEC_PER_SEC);
  if (transfer->checksum != NULL && transfer->error == NULL)
    tool_json_add_string (builder, "sha256", g_checksum_get_string (transfer->checksum));
  if (transfer->error != NULL)
    tool_json_add_error (builder, transfer->error);

  return tool_json_end (builder, error);
}

static void
quit_if_idle (Server *server)
{
  if (server->n_active == 0 && !server->accepting)
    g_main_loop_quit (server->runner.loop);
}

/* Of a failure, the server keeps the exit code; with --once it is the program's. */
static void
report (Server   *server,
        Transfer *transfer)
{
  gboolean interrupted = transfer->error != NULL && server->runner.signal_number != 0;
  g_autoptr (GError) error = NULL;

  if (server->progress != NULL)
    tool_progress_hide (server->progress);

  if (server->options.json && !print_json (transfer, interrupted, &error))
    tool_print_error (error);
  else if (!server->options.json && !server->options.quiet)
    print_table (transfer);

  if (interrupted)
    {
      server->interrupted = TRUE;
    }
  else if (transfer->error != NULL)
    {
      server->code = (int) tool_error_get_exit (transfer->error);
      tool_print_error (transfer->error);
    }
}

static gboolean
transfer_done_cb (gpointer user_data)
{
  g_autoptr (Transfer) transfer = user_data;
  Server *server = transfer->server;

  report (server, transfer);
  server->n_active--;
  accept_next (server);
  quit_if_idle (server);

  return G_SOURCE_REMOVE;
}

static gpointer
transfer_thread (gpointer user_data)
{
  Transfer *transfer = user_data;

  if (receive_transfer (transfer, &transfer->error))
    tool_socket_set_reset (g_socket_connection_get_socket (transfer->connection), FALSE);
  transfer->ended = g_get_monotonic_time ();

  /* Now, not when the report is out: the other end waits for it. */
  g_io_stream_close (G_IO_STREAM (transfer->connection), NULL, NULL);
  g_idle_add_full (G_PRIORITY_DEFAULT, transfer_done_cb, transfer, NULL);

  return NULL;
}

/* The first has the name that was given, those after it a number as well, so that
 * none replaces what another brought.
 */
static char *
get_output_name (Server *server)
{
  if (server->shared_output || server->n_accepted == 1)
    return g_strdup (server->output);

  return g_strdup_printf ("%s.%u", server->output, server->n_accepted);
}

static void
begin_transfer (Server            *server,
                GSocketConnection *connection)
{
  g_autoptr (GSocketAddress) address = g_socket_connection_get_remote_address (connection, NULL);
  Transfer *transfer = g_new0 (Transfer, 1);

  server->n_accepted++;
  server->n_active++;
  transfer->server = server;
  transfer->connection = g_object_ref (connection);
  transfer->peer = tool_format_address (address);
  transfer->name = get_output_name (server);
  transfer->started = g_get_monotonic_time ();
  if (server->options.checksum)
    transfer->checksum = g_checksum_new (G_CHECKSUM_SHA256);

  g_socket_set_timeout (g_socket_connection_get_socket (connection), (guint) server->options.timeout);
  tool_socket_set_reset (g_socket_connection_get_socket (connection), TRUE);
  g_thread_unref (g_thread_new ("zcio-receive", transfer_thread, transfer));
}

static void
accept_cb (GObject      *source,
           GAsyncResult *result,
           gpointer      user_data)
{
  Server *server = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocketConnection) connection = NULL;

  connection = g_socket_listener_accept_finish (G_SOCKET_LISTENER (source), result, NULL, &error);
  server->accepting = FALSE;

  if (connection != NULL)
    {
      begin_transfer (server, connection);
      accept_next (server);
    }
  else if (!g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    {
      g_propagate_error (&server->error, g_steal_pointer (&error));
      tool_error_wrap (&server->error, TOOL_EXIT_CONNECT, "Cannot accept a connection");
    }
  quit_if_idle (server);
}

static void
accept_next (Server *server)
{
  if (server->accepting || server->error != NULL || server->n_active >= server->max_active
      || (server->once && server->n_accepted > 0)
      || g_cancellable_is_cancelled (server->runner.cancellable))
    {
      if (server->once && server->n_accepted > 0)
        g_socket_listener_close (server->listener);
      return;
    }

  server->accepting = TRUE;
  g_socket_listener_accept_async (server->listener, server->runner.cancellable, accept_cb, server);
}

static gboolean
add_address (Server         *server,
             GSocketAddress *address,
             GSocketAddress **effective,
             GError        **error)
{
  g_autoptr (GError) local_error = NULL;
  g_autofree char *name = tool_format_address (address);

  if (g_socket_listener_add_address (server->listener, address, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP,
                                     NULL, effective, &local_error))
    return TRUE;

  g_propagate_error (error, g_steal_pointer (&local_error));
  tool_error_wrap (error, TOOL_EXIT_CONNECT, "Cannot listen on %s", name);
  return FALSE;
}

/* All addresses of a host name, of which some may not work: “localhost” has one
 * of IPv6 even where there is none.
 */
static GSocketAddress *
listen_on_host (Server     *server,
                const char *host,
                guint16     port,
                GError    **error)
{
  g_autolist (GInetAddress) addresses = NULL;
  g_autoptr (GSocketAddress) effective = NULL;
  g_autoptr (GError) local_error = NULL;

  addresses = g_resolver_lookup_by_name (g_resolver_get_default (), host, server->runner.cancellable, error);
  if (addresses == NULL)
    {
      tool_error_wrap (error, TOOL_EXIT_NAME, "Cannot listen on %s", host);
      return NULL;
    }

  for (GList *l = addresses; l != NULL; l = l->next)
    {
      guint16 chosen = effective != NULL ? g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (effective)) : port;
      g_autoptr (GSocketAddress) address = g_inet_socket_address_new (l->data, chosen);

      g_clear_error (&local_error);
      add_address (server, address, effective == NULL ? &effective : NULL, &local_error);
    }

  if (effective == NULL)
    g_propagate_error (error, g_steal_pointer (&local_error));
  return g_steal_pointer (&effective);
}

static GSocketAddress *
listen_everywhere (Server  *server,
                   guint16  port,
                   GError **error)
{
  static const GSocketFamily families[] = { G_SOCKET_FAMILY_IPV6, G_SOCKET_FAMILY_IPV4 };
  GSocketAddress *effective = NULL;

  /* An IPv6 socket takes IPv4 too; the second is for a host without IPv6. */
  for (gsize i = 0; i < G_N_ELEMENTS (families) && effective == NULL; i++)
    {
      g_autoptr (GInetAddress) any = g_inet_address_new_any (families[i]);
      g_autoptr (GSocketAddress) address = g_inet_socket_address_new (any, port);

      g_clear_error (error);
      add_address (server, address, &effective, error);
    }

  return effective;
}

static gboolean
start_listening (Server  *server,
                 GError **error)
{
  g_autoptr (GSocketAddress) effective = NULL;
  g_autofree char *host = NULL;
  g_autofree char *name = NULL;
  guint16 port;

  if (!tool_parse_listen (server->options.arguments[0], &host, &port, error))
    return FALSE;

  server->listener = g_socket_listener_new ();
  g_socket_listener_set_backlog (server->listener, MAX_TRANSFERS);
  effective = host != NULL ? listen_on_host (server, host, port, error)
                           : listen_everywhere (server, port, error);
  if (effective == NULL)
    return FALSE;

  name = tool_format_address (effective);
  if (server->options.json)
    {
      g_autoptr (JsonBuilder) builder = tool_json_begin ("receive");

      tool_json_add_string (builder, "event", "listening");
      tool_json_add_string (builder, "address", name);
      tool_json_add_int (builder, "port", g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (effective)));
      return tool_json_end (builder, error);
    }
  if (!server->options.quiet)
    g_printerr ("zcio: Listening on %s\n", name);

  return TRUE;
}

static gboolean
parse_arguments (Server  *server,
                 int      argc,
                 char   **argv,
                 GError **error)
{
  const GOptionEntry entries[] = {
    { "output", 'o', 0, G_OPTION_ARG_FILENAME, &server->output, "Where the bytes go; “-” is standard output, as without it", "FILE" },
    { "once", '1', 0, G_OPTION_ARG_NONE, &server->once, "End after one connection", NULL },
    G_OPTION_ENTRY_NULL
  };

  if (!tool_options_parse (&server->options, TOOL_OPTIONS_OUTPUT | TOOL_OPTIONS_TRANSFER,
                           "[ADDRESS:]PORT", "Receives what connections bring. Port 0 is one that the system chooses.",
                           entries, argc, argv, error))
    return FALSE;

  if (g_strv_length (server->options.arguments) != 1)
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_USAGE, "One [ADDRESS:]PORT is needed");
      return FALSE;
    }
  if (server->output == NULL)
    server->output = g_strdup ("-");
  if (server->options.json && strcmp (server->output, "-") == 0)
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_USAGE,
                           "--json needs --output=FILE: standard output cannot take both");
      return FALSE;
    }

  return TRUE;
}

/* To standard output or a FIFO, connections go one after the other; a device is one
 * output for all; each file is its own.
 */
static gboolean
check_output (Server  *server,
              GError **error)
{
  gboolean standard = strcmp (server->output, "-") == 0;
  GStatBuf status;
  gboolean fifo = !standard && g_stat (server->output, &status) == 0 && S_ISFIFO (status.st_mode);

  if (!standard && g_file_test (server->output, G_FILE_TEST_IS_DIR))
    {
      g_autofree char *name = g_filename_display_name (server->output);

      g_set_error (error, TOOL_ERROR, TOOL_EXIT_OUTPUT, "Cannot write “%s”: Is a directory", name);
      return FALSE;
    }
  server->shared_output = standard
                          || (g_file_test (server->output, G_FILE_TEST_EXISTS)
                              && !g_file_test (server->output, G_FILE_TEST_IS_REGULAR));
  server->max_active = standard || fifo || server->once ? 1 : MAX_TRANSFERS;

  return TRUE;
}

static void
server_clear (Server *server)
{
  tool_options_clear (&server->options);
  g_free (server->output);
  g_clear_object (&server->listener);
  g_clear_error (&server->error);
  tool_runner_clear (&server->runner);
  g_mutex_clear (&server->lock);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Server, server_clear)

int
tool_receive (int      argc,
              char   **argv,
              GError **error)
{
  g_auto (Server) server = { 0 };

  g_mutex_init (&server.lock);
  tool_runner_init (&server.runner);
  if (!parse_arguments (&server, argc, argv, error) || !check_output (&server, error)
      || !start_listening (&server, error))
    return TOOL_EXIT_USAGE;

  /* Not between the bytes on a terminal. */
  if (!server.options.quiet && !(strcmp (server.output, "-") == 0 && isatty (STDOUT_FILENO)))
    server.progress = tool_progress_new ("received", 0, sample_cb, &server);
  accept_next (&server);
  g_main_loop_run (server.runner.loop);
  g_clear_pointer (&server.progress, tool_progress_free);

  if (server.error != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&server.error));
      server.code = TOOL_EXIT_FAILED;
    }
  /* Without --once a signal is how it always ends. */
  else if (server.interrupted || (server.once && server.n_accepted == 0))
    server.code = TOOL_EXIT_SIGNAL + server.runner.signal_number;

  return server.code;
}
