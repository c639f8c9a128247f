/* Which schedules a search tries: the usual ones unasked, any other by name. */
#include "plan/cluster.h"
#include "plan/model.h"
#include "search/bound.h"
#include "search/shapes.h"
#include "search/space.h"
#include "sim/evaluate.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(search_schedules);

static galv_job make_job_of(const char *model)
{
    galv_job job;
    galv_err err = GALV_ERR_INIT;
    galv_workload workload = GALV_WORKLOAD_INIT;
    memset(&job, 0, sizeof job);
    job.workload = workload;
    job.workload.global_batch_size = 64;
    cr_assert_eq(galv_model_load(&job.model, model, &err), GALV_OK);
    cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-h100", 2, &err), GALV_OK);
    galv_job_fill_defaults(&job);
    return job;
}

static galv_job make_job(void)
{
    return make_job_of("llama3-8b");
}

Test(search_schedules, an_open_search_tries_the_usual_ones_only)
{
    galv_job job = make_job();
    galv_space space = GALV_SPACE_INIT;
    galv_candidates found;
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    cr_assert_eq(galv_space_enumerate(&found, &space, &job, arena, &err), GALV_OK, "%s",
                 err.message);
    bool any = false;
    for (size_t i = 0; i < found.n_candidates; i++) {
        const galv_schedule *schedule = found.candidates[i].schedule;
        cr_expect(schedule->searched, "%s", schedule->name);
        any = any || strcmp(schedule->name, "interleaved") == 0;
    }
    cr_expect(any);
    galv_arena_free(arena);
}

Test(search_schedules, a_schedule_asked_for_is_tried)
{
    size_t n = 0;
    const galv_schedule *all = galv_schedules(&n);
    galv_job job = make_job();
    for (size_t k = 0; k < n; k++) {
        galv_space space = GALV_SPACE_INIT;
        galv_candidates found = {0};
        galv_err err = GALV_ERR_INIT;
        galv_arena *arena = galv_arena_new();
        space.n_schedules = 1;
        space.schedules[0] = all[k].name;
        space.pp.n_values = 1;
        space.pp.values[0] = strcmp(all[k].name, "none") == 0 ? 1 : 4;
        galv_status status = galv_space_enumerate(&found, &space, &job, arena, &err);
        cr_expect_eq(status, GALV_OK, "%s: %s", all[k].name, err.message);
        for (size_t i = 0; i < found.n_candidates; i++) {
            cr_expect_str_eq(found.candidates[i].schedule->name, all[k].name);
        }
        galv_arena_free(arena);
    }
}

/* No bound is above what the simulation finds. */
static void expect_bounds(const char *name, const galv_strategy *strategies,
                          size_t n_strategies)
{
    size_t n = 0;
    const galv_schedule *all = galv_schedules(&n);
    galv_job job = make_job_of(name);
    galv_costmodel *model = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n_strategies; k++) {
            if (strcmp(all[i].name, "none") == 0) {
                continue;
            }
            galv_arena *arena = galv_arena_new();
            galv_plan *plan = NULL;
            galv_prices *prices = NULL;
            galv_result result = {0};
            galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
            galv_overlap overlap = GALV_OVERLAP_INIT;
            galv_uniform_plan parameters = {
                strategies[k], 4, all[i].min_chunks, all[i].name, 1, overlap, NULL};
            double bound = 0;
            cr_assert_eq(galv_plan_make_uniform(&plan, &job, &parameters, arena, &err),
                         GALV_OK, "%s: %s", all[i].name, err.message);
            cr_assert_eq(galv_prices_new(&prices, model, plan, NULL, arena, &err),
                         GALV_OK);
            cr_assert_eq(galv_bound_time(&bound, model, plan, prices, arena, &err),
                         GALV_OK, "%s: %s", all[i].name, err.message);
            cr_assert_eq(galv_evaluate(&result, model, plan, &options, arena, &err),
                         GALV_OK, "%s: %s", all[i].name, err.message);
            cr_expect(bound <= result.iteration_time_s * (1 + 1e-12),
                      "%s, strategy %zu: bound %g over %g", all[i].name, k, bound,
                      result.iteration_time_s);
            galv_arena_free(arena);
        }
    }
    galv_costmodel_free(model);
}

Test(search_schedules, no_bound_is_above_what_the_simulation_finds)
{
    static const galv_strategy dense[] = {
        {1, 1, 1, 4, GALV_SP_NONE, 1, GALV_RECOMPUTE_NONE},
        {4, 1, 1, 1, GALV_SP_MEGATRON, 0, GALV_RECOMPUTE_FULL},
        {2, 1, 1, 2, GALV_SP_MEGATRON, 3, GALV_RECOMPUTE_NONE},
    };
    static const galv_strategy experts[] = {
        {1, 1, 4, 4, GALV_SP_NONE, 1, GALV_RECOMPUTE_NONE},
        {2, 1, 4, 2, GALV_SP_MEGATRON, 2, GALV_RECOMPUTE_FULL},
    };
    expect_bounds("llama3-8b", dense, sizeof dense / sizeof dense[0]);
    expect_bounds("mixtral-8x7b", experts, sizeof experts / sizeof experts[0]);
}

