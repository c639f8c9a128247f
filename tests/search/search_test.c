/* The search is held to brute force: every candidate simulated, one by one. */
#include "schedule/program.h"
#include "search/bound.h"
#include "search/podium.h"
#include "search/pricing.h"
#include "search/search.h"
#include "search/sweep.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(search);

typedef struct world {
    galv_job job;
    galv_costmodel *model;
    galv_arena *arena;
    galv_err err;
} world;

/* A job of `n_nodes` nodes and its cost model; the caller ends it with world_end. */
static void world_begin(world *w, const char *model, const char *cluster, int n_nodes,
                        int64_t batch, double memory_limit)
{
    memset(w, 0, sizeof *w);
    w->arena = galv_arena_new();
    cr_assert_eq(galv_model_load(&w->job.model, model, &w->err), GALV_OK, "%s",
                 w->err.message);
    cr_assert_eq(galv_cluster_load(&w->job.cluster, cluster, n_nodes, &w->err), GALV_OK,
                 "%s", w->err.message);
    w->job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    w->job.workload.global_batch_size = batch;
    w->job.workload.memory_limit_bytes = memory_limit;
    galv_job_fill_defaults(&w->job);
    cr_assert_eq(galv_costmodel_new(&w->model, &w->job, NULL, &w->err), GALV_OK, "%s",
                 w->err.message);
}

static void world_end(world *w)
{
    galv_costmodel_free(w->model);
    galv_arena_free(w->arena);
}

static galv_space small_space(void)
{
    galv_space space = GALV_SPACE_INIT;
    space.micro_batch.n_values = 2;
    space.micro_batch.values[0] = 1;
    space.micro_batch.values[1] = 2;
    return space;
}

/* A price from the table is what the cost model says of that very operation. */
static void expect_prices_exact(world *w, galv_plan *plan, galv_prices *prices,
                                galv_arena *arena)
{
    galv_program *program = NULL;
    cr_assert_eq(galv_program_compile(&program, &w->job, plan, arena, &w->err),
                 GALV_OK);
    for (uint32_t i = 0; i < program->n_classes; i++) {
        galv_cost direct;
        galv_costmodel_operation(&direct, w->model, plan, &program->classes[i]);
        const galv_cost *cost = galv_prices_get(prices, &program->classes[i]);
        cr_assert_eq(memcmp(cost, &direct, sizeof direct), 0,
                     "class %u (%s, layers %d + %d)", (unsigned)i,
                     galv_op_kind_names[program->classes[i].kind],
                     program->classes[i].first_layer, program->classes[i].n_layers);
    }
}

/* Simulates every candidate to the end; NAN where it does not fit. */
static double *simulate_all(world *w, const galv_space *space,
                            const galv_candidates *all, bool check_bound)
{
    double *times = GALV_NEW_ARRAY(w->arena, double, all->n_candidates);
    for (size_t i = 0; i < all->n_candidates; i++) {
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        galv_arena *arena = galv_arena_new();
        galv_plan *plan = NULL;
        galv_result result;
        double bound = -1;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_candidate_plan(&plan, &all->candidates[i], space, &w->job,
                                         arena, &err),
                     GALV_OK, "%s", err.message);
        cr_assert_eq(galv_evaluate(&result, w->model, plan, &options, arena, &err),
                     GALV_OK, "%s", err.message);
        times[i] = result.fits ? result.iteration_time_s : NAN;
        if (check_bound) {
            char name[128];
            galv_prices *prices = NULL;
            cr_assert_eq(galv_prices_new(&prices, w->model, plan, NULL, arena, &err),
                         GALV_OK);
            cr_assert_eq(galv_bound_time(&bound, w->model, plan, prices, arena, &err),
                         GALV_OK, "%s", err.message);
            expect_prices_exact(w, plan, prices, arena);
            galv_plan_print(name, sizeof name, plan);
            cr_expect(bound > 0 && bound <= result.iteration_time_s * (1 + 1e-9),
                      "%s %s: bound %.9g, simulated %.9g", plan->schedule, name, bound,
                      result.iteration_time_s);
        }
        galv_arena_free(arena);
    }
    return times;
}

