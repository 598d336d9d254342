/* test-file-splice.c - splicing files
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gfiledescriptorbased.h>
#include <gio/gunixinputstream.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "splice-fixture.h"

#define MIB ((guint64) 1024 * 1024)

/* More than a window, and no multiple of a page. */
#define FILE_SIZE (18 * MIB + 12345)

/* What a probe sends at most, and there is at most one in a second. */
#define PROBE_SIZE (256 * 1024)

typedef struct
{
  const char *name;
  gboolean is_async;
  gboolean is_mapped;
  SpliceSetup setup;
} Case;

static const Case cases[] = {
  { "mapped/sync", FALSE, TRUE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 } },
  { "mapped/async", TRUE, TRUE, { ZCIO_TEST_FAMILY_IPV6, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 } },
  { "mapped-small-buffer/sync", FALSE, TRUE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 32768 } },
  { "mapped-small-buffer/async", TRUE, TRUE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 32768 } },
  { "sendfile/sync", FALSE, FALSE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_NEVER, 0, 0 } },
  { "sendfile/async", TRUE, FALSE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_NEVER, 0, 0 } },
  { "unix/sync", FALSE, FALSE, { ZCIO_TEST_FAMILY_UNIX, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 } },
  { "unix/async", TRUE, FALSE, { ZCIO_TEST_FAMILY_UNIX, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 } },
  { "auto/sync", FALSE, FALSE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_AUTO, 0, 0 } },
};

static void
assert_way (SpliceFixture *fixture,
            const Case    *test_case,
            guint64        size)
{
  g_autoptr (ZcioStatistics) statistics = zcio_socket_stream_get_statistics (fixture->stream);

  splice_assert_statistics (fixture->stream, size, size);
  /* On a slow machine there is time for a probe now and then, of one small window each. */
  if (test_case->setup.mode == ZCIO_ZERO_COPY_MODE_AUTO)
    {
      guint64 probes = statistics->sends_zero_copied + statistics->sends_copied_by_kernel;
      guint64 probed = size - statistics->bytes_copied_by_choice;

      g_assert_cmpuint (probed, <=, probes * PROBE_SIZE);
      g_assert_cmpfloat (probes, <=, g_test_timer_elapsed ());
    }
  else
    g_assert_cmpuint (statistics->bytes_copied_by_choice, ==, test_case->is_mapped ? 0 : size);
  g_assert_cmpuint (statistics->bytes_copied_for_enobufs, ==, 0);
}

static void
test_whole (gconstpointer data)
{
  const Case *test_case = data;
  SpliceFixture fixture;
  g_autoptr (GInputStream) source = NULL;
  g_autoptr (GError) error = NULL;
  int fd;

  g_test_summary ("Every byte of a file arrives, and no byte of it is read");

  if (!splice_may_pin (&test_case->setup) || !splice_fixture_set_up (&fixture, &test_case->setup))
    return;

  fd = splice_make_file (FILE_SIZE);
  source = g_unix_input_stream_new (fd, TRUE);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, FILE_SIZE);
  g_assert_no_error (error);
  g_assert_cmpint (splice_get_offset (fd), ==, FILE_SIZE);
  g_assert_false (g_input_stream_has_pending (source));
  g_assert_false (g_input_stream_is_closed (source));
  g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (fixture.stream)));
  assert_way (&fixture, test_case, FILE_SIZE);

  /* At the end there is nothing more. */
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, 0);
  g_assert_no_error (error);
  assert_way (&fixture, test_case, FILE_SIZE);

  splice_fixture_tear_down (&fixture, FILE_SIZE, NULL);
}

