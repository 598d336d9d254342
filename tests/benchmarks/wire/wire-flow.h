/* wire-flow.h - what the packet filter and the wire's program share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <linux/types.h>

/* The addresses are those that RFC 2544 sets aside for benchmarks. Both ends
 * live in namespaces of their own, so the port needs no choosing. */
#define WIRE_SENDER_ADDRESS 0xc6120001 /* 198.18.0.1 */
#define WIRE_SINK_ADDRESS 0xc6120002   /* 198.18.0.2 */
#define WIRE_PORT 5001

#define WIRE_SENDER_MAC { 0x02, 0x7a, 0x63, 0x69, 0x6f, 0x01 }
#define WIRE_SINK_MAC { 0x02, 0x7a, 0x63, 0x69, 0x6f, 0x02 }

/* Ethernet, IPv4 and TCP without options */
#define WIRE_HEADERS_SIZE 54

/* A slot for every port that the sender may choose, so that none is shared */
#define WIRE_N_FLOWS 65536

enum
{
  WIRE_FLOW_FIN = 1 << 0,
  WIRE_FLOW_RST = 1 << 1,
};

/**
 * WireFlow:
 * @bytes: payload dropped so far, retransmissions included
 * @end: the sequence number after the last byte seen, a FIN included
 * @ack: the sequence number that the sender expects next
 * @segments: segments dropped so far; it changes whenever an ACK is due
 * @flags: whether a FIN or RST was seen
 *
 * One connection, written by the packet filter and read by the wire.
 */
struct WireFlow
{
  __u64 bytes;
  __u32 end;
  __u32 ack;
  __u32 segments;
  __u32 flags;
};
