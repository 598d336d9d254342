/* zcio-describe.c - says in words what the copy policy does, and why
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-describe-private.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* For each zero-copy send that it cannot join to the one before, the kernel charges
 * 768 to 960 bytes, after its version and configuration, to the socket.
 */
#define OPTMEM_PER_SEND 1024
#define OPTMEM_REMEDY 131072

#define CAP_IPC_LOCK_BIT 14

static char *
read_file (const char *proc,
           const char *name)
{
  g_autofree char *path = g_build_filename (proc, name, NULL);
  char *contents = NULL;

  if (!g_file_get_contents (path, &contents, NULL, NULL))
    return NULL;

  return g_strstrip (contents);
}

static guint64
read_number (const char *proc,
             const char *name)
{
  g_autofree char *contents = read_file (proc, name);
  guint64 number;

  if (contents == NULL || !g_ascii_string_to_unsigned (contents, 10, 0, G_MAXINT64, &number, NULL))
    return ZCIO_LIMIT_NONE;

  return number;
}

/* The capability counts in the first user namespace alone; in any other one, such
 * as that of a container without root, a process has it in vain.
 */
static gboolean
is_in_first_user_namespace (const char *proc)
{
  g_autofree char *map = read_file (proc, "self/uid_map");
  guint64 fields[3] = { 0 };
  char *field = map;

  /* Kernels without user namespaces have no such file. */
  if (map == NULL)
    return TRUE;

  for (gsize i = 0; i < G_N_ELEMENTS (fields); i++)
    fields[i] = g_ascii_strtoull (field, &field, 10);

  return fields[0] == 0 && fields[1] == 0 && fields[2] == G_MAXUINT32;
}

static gboolean
has_cap_ipc_lock (const char *proc)
{
  g_autofree char *status = read_file (proc, "thread-self/status");
  const char *effective = status != NULL ? strstr (status, "\nCapEff:") : NULL;
  guint64 capabilities;

  if (effective == NULL)
    return FALSE;

  capabilities = g_ascii_strtoull (effective + strlen ("\nCapEff:"), NULL, 16);
  return (capabilities & (G_GUINT64_CONSTANT (1) << CAP_IPC_LOCK_BIT)) != 0 &&
         is_in_first_user_namespace (proc);
}

void
zcio_limits_read (ZcioLimits *limits,
                  const char *proc)
{
  struct rlimit memlock;

  limits->memlock = ZCIO_LIMIT_NONE;
  if (getrlimit (RLIMIT_MEMLOCK, &memlock) == 0 && memlock.rlim_cur != RLIM_INFINITY)
    limits->memlock = memlock.rlim_cur;
  limits->memlock_exempt = has_cap_ipc_lock (proc);
  limits->optmem = read_number (proc, "sys/net/core/optmem_max");
}

/* As the kernel charges it: by the size that is asked for, and two pages more. */
static guint64
get_charge (gsize size)
{
  guint64 page_size = (guint64) sysconf (_SC_PAGESIZE);

  return (size / page_size + 2) * page_size;
}

ZcioLimit
zcio_limits_find (const ZcioLimits *limits,
                  gsize size,
                  guint64 pinned_bytes)
{
  gboolean memlock_applies = !limits->memlock_exempt && limits->memlock != ZCIO_LIMIT_NONE;

  if (memlock_applies && get_charge (size) + pinned_bytes > limits->memlock)
    return ZCIO_LIMIT_MEMLOCK;
  if (limits->optmem < OPTMEM_PER_SEND)
    return ZCIO_LIMIT_OPTMEM;
  /* Other programs of the user may have pinned the rest. */
  if (memlock_applies)
    return ZCIO_LIMIT_MEMLOCK;
  return ZCIO_LIMIT_UNKNOWN;
}

/* g_format_size() would follow the locale and put in a space of its own kind. It is
 * rounded down, so that what is just below a limit does not look like the limit.
 */
