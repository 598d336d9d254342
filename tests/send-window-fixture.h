/* send-window-fixture.h - a send window, and buffers that count when they go
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "zcio/zcio-send-window-private.h"

typedef struct
{
  ZcioSendWindow window;
  ZcioReleased released;
} SendWindowFixture;

void send_window_set_up (SendWindowFixture *fixture,
                         gconstpointer data);
void send_window_tear_down (SendWindowFixture *fixture,
                            gconstpointer data);

/* A release function that counts in a guint. */
void count_call (gpointer data);
/* Bytes that count up when they go. */
GBytes *counted_bytes_new (guint *counter);
/* A write with one buffer, which it alone owns. */
ZcioWrite *begin_write (SendWindowFixture *fixture,
                        guint *counter);
/* A whole write of one send. */
void send_one (SendWindowFixture *fixture,
               guint *counter,
               gsize size);
/* Writes of 100 bytes, each with a counter. */
void send_many (SendWindowFixture *fixture,
                guint *counters,
                guint n);
/* As the transmitter does it, but for the lock. */
void call_out (SendWindowFixture *fixture);
/* Has a range come back and calls out; returns how many sends came back. */
guint notify_range (SendWindowFixture *fixture,
                    guint32 first,
                    guint32 last);
/* One digit for each counter. */
void assert_counters (const guint *counters,
                      const char *expected);
