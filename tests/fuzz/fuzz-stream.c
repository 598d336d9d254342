/* fuzz-stream.c - any sequence of operations on a stream, whatever its kernel does
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The first bytes of the input set the simulated kernel up; each that follows is an
 * operation, which takes its arguments from the bytes after it. The kernel checks memory
 * and calls from below, simulated-stream.c checks from above.
 */

#include "config.h"

#include "fuzz-private.h"
#include "simulated-stream.h"

#include <errno.h>

#define MAX_OPERATIONS 300
#define MAX_BYTES (2 * 1024 * 1024)

typedef enum
{
  OPERATION_WRITE,
  OPERATION_WRITE_NONBLOCKING,
  OPERATION_WRITE_PLAIN,
  OPERATION_REAP,
  OPERATION_ADVANCE,
  OPERATION_DRAIN,
  OPERATION_SET_MODE,
  OPERATION_SET_THRESHOLD,
  OPERATION_SET_MAX_IN_FLIGHT,
  OPERATION_SCRIPT_ERROR,
  OPERATION_SCRIPT_SHORT,
  OPERATION_FOREIGN,
  OPERATION_NOTIFY,
  OPERATION_END,
  OPERATION_ITERATE,
  OPERATION_CANCELLED,
  N_OPERATIONS
} Operation;

static guint
choose_odds (FuzzInput *input)
{
  static const guint choices[] = { 0, 0, 1, 3, 20, 50 };

  return choices[fuzz_input_next (input) % G_N_ELEMENTS (choices)];
}

static void
set_up (SimulatedKernel *kernel,
        FuzzInput       *input)
{
  static const gsize optmem[] = { 131072, 500, 832, 3000, 20480 };
  static const gsize memlock[] = { G_MAXSIZE, 0, 10, 100 };
  guint8 flags = fuzz_input_next (input);
  guint8 counter = fuzz_input_next (input);

  kernel->family = flags & 1 ? AF_INET6 : AF_INET;
  kernel->says_copied = (flags & 2) != 0;
  kernel->no_zero_copy = (flags & 12) == 12;
  kernel->refuses_flag = (flags & 48) == 48;
  kernel->shares = (flags & 64) == 0;
  if ((flags & 128) != 0)
    kernel->completion = SIMULATED_COMPLETE_AT_ONCE;
  /* The wrap, and the place where ids become negative for those who sign them. */
  if (counter != 0)
    simulated_kernel_set_counter (kernel, (counter & 1 ? 0 : (guint32) 1 << 31) - counter);

  kernel->send_buffer = 4096 + fuzz_input_next (input) * 1024u;
  kernel->drain_size = 500 + fuzz_input_next (input) * 400u;
  kernel->window = fuzz_input_next (input) * 400u;
  kernel->completion_delay = fuzz_input_next (input) * 20;
  kernel->random_delay = fuzz_input_next (input) * 80;
  kernel->queue_delay = fuzz_input_next (input) * 200;
  kernel->optmem_max = optmem[fuzz_input_next (input) % G_N_ELEMENTS (optmem)];
  kernel->memlock_limit = memlock[fuzz_input_next (input) % G_N_ELEMENTS (memlock)];

  kernel->odds.short_send = choose_odds (input);
  kernel->odds.interrupted = choose_odds (input);
  kernel->odds.would_block = choose_odds (input);
  kernel->odds.no_buffers = choose_odds (input);
  kernel->odds.fault = choose_odds (input);
  kernel->odds.no_memory = choose_odds (input);
  kernel->odds.early_completion = choose_odds (input);
  kernel->odds.foreign = choose_odds (input);
  kernel->odds.unshared = choose_odds (input);
  kernel->odds.copied = choose_odds (input);
}

/* Small ones differ by a byte. */
static gsize
next_size (FuzzInput *input)
{
  guint8 value = fuzz_input_next (input);

  return value < 128 ? value : (value - 127) * 400u;
}

static gsize
next_sizes (FuzzInput *input,
            gsize     *sizes,
            gsize      max)
{
  gsize n = fuzz_input_next (input) % (max + 1);

  for (gsize i = 0; i < n; i++)
    sizes[i] = next_size (input);

  return n;
}

static void
script_error (SimulatedKernel *kernel,
              FuzzInput       *input)
{
  static const int errors[] = { EINTR, EAGAIN, ENOBUFS, EFAULT, EOPNOTSUPP, ENOMEM,
                                EPIPE, ECONNRESET, ETIMEDOUT, EHOSTUNREACH };
  SimulatedCall call = fuzz_input_next (input) % 2 ? SIMULATED_SEND_ZERO_COPY : SIMULATED_SEND_COPY;

  simulated_kernel_script_error (kernel, call, errors[fuzz_input_next (input) % G_N_ELEMENTS (errors)]);
}

/* Of sends that were never made, or are back: any that is in flight would be believed, and
 * rightly so. While the counter is unknown, so is the first.
 */
