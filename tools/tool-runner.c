/* tool-runner.c - main loop, signals, waiting and connections of the zcio program
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <errno.h>
#include <gio/gnetworking.h>
#include <glib-unix.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

/* How long to wait for the peer's acknowledgement before looking again. */
#define DELIVER_INTERVAL_MIN 1
#define DELIVER_INTERVAL_MAX 50

static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

typedef struct
{
  ToolRunner *runner;
  int number;
} ToolSignal;

static gboolean
signal_cb (gpointer user_data)
{
  ToolSignal *sig = user_data;
  ToolRunner *runner = sig->runner;

  if (runner->signal_number == 0)
    runner->signal_number = sig->number;
  for (gsize i = 0; i < G_N_ELEMENTS (signals); i++)
    if (signals[i] == sig->number)
      runner->sources[i] = 0;
  g_cancellable_cancel (runner->cancellable);

  /* Without the source the next signal has its default action. */
  return G_SOURCE_REMOVE;
}

void
tool_runner_init (ToolRunner *runner)
{
  G_STATIC_ASSERT (G_N_ELEMENTS (signals) == G_N_ELEMENTS (runner->sources));

  runner->loop = g_main_loop_new (NULL, FALSE);
  runner->cancellable = g_cancellable_new ();
  runner->signal_number = 0;

  for (gsize i = 0; i < G_N_ELEMENTS (signals); i++)
    {
      ToolSignal *sig = g_new (ToolSignal, 1);

      sig->runner = runner;
      sig->number = signals[i];
      runner->sources[i] = g_unix_signal_add_full (G_PRIORITY_HIGH, signals[i], signal_cb, sig, g_free);
    }
}

void
tool_runner_clear (ToolRunner *runner)
{
  for (gsize i = 0; i < G_N_ELEMENTS (signals); i++)
    g_clear_handle_id (&runner->sources[i], g_source_remove);
  g_clear_pointer (&runner->loop, g_main_loop_unref);
  g_clear_object (&runner->cancellable);
}

typedef struct
{
  GMainLoop *loop;
  GThreadFunc func;
  gpointer data;
} ToolThread;

static gboolean
thread_done_cb (gpointer user_data)
{
  g_main_loop_quit (user_data);
  return G_SOURCE_REMOVE;
}

static gpointer
thread_func (gpointer user_data)
{
  ToolThread *thread = user_data;
  gpointer result = thread->func (thread->data);

  g_idle_add_full (G_PRIORITY_DEFAULT, thread_done_cb, thread->loop, NULL);
  return result;
}

void
tool_runner_run_thread (ToolRunner *runner,
                        GThreadFunc func,
                        gpointer    data)
{
  ToolThread thread = { runner->loop, func, data };
  GThread *handle = g_thread_new ("zcio-worker", thread_func, &thread);

  g_main_loop_run (runner->loop);
  g_thread_join (handle);
}

gboolean
tool_wait (gint64        microseconds,
           GCancellable *cancellable)
{
  GPollFD fd;
  gint64 end = g_get_monotonic_time () + microseconds;

  if (!g_cancellable_make_pollfd (cancellable, &fd))
    {
      g_usleep ((gulong) microseconds);
      return TRUE;
    }

  while (!g_cancellable_is_cancelled (cancellable))
    {
      gint64 left = end - g_get_monotonic_time ();

      if (left <= 0)
        break;
      g_poll (&fd, 1, (int) MIN ((left + 999) / 1000, G_MAXINT));
    }
  g_cancellable_release_fd (cancellable);

  return !g_cancellable_is_cancelled (cancellable);
}

double
tool_get_cpu_seconds (void)
{
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
         + (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / G_USEC_PER_SEC;
}

/* What is still under way is thrown away with a reset when the socket is closed,
 * even by the end of the process: so the peer never takes a part for the whole.
 */
void
tool_socket_set_reset (GSocket *socket,
                       gboolean reset)
{
  struct linger linger = { reset, 0 };

  setsockopt (g_socket_get_fd (socket), SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

GSocketConnection *
tool_connect (GSocketConnectable *peer,
              guint               timeout,
              GCancellable       *cancellable,
              GError            **error)
{
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  GSocketConnection *connection;

  g_socket_client_set_enable_proxy (client, FALSE);
  g_socket_client_set_timeout (client, timeout);
  connection = g_socket_client_connect (client, peer, cancellable, error);
  if (connection == NULL)
    {
      gboolean unresolved = error != NULL && *error != NULL && (*error)->domain == G_RESOLVER_ERROR;
      g_autofree char *name = g_socket_connectable_to_string (peer);

      tool_error_wrap (error, unresolved ? TOOL_EXIT_NAME : TOOL_EXIT_CONNECT, "Cannot reach %s", name);
      return NULL;
    }
  tool_socket_set_reset (g_socket_connection_get_socket (connection), TRUE);

  return connection;
}

/* Ends the sending side, and waits until the peer's kernel has everything: only
 * then is it certain that no reset has thrown any of it away.
 */
gboolean
tool_socket_deliver (ZcioSocketStream *stream,
                     int               timeout,
                     GCancellable     *cancellable,
                     GError          **error)
{
  GSocket *socket = zcio_socket_stream_get_socket (stream);
  int interval = DELIVER_INTERVAL_MIN;
  int unsent = -1;
  gint64 moved = g_get_monotonic_time ();

  if (!g_output_stream_flush (G_OUTPUT_STREAM (stream), cancellable, error)
      || !g_socket_check_connect_result (socket, error)
      || !g_socket_shutdown (socket, FALSE, TRUE, error))
    return FALSE;

  while (TRUE)
    {
      int left = 0;
      gboolean known = ioctl (g_socket_get_fd (socket), SIOCOUTQ, &left) == 0;

      if (!g_socket_check_connect_result (socket, error))
        return FALSE;
      if (!known || left == 0)
        break;

      if (left != unsent)
        moved = g_get_monotonic_time ();
      unsent = left;
      if (timeout > 0 && g_get_monotonic_time () - moved > timeout * G_USEC_PER_SEC)
        {
          g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "Socket I/O timed out");
          return FALSE;
        }
      if (!tool_wait (interval * 1000, cancellable))
        return !g_cancellable_set_error_if_cancelled (cancellable, error);
      interval = MIN (interval * 2, DELIVER_INTERVAL_MAX);
    }
  tool_socket_set_reset (socket, FALSE);

  return TRUE;
}
