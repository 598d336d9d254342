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

/*
 * File:
 * @mapped_cpu: what a MiB takes from a mapping
 * @shared_cpu: what a MiB takes by sendfile ()
 * @faults: of 4 MiB that are mapped
 * @cold_from: from here to @cold_to it has to be read from the disk
 */
typedef struct
{
  guint64 size;
  guint64 mapped_cpu;
  guint64 shared_cpu;
  guint64 faults;
  gsize most_at_once;
  guint64 cold_from;
  guint64 cold_to;
} File;

static void
assert_answer (ZcioSplicePolicy *policy,
               guint64           left,
               gboolean          maps,
               gsize             size,
               gboolean          measures)
{
  gboolean measures_again = FALSE;
  gsize size_again = 0;

  g_assert_cmpint (zcio_splice_policy_should_map (policy, left, &size_again, &measures_again), ==, maps);
  g_assert_cmpuint (size_again, ==, size);
  g_assert_cmpint (measures_again, ==, measures);
}

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
      ZcioUsage usage = { 0 };
      gboolean measures = FALSE;
      gsize size = 0;
      gboolean maps = zcio_splice_policy_should_map (policy, file->size - done, &size, &measures);
      guint64 sent = MIN (size, file->most_at_once);

      g_assert_cmpuint (size, >, 0);
      g_assert_cmpuint (size, <=, file->size - done);

      /* Where the socket is full nothing is sent, and it is asked again. */
      zcio_splice_policy_sent (policy, 0, measures ? &usage : NULL);
      assert_answer (policy, file->size - done, maps, size, measures);

      if (measures)
        {
          usage.cpu = sent * (maps ? file->mapped_cpu : file->shared_cpu) / MIB;
          usage.faults = maps ? sent * file->faults / (4 * MIB) : 0;
          usage.reads = done < file->cold_to && done + sent > file->cold_from;
          *measured += sent;
        }
      zcio_splice_policy_sent (policy, sent, measures ? &usage : NULL);

      *n_changes += maps != was_mapped;
      was_mapped = maps;
      mapped += maps ? sent : 0;
      done += sent;
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
  File file = { 1200 * MIB, 50000, 90000, 64, 4 * MIB };
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
  File file = { 1200 * MIB, 130000, 100000, 64, 4 * MIB };
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
  File file = { 60 * MIB, 100000, 91000, 64, 4 * MIB };
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
  File file = { 1200 * MIB, 130000, 100000, 3, 4 * MIB };
  guint n_changes;
  guint64 measured;

  g_test_summary ("A file in huge pages, which have few faults, is mapped without a trial");

  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 1200 * MIB);
  g_assert_cmpuint (n_changes, ==, 0);
  file.faults = 4;
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 3 * 4 * MIB);
}

static void
test_disk (void)
{
  File file = { 1200 * MIB, 130000, 100000, 64, 4 * MIB };
  guint n_changes;
  guint64 measured;

  g_test_summary ("What was read from the disk meanwhile says nothing of the ways: neither before a "
                  "trial nor in it");

  file.cold_to = 1200 * MIB;
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 1200 * MIB);
  g_assert_cmpuint (n_changes, ==, 0);

  /* Before the first trial; the next one is 64 MiB later, then come two of mapping. */
  file.cold_to = MIB;
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, (4 + 64 + 2 * 4) * MIB);
  g_assert_cmpuint (n_changes, ==, 5);

  /* In the first trial */
  file.cold_from = 4 * MIB;
  file.cold_to = 5 * MIB;
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, (4 + 64 + 2 * 4) * MIB);
  g_assert_cmpuint (n_changes, ==, 7);

  /* After sendfile () was chosen: where the next trial would be, it is noticed. */
  file.cold_from = 8 * MIB;
  file.cold_to = 1200 * MIB;
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, (1200 - 1 - 64) * MIB);
  g_assert_cmpuint (n_changes, ==, 2);
}

