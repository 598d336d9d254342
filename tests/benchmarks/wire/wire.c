/* wire.c - zcio-wire, a wire on which zero-copy really is zero-copy
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib-unix.h>

#include "wire-private.h"

/* How long COMMAND may take to end after a signal */
#define GRACE_SECONDS 2

/* Three processes: this one waits; the first process of a PID namespace holds everything
 * together, for when it ends the kernel ends all others in there, and with the
 * last of them go the network namespaces; the third is the far end. */
typedef struct
{
  WireOptions options;
  char **command;
  int sender_cpu;
  int sink_cpu;
  int signal_fd;
} Wire;

static const int forwarded_signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

static int
complain (GError *error)
{
  g_printerr ("zcio-wire: %s\n", error->message);

  return g_error_matches (error, WIRE_ERROR, WIRE_ERROR_LACKING) ? WIRE_EXIT_LACKING : WIRE_EXIT_FAILED;
}

static void
block_signals (sigset_t *set)
{
  sigemptyset (set);
  sigaddset (set, SIGCHLD);
  for (guint i = 0; i < G_N_ELEMENTS (forwarded_signals); i++)
    sigaddset (set, forwarded_signals[i]);
  sigprocmask (SIG_BLOCK, set, NULL);
}

/* Each process needs a descriptor of its own: a signalfd reads the signals of
 * whoever reads it, but poll() looks at those of whoever made it. */
static int
open_signals (void)
{
  sigset_t set;

  block_signals (&set);

  return signalfd (-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
read_signal (int fd)
{
  struct signalfd_siginfo info;

  return read (fd, &info, sizeof info) == sizeof info ? (int) info.ssi_signo : 0;
}

/* Sender and wire get a CPU each, as far as there are two. */
static void
choose_cpus (Wire *wire)
{
  cpu_set_t set;

  wire->sender_cpu = wire->sink_cpu = -1;
  if (sched_getaffinity (0, sizeof set, &set) < 0 || CPU_COUNT (&set) < 2)
    {
      g_printerr ("zcio-wire: there is only one CPU for both ends: no time taken here means anything\n");
      return;
    }

  for (int cpu = 0; cpu < CPU_SETSIZE && wire->sink_cpu < 0; cpu++)
    if (CPU_ISSET (cpu, &set))
      *(wire->sender_cpu < 0 ? &wire->sender_cpu : &wire->sink_cpu) = cpu;
}

static void
pin_to_cpu (int cpu)
{
  cpu_set_t set;

  if (cpu < 0)
    return;

  CPU_ZERO (&set);
  CPU_SET (cpu, &set);
  sched_setaffinity (0, sizeof set, &set);
}

static int
run_sink (Wire *wire,
          int   sink_namespace,
          int   ready_fd)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (WireSink) sink = NULL;
  int stop_fd;
  sigset_t set;

  sigemptyset (&set);
  sigaddset (&set, SIGTERM);
  stop_fd = signalfd (-1, &set, SFD_CLOEXEC);

  pin_to_cpu (wire->sink_cpu);
  if (setns (sink_namespace, CLONE_NEWNET) < 0)
    {
      wire_set_error_from_errno (&error, "enter the network namespace", errno);
      return complain (error);
    }

  sink = wire_sink_new (&wire->options, &error);
  if (sink == NULL)
    return complain (error);

  if (write (ready_fd, "", 1) != 1)
    return WIRE_EXIT_FAILED;
  close (ready_fd);

  if (!wire_sink_run (sink, stop_fd, &error))
    return complain (error);

  return 0;
}

static pid_t
start_sink (Wire    *wire,
            int      sink_namespace,
            GError **error)
{
  int ready[2];
  char byte;
  pid_t pid;
  gssize n;

  if (!g_unix_open_pipe (ready, FD_CLOEXEC, error))
    return -1;

  pid = fork ();
  if (pid == 0)
    {
      close (ready[0]);
      _exit (run_sink (wire, sink_namespace, ready[1]));
    }

  close (ready[1]);
  do
    n = read (ready[0], &byte, 1);
  while (n < 0 && errno == EINTR);
  close (ready[0]);

  /* It has said itself what went wrong; its exit code tells the rest. */
  if (n != 1)
    {
      int status = 0;

      waitpid (pid, &status, 0);
      g_set_error_literal (error, WIRE_ERROR,
                           WIFEXITED (status) && WEXITSTATUS (status) == WIRE_EXIT_LACKING
                             ? WIRE_ERROR_LACKING
                             : WIRE_ERROR_FAILED,
                           "There is no far end");
      return -1;
    }

  return pid;
}

static pid_t
start_command (Wire *wire)
{
  g_autofree char *address = NULL;
  sigset_t none;
  pid_t pid;

  address = g_strdup_printf ("%d.%d.%d.%d:%d",
                             WIRE_SINK_ADDRESS >> 24 & 0xff, WIRE_SINK_ADDRESS >> 16 & 0xff,
                             WIRE_SINK_ADDRESS >> 8 & 0xff, WIRE_SINK_ADDRESS & 0xff, WIRE_PORT);

  pid = fork ();
  if (pid == 0)
    {
      pin_to_cpu (wire->sender_cpu);
      sigemptyset (&none);
      sigprocmask (SIG_SETMASK, &none, NULL);
      g_setenv ("ZCIO_WIRE_ADDRESS", address, TRUE);
      execvp (wire->command[0], wire->command);
      g_printerr ("zcio-wire: %s: %s\n", wire->command[0], g_strerror (errno));
      _exit (errno == ENOENT ? WIRE_EXIT_NOT_FOUND : WIRE_EXIT_NOT_EXECUTABLE);
    }

  return pid;
}

static int
get_exit_code (int status)
{
  return WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status);
}

