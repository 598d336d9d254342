/* zcio-statistics.c - what a stream did, as a snapshot
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-statistics.h"

/**
 * SECTION:zcio-statistics
 * @title: ZcioStatistics
 * @short_description: What a stream did, as a snapshot
 *
 * #ZcioStatistics tells what became of the bytes that a #ZcioSocketStream was given: how
 * many the kernel sent from the memory of the program, how many were copied, and why.
 * zcio_socket_stream_get_statistics() makes one. It does not change, so that two of them
 * can be subtracted from each other, field by field.
 *
 * Since: 1.0
 */

G_DEFINE_BOXED_TYPE (ZcioStatistics, zcio_statistics, zcio_statistics_copy, zcio_statistics_free)

/**
 * zcio_statistics_copy:
 * @statistics: a #ZcioStatistics
 *
 * Copies @statistics. It is a snapshot, so the copy does not change either.
 *
 * Returns: (transfer full): the copy, to be freed with zcio_statistics_free()
 *
 * Since: 1.0
 */
ZcioStatistics *
zcio_statistics_copy (const ZcioStatistics *statistics)
{
  ZcioStatistics *copy;

  g_return_val_if_fail (statistics != NULL, NULL);

  copy = g_new (ZcioStatistics, 1);
  *copy = *statistics;

  return copy;
}

/**
 * zcio_statistics_free:
 * @statistics: (transfer full): a #ZcioStatistics
 *
 * Frees @statistics.
 *
 * Since: 1.0
 */
void
zcio_statistics_free (ZcioStatistics *statistics)
{
  g_return_if_fail (statistics != NULL);

  g_free (statistics);
}

static void
append_sends (GString *string,
              const char *label,
              guint64 bytes,
              guint64 sends)
{
  g_string_append_printf (string,
                          "  %s: %" G_GUINT64_FORMAT " bytes in %" G_GUINT64_FORMAT " %s\n",
                          label,
                          bytes,
                          sends,
                          sends == 1 ? "send" : "sends");
}

static void
append_written (GString *string,
                const ZcioStatistics *statistics)
{
  g_string_append_printf (string, "written: %" G_GUINT64_FORMAT " bytes\n", statistics->bytes_written);
  append_sends (string, "zero-copied", statistics->bytes_zero_copied, statistics->sends_zero_copied);
  append_sends (string, "copied by the kernel", statistics->bytes_copied_by_kernel, statistics->sends_copied_by_kernel);
  append_sends (string, "copied by choice", statistics->bytes_copied_by_choice, statistics->sends_copied_by_choice);
  append_sends (string, "copied because of ENOBUFS", statistics->bytes_copied_for_enobufs, statistics->sends_copied_for_enobufs);
  g_string_append_printf (string, "  spliced: %" G_GUINT64_FORMAT " bytes\n", statistics->spliced_bytes);
}

/* Milliseconds by hand: the decimal point of printf() depends on the locale. */
static void
append_in_flight (GString *string,
                  const ZcioStatistics *statistics)
{
  gint64 age = MAX (statistics->oldest_send_age, 0);

  g_string_append (string, "in flight:\n");
  append_sends (string, "now", statistics->bytes_in_flight, statistics->sends_in_flight);
  append_sends (string, "at most", statistics->peak_bytes_in_flight, statistics->peak_sends_in_flight);
  if (statistics->sends_in_flight == 0)
    return;

  g_string_append_printf (string, "  oldest send: %" G_GINT64_FORMAT ".%03d ms ago\n", age / 1000, (int) (age % 1000));
}

/**
 * zcio_statistics_to_string:
 * @statistics: a #ZcioStatistics
 *
 * Describes @statistics for a person to read, for instance in a log: several lines,
 * the last one without a newline. The text is not translated, and not meant to be
 * parsed: it may change with any version.
 *
 * Returns: (transfer full): the text, to be freed with g_free()
 *
 * Since: 1.0
 */
char *
zcio_statistics_to_string (const ZcioStatistics *statistics)
{
  GString *string;

  g_return_val_if_fail (statistics != NULL, NULL);

  string = g_string_new (NULL);
  append_written (string, statistics);
  append_in_flight (string, statistics);
  g_string_append_printf (string,
                          "error queue: %" G_GUINT64_FORMAT " reads, "
                          "%" G_GUINT64_FORMAT " notifications, "
                          "%" G_GUINT64_FORMAT " foreign records\n",
                          statistics->error_queue_reads,
                          statistics->notifications,
                          statistics->foreign_records);
  g_string_append_printf (string,
                          "ENOBUFS: %" G_GUINT64_FORMAT ", of these "
                          "%" G_GUINT64_FORMAT " cured by draining, "
                          "%" G_GUINT64_FORMAT " congested, "
                          "%" G_GUINT64_FORMAT " limited\n",
                          statistics->enobufs,
                          statistics->enobufs_cured_by_drain,
                          statistics->enobufs_congested,
                          statistics->enobufs_limited);
  g_string_append_printf (string,
                          "reaper dispatches: %" G_GUINT64_FORMAT "\n"
                          "system calls: %" G_GUINT64_FORMAT,
                          statistics->reaper_dispatches,
                          statistics->system_calls);

  return g_string_free (string, FALSE);
}
