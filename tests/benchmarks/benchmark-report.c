/* benchmark-report.c - tables, JSON and a picture
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/utsname.h>

#include "benchmark-private.h"

#define GB 1e9

/* What the ratios are to */
static const char *const bases[] = { "gio", "zerocopy", "sendfile", "zcio-always" };

BenchmarkResult *
benchmark_result_new (const BenchmarkWork      *work,
                      const BenchmarkContender *contender,
                      gsize                     parameter)
{
  BenchmarkResult *result = g_new0 (BenchmarkResult, 1);

  result->work = work;
  result->contender = contender;
  result->parameter = parameter;
  result->samples = g_array_new (FALSE, FALSE, sizeof (BenchmarkSample));

  return result;
}

void
benchmark_result_free (BenchmarkResult *result)
{
  g_array_unref (result->samples);
  g_free (result->failure);
  g_free (result);
}

static double
get_gigabytes (const BenchmarkSample *sample)
{
  return (double) sample->bytes / GB;
}

/* Milliseconds of CPU for each GB, or bytes of memory */
double
benchmark_result_get_value (const BenchmarkResult *result,
                            guint                  round)
{
  const BenchmarkSample *sample = &g_array_index (result->samples, BenchmarkSample, round);

  if (result->work->counts_memory)
    return (double) sample->memory;

  return (sample->user + sample->system) * 1000 / get_gigabytes (sample);
}

BenchmarkSpread
benchmark_result_get_spread (const BenchmarkResult *result)
{
  g_autoptr (GArray) values = g_array_new (FALSE, FALSE, sizeof (double));

  for (guint i = 0; i < result->samples->len; i++)
    {
      double value = benchmark_result_get_value (result, i);

      g_array_append_val (values, value);
    }

  return benchmark_measure_spread (values);
}

/* The ratio is taken within each round, where both met the same circumstances, and
 * then the median of the ratios: it settles sooner than the ratio of the medians. */
gboolean
benchmark_result_get_ratio (const BenchmarkResult *result,
                            const BenchmarkResult *base,
                            BenchmarkSpread       *ratio)
{
  g_autoptr (GArray) values = g_array_new (FALSE, FALSE, sizeof (double));

  if (base == NULL || result->failure != NULL || base->failure != NULL)
    return FALSE;

  for (guint i = 0; i < MIN (result->samples->len, base->samples->len); i++)
    {
      double below = benchmark_result_get_value (base, i);
      double value = benchmark_result_get_value (result, i) / below;

      if (below > 0)
        g_array_append_val (values, value);
    }
  *ratio = benchmark_measure_spread (values);

  return values->len > 0;
}

/* The median of one field over all rounds, for each GB if @per_gigabyte */
typedef double (*Field) (const BenchmarkSample *sample);

static double
get_median (const BenchmarkResult *result,
            Field                  field,
            gboolean               per_gigabyte)
{
  g_autoptr (GArray) values = g_array_new (FALSE, FALSE, sizeof (double));

  for (guint i = 0; i < result->samples->len; i++)
    {
      const BenchmarkSample *sample = &g_array_index (result->samples, BenchmarkSample, i);
      double value = field (sample) / (per_gigabyte ? get_gigabytes (sample) : 1);

      g_array_append_val (values, value);
    }

  return benchmark_measure_spread (values).median;
}

static double
get_user (const BenchmarkSample *sample)
{
  return sample->user * 1000;
}

static double
get_system (const BenchmarkSample *sample)
{
  return sample->system * 1000;
}

static double
get_speed (const BenchmarkSample *sample)
{
  return get_gigabytes (sample) / sample->elapsed;
}

static double
get_switches (const BenchmarkSample *sample)
{
  return (double) sample->switches;
}

static double
get_notifications (const BenchmarkSample *sample)
{
  return (double) sample->counts.notifications;
}

static double
get_copied (const BenchmarkSample *sample)
{
  return (double) sample->counts.copied;
}

static double
get_enobufs (const BenchmarkSample *sample)
{
  return (double) sample->counts.enobufs;
}

static double
get_peak (const BenchmarkSample *sample)
{
  return (double) sample->counts.peak_in_flight / (1024 * 1024);
}

