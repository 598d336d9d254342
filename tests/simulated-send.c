/* simulated-send.c - how the simulated kernel sends
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

/* tcp_sendmsg_locked () lets sends of so much share a notification. */
#define UNIT_LIMIT ((gsize) 512 * 1024)

/* SKB_TRUESIZE (0): sock_omalloc () wants so much to be left. */
#define OPTMEM_RESERVE 576

typedef struct
{
  SimulatedCall call;
  int error_number;
  gsize size;
} Script;

/* Scripts */

static void
add_script (SimulatedKernel *kernel,
            SimulatedCall call,
            int error_number,
            gsize size)
{
  Script *script = g_new (Script, 1);

  *script = (Script){ call, error_number, size };
  simulated_kernel_lock (&kernel->syscalls);
  g_queue_push_tail (&kernel->priv->scripts, script);
  simulated_kernel_unlock (kernel);
}

void
simulated_kernel_script_error (SimulatedKernel *kernel,
                               SimulatedCall call,
                               int error_number)
{
  add_script (kernel, call, error_number, 0);
}

void
simulated_kernel_script_short (SimulatedKernel *kernel,
                               SimulatedCall call,
                               gsize size)
{
  g_assert_cmpuint (size, >, 0);
  add_script (kernel, call, 0, size);
}

void
simulated_kernel_script_normal (SimulatedKernel *kernel,
                                SimulatedCall call)
{
  add_script (kernel, call, 0, G_MAXSIZE);
}

/* Returns the error, or 0 and the most that is accepted. */
static int
take_script (SimulatedKernel *kernel,
             SimulatedCall call,
             gsize *max)
{
  const SimulatedOdds *odds = &kernel->odds;

  for (GList *l = kernel->priv->scripts.head; l != NULL; l = l->next)
    {
      Script script = *(Script *) l->data;

      if (script.call == call)
        {
          g_free (l->data);
          g_queue_delete_link (&kernel->priv->scripts, l);
          *max = script.size;
          return script.error_number;
        }
    }

  *max = G_MAXSIZE;
  if (simulated_kernel_chance (kernel, odds->short_send))
    *max = zcio_test_random_range (&kernel->priv->random, 1, 20000);
  if (simulated_kernel_chance (kernel, odds->would_block))
    return EAGAIN;
  if (call == SIMULATED_SEND_COPY)
    return 0;
  if (simulated_kernel_chance (kernel, odds->no_buffers))
    return ENOBUFS;
  if (simulated_kernel_chance (kernel, odds->fault))
    return EFAULT;
  if (simulated_kernel_chance (kernel, odds->no_memory))
    return ENOMEM;

  return 0;
}

/* Sending */

static gsize
get_request_size (const struct msghdr *message)
{
  gsize size = 0;

  for (gsize i = 0; i < message->msg_iovlen; i++)
    size += message->msg_iov[i].iov_len;

  return size;
}

/* The notification that the next send would share, or NULL. */
static SimulatedUnit *
get_open_unit (SimulatedKernel *kernel,
               gsize size)
{
  GPtrArray *units = kernel->priv->units;
  SimulatedUnit *unit;

  if (!kernel->shares || kernel->completion == SIMULATED_COMPLETE_BY_HAND || units->len == 0 ||
      simulated_kernel_chance (kernel, kernel->odds.unshared))
    return NULL;

  unit = g_ptr_array_index (units, units->len - 1);
  if (unit->first + unit->n_sends != kernel->priv->next_id || unit->requested + size > UNIT_LIMIT)
    return NULL;
  /* It must be the tail of what is still unsent. */
  if (unit->end != kernel->priv->stream->len || unit->end <= simulated_kernel_get_sent (kernel))
    return NULL;

  return unit;
}

