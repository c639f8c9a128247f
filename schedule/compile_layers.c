/* One layer of one pass, cut into operations at its collectives.
 *
 * Forward of a cut layer, of which backward is the mirror image:
 *
 *   - tp with sp=megatron: all-gather, ATTENTION, reduce-scatter; the same around MLP.
 *
 *   - tp with sp=none: ATTENTION, all-reduce, MLP, all-reduce.
 *
 *   - sp=ulysses: all-to-all, ATTENTION, all-to-all; both of one class, so that the
 *     price of each is half of both.
 *
 *   - cp: the ring exchange runs beside ATTENTION; what follows waits for both.
 *
 *   - experts: ROUTER, all-to-all, EXPERTS, all-to-all, COMBINE. The part of an
 *     all-to-all is the computation on its far side in forward: EXPERTS for the
 *     dispatch, COMBINE for the combine. Experts are not cut by tp, so tokens stay
 *     split under sp=megatron; only shared experts, which tp cuts, have an all-gather
 *     before ROUTER and a reduce-scatter after. Under sp=none every tp rank takes its
 *     share of the tokens; an all-gather (part COMBINE; backward ROUTER) joins them.
 *
 *   - embedding: reduce-scatter (sp=megatron) or all-reduce after it. Head: all-gather
 *     before it (sp=megatron); in backward its input gradient is reduced.
 *
 * What Megatron-LM hides in backward is hidden here the same way. The input of a
 * part is gathered again (sp=megatron) beside the gradient of the input. And the
 * reduction of the input gradient runs beside the gradient of the weights: so the
 * backward of a tensor-parallel part is two operations, BACKWARD_INPUT and
 * BACKWARD_WEIGHT, with the reduction started between them.
 * Source: Megatron-LM, core/tensor_parallel/layers.py,
 * LinearWithGradAccumulationAndAsyncCommunication; Korthikanti et al. 2022.
 *
 * Beside another pass, layers of experts go further: the backward of each part is two
 * operations, and the weights of what came before are computed once the next exchange
 * is on its way. So while DISPATCH or COMBINE of backward is under way there are the
 * part's own weights to compute, then the other pass's turn.
 * Source: DeepSeek-AI 2024, arXiv 2412.19437 figure 4: MLP(B), MLP(W), MLP(F), ATTN(B),
 * ATTN(W), ATTN(F) over the exchanges.
 *
 * overlap.tp_comm (products that overlap their own collectives in rings): the
 * collective around a part runs beside the next part, and the one after that waits for
 * it. That is the time of a full overlap, one part late.
 *
 * Left out: the small reductions of the loss over the tp group, of the router's load
 * over the ep group, and of norm gradients under sequence parallelism. */
#include "schedule/compile_writer_internal.h"

#include <assert.h>
#include <string.h>

/* ---- operations and waits ---- */

int32_t galv_pass_append(galv_pass_writer *w, int kind, int stream, int part)
{
    galv_pass_layout *layout = w->layout;
    if (layout->n_ops == layout->capacity) {
        int32_t capacity = layout->capacity == 0 ? 32 : layout->capacity * 2;
        galv_pass_op *ops = GALV_NEW_ARRAY(w->arena, galv_pass_op, capacity);
        if (ops == NULL) {
            w->failed = true;
            layout->n_ops = 0; /* stay inside of what there is */
            return 0;
        }
        if (layout->n_ops > 0) {
            memcpy(ops, layout->ops, (size_t)layout->n_ops * sizeof *ops);
        }
        layout->ops = ops;
        layout->capacity = capacity;
    }
    galv_pass_op *op = &layout->ops[layout->n_ops];
    memset(op, 0, sizeof *op);
    op->operation.kind = (uint8_t)kind;
    op->operation.stream = (uint8_t)stream;
    op->operation.part = (uint8_t)part;
    op->operation.pass = (uint8_t)(stream == GALV_STREAM_COMPUTE ? kind : w->serves);
    op->operation.stage = w->chunk->stage;
    op->operation.chunk = w->chunk->chunk;
    op->operation.first_layer = w->first_layer;
    op->operation.n_layers = w->n_layers;
    op->operation.peer_stage = -1;
    op->gather = -1;
    return layout->n_ops++;
}

