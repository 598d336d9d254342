/* test-send-window-memory.c - who owns the memory of the sends, and the window's own memory
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "send-window-fixture.h"

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

static void
test_owners (SendWindowFixture *fixture,
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
          g_ptr_array_add (all, counted_bytes_new (&counters[j]));
          zcio_write_add_bytes (write, all->pdata[j]);
        }
      zcio_send_window_add (&fixture->window, write, n + 1, 0);
      zcio_send_window_end (&fixture->window, write, &fixture->released);

      /* Half are the write's alone, and half are ours as well. */
      for (guint j = 0; j < n / 2; j++)
        g_bytes_unref (g_ptr_array_steal_index (all, 0));
      for (guint j = 0; j < n; j++)
        g_assert_cmpuint (counters[j], ==, 0);

      g_assert_cmpuint (notify_range (fixture, id, id), ==, 1);
      for (guint j = 0; j < n; j++)
        g_assert_cmpuint (counters[j], ==, j < n / 2 ? 1 : 0);

      g_ptr_array_set_size (all, 0);
      for (guint j = 0; j < n; j++)
        g_assert_cmpuint (counters[j], ==, 1);
    }
}

static void
test_one_buffer_many_times (SendWindowFixture *fixture,
                            gconstpointer data)
{
  guint counter = 0;
  g_autoptr (GBytes) bytes = counted_bytes_new (&counter);
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

  g_assert_cmpuint (notify_range (fixture, 0, 0), ==, 1);
  g_assert_cmpuint (counter, ==, 0);
  g_assert_cmpuint (notify_range (fixture, 1, 1), ==, 1);
  g_assert_cmpuint (counter, ==, 1);
}

static void
test_release_once (SendWindowFixture *fixture,
                   gconstpointer data)
{
  guint n_released = 0;
  guint n_owners = 0;
  ZcioWrite *write = begin_write (fixture, &n_owners);

  g_test_summary ("The release function runs exactly once, however often the list is called out");

  zcio_write_set_release (write, count_call, &n_released);
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
test_order_of_release (SendWindowFixture *fixture,
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
  SendWindowFixture *fixture;
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
test_release_calls_back (SendWindowFixture *fixture,
                         gconstpointer data)
{
  Sender sender = { fixture, 100 };
  guint counters[3] = { 0 };
  ZcioWrite *write = begin_write (fixture, &counters[0]);

  g_test_summary ("A release function may use the window: write, and release what it wrote");

  zcio_write_set_release (write, send_again, &sender);
  zcio_send_window_add (&fixture->window, write, 1, 0);
  zcio_send_window_end (&fixture->window, write, &fixture->released);
  send_many (fixture, counters + 1, 2);
  g_assert_cmpuint (notify_range (fixture, 0, 2), ==, 3);
  assert_counters (counters, "111");
  g_assert_cmpuint (sender.left, ==, G_MAXUINT);
}

/* @n writes of @n_owners buffers each, all in flight at once. */
static void
round_trip (SendWindowFixture *fixture,
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

  notify_range (fixture, first, first + n - 1);
}

static void
test_steady_state (SendWindowFixture *fixture,
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
test_steady_flood (SendWindowFixture *fixture,
                   gconstpointer data)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  guint before;

  g_test_summary ("Neither do hundreds of writes that are in flight, and come back, at the same time");

  round_trip (fixture, bytes, 1000, 1);
  before = n_allocations;
  for (guint i = 0; i < 10; i++)
    round_trip (fixture, bytes, 1000 - i, 1);
  g_assert_cmpuint (n_allocations, ==, before);
}

static void
test_one_owner (SendWindowFixture *fixture,
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
test_unused_is_bounded (SendWindowFixture *fixture,
                        gconstpointer data)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  guint before;

  g_test_summary ("A burst of writes, or one with very many buffers, leaves only so much memory behind");

  round_trip (fixture, bytes, 2000, 1);
  g_assert_cmpuint (fixture->window.n_unused, ==, 1024);

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
test_without_window (SendWindowFixture *fixture,
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

#define ADD(path, func) g_test_add ("/send-window-memory/" path, SendWindowFixture, NULL, send_window_set_up, func, send_window_tear_down)
  ADD ("owners", test_owners);
  ADD ("one-buffer-many-times", test_one_buffer_many_times);
  ADD ("release-once", test_release_once);
  ADD ("order-of-release", test_order_of_release);
  ADD ("release-calls-back", test_release_calls_back);
  ADD ("steady-state", test_steady_state);
  ADD ("steady-flood", test_steady_flood);
  ADD ("one-owner", test_one_owner);
  ADD ("unused-is-bounded", test_unused_is_bounded);
  ADD ("without-window", test_without_window);
#undef ADD

  return g_test_run ();
}
