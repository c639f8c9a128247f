/* Order and cells of a timeline.
 *
 * Sorting is a merge sort on whole elements: stable, no worse than n log n on any
 * input, and close to linear on the nearly sorted spans that the simulator hands over
 * (two runs in order are not merged). Where memory for the half-size buffer is not to
 * be had it falls back to insertion, which is slow but cannot fail, so that sorting has
 * no error to report.
 *
 * Cells: a picture wants "backward of micro-batch 3", the timeline has its layers one
 * by one. Spans that follow one another on a compute stream and serve the same pass of
 * the same micro-batch and chunk become one, with whatever waited in between inside.
 * Forward is one pass. Backward for inputs, for weights, of both, and recomputation are
 * one pass too: done one after another for the whole chunk they remain cells of their
 * own; done in turns, layer by layer, they become one cell, since no picture could show
 * the turns. Nothing else is lost: bytes add up, layers are united, times cover all. */
#include "traces/timeline.h"
#include "traces/timeline_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef int compare_function(const void *a, const void *b);

static int sign(double a, double b)
{
    return (a > b) - (a < b);
}

static int compare_spans(const void *a, const void *b)
{
    const galv_span *x = a;
    const galv_span *y = b;
    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    if (x->stream != y->stream) {
        return x->stream < y->stream ? -1 : 1;
    }
    int by_start = sign(x->start_s, y->start_s);
    return by_start != 0 ? by_start : sign(x->end_s, y->end_s);
}

static int compare_samples(const void *a, const void *b)
{
    const galv_memory_sample *x = a;
    const galv_memory_sample *y = b;
    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    return sign(x->time_s, y->time_s);
}

/* Largest element sorted here, for the one that insertion holds aside. */
#define MAX_ELEMENT_BYTES 96

static void insertion_sort(char *items, size_t n, size_t size,
                           compare_function *compare)
{
    char held[MAX_ELEMENT_BYTES];
    for (size_t i = 1; i < n; i++) {
        size_t place = i;
        while (place > 0 && compare(items + (place - 1) * size, items + i * size) > 0) {
            place--;
        }
        if (place < i) {
            memcpy(held, items + i * size, size);
            memmove(items + (place + 1) * size, items + place * size,
                    (i - place) * size);
            memcpy(items + place * size, held, size);
        }
    }
}

/* `buffer` holds at least n / 2 elements. Depth of the recursion: log2 n. */
static void merge_sort(char *items, size_t n, size_t size, compare_function *compare,
                       char *buffer)
{
    if (n <= 8) {
        insertion_sort(items, n, size, compare);
        return;
    }
    size_t n_left = n / 2;
    char *right = items + n_left * size;
    merge_sort(items, n_left, size, compare, buffer);
    merge_sort(right, n - n_left, size, compare, buffer);
    if (compare(right - size, right) <= 0) {
        return;
    }
    memcpy(buffer, items, n_left * size);
    const char *left = buffer;
    const char *left_end = buffer + n_left * size;
    const char *right_end = items + n * size;
    char *out = items;
    while (left < left_end && right < right_end) {
        if (compare(left, right) <= 0) {
            memcpy(out, left, size);
            left += size;
        } else {
            memcpy(out, right, size);
            right += size;
        }
        out += size;
    }
    memcpy(out, left,
           (size_t)(left_end - left)); /* the rest of the right is in place */
}

static void sort(void *items, size_t n, size_t size, compare_function *compare)
{
    assert(size <= MAX_ELEMENT_BYTES);
    if (n < 2) {
        return;
    }
    char *buffer = malloc((n / 2) * size);
    if (buffer == NULL) {
        insertion_sort(items, n, size, compare);
        return;
    }
    merge_sort(items, n, size, compare, buffer);
    free(buffer);
}

void galv_timeline_sort(galv_timeline *timeline)
{
    sort(timeline->spans, timeline->n_spans, sizeof *timeline->spans, compare_spans);
    sort(timeline->samples, timeline->n_samples, sizeof *timeline->samples,
         compare_samples);
}

double galv_timeline_limit(const galv_timeline *timeline, int32_t rank)
{
    return timeline->rank_limit_bytes != NULL ? timeline->rank_limit_bytes[rank]
                                              : timeline->memory_limit_bytes;
}

static bool is_sound(const galv_span *s, int32_t n_ranks)
{
    return s->rank >= 0 && s->rank < n_ranks && s->stream < GALV_N_STREAMS &&
           s->kind < GALV_N_OP_KINDS && s->part < GALV_N_PARTS &&
           s->pass < GALV_N_OP_KINDS && s->stage >= 0 &&
           s->stage < GALV_TIMELINE_MAX_RANKS && s->chunk >= 0 &&
           s->chunk <= GALV_TIMELINE_MAX_LAYERS && s->micro_batch >= -1 &&
           s->first_layer >= -1 && s->first_layer <= GALV_TIMELINE_MAX_LAYERS &&
           s->n_layers >= 0 && s->n_layers <= GALV_TIMELINE_MAX_LAYERS &&
           s->start_s >= 0 && s->end_s >= s->start_s &&
           s->end_s <= GALV_TIMELINE_MAX_S && s->bytes >= 0 &&
           s->bytes <= GALV_TIMELINE_MAX_BYTES;
}

