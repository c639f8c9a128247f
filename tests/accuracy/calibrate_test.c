/* Calibration: factors planted in synthetic measurements are found again, one run is
 * enough to come near others of its stack, and broken input is told. */
#include "accuracy/calibrate.h"
#include "accuracy/validation.h"
#include "costmodel/costmodel.h"
#include "sim/evaluate.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

GALV_TEST_SUITE(sim_calibrate);

#define N_CASES 6

static galv_case *read_cases(galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = NULL;
    size_t n = 0;
    cr_assert_eq(galv_cases_read(&cases, &n,
                                 GALV_SOURCE_DIR "/tests/accuracy/data/stack.csv",
                                 arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(n, N_CASES);
    return cases;
}

static void plant(galv_profile *profile, const char *name, double value)
{
    galv_err err = GALV_ERR_INIT;
    galv_profile_row row = {
        .kind = GALV_PROFILE_FACTOR, .precision = -1, .value = value};
    snprintf(row.op, sizeof row.op, "%s", name);
    cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK);
}

/* Makes the cases' measurements what the model says under the profile. */
static void measure(galv_case *cases, size_t n, const galv_profile *profile,
                    galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_validation v;
    cr_assert_eq(galv_validate(&v, cases, n, profile, 1, arena, &err), GALV_OK);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(v.cases[i].status, GALV_OK, "%s: %s", cases[i].case_id,
                     v.cases[i].why_not);
        cases[i].iteration_time_s = v.cases[i].predicted_iteration_time_s;
    }
}

static galv_calibration calibrate_for(galv_calibration_for purpose,
                                      const galv_case *cases, size_t n,
                                      galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_measured_run *runs = NULL;
    galv_calibration c;
    size_t n_runs = 0;
    cr_assert_eq(galv_runs_from_cases(&runs, &n_runs, cases, n, arena, &err), GALV_OK);
    cr_assert_eq(n_runs, n);
    cr_assert_eq(galv_calibrate(&c, runs, n_runs, NULL, purpose, 1, arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(c.n_stacks, 1);
    return c;
}

static galv_calibration calibrate(const galv_case *cases, size_t n, galv_arena *arena)
{
    return calibrate_for(GALV_FOR_STACK, cases, n, arena);
}

/* What is read from the table of factors is what the cost model takes: given it again
 * as a profile, it predicts the same to the last bit. */
Test(sim_calibrate, factors_are_those_of_the_cost_model)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = read_cases(arena);
    measure(cases, N_CASES, NULL, arena);
    galv_measured_run *runs = NULL;
    size_t n = 0;
    galv_profile *profile = galv_profile_new();
    galv_knob_zeros zeros;
    galv_validation v;
    cr_assert_eq(galv_runs_from_cases(&runs, &n, cases, N_CASES, arena, &err), GALV_OK);
    const galv_device *device = &runs[0].job->cluster.pools[0].device;
    galv_knob_zeros_init(&zeros, device, &runs[0].job->workload, NULL);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
            if (galv_knobs[k].factors[i] != NULL) {
                cr_expect(zeros.value[k][i] > 0, "%s", galv_knobs[k].factors[i]);
                plant(profile, galv_knobs[k].factors[i], zeros.value[k][i]);
            }
        }
    }
    cr_assert_eq(galv_validate(&v, cases, N_CASES, profile, 1, arena, &err), GALV_OK);
    for (size_t i = 0; i < N_CASES; i++) {
        cr_expect(v.cases[i].predicted_iteration_time_s == cases[i].iteration_time_s,
                  "%s: %.17g, not %.17g", cases[i].case_id,
                  v.cases[i].predicted_iteration_time_s, cases[i].iteration_time_s);
    }
    galv_profile_free(profile);
    galv_arena_free(arena);
}

