/* tool-progress.c - a progress bar on a terminal, a line now and then elsewhere
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define INTERVAL_MS 100
#define MAX_LINE_PAUSE (60 * G_USEC_PER_SEC)
#define DEFAULT_COLUMNS 80
#define BAR_MIN 10
#define BAR_MAX 40
#define PIECES_MAX 6

/* The weight of the newest sample in the rate shown. */
#define RATE_WEIGHT 0.2

struct _ToolProgress
{
  char *verb;
  guint64 total;
  ToolSampleFunc func;
  gpointer user_data;

  gboolean terminal;
  gboolean shown;
  guint timer;
  guint resize;

  gint64 started;
  gint64 next_line;
  gint64 line_pause;
  guint64 line_bytes;

  gint64 last_time;
  guint64 last_bytes;
  double rate;
};

static gboolean
is_terminal (void)
{
  const char *term = g_getenv ("TERM");

  return isatty (STDERR_FILENO) && term != NULL && strcmp (term, "dumb") != 0;
}

static guint
get_columns (void)
{
  struct winsize size;

  if (ioctl (STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  return DEFAULT_COLUMNS;
}

static void
update_rate (ToolProgress     *progress,
             const ToolSample *sample,
             gint64            now)
{
  gint64 elapsed = now - progress->last_time;
  double rate;

  if (elapsed < INTERVAL_MS * 500)
    return;

  rate = (double) (sample->bytes - progress->last_bytes) * G_USEC_PER_SEC / (double) elapsed;
  progress->rate = progress->last_bytes == 0 ? rate : progress->rate + RATE_WEIGHT * (rate - progress->rate);
  progress->last_time = now;
  progress->last_bytes = sample->bytes;
}

static double
get_share (const ToolSample *sample)
{
  return sample->bytes > 0 ? 100.0 * (double) sample->bytes_zero_copied / (double) sample->bytes : 0;
}

static char *
format_time_left (ToolProgress     *progress,
                  const ToolSample *sample)
{
  double seconds;

  if (progress->rate < 1 || sample->bytes > progress->total)
    return g_strdup ("--:-- left");

  seconds = (double) (progress->total - sample->bytes) / progress->rate + 0.5;
  if (seconds >= 360000)
    return g_strdup ("--:-- left");
  if (seconds >= 3600)
    return g_strdup_printf ("%u:%02u:%02u left", (guint) seconds / 3600, (guint) seconds / 60 % 60, (guint) seconds % 60);
  return g_strdup_printf ("%u:%02u left", (guint) seconds / 60, (guint) seconds % 60);
}

/* What there is to say, the most important first. */
static guint
format_pieces (ToolProgress     *progress,
               const ToolSample *sample,
               char            **pieces)
{
  g_autofree char *bytes = tool_format_size (sample->bytes);
  g_autofree char *rate = tool_format_size ((guint64) progress->rate);
  g_autofree char *in_flight = tool_format_size (sample->bytes_in_flight);
  guint n = 0;

  if (progress->total > 0)
    pieces[n++] = g_strdup_printf ("%3u%%", (guint) MIN (100, 100.0 * (double) sample->bytes / (double) progress->total));
  pieces[n++] = g_strdup_printf ("%9s", bytes);
  pieces[n++] = g_strdup_printf ("%9s/s", rate);
  if (progress->total > 0)
    pieces[n++] = format_time_left (progress, sample);
  if (sample->has_zero_copy)
    {
      pieces[n++] = g_strdup_printf ("zero-copy %3.0f%%", get_share (sample));
      pieces[n++] = g_strdup_printf ("in flight %s", in_flight);
    }

  return n;
}

static void
append_bar (GString *line,
            guint    width,
            double   done)
{
  guint full = (guint) ((double) width * CLAMP (done, 0, 1));

  g_string_append (line, "  [");
  for (guint i = 0; i < width; i++)
    g_string_append_c (line, i < full ? '#' : '-');
  g_string_append_c (line, ']');
}

/* As many pieces as fit into the line, and a bar if there is room for one. */
static char *
format_bar_line (ToolProgress     *progress,
                 const ToolSample *sample,
                 guint             columns)
{
  char *pieces[PIECES_MAX] = { NULL };
  guint n = format_pieces (progress, sample, pieces);
  GString *line = g_string_new (NULL);
  gsize length = 0;
  guint fit = 0;

  while (fit < n && length + strlen (pieces[fit]) + (fit > 0 ? 2 : 0) < columns)
    {
      length += strlen (pieces[fit]) + (fit > 0 ? 2 : 0);
      fit++;
    }

  for (guint i = 0; i < fit; i++)
    {
      g_string_append_printf (line, "%s%s", i > 0 ? "  " : "", pieces[i]);
      if (i == 0 && progress->total > 0 && length + BAR_MIN + 4 < columns)
        append_bar (line, (guint) MIN (columns - length - 5, BAR_MAX),
                    (double) sample->bytes / (double) progress->total);
    }

  for (guint i = 0; i < n; i++)
    g_free (pieces[i]);
  return g_string_free (line, FALSE);
}

static void
draw_bar (ToolProgress     *progress,
          const ToolSample *sample)
{
  g_autofree char *line = format_bar_line (progress, sample, get_columns ());

  g_printerr ("\r%s\033[K", line);
  progress->shown = TRUE;
}

static void
print_line (ToolProgress     *progress,
            const ToolSample *sample,
            gint64            now)
{
  g_autofree char *bytes = tool_format_size (sample->bytes);
  g_autofree char *rate = tool_format_size ((guint64) ((double) sample->bytes * G_USEC_PER_SEC / (double) (now - progress->started)));
  g_autoptr (GString) line = g_string_new (NULL);

  g_string_append_printf (line, "zcio: %s %s", progress->verb, bytes);
  if (progress->total > 0)
    g_string_append_printf (line, " (%.0f %%)", MIN (100, 100.0 * (double) sample->bytes / (double) progress->total));
  g_string_append_printf (line, ", %s/s", rate);
  if (sample->has_zero_copy)
    {
      g_autofree char *in_flight = tool_format_size (sample->bytes_in_flight);

      g_string_append_printf (line, ", zero-copy %.0f %%, in flight %s", get_share (sample), in_flight);
    }
  g_printerr ("%s\n", line->str);
}

static void
update (ToolProgress *progress)
{
  ToolSample sample = { 0 };
  gint64 now = g_get_monotonic_time ();

  progress->func (&sample, progress->user_data);
  update_rate (progress, &sample, now);

  if (progress->terminal)
    {
      draw_bar (progress, &sample);
    }
  else if (now >= progress->next_line && sample.bytes != progress->line_bytes)
    {
      progress->line_bytes = sample.bytes;
      print_line (progress, &sample, now);
      progress->line_pause = MIN (progress->line_pause * 2, MAX_LINE_PAUSE);
      progress->next_line = now + progress->line_pause;
    }
}

static gboolean
update_cb (gpointer user_data)
{
  update (user_data);
  return G_SOURCE_CONTINUE;
}

ToolProgress *
tool_progress_new (const char    *verb,
                   guint64        total,
                   ToolSampleFunc func,
                   gpointer       user_data)
{
  ToolProgress *progress = g_new0 (ToolProgress, 1);

  progress->verb = g_strdup (verb);
  progress->total = total;
  progress->func = func;
  progress->user_data = user_data;
  progress->terminal = is_terminal ();
  progress->started = g_get_monotonic_time ();
  progress->last_time = progress->started;
  progress->line_pause = G_USEC_PER_SEC;
  progress->next_line = progress->started + progress->line_pause;
  progress->timer = g_timeout_add (INTERVAL_MS, update_cb, progress);
  if (progress->terminal)
    progress->resize = g_unix_signal_add (SIGWINCH, update_cb, progress);

  return progress;
}

void
tool_progress_set_total (ToolProgress *progress,
                         guint64       total)
{
  progress->total = total;
}

void
tool_progress_hide (ToolProgress *progress)
{
  if (!progress->shown)
    return;

  g_printerr ("\r\033[K");
  progress->shown = FALSE;
}

/* The last state of the bar stays above what is printed next. */
void
tool_progress_free (ToolProgress *progress)
{
  if (progress->shown)
    {
      update (progress);
      g_printerr ("\n");
    }
  g_clear_handle_id (&progress->timer, g_source_remove);
  g_clear_handle_id (&progress->resize, g_source_remove);
  g_free (progress->verb);
  g_free (progress);
}
