/* Bounds of shapes and of layerings are true: what is said of them never exceeds the
 * simulation of any plan, and is close where there is nothing to choose. */
#include "search/layer_tree.h"
#include "search/layerwise.h"
#include "search/relaxation.h"
#include "sim/pass_price.h"
#include "tests/search/small_jobs.h"
#include "tests/support/instances.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(search_bounds);

/* Latency of a pass as compiled, priced as if the host did nothing once a pass. */
static double pass_latency(instance *in, galv_plan *plan, int32_t stage, int pass,
                           galv_arena *arena)
{
    galv_pass_ops ops = {0};
    galv_plan amid = *plan;
    int32_t first_layer[9];
    cr_assert_eq(
        galv_program_pass(&ops, &in->job, plan, stage, 0, pass, arena, &in->err),
        GALV_OK);
    double *end_s = GALV_NEW_ARRAY(arena, double, ops.n_ops + 1);
    double *work_s = GALV_NEW_ARRAY(arena, double, ops.n_ops + 1);
    for (int32_t i = 0; i <= plan->pp; i++) {
        first_layer[i] = i == 0 ? -1 : plan->n_layers;
    }
    amid.first_layer = first_layer;
    for (int32_t i = 0; i < ops.n_ops; i++) {
        galv_cost cost;
        galv_costmodel_operation(&cost, in->model, &amid, &ops.ops[i]);
        work_s[i] = cost.work_s;
    }
    return galv_pass_latency(end_s, &ops, work_s);
}

/* Where nothing of a layer runs beside the next, sums are not only bounds: changes of
 * strategy are counted where the compiler has them, once each. */
static void expect_sums_exact(instance *in, const galv_layer_table *table,
                              const galv_layering_sums *sums, galv_plan *plan,
                              galv_arena *arena, int seed)
{
    bool exact = in->space.overlap.grad_reduce && !in->space.overlap.tp_comm;
    for (int32_t i = 0; i < plan->n_strategies; i++) {
        exact &= plan->strategies[i].zero < 3;
    }
    for (int32_t stage = 0; exact && stage < table->shape.pp; stage++) {
        double forward = pass_latency(in, plan, stage, GALV_PASS_FORWARD, arena);
        double backward = pass_latency(in, plan, stage, GALV_PASS_BACKWARD, arena);
        cr_expect_float_eq(sums->forward_s[stage], forward, 1e-9 * forward,
                           "instance %d, stage %d forward: %.9g, compiled %.9g", seed,
                           (int)stage, sums->forward_s[stage], forward);
        cr_expect_float_eq(sums->backward_s[stage], backward, 1e-9 * backward,
                           "instance %d, stage %d backward: %.9g, compiled %.9g", seed,
                           (int)stage, sums->backward_s[stage], backward);
    }
}

/* The bound of every leaf of every tree against the simulation of its plan. All
 * layerings of a shape, simulated, and what is said of them all; their number. */
