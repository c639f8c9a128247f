/* The layer-wise search: plans whose layers differ in strategy and whose stages differ
 * in the number of blocks.
 *
 * The space. Uniform candidates that agree in pipeline, schedule, chunks and samples of
 * a micro-batch make a shape; layer-wise, their strategies may be mixed layer by layer,
 * and blocks divided freely, as search/layer_tree.h says. Left out: schedules whose
 * order follows costs, clusters of several pools, and stages without a block.
 *
 * What is proven. A plan fits when the simulation says so; those that galv_price_memory
 * leaves aside surely do not. Each shape has a lower bound of the simulated time that
 * holds for all its plans (search/layering.h). A shape is closed when that is no better
 * than the best time, or when its tree was walked to the end and every leaf with a
 * better bound was simulated or does not fit. When all are closed, the best plan is the
 * fastest of the whole space by the simulation itself. Where the tree is too large, a
 * few layerings are made directly (search/layer_guess.h): then the answer may be
 * beaten, by no more than `lower_bound_s` says. */
#ifndef GALV_SEARCH_LAYERWISE_H
#define GALV_SEARCH_LAYERWISE_H

#include "search/podium.h"
#include "search/search.h"
#include "search/shapes.h"
#include "sim/price_table.h"

typedef struct galv_layerwise_options {
    int n_jobs;
    galv_price_table **tables; /* [n_jobs] prices of other plans; NULL = none */
    galv_podium *podium; /* the best uniform plans, whose layers may be exchanged; what
                            is found enters it, and guesses that may are simulated to
                            the end. NULL = of one place. What is proven is proven of
                            the best alone */
    size_t first_index;  /* of the first layering judged, on the podium */
    int32_t max_runs;    /* of one strategy in a row of layers; 0 = 2 */
    uint64_t max_nodes;  /* of one shape's tree; 0 = 20,000 */
    uint64_t max_ops;    /* simulated in all, about; 0 = 20 million */
    bool (*stopped)(void *at); /* asked now and then: stop now? NULL = never */
    void *stopped_at;
} galv_layerwise_options;

typedef struct galv_layerwise_result {
    size_t n_searched;
    galv_searched *searched; /* every layering that was judged, in order; with its
                                candidate.layered; owned by the arena */
    int64_t best;            /* index of the best in `searched`, -1 = none */
    double best_s;           /* least of all times, those on the podium included */
    double lower_bound_s;    /* no layer-wise plan is faster */
    bool complete;           /* every shape is closed */
    bool interrupted;
    uint64_t n_simulated;
    uint32_t n_shapes, n_closed;
} galv_layerwise_result;

/* Mixes the layers of all shapes, and searches what is faster than the best on the
 * podium. The same result for any n_jobs. Errors: GALV_NO_MEMORY,
 * GALV_USAGE. */
galv_status galv_layerwise_search(galv_layerwise_result *result,
                                  const galv_costmodel *model, const galv_space *space,
                                  const galv_shapes *shapes,
                                  const galv_layerwise_options *options,
                                  galv_arena *arena, galv_err *err);

#endif
