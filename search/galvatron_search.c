/* The search under Galvatron's model: all tasks, best bound first.
 *
 * A task is a number of micro-batches and of stages, the degree of the buffer that
 * tensor-parallel blocks share, and a strategy of embedding and head. Each gets a lower
 * bound (whole counts and the later stages' excess ignored); they are solved in the
 * order of their bounds until the next is no better than the best plan.
 *
 * The buffer's degree: Galvatron tries several and a block's degree may be at most it.
 * Without tensor parallelism none is needed (its mode sp_only). */
#include "search/galvatron_search.h"

#include "search/galvatron_task_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USUAL_DEGREE 8

typedef struct waiting {
    double bound_s;
    int32_t shape, buffer_tp, ends;
} waiting;

typedef struct hunt {
    const galv_galvatron_inputs *inputs;
    const galv_galvatron_space *space;
    galv_arena *arena;
    galv_galvatron_room *room;
    int32_t n_shapes;
    galv_galvatron_shape *shapes;
    size_t n_waiting, capacity;
    waiting *waiting;
} hunt;

static int32_t or_usual(int32_t degree)
{
    return degree > 0 ? degree : USUAL_DEGREE;
}

/* ---- strategies ---- */

/* Prices a strategy; one that the profiles do not cover is left out. */
static void add_priced(hunt *h, galv_galvatron_shape *shape,
                       const galv_strategy *strategy)
{
    galv_galvatron_priced p = {.strategy = *strategy};
    const galv_galvatron_task *task = &shape->task;
    galv_err ignored = GALV_ERR_INIT;
    if (shape->n_priced == GALV_COUNTS_MAX_OPTIONS ||
        galv_galvatron_check(h->inputs, task, strategy, &ignored) != GALV_OK) {
        return;
    }
    p.is_layer = galv_galvatron_layer_cost(&p.layer, h->inputs, task, strategy,
                                           &ignored) == GALV_OK;
    ignored = (galv_err)GALV_ERR_INIT;
    p.is_end = strategy->recompute == GALV_RECOMPUTE_NONE &&
               galv_galvatron_ends_cost(p.ends, h->inputs, task, strategy, &ignored) ==
                   GALV_OK;
    if (p.is_layer || p.is_end) {
        shape->priced[shape->n_priced++] = p;
    }
}

/* Data parallelism of every kind, recomputed or not. */
static void add_degree(hunt *h, galv_galvatron_shape *shape, int32_t degree, galv_sp sp)
{
    const galv_galvatron_space *space = h->space;
    int32_t dp = h->inputs->n_devices / shape->task.pp / degree;
    int64_t samples = space->global_batch_size / shape->task.n_micro_batches;
    if (dp > samples || (space->whole_samples && samples % dp != 0)) {
        return;
    }
    const int32_t zeros[] = {space->default_zero, 3, 2 - space->default_zero};
    for (int z = 0; z < 3; z++) {
        bool wanted =
            z == 0 || (dp > 1 && (z == 1 ? !space->without_zero3 : space->mixed_zero));
        for (int again = 0; wanted && again < (space->without_recompute ? 1 : 2);
             again++) {
            galv_strategy s = GALV_STRATEGY_INIT;
            s.tp = degree;
            s.dp = dp;
            s.sp = sp;
            s.zero = dp > 1 ? zeros[z] : 0;
            s.recompute = again ? GALV_RECOMPUTE_FULL : GALV_RECOMPUTE_NONE;
            add_priced(h, shape, &s);
        }
    }
}

