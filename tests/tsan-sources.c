/* tsan-sources.c - what GMainContext's lock orders, told to ThreadSanitizer
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A source may be made and attached in one thread, and prepared, dispatched and finalized in
 * another: the lock of its context is between them, but that is within GLib, where
 * ThreadSanitizer does not see it (see tsan-interpose.c).
 */

#include "config.h"

#include <glib-unix.h>

#include "tsan-private.h"

/* What GLib is given instead of the source's own functions. */
typedef struct
{
  GSourceFuncs funcs;
  const GSourceFuncs *original;
} Shim;

static const GSourceFuncs *
enter (GSource *source)
{
  __tsan_acquire (source);
  return ((Shim *) source->source_funcs)->original;
}

static gboolean
shim_prepare (GSource *source,
              int     *timeout)
{
  gboolean ready = enter (source)->prepare (source, timeout);

  __tsan_release (source);
  return ready;
}

static gboolean
shim_check (GSource *source)
{
  gboolean ready = enter (source)->check (source);

  __tsan_release (source);
  return ready;
}

static gboolean
shim_dispatch (GSource     *source,
               GSourceFunc  callback,
               gpointer     user_data)
{
  gboolean again = enter (source)->dispatch (source, callback, user_data);

  __tsan_release (source);
  return again;
}

static void
shim_finalize (GSource *source)
{
  enter (source)->finalize (source);
}

/* Never freed: a source has no end that could be told. */
static GSourceFuncs *
shim_new (const GSourceFuncs *funcs)
{
  Shim *shim = g_new0 (Shim, 1);

  shim->original = funcs;
  shim->funcs = *funcs;
  if (funcs->prepare != NULL)
    shim->funcs.prepare = shim_prepare;
  if (funcs->check != NULL)
    shim->funcs.check = shim_check;
  shim->funcs.dispatch = shim_dispatch;
  if (funcs->finalize != NULL)
    shim->funcs.finalize = shim_finalize;

  return &shim->funcs;
}

GSource *
g_source_new (GSourceFuncs *funcs,
              guint         size)
{
  NEXT (g_source_new)
  GSource *source = next (shim_new (funcs), size);

  __tsan_release (source);
  return source;
}

guint
g_source_attach (GSource      *source,
                 GMainContext *context)
{
  NEXT (g_source_attach)

  __tsan_release (source);
  return next (source, context);
}

void
g_source_add_child_source (GSource *source,
                           GSource *child)
{
  NEXT (g_source_add_child_source)

  __tsan_release (child);
  pass_through (source);
  next (source, child);
}

void
g_source_destroy (GSource *source)
{
  NEXT (g_source_destroy)

  pass_through (source);
  next (source);
}

void
g_source_unref (GSource *source)
{
  NEXT (g_source_unref)

  pass_through (source);
  next (source);
}

void
g_source_set_ready_time (GSource *source,
                         gint64   ready_time)
{
  NEXT (g_source_set_ready_time)

  pass_through (source);
  next (source, ready_time);
}

/* Callbacks of sources that are made within GLib. Those keep their functions, by which GLib
 * knows them.
 */

typedef struct
{
  GSource *source; /* only its address */
  GSourceFunc func;
  gpointer data;
  GDestroyNotify notify;
} Call;

static Call *
call_new (GSource       *source,
          GSourceFunc    func,
          gpointer       data,
          GDestroyNotify notify)
{
  Call *call = g_new (Call, 1);

  *call = (Call) { source, func, data, notify };
  __tsan_release (call);
  return call;
}

static void
call_enter (Call *call)
{
  __tsan_acquire (call);
  if (call->source != NULL)
    __tsan_acquire (call->source);
}

static gboolean
call_run (gpointer data)
{
  Call *call = data;
  gboolean again;

  call_enter (call);
  again = call->func (call->data);
  __tsan_release (call);

  return again;
}

