/* test-describe.c - what is said about the copy policy
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio/zcio-describe-private.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define KIB G_GUINT64_CONSTANT (1024)
#define MIB (1024 * KIB)
#define START (1234 * G_TIME_SPAN_SECOND)

static const ZcioLimits no_limits = { ZCIO_LIMIT_NONE, FALSE, ZCIO_LIMIT_NONE };

static void
assert_described (const ZcioCopyPolicy *policy,
                  guint64 sends_in_flight,
                  guint64 bytes_in_flight,
                  const char *expected)
{
  g_autofree char *line = zcio_describe_policy_with_limits (policy, sends_in_flight, bytes_in_flight, 0, &no_limits);

  g_assert_cmpstr (line, ==, expected);
}

static void
test_size (void)
{
  static const struct
  {
    guint64 size;
    const char *text;
  } cases[] = {
    { 0, "0 bytes" },
    { 1, "1 byte" },
    { 500, "500 bytes" },
    { 1023, "1023 bytes" },
    { 1024, "1 KiB" },
    { 1126, "1 KiB" },
    { 1127, "1.1 KiB" },
    { 1536, "1.5 KiB" },
    { 2047, "1.9 KiB" },
    { 16 * KIB, "16 KiB" },
    { 1024 * KIB - 1, "1023.9 KiB" },
    { 8 * MIB, "8 MiB" },
    { 8 * MIB - 1, "7.9 MiB" },
    { 3 * 1024 * MIB, "3 GiB" },
    { G_MAXUINT64, "15.9 EiB" },
  };

  g_test_summary ("Sizes have a binary unit and at most one digit after the point, and are never "
                  "rounded up.");

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *text = zcio_describe_size (cases[i].size);

      g_assert_cmpstr (text, ==, cases[i].text);
    }
}

static void
test_active (void)
{
  ZcioCopyPolicy policy;

  g_test_summary ("An active stream says from which size on it sends by zero-copy.");

  zcio_copy_policy_init (&policy, TRUE, FALSE, START);
  assert_described (&policy, 0, 0, "zero-copy: buffers of 16 KiB and more");
  zcio_copy_policy_set_threshold (&policy, 10000);
  assert_described (&policy, 0, 0, "zero-copy: buffers of 9.7 KiB and more");
  assert_described (&policy, 1, 64 * KIB, "zero-copy: buffers of 9.7 KiB and more (in flight: 1 send, 64 KiB)");
  assert_described (&policy, 24, 3 * MIB / 2, "zero-copy: buffers of 9.7 KiB and more (in flight: 24 sends, 1.5 MiB)");

  zcio_copy_policy_set_mode (&policy, ZCIO_ZERO_COPY_MODE_ALWAYS, START);
  assert_described (&policy, 0, 0, "zero-copy: buffers of any size");
  for (guint i = 0; i < 32; i++)
    zcio_copy_policy_returned (&policy, 1, 1, 0, START);
  assert_described (&policy, 0, 0, "zero-copy: buffers of any size, although the kernel copies them after all");
}

static void
test_congested (void)
{
  ZcioCopyPolicy policy;

  g_test_summary ("A congested stream says how much has to return.");

  zcio_copy_policy_init (&policy, TRUE, FALSE, START);
  zcio_copy_policy_no_buffers (&policy, 24, START);
  assert_described (&policy, 24, 3 * MIB, "copying: ENOBUFS, until 12 of 24 sends in flight are back (3 MiB)");
  assert_described (&policy, 20, 2 * MIB, "copying: ENOBUFS, until 8 of 20 sends in flight are back (2 MiB)");
  zcio_copy_policy_no_buffers (&policy, 1, START);
  assert_described (&policy, 1, 4 * KIB, "copying: ENOBUFS, until the send in flight is back (4 KiB)");
}

static void
test_copying (void)
{
  ZcioCopyPolicy policy;

  g_test_summary ("A stream that copies says why.");

  zcio_copy_policy_init (&policy, TRUE, TRUE, START);
  assert_described (&policy, 0, 0, "copying: the peer is on this host");
  assert_described (&policy, 1, 16 * KIB, "copying: the peer is on this host (in flight: 1 send, 16 KiB)");

  zcio_copy_policy_set_mode (&policy, ZCIO_ZERO_COPY_MODE_NEVER, START);
  assert_described (&policy, 0, 0, "copying: zero-copy is switched off");

  zcio_copy_policy_init (&policy, FALSE, FALSE, START);
  assert_described (&policy, 0, 0, "copying: this kind of socket cannot send by zero-copy");

  zcio_copy_policy_init (&policy, TRUE, FALSE, START);
  for (guint i = 0; i < 32; i++)
    zcio_copy_policy_returned (&policy, 1, 1, 0, START);
  assert_described (&policy, 0, 0, "copying: the kernel copies anyway, because of the route, the device or a packet capture");

  zcio_copy_policy_refused (&policy);
  assert_described (&policy, 0, 0, "copying: the socket refuses zero-copy sends, as it does with TLS in the kernel");
}

typedef struct
{
  ZcioLimits limits;
  gsize size;
  guint64 pinned;
  ZcioLimit limit;
  const char *line;
} LimitCase;

static const LimitCase limit_cases[] = {
  { { 8 * MIB, FALSE, 128 * KIB }, 65536, 8 * MIB - 4096, ZCIO_LIMIT_MEMLOCK, "copying: RLIMIT_MEMLOCK is 8 MiB and 7.9 MiB are pinned" },
  { { 8 * MIB, FALSE, 128 * KIB }, 65536, 4 * MIB, ZCIO_LIMIT_MEMLOCK, "copying: RLIMIT_MEMLOCK is 8 MiB and 4 MiB are pinned" },
  { { 8 * MIB, FALSE, 128 * KIB }, 65536, 0, ZCIO_LIMIT_MEMLOCK, "copying: RLIMIT_MEMLOCK is 8 MiB, which is too little for a send or is used up by other programs of this user" },
  { { 64 * KIB, FALSE, 128 * KIB }, 65536, 0, ZCIO_LIMIT_MEMLOCK, "copying: RLIMIT_MEMLOCK is 64 KiB, which is too little for a send or is used up by other programs of this user" },
  { { 0, FALSE, 128 * KIB }, 65536, 0, ZCIO_LIMIT_MEMLOCK, "copying: RLIMIT_MEMLOCK is 0 bytes, which is too little for a send or is used up by other programs of this user" },
  /* the capability, or no limit, leaves the other one */
  { { 0, TRUE, 500 }, 65536, 0, ZCIO_LIMIT_OPTMEM, "copying: net.core.optmem_max is 500 bytes" },
  { { ZCIO_LIMIT_NONE, FALSE, 0 }, 65536, 0, ZCIO_LIMIT_OPTMEM, "copying: net.core.optmem_max is 0 bytes" },
  /* room enough below the one limit */
  { { 8 * MIB, FALSE, 500 }, 65536, 0, ZCIO_LIMIT_OPTMEM, "copying: net.core.optmem_max is 500 bytes" },
  { { 8 * MIB, TRUE, 128 * KIB }, 65536, 0, ZCIO_LIMIT_UNKNOWN, "copying: the kernel has no buffers for zero-copy, although nothing is in flight" },
  { { ZCIO_LIMIT_NONE, FALSE, ZCIO_LIMIT_NONE }, 65536, 0, ZCIO_LIMIT_UNKNOWN, "copying: the kernel has no buffers for zero-copy, although nothing is in flight" },
};

