/* A schedule alone as a program: one operation per slot.
 *
 * This is the textbook's pipeline, for closed forms, tests and pictures of schedules:
 * stages are all that is known, a slot is one operation, and an edge between different
 * stages is a send on the sender and a receive on the receiver. What a slot needs:
 * forward, the forward of the virtual stage before; backward (or backward for inputs),
 * that of the virtual stage after, and on the last one its own forward; backward for
 * weights, its own backward for inputs, which the order of the stage sees to.
 *
 * A pair of slots that run beside each other is two operations all the same, a forward
 * and a backward, one right after the other: the first waits for the inputs of both,
 * and what both make is there when the second has ended. Each is of a class of its own
 * (its `pass` is the kind of the other), so that whoever prices them can give the two
 * together the time of the pair. */
#include "schedule/mailbox_internal.h"
#include "schedule/schedule_internal.h"

#include <stdlib.h>

#define MOST_SLOTS 1e8

typedef struct layout {
    const galv_schedule *schedule;
    const galv_schedule_shape *shape;
    int32_t n_virtual_stages;
    int32_t *stage_of; /* [2][n_virtual_stages]: copies of a two-way schedule */
    galv_slot *slots;  /* [n_stages][slots of a stage] */
    galv_builder builder;
    galv_mailbox mailbox;
} layout;

/* A slot's place in the pipeline. */
typedef struct place {
    int32_t stage, own; /* stage and virtual stage */
    int32_t from, to;   /* stages of the virtual stages before and after it in its
                           direction, -1 = none */
    galv_direction direction;
} place;

static int kind_of_pass(int pass)
{
    static const int kinds[] = {GALV_OP_FORWARD, GALV_OP_BACKWARD,
                                GALV_OP_BACKWARD_INPUT, GALV_OP_BACKWARD_WEIGHT};
    return kinds[pass];
}

static int32_t stage_of(const layout *l, const galv_slot *slot, int32_t virtual_stage)
{
    if (virtual_stage < 0 || virtual_stage >= l->n_virtual_stages) {
        return -1;
    }
    int32_t copy = l->schedule->two_way ? slot->chunk : 0;
    return l->stage_of[copy * l->n_virtual_stages + virtual_stage];
}

static place place_of(const layout *l, int32_t stage, const galv_slot *slot)
{
    place at;
    bool forward = slot->pass == GALV_PASS_FORWARD;
    at.stage = stage;
    at.own = galv_schedule_virtual_stage(l->schedule, l->shape, stage, slot->chunk);
    at.from = stage_of(l, slot, forward ? at.own - 1 : at.own + 1);
    at.to = stage_of(l, slot, forward ? at.own + 1 : at.own - 1);
    at.direction = forward ? GALV_DIRECTION_FORWARD : GALV_DIRECTION_BACKWARD;
    return at;
}

static uint32_t add(layout *l, int kind, int stream, int pass, const place *at,
                    int32_t peer, const galv_slot *slot)
{
    galv_operation operation = {0};
    operation.kind = (uint8_t)kind;
    operation.stream = (uint8_t)stream;
    operation.part = GALV_PART_WHOLE;
    operation.pass = (uint8_t)pass;
    operation.stage = at->stage;
    operation.chunk = slot->chunk;
    operation.first_layer = at->own;
    operation.n_layers = 1;
    operation.peer_stage = peer;
    return galv_builder_add(&l->builder, at->stage,
                            galv_builder_class(&l->builder, &operation),
                            slot->micro_batch);
}

static uint32_t add_message(layout *l, int kind, const place *at, int32_t peer,
                            const galv_slot *slot)
{
    return add(
        l, kind, kind == GALV_OP_SEND ? GALV_STREAM_PP_SEND : GALV_STREAM_PP_RECV,
        at->direction == GALV_DIRECTION_FORWARD ? GALV_OP_FORWARD : GALV_OP_BACKWARD,
        at, peer, slot);
}

/* The receive that a slot needs first, GALV_NO_OP when nothing comes from elsewhere. */
static uint32_t add_receive(layout *l, const place *at, const galv_slot *slot)
{
    if (slot->pass == GALV_PASS_BACKWARD_WEIGHT || at->from < 0 ||
        at->from == at->stage) {
        return GALV_NO_OP;
    }
    return add_message(l, GALV_OP_RECV, at, at->from, slot);
}

