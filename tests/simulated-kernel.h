/* simulated-kernel.h - a kernel that does what tests tell it, and checks its user
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio/zcio-syscalls-private.h"

G_BEGIN_DECLS

/*
 * One TCP connection of a kernel that is not there. It stands behind a table of
 * system calls, and has a clock of its own: nothing ever sleeps. Time passes by a
 * microsecond with each call, and by as much as is waited for in poll ().
 *
 * It fails the test, and tells what happened before, if
 * - memory is released or changed before the notification about its send was read,
 * - poll () would wait for ever, or calls are made on and on without any progress,
 * - the error queue is read where zero-copy was not enabled, or with too small a buffer,
 * - a send by zero-copy asks for more than ZCIO_MAX_SEND_SIZE.
 */

typedef enum
{
  SIMULATED_SEND_COPY,
  SIMULATED_SEND_ZERO_COPY,
  SIMULATED_RECEIVE_ERROR,
  SIMULATED_ENABLE_ZERO_COPY,
  SIMULATED_POLL,
  SIMULATED_DISCONNECT,
  SIMULATED_GET_UNACKNOWLEDGED,
  SIMULATED_CONTEXT_POLL,
  SIMULATED_N_CALLS
} SimulatedCall;

typedef enum
{
  SIMULATED_COMPLETE_WHEN_ACKNOWLEDGED,  /* and completion_delay has passed */
  SIMULATED_COMPLETE_AT_ONCE,            /* before send_message () returns */
  SIMULATED_COMPLETE_BY_HAND             /* simulated_kernel_complete () */
} SimulatedCompletion;

typedef enum
{
  SIMULATED_TIMESTAMP,
  SIMULATED_ICMP,
  SIMULATED_TXTIME,
  SIMULATED_LOCAL_ERROR,
  SIMULATED_N_FOREIGN
} SimulatedForeign;

/* How often, in a hundred, something happens by chance. */
typedef struct
{
  guint short_send;
  guint interrupted;        /* EINTR, from any call */
  guint would_block;        /* EAGAIN although there is space */
  guint no_buffers;         /* ENOBUFS for no visible reason */
  guint fault;              /* EFAULT, from a send by zero-copy */
  guint no_memory;          /* ENOMEM, from a send by zero-copy */
  guint early_completion;   /* before send_message () returns */
  guint foreign;            /* a record that is no notification */
  guint duplicate;          /* a notification that was read already */
  guint unshared;           /* a send that could share a notification does not */
  guint copied;             /* that the kernel says it copied */
  guint reset;              /* in ten thousand calls of send_message () */
} SimulatedOdds;

typedef struct _SimulatedKernel SimulatedKernel;
typedef struct _SimulatedKernelPrivate SimulatedKernelPrivate;

typedef void (*SimulatedHook) (SimulatedKernel *kernel,
                               SimulatedCall    call,
                               gpointer         data);

struct _SimulatedKernel
{
  ZcioSyscalls syscalls;

  /* What the test sets; these are the defaults. */
  sa_family_t family;              /* AF_INET */
  int fd;                          /* -1: every fd is the socket; else this one and its duplicates */
  gsize send_buffer;               /* 256 KiB */
  gsize drain_size;                /* 64 KiB: what is acknowledged each drain_interval; 0: nothing */
  gint64 drain_interval;           /* 1000 microseconds */
  gsize window;                    /* 64 KiB: how much is on its way, sent but not acknowledged */
  SimulatedCompletion completion;  /* SIMULATED_COMPLETE_WHEN_ACKNOWLEDGED */
  gint64 completion_delay;         /* 0 microseconds */
  gint64 random_delay;             /* 0: at most so much is added, differently for each */
  gint64 queue_delay;              /* 0: after a reset, what was sent is held so long, one after the other */
  gboolean says_copied;            /* FALSE */
  gboolean shares;                 /* TRUE: unsent sends share a notification, up to 512 KiB */
  gsize optmem_max;                /* 131072 */
  gsize optmem_cost;               /* 832, for each notification */
  gsize memlock_limit;             /* G_MAXSIZE pages */
  gboolean no_zero_copy;           /* FALSE: whether SO_ZEROCOPY is refused */
  gboolean refuses_flag;           /* FALSE: whether send_message () refuses it, as TLS does */
  gboolean counter_known;          /* TRUE */
  gboolean threads;                /* FALSE: whether other threads may end a wait */
  guint64 fail_call;               /* 0: the call with this number fails */
  int fail_errno;                  /* with this error */
  SimulatedHook hook;              /* NULL: each call, once it is counted, calls this first */
  gpointer hook_data;
  SimulatedOdds odds;              /* all 0 */

