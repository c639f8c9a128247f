/* The layers of one pass laid out as operations (compile_units.c), for compile.c to
 * stamp once per micro-batch. */
#ifndef GALV_SCHEDULE_COMPILE_INTERNAL_H
#define GALV_SCHEDULE_COMPILE_INTERNAL_H

#include "schedule/program.h"

#define GALV_MAX_WAITS 6

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

/* What is different in the first and the last pass over a chunk. */
typedef struct galv_pass_hooks {
    bool wait_for_parameters; /* forward: each bucket waits for its gather */
    bool reduce_gradients;    /* backward: reduce buckets as they are done (ZeRO 0, 1;
                                 higher stages reduce in every pass) */
} galv_pass_hooks;

typedef struct galv_pass_op {
    galv_operation operation;
    uint32_t class_index;          /* in the program + 1; 0 = not looked up yet */
    int32_t waits[GALV_MAX_WAITS]; /* ops of this pass */
    int32_t n_waits;
    bool enters; /* waits for the pass's input and for what the rank did before */
    int32_t waits_unit; /* 1, 2: for the last or last but one unit of earlier passes */
    int32_t gather;     /* bucket whose parameters it waits for, -1 = none */
} galv_pass_op;

typedef struct galv_pass_layout {
    int32_t n_ops, capacity;
    galv_pass_op *ops; /* in an order that respects every wait */
    int32_t n_exits;   /* the pass is over when these are */
    int32_t exits[GALV_MAX_WAITS];
    int32_t unit_ends[2]; /* last computation of the last unit, and of the one before */
} galv_pass_layout;

/* The chunks of a stage: chunks[plan->vpp], owned by the arena. */
galv_status galv_compile_chunks(galv_chunk **chunks, const galv_job *job,
                                const galv_plan *plan, const galv_schedule *schedule,
                                const galv_schedule_shape *shape, int32_t stage,
                                galv_arena *arena, galv_err *err);

/* Lays out a pass (galv_pass) of a chunk, in the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_compile_pass(galv_pass_layout *layout, const galv_job *job,
                              const galv_plan *plan, const galv_chunk *chunk, int pass,
                              const galv_pass_hooks *hooks, galv_arena *arena,
                              galv_err *err);

/* The schedule of a plan and its shape. Errors: GALV_USAGE; GALV_UNAVAILABLE for
 * schedules with paired passes. */
galv_status galv_compile_shape(galv_schedule *schedule, galv_schedule_shape *shape,
                               const galv_plan *plan, galv_err *err);

/* Are a layer's gradients reduced over several ranks: those of its dense part, those of
 * its experts? `parts` gets at most two galv_part; returns how many. */
int galv_compile_reduced_parts(int parts[2], const galv_job *job, const galv_plan *plan,
                               int32_t layer);

#endif
