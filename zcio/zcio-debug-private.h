/* zcio-debug-private.h - finds programs that write to memory which the kernel reads
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>
#include <sys/uio.h>

G_BEGIN_DECLS

/*
 * ZcioDebugFlags:
 * @ZCIO_DEBUG_CHECKSUM: compare what was sent with what is there on release
 * @ZCIO_DEBUG_PROTECT: memory of a #ZcioBufferPool cannot be written to between
 *   zcio_buffer_to_bytes() and its return to the pool
 *
 * What the environment variable ZCIO_DEBUG asks for: the words "checksum" and
 * "protect", or "all". "help" logs them.
 */
typedef enum
{
  ZCIO_DEBUG_NONE = 0,
  ZCIO_DEBUG_CHECKSUM = 1 << 0,
  ZCIO_DEBUG_PROTECT = 1 << 1
} ZcioDebugFlags;

/* The environment is read at the first call. */
ZcioDebugFlags zcio_debug_get_flags    (void);
/* @value may be NULL. Words that mean nothing are named in a warning. */
ZcioDebugFlags zcio_debug_parse        (const char         *value);

/* Fast, and never equal if only one aligned 8-byte word differs; but any hash of its
 * kind: it is no help against malice.
 */
guint64        zcio_debug_checksum     (gconstpointer       data,
                                        gsize               size);

/*
 * ZcioDebugRecord:
 *
 * What a send was made of, and what was in it then.
 */
typedef struct _ZcioDebugRecord ZcioDebugRecord;

/* Of the first @size bytes of @vectors, which is all if they are fewer. @now is in
 * microseconds. The vectors are copied; the memory that they point to must stay until
 * the check.
 */
ZcioDebugRecord *zcio_debug_record_new (const struct iovec *vectors,
                                        gsize               n_vectors,
                                        gsize               size,
                                        gint64              now);
/* FALSE, and a report, if something changed. */
gboolean       zcio_debug_record_check (ZcioDebugRecord    *record,
                                        gint64              now);
void           zcio_debug_record_free  (ZcioDebugRecord    *record);

/* Logs a critical message: a send of @size bytes, @age microseconds ago, and in it the
 * @part_size bytes at @address, were not left alone.
 */
void           zcio_debug_report_change (gsize              size,
                                         gint64             age,
                                         gconstpointer      address,
                                         gsize              part_size);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ZcioDebugRecord, zcio_debug_record_free)

G_END_DECLS
