/* test-send-window.c - which sends are in flight, and who owns their memory
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <string.h>

#include "zcio/zcio-send-window-private.h"

/* The linker sends each allocation by GLib's allocator here first. */

static guint n_allocations;

#define WRAP_ALLOCATOR(name, arguments, values) \
  gpointer __real_##name arguments;             \
  gpointer __wrap_##name arguments;             \
  gpointer __wrap_##name arguments              \
  {                                             \
    n_allocations++;                            \
    return __real_##name values;                \
  }

WRAP_ALLOCATOR (g_malloc, (gsize size), (size))
WRAP_ALLOCATOR (g_malloc0, (gsize size), (size))
WRAP_ALLOCATOR (g_realloc, (gpointer memory, gsize size), (memory, size))
WRAP_ALLOCATOR (g_malloc_n, (gsize n, gsize size), (n, size))
WRAP_ALLOCATOR (g_malloc0_n, (gsize n, gsize size), (n, size))
WRAP_ALLOCATOR (g_realloc_n, (gpointer memory, gsize n, gsize size), (memory, n, size))

typedef struct
{
  ZcioSendWindow window;
  ZcioReleased released;
} Fixture;

static void
set_up (Fixture *fixture,
        gconstpointer data)
{
  memset (fixture, 0, sizeof *fixture);
  zcio_send_window_init (&fixture->window, TRUE);
}

static void
tear_down (Fixture *fixture,
           gconstpointer data)
{
  g_assert_null (fixture->released.head);
  g_assert_null (fixture->released.tail);
  g_assert_cmpuint (fixture->window.sends_in_flight, ==, 0);
  g_assert_cmpuint (fixture->window.bytes_in_flight, ==, 0);
  g_assert_cmpuint (fixture->window.first, ==, fixture->window.next);
  zcio_send_window_clear (&fixture->window);
}

static void
count (gpointer data)
{
  (*(guint *) data)++;
}

/* Bytes that count up when they go. */
static GBytes *
counted_bytes (guint *counter)
{
  return g_bytes_new_with_free_func ("data", 4, count, counter);
}

/* A write with one buffer, which it alone owns. */
static ZcioWrite *
begin (Fixture *fixture,
       guint *counter)
{
  ZcioWrite *write = zcio_send_window_begin (&fixture->window);
  g_autoptr (GBytes) bytes = counted_bytes (counter);

  zcio_write_add_bytes (write, bytes);

  return write;
}

/* A whole write of one send. */
static void
send_one (Fixture *fixture,
          guint *counter,
          gsize size)
{
  ZcioWrite *write = begin (fixture, counter);

  zcio_send_window_add (&fixture->window, write, size, 0);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
}

static void
send_many (Fixture *fixture,
           guint *counters,
           guint n)
{
  for (guint i = 0; i < n; i++)
    send_one (fixture, &counters[i], 100);
}

static void
call_out (Fixture *fixture)
{
  zcio_released_call_out (&fixture->released);
  zcio_send_window_reuse (&fixture->window, &fixture->released);
}

static guint
notify (Fixture *fixture,
        guint32 first,
        guint32 last)
{
  ZcioNotification notification = { first, last, FALSE };
  guint n = zcio_send_window_release (&fixture->window, &notification, &fixture->released);

  call_out (fixture);

  return n;
}

static void
assert_counters (const guint *counters,
                 const char *expected)
{
  for (guint i = 0; expected[i] != '\0'; i++)
    g_assert_cmpuint (counters[i], ==, (guint) (expected[i] - '0'));
}

static void
test_in_order (Fixture *fixture,
               gconstpointer data)
{
  guint counters[4] = { 0 };

  g_test_summary ("Sends that come back one by one and in order release their buffers one by one");

  send_many (fixture, counters, 4);
  g_assert_cmpuint (fixture->window.sends_in_flight, ==, 4);
  g_assert_cmpuint (fixture->window.bytes_in_flight, ==, 400);
  assert_counters (counters, "0000");

  g_assert_cmpuint (notify (fixture, 0, 0), ==, 1);
  assert_counters (counters, "1000");
  g_assert_cmpuint (fixture->window.first, ==, 1);
  g_assert_cmpuint (notify (fixture, 1, 1), ==, 1);
  assert_counters (counters, "1100");
  g_assert_cmpuint (notify (fixture, 2, 2), ==, 1);
  g_assert_cmpuint (notify (fixture, 3, 3), ==, 1);
  assert_counters (counters, "1111");

  g_assert_cmpuint (fixture->window.peak_sends_in_flight, ==, 4);
  g_assert_cmpuint (fixture->window.peak_bytes_in_flight, ==, 400);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 0);
}