/* Returns: whether it was COMMAND or the far end that ended */
static gboolean
reap_children (pid_t command,
               pid_t sink,
               int  *exit_code)
{
  int status;
  pid_t pid;

  while ((pid = waitpid (-1, &status, WNOHANG)) > 0)
    {
      if (pid == command)
        {
          *exit_code = get_exit_code (status);
          return TRUE;
        }
      if (pid == sink)
        {
          g_printerr ("zcio-wire: the far end is gone\n");
          *exit_code = WIRE_EXIT_FAILED;
          return TRUE;
        }
    }

  return FALSE;
}

/* Waits for the end of COMMAND. @life_fd hangs up when whoever waits for us is
 * no more. */
static int
watch_children (Wire *wire,
                pid_t command,
                pid_t sink,
                int   life_fd)
{
  struct pollfd fds[] = { { wire->signal_fd, POLLIN, 0 }, { life_fd, 0, 0 } };
  gint64 deadline = -1;
  int exit_code = WIRE_EXIT_FAILED;

  while (TRUE)
    {
      gint64 left = deadline < 0 ? -1 : MAX (0, deadline - g_get_monotonic_time ());
      int signal_number;

      if (poll (fds, G_N_ELEMENTS (fds), left < 0 ? -1 : (int) (left / 1000) + 1) < 0 && errno != EINTR)
        return WIRE_EXIT_FAILED;
      if (fds[1].revents != 0 || left == 0)
        return WIRE_EXIT_FAILED;

      while ((signal_number = read_signal (wire->signal_fd)) != 0)
        if (signal_number != SIGCHLD)
          {
            kill (command, signal_number);
            deadline = g_get_monotonic_time () + GRACE_SECONDS * G_USEC_PER_SEC;
          }
      if (reap_children (command, sink, &exit_code))
        return exit_code;
    }
}

/* The first process of the PID namespace */
static int
hold_everything (Wire *wire,
                 int   life_fd)
{
  g_autoptr (GError) error = NULL;
  int sink_namespace = -1;
  int exit_code;
  pid_t command, sink;

  wire->signal_fd = open_signals ();

  if (!wire_enter_mounts (&error) ||
      !wire_set_up_namespaces (&wire->options, &sink_namespace, &error))
    return complain (error);

  sink = start_sink (wire, sink_namespace, &error);
  if (sink < 0)
    return complain (error);
  close (sink_namespace);

  command = start_command (wire);
  exit_code = watch_children (wire, command, sink, life_fd);

  /* What COMMAND left unsent is reset with the far end; everything else that still runs in
   * here ends with this process. */
  kill (sink, SIGTERM);
  waitpid (sink, NULL, 0);

  return exit_code;
}

static int
wait_for_holder (Wire *wire,
                 pid_t holder)
{
  struct pollfd fds[] = { { wire->signal_fd, POLLIN, 0 } };
  gboolean told = FALSE;
  int status;

  while (waitpid (holder, &status, WNOHANG) == 0)
    {
      int signal_number;

      /* It has had its time, and more. */
      if (poll (fds, G_N_ELEMENTS (fds), told ? (GRACE_SECONDS + 2) * 1000 : -1) == 0)
        kill (holder, SIGKILL);
      while ((signal_number = read_signal (wire->signal_fd)) != 0)
        if (signal_number != SIGCHLD)
          {
            kill (holder, signal_number);
            told = TRUE;
          }
    }

  return get_exit_code (status);
}

