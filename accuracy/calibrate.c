/* The fit.
 *
 * For the runs i of a stack, with knobs x:   e_i = ln(measured_i / predicted_i(x)).
 * What built-in factors miss of a run is in part the stack's (its kernels, hosts,
 * network: the knobs) and in part that run's own (what the model gets wrong about its
 * shapes and its plan). Of a single run nobody can tell which; but it is known how much
 * either varies (accuracy/spread.h): the middle runs of validated sources lie about tau
 * from 0, the runs of one source about sigma from its middle. So of one run about
 * tau^2 / (tau^2 + sigma^2) is taken to be the stack's, and of n that agree
 * n tau^2 / (n tau^2 + sigma^2); accuracy/shrinkage.h has the estimator.
 *
 * The knobs' own spreads (accuracy/factors.h) say which of them are likely to have
 * moved; together they are scaled so that what they do to these runs is tau. Where
 * nothing of a stack's software, generation and precision was ever validated, they are
 * taken as they are, which believes one run nearly all.
 *
 * s_i: sigma and the run's noise, in quadrature; w_i: a source of many runs counts for
 * at most 12. Where a stack has runs of several sources, each may be off as a whole by
 * tau (another cluster, container, day), found along with x.
 *
 * What the fit is for decides how much is believed (calibrate.h). For the plan that was
 * measured and its neighbours what is wrong about its shapes is wanted too: sigma is
 * 2.5 %, what runs of one plan scatter by, and the knobs are as wide as they go. For
 * stacks that are none of these, which is how factors are judged with a source left
 * out, the same, with every source off by its own.
 *
 * Predictions are nearly straight in x (accuracy/sensitivity.h), so a few rounds of
 * predicting, solving and predicting again settle it, but for the pace of a host that
 * hardly shows, whose effect grows as it does; derivatives are made anew after long
 * steps, and a knob that goes to and fro takes a part of its steps. Left out: memory
 * (measured peaks could fit "activation_stack"), and what a timeline tells beyond its
 * length. */
#include "accuracy/calibrate.h"

#include "accuracy/shrinkage.h"
#include "accuracy/spread.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_NOISE  0.025
#define MAX_ROUNDS   60
#define LEAST_SHARE  0.125 /* of a step, for a knob that goes to and fro */
#define MAX_STEP     0.5   /* of a knob in one round */
#define BENT_STEP    0.02  /* after which derivatives are no longer those of before */
#define SETTLED_STEP 1e-3  /* what moved by less did not move */
#define NORMAL_95    1.6448536269514722

/* ---- a fit in work ---- */

typedef struct fitting {
    galv_calibrated_run *runs; /* all */
    size_t *of_stack;          /* [n] indices of this stack's runs */
    const galv_measured_run **stack_runs;
    galv_stack stack;
    double x[GALV_N_KNOBS];
    double sd[GALV_N_KNOBS]; /* of x, after the fit */
    double prior[GALV_N_KNOBS];
    double most[GALV_N_KNOBS];  /* x that a knob can reach */
    double step[GALV_N_KNOBS];  /* the last one of x */
    double share[GALV_N_KNOBS]; /* of a step that is taken */
    double *log_s;              /* [n] */
    double *jacobian;           /* [n * GALV_N_KNOBS] */
    double *y;                  /* [n] */
    double *scale;              /* [n] */
    double *weight;             /* [n] */
    size_t *group;              /* [n] */
    size_t n_groups;
    galv_err *why_not; /* [n] */
    const galv_profile *base;
    const galv_residuals *residuals;
    galv_calibration_for purpose;
    int n_jobs;
} fitting;

static const galv_measured_run *run_of(const fitting *f, size_t i)
{
    return f->runs[f->of_stack[i]].run;
}

static bool same_source(const galv_measured_run *a, const galv_measured_run *b)
{
    return a->source == NULL || b->source == NULL ? a->source == b->source
                                                  : strcmp(a->source, b->source) == 0;
}

/* Weights, and a number for each source. */
static void weigh(fitting *f)
{
    f->n_groups = 0;
    for (size_t i = 0; i < f->stack.n; i++) {
        double same = 0;
        size_t first = i;
        for (size_t j = 0; j < f->stack.n; j++) {
            bool alike = same_source(run_of(f, i), run_of(f, j));
            same += alike;
            first = alike && j < first ? j : first;
        }
        f->weight[i] = fmin(same, GALV_SOURCE_RUNS) / same;
        f->group[i] = first == i ? f->n_groups++ : f->group[first];
    }
}

