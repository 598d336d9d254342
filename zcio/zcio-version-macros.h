/* zcio-version-macros.h - which API a program asks for
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

#include <zcio/zcio-version.h>

#ifndef _ZCIO_EXTERN
#define _ZCIO_EXTERN __attribute__ ((visibility ("default"))) extern
#endif

/**
 * SECTION:zcio-version-macros
 * @title: Versions
 * @short_description: Which version it is, and which one a program asks for
 *
 * What a program is compiled against, as numbers; and two macros by which it says to the
 * compiler which versions of zcio it is meant for, as with %GLIB_VERSION_MIN_REQUIRED and
 * %GLIB_VERSION_MAX_ALLOWED.
 *
 * Since: 1.0
 */

/**
 * ZCIO_VERSION_1_0:
 *
 * The first stable version, for use in %ZCIO_VERSION_MIN_REQUIRED and
 * %ZCIO_VERSION_MAX_ALLOWED.
 *
 * Since: 1.0
 */
#define ZCIO_VERSION_1_0 (G_ENCODE_VERSION (1, 0))

/* Each new minor version adds a symbol like the one above, a block like the one
 * for 1.0 below, and its own ZCIO_AVAILABLE_IN_1_x.
 */

#if ZCIO_MINOR_VERSION == 99
#define ZCIO_VERSION_CURRENT_STABLE (G_ENCODE_VERSION (ZCIO_MAJOR_VERSION + 1, 0))
#else
#define ZCIO_VERSION_CURRENT_STABLE (G_ENCODE_VERSION (ZCIO_MAJOR_VERSION, ZCIO_MINOR_VERSION))
#endif

/**
 * ZCIO_VERSION_MIN_REQUIRED:
 *
 * The oldest version whose deprecated symbols the compiler warns about. A
 * program may define it before it includes `<zcio/zcio.h>`.
 *
 * Since: 1.0
 */
#ifndef ZCIO_VERSION_MIN_REQUIRED
#define ZCIO_VERSION_MIN_REQUIRED ZCIO_VERSION_CURRENT_STABLE
#endif

/**
 * ZCIO_VERSION_MAX_ALLOWED:
 *
 * The newest version whose symbols a program uses; the compiler warns about
 * newer ones. A program may define it before it includes `<zcio/zcio.h>`.
 *
 * Since: 1.0
 */
#ifndef ZCIO_VERSION_MAX_ALLOWED
#define ZCIO_VERSION_MAX_ALLOWED ZCIO_VERSION_CURRENT_STABLE
#endif

#define ZCIO_AVAILABLE_IN_ALL _ZCIO_EXTERN

#if ZCIO_VERSION_MIN_REQUIRED >= ZCIO_VERSION_1_0
#define ZCIO_DEPRECATED_IN_1_0 _ZCIO_EXTERN G_DEPRECATED
#define ZCIO_DEPRECATED_IN_1_0_FOR(f) _ZCIO_EXTERN G_DEPRECATED_FOR (f)
#else
#define ZCIO_DEPRECATED_IN_1_0 _ZCIO_EXTERN
#define ZCIO_DEPRECATED_IN_1_0_FOR(f) _ZCIO_EXTERN
#endif

#if ZCIO_VERSION_MAX_ALLOWED < ZCIO_VERSION_1_0
#define ZCIO_AVAILABLE_IN_1_0 _ZCIO_EXTERN G_UNAVAILABLE (1, 0)
#else
#define ZCIO_AVAILABLE_IN_1_0 _ZCIO_EXTERN
#endif
