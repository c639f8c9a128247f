/* Dividing a row of blocks over pipeline stages.
 *
 * Minimises  sum_i t_i + (m - 1) max_i t_i,  the time of m micro-batches through stages
 * that take t_i each (forward and backward) when the slowest is never kept waiting.
 * Source: Narayanan et al. 2021 (arXiv 2104.04473, section 2.2.1) for equal stages. */
#ifndef GALV_SEARCH_PARTITION_H
#define GALV_SEARCH_PARTITION_H

#include "base/arena.h"

#include <stdint.h>

/* Seconds of one micro-batch on `stage` when it holds blocks [first, first + n), n >=
 * 1; INFINITY = it cannot hold them. */
typedef double (*galv_partition_cost)(void *context, int32_t stage, int32_t first,
                                      int32_t n);

/* n_blocks[n_stages], each at least 1; *value_s is what they take, INFINITY when
 * nothing can be held: then n_blocks is not touched. Exact, by dynamic programming over
 * (stage, blocks placed) with all pairs of sum and maximum that no other pair beats.
 * Errors: GALV_NO_MEMORY. O(n_stages total^2) calls of `cost`. */
galv_status galv_partition(int32_t *n_blocks, double *value_s, int32_t n_stages,
                           int32_t total, double n_micro_batches,
                           galv_partition_cost cost, void *context, galv_err *err);

#endif
