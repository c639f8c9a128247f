/* A stage of n blocks takes at least m n t in an iteration, t the least latency of a
 * block on its pool, and what embedding or head take besides; the longest is the bound.
 * Pools are gone through in order, and a pool's number of blocks is left when it alone
 * takes too long. O(blocks^(pools - 1)) for each leaf. */
#include "search/divisions.h"

#include "search/layering.h"
#include "search/relaxation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDING 1e-12

struct galv_divisions {
    const galv_job *job;
    const galv_candidates *leaves;
    galv_shapes pools[GALV_MAX_POOLS];
    double limit_bytes[GALV_MAX_POOLS];
    int32_t n_blocks;
};

/* One leaf on its way through. */
typedef struct dividing {
    const galv_divisions *d;
    size_t leaf;
    const galv_candidate *at;
    int32_t n_pools;
    int32_t n_stages[GALV_MAX_POOLS];
    double m;
    double block_s[GALV_MAX_POOLS], held_bytes[GALV_MAX_POOLS]; /* the least of any */
    double base_bytes[GALV_MAX_POOLS];
    double first_s[GALV_MAX_POOLS]; /* of what else lies on its first virtual stage */
    double last_s[GALV_MAX_POOLS];
    int32_t blocks[GALV_MAX_POOLS]; /* of each pool, as far as chosen */
    double bound_s;                 /* of them */
    double below_s;
    /* the best of all */
    int32_t best[GALV_MAX_POOLS];
    double best_s;
    /* where all go; NULL = only the best is looked for */
    galv_divided *out;
    size_t *capacity;
    galv_arena *arena;
    bool failed;
} dividing;

static const galv_layer_price *price_of(const galv_shapes *shapes, size_t leaf,
                                        int32_t g)
{
    const galv_layer_table *table = &shapes->tables[shapes->shape_of[leaf]];
    return &table->prices[g][table->price_of[g][shapes->strategy_of[leaf]]];
}

const galv_shapes *galv_divisions_on_pool(const galv_divisions *d, int32_t pool)
{
    return &d->pools[pool];
}

/* Can its blocks be divided otherwise than evenly? */
static bool divides(const galv_divisions *d, size_t leaf)
{
    const galv_candidate *at = &d->leaves->candidates[leaf];
    return d->pools[0].shape_of[leaf] >= 0 && d->n_blocks >= at->pp * at->vpp;
}

int64_t galv_divisions_leaf(const galv_divisions *d, const galv_candidate *c)
{
    size_t n = c->layered == NULL ? d->leaves->n_candidates : 0;
    for (size_t leaf = 0; leaf < n; leaf++) {
        const galv_candidate *at = &d->leaves->candidates[leaf];
        if (divides(d, leaf) && at->pp == c->pp && at->vpp == c->vpp &&
            at->schedule == c->schedule && at->rank_order == c->rank_order &&
            at->micro_batch_size == c->micro_batch_size &&
            galv_strategy_equal(&at->strategy, &c->strategy)) {
            return (int64_t)leaf;
        }
    }
    return -1;
}

static void begin(dividing *x, const galv_divisions *d, size_t leaf)
{
    const galv_model *model = &d->job->model;
    memset(x, 0, sizeof *x);
    x->d = d;
    x->leaf = leaf;
    x->at = &d->leaves->candidates[leaf];
    x->n_pools = d->job->cluster.n_pools;
    x->best_s = INFINITY;
    for (int32_t pool = 0; pool < x->n_pools; pool++) {
        const galv_shapes *shapes = &d->pools[pool];
        const galv_layer_table *table = &shapes->tables[shapes->shape_of[leaf]];
        bool before = true;
        x->n_stages[pool] = table->shape.n_stages;
        x->m = table->n_micro_batches;
        x->base_bytes[pool] = table->base_bytes;
        x->block_s[pool] = x->held_bytes[pool] = INFINITY;
        for (int32_t g = 0; g < table->n_groups; g++) {
            const galv_layer_price *p = price_of(shapes, leaf, g);
            double latency_s = galv_layer_latency_s(p, x->m);
            if (!galv_layer_is_block(&model->groups[g])) {
                *(before ? &x->first_s[pool] : &x->last_s[pool]) +=
                    g == 0 || g == table->n_groups - 1 ? latency_s : 0;
                continue;
            }
            before = false;
            x->block_s[pool] = fmin(x->block_s[pool], latency_s);
            x->held_bytes[pool] = fmin(x->held_bytes[pool], p->held_bytes);
        }
    }
}

