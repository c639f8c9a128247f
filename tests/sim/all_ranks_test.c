/* Every rank against the folded simulation, against closed forms for stragglers, and
 * against arithmetic for jitter. */
#include "sim/all_ranks.h"
#include "sim/evaluate.h"
#include "tests/sim/drafts.h"
#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(sim_all_ranks);

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b));
}

/* Sums of parts that are each rounded: as close as the whole allows. */
static bool near_of(double a, double b, double whole)
{
    return fabs(a - b) <= 1e-11 * whole;
}

static void compare_ranks(const char *name, const galv_sim_result *folded,
                          const galv_all_ranks_result *all)
{
    cr_expect(near(all->sim.iteration_time_s, folded->iteration_time_s),
              "%s: %.17g unfolded, %.17g folded", name, all->sim.iteration_time_s,
              folded->iteration_time_s);
    for (int32_t i = 0; i < all->sim.n_ranks; i++) {
        const galv_rank_result *a = &all->sim.ranks[i];
        const galv_rank_result *b = &folded->ranks[i / all->ranks_per_stage];
        cr_expect(near_of(a->busy_s, b->busy_s, folded->iteration_time_s), "%s", name);
        cr_expect(near(a->peak_bytes, b->peak_bytes), "%s: rank %d peaks at %g, not %g",
                  name, (int)i, a->peak_bytes, b->peak_bytes);
        for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
            cr_expect(
                near_of(a->spent_s[part], b->spent_s[part], folded->iteration_time_s),
                "%s: rank %d spends %g on %s, not %g", name, (int)i, a->spent_s[part],
                galv_breakdown_names[part], b->spent_s[part]);
        }
        cr_expect_eq(all->waited_s[i], 0, "%s: rank %d waited %g s", name, (int)i,
                     all->waited_s[i]);
    }
}

typedef struct unfolded {
    galv_program *program;
    galv_cost *costs;
    galv_stage_memory *base;
    galv_meeting *meetings;
    int32_t per_stage;
    galv_sim_result folded;
} unfolded;

static unfolded unfold(const plan_stand *s)
{
    galv_err err = GALV_ERR_INIT;
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    unfolded u = {0};
    cr_assert_eq(galv_program_compile(&u.program, s->job, s->plan, s->arena, &err),
                 GALV_OK, "%s: %s", s->name, err.message);
    cr_assert_eq(
        galv_price_program(&u.costs, s->model, s->plan, u.program, s->arena, &err),
        GALV_OK);
    u.base = GALV_NEW_ARRAY(s->arena, galv_stage_memory, s->plan->pp);
    for (int32_t stage = 0; stage < s->plan->pp; stage++) {
        galv_costmodel_stage_memory(&u.base[stage], s->model, s->plan, stage);
    }
    cr_assert_eq(galv_meetings_of_plan(&u.meetings, &u.per_stage, s->plan, u.program,
                                       s->arena, &err),
                 GALV_OK);
    cr_assert_eq(
        galv_simulate(&u.folded, u.program, u.costs, u.base, &options, s->arena, &err),
        GALV_OK);
    return u;
}

static galv_all_ranks_result run(const unfolded *u, const galv_differences *differences,
                                 uint32_t draw, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_all_ranks_result all = {0};
    galv_all_ranks_options options = GALV_ALL_RANKS_OPTIONS_INIT;
    options.differences = differences;
    options.run = draw;
    cr_assert_eq(galv_all_ranks_simulate(&all, u->program, u->costs, u->base,
                                         u->meetings, u->per_stage, &options, arena,
                                         &err),
                 GALV_OK, "%s", err.message);
    return all;
}

Test(sim_all_ranks, equals_the_folded_simulation_on_plans)
{
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand s = plan_set_up(i);
        unfolded u = unfold(&s);
        galv_all_ranks_result all = run(&u, NULL, 0, s.arena);
        cr_expect_eq(all.sim.n_ranks, galv_plan_n_devices(s.plan), "%s", s.name);
        compare_ranks(s.name, &u.folded, &all);
        plan_tear_down(&s);
    }
}

