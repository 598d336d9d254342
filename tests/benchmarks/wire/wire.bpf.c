/* wire.bpf.c - the packet filter in which the wire ends
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "wire-flow.h"

struct
{
  __uint (type, BPF_MAP_TYPE_ARRAY);
  __uint (map_flags, BPF_F_MMAPABLE);
  __uint (max_entries, WIRE_N_FLOWS);
  __type (key, __u32);
  __type (value, struct WireFlow);
} flows SEC (".maps");

struct headers
{
  struct ethhdr ethernet;
  struct iphdr ip;
  struct tcphdr tcp;
} __attribute__ ((packed));

_Static_assert (sizeof (struct headers) == WIRE_HEADERS_SIZE, "headers are not packed");

/* TCP puts the headers in front of the pages, so there is hardly ever anything
 * to pull; the verifier wants to see that it was tried. */
static __always_inline struct headers *
get_headers (struct __sk_buff *skb)
{
  if ((void *) (long) skb->data + WIRE_HEADERS_SIZE > (void *) (long) skb->data_end &&
      bpf_skb_pull_data (skb, WIRE_HEADERS_SIZE) != 0)
    return 0;
  if ((void *) (long) skb->data + WIRE_HEADERS_SIZE > (void *) (long) skb->data_end)
    return 0;

  return (void *) (long) skb->data;
}

/* Whatever is not a segment for the sink, and the whole handshake, goes up to
 * the kernel. What carries data, ends the connection or asks for an ACK is noted
 * and dropped: the pages are let go of when the ACK has come, and nobody copied
 * them. */
SEC ("tc")
int
zcio_wire (struct __sk_buff *skb)
{
  struct headers *headers;
  struct WireFlow *flow;
  __u32 port, length, end;

  headers = get_headers (skb);
  if (headers == 0 ||
      headers->ethernet.h_proto != bpf_htons (ETH_P_IP) ||
      headers->ip.ihl != 5 ||
      headers->ip.protocol != IPPROTO_TCP ||
      headers->tcp.dest != bpf_htons (WIRE_PORT))
    return TC_ACT_OK;

  port = bpf_ntohs (headers->tcp.source);
  flow = bpf_map_lookup_elem (&flows, &port);
  if (flow == 0)
    return TC_ACT_OK;

  end = bpf_ntohl (headers->tcp.seq);
  if (headers->tcp.syn)
    {
      flow->bytes = 0;
      flow->end = end + 1;
      flow->segments = 0;
      flow->flags = 0;
      return TC_ACT_OK;
    }

  /* The frame may be many segments in one, longer than the IP header can tell. */
  length = skb->len - sizeof (struct ethhdr) - sizeof (struct iphdr) - headers->tcp.doff * 4;
  if (length == 0 && !headers->tcp.fin && !headers->tcp.rst)
    {
      if (flow->segments == 0)
        return TC_ACT_OK;
      /* Unlike a probe, an ACK must not be answered with an ACK. */
      if (end == flow->end)
        return TC_ACT_SHOT;
    }

  end += length + (headers->tcp.fin ? 1 : 0);
  if ((__s32) (end - flow->end) > 0)
    flow->end = end;
  flow->ack = bpf_ntohl (headers->tcp.ack_seq);
  flow->bytes += length;
  if (headers->tcp.fin)
    flow->flags |= WIRE_FLOW_FIN;
  if (headers->tcp.rst)
    flow->flags |= WIRE_FLOW_RST;

  /* The rest must be there before the wire sees that there is something new. */
  __sync_fetch_and_add (&flow->segments, 1);

  return TC_ACT_SHOT;
}

/* No helper used here asks for the GPL. */
char filter_license[] SEC ("license") = "LGPL-2.1-or-later";
