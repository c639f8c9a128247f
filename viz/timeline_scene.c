/* From spans to what a picture shows.
 *
 * The layers of one pass become one cell; of many alike rows some are chosen; the
 * phases are read off the first row, where 1F1B's warm-up ends as the first backward
 * begins and its steady phase as the last forward ends; gaps are times without
 * computation between the begin and the end of the iteration. Communication is
 * "exposed" where its row does not compute. Timelines come from files too, so every
 * number is looked at first. */
#include "viz/timeline_scene_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More rows than this are thinned out, to that many. */
#define MOST_ROWS    32
#define THINNED_ROWS 16

bool galv_span_computes(const galv_span *span)
{
    return span->stream == GALV_STREAM_COMPUTE;
}

galv_lane galv_span_lane(const galv_span *span)
{
    switch (span->stream) {
    case GALV_STREAM_TP:
        return GALV_LANE_TP;
    case GALV_STREAM_EP:
        return GALV_LANE_EP;
    case GALV_STREAM_CP:
        return GALV_LANE_CP;
    case GALV_STREAM_DP:
        return GALV_LANE_DP;
    default:
        return GALV_LANE_PP;
    }
}

const char *galv_lane_name(galv_lane lane)
{
    static const char *const names[GALV_N_LANES] = {"tp", "ep", "cp", "dp", "pp"};
    return names[lane];
}

galv_ink galv_span_ink(const galv_span *span)
{
    switch (span->kind) {
    case GALV_OP_FORWARD:
        return GALV_INK_FORWARD;
    case GALV_OP_BACKWARD:
    case GALV_OP_BACKWARD_INPUT:
        return GALV_INK_BACKWARD;
    case GALV_OP_BACKWARD_WEIGHT:
        return GALV_INK_WEIGHT;
    case GALV_OP_RECOMPUTE:
        return GALV_INK_RECOMPUTE;
    case GALV_OP_OPTIMIZER:
        return GALV_INK_OPTIMIZER;
    default:
        break;
    }
    switch (span->stream) {
    case GALV_STREAM_TP:
        return GALV_INK_TP;
    case GALV_STREAM_CP:
        return GALV_INK_CP;
    case GALV_STREAM_EP:
        return GALV_INK_EP;
    case GALV_STREAM_DP:
        return span->kind == GALV_OP_ALL_GATHER || span->kind == GALV_OP_BROADCAST
                   ? GALV_INK_DP_GATHER
                   : GALV_INK_DP;
    case GALV_STREAM_COMPUTE:
        return GALV_INK_OPTIMIZER;
    default:
        return GALV_INK_PP;
    }
}

static galv_status check(const galv_timeline *timeline, galv_err *err)
{
    if (timeline->n_ranks < 1 || timeline->n_spans == 0) {
        return galv_fail(err, GALV_INPUT, "the timeline is empty");
    }
    for (size_t i = 0; i < timeline->n_spans; i++) {
        const galv_span *span = &timeline->spans[i];
        bool sound = isfinite(span->start_s) && isfinite(span->end_s) &&
                     span->end_s >= span->start_s && span->rank >= 0 &&
                     span->rank < timeline->n_ranks && span->stream < GALV_N_STREAMS &&
                     span->kind < GALV_N_OP_KINDS;
        if (!sound) {
            return galv_fail(err, GALV_INPUT,
                             "span %zu of the timeline is impossible (rank %d, from "
                             "%g s to %g s)",
                             i, (int)span->rank, span->start_s, span->end_s);
        }
    }
    for (size_t i = 0; i < timeline->n_samples; i++) {
        const galv_memory_sample *sample = &timeline->samples[i];
        if (!(sample->bytes >= 0.0) || !isfinite(sample->bytes) ||
            !isfinite(sample->time_s) || sample->rank < 0 ||
            sample->rank >= timeline->n_ranks) {
            return galv_fail(err, GALV_INPUT,
                             "memory sample %zu of the timeline is impossible "
                             "(rank %d, %g bytes at %g s)",
                             i, (int)sample->rank, sample->bytes, sample->time_s);
        }
    }
    return GALV_OK;
}

