/* test-send-window-random.c - random histories of a send window against a naive model
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The seed is printed. To replay: --seed=NUMBER, or ZCIO_TEST_SEED=NUMBER in the
 * environment. ZCIO_TEST_HISTORIES sets how many histories there are.
 */

#include "config.h"

#include <string.h>

#include "zcio/zcio-send-window-private.h"

#define DEFAULT_HISTORIES 120000
#define MAX_WRITES 24
#define MAX_SENDS 160
#define MAX_OWNERS 12

static guint32 seed;

/* What the model knows of a write. */
typedef struct
{
  ZcioWrite *write;
  gboolean ended;
  guint n_owners;
  gboolean has_release;

  gboolean due;     /* ended, and all its sends are back */
  guint n_released; /* calls of the release function */
  guint n_owners_gone;
} ModelWrite;

/* What the model knows of a send; in flight until @back. */
typedef struct
{
  guint32 id;
  ModelWrite *write;
  gsize size;
  gint64 time;
  gboolean back;
} ModelSend;

/* There is nothing clever in it: it looks at every send there ever was. */
typedef struct
{
  GRand *rand;
  ZcioSendWindow window;
  ZcioReleased released;

  ModelWrite writes[MAX_WRITES];
  guint n_writes;
  ModelSend sends[MAX_SENDS];
  guint n_sends;
  guint32 counter; /* the kernel's: id of the next send */
  guint64 unknown_ids;
  guint64 peak_sends;
  guint64 peak_bytes;

  /* What @released should say. */
  ModelWrite *expected[MAX_WRITES];
  guint n_expected;
  guint n_called;
  guint sends_back;
  guint64 bytes_back;
  guint copied_sends;
  guint64 copied_bytes;
} History;

static History *history;

static guint
random_below (guint n)
{
  return g_rand_int (history->rand) % n;
}

static guint64
count_in_flight (guint64 *bytes)
{
  guint64 n = 0;

  *bytes = 0;
  for (guint i = 0; i < history->n_sends; i++)
    {
      if (!history->sends[i].back)
        {
          n++;
          *bytes += history->sends[i].size;
        }
    }

  return n;
}

static void
owner_gone (gpointer data)
{
  ModelWrite *write = data;

  g_assert_true (write->due);
  g_assert_cmpuint (write->n_owners_gone, <, write->n_owners);
  write->n_owners_gone++;
}

/* Writes come back in the order that the model expects. */
static void
write_released (gpointer data)
{
  ModelWrite *write = data;

  g_assert_true (write->due);
  g_assert_cmpuint (write->n_released, ==, 0);
  write->n_released++;

  while (history->n_called < history->n_expected && !history->expected[history->n_called]->has_release)
    history->n_called++;
  g_assert_cmpuint (history->n_called, <, history->n_expected);
  g_assert_true (history->expected[history->n_called] == write);
  history->n_called++;
}

static void
model_check_due (ModelWrite *write)
{
  if (!write->ended || write->due)
    return;

  for (guint i = 0; i < history->n_sends; i++)
    {
      if (history->sends[i].write == write && !history->sends[i].back)
        return;
    }

  write->due = TRUE;
  history->expected[history->n_expected++] = write;
}

static void
model_send_back (ModelSend *sent,
                 gboolean copied)
{
  sent->back = TRUE;
  history->sends_back++;
  history->bytes_back += sent->size;
  if (copied)
    {
      history->copied_sends++;
      history->copied_bytes += sent->size;
    }
  model_check_due (sent->write);
}

/* Sends come back in the order of the range; returns how many did. */
static guint
model_notify (const ZcioNotification *notification)
{
  guint64 length = zcio_notification_get_length (notification);
  guint n = 0;

  for (;;)
    {
      ModelSend *next = NULL;

      for (guint i = 0; i < history->n_sends; i++)
        {
          ModelSend *sent = &history->sends[i];

          if (!sent->back && (guint32) (sent->id - notification->first) < length &&
              (next == NULL || (guint32) (sent->id - notification->first) < (guint32) (next->id - notification->first)))
            next = sent;
        }

      if (next == NULL)
        break;

      model_send_back (next, notification->copied);
      n++;
    }

  history->unknown_ids += length - n;

  return n;
}

static void
begin_write (void)
{
  ModelWrite *model = &history->writes[history->n_writes];

  if (history->n_writes == MAX_WRITES)
    return;

  history->n_writes++;
  model->write = zcio_send_window_begin (&history->window);
  model->n_owners = random_below (3) != 0 ? 1 : random_below (MAX_OWNERS);
  model->has_release = random_below (2) == 0;

  for (guint i = 0; i < model->n_owners; i++)
    {
      g_autoptr (GBytes) bytes = g_bytes_new_with_free_func ("x", 1, owner_gone, model);

      zcio_write_add_bytes (model->write, bytes);
    }
  if (model->has_release)
    zcio_write_set_release (model->write, write_released, model);
}

