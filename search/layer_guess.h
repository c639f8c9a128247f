/* Layerings made directly, where the tree is too large to walk: blocks divided by
 * search/partition.h, and in each stage the fastest point of search/frontier.h that
 * fits. Good first answers; nothing is claimed for them. */
#ifndef GALV_SEARCH_LAYER_GUESS_H
#define GALV_SEARCH_LAYER_GUESS_H

#include "search/layer_tree.h"
#include "sim/price_table.h"

typedef struct galv_layer_guesser {
    const galv_costmodel *model;
    const galv_layer_table *table;
    galv_replay *replay;
    const galv_overlap *overlap;
    double memory_bytes;
    int32_t max_runs;
    galv_price_table *prices; /* of other plans; NULL = none */
} galv_layer_guesser;

/* About how long the best layering of the shape takes; INFINITY when none seems to fit.
 * Cheap. Errors: GALV_NO_MEMORY. */
galv_status galv_layer_guess_time(double *time_s, const galv_layer_guesser *guesser,
                                  galv_arena *arena, galv_err *err);

/* A few layerings that fit by the estimate, by their bounds, owned by the arena.
 * Errors: GALV_NO_MEMORY. */
galv_status galv_layer_guess(galv_layer_leaves *leaves,
                             const galv_layer_guesser *guesser, galv_arena *arena,
                             galv_err *err);

#endif
