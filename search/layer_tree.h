/* The tree of all layerings of one shape, walked with bounds: what is left are leaves
 * that may be faster than a time, and may fit.
 *
 * The space. Blocks are divided over the virtual stages in every way that gives each at
 * least one (bare ends excepted, search/layering.h). In a virtual stage, each row of
 * layers of one group is divided into at most max_runs runs of one strategy each; with
 * max_runs at least the number of layers that is every assignment there is. */
#ifndef GALV_SEARCH_LAYER_TREE_H
#define GALV_SEARCH_LAYER_TREE_H

#include "search/layering.h"

typedef struct galv_layer_leaf {
    double bound_s;
    galv_layering layering;
} galv_layer_leaf;

typedef struct galv_layer_leaves {
    size_t n_leaves;
    galv_layer_leaf *leaves; /* by (bound_s, place in the tree); owned by the arena */
    uint64_t n_nodes;        /* looked at */
    bool complete;           /* no branch was left for want of nodes */
} galv_layer_leaves;

typedef struct galv_layer_tree_limits {
    double stop_at_s;    /* leaves with a bound of this and more are cut */
    double memory_bytes; /* so are those that need more */
    int32_t max_runs;
    uint64_t max_nodes; /* give up after so many */
} galv_layer_tree_limits;

/* Errors: GALV_NO_MEMORY. When it gives up, `leaves` are those found so far. */
galv_status galv_layer_tree_walk(galv_layer_leaves *leaves,
                                 const galv_layer_table *table, galv_replay *replay,
                                 const galv_model *model,
                                 const galv_layer_tree_limits *limits,
                                 galv_arena *arena, galv_err *err);

#endif
