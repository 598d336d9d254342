/* simulated-queue.c - completions and the error queue of the simulated kernel
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
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>

/* Memory */

void
simulated_kernel_check_send (SimulatedKernel *kernel,
                             SimulatedSend *send)
{
  const guint8 *stream = kernel->priv->stream->data + send->position;

  if (kernel->priv->closed)
    return;

  for (guint i = 0; i < send->n_vectors; i++)
    {
      struct iovec *vector = &send->vectors[i];

      if (vector->iov_len > 0 && memcmp (vector->iov_base, stream, vector->iov_len) != 0)
        simulated_kernel_fail (kernel, "Memory of the send %u was changed while it was in flight", send->id);
      stream += vector->iov_len;
    }
}

void
simulated_kernel_check_memory (SimulatedKernel *kernel)
{
  simulated_kernel_lock (&kernel->syscalls);
  for (GList *l = kernel->priv->sends.head; l != NULL; l = l->next)
    simulated_kernel_check_send (kernel, l->data);
  simulated_kernel_unlock (kernel);
}

void
simulated_kernel_released (SimulatedKernel *kernel,
                           gconstpointer data,
                           gsize size)
{
  const guint8 *begin = data;

  simulated_kernel_lock (&kernel->syscalls);
  for (GList *l = kernel->priv->sends.head; l != NULL && !kernel->priv->closed; l = l->next)
    {
      SimulatedSend *send = l->data;

      for (guint i = 0; i < send->n_vectors; i++)
        {
          const guint8 *base = send->vectors[i].iov_base;

          if (base < begin + size && begin < base + send->vectors[i].iov_len)
            simulated_kernel_fail (kernel, "Memory of the send %u was released while it was in flight", send->id);
        }
    }
  simulated_kernel_unlock (kernel);
}

typedef struct
{
  SimulatedKernel *kernel;
  gsize size;
  gint *released;
  guint8 data[];
} WatchedBytes;

static void
watched_bytes_free (gpointer data)
{
  WatchedBytes *bytes = data;

  simulated_kernel_released (bytes->kernel, bytes->data, bytes->size);
  memset (bytes->data, 0xdd, bytes->size);
  if (bytes->released != NULL)
    g_atomic_int_inc (bytes->released);
  g_free (bytes);
}

GBytes *
simulated_kernel_new_bytes (SimulatedKernel *kernel,
                            guint64 position,
                            gsize size,
                            gint *released)
{
  WatchedBytes *bytes = g_malloc (sizeof *bytes + size);

  bytes->kernel = kernel;
  bytes->size = size;
  bytes->released = released;
  zcio_test_pattern_fill (position, bytes->data, size);

  return g_bytes_new_with_free_func (bytes->data, size, watched_bytes_free, bytes);
}

/* Queueing */

static void
queue_record (SimulatedKernel *kernel,
              const SimulatedRecord *record)
{
  GQueue *records = &kernel->priv->records;
  SimulatedRecord *tail = g_queue_peek_tail (records);

  /* skb_zerocopy_notify_extend (): into the tail only, and whether it was copied is
   * not compared.
   */
  if (!record->is_foreign && !record->final && tail != NULL && !tail->is_foreign && !tail->final &&
      record->first == tail->last + 1)
    {
      tail->last = record->last;
      kernel->priv->optmem -= record->optmem;
      simulated_kernel_tell (kernel, "merged into a notification", tail->first, tail->last, tail->copied, 0);
      return;
    }

  g_queue_push_tail (records, g_memdup2 (record, sizeof *record));
  simulated_kernel_tell (kernel, record->is_foreign ? "queued a foreign record" : "queued a notification", record->first, record->last, record->copied, 0);
}

void
simulated_kernel_queue_foreign (SimulatedKernel *kernel,
                                SimulatedForeign foreign)
{
  SimulatedSend *send;
  SimulatedRecord record = { .is_foreign = TRUE, .foreign = foreign };

  simulated_kernel_lock (&kernel->syscalls);
  /* Whoever takes it for a notification releases something. */
  send = g_queue_peek_head (&kernel->priv->sends);
  record.first = send != NULL ? send->id : kernel->priv->next_id;
  record.last = record.first + 100;
  queue_record (kernel, &record);
  simulated_kernel_unlock (kernel);
}

void
simulated_kernel_notify (SimulatedKernel *kernel,
                         guint32 first,
                         guint32 last,
                         gboolean copied)
{
  SimulatedRecord record = { .first = first, .last = last, .copied = copied, .final = TRUE };

  simulated_kernel_lock (&kernel->syscalls);
  queue_record (kernel, &record);
  simulated_kernel_unlock (kernel);
}

static gboolean
is_in_range (guint32 id,
             guint32 first,
             guint32 last)
{
  return (guint32) (id - first) <= (guint32) (last - first);
}