static void
test_out_of_order (Fixture *fixture,
                   gconstpointer data)
{
  guint counters[4] = { 0 };

  g_test_summary ("After a reset newer sends come back before older ones, and each has its own id");

  send_many (fixture, counters, 4);

  g_assert_cmpuint (notify (fixture, 3, 3), ==, 1);
  assert_counters (counters, "0001");
  g_assert_cmpuint (fixture->window.first, ==, 0);
  g_assert_cmpuint (notify (fixture, 1, 2), ==, 2);
  assert_counters (counters, "0111");
  g_assert_cmpuint (fixture->window.first, ==, 0);
  g_assert_cmpuint (fixture->window.sends_in_flight, ==, 1);
  g_assert_cmpuint (notify (fixture, 0, 0), ==, 1);
  assert_counters (counters, "1111");
  g_assert_cmpuint (fixture->window.first, ==, 4);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 0);
}

static void
test_merged (Fixture *fixture,
             gconstpointer data)
{
  guint counters[5] = { 0 };

  g_test_summary ("One notification can bring back several sends, and say that they were copied");

  send_many (fixture, counters, 5);

  g_assert_cmpuint (zcio_send_window_release (&fixture->window, &(ZcioNotification){ 0, 2, TRUE }, &fixture->released), ==, 3);
  g_assert_cmpuint (zcio_send_window_release (&fixture->window, &(ZcioNotification){ 3, 4, FALSE }, &fixture->released), ==, 2);
  assert_counters (counters, "00000");
  g_assert_cmpuint (fixture->released.sends, ==, 5);
  g_assert_cmpuint (fixture->released.bytes, ==, 500);
  g_assert_cmpuint (fixture->released.copied_sends, ==, 3);
  g_assert_cmpuint (fixture->released.copied_bytes, ==, 300);

  call_out (fixture);
  assert_counters (counters, "11111");
}

static void
test_split (Fixture *fixture,
            gconstpointer data)
{
  guint counter = 0;
  ZcioWrite *write = begin (fixture, &counter);

  g_test_summary ("A write whose sends come back in several notifications is released with the last of them");

  for (guint i = 0; i < 6; i++)
    zcio_send_window_add (&fixture->window, write, 10, 0);
  zcio_send_window_end (&fixture->window, write, &fixture->released);

  g_assert_cmpuint (notify (fixture, 4, 5), ==, 2);
  g_assert_cmpuint (notify (fixture, 0, 2), ==, 3);
  g_assert_cmpuint (counter, ==, 0);
  g_assert_cmpuint (notify (fixture, 3, 3), ==, 1);
  g_assert_cmpuint (counter, ==, 1);
}

static void
test_wrap (Fixture *fixture,
           gconstpointer data)
{
  guint counters[8] = { 0 };

  g_test_summary ("Ids are modulo 2^32, and a range may cross the wrap");

  fixture->window.base = G_MAXUINT32 - 2;
  send_many (fixture, counters, 8);

  g_assert_cmpuint (notify (fixture, 2, 3), ==, 2);
  assert_counters (counters, "00000110");
  g_assert_cmpuint (notify (fixture, G_MAXUINT32 - 1, 1), ==, 4);
  assert_counters (counters, "01111110");
  g_assert_cmpuint (notify (fixture, 4, 4), ==, 1);
  g_assert_cmpuint (notify (fixture, G_MAXUINT32 - 2, G_MAXUINT32 - 2), ==, 1);
  assert_counters (counters, "11111111");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 0);
}

static void
test_long_life (Fixture *fixture,
                gconstpointer data)
{
  guint counters[20] = { 0 };

  g_test_summary ("After more than 2^32 sends ids and numbers still belong together");

  fixture->window.base = 77;
  fixture->window.first = fixture->window.next = 3 * (G_GUINT64_CONSTANT (1) << 32) - 5;
  send_many (fixture, counters, 20);

  g_assert_cmpuint (notify (fixture, 72, 75), ==, 4);
  assert_counters (counters, "1111000000");
  g_assert_cmpuint (notify (fixture, 76, 78), ==, 3);
  assert_counters (counters, "1111111000");
  g_assert_cmpuint (notify (fixture, 79, 91), ==, 13);
  assert_counters (counters, "11111111111111111111");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 0);
}

