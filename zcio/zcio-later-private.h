/* zcio-later-private.h - calls back from a main loop, soon
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib-object.h>

G_BEGIN_DECLS

typedef void (*ZcioLaterFunc) (gpointer object);

/*
 * ZcioLater:
 *
 * One call that is to come; a part of the object that it is for, so that nothing need be
 * allocated.
 */
typedef struct
{
  GList link;
  ZcioLaterFunc func;
} ZcioLater;

/* Calls @func from @context's loop with the reference to @object that the caller gives; or drops
 * it without a call, if the context goes before. Any thread that has a reference to the context
 * may ask for it. In the context's own thread @func is never called before the function returns,
 * nor before what is being called has returned, unless that runs the loop in turn.
 */
void zcio_later_call (ZcioLater     *later,
                      GMainContext  *context,
                      int            priority,
                      ZcioLaterFunc  func,
                      gpointer       object);

G_END_DECLS