static void
test_file_stream (gconstpointer data)
{
  const Case *test_case = data;
  const goffset start = 3 * MIB + 4567;
  SpliceFixture fixture;
  g_autoptr (GFileIOStream) io_stream = NULL;
  g_autoptr (GFile) file = g_file_new_tmp (NULL, &io_stream, NULL);
  g_autoptr (GFileInputStream) source = NULL;
  g_autoptr (GError) error = NULL;
  int fd = g_file_descriptor_based_get_fd (
    G_FILE_DESCRIPTOR_BASED (g_io_stream_get_output_stream (G_IO_STREAM (io_stream))));

  g_test_summary ("A GFileInputStream is spliced from its position, and ends at the end");

  if (!splice_may_pin (&test_case->setup) || !splice_fixture_set_up (&fixture, &test_case->setup))
    return;

  /* The pattern begins at the position. */
  splice_append_pattern (fd, 0, start);
  g_assert_cmpint (ftruncate (fd, start), ==, 0);
  for (guint64 i = 0; i < 5; i++)
    {
      g_autofree guint8 *part = g_malloc (MIB);

      zcio_test_pattern_fill (i * MIB, part, MIB);
      g_assert_cmpint (pwrite (fd, part, MIB, start + i * MIB), ==, MIB);
    }

  source = g_file_read (file, NULL, &error);
  g_assert_no_error (error);
  g_seekable_seek (G_SEEKABLE (source), start, G_SEEK_SET, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, G_INPUT_STREAM (source),
                               G_OUTPUT_STREAM_SPLICE_NONE, NULL, &error), ==, 5 * MIB);
  g_assert_no_error (error);
  g_assert_cmpint (g_seekable_tell (G_SEEKABLE (source)), ==, start + 5 * MIB);
  assert_way (&fixture, test_case, 5 * MIB);

  g_assert_true (g_file_delete (file, NULL, NULL));
  splice_fixture_tear_down (&fixture, 5 * MIB, NULL);
}

/* Of a splice that got stuck. Fills the socket, and returns how much was accepted. */
static guint64
start_and_stall (SpliceFixture  *fixture,
                 GInputStream   *source,
                 GCancellable   *cancellable,
                 GAsyncResult  **result)
{
  guint64 accepted = 0;
  guint n_equal = 0;

  g_output_stream_splice_async (G_OUTPUT_STREAM (fixture->stream), source,
                                G_OUTPUT_STREAM_SPLICE_NONE, G_PRIORITY_DEFAULT, cancellable,
                                zcio_test_store_result, result);
  while (n_equal < 10)
    {
      g_autoptr (ZcioStatistics) statistics = NULL;

      zcio_test_run_for (NULL, 10);
      g_assert_null (*result);
      statistics = zcio_socket_stream_get_statistics (fixture->stream);
      n_equal = statistics->bytes_written > 0 && statistics->bytes_written == accepted ? n_equal + 1 : 0;
      accepted = statistics->bytes_written;
    }

  return accepted;
}

/* Reads all that there is, into memory. */
typedef struct
{
  GSocket *socket;
  GByteArray *bytes;
} Collector;

static gpointer
collect (gpointer data)
{
  Collector *collector = data;
  gssize n;

  do
    {
      guint8 part[65536];

      n = g_socket_receive (collector->socket, (char *) part, sizeof part, NULL, NULL);
      if (n > 0)
        g_byte_array_append (collector->bytes, part, n);
    }
  while (n > 0);

  return NULL;
}

/* How many bytes from the beginning on are the pattern. */
static gsize
count_pattern (GByteArray *bytes)
{
  return zcio_test_pattern_check (0, bytes->data, bytes->len);
}

typedef enum
{
  CUT_OFF,
  CUT_OFF_AND_WRITE_AGAIN,
  CUT_OFF_ALL,
  GROW,
  REPLACE
} Change;