static galv_status index_rows(galv_scene *scene, galv_arena *arena, galv_err *err)
{
    int32_t n_ranks = scene->timeline->n_ranks;
    scene->row_begin = GALV_NEW_ARRAY(arena, size_t, (size_t)n_ranks + 1);
    scene->lane_begin = GALV_NEW_ARRAY(arena, size_t, n_ranks);
    scene->shown = GALV_NEW_ARRAY(arena, int32_t, n_ranks);
    if (scene->row_begin == NULL || scene->lane_begin == NULL || scene->shown == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    size_t cell = 0;
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        scene->row_begin[rank] = cell;
        while (cell < scene->n_cells && scene->cells[cell].rank == rank &&
               galv_span_computes(&scene->cells[cell])) {
            cell++;
        }
        scene->lane_begin[rank] = cell;
        while (cell < scene->n_cells && scene->cells[cell].rank == rank) {
            cell++;
        }
    }
    scene->row_begin[n_ranks] = cell;
    return GALV_OK;
}

static void find_peak(galv_scene *scene)
{
    scene->worst_rank = -1;
    const galv_timeline *timeline = scene->timeline;
    double fullest = 0; /* of its limit, where ranks differ in it */
    for (size_t i = 0; i < timeline->n_samples; i++) {
        double limit = timeline->rank_limit_bytes != NULL
                           ? galv_timeline_limit(timeline, timeline->samples[i].rank)
                           : 1;
        double full = limit > 0 ? timeline->samples[i].bytes / limit : 0;
        if (full > fullest || scene->worst_rank < 0) {
            fullest = full;
            scene->worst_rank = timeline->samples[i].rank;
            scene->peak_bytes = timeline->samples[i].bytes;
            scene->peak_time_s = timeline->samples[i].time_s;
        }
    }
}

static double busy_s(const galv_scene *scene, int32_t rank)
{
    double busy = 0.0;
    for (size_t i = scene->row_begin[rank]; i < scene->lane_begin[rank]; i++) {
        busy += scene->cells[i].end_s - scene->cells[i].start_s;
    }
    return busy;
}

static void choose_rows(galv_scene *scene, bool all_rows)
{
    int32_t n_ranks = scene->timeline->n_ranks;
    if (all_rows || n_ranks <= MOST_ROWS) {
        for (int32_t rank = 0; rank < n_ranks; rank++) {
            scene->shown[rank] = rank;
        }
        scene->n_shown = n_ranks;
        return;
    }
    int32_t slowest = 0;
    for (int32_t rank = 1; rank < n_ranks; rank++) {
        if (busy_s(scene, rank) > busy_s(scene, slowest) * (1.0 + 1e-9)) {
            slowest = rank;
        }
    }
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        int64_t nearest =
            ((int64_t)rank * (THINNED_ROWS - 1) + (n_ranks - 1) / 2) / (n_ranks - 1);
        bool evenly =
            (nearest * (n_ranks - 1) + (THINNED_ROWS - 1) / 2) / (THINNED_ROWS - 1) ==
            rank;
        if (evenly || rank == slowest || rank == scene->worst_rank) {
            scene->shown[scene->n_shown++] = rank;
        }
    }
}

static int compare_f64(const void *a, const void *b)
{
    double one = *(const double *)a;
    double other = *(const double *)b;
    return (one > other) - (one < other);
}

