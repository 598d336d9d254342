/* zcio-reaper.c - wakes a main loop when completions come in
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-reaper-private.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Sockets looked at in one dispatch; the rest is for the next. */
#define MAX_EVENTS 64

/* A dispatch that comes this soon after the last is a part of a flood: the reaper then looks
 * at the clock, not at the descriptor, so that not each ACK wakes the loop.
 */
#define FLOOD_INTERVAL (1 * G_TIME_SPAN_MILLISECOND)
#define FLOOD_DISPATCHES 4

/* A loop that wakes for something else meanwhile may do so because of an unread error queue:
 * any other source on that socket would spin. So it may turn only so often without reaping,
 * however long that takes: what spins may take its time, too.
 */
#define MAX_TURNS_ASLEEP 2

/* How often to look for a socket that was closed with sends in flight: nothing else tells. */
#define SWEEP_INTERVAL G_TIME_SPAN_SECOND

/* How often to look at sockets that epoll does not take: all, where the process has no
 * descriptor to spare. Other sources on them spin meanwhile.
 */
#define CLOCK_INTERVAL (10 * G_TIME_SPAN_MILLISECOND)

/*
 * ZcioReaper:
 * @lock: protects all but @source, @poll_fd, and what only the dispatching thread uses. The
 *   transmitter's lock may be held when it is taken, never the other way round
 * @watches: (element-type guint64 ZcioWatch): those that are armed, by token
 * @to_arm: watches that are to be armed
 * @delivery: watches that have something to tell
 * @dispatcher: the thread that is dispatching, if one is: there delivery comes by itself, until
 *   what is called runs the main loop in turn
 * @next_sweep: when to look for closed sockets; G_MAXINT64 while nothing is in flight
 * @source: its time is set by those who cannot know whether the loop sleeps. The dispatching
 *   thread has prepare() tell it, since GLib wakes the loop for each change of a source's time
 *   or descriptors, even out of its own dispatch
 * @asleep: it looks at the clock, not at the descriptor, until @asleep_until
 */
typedef struct _ZcioReaper
{
  gatomicrefcount ref_count;
  GMainContext *context;
  int priority;
  GSource *source;
  GPollFD poll_fd;

  GMutex lock;
  GHashTable *watches;
  GQueue to_arm;
  GQueue delivery;
  guint n_users;
  guint64 next_token;
  GThread *dispatcher;
  gint64 next_sweep;

  gint64 last_release;
  gint64 asleep_until;
  guint n_soon;
  guint turns_asleep;
  gboolean asleep;
} ZcioReaper;

typedef struct
{
  GSource base;
  ZcioReaper *reaper;
} ReaperSource;

/* (element-type ZcioReaper): the reapers in use; the lock comes before a reaper's. */
static GMutex reapers_lock;
static GSList *reapers;

