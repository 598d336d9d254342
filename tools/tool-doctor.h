/* tool-doctor.h - what zcio doctor looks at
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * ToolProbe:
 * @connected: whether a connection over loopback could be made
 * @accepted: whether a socket took SO_ZEROCOPY
 * @sent: whether a send by zero-copy was accepted
 * @notified: whether the library got that send's notification
 * @errsv: why not @connected, @accepted or @sent
 * @optmem_cost: what a send in flight takes of net.core.optmem_max; 0 if unknown
 *
 * What real sends over loopback tell.
 */
typedef struct
{
  gboolean connected;
  gboolean accepted;
  gboolean sent;
  gboolean notified;
  int errsv;
  guint optmem_cost;
} ToolProbe;

/*
 * ToolMemlock:
 * @limited: whether RLIMIT_MEMLOCK is in force for this process
 * @limit: the limit in bytes
 * @hard_limit: how far the user may raise it
 * @available: what is left of it, since it counts what all processes of the user
 *   have pinned
 */
typedef struct
{
  gboolean limited;
  guint64 limit;
  guint64 hard_limit;
  guint64 available;
} ToolMemlock;

void     tool_probe_run            (ToolProbe     *probe);
void     tool_probe_memlock        (ToolMemlock   *memlock);

/*
 * ToolRoute:
 * @local: whether the address is this host's own
 * @interface_index: where packets to it leave
 */
typedef struct
{
  gboolean local;
  int interface_index;
} ToolRoute;

gboolean tool_route_find           (GInetAddress  *address,
                                    ToolRoute     *route,
                                    GError       **error);

typedef struct
{
  char *driver;
  gboolean scatter_gather;
  gboolean checksum;
  gboolean tcp_segmentation;
  gboolean generic_segmentation;
} ToolInterface;

gboolean tool_interface_read       (const char    *name,
                                    ToolInterface *interface,
                                    GError       **error);
void     tool_interface_clear      (ToolInterface *interface);

/* Names of the interfaces but loopback that are up, or that are down. */
GPtrArray *tool_interfaces_list    (gboolean       up);

G_END_DECLS