static galv_status find_spread(galv_residual_spread *spread, const fitting *f,
                               galv_err *err)
{
    const char **sources = calloc(f->stack.n + 1, sizeof *sources);
    if (sources == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu runs", f->stack.n);
    }
    for (size_t i = 0; i < f->stack.n; i++) {
        sources[i] = run_of(f, i)->source;
    }
    galv_status status =
        galv_residual_spread_find(spread, f->residuals, sources, f->stack.n, err);
    free(sources);
    return status;
}

static galv_shrinkage problem_of(const fitting *f, double between)
{
    return (galv_shrinkage){
        .n = f->stack.n,
        .n_factors = GALV_N_KNOBS,
        .n_groups = f->n_groups > 1 || f->purpose == GALV_FOR_OTHERS ? f->n_groups : 0,
        .y = f->y,
        .jacobian = f->jacobian,
        .scale = f->scale,
        .weight = f->weight,
        .group = f->group,
        .factor_sd = f->prior,
        .factor_most = f->most,
        .group_sd = between,
    };
}

/* How far the knobs are expected to lie from 0, given their effect on these runs. */
static void set_prior(galv_stack_fit *fit, fitting *f, double between)
{
    galv_run_kind kind;
    const galv_measured_run *first = run_of(f, 0);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        f->prior[k] = galv_knobs[k].sd;
    }
    galv_run_kind_init(&kind, first->job, first->plan, NULL);
    bool narrow =
        f->purpose == GALV_FOR_STACK && galv_residual_spread_knows(f->residuals, &kind);
    galv_shrinkage problem = problem_of(f, between);
    fit->between_frac =
        galv_shrinkage_narrow(f->prior, &problem, narrow ? between : HUGE_VAL);
}

/* One round: predictions at x, and the knobs that suit them. `largest`: the largest
 * step of the round before, and of this one. */
static galv_status next_round(double *largest, galv_stack_fit *fit, fitting *f,
                              const galv_residual_spread *spread, int round,
                              galv_err *err)
{
    double x[GALV_N_KNOBS];
    galv_status status =
        galv_sensitivities(f->log_s, *largest > BENT_STEP ? f->jacobian : NULL, NULL,
                           &f->stack, f->x, f->n_jobs, err);
    if (status != GALV_OK) {
        return status;
    }
    for (size_t i = 0; i < f->stack.n; i++) {
        f->y[i] = log(run_of(f, i)->iteration_time_s) - f->log_s[i];
        for (int k = 0; k < GALV_N_KNOBS; k++) {
            f->y[i] += f->jacobian[i * GALV_N_KNOBS + (size_t)k] * f->x[k];
        }
    }
    if (round == 0) {
        set_prior(fit, f, spread->between);
    }
    galv_shrinkage problem = problem_of(f, spread->between);
    status = galv_shrinkage_solve(x, f->sd, &problem, err);
    *largest = 0;
    for (int k = 0; k < GALV_N_KNOBS && status == GALV_OK; k++) {
        double whole = fmax(-MAX_STEP, fmin(MAX_STEP, x[k] - f->x[k]));
        bool back = whole * f->step[k] < 0;
        f->share[k] = round == 0 ? 1
                      : back     ? fmax(LEAST_SHARE, f->share[k] / 2)
                                 : fmin(1, f->share[k] * 1.2);
        f->step[k] = f->share[k] * whole;
        f->x[k] += f->step[k];
        *largest = fmax(*largest, fabs(f->step[k]));
    }
    return status;
}

