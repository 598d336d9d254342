/* test-buffer-pool-sharing.c - what threads and processes share of a pool
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <zcio/zcio.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buffer-pool-fixture.h"

/* Acquires, writes, hands over to any thread, checks what it gets from any, and drops it. */
#define N_THREADS 4
#define N_HAMMER 3000
#define HAMMER_SIZE (16 * KIB)

typedef struct
{
  ZcioBufferPool *pool;
  /* Not a GAsyncQueue: ThreadSanitizer does not see the lock in it. */
  GMutex lock;
  GQueue queue;
  int n_full;
} Hammer;

static void
hammer_push (Hammer *hammer,
             GBytes *bytes)
{
  g_mutex_lock (&hammer->lock);
  g_queue_push_tail (&hammer->queue, bytes);
  g_mutex_unlock (&hammer->lock);
}

/* NULL if no more than so many are in the queue. */
static GBytes *
hammer_pop (Hammer *hammer,
            guint   left)
{
  GBytes *bytes = NULL;

  g_mutex_lock (&hammer->lock);
  if (hammer->queue.length > left)
    bytes = g_queue_pop_head (&hammer->queue);
  g_mutex_unlock (&hammer->lock);

  return bytes;
}

static gpointer
hammer_thread (gpointer data)
{
  Hammer *hammer = data;

  for (guint i = 0; i < N_HAMMER; i++)
    {
      ZcioBuffer *buffer = zcio_buffer_pool_acquire (hammer->pool, NULL);
      GBytes *bytes;

      if (buffer == NULL)
        {
          g_atomic_int_inc (&hammer->n_full);
        }
      else
        {
          guint32 *memory = zcio_buffer_get_data (buffer, NULL);

          memory[0] = memory[HAMMER_SIZE / 4 - 1] = g_random_int ();
          hammer_push (hammer, zcio_buffer_to_bytes (buffer, HAMMER_SIZE));
          zcio_buffer_unref (buffer);
        }

      if (i % 64 == 0)
        zcio_buffer_pool_trim (hammer->pool);

      /* Leaves some in the queue, so that the limit is met now and then. */
      while ((bytes = hammer_pop (hammer, 20 + i % 20)) != NULL)
        {
          const guint32 *memory = g_bytes_get_data (bytes, NULL);

          g_assert_cmpuint (memory[0], ==, memory[HAMMER_SIZE / 4 - 1]);
          g_bytes_unref (bytes);
        }
    }

  return NULL;
}

static void
test_threads (void)
{
  GThread *threads[N_THREADS];
  Hammer hammer = { .pool = NULL };
  guint64 max_bytes = 30 * HAMMER_SIZE;

  g_test_summary ("Threads share a pool and drop each other's buffers, also when the pool is full and after it is gone");

  hammer.pool = zcio_buffer_pool_new (HAMMER_SIZE);
  g_mutex_init (&hammer.lock);
  zcio_buffer_pool_set_max_bytes (hammer.pool, max_bytes);

  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("hammer", hammer_thread, &hammer);
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);

  g_assert_cmpuint (zcio_buffer_pool_get_n_acquired (hammer.pool) + (guint64) hammer.n_full,
                    ==, N_THREADS * N_HAMMER);
  g_assert_cmpuint (zcio_buffer_pool_get_peak_bytes_in_use (hammer.pool), <=, max_bytes);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (hammer.pool),
                    ==, (guint64) hammer.queue.length * HAMMER_SIZE);
  g_assert_finalize_object (hammer.pool);
  g_queue_clear_full (&hammer.queue, (GDestroyNotify) g_bytes_unref);
  g_mutex_clear (&hammer.lock);
}

/* KiB of huge pages in the mapping of an address; 0 if that cannot be told. */
static guint64
get_huge_kib (gconstpointer address)
{
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL;
  gboolean inside = FALSE;

  if (!g_file_get_contents ("/proc/self/smaps", &text, NULL, NULL))
    return 0;

  lines = g_strsplit (text, "\n", -1);
  for (gsize i = 0; lines[i] != NULL; i++)
    {
      unsigned long from;
      unsigned long to;

      if (sscanf (lines[i], "%lx-%lx ", &from, &to) == 2)
        inside = (guintptr) address >= from && (guintptr) address < to;
      else if (inside && g_str_has_prefix (lines[i], "AnonHugePages:"))
        return g_ascii_strtoull (lines[i] + strlen ("AnonHugePages:"), NULL, 10);
    }

  return 0;
}