static void
test_base_in_the_middle (Fixture *fixture,
                         gconstpointer data)
{
  guint counters[3] = { 0 };

  g_test_summary ("The first send need not have the id 0");

  fixture->window.base = 1000;
  send_many (fixture, counters, 3);

  g_assert_cmpuint (notify (fixture, 0, 2), ==, 0);
  assert_counters (counters, "000");
  g_assert_cmpuint (notify (fixture, 1000, 1000), ==, 1);
  g_assert_cmpuint (notify (fixture, 1001, 1002), ==, 2);
  assert_counters (counters, "111");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 3);
}

static void
test_unknown_base (Fixture *fixture,
                   gconstpointer data)
{
  guint counters[4] = { 0 };

  g_test_summary ("The notification of the first send, merged with older ones or not, tells the base of the ids");

  zcio_send_window_init (&fixture->window, FALSE);

  /* Nothing is in flight, so this says nothing about the base. */
  g_assert_cmpuint (notify (fixture, 500, 501), ==, 0);
  g_assert_false (fixture->window.base_known);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 2);

  send_one (fixture, &counters[0], 1);
  g_assert_cmpuint (notify (fixture, G_MAXUINT32 - 1, 1), ==, 1);
  assert_counters (counters, "1000");
  g_assert_true (fixture->window.base_known);
  g_assert_cmpuint (fixture->window.base, ==, 1);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 5);

  send_many (fixture, counters + 1, 3);
  g_assert_cmpuint (notify (fixture, 2, 4), ==, 3);
  assert_counters (counters, "1111");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 5);
}

static void
test_partly_copied_write (Fixture *fixture,
                          gconstpointer data)
{
  guint counters[2] = { 0 };
  ZcioWrite *write = begin (fixture, &counters[0]);

  g_test_summary ("Parts of a write that were copied take no id, and do not hold the write up");

  /* Three parts, the one in the middle by copy. */
  zcio_send_window_add (&fixture->window, write, 30, 0);
  zcio_send_window_add (&fixture->window, write, 30, 0);
  g_assert_cmpuint (notify (fixture, 0, 0), ==, 1);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
  call_out (fixture);
  g_assert_cmpuint (counters[0], ==, 0);
  g_assert_cmpuint (notify (fixture, 1, 1), ==, 1);
  g_assert_cmpuint (counters[0], ==, 1);

  /* All parts by copy. */
  write = begin (fixture, &counters[1]);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
  g_assert_cmpuint (counters[1], ==, 0);
  g_assert_cmpuint (fixture->released.sends, ==, 2);
  call_out (fixture);
  g_assert_cmpuint (counters[1], ==, 1);
}

static void
test_end_after_return (Fixture *fixture,
                       gconstpointer data)
{
  guint counter = 0;
  ZcioWrite *write = begin (fixture, &counter);

  g_test_summary ("A write whose sends are back before it has ended is released when it ends, not before");

  zcio_send_window_add (&fixture->window, write, 1, 0);
  g_assert_cmpuint (notify (fixture, 0, 0), ==, 1);
  zcio_send_window_add (&fixture->window, write, 1, 0);
  g_assert_cmpuint (notify (fixture, 1, 1), ==, 1);
  g_assert_cmpuint (counter, ==, 0);

  zcio_send_window_end (&fixture->window, write, &fixture->released);
  g_assert_true (fixture->released.head == write);
  call_out (fixture);
  g_assert_cmpuint (counter, ==, 1);
}

static void
test_duplicates (Fixture *fixture,
                 gconstpointer data)
{
  guint counters[4] = { 0 };

  g_test_summary ("An id that comes back a second time is counted as unknown and releases nothing");

  send_many (fixture, counters, 4);

  g_assert_cmpuint (notify (fixture, 1, 2), ==, 2);
  g_assert_cmpuint (notify (fixture, 1, 2), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 2);
  g_assert_cmpuint (notify (fixture, 0, 3), ==, 2);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 4);
  g_assert_cmpuint (notify (fixture, 0, 3), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 8);
  assert_counters (counters, "1111");

  /* The places of the first four in the ring have new tenants by now. */
  send_many (fixture, counters, 4);
  g_assert_cmpuint (notify (fixture, 0, 3), ==, 0);
  assert_counters (counters, "1111");
  g_assert_cmpuint (notify (fixture, 4, 7), ==, 4);
  assert_counters (counters, "2222");
}

