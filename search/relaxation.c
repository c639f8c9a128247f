/* Hulls once per stage and group, merged over groups and sorted by gain per byte; then
 * a stage's time is one walk along them. */
#include "search/relaxation.h"

#include "search/partition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDING 1e-12
#define SLOWED   0.3 /* share of a hidden message that shows as slower computation */

typedef struct edge { /* of a hull: from one option towards a faster, larger one */
    double gain_s, bytes;
    int32_t group;
} edge;

typedef struct option {
    double time_s, bytes;
} option;

typedef struct stage_hulls {
    option least[GALV_MAX_GROUPS]; /* smallest option of each group */
    edge *edges;                   /* steepest first */
    int32_t n_edges;
    double room_bytes;
} stage_hulls;

struct galv_relaxation {
    const galv_layer_table *table;
    galv_replay *replay;
    const galv_model *model;
    galv_layer_seconds seconds;
    galv_arena *arena;
    int32_t n_blocks;
    int32_t *block_begin; /* [n_blocks + 1] */
    stage_hulls *stages;  /* [pp + 1], the last one of all stages together */
};

double galv_layer_latency_s(const galv_layer_price *p, double n_micro_batches)
{
    (void)n_micro_batches;
    return p->forward_s + p->backward_s + p->weight_s;
}

double galv_layer_guide_s(const galv_layer_price *p, double n_micro_batches)
{
    double latency = galv_layer_latency_s(p, n_micro_batches);
    double shown = p->messages_s > latency ? p->messages_s - latency : 0;
    return latency + shown + SLOWED * (p->messages_s - shown) +
           p->optimizer_s / n_micro_batches;
}

static int by_bytes(const void *left, const void *right)
{
    const option *a = left;
    const option *b = right;
    if (a->bytes < b->bytes || a->bytes > b->bytes) {
        return a->bytes < b->bytes ? -1 : 1;
    }
    return a->time_s < b->time_s ? -1 : a->time_s > b->time_s;
}

static int steeper(const void *left, const void *right)
{
    const edge *a = left;
    const edge *b = right;
    double x = a->gain_s * b->bytes;
    double y = b->gain_s * a->bytes;
    if (x < y || x > y) {
        return x > y ? -1 : 1;
    }
    return a->group < b->group ? -1 : a->group > b->group;
}

/* Appends the edges of a group's hull; `kept` micro-batches of activations. */
static galv_status add_hull(galv_relaxation *r, stage_hulls *hulls, int32_t group,
                            double kept, galv_err *err)
{
    const galv_layer_table *table = r->table;
    int32_t n = table->n_prices[group];
    option *all = GALV_NEW_ARRAY(r->arena, option, n);
    if (!all) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t i = 0; i < n; i++) {
        const galv_layer_price *p = &table->prices[group][i];
        all[i] = (option){r->seconds(p, table->n_micro_batches),
                          p->held_bytes + kept * p->kept_bytes};
    }
    qsort(all, (size_t)n, sizeof *all, by_bytes);
    hulls->least[group] = all[0];
    for (int32_t from = 0; from < n;) {
        int32_t best = n;
        double steepest = 0;
        for (int32_t to = from + 1; to < n; to++) {
            double gain = all[from].time_s - all[to].time_s;
            double bytes = all[to].bytes - all[from].bytes;
            if (gain > 0 && bytes > 0 && gain / bytes >= steepest) {
                steepest = gain / bytes;
                best = to;
            }
        }
        if (best < n) {
            hulls->edges[hulls->n_edges++] =
                (edge){all[from].time_s - all[best].time_s,
                       all[best].bytes - all[from].bytes, group};
        }
        from = best;
    }
    return GALV_OK;
}

/* The hulls of a stage that keeps `kept` micro-batches. */
static galv_status fill_stage(galv_relaxation *r, stage_hulls *hulls, double kept,
                              galv_err *err)
{
    const galv_layer_table *table = r->table;
    size_t most = 0;
    for (int32_t g = 0; g < table->n_groups; g++) {
        most += (size_t)table->n_prices[g];
    }
    hulls->edges = GALV_NEW_ARRAY(r->arena, edge, most);
    if (!hulls->edges) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t g = 0; g < table->n_groups; g++) {
        galv_status status = add_hull(r, hulls, g, kept, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    qsort(hulls->edges, (size_t)hulls->n_edges, sizeof *hulls->edges, steeper);
    return GALV_OK;
}

static galv_status fill_stages(galv_relaxation *r, double memory_bytes, galv_err *err)
{
    const galv_layer_table *table = r->table;
    int32_t pp = table->shape.pp;
    double least = INFINITY;
    galv_status status = GALV_OK;
    for (int32_t stage = 0; stage < pp && status == GALV_OK; stage++) {
        double kept = INFINITY; /* the least of its chunks: a bound for all */
        for (int32_t chunk = 0; chunk < table->shape.vpp; chunk++) {
            kept = fmin(kept, galv_replay_kept(r->replay, stage, chunk));
        }
        least = fmin(least, kept);
        r->stages[stage].room_bytes = memory_bytes - table->base_bytes;
        status = fill_stage(r, &r->stages[stage], kept, err);
    }
    r->stages[pp].room_bytes = pp * (memory_bytes - table->base_bytes);
    return status == GALV_OK ? fill_stage(r, &r->stages[pp], least, err) : status;
}

galv_status galv_relaxation_new(galv_relaxation **relaxation,
                                const galv_layer_table *table, galv_replay *replay,
                                const galv_model *model, double memory_bytes,
                                galv_layer_seconds seconds, galv_arena *arena,
                                galv_err *err)
{
    galv_relaxation *r = GALV_NEW(arena, galv_relaxation);
    if (!r) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    r->table = table;
    r->replay = replay;
    r->model = model;
    r->seconds = seconds;
    r->arena = arena;
    r->block_begin = GALV_NEW_ARRAY(arena, int32_t, galv_model_n_blocks(model) + 1);
    r->stages = GALV_NEW_ARRAY(arena, stage_hulls, table->shape.pp + 1);
    if (!r->block_begin || !r->stages) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t layer = 0; layer < table->n_layers; layer++) {
        if (galv_layer_is_block(galv_model_layer(model, layer))) {
            r->block_begin[++r->n_blocks] = layer + 1;
        }
    }
    r->block_begin[r->n_blocks] = table->n_layers;
    galv_status status = fill_stages(r, memory_bytes, err);
    if (status == GALV_OK) {
        *relaxation = r;
    }
    return status;
}

