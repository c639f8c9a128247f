/* What one pass over one chunk does to a stage's memory, without a clock. */
#ifndef GALV_SIM_PASS_MEMORY_H
#define GALV_SIM_PASS_MEMORY_H

#include "schedule/program.h"
#include "sim/prices.h"

typedef struct galv_pass_memory {
    double net_bytes;     /* what it changes for good */
    double crest_bytes;   /* the highest point it reaches on the way, over its begin */
    double message_bytes; /* largest transient of what is not computation */
    double ahead_bytes;   /* largest thing that a message takes when it starts */
} galv_pass_memory;

/* Walks the operations of a pass, costs[n_ops], in program order. */
void galv_pass_memory_add_up(galv_pass_memory *memory, const galv_pass_ops *ops,
                             const galv_cost *const *costs);

/* The same for a forward of a chunk and a backward (galv_pass) of another that run
 * beside each other, with the plan's prices. Errors: as galv_program_pair;
 * GALV_NO_MEMORY. */
galv_status galv_pair_memory_walk(galv_pass_memory *memory, galv_prices *prices,
                                  const galv_job *job, const galv_plan *plan,
                                  int32_t stage, int32_t forward_chunk,
                                  int32_t backward_chunk, int backward_pass,
                                  galv_arena *arena, galv_err *err);

#endif