static void
change_file (int        fd,
             const char *path,
             Change     change,
             goffset    where)
{
  switch (change)
    {
    case CUT_OFF:
      g_assert_cmpint (ftruncate (fd, where), ==, 0);
      break;

    case CUT_OFF_AND_WRITE_AGAIN:
      g_assert_cmpint (ftruncate (fd, where), ==, 0);
      splice_append_pattern (fd, where, FILE_SIZE);
      break;

    case CUT_OFF_ALL:
      g_assert_cmpint (ftruncate (fd, 0), ==, 0);
      break;

    case GROW:
      splice_append_pattern (fd, FILE_SIZE, where);
      break;

    case REPLACE:
    default:
      {
        g_autofree char *other = g_strconcat (path, ".new", NULL);

        g_assert_true (g_file_set_contents (other, "other", -1, NULL));
        g_assert_cmpint (g_rename (other, path), ==, 0);
      }
    }
}

typedef struct
{
  const Case *test_case;
  Change change;
} ChangeCase;

/* What may come: the pattern up to where the file was cut off, or beyond, if it was sent before
 * that; and zeros for what was cut off in flight.
 */
static void
assert_content (GByteArray *bytes,
                Change      change,
                gsize       where)
{
  gsize good = count_pattern (bytes);

  switch (change)
    {
    case CUT_OFF_AND_WRITE_AGAIN:
    case CUT_OFF:
      g_assert_cmpuint (good, >=, MIN (where, bytes->len));
      for (gsize i = good; i < bytes->len; i++)
        {
          guint8 expected;

          zcio_test_pattern_fill (i, &expected, 1);
          g_assert_true (bytes->data[i] == 0 || bytes->data[i] == expected);
        }
      break;

    case CUT_OFF_ALL:
      for (gsize i = good; i < bytes->len; i++)
        {
          guint8 expected;

          zcio_test_pattern_fill (i, &expected, 1);
          g_assert_true (bytes->data[i] == 0 || bytes->data[i] == expected);
        }
      break;

    case GROW:
      g_assert_cmpuint (bytes->len, ==, where);
      g_assert_cmpuint (good, ==, bytes->len);
      break;

    case REPLACE:
    default:
      g_assert_cmpuint (bytes->len, ==, FILE_SIZE);
      g_assert_cmpuint (good, ==, bytes->len);
    }
}

static void
test_change (gconstpointer data)
{
  const ChangeCase *change_case = data;
  SpliceSetup setup = change_case->test_case->setup;
  SpliceFixture fixture = { 0 };
  Collector collector;
  GThread *thread;
  g_autoptr (GInputStream) source = NULL;
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *path = NULL;
  goffset where;
  guint64 accepted;
  gssize n;
  int fd;

  g_test_summary ("A file that changes while it is spliced does no harm, and what goes out is "
                  "what sendfile() would have sent");

  if (!zcio_test_socket_pair (setup.family, 65536, &fixture.socket, &fixture.peer))
    return;
  fixture.stream = zcio_socket_stream_new (fixture.socket);
  zcio_socket_stream_set_zero_copy_mode (fixture.stream, setup.mode);

  fd = g_file_open_tmp ("zcio-splice-XXXXXX", &path, &error);
  g_assert_no_error (error);
  splice_append_pattern (fd, 0, FILE_SIZE);
  source = g_unix_input_stream_new (fd, TRUE);

  accepted = start_and_stall (&fixture, source, NULL, &result);
  g_assert_cmpuint (accepted, <, 8 * MIB);
  where = change_case->change == GROW ? FILE_SIZE + 5 * MIB + 77 : 10 * MIB + 1234;
  change_file (fd, path, change_case->change, where);

  collector.socket = fixture.peer;
  collector.bytes = g_byte_array_new ();
  thread = g_thread_new ("collector", collect, &collector);
  zcio_test_wait_until (NULL, result != NULL);
  n = g_output_stream_splice_finish (G_OUTPUT_STREAM (fixture.stream), result, &error);
  g_assert_no_error (error);

  if (change_case->change == CUT_OFF)
    g_assert_cmpint (n, ==, where);
  if (change_case->change == CUT_OFF_ALL)
    g_assert_cmpuint (n, ==, accepted);
  g_assert_cmpint (splice_get_offset (fd), ==, n);

  g_clear_object (&result);
  g_output_stream_close (G_OUTPUT_STREAM (fixture.stream), NULL, &error);
  g_assert_no_error (error);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_finalize_object (g_steal_pointer (&fixture.stream));
  g_assert_finalize_object (g_steal_pointer (&fixture.socket));
  g_thread_join (thread);
  g_assert_cmpuint (collector.bytes->len, ==, n);
  assert_content (collector.bytes, change_case->change, where);

  g_byte_array_unref (collector.bytes);
  g_clear_object (&fixture.peer);
  g_unlink (path);
}

