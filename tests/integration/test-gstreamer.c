/* test-gstreamer.c - GStreamer's giostreamsink over a ZcioSocketStream
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zcio/zcio.h>

#ifdef HAVE_GSTREAMER
#include <gst/gst.h>
#endif

#include "test-util.h"

#ifdef HAVE_GSTREAMER

#define BUFFER_SIZE 100000
#define N_BUFFERS 50

static void
test_sink (void)
{
  g_autoptr (GstElement) sink = gst_element_factory_make ("giostreamsink", NULL);
  g_autoptr (GstElement) source = gst_element_factory_make ("fakesrc", NULL);
  g_autoptr (GstElement) pipeline = NULL;
  g_autoptr (GstBus) bus = NULL;
  g_autoptr (GstMessage) message = NULL;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
  GSocket *socket;
  GSocket *peer;

  g_test_summary ("A pipeline writes its buffers, flushes at the end, and closes");

  if (sink == NULL || source == NULL)
    {
      g_test_skip ("There is no giostreamsink; it comes with gstreamer1.0-plugins-base");
      return;
    }

  g_assert_true (zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 65536, &socket, &peer));
  stream = zcio_socket_stream_new (socket);
  reader = zcio_test_reader_new (peer, 0, ZCIO_TEST_READER_NO_PATTERN);

  /* Of segments in bytes the sink wants a stream that can seek. */
  g_object_set (source, "num-buffers", N_BUFFERS, "sizemax", BUFFER_SIZE,
                "format", GST_FORMAT_TIME, NULL);
  gst_util_set_object_arg (G_OBJECT (source), "sizetype", "fixed");
  gst_util_set_object_arg (G_OBJECT (source), "filltype", "pattern");
  g_object_set (sink, "stream", stream, "sync", FALSE, NULL);
  pipeline = gst_object_ref_sink (gst_pipeline_new (NULL));
  gst_bin_add_many (GST_BIN (pipeline), gst_object_ref (source), gst_object_ref (sink), NULL);
  g_assert_true (gst_element_link (source, sink));

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  bus = gst_element_get_bus (pipeline);
  message = gst_bus_timed_pop_filtered (bus, ZCIO_TEST_GUARD_SECONDS * GST_SECOND,
                                        GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  g_assert_nonnull (message);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    {
      g_autoptr (GError) error = NULL;
      g_autofree char *debug = NULL;

      gst_message_parse_error (message, &error, &debug);
      g_test_message ("%s: %s (%s)", GST_MESSAGE_SRC_NAME (message), error->message, debug);
    }
  g_assert_cmpint (GST_MESSAGE_TYPE (message), ==, GST_MESSAGE_EOS);
  gst_element_set_state (pipeline, GST_STATE_NULL);

  g_socket_shutdown (socket, FALSE, TRUE, NULL);
  g_assert_cmpuint (zcio_test_reader_finish (reader, NULL, NULL), ==, N_BUFFERS * BUFFER_SIZE);
  g_object_set (sink, "stream", NULL, NULL);
  g_object_unref (stream);
  g_object_unref (socket);
  g_object_unref (peer);
}

#else

static void
test_sink (void)
{
  g_test_skip ("Built without GStreamer; it comes with libgstreamer1.0-dev");
}

#endif

int
main (int    argc,
      char **argv)
{
  int result;

  g_test_init (&argc, &argv, NULL);
#ifdef HAVE_GSTREAMER
  gst_init (&argc, &argv);
#endif

  g_test_add_func ("/gstreamer/giostreamsink", test_sink);
  result = g_test_run ();
#ifdef HAVE_GSTREAMER
  gst_deinit ();
#endif

  return result;
}
