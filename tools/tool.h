/* tool.h - what the parts of the zcio program share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <zcio/zcio.h>

G_BEGIN_DECLS

/* Exit codes, by kind; the manual page lists them. An end by a signal gives 128
 * plus its number.
 */
typedef enum
{
  TOOL_EXIT_OK = 0,
  TOOL_EXIT_FAILED = 1,
  TOOL_EXIT_USAGE = 2,
  TOOL_EXIT_NAME = 3,
  TOOL_EXIT_CONNECT = 4,
  TOOL_EXIT_CONNECTION = 5,
  TOOL_EXIT_INPUT = 6,
  TOOL_EXIT_OUTPUT = 7,
  TOOL_EXIT_MISMATCH = 8,
  TOOL_EXIT_UNSUITED = 9,
  TOOL_EXIT_SIGNAL = 128
} ToolExit;

/* Errors of this domain have a ToolExit as their code. */
#define TOOL_ERROR (tool_error_quark ())

GQuark      tool_error_quark         (void);
void        tool_error_wrap          (GError         **error,
                                      ToolExit         kind,
                                      const char      *format,
                                      ...) G_GNUC_PRINTF (3, 4);
ToolExit    tool_error_get_exit      (const GError    *error);
const char *tool_exit_get_name       (ToolExit         kind);
void        tool_print_error         (const GError    *error);

/*
 * ToolOptions:
 *
 * Options that several commands have.
 */
typedef struct
{
  gboolean quiet;
  gboolean json;
  gboolean checksum;
  int timeout;
  guint64 buffer_size;
  guint64 max_in_flight;
  guint64 rate;
  ZcioZeroCopyMode mode;

  char *buffer_size_text;
  char *max_in_flight_text;
  char *rate_text;
  char *mode_text;
  char **arguments;
} ToolOptions;

typedef enum
{
  TOOL_OPTIONS_OUTPUT = 1 << 0,    /* --quiet, --json */
  TOOL_OPTIONS_TRANSFER = 1 << 1,  /* --checksum, --timeout, --buffer-size */
  TOOL_OPTIONS_SENDING = 1 << 2    /* --zero-copy, --max-in-flight, --rate */
} ToolOptionsFlags;

void        tool_options_clear       (ToolOptions         *options);
gboolean    tool_options_parse       (ToolOptions         *options,
                                      ToolOptionsFlags     flags,
                                      const char          *parameters,
                                      const char          *summary,
                                      const GOptionEntry  *entries,
                                      int                  argc,
                                      char               **argv,
                                      GError             **error);
gboolean    tool_parse_size          (const char          *text,
                                      guint64              minimum,
                                      guint64              maximum,
                                      guint64             *size,
                                      GError             **error);
GSocketConnectable *
            tool_parse_peer          (const char          *text,
                                      GError             **error);
gboolean    tool_parse_listen        (const char          *text,
                                      char               **host,
                                      guint16             *port,
                                      GError             **error);
const char *tool_mode_get_name       (ZcioZeroCopyMode     mode);
char       *tool_format_size         (guint64              size);
char       *tool_format_address      (GSocketAddress      *address);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ToolOptions, tool_options_clear)

/*
 * ToolRunner:
 * @signal_number: the signal that has cancelled @cancellable, or 0
 *
 * The main loop of a command, which ends cleanly at SIGINT, SIGTERM and SIGHUP.
 * A second signal of the same kind ends the program at once.
 */
typedef struct
{
  GMainLoop *loop;
  GCancellable *cancellable;
  int signal_number;
  guint sources[3];
} ToolRunner;

void        tool_runner_init         (ToolRunner          *runner);
void        tool_runner_clear        (ToolRunner          *runner);
/* Runs @func in a thread, and the main loop until it has returned. */
void        tool_runner_run_thread   (ToolRunner          *runner,
                                      GThreadFunc          func,
                                      gpointer             data);
/* Waits in a worker thread; FALSE if cancelled. */
gboolean    tool_wait                (gint64               microseconds,
                                      GCancellable        *cancellable);
double      tool_get_cpu_seconds     (void);

/*
 * ToolSample:
 * @has_zero_copy: whether the two fields after it mean anything
 */
typedef struct
{
  guint64 bytes;
  gboolean has_zero_copy;
  guint64 bytes_zero_copied;
  guint64 bytes_in_flight;
} ToolSample;

typedef void (*ToolSampleFunc) (ToolSample *sample,
                                gpointer    user_data);

typedef struct _ToolProgress ToolProgress;

/* @total is 0 if it is not known. */
ToolProgress *tool_progress_new      (const char          *verb,
                                      guint64              total,
                                      ToolSampleFunc       func,
                                      gpointer             user_data);
void        tool_progress_set_total  (ToolProgress        *progress,
                                      guint64              total);
