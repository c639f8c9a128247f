/* The timeline: what happened when, whoever made it, the simulator or real GPUs.
 *
 * Spans are sorted by (rank, stream, start). Times count from the begin of the
 * iteration. Whatever draws, compares or exports a timeline needs nothing else. */
#ifndef GALV_TRACES_TIMELINE_H
#define GALV_TRACES_TIMELINE_H

#include "base/arena.h"
#include "base/csv.h"
#include "base/status.h"
#include "plan/operation.h"

#include <stddef.h>
#include <stdint.h>

typedef struct galv_span {
    int32_t rank;   /* row: a rank, or the pipeline stage that stands for ranks */
    uint8_t stream; /* galv_stream */
    uint8_t kind;   /* galv_op_kind */
    uint8_t part;   /* galv_part */
    uint8_t pass;   /* galv_op_kind that a collective serves */
    int32_t stage;
    int32_t chunk;
    int32_t micro_batch; /* -1: not of one micro-batch (optimizer, gradients) */
    int32_t first_layer; /* -1: unknown */
    int32_t n_layers;
    double start_s;
    double end_s;
    double bytes; /* of a message; 0 for computation */
} galv_span;

/* Bytes in use on a rank from `time_s` on, until the next sample of that rank. */
typedef struct galv_memory_sample {
    int32_t rank;
    double time_s;
    double bytes;
} galv_memory_sample;

typedef struct galv_timeline {
    char title[160];    /* plan in one line */
    char subtitle[200]; /* verdict: time, MFU, peak... without the origin */
    bool measured;      /* false: simulated */
    int32_t n_ranks;
    int32_t n_chunks;          /* chunks per stage (vpp) */
    int32_t *first_layer;      /* [n_ranks] first block of a row's first chunk,
                                  -1 unknown; NULL allowed */
    int32_t *last_layer;       /* [n_ranks] */
    double duration_s;         /* of the iteration */
    double memory_limit_bytes; /* 0 = unknown; of the fullest rank, where they differ */
    double *rank_limit_bytes;  /* [n_ranks] NULL: all have that one */
    size_t n_spans;
    galv_span *spans;
    size_t n_samples;
    galv_memory_sample *samples; /* sorted by (rank, time) */
} galv_timeline;                 /* arrays are owned by the arena they were made in */

/* What a rank may use of memory; 0 = unknown. */
double galv_timeline_limit(const galv_timeline *timeline, int32_t rank);

/* Sorts spans by (rank, stream, start, end) and samples by (rank, time); stable. */
void galv_timeline_sort(galv_timeline *timeline);

/* Joins spans of one rank, micro-batch, chunk and kind that follow one another on the
 * compute stream, so that the layers of one forward become one cell of a picture.
 * Recomputation, backward for inputs and backward for weights that take turns layer by
 * layer become one backward cell; done one after another they stay apart. Spans of
 * other streams are kept; waits in between (for collectives) count as inside. In place;
 * the result is sorted. */
void galv_timeline_join_cells(galv_timeline *timeline);

/* CSV: rank, stream, kind, part, pass, stage, chunk, micro_batch, first_layer,
 * n_layers, start_s, end_s, bytes; memory samples as rows of kind "memory" with start_s
 * and bytes; the layers of a rank as rows of kind "rank"; the rest as one row of kind
 * "iteration" (rank = n_ranks, chunk = n_chunks, end_s = duration, stream = simulated
 * or measured, bytes = memory limit, part = title, pass = subtitle). Exact: reads back
 * to the same timeline, sorted. Columns in any order, unknown ones ignored; rank,
 * stream, kind, start_s and end_s suffice for a span. Without an iteration row the
 * timeline counts as measured and lasts until its last end. Errors: GALV_INPUT with
 * file, line, column. */
galv_status galv_timeline_read_csv(galv_timeline *timeline, const char *path,
                                   galv_arena *arena, galv_err *err);
/* The same from a table that is read already. */
galv_status galv_timeline_read_table(galv_timeline *timeline, const galv_csv *table,
                                     galv_arena *arena, galv_err *err);
galv_status galv_timeline_write_csv(const galv_timeline *timeline, const char *path,
                                    galv_err *err);

/* Chrome / Perfetto trace JSON: pid = rank, tid = stream, complete events with
 * microseconds (to the nanosecond), a memory counter per rank, flows from send to
 * receive where both are in the timeline. Events of one (pid, tid) never overlap: spans
 * of one stream that do are given further tids, GALV_N_STREAMS apart. */
galv_status galv_timeline_write_chrome(const galv_timeline *timeline, const char *path,
                                       galv_err *err);

#endif
