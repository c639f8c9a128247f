/* The program builder: two growing lists and one sort.
 *
 * Programs are emitted rank by rank in the order of the schedule, which mixes streams;
 * the finished form wants each queue in one piece, so that the simulator walks memory
 * forwards. Both the operations and the waits are put in place by counting sorts, so
 * building is linear and its result depends on the order of calls alone.
 *
 * Operations and waits are kept in segments, in memory that is only borrowed while the
 * program is built; only the finished arrays go to the arena of the program. */
#include "schedule/builder_internal.h"

#include <stdlib.h>
#include <string.h>

/* No list grows beyond this: 2^28 operations take some 20 GiB to simulate, and whoever
 * asks for more has a batch size with a zero too many. */
#define MOST ((size_t)1 << 28)

void galv_builder_init(galv_builder *builder, galv_arena *scratch, int32_t n_ranks,
                       int32_t n_chunks, int32_t n_micro_batches)
{
    memset(builder, 0, sizeof *builder);
    builder->owns_arena = scratch == NULL;
    builder->arena = builder->owns_arena ? galv_arena_new() : scratch;
    builder->failed = builder->arena == NULL;
    builder->n_ranks = n_ranks;
    builder->n_chunks = n_chunks;
    builder->n_micro_batches = n_micro_batches;
}

void galv_builder_release(galv_builder *builder)
{
    if (builder->owns_arena) {
        galv_arena_free(builder->arena);
    }
    free(builder->ops.segments);
    free(builder->waits.segments);
    free(builder->classes);
    free(builder->slots);
    memset(builder, 0, sizeof *builder);
}

/* Room for one more element; false, and sticky, when there is none. */
static bool grow(galv_builder *builder, void **array, size_t *capacity, size_t count,
                 size_t size)
{
    if (builder->failed) {
        return false;
    }
    if (count < *capacity) {
        return true;
    }
    size_t wanted = *capacity == 0 ? 256 : *capacity * 2;
    if (count >= MOST || wanted > SIZE_MAX / size) {
        builder->failed = true;
        return false;
    }
    void *grown = realloc(*array, wanted * size);
    if (grown == NULL) {
        builder->failed = true;
        return false;
    }
    *array = grown;
    *capacity = wanted;
    return true;
}

/* Room in a list for element `count`, the next one. */
static bool extend(galv_builder *builder, galv_builder_list *list, size_t count,
                   size_t size)
{
    if (builder->failed || count >> GALV_SEGMENT_BITS < list->n_segments) {
        return !builder->failed;
    }
    if (count >= MOST) {
        builder->failed = true;
        return false;
    }
    if (!grow(builder, (void **)&list->segments, &list->capacity, list->n_segments,
              sizeof *list->segments)) {
        return false;
    }
    void *segment = galv_arena_calloc(builder->arena, GALV_SEGMENT, size);
    if (segment == NULL) {
        builder->failed = true;
        return false;
    }
    list->segments[list->n_segments++] = segment;
    return true;
}

static bool same_operation(const galv_operation *a, const galv_operation *b)
{
    return a->kind == b->kind && a->stream == b->stream && a->part == b->part &&
           a->pass == b->pass && a->stage == b->stage && a->chunk == b->chunk &&
           a->first_layer == b->first_layer && a->n_layers == b->n_layers &&
           a->peer_stage == b->peer_stage;
}

static uint64_t mix(uint64_t hash, uint32_t low, uint32_t high)
{
    hash = (hash ^ low ^ (uint64_t)high << 32) * 0x9e3779b97f4a7c15U;
    return hash ^ hash >> 29;
}

/* Over the fields, two at a time: every op of a program is looked up once, so this is a
 * good part of making one. The order of classes does not depend on it. */
static size_t hash_operation(const galv_operation *operation)
{
    uint32_t words = (uint32_t)operation->kind | (uint32_t)operation->stream << 8 |
                     (uint32_t)operation->part << 16 | (uint32_t)operation->pass << 24;
    uint64_t hash = mix(0, words, (uint32_t)operation->stage);
    hash = mix(hash, (uint32_t)operation->chunk, (uint32_t)operation->first_layer);
    hash = mix(hash, (uint32_t)operation->n_layers, (uint32_t)operation->peer_stage);
    return (size_t)(hash ^ hash >> 32);
}

/* Doubles the hash table when it is half full. */
static bool rehash(galv_builder *builder)
{
    if (builder->n_slots > 2 * (builder->n_classes + 1)) {
        return true;
    }
    size_t n_slots = builder->n_slots == 0 ? 256 : builder->n_slots * 2;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        builder->failed = true;
        return false;
    }
    for (size_t i = 0; i < builder->n_classes; i++) {
        size_t at = hash_operation(&builder->classes[i]) & (n_slots - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (n_slots - 1);
        }
        slots[at] = (uint32_t)i + 1;
    }
    free(builder->slots);
    builder->slots = slots;
    builder->n_slots = n_slots;
    return true;
}

uint32_t galv_builder_class(galv_builder *builder, const galv_operation *operation)
{
    if (builder->failed || !rehash(builder)) {
        return GALV_NO_OP;
    }
    size_t at = hash_operation(operation) & (builder->n_slots - 1);
    while (builder->slots[at] != 0) {
        uint32_t found = builder->slots[at] - 1;
        if (same_operation(&builder->classes[found], operation)) {
            return found;
        }
        at = (at + 1) & (builder->n_slots - 1);
    }
    if (!grow(builder, (void **)&builder->classes, &builder->classes_capacity,
              builder->n_classes, sizeof *builder->classes)) {
        return GALV_NO_OP;
    }
    builder->classes[builder->n_classes] = *operation;
    builder->slots[at] = (uint32_t)builder->n_classes + 1;
    return (uint32_t)builder->n_classes++;
}

