/* test-utilities.c - tests what the tests share, and the real kernel's table
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "test-util.h"
#include "zcio/zcio-syscalls-private.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void
test_pattern (void)
{
  guint64 state = zcio_test_get_seed ();
  guint8 data[4096];

  g_test_summary ("The pattern is the same at any alignment, and each changed byte is found");

  for (guint i = 0; i < 1000; i++)
    {
      guint64 position = zcio_test_random (&state);
      gsize size = zcio_test_random_range (&state, 1, sizeof data);
      gsize part = zcio_test_random_range (&state, 0, size - 1);

      zcio_test_pattern_fill (position, data, part);
      zcio_test_pattern_fill (position + part, data + part, size - part);
      g_assert_cmpuint (zcio_test_pattern_check (position, data, size), ==, size);

      data[part] ^= 1 << zcio_test_random_range (&state, 0, 7);
      g_assert_cmpuint (zcio_test_pattern_check (position, data, size), ==, part);
    }
}

static void
test_pattern_bytes (void)
{
  gint released = 0;
  GBytes *bytes = zcio_test_pattern_bytes (77, 1000, &released);
  gsize size;
  const guint8 *data = g_bytes_get_data (bytes, &size);

  g_test_summary ("Bytes of the pattern count their release");

  g_assert_cmpuint (size, ==, 1000);
  g_assert_cmpuint (zcio_test_pattern_check (77, data, size), ==, size);
  g_assert_cmpint (released, ==, 0);
  g_bytes_unref (bytes);
  g_assert_cmpint (released, ==, 1);
}

static void
send_pattern (GSocket *socket,
              guint64 position,
              gsize size)
{
  guint8 *data = g_malloc (size);
  GError *error = NULL;
  gsize sent = 0;

  zcio_test_pattern_fill (position, data, size);
  while (sent < size)
    {
      sent += g_socket_send (socket, (const char *) data + sent, size - sent, NULL, &error);
      g_assert_no_error (error);
    }
  g_free (data);
}

static void
test_reader (gconstpointer data)
{
  const gsize size = 3 * 1000 * 1000;
  ZcioTestReader *reader;
  GSocket *first, *second;
  GError *error = NULL;
  char *sha256, *expected;
  guint8 *pattern;

  g_test_summary ("A reader pauses and resumes, and gets what was sent");

  if (!zcio_test_socket_pair (GPOINTER_TO_INT (data), 0, &first, &second))
    return;

  reader = zcio_test_reader_new (second, 5, ZCIO_TEST_READER_SHA256);
  send_pattern (first, 5, size / 2);
  zcio_test_reader_wait_received (reader, size / 2);
  zcio_test_reader_pause (reader);
  send_pattern (first, 5 + size / 2, 100);
  g_assert_cmpuint (zcio_test_reader_get_received (reader), ==, size / 2);
  zcio_test_reader_resume (reader);
  send_pattern (first, 5 + size / 2 + 100, size / 2 - 100);
  g_socket_shutdown (first, FALSE, TRUE, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, &sha256), ==, size);

  pattern = g_malloc (size);
  zcio_test_pattern_fill (5, pattern, size);
  expected = g_compute_checksum_for_data (G_CHECKSUM_SHA256, pattern, size);
  g_assert_cmpstr (sha256, ==, expected);

  g_free (pattern);
  g_free (expected);
  g_free (sha256);
  g_object_unref (first);
  g_object_unref (second);
}

static void
test_reader_wrong (void)
{
  g_test_summary ("A reader finds a wrong byte");

  if (g_test_subprocess ())
    {
      ZcioTestReader *reader;
      GSocket *first, *second;

      if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_UNIX, 0, &first, &second))
        return;
      reader = zcio_test_reader_new (second, 0, ZCIO_TEST_READER_DEFAULT);
      send_pattern (first, 0, 1000);
      send_pattern (first, 1001, 1000);
      g_socket_shutdown (first, FALSE, TRUE, NULL);
      zcio_test_reader_finish (reader, NULL, NULL);
      return;
    }

  g_test_trap_subprocess (NULL, 0, 0);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*position 1000 of the stream is wrong*");
}

static void
test_namespace (void)
{
  GSocket *first, *second;
  char *value;
  GError *error = NULL;

  g_test_summary ("A namespace has loopback and the given optmem_max");

  if (!zcio_test_in_namespace (20480))
    return;

  g_file_get_contents ("/proc/sys/net/core/optmem_max", &value, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (value, ==, "20480\n");
  g_assert_true (zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 4096, &first, &second));
  send_pattern (first, 0, 10);
  g_free (value);
  g_object_unref (first);
  g_object_unref (second);
}

static void
test_wait (void)
{
  GMainContext *context = g_main_context_new ();
  guint before = zcio_test_get_polls ();

  g_test_summary ("An idle context polls hardly at all");

  zcio_test_count_polls (context);
  g_assert_cmpuint (zcio_test_run_for (context, 50), <, 10);
  g_assert_cmpuint (zcio_test_get_polls () - before, <, 10);
  g_assert_cmpuint (zcio_test_get_polls () - before, >, 0);
  zcio_test_wait_until (context, zcio_test_get_polls () - before > 12);
  g_main_context_unref (context);
}

/* The real kernel's table */

