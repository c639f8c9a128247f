/* The front of time and memory, against every plan of the space simulated. */
#include "search/front.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(search_front);

static galv_job make_job(void)
{
    galv_job job;
    galv_err err = GALV_ERR_INIT;
    galv_workload workload = GALV_WORKLOAD_INIT;
    memset(&job, 0, sizeof job);
    job.workload = workload;
    job.workload.global_batch_size = 16;
    cr_assert_eq(galv_model_load(&job.model, "llama3-8b", &err), GALV_OK);
    cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-h100", 1, &err), GALV_OK);
    galv_job_fill_defaults(&job);
    return job;
}

/* For every point: no plan of the space that needs no more memory than its limit is
 * faster; and no plan that is smaller than the last point, less one step, exists. */
Test(search_front, no_plan_of_the_space_beats_a_point, .timeout = 120)
{
    galv_job job = make_job();
    galv_arena *arena = galv_arena_new();
    galv_space space = GALV_SPACE_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_front front;
    galv_err err = GALV_ERR_INIT;
    space.micro_batch = (galv_choices){1, {1}};
    space.vpp = (galv_choices){1, {1}};
    cr_assert_eq(galv_front_find(&front, &job, NULL, &space, &options, arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_gt(front.n_points, 4);
    double step_bytes =
        GALV_FRONT_STEP_FRAC * front.points[0].result.memory_limit_bytes;
    for (size_t i = 1; i < front.n_points; i++) {
        const galv_result *before = &front.points[i - 1].result;
        const galv_result *here = &front.points[i].result;
        cr_expect_gt(here->iteration_time_s, before->iteration_time_s);
        cr_expect_leq(here->peak_memory_bytes, before->peak_memory_bytes - step_bytes);
    }
    galv_candidates candidates;
    galv_costmodel *model = NULL;
    cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK);
    cr_assert_eq(galv_space_enumerate(&candidates, &space, &job, arena, &err), GALV_OK);
    galv_arena *scratch = galv_arena_new();
    size_t n_compared = 0;
    for (size_t k = 0; k < candidates.n_candidates; k++) {
        galv_plan *plan = NULL;
        galv_result result;
        galv_evaluate_options usual = GALV_EVALUATE_OPTIONS_INIT;
        galv_err why = GALV_ERR_INIT;
        galv_arena_reset(scratch);
        if (galv_candidate_plan(&plan, &candidates.candidates[k], &space, &job, scratch,
                                &why) != GALV_OK ||
            galv_evaluate(&result, model, plan, &usual, scratch, &why) != GALV_OK) {
            continue;
        }
        n_compared++;
        double limit_bytes = front.points[0].result.memory_limit_bytes;
        for (size_t i = 0; i < front.n_points; i++) {
            const galv_result *here = &front.points[i].result;
            bool allowed = result.peak_memory_bytes <= limit_bytes;
            char line[160];
            cr_expect(!allowed || result.iteration_time_s >=
                                      here->iteration_time_s * (1 - 1e-12),
                      "%s takes %g s and %g GiB, beside point %zu of %g s",
                      galv_plan_print(line, sizeof line, plan), result.iteration_time_s,
                      result.peak_memory_bytes / 0x1p30, i, here->iteration_time_s);
            limit_bytes = here->peak_memory_bytes - step_bytes;
        }
        cr_expect_gt(result.peak_memory_bytes, limit_bytes);
    }
    cr_expect_gt(n_compared, 50);
    galv_costmodel_free(model);
    galv_arena_free(scratch);
    galv_arena_free(arena);
}

Test(search_front, a_job_that_nothing_fits_is_told_so)
{
    galv_job job = make_job();
    galv_arena *arena = galv_arena_new();
    galv_space space = GALV_SPACE_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_front front;
    galv_err err = GALV_ERR_INIT;
    job.workload.memory_limit_bytes = 0x1p30;
    cr_expect_eq(galv_front_find(&front, &job, NULL, &space, &options, arena, &err),
                 GALV_INFEASIBLE);
    galv_arena_free(arena);
}
