/* benchmark.c - zcio-benchmark, the same work for each contender, in turn
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "benchmark-private.h"

static int rounds = 7;
static double scale = 1;
static gboolean on_loopback;
static gboolean list_only;
static gboolean count_instructions;
static gboolean idle_stream;
static int write_only;
static char **works;
static char **contenders;
static char **parameters;
static char *json_path;
static char *plot_path;
static char *wire_path;

static const GOptionEntry entries[] = {
  { "work", 'w', 0, G_OPTION_ARG_STRING_ARRAY, &works, "Do this work only; may be given again", "NAME" },
  { "contender", 'c', 0, G_OPTION_ARG_STRING_ARRAY, &contenders, "Let this one take part only; may be given again", "NAME" },
  { "parameter", 'p', 0, G_OPTION_ARG_STRING_ARRAY, &parameters, "Do it with this size or number only; may be given again", "NUMBER" },
  { "rounds", 'r', 0, G_OPTION_ARG_INT, &rounds, "How many rounds to measure (7)", "N" },
  { "scale", 's', 0, G_OPTION_ARG_DOUBLE, &scale, "Do so much more or less in each round (1.0)", "FACTOR" },
  { "json", 'j', 0, G_OPTION_ARG_FILENAME, &json_path, "Write all that was measured", "FILE" },
  { "plot", 'P', 0, G_OPTION_ARG_FILENAME, &plot_path, "Draw a picture (SVG)", "FILE" },
  { "wire", 0, 0, G_OPTION_ARG_FILENAME, &wire_path, "Where zcio-wire is", "PROGRAM" },
  { "loopback", 0, 0, G_OPTION_ARG_NONE, &on_loopback, "Do without the wire", NULL },
  { "instructions", 'i', 0, G_OPTION_ARG_NONE, &count_instructions, "Count the instructions of a write (Callgrind), and nothing else", NULL },
  { "write-only", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_INT, &write_only, NULL, NULL },
  { "idle-stream", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &idle_stream, NULL, NULL },
  { "list", 'l', 0, G_OPTION_ARG_NONE, &list_only, "List works and contenders", NULL },
  G_OPTION_ENTRY_NULL
};

GPtrArray *
benchmark_list_contenders (void)
{
  const BenchmarkContender *tables[] = {
    benchmark_socket_contenders,
#ifdef HAVE_URING
    benchmark_uring_contenders,
#endif
    benchmark_gio_contenders,
  };
  GPtrArray *list = g_ptr_array_new ();

  for (guint i = 0; i < G_N_ELEMENTS (tables); i++)
    for (const BenchmarkContender *contender = tables[i]; contender->name != NULL; contender++)
      g_ptr_array_add (list, (gpointer) contender);

  return list;
}

static gboolean
is_chosen (char      **names,
           const char *name)
{
  return names == NULL || g_strv_contains ((const char *const *) names, name);
}

static void
print_list (GPtrArray *all)
{
  g_print ("Works:\n");
  for (const BenchmarkWork *work = benchmark_works; work->name != NULL; work++)
    {
      g_print ("  %-16s %s (", work->name, work->summary);
      for (const gsize *parameter = work->parameters; *parameter != 0; parameter++)
        g_print ("%s%" G_GSIZE_FORMAT, parameter == work->parameters ? "" : ", ", *parameter);
      g_print (")\n");
    }

  g_print ("Contenders:\n");
  for (guint i = 0; i < all->len; i++)
    {
      const BenchmarkContender *contender = all->pdata[i];

      g_print ("  %-16s %s\n", contender->name, contender->summary);
    }
}

static void
measure_once (BenchmarkResult *result,
              guint            round)
{
  g_autoptr (GError) error = NULL;
  BenchmarkRun run = {
    .work = result->work,
    .contender = result->contender,
    .parameter = result->parameter,
    .scale = scale,
    .round = round,
    .count_system_calls = round == 0,
  };

  if (result->failure != NULL)
    return;

  if (!result->work->run (&run, &error))
    result->failure = g_strdup (error->message);
  else if (round == 0)
    result->system_calls = run.sample;
  else
    g_array_append_val (result->samples, run.sample);
}

static void
shuffle (GPtrArray *group,
         GRand     *random)
{
  for (guint i = group->len - 1; i > 0; i--)
    {
      guint other = (guint) g_rand_int_range (random, 0, (gint32) i + 1);
      gpointer result = group->pdata[i];

      group->pdata[i] = group->pdata[other];
      group->pdata[other] = result;
    }
}

/* In each round each contender has its turn, in an order that is drawn anew, so that what the
 * machine does besides, and what the one before leaves behind, meets them all alike. The first
 * round warms up and counts system calls. */
