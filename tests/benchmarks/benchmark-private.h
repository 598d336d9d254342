/* benchmark-private.h - the parts of zcio-benchmark
 *
 * This file is part of zcio
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>
#include <netinet/in.h>

G_BEGIN_DECLS

#define BENCHMARK_ERROR (benchmark_error_quark ())

/**
 * BenchmarkError:
 * @BENCHMARK_ERROR_LACKING: this machine, kernel or user cannot do it
 * @BENCHMARK_ERROR_FAILED: it should have worked
 */
typedef enum
{
  BENCHMARK_ERROR_LACKING,
  BENCHMARK_ERROR_FAILED
} BenchmarkError;

GQuark benchmark_error_quark (void);
void benchmark_set_error_from_errno (GError     **error,
                                     const char  *doing,
                                     int          errsv);

/* ---- benchmark-memory.c ---- */

/**
 * BenchmarkBlock:
 * @data: what to send; it stays as it is until all is over
 * @size: how much that is
 * @bytes: the same for those who take a #GBytes
 */
typedef struct
{
  gconstpointer data;
  gsize size;
  GBytes *bytes;
} BenchmarkBlock;

/**
 * BenchmarkMemory:
 *
 * An area of 4 KiB pages, cut into blocks.
 */
typedef struct
{
  char *data;
  gsize size;
  BenchmarkBlock *blocks;
  guint n_blocks;
} BenchmarkMemory;

const BenchmarkMemory *benchmark_memory_get (gsize size,
                                             gsize block_size);

/* A file of @size bytes in the page cache, without a name any more, written in pieces of
 * @piece. */
int benchmark_memory_open_file (gsize    size,
                                gsize    piece,
                                GError **error);

/* ---- benchmark-contenders*.c ---- */

/**
 * BenchmarkCounts:
 * @notifications: completions read, merged ones as one
 * @copied: sends that the kernel said it had copied after all
 * @enobufs: times that the kernel answered ENOBUFS
 * @in_flight: bytes that the kernel still reads
 * @peak_in_flight: the most that was
 * @system_calls: calls that the contender counted itself, 0 if it cannot
 */
typedef struct
{
  guint64 notifications;
  guint64 copied;
  guint64 enobufs;
  guint64 in_flight;
  guint64 peak_in_flight;
  guint64 system_calls;
} BenchmarkCounts;

typedef struct _BenchmarkContender BenchmarkContender;

/**
 * BenchmarkStream:
 *
 * One connection of one contender, the head of what that keeps for it.
 */
typedef struct
{
  const BenchmarkContender *contender;
  int fd;
  BenchmarkCounts counts;
} BenchmarkStream;

/**
 * BenchmarkContender:
 * @name: for the command line and the tables
 * @summary: what it is
 * @everywhere: whether it also takes part where nothing but AUTO is to be judged
 * @open: makes a stream of a connected, blocking socket
 * @write: sends one block, all of it
 * @write_packet: sends a header that is copied, then pages; %NULL if it cannot
 * @splice: sends a whole file; %NULL if it cannot
 * @write_in_loop: sends blocks from a main loop; %NULL to use @write
 * @drain: waits until the kernel reads nothing any more
 * @close: closes and frees
 * @make_stream: makes the object whose memory is counted; %NULL if there is none
 *
 * Who can send. A new one is a line in a table.
 */
struct _BenchmarkContender
{
  const char *name;
  const char *summary;
  gboolean everywhere;

  BenchmarkStream *(*open) (const BenchmarkContender *contender, int fd, GError **error);
  gboolean (*write) (BenchmarkStream *stream, const BenchmarkBlock *block, GError **error);
  gboolean (*write_packet) (BenchmarkStream *stream, const BenchmarkBlock *header, struct iovec *pages, guint n_pages, GError **error);
  gboolean (*splice) (BenchmarkStream *stream, int file, gsize size, GError **error);
  gboolean (*write_in_loop) (BenchmarkStream *stream, const BenchmarkMemory *memory, guint n, GError **error);
  gboolean (*drain) (BenchmarkStream *stream, GError **error);
  void (*close) (BenchmarkStream *stream);
  GOutputStream *(*make_stream) (const BenchmarkContender *contender, GSocket *socket);
};

extern const BenchmarkContender benchmark_socket_contenders[];
extern const BenchmarkContender benchmark_uring_contenders[];
extern const BenchmarkContender benchmark_gio_contenders[];

/* The memory of a stream that does nothing, measured in this very process */
gboolean benchmark_measure_idle_stream (const BenchmarkContender *contender,
                                        guint                     n,
                                        GError                  **error);

/* All of them, as far as they were compiled, in the order of the tables. */
GPtrArray *benchmark_list_contenders (void);

/* ---- benchmark-connect.c ---- */

