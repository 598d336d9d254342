/* zcio-file-splice.c - sending what a stream has to read, without reading it
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-file-splice-private.h"

#include <errno.h>
#include <gio/gfiledescriptorbased.h>
#include <gio/gunixinputstream.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zcio-send-private.h"
#include "zcio-words-private.h"

/* What is asked of sendfile () and splice () at once. With a fast peer and a slow disk that
 * takes a while, and until it is over nobody looks at the cancellable.
 */
#define SHARE_SIZE ((gsize) 1024 * 1024)

/* A send to learn whether the kernel copies: what it costs if so is not to be noticed. */
#define PROBE_SIZE ((gsize) 256 * 1024)

/* After so much it is the turn of others. */
#define TURN_SIZE ((gsize) 64 * 1024 * 1024)
#define PIPE_TURN_SIZE ((gsize) 1024 * 1024)

#define BUFFER_SIZE ((gsize) 256 * 1024)
/* With less room left than this, a read gets a new buffer. */
#define MIN_READ_SIZE (BUFFER_SIZE / 2)
/* So much memory is kept for the next splice when none is on its way. */
#define KEEP_SIZE ((guint64) 16 * BUFFER_SIZE)

/* The buffers of all splices */

static GMutex pool_lock;
static ZcioBufferPool *pool;
static guint pool_users;

static ZcioBuffer *
acquire_buffer (GError **error)
{
  ZcioBuffer *buffer;

  g_mutex_lock (&pool_lock);
  if (pool == NULL)
    pool = zcio_buffer_pool_new (BUFFER_SIZE);
  buffer = zcio_buffer_pool_acquire (pool, error);
  pool_users += buffer != NULL;
  g_mutex_unlock (&pool_lock);

  return buffer;
}

static void
drop_buffer (ZcioFileSplice *self)
{
  if (self->buffer == NULL)
    return;

  g_clear_pointer (&self->buffer, zcio_buffer_unref);

  g_mutex_lock (&pool_lock);
  if (--pool_users == 0 && zcio_buffer_pool_get_bytes_allocated (pool) > KEEP_SIZE)
    zcio_buffer_pool_trim (pool);
  g_mutex_unlock (&pool_lock);
}

/* The beginning and the end */

/* A descriptor is the whole truth about a stream if the stream just reads it. GIO, too, takes
 * that for granted of any GFileInputStream that has one (g_file_copy ()); of the others only
 * those are known that nobody has derived a class from that reads in its own way.
 */
static int
get_source_fd (GInputStream *source)
{
  if (!G_IS_FILE_DESCRIPTOR_BASED (source))
    return -1;

  if (G_IS_UNIX_INPUT_STREAM (source))
    {
      GTypeClass *unix_class = g_type_class_peek (G_TYPE_UNIX_INPUT_STREAM);

      if (G_INPUT_STREAM_GET_CLASS (source)->read_fn != G_INPUT_STREAM_CLASS (unix_class)->read_fn)
        return -1;
    }
  else if (!G_IS_FILE_INPUT_STREAM (source))
    return -1;

  return g_file_descriptor_based_get_fd (G_FILE_DESCRIPTOR_BASED (source));
}

/* A regular file without a size may yet have something to read, as those of /proc do; and with
 * all that is beyond its end, it is up to read () to say that there is nothing.
 */
static ZcioSpliceWay
choose_way (ZcioFileSplice *self,
            int             fd)
{
  struct stat status;
  goffset position;

  if (fd < 0 || fstat (fd, &status) != 0)
    return ZCIO_SPLICE_BUFFER;

  if (S_ISFIFO (status.st_mode))
    {
      self->fd = fd;
      return ZCIO_SPLICE_PIPE;
    }

  if (!S_ISREG (status.st_mode))
    return ZCIO_SPLICE_BUFFER;

  position = lseek (fd, 0, SEEK_CUR);
  if (position < 0 || position >= status.st_size)
    return ZCIO_SPLICE_BUFFER;

  self->fd = fd;
  self->cannot_map = zcio_syscalls_has_huge_blocks (fd);
  self->is_seekable = TRUE;
  self->position = position;
  self->size = status.st_size;
  return ZCIO_SPLICE_FILE;
}

