/* zcio-send-window-private.h - which sends are in flight, and who owns their memory
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

#include "zcio-debug-private.h"
#include "zcio-error-queue-private.h"

G_BEGIN_DECLS

typedef struct _ZcioWrite ZcioWrite;
typedef struct _ZcioSend ZcioSend;

/*
 * What a user's write holds on to while the kernel reads it. One write may take
 * several sends; it is released once, when it has ended and its last send is back.
 */

/*
 * ZcioReleased:
 * @sends: sends that came back
 * @bytes: bytes of these
 * @copied_sends: of @sends, those that the kernel said it had copied
 * @copied_bytes: bytes of these
 *
 * What a call released. It is filled in under a lock, and given to
 * zcio_released_call_out() without it.
 */
typedef struct
{
  ZcioWrite *head;
  ZcioWrite *tail;
  guint sends;
  guint64 bytes;
  guint copied_sends;
  guint64 copied_bytes;
} ZcioReleased;

#define ZCIO_RELEASED_INIT { NULL, NULL, 0, 0, 0, 0 }

/*
 * ZcioSendWindow:
 * @sends: ring of sends; the send with the 64-bit number n is at n modulo @capacity
 * @first: number of the oldest send that is still in flight
 * @next: number of the next send
 * @base: the kernel's id of the send with number 0; ids are modulo 2^32
 * @base_known: FALSE until the first notification has told @base
 *
 * Initialize with zcio_send_window_init(). It has no lock: its user has one.
 */
typedef struct
{
  ZcioSend *sends;
  guint capacity;
  guint64 first;
  guint64 next;
  guint32 base;
  gboolean base_known;
  guint64 sends_in_flight;
  guint64 bytes_in_flight;
  guint64 peak_sends_in_flight;
  guint64 peak_bytes_in_flight;
  guint64 unknown_ids;
  ZcioWrite *unused;
  guint n_unused;
} ZcioSendWindow;

void       zcio_send_window_init        (ZcioSendWindow         *window,
                                         gboolean                base_known);
/* Nothing may be in flight. */
void       zcio_send_window_clear       (ZcioSendWindow         *window);

/* A write begins without owners. */
ZcioWrite *zcio_send_window_begin       (ZcioSendWindow         *window);
/* Adds a reference to what the write owns. */
void       zcio_write_add_bytes         (ZcioWrite              *write,
                                         GBytes                 *bytes);
/* At most one for a write. */
void       zcio_write_set_release       (ZcioWrite              *write,
                                         GDestroyNotify          release,
                                         gpointer                release_data);
/* Takes a record that is checked before the owners are released: has the program written to
 * the memory?
 */
void       zcio_write_add_record        (ZcioWrite              *write,
                                         ZcioDebugRecord        *record);
/* Records a send of a write: it takes the next id. @now is in microseconds. */
void       zcio_send_window_add         (ZcioSendWindow         *window,
                                         ZcioWrite              *write,
                                         gsize                   size,
                                         gint64                  now);
/* No more sends come for this write. If none is in flight, it is released. */
void       zcio_send_window_end         (ZcioSendWindow         *window,
                                         ZcioWrite              *write,
                                         ZcioReleased           *released);
/* Releases each send in the range that is in flight; ids that are not are counted
 * in @unknown_ids and change nothing. Returns the sends that were.
 */
guint      zcio_send_window_release     (ZcioSendWindow         *window,
                                         const ZcioNotification *notification,
                                         ZcioReleased           *released);
/* Releases all that is in flight. */
void       zcio_send_window_release_all (ZcioSendWindow         *window,
                                         ZcioReleased           *released);
/* When the oldest send in flight was sent, 0 if there is none. */
gint64     zcio_send_window_get_oldest  (const ZcioSendWindow   *window);

/* Calls the release functions and drops the references: never with a lock held. Checks the
 * records first. The writes stay on the list, for zcio_send_window_reuse().
 */
void       zcio_released_call_out       (ZcioReleased           *released);
/* Takes writes back whose release has been called out, and empties the list. */
void       zcio_send_window_reuse       (ZcioSendWindow         *window,
                                         ZcioReleased           *released);
/* Frees writes whose release has been called out, where there is no window. */
void       zcio_released_free           (ZcioReleased           *released);

G_END_DECLS
