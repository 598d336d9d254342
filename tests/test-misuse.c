/* test-misuse.c - a wrong program is found, a right one is not
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <signal.h>
#include <unistd.h>

#include <zcio/zcio.h>

#include "test-util.h"

#define BUFFER_SIZE (256 * 1024)

/* Sends a buffer to a peer that does not read yet, does something to it, and lets the peer
 * read.
 */
static void
send_and (void (*misuse) (gpointer data))
{
  g_autoptr (GSocket) socket = NULL;
  g_autoptr (GSocket) peer = NULL;
  g_autoptr (ZcioSocketStream) stream = NULL;
  g_autoptr (ZcioBufferPool) pool = zcio_buffer_pool_new (BUFFER_SIZE);
  g_autoptr (ZcioBuffer) buffer = NULL;
  g_autoptr (GBytes) bytes = NULL;
  ZcioTestReader *reader;
  gpointer memory;
  GError *error = NULL;

  if (!zcio_test_socket_pair (ZCIO_TEST_FAMILY_IPV4, 64 * 1024, &socket, &peer))
    return;

  stream = zcio_socket_stream_new (socket);
  zcio_socket_stream_set_zero_copy_mode (stream, ZCIO_ZERO_COPY_MODE_ALWAYS);
  reader = zcio_test_reader_new (peer, 0, ZCIO_TEST_READER_PAUSED | ZCIO_TEST_READER_NO_PATTERN);

  buffer = zcio_buffer_pool_acquire (pool, &error);
  g_assert_no_error (error);
  memory = zcio_buffer_get_data (buffer, NULL);
  zcio_test_pattern_fill (0, memory, BUFFER_SIZE);
  bytes = zcio_buffer_to_bytes (buffer, 32 * 1024);
  zcio_socket_stream_write_zerocopy (stream, bytes, NULL, NULL, &error);
  g_assert_no_error (error);

  misuse (memory);

  zcio_test_reader_resume (reader);
  g_output_stream_close (G_OUTPUT_STREAM (stream), NULL, &error);
  g_assert_no_error (error);
  g_clear_object (&stream);
  g_clear_object (&socket);
  zcio_test_reader_finish (reader, NULL, NULL);
}

static gpointer written_to;

/* Told apart from other faults here: what one looks like otherwise depends on who watches. */
static void
tell_fault (int signal_number,
            siginfo_t *info,
            gpointer context)
{
  static const char message[] = "fault at the buffer\n";

  if (info->si_addr == written_to)
    {
      G_GNUC_UNUSED gssize n = write (STDERR_FILENO, message, sizeof message - 1);
    }
  _exit (1);
}

static void
write_to (gpointer memory)
{
  struct sigaction action = { .sa_sigaction = tell_fault, .sa_flags = SA_SIGINFO };

  written_to = (char *) memory + 1000;
  sigaction (SIGSEGV, &action, NULL);
  *(volatile char *) written_to ^= 1;
}

static void
read_from (gpointer memory)
{
  g_assert_cmpint (((volatile char *) memory)[1000], !=, 256);
}

static void
test_subprocess (gconstpointer data)
{
  send_and (data);
}

/* Runs one of the above with the debug mode on. */
static void
run (const char *test,
     const char *mode)
{
  g_autofree char *path = g_strdup_printf ("/misuse/subprocess/%s", test);

  g_setenv ("ZCIO_DEBUG", mode, TRUE);
  g_test_trap_subprocess (path, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_unsetenv ("ZCIO_DEBUG");
}

static void
test_checksum_finds_write (void)
{
  g_test_summary ("With ZCIO_DEBUG=checksum a write to a buffer in flight is reported on release");

  run ("write", "checksum");
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*buffer changed while the kernel was reading it*");
}

static void
test_protect_finds_write (void)
{
  g_test_summary ("With ZCIO_DEBUG=protect a write to a pool's buffer in flight is a fault");

  run ("write", "protect");
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*fault at the buffer*");
}

static void
test_right_program_passes (void)
{
  g_test_summary ("A program that only reads a buffer in flight passes with both modes");

  run ("read", "all");
  g_test_trap_assert_passed ();
}

static void
test_off_by_default (void)
{
  g_test_summary ("Without ZCIO_DEBUG nothing is looked for");

  run ("write", "");
  g_test_trap_assert_passed ();
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/misuse/subprocess/write", write_to, test_subprocess);
  g_test_add_data_func ("/misuse/subprocess/read", read_from, test_subprocess);
  g_test_add_func ("/misuse/checksum", test_checksum_finds_write);
  g_test_add_func ("/misuse/protect", test_protect_finds_write);
  g_test_add_func ("/misuse/right-program", test_right_program_passes);
  g_test_add_func ("/misuse/off-by-default", test_off_by_default);

  return g_test_run ();
}
