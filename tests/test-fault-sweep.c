/* test-fault-sweep.c - one transfer, with each of its system calls failing in turn
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "simulated-kernel-private.h"
#include "simulated-stream.h"
#include "test-util.h"
#include "zcio/zcio-linger-private.h"

#include <errno.h>

/* How a transfer is made. What all have in common: small buffers and large ones, some by
 * copy, more than the socket takes at once, and all that can wait does.
 */
typedef struct
{
  const char *name;
  gboolean is_async;
  gboolean aborts;       /* instead of draining */
  sa_family_t family;
  gsize optmem_max;
  gsize memlock_limit;
  guint32 counter;       /* not known, unless 0 */
  guint64 max_bytes_in_flight;
} Variant;

static const Variant variants[] = {
  { .name = "sync", .family = AF_INET },
  { .name = "async", .is_async = TRUE, .family = AF_INET6 },
  { .name = "abort", .aborts = TRUE, .family = AF_INET },
  { .name = "unknown-counter", .family = AF_INET, .counter = (guint32) -3 },
  { .name = "option-memory", .family = AF_INET6, .optmem_max = 3000 },
  { .name = "locked-memory", .family = AF_INET, .memlock_limit = 20 },
  { .name = "window", .family = AF_INET, .max_bytes_in_flight = 15000 },
  { .name = "window-async", .is_async = TRUE, .family = AF_INET, .max_bytes_in_flight = 15000 },
};

typedef struct
{
  SimulatedStream s;
  const Variant *variant;
  GMainContext *context;
  GCancellable *cancellable;
  guint n_errors;
  int first_error;
  gboolean partial;      /* the failed call was hidden by the bytes accepted before it */
} Transfer;

typedef struct
{
  guint64 transfers;
  guint64 reported;
  guint64 hidden;
} Totals;

static Totals totals;

/* The steps of a transfer */

static void
note_error (Transfer *t,
            GError   *error)
{
  if (error == NULL)
    return;

  g_assert_true (error->domain == G_IO_ERROR);
  if (t->n_errors++ == 0)
    t->first_error = error->code;
  g_error_free (error);
}

/* The reaper's epoll descriptor knows the real socket, so the loop reaps by hand. */
static GAsyncResult *
wait_for_result (Transfer      *t,
                 GAsyncResult **result)
{
  gint64 deadline = zcio_test_get_deadline ();

  while (*result == NULL)
    {
      if (!g_main_context_iteration (t->context, FALSE))
        {
          simulated_kernel_advance (t->s.kernel, 100);
          zcio_socket_stream_reap (t->s.stream);
        }
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    }

  return *result;
}

static void
write_zerocopy (Transfer    *t,
                const gsize *sizes,
                gsize        n)
{
  SimulatedStream *s = &t->s;
  GBytes **buffers = g_new (GBytes *, n);
  g_autoptr (GAsyncResult) result = NULL;
  gsize total = 0;
  gsize written = G_MAXSIZE;
  gboolean success = FALSE;
  GError *error = NULL;

  for (gsize i = 0; i < n; i++)
    {
      buffers[i] = simulated_kernel_new_bytes (s->kernel, s->accepted + total, sizes[i], &s->released);
      total += sizes[i];
      s->made++;
    }

  if (t->variant->is_async)
    zcio_socket_stream_writev_zerocopy_async (s->stream, buffers, n, G_PRIORITY_DEFAULT,
                                              t->cancellable, zcio_test_store_result, &result);
  else
    success = zcio_socket_stream_writev_zerocopy (s->stream, buffers, n, &written,
                                                  t->cancellable, &error);
  for (gsize i = 0; i < n; i++)
    g_bytes_unref (buffers[i]);
  g_free (buffers);
  if (t->variant->is_async)
    success = zcio_socket_stream_writev_zerocopy_finish (s->stream, wait_for_result (t, &result),
                                                         &written, &error);

  g_assert_true (success == (error == NULL));
  g_assert_true (success ? written == total : written < total);
  s->accepted += written;
  note_error (t, error);
}

typedef struct
{
  SimulatedStream *s;
  gsize size;
  guint8 data[];
} Owned;

static void
release_owned (gpointer data)
{
  Owned *owned = data;

  simulated_kernel_released (owned->s->kernel, owned->data, owned->size);
  g_atomic_int_inc (&owned->s->released);
  g_free (owned);
}