char *
zcio_describe_size (guint64 size)
{
  static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
  guint64 unit = 1024;
  guint64 tenths;
  gsize i = 0;

  if (size < unit)
    return g_strdup_printf ("%" G_GUINT64_FORMAT " byte%s", size, size == 1 ? "" : "s");

  while (i + 1 < G_N_ELEMENTS (units) && size / unit >= 1024)
    {
      unit *= 1024;
      i++;
    }

  /* Of the remainder, 10 times would be too much for the largest unit. */
  tenths = size % unit / (unit / 1024) * 10 / 1024;
  if (tenths == 0)
    return g_strdup_printf ("%" G_GUINT64_FORMAT " %s", size / unit, units[i]);
  return g_strdup_printf ("%" G_GUINT64_FORMAT ".%u %s", size / unit, (guint) tenths, units[i]);
}

static char *
describe_active (const ZcioCopyPolicy *policy)
{
  g_autofree char *threshold = zcio_describe_size (zcio_copy_policy_get_threshold (policy));

  if (policy->mode == ZCIO_ZERO_COPY_MODE_AUTO)
    return g_strdup_printf ("zero-copy: buffers of %s and more", threshold);
  if (zcio_copy_policy_kernel_copies (policy))
    return g_strdup ("zero-copy: buffers of any size, although the kernel copies them after all");
  return g_strdup ("zero-copy: buffers of any size");
}

/* Some have returned since it began, so what remains is told. */
static char *
describe_congestion (const ZcioCopyPolicy *policy,
                     guint64 sends_in_flight)
{
  guint64 awaited = sends_in_flight - MIN (policy->congested_until, sends_in_flight);

  if (sends_in_flight <= 1)
    return g_strdup ("copying: ENOBUFS, until the send in flight is back");
  return g_strdup_printf ("copying: ENOBUFS, until %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                          " sends in flight are back",
                          awaited,
                          sends_in_flight);
}

/* Says that RLIMIT_MEMLOCK is exceeded, as the end of a sentence. */
static char *
describe_memlock (const ZcioLimits *limits,
                  guint64 pinned_bytes)
{
  g_autofree char *memlock = zcio_describe_size (limits->memlock);
  g_autofree char *pinned = zcio_describe_size (pinned_bytes);

  if (pinned_bytes >= limits->memlock / 2 && pinned_bytes > 0)
    return g_strdup_printf ("RLIMIT_MEMLOCK is %s and %s are pinned", memlock, pinned);
  return g_strdup_printf ("RLIMIT_MEMLOCK is %s, which is too little for a send or is used up "
                          "by other programs of this user",
                          memlock);
}

static char *
describe_limit (const ZcioLimits *limits,
                gsize size,
                guint64 pinned_bytes)
{
  g_autofree char *optmem = zcio_describe_size (limits->optmem);

  switch (zcio_limits_find (limits, size, pinned_bytes))
    {
    case ZCIO_LIMIT_MEMLOCK:
      return describe_memlock (limits, pinned_bytes);
    case ZCIO_LIMIT_OPTMEM:
      return g_strdup_printf ("net.core.optmem_max is %s", optmem);
    case ZCIO_LIMIT_UNKNOWN:
    default:
      return g_strdup ("the kernel has no buffers for zero-copy, although nothing is in flight");
    }
}

static char *
describe_state (const ZcioCopyPolicy *policy,
                guint64 sends_in_flight,
                guint64 pinned_bytes,
                const ZcioLimits *limits)
{
  g_autofree char *limit = NULL;

  switch (policy->reason)
    {
    case ZCIO_COPY_REASON_NONE:
      return describe_active (policy);
    case ZCIO_COPY_REASON_MODE:
      return g_strdup ("copying: zero-copy is switched off");
    case ZCIO_COPY_REASON_SOCKET:
      return g_strdup ("copying: this kind of socket cannot send by zero-copy");
    case ZCIO_COPY_REASON_REFUSED:
      return g_strdup ("copying: the socket refuses zero-copy sends, as it does with TLS in the kernel");
    case ZCIO_COPY_REASON_PEER_LOCAL:
      return g_strdup ("copying: the peer is on this host");
    case ZCIO_COPY_REASON_KERNEL_COPIES:
      return g_strdup ("copying: the kernel copies anyway, because of the route, the device or a packet capture");
    case ZCIO_COPY_REASON_LIMIT:
      limit = describe_limit (limits, 1, pinned_bytes);
      return g_strdup_printf ("copying: %s", limit);
    case ZCIO_COPY_REASON_CONGESTED:
      return describe_congestion (policy, sends_in_flight);
    default:
      g_assert_not_reached ();
    }
}

