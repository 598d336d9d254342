/* zcio-statistics.h - what a stream did, as a snapshot
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(ZCIO_INSIDE) && !defined(ZCIO_COMPILATION)
#error "Only <zcio/zcio.h> can be included directly."
#endif

#include <glib-object.h>
#include <zcio/zcio-version-macros.h>

G_BEGIN_DECLS

#define ZCIO_TYPE_STATISTICS (zcio_statistics_get_type ())

typedef struct _ZcioStatistics ZcioStatistics;

/**
 * ZcioStatistics:
 * @bytes_written: bytes accepted by the kernel in all; the sum of the next four
 * @bytes_zero_copied: bytes sent by zero-copy, not counting those that the
 *   kernel is known to have copied after all
 * @bytes_copied_by_kernel: bytes sent by zero-copy that the kernel reported as
 *   copied. A hint: a merged notification carries the flag of its first send
 * @bytes_copied_by_choice: bytes not sent by zero-copy because the caller or the
 *   policy wanted it. Those among @spliced_bytes were not even copied: the kernel
 *   shared the pages of the file or pipe with the socket
 * @bytes_copied_for_enobufs: bytes copied because the kernel answered a
 *   zero-copy send with ENOBUFS, or could not reach the memory without a copy
 * @sends_zero_copied: sends that make up @bytes_zero_copied
 * @sends_copied_by_kernel: sends that make up @bytes_copied_by_kernel
 * @sends_copied_by_choice: sends that make up @bytes_copied_by_choice
 * @sends_copied_for_enobufs: sends that make up @bytes_copied_for_enobufs
 * @notifications: notifications read from the error queue
 * @foreign_records: records of the error queue that were not notifications of
 *   this stream, such as timestamps
 * @error_queue_reads: times that the error queue was read until it was empty
 *   or the limit for one go was reached
 * @enobufs: times that the kernel answered ENOBUFS
 * @enobufs_cured_by_drain: of these, the ones after which zero-copy worked when
 *   the error queue had been drained
 * @enobufs_congested: of these, the ones met with sends in flight that were
 *   solved by a copy
 * @enobufs_limited: of these, the ones met with nothing in flight that were
 *   solved by a copy
 * @sends_in_flight: sends whose buffers the kernel still reads
 * @bytes_in_flight: bytes of these sends
 * @peak_sends_in_flight: the most that @sends_in_flight has been
 * @peak_bytes_in_flight: the most that @bytes_in_flight has been
 * @oldest_send_age: time since the oldest send in flight, in microseconds, some
 *   milliseconds more or less; 0 if there is none
 * @reaper_dispatches: times that the main loop woke to reap
 * @system_calls: calls into the kernel to send, to map what is sent, to read the
 *   error queue and to wait
 * @spliced_bytes: of @bytes_written, bytes that g_output_stream_splice() sent from a
 *   file or pipe without reading them into memory of the program: by zero-copy from a
 *   mapping of the file, which counts as that, or by sendfile() and splice(), which
 *   count as @bytes_copied_by_choice
 *
 * What a #ZcioSocketStream did so far. All streams of one socket share their
 * counts.
 *
 * Since: 1.0
 */
struct _ZcioStatistics
{
  guint64 bytes_written;
  guint64 bytes_zero_copied;
  guint64 bytes_copied_by_kernel;
  guint64 bytes_copied_by_choice;
  guint64 bytes_copied_for_enobufs;
  guint64 sends_zero_copied;
  guint64 sends_copied_by_kernel;
  guint64 sends_copied_by_choice;
  guint64 sends_copied_for_enobufs;
  guint64 notifications;
  guint64 foreign_records;
  guint64 error_queue_reads;
  guint64 enobufs;
  guint64 enobufs_cured_by_drain;
  guint64 enobufs_congested;
  guint64 enobufs_limited;
  guint64 sends_in_flight;
  guint64 bytes_in_flight;
  guint64 peak_sends_in_flight;
  guint64 peak_bytes_in_flight;
  gint64 oldest_send_age;
  guint64 reaper_dispatches;
  guint64 system_calls;
  guint64 spliced_bytes;

  /*< private >*/
  guint64 padding[8];
};

ZCIO_AVAILABLE_IN_1_0
GType zcio_statistics_get_type (void);
ZCIO_AVAILABLE_IN_1_0
ZcioStatistics *zcio_statistics_copy (const ZcioStatistics *statistics) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
void zcio_statistics_free (ZcioStatistics *statistics);
ZCIO_AVAILABLE_IN_1_0
char *zcio_statistics_to_string (const ZcioStatistics *statistics) G_GNUC_WARN_UNUSED_RESULT;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ZcioStatistics, zcio_statistics_free)

G_END_DECLS
