/* From plan to program: each stage's slots in order, each stamped from the layout of
 * its pass.
 *
 * A pass of a chunk is laid out once (compile_units.c) and stamped for every
 * micro-batch; the first forward and the last backward over a chunk have layouts of
 * their own, since they wait for gathered parameters and reduce gradients. Around the
 * layouts:
 *
 *   - Messages. What a pass needs from another stage is a receive on PP_RECV, which
 *     waits for the neighbour's send on PP_SEND, which waits for the end of the pass
 *     that made it. With overlap.p2p off the sender's next pass waits for its send too.
 *   - Passes of one rank follow one another: the first operations of a pass wait for
 *     the last ones of the pass before, collectives included, as kernels in one stream
 *     and its events do. Only gathers of ZeRO-3 weights and reductions of gradients run
 *     across that line.
 *   - ZeRO-1 and 2 spread the step over ranks, so parameters must be gathered. With
 *     overlap.param_gather that is at the begin of the iteration (it is the one before
 *     whose step it finishes), bucket by bucket, each waited for by the first forward
 *     that needs it; else after the step.
 *   - Gradients: with overlap.grad_reduce by bucket as the last backward goes through;
 *     else after all of it. Then tied embeddings, first stage with last.
 *   - The step waits for every stage's gradients, because clipping wants the norm of
 * all of them. One operation per chunk. The small all-reduce of the norm itself belongs
 *     to the price of the step. With overlap.step it waits for its own stage's alone.
 *     Source: Megatron-LM, core/optimizer (clip_grad_norm over model-parallel ranks).
 */
#include "schedule/compile_program_internal.h"

#include "plan/chunks.h"

#include <stdlib.h>
#include <string.h>

/* ---- operations outside of layouts ---- */

galv_operation galv_compile_operation(int kind, int stream, int part, int pass,
                                      const galv_chunk *chunk)
{
    galv_operation operation = {0};
    operation.kind = (uint8_t)kind;
    operation.stream = (uint8_t)stream;
    operation.part = (uint8_t)part;
    operation.pass = (uint8_t)pass;
    operation.stage = chunk->stage;
    operation.chunk = chunk->chunk;
    operation.first_layer = chunk->first_layer;
    operation.n_layers = chunk->end_layer - chunk->first_layer;
    operation.peer_stage = -1;
    return operation;
}

uint32_t galv_compile_add(galv_compiler *c, const galv_operation *operation,
                          int32_t micro_batch)
{
    uint32_t op =
        galv_builder_add(&c->builder, operation->stage,
                         galv_builder_class(&c->builder, operation), micro_batch);
    if (operation->stream == GALV_STREAM_DP) {
        c->ranks[operation->stage].last_data_parallel = op;
    }
    return op;
}

void galv_compile_wait_for_carry(galv_compiler *c, uint32_t op,
                                 const galv_compiled_rank *rank)
{
    for (int32_t i = 0; i < rank->n_carry; i++) {
        galv_builder_add_wait(&c->builder, op, rank->carry[i]);
    }
}

/* A send or receive of what crosses the border of a chunk: forward, the output of its
 * last layer; backward, the gradient of the input of its first. */
static uint32_t add_message(galv_compiler *c, int kind, const galv_chunk *chunk,
                            galv_direction direction, int32_t peer_stage,
                            int32_t micro_batch)
{
    bool forward = direction == GALV_DIRECTION_FORWARD;
    bool send = kind == GALV_OP_SEND;
    galv_operation operation = galv_compile_operation(
        kind, send ? GALV_STREAM_PP_SEND : GALV_STREAM_PP_RECV, GALV_PART_WHOLE,
        forward ? GALV_OP_FORWARD : GALV_OP_BACKWARD, chunk);
    if (forward == send && chunk->end_layer > chunk->first_layer) {
        operation.first_layer = chunk->end_layer - 1;
    }
    operation.n_layers = 1;
    operation.peer_stage = peer_stage;
    return galv_compile_add(c, &operation, micro_batch);
}

/* ---- a slot ---- */

