/* Bounds are true whatever hides the messages of a plan: plans by lot on clusters where
 * messages of parameters, between stages, or of tensor parallelism are dear. */
#include "plan/cluster.h"
#include "schedule/schedule.h"
#include "search/bound.h"
#include "search/relaxation.h"
#include "sim/evaluate.h"
#include "tests/search/small_jobs.h"
#include "tests/support/instances.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(search_plan_bound);

/* A job, and a plan of one strategy for all layers. */
typedef struct drawn {
    galv_job job;
    galv_candidate candidate;
    galv_space space; /* only its overlap is used */
    galv_costmodel *model;
    galv_plan *plan;
    galv_prices *prices;
    galv_arena *arena;
    galv_err err;
} drawn;

/* A power of two in [1, 2^bits]. */
static int32_t power(uint64_t *random, uint32_t bits)
{
    return 1 << next_random(random) % (bits + 1);
}

static void draw_job(galv_job *job, uint64_t *random, galv_err *err)
{
    static const char *const kinds[] = {"dgx-a100", "dgx-h100", "dgx-1-32gb"};
    galv_model *m = &job->model;
    int32_t hidden = 1024 * power(random, 2);
    int32_t n_blocks = 2 + (int32_t)(next_random(random) % 11);
    snprintf(m->name, sizeof m->name, "small");
    snprintf(m->family, sizeof m->family, "llama");
    m->seq_length = 128 * power(random, 4);
    add_group(m, GALV_LAYER_EMBEDDING, 1, hidden, 0, 0, 512);
    add_group(m, GALV_LAYER_DECODER, n_blocks, hidden, 4 * hidden, 8, 0);
    add_group(m, GALV_LAYER_HEAD, 1, hidden, 0, 0, 512);
    const char *kind = kinds[next_random(random) % 3];
    int32_t n_nodes = power(random, 2);
    cr_assert_eq(galv_cluster_load(&job->cluster, kind, n_nodes, err), GALV_OK, "%s",
                 err->message);
    galv_pool *pool = &job->cluster.pools[0];
    pool->intra_bytes_per_s /= power(random, 6);
    pool->device.scaleup_bytes_per_s = pool->intra_bytes_per_s;
    pool->inter_bytes_per_s /= power(random, 6);
    job->workload = (galv_workload)GALV_WORKLOAD_INIT;
    job->workload.precision = GALV_FP16;
}

static void draw_candidate(drawn *d, uint64_t *random)
{
    size_t n_schedules = 0;
    const galv_schedule *schedules = galv_schedules(&n_schedules);
    galv_candidate *c = &d->candidate;
    galv_err err = GALV_ERR_INIT;
    do {
        c->schedule = &schedules[next_random(random) % n_schedules];
    } while (strcmp(c->schedule->name, "none") == 0);
    c->pp = power(random, 2);
    c->vpp = c->schedule->min_chunks;
    if (c->pp == 1) {
        c->vpp = 1;
        cr_assert_eq(galv_schedule_find(&c->schedule, "none", &err), GALV_OK);
    }
    int32_t tp = power(random, 3);
    c->strategy = (galv_strategy){.tp = tp, .cp = 1, .ep = 1};
    c->strategy.dp =
        (int32_t)galv_cluster_n_devices(&d->job.cluster) / c->pp / c->strategy.tp;
    c->strategy.sp = tp > 1 ? (galv_sp)(next_random(random) % 3) : GALV_SP_NONE;
    c->strategy.zero = next_random(random) % 4 == 0 ? 1 : 2 + power(random, 1) % 2;
    c->strategy.recompute =
        next_random(random) % 2 ? GALV_RECOMPUTE_NONE : GALV_RECOMPUTE_FULL;
    c->micro_batch_size = power(random, 1);
    d->space = (galv_space)GALV_SPACE_INIT;
    d->space.overlap.tp_comm = next_random(random) % 4 == 0;
    d->space.overlap.p2p = next_random(random) % 3 != 0;
    int32_t m = c->pp * (1 + (int32_t)(next_random(random) % 4));
    d->job.workload.global_batch_size = c->strategy.dp * c->micro_batch_size * m;
}

