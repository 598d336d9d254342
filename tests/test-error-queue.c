/* test-error-queue.c - reading notifications from a socket's error queue
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include <linux/errqueue.h>

#include <glib.h>

#include "zcio/zcio-error-queue-private.h"

/* Control messages as the kernel makes them. */

typedef struct
{
  _Alignas (struct cmsghdr) guint8 control[512];
  gsize length;
} Record;

static void
add_control (Record *record,
             int level,
             int type,
             gconstpointer data,
             gsize size)
{
  struct cmsghdr header = { .cmsg_len = CMSG_LEN (size), .cmsg_level = level, .cmsg_type = type };

  g_assert_cmpuint (record->length + CMSG_SPACE (size), <=, sizeof record->control);
  memcpy (record->control + record->length, &header, sizeof header);
  memcpy (record->control + record->length + CMSG_LEN (0), data, size);
  record->length += CMSG_SPACE (size);
}

static void
add_error (Record *record,
           int family,
           const struct sock_extended_err *error)
{
  guint8 data[sizeof *error + sizeof (struct sockaddr_in6)] = { 0 };

  memcpy (data, error, sizeof *error);
  if (family == AF_INET)
    add_control (record, SOL_IP, IP_RECVERR, data, sizeof *error + sizeof (struct sockaddr_in));
  else
    add_control (record, SOL_IPV6, IPV6_RECVERR, data, sizeof *error + sizeof (struct sockaddr_in6));
}

static void
add_notification (Record *record,
                  int family,
                  guint32 first,
                  guint32 last,
                  guint8 code)
{
  struct sock_extended_err error = {
    .ee_origin = SO_EE_ORIGIN_ZEROCOPY,
    .ee_code = code,
    .ee_info = first,
    .ee_data = last
  };

  add_error (record, family, &error);
}

static void
add_timestamp (Record *record,
               int family)
{
  struct scm_timestamping stamps = { { { 12, 34 } } };
  struct sock_extended_err error = {
    .ee_errno = ENOMSG,
    .ee_origin = SO_EE_ORIGIN_TIMESTAMPING,
    .ee_info = SCM_TSTAMP_ACK,
    .ee_data = 4711
  };

  add_control (record, SOL_SOCKET, SCM_TIMESTAMPING, &stamps, sizeof stamps);
  add_error (record, family, &error);
}

static void
add_icmp (Record *record,
          int family)
{
  struct sock_extended_err error = {
    .ee_errno = EHOSTUNREACH,
    .ee_origin = family == AF_INET ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6,
    .ee_type = 3,
    .ee_code = 1
  };

  add_error (record, family, &error);
}

/* Parses a copy of exactly this size, so that a tool sees each byte read beyond it. */
static gboolean
parse_bytes (const guint8 *bytes,
             gsize length,
             ZcioNotification *notification)
{
  g_autofree guint8 *exact = g_memdup2 (bytes, length);
  struct msghdr message = { .msg_control = exact, .msg_controllen = length };

  return zcio_error_queue_parse (&message, notification);
}

static gboolean
parse (const Record *record,
       ZcioNotification *notification)
{
  return parse_bytes (record->control, record->length, notification);
}

static void
assert_notification (const ZcioNotification *notification,
                     guint32 first,
                     guint32 last,
                     gboolean copied)
{
  g_assert_cmpuint (notification->first, ==, first);
  g_assert_cmpuint (notification->last, ==, last);
  g_assert_cmpint (notification->copied, ==, copied);
}

