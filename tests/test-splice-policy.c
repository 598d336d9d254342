/* test-splice-policy.c - which way of sending a file takes less CPU
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "test-util.h"
#include "zcio/zcio-splice-policy-private.h"

#define MIB ((guint64) 1024 * 1024)

/* A file, and what it takes to send a MiB of it; some of the file is sent in vain, in no bytes. */
typedef struct
{
  guint64 size;
  guint64 mapped_cpu;
  guint64 shared_cpu;
  guint64 mapped_faults;
  gsize most_at_once;
} File;

/* Sends all of it as the policy says. Returns what was mapped. */
static guint64
send_file (ZcioSplicePolicy *policy,
           const File       *file,
           guint            *n_changes,
           guint64          *measured)
{
  guint64 mapped = 0;
  gboolean was_mapped = TRUE;

  *n_changes = 0;
  *measured = 0;
  for (guint64 done = 0; done < file->size;)
    {
      ZcioSpliceSample sample = { 0 };
      gsize size = 0;
      gboolean maps = zcio_splice_policy_maps (policy, file->size - done, &size);
      gsize again = 0;

      g_assert_cmpuint (size, >, 0);
      g_assert_cmpuint (size, <=, file->size - done);
      /* It may be asked twice, as where the socket is full. */
      g_assert_cmpint (zcio_splice_policy_maps (policy, file->size - done, &again), ==, maps);
      g_assert_cmpuint (again, ==, size);
      zcio_splice_policy_sent (policy, &sample);
      g_assert_cmpint (zcio_splice_policy_maps (policy, file->size - done, &again), ==, maps);
      g_assert_cmpuint (again, ==, size);

      sample.bytes = MIN (size, file->most_at_once);
      if (zcio_splice_policy_measures (policy))
        {
          sample.cpu = sample.bytes * (maps ? file->mapped_cpu : file->shared_cpu) / MIB;
          sample.faults = maps ? sample.bytes * file->mapped_faults / MIB : 0;
          *measured += sample.bytes;
        }
      zcio_splice_policy_sent (policy, &sample);

      *n_changes += maps != was_mapped;
      was_mapped = maps;
      mapped += maps ? sample.bytes : 0;
      done += sample.bytes;
    }

  return mapped;
}

static guint64
send_new_file (const File *file,
               guint      *n_changes,
               guint64    *measured)
{
  ZcioSplicePolicy policy;

  zcio_splice_policy_init (&policy);
  return send_file (&policy, file, n_changes, measured);
}

static void
test_mapping (void)
{
  File file = { 1200 * MIB, 50000, 90000, 16, 4 * MIB };
  guint n_changes;
  guint64 measured;

  g_test_summary ("Where mapping is cheaper, sendfile() gets a MiB now and then, less and less often, "
                  "and all but that and the moments before it go unmeasured");

  /* After 4, 64, 256 and then each 1024 MiB */
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 1197 * MIB);
  g_assert_cmpuint (n_changes, ==, 6);
  g_assert_cmpuint (measured, ==, 3 * (4 + 1) * MIB);

  file.size = 8 * 1024 * MIB;
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 8 * 1024 * MIB - 10 * MIB);
}

static void
test_sendfile (void)
{
  File file = { 1200 * MIB, 130000, 100000, 16, 4 * MIB };
  guint n_changes;
  guint64 measured;

  g_test_summary ("Where sendfile() is cheaper, it is taken after 5 MiB, and mapping gets 4 MiB now and "
                  "then, less and less often");

  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 3 * 4 * MIB);
  g_assert_cmpuint (n_changes, ==, 5);
  g_assert_cmpuint (measured, ==, (4 + 1 + 2 * (4 + 4)) * MIB);
}

static void
test_near (void)
{
  File file = { 60 * MIB, 100000, 91000, 16, 4 * MIB };
  guint n_changes;
  guint64 measured;

  g_test_summary ("A difference that may be chance changes nothing");

  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 59 * MIB);
  file.shared_cpu = 90000;
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 4 * MIB);
}