/* Several writes may be open, which the window need not know. */
static ModelWrite *
choose_open_write (void)
{
  for (guint i = 0, start = random_below (MAX_WRITES); i < MAX_WRITES; i++)
    {
      ModelWrite *model = &history->writes[(start + i) % MAX_WRITES];

      if (model->write != NULL && !model->ended)
        return model;
    }

  return NULL;
}

static void
add_send (ModelWrite *model)
{
  ModelSend *sent = &history->sends[history->n_sends];
  guint64 bytes;

  /* With an unknown base, one send goes alone. */
  if (history->n_sends == MAX_SENDS ||
      (!history->window.base_known && history->window.sends_in_flight > 0))
    return;

  history->n_sends++;
  sent->id = history->counter++;
  sent->write = model;
  sent->size = 1 + random_below (1000);
  sent->time = 1 + history->n_sends;
  zcio_send_window_add (&history->window, model->write, sent->size, sent->time);

  history->peak_sends = MAX (history->peak_sends, count_in_flight (&bytes));
  history->peak_bytes = MAX (history->peak_bytes, bytes);
}

static void
end_write (ModelWrite *model)
{
  zcio_send_window_end (&history->window, model->write, &history->released);
  model->ended = TRUE;
  model_check_due (model);
}

static void
notify (guint32 first,
        guint32 last)
{
  ZcioNotification notification = { first, last, random_below (2) };
  guint expected;

  /* The first notification ends with the only send there is. */
  if (!history->window.base_known && history->window.sends_in_flight > 0)
    {
      notification.last = history->counter - 1;
      notification.first = notification.last - random_below (5);
      history->unknown_ids += notification.last - notification.first;
      model_send_back (&history->sends[history->n_sends - 1], notification.copied);
      expected = 1;
    }
  else if (!history->window.base_known)
    {
      history->unknown_ids += zcio_notification_get_length (&notification);
      expected = 0;
    }
  else
    {
      expected = model_notify (&notification);
    }

  g_assert_cmpuint (zcio_send_window_release (&history->window, &notification, &history->released), ==, expected);
}

static void
notify_at_random (void)
{
  guint32 first = history->counter - random_below (history->n_sends + 1);

  switch (random_below (12))
    {
    case 0: /* anything */
      notify (g_rand_int (history->rand), g_rand_int (history->rand));
      break;

    case 1: /* all ids, from somewhere */
      notify (first, first - 1);
      break;

    case 2: /* all ids but a few */
      notify (first, first - 1 - random_below (10));
      break;

    case 3: /* a few, from before the window or to behind it */
      notify (first - random_below (10), first + random_below (20));
      break;

    default:
      notify (first, first + MIN (random_below (8), history->counter - first));
      break;
    }
}

static void
call_out (void)
{
  g_assert_cmpuint (history->released.sends, ==, history->sends_back);
  g_assert_cmpuint (history->released.bytes, ==, history->bytes_back);
  g_assert_cmpuint (history->released.copied_sends, ==, history->copied_sends);
  g_assert_cmpuint (history->released.copied_bytes, ==, history->copied_bytes);

  zcio_released_call_out (&history->released);

  for (guint i = 0; i < history->n_writes; i++)
    {
      ModelWrite *model = &history->writes[i];

      g_assert_cmpuint (model->n_owners_gone, ==, model->due ? model->n_owners : 0);
      g_assert_cmpuint (model->n_released, ==, model->due && model->has_release ? 1 : 0);
    }

  if (random_below (4) == 0)
    zcio_released_free (&history->released);
  else
    zcio_send_window_reuse (&history->window, &history->released);
  g_assert_null (history->released.head);
}

static void
check_window (void)
{
  const ZcioSendWindow *window = &history->window;
  guint64 bytes;
  gint64 oldest = 0;

  g_assert_cmpuint (window->sends_in_flight, ==, count_in_flight (&bytes));
  g_assert_cmpuint (window->bytes_in_flight, ==, bytes);
  g_assert_cmpuint (window->peak_sends_in_flight, ==, history->peak_sends);
  g_assert_cmpuint (window->peak_bytes_in_flight, ==, history->peak_bytes);
  g_assert_cmpuint (window->unknown_ids, ==, history->unknown_ids);
  g_assert_cmpuint (window->next - window->first, <=, window->capacity);
  g_assert_cmpuint (window->capacity & (window->capacity - 1), ==, 0);

  for (guint i = 0; i < history->n_sends && oldest == 0; i++)
    {
      if (!history->sends[i].back)
        oldest = history->sends[i].time;
    }
  g_assert_cmpint (zcio_send_window_get_oldest (window), ==, oldest);
}