Test(search, finds_what_brute_force_finds_and_bounds_never_exceed_the_simulation)
{
    static const struct {
        const char *model;
        int64_t batch;
        double limit;
    } cases[] = {{"gpt3-1.3b", 16, 0}, {"llama2-7b", 16, 0}, {"llama2-7b", 8, 30e9}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        world w;
        galv_candidates all = {0};
        galv_space space = small_space();
        galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
        galv_search_result found;
        double best = INFINITY;
        world_begin(&w, cases[c].model, "dgx-a100", 1, cases[c].batch, cases[c].limit);
        cr_assert_eq(galv_space_enumerate(&all, &space, &w.job, w.arena, &w.err),
                     GALV_OK, "%s", w.err.message);
        double *times = simulate_all(&w, &space, &all, true);
        for (size_t i = 0; i < all.n_candidates; i++) {
            best = fmin(best, times[i]); /* fmin skips NAN */
        }
        options.top_k = 3;
        options.n_jobs = 2;
        cr_assert_eq(galv_search(&found, w.model, &space, &options, w.arena, &w.err),
                     GALV_OK, "%s", w.err.message);
        cr_expect_eq(found.plans[0].result.iteration_time_s, best,
                     "%s: found %.9g, brute force %.9g", cases[c].model,
                     found.plans[0].result.iteration_time_s, best);
        cr_expect(found.proven_optimal, "%s", cases[c].model);
        cr_expect(found.n_simulated < all.n_candidates, "the bound cut nothing");
        cr_expect_eq(found.lower_bound_s, best);
        world_end(&w);
    }
}

/* With kinds, the list is that of one who sorts all plans and takes two of each kind.
 */
Test(search, lists_the_best_of_each_kind_that_brute_force_lists)
{
    world w;
    galv_candidates all = {0};
    galv_space space = small_space();
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_search_result found;
    world_begin(&w, "llama2-7b", "dgx-a100", 1, 16, 0);
    cr_assert_eq(galv_space_enumerate(&all, &space, &w.job, w.arena, &w.err), GALV_OK);
    double *times = simulate_all(&w, &space, &all, false);
    options.top_k = 8;
    options.per_kind = 2;
    cr_assert_eq(galv_search(&found, w.model, &space, &options, w.arena, &w.err),
                 GALV_OK, "%s", w.err.message);
    size_t chosen[8], n = 0;
    while (n < 8) {
        size_t best = all.n_candidates;
        int alike = 0;
        for (size_t i = 0; i < all.n_candidates; i++) {
            if (!isnan(times[i]) &&
                (best == all.n_candidates || times[i] < times[best])) {
                best = i;
            }
        }
        cr_assert_lt(best, all.n_candidates, "fewer than 8 plans fit");
        for (size_t k = 0; k < n; k++) {
            alike += galv_candidate_same_kind(&all.candidates[chosen[k]],
                                              &all.candidates[best]);
        }
        if (alike < 2) {
            cr_expect_eq(found.plans[n].result.iteration_time_s, times[best],
                         "place %zu", n);
            chosen[n++] = best;
        }
        times[best] = NAN;
    }
    cr_expect_eq(found.n_plans, 8);
    cr_expect(found.proven_optimal);
    world_end(&w);
}

/* Both orders of ranks, on nodes small enough that the order matters. */
Test(search, finds_the_best_order_of_ranks)
{
    static const int64_t batches[] = {8, 32};
    bool differ = false;
    for (size_t b = 0; b < 2; b++) {
        world w;
        galv_candidates all = {0};
        galv_space space = small_space();
        galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
        galv_search_result found;
        double best[GALV_N_RANK_ORDERS] = {INFINITY, INFINITY};
        space.zero = (galv_choices){1, {1}};
        space.recompute = (galv_choices){1, {GALV_RECOMPUTE_NONE}};
        space.rank_order =
            (galv_choices){2, {GALV_RANK_ORDER_DP_INSIDE, GALV_RANK_ORDER_PP_INSIDE}};
        world_begin(&w, "gpt3-1.3b", "dgx-a100", 2, batches[b], 0);
        cr_assert_eq(galv_space_enumerate(&all, &space, &w.job, w.arena, &w.err),
                     GALV_OK, "%s", w.err.message);
        double *times = simulate_all(&w, &space, &all, true);
        for (size_t i = 0; i < all.n_candidates; i++) {
            galv_rank_order order = all.candidates[i].rank_order;
            best[order] = fmin(best[order], times[i]);
        }
        cr_assert_eq(galv_search(&found, w.model, &space, &options, w.arena, &w.err),
                     GALV_OK, "%s", w.err.message);
        cr_expect_eq(found.plans[0].result.iteration_time_s, fmin(best[0], best[1]));
        cr_expect(found.proven_optimal);
        differ |= best[0] < best[1] || best[1] < best[0];
        world_end(&w);
    }
    cr_expect(differ);
}