/* Medians of the micro-batches' cells, and the time that one micro-batch takes. */
static galv_status measure_cells(galv_scene *scene, galv_arena *arena, galv_err *err)
{
    double *lengths = GALV_NEW_ARRAY(arena, double, scene->n_cells + 1);
    if (lengths == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    size_t n_lengths = 0;
    double total = 0.0;
    size_t n_forwards = 0;
    for (size_t i = 0; i < scene->n_cells; i++) {
        const galv_span *cell = &scene->cells[i];
        bool counts = galv_span_computes(cell) && cell->kind != GALV_OP_OPTIMIZER &&
                      cell->micro_batch >= 0 && cell->end_s > cell->start_s;
        if (counts) {
            lengths[n_lengths++] = cell->end_s - cell->start_s;
            total += cell->end_s - cell->start_s;
            n_forwards += cell->kind == GALV_OP_FORWARD;
            scene->compute_end_s = fmax(scene->compute_end_s, cell->end_s);
        }
    }
    if (n_lengths == 0) {
        scene->median_s = scene->duration_s;
        scene->forward_s = scene->duration_s;
        scene->period_s = scene->duration_s;
        scene->compute_end_s = scene->duration_s;
        return GALV_OK;
    }
    qsort(lengths, n_lengths, sizeof *lengths, compare_f64);
    scene->median_s = lengths[n_lengths / 2];
    scene->forward_s = scene->median_s;
    n_lengths = 0;
    for (size_t i = 0; i < scene->n_cells; i++) {
        if (scene->cells[i].kind == GALV_OP_FORWARD) {
            lengths[n_lengths++] = scene->cells[i].end_s - scene->cells[i].start_s;
        }
    }
    if (n_lengths > 0) {
        qsort(lengths, n_lengths, sizeof *lengths, compare_f64);
        scene->forward_s = lengths[n_lengths / 2];
    }
    scene->period_s = total / (double)(n_forwards > 0 ? n_forwards : n_lengths);
    return GALV_OK;
}

static void find_phases(galv_scene *scene)
{
    scene->steady_start_s = -1.0;
    scene->steady_end_s = 0.0;
    for (size_t i = scene->row_begin[0]; i < scene->lane_begin[0]; i++) {
        const galv_span *cell = &scene->cells[i];
        galv_ink ink = galv_span_ink(cell);
        if (ink == GALV_INK_FORWARD) {
            scene->steady_end_s = fmax(scene->steady_end_s, cell->end_s);
        } else if (ink == GALV_INK_BACKWARD || ink == GALV_INK_RECOMPUTE) {
            if (scene->steady_start_s < 0.0) {
                scene->steady_start_s = cell->start_s;
            }
        }
    }
}

static void add_gap(galv_scene *scene, int32_t rank, double start_s, double end_s)
{
    galv_gap gap = {rank, start_s, end_s};
    if (end_s - start_s < 0.03 * scene->duration_s) {
        return;
    }
    int place = scene->n_gaps;
    while (place > 0 && scene->gaps[place - 1].end_s - scene->gaps[place - 1].start_s <
                            (end_s - start_s) * (1.0 - 1e-9)) {
        place--;
    }
    for (int i = scene->n_gaps < 3 ? scene->n_gaps : 2; i > place; i--) {
        scene->gaps[i] = scene->gaps[i - 1];
    }
    if (place < 3) {
        scene->gaps[place] = gap;
        scene->n_gaps += scene->n_gaps < 3;
    }
}

static void find_gaps(galv_scene *scene)
{
    for (int32_t i = 0; i < scene->n_shown; i++) {
        int32_t rank = scene->shown[i];
        double at = 0.0;
        for (size_t c = scene->row_begin[rank]; c < scene->lane_begin[rank]; c++) {
            add_gap(scene, rank, at, scene->cells[c].start_s);
            at = fmax(at, scene->cells[c].end_s);
        }
        add_gap(scene, rank, at, scene->duration_s);
    }
}

bool galv_scene_next_exposed(const galv_scene *scene, const galv_span *message,
                             size_t *cover, double *at_s, double *start_s,
                             double *end_s)
{
    size_t begin = scene->row_begin[message->rank];
    size_t end = scene->lane_begin[message->rank];
    size_t cell = *cover < begin ? begin : *cover;
    while (cell < end && *at_s < message->end_s &&
           scene->cells[cell].start_s <= *at_s) {
        *at_s = fmax(*at_s, scene->cells[cell].end_s);
        cell++;
    }
    /* the next message may begin before this one's last cover ends */
    *cover = cell > begin ? cell - 1 : cell;
    if (*at_s >= message->end_s) {
        return false;
    }
    *start_s = *at_s;
    *end_s =
        cell < end ? fmin(scene->cells[cell].start_s, message->end_s) : message->end_s;
    *at_s = *end_s;
    return true;
}

void galv_scene_find_inks(galv_scene *scene, double start_s, double end_s,
                          double least_s)
{
    for (int32_t row = 0; row < scene->n_shown; row++) {
        int32_t rank = scene->shown[row];
        size_t cover = 0;
        for (size_t i = scene->row_begin[rank]; i < scene->row_begin[rank + 1]; i++) {
            const galv_span *span = &scene->cells[i];
            if (span->end_s <= start_s || span->start_s >= end_s) {
                continue;
            }
            galv_ink ink = galv_span_ink(span);
            scene->whole_backward =
                scene->whole_backward || span->kind == GALV_OP_BACKWARD;
            if (galv_span_computes(span)) {
                scene->ink_used[ink] = true;
                continue;
            }
            scene->lane_ink_used[ink] = true;
            double at = fmax(span->start_s, start_s);
            double from = 0.0;
            double to = 0.0;
            cover = i > 0 && span[-1].stream == span->stream ? cover : 0;
            while (!scene->ink_used[ink] && at < end_s &&
                   galv_scene_next_exposed(scene, span, &cover, &at, &from, &to)) {
                scene->ink_used[ink] = fmin(to, end_s) - from >= least_s;
            }
        }
    }
}

static void find_lanes(galv_scene *scene)
{
    for (size_t i = 0; i < scene->n_cells; i++) {
        if (!galv_span_computes(&scene->cells[i])) {
            scene->lane_used[galv_span_lane(&scene->cells[i])] = true;
        }
    }
}

galv_status galv_scene_make(galv_scene *scene, const galv_timeline *timeline,
                            bool all_rows, galv_arena *arena, galv_err *err)
{
    memset(scene, 0, sizeof *scene);
    galv_status status = check(timeline, err);
    if (status != GALV_OK) {
        return status;
    }
    scene->timeline = timeline;
    galv_timeline copy = *timeline;
    copy.spans = GALV_NEW_ARRAY(arena, galv_span, timeline->n_spans);
    copy.samples = GALV_NEW_ARRAY(arena, galv_memory_sample, timeline->n_samples);
    if (copy.spans == NULL || copy.samples == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    memcpy(copy.spans, timeline->spans, timeline->n_spans * sizeof *copy.spans);
    if (timeline->n_samples > 0) {
        memcpy(copy.samples, timeline->samples,
               timeline->n_samples * sizeof *copy.samples);
    }
    galv_timeline_join_cells(&copy);
    scene->samples = copy.samples;
    scene->n_samples = copy.n_samples;
    scene->cells = copy.spans;
    scene->n_cells = copy.n_spans;
    scene->duration_s = isfinite(timeline->duration_s) ? timeline->duration_s : 0.0;
    scene->rows_are_stages = true;
    for (size_t i = 0; i < scene->n_cells; i++) {
        scene->duration_s = fmax(scene->duration_s, scene->cells[i].end_s);
        if (scene->cells[i].stage >= scene->n_stages &&
            scene->cells[i].stage < INT32_MAX) {
            scene->n_stages = scene->cells[i].stage + 1;
        }
        scene->rows_are_stages =
            scene->rows_are_stages && scene->cells[i].rank == scene->cells[i].stage;
    }
    if (!(scene->duration_s > 0.0)) {
        return galv_fail(err, GALV_INPUT, "the timeline takes no time");
    }
    status = index_rows(scene, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    status = measure_cells(scene, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    find_peak(scene);
    choose_rows(scene, all_rows);
    find_phases(scene);
    find_gaps(scene);
    find_lanes(scene);
    return GALV_OK;
}

void galv_scene_row_label(const galv_scene *scene, int32_t rank, char *buffer,
                          size_t size)
{
    snprintf(buffer, size, "%s %d", scene->rows_are_stages ? "stage" : "rank",
             (int)rank);
}

void galv_scene_layers_label(const galv_scene *scene, int32_t rank, char *buffer,
                             size_t size)
{
    const galv_timeline *timeline = scene->timeline;
    buffer[0] = '\0';
    if (timeline->first_layer == NULL || timeline->last_layer == NULL ||
        timeline->first_layer[rank] < 0 || timeline->n_chunks > 1) {
        return;
    }
    int first = timeline->first_layer[rank];
    int last = timeline->last_layer[rank];
    if (last > first) {
        snprintf(buffer, size, "L%d\xE2\x80\x93%d", first, last);
    } else {
        snprintf(buffer, size, "L%d", first);
    }
}

void galv_cell_label(const galv_span *cell, bool with_chunk, char *buffer, size_t size)
{
    buffer[0] = '\0';
    if (cell->micro_batch < 0) {
        return;
    }
    if (with_chunk) {
        snprintf(buffer, size, "%d.%d", (int)cell->micro_batch, (int)cell->chunk);
    } else {
        snprintf(buffer, size, "%d", (int)cell->micro_batch);
    }
}