Test(sim_calibrate, every_knob_moves_a_prediction)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = read_cases(arena);
    galv_validation before;
    galv_measured_run *runs = NULL;
    size_t n = 0;
    cases[0].iteration_time_s = 1;
    cr_assert_eq(galv_runs_from_cases(&runs, &n, cases, 1, arena, &err), GALV_OK);
    cr_assert_eq(galv_validate(&before, cases, N_CASES, NULL, 1, arena, &err), GALV_OK);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        if (k == GALV_KNOB_IMBALANCE) {
            continue; /* no experts here */
        }
        galv_profile *profile = galv_profile_new();
        galv_knob_zeros zeros;
        galv_validation after;
        double x[GALV_N_KNOBS] = {0};
        double most = 0;
        x[k] = k == GALV_KNOB_NETWORK ? -0.3 : 0.3;
        galv_knob_zeros_init(&zeros, &runs[0].job->cluster.pools[0].device,
                             &runs[0].job->workload, NULL);
        cr_assert_eq(galv_knobs_to_profile(profile, x, &zeros,
                                           &runs[0].job->cluster.pools[0].device,
                                           GALV_BF16, "made", &err),
                     GALV_OK);
        cr_assert_eq(galv_validate(&after, cases, N_CASES, profile, 1, arena, &err),
                     GALV_OK);
        for (size_t i = 0; i < N_CASES; i++) {
            most = fmax(most, after.cases[i].predicted_iteration_time_s /
                                      before.cases[i].predicted_iteration_time_s -
                                  1);
        }
        cr_expect_gt(most, 1e-5, "knob %s", galv_knobs[k].factors[0]);
        galv_profile_free(profile);
    }
    galv_arena_free(arena);
}

Test(sim_calibrate, what_is_right_already_is_left_alone)
{
    galv_arena *arena = galv_arena_new();
    galv_case *cases = read_cases(arena);
    measure(cases, N_CASES, NULL, arena);
    galv_calibration c = calibrate(cases, N_CASES, arena);
    cr_expect_lt(c.stacks[0].mape_before_frac, 1e-9);
    cr_expect_lt(c.stacks[0].mape_after_frac, 1e-9);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        cr_expect_eq(c.stacks[0].knobs[k].x, 0, "knob %d", k);
    }
    galv_arena_free(arena);
}

Test(sim_calibrate, a_planted_factor_is_found_again)
{
    static const struct {
        const char *name;
        galv_knob knob;
        double times;
        double within; /* of the factor, relative */
    } planted[] = {{"gemm", GALV_KNOB_GEMM, 1.15, 0.03},
                   {"gemm", GALV_KNOB_GEMM, 0.9, 0.03},
                   {"attention", GALV_KNOB_ATTENTION, 1.4, 0.10}};
    for (size_t p = 0; p < sizeof planted / sizeof planted[0]; p++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_case *cases = read_cases(arena);
        galv_measured_run *runs = NULL;
        size_t n = 0;
        cr_assert_eq(galv_runs_from_cases(&runs, &n, cases, 1, arena, &err), GALV_OK);
        double builtin = galv_costmodel_factor(planted[p].name,
                                               &runs[0].job->cluster.pools[0].device,
                                               &runs[0].job->workload, NULL);
        double truth = planted[p].times * builtin;
        galv_profile *profile = galv_profile_new();
        plant(profile, planted[p].name, truth);
        measure(cases, N_CASES, profile, arena);
        galv_calibration c = calibrate_for(GALV_FOR_PLAN, cases, N_CASES, arena);
        const galv_fitted_knob *knob = &c.stacks[0].knobs[planted[p].knob];
        cr_expect_float_eq(knob->value[0] / truth, 1, planted[p].within,
                           "%s: %g, not %g", planted[p].name, knob->value[0], truth);
        cr_expect(knob->informed);
        cr_expect(knob->low[0] <= truth && truth <= knob->high[0], "%s in %g..%g",
                  planted[p].name, knob->low[0], knob->high[0]);
        cr_expect_lt(c.stacks[0].mape_after_frac, 0.01);
        cr_expect_gt(c.stacks[0].mape_before_frac, 0.015);
        galv_profile_free(profile);
        galv_arena_free(arena);
    }
}

/* Error of five runs after calibrating on the n that come last. */
static double error_after(galv_calibration_for purpose, galv_case *cases, size_t n,
                          galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_profile *fitted = galv_profile_new();
    galv_validation after;
    galv_calibration c = calibrate_for(purpose, &cases[5 - n], n, arena);
    cr_assert_eq(galv_calibration_to_profile(fitted, &c, &err), GALV_OK);
    cr_assert_eq(galv_validate(&after, cases, 5, fitted, 1, arena, &err), GALV_OK);
    galv_profile_free(fitted);
    return after.mape_frac;
}

/* The stack is 15 % slower in its products and 20 % in its memory-bound kernels. Asked
 * for the plan and its neighbours, one run is believed. Asked for a stack of a kind
 * that was validated before, one run brings the others nearer and each more does so
 * more. */
