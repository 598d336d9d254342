/* test-faults-gotchas.c - what the kernel does that nobody expects: see tests/GOTCHAS.md
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fault-network.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zcio/zcio-syscalls-private.h"

#define SIZE (64 * 1024)
#define SMALL_BUFFERS (64 * 1024)

static gboolean
begin (ZcioFaultTransfer   *transfer,
       ZcioTestFamily       family,
       int                  buffer_size,
       ZcioTestReaderFlags  flags)
{
  GSocket *socket;
  GSocket *peer;

  if (!zcio_test_socket_pair (family, buffer_size, &socket, &peer))
    return FALSE;

  /* Instead of a hang, should an id have been lost. */
  g_socket_set_timeout (socket, ZCIO_TEST_GUARD_SECONDS);
  zcio_fault_transfer_begin_with (transfer, socket, peer, ZCIO_ZERO_COPY_MODE_ALWAYS, flags);

  return TRUE;
}

static ZcioStatistics *
get_statistics (ZcioFaultTransfer *transfer)
{
  return zcio_socket_stream_get_statistics (transfer->stream);
}

/* Memory that no process may touch. */
static void
write_forbidden (ZcioFaultTransfer *transfer)
{
  gpointer data = mmap (NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  g_autoptr (GBytes) bytes = g_bytes_new_static (data, SIZE);
  gsize written = 1;
  GError *error = NULL;

  g_assert_true (data != MAP_FAILED);
  g_assert_false (zcio_socket_stream_write_zerocopy (transfer->stream, bytes, &written, NULL,
                                                     &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
  g_assert_cmpuint (written, ==, 0);
  g_error_free (error);
  munmap (data, SIZE);
}

static void
test_ids (gconstpointer data)
{
  ZcioFaultTransfer transfer;

  g_test_summary ("Neither empty writes, faults nor a full socket take an id, a short send takes "
                  "one: each buffer comes back all the same");

  if (!begin (&transfer, GPOINTER_TO_INT (data), SMALL_BUFFERS, ZCIO_TEST_READER_DEFAULT))
    return;

  for (guint i = 0; i < 10; i++)
    {
      zcio_fault_transfer_write (&transfer, 5000);
      zcio_fault_transfer_write (&transfer, 0);
      write_forbidden (&transfer);
      zcio_test_reader_pause (transfer.reader);
      zcio_fault_transfer_fill (&transfer, 1024 * 1024);
      zcio_fault_transfer_fill (&transfer, 300);
      zcio_test_reader_resume (transfer.reader);
      zcio_fault_transfer_write (&transfer, 3 * SIZE + 1);
    }

  zcio_fault_transfer_end (&transfer);
}

static void
test_large_nonblocking (void)
{
  const gsize size = 32 * 1024 * 1024;
  ZcioFaultTransfer transfer;
  GBytes *all;
  gint64 deadline = zcio_test_get_deadline ();

  g_test_summary ("Of a large nonblocking write only what was accepted is in flight; the rest is "
                  "sent by further writes");

  if (!begin (&transfer, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_DEFAULT))
    return;

  all = zcio_test_pattern_bytes (0, size, &transfer.released);
  transfer.n_buffers = 1;
  while (transfer.position < size)
    {
      g_autoptr (GBytes) rest = g_bytes_new_from_bytes (all, transfer.position,
                                                        size - transfer.position);
      g_autoptr (ZcioStatistics) statistics = NULL;
      gsize written = 0;
      GError *error = NULL;
      GPollableReturn result =
        zcio_socket_stream_writev_zerocopy_nonblocking (transfer.stream, &rest, 1, &written, NULL,
                                                        &error);

      g_assert_no_error (error);
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      transfer.position += result == G_POLLABLE_RETURN_OK ? written : 0;
      statistics = get_statistics (&transfer);
      g_assert_cmpuint (statistics->bytes_in_flight, <=, transfer.position);
      if (result == G_POLLABLE_RETURN_WOULD_BLOCK)
        zcio_test_reader_wait_received (transfer.reader, transfer.position - SIZE);
    }
  g_bytes_unref (all);

  zcio_fault_transfer_end (&transfer);
}

static void
test_late_completion (void)
{
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;

  g_test_summary ("While the reader is idle nothing comes back, and the main loop does not spin; "
                  "when it reads, all does");

  if (!begin (&transfer, ZCIO_TEST_FAMILY_IPV4, SMALL_BUFFERS, ZCIO_TEST_READER_PAUSED))
    return;

  zcio_fault_transfer_fill (&transfer, SIZE);
  /* What the reader's side takes without reading. */
  zcio_test_run_for (NULL, 500);
  zcio_socket_stream_reap (transfer.stream);
  g_assert_cmpuint (zcio_test_run_for (NULL, 500), <, 100);
  g_assert_cmpuint (zcio_socket_stream_reap (transfer.stream), ==, 0);
  statistics = get_statistics (&transfer);
  g_assert_cmpuint (statistics->sends_in_flight, >, 0);
  g_assert_cmpint (statistics->oldest_send_age, >, 0);

  zcio_test_reader_resume (transfer.reader);
  zcio_fault_transfer_end (&transfer);
}

static void
test_unix_socket (void)
{
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;
  char buffer[16] = "";

  g_test_summary ("On a UNIX socket reading the error queue would take data: it is never read");

  if (!begin (&transfer, ZCIO_TEST_FAMILY_UNIX, 0, ZCIO_TEST_READER_DEFAULT))
    return;

  g_assert_cmpint (send (g_socket_get_fd (transfer.peer), "answer", 6, 0), ==, 6);
  for (guint i = 0; i < 100; i++)
    {
      zcio_fault_transfer_write (&transfer, SIZE);
      zcio_socket_stream_reap (transfer.stream);
    }
  zcio_fault_transfer_drain (&transfer);
  g_assert_cmpint (recv (g_socket_get_fd (transfer.socket), buffer, sizeof buffer, 0), ==, 6);
  g_assert_cmpstr (buffer, ==, "answer");

  statistics = get_statistics (&transfer);
  g_assert_cmpuint (statistics->error_queue_reads, ==, 0);
  g_assert_cmpuint (statistics->bytes_copied_by_choice, ==, transfer.position);
  zcio_fault_transfer_end (&transfer);
}

static GSocket *
wrap (int fd)
{
  GError *error = NULL;
  GSocket *socket;

  g_assert_cmpint (fd, >=, 0);
  socket = g_socket_new_from_fd (fd, &error);
  g_assert_no_error (error);

  return socket;
}

static void
test_mptcp (void)
{
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t size = sizeof address;
  int listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 262 /* MPTCP */);
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 262);
  ZcioFaultTransfer transfer;
  GSocket *peer;

  g_test_summary ("A socket of several paths refuses zero-copy; its stream copies, whatever the mode and "
                  "the threshold");

  if (listener < 0 || fd < 0)
    {
      g_test_skip_printf ("No MPTCP here: %s", g_strerror (errno));
      return;
    }

  g_assert_cmpint (bind (listener, (struct sockaddr *) &address, size), ==, 0);
  g_assert_cmpint (listen (listener, 1), ==, 0);
  g_assert_cmpint (getsockname (listener, (struct sockaddr *) &address, &size), ==, 0);
  g_assert_cmpint (connect (fd, (struct sockaddr *) &address, size), ==, 0);
  peer = wrap (accept4 (listener, NULL, NULL, SOCK_CLOEXEC));
  zcio_fault_transfer_begin_with (&transfer, wrap (fd), peer, ZCIO_ZERO_COPY_MODE_ALWAYS,
                                  ZCIO_TEST_READER_DEFAULT);
  g_object_set (transfer.stream, "threshold", G_GUINT64_CONSTANT (1), NULL);
  zcio_socket_stream_set_zero_copy_mode (transfer.stream, ZCIO_ZERO_COPY_MODE_AUTO);
  for (guint i = 0; i < 20; i++)
    zcio_fault_transfer_write (&transfer, SIZE);
  zcio_socket_stream_set_zero_copy_mode (transfer.stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  for (guint i = 0; i < 20; i++)
    zcio_fault_transfer_write (&transfer, SIZE);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (transfer.stream), ==,
                   ZCIO_ZERO_COPY_STATE_UNSUPPORTED);

  zcio_fault_transfer_end (&transfer);
  close (listener);
}

#define RAW_SIZE (4 * 5000)

/* Somebody else's sends, before there is a stream. */
static void
send_raw (GSocket *socket)
{
  static guint8 buffer[RAW_SIZE];
  const int one = 1;
  int fd = g_socket_get_fd (socket);

  zcio_test_pattern_fill (0, buffer, RAW_SIZE);
  g_assert_cmpint (setsockopt (fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one), ==, 0);
  for (gsize offset = 0; offset < RAW_SIZE; offset += 5000)
    g_assert_cmpint (send (fd, buffer + offset, 5000, zcio_zero_copy_flag), ==, 5000);
}

static void
test_adopted (gconstpointer data)
{
  ZcioFaultTransfer transfer;
  GSocket *socket;
  GSocket *peer;

  g_test_summary ("On a socket that somebody else has sent to by zero-copy no buffer comes back "
                  "for a send that was not its own");

  if (!zcio_test_socket_pair (GPOINTER_TO_INT (data), SMALL_BUFFERS, &socket, &peer))
    return;

  g_socket_set_timeout (socket, ZCIO_TEST_GUARD_SECONDS);
  send_raw (socket);
  zcio_fault_transfer_begin_with (&transfer, socket, peer, ZCIO_ZERO_COPY_MODE_ALWAYS,
                                  ZCIO_TEST_READER_PAUSED);
  transfer.position = RAW_SIZE;
  zcio_fault_transfer_fill (&transfer, SIZE);
  zcio_test_reader_resume (transfer.reader);
  for (guint i = 0; i < 50; i++)
    zcio_fault_transfer_write (&transfer, SIZE + i);
  zcio_fault_transfer_drain (&transfer);

  /* The statistics know nothing of what went before. */
  g_clear_object (&transfer.stream);
  g_clear_object (&transfer.socket);
  g_assert_cmpuint (zcio_test_reader_finish (transfer.reader, NULL, NULL), ==, transfer.position);
  g_object_unref (transfer.peer);
}

static void
test_handed_over (void)
{
  ZcioFaultTransfer transfer;
  guint64 position;

  g_test_summary ("A descriptor that is duplicated and given to another GSocket goes on, when the "
                  "first stream is done");

  if (!begin (&transfer, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_DEFAULT))
    return;

  for (guint i = 0; i < 10; i++)
    zcio_fault_transfer_write (&transfer, SIZE);
  zcio_fault_transfer_drain (&transfer);
  for (guint i = 0; i < 3; i++)
    {
      GSocket *socket = wrap (dup (g_socket_get_fd (transfer.socket)));

      g_assert_finalize_object (transfer.stream);
      g_assert_finalize_object (transfer.socket);
      transfer.socket = socket;
      g_socket_set_timeout (socket, ZCIO_TEST_GUARD_SECONDS);
      transfer.stream = zcio_socket_stream_new (socket);
      zcio_socket_stream_set_zero_copy_mode (transfer.stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
      position = transfer.position;
      for (guint j = 0; j < 10; j++)
        zcio_fault_transfer_write (&transfer, SIZE);
      zcio_fault_transfer_drain (&transfer);
      g_assert_cmpuint (transfer.position - position, ==, 10 * SIZE);
    }

  g_clear_object (&transfer.stream);
  g_clear_object (&transfer.socket);
  g_assert_cmpuint (zcio_test_reader_finish (transfer.reader, NULL, NULL), ==, transfer.position);
  g_object_unref (transfer.peer);
}

static void
test_two_streams (void)
{
  ZcioFaultTransfer transfer;
  ZcioSocketStream *other;

  g_test_summary ("Two streams on one socket do not take each other's completions");

  if (!begin (&transfer, ZCIO_TEST_FAMILY_IPV4, SMALL_BUFFERS, ZCIO_TEST_READER_SLOW))
    return;

  other = zcio_socket_stream_new (transfer.socket);
  for (guint i = 0; i < 40; i++)
    {
      ZcioSocketStream *first = transfer.stream;

      zcio_fault_transfer_write (&transfer, SIZE / 4 + i);
      transfer.stream = other;
      other = first;
    }
  g_assert_finalize_object (other);
  zcio_fault_transfer_write (&transfer, SIZE);

  zcio_fault_transfer_end (&transfer);
}

/* Errors that ENOBUFS hides */

static void
test_reset_behind_enobufs (void)
{
  const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
  ZcioFaultTransfer transfer;
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (ZcioStatistics) statistics = NULL;
  int fd;
  gsize written;
  GError *error = NULL;

  g_test_summary ("A socket without memory for notifications says ENOBUFS even after a reset: the "
                  "writer is told of the reset");

  if (!zcio_test_in_namespace (500) ||
      !begin (&transfer, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_DEFAULT))
    return;

  zcio_fault_transfer_write (&transfer, SIZE);
  zcio_test_reader_wait_received (transfer.reader, SIZE);
  zcio_test_reader_pause (transfer.reader);
  fd = g_socket_get_fd (transfer.peer);
  g_assert_cmpint (setsockopt (fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), ==, 0);
  g_assert_cmpint (connect (fd, &(struct sockaddr){ .sa_family = AF_UNSPEC },
                            sizeof (struct sockaddr)),
                   ==, 0);

  bytes = zcio_test_pattern_bytes (SIZE, SIZE, NULL);
  g_assert_false (zcio_socket_stream_write_zerocopy (transfer.stream, bytes, &written, NULL,
                                                     &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED);
  g_assert_cmpuint (written, ==, 0);
  g_clear_error (&error);
  statistics = get_statistics (&transfer);
  g_assert_cmpuint (statistics->enobufs, >, 0);

  g_clear_object (&transfer.stream);
  g_clear_object (&transfer.socket);
  g_assert_cmpuint (zcio_test_reader_finish (transfer.reader, &fd, NULL), ==, SIZE);
  g_object_unref (transfer.peer);
}

static void
test_unconnected_behind_enobufs (void)
{
  g_autoptr (GSocket) socket = NULL;
  g_autoptr (ZcioSocketStream) stream = NULL;
  g_autoptr (GBytes) bytes = zcio_test_pattern_bytes (0, SIZE, NULL);
  gsize written;
  GError *error = NULL;

  g_test_summary ("A socket that is not connected is an error that lasts, even where ENOBUFS is "
                  "what the kernel says first");

  if (!zcio_test_in_namespace (500))
    return;

  socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
  g_assert_no_error (error);
  stream = zcio_socket_stream_new (socket);
  zcio_socket_stream_set_zero_copy_mode (stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  g_assert_false (zcio_socket_stream_write_zerocopy (stream, bytes, &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  g_clear_error (&error);
  g_assert_cmpint (zcio_socket_stream_writev_zerocopy_nonblocking (stream, &bytes, 1, &written,
                                                                   NULL, &error),
                   ==, G_POLLABLE_RETURN_FAILED);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  g_clear_error (&error);
}

static void
test_signal (void)
{
  const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
  ZcioFaultTransfer transfer;
  g_autoptr (GBytes) bytes = zcio_test_pattern_bytes (0, SIZE, NULL);
  int fd;
  gsize written;

  g_test_summary ("Writing to a connection that is gone raises no SIGPIPE");

  if (!begin (&transfer, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_PAUSED))
    return;

  fd = g_socket_get_fd (transfer.peer);
  g_assert_cmpint (setsockopt (fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), ==, 0);
  g_assert_cmpint (connect (fd, &(struct sockaddr){ .sa_family = AF_UNSPEC },
                            sizeof (struct sockaddr)),
                   ==, 0);

  /* GIO ignores it, but a program may undo that. */
  signal (SIGPIPE, SIG_DFL);
  for (guint i = 0; i < 4; i++)
    {
      GError *error = NULL;

      g_assert_false (zcio_socket_stream_write_zerocopy (transfer.stream, bytes, &written, NULL,
                                                         &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
      g_clear_error (&error);
      g_assert_cmpint (g_output_stream_write (G_OUTPUT_STREAM (transfer.stream), "x", 1, NULL,
                                              &error),
                       ==, -1);
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
      g_clear_error (&error);
    }
  signal (SIGPIPE, SIG_IGN);

  g_clear_object (&transfer.stream);
  g_clear_object (&transfer.socket);
  zcio_test_reader_finish (transfer.reader, &fd, NULL);
  g_object_unref (transfer.peer);
}

static void
test_cork (void)
{
  ZcioFaultTransfer transfer;
  GError *error = NULL;

  g_test_summary ("A flush of what a program holds back with TCP_CORK ends, and all has arrived");

  if (!begin (&transfer, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_DEFAULT))
    return;

  for (int no_delay = 0; no_delay <= 1; no_delay++)
    {
      g_socket_set_option (transfer.socket, IPPROTO_TCP, TCP_NODELAY, no_delay, &error);
      g_assert_no_error (error);
      g_socket_set_option (transfer.socket, IPPROTO_TCP, TCP_CORK, 1, &error);
      g_assert_no_error (error);
      zcio_fault_transfer_write (&transfer, 1000);
      g_output_stream_flush (G_OUTPUT_STREAM (transfer.stream), NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpint (g_atomic_int_get (&transfer.released), ==, transfer.n_buffers);
      zcio_test_reader_wait_received (transfer.reader, transfer.position);
    }

  zcio_fault_transfer_end (&transfer);
}

/* Memory of other kinds */

static void
test_secret_memory (void)
{
  int fd = (int) syscall (SYS_memfd_secret, 0);
  ZcioFaultTransfer transfer;
  g_autoptr (ZcioStatistics) statistics = NULL;
  g_autoptr (GBytes) bytes = NULL;
  gpointer data;
  GError *error = NULL;

  g_test_summary ("Memory that the kernel itself cannot see is sent by copy");

  if (fd < 0)
    {
      g_test_skip_printf ("No secret memory here: %s", g_strerror (errno));
      return;
    }

  g_assert_cmpint (ftruncate (fd, SIZE), ==, 0);
  data = mmap (NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  g_assert_true (data != MAP_FAILED);
  zcio_test_pattern_fill (0, data, SIZE);
  bytes = g_bytes_new_static (data, SIZE);
  if (!begin (&transfer, ZCIO_TEST_FAMILY_IPV4, 0, ZCIO_TEST_READER_DEFAULT))
    return;

  zcio_socket_stream_write_zerocopy (transfer.stream, bytes, NULL, NULL, &error);
  g_assert_no_error (error);
  transfer.position = SIZE;
  statistics = get_statistics (&transfer);
  g_assert_cmpuint (statistics->sends_zero_copied + statistics->sends_copied_by_kernel, ==, 0);
  zcio_fault_transfer_write (&transfer, SIZE);

  zcio_fault_transfer_end (&transfer);
  munmap (data, SIZE);
  close (fd);
}

/* What is written next is accepted, but not sent before the reader reads. */
static gboolean
begin_full (ZcioFaultTransfer   *transfer,
            ZcioTestReaderFlags  flags)
{
  GError *error = NULL;

  if (!begin (transfer, ZCIO_TEST_FAMILY_IPV4, SMALL_BUFFERS, ZCIO_TEST_READER_PAUSED | flags))
    return FALSE;

  zcio_fault_transfer_fill (transfer, SIZE);
  g_socket_set_option (transfer->socket, SOL_SOCKET, SO_SNDBUF, 3 * SMALL_BUFFERS, &error);
  g_assert_no_error (error);

  return TRUE;
}

/* A mapping of a file, for what follows in the stream. */
static gpointer
write_mapping (ZcioFaultTransfer *transfer,
               int               *fd)
{
  g_autoptr (GBytes) bytes = NULL;
  gpointer data;
  gsize written = 0;
  GError *error = NULL;

  *fd = memfd_create ("zcio-test", MFD_CLOEXEC);
  g_assert_cmpint (*fd, >=, 0);
  g_assert_cmpint (ftruncate (*fd, SIZE), ==, 0);
  data = mmap (NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
  g_assert_true (data != MAP_FAILED);
  zcio_test_pattern_fill (transfer->position, data, SIZE);

  bytes = g_bytes_new_static (data, SIZE);
  g_assert_cmpint (zcio_socket_stream_writev_zerocopy_nonblocking (transfer->stream, &bytes, 1,
                                                                   &written, NULL, &error),
                   ==, G_POLLABLE_RETURN_OK);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, SIZE);
  transfer->position += SIZE;

  return data;
}

static void
test_unmapped (void)
{
  ZcioFaultTransfer transfer;
  gpointer data;
  int fd;

  g_test_summary ("Memory that is unmapped in flight is sent as it was: the kernel has the pages");

  if (!begin_full (&transfer, ZCIO_TEST_READER_DEFAULT))
    return;

  data = write_mapping (&transfer, &fd);
  g_assert_cmpint (munmap (data, SIZE), ==, 0);
  close (fd);

  zcio_test_reader_resume (transfer.reader);
  zcio_fault_transfer_end (&transfer);
}

static void
test_truncated (void)
{
  ZcioFaultTransfer transfer;
  gpointer data;
  int fd;

  g_test_summary ("A file that is cut short while its mapping is in flight changes bytes, but not "
                  "how many there are, and raises no signal");

  if (!begin_full (&transfer, ZCIO_TEST_READER_NO_PATTERN))
    return;

  data = write_mapping (&transfer, &fd);
  g_assert_cmpint (ftruncate (fd, 6000), ==, 0);

  zcio_test_reader_resume (transfer.reader);
  zcio_fault_transfer_end (&transfer);
  munmap (data, SIZE);
  close (fd);
}

static void
test_fork (void)
{
  ZcioFaultTransfer transfer;
  g_autoptr (GBytes) bytes = NULL;
  gpointer data;
  gsize written = 0;
  int status;
  pid_t child;
  GError *error = NULL;

  g_test_summary ("A child that writes to its copy of a buffer in flight, and ends, changes no byte "
                  "and releases nothing");

  if (!begin_full (&transfer, ZCIO_TEST_READER_DEFAULT))
    return;

  data = g_malloc (SIZE);
  zcio_test_pattern_fill (transfer.position, data, SIZE);
  bytes = g_bytes_new_take (data, SIZE);
  g_assert_cmpint (zcio_socket_stream_writev_zerocopy_nonblocking (transfer.stream, &bytes, 1,
                                                                   &written, NULL, &error),
                   ==, G_POLLABLE_RETURN_OK);
  g_assert_no_error (error);
  transfer.position += written;

  child = fork ();
  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    {
      memset (data, 'x', SIZE);
      /* At _exit () Valgrind would look for leaks, and miss the stacks of the other threads,
       * which a child has not.
       */
      raise (SIGKILL);
    }
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_true (WIFSIGNALED (status));
  g_assert_cmpint (WTERMSIG (status), ==, SIGKILL);

  zcio_test_reader_resume (transfer.reader);
  zcio_fault_transfer_end (&transfer);
}

int
main (int    argc,
      char **argv)
{
  const gpointer ipv4 = GINT_TO_POINTER (ZCIO_TEST_FAMILY_IPV4);
  const gpointer ipv6 = GINT_TO_POINTER (ZCIO_TEST_FAMILY_IPV6);

  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/faults/gotchas/ids/ipv4", ipv4, test_ids);
  g_test_add_data_func ("/faults/gotchas/ids/ipv6", ipv6, test_ids);
  g_test_add_func ("/faults/gotchas/large-nonblocking", test_large_nonblocking);
  g_test_add_func ("/faults/gotchas/late-completion", test_late_completion);
  g_test_add_func ("/faults/gotchas/unix-socket", test_unix_socket);
  g_test_add_func ("/faults/gotchas/mptcp", test_mptcp);
  g_test_add_data_func ("/faults/gotchas/adopted/ipv4", ipv4, test_adopted);
  g_test_add_data_func ("/faults/gotchas/adopted/ipv6", ipv6, test_adopted);
  g_test_add_func ("/faults/gotchas/handed-over", test_handed_over);
  g_test_add_func ("/faults/gotchas/two-streams", test_two_streams);
  g_test_add_func ("/faults/gotchas/reset-behind-enobufs", test_reset_behind_enobufs);
  g_test_add_func ("/faults/gotchas/unconnected-behind-enobufs", test_unconnected_behind_enobufs);
  g_test_add_func ("/faults/gotchas/signal", test_signal);
  g_test_add_func ("/faults/gotchas/cork", test_cork);
  g_test_add_func ("/faults/gotchas/secret-memory", test_secret_memory);
  g_test_add_func ("/faults/gotchas/unmapped", test_unmapped);
  g_test_add_func ("/faults/gotchas/truncated", test_truncated);
  g_test_add_func ("/faults/gotchas/fork", test_fork);

  return g_test_run ();
}
