/* The fit.
 *
 * For the runs i of a stack, with knobs x:   e_i = ln(measured_i / predicted_i(x)).
 * Sought is the x that makes least
 *
 *   sum_i w_i rho(e_i / s_i) + sum_k (x_k / sd_k)^2
 *
 * Where a stack has runs of several sources, each source may be off as a whole (another
 * cluster, container, day): e_i - u of its source takes the place of e_i, and u, with a
 * standard deviation of 5 % about 0, is found along with x. With one source u is 0,
 * unless the factors are wanted for a stack that is none of them.
 *
 * s_i: the run's noise, at least 2.5 % (what the model misses of single runs of a
 * stack that was calibrated, in the mean); rho: Huber's, so
 * that a run of another mind pulls, but not harder the farther it is; w_i: a source of
 * many runs counts for at most 12; the last term is what is known of the knobs before
 * (accuracy/factors.h). So one run moves the knobs that explain most of it, a little
 * each, and many runs tell them apart.
 *
 * Gauss-Newton with Levenberg's damping; derivatives by differences of 0.02 in x, made
 * anew every fourth step, over runs and knobs in parallel: each is one evaluation. The
 * intervals are those of the linear model at the end, 1.645 sqrt(diag((J'WJ +
 * 1/sd^2)^-1)), widened where the runs scatter by more than s.
 *
 * Left out: memory (measured peaks could fit "activation_stack"), and what a timeline
 * tells beyond its length. */
#include "accuracy/calibrate.h"

#include "base/parallel.h"
#include "sim/evaluate.h"

#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_NOISE    0.025
#define HUBER          2.0
#define SOURCE_RUNS    12.0
#define SOURCE_SD      0.05
#define STEP_X         0.02
#define MAX_ITERATIONS 10
#define NORMAL_95      1.6448536269514722

/* ---- predictions ---- */

/* One stack's fit in work. Columns of `log_s`: 0 the prediction at x, 1 + k the one
 * with knob k moved. */
typedef struct fitting {
    const galv_profile *base;
    galv_calibrated_run *runs; /* all */
    size_t *of_stack;          /* [n] indices of this stack's runs */
    size_t n;
    int n_columns;
    int knobs[GALV_N_KNOBS]; /* those that are fitted */
    int n_knobs;
    double x[GALV_N_KNOBS];
    const galv_device *device;
    const galv_workload *workload;
    galv_knob_zeros zeros;
    double *log_s;  /* [n * (1 + GALV_N_KNOBS)] */
    double *e;      /* [n] */
    double *w;      /* [n] weight by source */
    double *u;      /* [n] what the run's source is off by, as a whole */
    size_t *source; /* [n] index of the first run of its source */
    bool many;      /* sources */
    bool foreign;
    double *jacobian;
    int n_jobs;
} fitting;

static galv_status copy_profile(galv_profile *to, const galv_profile *from,
                                galv_err *err)
{
    galv_status status = GALV_OK;
    for (size_t i = 0; from != NULL && i < from->n_rows && status == GALV_OK; i++) {
        status = galv_profile_add(to, &from->rows[i], err);
    }
    return status;
}

/* Seconds of a run with the knobs at x. */
static galv_status predict_run(double *seconds, const galv_measured_run *run,
                               const fitting *f, const double *x, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    galv_profile *profile = galv_profile_new();
    galv_costmodel *model = NULL;
    galv_result result;
    const galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_status status = arena == NULL || profile == NULL
                             ? galv_fail(err, GALV_NO_MEMORY, "no memory for a run")
                             : copy_profile(profile, f->base, err);
    if (status == GALV_OK) {
        status = galv_knobs_to_profile(profile, x, &f->zeros, f->device,
                                       f->workload->precision, "", err);
    }
    if (status == GALV_OK) {
        status = galv_costmodel_new(&model, run->job, profile, err);
    }
    if (status == GALV_OK) {
        status = galv_evaluate(&result, model, run->plan, &options, arena, err);
    }
    if (status == GALV_OK && !(result.iteration_time_s > 0)) {
        status = galv_fail(err, GALV_INPUT, "predicted to take no time");
    }
    if (status == GALV_OK) {
        *seconds = result.iteration_time_s;
    }
    galv_costmodel_free(model);
    galv_profile_free(profile);
    galv_arena_free(arena);
    return status;
}

