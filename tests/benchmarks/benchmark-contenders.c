/* benchmark-contenders.c - those who use the socket directly
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <time.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "benchmark-private.h"

/* How often the bare loop looks at the error queue; that of the kernel's own tests. */
#define SENDS_PER_REAP 32

/* How much of a mapped file is sent by one call, and of a file read by one. */
#define FILE_WINDOW (4 * 1024 * 1024)
#define READ_SIZE (64 * 1024)

/* The file from which a block is sent is written in pieces of this size. */
#define FILE_PIECE (1024 * 1024)

/* The sends in flight are kept in a ring, to know how many bytes a notification
 * stands for. */
#define RING_SIZE 65536

typedef struct
{
  BenchmarkStream parent;
  int flags;
  char *read_buffer;

  guint32 next_id;
  guint32 in_flight;
  guint sends_since_reap;
  guint32 *sizes;
} SocketStream;

G_STATIC_ASSERT (G_STRUCT_OFFSET (SocketStream, parent) == 0);

static BenchmarkStream *
open_copying (const BenchmarkContender *contender,
              int                       fd,
              GError                  **error)
{
  SocketStream *self = g_new0 (SocketStream, 1);

  self->parent.contender = contender;
  self->parent.fd = fd;
  self->flags = MSG_NOSIGNAL;

  return &self->parent;
}

static BenchmarkStream *
open_zerocopy (const BenchmarkContender *contender,
               int                       fd,
               GError                  **error)
{
  SocketStream *self;
  const int on = 1;

  if (setsockopt (fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) < 0)
    {
      benchmark_set_error_from_errno (error, "set SO_ZEROCOPY", errno);
      return NULL;
    }

  self = (SocketStream *) open_copying (contender, fd, error);
  self->flags |= MSG_ZEROCOPY;
  self->sizes = g_new0 (guint32, RING_SIZE);

  return &self->parent;
}

static void
close_stream (BenchmarkStream *stream)
{
  SocketStream *self = (SocketStream *) stream;

  close (stream->fd);
  g_free (self->read_buffer);
  g_free (self->sizes);
  g_free (self);
}

static void
release (SocketStream                   *self,
         const struct sock_extended_err *record)
{
  BenchmarkCounts *counts = &self->parent.counts;
  guint32 n = record->ee_data - record->ee_info + 1;

  for (guint32 id = record->ee_info; id != record->ee_data + 1; id++)
    counts->in_flight -= self->sizes[id % RING_SIZE];
  self->in_flight -= n;
  counts->notifications++;
  if (record->ee_code & SO_EE_CODE_ZEROCOPY_COPIED)
    counts->copied += n;
}

