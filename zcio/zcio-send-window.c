/* zcio-send-window.c - which sends are in flight, and who owns their memory
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-send-window-private.h"

#include <string.h>

/* A power of two, so that the place of a send in the ring is a mask away. */
#define INITIAL_CAPACITY 8

/* Writes kept for reuse; as many as this begin and end without an allocation. */
#define MAX_UNUSED_WRITES 1024

/* A larger array of owners is not kept with an unused write. */
#define MAX_KEPT_OWNERS 1024

/* There are 2^32 ids. */
#define N_IDS (G_GUINT64_CONSTANT (1) << 32)

/* Writes */

static void
write_free (ZcioWrite *write)
{
  g_free (write->more_owners);
  g_free (write);
}

static void
write_check_records (ZcioWrite *write)
{
  gint64 now = g_get_monotonic_time ();

  for (GSList *l = write->records; l != NULL; l = l->next)
    zcio_debug_record_check (l->data, now);

  g_slist_free_full (g_steal_pointer (&write->records), (GDestroyNotify) zcio_debug_record_free);
}

static void
write_call_out (ZcioWrite *write)
{
  GDestroyNotify release = g_steal_pointer (&write->release);
  gpointer release_data = g_steal_pointer (&write->release_data);
  gsize n_more_owners = write->n_more_owners;

  write->n_more_owners = 0;

  if (G_UNLIKELY (write->records != NULL))
    write_check_records (write);

  if (release != NULL)
    release (release_data);

  g_clear_pointer (&write->owner, g_bytes_unref);
  for (gsize i = 0; i < n_more_owners; i++)
    g_bytes_unref (write->more_owners[i]);
}

void
zcio_write_add_more_bytes (ZcioWrite *write,
                           GBytes *bytes)
{
  if (write->n_more_owners == write->more_owners_capacity)
    {
      write->more_owners_capacity = MAX (write->more_owners_capacity * 2, 8);
      write->more_owners = g_renew (GBytes *, write->more_owners, write->more_owners_capacity);
    }

  write->more_owners[write->n_more_owners++] = g_bytes_ref (bytes);
}

void
zcio_write_add_record (ZcioWrite *write,
                       ZcioDebugRecord *record)
{
  g_return_if_fail (!write->ended);

  write->records = g_slist_prepend (write->records, record);
}

void
zcio_write_set_release (ZcioWrite *write,
                        GDestroyNotify release,
                        gpointer release_data)
{
  g_return_if_fail (!write->ended);
  g_return_if_fail (write->release == NULL);

  write->release = release;
  write->release_data = release_data;
}

/* What was released */

void
zcio_released_append (ZcioReleased *released,
                      ZcioWrite *write)
{
  write->next = NULL;

  if (released->tail != NULL)
    released->tail->next = write;
  else
    released->head = write;

  released->tail = write;
}

static ZcioWrite *
released_pop (ZcioReleased *released)
{
  ZcioWrite *write = released->head;

  if (write != NULL)
    {
      released->head = write->next;
      if (released->head == NULL)
        released->tail = NULL;
      write->next = NULL;
    }

  return write;
}

/* The list belongs to the caller alone, so whatever the release functions call
 * cannot reach it.
 */
void
zcio_released_call_out (ZcioReleased *released)
{
  for (ZcioWrite *write = released->head; write != NULL; write = write->next)
    write_call_out (write);
}

void
zcio_released_free (ZcioReleased *released)
{
  ZcioWrite *write;

  while ((write = released_pop (released)) != NULL)
    write_free (write);
}

/* The window */

void
zcio_send_window_init (ZcioSendWindow *window,
                       gboolean base_known)
{
  memset (window, 0, sizeof *window);
  window->base_known = base_known;
}

void
zcio_send_window_clear (ZcioSendWindow *window)
{
  g_return_if_fail (window->sends_in_flight == 0);

  while (window->unused != NULL)
    {
      ZcioWrite *write = window->unused;

      window->unused = write->next;
      write_free (write);
    }

  window->n_unused = 0;
  g_clear_pointer (&window->sends, g_free);
  window->capacity = 0;
}

