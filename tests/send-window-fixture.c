/* send-window-fixture.c - a send window, and buffers that count when they go
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <string.h>

#include "send-window-fixture.h"

void
send_window_set_up (SendWindowFixture *fixture,
                    gconstpointer data)
{
  memset (fixture, 0, sizeof *fixture);
  zcio_send_window_init (&fixture->window, TRUE);
}

void
send_window_tear_down (SendWindowFixture *fixture,
                       gconstpointer data)
{
  g_assert_null (fixture->released.head);
  g_assert_null (fixture->released.tail);
  g_assert_cmpuint (fixture->window.sends_in_flight, ==, 0);
  g_assert_cmpuint (fixture->window.bytes_in_flight, ==, 0);
  g_assert_cmpuint (fixture->window.first, ==, fixture->window.next);
  zcio_send_window_clear (&fixture->window);
}

void
count_call (gpointer data)
{
  (*(guint *) data)++;
}

GBytes *
counted_bytes_new (guint *counter)
{
  return g_bytes_new_with_free_func ("data", 4, count_call, counter);
}

ZcioWrite *
begin_write (SendWindowFixture *fixture,
             guint *counter)
{
  ZcioWrite *write = zcio_send_window_begin (&fixture->window);
  g_autoptr (GBytes) bytes = counted_bytes_new (counter);

  zcio_write_add_bytes (write, bytes);

  return write;
}

void
send_one (SendWindowFixture *fixture,
          guint *counter,
          gsize size)
{
  ZcioWrite *write = begin_write (fixture, counter);

  zcio_send_window_add (&fixture->window, write, size, 0);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
}

void
send_many (SendWindowFixture *fixture,
           guint *counters,
           guint n)
{
  for (guint i = 0; i < n; i++)
    send_one (fixture, &counters[i], 100);
}

void
call_out (SendWindowFixture *fixture)
{
  zcio_released_call_out (&fixture->released);
  zcio_send_window_reuse (&fixture->window, &fixture->released);
}

guint
notify_range (SendWindowFixture *fixture,
              guint32 first,
              guint32 last)
{
  ZcioNotification notification = { first, last, FALSE };
  guint n = zcio_send_window_release (&fixture->window, &notification, &fixture->released);

  call_out (fixture);

  return n;
}

void
assert_counters (const guint *counters,
                 const char *expected)
{
  for (guint i = 0; expected[i] != '\0'; i++)
    g_assert_cmpuint (counters[i], ==, (guint) (expected[i] - '0'));
}