static void
test_real_supported (gconstpointer data)
{
  ZcioSyscalls *syscalls = zcio_syscalls_get_real ();
  GSocket *first, *second;
  gboolean known;

  g_test_summary ("Zero-copy is for TCP, and its counter is known if nothing was sent");

  if (!zcio_test_socket_pair (GPOINTER_TO_INT (data), 0, &first, &second))
    return;

  g_assert_cmpint (syscalls->enable_zero_copy (syscalls, g_socket_get_fd (first), &known), ==, 0);
  g_assert_true (known);
  /* From now on nobody can tell whether it was used. */
  g_assert_cmpint (syscalls->enable_zero_copy (syscalls, g_socket_get_fd (first), &known), ==, 0);
  g_assert_false (known);

  send_pattern (second, 0, 1);
  g_assert_cmpint (syscalls->enable_zero_copy (syscalls, g_socket_get_fd (second), &known), ==, 0);
  g_assert_false (known);

  g_object_unref (first);
  g_object_unref (second);
}

static void
test_real_unsupported (void)
{
  static const struct
  {
    int domain;
    int type;
    int protocol;
  } kinds[] = {
    { AF_UNIX, SOCK_STREAM, 0 },
    { AF_INET, SOCK_DGRAM, 0 },
    { AF_INET6, SOCK_DGRAM, 0 },
    { AF_INET, SOCK_STREAM, 262 /* MPTCP */ },
    { AF_VSOCK, SOCK_STREAM, 0 },
  };
  ZcioSyscalls *syscalls = zcio_syscalls_get_real ();
  gboolean known = TRUE;

  g_test_summary ("What is not a stream over TCP is refused; so is what is no socket");

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      int fd = socket (kinds[i].domain, kinds[i].type | SOCK_CLOEXEC, kinds[i].protocol);

      if (fd < 0)
        {
          g_test_message ("No socket (%d, %d, %d) here: %s", kinds[i].domain, kinds[i].type, kinds[i].protocol, g_strerror (errno));
          continue;
        }
      g_assert_cmpint (syscalls->enable_zero_copy (syscalls, fd, &known), ==, -1);
      g_assert_cmpint (errno, ==, EOPNOTSUPP);
      g_assert_false (known);
      close (fd);
    }

  g_assert_cmpint (syscalls->enable_zero_copy (syscalls, -1, &known), ==, -1);
  g_assert_cmpint (errno, ==, EOPNOTSUPP);
}

static void
test_real_send (void)
{
  ZcioSyscalls *syscalls = zcio_syscalls_get_real ();
  char data[] = "abcdef";
  struct iovec vectors[2] = { { data, 2 }, { data + 2, 4 } };
  struct msghdr message = { .msg_iov = vectors, .msg_iovlen = 1 };
  struct msghdr notification = { 0 };
  char received[16];
  GSocket *first, *second;
  int fd;

  g_test_summary ("The table's calls do what they stand for");

  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 0, &first, &second))
    return;

  fd = g_socket_get_fd (first);
  g_assert_cmpint (syscalls->send_message (syscalls, fd, &message, 0), ==, 2);
  message.msg_iov = vectors + 1;
  g_assert_cmpint (syscalls->send_message (syscalls, fd, &message, MSG_MORE), ==, 4);
  message.msg_iov = vectors;
  message.msg_iovlen = 2;
  g_assert_cmpint (syscalls->send_message (syscalls, fd, &message, 0), ==, 6);
  g_assert_cmpint (recv (g_socket_get_fd (second), received, 12, MSG_WAITALL), ==, 12);
  g_assert_cmpmem (received, 12, "abcdefabcdef", 12);

  g_assert_cmpint (syscalls->receive_error (syscalls, fd, &notification), ==, -1);
  g_assert_cmpint (errno, ==, EAGAIN);
  g_assert_cmpint (syscalls->get_unacknowledged (syscalls, fd), >=, 0);
  g_assert_cmpint (syscalls->get_time (syscalls), >, 0);

  /* Would raise SIGPIPE or block, were it not for the flags that are added. */
  g_assert_cmpint (syscalls->disconnect (syscalls, fd), ==, 0);
  g_assert_cmpint (syscalls->send_message (syscalls, fd, &message, 0), ==, -1);
  g_assert_cmpint (recv (g_socket_get_fd (second), received, 12, 0), ==, -1);
  g_assert_cmpint (errno, ==, ECONNRESET);

  g_object_unref (first);
  g_object_unref (second);
}