/* Charges both limits before anything else is looked at, as the kernel does. */
static SimulatedUnit *
begin_unit (SimulatedKernel *kernel,
            gsize size,
            gboolean *is_new)
{
  SimulatedKernelPrivate *priv = kernel->priv;
  SimulatedUnit *unit = get_open_unit (kernel, size);
  gsize pages = size / 4096 + 2;

  if (unit == NULL && priv->optmem + OPTMEM_RESERVE > kernel->optmem_max)
    return NULL;
  if (pages > kernel->memlock_limit || priv->pages > kernel->memlock_limit - pages)
    return NULL;

  *is_new = unit == NULL;
  if (*is_new)
    {
      unit = g_new0 (SimulatedUnit, 1);
      unit->first = priv->next_id;
      unit->due = G_MAXINT64;
      unit->begin = priv->stream->len;
      unit->end = unit->begin;
      unit->copied = kernel->says_copied || simulated_kernel_chance (kernel, kernel->odds.copied);
      priv->optmem += kernel->optmem_cost;
    }
  unit->requested += size;
  unit->pages += pages;
  priv->pages += pages;

  return unit;
}

/* Nothing was accepted. What was charged to a shared notification stays charged
 * (msg_zerocopy_put_abort ()), so trying again and again exhausts RLIMIT_MEMLOCK.
 */
static void
abort_unit (SimulatedKernel *kernel,
            SimulatedUnit *unit,
            gboolean is_new)
{
  if (!is_new)
    return;

  kernel->priv->optmem -= kernel->optmem_cost;
  kernel->priv->pages -= unit->pages;
  g_free (unit);
}

/* The error that a send gives, whether by zero-copy or not, or 0. */
static int
get_send_error (SimulatedKernel *kernel)
{
  SimulatedKernelPrivate *priv = kernel->priv;
  int error_number = priv->error_number;

  /* Whoever comes first gets it; then it is a broken pipe. */
  priv->error_number = 0;
  if (error_number != 0)
    return error_number;
  if (priv->dead)
    return EPIPE;
  if (priv->stream->len - priv->acknowledged >= kernel->send_buffer)
    return EAGAIN;

  return 0;
}

/* Reads the bytes, as a copying send does, and keeps them to compare. */
static void
append_stream (SimulatedKernel *kernel,
               const struct msghdr *message,
               gsize size)
{
  SimulatedKernelPrivate *priv = kernel->priv;

  if (priv->acknowledged == priv->stream->len)
    priv->next_drain = kernel->now + kernel->drain_interval;

  for (gsize i = 0; size > 0; i++)
    {
      gsize part = MIN (message->msg_iov[i].iov_len, size);

      g_byte_array_append (priv->stream, message->msg_iov[i].iov_base, part);
      size -= part;
    }
}

static void
add_send (SimulatedKernel *kernel,
          SimulatedUnit *unit,
          gboolean is_new,
          const struct msghdr *message,
          gsize size)
{
  SimulatedKernelPrivate *priv = kernel->priv;
  SimulatedSend *send = g_malloc (sizeof *send + message->msg_iovlen * sizeof (struct iovec));

  send->id = priv->next_id++;
  send->position = priv->stream->len;
  send->size = size;
  send->n_vectors = 0;
  append_stream (kernel, message, size);
  for (gsize left = size; left > 0; send->n_vectors++)
    {
      send->vectors[send->n_vectors] = message->msg_iov[send->n_vectors];
      send->vectors[send->n_vectors].iov_len = MIN (left, message->msg_iov[send->n_vectors].iov_len);
      left -= send->vectors[send->n_vectors].iov_len;
    }
  g_queue_push_tail (&priv->sends, send);

  unit->n_sends++;
  unit->end = priv->stream->len;
  if (is_new)
    g_ptr_array_add (priv->units, unit);

  kernel->zero_copy_sends++;
  kernel->zero_copy_bytes += size;
  kernel->sends_in_flight++;
  kernel->bytes_in_flight += size;

  if (kernel->completion == SIMULATED_COMPLETE_AT_ONCE ||
      (kernel->completion == SIMULATED_COMPLETE_WHEN_ACKNOWLEDGED &&
       simulated_kernel_chance (kernel, kernel->odds.early_completion)))
    simulated_kernel_complete_unit (kernel, priv->units->len - 1);
}

