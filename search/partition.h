/* Dividing a row of blocks over pipeline stages, by what stages take in sum and at
 * most.
 */
#ifndef GALV_SEARCH_PARTITION_H
#define GALV_SEARCH_PARTITION_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

/* Seconds of one micro-batch on `stage` when it holds blocks [first, first + n), n >= 1
 * (0 at bare ends); INFINITY = it cannot hold them. */
typedef double (*galv_partition_cost)(void *context, int32_t stage, int32_t first,
                                      int32_t n);

/* What a division is worth, from the sum and the maximum of its stages' seconds; must
 * not fall when either grows. */
typedef double (*galv_partition_value)(void *context, double sum_s, double most_s);

typedef struct galv_partition_problem {
    int32_t n_stages, total;    /* blocks in all */
    bool bare_first, bare_last; /* these stages need no block (of two or more) */
    galv_partition_cost cost;
    galv_partition_value value;
    void *cost_context, *value_context;
} galv_partition_problem;

/* The division of least value: n_blocks[n_stages], each at least 1 but at bare ends;
 * *least gets the value, INFINITY when nothing can be held: then n_blocks is not
 * touched. Exact, by dynamic programming over (stage, blocks placed) with all pairs of
 * sum and maximum that no other pair beats. O(n_stages total^2) calls of `cost`.
 * Errors: GALV_NO_MEMORY. */
galv_status galv_partition(int32_t *n_blocks, double *least,
                           const galv_partition_problem *problem, galv_err *err);

#endif
