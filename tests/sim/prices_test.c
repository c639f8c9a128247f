/* Prices that are kept, and passes that are shortened, against the cost model asked
 * anew and passes gone through whole. */
#include "plan/chunks.h"
#include "plan/cluster.h"
#include "plan/model.h"
#include "sim/pass_price.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(sim_prices);

typedef struct world {
    galv_job job;
    galv_costmodel *model;
    galv_price_table *table;
    galv_arena *arena, *scratch;
    uint32_t n_plans, n_prices, n_passes;
} world;

static world set_up_with(const galv_workload *workload, const char *model,
                         const char *cluster, int32_t nodes)
{
    world w;
    galv_err err = GALV_ERR_INIT;
    memset(&w, 0, sizeof w);
    w.arena = galv_arena_new();
    w.scratch = galv_arena_new();
    w.job.workload = *workload;
    w.job.workload.global_batch_size = 64;
    cr_assert_eq(galv_model_load(&w.job.model, model, &err), GALV_OK);
    cr_assert_eq(galv_cluster_load(&w.job.cluster, cluster, nodes, &err), GALV_OK);
    galv_job_fill_defaults(&w.job);
    cr_assert_eq(galv_costmodel_new(&w.model, &w.job, NULL, &err), GALV_OK, "%s",
                 err.message);
    w.table = galv_price_table_new(w.model);
    return w;
}

static world set_up(const char *model, const char *cluster, int32_t nodes)
{
    galv_workload workload = GALV_WORKLOAD_INIT;
    return set_up_with(&workload, model, cluster, nodes);
}

static void tear_down(world *w)
{
    galv_price_table_free(w->table);
    galv_costmodel_free(w->model);
    galv_arena_free(w->scratch);
    galv_arena_free(w->arena);
}

static bool same_bits(const void *a, const void *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0;
}

/* Every class of the program costs what the cost model says. */
static void compare_prices(world *w, const galv_plan *plan, galv_prices *prices)
{
    galv_err err = GALV_ERR_INIT;
    galv_program *program = NULL;
    galv_plan few = *plan;
    few.global_batch_size =
        plan->global_batch_size / galv_plan_n_micro_batches(plan) * 2 * plan->pp;
    cr_assert_eq(galv_program_compile(&program, &w->job, &few, w->scratch, &err),
                 GALV_OK, "%s", err.message);
    for (uint32_t i = 0; i < program->n_classes; i++) {
        galv_cost direct;
        galv_costmodel_operation(&direct, w->model, plan, &program->classes[i]);
        const galv_cost *kept = galv_prices_get(prices, &program->classes[i]);
        cr_expect(same_bits(kept, &direct, sizeof direct), "%s, layers %d + %d",
                  galv_op_kind_names[program->classes[i].kind],
                  (int)program->classes[i].first_layer,
                  (int)program->classes[i].n_layers);
        w->n_prices++;
    }
}

/* The longest path through the whole pass, and its loads. */
static void expect_whole(world *w, const galv_plan *plan, galv_prices *prices,
                         int32_t stage, int32_t chunk, int pass,
                         const galv_pass_price *price)
{
    galv_err err = GALV_ERR_INIT;
    galv_pass_ops ops = {0};
    galv_pass_memory memory;
    cr_assert_eq(
        galv_program_pass(&ops, &w->job, plan, stage, chunk, pass, w->scratch, &err),
        GALV_OK);
    size_t n = (size_t)ops.n_ops + 1;
    double *work_s = GALV_NEW_ARRAY(w->scratch, double, n);
    double *end_s = GALV_NEW_ARRAY(w->scratch, double, n);
    const galv_cost **costs = GALV_NEW_ARRAY(w->scratch, const galv_cost *, n);
    double load_s[GALV_N_STREAMS] = {0};
    for (int32_t i = 0; i < ops.n_ops; i++) {
        costs[i] = galv_prices_get(prices, &ops.ops[i]);
        work_s[i] = costs[i]->work_s;
        load_s[ops.ops[i].stream] += work_s[i];
    }
    galv_pass_memory_add_up(&memory, &ops, costs);
    cr_expect_float_eq(price->latency_s, galv_pass_latency(end_s, &ops, work_s),
                       1e-12 * price->latency_s);
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        cr_expect_float_eq(price->load_s[stream], load_s[stream],
                           1e-12 * load_s[stream] + 1e-18);
    }
    cr_expect_float_eq(price->memory.crest_bytes, memory.crest_bytes,
                       1e-12 * memory.crest_bytes);
    cr_expect_float_eq(price->memory.net_bytes, memory.net_bytes,
                       1e-12 * fabs(memory.net_bytes) + 1e-3);
    cr_expect_eq(price->memory.message_bytes, memory.message_bytes);
    cr_expect_eq(price->memory.ahead_bytes, memory.ahead_bytes);
}

