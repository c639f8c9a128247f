/* A lower bound of the simulated iteration time, and memory, without a simulation.
 *
 * True for the simulator: never more than what galv_simulate gives for the same plan
 * and costs (tests hold it to that). For stage i, with t_i the least time that one
 * micro-batch keeps it busy, forward and backward, all its chunks:
 *
 *   T >= max over i (arrival_i + m t_i + drain_i) + max over i (optimizer_i)
 *
 * arrival_i: the first micro-batch must pass the virtual stages before stage i's first
 * one; drain_i: the last backward must pass them again. */
#ifndef GALV_SEARCH_BOUND_H
#define GALV_SEARCH_BOUND_H

#include "costmodel/costmodel.h"
#include "plan/plan.h"
#include "sim/prices.h"

/* `prices` are this plan's. Errors: GALV_NO_MEMORY, GALV_USAGE. O(layers). */
galv_status galv_bound_time(double *bound_s, const galv_costmodel *model,
                            const galv_plan *plan, galv_prices *prices,
                            galv_arena *arena, galv_err *err);

#endif