static void
test_huge_pages (void)
{
  File file = { 1200 * MIB, 130000, 100000, 0, 4 * MIB };
  guint n_changes;
  guint64 measured;

  g_test_summary ("A file in huge pages, which have few faults, is mapped without a trial");

  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 1200 * MIB);
  g_assert_cmpuint (n_changes, ==, 0);
}

static void
test_short (void)
{
  File file = { 12 * MIB - 1, 130000, 100000, 16, 4 * MIB };
  guint n_changes;
  guint64 measured;

  g_test_summary ("Of a short file too little is left for a trial to pay");

  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 12 * MIB - 1);
  file.size++;
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 4 * MIB);
}

static void
test_changing (void)
{
  File small_pages = { 300 * MIB, 130000, 100000, 16, 4 * MIB };
  File large_pages = { 300 * MIB, 50000, 100000, 16, 4 * MIB };
  ZcioSplicePolicy policy;
  guint n_changes;
  guint64 measured;

  g_test_summary ("If the file changes on the way, a later trial finds out, either way");

  zcio_splice_policy_init (&policy);
  g_assert_cmpuint (send_file (&policy, &small_pages, &n_changes, &measured), ==, 8 * MIB);
  g_assert_false (policy.maps);
  send_file (&policy, &large_pages, &n_changes, &measured);
  g_assert_true (policy.maps);
  send_file (&policy, &small_pages, &n_changes, &measured);
  g_assert_false (policy.maps);
}

static void
test_pieces (void)
{
  static const gsize pieces[] = { 1, 4095, 65536, 1000003 };

  g_test_summary ("A socket that takes little at once changes nothing about what goes which way");

  for (gsize i = 0; i < G_N_ELEMENTS (pieces); i++)
    {
      File file = { 14 * MIB + 7, 130000, 100000, 16, pieces[i] };
      guint n_changes;
      guint64 measured;

      /* A single byte takes so little that it rounds to nothing. */
      file.mapped_cpu *= MIB;
      file.shared_cpu *= MIB;
      file.mapped_faults = pieces[i] == 1 ? MIB : 4096;
      g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 4 * MIB);
      g_assert_cmpuint (n_changes, ==, 1);
    }
}

static void
test_stay (void)
{
  ZcioSpliceSample sample = { 4 * MIB, 400000, 64 };
  ZcioSplicePolicy policy;
  gsize size;

  g_test_summary ("Where sendfile() turns out not to be possible, there is no more trial");

  zcio_splice_policy_init (&policy);
  g_assert_true (zcio_splice_policy_maps (&policy, 1024 * MIB, &size));
  g_assert_cmpuint (size, ==, 4 * MIB);
  zcio_splice_policy_sent (&policy, &sample);
  g_assert_false (zcio_splice_policy_maps (&policy, 1020 * MIB, &size));
  zcio_splice_policy_stay (&policy);
  g_assert_true (zcio_splice_policy_maps (&policy, 1020 * MIB, &size));
  g_assert_cmpuint (size, ==, 1020 * MIB);
  g_assert_false (zcio_splice_policy_measures (&policy));
}

int
main (int argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/zcio/splice-policy/mapping", test_mapping);
  g_test_add_func ("/zcio/splice-policy/sendfile", test_sendfile);
  g_test_add_func ("/zcio/splice-policy/near", test_near);
  g_test_add_func ("/zcio/splice-policy/huge-pages", test_huge_pages);
  g_test_add_func ("/zcio/splice-policy/short", test_short);
  g_test_add_func ("/zcio/splice-policy/changing", test_changing);
  g_test_add_func ("/zcio/splice-policy/pieces", test_pieces);
  g_test_add_func ("/zcio/splice-policy/stay", test_stay);

  return g_test_run ();
}
