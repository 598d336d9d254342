/* wire-namespaces.c - two network namespaces and the pair of interfaces between
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire-private.h"

#define NAMES_DIRECTORY "/run/netns"
#define REAL_RUN "/run/.zcio-real"
#define MAC_FORMAT "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC_ARGS(mac) (mac)[0], (mac)[1], (mac)[2], (mac)[3], (mac)[4], (mac)[5]
#define ADDRESS_FORMAT "%u.%u.%u.%u"
#define ADDRESS_ARGS(address) (address) >> 24, (address) >> 16 & 0xff, (address) >> 8 & 0xff, (address) & 0xff

G_DEFINE_QUARK (wire-error-quark, wire_error)

void
wire_set_error_from_errno (GError     **error,
                           const char  *doing,
                           int          errsv)
{
  gboolean lacking = errsv == EPERM || errsv == EACCES || errsv == ENOSYS || errsv == EOPNOTSUPP;

  g_set_error (error, WIRE_ERROR, lacking ? WIRE_ERROR_LACKING : WIRE_ERROR_FAILED,
               "Could not %s: %s", doing, g_strerror (errsv));
}

/* Puts a directory of our own in the place of /run, with the directory of names in it, and
 * links to all else that is in the real one. The real one may have no directory of
 * names, and making it there would be something to leave behind. */
