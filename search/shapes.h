/* The shapes of a set of uniform candidates, with the prices of their layers.
 *
 * Candidates that agree in pipeline, schedule, chunks and samples of a micro-batch make
 * a shape. The prices of its layers give a bound of each of its candidates without
 * compiling anything, and layer by layer they can be mixed (search/layerwise.h). */
#ifndef GALV_SEARCH_SHAPES_H
#define GALV_SEARCH_SHAPES_H

#include "search/layer_table.h"

/* What is known of a uniform plan from its layers alone. */
typedef struct galv_shape_bound {
    double bound_s;         /* no more than its simulated time; 0 = nothing is known */
    galv_memory_need least; /* of memory, no more than it needs; {0, 0}: likewise */
} galv_shape_bound;

/* Layers of a uniform plan on its virtual stages, each [pp * vpp][groups]. */
typedef struct galv_shape_counts {
    int32_t *own;
    int32_t *before;  /* of all virtual stages before it */
    int32_t *later;   /* its own, and of its stage's later virtual stages */
    int32_t *borders; /* [pp * vpp] between stages, on the way to it */
} galv_shape_counts;

typedef struct galv_shapes {
    size_t n;
    galv_layer_table *tables; /* [n] in the order of the tree, each with its shape */
    int32_t *shape_of;        /* [n_candidates] -1 = of none: a schedule whose order
                                 follows costs or pairs passes, several pools, or the
                                 pipeline inside data parallelism */
    int32_t *strategy_of;     /* [n_candidates] index into its shape's strategies */
    galv_shape_counts *counts_of; /* [n] */
    double **kept_of;   /* [n] [pp][vpp] micro-batches whose activations a chunk
                           keeps at some moment of the schedule, or fewer */
    double limit_bytes; /* of memory, of every device */
    const galv_shape_bound *known; /* [n_candidates] of those that are of none; NULL =
                                      nothing */
} galv_shapes;                     /* arrays are owned by the arena */

/* Errors: GALV_NO_MEMORY, GALV_USAGE (as galv_layer_table_make). */
galv_status galv_shapes_make(galv_shapes *shapes, const galv_costmodel *model,
                             const galv_space *space, const galv_candidates *candidates,
                             galv_arena *arena, galv_err *err);

/* The same with layers priced on the stages of one pool of a mixed cluster, in which
 * every candidate has stages. */
galv_status galv_shapes_make_on_pool(galv_shapes *shapes, const galv_costmodel *model,
                                     const galv_space *space,
                                     const galv_candidates *candidates, int32_t pool,
                                     galv_arena *arena, galv_err *err);

/* O(pp * vpp * groups). */
galv_shape_bound galv_shapes_bound(const galv_shapes *shapes, size_t candidate);

#endif
