/* benchmark-plot.c - a picture of the results, drawn by gnuplot
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "benchmark-private.h"

/* Adds the points of one contender: size, median and quartiles. Returns: whether
 * there are any. */
static gboolean
add_points (GString                  *script,
            GPtrArray                *results,
            const char               *work,
            const BenchmarkContender *contender)
{
  gboolean any = FALSE;

  for (guint i = 0; i < results->len; i++)
    {
      const BenchmarkResult *result = results->pdata[i];
      BenchmarkSpread spread;

      if (result->contender != contender || result->failure != NULL || !g_str_equal (result->work->name, work))
        continue;

      if (!any)
        g_string_append_printf (script, "$%s_%u << END\n", work, g_str_hash (contender->name));
      any = TRUE;
      spread = benchmark_result_get_spread (result);
      g_string_append_printf (script, "%" G_GSIZE_FORMAT " %g %g %g\n", result->parameter,
                              spread.median, spread.first_quartile, spread.third_quartile);
    }
  if (any)
    g_string_append (script, "END\n");

  return any;
}

/* CPU over size, both logarithmic, with the quartiles as bars */
static void
add_sizes (GString    *script,
           GPtrArray  *results,
           GPtrArray  *all,
           const char *work,
           const char *place)
{
  g_autoptr (GString) plot = g_string_new ("plot ");
  gboolean any = FALSE;

  for (guint i = 0; i < all->len; i++)
    {
      const BenchmarkContender *contender = all->pdata[i];

      if (!add_points (script, results, work, contender))
        continue;
      g_string_append_printf (plot, "%s$%s_%u using 1:2:3:4 with yerrorlines linecolor %u pointtype 7 pointsize 0.4 title '%s'",
                              any ? ", " : "", work, g_str_hash (contender->name), i + 1, contender->name);
      any = TRUE;
    }

  g_string_append_printf (script,
                          "set title '%s, on the %s'\n"
                          "set logscale x 2\nset logscale y\nset grid\n"
                          "set xtics ('1 KiB' 2**10, '4 KiB' 2**12, '16 KiB' 2**14, '64 KiB' 2**16, '256 KiB' 2**18, '1 MiB' 2**20, '4 MiB' 2**22)\n"
                          "set xlabel 'size of a write'\nset ylabel 'CPU of the sender, ms per GB'\n",
                          work, place);
  g_string_append_printf (script, "%s\n", plot->str);
}

/* Whether there is a panel of this kind to draw. */
static gboolean
has_results (GPtrArray *results,
             gboolean (*suits) (const BenchmarkResult *result))
{
  for (guint i = 0; i < results->len; i++)
    if (suits (results->pdata[i]))
      return TRUE;

  return FALSE;
}

static gboolean
is_write (const BenchmarkResult *result)
{
  return result->failure == NULL && g_str_equal (result->work->name, "write");
}

static gboolean
is_loopback (const BenchmarkResult *result)
{
  return result->failure == NULL && g_str_equal (result->work->name, "loopback");
}

static gboolean
is_bar (const BenchmarkResult *result)
{
  return result->failure == NULL && !result->work->counts_memory && !is_write (result) && !is_loopback (result);
}

/* All other works: a group of bars each, in the ratio to GIO's stream */
static void
add_bars (GString   *script,
          GPtrArray *results,
          GPtrArray *all)
{
  const BenchmarkResult *last = NULL;

  g_string_append (script, "$bars << END\n");
  for (guint i = 0; i < results->len; i++)
    {
      const BenchmarkResult *result = results->pdata[i];
      g_autofree char *parameter = NULL;

      if (!is_bar (result) || (last != NULL && last->work == result->work && last->parameter == result->parameter))
        continue;

      last = result;
      parameter = benchmark_format_parameter (result->work, result->parameter);
      g_string_append_printf (script, "\"%s\\n%s\"", result->work->name, parameter);
      for (guint j = 0; j < all->len; j++)
        {
          const BenchmarkContender *contender = all->pdata[j];
          const BenchmarkResult *own = benchmark_find_result (results, result, contender->name);
          BenchmarkSpread ratio;

          if (own != NULL && benchmark_result_get_ratio (own, benchmark_find_result (results, result, "gio"), &ratio))
            g_string_append_printf (script, " %g", ratio.median);
          else
            g_string_append (script, " ?");
        }
      g_string_append_c (script, '\n');
    }
  g_string_append (script, "END\n");

  g_string_append (script,
                   "unset logscale\nset title 'CPU of the sender, as a ratio to that of GIO'\n"
                   "set style data histograms\nset style histogram clustered gap 1\nset style fill solid 0.8\n"
                   "set datafile missing '?'\nset xtics autofreq norangelimit\nunset xlabel\nset ylabel 'ratio'\nset bmargin 3\nset key outside\nset yrange [0:*]\nplot ");
  for (guint i = 0; i < all->len; i++)
    {
      const BenchmarkContender *contender = all->pdata[i];

      g_string_append_printf (script, "%s$bars using %u%s linecolor %u title '%s'", i > 0 ? ", " : "",
                              i + 2, i == 0 ? ":xtic(1)" : "", i + 1, contender->name);
    }
  g_string_append_c (script, '\n');
}

gboolean
benchmark_report_plot (GPtrArray   *results,
                       const char  *path,
                       GError     **error)
{
  g_autoptr (GPtrArray) all = benchmark_list_contenders ();
  g_autoptr (GString) script = g_string_new (NULL);
  g_autoptr (GSubprocess) gnuplot = NULL;
  g_autofree char *message = NULL;
  gboolean has_writes = has_results (results, is_write);
  gboolean has_loopback = has_results (results, is_loopback);
  gboolean has_bars = has_results (results, is_bar);
  guint n_panels = MAX (1, has_writes + has_loopback + has_bars);

  g_string_append_printf (script,
                          "set terminal svg size 1000,%u dynamic background 'white'\nset output '%s'\n"
                          "set multiplot layout %u,1\n",
                          500 * n_panels, path, n_panels);
  if (has_writes)
    add_sizes (script, results, all, "write", benchmark_place_to_string (BENCHMARK_PLACE_WIRE));
  if (has_loopback)
    add_sizes (script, results, all, "loopback", benchmark_place_to_string (BENCHMARK_PLACE_LOOPBACK));
  if (has_bars)
    add_bars (script, results, all);
  g_string_append (script, "unset multiplot\n");

  gnuplot = g_subprocess_new (G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE, error, "gnuplot", "-", NULL);
  if (gnuplot == NULL || !g_subprocess_communicate_utf8 (gnuplot, script->str, NULL, NULL, &message, error))
    return FALSE;
  if (!g_subprocess_get_successful (gnuplot))
    {
      g_set_error (error, BENCHMARK_ERROR, BENCHMARK_ERROR_FAILED, "gnuplot: %s", message);
      return FALSE;
    }

  return TRUE;
}
