/* Statistics of repeated measurements, robust against a machine that has other things
 * to do: the median, its interval, and a spread made of deviations from the median. */
#ifndef GALV_EXEC_MEASURE_H
#define GALV_EXEC_MEASURE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct galv_statistics {
    size_t n;
    double least;
    double median;
    double stddev;    /* 1.4826 times the median deviation from the median, which is the
                         standard deviation of a normal distribution; 0 for one value */
    double low, high; /* holds the median of what was sampled 95 times of 100; the least
                         and the largest value where there are fewer than 6 */
} galv_statistics;

/* Of values[n], n > 0, which are sorted by it. O(n log n). Sources: Hampel 1974 (the
 * influence curve, MAD); David and Nagaraja, Order Statistics, section 7.1 (interval of
 * the median between order statistics). */
galv_statistics galv_statistics_of(double *values, size_t n);

/* When to stop measuring one thing. */
typedef struct galv_patience {
    size_t n_warm_up; /* not counted */
    size_t n_least;   /* samples */
    size_t n_most;
    double width_frac; /* half the interval over the median that is small enough */
    double most_s;     /* of all samples of one thing */
} galv_patience;

#define GALV_PATIENCE_INIT    \
    {                         \
        2, 10, 200, 0.01, 1.0 \
    }

/* Enough after these samples, which took `spent_s`? */
bool galv_patience_ends(const galv_patience *patience,
                        const galv_statistics *statistics, double spent_s);

/* Seconds on a clock that never goes back. */
double galv_measure_now_s(void);

#endif
