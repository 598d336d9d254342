/* files.c - sends a part of a file from its page cache
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common.h"

/* splice { */
static gboolean
send_file (ZcioSocketStream *stream, GFile *file, goffset from, GError **error)
{
  g_autoptr (GFileInputStream) input = g_file_read (file, NULL, error);

  if (input == NULL || !g_seekable_seek (G_SEEKABLE (input), from, G_SEEK_SET, NULL, error))
    return FALSE;

  return g_output_stream_splice (G_OUTPUT_STREAM (stream), G_INPUT_STREAM (input),
                                 G_OUTPUT_STREAM_SPLICE_NONE, NULL, error) >= 0;
}
/* } splice */

int
main (int argc, char **argv)
{
  g_autoptr (GSocketConnection) connection = connect_to (argv);
  g_autoptr (GFileIOStream) io = NULL;
  g_autoptr (GFile) file = g_file_new_tmp (NULL, &io, NULL);
  g_autofree char *zeros = g_malloc0 (8 << 20);
  g_autoptr (ZcioStatistics) statistics = NULL;
  GError *error = NULL;

  check (g_file_replace_contents (file, zeros, 8 << 20, NULL, FALSE, G_FILE_CREATE_NONE,
                                  NULL, NULL, &error), error);
  check (send_file (get_stream (connection), file, 1 << 20, &error), error);
  g_file_delete (file, NULL, NULL);

  statistics = zcio_socket_stream_get_statistics (get_stream (connection));
  g_print ("%" G_GUINT64_FORMAT " bytes without reading them\n", statistics->spliced_bytes);
  check (g_io_stream_close (G_IO_STREAM (connection), NULL, &error), error);
  return 0;
}
