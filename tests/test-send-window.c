/* test-send-window.c - which sends are in flight, and in what order they come back
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "send-window-fixture.h"

static void
test_in_order (SendWindowFixture *fixture,
               gconstpointer data)
{
  guint counters[4] = { 0 };

  g_test_summary ("Sends that come back one by one and in order release their buffers one by one");

  send_many (fixture, counters, 4);
  g_assert_cmpuint (fixture->window.sends_in_flight, ==, 4);
  g_assert_cmpuint (fixture->window.bytes_in_flight, ==, 400);
  assert_counters (counters, "0000");

  g_assert_cmpuint (notify_range (fixture, 0, 0), ==, 1);
  assert_counters (counters, "1000");
  g_assert_cmpuint (fixture->window.first, ==, 1);
  g_assert_cmpuint (notify_range (fixture, 1, 1), ==, 1);
  assert_counters (counters, "1100");
  g_assert_cmpuint (notify_range (fixture, 2, 2), ==, 1);
  g_assert_cmpuint (notify_range (fixture, 3, 3), ==, 1);
  assert_counters (counters, "1111");

  g_assert_cmpuint (fixture->window.peak_sends_in_flight, ==, 4);
  g_assert_cmpuint (fixture->window.peak_bytes_in_flight, ==, 400);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 0);
}

static void
test_out_of_order (SendWindowFixture *fixture,
                   gconstpointer data)
{
  guint counters[4] = { 0 };

  g_test_summary ("After a reset newer sends come back before older ones, and each has its own id");

  send_many (fixture, counters, 4);

  g_assert_cmpuint (notify_range (fixture, 3, 3), ==, 1);
  assert_counters (counters, "0001");
  g_assert_cmpuint (fixture->window.first, ==, 0);
  g_assert_cmpuint (notify_range (fixture, 1, 2), ==, 2);
  assert_counters (counters, "0111");
  g_assert_cmpuint (fixture->window.first, ==, 0);
  g_assert_cmpuint (fixture->window.sends_in_flight, ==, 1);
  g_assert_cmpuint (notify_range (fixture, 0, 0), ==, 1);
  assert_counters (counters, "1111");
  g_assert_cmpuint (fixture->window.first, ==, 4);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 0);
}

static void
test_merged (SendWindowFixture *fixture,
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
test_split (SendWindowFixture *fixture,
            gconstpointer data)
{
  guint counter = 0;
  ZcioWrite *write = begin_write (fixture, &counter);

  g_test_summary ("A write whose sends come back in several notifications is released with the last of them");

  for (guint i = 0; i < 6; i++)
    zcio_send_window_add (&fixture->window, write, 10, 0);
  zcio_send_window_end (&fixture->window, write, &fixture->released);

  g_assert_cmpuint (notify_range (fixture, 4, 5), ==, 2);
  g_assert_cmpuint (notify_range (fixture, 0, 2), ==, 3);
  g_assert_cmpuint (counter, ==, 0);
  g_assert_cmpuint (notify_range (fixture, 3, 3), ==, 1);
  g_assert_cmpuint (counter, ==, 1);
}

static void
test_wrap (SendWindowFixture *fixture,
           gconstpointer data)
{
  guint counters[8] = { 0 };

  g_test_summary ("Ids are modulo 2^32, and a range may cross the wrap");

  fixture->window.base = G_MAXUINT32 - 2;
  send_many (fixture, counters, 8);

  g_assert_cmpuint (notify_range (fixture, 2, 3), ==, 2);
  assert_counters (counters, "00000110");
  g_assert_cmpuint (notify_range (fixture, G_MAXUINT32 - 1, 1), ==, 4);
  assert_counters (counters, "01111110");
  g_assert_cmpuint (notify_range (fixture, 4, 4), ==, 1);
  g_assert_cmpuint (notify_range (fixture, G_MAXUINT32 - 2, G_MAXUINT32 - 2), ==, 1);
  assert_counters (counters, "11111111");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 0);
}

static void
test_long_life (SendWindowFixture *fixture,
                gconstpointer data)
{
  guint counters[20] = { 0 };

  g_test_summary ("After more than 2^32 sends ids and numbers still belong together");

  fixture->window.base = 77;
  fixture->window.first = fixture->window.next = 3 * (G_GUINT64_CONSTANT (1) << 32) - 5;
  send_many (fixture, counters, 20);

  g_assert_cmpuint (notify_range (fixture, 72, 75), ==, 4);
  assert_counters (counters, "1111000000");
  g_assert_cmpuint (notify_range (fixture, 76, 78), ==, 3);
  assert_counters (counters, "1111111000");
  g_assert_cmpuint (notify_range (fixture, 79, 91), ==, 13);
  assert_counters (counters, "11111111111111111111");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 0);
}

static void
test_base_in_the_middle (SendWindowFixture *fixture,
                         gconstpointer data)
{
  guint counters[3] = { 0 };

  g_test_summary ("The first send need not have the id 0");

  fixture->window.base = 1000;
  send_many (fixture, counters, 3);

  g_assert_cmpuint (notify_range (fixture, 0, 2), ==, 0);
  assert_counters (counters, "000");
  g_assert_cmpuint (notify_range (fixture, 1000, 1000), ==, 1);
  g_assert_cmpuint (notify_range (fixture, 1001, 1002), ==, 2);
  assert_counters (counters, "111");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 3);
}

static void
test_unknown_base (SendWindowFixture *fixture,
                   gconstpointer data)
{
  guint counters[4] = { 0 };

  g_test_summary ("The notification of the first send, merged with older ones or not, tells the base of the ids");

  zcio_send_window_init (&fixture->window, FALSE);

  /* Nothing is in flight, so this says nothing about the base. */
  g_assert_cmpuint (notify_range (fixture, 500, 501), ==, 0);
  g_assert_false (fixture->window.base_known);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 2);

  send_one (fixture, &counters[0], 1);
  g_assert_cmpuint (notify_range (fixture, G_MAXUINT32 - 1, 1), ==, 1);
  assert_counters (counters, "1000");
  g_assert_true (fixture->window.base_known);
  g_assert_cmpuint (fixture->window.base, ==, 1);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 5);

  send_many (fixture, counters + 1, 3);
  g_assert_cmpuint (notify_range (fixture, 2, 4), ==, 3);
  assert_counters (counters, "1111");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 5);
}