/* At least how long a stage of a pool takes that holds n blocks. */
static double latency_s(const dividing *x, int32_t pool, int32_t n, bool first,
                        bool last)
{
    return x->m * (n * x->block_s[pool] + (first ? x->first_s[pool] : 0) +
                   (last ? x->last_s[pool] : 0));
}

static double held_bytes(const dividing *x, int32_t pool, int32_t n)
{
    return n * x->held_bytes[pool] + x->base_bytes[pool];
}

/* Where virtual stage 0 and the last one lie. */
static void find_ends(int32_t *first, int32_t *last, const galv_candidate *c, double m)
{
    galv_schedule_shape shape = {c->pp, c->vpp, (int32_t)m, 0, NULL};
    for (int32_t stage = 0; stage < c->pp; stage++) {
        for (int32_t chunk = 0; chunk < c->vpp; chunk++) {
            int32_t v = galv_schedule_virtual_stage(c->schedule, &shape, stage, chunk);
            *first = v == 0 ? stage : *first;
            *last = v == c->pp * c->vpp - 1 ? stage : *last;
        }
    }
}

/* What is known of some blocks of each virtual stage. */
static galv_shape_bound bound_of(const dividing *x, const int32_t *blocks)
{
    const galv_candidate *c = x->at;
    galv_schedule_shape shape = {c->pp, c->vpp, (int32_t)x->m, 0, NULL};
    int32_t first = 0, last = 0, stage = 0;
    galv_shape_bound most = {0, {0, 0}};
    find_ends(&first, &last, c, x->m);
    for (int32_t pool = 0; pool < x->n_pools; pool++) {
        for (int32_t i = 0; i < x->n_stages[pool]; i++, stage++) {
            int32_t n = 0;
            for (int32_t chunk = 0; chunk < c->vpp; chunk++) {
                n += blocks[galv_schedule_virtual_stage(c->schedule, &shape, stage,
                                                        chunk)];
            }
            most.bound_s = fmax(most.bound_s,
                                latency_s(x, pool, n, stage == first, stage == last));
            galv_memory_need_add(&most.least, held_bytes(x, pool, n),
                                 x->d->limit_bytes[pool]);
        }
    }
    most.bound_s *= 1 - ROUNDING;
    most.least.bytes *= 1 - ROUNDING;
    return most;
}

bool galv_divisions_spread(int32_t *blocks, const galv_divisions *d, size_t leaf,
                           const int32_t *of_pools, galv_arena *arena)
{
    const galv_candidate *c = &d->leaves->candidates[leaf];
    int32_t *own = GALV_NEW_ARRAY(arena, int32_t, c->pp * c->vpp);
    int32_t begin_stage = 0;
    for (int32_t pool = 0; own && pool < d->job->cluster.n_pools; pool++) {
        const galv_shapes *shapes = &d->pools[pool];
        const galv_layer_table *table = &shapes->tables[shapes->shape_of[leaf]];
        galv_schedule_shape shape = {c->pp, c->vpp, table->n_micro_batches, 0, NULL};
        int32_t n = table->shape.n_stages;
        galv_plan_balance(own, of_pools[pool], n, c->vpp);
        for (int32_t i = 0; i < n * c->vpp; i++) {
            int32_t v = galv_schedule_virtual_stage(c->schedule, &shape,
                                                    begin_stage + i % n, i / n);
            blocks[v] = own[i];
        }
        begin_stage += n;
    }
    return own != NULL;
}

static int32_t *spread(const dividing *x, const int32_t *of_pools, galv_arena *arena)
{
    int32_t *blocks = GALV_NEW_ARRAY(arena, int32_t, x->at->pp * x->at->vpp);
    return blocks && galv_divisions_spread(blocks, x->d, x->leaf, of_pools, arena)
               ? blocks
               : NULL;
}

static bool is_even(const dividing *x, const int32_t *blocks, galv_arena *arena)
{
    int32_t n = x->at->pp * x->at->vpp;
    int32_t *even = GALV_NEW_ARRAY(arena, int32_t, n);
    if (!even) {
        return false;
    }
    galv_plan_balance(even, x->d->n_blocks, x->at->pp, x->at->vpp);
    return memcmp(even, blocks, (size_t)n * sizeof *even) == 0;
}

