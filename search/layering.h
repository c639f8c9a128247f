/* A layering: which strategy each layer has, and how many blocks each virtual stage;
 * and what is known of its time and memory without compiling it.
 *
 * Virtual stage 0 holds the embedding, the last one the head; each holds at least one
 * block, but these two where the model's ends may be bare. Whatever else is not a block
 * goes with the block after it. */
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

/* Ends of the pipeline that need no block: the last virtual stage may hold the head
 * alone, the first the embedding alone (as galv_plan_balance has it where blocks are
 * too few). */
typedef struct galv_bare_ends {
    bool first, last;
} galv_bare_ends;

galv_bare_ends galv_model_bare_ends(const galv_model *model);

/* Borders of virtual stages that hold so many blocks each: first_layer[n_virtual + 1].
 */
void galv_layering_divide(int32_t *first_layer, const galv_model *model,
                          const int32_t *blocks, int32_t n_virtual);

/* The most virtual stages that the model's layers can be divided over. */
int32_t galv_model_most_stages(const galv_model *model);

#endif
