/* test-memory-owner-python.c - tests of locking, sending and releasing memory of Python objects
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <zcio/zcio.h>

#include <string.h>

#include "test-util.h"

/* The interpreter is played by these: the program exports them. */
int PyGILState_Ensure (void);
void PyGILState_Release (int state);
void PyErr_Fetch (gpointer *type, gpointer *value, gpointer *traceback);
void PyErr_Restore (gpointer type, gpointer value, gpointer traceback);
int PyObject_GetBuffer (gpointer object, gpointer buffer, int flags);
void PyBuffer_Release (gpointer buffer);
gpointer PyMem_RawMalloc (gsize size);
void PyMem_RawFree (gpointer memory);

static GString *calls;
static char exception[3];

/* An object is a string, whose memory this is. */
static const char *locked;
static gboolean has_no_memory;
static gpointer last_allocated;

int
PyGILState_Ensure (void)
{
  g_string_append (calls, "ensure ");
  return 42;
}

void
PyGILState_Release (int state)
{
  g_assert_cmpint (state, ==, 42);
  g_string_append (calls, "release ");
}

void
PyErr_Fetch (gpointer *type,
             gpointer *value,
             gpointer *traceback)
{
  g_string_append (calls, "fetch ");
  *type = &exception[0];
  *value = &exception[1];
  *traceback = &exception[2];
}

void
PyErr_Restore (gpointer type,
               gpointer value,
               gpointer traceback)
{
  g_string_append (calls, "restore ");
  g_assert_true (type == &exception[0]);
  g_assert_true (value == &exception[1]);
  g_assert_true (traceback == &exception[2]);
}

/* An empty string has none. */
int
PyObject_GetBuffer (gpointer object,
                    gpointer buffer,
                    int flags)
{
  struct
  {
    gpointer address;
    gpointer object;
    gssize size;
  } view = { object, object, strlen (object) };

  g_string_append (calls, "get ");
  g_assert_cmpint (flags, ==, 0);
  if (view.size == 0)
    return -1;

  memcpy (buffer, &view, sizeof view);
  locked = object;

  return 0;
}

void
PyBuffer_Release (gpointer buffer)
{
  g_string_append (calls, "buffer ");
  if (locked == NULL)
    g_assert_cmpstr (buffer, ==, "a Py_buffer");
  locked = NULL;
}

gpointer
PyMem_RawMalloc (gsize size)
{
  /* That of Python 3.0 and later, in bytes */
  g_assert_cmpuint (size, ==, 7 * sizeof (gpointer) + 2 * sizeof (gssize) + 2 * sizeof (int));
  last_allocated = has_no_memory ? NULL : g_malloc (size);
  return last_allocated;
}

void
PyMem_RawFree (gpointer memory)
{
  g_string_append (calls, "free");
  g_free (memory);
}

static void
test_release (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ZcioMemoryOwner) owner = NULL;
  char memory[10];
  GBytes *bytes;

  g_test_summary ("A buffer is released and freed with the interpreter's lock held, past a pending exception");

  calls = g_string_new (NULL);
  owner = zcio_memory_owner_new_for_python (&error);
  g_assert_no_error (error);
  bytes = zcio_memory_owner_wrap (owner, (guintptr) memory, sizeof memory,
                                  (guintptr) g_strdup ("a Py_buffer"));
  g_assert_cmpstr (calls->str, ==, "");
  g_bytes_unref (bytes);
  g_assert_cmpstr (calls->str, ==, "ensure fetch buffer restore release free");

  g_string_free (calls, TRUE);
}

static void
test_close (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ZcioMemoryOwner) owner = NULL;
  g_autofree char *buffer = g_strdup ("a Py_buffer");
  char memory[10];
  GBytes *bytes;

  g_test_summary ("Nothing is released after the owner was closed, not even what is locked then");

  calls = g_string_new (NULL);
  owner = zcio_memory_owner_new_for_python (&error);
  g_assert_no_error (error);
  bytes = zcio_memory_owner_wrap (owner, (guintptr) memory, sizeof memory, (guintptr) buffer);
  zcio_memory_owner_close (owner);
  g_bytes_unref (bytes);
  g_assert_cmpstr (calls->str, ==, "");

  bytes = zcio_memory_owner_wrap_object (owner, (guintptr) "an object", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (calls->str, ==, "ensure fetch get restore release ");
  g_string_truncate (calls, 0);
  g_bytes_unref (bytes);
  g_assert_cmpstr (calls->str, ==, "");
  locked = NULL;
  g_free (last_allocated);

  g_string_free (calls, TRUE);
}

