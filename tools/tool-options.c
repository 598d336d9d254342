/* tool-options.c - options, arguments and errors of the zcio program
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool.h"

#include <string.h>

#define DEFAULT_BUFFER_SIZE (1024 * 1024)
#define MAX_BUFFER_SIZE (1024 * 1024 * 1024)

G_DEFINE_QUARK (tool-error-quark, tool_error)

static const char *const exit_names[] = {
  "ok",
  "failed",
  "usage",
  "name",
  "connect",
  "connection",
  "input",
  "output",
  "mismatch",
  "unsuited",
};

const char *
tool_exit_get_name (ToolExit kind)
{
  return (gsize) kind < G_N_ELEMENTS (exit_names) ? exit_names[kind] : "signal";
}

/* Gives an error a kind, and what was being done before its message, if any.
 * One that has a kind already, or tells of a cancellation, stays as it is.
 */
void
tool_error_wrap (GError    **error,
                 ToolExit    kind,
                 const char *format,
                 ...)
{
  g_autofree char *prefix = NULL;
  GError *wrapped;
  va_list args;

  if (error == NULL || *error == NULL || (*error)->domain == TOOL_ERROR
      || g_error_matches (*error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;

  if (format == NULL)
    {
      wrapped = g_error_new_literal (TOOL_ERROR, (int) kind, (*error)->message);
    }
  else
    {
      va_start (args, format);
      prefix = g_strdup_vprintf (format, args);
      va_end (args);
      wrapped = g_error_new (TOOL_ERROR, (int) kind, "%s: %s", prefix, (*error)->message);
    }

  g_clear_error (error);
  *error = wrapped;
}

ToolExit
tool_error_get_exit (const GError *error)
{
  if (error->domain == TOOL_ERROR)
    return (ToolExit) error->code;
  if (error->domain == G_OPTION_ERROR)
    return TOOL_EXIT_USAGE;
  if (error->domain == G_RESOLVER_ERROR)
    return TOOL_EXIT_NAME;
  return TOOL_EXIT_FAILED;
}

/* One line, whatever is in the message: names of files may hold anything. */
void
tool_print_error (const GError *error)
{
  g_autofree char *message = g_strdup (error->message);

  for (char *c = message; *c != '\0'; c++)
    if (g_ascii_iscntrl (*c))
      *c = '?';
  g_printerr ("zcio: %s\n", message);
}

void
tool_options_clear (ToolOptions *options)
{
  g_clear_pointer (&options->buffer_size_text, g_free);
  g_clear_pointer (&options->max_in_flight_text, g_free);
  g_clear_pointer (&options->rate_text, g_free);
  g_clear_pointer (&options->mode_text, g_free);
  g_clear_pointer (&options->arguments, g_strfreev);
}

static gboolean
parse_size_option (const char *name,
                   const char *text,
                   guint64     maximum,
                   guint64    *size,
                   GError    **error)
{
  if (text == NULL || tool_parse_size (text, 1, maximum, size, error))
    return TRUE;

  g_prefix_error (error, "%s: ", name);
  return FALSE;
}

static gboolean
finish_options (ToolOptions *options,
                GError     **error)
{
  g_autoptr (GEnumClass) modes = g_type_class_ref (ZCIO_TYPE_ZERO_COPY_MODE);
  const GEnumValue *mode;

  if (!parse_size_option ("--buffer-size", options->buffer_size_text, MAX_BUFFER_SIZE, &options->buffer_size, error)
      || !parse_size_option ("--max-in-flight", options->max_in_flight_text, G_MAXINT64, &options->max_in_flight, error)
      || !parse_size_option ("--rate", options->rate_text, G_MAXINT64, &options->rate, error))
    return FALSE;

  if (options->timeout < 0)
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_USAGE, "--timeout: A time cannot be negative");
      return FALSE;
    }

  if (options->mode_text == NULL)
    return TRUE;

  mode = g_enum_get_value_by_nick (modes, options->mode_text);
  if (mode == NULL)
    {
      g_set_error (error, TOOL_ERROR, TOOL_EXIT_USAGE,
                   "--zero-copy: “%s” is none of auto, always and never", options->mode_text);
      return FALSE;
    }
  options->mode = mode->value;

  return TRUE;
}

