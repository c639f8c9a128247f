/* Builds a program from operations in any order of ranks and streams.
 *
 * Operations are appended as they come; finish() puts them in the order of their
 * queues and the waits behind their operations. Sticky: once memory is out, further
 * calls do nothing and finish() reports it. */
#ifndef GALV_SCHEDULE_BUILDER_INTERNAL_H
#define GALV_SCHEDULE_BUILDER_INTERNAL_H

#include "schedule/program.h"

#define GALV_NO_OP UINT32_MAX

typedef struct galv_builder_op {
    uint32_t class_index;
    int32_t micro_batch;
    uint32_t queue;
} galv_builder_op;

typedef struct galv_builder_wait {
    uint32_t op;
    uint32_t on;
} galv_builder_wait;

typedef struct galv_builder {
    int32_t n_ranks, n_chunks, n_micro_batches;
    galv_builder_op *ops;
    size_t n_ops, ops_capacity;
    galv_builder_wait *waits;
    size_t n_waits, waits_capacity;
    galv_operation *classes;
    size_t n_classes, classes_capacity;
    uint32_t *slots; /* open addressing over classes; class + 1, 0 = empty */
    size_t n_slots;  /* a power of two */
    bool failed;
} galv_builder;

/* Caller releases with galv_builder_release. */
void galv_builder_init(galv_builder *builder, int32_t n_ranks, int32_t n_chunks,
                       int32_t n_micro_batches);
void galv_builder_release(galv_builder *builder);

/* The class of an operation: the same number for equal operations. */
uint32_t galv_builder_class(galv_builder *builder, const galv_operation *operation);

/* Appends an operation to the queue of a rank and of its class's stream. */
uint32_t galv_builder_add(galv_builder *builder, int32_t rank, uint32_t class_index,
                          int32_t micro_batch);

/* `op` starts after `on` has ended. GALV_NO_OP, and what the queue implies, is
 * dropped. */
void galv_builder_add_wait(galv_builder *builder, uint32_t op, uint32_t on);

/* The program, owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_builder_finish(galv_program **program, const galv_builder *builder,
                                galv_arena *arena, galv_err *err);

#endif