static void
test_growing (void)
{
  File first = { 11 * MIB, 130000, 100000, 64, 4 * MIB };
  File rest = { 1000 * MIB, 130000, 100000, 64, 4 * MIB };
  ZcioSplicePolicy policy;
  guint n_changes;
  guint64 measured;

  g_test_summary ("What was not measured, since the file was short, does not count when it has grown");

  zcio_splice_policy_init (&policy);
  g_assert_cmpuint (send_file (&policy, &first, &n_changes, &measured), ==, 11 * MIB);
  g_assert_cmpuint (measured, ==, 0);
  /* A trial comes when 4 MiB were measured before it. */
  g_assert_cmpuint (send_file (&policy, &rest, &n_changes, &measured), <, 100 * MIB);
  g_assert_false (policy.prefers_map);
}

static void
test_short (void)
{
  File file = { 12 * MIB - 1, 130000, 100000, 64, 4 * MIB };
  guint n_changes;
  guint64 measured;

  g_test_summary ("Of a short file too little is left for a trial to pay, and nothing is measured");

  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 12 * MIB - 1);
  g_assert_cmpuint (measured, ==, 0);
  file.size++;
  g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 4 * MIB);
  g_assert_cmpuint (measured, ==, 5 * MIB);
}

static void
test_changing (void)
{
  File small_pages = { 300 * MIB, 130000, 100000, 64, 4 * MIB };
  File large_pages = { 300 * MIB, 50000, 100000, 64, 4 * MIB };
  ZcioSplicePolicy policy;
  guint n_changes;
  guint64 measured;

  g_test_summary ("If the file changes on the way, a later trial finds out, either way");

  zcio_splice_policy_init (&policy);
  g_assert_cmpuint (send_file (&policy, &small_pages, &n_changes, &measured), ==, 8 * MIB);
  g_assert_false (policy.prefers_map);
  send_file (&policy, &large_pages, &n_changes, &measured);
  g_assert_true (policy.prefers_map);
  send_file (&policy, &small_pages, &n_changes, &measured);
  g_assert_false (policy.prefers_map);
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
      file.faults = pieces[i] == 1 ? 4 * MIB : 16384;
      g_assert_cmpuint (send_new_file (&file, &n_changes, &measured), ==, 4 * MIB);
      g_assert_cmpuint (n_changes, ==, 1);
    }
}

static void
test_map_only (void)
{
  const ZcioUsage usage = { 400000, 64, 0 };
  ZcioSplicePolicy policy;
  gboolean measures;
  gsize size;

  g_test_summary ("Where sendfile() turns out not to be possible, there is no more trial, and mapping "
                  "is the way, whatever was so before");

  zcio_splice_policy_init (&policy);
  g_assert_true (zcio_splice_policy_should_map (&policy, 1024 * MIB, &size, &measures));
  g_assert_cmpuint (size, ==, 4 * MIB);
  g_assert_true (measures);
  zcio_splice_policy_sent (&policy, size, &usage);
  g_assert_false (zcio_splice_policy_should_map (&policy, 1020 * MIB, &size, &measures));
  zcio_splice_policy_map_only (&policy);
  g_assert_true (zcio_splice_policy_should_map (&policy, 1020 * MIB, &size, &measures));
  g_assert_cmpuint (size, ==, 1020 * MIB);
  g_assert_false (measures);
  for (guint i = 0; i < 4; i++)
    {
      zcio_splice_policy_sent (&policy, 1024 * MIB, NULL);
      g_assert_true (zcio_splice_policy_should_map (&policy, 1024 * MIB, &size, &measures));
    }

  policy.prefers_map = FALSE;
  zcio_splice_policy_map_only (&policy);
  g_assert_true (zcio_splice_policy_should_map (&policy, 1020 * MIB, &size, &measures));
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
  g_test_add_func ("/zcio/splice-policy/disk", test_disk);
  g_test_add_func ("/zcio/splice-policy/growing", test_growing);
  g_test_add_func ("/zcio/splice-policy/short", test_short);
  g_test_add_func ("/zcio/splice-policy/changing", test_changing);
  g_test_add_func ("/zcio/splice-policy/pieces", test_pieces);
  g_test_add_func ("/zcio/splice-policy/map-only", test_map_only);

  return g_test_run ();
}
