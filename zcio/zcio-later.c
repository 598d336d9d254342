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
 * @n_asked: how many calls were ever asked for
 * @n_called: how many of them were taken from @calls, the oldest first
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
  guint64 n_asked;
  guint64 n_called;
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

/* Calls the next that is there; only one that was asked for among the first @n_asked, unless
 * @may_be_new. A loop that was run in turn may have called some meanwhile.
 */
static gboolean
call_next (LaterSource *self,
           guint64      n_asked,
           gboolean     may_be_new)
{
  ZcioLaterFunc func = NULL;
  gpointer object = NULL;
  GList *link = NULL;

  g_mutex_lock (&sources_lock);
  if (may_be_new || self->n_called < n_asked)
    link = g_queue_pop_head_link (&self->calls);
  if (link != NULL)
    {
      self->n_called++;
      object = link->data;
      func = ((ZcioLater *) link)->func;
    }
  g_mutex_unlock (&sources_lock);

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
  guint64 n_asked;
  gboolean again;
  guint n = 0;

  g_mutex_lock (&sources_lock);
  self->depth++;
  self->asleep = FALSE;
  n_asked = self->n_asked;
  g_mutex_unlock (&sources_lock);

  /* What is there already is called in any case, as so many idle sources would be. */
  while (call_next (self, n_asked, n < MAX_CALLS && g_get_monotonic_time () < deadline))
    n++;

  g_mutex_lock (&sources_lock);
  self->depth--;
  again = self->depth > 0 || !g_queue_is_empty (&self->calls);
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
  self->n_asked = 1;
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
      self->n_asked++;
      /* An empty one is being dispatched. So prepare () comes before the loop sleeps, unless it has
       * come already, in a loop that was run in turn.
       */
      if (was_empty && self->asleep)
        g_main_context_wakeup (context);
    }
  g_mutex_unlock (&sources_lock);
}
