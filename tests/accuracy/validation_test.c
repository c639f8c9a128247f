/* Validation: errors and their sums, with cases whose answers are published. */
#include "accuracy/validation.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(sim_validation);

static const char path[] = GALV_SOURCE_DIR "/tests/accuracy/data/cases.csv";

static galv_validation validate(int n_jobs, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = NULL;
    size_t n_cases = 0;
    galv_validation validation = {0};
    cr_assert_eq(galv_cases_read(&cases, &n_cases, path, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_validate(&validation, cases, n_cases, NULL, n_jobs, arena, &err),
                 GALV_OK, "%s", err.message);
    return validation;
}

Test(sim_validation, errors_and_their_sums_are_what_they_say)
{
    galv_arena *arena = galv_arena_new();
    galv_validation v = validate(1, arena);
    cr_assert_eq(v.n_cases, 4);
    cr_expect_eq(v.cases[0].status, GALV_OK, "%s", v.cases[0].why_not);
    cr_expect_float_eq(v.cases[0].predicted_iteration_time_s, 33, 1e-9);
    cr_expect_float_eq(v.cases[0].error_frac, 0, 1e-9);
    cr_expect_float_eq(v.cases[1].error_frac, -0.1, 1e-9, "%g", v.cases[1].error_frac);
    cr_expect_float_eq(v.cases[2].predicted_iteration_time_s, 33, 1e-9);
    cr_expect(isnan(v.cases[2].error_frac));
    cr_expect_eq(v.cases[3].status, GALV_USAGE);
    cr_expect_not_null(strstr(v.cases[3].why_not, "zb-h7"), "%s", v.cases[3].why_not);
    cr_expect(isnan(v.cases[3].error_frac));
    cr_expect_eq(v.n_timed, 2);
    cr_expect_float_eq(v.mape_frac, 0.05, 1e-9);
    cr_expect_float_eq(v.bias_frac, -0.05, 1e-9);
    cr_expect_float_eq(v.p90_frac, 0.1, 1e-9);
    cr_expect_float_eq(v.worst_frac, -0.1, 1e-9);
    cr_expect_eq(v.n_memory, 0);
    cr_expect(isnan(v.memory_mape_frac));
    galv_arena_free(arena);
}

/* Stage times as published, three groups of 1f1b, interleaved, zb-1p and zb-2p (Qi et
 * al. 2023, arXiv 2401.10241, tables 4, 5 and 9): every iteration within 10 % (the
 * optimizer step is not in the stage times), and the ratio of any two of a group within
 * 3 % of the measured one. */
Test(sim_validation, schedules_under_stage_times_compare_as_they_were_measured)
{
    enum { OF_GROUP = 4, N_CASES = 12 };
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = NULL;
    size_t n_cases = 0;
    galv_validation v = {0};
    cr_assert_eq(galv_cases_read(&cases, &n_cases,
                                 GALV_SOURCE_DIR "/tests/accuracy/data/zero_bubble.csv",
                                 arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(n_cases, N_CASES);
    cr_assert_eq(galv_validate(&v, cases, n_cases, NULL, 1, arena, &err), GALV_OK, "%s",
                 err.message);
    for (size_t i = 0; i < n_cases; i++) {
        double off = 1 + v.cases[i].error_frac;
        cr_expect(off > 0.9 && off < 1, "%s: %g", v.cases[i].measured->case_id, off);
        for (size_t k = i - i % OF_GROUP; k < i; k++) {
            double ratio = off / (1 + v.cases[k].error_frac);
            cr_expect_float_eq(ratio, 1, 0.03, "%s to %s: %g",
                               v.cases[i].measured->case_id,
                               v.cases[k].measured->case_id, ratio);
        }
        double parts_s = 0;
        for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
            parts_s += v.cases[i].result.breakdown_s[part];
        }
        cr_expect_float_eq(parts_s, v.cases[i].predicted_iteration_time_s, 1e-9);
    }
    galv_arena_free(arena);
}

Test(sim_validation, does_not_depend_on_the_number_of_threads)
{
    galv_arena *arena = galv_arena_new();
    galv_validation one = validate(1, arena);
    galv_validation three = validate(3, arena);
    for (size_t i = 0; i < one.n_cases; i++) {
        cr_expect(one.cases[i].predicted_iteration_time_s ==
                  three.cases[i].predicted_iteration_time_s);
        cr_expect_eq(one.cases[i].status, three.cases[i].status);
    }
    cr_expect(one.mape_frac == three.mape_frac && one.p90_frac == three.p90_frac);
    galv_arena_free(arena);
}

Test(sim_validation, of_no_cases_there_is_nothing_to_say)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_validation v = {0};
    cr_assert_eq(galv_validate(&v, NULL, 0, NULL, 2, arena, &err), GALV_OK);
    cr_expect_eq(v.n_cases, 0);
    cr_expect(isnan(v.mape_frac) && isnan(v.p90_frac));
    galv_arena_free(arena);
}

/* Published runs that nothing was fitted to (sources in the file): 6 % off in the mean
 * when this was written, all but two within a tenth. */
Test(sim_validation, blind_runs_are_near)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = NULL;
    size_t n_cases = 0;
    size_t n_near = 0;
    galv_validation v = {0};
    cr_assert_eq(galv_cases_read(&cases, &n_cases,
                                 GALV_SOURCE_DIR "/benchmarks/blind.csv", arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(galv_validate(&v, cases, n_cases, NULL, 1, arena, &err), GALV_OK, "%s",
                 err.message);
    for (size_t i = 0; i < n_cases; i++) {
        n_near += fabs(v.cases[i].error_frac) <= 0.105;
    }
    cr_expect_eq(v.n_timed, 29);
    cr_expect_lt(v.mape_frac, 0.08);
    cr_expect_lt(fabs(v.bias_frac), 0.04);
    cr_expect_gt(n_near, 25);
    galv_arena_free(arena);
}

/* Allocator peaks of 19 tiny runs of Megatron-LM's functional tests, described as the
 * configuration beside each golden value describes them (unfused attention, experts cut
 * or not, width of experts, one table for both ends). */
Test(sim_validation, peaks_of_runs_as_configured_are_met)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = NULL;
    size_t n_cases = 0;
    galv_validation v = {0};
    cr_assert_eq(galv_cases_read(&cases, &n_cases,
                                 GALV_SOURCE_DIR
                                 "/tests/accuracy/data/megatron_ci_as_configured.csv",
                                 arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(galv_validate(&v, cases, n_cases, NULL, 1, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_expect_eq(v.n_memory, 19);
    cr_expect_lt(v.memory_mape_frac, 0.03, "%g", v.memory_mape_frac);
    for (size_t i = 0; i < n_cases; i++) {
        cr_expect_lt(fabs(v.cases[i].memory_error_frac), 0.07, "%s %g",
                     cases[i].case_id, v.cases[i].memory_error_frac);
    }
    galv_arena_free(arena);
}

static double memory_error(const galv_validation *v, const char *case_id)
{
    for (size_t i = 0; i < v->n_cases; i++) {
        if (strcmp(v->cases[i].measured->case_id, case_id) == 0) {
            return v->cases[i].memory_error_frac;
        }
    }
    return (double)NAN;
}

/* Peaks that their sources say more of than the table of cases does: what summed the
 * gradients, what printed the number, in which unit. Mean sizes of the errors when this
 * was written: 8.9, 3.3 and 2.7 %; every peak of nvidia-smi above what is predicted,
 * for its allocator's cracks. */
Test(sim_validation, peaks_are_met_as_they_were_measured)
{
    static const struct {
        const char *file;
        size_t n;
        double most;
    } tables[] = {{"bloom_as_configured.csv", 5, 0.10},
                  {"zero_bubble_as_logged.csv", 12, 0.04},
                  {"torchtitan_as_logged.csv", 7, 0.03}};
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_case *cases = NULL;
        size_t n_cases = 0;
        galv_validation v = {0};
        char file[512];
        snprintf(file, sizeof file, GALV_SOURCE_DIR "/tests/accuracy/data/%s",
                 tables[t].file);
        cr_assert_eq(galv_cases_read(&cases, &n_cases, file, arena, &err), GALV_OK,
                     "%s", err.message);
        cr_assert_eq(galv_validate(&v, cases, n_cases, NULL, 1, arena, &err), GALV_OK,
                     "%s", err.message);
        cr_expect_eq(v.n_memory, tables[t].n);
        cr_expect_lt(v.memory_mape_frac, tables[t].most, "%s %g", tables[t].file,
                     v.memory_mape_frac);
        galv_arena_free(arena);
    }
}

/* One run, measured in four ways: the allocator hands out less than it has of the
 * driver, which is less than what the device has given; what nobody says is taken for
 * the last. DeepSpeed's flat gradients are kept, and seen by all but the first. */
Test(sim_validation, a_peak_is_predicted_as_it_was_measured)
{
    static const char head[] =
        "case_id,software,software_year,gpu,num_gpus,num_layers,hidden_size,"
        "num_attention_heads,seq_length,vocab_size,precision,tp,pp,dp,zero,recompute,"
        "micro_batch_size,global_batch_size,flash_attention,measured_peak_memory_gib,"
        "memory_kind\n";
    static const char run[] = "megatron,2022,a100-sxm-80gb,64,24,6144,48,2048,51200,"
                              "fp16,4,4,4,1,full,4,256,0,40";
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = NULL;
    size_t n_cases = 0;
    galv_csv table;
    galv_validation v = {0};
    char text[2048];
    snprintf(text, sizeof text,
             "%speak,%s,torch_peak\nreserved,%s,torch_reserved\nsmi,%s,nvidia_smi\n"
             "unknown,%s,unknown\n",
             head, run, run, run, run);
    cr_assert_eq(galv_csv_read_text(&table, "made", text, strlen(text), arena, &err),
                 GALV_OK);
    cr_assert_eq(galv_cases_read_table(&cases, &n_cases, &table, arena, &err), GALV_OK,
                 "%s", err.message);
    cr_assert_eq(galv_validate(&v, cases, n_cases, NULL, 1, arena, &err), GALV_OK);
    double peak = memory_error(&v, "peak");
    double reserved = memory_error(&v, "reserved");
    double smi = memory_error(&v, "smi");
    double unknown = memory_error(&v, "unknown");
    cr_expect_lt(peak, reserved);
    cr_expect_lt(reserved, smi);
    cr_expect_lt(unknown, smi);
    double driver_gib = 40 * (smi - reserved);
    cr_expect(driver_gib > 1.9 && driver_gib < 2.1, "1300 + 200 + 3 x 150 MiB: %g",
              driver_gib);
    galv_arena_free(arena);
}