static void
test_limit (void)
{
  ZcioCopyPolicy policy;

  g_test_summary ("A stream that has met a limit names it and its value.");

  zcio_copy_policy_init (&policy, TRUE, FALSE, START);
  zcio_copy_policy_no_buffers (&policy, 0, START);

  for (gsize i = 0; i < G_N_ELEMENTS (limit_cases); i++)
    {
      const LimitCase *c = &limit_cases[i];
      g_autofree char *line = zcio_describe_policy_with_limits (&policy, 0, 0, c->pinned, &c->limits);

      g_assert_cmpint (zcio_limits_find (&c->limits, c->size, c->pinned), ==, c->limit);
      g_assert_cmpstr (line, ==, c->line);
    }
}

static void
test_limit_size (void)
{
  guint64 page = (guint64) sysconf (_SC_PAGESIZE);
  ZcioLimits limits = { 256 * page, FALSE, 500 };

  g_test_summary ("The size of the send decides as the kernel charges it: its whole pages and two "
                  "more.");

  g_assert_cmpint (zcio_limits_find (&limits, 255 * page - 1, 0), ==, ZCIO_LIMIT_OPTMEM);
  g_assert_cmpint (zcio_limits_find (&limits, 255 * page, 0), ==, ZCIO_LIMIT_MEMLOCK);
  g_assert_cmpint (zcio_limits_find (&limits, 1, 254 * page), ==, ZCIO_LIMIT_OPTMEM);
  g_assert_cmpint (zcio_limits_find (&limits, 1, 254 * page + 1), ==, ZCIO_LIMIT_MEMLOCK);
}

