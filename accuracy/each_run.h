/* What a calibration is worth: calibrated on one run of a stack, how far off are its
 * others; asked of every run in turn, so that no choice of one decides. */
#ifndef GALV_ACCURACY_EACH_RUN_H
#define GALV_ACCURACY_EACH_RUN_H

#include "accuracy/sensitivity.h"
#include "base/arena.h"

typedef struct galv_each_run {
    const char *source;
    const galv_device *device;
    const galv_workload *workload; /* precision and software */
    size_t n_runs;
    double before_frac;  /* mean size of the error, built in */
    double scatter_frac; /* what is left of it when all are moved alike, so that the
                            middle one is right: no calibration of a stack takes that
                            out */
    double one_frac;   /* of the others after calibrating on one: mean over all ones */
    double worst_frac; /* the same for the one that helps least */
    size_t n_harmed;   /* ones that make the others worse by more than 0.01 */
    double rest_frac;  /* of each run after calibrating on all others */
} galv_each_run;

/* Every stack (source, device, precision, software) of four runs or more, in the order
 * of their first runs. The spreads come from the validated runs of other sources, and
 * predictions are taken to be straight in the knobs, as they nearly are. Owned by the
 * arena. Errors: GALV_INPUT when there is no such stack, GALV_NO_MEMORY. */
galv_status galv_calibrate_each_run(galv_each_run **stacks, size_t *n_stacks,
                                    const galv_measured_run *runs, size_t n_runs,
                                    const galv_profile *base, int n_jobs,
                                    galv_arena *arena, galv_err *err);

#endif
