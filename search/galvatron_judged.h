/* Plans that Galvatron's model likes best, judged by our simulator.
 *
 * The closed forms are searched exactly in a moment (search/galvatron_search.h), so
 * they make a good guide: for every number of micro-batches and of stages its best plan
 * is made and simulated. One that does not fit by our memory is made again with a
 * smaller budget. No promise that nothing is faster: the guide sees neither schedules
 * nor links. */
#ifndef GALV_SEARCH_GALVATRON_JUDGED_H
#define GALV_SEARCH_GALVATRON_JUDGED_H

#include "search/galvatron_search.h"
#include "sim/evaluate.h"

typedef struct galv_galvatron_judged {
    galv_plan *plan;    /* NULL: none fits */
    galv_result result; /* without timeline */
    uint32_t n_simulated;
} galv_galvatron_judged; /* owned by the arena */

/* The fastest of them that fits the cost model's limit. `space` is searched with whole
 * samples and in Galvatron's even division. Errors: GALV_USAGE as
 * galv_galvatron_search, GALV_NO_MEMORY. */
galv_status galv_galvatron_judge(galv_galvatron_judged *judged,
                                 const galv_costmodel *model,
                                 const galv_galvatron_inputs *inputs,
                                 const galv_galvatron_space *space, galv_arena *arena,
                                 galv_err *err);

#endif
