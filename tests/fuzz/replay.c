/* replay.c - feeds a fuzz target the inputs that are kept, as a plain test
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: replay-NAME [--tap] DIRECTORY
 */

#include "config.h"

#include "fuzz-private.h"

#include <stdlib.h>
#include <string.h>

static char *
read_input (const char *path,
            gsize      *size)
{
  char *data = NULL;
  GError *error = NULL;

  g_file_get_contents (path, &data, size, &error);
  g_assert_no_error (error);

  return data;
}

/* The input itself, and what is left of it when its end is cut off: in memory of just that
 * size, so that a sanitizer finds what is read behind it.
 */
static void
test_input (gconstpointer user_data)
{
  const char *path = user_data;
  gsize size;
  g_autofree char *data = read_input (path, &size);
  gsize step = MAX (size / 8, 1);

  g_test_summary ("An input that was once found to be of interest: nothing is wrong with it");

  for (gsize cut = 0; cut <= size; cut += step)
    {
      g_autofree guint8 *copy = g_memdup2 (data, size - cut);

      LLVMFuzzerTestOneInput (copy, size - cut);
    }
}

static int
compare_names (gconstpointer a,
               gconstpointer b)
{
  return strcmp (*(const char *const *) a, *(const char *const *) b);
}

static void
add_inputs (const char *directory)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *target = g_path_get_basename (directory);
  GError *error = NULL;
  GDir *dir = g_dir_open (directory, 0, &error);
  const char *name;

  g_assert_no_error (error);
  while ((name = g_dir_read_name (dir)) != NULL)
    g_ptr_array_add (names, g_strdup (name));
  g_dir_close (dir);
  g_assert_cmpuint (names->len, >, 0);

  g_ptr_array_sort (names, compare_names);
  for (guint i = 0; i < names->len; i++)
    {
      g_autofree char *test = g_strconcat ("/fuzz/", target, "/", names->pdata[i], NULL);

      g_test_add_data_func_full (test, g_build_filename (directory, names->pdata[i], NULL),
                                 test_input, g_free);
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  LLVMFuzzerInitialize (&argc, &argv);

  if (argc != 2)
    {
      g_printerr ("usage: %s DIRECTORY\n", argv[0]);
      return EXIT_FAILURE;
    }
  add_inputs (argv[1]);

  return g_test_run ();
}
