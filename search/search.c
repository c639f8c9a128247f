/* From the most promising candidate on (search/queue.h) until nothing that is left can
 * win: what does the simulation say?
 *
 * All of it runs in parallel, and nothing depends on the number of threads: candidates
 * are taken in order of their bound, and what a wave of simulations found is merged in
 * order before the next one begins. Interrupted, even while pricing, it still plays one
 * wave of what was priced, so that there is a best so far. */
#include "search/search.h"

#include "base/parallel.h"
#include "schedule/program.h"
#include "search/divisions.h"
#include "search/layerwise.h"
#include "search/least_memory.h"
#include "search/podium.h"
#include "search/pool_mix.h"
#include "search/queue.h"
#include "search/shapes.h"
#include "search/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *const galv_fate_names[4] = {"simulated", "out_of_memory", "bounded",
                                        "left"};

enum { DEFAULT_TOP_K = 5, WAVE = 8 };

typedef struct searcher {
    const galv_costmodel *model;
    const galv_space *space;
    const galv_search_options *options;
    const galv_job *job;
    galv_err *err;
    double started_s;
    galv_searched *searched; /* [n] */
    size_t n;
    int n_jobs;
    galv_arena **arenas;       /* [n_jobs] */
    galv_price_table **tables; /* [n_jobs] */
    galv_status *statuses;     /* [n_jobs] first failure of a worker */
    galv_err *errors;          /* [n_jobs] */
    galv_candidates uniform;   /* as the tree gave them, divided over pools */
    galv_shapes shapes;        /* of `uniform` */
    galv_divisions *divisions; /* of unlike pools; NULL = there is one */
    galv_queue *queue;         /* of what is not simulated yet: searched[queued, n) */
    size_t queued;
    double layered_bound_s; /* no layer-wise plan is faster; INFINITY = not asked */
    size_t wave[WAVE];      /* of `searched` */
    double stop_at_s[WAVE]; /* what takes longer is not wanted; 0 = all is */
} searcher;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool cancelled(const searcher *s)
{
    if (s->options->cancel && atomic_load(s->options->cancel)) {
        return true;
    }
    return s->options->time_limit_s > 0 &&
           now_s() - s->started_s > s->options->time_limit_s;
}

static bool stop_searcher(void *context)
{
    return cancelled(context);
}

static void keep_error(searcher *s, int worker, galv_status status, const galv_err *err)
{
    if (s->statuses[worker] == GALV_OK) {
        s->statuses[worker] = status;
        s->errors[worker] = *err;
    }
}

static void simulate_item(void *context, size_t item, int worker)
{
    searcher *s = context;
    galv_searched *c = &s->searched[s->wave[item]];
    galv_arena *arena = s->arenas[worker];
    galv_plan *plan = NULL;
    galv_prices *prices = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_status status =
        galv_candidate_plan(&plan, &c->candidate, s->space, s->job, arena, &err);
    if (status == GALV_OK) {
        status =
            galv_prices_new(&prices, s->model, plan, s->tables[worker], arena, &err);
    }
    if (status == GALV_OK) {
        status = galv_trial(c, s->model, plan, prices, s->stop_at_s[item], arena, &err);
    }
    if (status != GALV_OK) {
        keep_error(s, worker, status, &err);
    }
    galv_arena_reset(arena);
}

static galv_status first_error(searcher *s)
{
    for (int worker = 0; worker < s->n_jobs; worker++) {
        if (s->statuses[worker] != GALV_OK) {
            return galv_fail(s->err, s->statuses[worker], "%s",
                             s->errors[worker].message);
        }
    }
    return GALV_OK;
}

static void report(const searcher *s, const char *phase, uint64_t done, uint64_t total,
                   double best_s)
{
    if (s->options->progress) {
        galv_search_progress progress = {done, total, phase, best_s, 0};
        if (isfinite(best_s) && best_s > 0) {
            progress.best_mfu = galv_costmodel_model_flop(s->model) / best_s /
                                (double)galv_cluster_n_devices(&s->job->cluster) /
                                galv_costmodel_peak_flop_per_s(s->model);
        }
        s->options->progress(s->options->progress_context, &progress);
    }
}

