/* A layering: which strategy each layer has, and how many blocks each virtual stage;
 * and what is known of its time and memory without compiling it.
 *
 * Virtual stage 0 holds the embedding, the last one the head, each at least one block;
 * whatever else is not a block goes with the block after it. */
#ifndef GALV_SEARCH_LAYERING_H
#define GALV_SEARCH_LAYERING_H

#include "search/layer_table.h"
#include "search/replay.h"

typedef struct galv_layering {
    int16_t *choice;      /* [n_layers] index into the table's prices of its group */
    int32_t *first_layer; /* [pp * vpp + 1] */
} galv_layering;

/* Sums of one layering by stage; all arrays owned by the arena it was made in. */
typedef struct galv_layering_sums {
    double *forward_s, *backward_s, *weight_s; /* [pp * vpp] of one micro-batch */
    double *load_s;                            /* [pp][GALV_N_STREAMS] */
    double *optimizer_s;                       /* [pp] */
    double *bytes;                             /* [pp] */
} galv_layering_sums;

galv_status galv_layering_sums_new(galv_layering_sums *sums,
                                   const galv_layer_table *table, galv_arena *arena,
                                   galv_err *err);
void galv_layering_sums_clear(galv_layering_sums *sums, const galv_layer_table *table);

/* Adds a layer to chunk `chunk` of `stage`, virtual stage `v`. `before`, `after`: the
 * layers next to it, NULL = unknown or none: then no change is counted on that side. */
void galv_layering_add(galv_layering_sums *sums, const galv_layer_price *price,
                       const galv_layer_price *before, const galv_layer_price *after,
                       int32_t stage, int32_t v, double kept);

/* A lower bound of the simulated time of what was added: the schedule replayed, or the
 * busiest stream if that is more, and the longest step. */
double galv_layering_bound_s(const galv_layering_sums *sums,
                             const galv_layer_table *table, galv_replay *replay);

/* Sums up a whole layering. */
void galv_layering_sum(galv_layering_sums *sums, const galv_layering *layering,
                       const galv_layer_table *table, const galv_replay *replay);

/* The plan of a layering, checked. */
galv_status galv_layering_plan(galv_plan **plan, const galv_layering *layering,
                               const galv_layer_table *table,
                               const galv_overlap *overlap, const galv_job *job,
                               galv_arena *arena, galv_err *err);

/* Is it a block? (Neither embedding, patch merge nor head.) */
bool galv_layer_is_block(const galv_layer_group *group);

#endif