static void predict_cell(void *context, size_t item, int worker)
{
    fitting *f = context;
    size_t i = item / (size_t)f->n_columns;
    int column = (int)(item % (size_t)f->n_columns);
    galv_calibrated_run *run = &f->runs[f->of_stack[i]];
    double x[GALV_N_KNOBS];
    double seconds = (double)NAN;
    galv_err err = GALV_ERR_INIT;
    (void)worker;
    memcpy(x, f->x, sizeof x);
    if (column > 0) {
        x[f->knobs[column - 1]] += STEP_X;
    }
    galv_status status = predict_run(&seconds, run->run, f, x, &err);
    if (status != GALV_OK && column == 0) {
        run->status = status;
        snprintf(run->why_not, sizeof run->why_not, "%.150s", err.message);
    }
    f->log_s[i * (size_t)(GALV_N_KNOBS + 1) + (size_t)column] = log(seconds);
}

/* Fills e, and with `derivatives` the Jacobian of the logarithm of the predictions. */
static galv_status predict_all(fitting *f, bool derivatives, galv_err *err)
{
    f->n_columns = derivatives ? 1 + f->n_knobs : 1;
    galv_status status =
        galv_parallel_for(f->n_jobs, f->n * (size_t)f->n_columns, predict_cell, f, err);
    for (size_t i = 0; i < f->n && status == GALV_OK; i++) {
        const double *row = &f->log_s[i * (GALV_N_KNOBS + 1)];
        f->e[i] = log(f->runs[f->of_stack[i]].run->iteration_time_s) - row[0];
        for (int k = 0; k < f->n_knobs && derivatives; k++) {
            f->jacobian[i * GALV_N_KNOBS + (size_t)k] = (row[1 + k] - row[0]) / STEP_X;
        }
    }
    return status;
}

/* ---- least squares ---- */

static double noise_of(const galv_measured_run *run)
{
    return fmax(run->noise_frac, LEAST_NOISE);
}

/* Huber's loss of e / s. */
static double loss(double t)
{
    double size = fabs(t);
    return size <= HUBER ? t * t : HUBER * (2 * size - HUBER);
}

/* Weight of a run in the squares: Huber's, about its source. */
static double pull(const fitting *f, size_t i)
{
    double s = noise_of(f->runs[f->of_stack[i]].run);
    double size = fabs((f->e[i] - f->u[i]) / s);
    return f->w[i] / (s * s) * (size > HUBER ? HUBER / size : 1);
}

/* What each source is off by as a whole, given e: twice, for the weights follow it. */
static void find_sources(const fitting *f)
{
    memset(f->u, 0, f->n * sizeof *f->u);
    for (int pass = 0; pass < 2 && f->many; pass++) {
        for (size_t first = 0; first < f->n; first++) {
            double sum = 1 / (SOURCE_SD * SOURCE_SD);
            double sum_e = 0;
            if (f->source[first] != first) {
                continue;
            }
            for (size_t i = first; i < f->n; i++) {
                if (f->source[i] == first) {
                    sum += pull(f, i);
                    sum_e += pull(f, i) * f->e[i];
                }
            }
            for (size_t i = first; i < f->n; i++) {
                if (f->source[i] == first) {
                    f->u[i] = sum_e / sum;
                }
            }
        }
    }
}

static double objective(const fitting *f)
{
    double sum = 0;
    find_sources(f);
    for (size_t i = 0; i < f->n; i++) {
        double s = noise_of(f->runs[f->of_stack[i]].run);
        sum += f->w[i] * loss((f->e[i] - f->u[i]) / s);
        if (f->source[i] == i) {
            sum += f->u[i] * f->u[i] / (SOURCE_SD * SOURCE_SD);
        }
    }
    for (int k = 0; k < f->n_knobs; k++) {
        double t = f->x[f->knobs[k]] / galv_knobs[f->knobs[k]].sd;
        sum += t * t;
    }
    return sum;
}