static GPtrArray *
measure_group (const BenchmarkWork *work,
               gsize                parameter,
               GPtrArray           *all)
{
  GPtrArray *group = g_ptr_array_new ();
  g_autoptr (GPtrArray) order = NULL;
  g_autoptr (GRand) random = g_rand_new_with_seed (1);

  for (guint i = 0; i < all->len; i++)
    {
      const BenchmarkContender *contender = all->pdata[i];

      if (work->suits (contender) && is_chosen (contenders, contender->name))
        g_ptr_array_add (group, benchmark_result_new (work, contender, parameter));
    }

  order = g_ptr_array_copy (group, NULL, NULL);
  for (guint round = 0; order->len > 0 && round <= (guint) rounds; round++)
    {
      shuffle (order, random);
      for (guint i = 0; i < order->len; i++)
        measure_once (order->pdata[i], round);
    }

  return group;
}

static gboolean
is_chosen_parameter (gsize parameter)
{
  g_autofree char *number = g_strdup_printf ("%" G_GSIZE_FORMAT, parameter);

  return is_chosen (parameters, number);
}

static void
measure_work (const BenchmarkWork *work,
              GPtrArray           *all,
              GPtrArray           *results)
{
  gboolean first = TRUE;

  for (const gsize *parameter = work->parameters; *parameter != 0; parameter++)
    {
      g_autoptr (GPtrArray) group = NULL;

      if (!is_chosen_parameter (*parameter))
        continue;

      group = measure_group (work, *parameter, all);
      benchmark_report_table (group, first);
      first = FALSE;
      for (guint i = 0; i < group->len; i++)
        g_ptr_array_add (results, group->pdata[i]);
    }
}

static void
print_circumstances (void)
{
  struct utsname name;

  uname (&name);
  g_print ("%s %s, %u CPUs; the works are done on the %s; %d rounds\n",
           name.sysname, name.release, (guint) sysconf (_SC_NPROCESSORS_ONLN),
           benchmark_place_to_string (BENCHMARK_PLACE_WIRE), rounds);
  if (sysconf (_SC_NPROCESSORS_ONLN) < 2)
    g_print ("Lacking: a second CPU. Sender and receiver share one, which blurs all figures.\n");
  if (!benchmark_measure_can_count_system_calls ())
    g_print ("Lacking: the tracepoint of system calls. Only those that a contender counts itself are told.\n");
}

static gboolean
run_benchmark (const char *command,
               GError    **error)
{
  g_autoptr (GPtrArray) all = benchmark_list_contenders ();
  g_autoptr (GPtrArray) results = g_ptr_array_new_with_free_func ((GDestroyNotify) benchmark_result_free);
  struct rlimit limit = { 4096, 4096 };
  gboolean success;

  setrlimit (RLIMIT_NOFILE, &limit);
  if (!benchmark_start_loopback (error))
    return FALSE;
  benchmark_pin_sender ();

  print_circumstances ();
  for (const BenchmarkWork *work = benchmark_works; work->name != NULL; work++)
    if (is_chosen (works, work->name))
      measure_work (work, all, results);
  benchmark_stop_loopback ();

  success = (json_path == NULL || benchmark_report_json (results, command, json_path, error)) &&
            (plot_path == NULL || benchmark_report_plot (results, plot_path, error));

  return success;
}

/* What other works run as a process of its own for each contender */
static gboolean
run_one (const BenchmarkContender *contender,
         GError                  **error)
{
  gsize parameter = parameters != NULL ? (gsize) g_ascii_strtoull (parameters[0], NULL, 10) : 1;

  if (idle_stream)
    return contender->make_stream == NULL || benchmark_measure_idle_stream (contender, (guint) parameter, error);

  return benchmark_write_only (contender, MAX (1, parameter), (guint) write_only, error);
}

static void
print_instructions (const BenchmarkContender *contender)
{
  static const gsize sizes[] = { 4096, 65536, 1024 * 1024 };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    if (is_chosen_parameter (sizes[i]))
      benchmark_print_instructions (contender, sizes[i]);
}