static void
test_parse_families (void)
{
  ZcioNotification notification;
  Record ipv4 = { 0 };
  Record ipv6 = { 0 };

  g_test_summary ("Notifications of IPv4 and IPv6 sockets are understood; IPv6 also stands for v4-mapped");

  add_notification (&ipv4, AF_INET, 7, 9, 0);
  g_assert_cmpuint (ipv4.length, ==, 48);
  g_assert_true (parse (&ipv4, &notification));
  assert_notification (&notification, 7, 9, FALSE);
  g_assert_cmpuint (zcio_notification_get_length (&notification), ==, 3);

  add_notification (&ipv6, AF_INET6, G_MAXUINT32, 1, SO_EE_CODE_ZEROCOPY_COPIED);
  g_assert_cmpuint (ipv6.length, ==, 64);
  g_assert_true (parse (&ipv6, &notification));
  assert_notification (&notification, G_MAXUINT32, 1, TRUE);
  g_assert_cmpuint (zcio_notification_get_length (&notification), ==, 3);

  /* Other bits of the code are not the copied one. */
  ipv4.length = 0;
  add_notification (&ipv4, AF_INET, 5, 4, 2);
  g_assert_true (parse (&ipv4, &notification));
  assert_notification (&notification, 5, 4, FALSE);
  g_assert_cmpuint (zcio_notification_get_length (&notification), ==, G_GUINT64_CONSTANT (1) << 32);
}

static void
test_parse_several (void)
{
  ZcioNotification notification;
  int ttl = 64;
  const int families[] = { AF_INET, AF_INET6 };

  g_test_summary ("A notification is found wherever it is among the control messages");

  for (guint i = 0; i < G_N_ELEMENTS (families); i++)
    {
      Record record = { 0 };

      add_control (&record, SOL_IP, IP_TTL, &ttl, sizeof ttl);
      add_control (&record, SOL_SOCKET, SO_TIMESTAMP, "", 0);
      add_timestamp (&record, families[i]);
      add_icmp (&record, families[i]);
      g_assert_false (parse (&record, &notification));

      add_notification (&record, families[i], 3, 3, 0);
      add_control (&record, SOL_IP, IP_TTL, &ttl, sizeof ttl);
      g_assert_true (parse (&record, &notification));
      assert_notification (&notification, 3, 3, FALSE);
    }
}

static void
test_parse_foreign (void)
{
  ZcioNotification notification = { 1, 2, 3 };
  const int families[] = { AF_INET, AF_INET6 };
  struct sock_extended_err failed = {
    .ee_errno = ENOMEM, .ee_origin = SO_EE_ORIGIN_ZEROCOPY
  };
  struct sock_extended_err error = { .ee_origin = SO_EE_ORIGIN_ZEROCOPY };

  g_test_summary ("Timestamps, ICMP errors and whatever else is in the queue are no notifications");

  for (guint i = 0; i < G_N_ELEMENTS (families); i++)
    {
      Record timestamp = { 0 };
      Record icmp = { 0 };
      Record with_errno = { 0 };

      add_timestamp (&timestamp, families[i]);
      g_assert_false (parse (&timestamp, &notification));
      add_icmp (&icmp, families[i]);
      g_assert_false (parse (&icmp, &notification));
      add_error (&with_errno, families[i], &failed);
      g_assert_false (parse (&with_errno, &notification));
    }

  for (guint origin = 0; origin < 256; origin++)
    {
      Record record = { 0 };
      struct sock_extended_err other = { .ee_origin = origin };

      add_error (&record, AF_INET6, &other);
      g_assert_cmpint (parse (&record, &notification), ==, origin == SO_EE_ORIGIN_ZEROCOPY);
    }

  /* Each type counts on its own level alone. */
  for (int level = 0; level < 300; level++)
    {
      const int types[] = { IP_RECVERR, IPV6_RECVERR, 1 };

      for (guint i = 0; i < G_N_ELEMENTS (types); i++)
        {
          Record record = { 0 };
          gboolean expected = (level == SOL_IP && types[i] == IP_RECVERR) ||
                              (level == SOL_IPV6 && types[i] == IPV6_RECVERR);

          add_control (&record, level, types[i], &error, sizeof error);
          notification = (ZcioNotification){ 1, 2, 3 };
          g_assert_cmpint (parse (&record, &notification), ==, expected);
          if (!expected)
            assert_notification (&notification, 1, 2, 3);
        }
    }
}