/* Takes u of one source out of the normal equations: what is left are those of x with u
 * at its best. */
static void take_out_source(const fitting *f, size_t first, double *a, double *b)
{
    size_t n = (size_t)f->n_knobs;
    double sum = 1 / (SOURCE_SD * SOURCE_SD);
    double sum_e = 0;
    double sum_j[GALV_N_KNOBS] = {0};
    for (size_t i = first; i < f->n; i++) {
        if (f->source[i] != first) {
            continue;
        }
        double weight = pull(f, i);
        sum += weight;
        sum_e += weight * f->e[i];
        for (size_t k = 0; k < n; k++) {
            sum_j[k] += weight * f->jacobian[i * GALV_N_KNOBS + k];
        }
    }
    for (size_t k = 0; k < n; k++) {
        b[k] -= sum_j[k] * sum_e / sum;
        for (size_t l = 0; l < n; l++) {
            a[k * n + l] -= sum_j[k] * sum_j[l] / sum;
        }
    }
}

/* The normal equations A d = b at x, A[n_knobs * n_knobs] row-major, undamped. */
static void normal_equations(const fitting *f, double *a, double *b)
{
    size_t n = (size_t)f->n_knobs;
    memset(a, 0, n * n * sizeof *a);
    for (size_t k = 0; k < n; k++) {
        double sd = galv_knobs[f->knobs[k]].sd;
        a[k * n + k] = 1 / (sd * sd);
        b[k] = -f->x[f->knobs[k]] / (sd * sd);
    }
    find_sources(f);
    for (size_t i = 0; i < f->n; i++) {
        const double *j = &f->jacobian[i * GALV_N_KNOBS];
        double weight = pull(f, i);
        for (size_t k = 0; k < n; k++) {
            b[k] += weight * j[k] * f->e[i];
            for (size_t l = 0; l < n; l++) {
                a[k * n + l] += weight * j[k] * j[l];
            }
        }
    }
    for (size_t first = 0; first < f->n && f->many; first++) {
        if (f->source[first] == first) {
            take_out_source(f, first, a, b);
        }
    }
}

/* step = (A + damping diag A)^-1 b. */
static bool solve(double *step, const double *a, const double *b, size_t n,
                  double damping)
{
    double m[GALV_N_KNOBS * GALV_N_KNOBS];
    memcpy(m, a, n * n * sizeof *m);
    memcpy(step, b, n * sizeof *step);
    for (size_t k = 0; k < n; k++) {
        m[k * n + k] *= 1 + damping;
    }
    gsl_matrix_view matrix = gsl_matrix_view_array(m, n, n);
    gsl_vector_view vector = gsl_vector_view_array(step, n);
    return gsl_linalg_cholesky_decomp1(&matrix.matrix) == 0 &&
           gsl_linalg_cholesky_svx(&matrix.matrix, &vector.vector) == 0;
}

/* One damped step that makes the objective less; false when none does. */
static bool improve(fitting *f, const double *a, const double *b, double *damping,
                    galv_status *status, galv_err *err)
{
    double before = objective(f);
    double x[GALV_N_KNOBS];
    memcpy(x, f->x, sizeof x);
    for (int attempt = 0; attempt < 6; attempt++) {
        double step[GALV_N_KNOBS];
        if (!solve(step, a, b, (size_t)f->n_knobs, *damping)) {
            return false;
        }
        double largest = 0;
        for (int k = 0; k < f->n_knobs; k++) {
            double limited = fmax(-0.5, fmin(0.5, step[k]));
            f->x[f->knobs[k]] = x[f->knobs[k]] + limited;
            largest = fmax(largest, fabs(limited));
        }
        *status = predict_all(f, false, err);
        if (*status != GALV_OK) {
            return false;
        }
        if (objective(f) < before) {
            *damping /= 4;
            return largest > 1e-3;
        }
        memcpy(f->x, x, sizeof x);
        *damping = fmax(*damping, 1e-3) * 6;
    }
    *status = predict_all(f, false, err);
    return false;
}

