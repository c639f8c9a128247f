/* A plan beside the best plan of its job: why it is slower, or what fits instead. */
#ifndef GALV_CLI_BEST_INSTEAD_H
#define GALV_CLI_BEST_INSTEAD_H

#include "cli/job.h"
#include "sim/evaluate.h"

typedef struct galv_best_instead {
    galv_status status; /* GALV_OK; else there is no plan to compare with: why_not */
    char why_not[512];
    galv_plan *plan;
    galv_result result;
    bool proven;
} galv_best_instead;

/* Searches the job of the model. A job that no plan fits is not an error. Errors:
 * GALV_NO_MEMORY. */
galv_status galv_best_instead_find(galv_best_instead *best, const galv_cli *cli,
                                   const galv_setup *setup, const galv_costmodel *model,
                                   galv_err *err);

/* Prints the best plan, and what each part of the iteration differs by. */
void galv_best_instead_print(const galv_best_instead *best, const galv_cli *cli,
                             const galv_result *result);

/* Writes the member "best" into an open object: null when there is none. */
void galv_best_instead_to_json(const galv_best_instead *best, const galv_setup *setup,
                               galv_json_writer *writer);

#endif
