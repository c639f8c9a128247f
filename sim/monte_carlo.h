/* One iteration of every rank, drawn many times. */
#ifndef GALV_SIM_MONTE_CARLO_H
#define GALV_SIM_MONTE_CARLO_H

#include "sim/all_ranks.h"

#include <stdatomic.h>

/* All that a simulation of every rank is made from; see galv_all_ranks_simulate. */
typedef struct galv_unfolded {
    const galv_program *program;
    const galv_cost *costs;
    const galv_stage_memory *base;
    const galv_meeting *meetings;
    int32_t ranks_per_stage;
    const galv_network *network; /* NULL: not shared */
    const galv_differences *differences;
} galv_unfolded;

/* Iteration times of many runs. */
typedef struct galv_spread {
    int32_t n_runs;   /* 0: not drawn */
    int32_t n_wanted; /* more than n_runs where it was interrupted */
    double mean_s;
    double sd_s; /* of the runs, n - 1 in the denominator; 0 for one run */
    double least_s, p50_s, p95_s, p99_s, most_s; /* quantiles interpolate linearly */
    int32_t median_run; /* the run whose time is the lower median */
} galv_spread;

#define GALV_MOST_RUNS 1000000

/* Simulates runs 0 .. n_runs - 1 on n_jobs threads; the same bits for any n_jobs, since
 * a run depends on (seed, run) alone. Where `cancel` (NULL = never) becomes true no run
 * is begun any more, and the spread is of those that were, at least one. 1 <= n_runs <=
 * GALV_MOST_RUNS. Errors: as galv_all_ranks_simulate. */
galv_status galv_monte_carlo(galv_spread *spread, const galv_unfolded *unfolded,
                             int32_t n_runs, int n_jobs, const atomic_bool *cancel,
                             galv_err *err);

/* The q-quantile (0..1) of sorted[n], n >= 1: between order statistics linearly.
 * Source: Hyndman and Fan 1996, type 7. */
double galv_quantile(const double *sorted, size_t n, double q);

#endif