uint32_t galv_builder_add(galv_builder *builder, int32_t rank, uint32_t class_index,
                          int32_t micro_batch)
{
    if (class_index == GALV_NO_OP ||
        !extend(builder, &builder->ops, builder->n_ops, sizeof(galv_builder_op))) {
        return GALV_NO_OP;
    }
    galv_builder_op *op = galv_builder_op_at(builder, builder->n_ops);
    op->class_index = class_index;
    op->micro_batch = micro_batch;
    op->queue = (uint32_t)rank * GALV_N_STREAMS + builder->classes[class_index].stream;
    return (uint32_t)builder->n_ops++;
}

void galv_builder_add_wait(galv_builder *builder, uint32_t op, uint32_t on)
{
    if (op == GALV_NO_OP || on == GALV_NO_OP ||
        (on < op && galv_builder_op_at(builder, op)->queue ==
                        galv_builder_op_at(builder, on)->queue) ||
        !extend(builder, &builder->waits, builder->n_waits,
                sizeof(galv_builder_wait))) {
        return;
    }
    galv_builder_wait *wait = galv_builder_wait_at(builder, builder->n_waits++);
    wait->op = op;
    wait->on = on;
}

/* Puts ops in the order of their queues; place[op] is where an op went. */
static void place_ops(galv_program *program, uint32_t *place,
                      const galv_builder *builder)
{
    size_t n_queues = (size_t)builder->n_ranks * GALV_N_STREAMS;
    uint32_t *begin = program->queue_begin;
    for (size_t op = 0; op < builder->n_ops; op++) {
        begin[galv_builder_op_at(builder, op)->queue + 1]++;
    }
    for (size_t queue = 0; queue < n_queues; queue++) {
        begin[queue + 1] += begin[queue];
    }
    for (size_t op = 0; op < builder->n_ops; op++) {
        const galv_builder_op *from = galv_builder_op_at(builder, op);
        place[op] = begin[from->queue]++;
        program->ops[place[op]].class_index = from->class_index;
        program->ops[place[op]].micro_batch = from->micro_batch;
    }
    for (size_t queue = n_queues; queue > 0; queue--) { /* begins moved one on: back */
        begin[queue] = begin[queue - 1];
    }
    begin[0] = 0;
}

/* Puts the waits behind their operations, in the order in which they were added. */
static void place_waits(galv_program *program, const uint32_t *place,
                        const galv_builder *builder)
{
    galv_program_op *ops = program->ops;
    for (size_t i = 0; i < builder->n_waits; i++) {
        ops[place[galv_builder_wait_at(builder, i)->op]].first_dependency++;
    }
    uint32_t sum = 0;
    for (size_t op = 0; op <= builder->n_ops; op++) {
        uint32_t count = ops[op].first_dependency;
        ops[op].first_dependency = sum;
        sum += count;
    }
    for (size_t i = 0; i < builder->n_waits; i++) {
        const galv_builder_wait *wait = galv_builder_wait_at(builder, i);
        galv_program_op *op = &ops[place[wait->op]];
        program->dependencies[op->first_dependency++] = place[wait->on];
    }
    for (size_t op = builder->n_ops; op > 0; op--) { /* firsts moved on: back */
        ops[op].first_dependency = ops[op - 1].first_dependency;
    }
    ops[0].first_dependency = 0;
}

galv_status galv_builder_finish(galv_program **program, const galv_builder *builder,
                                galv_arena *arena, galv_err *err)
{
    size_t n_queues = (size_t)builder->n_ranks * GALV_N_STREAMS;
    galv_program *made = GALV_NEW(arena, galv_program);
    uint32_t *place =
        builder->failed ? NULL
                        : GALV_NEW_ARRAY(builder->arena, uint32_t, builder->n_ops + 1);
    if (made != NULL && !builder->failed) {
        made->classes = GALV_NEW_ARRAY(arena, galv_operation, builder->n_classes);
        made->ops = GALV_NEW_ARRAY(arena, galv_program_op, builder->n_ops + 1);
        made->queue_begin = GALV_NEW_ARRAY(arena, uint32_t, n_queues + 1);
        made->dependencies = GALV_NEW_ARRAY(arena, uint32_t, builder->n_waits);
    }
    if (made == NULL || builder->failed || place == NULL || made->classes == NULL ||
        made->ops == NULL || made->queue_begin == NULL || made->dependencies == NULL) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "a program of %zu operations does not fit in memory",
                         builder->n_ops);
    }
    made->n_ranks = builder->n_ranks;
    made->n_chunks = builder->n_chunks;
    made->n_micro_batches = builder->n_micro_batches;
    made->n_classes = (uint32_t)builder->n_classes;
    made->n_ops = (uint32_t)builder->n_ops;
    made->n_dependencies = (uint32_t)builder->n_waits;
    if (builder->n_classes > 0) {
        memcpy(made->classes, builder->classes,
               builder->n_classes * sizeof *made->classes);
    }
    place_ops(made, place, builder);
    place_waits(made, place, builder);
    *program = made;
    return GALV_OK;
}
