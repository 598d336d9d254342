/* test-filter-streams.c - GIO's streams on top of a ZcioSocketStream
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#include <string.h>

#include "test-util.h"

#define SIZE (8 * 1024 * 1024)

typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  guint64 before;
} Fixture;

static void
receive_first (Fixture *f,
               gsize    size)
{
  g_autofree char *data = g_malloc (size);
  gsize done = 0;

  while (done < size)
    {
      gssize n = g_socket_receive (f->peer, data + done, size - done, NULL, NULL);

      g_assert_cmpint (n, >, 0);
      done += n;
    }
}

/* A completion is left unread, which must not disturb the streams on top. */
static void
set_up (Fixture *f)
{
  g_autoptr (GBytes) bytes = g_bytes_new_take (g_malloc0 (4096), 4096);
  GError *error = NULL;

  g_assert_true (zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 65536, &f->socket, &f->peer));
  f->stream = zcio_socket_stream_new (f->socket);
  zcio_socket_stream_set_zero_copy_mode (f->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  zcio_socket_stream_write_zerocopy (f->stream, bytes, NULL, NULL, &error);
  g_assert_no_error (error);
  receive_first (f, 4096);
}

static void
tear_down (Fixture *f)
{
  g_object_unref (f->stream);
  g_object_unref (f->socket);
  g_object_unref (f->peer);
}

/* Something that can be compressed, but not to nothing. */
static guint8 *
new_data (void)
{
  guint8 *data = g_malloc (SIZE);

  zcio_test_pattern_fill (0, data, SIZE);
  for (gsize i = 0; i < SIZE; i++)
    data[i] &= 0x0f;
  return data;
}

typedef struct
{
  GSocket *socket;
  gboolean gunzip;
  guint8 *expected;
} Receiver;

static gpointer
receive_all (gpointer data)
{
  Receiver *receiver = data;
  g_autoptr (GSocketConnection) connection = g_socket_connection_factory_create_connection (receiver->socket);
  g_autoptr (GConverter) converter = G_CONVERTER (g_zlib_decompressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP));
  GInputStream *input = g_io_stream_get_input_stream (G_IO_STREAM (connection));
  g_autoptr (GInputStream) stream =
    receiver->gunzip ? g_converter_input_stream_new (input, converter) : g_object_ref (input);
  g_autofree guint8 *received = g_malloc (SIZE);
  gsize n;
  GError *error = NULL;

  g_input_stream_read_all (stream, received, SIZE, &n, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (n, ==, SIZE);
  g_assert_cmpint (memcmp (received, receiver->expected, SIZE), ==, 0);
  g_assert_cmpint (g_input_stream_read (stream, received, 1, NULL, &error), ==, 0);
  g_assert_no_error (error);
  return NULL;
}

static void
on_written (GObject      *source,
            GAsyncResult *result,
            gpointer      data)
{
  zcio_test_store_result (source, result, data);
}

static void
test_gzip (gconstpointer data)
{
  gboolean is_async = GPOINTER_TO_INT (data);
  Fixture f;
  g_autofree guint8 *expected = new_data ();
  g_autofree guint8 *sent = g_memdup2 (expected, SIZE);
  Receiver receiver;
  GThread *thread;
  GConverter *converter = G_CONVERTER (g_zlib_compressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP, 1));
  GOutputStream *stream;
  GAsyncResult *result = NULL;
  gsize written = 0;
  GError *error = NULL;

  g_test_summary ("GConverterOutputStream, whose buffer is reused at once, compresses onto the stream");

  set_up (&f);
  receiver = (Receiver) { f.peer, TRUE, expected };
  thread = g_thread_new ("receive", receive_all, &receiver);
  stream = g_converter_output_stream_new (G_OUTPUT_STREAM (f.stream), converter);

  if (is_async)
    {
      g_output_stream_write_all_async (stream, sent, SIZE, G_PRIORITY_DEFAULT, NULL, on_written, &result);
      zcio_test_wait_until (NULL, result != NULL);
      g_output_stream_write_all_finish (stream, result, &written, &error);
      g_clear_object (&result);
      g_assert_no_error (error);
      g_output_stream_close_async (stream, G_PRIORITY_DEFAULT, NULL, on_written, &result);
      zcio_test_wait_until (NULL, result != NULL);
      g_assert_true (g_output_stream_close_finish (stream, result, &error));
      g_clear_object (&result);
    }
  else
    {
      g_output_stream_write_all (stream, sent, SIZE, &written, NULL, &error);
      g_assert_no_error (error);
      g_assert_true (g_output_stream_close (stream, NULL, &error));
    }
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, SIZE);
  memset (sent, 0, SIZE);
  g_assert_true (g_output_stream_is_closed (G_OUTPUT_STREAM (f.stream)));

  g_socket_shutdown (f.socket, FALSE, TRUE, NULL);
  g_thread_join (thread);
  g_object_unref (stream);
  g_object_unref (converter);
  tear_down (&f);
}