static gboolean
replace_run (void)
{
  struct dirent *entry;
  DIR *directory;
  int fd;

  fd = open_tree (AT_FDCWD, "/run", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (fd < 0 ||
      mount ("zcio", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0 ||
      mkdir (NAMES_DIRECTORY, 0755) < 0 ||
      mkdir (REAL_RUN, 0755) < 0 ||
      move_mount (fd, "", AT_FDCWD, REAL_RUN, MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
      close (fd) < 0 ||
      (directory = opendir (REAL_RUN)) == NULL)
    return FALSE;

  while ((entry = readdir (directory)) != NULL)
    {
      g_autofree char *target = g_build_filename (REAL_RUN, entry->d_name, NULL);
      g_autofree char *path = g_build_filename ("/run", entry->d_name, NULL);

      /* What is there already, the names among it, is ours. */
      if (symlink (target, path) < 0 && errno != EEXIST)
        break;
    }
  closedir (directory);

  return entry == NULL;
}

/* Gives the caller, the first process of a PID namespace, mounts of its own: the
 * names of the network namespaces are in them alone, so that nobody can trip
 * over them and they go with the last process. */
gboolean
wire_enter_mounts (GError **error)
{
  if (unshare (CLONE_NEWNS) < 0 ||
      mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
      mount ("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
      !replace_run ())
    {
      wire_set_error_from_errno (error, "make a mount namespace", errno);
      return FALSE;
    }

  /* Only for those who count system calls; they do without if it fails. */
  mount ("tracefs", "/sys/kernel/tracing", "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);

  return TRUE;
}

static gboolean
set_sysctl (const char  *path,
            const char  *value,
            GError     **error)
{
  g_autofree char *name = g_strconcat ("/proc/sys/net/", path, NULL);
  int fd = open (name, O_WRONLY | O_CLOEXEC);
  int errsv = errno;
  gboolean success;

  success = fd >= 0 && write (fd, value, strlen (value)) == (gssize) strlen (value);
  if (fd >= 0)
    {
      errsv = errno;
      close (fd);
    }
  if (!success)
    wire_set_error_from_errno (error, name, errsv);

  return success;
}

/* Puts the caller into a new network namespace and gives that a name. */
static gboolean
enter_new_namespace (const char  *name,
                     int         *fd,
                     GError     **error)
{
  g_autofree char *path = g_build_filename (NAMES_DIRECTORY, name, NULL);
  int file;

  file = open (path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  if (file < 0 ||
      close (file) < 0 ||
      unshare (CLONE_NEWNET) < 0 ||
      mount ("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0 ||
      (*fd = open (path, O_RDONLY | O_CLOEXEC)) < 0)
    {
      wire_set_error_from_errno (error, "make a network namespace", errno);
      return FALSE;
    }

  /* Timestamps make the header longer and say nothing here; nothing but
   * the test is to be on the wire, and no connection is to learn from the last one. */
  return set_sysctl ("ipv4/tcp_timestamps", "0", error) &&
         set_sysctl ("ipv4/tcp_wmem", "4096 16384 33554432", error) &&
         set_sysctl ("ipv4/tcp_rmem", "4096 131072 33554432", error) &&
         set_sysctl ("ipv4/tcp_no_metrics_save", "1", error) &&
         (access ("/proc/sys/net/ipv6", F_OK) != 0 ||
          (set_sysctl ("ipv6/conf/all/disable_ipv6", "1", error) &&
           set_sysctl ("ipv6/conf/default/disable_ipv6", "1", error)));
}

/* Runs ip for each line. A GSubprocess would leave a thread behind, and the
 * caller is going to fork. */
static gboolean
run_ip (const char  *namespace_name,
        const char  *commands,
        GError     **error)
{
  g_auto (GStrv) lines = g_strsplit (commands, "\n", -1);

  for (guint i = 0; lines[i] != NULL; i++)
    {
      g_autofree char *line = g_strdup_printf ("ip -n %s %s", namespace_name, lines[i]);
      g_auto (GStrv) arguments = g_strsplit (line, " ", -1);
      g_autoptr (GError) local_error = NULL;
      g_autofree char *message = NULL;
      int status;

      if (!g_spawn_sync (NULL, arguments, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL,
                         NULL, NULL, NULL, &message, &status, &local_error))
        {
          g_set_error (error, WIRE_ERROR, WIRE_ERROR_LACKING, "Could not run ip: %s", local_error->message);
          return FALSE;
        }
      if (!g_spawn_check_wait_status (status, NULL))
        {
          g_set_error (error, WIRE_ERROR, WIRE_ERROR_FAILED, "“%s” failed: %s", line, g_strchomp (message));
          return FALSE;
        }
    }

  return TRUE;
}

/* Both interfaces are born inside, so that no other namespace ever sees them.
 * The neighbours are known beforehand: no ARP has to pass the filter. */
static gboolean
set_up_interfaces (GError **error)
{
  static const guint8 sender_mac[] = WIRE_SENDER_MAC;
  static const guint8 sink_mac[] = WIRE_SINK_MAC;
  g_autofree char *sender = NULL;
  g_autofree char *sink = NULL;

  sender = g_strdup_printf ("link set lo up\n"
                            "link add " WIRE_SENDER_INTERFACE " address " MAC_FORMAT " type veth"
                            " peer name " WIRE_SINK_INTERFACE " address " MAC_FORMAT " netns " WIRE_SINK_INTERFACE "\n"
                            "address add " ADDRESS_FORMAT "/30 dev " WIRE_SENDER_INTERFACE "\n"
                            "link set " WIRE_SENDER_INTERFACE " up\n"
                            "neighbour replace " ADDRESS_FORMAT " lladdr " MAC_FORMAT " dev " WIRE_SENDER_INTERFACE " nud permanent\n"
                            "route replace " ADDRESS_FORMAT "/32 dev " WIRE_SENDER_INTERFACE " congctl cubic initcwnd 1000",
                            MAC_ARGS (sender_mac), MAC_ARGS (sink_mac),
                            ADDRESS_ARGS (WIRE_SENDER_ADDRESS),
                            ADDRESS_ARGS (WIRE_SINK_ADDRESS), MAC_ARGS (sink_mac),
                            ADDRESS_ARGS (WIRE_SINK_ADDRESS));
  sink = g_strdup_printf ("address add " ADDRESS_FORMAT "/30 dev " WIRE_SINK_INTERFACE "\n"
                          "link set " WIRE_SINK_INTERFACE " up\n"
                          "neighbour replace " ADDRESS_FORMAT " lladdr " MAC_FORMAT " dev " WIRE_SINK_INTERFACE " nud permanent",
                          ADDRESS_ARGS (WIRE_SINK_ADDRESS),
                          ADDRESS_ARGS (WIRE_SENDER_ADDRESS), MAC_ARGS (sender_mac));

  return run_ip (WIRE_SENDER_INTERFACE, sender, error) &&
         run_ip (WIRE_SINK_INTERFACE, sink, error);
}

/* Leaves the caller in the sender's namespace. @sink_namespace is the way to the
 * other. */
gboolean
wire_set_up_namespaces (const WireOptions  *options,
                        int                *sink_namespace,
                        GError            **error)
{
  g_autofree char *optmem = g_strdup_printf ("%d", options->optmem);
  int sender_namespace;

  if (!enter_new_namespace (WIRE_SINK_INTERFACE, sink_namespace, error) ||
      !enter_new_namespace (WIRE_SENDER_INTERFACE, &sender_namespace, error))
    return FALSE;
  close (sender_namespace);

  /* Older kernels have this once for all, and then it is not ours to change:
   * they do not show it here. */
  if (options->optmem > 0 && !set_sysctl ("core/optmem_max", optmem, error))
    return FALSE;

  return set_up_interfaces (error);
}
