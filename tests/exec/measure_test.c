/* Statistics of samples against what they are by definition, and by a slow way. */
#include "exec/measure.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

GALV_TEST_SUITE(exec_measure);

static void expect(double have, double want)
{
    cr_assert(fabs(have - want) <= 1e-12 * (1 + fabs(want)), "%.17g, not %.17g", have,
              want);
}

Test(exec_measure, median_and_spread_of_known_values)
{
    double odd[] = {9, 1, 2, 4, 3};
    galv_statistics s = galv_statistics_of(odd, 5);
    expect(s.median, 3);
    expect(s.least, 1);
    expect(s.stddev, 1.4826 * 1); /* deviations 2 1 0 1 6 */
    double even[] = {4, 1, 3, 2};
    s = galv_statistics_of(even, 4);
    expect(s.median, 2.5);
    expect(s.stddev, 1.4826 * 1); /* 1.5 0.5 0.5 1.5 */
    double one[] = {7};
    s = galv_statistics_of(one, 1);
    expect(s.median, 7);
    expect(s.stddev, 0);
    expect(s.low, 7);
    expect(s.high, 7);
}

Test(exec_measure, a_few_wild_values_change_nothing)
{
    double values[101];
    for (int i = 0; i < 101; i++) {
        values[i] = i >= 80 ? 1e6 * i : 100 + i % 5;
    }
    galv_statistics s = galv_statistics_of(values, 101);
    cr_assert(s.median >= 100 && s.median <= 104);
    cr_assert(s.stddev > 0 && s.stddev < 6);
    cr_assert(s.high < 105);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

Test(exec_measure, spread_is_the_median_of_deviations_for_any_values)
{
    unsigned state = 1;
    for (size_t n = 1; n < 60; n++) {
        double values[60];
        double deviations[60];
        for (size_t i = 0; i < n; i++) {
            state = state * 1664525U + 1013904223U;
            values[i] = (state >> 24) % 17; /* with ties */
        }
        galv_statistics s = galv_statistics_of(values, n);
        for (size_t i = 0; i < n; i++) {
            deviations[i] = fabs(values[i] - s.median);
        }
        qsort(deviations, n, sizeof deviations[0], ascending);
        double mad = n % 2 == 1 ? deviations[n / 2]
                                : (deviations[n / 2 - 1] + deviations[n / 2]) / 2;
        expect(s.stddev, n > 1 ? 1.4826 * mad : 0);
    }
}

/* Chance that the interval [low, high] of n ordered samples misses the true median:
 * binomial tails, counted exactly. */
static double chance_to_hold(size_t n, size_t below, size_t above)
{
    double sum = 0;
    for (size_t k = below; k <= above; k++) {
        double ways = 1;
        for (size_t i = 1; i <= k; i++) {
            ways *= (double)(n - k + i) / (double)i;
        }
        sum += ways;
    }
    return sum / pow(2, (double)n);
}

Test(exec_measure, interval_holds_the_median_95_times_of_100)
{
    for (size_t n = 6; n <= 200; n++) {
        double values[200];
        for (size_t i = 0; i < n; i++) {
            values[i] = (double)(i + 1); /* sample of rank i + 1 */
        }
        galv_statistics s = galv_statistics_of(values, n);
        /* rank r <= median <= rank t: between r and t - 1 samples lie below it */
        double chance = chance_to_hold(n, (size_t)s.low, (size_t)s.high - 1);
        cr_assert(chance >= 0.95, "%zu samples: ranks %g to %g hold it by %.4f", n,
                  s.low, s.high, chance);
        cr_assert(n < 30 || chance < 0.99, "%zu samples: too wide, %.4f", n, chance);
    }
}

Test(exec_measure, measuring_ends_when_the_interval_is_small_or_patience_is_over)
{
    galv_patience patience = {1, 10, 100, 0.01, 2};
    galv_statistics s = {.n = 9, .median = 1, .low = 1, .high = 1};
    cr_assert_not(galv_patience_ends(&patience, &s, 9)); /* too few, whatever else */
    s.n = 10;
    cr_assert(galv_patience_ends(&patience, &s, 0));
    s.low = 0.98;
    s.high = 1.02;
    cr_assert_not(galv_patience_ends(&patience, &s, 1));
    cr_assert(galv_patience_ends(&patience, &s, 2));
    s.n = 100;
    cr_assert(galv_patience_ends(&patience, &s, 0));
}