static void
test_wrap_object (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ZcioMemoryOwner) owner = NULL;
  const char *object = "an object";
  GBytes *bytes;
  gsize size;

  g_test_summary ("An object is locked with the interpreter's lock held, until its last reference has gone");

  calls = g_string_new (NULL);
  owner = zcio_memory_owner_new_for_python (&error);
  g_assert_no_error (error);
  bytes = zcio_memory_owner_wrap_object (owner, (guintptr) object, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (calls->str, ==, "ensure fetch get restore release ");
  g_assert_true (g_bytes_get_data (bytes, &size) == object);
  g_assert_cmpuint (size, ==, strlen (object));
  g_assert_true (locked == object);

  g_string_truncate (calls, 0);
  g_bytes_unref (bytes);
  g_assert_cmpstr (calls->str, ==, "ensure fetch buffer restore release free");
  g_assert_null (locked);

  g_string_free (calls, TRUE);
}

static void
test_no_memory (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ZcioMemoryOwner) owner = NULL;

  g_test_summary ("An object whose memory cannot be had is an error, and nothing stays behind");

  calls = g_string_new (NULL);
  owner = zcio_memory_owner_new_for_python (&error);
  g_assert_no_error (error);
  g_assert_null (zcio_memory_owner_wrap_object (owner, (guintptr) "", &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_assert_cmpstr (calls->str, ==, "ensure fetch get restore release free");
  g_clear_error (&error);

  g_string_truncate (calls, 0);
  has_no_memory = TRUE;
  g_assert_null (zcio_memory_owner_wrap_object (owner, (guintptr) "an object", &error));
  has_no_memory = FALSE;
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_assert_cmpstr (calls->str, ==, "free");

  g_string_free (calls, TRUE);
}

static void
release_nothing (guint64 token,
                 gpointer user_data)
{
  g_assert_not_reached ();
}

static void
test_other_owner (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ZcioMemoryOwner) owner = zcio_memory_owner_new (release_nothing, NULL, NULL);
  g_autoptr (ZcioMemoryOwner) bare = g_object_new (ZCIO_TYPE_MEMORY_OWNER, NULL);

  g_test_summary ("An owner that is not Python's takes no objects");

  g_assert_null (zcio_memory_owner_wrap_object (owner, (guintptr) "an object", &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
  g_clear_error (&error);
  g_assert_null (zcio_memory_owner_wrap_object (bare, (guintptr) "an object", &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
}

static void
test_write_object (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ZcioMemoryOwner) owner = NULL;
  g_autoptr (ZcioSocketStream) stream = NULL;
  g_autoptr (GSocket) socket = NULL;
  g_autoptr (GSocket) peer = NULL;
  const char *object = "an object";
  gsize written = 5;
  char received[20];

  g_test_summary ("An object is sent, and locked until the kernel has released it");

  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 0, &socket, &peer))
    return;

  calls = g_string_new (NULL);
  stream = g_object_new (ZCIO_TYPE_SOCKET_STREAM, "socket", socket, "zero-copy-mode", ZCIO_ZERO_COPY_MODE_ALWAYS, NULL);
  owner = zcio_memory_owner_new_for_python (&error);
  g_assert_no_error (error);

  g_assert_true (zcio_memory_owner_write_object (owner, stream, (guintptr) object, &written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (written, ==, strlen (object));
  g_assert_cmpint (g_socket_receive (peer, received, sizeof received, NULL, &error), ==, strlen (object));
  g_assert_cmpmem (received, strlen (object), object, strlen (object));
  g_assert_true (zcio_socket_stream_drain (stream, 0, NULL, &error));
  g_assert_null (locked);

  g_assert_false (zcio_memory_owner_write_object (owner, stream, (guintptr) "", &written, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_assert_cmpuint (written, ==, 0);
  g_clear_error (&error);

  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (stream), NULL, &error));
  g_assert_false (zcio_memory_owner_write_object (owner, stream, (guintptr) object, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_assert_null (locked);

  g_string_free (calls, TRUE);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/memory-owner-python/release", test_release);
  g_test_add_func ("/memory-owner-python/close", test_close);
  g_test_add_func ("/memory-owner-python/wrap-object", test_wrap_object);
  g_test_add_func ("/memory-owner-python/no-memory", test_no_memory);
  g_test_add_func ("/memory-owner-python/other-owner", test_other_owner);
  g_test_add_func ("/memory-owner-python/write-object", test_write_object);

  return g_test_run ();
}
