/* A plan's program, in the order that fits its costs.
 *
 * Most schedules have one order for all costs. Those that follow costs
 * (galv_schedule.follows_costs) are given the ratios that the cost model finds between
 * the passes of each stage. */
#ifndef GALV_SIM_WEIGH_H
#define GALV_SIM_WEIGH_H

#include "schedule/program.h"
#include "sim/prices.h"

/* What the passes of each stage cost under the model, each by itself and without
 * gradient reduction: seconds, in which nothing but their ratios matters to an order.
 * Where the schedule fills memory (galv_schedule.fills_memory), its limit is what the
 * tightest stage's device has left. *weights is NULL where the plan's schedule does not
 * follow costs. `prices` are this plan's. Owned by the arena.
 * Errors: GALV_USAGE, GALV_UNAVAILABLE as galv_program_compile; GALV_NO_MEMORY. */
galv_status galv_weigh_plan(const galv_schedule_weights **weights,
                            const galv_costmodel *model, const galv_plan *plan,
                            galv_prices *prices, galv_arena *arena, galv_err *err);

/* galv_program_compile, or galv_program_compile_by_pass, with these weights. `prices`
 * are this plan's, or NULL. */
galv_status galv_program_of_plan(galv_program **program, const galv_costmodel *model,
                                 const galv_plan *plan, galv_prices *prices,
                                 galv_arena *arena, galv_err *err);
galv_status galv_program_of_plan_by_pass(galv_program **program,
                                         const galv_costmodel *model,
                                         const galv_plan *plan, galv_prices *prices,
                                         galv_arena *arena, galv_err *err);

#endif
