/* Plans of catalog models on a catalog cluster, ready to be simulated: one for each way
 * in which an iteration's time can go. */
#ifndef GALV_TESTS_SIM_PLANS_H
#define GALV_TESTS_SIM_PLANS_H

#include "sim/evaluate.h"

extern const size_t n_plan_cases;

typedef struct plan_stand {
    const char *name;
    galv_arena *arena;
    galv_job *job;
    galv_plan *plan;
    galv_costmodel *model;
} plan_stand;

/* The i-th of them. */
plan_stand plan_set_up(size_t i);
void plan_tear_down(plan_stand *stand);

#endif
