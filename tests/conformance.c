/* conformance.c - test cases that run on GIO's socket stream and on ZcioSocketStream
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "conformance.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "test-util.h"

#define BUFFER_SIZE (64 * 1024)
#define UNREAD_SIZE 4096

typedef struct
{
  ConformanceKind kind;
  const char *path;
  ConformanceFunc func;
} Case;

static const char *const kind_names[] = { "gio", "zcio", "zcio-unread" };

/* (element-type utf8 utf8): what GIO's stream said, by path and number */
static GHashTable *words;

gboolean
conformance_is_gio (Conformance *c)
{
  return c->kind == CONFORMANCE_GIO;
}

void
conformance_assert_error (Conformance   *c,
                          GError       **error,
                          GIOErrorEnum   code)
{
  g_assert_error (*error, G_IO_ERROR, (int) code);
  conformance_assert_same_error (c, error);
}

void
conformance_assert_same_error (Conformance  *c,
                               GError      **error)
{
  g_autofree char *place = g_strdup_printf ("%s %u", c->path, ++c->n_errors);
  g_autofree char *said = NULL;

  g_assert_nonnull (*error);
  said = g_strdup_printf ("%s %d: %s", g_quark_to_string ((*error)->domain), (*error)->code,
                          (*error)->message);
  if (conformance_is_gio (c))
    g_hash_table_insert (words, g_steal_pointer (&place), g_steal_pointer (&said));
  else if (g_hash_table_contains (words, place))
    g_assert_cmpstr (said, ==, g_hash_table_lookup (words, place));

  g_clear_error (error);
}

/* On loopback the kernel has copied, and so has notified, before the call returns. */
static void
leave_completion_unread (Conformance *c)
{
  g_autoptr (GBytes) bytes = g_bytes_new_take (g_malloc0 (UNREAD_SIZE), UNREAD_SIZE);
  struct pollfd fd = { .fd = g_socket_get_fd (c->socket) };
  GError *error = NULL;

  zcio_socket_stream_set_zero_copy_mode (ZCIO_SOCKET_STREAM (c->stream),
                                         ZCIO_ZERO_COPY_MODE_ALWAYS);
  zcio_socket_stream_write_zerocopy (ZCIO_SOCKET_STREAM (c->stream), bytes, &c->to_skip,
                                     NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (c->to_skip, ==, UNREAD_SIZE);
  g_assert_cmpint (poll (&fd, 1, ZCIO_TEST_GUARD_SECONDS * 1000), ==, 1);
  g_assert_cmpint (fd.revents, ==, POLLERR);
}

static void
run_case (gconstpointer data)
{
  const Case *test = data;
  Conformance c = { .kind = test->kind, .path = test->path };

  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, BUFFER_SIZE, &c.socket, &c.peer))
    return;

  if (conformance_is_gio (&c))
    {
      c.connection = g_socket_connection_factory_create_connection (c.socket);
      c.stream = g_object_ref (g_io_stream_get_output_stream (G_IO_STREAM (c.connection)));
    }
  else
    c.stream = G_OUTPUT_STREAM (zcio_socket_stream_new (c.socket));

  /* GSocket ignores it for the whole process; the streams must do without that. */
  signal (SIGPIPE, SIG_DFL);
  if (c.kind == CONFORMANCE_ZCIO_UNREAD)
    leave_completion_unread (&c);

  test->func (&c);

  g_clear_object (&c.stream);
  g_clear_object (&c.connection);
  g_clear_object (&c.socket);
  g_clear_object (&c.peer);
}

void
conformance_add (const char      *path,
                 ConformanceFunc  func)
{
  if (words == NULL)
    words = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);

  for (ConformanceKind kind = CONFORMANCE_GIO; kind < CONFORMANCE_N_KINDS; kind++)
    {
      g_autofree char *full_path = g_strdup_printf ("%s/%s", path, kind_names[kind]);
      Case *test = g_new (Case, 1);

      *test = (Case) { .kind = kind, .path = path, .func = func };
      g_test_add_data_func_full (full_path, test, run_case, g_free);
    }
}