/* What a stamped layout leaves behind for the passes after it. */
static void leave_behind(const galv_pass_layout *layout, galv_compiled_rank *rank)
{
    if (layout->n_ops == 0) { /* no layers: the input goes on as it is */
        return;
    }
    rank->n_carry = layout->n_exits;
    for (int32_t i = 0; i < layout->n_exits; i++) {
        rank->carry[i] = layout->stamped[layout->exits[i]];
    }
    if (layout->unit_ends[1] >= 0) {
        rank->unit_ends[1] = layout->stamped[layout->unit_ends[1]];
    } else {
        rank->unit_ends[1] = rank->unit_ends[0];
    }
    rank->unit_ends[0] = layout->stamped[layout->unit_ends[0]];
}

/* Adds a pass as one operation; false when it cannot be one. */
static bool stamp_whole(galv_compiler *c, galv_pass_layout *layout, int32_t stage,
                        const galv_slot *slot, uint32_t input)
{
    galv_compiled_rank *rank = &c->ranks[stage];
    uint32_t class_index =
        c->by_pass ? galv_compile_whole(c, layout, &c->chunks[stage][slot->chunk])
                   : GALV_NO_OP;
    if (class_index == GALV_NO_OP) {
        return false;
    }
    uint32_t op = galv_builder_add(&c->builder, stage, class_index, slot->micro_batch);
    galv_compile_wait_for_carry(c, op, rank);
    galv_builder_add_wait(&c->builder, op, input);
    rank->n_carry = 1;
    rank->carry[0] = op;
    rank->unit_ends[0] = rank->unit_ends[1] = op;
    return true;
}

/* Adds the operations of a layout for the micro-batch of a slot, of a pair for those of
 * two; layout->stamped[i] is op i. `inputs[n]` are what the slots wait for. */
static void stamp(galv_compiler *c, galv_pass_layout *layout, int32_t stage,
                  const galv_slot *slots, const uint32_t *inputs, int n)
{
    galv_compiled_rank *rank = &c->ranks[stage];
    for (int32_t i = 0; i < layout->n_ops; i++) {
        galv_pass_op *from = &layout->ops[i];
        const galv_slot *slot = &slots[from->of];
        if (from->class_index == 0) {
            from->class_index = galv_builder_class(&c->builder, &from->operation) + 1;
        }
        uint32_t op = galv_builder_add(&c->builder, stage, from->class_index - 1,
                                       slot->micro_batch);
        if (from->operation.stream == GALV_STREAM_DP) {
            rank->last_data_parallel = op;
        }
        layout->stamped[i] = op;
        if (from->enters) {
            galv_compile_wait_for_carry(c, op, rank);
            for (int k = 0; k < n; k++) {
                galv_builder_add_wait(&c->builder, op, inputs[k]);
            }
        }
        for (int32_t k = 0; k < from->n_waits; k++) {
            galv_builder_add_wait(&c->builder, op, layout->stamped[from->waits[k]]);
        }
        if (from->waits_unit > 0) {
            galv_builder_add_wait(&c->builder, op,
                                  rank->unit_ends[from->waits_unit - 1]);
        }
        if (from->gather >= 0 && c->gathers[slot->chunk] != NULL) {
            galv_builder_add_wait(&c->builder, op,
                                  c->gathers[slot->chunk][from->gather]);
        }
    }
    leave_behind(layout, rank);
}

/* The stage that holds a virtual stage of the copy that a chunk is of. */
static int32_t stage_of(const galv_compiler *c, const galv_chunk *chunk,
                        int32_t virtual_stage)
{
    int32_t copy = c->schedule->two_way ? chunk->chunk : 0;
    return c->stage_of[copy * c->n_virtual + virtual_stage];
}

/* The virtual stage and direction whose output a slot works on; -1 = none. */
static int32_t source_of(const galv_compiler *c, const galv_chunk *chunk,
                         const galv_slot *slot, galv_direction *direction)
{
    bool forward = slot->pass == GALV_PASS_FORWARD;
    int32_t from = forward ? chunk->virtual_stage - 1 : chunk->virtual_stage + 1;
    *direction = forward ? GALV_DIRECTION_FORWARD : GALV_DIRECTION_BACKWARD;
    if (slot->pass == GALV_PASS_BACKWARD_WEIGHT || from < 0) {
        return -1;
    }
    if (from == c->n_virtual) { /* the loss: backward follows its own forward */
        *direction = GALV_DIRECTION_FORWARD;
        from--;
    }
    return from;
}