/* `op` waits for `on`, unless its queue or another wait says so already. */
void galv_pass_add_wait(galv_pass_writer *w, int32_t op, int32_t on)
{
    if (w->failed || on < 0) {
        return;
    }
    galv_pass_op *at = &w->layout->ops[op];
    if (w->layout->ops[on].operation.stream == at->operation.stream) {
        return;
    }
    for (int32_t i = 0; i < at->n_waits; i++) {
        if (at->waits[i] == on) {
            return;
        }
    }
    assert(at->n_waits < GALV_MAX_WAITS);
    at->waits[at->n_waits++] = on;
}

static void wait_for_frontier(galv_pass_writer *w, int32_t op)
{
    if (w->failed) {
        return;
    }
    if (w->at_entry) {
        w->layout->ops[op].enters = true;
    }
    for (int32_t i = 0; i < w->n_frontier; i++) {
        galv_pass_add_wait(w, op, w->frontier[i]);
    }
}

static void set_frontier(galv_pass_writer *w, int32_t op)
{
    w->at_entry = false;
    w->frontier[0] = op;
    w->n_frontier = 1;
}

void galv_pass_join(galv_pass_writer *w, int32_t op)
{
    if (op >= 0 && w->n_frontier < GALV_MAX_WAITS) {
        w->frontier[w->n_frontier++] = op;
    }
}

void galv_pass_compute(galv_pass_writer *w, int kind, int part)
{
    int32_t op = galv_pass_append(w, kind, GALV_STREAM_COMPUTE, part);
    if (w->failed) {
        return;
    }
    wait_for_frontier(w, op);
    galv_pass_add_wait(w, op, w->due);
    galv_pass_add_wait(w, op, w->gather_op);
    w->layout->ops[op].gather = w->gather;
    w->due = w->hidden;
    w->hidden = -1;
    w->gather = -1;
    w->gather_op = -1;
    set_frontier(w, op);
    for (int32_t i = 0; i < w->n_sides; i++) {
        galv_pass_join(w, w->sides[i]);
    }
    w->n_sides = 0;
    w->last_compute = op;
}

void galv_pass_communicate(galv_pass_writer *w, int kind, int stream, int part)
{
    int32_t op = galv_pass_append(w, kind, stream, part);
    wait_for_frontier(w, op);
    if (!w->failed) {
        set_frontier(w, op);
    }
}

/* A collective inside of a layer: overlap.tp_comm may hide it (see essay). */
static void communicate(galv_pass_writer *w, int kind, int stream, int part)
{
    if (!w->plan->overlap.tp_comm || stream != GALV_STREAM_TP ||
        w->strategy->sp == GALV_SP_ULYSSES) {
        galv_pass_communicate(w, kind, stream, part);
        return;
    }
    int32_t op = galv_pass_append(w, kind, stream, part);
    wait_for_frontier(w, op);
    if (!w->failed) {
        w->hidden = op;
    }
}

/* A collective that runs beside the next computation; what follows that waits. */
static void communicate_beside(galv_pass_writer *w, int kind, int stream, int part)
{
    int32_t op = galv_pass_append(w, kind, stream, part);
    wait_for_frontier(w, op);
    if (!w->failed && w->n_sides < 2) {
        w->sides[w->n_sides++] = op;
    }
}

/* ---- layers ---- */

bool galv_compile_is_block(const galv_layer_group *group)
{
    return group->kind == GALV_LAYER_ENCODER || group->kind == GALV_LAYER_DECODER ||
           group->kind == GALV_LAYER_CROSS_DECODER ||
           group->kind == GALV_LAYER_MOE_DECODER;
}

/* Do the ranks of a tp group share the weights of a layer and so exchange activations?
 * (Under Ulysses they share the sequence.) */
bool galv_compile_cuts_weights(const galv_strategy *strategy)
{
    return strategy->tp > 1 && strategy->sp != GALV_SP_ULYSSES;
}