/* The kernel is done with these: until now, at the latest, it has read them. */
static void
check_range (SimulatedKernel *kernel,
             guint32 first,
             guint32 last)
{
  for (GList *l = kernel->priv->sends.head; l != NULL; l = l->next)
    {
      SimulatedSend *send = l->data;

      if (is_in_range (send->id, first, last))
        simulated_kernel_check_send (kernel, send);
    }
}

void
simulated_kernel_complete_unit (SimulatedKernel *kernel,
                                guint index)
{
  SimulatedUnit *unit = g_ptr_array_remove_index (kernel->priv->units, index);
  SimulatedRecord record = {
    .first = unit->first,
    .last = unit->first + unit->n_sends - 1,
    .copied = unit->copied,
    .optmem = kernel->optmem_cost,
  };

  check_range (kernel, record.first, record.last);
  kernel->priv->pages -= unit->pages;
  if (simulated_kernel_chance (kernel, kernel->odds.foreign))
    simulated_kernel_queue_foreign (kernel, zcio_test_random_range (&kernel->priv->random, 0, SIMULATED_N_FOREIGN - 1));
  queue_record (kernel, &record);
  simulated_kernel_progress (kernel);
  g_free (unit);
}

/* The earliest first: this is how completions come out of order. */
void
simulated_kernel_complete_due (SimulatedKernel *kernel)
{
  GPtrArray *units = kernel->priv->units;

  for (;;)
    {
      gint64 earliest = G_MAXINT64;
      guint index = 0;

      for (guint i = 0; i < units->len; i++)
        {
          SimulatedUnit *unit = g_ptr_array_index (units, i);

          if (unit->due < earliest)
            {
              earliest = unit->due;
              index = i;
            }
        }
      if (earliest > kernel->now)
        return;

      simulated_kernel_complete_unit (kernel, index);
    }
}

void
simulated_kernel_complete (SimulatedKernel *kernel,
                           guint32 first,
                           guint32 last,
                           gboolean copied)
{
  SimulatedRecord record = { .first = first, .last = last, .copied = copied, .optmem = kernel->optmem_cost };
  SimulatedKernelPrivate *priv = kernel->priv;
  guint n = 0;

  simulated_kernel_lock (&kernel->syscalls);
  g_assert_cmpint (kernel->completion, ==, SIMULATED_COMPLETE_BY_HAND);
  check_range (kernel, first, last);
  for (guint i = priv->units->len; i-- > 0;)
    {
      SimulatedUnit *unit = g_ptr_array_index (priv->units, i);

      if (!is_in_range (unit->first, first, last))
        continue;

      n++;
      priv->pages -= unit->pages;
      priv->optmem -= kernel->optmem_cost;
      g_free (g_ptr_array_remove_index (priv->units, i));
    }
  g_assert_cmpuint (n, ==, last - first + 1);
  priv->optmem += record.optmem;
  queue_record (kernel, &record);
  simulated_kernel_progress (kernel);
  simulated_kernel_unlock (kernel);
}

guint
simulated_kernel_get_incomplete (SimulatedKernel *kernel,
                                 guint32 *first)
{
  GPtrArray *units = kernel->priv->units;
  guint n = 0;

  for (guint i = 0; i < units->len; i++)
    n += ((SimulatedUnit *) g_ptr_array_index (units, i))->n_sends;
  if (units->len > 0)
    *first = ((SimulatedUnit *) g_ptr_array_index (units, 0))->first;

  return n;
}

/* tcp_write_queue_purge (): what was never sent goes first, and what was sent may
 * still be in the queue of a device.
 */
void
simulated_kernel_purge (SimulatedKernel *kernel)
{
  GPtrArray *units = kernel->priv->units;
  guint64 sent = simulated_kernel_get_sent (kernel);
  gint64 due = kernel->now;

  for (guint i = 0; i < units->len;)
    {
      SimulatedUnit *unit = g_ptr_array_index (units, i);

      if (unit->begin >= sent)
        simulated_kernel_complete_unit (kernel, i);
      else
        i++;
    }
  for (guint i = 0; i < units->len; i++)
    {
      SimulatedUnit *unit = g_ptr_array_index (units, i);

      due += kernel->queue_delay;
      unit->due = MIN (unit->due, due);
    }
  simulated_kernel_complete_due (kernel);
}

void
simulated_kernel_close (SimulatedKernel *kernel)
{
  simulated_kernel_lock (&kernel->syscalls);
  simulated_kernel_check_memory (kernel);
  kernel->priv->closed = TRUE;
  simulated_kernel_unlock (kernel);
}

/* Reading */

static gsize
put_control (struct msghdr *message,
             gsize offset,
             int level,
             int type,
             gconstpointer data,
             gsize size)
{
  struct cmsghdr header = { .cmsg_len = CMSG_LEN (size), .cmsg_level = level, .cmsg_type = type };
  guint8 *control = (guint8 *) message->msg_control + offset;

  memcpy (control, &header, sizeof header);
  memcpy (control + CMSG_LEN (0), data, size);

  return offset + CMSG_SPACE (size);
}

