/* Layerings made directly, where the tree is too large to walk: blocks divided by
 * search/partition.h, and in each stage the point of search/frontier.h that is fastest
 * within memory. Good first answers; nothing is claimed for them. */
#ifndef GALV_SEARCH_LAYER_GUESS_H
#define GALV_SEARCH_LAYER_GUESS_H

#include "search/layer_tree.h"

/* A few layerings of a shape, by their bounds, owned by the arena. */
galv_status galv_layer_guess(galv_layer_leaves *leaves, const galv_layer_table *table,
                             galv_replay *replay, const galv_model *model,
                             double memory_bytes, galv_arena *arena, galv_err *err);

#endif
