/* The bound of a plan is true whatever hides its messages: plans by lot on clusters
 * where messages of parameters, between stages, or of tensor parallelism are dear. */
#include "plan/cluster.h"
#include "schedule/schedule.h"
#include "search/bound.h"
#include "search/shapes.h"
#include "sim/evaluate.h"
#include "tests/search/small_jobs.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(search_plan_bound);

static int32_t draw(uint64_t *random, const int32_t *of, uint32_t n)
{
    return of[next_random(random) % n];
}

/* Between 1 and 1 / 64 of what it was. */
static double slower(uint64_t *random)
{
    return 1.0 / (double)(1U << next_random(random) % 7);
}

static void random_job(galv_job *job, uint64_t *random)
{
    static const char *const kinds[] = {"dgx-a100", "dgx-h100", "dgx-1-32gb"};
    galv_err err = GALV_ERR_INIT;
    galv_model *m = &job->model;
    int32_t hidden = 1024 << next_random(random) % 3;
    memset(job, 0, sizeof *job);
    snprintf(m->name, sizeof m->name, "small");
    snprintf(m->family, sizeof m->family, "llama");
    m->seq_length = 128 << next_random(random) % 5;
    add_group(m, GALV_LAYER_EMBEDDING, 1, hidden, 0, 0, 512);
    add_group(m, GALV_LAYER_DECODER, 8 + (int32_t)(next_random(random) % 9), hidden,
              4 * hidden, 8, 0);
    add_group(m, GALV_LAYER_HEAD, 1, hidden, 0, 0, 512);
    cr_assert_eq(galv_cluster_load(&job->cluster, kinds[next_random(random) % 3],
                                   1 << next_random(random) % 3, &err),
                 GALV_OK, "%s", err.message);
    galv_pool *pool = &job->cluster.pools[0];
    pool->intra_bytes_per_s *= slower(random);
    pool->device.scaleup_bytes_per_s = pool->intra_bytes_per_s;
    pool->inter_bytes_per_s *= slower(random);
    job->workload = (galv_workload)GALV_WORKLOAD_INIT;
    job->workload.precision = GALV_FP16;
}

/* False when what was drawn is no plan. */
static bool random_plan(galv_plan **plan, galv_candidate *candidate, galv_job *job,
                        uint64_t *random, galv_arena *arena)
{
    static const int32_t tps[] = {1, 2, 4, 8};
    static const int32_t pps[] = {1, 2, 2, 4};
    size_t n_schedules = 0;
    const galv_schedule *schedules = galv_schedules(&n_schedules);
    const galv_schedule *schedule = &schedules[next_random(random) % n_schedules];
    galv_uniform_plan p = {.overlap = GALV_OVERLAP_INIT, .schedule = schedule->name};
    galv_err err = GALV_ERR_INIT;
    int32_t n_devices = (int32_t)galv_cluster_n_devices(&job->cluster);
    p.pp = draw(random, pps, 4);
    p.schedule = p.pp == 1 ? "none" : p.schedule;
    p.vpp = p.pp == 1 ? 1 : schedule->min_chunks;
    p.strategy.tp = draw(random, tps, 4);
    p.strategy.cp = 1;
    p.strategy.ep = 1;
    p.strategy.dp = n_devices / p.pp / p.strategy.tp;
    p.strategy.sp = p.strategy.tp > 1 ? (next_random(random) % 3) : GALV_SP_NONE;
    p.strategy.zero =
        next_random(random) % 4 == 0 ? 1 : 2 + (int32_t)(next_random(random) % 2);
    p.strategy.recompute =
        next_random(random) % 2 ? GALV_RECOMPUTE_NONE : GALV_RECOMPUTE_FULL;
    p.micro_batch_size = 1 + (int32_t)(next_random(random) % 2);
    p.overlap.tp_comm = next_random(random) % 4 == 0;
    p.overlap.p2p = next_random(random) % 3 != 0;
    if (p.strategy.dp < 1) {
        return false;
    }
    job->workload.global_batch_size = (int64_t)p.strategy.dp * p.micro_batch_size *
                                      p.pp * (1 + (int32_t)(next_random(random) % 4));
    galv_job_fill_defaults(job);
    *candidate = (galv_candidate){.strategy = p.strategy,
                                  .pp = p.pp,
                                  .vpp = p.vpp,
                                  .micro_batch_size = p.micro_batch_size};
    return galv_schedule_find(&candidate->schedule, p.schedule, &err) == GALV_OK &&
           galv_plan_make_uniform(plan, job, &p, arena, &err) == GALV_OK;
}

/* The bounds from compiled passes and from layers alone; false when the schedule cannot
 * do so many micro-batches. */
static bool find_bounds(double *from_passes_s, double *from_layers_s, double *time_s,
                        const galv_costmodel *model, const galv_plan *plan,
                        const galv_candidate *candidate, galv_arena *arena)
{
    galv_candidate one = *candidate;
    galv_candidates all = {.candidates = &one, .n_candidates = 1};
    galv_space space = GALV_SPACE_INIT;
    galv_shapes shapes;
    galv_prices *prices = NULL;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_result result = {0};
    galv_err err = GALV_ERR_INIT;
    space.overlap = plan->overlap;
    cr_assert_eq(galv_prices_new(&prices, model, plan, NULL, arena, &err), GALV_OK);
    galv_status status =
        galv_bound_time(from_passes_s, model, plan, prices, arena, &err);
    if (status == GALV_OK) {
        status = galv_evaluate(&result, model, plan, &options, arena, &err);
    }
    if (status == GALV_USAGE) {
        return false;
    }
    cr_assert_eq(status, GALV_OK, "%s", err.message);
    cr_assert_eq(galv_shapes_make(&shapes, model, &space, &all, arena, &err), GALV_OK,
                 "%s", err.message);
    *from_layers_s = galv_shapes_bound(&shapes, 0).bound_s;
    *time_s = result.iteration_time_s;
    return true;
}

Test(search_plan_bound, it_is_true_where_messages_hide_behind_one_another)
{
    int n_done = 0;
    for (uint64_t seed = 0; seed < 1400; seed++) {
        uint64_t random = seed * 7919 + 29;
        galv_arena *arena = galv_arena_new();
        galv_job job;
        galv_plan *plan = NULL;
        galv_candidate candidate;
        galv_err err = GALV_ERR_INIT;
        galv_costmodel *model = NULL;
        double passes_s = 0, layers_s = 0, time_s = 0;
        random_job(&job, &random);
        if (random_plan(&plan, &candidate, &job, &random, arena)) {
            cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK);
            if (find_bounds(&passes_s, &layers_s, &time_s, model, plan, &candidate,
                            arena)) {
                cr_expect(passes_s <= time_s * (1 + 1e-12),
                          "plan %d, %s: passes %.9g of %.9g", (int)seed, plan->schedule,
                          passes_s, time_s);
                cr_expect(layers_s <= time_s * (1 + 1e-12),
                          "plan %d, %s: layers %.9g of %.9g", (int)seed, plan->schedule,
                          layers_s, time_s);
                n_done++;
            }
            galv_costmodel_free(model);
        }
        galv_arena_free(arena);
    }
    cr_expect_gt(n_done, 1000);
}