char *
zcio_describe_policy_with_limits (const ZcioCopyPolicy *policy,
                                  guint64 sends_in_flight,
                                  guint64 bytes_in_flight,
                                  guint64 pinned_bytes,
                                  const ZcioLimits *limits)
{
  g_autofree char *state = describe_state (policy, sends_in_flight, pinned_bytes, limits);
  g_autofree char *bytes = zcio_describe_size (bytes_in_flight);

  if (sends_in_flight == 0)
    return g_steal_pointer (&state);
  if (policy->reason == ZCIO_COPY_REASON_CONGESTED)
    return g_strdup_printf ("%s (%s)", state, bytes);
  return g_strdup_printf ("%s (in flight: %" G_GUINT64_FORMAT " send%s, %s)",
                          state,
                          sends_in_flight,
                          sends_in_flight == 1 ? "" : "s",
                          bytes);
}

char *
zcio_describe_policy (const ZcioCopyPolicy *policy,
                      guint64 sends_in_flight,
                      guint64 bytes_in_flight,
                      guint64 pinned_bytes)
{
  ZcioLimits limits = { ZCIO_LIMIT_NONE, FALSE, ZCIO_LIMIT_NONE };

  if (policy->reason == ZCIO_COPY_REASON_LIMIT)
    zcio_limits_read (&limits, "/proc");

  return zcio_describe_policy_with_limits (policy, sends_in_flight, bytes_in_flight, pinned_bytes, &limits);
}

static char *
describe_remedy (ZcioLimit limit,
                 gsize size)
{
  g_autofree char *charge = zcio_describe_size (get_charge (size));

  switch (limit)
    {
    case ZCIO_LIMIT_MEMLOCK:
      return g_strdup_printf ("a send of this size needs %s of it. Raise it for the program's user "
                              "(ulimit -l, LimitMEMLOCK= of systemd), or give the program CAP_IPC_LOCK",
                              charge);
    case ZCIO_LIMIT_OPTMEM:
      return g_strdup_printf ("a send needs about %d bytes of it. Raise it: sysctl -w net.core.optmem_max=%d",
                              OPTMEM_PER_SEND,
                              OPTMEM_REMEDY);
    case ZCIO_LIMIT_UNKNOWN:
    default:
      return g_strdup ("neither RLIMIT_MEMLOCK nor a small net.core.optmem_max explains it. If filters or "
                       "ancillary data use up the option memory of the socket, raise net.core.optmem_max");
    }
}

/* The level is one that is shown by default and that no program makes fatal. */
void
zcio_describe_log_limit_with_limits (gsize size,
                                     guint64 pinned_bytes,
                                     const ZcioLimits *limits)
{
  static const char *const names[] = { "unknown", "RLIMIT_MEMLOCK", "net.core.optmem_max" };
  const guint64 values[] = { 0, limits->memlock, limits->optmem };
  ZcioLimit limit = zcio_limits_find (limits, size, pinned_bytes);
  g_autofree char *send = zcio_describe_size (size);
  g_autofree char *reason = describe_limit (limits, size, pinned_bytes);
  g_autofree char *remedy = describe_remedy (limit, size);
  g_autofree char *value_field = g_strdup_printf ("%" G_GUINT64_FORMAT, values[limit]);
  g_autofree char *pinned_field = g_strdup_printf ("%" G_GUINT64_FORMAT, pinned_bytes);
  g_autofree char *size_field = g_strdup_printf ("%" G_GSIZE_FORMAT, size);

  g_log_structured ("Zcio", G_LOG_LEVEL_MESSAGE, "ZCIO_LIMIT", names[limit], "ZCIO_LIMIT_VALUE", value_field, "ZCIO_PINNED_BYTES", pinned_field, "ZCIO_SEND_SIZE", size_field, "MESSAGE", "Zero-copy is suspended after a send of %s: %s; %s", send, reason, remedy);
}

void
zcio_describe_log_limit (gsize size,
                         guint64 pinned_bytes)
{
  ZcioLimits limits;

  zcio_limits_read (&limits, "/proc");
  zcio_describe_log_limit_with_limits (size, pinned_bytes, &limits);
}
