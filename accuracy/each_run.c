/* Each run in turn, by the estimator of calibrate.c.
 *
 * The derivatives of a stack's predictions are made once; after that a calibration is a
 * small system of equations, so that all of them together cost no more than one fit. */
#include "accuracy/each_run.h"

#include "accuracy/shrinkage.h"
#include "accuracy/spread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIN_RUNS 4
#define HARM     0.01 /* of the others' error: what is more is counted as harm */

typedef struct each {
    size_t n;
    const galv_measured_run **runs; /* [n] */
    double *log_s;
    double *jacobian; /* [n * GALV_N_KNOBS] */
    double *y;
    double *scale;
    double *weight;
    double between;
    double most[GALV_N_KNOBS]; /* x that a knob can reach */
    bool narrow;
} each;

static const char *source_of(const galv_measured_run *run)
{
    return run->source != NULL ? run->source : "";
}

static bool same_stack(const galv_measured_run *a, const galv_measured_run *b)
{
    const galv_workload *v = &a->job->workload;
    const galv_workload *w = &b->job->workload;
    return v->precision == w->precision && v->software == w->software &&
           strcmp(source_of(a), source_of(b)) == 0 &&
           strcmp(a->job->cluster.pools[0].device.id,
                  b->job->cluster.pools[0].device.id) == 0;
}

/* Calibrates on n runs from `first`. */
static galv_status solve(double *x, const each *e, size_t first, size_t n,
                         galv_err *err)
{
    double prior[GALV_N_KNOBS];
    galv_shrinkage problem = {.n = n,
                              .n_factors = GALV_N_KNOBS,
                              .y = e->y + first,
                              .jacobian = e->jacobian + first * GALV_N_KNOBS,
                              .scale = e->scale + first,
                              .weight = e->weight + first,
                              .factor_sd = prior,
                              .factor_most = e->most,
                              .group_sd = e->between};
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        prior[k] = galv_knobs[k].sd;
    }
    galv_shrinkage_narrow(prior, &problem, e->narrow ? e->between : HUGE_VAL);
    return galv_shrinkage_solve(x, NULL, &problem, err);
}

/* Size of the error of run i with the knobs at x (NULL: 0). */
static double error_of(const each *e, size_t i, const double *x)
{
    double left = e->y[i];
    for (int k = 0; k < GALV_N_KNOBS && x != NULL; k++) {
        left -= e->jacobian[i * GALV_N_KNOBS + (size_t)k] * x[k];
    }
    return fabs(expm1(-left));
}

static void swap_rows(each *e, size_t a, size_t b)
{
    double y = e->y[a];
    double scale = e->scale[a];
    e->y[a] = e->y[b];
    e->y[b] = y;
    e->scale[a] = e->scale[b];
    e->scale[b] = scale;
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        double *j = e->jacobian + k;
        double old = j[a * GALV_N_KNOBS];
        j[a * GALV_N_KNOBS] = j[b * GALV_N_KNOBS];
        j[b * GALV_N_KNOBS] = old;
    }
}

/* Calibrates on run i alone. */
static galv_status try_one(galv_each_run *out, const each *e, size_t i, galv_err *err)
{
    double x[GALV_N_KNOBS];
    double before = 0;
    double after = 0;
    galv_status status = solve(x, e, i, 1, err);
    for (size_t j = 0; j < e->n && status == GALV_OK; j++) {
        if (j != i) {
            before += error_of(e, j, NULL) / (double)(e->n - 1);
            after += error_of(e, j, x) / (double)(e->n - 1);
        }
    }
    out->before_frac += before / (double)e->n;
    out->one_frac += after / (double)e->n;
    out->worst_frac = fmax(out->worst_frac, after);
    out->n_harmed += after > before + HARM;
    return status;
}

/* Calibrates on all but run i, which goes to the front for it. */
static galv_status try_rest(galv_each_run *out, each *e, size_t i, galv_err *err)
{
    double x[GALV_N_KNOBS];
    swap_rows(e, 0, i);
    galv_status status = solve(x, e, 1, e->n - 1, err);
    if (status == GALV_OK) {
        out->rest_frac += error_of(e, 0, x) / (double)e->n;
    }
    swap_rows(e, 0, i);
    return status;
}

