/* zcio-enums.h - the enumerations of the public API
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

#include <glib-object.h>

G_BEGIN_DECLS

/**
 * SECTION:zcio-enums
 * @title: Modes and states
 * @short_description: What a stream may do, and what it does
 *
 * A program says with #ZcioZeroCopyMode what it wants, and hears with #ZcioZeroCopyState
 * what it gets.
 *
 * Since: 1.0
 */

/**
 * ZcioZeroCopyMode:
 * @ZCIO_ZERO_COPY_MODE_AUTO: zero-copy where it pays: above a threshold, and
 *   not while the kernel copies after all
 * @ZCIO_ZERO_COPY_MODE_ALWAYS: zero-copy for every buffer that may be sent so,
 *   whatever its size; what the kernel refuses is still copied
 * @ZCIO_ZERO_COPY_MODE_NEVER: copy everything
 *
 * When a #ZcioSocketStream sends without copying. It only concerns the
 * `…_zerocopy` calls: those of #GOutputStream always copy.
 *
 * Since: 1.0
 */
typedef enum
{
  ZCIO_ZERO_COPY_MODE_AUTO,
  ZCIO_ZERO_COPY_MODE_ALWAYS,
  ZCIO_ZERO_COPY_MODE_NEVER
} ZcioZeroCopyMode;

/**
 * ZcioZeroCopyState:
 * @ZCIO_ZERO_COPY_STATE_ACTIVE: buffers that are large enough are sent without
 *   a copy
 * @ZCIO_ZERO_COPY_STATE_CONGESTED: the socket ran out of memory for
 *   notifications; copies until half of the sends in flight have returned
 * @ZCIO_ZERO_COPY_STATE_SUSPENDED: zero-copy does not pay or is held back by a
 *   limit; copies, and tries again now and then
 * @ZCIO_ZERO_COPY_STATE_UNSUPPORTED: the socket cannot do it; copies
 * @ZCIO_ZERO_COPY_STATE_OFF: #ZcioSocketStream:zero-copy-mode is
 *   %ZCIO_ZERO_COPY_MODE_NEVER; copies
 *
 * What a #ZcioSocketStream does with zero-copy writes at the moment;
 * zcio_socket_stream_describe() says why.
 *
 * Since: 1.0
 */
typedef enum
{
  ZCIO_ZERO_COPY_STATE_ACTIVE,
  ZCIO_ZERO_COPY_STATE_CONGESTED,
  ZCIO_ZERO_COPY_STATE_SUSPENDED,
  ZCIO_ZERO_COPY_STATE_UNSUPPORTED,
  ZCIO_ZERO_COPY_STATE_OFF
} ZcioZeroCopyState;

G_END_DECLS
