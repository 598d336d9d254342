/* test-splice-large.c - splicing large files
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <gio/gunixinputstream.h>
#include <unistd.h>

#include "splice-fixture.h"

#define MIB ((guint64) 1024 * 1024)
#define LARGE_SIZE (1024 * MIB)
#define HUGE_SIZE (2048 * MIB + 5 * MIB + 1)

typedef struct
{
  const char *name;
  gboolean is_async;
  gboolean is_mapped;
  SpliceSetup setup;
} Case;

static const Case cases[] = {
  { "mapped/sync", FALSE, TRUE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 } },
  { "mapped/async", TRUE, TRUE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_ALWAYS, 0, 0 } },
  { "sendfile/sync", FALSE, FALSE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_NEVER, 0, 0 } },
  { "sendfile/async", TRUE, FALSE, { ZCIO_TEST_FAMILY_IPV4, ZCIO_ZERO_COPY_MODE_NEVER, 0, 0 } },
};

/* Made once for all cases. */
static int large_fd = -1;

static void
splice_file (const Case *test_case,
             int         fd,
             guint64     size,
             gboolean    is_pattern)
{
  SpliceSetup setup = test_case->setup;
  SpliceFixture fixture;
  g_autoptr (GInputStream) source = g_unix_input_stream_new (fd, FALSE);
  g_autoptr (ZcioStatistics) statistics = NULL;
  g_autoptr (GError) error = NULL;

  if (!is_pattern)
    setup.reader |= ZCIO_TEST_READER_NO_PATTERN;
  if (!splice_fixture_set_up (&fixture, &setup))
    return;

  g_assert_cmpint (lseek (fd, 0, SEEK_SET), ==, 0);
  g_assert_cmpint (splice_run (&fixture, test_case->is_async, source, 0, NULL, &error), ==, size);
  g_assert_no_error (error);
  g_assert_cmpint (splice_get_offset (fd), ==, size);

  /* On loopback a slow peer makes the sends small; on a wire there are fewer calls. */
  splice_assert_statistics (fixture.stream, size, size);
  statistics = zcio_socket_stream_get_statistics (fixture.stream);
  g_test_message ("%" G_GUINT64_FORMAT " system calls", statistics->system_calls);
  g_assert_cmpuint (statistics->system_calls, <=, size / (128 * 1024));
  g_assert_cmpuint (statistics->bytes_copied_by_choice, ==, test_case->is_mapped ? 0 : size);
  g_assert_cmpuint (statistics->bytes_copied_for_enobufs, ==, 0);

  splice_fixture_tear_down (&fixture, size, NULL);
}

static void
test_large (gconstpointer data)
{
  g_test_summary ("A file of 1 GiB arrives whole, with few calls into the kernel");

  if (large_fd < 0)
    large_fd = splice_make_file (LARGE_SIZE);
  splice_file (data, large_fd, LARGE_SIZE, TRUE);
}

static void
test_huge (gconstpointer data)
{
  int fd = splice_make_file (0);

  g_test_summary ("Counts and positions beyond 2 GiB are right");

  g_assert_cmpint (ftruncate (fd, HUGE_SIZE), ==, 0);
  splice_file (data, fd, HUGE_SIZE, FALSE);
  close (fd);
}

int
main (int    argc,
      char **argv)
{
  int result;

  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *large = g_strdup_printf ("/zcio/splice-large/large/%s", cases[i].name);
      g_autofree char *huge = g_strdup_printf ("/zcio/splice-large/huge/%s", cases[i].name);

      g_test_add_data_func (large, &cases[i], test_large);
      g_test_add_data_func (huge, &cases[i], test_huge);
    }

  result = g_test_run ();
  if (large_fd >= 0)
    close (large_fd);

  return result;
}
