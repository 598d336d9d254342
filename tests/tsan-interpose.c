/* tsan-interpose.c - GLib's locks on pthread's, so that ThreadSanitizer sees them
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * GLib's GMutex and GCond are made of futexes, which ThreadSanitizer does not know, so it
 * would take everything under them for a race. Linked into a test program, these take
 * their place for the program, zcio and GIO; within GLib itself its own remain.
 */

#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <glib.h>

/* A static GMutex is zero, so what it points to is made when it is first used. */
static pthread_mutex_t *
get_mutex (GMutex *mutex)
{
  pthread_mutex_t *implementation = g_atomic_pointer_get (&mutex->p);

  if (implementation == NULL)
    {
      implementation = malloc (sizeof *implementation);
      pthread_mutex_init (implementation, NULL);
      if (!g_atomic_pointer_compare_and_exchange (&mutex->p, NULL, implementation))
        {
          pthread_mutex_destroy (implementation);
          free (implementation);
          implementation = g_atomic_pointer_get (&mutex->p);
        }
    }

  return implementation;
}

static pthread_cond_t *
get_cond (GCond *cond)
{
  pthread_cond_t *implementation = g_atomic_pointer_get (&cond->p);

  if (implementation == NULL)
    {
      pthread_condattr_t attributes;

      pthread_condattr_init (&attributes);
      pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
      implementation = malloc (sizeof *implementation);
      pthread_cond_init (implementation, &attributes);
      pthread_condattr_destroy (&attributes);
      if (!g_atomic_pointer_compare_and_exchange (&cond->p, NULL, implementation))
        {
          pthread_cond_destroy (implementation);
          free (implementation);
          implementation = g_atomic_pointer_get (&cond->p);
        }
    }

  return implementation;
}

void
g_mutex_init (GMutex *mutex)
{
  mutex->p = NULL;
}

void
g_mutex_clear (GMutex *mutex)
{
  pthread_mutex_t *implementation = g_atomic_pointer_get (&mutex->p);

  if (implementation != NULL)
    {
      pthread_mutex_destroy (implementation);
      free (implementation);
    }
  mutex->p = NULL;
}

void
g_mutex_lock (GMutex *mutex)
{
  pthread_mutex_lock (get_mutex (mutex));
}

gboolean
g_mutex_trylock (GMutex *mutex)
{
  return pthread_mutex_trylock (get_mutex (mutex)) == 0;
}

void
g_mutex_unlock (GMutex *mutex)
{
  pthread_mutex_unlock (get_mutex (mutex));
}

void
g_cond_init (GCond *cond)
{
  cond->p = NULL;
}

void
g_cond_clear (GCond *cond)
{
  pthread_cond_t *implementation = g_atomic_pointer_get (&cond->p);

  if (implementation != NULL)
    {
      pthread_cond_destroy (implementation);
      free (implementation);
    }
  cond->p = NULL;
}

void
g_cond_wait (GCond  *cond,
             GMutex *mutex)
{
  pthread_cond_wait (get_cond (cond), get_mutex (mutex));
}

void
g_cond_signal (GCond *cond)
{
  pthread_cond_signal (get_cond (cond));
}

void
g_cond_broadcast (GCond *cond)
{
  pthread_cond_broadcast (get_cond (cond));
}

gboolean
g_cond_wait_until (GCond  *cond,
                   GMutex *mutex,
                   gint64  end_time)
{
  struct timespec time = {
    .tv_sec = end_time / G_USEC_PER_SEC,
    .tv_nsec = (end_time % G_USEC_PER_SEC) * 1000,
  };

  return pthread_cond_timedwait (get_cond (cond), get_mutex (mutex), &time) != ETIMEDOUT;
}
