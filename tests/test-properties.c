/* test-properties.c - what can be set and asked of a stream
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include "test-util.h"
#include "zcio/zcio-reaper-private.h"

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
} Fixture;

static gboolean
set_up (Fixture        *f,
        ZcioTestFamily  family)
{
  if (!zcio_test_socket_pair (family, 0, &f->socket, &f->peer))
    return FALSE;

  f->stream = zcio_socket_stream_new (f->socket);
  return TRUE;
}

static void
tear_down (Fixture *f)
{
  g_assert_finalize_object (f->stream);
  g_assert_finalize_object (f->socket);
  g_assert_finalize_object (f->peer);
}

static void
count_notification (GObject    *object,
                    GParamSpec *pspec,
                    gpointer    user_data)
{
  ++*(guint *) user_data;
}

static void
test_defaults (void)
{
  Fixture f;
  g_autoptr (GSocket) stream_socket = NULL;
  ZcioZeroCopyMode mode;
  ZcioZeroCopyState state;
  guint64 threshold;
  guint64 effective;
  guint64 max_bytes;
  guint64 bytes;
  guint64 sends;
  guint linger_timeout;
  int priority;
  gboolean supported;

  g_test_summary ("A new stream over loopback chooses by itself, and knows that its peer is near");

  if (!set_up (&f, ZCIO_TEST_FAMILY_IPV4))
    return;

  g_object_get (f.stream,
                "socket", &stream_socket,
                "zero-copy-mode", &mode,
                "threshold", &threshold,
                "effective-threshold", &effective,
                "max-bytes-in-flight", &max_bytes,
                "linger-timeout", &linger_timeout,
                "priority", &priority,
                "zero-copy-supported", &supported,
                "zero-copy-state", &state,
                "bytes-in-flight", &bytes,
                "sends-in-flight", &sends,
                NULL);
  g_assert_true (stream_socket == f.socket);
  g_assert_true (zcio_socket_stream_get_socket (f.stream) == f.socket);
  g_assert_cmpint (mode, ==, ZCIO_ZERO_COPY_MODE_AUTO);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_mode (f.stream), ==, ZCIO_ZERO_COPY_MODE_AUTO);
  g_assert_cmpuint (threshold, ==, 0);
  g_assert_cmpuint (effective, >=, 4096);
  g_assert_cmpuint (max_bytes, ==, 0);
  g_assert_cmpuint (linger_timeout, ==, 60);
  g_assert_cmpint (priority, ==, ZCIO_REAPER_DEFAULT_PRIORITY);
  g_assert_true (supported);
  g_assert_cmpint (state, !=, ZCIO_ZERO_COPY_STATE_ACTIVE);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (f.stream), ==, state);
  g_assert_cmpuint (bytes, ==, 0);
  g_assert_cmpuint (sends, ==, 0);

  g_clear_object (&stream_socket);
  tear_down (&f);
}

static void
test_set (void)
{
  static const struct
  {
    const char *name;
    GType type;
    gint64 value;
    gboolean tells_same;  /* also when nothing changes */
  } cases[] = {
    { "threshold", G_TYPE_UINT64, 12345, FALSE },
    { "max-bytes-in-flight", G_TYPE_UINT64, G_GUINT64_CONSTANT (1) << 40, FALSE },
    { "linger-timeout", G_TYPE_UINT, 7, TRUE },
    { "priority", G_TYPE_INT, -77, FALSE },
  };
  Fixture f;

  g_test_summary ("What is set is what is got, and each change is notified once");

  if (!set_up (&f, ZCIO_TEST_FAMILY_IPV4))
    return;

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *signal = g_strconcat ("notify::", cases[i].name, NULL);
      g_auto (GValue) wide = G_VALUE_INIT;
      g_auto (GValue) value = G_VALUE_INIT;
      g_auto (GValue) got = G_VALUE_INIT;
      guint n_notified = 0;

      g_value_init (&wide, G_TYPE_INT64);
      g_value_init (&value, cases[i].type);
      g_value_init (&got, cases[i].type);
      g_value_set_int64 (&wide, cases[i].value);
      g_assert_true (g_value_transform (&wide, &value));

      g_signal_connect (f.stream, signal, G_CALLBACK (count_notification), &n_notified);
      g_object_set_property (G_OBJECT (f.stream), cases[i].name, &value);
      g_assert_cmpuint (n_notified, ==, 1);
      g_object_get_property (G_OBJECT (f.stream), cases[i].name, &got);
      g_assert_true (g_value_transform (&got, &wide));
      g_assert_cmpint (g_value_get_int64 (&wide), ==, cases[i].value);

      if (!cases[i].tells_same)
        {
          g_object_set_property (G_OBJECT (f.stream), cases[i].name, &value);
          g_assert_cmpuint (n_notified, ==, 1);
        }
    }

  tear_down (&f);
}

static void
test_threshold (void)
{
  Fixture f;
  guint n_notified = 0;
  guint64 chosen;
  guint64 effective;

  g_test_summary ("The threshold that is set is the effective one, until the stream is to choose "
                  "again; both are notified");

  if (!set_up (&f, ZCIO_TEST_FAMILY_IPV4))
    return;

  g_object_get (f.stream, "effective-threshold", &chosen, NULL);
  g_signal_connect (f.stream, "notify::effective-threshold", G_CALLBACK (count_notification), &n_notified);

  g_object_set (f.stream, "threshold", chosen + 1, NULL);
  g_object_get (f.stream, "effective-threshold", &effective, NULL);
  g_assert_cmpuint (effective, ==, chosen + 1);
  g_assert_cmpuint (n_notified, ==, 1);

  g_object_set (f.stream, "threshold", G_GUINT64_CONSTANT (0), NULL);
  g_object_get (f.stream, "effective-threshold", &effective, NULL);
  g_assert_cmpuint (effective, ==, chosen);
  g_assert_cmpuint (n_notified, ==, 2);

  tear_down (&f);
}

