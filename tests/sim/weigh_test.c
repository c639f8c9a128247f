/* Orders that follow a plan's costs and fill its memory. */
#include "plan/cluster.h"
#include "plan/model.h"
#include "sim/evaluate.h"
#include "sim/weigh.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(sim_weigh);

typedef struct stand {
    galv_arena *arena;
    galv_job job;
    galv_costmodel *model;
} stand;

static stand set_up(double memory_limit_bytes)
{
    stand s;
    galv_err err = GALV_ERR_INIT;
    galv_workload workload = GALV_WORKLOAD_INIT;
    memset(&s, 0, sizeof s);
    s.arena = galv_arena_new();
    s.job.workload = workload;
    s.job.workload.global_batch_size = 64;
    s.job.workload.memory_limit_bytes = memory_limit_bytes;
    cr_assert_eq(galv_model_load(&s.job.model, "llama2-70b", &err), GALV_OK);
    cr_assert_eq(galv_cluster_load(&s.job.cluster, "dgx-h100", 8, &err), GALV_OK);
    galv_job_fill_defaults(&s.job);
    cr_assert_eq(galv_costmodel_new(&s.model, &s.job, NULL, &err), GALV_OK, "%s",
                 err.message);
    return s;
}

static void tear_down(stand *s)
{
    galv_costmodel_free(s->model);
    galv_arena_free(s->arena);
}

static galv_plan *make_plan(const stand *s, const char *schedule, int32_t vpp,
                            galv_recompute recompute)
{
    galv_err err = GALV_ERR_INIT;
    galv_plan *plan = NULL;
    galv_overlap overlap = GALV_OVERLAP_INIT;
    galv_strategy strategy = {8, 1, 1, 2, GALV_SP_MEGATRON, 1, recompute};
    galv_uniform_plan parameters = {strategy, 4, vpp, schedule, 1, overlap, NULL};
    cr_assert_eq(galv_plan_make_uniform(&plan, &s->job, &parameters, s->arena, &err),
                 GALV_OK, "%s", err.message);
    return plan;
}

static const galv_schedule_weights *weigh(const stand *s, const galv_plan *plan)
{
    galv_err err = GALV_ERR_INIT;
    galv_prices *prices = NULL;
    const galv_schedule_weights *weights = NULL;
    cr_assert_eq(galv_prices_new(&prices, s->model, plan, NULL, s->arena, &err),
                 GALV_OK);
    cr_assert_eq(galv_weigh_plan(&weights, s->model, plan, prices, s->arena, &err),
                 GALV_OK, "%s", err.message);
    return weights;
}

Test(sim_weigh, only_orders_that_follow_costs_are_weighed)
{
    stand s = set_up(0);
    cr_expect_null(weigh(&s, make_plan(&s, "1f1b", 1, GALV_RECOMPUTE_NONE)));
    cr_expect_null(weigh(&s, make_plan(&s, "zb-h1", 1, GALV_RECOMPUTE_NONE)));
    cr_expect_not_null(weigh(&s, make_plan(&s, "zb-1p", 1, GALV_RECOMPUTE_NONE)));
    tear_down(&s);
}

Test(sim_weigh, recomputation_weighs_as_much_as_a_forward)
{
    stand s = set_up(0);
    galv_stage_weights plain =
        weigh(&s, make_plan(&s, "zb-1p", 1, GALV_RECOMPUTE_NONE))->stages[1];
    galv_stage_weights again =
        weigh(&s, make_plan(&s, "zb-1p", 1, GALV_RECOMPUTE_FULL))->stages[1];
    cr_expect_float_eq(again.forward, plain.forward, 1e-9 * plain.forward);
    cr_expect_float_eq(again.weight, plain.weight, 1e-9 * plain.weight);
    cr_expect(again.input > plain.input + 0.8 * plain.forward &&
                  again.input < plain.input + 1.2 * plain.forward,
              "%g after %g and %g", again.input, plain.input, plain.forward);
    tear_down(&s);
}

Test(sim_weigh, zb_auto_fits_where_one_micro_batch_a_stage_does)
{
    double before_s = 0;
    for (int gib = 60; gib >= 30; gib -= 5) {
        for (int recompute = 0; recompute < 2; recompute++) {
            stand s = set_up(gib * 1073741824.0);
            galv_plan *plan =
                make_plan(&s, "zb-auto", 1,
                          recompute ? GALV_RECOMPUTE_FULL : GALV_RECOMPUTE_NONE);
            galv_result result = {0};
            galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
            galv_err err = GALV_ERR_INIT;
            double limit = weigh(&s, plan)->memory_limit;
            cr_expect(limit >= 1 && limit <= 8);
            cr_assert_eq(galv_evaluate(&result, s.model, plan, &options, s.arena, &err),
                         GALV_OK);
            cr_expect(limit <= 1 || result.fits, "%d GiB: %g activations, %g bytes",
                      gib, limit, result.peak_memory_bytes);
            if (recompute == 0) { /* less memory never helps */
                cr_expect(result.iteration_time_s >= before_s * (1 - 1e-9));
                before_s = result.iteration_time_s;
            }
            tear_down(&s);
        }
    }
}
