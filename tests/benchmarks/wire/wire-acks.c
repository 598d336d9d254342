/* wire-acks.c - ACKs made by hand, late, lost or out of order if wanted
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire-private.h"

#define BATCH 64

/* An ACK that is overtaken waits for this many further looks at the map. */
#define REORDER_INTERVALS 5

typedef struct
{
  struct ether_header ethernet;
  struct iphdr ip;
  struct tcphdr tcp;
} __attribute__ ((packed)) Frame;

G_STATIC_ASSERT (sizeof (Frame) == WIRE_HEADERS_SIZE);

typedef struct
{
  gint64 due;
  Frame frame;
} Pending;

struct _WireAcks
{
  const WireOptions *options;
  int fd;
  GRand *random;

  /* sorted by the time they are due */
  GQueue pending;

  guint64 sent;
  guint64 lost;
  guint64 reordered;
};

/* Sums 16-bit words as they lie in memory, so that the result needs no swap. */
static guint32
add_to_checksum (guint32     sum,
                 const void *data,
                 gsize       size)
{
  const guint8 *bytes = data;
  guint16 word;

  for (gsize i = 0; i + 1 < size; i += 2)
    {
      memcpy (&word, bytes + i, sizeof word);
      sum += word;
    }

  return sum;
}

static guint16
fold_checksum (guint32 sum)
{
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);

  return ~sum;
}

static void
fill_frame (Frame   *frame,
            guint16  port,
            guint32  sequence,
            guint32  acknowledged,
            gboolean fin)
{
  static const guint8 sender_mac[] = WIRE_SENDER_MAC;
  static const guint8 sink_mac[] = WIRE_SINK_MAC;
  guint32 sum;

  memset (frame, 0, sizeof *frame);
  memcpy (frame->ethernet.ether_dhost, sender_mac, sizeof sender_mac);
  memcpy (frame->ethernet.ether_shost, sink_mac, sizeof sink_mac);
  frame->ethernet.ether_type = htons (ETHERTYPE_IP);

  frame->ip.version = 4;
  frame->ip.ihl = sizeof frame->ip / 4;
  frame->ip.tot_len = htons (sizeof frame->ip + sizeof frame->tcp);
  frame->ip.frag_off = htons (IP_DF);
  frame->ip.ttl = 64;
  frame->ip.protocol = IPPROTO_TCP;
  frame->ip.saddr = htonl (WIRE_SINK_ADDRESS);
  frame->ip.daddr = htonl (WIRE_SENDER_ADDRESS);
  frame->ip.check = fold_checksum (add_to_checksum (0, &frame->ip, sizeof frame->ip));

  frame->tcp.source = htons (WIRE_PORT);
  frame->tcp.dest = htons (port);
  frame->tcp.seq = htonl (sequence);
  frame->tcp.ack_seq = htonl (acknowledged);
  frame->tcp.doff = sizeof frame->tcp / 4;
  frame->tcp.ack = 1;
  frame->tcp.fin = fin;
  /* What the sender makes of it is scaled as the listener said. */
  frame->tcp.window = htons (65535);

  sum = add_to_checksum (0, &frame->ip.saddr, 2 * sizeof frame->ip.saddr);
  sum += htons (IPPROTO_TCP) + htons (sizeof frame->tcp);
  frame->tcp.check = fold_checksum (add_to_checksum (sum, &frame->tcp, sizeof frame->tcp));
}

static void
insert_pending (WireAcks *acks,
                Pending  *pending)
{
  GList *before = acks->pending.tail;

  while (before != NULL && ((Pending *) before->data)->due > pending->due)
    before = before->prev;

  if (before == NULL)
    g_queue_push_head (&acks->pending, pending);
  else
    g_queue_insert_after (&acks->pending, before, pending);
}

/* Opens the packet socket in the namespace of the caller. With no protocol it receives
 * nothing: a socket that listens would make the kernel copy what it hears. */
WireAcks *
wire_acks_new (const WireOptions  *options,
               GError            **error)
{
  struct sockaddr_ll address = { 0 };
  g_autoptr (WireAcks) acks = g_new0 (WireAcks, 1);
  const int one = 1;

  acks->options = options;
  acks->random = g_rand_new_with_seed ((guint32) options->seed);
  g_queue_init (&acks->pending);

  address.sll_family = AF_PACKET;
  address.sll_ifindex = (int) if_nametoindex (WIRE_SINK_INTERFACE);

  acks->fd = socket (AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (acks->fd < 0 ||
      bind (acks->fd, (struct sockaddr *) &address, sizeof address) < 0 ||
      setsockopt (acks->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one) < 0)
    {
      wire_set_error_from_errno (error, "open a packet socket", errno);
      return NULL;
    }

  return g_steal_pointer (&acks);
}

/* A FIN is never held back or lost: whoever closes waits for it. */
void
wire_acks_add (WireAcks *acks,
               guint16   port,
               guint32   sequence,
               guint32   acknowledged,
               gboolean  fin,
               gint64    now)
{
  const WireOptions *options = acks->options;
  Pending *pending;

  if (!fin && options->loss > 0 && g_rand_double (acks->random) * 100 < options->loss)
    {
      acks->lost++;
      return;
    }

  pending = g_new (Pending, 1);
  pending->due = now + options->delay;
  if (!fin && options->reorder > 0 && g_rand_double (acks->random) * 100 < options->reorder)
    {
      pending->due += REORDER_INTERVALS * options->interval;
      acks->reordered++;
    }

  fill_frame (&pending->frame, port, sequence, acknowledged, fin);
  insert_pending (acks, pending);
}

/* Sends what is due. @next becomes the time at which the next one will be, or -1. */
gboolean
wire_acks_send (WireAcks  *acks,
                gint64     now,
                gint64    *next,
                GError   **error)
{
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  Pending *batch[BATCH];
  gboolean success = TRUE;

  while (success)
    {
      guint n = 0;

      for (; n < BATCH; n++)
        {
          Pending *first = g_queue_peek_head (&acks->pending);

          if (first == NULL || first->due > now)
            break;
          batch[n] = g_queue_pop_head (&acks->pending);
          vectors[n] = (struct iovec){ &batch[n]->frame, sizeof batch[n]->frame };
          messages[n] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &vectors[n], .msg_iovlen = 1 } };
        }
      if (n == 0)
        break;

      /* A frame that veth has no room for is lost like any other. */
      for (guint done = 0; done < n;)
        {
          int result = sendmmsg (acks->fd, messages + done, n - done, MSG_DONTWAIT);

          if (result < 0 && errno != EINTR && errno != ENOBUFS && errno != EAGAIN)
            {
              wire_set_error_from_errno (error, "send an ACK", errno);
              success = FALSE;
              break;
            }
          if (result < 0 && errno != EINTR)
            acks->lost++;
          if (result > 0)
            acks->sent += (guint) result;
          done += result > 0 ? (guint) result : errno != EINTR;
        }

      for (guint i = 0; i < n; i++)
        g_free (batch[i]);
    }

  *next = acks->pending.head != NULL ? ((Pending *) acks->pending.head->data)->due : -1;

  return success;
}

void
wire_acks_get_counts (WireAcks *acks,
                      guint64  *sent,
                      guint64  *lost,
                      guint64  *reordered)
{
  *sent = acks->sent;
  *lost = acks->lost;
  *reordered = acks->reordered;
}

void
wire_acks_free (WireAcks *acks)
{
  if (acks->fd >= 0)
    close (acks->fd);
  g_rand_free (acks->random);
  g_queue_clear_full (&acks->pending, g_free);
  g_free (acks);
}