static void
test_special (gconstpointer data)
{
  const Case *test_case = data;
  static const char *const paths[] = { "/proc/version", "/proc/self/limits",
                                       "/sys/kernel/mm/transparent_hugepage/enabled", "/dev/null" };

  g_test_summary ("Files without a size, and such as cannot be mapped, are sent as reading gives them");

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    {
      SpliceSetup setup = test_case->setup;
      SpliceFixture fixture;
      g_autoptr (GFile) file = g_file_new_for_path (paths[i]);
      g_autoptr (GFileInputStream) source = NULL;
      g_autoptr (GError) error = NULL;
      g_autofree char *contents = NULL;
      g_autofree char *expected = NULL;
      g_autofree char *sha256 = NULL;
      gsize size = 0;

      if (!g_file_test (paths[i], G_FILE_TEST_EXISTS))
        {
          g_test_message ("there is no %s", paths[i]);
          continue;
        }

      setup.reader = ZCIO_TEST_READER_NO_PATTERN | ZCIO_TEST_READER_SHA256;
      if (!splice_fixture_set_up (&fixture, &setup))
        return;

      if (!g_str_equal (paths[i], "/dev/null"))
        g_assert_true (g_file_get_contents (paths[i], &contents, &size, NULL));
      expected = g_compute_checksum_for_data (G_CHECKSUM_SHA256, (guint8 *) contents, size);

      source = g_file_read (file, NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpint (splice_run (&fixture, test_case->is_async, G_INPUT_STREAM (source),
                                   G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE, NULL, &error), ==, size);
      g_assert_no_error (error);
      splice_fixture_tear_down (&fixture, size, &sha256);
      g_assert_cmpstr (sha256, ==, expected);
    }
}

/* What fails to be read in any way, and how reading says so. */
static int
open_unreadable (guint i)
{
  int fd;

  if (i == 0)
    {
      /* No memory is at this address, which is EIO. */
      fd = open ("/proc/self/mem", O_RDONLY | O_CLOEXEC);
      g_assert_cmpint (lseek (fd, 4096, SEEK_SET), ==, 4096);
      return fd;
    }
  else
    {
      g_autofree char *path = NULL;

      fd = g_file_open_tmp ("zcio-splice-XXXXXX", &path, NULL);
      splice_append_pattern (fd, 0, MIB);
      close (fd);
      fd = open (path, O_WRONLY | O_CLOEXEC);
      g_unlink (path);
      return fd;
    }
}

static void
test_source_error (gconstpointer data)
{
  const Case *test_case = data;

  g_test_summary ("An error of the file reaches the caller as the source tells it");

  for (guint i = 0; i < 2; i++)
    {
      SpliceFixture fixture;
      g_autoptr (GInputStream) source = NULL;
      g_autoptr (GError) expected = NULL;
      g_autoptr (GError) error = NULL;
      char byte;

      if (!splice_fixture_set_up (&fixture, &test_case->setup))
        return;

      source = g_unix_input_stream_new (open_unreadable (i), TRUE);
      g_assert_cmpint (g_input_stream_read (source, &byte, 1, NULL, &expected), ==, -1);
      g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, -1);
      g_assert_error (error, expected->domain, expected->code);
      g_assert_cmpstr (error->message, ==, expected->message);

      g_assert_false (g_input_stream_has_pending (source));
      splice_fixture_tear_down (&fixture, 0, NULL);
    }
}

