/* zcio-file-window-private.h - a piece of a file, mapped to be read by the kernel alone
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* The most that is mapped at a time: few calls, and little that a stalled peer pins. */
#define ZCIO_FILE_WINDOW_SIZE ((gsize) 16 * 1024 * 1024)

/*
 * ZcioFileWindow:
 *
 * A mapping of a part of a file. Nothing but the kernel may read it: the file may be cut off
 * at any time, and then a page that is gone is an EFAULT for the kernel, but a SIGBUS for a
 * program. It may be freed while what was sent from it is in flight: the kernel holds the pages
 * themselves.
 */
typedef struct _ZcioFileWindow ZcioFileWindow;

/* Of the file, from @position on, at most @size bytes, and not beyond @end, where the file ends.
 * NULL, and errno, if it cannot be.
 */
ZcioFileWindow *zcio_file_window_new      (int              fd,
                                           goffset          position,
                                           gsize            size,
                                           goffset          end,
                                           guint64         *system_calls);
void            zcio_file_window_free     (ZcioFileWindow  *self);

/* Where @position is in memory, and how much of it there is in the window, which may be 0. */
gconstpointer   zcio_file_window_get      (ZcioFileWindow  *self,
                                           goffset          position,
                                           gsize           *size);
/* Sees to it that what is there of @size bytes is in memory; it may wait for the disk. FALSE
 * if that cannot be.
 */
gboolean        zcio_file_window_populate (ZcioFileWindow  *self,
                                           goffset          position,
                                           gsize            size,
                                           guint64         *system_calls);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ZcioFileWindow, zcio_file_window_free)

G_END_DECLS
