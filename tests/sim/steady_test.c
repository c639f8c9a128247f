/* An iteration extended from shorter ones is held to the same iteration simulated
 * micro-batch by micro-batch. */
#include "sim/evaluate.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(sim_steady);

typedef struct setup {
    galv_strategy strategy;
    int32_t pp, vpp;
    const char *schedule;
    int32_t blocks[8]; /* of each virtual stage; all 0 = balanced */
    bool overlaps;
} setup;

static const setup setups[] = {
    {{1, 1, 1, 8, GALV_SP_NONE, 1, 0}, 1, 1, "none", {0}, true},
    {{2, 1, 1, 4, GALV_SP_MEGATRON, 3, 0}, 1, 1, "none", {0}, true},
    {{2, 1, 1, 1, GALV_SP_MEGATRON, 0, 0}, 4, 1, "1f1b", {0}, true},
    {{1, 1, 1, 2, GALV_SP_NONE, 2, 0}, 4, 1, "1f1b", {5, 9, 9, 9}, true},
    {{1, 1, 1, 2, GALV_SP_NONE, 1, 2}, 4, 1, "1f1b", {9, 8, 8, 7}, false},
    {{1, 1, 1, 2, GALV_SP_NONE, 1, 0}, 4, 2, "interleaved", {0}, true},
    {{1, 1, 1, 2, GALV_SP_NONE, 2, 0},
     4,
     2,
     "interleaved",
     {1, 4, 4, 5, 5, 6, 4, 3},
     true},
    {{1, 1, 1, 4, GALV_SP_NONE, 1, 0}, 2, 1, "gpipe", {0}, true},
    {{1, 1, 1, 2, GALV_SP_NONE, 1, 0}, 4, 1, "zb-h1", {0}, true}};

static void expect_near(double a, double b, double scale, const char *what, size_t at)
{
    cr_expect(fabs(a - b) <= 1e-9 * scale, "setup %zu, %s: %.15g extended, %.15g whole",
              at, what, a, b);
}

static void compare(const galv_result *a, const galv_result *b, size_t at)
{
    double t = b->iteration_time_s;
    expect_near(a->iteration_time_s, t, t, "time", at);
    expect_near(a->mfu, b->mfu, b->mfu, "MFU", at);
    expect_near(a->hfu, b->hfu, b->hfu, "HFU", at);
    expect_near(a->tokens_per_s, b->tokens_per_s, b->tokens_per_s, "tokens/s", at);
    expect_near(a->peak_memory_bytes, b->peak_memory_bytes, b->peak_memory_bytes,
                "memory", at);
    expect_near(a->bubble_frac, b->bubble_frac, 1, "bubble", at);
    expect_near(a->exposed_comm_frac, b->exposed_comm_frac, 1, "communication", at);
    for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
        expect_near(a->breakdown_s[part], b->breakdown_s[part], t,
                    galv_breakdown_names[part], at);
    }
    for (int32_t stage = 0; stage < b->n_stages; stage++) {
        expect_near(a->stages[stage].busy_s, b->stages[stage].busy_s, t, "busy", at);
        expect_near(a->stages[stage].peak_memory_bytes,
                    b->stages[stage].peak_memory_bytes, b->peak_memory_bytes,
                    "memory of a stage", at);
    }
    for (int p = 0; p < GALV_N_PROVENANCES; p++) {
        expect_near(a->provenance[p], b->provenance[p], 1, "provenance", at);
    }
    cr_expect_eq(a->fits, b->fits);
    cr_expect_eq(a->events, b->events);
}

Test(sim_steady, long_iteration_extended_from_short_ones_is_the_whole_one)
{
    for (size_t i = 0; i < sizeof setups / sizeof *setups; i++) {
        const setup *from = &setups[i];
        galv_arena *arena = galv_arena_new();
        galv_job job;
        galv_err err = GALV_ERR_INIT;
        galv_costmodel *model = NULL;
        galv_plan *plan = NULL;
        galv_result extended, whole;
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        memset(&job, 0, sizeof job);
        cr_assert_eq(galv_model_load(&job.model, "llama2-7b", &err), GALV_OK);
        cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-a100", 1, &err), GALV_OK);
        job.workload = (galv_workload)GALV_WORKLOAD_INIT;
        job.workload.global_batch_size = (int64_t)(101 * 8 + 4) * from->strategy.dp;
        galv_job_fill_defaults(&job);
        cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK, "%s",
                     err.message);
        bool o = from->overlaps;
        galv_uniform_plan parameters = {.strategy = from->strategy,
                                        .pp = from->pp,
                                        .vpp = from->vpp,
                                        .schedule = from->schedule,
                                        .micro_batch_size = 1,
                                        .overlap = {o, o, false, o},
                                        .stage_blocks =
                                            from->blocks[0] > 0 ? from->blocks : NULL};
        cr_assert_eq(galv_plan_make_uniform(&plan, &job, &parameters, arena, &err),
                     GALV_OK, "%s", err.message);
        cr_assert_eq(galv_evaluate(&extended, model, plan, &options, arena, &err),
                     GALV_OK, "%s", err.message);
        options.whole = true;
        cr_assert_eq(galv_evaluate(&whole, model, plan, &options, arena, &err), GALV_OK,
                     "%s", err.message);
        compare(&extended, &whole, i);
        cr_expect_lt(galv_evaluate_ops(&job, plan), galv_program_count(&job, plan));
        options.whole = false;
        options.sim.stop_at_s = whole.iteration_time_s * 0.9;
        cr_assert_eq(galv_evaluate(&extended, model, plan, &options, arena, &err),
                     GALV_OK);
        cr_expect(extended.stopped);
        galv_costmodel_free(model);
        galv_arena_free(arena);
    }
}