static void
test_parse_empty (void)
{
  ZcioNotification notification;
  struct msghdr message = { 0 };
  guint8 byte = 0;

  g_test_summary ("A message without control messages is no notification");

  g_assert_false (zcio_error_queue_parse (&message, &notification));
  message.msg_control = &byte;
  g_assert_false (zcio_error_queue_parse (&message, &notification));
  message.msg_control = NULL;
  message.msg_controllen = 100;
  g_assert_false (zcio_error_queue_parse (&message, &notification));
}

/* The kernel shortens cmsg_len too when it cuts a message off. */
static void
test_parse_truncated (void)
{
  ZcioNotification notification;
  Record record = { 0 };
  const gsize intact = CMSG_LEN (sizeof (struct sock_extended_err));

  g_test_summary ("A record that was cut off counts if the part that matters is there, and is never read beyond its end");

  add_notification (&record, AF_INET6, 11, 22, 1);
  for (gsize length = 0; length <= record.length; length++)
    {
      Record cut = record;
      struct cmsghdr header;

      /* A length that points beyond the end is a lie. */
      g_assert_cmpint (parse_bytes (record.control, length, &notification), ==, length >= CMSG_LEN (44));

      memcpy (&header, cut.control, sizeof header);
      header.cmsg_len = MIN (length, CMSG_LEN (44));
      memcpy (cut.control, &header, sizeof header);
      g_assert_cmpint (parse_bytes (cut.control, length, &notification), ==, length >= intact);
      if (length >= intact)
        assert_notification (&notification, 11, 22, TRUE);
    }
}

static void
test_parse_second_truncated (void)
{
  ZcioNotification notification;
  Record record = { 0 };
  struct cmsghdr header;
  gsize start, length;

  g_test_summary ("Of a second control message that was cut off, the same is true");

  add_timestamp (&record, AF_INET);
  start = record.length;
  add_notification (&record, AF_INET, 1, 2, 0);
  memcpy (&header, record.control + start, sizeof header);

  for (length = start; length <= record.length; length++)
    {
      header.cmsg_len = MIN (length - start, CMSG_LEN (32));
      memcpy (record.control + start, &header, sizeof header);
      g_assert_cmpint (parse_bytes (record.control, length, &notification), ==, length - start >= CMSG_LEN (16));
    }
}

static void
test_parse_bad_lengths (void)
{
  ZcioNotification notification;
  const gsize lengths[] = {
    0, 1, CMSG_LEN (0) - 1, CMSG_LEN (0), CMSG_LEN (15), 49, 65, 512, G_MAXINT, G_MAXUINT, G_MAXSSIZE, G_MAXSIZE - 64, G_MAXSIZE - 15, G_MAXSIZE - 7, G_MAXSIZE
  };

  g_test_summary ("Lengths that cannot be are the end of the message: no loop, and nothing read beyond the end");

  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    {
      Record record = { 0 };
      struct cmsghdr header;

      add_notification (&record, AF_INET, 1, 2, 0);
      memcpy (&header, record.control, sizeof header);
      header.cmsg_len = lengths[i];
      memcpy (record.control, &header, sizeof header);
      g_assert_false (parse (&record, &notification));

      /* Nor does what comes before or behind it help. */
      record.length = 0;
      add_timestamp (&record, AF_INET);
      memcpy (record.control + record.length, &header, sizeof header);
      record.length += sizeof header;
      g_assert_false (parse (&record, &notification));
    }
}

static void
test_parse_unaligned (void)
{
  ZcioNotification notification;
  Record record = { 0 };

  g_test_summary ("The control messages may begin at any address");

  add_timestamp (&record, AF_INET6);
  add_notification (&record, AF_INET6, 5, 6, 0);
  for (guint i = 0; i < 16; i++)
    {
      g_autofree guint8 *bytes = g_malloc (i + record.length);
      struct msghdr message = { .msg_control = bytes + i, .msg_controllen = record.length };

      memcpy (bytes + i, record.control, record.length);
      g_assert_true (zcio_error_queue_parse (&message, &notification));
      assert_notification (&notification, 5, 6, FALSE);
    }
}