/* Finds the operation that a slot's first ones wait for besides the carry, GALV_NO_OP
 * for none. Errors: GALV_INPUT when the slot comes before one of its own stage that it
 * works on the output of. */
static galv_status add_input(uint32_t *input, galv_compiler *c, const galv_chunk *chunk,
                             const galv_slot *slot, galv_err *err)
{
    galv_direction direction;
    int32_t from = source_of(c, chunk, slot, &direction);
    *input = GALV_NO_OP;
    if (from < 0) {
        return GALV_OK;
    }
    if (stage_of(c, chunk, from) != chunk->stage) {
        *input = add_message(c, GALV_OP_RECV, chunk, direction,
                             stage_of(c, chunk, from), slot->micro_batch);
        galv_mailbox_want(&c->mailbox, direction, from, slot->micro_batch, *input);
        return GALV_OK;
    }
    *input =
        c->mailbox.made_by[direction][(size_t)from * (size_t)c->shape.n_micro_batches +
                                      (size_t)slot->micro_batch];
    if (*input == GALV_NO_OP && !c->builder.failed) {
        return galv_fail(err, GALV_INPUT,
                         "%s of micro-batch %d on stage %d, chunk %d, comes before "
                         "what it works on",
                         galv_pass_letters[slot->pass], (int)slot->micro_batch,
                         (int)chunk->stage, (int)slot->chunk);
    }
    return GALV_OK;
}

/* Makes the output of a slot known, and sends it when another stage wants it. */
static void add_output(galv_compiler *c, const galv_chunk *chunk, const galv_slot *slot,
                       uint32_t input)
{
    bool forward = slot->pass == GALV_PASS_FORWARD;
    if (slot->pass == GALV_PASS_BACKWARD_WEIGHT) {
        return;
    }
    galv_compiled_rank *rank = &c->ranks[chunk->stage];
    rank->last_passed_on = rank->n_carry > 0 ? rank->carry[0] : GALV_NO_OP;
    galv_direction direction =
        forward ? GALV_DIRECTION_FORWARD : GALV_DIRECTION_BACKWARD;
    int32_t to = forward ? chunk->virtual_stage + 1 : chunk->virtual_stage - 1;
    bool empty = chunk->first_layer == chunk->end_layer;
    uint32_t made_by = empty ? input : rank->carry[0];
    if (to >= 0 && to < c->n_virtual && stage_of(c, chunk, to) != chunk->stage) {
        uint32_t send = add_message(c, GALV_OP_SEND, chunk, direction,
                                    stage_of(c, chunk, to), slot->micro_batch);
        if (empty) {
            galv_builder_add_wait(&c->builder, send, input);
        } else {
            galv_compile_wait_for_carry(c, send, rank);
        }
        if (!c->plan->overlap.p2p) {
            rank->carry[rank->n_carry++] = send;
        }
        made_by = send;
    }
    galv_mailbox_put(&c->mailbox, direction, chunk->virtual_stage, slot->micro_batch,
                     made_by);
}

/* ---- a stage ---- */

static galv_status begin_stage(galv_compiler *c, int32_t stage, galv_err *err)
{
    galv_compiled_rank *rank = &c->ranks[stage];
    rank->n_carry = 0;
    rank->unit_ends[0] = rank->unit_ends[1] = GALV_NO_OP;
    rank->last_data_parallel = GALV_NO_OP;
    rank->last_passed_on = GALV_NO_OP;
    galv_arena_reset(c->layouts_arena);
    for (int32_t i = 0; i < c->n_chunks; i++) {
        const galv_chunk *chunk = galv_compile_ith_chunk(c, stage, i);
        uint32_t **gathers = &c->gathers[chunk->chunk];
        *gathers = NULL;
        if (c->plan->overlap.param_gather) {
            *gathers = GALV_NEW_ARRAY(c->layouts_arena, uint32_t, chunk->n_buckets);
            if (*gathers == NULL) {
                return galv_fail(err, GALV_NO_MEMORY, "no memory for buckets");
            }
            memset(*gathers, 0xff, (size_t)chunk->n_buckets * sizeof **gathers);
            galv_compile_gather_chunk(c, chunk, *gathers, GALV_NO_OP);
        }
    }
    return galv_stage_layouts_init(&c->layouts, c->job, c->plan, c->chunks[stage],
                                   c->layouts_arena, err);
}

