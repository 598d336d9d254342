/* fault-network.h - two hosts and the wire between them, made of network namespaces
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <zcio/zcio.h>

#include "../test-util.h"

G_BEGIN_DECLS

typedef enum
{
  ZCIO_FAULT_NEEDS_NOTHING = 0,
  ZCIO_FAULT_NEEDS_TBF = 1 << 0,
  ZCIO_FAULT_NEEDS_HTB = 1 << 1,
  ZCIO_FAULT_NEEDS_NETEM = 1 << 2,
  ZCIO_FAULT_NEEDS_XDP = 1 << 3
} ZcioFaultNeeds;

/* Like zcio_test_in_namespace(), but also tries first whether there are the programs and
 * the parts of the kernel that such a test needs; else it skips the test and says why.
 */
gboolean zcio_fault_begin          (int              optmem_max,
                                    ZcioFaultNeeds   needs);

/* The sender is this namespace, with the interface zcio-a, the addresses 192.0.2.1 and
 * 2001:db8::1; the receiver has zcio-b, 192.0.2.2 and 2001:db8::2.
 */
typedef enum
{
  ZCIO_FAULT_SENDER,
  ZCIO_FAULT_RECEIVER
} ZcioFaultSide;

#define ZCIO_FAULT_RECEIVER_LINK_ADDRESS "02:00:00:00:00:02"

typedef struct _ZcioFaultNetwork ZcioFaultNetwork;

ZcioFaultNetwork *zcio_fault_network_new  (void);
void     zcio_fault_network_free   (ZcioFaultNetwork *network);
/* Runs a program (ip, tc) there; the test fails if it does. */
void     zcio_fault_run            (ZcioFaultNetwork *network,
                                    ZcioFaultSide     side,
                                    const char       *format,
                                    ...) G_GNUC_PRINTF (3, 4);
void     zcio_fault_connect        (ZcioFaultNetwork *network,
                                    ZcioTestFamily    family,
                                    GSocket         **socket,
                                    GSocket         **peer);
/* A packet socket that sees all that passes the interface, until it is closed. */
int      zcio_fault_open_tap       (ZcioFaultNetwork *network,
                                    ZcioFaultSide     side);
/* Lets the receiver's interface pass each packet through a program: the kernel then takes
 * the data without the flag that says that it copied.
 */
void     zcio_fault_attach_xdp     (ZcioFaultNetwork *network);

/* A stream whose peer reads the pattern. */
typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
  guint64 position;
  gint n_buffers;
  gint released;
} ZcioFaultTransfer;

void     zcio_fault_transfer_begin (ZcioFaultTransfer   *transfer,
                                    ZcioFaultNetwork    *network,
                                    ZcioTestFamily       family,
                                    ZcioZeroCopyMode     mode,
                                    ZcioTestReaderFlags  flags);
/* The same over a connection that is there. */
void     zcio_fault_transfer_begin_with (ZcioFaultTransfer   *transfer,
                                         GSocket             *socket,
                                         GSocket             *peer,
                                         ZcioZeroCopyMode     mode,
                                         ZcioTestReaderFlags  flags);
void     zcio_fault_transfer_write (ZcioFaultTransfer   *transfer,
                                    gsize                size);
/* Writes without waiting until the socket takes no more; *bytes counts what it took. */
void     zcio_fault_transfer_fill  (ZcioFaultTransfer   *transfer,
                                    gsize                size);
void     zcio_fault_transfer_drain (ZcioFaultTransfer   *transfer);
/* Closes the stream; all bytes must have arrived and all buffers been released. */
void     zcio_fault_transfer_end   (ZcioFaultTransfer   *transfer);

/* However large; else the kernel may take less of the first writes than they have. */
void     zcio_fault_set_send_buffer     (GSocket *socket,
                                         int      size);
/* How many segments of the connection were sent again; how often in a row the oldest was. */
guint    zcio_fault_get_retransmissions (GSocket *socket);
guint    zcio_fault_get_backoff         (GSocket *socket);

G_END_DECLS