static void
test_real_usage (void)
{
  const gsize page_size = (gsize) sysconf (_SC_PAGESIZE);
  const gsize n_pages = 5000;
  ZcioSyscalls *syscalls = zcio_syscalls_get_real ();
  ZcioUsage before = { 0 };
  ZcioUsage after = { 0 };
  volatile guint8 *memory;
  gint64 deadline;

  g_test_summary ("What a thread has used grows by what it uses, and by nothing else");

  syscalls->get_usage (syscalls, &before);
  deadline = g_get_monotonic_time () + 20000;
  while (g_get_monotonic_time () < deadline)
    ;
  syscalls->get_usage (syscalls, &after);
  g_assert_cmpuint (after.cpu, >, before.cpu);
  g_assert_cmpuint (after.cpu - before.cpu, <, (guint64) 10 * 1000000000);
  g_assert_cmpuint (after.faults - before.faults, <, n_pages);

  memory = mmap (NULL, n_pages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  g_assert_true (memory != MAP_FAILED);
  /* It fails where there are none. */
  madvise ((gpointer) memory, n_pages * page_size, MADV_NOHUGEPAGE);
  before = after;
  for (gsize i = 0; i < n_pages; i++)
    memory[i * page_size] = 1;
  syscalls->get_usage (syscalls, &after);
  g_assert_cmpuint (after.faults - before.faults, >=, n_pages);
  munmap ((gpointer) memory, n_pages * page_size);
}

static void
test_huge_blocks (void)
{
  int fd = memfd_create ("zcio-test", MFD_CLOEXEC);
  int huge_fd = memfd_create ("zcio-test", MFD_CLOEXEC | MFD_HUGETLB);

  g_test_summary ("Files that consist of huge pages are told from others");

  g_assert_cmpint (fd, >=, 0);
  g_assert_false (zcio_syscalls_has_huge_blocks (fd));
  close (fd);

  if (huge_fd < 0)
    {
      g_test_skip ("this kernel has no such files");
      return;
    }
  g_assert_true (zcio_syscalls_has_huge_blocks (huge_fd));
  close (huge_fd);
}

static void
test_default_table (void)
{
  ZcioSyscalls other = *zcio_syscalls_get_real ();

  g_test_summary ("The default table can be replaced and restored");

  g_assert_true (zcio_syscalls_get_default () == zcio_syscalls_get_real ());
  zcio_syscalls_set_default (&other);
  g_assert_true (zcio_syscalls_get_default () == &other);
  zcio_syscalls_set_default (NULL);
  g_assert_true (zcio_syscalls_get_default () == zcio_syscalls_get_real ());
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/utilities/pattern", test_pattern);
  g_test_add_func ("/utilities/pattern-bytes", test_pattern_bytes);
  for (int family = ZCIO_TEST_FAMILY_IPV4; family <= ZCIO_TEST_FAMILY_UNIX; family++)
    {
      char *path = g_strconcat ("/utilities/reader/", zcio_test_family_to_string (family), NULL);

      g_test_add_data_func (path, GINT_TO_POINTER (family), test_reader);
      g_free (path);
    }
  g_test_add_func ("/utilities/reader-wrong", test_reader_wrong);
  g_test_add_func ("/utilities/namespace", test_namespace);
  g_test_add_func ("/utilities/wait", test_wait);
  for (int family = ZCIO_TEST_FAMILY_IPV4; family <= ZCIO_TEST_FAMILY_V4_MAPPED; family++)
    {
      char *path = g_strconcat ("/syscalls/supported/", zcio_test_family_to_string (family), NULL);

      g_test_add_data_func (path, GINT_TO_POINTER (family), test_real_supported);
      g_free (path);
    }
  g_test_add_func ("/syscalls/unsupported", test_real_unsupported);
  g_test_add_func ("/syscalls/calls", test_real_send);
  g_test_add_func ("/syscalls/usage", test_real_usage);
  g_test_add_func ("/syscalls/huge-blocks", test_huge_blocks);
  g_test_add_func ("/syscalls/default", test_default_table);

  return g_test_run ();
}