static void
test_unknown_ids (Fixture *fixture,
                  gconstpointer data)
{
  guint counters[2] = { 0 };

  g_test_summary ("Ids that were never sent are counted and change nothing");

  /* Before the ring exists. */
  g_assert_cmpuint (notify (fixture, 0, 0), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 1);

  send_many (fixture, counters, 2);
  g_assert_cmpuint (notify (fixture, 2, 2), ==, 0);
  g_assert_cmpuint (notify (fixture, 10, 19), ==, 0);
  g_assert_cmpuint (notify (fixture, G_MAXUINT32, G_MAXUINT32), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 13);
  g_assert_cmpuint (fixture->window.sends_in_flight, ==, 2);
  assert_counters (counters, "00");

  g_assert_cmpuint (notify (fixture, G_MAXUINT32, 5), ==, 2);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 18);
  assert_counters (counters, "11");
}

static void
test_hostile_ranges (Fixture *fixture,
                     gconstpointer data)
{
  const guint64 all = G_GUINT64_CONSTANT (1) << 32;
  guint counters[8] = { 0 };

  g_test_summary ("A range of up to 2^32 ids is cut to the window: in order, once each, and without a loop over all ids");

  /* Each of these would take minutes if the ids were looped over. */
  for (guint i = 0; i < 1000; i++)
    g_assert_cmpuint (notify (fixture, i + 5, i + 4), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 1000 * all);

  /* From the middle of the window, around, and up to just before the middle. */
  fixture->window.unknown_ids = 0;
  send_many (fixture, counters, 8);
  g_assert_cmpuint (notify (fixture, 5, 4), ==, 8);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, all - 8);
  assert_counters (counters, "11111111");

  /* All but the two in the middle. */
  fixture->window.unknown_ids = 0;
  send_many (fixture, counters, 8);
  g_assert_cmpuint (notify (fixture, 13, 10), ==, 6);
  assert_counters (counters, "22211222");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, all - 2 - 6);
  g_assert_cmpuint (notify (fixture, 11, 12), ==, 2);
  assert_counters (counters, "22222222");
}

static void
test_growth (Fixture *fixture,
             gconstpointer data)
{
  guint counters[1000] = { 0 };

  g_test_summary ("The ring starts with 8 sends and doubles; what is in flight keeps its place");

  send_many (fixture, counters, 8);
  g_assert_cmpuint (fixture->window.capacity, ==, 8);
  g_assert_cmpuint (notify (fixture, 0, 2), ==, 3);

  /* The oldest is now in the middle of the ring. */
  send_many (fixture, counters + 8, 3);
  g_assert_cmpuint (fixture->window.capacity, ==, 8);
  send_many (fixture, counters + 11, 1);
  g_assert_cmpuint (fixture->window.capacity, ==, 16);

  send_many (fixture, counters + 12, 988);
  g_assert_cmpuint (fixture->window.capacity, ==, 1024);
  for (guint i = 3; i < 1000; i++)
    {
      g_assert_cmpuint (counters[i], ==, 0);
      g_assert_cmpuint (notify (fixture, i, i), ==, 1);
      g_assert_cmpuint (counters[i], ==, 1);
    }
  g_assert_cmpuint (fixture->window.peak_sends_in_flight, ==, 997);
}

