/* Uniform plans on unlike pools, held to brute force: every division of the blocks that
 * is even within a pool, each plan simulated by itself. */
#include "search/divisions.h"
#include "search/pool_mix.h"
#include "search/pool_orders.h"
#include "search/search.h"
#include "tests/search/small_jobs.h"
#include "tests/support/instances.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(search_divisions);

typedef struct pooled {
    galv_job job;
    galv_space space;
    galv_costmodel *model;
    galv_arena *arena;
    galv_err err;
    galv_candidates leaves;
} pooled;

/* Two or three pools of unlike devices; a few leaves. */
static void pooled_begin(pooled *in, uint64_t seed)
{
    static const char *const kinds[] = {"dgx-a100", "dgx-h100", "dgx-b200",
                                        "dgx-1-32gb"};
    uint64_t random = seed * 7919 + 3;
    memset(in, 0, sizeof *in);
    in->arena = galv_arena_new();
    galv_model *m = &in->job.model;
    int32_t hidden = 2048 << next_random(&random) % 2;
    int32_t n_blocks = 8 + (int32_t)(next_random(&random) % 5);
    snprintf(m->name, sizeof m->name, "small");
    snprintf(m->family, sizeof m->family, "llama");
    m->seq_length = 1024;
    add_group(m, GALV_LAYER_EMBEDDING, 1, hidden, 0, 0, 32000);
    add_group(m, GALV_LAYER_DECODER, n_blocks, hidden, 4 * hidden, 8, 0);
    add_group(m, GALV_LAYER_HEAD, 1, hidden, 0, 0, 32000);
    int32_t n_pools = next_random(&random) % 4 == 0 ? 3 : 2;
    for (int32_t pool = 0; pool < n_pools; pool++) {
        galv_cluster one;
        cr_assert_eq(
            galv_cluster_load(&one, kinds[next_random(&random) % 4], 1, &in->err),
            GALV_OK, "%s", in->err.message);
        if (pool == 0) {
            in->job.cluster = one;
        }
        in->job.cluster.pools[pool] = one.pools[0];
    }
    in->job.cluster.n_pools = n_pools;
    in->job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    in->job.workload.global_batch_size = n_pools == 3 ? 24 : 16;
    in->job.workload.precision = GALV_FP16;
    if (seed % 2 == 0) {
        in->job.workload.memory_limit_bytes =
            (2.0 + 0.5 * (next_random(&random) % 40)) * 0x1p30;
    }
    for (int32_t pool = 0; seed % 2 != 0 && pool < n_pools; pool++) {
        in->job.cluster.pools[pool].device.memory_bytes =
            (uint64_t)(3 + next_random(&random) % 14) << 30;
    }
    galv_job_fill_defaults(&in->job);
    in->space = (galv_space)GALV_SPACE_INIT;
    in->space.tp = (galv_choices){2, {1, 8}};
    in->space.cp = (galv_choices){1, {1}};
    in->space.sp = (galv_choices){1, {GALV_SP_NONE}};
    in->space.pp = (galv_choices){2, {n_pools, 2 * n_pools}};
    in->space.vpp = (galv_choices){2, {1, 2}};
    in->space.zero = (galv_choices){1, {1}};
    in->space.recompute = (galv_choices){2, {GALV_RECOMPUTE_NONE, GALV_RECOMPUTE_FULL}};
    in->space.micro_batch = (galv_choices){2, {1, 2}};
    cr_assert_eq(galv_costmodel_new(&in->model, &in->job, NULL, &in->err), GALV_OK,
                 "%s", in->err.message);
    cr_assert_eq(
        galv_space_enumerate(&in->leaves, &in->space, &in->job, in->arena, &in->err),
        GALV_OK, "%s", in->err.message);
}

static void pooled_end(pooled *in)
{
    galv_costmodel_free(in->model);
    galv_arena_free(in->arena);
}

typedef struct brute {
    pooled *in;
    const galv_candidate *leaf;
    galv_arena *arena;
    int32_t n_blocks;
    int32_t of_stage[16]; /* blocks of each stage */
    double best_s;
    size_t n_plans;
} brute;

