/* zcio-socket-stream-properties.c - the properties of a stream, and the calls for them
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-socket-stream-private.h"

#include "zcio-enum-types.h"
#include "zcio-reaper-private.h"

enum
{
  PROP_0,
  PROP_SOCKET,
  PROP_ZERO_COPY_MODE,
  PROP_THRESHOLD,
  PROP_EFFECTIVE_THRESHOLD,
  PROP_MAX_BYTES_IN_FLIGHT,
  PROP_LINGER_TIMEOUT,
  PROP_PRIORITY,
  PROP_ZERO_COPY_SUPPORTED,
  PROP_ZERO_COPY_STATE,
  PROP_BYTES_IN_FLIGHT,
  PROP_SENDS_IN_FLIGHT,
  N_PROPERTIES
};

static GParamSpec *properties[N_PROPERTIES];

static void
zcio_socket_stream_get_property (GObject    *object,
                                 guint       property_id,
                                 GValue     *value,
                                 GParamSpec *pspec)
{
  ZcioSocketStream *self = ZCIO_SOCKET_STREAM (object);
  ZcioTransmitter *transmitter = self->transmitter;
  gsize effective_threshold;
  guint64 sends;
  guint64 bytes;

  switch (property_id)
    {
    case PROP_SOCKET:
      g_value_set_object (value, self->socket);
      break;

    case PROP_ZERO_COPY_MODE:
      g_value_set_enum (value, zcio_transmitter_get_mode (transmitter));
      break;

    case PROP_THRESHOLD:
      g_value_set_uint64 (value, zcio_transmitter_get_threshold (transmitter, NULL));
      break;

    case PROP_EFFECTIVE_THRESHOLD:
      zcio_transmitter_get_threshold (transmitter, &effective_threshold);
      g_value_set_uint64 (value, effective_threshold);
      break;

    case PROP_MAX_BYTES_IN_FLIGHT:
      g_value_set_uint64 (value, zcio_transmitter_get_max_in_flight (transmitter));
      break;

    case PROP_LINGER_TIMEOUT:
      g_value_set_uint (value, zcio_transmitter_get_linger_timeout (transmitter) / G_TIME_SPAN_SECOND);
      break;

    case PROP_PRIORITY:
      g_value_set_int (value, self->priority);
      break;

    case PROP_ZERO_COPY_SUPPORTED:
      g_value_set_boolean (value, zcio_transmitter_is_supported (transmitter));
      break;

    case PROP_ZERO_COPY_STATE:
      g_value_set_enum (value, zcio_transmitter_get_state (transmitter));
      break;

    case PROP_BYTES_IN_FLIGHT:
      zcio_transmitter_get_in_flight (transmitter, &sends, &bytes);
      g_value_set_uint64 (value, bytes);
      break;

    case PROP_SENDS_IN_FLIGHT:
      zcio_transmitter_get_in_flight (transmitter, &sends, &bytes);
      g_value_set_uint64 (value, sends);
      break;

    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
set_priority (ZcioSocketStream *self,
              int               priority)
{
  if (priority == self->priority)
    return;

  self->priority = priority;
  /* With its reaper's priority a watch cannot change; the next one has the new. */
  if (self->watch != NULL)
    {
      ZcioWatch *watch = g_steal_pointer (&self->watch);

      zcio_socket_stream_ensure_watch (self);
      zcio_watch_destroy (watch);
    }
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_PRIORITY]);
}

/* Other languages construct without arguments, and cannot get NULL from that: such a
 * stream fails with G_IO_ERROR_NOT_CONNECTED.
 */
static GSocket *
new_unconnected_socket (void)
{
  g_autoptr (GError) error = NULL;
  GSocket *socket = g_socket_new (G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM,
                                  G_SOCKET_PROTOCOL_DEFAULT, &error);

  g_critical ("A ZcioSocketStream needs a GSocket");
  if (socket == NULL)
    g_error ("A ZcioSocketStream needs a GSocket: %s", error->message);

  return socket;
}

