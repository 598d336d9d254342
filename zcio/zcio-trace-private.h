/* zcio-trace-private.h - probes that tracers can attach to
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

/* ZCIO_TRACE (name, transmitter, a, b): a probe of the provider zcio, which costs one
 * instruction that does nothing while nobody traces.
 *
 * send: bytes accepted by zero-copy, sends in flight before it
 * notification: sends that it released, whether the kernel says it copied them
 * enobufs: bytes asked for, sends in flight
 * state: ZcioZeroCopyState, ZcioCopyReason
 */
#if HAVE_DTRACE
#include <sys/sdt.h>
#define ZCIO_TRACE(name, transmitter, a, b) DTRACE_PROBE3 (zcio, name, transmitter, a, b)
#else
#define ZCIO_TRACE(name, transmitter, a, b) \
  do                                        \
    {                                       \
    }                                       \
  while (0)
#endif
