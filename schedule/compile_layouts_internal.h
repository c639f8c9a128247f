/* The layouts of one stage's passes, each made when it is first asked for: of a pass as
 * usual, of the first or last pass over its chunk, and of pairs of such. */
#ifndef GALV_SCHEDULE_COMPILE_LAYOUTS_INTERNAL_H
#define GALV_SCHEDULE_COMPILE_LAYOUTS_INTERNAL_H

#include "schedule/compile_internal.h"

/* A pass of a chunk of the stage. */
typedef struct galv_pass_key {
    int32_t chunk;
    int pass;    /* galv_pass */
    bool hooked; /* the first forward, or the last backward, over the chunk */
} galv_pass_key;

typedef struct galv_pair_layout {
    struct galv_pair_layout *next;
    galv_pass_key keys[2];
    galv_pass_layout layout;
} galv_pair_layout;

typedef struct galv_stage_layouts {
    const galv_job *job;
    const galv_plan *plan;
    const galv_chunk *chunks;  /* of the stage */
    galv_pass_layout **passes; /* [chunks * 4 * 2 * 2] by chunk, pass, hooked, beside;
                                  NULL = not made yet */
    galv_pair_layout *pairs;
    galv_arena *arena;
} galv_stage_layouts;

/* No layouts yet. Everything borrowed; layouts are owned by the arena. */
galv_status galv_stage_layouts_init(galv_stage_layouts *layouts, const galv_job *job,
                                    const galv_plan *plan, const galv_chunk *chunks,
                                    galv_arena *arena, galv_err *err);

/* The layout of a pass, or of two that run beside each other (n_keys 2: a forward, then
 * a backward). The same pointer for the same keys. Errors: GALV_NO_MEMORY. */
galv_status galv_stage_layouts_get(galv_pass_layout **layout,
                                   galv_stage_layouts *layouts,
                                   const galv_pass_key *keys, int n_keys,
                                   galv_err *err);

#endif
