/* tool-doctor.c - zcio doctor: will zero-copy pay here, and what is to be mended
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-doctor.h"
#include "tool.h"

#include <net/if.h>
#include <pwd.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

/* What the kernel reserves of net.core.optmem_max before it looks at the limit. */
#define OPTMEM_RESERVE 576
#define OPTMEM_USUAL_COST 832
#define OPTMEM_GOOD 131072
#define OPTMEM_BAD_SENDS 4
#define OPTMEM_WEAK_SENDS 64
/* Sends that follow each other closely share a notification up to this size. */
#define NOTIFICATION_SIZE ((guint64) 512 * 1024)

#define MEMLOCK_BAD ((guint64) 256 * 1024)
/* The largest send that the library makes does not fit below this. */
#define MEMLOCK_WEAK ((guint64) (4 * 1024 * 1024 + 2 * 4096))
#define MEMLOCK_GOOD ((guint64) 64 * 1024 * 1024)

#define TCP_WMEM_GOOD ((guint64) 4 * 1024 * 1024)

typedef enum
{
  VERDICT_OK,
  VERDICT_UNKNOWN,
  VERDICT_WEAK,
  VERDICT_BAD
} Verdict;

static const char *const verdict_names[] = { "ok", "unknown", "weak", "bad" };

/* @remedy mends it at once, @lasting for good. */
typedef struct
{
  const char *id;
  char *title;
  Verdict verdict;
  char *finding;
  char *remedy;
  char *lasting;
} Check;

typedef struct
{
  ToolOptions options;
  GPtrArray *checks;
  char *host;
} Doctor;

static void
check_free (gpointer data)
{
  Check *check = data;

  g_free (check->title);
  g_free (check->finding);
  g_free (check->remedy);
  g_free (check->lasting);
  g_free (check);
}

static Check *add_check (Doctor     *doctor,
                         const char *id,
                         const char *title,
                         Verdict     verdict,
                         const char *format,
                         ...) G_GNUC_PRINTF (5, 6);

static Check *
add_check (Doctor     *doctor,
           const char *id,
           const char *title,
           Verdict     verdict,
           const char *format,
           ...)
{
  Check *check = g_new0 (Check, 1);
  va_list args;

  check->id = id;
  check->title = g_strdup (title);
  check->verdict = verdict;
  va_start (args, format);
  check->finding = g_strdup_vprintf (format, args);
  va_end (args);
  g_ptr_array_add (doctor->checks, check);

  return check;
}

static void
set_sysctl_remedy (Check      *check,
                   const char *name,
                   const char *value)
{
  check->remedy = g_strdup_printf ("sysctl -w %s='%s'", name, value);
  check->lasting = g_strdup_printf ("echo '%s = %s' >> /etc/sysctl.d/90-zcio.conf", name, value);
}

static char *
read_setting (const char *path)
{
  char *text = NULL;

  if (!g_file_get_contents (path, &text, NULL, NULL))
    return NULL;
  return g_strstrip (text);
}

static void
check_kernel (Doctor          *doctor,
              const ToolProbe *probe)
{
  struct utsname name;

  uname (&name);
  if (!probe->connected)
    {
      Check *check = add_check (doctor, "kernel", "kernel", VERDICT_UNKNOWN,
                                "%s %s; nothing can be tried, since there is no connection over loopback", name.sysname, name.release);

      check->remedy = g_strdup ("ip link set lo up");
    }
  else if (!probe->accepted)
    {
      Check *check = add_check (doctor, "kernel", "kernel", VERDICT_BAD,
                                "%s %s refuses SO_ZEROCOPY: %s", name.sysname, name.release, g_strerror (probe->errsv));

      check->remedy = g_strdup ("a kernel of version 4.14 or later");
    }
  else if (!probe->sent)
    {
      add_check (doctor, "kernel", "kernel", VERDICT_WEAK,
                 "%s %s knows zero-copy but refused a real send: %s (one of the limits below)",
                 name.sysname, name.release, g_strerror (probe->errsv));
    }
  else if (!probe->notified)
    {
      add_check (doctor, "kernel", "kernel", VERDICT_BAD,
                 "%s %s accepted a zero-copy send, but its notification did not come", name.sysname, name.release);
    }
  else
    {
      add_check (doctor, "kernel", "kernel", VERDICT_OK,
                 "%s %s accepted a zero-copy send, and its notification came back", name.sysname, name.release);
    }
}

