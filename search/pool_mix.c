/* An estimate replays the schedule with the passes of each stage as its own pool prices
 * them, parameter messages counted as far as they are longer than the layer that they
 * run behind. It ranks exchanges, and decides nothing. */
#include "search/pool_mix.h"

#include "search/judged.h"
#include "search/layering.h"
#include "search/pricing.h"
#include "search/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_SHAPES = 12,
    MOST_DESCENTS = 4, /* of a shape, each with less memory for what is estimated */
    MOST_MOVED = 3,    /* blocks with one exchange */
    MOST_TRIED = 8,    /* exchanges simulated in a round */
    MOST_ROUNDS = 16   /* of one start */
};
#define DEFAULT_OPS   2e7
#define WORTH_ANOTHER 1e-4 /* relative gain, for another round */

/* A strategy and a number of blocks for each pool. */
typedef struct mix {
    int32_t strategy[GALV_MAX_POOLS]; /* of the shape's */
    int32_t blocks[GALV_MAX_POOLS];
} mix;

typedef struct exchange {
    mix mix;
    double time_s; /* estimated */
} exchange;

typedef struct tried {
    mix mix;
    struct tried *next;
} tried;

typedef struct mixer {
    const galv_costmodel *model;
    const galv_job *job;
    const galv_space *space;
    const galv_divisions *divisions;
    const galv_layerwise_options *options;
    galv_layerwise_result *result;
    galv_judged list;
    tried *tried; /* of the shape that is worked on */
    galv_arena *arena, *scratch;
    galv_err *err;
    double n_ops;
    int32_t n_pools;
    /* the shape that is worked on */
    size_t leaf;
    const galv_layer_table *tables[GALV_MAX_POOLS];
    galv_replay *replay;
    double room_frac; /* of a pool's memory, for what the estimate counts */
    int32_t *pool_of; /* [pp * vpp] */
    int32_t *blocks, *first_layer;
    double *forward_s, *backward_s, *weight_s; /* [pp * vpp] */
} mixer;

/* ---- estimates ---- */

static const galv_layer_price *price_on(const mixer *x, const mix *at, int32_t v,
                                        int32_t layer)
{
    int32_t pool = x->pool_of[v];
    const galv_layer_table *table = x->tables[pool];
    int32_t g = galv_layer_table_group(table, layer);
    return &table->prices[g][table->price_of[g][at->strategy[pool]]];
}

static bool lay_out(mixer *x, const mix *at)
{
    const galv_shape *shape = &x->tables[0]->shape;
    int32_t n_virtual = shape->pp * shape->vpp;
    if (!galv_divisions_spread(x->blocks, x->divisions, x->leaf, at->blocks,
                               x->scratch)) {
        return false;
    }
    galv_layering_divide(x->first_layer, &x->job->model, x->blocks, n_virtual);
    return true;
}

/* Sums up a stage; false when what its layers hold and keep is too much. */
static bool sum_stage(mixer *x, const mix *at, int32_t stage)
{
    const galv_shape *shape = &x->tables[0]->shape;
    int32_t pool = x->pool_of[galv_replay_virtual_stage(x->replay, stage, 0)];
    double bytes = x->tables[pool]->base_bytes;
    for (int32_t chunk = 0; chunk < shape->vpp; chunk++) {
        int32_t v = galv_replay_virtual_stage(x->replay, stage, chunk);
        double kept = galv_replay_kept(x->replay, stage, chunk);
        x->forward_s[v] = x->backward_s[v] = x->weight_s[v] = 0;
        for (int32_t layer = x->first_layer[v]; layer < x->first_layer[v + 1];
             layer++) {
            const galv_layer_price *p = price_on(x, at, v, layer);
            double latency_s = p->forward_s + p->backward_s + p->weight_s;
            x->forward_s[v] += p->forward_s;
            x->backward_s[v] +=
                p->backward_s + p->slowing_s + fmax(0, p->messages_s - latency_s);
            x->weight_s[v] += p->weight_s;
            bytes += p->held_bytes + kept * p->kept_bytes;
        }
    }
    return bytes <= x->room_frac * galv_costmodel_pool_limit(x->model, pool);
}