/* Pricing looks at few micro-batches: it must come to the same verdict as the whole
 * estimate, and to the same bytes of what fits, whatever the schedule. */
Test(search, pricing_agrees_with_the_estimate_of_the_whole_iteration)
{
    static const double limits[] = {20e9, 30e9, 50e9, 80e9};
    static const int64_t batches[] = {96, 328, 2048};
    size_t n_fit = 0, n_not = 0;
    for (size_t k = 0; k < 12; k++) {
        world w;
        galv_candidates all = {0};
        galv_space space = GALV_SPACE_INIT;
        size_t n_schedules = 0;
        const galv_schedule *schedules = galv_schedules(&n_schedules);
        for (size_t i = 0; i < n_schedules; i++) {
            if (!schedules[i].pairs) {
                space.schedules[space.n_schedules++] = schedules[i].name;
            }
        }
        space.tp = (galv_choices){1, {2}};
        space.sp = (galv_choices){1, {GALV_SP_MEGATRON}};
        space.zero = (galv_choices){1, {1}};
        space.pp = (galv_choices){3, {1, 2, 4}};
        space.micro_batch = (galv_choices){1, {1}};
        world_begin(&w, "llama2-7b", "dgx-a100", 1, batches[k / 4], limits[k % 4]);
        cr_assert_eq(galv_space_enumerate(&all, &space, &w.job, w.arena, &w.err),
                     GALV_OK, "%s", w.err.message);
        for (size_t i = 0; i < all.n_candidates; i++) {
            galv_plan *plan = NULL;
            galv_plan_price price;
            galv_arena *arena = galv_arena_new();
            double peaks[8], above[8], most = 0;
            char name[128];
            cr_assert_eq(galv_candidate_plan(&plan, &all.candidates[i], &space, &w.job,
                                             arena, &w.err),
                         GALV_OK, "%s", w.err.message);
            cr_assert_eq(galv_estimate_memory_between(peaks, above, w.model, plan, NULL,
                                                      arena, &w.err),
                         GALV_OK, "%s", w.err.message);
            galv_prices *prices = NULL;
            cr_assert_eq(galv_prices_new(&prices, w.model, plan, NULL, arena, &w.err),
                         GALV_OK);
            cr_assert_eq(galv_price_plan(&price, w.model, plan, prices, arena, &w.err),
                         GALV_OK, "%s", w.err.message);
            galv_memory_need need = price.held;
            if (galv_memory_need_fits(&need)) {
                cr_assert_eq(galv_price_memory(&need, w.model, plan, prices, false,
                                               arena, &w.err),
                             GALV_OK, "%s", w.err.message);
            }
            bool may_fit = galv_memory_need_fits(&need);
            for (int32_t stage = 0; stage < plan->pp; stage++) {
                most = fmax(most, peaks[stage]);
            }
            most *= 1 - GALV_ESTIMATE_SLACK_FRAC;
            galv_plan_print(name, sizeof name, plan);
            cr_expect_eq(may_fit, most <= limits[k % 4], "%s %s: %.9g of %.9g",
                         plan->schedule, name, most, limits[k % 4]);
            cr_expect(may_fit ? need.bytes == most : need.bytes <= most,
                      "%s %s: %.17g, estimate %.17g", plan->schedule, name, need.bytes,
                      most);
            n_fit += may_fit;
            n_not += !may_fit;
            galv_arena_free(arena);
        }
        world_end(&w);
    }
    cr_expect(n_fit > 100 && n_not > 100, "%zu fit, %zu do not", n_fit, n_not);
}

