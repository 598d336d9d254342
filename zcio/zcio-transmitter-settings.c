/* zcio-transmitter-settings.c - what a transmitter is told, and what it tells of itself
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-transmitter-private.h"

#include "zcio-describe-private.h"

/* It may read files, so it is not called with the lock held. */
char *
zcio_transmitter_describe_policy (const ZcioCopyPolicy *policy,
                                  guint64               sends,
                                  guint64               bytes)
{
  /* What the kernel charges: each send's pages and two more (mm_account_pinned_pages ()). */
  return zcio_describe_policy (policy, sends, bytes, bytes + 2 * 4096 * sends);
}

gboolean
zcio_transmitter_is_supported (ZcioTransmitter *self)
{
  gboolean supported;

  g_mutex_lock (&self->lock);
  zcio_transmitter_prepare_locked (self);
  supported = self->supported;
  zcio_transmitter_unlock (self);

  return supported;
}

ZcioZeroCopyMode
zcio_transmitter_get_mode (ZcioTransmitter *self)
{
  ZcioZeroCopyMode mode;

  g_mutex_lock (&self->lock);
  mode = self->policy.mode;
  g_mutex_unlock (&self->lock);

  return mode;
}

void
zcio_transmitter_set_mode (ZcioTransmitter *self,
                           ZcioZeroCopyMode mode)
{
  ZcioZeroCopyState before;

  g_mutex_lock (&self->lock);
  before = self->policy.state;
  zcio_copy_policy_set_mode (&self->policy, mode, self->syscalls->get_time (self->syscalls));
  if (self->policy.state != before)
    zcio_transmitter_state_changed_locked (self);
  zcio_transmitter_unlock_and_release (self);
}

gsize
zcio_transmitter_get_threshold (ZcioTransmitter *self,
                                gsize           *effective)
{
  gsize threshold;

  g_mutex_lock (&self->lock);
  threshold = self->policy.threshold;
  if (effective != NULL)
    *effective = zcio_copy_policy_get_threshold (&self->policy);
  g_mutex_unlock (&self->lock);

  return threshold;
}

void
zcio_transmitter_set_threshold (ZcioTransmitter *self,
                                gsize            threshold)
{
  g_mutex_lock (&self->lock);
  zcio_copy_policy_set_threshold (&self->policy, threshold);
  zcio_transmitter_unlock (self);
}

guint64
zcio_transmitter_get_max_in_flight (ZcioTransmitter *self)
{
  guint64 max_bytes;

  g_mutex_lock (&self->lock);
  max_bytes = self->max_bytes_in_flight;
  g_mutex_unlock (&self->lock);

  return max_bytes;
}

guint64
zcio_transmitter_get_room (ZcioTransmitter *self)
{
  guint64 room;

  g_mutex_lock (&self->lock);
  room = zcio_transmitter_get_room_locked (self);
  g_mutex_unlock (&self->lock);

  return room;
}

void
zcio_transmitter_set_max_in_flight (ZcioTransmitter *self,
                                    guint64          max_bytes)
{
  g_mutex_lock (&self->lock);
  self->max_bytes_in_flight = max_bytes;
  zcio_transmitter_unlock (self);
}

gint64
zcio_transmitter_get_linger_timeout (ZcioTransmitter *self)
{
  gint64 timeout;

  g_mutex_lock (&self->lock);
  timeout = self->linger_timeout;
  g_mutex_unlock (&self->lock);

  return timeout;
}

void
zcio_transmitter_set_linger_timeout (ZcioTransmitter *self,
                                     gint64           timeout)
{
  g_mutex_lock (&self->lock);
  self->linger_timeout = timeout;
  g_mutex_unlock (&self->lock);
}

ZcioZeroCopyState
zcio_transmitter_get_state (ZcioTransmitter *self)
{
  ZcioZeroCopyState state;

  g_mutex_lock (&self->lock);
  zcio_transmitter_prepare_locked (self);
  state = self->policy.state;
  zcio_transmitter_unlock (self);

  return state;
}

gboolean
zcio_transmitter_may_zero_copy (ZcioTransmitter *self,
                                gsize            size,
                                gboolean        *is_probe)
{
  gboolean may;

  g_mutex_lock (&self->lock);
  zcio_transmitter_prepare_locked (self);
  may = zcio_copy_policy_may_zero_copy (&self->policy, size,
                                        self->syscalls->get_time (self->syscalls));
  *is_probe = may && self->policy.state != ZCIO_ZERO_COPY_STATE_ACTIVE;
  g_mutex_unlock (&self->lock);

  return may;
}

void
zcio_transmitter_add_spliced (ZcioTransmitter *self,
                              guint64          shared_sends,
                              guint64          shared_bytes,
                              guint64          mapped_bytes,
                              guint64          system_calls)
{
  g_mutex_lock (&self->lock);
  self->counters.bytes_copied_by_choice += shared_bytes;
  self->counters.sends_copied_by_choice += shared_sends;
  self->counters.spliced_bytes += shared_bytes + mapped_bytes;
  self->counters.system_calls += system_calls;
  g_mutex_unlock (&self->lock);
}

void
zcio_transmitter_get_in_flight (ZcioTransmitter *self,
                                guint64         *sends,
                                guint64         *bytes)
{
  g_mutex_lock (&self->lock);
  *sends = self->window.sends_in_flight;
  *bytes = self->window.bytes_in_flight;
  g_mutex_unlock (&self->lock);
}

void
zcio_transmitter_get_statistics (ZcioTransmitter *self,
                                 ZcioStatistics  *statistics)
{
  guint64 plain_sends = __atomic_load_n (&self->plain_sends, __ATOMIC_RELAXED);
  guint64 plain_bytes = __atomic_load_n (&self->plain_bytes, __ATOMIC_RELAXED);
  gint64 oldest;

  g_mutex_lock (&self->lock);
  *statistics = self->counters;
  statistics->bytes_zero_copied -= statistics->bytes_copied_by_kernel;
  statistics->sends_zero_copied = self->window.next - statistics->sends_copied_by_kernel;
  statistics->bytes_copied_by_choice += plain_bytes;
  statistics->sends_copied_by_choice += plain_sends;
  statistics->bytes_written = zcio_transmitter_get_bytes_written_locked (self, plain_bytes);
  statistics->system_calls += plain_sends;
  statistics->sends_in_flight = self->window.sends_in_flight;
  statistics->bytes_in_flight = self->window.bytes_in_flight;
  statistics->peak_sends_in_flight = self->window.peak_sends_in_flight;
  statistics->peak_bytes_in_flight = self->window.peak_bytes_in_flight;
  oldest = zcio_send_window_get_oldest (&self->window);
  if (oldest != 0)
    statistics->oldest_send_age = self->syscalls->get_time (self->syscalls) - oldest;
  g_mutex_unlock (&self->lock);
}

char *
zcio_transmitter_describe (ZcioTransmitter *self)
{
  ZcioCopyPolicy policy;
  guint64 sends;
  guint64 bytes;

  g_mutex_lock (&self->lock);
  zcio_transmitter_prepare_locked (self);
  policy = self->policy;
  sends = self->window.sends_in_flight;
  bytes = self->window.bytes_in_flight;
  zcio_transmitter_unlock (self);

  return zcio_transmitter_describe_policy (&policy, sends, bytes);
}