static void
test_release_all (Fixture *fixture,
                  gconstpointer data)
{
  guint counters[12] = { 0 };
  guint counter = 0;
  ZcioWrite *write;

  g_test_summary ("Everything in flight can be released at once; a write that has not ended waits for its end");

  zcio_send_window_release_all (&fixture->window, &fixture->released);
  g_assert_cmpuint (fixture->released.sends, ==, 0);

  send_many (fixture, counters, 12);
  write = begin (fixture, &counter);
  zcio_send_window_add (&fixture->window, write, 5, 0);
  g_assert_cmpuint (notify (fixture, 3, 4), ==, 2);

  zcio_send_window_release_all (&fixture->window, &fixture->released);
  g_assert_cmpuint (fixture->released.sends, ==, 13);
  g_assert_cmpuint (fixture->released.bytes, ==, 1205);
  g_assert_cmpuint (fixture->released.copied_sends, ==, 0);
  call_out (fixture);
  assert_counters (counters, "111111111111");
  g_assert_cmpuint (counter, ==, 0);
  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 0);

  zcio_send_window_end (&fixture->window, write, &fixture->released);
  call_out (fixture);
  g_assert_cmpuint (counter, ==, 1);

  /* What the kernel says about them later is not news. */
  g_assert_cmpuint (notify (fixture, 0, 12), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 13);
  send_many (fixture, counters, 1);
  g_assert_cmpuint (notify (fixture, 13, 13), ==, 1);
  g_assert_cmpuint (counters[0], ==, 2);
}

static void
test_owners (Fixture *fixture,
             gconstpointer data)
{
  static const guint ns_owners[] = { 0, 1, 2, 9, 100, 5000 };

  g_test_summary ("A write holds one reference to each of its buffers, and drops exactly that one");

  for (guint i = 0; i < G_N_ELEMENTS (ns_owners); i++)
    {
      guint n = ns_owners[i];
      g_autofree guint *counters = g_new0 (guint, n + 1);
      g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
      ZcioWrite *write = zcio_send_window_begin (&fixture->window);
      guint id = (guint) fixture->window.next;

      for (guint j = 0; j < n; j++)
        {
          g_ptr_array_add (all, counted_bytes (&counters[j]));
          zcio_write_add_bytes (write, all->pdata[j]);
        }
      zcio_send_window_add (&fixture->window, write, n + 1, 0);
      zcio_send_window_end (&fixture->window, write, &fixture->released);

      /* Half are the write's alone, and half are ours as well. */
      for (guint j = 0; j < n / 2; j++)
        g_bytes_unref (g_ptr_array_steal_index (all, 0));
      for (guint j = 0; j < n; j++)
        g_assert_cmpuint (counters[j], ==, 0);

      g_assert_cmpuint (notify (fixture, id, id), ==, 1);
      for (guint j = 0; j < n; j++)
        g_assert_cmpuint (counters[j], ==, j < n / 2 ? 1 : 0);

      g_ptr_array_set_size (all, 0);
      for (guint j = 0; j < n; j++)
        g_assert_cmpuint (counters[j], ==, 1);
    }
}

static void
test_one_buffer_many_times (Fixture *fixture,
                            gconstpointer data)
{
  guint counter = 0;
  g_autoptr (GBytes) bytes = counted_bytes (&counter);
  ZcioWrite *first = zcio_send_window_begin (&fixture->window);
  ZcioWrite *second = zcio_send_window_begin (&fixture->window);

  g_test_summary ("The same buffer may be in several writes, and several times in one");

  zcio_write_add_bytes (first, bytes);
  zcio_write_add_bytes (first, bytes);
  zcio_write_add_bytes (first, bytes);
  zcio_write_add_bytes (second, bytes);
  zcio_send_window_add (&fixture->window, first, 12, 0);
  zcio_send_window_end (&fixture->window, first, &fixture->released);
  zcio_send_window_add (&fixture->window, second, 4, 0);
  zcio_send_window_end (&fixture->window, second, &fixture->released);
  g_clear_pointer (&bytes, g_bytes_unref);

  g_assert_cmpuint (notify (fixture, 0, 0), ==, 1);
  g_assert_cmpuint (counter, ==, 0);
  g_assert_cmpuint (notify (fixture, 1, 1), ==, 1);
  g_assert_cmpuint (counter, ==, 1);
}

static void
test_release_once (Fixture *fixture,
                   gconstpointer data)
{
  guint n_released = 0;
  guint n_owners = 0;
  ZcioWrite *write = begin (fixture, &n_owners);

  g_test_summary ("The release function runs exactly once, however often the list is called out");

  zcio_write_set_release (write, count, &n_released);
  zcio_send_window_add (&fixture->window, write, 1, 0);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
  g_assert_cmpuint (zcio_send_window_release (&fixture->window, &(ZcioNotification){ 0, 0, FALSE }, &fixture->released), ==, 1);
  g_assert_cmpuint (n_released, ==, 0);

  zcio_released_call_out (&fixture->released);
  g_assert_cmpuint (n_released, ==, 1);
  g_assert_cmpuint (n_owners, ==, 1);
  zcio_released_call_out (&fixture->released);
  zcio_send_window_reuse (&fixture->window, &fixture->released);
  zcio_send_window_reuse (&fixture->window, &fixture->released);
  g_assert_cmpuint (n_released, ==, 1);
  g_assert_cmpuint (n_owners, ==, 1);

  /* The next user of the same write has nothing of this one's. */
  g_assert_true (zcio_send_window_begin (&fixture->window) == write);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
  call_out (fixture);
  g_assert_cmpuint (n_released, ==, 1);
  g_assert_cmpuint (n_owners, ==, 1);
}

