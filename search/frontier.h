/* The time-memory frontier of a stage: all ways to choose for rows of identical layers
 * that no other way beats in both time and memory. Exact: no grid.
 *
 * What counts in a row is how many layers take which option, and in which order the
 * runs of equal options stand, because a change between neighbours costs time. A row is
 * made of at most max_runs runs. */
#ifndef GALV_SEARCH_FRONTIER_H
#define GALV_SEARCH_FRONTIER_H

#include "base/arena.h"

#include <stdint.h>

typedef struct galv_frontier_option {
    double time_s, bytes; /* of one layer */
} galv_frontier_option;

typedef struct galv_frontier_row {
    int32_t n_layers; /* >= 1 */
    int32_t n_options;
    const galv_frontier_option *options;
} galv_frontier_row;

typedef struct galv_frontier_problem {
    int32_t n_rows;
    const galv_frontier_row *rows;
    double limit_bytes; /* points above are left out */
    int32_t max_runs;   /* of a row; at least 1 */
    /* Seconds, at least 0, of a change from an option to another of the same row
     * (row_a == row_b), or to one of the next row. NULL = free. */
    double (*change_s)(void *context, int32_t row_a, int32_t option_a, int32_t row_b,
                       int32_t option_b);
    void *context;
} galv_frontier_problem;

typedef struct galv_frontier_point {
    double time_s, bytes;
    int32_t *options; /* [all layers, row by row] */
} galv_frontier_point;

typedef struct galv_frontier {
    size_t n_points;             /* 0 = nothing is within the limit */
    galv_frontier_point *points; /* ascending bytes, descending time */
} galv_frontier;                 /* owned by the arena */

/* Errors: GALV_NO_MEMORY. */
galv_status galv_frontier_make(galv_frontier *frontier,
                               const galv_frontier_problem *problem, galv_arena *arena,
                               galv_err *err);

#endif
