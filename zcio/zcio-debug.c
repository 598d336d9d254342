/* zcio-debug.c - finds programs that write to memory which the kernel reads
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "zcio-debug-private.h"

#include <string.h>

static const GDebugKey debug_keys[] = {
  { "checksum", ZCIO_DEBUG_CHECKSUM },
  { "protect", ZCIO_DEBUG_PROTECT },
};

/* What g_parse_debug_string () takes as the end of a word. */
#define DELIMITERS ":;, \t"

static gboolean
is_known (const char *word)
{
  if (g_ascii_strcasecmp (word, "all") == 0)
    return TRUE;

  for (gsize i = 0; i < G_N_ELEMENTS (debug_keys); i++)
    if (g_ascii_strcasecmp (word, debug_keys[i].key) == 0)
      return TRUE;

  return FALSE;
}

/* g_parse_debug_string () would print to the standard error, which belongs to the
 * program.
 */
static void
log_help (void)
{
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE,
                    "MESSAGE", "ZCIO_DEBUG is a list of: "
                               "checksum (report memory that changed while the kernel was reading it), "
                               "protect (make memory of a buffer pool read-only while it is a GBytes), "
                               "all, help");
}

static void
warn_unknown (const char *word)
{
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                    "ZCIO_WORD", word,
                    "MESSAGE", "ZCIO_DEBUG: the word “%s” is unknown; "
                               "there are checksum, protect, all and help",
                    word);
}

ZcioDebugFlags
zcio_debug_parse (const char *value)
{
  g_auto (GStrv) words = NULL;
  g_autoptr (GString) known = NULL;

  if (value == NULL)
    return ZCIO_DEBUG_NONE;

  known = g_string_new (NULL);
  words = g_strsplit_set (value, DELIMITERS, -1);
  for (gsize i = 0; words[i] != NULL; i++)
    {
      const char *word = words[i];

      if (*word == '\0')
        continue;

      if (is_known (word))
        g_string_append_printf (known, "%s,", word);
      else if (g_ascii_strcasecmp (word, "help") == 0)
        log_help ();
      else
        warn_unknown (word);
    }

  return g_parse_debug_string (known->str, debug_keys, G_N_ELEMENTS (debug_keys));
}

ZcioDebugFlags
zcio_debug_get_flags (void)
{
  static gsize initialized = 0;
  static ZcioDebugFlags flags;

  if (g_once_init_enter (&initialized))
    {
      flags = zcio_debug_parse (g_getenv ("ZCIO_DEBUG"));
      g_once_init_leave (&initialized, 1);
    }

  return flags;
}

/* Each step is a bijection of the state, so a single different word always shows. The
 * rotation keeps a difference in the topmost bits from being cancelled by the next word.
 */
static inline guint64
mix (guint64 state,
     guint64 word)
{
  state = (state ^ word) * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  return (state << 31) | (state >> 33);
}

/* A single chain of multiplications would wait for each of them; four keep the
 * multiplier busy.
 */
#define LANES 4

guint64
zcio_debug_checksum (gconstpointer data,
                     gsize size)
{
  const guint8 *p = data;
  guint64 lanes[LANES] = { 1, 2, 3, 4 };
  guint64 words[LANES];
  guint64 result = size;
  gsize left = size;

  while (left >= sizeof words)
    {
      memcpy (words, p, sizeof words);
      for (gsize i = 0; i < LANES; i++)
        lanes[i] = mix (lanes[i], words[i]);
      p += sizeof words;
      left -= sizeof words;
    }

  if (left > 0)
    {
      memset (words, 0, sizeof words);
      memcpy (words, p, left);
      for (gsize i = 0; i < LANES; i++)
        lanes[i] = mix (lanes[i], words[i]);
    }

  for (gsize i = 0; i < LANES; i++)
    result = mix (result, lanes[i]);

  return result;
}

typedef struct
{
  gconstpointer data;
  gsize size;
  guint64 checksum;
} Part;

struct _ZcioDebugRecord
{
  gint64 sent;
  gsize size;
  gsize n_parts;
  Part parts[];
};

ZcioDebugRecord *
zcio_debug_record_new (const struct iovec *vectors,
                       gsize n_vectors,
                       gsize size,
                       gint64 now)
{
  ZcioDebugRecord *record;

  record = g_malloc (sizeof *record + n_vectors * sizeof (Part));
  record->sent = now;
  record->size = 0;
  record->n_parts = 0;

  for (gsize i = 0; i < n_vectors && record->size < size; i++)
    {
      Part *part = &record->parts[record->n_parts];

      part->data = vectors[i].iov_base;
      part->size = MIN (vectors[i].iov_len, size - record->size);
      if (part->size == 0)
        continue;

      part->checksum = zcio_debug_checksum (part->data, part->size);
      record->size += part->size;
      record->n_parts++;
    }

  return record;
}

gboolean
zcio_debug_record_check (ZcioDebugRecord *record,
                         gint64 now)
{
  for (gsize i = 0; i < record->n_parts; i++)
    {
      const Part *part = &record->parts[i];

      if (zcio_debug_checksum (part->data, part->size) == part->checksum)
        continue;

      zcio_debug_report_change (record->size, now - record->sent, part->data, part->size);
      return FALSE;
    }

  return TRUE;
}

void
zcio_debug_record_free (ZcioDebugRecord *record)
{
  g_free (record);
}

void
zcio_debug_report_change (gsize size,
                          gint64 age,
                          gconstpointer address,
                          gsize part_size)
{
  g_autofree char *size_text = g_strdup_printf ("%" G_GSIZE_FORMAT, size);
  g_autofree char *age_text = g_strdup_printf ("%" G_GINT64_FORMAT, age);
  g_autofree char *address_text = g_strdup_printf ("%p", address);

  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_CRITICAL,
                    "ZCIO_SIZE", size_text,
                    "ZCIO_AGE_USEC", age_text,
                    "ZCIO_ADDRESS", address_text,
                    "MESSAGE", "A buffer changed while the kernel was reading it: the send had %s bytes "
                               "and was released %s µs after it was made; the change is in the "
                               "%" G_GSIZE_FORMAT " bytes at %s. What was given to a zero-copy write "
                               "must not be written to before it is released",
                    size_text, age_text, part_size, address_text);
}