typedef struct
{
  GString *order;
  char name;
} Named;

static void
append_name (gpointer data)
{
  Named *named = data;

  g_string_append_c (named->order, named->name);
}

static void
test_order_of_release (Fixture *fixture,
                       gconstpointer data)
{
  g_autoptr (GString) order = g_string_new (NULL);
  Named named[6];

  g_test_summary ("Release functions run in the order in which the writes came back");

  for (guint i = 0; i < G_N_ELEMENTS (named); i++)
    {
      ZcioWrite *write = zcio_send_window_begin (&fixture->window);

      named[i] = (Named){ order, 'a' + i };
      zcio_write_set_release (write, append_name, &named[i]);
      zcio_send_window_add (&fixture->window, write, 1, 0);
      zcio_send_window_end (&fixture->window, write, &fixture->released);
    }

  zcio_send_window_release (&fixture->window, &(ZcioNotification){ 4, 5, FALSE }, &fixture->released);
  zcio_send_window_release (&fixture->window, &(ZcioNotification){ 1, 1, FALSE }, &fixture->released);
  zcio_send_window_release_all (&fixture->window, &fixture->released);
  call_out (fixture);
  g_assert_cmpstr (order->str, ==, "efbacd");
}

typedef struct
{
  Fixture *fixture;
  guint left;
} Sender;

/* A release function that writes the next buffer, and has it come back, at once. */
static void
send_again (gpointer data)
{
  Sender *sender = data;
  ZcioSendWindow *window = &sender->fixture->window;
  ZcioReleased released = ZCIO_RELEASED_INIT;
  guint32 id = window->base + (guint32) window->next;
  ZcioWrite *write;

  if (sender->left-- == 0)
    return;

  write = zcio_send_window_begin (window);
  zcio_write_set_release (write, send_again, sender);
  zcio_send_window_add (window, write, 1, 0);
  zcio_send_window_end (window, write, &released);
  zcio_send_window_release (window, &(ZcioNotification){ id, id, FALSE }, &released);
  zcio_released_call_out (&released);
  zcio_send_window_reuse (window, &released);
}

static void
test_release_calls_back (Fixture *fixture,
                         gconstpointer data)
{
  Sender sender = { fixture, 100 };
  guint counters[3] = { 0 };
  ZcioWrite *write = begin (fixture, &counters[0]);

  g_test_summary ("A release function may use the window: write, and release what it wrote");

  zcio_write_set_release (write, send_again, &sender);
  zcio_send_window_add (&fixture->window, write, 1, 0);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
  send_many (fixture, counters + 1, 2);
  g_assert_cmpuint (notify (fixture, 0, 2), ==, 3);
  assert_counters (counters, "111");
  g_assert_cmpuint (sender.left, ==, G_MAXUINT);
}

static void
test_oldest (Fixture *fixture,
             gconstpointer data)
{
  guint counters[3] = { 0 };

  g_test_summary ("The oldest send in flight is found, whatever came back before it");

  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 0);
  for (guint i = 0; i < 3; i++)
    {
      ZcioWrite *write = begin (fixture, &counters[i]);

      zcio_send_window_add (&fixture->window, write, 1, 1000 + i);
      zcio_send_window_end (&fixture->window, write, &fixture->released);
    }

  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 1000);
  notify (fixture, 1, 1);
  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 1000);
  notify (fixture, 0, 0);
  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 1002);
  notify (fixture, 2, 2);
  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 0);
}