/* Has a layer collectives inside? */
bool galv_compile_is_cut(const galv_layer_group *group, const galv_strategy *strategy)
{
    if (galv_compile_is_block(group)) {
        return strategy->tp > 1 || strategy->cp > 1 ||
               (group->kind == GALV_LAYER_MOE_DECODER && strategy->ep > 1);
    }
    return galv_compile_cuts_weights(strategy) &&
           (group->kind == GALV_LAYER_EMBEDDING || group->kind == GALV_LAYER_HEAD);
}

static void gather_before(galv_pass_writer *w, int part)
{
    if (galv_compile_cuts_weights(w->strategy) && w->strategy->sp == GALV_SP_MEGATRON) {
        communicate(w, GALV_OP_ALL_GATHER, GALV_STREAM_TP, part);
    }
}

static int reduction_of(const galv_strategy *strategy)
{
    return strategy->sp == GALV_SP_MEGATRON ? GALV_OP_REDUCE_SCATTER
                                            : GALV_OP_ALL_REDUCE;
}

static void reduce_after(galv_pass_writer *w, int part)
{
    if (galv_compile_cuts_weights(w->strategy)) {
        communicate(w, reduction_of(w->strategy), GALV_STREAM_TP, part);
    }
}

void galv_pass_finish_weights(galv_pass_writer *w)
{
    int32_t first_layer = w->first_layer;
    int32_t n_layers = w->n_layers;
    for (int32_t i = 0; i < w->n_late && !w->failed; i++) {
        w->first_layer = w->late[i].first_layer;
        w->n_layers = w->late[i].n_layers;
        w->last_compute = galv_pass_append(w, GALV_OP_BACKWARD_WEIGHT,
                                           GALV_STREAM_COMPUTE, w->late[i].part);
    }
    w->first_layer = first_layer;
    w->n_layers = n_layers;
    w->n_late = 0;
}

/* Computes a part of backward, or its inputs alone where its weights can wait. */
static void compute_backward(galv_pass_writer *w, int kind, int part)
{
    bool late = kind == GALV_OP_BACKWARD && w->hooks->beside &&
                w->group->kind == GALV_LAYER_MOE_DECODER && w->strategy->ep > 1;
    if (!late) {
        galv_pass_compute(w, kind, part);
        return;
    }
    if (w->n_late == GALV_MAX_LATE) {
        galv_pass_finish_weights(w);
    }
    galv_pass_compute(w, GALV_OP_BACKWARD_INPUT, part);
    w->late[w->n_late++] = (galv_late_weights){w->first_layer, w->n_layers, part};
}

static void exchange_heads(galv_pass_writer *w)
{
    if (w->strategy->tp > 1 && w->strategy->sp == GALV_SP_ULYSSES) {
        communicate(w, GALV_OP_ALL_TO_ALL, GALV_STREAM_TP, GALV_PART_ATTENTION);
        galv_pass_finish_weights(w);
    }
}

static void ring(galv_pass_writer *w)
{
    if (w->strategy->cp > 1) {
        communicate_beside(w, GALV_OP_RING_EXCHANGE, GALV_STREAM_CP,
                           GALV_PART_ATTENTION);
    }
}

static void exchange_tokens(galv_pass_writer *w, int part)
{
    if (w->strategy->ep > 1) {
        communicate(w, GALV_OP_ALL_TO_ALL, GALV_STREAM_EP, part);
        galv_pass_finish_weights(w);
    }
}

/* tp ranks that each did a share of the tokens (experts, sp=none) join them. */
static void join_tokens(galv_pass_writer *w, int part)
{
    if (galv_compile_cuts_weights(w->strategy) && w->strategy->sp == GALV_SP_NONE) {
        communicate(w, GALV_OP_ALL_GATHER, GALV_STREAM_TP, part);
    }
}

static bool shares_experts_over_tp(const galv_pass_writer *w)
{
    return w->group->moe_shared_ffn_hidden_size > 0 &&
           galv_compile_cuts_weights(w->strategy) &&
           w->strategy->sp == GALV_SP_MEGATRON;
}

