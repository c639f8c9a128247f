/* Predicted beside measured, case by case, and the sums that tell how good it is.
 * accuracy/error_sums.h has the sums by source and by feature. */
#ifndef GALV_ACCURACY_VALIDATION_H
#define GALV_ACCURACY_VALIDATION_H

#include "accuracy/run_kind.h"
#include "base/arena.h"
#include "sim/evaluate.h"
#include "traces/cases.h"

typedef struct galv_validated_case {
    const galv_case *measured;
    const char *source; /* as stated, else the base name of the case's file */
    const char *group;  /* source and model family: what leaving out takes at once */
    galv_status status; /* GALV_OK: predicted; else why not: */
    char why_not[300];
    double predicted_iteration_time_s;
    double predicted_peak_memory_bytes; /* as the case measured it (memory_kind) */
    double error_frac; /* predicted / measured - 1; NAN when not measured */
    double memory_error_frac;
    galv_result result; /* without timeline */
    galv_run_kind kind; /* all empty: not predicted, or of stage times alone */
} galv_validated_case;

typedef struct galv_validation {
    size_t n_cases;
    galv_validated_case *cases; /* [n_cases], in the order of the input */
    size_t n_timed;             /* predicted and measured */
    double mape_frac;           /* mean of |error_frac|; NAN when n_timed is 0 */
    double bias_frac;           /* mean of error_frac */
    double p90_frac;            /* 90th percentile of |error_frac| */
    double worst_frac;          /* the error_frac of largest size */
    size_t n_memory;
    double memory_mape_frac;
} galv_validation;

/* The peak of a stage as somebody counts it: PyTorch's allocator what it hands out
 * (torch_peak) or what it has of the driver (torch_reserved), nvidia-smi all that the
 * process has (nvidia_smi); any other word: what the device must give. */
double galv_peak_as_counted(const galv_stage_result *stage,
                            const galv_kept_memory *kept, const char *memory_kind);

/* Predicts every case on n_jobs threads; results do not depend on n_jobs. `profile` may
 * be NULL. Errors: GALV_NO_MEMORY; a case that cannot be predicted is no error, its
 * status says why. */
galv_status galv_validate(galv_validation *validation, const galv_case *cases,
                          size_t n_cases, const galv_profile *profile, int n_jobs,
                          galv_arena *arena, galv_err *err);

#endif
