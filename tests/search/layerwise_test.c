/* The layer-wise search is held to brute force (small_jobs.h). */
#include "search/layer_tree.h"
#include "search/layerwise.h"
#include "search/trial.h"
#include "tests/search/small_jobs.h"
#include "tests/support/instances.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(search_layerwise);

enum { INSTANCES = GALV_TEST_INSTANCES(500) };

/* Is a time of the search that of brute force, up to what a trial may differ by? */
static bool same_time(double found_s, double brute_s)
{
    return found_s <= brute_s * (1 + 1e-11) &&
           found_s >= brute_s * (1 - GALV_TRIAL_ROUNDING);
}

Test(search_layerwise, finds_the_optimum_of_brute_force_on_500_random_instances)
{
    size_t n_done = 0, n_fit = 0, n_mixed = 0, n_chunked = 0, n_plans_in_all = 0;
    uint64_t n_simulated = 0;
    for (uint64_t seed = 1; n_done < INSTANCES && seed < 20 * INSTANCES; seed++) {
        instance in;
        size_t n_plans = 0;
        galv_layerwise_result found;
        galv_layerwise_options options = {.max_runs = 99, .max_nodes = 1000000};
        bool any = instance_begin(&in, seed);
        if (any) {
            n_plans = brute_force(&in, true).n_plans;
        }
        if (!any || n_plans > MOST_PLANS || n_plans < 4) {
            instance_end(&in);
            continue;
        }
        double best_s = brute_force(&in, false).best_s;
        cr_assert_eq(galv_layerwise_search(&found, in.model, &in.space, &in.shapes,
                                           &options, in.arena, &in.err),
                     GALV_OK, "%s", in.err.message);
        cr_expect(same_time(found.best_s, best_s),
                  "instance %d (pp %d, %zu plans): found %.9g, brute force %.9g",
                  (int)seed, (int)in.space.pp.values[0], n_plans, found.best_s, best_s);
        cr_expect(found.complete && !found.interrupted, "instance %d", (int)seed);
        cr_expect_eq(found.lower_bound_s, found.best_s, "instance %d", (int)seed);
        n_done++;
        n_fit += isfinite(best_s);
        n_chunked += isfinite(best_s) && in.space.vpp.values[0] > 1;
        n_plans_in_all += n_plans;
        n_simulated += found.n_simulated;
        if (found.best >= 0) {
            const galv_plan *p = found.searched[found.best].candidate.layered;
            char line[128];
            n_mixed += strstr(galv_plan_print(line, sizeof line, p), "per-layer") != 0;
        }
        instance_end(&in);
    }
    cr_expect_eq(n_done, INSTANCES);
    cr_expect_gt(n_fit, INSTANCES / 2, "only %zu have a plan that fits", n_fit);
    cr_expect_geq(n_mixed, INSTANCES / 10, "only %zu mix strategies", n_mixed);
    cr_expect_gt(n_chunked, INSTANCES / 20, "only %zu have chunks", n_chunked);
    cr_expect_lt(n_simulated, n_plans_in_all, "nothing was cut");
    if (getenv("GALV_TEST_TALK")) {
        fprintf(stderr, "%zu instances, %zu fit, %zu mixed, %zu plans, %zu simulated\n",
                n_done, n_fit, n_mixed, n_plans_in_all, (size_t)n_simulated);
    }
}