/* About how long a mix takes; INFINITY when it cannot fit. */
static galv_status estimate(double *time_s, mixer *x, const mix *at)
{
    bool fits = true;
    *time_s = INFINITY;
    if (!lay_out(x, at)) {
        return galv_fail(x->err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t stage = 0; fits && stage < x->tables[0]->shape.pp; stage++) {
        fits = sum_stage(x, at, stage);
    }
    if (fits) {
        *time_s = galv_replay_time(x->replay, x->forward_s, x->backward_s, x->weight_s);
    }
    return GALV_OK;
}

/* ---- trials ---- */

static galv_status make_plan(galv_plan **plan, mixer *x, const mix *at)
{
    const galv_shape *shape = &x->tables[0]->shape;
    int32_t n_layers = x->tables[0]->n_layers;
    galv_strategy *strategies = GALV_NEW_ARRAY(x->arena, galv_strategy, n_layers);
    if (!strategies || !lay_out(x, at)) {
        return galv_fail(x->err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t v = 0; v < shape->pp * shape->vpp; v++) {
        for (int32_t layer = x->first_layer[v]; layer < x->first_layer[v + 1];
             layer++) {
            strategies[layer] = price_on(x, at, v, layer)->strategy;
        }
    }
    galv_uniform_plan parameters = {.pp = shape->pp,
                                    .vpp = shape->vpp,
                                    .schedule = shape->schedule->name,
                                    .micro_batch_size =
                                        (int32_t)(shape->samples / strategies[0].dp),
                                    .overlap = x->space->overlap,
                                    .stage_blocks = x->blocks};
    return galv_plan_make_layered(plan, x->job, &parameters, strategies, x->arena,
                                  x->err);
}

/* Simulates a mix; *time_s is INFINITY when it does not fit or takes stop_at_s;
 * *over_frac is what it needs of what its fullest device has, where that is known. */
static galv_status judge(double *time_s, double *over_frac, mixer *x, const mix *at,
                         double stop_at_s)
{
    galv_searched c = {.time_s = NAN, .fate = GALV_FATE_OUT_OF_MEMORY};
    galv_price_table *table = x->options->tables ? x->options->tables[0] : NULL;
    galv_plan *plan = NULL;
    galv_prices *prices = NULL;
    galv_memory_need need = {0, 0};
    const galv_searched *kept = NULL;
    tried *noted = GALV_NEW(x->arena, tried);
    *time_s = INFINITY;
    if (!noted) {
        return galv_fail(x->err, GALV_NO_MEMORY, "out of memory");
    }
    *noted = (tried){*at, x->tried};
    x->tried = noted;
    galv_status status = make_plan(&plan, x, at);
    if (status == GALV_USAGE) { /* strategies that do not go together */
        *x->err = (galv_err)GALV_ERR_INIT;
        return GALV_OK;
    }
    if (status == GALV_OK) {
        status = galv_prices_new(&prices, x->model, plan, table, x->scratch, x->err);
    }
    if (status == GALV_OK) {
        status =
            galv_price_memory(&need, x->model, plan, prices, false, x->scratch, x->err);
    }
    c.peak_memory_bytes = need.bytes;
    *over_frac = need.limit_bytes > 0 ? need.bytes / need.limit_bytes : 0;
    if (status == GALV_OK && galv_memory_need_fits(&need)) {
        status = galv_trial(&c, x->model, plan, prices, stop_at_s, x->scratch, x->err);
        x->n_ops += galv_evaluate_ops(x->job, plan);
        x->result->n_simulated++;
    }
    if (status != GALV_OK) {
        return status;
    }
    const galv_shape *shape = &x->tables[0]->shape;
    c.candidate = (galv_candidate){.strategy = *galv_plan_strategy(plan, 1),
                                   .pp = shape->pp,
                                   .vpp = shape->vpp,
                                   .micro_batch_size = plan->micro_batch_size,
                                   .schedule = shape->schedule,
                                   .layered = plan};
    *time_s = c.fate == GALV_FATE_SIMULATED ? c.time_s : (double)INFINITY;
    return galv_judged_add(&kept, &x->list, &c, x->err);
}

/* ---- exchanges ---- */

static bool out_of_time(mixer *x)
{
    double most = x->options->max_ops > 0 ? (double)x->options->max_ops : DEFAULT_OPS;
    if (x->options->stopped && x->options->stopped(x->options->stopped_at)) {
        x->result->interrupted = true;
    }
    return x->result->interrupted || x->n_ops > most;
}

static bool same_mix(const mix *a, const mix *b)
{
    return memcmp(a->strategy, b->strategy, sizeof a->strategy) == 0 &&
           memcmp(a->blocks, b->blocks, sizeof a->blocks) == 0;
}

static bool is_known(const exchange *best, int32_t n, const mixer *x, const mix *at)
{
    bool known = false;
    for (int32_t i = 0; i < n; i++) {
        known |= same_mix(&best[i].mix, at);
    }
    for (const tried *t = x->tried; t != NULL && !known; t = t->next) {
        known = same_mix(&t->mix, at);
    }
    return known;
}

/* Offers an exchange to the best so far: best[*n], ascending. */
static galv_status offer(exchange *best, int32_t *n, mixer *x, const mix *at)
{
    double time_s = 0;
    if (is_known(best, *n, x, at)) {
        return GALV_OK;
    }
    galv_status status = estimate(&time_s, x, at);
    int32_t place = *n;
    if (status != GALV_OK || !isfinite(time_s) ||
        (*n == MOST_TRIED && time_s >= best[*n - 1].time_s)) {
        return status;
    }
    *n += *n < MOST_TRIED;
    place = place < *n ? place : *n - 1;
    for (; place > 0 && best[place - 1].time_s > time_s; place--) {
        best[place] = best[place - 1];
    }
    best[place] = (exchange){*at, time_s};
    return GALV_OK;
}

/* Another strategy for a pool, or the same, with blocks moved between it and others. */
static galv_status offer_all(exchange *best, int32_t *n, mixer *x, const mix *from)
{
    galv_status status = GALV_OK;
    int32_t n_strategies = x->tables[0]->shape.n_strategies;
    for (int32_t i = 0; i < x->n_pools * n_strategies && status == GALV_OK; i++) {
        mix at = *from;
        int32_t pool = i / n_strategies;
        at.strategy[pool] = i % n_strategies;
        bool same = at.strategy[pool] == from->strategy[pool];
        if (!same) {
            status = offer(best, n, x, &at);
        }
        for (int32_t k = 0; k < x->n_pools * (2 * MOST_MOVED + 1); k++) {
            int32_t other = k / (2 * MOST_MOVED + 1);
            int32_t moved = k % (2 * MOST_MOVED + 1) - MOST_MOVED;
            mix with = at;
            with.blocks[pool] += moved;
            with.blocks[other] -= moved;
            int32_t vpp = x->tables[0]->shape.vpp;
            bool enough = with.blocks[pool] >= x->tables[pool]->shape.n_stages * vpp &&
                          with.blocks[other] >= x->tables[other]->shape.n_stages * vpp;
            if (other != pool && moved != 0 && enough && status == GALV_OK) {
                status = offer(best, n, x, &with);
            }
        }
    }
    return status;
}

/* Exchanges while that makes a plan faster. */
static galv_status improve(mixer *x, mix at, double time_s)
{
    galv_status status = GALV_OK;
    for (int round = 0; round < MOST_ROUNDS && status == GALV_OK; round++) {
        exchange best[MOST_TRIED];
        int32_t n = 0;
        double before_s = time_s;
        galv_arena_reset(x->scratch);
        status = offer_all(best, &n, x, &at);
        for (int32_t i = 0; i < n && status == GALV_OK && !out_of_time(x); i++) {
            double found_s = INFINITY, over_frac = 0;
            status = judge(&found_s, &over_frac, x, &best[i].mix, time_s);
            if (status == GALV_OK && found_s < time_s) {
                time_s = found_s;
                at = best[i].mix;
            }
        }
        if (!(time_s < before_s * (1 - WORTH_ANOTHER)) || out_of_time(x)) {
            break;
        }
    }
    return status;
}

/* ---- starts ---- */

/* Makes a leaf's shape the one that is worked on; *possible: its schedule can. */
static galv_status open_shape(mixer *x, size_t leaf, bool *possible)
{
    x->leaf = leaf;
    for (int32_t pool = 0; pool < x->n_pools; pool++) {
        const galv_shapes *shapes = galv_divisions_on_pool(x->divisions, pool);
        x->tables[pool] = &shapes->tables[shapes->shape_of[leaf]];
    }
    const galv_shape *shape = &x->tables[0]->shape;
    size_t n_virtual = (size_t)shape->pp * (size_t)shape->vpp;
    x->pool_of = GALV_NEW_ARRAY(x->arena, int32_t, n_virtual);
    x->blocks = GALV_NEW_ARRAY(x->arena, int32_t, n_virtual);
    x->first_layer = GALV_NEW_ARRAY(x->arena, int32_t, n_virtual + 1);
    x->forward_s = GALV_NEW_ARRAY(x->arena, double, n_virtual);
    x->backward_s = GALV_NEW_ARRAY(x->arena, double, n_virtual);
    x->weight_s = GALV_NEW_ARRAY(x->arena, double, n_virtual);
    if (!x->pool_of || !x->blocks || !x->first_layer || !x->forward_s ||
        !x->backward_s || !x->weight_s) {
        return galv_fail(x->err, GALV_NO_MEMORY, "out of memory");
    }
    galv_schedule_shape order = {shape->pp, shape->vpp, x->tables[0]->n_micro_batches,
                                 0, NULL};
    galv_status status =
        galv_replay_new(&x->replay, shape->schedule, &order, x->arena, x->err);
    *possible = status == GALV_OK;
    if (status == GALV_USAGE) {
        *x->err = (galv_err)GALV_ERR_INIT;
        return GALV_OK;
    }
    for (int32_t pool = 0, stage = 0; *possible && pool < x->n_pools; pool++) {
        for (int32_t i = 0; i < x->tables[pool]->shape.n_stages; i++, stage++) {
            for (int32_t chunk = 0; chunk < shape->vpp; chunk++) {
                x->pool_of[galv_replay_virtual_stage(x->replay, stage, chunk)] = pool;
            }
        }
    }
    return status;
}

/* Takes exchanges by their estimates while those get better. */
static galv_status descend(mix *at, double *time_s, mixer *x)
{
    galv_status status = GALV_OK;
    for (int round = 0; round < MOST_ROUNDS && status == GALV_OK; round++) {
        exchange best[MOST_TRIED];
        int32_t n = 0;
        galv_arena_reset(x->scratch);
        status = offer_all(best, &n, x, at);
        if (n == 0 || !(best[0].time_s < *time_s)) {
            break;
        }
        *at = best[0].mix;
        *time_s = best[0].time_s;
    }
    return status;
}

/* One strategy for all pools, with blocks by how fast each is with it. */
static mix uniform_mix(const mixer *x, int32_t strategy)
{
    mix at = {{0}, {0}};
    double rate[GALV_MAX_POOLS] = {0};
    double sum = 0;
    int32_t vpp = x->tables[0]->shape.vpp;
    int32_t left = galv_model_n_blocks(&x->job->model);
    for (int32_t pool = 0; pool < x->n_pools; pool++) {
        const galv_layer_table *table = x->tables[pool];
        int32_t g = galv_layer_table_group(table, table->n_layers / 2);
        const galv_layer_price *p = &table->prices[g][table->price_of[g][strategy]];
        rate[pool] =
            table->shape.n_stages / (p->forward_s + p->backward_s + p->weight_s);
        sum += rate[pool];
        at.strategy[pool] = strategy;
    }
    double blocks = left;
    for (int32_t pool = 0; pool < x->n_pools; pool++) {
        int32_t least = x->tables[pool]->shape.n_stages * vpp;
        int32_t n = (int32_t)floor(blocks * rate[pool] / sum);
        at.blocks[pool] = n > least ? n : least;
        left -= at.blocks[pool];
    }
    for (int32_t pool = 0; left != 0; pool = (pool + 1) % x->n_pools) {
        int32_t least = x->tables[pool]->shape.n_stages * vpp;
        int32_t step = left > 0 ? 1 : at.blocks[pool] > least ? -1 : 0;
        at.blocks[pool] += step;
        left -= step;
    }
    return at;
}

/* The best estimate of one strategy for all, and from there the best of exchanges. */
static galv_status find_start(mix *at, double *time_s, mixer *x)
{
    galv_status status = GALV_OK;
    *time_s = INFINITY;
    *at = uniform_mix(x, 0);
    for (int32_t k = 0; k < x->tables[0]->shape.n_strategies && status == GALV_OK;
         k++) {
        mix with = uniform_mix(x, k);
        double with_s = INFINITY;
        galv_arena_reset(x->scratch);
        status = estimate(&with_s, x, &with);
        if (with_s < *time_s) {
            *at = with;
            *time_s = with_s;
        }
    }
    return status == GALV_OK ? descend(at, time_s, x) : status;
}

static galv_status search_shape(mixer *x, size_t leaf)
{
    bool possible = false;
    double time_s = INFINITY;
    mix at = {{0}, {0}};
    galv_status status = open_shape(x, leaf, &possible);
    x->tried = NULL;
    x->room_frac = 1;
    for (int i = 0; i < MOST_DESCENTS && status == GALV_OK && possible; i++) {
        double estimate_s = INFINITY, over_frac = 0;
        status = find_start(&at, &estimate_s, x);
        if (status != GALV_OK || !isfinite(estimate_s) || out_of_time(x)) {
            return status;
        }
        status = judge(&time_s, &over_frac, x, &at, 0);
        if (status == GALV_OK && isfinite(time_s)) {
            return improve(x, at, time_s);
        }
        x->room_frac *= fmin(0.99, 0.999 / over_frac);
    }
    return status;
}

static galv_status search_shapes(mixer *x)
{
    galv_division_shape *shapes = NULL;
    size_t n = 0;
    galv_layerwise_result *r = x->result;
    galv_status status =
        galv_divisions_shapes(&shapes, &n, x->divisions, x->arena, x->err);
    r->lower_bound_s = n > 0 ? shapes[0].bound_s : (double)INFINITY;
    for (size_t i = 0; i < n && i < MOST_SHAPES && status == GALV_OK; i++) {
        if (shapes[i].bound_s >= r->best_s || out_of_time(x)) {
            break;
        }
        status = search_shape(x, shapes[i].leaf);
    }
    r->n_shapes = (uint32_t)n;
    return status;
}

galv_status galv_pool_mix_search(galv_layerwise_result *result,
                                 const galv_costmodel *model, const galv_space *space,
                                 const galv_divisions *divisions,
                                 const galv_layerwise_options *options,
                                 galv_arena *arena, galv_err *err)
{
    galv_layerwise_result found;
    galv_podium_place only;
    galv_podium own = {0, 1, 0, &only};
    memset(&found, 0, sizeof found);
    found.best = -1;
    mixer x = {.model = model,
               .job = galv_costmodel_job(model),
               .space = space,
               .divisions = divisions,
               .options = options,
               .result = &found,
               .list = {&found, 0, options->podium ? options->podium : &own,
                        options->first_index, arena},
               .arena = arena,
               .scratch = galv_arena_new(),
               .err = err};
    if (!x.scratch) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    x.n_pools = x.job->cluster.n_pools;
    found.best_s = galv_podium_best(x.list.podium);
    galv_status status = search_shapes(&x);
    galv_arena_free(x.scratch);
    if (status == GALV_OK) {
        found.lower_bound_s = fmin(found.lower_bound_s, found.best_s);
        found.complete = found.lower_bound_s >= found.best_s;
        *result = found;
    }
    return status;
}