galv_status galv_timeline_check(const galv_timeline *t, galv_err *err)
{
    if (t->n_ranks < 0 || t->n_ranks > GALV_TIMELINE_MAX_RANKS || t->n_chunks < 0 ||
        !(t->duration_s >= 0 && t->duration_s <= GALV_TIMELINE_MAX_S) ||
        !(t->memory_limit_bytes >= 0 &&
          t->memory_limit_bytes <= GALV_TIMELINE_MAX_BYTES)) {
        return galv_fail(err, GALV_INTERNAL,
                         "a timeline of %d ranks and %g s cannot be", (int)t->n_ranks,
                         t->duration_s);
    }
    for (size_t i = 0; i < t->n_spans; i++) {
        const galv_span *s = &t->spans[i];
        if (!is_sound(s, t->n_ranks)) {
            return galv_fail(err, GALV_INTERNAL,
                             "span %zu (rank %d of %d, %g s to %g s) cannot be", i,
                             (int)s->rank, (int)t->n_ranks, s->start_s, s->end_s);
        }
    }
    for (size_t i = 0; i < t->n_samples; i++) {
        const galv_memory_sample *s = &t->samples[i];
        if (!(s->rank >= 0 && s->rank < t->n_ranks && s->time_s >= 0 &&
              s->time_s <= GALV_TIMELINE_MAX_S && s->bytes >= 0 &&
              s->bytes <= GALV_TIMELINE_MAX_BYTES)) {
            return galv_fail(err, GALV_INTERNAL,
                             "memory sample %zu (rank %d of %d, %g s) cannot be", i,
                             (int)s->rank, (int)t->n_ranks, s->time_s);
        }
    }
    return GALV_OK;
}

/* Kinds that belong to one pass of a micro-batch share a number. */
static int pass_group(const galv_span *span)
{
    switch (span->kind) {
    case GALV_OP_BACKWARD:
    case GALV_OP_BACKWARD_INPUT:
    case GALV_OP_BACKWARD_WEIGHT:
    case GALV_OP_RECOMPUTE:
        return GALV_OP_BACKWARD;
    default:
        return span->kind;
    }
}

static bool same_cell(const galv_span *a, const galv_span *b)
{
    return a->rank == b->rank && a->stream == GALV_STREAM_COMPUTE &&
           b->stream == GALV_STREAM_COMPUTE && a->stage == b->stage &&
           a->chunk == b->chunk && a->micro_batch == b->micro_batch &&
           pass_group(a) == pass_group(b);
}

/* Does a kind come back after another one in between? */
static bool takes_turns(const galv_span *spans, size_t n)
{
    bool seen[GALV_N_OP_KINDS] = {false};
    for (size_t i = 0; i < n; i++) {
        bool begins = i == 0 || spans[i].kind != spans[i - 1].kind;
        if (begins && seen[spans[i].kind]) {
            return true;
        }
        seen[spans[i].kind] = true;
    }
    return false;
}

/* What a cell of mixed kinds is called: backward, unless weights or inputs alone. */
static uint8_t mixed_kind(const galv_span *spans, size_t n)
{
    bool seen[GALV_N_OP_KINDS] = {false};
    for (size_t i = 0; i < n; i++) {
        seen[spans[i].kind] = true;
    }
    if (!seen[GALV_OP_BACKWARD] &&
        seen[GALV_OP_BACKWARD_INPUT] != seen[GALV_OP_BACKWARD_WEIGHT]) {
        return seen[GALV_OP_BACKWARD_INPUT] ? GALV_OP_BACKWARD_INPUT
                                            : GALV_OP_BACKWARD_WEIGHT;
    }
    return GALV_OP_BACKWARD;
}

static galv_span joined(const galv_span *spans, size_t n)
{
    galv_span cell = spans[0];
    bool mixed = false;
    for (size_t i = 1; i < n; i++) {
        const galv_span *span = &spans[i];
        mixed = mixed || span->kind != spans[0].kind;
        if (span->part != cell.part) {
            cell.part = GALV_PART_WHOLE;
        }
        if (cell.first_layer < 0 || span->first_layer < 0) {
            cell.first_layer = -1;
            cell.n_layers = 0;
        } else {
            int64_t first = cell.first_layer < span->first_layer ? cell.first_layer
                                                                 : span->first_layer;
            int64_t end = (int64_t)cell.first_layer + cell.n_layers;
            int64_t span_end = (int64_t)span->first_layer + span->n_layers;
            end = end > span_end ? end : span_end;
            cell.first_layer = (int32_t)first;
            cell.n_layers = (int32_t)(end - first);
        }
        cell.end_s = cell.end_s > span->end_s ? cell.end_s : span->end_s;
        cell.bytes += span->bytes;
    }
    if (mixed) {
        cell.kind = mixed_kind(spans, n);
        cell.pass = cell.kind;
    }
    return cell;
}

void galv_timeline_join_cells(galv_timeline *timeline)
{
    galv_timeline_sort(timeline);
    galv_span *spans = timeline->spans;
    size_t n_out = 0;
    for (size_t begin = 0, end = 0; begin < timeline->n_spans; begin = end) {
        for (end = begin + 1;
             end < timeline->n_spans && same_cell(&spans[begin], &spans[end]); end++) {
        }
        bool as_one = takes_turns(&spans[begin], end - begin);
        for (size_t from = begin, to = from; from < end; from = to) {
            for (to = from + 1;
                 to < end && (as_one || spans[to].kind == spans[from].kind); to++) {
            }
            /* n_out <= from: what is overwritten has been read already */
            spans[n_out] = joined(&spans[from], to - from);
            n_out++;
        }
    }
    timeline->n_spans = n_out;
}