/* qsort has no context: sort keys carry what they need. */
typedef struct sort_key {
    int rank; /* fate, for the table of candidates */
    double value;
    size_t index;
} sort_key;

static int compare_keys(const void *left, const void *right)
{
    const sort_key *a = left;
    const sort_key *b = right;
    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    if (a->value < b->value || a->value > b->value) {
        return a->value < b->value ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

/* The next few that may enter and may fit: wave[*n]. 0 = there are none. No more than
 * there are free places: with the podium full, times limit what is worth playing. */
static galv_status fill_wave(size_t *n, searcher *s, const galv_podium *best)
{
    size_t n_free = best->top_k - best->n;
    size_t most = n_free > 0 && n_free < WAVE ? n_free : WAVE;
    *n = 0;
    while (*n < most && (*n == 0 || !cancelled(s))) {
        size_t index = 0;
        galv_status status =
            galv_queue_next(&index, s->queue, galv_podium_last(best), s->err);
        if (status != GALV_OK) {
            return status;
        }
        index += s->queued;
        if (index == s->n) {
            break;
        }
        galv_searched *c = &s->searched[index];
        double limit_s = galv_podium_limit(best, &c->candidate);
        if (c->bound_s >= limit_s) {
            c->fate = GALV_FATE_BOUNDED; /* others of its kind are better */
            continue;
        }
        s->stop_at_s[*n] = isfinite(limit_s) ? limit_s : 0;
        s->wave[(*n)++] = index;
    }
    return GALV_OK;
}

static galv_status simulate_best_first(searcher *s, galv_podium *best,
                                       uint64_t *n_simulated, bool *interrupted)
{
    uint64_t n_ops = 0;
    while (s->options->max_ops == 0 || n_ops <= s->options->max_ops) {
        size_t n = 0;
        galv_status status = fill_wave(&n, s, best);
        /* One wave is always played, so that there is a best so far to show. */
        if (status == GALV_OK && n > 0 && *n_simulated > 0 && cancelled(s)) {
            *interrupted = true;
            break;
        }
        if (status == GALV_OK && n > 0) {
            status = galv_parallel_for(s->n_jobs, n, simulate_item, s, s->err);
        }
        if (status == GALV_OK) {
            status = first_error(s);
        }
        if (status != GALV_OK || n == 0) {
            return status;
        }
        for (size_t i = 0; i < n; i++) {
            const galv_searched *c = &s->searched[s->wave[i]];
            galv_plan *plan = NULL;
            galv_err ignored = GALV_ERR_INIT;
            if (c->fate == GALV_FATE_SIMULATED) {
                galv_podium_place entered = {s->wave[i], c->time_s, &c->candidate};
                galv_podium_enter(best, &entered);
            }
            if (galv_candidate_plan(&plan, &c->candidate, s->space, s->job,
                                    s->arenas[0], &ignored) == GALV_OK) {
                n_ops += (uint64_t)galv_evaluate_ops(s->job, plan);
            }
            galv_arena_reset(s->arenas[0]);
        }
        *n_simulated += n;
        report(s, "simulating", galv_queue_n_priced(s->queue), s->n,
               galv_podium_best(best));
    }
    return GALV_OK;
}

/* What is left with a bound no better than the last plan wanted cannot enter. */
static void settle(searcher *s, const galv_podium *best, galv_search_result *result)
{
    double last_s = galv_podium_last(best);
    double best_s = galv_podium_best(best);
    double least_left_s = INFINITY;
    for (size_t i = 0; i < s->uniform.n_candidates; i++) {
        galv_searched *c = &s->searched[i];
        if (c->fate == GALV_FATE_LEFT && c->bound_s >= last_s) {
            c->fate = GALV_FATE_BOUNDED;
        }
        if (c->fate == GALV_FATE_LEFT || c->fate == GALV_FATE_BOUNDED) {
            least_left_s = fmin(least_left_s, c->bound_s);
        }
    }
    result->proven_uniform =
        !result->interrupted && best->n > 0 && least_left_s >= best_s;
    least_left_s = fmin(least_left_s, s->layered_bound_s);
    result->lower_bound_s = fmin(best_s, least_left_s);
    result->proven_optimal =
        !result->interrupted && best->n > 0 && least_left_s >= best_s;
    for (size_t i = 0; i < s->n; i++) {
        const galv_searched *c = &s->searched[i];
        result->cut[GALV_CUT_MEMORY] += c->fate == GALV_FATE_OUT_OF_MEMORY;
        result->cut[GALV_CUT_BOUND] += c->fate == GALV_FATE_BOUNDED;
    }
    for (int reason = 0; reason < GALV_N_CUTS; reason++) {
        result->n_pruned += result->cut[reason];
    }
}

static galv_status evaluate_plans(searcher *s, const galv_podium *best,
                                  galv_search_result *result, galv_arena *arena)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    result->plans = GALV_NEW_ARRAY(arena, galv_ranked_plan, best->n + 1);
    if (!result->plans) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < best->n; i++) {
        galv_ranked_plan *plan = &result->plans[i];
        galv_status status = galv_candidate_plan(&plan->plan, best->places[i].candidate,
                                                 s->space, s->job, arena, s->err);
        if (status == GALV_OK) {
            status = galv_prices_new(&options.prices, s->model, plan->plan,
                                     s->tables[0], arena, s->err);
        }
        if (status == GALV_OK) {
            status = galv_evaluate(&plan->result, s->model, plan->plan, &options, arena,
                                   s->err);
        }
        if (status != GALV_OK) {
            return status;
        }
        result->n_plans++;
    }
    return GALV_OK;
}

