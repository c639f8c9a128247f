/* Plans on trial: what is played quickly is what the simulation says, to the byte where
 * a plan just fits. */
#include "plan/cluster.h"
#include "plan/model.h"
#include "search/trial.h"
#include "sim/evaluate.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(search_trial);

static galv_job make_job(void)
{
    galv_job job;
    galv_err err = GALV_ERR_INIT;
    memset(&job, 0, sizeof job);
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.global_batch_size = 96;
    cr_assert_eq(galv_model_load(&job.model, "llama2-7b", &err), GALV_OK);
    cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-a100", 3, &err), GALV_OK);
    galv_job_fill_defaults(&job);
    return job;
}

/* The fate of a plan where it may use so much memory. */
static galv_searched try_within(galv_job job, const galv_plan *plan, double bytes,
                                galv_arena *arena)
{
    galv_costmodel *model = NULL;
    galv_prices *prices = NULL;
    galv_searched tried;
    galv_err err = GALV_ERR_INIT;
    memset(&tried, 0, sizeof tried);
    job.workload.memory_limit_bytes = bytes;
    cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK);
    cr_assert_eq(galv_prices_new(&prices, model, plan, NULL, arena, &err), GALV_OK);
    cr_assert_eq(galv_trial(&tried, model, plan, prices, 0, arena, &err), GALV_OK, "%s",
                 err.message);
    galv_costmodel_free(model);
    return tried;
}

Test(search_trial, a_plan_that_just_fits_is_told_from_one_that_just_does_not)
{
    galv_job job = make_job();
    galv_costmodel *model = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    int n_tried = 0;
    cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK);
    for (int bits = 0; bits < 3 * 3 * 4 * 3 * 3; bits++) {
        galv_plan *plan = NULL;
        galv_result result = {0};
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        galv_strategy strategy = GALV_STRATEGY_INIT;
        int32_t pp = bits % 3 == 0 ? 1 : bits % 3 == 1 ? 3 : 6;
        strategy.tp = 1 << bits / 3 % 3;
        strategy.sp = strategy.tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE;
        strategy.dp = 24 / pp / strategy.tp;
        strategy.zero = bits / 9 % 4;
        galv_overlap overlap = GALV_OVERLAP_INIT;
        galv_uniform_plan uniform = {
            strategy, pp, 1, pp > 1 ? "1f1b" : "none", 1 + bits / 36, overlap, NULL};
        galv_arena_reset(arena);
        if (galv_plan_make_uniform(&plan, &job, &uniform, arena, &err) != GALV_OK) {
            continue;
        }
        cr_assert_eq(galv_evaluate(&result, model, plan, &options, arena, &err),
                     GALV_OK);
        double peak = result.peak_memory_bytes;
        galv_searched just = try_within(job, plan, peak, arena);
        galv_searched not = try_within(job, plan, nextafter(peak, 0), arena);
        cr_expect_eq(just.fate, GALV_FATE_SIMULATED, "plan %d within %.17g", bits,
                     peak);
        cr_expect_eq(not .fate, GALV_FATE_OUT_OF_MEMORY, "plan %d below %.17g", bits,
                     peak);
        cr_expect_float_eq(just.time_s, result.iteration_time_s,
                           2 * GALV_TRIAL_ROUNDING * result.iteration_time_s);
        n_tried++;
    }
    cr_expect_gt(n_tried, 40);
    galv_costmodel_free(model);
    galv_arena_free(arena);
}