/* Not a fuzzer, which is a program of its own, but what each run of the tests can do. */
static void
test_parse_random (void)
{
  guint found = 0;

  g_test_summary ("Messages with random damage are parsed without reading beyond their end");

  for (guint i = 0; i < 50000; i++)
    {
      Record record = { 0 };
      ZcioNotification notification;

      if (g_test_rand_bit ())
        add_timestamp (&record, AF_INET);
      add_notification (&record, g_test_rand_bit () ? AF_INET : AF_INET6, 1, 2, 0);
      for (gint32 n = g_test_rand_int_range (0, 4); n > 0; n--)
        record.control[g_test_rand_int_range (0, record.length)] = g_test_rand_int ();

      found += parse_bytes (record.control, g_test_rand_int_range (0, record.length + 1), &notification);
    }

  g_test_message ("%u of 50000 were notifications", found);
  g_assert_cmpuint (found, >, 0);
  g_assert_cmpuint (found, <, 50000);
}

/* A kernel that plays back what it is given. */

typedef struct
{
  int error; /* errno, if the call fails */
  Record record;
} Answer;

typedef struct
{
  ZcioSyscalls table;
  Answer answers[16];
  guint n_answers;
  guint n_calls;
  gboolean repeat; /* the last answer, for ever; else EAGAIN */
} Player;

static gssize
play (ZcioSyscalls *self,
      int fd,
      struct msghdr *message)
{
  Player *player = (Player *) self;
  const Answer *answer = NULL;

  /* Each call must offer all of its buffer. */
  g_assert_cmpint (fd, ==, 42);
  g_assert_nonnull (message->msg_control);
  g_assert_cmpuint (message->msg_controllen, ==, 512);
  g_assert_cmpuint (message->msg_namelen, ==, 0);
  g_assert_cmpint (message->msg_flags, ==, 0);

  if (player->n_calls < player->n_answers)
    answer = &player->answers[player->n_calls];
  else if (player->repeat)
    answer = &player->answers[player->n_answers - 1];
  player->n_calls++;

  if (answer == NULL || answer->error != 0)
    {
      errno = answer != NULL ? answer->error : EAGAIN;
      return -1;
    }

  memcpy (message->msg_control, answer->record.control, answer->record.length);
  message->msg_controllen = answer->record.length;
  message->msg_flags = MSG_ERRQUEUE;
  message->msg_namelen = 7;

  return 0;
}

static Answer *
next_answer (Player *player)
{
  player->table.receive_error = play;
  g_assert_cmpuint (player->n_answers, <, G_N_ELEMENTS (player->answers));

  return &player->answers[player->n_answers++];
}

static void
test_read (void)
{
  Player player = { 0 };
  ZcioNotification notifications[8];
  guint n_foreign = 99;
  gboolean empty = FALSE;

  g_test_summary ("The queue is read until it is empty; foreign records are skipped and counted, and errno stays");

  add_notification (&next_answer (&player)->record, AF_INET, 0, 3, 0);
  add_timestamp (&next_answer (&player)->record, AF_INET);
  next_answer (&player)->error = EINTR;
  add_icmp (&next_answer (&player)->record, AF_INET);
  next_answer (&player);
  add_notification (&next_answer (&player)->record, AF_INET6, 5, 5, 1);

  errno = EXDEV;
  g_assert_cmpuint (zcio_error_queue_read (&player.table, 42, notifications, 8, &n_foreign, &empty), ==, 2);
  g_assert_cmpint (errno, ==, EXDEV);
  assert_notification (&notifications[0], 0, 3, FALSE);
  assert_notification (&notifications[1], 5, 5, TRUE);
  g_assert_cmpuint (n_foreign, ==, 3);
  g_assert_true (empty);
  g_assert_cmpuint (player.n_calls, ==, 7);

  /* And again, empty from the beginning, by one who does not want to know more. */
  g_assert_cmpuint (zcio_error_queue_read (&player.table, 42, notifications, 8, NULL, NULL), ==, 0);
  g_assert_cmpint (errno, ==, EXDEV);
  g_assert_cmpuint (player.n_calls, ==, 8);
}

