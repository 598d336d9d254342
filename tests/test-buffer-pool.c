/* test-buffer-pool.c - tests of the buffers that come back by themselves
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <zcio/zcio.h>

#include <errno.h>
#include <string.h>

#include "buffer-pool-fixture.h"
#include "zcio/zcio-pool-memory-private.h"

static void
assert_full (ZcioBufferPool *pool)
{
  g_autoptr (GError) error = NULL;
  ZcioBuffer *buffer = zcio_buffer_pool_acquire (pool, &error);

  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_assert_null (buffer);
}

static void
test_basic (void)
{
  g_autoptr (ZcioBufferPool) pool = NULL;
  ZcioBuffer *buffer;
  GBytes *bytes;
  gpointer data;
  gsize size;

  g_test_summary ("A buffer is written to, becomes bytes without a copy, and comes back");

  pool = zcio_buffer_pool_new (10000);
  g_assert_cmpuint (zcio_buffer_pool_get_buffer_size (pool), ==, 10000);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 0);
  g_assert_false (zcio_buffer_pool_get_huge_pages (pool));

  buffer = acquire (pool);
  data = zcio_buffer_get_data (buffer, &size);
  g_assert_nonnull (data);
  g_assert_cmpuint (size, ==, 10000);
  g_assert_cmpuint (zcio_buffer_get_size (buffer), ==, 10000);
  g_assert_cmpuint (zcio_buffer_get_address (buffer), ==, (guintptr) data);
  memset (data, 'x', size);

  bytes = zcio_buffer_to_bytes (buffer, 5000);
  g_assert_true (g_bytes_get_data (bytes, &size) == data);
  g_assert_cmpuint (size, ==, 5000);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 12288);

  zcio_buffer_unref (buffer);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 12288);
  g_assert_cmpuint (((const char *) g_bytes_get_data (bytes, NULL))[4999], ==, 'x');
  g_bytes_unref (bytes);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 0);

  /* Without ever becoming bytes; and the other way round. */
  buffer = acquire (pool);
  zcio_buffer_unref (zcio_buffer_ref (buffer));
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 12288);
  zcio_buffer_unref (buffer);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 0);
  buffer = acquire (pool);
  g_bytes_unref (zcio_buffer_to_bytes (buffer, 0));
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 12288);
  zcio_buffer_unref (buffer);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 0);
}

static int
compare_pointers (gconstpointer a,
                  gconstpointer b)
{
  guintptr first = (guintptr) * (gpointer *) a;
  guintptr second = (guintptr) * (gpointer *) b;

  return (first > second) - (first < second);
}

static void
check_layout (gsize buffer_size,
              guint n_buffers)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (buffer_size);
  g_autoptr (GPtrArray) buffers = g_ptr_array_new_with_free_func ((GDestroyNotify) zcio_buffer_unref);
  g_autoptr (GPtrArray) addresses = g_ptr_array_new ();
  guint64 in_use;

  for (guint i = 0; i < n_buffers; i++)
    {
      ZcioBuffer *buffer = acquire (pool);
      gsize size;
      guint8 *data = zcio_buffer_get_data (buffer, &size);

      g_assert_cmpuint (size, ==, buffer_size);
      g_assert_cmpuint ((guintptr) data % zcio_pool_memory_get_page_size (), ==, 0);
      data[0] = data[size - 1] = (guint8) i;
      g_ptr_array_add (buffers, buffer);
      g_ptr_array_add (addresses, data);
    }

  for (guint i = 0; i < n_buffers; i++)
    g_assert_cmpuint (((guint8 *) addresses->pdata[i])[buffer_size - 1], ==, (guint8) i);

  g_ptr_array_sort (addresses, compare_pointers);
  for (guint i = 1; i < n_buffers; i++)
    g_assert_cmpuint ((guintptr) addresses->pdata[i] - (guintptr) addresses->pdata[i - 1], >=, buffer_size);

  in_use = zcio_buffer_pool_get_bytes_in_use (pool);
  g_assert_cmpuint (in_use, >=, n_buffers * buffer_size);
  g_assert_cmpuint (in_use, <, n_buffers * (buffer_size + zcio_pool_memory_get_page_size ()));
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), >=, in_use);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool) % ZCIO_HUGE_PAGE_SIZE, ==, 0);
}

