/* Calibration: the named factors of the cost model, fitted to measured iterations.
 *
 * Runs are taken by stack: one device, one precision, one software. Each stack gets
 * factors of its own, which a profile hands to the cost model; they say something about
 * kernels and hosts, not about models or plans, so they hold for other runs of the same
 * stack. */
#ifndef GALV_ACCURACY_CALIBRATE_H
#define GALV_ACCURACY_CALIBRATE_H

#include "accuracy/sensitivity.h"
#include "base/text.h"
#include "traces/cases.h"

/* What the factors are wanted for, which says how much of what is missed is believed to
 * be in them (calibrate.c). */
typedef enum galv_calibration_for {
    GALV_FOR_STACK,  /* other runs of the same stack: as much as stacks differ */
    GALV_FOR_PLAN,   /* the plan that was measured and its neighbours: nearly all */
    GALV_FOR_OTHERS, /* stacks that none of these sources is, each of which may be off
                        as a whole */
} galv_calibration_for;

typedef struct galv_fitted_knob {
    double x;      /* accuracy/factors.h; 0 = as built in */
    double sd;     /* of x, after the fit */
    bool informed; /* the runs told something: sd is below 0.9 of what was expected */
    double builtin[GALV_MAX_FACTORS_OF_KNOB]; /* NAN = there is no such factor */
    double value[GALV_MAX_FACTORS_OF_KNOB];
    double low[GALV_MAX_FACTORS_OF_KNOB]; /* 90 % interval */
    double high[GALV_MAX_FACTORS_OF_KNOB];
} galv_fitted_knob;

typedef struct galv_stack_fit {
    const galv_device *device;
    const galv_workload *workload; /* of its first run: precision and software hold */
    size_t n_runs;                 /* that could be predicted */
    galv_fitted_knob knobs[GALV_N_KNOBS];
    double mape_before_frac, mape_after_frac; /* predicted / measured - 1 */
    double bias_before_frac, bias_after_frac;
    double median_before_frac, median_after_frac; /* size of the middle error */
    double between_frac; /* expected of the factors before: what they do to a run */
    double within_frac;  /* expected of a run: what no factor explains */
} galv_stack_fit;

typedef struct galv_calibrated_run {
    const galv_measured_run *run;
    size_t stack; /* index into stacks */
    galv_status status;
    char why_not[160]; /* when not GALV_OK: it was left out */
    double before_s, after_s;
} galv_calibrated_run;

typedef struct galv_calibration {
    size_t n_stacks;
    galv_stack_fit *stacks;
    size_t n_runs;
    galv_calibrated_run *runs; /* [n_runs], in the order of the input */
} galv_calibration;            /* owned by the arena */

/* Fits every stack. `base` (NULL allowed) is a profile that holds before and stays in
 * force. Errors: GALV_INPUT when one device and precision was run with two kinds of
 * software (a profile could not tell them apart) or no run can be predicted,
 * GALV_UNAVAILABLE when a fit does not settle, GALV_NO_MEMORY. */
galv_status galv_calibrate(galv_calibration *calibration, const galv_measured_run *runs,
                           size_t n_runs, const galv_profile *base,
                           galv_calibration_for purpose, int n_jobs, galv_arena *arena,
                           galv_err *err);

/* The timed cases as runs, jobs and plans made for them. A case that cannot be made or
 * is of stage times alone is left out. Owned by the arena. */
galv_status galv_runs_from_cases(galv_measured_run **runs, size_t *n_runs,
                                 const galv_case *cases, size_t n_cases,
                                 galv_arena *arena, galv_err *err);

/* Appends the fitted factors to a profile. */
galv_status galv_calibration_to_profile(galv_profile *profile,
                                        const galv_calibration *calibration,
                                        galv_err *err);

/* The same as a profile file (CSV), with columns that readers ignore: builtin, low,
 * high (90 %), runs, mape_before_frac, mape_after_frac, median_before_frac,
 * median_after_frac. */
void galv_calibration_print(galv_text *out, const galv_calibration *calibration);

/* The iterations of a Megatron-LM log: the milliseconds of each line with
 * "elapsed time per iteration (ms): X", in order. The median of all but the first
 * (which warms up) is the time of an iteration, and 1.4826 times the median distance
 * from it, over it, the noise. Errors: GALV_INPUT when there is none. */
galv_status galv_megatron_log_read(double *iteration_time_s, double *noise_frac,
                                   size_t *n_iterations, const char *path,
                                   galv_arena *arena, galv_err *err);
/* The same of bytes[length], said to be of the file `path`. */
galv_status galv_megatron_log_read_text(double *iteration_time_s, double *noise_frac,
                                        size_t *n_iterations, const char *path,
                                        const char *bytes, size_t length,
                                        galv_arena *arena, galv_err *err);

#endif