/* @n writes of @n_owners buffers each, all in flight at once. */
static void
round_trip (Fixture *fixture,
            GBytes *bytes,
            guint n,
            guint n_owners)
{
  guint32 first = fixture->window.base + (guint32) fixture->window.next;

  for (guint i = 0; i < n; i++)
    {
      ZcioWrite *write = zcio_send_window_begin (&fixture->window);

      for (guint j = 0; j < n_owners; j++)
        zcio_write_add_bytes (write, bytes);
      zcio_send_window_add (&fixture->window, write, 1, 0);
      zcio_send_window_end (&fixture->window, write, &fixture->released);
    }

  notify (fixture, first, first + n - 1);
}

static void
test_steady_state (Fixture *fixture,
                   gconstpointer data)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  guint before;

  g_test_summary ("Once the ring and the writes are there, sending and releasing allocates nothing");

  before = n_allocations;
  round_trip (fixture, bytes, 50, 40);
  g_assert_cmpuint (n_allocations, >, before + 50);
  g_assert_cmpuint (fixture->window.n_unused, ==, 50);
  g_assert_cmpuint (fixture->window.capacity, ==, 64);

  before = n_allocations;
  for (guint i = 0; i < 1000; i++)
    round_trip (fixture, bytes, 1 + i % 50, i % 41);
  g_assert_cmpuint (n_allocations, ==, before);
  g_assert_cmpuint (fixture->window.n_unused, ==, 50);
  g_assert_cmpuint (fixture->window.capacity, ==, 64);
}

static void
test_one_owner (Fixture *fixture,
                gconstpointer data)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  guint before;

  g_test_summary ("A write of one buffer needs no array for its owners: the ring and the write are all it allocates");

  before = n_allocations;
  round_trip (fixture, bytes, 1, 1);
  g_assert_cmpuint (n_allocations, ==, before + 2);
}

static void
test_unused_is_bounded (Fixture *fixture,
                        gconstpointer data)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  guint before;

  g_test_summary ("A burst of writes, or one with very many buffers, leaves only so much memory behind");

  round_trip (fixture, bytes, 500, 1);
  g_assert_cmpuint (fixture->window.n_unused, ==, 64);

  /* The same write is used for each of these, but the huge array is not kept. */
  round_trip (fixture, bytes, 1, 1000);
  before = n_allocations;
  round_trip (fixture, bytes, 1, 1000);
  g_assert_cmpuint (n_allocations, ==, before);
  round_trip (fixture, bytes, 1, 3000);
  before = n_allocations;
  round_trip (fixture, bytes, 1, 9);
  g_assert_cmpuint (n_allocations, ==, before + 1);
}

static void
test_without_window (Fixture *fixture,
                     gconstpointer data)
{
  guint counters[3] = { 0 };

  g_test_summary ("Released writes can be freed when their window is gone");

  send_many (fixture, counters, 3);
  zcio_send_window_release_all (&fixture->window, &fixture->released);
  zcio_send_window_clear (&fixture->window);

  zcio_released_call_out (&fixture->released);
  assert_counters (counters, "111");
  zcio_released_free (&fixture->released);
  g_assert_null (fixture->released.head);
  zcio_released_free (&fixture->released);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

#define ADD(path, func) g_test_add ("/send-window/" path, Fixture, NULL, set_up, func, tear_down)
  ADD ("in-order", test_in_order);
  ADD ("out-of-order", test_out_of_order);
  ADD ("merged", test_merged);
  ADD ("split", test_split);
  ADD ("wrap", test_wrap);
  ADD ("long-life", test_long_life);
  ADD ("base-in-the-middle", test_base_in_the_middle);
  ADD ("unknown-base", test_unknown_base);
  ADD ("partly-copied-write", test_partly_copied_write);
  ADD ("end-after-return", test_end_after_return);
  ADD ("duplicates", test_duplicates);
  ADD ("unknown-ids", test_unknown_ids);
  ADD ("hostile-ranges", test_hostile_ranges);
  ADD ("growth", test_growth);
  ADD ("release-all", test_release_all);
  ADD ("owners", test_owners);
  ADD ("one-buffer-many-times", test_one_buffer_many_times);
  ADD ("release-once", test_release_once);
  ADD ("order-of-release", test_order_of_release);
  ADD ("release-calls-back", test_release_calls_back);
  ADD ("oldest", test_oldest);
  ADD ("steady-state", test_steady_state);
  ADD ("one-owner", test_one_owner);
  ADD ("unused-is-bounded", test_unused_is_bounded);
  ADD ("without-window", test_without_window);
#undef ADD

  return g_test_run ();
}
