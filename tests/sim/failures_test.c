/* Failures: published rates, the closed forms of Young and Daly, and runs held to
 * them. */
#include "sim/failures.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(sim_failures);

#define HOUR 3600.0
#define DAY  86400.0

static galv_run_result play(double work_s, const galv_failure_options *options)
{
    galv_err err = GALV_ERR_INIT;
    galv_run_result result = {0};
    galv_arena *arena = galv_arena_new();
    cr_assert_eq(galv_failure_simulate(&result, work_s, options, arena, &err), GALV_OK,
                 "%s", err.message);
    galv_arena_free(arena);
    return result;
}

/* One device that fails every `mtbf_s`. */
static galv_failure_options one_device(double mtbf_s)
{
    galv_failure_options options = GALV_FAILURE_OPTIONS_INIT;
    options.n_of[GALV_FAILURE_DEVICE] = 1;
    options.mtbf_s[GALV_FAILURE_DEVICE] = mtbf_s;
    return options;
}

/* Llama 3 405B (arXiv 2407.21783): 419 unexpected interruptions in 54 days on 16,384
 * H100, one in 3.09 hours; more than 90 % of the time was effective. Meta's research
 * clusters (arXiv 2410.21680): 6.50 failures in 1000 node-days, projected to 1.8 hours
 * between failures at 16,384 GPUs and 0.23 at 131,072, nodes of 8. */
Test(sim_failures, rates_are_the_published_ones)
{
    galv_failure_options options = GALV_FAILURE_OPTIONS_INIT;
    options.n_of[GALV_FAILURE_DEVICE] = 16384;
    cr_expect_float_eq(galv_failure_mtbf(&options) / HOUR, 3.09, 0.005);
    cr_expect_float_eq(54 * DAY / galv_failure_mtbf(&options), 419, 1e-9);
    options.checkpoint_s = 10;
    galv_run_result result = play(50 * DAY, &options);
    cr_expect(result.goodput_frac > 0.9 && result.goodput_frac < 0.96, "%g",
              result.goodput_frac);

    options.mtbf_s[GALV_FAILURE_DEVICE] = 0;
    options.mtbf_s[GALV_FAILURE_NODE] = 1000 * DAY / 6.5;
    options.n_of[GALV_FAILURE_NODE] = 2048;
    cr_expect_float_eq(galv_failure_mtbf(&options) / HOUR, 1.8, 0.005);
    options.n_of[GALV_FAILURE_NODE] = 16384;
    cr_expect_float_eq(galv_failure_mtbf(&options) / HOUR, 0.23, 0.005);
}

/* The least of the expected time, found by trying, and Young's interval where a
 * checkpoint is short beside the time between failures. */
Test(sim_failures, the_best_interval_is_the_best)
{
    static const double checkpoints_s[] = {1e-9, 1e-3, 0.02, 1, 60, 600, 7200, 36000};
    const double mtbf_s = 3 * HOUR;
    for (size_t i = 0; i < sizeof checkpoints_s / sizeof checkpoints_s[0]; i++) {
        double c = checkpoints_s[i];
        double best_s = galv_failure_best_interval(c, mtbf_s);
        cr_expect(best_s > 0 && best_s <= mtbf_s, "%g: %g", c, best_s);
        double young_s = sqrt(2 * c * mtbf_s);
        double off = c / mtbf_s; /* Young's is good to about sqrt(2 c / M) / 3 */
        cr_expect(fabs(best_s / young_s - 1) <= sqrt(2 * off) / 2, "%g: %g, Young %g",
                  c, best_s, young_s);
        double least = expm1((best_s + c) / mtbf_s) / best_s;
        for (double factor = 0.9; factor < 1.11; factor += 0.05) {
            double other_s = best_s * factor;
            cr_expect(expm1((other_s + c) / mtbf_s) / other_s >= least * (1 - 1e-12),
                      "%g: %g is better", c, other_s);
        }
        /* the root itself: exp(x + c) (1 - x) = 1 */
        double x = best_s / mtbf_s;
        cr_expect_float_eq(exp(x + off) * (1 - x), 1, 1e-6 * sqrt(off) + 1e-14,
                           "%g: %.17g", c, exp(x + off) * (1 - x));
    }
    cr_expect(isinf(galv_failure_best_interval(60, (double)INFINITY)));
    cr_expect_eq(galv_failure_best_interval(0, mtbf_s), 0);
}

