/* zcio-file-splice-private.h - sending what a stream has to read, without reading it
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio-buffer-pool.h"
#include "zcio-file-window-private.h"
#include "zcio-splice-policy-private.h"
#include "zcio-transmitter-private.h"

G_BEGIN_DECLS

/* How the bytes get from the source to the socket. */
typedef enum
{
  ZCIO_SPLICE_FILE,   /* from its page cache: mapped, or by sendfile () */
  ZCIO_SPLICE_PIPE,   /* by splice () */
  ZCIO_SPLICE_BUFFER  /* read into buffers, which go by zero-copy */
} ZcioSpliceWay;

/* What the caller has to do before the next step. */
typedef enum
{
  ZCIO_SPLICE_DONE,
  ZCIO_SPLICE_FAILED,
  ZCIO_SPLICE_READ,           /* read the source into the buffer */
  ZCIO_SPLICE_WAIT_WRITABLE,  /* wait for the socket */
  ZCIO_SPLICE_WAIT_IN_FLIGHT, /* wait until less is in flight */
  ZCIO_SPLICE_WAIT_PIPE,      /* wait until there is something in the pipe */
  ZCIO_SPLICE_PAUSE,          /* it is the turn of others; nothing is to be waited for */
  ZCIO_SPLICE_GO_ON           /* nothing; no step ends with it */
} ZcioSpliceResult;

/*
 * ZcioFileSplice:
 * @fd: of the source, unless the way is %ZCIO_SPLICE_BUFFER
 * @is_seekable: whether the descriptor has an offset, which is the source's position
 * @position: where to go on in the file
 * @size: the size of the file when it was last asked for
 * @policy: in mode AUTO, whether the file is mapped
 * @cannot_map: the file cannot be mapped, or not be read through a mapping
 * @holds_source: whether the source's pending flag is set by us
 * @guards_sigpipe: whether the program would get SIGPIPE if it was not held back
 * @buffer: what is being read into, or sent; parts of it may be in flight
 * @filled: where in @buffer the next read goes
 * @sent: what was accepted of @buffer
 * @bytes: bytes that the socket accepted so far
 *
 * One splice on its way. It has no state of its own between two sends but the position, and what
 * was measured, so that it can go on in a different way at any time.
 */
typedef struct
{
  ZcioTransmitter *transmitter;
  GSocket *socket;
  GInputStream *source;
  ZcioSpliceWay way;

  int fd;
  gboolean is_seekable;
  goffset position;
  goffset size;
  ZcioFileWindow *window;
  ZcioSplicePolicy policy;
  gboolean cannot_map;
  gboolean holds_source;
  gboolean guards_sigpipe;

  ZcioBuffer *buffer;
  gsize filled;
  gsize sent;

  guint64 bytes;
} ZcioFileSplice;

/* Fails if the source is closed or busy. Clear it also then. */
gboolean         zcio_file_splice_init       (ZcioFileSplice   *self,
                                              ZcioTransmitter  *transmitter,
                                              GSocket          *socket,
                                              GInputStream     *source,
                                              GError          **error);
/* The source is then where reading would have gone on. */
void             zcio_file_splice_clear      (ZcioFileSplice   *self);

/* Whether a step may have to wait for a disk. None ever waits for the socket or a pipe. */
gboolean         zcio_file_splice_may_block  (ZcioFileSplice   *self);
ZcioSpliceResult zcio_file_splice_step       (ZcioFileSplice   *self,
                                              GCancellable     *cancellable,
                                              GError          **error);

/* For ZCIO_SPLICE_READ: where to read to, and what came of it. */
gpointer         zcio_file_splice_get_buffer (ZcioFileSplice   *self,
                                              gsize            *size,
                                              GError          **error);
void             zcio_file_splice_was_read   (ZcioFileSplice   *self,
                                              gsize             size);

G_END_DECLS
