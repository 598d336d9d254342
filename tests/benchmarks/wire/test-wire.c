/* test-wire.c - tests of zcio-wire
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <linux/errqueue.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long to wait for what must happen; only a guard against a hang. */
#define GUARD_SECONDS 60
#define MAX_CONNECTIONS 128

/* ---- the program at the sender's end ---- */

typedef struct
{
  int fd;
  guint sends;
  guint completions;
  guint copied;
} Connection;

static int
connect_to_wire (void)
{
  g_auto (GStrv) parts = g_strsplit (g_getenv ("ZCIO_WIRE_ADDRESS"), ":", 2);
  struct sockaddr_in address = { .sin_family = AF_INET };
  const int on = 1;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  inet_pton (AF_INET, parts[0], &address.sin_addr);
  address.sin_port = htons ((guint16) atoi (parts[1]));
  if (connect (fd, (struct sockaddr *) &address, sizeof address) < 0 ||
      setsockopt (fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) < 0)
    g_error ("connect: %s", g_strerror (errno));

  return fd;
}

static void
read_completions (Connection *connection)
{
  char control[256];

  while (TRUE)
    {
      struct msghdr message = { .msg_control = control, .msg_controllen = sizeof control };

      if (recvmsg (connection->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return;

      for (struct cmsghdr *header = CMSG_FIRSTHDR (&message); header != NULL; header = CMSG_NXTHDR (&message, header))
        {
          struct sock_extended_err record;
          guint n;

          memcpy (&record, CMSG_DATA (header), sizeof record);
          n = record.ee_data - record.ee_info + 1;
          connection->completions += n;
          if (record.ee_code & SO_EE_CODE_ZEROCOPY_COPIED)
            connection->copied += n;
        }
    }
}

static void
wait_for_completions (Connection *connection)
{
  while (connection->completions < connection->sends)
    {
      struct pollfd poll_fd = { connection->fd, 0, 0 };

      poll (&poll_fd, 1, -1);
      read_completions (connection);
    }
}

static void
send_all (Connection *connection,
          const char *buffer,
          gsize       size)
{
  for (gsize done = 0; done < size;)
    {
      gssize n = send (connection->fd, buffer + done, size - done, MSG_ZEROCOPY | MSG_NOSIGNAL);

      if (n < 0 && errno == ENOBUFS)
        wait_for_completions (connection);
      else if (n < 0)
        g_error ("send: %s", g_strerror (errno));
      else
        {
          done += (gsize) n;
          connection->sends++;
        }
    }
}

/* Prints how many sends there were and how they came back, and how long the
 * last took. */
static int
run_sender (guint n_connections,
            guint n_blocks,
            gsize size)
{
  Connection connections[MAX_CONNECTIONS] = { 0 };
  guint sends = 0, completions = 0, copied = 0, clean_ends = 0;
  g_autofree char *buffer = g_malloc0 (size);
  gint64 last = 0;

  for (guint i = 0; i < n_connections; i++)
    connections[i].fd = connect_to_wire ();

  for (guint block = 0; block < n_blocks; block++)
    for (guint i = 0; i < n_connections; i++)
      {
        last = g_get_monotonic_time ();
        send_all (&connections[i], buffer, size);
      }

  for (guint i = 0; i < n_connections; i++)
    {
      char byte;

      wait_for_completions (&connections[i]);
      shutdown (connections[i].fd, SHUT_WR);
      clean_ends += read (connections[i].fd, &byte, 1) == 0;
      sends += connections[i].sends;
      completions += connections[i].completions;
      copied += connections[i].copied;
    }

  g_print ("%u %u %u %u %" G_GINT64_FORMAT "\n", sends, completions, copied, clean_ends,
           g_get_monotonic_time () - last);

  return 0;
}

/* Says where it is, and has data unsent while it waits to be killed. */
static void G_GNUC_NORETURN
run_sleeper (void)
{
  g_autofree char *network = g_file_read_link ("/proc/self/ns/net", NULL);
  static char buffer[65536];
  int fd = connect_to_wire ();

  while (send (fd, buffer, sizeof buffer, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
    ;
  g_print ("%s\n", network);
  if (fork () == 0)
    signal (SIGTERM, SIG_IGN);
  while (TRUE)
    pause ();
}

/* ---- the tests ---- */

static const char *wire_program;
static const char *own_program;

/* Runs the wire with @options and the sender above. Returns what it printed, or
 * NULL if the test is to be skipped. */
static char *
run_wire (const char *options,
          const char *command,
          int        *status)
{
  g_autofree char *line = NULL;
  g_autofree char *output = NULL;
  g_autofree char *errors = NULL;
  g_auto (GStrv) arguments = NULL;
  g_autoptr (GError) error = NULL;

  line = g_strdup_printf ("%s %s -- %s %s", wire_program, options, own_program, command);
  g_shell_parse_argv (line, NULL, &arguments, &error);
  g_assert_no_error (error);
  g_spawn_sync (NULL, arguments, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, &errors, status, &error);
  g_assert_no_error (error);

  if (WIFEXITED (*status) && WEXITSTATUS (*status) == 77)
    {
      g_test_skip_printf ("No wire here: %s", g_strchomp (errors));
      return NULL;
    }
  if (errors[0] != '\0')
    g_test_message ("%s", g_strchomp (errors));

  return g_steal_pointer (&output);
}

static void
check_sender (const char *options,
              guint       n_connections,
              guint       n_blocks,
              gsize       size,
              gint64      at_least)
{
  g_autofree char *command = NULL;
  g_autofree char *output = NULL;
  guint sends, completions, copied, clean_ends;
  gint64 duration;
  int status;

  command = g_strdup_printf ("sender %u %u %" G_GSIZE_FORMAT, n_connections, n_blocks, size);
  output = run_wire (options, command, &status);
  if (output == NULL)
    return;

  g_assert_cmpint (status, ==, 0);
  g_assert_cmpint (sscanf (output, "%u %u %u %u %" G_GINT64_FORMAT, &sends, &completions, &copied, &clean_ends, &duration), ==, 5);
  g_assert_cmpuint (sends, >=, n_connections * n_blocks);
  g_assert_cmpuint (completions, ==, sends);
  g_assert_cmpuint (copied, ==, 0);
  g_assert_cmpuint (clean_ends, ==, n_connections);
  g_assert_cmpint (duration, >=, at_least);
}

static void
test_completions (void)
{
  g_test_summary ("Every zero-copy send comes back without the copied flag, and the connection ends cleanly.");
  check_sender ("", 1, 256, 256 * 1024, 0);
}

static void
test_many_connections (void)
{
  g_test_summary ("As many as 100 connections at once are answered.");
  check_sender ("", 100, 8, 64 * 1024, 0);
}

static void
test_delay (void)
{
  g_test_summary ("A delay holds completions back by as much.");
  check_sender ("--delay=50000", 1, 4, 64 * 1024, 50000);
}

static void
test_loss_and_reordering (void)
{
  g_test_summary ("Lost ACKs and ACKs out of order do not lose a completion.");
  check_sender ("--delay=1000 --loss=30 --reorder=30 --seed=1", 4, 64, 64 * 1024, 0);
}

static void
test_optmem (void)
{
  g_test_summary ("With little memory for notifications all still comes back.");
  check_sender ("--optmem=4096 --delay=1000", 1, 64, 512 * 1024, 0);
}

static void
check_exit_code (const char *command,
                 int         expected)
{
  g_autofree char *output = NULL;
  int status;

  output = run_wire ("", command, &status);
  if (output == NULL)
    return;

  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, expected);
}

static void
test_exit_code (void)
{
  g_test_summary ("The exit code is that of the command, or 128 and the signal that killed it.");
  check_exit_code ("exit 0", 0);
  check_exit_code ("exit 7", 7);
  check_exit_code ("kill 9", 128 + 9);
}

/* Returns: whether any process is in @network, such as net:[4026531840] */
static gboolean
is_inhabited (const char *network)
{
  g_autoptr (GDir) directory = g_dir_open ("/proc", 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (directory)) != NULL)
    {
      g_autofree char *path = g_build_filename ("/proc", name, "ns/net", NULL);
      g_autofree char *link = g_file_read_link (path, NULL);

      if (g_strcmp0 (link, network) == 0)
        return TRUE;
    }

  return FALSE;
}

/* The test is in a network namespace of its own, so that nobody else adds links. */
static void
assert_nothing_outside (void)
{
  struct if_nameindex *interfaces = if_nameindex ();

  g_assert_nonnull (interfaces);
  for (guint i = 0; interfaces[i].if_name != NULL; i++)
    g_assert_cmpstr (interfaces[i].if_name, ==, "lo");
  if_freenameindex (interfaces);

  g_assert_false (g_file_test ("/run/netns/zcio-send", G_FILE_TEST_EXISTS));
  g_assert_false (g_file_test ("/run/netns/zcio-sink", G_FILE_TEST_EXISTS));
}

static char *
read_line (int fd)
{
  g_autoptr (GString) line = g_string_new (NULL);
  char byte;

  while (read (fd, &byte, 1) == 1 && byte != '\n')
    g_string_append_c (line, byte);

  return g_string_free (g_steal_pointer (&line), FALSE);
}

static void
wait_until_uninhabited (const char *network)
{
  gint64 deadline = g_get_monotonic_time () + GUARD_SECONDS * G_USEC_PER_SEC;

  while (is_inhabited (network))
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_usleep (10000);
    }
}

/* Ends a wire in the middle of its work, by a signal to itself or, if that is 0, by the
 * death of its parent. */
static void
check_leaves_nothing (int signal_number)
{
  /* A wire that is faster than the sleeper would never let it run out of space. */
  const char *arguments[] = { wire_program, "--delay=100000", "--", own_program, "sleeper", NULL };
  g_autofree char *network = NULL;
  int output[2];
  pid_t middle;
  int status;

  g_assert_true (g_unix_open_pipe (output, FD_CLOEXEC, NULL));
  assert_nothing_outside ();

  /* A parent that may die, between us and the wire */
  middle = fork ();
  if (middle == 0)
    {
      pid_t wire;

      dup2 (output[1], STDOUT_FILENO);
      wire = fork ();
      if (wire == 0)
        _exit (execv (arguments[0], (char **) arguments));
      raise (SIGSTOP);
      if (signal_number != 0)
        kill (wire, signal_number);
      _exit (0);
    }
  close (output[1]);

  network = read_line (output[0]);
  if (network[0] != '\0')
    {
      g_assert_true (is_inhabited (network));
      assert_nothing_outside ();
    }
  g_assert_cmpint (waitpid (middle, &status, WUNTRACED), ==, middle);
  kill (middle, SIGCONT);
  g_assert_cmpint (waitpid (middle, &status, 0), ==, middle);

  if (network[0] == '\0')
    g_test_skip ("There is no wire here");
  else
    {
      wait_until_uninhabited (network);
      while (waitpid (-1, NULL, 0) > 0)
        ;
    }
  assert_nothing_outside ();
  close (output[0]);
}

static void
test_leaves_nothing (void)
{
  static const int signals[] = { SIGINT, SIGTERM, SIGKILL, 0 };

  g_test_summary ("Whatever ends the wire, no process, interface or name stays, and none is ever outside.");

  if (geteuid () != 0 || unshare (CLONE_NEWNET) < 0)
    {
      g_test_skip ("Only root can have a wire");
      return;
    }
  /* Orphans become children of the test, which sees that they end. */
  prctl (PR_SET_CHILD_SUBREAPER, 1);
  for (guint i = 0; i < G_N_ELEMENTS (signals); i++)
    check_leaves_nothing (signals[i]);
}

static int
run_command (int    argc,
             char **argv)
{
  if (g_str_equal (argv[1], "sender") && argc == 5)
    return run_sender (MIN (MAX_CONNECTIONS, (guint) atoi (argv[2])), (guint) atoi (argv[3]), (gsize) atol (argv[4]));
  if (g_str_equal (argv[1], "sleeper"))
    run_sleeper ();
  if (g_str_equal (argv[1], "exit"))
    return atoi (argv[2]);

  return kill (getpid (), atoi (argv[2]));
}

int
main (int    argc,
      char **argv)
{
  /* Not options: this is the program at the sender's end. */
  if (argc > 1 && argv[1][0] != '-')
    return run_command (argc, argv);

  g_test_init (&argc, &argv, NULL);
  wire_program = g_getenv ("ZCIO_WIRE");
  own_program = argv[0];
  g_assert_nonnull (wire_program);

  g_test_add_func ("/wire/completions", test_completions);
  g_test_add_func ("/wire/many-connections", test_many_connections);
  g_test_add_func ("/wire/delay", test_delay);
  g_test_add_func ("/wire/loss-and-reordering", test_loss_and_reordering);
  g_test_add_func ("/wire/optmem", test_optmem);
  g_test_add_func ("/wire/exit-code", test_exit_code);
  g_test_add_func ("/wire/leaves-nothing", test_leaves_nothing);

  return g_test_run ();
}
