/* fuzz-private.h - what a fuzz target has, and how it reads its input
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* libFuzzer's names. */
int LLVMFuzzerInitialize   (int          *argc,
                            char       ***argv);
int LLVMFuzzerTestOneInput (const guint8 *data,
                            size_t        size);

typedef struct
{
  const guint8 *data;
  gsize size;
} FuzzInput;

/* 0 when there is nothing left. */
static inline guint8
fuzz_input_next (FuzzInput *input)
{
  if (input->size == 0)
    return 0;

  input->size--;
  return *input->data++;
}

static inline guint32
fuzz_input_next_32 (FuzzInput *input)
{
  guint32 value = 0;

  for (guint i = 0; i < 4; i++)
    value = value << 8 | fuzz_input_next (input);

  return value;
}

G_END_DECLS