static void
test_layout (void)
{
  g_test_summary ("Buffers of all sizes begin at a page and do not overlap");

  check_layout (1, 1100);
  check_layout (4096, 600);
  check_layout (4097, 300);
  check_layout (64 * KIB, 65);
  check_layout (700 * KIB, 20);
  check_layout (MIB, 7);
  check_layout (MIB + 1, 20);
  check_layout (3 * MIB / 2, 10);
  check_layout (2 * MIB, 3);
  check_layout (2 * MIB + 4 * KIB, 9);
  check_layout (5 * MIB, 5);
}

static void
test_huge_alignment (void)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (2 * MIB);

  g_test_summary ("Buffers of the size of a huge page begin at one");

  for (guint i = 0; i < 5; i++)
    {
      ZcioBuffer *buffer = acquire (pool);

      g_assert_cmpuint (zcio_buffer_get_address (buffer) % ZCIO_HUGE_PAGE_SIZE, ==, 0);
      zcio_buffer_unref (buffer);
      if (i % 2 == 0)
        zcio_buffer_pool_trim (pool);
    }
}

static gboolean
system_has_huge_pages (void)
{
  g_autofree char *text = NULL;

  return g_file_get_contents ("/sys/kernel/mm/transparent_hugepage/enabled", &text, NULL, NULL) &&
         strstr (text, "[never]") == NULL;
}

static void
test_huge_pages (void)
{
  g_autoptr (ZcioBufferPool) pool = NULL;
  g_autoptr (ZcioBufferPool) small = NULL;
  ZcioBuffer *buffer;

  g_test_summary ("The pool says whether it may be on huge pages");

  if (!system_has_huge_pages ())
    {
      g_test_skip ("this system has no transparent huge pages");
      return;
    }

  pool = zcio_buffer_pool_new (64 * KIB);
  g_assert_false (zcio_buffer_pool_get_huge_pages (pool));
  buffer = acquire (pool);
  g_assert_true (zcio_buffer_pool_get_huge_pages (pool));
  zcio_buffer_unref (buffer);
  zcio_buffer_pool_trim (pool);
  g_assert_false (zcio_buffer_pool_get_huge_pages (pool));

  /* Too small for one. */
  small = zcio_buffer_pool_new (64 * KIB);
  zcio_buffer_pool_set_max_bytes (small, MIB);
  buffer = acquire (small);
  g_assert_false (zcio_buffer_pool_get_huge_pages (small));
  zcio_buffer_unref (buffer);
}

static gpointer
unref_bytes_thread (gpointer data)
{
  g_bytes_unref (data);
  return NULL;
}

static void
test_recycle (void)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (64 * KIB);
  gconstpointer first;
  GBytes *bytes;

  g_test_summary ("The buffer that came back last is the first to go, whichever thread dropped it");

  bytes = acquire_bytes (pool, 1);
  first = g_bytes_get_data (bytes, NULL);
  g_bytes_unref (bytes);

  for (guint i = 0; i < 100; i++)
    {
      bytes = acquire_bytes (pool, 2);
      g_assert_true (g_bytes_get_data (bytes, NULL) == first);
      if (i % 10 == 0)
        g_thread_join (g_thread_new ("unref", unref_bytes_thread, bytes));
      else
        g_bytes_unref (bytes);
    }

  g_assert_cmpuint (zcio_buffer_pool_get_n_acquired (pool), ==, 101);
  g_assert_cmpuint (zcio_buffer_pool_get_n_recycled (pool), ==, 100);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 2 * MIB);
  g_assert_cmpuint (zcio_buffer_pool_get_peak_bytes_in_use (pool), ==, 64 * KIB);
}

