/* zcio-syscalls-private.h - the calls into the kernel, as a table that tests can replace
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

G_BEGIN_DECLS

/* The most that one call may ask for: the kernel charges RLIMIT_MEMLOCK with the
 * size asked for, not with the size accepted (mm_account_pinned_pages ()).
 */
#define ZCIO_MAX_SEND_SIZE ((gsize) 4 * 1024 * 1024)

/* UIO_MAXIOV; more is EMSGSIZE. */
#define ZCIO_MAX_SEND_VECTORS 1024

/* Passed to send_message () to ask for zero-copy; 0 where the system has no such
 * thing, and there enable_zero_copy () always fails.
 */
extern const int zcio_zero_copy_flag;

/*
 * ZcioUsage:
 * @cpu: nanoseconds of CPU that the calling thread has used
 * @faults: page faults that it has met
 * @reads: what it has had read from disks, in some unit
 */
typedef struct
{
  guint64 cpu;
  guint64 faults;
  guint64 reads;
} ZcioUsage;

typedef struct _ZcioSyscalls ZcioSyscalls;

/*
 * ZcioSyscalls:
 * @send_message: sendmsg (); MSG_NOSIGNAL and MSG_DONTWAIT are always added
 * @receive_error: recvmsg () with MSG_ERRQUEUE and MSG_DONTWAIT
 * @enable_zero_copy: sets SO_ZEROCOPY; *@counter_known is whether the next send
 *   by zero-copy is certain to get the id 0
 * @poll: poll (); the timeout is in milliseconds, -1 for none
 * @disconnect: connect () with AF_UNSPEC: resets the connection
 * @get_unacknowledged: SIOCOUTQ: bytes that the peer has not acknowledged
 * @get_time: g_get_monotonic_time ()
 * @get_coarse_time: the same clock, some milliseconds late, but cheap
 * @get_usage: what the calling thread has used until now; or %NULL, and then so is @send_file
 * @send_file: sendfile () to the socket @fd, from @offset of @file_fd; or %NULL
 * @move_pipe: splice () to the socket @fd, from a pipe, without waiting for it; or %NULL
 *
 * Each returns -1 and sets errno like the call it stands for.
 */
struct _ZcioSyscalls
{
  gssize (*send_message)       (ZcioSyscalls        *self,
                                int                  fd,
                                const struct msghdr *message,
                                int                  flags);
  gssize (*receive_error)      (ZcioSyscalls        *self,
                                int                  fd,
                                struct msghdr       *message);
  int    (*enable_zero_copy)   (ZcioSyscalls        *self,
                                int                  fd,
                                gboolean            *counter_known);
  int    (*poll)               (ZcioSyscalls        *self,
                                struct pollfd       *fds,
                                nfds_t               n_fds,
                                int                  timeout);
  int    (*disconnect)         (ZcioSyscalls        *self,
                                int                  fd);
  int    (*get_unacknowledged) (ZcioSyscalls        *self,
                                int                  fd);
  gint64 (*get_time)           (ZcioSyscalls        *self);
  gint64 (*get_coarse_time)    (ZcioSyscalls        *self);
  void   (*get_usage)          (ZcioSyscalls        *self,
                                ZcioUsage           *usage);
  gssize (*send_file)          (ZcioSyscalls        *self,
                                int                  fd,
                                int                  file_fd,
                                goffset              offset,
                                gsize                size);
  gssize (*move_pipe)          (ZcioSyscalls        *self,
                                int                  fd,
                                int                  pipe_fd,
                                gsize                size);
};

/* The table that new transmitters use: the real kernel's, unless a test has set
 * another. The table must outlive all transmitters that were made with it.
 */
ZcioSyscalls *zcio_syscalls_get_default (void);
void          zcio_syscalls_set_default (ZcioSyscalls *syscalls);
ZcioSyscalls *zcio_syscalls_get_real    (void);

/* Reads the pages of a mapping from the disk, if they are not in memory, and waits for
 * that. -1, with EFAULT, if one cannot be read or is not in the file: no signal is raised.
 * EINVAL before Linux 5.14, ENOSYS elsewhere.
 */
int           zcio_syscalls_populate    (gconstpointer       address,
                                         gsize               size);

/* Has what is read from the disk for a mapping of a file kept in huge pages, where the system and
 * the file system can.
 */
void          zcio_syscalls_prefer_huge_pages (gconstpointer address,
                                               gsize         size);

/* Whether a file can only be mapped by whole huge pages (hugetlbfs, memfd_create () with
 * MFD_HUGETLB).
 */
gboolean      zcio_syscalls_has_huge_blocks (int                 fd);

/* Whether all of a file's range is in memory. FALSE where that cannot be told. */
gboolean      zcio_syscalls_is_cached   (int                 fd,
                                         goffset             offset,
                                         gsize               size);

G_END_DECLS