Test(sim_calibrate, runs_are_believed_as_far_as_what_is_asked_goes)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = read_cases(arena);
    galv_profile *truth = galv_profile_new();
    galv_validation before;
    plant(truth, "gemm", 1.15);
    plant(truth, "memory", 1.2);
    measure(cases, 5, truth, arena);
    cr_assert_eq(galv_validate(&before, cases, 5, NULL, 1, arena, &err), GALV_OK);
    cr_expect_gt(before.mape_frac, 0.06, "%g", before.mape_frac);
    double neighbour = error_after(GALV_FOR_PLAN, cases, 1, arena);
    cr_expect_lt(neighbour, 0.03, "%g", neighbour);
    double last = before.mape_frac;
    for (size_t n = 1; n <= 5; n += 2) {
        double now = error_after(GALV_FOR_STACK, cases, n, arena);
        cr_expect_lt(now, 0.9 * last, "%zu runs: %g, before %g", n, now, last);
        last = now;
    }
    cr_expect_lt(last, 0.03, "%g", last);
    galv_profile_free(truth);
    galv_arena_free(arena);
}

/* A stack of which nothing is known is believed what it says. */
Test(sim_calibrate, what_was_never_validated_is_believed_more)
{
    galv_arena *arena = galv_arena_new();
    galv_case *cases = read_cases(arena);
    double after[2];
    for (int i = 0; i < 2; i++) {
        cases[0].software = i == 0 ? "megatron" : "oneflow";
        measure(cases, 1, NULL, arena);
        cases[0].iteration_time_s *= 1.1;
        galv_calibration c = calibrate(cases, 1, arena);
        after[i] = c.stacks[0].mape_after_frac;
    }
    cr_expect_gt(after[0], 0.04, "%g", after[0]);
    cr_expect_lt(after[1], 0.03, "%g", after[1]);
    galv_arena_free(arena);
}

Test(sim_calibrate, one_wild_run_does_not_carry_the_fit_away)
{
    galv_arena *arena = galv_arena_new();
    galv_case *cases = read_cases(arena);
    galv_profile *truth = galv_profile_new();
    plant(truth, "gemm", 1.1);
    measure(cases, N_CASES, truth, arena);
    galv_calibration clean = calibrate(cases, N_CASES, arena);
    cases[2].iteration_time_s *= 2;
    galv_calibration wild = calibrate(cases, N_CASES, arena);
    double change = wild.stacks[0].knobs[GALV_KNOB_GEMM].value[0] /
                        clean.stacks[0].knobs[GALV_KNOB_GEMM].value[0] -
                    1;
    cr_expect_lt(fabs(change), 0.10, "%g", change);
    galv_profile_free(truth);
    galv_arena_free(arena);
}

Test(sim_calibrate, its_file_reads_back_as_the_same_profile)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = read_cases(arena);
    galv_profile *profile = galv_profile_new();
    galv_profile *again = galv_profile_new();
    plant(profile, "gemm", 1.15);
    measure(cases, N_CASES, profile, arena);
    galv_calibration c = calibrate(cases, N_CASES, arena);
    galv_profile_free(profile);
    profile = galv_profile_new();
    cr_assert_eq(galv_calibration_to_profile(profile, &c, &err), GALV_OK);
    cr_assert_gt(profile->n_rows, 0);
    galv_text text = GALV_TEXT_INIT;
    galv_csv table;
    galv_calibration_print(&text, &c);
    cr_assert_eq(galv_csv_read_text(&table, "made", galv_text_string(&text),
                                    text.length, arena, &err),
                 GALV_OK);
    cr_assert_eq(galv_profile_read_table(again, &table, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(again->n_rows, profile->n_rows);
    for (size_t i = 0; i < again->n_rows; i++) {
        cr_expect_eq(again->rows[i].kind, GALV_PROFILE_FACTOR);
        cr_expect_str_eq(again->rows[i].op, profile->rows[i].op);
        cr_expect_str_eq(again->rows[i].device, "h100-sxm-80gb");
        cr_expect_eq(again->rows[i].precision, GALV_BF16);
        cr_expect(again->rows[i].value == profile->rows[i].value);
    }
    galv_text_release(&text);
    galv_profile_free(profile);
    galv_profile_free(again);
    galv_arena_free(arena);
}

Test(sim_calibrate, two_kinds_of_software_are_not_mixed)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = read_cases(arena);
    galv_measured_run *runs = NULL;
    galv_calibration c;
    size_t n = 0;
    cases[1].software = "eager";
    cr_assert_eq(galv_runs_from_cases(&runs, &n, cases, 2, arena, &err), GALV_OK);
    cr_expect_eq(galv_calibrate(&c, runs, n, NULL, GALV_FOR_STACK, 1, arena, &err),
                 GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "eager"), "%s", err.message);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_calibrate(&c, runs, 0, NULL, GALV_FOR_STACK, 1, arena, &err),
                 GALV_INPUT);
    galv_arena_free(arena);
}

