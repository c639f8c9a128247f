/* Shapes in order of their lower bounds; in each, layerings in order of theirs.
 *
 * Waves of plans are judged in parallel and merged in order, as in search.c. */
#include "search/layerwise_internal.h"

#include "base/parallel.h"
#include "search/layer_tree.h"
#include "search/pricing.h"
#include "search/relaxation.h"
#include "search/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_RUNS = 2,
    DEFAULT_NODES = 20000,
    MOST_GUESSED = 24,
    MOST_ALIKE = 3,      /* of them, that differ in schedule or chunks alone */
    MOST_TRIED = 4,      /* guesses of one shape, those of the least bounds */
    NODES_AFTER = 16,    /* once a tree was given up, others get a part of its nodes */
    MOST_ROUNDS = 64,    /* of the micro-batches that are replayed */
    KEPT_PASSES = 400000 /* of replays, about: some 10 MB */
};
#define DEFAULT_OPS 2e7

/* Shares of what hiding takes in a shape's bound, see search/relaxation.h: the best of
 * them is hardly worse than the best of all. */
static const double hiding_shares[] = {0, 0.25, 0.5, 0.75, 1};
#define N_SHARES (sizeof hiding_shares / sizeof hiding_shares[0])

/* ---- shapes ---- */

/* The replay of a shape; of an iteration of very many micro-batches only the first are
 * replayed: the order of more begins alike, so its time is a bound all the same
 * (search/layering.c adds what every stage still has to do). */
static galv_status make_replay(galv_replay **replay, const galv_layerwise *l,
                               const galv_layerwise_shape *entry, galv_arena *arena)
{
    const galv_shape *of = &entry->table->shape;
    int64_t m = entry->table->n_micro_batches;
    int64_t round = 2 * (int64_t)of->pp;
    int64_t few = MOST_ROUNDS * round + m % round;
    galv_schedule_shape shape = {of->pp, of->vpp, (int32_t)(m > few ? few : m), 0,
                                 NULL};
    if (entry->replay != NULL) {
        *replay = entry->replay;
        return GALV_OK;
    }
    return galv_replay_new(replay, of->schedule, &shape, arena, l->err);
}

/* Lower bound of all plans of a shape; INFINITY when none can run or fit. */
static galv_status bound_shape(galv_layerwise *l, galv_layerwise_shape *entry)
{
    galv_replay *replay = NULL;
    galv_relaxation *relaxation = NULL;
    galv_arena_reset(l->scratch);
    entry->bound_s = INFINITY;
    bool keep = l->n_replayed < KEPT_PASSES;
    galv_status status = make_replay(&replay, l, entry, keep ? l->arena : l->scratch);
    if (status == GALV_USAGE) { /* micro-batches that the schedule cannot do */
        return GALV_OK;
    }
    if (status == GALV_OK && keep) {
        entry->replay = replay;
        l->n_replayed += galv_replay_cost(replay);
    }
    if (status == GALV_OK) {
        status = galv_relaxation_new(&relaxation, entry->table, replay, &l->job->model,
                                     l->limit_bytes, galv_layer_latency_s, l->scratch,
                                     l->err);
    }
    if (status == GALV_OK) {
        status = galv_relaxation_bound(&entry->bound_s, relaxation, l->result->best_s,
                                       l->err);
    }
    for (size_t i = 0;
         i < N_SHARES && status == GALV_OK && entry->bound_s < l->result->best_s; i++) {
        double between_s = 0;
        status = galv_relaxation_new_between(&relaxation, entry->table, replay,
                                             &l->job->model, l->limit_bytes,
                                             hiding_shares[i], l->scratch, l->err);
        if (status == GALV_OK) {
            status = galv_relaxation_between_bound(&between_s, relaxation, l->err);
        }
        entry->bound_s = fmax(entry->bound_s, between_s);
    }
    return status;
}

typedef struct shape_key {
    double bound_s;
    size_t index;
} shape_key;

