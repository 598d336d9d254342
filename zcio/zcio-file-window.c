/* zcio-file-window.c - a piece of a file, mapped to be read by the kernel alone
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-file-window-private.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "zcio-pool-memory-private.h"
#include "zcio-syscalls-private.h"

/* For a mapping that prefers huge pages the kernel reads two of them ahead
 * (do_sync_mmap_readahead ()). Who sends less than that of a file is not to wait for it.
 */
#define MIN_SIZE_FOR_HUGE_PAGES (2 * ZCIO_HUGE_PAGE_SIZE)

/*
 * ZcioFileWindow:
 * @start: where it begins in the file
 * @populated: how much of it, from the beginning of the last populating on, is in memory; what
 *   is before was sent already
 */
struct _ZcioFileWindow
{
  guint8 *data;
  gsize size;
  goffset start;
  gsize populated;
};

/* With larger pages than of 4 KiB, huge ones are so large that it takes long to read two. */
static gboolean
may_prefer_huge_pages (goffset size)
{
  gsize page_size = sysconf (_SC_PAGESIZE);

  return page_size * (page_size / 8) <= ZCIO_HUGE_PAGE_SIZE && size >= (goffset) MIN_SIZE_FOR_HUGE_PAGES;
}

/*
 * Where nothing else ends them, windows end at multiples of their size, so that a file's huge pages
 * can be mapped as such.
 */
ZcioFileWindow *
zcio_file_window_new (int      fd,
                      goffset  position,
                      gsize    size,
                      goffset  end,
                      guint64 *system_calls)
{
  goffset page_size = sysconf (_SC_PAGESIZE);
  goffset start = position / page_size * page_size;
  goffset limit = (position / (goffset) ZCIO_FILE_WINDOW_SIZE + 1) * (goffset) ZCIO_FILE_WINDOW_SIZE;
  ZcioFileWindow *self;
  gpointer data;

  g_assert (position >= 0 && position < end && size > 0);

  limit = MIN (limit, end);
  if (size < (guint64) (limit - position))
    limit = position + (goffset) size;
  size = limit - start;
  data = mmap (NULL, size, PROT_READ, MAP_SHARED, fd, start);
  (*system_calls)++;
  if (data == MAP_FAILED)
    return NULL;

  /* It will have to be unmapped, too. */
  (*system_calls)++;

  self = g_new0 (ZcioFileWindow, 1);
  self->data = data;
  self->size = size;
  self->start = start;

  /* To populate walks over each page; where none has to be waited for, the faults that
   * the send itself takes are cheaper.
   */
  if (zcio_syscalls_is_cached (fd, start, size))
    self->populated = size;
  else if (may_prefer_huge_pages (end - start))
    {
      /* What comes into memory now stays there for each time that the file is sent. A huge page is
       * one fault, where small ones are 32, and one piece for the socket.
       */
      zcio_syscalls_prefer_huge_pages (self->data, size);
      (*system_calls)++;
    }
  (*system_calls)++;

  return self;
}

void
zcio_file_window_free (ZcioFileWindow *self)
{
  munmap (self->data, self->size);
  g_free (self);
}

gconstpointer
zcio_file_window_get (ZcioFileWindow *self,
                      goffset         position,
                      gsize          *size)
{
  *size = 0;
  if (position < self->start || position - self->start >= (goffset) self->size)
    return NULL;

  *size = self->size - (gsize) (position - self->start);
  return self->data + (position - self->start);
}

gboolean
zcio_file_window_populate (ZcioFileWindow *self,
                           goffset         position,
                           gsize           size,
                           guint64        *system_calls)
{
  gsize page_mask = sysconf (_SC_PAGESIZE) - 1;
  gsize first = (gsize) (position - self->start);
  gsize last = MIN (first + size, self->size);
  int result;

  if (last <= self->populated)
    return TRUE;

  first = MAX (first, self->populated) & ~page_mask;
  do
    {
      result = zcio_syscalls_populate (self->data + first, last - first);
      (*system_calls)++;
    }
  while (result != 0 && (errno == EAGAIN || errno == EINTR));

  if (result == 0)
    self->populated = last;

  return result == 0;
}
