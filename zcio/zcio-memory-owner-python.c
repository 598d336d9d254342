/* zcio-memory-owner-python.c - locks, sends and releases memory of Python objects
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-memory-owner-private.h"

#include <dlfcn.h>

#include "zcio-socket-stream.h"

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
  int (*buffer_get) (gpointer object, gpointer buffer, int flags);
  void (*buffer_release) (gpointer buffer);
  gpointer (*raw_malloc) (gsize size);
  void (*raw_free) (gpointer memory);
} Interpreter;

/* Py_buffer */
typedef struct
{
  gpointer address;
  gpointer object;
  gssize size;
  gssize item_size;
  int is_read_only;
  int n_dimensions;
  char *format;
  gssize *shape;
  gssize *strides;
  gssize *suboffsets;
  gpointer internal;
} View;

/* PyBUF_SIMPLE: memory without a gap, whatever is in it */
#define VIEW_SIMPLE 0

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

/* An exception that is on its way stays so; one that the object raises is dropped. */
static gboolean
get_view (const Interpreter *python,
          guintptr           object,
          View              *view)
{
  gpointer type;
  gpointer value;
  gpointer traceback;
  gboolean result;
  int state = python->gil_ensure ();

  python->error_fetch (&type, &value, &traceback);
  result = python->buffer_get ((gpointer) object, view, VIEW_SIMPLE) == 0;
  python->error_restore (type, value, traceback);
  python->gil_release (state);

  return result;
}

/**
 * zcio_memory_owner_wrap_object:
 * @owner: an owner of zcio_memory_owner_new_for_python()
 * @object: the address of a Python object, which is its id()
 * @error: return location for a #GError
 *
 * Makes a #GBytes of the memory of a Python object that has the buffer protocol and is
 * C-contiguous, without a copy. The object is kept, and locked against resizing, until
 * the last reference to the #GBytes has gone.
 *
 * The interpreter's lock is taken meanwhile; the caller may have it or not. May be called
 * in any thread.
 *
 * Fails with %G_IO_ERROR_INVALID_ARGUMENT if the memory of @object cannot be had, and
 * drops the exception that says why: to look once more, in Python, is up to the binding.
 * With an owner of zcio_memory_owner_new() it fails with %G_IO_ERROR_NOT_SUPPORTED. With
 * one that zcio_memory_owner_close() was called of, the object is never let go.
 *
 * Returns: (transfer full): a new #GBytes, or %NULL on error
 *
 * Since: 1.0
 */
GBytes *
zcio_memory_owner_wrap_object (ZcioMemoryOwner  *owner,
                               guintptr          object,
                               GError          **error)
{
  const Interpreter *python;
  View *view;

  g_return_val_if_fail (ZCIO_IS_MEMORY_OWNER (owner), NULL);
  g_return_val_if_fail (object != 0, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  python = zcio_memory_owner_get_data (owner, release_buffer);
  if (python == NULL)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                           "The owner is not one of Python objects");
      return NULL;
    }

  view = python->raw_malloc (sizeof *view);
  if (view == NULL || !get_view (python, object, view))
    {
      python->raw_free (view);
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                           "The memory of the object cannot be had");
      return NULL;
    }

  return zcio_memory_owner_wrap (owner, (guintptr) view->address, view->size, (guintptr) view);
}

/**
 * zcio_memory_owner_write_object:
 * @owner: an owner of zcio_memory_owner_new_for_python()
 * @stream: a stream
 * @object: the address of a Python object, which is its id()
 * @bytes_written: (out) (optional): how many bytes were accepted, also where the
 *   call fails
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Sends the memory of a Python object: zcio_memory_owner_wrap_object() and
 * zcio_socket_stream_write_zerocopy() in one, with the errors of both. To a binding each
 * call of C, and each #GBytes that it makes an object of, is dear.
 *
 * The caller must not have the interpreter's lock, since this may block. May be called
 * in any thread, in one at a time for each stream.
 *
 * Returns: %TRUE if all was accepted
 *
 * Since: 1.0
 */
gboolean
zcio_memory_owner_write_object (ZcioMemoryOwner   *owner,
                                ZcioSocketStream  *stream,
                                guintptr           object,
                                gsize             *bytes_written,
                                GCancellable      *cancellable,
                                GError           **error)
{
  GBytes *buffer;
  gboolean result;

  if (bytes_written != NULL)
    *bytes_written = 0;

  buffer = zcio_memory_owner_wrap_object (owner, object, error);
  if (buffer == NULL)
    return FALSE;

  result = zcio_socket_stream_write_zerocopy (stream, buffer, bytes_written, cancellable, error);
  g_bytes_unref (buffer);

  return result;
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

static gboolean
look_up_all (Interpreter  *python,
             GError      **error)
{
  return look_up ((gpointer *) &python->gil_ensure, "PyGILState_Ensure", error) &&
         look_up ((gpointer *) &python->gil_release, "PyGILState_Release", error) &&
         look_up ((gpointer *) &python->error_fetch, "PyErr_Fetch", error) &&
         look_up ((gpointer *) &python->error_restore, "PyErr_Restore", error) &&
         look_up ((gpointer *) &python->buffer_get, "PyObject_GetBuffer", error) &&
         look_up ((gpointer *) &python->buffer_release, "PyBuffer_Release", error) &&
         look_up ((gpointer *) &python->raw_malloc, "PyMem_RawMalloc", error) &&
         look_up ((gpointer *) &python->raw_free, "PyMem_RawFree", error);
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
  ZcioMemoryOwner *owner;
  Interpreter *python;

  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  python = g_new0 (Interpreter, 1);
  if (!look_up_all (python, error))
    {
      g_free (python);
      return NULL;
    }

  /* Objects may be locked after the owner was closed: by a thread, or by what runs at exit. */
  owner = zcio_memory_owner_new (release_buffer, python, NULL);
  g_object_set_data_full (G_OBJECT (owner), "zcio-interpreter", python, g_free);

  return owner;
}
