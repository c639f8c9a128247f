/* How much runs and stacks differ, in what the model misses of them. */
#ifndef GALV_ACCURACY_SPREAD_H
#define GALV_ACCURACY_SPREAD_H

#include "accuracy/interval.h"

typedef struct galv_residual_spread {
    double between; /* of sources: size of what the middle run of one is off by */
    double within;  /* of the runs of one source about its middle */
    size_t n_sources;
} galv_residual_spread;

/* Of ln(measured / predicted) of the validated runs, but for those whose source is one
 * of without[n_without]. Sources count alike; `within` is of those of three runs or
 * more. Both are 1.2533 times a mean size (the standard deviation, of normals).
 * O(n log n). Errors: GALV_NO_MEMORY. */
galv_status galv_residual_spread_find(galv_residual_spread *spread,
                                      const galv_residuals *residuals,
                                      const char *const *without, size_t n_without,
                                      galv_err *err);

/* Was any stack of this software, generation and precision validated? */
bool galv_residual_spread_knows(const galv_residuals *residuals,
                                const galv_run_kind *kind);

#endif