static void try_blocks(brute *b, const int32_t *blocks)
{
    galv_candidate c = *b->leaf;
    galv_plan *plan = NULL;
    galv_result result;
    galv_err err = GALV_ERR_INIT;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    c.blocks = blocks;
    cr_assert_eq(
        galv_candidate_plan(&plan, &c, &b->in->space, &b->in->job, b->arena, &err),
        GALV_OK, "%s", err.message);
    cr_assert_eq(galv_evaluate(&result, b->in->model, plan, &options, b->arena, &err),
                 GALV_OK, "%s", err.message);
    b->n_plans++;
    bool fits = true;
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        int32_t pool = stage / (plan->pp / b->in->job.cluster.n_pools);
        fits &= result.stages[stage].peak_memory_bytes <=
                galv_costmodel_pool_limit(b->in->model, pool);
    }
    cr_expect_eq(result.fits, fits, "%zu", b->n_plans);
    if (fits && result.iteration_time_s < b->best_s) {
        b->best_s = result.iteration_time_s;
    }
    galv_arena_reset(b->arena);
}

/* Blocks of each pool are chosen; spreads them as galv_plan_balance does. */
static void try_pools(brute *b, const int32_t *of_pool)
{
    int32_t n_pools = b->in->job.cluster.n_pools;
    int32_t per_pool = b->leaf->pp / n_pools;
    int32_t vpp = b->leaf->vpp;
    int32_t blocks[64], own[64];
    for (int32_t pool = 0; pool < n_pools; pool++) {
        if (of_pool[pool] < per_pool * vpp) {
            return;
        }
        galv_plan_balance(own, of_pool[pool], per_pool, vpp);
        for (int32_t i = 0; i < per_pool * vpp; i++) {
            blocks[i / per_pool * b->leaf->pp + pool * per_pool + i % per_pool] =
                own[i];
        }
    }
    try_blocks(b, blocks);
}

static double try_divisions(pooled *in, size_t *n_plans)
{
    brute b = {.in = in,
               .arena = galv_arena_new(),
               .n_blocks = in->job.model.groups[1].n_layers,
               .best_s = INFINITY};
    for (size_t i = 0; i < in->leaves.n_candidates; i++) {
        b.leaf = &in->leaves.candidates[i];
        try_blocks(&b, NULL);
        for (int32_t a = 1; a < b.n_blocks; a++) {
            if (in->job.cluster.n_pools == 2) {
                try_pools(&b, (int32_t[]){a, b.n_blocks - a});
            }
            for (int32_t c = 1; in->job.cluster.n_pools == 3 && c < b.n_blocks - a;
                 c++) {
                try_pools(&b, (int32_t[]){a, c, b.n_blocks - a - c});
            }
        }
    }
    galv_arena_free(b.arena);
    *n_plans += b.n_plans;
    return b.best_s;
}

static galv_search_options one_plan(void)
{
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    options.top_k = 1;
    return options;
}

Test(search_divisions, finds_the_optimum_of_brute_force_on_random_pools)
{
    int n_feasible = 0, n_uneven = 0;
    size_t n_plans = 0;
    for (uint64_t seed = 0; seed < GALV_TEST_INSTANCES(60); seed++) {
        pooled in;
        pooled_begin(&in, seed);
        double best_s = try_divisions(&in, &n_plans);
        galv_search_options options = one_plan();
        galv_search_result found = {0};
        galv_status status =
            galv_search(&found, in.model, &in.space, &options, in.arena, &in.err);
        if (!isfinite(best_s)) {
            cr_assert_eq(status, GALV_INFEASIBLE, "seed %d", (int)seed);
        } else {
            cr_assert_eq(status, GALV_OK, "seed %d: %s", (int)seed, in.err.message);
            cr_assert_float_eq(found.plans[0].result.iteration_time_s, best_s,
                               1e-12 * best_s, "seed %d: %.9g, brute force %.9g",
                               (int)seed, found.plans[0].result.iteration_time_s,
                               best_s);
            cr_assert(found.proven_optimal, "seed %d", (int)seed);
            n_feasible++;
            const galv_plan *plan = found.plans[0].plan;
            int32_t n_stage = plan->first_layer[1] - plan->first_layer[0];
            for (int32_t s = 1; s < plan->pp * plan->vpp; s++) {
                int32_t n = plan->first_layer[s + 1] - plan->first_layer[s];
                if (n > n_stage + 2 || n < n_stage - 2) {
                    n_uneven++;
                    break;
                }
            }
        }
        pooled_end(&in);
    }
    cr_assert_geq(n_feasible, GALV_TEST_INSTANCES(40), "%d instances say something",
                  n_feasible);
    cr_assert_geq(n_uneven, GALV_TEST_INSTANCES(20), "%d answers are uneven", n_uneven);
    cr_assert_geq(n_plans, GALV_TEST_INSTANCES(10000));
}