/* Standard deviations of the knobs at the end. */
static void spread(const fitting *f, const double *a, double *sd)
{
    size_t n = (size_t)f->n_knobs;
    double sum = 0;
    double sum_w = 0;
    for (size_t i = 0; i < f->n; i++) {
        double s = noise_of(f->runs[f->of_stack[i]].run);
        sum += f->w[i] * loss((f->e[i] - f->u[i]) / s);
        sum_w += f->w[i];
    }
    double scatter = fmax(1, sum_w > 0 ? sum / sum_w : 1);
    for (size_t k = 0; k < n; k++) {
        double unit[GALV_N_KNOBS] = {0};
        double column[GALV_N_KNOBS];
        unit[k] = 1;
        double prior = galv_knobs[f->knobs[k]].sd;
        sd[k] = solve(column, a, unit, n, 0) ? sqrt(column[k] * scatter) : prior;
        sd[k] = fmin(sd[k], prior);
    }
}

static galv_status fit(fitting *f, double *sd, galv_err *err)
{
    double a[GALV_N_KNOBS * GALV_N_KNOBS];
    double b[GALV_N_KNOBS];
    double damping = 1e-3;
    galv_status status = GALV_OK;
    for (int i = 0; i < MAX_ITERATIONS; i++) {
        /* The logarithms are nearly straight in x: old derivatives do for a while. */
        status = predict_all(f, i % 4 == 0, err);
        if (status != GALV_OK) {
            return status;
        }
        normal_equations(f, a, b);
        if (!improve(f, a, b, &damping, &status, err)) {
            break;
        }
    }
    if (status == GALV_OK) {
        spread(f, a, sd);
    }
    return status;
}

/* ---- a stack ---- */

static bool same_stack(const galv_measured_run *a, const galv_measured_run *b)
{
    return strcmp(a->job->cluster.pools[0].device.id,
                  b->job->cluster.pools[0].device.id) == 0 &&
           a->job->workload.precision == b->job->workload.precision;
}

static void weigh(fitting *f)
{
    f->many = f->foreign;
    for (size_t i = 0; i < f->n; i++) {
        const char *source = f->runs[f->of_stack[i]].run->source;
        double same = 0;
        f->source[i] = i;
        for (size_t j = 0; j < f->n; j++) {
            const char *other = f->runs[f->of_stack[j]].run->source;
            bool alike = source == NULL || other == NULL ? source == other
                                                         : strcmp(source, other) == 0;
            same += alike;
            f->source[i] = alike && j < f->source[i] ? j : f->source[i];
        }
        f->w[i] = fmin(same, SOURCE_RUNS) / same;
        f->many = f->many || f->source[i] != 0;
    }
}

static void keep_knobs(galv_stack_fit *stack, const fitting *f, const double *sd)
{
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        galv_fitted_knob *knob = &stack->knobs[k];
        knob->sd = galv_knobs[k].sd;
        for (int j = 0; j < f->n_knobs; j++) {
            knob->sd = f->knobs[j] == k ? sd[j] : knob->sd;
        }
        knob->informed = knob->sd < 0.9 * galv_knobs[k].sd;
        /* What moved by less than a thousandth did not move. */
        knob->x = fabs(f->x[k]) < 1e-3 ? 0 : f->x[k];
        for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
            double at_zero = f->zeros.value[k][i];
            double reach = NORMAL_95 * knob->sd;
            knob->builtin[i] = at_zero;
            knob->value[i] = galv_knob_value((galv_knob)k, at_zero, knob->x);
            knob->low[i] = galv_knob_value((galv_knob)k, at_zero, knob->x - reach);
            knob->high[i] = galv_knob_value((galv_knob)k, at_zero, knob->x + reach);
        }
    }
}

static void sum_stack(galv_stack_fit *stack, const fitting *f)
{
    double n = (double)f->n;
    stack->n_runs = f->n;
    for (size_t i = 0; i < f->n; i++) {
        const galv_calibrated_run *run = &f->runs[f->of_stack[i]];
        double before = run->before_s / run->run->iteration_time_s - 1;
        double after = run->after_s / run->run->iteration_time_s - 1;
        stack->mape_before_frac += fabs(before) / n;
        stack->mape_after_frac += fabs(after) / n;
        stack->bias_before_frac += before / n;
        stack->bias_after_frac += after / n;
    }
}

