/* A schedule alone as a program: one operation per slot.
 *
 * This is the textbook's pipeline, for closed forms, tests and pictures of schedules:
 * stages are all that is known, a slot is one operation, and an edge between different
 * stages is a send on the sender and a receive on the receiver. What a slot needs:
 * forward, the forward of the virtual stage before; backward (or backward for inputs),
 * that of the virtual stage after, and on the last one its own forward; backward for
 * weights, its own backward for inputs. */
#include "schedule/mailbox_internal.h"
#include "schedule/schedule_internal.h"

#include <stdlib.h>

#define MOST_SLOTS 1e8

typedef struct layout {
    const galv_schedule *schedule;
    const galv_schedule_shape *shape;
    int32_t n_virtual_stages;
    int32_t *stage_of; /* [n_virtual_stages] */
    galv_slot *slots;  /* [n_stages][slots of a stage] */
    galv_builder builder;
    galv_mailbox mailbox;
} layout;

static int kind_of_pass(int pass)
{
    static const int kinds[] = {GALV_OP_FORWARD, GALV_OP_BACKWARD,
                                GALV_OP_BACKWARD_INPUT, GALV_OP_BACKWARD_WEIGHT};
    return kinds[pass];
}

/* Appends a send or a receive that belongs to a slot of virtual stage `own`. */
static uint32_t add_message(layout *l, int kind, int stage, const galv_slot *slot,
                            int32_t own, int32_t peer, galv_direction direction)
{
    galv_operation operation = {0};
    operation.kind = (uint8_t)kind;
    operation.stream =
        (uint8_t)(kind == GALV_OP_SEND ? GALV_STREAM_PP_SEND : GALV_STREAM_PP_RECV);
    operation.pass = (uint8_t)(direction == GALV_DIRECTION_FORWARD ? GALV_OP_FORWARD
                                                                   : GALV_OP_BACKWARD);
    operation.stage = stage;
    operation.chunk = slot->chunk;
    operation.first_layer = own;
    operation.n_layers = 1;
    operation.peer_stage = l->stage_of[peer];
    return galv_builder_add(&l->builder, stage,
                            galv_builder_class(&l->builder, &operation),
                            slot->micro_batch);
}

/* Makes `op` wait for the output of virtual stage `from`, by message if it is on
 * another stage. */
static void add_input(layout *l, uint32_t op, uint32_t recv, galv_direction direction,
                      int32_t from, const galv_slot *slot)
{
    if (recv != GALV_NO_OP) {
        galv_mailbox_want(&l->mailbox, direction, from, slot->micro_batch, recv);
        galv_builder_add_wait(&l->builder, op, recv);
    } else {
        galv_mailbox_want(&l->mailbox, direction, from, slot->micro_batch, op);
    }
}

static void add_slot(layout *l, int32_t stage, const galv_slot *slot)
{
    int32_t own =
        galv_schedule_virtual_stage(l->schedule, l->shape, stage, slot->chunk);
    int32_t last = l->n_virtual_stages - 1;
    bool forward = slot->pass == GALV_PASS_FORWARD;
    galv_direction direction =
        forward ? GALV_DIRECTION_FORWARD : GALV_DIRECTION_BACKWARD;
    int32_t from = forward ? own - 1 : own + 1;
    int32_t to = forward ? own + 1 : own - 1;
    bool weights = slot->pass == GALV_PASS_BACKWARD_WEIGHT;

    uint32_t recv = GALV_NO_OP;
    bool has_input = !weights && from >= 0 && from <= last;
    if (has_input && l->stage_of[from] != stage) {
        recv = add_message(l, GALV_OP_RECV, stage, slot, own, from, direction);
    }
    galv_operation operation = {0};
    operation.kind = (uint8_t)kind_of_pass(slot->pass);
    operation.stream = GALV_STREAM_COMPUTE;
    operation.part = GALV_PART_WHOLE;
    operation.pass = operation.kind;
    operation.stage = stage;
    operation.chunk = slot->chunk;
    operation.first_layer = own;
    operation.n_layers = 1;
    operation.peer_stage = -1;
    uint32_t op = galv_builder_add(&l->builder, stage,
                                   galv_builder_class(&l->builder, &operation),
                                   slot->micro_batch);
    if (has_input) {
        add_input(l, op, recv, direction, from, slot);
    } else if (weights) {
        galv_mailbox_want(&l->mailbox, GALV_DIRECTION_BACKWARD, own, slot->micro_batch,
                          op);
        return;
    } else if (!forward) {
        galv_mailbox_want(&l->mailbox, GALV_DIRECTION_FORWARD, own, slot->micro_batch,
                          op);
    }
    uint32_t made_by = op;
    if (to >= 0 && to <= last && l->stage_of[to] != stage) {
        made_by = add_message(l, GALV_OP_SEND, stage, slot, own, to, direction);
        galv_builder_add_wait(&l->builder, made_by, op);
    }
    galv_mailbox_put(&l->mailbox, direction, own, slot->micro_batch, made_by);
}

