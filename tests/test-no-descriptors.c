/* test-no-descriptors.c - a process that has used up its descriptors
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test-util.h"
#include "zcio/zcio-linger-private.h"

#define BUFFER_SIZE (64 * 1024)

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
  struct rlimit limit;
  guint64 position;
  gint made;
  gint released;
} Fixture;

/* All numbers below the lowest free one are in use. */
static void
leave_descriptors (Fixture *f,
                   guint    n)
{
  struct rlimit limit;
  int lowest = fcntl (0, F_DUPFD_CLOEXEC, 0);

  g_assert_cmpint (lowest, >, 0);
  close (lowest);
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &f->limit), ==, 0);
  limit = f->limit;
  limit.rlim_cur = lowest + n;
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);

  if (n == 0)
    {
      g_assert_cmpint (fcntl (0, F_DUPFD_CLOEXEC, 0), ==, -1);
      g_assert_cmpint (errno, ==, EMFILE);
    }
}

static void
give_descriptors_back (Fixture *f)
{
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &f->limit), ==, 0);
}

static gboolean
set_up (Fixture             *f,
        ZcioTestReaderFlags  flags)
{
  *f = (Fixture) { NULL };
  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 0, &f->socket, &f->peer))
    return FALSE;

  /* What GLib itself needs it has from now on. */
  g_main_context_iteration (NULL, FALSE);
  f->reader = zcio_test_reader_new (f->peer, 0, flags);
  return TRUE;
}

static void
make_stream (Fixture *f)
{
  f->stream = zcio_socket_stream_new (f->socket);
  zcio_socket_stream_set_zero_copy_mode (f->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
}

/* Until the socket takes no more; the last buffer may be cut off. */
static void
fill (Fixture *f)
{
  gsize written;

  do
    {
      GBytes *bytes = zcio_test_pattern_bytes (f->position, BUFFER_SIZE, &f->released);
      GError *error = NULL;

      zcio_socket_stream_writev_zerocopy_nonblocking (f->stream, &bytes, 1, &written, NULL, &error);
      g_assert_no_error (error);
      g_bytes_unref (bytes);
      f->position += written;
      f->made++;
    }
  while (written == BUFFER_SIZE);
}

static void
tear_down (Fixture *f)
{
  g_clear_object (&f->stream);
  g_clear_object (&f->socket);
  g_assert_cmpuint (zcio_test_reader_finish (f->reader, NULL, NULL), ==, f->position);
  g_clear_object (&f->peer);
  zcio_test_wait_until (NULL, zcio_linger_count () == 0);
}

static void
add_bytes (ZcioSocketStream *stream,
           guint             sends,
           guint64           bytes,
           gboolean          zero_copied,
           gpointer          user_data)
{
  *(guint64 *) user_data += bytes;
}

static void
test_main_loop (void)
{
  Fixture f;
  guint64 completed = 0;
  guint64 in_flight;

  g_test_summary ("A main loop that cannot be woken by the kernel reaps all the same, by the clock "
                  "and without spinning");

  if (!set_up (&f, ZCIO_TEST_READER_PAUSED))
    return;

  leave_descriptors (&f, 0);
  make_stream (&f);
  g_signal_connect (f.stream, "completed", G_CALLBACK (add_bytes), &completed);
  fill (&f);
  g_object_get (f.stream, "bytes-in-flight", &in_flight, NULL);
  g_assert_cmpuint (in_flight, >, 0);
  g_assert_cmpuint (zcio_test_run_for (NULL, 200), <, 50);

  zcio_test_reader_resume (f.reader);
  zcio_test_wait_until (NULL, completed == f.position);
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, f.made);
  g_object_get (f.stream, "bytes-in-flight", &in_flight, NULL);
  g_assert_cmpuint (in_flight, ==, 0);
  give_descriptors_back (&f);

  tear_down (&f);
}

static void
test_drain (void)
{
  Fixture f;
  GError *error = NULL;

  g_test_summary ("Waiting in drain() needs no descriptor");

  if (!set_up (&f, ZCIO_TEST_READER_PAUSED))
    return;

  make_stream (&f);
  fill (&f);
  leave_descriptors (&f, 0);
  zcio_test_reader_resume (f.reader);
  g_assert_true (zcio_socket_stream_drain (f.stream, 0, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, f.made);
  give_descriptors_back (&f);

  tear_down (&f);
}

/* The last stream of a reaper would give its descriptor back, which the linger would get. */
static GSource *
keep_reaper (void)
{
  g_autoptr (ZcioSocketStream) other = NULL;
  GSocket *first;
  GSocket *second;
  GSource *source;

  g_assert_true (zcio_test_socket_pair (ZCIO_TEST_FAMILY_UNIX, 0, &first, &second));
  other = zcio_socket_stream_new (first);
  source = zcio_socket_stream_create_completion_source (other, NULL);
  g_object_unref (first);
  g_object_unref (second);

  return source;
}

static void
test_linger (gconstpointer data)
{
  guint n_left = GPOINTER_TO_UINT (data);
  g_autoptr (GSource) keeper = NULL;
  Fixture f;

  g_test_summary ("What a stream leaves in flight is kept until the kernel is done with it, also if "
                  "the linger gets no duplicate of the socket, or nothing to wait with; its thread "
                  "ends when it is idle");

  /* The linger, too, keeps what it once has. */
  if (!g_test_subprocess ())
    {
      g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
      g_test_trap_assert_passed ();
      return;
    }

  if (!set_up (&f, ZCIO_TEST_READER_PAUSED))
    return;

  keeper = keep_reaper ();
  make_stream (&f);
  fill (&f);
  leave_descriptors (&f, n_left);
  g_assert_finalize_object (g_steal_pointer (&f.stream));
  g_assert_cmpuint (zcio_linger_count (), ==, 1);
  g_assert_cmpint (g_atomic_int_get (&f.released), <, f.made);

  zcio_test_reader_resume (f.reader);
  zcio_test_wait_until (NULL, zcio_linger_count () == 0);
  g_assert_cmpint (g_atomic_int_get (&f.released), ==, f.made);
  zcio_test_wait_until (NULL, !zcio_linger_has_thread ());
  give_descriptors_back (&f);

  tear_down (&f);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/no-descriptors/main-loop", test_main_loop);
  g_test_add_func ("/no-descriptors/drain", test_drain);
  g_test_add_data_func ("/no-descriptors/linger/none-left", GUINT_TO_POINTER (0), test_linger);
  g_test_add_data_func ("/no-descriptors/linger/one-left", GUINT_TO_POINTER (1), test_linger);
  g_test_add_data_func ("/no-descriptors/linger/two-left", GUINT_TO_POINTER (2), test_linger);

  return g_test_run ();
}