static gboolean
run_for_each_contender (GError **error)
{
  g_autoptr (GPtrArray) all = benchmark_list_contenders ();
  gboolean success = TRUE;

  if (!benchmark_start_loopback (error))
    return FALSE;

  if (count_instructions)
    g_print ("Instructions of one write in user space, on the %s\n", benchmark_place_to_string (BENCHMARK_PLACE_WIRE));
  for (guint i = 0; success && i < all->len; i++)
    {
      const BenchmarkContender *contender = all->pdata[i];

      if (!is_chosen (contenders, contender->name))
        continue;
      if (count_instructions)
        print_instructions (contender);
      else
        success = run_one (contender, error);
    }
  benchmark_stop_loopback ();

  return success;
}

/* Finds zcio-wire where it was said to be, where it is built, or where programs are. */
static char *
find_wire (void)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *directory = self != NULL ? g_path_get_dirname (self) : g_strdup (".");
  g_autofree char *built = g_build_filename (directory, "wire", "zcio-wire", NULL);

  if (wire_path != NULL)
    return g_strdup (wire_path);
  if (g_file_test (built, G_FILE_TEST_IS_EXECUTABLE))
    return g_steal_pointer (&built);

  return g_find_program_in_path ("zcio-wire");
}

/* Tries whether there can be a wire, before everything is made to depend on it. */
static char *
try_wire (void)
{
  g_autofree char *wire = find_wire ();
  g_autofree char *errors = NULL;
  const char *arguments[] = { wire, "--", "true", NULL };
  int status;

  if (wire == NULL)
    {
      g_print ("Lacking: zcio-wire, which is not built without clang and libbpf.\n");
      return NULL;
    }
  if (!g_spawn_sync (NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, &errors, &status, NULL) ||
      !g_spawn_check_wait_status (status, NULL))
    {
      g_print ("Lacking: a wire. %s\n", errors != NULL ? g_strstrip (errors) : "It cannot be run.");
      return NULL;
    }

  return g_steal_pointer (&wire);
}

/* Becomes the wire, which runs this program again at its end. */
static void
move_to_wire (char **argv)
{
  g_autofree char *wire = try_wire ();
  g_autoptr (GPtrArray) arguments = NULL;

  if (wire == NULL)
    {
      g_print ("All is done on loopback, where the kernel copies what is sent by zero-copy: nothing can be learnt of zero-copy there.\n");
      return;
    }

  arguments = g_ptr_array_new ();
  g_ptr_array_add (arguments, wire);
  g_ptr_array_add (arguments, (gpointer) "--");
  g_ptr_array_add (arguments, g_file_read_link ("/proc/self/exe", NULL));
  for (guint i = 1; argv[i] != NULL; i++)
    g_ptr_array_add (arguments, argv[i]);
  g_ptr_array_add (arguments, NULL);

  fflush (NULL);
  execv (wire, (char **) arguments->pdata);
  g_print ("Lacking: a wire. %s\n", g_strerror (errno));
}

int
main (int    argc,
      char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  g_autofree char *command = g_strjoinv (" ", argv);
  g_auto (GStrv) original_argv = g_strdupv (argv);

  setlocale (LC_ALL, "");
  setlocale (LC_NUMERIC, "C");

  g_option_context_set_summary (context, "Measures what sending costs: CPU of the sender for each GB (10⁹ bytes), "
                                         "medians and quartiles over rounds in which all take turns.");
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error))
    {
      g_printerr ("zcio-benchmark: %s\n", error->message);
      return 2;
    }
  if (rounds < 1 || rounds > 1000 || !(scale > 0 && scale <= 1000))
    {
      g_printerr ("zcio-benchmark: An option is out of range\n");
      return 2;
    }

  if (list_only)
    {
      g_autoptr (GPtrArray) all = benchmark_list_contenders ();

      print_list (all);
      return 0;
    }

  if (on_loopback)
    g_unsetenv ("ZCIO_WIRE_ADDRESS");
  else if (!benchmark_have_wire ())
    move_to_wire (original_argv);

  if (!(count_instructions || idle_stream || write_only > 0 ? run_for_each_contender (&error) : run_benchmark (command, &error)))
    {
      benchmark_stop_loopback ();
      g_printerr ("zcio-benchmark: %s\n", error->message);
      return 1;
    }

  return 0;
}