/* Returns: whether there was any notification */
static gboolean
reap (SocketStream *self)
{
  gboolean any = FALSE;

  self->sends_since_reap = 0;
  while (TRUE)
    {
      char control[128];
      struct msghdr message = { .msg_control = control, .msg_controllen = sizeof control };

      self->parent.counts.system_calls++;
      if (recvmsg (self->parent.fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return any;

      for (struct cmsghdr *header = CMSG_FIRSTHDR (&message); header != NULL; header = CMSG_NXTHDR (&message, header))
        {
          struct sock_extended_err record;

          memcpy (&record, CMSG_DATA (header), sizeof record);
          if (record.ee_origin == SO_EE_ORIGIN_ZEROCOPY)
            {
              release (self, &record);
              any = TRUE;
            }
        }
    }
}

static void
wait_for_notification (SocketStream *self)
{
  struct pollfd fd = { self->parent.fd, 0, 0 };

  if (reap (self))
    return;
  self->parent.counts.system_calls++;
  poll (&fd, 1, -1);
  reap (self);
}

static void
note_send (SocketStream *self,
           gsize         size)
{
  BenchmarkCounts *counts = &self->parent.counts;

  self->sizes[self->next_id++ % RING_SIZE] = (guint32) size;
  self->in_flight++;
  counts->in_flight += size;
  if (counts->in_flight > counts->peak_in_flight)
    counts->peak_in_flight = counts->in_flight;
  if (++self->sends_since_reap >= SENDS_PER_REAP)
    reap (self);
  while (self->in_flight == RING_SIZE)
    wait_for_notification (self);
}

/* Returns: bytes sent, 0 to try again, or -1 */
static gssize
after_send (SocketStream *self,
            gssize        n,
            GError      **error)
{
  self->parent.counts.system_calls++;

  if (n > 0 && (self->flags & MSG_ZEROCOPY))
    note_send (self, (gsize) n);
  if (n >= 0)
    return n;

  if (errno == ENOBUFS && self->in_flight > 0)
    {
      self->parent.counts.enobufs++;
      wait_for_notification (self);
      return 0;
    }
  if (errno == EINTR)
    return 0;

  benchmark_set_error_from_errno (error, "send", errno);
  return -1;
}

static gboolean
send_all (SocketStream *self,
          gconstpointer data,
          gsize         size,
          GError      **error)
{
  for (gsize done = 0; done < size;)
    {
      gssize n = after_send (self, send (self->parent.fd, (const char *) data + done, size - done, self->flags), error);

      if (n < 0)
        return FALSE;
      done += (gsize) n;
    }

  return TRUE;
}

static gboolean
write_block (BenchmarkStream      *stream,
             const BenchmarkBlock *block,
             GError              **error)
{
  return send_all ((SocketStream *) stream, block->data, block->size, error);
}

static gboolean
write_packet (BenchmarkStream      *stream,
              const BenchmarkBlock *header,
              struct iovec         *pages,
              guint                 n_pages,
              GError              **error)
{
  SocketStream *self = (SocketStream *) stream;
  struct msghdr message = { .msg_iov = pages, .msg_iovlen = n_pages };

  stream->counts.system_calls++;
  if (send (stream->fd, header->data, header->size, MSG_NOSIGNAL) != (gssize) header->size)
    {
      benchmark_set_error_from_errno (error, "send a header", errno);
      return FALSE;
    }

  while (message.msg_iovlen > 0)
    {
      gssize n = after_send (self, sendmsg (stream->fd, &message, self->flags), error);

      if (n < 0)
        return FALSE;
      while (message.msg_iovlen > 0 && (gsize) n >= message.msg_iov->iov_len)
        {
          n -= (gssize) message.msg_iov->iov_len;
          message.msg_iov++;
          message.msg_iovlen--;
        }
      if (n > 0)
        {
          message.msg_iov->iov_base = (char *) message.msg_iov->iov_base + n;
          message.msg_iov->iov_len -= (gsize) n;
        }
    }

  return TRUE;
}

static gboolean
splice_by_reading (BenchmarkStream *stream,
                   int              file,
                   gsize            size,
                   GError         **error)
{
  SocketStream *self = (SocketStream *) stream;

  if (self->read_buffer == NULL)
    self->read_buffer = g_malloc (READ_SIZE);

  for (gsize done = 0; done < size;)
    {
      gssize n = pread (file, self->read_buffer, READ_SIZE, (goffset) done);

      stream->counts.system_calls++;
      if (n <= 0)
        {
          benchmark_set_error_from_errno (error, "read a file", errno);
          return FALSE;
        }
      if (!send_all (self, self->read_buffer, (gsize) n, error))
        return FALSE;
      done += (gsize) n;
    }

  return TRUE;
}

static gboolean
splice_by_mapping (BenchmarkStream *stream,
                   int              file,
                   gsize            size,
                   GError         **error)
{
  SocketStream *self = (SocketStream *) stream;
  gboolean success = TRUE;
  char *map;

  stream->counts.system_calls += 2;
  map = mmap (NULL, size, PROT_READ, MAP_SHARED, file, 0);
  if (map == MAP_FAILED)
    {
      benchmark_set_error_from_errno (error, "map a file", errno);
      return FALSE;
    }

  for (gsize done = 0; success && done < size; done += FILE_WINDOW)
    success = send_all (self, map + done, MIN (FILE_WINDOW, size - done), error);

  /* The kernel has references of its own to the pages. */
  munmap (map, size);

  return success;
}

static gboolean
send_file (BenchmarkStream *stream,
           int              file,
           goffset          offset,
           gsize            size,
           GError         **error)
{
  goffset end = offset + (goffset) size;

  while (offset < end)
    {
      gssize n = sendfile (stream->fd, file, &offset, (gsize) (end - offset));

      stream->counts.system_calls++;
      if (n <= 0 && errno != EINTR)
        {
          benchmark_set_error_from_errno (error, "send a file", errno);
          return FALSE;
        }
    }

  return TRUE;
}

static gboolean
splice_by_sendfile (BenchmarkStream *stream,
                    int              file,
                    gsize            size,
                    GError         **error)
{
  return send_file (stream, file, 0, size, error);
}

/* Sends as much from a file as others send from memory. The file is made in the first
 * round, which is not timed. */
static gboolean
write_block_from_file (BenchmarkStream      *stream,
                       const BenchmarkBlock *block,
                       GError              **error)
{
  static int file = -1;
  static gsize file_size;

  if (file_size < block->size)
    {
      if (file >= 0)
        close (file);
      file = benchmark_memory_open_file (block->size, FILE_PIECE, error);
      file_size = file >= 0 ? block->size : 0;
    }

  return file >= 0 && send_file (stream, file, 0, block->size, error);
}

static gboolean
drain_nothing (BenchmarkStream *stream,
               GError         **error)
{
  return TRUE;
}

static gboolean
drain_notifications (BenchmarkStream *stream,
                     GError         **error)
{
  SocketStream *self = (SocketStream *) stream;

  while (self->in_flight > 0)
    wait_for_notification (self);

  return TRUE;
}

const BenchmarkContender benchmark_socket_contenders[] = {
  {
    .name = "copy",
    .summary = "a bare loop of send()",
    .everywhere = TRUE,
    .open = open_copying,
    .write = write_block,
    .write_packet = write_packet,
    .splice = splice_by_reading,
    .drain = drain_nothing,
    .close = close_stream,
  },
  {
    .name = "zerocopy",
    .summary = "a bare loop of send() with MSG_ZEROCOPY",
    .open = open_zerocopy,
    .write = write_block,
    .write_packet = write_packet,
    .splice = splice_by_mapping,
    .drain = drain_notifications,
    .close = close_stream,
  },
  {
    .name = "sendfile",
    .summary = "sendfile() from a cached file",
    .open = open_copying,
    .write = write_block_from_file,
    .splice = splice_by_sendfile,
    .drain = drain_nothing,
    .close = close_stream,
  },
  { .name = NULL },
};