/**
 * BenchmarkPlace:
 * @BENCHMARK_PLACE_WIRE: the wire, or loopback if there is none
 * @BENCHMARK_PLACE_LOOPBACK: loopback in any case
 */
typedef enum
{
  BENCHMARK_PLACE_WIRE,
  BENCHMARK_PLACE_LOOPBACK
} BenchmarkPlace;

gboolean benchmark_have_wire (void);
const char *benchmark_place_to_string (BenchmarkPlace place);
void benchmark_pin_sender (void);
gboolean benchmark_start_loopback (GError **error);
void benchmark_stop_loopback (void);
int benchmark_connect (BenchmarkPlace   place,
                       GError         **error);
void benchmark_wait_until_sent (int fd);

/* ---- benchmark-measure.c ---- */

/**
 * BenchmarkSample:
 *
 * What one contender did in one round. CPU and time are in seconds.
 */
typedef struct
{
  guint64 bytes;
  double user;
  double system;
  double elapsed;
  guint64 switches;
  guint64 system_calls;
  guint64 memory;
  BenchmarkCounts counts;
} BenchmarkSample;

/**
 * BenchmarkSpread:
 *
 * A median, and the quartiles around it.
 */
typedef struct
{
  double median;
  double first_quartile;
  double third_quartile;
} BenchmarkSpread;

gboolean benchmark_measure_can_count_system_calls (void);
void benchmark_measure_begin (BenchmarkSample *sample,
                              gboolean         count_system_calls);
void benchmark_measure_end (BenchmarkSample *sample);
void benchmark_measure_add_stream (BenchmarkSample       *sample,
                                   const BenchmarkStream *stream);
BenchmarkSpread benchmark_measure_spread (GArray *values);

/* ---- benchmark-works.c ---- */

typedef struct _BenchmarkWork BenchmarkWork;

/**
 * BenchmarkRun:
 * @parameter: the size or number that the work goes by
 * @scale: how much longer than usual
 * @round: the same for all contenders of a round, so that they do the same
 */
typedef struct
{
  const BenchmarkWork *work;
  const BenchmarkContender *contender;
  gsize parameter;
  double scale;
  guint round;
  gboolean count_system_calls;
  BenchmarkSample sample;
} BenchmarkRun;

/**
 * BenchmarkWork:
 * @name: for the command line and the tables
 * @summary: what is done
 * @parameters: what to do it with, ending with 0
 * @parameter_unit: what the parameter counts, %NULL if it is a size
 * @counts_memory: whether memory is the result, and not CPU
 * @suits: whether a contender can take part
 * @run: does it once
 */
struct _BenchmarkWork
{
  const char *name;
  const char *summary;
  BenchmarkPlace place;
  const gsize *parameters;
  const char *parameter_unit;
  gboolean counts_memory;
  gboolean (*suits) (const BenchmarkContender *contender);
  gboolean (*run) (BenchmarkRun *run, GError **error);
};

extern const BenchmarkWork benchmark_works[];

/* ---- benchmark-instructions.c ---- */

gboolean benchmark_write_only (const BenchmarkContender *contender,
                               gsize                     size,
                               guint                     n,
                               GError                  **error);
void benchmark_print_instructions (const BenchmarkContender *contender,
                                   gsize                     size);

/* ---- benchmark-report.c ---- */

/**
 * BenchmarkResult:
 * @samples: (element-type BenchmarkSample): one for each round
 * @system_calls: the sample in which system calls were counted
 * @failure: why there is nothing, or %NULL
 *
 * What one contender did at one parameter of one work.
 */
typedef struct
{
  const BenchmarkWork *work;
  const BenchmarkContender *contender;
  gsize parameter;
  GArray *samples;
  BenchmarkSample system_calls;
  char *failure;
} BenchmarkResult;

BenchmarkResult *benchmark_result_new (const BenchmarkWork      *work,
                                       const BenchmarkContender *contender,
                                       gsize                     parameter);
void benchmark_result_free (BenchmarkResult *result);
double benchmark_result_get_value (const BenchmarkResult *result,
                                   guint                  round);
BenchmarkSpread benchmark_result_get_spread (const BenchmarkResult *result);
gboolean benchmark_result_get_ratio (const BenchmarkResult *result,
                                     const BenchmarkResult *base,
                                     BenchmarkSpread       *ratio);
char *benchmark_format_parameter (const BenchmarkWork *work,
                                  gsize                parameter);
const BenchmarkResult *benchmark_find_result (GPtrArray             *results,
                                              const BenchmarkResult *like,
                                              const char            *contender);

/* @group: (element-type BenchmarkResult): all contenders of one parameter */
void benchmark_report_table (GPtrArray *group,
                             gboolean   first);
gboolean benchmark_report_json (GPtrArray   *results,
                                const char  *command,
                                const char  *path,
                                GError     **error);
gboolean benchmark_report_plot (GPtrArray   *results,
                                const char  *path,
                                GError     **error);

G_END_DECLS