static void
test_cancel (gconstpointer data)
{
  const Case *test_case = data;
  SpliceSetup setup = test_case->setup;
  SpliceFixture fixture;
  g_autoptr (GInputStream) source = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;
  guint64 accepted;
  int fd;

  g_test_summary ("A cancelled splice stops, and the source is where the peer's bytes end");

  setup.reader = ZCIO_TEST_READER_PAUSED;
  setup.buffer_size = 65536;
  if (!splice_may_pin (&setup) || !splice_fixture_set_up (&fixture, &setup))
    return;

  fd = splice_make_file (FILE_SIZE);
  source = g_unix_input_stream_new (fd, TRUE);
  accepted = start_and_stall (&fixture, source, cancellable, &result);
  g_assert_true (g_input_stream_has_pending (source));
  g_cancellable_cancel (cancellable);
  zcio_test_wait_until (NULL, result != NULL);
  g_assert_cmpint (g_output_stream_splice_finish (G_OUTPUT_STREAM (fixture.stream), result, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_cmpint (splice_get_offset (fd), ==, accepted);

  /* Before anything, too. */
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, cancellable, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_cmpint (splice_get_offset (fd), ==, accepted);

  /* The rest goes on where it was. */
  g_clear_object (&result);
  zcio_test_reader_resume (fixture.reader);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==,
                   FILE_SIZE - accepted);
  g_assert_no_error (error);
  assert_way (&fixture, test_case, FILE_SIZE);
  splice_fixture_tear_down (&fixture, FILE_SIZE, NULL);
}

static void
test_timeout (gconstpointer data)
{
  const Case *test_case = data;
  SpliceSetup setup = test_case->setup;
  SpliceFixture fixture;
  g_autoptr (GInputStream) source = NULL;
  g_autoptr (GError) error = NULL;
  goffset accepted;
  int fd;

  g_test_summary ("A peer that reads nothing makes a splice time out");

  setup.reader = ZCIO_TEST_READER_PAUSED;
  setup.buffer_size = 65536;
  if (!splice_fixture_set_up (&fixture, &setup))
    return;

  g_socket_set_timeout (fixture.socket, 1);
  fd = splice_make_file (FILE_SIZE);
  source = g_unix_input_stream_new (fd, TRUE);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);

  accepted = splice_get_offset (fd);
  g_assert_cmpint (accepted, >, 0);
  splice_assert_statistics (fixture.stream, accepted, accepted);

  zcio_test_reader_resume (fixture.reader);
  splice_fixture_tear_down (&fixture, accepted, NULL);
}

static void
test_reset (gconstpointer data)
{
  const Case *test_case = data;
  SpliceSetup setup = test_case->setup;
  SpliceFixture fixture = { 0 };
  g_autoptr (GInputStream) source = NULL;
  g_autoptr (GError) error = NULL;
  struct sigaction action = { .sa_handler = SIG_DFL };
  struct sigaction before;

  g_test_summary ("A peer that is gone is an error, and never a SIGPIPE");

  if (!zcio_test_socket_pair (setup.family, 65536, &fixture.socket, &fixture.peer))
    return;
  fixture.stream = zcio_socket_stream_new (fixture.socket);
  zcio_socket_stream_set_zero_copy_mode (fixture.stream, setup.mode);

  /* By now GLib has the signal ignored. */
  sigaction (SIGPIPE, &action, &before);
  source = g_unix_input_stream_new (splice_make_file (FILE_SIZE), TRUE);
  g_assert_true (g_socket_close (fixture.peer, NULL));
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED);
  g_clear_error (&error);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  sigaction (SIGPIPE, &before, NULL);

  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (fixture.stream), NULL, NULL));
  g_clear_object (&fixture.stream);
  g_clear_object (&fixture.socket);
  g_clear_object (&fixture.peer);
}

/* The reader is slow. */
#define LIMIT_SIZE (MIB + 1)
#define LIMIT ((guint64) 128 * 1024)