/* Of the round that counted them all, or what the contender counted itself; -1 if
 * nobody knows */
static double
get_system_calls (const BenchmarkResult *result)
{
  const BenchmarkSample *sample = &result->system_calls;
  guint64 n = sample->system_calls != 0 ? sample->system_calls : sample->counts.system_calls;

  return n == 0 || sample->bytes == 0 ? -1 : (double) n / get_gigabytes (sample);
}

char *
benchmark_format_parameter (const BenchmarkWork *work,
                            gsize                parameter)
{
  if (work->parameter_unit != NULL)
    return g_strdup_printf ("%" G_GSIZE_FORMAT " %s", parameter, work->parameter_unit);
  if (parameter >= 1024 * 1024 && parameter % (1024 * 1024) == 0)
    return g_strdup_printf ("%" G_GSIZE_FORMAT " MiB", parameter / (1024 * 1024));
  if (parameter >= 1024 && parameter % 1024 == 0)
    return g_strdup_printf ("%" G_GSIZE_FORMAT " KiB", parameter / 1024);

  return g_strdup_printf ("%" G_GSIZE_FORMAT " B", parameter);
}

const BenchmarkResult *
benchmark_find_result (GPtrArray             *results,
                       const BenchmarkResult *like,
                       const char            *contender)
{
  for (guint i = 0; i < results->len; i++)
    {
      const BenchmarkResult *result = results->pdata[i];

      if (result->work == like->work && result->parameter == like->parameter &&
          g_str_equal (result->contender->name, contender))
        return result;
    }

  return NULL;
}

/* ---- the table ---- */

static void
print_head (const BenchmarkWork *work)
{
  g_print ("\n%s: %s; on the %s\n", work->name, work->summary, benchmark_place_to_string (work->place));
  if (work->counts_memory)
    g_print ("%-10s  %-12s %14s\n", "", "", "bytes a stream");
  else
    g_print ("%-10s  %-12s %22s %6s %6s %6s %9s %8s %8s %7s %7s %8s   %s\n",
             "", "", "CPU ms/GB  [quartiles]", "user", "system", "GB/s", "calls/GB", "switches", "notes/GB",
             "copied", "ENOBUFS", "peak MiB", "ratios to gio, zerocopy, sendfile, zcio-always");
}

static void
print_ratios (const BenchmarkResult *result,
              GPtrArray             *group)
{
  for (guint i = 0; i < G_N_ELEMENTS (bases); i++)
    {
      const BenchmarkResult *base = benchmark_find_result (group, result, bases[i]);
      BenchmarkSpread ratio;

      if (benchmark_result_get_ratio (result, base, &ratio))
        g_print ("  %5.3f [%.3f %.3f]", ratio.median, ratio.first_quartile, ratio.third_quartile);
      else
        g_print ("  %19s", "-");
    }
}

static void
print_figures (const BenchmarkResult *result)
{
  BenchmarkSpread spread = benchmark_result_get_spread (result);
  double calls = get_system_calls (result);
  g_autofree char *calls_text = calls < 0 ? g_strdup ("-") : g_strdup_printf ("%.0f", calls);

  g_print (" %8.1f [%5.1f %6.1f] %6.0f %6.0f %6.2f %9s %8.0f %8.0f %7.0f %7.0f %8.1f ",
           spread.median, spread.first_quartile, spread.third_quartile,
           get_median (result, get_user, TRUE), get_median (result, get_system, TRUE),
           get_median (result, get_speed, FALSE), calls_text,
           get_median (result, get_switches, TRUE), get_median (result, get_notifications, TRUE),
           get_median (result, get_copied, FALSE), get_median (result, get_enobufs, FALSE),
           get_median (result, get_peak, FALSE));
}

void
benchmark_report_table (GPtrArray *group,
                        gboolean   first)
{
  for (guint i = 0; i < group->len; i++)
    {
      const BenchmarkResult *result = group->pdata[i];
      g_autofree char *parameter = benchmark_format_parameter (result->work, result->parameter);

      if (first && i == 0)
        print_head (result->work);
      g_print ("%-10s  %-12s", i == 0 ? parameter : "", result->contender->name);
      if (result->failure != NULL)
        g_print (" failed: %s", result->failure);
      else if (result->work->counts_memory)
        g_print (" %14.0f", benchmark_result_get_spread (result).median);
      else
        {
          print_figures (result);
          print_ratios (result, group);
        }
      g_print ("\n");
    }
}

