/* Spans as pairs of events, given times once all streams are done. */
#include "exec/recorder.h"

#include <stdlib.h>
#include <string.h>

void galv_recorder_init(galv_recorder *recorder, galv_backend *backend)
{
    memset(recorder, 0, sizeof *recorder);
    recorder->backend = backend;
}

void galv_recorder_release(galv_recorder *recorder)
{
    free(recorder->spans);
    free(recorder->samples);
    memset(recorder, 0, sizeof *recorder);
}

void galv_recorder_reset(galv_recorder *recorder)
{
    recorder->n_spans = 0;
    recorder->n_samples = 0;
    recorder->backend->reset_events(recorder->backend);
}

/* Room for one more of `size` bytes; false when memory is out. */
static bool grow(void **array, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity) {
        return true;
    }
    size_t larger = *capacity == 0 ? 256 : *capacity * 2;
    void *grown = realloc(*array, larger * size);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *capacity = larger;
    return true;
}

void galv_recorder_add(galv_recorder *recorder, const galv_operation *operation,
                       int32_t micro_batch, double bytes, galv_event start,
                       galv_event end)
{
    void *spans = recorder->spans;
    if (!grow(&spans, recorder->n_spans, &recorder->span_capacity,
              sizeof *recorder->spans)) {
        recorder->failed = true;
        return;
    }
    recorder->spans = spans;
    galv_recorded_span *span = &recorder->spans[recorder->n_spans++];
    span->operation = *operation;
    span->micro_batch = micro_batch;
    span->bytes = bytes;
    span->start = start;
    span->end = end;
}

void galv_recorder_sample(galv_recorder *recorder, galv_event when)
{
    void *samples = recorder->samples;
    if (!grow(&samples, recorder->n_samples, &recorder->sample_capacity,
              sizeof *recorder->samples)) {
        recorder->failed = true;
        return;
    }
    recorder->samples = samples;
    galv_recorded_memory *sample = &recorder->samples[recorder->n_samples++];
    sample->when = when;
    sample->bytes = (double)recorder->backend->allocated_bytes(recorder->backend);
}

/* Is there more of a computation in what was recorded next on its stream? */
static bool goes_on(const galv_recorder *recorder, size_t i)
{
    const galv_recorded_span *piece = &recorder->spans[i];
    for (size_t k = i + 1; k < recorder->n_spans; k++) {
        const galv_recorded_span *next = &recorder->spans[k];
        if (next->operation.stream == GALV_STREAM_COMPUTE) {
            return next->micro_batch == piece->micro_batch &&
                   memcmp(&next->operation, &piece->operation,
                          sizeof piece->operation) == 0;
        }
    }
    return false;
}

void galv_recorder_resolve(const galv_recorder *recorder, galv_span *spans,
                           galv_memory_sample *samples, int32_t rank, double origin_s)
{
    galv_backend *b = recorder->backend;
    double beside = (double)b->beside_bytes(b);
    for (size_t i = 0; i < recorder->n_spans; i++) {
        const galv_recorded_span *from = &recorder->spans[i];
        galv_span *to = &spans[i];
        memset(to, 0, sizeof *to);
        to->rank = rank;
        to->stream = from->operation.stream;
        to->kind = from->operation.kind;
        to->part = from->operation.part;
        to->pass = from->operation.pass;
        to->stage = from->operation.stage;
        to->chunk = from->operation.chunk;
        to->micro_batch = from->micro_batch;
        to->first_layer = from->operation.first_layer;
        to->n_layers = from->operation.n_layers;
        to->bytes = from->bytes;
        to->start_s = b->event_time_s(b, from->start) - origin_s;
        to->end_s = b->event_time_s(b, from->end) - origin_s;
    }
    for (size_t i = 0; i < recorder->n_samples; i++) {
        samples[i].rank = rank;
        samples[i].time_s = b->event_time_s(b, recorder->samples[i].when) - origin_s;
        samples[i].bytes = recorder->samples[i].bytes + beside;
    }
}

size_t galv_recorder_drop_empty(const galv_recorder *recorder, galv_span *spans)
{
    size_t n = 0;
    for (size_t i = 0; i < recorder->n_spans; i++) {
        bool empty = spans[i].stream == GALV_STREAM_COMPUTE &&
                     spans[i].end_s - spans[i].start_s < GALV_EMPTY_PIECE_S;
        if (!empty || !goes_on(recorder, i)) {
            spans[n++] = spans[i];
        }
    }
    return n;
}
