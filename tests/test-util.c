/* test-util.c - what the tests share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "test-util.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Ending with the program */

static gboolean
is_thread_left (const char *name)
{
  GDir *tasks = g_dir_open ("/proc/self/task", 0, NULL);
  const char *id;
  gboolean found = FALSE;

  while (tasks != NULL && !found && (id = g_dir_read_name (tasks)) != NULL)
    {
      g_autofree char *path = g_build_filename ("/proc/self/task", id, "comm", NULL);
      g_autofree char *comm = NULL;

      found = g_file_get_contents (path, &comm, NULL, NULL) && g_str_equal (g_strchomp (comm), name);
    }
  g_clear_pointer (&tasks, g_dir_close);

  return found;
}

/* The thread of the linger stays for some time, for more work. Valgrind is to look for leaks
 * after it has ended, which nothing tells.
 */
static void
wait_for_linger_thread (void)
{
  while (is_thread_left ("zcio-linger"))
    g_usleep (10 * G_TIME_SPAN_MILLISECOND);
}

static void __attribute__ ((constructor))
prepare_end (void)
{
  if (g_getenv ("ZCIO_TEST_VALGRIND") != NULL)
    atexit (wait_for_linger_thread);
}

gint64
zcio_test_get_deadline (void)
{
  const char *patience = g_getenv ("ZCIO_TEST_PATIENCE");
  gint64 factor = patience != NULL ? g_ascii_strtoll (patience, NULL, 10) : 1;

  return g_get_monotonic_time () + (gint64) MAX (factor, 1) * ZCIO_TEST_GUARD_SECONDS * G_USEC_PER_SEC;
}

/* Seeds */

guint64
zcio_test_get_seed (void)
{
  static gsize initialized = 0;
  static guint64 seed = 0;

  if (g_once_init_enter (&initialized))
    {
      const char *given = g_getenv ("ZCIO_TEST_SEED");

      if (given != NULL)
        seed = g_ascii_strtoull (given, NULL, 0);
      else
        seed = g_random_int ();

      g_test_message ("ZCIO_TEST_SEED=%" G_GUINT64_FORMAT, seed);
      g_once_init_leave (&initialized, 1);
    }

  return seed;
}

guint64
zcio_test_get_rounds (guint64 rounds)
{
  const char *given = g_getenv ("ZCIO_TEST_ROUNDS");

  return given != NULL ? g_ascii_strtoull (given, NULL, 0) : rounds;
}

static guint64
mix (guint64 value)
{
  value = (value ^ (value >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);

  return value ^ (value >> 31);
}

guint64
zcio_test_random (guint64 *state)
{
  *state += G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);

  return mix (*state);
}

guint64
zcio_test_random_range (guint64 *state,
                        guint64 first,
                        guint64 last)
{
  guint64 number = zcio_test_random (state);

  g_assert_cmpuint (first, <=, last);

  if (last - first == G_MAXUINT64)
    return number;

  return first + number % (last - first + 1);
}

gboolean
zcio_test_random_chance (guint64 *state,
                         guint percent)
{
  return zcio_test_random_range (state, 0, 99) < percent;
}

/* The pattern */

static guint64
get_pattern_word (guint64 index)
{
  return GUINT64_TO_LE (mix ((index + 1) * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15)));
}

void
zcio_test_pattern_fill (guint64 position,
                        gpointer data,
                        gsize size)
{
  guint8 *bytes = data;

  while (size > 0)
    {
      guint64 word = get_pattern_word (position / 8);
      gsize offset = position % 8;
      gsize part = MIN (8 - offset, size);

      memcpy (bytes, (const guint8 *) &word + offset, part);
      bytes += part;
      position += part;
      size -= part;
    }
}

