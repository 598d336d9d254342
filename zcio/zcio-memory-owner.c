/* zcio-memory-owner.c - GBytes over memory that belongs to another language
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-memory-owner-private.h"

#include <stdint.h>

/**
 * SECTION:zcio-memory-owner
 * @title: ZcioMemoryOwner
 * @short_description: GBytes over memory that belongs to another language
 *
 * #ZcioMemoryOwner makes a #GBytes of memory that somebody else owns, without a
 * copy, and says when that memory may go.
 *
 * It is meant for language bindings. In C, g_bytes_new_with_free_func() does the
 * same with one function for each #GBytes; a binding would have to make a closure
 * for each, which costs time, and which some of them never free. With an owner
 * there is one closure for all buffers, and a number, the token, that tells them
 * apart:
 *
 * |[<!-- language="Python" -->
 * exporters = {}
 * owner = Zcio.MemoryOwner.new (lambda token: exporters.pop (token))
 *
 * def wrap (exporter, address, size):
 *     token = next (tokens)
 *     exporters[token] = exporter
 *     return owner.wrap (address, size, token)
 * ]|
 *
 * An owner may be used by several threads at the same time.
 *
 * Since: 1.0
 */

/**
 * ZcioMemoryOwner:
 *
 * An object that releases the memory of each #GBytes it has made.
 *
 * Since: 1.0
 */
struct _ZcioMemoryOwner
{
  GObject parent_instance;

  /* None of them changes between zcio_memory_owner_new () and …_close (). */
  ZcioMemoryReleaseFunc release;
  gpointer user_data;
  GDestroyNotify notify;

  /* For those below */
  GMutex lock;
  GCond idle;
  guint n_releasing;
  gboolean closed;
};

typedef struct
{
  ZcioMemoryOwner *owner;
  guint64 token;
} Wrapped;

G_DEFINE_FINAL_TYPE (ZcioMemoryOwner, zcio_memory_owner, G_TYPE_OBJECT)

static void
zcio_memory_owner_finalize (GObject *object)
{
  ZcioMemoryOwner *self = ZCIO_MEMORY_OWNER (object);

  if (self->notify != NULL)
    self->notify (self->user_data);
  g_cond_clear (&self->idle);
  g_mutex_clear (&self->lock);

  G_OBJECT_CLASS (zcio_memory_owner_parent_class)->finalize (object);
}

static void
zcio_memory_owner_class_init (ZcioMemoryOwnerClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = zcio_memory_owner_finalize;
}

/* An owner that g_object_new () made has no one to tell. */
static void
release_nothing (guint64 token,
                 gpointer user_data)
{
}

static void
zcio_memory_owner_init (ZcioMemoryOwner *self)
{
  self->release = release_nothing;
  g_mutex_init (&self->lock);
  g_cond_init (&self->idle);
}

/**
 * zcio_memory_owner_new:
 * @release: (scope notified) (closure user_data) (destroy notify): called when
 *   the last reference to a #GBytes of zcio_memory_owner_wrap() has gone
 * @user_data: data for @release
 * @notify: (nullable): frees @user_data; called when @release will not be called
 *   any more
 *
 * Creates an owner of memory.
 *
 * The owner lives until its last #GBytes is gone, even if nobody else holds a
 * reference to it. @release and @notify are called in whichever thread drops the
 * last reference: this may be the thread that reaps the completions of a stream.
 *
 * Returns: (transfer full): a new #ZcioMemoryOwner
 *
 * Since: 1.0
 */
ZcioMemoryOwner *
zcio_memory_owner_new (ZcioMemoryReleaseFunc release,
                       gpointer user_data,
                       GDestroyNotify notify)
{
  ZcioMemoryOwner *owner;

  g_return_val_if_fail (release != NULL, NULL);

  owner = g_object_new (ZCIO_TYPE_MEMORY_OWNER, NULL);
  owner->release = release;
  owner->user_data = user_data;
  owner->notify = notify;

  return owner;
}

static gboolean
begin_release (ZcioMemoryOwner *self)
{
  gboolean closed;

  g_mutex_lock (&self->lock);
  closed = self->closed;
  if (!closed)
    self->n_releasing++;
  g_mutex_unlock (&self->lock);

  return !closed;
}

static void
end_release (ZcioMemoryOwner *self)
{
  g_mutex_lock (&self->lock);
  self->n_releasing--;
  /* A broadcast is a system call, even if nobody waits. */
  if (self->closed && self->n_releasing == 0)
    g_cond_broadcast (&self->idle);
  g_mutex_unlock (&self->lock);
}

static void
wrapped_free (gpointer data)
{
  Wrapped *wrapped = data;
  ZcioMemoryOwner *owner = wrapped->owner;
  guint64 token = wrapped->token;

  g_free (wrapped);
  if (begin_release (owner))
    {
      owner->release (token, owner->user_data);
      end_release (owner);
    }
  g_object_unref (owner);
}

/* What @release was given, or %NULL if the owner has another function. */
gpointer
zcio_memory_owner_get_data (ZcioMemoryOwner       *self,
                            ZcioMemoryReleaseFunc  release)
{
  return self->release == release ? self->user_data : NULL;
}

/**
 * zcio_memory_owner_wrap:
 * @owner: a #ZcioMemoryOwner
 * @address: where the memory begins, as a number; may be 0 only if @size is 0
 * @size: its size in bytes
 * @token: given to the release function
 *
 * Makes a #GBytes of memory that is not copied.
 *
 * The memory must stay where it is, and its contents must not change, until the
 * release function of @owner is called with @token. That happens exactly once,
 * when the last reference to the #GBytes has gone; for an empty one, too. (See also
 * zcio_memory_owner_close().)
 *
 * The address is a number because bindings copy arrays, and refuse or mangle
 * untyped pointers, on their way to C.
 *
 * Returns: (transfer full): a new #GBytes
 *
 * Since: 1.0
 */
GBytes *
zcio_memory_owner_wrap (ZcioMemoryOwner *owner,
                        guintptr address,
                        gsize size,
                        guint64 token)
{
  Wrapped *wrapped;

  g_return_val_if_fail (ZCIO_IS_MEMORY_OWNER (owner), NULL);
  g_return_val_if_fail (address != 0 || size == 0, NULL);
  g_return_val_if_fail (size <= UINTPTR_MAX - address, NULL);

  wrapped = g_new (Wrapped, 1);
  wrapped->owner = g_object_ref (owner);
  wrapped->token = token;

  return g_bytes_new_with_free_func ((gconstpointer) address, size, wrapped_free, wrapped);
}

/**
 * zcio_memory_owner_close:
 * @owner: a #ZcioMemoryOwner
 *
 * Lets the release function of @owner be called no more, and waits until calls of it
 * in other threads have returned. The memory of each #GBytes that is still there must
 * stay where it is until the process ends.
 *
 * An interpreter that is about to shut down calls this, because the kernel may hold
 * memory for longer than the interpreter lives. The release function itself must not
 * call it.
 *
 * Since: 1.0
 */
void
zcio_memory_owner_close (ZcioMemoryOwner *owner)
{
  GDestroyNotify notify;

  g_return_if_fail (ZCIO_IS_MEMORY_OWNER (owner));

  g_mutex_lock (&owner->lock);
  owner->closed = TRUE;
  while (owner->n_releasing > 0)
    g_cond_wait (&owner->idle, &owner->lock);
  notify = g_steal_pointer (&owner->notify);
  g_mutex_unlock (&owner->lock);

  if (notify != NULL)
    notify (owner->user_data);
}