static int compare_shapes(const void *left, const void *right)
{
    const shape_key *a = left;
    const shape_key *b = right;
    if (a->bound_s < b->bound_s || a->bound_s > b->bound_s) {
        return a->bound_s < b->bound_s ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

static galv_status order_shapes(galv_layerwise *l, const galv_shapes *shapes)
{
    l->n_shapes = shapes->n;
    l->shapes = GALV_NEW_ARRAY(l->arena, galv_layerwise_shape, l->n_shapes + 1);
    shape_key *keys = GALV_NEW_ARRAY(l->arena, shape_key, l->n_shapes + 1);
    l->order = GALV_NEW_ARRAY(l->arena, size_t, l->n_shapes + 1);
    if (!keys || !l->order || !l->shapes) {
        return galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < l->n_shapes; i++) {
        l->shapes[i].table = &shapes->tables[i];
        galv_status status = bound_shape(l, &l->shapes[i]);
        if (status != GALV_OK) {
            return status;
        }
        keys[i] = (shape_key){l->shapes[i].bound_s, i};
    }
    qsort(keys, l->n_shapes, sizeof *keys, compare_shapes);
    for (size_t i = 0; i < l->n_shapes; i++) {
        l->order[i] = keys[i].index;
    }
    return GALV_OK;
}

/* ---- judging ---- */

static void judge_item(void *context, size_t item, int worker)
{
    galv_layerwise *l = context;
    galv_arena *arena = l->arenas[worker];
    galv_searched *c = &l->judged[item];
    galv_plan *plan = NULL;
    galv_prices *prices = NULL;
    galv_memory_need need = {0, 0};
    galv_err *err = &l->errors[item];
    *err = (galv_err)GALV_ERR_INIT;
    l->ops[item] = 0;
    galv_status status =
        galv_layering_plan(&plan, &l->wave[item].layering, l->entry->table,
                           &l->space->overlap, l->job, arena, err);
    if (status == GALV_OK) {
        status = galv_prices_new(&prices, l->model, plan,
                                 galv_layerwise_table(l, worker), arena, err);
    }
    if (status == GALV_OK) {
        status = galv_price_memory(&need, l->model, plan, prices, false, arena, err);
    }
    c->fate = GALV_FATE_OUT_OF_MEMORY;
    c->peak_memory_bytes = need.bytes;
    if (status == GALV_OK && galv_memory_need_fits(&need)) {
        status = galv_trial(c, l->model, plan, prices,
                            isfinite(l->stop_at_s[item]) ? l->stop_at_s[item] : 0,
                            arena, err);
        l->ops[item] = galv_evaluate_ops(l->job, plan);
    }
    l->statuses[item] = status;
    galv_arena_reset(arena);
}

/* A layering as a candidate, with its plan. */
static galv_candidate candidate_of(const galv_layerwise *l,
                                   const galv_layering *layering, const galv_plan *plan)
{
    const galv_layer_table *table = l->entry->table;
    int32_t layer = table->n_layers > 2;
    int32_t g = galv_layer_table_group(table, layer);
    const galv_strategy *strategy = &table->prices[g][layering->choice[layer]].strategy;
    return (galv_candidate){.strategy = *strategy,
                            .pp = table->shape.pp,
                            .vpp = table->shape.vpp,
                            .micro_batch_size =
                                (int32_t)(table->shape.samples / strategy->dp),
                            .schedule = table->shape.schedule,
                            .layered = plan};
}

/* Keeps a judged layering for the result, its plan's layers included. */
static galv_status keep(galv_layerwise *l, size_t item)
{
    const galv_searched *kept = NULL;
    const galv_layering *layering = &l->wave[item].layering;
    galv_plan *plan = NULL;
    galv_status status = galv_layering_plan(
        &plan, layering, l->entry->table, &l->space->overlap, l->job, l->arena, l->err);
    if (status == GALV_OK) {
        l->judged[item].candidate = candidate_of(l, layering, plan);
        status = galv_judged_add(&kept, &l->list, &l->judged[item], l->err);
    }
    if (status != GALV_OK) {
        return status;
    }
    double least_s = kept->fate == GALV_FATE_SIMULATED ? kept->time_s
                     : kept->fate == GALV_FATE_BOUNDED ? kept->bound_s
                                                       : (double)INFINITY;
    status = galv_layerwise_remember(l, layering, least_s);
    return status == GALV_OK && kept->fate == GALV_FATE_SIMULATED
               ? galv_layerwise_offer(l, l->entry, layering, kept->time_s)
               : status;
}

galv_status galv_layerwise_judge(galv_layerwise *l)
{
    for (size_t i = 0; i < l->n_wave; i++) {
        memset(&l->judged[i], 0, sizeof l->judged[i]);
        l->judged[i].bound_s = l->wave[i].bound_s;
        l->judged[i].time_s = NAN;
    }
    galv_status status =
        galv_parallel_for(l->options.n_jobs, l->n_wave, judge_item, l, l->err);
    for (size_t i = 0; status == GALV_OK && i < l->n_wave; i++) {
        if (l->statuses[i] != GALV_OK) {
            return galv_fail(l->err, l->statuses[i], "%s", l->errors[i].message);
        }
        l->n_ops += l->ops[i];
        l->result->n_simulated += l->ops[i] > 0;
        status = keep(l, i);
    }
    return status;
}

bool galv_layerwise_out_of_time(galv_layerwise *l)
{
    if (l->options.stopped && l->options.stopped(l->options.stopped_at)) {
        l->result->interrupted = true;
    }
    return l->result->interrupted || l->n_ops > (double)l->options.max_ops;
}

/* What a layering takes that cannot enter the podium. */
static double limit_s(const galv_layerwise *l, const galv_layering *layering)
{
    static const galv_plan layered;
    galv_candidate candidate = candidate_of(l, layering, &layered);
    return galv_podium_limit(l->list.podium, &candidate);
}

size_t galv_layerwise_fill_wave(galv_layerwise *l, const galv_layer_leaf *leaves,
                                size_t n, const double *stop_at_s)
{
    size_t n_seen = 0;
    l->n_wave = 0;
    while (l->n_wave < GALV_LAYERWISE_WAVE && n_seen < n) {
        const galv_layer_leaf *leaf = &leaves[n_seen++];
        double stop_s = stop_at_s ? *stop_at_s : limit_s(l, &leaf->layering);
        if (leaf->bound_s < stop_s &&
            galv_layerwise_least_s(l, &leaf->layering) < stop_s) {
            l->stop_at_s[l->n_wave] = stop_s;
            l->wave[l->n_wave++] = *leaf;
        }
    }
    return n_seen;
}

/* Judges leaves, best bound first, that can be faster than the best, or that can be
 * listed; `left_s` gets the bound of the first that was left though it might. */
static galv_status judge_leaves(galv_layerwise *l, const galv_layer_leaf *leaves,
                                size_t n, bool listed, double *left_s)
{
    galv_status status = GALV_OK;
    *left_s = INFINITY;
    for (size_t next = 0; next < n && status == GALV_OK;) {
        next += galv_layerwise_fill_wave(l, &leaves[next], n - next,
                                         listed ? NULL : &l->result->best_s);
        if (l->n_wave == 0) {
            break;
        }
        if (galv_layerwise_out_of_time(l)) {
            *left_s = l->wave[0].bound_s;
            break;
        }
        status = galv_layerwise_judge(l);
    }
    return status;
}

/* ---- a shape ---- */

galv_status galv_layerwise_open(galv_layerwise *l, const galv_layerwise_shape *entry,
                                galv_layer_guesser *guesser, bool *possible)
{
    galv_arena_reset(l->scratch);
    l->entry = entry;
    *guesser = (galv_layer_guesser){l->model,
                                    entry->table,
                                    NULL,
                                    &l->space->overlap,
                                    l->limit_bytes,
                                    l->options.max_runs,
                                    galv_layerwise_table(l, 0)};
    galv_status status = make_replay(&guesser->replay, l, entry, l->scratch);
    *possible = status == GALV_OK;
    return status == GALV_USAGE ? GALV_OK : status;
}

/* About how long the best plan of each shape takes; keys by that. */
static galv_status rank_by_guess(galv_layerwise *l, shape_key *keys)
{
    for (size_t i = 0; i < l->n_shapes; i++) {
        const galv_layerwise_shape *entry = &l->shapes[i];
        keys[i] = (shape_key){INFINITY, i};
        if (entry->bound_s >= l->result->best_s || galv_layerwise_out_of_time(l)) {
            continue;
        }
        galv_layer_guesser guesser;
        bool possible = false;
        galv_status status = galv_layerwise_open(l, entry, &guesser, &possible);
        if (status == GALV_OK && possible) {
            double guess_s = INFINITY;
            status = galv_layer_guess_time(&guess_s, &guesser, l->scratch, l->err);
            keys[i].bound_s = fmax(guess_s, entry->bound_s);
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    qsort(keys, l->n_shapes, sizeof *keys, compare_shapes);
    return GALV_OK;
}

/* Do two shapes differ in schedule, and in how many chunks if any, alone? */
static bool alike(const galv_shape *a, const galv_shape *b)
{
    return a->pp == b->pp && a->samples == b->samples && (a->vpp > 1) == (b->vpp > 1);
}

/* How many shapes of the first n are like the next one? */
static int32_t count_alike(const galv_layerwise *l, const shape_key *keys, size_t n)
{
    int32_t n_alike = 0;
    for (size_t i = 0; i < n; i++) {
        n_alike += alike(&l->shapes[keys[i].index].table->shape,
                         &l->shapes[keys[n].index].table->shape);
    }
    return n_alike;
}

/* Judges guesses of the most promising shapes, not too many that are alike. */
static galv_status guess_shapes(galv_layerwise *l)
{
    shape_key *keys = GALV_NEW_ARRAY(l->arena, shape_key, l->n_shapes + 1);
    galv_status status = keys ? rank_by_guess(l, keys)
                              : galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
    int32_t n_guessed = 0;
    for (size_t i = 0; status == GALV_OK && i < l->n_shapes && n_guessed < MOST_GUESSED;
         i++) {
        const galv_layerwise_shape *entry = &l->shapes[keys[i].index];
        galv_layer_guesser guesser;
        galv_layer_leaves guessed = {0};
        double left_s = INFINITY;
        bool possible = false;
        if (keys[i].bound_s >= galv_podium_last(l->list.podium) ||
            !isfinite(keys[i].bound_s) || galv_layerwise_out_of_time(l)) {
            break;
        }
        if (count_alike(l, keys, i) >= MOST_ALIKE) {
            continue;
        }
        n_guessed++;
        status = galv_layerwise_open(l, entry, &guesser, &possible);
        if (status == GALV_OK && possible) {
            status = galv_layer_guess(&guessed, &guesser, l->scratch, l->err);
        }
        if (status == GALV_OK) {
            size_t n = guessed.n_leaves < MOST_TRIED ? guessed.n_leaves : MOST_TRIED;
            status = judge_leaves(l, guessed.leaves, n, true, &left_s);
        }
    }
    return status;
}

/* Walks the tree of one shape; *bound_s gets what no plan of it can beat, as far as is
 * known. */
static galv_status search_shape(galv_layerwise *l, const galv_layerwise_shape *entry,
                                double *bound_s)
{
    galv_layer_guesser guesser;
    galv_layer_leaves leaves = {0};
    double left_s = INFINITY;
    bool possible = false;
    galv_status status = galv_layerwise_open(l, entry, &guesser, &possible);
    if (status != GALV_OK || !possible) {
        *bound_s = INFINITY;
        return status;
    }
    /* with one tree left open nothing can be proven: the others may still hold faster
     * plans, but where they are small */
    galv_layer_tree_limits limits = {
        l->result->best_s, l->limit_bytes, l->options.max_runs,
        l->given_up ? l->options.max_nodes / NODES_AFTER : l->options.max_nodes};
    status = galv_layer_tree_walk(&leaves, entry->table, guesser.replay, &l->job->model,
                                  &limits, l->scratch, l->err);
    if (status == GALV_OK && leaves.complete) {
        status = judge_leaves(l, leaves.leaves, leaves.n_leaves, false, &left_s);
    }
    l->given_up |= !leaves.complete;
    *bound_s = leaves.complete ? left_s : entry->bound_s;
    return status;
}

static galv_status search_shapes(galv_layerwise *l)
{
    galv_layerwise_result *r = l->result;
    galv_status status = guess_shapes(l);
    if (status == GALV_OK && !isfinite(r->best_s)) {
        status = galv_layerwise_shrink(l);
    }
    if (status == GALV_OK) {
        status = galv_layerwise_improve(l);
    }
    for (size_t i = 0; i < l->n_shapes && status == GALV_OK; i++) {
        const galv_layerwise_shape *entry = &l->shapes[l->order[i]];
        double bound_s = entry->bound_s;
        if (bound_s < r->best_s && !galv_layerwise_out_of_time(l)) {
            status = search_shape(l, entry, &bound_s);
        }
        /* a shape left open when the best was worse may be closed by now: so the least
         * bound is kept, and compared at the end */
        r->lower_bound_s = fmin(r->lower_bound_s, bound_s);
        r->n_closed += bound_s >= r->best_s;
    }
    return status;
}

static galv_status begin(galv_layerwise *l)
{
    l->scratch = galv_arena_new();
    l->arenas = GALV_NEW_ARRAY(l->arena, galv_arena *, l->options.n_jobs);
    bool made = l->scratch && l->arenas;
    for (int i = 0; made && i < l->options.n_jobs; i++) {
        l->arenas[i] = galv_arena_new();
        made = l->arenas[i] != NULL;
    }
    return made ? GALV_OK : galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
}

galv_status galv_layerwise_search(galv_layerwise_result *result,
                                  const galv_costmodel *model, const galv_space *space,
                                  const galv_shapes *shapes,
                                  const galv_layerwise_options *options,
                                  galv_arena *arena, galv_err *err)
{
    galv_layerwise_result found;
    galv_podium_place only;
    galv_podium own = {0, 1, 0, &only};
    memset(&found, 0, sizeof found);
    found.best = -1;
    found.lower_bound_s = INFINITY;
    galv_layerwise *l = GALV_NEW(arena, galv_layerwise);
    if (!l) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    l->model = model;
    l->job = galv_costmodel_job(model);
    l->space = space;
    l->options = *options;
    l->options.n_jobs = options->n_jobs > 0 ? options->n_jobs : 1;
    l->list = (galv_judged){&found, 0, options->podium ? options->podium : &own,
                            options->first_index, arena};
    found.best_s = galv_podium_best(l->list.podium);
    l->options.max_runs = options->max_runs > 0 ? options->max_runs : DEFAULT_RUNS;
    l->options.max_nodes = options->max_nodes > 0 ? options->max_nodes : DEFAULT_NODES;
    l->options.max_ops =
        options->max_ops > 0 ? options->max_ops : (uint64_t)DEFAULT_OPS;
    l->result = &found;
    l->arena = arena;
    l->err = err;
    l->limit_bytes = galv_costmodel_memory_limit(model);
    galv_status status = begin(l);
    if (status == GALV_OK) {
        status = order_shapes(l, shapes);
    }
    for (size_t i = 0; status == GALV_OK && i < l->list.podium->n; i++) {
        status = galv_layerwise_offer_uniform(l, shapes, &l->list.podium->places[i]);
    }
    if (status == GALV_OK) {
        status = search_shapes(l);
    }
    for (int i = 0; l->arenas && i < l->options.n_jobs; i++) {
        galv_arena_free(l->arenas[i]);
    }
    galv_arena_free(l->scratch);
    if (status == GALV_OK) {
        found.complete = found.lower_bound_s >= found.best_s;
        found.lower_bound_s = fmin(found.lower_bound_s, found.best_s);
        found.n_shapes = (uint32_t)l->n_shapes;
        *result = found;
    }
    return status;
}
