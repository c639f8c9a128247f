/* Price every candidate, then simulate from the most promising on until nothing that is
 * left can win.
 *
 * Both phases run in parallel, and neither depends on the number of threads: pricing
 * writes to the candidate's own slot; simulation takes candidates in order of their
 * bound in waves of a fixed size, and what a wave found is merged in order before the
 * next one begins. Interrupted, even while pricing, it still plays one wave of what was
 * priced, so that there is a best so far. */
#include "search/search.h"

#include "base/parallel.h"
#include "schedule/program.h"
#include "search/layerwise.h"
#include "search/pricing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *const galv_fate_names[4] = {"simulated", "out_of_memory", "bounded",
                                        "left"};

enum { DEFAULT_TOP_K = 5, WAVE = 8, PRICING_SLICE = 512 };

typedef struct searcher {
    const galv_costmodel *model;
    const galv_space *space;
    const galv_search_options *options;
    const galv_job *job;
    galv_err *err;
    double limit_bytes;
    double started_s;
    galv_searched *searched; /* [n] */
    size_t n;
    size_t n_priced; /* the first of them that were priced */
    size_t *order;   /* [n] by bound, those that may fit only */
    size_t n_order;
    size_t first; /* pricing: first item of the slice */
    int n_jobs;
    galv_arena **arenas;     /* [n_jobs] */
    galv_status *statuses;   /* [n_jobs] first failure of a worker */
    galv_err *errors;        /* [n_jobs] */
    galv_candidates uniform; /* as the tree gave them */
    double layered_bound_s;  /* no layer-wise plan is faster; INFINITY = not asked */
    double stop_at_s;        /* the K-th best time when the wave began */
    bool *stopped;           /* [WAVE] simulation gave up at stop_at_s */
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

static void keep_error(searcher *s, int worker, galv_status status, const galv_err *err)
{
    if (s->statuses[worker] == GALV_OK) {
        s->statuses[worker] = status;
        s->errors[worker] = *err;
    }
}

/* Memory and bound of one candidate. A plan that cannot be compiled is a fault of the
 * tree, except for shapes that only the schedule itself can judge: those are left. */
static void price_item(void *context, size_t item, int worker)
{
    searcher *s = context;
    galv_searched *c = &s->searched[s->first + item];
    galv_arena *arena = s->arenas[worker];
    galv_plan *plan = NULL;
    galv_plan_price price = {0};
    galv_err err = GALV_ERR_INIT;
    galv_status status =
        galv_candidate_plan(&plan, &c->candidate, s->space, s->job, arena, &err);
    if (status == GALV_OK) {
        status = galv_price_plan(&price, s->model, plan, s->limit_bytes, arena, &err);
    }
    if (status == GALV_OK) {
        c->fate = price.may_fit ? GALV_FATE_LEFT : GALV_FATE_OUT_OF_MEMORY;
        c->peak_memory_bytes = price.peak_memory_bytes;
        c->bound_s = price.bound_s;
    } else {
        keep_error(s, worker, status, &err);
    }
    galv_arena_reset(arena);
}

static void simulate_item(void *context, size_t item, int worker)
{
    searcher *s = context;
    galv_searched *c = &s->searched[s->order[s->first + item]];
    galv_arena *arena = s->arenas[worker];
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_plan *plan = NULL;
    galv_result result;
    galv_err err = GALV_ERR_INIT;
    memset(&result, 0, sizeof result);
    options.sim.stop_at_s = s->stop_at_s;
    galv_status status =
        galv_candidate_plan(&plan, &c->candidate, s->space, s->job, arena, &err);
    if (status == GALV_OK) {
        status = galv_evaluate(&result, s->model, plan, &options, arena, &err);
    }
    if (status != GALV_OK) {
        keep_error(s, worker, status, &err);
    } else if (!result.stopped && !result.fits) {
        c->fate = GALV_FATE_OUT_OF_MEMORY;
        c->peak_memory_bytes = result.peak_memory_bytes;
    } else if (!result.stopped) {
        c->fate = GALV_FATE_SIMULATED;
        c->time_s = result.iteration_time_s;
        c->peak_memory_bytes = result.peak_memory_bytes;
    } else {
        c->fate = GALV_FATE_BOUNDED;
        c->bound_s = s->stop_at_s > c->bound_s ? s->stop_at_s : c->bound_s;
    }
    s->stopped[item] = result.stopped;
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

static galv_status price_all(searcher *s, bool *interrupted)
{
    for (s->first = 0; s->first < s->n; s->first += PRICING_SLICE) {
        size_t n = s->n - s->first < PRICING_SLICE ? s->n - s->first : PRICING_SLICE;
        if (cancelled(s) && s->first > 0) {
            *interrupted = true;
            return GALV_OK;
        }
        galv_status status = galv_parallel_for(s->n_jobs, n, price_item, s, s->err);
        if (status == GALV_OK) {
            status = first_error(s);
        }
        if (status != GALV_OK) {
            return status;
        }
        s->n_priced = s->first + n;
        report(s, "pricing", s->n_priced, s->n, INFINITY);
    }
    return GALV_OK;
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

static galv_status order_by_bound(searcher *s, galv_arena *arena)
{
    sort_key *keys = GALV_NEW_ARRAY(arena, sort_key, s->n + 1);
    s->order = GALV_NEW_ARRAY(arena, size_t, s->n + 1);
    if (!keys || !s->order) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < s->n_priced; i++) {
        if (s->searched[i].fate == GALV_FATE_LEFT) {
            keys[s->n_order++] = (sort_key){0, s->searched[i].bound_s, i};
        }
    }
    qsort(keys, s->n_order, sizeof *keys, compare_keys);
    for (size_t i = 0; i < s->n_order; i++) {
        s->order[i] = keys[i].index;
    }
    return GALV_OK;
}

/* The best top_k so far, kept sorted by (time, place in the tree). */
typedef struct podium {
    size_t n, top_k;
    size_t *index;
} podium;

static void podium_enter(podium *p, const galv_searched *searched, size_t index)
{
    size_t at = p->n;
    double time_s = searched[index].time_s;
    while (at > 0 && (time_s < searched[p->index[at - 1]].time_s ||
                      (time_s <= searched[p->index[at - 1]].time_s &&
                       index < p->index[at - 1]))) {
        at--;
    }
    if (at >= p->top_k) {
        return;
    }
    size_t last = p->n < p->top_k ? p->n : p->top_k - 1;
    memmove(&p->index[at + 1], &p->index[at], (last - at) * sizeof *p->index);
    p->index[at] = index;
    p->n += p->n < p->top_k;
}

static double podium_last(const podium *p, const galv_searched *searched)
{
    return p->n < p->top_k ? (double)INFINITY : searched[p->index[p->n - 1]].time_s;
}

static double podium_best(const podium *p, const galv_searched *searched)
{
    return p->n == 0 ? (double)INFINITY : searched[p->index[0]].time_s;
}

static galv_status simulate_best_first(searcher *s, podium *best, uint64_t *n_simulated,
                                       bool *interrupted)
{
    uint64_t n_ops = 0;
    for (s->first = 0; s->first < s->n_order;) {
        double last_s = podium_last(best, s->searched);
        size_t n = 0;
        while (n < WAVE && s->first + n < s->n_order &&
               s->searched[s->order[s->first + n]].bound_s < last_s) {
            n++;
        }
        if (n == 0) {
            break;
        }
        /* One wave is always played, so that there is a best so far to show. */
        if (cancelled(s) && s->first > 0) {
            *interrupted = true;
            break;
        }
        if (s->options->max_ops > 0 && n_ops > s->options->max_ops) {
            break;
        }
        s->stop_at_s = isfinite(last_s) ? last_s : 0;
        galv_status status = galv_parallel_for(s->n_jobs, n, simulate_item, s, s->err);
        if (status == GALV_OK) {
            status = first_error(s);
        }
        if (status != GALV_OK) {
            return status;
        }
        for (size_t i = 0; i < n; i++) {
            const galv_searched *c = &s->searched[s->order[s->first + i]];
            galv_plan *plan = NULL;
            galv_err ignored = GALV_ERR_INIT;
            if (c->fate == GALV_FATE_SIMULATED) {
                podium_enter(best, s->searched, s->order[s->first + i]);
            }
            if (galv_candidate_plan(&plan, &c->candidate, s->space, s->job,
                                    s->arenas[0], &ignored) == GALV_OK) {
                n_ops += (uint64_t)galv_evaluate_ops(s->job, plan);
            }
            galv_arena_reset(s->arenas[0]);
        }
        *n_simulated += n;
        s->first += n;
        report(s, "simulating", s->first, s->n_order, podium_best(best, s->searched));
    }
    return GALV_OK;
}

/* What is left with a bound no better than the last plan wanted cannot enter. */
static void settle(searcher *s, const podium *best, galv_search_result *result)
{
    double last_s = podium_last(best, s->searched);
    double best_s = podium_best(best, s->searched);
    double least_left_s = INFINITY;
    for (size_t i = s->first; i < s->n_order; i++) {
        galv_searched *c = &s->searched[s->order[i]];
        if (c->fate == GALV_FATE_LEFT && c->bound_s >= last_s) {
            c->fate = GALV_FATE_BOUNDED;
        }
        least_left_s = fmin(least_left_s, c->bound_s);
    }
    result->proven_uniform = !result->interrupted && best->n > 0 &&
                             s->n_priced == s->uniform.n_candidates &&
                             least_left_s >= best_s;
    least_left_s = fmin(least_left_s, s->layered_bound_s);
    if (s->n_priced < s->uniform.n_candidates) {
        least_left_s = 0; /* nothing is known of what was not priced */
    }
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

/* Nothing fits: which plan needs least? What pricing says of a plan that does not fit
 * may be less than it needs, so plans are estimated whole, least first, until the next
 * cannot need less. */
static galv_status find_least_memory(searcher *s, galv_search_result *result,
                                     galv_arena *arena)
{
    sort_key *keys = GALV_NEW_ARRAY(arena, sort_key, s->n_priced + 1);
    if (!keys) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < s->n_priced; i++) {
        keys[i] = (sort_key){0, s->searched[i].peak_memory_bytes, i};
    }
    qsort(keys, s->n_priced, sizeof *keys, compare_keys);
    result->least_memory_bytes = INFINITY;
    for (size_t i = 0; i < s->n_priced && keys[i].value < result->least_memory_bytes;
         i++) {
        galv_searched *c = &s->searched[keys[i].index];
        galv_plan *plan = NULL;
        galv_prices *prices = NULL;
        double bytes = 0;
        galv_status status = galv_candidate_plan(&plan, &c->candidate, s->space, s->job,
                                                 s->arenas[0], s->err);
        if (status == GALV_OK) {
            status = galv_prices_new(&prices, s->model, plan, s->arenas[0], s->err);
        }
        if (status == GALV_OK) {
            status = galv_price_memory(&bytes, s->model, plan, prices, INFINITY,
                                       s->arenas[0], s->err);
        }
        if (status != GALV_OK) {
            return status;
        }
        galv_arena_reset(s->arenas[0]);
        c->peak_memory_bytes = fmax(c->peak_memory_bytes, bytes);
        if (c->peak_memory_bytes < result->least_memory_bytes) {
            result->least_memory_bytes = c->peak_memory_bytes;
            result->least_memory = c->candidate;
        }
    }
    return GALV_OK;
}

static galv_status evaluate_plans(searcher *s, const podium *best,
                                  galv_search_result *result, galv_arena *arena)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    result->plans = GALV_NEW_ARRAY(arena, galv_ranked_plan, best->n + 1);
    if (!result->plans) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < best->n; i++) {
        galv_ranked_plan *plan = &result->plans[i];
        galv_status status =
            galv_candidate_plan(&plan->plan, &s->searched[best->index[i]].candidate,
                                s->space, s->job, arena, s->err);
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

static galv_status prepare(searcher *s, galv_search_result *result, podium *best,
                           galv_arena *arena)
{
    galv_candidates found = {0};
    galv_status status = galv_space_enumerate(&found, s->space, s->job, arena, s->err);
    if (status != GALV_OK) {
        return status;
    }
    memcpy(result->cut, found.cut, sizeof result->cut);
    s->uniform = found;
    s->n = found.n_candidates;
    s->searched = GALV_NEW_ARRAY(arena, galv_searched, s->n);
    s->arenas = GALV_NEW_ARRAY(arena, galv_arena *, s->n_jobs);
    s->statuses = GALV_NEW_ARRAY(arena, galv_status, s->n_jobs);
    s->errors = GALV_NEW_ARRAY(arena, galv_err, s->n_jobs);
    s->stopped = GALV_NEW_ARRAY(arena, bool, WAVE);
    best->index = GALV_NEW_ARRAY(arena, size_t, best->top_k + 1);
    if (!s->searched || !s->arenas || !s->statuses || !s->errors || !s->stopped ||
        !best->index) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    for (int worker = 0; worker < s->n_jobs; worker++) {
        s->arenas[worker] = galv_arena_new();
        if (!s->arenas[worker]) {
            return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        s->searched[i].candidate = found.candidates[i];
        s->searched[i].fate = GALV_FATE_LEFT;
        s->searched[i].time_s = NAN;
    }
    result->n_candidates = s->n;
    return GALV_OK;
}

/* ---- layer by layer ---- */

static bool stop_layerwise(void *context)
{
    return cancelled(context);
}

/* Adds what the layer-wise search judged; its best enter the podium. */
static galv_status take_layered(searcher *s, const galv_layerwise_result *layered,
                                podium *best, galv_arena *arena)
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
    for (size_t i = s->n; i < n; i++) {
        if (s->searched[i].fate == GALV_FATE_SIMULATED) {
            podium_enter(best, s->searched, i);
        }
    }
    s->n = n;
    return GALV_OK;
}

static galv_status search_layers(searcher *s, galv_search_result *result, podium *best,
                                 galv_arena *arena)
{
    galv_layerwise_result layered;
    double *known_s = GALV_NEW_ARRAY(arena, double, best->n + 1);
    if (!known_s) {
        return galv_fail(s->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < best->n; i++) {
        known_s[i] = s->searched[best->index[i]].time_s;
    }
    galv_layerwise_options options = {.n_jobs = s->n_jobs,
                                      .top_k = (int32_t)best->top_k,
                                      .known_s = known_s,
                                      .n_known = (int32_t)best->n,
                                      .max_ops = s->options->max_ops,
                                      .stopped = stop_layerwise,
                                      .stopped_at = s};
    report(s, "mixing", 0, s->n, podium_best(best, s->searched));
    galv_status status =
        galv_layerwise_search(&layered, s->model, s->space, &s->uniform,
                              podium_best(best, s->searched), &options, arena, s->err);
    if (status != GALV_OK) {
        return status;
    }
    s->layered_bound_s = layered.lower_bound_s;
    result->interrupted |= layered.interrupted;
    result->n_simulated += layered.n_simulated;
    result->n_candidates += layered.n_searched;
    return take_layered(s, &layered, best, arena);
}

static galv_status run(searcher *s, galv_search_result *result, podium *best,
                       galv_arena *arena)
{
    galv_status status = prepare(s, result, best, arena);
    if (status == GALV_OK) {
        status = price_all(s, &result->interrupted);
    }
    if (status == GALV_OK) {
        status = order_by_bound(s, arena);
    }
    if (status == GALV_OK) {
        result->n_candidates = s->n_priced;
        status =
            simulate_best_first(s, best, &result->n_simulated, &result->interrupted);
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
    if (best->n == 0 && (status = find_least_memory(s, result, arena)) != GALV_OK) {
        return status;
    }
    status = evaluate_plans(s, best, result, arena);
    return status == GALV_OK ? sort_searched(s, result, arena) : status;
}

static galv_status nothing_fits(const searcher *s, const galv_search_result *result)
{
    const galv_candidate *least = &result->least_memory;
    if (result->interrupted) {
        return galv_fail(s->err, GALV_INTERRUPTED,
                         "interrupted before a plan was found that fits");
    }
    galv_fail(s->err, GALV_INFEASIBLE,
              "no plan fits: the smallest needs %.1f GiB of %.1f per device (pp%d tp%d "
              "dp%d zero%d recompute %s micro-batch %d)",
              result->least_memory_bytes / 1073741824.0, s->limit_bytes / 1073741824.0,
              least->pp, least->strategy.tp, least->strategy.dp, least->strategy.zero,
              galv_recompute_names[least->strategy.recompute], least->micro_batch_size);
    galv_hint(s->err, "more nodes, a device with more memory, or fewer restrictions on "
                      "the plan would make one fit");
    return GALV_INFEASIBLE;
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
    podium best = {0, options->top_k > 0 ? (size_t)options->top_k : DEFAULT_TOP_K,
                   NULL};
    galv_search_result found;
    memset(&found, 0, sizeof found);
    s.job = galv_costmodel_job(model);
    s.limit_bytes = galv_costmodel_memory_limit(model);
    s.started_s = now_s();
    s.n_jobs = options->n_jobs > 0 ? options->n_jobs : 1;
    galv_status status = run(&s, &found, &best, arena);
    for (int worker = 0; s.arenas && worker < s.n_jobs; worker++) {
        galv_arena_free(s.arenas[worker]);
    }
    if (status != GALV_OK) {
        return status;
    }
    found.wall_s = now_s() - s.started_s;
    *result = found;
    return found.n_plans > 0 ? GALV_OK : nothing_fits(&s, &found);
}
