/* One task of the search under Galvatron's model: batch, micro-batches, stages, the
 * shared buffer's degree and the strategy of embedding and head are given; blocks are
 * to be chosen. Internal to search/galvatron_search.c. */
#ifndef GALV_SEARCH_GALVATRON_TASK_INTERNAL_H
#define GALV_SEARCH_GALVATRON_TASK_INTERNAL_H

#include "search/counts.h"
#include "search/galvatron_search.h"

#define GALV_GALVATRON_MAX_STAGES 64

/* A strategy and what it costs, as a block and as embedding and head. */
typedef struct galv_galvatron_priced {
    galv_strategy strategy;
    galv_galvatron_part layer;
    galv_galvatron_part ends[2];
    bool is_layer, is_end;
} galv_galvatron_priced;

/* Micro-batches and stages, with the strategies that can be used there. */
typedef struct galv_galvatron_shape {
    galv_galvatron_task task;
    int32_t n_priced;
    galv_galvatron_priced *priced;
} galv_galvatron_shape;

/* Stages of the best plan so far. */
typedef struct galv_galvatron_best {
    double time_s; /* INFINITY: none yet */
    int32_t shape, buffer_tp, ends;
    galv_galvatron_stage stages[GALV_GALVATRON_MAX_STAGES];
    int32_t stage_blocks[GALV_GALVATRON_MAX_STAGES];
    int32_t counts[GALV_GALVATRON_MAX_STAGES][GALV_COUNTS_MAX_OPTIONS]; /* by priced */
} galv_galvatron_best;

/* Scratch of one search; large, so not on the stack. */
typedef struct galv_galvatron_room {
    const galv_galvatron_inputs *inputs;
    const galv_galvatron_space *space;
    double usable_mib; /* budget without the reserve */
    /* of the shape and buffer chosen: */
    const galv_galvatron_shape *shape;
    int32_t shape_index, buffer_tp;
    double buffer_mib;
    int32_t stage_blocks[GALV_GALVATRON_MAX_STAGES];
    int32_t n_options[GALV_GALVATRON_MAX_STAGES];
    galv_count_option options[GALV_GALVATRON_MAX_STAGES][GALV_COUNTS_MAX_OPTIONS];
    /* answers of a task */
    galv_count_answer answers[GALV_GALVATRON_MAX_STAGES];
    double bounds_s[GALV_GALVATRON_MAX_STAGES]; /* C_i at least */
    galv_galvatron_best best;
    double
        lower_bound_s; /* of the tasks that were solved, where it is below their time */
} galv_galvatron_room;

/* Turns to a shape and a buffer: blocks of each stage, options of each stage. False
 * when no strategy can be used. */
bool galv_galvatron_turn_to(galv_galvatron_room *room,
                            const galv_galvatron_shape *shape, int32_t shape_index,
                            int32_t buffer_tp);

/* May embedding and head take this strategy with the buffer chosen? */
bool galv_galvatron_end_allowed(const galv_galvatron_room *room, int32_t ends);

/* A lower bound of the iteration; INFINITY when nothing fits. */
double galv_galvatron_task_bound(galv_galvatron_room *room, int32_t ends);

/* Solves the task; what is better than room->best replaces it. */
void galv_galvatron_task_solve(galv_galvatron_room *room, int32_t ends);

#endif