static void
check_request (SimulatedKernel *kernel,
               SimulatedCall call,
               gsize size)
{
  if (call != SIMULATED_SEND_ZERO_COPY)
    return;
  if (size > ZCIO_MAX_SEND_SIZE)
    simulated_kernel_fail (kernel, "A send by zero-copy asks for %" G_GSIZE_FORMAT " bytes", size);
  if (!kernel->priv->enabled)
    simulated_kernel_fail (kernel, "A send by zero-copy where it was not enabled");
  if (kernel->priv->blocked)
    kernel->early_tries++;
}

/* Returns the size accepted, or minus the error. */
static gssize
send_message (SimulatedKernel *kernel,
              SimulatedCall call,
              const struct msghdr *message,
              gsize size)
{
  SimulatedUnit *unit = NULL;
  gboolean is_new = FALSE;
  gsize max;
  int error_number, scripted;

  check_request (kernel, call, size);
  if (message->msg_iovlen > ZCIO_MAX_SEND_VECTORS)
    return -EMSGSIZE;

  scripted = take_script (kernel, call, &max);
  if (simulated_kernel_is_fatal (scripted))
    simulated_kernel_reset (kernel, scripted);
  else if (scripted == EINTR || scripted == ENOBUFS || scripted == EOPNOTSUPP)
    return -scripted;
  if (zcio_test_random_range (&kernel->priv->random, 0, 9999) < kernel->odds.reset)
    simulated_kernel_reset (kernel, ECONNRESET);

  if (call == SIMULATED_SEND_ZERO_COPY && kernel->refuses_flag)
    return -EOPNOTSUPP;
  if (call == SIMULATED_SEND_ZERO_COPY && size > 0)
    {
      unit = begin_unit (kernel, size, &is_new);
      if (unit == NULL)
        return -ENOBUFS;
    }

  error_number = get_send_error (kernel);
  if (error_number == 0)
    error_number = scripted;
  if (error_number != 0 || size == 0)
    {
      if (unit != NULL)
        abort_unit (kernel, unit, is_new);
      return -error_number;
    }

  size = MIN (size, max);
  size = MIN (size, kernel->send_buffer - (kernel->priv->stream->len - kernel->priv->acknowledged));
  if (unit != NULL)
    add_send (kernel, unit, is_new, message, size);
  else
    append_stream (kernel, message, size);

  return size;
}

gssize
simulated_send_message (ZcioSyscalls *self,
                        int fd,
                        const struct msghdr *message,
                        int flags)
{
  SimulatedKernel *kernel = simulated_kernel_lock (self);
  gboolean zero_copy = zcio_zero_copy_flag != 0 && (flags & zcio_zero_copy_flag) != 0;
  SimulatedCall call = zero_copy ? SIMULATED_SEND_ZERO_COPY : SIMULATED_SEND_COPY;
  const char *what = zero_copy ? "send by zero-copy" : "send by copy";
  gsize size = get_request_size (message);
  gssize result;

  if (simulated_kernel_begin_call (kernel, call))
    result = send_message (kernel, call, message, size);
  else
    result = -errno;
  if (result == -EAGAIN)
    {
      kernel->priv->blocked = TRUE;
      kernel->would_block++;
    }
  else if (result == -ENOBUFS)
    kernel->no_buffers++;
  if (result < 0)
    return simulated_kernel_end_call (kernel, what, size, message->msg_iovlen, -1, -result);

  if (!zero_copy)
    kernel->copied_bytes += result;
  if (result > 0)
    simulated_kernel_progress (kernel);

  return simulated_kernel_end_call (kernel, what, size, message->msg_iovlen, result, 0);
}
