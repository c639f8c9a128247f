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

/* Walks a pass (galv_pass) of a chunk in program order, with the plan's prices.
 * Errors: as galv_program_pass; GALV_NO_MEMORY. */
galv_status galv_pass_memory_walk(galv_pass_memory *memory, galv_prices *prices,
                                  const galv_job *job, const galv_plan *plan,
                                  int32_t stage, int32_t chunk, int pass,
                                  galv_arena *arena, galv_err *err);

/* The same for a forward of a chunk and a backward (galv_pass) of another that run
 * beside each other. */
galv_status galv_pair_memory_walk(galv_pass_memory *memory, galv_prices *prices,
                                  const galv_job *job, const galv_plan *plan,
                                  int32_t stage, int32_t forward_chunk,
                                  int32_t backward_chunk, int backward_pass,
                                  galv_arena *arena, galv_err *err);

#endif