static void
assert_child (pid_t child)
{
  int status;

  g_assert_cmpint (child, >, 0);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 0);
}

/* Linked with where coverage is measured: _exit () would lose what the child has reached. */
extern void __gcov_dump (void) __attribute__ ((weak));

static void G_GNUC_NORETURN
exit_child (int status)
{
  if (__gcov_dump != NULL)
    __gcov_dump ();
  _exit (status);
}

static void
test_fork_huge_pages (void)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (2 * MIB);
  g_autoptr (ZcioBuffer) buffer = acquire (pool);
  guint8 *data = zcio_buffer_get_data (buffer, NULL);
  int ends[2];
  guint64 before;
  pid_t child;
  char byte;

  g_test_summary ("A child process does not take the huge pages from its parent");

  memset (data, 1, 2 * MIB);
  before = get_huge_kib (data);
  if (before == 0)
    {
      g_test_skip ("the system gave no transparent huge page");
      return;
    }

  g_assert_cmpint (pipe (ends), ==, 0);
  child = fork ();
  if (child == 0)
    {
      gboolean ended;

      close (ends[1]);
      ended = read (ends[0], &byte, 1) == 0;
      g_clear_pointer (&buffer, zcio_buffer_unref);
      g_clear_object (&pool);
      exit_child (ended ? 0 : 1);
    }
  close (ends[0]);

  memset (data, 2, 2 * MIB);
  g_assert_cmpuint (get_huge_kib (data), ==, before);

  close (ends[1]);
  assert_child (child);
}

static void
fork_child (ZcioBufferPool *pool,
            ZcioBuffer *buffer,
            GBytes *bytes)
{
  gconstpointer inherited = g_bytes_get_data (bytes, NULL);
  gpointer mine;
  GBytes *fresh;

  /* What the parent had is not there; somebody else gets its addresses. */
  g_assert_false (is_mapped (inherited));
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 0);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 0);
  g_assert_false (zcio_buffer_pool_get_huge_pages (pool));
  mine = mmap ((gpointer) inherited, 2 * MIB, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  g_assert_true (mine == inherited);
  memset (mine, 9, 2 * MIB);

  /* A new buffer is of new memory, and old ones may go. */
  fresh = acquire_bytes (pool, 3);
  g_bytes_unref (bytes);
  zcio_buffer_unref (buffer);
  g_bytes_unref (acquire_bytes (pool, 4));
  g_assert_cmpuint (((const guint8 *) g_bytes_get_data (fresh, NULL))[MIB - 1], ==, 3);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, MIB);
  g_bytes_unref (fresh);
  zcio_buffer_pool_trim (pool);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 0);
  g_object_unref (pool);

  for (gsize i = 0; i < 2 * MIB; i++)
    g_assert_cmpuint (((guint8 *) mine)[i], ==, 9);
}

static void
test_fork (void)
{
  ZcioBufferPool *pool = zcio_buffer_pool_new (MIB);
  ZcioBuffer *buffer;
  GBytes *bytes;
  pid_t child;

  g_test_summary ("A child process begins anew, may drop what it inherited, and touches nobody's memory");

  bytes = acquire_bytes (pool, 1);
  buffer = acquire (pool);
  g_bytes_unref (acquire_bytes (pool, 2));

  child = fork ();
  if (child == 0)
    {
      fork_child (pool, buffer, bytes);
      exit_child (0);
    }
  assert_child (child);

  g_assert_cmpuint (((const guint8 *) g_bytes_get_data (bytes, NULL))[MIB - 1], ==, 1);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 2 * MIB);
  g_bytes_unref (bytes);
  zcio_buffer_unref (buffer);
  g_object_unref (pool);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/buffer-pool/threads", test_threads);
  g_test_add_func ("/buffer-pool/fork-huge-pages", test_fork_huge_pages);
  g_test_add_func ("/buffer-pool/fork", test_fork);

  return g_test_run ();
}