/* FALSE if it lets nothing through. */
static gboolean
check_optmem (Doctor          *doctor,
              const ToolProbe *probe)
{
  g_autofree char *text = read_setting ("/proc/sys/net/core/optmem_max");
  guint cost = probe->optmem_cost > 0 ? probe->optmem_cost : OPTMEM_USUAL_COST;
  g_autofree char *good = g_strdup_printf ("%d", OPTMEM_GOOD);
  guint64 optmem, sends;
  Verdict verdict;
  Check *check;

  if (text == NULL || !g_ascii_string_to_unsigned (text, 10, 0, G_MAXINT, &optmem, NULL))
    {
      add_check (doctor, "optmem_max", "net.core.optmem_max", VERDICT_UNKNOWN, "cannot be read");
      return TRUE;
    }

  sends = optmem < OPTMEM_RESERVE ? 0 : (optmem - OPTMEM_RESERVE) / cost + 1;
  verdict = sends < OPTMEM_BAD_SENDS ? VERDICT_BAD : sends < OPTMEM_WEAK_SENDS ? VERDICT_WEAK : VERDICT_OK;
  if (sends == 0)
    {
      check = add_check (doctor, "optmem_max", "net.core.optmem_max", verdict,
                         "%" G_GUINT64_FORMAT " bytes: no zero-copy send fits", optmem);
    }
  else
    {
      g_autofree char *in_flight = tool_format_size (sends * NOTIFICATION_SIZE);

      check = add_check (doctor, "optmem_max", "net.core.optmem_max", verdict,
                         "%" G_GUINT64_FORMAT " bytes: %" G_GUINT64_FORMAT " notifications fit at %u bytes each, for at most %s in flight on a socket",
                         optmem, sends, cost, in_flight);
    }
  if (verdict != VERDICT_OK)
    set_sysctl_remedy (check, "net.core.optmem_max", good);

  return sends > 0;
}

static char *
get_user_name (void)
{
  const struct passwd *user = getpwuid (getuid ());

  return user != NULL ? g_strdup (user->pw_name) : g_strdup_printf ("%d", (int) getuid ());
}

/* A user may go up to the hard limit, and only root further. */
static void
set_memlock_remedy (Check             *check,
                    const ToolMemlock *memlock)
{
  guint64 pinned = memlock->limit - MIN (memlock->limit, memlock->available);
  guint64 wanted = pinned + MEMLOCK_GOOD;

  if (memlock->hard_limit == RLIM_INFINITY)
    check->remedy = g_strdup ("ulimit -S -l unlimited");
  else if (memlock->hard_limit >= pinned + MEMLOCK_WEAK)
    check->remedy = g_strdup_printf ("ulimit -S -l %" G_GUINT64_FORMAT, memlock->hard_limit / 1024);
  else
    check->remedy = g_strdup_printf ("prlimit --pid %d --memlock=%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT,
                                     (int) getppid (), wanted, wanted);
}

static void
check_memlock (Doctor          *doctor,
               const ToolProbe *probe)
{
  ToolMemlock memlock;
  g_autofree char *user = get_user_name ();
  g_autofree char *limit = NULL, *pinned = NULL, *available = NULL;
  Verdict verdict;
  Check *check;

  if (!probe->connected || !probe->accepted)
    {
      add_check (doctor, "memlock", "RLIMIT_MEMLOCK", VERDICT_UNKNOWN, "cannot be tried");
      return;
    }

  tool_probe_memlock (&memlock);
  if (!memlock.limited)
    {
      add_check (doctor, "memlock", "RLIMIT_MEMLOCK", VERDICT_OK, "no limit is in force: it is high, or CAP_IPC_LOCK lifts it");
      return;
    }

  limit = tool_format_size (memlock.limit);
  available = tool_format_size (memlock.available);
  pinned = tool_format_size (memlock.limit > memlock.available ? memlock.limit - memlock.available : 0);
  verdict = memlock.available < MEMLOCK_BAD ? VERDICT_BAD : memlock.available < MEMLOCK_WEAK ? VERDICT_WEAK : VERDICT_OK;
  check = add_check (doctor, "memlock", "RLIMIT_MEMLOCK", verdict,
                     "%s in all for what user %s has in flight, CAP_IPC_LOCK is missing; %s are pinned, %s are left",
                     limit, user, pinned, available);
  if (verdict == VERDICT_OK)
    return;

  set_memlock_remedy (check, &memlock);
  check->lasting = g_strdup_printf ("echo '%s - memlock %d' >> /etc/security/limits.d/zcio.conf, or LimitMEMLOCK=64M in a service of systemd",
                                    user, (int) (MEMLOCK_GOOD / 1024));
}

