/* test-faults-memlock.c - an unprivileged user who may lock little memory
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fault-network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zcio/zcio-syscalls-private.h"

#define MIB (1024 * 1024)

static guint n_limit_messages;

static GLogWriterOutput
count_limit_messages (GLogLevelFlags   level,
                      const GLogField *fields,
                      gsize            n_fields,
                      gpointer         data)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "ZCIO_LIMIT"))
      {
        g_assert_cmpstr (fields[i].value, ==, "RLIMIT_MEMLOCK");
        n_limit_messages++;
        return G_LOG_WRITER_HANDLED;
      }

  return g_log_writer_default (level, fields, n_fields, data);
}

/* The kernel counts for all processes of a user, so that nobody else is this one. */
static gboolean
become_nobody (rlim_t memlock)
{
  const struct rlimit limit = { memlock, memlock };
  uid_t user = 0x5a000000 + (uid_t) getpid ();

  if (setgroups (0, NULL) != 0 || setresgid (65534, 65534, 65534) != 0)
    return FALSE;
  /* A user namespace may know no such user. */
  if (setresuid (user, user, user) != 0 && setresuid (65534, 65534, 65534) != 0)
    return FALSE;

  /* Else it could not read its own limits in /proc. */
  return prctl (PR_SET_DUMPABLE, 1) == 0 && setrlimit (RLIMIT_MEMLOCK, &limit) == 0;
}

/* TRUE in a process of an unprivileged user. */
static gboolean
begin_as_nobody (rlim_t memlock)
{
  if (g_test_subprocess ())
    {
      g_assert_true (become_nobody (memlock));
      g_log_set_writer_func (count_limit_messages, NULL, NULL);
      return TRUE;
    }

  if (geteuid () != 0)
    {
      g_test_skip ("Only root can become another user");
      return FALSE;
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
  g_test_trap_assert_passed ();

  return FALSE;
}

static gboolean
begin_transfer (ZcioFaultTransfer   *transfer,
                ZcioTestFamily       family,
                int                  buffer_size,
                ZcioTestReaderFlags  flags)
{
  GSocket *socket;
  GSocket *peer;

  if (!zcio_test_socket_pair (family, buffer_size, &socket, &peer))
    return FALSE;

  zcio_fault_transfer_begin_with (transfer, socket, peer, ZCIO_ZERO_COPY_MODE_ALWAYS, flags);
  return TRUE;
}

static void
test_large_writes (gconstpointer data)
{
  rlim_t limit = GPOINTER_TO_UINT (data);
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("Writes that ask for more than RLIMIT_MEMLOCK allows are sent all the same, "
                  "and one message names that limit");

  if (!begin_as_nobody (limit) ||
      !begin_transfer (&transfer, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_DEFAULT))
    return;

  for (guint i = 0; i < 8; i++)
    zcio_fault_transfer_write (&transfer, 8 * MIB);

  statistics = zcio_socket_stream_get_statistics (transfer.stream);
  g_assert_cmpuint (statistics->enobufs_limited, >, 0);
  g_assert_cmpuint (statistics->bytes_copied_for_enobufs, >, 0);
  g_assert_cmpuint (n_limit_messages, ==, 1);
  zcio_fault_transfer_end (&transfer);
}

static void
test_small_writes (void)
{
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("When sends in flight have used up RLIMIT_MEMLOCK, what follows is copied, "
                  "and afterwards the stream is active again");

  if (!begin_as_nobody (MIB) ||
      !begin_transfer (&transfer, ZCIO_TEST_FAMILY_IPV6, 0, ZCIO_TEST_READER_PAUSED))
    return;

  /* A page and two more are charged for each: 150 of 256. */
  for (guint i = 0; i < 50; i++)
    zcio_fault_transfer_write (&transfer, 4096);

  statistics = zcio_socket_stream_get_statistics (transfer.stream);
  g_assert_cmpuint (statistics->enobufs, ==, 0);
  zcio_fault_transfer_fill (&transfer, 64 * 1024);
  g_clear_pointer (&statistics, zcio_statistics_free);
  statistics = zcio_socket_stream_get_statistics (transfer.stream);
  g_assert_cmpuint (statistics->enobufs_congested, >, 0);
  g_assert_cmpuint (statistics->enobufs_limited, ==, 0);
  g_assert_cmpuint (n_limit_messages, ==, 0);

  zcio_test_reader_resume (transfer.reader);
  zcio_fault_transfer_drain (&transfer);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (transfer.stream), ==,
                   ZCIO_ZERO_COPY_STATE_ACTIVE);
  zcio_fault_transfer_end (&transfer);
}

/* The real kernel, watched. */

static guint n_in_vain;
static guint n_writable;

static gssize
count_send_message (ZcioSyscalls        *self,
                    int                  fd,
                    const struct msghdr *message,
                    int                  flags)
{
  ZcioSyscalls *real = zcio_syscalls_get_real ();

  gssize n = real->send_message (real, fd, message, flags);

  n_in_vain += n < 0 && errno == EAGAIN && (flags & zcio_zero_copy_flag) != 0;
  return n;
}

static int
count_poll (ZcioSyscalls  *self,
            struct pollfd *fds,
            nfds_t         n_fds,
            int            timeout)
{
  ZcioSyscalls *real = zcio_syscalls_get_real ();
  int n = real->poll (real, fds, n_fds, timeout);

  n_writable += n > 0 && (fds[0].revents & POLLOUT) != 0;
  return n;
}