static ZcioReaper *
zcio_reaper_ref (ZcioReaper *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

static void
zcio_reaper_unref (ZcioReaper *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  g_assert (g_queue_is_empty (&self->delivery));
  g_assert (g_queue_is_empty (&self->to_arm));
  g_hash_table_unref (self->watches);
  g_mutex_clear (&self->lock);
  if (self->poll_fd.fd >= 0)
    close (self->poll_fd.fd);
  g_free (self);
}

static ZcioWatch *
zcio_watch_ref (ZcioWatch *watch)
{
  g_atomic_ref_count_inc (&watch->ref_count);
  return watch;
}

static void
zcio_watch_unref (ZcioWatch *watch)
{
  if (!g_atomic_ref_count_dec (&watch->ref_count))
    return;

  if (watch->notify != NULL)
    watch->notify (watch->user_data);
  zcio_transmitter_unref (watch->transmitter);
  zcio_reaper_unref (watch->reaper);
  g_free (watch);
}

static ZcioWatch *
take_from (ZcioReaper *self,
           GQueue     *queue)
{
  ZcioWatch *watch;

  g_mutex_lock (&self->lock);
  watch = g_queue_pop_head (queue);
  g_mutex_unlock (&self->lock);

  return watch;
}

static void
arm (ZcioReaper *self,
     ZcioWatch  *watch)
{
  ZcioTransmitter *transmitter = watch->transmitter;
  /* Errors need not be asked for. */
  struct epoll_event event = { .events = EPOLLET };
  gboolean is_closed;
  int fd;

  g_mutex_lock (&transmitter->lock);
  watch->arming = FALSE;
  fd = watch->destroyed ? -1 : zcio_transmitter_get_socket_fd_locked (transmitter);
  is_closed = fd < 0 && !watch->destroyed;
  if (fd >= 0)
    {
      g_mutex_lock (&self->lock);
      watch->token = self->next_token++;
      event.data.u64 = watch->token;
      watch->by_clock = self->poll_fd.fd < 0 || epoll_ctl (self->poll_fd.fd, EPOLL_CTL_ADD, fd, &event) != 0;
      watch->shares = self->poll_fd.fd >= 0 && watch->by_clock && errno == EEXIST;
      watch->by_clock &= !watch->shares;
      watch->armed = !watch->shares;
      if (watch->armed)
        g_hash_table_insert (self->watches, &watch->token, watch);
      g_mutex_unlock (&self->lock);

      /* A sweep has perhaps found nothing in flight since, without this one. */
      if (transmitter->window.sends_in_flight > 0)
        zcio_watch_expect_locked (watch);
    }
  g_mutex_unlock (&transmitter->lock);

  /* Nobody else finds out about what was in flight then. */
  if (is_closed)
    zcio_transmitter_collect (transmitter, TRUE);
}

/* Whoever has something to tell from now on tells the source anew, or is seen by prepare(). */
static void
start_dispatch (ZcioReaper *self)
{
  g_mutex_lock (&self->lock);
  self->dispatcher = g_thread_self ();
  if (g_source_get_ready_time (self->source) != -1)
    g_source_set_ready_time (self->source, -1);
  g_mutex_unlock (&self->lock);
}

/* For those outside of a dispatch, where the loop may be asleep. */
static void
wake_locked (ZcioReaper *self,
             gint64      time)
{
  gint64 ready_time = g_source_get_ready_time (self->source);

  if (self->dispatcher != g_thread_self () && (ready_time == -1 || time < ready_time))
    g_source_set_ready_time (self->source, time);
}

/* What has come in before is seen all the same: EPOLL_CTL_ADD looks. */
static void
arm_all (ZcioReaper *self)
{
  ZcioWatch *watch;

  while ((watch = take_from (self, &self->to_arm)) != NULL)
    {
      arm (self, watch);
      zcio_watch_unref (watch);
    }
}

/* References to those watches whose sockets have news. A token whose watch has gone is an
 * old one: a descriptor that the linger still holds.
 */
static guint
take_ready_watches (ZcioReaper *self,
                    ZcioWatch **ready)
{
  struct epoll_event events[MAX_EVENTS];
  guint n_ready = 0;
  int n;

  g_mutex_lock (&self->lock);
  n = self->poll_fd.fd >= 0 ? epoll_wait (self->poll_fd.fd, events, MAX_EVENTS, 0) : 0;
  for (int i = 0; i < n; i++)
    {
      guint64 token = events[i].data.u64;
      ZcioWatch *watch = g_hash_table_lookup (self->watches, &token);

      if (watch != NULL)
        ready[n_ready++] = zcio_watch_ref (watch);
    }
  g_mutex_unlock (&self->lock);

  return n_ready;
}

static void
deliver (ZcioWatch *watch)
{
  ZcioTransmitter *transmitter = watch->transmitter;
  ZcioWatch news;

  g_mutex_lock (&transmitter->lock);
  news = *watch;
  watch->pending = FALSE;
  watch->state_changed = FALSE;
  watch->copied = FALSE;
  watch->sends = 0;
  watch->bytes = 0;
  /* What a check() has collected is released here. */
  zcio_transmitter_unlock_and_release (transmitter);

  if (!news.destroyed)
    news.func (news.sends, news.bytes, news.copied, news.state_changed, news.user_data);
}

/* Delivers what there is now. What comes in meanwhile is for the next turn of the loop: a
 * callback that writes and reaps would otherwise keep it from everything else.
 */
static void
deliver_all (ZcioReaper *self)
{
  ZcioWatch *watch;
  guint n;

  g_mutex_lock (&self->lock);
  n = g_queue_get_length (&self->delivery);
  g_mutex_unlock (&self->lock);

  while (n-- > 0 && (watch = take_from (self, &self->delivery)) != NULL)
    {
      deliver (watch);
      zcio_watch_unref (watch);
    }

  g_mutex_lock (&self->lock);
  self->dispatcher = NULL;
  g_mutex_unlock (&self->lock);
}

static gint64
get_sweep_interval (const ZcioWatch *watch)
{
  return watch->by_clock ? CLOCK_INTERVAL : SWEEP_INTERVAL;
}

/* Finds out about sockets that were closed with sends in flight; and about everything where there
 * is no epoll descriptor, or it does not take the socket. Returns how long to wait for the next
 * one, G_MAXINT64 if no sends are in flight.
 */
static gint64
sweep (ZcioReaper *self)
{
  g_autoptr (GPtrArray) watches = g_ptr_array_new_with_free_func ((GDestroyNotify) zcio_watch_unref);
  GHashTableIter iter;
  gpointer value;
  gint64 interval = G_MAXINT64;

  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, self->watches);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    g_ptr_array_add (watches, zcio_watch_ref (value));
  g_mutex_unlock (&self->lock);

  for (guint i = 0; i < watches->len; i++)
    {
      ZcioWatch *watch = watches->pdata[i];
      ZcioTransmitter *transmitter = watch->transmitter;
      gboolean look;

      g_mutex_lock (&transmitter->lock);
      if (transmitter->window.sends_in_flight > 0)
        interval = MIN (interval, get_sweep_interval (watch));
      look = transmitter->window.sends_in_flight > 0 &&
             (zcio_transmitter_has_lost_fd_locked (transmitter) || watch->by_clock);
      g_mutex_unlock (&transmitter->lock);

      if (look)
        zcio_transmitter_collect (transmitter, TRUE);
    }

  return interval;
}