static void
test_partly_copied_write (SendWindowFixture *fixture,
                          gconstpointer data)
{
  guint counters[2] = { 0 };
  ZcioWrite *write = begin_write (fixture, &counters[0]);

  g_test_summary ("Parts of a write that were copied take no id, and do not hold the write up");

  /* Three parts, the one in the middle by copy. */
  zcio_send_window_add (&fixture->window, write, 30, 0);
  zcio_send_window_add (&fixture->window, write, 30, 0);
  g_assert_cmpuint (notify_range (fixture, 0, 0), ==, 1);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
  call_out (fixture);
  g_assert_cmpuint (counters[0], ==, 0);
  g_assert_cmpuint (notify_range (fixture, 1, 1), ==, 1);
  g_assert_cmpuint (counters[0], ==, 1);

  /* All parts by copy. */
  write = begin_write (fixture, &counters[1]);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
  g_assert_cmpuint (counters[1], ==, 0);
  g_assert_cmpuint (fixture->released.sends, ==, 2);
  call_out (fixture);
  g_assert_cmpuint (counters[1], ==, 1);
}

static void
test_end_after_return (SendWindowFixture *fixture,
                       gconstpointer data)
{
  guint counter = 0;
  ZcioWrite *write = begin_write (fixture, &counter);

  g_test_summary ("A write whose sends are back before it has ended is released when it ends, not before");

  zcio_send_window_add (&fixture->window, write, 1, 0);
  g_assert_cmpuint (notify_range (fixture, 0, 0), ==, 1);
  zcio_send_window_add (&fixture->window, write, 1, 0);
  g_assert_cmpuint (notify_range (fixture, 1, 1), ==, 1);
  g_assert_cmpuint (counter, ==, 0);

  zcio_send_window_end (&fixture->window, write, &fixture->released);
  g_assert_true (fixture->released.head == write);
  call_out (fixture);
  g_assert_cmpuint (counter, ==, 1);
}

static void
test_duplicates (SendWindowFixture *fixture,
                 gconstpointer data)
{
  guint counters[4] = { 0 };

  g_test_summary ("An id that comes back a second time is counted as unknown and releases nothing");

  send_many (fixture, counters, 4);

  g_assert_cmpuint (notify_range (fixture, 1, 2), ==, 2);
  g_assert_cmpuint (notify_range (fixture, 1, 2), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 2);
  g_assert_cmpuint (notify_range (fixture, 0, 3), ==, 2);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 4);
  g_assert_cmpuint (notify_range (fixture, 0, 3), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 8);
  assert_counters (counters, "1111");

  /* The places of the first four in the ring have new tenants by now. */
  send_many (fixture, counters, 4);
  g_assert_cmpuint (notify_range (fixture, 0, 3), ==, 0);
  assert_counters (counters, "1111");
  g_assert_cmpuint (notify_range (fixture, 4, 7), ==, 4);
  assert_counters (counters, "2222");
}