static void
test_full_socket (void)
{
  ZcioSyscalls syscalls = *zcio_syscalls_get_real ();
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("A socket that stays full is tried in vain by zero-copy once at most each time it "
                  "was writable, since such a try uses up RLIMIT_MEMLOCK for good");

  if (!begin_as_nobody (MIB))
    return;

  syscalls.send_message = count_send_message;
  syscalls.poll = count_poll;
  zcio_syscalls_set_default (&syscalls);
  if (!begin_transfer (&transfer, ZCIO_TEST_FAMILY_IPV4, 64 * 1024, ZCIO_TEST_READER_PAUSED))
    return;

  zcio_fault_transfer_fill (&transfer, 16 * 1024);
  n_in_vain = 0;
  n_writable = 0;
  for (guint i = 0; i < 1000; i++)
    zcio_fault_transfer_fill (&transfer, 16 * 1024);
  g_assert_cmpuint (n_in_vain, <=, n_writable);
  g_test_message ("%u tries in vain, writable %u times", n_in_vain, n_writable);

  zcio_test_reader_resume (transfer.reader);
  zcio_fault_transfer_drain (&transfer);
  for (guint i = 0; i < 10; i++)
    zcio_fault_transfer_write (&transfer, 16 * 1024);
  statistics = zcio_socket_stream_get_statistics (transfer.stream);
  g_assert_cmpuint (statistics->enobufs, ==, 0);

  zcio_fault_transfer_end (&transfer);
  zcio_syscalls_set_default (NULL);
}

/* A process of the same user: pins all that its user may, and says so on the pipe; ends
 * when the other pipe is closed. After fork (), so it makes system calls only.
 */
static void G_GNUC_NORETURN
run_neighbour (int told,
               int wait)
{
  static char data[MIB];
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t size = sizeof address;
  const int one = 1;
  const int small = 4096;
  int listener = socket (AF_INET, SOCK_STREAM, 0);
  int fd = socket (AF_INET, SOCK_STREAM, 0);
  char byte = 'n';
  gboolean ready;

  address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
  /* The receiver takes so little that most of it stays in flight. */
  ready = setsockopt (listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0 &&
          bind (listener, (struct sockaddr *) &address, size) == 0 && listen (listener, 1) == 0 &&
          getsockname (listener, (struct sockaddr *) &address, &size) == 0 &&
          connect (fd, (struct sockaddr *) &address, size) == 0 &&
          setsockopt (fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one) == 0 &&
          /* 254 pages and two more */
          send (fd, data, 254 * 4096, MSG_ZEROCOPY | MSG_DONTWAIT) > 64 * 1024 &&
          send (fd, data, 4096, MSG_ZEROCOPY | MSG_DONTWAIT) < 0 && errno == ENOBUFS;
  if (ready)
    byte = 'y';
  if (write (told, &byte, 1) != 1)
    _exit (1);

  while (read (wait, &byte, 1) > 0)
    ;
  _exit (0);
}

static void
test_neighbour (void)
{
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;
  gint64 deadline;
  int told[2];
  int wait[2];
  char byte = 0;
  int status;
  pid_t neighbour;

  g_test_summary ("While another process of the user holds all of RLIMIT_MEMLOCK, writes are "
                  "copied; when it ends, zero-copy comes back by itself");

  if (!begin_as_nobody (MIB))
    return;

  g_assert_cmpint (pipe (told), ==, 0);
  g_assert_cmpint (pipe (wait), ==, 0);
  neighbour = fork ();
  g_assert_cmpint (neighbour, >=, 0);
  if (neighbour == 0)
    {
      close (wait[1]);
      run_neighbour (told[1], wait[0]);
    }
  close (wait[0]);
  g_assert_cmpint (read (told[0], &byte, 1), ==, 1);
  g_assert_cmpint (byte, ==, 'y');

  if (!begin_transfer (&transfer, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_DEFAULT))
    return;
  for (guint i = 0; i < 20; i++)
    zcio_fault_transfer_write (&transfer, 64 * 1024);
  statistics = zcio_socket_stream_get_statistics (transfer.stream);
  g_assert_cmpuint (statistics->sends_zero_copied + statistics->sends_copied_by_kernel, ==, 0);
  g_assert_cmpuint (statistics->enobufs_limited, >, 0);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (transfer.stream), ==,
                   ZCIO_ZERO_COPY_STATE_SUSPENDED);
  g_assert_cmpuint (n_limit_messages, ==, 1);

  close (wait[1]);
  g_assert_cmpint (waitpid (neighbour, &status, 0), ==, neighbour);
  g_assert_cmpint (status, ==, 0);

  deadline = zcio_test_get_deadline ();
  while (zcio_socket_stream_get_zero_copy_state (transfer.stream) != ZCIO_ZERO_COPY_STATE_ACTIVE)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      zcio_fault_transfer_write (&transfer, 64 * 1024);
      zcio_test_reader_wait_received (transfer.reader, transfer.position);
    }

  zcio_fault_transfer_end (&transfer);
  close (told[0]);
  close (told[1]);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/faults/memlock/1-mib", GUINT_TO_POINTER (MIB), test_large_writes);
  g_test_add_data_func ("/faults/memlock/0", GUINT_TO_POINTER (0), test_large_writes);
  g_test_add_func ("/faults/memlock/in-flight", test_small_writes);
  g_test_add_func ("/faults/memlock/full-socket", test_full_socket);
  g_test_add_func ("/faults/memlock/neighbour", test_neighbour);

  return g_test_run ();
}
