/* Predictions of the runs of a stack with its knobs moved.
 *
 * Every prediction stands alone: a profile of the factors, a cost model, a simulation;
 * so they are made in parallel and written each to its own place. The logarithm of an
 * iteration is nearly straight in the knobs, which are logarithms of factors, so one
 * difference of 0.02 (a fiftieth) is derivative enough. A share of the network that is
 * 1 already cannot grow: its derivative is taken downward. */
#include "accuracy/sensitivity.h"

#include "base/parallel.h"
#include "sim/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEP_X 0.02

typedef struct predicting {
    const galv_stack *stack;
    const double *x;
    size_t n_columns; /* 1: at x; with each knob moved: 1 + GALV_N_KNOBS */
    double *log_s;    /* [n * n_columns] */
    galv_err *why_not;
} predicting;

void galv_stack_init(galv_stack *stack, const galv_profile *base,
                     const galv_measured_run **runs, size_t n)
{
    const galv_job *job = runs[0]->job;
    *stack = (galv_stack){.base = base,
                          .device = &job->cluster.pools[0].device,
                          .workload = &job->workload,
                          .n = n,
                          .runs = runs};
    galv_knob_zeros_init(&stack->zeros, stack->device, stack->workload, base);
}

static double step_of(int knob)
{
    return knob == GALV_KNOB_NETWORK ? -STEP_X : STEP_X;
}

static bool has_knob(const galv_stack *stack, int knob)
{
    double at_zero = stack->zeros.value[knob][0];
    return !isnan(at_zero) && at_zero > galv_knobs[knob].floor;
}

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
                               const galv_stack *stack, const double *x, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    galv_profile *profile = galv_profile_new();
    galv_costmodel *model = NULL;
    galv_result result;
    const galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_status status = arena == NULL || profile == NULL
                             ? galv_fail(err, GALV_NO_MEMORY, "no memory for a run")
                             : copy_profile(profile, stack->base, err);
    if (status == GALV_OK) {
        status = galv_knobs_to_profile(profile, x, &stack->zeros, stack->device,
                                       stack->workload->precision, "", err);
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
    const predicting *p = context;
    size_t i = item / p->n_columns;
    int column = (int)(item % p->n_columns);
    double x[GALV_N_KNOBS];
    double seconds = (double)NAN;
    galv_err err = GALV_ERR_INIT;
    (void)worker;
    memcpy(x, p->x, sizeof x);
    if (column > 0) {
        if (!has_knob(p->stack, column - 1)) {
            return; /* nobody looks at it */
        }
        x[column - 1] += step_of(column - 1);
    }
    predict_run(&seconds, p->stack->runs[i], p->stack, x, &err);
    if (column == 0 && p->why_not != NULL) {
        p->why_not[i] = err;
    }
    p->log_s[item] = log(seconds);
}

galv_status galv_sensitivities(double *log_s, double *jacobian, galv_err *why_not,
                               const galv_stack *stack, const double *x, int n_jobs,
                               galv_err *err)
{
    predicting p = {stack, x, jacobian == NULL ? 1 : 1 + GALV_N_KNOBS, NULL, why_not};
    p.log_s = calloc(stack->n * p.n_columns + 1, sizeof *p.log_s);
    if (p.log_s == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu runs", stack->n);
    }
    galv_status status =
        galv_parallel_for(n_jobs, stack->n * p.n_columns, predict_cell, &p, err);
    for (size_t i = 0; i < stack->n && status == GALV_OK; i++) {
        const double *row = &p.log_s[i * p.n_columns];
        log_s[i] = row[0];
        for (int k = 0; k < GALV_N_KNOBS && jacobian != NULL; k++) {
            bool moves = has_knob(stack, k) && isfinite(row[1 + k]) && isfinite(row[0]);
            jacobian[i * GALV_N_KNOBS + (size_t)k] =
                moves ? (row[1 + k] - row[0]) / step_of(k) : 0;
        }
    }
    free(p.log_s);
    return status;
}