/* Makes `op` wait for what its slot needs: by message, or made on this very stage. */
static void want_input(layout *l, uint32_t op, uint32_t recv, const place *at,
                       const galv_slot *slot)
{
    bool forward = slot->pass == GALV_PASS_FORWARD;
    if (slot->pass == GALV_PASS_BACKWARD_WEIGHT || (forward && at->from < 0)) {
        return;
    }
    if (recv != GALV_NO_OP) {
        galv_builder_add_wait(&l->builder, op, recv);
        op = recv;
    }
    if (at->from < 0) { /* the loss: backward follows its own forward */
        galv_mailbox_want(&l->mailbox, GALV_DIRECTION_FORWARD, at->own,
                          slot->micro_batch, op);
    } else {
        galv_mailbox_want(&l->mailbox, at->direction,
                          forward ? at->own - 1 : at->own + 1, slot->micro_batch, op);
    }
}

/* Makes the output of a slot known, which is there when `op` has ended. */
static void put_output(layout *l, uint32_t op, const place *at, const galv_slot *slot)
{
    if (slot->pass == GALV_PASS_BACKWARD_WEIGHT) {
        return;
    }
    if (at->to >= 0 && at->to != at->stage) {
        uint32_t send = add_message(l, GALV_OP_SEND, at, at->to, slot);
        galv_builder_add_wait(&l->builder, send, op);
        op = send;
    }
    galv_mailbox_put(&l->mailbox, at->direction, at->own, slot->micro_batch, op);
}

static void add_slot(layout *l, int32_t stage, const galv_slot *slot)
{
    place at = place_of(l, stage, slot);
    uint32_t recv = add_receive(l, &at, slot);
    int kind = kind_of_pass(slot->pass);
    uint32_t op = add(l, kind, GALV_STREAM_COMPUTE, kind, &at, -1, slot);
    want_input(l, op, recv, &at, slot);
    put_output(l, op, &at, slot);
}

/* slots[0] is a forward that runs beside slots[1], a backward. */
static void add_pair(layout *l, int32_t stage, const galv_slot *slots)
{
    place at[2];
    uint32_t recv[2];
    for (int i = 0; i < 2; i++) {
        at[i] = place_of(l, stage, &slots[i]);
        recv[i] = add_receive(l, &at[i], &slots[i]);
    }
    int kinds[2] = {kind_of_pass(slots[0].pass), kind_of_pass(slots[1].pass)};
    uint32_t first =
        add(l, kinds[0], GALV_STREAM_COMPUTE, kinds[1], &at[0], -1, &slots[0]);
    uint32_t second =
        add(l, kinds[1], GALV_STREAM_COMPUTE, kinds[0], &at[1], -1, &slots[1]);
    for (int i = 0; i < 2; i++) {
        want_input(l, first, recv[i], &at[i], &slots[i]);
    }
    for (int i = 0; i < 2; i++) {
        put_output(l, second, &at[i], &slots[i]);
    }
}

/* Returns how many slots it took. */
static size_t add_slots(layout *l, int32_t stage, const galv_slot *slots)
{
    if (slots[0].paired) {
        add_pair(l, stage, slots);
        return 2;
    }
    if (slots[0].pass != GALV_PASS_NONE) {
        add_slot(l, stage, slots);
    }
    return 1;
}

static galv_status lay_out(layout *l, galv_err *err)
{
    const galv_schedule_shape *shape = l->shape;
    int32_t n_chunks = l->schedule->two_way ? 2 : shape->n_chunks;
    for (int32_t stage = 0; stage < shape->n_stages; stage++) {
        for (int32_t chunk = 0; chunk < n_chunks; chunk++) {
            int32_t copy = l->schedule->two_way ? chunk : 0;
            int32_t own = galv_schedule_virtual_stage(l->schedule, shape, stage, chunk);
            l->stage_of[copy * l->n_virtual_stages + own] = stage;
        }
    }
    size_t n_slots = galv_schedule_n_slots(l->schedule, shape);
    galv_status status = galv_schedule_order(l->slots, l->schedule, shape, err);
    if (status != GALV_OK) {
        return status;
    }
    for (int32_t stage = 0; stage < shape->n_stages; stage++) {
        const galv_slot *slots = &l->slots[(size_t)stage * n_slots];
        for (size_t i = 0; i < n_slots;) {
            i += add_slots(l, stage, &slots[i]);
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
    l.n_virtual_stages = galv_schedule_n_virtual_stages(schedule, shape);
    galv_builder_init(&l.builder, galv_arena_scratch(arena), shape->n_stages,
                      shape->n_chunks, shape->n_micro_batches);
    l.stage_of = calloc((size_t)l.n_virtual_stages * 2, sizeof *l.stage_of);
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