/* Where the tree cannot be walked, guesses and exchanges must do alone. */
Test(search_layerwise, guesses_and_exchanges_alone_mostly_find_the_optimum)
{
    enum { WANTED = 100 };
    size_t n_done = 0, n_best = 0, n_missed = 0;
    double worst = 0;
    for (uint64_t seed = 1; n_done < WANTED && seed < 20 * WANTED; seed++) {
        instance in;
        size_t n_plans = 0;
        galv_layerwise_result found;
        galv_layerwise_options options = {.max_runs = 99, .max_nodes = 1};
        bool any = instance_begin(&in, seed);
        if (any) {
            n_plans = brute_force(&in, true).n_plans;
        }
        double best_s = any && n_plans <= MOST_PLANS && n_plans >= 4
                            ? brute_force(&in, false).best_s
                            : INFINITY;
        if (isfinite(best_s)) {
            cr_assert_eq(galv_layerwise_search(&found, in.model, &in.space, &in.shapes,
                                               &options, in.arena, &in.err),
                         GALV_OK, "%s", in.err.message);
            cr_expect_geq(found.best_s, best_s * (1 - GALV_TRIAL_ROUNDING));
            n_done++;
            n_best += found.best_s <= best_s * (1 + 1e-12);
            n_missed += found.best_s > best_s * 1.001;
            worst = fmax(worst, isfinite(found.best_s) ? found.best_s / best_s - 1 : 0);
        }
        instance_end(&in);
    }
    if (getenv("GALV_TEST_TALK")) {
        fprintf(stderr, "%zu of %zu exact, %zu not within 0.1 %%, worst %.3g\n", n_best,
                n_done, n_missed, worst);
    }
    cr_expect_eq(n_done, WANTED);
    /* without exchanges 65 and 33 */
    cr_expect_geq(n_best, 85, "only %zu are exact", n_best);
    cr_expect_leq(n_missed, 15, "%zu are not within 0.1 %%", n_missed);
}

/* At the very edge just one plan fits, to the byte. The tree finds it; where it cannot
 * be walked, going down in memory does, mostly. */
Test(search_layerwise, finds_the_only_plan_that_fits)
{
    enum { WANTED = GALV_TEST_INSTANCES(150) };
    size_t n_done = 0, n_gone_down = 0, n_uniform = 0;
    for (uint64_t seed = 1; n_done < WANTED && seed < 20 * WANTED; seed++) {
        instance in;
        size_t n_plans = 0;
        galv_layerwise_result found, guessed;
        galv_layerwise_options walk = {.max_runs = 99, .max_nodes = 1000000};
        galv_layerwise_options guess = {.max_runs = 99, .max_nodes = 1};
        bool any = instance_begin(&in, seed);
        if (any) {
            n_plans = brute_force(&in, true).n_plans;
        }
        if (any && n_plans <= MOST_PLANS && n_plans >= 4) {
            instance_limit_memory(&in, brute_force(&in, false).least_bytes);
            double best_s = brute_force(&in, false).best_s;
            cr_assert(isfinite(best_s), "instance %d", (int)seed);
            cr_assert_eq(galv_layerwise_search(&found, in.model, &in.space, &in.shapes,
                                               &walk, in.arena, &in.err),
                         GALV_OK, "%s", in.err.message);
            cr_expect(same_time(found.best_s, best_s),
                      "instance %d: found %.9g, there is %.9g", (int)seed, found.best_s,
                      best_s);
            cr_assert_eq(galv_layerwise_search(&guessed, in.model, &in.space,
                                               &in.shapes, &guess, in.arena, &in.err),
                         GALV_OK, "%s", in.err.message);
            cr_expect_leq(guessed.lower_bound_s, best_s, "instance %d", (int)seed);
            n_done++;
            n_gone_down += isfinite(guessed.best_s);
            if (found.best >= 0) {
                const galv_plan *p = found.searched[found.best].candidate.layered;
                char line[128];
                n_uniform +=
                    strstr(galv_plan_print(line, sizeof line, p), "per-layer") == 0;
            }
        }
        instance_end(&in);
    }
    if (getenv("GALV_TEST_TALK")) {
        fprintf(stderr, "%zu edges, %zu of uniform plans, %zu found without the tree\n",
                n_done, n_uniform, n_gone_down);
    }
    cr_expect_eq(n_done, WANTED);
    cr_expect_lt(n_uniform, n_done - n_done / 10, "hardly any edge is of a mixed plan");
    cr_expect_geq(n_gone_down, WANTED - WANTED / 15 - 1,
                  "only %zu are found without the tree", n_gone_down);
}

