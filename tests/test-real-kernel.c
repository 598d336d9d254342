/* test-real-kernel.c - what the kernel does that a simulated one does not prove
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test-util.h"

#define BUFFER_SIZE (256 * 1024)

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
  guint64 position;
  gint made;
  gint released;
  guint fired_in_vain;
} Fixture;

static gboolean
set_up_sockets (Fixture        *f,
                ZcioTestFamily  family)
{
  *f = (Fixture) { NULL };
  return zcio_test_socket_pair (family, 65536, &f->socket, &f->peer);
}

static void
set_up_stream (Fixture             *f,
               ZcioTestReaderFlags  flags)
{
  f->stream = zcio_socket_stream_new (f->socket);
  zcio_socket_stream_set_zero_copy_mode (f->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  f->reader = zcio_test_reader_new (f->peer, 0, flags);
}

static void
tear_down (Fixture *f)
{
  GError *error = NULL;

  zcio_test_reader_resume (f->reader);
  g_output_stream_close (G_OUTPUT_STREAM (f->stream), NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&f->released), ==, f->made);
  g_assert_finalize_object (f->stream);
  g_object_unref (f->socket);
  g_assert_cmpuint (zcio_test_reader_finish (f->reader, NULL, NULL), ==, f->position);
  g_object_unref (f->peer);
}

static void
write_some (Fixture *f,
            gsize    size)
{
  GBytes *bytes = zcio_test_pattern_bytes (f->position, size, &f->released);
  gsize written = 0;
  GError *error = NULL;

  zcio_socket_stream_write_zerocopy (f->stream, bytes, &written, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, size);
  g_bytes_unref (bytes);
  f->position += size;
  f->made++;
}

static ZcioStatistics *
check_statistics (Fixture *f)
{
  ZcioStatistics *statistics = zcio_socket_stream_get_statistics (f->stream);

  g_assert_cmpuint (statistics->bytes_zero_copied + statistics->bytes_copied_by_kernel +
                      statistics->bytes_copied_by_choice + statistics->bytes_copied_for_enobufs,
                    ==, statistics->bytes_written);
  return statistics;
}

/* Writes copies until there is no more room. */
static void
fill_socket (Fixture *f)
{
  GPollableOutputStream *stream = G_POLLABLE_OUTPUT_STREAM (f->stream);
  GError *error = NULL;
  gssize n;

  do
    {
      guint8 copied[4096];

      zcio_test_pattern_fill (f->position, copied, sizeof copied);
      n = g_pollable_output_stream_write_nonblocking (stream, copied, sizeof copied, NULL, &error);
      f->position += MAX (n, 0);
    }
  while (n >= 0);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  g_clear_error (&error);
}

/* TCP may find room even now: what the reader took last it learns by probes, which come late
 * where that was little. Then the source is right, and what it tells of is written.
 */
static gboolean
on_writable (GObject  *stream,
             gpointer  user_data)
{
  Fixture *f = user_data;
  struct pollfd fd = { .fd = g_socket_get_fd (f->socket), .events = POLLOUT };

  if (poll (&fd, 1, 0) > 0 && (fd.revents & POLLOUT) != 0)
    fill_socket (f);
  else
    f->fired_in_vain++;

  return G_SOURCE_CONTINUE;
}