/* The ring is only allocated when there is something to put into it: many streams
 * never send by zero-copy.
 */
void
zcio_send_window_grow (ZcioSendWindow *window)
{
  guint capacity = window->capacity != 0 ? window->capacity * 2 : INITIAL_CAPACITY;
  ZcioSend *sends = g_new (ZcioSend, capacity);

  for (guint64 number = window->first; number < window->next; number++)
    sends[number & (capacity - 1)] = *zcio_send_window_get_send (window, number);

  g_free (window->sends);
  window->sends = sends;
  window->capacity = capacity;
}

/* Releases what is in flight of the sends from number @start to before @end, which
 * must be within the window.
 */
static guint
release_numbers (ZcioSendWindow *window,
                 guint64 start,
                 guint64 end,
                 gboolean copied,
                 ZcioReleased *released)
{
  guint n_sends = 0;
  guint64 n_bytes = 0;

  for (guint64 number = start; number < end; number++)
    {
      ZcioSend *send = zcio_send_window_get_send (window, number);
      ZcioWrite *write = g_steal_pointer (&send->write);

      if (write == NULL)
        continue;

      n_sends++;
      n_bytes += send->size;

      write->sends_in_flight--;
      if (write->ended && write->sends_in_flight == 0)
        zcio_released_append (released, write);
    }

  window->sends_in_flight -= n_sends;
  window->bytes_in_flight -= n_bytes;

  released->sends += n_sends;
  released->bytes += n_bytes;
  if (copied)
    {
      released->copied_sends += n_sends;
      released->copied_bytes += n_bytes;
    }

  return n_sends;
}

static void
advance_first (ZcioSendWindow *window)
{
  while (window->first < window->next && zcio_send_window_get_send (window, window->first)->write == NULL)
    window->first++;
}

guint
zcio_send_window_release (ZcioSendWindow *window,
                          const ZcioNotification *notification,
                          ZcioReleased *released)
{
  guint64 length = zcio_notification_get_length (notification);
  guint64 span = window->next - window->first;
  guint64 start, end;
  guint n_sends = 0;

  if (!window->base_known && window->sends_in_flight > 0)
    {
      g_return_val_if_fail (window->sends_in_flight == 1, 0);

      window->base = notification->last - (guint32) window->first;
      window->base_known = TRUE;
    }

  /* From here on ids are counted from the oldest send in flight on, modulo 2^32.
   * A range that goes beyond 2^32 so has two parts: up to there, and from 0 on.
   * Each is cut to the window before anything is looped over.
   */
  if (window->base_known)
    {
      start = (guint32) (notification->first - (window->base + (guint32) window->first));
      end = start + length;

      if (start < span)
        n_sends += release_numbers (window,
                                    window->first + start,
                                    window->first + MIN (end, span),
                                    notification->copied,
                                    released);
      if (end > N_IDS)
        n_sends += release_numbers (window,
                                    window->first,
                                    window->first + MIN (end - N_IDS, span),
                                    notification->copied,
                                    released);
    }

  window->unknown_ids += length - n_sends;
  advance_first (window);

  return n_sends;
}

void
zcio_send_window_release_all (ZcioSendWindow *window,
                              ZcioReleased *released)
{
  release_numbers (window, window->first, window->next, FALSE, released);
  window->first = window->next;
}

gint64
zcio_send_window_get_oldest (const ZcioSendWindow *window)
{
  if (window->sends_in_flight == 0)
    return 0;

  return zcio_send_window_get_send (window, window->first)->time;
}

void
zcio_send_window_reuse (ZcioSendWindow *window,
                        ZcioReleased *released)
{
  ZcioWrite *write;

  while ((write = released_pop (released)) != NULL)
    {
      if (window->n_unused == MAX_UNUSED_WRITES)
        {
          write_free (write);
          continue;
        }

      if (write->more_owners_capacity > MAX_KEPT_OWNERS)
        {
          g_clear_pointer (&write->more_owners, g_free);
          write->more_owners_capacity = 0;
        }

      write->next = window->unused;
      window->unused = write;
      window->n_unused++;
    }
}