/* Rows of candidates.csv: simulated ones by time, the others by bound or memory. */
static galv_status sort_searched(searcher *s, galv_search_result *result,
                                 galv_arena *arena)
{
    sort_key *keys = GALV_NEW_ARRAY(arena, sort_key, s->n + 1);
    galv_searched *sorted = GALV_NEW_ARRAY(arena, galv_searched, s->n + 1);
    if (!keys || !sorted) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < s->n; i++) {
        const galv_searched *c = &s->searched[i];
        static const int places[] = {[GALV_FATE_SIMULATED] = 0,
                                     [GALV_FATE_BOUNDED] = 1,
                                     [GALV_FATE_LEFT] = 2,
                                     [GALV_FATE_OUT_OF_MEMORY] = 3};
        double value = c->fate == GALV_FATE_SIMULATED       ? c->time_s
                       : c->fate == GALV_FATE_OUT_OF_MEMORY ? c->peak_memory_bytes
                                                            : c->bound_s;
        keys[i] = (sort_key){places[c->fate], value, i};
    }
    qsort(keys, s->n, sizeof *keys, compare_keys);
    for (size_t i = 0; i < s->n; i++) {
        sorted[i] = s->searched[keys[i].index];
    }
    result->n_searched = s->n;
    result->searched = sorted;
    return GALV_OK;
}

/* Queues searched[first, n), of which `shapes` know something. */
static galv_status enqueue(searcher *s, size_t first, const galv_shapes *shapes,
                           galv_arena *arena)
{
    for (size_t i = first; i < s->n; i++) {
        s->searched[i].candidate = s->uniform.candidates[i];
        s->searched[i].time_s = NAN;
    }
    galv_queue_work work = {s->model,     s->space,      s->searched + first,
                            s->n - first, s->n_jobs,     s->arenas,
                            s->tables,    stop_searcher, s};
    s->queued = first;
    return galv_queue_new(&s->queue, &work, shapes, arena, s->err);
}

/* Shapes that are none, of n candidates of which something else is known. */
static bool make_shapeless(galv_shapes *shapes, size_t n, const galv_shape_bound *known,
                           galv_arena *arena)
{
    memset(shapes, 0, sizeof *shapes);
    shapes->shape_of = GALV_NEW_ARRAY(arena, int32_t, n + 1);
    for (size_t i = 0; shapes->shape_of && i < n; i++) {
        shapes->shape_of[i] = -1;
    }
    shapes->known = known;
    return shapes->shape_of != NULL;
}

