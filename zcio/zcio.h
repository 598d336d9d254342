/* zcio.h - the header that programs include
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#define ZCIO_INSIDE

#include <zcio/zcio-version-macros.h>
#include <zcio/zcio-version.h>
#include <zcio/zcio-enums.h>
#include <zcio/zcio-enum-types.h>
#include <zcio/zcio-statistics.h>
#include <zcio/zcio-socket-stream.h>
#include <zcio/zcio-tcp-connection.h>
#include <zcio/zcio-buffer-pool.h>
#include <zcio/zcio-memory-owner.h>

#undef ZCIO_INSIDE
