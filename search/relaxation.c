/* Hulls once per stage and group, merged over groups and sorted by gain per byte; then
 * a stage's time is one walk along them. */
#include "search/relaxation.h"

#include "search/partition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDING 1e-12

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
    galv_layer_seconds seconds; /* NULL = between */
    double hiding_share;
    galv_arena *arena;
    galv_bare_ends bare;
    int32_t n_blocks;
    int32_t *block_begin; /* [n_blocks + 1] first layer after so many blocks, and what
                             goes with the next one */
    stage_hulls *stages;  /* [pp + 1], the last one of all stages together */
};

double galv_layer_latency_s(const galv_layer_price *p, double n_micro_batches)
{
    (void)n_micro_batches;
    return p->forward_s + p->backward_s + p->weight_s + p->own_slowing_s;
}

/* With P the latency, D the seconds of parameter messages, X those of other
 * communication, all of a stage in one iteration, k what hiding a second takes:
 * T >= P + k (D - X), since what is not hidden behind X must run beside computation and
 * slow it, or show, which takes longer still (k < 1). */
double galv_layer_hiding_s(const galv_layer_price *p, double n_micro_batches)
{
    return galv_layer_latency_s(p, n_micro_batches) + p->slowing_s -
           p->most_slowing * p->beside_s;
}

double galv_layer_guide_s(const galv_layer_price *p, double n_micro_batches)
{
    double latency = p->forward_s + p->backward_s + p->weight_s;
    double shown = p->messages_s > latency ? p->messages_s - latency : 0;
    return latency + shown + p->slowing_s + p->optimizer_s / n_micro_batches;
}

double galv_layer_guide_whole_s(const galv_layer_price *p, double n_micro_batches)
{
    double latency = p->forward_s + p->backward_s + p->weight_s;
    double once = p->load_s[GALV_STREAM_DP] - p->messages_s - latency / n_micro_batches;
    return galv_layer_guide_s(p, n_micro_batches) + (once > 0 ? once : 0);
}

static double seconds_of(const galv_relaxation *r, const galv_layer_price *p)
{
    double m = r->table->n_micro_batches;
    if (r->seconds != NULL) {
        return r->seconds(p, m);
    }
    return (1 - r->hiding_share) * galv_layer_latency_s(p, m) +
           r->hiding_share * galv_layer_hiding_s(p, m) + p->optimizer_s / m;
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
        all[i] = (option){seconds_of(r, p), p->held_bytes + kept * p->kept_bytes};
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
        double kept = galv_replay_kept_spread(r->replay, stage);
        least = fmin(least, kept);
        r->stages[stage].room_bytes = memory_bytes - table->base_bytes;
        status = fill_stage(r, &r->stages[stage], kept, err);
    }
    r->stages[pp].room_bytes = pp * (memory_bytes - table->base_bytes);
    return status == GALV_OK ? fill_stage(r, &r->stages[pp], least, err) : status;
}

static galv_status make(galv_relaxation **relaxation, const galv_layer_table *table,
                        galv_replay *replay, const galv_model *model,
                        double memory_bytes, galv_layer_seconds seconds,
                        double hiding_share, galv_arena *arena, galv_err *err)
{
    galv_relaxation *r = GALV_NEW(arena, galv_relaxation);
    if (!r) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    r->table = table;
    r->replay = replay;
    r->model = model;
    r->seconds = seconds;
    r->hiding_share = hiding_share;
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
    r->block_begin[0] = 1; /* where the embedding is a bare end */
    r->bare = galv_model_bare_ends(model);
    galv_status status = fill_stages(r, memory_bytes, err);
    if (status == GALV_OK) {
        *relaxation = r;
    }
    return status;
}

galv_status galv_relaxation_new(galv_relaxation **relaxation,
                                const galv_layer_table *table, galv_replay *replay,
                                const galv_model *model, double memory_bytes,
                                galv_layer_seconds seconds, galv_arena *arena,
                                galv_err *err)
{
    return make(relaxation, table, replay, model, memory_bytes, seconds, 0, arena, err);
}

galv_status galv_relaxation_new_between(galv_relaxation **relaxation,
                                        const galv_layer_table *table,
                                        galv_replay *replay, const galv_model *model,
                                        double memory_bytes, double hiding_share,
                                        galv_arena *arena, galv_err *err)
{
    return make(relaxation, table, replay, model, memory_bytes, NULL, hiding_share,
                arena, err);
}

double *galv_relaxation_room(galv_relaxation *r, int32_t stage)
{
    return &r->stages[stage].room_bytes;
}

int32_t galv_relaxation_n_blocks(const galv_relaxation *r)
{
    return r->n_blocks;
}

/* The fastest mix of so many layers of each group in the room of a stage; INFINITY =
 * they do not fit. */