Test(sim_failures, the_mean_is_dalys)
{
    static const struct {
        double work_s, mtbf_s, interval_s, checkpoint_s, restart_s;
    } cases[] = {
        {10 * DAY, 3 * HOUR, 0, 60, 300},   {2 * DAY, HOUR, 600, 120, 600},
        {5 * DAY, 12 * HOUR, HOUR, 30, 60}, {HOUR, HOUR, 2 * HOUR, 60, 60},
        {DAY, 0.5 * HOUR, 700, 100, 900},   {3.3 * DAY, 6 * HOUR, 10000, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_failure_options options = one_device(cases[i].mtbf_s);
        options.checkpoint_interval_s = cases[i].interval_s;
        options.checkpoint_s = cases[i].checkpoint_s;
        options.restart_s = cases[i].restart_s;
        options.n_runs = 4000;
        galv_run_result r = play(cases[i].work_s, &options);
        double expected_s = galv_failure_expected(
            cases[i].work_s, r.checkpoint_interval_s, cases[i].checkpoint_s,
            cases[i].restart_s, cases[i].mtbf_s);
        cr_expect_eq(r.closed_form_s, expected_s);
        cr_expect(fabs(r.mean_s - expected_s) < 4 * r.standard_error_s,
                  "case %zu: %g, expected %g, standard error %g", i, r.mean_s,
                  expected_s, r.standard_error_s);
        cr_expect(r.standard_error_s < 0.05 * r.mean_s);
        double sum_s =
            r.work_s + r.checkpoint_s + r.rework_s + r.restart_s + r.waiting_s;
        cr_expect_float_eq(sum_s, r.mean_s, 1e-9 * r.mean_s, "case %zu: %g of %g", i,
                           sum_s, r.mean_s);
        /* failures: those that end stretches, and those during restarts */
        double elapsed = r.mean_s / cases[i].mtbf_s;
        cr_expect_float_eq(r.n_failures[GALV_FAILURE_DEVICE] / elapsed, 1, 0.05,
                           "case %zu: %g of %g", i, r.n_failures[GALV_FAILURE_DEVICE],
                           elapsed);
        cr_expect(r.p50_s <= r.p95_s && r.p95_s <= r.p99_s && r.p50_s > r.work_s);
    }
}

/* Young's estimate of what is lost, C / tau + tau / 2M + R / M, where all of it is
 * small. */
Test(sim_failures, a_little_is_lost_as_young_says)
{
    galv_failure_options options = one_device(24 * HOUR);
    options.checkpoint_s = 20;
    options.restart_s = 200;
    options.n_runs = 4000;
    galv_run_result r = play(30 * DAY, &options);
    double interval_s = r.checkpoint_interval_s;
    double lost = 20 / interval_s + (interval_s / 2 + 200) / (24 * HOUR);
    cr_expect_float_eq(1 / r.goodput_frac - 1, lost, 0.03 * lost, "%g, Young %g",
                       1 / r.goodput_frac - 1, lost);
}

Test(sim_failures, without_failures_only_checkpoints_cost)
{
    galv_failure_options options = one_device(0);
    options.checkpoint_interval_s = HOUR;
    options.n_runs = 3;
    galv_run_result r = play(10.5 * HOUR, &options);
    cr_expect(isinf(r.mtbf_s));
    cr_expect_float_eq(r.mean_s, 10.5 * HOUR + 11 * 60, 1e-6);
    cr_expect_float_eq(r.p99_s, r.mean_s, 1e-6);
    options.checkpoint_interval_s = 0; /* the best: never but at the end */
    r = play(10 * HOUR, &options);
    cr_expect_float_eq(r.mean_s, 10 * HOUR + 60, 1e-6);
}

/* No spare: every failure waits out one repair, during which nothing strikes. With
 * plenty of spares nobody waits; with some, somewhere between. */
Test(sim_failures, spares_save_the_time_of_repairs)
{
    galv_failure_options options = one_device(0);
    options.mtbf_s[GALV_FAILURE_NODE] = 10 * HOUR;
    options.n_of[GALV_FAILURE_NODE] = 1;
    options.repair_s = 20 * HOUR;
    options.n_spares = 0;
    options.n_runs = 2000;
    galv_run_result none = play(5 * DAY, &options);
    double failures = none.n_failures[GALV_FAILURE_NODE];
    cr_expect_float_eq(none.waiting_s, failures * 20 * HOUR, 1e-6 * none.waiting_s);
    cr_expect_float_eq(none.mean_s - none.waiting_s, none.closed_form_s,
                       4 * none.standard_error_s);
    options.n_spares = 2;
    galv_run_result some = play(5 * DAY, &options);
    options.n_spares = 50;
    galv_run_result many = play(5 * DAY, &options);
    options.n_spares = -1;
    galv_run_result always = play(5 * DAY, &options);
    cr_expect(some.waiting_s > 0 && some.waiting_s < 0.8 * none.waiting_s);
    cr_expect_eq(many.waiting_s, 0);
    cr_expect_eq(many.mean_s, always.mean_s);
    /* a switch takes no node out */
    options.n_spares = 0;
    options.mtbf_s[GALV_FAILURE_SWITCH] = options.mtbf_s[GALV_FAILURE_NODE];
    options.n_of[GALV_FAILURE_SWITCH] = 1;
    options.mtbf_s[GALV_FAILURE_NODE] = 0;
    galv_run_result switches = play(5 * DAY, &options);
    cr_expect_eq(switches.waiting_s, 0);
    cr_expect(switches.n_failures[GALV_FAILURE_SWITCH] > 10);
}

Test(sim_failures, kinds_fail_in_proportion_to_their_rates)
{
    galv_failure_options options = one_device(0);
    options.n_of[GALV_FAILURE_DEVICE] = 800;
    options.mtbf_s[GALV_FAILURE_DEVICE] = 8000 * HOUR;
    options.n_of[GALV_FAILURE_NODE] = 100;
    options.mtbf_s[GALV_FAILURE_NODE] = 2000 * HOUR;
    options.n_of[GALV_FAILURE_SWITCH] = 10;
    options.mtbf_s[GALV_FAILURE_SWITCH] = 1000 * HOUR;
    cr_expect_float_eq(galv_failure_mtbf(&options) / HOUR, 1 / 0.16, 1e-9);
    galv_run_result r = play(100 * DAY, &options);
    double device = r.n_failures[GALV_FAILURE_DEVICE];
    cr_expect_float_eq(r.n_failures[GALV_FAILURE_NODE] / device, 0.5, 0.02);
    cr_expect_float_eq(r.n_failures[GALV_FAILURE_SWITCH] / device, 0.1, 0.01);
}

Test(sim_failures, the_same_seed_gives_the_same_bits)
{
    galv_failure_options options = one_device(3 * HOUR);
    options.n_runs = 50;
    galv_run_result first = play(10 * DAY, &options);
    galv_run_result second = play(10 * DAY, &options);
    cr_expect_arr_eq(&first, &second, sizeof first);
    options.seed = 2;
    galv_run_result other = play(10 * DAY, &options);
    cr_expect_neq(other.mean_s, first.mean_s);
}

Test(sim_failures, checkpoints_fall_between_steps)
{
    galv_failure_options options = one_device(3 * HOUR);
    options.step_s = 7;
    options.n_runs = 1;
    galv_run_result r = play(10 * DAY, &options);
    double steps = r.checkpoint_interval_s / 7;
    cr_expect_float_eq(steps, round(steps), 1e-9);
    options.checkpoint_interval_s = 1;
    r = play(10 * DAY, &options);
    cr_expect_eq(r.checkpoint_interval_s, 7);
}

Test(sim_failures, refuses_what_cannot_be_and_says_what_never_ends)
{
    const struct {
        double work_s, mtbf_s, interval_s, checkpoint_s, restart_s;
        int32_t n_runs;
        galv_status status;
    } cases[] = {
        {0, HOUR, 0, 60, 60, 1, GALV_USAGE},
        {(double)NAN, HOUR, 0, 60, 60, 1, GALV_USAGE},
        {(double)INFINITY, HOUR, 0, 60, 60, 1, GALV_USAGE},
        {DAY, -1, 0, 60, 60, 1, GALV_USAGE},
        {DAY, (double)NAN, 0, 60, 60, 1, GALV_USAGE},
        {DAY, HOUR, -1, 60, 60, 1, GALV_USAGE},
        {DAY, HOUR, 0, (double)NAN, 60, 1, GALV_USAGE},
        {DAY, HOUR, 0, 60, -1, 1, GALV_USAGE},
        {DAY, HOUR, 0, 60, 60, 0, GALV_USAGE},
        {DAY, 60, 0, 60, 600, 1, GALV_INFEASIBLE},
        {DAY, HOUR, DAY, 60, 600, 1, GALV_INFEASIBLE},
        {DAY, 1e-300, 0, 60, 600, 1, GALV_INFEASIBLE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_run_result result = {0};
        galv_arena *arena = galv_arena_new();
        galv_failure_options options = one_device(cases[i].mtbf_s);
        options.checkpoint_interval_s = cases[i].interval_s;
        options.checkpoint_s = cases[i].checkpoint_s;
        options.restart_s = cases[i].restart_s;
        options.n_runs = cases[i].n_runs;
        cr_expect_eq(
            galv_failure_simulate(&result, cases[i].work_s, &options, arena, &err),
            cases[i].status, "case %zu: %s", i, err.message);
        cr_expect_eq(result.n_runs, 0, "case %zu", i);
        galv_arena_free(arena);
    }
}