/* Takes the line off the terminal, so that something else can be printed. */
void        tool_progress_hide       (ToolProgress        *progress);
void        tool_progress_free       (ToolProgress        *progress);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ToolProgress, tool_progress_free)

/* A table of two columns. */
typedef struct _ToolTable ToolTable;

ToolTable  *tool_table_new           (void);
void        tool_table_add           (ToolTable           *table,
                                      const char          *name,
                                      const char          *format,
                                      ...) G_GNUC_PRINTF (3, 4);
void        tool_table_add_statistics (ToolTable            *table,
                                       const ZcioStatistics *statistics);
void        tool_table_print         (ToolTable           *table,
                                      gboolean             to_stderr);
void        tool_table_free          (ToolTable           *table);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ToolTable, tool_table_free)

JsonBuilder *tool_json_begin         (const char           *command);
void        tool_json_add_string     (JsonBuilder          *builder,
                                      const char           *name,
                                      const char           *value);
void        tool_json_add_int        (JsonBuilder          *builder,
                                      const char           *name,
                                      guint64               value);
void        tool_json_add_double     (JsonBuilder          *builder,
                                      const char           *name,
                                      double                value);
void        tool_json_add_boolean    (JsonBuilder          *builder,
                                      const char           *name,
                                      gboolean              value);
void        tool_json_add_statistics (JsonBuilder          *builder,
                                      const ZcioStatistics *statistics);
void        tool_json_add_error      (JsonBuilder          *builder,
                                      const GError         *error);
/* Ends the object, and writes it as one line to standard output. */
gboolean    tool_json_end            (JsonBuilder          *builder,
                                      GError              **error);

/*
 * ToolInput:
 *
 * What one argument of `zcio send` names.
 */
typedef struct _ToolInput ToolInput;

typedef gboolean (*ToolInputFunc) (GBytes    *bytes,
                                   gpointer   user_data,
                                   GError   **error);

ToolInput  *tool_input_open          (const char           *name,
                                      GError              **error);
void        tool_input_free          (ToolInput            *input);
const char *tool_input_get_name      (ToolInput            *input);
gboolean    tool_input_get_size      (ToolInput            *input,
                                      guint64              *size);
GInputStream *
            tool_input_get_stream    (ToolInput            *input);
/* Calls @func with all there is, in pieces of at most @size. Errors of the input
 * have the kind TOOL_EXIT_INPUT, those of @func are passed on.
 */
gboolean    tool_input_read          (ToolInput            *input,
                                      gsize                 size,
                                      ToolInputFunc         func,
                                      gpointer              user_data,
                                      GCancellable         *cancellable,
                                      GError              **error);
/* The same without touching the memory, for a regular file alone. */
gboolean    tool_input_map           (ToolInput            *input,
                                      gsize                 size,
                                      ToolInputFunc         func,
                                      gpointer              user_data,
                                      GCancellable         *cancellable,
                                      GError              **error);
/* Says so if the file is now shorter than it was. */
gboolean    tool_input_check_size    (ToolInput            *input,
                                      GError              **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ToolInput, tool_input_free)

/*
 * ToolOutput:
 *
 * Where `zcio receive` writes: a regular file appears under its name when it is
 * whole, not before.
 */
typedef struct _ToolOutput ToolOutput;

ToolOutput *tool_output_open         (const char           *name,
                                      GCancellable         *cancellable,
                                      GError              **error);
gboolean    tool_output_write        (ToolOutput           *output,
                                      const void           *data,
                                      gsize                 size,
                                      GCancellable         *cancellable,
                                      GError              **error);
gboolean    tool_output_finish       (ToolOutput           *output,
                                      GError              **error);
/* Without tool_output_finish () before, what was written is thrown away. */
void        tool_output_free         (ToolOutput           *output);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ToolOutput, tool_output_free)

/* Connections. */
GSocketConnection *
            tool_connect             (GSocketConnectable   *peer,
                                      guint                 timeout,
                                      GCancellable         *cancellable,
                                      GError              **error);
void        tool_socket_set_reset    (GSocket              *socket,
                                      gboolean              reset);
gboolean    tool_socket_deliver      (ZcioSocketStream     *stream,
                                      int                   timeout,
                                      GCancellable         *cancellable,
                                      GError              **error);

/* Commands: what they return is the exit code, unless @error is set. */
int         tool_bench               (int                   argc,
                                      char                **argv,
                                      GError              **error);
int         tool_demo                (int                   argc,
                                      char                **argv,
                                      GError              **error);
int         tool_doctor              (int                   argc,
                                      char                **argv,
                                      GError              **error);
int         tool_receive             (int                   argc,
                                      char                **argv,
                                      GError              **error);
int         tool_send                (int                   argc,
                                      char                **argv,
                                      GError              **error);

G_END_DECLS
