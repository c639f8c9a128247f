/* The estimator against what is known in closed form, and the spreads against a table
 * that can be summed by hand. */
#include "accuracy/each_run.h"
#include "accuracy/shrinkage.h"
#include "accuracy/spread.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(accuracy_shrinkage);

/* n runs of y under one factor of jacobian 1 and spread tau, each its own by sigma. */
static double fit_one(const double *y, size_t n, double tau, double sigma, double *sd)
{
    double ones[8];
    double scales[8];
    double x = 0;
    galv_err err = GALV_ERR_INIT;
    for (size_t i = 0; i < n; i++) {
        ones[i] = 1;
        scales[i] = sigma;
    }
    galv_shrinkage problem = {.n = n,
                              .n_factors = 1,
                              .y = y,
                              .jacobian = ones,
                              .scale = scales,
                              .factor_sd = &tau};
    cr_assert_eq(galv_shrinkage_solve(&x, sd, &problem, &err), GALV_OK, "%s",
                 err.message);
    return x;
}

Test(accuracy_shrinkage, one_run_moves_a_factor_by_its_share_of_the_variance)
{
    const double y[] = {0.03};
    double sd = 0;
    double x = fit_one(y, 1, 0.03, 0.05, &sd);
    double share = 0.03 * 0.03 / (0.03 * 0.03 + 0.05 * 0.05);
    cr_expect_float_eq(x, 0.03 * share, 1e-9, "%g", x);
    cr_expect_float_eq(sd, 0.03 * sqrt(1 - share), 1e-9, "%g", sd);
}

/* However far a single run is off: what it moves does not jump when stacks come to
 * differ by more than runs do, and is never more than its share. */
Test(accuracy_shrinkage, a_single_run_far_off_moves_a_factor_no_further)
{
    const double y[] = {0.33};
    double last = 0;
    for (double tau = 0.036; tau < 0.0405; tau += 0.0005) {
        double x = fit_one(y, 1, tau, 0.0375, NULL);
        double share = tau * tau / (tau * tau + 0.0375 * 0.0375);
        cr_expect_lt(x, 0.33 * share, "%g: %g", tau, x);
        cr_expect(last <= 0 || fabs(x / last - 1) < 0.1, "%g: %g after %g", tau, x,
                  last);
        last = x;
    }
}

Test(accuracy_shrinkage, runs_that_agree_move_it_further_and_open_less)
{
    const double y[] = {0.03, 0.03, 0.03, 0.03, 0.03, 0.03, 0.03, 0.03};
    double last = 0;
    double last_sd = 1;
    for (size_t n = 1; n <= 8; n *= 2) {
        double sd = 0;
        double x = fit_one(y, n, 0.03, 0.05, &sd);
        double share = (double)n * 9 / ((double)n * 9 + 25);
        cr_expect_gt(x, last);
        cr_expect_geq(x, 0.03 * share - 1e-9, "%zu runs: %g", n, x);
        cr_expect_lt(x, 0.03);
        cr_expect_lt(sd, last_sd);
        last = x;
        last_sd = sd;
    }
}

Test(accuracy_shrinkage, a_run_far_from_all_others_hardly_pulls)
{
    const double y[] = {0.02, 0.03, 0.025, 0.02, 0.03, 0.5};
    double with = fit_one(y, 6, 1, 0.03, NULL);
    double without = fit_one(y, 5, 1, 0.03, NULL);
    cr_expect_lt(fabs(with - without), 0.01, "%g, %g", with, without);
}

Test(accuracy_shrinkage, what_several_runs_agree_on_is_followed_however_far)
{
    const double y[] = {0.3, 0.31, 0.29, 0.3};
    double x = fit_one(y, 4, 0.03, 0.03, NULL);
    cr_expect_gt(x, 0.25, "%g", x);
}

/* Two factors with one and the same effect and spread share what is to be explained;
 * one that may go to 0.001 only leaves the rest to the other, as if that were alone
 * with it.
 */
Test(accuracy_shrinkage, a_factor_at_its_most_leaves_the_rest_to_the_others)
{
    static const double y[] = {0.03};
    static const double jacobian[] = {1, 1};
    static const double scale[] = {0.05};
    static const double factor_sd[] = {0.05, 0.05};
    static const double most[] = {0.001, HUGE_VAL};
    double x[2];
    galv_err err = GALV_ERR_INIT;
    galv_shrinkage problem = {.n = 1,
                              .n_factors = 2,
                              .y = y,
                              .jacobian = jacobian,
                              .scale = scale,
                              .factor_sd = factor_sd};
    cr_assert_eq(galv_shrinkage_solve(x, NULL, &problem, &err), GALV_OK);
    cr_expect_float_eq(x[0], 0.01, 1e-9, "%g", x[0]);
    cr_expect_float_eq(x[1], 0.01, 1e-9, "%g", x[1]);
    problem.factor_most = most;
    cr_assert_eq(galv_shrinkage_solve(x, NULL, &problem, &err), GALV_OK);
    cr_expect_float_eq(x[0], 0.001, 1e-12, "%g", x[0]);
    cr_expect_float_eq(x[1], 0.029 / 2, 1e-9, "%g", x[1]);
}

