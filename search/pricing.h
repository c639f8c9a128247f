/* What a plan needs and takes at least, without a simulation: enough to leave most
 * plans of a space aside. */
#ifndef GALV_SEARCH_PRICING_H
#define GALV_SEARCH_PRICING_H

#include "costmodel/costmodel.h"
#include "sim/prices.h"

typedef struct galv_plan_price {
    galv_memory_need
        held; /* what the fullest stage holds throughout: no more than the simulator
                 will find; a plan whose need is over its limit cannot fit */
    double bound_s; /* galv_bound_time; 0 when it cannot fit */
} galv_plan_price;

/* Prices a plan as far as needs no order of its micro-batches. `prices` are this
 * plan's. Errors: GALV_NO_MEMORY, GALV_USAGE (its schedule cannot do its shape). */
galv_status galv_price_plan(galv_plan_price *price, const galv_costmodel *model,
                            const galv_plan *plan, galv_prices *prices,
                            galv_arena *arena, galv_err *err);

/* What a plan needs of memory at least. Where the schedule's orders settle, so that the
 * peaks no longer grow with the number of micro-batches, those of a short iteration are
 * taken. What does not fit is looked at no further, and may need more still, unless
 * `whole`. Errors as above. */
galv_status galv_price_memory(galv_memory_need *need, const galv_costmodel *model,
                              const galv_plan *plan, galv_prices *prices, bool whole,
                              galv_arena *arena, galv_err *err);

#endif