gsize
zcio_test_pattern_check (guint64 position,
                         gconstpointer data,
                         gsize size)
{
  const guint8 *bytes = data;
  gsize done = 0;

  while (done < size)
    {
      guint64 word = get_pattern_word ((position + done) / 8);
      gsize offset = (position + done) % 8;
      gsize part = MIN (8 - offset, size - done);
      const guint8 *expected = (const guint8 *) &word + offset;

      if (memcmp (bytes + done, expected, part) != 0)
        {
          while (bytes[done] == *expected)
            {
              done++;
              expected++;
            }

          return done;
        }

      done += part;
    }

  return size;
}

typedef struct
{
  guint8 *data;
  gsize size;
  gint *released;
} PatternBytes;

static void
pattern_bytes_free (gpointer data)
{
  PatternBytes *pattern = data;

  /* Whoever reads it from now on shall not find what it expects. */
  memset (pattern->data, 0xdd, pattern->size);
  g_free (pattern->data);
  if (pattern->released != NULL)
    g_atomic_int_inc (pattern->released);
  g_free (pattern);
}

GBytes *
zcio_test_pattern_bytes (guint64 position,
                         gsize size,
                         gint *released)
{
  PatternBytes *pattern = g_new (PatternBytes, 1);

  /* One byte more, so that there is an address even if the size is 0. */
  pattern->data = g_malloc (size + 1);
  pattern->size = size;
  pattern->released = released;
  zcio_test_pattern_fill (position, pattern->data, size);

  return g_bytes_new_with_free_func (pattern->data, size, pattern_bytes_free, pattern);
}

/* Sockets */

const char *
zcio_test_family_to_string (ZcioTestFamily family)
{
  static const char *const names[] = { "ipv4", "ipv6", "v4-mapped", "unix" };

  return names[family];
}

static void
set_buffer_size (GSocket *socket,
                 int size)
{
  GError *error = NULL;

  if (size == 0)
    return;

  g_socket_set_option (socket, SOL_SOCKET, SO_SNDBUF, size, &error);
  g_assert_no_error (error);
  g_socket_set_option (socket, SOL_SOCKET, SO_RCVBUF, size, &error);
  g_assert_no_error (error);
}

static void
make_unix_pair (int buffer_size,
                GSocket **first,
                GSocket **second)
{
  GError *error = NULL;
  int fds[2];

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
  *first = g_socket_new_from_fd (fds[0], &error);
  g_assert_no_error (error);
  *second = g_socket_new_from_fd (fds[1], &error);
  g_assert_no_error (error);
  set_buffer_size (*first, buffer_size);
  set_buffer_size (*second, buffer_size);
}

/* GLib makes an IPv4 address of a v4-mapped one, unless it does not see it. */
static GSocketAddress *
make_loopback_address (ZcioTestFamily family)
{
  struct sockaddr_in v4 = { .sin_family = AF_INET };
  struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
  const char *host = family == ZCIO_TEST_FAMILY_IPV6 ? "::1" : "::ffff:127.0.0.1";

  if (family == ZCIO_TEST_FAMILY_IPV4)
    {
      v4.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
      return g_native_socket_address_new (&v4, sizeof v4);
    }

  g_assert_cmpint (inet_pton (AF_INET6, host, &v6.sin6_addr), ==, 1);

  return g_native_socket_address_new (&v6, sizeof v6);
}

static GSocketAddress *
get_bound_address (GSocket *socket)
{
  struct sockaddr_storage storage;
  socklen_t size = sizeof storage;

  g_assert_cmpint (getsockname (g_socket_get_fd (socket), (struct sockaddr *) &storage, &size), ==, 0);

  return g_native_socket_address_new (&storage, size);
}

