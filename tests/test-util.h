/* test-util.h - what the tests share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* How long a test waits for something that must happen, before it fails. It is
 * only a guard against a hang; ZCIO_TEST_PATIENCE in the environment multiplies it.
 */
#define ZCIO_TEST_GUARD_SECONDS 30

gint64   zcio_test_get_deadline         (void);

/* Seeds. The first call prints the seed; ZCIO_TEST_SEED in the environment replays it. */
guint64  zcio_test_get_seed             (void);
/* How many histories to try: @rounds, unless ZCIO_TEST_ROUNDS says otherwise. */
guint64  zcio_test_get_rounds           (guint64 rounds);

/* The next number of a reproducible sequence (splitmix64). */
guint64  zcio_test_random               (guint64 *state);
/* From @first to @last, both included. */
guint64  zcio_test_random_range         (guint64 *state,
                                         guint64  first,
                                         guint64  last);
/* TRUE @percent times in a hundred. */
gboolean zcio_test_random_chance        (guint64 *state,
                                         guint    percent);

/* A pattern that says at every byte where in the stream it belongs, so that bytes
 * that were changed, moved, lost or doubled are found.
 */
void     zcio_test_pattern_fill         (guint64        position,
                                         gpointer       data,
                                         gsize          size);
/* The offset of the first wrong byte, or @size if there is none. */
gsize    zcio_test_pattern_check        (guint64        position,
                                         gconstpointer  data,
                                         gsize          size);
/* Bytes of the pattern. When they are freed, they are overwritten first, and
 * *@released, if not NULL, is incremented (atomically).
 */
GBytes  *zcio_test_pattern_bytes        (guint64        position,
                                         gsize          size,
                                         gint          *released);

typedef enum
{
  ZCIO_TEST_FAMILY_IPV4,
  ZCIO_TEST_FAMILY_IPV6,
  ZCIO_TEST_FAMILY_V4_MAPPED,
  ZCIO_TEST_FAMILY_UNIX
} ZcioTestFamily;

const char *zcio_test_family_to_string  (ZcioTestFamily family);
/* A connected pair; over loopback, if not UNIX. @buffer_size is for SO_SNDBUF and
 * SO_RCVBUF of both; 0 leaves them. Marks the test as skipped and returns FALSE if
 * this host has no such family.
 */
gboolean zcio_test_socket_pair          (ZcioTestFamily family,
                                         int            buffer_size,
                                         GSocket      **first,
                                         GSocket      **second);

/* A thread that reads a socket until its end, and checks what it reads. */
typedef struct _ZcioTestReader ZcioTestReader;

typedef enum
{
  ZCIO_TEST_READER_DEFAULT = 0,
  ZCIO_TEST_READER_PAUSED = 1 << 0,      /* reads nothing before it is resumed */
  ZCIO_TEST_READER_NO_PATTERN = 1 << 1,  /* what comes is not the pattern */
  ZCIO_TEST_READER_SHA256 = 1 << 2,
  ZCIO_TEST_READER_SLOW = 1 << 3         /* reads little at a time */
} ZcioTestReaderFlags;

/* The pattern is expected from @position on. */
ZcioTestReader *zcio_test_reader_new    (GSocket             *socket,
                                         guint64              position,
                                         ZcioTestReaderFlags  flags);
/* When it returns, the thread reads nothing more until it is resumed. */
void     zcio_test_reader_pause         (ZcioTestReader      *reader);
void     zcio_test_reader_resume        (ZcioTestReader      *reader);
guint64  zcio_test_reader_get_received  (ZcioTestReader      *reader);
void     zcio_test_reader_wait_received (ZcioTestReader      *reader,
                                         guint64              size);
/* Waits for the end of the stream, fails the test if a byte was wrong, frees the
 * reader and returns how many bytes came. *@error_number is the errno with which
 * reading ended, or 0; if it is NULL, that must be 0. *@sha256 is the checksum.
 */
guint64  zcio_test_reader_finish        (ZcioTestReader      *reader,
                                         int                 *error_number,
                                         char               **sha256);

/* CPU time, in microseconds. */
gint64   zcio_test_get_thread_cpu_time  (void);
gint64   zcio_test_get_process_cpu_time (void);

/* Runs the context for so long, and returns how often it polled meanwhile: a source
 * that spins shows as thousands.
 */
guint    zcio_test_run_for              (GMainContext *context,
                                         guint         milliseconds);
/* Polls of all contexts that zcio_test_count_polls() was called for. */
void     zcio_test_count_polls          (GMainContext *context);
guint    zcio_test_get_polls            (void);

/* Iterates the context until the expression is true. */
#define zcio_test_wait_until(context, expression)                          \
  G_STMT_START                                                             \
  {                                                                        \
    gint64 zcio_test_deadline = zcio_test_get_deadline ();                 \
                                                                           \
    while (!(expression))                                                  \
      zcio_test_wait_step ((context), zcio_test_deadline,                  \
                           __FILE__, __LINE__, G_STRFUNC, #expression);    \
  }                                                                        \
  G_STMT_END

void     zcio_test_wait_step            (GMainContext *context,
                                         gint64        deadline,
                                         const char   *file,
                                         int           line,
                                         const char   *function,
                                         const char   *expression);

/* Stores the result of an asynchronous call: a GAsyncReadyCallback whose data is a
 * GAsyncResult *, NULL before.
 */
void     zcio_test_store_result         (GObject      *source,
                                         GAsyncResult *result,
                                         gpointer      data);

/* Cancels a GCancellable, but not at once: a GThreadFunc. */
gpointer zcio_test_cancel_soon          (gpointer cancellable);

/*
 * Runs the rest of the test case in a process of its own, in a network namespace of
 * its own, whose loopback interface is up. Call it first in a test case:
 *
 *   if (!zcio_test_in_namespace (0))
 *     return;
 *
 * It returns TRUE in that process; and FALSE in the test program, after that process
 * has succeeded, or after the test was marked as skipped because it may not. Unless
 * @optmem_max is 0, net.core.optmem_max is set to it.
 */
gboolean zcio_test_in_namespace         (int optmem_max);

G_END_DECLS