/* Micro-batches that go over a chunk: of two copies, a half over each. */
static int32_t micro_batches_over(const galv_compiler *c, int32_t chunk)
{
    int32_t m = c->shape.n_micro_batches;
    return !c->schedule->two_way ? m : chunk == 0 ? m / 2 : m - m / 2;
}

/* Passes over a stage's chunks so far: [n_chunks] */
typedef struct pass_counts {
    int32_t *forward, *backward;
} pass_counts;

static galv_pass_key key_of(const galv_compiler *c, const pass_counts *counts,
                            const galv_slot *slot)
{
    galv_pass_key key = {slot->chunk, slot->pass, false};
    if (slot->pass == GALV_PASS_FORWARD) {
        key.hooked = counts->forward[slot->chunk]++ == 0;
    } else if (slot->pass != GALV_PASS_BACKWARD_INPUT) {
        key.hooked =
            ++counts->backward[slot->chunk] == micro_batches_over(c, slot->chunk);
    }
    return key;
}

/* Adds the pass of a slot, or those of a pair. */
static galv_status add_passes(galv_compiler *c, int32_t stage, const galv_slot *slots,
                              int n, const pass_counts *counts, galv_err *err)
{
    galv_pass_key keys[2];
    galv_pass_layout *layout = NULL;
    uint32_t inputs[2];
    for (int i = 0; i < n; i++) {
        keys[i] = key_of(c, counts, &slots[i]);
    }
    galv_status status = galv_stage_layouts_get(&layout, &c->layouts, keys, n, err);
    for (int i = 0; i < n && status == GALV_OK; i++) {
        status =
            add_input(&inputs[i], c, &c->chunks[stage][slots[i].chunk], &slots[i], err);
    }
    if (status == GALV_OK &&
        (n > 1 || !stamp_whole(c, layout, stage, &slots[0], inputs[0]))) {
        stamp(c, layout, stage, slots, inputs, n);
    }
    for (int i = 0; i < n && status == GALV_OK; i++) {
        add_output(c, &c->chunks[stage][slots[i].chunk], &slots[i], inputs[i]);
    }
    return status;
}

static galv_status compile_stage(galv_compiler *c, int32_t stage, galv_err *err)
{
    galv_status status = begin_stage(c, stage, err);
    if (status != GALV_OK) {
        return status;
    }
    size_t n_slots = galv_schedule_n_slots(c->schedule, &c->shape);
    const galv_slot *slots = &c->slots[(size_t)stage * n_slots];
    pass_counts counts = {GALV_NEW_ARRAY(c->layouts_arena, int32_t, c->n_chunks),
                          GALV_NEW_ARRAY(c->layouts_arena, int32_t, c->n_chunks)};
    if (counts.forward == NULL || counts.backward == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for chunks");
    }
    for (size_t i = 0; i < n_slots && status == GALV_OK && !c->builder.failed;) {
        if (slots[i].pass == GALV_PASS_NONE) {
            break;
        }
        int n = slots[i].paired ? 2 : 1;
        status = add_passes(c, stage, &slots[i], n, &counts, err);
        i += (size_t)n;
    }
    return status;
}

/* ---- the whole ---- */

