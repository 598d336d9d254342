/* splice-fixture.h - what the tests of splicing share
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <zcio/zcio.h>

#include "test-util.h"

G_BEGIN_DECLS

/* A stream whose peer collects all that comes, so that it can be looked at. */
typedef struct
{
  GSocket *socket;
  GSocket *peer;
  ZcioSocketStream *stream;
  ZcioTestReader *reader;
} SpliceFixture;

typedef struct
{
  ZcioTestFamily family;
  ZcioZeroCopyMode mode;
  ZcioTestReaderFlags reader;
  int buffer_size;
} SpliceSetup;

/* Whether so much may be in flight as a file of some 40 MiB; else the test is skipped. Where the
 * limit is met, the rest is copied.
 */
gboolean      splice_may_pin           (const SpliceSetup        *setup);
gboolean      splice_fixture_set_up    (SpliceFixture            *fixture,
                                        const SpliceSetup        *setup);
/* Closes, and checks how many bytes came. */
void          splice_fixture_tear_down (SpliceFixture            *fixture,
                                        guint64                   expected,
                                        char                    **sha256);

/* Splices in either way. The asynchronous one runs the default context. */
gssize        splice_run               (SpliceFixture            *fixture,
                                        gboolean                  is_async,
                                        GInputStream             *source,
                                        GOutputStreamSpliceFlags  flags,
                                        GCancellable             *cancellable,
                                        GError                  **error);

/* Statistics add up, and so many bytes were written, and spliced without reading them. */
void          splice_assert_statistics (ZcioSocketStream         *stream,
                                        guint64                   written,
                                        guint64                   spliced);

/* A file without a name, with the pattern in it. */
int           splice_make_file         (guint64                   size);
void          splice_append_pattern    (int                       fd,
                                        guint64                   from,
                                        guint64                   to);

/* What a descriptor's offset is. */
goffset       splice_get_offset        (int                       fd);

G_END_DECLS