  /* What the test reads. */
  guint64 calls[SIMULATED_N_CALLS];
  guint64 n_calls;                 /* of all kinds */
  guint64 no_buffers;              /* ENOBUFS returned */
  guint64 would_block;             /* EAGAIN returned by a send */
  guint64 early_tries;             /* sends by zero-copy between EAGAIN and POLLOUT */
  guint64 zero_copy_sends;
  guint64 zero_copy_bytes;
  guint64 copied_bytes;            /* that came by sends that copy */
  guint64 notifications;           /* read */
  guint64 foreign;                 /* read */
  guint64 sends_in_flight;         /* whose notification was not read */
  guint64 bytes_in_flight;
  SimulatedCall failed_call;       /* what fail_call was */
  gint64 now;                      /* microseconds */

  SimulatedKernelPrivate *priv;
};

/* All chance comes from the seed. */
SimulatedKernel *simulated_kernel_new             (guint64             seed);
/* Checks, once more, the memory of what is still in flight. */
void             simulated_kernel_free            (SimulatedKernel    *kernel);
/* The id of the next send by zero-copy; it is only known if it is 0. */
void             simulated_kernel_set_counter     (SimulatedKernel    *kernel,
                                                   guint32             id);

/* Scripts: what the next send of that kind does that has no other script yet. */
void             simulated_kernel_script_error    (SimulatedKernel    *kernel,
                                                   SimulatedCall       call,
                                                   int                 error_number);
void             simulated_kernel_script_short    (SimulatedKernel    *kernel,
                                                   SimulatedCall       call,
                                                   gsize               size);
void             simulated_kernel_script_normal   (SimulatedKernel    *kernel,
                                                   SimulatedCall       call);
/* Calls the function when so many microseconds have passed. */
void             simulated_kernel_after           (SimulatedKernel    *kernel,
                                                   gint64              delay,
                                                   void              (*function) (gpointer data),
                                                   gpointer            data);

/* Events, now */
void             simulated_kernel_advance         (SimulatedKernel    *kernel,
                                                   gint64              microseconds);
void             simulated_kernel_acknowledge     (SimulatedKernel    *kernel,
                                                   gsize               size);
/* Completes sends, each of which was not complete, and queues one notification, or
 * extends the last. Only if completion is by hand.
 */
void             simulated_kernel_complete        (SimulatedKernel    *kernel,
                                                   guint32             first,
                                                   guint32             last,
                                                   gboolean            copied);
/* Queues a notification, true or not; it is not merged. */
void             simulated_kernel_notify          (SimulatedKernel    *kernel,
                                                   guint32             first,
                                                   guint32             last,
                                                   gboolean            copied);
void             simulated_kernel_queue_foreign   (SimulatedKernel    *kernel,
                                                   SimulatedForeign    foreign);
/* The connection ends with this error; what is in flight completes. */
void             simulated_kernel_reset           (SimulatedKernel    *kernel,
                                                   int                 error_number);
/* The socket is closed under its user: no notification is read any more, and
 * memory is not watched from now on.
 */
void             simulated_kernel_close           (SimulatedKernel    *kernel);

/* Memory */
/* To be called by the owner of memory before it is freed or used again. */
void             simulated_kernel_released        (SimulatedKernel    *kernel,
                                                   gconstpointer       data,
                                                   gsize               size);
/* Bytes of the pattern that call it by themselves. *@released is incremented. */
GBytes          *simulated_kernel_new_bytes       (SimulatedKernel    *kernel,
                                                   guint64             position,
                                                   gsize               size,
                                                   gint               *released);
/* Fails the test if memory of a send in flight was changed. */
void             simulated_kernel_check_memory    (SimulatedKernel    *kernel);

/* What was accepted, in order. */
const guint8    *simulated_kernel_get_stream      (SimulatedKernel    *kernel,
                                                   gsize              *size);
/* Ids of sends that are not complete yet: the oldest, and how many. */
guint            simulated_kernel_get_incomplete  (SimulatedKernel    *kernel,
                                                   guint32            *first);

/* Lets the context poll the simulated socket: what happens in the simulation takes
 * no time there. One kernel at a time; NULL ends it.
 */
void             simulated_kernel_set_context     (SimulatedKernel    *kernel,
                                                   GMainContext       *context);

G_END_DECLS
