/* benchmark-memory.c - what is sent: blocks of memory, and a file
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "benchmark-private.h"

/* Headers and the like, which are needed beside a large area */
#define SMALL_AREA ((gsize) 4096)

G_DEFINE_QUARK (benchmark-error-quark, benchmark_error)

void
benchmark_set_error_from_errno (GError     **error,
                                const char  *doing,
                                int          errsv)
{
  gboolean lacking = errsv == EPERM || errsv == ENOSYS || errsv == EOPNOTSUPP;

  g_set_error (error, BENCHMARK_ERROR, lacking ? BENCHMARK_ERROR_LACKING : BENCHMARK_ERROR_FAILED,
               "Could not %s: %s", doing, g_strerror (errsv));
}

/* Huge pages would make zero-copy cheaper than most programs will see it. */
static BenchmarkMemory *
benchmark_memory_new (gsize size,
                      gsize block_size)
{
  BenchmarkMemory *memory = g_new0 (BenchmarkMemory, 1);
  gpointer data;

  memory->size = size;
  memory->n_blocks = (guint) (size / block_size);
  memory->blocks = g_new0 (BenchmarkBlock, memory->n_blocks);

  data = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    g_error ("No %" G_GSIZE_FORMAT " bytes of memory: %s", size, g_strerror (errno));
  madvise (data, size, MADV_NOHUGEPAGE);
  memset (data, 'z', size);
  memory->data = data;

  for (guint i = 0; i < memory->n_blocks; i++)
    {
      BenchmarkBlock *block = &memory->blocks[i];

      block->data = memory->data + i * block_size;
      block->size = block_size;
      block->bytes = g_bytes_new_static (block->data, block->size);
    }

  return memory;
}

static void
benchmark_memory_free (BenchmarkMemory *memory)
{
  for (guint i = 0; i < memory->n_blocks; i++)
    g_bytes_unref (memory->blocks[i].bytes);
  g_free (memory->blocks);
  munmap (memory->data, memory->size);
  g_free (memory);
}

/* All contenders of a group send the very same pages. Whether pages are neighbours in physical
 * memory decides how many the kernel puts into one fragment, so that with pages of its
 * own each would be lucky or not, whatever it does. */
const BenchmarkMemory *
benchmark_memory_get (gsize size,
                      gsize block_size)
{
  static BenchmarkMemory *kept[2];
  BenchmarkMemory **place = &kept[size <= SMALL_AREA];

  if (*place != NULL && (*place)->size == size && (*place)->blocks[0].size == block_size)
    return *place;

  g_clear_pointer (place, benchmark_memory_free);
  *place = benchmark_memory_new (size, block_size);

  return *place;
}

int
benchmark_memory_open_file (gsize    size,
                            gsize    piece,
                            GError **error)
{
  g_autofree char *name = NULL;
  g_autofree char *block = g_malloc (piece);
  int fd;

  fd = g_file_open_tmp ("zcio-benchmark-XXXXXX", &name, error);
  if (fd < 0)
    return -1;
  g_unlink (name);

  memset (block, 'z', piece);
  for (gsize done = 0; done < size;)
    {
      gssize n = write (fd, block, MIN (size - done, piece));

      if (n < 0)
        {
          benchmark_set_error_from_errno (error, "write a file", errno);
          close (fd);
          return -1;
        }
      done += (gsize) n;
    }

  return fd;
}