static void
test_timestamps (gconstpointer data)
{
  ZcioTestFamily family = GPOINTER_TO_INT (data);
  guint flags = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_ACK |
                SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID;
  g_autoptr (ZcioStatistics) statistics = NULL;
  Fixture f;
  GSource *source;
  guint turns;
  GError *error = NULL;

  g_test_summary ("Timestamps in the error queue are skipped without harm, and counted; and they "
                  "make nobody spin, even with nothing in flight");

  if (!set_up_sockets (&f, family))
    return;
  g_assert_cmpint (setsockopt (g_socket_get_fd (f.socket), SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags), ==, 0);
  set_up_stream (&f, ZCIO_TEST_READER_SLOW);
  for (guint i = 0; i < 16; i++)
    {
      g_autofree guint8 *copied = g_malloc (1000);

      write_some (&f, BUFFER_SIZE);
      zcio_test_pattern_fill (f.position, copied, 1000);
      g_output_stream_write_all (G_OUTPUT_STREAM (f.stream), copied, 1000, NULL, NULL, &error);
      g_assert_no_error (error);
      f.position += 1000;
    }
  g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, f.made);
  statistics = check_statistics (&f);
  g_assert_cmpuint (statistics->foreign_records, >, 0);
  g_assert_cmpuint (statistics->bytes_written, ==, f.position);

  /* Now the socket is full, and timestamps of copied data come in. */
  zcio_test_reader_pause (f.reader);
  do
    {
      fill_socket (&f);
      zcio_test_run_for (NULL, 250);
    }
  while (g_pollable_output_stream_is_writable (G_POLLABLE_OUTPUT_STREAM (f.stream)));
  source = g_pollable_output_stream_create_source (G_POLLABLE_OUTPUT_STREAM (f.stream), NULL);
  g_source_set_callback (source, (GSourceFunc) (GCallback) on_writable, &f, NULL);
  g_source_attach (source, NULL);
  turns = zcio_test_run_for (NULL, 200);
  g_assert_cmpuint (f.fired_in_vain, ==, 0);
  g_assert_cmpuint (turns, <, 30);
  g_source_destroy (source);
  g_source_unref (source);
  tear_down (&f);
}

/* What somebody else has sent by zero-copy, before there was a stream. */
static void
send_foreign (Fixture *f,
              guint    n)
{
  static guint8 memory[1000];

  for (guint i = 0; i < n; i++)
    {
      g_assert_cmpint (send (g_socket_get_fd (f->socket), memory, sizeof memory, MSG_ZEROCOPY), ==, sizeof memory);
      g_assert_cmpint (recv (g_socket_get_fd (f->peer), memory, sizeof memory, MSG_WAITALL), ==, sizeof memory);
    }
}

static void
read_foreign (Fixture *f)
{
  struct pollfd fd = { .fd = g_socket_get_fd (f->socket) };
  guint8 control[200];
  struct msghdr message = { .msg_control = control, .msg_controllen = sizeof control };

  g_assert_cmpint (poll (&fd, 1, ZCIO_TEST_GUARD_SECONDS * 1000), ==, 1);
  g_assert_cmpint (recvmsg (fd.fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT), ==, 0);
}

static gboolean
is_acknowledged (Fixture *f)
{
  int queued;

  g_assert_cmpint (ioctl (g_socket_get_fd (f->socket), SIOCOUTQ, &queued), ==, 0);
  return queued == 0;
}

