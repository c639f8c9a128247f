/* Sums of errors and rankings: held to closed forms and hand-made lists. */
#include "accuracy/error_sums.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(sim_error_sums);

Test(sim_error_sums, tau_is_kendalls)
{
    const double up[] = {1, 2, 3, 4, 5};
    const double down[] = {5, 4, 3, 2, 1};
    const double swapped[] = {2, 1, 3, 4, 5}; /* one of ten pairs: (9 - 1) / 10 */
    const double flat[] = {7, 7, 7, 7, 7};
    cr_expect_float_eq(galv_kendall_tau(up, up, 5), 1, 1e-12);
    cr_expect_float_eq(galv_kendall_tau(up, down, 5), -1, 1e-12);
    cr_expect_float_eq(galv_kendall_tau(up, swapped, 5), 0.8, 1e-12);
    cr_expect(isnan(galv_kendall_tau(up, flat, 5)));
    cr_expect(isnan(galv_kendall_tau(up, up, 1)));
}

Test(sim_error_sums, ties_are_treated_as_tau_b)
{
    /* Kendall 1945's form by hand: pairs (1,2) tied in b. 5 of 6 pairs concordant:
     * 5 / sqrt(6 * 5). */
    const double a[] = {1, 2, 3, 4};
    const double b[] = {1, 1, 2, 3};
    cr_expect_float_eq(galv_kendall_tau(a, b, 4), 5 / sqrt(30), 1e-12);
    cr_expect_float_eq(galv_kendall_tau(b, a, 4), 5 / sqrt(30), 1e-12);
}

/* A validation made by hand: measured and predicted times, and words. */
#define N 6
typedef struct made {
    galv_case cases[N];
    galv_validated_case validated[N];
    galv_validation validation;
} made;

static void make(made *m)
{
    static const double measured[N] = {10, 8, 20, 10, 0, 10};
    static const double predicted[N] = {9, 10, 22, 15, 5, 0};
    static const char *const sweeps[N] = {"a", "a", "b", "a", "a", ""};
    static const char *const sources[N] = {"one", "one", "two", "one", "two", "two"};
    memset(m, 0, sizeof *m);
    m->validation.n_cases = N;
    m->validation.cases = m->validated;
    for (int i = 0; i < N; i++) {
        galv_validated_case *c = &m->validated[i];
        m->cases[i] = (galv_case){.case_id = "x",
                                  .sweep = sweeps[i],
                                  .gpu = "g",
                                  .tp = 1 + i,
                                  .memory_kind = "torch_peak",
                                  .iteration_time_s = measured[i],
                                  .peak_memory_bytes = i == 2 ? 100 : 0};
        c->measured = &m->cases[i];
        c->source = sources[i];
        c->status = i == 5 ? GALV_UNAVAILABLE : GALV_OK;
        c->predicted_iteration_time_s = predicted[i];
        c->error_frac =
            measured[i] > 0 && i != 5 ? predicted[i] / measured[i] - 1 : (double)NAN;
        c->memory_error_frac = i == 2 ? -0.2 : (double)NAN;
    }
}

Test(sim_error_sums, sums_by_source_are_those_of_its_cases)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_error_sum *sums = NULL;
    size_t n = 0;
    made m;
    make(&m);
    cr_assert_eq(galv_error_sums(&sums, &n, &m.validation, GALV_BY_SOURCE, arena, &err),
                 GALV_OK);
    cr_assert_eq(n, 2);
    cr_expect_str_eq(sums[0].name, "one"); /* -0.1, +0.25, +0.5 */
    cr_expect_eq(sums[0].n_timed, 3);
    cr_expect_float_eq(sums[0].mape_frac, 0.85 / 3, 1e-12);
    cr_expect_float_eq(sums[0].bias_frac, 0.65 / 3, 1e-12);
    cr_expect_float_eq(sums[0].p90_frac, 0.5, 1e-12);
    cr_expect_float_eq(sums[0].worst_frac, 0.5, 1e-12);
    cr_expect_eq(sums[0].n_within, 1);
    cr_expect_eq(sums[1].n_cases, 3);
    cr_expect_eq(sums[1].n_failed, 1);
    cr_expect_eq(sums[1].n_timed, 1);
    cr_expect_eq(sums[1].n_memory, 1);
    cr_expect_float_eq(sums[1].memory_bias_frac, -0.2, 1e-12);
    cr_assert_eq(galv_error_sums(&sums, &n, &m.validation, GALV_BY_ALL, arena, &err),
                 GALV_OK);
    cr_expect_eq(n, 1);
    cr_expect_eq(sums[0].n_timed, 4);
    cr_expect_eq(sums[0].n_cases, N);
    galv_arena_free(arena);
}

Test(sim_error_sums, regret_is_what_the_predicted_winner_costs)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_ranking *rankings = NULL;
    size_t n = 0;
    made m;
    make(&m);
    cr_assert_eq(galv_rankings(&rankings, &n, &m.validation, arena, &err), GALV_OK);
    cr_assert_eq(n, 1, "a sweep of one run is none");
    cr_expect_str_eq(rankings[0].sweep, "a");
    cr_expect_eq(rankings[0].n, 3, "the unmeasured run is not ranked");
    /* predicted fastest: 9 s, which took 10; the fastest took 8 */
    cr_expect_float_eq(rankings[0].regret_frac, 0.25, 1e-12);
    cr_expect_eq(rankings[0].fastest, &m.validated[1]);
    /* (10, 9), (8, 10), (10, 15): one pair each way, one tied in measured */
    cr_expect_float_eq(rankings[0].tau, 0, 1e-12);
    galv_arena_free(arena);
}

/* Of (10, 9), (8, 10), (10, 15) those of 10 and 8 are told apart by 1 % of noise, one
 * in each order; not by 20 %. */
Test(sim_error_sums, only_pairs_that_noise_leaves_apart_are_clear)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_ranking *rankings = NULL;
    size_t n = 0;
    made m;
    make(&m);
    cr_assert_eq(galv_rankings(&rankings, &n, &m.validation, arena, &err), GALV_OK);
    cr_expect_eq(rankings[0].n_clear, 2);
    cr_expect_float_eq(rankings[0].tau_clear, 0, 1e-12);
    m.validated[3].predicted_iteration_time_s = 8.5;
    cr_assert_eq(galv_rankings(&rankings, &n, &m.validation, arena, &err), GALV_OK);
    cr_expect_float_eq(rankings[0].tau_clear, -1, 1e-12);
    m.cases[0].noise_frac = 0.2; /* and so all others of its source */
    cr_assert_eq(galv_rankings(&rankings, &n, &m.validation, arena, &err), GALV_OK);
    cr_expect_eq(rankings[0].n_clear, 0);
    cr_expect(isnan(rankings[0].tau_clear));
    galv_arena_free(arena);
}

/* 10 and 8 s of what is one plan: its source scatters by 16 %. */
Test(sim_error_sums, runs_that_were_repeated_tell_their_noise)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_ranking *rankings = NULL;
    size_t n = 0;
    made m;
    make(&m);
    m.cases[1].tp = m.cases[0].tp;
    m.validated[1].predicted_iteration_time_s = 9;
    m.cases[3].iteration_time_s = 11; /* log(11 / 8) = 0.32, log(11 / 10) = 0.10 */
    cr_assert_eq(galv_rankings(&rankings, &n, &m.validation, arena, &err), GALV_OK);
    cr_expect_eq(rankings[0].n_clear, 1, "noise of a pair: 0.22");
    cr_expect_float_eq(rankings[0].tau_clear, 1, 1e-12);
    galv_arena_free(arena);
}
