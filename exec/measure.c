/* Times on a machine that others use, too, are the true time plus waits: never less,
 * sometimes much more. So nothing here is a mean. The interval of the median needs no
 * distribution: the number of samples below the true median is binomial, so the median
 * lies between two order statistics, n/2 -+ 1.96 sqrt(n)/2.
 *
 * Left out: samples that follow each other are taken as independent; a disturbance that
 * outlasts all samples of a thing is not seen. */
#include "exec/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NORMAL_OF_MAD 1.4826 /* 1 / quantile of the normal distribution at 3/4 */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle_of(const double *sorted, size_t n)
{
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* Median of |value - center|: the two ends of the sorted values are merged, from the
 * middle outward. */
static double middle_deviation(const double *sorted, size_t n, double center)
{
    size_t right = 0;
    while (right < n && sorted[right] < center) {
        right++;
    }
    size_t left = right; /* values [0, left) are below */
    double last = 0;
    double before = 0;
    for (size_t i = 0; i <= n / 2; i++) {
        double down = left > 0 ? center - sorted[left - 1] : HUGE_VAL;
        double up = right < n ? sorted[right] - center : HUGE_VAL;
        before = last;
        last = down < up ? down : up;
        if (down < up) {
            left--;
        } else {
            right++;
        }
    }
    return n % 2 == 1 ? last : (before + last) / 2;
}

galv_statistics galv_statistics_of(double *values, size_t n)
{
    galv_statistics s = {0};
    qsort(values, n, sizeof *values, ascending);
    s.n = n;
    s.least = values[0];
    s.median = middle_of(values, n);
    s.stddev = n > 1 ? NORMAL_OF_MAD * middle_deviation(values, n, s.median) : 0;
    double half = 1.96 * sqrt((double)n) / 2;
    double low = floor((double)n / 2 - half);
    double high = ceil((double)n / 2 + half);
    s.low = n < 6 || low < 1 ? values[0] : values[(size_t)low - 1];
    s.high = n < 6 || high >= (double)n ? values[n - 1] : values[(size_t)high];
    return s;
}

bool galv_patience_ends(const galv_patience *patience,
                        const galv_statistics *statistics, double spent_s)
{
    if (statistics->n >= patience->n_most) {
        return true;
    }
    if (statistics->n < patience->n_least) {
        return false;
    }
    double half = (statistics->high - statistics->low) / 2;
    return half <= patience->width_frac * statistics->median ||
           spent_s >= patience->most_s;
}

double galv_measure_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