static void
test_unknown_base (gconstpointer data)
{
  gboolean unread = GPOINTER_TO_INT (data);
  g_autoptr (ZcioStatistics) statistics = NULL;
  Fixture f;
  int value = 1;
  GError *error = NULL;

  g_test_summary ("Where somebody else has sent by zero-copy before, no buffer is taken for "
                  "another: each is released once, and not before it was sent");

  if (!set_up_sockets (&f, ZCIO_TEST_FAMILY_IPV4))
    return;
  g_socket_set_option (f.socket, SOL_SOCKET, SO_SNDBUF, 4 * BUFFER_SIZE, NULL);
  g_assert_cmpint (setsockopt (g_socket_get_fd (f.socket), SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value), ==, 0);
  for (guint i = 0; i < 5; i++)
    {
      send_foreign (&f, 1);
      if (!unread)
        read_foreign (&f);
    }

  set_up_stream (&f, ZCIO_TEST_READER_PAUSED);
  g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, &error));
  g_assert_no_error (error);
  zcio_test_reader_resume (f.reader);
  /* Before everything was acknowledged no send can tell where the ids are; it is copied. */
  zcio_test_wait_until (NULL, is_acknowledged (&f));
  write_some (&f, 20000);
  g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, &error));
  g_assert_no_error (error);

  /* From now on the ids are known. Half a buffer fits into the socket, but not
   * into the peer. */
  zcio_test_reader_wait_received (f.reader, f.position);
  zcio_test_wait_until (NULL, is_acknowledged (&f));
  zcio_test_reader_pause (f.reader);
  write_some (&f, BUFFER_SIZE / 2);
  zcio_test_run_for (NULL, 50);
  statistics = check_statistics (&f);
  g_test_message ("zero-copied %" G_GUINT64_FORMAT ", copied by the kernel %" G_GUINT64_FORMAT
                  ", by choice %" G_GUINT64_FORMAT ", in flight %" G_GUINT64_FORMAT,
                  statistics->bytes_zero_copied, statistics->bytes_copied_by_kernel,
                  statistics->bytes_copied_by_choice, statistics->bytes_in_flight);
  g_assert_cmpuint (statistics->bytes_in_flight, >, 0);
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, f.made - 1);

  zcio_test_reader_resume (f.reader);
  for (guint i = 0; i < 20; i++)
    write_some (&f, BUFFER_SIZE);
  tear_down (&f);
}

static void
test_unix_data (void)
{
  Fixture f;
  guint8 data[100];
  gint64 deadline = zcio_test_get_deadline ();
  gsize n = 0;

  g_test_summary ("On a UNIX socket nothing is read that the peer has sent, however often the stream "
                  "reaps, drains and waits");

  if (!set_up_sockets (&f, ZCIO_TEST_FAMILY_UNIX))
    return;
  set_up_stream (&f, ZCIO_TEST_READER_SLOW);
  zcio_test_pattern_fill (0, data, sizeof data);
  g_assert_cmpint (g_socket_send (f.peer, (const char *) data, sizeof data, NULL, NULL), ==, sizeof data);
  for (guint i = 0; i < 8; i++)
    {
      write_some (&f, BUFFER_SIZE);
      zcio_socket_stream_reap (f.stream);
      g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, NULL));
      g_pollable_output_stream_is_writable (G_POLLABLE_OUTPUT_STREAM (f.stream));
    }
  zcio_test_run_for (NULL, 20);

  memset (data, 0, sizeof data);
  while (n < sizeof data)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      n += g_socket_receive (f.socket, (char *) data + n, sizeof data - n, NULL, NULL);
    }
  g_assert_cmpuint (zcio_test_pattern_check (0, data, sizeof data), ==, sizeof data);
  tear_down (&f);
}

static void
count_release (gpointer data)
{
  g_atomic_int_inc ((gint *) data);
}

static void
test_secret_memory (void)
{
#ifdef SYS_memfd_secret
  const gsize size = 65536;
  g_autoptr (ZcioStatistics) statistics = NULL;
  Fixture f;
  GOutputVector vector = { MAP_FAILED, size };
  gpointer memory = MAP_FAILED;
  gsize written = 0;
  int fd = syscall (SYS_memfd_secret, 0);
  GError *error = NULL;

  g_test_summary ("Memory that can be sent, but not by zero-copy, is copied");

  if (fd >= 0 && ftruncate (fd, size) == 0)
    memory = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    {
      g_test_skip_printf ("No secret memory: %s", g_strerror (errno));
      return;
    }
  if (!set_up_sockets (&f, ZCIO_TEST_FAMILY_IPV4))
    return;
  set_up_stream (&f, ZCIO_TEST_READER_DEFAULT);
  zcio_test_pattern_fill (0, memory, size);
  vector.buffer = memory;
  g_assert_true (zcio_socket_stream_writev_zerocopy_full (f.stream, &vector, 1, count_release, &f.released,
                                                          &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, size);
  f.position = size;
  f.made = 1;
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, 1);
  statistics = check_statistics (&f);
  g_assert_cmpuint (statistics->bytes_zero_copied + statistics->bytes_copied_by_kernel, ==, 0);
  munmap (memory, size);
  close (fd);
  write_some (&f, BUFFER_SIZE);
  tear_down (&f);
#else
  g_test_skip ("Built without memfd_secret ()");
#endif
}