/* Appends the leaf with these blocks; NULL = evenly. */
static bool append(galv_divided *out, size_t *capacity, const dividing *x,
                   const int32_t *blocks, galv_shape_bound known, galv_arena *arena)
{
    galv_candidates *all = &out->candidates;
    if (all->n_candidates == *capacity) {
        size_t n = *capacity ? 2 * *capacity : 256;
        galv_candidate *grown = GALV_NEW_ARRAY(arena, galv_candidate, n);
        galv_shape_bound *bounds = GALV_NEW_ARRAY(arena, galv_shape_bound, n);
        if (!grown || !bounds) {
            return false;
        }
        if (*capacity > 0) {
            memcpy(grown, all->candidates, *capacity * sizeof *grown);
            memcpy(bounds, out->known, *capacity * sizeof *bounds);
        }
        all->candidates = grown;
        out->known = bounds;
        *capacity = n;
    }
    out->known[all->n_candidates] = known;
    all->candidates[all->n_candidates] = *x->at;
    all->candidates[all->n_candidates++].blocks = blocks;
    return true;
}

/* All blocks have a pool. */
static void take(dividing *x)
{
    if (x->out == NULL) {
        if (x->bound_s < x->best_s) {
            x->best_s = x->bound_s;
            memcpy(x->best, x->blocks, sizeof x->best);
        }
        return;
    }
    if (memcmp(x->best, x->blocks, sizeof x->best) == 0) {
        return; /* the first one */
    }
    int32_t *blocks = spread(x, x->blocks, x->arena);
    if (!blocks) {
        x->failed = true;
        return;
    }
    galv_shape_bound known = bound_of(x, blocks);
    if (known.bound_s < x->below_s && !is_even(x, blocks, x->arena)) {
        x->failed |= !append(x->out, x->capacity, x, blocks, known, x->arena);
    }
}

/* Gives pool `pool` some of the blocks that are left. */
static void choose(dividing *x, int32_t pool, int32_t left)
{
    int32_t vpp = x->at->vpp;
    int32_t needed = 0; /* one for each virtual stage */
    bool is_last = pool == x->n_pools - 1;
    for (int32_t k = pool + 1; k < x->n_pools; k++) {
        needed += x->n_stages[k] * vpp;
    }
    int32_t least = is_last ? left : x->n_stages[pool] * vpp;
    for (int32_t n = least; n <= left - needed && !x->failed; n++) {
        int32_t most = (n + x->n_stages[pool] - 1) / x->n_stages[pool];
        double saved_s = x->bound_s;
        double here_s = latency_s(x, pool, most, false, false) * (1 - ROUNDING);
        if (here_s >= (x->out == NULL ? x->best_s : x->below_s) ||
            held_bytes(x, pool, most) * (1 - ROUNDING) > x->d->limit_bytes[pool]) {
            break; /* more take longer still */
        }
        x->bound_s = fmax(saved_s, here_s);
        x->blocks[pool] = n;
        if (is_last) {
            take(x);
        } else {
            choose(x, pool + 1, left - n);
        }
        x->bound_s = saved_s;
    }
}

static void find_best(dividing *x)
{
    x->out = NULL;
    x->bound_s = 0;
    choose(x, 0, x->d->n_blocks);
}

galv_status galv_divisions_new(galv_divisions **divisions, const galv_costmodel *model,
                               const galv_space *space, const galv_candidates *leaves,
                               galv_arena *arena, galv_err *err)
{
    galv_divisions *d = GALV_NEW(arena, galv_divisions);
    if (!d) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    d->job = galv_costmodel_job(model);
    d->leaves = leaves;
    for (int32_t pool = 0; pool < d->job->cluster.n_pools; pool++) {
        d->limit_bytes[pool] = galv_costmodel_pool_limit(model, pool);
    }
    d->n_blocks = galv_model_n_blocks(&d->job->model);
    galv_status status = GALV_OK;
    for (int32_t pool = 0; pool < d->job->cluster.n_pools && status == GALV_OK;
         pool++) {
        status = galv_shapes_make_on_pool(&d->pools[pool], model, space, leaves, pool,
                                          arena, err);
    }
    if (status == GALV_OK) {
        *divisions = d;
    }
    return status;
}

