/* zcio-memory-owner-python.c - releases memory of Python objects
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-memory-owner.h"

#include <dlfcn.h>

/*
 * Interpreter:
 *
 * What is needed of CPython's stable ABI. zcio is not linked to it: the functions are
 * looked up in the process.
 */
typedef struct
{
  int (*gil_ensure) (void);
  void (*gil_release) (int state);
  void (*error_fetch) (gpointer *type, gpointer *value, gpointer *traceback);
  void (*error_restore) (gpointer type, gpointer value, gpointer traceback);
  void (*buffer_release) (gpointer buffer);
  void (*raw_free) (gpointer memory);
} Interpreter;

/* The last reference may go while an exception is on its way, and what is released may
 * run code that would trip over it.
 */
static void
release_buffer (guint64 token,
                gpointer user_data)
{
  const Interpreter *python = user_data;
  gpointer buffer = (gpointer) (guintptr) token;
  gpointer type;
  gpointer value;
  gpointer traceback;
  int state = python->gil_ensure ();

  python->error_fetch (&type, &value, &traceback);
  python->buffer_release (buffer);
  python->error_restore (type, value, traceback);
  python->gil_release (state);
  python->raw_free (buffer);
}

static gboolean
look_up (gpointer     *function,
         const char   *name,
         GError      **error)
{
  *function = dlsym (RTLD_DEFAULT, name);
  if (*function != NULL)
    return TRUE;

  g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
               "This process has no function %s()", name);
  return FALSE;
}

/**
 * zcio_memory_owner_new_for_python: (constructor)
 * @error: return location for a #GError
 *
 * Creates an owner for the memory of Python objects. A token is the address of a
 * `Py_buffer` that PyObject_GetBuffer() has filled in, which is in memory of
 * PyMem_RawMalloc(). To release it, PyBuffer_Release() and PyMem_RawFree() are called,
 * with the interpreter's lock held, in whichever thread that is.
 *
 * A function written in Python, given to zcio_memory_owner_new(), would not do: it
 * cannot run while an exception is on its way, which is when references may go. Call
 * zcio_memory_owner_close() before the interpreter ends.
 *
 * Fails with %G_IO_ERROR_NOT_SUPPORTED in a process that has no Python interpreter.
 *
 * Returns: (transfer full): a new #ZcioMemoryOwner, or %NULL on error
 *
 * Since: 1.0
 */
ZcioMemoryOwner *
zcio_memory_owner_new_for_python (GError **error)
{
  g_autofree Interpreter *python = g_new0 (Interpreter, 1);

  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (!look_up ((gpointer *) &python->gil_ensure, "PyGILState_Ensure", error) ||
      !look_up ((gpointer *) &python->gil_release, "PyGILState_Release", error) ||
      !look_up ((gpointer *) &python->error_fetch, "PyErr_Fetch", error) ||
      !look_up ((gpointer *) &python->error_restore, "PyErr_Restore", error) ||
      !look_up ((gpointer *) &python->buffer_release, "PyBuffer_Release", error) ||
      !look_up ((gpointer *) &python->raw_free, "PyMem_RawFree", error))
    return NULL;

  return zcio_memory_owner_new (release_buffer, g_steal_pointer (&python), g_free);
}
