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

#include <dlfcn.h>

#include <glib.h>

void __tsan_acquire (void *address);
void __tsan_release (void *address);

/* What GLib is given instead of the source's own functions. */
typedef struct
{
  GSourceFuncs funcs;
  GSourceFuncs *original;
} Shim;

static GSourceFuncs *
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

GSource *
g_source_new (GSourceFuncs *funcs,
              guint         size)
{
  static GSource *(*next) (GSourceFuncs *, guint);
  Shim *shim = g_new0 (Shim, 1);
  GSource *source;

  if (g_atomic_pointer_get (&next) == NULL)
    g_atomic_pointer_set (&next, dlsym (RTLD_NEXT, "g_source_new"));

  /* Never freed: a source has no end that could be told. */
  shim->original = funcs;
  shim->funcs = *funcs;
  if (funcs->prepare != NULL)
    shim->funcs.prepare = shim_prepare;
  if (funcs->check != NULL)
    shim->funcs.check = shim_check;
  shim->funcs.dispatch = shim_dispatch;
  if (funcs->finalize != NULL)
    shim->funcs.finalize = shim_finalize;

  source = next (&shim->funcs, size);
  __tsan_release (source);

  return source;
}

guint
g_source_attach (GSource      *source,
                 GMainContext *context)
{
  static guint (*next) (GSource *, GMainContext *);

  if (g_atomic_pointer_get (&next) == NULL)
    g_atomic_pointer_set (&next, dlsym (RTLD_NEXT, "g_source_attach"));

  __tsan_release (source);
  return next (source, context);
}

void
g_source_unref (GSource *source)
{
  static void (*next) (GSource *);

  if (g_atomic_pointer_get (&next) == NULL)
    g_atomic_pointer_set (&next, dlsym (RTLD_NEXT, "g_source_unref"));

  __tsan_release (source);
  next (source);
}
