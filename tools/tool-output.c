/* tool-output.c - where received bytes go: whole files, pipes, devices
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gunixoutputstream.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often to look whether somebody reads a FIFO, in microseconds. */
#define FIFO_INTERVAL (20 * G_TIME_SPAN_MILLISECOND)

struct _ToolOutput
{
  char *name;
  char *path;
  char *beside;
  int fd;
  GOutputStream *stream;
};

static void
set_output_error (ToolOutput *output,
                  int         errsv,
                  GError    **error)
{
  g_set_error (error, TOOL_ERROR, TOOL_EXIT_OUTPUT,
               "Cannot write “%s”: %s", output->name, g_strerror (errsv));
}

/* There is no way to read the mask without setting it, for all threads. */
static mode_t
get_file_mode (void)
{
  static gsize mode = 0;

  if (g_once_init_enter (&mode))
    {
      mode_t mask = umask (0);

      umask (mask);
      g_once_init_leave (&mode, 01000 | (0666 & ~mask));
    }

  return mode & 0777;
}

/* A new file in the directory of the one that it will become. */
static int
open_beside (ToolOutput *output)
{
  g_autofree char *directory = g_path_get_dirname (output->path);
  g_autofree char *base = g_path_get_basename (output->path);
  g_autofree char *name = g_strdup_printf (".%.200s.XXXXXX", base);
  struct stat status;
  mode_t mode = get_file_mode ();
  int fd;

  if (stat (output->path, &status) == 0)
    mode = status.st_mode & 0777;

  output->beside = g_build_filename (directory, name, NULL);
  fd = g_mkstemp_full (output->beside, O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0)
    g_clear_pointer (&output->beside, g_free);
  else if (fchmod (fd, mode) < 0)
    g_debug ("Cannot set the mode of “%s”: %s", output->beside, g_strerror (errno));

  return fd;
}

/* A pipe of which nobody reads must not keep the program from ending, so no call waits for it
 * but in a poll. Others may share the standard output's flags: it is opened anew, if it can be.
 */
static int
open_standard_output (void)
{
  struct stat status;
  int fd = -1;

  if (fstat (STDOUT_FILENO, &status) == 0 && S_ISFIFO (status.st_mode))
    fd = open ("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

  return fd >= 0 ? fd : STDOUT_FILENO;
}

/* Waits until somebody reads. */
static int
open_fifo (const char   *path,
           GCancellable *cancellable)
{
  int fd;

  do
    fd = open (path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  while (fd < 0 && errno == ENXIO && tool_wait (FIFO_INTERVAL, cancellable));

  return fd;
}

ToolOutput *
tool_output_open (const char   *name,
                  GCancellable *cancellable,
                  GError      **error)
{
  g_autoptr (ToolOutput) output = g_new0 (ToolOutput, 1);
  struct stat status;

  if (strcmp (name, "-") == 0)
    {
      output->name = g_strdup ("standard output");
      output->fd = open_standard_output ();
      output->stream = g_unix_output_stream_new (output->fd, FALSE);
      return g_steal_pointer (&output);
    }

  output->name = g_filename_display_name (name);
  /* Through a symbolic link, as a shell's “>” does. */
  output->path = realpath (name, NULL);
  if (output->path == NULL)
    output->path = g_strdup (name);

  if (stat (output->path, &status) == 0 && S_ISDIR (status.st_mode))
    {
      output->fd = -1;
      errno = EISDIR;
    }
  else if (stat (output->path, &status) == 0 && S_ISFIFO (status.st_mode))
    {
      output->fd = open_fifo (output->path, cancellable);
      if (output->fd < 0 && g_cancellable_set_error_if_cancelled (cancellable, error))
        return NULL;
    }
  else if (stat (output->path, &status) == 0 && !S_ISREG (status.st_mode))
    {
      output->fd = open (output->path, O_WRONLY | O_CLOEXEC);
    }
  else
    {
      output->fd = open_beside (output);
    }

  if (output->fd < 0)
    {
      set_output_error (output, errno, error);
      return NULL;
    }
  output->stream = g_unix_output_stream_new (output->fd, FALSE);

  return g_steal_pointer (&output);
}

gboolean
tool_output_write (ToolOutput   *output,
                   const void   *data,
                   gsize         size,
                   GCancellable *cancellable,
                   GError      **error)
{
  g_autoptr (GError) local_error = NULL;

  if (g_output_stream_write_all (output->stream, data, size, NULL, cancellable, &local_error))
    return TRUE;

  if (g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_NO_SPACE))
    set_output_error (output, ENOSPC, error);
  else if (g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE))
    set_output_error (output, EPIPE, error);
  else
    {
      g_propagate_error (error, g_steal_pointer (&local_error));
      tool_error_wrap (error, TOOL_EXIT_OUTPUT, "Cannot write “%s”", output->name);
    }
  return FALSE;
}

/* The bytes reach the disk before the name does: after a power cut too, what has
 * the name is whole.
 */
gboolean
tool_output_finish (ToolOutput *output,
                    GError    **error)
{
  if (output->beside == NULL)
    return TRUE;

  if (fsync (output->fd) < 0
      || close (g_steal_fd (&output->fd)) < 0
      || g_rename (output->beside, output->path) < 0)
    {
      set_output_error (output, errno, error);
      return FALSE;
    }
  g_clear_pointer (&output->beside, g_free);

  return TRUE;
}

void
tool_output_free (ToolOutput *output)
{
  g_clear_object (&output->stream);
  if (output->fd > STDERR_FILENO)
    close (output->fd);
  if (output->beside != NULL)
    g_unlink (output->beside);
  g_free (output->beside);
  g_free (output->path);
  g_free (output->name);
  g_free (output);
}
