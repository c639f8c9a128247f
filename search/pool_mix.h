/* Plans on unlike pools whose stages take the strategy of their pool: what is best for
 * the devices with more memory is seldom best for the others.
 *
 * In each of the shapes with the least bounds one goes down from the best uniform plan
 * by exchanges: another strategy for all layers on the stages of one pool, with blocks
 * moved to or from another. First by an estimate, from the prices of layers on each
 * pool; then the most promising exchanges are simulated, and the fastest is where the
 * next begins. Nothing is claimed for what is found but its simulation; a bound holds
 * for all such plans. */
#ifndef GALV_SEARCH_POOL_MIX_H
#define GALV_SEARCH_POOL_MIX_H

#include "search/divisions.h"
#include "search/layerwise.h"

/* Like galv_layerwise_search, with `divisions` for the shapes: of `options` the podium,
 * first_index, tables, max_ops and stopped are read. The same result whatever n_jobs.
 * Errors: GALV_NO_MEMORY. */
galv_status galv_pool_mix_search(galv_layerwise_result *result,
                                 const galv_costmodel *model, const galv_space *space,
                                 const galv_divisions *divisions,
                                 const galv_layerwise_options *options,
                                 galv_arena *arena, galv_err *err);

#endif
