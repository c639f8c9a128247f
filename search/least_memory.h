/* Nothing fits: which plan needs least, and how to say so. */
#ifndef GALV_SEARCH_LEAST_MEMORY_H
#define GALV_SEARCH_LEAST_MEMORY_H

#include "search/search.h"
#include "sim/price_table.h"

/* Fills least_memory and least_memory_bytes of `result`. Of searched[n], none of which
 * fits, peak_memory_bytes is no more than the plan needs; of those that are looked at
 * it becomes what it needs. `scratch` is reset, `table` holds
 * prices of other plans. Errors: GALV_NO_MEMORY, GALV_USAGE. */
galv_status galv_least_memory_find(galv_search_result *result,
                                   const galv_costmodel *model, const galv_space *space,
                                   galv_searched *searched, size_t n, galv_arena *arena,
                                   galv_arena *scratch, galv_price_table *table,
                                   galv_err *err);

/* The error of a search that found no plan: GALV_INFEASIBLE, or GALV_INTERRUPTED. */
galv_status galv_least_memory_say(const galv_search_result *result, galv_err *err);

#endif
