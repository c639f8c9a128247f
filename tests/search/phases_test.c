/* Phases and switches: bytes by closed form, the choice by trying every sequence. */
#include "search/phases.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(search_phases);

static galv_job make_job(int32_t n_nodes)
{
    galv_job job;
    galv_err err = GALV_ERR_INIT;
    galv_workload workload = GALV_WORKLOAD_INIT;
    memset(&job, 0, sizeof job);
    job.workload = workload;
    job.workload.global_batch_size = 64;
    cr_assert_eq(galv_model_load(&job.model, "llama3-8b", &err), GALV_OK);
    cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-h100", n_nodes, &err), GALV_OK);
    galv_job_fill_defaults(&job);
    return job;
}

static galv_plan *make_plan(const galv_job *job, int32_t tp, int32_t pp, int32_t zero,
                            galv_sp sp, galv_arena *arena)
{
    galv_plan *plan = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_uniform_plan parameters = {
        .strategy = GALV_STRATEGY_INIT, .pp = pp, .vpp = 1, .micro_batch_size = 1};
    parameters.strategy.tp = tp;
    parameters.strategy.dp = (int32_t)galv_cluster_n_devices(&job->cluster) / tp / pp;
    parameters.strategy.zero = zero;
    parameters.strategy.sp = sp;
    parameters.overlap = (galv_overlap)GALV_OVERLAP_INIT;
    cr_assert_eq(galv_plan_make_uniform(&plan, job, &parameters, arena, &err), GALV_OK,
                 "%s", err.message);
    return plan;
}

/* What each of n devices holds of P parameters is 12 P bytes times its share; what it
 * must receive is the part of the new share that the old one did not hold. */