static galv_status allocate(galv_compiler *c, galv_err *err)
{
    size_t n_stages = (size_t)c->plan->pp;
    size_t n_chunks = (size_t)c->n_chunks;
    c->layouts_arena = galv_arena_new();
    c->chunks = calloc(n_stages, sizeof(galv_chunk *));
    c->stage_of = calloc(n_stages * n_chunks, sizeof *c->stage_of);
    c->ranks = calloc(n_stages, sizeof *c->ranks);
    c->slots = calloc(n_stages * galv_schedule_n_slots(c->schedule, &c->shape),
                      sizeof *c->slots);
    c->gathers = calloc(n_chunks, sizeof(uint32_t *));
    if (c->layouts_arena == NULL || c->chunks == NULL || c->stage_of == NULL ||
        c->ranks == NULL || c->slots == NULL || c->gathers == NULL) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "a plan of %d stages does not fit in "
                         "memory",
                         (int)c->plan->pp);
    }
    return galv_mailbox_init(&c->mailbox, c->n_virtual, c->shape.n_micro_batches, err);
}

static galv_status compile_all(galv_compiler *c, galv_err *err)
{
    galv_status status = galv_schedule_order(c->slots, c->schedule, &c->shape, err);
    for (int32_t stage = 0; stage < c->plan->pp && status == GALV_OK; stage++) {
        status = galv_compile_chunks(&c->chunks[stage], c->job, c->plan, c->schedule,
                                     &c->shape, stage, c->arena, err);
        for (int32_t i = 0; i < c->n_chunks && status == GALV_OK; i++) {
            int32_t copy = c->schedule->two_way ? i : 0;
            c->stage_of[copy * c->n_virtual + c->chunks[stage][i].virtual_stage] =
                stage;
        }
    }
    for (int32_t stage = 0; stage < c->plan->pp && status == GALV_OK; stage++) {
        status = compile_stage(c, stage, err);
        if (status == GALV_OK && !c->plan->overlap.grad_reduce) {
            galv_compile_reduce_at_end(c, stage);
        }
    }
    if (status == GALV_OK) {
        galv_compile_finish(c);
        if (c->schedule->two_way) {
            status = galv_compile_meet_copies(&c->builder, err);
        }
    }
    if (status == GALV_OK) {
        status = galv_mailbox_deliver(&c->mailbox, &c->builder, err);
    }
    return status;
}

static galv_status compile(galv_program **program, const galv_job *job,
                           const galv_plan *plan, const galv_schedule_weights *weights,
                           bool by_pass, galv_arena *arena, galv_err *err)
{
    galv_compiler c = {0};
    c.job = job;
    c.plan = plan;
    c.arena = arena;
    galv_status status = galv_compile_shape(&c.own_schedule, &c.shape, plan, err);
    c.schedule = &c.own_schedule;
    if (status != GALV_OK) {
        return status;
    }
    c.shape.weights = weights;
    c.n_chunks = galv_plan_n_chunks(plan);
    c.n_virtual = plan->pp * plan->vpp;
    c.by_pass = by_pass && galv_compile_may_be_whole(&c);
    galv_builder_init(&c.builder, galv_arena_scratch(arena), plan->pp, c.n_chunks,
                      c.shape.n_micro_batches);
    status = allocate(&c, err);
    if (status == GALV_OK) {
        status = compile_all(&c, err);
    }
    if (status == GALV_OK) {
        status = galv_builder_finish(program, &c.builder, arena, err);
    }
    if (status == GALV_OK && !galv_compile_give_bodies(*program, &c)) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for passes");
    }
    galv_mailbox_release(&c.mailbox);
    galv_builder_release(&c.builder);
    galv_arena_free(c.layouts_arena);
    free(c.chunks);
    free(c.stage_of);
    free(c.ranks);
    free(c.slots);
    free(c.gathers);
    return status;
}

galv_status galv_program_compile(galv_program **program, const galv_job *job,
                                 const galv_plan *plan, galv_arena *arena,
                                 galv_err *err)
{
    return galv_program_compile_weighted(program, job, plan, NULL, arena, err);
}

galv_status galv_program_compile_weighted(galv_program **program, const galv_job *job,
                                          const galv_plan *plan,
                                          const galv_schedule_weights *weights,
                                          galv_arena *arena, galv_err *err)
{
    return compile(program, job, plan, weights, false, arena, err);
}

galv_status galv_program_compile_by_pass(galv_program **program, const galv_job *job,
                                         const galv_plan *plan,
                                         const galv_schedule_weights *weights,
                                         galv_arena *arena, galv_err *err)
{
    return compile(program, job, plan, weights, true, arena, err);
}
