/* zcio-completion-source.c - a GSource for completions
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-completion-source-private.h"

#include "zcio-reaper-private.h"

/*
 * News:
 * @source: who is to be woken; NULL once it is being finalized
 *
 * What has come in, shared by the source and its watch: the watch may be called while the
 * source is being finalized in another thread.
 */
typedef struct
{
  gatomicrefcount ref_count;
  GMutex lock;
  GSource *source;
  guint sends;
  guint64 bytes;
} News;

/* The stream is held weakly, or a forgotten source would keep it from being closed; and the
 * watched context only until the source is in it, lest it become another's address.
 */
typedef struct
{
  GSource base;
  GWeakRef stream;
  ZcioTransmitter *transmitter;
  GCancellable *cancellable;
  int reaper_priority;
  GMainContext *watched;
  GMainContext *context;
  ZcioWatch *watch;
  News *news;
} CompletionSource;

static void
news_unref (gpointer data)
{
  News *news = data;

  if (!g_atomic_ref_count_dec (&news->ref_count))
    return;

  g_mutex_clear (&news->lock);
  g_free (news);
}

static void
on_completions (guint    sends,
                guint64  bytes,
                gboolean copied,
                gboolean state_changed,
                gpointer user_data)
{
  News *news = user_data;

  if (sends == 0)
    return;

  g_mutex_lock (&news->lock);
  news->sends += sends;
  news->bytes += bytes;
  if (news->source != NULL)
    g_source_set_ready_time (news->source, 0);
  g_mutex_unlock (&news->lock);
}

static void
on_stream_gone (gpointer  data,
                GObject  *former_stream)
{
  News *news = data;

  /* Woken, the source sees that there is no stream, and goes. */
  g_mutex_lock (&news->lock);
  if (news->source != NULL)
    g_source_set_ready_time (news->source, 0);
  g_mutex_unlock (&news->lock);

  news_unref (news);
}

static void
watch_in (CompletionSource *self,
          GMainContext     *context)
{
  g_clear_pointer (&self->watch, zcio_watch_destroy);
  g_clear_pointer (&self->context, g_main_context_unref);

  g_atomic_ref_count_inc (&self->news->ref_count);
  self->context = g_main_context_ref (context);
  self->watched = context;
  self->watch = zcio_watch_new (self->transmitter, context, self->reaper_priority,
                                on_completions, self->news, news_unref);
}

/* Only now is it known for sure in which context to watch. */
static gboolean
completion_source_prepare (GSource *source,
                           int     *timeout)
{
  CompletionSource *self = (CompletionSource *) source;
  GMainContext *context = g_source_get_context (source);

  *timeout = -1;
  if (context != self->watched)
    watch_in (self, context);
  /* The context holds the source, which must not hold it in turn. */
  g_clear_pointer (&self->context, g_main_context_unref);

  return FALSE;
}

static gboolean
completion_source_dispatch (GSource     *source,
                            GSourceFunc  callback,
                            gpointer     user_data)
{
  CompletionSource *self = (CompletionSource *) source;
  g_autoptr (ZcioSocketStream) stream = g_weak_ref_get (&self->stream);
  gboolean cancelled = g_cancellable_is_cancelled (self->cancellable);
  guint sends;
  guint64 bytes;

  g_mutex_lock (&self->news->lock);
  sends = self->news->sends;
  bytes = self->news->bytes;
  self->news->sends = 0;
  self->news->bytes = 0;
  g_source_set_ready_time (source, -1);
  g_mutex_unlock (&self->news->lock);

  if (stream == NULL || callback == NULL)
    return G_SOURCE_REMOVE;
  if (sends == 0 && !cancelled)
    return G_SOURCE_CONTINUE;

  return ((ZcioCompletionFunc) (GCallback) callback) (stream, sends, bytes, user_data);
}

/* Runs before the memory goes; after it on_completions() finds no source. */
static void
completion_source_dispose (GSource *source)
{
  CompletionSource *self = (CompletionSource *) source;

  g_mutex_lock (&self->news->lock);
  self->news->source = NULL;
  g_mutex_unlock (&self->news->lock);
}

static void
completion_source_finalize (GSource *source)
{
  CompletionSource *self = (CompletionSource *) source;
  g_autoptr (ZcioSocketStream) stream = g_weak_ref_get (&self->stream);

  if (stream != NULL)
    {
      g_object_weak_unref (G_OBJECT (stream), on_stream_gone, self->news);
      news_unref (self->news);
    }
  g_clear_pointer (&self->watch, zcio_watch_destroy);
  g_clear_pointer (&self->context, g_main_context_unref);
  g_weak_ref_clear (&self->stream);
  g_clear_object (&self->cancellable);
  zcio_transmitter_unref (self->transmitter);
  news_unref (self->news);
}

/* So that other languages can set a closure, which gets the arguments (gio.md, 2.4). */
static gboolean
completion_source_closure_callback (ZcioSocketStream *stream,
                                    guint             sends,
                                    guint64           bytes,
                                    gpointer          user_data)
{
  GClosure *closure = user_data;
  GValue arguments[3] = { G_VALUE_INIT, G_VALUE_INIT, G_VALUE_INIT };
  g_auto (GValue) result = G_VALUE_INIT;
  gboolean again;

  g_value_init (&result, G_TYPE_BOOLEAN);
  g_value_init (&arguments[0], ZCIO_TYPE_SOCKET_STREAM);
  g_value_set_object (&arguments[0], stream);
  g_value_init (&arguments[1], G_TYPE_UINT);
  g_value_set_uint (&arguments[1], sends);
  g_value_init (&arguments[2], G_TYPE_UINT64);
  g_value_set_uint64 (&arguments[2], bytes);

  g_closure_invoke (closure, &result, G_N_ELEMENTS (arguments), arguments, NULL);
  again = g_value_get_boolean (&result);
  g_value_unset (&arguments[0]);

  return again;
}

static GSourceFuncs completion_source_funcs = {
  .prepare = completion_source_prepare,
  .dispatch = completion_source_dispatch,
  .finalize = completion_source_finalize,
  .closure_callback = (GSourceFunc) (GCallback) completion_source_closure_callback,
};

GSource *
zcio_completion_source_new (ZcioSocketStream *stream,
                            ZcioTransmitter  *transmitter,
                            int               reaper_priority,
                            GCancellable     *cancellable)
{
  GSource *source = g_source_new (&completion_source_funcs, sizeof (CompletionSource));
  CompletionSource *self = (CompletionSource *) source;
  g_autoptr (GMainContext) context = g_main_context_ref_thread_default ();

  g_source_set_static_name (source, "[zcio] completions");
  g_source_set_dispose_function (source, completion_source_dispose);
  g_weak_ref_init (&self->stream, stream);
  self->transmitter = zcio_transmitter_ref (transmitter);
  self->reaper_priority = reaper_priority;
  self->news = g_new0 (News, 1);
  g_atomic_ref_count_init (&self->news->ref_count);
  g_mutex_init (&self->news->lock);
  self->news->source = source;
  g_atomic_ref_count_inc (&self->news->ref_count);
  g_object_weak_ref (G_OBJECT (stream), on_stream_gone, self->news);
  /* What comes back from now on counts, even before the context turns for the first time:
   * most often it is this one.
   */
  watch_in (self, context);

  if (cancellable != NULL)
    {
      g_autoptr (GSource) child = g_cancellable_source_new (cancellable);

      self->cancellable = g_object_ref (cancellable);
      g_source_set_dummy_callback (child);
      g_source_add_child_source (source, child);
    }

  return source;
}
