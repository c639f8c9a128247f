/* Runs side by side, each in the arena of its thread, reduced in order.
 *
 * What is drawn anew in each run is the jitter of every operation and which ranks a
 * share of stragglers falls on. Named stragglers and slow links stay. */
#include "sim/monte_carlo.h"

#include "base/parallel.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

typedef struct drawn_run {
    double time_s; /* 0 = not begun */
    galv_err err;
} drawn_run;

typedef struct campaign {
    const galv_unfolded *unfolded;
    drawn_run *runs;
    galv_arena **arenas; /* by worker */
    const atomic_bool *cancel;
} campaign;

static void simulate_run(void *context, size_t item, int worker)
{
    campaign *c = context;
    drawn_run *run = &c->runs[item];
    galv_arena *arena = c->arenas[worker];
    const galv_unfolded *u = c->unfolded;
    if (item > 0 && c->cancel != NULL && atomic_load(c->cancel)) {
        return;
    }
    galv_all_ranks_result result = {0};
    galv_all_ranks_options options = GALV_ALL_RANKS_OPTIONS_INIT;
    options.differences = u->differences;
    options.run = (uint32_t)item;
    options.network = u->network;
    galv_arena_reset(arena);
    if (galv_all_ranks_simulate(&result, u->program, u->costs, u->base, u->meetings,
                                u->ranks_per_stage, &options, arena,
                                &run->err) == GALV_OK) {
        run->time_s = result.sim.iteration_time_s;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double galv_quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t below = (size_t)at;
    if (below + 1 >= n) {
        return sorted[n - 1];
    }
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

static galv_spread sum_up(const drawn_run *runs, double *sorted, int32_t n_wanted)
{
    galv_spread spread = {.n_wanted = n_wanted};
    for (int32_t i = 0; i < n_wanted; i++) {
        if (runs[i].time_s > 0) {
            sorted[spread.n_runs++] = runs[i].time_s;
        }
    }
    int32_t n_runs = spread.n_runs;
    for (int32_t i = 0; i < n_runs; i++) {
        spread.mean_s += sorted[i] / n_runs;
    }
    double squares = 0;
    for (int32_t i = 0; i < n_runs; i++) {
        double away = sorted[i] - spread.mean_s;
        squares += away * away;
    }
    spread.sd_s = n_runs > 1 ? sqrt(squares / (n_runs - 1)) : 0;
    size_t n = (size_t)n_runs;
    qsort(sorted, n, sizeof *sorted, compare_doubles);
    spread.least_s = sorted[0];
    spread.most_s = sorted[n - 1];
    spread.p50_s = galv_quantile(sorted, n, 0.50);
    spread.p95_s = galv_quantile(sorted, n, 0.95);
    spread.p99_s = galv_quantile(sorted, n, 0.99);
    while (runs[spread.median_run].time_s < sorted[(n - 1) / 2] ||
           runs[spread.median_run].time_s > sorted[(n - 1) / 2]) {
        spread.median_run++;
    }
    return spread;
}

galv_status galv_monte_carlo(galv_spread *spread, const galv_unfolded *unfolded,
                             int32_t n_runs, int n_jobs, const atomic_bool *cancel,
                             galv_err *err)
{
    assert(n_runs >= 1 && n_runs <= GALV_MOST_RUNS);
    n_jobs = n_jobs < n_runs ? n_jobs : n_runs;
    campaign c = {unfolded, calloc((size_t)n_runs, sizeof *c.runs),
                  calloc((size_t)n_jobs, sizeof(galv_arena *)), cancel};
    double *sorted = calloc((size_t)n_runs, sizeof *sorted);
    bool made = c.runs != NULL && c.arenas != NULL && sorted != NULL;
    for (int i = 0; i < n_jobs && made; i++) {
        c.arenas[i] = galv_arena_new();
        made = c.arenas[i] != NULL;
    }
    galv_status status = GALV_OK;
    if (!made) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for %d runs", (int)n_runs);
    } else {
        status = galv_parallel_for(n_jobs, (size_t)n_runs, simulate_run, &c, err);
    }
    for (int32_t i = 0; i < n_runs && status == GALV_OK; i++) {
        status = c.runs[i].err.status;
        if (status != GALV_OK) {
            *err = c.runs[i].err;
        }
    }
    if (status == GALV_OK) {
        *spread = sum_up(c.runs, sorted, n_runs);
    }
    for (int i = 0; c.arenas != NULL && i < n_jobs; i++) {
        galv_arena_free(c.arenas[i]);
    }
    free(c.arenas);
    free(c.runs);
    free(sorted);
    return status;
}