static void
test_fault (void)
{
  Fixture f;
  gsize page = sysconf (_SC_PAGESIZE);
  guint8 *memory = mmap (NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  GOutputVector vectors[2] = { { memory, page }, { memory + page, page } };
  gsize written = 77;
  GError *error = NULL;

  g_test_summary ("Memory that is not there is an error; of what was before it as much was sent as "
                  "is told");

  if (!set_up_sockets (&f, ZCIO_TEST_FAMILY_IPV4))
    return;
  set_up_stream (&f, ZCIO_TEST_READER_DEFAULT);
  zcio_test_pattern_fill (0, memory, page);
  g_assert_cmpint (munmap (memory + page, page), ==, 0);

  g_assert_false (zcio_socket_stream_writev_zerocopy_full (f.stream, vectors, 2, count_release, &f.released,
                                                           &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
  g_assert_cmpstr (error->message, ==, "Error sending message: Bad address");
  g_clear_error (&error);
  g_assert_cmpuint (written, <=, page);
  f.position = written;
  f.made = 1;
  g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, &error));
  g_assert_no_error (error);
  munmap (memory, page);
  write_some (&f, BUFFER_SIZE);
  tear_down (&f);
}

typedef struct
{
  Fixture *f;
  gint stop;
} Reaping;

static gpointer
reap (gpointer data)
{
  Reaping *reaping = data;

  while (!g_atomic_int_get (&reaping->stop))
    {
      zcio_socket_stream_reap (reaping->f->stream);
      g_thread_yield ();
    }
  return NULL;
}

static void
test_early_completion (void)
{
  Fixture f;
  Reaping reaping = { &f, FALSE };
  g_autoptr (ZcioStatistics) statistics = NULL;
  GThread *thread;

  g_test_summary ("A completion that another thread reads before the send has returned releases "
                  "the right buffer");

  if (!set_up_sockets (&f, ZCIO_TEST_FAMILY_IPV4))
    return;
  set_up_stream (&f, ZCIO_TEST_READER_DEFAULT);
  thread = g_thread_new ("reap", reap, &reaping);
  for (guint i = 0; i < 5000; i++)
    write_some (&f, 2000 + i % 100);
  g_atomic_int_set (&reaping.stop, TRUE);
  g_thread_join (thread);
  statistics = check_statistics (&f);
  g_assert_cmpuint (statistics->bytes_written, ==, f.position);
  tear_down (&f);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/real-kernel/timestamps/ipv4", GINT_TO_POINTER (ZCIO_TEST_FAMILY_IPV4), test_timestamps);
  g_test_add_data_func ("/real-kernel/timestamps/ipv6", GINT_TO_POINTER (ZCIO_TEST_FAMILY_IPV6), test_timestamps);
  g_test_add_data_func ("/real-kernel/timestamps/v4-mapped", GINT_TO_POINTER (ZCIO_TEST_FAMILY_V4_MAPPED), test_timestamps);
  g_test_add_data_func ("/real-kernel/unknown-base/read", GINT_TO_POINTER (FALSE), test_unknown_base);
  g_test_add_data_func ("/real-kernel/unknown-base/unread", GINT_TO_POINTER (TRUE), test_unknown_base);
  g_test_add_func ("/real-kernel/unix-data", test_unix_data);
  g_test_add_func ("/real-kernel/secret-memory", test_secret_memory);
  g_test_add_func ("/real-kernel/fault", test_fault);
  g_test_add_func ("/real-kernel/early-completion", test_early_completion);

  return g_test_run ();
}