static void
test_unknown_ids (SendWindowFixture *fixture,
                  gconstpointer data)
{
  guint counters[2] = { 0 };

  g_test_summary ("Ids that were never sent are counted and change nothing");

  /* Before the ring exists. */
  g_assert_cmpuint (notify_range (fixture, 0, 0), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 1);

  send_many (fixture, counters, 2);
  g_assert_cmpuint (notify_range (fixture, 2, 2), ==, 0);
  g_assert_cmpuint (notify_range (fixture, 10, 19), ==, 0);
  g_assert_cmpuint (notify_range (fixture, G_MAXUINT32, G_MAXUINT32), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 13);
  g_assert_cmpuint (fixture->window.sends_in_flight, ==, 2);
  assert_counters (counters, "00");

  g_assert_cmpuint (notify_range (fixture, G_MAXUINT32, 5), ==, 2);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 18);
  assert_counters (counters, "11");
}

static void
test_hostile_ranges (SendWindowFixture *fixture,
                     gconstpointer data)
{
  const guint64 all = G_GUINT64_CONSTANT (1) << 32;
  guint counters[8] = { 0 };

  g_test_summary ("A range of up to 2^32 ids is cut to the window: in order, once each, and without a loop over all ids");

  /* Each of these would take minutes if the ids were looped over. */
  for (guint i = 0; i < 1000; i++)
    g_assert_cmpuint (notify_range (fixture, i + 5, i + 4), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 1000 * all);

  /* From the middle of the window, around, and up to just before the middle. */
  fixture->window.unknown_ids = 0;
  send_many (fixture, counters, 8);
  g_assert_cmpuint (notify_range (fixture, 5, 4), ==, 8);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, all - 8);
  assert_counters (counters, "11111111");

  /* All but the two in the middle. */
  fixture->window.unknown_ids = 0;
  send_many (fixture, counters, 8);
  g_assert_cmpuint (notify_range (fixture, 13, 10), ==, 6);
  assert_counters (counters, "22211222");
  g_assert_cmpuint (fixture->window.unknown_ids, ==, all - 2 - 6);
  g_assert_cmpuint (notify_range (fixture, 11, 12), ==, 2);
  assert_counters (counters, "22222222");
}

static void
test_growth (SendWindowFixture *fixture,
             gconstpointer data)
{
  guint counters[1000] = { 0 };

  g_test_summary ("The ring starts with 8 sends and doubles; what is in flight keeps its place");

  send_many (fixture, counters, 8);
  g_assert_cmpuint (fixture->window.capacity, ==, 8);
  g_assert_cmpuint (notify_range (fixture, 0, 2), ==, 3);

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
      g_assert_cmpuint (notify_range (fixture, i, i), ==, 1);
      g_assert_cmpuint (counters[i], ==, 1);
    }
  g_assert_cmpuint (fixture->window.peak_sends_in_flight, ==, 997);
}

static void
test_release_all (SendWindowFixture *fixture,
                  gconstpointer data)
{
  guint counters[12] = { 0 };
  guint counter = 0;
  ZcioWrite *write;

  g_test_summary ("Everything in flight can be released at once; a write that has not ended waits for its end");

  zcio_send_window_release_all (&fixture->window, &fixture->released);
  g_assert_cmpuint (fixture->released.sends, ==, 0);

  send_many (fixture, counters, 12);
  write = begin_write (fixture, &counter);
  zcio_send_window_add (&fixture->window, write, 5, 0);
  g_assert_cmpuint (notify_range (fixture, 3, 4), ==, 2);

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
  g_assert_cmpuint (notify_range (fixture, 0, 12), ==, 0);
  g_assert_cmpuint (fixture->window.unknown_ids, ==, 13);
  send_many (fixture, counters, 1);
  g_assert_cmpuint (notify_range (fixture, 13, 13), ==, 1);
  g_assert_cmpuint (counters[0], ==, 2);
}

static void
test_oldest (SendWindowFixture *fixture,
             gconstpointer data)
{
  guint counters[3] = { 0 };

  g_test_summary ("The oldest send in flight is found, whatever came back before it");

  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 0);
  for (guint i = 0; i < 3; i++)
    {
      ZcioWrite *write = begin_write (fixture, &counters[i]);

      zcio_send_window_add (&fixture->window, write, 1, 1000 + i);
      zcio_send_window_end (&fixture->window, write, &fixture->released);
    }

  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 1000);
  notify_range (fixture, 1, 1);
  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 1000);
  notify_range (fixture, 0, 0);
  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 1002);
  notify_range (fixture, 2, 2);
  g_assert_cmpint (zcio_send_window_get_oldest (&fixture->window), ==, 0);
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

#define ADD(path, func) g_test_add ("/send-window/" path, SendWindowFixture, NULL, send_window_set_up, func, send_window_tear_down)
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
  ADD ("oldest", test_oldest);
#undef ADD

  return g_test_run ();
}
