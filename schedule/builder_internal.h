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

enum { GALV_SEGMENT_BITS = 11, GALV_SEGMENT = 1 << GALV_SEGMENT_BITS };

/* A list that grows by segments, so that nothing in it moves. */
typedef struct galv_builder_list {
    void **segments;
    size_t n_segments, capacity; /* of the table */
} galv_builder_list;

typedef struct galv_builder {
    int32_t n_ranks, n_chunks, n_micro_batches;
    galv_arena *arena; /* of the lists */
    bool owns_arena;
    galv_builder_list ops; /* galv_builder_op */
    size_t n_ops;
    galv_builder_list waits; /* galv_builder_wait */
    size_t n_waits;
    galv_operation *classes;
    size_t n_classes, classes_capacity;
    uint32_t *slots; /* open addressing over classes; class + 1, 0 = empty */
    size_t n_slots;  /* a power of two */
    bool failed;
} galv_builder;

static inline galv_builder_op *galv_builder_op_at(const galv_builder *builder, size_t i)
{
    galv_builder_op *segment = builder->ops.segments[i >> GALV_SEGMENT_BITS];
    return &segment[i & (GALV_SEGMENT - 1)];
}

static inline galv_builder_wait *galv_builder_wait_at(const galv_builder *builder,
                                                      size_t i)
{
    galv_builder_wait *segment = builder->waits.segments[i >> GALV_SEGMENT_BITS];
    return &segment[i & (GALV_SEGMENT - 1)];
}

/* Lists are kept in `scratch`, which must stay as it is until the release; NULL: in an
 * arena of their own. Caller releases with galv_builder_release. */
void galv_builder_init(galv_builder *builder, galv_arena *scratch, int32_t n_ranks,
                       int32_t n_chunks, int32_t n_micro_batches);
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