/* Arguments that are no options are left in @options, which need not be initialized. */
gboolean
tool_options_parse (ToolOptions        *options,
                    ToolOptionsFlags    flags,
                    const char         *parameters,
                    const char         *summary,
                    const GOptionEntry *entries,
                    int                 argc,
                    char              **argv,
                    GError            **error)
{
  const GOptionEntry argument_entries[] = {
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->arguments, NULL, NULL },
    G_OPTION_ENTRY_NULL
  };
  const GOptionEntry output_entries[] = {
    { "quiet", 'q', 0, G_OPTION_ARG_NONE, &options->quiet, "Print errors and nothing else", NULL },
    { "json", 'j', 0, G_OPTION_ARG_NONE, &options->json, "Print the result as JSON", NULL },
    G_OPTION_ENTRY_NULL
  };
  const GOptionEntry transfer_entries[] = {
    { "checksum", 'c', 0, G_OPTION_ARG_NONE, &options->checksum, "Print the SHA-256 of all bytes", NULL },
    { "timeout", 't', 0, G_OPTION_ARG_INT, &options->timeout, "Give up when nothing has moved for so long", "SECONDS" },
    { "buffer-size", 'b', 0, G_OPTION_ARG_STRING, &options->buffer_size_text, "Bytes that are read or sent at once (1M)", "SIZE" },
    G_OPTION_ENTRY_NULL
  };
  const GOptionEntry sending_entries[] = {
    { "zero-copy", 'z', 0, G_OPTION_ARG_STRING, &options->mode_text, "When to send without copying: auto, always, never", "MODE" },
    { "max-in-flight", 'm', 0, G_OPTION_ARG_STRING, &options->max_in_flight_text, "Bytes that the kernel may hold at most", "SIZE" },
    { "rate", 'r', 0, G_OPTION_ARG_STRING, &options->rate_text, "Bytes a second at most", "SIZE" },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new (parameters);

  options->buffer_size = DEFAULT_BUFFER_SIZE;
  options->mode = ZCIO_ZERO_COPY_MODE_AUTO;

  g_option_context_set_summary (context, summary);
  g_option_context_set_description (context, "A SIZE is a number of bytes, or of units such as K, M and G (1024, …). See zcio(1).");
  if (entries != NULL)
    g_option_context_add_main_entries (context, entries, NULL);
  if (flags & TOOL_OPTIONS_SENDING)
    g_option_context_add_main_entries (context, sending_entries, NULL);
  if (flags & TOOL_OPTIONS_TRANSFER)
    g_option_context_add_main_entries (context, transfer_entries, NULL);
  if (flags & TOOL_OPTIONS_OUTPUT)
    g_option_context_add_main_entries (context, output_entries, NULL);

  g_option_context_add_main_entries (context, argument_entries, NULL);

  if (!g_option_context_parse (context, &argc, &argv, error))
    {
      tool_error_wrap (error, TOOL_EXIT_USAGE, NULL);
      return FALSE;
    }

  if (options->arguments == NULL)
    options->arguments = g_new0 (char *, 1);
  return finish_options (options, error);
}