static void search_job(galv_search_result *found, const char *model,
                       const char *cluster, int n_nodes, int64_t batch,
                       const galv_space *space, int n_jobs, int32_t top_k,
                       galv_arena *arena)
{
    galv_job job;
    galv_costmodel *costs = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    memset(&job, 0, sizeof job);
    cr_assert_eq(galv_model_load(&job.model, model, &err), GALV_OK, "%s", err.message);
    cr_assert_eq(galv_cluster_load(&job.cluster, cluster, n_nodes, &err), GALV_OK, "%s",
                 err.message);
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.global_batch_size = batch;
    galv_job_fill_defaults(&job);
    cr_assert_eq(galv_costmodel_new(&costs, &job, NULL, &err), GALV_OK, "%s",
                 err.message);
    options.n_jobs = n_jobs;
    options.top_k = top_k;
    options.per_kind = 2; /* as the command line has it */
    cr_assert_eq(galv_search(found, costs, space, &options, arena, &err), GALV_OK, "%s",
                 err.message);
    galv_costmodel_free(costs);
}

/* 24, 40 and 96 GPUs, a batch of 56: nothing here is a power of two. */
Test(search_layerwise, is_never_worse_than_the_uniform_search)
{
    static const struct {
        const char *model, *cluster;
        int n_nodes;
        int64_t batch;
    } jobs[] = {{"llama2-7b", "dgx-a100", 1, 56},
                {"llama3-8b", "dgx-h100", 3, 96},
                {"gpt3-1.3b", "dgx-a100", 5, 80},
                {"llama3-8b", "dgx-h100", 12, 192}};
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        galv_space space = GALV_SPACE_INIT;
        galv_search_result uniform, layered;
        galv_arena *arena = galv_arena_new();
        space.micro_batch = (galv_choices){2, {1, 2}};
        space.sp = (galv_choices){2, {GALV_SP_NONE, GALV_SP_MEGATRON}};
        search_job(&uniform, jobs[i].model, jobs[i].cluster, jobs[i].n_nodes,
                   jobs[i].batch, &space, 1, 5, arena);
        space.layer_wise = true;
        search_job(&layered, jobs[i].model, jobs[i].cluster, jobs[i].n_nodes,
                   jobs[i].batch, &space, 1, 5, arena);
        double best_s = layered.plans[0].result.iteration_time_s;
        cr_expect_leq(best_s, uniform.plans[0].result.iteration_time_s, "job %zu", i);
        cr_expect_leq(layered.lower_bound_s, best_s, "job %zu", i);
        cr_expect(layered.plans[0].result.fits, "job %zu", i);
        cr_expect_eq(galv_plan_n_devices(layered.plans[0].plan), 8 * jobs[i].n_nodes);
        galv_arena_free(arena);
    }
}

/* 31 blocks on 8 stages, 56 samples: numbers that divide nothing. Every stage works,
 * none holds much more than its share, and no sample is lost. */
Test(search_layerwise, blocks_that_do_not_divide_are_spread_sensibly)
{
    galv_job job;
    galv_costmodel *model = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_space space = GALV_SPACE_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_search_result found;
    galv_arena *arena = galv_arena_new();
    memset(&job, 0, sizeof job);
    cr_assert_eq(galv_model_load(&job.model, "llama2-7b", &err), GALV_OK);
    cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-a100", 1, &err), GALV_OK);
    cr_assert_eq(job.model.groups[1].n_layers, 32);
    job.model.groups[1].n_layers = 31;
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.global_batch_size = 56;
    galv_job_fill_defaults(&job);
    cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK, "%s",
                 err.message);
    space.pp = (galv_choices){1, {8}};
    space.layer_wise = true;
    cr_assert_eq(galv_search(&found, model, &space, &options, arena, &err), GALV_OK,
                 "%s", err.message);
    cr_assert_gt(found.n_plans, 0);
    for (int32_t i = 0; i < found.n_plans; i++) {
        const galv_plan *plan = found.plans[i].plan;
        int32_t n_blocks = 0;
        cr_expect_eq((int64_t)galv_plan_n_micro_batches(plan) * plan->micro_batch_size *
                         galv_plan_strategy(plan, 0)->dp,
                     56);
        for (int32_t stage = 0; stage < plan->pp; stage++) {
            int32_t here = found.plans[i].result.stages[stage].n_layers;
            cr_expect(here >= 2 && here <= 5, "stage %d of plan %d holds %d blocks",
                      (int)stage, (int)i, (int)here);
            n_blocks += here;
        }
        cr_expect_eq(n_blocks, 31);
    }
    cr_expect_leq(found.lower_bound_s, found.plans[0].result.iteration_time_s);
    galv_costmodel_free(model);
    galv_arena_free(arena);
}

