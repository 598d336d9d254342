/* wire-private.h - the parts of zcio-wire
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

#include "wire-flow.h"

G_BEGIN_DECLS

#define WIRE_SENDER_INTERFACE "zcio-send"
#define WIRE_SINK_INTERFACE "zcio-sink"

/* What the program exits with when it is not COMMAND that failed. Meson takes
 * the first for a skipped test. */
#define WIRE_EXIT_LACKING 77
#define WIRE_EXIT_FAILED 125
#define WIRE_EXIT_NOT_EXECUTABLE 126
#define WIRE_EXIT_NOT_FOUND 127

#define WIRE_ERROR (wire_error_quark ())

/**
 * WireError:
 * @WIRE_ERROR_LACKING: this machine or user cannot have a wire
 * @WIRE_ERROR_FAILED: it should have worked
 */
typedef enum
{
  WIRE_ERROR_LACKING,
  WIRE_ERROR_FAILED
} WireError;

GQuark wire_error_quark (void);
void wire_set_error_from_errno (GError     **error,
                                const char  *doing,
                                int          errsv);

/**
 * WireOptions:
 * @interval: how often to look for new segments, in microseconds
 * @delay: how long each ACK is held back, in microseconds
 * @loss: how many ACKs of a hundred are lost
 * @reorder: how many ACKs of a hundred are overtaken by later ones
 * @seed: where the random numbers start
 * @optmem: net.core.optmem_max of the sender, or 0 to leave it
 * @statistics: whether to tell at the end what was done
 */
typedef struct
{
  int interval;
  int delay;
  double loss;
  double reorder;
  int seed;
  int optmem;
  gboolean statistics;
} WireOptions;

/* wire-namespaces.c */
gboolean wire_enter_mounts (GError **error);
gboolean wire_set_up_namespaces (const WireOptions  *options,
                                 int                *sink_namespace,
                                 GError            **error);

/* wire-sink.c */
typedef struct _WireSink WireSink;

WireSink *wire_sink_new (const WireOptions  *options,
                         GError            **error);
gboolean wire_sink_run (WireSink  *sink,
                        int        stop_fd,
                        GError   **error);
void wire_sink_free (WireSink *sink);

/* wire-acks.c */
typedef struct _WireAcks WireAcks;

WireAcks *wire_acks_new (const WireOptions  *options,
                         GError            **error);
void wire_acks_add (WireAcks *acks,
                    guint16   port,
                    guint32   sequence,
                    guint32   acknowledged,
                    gboolean  fin,
                    gint64    now);
gboolean wire_acks_send (WireAcks  *acks,
                         gint64     now,
                         gint64    *next,
                         GError   **error);
void wire_acks_get_counts (WireAcks *acks,
                           guint64  *sent,
                           guint64  *lost,
                           guint64  *reordered);
void wire_acks_free (WireAcks *acks);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (WireAcks, wire_acks_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (WireSink, wire_sink_free)

G_END_DECLS