static struct sock_extended_err
get_extended_error (const SimulatedRecord *record)
{
  struct sock_extended_err error = { .ee_info = record->first, .ee_data = record->last };

  if (!record->is_foreign)
    {
      error.ee_origin = SO_EE_ORIGIN_ZEROCOPY;
      error.ee_code = record->copied ? SO_EE_CODE_ZEROCOPY_COPIED : 0;
      return error;
    }

  switch (record->foreign)
    {
    case SIMULATED_TIMESTAMP:
      error.ee_origin = SO_EE_ORIGIN_TIMESTAMPING;
      error.ee_errno = ENOMSG;
      break;
    case SIMULATED_ICMP:
      error.ee_origin = SO_EE_ORIGIN_ICMP;
      error.ee_errno = EHOSTUNREACH;
      error.ee_type = 3;
      error.ee_code = 1;
      break;
    case SIMULATED_TXTIME:
      error.ee_origin = SO_EE_ORIGIN_TXTIME;
      error.ee_errno = ECANCELED;
      error.ee_code = 2;
      break;
    case SIMULATED_LOCAL_ERROR:
      error.ee_origin = SO_EE_ORIGIN_LOCAL;
      error.ee_errno = EMSGSIZE;
      break;
    case SIMULATED_N_FOREIGN:
    default:
      g_assert_not_reached ();
    }

  return error;
}

static void
write_record (SimulatedKernel *kernel,
              const SimulatedRecord *record,
              struct msghdr *message)
{
  gboolean v6 = kernel->family == AF_INET6;
  gsize address_size = v6 ? sizeof (struct sockaddr_in6) : sizeof (struct sockaddr_in);
  struct sock_extended_err error = get_extended_error (record);
  gint64 timestamps[6] = { 1, 2, 3, 4, 5, 6 };
  guint8 payload[sizeof error + sizeof (struct sockaddr_in6)] = { 0 };
  gboolean is_timestamp = record->is_foreign && record->foreign == SIMULATED_TIMESTAMP;
  gsize needed = CMSG_SPACE (sizeof error + address_size);
  gsize offset = 0;

  if (is_timestamp)
    needed += CMSG_SPACE (sizeof timestamps);
  if (message->msg_control == NULL || message->msg_controllen < needed)
    simulated_kernel_fail (kernel, "The control buffer has %" G_GSIZE_FORMAT " bytes, and a record needs %" G_GSIZE_FORMAT, message->msg_controllen, needed);

  message->msg_flags = MSG_ERRQUEUE;
  message->msg_namelen = 0;
  if (is_timestamp)
    {
      offset = put_control (message, offset, SOL_SOCKET, SO_TIMESTAMPING, timestamps, sizeof timestamps);
      /* It comes with a copy of the packet. */
      message->msg_flags |= MSG_TRUNC;
    }
  memcpy (payload, &error, sizeof error);
  offset = put_control (message, offset, v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_RECVERR : IP_RECVERR, payload, sizeof error + address_size);
  message->msg_controllen = offset;
}

static void
deliver (SimulatedKernel *kernel,
         const SimulatedRecord *record)
{
  SimulatedKernelPrivate *priv = kernel->priv;
  GList *next;

  check_range (kernel, record->first, record->last);
  for (GList *l = priv->sends.head; l != NULL; l = next)
    {
      SimulatedSend *send = l->data;

      next = l->next;
      if (!is_in_range (send->id, record->first, record->last))
        continue;

      kernel->sends_in_flight--;
      kernel->bytes_in_flight -= send->size;
      g_free (send);
      g_queue_delete_link (&priv->sends, l);
    }
  kernel->notifications++;
  if (simulated_kernel_chance (kernel, kernel->odds.duplicate))
    simulated_kernel_notify (kernel, record->first, record->last, record->copied);
}

gssize
simulated_receive_error (ZcioSyscalls *syscalls,
                         int fd,
                         struct msghdr *message)
{
  SimulatedKernel *kernel = simulated_kernel_lock (syscalls);
  SimulatedKernelPrivate *priv = kernel->priv;
  SimulatedRecord *record;
  guint32 first, last;

  if (!priv->enabled)
    simulated_kernel_fail (kernel, "Reads the error queue where zero-copy was not enabled");
  if (!simulated_kernel_begin_call (kernel, SIMULATED_RECEIVE_ERROR))
    return simulated_kernel_end_call (kernel, "receive error", 0, 0, -1, errno);
  if (priv->closed)
    return simulated_kernel_end_call (kernel, "receive error", 0, 0, -1, EBADF);

  record = g_queue_pop_head (&priv->records);
  if (record == NULL)
    return simulated_kernel_end_call (kernel, "receive error", 0, 0, -1, EAGAIN);

  first = record->first;
  last = record->last;
  write_record (kernel, record, message);
  priv->optmem -= record->optmem;
  simulated_kernel_progress (kernel);
  if (record->is_foreign)
    kernel->foreign++;
  else
    deliver (kernel, record);
  g_free (record);

  return simulated_kernel_end_call (kernel, "receive error", first, last, 0, 0);
}
