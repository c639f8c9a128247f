/* A mixed cluster's pools in every order: which stages lie on which devices. Stages
 * follow one another through the pools, so the order decides whether the first stages,
 * which keep most activations, or the last one, which has the head, are on the faster
 * or the larger devices. */
#ifndef GALV_SEARCH_POOL_ORDERS_H
#define GALV_SEARCH_POOL_ORDERS_H

#include "search/search.h"

/* Searches `job` with its pools in each order, and gives the result of the one with the
 * fastest plan; *best, in the arena, is the job with its pools in that order. Counts
 * and seconds are of all orders, lower_bound_s and what is proven hold for all. With
 * one pool it is galv_search. Errors: as galv_search, of the order that is given. */
galv_status galv_pool_orders_search(galv_search_result *result, galv_job **best,
                                    const galv_job *job, const galv_profile *profile,
                                    const galv_space *space,
                                    const galv_search_options *options,
                                    galv_arena *arena, galv_err *err);

#endif