Test(search, answer_does_not_depend_on_the_number_of_threads)
{
    world w;
    galv_space space = GALV_SPACE_INIT;
    galv_search_result one;
    galv_search_result four;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    world_begin(&w, "llama3-8b", "dgx-h100", 2, 64, 0);
    options.n_jobs = 1;
    cr_assert_eq(galv_search(&one, w.model, &space, &options, w.arena, &w.err),
                 GALV_OK);
    options.n_jobs = 4;
    cr_assert_eq(galv_search(&four, w.model, &space, &options, w.arena, &w.err),
                 GALV_OK);
    cr_assert_eq(one.n_plans, four.n_plans);
    cr_expect_eq(one.n_simulated, four.n_simulated);
    for (int i = 0; i < one.n_plans; i++) {
        cr_expect_eq(one.plans[i].result.iteration_time_s,
                     four.plans[i].result.iteration_time_s, "plan %d", i);
    }
    for (size_t i = 0; i < one.n_searched; i++) {
        cr_expect_eq(one.searched[i].fate, four.searched[i].fate, "row %zu", i);
        cr_expect_eq(one.searched[i].bound_s, four.searched[i].bound_s, "row %zu", i);
    }
    world_end(&w);
}

Test(search, plans_are_ranked_and_fit)
{
    world w;
    galv_space space = GALV_SPACE_INIT;
    galv_search_result found;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    world_begin(&w, "llama3-8b", "dgx-h100", 1, 64, 0);
    cr_assert_eq(galv_search(&found, w.model, &space, &options, w.arena, &w.err),
                 GALV_OK, "%s", w.err.message);
    cr_assert_eq(found.n_plans, 5);
    for (int i = 0; i < found.n_plans; i++) {
        cr_expect(found.plans[i].result.fits);
        cr_expect_eq(galv_plan_n_devices(found.plans[i].plan), 8);
        if (i > 0) {
            cr_expect_leq(found.plans[i - 1].result.iteration_time_s,
                          found.plans[i].result.iteration_time_s);
        }
    }
    world_end(&w);
}

Test(search, says_what_the_least_memory_is_when_nothing_fits)
{
    world w;
    galv_space space = GALV_SPACE_INIT;
    galv_search_result found;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    world_begin(&w, "gpt3-175b", "dgx-a100", 1, 64, 0);
    cr_assert_eq(galv_search(&found, w.model, &space, &options, w.arena, &w.err),
                 GALV_INFEASIBLE);
    cr_expect(strstr(w.err.message, "GiB") != NULL, "%s", w.err.message);
    cr_expect_eq(found.n_plans, 0);
    cr_expect_gt(found.least_memory_bytes, galv_costmodel_memory_limit(w.model));
    world_end(&w);
}

Test(search, degrees_asked_for_are_the_only_ones_tried)
{
    world w;
    galv_space space = GALV_SPACE_INIT;
    galv_candidates all = {0};
    world_begin(&w, "llama3-8b", "dgx-h100", 2, 64, 0);
    space.tp = (galv_choices){1, {4}};
    space.pp = (galv_choices){2, {1, 2}};
    space.zero = (galv_choices){1, {1}};
    cr_assert_eq(galv_space_enumerate(&all, &space, &w.job, w.arena, &w.err), GALV_OK);
    cr_assert_gt(all.n_candidates, 0);
    for (size_t i = 0; i < all.n_candidates; i++) {
        const galv_candidate *c = &all.candidates[i];
        cr_expect_eq(c->strategy.tp, 4);
        cr_expect(c->pp == 1 || c->pp == 2);
        cr_expect_eq(c->strategy.zero, 1);
        cr_expect_eq(c->strategy.dp * c->strategy.tp * c->strategy.cp * c->pp, 16);
    }
    world_end(&w);
}

Test(search, degree_that_cannot_be_used_is_refused_with_the_reason)
{
    world w;
    galv_space space = GALV_SPACE_INIT;
    galv_candidates all = {0};
    world_begin(&w, "llama3-8b", "dgx-h100", 3, 24, 0);
    space.tp = (galv_choices){1, {6}};
    cr_expect_eq(galv_space_enumerate(&all, &space, &w.job, w.arena, &w.err),
                 GALV_USAGE);
    cr_expect(strlen(w.err.message) > 20, "%s", w.err.message);
    world_end(&w);
}

