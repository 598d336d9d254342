/* test-debug.c - tests of what finds programs that write to memory in flight
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <zcio/zcio.h>

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zcio/zcio-debug-private.h"

/* The messages of the library, as "LEVEL: message". */
static GPtrArray *messages;

static const char *
get_field (const GLogField *fields,
           gsize n_fields,
           const char *key)
{
  for (gsize i = 0; i < n_fields; i++)
    if (strcmp (fields[i].key, key) == 0)
      return fields[i].value;

  return NULL;
}

static GLogWriterOutput
collect_message (GLogLevelFlags level,
                 const GLogField *fields,
                 gsize n_fields,
                 gpointer user_data)
{
  const char *name = "OTHER";

  if (g_strcmp0 (get_field (fields, n_fields, "GLIB_DOMAIN"), "Zcio") != 0)
    return g_log_writer_default (level, fields, n_fields, user_data);

  if (level & G_LOG_LEVEL_CRITICAL)
    name = "CRITICAL";
  else if (level & G_LOG_LEVEL_WARNING)
    name = "WARNING";
  else if (level & G_LOG_LEVEL_MESSAGE)
    name = "MESSAGE";

  g_ptr_array_add (messages, g_strdup_printf ("%s: %s [%s/%s]", name,
                                              get_field (fields, n_fields, "MESSAGE"),
                                              get_field (fields, n_fields, "ZCIO_SIZE"),
                                              get_field (fields, n_fields, "ZCIO_AGE_USEC")));

  return G_LOG_WRITER_HANDLED;
}

/* Checks that the next message is of the pattern, and forgets it. */
static void
assert_message (const char *pattern)
{
  g_assert_cmpuint (messages->len, >, 0);
  if (!g_pattern_match_simple (pattern, messages->pdata[0]))
    g_error ("“%s” is not “%s”", (char *) messages->pdata[0], pattern);
  g_ptr_array_remove_index (messages, 0);
}

static void
assert_no_message (void)
{
  if (messages->len > 0)
    g_error ("unexpected: “%s”", (char *) messages->pdata[0]);
}

static void
test_parse (void)
{
  const struct
  {
    const char *value;
    ZcioDebugFlags flags;
  } cases[] = {
    { NULL, ZCIO_DEBUG_NONE },
    { "", ZCIO_DEBUG_NONE },
    { " , ;:\t", ZCIO_DEBUG_NONE },
    { "checksum", ZCIO_DEBUG_CHECKSUM },
    { "protect", ZCIO_DEBUG_PROTECT },
    { "checksum,protect", ZCIO_DEBUG_CHECKSUM | ZCIO_DEBUG_PROTECT },
    { "protect checksum", ZCIO_DEBUG_CHECKSUM | ZCIO_DEBUG_PROTECT },
    { " protect ,, checksum ", ZCIO_DEBUG_CHECKSUM | ZCIO_DEBUG_PROTECT },
    { "Checksum", ZCIO_DEBUG_CHECKSUM },
    { "all", ZCIO_DEBUG_CHECKSUM | ZCIO_DEBUG_PROTECT },
    { "all,protect", ZCIO_DEBUG_CHECKSUM },
  };

  g_test_summary ("Words may be separated by commas and spaces; all means all but those named");

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    g_assert_cmphex (zcio_debug_parse (cases[i].value), ==, cases[i].flags);
  assert_no_message ();
}

static void
test_parse_unknown (void)
{
  g_test_summary ("Each unknown word is named in a warning, and the others count");

  g_assert_cmphex (zcio_debug_parse ("check,protect sums,protec"), ==, ZCIO_DEBUG_PROTECT);
  assert_message ("WARNING: *“check”*");
  assert_message ("WARNING: *“sums”*");
  assert_message ("WARNING: *“protec”*");
  assert_no_message ();

  g_assert_cmphex (zcio_debug_parse ("100%s"), ==, ZCIO_DEBUG_NONE);
  assert_message ("WARNING: *“100%s”*");
  assert_no_message ();
}