static void
step (void)
{
  ModelWrite *model = choose_open_write ();

  switch (random_below (10))
    {
    case 0:
    case 1:
      begin_write ();
      break;

    case 2:
    case 3:
    case 4:
    case 5:
      if (model != NULL)
        {
          for (guint n = 1 + random_below (6); n > 0; n--)
            add_send (model);
        }
      break;

    case 6:
      if (model != NULL)
        end_write (model);
      break;

    case 7:
    case 8:
      notify_at_random ();
      break;

    default:
      call_out ();
      break;
    }
}

/* The rest comes back by a reset, or send by send in a random order. */
static void
finish (void)
{
  ModelWrite *model;

  if (random_below (4) == 0 || !history->window.base_known)
    {
      for (guint i = 0; i < history->n_sends; i++)
        {
          if (!history->sends[i].back)
            model_send_back (&history->sends[i], FALSE);
        }
      zcio_send_window_release_all (&history->window, &history->released);
    }
  else
    {
      guint start = random_below (MAX_SENDS);

      for (guint i = 0; i < MAX_SENDS; i++)
        {
          /* 7 and MAX_SENDS have no common divisor. */
          const ModelSend *sent = &history->sends[(start + i * 7) % MAX_SENDS];

          if (sent->write != NULL && !sent->back)
            notify (sent->id, sent->id);
        }
    }

  while ((model = choose_open_write ()) != NULL)
    end_write (model);

  check_window ();
  call_out ();

  for (guint i = 0; i < history->n_writes; i++)
    g_assert_true (history->writes[i].due);
  g_assert_cmpuint (history->window.sends_in_flight, ==, 0);
  zcio_send_window_clear (&history->window);
}

static void
run_history (GRand *rand,
             guint64 *n_sends,
             guint64 *n_writes)
{
  static History storage;
  guint n_steps;

  history = &storage;
  memset (history, 0, sizeof *history);
  history->rand = rand;

  /* Half of the histories meet the wrap. */
  history->counter = random_below (2) == 0 ? g_rand_int (rand) : G_MAXUINT32 - random_below (60);
  zcio_send_window_init (&history->window, random_below (4) != 0);
  if (random_below (2) == 0)
    history->window.first = history->window.next = ((guint64) (1 + random_below (3)) << 32) - random_below (60);
  if (history->window.base_known)
    history->window.base = history->counter - (guint32) history->window.next;

  n_steps = 10 + random_below (60);
  for (guint i = 0; i < n_steps; i++)
    {
      step ();
      check_window ();
    }
  finish ();

  *n_sends += history->n_sends;
  *n_writes += history->n_writes;
}

static guint
get_n_histories (void)
{
  const char *text = g_getenv ("ZCIO_TEST_HISTORIES");
  guint64 n;

  if (text == NULL)
    return DEFAULT_HISTORIES;

  g_assert_true (g_ascii_string_to_unsigned (text, 10, 1, G_MAXUINT32, &n, NULL));

  return (guint) n;
}

static void
test_random_histories (void)
{
  GRand *rand = g_rand_new_with_seed (seed);
  guint n = get_n_histories ();
  guint64 n_sends = 0;
  guint64 n_writes = 0;

  g_test_summary ("In any history each buffer is released exactly once, and never before its last id is back");
  g_test_message ("replay with ZCIO_TEST_SEED=%u", seed);

  for (guint i = 0; i < n; i++)
    run_history (rand, &n_sends, &n_writes);

  g_test_message ("%u histories with %" G_GUINT64_FORMAT " writes in %" G_GUINT64_FORMAT " sends",
                  n,
                  n_writes,
                  n_sends);
  g_rand_free (rand);
}

/* Takes --seed out of the arguments: GTest's option of that name has another format. */
static void
choose_seed (int *argc,
             char **argv[])
{
  const char *text = g_getenv ("ZCIO_TEST_SEED");
  guint64 number;

  if (*argc > 1 && g_str_has_prefix ((*argv)[1], "--seed="))
    {
      text = (*argv)[1] + strlen ("--seed=");
      (*argv)[1] = (*argv)[0];
      (*argv)++;
      (*argc)--;
    }

  if (text == NULL)
    {
      seed = g_random_int ();
      return;
    }

  if (!g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT32, &number, NULL))
    g_error ("The seed must be a number of 32 bits, not “%s”", text);
  seed = (guint32) number;
}

int
main (int argc,
      char *argv[])
{
  choose_seed (&argc, &argv);
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/send-window/random-histories", test_random_histories);

  return g_test_run ();
}
