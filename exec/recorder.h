/* The recorder: when what happened on this rank, for the measured timeline.
 *
 * A span is between two events of one stream. A computation that waits for a collective
 * in its middle is recorded in pieces, one span each, so that the spans of the compute
 * stream hold no waiting: together they are the operation. */
#ifndef GALV_EXEC_RECORDER_H
#define GALV_EXEC_RECORDER_H

#include "exec/backend.h"
#include "traces/timeline.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct galv_recorded_span {
    galv_operation operation;
    int32_t micro_batch;
    double bytes;
    galv_event start, end;
} galv_recorded_span;

typedef struct galv_recorded_memory {
    galv_event when;
    double bytes;
} galv_recorded_memory;

typedef struct galv_recorder {
    galv_backend *backend;
    size_t n_spans, span_capacity;
    galv_recorded_span *spans;
    size_t n_samples, sample_capacity;
    galv_recorded_memory *samples;
    bool failed; /* no memory: spans are missing */
} galv_recorder;

void galv_recorder_init(galv_recorder *recorder, galv_backend *backend);
void galv_recorder_release(galv_recorder *recorder);
/* Forgets what was recorded; the backend's events, too. */
void galv_recorder_reset(galv_recorder *recorder);

void galv_recorder_add(galv_recorder *recorder, const galv_operation *operation,
                       int32_t micro_batch, double bytes, galv_event start,
                       galv_event end);
/* Bytes allocated now, at an event. */
void galv_recorder_sample(galv_recorder *recorder, galv_event when);

/* Spans and samples with times, after the backend was synchronized: spans[n_spans] and
 * samples[n_samples] of the caller, times less `origin_s`. */
void galv_recorder_resolve(const galv_recorder *recorder, galv_span *spans,
                           galv_memory_sample *samples, int32_t rank, double origin_s);
/* Leaves out, of the spans that resolve made, pieces of a computation that did nothing
 * before it waited (shorter than GALV_EMPTY_PIECE_S, more of it to come), so that an
 * operation begins when its work does. Returns how many are left. */
#define GALV_EMPTY_PIECE_S 1.5e-6
size_t galv_recorder_drop_empty(const galv_recorder *recorder, galv_span *spans);

#endif