/* Passes from the table are those of a plan by itself, to the bit; both are the whole
 * pass's. */
static void compare_passes(world *w, const galv_plan *plan, galv_prices *kept)
{
    galv_err err = GALV_ERR_INIT;
    galv_prices *own = NULL;
    cr_assert_eq(galv_prices_new(&own, w->model, plan, NULL, w->scratch, &err),
                 GALV_OK);
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        galv_stage_memory held;
        galv_costmodel_stage_memory(&held, w->model, plan, stage);
        cr_expect(same_bits(galv_prices_held(kept, stage), &held, sizeof held));
        for (int32_t chunk = 0; chunk < galv_plan_n_chunks(plan); chunk++) {
            for (int pass = 0; pass < GALV_PASS_NONE; pass++) {
                const galv_pass_price *a = NULL;
                const galv_pass_price *b = NULL;
                cr_assert_eq(galv_prices_pass(&a, kept, stage, chunk, pass, &err),
                             GALV_OK, "%s", err.message);
                cr_assert_eq(galv_prices_pass(&b, own, stage, chunk, pass, &err),
                             GALV_OK);
                cr_expect(same_bits(a, b, sizeof *a), "%s, stage %d of %d, pass %d",
                          plan->schedule, (int)stage, (int)plan->pp, pass);
                expect_whole(w, plan, own, stage, chunk, pass, a);
                w->n_passes++;
            }
        }
    }
}

static void compare(world *w, galv_plan *plan)
{
    galv_err err = GALV_ERR_INIT;
    galv_prices *prices = NULL;
    cr_assert_eq(galv_prices_new(&prices, w->model, plan, w->table, w->scratch, &err),
                 GALV_OK);
    if (w->n_plans++ % 2 == 0) { /* either first, so that each meets an empty table */
        compare_passes(w, plan, prices);
        compare_prices(w, plan, prices);
    } else {
        compare_prices(w, plan, prices);
        compare_passes(w, plan, prices);
    }
    galv_arena_reset(w->scratch);
}

/* Many plans, one after another, on one table. */
static void compare_grid(world *w, galv_rank_order order)
{
    static const char *const schedules[] = {"1f1b", "zb-h1", "zb-v", "dualpipe"};
    int32_t n_devices = (int32_t)galv_cluster_n_devices(&w->job.cluster);
    for (int bits = 0; bits < 4 * 3 * 4 * 3 * 4; bits++) {
        int32_t pp = 1 << bits % 4 % 3;
        int32_t tp = 1 << bits / 4 % 3;
        int32_t ep = w->job.model.n_groups > 3 && bits % 2 ? 2 : 1;
        int32_t cp = bits / 4 % 5 == 4 ? 2 : 1;
        galv_strategy strategy = {tp,
                                  cp,
                                  ep,
                                  n_devices / pp / tp / cp,
                                  tp > 1 && bits % 5 ? GALV_SP_MEGATRON : GALV_SP_NONE,
                                  bits / 12 % 4,
                                  (galv_recompute)(bits / 48 % 3)};
        galv_overlap overlap = GALV_OVERLAP_INIT;
        const char *schedule = pp > 1 ? schedules[bits / 144] : "none";
        galv_uniform_plan uniform = {
            strategy, pp,  strcmp(schedule, "zb-v") == 0 ? 2 : 1, schedule, 1,
            overlap,  NULL};
        galv_err err = GALV_ERR_INIT;
        galv_plan *plan = NULL;
        if (galv_plan_make_uniform(&plan, &w->job, &uniform, w->arena, &err) ==
                GALV_OK &&
            galv_plan_set_rank_order(plan, order, &w->job, &err) == GALV_OK) {
            compare(w, plan);
        }
    }
    cr_expect(w->n_plans > 20 && w->n_prices > 1000, "%u plans, %u prices", w->n_plans,
              w->n_prices);
}

