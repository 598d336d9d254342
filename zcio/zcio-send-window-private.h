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

/*
 * ZcioWrite:
 * @next: the next write on a list of released or of unused ones
 * @sends_in_flight: sends of this write that are not back
 * @owner: the first owner. Most writes have just one, and need no array
 * @n_more_owners: the other owners
 * @records: (element-type ZcioDebugRecord): what was sent; NULL unless a program is debugged
 * @ended: whether no more sends come
 *
 * What a user's write holds on to while the kernel reads it. One write may take
 * several sends; it is released once, when it has ended and its last send is back.
 */
struct _ZcioWrite
{
  ZcioWrite *next;
  guint64 sends_in_flight;
  GBytes *owner;
  gsize n_more_owners;
  GDestroyNotify release;
  gpointer release_data;
  GSList *records;
  gboolean ended;

  GBytes **more_owners;
  gsize more_owners_capacity;
};

/*
 * ZcioSend:
 * @write: the write that it is a part of; %NULL when the send is back
 */
typedef struct
{
  ZcioWrite *write;
  gsize size;
  gint64 time;
} ZcioSend;

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
static inline ZcioWrite *
zcio_send_window_begin (ZcioSendWindow *window)
{
  ZcioWrite *write = window->unused;

  if (G_UNLIKELY (write == NULL))
    return g_new0 (ZcioWrite, 1);

  window->unused = write->next;
  window->n_unused--;
  write->next = NULL;
  write->ended = FALSE;

  return write;
}

void       zcio_write_add_more_bytes    (ZcioWrite              *write,
                                         GBytes                 *bytes);

/* Adds a reference to what the write owns. */
static inline void
zcio_write_add_bytes (ZcioWrite *write,
                      GBytes    *bytes)
{
  if (G_LIKELY (write->owner == NULL))
    write->owner = g_bytes_ref (bytes);
  else
    zcio_write_add_more_bytes (write, bytes);
}

/* At most one for a write. */
void       zcio_write_set_release       (ZcioWrite              *write,
                                         GDestroyNotify          release,
                                         gpointer                release_data);
/* Takes a record that is checked before the owners are released: has the program written to
 * the memory?
 */
void       zcio_write_add_record        (ZcioWrite              *write,
                                         ZcioDebugRecord        *record);
static inline ZcioSend *
zcio_send_window_get_send (const ZcioSendWindow *window,
                           guint64               number)
{
  return &window->sends[number & (window->capacity - 1)];
}

void       zcio_send_window_grow        (ZcioSendWindow         *window);

/* Records a send of a write: it takes the next id. @now is in microseconds. */
static inline void
zcio_send_window_add (ZcioSendWindow *window,
                      ZcioWrite      *write,
                      gsize           size,
                      gint64          now)
{
  if (G_UNLIKELY (window->next - window->first == window->capacity))
    zcio_send_window_grow (window);

  *zcio_send_window_get_send (window, window->next) = (ZcioSend) { write, size, now };
  window->next++;
  write->sends_in_flight++;

  window->sends_in_flight++;
  window->bytes_in_flight += size;
  if (window->sends_in_flight > window->peak_sends_in_flight)
    window->peak_sends_in_flight = window->sends_in_flight;
  if (window->bytes_in_flight > window->peak_bytes_in_flight)
    window->peak_bytes_in_flight = window->bytes_in_flight;
}

/* For the window alone. */
void       zcio_released_append         (ZcioReleased           *released,
                                         ZcioWrite              *write);

/* No more sends come for this write. If none is in flight, it is released. */
static inline void
zcio_send_window_end (ZcioSendWindow *window,
                      ZcioWrite      *write,
                      ZcioReleased   *released)
{
  g_return_if_fail (!write->ended);

  write->ended = TRUE;
  if (write->sends_in_flight == 0)
    zcio_released_append (released, write);
}

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