static galv_status lay_out(layout *l, galv_err *err)
{
    const galv_schedule_shape *shape = l->shape;
    for (int32_t stage = 0; stage < shape->n_stages; stage++) {
        for (int32_t chunk = 0; chunk < shape->n_chunks; chunk++) {
            l->stage_of[galv_schedule_virtual_stage(l->schedule, shape, stage, chunk)] =
                stage;
        }
    }
    size_t n_slots = galv_schedule_n_slots(l->schedule, shape);
    galv_status status = galv_schedule_order(l->slots, l->schedule, shape, err);
    if (status != GALV_OK) {
        return status;
    }
    for (int32_t stage = 0; stage < shape->n_stages; stage++) {
        for (size_t i = 0; i < n_slots; i++) {
            add_slot(l, stage, &l->slots[(size_t)stage * n_slots + i]);
        }
    }
    return galv_mailbox_deliver(&l->mailbox, &l->builder, err);
}

galv_status galv_program_from_schedule(galv_program **program,
                                       const galv_schedule *schedule,
                                       const galv_schedule_shape *shape,
                                       galv_arena *arena, galv_err *err)
{
    double n_slots = 2.0 * shape->n_micro_batches * shape->n_chunks * shape->n_stages;
    if (shape->n_stages >= 1 && n_slots > MOST_SLOTS) {
        return galv_fail(err, GALV_USAGE,
                         "%d micro-batches on %d x %d stages are more than can be "
                         "simulated",
                         (int)shape->n_micro_batches, (int)shape->n_stages,
                         (int)shape->n_chunks);
    }
    if (shape->n_stages < 1 || shape->n_chunks < 1 || shape->n_micro_batches < 1 ||
        shape->n_chunks > INT16_MAX || shape->n_stages > INT32_MAX / shape->n_chunks) {
        return galv_schedule_check_shape(schedule->name, shape, -1, err);
    }
    layout l = {0};
    l.schedule = schedule;
    l.shape = shape;
    l.n_virtual_stages = shape->n_stages * shape->n_chunks;
    galv_builder_init(&l.builder, shape->n_stages, shape->n_chunks,
                      shape->n_micro_batches);
    l.stage_of = calloc((size_t)l.n_virtual_stages, sizeof *l.stage_of);
    l.slots = calloc((size_t)shape->n_stages * galv_schedule_n_slots(schedule, shape),
                     sizeof *l.slots);
    galv_status status =
        galv_mailbox_init(&l.mailbox, l.n_virtual_stages, shape->n_micro_batches, err);
    if (status == GALV_OK && (l.stage_of == NULL || l.slots == NULL)) {
        status = galv_fail(err, GALV_NO_MEMORY,
                           "a schedule of %d stages and %d "
                           "micro-batches does not fit in memory",
                           (int)shape->n_stages, (int)shape->n_micro_batches);
    }
    if (status == GALV_OK) {
        status = lay_out(&l, err);
    }
    if (status == GALV_OK) {
        status = galv_builder_finish(program, &l.builder, arena, err);
    }
    galv_mailbox_release(&l.mailbox);
    galv_builder_release(&l.builder);
    free(l.stage_of);
    free(l.slots);
    return status;
}