static double fill_time(const stage_hulls *hulls, const galv_layer_table *table,
                        const double *count)
{
    double time_s = 0;
    double room = hulls->room_bytes;
    for (int32_t g = 0; g < table->n_groups; g++) {
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

double galv_relaxation_stage_s(void *relaxation, int32_t stage, int32_t first,
                               int32_t n)
{
    const galv_relaxation *r = relaxation;
    const galv_layer_table *table = r->table;
    int32_t pp = table->shape.pp;
    bool begins = stage == pp || stage == 0;
    bool ends = stage == pp || stage == pp - 1;
    int32_t begin = begins ? 0 : r->block_begin[first];
    int32_t end = ends ? table->n_layers : r->block_begin[first + n];
    double count[GALV_MAX_GROUPS];
    for (int32_t g = 0; g < table->n_groups; g++) {
        int32_t low = begin > table->group_of[g] ? begin : table->group_of[g];
        int32_t high = end < table->group_of[g + 1] ? end : table->group_of[g + 1];
        count[g] = high > low ? high - low : 0;
    }
    return fill_time(&r->stages[stage], table, count);
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

/* ---- stages of any blocks ---- */

/* Layers that go with the first or the last block, wherever blocks go; false when there
 * are others that are no blocks, or blocks that differ: then counts do not tell what a
 * stage holds. */
static bool counts_tell(const galv_relaxation *r, int32_t *block_group)
{
    const galv_layer_table *table = r->table;
    *block_group = -1;
    for (int32_t g = 0; g < table->n_groups; g++) {
        if (!galv_layer_is_block(&r->model->groups[g])) {
            continue;
        }
        if (*block_group >= 0) {
            return false;
        }
        *block_group = g;
    }
    return *block_group >= 0;
}

/* times[pp][n_blocks + 1]: seconds of a stage with so many blocks, and what else is on
 * it (embedding with virtual stage 0, head with the last). */
static void fill_times(double *times, galv_relaxation *r, int32_t block_group)
{
    const galv_layer_table *table = r->table;
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    size_t width = (size_t)r->n_blocks + 1;
    for (int32_t stage = 0; stage < table->shape.pp; stage++) {
        double count[GALV_MAX_GROUPS] = {0};
        for (int32_t chunk = 0; chunk < table->shape.vpp; chunk++) {
            int32_t v = galv_replay_virtual_stage(r->replay, stage, chunk);
            for (int32_t g = 0; g < table->n_groups; g++) {
                bool here =
                    g < block_group ? v == 0 : g > block_group && v == n_virtual - 1;
                count[g] += here ? table->group_of[g + 1] - table->group_of[g] : 0;
            }
        }
        for (int32_t n = 0; n <= r->n_blocks; n++) {
            count[block_group] = n;
            times[(size_t)stage * width + (size_t)n] =
                fill_time(&r->stages[stage], table, count);
        }
    }
}

/* The least of max over stages of times[stage][n] + extra_s[stage] in which all blocks
 * find a place: a little below it. */
static double least_most(const galv_relaxation *r, const double *times,
                         const double *extra_s)
{
    int32_t pp = r->table->shape.pp;
    size_t width = (size_t)r->n_blocks + 1;
    double low = 0;
    double high = 0;
    int64_t room = 0;
    for (int32_t stage = 0; stage < pp; stage++) {
        const double *t = &times[(size_t)stage * width];
        int32_t n = r->n_blocks;
        while (n > 0 && !isfinite(t[n])) {
            n--;
        }
        for (int32_t k = 0; k <= n; k++) {
            high = fmax(high, t[k] + extra_s[stage]);
        }
        room += n;
    }
    if (room < r->n_blocks) {
        return INFINITY;
    }
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2;
        int64_t held = 0;
        for (int32_t stage = 0; stage < pp; stage++) {
            const double *t = &times[(size_t)stage * width];
            int32_t n = r->n_blocks;
            while (n > 0 && !(t[n] + extra_s[stage] <= middle)) {
                n--;
            }
            held += n;
        }
        low = held >= r->n_blocks ? low : middle;
        high = held >= r->n_blocks ? middle : high;
    }
    return low;
}

/* Least seconds of any block that the stages after it wait for, at begin and end. */
static double least_block_s(const galv_relaxation *r)
{
    const galv_layer_table *table = r->table;
    bool splits = table->shape.schedule->splits_backward;
    double least = INFINITY;
    for (int32_t g = 0; g < table->n_groups; g++) {
        for (int32_t i = 0;
             galv_layer_is_block(&r->model->groups[g]) && i < table->n_prices[g]; i++) {
            const galv_layer_price *p = &table->prices[g][i];
            least = fmin(least, p->forward_s + (splits ? 0 : p->backward_s));
        }
    }
    return isfinite(least) ? least : 0;
}

/* What the first micro-batch needs at least down to a stage, and up again: a block on
 * each virtual stage before it, and the messages between them. */
static double arrival_s(const galv_relaxation *r, int32_t stage, double message_s)
{
    bool splits = r->table->shape.schedule->splits_backward;
    int32_t first = INT32_MAX;
    for (int32_t chunk = 0; chunk < r->table->shape.vpp; chunk++) {
        int32_t v = galv_replay_virtual_stage(r->replay, stage, chunk);
        first = v < first ? v : first;
    }
    int32_t n_blocks = first - (first > 0 && r->bare.first);
    return n_blocks * least_block_s(r) + (splits ? 1 : 2) * first * message_s;
}

/* Max over stages, with blocks divided over them, when stage i takes extra_s[i]
 * besides. False when counts do not tell. */
static galv_status bound_most(double *bound_s, bool *known, galv_relaxation *r,
                              const double *extra_s, galv_err *err)
{
    int32_t pp = r->table->shape.pp;
    int32_t block_group = -1;
    double *times = NULL;
    *known = counts_tell(r, &block_group);
    if (!*known) {
        return GALV_OK;
    }
    times = GALV_NEW_ARRAY(r->arena, double, (size_t)pp *((size_t)r->n_blocks + 1));
    if (!times) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    fill_times(times, r, block_group);
    *bound_s = r->table->n_micro_batches * least_most(r, times, extra_s);
    return GALV_OK;
}

galv_status galv_relaxation_bound(double *bound_s, galv_relaxation *r, double enough_s,
                                  galv_err *err)
{
    const galv_layer_table *table = r->table;
    double m = table->n_micro_batches;
    int32_t pp = table->shape.pp;
    double bound = 0;
    if ((int64_t)pp * table->shape.vpp > galv_model_most_stages(r->model)) {
        *bound_s = INFINITY;
        return GALV_OK;
    }
    bool known = false;
    double most = 0;
    double whole = galv_relaxation_stage_s(r, pp, 0, r->n_blocks);
    bool splits = table->shape.schedule->splits_backward;
    double *extra_s = GALV_NEW_ARRAY(r->arena, double, pp);
    if (!extra_s) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t stage = 0; stage < pp; stage++) {
        extra_s[stage] = arrival_s(r, stage, 0) / m;
    }
    galv_status status = bound_most(&most, &known, r, extra_s, err);
    if (status != GALV_OK) {
        return status;
    }
    bound = splits || m > pp ? m * whole / pp : whole; /* one through all layers */
    bound = known ? fmax(bound, most) : bound;
    if (bound < enough_s && table->shape.vpp == 1 && !splits) {
        double k = 1;
        for (int32_t stage = 0; stage < pp; stage++) {
            double before = galv_replay_before_backward(r->replay, stage);
            bool all = before >= galv_replay_n_micro_batches(r->replay);
            k = fmax(k, all ? m : before);
        }
        double rest_s = 0;
        double share = forward_share(r, &rest_s);
        weights w = {m - 1 - (k - 1) * share, (k - 1) * rest_s, m};
        int32_t *n_blocks = GALV_NEW_ARRAY(r->arena, int32_t, pp);
        if (!n_blocks) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        galv_partition_problem problem = {
            .n_stages = pp,
            .total = r->n_blocks,
            .bare_first = r->bare.first,
            .bare_last = r->bare.last,
            .cost = galv_relaxation_stage_s,
            .value = value_s,
            .cost_context = r,
            .value_context = &w,
        };
        double divided = 0;
        status = galv_partition(n_blocks, &divided, &problem, err);
        if (status != GALV_OK) {
            return status;
        }
        bound = fmax(bound, divided);
    }
    *bound_s = bound * (1 - ROUNDING);
    return GALV_OK;
}

galv_status galv_relaxation_between_bound(double *bound_s, galv_relaxation *r,
                                          galv_err *err)
{
    const galv_layer_table *table = r->table;
    int32_t pp = table->shape.pp;
    double m = table->n_micro_batches;
    double k = table->most_slowing;
    bool known = false;
    double most = 0;
    double sum_s = 0; /* of extra_s */
    double *extra_s = GALV_NEW_ARRAY(r->arena, double, pp);
    if (!extra_s) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if ((int64_t)pp * table->shape.vpp > galv_model_most_stages(r->model)) {
        *bound_s = INFINITY;
        return GALV_OK;
    }
    for (int32_t stage = 0; stage < pp; stage++) {
        extra_s[stage] =
            (1 - r->hiding_share * k) * arrival_s(r, stage, table->least_message_s) / m;
        sum_s += extra_s[stage];
    }
    galv_status status = bound_most(&most, &known, r, extra_s, err);
    if (status != GALV_OK) {
        return status;
    }
    double whole = galv_relaxation_stage_s(r, pp, 0, r->n_blocks);
    double bound = m * fmax(known ? most / m : 0, (whole + sum_s) / pp);
    double messages = pp > 1 ? 4.0 * table->shape.vpp * table->message_s : 0;
    bound -= r->hiding_share * m * k * messages;
    *bound_s = bound > 0 ? bound * (1 - ROUNDING) : 0;
    return GALV_OK;
}
