/* simulated-kernel.c - a kernel that does what tests tell it, and checks its user
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-kernel-private.h"

#include "test-util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STORY_LENGTH 80
#define MAX_IDLE_CALLS 20000

/* The story */

void
simulated_kernel_tell (SimulatedKernel *kernel,
                       const char *what,
                       gint64 first,
                       gint64 second,
                       gint64 result,
                       int error_number)
{
  SimulatedKernelPrivate *priv = kernel->priv;
  SimulatedEvent *event;

  event = &g_array_index (priv->story, SimulatedEvent, priv->n_story % STORY_LENGTH);
  priv->n_story++;
  *event = (SimulatedEvent){ kernel->now, what, first, second, result, error_number };
}

static void
print_story (SimulatedKernel *kernel)
{
  SimulatedKernelPrivate *priv = kernel->priv;
  guint64 n = MIN (priv->n_story, STORY_LENGTH);

  fprintf (stderr, "Simulated kernel with the seed %" G_GUINT64_FORMAT ", the last %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " events:\n", priv->seed, n, priv->n_story);
  for (guint64 i = priv->n_story - n; i < priv->n_story; i++)
    {
      SimulatedEvent *event = &g_array_index (priv->story, SimulatedEvent, i % STORY_LENGTH);

      fprintf (stderr, "%12" G_GINT64_FORMAT " %s (%" G_GINT64_FORMAT ", %" G_GINT64_FORMAT ") = %" G_GINT64_FORMAT " %s\n", event->time, event->what, event->first, event->second, event->result, event->error_number != 0 ? g_strerror (event->error_number) : "");
    }
  fprintf (stderr, "%12" G_GINT64_FORMAT " now: %u of %u bytes acknowledged, %u sends in flight, %u notifications incomplete, %u records queued\n", kernel->now, (guint) priv->acknowledged, priv->stream->len, priv->sends.length, priv->units->len, priv->records.length);
}

void
simulated_kernel_fail (SimulatedKernel *kernel,
                       const char *format,
                       ...)
{
  va_list args;
  char *message;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  print_story (kernel);
  g_error ("%s", message);
}

/* What each call begins and ends with */

SimulatedKernel *
simulated_kernel_lock (ZcioSyscalls *syscalls)
{
  SimulatedKernel *kernel = (SimulatedKernel *) syscalls;

  g_rec_mutex_lock (&kernel->priv->lock);

  return kernel;
}

void
simulated_kernel_unlock (SimulatedKernel *kernel)
{
  g_rec_mutex_unlock (&kernel->priv->lock);
}

gboolean
simulated_kernel_chance (SimulatedKernel *kernel,
                         guint percent)
{
  return percent > 0 && zcio_test_random_chance (&kernel->priv->random, percent);
}

void
simulated_kernel_progress (SimulatedKernel *kernel)
{
  kernel->priv->idle_calls = 0;
}

/* Whether a send that gives this error finds the connection at its end. */
gboolean
simulated_kernel_is_fatal (int error_number)
{
  return error_number == ECONNRESET || error_number == EPIPE || error_number == ETIMEDOUT;
}

gboolean
simulated_kernel_begin_call (SimulatedKernel *kernel,
                             SimulatedCall call)
{
  kernel->calls[call]++;
  kernel->n_calls++;
  simulated_kernel_advance_to (kernel, kernel->now + 1);

  if (++kernel->priv->idle_calls > MAX_IDLE_CALLS)
    simulated_kernel_fail (kernel, "%u calls without any progress", MAX_IDLE_CALLS);

  if (kernel->hook != NULL)
    kernel->hook (kernel, call, kernel->hook_data);

  if (kernel->n_calls == kernel->fail_call)
    {
      kernel->failed_call = call;
      if (call <= SIMULATED_SEND_ZERO_COPY && simulated_kernel_is_fatal (kernel->fail_errno))
        {
          simulated_kernel_reset (kernel, kernel->fail_errno);
          kernel->priv->error_number = 0;
        }
      errno = kernel->fail_errno;
      return FALSE;
    }

  /* No other call of the table is ever interrupted. */
  if ((call == SIMULATED_SEND_COPY || call == SIMULATED_SEND_ZERO_COPY || call == SIMULATED_POLL ||
       call == SIMULATED_RECEIVE_ERROR) &&
      simulated_kernel_chance (kernel, kernel->odds.interrupted))
    {
      errno = EINTR;
      return FALSE;
    }

  return TRUE;
}

gssize
simulated_kernel_end_call (SimulatedKernel *kernel,
                           const char *what,
                           gint64 first,
                           gint64 second,
                           gssize result,
                           int error_number)
{
  simulated_kernel_tell (kernel, what, first, second, result, error_number);
  simulated_kernel_unlock (kernel);
  if (result < 0)
    errno = error_number;

  return result;
}

/* Time */

/* The stream up to here has left the send queue. */
guint64
simulated_kernel_get_sent (SimulatedKernel *kernel)
{
  return MIN (kernel->priv->acknowledged + kernel->window, kernel->priv->stream->len);
}

void
simulated_kernel_acknowledge (SimulatedKernel *kernel,
                              gsize size)
{
  SimulatedKernelPrivate *priv;

  simulated_kernel_lock (&kernel->syscalls);
  priv = kernel->priv;
  priv->acknowledged = MIN (priv->acknowledged + size, priv->stream->len);
  for (guint i = 0; i < priv->units->len; i++)
    {
      SimulatedUnit *unit = g_ptr_array_index (priv->units, i);

      if (kernel->completion != SIMULATED_COMPLETE_BY_HAND && unit->due == G_MAXINT64 &&
          unit->end <= priv->acknowledged)
        {
          unit->due = kernel->now + kernel->completion_delay;
          if (kernel->random_delay > 0)
            unit->due += zcio_test_random_range (&priv->random, 0, kernel->random_delay);
        }
    }
  simulated_kernel_complete_due (kernel);
  simulated_kernel_unlock (kernel);
}

static gboolean
is_draining (SimulatedKernel *kernel)
{
  return !kernel->priv->dead && kernel->drain_size > 0 &&
         kernel->priv->acknowledged < kernel->priv->stream->len;
}

/* G_MAXINT64 if nothing will ever happen by itself. */
gint64
simulated_kernel_get_next_event (SimulatedKernel *kernel)
{
  SimulatedKernelPrivate *priv = kernel->priv;
  gint64 next = G_MAXINT64;

  if (is_draining (kernel))
    next = priv->next_drain;
  if (priv->timers != NULL)
    next = MIN (next, ((SimulatedTimer *) priv->timers->data)->time);
  for (guint i = 0; i < priv->units->len; i++)
    next = MIN (next, ((SimulatedUnit *) g_ptr_array_index (priv->units, i))->due);

  return next;
}

void
simulated_kernel_advance_to (SimulatedKernel *kernel,
                             gint64 time)
{
  SimulatedKernelPrivate *priv = kernel->priv;
  gint64 next;

  while ((next = simulated_kernel_get_next_event (kernel)) <= time)
    {
      kernel->now = MAX (kernel->now, next);
      if (is_draining (kernel) && priv->next_drain <= kernel->now)
        {
          priv->next_drain = kernel->now + kernel->drain_interval;
          simulated_kernel_acknowledge (kernel, kernel->drain_size);
        }
      simulated_kernel_complete_due (kernel);
      if (priv->timers != NULL && ((SimulatedTimer *) priv->timers->data)->time <= kernel->now)
        {
          SimulatedTimer *timer = priv->timers->data;

          priv->timers = g_list_delete_link (priv->timers, priv->timers);
          timer->function (timer->data);
          g_free (timer);
        }
    }
  kernel->now = MAX (kernel->now, time);
}

void
simulated_kernel_advance (SimulatedKernel *kernel,
                          gint64 microseconds)
{
  simulated_kernel_lock (&kernel->syscalls);
  simulated_kernel_advance_to (kernel, kernel->now + microseconds);
  simulated_kernel_progress (kernel);
  simulated_kernel_unlock (kernel);
}

static gint
compare_timers (gconstpointer a,
                gconstpointer b)
{
  const SimulatedTimer *first = a;
  const SimulatedTimer *second = b;

  return (first->time > second->time) - (first->time < second->time);
}

void
simulated_kernel_after (SimulatedKernel *kernel,
                        gint64 delay,
                        void (*function) (gpointer data),
                        gpointer data)
{
  SimulatedTimer *timer = g_new (SimulatedTimer, 1);

  simulated_kernel_lock (&kernel->syscalls);
  *timer = (SimulatedTimer){ kernel->now + delay, function, data };
  kernel->priv->timers = g_list_insert_sorted (kernel->priv->timers, timer, compare_timers);
  simulated_kernel_unlock (kernel);
}

/* The other calls */

static int
simulated_enable_zero_copy (ZcioSyscalls *self,
                            int fd,
                            gboolean *counter_known)
{
  SimulatedKernel *kernel = simulated_kernel_lock (self);

  *counter_known = FALSE;
  if (!simulated_kernel_begin_call (kernel, SIMULATED_ENABLE_ZERO_COPY))
    return simulated_kernel_end_call (kernel, "enable zero-copy", fd, 0, -1, errno);
  if (kernel->no_zero_copy)
    return simulated_kernel_end_call (kernel, "enable zero-copy", fd, 0, -1, EOPNOTSUPP);

  kernel->priv->enabled = TRUE;
  *counter_known = kernel->counter_known;

  return simulated_kernel_end_call (kernel, "enable zero-copy", fd, kernel->counter_known, 0, 0);
}

void
simulated_kernel_reset (SimulatedKernel *kernel,
                        int error_number)
{
  simulated_kernel_lock (&kernel->syscalls);
  if (!kernel->priv->dead)
    {
      kernel->priv->dead = TRUE;
      kernel->priv->error_number = error_number;
      simulated_kernel_tell (kernel, "the connection ends", 0, 0, 0, error_number);
      simulated_kernel_purge (kernel);
    }
  simulated_kernel_unlock (kernel);
}

static int
simulated_disconnect (ZcioSyscalls *self,
                      int fd)
{
  SimulatedKernel *kernel = simulated_kernel_lock (self);

  if (!simulated_kernel_begin_call (kernel, SIMULATED_DISCONNECT))
    return simulated_kernel_end_call (kernel, "disconnect", fd, 0, -1, errno);

  simulated_kernel_reset (kernel, ECONNRESET);

  return simulated_kernel_end_call (kernel, "disconnect", fd, 0, 0, 0);
}

static int
simulated_get_unacknowledged (ZcioSyscalls *self,
                              int fd)
{
  SimulatedKernel *kernel = simulated_kernel_lock (self);
  gsize n;

  if (!simulated_kernel_begin_call (kernel, SIMULATED_GET_UNACKNOWLEDGED))
    return simulated_kernel_end_call (kernel, "get unacknowledged", fd, 0, -1, errno);

  n = kernel->priv->dead ? 0 : kernel->priv->stream->len - kernel->priv->acknowledged;

  return simulated_kernel_end_call (kernel, "get unacknowledged", fd, 0, n, 0);
}

static gint64
simulated_get_time (ZcioSyscalls *self)
{
  SimulatedKernel *kernel = simulated_kernel_lock (self);
  gint64 now = kernel->now;

  simulated_kernel_unlock (kernel);

  return now;
}

/* The kernel as a whole */

SimulatedKernel *
simulated_kernel_new (guint64 seed)
{
  SimulatedKernel *kernel = g_new0 (SimulatedKernel, 1);
  SimulatedKernelPrivate *priv = g_new0 (SimulatedKernelPrivate, 1);

  kernel->syscalls = (ZcioSyscalls){
    .send_message = simulated_send_message,
    .receive_error = simulated_receive_error,
    .enable_zero_copy = simulated_enable_zero_copy,
    .poll = simulated_poll,
    .disconnect = simulated_disconnect,
    .get_unacknowledged = simulated_get_unacknowledged,
    .get_time = simulated_get_time,
    .get_coarse_time = simulated_get_time,
  };
  kernel->family = AF_INET;
  kernel->fd = -1;
  kernel->send_buffer = 256 * 1024;
  kernel->drain_size = 64 * 1024;
  kernel->drain_interval = 1000;
  kernel->window = 64 * 1024;
  kernel->shares = TRUE;
  kernel->optmem_max = 131072;
  kernel->optmem_cost = 832;
  kernel->memlock_limit = G_MAXSIZE;
  kernel->counter_known = TRUE;
  kernel->now = (gint64) 1000 * G_USEC_PER_SEC;
  kernel->priv = priv;

  g_rec_mutex_init (&priv->lock);
  priv->seed = seed;
  priv->random = seed;
  priv->stream = g_byte_array_new ();
  priv->units = g_ptr_array_new ();
  g_queue_init (&priv->sends);
  g_queue_init (&priv->records);
  g_queue_init (&priv->scripts);
  priv->story = g_array_sized_new (FALSE, TRUE, sizeof (SimulatedEvent), STORY_LENGTH);
  g_array_set_size (priv->story, STORY_LENGTH);

  return kernel;
}

void
simulated_kernel_free (SimulatedKernel *kernel)
{
  SimulatedKernelPrivate *priv = kernel->priv;

  simulated_kernel_check_memory (kernel);
  g_queue_clear_full (&priv->sends, g_free);
  g_queue_clear_full (&priv->records, g_free);
  g_queue_clear_full (&priv->scripts, g_free);
  g_list_free_full (priv->timers, g_free);
  g_ptr_array_foreach (priv->units, (GFunc) g_free, NULL);
  g_ptr_array_unref (priv->units);
  g_byte_array_unref (priv->stream);
  g_array_unref (priv->story);
  g_rec_mutex_clear (&priv->lock);
  g_free (priv);
  g_free (kernel);
}

void
simulated_kernel_set_counter (SimulatedKernel *kernel,
                              guint32 id)
{
  g_assert_cmpuint (kernel->zero_copy_sends, ==, 0);
  kernel->priv->next_id = id;
  kernel->counter_known = id == 0;
}

const guint8 *
simulated_kernel_get_stream (SimulatedKernel *kernel,
                             gsize *size)
{
  *size = kernel->priv->stream->len;

  return kernel->priv->stream->data;
}