static void
test_grow_and_trim (void)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (64 * KIB);
  GBytes *bytes[100];

  g_test_summary ("The pool grows by slabs, and gives idle ones back when asked");

  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    bytes[i] = acquire_bytes (pool, (guint8) i);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 6400 * KIB);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 8 * MIB);

  /* One of each slab but the last stays. */
  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    if (i % 32 != 5 || i >= 96)
      g_clear_pointer (&bytes[i], g_bytes_unref);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 8 * MIB);
  zcio_buffer_pool_trim (pool);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 6 * MIB);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 192 * KIB);

  for (guint i = 5; i < 96; i += 32)
    {
      g_assert_cmpuint (((const guint8 *) g_bytes_get_data (bytes[i], NULL))[64 * KIB - 1], ==, i);
      g_bytes_unref (bytes[i]);
    }
  zcio_buffer_pool_trim (pool);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 0);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 0);
  g_assert_cmpuint (zcio_buffer_pool_get_peak_bytes_in_use (pool), ==, 6400 * KIB);

  g_bytes_unref (acquire_bytes (pool, 1));
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 2 * MIB);
}

static void
check_limit (gsize buffer_size,
             guint64 max_bytes,
             guint expected)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (buffer_size);
  g_autoptr (GPtrArray) buffers = g_ptr_array_new_with_free_func ((GDestroyNotify) zcio_buffer_unref);

  zcio_buffer_pool_set_max_bytes (pool, max_bytes);
  for (guint round = 0; round < 3; round++)
    {
      while (buffers->len < expected)
        {
          ZcioBuffer *buffer = acquire (pool);

          memset (zcio_buffer_get_data (buffer, NULL), 1, buffer_size);
          g_ptr_array_add (buffers, buffer);
          g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), <=, max_bytes);
        }
      assert_full (pool);

      /* Room comes back. */
      g_ptr_array_set_size (buffers, (int) (expected * round / 2));
    }
}

static void
test_limit (void)
{
  g_test_summary ("The pool never has more memory than it may, and makes the most of that");

  check_limit (4096, 4095, 0);
  check_limit (4096, 4096, 1);
  check_limit (4096, 20000, 4);
  check_limit (64 * KIB, MIB, 16);
  check_limit (64 * KIB, 3 * MIB, 48);
  check_limit (MIB, 5 * MIB + 1, 5);
  check_limit (3 * MIB / 2, 7 * MIB, 4);
  check_limit (2 * MIB, 4 * MIB, 2);
  check_limit (5 * MIB, 4 * MIB, 0);
}

static void
test_limit_lowered (void)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (MIB);
  ZcioBuffer *buffers[8];

  g_test_summary ("A limit that is lowered holds as soon as buffers are back");

  for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
    buffers[i] = acquire (pool);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 8 * MIB);

  zcio_buffer_unref (buffers[7]);
  zcio_buffer_unref (buffers[6]);
  zcio_buffer_pool_set_max_bytes (pool, 4 * MIB);
  g_assert_cmpuint (zcio_buffer_pool_get_max_bytes (pool), ==, 4 * MIB);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 6 * MIB);
  assert_full (pool);

  /* One of each pair: the slabs are still in use, but less is in use than may be. */
  zcio_buffer_unref (buffers[0]);
  assert_full (pool);
  zcio_buffer_unref (buffers[2]);
  assert_full (pool);
  zcio_buffer_unref (buffers[4]);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 6 * MIB);
  buffers[0] = acquire (pool);
  assert_full (pool);
  zcio_buffer_unref (buffers[0]);

  zcio_buffer_unref (buffers[1]);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 4 * MIB);
  zcio_buffer_unref (buffers[3]);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 4 * MIB);
  zcio_buffer_unref (buffers[5]);

  zcio_buffer_pool_set_max_bytes (pool, 0);
  for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
    buffers[i] = acquire (pool);
  for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
    zcio_buffer_unref (buffers[i]);
}

static void
test_limit_of_idle (void)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (MIB);
  ZcioBuffer *buffers[4];

  g_test_summary ("Idle memory stays that is not above the limit, or when there is none any more");

  for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
    buffers[i] = acquire (pool);
  for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
    zcio_buffer_unref (buffers[i]);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 4 * MIB);

  zcio_buffer_pool_set_max_bytes (pool, 4 * MIB);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 4 * MIB);
  zcio_buffer_pool_set_max_bytes (pool, 2 * MIB);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 2 * MIB);
  zcio_buffer_pool_set_max_bytes (pool, 0);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 2 * MIB);
}