static void
test_mode (void)
{
  Fixture f;
  g_autofree char *always = NULL;
  g_autofree char *never = NULL;
  guint n_modes = 0;

  g_test_summary ("The mode decides what the stream does and what it says about that");

  if (!set_up (&f, ZCIO_TEST_FAMILY_IPV4))
    return;

  g_signal_connect (f.stream, "notify::zero-copy-mode", G_CALLBACK (count_notification), &n_modes);

  g_object_set (f.stream, "zero-copy-mode", ZCIO_ZERO_COPY_MODE_ALWAYS, NULL);
  g_assert_cmpuint (n_modes, ==, 1);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_mode (f.stream), ==, ZCIO_ZERO_COPY_MODE_ALWAYS);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (f.stream), ==, ZCIO_ZERO_COPY_STATE_ACTIVE);
  always = zcio_socket_stream_describe (f.stream);
  g_assert_cmpstr (always, ==, "zero-copy: buffers of any size");

  g_object_set (f.stream, "zero-copy-mode", ZCIO_ZERO_COPY_MODE_ALWAYS, NULL);
  g_assert_cmpuint (n_modes, ==, 1);

  g_object_set (f.stream, "zero-copy-mode", ZCIO_ZERO_COPY_MODE_NEVER, NULL);
  g_assert_cmpuint (n_modes, ==, 2);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (f.stream), !=, ZCIO_ZERO_COPY_STATE_ACTIVE);
  never = zcio_socket_stream_describe (f.stream);
  g_assert_cmpstr (never, ==, "copying: zero-copy is switched off");

  tear_down (&f);
}

static void
test_unix (void)
{
  Fixture f;
  g_autofree char *text = NULL;
  gboolean supported = TRUE;

  g_test_summary ("A UNIX socket has no zero-copy, and the stream says so");

  g_assert_true (set_up (&f, ZCIO_TEST_FAMILY_UNIX));
  g_object_get (f.stream, "zero-copy-supported", &supported, NULL);
  g_assert_false (supported);
  g_assert_cmpint (zcio_socket_stream_get_zero_copy_state (f.stream), ==,
                   ZCIO_ZERO_COPY_STATE_UNSUPPORTED);
  text = zcio_socket_stream_describe (f.stream);
  g_assert_cmpstr (text, ==, "copying: this kind of socket cannot send by zero-copy");

  tear_down (&f);
}

static void
add_sends (ZcioSocketStream *stream,
           guint             sends,
           guint64           bytes,
           gboolean          zero_copied,
           gpointer          user_data)
{
  *(guint64 *) user_data += bytes;
}

static void
test_priority (void)
{
  Fixture f;
  g_autofree guint8 *data = g_malloc (65536);
  guint64 completed = 0;
  guint64 sends;
  gint released = 0;
  GError *error = NULL;

  g_test_summary ("When the priority changes with sends in flight, their completions still come");

  if (!set_up (&f, ZCIO_TEST_FAMILY_IPV4))
    return;

  zcio_socket_stream_set_zero_copy_mode (f.stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  g_signal_connect (f.stream, "completed", G_CALLBACK (add_sends), &completed);
  for (guint i = 0; i < 2; i++)
    {
      GBytes *bytes = zcio_test_pattern_bytes (i * 65536, 65536, &released);

      g_assert_true (zcio_socket_stream_write_zerocopy (f.stream, bytes, NULL, NULL, &error));
      g_assert_no_error (error);
      g_bytes_unref (bytes);
      if (i == 0)
        g_object_set (f.stream, "priority", G_PRIORITY_HIGH, NULL);
      for (gsize n = 0; n < 65536;)
        {
          gssize n_read = g_socket_receive (f.peer, (char *) data + n, 65536 - n, NULL, &error);

          g_assert_no_error (error);
          g_assert_cmpint (n_read, >, 0);
          n += n_read;
        }
      g_assert_cmpuint (zcio_test_pattern_check (i * 65536, data, 65536), ==, 65536);
    }
  zcio_test_wait_until (NULL, completed == 2 * 65536);
  g_assert_cmpint (g_atomic_int_get (&released), ==, 2);
  g_object_get (f.stream, "sends-in-flight", &sends, NULL);
  g_assert_cmpuint (sends, ==, 0);

  tear_down (&f);
}

static void
test_without_socket (void)
{
  g_autoptr (ZcioSocketStream) stream = NULL;
  GError *error = NULL;

  g_test_summary ("Made without a socket, as other languages may, a stream complains and cannot write");

  g_test_expect_message ("Zcio", G_LOG_LEVEL_CRITICAL, "*needs a GSocket*");
  stream = g_object_new (ZCIO_TYPE_SOCKET_STREAM, NULL);
  g_test_assert_expected_messages ();

  g_assert_true (G_IS_SOCKET (zcio_socket_stream_get_socket (stream)));
  g_assert_cmpint (g_output_stream_write (G_OUTPUT_STREAM (stream), "x", 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_CONNECTED);
  g_error_free (error);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/properties/defaults", test_defaults);
  g_test_add_func ("/properties/set", test_set);
  g_test_add_func ("/properties/threshold", test_threshold);
  g_test_add_func ("/properties/mode", test_mode);
  g_test_add_func ("/properties/unix", test_unix);
  g_test_add_func ("/properties/priority", test_priority);
  g_test_add_func ("/properties/without-socket", test_without_socket);

  return g_test_run ();
}