static void
sweep_if_due (ZcioReaper *self,
              gint64      now)
{
  gint64 interval;
  gboolean due;

  g_mutex_lock (&self->lock);
  due = now >= self->next_sweep;
  if (due)
    self->next_sweep = G_MAXINT64;
  g_mutex_unlock (&self->lock);

  if (!due)
    return;

  interval = sweep (self);
  if (interval != G_MAXINT64)
    {
      g_mutex_lock (&self->lock);
      self->next_sweep = MIN (self->next_sweep, now + interval);
      g_mutex_unlock (&self->lock);
    }
}

static void
fall_asleep_or_wake (ZcioReaper *self,
                     gint64      now,
                     guint       released)
{
  gboolean soon = now - self->last_release < FLOOD_INTERVAL * 2;

  if (released > 0)
    self->last_release = now;
  self->turns_asleep = 0;

  /* That a dispatch in the midst of a flood finds nothing does not end it. */
  if (!soon)
    self->n_soon = 0;
  else if (released > 0)
    self->n_soon++;
  self->asleep = self->n_soon >= FLOOD_DISPATCHES;
  self->asleep_until = now + FLOOD_INTERVAL;
  /* The loop reads it each time that it is going to poll. */
  self->poll_fd.events = self->asleep ? 0 : G_IO_IN;
}

/* If not, *@wait is the time until then, or -1. */
static gboolean
is_due (ZcioReaper *self,
        gint64      now,
        gint64     *wait)
{
  gboolean due;
  gint64 time;

  g_mutex_lock (&self->lock);
  time = self->asleep ? MIN (self->next_sweep, self->asleep_until) : self->next_sweep;
  /* The time that told of it may be gone: a dispatch was under way. */
  due = now >= time || !g_queue_is_empty (&self->delivery) || !g_queue_is_empty (&self->to_arm);
  /* Then the loop may sleep, within a dispatch if it was run in turn. */
  if (!due)
    self->dispatcher = NULL;
  g_mutex_unlock (&self->lock);

  *wait = time == G_MAXINT64 ? -1 : time - now;
  return due;
}

static gboolean
reaper_source_prepare (GSource *source,
                       int     *timeout)
{
  ZcioReaper *self = ((ReaperSource *) source)->reaper;
  gint64 wait;

  if (is_due (self, g_source_get_time (source), &wait))
    return TRUE;

  /* Rounded up: woken too early, the loop would turn once more. */
  *timeout = wait < 0 ? -1 : (int) ((wait + 999) / 1000);
  return self->asleep && ++self->turns_asleep > MAX_TURNS_ASLEEP;
}