static void
test_data (void)
{
  Fixture f;
  g_autofree guint8 *expected = new_data ();
  Receiver receiver;
  GThread *thread;
  GDataOutputStream *stream;
  GError *error = NULL;

  g_test_summary ("GDataOutputStream writes numbers one by one");

  set_up (&f);
  receiver = (Receiver) { f.peer, FALSE, expected };
  thread = g_thread_new ("receive", receive_all, &receiver);
  stream = g_data_output_stream_new (G_OUTPUT_STREAM (f.stream));
  g_data_output_stream_set_byte_order (stream, G_DATA_STREAM_BYTE_ORDER_HOST_ENDIAN);

  /* The first part one by one, which is slow, and the rest in one. */
  for (gsize i = 0; i < 8000; i += sizeof (guint64))
    {
      guint64 number;

      memcpy (&number, expected + i, sizeof number);
      g_assert_true (g_data_output_stream_put_uint64 (stream, number, NULL, &error));
      g_assert_no_error (error);
    }
  g_output_stream_write_all (G_OUTPUT_STREAM (stream), expected + 8000, SIZE - 8000, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (stream), NULL, &error));
  g_assert_no_error (error);

  g_socket_shutdown (f.socket, FALSE, TRUE, NULL);
  g_thread_join (thread);
  g_object_unref (stream);
  tear_down (&f);
}

static void
test_buffered (void)
{
  Fixture f;
  g_autofree guint8 *expected = new_data ();
  Receiver receiver;
  GThread *thread;
  GOutputStream *stream;
  GError *error = NULL;

  g_test_summary ("GBufferedOutputStream, whose buffer is reused after each flush, loses nothing");

  set_up (&f);
  receiver = (Receiver) { f.peer, FALSE, expected };
  thread = g_thread_new ("receive", receive_all, &receiver);
  stream = g_buffered_output_stream_new_sized (G_OUTPUT_STREAM (f.stream), 100 * 1000);

  for (gsize i = 0; i < SIZE;)
    {
      gsize part = MIN (7777, SIZE - i);

      g_output_stream_write_all (stream, expected + i, part, NULL, NULL, &error);
      g_assert_no_error (error);
      i += part;
    }
  g_assert_true (g_output_stream_flush (stream, NULL, &error));
  g_assert_no_error (error);
  g_assert_true (g_output_stream_close (stream, NULL, &error));
  g_assert_no_error (error);

  g_socket_shutdown (f.socket, FALSE, TRUE, NULL);
  g_thread_join (thread);
  g_object_unref (stream);
  tear_down (&f);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/filter-streams/gzip", GINT_TO_POINTER (FALSE), test_gzip);
  g_test_add_data_func ("/filter-streams/gzip-async", GINT_TO_POINTER (TRUE), test_gzip);
  g_test_add_func ("/filter-streams/data", test_data);
  g_test_add_func ("/filter-streams/buffered", test_buffered);

  return g_test_run ();
}
