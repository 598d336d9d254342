/* test-memory-owner-python.c - tests of releasing memory of Python objects
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <zcio/zcio.h>

/* The interpreter is played by these: the program exports them. */
int PyGILState_Ensure (void);
void PyGILState_Release (int state);
void PyErr_Fetch (gpointer *type, gpointer *value, gpointer *traceback);
void PyErr_Restore (gpointer type, gpointer value, gpointer traceback);
void PyBuffer_Release (gpointer buffer);
void PyMem_RawFree (gpointer memory);

static GString *calls;
static char exception[3];

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

void
PyBuffer_Release (gpointer buffer)
{
  g_string_append (calls, "buffer ");
  g_assert_cmpstr (buffer, ==, "a Py_buffer");
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

  g_test_summary ("Nothing is called after the owner was closed");

  calls = g_string_new (NULL);
  owner = zcio_memory_owner_new_for_python (&error);
  g_assert_no_error (error);
  bytes = zcio_memory_owner_wrap (owner, (guintptr) memory, sizeof memory, (guintptr) buffer);
  zcio_memory_owner_close (owner);
  g_bytes_unref (bytes);
  g_assert_cmpstr (calls->str, ==, "");

  g_string_free (calls, TRUE);
}

int
main (int argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/memory-owner-python/release", test_release);
  g_test_add_func ("/memory-owner-python/close", test_close);

  return g_test_run ();
}