/* The fields of the last structured message. */
static GHashTable *logged;
static guint n_logged;

static GLogWriterOutput
record_log (GLogLevelFlags level,
            const GLogField *fields,
            gsize n_fields,
            gpointer user_data)
{
  const char *domain = NULL;

  for (gsize i = 0; i < n_fields; i++)
    if (strcmp (fields[i].key, "GLIB_DOMAIN") == 0)
      domain = fields[i].value;
  if (g_strcmp0 (domain, "Zcio") != 0)
    return g_log_writer_default (level, fields, n_fields, user_data);

  g_assert_cmpint (level, ==, G_LOG_LEVEL_MESSAGE);
  n_logged++;
  g_hash_table_remove_all (logged);
  for (gsize i = 0; i < n_fields; i++)
    {
      g_assert_cmpint (fields[i].length, ==, -1);
      g_hash_table_insert (logged, g_strdup (fields[i].key), g_strdup (fields[i].value));
    }
  return G_LOG_WRITER_HANDLED;
}

#define assert_logged(key, value) g_assert_cmpstr (g_hash_table_lookup (logged, key), ==, value)

static void
test_log (void)
{
  ZcioLimits limits = { 8 * MIB, FALSE, 128 * KIB };

  g_test_summary ("The log names the limit, its value and the remedy, in words and in fields.");

  n_logged = 0;
  zcio_describe_log_limit_with_limits (4 * MIB, 7 * MIB, &limits);
  g_assert_cmpuint (n_logged, ==, 1);
  assert_logged ("ZCIO_LIMIT", "RLIMIT_MEMLOCK");
  assert_logged ("ZCIO_LIMIT_VALUE", "8388608");
  assert_logged ("ZCIO_PINNED_BYTES", "7340032");
  assert_logged ("ZCIO_SEND_SIZE", "4194304");
  assert_logged ("MESSAGE",
                 "Zero-copy is suspended after a send of 4 MiB: RLIMIT_MEMLOCK is 8 MiB and 7 MiB are pinned; "
                 "a send of this size needs 4 MiB of it. Raise it for the program's user (ulimit -l, "
                 "LimitMEMLOCK= of systemd), or give the program CAP_IPC_LOCK");

  limits = (ZcioLimits){ 64 * KIB, FALSE, 128 * KIB };
  zcio_describe_log_limit_with_limits (64 * KIB, 0, &limits);
  g_assert_cmpuint (n_logged, ==, 2);
  assert_logged ("ZCIO_LIMIT", "RLIMIT_MEMLOCK");
  assert_logged ("ZCIO_LIMIT_VALUE", "65536");
  assert_logged ("MESSAGE",
                 "Zero-copy is suspended after a send of 64 KiB: RLIMIT_MEMLOCK is 64 KiB, which is too "
                 "little for a send or is used up by other programs of this user; a send of this size "
                 "needs 72 KiB of it. Raise it for the program's user (ulimit -l, LimitMEMLOCK= of "
                 "systemd), or give the program CAP_IPC_LOCK");

  limits = (ZcioLimits){ 8 * MIB, TRUE, 500 };
  zcio_describe_log_limit_with_limits (64 * KIB, 0, &limits);
  assert_logged ("ZCIO_LIMIT", "net.core.optmem_max");
  assert_logged ("ZCIO_LIMIT_VALUE", "500");
  assert_logged ("MESSAGE",
                 "Zero-copy is suspended after a send of 64 KiB: net.core.optmem_max is 500 bytes; a send "
                 "needs about 1024 bytes of it. Raise it: sysctl -w net.core.optmem_max=131072");

  limits = (ZcioLimits){ 8 * MIB, TRUE, 128 * KIB };
  zcio_describe_log_limit_with_limits (64 * KIB, 0, &limits);
  assert_logged ("ZCIO_LIMIT", "unknown");
  assert_logged ("MESSAGE",
                 "Zero-copy is suspended after a send of 64 KiB: the kernel has no buffers for zero-copy, "
                 "although nothing is in flight; neither RLIMIT_MEMLOCK nor a small net.core.optmem_max "
                 "explains it. If filters or ancillary data use up the option memory of the socket, raise "
                 "net.core.optmem_max");
}