static gboolean
call_run_for_fd (int          fd,
                 GIOCondition condition,
                 gpointer     data)
{
  Call *call = data;
  gboolean again;

  call_enter (call);
  again = ((GUnixFDSourceFunc) (GCallback) call->func) (fd, condition, call->data);
  __tsan_release (call);

  return again;
}

static void
call_run_for_child (GPid     pid,
                    int      wait_status,
                    gpointer data)
{
  Call *call = data;

  call_enter (call);
  ((GChildWatchFunc) (GCallback) call->func) (pid, wait_status, call->data);
  __tsan_release (call);
}

static void
call_free (gpointer data)
{
  Call *call = data;

  __tsan_acquire (call);
  if (call->notify != NULL)
    call->notify (call->data);
  g_free (call);
}

void
g_source_set_callback (GSource       *source,
                       GSourceFunc    func,
                       gpointer       data,
                       GDestroyNotify notify)
{
  NEXT (g_source_set_callback)
  GSourceFunc run = NULL;

  if (source->source_funcs == &g_idle_funcs || source->source_funcs == &g_timeout_funcs ||
      source->source_funcs == &g_unix_signal_funcs)
    run = call_run;
  else if (source->source_funcs == &g_unix_fd_source_funcs)
    run = (GSourceFunc) (GCallback) call_run_for_fd;
  else if (source->source_funcs == &g_child_watch_funcs)
    run = (GSourceFunc) (GCallback) call_run_for_child;

  if (run != NULL)
    next (source, run, call_new (source, func, data, notify), call_free);
  else
    next (source, func, data, notify);
}

void
g_main_context_invoke_full (GMainContext  *context,
                            int            priority,
                            GSourceFunc    func,
                            gpointer       data,
                            GDestroyNotify notify)
{
  NEXT (g_main_context_invoke_full)

  next (context, priority, call_run, call_new (NULL, func, data, notify), call_free);
}

void
g_main_context_invoke (GMainContext *context,
                       GSourceFunc   func,
                       gpointer      data)
{
  g_main_context_invoke_full (context, G_PRIORITY_DEFAULT, func, data, NULL);
}

guint
g_idle_add_full (int            priority,
                 GSourceFunc    func,
                 gpointer       data,
                 GDestroyNotify notify)
{
  NEXT (g_idle_add_full)

  return next (priority, call_run, call_new (NULL, func, data, notify), call_free);
}

guint
g_idle_add (GSourceFunc func,
            gpointer    data)
{
  return g_idle_add_full (G_PRIORITY_DEFAULT_IDLE, func, data, NULL);
}

guint
g_timeout_add_full (int            priority,
                    guint          interval,
                    GSourceFunc    func,
                    gpointer       data,
                    GDestroyNotify notify)
{
  NEXT (g_timeout_add_full)

  return next (priority, interval, call_run, call_new (NULL, func, data, notify), call_free);
}

guint
g_timeout_add (guint       interval,
               GSourceFunc func,
               gpointer    data)
{
  return g_timeout_add_full (G_PRIORITY_DEFAULT, interval, func, data, NULL);
}

/* A wake-up is a write to a descriptor that the context polls. */

void
g_main_context_wakeup (GMainContext *context)
{
  NEXT (g_main_context_wakeup)

  __tsan_release (context != NULL ? context : g_main_context_default ());
  next (context);
}

gboolean
g_main_context_iteration (GMainContext *context,
                          gboolean      may_block)
{
  NEXT (g_main_context_iteration)
  gboolean dispatched = next (context, may_block);

  __tsan_acquire (context != NULL ? context : g_main_context_default ());
  return dispatched;
}

void
g_main_loop_quit (GMainLoop *loop)
{
  NEXT (g_main_loop_quit)

  __tsan_release (loop);
  next (loop);
}

void
g_main_loop_run (GMainLoop *loop)
{
  NEXT (g_main_loop_run)

  next (loop);
  __tsan_acquire (loop);
}
