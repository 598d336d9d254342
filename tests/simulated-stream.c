/* simulated-stream.c - a stream whose kernel is simulated
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-stream.h"

#include <string.h>

#include "zcio/zcio-socket-stream-private.h"

#include "test-util.h"

static gint limits_logged;

static GLogWriterOutput
count_log (GLogLevelFlags level,
           const GLogField *fields,
           gsize n_fields,
           gpointer data)
{
  for (gsize i = 0; i < n_fields; i++)
    {
      if (g_str_equal (fields[i].key, "ZCIO_LIMIT"))
        {
          g_atomic_int_inc (&limits_logged);
          return G_LOG_WRITER_HANDLED;
        }
    }

  return g_log_writer_default (level, fields, n_fields, data);
}

static void
ignore_log (const char *domain,
            GLogLevelFlags level,
            const char *message,
            gpointer data)
{
}

void
simulated_stream_watch_log (void)
{
  g_log_set_handler ("Zcio", G_LOG_LEVEL_DEBUG, ignore_log, NULL);
  g_log_set_writer_func (count_log, NULL, NULL);
}

guint
simulated_stream_get_limits_logged (void)
{
  return g_atomic_int_get (&limits_logged);
}

void
simulated_stream_init (SimulatedStream *self,
                       guint64 seed)
{
  *self = (SimulatedStream){ .kernel = simulated_kernel_new (seed) };

  /* The descriptor must be real, and what it is does not matter. */
  zcio_syscalls_set_default (&self->kernel->syscalls);
  g_assert_true (zcio_test_socket_pair (ZCIO_TEST_FAMILY_UNIX, 0, &self->socket, &self->peer));
  self->kernel->fd = g_socket_get_fd (self->socket);
  self->stream = zcio_socket_stream_new (self->socket);
  zcio_socket_stream_set_zero_copy_mode (self->stream, ZCIO_ZERO_COPY_MODE_ALWAYS);

  /* As if it had been made with its first write, so that the kernel may be set up until then. */
  zcio_socket_stream_get_transmitter (self->stream)->enabled = FALSE;
  memset (self->kernel->calls, 0, sizeof self->kernel->calls);
  self->kernel->n_calls = 0;
}

ZcioStatistics *
simulated_stream_check_statistics (SimulatedStream *self)
{
  ZcioStatistics *statistics = zcio_socket_stream_get_statistics (self->stream);

  g_assert_cmpuint (statistics->bytes_written, ==, self->accepted);
  g_assert_cmpuint (statistics->bytes_zero_copied + statistics->bytes_copied_by_kernel +
                      statistics->bytes_copied_by_choice + statistics->bytes_copied_for_enobufs,
                    ==,
                    self->accepted);
  g_assert_cmpuint (statistics->bytes_zero_copied + statistics->bytes_copied_by_kernel,
                    ==,
                    self->kernel->zero_copy_bytes);
  g_assert_cmpuint (statistics->sends_zero_copied + statistics->sends_copied_by_kernel,
                    ==,
                    self->kernel->zero_copy_sends);
  g_assert_cmpuint (statistics->bytes_copied_by_choice + statistics->bytes_copied_for_enobufs,
                    ==,
                    self->kernel->copied_bytes);
  g_assert_cmpuint (statistics->enobufs, <=, self->kernel->no_buffers);
  g_assert_cmpuint (statistics->enobufs_cured_by_drain + statistics->enobufs_congested +
                      statistics->enobufs_limited,
                    ==,
                    statistics->enobufs);

  return statistics;
}

void
simulated_stream_settle (SimulatedStream *self)
{
  SimulatedKernel *kernel = self->kernel;
  ZcioStatistics *statistics;
  guint64 sends_in_flight;
  const guint8 *stream;
  gsize size;

  kernel->odds.interrupted = 0;
  kernel->odds.foreign = 0;
  kernel->odds.duplicate = 0;
  if (kernel->drain_size == 0)
    kernel->drain_size = 1024 * 1024;
  for (guint i = 0; i < 10000 && kernel->sends_in_flight > 0; i++)
    {
      simulated_kernel_advance (kernel, 10000);
      zcio_socket_stream_reap (self->stream);
    }
  zcio_socket_stream_reap (self->stream);

  g_assert_cmpuint (kernel->sends_in_flight, ==, 0);
  g_assert_cmpint (self->released, ==, self->made);
  g_object_get (self->stream, "sends-in-flight", &sends_in_flight, NULL);
  g_assert_cmpuint (sends_in_flight, ==, 0);

  stream = simulated_kernel_get_stream (kernel, &size);
  g_assert_cmpuint (size, ==, self->accepted);
  g_assert_cmpuint (zcio_test_pattern_check (0, stream, size), ==, size);

  statistics = simulated_stream_check_statistics (self);
  g_assert_cmpuint (statistics->sends_in_flight, ==, 0);
  g_assert_cmpuint (statistics->bytes_in_flight, ==, 0);
  zcio_statistics_free (statistics);
}

