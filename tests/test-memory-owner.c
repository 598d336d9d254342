/* test-memory-owner.c - tests of GBytes over foreign memory
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdint.h>

#include <zcio/zcio.h>

#define N_TOKENS 64

typedef struct
{
  int released[N_TOKENS];
  int notified;
  GThread *thread;
  guint64 last_token;
} Fixture;

static void
on_release (guint64 token,
            gpointer user_data)
{
  Fixture *fixture = user_data;

  g_assert_cmpint (g_atomic_int_get (&fixture->notified), ==, 0);
  g_atomic_int_inc (&fixture->released[token % N_TOKENS]);
  g_atomic_pointer_set (&fixture->thread, g_thread_self ());
  fixture->last_token = token;
}

static void
on_notify (gpointer user_data)
{
  Fixture *fixture = user_data;

  g_atomic_int_inc (&fixture->notified);
}

static void
test_wrap (void)
{
  Fixture fixture = { { 0 } };
  ZcioMemoryOwner *owner;
  guint8 memory[100];
  GBytes *bytes;
  GBytes *part;
  gsize size;

  g_test_summary ("Bytes are the memory itself, and it is released once, with the last reference to any part");

  owner = zcio_memory_owner_new (on_release, &fixture, on_notify);
  g_assert_true (ZCIO_IS_MEMORY_OWNER (owner));

  bytes = zcio_memory_owner_wrap (owner, (guintptr) memory, sizeof memory, 7);
  g_assert_true (g_bytes_get_data (bytes, &size) == memory);
  g_assert_cmpuint (size, ==, sizeof memory);

  part = g_bytes_new_from_bytes (bytes, 10, 20);
  g_assert_true (g_bytes_get_data (part, NULL) == memory + 10);
  g_bytes_unref (bytes);
  g_assert_cmpint (fixture.released[7], ==, 0);
  g_bytes_unref (part);
  g_assert_cmpint (fixture.released[7], ==, 1);

  g_assert_cmpint (fixture.notified, ==, 0);
  g_object_unref (owner);
  g_assert_cmpint (fixture.notified, ==, 1);
  g_assert_cmpint (fixture.released[7], ==, 1);
}

static void
test_token (void)
{
  Fixture fixture = { { 0 } };
  g_autoptr (ZcioMemoryOwner) owner = NULL;
  const guint64 tokens[] = { 0, 1, G_MAXUINT32, (guint64) G_MAXUINT32 + 1, G_MAXUINT64 };
  guint8 memory[1];

  g_test_summary ("All 64 bits of a token come back");

  owner = zcio_memory_owner_new (on_release, &fixture, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS (tokens); i++)
    {
      fixture.last_token = 42;
      g_bytes_unref (zcio_memory_owner_wrap (owner, (guintptr) memory, 1, tokens[i]));
      g_assert_cmpuint (fixture.last_token, ==, tokens[i]);
    }
}

static void
test_empty (void)
{
  Fixture fixture = { { 0 } };
  g_autoptr (ZcioMemoryOwner) owner = NULL;
  guint8 memory[1];
  GBytes *bytes;

  g_test_summary ("Empty memory is released like any other");

  owner = zcio_memory_owner_new (on_release, &fixture, NULL);

  bytes = zcio_memory_owner_wrap (owner, 0, 0, 1);
  g_assert_cmpuint (g_bytes_get_size (bytes), ==, 0);
  g_bytes_unref (bytes);
  g_assert_cmpint (fixture.released[1], ==, 1);

  bytes = zcio_memory_owner_wrap (owner, (guintptr) memory, 0, 2);
  g_assert_cmpuint (g_bytes_get_size (bytes), ==, 0);
  g_bytes_unref (bytes);
  g_assert_cmpint (fixture.released[2], ==, 1);
}

static void
test_outlives (void)
{
  Fixture fixture = { { 0 } };
  ZcioMemoryOwner *owner;
  GBytes *first;
  GBytes *second;
  guint8 memory[2];

  g_test_summary ("The owner lives until its last bytes are gone");

  owner = zcio_memory_owner_new (on_release, &fixture, on_notify);
  first = zcio_memory_owner_wrap (owner, (guintptr) memory, 2, 1);
  second = zcio_memory_owner_wrap (owner, (guintptr) memory, 2, 2);
  g_object_unref (owner);

  g_bytes_unref (first);
  g_assert_cmpint (fixture.released[1], ==, 1);
  g_assert_cmpint (fixture.notified, ==, 0);
  g_bytes_unref (second);
  g_assert_cmpint (fixture.released[2], ==, 1);
  g_assert_cmpint (fixture.notified, ==, 1);
}

static gpointer
unref_thread (gpointer data)
{
  g_bytes_unref (data);
  return NULL;
}

static void
test_other_thread (void)
{
  Fixture fixture = { { 0 } };
  ZcioMemoryOwner *owner;
  GBytes *bytes;
  GThread *thread;
  guint8 memory[1];

  g_test_summary ("The release function runs in the thread that drops the last reference");

  owner = zcio_memory_owner_new (on_release, &fixture, on_notify);
  bytes = zcio_memory_owner_wrap (owner, (guintptr) memory, 1, 3);
  g_object_unref (owner);

  thread = g_thread_new ("unref", unref_thread, bytes);
  g_thread_ref (thread);
  g_thread_join (thread);
  g_assert_true (fixture.thread == thread);
  g_assert_cmpint (fixture.released[3], ==, 1);
  g_assert_cmpint (fixture.notified, ==, 1);
  g_thread_unref (thread);
}

typedef struct
{
  ZcioMemoryOwner *owner;
  GAsyncQueue *queue;
} Hammer;

#define N_HAMMER 2000

static void
on_hammer_release (guint64 token,
                   gpointer user_data)
{
  int *count = user_data;

  g_atomic_int_inc (count);
}

static gpointer
hammer_thread (gpointer data)
{
  Hammer *hammer = data;
  guint8 memory[16];

  for (guint i = 0; i < N_HAMMER; i++)
    {
      GBytes *bytes = zcio_memory_owner_wrap (hammer->owner, (guintptr) memory, sizeof memory, i);

      g_async_queue_push (hammer->queue, bytes);
      g_bytes_unref (g_async_queue_pop (hammer->queue));
    }

  return NULL;
}

static void
test_threads (void)
{
  GThread *threads[4];
  Hammer hammer;
  int count = 0;

  g_test_summary ("Threads may share an owner and drop each other's bytes");

  hammer.owner = zcio_memory_owner_new (on_hammer_release, &count, NULL);
  hammer.queue = g_async_queue_new ();
  for (gsize i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("hammer", hammer_thread, &hammer);
  for (gsize i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);

  g_assert_cmpint (count, ==, N_HAMMER * G_N_ELEMENTS (threads));
  g_async_queue_unref (hammer.queue);
  g_assert_finalize_object (hammer.owner);
}

static void
test_bad_input (void)
{
  Fixture fixture = { { 0 } };
  g_autoptr (ZcioMemoryOwner) owner = NULL;
  GBytes *bytes;

  g_test_summary ("Nonsense is refused, and nothing is released for it");

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*release != NULL*");
  g_assert_null (zcio_memory_owner_new (NULL, NULL, NULL));
  g_test_assert_expected_messages ();

  owner = zcio_memory_owner_new (on_release, &fixture, NULL);
  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*address != 0*");
  bytes = zcio_memory_owner_wrap (owner, 0, 1, 5);
  g_assert_null (bytes);
  g_test_assert_expected_messages ();

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*size <=*");
  bytes = zcio_memory_owner_wrap (owner, UINTPTR_MAX - 10, 100, 5);
  g_assert_null (bytes);
  g_test_assert_expected_messages ();
  g_assert_cmpint (fixture.released[5], ==, 0);
}

static void
test_no_python (void)
{
  g_autoptr (GError) error = NULL;

  g_test_summary ("A process without an interpreter is told so");

  g_assert_null (zcio_memory_owner_new_for_python (&error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
}

static void
test_without_function (void)
{
  ZcioMemoryOwner *owner;
  guint8 memory[1];

  g_test_summary ("An owner that was made without a function does no harm");

  owner = g_object_new (ZCIO_TYPE_MEMORY_OWNER, NULL);
  g_bytes_unref (zcio_memory_owner_wrap (owner, (guintptr) memory, 1, 0));
  g_assert_finalize_object (owner);
}

typedef struct
{
  GMutex lock;
  GCond changed;
  gboolean releasing;
  gboolean may_return;
  int returned;
} Slow;

static void
on_slow_release (guint64 token,
                 gpointer user_data)
{
  Slow *slow = user_data;

  g_mutex_lock (&slow->lock);
  slow->releasing = TRUE;
  g_cond_broadcast (&slow->changed);
  while (!slow->may_return)
    g_cond_wait (&slow->changed, &slow->lock);
  g_mutex_unlock (&slow->lock);

  /* Long enough for zcio_memory_owner_close () to be wrong */
  g_usleep (20000);
  g_atomic_int_inc (&slow->returned);
}