static bool same_plan(const galv_plan *a, const galv_plan *b)
{
    bool same = a->pp == b->pp && a->vpp == b->vpp &&
                a->micro_batch_size == b->micro_batch_size &&
                strcmp(a->schedule, b->schedule) == 0;
    for (int32_t v = 0; same && v <= a->pp * a->vpp; v++) {
        same = a->first_layer[v] == b->first_layer[v];
    }
    for (int32_t layer = 0; same && layer < a->n_layers; layer++) {
        same = galv_strategy_equal(galv_plan_strategy(a, layer),
                                   galv_plan_strategy(b, layer));
    }
    return same;
}

/* Whoever asks for fewer plans sees the first of those that are there, each once. */
Test(search_layerwise, a_shorter_list_is_the_beginning_of_a_longer_one)
{
    static const struct {
        const char *model, *cluster;
        int n_nodes;
        int64_t batch;
    } jobs[] = {{"llama3-8b", "dgx-h100", 1, 512},
                {"llama3-70b", "dgx-h100", 64, 512},
                {"mixtral-8x7b", "dgx-h100", 8, 256},
                {"llama2-7b", "dgx-a100", 2, 64}};
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        galv_space space = GALV_SPACE_INIT;
        galv_search_result few, many;
        galv_arena *arena = galv_arena_new();
        space.layer_wise = true;
        search_job(&few, jobs[i].model, jobs[i].cluster, jobs[i].n_nodes, jobs[i].batch,
                   &space, 1, 5, arena);
        search_job(&many, jobs[i].model, jobs[i].cluster, jobs[i].n_nodes,
                   jobs[i].batch, &space, 1, 12, arena);
        cr_assert_eq(few.n_plans, 5);
        cr_expect_eq(many.n_plans, 12);
        for (int32_t k = 0; k < few.n_plans; k++) {
            cr_expect_eq(few.plans[k].result.iteration_time_s,
                         many.plans[k].result.iteration_time_s, "job %zu, place %d", i,
                         (int)k);
        }
        for (int32_t k = 1; k < many.n_plans; k++) {
            for (int32_t m = 0; m < k; m++) {
                cr_expect_not(same_plan(many.plans[k].plan, many.plans[m].plan),
                              "job %zu: places %d and %d", i, (int)m, (int)k);
            }
        }
        galv_arena_free(arena);
    }
}

Test(search_layerwise, answer_does_not_depend_on_the_number_of_threads)
{
    galv_space space = GALV_SPACE_INIT;
    galv_search_result one, three;
    galv_arena *arena = galv_arena_new();
    space.layer_wise = true;
    space.micro_batch = (galv_choices){1, {1}};
    search_job(&one, "llama3-8b", "dgx-h100", 1, 64, &space, 1, 5, arena);
    search_job(&three, "llama3-8b", "dgx-h100", 1, 64, &space, 3, 5, arena);
    cr_assert_eq(one.n_searched, three.n_searched);
    cr_expect_eq(one.lower_bound_s, three.lower_bound_s);
    for (size_t i = 0; i < one.n_searched; i++) {
        cr_expect_eq(one.searched[i].fate, three.searched[i].fate, "row %zu", i);
        cr_expect_eq(one.searched[i].bound_s, three.searched[i].bound_s, "row %zu", i);
        cr_expect_eq(one.searched[i].peak_memory_bytes,
                     three.searched[i].peak_memory_bytes, "row %zu", i);
    }
    cr_expect_eq(one.plans[0].result.iteration_time_s,
                 three.plans[0].result.iteration_time_s);
    galv_arena_free(arena);
}