double *galv_relaxation_room(galv_relaxation *r, int32_t stage)
{
    return &r->stages[stage].room_bytes;
}

int32_t galv_relaxation_layer(const galv_relaxation *r, int32_t block)
{
    return r->block_begin[block];
}

int32_t galv_relaxation_n_blocks(const galv_relaxation *r)
{
    return r->n_blocks;
}

double galv_relaxation_stage_s(void *relaxation, int32_t stage, int32_t first,
                               int32_t n)
{
    const galv_relaxation *r = relaxation;
    const galv_layer_table *table = r->table;
    const stage_hulls *hulls = &r->stages[stage];
    int32_t begin = r->block_begin[first];
    int32_t end = r->block_begin[first + n];
    double time_s = 0;
    double room = hulls->room_bytes;
    double count[GALV_MAX_GROUPS];
    for (int32_t g = 0; g < table->n_groups; g++) {
        int32_t low = begin > table->group_of[g] ? begin : table->group_of[g];
        int32_t high = end < table->group_of[g + 1] ? end : table->group_of[g + 1];
        count[g] = high > low ? high - low : 0;
        time_s += count[g] * hulls->least[g].time_s;
        room -= count[g] * hulls->least[g].bytes;
    }
    if (room < 0) {
        return INFINITY;
    }
    for (int32_t i = 0; i < hulls->n_edges && room > 0; i++) {
        double n_here = count[hulls->edges[i].group];
        double bytes = n_here * hulls->edges[i].bytes;
        double part = bytes > room ? room / bytes : 1;
        time_s -= part * n_here * hulls->edges[i].gain_s;
        room -= part * bytes;
    }
    return time_s;
}

/* ---- the bound ---- */

typedef struct weights {
    double of_most;         /* of the slowest stage, besides once in the sum */
    double less_s;          /* and less these seconds */
    double n_micro_batches; /* or the slowest stage alone */
} weights;

static double value_s(void *context, double sum_s, double most_s)
{
    const weights *w = context;
    return fmax(sum_s + w->of_most * most_s - w->less_s, w->n_micro_batches * most_s);
}

/* Forward seconds F of a stage are at most share * t + *rest_s, for blocks of any
 * strategy; *rest_s is what the other layers may add, whose backward can be short. */
static double forward_share(const galv_relaxation *r, double *rest_s)
{
    const galv_layer_table *table = r->table;
    double share = 0;
    *rest_s = 0;
    for (int rest = 0; rest < 2; rest++) {
        for (int32_t g = 0; g < table->n_groups; g++) {
            double most_s = 0;
            if (galv_layer_is_block(&r->model->groups[g]) != (rest == 0)) {
                continue;
            }
            for (int32_t i = 0; i < table->n_prices[g]; i++) {
                const galv_layer_price *p = &table->prices[g][i];
                double whole = p->forward_s + p->backward_s;
                most_s = fmax(most_s, p->forward_s - share * whole);
                share = rest > 0    ? share
                        : whole > 0 ? fmax(share, p->forward_s / whole)
                                    : 1;
            }
            *rest_s +=
                rest > 0 ? most_s * (table->group_of[g + 1] - table->group_of[g]) : 0;
        }
    }
    return share;
}

galv_status galv_relaxation_bound(double *bound_s, galv_relaxation *r, galv_err *err)
{
    const galv_layer_table *table = r->table;
    double m = table->n_micro_batches;
    int32_t pp = table->shape.pp;
    double bound = INFINITY;
    if ((int64_t)pp * table->shape.vpp > r->n_blocks) {
        *bound_s = INFINITY;
        return GALV_OK;
    }
    if (table->shape.vpp > 1 || table->shape.schedule->splits_backward) {
        bound = m * galv_relaxation_stage_s(r, pp, 0, r->n_blocks) / pp;
    } else {
        double k = 1;
        for (int32_t stage = 0; stage < pp; stage++) {
            k = fmax(k, galv_replay_before_backward(r->replay, stage));
        }
        double rest_s = 0;
        double share = forward_share(r, &rest_s);
        weights w = {m - 1 - (k - 1) * share, (k - 1) * rest_s, m};
        int32_t *n_blocks = GALV_NEW_ARRAY(r->arena, int32_t, pp);
        if (!n_blocks) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        galv_partition_problem problem = {pp,      r->n_blocks, galv_relaxation_stage_s,
                                          value_s, r,           &w};
        galv_status status = galv_partition(n_blocks, &bound, &problem, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    *bound_s = bound * (1 - ROUNDING);
    return GALV_OK;
}