gboolean
zcio_test_socket_pair (ZcioTestFamily family,
                       int buffer_size,
                       GSocket **first,
                       GSocket **second)
{
  GSocketFamily socket_family =
    family == ZCIO_TEST_FAMILY_IPV4 ? G_SOCKET_FAMILY_IPV4 : G_SOCKET_FAMILY_IPV6;
  GSocketAddress *address;
  GSocket *listener;
  GError *error = NULL;

  if (family == ZCIO_TEST_FAMILY_UNIX)
    {
      make_unix_pair (buffer_size, first, second);
      return TRUE;
    }

  listener = g_socket_new (socket_family, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
  if (listener != NULL)
    {
      address = make_loopback_address (family);
      if (!g_socket_bind (listener, address, FALSE, &error))
        g_clear_object (&listener);
      g_object_unref (address);
    }
  if (listener == NULL)
    {
      g_test_skip_printf ("No %s on this host: %s",
                          zcio_test_family_to_string (family),
                          error->message);
      g_error_free (error);
      return FALSE;
    }

  /* Before listening: the window is agreed on when the connection is made. */
  set_buffer_size (listener, buffer_size);
  g_socket_listen (listener, &error);
  g_assert_no_error (error);
  address = get_bound_address (listener);
  *first = g_socket_new (socket_family, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &error);
  g_assert_no_error (error);
  set_buffer_size (*first, buffer_size);
  g_socket_connect (*first, address, NULL, &error);
  g_assert_no_error (error);
  *second = g_socket_accept (listener, NULL, &error);
  g_assert_no_error (error);

  g_object_unref (address);
  g_object_unref (listener);

  return TRUE;
}

/* CPU time */

static gint64
get_clock (clockid_t clock)
{
  struct timespec time;

  g_assert_cmpint (clock_gettime (clock, &time), ==, 0);

  return (gint64) time.tv_sec * G_USEC_PER_SEC + time.tv_nsec / 1000;
}

gint64
zcio_test_get_thread_cpu_time (void)
{
  return get_clock (CLOCK_THREAD_CPUTIME_ID);
}

gint64
zcio_test_get_process_cpu_time (void)
{
  return get_clock (CLOCK_PROCESS_CPUTIME_ID);
}

/* Main contexts */

static gint polls;

static gint
count_poll (GPollFD *fds,
            guint n_fds,
            gint timeout)
{
  g_atomic_int_inc (&polls);

  return g_poll (fds, n_fds, timeout);
}

void
zcio_test_count_polls (GMainContext *context)
{
  g_main_context_set_poll_func (context, count_poll);
}

guint
zcio_test_get_polls (void)
{
  return g_atomic_int_get (&polls);
}

static gboolean
set_flag (gpointer data)
{
  *(gboolean *) data = TRUE;

  return G_SOURCE_REMOVE;
}

guint
zcio_test_run_for (GMainContext *context,
                   guint milliseconds)
{
  GSource *source = g_timeout_source_new (milliseconds);
  gboolean done = FALSE;
  guint iterations = 0;

  /* A source that spins must not keep the end away. */
  g_source_set_priority (source, G_MININT);
  g_source_set_callback (source, set_flag, &done, NULL);
  g_source_attach (source, context);

  while (!done)
    {
      g_main_context_iteration (context, TRUE);
      iterations++;
    }

  g_source_unref (source);

  return iterations;
}

static gboolean
do_nothing (gpointer data)
{
  return G_SOURCE_REMOVE;
}

void
zcio_test_wait_step (GMainContext *context,
                     gint64 deadline,
                     const char *file,
                     int line,
                     const char *function,
                     const char *expression)
{
  GSource *source;

  if (g_get_monotonic_time () >= deadline)
    {
      char *message = g_strdup_printf ("waited in vain for: %s", expression);

      g_assertion_message (G_LOG_DOMAIN, file, line, function, message);
      g_free (message);
    }

  /* What is waited for may happen in another thread, which wakes nobody. */
  source = g_timeout_source_new (20);
  g_source_set_priority (source, G_MININT);
  g_source_set_callback (source, do_nothing, NULL, NULL);
  g_source_attach (source, context);
  g_main_context_iteration (context, TRUE);
  g_source_destroy (source);
  g_source_unref (source);
}

void
zcio_test_store_result (GObject *source,
                        GAsyncResult *result,
                        gpointer data)
{
  GAsyncResult **stored = data;

  g_assert_null (*stored);
  *stored = g_object_ref (result);
}

gpointer
zcio_test_cancel_soon (gpointer data)
{
  g_usleep (20 * 1000);
  g_cancellable_cancel (data);
  return NULL;
}