static gsize
fill_once (Conformance *c,
           gsize        position)
{
  GPollableOutputStream *pollable = G_POLLABLE_OUTPUT_STREAM (c->stream);
  gsize size = 0;
  GError *error = NULL;

  while (TRUE)
    {
      guint8 data[16384];
      gssize n;

      zcio_test_pattern_fill (position + size, data, sizeof data);
      n = g_pollable_output_stream_write_nonblocking (pollable, data, sizeof data, NULL, &error);
      if (n < 0)
        break;
      g_assert_cmpint (n, >, 0);
      size += n;
    }

  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  g_clear_error (&error);

  return size;
}

/* How long the kernel may go on moving what was written to the peer, which makes place: the
 * first probe of a closed window comes after 200 ms.
 */
#define SETTLE_TIME 250

gsize
conformance_fill (Conformance *c)
{
  struct pollfd fd = { .fd = g_socket_get_fd (c->socket), .events = POLLOUT };
  gsize size = 0;
  gsize unread;

  do
    {
      unread = conformance_get_unread (c);
      size += fill_once (c, size);
      g_usleep (SETTLE_TIME * 1000);
      fd.revents = 0;
      poll (&fd, 1, 0);
    }
  while ((fd.revents & POLLOUT) != 0 || conformance_get_unread (c) != unread);

  g_assert_cmpuint (size, >, 0);
  return size;
}

static void
receive (Conformance *c,
         gpointer     data,
         gsize        size)
{
  gsize done = 0;

  while (done < size)
    {
      struct pollfd fd = { .fd = g_socket_get_fd (c->peer), .events = POLLIN };
      gssize n;

      g_assert_cmpint (poll (&fd, 1, ZCIO_TEST_GUARD_SECONDS * 1000), ==, 1);
      n = recv (fd.fd, (guint8 *) data + done, size - done, MSG_DONTWAIT);
      if (n < 0 && errno == EAGAIN)
        continue;
      g_assert_cmpint (n, >, 0);
      done += n;
    }
}

void
conformance_read (Conformance *c,
                  guint64      position,
                  gsize        size)
{
  g_autofree guint8 *data = g_malloc (c->to_skip + size);

  receive (c, data, c->to_skip + size);
  g_assert_cmpuint (zcio_test_pattern_check (position, data + c->to_skip, size), ==, size);
  c->to_skip = 0;
}

void
conformance_assert_nothing_more (Conformance *c)
{
  guint8 sent = 0xa5;
  guint8 data = 0;
  GError *error = NULL;

  g_assert_cmpint (g_socket_send (c->socket, (const char *) &sent, 1, NULL, &error), ==, 1);
  g_assert_no_error (error);
  conformance_read (c, 0, 0);
  receive (c, &data, 1);
  g_assert_cmpuint (data, ==, sent);
}

void
conformance_reset (Conformance *c)
{
  struct linger linger = { .l_onoff = 1 };
  struct pollfd fd = { .fd = g_socket_get_fd (c->socket), .events = POLLIN };
  gint64 deadline = zcio_test_get_deadline ();

  g_assert_cmpint (setsockopt (g_socket_get_fd (c->peer), SOL_SOCKET, SO_LINGER,
                               &linger, sizeof linger),
                   ==, 0);
  g_socket_close (c->peer, NULL);

  while ((fd.revents & POLLHUP) == 0)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_assert_cmpint (poll (&fd, 1, 1000), >=, 0);
    }
}

void
conformance_close_socket (Conformance *c)
{
  GError *error = NULL;

  if (c->kind == CONFORMANCE_ZCIO_UNREAD)
    {
      zcio_socket_stream_drain (ZCIO_SOCKET_STREAM (c->stream), 0, NULL, &error);
      g_assert_no_error (error);
    }
  g_socket_close (c->socket, &error);
  g_assert_no_error (error);
}

gsize
conformance_get_unread (Conformance *c)
{
  int unread;

  g_assert_cmpint (ioctl (g_socket_get_fd (c->peer), FIONREAD, &unread), ==, 0);
  return unread;
}