Test(sim_prices, what_is_kept_is_what_the_cost_model_says_whatever_was_asked_before)
{
    static const char *const models[] = {"llama2-7b", "t5-large", "mixtral-8x7b",
                                         "deepseek-v2-lite"};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        world w = set_up(models[i], "dgx-h100", 2);
        compare_grid(&w, GALV_RANK_ORDER_DP_INSIDE);
        tear_down(&w);
    }
}

/* Old software sums gradients by kernels of their own where ZeRO shards them, and
 * attention that is not fused is what selective recomputation makes again. */
Test(sim_prices, software_that_computes_otherwise_is_told_apart)
{
    galv_workload workload = GALV_WORKLOAD_INIT;
    workload.software = GALV_SOFTWARE_MEGATRON;
    workload.software_year = 2022;
    workload.flash_attention = false;
    world w = set_up_with(&workload, "llama2-7b", "dgx-a100", 2);
    compare_grid(&w, GALV_RANK_ORDER_DP_INSIDE);
    tear_down(&w);
}

Test(sim_prices, the_order_of_ranks_is_told_apart)
{
    world w = set_up("llama2-7b", "dgx-a100", 4);
    compare_grid(&w, GALV_RANK_ORDER_PP_INSIDE);
    compare_grid(&w, GALV_RANK_ORDER_DP_INSIDE);
    tear_down(&w);
}

Test(sim_prices, plans_of_many_strategies_share_a_table)
{
    world w = set_up("llama2-7b", "dgx-h100", 1);
    galv_strategy strategies[34];
    for (uint32_t seed = 1; seed <= 120; seed++) {
        uint32_t state = seed * 2654435761U;
        galv_err err = GALV_ERR_INIT;
        galv_plan *plan = NULL;
        galv_overlap overlap = GALV_OVERLAP_INIT;
        galv_uniform_plan uniform = {
            .pp = 1 << seed % 3, .vpp = 1, .micro_batch_size = 1, .overlap = overlap};
        galv_strategy now = GALV_STRATEGY_INIT;
        for (int32_t layer = 0; layer < 34; layer++) {
            state = state * 1664525U + 1013904223U;
            /* every other plan changes at the border of two stages alone */
            bool changes = seed % 2 == 0 ? state >> 29 == 0 : layer % 17 == 0;
            if (layer == 0 || changes) {
                int32_t tp = 1 << (state >> 8) % 2;
                now = (galv_strategy){tp,
                                      1,
                                      1,
                                      (8 >> seed % 3) / tp,
                                      tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE,
                                      (int32_t)((state >> 12) % 2),
                                      GALV_RECOMPUTE_NONE};
            }
            strategies[layer] = now;
        }
        if (galv_plan_make_layered(&plan, &w.job, &uniform, strategies, w.arena,
                                   &err) == GALV_OK) {
            compare(&w, plan);
        }
    }
    cr_expect(w.n_plans > 20, "%u plans", w.n_plans);
    tear_down(&w);
}
