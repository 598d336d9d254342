/* zcio-socket-stream.h - a GOutputStream that sends without copying
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(ZCIO_INSIDE) && !defined(ZCIO_COMPILATION)
#error "Only <zcio/zcio.h> can be included directly."
#endif

#include <gio/gio.h>
#include <zcio/zcio-enums.h>
#include <zcio/zcio-statistics.h>
#include <zcio/zcio-version-macros.h>

G_BEGIN_DECLS

#define ZCIO_TYPE_SOCKET_STREAM (zcio_socket_stream_get_type ())

ZCIO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ZcioSocketStream, zcio_socket_stream, ZCIO, SOCKET_STREAM, GOutputStream)

/**
 * ZcioCompletionFunc:
 * @stream: the stream
 * @sends: how many sends were released since the last call
 * @bytes: how many bytes these were
 * @user_data: data given with the function
 *
 * Called when the kernel has released buffers of @stream, in the context of
 * the source that it was set on.
 *
 * Returns: %G_SOURCE_REMOVE to be called no more, else %G_SOURCE_CONTINUE
 *
 * Since: 1.0
 */
typedef gboolean (*ZcioCompletionFunc) (ZcioSocketStream *stream,
                                        guint             sends,
                                        guint64           bytes,
                                        gpointer          user_data);

ZCIO_AVAILABLE_IN_1_0
ZcioSocketStream *zcio_socket_stream_new (GSocket *socket) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
GSocket *zcio_socket_stream_get_socket (ZcioSocketStream *stream);

ZCIO_AVAILABLE_IN_1_0
gboolean zcio_socket_stream_write_zerocopy (ZcioSocketStream  *stream,
                                            GBytes            *buffer,
                                            gsize             *bytes_written,
                                            GCancellable      *cancellable,
                                            GError           **error);
ZCIO_AVAILABLE_IN_1_0
gboolean zcio_socket_stream_writev_zerocopy (ZcioSocketStream  *stream,
                                             GBytes           **buffers,
                                             gsize              n_buffers,
                                             gsize             *bytes_written,
                                             GCancellable      *cancellable,
                                             GError           **error);
ZCIO_AVAILABLE_IN_1_0
void zcio_socket_stream_writev_zerocopy_async (ZcioSocketStream    *stream,
                                               GBytes             **buffers,
                                               gsize                n_buffers,
                                               int                  io_priority,
                                               GCancellable        *cancellable,
                                               GAsyncReadyCallback  callback,
                                               gpointer             user_data);
ZCIO_AVAILABLE_IN_1_0
gboolean zcio_socket_stream_writev_zerocopy_finish (ZcioSocketStream  *stream,
                                                    GAsyncResult      *result,
                                                    gsize             *bytes_written,
                                                    GError           **error);
ZCIO_AVAILABLE_IN_1_0
GPollableReturn zcio_socket_stream_writev_zerocopy_nonblocking (ZcioSocketStream  *stream,
                                                                GBytes           **buffers,
                                                                gsize              n_buffers,
                                                                gsize             *bytes_written,
                                                                GCancellable      *cancellable,
                                                                GError           **error);
ZCIO_AVAILABLE_IN_1_0
gboolean zcio_socket_stream_writev_zerocopy_full (ZcioSocketStream     *stream,
                                                  const GOutputVector  *vectors,
                                                  gsize                 n_vectors,
                                                  GDestroyNotify        release,
                                                  gpointer              release_data,
                                                  gsize                *bytes_written,
                                                  GCancellable         *cancellable,
                                                  GError              **error);

ZCIO_AVAILABLE_IN_1_0
gboolean zcio_socket_stream_send_message (ZcioSocketStream       *stream,
                                          const GOutputVector    *vectors,
                                          gsize                   n_vectors,
                                          GSocketControlMessage **messages,
                                          guint                   n_messages,
                                          gsize                  *bytes_written,
                                          GCancellable           *cancellable,
                                          GError                **error);
ZCIO_AVAILABLE_IN_1_0
gboolean zcio_socket_stream_send_message_bytes (ZcioSocketStream       *stream,
                                                GBytes                 *buffer,
                                                GSocketControlMessage **messages,
                                                guint                   n_messages,
                                                gsize                  *bytes_written,
                                                GCancellable           *cancellable,
                                                GError                **error);

ZCIO_AVAILABLE_IN_1_0
guint zcio_socket_stream_reap (ZcioSocketStream *stream);
ZCIO_AVAILABLE_IN_1_0
gboolean zcio_socket_stream_drain (ZcioSocketStream  *stream,
                                   guint64            max_bytes_in_flight,
                                   GCancellable      *cancellable,
                                   GError           **error);
ZCIO_AVAILABLE_IN_1_0
void zcio_socket_stream_drain_async (ZcioSocketStream    *stream,
                                     guint64              max_bytes_in_flight,
                                     int                  io_priority,
                                     GCancellable        *cancellable,
                                     GAsyncReadyCallback  callback,
                                     gpointer             user_data);
ZCIO_AVAILABLE_IN_1_0
gboolean zcio_socket_stream_drain_finish (ZcioSocketStream  *stream,
                                          GAsyncResult      *result,
                                          GError           **error);

ZCIO_AVAILABLE_IN_1_0
GSource *zcio_socket_stream_create_completion_source (ZcioSocketStream *stream,
                                                      GCancellable     *cancellable) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
guint zcio_socket_stream_add_completion_watch (ZcioSocketStream   *stream,
                                               int                 priority,
                                               ZcioCompletionFunc  func,
                                               gpointer            user_data,
                                               GDestroyNotify      notify);

ZCIO_AVAILABLE_IN_1_0
gboolean zcio_socket_stream_abort (ZcioSocketStream  *stream,
                                   GError           **error);
ZCIO_AVAILABLE_IN_1_0
ZcioStatistics *zcio_socket_stream_get_statistics (ZcioSocketStream *stream) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
char *zcio_socket_stream_describe (ZcioSocketStream *stream) G_GNUC_WARN_UNUSED_RESULT;

ZCIO_AVAILABLE_IN_1_0
ZcioZeroCopyMode zcio_socket_stream_get_zero_copy_mode (ZcioSocketStream *stream);
ZCIO_AVAILABLE_IN_1_0
void zcio_socket_stream_set_zero_copy_mode (ZcioSocketStream *stream,
                                            ZcioZeroCopyMode  mode);
ZCIO_AVAILABLE_IN_1_0
ZcioZeroCopyState zcio_socket_stream_get_zero_copy_state (ZcioSocketStream *stream);

G_END_DECLS
