/* simulated-kernel-private.h - what the parts of the simulated kernel share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "simulated-kernel.h"

G_BEGIN_DECLS

/* What several sends share until it completes: struct ubuf_info_msgzc. */
typedef struct
{
  guint32 first;
  guint n_sends;
  guint64 begin;      /* in the stream */
  guint64 end;
  gsize requested;    /* bytes, limited as if they had been accepted */
  gsize pages;        /* charged to RLIMIT_MEMLOCK */
  gint64 due;         /* when it completes; G_MAXINT64: not known yet */
  gboolean copied;
} SimulatedUnit;

/* A send whose notification was not read. Its memory must be as it was. */
typedef struct
{
  guint32 id;
  guint64 position;   /* in the stream */
  gsize size;
  guint n_vectors;
  struct iovec vectors[];
} SimulatedSend;

/* An entry of the error queue. */
typedef struct
{
  gboolean is_foreign;
  SimulatedForeign foreign;
  guint32 first;
  guint32 last;
  gboolean copied;
  gboolean final;     /* nothing is merged into it */
  gsize optmem;
} SimulatedRecord;

struct _SimulatedKernelPrivate
{
  GRecMutex lock;
  guint64 seed;
  guint64 random;
  gboolean closed;

  GByteArray *stream;
  guint64 acknowledged;
  gint64 next_drain;
  guint32 next_id;
  gboolean enabled;
  gboolean blocked;        /* EAGAIN was returned, and not POLLOUT since */
  gboolean dead;           /* reset or disconnected */
  int error_number;        /* sk_err */
  gsize optmem;
  gsize pages;

  GPtrArray *units;        /* SimulatedUnit, by id; those that are not complete */
  GQueue sends;            /* SimulatedSend, by id */
  GQueue records;          /* SimulatedRecord */
  GQueue scripts;
  GList *timers;           /* by time */

  guint idle_calls;        /* since there was progress */
  GArray *story;           /* SimulatedEvent, a ring */
  guint64 n_story;
};

typedef struct
{
  gint64 time;
  const char *what;
  gint64 first;
  gint64 second;
  gint64 result;
  int error_number;
} SimulatedEvent;

typedef struct
{
  gint64 time;
  void (*function) (gpointer data);
  gpointer data;
} SimulatedTimer;

SimulatedKernel *simulated_kernel_lock          (ZcioSyscalls    *syscalls);
void             simulated_kernel_unlock        (SimulatedKernel *kernel);
/* Counts a call. FALSE, with errno set, if it is to fail. */
gboolean         simulated_kernel_begin_call    (SimulatedKernel *kernel,
                                                 SimulatedCall    call);
/* Unlocks, tells, and returns @result; errno is set if that is -1. */
gssize           simulated_kernel_end_call      (SimulatedKernel *kernel,
                                                 const char      *what,
                                                 gint64           first,
                                                 gint64           second,
                                                 gssize           result,
                                                 int              error_number);
void             simulated_kernel_tell          (SimulatedKernel *kernel,
                                                 const char      *what,
                                                 gint64           first,
                                                 gint64           second,
                                                 gint64           result,
                                                 int              error_number);
void             simulated_kernel_fail          (SimulatedKernel *kernel,
                                                 const char      *format,
                                                 ...) G_GNUC_PRINTF (2, 3) G_GNUC_NORETURN;
gboolean         simulated_kernel_is_fatal      (int              error_number);
gboolean         simulated_kernel_chance        (SimulatedKernel *kernel,
                                                 guint            percent);
void             simulated_kernel_progress      (SimulatedKernel *kernel);
/* Virtual time */
void             simulated_kernel_advance_to    (SimulatedKernel *kernel,
                                                 gint64           time);
gint64           simulated_kernel_get_next_event (SimulatedKernel *kernel);
guint64          simulated_kernel_get_sent      (SimulatedKernel *kernel);

/* simulated-send.c */
gssize           simulated_send_message         (ZcioSyscalls        *syscalls,
                                                 int                  fd,
                                                 const struct msghdr *message,
                                                 int                  flags);

/* simulated-queue.c */
void             simulated_kernel_complete_unit (SimulatedKernel *kernel,
                                                 guint            index);
void             simulated_kernel_complete_due  (SimulatedKernel *kernel);
void             simulated_kernel_purge         (SimulatedKernel *kernel);
void             simulated_kernel_check_send    (SimulatedKernel *kernel,
                                                 SimulatedSend   *send);
gssize           simulated_receive_error        (ZcioSyscalls    *syscalls,
                                                 int              fd,
                                                 struct msghdr   *message);

/* simulated-poll.c */
int              simulated_poll                 (ZcioSyscalls    *syscalls,
                                                 struct pollfd   *fds,
                                                 nfds_t           n_fds,
                                                 int              timeout);

G_END_DECLS