/* Each order by itself, and none better than what all of them together give. */
Test(search_divisions, the_best_order_of_pools_is_found_whatever_order_is_given)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        pooled in;
        pooled_begin(&in, seed);
        galv_search_options options = one_plan();
        double alone_s = INFINITY;
        for (int32_t turn = 0; turn < in.job.cluster.n_pools; turn++) {
            galv_search_result found = {0};
            galv_job *best = NULL;
            galv_err err = GALV_ERR_INIT;
            galv_status status = galv_pool_orders_search(
                &found, &best, &in.job, NULL, &in.space, &options, in.arena, &err);
            if (status == GALV_OK) {
                double best_s = found.plans[0].result.iteration_time_s;
                cr_assert(turn == 0 || fabs(best_s - alone_s) <= 1e-12 * alone_s,
                          "seed %d: order %d gives %.9g, another %.9g", (int)seed,
                          (int)turn, best_s, alone_s);
                alone_s = best_s;
                galv_search_result given = {0};
                galv_costmodel *model = NULL;
                cr_assert_eq(galv_costmodel_new(&model, &in.job, NULL, &err), GALV_OK);
                if (galv_search(&given, model, &in.space, &options, in.arena, &err) ==
                    GALV_OK) {
                    cr_assert_leq(best_s, given.plans[0].result.iteration_time_s);
                }
                galv_costmodel_free(model);
            } else {
                cr_assert(!isfinite(alone_s), "seed %d: %s", (int)seed, err.message);
            }
            galv_pool first = in.job.cluster.pools[0];
            for (int32_t i = 0; i + 1 < in.job.cluster.n_pools; i++) {
                in.job.cluster.pools[i] = in.job.cluster.pools[i + 1];
            }
            in.job.cluster.pools[in.job.cluster.n_pools - 1] = first;
        }
        pooled_end(&in);
    }
}

/* ---- pools with strategies of their own ---- */

static bool same_shape(const galv_candidate *a, const galv_candidate *b)
{
    return a->pp == b->pp && a->vpp == b->vpp && a->schedule == b->schedule &&
           (int64_t)a->micro_batch_size * a->strategy.dp ==
               (int64_t)b->micro_batch_size * b->strategy.dp;
}

/* The first pool as leaf `a` has it, the second as `b`, n blocks on the first. */
static void try_mix(brute *b, const galv_candidate *first, const galv_candidate *second,
                    int32_t n)
{
    const galv_job *job = &b->in->job;
    int32_t per_pool = first->pp / 2;
    int32_t of_pool[2] = {n, b->n_blocks - n};
    int32_t blocks[64], own[64];
    galv_strategy strategies[64];
    galv_plan *plan = NULL;
    galv_result result;
    galv_err err = GALV_ERR_INIT;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    for (int32_t pool = 0; pool < 2; pool++) {
        if (of_pool[pool] < per_pool * first->vpp) {
            return;
        }
        galv_plan_balance(own, of_pool[pool], per_pool, first->vpp);
        for (int32_t i = 0; i < per_pool * first->vpp; i++) {
            blocks[i / per_pool * first->pp + pool * per_pool + i % per_pool] = own[i];
        }
    }
    galv_candidate c = *first;
    c.blocks = blocks;
    cr_assert_eq(galv_candidate_plan(&plan, &c, &b->in->space, job, b->arena, &err),
                 GALV_OK, "%s", err.message);
    for (int32_t v = 0; v < plan->pp * plan->vpp; v++) {
        const galv_candidate *of = v % plan->pp < per_pool ? first : second;
        for (int32_t i = plan->first_layer[v]; i < plan->first_layer[v + 1]; i++) {
            strategies[i] =
                galv_plan_strategy_for(&of->strategy, galv_model_layer(&job->model, i));
        }
    }
    galv_uniform_plan parameters = {.pp = plan->pp,
                                    .vpp = plan->vpp,
                                    .schedule = first->schedule->name,
                                    .micro_batch_size = first->micro_batch_size,
                                    .overlap = b->in->space.overlap,
                                    .stage_blocks = blocks};
    cr_assert_eq(
        galv_plan_make_layered(&plan, job, &parameters, strategies, b->arena, &err),
        GALV_OK, "%s", err.message);
    cr_assert_eq(galv_evaluate(&result, b->in->model, plan, &options, b->arena, &err),
                 GALV_OK, "%s", err.message);
    b->n_plans++;
    if (result.fits && result.iteration_time_s < b->best_s) {
        b->best_s = result.iteration_time_s;
    }
    galv_arena_reset(b->arena);
}