static void
check_tcp_buffer (Doctor *doctor)
{
  g_autofree char *text = read_setting ("/proc/sys/net/ipv4/tcp_wmem");
  g_auto (GStrv) words = text != NULL ? g_strsplit (text, "\t", -1) : NULL;
  g_autofree char *size = NULL;
  guint64 most;
  Check *check;

  if (words == NULL || g_strv_length (words) != 3 || !g_ascii_string_to_unsigned (words[2], 10, 0, G_MAXINT, &most, NULL))
    {
      add_check (doctor, "tcp_wmem", "net.ipv4.tcp_wmem", VERDICT_UNKNOWN, "cannot be read");
      return;
    }

  size = tool_format_size (most);
  check = add_check (doctor, "tcp_wmem", "net.ipv4.tcp_wmem", most < TCP_WMEM_GOOD ? VERDICT_WEAK : VERDICT_OK,
                     "a socket's send buffer grows to %s", size);
  if (most < TCP_WMEM_GOOD)
    {
      g_autofree char *value = g_strdup_printf ("%s %s %" G_GUINT64_FORMAT, words[0], words[1], TCP_WMEM_GOOD);

      set_sysctl_remedy (check, "net.ipv4.tcp_wmem", value);
    }
}

static void
check_huge_pages (Doctor *doctor)
{
  g_autofree char *text = read_setting ("/sys/kernel/mm/transparent_hugepage/enabled");
  Check *check;

  if (text == NULL)
    {
      add_check (doctor, "huge_pages", "huge pages", VERDICT_UNKNOWN, "this kernel has no transparent huge pages");
      return;
    }
  if (strstr (text, "[never]") == NULL)
    {
      add_check (doctor, "huge_pages", "huge pages", VERDICT_OK, "transparent huge pages: %s", text);
      return;
    }

  check = add_check (doctor, "huge_pages", "huge pages", VERDICT_WEAK,
                     "transparent huge pages are off: large buffers cost about a fifth more");
  check->remedy = g_strdup ("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
  check->lasting = g_strdup ("transparent_hugepage=madvise on the command line of the kernel");
}

/* A packet socket for all protocols gets a copy of each packet that leaves. */
static void
check_taps (Doctor *doctor)
{
  g_autofree char *text = read_setting ("/proc/net/packet");
  g_auto (GStrv) lines = NULL;
  guint taps = 0;

  /* The file is not there if the kernel has no packet sockets. */
  lines = g_strsplit (text != NULL ? text : "", "\n", -1);
  for (gsize i = 1; i < g_strv_length (lines); i++)
    {
      g_autoptr (GRegex) regex = g_regex_new ("^\\S+\\s+\\S+\\s+\\S+\\s+0003\\s", 0, 0, NULL);

      taps += g_regex_match (regex, lines[i], 0, NULL);
    }

  if (taps == 0)
    {
      add_check (doctor, "taps", "packet sockets", VERDICT_OK, "no program listens to all packets");
    }
  else
    {
      Check *check = add_check (doctor, "taps", "packet sockets", VERDICT_BAD,
                                "%u listen to all packets (such as tcpdump's): the kernel copies what they see", taps);

      check->remedy = g_strdup ("ss --packet --processes, which names the programs: end them");
    }
}

static void
check_interface (Doctor     *doctor,
                 const char *name)
{
  g_autofree char *title = g_strdup_printf ("interface %s", name);
  g_autoptr (GError) error = NULL;
  ToolInterface interface;
  const char *driver;

  if (!tool_interface_read (name, &interface, &error))
    {
      add_check (doctor, "interface", title, VERDICT_UNKNOWN, "%s", error->message);
      return;
    }

  driver = interface.driver != NULL ? interface.driver : "unknown driver";
  if (g_strcmp0 (interface.driver, "tun") == 0)
    {
      Check *check = add_check (doctor, "interface", title, VERDICT_BAD, "%s: what goes through it to a program is copied", driver);

      check->remedy = g_strdup ("a route to the host through another interface");
    }
  else if (!interface.checksum)
    {
      Check *check = add_check (doctor, "interface", title, VERDICT_BAD,
                                "%s: no checksum offload, so the kernel has to copy to sum up", driver);

      check->remedy = g_strdup_printf ("ethtool -K %s tx on sg on tso on gso on", name);
    }
  else if (!interface.scatter_gather)
    {
      Check *check = add_check (doctor, "interface", title, VERDICT_BAD,
                                "%s: no scatter-gather, so the kernel copies, and does not even say so", driver);

      check->remedy = g_strdup_printf ("ethtool -K %s sg on tso on gso on", name);
    }
  else if (!interface.tcp_segmentation && !interface.generic_segmentation)
    {
      Check *check = add_check (doctor, "interface", title, VERDICT_WEAK,
                                "%s: neither TCP nor generic segmentation offload, so each packet costs the whole way down", driver);

      check->remedy = g_strdup_printf ("ethtool -K %s tso on gso on", name);
    }
  else
    {
      add_check (doctor, "interface", title, VERDICT_OK, "%s: scatter-gather, checksum and %s segmentation offload are on",
                 driver, interface.tcp_segmentation ? "TCP" : "generic");
    }
  tool_interface_clear (&interface);
}

static void
check_all_interfaces (Doctor *doctor)
{
  g_autoptr (GPtrArray) names = tool_interfaces_list (TRUE);
  g_autoptr (GPtrArray) down = NULL;
  Check *check;

  for (guint i = 0; i < names->len; i++)
    check_interface (doctor, g_ptr_array_index (names, i));
  if (names->len > 0)
    return;

  check = add_check (doctor, "interface", "interface", VERDICT_BAD, "none is up but loopback, where the kernel copies");
  down = tool_interfaces_list (FALSE);
  if (down->len > 0)
    check->remedy = g_strdup_printf ("ip link set %s up", (char *) g_ptr_array_index (down, 0));
  else
    check->remedy = g_strdup ("a network");
}

static gboolean
check_host (Doctor  *doctor,
            GError **error)
{
  g_autolist (GInetAddress) addresses = NULL;
  g_autoptr (GSocketConnectable) parsed = g_network_address_parse (doctor->host, 0, error);
  g_autoptr (GError) local_error = NULL;
  g_autofree char *address = NULL;
  char interface[IF_NAMESIZE];
  ToolRoute route;

  if (parsed == NULL)
    {
      tool_error_wrap (error, TOOL_EXIT_USAGE, "“%s” is not a host", doctor->host);
      return FALSE;
    }
  addresses = g_resolver_lookup_by_name (g_resolver_get_default (),
                                         g_network_address_get_hostname (G_NETWORK_ADDRESS (parsed)), NULL, error);
  if (addresses == NULL)
    {
      tool_error_wrap (error, TOOL_EXIT_NAME, NULL);
      return FALSE;
    }

  address = g_inet_address_to_string (addresses->data);
  if (!tool_route_find (addresses->data, &route, &local_error))
    {
      Check *check = add_check (doctor, "route", "route", VERDICT_BAD, "to %s: %s", address, local_error->message);

      check->remedy = g_strdup_printf ("ip route add %s via GATEWAY", address);
    }
  else if (route.local)
    {
      Check *check = add_check (doctor, "route", "route", VERDICT_BAD,
                                "%s is this host: over loopback the kernel always copies, and zero-copy costs more than it saves", address);

      check->remedy = g_strdup ("none is needed: the mode “auto” copies by itself there");
    }
  else if (if_indextoname ((unsigned int) route.interface_index, interface) == NULL)
    {
      add_check (doctor, "route", "route", VERDICT_UNKNOWN, "to %s: it names no interface", address);
    }
  else
    {
      add_check (doctor, "route", "route", VERDICT_OK, "packets to %s leave by %s", address, interface);
      check_interface (doctor, interface);
    }

  return TRUE;
}

static Verdict
get_verdict (Doctor *doctor)
{
  Verdict worst = VERDICT_OK;

  for (guint i = 0; i < doctor->checks->len; i++)
    worst = MAX (worst, ((Check *) g_ptr_array_index (doctor->checks, i))->verdict);

  return worst;
}

static void
print_text (Doctor *doctor)
{
  static const char *const conclusions[] = {
    "Zero-copy will pay for large sends.",
    "Zero-copy may pay, but not everything could be looked at.",
    "Zero-copy works, but not as well as it could.",
    "Zero-copy will not pay as things are.",
  };
  int width = 0;

  for (guint i = 0; i < doctor->checks->len; i++)
    width = MAX (width, (int) strlen (((Check *) g_ptr_array_index (doctor->checks, i))->title));

  for (guint i = 0; i < doctor->checks->len; i++)
    {
      Check *check = g_ptr_array_index (doctor->checks, i);

      g_print ("%-7s  %-*s  %s\n", verdict_names[check->verdict], width, check->title, check->finding);
      if (check->remedy != NULL)
        g_print ("%-7s  %-*s  remedy: %s\n", "", width, "", check->remedy);
      if (check->lasting != NULL)
        g_print ("%-7s  %-*s  for good: %s\n", "", width, "", check->lasting);
    }
  g_print ("\n%s\n", conclusions[get_verdict (doctor)]);
}

static gboolean
print_json (Doctor  *doctor,
            GError **error)
{
  g_autoptr (JsonBuilder) builder = tool_json_begin ("doctor");

  tool_json_add_string (builder, "host", doctor->host);
  tool_json_add_string (builder, "verdict", verdict_names[get_verdict (doctor)]);
  json_builder_set_member_name (builder, "checks");
  json_builder_begin_array (builder);
  for (guint i = 0; i < doctor->checks->len; i++)
    {
      Check *check = g_ptr_array_index (doctor->checks, i);

      json_builder_begin_object (builder);
      tool_json_add_string (builder, "id", check->id);
      tool_json_add_string (builder, "title", check->title);
      tool_json_add_string (builder, "verdict", verdict_names[check->verdict]);
      tool_json_add_string (builder, "finding", check->finding);
      if (check->remedy != NULL)
        tool_json_add_string (builder, "remedy", check->remedy);
      if (check->lasting != NULL)
        tool_json_add_string (builder, "lasting", check->lasting);
      json_builder_end_object (builder);
    }
  json_builder_end_array (builder);

  return tool_json_end (builder, error);
}

static void
doctor_clear (Doctor *doctor)
{
  tool_options_clear (&doctor->options);
  g_clear_pointer (&doctor->checks, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Doctor, doctor_clear)

int
tool_doctor (int      argc,
             char   **argv,
             GError **error)
{
  g_auto (Doctor) doctor = { 0 };
  ToolProbe probe;

  if (!tool_options_parse (&doctor.options, TOOL_OPTIONS_OUTPUT, "[HOST]",
                           "Tells whether zero-copy will pay here and on the way to HOST.\n"
                           "Nothing is changed, and nothing is sent to HOST.",
                           NULL, argc, argv, error))
    return TOOL_EXIT_USAGE;
  if (g_strv_length (doctor.options.arguments) > 1)
    {
      g_set_error_literal (error, TOOL_ERROR, TOOL_EXIT_USAGE, "At most one HOST can be named");
      return TOOL_EXIT_USAGE;
    }

  doctor.host = doctor.options.arguments[0];
  doctor.checks = g_ptr_array_new_with_free_func (check_free);

  tool_probe_run (&probe);
  check_kernel (&doctor, &probe);
  if (check_optmem (&doctor, &probe))
    check_memlock (&doctor, &probe);
  else
    add_check (&doctor, "memlock", "RLIMIT_MEMLOCK", VERDICT_UNKNOWN,
               "cannot be tried while net.core.optmem_max lets nothing through");
  check_tcp_buffer (&doctor);
  check_huge_pages (&doctor);
  check_taps (&doctor);
  if (doctor.host == NULL)
    check_all_interfaces (&doctor);
  else if (!check_host (&doctor, error))
    return TOOL_EXIT_NAME;

  if (doctor.options.json)
    {
      if (!print_json (&doctor, error))
        return TOOL_EXIT_OUTPUT;
    }
  else if (!doctor.options.quiet)
    {
      print_text (&doctor);
    }

  return get_verdict (&doctor) == VERDICT_BAD ? TOOL_EXIT_UNSUITED : TOOL_EXIT_OK;
}
