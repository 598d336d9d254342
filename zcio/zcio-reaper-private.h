/* zcio-reaper-private.h - wakes a main loop when completions come in
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-transmitter-private.h"

G_BEGIN_DECLS

/* Above all that a program or GTK uses, since a source of lower priority than another
 * on the same socket might never be dispatched (gio.md, finding 3).
 */
#define ZCIO_REAPER_DEFAULT_PRIORITY (G_PRIORITY_HIGH * 10)

/* Called in the watch's context. @copied is whether the kernel said of any of them
 * that it had copied; @sends may be 0 if only @state_changed.
 */
typedef void (*ZcioWatchFunc) (guint    sends,
                               guint64  bytes,
                               gboolean copied,
                               gboolean state_changed,
                               gpointer user_data);

/*
 * ZcioWatch:
 *
 * One user's interest in the completions of a transmitter, in one main context. All
 * watches of a context and priority share a reaper: one source, which looks at an
 * edge-triggered epoll descriptor. So a completion costs the same with one socket
 * and with a thousand; an error queue that was drained, or a connection that was
 * reset, wakes nobody again; and nothing is attached or detached for each send.
 *
 * The fields belong to the transmitter's lock.
 */
struct _ZcioWatch
{
  gatomicrefcount ref_count;
  ZcioTransmitter *transmitter;
  struct _ZcioReaper *reaper;
  guint64 token;
  ZcioWatchFunc func;
  gpointer user_data;
  GDestroyNotify notify;
  gboolean arming; /* the reaper is going to arm it */
  gboolean armed;
  gboolean by_clock; /* epoll does not take the socket: it is looked at now and then */
  gboolean shares; /* another watch of the same reaper is armed for the same socket */
  gboolean destroyed;

  gboolean pending;
  gboolean state_changed;
  gboolean copied;
  guint sends;
  guint64 bytes;
};

ZcioWatch *zcio_watch_new            (ZcioTransmitter *transmitter,
                                      GMainContext    *context,
                                      int              priority,
                                      ZcioWatchFunc    func,
                                      gpointer         user_data,
                                      GDestroyNotify   notify);
/* Destroys and drops the reference. A call in another thread may still be under way. */
void       zcio_watch_destroy        (ZcioWatch       *watch);

/* For the transmitter alone, with its lock held. */
void       zcio_watch_arm_locked     (ZcioWatch       *watch);
void       zcio_watch_expect_locked  (ZcioWatch       *watch);
void       zcio_watch_notify_locked  (ZcioWatch       *watch);

G_END_DECLS
