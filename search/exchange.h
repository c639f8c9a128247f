/* Layerings one exchange away from another one, most promising first.
 *
 * An exchange gives the first or last layers of a run of alike ones another strategy,
 * or does so to two runs of one stage at once, so that one may grow by what the other
 * leaves, or does what helps each stage most in all of them; or it moves a block to the
 * next stage. Embedding and head are runs of one.
 * What guesses see of time and memory only orders the exchanges and leaves aside those
 * that hardly fit: the judge is the simulation. */
#ifndef GALV_SEARCH_EXCHANGE_H
#define GALV_SEARCH_EXCHANGE_H

#include "search/layer_tree.h"

typedef struct galv_exchange_limits {
    const double *spare_bytes; /* [pp] what the layering leaves of memory */
    double stop_at_s;          /* exchanges with a bound of this and more are cut */
    int32_t n_wanted;          /* of the most promising */
} galv_exchange_limits;

/* leaves: at most limits->n_wanted, owned by the arena, in order of what is expected of
 * them. Errors: GALV_NO_MEMORY. O(e log e) for e exchanges: runs squared times
 * strategies squared of each stage. */
galv_status galv_layer_exchanges(galv_layer_leaves *leaves,
                                 const galv_layering *layering,
                                 const galv_layer_table *table, galv_replay *replay,
                                 const galv_model *model,
                                 const galv_exchange_limits *limits, galv_arena *arena,
                                 galv_err *err);

#endif