static void
notify_falsely (SimulatedKernel *kernel,
                FuzzInput       *input)
{
  guint32 length = fuzz_input_next_32 (input) >> (fuzz_input_next (input) % 32);

  if (kernel->counter_known && kernel->sends_in_flight == 0)
    simulated_kernel_notify (kernel, kernel->zero_copy_sends, kernel->zero_copy_sends + length, FALSE);
}

static gboolean
end_connection (SimulatedStream  *s,
                FuzzInput        *input,
                GError          **error)
{
  if (fuzz_input_next (input) % 2)
    return zcio_socket_stream_abort (s->stream, error);

  simulated_kernel_reset (s->kernel, ECONNRESET);
  return TRUE;
}

static void
write_cancelled (SimulatedStream *s,
                 FuzzInput       *input)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  guint64 accepted = s->accepted;
  GError *error = NULL;

  g_cancellable_cancel (cancellable);
  g_assert_false (simulated_stream_write (s, next_size (input), cancellable, &error));
  g_assert_nonnull (error);
  g_assert_cmpuint (s->accepted, ==, accepted);
  g_error_free (error);
}

/* Whatever fails must say why, and what does not must not. */
static void
operate (SimulatedStream *s,
         FuzzInput       *input)
{
  gsize sizes[8];
  gsize n;
  gboolean success = TRUE;
  guint64 value;
  GError *error = NULL;

  switch ((Operation) (fuzz_input_next (input) % N_OPERATIONS))
    {
    case OPERATION_WRITE:
      n = next_sizes (input, sizes, G_N_ELEMENTS (sizes));
      success = simulated_stream_writev (s, sizes, n, &error);
      break;
    case OPERATION_WRITE_NONBLOCKING:
      n = next_sizes (input, sizes, G_N_ELEMENTS (sizes));
      success = simulated_stream_writev_nonblocking (s, sizes, n, &error) != G_POLLABLE_RETURN_FAILED;
      break;
    case OPERATION_WRITE_PLAIN:
      success = simulated_stream_write_plain (s, next_size (input), &error);
      break;
    case OPERATION_REAP:
      zcio_socket_stream_reap (s->stream);
      break;
    case OPERATION_ADVANCE:
      value = fuzz_input_next (input);
      simulated_kernel_advance (s->kernel, 1 + value * value * value);
      break;
    case OPERATION_DRAIN:
      value = fuzz_input_next (input) * 500u;
      success = zcio_socket_stream_drain (s->stream, value, NULL, &error);
      break;
    case OPERATION_SET_MODE:
      zcio_socket_stream_set_zero_copy_mode (s->stream, fuzz_input_next (input) % 3);
      break;
    case OPERATION_SET_THRESHOLD:
      value = next_size (input);
      g_object_set (s->stream, "threshold", value, NULL);
      break;
    case OPERATION_SET_MAX_IN_FLIGHT:
      /* A window of a few bytes would take many thousand waits. */
      value = next_size (input);
      value = value > 0 ? value + 500 : 0;
      g_object_set (s->stream, "max-bytes-in-flight", value, NULL);
      break;
    case OPERATION_SCRIPT_ERROR:
      script_error (s->kernel, input);
      break;
    case OPERATION_SCRIPT_SHORT:
      simulated_kernel_script_short (s->kernel, SIMULATED_SEND_ZERO_COPY, 1 + next_size (input));
      break;
    case OPERATION_FOREIGN:
      simulated_kernel_queue_foreign (s->kernel, fuzz_input_next (input) % SIMULATED_N_FOREIGN);
      break;
    case OPERATION_NOTIFY:
      notify_falsely (s->kernel, input);
      break;
    case OPERATION_END:
      success = end_connection (s, input, &error);
      break;
    case OPERATION_ITERATE:
      g_main_context_iteration (NULL, FALSE);
      break;
    case OPERATION_CANCELLED:
      write_cancelled (s, input);
      break;
    case N_OPERATIONS:
    default:
      g_assert_not_reached ();
    }

  g_assert_true (success == (error == NULL));
  g_assert_true (error == NULL || error->domain == G_IO_ERROR);
  g_clear_error (&error);
  simulated_kernel_check_memory (s->kernel);
}

int
LLVMFuzzerInitialize (int    *argc,
                      char ***argv)
{
  simulated_stream_watch_log ();
  return 0;
}

int
LLVMFuzzerTestOneInput (const guint8 *data,
                        size_t        size)
{
  FuzzInput input = { data, size };
  SimulatedStream s;

  simulated_stream_init (&s, fuzz_input_next (&input));
  set_up (s.kernel, &input);
  for (guint i = 0; i < MAX_OPERATIONS && input.size > 0 && s.accepted < MAX_BYTES; i++)
    operate (&s, &input);
  simulated_stream_clear (&s);

  return 0;
}