static gboolean
reaper_source_check (GSource *source)
{
  ZcioReaper *self = ((ReaperSource *) source)->reaper;
  gint64 wait;

  return (self->poll_fd.revents & self->poll_fd.events) != 0 ||
         is_due (self, g_source_get_time (source), &wait);
}

static gboolean
reaper_source_dispatch (GSource     *source,
                        GSourceFunc  callback,
                        gpointer     user_data)
{
  ZcioReaper *self = zcio_reaper_ref (((ReaperSource *) source)->reaper);
  ZcioWatch *ready[MAX_EVENTS];
  guint n_ready;
  guint released = 0;
  gint64 now = g_source_get_time (source);

  start_dispatch (self);
  arm_all (self);
  n_ready = take_ready_watches (self, ready);

  /* Each edge is reported once. So all queues are read before anything is called out, since
   * what is called may run this very main loop until one of the others comes back.
   */
  for (guint i = 0; i < n_ready; i++)
    {
      released += zcio_transmitter_collect (ready[i]->transmitter, TRUE);
      zcio_watch_unref (ready[i]);
    }

  sweep_if_due (self, now);
  fall_asleep_or_wake (self, now, released);

  deliver_all (self);

  zcio_reaper_unref (self);
  return G_SOURCE_CONTINUE;
}

static void
reaper_source_finalize (GSource *source)
{
  ZcioReaper *self = ((ReaperSource *) source)->reaper;

  zcio_reaper_unref (self);
}

static GSourceFuncs reaper_source_funcs = {
  .prepare = reaper_source_prepare,
  .check = reaper_source_check,
  .dispatch = reaper_source_dispatch,
  .finalize = reaper_source_finalize,
};

static ZcioReaper *
zcio_reaper_new (GMainContext *context,
                 int           priority)
{
  ZcioReaper *self = g_new0 (ZcioReaper, 1);

  g_atomic_ref_count_init (&self->ref_count);
  g_mutex_init (&self->lock);
  self->context = context;
  self->priority = priority;
  self->watches = g_hash_table_new (g_int64_hash, g_int64_equal);
  self->next_token = 1;
  self->next_sweep = G_MAXINT64;
  self->poll_fd = (GPollFD) { .fd = epoll_create1 (EPOLL_CLOEXEC), .events = G_IO_IN };

  self->source = g_source_new (&reaper_source_funcs, sizeof (ReaperSource));
  ((ReaperSource *) self->source)->reaper = zcio_reaper_ref (self);
  g_source_set_static_name (self->source, "[zcio] reaper");
  g_source_set_priority (self->source, priority);
  /* A nested main loop within a callback must not leave an error queue unread. */
  g_source_set_can_recurse (self->source, TRUE);
  if (self->poll_fd.fd >= 0)
    g_source_add_poll (self->source, &self->poll_fd);
  g_source_attach (self->source, context);

  return self;
}

static ZcioReaper *
zcio_reaper_get (GMainContext *context,
                 int           priority)
{
  ZcioReaper *self = NULL;

  g_mutex_lock (&reapers_lock);
  for (GSList *l = reapers; l != NULL && self == NULL; l = l->next)
    {
      ZcioReaper *other = l->data;

      if (other->context == context && other->priority == priority &&
          !g_source_is_destroyed (other->source))
        self = zcio_reaper_ref (other);
    }

  if (self == NULL)
    {
      self = zcio_reaper_new (context, priority);
      reapers = g_slist_prepend (reapers, zcio_reaper_ref (self));
    }
  self->n_users++;
  g_mutex_unlock (&reapers_lock);

  return self;
}

static void
zcio_reaper_leave (ZcioReaper *self)
{
  gboolean last;

  g_mutex_lock (&reapers_lock);
  last = --self->n_users == 0;
  if (last)
    reapers = g_slist_remove (reapers, self);
  g_mutex_unlock (&reapers_lock);

  if (last)
    {
      g_source_destroy (self->source);
      g_source_unref (self->source);
      zcio_reaper_unref (self);
    }
}

