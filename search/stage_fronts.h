/* The frontiers of the stages of one shape (search/frontier.h), each made once: what a
 * stage's layers can take of time and memory depends on how many of each group it has,
 * not on how much memory there is for them, so that other limits only read off another
 * point. */
#ifndef GALV_SEARCH_STAGE_FRONTS_H
#define GALV_SEARCH_STAGE_FRONTS_H

#include "search/relaxation.h"

typedef struct galv_stage_fronts galv_stage_fronts;

/* The options of one group on one stage, none worse than another in both: ascending
 * bytes, descending time. */
typedef struct galv_stage_menu {
    int32_t n;
    const int32_t *choice; /* [n] index into the table's prices of the group */
} galv_stage_menu;

typedef struct galv_stage_fill {
    bool fits;             /* the rest is only set then */
    double bytes;          /* held and kept by the layers */
    const int32_t *choice; /* [all layers of the stage, group by group] index into the
                              table's prices; valid until the next call */
} galv_stage_fill;

/* The table and the replay must live as long. Layers are compared by `seconds`, and a
 * group of a stage takes at most max_runs runs of equal ones. Owned by the arena, which
 * it also takes what it makes later from. Errors: GALV_NO_MEMORY. */
galv_status galv_stage_fronts_new(galv_stage_fronts **fronts,
                                  const galv_layer_table *table,
                                  const galv_replay *replay, galv_layer_seconds seconds,
                                  int32_t max_runs, galv_arena *arena, galv_err *err);

galv_stage_menu galv_stage_fronts_menu(const galv_stage_fronts *fronts, int32_t stage,
                                       int32_t group);

/* The fastest way to fill a stage with n_layers[group] layers within room_bytes.
 * Errors: GALV_NO_MEMORY. */
galv_status galv_stage_fronts_fill(galv_stage_fill *fill, galv_stage_fronts *fronts,
                                   int32_t stage, const int32_t *n_layers,
                                   double room_bytes, galv_err *err);

#endif
