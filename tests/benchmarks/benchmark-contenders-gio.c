/* benchmark-contenders-gio.c - GIO's stream, and zcio's
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <gio/gunixinputstream.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_ZCIO_STREAM
#include <zcio/zcio.h>
#endif

#include "benchmark-private.h"

/* As much as the others have in their area */
#define POOL_AREA (16 * 1024 * 1024)
/* The least that a buffer of the pool takes */
#define POOL_PAGE 4096

typedef struct
{
  BenchmarkStream parent;
  GSocket *socket;
  GOutputStream *output;

  /* while a main loop runs */
  GMainLoop *loop;
  const BenchmarkMemory *memory;
  guint next;
  guint end;
  GError *error;
} GioStream;

G_STATIC_ASSERT (G_STRUCT_OFFSET (GioStream, parent) == 0);

static BenchmarkStream *
open_stream (const BenchmarkContender *contender,
             int                       fd,
             GError                  **error)
{
  GioStream *self;
  GSocket *socket;

  socket = g_socket_new_from_fd (fd, error);
  if (socket == NULL)
    return NULL;

  self = g_new0 (GioStream, 1);
  self->parent.contender = contender;
  self->parent.fd = fd;
  self->socket = socket;
  self->output = contender->make_stream (contender, socket);

  return &self->parent;
}

static void
close_stream (BenchmarkStream *stream)
{
  GioStream *self = (GioStream *) stream;

  g_object_unref (self->output);
  g_object_unref (self->socket);
  g_free (self);
}

static gboolean
splice_stream (BenchmarkStream *stream,
               int              file,
               gsize            size,
               GError         **error)
{
  GioStream *self = (GioStream *) stream;
  g_autoptr (GInputStream) input = g_unix_input_stream_new (file, FALSE);
  gssize n;

  if (lseek (file, 0, SEEK_SET) < 0)
    {
      benchmark_set_error_from_errno (error, "rewind a file", errno);
      return FALSE;
    }

  n = g_output_stream_splice (self->output, input, G_OUTPUT_STREAM_SPLICE_NONE, NULL, error);
  if (n >= 0 && (gsize) n != size)
    benchmark_set_error_from_errno (error, "send all of a file", EIO);

  return n >= 0 && (gsize) n == size;
}

/* Starts the next write, or ends the loop when there is nothing more to do. */
static gboolean
take_next (GioStream            *self,
           const BenchmarkBlock **block)
{
  if (self->error != NULL || self->next == self->end)
    {
      g_main_loop_quit (self->loop);
      return FALSE;
    }

  *block = &self->memory->blocks[self->next++ % self->memory->n_blocks];

  return TRUE;
}

static gboolean
run_loop (BenchmarkStream       *stream,
          const BenchmarkMemory *memory,
          guint                  n,
          void                 (*start) (GioStream *self),
          GError               **error)
{
  GioStream *self = (GioStream *) stream;

  self->memory = memory;
  self->next = 0;
  self->end = n;
  self->loop = g_main_loop_new (NULL, FALSE);
  start (self);
  g_main_loop_run (self->loop);
  g_clear_pointer (&self->loop, g_main_loop_unref);

  if (self->error != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&self->error));
      return FALSE;
    }

  return TRUE;
}

/* ---- GIO ---- */

/* The type is private, but whoever made a connection once knows its name. Without the
 * connection there is just what zcio has as well. */
static GOutputStream *
make_gio_stream (const BenchmarkContender *contender,
                 GSocket                  *socket)
{
  GType type = g_type_from_name ("GSocketOutputStream");

  if (type == G_TYPE_INVALID)
    {
      GSocketConnection *connection = g_socket_connection_factory_create_connection (socket);
      GOutputStream *output = g_object_ref (g_io_stream_get_output_stream (G_IO_STREAM (connection)));

      /* It would close the socket when it goes. */
      g_object_set_data (G_OBJECT (socket), "zcio-connection", connection);

      return output;
    }

  return g_object_new (type, "socket", socket, NULL);
}

static gboolean
write_gio (BenchmarkStream      *stream,
           const BenchmarkBlock *block,
           GError              **error)
{
  return g_output_stream_write_all (((GioStream *) stream)->output, block->data, block->size, NULL, NULL, error);
}

