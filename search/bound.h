/* A lower bound of the simulated iteration time, and memory, without a simulation.
 *
 * True for the simulator: never more than what galv_simulate gives for the same plan
 * and costs (tests hold it to that). For stage i, with f_i and b_i the least time that
 * one micro-batch takes through all chunks of the stage:
 *
 *   T >= fill_i + m (f_i + b_i) + drain_i + tail_i
 *
 * fill_i: the first micro-batch must pass the virtual stages before stage i's first
 * one; drain_i: the last backward must pass them again; tail_i: gradient reduction that
 * nothing can hide, and the optimizer. */
#ifndef GALV_SEARCH_BOUND_H
#define GALV_SEARCH_BOUND_H

#include "costmodel/costmodel.h"
#include "plan/plan.h"

/* Errors: GALV_NO_MEMORY, GALV_USAGE. O(layers). */
galv_status galv_bound_time(double *bound_s, const galv_costmodel *model,
                            const galv_plan *plan, galv_arena *arena, galv_err *err);

#endif
