/* How predictions of runs move with the knobs of a stack (accuracy/factors.h). */
#ifndef GALV_ACCURACY_SENSITIVITY_H
#define GALV_ACCURACY_SENSITIVITY_H

#include "accuracy/factors.h"
#include "plan/plan.h"
#include "traces/profile.h"

typedef struct galv_measured_run {
    const char *name;
    const char *source; /* runs of one source count for at most 12 together */
    const galv_job *job;
    const galv_plan *plan;
    double iteration_time_s; /* > 0 */
    double noise_frac;       /* run-to-run spread; 0 = unknown */
} galv_measured_run;

/* Runs of one device, precision and software, under a profile that holds before. */
typedef struct galv_stack {
    const galv_profile *base; /* NULL = none */
    const galv_device *device;
    const galv_workload *workload; /* of any of its runs */
    galv_knob_zeros zeros;
    size_t n;
    const galv_measured_run **runs; /* [n] */
} galv_stack;

/* The device, workload and zeros of a stack whose runs are set; n >= 1. */
void galv_stack_init(galv_stack *stack, const galv_profile *base,
                     const galv_measured_run **runs, size_t n);

/* The logarithm of the seconds of every run, log_s[n], with the knobs at
 * x[GALV_N_KNOBS], and unless `jacobian` is NULL its derivatives by the knobs,
 * jacobian[n * GALV_N_KNOBS], by differences of 0.02; 0 for knobs that the stack has
 * not. A run that cannot be predicted has NAN and its error in why_not[n] (NULL
 * allowed). O(n GALV_N_KNOBS) simulations on n_jobs threads. Errors: GALV_NO_MEMORY. */
galv_status galv_sensitivities(double *log_s, double *jacobian, galv_err *why_not,
                               const galv_stack *stack, const double *x, int n_jobs,
                               galv_err *err);

#endif