static gboolean
write_gio_packet (BenchmarkStream      *stream,
                  const BenchmarkBlock *header,
                  struct iovec         *pages,
                  guint                 n_pages,
                  GError              **error)
{
  GioStream *self = (GioStream *) stream;

  return g_output_stream_write_all (self->output, header->data, header->size, NULL, NULL, error) &&
         g_output_stream_writev_all (self->output, (GOutputVector *) pages, n_pages, NULL, NULL, error);
}

static void start_gio (GioStream *self);

static void
gio_written (GObject      *source,
             GAsyncResult *result,
             gpointer      user_data)
{
  GioStream *self = user_data;

  g_output_stream_write_all_finish (G_OUTPUT_STREAM (source), result, NULL, &self->error);
  start_gio (self);
}

static void
start_gio (GioStream *self)
{
  const BenchmarkBlock *block;

  if (take_next (self, &block))
    g_output_stream_write_all_async (self->output, block->data, block->size, G_PRIORITY_DEFAULT, NULL, gio_written, self);
}

static gboolean
write_gio_in_loop (BenchmarkStream       *stream,
                   const BenchmarkMemory *memory,
                   guint                  n,
                   GError               **error)
{
  return run_loop (stream, memory, n, start_gio, error);
}

static gboolean
drain_nothing (BenchmarkStream *stream,
               GError         **error)
{
  return TRUE;
}

#ifdef HAVE_ZCIO_STREAM

/* ---- zcio ---- */

static GOutputStream *
make_zcio_stream (const BenchmarkContender *contender,
                  GSocket                  *socket)
{
  ZcioSocketStream *stream = zcio_socket_stream_new (socket);

  zcio_socket_stream_set_zero_copy_mode (stream,
                                         g_str_has_suffix (contender->name, "always")
                                           ? ZCIO_ZERO_COPY_MODE_ALWAYS
                                           : ZCIO_ZERO_COPY_MODE_AUTO);

  return G_OUTPUT_STREAM (stream);
}

static gboolean
write_zcio (BenchmarkStream      *stream,
            const BenchmarkBlock *block,
            GError              **error)
{
  ZcioSocketStream *output = (ZcioSocketStream *) ((GioStream *) stream)->output;

  return zcio_socket_stream_write_zerocopy (output, block->bytes, NULL, NULL, error);
}

/* Buffers that a pool gave once, written to so that they are no zero pages. They are
 * made in the first round, which is not timed. */
static GBytes *
get_pool_bytes (gsize size)
{
  static GPtrArray *all;
  static gsize buffer_size;
  static guint next;

  if (buffer_size != size)
    {
      g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (size);

      g_clear_pointer (&all, g_ptr_array_unref);
      all = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
      buffer_size = size;
      zcio_buffer_pool_set_max_bytes (pool, 0);
      while (all->len == 0 || all->len * MAX (size, POOL_PAGE) < POOL_AREA)
        {
          ZcioBuffer *buffer = zcio_buffer_pool_acquire (pool, NULL);

          memset (zcio_buffer_get_data (buffer, NULL), 'z', size);
          g_ptr_array_add (all, zcio_buffer_to_bytes (buffer, size));
          zcio_buffer_unref (buffer);
        }
    }

  return all->pdata[next++ % all->len];
}

static gboolean
write_pool (BenchmarkStream      *stream,
            const BenchmarkBlock *block,
            GError              **error)
{
  ZcioSocketStream *output = (ZcioSocketStream *) ((GioStream *) stream)->output;

  return zcio_socket_stream_write_zerocopy (output, get_pool_bytes (block->size), NULL, NULL, error);
}

static void
release_nothing (gpointer data)
{
}

static gboolean
write_zcio_packet (BenchmarkStream      *stream,
                   const BenchmarkBlock *header,
                   struct iovec         *pages,
                   guint                 n_pages,
                   GError              **error)
{
  GioStream *self = (GioStream *) stream;

  return g_output_stream_write_all (self->output, header->data, header->size, NULL, NULL, error) &&
         zcio_socket_stream_writev_zerocopy_full ((ZcioSocketStream *) self->output,
                                                  (const GOutputVector *) pages, n_pages,
                                                  release_nothing, NULL, NULL, NULL, error);
}

static void start_zcio (GioStream *self);

