/* conformance.h - test cases that run on GIO's socket stream and on ZcioSocketStream
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <zcio/zcio.h>

G_BEGIN_DECLS

typedef enum
{
  CONFORMANCE_GIO,          /* what a GSocketConnection has */
  CONFORMANCE_ZCIO,
  CONFORMANCE_ZCIO_UNREAD,  /* with an unread completion in the error queue */
  CONFORMANCE_N_KINDS
} ConformanceKind;

/* One stream of one kind. What is sent first by CONFORMANCE_ZCIO_UNREAD is taken away by
 * conformance_read ().
 */
typedef struct
{
  ConformanceKind kind;
  const char *path;
  guint n_errors;
  GSocket *socket;
  GSocket *peer;
  GSocketConnection *connection;
  GOutputStream *stream;
  gsize to_skip;
} Conformance;

typedef void (*ConformanceFunc) (Conformance *c);

/* Adds the case once for each kind; GIO's own stream comes first. */
void     conformance_add           (const char       *path,
                                    ConformanceFunc   func);

gboolean conformance_is_gio        (Conformance      *c);

/* Checks the error, frees it, and checks that its words are the same as those that
 * GIO's stream had at this place of the case.
 */
void     conformance_assert_error  (Conformance      *c,
                                    GError          **error,
                                    GIOErrorEnum      code);
/* The same where the code depends on the kernel. */
void     conformance_assert_same_error (Conformance   *c,
                                        GError       **error);

/* Writes the pattern until the socket takes no more; returns how much it took. */
gsize    conformance_fill          (Conformance      *c);
/* Reads so much at the peer, and checks that it is the pattern from @position on. */
void     conformance_read          (Conformance      *c,
                                    guint64           position,
                                    gsize             size);
/* Checks that the peer has nothing to read, now that all that was written before was
 * read: writes a byte, by the socket, and reads it.
 */
void     conformance_assert_nothing_more (Conformance *c);
/* The peer resets the connection; returns when that has arrived. */
void     conformance_reset         (Conformance      *c);
/* Closes the socket; what is in flight comes back before. */
void     conformance_close_socket  (Conformance      *c);
/* How much the peer has not read. */
gsize    conformance_get_unread    (Conformance      *c);

G_END_DECLS