static galv_status fit_knobs(galv_stack_fit *fit, fitting *f, galv_err *err)
{
    galv_residual_spread spread;
    double largest = 1;
    galv_status status = find_spread(&spread, f, err);
    if (status != GALV_OK) {
        return status;
    }
    fit->within_frac = f->purpose == GALV_FOR_STACK ? spread.within : LEAST_NOISE;
    for (size_t i = 0; i < f->stack.n; i++) {
        double noise = run_of(f, i)->noise_frac;
        f->scale[i] = f->purpose == GALV_FOR_STACK ? hypot(fit->within_frac, noise)
                                                   : fmax(fit->within_frac, noise);
    }
    weigh(f);
    for (int round = 0; round < MAX_ROUNDS && largest > SETTLED_STEP; round++) {
        status = next_round(&largest, fit, f, &spread, round, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    return largest > BENT_STEP
               ? galv_fail(err, GALV_UNAVAILABLE,
                           "a fit to %zu runs has not settled after %d rounds",
                           f->stack.n, MAX_ROUNDS)
               : GALV_OK;
}

/* ---- a stack ---- */

static bool same_stack(const galv_measured_run *a, const galv_measured_run *b)
{
    return strcmp(a->job->cluster.pools[0].device.id,
                  b->job->cluster.pools[0].device.id) == 0 &&
           a->job->workload.precision == b->job->workload.precision;
}

static void keep_knobs(galv_stack_fit *fit, const fitting *f)
{
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        galv_fitted_knob *knob = &fit->knobs[k];
        knob->sd = f->sd[k];
        knob->informed = knob->sd < 0.9 * f->prior[k];
        knob->x = fabs(f->x[k]) < SETTLED_STEP ? 0 : f->x[k];
        for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
            double at_zero = f->stack.zeros.value[k][i];
            double reach = NORMAL_95 * knob->sd;
            knob->builtin[i] = at_zero;
            knob->value[i] = galv_knob_value((galv_knob)k, at_zero, knob->x);
            knob->low[i] = galv_knob_value((galv_knob)k, at_zero, knob->x - reach);
            knob->high[i] = galv_knob_value((galv_knob)k, at_zero, knob->x + reach);
        }
    }
}

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sizes[n], which get sorted. */
static double middle_of(double *sizes, size_t n)
{
    qsort(sizes, n, sizeof *sizes, compare_f64);
    return (sizes[n / 2] + sizes[(n - 1) / 2]) / 2;
}

static void sum_stack(galv_stack_fit *fit, const fitting *f)
{
    double n = (double)f->stack.n;
    double *before = f->y; /* no longer needed */
    double *after = f->log_s;
    fit->n_runs = f->stack.n;
    for (size_t i = 0; i < f->stack.n; i++) {
        const galv_calibrated_run *run = &f->runs[f->of_stack[i]];
        before[i] = run->before_s / run->run->iteration_time_s - 1;
        after[i] = run->after_s / run->run->iteration_time_s - 1;
        fit->bias_before_frac += before[i] / n;
        fit->bias_after_frac += after[i] / n;
        before[i] = fabs(before[i]);
        after[i] = fabs(after[i]);
        fit->mape_before_frac += before[i] / n;
        fit->mape_after_frac += after[i] / n;
    }
    fit->median_before_frac = middle_of(before, f->stack.n);
    fit->median_after_frac = middle_of(after, f->stack.n);
}

/* Takes out the runs that cannot be predicted. */
static galv_status first_look(fitting *f, galv_err *err)
{
    galv_status status =
        galv_sensitivities(f->log_s, NULL, f->why_not, &f->stack, f->x, f->n_jobs, err);
    size_t n = 0;
    for (size_t i = 0; i < f->stack.n && status == GALV_OK; i++) {
        galv_calibrated_run *run = &f->runs[f->of_stack[i]];
        run->status = f->why_not[i].status;
        snprintf(run->why_not, sizeof run->why_not, "%.150s", f->why_not[i].message);
        if (run->status == GALV_OK) {
            run->before_s = exp(f->log_s[i]);
            f->stack_runs[n] = f->stack_runs[i];
            f->of_stack[n++] = f->of_stack[i];
        }
    }
    f->stack.n = n;
    return status;
}

static galv_status fit_stack(galv_stack_fit *fit, fitting *f, size_t n, galv_err *err)
{
    for (size_t i = 0; i < n; i++) {
        f->stack_runs[i] = run_of(f, i);
    }
    galv_stack_init(&f->stack, f->base, f->stack_runs, n);
    fit->device = f->stack.device;
    fit->workload = f->stack.workload;
    memset(f->x, 0, sizeof f->x);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        f->sd[k] = f->prior[k] = galv_knobs[k].sd;
        f->most[k] = galv_knob_most_x((galv_knob)k, f->stack.zeros.value[k][0]);
    }
    galv_status status = first_look(f, err);
    if (status != GALV_OK || f->stack.n == 0) {
        keep_knobs(fit, f);
        return status;
    }
    status = fit_knobs(fit, f, err);
    if (status != GALV_OK) {
        return status;
    }
    keep_knobs(fit, f);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        f->x[k] = fit->knobs[k].x;
    }
    status = galv_sensitivities(f->log_s, NULL, NULL, &f->stack, f->x, f->n_jobs, err);
    for (size_t i = 0; i < f->stack.n; i++) {
        f->runs[f->of_stack[i]].after_s = exp(f->log_s[i]);
    }
    sum_stack(fit, f);
    return status;
}