/* Forward of one cut layer; `kind` is GALV_OP_FORWARD or _RECOMPUTE. */
void galv_pass_forward_cut(galv_pass_writer *w, int kind)
{
    if (!galv_compile_is_block(w->group)) {
        bool head = w->group->kind == GALV_LAYER_HEAD;
        if (head) {
            gather_before(w, GALV_PART_WHOLE);
        }
        galv_pass_compute(w, kind, GALV_PART_WHOLE);
        if (!head) {
            reduce_after(w, GALV_PART_WHOLE);
        }
        return;
    }
    gather_before(w, GALV_PART_ATTENTION);
    exchange_heads(w);
    ring(w);
    galv_pass_compute(w, kind, GALV_PART_ATTENTION);
    exchange_heads(w);
    reduce_after(w, GALV_PART_ATTENTION);
    if (w->group->kind != GALV_LAYER_MOE_DECODER) {
        gather_before(w, GALV_PART_MLP);
        galv_pass_compute(w, kind, GALV_PART_MLP);
        reduce_after(w, GALV_PART_MLP);
        return;
    }
    if (shares_experts_over_tp(w)) {
        gather_before(w, GALV_PART_ROUTER);
    }
    galv_pass_compute(w, kind, GALV_PART_ROUTER);
    if (shares_experts_over_tp(w)) {
        reduce_after(w, GALV_PART_ROUTER);
    }
    exchange_tokens(w, GALV_PART_EXPERTS);
    galv_pass_compute(w, kind, GALV_PART_EXPERTS);
    exchange_tokens(w, GALV_PART_COMBINE);
    galv_pass_compute(w, kind, GALV_PART_COMBINE);
    join_tokens(w, GALV_PART_COMBINE);
}

/* Backward of a part whose weights tp cuts. `joins`: the gradient of its output is
 * gathered first, because forward reduced it; `reduces`: that of its input is reduced,
 * because forward gathered it (or used it whole). */
static void backward_tensor_parallel(galv_pass_writer *w, int kind, int part,
                                     bool joins, bool reduces)
{
    if (joins) {
        gather_before(w, part);
    }
    bool hides = kind == GALV_OP_BACKWARD && reduces && !w->plan->overlap.tp_comm;
    if (reduces && w->strategy->sp == GALV_SP_MEGATRON) { /* its input, again */
        int32_t again = galv_pass_append(w, GALV_OP_ALL_GATHER, GALV_STREAM_TP, part);
        wait_for_frontier(w, again);
    }
    if (!hides) {
        galv_pass_compute(w, kind, part);
        if (reduces) {
            reduce_after(w, part);
        }
        return;
    }
    galv_pass_compute(w, GALV_OP_BACKWARD_INPUT, part);
    communicate_beside(w, reduction_of(w->strategy), GALV_STREAM_TP, part);
    galv_pass_compute(w, GALV_OP_BACKWARD_WEIGHT, part);
}

static void backward_part(galv_pass_writer *w, int kind, int part)
{
    if (galv_compile_cuts_weights(w->strategy)) {
        backward_tensor_parallel(w, kind, part, true, true);
    } else {
        compute_backward(w, kind, part);
    }
}

/* Backward of one cut layer; `kind` is GALV_OP_BACKWARD or _BACKWARD_INPUT. */
void galv_pass_backward_cut(galv_pass_writer *w, int kind)
{
    if (!galv_compile_is_block(w->group)) {
        bool head = w->group->kind == GALV_LAYER_HEAD;
        backward_tensor_parallel(w, kind, GALV_PART_WHOLE, !head, head);
        return;
    }
    if (w->group->kind != GALV_LAYER_MOE_DECODER) {
        backward_part(w, kind, GALV_PART_MLP);
    } else {
        galv_pass_compute(w, kind, GALV_PART_COMBINE);
        exchange_tokens(w, GALV_PART_COMBINE);
        compute_backward(w, kind, GALV_PART_EXPERTS);
        exchange_tokens(w, GALV_PART_EXPERTS);
        if (shares_experts_over_tp(w)) {
            backward_part(w, kind, GALV_PART_ROUTER);
        } else {
            compute_backward(w, kind, GALV_PART_ROUTER);
        }
        join_tokens(w, GALV_PART_ROUTER);
    }
    exchange_heads(w);
    ring(w);
    backward_part(w, kind, GALV_PART_ATTENTION);
    exchange_heads(w);
}
