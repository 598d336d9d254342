/* tsan-private.h - telling ThreadSanitizer what is ordered within GLib
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <dlfcn.h>

#include <glib-object.h>

void __tsan_acquire (void *address);
void __tsan_release (void *address);

/* Declares next, the function of the library whose place is taken. Its address is not to
 * order anything between threads, so it is relaxed.
 */
#define NEXT(function)                                                        \
  static __typeof__ (&(function)) found;                                      \
  __typeof__ (&(function)) next = __atomic_load_n (&found, __ATOMIC_RELAXED); \
  if (next == NULL)                                                           \
    {                                                                         \
      next = (__typeof__ (&(function))) dlsym (RTLD_NEXT, #function);         \
      __atomic_store_n (&found, next, __ATOMIC_RELAXED);                      \
    }

/* A lock that is taken and left again, and an atomic operation, which is a full barrier. */
static inline void
pass_through (gconstpointer address)
{
  __tsan_acquire ((gpointer) address);
  __tsan_release ((gpointer) address);
}