static size_t expect_bounds(instance *in, const galv_shape *shape,
                            const galv_candidate *c, int seed)
{
    size_t n_done = 0;
    galv_layer_table table;
    galv_replay *replay = NULL;
    galv_layer_leaves leaves;
    galv_layer_tree_limits limits = {INFINITY, INFINITY, 99, 1000000};
    galv_relaxation *relaxation = NULL;
    enum { SHARES = 5 };
    double shape_s = 0, between_s[2][SHARES]; /* [whatever fits, all] */
    cr_assert_eq(galv_layer_table_make(&table, in->model, shape, &in->space.overlap,
                                       NULL, in->arena, &in->err),
                 GALV_OK, "%s", in->err.message);
    galv_schedule_shape order = {c->pp, c->vpp, table.n_micro_batches, 0, NULL};
    cr_assert_eq(galv_replay_new(&replay, c->schedule, &order, in->arena, &in->err),
                 GALV_OK);
    cr_assert_eq(galv_relaxation_new(&relaxation, &table, replay, &in->job.model, 1e15,
                                     galv_layer_latency_s, in->arena, &in->err),
                 GALV_OK);
    cr_assert_eq(galv_relaxation_bound(&shape_s, relaxation, INFINITY, &in->err),
                 GALV_OK);
    for (int share = 0; share < 2 * SHARES; share++) {
        cr_assert_eq(galv_relaxation_new_between(
                         &relaxation, &table, replay, &in->job.model,
                         share < SHARES ? galv_costmodel_memory_limit(in->model) : 1e15,
                         share % SHARES / (SHARES - 1.0), in->arena, &in->err),
                     GALV_OK);
        cr_assert_eq(
            galv_relaxation_between_bound(&between_s[share / SHARES][share % SHARES],
                                          relaxation, &in->err),
            GALV_OK);
    }
    cr_assert_eq(galv_layer_tree_walk(&leaves, &table, replay, &in->job.model, &limits,
                                      in->arena, &in->err),
                 GALV_OK);
    for (size_t k = 0; k < leaves.n_leaves; k++) {
        galv_plan *plan = NULL;
        galv_result result;
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        galv_layering_sums sums;
        galv_arena *arena = galv_arena_new();
        cr_assert_eq(galv_layering_plan(&plan, &leaves.leaves[k].layering, &table,
                                        &in->space.overlap, &in->job, arena, &in->err),
                     GALV_OK, "%s", in->err.message);
        cr_assert_eq(galv_evaluate(&result, in->model, plan, &options, arena, &in->err),
                     GALV_OK);
        cr_expect_leq(leaves.leaves[k].bound_s, result.iteration_time_s,
                      "instance %d, leaf %zu", seed, k);
        for (int share = 0; share < SHARES; share++) {
            cr_expect_leq(between_s[1][share], result.iteration_time_s,
                          "instance %d, leaf %zu: share %d", seed, k, share);
            cr_expect(!result.fits || between_s[0][share] <= result.iteration_time_s,
                      "instance %d, leaf %zu: share %d within memory", seed, k, share);
        }
        cr_expect_leq(shape_s, result.iteration_time_s,
                      "instance %d, leaf %zu: its shape's", seed, k);
        cr_assert_eq(galv_layering_sums_new(&sums, &table, arena, &in->err), GALV_OK);
        galv_layering_sum(&sums, &leaves.leaves[k].layering, &table, replay);
        if (c->vpp == 1) {
            expect_sums_exact(in, &table, &sums, plan, arena, seed);
        }
        for (int32_t stage = 0; stage < plan->pp; stage++) {
            cr_expect_leq(sums.bytes[stage],
                          result.stages[stage].peak_memory_bytes * (1 + 1e-9),
                          "instance %d, leaf %zu, stage %d", seed, k, stage);
        }
        galv_arena_free(arena);
        n_done++;
    }
    return n_done;
}

Test(search_bounds, bounds_never_exceed_the_simulation)
{
    size_t n_leaves = 0;
    for (uint64_t seed = 1000; seed < 1000 + GALV_TEST_INSTANCES(240); seed++) {
        instance in;
        size_t n_plans = 0;
        if (!instance_begin(&in, seed)) {
            instance_end(&in);
            continue;
        }
        instance_slow_links(&in, seed % 3);
        n_plans = brute_force(&in, true).n_plans;
        for (size_t i = 0; i < in.uniform.n_candidates && n_plans <= MOST_PLANS; i++) {
            const galv_candidate *c = &in.uniform.candidates[i];
            galv_strategy strategies[16];
            galv_shape shape = {.pp = c->pp,
                                .vpp = c->vpp,
                                .schedule = c->schedule,
                                .samples =
                                    (int64_t)c->micro_batch_size * c->strategy.dp,
                                .strategies = strategies};
            bool seen = false;
            for (size_t k = 0; k < in.uniform.n_candidates; k++) {
                bool same = candidates_alike(&in.uniform.candidates[k], c);
                seen |= same && k < i;
                if (same) {
                    strategies[shape.n_strategies++] =
                        in.uniform.candidates[k].strategy;
                }
            }
            if (seen) {
                continue;
            }
            n_leaves += expect_bounds(&in, &shape, c, (int)seed);
            /* of one strategy there is less to choose, and bounds are closer */
            for (int32_t k = 0; shape.n_strategies > 1 && k < shape.n_strategies; k++) {
                galv_shape alone = shape;
                alone.n_strategies = 1;
                alone.strategies = &strategies[k];
                n_leaves += expect_bounds(&in, &alone, c, (int)seed);
            }
        }
        instance_end(&in);
    }
    cr_expect_gt(n_leaves, GALV_TEST_INSTANCES(20000));
}

/* A shape of one strategy, and how its bound is asked for. */
typedef struct single {
    int32_t n_nodes, n_blocks, seq_length;
    int32_t pp, tp, zero;
    double slower; /* links in a node */
    double hiding_share;
    double least; /* of the plan's time that the bound must reach */
} single;