static void
test_parse_help (void)
{
  g_test_summary ("help lists the words in a message, and prints nothing");

  g_assert_cmphex (zcio_debug_parse ("help,checksum"), ==, ZCIO_DEBUG_CHECKSUM);
  assert_message ("MESSAGE: *checksum*protect*");
  assert_no_message ();
}

static void
test_environment (void)
{
  g_test_summary ("The environment is read once, and a wrong word there is named once");

  if (g_test_subprocess ())
    {
      g_setenv ("ZCIO_DEBUG", "nonsense,checksum", TRUE);
      g_assert_cmphex (zcio_debug_get_flags (), ==, ZCIO_DEBUG_CHECKSUM);
      assert_message ("WARNING: *“nonsense”*");
      g_setenv ("ZCIO_DEBUG", "protect,rubbish", TRUE);
      g_assert_cmphex (zcio_debug_get_flags (), ==, ZCIO_DEBUG_CHECKSUM);
      assert_no_message ();
      return;
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
}

static void
test_environment_unset (void)
{
  g_test_summary ("Without the environment variable nothing is on");

  if (g_test_subprocess ())
    {
      g_unsetenv ("ZCIO_DEBUG");
      g_assert_cmphex (zcio_debug_get_flags (), ==, ZCIO_DEBUG_NONE);
      assert_no_message ();
      return;
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
}

static void
test_checksum (void)
{
  guint8 data[200];
  guint64 before;

  g_test_summary ("Any bit that changes, and any other size, changes the checksum; the alignment does not");

  for (gsize i = 0; i < sizeof data; i++)
    data[i] = (guint8) (i * 37 + 11);

  for (gsize size = 0; size <= 130; size++)
    {
      guint8 copy[201];

      before = zcio_debug_checksum (data, size);
      memcpy (copy + 1, data, sizeof data);
      g_assert_cmphex (zcio_debug_checksum (copy + 1, size), ==, before);
      g_assert_cmphex (zcio_debug_checksum (data, size + 1), !=, before);

      for (gsize bit = 0; bit < size * 8; bit++)
        {
          data[bit / 8] ^= (guint8) (1 << bit % 8);
          g_assert_cmphex (zcio_debug_checksum (data, size), !=, before);
          data[bit / 8] ^= (guint8) (1 << bit % 8);
        }
      g_assert_cmphex (zcio_debug_checksum (data, size), ==, before);
    }

  /* The topmost bit of neighbours in one lane, and words that change places. */
  memset (data, 0, sizeof data);
  before = zcio_debug_checksum (data, 128);
  data[7] ^= 0x80;
  data[39] ^= 0x80;
  g_assert_cmphex (zcio_debug_checksum (data, 128), !=, before);
  memset (data, 0, sizeof data);
  data[0] = 1;
  before = zcio_debug_checksum (data, 128);
  data[0] = 0;
  data[8] = 1;
  g_assert_cmphex (zcio_debug_checksum (data, 128), !=, before);
  data[8] = 0;
  data[32] = 1;
  g_assert_cmphex (zcio_debug_checksum (data, 128), !=, before);
}

static void
test_record (void)
{
  guint8 first[100] = { 0 };
  guint8 second[5000] = { 0 };
  guint8 third[50] = { 0 };
  const struct iovec vectors[] = {
    { first, sizeof first },
    { NULL, 0 },
    { second, sizeof second },
    { third, sizeof third },
  };
  ZcioDebugRecord *record;

  g_test_summary ("A change is reported with the size and the age of the send; no change is not");

  record = zcio_debug_record_new (vectors, G_N_ELEMENTS (vectors), 5150, 1000);
  g_assert_true (zcio_debug_record_check (record, 2000));
  assert_no_message ();

  second[4999] = 1;
  g_assert_false (zcio_debug_record_check (record, 1000 + 1234));
  assert_message ("CRITICAL: *5150 bytes*1234 µs*5000 bytes at 0x*[5150/1234]");
  assert_no_message ();

  second[4999] = 0;
  g_assert_true (zcio_debug_record_check (record, 5000));
  third[49] = 1;
  g_assert_false (zcio_debug_record_check (record, 5000));
  assert_message ("CRITICAL: *50 bytes at 0x*[5150/4000]");
  zcio_debug_record_free (record);
}

static void
test_record_part (void)
{
  guint8 first[100] = { 0 };
  guint8 second[100] = { 0 };
  const struct iovec vectors[] = { { first, sizeof first }, { second, sizeof second } };
  g_autoptr (ZcioDebugRecord) part = NULL;
  g_autoptr (ZcioDebugRecord) none = NULL;

  g_test_summary ("What the kernel has not taken may change");

  part = zcio_debug_record_new (vectors, G_N_ELEMENTS (vectors), 130, 0);
  none = zcio_debug_record_new (vectors, G_N_ELEMENTS (vectors), 0, 0);

  second[30] = 1;
  g_assert_true (zcio_debug_record_check (part, 1));
  second[29] = 1;
  g_assert_false (zcio_debug_record_check (part, 1));
  assert_message ("CRITICAL: *130 bytes*30 bytes at*");
  g_assert_true (zcio_debug_record_check (none, 1));
  assert_no_message ();
}

/* In memory, since the compiler does not know when they are looked at: by the handler,
 * and by what looks for leaks when the process ends there.
 */
static guint8 *volatile expected_fault;
static gpointer volatile kept[3];

static void
on_fault (int signal_number,
          siginfo_t *info,
          void *context)
{
  const char text[] = "fault at the culprit\n";
  const char other[] = "fault elsewhere\n";

  if (info->si_addr == expected_fault)
    _exit (write (STDOUT_FILENO, text, sizeof text - 1) > 0 ? 0 : 1);
  _exit (write (STDOUT_FILENO, other, sizeof other - 1) > 0 ? 1 : 2);
}

static void
catch_faults (void)
{
  struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

  g_assert_cmpint (sigaction (SIGSEGV, &action, NULL), ==, 0);
}

static void
test_protect_wrong (void)
{
  g_test_summary ("A program that writes to a pool's buffer after it has become bytes faults there");

  if (g_test_subprocess ())
    {
      g_autoptr (ZcioBufferPool) pool = NULL;
      ZcioBuffer *buffer;
      GBytes *bytes;
      volatile guint8 *data;
      gsize size;

      g_setenv ("ZCIO_DEBUG", "protect", TRUE);
      pool = zcio_buffer_pool_new (10000);
      buffer = zcio_buffer_pool_acquire (pool, NULL);
      data = zcio_buffer_get_data (buffer, &size);
      g_assert_cmpuint (size, ==, 10000);
      memset ((guint8 *) data, 1, size);
      bytes = zcio_buffer_to_bytes (buffer, 100);
      g_assert_cmpuint (((const guint8 *) g_bytes_get_data (bytes, NULL))[99], ==, 1);

      catch_faults ();
      kept[0] = g_object_ref (pool);
      kept[1] = buffer;
      kept[2] = bytes;
      expected_fault = (guint8 *) data + 5000;
      data[5000] = 2;
      g_assert_not_reached ();
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
  g_test_trap_assert_stdout ("*fault at the culprit*");
}

#define N_RIGHT_BUFFERS 8
#define RIGHT_SIZE 9000

static gpointer
unref_thread (gpointer data)
{
  g_bytes_unref (data);
  return NULL;
}

static void
test_protect_right (void)
{
  g_test_summary ("A right program never faults, whatever its neighbours in memory do");

  if (g_test_subprocess ())
    {
      g_autoptr (ZcioBufferPool) pool = NULL;
      GBytes *bytes[N_RIGHT_BUFFERS] = { NULL };

      g_setenv ("ZCIO_DEBUG", "all", TRUE);
      pool = zcio_buffer_pool_new (RIGHT_SIZE);
      for (guint i = 0; i < 500; i++)
        {
          guint at = (i * 5) % N_RIGHT_BUFFERS;
          ZcioBuffer *buffer;

          if (bytes[at] != NULL && i % 16 == 7)
            g_thread_join (g_thread_new ("unref", unref_thread, bytes[at]));
          else
            g_bytes_unref (bytes[at]);

          buffer = zcio_buffer_pool_acquire (pool, NULL);
          memset (zcio_buffer_get_data (buffer, NULL), (int) at + 1, RIGHT_SIZE);
          bytes[at] = zcio_buffer_to_bytes (buffer, RIGHT_SIZE);
          zcio_buffer_unref (buffer);

          for (guint j = 0; j < N_RIGHT_BUFFERS; j++)
            if (bytes[j] != NULL)
              g_assert_cmpuint (((const guint8 *) g_bytes_get_data (bytes[j], NULL))[RIGHT_SIZE - 1],
                                ==, j + 1);
        }
      g_assert_cmpuint (zcio_buffer_pool_get_n_recycled (pool), ==, 500 - N_RIGHT_BUFFERS);

      /* Memory goes back to the system protected or not. */
      g_clear_object (&pool);
      for (guint i = 0; i < N_RIGHT_BUFFERS; i++)
        g_bytes_unref (bytes[i]);
      assert_no_message ();
      return;
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
}

#define N_MANY 20000

static void
test_protect_many (void)
{
  g_test_summary ("With more buffers in flight than can be protected, none is lost, and each is writable again");

  if (g_test_subprocess ())
    {
      g_autoptr (ZcioBufferPool) pool = NULL;
      g_autoptr (GPtrArray) buffers = g_ptr_array_new_with_free_func ((GDestroyNotify) zcio_buffer_unref);
      g_autoptr (GPtrArray) bytes = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);

      g_setenv ("ZCIO_DEBUG", "protect", TRUE);
      pool = zcio_buffer_pool_new (4096);
      for (guint round = 0; round < 2; round++)
        {
          for (guint i = 0; i < N_MANY; i++)
            {
              ZcioBuffer *buffer = zcio_buffer_pool_acquire (pool, NULL);

              g_ptr_array_add (buffers, buffer);
              *(guint8 *) zcio_buffer_get_data (buffer, NULL) = (guint8) i;
            }

          /* First neighbours, then every other one. */
          for (guint i = 0; i < N_MANY; i += i < 1000 ? 1 : 2)
            g_ptr_array_add (bytes, zcio_buffer_to_bytes (buffers->pdata[i], 4096));

          g_ptr_array_set_size (buffers, 0);
          while (bytes->len > 0)
            g_ptr_array_remove_index_fast (bytes, bytes->len / 2);
          g_assert_cmpuint (zcio_buffer_pool_get_bytes_in_use (pool), ==, 0);
        }
      g_assert_cmpuint (zcio_buffer_pool_get_n_recycled (pool), ==, N_MANY);
      assert_no_message ();
      return;
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
}

/* Must be more than the library protects at the same time. */
#define N_TOO_MANY 8193

static void
test_protect_limit (void)
{
  g_test_summary ("So many buffers are protected at the same time and no more, however many there were before");

  if (g_test_subprocess ())
    {
      g_autoptr (ZcioBufferPool) pool = NULL;
      g_autoptr (GPtrArray) bytes = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
      volatile guint8 *data = NULL;

      g_setenv ("ZCIO_DEBUG", "protect", TRUE);
      pool = zcio_buffer_pool_new (4096);
      for (guint round = 0; round < 3; round++)
        {
          g_ptr_array_set_size (bytes, 0);
          for (guint i = 0; i < N_TOO_MANY; i++)
            {
              ZcioBuffer *buffer = zcio_buffer_pool_acquire (pool, NULL);

              data = zcio_buffer_get_data (buffer, NULL);
              g_ptr_array_add (bytes, zcio_buffer_to_bytes (buffer, 4096));
              zcio_buffer_unref (buffer);
            }
          /* The last one is not protected. */
          data[0] = 1;
        }

      /* The first one is. */
      catch_faults ();
      kept[0] = g_steal_pointer (&pool);
      kept[1] = g_ptr_array_ref (bytes);
      data = (guint8 *) g_bytes_get_data (bytes->pdata[0], NULL);
      expected_fault = (guint8 *) data;
      data[0] = 1;
      g_assert_not_reached ();
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
  g_test_trap_assert_stdout ("*fault at the culprit*");
}

static void
test_protect_fork (void)
{
  g_test_summary ("A child process does not change whether its own memory, where its parent had a buffer, "
                  "can be written to");

  if (g_test_subprocess ())
    {
      ZcioBufferPool *pool;
      ZcioBuffer *buffer;
      ZcioBuffer *sealed;
      GBytes *bytes;
      guint8 *data[2];
      pid_t child;
      int status;

      g_setenv ("ZCIO_DEBUG", "protect", TRUE);
      pool = zcio_buffer_pool_new (4096);
      buffer = zcio_buffer_pool_acquire (pool, NULL);
      sealed = zcio_buffer_pool_acquire (pool, NULL);
      data[0] = zcio_buffer_get_data (buffer, NULL);
      data[1] = zcio_buffer_get_data (sealed, NULL);
      bytes = zcio_buffer_to_bytes (sealed, 4096);
      zcio_buffer_unref (sealed);

      child = fork ();
      if (child == 0)
        {
          for (guint i = 0; i < 2; i++)
            if (mmap (data[i], 4096, i == 0 ? PROT_READ | PROT_WRITE : PROT_READ,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != data[i])
              _exit (1);

          g_bytes_unref (zcio_buffer_to_bytes (buffer, 4096));
          ((volatile guint8 *) data[0])[0] = 1;
          zcio_buffer_unref (buffer);

          g_bytes_unref (bytes);
          catch_faults ();
          expected_fault = data[1];
          ((volatile guint8 *) data[1])[0] = 1;
          _exit (2);
        }

      g_assert_cmpint (waitpid (child, &status, 0), ==, child);
      g_assert_true (WIFEXITED (status));
      g_assert_cmpint (WEXITSTATUS (status), ==, 0);
      zcio_buffer_unref (buffer);
      g_bytes_unref (bytes);
      g_object_unref (pool);
      return;
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
}

static void
test_protect_off (void)
{
  g_test_summary ("Without protect nothing is protected");

  if (g_test_subprocess ())
    {
      g_autoptr (ZcioBufferPool) pool = NULL;
      g_autoptr (ZcioBuffer) buffer = NULL;
      g_autoptr (GBytes) bytes = NULL;
      guint8 *data;

      g_setenv ("ZCIO_DEBUG", "checksum", TRUE);
      pool = zcio_buffer_pool_new (4096);
      buffer = zcio_buffer_pool_acquire (pool, NULL);
      data = zcio_buffer_get_data (buffer, NULL);
      bytes = zcio_buffer_to_bytes (buffer, 4096);
      data[0] = 1;
      g_assert_cmpuint (((const guint8 *) g_bytes_get_data (bytes, NULL))[0], ==, 1);
      return;
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
}

int
main (int argc,
      char **argv)
{
  int result;

  g_test_init (&argc, &argv, NULL);
  messages = g_ptr_array_new_with_free_func (g_free);
  g_log_set_writer_func (collect_message, NULL, NULL);

  g_test_add_func ("/debug/parse", test_parse);
  g_test_add_func ("/debug/parse/unknown", test_parse_unknown);
  g_test_add_func ("/debug/parse/help", test_parse_help);
  g_test_add_func ("/debug/environment", test_environment);
  g_test_add_func ("/debug/environment-unset", test_environment_unset);
  g_test_add_func ("/debug/checksum", test_checksum);
  g_test_add_func ("/debug/record", test_record);
  g_test_add_func ("/debug/record/part", test_record_part);
  g_test_add_func ("/debug/protect/wrong", test_protect_wrong);
  g_test_add_func ("/debug/protect/right", test_protect_right);
  g_test_add_func ("/debug/protect/many", test_protect_many);
  g_test_add_func ("/debug/protect/limit", test_protect_limit);
  g_test_add_func ("/debug/protect/fork", test_protect_fork);
  g_test_add_func ("/debug/protect/off", test_protect_off);

  result = g_test_run ();
  g_ptr_array_unref (messages);

  return result;
}