/* The runs of one stack that can be predicted. */
static galv_status look_at(each *e, const galv_profile *base,
                           const galv_residuals *residuals, int n_jobs, galv_err *err)
{
    galv_stack stack;
    galv_run_kind kind;
    galv_residual_spread spread;
    const double zero[GALV_N_KNOBS] = {0};
    const char *source = e->runs[0]->source;
    size_t n = 0;
    galv_stack_init(&stack, base, e->runs, e->n);
    galv_status status =
        galv_sensitivities(e->log_s, e->jacobian, NULL, &stack, zero, n_jobs, err);
    if (status == GALV_OK) {
        status = galv_residual_spread_find(&spread, residuals, &source, 1, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_run_kind_init(&kind, e->runs[0]->job, e->runs[0]->plan, NULL);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        e->most[k] = galv_knob_most_x((galv_knob)k, stack.zeros.value[k][0]);
    }
    e->between = spread.between;
    e->narrow = galv_residual_spread_knows(residuals, &kind);
    for (size_t i = 0; i < e->n; i++) {
        if (isfinite(e->log_s[i])) {
            memmove(&e->jacobian[n * GALV_N_KNOBS], &e->jacobian[i * GALV_N_KNOBS],
                    GALV_N_KNOBS * sizeof *e->jacobian);
            e->y[n] = log(e->runs[i]->iteration_time_s) - e->log_s[i];
            e->scale[n++] = hypot(spread.within, e->runs[i]->noise_frac);
        }
    }
    e->n = n;
    for (size_t i = 0; i < n; i++) {
        e->weight[i] = fmin((double)n, GALV_SOURCE_RUNS) / (double)n;
    }
    return GALV_OK;
}

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Mean size of the errors about the middle one; e->log_s, no longer needed, is room. */
static double scatter(const each *e)
{
    double *sorted = e->log_s;
    double sum = 0;
    memcpy(sorted, e->y, e->n * sizeof *sorted);
    qsort(sorted, e->n, sizeof *sorted, compare_f64);
    double middle = (sorted[e->n / 2] + sorted[(e->n - 1) / 2]) / 2;
    for (size_t i = 0; i < e->n; i++) {
        sum += fabs(expm1(middle - e->y[i]));
    }
    return sum / (double)e->n;
}

static galv_status try_all(galv_each_run *out, each *e, galv_err *err)
{
    galv_status status = GALV_OK;
    out->n_runs = e->n;
    out->scatter_frac = scatter(e);
    for (size_t i = 0; i < e->n && status == GALV_OK; i++) {
        status = try_rest(out, e, i, err);
    }
    for (size_t i = 0; i < e->n; i++) {
        e->weight[i] = 1;
    }
    for (size_t i = 0; i < e->n && status == GALV_OK; i++) {
        status = try_one(out, e, i, err);
    }
    return status;
}

static bool make_room(each *e, size_t n, galv_arena *arena)
{
    e->runs = GALV_NEW_ARRAY(arena, const galv_measured_run *, n);
    e->log_s = GALV_NEW_ARRAY(arena, double, n);
    e->jacobian = GALV_NEW_ARRAY(arena, double, n *GALV_N_KNOBS);
    e->y = GALV_NEW_ARRAY(arena, double, n);
    e->scale = GALV_NEW_ARRAY(arena, double, n);
    e->weight = GALV_NEW_ARRAY(arena, double, n);
    return e->runs != NULL && e->log_s != NULL && e->jacobian != NULL && e->y != NULL &&
           e->scale != NULL && e->weight != NULL;
}

/* Is run i the first of its stack? Then collects the stack. */
static bool begin_stack(each *e, const galv_measured_run *runs, size_t n_runs, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (same_stack(&runs[j], &runs[i])) {
            return false;
        }
    }
    e->n = 0;
    for (size_t j = i; j < n_runs; j++) {
        if (same_stack(&runs[j], &runs[i])) {
            e->runs[e->n++] = &runs[j];
        }
    }
    return e->n >= MIN_RUNS;
}

galv_status galv_calibrate_each_run(galv_each_run **stacks, size_t *n_stacks,
                                    const galv_measured_run *runs, size_t n_runs,
                                    const galv_profile *base, int n_jobs,
                                    galv_arena *arena, galv_err *err)
{
    each e = {0};
    galv_residuals residuals;
    size_t n = 0;
    galv_each_run *made = GALV_NEW_ARRAY(arena, galv_each_run, n_runs + 1);
    galv_status status = galv_residuals_builtin(&residuals, arena, err);
    if (status == GALV_OK && (made == NULL || !make_room(&e, n_runs + 1, arena))) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for %zu runs", n_runs);
    }
    for (size_t i = 0; i < n_runs && status == GALV_OK; i++) {
        if (!begin_stack(&e, runs, n_runs, i)) {
            continue;
        }
        status = look_at(&e, base, &residuals, n_jobs, err);
        if (status == GALV_OK && e.n >= MIN_RUNS) {
            const galv_job *job = runs[i].job;
            made[n] = (galv_each_run){.source = source_of(&runs[i]),
                                      .device = &job->cluster.pools[0].device,
                                      .workload = &job->workload};
            status = try_all(&made[n++], &e, err);
        }
    }
    if (status == GALV_OK && n == 0) {
        galv_fail(err, GALV_INPUT, "no stack has %d runs to try one on the others",
                  MIN_RUNS);
        return GALV_INPUT;
    }
    if (status == GALV_OK) {
        *stacks = made;
        *n_stacks = n;
    }
    return status;
}
