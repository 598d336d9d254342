/* zcio-completion-source-private.h - a GSource for completions
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-socket-stream.h"
#include "zcio-transmitter-private.h"

G_BEGIN_DECLS

GSource *zcio_completion_source_new (ZcioSocketStream *stream,
                                     ZcioTransmitter  *transmitter,
                                     int               reaper_priority,
                                     GCancellable     *cancellable);

G_END_DECLS