/* ---- JSON ---- */

static void
add_number (JsonBuilder *builder,
            const char  *name,
            double       number)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_double_value (builder, number);
}

static void
add_string (JsonBuilder *builder,
            const char  *name,
            const char  *string)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_string_value (builder, string);
}

static void
add_spread (JsonBuilder           *builder,
            const char            *name,
            const BenchmarkSpread *spread)
{
  json_builder_set_member_name (builder, name);
  json_builder_begin_object (builder);
  add_number (builder, "median", spread->median);
  add_number (builder, "first-quartile", spread->first_quartile);
  add_number (builder, "third-quartile", spread->third_quartile);
  json_builder_end_object (builder);
}

static void
add_sample (JsonBuilder           *builder,
            const BenchmarkSample *sample)
{
  json_builder_begin_object (builder);
  add_number (builder, "bytes", (double) sample->bytes);
  add_number (builder, "user-seconds", sample->user);
  add_number (builder, "system-seconds", sample->system);
  add_number (builder, "elapsed-seconds", sample->elapsed);
  add_number (builder, "context-switches", (double) sample->switches);
  add_number (builder, "notifications", (double) sample->counts.notifications);
  add_number (builder, "copied-sends", (double) sample->counts.copied);
  add_number (builder, "enobufs", (double) sample->counts.enobufs);
  add_number (builder, "peak-bytes-in-flight", (double) sample->counts.peak_in_flight);
  json_builder_end_object (builder);
}

static void
add_result (JsonBuilder           *builder,
            const BenchmarkResult *result,
            GPtrArray             *results)
{
  BenchmarkSpread spread = benchmark_result_get_spread (result);
  double calls = get_system_calls (result);

  json_builder_begin_object (builder);
  add_string (builder, "work", result->work->name);
  add_string (builder, "place", benchmark_place_to_string (result->work->place));
  add_number (builder, "parameter", (double) result->parameter);
  add_string (builder, "contender", result->contender->name);

  if (result->failure != NULL)
    add_string (builder, "failure", result->failure);
  else
    {
      add_spread (builder, result->work->counts_memory ? "bytes-per-stream" : "cpu-milliseconds-per-gb", &spread);
      if (calls >= 0)
        add_number (builder, "system-calls-per-gb", calls);
      for (guint i = 0; i < G_N_ELEMENTS (bases); i++)
        {
          g_autofree char *name = g_strconcat ("ratio-to-", bases[i], NULL);

          if (benchmark_result_get_ratio (result, benchmark_find_result (results, result, bases[i]), &spread))
            add_spread (builder, name, &spread);
        }

      json_builder_set_member_name (builder, "samples");
      json_builder_begin_array (builder);
      for (guint i = 0; i < result->samples->len && !result->work->counts_memory; i++)
        add_sample (builder, &g_array_index (result->samples, BenchmarkSample, i));
      json_builder_end_array (builder);
    }
  json_builder_end_object (builder);
}

gboolean
benchmark_report_json (GPtrArray   *results,
                       const char  *command,
                       const char  *path,
                       GError     **error)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  struct utsname name;

  uname (&name);
  json_builder_begin_object (builder);
  add_string (builder, "command", command);
  add_string (builder, "version", PACKAGE_VERSION);
  add_string (builder, "kernel", name.release);
  add_string (builder, "machine", name.machine);
  json_builder_set_member_name (builder, "wire");
  json_builder_add_boolean_value (builder, benchmark_have_wire ());

  json_builder_set_member_name (builder, "results");
  json_builder_begin_array (builder);
  for (guint i = 0; i < results->len; i++)
    add_result (builder, results->pdata[i], results);
  json_builder_end_array (builder);
  json_builder_end_object (builder);

  root = json_builder_get_root (builder);
  json_generator_set_root (generator, root);
  json_generator_set_pretty (generator, TRUE);

  return json_generator_to_file (generator, path, error);
}