static void
test_log_real (void)
{
  g_test_summary ("With the limits of this process there is one message as well.");

  n_logged = 0;
  zcio_describe_log_limit (64 * KIB, 0);
  g_assert_cmpuint (n_logged, ==, 1);
  g_assert_nonnull (g_hash_table_lookup (logged, "ZCIO_LIMIT"));
}

static char *
make_proc (void)
{
  GError *error = NULL;
  char *proc = g_dir_make_tmp ("zcio-test-XXXXXX", &error);
  static const char *const folders[] = { "self", "thread-self", "sys/net/core" };

  g_assert_no_error (error);
  for (gsize i = 0; i < G_N_ELEMENTS (folders); i++)
    {
      g_autofree char *path = g_build_filename (proc, folders[i], NULL);

      g_assert_cmpint (g_mkdir_with_parents (path, 0700), ==, 0);
    }
  return proc;
}

static void
write_proc (const char *proc,
            const char *name,
            const char *contents)
{
  g_autofree char *path = g_build_filename (proc, name, NULL);
  GError *error = NULL;

  if (contents == NULL)
    {
      g_assert_true (g_unlink (path) == 0 || !g_file_test (path, G_FILE_TEST_EXISTS));
      return;
    }
  g_file_set_contents (path, contents, -1, &error);
  g_assert_no_error (error);
}

static void
remove_proc (const char *proc)
{
  static const char *const names[] = {
    "self/uid_map", "thread-self/status", "sys/net/core/optmem_max", "self", "thread-self", "sys/net/core", "sys/net", "sys", "."
  };

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = g_build_filename (proc, strcmp (names[i], ".") == 0 ? "" : names[i], NULL);

      g_remove (path);
    }
  g_assert_false (g_file_test (proc, G_FILE_TEST_EXISTS));
}

