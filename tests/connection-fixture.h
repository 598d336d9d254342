/* connection-fixture.h - two connections that are each other's peer
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <zcio/zcio.h>

#include "test-util.h"

G_BEGIN_DECLS

typedef struct
{
  GIOStream *connection;
  GSocket *socket;
  GInputStream *input;
  GOutputStream *output;
  ZcioSocketStream *stream; /* the same as @output */
} ConnectionEnd;

typedef struct
{
  ConnectionEnd near;
  ConnectionEnd far;
  gint released;
} ConnectionFixture;

/* An end of @socket, which it owns. */
void     connection_end_init          (ConnectionEnd     *end,
                                       GSocket           *socket);
/* Both ends send everything by zero-copy that may go so. FALSE if the test was skipped. */
gboolean connection_fixture_set_up    (ConnectionFixture *fixture,
                                       ZcioTestFamily     family,
                                       int                buffer_size);
void     connection_fixture_tear_down (ConnectionFixture *fixture);
void     connection_end_clear         (ConnectionEnd     *end);

/* Writes the pattern from @position on, at once. */
void     connection_end_write         (ConnectionEnd     *end,
                                       guint64            position,
                                       gsize              size,
                                       gint              *released);
/* Writes the pattern until the socket takes no more; returns the position after it, and
 * how many buffers it took.
 */
guint64  connection_end_fill          (ConnectionEnd     *end,
                                       guint64            position,
                                       gint              *n_buffers,
                                       gint              *released);
/* Reads @size bytes, blocking, and checks them. */
void     connection_end_read          (ConnectionEnd     *end,
                                       guint64            position,
                                       gsize              size);
guint64  connection_end_get_sends_in_flight (ConnectionEnd *end);
/* Waits until nobody lingers any more. */
void     connection_wait_for_linger   (void);

G_END_DECLS