Test(sim_calibrate, a_log_gives_the_median_after_its_first_iteration)
{
    char path[] = "/tmp/galv-log-XXXXXX";
    static const char log[] =
        " iteration 1/ 5 | elapsed time per iteration (ms): 9000.0 | lm loss: 1\n"
        "noise elapsed time per iteration (ms): x\n"
        " iteration 1/ 5 | elapsed time per iteration (ms): 0.0 |\n"
        " iteration 1/ 5 | elapsed time per iteration (ms): 1e300 |\n"
        " iteration 2/ 5 | elapsed time per iteration (ms): 1000.0 |\n"
        " iteration 3/ 5 | elapsed time per iteration (ms): 1010.0 |\n"
        " iteration 4/ 5 | elapsed time per iteration (ms): 1020.0 |\n";
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    double time_s = 0;
    double noise_frac = 0;
    size_t n = 0;
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, log, sizeof log - 1), (ssize_t)(sizeof log - 1));
    close(fd);
    cr_expect_eq(galv_megatron_log_read(&time_s, &noise_frac, &n, path, arena, &err),
                 GALV_OK, "%s", err.message);
    cr_expect_eq(n, 4);
    cr_expect_float_eq(time_s, 1.01, 1e-12);
    cr_expect_float_eq(noise_frac, 1.4826 * 0.01 / 1.01, 1e-12);
    cr_assert_eq(truncate(path, 4), 0);
    cr_expect_eq(galv_megatron_log_read(&time_s, &noise_frac, &n, path, arena, &err),
                 GALV_INPUT);
    unlink(path);
    galv_arena_free(arena);
}

/* What a file system leaves of a node that died in the middle of a line are zeros: the
 * iterations after them count. No iteration takes weeks. */
Test(sim_calibrate, zeros_do_not_end_a_log)
{
    static const char log[] = "elapsed time per iteration (ms): 9000.0 |\n\0\0\0\0\n"
                              "elapsed time per iteration (ms): 1000.0 |\n"
                              "elapsed time per iteration (ms): 1e300 |\n"
                              "elapsed time per iteration (ms): 1000.0 |\n";
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    double time_s = 0;
    double noise_frac = 0;
    size_t n = 0;
    cr_expect_eq(galv_megatron_log_read_text(&time_s, &noise_frac, &n, "a.log", log,
                                             sizeof log - 1, arena, &err),
                 GALV_OK, "%s", err.message);
    cr_expect_eq(n, 3);
    cr_expect_float_eq(time_s, 1, 1e-12);
    galv_arena_free(arena);
}

/* Everything takes 10 % longer. For that stack itself it is followed; for another one
 * most of it is taken to be the source's own. */
Test(sim_calibrate, of_a_foreign_source_less_is_believed)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = read_cases(arena);
    galv_measured_run *runs = NULL;
    galv_calibration own, foreign;
    size_t n = 0;
    measure(cases, N_CASES, NULL, arena);
    for (size_t i = 0; i < N_CASES; i++) {
        cases[i].iteration_time_s *= 1.1;
    }
    cr_assert_eq(galv_runs_from_cases(&runs, &n, cases, N_CASES, arena, &err), GALV_OK);
    cr_assert_eq(galv_calibrate(&own, runs, n, NULL, GALV_FOR_STACK, 1, arena, &err),
                 GALV_OK);
    cr_assert_eq(
        galv_calibrate(&foreign, runs, n, NULL, GALV_FOR_OTHERS, 1, arena, &err),
        GALV_OK);
    cr_expect_lt(own.stacks[0].mape_after_frac, 0.03);
    cr_expect_gt(foreign.stacks[0].mape_after_frac,
                 own.stacks[0].mape_after_frac + 0.005);
    cr_expect_lt(foreign.stacks[0].mape_after_frac, 0.10);
    galv_arena_free(arena);
}