/* Something is in flight again. */
void
zcio_watch_expect_locked (ZcioWatch *watch)
{
  ZcioReaper *reaper = watch->reaper;

  g_mutex_lock (&reaper->lock);
  if (reaper->next_sweep == G_MAXINT64 || watch->by_clock)
    {
      reaper->next_sweep = MIN (reaper->next_sweep, g_get_monotonic_time () + get_sweep_interval (watch));
      wake_locked (reaper, reaper->next_sweep);
    }
  g_mutex_unlock (&reaper->lock);
}

/* Armed is a watch only by a loop that turns: where none does, nobody looks at the descriptor,
 * and each completion would have to be noted there for nothing.
 */
void
zcio_watch_arm_locked (ZcioWatch *watch)
{
  ZcioReaper *reaper = watch->reaper;

  if (watch->armed || watch->shares || watch->arming || watch->destroyed)
    return;

  watch->arming = TRUE;
  g_mutex_lock (&reaper->lock);
  g_queue_push_tail (&reaper->to_arm, zcio_watch_ref (watch));
  wake_locked (reaper, 0);
  g_mutex_unlock (&reaper->lock);
}

/* The next one of the same reaper takes the place of one that was armed. */
static void
pass_on_locked (ZcioWatch *watch)
{
  ZcioTransmitter *transmitter = watch->transmitter;

  for (GSList *l = transmitter->watches; l != NULL; l = l->next)
    {
      ZcioWatch *other = l->data;

      if (other->reaper == watch->reaper)
        other->shares = FALSE;
    }

  if (transmitter->window.sends_in_flight > 0)
    zcio_transmitter_arm_locked (transmitter);
}

static void
disarm (ZcioWatch *watch)
{
  ZcioTransmitter *transmitter = watch->transmitter;
  ZcioReaper *reaper = watch->reaper;

  g_mutex_lock (&transmitter->lock);
  if (watch->armed)
    {
      /* Where the socket was closed, its number may be another's by now; and then the kernel
       * has removed it by itself.
       */
      int fd = zcio_transmitter_get_socket_fd_locked (transmitter);

      g_mutex_lock (&reaper->lock);
      if (fd >= 0)
        epoll_ctl (reaper->poll_fd.fd, EPOLL_CTL_DEL, fd, NULL);
      g_hash_table_remove (reaper->watches, &watch->token);
      g_mutex_unlock (&reaper->lock);

      pass_on_locked (watch);
    }
  g_mutex_unlock (&transmitter->lock);
}

/* Puts the watch on the reaper's list, once, and wakes it. */
void
zcio_watch_notify_locked (ZcioWatch *watch)
{
  ZcioReaper *reaper = watch->reaper;

  if (watch->pending || watch->destroyed)
    return;

  watch->pending = TRUE;
  g_mutex_lock (&reaper->lock);
  g_queue_push_tail (&reaper->delivery, zcio_watch_ref (watch));
  wake_locked (reaper, 0);
  g_mutex_unlock (&reaper->lock);
}

ZcioWatch *
zcio_watch_new (ZcioTransmitter *transmitter,
                GMainContext    *context,
                int              priority,
                ZcioWatchFunc    func,
                gpointer         user_data,
                GDestroyNotify   notify)
{
  ZcioWatch *watch = g_new0 (ZcioWatch, 1);

  g_atomic_ref_count_init (&watch->ref_count);
  watch->transmitter = zcio_transmitter_ref (transmitter);
  watch->reaper = zcio_reaper_get (context, priority);
  watch->func = func;
  watch->user_data = user_data;
  watch->notify = notify;
  zcio_transmitter_add_watch (transmitter, watch);

  return watch;
}

void
zcio_watch_destroy (ZcioWatch *watch)
{
  ZcioReaper *reaper = watch->reaper;
  gboolean queued;
  gboolean queued_to_arm;

  zcio_transmitter_remove_watch (watch->transmitter, watch);
  disarm (watch);

  g_mutex_lock (&reaper->lock);
  queued = g_queue_remove (&reaper->delivery, watch);
  queued_to_arm = g_queue_remove (&reaper->to_arm, watch);
  g_mutex_unlock (&reaper->lock);
  /* Neither is the last reference: that is the caller's. */
  if (queued)
    g_atomic_ref_count_dec (&watch->ref_count);
  if (queued_to_arm)
    g_atomic_ref_count_dec (&watch->ref_count);

  zcio_reaper_leave (reaper);
  zcio_watch_unref (watch);
}
