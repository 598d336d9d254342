/* benchmark-instructions.c - instructions for each write, which no load can change
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <string.h>
#include <unistd.h>

#include "benchmark-private.h"

/* What starting and ending costs is in both, and so not in the difference. */
#define FEW_WRITES 256
#define MANY_WRITES 1280

#define AREA_SIZE (16 * 1024 * 1024)

/* What Callgrind runs: so many writes, and nothing measured */
gboolean
benchmark_write_only (const BenchmarkContender *contender,
                      gsize                     size,
                      guint                     n,
                      GError                  **error)
{
  const BenchmarkMemory *memory = benchmark_memory_get (MAX (size, AREA_SIZE), size);
  BenchmarkStream *stream;
  gboolean success = TRUE;
  int fd;

  fd = benchmark_connect (BENCHMARK_PLACE_WIRE, error);
  if (fd < 0)
    return FALSE;
  stream = contender->open (contender, fd, error);
  if (stream == NULL)
    {
      close (fd);
      return FALSE;
    }

  for (guint i = 0; success && i < n; i++)
    success = contender->write (stream, &memory->blocks[i % memory->n_blocks], error);
  success = success && contender->drain (stream, error);
  contender->close (stream);

  return success;
}

/* Returns: instructions of the whole program, or 0 */
static guint64
count_instructions (const BenchmarkContender *contender,
                    gsize                     size,
                    guint                     n,
                    GError                  **error)
{
  g_autofree char *writes = g_strdup_printf ("--write-only=%u", n);
  g_autofree char *parameter = g_strdup_printf ("--parameter=%" G_GSIZE_FORMAT, size);
  g_autofree char *program = g_file_read_link ("/proc/self/exe", error);
  g_autofree char *errors = NULL;
  g_autoptr (GSubprocess) process = NULL;
  const char *collected;

  process = g_subprocess_new (G_SUBPROCESS_FLAGS_STDERR_PIPE | G_SUBPROCESS_FLAGS_STDOUT_SILENCE, error,
                              "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program,
                              benchmark_have_wire () ? "--rounds=1" : "--loopback", writes, parameter,
                              "--contender", contender->name, NULL);
  if (process == NULL || !g_subprocess_communicate_utf8 (process, NULL, NULL, NULL, &errors, error))
    return 0;

  collected = strstr (errors, "Collected : ");
  if (!g_subprocess_get_successful (process) || collected == NULL)
    {
      g_set_error_literal (error, BENCHMARK_ERROR, BENCHMARK_ERROR_FAILED, "Callgrind could not count");
      return 0;
    }

  return g_ascii_strtoull (collected + strlen ("Collected : "), NULL, 10);
}

/* Prints the instructions that one write takes in user space, the completions and
 * waits that belong to it included. */
void
benchmark_print_instructions (const BenchmarkContender *contender,
                              gsize                     size)
{
  g_autoptr (GError) error = NULL;
  guint64 few, many = 0;

  few = count_instructions (contender, size, FEW_WRITES, &error);
  if (few > 0)
    many = count_instructions (contender, size, MANY_WRITES, &error);

  if (error != NULL)
    g_print ("%10" G_GSIZE_FORMAT "  %-12s failed: %s\n", size, contender->name, error->message);
  else
    g_print ("%10" G_GSIZE_FORMAT "  %-12s %8.0f\n", size, contender->name,
             ((double) many - (double) few) / (MANY_WRITES - FEW_WRITES));
}
