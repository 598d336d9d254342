/* zcio-syscalls.c - the calls into the kernel, as a table that tests can replace
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-syscalls-private.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

/* Every difference between systems is in this file. */
#ifdef __linux__
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#endif

#if defined(MSG_ZEROCOPY) && defined(MSG_ERRQUEUE) && defined(SO_ZEROCOPY) && defined(TCP_INFO)
#define HAVE_ZERO_COPY
const int zcio_zero_copy_flag = MSG_ZEROCOPY;
#else
const int zcio_zero_copy_flag = 0;
#endif

#ifdef MSG_NOSIGNAL
#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)
#else
#define SEND_FLAGS MSG_DONTWAIT
#endif

static gssize
real_send_message (ZcioSyscalls *self,
                   int fd,
                   const struct msghdr *message,
                   int flags)
{
  /* Cheaper, because there is no header that the kernel must copy in; but what is wrong with
   * an impossible size only sendmsg () tells.
   */
  if (message->msg_iovlen == 1 && message->msg_controllen == 0 && message->msg_namelen == 0 &&
      message->msg_iov[0].iov_len <= (gsize) G_MAXSSIZE)
    {
      return send (fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len, flags | SEND_FLAGS);
    }

  return sendmsg (fd, message, flags | SEND_FLAGS);
}

#ifdef HAVE_ZERO_COPY

static gssize
real_receive_error (ZcioSyscalls *self,
                    int fd,
                    struct msghdr *message)
{
  return recvmsg (fd, message, MSG_ERRQUEUE | MSG_DONTWAIT);
}

static int
get_socket_option (int fd,
                   int option)
{
  int value = -1;
  socklen_t size = sizeof value;

  if (getsockopt (fd, SOL_SOCKET, option, &value, &size) != 0)
    return -1;

  return value;
}

/* Only TCP's error queue works as the rest of the library expects: UDP is no stream,
 * and vsock, which accepts SO_ZEROCOPY, may take several ids for one send.
 */
static gboolean
is_tcp (int fd)
{
  int domain = get_socket_option (fd, SO_DOMAIN);

  return (domain == AF_INET || domain == AF_INET6) &&
         get_socket_option (fd, SO_TYPE) == SOCK_STREAM &&
         get_socket_option (fd, SO_PROTOCOL) == IPPROTO_TCP;
}

/* There is no way to ask for the counter of ids. An earlier user of the socket may
 * have advanced it, even if SO_ZEROCOPY is clear by now; and it survives a
 * connect () with AF_UNSPEC, which sets all that TCP_INFO counts to 0.
 */
