/* Programs by hand and by chance for the tests of the simulator: one class for each
 * operation, so that each has its own cost. */
#ifndef GALV_TESTS_SIM_DRAFTS_H
#define GALV_TESTS_SIM_DRAFTS_H

#include "schedule/builder_internal.h"
#include "sim/simulate.h"

#define DRAFT_MOST_OPS 4096

typedef struct draft {
    galv_builder builder;
    galv_cost costs[DRAFT_MOST_OPS]; /* by the order in which ops were added */
    galv_arena *arena;
} draft;

draft *draft_make(int32_t n_ranks);
void draft_drop(draft *d);

/* Appends an operation; its number. */
uint32_t draft_add(draft *d, int32_t rank, int kind, int stream, double work_s);

/* Random operations, waits, costs, slowdowns, shares and memory, all doubles without a
 * common measure, so that two ends fall together by waiting only. A quarter of the
 * operations has no work where `instants`. Waits go from later to earlier operations
 * only: the program can run. */
draft *draft_by_chance(uint32_t seed, bool instants);

/* The program; costs[] of the draft are by its classes. */
galv_program *draft_program(draft *d);

#endif
