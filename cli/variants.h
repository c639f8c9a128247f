/* What a plan could do otherwise, one change at a time, each simulated: other
 * recomputation and ZeRO stages at the same degrees; and where the plan does not fit,
 * other degrees and micro-batches too, so that what is advised is known to fit. */
#ifndef GALV_CLI_VARIANTS_H
#define GALV_CLI_VARIANTS_H

#include "cli/config.h"
#include "sim/evaluate.h"

enum { GALV_MOST_VARIANTS = 16 };

typedef struct galv_variant {
    char label[48];  /* "--zero 3", as it would be asked for by hand */
    bool of_degrees; /* else the degrees are the plan's */
    double time_s, peak_bytes;
    bool fits;
} galv_variant;

typedef struct galv_variants {
    size_t n;
    galv_variant all[GALV_MOST_VARIANTS];
} galv_variants;

/* `result` is the plan's, by the same options. What makes another plan that can be
 * simulated is kept. Errors: GALV_NO_MEMORY. */
galv_status galv_variants_try(galv_variants *variants, const galv_costmodel *model,
                              const galv_job *job, const galv_plan *plan,
                              const galv_result *result,
                              const galv_evaluate_options *options, galv_err *err);

/* Those of the same degrees, as a table. */
void galv_variants_print(const galv_variants *variants, const galv_cli *cli,
                         const galv_result *result);

/* For a plan that does not fit: which of them would, fastest first; or that none does.
 */
void galv_variants_print_fitting(const galv_variants *variants, const galv_cli *cli,
                                 const galv_result *result);

/* "variants": [..] */
void galv_variants_to_json(const galv_variants *variants, galv_json_writer *writer);

#endif