static gboolean
is_counter_known (int fd)
{
  struct tcp_info info = { 0 };
  socklen_t size = sizeof info;
  int queued;

  if (get_socket_option (fd, SO_ZEROCOPY) != 0)
    return FALSE;

  if (getsockopt (fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
    return FALSE;

  if (size < offsetof (struct tcp_info, tcpi_bytes_sent) + sizeof info.tcpi_bytes_sent)
    return FALSE;

  if (ioctl (fd, SIOCOUTQ, &queued) != 0)
    return FALSE;

  return info.tcpi_bytes_sent == 0 && info.tcpi_notsent_bytes == 0 && queued == 0;
}

static int
real_enable_zero_copy (ZcioSyscalls *self,
                       int fd,
                       gboolean *counter_known)
{
  int value = 1;

  *counter_known = FALSE;

  if (!is_tcp (fd))
    {
      errno = EOPNOTSUPP;
      return -1;
    }

  *counter_known = is_counter_known (fd);

  /* How it fails depends on the kernel: ENOPROTOOPT, EBUSY, EOPNOTSUPP, or an
   * ENOTSUPP of 524. They all mean the same.
   */
  if (setsockopt (fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value) != 0)
    {
      *counter_known = FALSE;
      errno = EOPNOTSUPP;
      return -1;
    }

  return 0;
}

#else

static gssize
real_receive_error (ZcioSyscalls *self,
                    int fd,
                    struct msghdr *message)
{
  errno = EAGAIN;
  return -1;
}

static int
real_enable_zero_copy (ZcioSyscalls *self,
                       int fd,
                       gboolean *counter_known)
{
  *counter_known = FALSE;
  errno = EOPNOTSUPP;
  return -1;
}

#endif

static int
real_poll (ZcioSyscalls *self,
           struct pollfd *fds,
           nfds_t n_fds,
           int timeout)
{
  return poll (fds, n_fds, timeout);
}

static int
real_disconnect (ZcioSyscalls *self,
                 int fd)
{
  struct sockaddr address;

  memset (&address, 0, sizeof address);
  address.sa_family = AF_UNSPEC;

  return connect (fd, &address, sizeof address);
}

static int
real_get_unacknowledged (ZcioSyscalls *self,
                         int fd)
{
#ifdef SIOCOUTQ
  int queued;

  if (ioctl (fd, SIOCOUTQ, &queued) != 0)
    return -1;

  return queued;
#else
  errno = EOPNOTSUPP;
  return -1;
#endif
}

static gint64
real_get_time (ZcioSyscalls *self)
{
  return g_get_monotonic_time ();
}

static gint64
real_get_coarse_time (ZcioSyscalls *self)
{
#ifdef CLOCK_MONOTONIC_COARSE
  struct timespec time;

  if (G_LIKELY (clock_gettime (CLOCK_MONOTONIC_COARSE, &time) == 0))
    return (gint64) time.tv_sec * G_USEC_PER_SEC + time.tv_nsec / 1000;
#endif

  return g_get_monotonic_time ();
}

#ifdef __linux__

/* The time that getrusage () tells may be one of the last tick. A fault that waits for the disk is
 * a major one, and what a system call has read, read-ahead included, are blocks.
 */
static void
real_get_usage (ZcioSyscalls *self,
                ZcioUsage *usage)
{
  struct timespec time = { 0, 0 };
  struct rusage resources = { 0 };

  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &time);
  getrusage (RUSAGE_THREAD, &resources);

  usage->cpu = (guint64) time.tv_sec * 1000000000 + (guint64) time.tv_nsec;
  usage->faults = (guint64) resources.ru_minflt + (guint64) resources.ru_majflt;
  usage->reads = (guint64) resources.ru_majflt + (guint64) resources.ru_inblock;
}

static gssize
real_send_file (ZcioSyscalls *self,
                int fd,
                int file_fd,
                goffset offset,
                gsize size)
{
  off64_t position = offset;

  return sendfile64 (fd, file_fd, &position, size);
}

static gssize
real_move_pipe (ZcioSyscalls *self,
                int fd,
                int pipe_fd,
                gsize size)
{
  return splice (pipe_fd, NULL, fd, NULL, size, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
}

int
zcio_syscalls_populate (gconstpointer address,
                        gsize size)
{
  return madvise ((gpointer) address, size, MADV_POPULATE_READ);
}

void
zcio_syscalls_prefer_huge_pages (gconstpointer address,
                                 gsize size)
{
  madvise ((gpointer) address, size, MADV_HUGEPAGE);
}

gboolean
zcio_syscalls_has_huge_blocks (int fd)
{
  struct statfs status;

  return fstatfs (fd, &status) == 0 && (guint32) status.f_type == HUGETLBFS_MAGIC;
}

/* Linux 6.5 and newer tell, those since 6.13 only of files that one may write to. */
gboolean
zcio_syscalls_is_cached (int fd,
                         goffset offset,
                         gsize size)
{
  const struct
  {
    guint64 offset;
    guint64 length;
  } range = { offset, size };
  struct
  {
    guint64 n_cached, n_dirty, n_written_back, n_evicted, n_recently_evicted;
  } pages = { 0 };
  guint64 page_size = sysconf (_SC_PAGESIZE);

  return size > 0 && syscall (SYS_cachestat, fd, &range, &pages, 0) == 0 &&
         pages.n_cached >= (offset + size - 1) / page_size - offset / page_size + 1;
}

#else

/* Each system has a sendfile () of its own. What is missing is read and written. */
#define real_get_usage NULL
#define real_send_file NULL
#define real_move_pipe NULL

int
zcio_syscalls_populate (gconstpointer address,
                        gsize size)
{
  errno = ENOSYS;
  return -1;
}

void
zcio_syscalls_prefer_huge_pages (gconstpointer address,
                                 gsize size)
{
}

gboolean
zcio_syscalls_has_huge_blocks (int fd)
{
  return FALSE;
}

gboolean
zcio_syscalls_is_cached (int fd,
                         goffset offset,
                         gsize size)
{
  return FALSE;
}

#endif

static ZcioSyscalls real_syscalls = {
  .send_message = real_send_message,
  .receive_error = real_receive_error,
  .enable_zero_copy = real_enable_zero_copy,
  .poll = real_poll,
  .disconnect = real_disconnect,
  .get_unacknowledged = real_get_unacknowledged,
  .get_time = real_get_time,
  .get_coarse_time = real_get_coarse_time,
  .get_usage = real_get_usage,
  .send_file = real_send_file,
  .move_pipe = real_move_pipe,
};

static ZcioSyscalls *default_syscalls = &real_syscalls;

ZcioSyscalls *
zcio_syscalls_get_default (void)
{
  return g_atomic_pointer_get (&default_syscalls);
}

/* NULL sets the real kernel's again. */
void
zcio_syscalls_set_default (ZcioSyscalls *syscalls)
{
  g_atomic_pointer_set (&default_syscalls, syscalls != NULL ? syscalls : &real_syscalls);
}

ZcioSyscalls *
zcio_syscalls_get_real (void)
{
  return &real_syscalls;
}
