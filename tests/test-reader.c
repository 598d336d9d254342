/* test-reader.c - a thread that reads a socket and checks what it reads
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "test-util.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (256 * 1024)
#define SLOW_READ_SIZE 4096

struct _ZcioTestReader
{
  GSocket *socket;
  GThread *thread;
  ZcioTestReaderFlags flags;
  guint64 first_position;
  GChecksum *checksum;
  int wakeup;

  GMutex lock;
  GCond changed;
  /* All below is covered by the lock. */
  gboolean paused;
  gboolean idle; /* the thread has seen that it is paused */
  gboolean done;
  guint64 received;
  int error_number;
  gboolean wrong;
  guint64 wrong_position;
};

/* Waits until there is something to read. FALSE: someone wants the thread's attention. */
static gboolean
wait_readable (ZcioTestReader *reader)
{
  struct pollfd fds[2] = {
    { .fd = g_socket_get_fd (reader->socket), .events = POLLIN },
    { .fd = reader->wakeup, .events = POLLIN },
  };
  guint64 value;

  while (poll (fds, G_N_ELEMENTS (fds), -1) < 0)
    g_assert_cmpint (errno, ==, EINTR);

  if (fds[1].revents != 0)
    {
      g_assert_cmpint (read (reader->wakeup, &value, sizeof value), ==, sizeof value);
      return FALSE;
    }

  return TRUE;
}

static void
wait_while_paused (ZcioTestReader *reader)
{
  g_mutex_lock (&reader->lock);
  while (reader->paused)
    {
      reader->idle = TRUE;
      g_cond_broadcast (&reader->changed);
      g_cond_wait (&reader->changed, &reader->lock);
    }
  reader->idle = FALSE;
  g_mutex_unlock (&reader->lock);
}

static void
check (ZcioTestReader *reader,
       const guint8 *data,
       gsize size)
{
  guint64 position = reader->first_position + reader->received;

  if (reader->checksum != NULL)
    g_checksum_update (reader->checksum, data, size);

  if ((reader->flags & ZCIO_TEST_READER_NO_PATTERN) == 0 && !reader->wrong)
    {
      gsize right = zcio_test_pattern_check (position, data, size);

      if (right < size)
        {
          reader->wrong = TRUE;
          reader->wrong_position = position + right;
        }
    }
}

static gpointer
run (gpointer data)
{
  ZcioTestReader *reader = data;
  gsize max = (reader->flags & ZCIO_TEST_READER_SLOW) != 0 ? SLOW_READ_SIZE : READ_SIZE;
  guint8 *buffer = g_malloc (max);
  gssize n;

  do
    {
      wait_while_paused (reader);
      if (!wait_readable (reader))
        {
          n = 1;
          continue;
        }

      n = recv (g_socket_get_fd (reader->socket), buffer, max, MSG_DONTWAIT);
      if (n < 0 && (errno == EINTR || errno == EAGAIN))
        {
          n = 1;
          continue;
        }

      if (n > 0)
        check (reader, buffer, n);

      g_mutex_lock (&reader->lock);
      if (n > 0)
        reader->received += n;
      else
        reader->error_number = n < 0 ? errno : 0;
      g_cond_broadcast (&reader->changed);
      g_mutex_unlock (&reader->lock);
    }
  while (n > 0);

  g_mutex_lock (&reader->lock);
  reader->done = TRUE;
  g_cond_broadcast (&reader->changed);
  g_mutex_unlock (&reader->lock);
  g_free (buffer);

  return NULL;
}

ZcioTestReader *
zcio_test_reader_new (GSocket *socket,
                      guint64 position,
                      ZcioTestReaderFlags flags)
{
  ZcioTestReader *reader = g_new0 (ZcioTestReader, 1);

  reader->socket = g_object_ref (socket);
  reader->flags = flags;
  reader->first_position = position;
  reader->paused = (flags & ZCIO_TEST_READER_PAUSED) != 0;
  if ((flags & ZCIO_TEST_READER_SHA256) != 0)
    reader->checksum = g_checksum_new (G_CHECKSUM_SHA256);
  reader->wakeup = eventfd (0, EFD_CLOEXEC);
  g_assert_cmpint (reader->wakeup, >=, 0);
  g_mutex_init (&reader->lock);
  g_cond_init (&reader->changed);
  reader->thread = g_thread_new ("reader", run, reader);

  return reader;
}

void
zcio_test_reader_pause (ZcioTestReader *reader)
{
  guint64 one = 1;

  g_mutex_lock (&reader->lock);
  if (!reader->paused)
    {
      reader->paused = TRUE;
      g_assert_cmpint (write (reader->wakeup, &one, sizeof one), ==, sizeof one);
    }
  while (!reader->idle && !reader->done)
    g_cond_wait (&reader->changed, &reader->lock);
  g_mutex_unlock (&reader->lock);
}

void
zcio_test_reader_resume (ZcioTestReader *reader)
{
  g_mutex_lock (&reader->lock);
  reader->paused = FALSE;
  g_cond_broadcast (&reader->changed);
  g_mutex_unlock (&reader->lock);
}

guint64
zcio_test_reader_get_received (ZcioTestReader *reader)
{
  guint64 received;

  g_mutex_lock (&reader->lock);
  received = reader->received;
  g_mutex_unlock (&reader->lock);

  return received;
}

void
zcio_test_reader_wait_received (ZcioTestReader *reader,
                                guint64 size)
{
  gint64 deadline = zcio_test_get_deadline ();

  g_mutex_lock (&reader->lock);
  while (reader->received < size && !reader->done)
    g_assert_true (g_cond_wait_until (&reader->changed, &reader->lock, deadline));
  g_assert_cmpuint (reader->received, >=, size);
  g_mutex_unlock (&reader->lock);
}

guint64
zcio_test_reader_finish (ZcioTestReader *reader,
                         int *error_number,
                         char **sha256)
{
  gint64 deadline = zcio_test_get_deadline ();
  guint64 received;

  zcio_test_reader_resume (reader);
  g_mutex_lock (&reader->lock);
  while (!reader->done)
    g_assert_true (g_cond_wait_until (&reader->changed, &reader->lock, deadline));
  g_mutex_unlock (&reader->lock);
  g_thread_join (reader->thread);

  if (reader->wrong)
    g_error ("The byte at position %" G_GUINT64_FORMAT " of the stream is wrong", reader->wrong_position);

  if (error_number != NULL)
    *error_number = reader->error_number;
  else
    g_assert_cmpint (reader->error_number, ==, 0);

  if (sha256 != NULL)
    *sha256 = g_strdup (g_checksum_get_string (reader->checksum));

  received = reader->received;
  g_clear_pointer (&reader->checksum, g_checksum_free);
  g_object_unref (reader->socket);
  close (reader->wakeup);
  g_mutex_clear (&reader->lock);
  g_cond_clear (&reader->changed);
  g_free (reader);

  return received;
}