static void
test_limit (gconstpointer data)
{
  const Case *test_case = data;
  SpliceSetup setup = test_case->setup;
  SpliceFixture fixture;
  g_autoptr (GInputStream) source = NULL;
  g_autoptr (ZcioStatistics) statistics = NULL;
  g_autoptr (GError) error = NULL;

  g_test_summary ("A splice keeps to max-bytes-in-flight");

  setup.reader = ZCIO_TEST_READER_SLOW;
  if (!splice_fixture_set_up (&fixture, &setup))
    return;

  g_object_set (fixture.stream, "max-bytes-in-flight", LIMIT, NULL);
  source = g_unix_input_stream_new (splice_make_file (LIMIT_SIZE), TRUE);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, LIMIT_SIZE);
  g_assert_no_error (error);
  statistics = zcio_socket_stream_get_statistics (fixture.stream);
  g_assert_cmpuint (statistics->peak_bytes_in_flight, >, 0);
  /* A send that was begun below the limit may exceed it. */
  g_assert_cmpuint (statistics->peak_bytes_in_flight, <, 2 * LIMIT);
  splice_fixture_tear_down (&fixture, LIMIT_SIZE, NULL);
}

#define SMALL_SIZE (100 * 1024 + 1)

/* Dropped without a flush: the linger waits for the pages then. */
static void
test_dropped (gconstpointer data)
{
  const Case *test_case = data;
  SpliceSetup setup = test_case->setup;
  SpliceFixture fixture;
  g_autoptr (GInputStream) source = NULL;
  g_autoptr (GError) error = NULL;

  g_test_summary ("What is in flight arrives, whatever becomes of the file, its windows and the "
                  "stream");

  /* All of it fits into the buffers. */
  setup.reader = ZCIO_TEST_READER_PAUSED;
  setup.buffer_size = 512 * 1024;
  if (!splice_fixture_set_up (&fixture, &setup))
    return;

  source = g_unix_input_stream_new (splice_make_file (SMALL_SIZE), TRUE);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source,
                               G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE, NULL, &error), ==, SMALL_SIZE);
  g_assert_no_error (error);
  g_assert_true (g_input_stream_is_closed (source));
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_finalize_object (g_steal_pointer (&fixture.stream));
  zcio_test_reader_resume (fixture.reader);
  splice_fixture_tear_down (&fixture, SMALL_SIZE, NULL);
}

static void
add_case (const char   *name,
          const Case   *test_case,
          GTestDataFunc function)
{
  g_autofree char *path = g_strdup_printf ("/zcio/file-splice/%s/%s", name, test_case->name);

  g_test_add_data_func (path, test_case, function);
}

static void
add_change (const char *name,
            const Case *test_case,
            Change      change)
{
  g_autofree char *path = g_strdup_printf ("/zcio/file-splice/%s/%s", name, test_case->name);
  ChangeCase *change_case = g_new (ChangeCase, 1);

  *change_case = (ChangeCase) { test_case, change };
  g_test_add_data_func_full (path, change_case, test_change, g_free);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      const Case *test_case = &cases[i];

      add_case ("whole", test_case, test_whole);
      add_case ("file-stream", test_case, test_file_stream);
      add_case ("special", test_case, test_special);
      add_case ("source-error", test_case, test_source_error);
      add_case ("cancel", test_case, test_cancel);
      add_case ("timeout", test_case, test_timeout);
      add_case ("reset", test_case, test_reset);
      add_case ("dropped", test_case, test_dropped);
      if (test_case->is_mapped)
        add_case ("limit", test_case, test_limit);
      if (test_case->is_async)
        {
          add_change ("cut-off", test_case, CUT_OFF);
          add_change ("cut-off-and-write-again", test_case, CUT_OFF_AND_WRITE_AGAIN);
          add_change ("cut-off-all", test_case, CUT_OFF_ALL);
          add_change ("grow", test_case, GROW);
          add_change ("replace", test_case, REPLACE);
        }
    }

  return g_test_run ();
}
