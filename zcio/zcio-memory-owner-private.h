/* zcio-memory-owner-private.h - what the owners of a language share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-memory-owner.h"

G_BEGIN_DECLS

gpointer zcio_memory_owner_get_data (ZcioMemoryOwner       *self,
                                     ZcioMemoryReleaseFunc  release);

G_END_DECLS