static void
test_no_memory (void)
{
  g_autoptr (ZcioBufferPool) pool = NULL;
  g_autoptr (GError) error = NULL;
  ZcioBuffer *buffer;
  int errsv = ENOMEM;

  g_test_summary ("A system without that much memory is an error, not an abort");

  pool = zcio_buffer_pool_new (G_MAXSIZE / 64);
  buffer = zcio_buffer_pool_acquire (pool, &error);
  g_assert_null (buffer);
  g_assert_nonnull (error);
  /* Valgrind says instead that the size is invalid. */
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT))
    errsv = EINVAL;
  g_assert_error (error, G_IO_ERROR, (int) g_io_error_from_errno (errsv));
  g_assert_true (g_str_has_prefix (error->message, "Error mapping memory"));
  g_assert_true (g_str_has_suffix (error->message, g_strerror (errsv)));
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 0);
  g_assert_cmpuint (zcio_buffer_pool_get_n_acquired (pool), ==, 0);
}

static void
test_outlives (void)
{
  ZcioBufferPool *pool = zcio_buffer_pool_new (MIB);
  gconstpointer addresses[5];
  GBytes *bytes[5];

  g_test_summary ("Buffers outlive their pool, and their memory goes with them");

  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    {
      bytes[i] = acquire_bytes (pool, (guint8) i);
      addresses[i] = g_bytes_get_data (bytes[i], NULL);
    }
  g_assert_finalize_object (pool);

  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    g_assert_cmpuint (((const guint8 *) addresses[i])[MIB - 1], ==, i);
  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    {
      g_assert_true (is_mapped (addresses[i]));
      g_thread_join (g_thread_new ("unref", unref_bytes_thread, bytes[i]));
    }

  /* The last one went when nobody has mapped anything since. */
  g_assert_false (is_mapped (addresses[4]));
}

static void
test_properties (void)
{
  g_autoptr (ZcioBufferPool) pool = NULL;
  ZcioBuffer *buffer;
  guint notified = 0;
  guint64 buffer_size;
  guint64 max_bytes;
  guint64 allocated;
  guint64 in_use;
  guint64 peak;
  guint64 acquired;
  guint64 recycled;
  gboolean huge_pages = -1;

  g_test_summary ("Everything is a property, and max-bytes can be set");

  pool = g_object_new (ZCIO_TYPE_BUFFER_POOL, NULL);
  g_assert_cmpuint (zcio_buffer_pool_get_buffer_size (pool), ==, MIB);
  g_assert_cmpuint (zcio_buffer_pool_get_max_bytes (pool), ==, 0);
  g_object_unref (pool);

  pool = g_object_new (ZCIO_TYPE_BUFFER_POOL,
                       "buffer-size", (guint64) (64 * KIB),
                       "max-bytes", (guint64) (4 * MIB),
                       NULL);
  buffer = acquire (pool);
  zcio_buffer_unref (acquire (pool));
  zcio_buffer_unref (acquire (pool));
  g_object_get (pool,
                "buffer-size", &buffer_size,
                "max-bytes", &max_bytes,
                "bytes-allocated", &allocated,
                "bytes-in-use", &in_use,
                "peak-bytes-in-use", &peak,
                "n-acquired", &acquired,
                "n-recycled", &recycled,
                "huge-pages", &huge_pages,
                NULL);
  g_assert_cmpuint (buffer_size, ==, 64 * KIB);
  g_assert_cmpuint (max_bytes, ==, 4 * MIB);
  g_assert_cmpuint (allocated, ==, 2 * MIB);
  g_assert_cmpuint (in_use, ==, 64 * KIB);
  g_assert_cmpuint (peak, ==, 128 * KIB);
  g_assert_cmpuint (acquired, ==, 3);
  g_assert_cmpuint (recycled, ==, 1);
  g_assert_cmpint (huge_pages, ==, zcio_buffer_pool_get_huge_pages (pool));
  zcio_buffer_unref (buffer);

  g_signal_connect_swapped (pool, "notify::max-bytes", G_CALLBACK (g_atomic_int_inc), &notified);
  zcio_buffer_pool_set_max_bytes (pool, 4 * MIB);
  g_assert_cmpuint (notified, ==, 0);
  g_object_set (pool, "max-bytes", (guint64) MIB, NULL);
  g_assert_cmpuint (notified, ==, 1);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_allocated (pool), ==, 0);
}