/* False when what was drawn is no plan. */
static bool draw(drawn *d, uint64_t seed)
{
    uint64_t random = seed * 7919 + 29;
    memset(d, 0, sizeof *d);
    d->arena = galv_arena_new();
    draw_job(&d->job, &random, &d->err);
    draw_candidate(d, &random);
    if (d->candidate.strategy.dp < 1) {
        return false;
    }
    galv_job_fill_defaults(&d->job);
    cr_assert_eq(galv_costmodel_new(&d->model, &d->job, NULL, &d->err), GALV_OK);
    return galv_candidate_plan(&d->plan, &d->candidate, &d->space, &d->job, d->arena,
                               &d->err) == GALV_OK &&
           galv_prices_new(&d->prices, d->model, d->plan, NULL, d->arena, &d->err) ==
               GALV_OK;
}

static void drop(drawn *d)
{
    galv_costmodel_free(d->model);
    galv_arena_free(d->arena);
}

/* The largest of the bounds between latency and hiding, of all plans of this strategy,
 * where its schedule has such. */
static double relaxed_s(drawn *d)
{
    const galv_candidate *c = &d->candidate;
    galv_shape shape = {.pp = c->pp,
                        .vpp = c->vpp,
                        .schedule = c->schedule,
                        .samples = (int64_t)c->micro_batch_size * c->strategy.dp,
                        .n_strategies = 1,
                        .strategies = &c->strategy};
    galv_layer_table table;
    galv_replay *replay = NULL;
    double most_s = 0;
    cr_assert_eq(galv_layer_table_make(&table, d->model, &shape, &d->space.overlap,
                                       NULL, d->arena, &d->err),
                 GALV_OK, "%s", d->err.message);
    galv_schedule_shape order = {c->pp, c->vpp, table.n_micro_batches, 0, NULL};
    cr_assert_eq(galv_replay_new(&replay, c->schedule, &order, d->arena, &d->err),
                 GALV_OK, "%s", d->err.message);
    for (int share = 0; share < 3; share++) {
        galv_relaxation *relaxation = NULL;
        double bound_s = 0;
        cr_assert_eq(galv_relaxation_new_between(&relaxation, &table, replay,
                                                 &d->job.model, 1e15, share / 2.0,
                                                 d->arena, &d->err),
                     GALV_OK);
        cr_assert_eq(galv_relaxation_between_bound(&bound_s, relaxation, &d->err),
                     GALV_OK);
        most_s = fmax(most_s, bound_s);
    }
    return most_s;
}

/* What the layers of the plan alone tell, and of its shape; 0 where they tell nothing.
 */
static double layers_s(drawn *d, double *shape_s)
{
    galv_candidates one = {.n_candidates = 1, .candidates = &d->candidate};
    galv_shapes shapes;
    cr_assert_eq(
        galv_shapes_make(&shapes, d->model, &d->space, &one, d->arena, &d->err),
        GALV_OK, "%s", d->err.message);
    *shape_s = shapes.shape_of[0] >= 0 ? relaxed_s(d) : 0;
    return galv_shapes_bound(&shapes, 0).bound_s;
}

Test(search_plan_bound, bounds_are_true_where_messages_hide_behind_one_another)
{
    int n_done = 0;
    for (uint64_t seed = 0; seed < GALV_TEST_INSTANCES(2000); seed++) {
        drawn d;
        galv_result result = {0};
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        double bound_s = 0;
        double shape_s = 0;
        bool possible =
            draw(&d, seed) && galv_bound_time(&bound_s, d.model, d.plan, d.prices,
                                              d.arena, &d.err) == GALV_OK;
        if (possible) {
            cr_assert_eq(
                galv_evaluate(&result, d.model, d.plan, &options, d.arena, &d.err),
                GALV_OK, "seed %d: %s", (int)seed, d.err.message);
            double most_s = result.iteration_time_s * (1 + 1e-12);
            cr_expect_leq(bound_s, most_s, "seed %d, %s: of the plan, %.4f of its time",
                          (int)seed, d.plan->schedule, bound_s / most_s);
            double from_layers_s = layers_s(&d, &shape_s);
            cr_expect_leq(from_layers_s, most_s, "seed %d, %s: of its layers, %.4f",
                          (int)seed, d.plan->schedule, from_layers_s / most_s);
            cr_expect_leq(shape_s, most_s, "seed %d, %s: of its shape, %.4f", (int)seed,
                          d.plan->schedule, shape_s / most_s);
            n_done++;
        }
        drop(&d);
    }
    cr_expect_geq(n_done, GALV_TEST_INSTANCES(1000), "%d plans say something", n_done);
}
