/* Where two timelines of one plan part.
 *
 * Each rank's time is swept once. Between two neighbouring ends or begins of spans
 * nothing changes, so that stretch belongs to one part: computation where the compute
 * stream is busy, else the first communication under way, else idle. A stage's time is
 * the mean over its ranks; where ranks of a stage differ (measured ones always do a
 * little) that mean is what the folded prediction stands for.
 *
 * Causes are ranked by the mean over stages, because the parts of a mean still add up:
 * what the slowest stage alone does would be explained twice, by its own computation
 * and by the idling of the others. The stage named with a cause is where it shows most.
 *
 * Left out: operations are not paired one by one, since the measured order of
 * operations on different streams may differ; kinds and stages are. */
#include "accuracy/timeline_pair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums of many spans differ by rounding; below this share of the iteration nothing is
 * said to differ. */
#define ROUNDING_FRAC 1e-9

static const char *const exposed_names[GALV_N_STREAMS] = {
    [GALV_STREAM_COMPUTE] = "other computation",
    [GALV_STREAM_TP] = "exposed tp communication",
    [GALV_STREAM_CP] = "exposed cp communication",
    [GALV_STREAM_EP] = "exposed ep communication",
    [GALV_STREAM_DP] = "exposed dp communication",
    [GALV_STREAM_PP_SEND] = "exposed pp sends",
    [GALV_STREAM_PP_RECV] = "exposed pp receives",
};

const char *galv_time_part_name(int part)
{
    if (part >= 0 && part < GALV_N_OP_KINDS) {
        return galv_op_kind_names[part];
    }
    if (part >= GALV_PART_EXPOSED && part < GALV_PART_IDLE) {
        return exposed_names[part - GALV_PART_EXPOSED];
    }
    return part == GALV_PART_IDLE ? "idle" : "?";
}

/* A span begins or ends. */
typedef struct edge {
    double time_s;
    int step; /* +1 or -1 */
    uint8_t stream, kind;
} edge;

static int compare_edges(const void *left, const void *right)
{
    const edge *a = left, *b = right;
    if (a->time_s != b->time_s) {
        return a->time_s < b->time_s ? -1 : 1;
    }
    return a->step - b->step;
}

typedef struct under_way {
    int computing[GALV_N_OP_KINDS];
    int communicating[GALV_N_STREAMS];
} under_way;

static int part_of(const under_way *now)
{
    for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
        if (now->computing[kind] > 0) {
            return kind;
        }
    }
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        if (now->communicating[stream] > 0) {
            return GALV_PART_EXPOSED + stream;
        }
    }
    return GALV_PART_IDLE;
}

/* Adds one rank's time to its stage. Spans outside of [0, duration] are cut there. */
static void sweep_rank(galv_stage_share *stage, edge *edges, const galv_span *spans,
                       size_t n_spans, double duration_s)
{
    size_t n = 0;
    for (size_t i = 0; i < n_spans; i++) {
        const galv_span *span = &spans[i];
        double start_s = fmin(fmax(span->start_s, 0), duration_s);
        double end_s = fmin(fmax(span->end_s, start_s), duration_s);
        if (span->stream >= GALV_N_STREAMS || span->kind >= GALV_N_OP_KINDS) {
            continue;
        }
        stage->busy_s[span->stream][span->kind] += end_s - start_s;
        edges[n++] = (edge){start_s, 1, span->stream, span->kind};
        edges[n++] = (edge){end_s, -1, span->stream, span->kind};
    }
    qsort(edges, n, sizeof edges[0], compare_edges);
    under_way now = {{0}, {0}};
    double since_s = 0;
    for (size_t i = 0; i < n; i++) {
        stage->part_s[part_of(&now)] += edges[i].time_s - since_s;
        since_s = edges[i].time_s;
        if (edges[i].stream == GALV_STREAM_COMPUTE) {
            now.computing[edges[i].kind] += edges[i].step;
        } else {
            now.communicating[edges[i].stream] += edges[i].step;
        }
    }
    stage->part_s[GALV_PART_IDLE] += duration_s - since_s;
    stage->n_ranks++;
}

static void divide(galv_stage_share *stage, double by)
{
    for (int part = 0; part < GALV_N_TIME_PARTS; part++) {
        stage->part_s[part] /= by;
    }
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
            stage->busy_s[stream][kind] /= by;
        }
    }
}

