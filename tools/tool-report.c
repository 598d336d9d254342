/* tool-report.c - tables and JSON of the zcio program
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct
{
  char *name;
  char *value;
} ToolRow;

struct _ToolTable
{
  GArray *rows;
};

static void
clear_row (gpointer data)
{
  ToolRow *row = data;

  g_free (row->name);
  g_free (row->value);
}

ToolTable *
tool_table_new (void)
{
  ToolTable *table = g_new (ToolTable, 1);

  table->rows = g_array_new (FALSE, FALSE, sizeof (ToolRow));
  g_array_set_clear_func (table->rows, clear_row);

  return table;
}

void
tool_table_free (ToolTable *table)
{
  g_array_unref (table->rows);
  g_free (table);
}

void
tool_table_add (ToolTable  *table,
                const char *name,
                const char *format,
                ...)
{
  ToolRow row = { g_strdup (name), NULL };
  va_list args;

  va_start (args, format);
  row.value = g_strdup_vprintf (format, args);
  va_end (args);
  g_array_append_val (table->rows, row);
}

static void
add_share (ToolTable  *table,
           const char *name,
           guint64     bytes,
           guint64     sends,
           guint64     total)
{
  g_autofree char *size = tool_format_size (bytes);

  tool_table_add (table, name, "%s in %" G_GUINT64_FORMAT " sends (%.0f %%)", size, sends,
                  total > 0 ? 100.0 * (double) bytes / (double) total : 0);
}

void
tool_table_add_statistics (ToolTable            *table,
                           const ZcioStatistics *s)
{
  guint64 sends = s->sends_zero_copied + s->sends_copied_by_kernel + s->sends_copied_by_choice + s->sends_copied_for_enobufs;
  g_autofree char *peak = tool_format_size (s->peak_bytes_in_flight);
  g_autofree char *spliced = tool_format_size (s->spliced_bytes);

  tool_table_add (table, "sends", "%" G_GUINT64_FORMAT, sends);
  tool_table_add (table, "notifications", "%" G_GUINT64_FORMAT, s->notifications);
  add_share (table, "zero-copied", s->bytes_zero_copied, s->sends_zero_copied, s->bytes_written);
  add_share (table, "copied by the kernel", s->bytes_copied_by_kernel, s->sends_copied_by_kernel, s->bytes_written);
  add_share (table, "copied by choice", s->bytes_copied_by_choice, s->sends_copied_by_choice, s->bytes_written);
  add_share (table, "copied for ENOBUFS", s->bytes_copied_for_enobufs, s->sends_copied_for_enobufs, s->bytes_written);
  if (s->spliced_bytes > 0)
    tool_table_add (table, "spliced", "%s of these four, without reading them", spliced);
  tool_table_add (table, "ENOBUFS met",
                  "%" G_GUINT64_FORMAT " (cured by draining %" G_GUINT64_FORMAT ", copied while congested %" G_GUINT64_FORMAT
                  ", copied for a limit %" G_GUINT64_FORMAT ")",
                  s->enobufs, s->enobufs_cured_by_drain, s->enobufs_congested, s->enobufs_limited);
  tool_table_add (table, "peak in flight", "%s in %" G_GUINT64_FORMAT " sends", peak, s->peak_sends_in_flight);
}

void
tool_table_print (ToolTable *table,
                  gboolean   to_stderr)
{
  int width = 0;

  for (guint i = 0; i < table->rows->len; i++)
    width = MAX (width, (int) strlen (g_array_index (table->rows, ToolRow, i).name));

  for (guint i = 0; i < table->rows->len; i++)
    {
      ToolRow *row = &g_array_index (table->rows, ToolRow, i);

      if (to_stderr)
        g_printerr ("%-*s  %s\n", width, row->name, row->value);
      else
        g_print ("%-*s  %s\n", width, row->name, row->value);
    }
}

/* Every object that the program prints begins in this way; zcio.schema.json tells the rest. */
JsonBuilder *
tool_json_begin (const char *command)
{
  JsonBuilder *builder = json_builder_new ();

  json_builder_begin_object (builder);
  tool_json_add_string (builder, "command", command);
  tool_json_add_string (builder, "version", PACKAGE_VERSION);

  return builder;
}

