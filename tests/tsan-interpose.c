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

const char *__tsan_default_suppressions (void);

/* What GLib's own code does to memory by its loads and stores is not seen, since it is not
 * instrumented, and nor are its locks there. What it does by calls of the C library, such as
 * memset () and free (), would be seen, without those locks. So it is left out, too. What
 * zcio and the tests free is looked at all the same: tsan-threads.c has a g_free () of its own.
 *
 * And the dynamic linker frees the thread-local memory of a thread within pthread_join (),
 * whose end is what ThreadSanitizer takes for the end of that thread.
 */
const char *
__tsan_default_suppressions (void)
{
  return "called_from_lib:libglib-2.0.so\n"
         "called_from_lib:ld-linux\n";
}

/* Mutexes. A static one is zero, so what it points to is made when it is first used. */

static pthread_mutex_t *
new_mutex (int type)
{
  pthread_mutex_t *implementation = malloc (sizeof *implementation);
  pthread_mutexattr_t attributes;

  pthread_mutexattr_init (&attributes);
  pthread_mutexattr_settype (&attributes, type);
  pthread_mutex_init (implementation, &attributes);
  pthread_mutexattr_destroy (&attributes);

  return implementation;
}

static void
free_mutex (gpointer implementation)
{
  pthread_mutex_destroy (implementation);
  free (implementation);
}

static pthread_mutex_t *
get_mutex (gpointer *place,
           int       type)
{
  pthread_mutex_t *implementation = g_atomic_pointer_get (place);

  if (implementation == NULL)
    {
      implementation = new_mutex (type);
      if (!g_atomic_pointer_compare_and_exchange (place, NULL, implementation))
        {
          free_mutex (implementation);
          implementation = g_atomic_pointer_get (place);
        }
    }

  return implementation;
}

static void
clear_mutex (gpointer *place)
{
  gpointer implementation = g_atomic_pointer_get (place);

  if (implementation != NULL)
    free_mutex (implementation);
  *place = NULL;
}

void
g_mutex_init (GMutex *mutex)
{
  mutex->p = NULL;
}

void
g_mutex_clear (GMutex *mutex)
{
  clear_mutex (&mutex->p);
}

void
g_mutex_lock (GMutex *mutex)
{
  pthread_mutex_lock (get_mutex (&mutex->p, PTHREAD_MUTEX_DEFAULT));
}

gboolean
g_mutex_trylock (GMutex *mutex)
{
  return pthread_mutex_trylock (get_mutex (&mutex->p, PTHREAD_MUTEX_DEFAULT)) == 0;
}

void
g_mutex_unlock (GMutex *mutex)
{
  pthread_mutex_unlock (get_mutex (&mutex->p, PTHREAD_MUTEX_DEFAULT));
}

void
g_rec_mutex_init (GRecMutex *mutex)
{
  mutex->p = NULL;
}

void
g_rec_mutex_clear (GRecMutex *mutex)
{
  clear_mutex (&mutex->p);
}

void
g_rec_mutex_lock (GRecMutex *mutex)
{
  pthread_mutex_lock (get_mutex (&mutex->p, PTHREAD_MUTEX_RECURSIVE));
}

gboolean
g_rec_mutex_trylock (GRecMutex *mutex)
{
  return pthread_mutex_trylock (get_mutex (&mutex->p, PTHREAD_MUTEX_RECURSIVE)) == 0;
}

void
g_rec_mutex_unlock (GRecMutex *mutex)
{
  pthread_mutex_unlock (get_mutex (&mutex->p, PTHREAD_MUTEX_RECURSIVE));
}

/* Locks for many readers. GObject has some, static ones. */

static pthread_rwlock_t *
get_rw_lock (GRWLock *lock)
{
  pthread_rwlock_t *implementation = g_atomic_pointer_get (&lock->p);

  if (implementation == NULL)
    {
      implementation = malloc (sizeof *implementation);
      pthread_rwlock_init (implementation, NULL);
      if (!g_atomic_pointer_compare_and_exchange (&lock->p, NULL, implementation))
        {
          pthread_rwlock_destroy (implementation);
          free (implementation);
          implementation = g_atomic_pointer_get (&lock->p);
        }
    }

  return implementation;
}

void
g_rw_lock_init (GRWLock *lock)
{
  lock->p = NULL;
}

void
g_rw_lock_clear (GRWLock *lock)
{
  pthread_rwlock_t *implementation = g_atomic_pointer_get (&lock->p);

  if (implementation != NULL)
    {
      pthread_rwlock_destroy (implementation);
      free (implementation);
    }
  lock->p = NULL;
}

void
g_rw_lock_writer_lock (GRWLock *lock)
{
  pthread_rwlock_wrlock (get_rw_lock (lock));
}

gboolean
g_rw_lock_writer_trylock (GRWLock *lock)
{
  return pthread_rwlock_trywrlock (get_rw_lock (lock)) == 0;
}

void
g_rw_lock_writer_unlock (GRWLock *lock)
{
  pthread_rwlock_unlock (get_rw_lock (lock));
}

void
g_rw_lock_reader_lock (GRWLock *lock)
{
  pthread_rwlock_rdlock (get_rw_lock (lock));
}

gboolean
g_rw_lock_reader_trylock (GRWLock *lock)
{
  return pthread_rwlock_tryrdlock (get_rw_lock (lock)) == 0;
}

void
g_rw_lock_reader_unlock (GRWLock *lock)
{
  pthread_rwlock_unlock (get_rw_lock (lock));
}

/* Conditions */

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
  pthread_cond_wait (get_cond (cond), get_mutex (&mutex->p, PTHREAD_MUTEX_DEFAULT));
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

  return pthread_cond_timedwait (get_cond (cond), get_mutex (&mutex->p, PTHREAD_MUTEX_DEFAULT),
                                 &time) != ETIMEDOUT;
}