/* Any meetings will do where ranks are alike. */
Test(sim_all_ranks, equals_the_folded_simulation_on_random_programs)
{
    static const galv_meeting kinds[] = {{1, 1}, {1, 2}, {2, 3}, {1, 6},
                                         {3, 2}, {6, 2}, {1, 12}};
    for (uint32_t seed = 1; seed <= 60; seed++) {
        galv_err err = GALV_ERR_INIT;
        draft *d = draft_by_chance(seed, seed % 2 == 0);
        unfolded u = {0};
        galv_sim_options options = GALV_SIM_OPTIONS_INIT;
        u.program = draft_program(d);
        u.costs = d->costs;
        u.per_stage = 12;
        u.meetings = GALV_NEW_ARRAY(d->arena, galv_meeting, u.program->n_classes);
        for (uint32_t i = 0; i < u.program->n_classes; i++) {
            bool alone = u.program->classes[i].stream == GALV_STREAM_COMPUTE;
            u.meetings[i] = kinds[alone ? 0 : (i * 31 + seed) % 7];
        }
        cr_assert_eq(galv_simulate(&u.folded, u.program, u.costs, NULL, &options,
                                   d->arena, &err),
                     GALV_OK, "%s", err.message);
        galv_all_ranks_result all = run(&u, NULL, 0, d->arena);
        char name[32];
        snprintf(name, sizeof name, "seed %u", seed);
        cr_expect(near(all.sim.iteration_time_s, u.folded.iteration_time_s),
                  "%s: %.17g, not %.17g", name, all.sim.iteration_time_s,
                  u.folded.iteration_time_s);
        for (int32_t i = 0; i < all.sim.n_ranks; i++) {
            cr_expect(near(all.sim.ranks[i].end_s,
                           u.folded.ranks[i / all.ranks_per_stage].end_s),
                      "%s: rank %d", name, (int)i);
            cr_expect_eq(all.waited_s[i], 0);
        }
        draft_drop(d);
    }
}

/* Half of the stages on A100: each stage has the prices of its own pool. */
Test(sim_all_ranks, mixed_pools_are_simulated_by_pool)
{
    plan_stand s = plan_set_up(2);
    galv_err err = GALV_ERR_INIT;
    galv_cluster other;
    cr_assert_eq(galv_cluster_load(&other, "dgx-a100", 4, &err), GALV_OK);
    s.job->cluster.pools[0].n_nodes = 4;
    s.job->cluster.pools[1] = other.pools[0];
    s.job->cluster.n_pools = 2;
    galv_costmodel_free(s.model);
    cr_assert_eq(galv_costmodel_new(&s.model, s.job, NULL, &err), GALV_OK);
    unfolded u = unfold(&s);
    galv_all_ranks_result all = run(&u, NULL, 0, s.arena);
    compare_ranks("mixed pools", &u.folded, &all);
    const galv_rank_result *ranks = u.folded.ranks;
    cr_expect_gt(ranks[2].busy_s, 1.5 * ranks[1].busy_s, "A100 %g, H100 %g",
                 ranks[2].busy_s, ranks[1].busy_s);
    plan_tear_down(&s);
}

/* Pure data parallelism without overlap: everybody waits for the slowest, so the
 * iteration grows by what its computation grows by. */
