/* test-statistics.c - what a stream did, as a snapshot
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <string.h>

#include <zcio/zcio-statistics.h>

#define N_FIELDS (G_STRUCT_OFFSET (ZcioStatistics, padding) / sizeof (guint64))

/* Each field has a value that no other has. */
static void
fill (ZcioStatistics *statistics)
{
  guint64 *fields = (guint64 *) statistics;

  memset (statistics, 0, sizeof *statistics);
  for (guint i = 0; i < N_FIELDS; i++)
    fields[i] = 7000100 + i;
}

static void
test_layout (void)
{
  g_test_summary ("All members are 64 bits wide, so that the size is the same on all machines, with room for more");

  g_assert_cmpuint (sizeof (ZcioStatistics), ==, 256);
  g_assert_cmpuint (N_FIELDS, ==, 24);
}

static void
test_copy (void)
{
  ZcioStatistics statistics;
  g_autoptr (ZcioStatistics) copy = NULL;

  g_test_summary ("A copy has the same content and lives by itself");

  fill (&statistics);
  copy = zcio_statistics_copy (&statistics);
  g_assert_true (copy != &statistics);
  g_assert_cmpmem (copy, sizeof *copy, &statistics, sizeof statistics);

  statistics.bytes_written = 1;
  g_assert_cmpuint (copy->bytes_written, ==, 7000100);
}

static void
test_boxed (void)
{
  ZcioStatistics statistics;
  const ZcioStatistics *boxed;
  g_auto (GValue) value = G_VALUE_INIT;
  g_auto (GValue) other = G_VALUE_INIT;

  g_test_summary ("The type is boxed, which is how bindings copy and free it");

  fill (&statistics);
  g_assert_true (G_TYPE_IS_BOXED (ZCIO_TYPE_STATISTICS));
  g_assert_cmpstr (g_type_name (ZCIO_TYPE_STATISTICS), ==, "ZcioStatistics");

  g_value_init (&value, ZCIO_TYPE_STATISTICS);
  g_value_set_boxed (&value, &statistics);
  g_value_init (&other, ZCIO_TYPE_STATISTICS);
  g_value_copy (&value, &other);

  boxed = g_value_get_boxed (&other);
  g_assert_true (boxed != &statistics);
  g_assert_true (boxed != g_value_get_boxed (&value));
  g_assert_cmpmem (boxed, sizeof *boxed, &statistics, sizeof statistics);
}

static void
test_to_string (void)
{
  ZcioStatistics statistics;
  g_autofree char *string = NULL;
  g_auto (GStrv) lines = NULL;

  g_test_summary ("The text has each number once, on lines that fit a terminal");

  fill (&statistics);
  string = zcio_statistics_to_string (&statistics);
  g_test_message ("%s", string);

  for (guint i = 0; i < N_FIELDS; i++)
    {
      gboolean is_age = i == G_STRUCT_OFFSET (ZcioStatistics, oldest_send_age) / sizeof (guint64);
      guint number = 7000100 + i;
      g_autofree char *text = is_age ? g_strdup_printf ("%u.%03u ms", number / 1000, number % 1000)
                                     : g_strdup_printf ("%u", number);
      const char *found = strstr (string, text);

      g_assert_nonnull (found);
      g_assert_null (strstr (found + 1, text));
    }

  g_assert_false (g_str_has_suffix (string, "\n"));
  lines = g_strsplit (string, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), >, 5);
  for (guint i = 0; lines[i] != NULL; i++)
    {
      g_assert_cmpuint (strlen (lines[i]), >, 0);
      g_assert_cmpuint (strlen (lines[i]), <=, 100);
    }
}

static void
test_to_string_extremes (void)
{
  ZcioStatistics statistics;
  g_autofree char *zeros = NULL;
  g_autofree char *ones = NULL;
  g_autofree char *biggest = NULL;

  g_test_summary ("Nothing at all, one send and the biggest numbers are described as well");

  memset (&statistics, 0, sizeof statistics);
  zeros = zcio_statistics_to_string (&statistics);
  g_assert_nonnull (strstr (zeros, "written: 0 bytes"));
  g_assert_nonnull (strstr (zeros, "0 bytes in 0 sends"));
  /* With nothing in flight there is no oldest one. */
  g_assert_null (strstr (zeros, " ms"));

  statistics.sends_in_flight = 1;
  statistics.sends_zero_copied = 1;
  statistics.bytes_zero_copied = 4096;
  ones = zcio_statistics_to_string (&statistics);
  g_assert_nonnull (strstr (ones, "zero-copied: 4096 bytes in 1 send\n"));
  g_assert_nonnull (strstr (ones, "0.000 ms"));

  memset (&statistics, 0xff, sizeof statistics);
  statistics.oldest_send_age = G_MAXINT64;
  biggest = zcio_statistics_to_string (&statistics);
  g_assert_nonnull (strstr (biggest, "18446744073709551615 bytes in 18446744073709551615 sends"));
  g_assert_nonnull (strstr (biggest, "9223372036854775.807 ms"));
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/statistics/layout", test_layout);
  g_test_add_func ("/statistics/copy", test_copy);
  g_test_add_func ("/statistics/boxed", test_boxed);
  g_test_add_func ("/statistics/to-string", test_to_string);
  g_test_add_func ("/statistics/to-string-extremes", test_to_string_extremes);

  return g_test_run ();
}
