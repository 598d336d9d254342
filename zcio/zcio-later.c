/* zcio-later.c - calls back from a main loop, soon
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-later-private.h"

/* A call may lead to the next one, as where each write starts another and the socket takes it
 * at once. A turn of the loop for each costs more than the call. So a few are called in one, one
 * after the other, but no more than other sources can wait for: as for a few sources of the same
 * priority, each of which GLib dispatches in one turn; and not for long, if the calls are slow.
 */
#define MAX_CALLS 8
#define MAX_TIME (200 /* microseconds */)

/*
 * LaterSource:
 * @context: where it is attached; it holds the source, which must not hold it in turn
 * @calls: (element-type ZcioLater): what is to be called
 * @dispatcher: the thread that dispatches it, if one does
 * @depth: how often it is being dispatched: what is called may run the loop in turn
 * @asleep: prepare() had nothing to tell, so that the loop may sleep
 *
 * All calls of a context and priority share a source. It stays for as long as there is
 * something to call: where each call leads to the next, as with a stream that is written to
 * all the time, no source is made and attached for each, as g_idle_add () would.
 */
typedef struct
{
  GSource base;
  GMainContext *context;
  GQueue calls;
  GThread *dispatcher;
  guint depth;
  gboolean asleep;
} LaterSource;

/* Protects the list of sources, and their fields. No other lock is taken, and nothing called,
 * while it is held, but for the context's.
 */
static GMutex sources_lock;
static GSList *sources;

static gboolean
later_source_prepare (GSource *source,
                      int     *timeout)
{
  LaterSource *self = (LaterSource *) source;
  gboolean ready;

  g_mutex_lock (&sources_lock);
  ready = !g_queue_is_empty (&self->calls);
  self->asleep = !ready;
  g_mutex_unlock (&sources_lock);

  *timeout = -1;
  return ready;
}

static gboolean
later_source_check (GSource *source)
{
  LaterSource *self = (LaterSource *) source;
  gboolean ready;

  g_mutex_lock (&sources_lock);
  ready = !g_queue_is_empty (&self->calls);
  g_mutex_unlock (&sources_lock);

  return ready;
}

static gboolean
call_next (LaterSource *self)
{
  ZcioLaterFunc func = NULL;
  gpointer object = NULL;
  GList *link;

  g_mutex_lock (&sources_lock);
  link = g_queue_pop_head_link (&self->calls);
  if (link != NULL)
    {
      object = link->data;
      func = ((ZcioLater *) link)->func;
    }
  g_mutex_unlock (&sources_lock);

  /* A loop that was run in turn may have called them all. */
  if (object == NULL)
    return FALSE;

  func (object);
  return TRUE;
}

static gboolean
later_source_dispatch (GSource     *source,
                       GSourceFunc  callback,
                       gpointer     user_data)
{
  LaterSource *self = (LaterSource *) source;
  gint64 deadline = g_get_monotonic_time () + MAX_TIME;
  gboolean again;
  guint n;

  g_mutex_lock (&sources_lock);
  self->dispatcher = g_thread_self ();
  self->depth++;
  self->asleep = FALSE;
  n = g_queue_get_length (&self->calls);
  g_mutex_unlock (&sources_lock);

  /* What is there already is called in any case, as so many idle sources would be. */
  for (guint i = 0; i < n || (i < MAX_CALLS && g_get_monotonic_time () < deadline); i++)
    if (!call_next (self))
      break;

  g_mutex_lock (&sources_lock);
  self->depth--;
  again = self->depth > 0 || !g_queue_is_empty (&self->calls);
  if (self->depth == 0)
    self->dispatcher = NULL;
  if (!again)
    sources = g_slist_remove (sources, self);
  g_mutex_unlock (&sources_lock);

  return again ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void
later_source_finalize (GSource *source)
{
  LaterSource *self = (LaterSource *) source;
  GList *link;

  g_mutex_lock (&sources_lock);
  sources = g_slist_remove (sources, self);
  g_mutex_unlock (&sources_lock);

  while ((link = g_queue_pop_head_link (&self->calls)) != NULL)
    g_object_unref (link->data);
}

static GSourceFuncs later_source_funcs = {
  .prepare = later_source_prepare,
  .check = later_source_check,
  .dispatch = later_source_dispatch,
  .finalize = later_source_finalize,
};

static LaterSource *
find_locked (GMainContext *context,
             int           priority)
{
  for (GSList *l = sources; l != NULL; l = l->next)
    {
      LaterSource *self = l->data;

      /* One that is destroyed may be of a context that has gone. */
      if (self->context == context && g_source_get_priority (&self->base) == priority &&
          !g_source_is_destroyed (&self->base))
        return self;
    }

  return NULL;
}

static void
attach_locked (GMainContext *context,
               int           priority,
               GList        *link)
{
  GSource *source = g_source_new (&later_source_funcs, sizeof (LaterSource));
  LaterSource *self = (LaterSource *) source;

  g_source_set_static_name (source, "[zcio] later");
  g_source_set_priority (source, priority);
  /* A nested main loop within a call may wait for what another one brings. */
  g_source_set_can_recurse (source, TRUE);
  self->context = context;
  g_queue_push_tail_link (&self->calls, link);
  sources = g_slist_prepend (sources, self);
  g_source_attach (source, context);
  g_source_unref (source);
}

void
zcio_later_call (ZcioLater     *later,
                 GMainContext  *context,
                 int            priority,
                 ZcioLaterFunc  func,
                 gpointer       object)
{
  LaterSource *self;

  later->func = func;
  later->link = (GList) { .data = object };

  g_mutex_lock (&sources_lock);
  self = find_locked (context, priority);
  if (self == NULL)
    attach_locked (context, priority, &later->link);
  else
    {
      gboolean was_empty = g_queue_is_empty (&self->calls);

      g_queue_push_tail_link (&self->calls, &later->link);
      /* The dispatching thread is going to call prepare () before the loop sleeps, unless it
       * has already, in a nested loop.
       */
      if (was_empty && (self->asleep || self->dispatcher != g_thread_self ()))
        g_main_context_wakeup (context);
    }
  g_mutex_unlock (&sources_lock);
}
