/* Passes played by themselves give what the engine gives operation by operation. */
#include "plan/cluster.h"
#include "plan/model.h"
#include "sim/evaluate.h"
#include "sim/weigh.h"
#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(sim_by_pass);

#define ROUNDING 1e-11

typedef struct counts {
    uint32_t n_plans, n_shorter;
} counts;

static void expect_near(double a, double b, double rounding, const char *what,
                        const char *plan)
{
    cr_expect(fabs(a - b) <= rounding, "%s: %s %.17g, whole %.17g", plan, what, a, b);
}

/* The times and the memory of a result; those of the engine to the bit where `rounding`
 * is 0. Sums over operations may be taken in another order. */
static void expect_near_all(const galv_result *result, const galv_result *whole,
                            double rounding, const char *name)
{
    double time_s = whole->iteration_time_s;
    double peak = whole->peak_memory_bytes;
    double sums = rounding > 0 ? rounding : 1e-13;
    expect_near(result->iteration_time_s, time_s, rounding * time_s, "time", name);
    expect_near(result->peak_memory_bytes, peak, rounding * peak, "peak", name);
    for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
        expect_near(result->breakdown_s[part], whole->breakdown_s[part], sums * time_s,
                    galv_breakdown_names[part], name);
    }
    for (int32_t stage = 0; stage < whole->n_stages; stage++) {
        const galv_stage_result *a = &result->stages[stage];
        const galv_stage_result *b = &whole->stages[stage];
        expect_near(a->busy_s, b->busy_s, sums * time_s, "busy", name);
        expect_near(a->peak_memory_bytes, b->peak_memory_bytes, rounding * peak,
                    "peak of a stage", name);
    }
    expect_near(result->hfu, whole->hfu, sums, "hfu", name);
    expect_near(result->provenance[GALV_PROVENANCE_FITTED],
                whole->provenance[GALV_PROVENANCE_FITTED], sums, "fitted", name);
}

static void compare(counts *n, const galv_costmodel *model, const galv_plan *plan,
                    const char *name)
{
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    galv_result whole, result;
    galv_program *program = NULL;
    galv_program *other = NULL;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    cr_assert_eq(galv_evaluate(&whole, model, plan, &options, arena, &err), GALV_OK,
                 "%s: %s", name, err.message);
    options.by_pass = true;
    cr_assert_eq(galv_evaluate(&result, model, plan, &options, arena, &err), GALV_OK,
                 "%s: %s", name, err.message);
    expect_near_all(&result, &whole, 0, name);
    options.sim.repeat_passes = true;
    cr_assert_eq(galv_evaluate(&result, model, plan, &options, arena, &err), GALV_OK,
                 "%s: %s", name, err.message);
    expect_near_all(&result, &whole, ROUNDING, name);
    options.sim.stop_at_s = whole.iteration_time_s * 0.999;
    cr_assert_eq(galv_evaluate(&result, model, plan, &options, arena, &err), GALV_OK);
    cr_expect(result.stopped, "%s", name);
    cr_assert_eq(galv_program_of_plan(&program, model, plan, NULL, arena, &err),
                 GALV_OK);
    cr_assert_eq(galv_program_of_plan_by_pass(&other, model, plan, NULL, arena, &err),
                 GALV_OK);
    n->n_plans++;
    n->n_shorter += other->n_ops < program->n_ops;
    galv_arena_free(arena);
}

Test(sim_by_pass, every_way_that_time_can_go)
{
    counts n = {0, 0};
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand s = plan_set_up(i);
        compare(&n, s.model, s.plan, s.name);
        plan_tear_down(&s);
    }
    cr_expect(n.n_shorter > 0, "none of %u plans has passes", n.n_plans);
}

/* Slow networks keep a message under way for longer than the next pass; in narrow
 * stages it is over before. */
Test(sim_by_pass, a_grid_of_plans_on_fast_and_slow_networks)
{
    static const char *const models[] = {"llama2-7b", "gpt3-2.7b", "mixtral-8x7b"};
    static const char *const schedules[] = {"1f1b",  "gpipe", "interleaved",
                                            "zb-h1", "zb-v",  "v-half"};
    static const double slower[] = {1, 30, 3000};
    counts n = {0, 0};
    for (int bits = 0; bits < 3 * 6 * 3 * 8; bits++) {
        galv_err err = GALV_ERR_INIT;
        galv_arena *arena = galv_arena_new();
        galv_costmodel *model = NULL;
        galv_plan *plan = NULL;
        galv_job job;
        galv_workload workload = GALV_WORKLOAD_INIT;
        memset(&job, 0, sizeof job);
        job.workload = workload;
        job.workload.global_batch_size = 64;
        cr_assert_eq(galv_model_load(&job.model, models[bits % 3], &err), GALV_OK);
        cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-a100", 4, &err), GALV_OK);
        galv_job_fill_defaults(&job);
        int choice = bits / 54;
        const char *schedule = schedules[bits / 3 % 6];
        int32_t tp = choice % 2 ? 2 : 4;
        int32_t vpp = strcmp(schedule, "interleaved") == 0                  ? 3
                      : schedule[0] == 'v' || strcmp(schedule, "zb-v") == 0 ? 2
                                                                            : 1;
        job.cluster.pools[0].inter_bytes_per_s /= slower[bits / 18 % 3];
        galv_overlap overlap = GALV_OVERLAP_INIT;
        overlap.p2p = choice % 3 != 1;
        overlap.tp_comm = choice % 5 == 2;
        overlap.grad_reduce = choice % 4 != 3;
        overlap.param_gather = choice % 4 != 2;
        galv_uniform_plan uniform = {{tp, 1, 1, 8 / tp,
                                      choice % 4 ? GALV_SP_MEGATRON : GALV_SP_NONE,
                                      choice % 3, (galv_recompute)(choice % 3)},
                                     4,
                                     vpp,
                                     schedule,
                                     1,
                                     overlap,
                                     NULL};
        if (galv_plan_make_uniform(&plan, &job, &uniform, arena, &err) == GALV_OK) {
            cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK);
            char name[160];
            galv_plan_print(name, sizeof name, plan);
            compare(&n, model, plan, name);
        }
        galv_costmodel_free(model);
        galv_arena_free(arena);
    }
    cr_expect(n.n_plans > 200 && n.n_shorter > n.n_plans / 2, "%u plans, %u shorter",
              n.n_plans, n.n_shorter);
}