/* Of one timeline: the stage of each rank is that of its spans. */
typedef struct by_rank {
    const galv_timeline *timeline;
    int32_t *stage;   /* [n_ranks], -1: no spans */
    size_t *n_spans;  /* [n_ranks] */
    size_t *begin;    /* [n_ranks + 1] into spans */
    galv_span *spans; /* by rank */
    edge *edges;      /* [2 * most spans of a rank] */
    int32_t n_stages;
} by_rank;

static bool usable(const galv_timeline *timeline, const galv_span *span)
{
    return span->rank >= 0 && span->rank < timeline->n_ranks;
}

static int32_t stage_of(const galv_span *span)
{
    return span->stage >= 0 ? span->stage : span->rank;
}

static galv_status deal_out(by_rank *ranks, const galv_timeline *timeline,
                            galv_arena *arena, galv_err *err)
{
    size_t n_ranks = (size_t)timeline->n_ranks;
    ranks->timeline = timeline;
    ranks->stage = GALV_NEW_ARRAY(arena, int32_t, n_ranks);
    ranks->n_spans = GALV_NEW_ARRAY(arena, size_t, n_ranks);
    ranks->begin = GALV_NEW_ARRAY(arena, size_t, n_ranks + 1);
    ranks->spans = GALV_NEW_ARRAY(arena, galv_span, timeline->n_spans + 1);
    if (ranks->stage == NULL || ranks->n_spans == NULL || ranks->begin == NULL ||
        ranks->spans == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t rank = 0; rank < n_ranks; rank++) {
        ranks->stage[rank] = -1;
    }
    for (size_t i = 0; i < timeline->n_spans; i++) {
        const galv_span *span = &timeline->spans[i];
        if (usable(timeline, span)) {
            ranks->n_spans[span->rank]++;
            ranks->stage[span->rank] = stage_of(span);
            if (stage_of(span) >= ranks->n_stages) {
                ranks->n_stages = stage_of(span) + 1;
            }
        }
    }
    size_t most = 0;
    for (size_t rank = 0; rank < n_ranks; rank++) {
        ranks->begin[rank + 1] = ranks->begin[rank] + ranks->n_spans[rank];
        most = ranks->n_spans[rank] > most ? ranks->n_spans[rank] : most;
        ranks->n_spans[rank] = 0;
    }
    for (size_t i = 0; i < timeline->n_spans; i++) {
        const galv_span *span = &timeline->spans[i];
        if (usable(timeline, span)) {
            size_t rank = (size_t)span->rank;
            ranks->spans[ranks->begin[rank] + ranks->n_spans[rank]++] = *span;
        }
    }
    ranks->edges = GALV_NEW_ARRAY(arena, edge, 2 * most + 1);
    return ranks->edges == NULL ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                                : GALV_OK;
}

/* The stages [n_stages] of one timeline. */
static galv_status sum_stages(galv_stage_share **stages, const by_rank *ranks,
                              int32_t n_stages, galv_arena *arena, galv_err *err)
{
    const galv_timeline *timeline = ranks->timeline;
    galv_stage_share *sums = GALV_NEW_ARRAY(arena, galv_stage_share, n_stages);
    if (sums == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t rank = 0; rank < timeline->n_ranks; rank++) {
        if (ranks->stage[rank] >= 0) {
            sweep_rank(&sums[ranks->stage[rank]], ranks->edges,
                       ranks->spans + ranks->begin[rank], ranks->n_spans[rank],
                       timeline->duration_s);
        }
    }
    for (size_t i = 0; i < timeline->n_samples; i++) {
        const galv_memory_sample *sample = &timeline->samples[i];
        if (sample->rank >= 0 && sample->rank < timeline->n_ranks &&
            ranks->stage[sample->rank] >= 0) {
            galv_stage_share *stage = &sums[ranks->stage[sample->rank]];
            stage->peak_memory_bytes = fmax(stage->peak_memory_bytes, sample->bytes);
        }
    }
    for (int32_t stage = 0; stage < n_stages; stage++) {
        if (sums[stage].n_ranks > 0) {
            divide(&sums[stage], sums[stage].n_ranks);
        }
    }
    *stages = sums;
    return GALV_OK;
}