void
simulated_stream_clear (SimulatedStream *self)
{
  simulated_stream_settle (self);
  g_object_unref (self->stream);
  g_object_unref (self->socket);
  g_object_unref (self->peer);
  zcio_syscalls_set_default (NULL);
  simulated_kernel_free (self->kernel);
}

static GBytes **
new_buffers (SimulatedStream *self,
             const gsize *sizes,
             gsize n,
             gsize *total)
{
  GBytes **buffers = g_new (GBytes *, n + 1);

  *total = 0;
  for (gsize i = 0; i < n; i++)
    {
      buffers[i] = simulated_kernel_new_bytes (self->kernel, self->accepted + *total, sizes[i], &self->released);
      *total += sizes[i];
      self->made++;
    }

  return buffers;
}

/* The caller drops its references at once. */
static void
free_buffers (GBytes **buffers,
              gsize n)
{
  for (gsize i = 0; i < n; i++)
    g_bytes_unref (buffers[i]);
  g_free (buffers);
}

gboolean
simulated_stream_writev (SimulatedStream *self,
                         const gsize *sizes,
                         gsize n,
                         GError **error)
{
  gsize total, bytes_written = G_MAXSIZE;
  GBytes **buffers = new_buffers (self, sizes, n, &total);
  gboolean success;

  success = zcio_socket_stream_writev_zerocopy (self->stream, buffers, n, &bytes_written, NULL, error);
  free_buffers (buffers, n);
  if (success)
    g_assert_cmpuint (bytes_written, ==, total);
  else
    g_assert_true (total == 0 || bytes_written < total);
  self->accepted += bytes_written;

  return success;
}

gboolean
simulated_stream_writev_full (SimulatedStream *self,
                              const gsize *sizes,
                              gsize n,
                              GError **error)
{
  GOutputVector *vectors = g_new (GOutputVector, n + 1);
  gsize total = 0, bytes_written = G_MAXSIZE;
  gboolean success;
  const guint8 *data;
  GBytes *memory;

  for (gsize i = 0; i < n; i++)
    total += sizes[i];
  memory = simulated_kernel_new_bytes (self->kernel, self->accepted, total, &self->released);
  self->made++;
  data = g_bytes_get_data (memory, NULL);
  for (gsize i = 0; i < n; data += sizes[i++])
    vectors[i] = (GOutputVector){ sizes[i] > 0 ? data : NULL, sizes[i] };

  success = zcio_socket_stream_writev_zerocopy_full (self->stream, vectors, n, (GDestroyNotify) g_bytes_unref, memory, &bytes_written, NULL, error);
  g_free (vectors);
  if (success)
    g_assert_cmpuint (bytes_written, ==, total);
  else
    g_assert_true (total == 0 || bytes_written < total);
  self->accepted += bytes_written;

  return success;
}

GPollableReturn
simulated_stream_writev_nonblocking (SimulatedStream *self,
                                     const gsize *sizes,
                                     gsize n,
                                     GError **error)
{
  gsize total, bytes_written = G_MAXSIZE;
  GBytes **buffers = new_buffers (self, sizes, n, &total);
  GPollableReturn result;

  result = zcio_socket_stream_writev_zerocopy_nonblocking (self->stream, buffers, n, &bytes_written, NULL, error);
  free_buffers (buffers, n);
  if (result == G_POLLABLE_RETURN_OK)
    g_assert_true (bytes_written <= total && (bytes_written > 0 || total == 0));
  else
    g_assert_cmpuint (bytes_written, ==, 0);
  self->accepted += bytes_written;

  return result;
}

gboolean
simulated_stream_write (SimulatedStream *self,
                        gsize size,
                        GCancellable *cancellable,
                        GError **error)
{
  GBytes *bytes = simulated_kernel_new_bytes (self->kernel, self->accepted, size, &self->released);
  gsize bytes_written = G_MAXSIZE;
  gboolean success;

  self->made++;
  success = zcio_socket_stream_write_zerocopy (self->stream, bytes, &bytes_written, cancellable, error);
  g_bytes_unref (bytes);
  if (success)
    g_assert_cmpuint (bytes_written, ==, size);
  else
    g_assert_true (size == 0 || bytes_written < size);
  self->accepted += bytes_written;

  return success;
}

gboolean
simulated_stream_write_plain (SimulatedStream *self,
                              gsize size,
                              GError **error)
{
  guint8 *data = g_malloc (size + 1);
  gsize bytes_written = 0;
  gboolean success;

  zcio_test_pattern_fill (self->accepted, data, size);
  success = g_output_stream_write_all (G_OUTPUT_STREAM (self->stream), data, size, &bytes_written, NULL, error);
  simulated_kernel_released (self->kernel, data, size);
  g_free (data);
  self->accepted += bytes_written;

  return success;
}
