/* The layers of one pass laid out as operations (compile_units.c), for compile.c to
 * stamp once per micro-batch. */
#ifndef GALV_SCHEDULE_COMPILE_INTERNAL_H
#define GALV_SCHEDULE_COMPILE_INTERNAL_H

#include "schedule/builder_internal.h"

#define GALV_MAX_WAITS   6
#define GALV_MAX_EXITS   (2 * GALV_MAX_WAITS) /* of two passes */
#define GALV_MAX_REPEATS 8

/* Layers whose gradients are reduced, or parameters gathered, in one message. */
typedef struct galv_bucket {
    int32_t first_layer;
    int32_t n_layers;
} galv_bucket;

/* One chunk of a stage. */
typedef struct galv_chunk {
    int32_t stage, chunk;
    int32_t virtual_stage;
    int32_t first_layer, end_layer;
    int32_t n_buckets;
    galv_bucket *buckets; /* in the order of layers; together all layers */
} galv_chunk;

/* What is different in the first and the last pass over a chunk, and in a pair. */
typedef struct galv_pass_hooks {
    bool wait_for_parameters; /* forward: each bucket waits for its gather */
    bool reduce_gradients;    /* backward: reduce buckets as they are done (ZeRO 0, 1;
                                 higher stages reduce in every pass) */
    bool beside;              /* the pass runs beside another, and hides what it can */
    bool shortens; /* of a row of equal layers only the first few are laid out:
                      for who asks what a pass takes, not for stamping */
} galv_pass_hooks;

typedef struct galv_pass_op {
    galv_operation operation;
    uint32_t class_index;          /* in the program + 1; 0 = not looked up yet */
    int32_t waits[GALV_MAX_WAITS]; /* ops of this pass */
    int32_t n_waits;
    bool enters; /* waits for the input of the pass, of a pair for those of both, and
                    for what the rank did before */
    uint8_t of;  /* of a pair: the pass it belongs to, 0 = forward, 1 = backward */
    int32_t waits_unit; /* 1, 2: for the last or last but one unit of earlier passes */
    int32_t gather;     /* bucket whose parameters it waits for, -1 = none */
} galv_pass_op;

typedef struct galv_pass_layout {
    int32_t n_ops, capacity;
    galv_pass_op *ops; /* in an order that respects every wait */
    int32_t n_exits;   /* the pass is over when these are */
    int32_t exits[GALV_MAX_EXITS];
    int32_t unit_ends[2]; /* last computation of the last unit, and of the one before */
    uint32_t *stamped;    /* [n_ops] ops of the program as they were stamped last; NULL
                             where nobody stamps */
    int pass;             /* galv_pass; of a pair: no matter */
    bool hooked;          /* with hooks of its own */
    bool whole_asked;
    uint32_t whole;    /* class that stands for all of it, GALV_NO_OP = none can */
    int32_t n_repeats; /* 0 unless it was shortened */
    galv_pass_repeat repeats[GALV_MAX_REPEATS];
} galv_pass_layout;

/* One chunk of a stage, its buckets owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_compile_chunk(galv_chunk *chunk, const galv_job *job,
                               const galv_plan *plan, const galv_schedule *schedule,
                               const galv_schedule_shape *shape, int32_t stage,
                               int32_t index, galv_arena *arena, galv_err *err);

/* The chunks of a stage: chunks[galv_plan_n_chunks], owned by the arena. */
galv_status galv_compile_chunks(galv_chunk **chunks, const galv_job *job,
                                const galv_plan *plan, const galv_schedule *schedule,
                                const galv_schedule_shape *shape, int32_t stage,
                                galv_arena *arena, galv_err *err);

/* Lays out a pass (galv_pass) of a chunk, in the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_compile_pass(galv_pass_layout *layout, const galv_job *job,
                              const galv_plan *plan, const galv_chunk *chunk, int pass,
                              const galv_pass_hooks *hooks, galv_arena *arena,
                              galv_err *err);

/* Lays out a pair of passes that run beside each other: the operations of both, each
 * pass in its own order, their computations taking turns. It begins when the inputs of
 * both are there and is over when both are. Errors: GALV_NO_MEMORY.
 *
 * A pass is cut into stretches where its computation waits for a communication of its
 * own. The passes take turns stretch by stretch, each in proportion to how many it has,
 * backward first: while what one has sent is on its way, the other computes. Where
 * neither is cut there is nothing to hide, and forward goes first. Both are laid out
 * with hooks.beside.
 * Source: DeepSeek-AI 2024, arXiv 2412.19437 section 3.2.1 and figure 4 (attention,
 * dispatch, MLP and combine of one beside those of the other). */
galv_status galv_compile_pair(galv_pass_layout *layout, const galv_pass_layout *forward,
                              const galv_pass_layout *backward, galv_arena *arena,
                              galv_err *err);

/* Makes every collective on the DP stream of a two-way program one of both stages that
 * hold its layers: it starts on either when both can. Errors: GALV_USAGE when the two
 * come to them in different orders. */
galv_status galv_compile_meet_copies(galv_builder *builder, galv_err *err);

/* The schedule of a plan and its shape. Errors: GALV_USAGE. */
galv_status galv_compile_shape(galv_schedule *schedule, galv_schedule_shape *shape,
                               const galv_plan *plan, galv_err *err);

/* Are a layer's gradients reduced over several ranks: those of its dense part, those of
 * its experts? `parts` gets at most two galv_part; returns how many. */
int galv_compile_reduced_parts(int parts[2], const galv_job *job, const galv_plan *plan,
                               int32_t layer);

#endif