static void add(galv_stage_share *sum, const galv_stage_share *stage)
{
    sum->n_ranks++;
    for (int part = 0; part < GALV_N_TIME_PARTS; part++) {
        sum->part_s[part] += stage->part_s[part];
    }
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
            sum->busy_s[stream][kind] += stage->busy_s[stream][kind];
        }
    }
    sum->peak_memory_bytes = fmax(sum->peak_memory_bytes, stage->peak_memory_bytes);
}

static galv_time_cause cause_of(const galv_timeline_pair *pair, int part)
{
    galv_time_cause cause = {.part = part, .stage = -1};
    cause.difference_s =
        pair->measured_mean.part_s[part] - pair->predicted_mean.part_s[part];
    double sign = cause.difference_s < 0 ? -1 : 1;
    for (int32_t stage = 0; stage < pair->n_stages; stage++) {
        double here_s =
            pair->measured[stage].part_s[part] - pair->predicted[stage].part_s[part];
        if (pair->measured[stage].n_ranks > 0 && pair->predicted[stage].n_ranks > 0 &&
            (cause.stage < 0 || sign * here_s > sign * cause.stage_s)) {
            cause.stage = stage;
            cause.stage_s = here_s;
        }
    }
    return cause;
}

static void rank_causes(galv_timeline_pair *pair)
{
    for (int part = 0; part < GALV_N_TIME_PARTS; part++) {
        galv_time_cause cause = cause_of(pair, part);
        if (fabs(cause.difference_s) <= ROUNDING_FRAC * pair->measured_s) {
            continue;
        }
        int at = pair->n_causes;
        while (at > 0 &&
               fabs(pair->causes[at - 1].difference_s) < fabs(cause.difference_s)) {
            if (at < GALV_N_CAUSES) {
                pair->causes[at] = pair->causes[at - 1];
            }
            at--;
        }
        if (at < GALV_N_CAUSES) {
            pair->causes[at] = cause;
            pair->n_causes += pair->n_causes < GALV_N_CAUSES;
        }
    }
}

static galv_status check(const galv_timeline *timeline, const char *which,
                         galv_err *err)
{
    if (timeline->n_ranks < 1 || timeline->n_spans == 0 ||
        !(timeline->duration_s > 0)) {
        return galv_fail(err, GALV_INPUT, "no iteration in the %s timeline", which);
    }
    return GALV_OK;
}

galv_status galv_timeline_pair_make(galv_timeline_pair *pair,
                                    const galv_timeline *measured,
                                    const galv_timeline *predicted, galv_arena *arena,
                                    galv_err *err)
{
    by_rank m = {0}, p = {0};
    galv_timeline_pair made = {0};
    galv_status status = check(measured, "measured", err);
    if (status == GALV_OK) {
        status = check(predicted, "predicted", err);
    }
    if (status == GALV_OK) {
        status = deal_out(&m, measured, arena, err);
    }
    if (status == GALV_OK) {
        status = deal_out(&p, predicted, arena, err);
    }
    made.n_stages = m.n_stages > p.n_stages ? m.n_stages : p.n_stages;
    if (status == GALV_OK) {
        status = sum_stages(&made.measured, &m, made.n_stages, arena, err);
    }
    if (status == GALV_OK) {
        status = sum_stages(&made.predicted, &p, made.n_stages, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    made.measured_s = measured->duration_s;
    made.predicted_s = predicted->duration_s;
    for (int32_t stage = 0; stage < made.n_stages; stage++) {
        if (made.measured[stage].n_ranks > 0 && made.predicted[stage].n_ranks > 0) {
            add(&made.measured_mean, &made.measured[stage]);
            add(&made.predicted_mean, &made.predicted[stage]);
        }
    }
    if (made.measured_mean.n_ranks == 0) {
        return galv_fail(err, GALV_INPUT,
                         "the measured timeline has no stage of the plan's %d",
                         (int)p.n_stages);
    }
    divide(&made.measured_mean, made.measured_mean.n_ranks);
    divide(&made.predicted_mean, made.predicted_mean.n_ranks);
    rank_causes(&made);
    *pair = made;
    return GALV_OK;
}