static void
test_read_limit (void)
{
  Player player = { .repeat = TRUE };
  ZcioNotification notifications[8] = { 0 };
  guint n_foreign = 99;
  gboolean empty = TRUE;

  g_test_summary ("No more notifications are taken than there is room for: what is taken is gone from the queue");

  add_notification (&next_answer (&player)->record, AF_INET, 1, 1, 0);
  g_assert_cmpuint (zcio_error_queue_read (&player.table, 42, notifications, 5, &n_foreign, &empty), ==, 5);
  g_assert_cmpuint (player.n_calls, ==, 5);
  g_assert_false (empty);
  g_assert_cmpuint (n_foreign, ==, 0);
  assert_notification (&notifications[4], 1, 1, FALSE);
  assert_notification (&notifications[5], 0, 0, FALSE);

  g_assert_cmpuint (zcio_error_queue_read (&player.table, 42, NULL, 0, &n_foreign, &empty), ==, 0);
  g_assert_cmpuint (player.n_calls, ==, 5);
  g_assert_false (empty);
}

static void
test_read_never_for_ever (void)
{
  ZcioNotification notifications[4];
  guint n_foreign = 0;
  gboolean empty = TRUE;

  g_test_summary ("A queue that always has another foreign record, or is always interrupted, does not hold the reader");

  for (guint i = 0; i < 2; i++)
    {
      Player player = { .repeat = TRUE };

      if (i == 0)
        add_timestamp (&next_answer (&player)->record, AF_INET);
      else
        next_answer (&player)->error = EINTR;

      empty = TRUE;
      g_assert_cmpuint (zcio_error_queue_read (&player.table, 42, notifications, 4, &n_foreign, &empty), ==, 0);
      g_assert_false (empty);
      g_assert_cmpuint (player.n_calls, >=, 64);
      g_assert_cmpuint (player.n_calls, <=, 1024);
      g_assert_cmpuint (n_foreign, ==, i == 0 ? player.n_calls : 0);
    }
}

static void
test_read_errors (void)
{
  const int errors[] = { EAGAIN, EBADF, ENOTSOCK, ECONNRESET, EINVAL, ENOMEM, EFAULT };

  g_test_summary ("Any error ends the read, and what was read before it is returned");

  for (guint i = 0; i < G_N_ELEMENTS (errors); i++)
    {
      Player player = { 0 };
      ZcioNotification notifications[4];
      guint n_foreign = 99;
      gboolean empty = FALSE;

      add_notification (&next_answer (&player)->record, AF_INET, 1, 1, 0);
      next_answer (&player)->error = errors[i];
      add_notification (&next_answer (&player)->record, AF_INET, 2, 2, 0);

      errno = 0;
      g_assert_cmpuint (zcio_error_queue_read (&player.table, 42, notifications, 4, &n_foreign, &empty), ==, 1);
      g_assert_cmpint (errno, ==, 0);
      g_assert_cmpuint (player.n_calls, ==, 2);
      g_assert_cmpuint (n_foreign, ==, 0);
      g_assert_true (empty);
    }
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/error-queue/parse/families", test_parse_families);
  g_test_add_func ("/error-queue/parse/several", test_parse_several);
  g_test_add_func ("/error-queue/parse/foreign", test_parse_foreign);
  g_test_add_func ("/error-queue/parse/empty", test_parse_empty);
  g_test_add_func ("/error-queue/parse/truncated", test_parse_truncated);
  g_test_add_func ("/error-queue/parse/second-truncated", test_parse_second_truncated);
  g_test_add_func ("/error-queue/parse/bad-lengths", test_parse_bad_lengths);
  g_test_add_func ("/error-queue/parse/unaligned", test_parse_unaligned);
  g_test_add_func ("/error-queue/parse/random", test_parse_random);
  g_test_add_func ("/error-queue/read", test_read);
  g_test_add_func ("/error-queue/read/limit", test_read_limit);
  g_test_add_func ("/error-queue/read/never-for-ever", test_read_never_for_ever);
  g_test_add_func ("/error-queue/read/errors", test_read_errors);

  return g_test_run ();
}