static void
write_full (Transfer *t,
            gsize     size)
{
  SimulatedStream *s = &t->s;
  Owned *owned = g_malloc (sizeof *owned + size);
  GOutputVector vectors[] = {
    { owned->data, 1 },
    { owned->data + 1, 0 },
    { owned->data + 1, size / 2 },
    { owned->data + 1 + size / 2, size - 1 - size / 2 },
  };
  gsize written = G_MAXSIZE;
  gboolean success;
  GError *error = NULL;

  owned->s = s;
  owned->size = size;
  zcio_test_pattern_fill (s->accepted, owned->data, size);
  s->made++;
  success = zcio_socket_stream_writev_zerocopy_full (s->stream, vectors, G_N_ELEMENTS (vectors),
                                                     release_owned, owned, &written,
                                                     t->cancellable, &error);
  g_assert_true (success == (error == NULL));
  g_assert_true (success ? written == size : written < size);
  s->accepted += written;
  note_error (t, error);
}

static void
write_nonblocking (Transfer *t,
                   gsize     size)
{
  SimulatedStream *s = &t->s;
  GBytes *bytes = simulated_kernel_new_bytes (s->kernel, s->accepted, size, &s->released);
  guint64 first_call = s->kernel->n_calls + 1;
  gsize written = G_MAXSIZE;
  GPollableReturn result;
  GError *error = NULL;

  s->made++;
  result = zcio_socket_stream_writev_zerocopy_nonblocking (s->stream, &bytes, 1, &written,
                                                           t->cancellable, &error);
  g_bytes_unref (bytes);
  g_assert_true ((result == G_POLLABLE_RETURN_FAILED) == (error != NULL));
  g_assert_true ((result == G_POLLABLE_RETURN_OK) == (written > 0));
  if (result == G_POLLABLE_RETURN_OK && s->kernel->fail_call >= first_call &&
      s->kernel->fail_call <= s->kernel->n_calls)
    t->partial = TRUE;
  s->accepted += written;
  note_error (t, error);
}

