/* A plan on trial: simulated as far as it can still be wanted. */
#ifndef GALV_SEARCH_TRIAL_H
#define GALV_SEARCH_TRIAL_H

#include "search/search.h"

/* By how much a time on trial may be less than that of the exact simulation, relative.
 */
#define GALV_TRIAL_ROUNDING 1.2e-10

/* Fills in the fate of a plan, its time and its memory, or its bound where it takes
 * longer than stop_at_s (0 = no matter how long). Times are of passes played once each
 * (sim/evaluate.h), so that plans which take the same time may differ by rounding:
 * time_s is cut to 34 bits, where they are equal again. Whether a plan fits is decided
 * by the exact simulation where it is a matter of rounding. `prices` are the plan's.
 * Errors: as galv_evaluate. */
galv_status galv_trial(galv_searched *c, const galv_costmodel *model,
                       const galv_plan *plan, galv_prices *prices, double stop_at_s,
                       galv_arena *arena, galv_err *err);

#endif