/* The number is GLib's to parse; only the unit after it is looked up here. */
gboolean
tool_parse_size (const char *text,
                 guint64     minimum,
                 guint64     maximum,
                 guint64    *size,
                 GError    **error)
{
  static const struct
  {
    const char *suffix;
    guint shift;
  } units[] = { { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 }, { "K", 10 }, { "M", 20 }, { "G", 30 }, { "T", 40 } };
  g_autofree char *number = g_strdup (text);
  guint64 value;
  guint shift = 0;

  for (gsize i = 0; i < G_N_ELEMENTS (units); i++)
    if (g_str_has_suffix (number, units[i].suffix))
      {
        number[strlen (number) - strlen (units[i].suffix)] = '\0';
        shift = units[i].shift;
        break;
      }

  if (!g_ascii_string_to_unsigned (number, 10, 0, G_MAXUINT64 >> shift, &value, NULL))
    {
      g_set_error (error, TOOL_ERROR, TOOL_EXIT_USAGE,
                   "“%s” is not a size such as 65536, 64K or 1M", text);
      return FALSE;
    }

  value <<= shift;
  if (value < minimum || value > maximum)
    {
      g_set_error (error, TOOL_ERROR, TOOL_EXIT_USAGE,
                   "“%s” is out of range: it must be from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                   text, minimum, maximum);
      return FALSE;
    }
  *size = value;

  return TRUE;
}

/* An address of “host:port” in which the port may not be left out: GIO takes its
 * default then, so two defaults tell.
 */
static GNetworkAddress *
parse_address (const char *text,
               GError    **error)
{
  g_autoptr (GSocketConnectable) address = NULL;
  g_autoptr (GSocketConnectable) other = NULL;

  address = g_network_address_parse (text, 0, error);
  if (address == NULL)
    {
      tool_error_wrap (error, TOOL_EXIT_USAGE, "“%s” is not an address", text);
      return NULL;
    }

  other = g_network_address_parse (text, 1, NULL);
  if (other == NULL
      || g_network_address_get_port (G_NETWORK_ADDRESS (address)) != g_network_address_get_port (G_NETWORK_ADDRESS (other))
      || *g_network_address_get_hostname (G_NETWORK_ADDRESS (address)) == '\0')
    {
      g_set_error (error, TOOL_ERROR, TOOL_EXIT_USAGE,
                   "“%s” is not an address such as example.org:5000, 192.0.2.1:5000 or [2001:db8::1]:5000", text);
      return NULL;
    }

  return G_NETWORK_ADDRESS (g_steal_pointer (&address));
}

GSocketConnectable *
tool_parse_peer (const char *text,
                 GError    **error)
{
  g_autoptr (GNetworkAddress) address = parse_address (text, error);

  if (address == NULL)
    return NULL;

  if (g_network_address_get_port (address) == 0)
    {
      g_set_error (error, TOOL_ERROR, TOOL_EXIT_USAGE, "“%s” has no port that one could connect to", text);
      return NULL;
    }

  return G_SOCKET_CONNECTABLE (g_steal_pointer (&address));
}

/* @host is NULL for all addresses of this host. */
gboolean
tool_parse_listen (const char *text,
                   char      **host,
                   guint16    *port,
                   GError    **error)
{
  g_autoptr (GNetworkAddress) address = NULL;
  guint64 number;

  if (g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT16, &number, NULL))
    {
      *host = NULL;
      *port = (guint16) number;
      return TRUE;
    }

  if (g_ascii_isdigit (*text) && strspn (text, "0123456789") == strlen (text))
    {
      g_set_error (error, TOOL_ERROR, TOOL_EXIT_USAGE, "“%s” is not a port: the highest is 65535", text);
      return FALSE;
    }

  address = parse_address (text, error);
  if (address == NULL)
    return FALSE;

  *host = g_strdup (g_network_address_get_hostname (address));
  *port = g_network_address_get_port (address);
  return TRUE;
}

const char *
tool_mode_get_name (ZcioZeroCopyMode mode)
{
  g_autoptr (GEnumClass) modes = g_type_class_ref (ZCIO_TYPE_ZERO_COPY_MODE);
  const GEnumValue *value = g_enum_get_value (modes, (int) mode);

  return value != NULL ? value->value_nick : "unknown";
}

/* g_format_size () with a space that every terminal and script knows. */
char *
tool_format_size (guint64 size)
{
  g_autofree char *text = g_format_size (size);
  g_auto (GStrv) words = g_strsplit (text, "\302\240", -1);

  return g_strjoinv (" ", words);
}

char *
tool_format_address (GSocketAddress *address)
{
  g_autofree char *text = NULL;

  if (G_IS_SOCKET_CONNECTABLE (address))
    text = g_socket_connectable_to_string (G_SOCKET_CONNECTABLE (address));

  return text != NULL ? g_steal_pointer (&text) : g_strdup ("unknown");
}