static void
test_close_waits (void)
{
  Slow slow = { .returned = 0 };
  g_autoptr (ZcioMemoryOwner) owner = NULL;
  GThread *thread;
  guint8 memory[1];

  g_test_summary ("Closing waits for a release function that is at work in another thread");

  g_mutex_init (&slow.lock);
  g_cond_init (&slow.changed);
  owner = zcio_memory_owner_new (on_slow_release, &slow, NULL);
  thread = g_thread_new ("unref", unref_thread,
                         zcio_memory_owner_wrap (owner, (guintptr) memory, 1, 3));

  g_mutex_lock (&slow.lock);
  while (!slow.releasing)
    g_cond_wait (&slow.changed, &slow.lock);
  slow.may_return = TRUE;
  g_cond_broadcast (&slow.changed);
  g_mutex_unlock (&slow.lock);

  zcio_memory_owner_close (owner);
  g_assert_cmpint (g_atomic_int_get (&slow.returned), ==, 1);

  g_thread_join (thread);
  g_cond_clear (&slow.changed);
  g_mutex_clear (&slow.lock);
}

static void
test_close (void)
{
  Fixture fixture = { { 0 } };
  g_autoptr (ZcioMemoryOwner) owner = NULL;
  GBytes *before;
  GBytes *after;
  guint8 memory[1];

  g_test_summary ("A closed owner releases nothing, but still makes bytes");

  owner = zcio_memory_owner_new (on_release, &fixture, on_notify);
  before = zcio_memory_owner_wrap (owner, (guintptr) memory, 1, 1);

  zcio_memory_owner_close (owner);
  g_assert_cmpint (fixture.notified, ==, 1);
  g_bytes_unref (before);
  g_assert_cmpint (fixture.released[1], ==, 0);

  after = zcio_memory_owner_wrap (owner, (guintptr) memory, 1, 2);
  g_assert_cmpuint (g_bytes_get_size (after), ==, 1);
  g_bytes_unref (after);
  g_assert_cmpint (fixture.released[2], ==, 0);

  zcio_memory_owner_close (owner);
  g_assert_finalize_object (g_steal_pointer (&owner));
  g_assert_cmpint (fixture.notified, ==, 1);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/memory-owner/wrap", test_wrap);
  g_test_add_func ("/memory-owner/token", test_token);
  g_test_add_func ("/memory-owner/empty", test_empty);
  g_test_add_func ("/memory-owner/outlives", test_outlives);
  g_test_add_func ("/memory-owner/other-thread", test_other_thread);
  g_test_add_func ("/memory-owner/threads", test_threads);
  g_test_add_func ("/memory-owner/close", test_close);
  g_test_add_func ("/memory-owner/close-waits", test_close_waits);
  g_test_add_func ("/memory-owner/bad-input", test_bad_input);
  g_test_add_func ("/memory-owner/no-python", test_no_python);
  g_test_add_func ("/memory-owner/without-function", test_without_function);

  return g_test_run ();
}
