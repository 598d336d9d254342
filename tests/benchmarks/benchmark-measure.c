/* benchmark-measure.c - CPU, time, system calls, and what is the middle of them
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "benchmark-private.h"

static struct
{
  struct rusage usage;
  gint64 time;
  int counter;
} begin = { .counter = -1 };

/* Counting at the entry to the kernel is the one way that sees GIO's system calls too, and
 * does not stop at each of them as a tracer does. */
static int
open_counter (void)
{
  static const char *const paths[] = {
    "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
    "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id",
  };
  struct perf_event_attr attributes = { 0 };
  g_autofree char *id = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (paths) && id == NULL; i++)
    g_file_get_contents (paths[i], &id, NULL, NULL);
  if (id == NULL)
    return -1;

  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.size = sizeof attributes;
  attributes.config = g_ascii_strtoull (id, NULL, 10);
  attributes.inherit = 1;

  return (int) syscall (SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

gboolean
benchmark_measure_can_count_system_calls (void)
{
  int fd = open_counter ();

  if (fd < 0)
    return FALSE;
  close (fd);

  return TRUE;
}

static double
to_seconds (const struct timeval *time)
{
  return (double) time->tv_sec + (double) time->tv_usec / G_USEC_PER_SEC;
}

/* Counting costs a little for each call, so a sample that counts is not to be
 * timed. */
void
benchmark_measure_begin (BenchmarkSample *sample,
                         gboolean         count_system_calls)
{
  *sample = (BenchmarkSample){ 0 };

  if (count_system_calls)
    begin.counter = open_counter ();
  begin.time = g_get_monotonic_time ();
  getrusage (RUSAGE_SELF, &begin.usage);
}

void
benchmark_measure_end (BenchmarkSample *sample)
{
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  sample->elapsed = (double) (g_get_monotonic_time () - begin.time) / G_USEC_PER_SEC;
  sample->user = to_seconds (&usage.ru_utime) - to_seconds (&begin.usage.ru_utime);
  sample->system = to_seconds (&usage.ru_stime) - to_seconds (&begin.usage.ru_stime);
  sample->switches = (guint64) (usage.ru_nvcsw - begin.usage.ru_nvcsw + usage.ru_nivcsw - begin.usage.ru_nivcsw);

  if (begin.counter >= 0)
    {
      if (read (begin.counter, &sample->system_calls, sizeof sample->system_calls) < 0)
        sample->system_calls = 0;
      close (begin.counter);
      begin.counter = -1;
    }
}

void
benchmark_measure_add_stream (BenchmarkSample       *sample,
                              const BenchmarkStream *stream)
{
  sample->counts.notifications += stream->counts.notifications;
  sample->counts.copied += stream->counts.copied;
  sample->counts.enobufs += stream->counts.enobufs;
  sample->counts.peak_in_flight += stream->counts.peak_in_flight;
  sample->counts.system_calls += stream->counts.system_calls;
}

static int
compare_doubles (gconstpointer a,
                 gconstpointer b)
{
  double first = *(const double *) a;
  double second = *(const double *) b;

  return (first > second) - (first < second);
}

/* @fraction of the way through the sorted @values, between two of them if need be */
static double
get_quantile (GArray *values,
              double  fraction)
{
  double position = fraction * (values->len - 1);
  guint below = (guint) position;
  guint above = MIN (below + 1, values->len - 1);
  double low = g_array_index (values, double, below);

  return low + (position - below) * (g_array_index (values, double, above) - low);
}

/* Sorts @values. */
BenchmarkSpread
benchmark_measure_spread (GArray *values)
{
  BenchmarkSpread spread = { 0 };

  if (values->len == 0)
    return spread;

  g_array_sort (values, compare_doubles);
  spread.first_quartile = get_quantile (values, 0.25);
  spread.median = get_quantile (values, 0.5);
  spread.third_quartile = get_quantile (values, 0.75);

  return spread;
}