static double try_mixes(pooled *in)
{
    brute b = {.in = in,
               .arena = galv_arena_new(),
               .n_blocks = in->job.model.groups[1].n_layers,
               .best_s = INFINITY};
    for (size_t i = 0; i < in->leaves.n_candidates; i++) {
        for (size_t k = 0; k < in->leaves.n_candidates; k++) {
            const galv_candidate *first = &in->leaves.candidates[i];
            const galv_candidate *second = &in->leaves.candidates[k];
            for (int32_t n = 1; same_shape(first, second) && n < b.n_blocks; n++) {
                try_mix(&b, first, second, n);
            }
        }
    }
    galv_arena_free(b.arena);
    return b.best_s;
}

/* Who stops after the first mix of strategies has found less, but must not claim more:
 * no mix is faster than its bound, and none is when it says that it went through all.
 * True when what it found was not the best. */
static bool stops_short(pooled *in, double best_s, int seed)
{
    galv_layerwise_options options = {.n_jobs = 1, .max_ops = 1};
    galv_layerwise_result found = {0};
    galv_divisions *divisions = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_divisions_new(&divisions, in->model, &in->space, &in->leaves,
                                    in->arena, &err),
                 GALV_OK, "seed %d: %s", seed, err.message);
    cr_assert_eq(galv_pool_mix_search(&found, in->model, &in->space, divisions,
                                      &options, in->arena, &err),
                 GALV_OK, "seed %d: %s", seed, err.message);
    bool best = found.best_s <= best_s * (1 + 1e-9);
    cr_expect_leq(found.lower_bound_s, best_s * (1 + 1e-12),
                  "seed %d: bound %.9g over %.9g", seed, found.lower_bound_s, best_s);
    cr_expect(best || !found.complete, "seed %d: %.9g is proven, %.9g is there", seed,
              found.best_s, best_s);
    return !best;
}

Test(search_divisions, pools_take_strategies_of_their_own_where_that_is_faster)
{
    int n_done = 0, n_gained = 0, n_best = 0, n_short = 0;
    for (uint64_t seed = 0; n_done < 40 && seed < 400; seed++) {
        pooled in;
        galv_search_options options = one_plan();
        galv_search_result uniform = {0}, mixed = {0};
        pooled_begin(&in, seed);
        bool asked = in.job.cluster.n_pools == 2 &&
                     galv_search(&uniform, in.model, &in.space, &options, in.arena,
                                 &in.err) == GALV_OK;
        if (asked) {
            galv_err err = GALV_ERR_INIT;
            in.space.layer_wise = true;
            cr_assert_eq(
                galv_search(&mixed, in.model, &in.space, &options, in.arena, &err),
                GALV_OK, "seed %d: %s", (int)seed, err.message);
            double uniform_s = uniform.plans[0].result.iteration_time_s;
            double found_s = mixed.plans[0].result.iteration_time_s;
            double of_mixes_s = try_mixes(&in);
            double best_s = fmin(of_mixes_s, uniform_s);
            cr_expect_leq(found_s, uniform_s, "seed %d", (int)seed);
            cr_expect_geq(found_s, best_s * (1 - 1e-12), "seed %d: %.9g, not %.9g",
                          (int)seed, found_s, best_s);
            cr_expect_leq(mixed.lower_bound_s, best_s * (1 + 1e-12), "seed %d",
                          (int)seed);
            n_done++;
            n_short += stops_short(&in, of_mixes_s, (int)seed);
            n_gained += best_s < uniform_s * 0.999;
            n_best += found_s <= best_s * 1.001;
        }
        pooled_end(&in);
    }
    if (getenv("GALV_TEST_TALK")) {
        fprintf(stderr, "%d pairs of pools, %d gain, %d found\n", n_done, n_gained,
                n_best);
    }
    cr_expect_eq(n_done, 40);
    cr_expect_geq(n_short, 20, "only %d stop short", n_short);
    cr_expect_geq(n_gained, 5, "only %d gain", n_gained);
    cr_expect_geq(n_best, 39, "only %d of %d are within 0.1 %%", n_best, n_done);
}
