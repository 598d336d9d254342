/* benchmark-contenders-uring.c - io_uring's zero-copy send
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "benchmark-private.h"

#define SUBMISSIONS 8
#define COMPLETIONS 1024
#define FILE_WINDOW (4 * 1024 * 1024)

/* Newer than the headers that liburing brings along */
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

typedef struct
{
  BenchmarkStream parent;
  struct io_uring ring;
  gboolean waiting;
  int result;
} UringStream;

G_STATIC_ASSERT (G_STRUCT_OFFSET (UringStream, parent) == 0);

static int
set_up_ring (struct io_uring *ring)
{
  struct io_uring_params parameters = { .cq_entries = COMPLETIONS };
  int result;

  /* With one thread that always waits, this is the cheapest way; since Linux 6.1 */
  parameters.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  result = io_uring_queue_init_params (SUBMISSIONS, ring, &parameters);
  if (result == -EINVAL)
    {
      parameters = (struct io_uring_params){ .cq_entries = COMPLETIONS, .flags = IORING_SETUP_CQSIZE };
      result = io_uring_queue_init_params (SUBMISSIONS, ring, &parameters);
    }

  return result;
}

static BenchmarkStream *
open_uring (const BenchmarkContender *contender,
            int                       fd,
            GError                  **error)
{
  UringStream *self = g_new0 (UringStream, 1);
  int result = set_up_ring (&self->ring);

  if (result < 0)
    {
      benchmark_set_error_from_errno (error, "set up io_uring", -result);
      g_free (self);
      return NULL;
    }

  self->parent.contender = contender;
  self->parent.fd = fd;

  return &self->parent;
}

static void
close_uring (BenchmarkStream *stream)
{
  UringStream *self = (UringStream *) stream;

  io_uring_queue_exit (&self->ring);
  close (stream->fd);
  g_free (self);
}

/* A send completes twice: with what it accepted, and when the memory is free. How much was asked for
 * is in the user data, since the second does not say. */
static void
take_completions (UringStream *self)
{
  BenchmarkCounts *counts = &self->parent.counts;
  struct io_uring_cqe *cqe;
  guint head, n = 0;

  io_uring_for_each_cqe (&self->ring, head, cqe)
    {
      n++;
      if (cqe->flags & IORING_CQE_F_NOTIF)
        {
          counts->notifications++;
          counts->in_flight -= cqe->user_data;
          if ((guint32) cqe->res & IORING_NOTIF_USAGE_ZC_COPIED)
            counts->copied++;
          continue;
        }

      self->waiting = FALSE;
      self->result = cqe->res;
      /* An error that came before there was anything to be notified of */
      if (!(cqe->flags & IORING_CQE_F_MORE))
        counts->in_flight -= cqe->user_data;
    }
  io_uring_cq_advance (&self->ring, n);
}

/* Submits what was prepared and waits for what was accepted of it: the next send
 * must not overtake it. */
static gssize
submit (UringStream         *self,
        struct io_uring_sqe *sqe,
        gsize                size,
        GError             **error)
{
  BenchmarkCounts *counts = &self->parent.counts;

  io_uring_sqe_set_data64 (sqe, size);
  counts->in_flight += size;
  if (counts->in_flight > counts->peak_in_flight)
    counts->peak_in_flight = counts->in_flight;

  self->waiting = TRUE;
  while (self->waiting)
    {
      int result;

      counts->system_calls++;
      result = io_uring_submit_and_wait (&self->ring, 1);
      if (result < 0 && result != -EINTR)
        {
          benchmark_set_error_from_errno (error, "submit", -result);
          return -1;
        }
      take_completions (self);
    }

  if (self->result < 0)
    {
      benchmark_set_error_from_errno (error, "send", -self->result);
      return -1;
    }

  return self->result;
}

static gboolean
send_all (UringStream  *self,
          gconstpointer data,
          gsize         size,
          GError      **error)
{
  for (gsize done = 0; done < size;)
    {
      struct io_uring_sqe *sqe = io_uring_get_sqe (&self->ring);
      gssize n;

      io_uring_prep_send_zc (sqe, self->parent.fd, (const char *) data + done, size - done,
                             MSG_NOSIGNAL | MSG_WAITALL, IORING_SEND_ZC_REPORT_USAGE);
      n = submit (self, sqe, size - done, error);
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
  return send_all ((UringStream *) stream, block->data, block->size, error);
}

static gboolean
write_packet (BenchmarkStream      *stream,
              const BenchmarkBlock *header,
              struct iovec         *pages,
              guint                 n_pages,
              GError              **error)
{
  UringStream *self = (UringStream *) stream;
  struct msghdr message = { .msg_iov = pages, .msg_iovlen = n_pages };
  struct io_uring_sqe *sqe;
  gsize size = 0;
  gssize n;

  stream->counts.system_calls++;
  if (send (stream->fd, header->data, header->size, MSG_NOSIGNAL) != (gssize) header->size)
    {
      benchmark_set_error_from_errno (error, "send a header", errno);
      return FALSE;
    }

  for (guint i = 0; i < n_pages; i++)
    size += pages[i].iov_len;

  sqe = io_uring_get_sqe (&self->ring);
  io_uring_prep_sendmsg_zc (sqe, stream->fd, &message, MSG_NOSIGNAL | MSG_WAITALL);
  sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
  n = submit (self, sqe, size, error);
  if (n >= 0 && (gsize) n != size)
    benchmark_set_error_from_errno (error, "send all pages", EIO);

  return n >= 0 && (gsize) n == size;
}

static gboolean
splice_by_mapping (BenchmarkStream *stream,
                   int              file,
                   gsize            size,
                   GError         **error)
{
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
    success = send_all ((UringStream *) stream, map + done, MIN (FILE_WINDOW, size - done), error);
  munmap (map, size);

  return success;
}

static gboolean
drain (BenchmarkStream *stream,
       GError         **error)
{
  UringStream *self = (UringStream *) stream;

  while (stream->counts.in_flight > 0)
    {
      int result;

      stream->counts.system_calls++;
      result = io_uring_submit_and_wait (&self->ring, 1);
      if (result < 0 && result != -EINTR)
        {
          benchmark_set_error_from_errno (error, "wait for a notification", -result);
          return FALSE;
        }
      take_completions (self);
    }

  return TRUE;
}

const BenchmarkContender benchmark_uring_contenders[] = {
  {
    .name = "io-uring",
    .summary = "io_uring's SEND_ZC",
    .open = open_uring,
    .write = write_block,
    .write_packet = write_packet,
    .splice = splice_by_mapping,
    .drain = drain,
    .close = close_uring,
  },
  { .name = NULL },
};