void
tool_json_add_string (JsonBuilder *builder,
                      const char  *name,
                      const char  *value)
{
  g_autofree char *valid = value != NULL ? g_utf8_make_valid (value, -1) : NULL;

  json_builder_set_member_name (builder, name);
  if (valid != NULL)
    json_builder_add_string_value (builder, valid);
  else
    json_builder_add_null_value (builder);
}

void
tool_json_add_int (JsonBuilder *builder,
                   const char  *name,
                   guint64      value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_int_value (builder, (gint64) MIN (value, (guint64) G_MAXINT64));
}

void
tool_json_add_double (JsonBuilder *builder,
                      const char  *name,
                      double       value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_double_value (builder, value);
}

void
tool_json_add_boolean (JsonBuilder *builder,
                       const char  *name,
                       gboolean     value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_boolean_value (builder, value);
}

void
tool_json_add_statistics (JsonBuilder          *builder,
                          const ZcioStatistics *s)
{
  json_builder_set_member_name (builder, "statistics");
  json_builder_begin_object (builder);
  tool_json_add_int (builder, "bytes_written", s->bytes_written);
  tool_json_add_int (builder, "bytes_zero_copied", s->bytes_zero_copied);
  tool_json_add_int (builder, "bytes_copied_by_kernel", s->bytes_copied_by_kernel);
  tool_json_add_int (builder, "bytes_copied_by_choice", s->bytes_copied_by_choice);
  tool_json_add_int (builder, "bytes_copied_for_enobufs", s->bytes_copied_for_enobufs);
  tool_json_add_int (builder, "sends_zero_copied", s->sends_zero_copied);
  tool_json_add_int (builder, "sends_copied_by_kernel", s->sends_copied_by_kernel);
  tool_json_add_int (builder, "sends_copied_by_choice", s->sends_copied_by_choice);
  tool_json_add_int (builder, "sends_copied_for_enobufs", s->sends_copied_for_enobufs);
  tool_json_add_int (builder, "notifications", s->notifications);
  tool_json_add_int (builder, "foreign_records", s->foreign_records);
  tool_json_add_int (builder, "error_queue_reads", s->error_queue_reads);
  tool_json_add_int (builder, "enobufs", s->enobufs);
  tool_json_add_int (builder, "enobufs_cured_by_drain", s->enobufs_cured_by_drain);
  tool_json_add_int (builder, "enobufs_congested", s->enobufs_congested);
  tool_json_add_int (builder, "enobufs_limited", s->enobufs_limited);
  tool_json_add_int (builder, "sends_in_flight", s->sends_in_flight);
  tool_json_add_int (builder, "bytes_in_flight", s->bytes_in_flight);
  tool_json_add_int (builder, "peak_sends_in_flight", s->peak_sends_in_flight);
  tool_json_add_int (builder, "peak_bytes_in_flight", s->peak_bytes_in_flight);
  tool_json_add_int (builder, "reaper_dispatches", s->reaper_dispatches);
  tool_json_add_int (builder, "system_calls", s->system_calls);
  tool_json_add_int (builder, "spliced_bytes", s->spliced_bytes);
  json_builder_end_object (builder);
}

void
tool_json_add_error (JsonBuilder  *builder,
                     const GError *error)
{
  ToolExit kind = tool_error_get_exit (error);

  json_builder_set_member_name (builder, "error");
  json_builder_begin_object (builder);
  tool_json_add_string (builder, "kind", tool_exit_get_name (kind));
  tool_json_add_string (builder, "message", error->message);
  tool_json_add_int (builder, "exit_code", kind);
  json_builder_end_object (builder);
}

gboolean
tool_json_end (JsonBuilder *builder,
               GError     **error)
{
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  g_autofree char *text = NULL;

  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, NULL);

  /* JSON is UTF-8 whatever the locale, so not by g_print (). */
  if (fputs (text, stdout) < 0 || fputc ('\n', stdout) < 0 || fflush (stdout) != 0)
    {
      int errsv = errno;

      g_set_error (error, TOOL_ERROR, TOOL_EXIT_OUTPUT,
                   "Cannot write to standard output: %s", g_strerror (errsv));
      return FALSE;
    }

  return TRUE;
}