static void
test_boxed (void)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (4096);
  GValue value = G_VALUE_INIT;

  g_test_summary ("A buffer fits into a value, which holds a reference");

  g_value_init (&value, ZCIO_TYPE_BUFFER);
  g_value_take_boxed (&value, acquire (pool));
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 4096);
  g_assert_cmpuint (zcio_buffer_get_size (g_value_get_boxed (&value)), ==, 4096);
  zcio_buffer_unref (g_value_dup_boxed (&value));
  g_value_unset (&value);
  g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 0);
}

static void
test_set_contents (void)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (100);
  g_autoptr (ZcioBuffer) buffer = acquire (pool);
  g_autoptr (GBytes) bytes = NULL;

  g_test_summary ("Contents can be copied in, as far as they fit");

  zcio_buffer_set_contents (buffer, 0, "hello", 5);
  zcio_buffer_set_contents (buffer, 5, " world", 6);
  zcio_buffer_set_contents (buffer, 99, "!", 1);
  zcio_buffer_set_contents (buffer, 100, NULL, 0);
  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*offset <= buffer_size*");
  zcio_buffer_set_contents (buffer, 99, "??", 2);
  g_test_assert_expected_messages ();
  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*offset <= buffer_size*");
  zcio_buffer_set_contents (buffer, G_MAXSIZE, "?", 1);
  g_test_assert_expected_messages ();

  bytes = zcio_buffer_to_bytes (buffer, 100);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), 11, "hello world", 11);
  g_assert_cmpint (((const char *) g_bytes_get_data (bytes, NULL))[99], ==, '!');
}

static void
test_bad_input (void)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (100);
  g_autoptr (ZcioBuffer) buffer = acquire (pool);
  g_autoptr (GBytes) bytes = NULL;
  gsize size = 42;

  g_test_summary ("A buffer becomes bytes once, of at most its size, and cannot be written to afterwards");

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*buffer_size > 0*");
  g_assert_null (zcio_buffer_pool_new (0));
  g_test_assert_expected_messages ();

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*buffer_size <=*");
  g_assert_null (zcio_buffer_pool_new (G_MAXSIZE));
  g_test_assert_expected_messages ();

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*size <=*");
  g_assert_null (zcio_buffer_to_bytes (buffer, 101));
  g_test_assert_expected_messages ();

  bytes = zcio_buffer_to_bytes (buffer, 100);
  g_assert_nonnull (bytes);

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*first*");
  g_assert_null (zcio_buffer_to_bytes (buffer, 50));
  g_test_assert_expected_messages ();

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*converted*");
  g_assert_null (zcio_buffer_get_data (buffer, &size));
  g_test_assert_expected_messages ();
  g_assert_cmpuint (size, ==, 0);

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*converted*");
  g_assert_cmpuint (zcio_buffer_get_address (buffer), ==, 0);
  g_test_assert_expected_messages ();
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/buffer-pool/basic", test_basic);
  g_test_add_func ("/buffer-pool/layout", test_layout);
  g_test_add_func ("/buffer-pool/huge-alignment", test_huge_alignment);
  g_test_add_func ("/buffer-pool/huge-pages", test_huge_pages);
  g_test_add_func ("/buffer-pool/recycle", test_recycle);
  g_test_add_func ("/buffer-pool/grow-and-trim", test_grow_and_trim);
  g_test_add_func ("/buffer-pool/limit", test_limit);
  g_test_add_func ("/buffer-pool/limit-lowered", test_limit_lowered);
  g_test_add_func ("/buffer-pool/limit-of-idle", test_limit_of_idle);
  g_test_add_func ("/buffer-pool/no-memory", test_no_memory);
  g_test_add_func ("/buffer-pool/outlives", test_outlives);
  g_test_add_func ("/buffer-pool/properties", test_properties);
  g_test_add_func ("/buffer-pool/boxed", test_boxed);
  g_test_add_func ("/buffer-pool/set-contents", test_set_contents);
  g_test_add_func ("/buffer-pool/bad-input", test_bad_input);

  return g_test_run ();
}