Test(search_phases, moved_bytes_are_those_of_the_closed_form)
{
    galv_job job = make_job(1);
    galv_arena *arena = galv_arena_new();
    double all = 12 * galv_model_parameters(&job.model);
    galv_plan *dp = make_plan(&job, 1, 1, 0, GALV_SP_NONE, arena);
    galv_plan *tp2 = make_plan(&job, 2, 1, 0, GALV_SP_MEGATRON, arena);
    galv_plan *tp4 = make_plan(&job, 4, 1, 0, GALV_SP_MEGATRON, arena);
    galv_plan *zero1 = make_plan(&job, 1, 1, 1, GALV_SP_NONE, arena);
    galv_plan *zero2 = make_plan(&job, 1, 1, 2, GALV_SP_NONE, arena);
    galv_plan *ulysses = make_plan(&job, 8, 1, 1, GALV_SP_ULYSSES, arena);
    const struct {
        const char *name;
        const galv_plan *from, *to;
        double bytes;
    } cases[] = {
        {"to the same", dp, dp, 0},
        {"to a part of what was whole", dp, tp4, 0},
        {"tp 4 to whole: three quarters on 8 devices", tp4, dp, 8 * 0.75 * all},
        /* device i holds quarter i % 4; half i % 2 contains it for quarters 0 and 3 */
        {"tp 4 to tp 2", tp4, tp2, 4 * 0.25 * all + 4 * 0.5 * all},
        {"whole to shards", dp, zero1, 0},
        {"shards to whole", zero1, dp, 8 * 0.875 * all},
        {"ZeRO 1 to 2 holds the same state", zero1, zero2, 0},
        {"Ulysses shards as data parallel does", zero1, ulysses, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_switching switching;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(
            galv_switching_cost(&switching, &job, cases[i].from, cases[i].to, &err),
            GALV_OK);
        cr_expect(fabs(switching.moved_bytes - cases[i].bytes) <= 1e-9 * all,
                  "case %s: %g, not %g", cases[i].name, switching.moved_bytes,
                  cases[i].bytes);
        cr_expect_eq(switching.time_s > 0, cases[i].bytes > 0, "case %s",
                     cases[i].name);
    }
    galv_arena_free(arena);
}

/* ZeRO 1, 2 and 3 shard the state alike. With 1 and 2 every device then gathers its
 * weights in 16 bits from its peers (Rajbhandari et al. 2020, arXiv 1910.02054, section
 * 5), with 3 none does before a layer needs them. */
Test(search_phases, weights_are_gathered_unless_they_stay_shards)
{
    galv_job job = make_job(1);
    galv_arena *arena = galv_arena_new();
    double parameters = galv_model_parameters(&job.model);
    galv_plan *from = make_plan(&job, 8, 1, 0, GALV_SP_MEGATRON, arena);
    for (int32_t tp = 1; tp <= 4; tp *= 2) {
        double most[4] = {0};
        for (int32_t zero = 1; zero <= 3; zero++) {
            galv_switching switching;
            galv_err err = GALV_ERR_INIT;
            galv_sp sp = tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE;
            galv_plan *to = make_plan(&job, tp, 1, zero, sp, arena);
            cr_assert_eq(galv_switching_cost(&switching, &job, from, to, &err),
                         GALV_OK);
            most[zero] = switching.moved_bytes > 0 ? switching.most_moved_bytes : -1;
        }
        if (most[3] < 0) {
            continue; /* nothing has to move, and nothing is said */
        }
        double weights = 2 * parameters / tp;
        cr_expect_float_eq((most[1] - most[3]) / weights, 1, 1e-9, "tp %d", (int)tp);
        cr_expect_float_eq((most[2] - most[3]) / weights, 1, 1e-9, "tp %d", (int)tp);
    }
    galv_arena_free(arena);
}

/* pp 2 to pp 1 on two of 8 devices... every device holds half of the layers, and then
 * all: what it receives is what the other stage held. */
Test(search_phases, a_pipeline_that_becomes_shorter_moves_the_other_stages)
{
    galv_job job = make_job(1);
    galv_arena *arena = galv_arena_new();
    galv_plan *from = make_plan(&job, 1, 2, 0, GALV_SP_NONE, arena);
    galv_plan *to = make_plan(&job, 1, 1, 0, GALV_SP_NONE, arena);
    galv_switching switching;
    galv_err err = GALV_ERR_INIT;
    double all = 12 * galv_model_parameters(&job.model);
    cr_assert_eq(galv_switching_cost(&switching, &job, from, to, &err), GALV_OK);
    cr_expect(fabs(switching.moved_bytes - 4 * all) <=
              1e-9 * all); /* 4 ranks a stage */
    galv_arena_free(arena);
}

/* Every sequence of the plans that the run was chosen from, by brute force. */
static double brute_force(const galv_job *job, const galv_phase *phases, size_t n,
                          galv_plan *const *layouts, size_t n_layouts, double restart_s,
                          galv_arena *arena)
{
    double best_s = HUGE_VAL;
    size_t n_sequences = 1;
    for (size_t i = 0; i < n; i++) {
        n_sequences *= n_layouts;
    }
    for (size_t code = 0; code < n_sequences; code++) {
        double sum_s = 0;
        size_t rest = code;
        const galv_plan *before = NULL;
        for (size_t i = 0; i < n && sum_s < HUGE_VAL; i++, rest /= n_layouts) {
            galv_err err = GALV_ERR_INIT;
            galv_job own = galv_phase_job(job, &phases[i]);
            galv_costmodel *model = NULL;
            galv_plan *plan = NULL;
            galv_result result;
            galv_switching switching = {0};
            galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
            cr_assert_eq(galv_costmodel_new(&model, &own, NULL, &err), GALV_OK);
            const galv_plan *layout = layouts[rest % n_layouts];
            int64_t most =
                own.workload.global_batch_size / galv_plan_strategy(layout, 0)->dp;
            double step_s = HUGE_VAL; /* with the micro-batch that suits best */
            for (int32_t size = 1; size <= most; size++) {
                galv_plan other = *layout;
                other.micro_batch_size = size;
                galv_plan *made = NULL;
                if (galv_plan_in_phase(&made, &other, &own, arena, &err) == GALV_OK &&
                    galv_evaluate(&result, model, made, &options, arena, &err) ==
                        GALV_OK &&
                    result.fits && result.iteration_time_s < step_s) {
                    step_s = result.iteration_time_s;
                    plan = made;
                }
                err = (galv_err)GALV_ERR_INIT;
            }
            galv_costmodel_free(model);
            if (plan == NULL) {
                sum_s = HUGE_VAL;
                break;
            }
            if (before != NULL) {
                cr_assert_eq(galv_switching_cost(&switching, job, before, plan, &err),
                             GALV_OK);
            }
            sum_s += switching.changes ? switching.time_s + restart_s : 0;
            sum_s += galv_phase_steps(&own, &phases[i]) * step_s;
            before = plan;
        }
        best_s = fmin(best_s, sum_s);
    }
    return best_s;
}

Test(search_phases, the_run_is_the_shortest_of_all_sequences, .timeout = 120)
{
    galv_job job = make_job(2);
    galv_arena *arena = galv_arena_new();
    const galv_phase phases[] = {
        {"short", 2048, 64, 2e9}, {"long", 131072, 16, 5e9}, {"again", 2048, 256, 3e9}};
    const double restarts_s[] = {0, 300, 1e9};
    int32_t n_switches[3];
    for (int k = 0; k < 3; k++) {
        galv_planned_run run;
        galv_err err = GALV_ERR_INIT;
        galv_space space = GALV_SPACE_INIT;
        galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
        options.top_k = 2;
        cr_assert_eq(galv_phases_plan(&run, &job, phases, 2, NULL, &space, &options,
                                      restarts_s[k], arena, &err),
                     GALV_OK, "%s", err.message);
        galv_plan *layouts[4];
        size_t n_layouts = 0;
        for (size_t i = 0; i < 2; i++) {
            galv_job own = galv_phase_job(&job, &phases[i]);
            galv_costmodel *model = NULL;
            galv_search_result found;
            cr_assert_eq(galv_costmodel_new(&model, &own, NULL, &err), GALV_OK);
            cr_assert_eq(galv_search(&found, model, &space, &options, arena, &err),
                         GALV_OK);
            layouts[n_layouts++] = found.plans[0].plan;
            layouts[n_layouts++] = found.plans[1].plan;
            galv_costmodel_free(model);
        }
        double best_s =
            brute_force(&job, phases, 2, layouts, n_layouts, restarts_s[k], arena);
        cr_expect(fabs(run.time_s - best_s) <= 1e-9 * best_s,
                  "restart %g: %.9g not %.9g", restarts_s[k], run.time_s, best_s);
        double sum_s = 0;
        for (size_t i = 0; i < 2; i++) {
            sum_s += run.phases[i].time_s;
            sum_s += run.phases[i].switched
                         ? run.phases[i].switching.time_s + restarts_s[k]
                         : 0;
        }
        cr_expect(fabs(run.time_s - sum_s) <= 1e-9 * sum_s);
        n_switches[k] = run.n_switches;
        cr_expect(run.time_s <= run.kept_time_s * (1 + 1e-12));
    }
    cr_expect_gt(n_switches[0], 0, "nothing to switch for: the test tells little");
    cr_expect_eq(n_switches[2], 0);
    galv_arena_free(arena);
}

/* All uniform plans of a job, and the one that is best kept in all phases: what the run
 * says of keeping a plan is the best there is, not the best of a few. */
Test(search_phases, the_plan_to_keep_is_the_best_of_the_whole_space, .timeout = 120)
{
    galv_job job = make_job(2);
    galv_arena *arena = galv_arena_new();
    const galv_phase phases[] = {{"short", 2048, 64, 2e9}, {"long", 32768, 32, 5e9}};
    galv_space space = GALV_SPACE_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_planned_run run;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_phases_plan(&run, &job, phases, 2, NULL, &space, &options, 300,
                                  arena, &err),
                 GALV_OK, "%s", err.message);
    galv_candidates found[2];
    double *times_s[2];
    for (int i = 0; i < 2; i++) {
        galv_job own = galv_phase_job(&job, &phases[i]);
        galv_costmodel *model = NULL;
        galv_arena *scratch = galv_arena_new();
        cr_assert_eq(galv_costmodel_new(&model, &own, NULL, &err), GALV_OK);
        cr_assert_eq(galv_space_enumerate(&found[i], &space, &own, arena, &err),
                     GALV_OK);
        times_s[i] = GALV_NEW_ARRAY(arena, double, found[i].n_candidates);
        for (size_t k = 0; k < found[i].n_candidates; k++) {
            galv_plan *plan = NULL;
            galv_result result;
            galv_evaluate_options evaluate = GALV_EVALUATE_OPTIONS_INIT;
            cr_assert_eq(galv_candidate_plan(&plan, &found[i].candidates[k], &space,
                                             &own, scratch, &err),
                         GALV_OK);
            cr_assert_eq(galv_evaluate(&result, model, plan, &evaluate, scratch, &err),
                         GALV_OK);
            times_s[i][k] = result.fits ? galv_phase_steps(&own, &phases[i]) *
                                              result.iteration_time_s
                                        : HUGE_VAL;
            galv_arena_reset(scratch);
        }
        galv_arena_free(scratch);
        galv_costmodel_free(model);
    }
    double best_s = HUGE_VAL;
    for (size_t a = 0; a < found[0].n_candidates; a++) {
        const galv_candidate *c = &found[0].candidates[a];
        for (size_t b = 0; times_s[0][a] < HUGE_VAL && b < found[1].n_candidates; b++) {
            const galv_candidate *d = &found[1].candidates[b];
            if (c->pp == d->pp && c->vpp == d->vpp && c->schedule == d->schedule &&
                galv_strategy_equal(&c->strategy, &d->strategy)) {
                best_s = fmin(best_s, times_s[0][a] + times_s[1][b]);
            }
        }
    }
    cr_expect(run.kept_time_s <= best_s * (1 + 1e-9), "%.9g, and %.9g is possible",
              run.kept_time_s, best_s);
    cr_expect(run.lower_bound_s <= run.time_s * (1 + 1e-12));
    galv_arena_free(arena);
}