/* Few micro-batches on many chunks wait for one another all the way: that is no bubble
 * of one round, and both bounds know it. */
Test(search_schedules, few_micro_batches_on_many_chunks_are_bound_by_the_whole_way)
{
    galv_job job = make_job();
    galv_space space = GALV_SPACE_INIT;
    galv_candidates found = {0};
    galv_shapes shapes;
    galv_costmodel *model = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    galv_arena *scratch = galv_arena_new();
    int n_seen = 0;
    job.workload.global_batch_size = 8;
    space.n_schedules = 1;
    space.schedules[0] = "interleaved";
    space.pp = space.vpp = (galv_choices){1, {4}};
    space.micro_batch = (galv_choices){2, {4, 8}};
    space.zero = (galv_choices){1, {0}};
    cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK);
    cr_assert_eq(galv_space_enumerate(&found, &space, &job, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_shapes_make(&shapes, model, &space, &found, arena, &err),
                 GALV_OK);
    for (size_t i = 0; i < found.n_candidates; i++) {
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        galv_plan *plan = NULL;
        galv_prices *prices = NULL;
        galv_result result = {0};
        double bound_s = 0;
        galv_arena_reset(scratch);
        cr_assert_eq(galv_candidate_plan(&plan, &found.candidates[i], &space, &job,
                                         scratch, &err),
                     GALV_OK);
        if (plan->strategies[0].dp > 1 || galv_plan_n_micro_batches(plan) > 2) {
            continue; /* gradients are exposed, or there are enough */
        }
        cr_assert_eq(galv_prices_new(&prices, model, plan, NULL, scratch, &err),
                     GALV_OK);
        cr_assert_eq(galv_bound_time(&bound_s, model, plan, prices, scratch, &err),
                     GALV_OK);
        cr_assert_eq(galv_evaluate(&result, model, plan, &options, scratch, &err),
                     GALV_OK);
        n_seen++;
        double from_layers_s = galv_shapes_bound(&shapes, i).bound_s;
        cr_expect(bound_s > 0.95 * result.iteration_time_s &&
                      bound_s <= result.iteration_time_s,
                  "plan %zu: bound %g of %g", i, bound_s, result.iteration_time_s);
        cr_expect(
            from_layers_s > 0.92 * result.iteration_time_s && from_layers_s <= bound_s,
            "plan %zu: bound %g of %g", i, from_layers_s, result.iteration_time_s);
    }
    cr_expect_gt(n_seen, 3);
    galv_costmodel_free(model);
    galv_arena_free(scratch);
    galv_arena_free(arena);
}

/* What the layers of a uniform plan tell of its time and memory without compiling it:
 * never more than the simulation, and not far below what a plan keeps. */
static void expect_shapes(const galv_job *job, const galv_schedule *schedule,
                          double *close, size_t *n_done)
{
    galv_space space = GALV_SPACE_INIT;
    galv_candidates found = {0};
    galv_shapes shapes;
    galv_costmodel *model = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    galv_arena *scratch = galv_arena_new();
    enum { SAMPLED = 12 };
    space.n_schedules = 1;
    space.schedules[0] = schedule->name;
    cr_assert_eq(galv_costmodel_new(&model, job, NULL, &err), GALV_OK);
    cr_assert_eq(galv_space_enumerate(&found, &space, job, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_shapes_make(&shapes, model, &space, &found, arena, &err), GALV_OK,
                 "%s", err.message);
    for (size_t k = 0; k < SAMPLED; k++) {
        size_t i = (2 * k + 1) * found.n_candidates / (size_t)(2 * SAMPLED);
        const galv_candidate *c = &found.candidates[i];
        galv_plan *plan = NULL;
        galv_result result = {0};
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        galv_shape_bound bound = galv_shapes_bound(&shapes, i);
        cr_assert_eq(galv_candidate_plan(&plan, c, &space, job, scratch, &err),
                     GALV_OK);
        cr_assert_eq(galv_evaluate(&result, model, plan, &options, scratch, &err),
                     GALV_OK, "%s: %s", schedule->name, err.message);
        cr_expect_leq(bound.bound_s, result.iteration_time_s, "%s, plan %zu: time",
                      schedule->name, i);
        cr_expect_leq(bound.least.bytes, result.peak_memory_bytes,
                      "%s, plan %zu: memory", schedule->name, i);
        *close +=
            shapes.shape_of[i] >= 0 ? bound.least.bytes / result.peak_memory_bytes : 0;
        *n_done += shapes.shape_of[i] >= 0;
        galv_arena_reset(scratch);
    }
    galv_costmodel_free(model);
    galv_arena_free(scratch);
    galv_arena_free(arena);
}

Test(search_schedules, layers_alone_never_tell_too_much)
{
    size_t n = 0;
    const galv_schedule *all = galv_schedules(&n);
    galv_job job = make_job();
    double close = 0;
    size_t n_done = 0;
    for (size_t i = 0; i < n; i++) {
        expect_shapes(&job, &all[i], &close, &n_done);
    }
    cr_expect_gt(n_done, 100);
    cr_expect_gt(close / (double)n_done, 0.8, "memory: %.3f of the peak in the mean",
                 close / (double)n_done);
}