/* sendfile () and splice () raise SIGPIPE, and know no MSG_NOSIGNAL. GLib has the signal
 * ignored when there is a GSocket, but the program may have undone that.
 */
static gboolean
is_sigpipe_ignored (void)
{
  struct sigaction action;

  return sigaction (SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

gboolean
zcio_file_splice_init (ZcioFileSplice   *self,
                       ZcioTransmitter  *transmitter,
                       GSocket          *socket,
                       GInputStream     *source,
                       GError          **error)
{
  *self = (ZcioFileSplice) {
    .transmitter = zcio_transmitter_ref (transmitter),
    .socket = g_object_ref (socket),
    .source = g_object_ref (source),
    .way = ZCIO_SPLICE_BUFFER,
    .fd = -1,
  };

  /* Reading would fail in the same words if the source was closed or busy. */
  if (!g_input_stream_set_pending (source, error))
    return FALSE;

  self->way = choose_way (self, get_source_fd (source));
  self->holds_source = self->way != ZCIO_SPLICE_BUFFER;
  if (!self->holds_source)
    g_input_stream_clear_pending (source);
  self->guards_sigpipe = self->holds_source && !is_sigpipe_ignored ();
  zcio_splice_policy_init (&self->policy);

  return TRUE;
}

/* The descriptor's offset is what the next read () goes by, and all that tell () knows. */
static void
leave_source (ZcioFileSplice *self)
{
  g_clear_pointer (&self->window, zcio_file_window_free);

  if (self->is_seekable)
    lseek (self->fd, self->position, SEEK_SET);
  self->is_seekable = FALSE;

  if (self->holds_source)
    g_input_stream_clear_pending (self->source);
  self->holds_source = FALSE;
  self->fd = -1;
}

void
zcio_file_splice_clear (ZcioFileSplice *self)
{
  leave_source (self);
  drop_buffer (self);
  g_clear_object (&self->source);
  g_clear_object (&self->socket);
  g_clear_pointer (&self->transmitter, zcio_transmitter_unref);
}

/* Whatever the descriptor cannot do, or fails with, reading the stream tells the truth. */
static ZcioSpliceResult
read_instead (ZcioFileSplice *self)
{
  leave_source (self);
  self->way = ZCIO_SPLICE_BUFFER;
  return ZCIO_SPLICE_GO_ON;
}

/* The request is over, although it may not be done: the next one begins where it ended. */
static ZcioSpliceResult
send_request (ZcioFileSplice   *self,
              ZcioSendRequest  *request,
              GError          **error)
{
  switch (zcio_transmitter_send (self->transmitter, self->socket, request, error))
    {
    case ZCIO_SEND_DONE:
      return ZCIO_SPLICE_GO_ON;

    case ZCIO_SEND_WOULD_BLOCK:
      zcio_transmitter_end (self->transmitter, request);
      return request->wants_window ? ZCIO_SPLICE_WAIT_IN_FLIGHT : ZCIO_SPLICE_WAIT_WRITABLE;

    case ZCIO_SEND_FAILED:
    default:
      return ZCIO_SPLICE_FAILED;
    }
}

/* Regular files */

static gboolean
update_size (ZcioFileSplice *self,
             guint64        *system_calls)
{
  struct stat status;

  (*system_calls)++;
  if (fstat (self->fd, &status) != 0)
    return FALSE;

  self->size = status.st_size;
  return TRUE;
}

/* Makes a window at the position, if there is none, of no more than *@size, with pages that are in
 * memory: while it sends, the transmitter holds its lock, and that is no time to wait for a disk.
 */
static gboolean
prepare_window (ZcioFileSplice *self,
                gsize          *size,
                guint64        *system_calls)
{
  gsize in_window = 0;

  if (self->window != NULL)
    zcio_file_window_get (self->window, self->position, &in_window);

  if (in_window == 0)
    {
      g_clear_pointer (&self->window, zcio_file_window_free);
      self->window = zcio_file_window_new (self->fd, self->position, *size, self->size, system_calls);
      if (self->window == NULL)
        return FALSE;
      zcio_file_window_get (self->window, self->position, &in_window);
    }

  *size = MIN (MIN (*size, in_window), ZCIO_MAX_SEND_SIZE);
  return zcio_file_window_populate (self->window, self->position, *size, system_calls);
}

/* Perhaps the file was just cut off. If not, sendfile () does better, or knows why not. */
static void
cannot_read_window (ZcioFileSplice *self,
                    guint64        *system_calls)
{
  goffset size = self->size;

  g_clear_pointer (&self->window, zcio_file_window_free);
  self->cannot_map = !update_size (self, system_calls) || self->size >= size;
}

/*
 * By zero-copy, from a mapping: at most @size bytes. Where the file ends is asked for right before
 * the send, so that what was cut off since is an EFAULT, but for the rest of its last page, which
 * is zeros.
 */
static ZcioSpliceResult
send_mapped (ZcioFileSplice  *self,
             gsize            size,
             GError         **error)
{
  guint64 system_calls = 0;
  ZcioSendRequest request;
  GOutputVector vector;
  ZcioSpliceResult result;
  GError *local_error = NULL;
  gsize in_window;

  if (!prepare_window (self, &size, &system_calls) || !update_size (self, &system_calls))
    {
      cannot_read_window (self, &system_calls);
      zcio_transmitter_add_spliced (self->transmitter, 0, 0, 0, system_calls);
      return ZCIO_SPLICE_GO_ON;
    }

  vector.buffer = zcio_file_window_get (self->window, self->position, &in_window);
  vector.size = (gsize) MIN ((guint64) size, (guint64) MAX (self->size - self->position, 0));
  zcio_send_request_init_vectors (&request, &vector, 1, TRUE, NULL);
  request.keep_off = TRUE;

  result = send_request (self, &request, &local_error);
  self->position += request.written;
  self->bytes += request.written;

  /* Of what is in flight the kernel holds the pages themselves. */
  if (request.written == in_window)
    g_clear_pointer (&self->window, zcio_file_window_free);

  if (result == ZCIO_SPLICE_FAILED && request.error_number == EFAULT)
    {
      /* The page is gone since, or could not be read. */
      g_clear_error (&local_error);
      cannot_read_window (self, &system_calls);
      result = ZCIO_SPLICE_GO_ON;
    }

  zcio_transmitter_add_spliced (self->transmitter, 0, 0, request.written, system_calls);
  if (local_error != NULL)
    g_propagate_error (error, local_error);

  return result;
}

/* Has the kernel share pages of the file or pipe with the socket. */
static gssize
share (ZcioFileSplice *self,
       gsize           size,
       int            *errsv)
{
  ZcioSyscalls *syscalls = self->transmitter->syscalls;
  int fd = g_socket_get_fd (self->socket);
  guint64 system_calls = 0;
  sigset_t sigpipe;
  sigset_t before;
  gssize n;

  if (self->guards_sigpipe)
    {
      sigemptyset (&sigpipe);
      sigaddset (&sigpipe, SIGPIPE);
      pthread_sigmask (SIG_BLOCK, &sigpipe, &before);
    }

  do
    {
      if (self->way == ZCIO_SPLICE_PIPE)
        n = syscalls->move_pipe (syscalls, fd, self->fd, size);
      else
        n = syscalls->send_file (syscalls, fd, self->fd, self->position, size);
      *errsv = errno;
      system_calls++;
    }
  while (n < 0 && *errsv == EINTR);

  if (self->guards_sigpipe)
    {
      static const struct timespec at_once = { 0, 0 };

      /* After a part was sent it is raised, too. */
      if (n < (gssize) size && !sigismember (&before, SIGPIPE))
        sigtimedwait (&sigpipe, NULL, &at_once);
      pthread_sigmask (SIG_SETMASK, &before, NULL);
      system_calls += 3;
    }

  zcio_transmitter_add_spliced (self->transmitter, n > 0, MAX (n, 0), 0, system_calls);
  self->bytes += MAX (n, 0);
  return n;
}

/* An error of sendfile () or splice () may be the socket's or the source's. */
static gboolean
is_socket_error (int error_number)
{
  switch (error_number)
    {
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ECONNREFUSED:
    case ENOTCONN:
    case ETIMEDOUT:
    case ENETDOWN:
    case ENETUNREACH:
    case ENETRESET:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case EPROTO:
      return TRUE;

    default:
      return FALSE;
    }
}

static void
set_socket_error (int      error_number,
                  GError **error)
{
  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (error_number),
               ZCIO_GIO_ (SENDING_DATA), g_strerror (error_number));
}

/* Files on other hosts have the errors of sockets, too; so the file is asked. */
static gboolean
is_file_readable (ZcioFileSplice *self)
{
  char byte;

  return pread (self->fd, &byte, 1, self->position) >= 0;
}

/* By sendfile (): at most @size bytes. If that cannot be, it may be that a mapping can. */
static ZcioSpliceResult
send_file (ZcioFileSplice  *self,
           gsize            size,
           gboolean         may_map,
           GError         **error)
{
  gsize asked = MIN (size, SHARE_SIZE);
  int errsv;
  gssize n;

  /* More than there is would make the kernel wait for the rest before it sends the last
   * segment (before Linux 6.5).
   */
  if (self->size > self->position)
    asked = MIN (asked, (guint64) (self->size - self->position));

  n = share (self, asked, &errsv);
  if (n == 0)
    return ZCIO_SPLICE_DONE;

  if (n > 0)
    {
      self->position += n;
      /* A short one has filled the socket, unless that is the end. */
      return n < (gssize) asked && self->position < self->size ? ZCIO_SPLICE_WAIT_WRITABLE : ZCIO_SPLICE_GO_ON;
    }

  if (errsv == EAGAIN)
    return ZCIO_SPLICE_WAIT_WRITABLE;
  if (!is_socket_error (errsv) || !is_file_readable (self))
    {
      if (!may_map)
        return read_instead (self);

      zcio_splice_policy_map_only (&self->policy);
      return ZCIO_SPLICE_GO_ON;
    }

  set_socket_error (errsv, error);
  return ZCIO_SPLICE_FAILED;
}

/* The cheaper way. A window that it has made ends where the policy is asked again, so that to undo
 * it is a part of its price.
 */
static ZcioSpliceResult
send_by_policy (ZcioFileSplice  *self,
                GError         **error)
{
  ZcioSyscalls *syscalls = self->transmitter->syscalls;
  goffset start = self->position;
  ZcioUsage before = { 0 };
  ZcioUsage usage = { 0 };
  ZcioSpliceResult result;
  gboolean measures;
  gsize size;
  gsize sent;
  gboolean maps = zcio_splice_policy_should_map (&self->policy, (guint64) (self->size - start), &size,
                                                 &measures);

  if (measures)
    syscalls->get_usage (syscalls, &before);

  if (!maps)
    g_clear_pointer (&self->window, zcio_file_window_free);
  result = maps ? send_mapped (self, size, error) : send_file (self, size, TRUE, error);
  sent = (gsize) (self->position - start);

  if (measures)
    {
      syscalls->get_usage (syscalls, &usage);
      usage.cpu -= before.cpu;
      usage.faults -= before.faults;
      usage.reads -= before.reads;
      zcio_transmitter_add_spliced (self->transmitter, 0, 0, 0, 4);
    }
  zcio_splice_policy_sent (&self->policy, sent, measures ? &usage : NULL);

  return result;
}

static ZcioSpliceResult
step_file (ZcioFileSplice  *self,
           GError         **error)
{
  ZcioSyscalls *syscalls = self->transmitter->syscalls;
  gboolean is_probe = FALSE;
  gsize size = 0;

  if (self->position < self->size)
    size = MIN (G_MAXSSIZE, (guint64) (self->size - self->position));

  if (size > 0 && !self->cannot_map &&
      zcio_transmitter_may_zero_copy (self->transmitter, size, &is_probe))
    {
      if (is_probe)
        return send_mapped (self, MIN (size, PROBE_SIZE), error);

      /* What is asked for by hand is not weighed. */
      if (zcio_transmitter_get_mode (self->transmitter) == ZCIO_ZERO_COPY_MODE_ALWAYS ||
          syscalls->send_file == NULL)
        return send_mapped (self, size, error);

      return send_by_policy (self, error);
    }

  /* No longer by zero-copy, for now or for good. */
  g_clear_pointer (&self->window, zcio_file_window_free);
  if (syscalls->send_file == NULL)
    return read_instead (self);

  /* At what was the end there may be more by now; and that it is the end, the kernel says. */
  return send_file (self, SHARE_SIZE, FALSE, error);
}

/* Pipes */

static gboolean
is_pipe_ready (ZcioFileSplice *self)
{
  struct pollfd fd = { .fd = self->fd, .events = POLLIN };

  zcio_transmitter_add_spliced (self->transmitter, 0, 0, 0, 1);
  return poll (&fd, 1, 0) != 0;
}

static ZcioSpliceResult
step_pipe (ZcioFileSplice  *self,
           GError         **error)
{
  int errsv;
  gssize n;

  if (self->transmitter->syscalls->move_pipe == NULL)
    return read_instead (self);

  n = share (self, SHARE_SIZE, &errsv);
  if (n > 0)
    return ZCIO_SPLICE_GO_ON;
  if (n == 0)
    return ZCIO_SPLICE_DONE;

  /* Which of the two has to be waited for? */
  if (errsv == EAGAIN)
    return is_pipe_ready (self) ? ZCIO_SPLICE_WAIT_WRITABLE : ZCIO_SPLICE_WAIT_PIPE;
  if (!is_socket_error (errsv))
    return read_instead (self);

  set_socket_error (errsv, error);
  return ZCIO_SPLICE_FAILED;
}

/* Everything else */

gpointer
zcio_file_splice_get_buffer (ZcioFileSplice *self,
                             gsize          *size,
                             GError        **error)
{
  guint8 *data;

  if (self->buffer != NULL && BUFFER_SIZE - self->filled < MIN_READ_SIZE)
    drop_buffer (self);

  if (self->buffer == NULL)
    {
      self->buffer = acquire_buffer (error);
      self->filled = 0;
      self->sent = 0;
      if (self->buffer == NULL)
        return NULL;
    }

  data = zcio_buffer_get_data (self->buffer, size);
  *size -= self->filled;
  return data + self->filled;
}

void
zcio_file_splice_was_read (ZcioFileSplice *self,
                           gsize           size)
{
  self->sent = self->filled;
  self->filled += size;
}

static ZcioSpliceResult
step_buffer (ZcioFileSplice  *self,
             GError         **error)
{
  gsize page_size = sysconf (_SC_PAGESIZE);
  ZcioSendRequest request;
  GOutputVector vector;
  ZcioSpliceResult result;
  gsize size;

  if (self->buffer == NULL || self->sent == self->filled)
    return ZCIO_SPLICE_READ;

  vector.buffer = (const guint8 *) zcio_buffer_get_data (self->buffer, &size) + self->sent;
  vector.size = self->filled - self->sent;
  zcio_send_request_init_vectors (&request, &vector, 1, TRUE, NULL);
  request.release = (GDestroyNotify) zcio_buffer_unref;
  request.release_data = zcio_buffer_ref (self->buffer);

  result = send_request (self, &request, error);
  self->sent += request.written;
  self->bytes += request.written;

  /* What follows may not touch what is in flight; and pages are what the kernel sends. */
  if (self->sent == self->filled)
    {
      self->filled = MIN ((self->filled + page_size - 1) & ~(page_size - 1), size);
      self->sent = self->filled;
    }

  return result;
}

gboolean
zcio_file_splice_may_block (ZcioFileSplice *self)
{
  return self->way == ZCIO_SPLICE_FILE;
}

ZcioSpliceResult
zcio_file_splice_step (ZcioFileSplice  *self,
                       GCancellable    *cancellable,
                       GError         **error)
{
  guint64 turn_ends = self->bytes + (self->way == ZCIO_SPLICE_PIPE ? PIPE_TURN_SIZE : TURN_SIZE);

  while (self->bytes < turn_ends)
    {
      ZcioSpliceResult result;

      /* Reading makes its own checks. */
      if (self->way == ZCIO_SPLICE_BUFFER && self->sent == self->filled)
        return ZCIO_SPLICE_READ;

      if (!zcio_send_check (self->transmitter, self->socket, cancellable, error))
        return ZCIO_SPLICE_FAILED;

      switch (self->way)
        {
        case ZCIO_SPLICE_FILE:
          result = step_file (self, error);
          break;

        case ZCIO_SPLICE_PIPE:
          result = step_pipe (self, error);
          break;

        case ZCIO_SPLICE_BUFFER:
        default:
          result = step_buffer (self, error);
          break;
        }

      if (result != ZCIO_SPLICE_GO_ON)
        return result;
    }

  return ZCIO_SPLICE_PAUSE;
}
