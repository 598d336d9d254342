/* zcio-tool.c - the zcio program: its commands and how it ends
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <locale.h>
#include <signal.h>
#include <string.h>

typedef struct
{
  const char *name;
  const char *summary;
  int (*run) (int argc, char **argv, GError **error);
} ToolCommand;

static const ToolCommand commands[] = {
  { "send", "Send files or standard input to a host", tool_send },
  { "receive", "Receive what a host sends", tool_receive },
  { "bench", "Compare sending with and without copying", tool_bench },
  { "doctor", "Tell whether zero-copy will pay, and what to mend", tool_doctor },
  { "demo", "Send a file to another process and show what happened", tool_demo },
};

static const ToolCommand *
find_command (const char *name)
{
  for (gsize i = 0; i < G_N_ELEMENTS (commands); i++)
    if (strcmp (commands[i].name, name) == 0)
      return &commands[i];

  return NULL;
}

static void
print_help (void)
{
  g_print ("Usage: zcio COMMAND [OPTION…] [ARGUMENT…]\n\n"
           "Sends over TCP without copying, and tells why that happens or not.\n\n"
           "Commands:\n");
  for (gsize i = 0; i < G_N_ELEMENTS (commands); i++)
    g_print ("  %-9s %s\n", commands[i].name, commands[i].summary);
  g_print ("\n“zcio COMMAND --help” lists the options of a command; see also zcio(1).\n");
}

static int
run_command (const ToolCommand *command,
             int                argc,
             char             **argv)
{
  g_autofree char *name = g_strdup_printf ("zcio %s", command->name);
  g_autoptr (GError) error = NULL;
  int code;

  g_set_prgname (name);
  code = command->run (argc, argv, &error);
  if (error == NULL)
    return code;

  /* What the command has returned stands if it ended by a signal. */
  if (code < TOOL_EXIT_SIGNAL)
    {
      tool_print_error (error);
      code = tool_error_get_exit (error);
    }
  return code;
}

int
main (int    argc,
      char **argv)
{
  const ToolCommand *command;
  char help[] = "--help";
  char *help_arguments[] = { NULL, help, NULL };

  setlocale (LC_ALL, "");
  signal (SIGPIPE, SIG_IGN);

  if (argc < 2)
    {
      g_printerr ("zcio: A command is missing; “zcio --help” lists them\n");
      return TOOL_EXIT_USAGE;
    }
  command = argc == 3 && strcmp (argv[1], "help") == 0 ? find_command (argv[2]) : NULL;
  if (command != NULL)
    {
      help_arguments[0] = argv[2];
      return run_command (command, 2, help_arguments);
    }
  if (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0 || strcmp (argv[1], "help") == 0)
    {
      print_help ();
      return TOOL_EXIT_OK;
    }
  if (strcmp (argv[1], "--version") == 0)
    {
      g_print ("zcio %s\n", PACKAGE_VERSION);
      return TOOL_EXIT_OK;
    }

  command = find_command (argv[1]);
  if (command == NULL)
    {
      g_printerr ("zcio: There is no command “%s”; “zcio --help” lists them\n", argv[1]);
      return TOOL_EXIT_USAGE;
    }

  return run_command (command, argc - 1, argv + 1);
}