Test(sim_all_ranks, a_straggler_holds_up_its_data_parallel_group)
{
    enum { N = 8 };
    draft *d = draft_make(1);
    draft_add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 10);
    uint32_t reduce = draft_add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 2);
    galv_builder_add_wait(&d->builder, reduce, 0);
    unfolded u = {0};
    galv_meeting meetings[2] = {{1, 1}, {1, N}};
    u.program = draft_program(d);
    u.costs = d->costs;
    u.meetings = meetings;
    u.per_stage = N;
    galv_differences differences = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_differences_add_straggler(&differences, "3=1.5", &err), GALV_OK);
    galv_all_ranks_result all = run(&u, &differences, 0, d->arena);
    cr_expect(near(all.sim.iteration_time_s, 17));
    for (int32_t i = 0; i < N; i++) {
        cr_expect(near(all.sim.ranks[i].busy_s, i == 3 ? 15 : 10));
        cr_expect(near_of(all.waited_s[i], i == 3 ? 0 : 5, 17), "rank %d", (int)i);
        cr_expect(near(all.sim.ranks[i].spent_s[GALV_BREAKDOWN_BUBBLE] + 17,
                       all.waited_s[i] + 17));
        cr_expect(near(all.sim.ranks[i].spent_s[GALV_BREAKDOWN_DP], 2));
    }
    draft_drop(d);
}

/* A collective runs at the pace of its slowest rank: one of two computes beside it. */
Test(sim_all_ranks, a_collective_is_as_slow_as_its_slowest_rank)
{
    draft *d = draft_make(1);
    draft_add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 1);
    draft_add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t reduce = draft_add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 10);
    galv_builder_add_wait(&d->builder, reduce, 0);
    d->costs[2].comm_slowdown = 2;
    unfolded u = {0};
    galv_meeting meetings[3] = {{1, 1}, {1, 1}, {1, 2}};
    u.program = draft_program(d);
    u.costs = d->costs;
    u.meetings = meetings;
    u.per_stage = 2;
    galv_differences differences = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_differences_add_straggler(&differences, "1=4", &err), GALV_OK);
    /* rank 0 computes until 2, rank 1 until 8; both meet at 4; until 8 half the pace */
    galv_all_ranks_result all = run(&u, &differences, 0, d->arena);
    cr_expect(near(all.sim.iteration_time_s, 16), "%g", all.sim.iteration_time_s);
    draft_drop(d);
}

Test(sim_all_ranks, time_adds_up_and_jitter_depends_on_seed_and_run_alone)
{
    plan_stand s = plan_set_up(2);
    unfolded u = unfold(&s);
    galv_differences differences = {0};
    differences.seed = 7;
    differences.compute_sigma = 0.05;
    differences.comm_sigma = 0.1;
    galv_all_ranks_result a = run(&u, &differences, 1, s.arena);
    galv_all_ranks_result b = run(&u, &differences, 1, s.arena);
    galv_all_ranks_result c = run(&u, &differences, 2, s.arena);
    cr_expect_eq(a.sim.iteration_time_s, b.sim.iteration_time_s);
    cr_expect_neq(a.sim.iteration_time_s, c.sim.iteration_time_s);
    cr_expect_gt(a.sim.iteration_time_s, u.folded.iteration_time_s);
    for (int32_t i = 0; i < a.sim.n_ranks; i++) {
        double sum = 0;
        for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
            sum += a.sim.ranks[i].spent_s[part];
        }
        cr_expect(near(sum, a.sim.iteration_time_s));
        cr_expect_leq(a.waited_s[i],
                      a.sim.ranks[i].spent_s[GALV_BREAKDOWN_BUBBLE] * (1 + 1e-9));
        cr_expect_gt(a.waited_s[i], 0);
    }
    plan_tear_down(&s);
}

Test(sim_all_ranks, draws_have_the_moments_of_a_lognormal_with_mean_one)
{
    enum { N = 200000 };
    const double sigma = 0.3;
    uint64_t key = galv_random_key(1, 2);
    double sum = 0;
    double sum_squares = 0;
    double below_median = 0;
    for (uint64_t i = 0; i < N; i++) {
        double x = galv_random_lognormal(key, i % 1000, i / 1000, sigma);
        sum += x;
        sum_squares += x * x;
        below_median += x < exp(-0.5 * sigma * sigma) ? 1 : 0;
    }
    double variance = exp(sigma * sigma) - 1;
    cr_expect_float_eq(sum / N, 1, 4 * sqrt(variance / N));
    cr_expect_float_eq(sum_squares / N - sum / N * sum / N, variance, 0.02 * variance);
    cr_expect_float_eq(below_median / N, 0.5, 4 * 0.5 / sqrt(N));
}