static void
write_plain (Transfer *t,
             gsize     size)
{
  SimulatedStream *s = &t->s;
  GOutputStream *stream = G_OUTPUT_STREAM (s->stream);
  g_autofree guint8 *data = g_malloc (size);
  g_autoptr (GAsyncResult) result = NULL;
  gsize written = 0;
  GError *error = NULL;

  zcio_test_pattern_fill (s->accepted, data, size);
  if (t->variant->is_async)
    {
      g_output_stream_write_all_async (stream, data, size, G_PRIORITY_DEFAULT, t->cancellable,
                                       zcio_test_store_result, &result);
      g_output_stream_write_all_finish (stream, wait_for_result (t, &result), &written, &error);
    }
  else
    g_output_stream_write_all (stream, data, size, &written, t->cancellable, &error);

  simulated_kernel_released (s->kernel, data, size);
  /* GOutputStream's own task forgets what was written when it is cancelled meanwhile. */
  if (t->variant->is_async && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    {
      gsize accepted;

      simulated_kernel_get_stream (s->kernel, &accepted);
      g_assert_cmpuint (accepted, >=, s->accepted + written);
      g_assert_cmpuint (accepted, <=, s->accepted + size);
      written = accepted - s->accepted;
    }
  s->accepted += written;
  note_error (t, error);
}

static void
drain (Transfer *t,
       guint64   max_bytes)
{
  SimulatedStream *s = &t->s;
  g_autoptr (GAsyncResult) result = NULL;
  guint64 bytes;
  gboolean success;
  GError *error = NULL;

  if (t->variant->is_async)
    {
      zcio_socket_stream_drain_async (s->stream, max_bytes, G_PRIORITY_DEFAULT, t->cancellable,
                                      zcio_test_store_result, &result);
      success = zcio_socket_stream_drain_finish (s->stream, wait_for_result (t, &result), &error);
    }
  else
    success = zcio_socket_stream_drain (s->stream, max_bytes, t->cancellable, &error);

  g_assert_true (success == (error == NULL));
  g_object_get (s->stream, "bytes-in-flight", &bytes, NULL);
  if (success)
    g_assert_cmpuint (bytes, <=, max_bytes);
  note_error (t, error);
}

static void
abort_connection (Transfer *t)
{
  GError *error = NULL;

  if (zcio_socket_stream_abort (t->s.stream, &error))
    return;

  note_error (t, g_steal_pointer (&error));
  zcio_socket_stream_abort (t->s.stream, &error);
  g_assert_no_error (error);
}

static void
close_stream (Transfer *t)
{
  GOutputStream *stream = G_OUTPUT_STREAM (t->s.stream);
  g_autoptr (GAsyncResult) result = NULL;
  GError *error = NULL;

  if (t->variant->is_async)
    {
      g_output_stream_close_async (stream, G_PRIORITY_DEFAULT, t->cancellable,
                                   zcio_test_store_result, &result);
      g_output_stream_close_finish (stream, wait_for_result (t, &result), &error);
    }
  else
    g_output_stream_close (stream, t->cancellable, &error);

  g_assert_true (g_output_stream_is_closed (stream));
  note_error (t, error);
}

/* A whole transfer */

static void
transfer_init (Transfer      *t,
               const Variant *variant)
{
  SimulatedKernel *kernel;

  *t = (Transfer) { .variant = variant };
  t->context = g_main_context_new ();
  g_main_context_push_thread_default (t->context);

  simulated_stream_init (&t->s, 1);
  kernel = t->s.kernel;
  simulated_kernel_set_context (kernel, t->context);
  kernel->family = variant->family;
  kernel->send_buffer = 20000;
  kernel->drain_size = 7000;
  kernel->window = 5000;
  if (variant->optmem_max != 0)
    kernel->optmem_max = variant->optmem_max;
  if (variant->memlock_limit != 0)
    kernel->memlock_limit = variant->memlock_limit;
  if (variant->counter != 0)
    simulated_kernel_set_counter (kernel, variant->counter);
  if (variant->max_bytes_in_flight != 0)
    g_object_set (t->s.stream, "max-bytes-in-flight", variant->max_bytes_in_flight, NULL);
  /* A completion that comes late, so that close () has something to wait for. */
  kernel->completion_delay = 300;
}

/* An error does not end it: a program may well go on. */
static void
transfer_run (Transfer *t)
{
  static const gsize first[] = { 1000, 0, 30000, 1 };
  static const gsize second[] = { 9000 };

  write_zerocopy (t, first, G_N_ELEMENTS (first));
  write_plain (t, 3000);
  write_full (t, 12000);
  drain (t, 5000);
  write_nonblocking (t, 4000);
  write_nonblocking (t, 30000);
  write_zerocopy (t, second, G_N_ELEMENTS (second));
  if (t->variant->aborts)
    abort_connection (t);
  else
    {
      drain (t, 0);
      write_nonblocking (t, 1000);
    }
  close_stream (t);
}

/* What a close that failed has left to the linger, a new stream takes back at once. */
static void
stop_linger (Transfer *t)
{
  gint64 deadline = zcio_test_get_deadline ();
  ZcioSocketStream *stream = zcio_socket_stream_new (t->s.socket);

  while (zcio_linger_count () > 0)
    {
      g_thread_yield ();
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    }
  simulated_stream_settle (&t->s);
  g_object_unref (stream);
}

/* Whatever has happened: in the end all is as it must be. */
static void
transfer_clear (Transfer *t)
{
  g_clear_object (&t->cancellable);
  stop_linger (t);
  simulated_kernel_set_context (NULL, t->context);
  g_main_context_pop_thread_default (t->context);
  g_main_context_unref (t->context);
  simulated_stream_clear (&t->s);
  totals.transfers++;
}

/* Calls that fail */

typedef enum
{
  ERROR_HIDDEN,
  ERROR_REPORTED,
  ERROR_EITHER     /* the wait fails, or a mere look is repeated later */
} Expected;

/* The errors that each call can give, as far as they differ for its caller. */
static const int *
get_errors (SimulatedCall call)
{
  static const int send[] = { EINTR, EAGAIN, ENOBUFS, EFAULT, EOPNOTSUPP, ENOMEM, ECONNRESET,
                              EPIPE, ETIMEDOUT, EHOSTUNREACH, ENETDOWN, EMSGSIZE, EACCES, 0 };
  static const int receive[] = { EINTR, EAGAIN, ENOMEM, EBADF, ENOTSOCK, 0 };
  static const int enable[] = { EOPNOTSUPP, ENOPROTOOPT, EPERM, EINVAL, 0 };
  static const int poll[] = { EINTR, ENOMEM, EINVAL, EFAULT, 0 };
  static const int disconnect[] = { EAFNOSUPPORT, EBADF, EPERM, 0 };
  static const int ioctl[] = { EINVAL, ENOTTY, EBADF, 0 };

  switch (call)
    {
    case SIMULATED_SEND_COPY:
    case SIMULATED_SEND_ZERO_COPY:
      return send;
    case SIMULATED_RECEIVE_ERROR:
      return receive;
    case SIMULATED_ENABLE_ZERO_COPY:
      return enable;
    case SIMULATED_POLL:
      return poll;
    case SIMULATED_DISCONNECT:
      return disconnect;
    case SIMULATED_GET_UNACKNOWLEDGED:
      return ioctl;
    case SIMULATED_CONTEXT_POLL:
    case SIMULATED_N_CALLS:
    default:
      g_assert_not_reached ();
    }
}

static Expected
get_expected (SimulatedCall call,
              int           error_number)
{
  switch (call)
    {
    case SIMULATED_SEND_ZERO_COPY:
      if (error_number == ENOBUFS || error_number == EFAULT || error_number == EOPNOTSUPP ||
          error_number == ENOMEM)
        return ERROR_HIDDEN;
      return error_number == EINTR || error_number == EAGAIN ? ERROR_HIDDEN : ERROR_REPORTED;
    case SIMULATED_SEND_COPY:
      return error_number == EINTR || error_number == EAGAIN ? ERROR_HIDDEN : ERROR_REPORTED;
    case SIMULATED_POLL:
      return error_number == EINTR ? ERROR_HIDDEN : ERROR_EITHER;
    case SIMULATED_DISCONNECT:
      return ERROR_REPORTED;
    case SIMULATED_RECEIVE_ERROR:
    case SIMULATED_ENABLE_ZERO_COPY:
    case SIMULATED_GET_UNACKNOWLEDGED:
      return ERROR_HIDDEN;
    case SIMULATED_CONTEXT_POLL:
    case SIMULATED_N_CALLS:
    default:
      g_assert_not_reached ();
    }
}

static void
check_outcome (Transfer *t)
{
  SimulatedKernel *kernel = t->s.kernel;
  Expected expected = get_expected (kernel->failed_call, kernel->fail_errno);

  if (g_test_verbose ())
    g_test_message ("call %" G_GUINT64_FORMAT " (of the kind %d) gave %s: %u errors, first %d",
                    kernel->fail_call, kernel->failed_call, g_strerror (kernel->fail_errno),
                    t->n_errors, t->first_error);

  if (expected == ERROR_HIDDEN ||
      (t->n_errors == 0 && (expected == ERROR_EITHER || t->partial)))
    {
      g_assert_cmpuint (t->n_errors, ==, 0);
      totals.hidden++;
      return;
    }

  g_assert_cmpuint (t->n_errors, >, 0);
  /* The connection's end, if it was not told of, is a broken pipe to the next call. */
  if (!t->partial)
    g_assert_cmpint (t->first_error, ==, g_io_error_from_errno (kernel->fail_errno));
  totals.reported++;
}

static void
inject (const Variant *variant,
        guint64        number,
        SimulatedCall  call,
        int            error_number)
{
  Transfer t;

  transfer_init (&t, variant);
  t.s.kernel->fail_call = number;
  t.s.kernel->fail_errno = error_number;
  t.s.kernel->failed_call = SIMULATED_N_CALLS;
  transfer_run (&t);
  /* Up to there it is the same each time. */
  g_assert_cmpint (t.s.kernel->failed_call, ==, call);
  check_outcome (&t);
  transfer_clear (&t);
}

static void
record_call (SimulatedKernel *kernel,
             SimulatedCall    call,
             gpointer         data)
{
  g_array_append_val ((GArray *) data, call);
}

/* Returns which calls the transfer makes. */
static GArray *
run_without_fault (const Variant *variant)
{
  GArray *calls = g_array_new (FALSE, FALSE, sizeof (SimulatedCall));
  Transfer t;

  transfer_init (&t, variant);
  t.s.kernel->hook = record_call;
  t.s.kernel->hook_data = calls;
  transfer_run (&t);
  t.s.kernel->hook = NULL;
  g_assert_cmpuint (t.n_errors, ==, 0);
  transfer_clear (&t);
  g_assert_cmpuint (calls->len, >, 10);

  return calls;
}

static void
test_errors (gconstpointer data)
{
  const Variant *variant = data;
  g_autoptr (GArray) calls = NULL;

  g_test_summary ("Whichever call fails, and with whatever error: the bytes are exact, each "
                  "buffer is released once, and the error is told or rightly hidden");

  calls = run_without_fault (variant);
  totals = (Totals) { 0 };
  for (guint i = 0; i < calls->len; i++)
    {
      SimulatedCall call = g_array_index (calls, SimulatedCall, i);

      for (const int *errors = get_errors (call); *errors != 0; errors++)
        inject (variant, i + 1, call, *errors);
    }

  g_test_message ("%s: %u calls, %" G_GUINT64_FORMAT " faults injected: %" G_GUINT64_FORMAT
                  " reported, %" G_GUINT64_FORMAT " hidden",
                  variant->name, calls->len, totals.transfers, totals.reported, totals.hidden);
}

/* Calls that are gone before: by a cancellation, or by the end of the connection */

typedef struct
{
  guint64 number;
  GCancellable *cancellable;  /* NULL: the connection ends */
} Interruption;

static void
interrupt (SimulatedKernel *kernel,
           SimulatedCall    call,
           gpointer         data)
{
  Interruption *interruption = data;

  if (kernel->n_calls != interruption->number)
    return;

  if (interruption->cancellable != NULL)
    g_cancellable_cancel (interruption->cancellable);
  else
    simulated_kernel_reset (kernel, ECONNRESET);
}

/* 0: before anything is done */
static void
cancel_at (const Variant *variant,
           guint64        number)
{
  Interruption interruption = { .number = number };
  Transfer t;

  transfer_init (&t, variant);
  t.cancellable = g_cancellable_new ();
  interruption.cancellable = t.cancellable;
  t.s.kernel->hook = interrupt;
  t.s.kernel->hook_data = &interruption;
  if (number == 0)
    g_cancellable_cancel (t.cancellable);
  transfer_run (&t);
  /* The linger may be calling. */
  simulated_kernel_lock ((ZcioSyscalls *) t.s.kernel);
  t.s.kernel->hook = NULL;
  simulated_kernel_unlock (t.s.kernel);

  g_assert_true (g_cancellable_is_cancelled (t.cancellable));
  /* Nothing but a cancellation was met; a call that was just about to be done is done. */
  if (t.n_errors > 0)
    {
      g_assert_cmpint (t.first_error, ==, G_IO_ERROR_CANCELLED);
      totals.reported++;
    }
  else
    totals.hidden++;
  transfer_clear (&t);
}

static void
test_cancelled (gconstpointer data)
{
  const Variant *variant = data;
  g_autoptr (GArray) calls = NULL;

  g_test_summary ("Whenever a transfer is cancelled: what was accepted is told, stays owned, and "
                  "is released once");

  calls = run_without_fault (variant);
  totals = (Totals) { 0 };
  for (guint i = 0; i <= calls->len; i++)
    cancel_at (variant, i);

  g_test_message ("%s: %" G_GUINT64_FORMAT " cancellations: %" G_GUINT64_FORMAT " reported, %" G_GUINT64_FORMAT
                  " too late", variant->name, totals.transfers, totals.reported, totals.hidden);
  g_assert_cmpuint (totals.reported, >, totals.hidden);
}

static void
test_reset (gconstpointer data)
{
  const Variant *variant = data;
  g_autoptr (GArray) calls = NULL;

  g_test_summary ("Whenever the connection is reset: everything is released, and a write tells it");

  calls = run_without_fault (variant);
  totals = (Totals) { 0 };
  for (guint i = 1; i <= calls->len; i++)
    {
      Interruption interruption = { .number = i };
      Transfer t;

      transfer_init (&t, variant);
      t.s.kernel->hook = interrupt;
      t.s.kernel->hook_data = &interruption;
      transfer_run (&t);
      t.s.kernel->hook = NULL;
      if (t.n_errors > 0)
        g_assert_cmpint (t.first_error, ==, G_IO_ERROR_BROKEN_PIPE);
      totals.reported += t.n_errors > 0;
      transfer_clear (&t);
    }

  g_test_message ("%s: %" G_GUINT64_FORMAT " resets, %" G_GUINT64_FORMAT " reported by writes",
                  variant->name, totals.transfers, totals.reported);
  g_assert_cmpuint (totals.reported, >, 0);
}

static void
add_tests (const char       *name,
           GTestDataFunc     function)
{
  for (guint i = 0; i < G_N_ELEMENTS (variants); i++)
    {
      g_autofree char *path = g_strconcat ("/fault-sweep/", name, "/", variants[i].name, NULL);

      g_test_add_data_func (path, &variants[i], function);
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  simulated_stream_watch_log ();

  add_tests ("errors", test_errors);
  add_tests ("cancelled", test_cancelled);
  add_tests ("reset", test_reset);

  return g_test_run ();
}