/* Runs that contradict one another: whole steps go to and fro for ever between two
 * solutions of the first three, shorter ones end; those of the second end where one now
 * and then goes further. Of the last three none do, and what was wanted is untouched:
 * half a fit is not told as one. */
Test(accuracy_shrinkage, a_fit_that_does_not_settle_is_no_fit)
{
    static const double y[3][3] = {
        {-0.7, -2.8, -1.7}, {2.2, -1.1, -1.6}, {-0.4, -2, -1.4}};
    static const double jacobian[3][3] = {
        {-0.5, -1.6, 0.2}, {-1.6, 0.5, -0.5}, {0.5, 1.4, -0.3}};
    static const double scale[] = {0.02, 0.02, 0.02};
    static const double factor_sd = 0.1;
    for (int i = 0; i < 3; i++) {
        double x = 77;
        galv_err err = GALV_ERR_INIT;
        galv_shrinkage problem = {.n = 3,
                                  .n_factors = 1,
                                  .y = y[i],
                                  .jacobian = jacobian[i],
                                  .scale = scale,
                                  .factor_sd = &factor_sd};
        galv_status status = galv_shrinkage_solve(&x, NULL, &problem, &err);
        cr_expect_eq(status, i < 2 ? GALV_OK : GALV_UNAVAILABLE, "%d: %s", i,
                     err.message);
        cr_expect(i < 2 ? fabs(x) < 10 : x > 76, "%g", x);
    }
}

/* Two sources whose runs agree within each and not with one another: the factor takes
 * what they share, the rest is theirs. */
Test(accuracy_shrinkage, groups_keep_what_is_their_own)
{
    const double y[] = {0.01, 0.01, 0.01, 0.05, 0.05, 0.05};
    const double ones[] = {1, 1, 1, 1, 1, 1};
    const double scales[] = {0.01, 0.01, 0.01, 0.01, 0.01, 0.01};
    const size_t group[] = {0, 0, 0, 1, 1, 1};
    const double tau = 1;
    double x = 0;
    double sd = 0;
    galv_err err = GALV_ERR_INIT;
    galv_shrinkage problem = {.n = 6,
                              .n_factors = 1,
                              .n_groups = 2,
                              .y = y,
                              .jacobian = ones,
                              .scale = scales,
                              .group = group,
                              .factor_sd = &tau,
                              .group_sd = 0.03};
    cr_assert_eq(galv_shrinkage_solve(&x, &sd, &problem, &err), GALV_OK);
    cr_expect_float_eq(x, 0.03, 1e-3, "%g", x);
    cr_expect_gt(sd, 0.015, "two groups say little: %g", sd);
}

Test(accuracy_shrinkage, spreads_are_those_of_the_table)
{
    static const char table_text[] =
        "case_id,source,family,software,generation,precision,measured_over_predicted\n"
        "a1,a,gpt,megatron,Ampere,16-bit,1.0\n"
        "a2,a,gpt,megatron,Ampere,16-bit,1.1\n"
        "a3,a,gpt,megatron,Ampere,16-bit,1.2\n"
        "b1,b,gpt,megatron,Hopper,16-bit,0.9\n"
        "c1,c,gpt,megatron,Hopper,16-bit,3.0\n";
    static const char *const without[] = {"c"};
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_csv table;
    galv_residuals residuals;
    galv_residual_spread spread;
    cr_assert_eq(galv_csv_read_text(&table, "t.csv", table_text, strlen(table_text),
                                    arena, &err),
                 GALV_OK);
    cr_assert_eq(galv_residuals_read_table(&residuals, &table, arena, &err), GALV_OK,
                 "%s", err.message);
    cr_assert_eq(galv_residual_spread_find(&spread, &residuals, without, 1, &err),
                 GALV_OK);
    double size = sqrt(acos(-1) / 2);
    cr_expect_eq(spread.n_sources, 2);
    cr_expect_float_eq(spread.between, size * (log(1.1) - log(0.9)) / 2, 1e-12);
    cr_expect_float_eq(spread.within, size * log(1.2) / 3, 1e-12);
    galv_run_kind kind = residuals.rows[0].kind;
    cr_expect(galv_residual_spread_knows(&residuals, &kind));
    kind = residuals.rows[3].kind;
    cr_expect(!galv_residual_spread_knows(&residuals, &kind));
    galv_arena_free(arena);
}