/* ---- all stacks ---- */

static galv_status sort_stacks(galv_calibration *c, galv_err *err)
{
    for (size_t i = 0; i < c->n_runs; i++) {
        size_t k = 0;
        while (k < i && !same_stack(c->runs[k].run, c->runs[i].run)) {
            k++;
        }
        const galv_workload *a = &c->runs[k].run->job->workload;
        const galv_workload *b = &c->runs[i].run->job->workload;
        if (a->software != b->software) {
            galv_fail(err, GALV_INPUT,
                      "%s in %s was run with %s and with %s: one profile cannot hold "
                      "for both",
                      c->runs[i].run->job->cluster.pools[0].device.id,
                      galv_precision_names[a->precision],
                      galv_software_names[a->software],
                      galv_software_names[b->software]);
            galv_hint(err, "choose one with --software");
            return GALV_INPUT;
        }
        c->runs[i].stack = k == i ? c->n_stacks++ : c->runs[k].stack;
    }
    return GALV_OK;
}

static bool make_room(fitting *f, galv_calibration *c, galv_arena *arena)
{
    size_t n = c->n_runs;
    c->stacks = GALV_NEW_ARRAY(arena, galv_stack_fit, c->n_stacks);
    f->of_stack = GALV_NEW_ARRAY(arena, size_t, n);
    f->stack_runs = GALV_NEW_ARRAY(arena, const galv_measured_run *, n);
    f->log_s = GALV_NEW_ARRAY(arena, double, n);
    f->jacobian = GALV_NEW_ARRAY(arena, double, n *GALV_N_KNOBS);
    f->y = GALV_NEW_ARRAY(arena, double, n);
    f->scale = GALV_NEW_ARRAY(arena, double, n);
    f->weight = GALV_NEW_ARRAY(arena, double, n);
    f->group = GALV_NEW_ARRAY(arena, size_t, n);
    f->why_not = GALV_NEW_ARRAY(arena, galv_err, n);
    return c->stacks != NULL && f->of_stack != NULL && f->stack_runs != NULL &&
           f->log_s != NULL && f->jacobian != NULL && f->y != NULL &&
           f->scale != NULL && f->weight != NULL && f->group != NULL &&
           f->why_not != NULL;
}

galv_status galv_calibrate(galv_calibration *calibration, const galv_measured_run *runs,
                           size_t n_runs, const galv_profile *base,
                           galv_calibration_for purpose, int n_jobs, galv_arena *arena,
                           galv_err *err)
{
    galv_calibration c = {0, NULL, n_runs, NULL};
    if (n_runs == 0) {
        return galv_fail(err, GALV_INPUT, "no measured iteration to calibrate on");
    }
    c.runs = GALV_NEW_ARRAY(arena, galv_calibrated_run, n_runs);
    for (size_t i = 0; i < n_runs && c.runs != NULL; i++) {
        c.runs[i].run = &runs[i];
        c.runs[i].before_s = c.runs[i].after_s = (double)NAN;
    }
    galv_residuals residuals = {0, NULL};
    fitting f = {.runs = c.runs,
                 .base = base,
                 .residuals = &residuals,
                 .purpose = purpose,
                 .n_jobs = n_jobs};
    galv_status status = c.runs == NULL ? GALV_OK : sort_stacks(&c, err);
    if (status == GALV_OK) {
        status = galv_residuals_builtin(&residuals, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (c.runs == NULL || !make_room(&f, &c, arena)) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu runs", n_runs);
    }
    size_t n_predicted = 0;
    for (size_t s = 0; s < c.n_stacks && status == GALV_OK; s++) {
        size_t n = 0;
        for (size_t i = 0; i < n_runs; i++) {
            if (c.runs[i].stack == s) {
                f.of_stack[n++] = i;
            }
        }
        status = fit_stack(&c.stacks[s], &f, n, err);
        n_predicted += c.stacks[s].n_runs;
    }
    if (status == GALV_OK && n_predicted == 0) {
        return galv_fail(err, GALV_INPUT, "no run can be predicted: %s",
                         c.runs[0].why_not);
    }
    if (status == GALV_OK) {
        *calibration = c;
    }
    return status;
}