static void
zcio_socket_stream_set_property (GObject      *object,
                                 guint         property_id,
                                 const GValue *value,
                                 GParamSpec   *pspec)
{
  ZcioSocketStream *self = ZCIO_SOCKET_STREAM (object);
  ZcioTransmitter *transmitter = self->transmitter;

  switch (property_id)
    {
    case PROP_SOCKET:
      self->socket = g_value_dup_object (value);
      if (self->socket == NULL)
        self->socket = new_unconnected_socket ();
      self->transmitter = zcio_transmitter_get (self->socket);
      zcio_transmitter_attach (self->transmitter);
      self->attached = TRUE;
      break;

    case PROP_ZERO_COPY_MODE:
      zcio_socket_stream_set_zero_copy_mode (self, g_value_get_enum (value));
      break;

    case PROP_THRESHOLD:
      if (g_value_get_uint64 (value) != zcio_transmitter_get_threshold (transmitter, NULL))
        {
          zcio_transmitter_set_threshold (transmitter, g_value_get_uint64 (value));
          g_object_notify_by_pspec (object, pspec);
          g_object_notify_by_pspec (object, properties[PROP_EFFECTIVE_THRESHOLD]);
        }
      break;

    case PROP_MAX_BYTES_IN_FLIGHT:
      if (g_value_get_uint64 (value) != zcio_transmitter_get_max_in_flight (transmitter))
        {
          zcio_transmitter_set_max_in_flight (transmitter, g_value_get_uint64 (value));
          g_object_notify_by_pspec (object, pspec);
        }
      break;

    case PROP_LINGER_TIMEOUT:
      zcio_transmitter_set_linger_timeout (transmitter,
                                           g_value_get_uint (value) * G_TIME_SPAN_SECOND);
      g_object_notify_by_pspec (object, pspec);
      break;

    case PROP_PRIORITY:
      set_priority (self, g_value_get_int (value));
      break;

    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
install_settable_properties (void)
{
  /**
   * ZcioSocketStream:socket:
   *
   * The socket that the stream sends to. All streams of a socket share what is set
   * and counted.
   *
   * Since: 1.0
   */
  properties[PROP_SOCKET] =
    g_param_spec_object ("socket", NULL, NULL, G_TYPE_SOCKET,
                         G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS);

  /**
   * ZcioSocketStream:zero-copy-mode:
   *
   * Which of the buffers given to the `…_zerocopy` calls go by zero-copy.
   *
   * Since: 1.0
   */
  properties[PROP_ZERO_COPY_MODE] =
    g_param_spec_enum ("zero-copy-mode", NULL, NULL,
                       ZCIO_TYPE_ZERO_COPY_MODE, ZCIO_ZERO_COPY_MODE_AUTO,
                       G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);

  /**
   * ZcioSocketStream:threshold:
   *
   * The size in bytes of a write from which %ZCIO_ZERO_COPY_MODE_AUTO sends it by
   * zero-copy; 0 lets the stream choose.
   *
   * Since: 1.0
   */
  properties[PROP_THRESHOLD] =
    g_param_spec_uint64 ("threshold", NULL, NULL, 0, G_MAXSSIZE, 0,
                         G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);

  /**
   * ZcioSocketStream:max-bytes-in-flight:
   *
   * How many bytes the kernel may be reading from the program's memory: above that
   * the `…_zerocopy` calls wait, or tell %G_IO_ERROR_WOULD_BLOCK. 0 is no limit. A
   * send that is begun below the limit may exceed it, by as much again or by 64 KiB.
   *
   * Since: 1.0
   */
  properties[PROP_MAX_BYTES_IN_FLIGHT] =
    g_param_spec_uint64 ("max-bytes-in-flight", NULL, NULL, 0, G_MAXUINT64, 0,
                         G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);

  /**
   * ZcioSocketStream:linger-timeout:
   *
   * For how many seconds after the stream was closed or dropped a peer may keep
   * memory in flight. Then the connection is reset.
   *
   * Since: 1.0
   */
  properties[PROP_LINGER_TIMEOUT] =
    g_param_spec_uint ("linger-timeout", NULL, NULL, 0, G_MAXUINT,
                       ZCIO_DEFAULT_LINGER_TIMEOUT / G_TIME_SPAN_SECOND,
                       G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);

  /**
   * ZcioSocketStream:priority:
   *
   * The priority of the source that reads the completions. It must not be lower than
   * that of any other source on the same socket, or that source may spin.
   *
   * Since: 1.0
   */
  properties[PROP_PRIORITY] =
    g_param_spec_int ("priority", NULL, NULL, G_MININT, G_MAXINT, ZCIO_REAPER_DEFAULT_PRIORITY,
                      G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
}

static void
install_readable_properties (void)
{
  /**
   * ZcioSocketStream:effective-threshold:
   *
   * The threshold in use: #ZcioSocketStream:threshold, or what the stream has chosen.
   *
   * Since: 1.0
   */
  properties[PROP_EFFECTIVE_THRESHOLD] =
    g_param_spec_uint64 ("effective-threshold", NULL, NULL, 0, G_MAXUINT64, 0,
                         G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  /**
   * ZcioSocketStream:zero-copy-supported:
   *
   * Whether the socket can send by zero-copy at all.
   *
   * Since: 1.0
   */
  properties[PROP_ZERO_COPY_SUPPORTED] =
    g_param_spec_boolean ("zero-copy-supported", NULL, NULL, FALSE,
                          G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  /**
   * ZcioSocketStream:zero-copy-state:
   *
   * What the stream does with `…_zerocopy` writes at the moment. Changes are notified
   * in the main context in which the stream was made.
   *
   * Since: 1.0
   */
  properties[PROP_ZERO_COPY_STATE] =
    g_param_spec_enum ("zero-copy-state", NULL, NULL,
                       ZCIO_TYPE_ZERO_COPY_STATE, ZCIO_ZERO_COPY_STATE_ACTIVE,
                       G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  /**
   * ZcioSocketStream:bytes-in-flight:
   *
   * Bytes of the program's memory that the kernel may still read. Changes are not
   * notified; see #ZcioSocketStream::completed.
   *
   * Since: 1.0
   */
  properties[PROP_BYTES_IN_FLIGHT] =
    g_param_spec_uint64 ("bytes-in-flight", NULL, NULL, 0, G_MAXUINT64, 0,
                         G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  /**
   * ZcioSocketStream:sends-in-flight:
   *
   * Sends of which #ZcioSocketStream:bytes-in-flight is the sum.
   *
   * Since: 1.0
   */
  properties[PROP_SENDS_IN_FLIGHT] =
    g_param_spec_uint64 ("sends-in-flight", NULL, NULL, 0, G_MAXUINT64, 0,
                         G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
}

void
zcio_socket_stream_init_properties (GObjectClass *klass)
{
  klass->get_property = zcio_socket_stream_get_property;
  klass->set_property = zcio_socket_stream_set_property;

  install_settable_properties ();
  install_readable_properties ();
  g_object_class_install_properties (klass, N_PROPERTIES, properties);
}

void
zcio_socket_stream_notify_state (ZcioSocketStream *stream)
{
  g_object_notify_by_pspec (G_OBJECT (stream), properties[PROP_ZERO_COPY_STATE]);
}

/**
 * zcio_socket_stream_get_socket:
 * @stream: a stream
 *
 * Gets #ZcioSocketStream:socket. May be called in any thread.
 *
 * Returns: (transfer none): the socket that @stream sends to
 *
 * Since: 1.0
 */
GSocket *
zcio_socket_stream_get_socket (ZcioSocketStream *stream)
{
  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), NULL);

  return stream->socket;
}

/**
 * zcio_socket_stream_get_zero_copy_mode:
 * @stream: a stream
 *
 * Gets #ZcioSocketStream:zero-copy-mode. May be called in any thread.
 *
 * Returns: the mode
 *
 * Since: 1.0
 */
ZcioZeroCopyMode
zcio_socket_stream_get_zero_copy_mode (ZcioSocketStream *stream)
{
  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), ZCIO_ZERO_COPY_MODE_NEVER);

  return zcio_transmitter_get_mode (stream->transmitter);
}

/**
 * zcio_socket_stream_set_zero_copy_mode:
 * @stream: a stream
 * @mode: the mode
 *
 * Sets #ZcioSocketStream:zero-copy-mode. What is in flight already is not affected. May be
 * called in any thread; #GObject::notify is emitted in this one.
 *
 * Since: 1.0
 */
void
zcio_socket_stream_set_zero_copy_mode (ZcioSocketStream *stream,
                                       ZcioZeroCopyMode  mode)
{
  g_return_if_fail (ZCIO_IS_SOCKET_STREAM (stream));
  g_return_if_fail (mode >= ZCIO_ZERO_COPY_MODE_AUTO && mode <= ZCIO_ZERO_COPY_MODE_NEVER);

  if (mode == zcio_transmitter_get_mode (stream->transmitter))
    return;

  zcio_transmitter_set_mode (stream->transmitter, mode);
  g_object_notify_by_pspec (G_OBJECT (stream), properties[PROP_ZERO_COPY_MODE]);
}

/**
 * zcio_socket_stream_get_zero_copy_state:
 * @stream: a stream
 *
 * Gets #ZcioSocketStream:zero-copy-state. May be called in any thread.
 *
 * Returns: the state
 *
 * Since: 1.0
 */
ZcioZeroCopyState
zcio_socket_stream_get_zero_copy_state (ZcioSocketStream *stream)
{
  g_return_val_if_fail (ZCIO_IS_SOCKET_STREAM (stream), ZCIO_ZERO_COPY_STATE_UNSUPPORTED);

  return zcio_transmitter_get_state (stream->transmitter);
}
