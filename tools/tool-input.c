/* tool-input.c - files, pipes and standard input as pieces of memory
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
#include <gio/gunixinputstream.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file is mapped a part at a time, so that its size does not matter. */
#define WINDOW_SIZE ((gsize) 64 * 1024 * 1024)
/* A pipe does not give more at once, unless somebody has made it larger. */
#define PIPE_SIZE ((gsize) 64 * 1024)

struct _ToolInput
{
  char *name;
  int fd;
  gboolean regular;
  guint64 size;
  GInputStream *stream;
};

static void
set_input_error (ToolInput  *input,
                 int         errsv,
                 GError    **error)
{
  g_set_error (error, TOOL_ERROR, TOOL_EXIT_INPUT,
               "Cannot read “%s”: %s", input->name, g_strerror (errsv));
}

ToolInput *
tool_input_open (const char *name,
                 GError    **error)
{
  gboolean standard = strcmp (name, "-") == 0;
  g_autoptr (ToolInput) input = g_new0 (ToolInput, 1);
  struct stat status;

  input->name = standard ? g_strdup ("standard input") : g_filename_display_name (name);
  input->fd = standard ? STDIN_FILENO : open (name, O_RDONLY | O_CLOEXEC);
  if (input->fd < 0 || fstat (input->fd, &status) < 0)
    {
      set_input_error (input, errno, error);
      return NULL;
    }
  if (S_ISDIR (status.st_mode))
    {
      set_input_error (input, EISDIR, error);
      return NULL;
    }

  /* What stands at the standard input may have been read in part. */
  input->regular = S_ISREG (status.st_mode) && !standard;
  if (input->regular)
    input->size = (guint64) status.st_size;

  if (input->regular)
    {
      /* By its number, so that it is this very file and GIO knows it as one. */
      g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d", input->fd);
      g_autoptr (GFile) file = g_file_new_for_path (path);

      input->stream = G_INPUT_STREAM (g_file_read (file, NULL, error));
      tool_error_wrap (error, TOOL_EXIT_INPUT, "Cannot read “%s”", input->name);
      if (input->stream == NULL)
        return NULL;
    }
  else
    {
      input->stream = g_unix_input_stream_new (input->fd, FALSE);
    }

  return g_steal_pointer (&input);
}

void
tool_input_free (ToolInput *input)
{
  g_clear_object (&input->stream);
  if (input->fd > STDIN_FILENO)
    close (input->fd);
  g_free (input->name);
  g_free (input);
}

const char *
tool_input_get_name (ToolInput *input)
{
  return input->name;
}

/* FALSE if it is no regular file: then nobody knows. */
gboolean
tool_input_get_size (ToolInput *input,
                     guint64   *size)
{
  *size = input->size;
  return input->regular;
}

GInputStream *
tool_input_get_stream (ToolInput *input)
{
  return input->stream;
}

/* Each read becomes a piece of its own: nothing waits for a full buffer. */
gboolean
tool_input_read (ToolInput    *input,
                 gsize         size,
                 ToolInputFunc func,
                 gpointer      user_data,
                 GCancellable *cancellable,
                 GError      **error)
{
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (input->regular ? size : MIN (size, PIPE_SIZE));

  while (TRUE)
    {
      g_autoptr (ZcioBuffer) buffer = zcio_buffer_pool_acquire (pool, error);
      g_autoptr (GBytes) bytes = NULL;
      gsize room;
      gpointer data;
      gssize n;

      if (buffer == NULL)
        return FALSE;

      data = zcio_buffer_get_data (buffer, &room);
      n = g_input_stream_read (input->stream, data, room, cancellable, error);
      if (n <= 0)
        {
          tool_error_wrap (error, TOOL_EXIT_INPUT, "Cannot read “%s”", input->name);
          return n == 0;
        }

      bytes = zcio_buffer_to_bytes (buffer, (gsize) n);
      if (!func (bytes, user_data, error))
        return FALSE;
    }
}

typedef struct
{
  void *data;
  gsize size;
} ToolWindow;

static void
window_free (gpointer data)
{
  ToolWindow *window = data;

  munmap (window->data, window->size);
  g_free (window);
}

static GBytes *
map_window (ToolInput *input,
            guint64    offset,
            gsize      size,
            GError   **error)
{
  ToolWindow *window;
  void *data = mmap (NULL, size, PROT_READ, MAP_SHARED, input->fd, (off_t) offset);

  if (data == MAP_FAILED)
    {
      set_input_error (input, errno, error);
      return NULL;
    }
  madvise (data, size, MADV_SEQUENTIAL);

  window = g_new (ToolWindow, 1);
  window->data = data;
  window->size = size;
  return g_bytes_new_with_free_func (data, size, window_free, window);
}

gboolean
tool_input_map (ToolInput    *input,
                gsize         size,
                ToolInputFunc func,
                gpointer      user_data,
                GCancellable *cancellable,
                GError      **error)
{
  g_return_val_if_fail (input->regular, FALSE);

  for (guint64 offset = 0; offset < input->size; offset += WINDOW_SIZE)
    {
      gsize window_size = (gsize) MIN (WINDOW_SIZE, input->size - offset);
      g_autoptr (GBytes) window = map_window (input, offset, window_size, error);

      if (window == NULL)
        return FALSE;

      for (gsize used = 0; used < window_size; used += size)
        {
          g_autoptr (GBytes) bytes = g_bytes_new_from_bytes (window, used, MIN (size, window_size - used));

          if (g_cancellable_set_error_if_cancelled (cancellable, error)
              || !func (bytes, user_data, error))
            return FALSE;
        }
    }

  return TRUE;
}

gboolean
tool_input_check_size (ToolInput *input,
                       GError   **error)
{
  struct stat status;

  if (!input->regular || fstat (input->fd, &status) < 0 || (guint64) status.st_size >= input->size)
    return TRUE;

  g_set_error (error, TOOL_ERROR, TOOL_EXIT_INPUT,
               "“%s” became shorter while it was sent", input->name);
  return FALSE;
}