static void
zcio_written (GObject      *source,
              GAsyncResult *result,
              gpointer      user_data)
{
  GioStream *self = user_data;

  zcio_socket_stream_writev_zerocopy_finish ((ZcioSocketStream *) source, result, NULL, &self->error);
  start_zcio (self);
}

static void
zcio_drained (GObject      *source,
              GAsyncResult *result,
              gpointer      user_data)
{
  GioStream *self = user_data;

  zcio_socket_stream_drain_finish ((ZcioSocketStream *) source, result, &self->error);
  g_main_loop_quit (self->loop);
}

static void
start_zcio (GioStream *self)
{
  ZcioSocketStream *output = (ZcioSocketStream *) self->output;
  const BenchmarkBlock *block;

  if (self->error == NULL && self->next == self->end)
    zcio_socket_stream_drain_async (output, 0, G_PRIORITY_DEFAULT, NULL, zcio_drained, self);
  else if (take_next (self, &block))
    zcio_socket_stream_writev_zerocopy_async (output, (GBytes **) &block->bytes, 1, G_PRIORITY_DEFAULT, NULL, zcio_written, self);
}

static gboolean
write_zcio_in_loop (BenchmarkStream       *stream,
                    const BenchmarkMemory *memory,
                    guint                  n,
                    GError               **error)
{
  return run_loop (stream, memory, n, start_zcio, error);
}

static gboolean
drain_zcio (BenchmarkStream *stream,
            GError         **error)
{
  ZcioSocketStream *output = (ZcioSocketStream *) ((GioStream *) stream)->output;
  g_autoptr (ZcioStatistics) statistics = NULL;

  if (!zcio_socket_stream_drain (output, 0, NULL, error))
    return FALSE;

  statistics = zcio_socket_stream_get_statistics (output);
  stream->counts.notifications = statistics->notifications;
  stream->counts.copied = statistics->sends_copied_by_kernel;
  stream->counts.enobufs = statistics->enobufs;
  stream->counts.peak_in_flight = statistics->peak_bytes_in_flight;
  stream->counts.system_calls = statistics->system_calls;

  /* For whoever wants to know why: G_MESSAGES_DEBUG=zcio-benchmark */
  if (!g_log_writer_default_would_drop (G_LOG_LEVEL_DEBUG, G_LOG_DOMAIN))
    {
      g_autofree char *description = zcio_socket_stream_describe (output);
      g_autofree char *numbers = zcio_statistics_to_string (statistics);

      g_debug ("%s: %s; %s", stream->contender->name, description, numbers);
    }

  return TRUE;
}

#define ZCIO_CONTENDER(contender_name, contender_summary, takes_part_everywhere) \
  {                                                                              \
    .name = contender_name,                                                      \
    .summary = contender_summary,                                                \
    .everywhere = takes_part_everywhere,                                         \
    .open = open_stream,                                                         \
    .write = write_zcio,                                                         \
    .write_packet = write_zcio_packet,                                           \
    .splice = splice_stream,                                                     \
    .write_in_loop = write_zcio_in_loop,                                         \
    .drain = drain_zcio,                                                         \
    .close = close_stream,                                                       \
    .make_stream = make_zcio_stream,                                             \
  }

#endif /* HAVE_ZCIO_STREAM */

const BenchmarkContender benchmark_gio_contenders[] = {
  {
    .name = "gio",
    .summary = "GIO's stream",
    .everywhere = TRUE,
    .open = open_stream,
    .write = write_gio,
    .write_packet = write_gio_packet,
    .splice = splice_stream,
    .write_in_loop = write_gio_in_loop,
    .drain = drain_nothing,
    .close = close_stream,
    .make_stream = make_gio_stream,
  },
#ifdef HAVE_ZCIO_STREAM
  ZCIO_CONTENDER ("zcio-auto", "ZcioSocketStream, mode AUTO", TRUE),
  ZCIO_CONTENDER ("zcio-always", "ZcioSocketStream, mode ALWAYS", FALSE),
  {
    .name = "zcio-pool",
    .summary = "ZcioSocketStream, mode AUTO, with buffers from a ZcioBufferPool",
    .open = open_stream,
    .write = write_pool,
    .drain = drain_zcio,
    .close = close_stream,
    .make_stream = make_zcio_stream,
  },
#endif
  { .name = NULL },
};
