/* What has to be measured: the rows that the operations of plans are priced by.
 *
 * Layers by kind, shape, phase, tp, cp and samples of a micro-batch; collectives by
 * kind, ranks and bytes, the bytes counted as the cost model does
 * (costmodel/message.c). */
#ifndef GALV_EXEC_PROFILE_NEED_H
#define GALV_EXEC_PROFILE_NEED_H

#include "base/arena.h"
#include "plan/plan.h"
#include "traces/profile.h"

#include <stddef.h>
#include <stdint.h>

typedef struct galv_wanted_row {
    galv_profile_row row;     /* what it is of; times are still 0 */
    galv_strategy strategy;   /* of a layer, dp left at 1 */
    int32_t micro_batch_size; /* of a layer: samples on one rank */
    bool done;
} galv_wanted_row;

typedef struct galv_needs {
    galv_arena *arena;
    const char *device; /* of all rows */
    int precision;      /* galv_precision of layers */
    size_t n, capacity;
    galv_wanted_row *needs;
} galv_needs;

/* Adds a need unless there is one of the same row. Errors: GALV_NO_MEMORY. */
galv_status galv_needs_add(galv_needs *needs, const galv_wanted_row *need,
                           galv_err *err);

/* Everything that a plan needs. Errors: those of galv_program_compile; GALV_USAGE for
 * samples that do not divide; GALV_NO_MEMORY. */
galv_status galv_needs_of_plan(galv_needs *needs, const galv_job *job,
                               const galv_plan *plan, galv_err *err);

/* Collectives of every kind over groups of 2, 4, 8 ... and of all of `n_ranks`, from
 * 1 KiB to `most_bytes` in steps of four. */
galv_status galv_needs_of_collectives(galv_needs *needs, int32_t n_ranks,
                                      double most_bytes, galv_err *err);

/* What a row is about: "decoder forward tp 2", "all_reduce of 2 ranks, 1.00 MiB". */
char *galv_wanted_row_print(char *buffer, size_t size, const galv_wanted_row *need);

#endif
