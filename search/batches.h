/* The global batch left open: one search for each of several batches, and the plan that
 * trains most tokens a second among all of them. By the time of a step the smallest
 * batch would always win. How many steps a training needs at each batch is not asked:
 * that is for who knows how the model learns. */
#ifndef GALV_SEARCH_BATCHES_H
#define GALV_SEARCH_BATCHES_H

#include "search/search.h"

typedef struct galv_batch_point {
    galv_job *job;      /* with its global batch, pools in the best order */
    galv_status status; /* GALV_OK, or GALV_INFEASIBLE / GALV_USAGE: why_not */
    char why_not[256];
    galv_search_result found; /* when status is GALV_OK */
    double tokens_per_s;      /* of its best plan */
    double most_tokens_per_s; /* no plan of this batch trains more in a second */
} galv_batch_point;

typedef struct galv_batches_result {
    size_t n_points; /* fewer than batches when interrupted */
    galv_batch_point *points;
    size_t best;              /* the point that the best plan is of */
    double most_tokens_per_s; /* no plan of any batch trains more in a second */
    /* As of one search: the top_k plans that train most tokens a second, a batch being
     * a part of a plan's kind; counts and seconds of all. lower_bound_s is in seconds
     * of a step of the best plan's batch. searched: empty, see the points. */
    galv_search_result found;
} galv_batches_result; /* all owned by the arena */

/* Searches `job` with each of batches[n]. Errors: as galv_search, of the first batch,
 * when no batch has a plan. */
galv_status galv_batches_search(galv_batches_result *result, const galv_job *job,
                                const galv_profile *profile, const int64_t *batches,
                                size_t n, const galv_space *space,
                                const galv_search_options *options, galv_arena *arena,
                                galv_err *err);

#endif
