/* gstreamer-sender.c - a GStreamer pipeline that ends in a stream of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: gstreamer-sender HOST PORT [BUFFERS]
 *
 * giostreamsink takes any GOutputStream. Its writes copy, since it unmaps each buffer when the
 * write returns. So a probe on its pad sends the large buffers by zero-copy itself, and keeps
 * each GstBuffer until the kernel is done with it; small ones go on to the sink.
 */

#include <gst/gst.h>
#include <stdlib.h>
#include <zcio/zcio.h>

/* Ends the program with the error. */
static void G_GNUC_NORETURN
fail (const GError *error)
{
  g_printerr ("%s\n", error->message);
  exit (1);
}

typedef struct
{
  GstBuffer *buffer;
  GstMapInfo map;
} Mapped;

static void
mapped_free (gpointer data)
{
  Mapped *mapped = data;

  gst_buffer_unmap (mapped->buffer, &mapped->map);
  gst_buffer_unref (mapped->buffer);
  g_free (mapped);
}

static GstPadProbeReturn
on_buffer (GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
  ZcioSocketStream *stream = user_data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  g_autoptr (GBytes) bytes = NULL;
  Mapped *mapped;

  /* small ones go the usual way, and stay in order with the others */
  if (gst_buffer_get_size (buffer) < 16384)
    return GST_PAD_PROBE_OK;

  mapped = g_new0 (Mapped, 1);
  mapped->buffer = gst_buffer_ref (buffer);
  if (!gst_buffer_map (buffer, &mapped->map, GST_MAP_READ))
    {
      gst_buffer_unref (buffer);
      g_free (mapped);
      return GST_PAD_PROBE_OK;
    }
  bytes = g_bytes_new_with_free_func (mapped->map.data, mapped->map.size, mapped_free, mapped);

  if (!zcio_socket_stream_write_zerocopy (stream, bytes, NULL, NULL, NULL))
    return GST_PAD_PROBE_OK; /* the sink meets the same error, and tells the pipeline */
  return GST_PAD_PROBE_DROP;
}

static void
run (GstElement *pipeline, ZcioSocketStream *stream)
{
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (sink, "sink");
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  g_autoptr (GstMessage) message = NULL;

  g_object_set (sink, "stream", stream, NULL);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_buffer, stream, NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    {
      GError *error = NULL;

      gst_message_parse_error (message, &error, NULL);
      fail (error);
    }
  gst_element_set_state (pipeline, GST_STATE_NULL);
}

int
main (int argc, char **argv)
{
  g_autoptr (GSocketClient) client = NULL;
  g_autoptr (GSocketConnection) connection = NULL;
  g_autoptr (GstElement) pipeline = NULL;
  g_autofree char *description = NULL;
  g_autofree char *what = NULL;
  g_autoptr (GError) error = NULL;
  ZcioSocketStream *stream;

  gst_init (&argc, &argv);
  if (argc < 3)
    {
      g_printerr ("usage: %s HOST PORT [BUFFERS]\n", argv[0]);
      return 2;
    }

  zcio_tcp_connection_register ();
  client = g_socket_client_new ();
  connection = g_socket_client_connect_to_host (client, argv[1], atoi (argv[2]), NULL, &error);
  if (connection == NULL)
    fail (error);

  /* of segments in bytes the sink wants a stream that can seek */
  description = g_strdup_printf ("fakesrc num-buffers=%s format=time sizetype=fixed "
                                 "sizemax=1048576 filltype=zero ! "
                                 "giostreamsink name=sink sync=false", argc > 3 ? argv[3] : "64");
  pipeline = gst_parse_launch (description, &error);
  if (pipeline == NULL)
    fail (error);

  stream = ZCIO_SOCKET_STREAM (g_io_stream_get_output_stream (G_IO_STREAM (connection)));
  run (pipeline, stream);
  what = zcio_socket_stream_describe (stream);
  g_print ("%s\n", what);
  if (!g_io_stream_close (G_IO_STREAM (connection), NULL, &error))
    fail (error);

  return 0;
}