/* The ranks in common of two draws of 100 among 1000. */
static int32_t in_common(uint64_t seed_a, uint32_t run_a, uint64_t seed_b,
                         uint32_t run_b)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_differences a = {.seed = seed_a};
    galv_differences b = {.seed = seed_b};
    double *x = NULL;
    double *y = NULL;
    int32_t n = 0;
    cr_assert_eq(galv_differences_add_straggler(&a, "10%=1.5", &err), GALV_OK);
    cr_assert_eq(galv_differences_add_straggler(&b, "10%=1.5", &err), GALV_OK);
    cr_assert_eq(galv_differences_factors(&x, &a, run_a, 1000, arena, &err), GALV_OK);
    cr_assert_eq(galv_differences_factors(&y, &b, run_b, 1000, arena, &err), GALV_OK);
    for (int32_t rank = 0; rank < 1000; rank++) {
        n += x[rank] > 1 && y[rank] > 1;
    }
    galv_arena_free(arena);
    return n;
}

/* The same seed and run draw the same ranks; others draw independently: 100 of 1000
 * twice have 10 in common, hypergeometric, with a deviation of 2.8. */
Test(sim_all_ranks, seeds_and_runs_draw_stragglers_of_their_own)
{
    cr_expect_eq(in_common(1, 0, 1, 0), 100);
    cr_expect_eq(in_common(7, 5, 7, 5), 100);
    for (uint32_t i = 1; i < 20; i++) {
        cr_expect_lt(in_common(1, 0, 1 + i, 0), 25, "seed %u", 1 + i);
        cr_expect_lt(in_common(1, 0, 1, i), 25, "run %u", i);
    }
}

Test(sim_all_ranks, shares_of_stragglers_have_their_size)
{
    galv_arena *arena = galv_arena_new();
    static const struct {
        const char *text;
        int32_t n;
    } cases[] = {{"0.01=1.1", 10}, {"1%=1.1", 10}, {"0.0001=1.1", 1},
                 {"0.0=1.1", 0},   {"17=1.1", 1},  {"1.0=1.1", 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_differences differences = {0};
        double *factors = NULL;
        int32_t n = 0;
        cr_assert_eq(galv_differences_add_straggler(&differences, cases[i].text, &err),
                     GALV_OK, "%s", err.message);
        cr_assert_eq(
            galv_differences_factors(&factors, &differences, 0, 1000, arena, &err),
            GALV_OK);
        for (int32_t rank = 0; rank < 1000; rank++) {
            n += factors[rank] > 1.05 ? 1 : 0;
        }
        cr_expect_eq(n, cases[i].n, "%s: %d", cases[i].text, (int)n);
    }
    galv_arena_free(arena);
}

Test(sim_all_ranks, refuses_what_is_no_straggler_or_slow_link)
{
    static const char *const stragglers[] = {
        "",      "=",    "3",      "3=",    "3=0", "3=-1", "3=nan", "-1=2",  "x=2",
        "1.5=2", "3=2x", "120%=2", "3=1e9", "%=2", "3==2", " 3=2",  "nan=2", "1e99=2"};
    static const char *const links[] = {"",       "3",      "3=0",     "3=2",
                                        "1%=0.5", "-1=0.5", "0.5=0.5", "3=nan"};
    galv_differences differences = {0};
    for (size_t i = 0; i < sizeof stragglers / sizeof stragglers[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_differences_add_straggler(&differences, stragglers[i], &err),
                     GALV_USAGE, "'%s'", stragglers[i]);
    }
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_differences_add_slow_link(&differences, links[i], &err),
                     GALV_USAGE, "'%s'", links[i]);
    }
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    double *factors = NULL;
    cr_assert_eq(galv_differences_add_straggler(&differences, "8=1.1", &err), GALV_OK);
    cr_expect_eq(galv_differences_factors(&factors, &differences, 0, 8, arena, &err),
                 GALV_USAGE);
    galv_arena_free(arena);
}