static void
test_read_proc (void)
{
  static const struct
  {
    const char *status, *uid_map, *optmem;
    gboolean exempt;
    guint64 expected_optmem;
  } cases[] = {
    { "Name:\tx\nCapEff:\t0000000000004000\nSeccomp:\t0\n", "         0          0 4294967295\n", "131072\n", TRUE, 131072 },
    { "Name:\tx\nCapEff:\t000001ffffffffff\n", "0 0 4294967295\n", "20480\n", TRUE, 20480 },
    { "Name:\tx\nCapEff:\t000001ffffffbfff\n", "0 0 4294967295\n", "500\n", FALSE, 500 },
    /* root in a container without root */
    { "Name:\tx\nCapEff:\t000001ffffffffff\n", "0 100000 65536\n", "0\n", FALSE, 0 },
    { "Name:\tx\nCapEff:\t000001ffffffffff\n", "0 1000 1\n1 100000 65536\n", "0\n", FALSE, 0 },
    { "Name:\tx\nCapEff:\t000001ffffffffff\n", "", "0\n", FALSE, 0 },
    /* no user namespaces in the kernel */
    { "Name:\tx\nCapEff:\t000001ffffffffff\n", NULL, NULL, TRUE, ZCIO_LIMIT_NONE },
    /* nothing readable, or nonsense */
    { NULL, NULL, NULL, FALSE, ZCIO_LIMIT_NONE },
    { "", "", "", FALSE, ZCIO_LIMIT_NONE },
    { "CapEff", "-1 x", "12 KiB", FALSE, ZCIO_LIMIT_NONE },
    { "Name:\tx\nCapEff:\n", "0 0 4294967295", "-5", FALSE, ZCIO_LIMIT_NONE },
    { "Name:\tx\nCapEff:\tz", "0 0 4294967295", "99999999999999999999", FALSE, ZCIO_LIMIT_NONE },
  };
  g_autofree char *proc = make_proc ();

  g_test_summary ("The capability and net.core.optmem_max are read from the proc file system, and "
                  "what cannot be read is taken for no limit and no capability.");

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      ZcioLimits limits;

      write_proc (proc, "thread-self/status", cases[i].status);
      write_proc (proc, "self/uid_map", cases[i].uid_map);
      write_proc (proc, "sys/net/core/optmem_max", cases[i].optmem);
      zcio_limits_read (&limits, proc);
      g_test_message ("case %" G_GSIZE_FORMAT, i);
      g_assert_cmpint (limits.memlock_exempt, ==, cases[i].exempt);
      g_assert_cmpuint (limits.optmem, ==, cases[i].expected_optmem);
    }
  remove_proc (proc);
}

static void
test_read_rlimit (void)
{
  struct rlimit before, lower;
  ZcioLimits limits;

  g_test_summary ("RLIMIT_MEMLOCK is the soft limit of this process, as it is now.");

  g_assert_cmpint (getrlimit (RLIMIT_MEMLOCK, &before), ==, 0);
  lower = before;
  lower.rlim_cur = MIN (before.rlim_cur, 12345);
  g_assert_cmpint (setrlimit (RLIMIT_MEMLOCK, &lower), ==, 0);
  zcio_limits_read (&limits, "/nowhere");
  g_assert_cmpuint (limits.memlock, ==, lower.rlim_cur);
  g_assert_cmpint (setrlimit (RLIMIT_MEMLOCK, &before), ==, 0);

  zcio_limits_read (&limits, "/nowhere");
  if (before.rlim_cur == RLIM_INFINITY)
    g_assert_cmpuint (limits.memlock, ==, ZCIO_LIMIT_NONE);
  else
    g_assert_cmpuint (limits.memlock, ==, before.rlim_cur);
}

static void
test_described_with_real_limits (void)
{
  ZcioCopyPolicy policy;
  g_autofree char *active = NULL, *limited = NULL;

  g_test_summary ("The line is made with the limits of this process when nothing else is given.");

  zcio_copy_policy_init (&policy, TRUE, FALSE, START);
  active = zcio_describe_policy (&policy, 0, 0, 0);
  g_assert_cmpstr (active, ==, "zero-copy: buffers of 16 KiB and more");
  zcio_copy_policy_no_buffers (&policy, 0, START);
  limited = zcio_describe_policy (&policy, 0, 0, 0);
  g_test_message ("%s", limited);
  g_assert_true (g_str_has_prefix (limited, "copying: "));
  g_assert_null (strchr (limited, '\n'));
}

int
main (int argc,
      char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  logged = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_log_set_writer_func (record_log, NULL, NULL);

  g_test_add_func ("/describe/size", test_size);
  g_test_add_func ("/describe/active", test_active);
  g_test_add_func ("/describe/congested", test_congested);
  g_test_add_func ("/describe/copying", test_copying);
  g_test_add_func ("/describe/limit", test_limit);
  g_test_add_func ("/describe/limit-size", test_limit_size);
  g_test_add_func ("/describe/log", test_log);
  g_test_add_func ("/describe/log-real", test_log_real);
  g_test_add_func ("/describe/read-proc", test_read_proc);
  g_test_add_func ("/describe/read-rlimit", test_read_rlimit);
  g_test_add_func ("/describe/with-real-limits", test_described_with_real_limits);

  status = g_test_run ();
  g_hash_table_unref (logged);
  return status;
}