/* Knobs that exist for this stack. */
static void choose_knobs(fitting *f)
{
    galv_knob_zeros_init(&f->zeros, f->device, f->workload, f->base);
    f->n_knobs = 0;
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        double at_zero = f->zeros.value[k][0];
        if (!isnan(at_zero) && at_zero > galv_knobs[k].floor) {
            f->knobs[f->n_knobs++] = k;
        }
    }
}

/* Takes out the runs that cannot be predicted. */
static galv_status first_look(fitting *f, galv_err *err)
{
    galv_status status = predict_all(f, false, err);
    size_t n = 0;
    for (size_t i = 0; i < f->n && status == GALV_OK; i++) {
        galv_calibrated_run *run = &f->runs[f->of_stack[i]];
        if (run->status == GALV_OK) {
            run->before_s = exp(f->log_s[i * (GALV_N_KNOBS + 1)]);
            f->of_stack[n++] = f->of_stack[i];
        }
    }
    f->n = n;
    return status;
}

static galv_status fit_stack(galv_stack_fit *stack, fitting *f, galv_err *err)
{
    double sd[GALV_N_KNOBS];
    const galv_measured_run *first = f->runs[f->of_stack[0]].run;
    stack->device = f->device = &first->job->cluster.pools[0].device;
    stack->workload = f->workload = &first->job->workload;
    memset(f->x, 0, sizeof f->x);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        sd[k] = galv_knobs[k].sd;
    }
    choose_knobs(f);
    galv_status status = first_look(f, err);
    if (status != GALV_OK || f->n == 0) {
        keep_knobs(stack, f, sd);
        return status;
    }
    weigh(f);
    status = fit(f, sd, err);
    if (status != GALV_OK) {
        return status;
    }
    keep_knobs(stack, f, sd);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        f->x[k] = stack->knobs[k].x;
    }
    status = predict_all(f, false, err);
    for (size_t i = 0; i < f->n; i++) {
        f->runs[f->of_stack[i]].after_s = exp(f->log_s[i * (GALV_N_KNOBS + 1)]);
    }
    sum_stack(stack, f);
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
    f->log_s = GALV_NEW_ARRAY(arena, double, n *(GALV_N_KNOBS + 1));
    f->e = GALV_NEW_ARRAY(arena, double, n);
    f->w = GALV_NEW_ARRAY(arena, double, n);
    f->u = GALV_NEW_ARRAY(arena, double, n);
    f->source = GALV_NEW_ARRAY(arena, size_t, n);
    f->jacobian = GALV_NEW_ARRAY(arena, double, n *GALV_N_KNOBS);
    return c->stacks != NULL && f->of_stack != NULL && f->log_s != NULL &&
           f->e != NULL && f->w != NULL && f->u != NULL && f->source != NULL &&
           f->jacobian != NULL;
}

galv_status galv_calibrate(galv_calibration *calibration, const galv_measured_run *runs,
                           size_t n_runs, const galv_profile *base, bool foreign,
                           int n_jobs, galv_arena *arena, galv_err *err)
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
    fitting f = {.base = base, .runs = c.runs, .foreign = foreign, .n_jobs = n_jobs};
    galv_status status = c.runs == NULL ? GALV_OK : sort_stacks(&c, err);
    if (status != GALV_OK) {
        return status;
    }
    if (c.runs == NULL || !make_room(&f, &c, arena)) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu runs", n_runs);
    }
    size_t n_predicted = 0;
    for (size_t s = 0; s < c.n_stacks && status == GALV_OK; s++) {
        f.n = 0;
        for (size_t i = 0; i < n_runs; i++) {
            if (c.runs[i].stack == s) {
                f.of_stack[f.n++] = i;
            }
        }
        status = fit_stack(&c.stacks[s], &f, err);
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