Test(search, every_dimension_is_tried_when_open)
{
    world w;
    galv_space space = GALV_SPACE_INIT;
    galv_candidates all = {0};
    bool tp = false, pp = false, ep = false, zero[4] = {false}, recompute = false,
         interleaved = false, ulysses = false;
    world_begin(&w, "mixtral-8x7b", "dgx-h100", 2, 64, 0);
    cr_assert_eq(galv_space_enumerate(&all, &space, &w.job, w.arena, &w.err), GALV_OK,
                 "%s", w.err.message);
    for (size_t i = 0; i < all.n_candidates; i++) {
        const galv_candidate *c = &all.candidates[i];
        tp |= c->strategy.tp == 8;
        pp |= c->pp == 4;
        ep |= c->strategy.ep == 8;
        zero[c->strategy.zero] = true;
        recompute |= c->strategy.recompute == GALV_RECOMPUTE_FULL;
        interleaved |= c->vpp > 1;
        ulysses |= c->strategy.sp == GALV_SP_ULYSSES;
    }
    cr_expect(tp && pp && ep && recompute && interleaved && ulysses);
    cr_expect(zero[0] && zero[1] && zero[2] && zero[3]);
    world_end(&w);
}

Test(search, sweep_compares_clusters_with_the_smallest_and_marks_the_front)
{
    world w;
    galv_cluster clusters[3];
    galv_sweep_point *points = NULL;
    size_t n = 0;
    galv_space space = GALV_SPACE_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    world_begin(&w, "llama3-8b", "dgx-h100", 1, 128, 0);
    w.job.workload.tokens_to_train = 1e12;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(galv_cluster_from_device(
                         &clusters[i], i == 2 ? "a100-sxm-80gb" : "h100-sxm-80gb",
                         i == 1 ? 2 : 1, &w.err),
                     GALV_OK, "%s", w.err.message);
    }
    galv_job jobs[3] = {w.job, w.job, w.job};
    for (int i = 0; i < 3; i++) {
        jobs[i].cluster = clusters[i];
    }
    cr_assert_eq(
        galv_sweep(&points, &n, jobs, 3, NULL, &space, &options, w.arena, &w.err),
        GALV_OK, "%s", w.err.message);
    cr_assert_eq(n, 3);
    cr_expect_eq(points[0].scaling_frac, 1.0);
    cr_expect(points[1].scaling_frac > 0.7 && points[1].scaling_frac < 1.02, "%g",
              points[1].scaling_frac);
    cr_expect_eq(points[2].scaling_frac, 1.0);
    cr_expect_lt(points[1].result.iteration_time_s, points[0].result.iteration_time_s);
    cr_expect_lt(points[0].result.iteration_time_s, points[2].result.iteration_time_s);
    cr_expect_float_eq(points[0].days * 86400.0 * points[0].result.tokens_per_s, 1e12,
                       1e4);
    cr_expect_float_eq(points[0].usd, points[0].usd_per_hour * points[0].days * 24, 1);
    cr_expect(points[1].on_front, "the fastest is always on the front");
    world_end(&w);
}

static void cancel_at_once(void *context, const galv_search_progress *progress)
{
    (void)progress;
    atomic_store((atomic_bool *)context, true);
}

Test(search, interrupted_while_pricing_it_still_has_a_best_so_far)
{
    world w;
    galv_space space = GALV_SPACE_INIT;
    galv_search_result found;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_candidates all = {0};
    atomic_bool cancel = false;
    world_begin(&w, "llama3-8b", "dgx-h100", 2, 64, 0);
    cr_assert_eq(galv_space_enumerate(&all, &space, &w.job, w.arena, &w.err), GALV_OK);
    options.cancel = &cancel;
    options.progress = cancel_at_once;
    options.progress_context = &cancel;
    cr_assert_eq(galv_search(&found, w.model, &space, &options, w.arena, &w.err),
                 GALV_OK, "%s", w.err.message);
    cr_expect(found.interrupted);
    cr_expect_not(found.proven_optimal);
    cr_expect_geq(found.n_plans, 1);
    cr_expect(found.plans[0].result.fits);
    cr_expect_lt(found.n_simulated, 20, "it went on");
    cr_expect_eq(found.n_candidates, all.n_candidates, "each has a bound");
    cr_expect(found.lower_bound_s > 0 &&
              found.lower_bound_s <= found.plans[0].result.iteration_time_s);
    world_end(&w);
}