/* The uniform candidates of a cluster of several pools. */
static galv_status divide_pools(searcher *s, galv_arena *arena)
{
    galv_candidates *leaves = GALV_NEW(arena, galv_candidates);
    galv_divided divided = {0};
    if (!leaves) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    *leaves = s->uniform;
    galv_status status =
        galv_divisions_new(&s->divisions, s->model, s->space, leaves, arena, s->err);
    if (status == GALV_OK) {
        status = galv_divisions_first(&divided, s->divisions, arena, s->err);
    }
    if (status != GALV_OK) {
        return status;
    }
    s->uniform = divided.candidates;
    return make_shapeless(&s->shapes, s->uniform.n_candidates, divided.known, arena)
               ? GALV_OK
               : galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
}

/* Adds all other divisions that may enter, to what is searched and to the queue. */
static galv_status queue_rest(searcher *s, const galv_podium *best, galv_arena *arena)
{
    galv_divided rest = {0};
    galv_shapes shapes;
    galv_status status =
        galv_divisions_rest(&rest, s->divisions, galv_podium_last(best), arena, s->err);
    if (status != GALV_OK) {
        return status;
    }
    size_t before = s->n;
    size_t n = before + rest.candidates.n_candidates;
    galv_searched *all = GALV_NEW_ARRAY(arena, galv_searched, n + 1);
    galv_candidate *candidates = GALV_NEW_ARRAY(arena, galv_candidate, n + 1);
    if (!all || !candidates || !make_shapeless(&s->shapes, n, NULL, arena) ||
        !make_shapeless(&shapes, n - before, rest.known, arena)) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    memcpy(all, s->searched, before * sizeof *all);
    memcpy(candidates, s->uniform.candidates, before * sizeof *candidates);
    if (n > before) {
        memcpy(&candidates[before], rest.candidates.candidates,
               (n - before) * sizeof *candidates);
    }
    s->searched = all;
    s->uniform.candidates = candidates;
    s->uniform.n_candidates = n;
    s->n = n;
    return enqueue(s, before, &shapes, arena);
}

static galv_status prepare(searcher *s, galv_search_result *result, galv_podium *best,
                           galv_arena *arena)
{
    galv_candidates found = {0};
    galv_status status = galv_space_enumerate(&found, s->space, s->job, arena, s->err);
    if (status != GALV_OK) {
        return status;
    }
    memcpy(result->cut, found.cut, sizeof result->cut);
    s->uniform = found;
    status = s->job->cluster.n_pools > 1
                 ? divide_pools(s, arena)
                 : galv_shapes_make(&s->shapes, s->model, s->space, &s->uniform, arena,
                                    s->err);
    if (status != GALV_OK) {
        return status;
    }
    s->n = s->uniform.n_candidates;
    s->searched = GALV_NEW_ARRAY(arena, galv_searched, s->n);
    s->arenas = GALV_NEW_ARRAY(arena, galv_arena *, s->n_jobs);
    s->tables = GALV_NEW_ARRAY(arena, galv_price_table *, s->n_jobs);
    s->statuses = GALV_NEW_ARRAY(arena, galv_status, s->n_jobs);
    s->errors = GALV_NEW_ARRAY(arena, galv_err, s->n_jobs);
    best->places = GALV_NEW_ARRAY(arena, galv_podium_place, best->top_k + 1);
    if (!s->searched || !s->arenas || !s->tables || !s->statuses || !s->errors ||
        !best->places) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    for (int worker = 0; worker < s->n_jobs; worker++) {
        s->arenas[worker] = galv_arena_new();
        s->tables[worker] = galv_price_table_new(s->model);
        if (!s->arenas[worker] || !s->tables[worker]) {
            return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
        }
    }
    result->n_candidates = s->n;
    report(s, "pricing", 0, s->n, INFINITY);
    return enqueue(s, 0, &s->shapes, arena);
}

/* ---- layer by layer ---- */

/* Adds what the layer-wise search judged. */
static galv_status take_layered(searcher *s, const galv_layerwise_result *layered,
                                galv_arena *arena)
{
    size_t n = s->n + layered->n_searched;
    galv_searched *all = GALV_NEW_ARRAY(arena, galv_searched, n + 1);
    if (!all) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    memcpy(all, s->searched, s->n * sizeof *all);
    if (layered->n_searched > 0) {
        memcpy(&all[s->n], layered->searched, layered->n_searched * sizeof *all);
    }
    s->searched = all;
    s->n = n;
    return GALV_OK;
}