static galv_status add_shape(hunt *h, int32_t n_micro_batches, int32_t pp,
                             galv_err *err)
{
    galv_galvatron_shape *shape = &h->shapes[h->n_shapes];
    int32_t per_stage = h->inputs->n_devices / pp;
    shape->task = (galv_galvatron_task){pp, n_micro_batches,
                                        h->space->global_batch_size, h->space->gpipe};
    shape->priced =
        GALV_NEW_ARRAY(h->arena, galv_galvatron_priced, GALV_COUNTS_MAX_OPTIONS);
    if (shape->priced == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_sp tensor = h->inputs->sequence_parallel ? GALV_SP_MEGATRON : GALV_SP_NONE;
    add_degree(h, shape, 1, GALV_SP_NONE);
    for (int32_t degree = 2; degree <= per_stage && per_stage % degree == 0;
         degree *= 2) {
        if (!h->space->without_tp && degree <= or_usual(h->space->max_tp)) {
            add_degree(h, shape, degree, tensor);
        }
        if (!h->space->without_ulysses && degree <= or_usual(h->space->max_ulysses)) {
            add_degree(h, shape, degree, GALV_SP_ULYSSES);
        }
    }
    h->n_shapes += shape->n_priced > 0;
    return GALV_OK;
}

/* ---- shapes ---- */

static bool stages_allowed(const hunt *h, int32_t n_micro_batches, int32_t pp)
{
    return pp <= n_micro_batches && pp <= or_usual(h->space->max_pp) &&
           pp <= GALV_GALVATRON_MAX_STAGES && pp <= h->inputs->n_layers &&
           h->inputs->n_devices % pp == 0;
}

static galv_status add_stages(hunt *h, int32_t n_micro_batches, galv_err *err)
{
    galv_status status = GALV_OK;
    for (int32_t pp = 1; status == GALV_OK && stages_allowed(h, n_micro_batches, pp);
         pp *= 2) {
        if (h->space->pp == 0 || h->space->pp == pp) {
            status = add_shape(h, n_micro_batches, pp, err);
        }
    }
    return status;
}

/* Divisors of the batch, as micro-batches. */
static int32_t *divisors_of(size_t *n, int64_t batch, galv_arena *arena)
{
    size_t count = 0;
    for (int64_t d = 1; d * d <= batch; d++) {
        count += batch % d == 0 ? 2 : 0;
    }
    int32_t *divisors = GALV_NEW_ARRAY(arena, int32_t, count);
    for (int64_t d = 1; divisors != NULL && d * d <= batch; d++) {
        if (batch % d == 0) {
            divisors[(*n)++] = (int32_t)d;
            if (d != batch / d) {
                divisors[(*n)++] = (int32_t)(batch / d);
            }
        }
    }
    return divisors;
}

static galv_status add_shapes(hunt *h, galv_err *err)
{
    size_t n = 0;
    int32_t *divisors = divisors_of(&n, h->space->global_batch_size, h->arena);
    if (divisors != NULL) {
        h->shapes = GALV_NEW_ARRAY(h->arena, galv_galvatron_shape, n * 7);
    }
    if (h->shapes == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK && i < n; i++) {
        if (h->space->n_micro_batches == 0 ||
            divisors[i] == h->space->n_micro_batches) {
            status = add_stages(h, divisors[i], err);
        }
    }
    return status;
}

/* ---- tasks ---- */

static bool wait_for(hunt *h, waiting task)
{
    if (h->n_waiting == h->capacity) {
        size_t capacity = h->capacity ? 2 * h->capacity : 512;
        waiting *grown = realloc(h->waiting, capacity * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        h->waiting = grown;
        h->capacity = capacity;
    }
    h->waiting[h->n_waiting++] = task;
    return true;
}

/* Bounds every task of a shape with a buffer of degree `buffer_tp`, 0 = none. */
static bool bound_buffer(hunt *h, int32_t shape, int32_t buffer_tp, uint64_t *n_tasks)
{
    bool ok = true;
    if (!galv_galvatron_turn_to(h->room, &h->shapes[shape], shape, buffer_tp)) {
        return true;
    }
    for (int32_t i = 0; ok && i < h->shapes[shape].n_priced; i++) {
        if (!galv_galvatron_end_allowed(h->room, i)) {
            continue;
        }
        double bound = galv_galvatron_task_bound(h->room, i);
        ++*n_tasks;
        if (isfinite(bound)) {
            ok = wait_for(h, (waiting){bound, shape, buffer_tp, i});
        }
    }
    return ok;
}

static bool bound_shape(hunt *h, int32_t index, uint64_t *n_tasks)
{
    const galv_galvatron_task *task = &h->shapes[index].task;
    int32_t per_stage = h->inputs->n_devices / task->pp;
    int64_t samples = task->global_batch_size / task->n_micro_batches;
    int32_t least = samples < per_stage ? (int32_t)(per_stage / samples) : 1;
    bool ok = bound_buffer(h, index, 0, n_tasks);
    for (int32_t tp = 1; ok && !h->space->without_tp && tp <= per_stage &&
                         tp <= or_usual(h->space->max_tp);
         tp *= 2) {
        /* of degree 1 nothing needs a buffer */
        if (tp > 1 && tp >= least) {
            ok = bound_buffer(h, index, tp, n_tasks);
        }
    }
    return ok;
}

static int by_bound(const void *left, const void *right)
{
    const waiting *a = left;
    const waiting *b = right;
    if (a->bound_s < b->bound_s || a->bound_s > b->bound_s) {
        return a->bound_s < b->bound_s ? -1 : 1;
    }
    if (a->shape != b->shape) {
        return a->shape < b->shape ? -1 : 1;
    }
    if (a->buffer_tp != b->buffer_tp) {
        return a->buffer_tp < b->buffer_tp ? -1 : 1;
    }
    return a->ends < b->ends ? -1 : a->ends > b->ends;
}

static void solve_all(hunt *h, galv_galvatron_found *found)
{
    if (h->n_waiting > 0) {
        qsort(h->waiting, h->n_waiting, sizeof *h->waiting, by_bound);
    }
    for (size_t i = 0; i < h->n_waiting; i++) {
        const waiting *task = &h->waiting[i];
        if (task->bound_s >= h->room->best.time_s) {
            break;
        }
        galv_galvatron_turn_to(h->room, &h->shapes[task->shape], task->shape,
                               task->buffer_tp);
        galv_galvatron_task_solve(h->room, task->ends);
        found->n_solved++;
    }
}

/* ---- the answer ---- */

/* Equal strategies side by side, smaller degrees first. */
static galv_status spell_out(galv_galvatron_found *found, const hunt *h, galv_err *err)
{
    const galv_galvatron_best *best = &h->room->best;
    const galv_galvatron_shape *shape = &h->shapes[best->shape];
    found->found = true;
    found->task = shape->task;
    found->n_blocks = h->inputs->n_layers;
    found->buffer_tp = best->buffer_tp;
    found->ends = shape->priced[best->ends].strategy;
    found->iteration_s = best->time_s;
    found->samples_per_s = (double)shape->task.global_batch_size / best->time_s;
    size_t pp = (size_t)shape->task.pp;
    found->stage_blocks = GALV_NEW_ARRAY(h->arena, int32_t, pp);
    found->stages = GALV_NEW_ARRAY(h->arena, galv_galvatron_stage, pp);
    found->strategies = GALV_NEW_ARRAY(h->arena, galv_strategy, found->n_blocks);
    if (found->stage_blocks == NULL || found->stages == NULL ||
        found->strategies == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    int32_t block = 0;
    for (int32_t s = 0; s < shape->task.pp; s++) {
        found->stage_blocks[s] = best->stage_blocks[s];
        found->stages[s] = best->stages[s];
        for (int32_t i = 0; i < shape->n_priced; i++) {
            for (int32_t n = 0; n < best->counts[s][i]; n++) {
                found->strategies[block++] = shape->priced[i].strategy;
            }
        }
    }
    return GALV_OK;
}

static galv_status run(hunt *h, galv_galvatron_found *found, galv_err *err)
{
    galv_status status = add_shapes(h, err);
    for (int32_t i = 0; status == GALV_OK && i < h->n_shapes; i++) {
        if (!bound_shape(h, i, &found->n_tasks)) {
            status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
    }
    if (status != GALV_OK) {
        return status;
    }
    solve_all(h, found);
    found->lower_bound_s = fmin(h->room->lower_bound_s, h->room->best.time_s);
    found->proven = !(found->lower_bound_s < h->room->best.time_s);
    return isfinite(h->room->best.time_s) ? spell_out(found, h, err) : GALV_OK;
}

galv_status galv_galvatron_search(galv_galvatron_found *found,
                                  const galv_galvatron_inputs *inputs,
                                  const galv_galvatron_space *space, galv_arena *arena,
                                  galv_err *err)
{
    if (!(space->budget_mib > 0) || space->global_batch_size < 1 ||
        space->global_batch_size > INT32_MAX) {
        return galv_fail(err, GALV_USAGE,
                         "a search needs a memory budget and a batch of at least 1 and "
                         "at most 2^31 - 1 samples");
    }
    hunt h = {.inputs = inputs, .space = space, .arena = arena};
    h.room = GALV_NEW(arena, galv_galvatron_room);
    if (h.room == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    h.room->inputs = inputs;
    h.room->space = space;
    h.room->usable_mib =
        space->budget_mib - (space->reserve_mib > 0
                                 ? space->reserve_mib
                                 : galv_galvatron_reserve_mib(space->budget_mib));
    h.room->best.time_s = INFINITY;
    h.room->lower_bound_s = INFINITY;
    galv_galvatron_found made = {0};
    galv_status status = run(&h, &made, err);
    free(h.waiting);
    if (status == GALV_OK) {
        *found = made;
    }
    return status;
}

/* ---- as a plan ---- */

galv_status galv_galvatron_found_plan(galv_plan **plan, galv_job *job,
                                      const galv_galvatron_found *found,
                                      galv_arena *arena, galv_err *err)
{
    int64_t samples = found->task.global_batch_size / found->task.n_micro_batches;
    if (samples % found->ends.dp != 0) {
        return galv_fail(err, GALV_USAGE,
                         "%lld samples of a micro-batch do not share out among dp %d",
                         (long long)samples, (int)found->ends.dp);
    }
    galv_strategy *layers = GALV_NEW_ARRAY(arena, galv_strategy, found->n_blocks + 2);
    if (layers == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    layers[0] = layers[found->n_blocks + 1] = found->ends;
    memcpy(&layers[1], found->strategies,
           (size_t)found->n_blocks * sizeof *found->strategies);
    galv_job whole = *job;
    whole.workload.global_batch_size = found->task.global_batch_size;
    galv_uniform_plan parameters = {.strategy = found->ends,
                                    .pp = found->task.pp,
                                    .vpp = 1,
                                    .schedule = found->task.pp == 1 ? "none"
                                                : found->task.gpipe ? "gpipe"
                                                                    : "1f1b",
                                    .micro_batch_size =
                                        (int32_t)(samples / found->ends.dp),
                                    .overlap = GALV_OVERLAP_INIT,
                                    .stage_blocks = found->stage_blocks};
    galv_status status =
        galv_plan_make_layered(plan, &whole, &parameters, layers, arena, err);
    if (status == GALV_OK) {
        job->workload.global_batch_size = found->task.global_batch_size;
    }
    return status;
}
