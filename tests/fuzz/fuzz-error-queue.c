/* fuzz-error-queue.c - the error queue reader on whatever control messages there may be
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is a list of answers to recvmsg (): a byte that says which, and, for a record,
 * its size and its control messages. Each is first parsed alone, from memory of just its
 * size, so that a sanitizer finds every byte read behind it; then all are read at once.
 */

#include "config.h"

#include "fuzz-private.h"
#include "zcio/zcio-error-queue-private.h"

#include <errno.h>
#include <string.h>

#define MAX_ANSWERS 1000

/* No reader may ask without end, whatever it is answered. */
#define MAX_CALLS 2000

enum
{
  ANSWER_AGAIN,
  ANSWER_INTERRUPTED,
  ANSWER_ERROR,
  ANSWER_RECORD       /* and all above it */
};

typedef struct
{
  ZcioSyscalls syscalls;
  FuzzInput input;
  guint n_answers;
  guint n_calls;
  guint n_records;
  guint n_notifications;
  gboolean ended;     /* with an answer that means that nothing is left */
} Fuzzer;

static gboolean
parse (const guint8     *data,
       gsize             size,
       ZcioNotification *notification)
{
  g_autofree guint8 *control = g_memdup2 (data, size);
  struct msghdr message = { .msg_control = control, .msg_controllen = size };
  gboolean result = zcio_error_queue_parse (&message, notification);

  if (size > 0)
    g_assert_cmpmem (control, size, data, size);

  return result;
}

/* Whatever was found must be somewhere: struct sock_extended_err, with its origin. */
static void
assert_contains (const guint8           *data,
                 gsize                   size,
                 const ZcioNotification *notification)
{
  for (gsize i = 0; i + 16 <= size; i++)
    {
      static const guint8 no_error[4];

      if (memcmp (data + i, no_error, 4) == 0 && data[i + 4] == 5 &&
          (data[i + 6] & 1) == !!notification->copied &&
          memcmp (data + i + 8, &notification->first, 4) == 0 &&
          memcmp (data + i + 12, &notification->last, 4) == 0)
        return;
    }

  g_assert_not_reached ();
}

static gssize
answer (ZcioSyscalls  *syscalls,
        int            fd,
        struct msghdr *message)
{
  Fuzzer *self = (Fuzzer *) syscalls;
  ZcioNotification notification;
  guint8 kind = fuzz_input_next (&self->input);
  gsize size;

  g_assert_cmpuint (++self->n_calls, <=, MAX_CALLS);
  g_assert_nonnull (message->msg_control);
  g_assert_cmpuint (message->msg_controllen, >=, 256);
  g_assert_cmpuint (message->msg_iovlen, ==, 0);

  if (self->input.size == 0 || ++self->n_answers > MAX_ANSWERS)
    kind = ANSWER_AGAIN;
  if (kind < ANSWER_RECORD)
    {
      static const int errors[] = { EAGAIN, EINTR, ENOTCONN };

      self->ended = kind != ANSWER_INTERRUPTED;
      errno = errors[kind];
      return -1;
    }

  size = fuzz_input_next (&self->input) * 2u;
  size = MIN (size, self->input.size);
  size = MIN (size, message->msg_controllen);
  if (parse (self->input.data, size, &notification))
    {
      assert_contains (self->input.data, size, &notification);
      self->n_notifications++;
    }
  self->n_records++;
  memcpy (message->msg_control, self->input.data, size);
  message->msg_controllen = size;
  message->msg_flags = MSG_ERRQUEUE | (kind & 1 ? MSG_CTRUNC : 0);
  self->input.data += size;
  self->input.size -= size;

  return 0;
}

int
LLVMFuzzerInitialize (int    *argc,
                      char ***argv)
{
  return 0;
}

int
LLVMFuzzerTestOneInput (const guint8 *data,
                        size_t        size)
{
  Fuzzer fuzzer = { .syscalls = { .receive_error = answer }, .input = { data, size } };
  guint max = 1 + fuzz_input_next (&fuzzer.input) % 40;
  g_autofree ZcioNotification *notifications = g_new (ZcioNotification, max);
  guint n_notifications = 0;
  guint n_foreign = 0;

  do
    {
      gboolean empty = 2;
      guint foreign = G_MAXUINT;
      guint n;

      fuzzer.ended = FALSE;
      errno = ESTALE;
      n = zcio_error_queue_read (&fuzzer.syscalls, -1, notifications, max, &foreign, &empty);
      g_assert_cmpint (errno, ==, ESTALE);
      g_assert_cmpuint (n, <=, max);
      g_assert_cmpint (empty, ==, fuzzer.ended);
      for (guint i = 0; i < n; i++)
        g_assert_cmpuint (zcio_notification_get_length (&notifications[i]), >, 0);
      n_notifications += n;
      n_foreign += foreign;
    }
  while (fuzzer.input.size > 0 && fuzzer.n_answers < MAX_ANSWERS);

  g_assert_cmpuint (n_notifications, ==, fuzzer.n_notifications);
  g_assert_cmpuint (n_notifications + n_foreign, ==, fuzzer.n_records);

  return 0;
}