/* The bound over the time of the only plan with blocks spread evenly. */
static double closeness(const single *one)
{
    int32_t pp = one->pp;
    instance in;
    memset(&in, 0, sizeof in);
    in.arena = galv_arena_new();
    galv_model *m = &in.job.model;
    snprintf(m->name, sizeof m->name, "small");
    snprintf(m->family, sizeof m->family, "llama");
    m->seq_length = one->seq_length;
    add_group(m, GALV_LAYER_EMBEDDING, 1, 4096, 0, 0, 512);
    add_group(m, GALV_LAYER_DECODER, one->n_blocks, 4096, 16384, 8, 0);
    add_group(m, GALV_LAYER_HEAD, 1, 4096, 0, 0, 512);
    cr_assert_eq(galv_cluster_load(&in.job.cluster, "dgx-a100", one->n_nodes, &in.err),
                 GALV_OK);
    in.job.cluster.pools[0].intra_bytes_per_s /= one->slower;
    in.job.cluster.pools[0].device.scaleup_bytes_per_s /= one->slower;
    in.job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    in.job.workload.global_batch_size = 64 * one->n_nodes / pp / one->tp;
    galv_job_fill_defaults(&in.job);
    in.space = (galv_space)GALV_SPACE_INIT;
    in.space.tp = (galv_choices){1, {one->tp}};
    in.space.cp = (galv_choices){1, {1}};
    in.space.pp = (galv_choices){1, {pp}};
    in.space.vpp = (galv_choices){1, {1}};
    in.space.sp = (galv_choices){1, {GALV_SP_NONE}};
    in.space.zero = (galv_choices){1, {one->zero}};
    in.space.recompute = (galv_choices){1, {GALV_RECOMPUTE_NONE}};
    in.space.micro_batch = (galv_choices){1, {1}};
    in.space.n_schedules = 1;
    in.space.schedules[0] = pp > 1 ? "1f1b" : "none";
    cr_assert_eq(galv_costmodel_new(&in.model, &in.job, NULL, &in.err), GALV_OK);
    cr_assert_eq(
        galv_space_enumerate(&in.uniform, &in.space, &in.job, in.arena, &in.err),
        GALV_OK, "%s", in.err.message);
    cr_assert_eq(in.uniform.n_candidates, 1);
    const galv_candidate *c = &in.uniform.candidates[0];
    galv_shape shape = {.pp = pp,
                        .vpp = 1,
                        .schedule = c->schedule,
                        .samples = (int64_t)c->micro_batch_size * c->strategy.dp,
                        .n_strategies = 1,
                        .strategies = &c->strategy};
    galv_layer_table table;
    galv_replay *replay = NULL;
    galv_relaxation *relaxation = NULL;
    galv_plan *plan = NULL;
    galv_result result;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    double bound_s = 0;
    cr_assert_eq(galv_layer_table_make(&table, in.model, &shape, &in.space.overlap,
                                       NULL, in.arena, &in.err),
                 GALV_OK);
    galv_schedule_shape order = {pp, 1, table.n_micro_batches, 0, NULL};
    cr_assert_eq(galv_replay_new(&replay, c->schedule, &order, in.arena, &in.err),
                 GALV_OK);
    cr_assert_eq(galv_relaxation_new_between(&relaxation, &table, replay, m, 1e15,
                                             one->hiding_share, in.arena, &in.err),
                 GALV_OK);
    cr_assert_eq(galv_relaxation_between_bound(&bound_s, relaxation, &in.err), GALV_OK);
    cr_assert_eq(galv_candidate_plan(&plan, c, &in.space, &in.job, in.arena, &in.err),
                 GALV_OK);
    cr_assert_eq(galv_evaluate(&result, in.model, plan, &options, in.arena, &in.err),
                 GALV_OK);
    instance_end(&in);
    return bound_s / result.iteration_time_s;
}

/* Where there is nothing to choose a bound has no excuse, and too much of any of its
 * terms is over the time. */
Test(search_bounds, bounds_are_close_where_nothing_is_chosen)
{
    static const single cases[] = {
        {1, 8, 4096, 1, 1, 1, 1, 0, 0.98},
        {1, 8, 4096, 1, 4, 1, 1, 0, 0.98},
        /* one block on each stage: head and embedding are free */
        {1, 8, 4096, 8, 1, 1, 1, 0, 0.9},
        /* stages before might have held fewer blocks */
        {1, 8, 4096, 4, 2, 1, 1, 0, 0.8},
        /* messages that show */
        {1, 8, 4096, 1, 1, 3, 4, 1, 0.88},
        {1, 8, 4096, 1, 2, 3, 8, 1, 0.62},
        {1, 8, 4096, 2, 1, 3, 8, 1, 0.59},
        {1, 8, 4096, 1, 4, 3, 8, 0.5, 0.63},
        /* tensor parallelism beside gradients of weights, which it slows */
        {2, 32, 8192, 1, 8, 1, 1, 0, 0.98},
        {2, 32, 8192, 1, 4, 1, 2, 0, 0.98},
        /* parameters that go between nodes behind tensor parallelism within */
        {2, 32, 2048, 1, 8, 3, 16, 1, 0.9},
        {4, 32, 512, 1, 8, 3, 64, 1, 0.9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double close = closeness(&cases[i]);
        cr_expect_leq(close, 1, "case %zu: %.6g of the time", i, close);
        cr_expect_geq(close, cases[i].least, "case %zu: %.6g of the time", i, close);
    }
}
