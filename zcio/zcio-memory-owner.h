/* zcio-memory-owner.h - GBytes over memory that belongs to another language
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(ZCIO_INSIDE) && !defined(ZCIO_COMPILATION)
#error "Only <zcio/zcio.h> can be included directly."
#endif

#include <gio/gio.h>
#include <zcio/zcio-socket-stream.h>
#include <zcio/zcio-version-macros.h>

G_BEGIN_DECLS

#define ZCIO_TYPE_MEMORY_OWNER (zcio_memory_owner_get_type ())

ZCIO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ZcioMemoryOwner, zcio_memory_owner, ZCIO, MEMORY_OWNER, GObject)

/**
 * ZcioMemoryReleaseFunc:
 * @token: what was given to zcio_memory_owner_wrap()
 * @user_data: data given to zcio_memory_owner_new()
 *
 * Called once for each #GBytes of zcio_memory_owner_wrap(), when its last
 * reference has gone, in whichever thread that was; never after
 * zcio_memory_owner_close().
 *
 * Since: 1.0
 */
typedef void (*ZcioMemoryReleaseFunc) (guint64  token,
                                       gpointer user_data);

ZCIO_AVAILABLE_IN_1_0
ZcioMemoryOwner *zcio_memory_owner_new (ZcioMemoryReleaseFunc release,
                                        gpointer              user_data,
                                        GDestroyNotify        notify) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
ZcioMemoryOwner *zcio_memory_owner_new_for_python (GError **error) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
GBytes *zcio_memory_owner_wrap (ZcioMemoryOwner *owner,
                                guintptr         address,
                                gsize            size,
                                guint64          token) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
GBytes *zcio_memory_owner_wrap_object (ZcioMemoryOwner  *owner,
                                       guintptr          object,
                                       GError          **error) G_GNUC_WARN_UNUSED_RESULT;
ZCIO_AVAILABLE_IN_1_0
gboolean zcio_memory_owner_write_object (ZcioMemoryOwner   *owner,
                                         ZcioSocketStream  *stream,
                                         guintptr           object,
                                         gsize             *bytes_written,
                                         GCancellable      *cancellable,
                                         GError           **error);
ZCIO_AVAILABLE_IN_1_0
void zcio_memory_owner_close (ZcioMemoryOwner *owner);

G_END_DECLS