galv_status galv_divisions_first(galv_divided *divided, const galv_divisions *d,
                                 galv_arena *arena, galv_err *err)
{
    galv_divided made = {0};
    size_t capacity = 0;
    bool failed = false;
    for (size_t leaf = 0; leaf < d->leaves->n_candidates && !failed; leaf++) {
        dividing x = {.at = &d->leaves->candidates[leaf]};
        galv_shape_bound known = {0, {0, 0}};
        int32_t *blocks = NULL;
        if (!divides(d, leaf)) {
            failed = !append(&made, &capacity, &x, NULL, known, arena);
            continue;
        }
        begin(&x, d, leaf);
        find_best(&x);
        if (isfinite(x.best_s)) {
            blocks = spread(&x, x.best, arena);
            failed = !blocks;
        }
        if (blocks && !is_even(&x, blocks, arena)) {
            known = bound_of(&x, blocks);
            failed = !append(&made, &capacity, &x, blocks, known, arena);
        }
        int32_t *even = GALV_NEW_ARRAY(arena, int32_t, x.at->pp * x.at->vpp);
        if (!even || failed) {
            failed = true;
            break;
        }
        galv_plan_balance(even, d->n_blocks, x.at->pp, x.at->vpp);
        known = bound_of(&x, even);
        failed = !append(&made, &capacity, &x, NULL, known, arena);
    }
    memcpy(made.candidates.cut, d->leaves->cut, sizeof made.candidates.cut);
    *divided = made;
    return failed ? galv_fail(err, GALV_NO_MEMORY, "out of memory") : GALV_OK;
}

galv_status galv_divisions_rest(galv_divided *divided, const galv_divisions *d,
                                double below_s, galv_arena *arena, galv_err *err)
{
    galv_divided made = {0};
    size_t capacity = 0;
    bool failed = false;
    for (size_t leaf = 0; leaf < d->leaves->n_candidates && !failed; leaf++) {
        if (!divides(d, leaf)) {
            continue;
        }
        dividing x;
        begin(&x, d, leaf);
        find_best(&x);
        if (x.best_s >= below_s) {
            continue;
        }
        x.out = &made;
        x.capacity = &capacity;
        x.arena = arena;
        x.below_s = below_s;
        choose(&x, 0, d->n_blocks);
        failed = x.failed;
    }
    *divided = made;
    return failed ? galv_fail(err, GALV_NO_MEMORY, "out of memory") : GALV_OK;
}

/* ---- strategies of their own ---- */

/* Takes of two leaves of one shape what is less. */
static void take_least(dividing *x, const dividing *other)
{
    for (int32_t pool = 0; pool < x->n_pools; pool++) {
        x->block_s[pool] = fmin(x->block_s[pool], other->block_s[pool]);
        x->held_bytes[pool] = fmin(x->held_bytes[pool], other->held_bytes[pool]);
        x->base_bytes[pool] = fmin(x->base_bytes[pool], other->base_bytes[pool]);
        x->first_s[pool] = fmin(x->first_s[pool], other->first_s[pool]);
        x->last_s[pool] = fmin(x->last_s[pool], other->last_s[pool]);
    }
}

static int by_bound(const void *left, const void *right)
{
    const galv_division_shape *a = left;
    const galv_division_shape *b = right;
    if (a->bound_s < b->bound_s || a->bound_s > b->bound_s) {
        return a->bound_s < b->bound_s ? -1 : 1;
    }
    return a->leaf < b->leaf ? -1 : a->leaf > b->leaf;
}

galv_status galv_divisions_shapes(galv_division_shape **shapes, size_t *n_shapes,
                                  const galv_divisions *d, galv_arena *arena,
                                  galv_err *err)
{
    size_t n_leaves = d->leaves->n_candidates;
    size_t n_all = d->pools[0].n;
    const int32_t *shape_of = d->pools[0].shape_of;
    dividing *of = GALV_NEW_ARRAY(arena, dividing, n_all + 1);
    bool *seen = GALV_NEW_ARRAY(arena, bool, n_all + 1);
    galv_division_shape *made = GALV_NEW_ARRAY(arena, galv_division_shape, n_all + 1);
    size_t n = 0;
    if (!of || !seen || !made) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t leaf = 0; leaf < n_leaves; leaf++) {
        if (!divides(d, leaf)) {
            continue;
        }
        dividing x;
        begin(&x, d, leaf);
        if (seen[shape_of[leaf]]) {
            take_least(&of[shape_of[leaf]], &x);
        } else {
            seen[shape_of[leaf]] = true;
            of[shape_of[leaf]] = x;
            made[n++].leaf = leaf;
        }
    }
    for (size_t i = 0; i < n; i++) {
        dividing *x = &of[shape_of[made[i].leaf]];
        find_best(x);
        made[i].bound_s = x->best_s;
    }
    qsort(made, n, sizeof *made, by_bound);
    *shapes = made;
    *n_shapes = n;
    return GALV_OK;
}
