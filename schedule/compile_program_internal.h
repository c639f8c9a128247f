/* What the parts of the compiler share: compile.c lays out slot by slot, compile_end.c
 * adds what comes once an iteration. */
#ifndef GALV_SCHEDULE_COMPILE_PROGRAM_INTERNAL_H
#define GALV_SCHEDULE_COMPILE_PROGRAM_INTERNAL_H

#include "schedule/compile_layouts_internal.h"
#include "schedule/mailbox_internal.h"

/* What a rank did last. */
typedef struct galv_compiled_rank {
    uint32_t carry[GALV_MAX_EXITS + 2];
    int32_t n_carry;
    uint32_t unit_ends[2];
    uint32_t last_data_parallel; /* op on the DP queue */
    uint32_t last_passed_on;     /* op of its last pass but for weights alone */
} galv_compiled_rank;

typedef struct galv_compiler {
    const galv_job *job;
    const galv_plan *plan;
    galv_schedule own_schedule;
    const galv_schedule *schedule; /* own_schedule */
    galv_schedule_shape shape;
    galv_arena *arena; /* of the program */
    galv_arena *layouts_arena;
    galv_builder builder;
    galv_mailbox mailbox;
    int32_t n_chunks;           /* of a stage */
    int32_t n_virtual;          /* virtual stages of a copy */
    galv_chunk **chunks;        /* [pp][n_chunks] */
    int32_t *stage_of;          /* [copies][n_virtual] */
    galv_compiled_rank *ranks;  /* [pp] */
    galv_slot *slots;           /* [pp][slots of a stage] */
    galv_stage_layouts layouts; /* of one stage */
    uint32_t **gathers; /* [n_chunks] of one stage: last gather of each bucket */
    bool by_pass;       /* make passes single operations */
    struct galv_compiled_body *bodies; /* the last one first */
} galv_compiler;

typedef struct galv_compiled_body {
    struct galv_compiled_body *next;
    uint32_t class_index;
    galv_program_body body;
} galv_compiled_body;

/* An operation on all layers of a chunk. */
galv_operation galv_compile_operation(int kind, int stream, int part, int pass,
                                      const galv_chunk *chunk);

/* Adds it to the queue of its stage; returns the op. */
uint32_t galv_compile_add(galv_compiler *compiler, const galv_operation *operation,
                          int32_t micro_batch);

/* `op` waits for all that what a rank does next has to wait for. */
void galv_compile_wait_for_carry(galv_compiler *compiler, uint32_t op,
                                 const galv_compiled_rank *rank);

/* ---- compile_whole.c ---- */

/* May passes of the plan be single operations? */
bool galv_compile_may_be_whole(const galv_compiler *compiler);

/* The class that stands for a pass, made when it is first asked for; GALV_NO_OP: the
 * pass cannot be a single operation. */
uint32_t galv_compile_whole(galv_compiler *compiler, galv_pass_layout *layout,
                            const galv_chunk *chunk);

/* Hands the bodies over to the program; false when memory is out. */
bool galv_compile_give_bodies(galv_program *program, const galv_compiler *compiler);

/* ---- compile_end.c ---- */

/* The i-th chunk of a stage in the order of the layers, so that stages that hold copies
 * of the same layers come to them in the same order. */
const galv_chunk *galv_compile_ith_chunk(const galv_compiler *compiler, int32_t stage,
                                         int32_t i);

/* Gathers the parameters of a chunk that ZeRO-1 or 2 has stepped in shares. `after` =
 * GALV_NO_OP: at the begin of the iteration. gathers[buckets] gets the last gather of
 * each; NULL = nobody waits for them. */
void galv_compile_gather_chunk(galv_compiler *compiler, const galv_chunk *chunk,
                               uint32_t *gathers, uint32_t after);

/* Without overlap, ZeRO-0 and 1 reduce all gradients when backward is over. */
void galv_compile_reduce_at_end(galv_compiler *compiler, int32_t stage);

/* Adds up the gradients of tied embeddings, and takes the steps of all stages. */
void galv_compile_finish(galv_compiler *compiler);

#endif
