/* How long a plan takes, as far as it matters. */
#ifndef GALV_SEARCH_JUDGE_H
#define GALV_SEARCH_JUDGE_H

#include "sim/evaluate.h"

/* Simulates a plan whose time matters if it is below `stop_at_s` (0: always): what
 * takes longer is stopped (galv_result.stopped). What is not gets the very numbers of
 * galv_evaluate, but for those of single operations. `prices` are this plan's. Errors
 * as galv_evaluate. */
galv_status galv_judge_plan(galv_result *result, const galv_costmodel *model,
                            const galv_plan *plan, galv_prices *prices,
                            double stop_at_s, galv_arena *arena, galv_err *err);

#endif