/* Forks the first process of a new PID namespace. What else this one starts is not to be in
 * it: once that process has ended nothing can be, LeakSanitizer's tracer neither.
 */
static pid_t
fork_into_new_namespace (void)
{
  int own = open ("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
  pid_t pid = -1;
  int errsv;

  if (own >= 0 && unshare (CLONE_NEWPID) == 0)
    pid = fork ();
  errsv = errno;
  if (pid > 0 && setns (own, CLONE_NEWPID) < 0)
    g_debug ("setns: %s", g_strerror (errno));
  if (own >= 0)
    close (own);

  errno = errsv;
  return pid;
}

static int
run (Wire *wire)
{
  g_autoptr (GError) error = NULL;
  pid_t parent = getppid ();
  pid_t holder;
  int life[2];

  wire->signal_fd = open_signals ();
  prctl (PR_SET_PDEATHSIG, SIGTERM);
  if (getppid () != parent)
    return WIRE_EXIT_FAILED;

  if (!g_unix_open_pipe (life, FD_CLOEXEC, &error))
    return complain (error);

  holder = fork_into_new_namespace ();
  if (holder < 0)
    {
      wire_set_error_from_errno (&error, "make a PID namespace", errno);
      return complain (error);
    }
  if (holder == 0)
    {
      close (life[1]);
      _exit (hold_everything (wire, life[0]));
    }
  close (life[0]);

  return wait_for_holder (wire, holder);
}

static gboolean
check_options (Wire    *wire,
               GError **error)
{
  const WireOptions *options = &wire->options;

  if (options->interval < 1 || options->interval > 1000000 ||
      options->delay < 0 || options->delay > 60000000 ||
      !(options->loss >= 0 && options->loss <= 100) ||
      !(options->reorder >= 0 && options->reorder <= 100) ||
      options->optmem < 0)
    {
      g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "An option is out of range");
      return FALSE;
    }
  if (wire->command == NULL || wire->command[0] == NULL)
    {
      g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "There is no COMMAND to run");
      return FALSE;
    }

  return TRUE;
}

static gboolean
parse_options (Wire    *wire,
               int     *argc,
               char  ***argv,
               GError **error)
{
  const GOptionEntry entries[] = {
    { "delay", 'd', 0, G_OPTION_ARG_INT, &wire->options.delay, "Hold each ACK back for so long", "USEC" },
    { "loss", 'l', 0, G_OPTION_ARG_DOUBLE, &wire->options.loss, "Lose this share of the ACKs", "PERCENT" },
    { "reorder", 'r', 0, G_OPTION_ARG_DOUBLE, &wire->options.reorder, "Let this share of the ACKs be overtaken", "PERCENT" },
    { "interval", 'i', 0, G_OPTION_ARG_INT, &wire->options.interval, "Look for segments so often (30)", "USEC" },
    { "seed", 0, 0, G_OPTION_ARG_INT, &wire->options.seed, "Where the random numbers start", "NUMBER" },
    { "optmem", 0, 0, G_OPTION_ARG_INT, &wire->options.optmem, "net.core.optmem_max of the sender", "BYTES" },
    { "statistics", 's', 0, G_OPTION_ARG_NONE, &wire->options.statistics, "Tell at the end what was done", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &wire->command, NULL, "-- COMMAND…" },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  g_option_context_set_summary (context,
                                "Runs COMMAND at one end of a wire that drops what it gets without a copy.\n"
                                "The address to connect to is in ZCIO_WIRE_ADDRESS. For root only.");
  g_option_context_set_strict_posix (context, TRUE);
  g_option_context_add_main_entries (context, entries, NULL);

  return g_option_context_parse (context, argc, argv, error) && check_options (wire, error);
}

int
main (int    argc,
      char **argv)
{
  g_autoptr (GError) error = NULL;
  Wire wire = { .options = { .interval = 30 } };
  int exit_code;

  setlocale (LC_ALL, "");

  if (!parse_options (&wire, &argc, &argv, &error))
    return complain (error);

  if (geteuid () != 0)
    {
      g_printerr ("zcio-wire: only root can have a wire\n");
      return WIRE_EXIT_LACKING;
    }

  choose_cpus (&wire);
  exit_code = run (&wire);
  g_strfreev (wire.command);

  return exit_code;
}
