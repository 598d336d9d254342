/* zcio-words-private.h - GIO's own words for errors, so that they are translated like GIO's
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

/* Looked up among GLib's translations. */
#define ZCIO_GIO_(words) (g_dgettext (GETTEXT_PACKAGE_GLIB, ZCIO_WORDS_##words))

#define ZCIO_WORDS_SOCKET_CLOSED "Socket is already closed"
#define ZCIO_WORDS_SOCKET_TIMED_OUT "Socket I/O timed out"
#define ZCIO_WORDS_STREAM_CLOSED "Stream is already closed"
#define ZCIO_WORDS_STREAM_PENDING "Stream has outstanding operation"
#define ZCIO_WORDS_TOO_MUCH_VECTORS "Sum of vectors passed to %s too large"
#define ZCIO_WORDS_TOO_LARGE "Too large count value passed to %s"
#define ZCIO_WORDS_SENDING_DATA "Error sending data: %s"
#define ZCIO_WORDS_SENDING_MESSAGE "Error sending message: %s"
#define ZCIO_WORDS_WAITING "Waiting for socket condition: %s"