static galv_status search_layers(searcher *s, galv_search_result *result,
                                 galv_podium *best, galv_arena *arena)
{
    galv_layerwise_result layered;
    galv_layerwise_options options = {.n_jobs = s->n_jobs,
                                      .tables = s->tables,
                                      .podium = best,
                                      .first_index = s->n,
                                      .max_ops = s->options->max_ops,
                                      .stopped = stop_searcher,
                                      .stopped_at = s};
    report(s, "mixing", 0, s->n, galv_podium_best(best));
    galv_status status =
        s->divisions != NULL
            ? galv_pool_mix_search(&layered, s->model, s->space, s->divisions, &options,
                                   arena, s->err)
            : galv_layerwise_search(&layered, s->model, s->space, &s->shapes, &options,
                                    arena, s->err);
    if (status != GALV_OK) {
        return status;
    }
    s->layered_bound_s = layered.lower_bound_s;
    result->interrupted |= layered.interrupted;
    result->n_simulated += layered.n_simulated;
    result->n_candidates += layered.n_searched;
    return take_layered(s, &layered, arena);
}

static galv_status run(searcher *s, galv_search_result *result, galv_podium *best,
                       galv_arena *arena)
{
    galv_status status = prepare(s, result, best, arena);
    if (status == GALV_OK) {
        status =
            simulate_best_first(s, best, &result->n_simulated, &result->interrupted);
    }
    if (status == GALV_OK && s->divisions != NULL && !result->interrupted) {
        status = queue_rest(s, best, arena);
        if (status == GALV_OK) {
            status = simulate_best_first(s, best, &result->n_simulated,
                                         &result->interrupted);
        }
        result->n_candidates = s->n;
    }
    if (status == GALV_OK && s->space->layer_wise) {
        s->layered_bound_s = 0;
        if (!result->interrupted) {
            status = search_layers(s, result, best, arena);
        }
    }
    if (status != GALV_OK) {
        return status;
    }
    settle(s, best, result);
    if (best->n == 0 && !result->interrupted) {
        status = galv_least_memory_find(result, s->model, s->space, s->searched, s->n,
                                        arena, s->arenas[0], s->tables[0], s->err);
        if (status != GALV_OK) {
            return status;
        }
    }
    status = evaluate_plans(s, best, result, arena);
    if (status == GALV_OK && result->proven_optimal) { /* times on trial are less */
        result->lower_bound_s = result->plans[0].result.iteration_time_s;
    }
    return status == GALV_OK ? sort_searched(s, result, arena) : status;
}

galv_status galv_search(galv_search_result *result, const galv_costmodel *model,
                        const galv_space *space, const galv_search_options *options,
                        galv_arena *arena, galv_err *err)
{
    searcher s = {.model = model,
                  .space = space,
                  .options = options,
                  .err = err,
                  .layered_bound_s = INFINITY};
    galv_podium best = {0, options->top_k > 0 ? (size_t)options->top_k : DEFAULT_TOP_K,
                        options->per_kind, NULL};
    galv_search_result found;
    memset(&found, 0, sizeof found);
    s.job = galv_costmodel_job(model);
    s.started_s = now_s();
    s.n_jobs = options->n_jobs > 0 ? options->n_jobs : 1;
    galv_status status = run(&s, &found, &best, arena);
    for (int worker = 0; s.arenas && s.tables && worker < s.n_jobs; worker++) {
        galv_arena_free(s.arenas[worker]);
        galv_price_table_free(s.tables[worker]);
    }
    if (status != GALV_OK) {
        return status;
    }
    found.wall_s = now_s() - s.started_s;
    *result = found;
    return found.n_plans > 0 ? GALV_OK : galv_least_memory_say(&found, err);
}

void galv_search_add_counts(galv_search_result *sum, const galv_search_result *one)
{
    sum->n_candidates += one->n_candidates;
    sum->n_pruned += one->n_pruned;
    sum->n_simulated += one->n_simulated;
    sum->wall_s += one->wall_s;
    sum->interrupted |= one->interrupted;
    sum->proven_uniform &= one->proven_uniform;
    for (int reason = 0; reason < GALV_N_CUTS; reason++) {
        sum->cut[reason] += one->cut[reason];
    }
}
