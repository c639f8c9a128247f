/* Many drawn iterations: the same for any number of threads, with the quantiles that
 * their definition gives, and the means that probability gives. */
#include "sim/evaluate.h"
#include "sim/monte_carlo.h"
#include "tests/sim/drafts.h"
#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(sim_monte_carlo);

static galv_result evaluate(const plan_stand *s, const galv_evaluate_options *options)
{
    galv_err err = GALV_ERR_INIT;
    galv_result result = {0};
    cr_assert_eq(galv_evaluate(&result, s->model, s->plan, options, s->arena, &err),
                 GALV_OK, "%s: %s", s->name, err.message);
    return result;
}

Test(sim_monte_carlo, gives_the_same_bits_on_any_number_of_threads)
{
    plan_stand s = plan_set_up(0);
    galv_differences differences = {0};
    galv_err err = GALV_ERR_INIT;
    differences.seed = 3;
    differences.compute_sigma = 0.1;
    differences.comm_sigma = 0.2;
    cr_assert_eq(galv_differences_add_straggler(&differences, "0.2=1.1", &err),
                 GALV_OK);
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.differences = &differences;
    options.n_runs = 40;
    options.n_jobs = 1;
    galv_result alone = evaluate(&s, &options);
    options.n_jobs = 4;
    galv_result together = evaluate(&s, &options);
    cr_expect_eq(memcmp(&alone.cluster, &together.cluster, sizeof alone.cluster), 0);
    cr_expect_eq(alone.iteration_time_s, together.iteration_time_s);
    const galv_spread *spread = &alone.cluster.spread;
    cr_expect_eq(spread->n_runs, 40);
    cr_expect_gt(spread->sd_s, 0);
    cr_expect_lt(spread->least_s, spread->p50_s);
    cr_expect_lt(spread->p50_s, spread->p95_s);
    cr_expect_lt(spread->p95_s, spread->p99_s);
    cr_expect_leq(spread->p99_s, spread->most_s);
    cr_expect_leq(alone.iteration_time_s, spread->p50_s, "the median run is shown");
    cr_expect_gt(alone.iteration_time_s, alone.cluster.folded_time_s);
    plan_tear_down(&s);
}

Test(sim_monte_carlo, quantiles_interpolate)
{
    const double sorted[] = {1, 2, 3, 4, 10};
    cr_expect_float_eq(galv_quantile(sorted, 5, 0), 1, 1e-15);
    cr_expect_float_eq(galv_quantile(sorted, 5, 0.5), 3, 1e-15);
    cr_expect_float_eq(galv_quantile(sorted, 5, 0.875), 7, 1e-15);
    cr_expect_float_eq(galv_quantile(sorted, 5, 1), 10, 1e-15);
    cr_expect_float_eq(galv_quantile(sorted, 1, 0.3), 1, 1e-15);
}

/* One rank, one operation: the mean is the mean, the median exp(-sigma^2 / 2). Two
 * ranks that meet wait for the larger of two normal logarithms: with sigma small the
 * mean grows by sigma / sqrt(pi). */
Test(sim_monte_carlo, the_expected_maximum_of_two_is_found)
{
    enum { RUNS = 20000 };
    const double sigma = 0.02;
    draft *d = draft_make(1);
    uint32_t compute = draft_add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t reduce = draft_add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 1e-9);
    galv_builder_add_wait(&d->builder, reduce, compute);
    galv_program *program = draft_program(d);
    galv_differences differences = {0};
    differences.compute_sigma = sigma;
    for (int32_t n = 1; n <= 2; n++) {
        galv_meeting meetings[2] = {{1, 1}, {1, n}};
        galv_unfolded u = {program, d->costs, NULL, meetings, n, NULL, &differences};
        galv_spread spread = {0};
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_monte_carlo(&spread, &u, RUNS, 2, NULL, &err), GALV_OK);
        double mean = n == 1 ? 1 : 1 + sigma / sqrt(3.14159265358979323846);
        cr_expect_float_eq(spread.mean_s, mean, 4 * sigma / sqrt(RUNS) + 1e-4,
                           "%d ranks: %g, not %g", (int)n, spread.mean_s, mean);
        if (n == 1) {
            cr_expect_float_eq(spread.p50_s, exp(-sigma * sigma / 2),
                               6 * sigma / sqrt(RUNS));
            cr_expect_float_eq(spread.sd_s, sigma, 0.03 * sigma);
        }
    }
    draft_drop(d);
}

/* All ways of asking for every rank give the folded answer when nothing differs. */
Test(sim_monte_carlo, results_without_differences_are_the_folded_ones)
{
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand s = plan_set_up(i);
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        options.sim.record_timeline = true;
        galv_result folded = evaluate(&s, &options);
        options.all_ranks = true;
        galv_result all = evaluate(&s, &options);
        cr_expect_eq(all.cluster.n_ranks, galv_plan_n_devices(s.plan));
        cr_expect_eq(all.cluster.folded_time_s, folded.iteration_time_s);
        cr_expect_float_eq(all.iteration_time_s / folded.iteration_time_s, 1, 1e-12,
                           "%s", s.name);
        cr_expect_float_eq(all.mfu / folded.mfu, 1, 1e-12);
        cr_expect_float_eq(all.peak_memory_bytes / folded.peak_memory_bytes, 1, 1e-12,
                           "%s", s.name);
        cr_expect_float_eq(all.bubble_frac, folded.bubble_frac, 1e-11);
        cr_expect_eq(all.timeline.n_ranks, folded.timeline.n_ranks);
        cr_assert_eq(all.timeline.n_spans, folded.timeline.n_spans);
        for (size_t k = 0; k < all.timeline.n_spans; k++) {
            const galv_span *a = &all.timeline.spans[k];
            const galv_span *b = &folded.timeline.spans[k];
            cr_expect(a->rank == b->rank && a->kind == b->kind &&
                          a->micro_batch == b->micro_batch &&
                          fabs(a->end_s - b->end_s) <= 1e-12 * folded.iteration_time_s,
                      "%s: span %zu", s.name, k);
        }
        plan_tear_down(&s);
    }
}

/* Interrupted, the spread is of the runs that were begun, which is one at least. */
Test(sim_monte_carlo, an_interrupted_campaign_tells_what_was_drawn)
{
    static const atomic_bool stop = true;
    plan_stand s = plan_set_up(0);
    galv_differences differences = {.compute_sigma = 0.05};
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.differences = &differences;
    options.n_runs = 1;
    galv_result one = evaluate(&s, &options);
    options.n_runs = 1000;
    options.n_jobs = 2;
    options.cancel = &stop;
    galv_result cut = evaluate(&s, &options);
    cr_expect_eq(cut.cluster.spread.n_runs, 1);
    cr_expect_eq(cut.cluster.spread.n_wanted, 1000);
    cr_expect_eq(cut.cluster.spread.p99_s, one.cluster.spread.p99_s);
    cr_expect_eq(cut.iteration_time_s, one.iteration_time_s);
    plan_tear_down(&s);
}
