/* Two copies of the model: which collectives of two stages are one.
 *
 * In a two-way program stages i and p - 1 - i hold the same layers. What their ranks do
 * on the DP stream (reduce gradients, gather what ZeRO has sharded) they do together,
 * in one group of the ranks of both. As with every collective the last to come sets the
 * start, and as one stage is simulated by one rank, that is said by waits: each of the
 * two operations waits for whatever the other waits for, its place in the queue
 * included. They cost the same, so they end together.
 *
 * Both stages must come to them in the same order, or ranks would wait for each other
 * for ever. DualPipe is the same seen from either end, so they do; an order of one's
 * own may not. */
#include "schedule/compile_internal.h"

#include <stdlib.h>

typedef struct meeting_list {
    uint32_t *ops;     /* on the DP stream of all stages, stage by stage */
    size_t *begin;     /* [n_ranks + 1] */
    uint32_t *twin_of; /* [n_ops of the builder] GALV_NO_OP = none */
    const galv_builder *builder;
} meeting_list;

static bool is_shared(const galv_builder *b, size_t op)
{
    const galv_operation *class = &b->classes[galv_builder_op_at(b, op)->class_index];
    return class->stream == GALV_STREAM_DP && class->part != GALV_PART_TIED;
}

static void fill_list(meeting_list *list)
{
    const galv_builder *b = list->builder;
    for (size_t op = 0; op < b->n_ops; op++) {
        list->twin_of[op] = GALV_NO_OP;
        if (is_shared(b, op)) {
            list->begin[galv_builder_op_at(b, op)->queue / GALV_N_STREAMS + 1]++;
        }
    }
    for (int32_t rank = 0; rank < b->n_ranks; rank++) {
        list->begin[rank + 1] += list->begin[rank];
    }
    for (size_t op = 0; op < b->n_ops; op++) {
        if (is_shared(b, op)) {
            list->ops[list->begin[galv_builder_op_at(b, op)->queue /
                                  GALV_N_STREAMS]++] = (uint32_t)op;
        }
    }
    for (int32_t rank = b->n_ranks; rank > 0; rank--) { /* begins moved one on: back */
        list->begin[rank] = list->begin[rank - 1];
    }
    list->begin[0] = 0;
}

/* Are two operations halves of one collective? */
static bool are_one(const galv_builder *b, uint32_t one, uint32_t other)
{
    const galv_operation *x = &b->classes[galv_builder_op_at(b, one)->class_index];
    const galv_operation *y = &b->classes[galv_builder_op_at(b, other)->class_index];
    return x->kind == y->kind && x->part == y->part && x->pass == y->pass &&
           x->first_layer == y->first_layer && x->n_layers == y->n_layers;
}

static galv_status pair_stage(meeting_list *list, int32_t stage, galv_err *err)
{
    int32_t other = list->builder->n_ranks - 1 - stage;
    size_t n = list->begin[stage + 1] - list->begin[stage];
    bool same = n == list->begin[other + 1] - list->begin[other];
    for (size_t i = 0; i < n && same; i++) {
        uint32_t here = list->ops[list->begin[stage] + i];
        uint32_t there = list->ops[list->begin[other] + i];
        same = are_one(list->builder, here, there);
        list->twin_of[here] = there;
        list->twin_of[there] = here;
    }
    if (!same) {
        return galv_fail(err, GALV_USAGE,
                         "stages %d and %d hold copies of the same layers, but come to "
                         "their gradients in different orders: they would wait for "
                         "each other for ever",
                         (int)stage, (int)other);
    }
    return GALV_OK;
}

/* Each waits for what its twin waits for. */
static void share_waits(galv_builder *b, const meeting_list *list)
{
    size_t n_waits = b->n_waits;
    for (size_t i = 0; i < n_waits; i++) {
        uint32_t twin = list->twin_of[galv_builder_wait_at(b, i)->op];
        if (twin != GALV_NO_OP) {
            galv_builder_add_wait(b, twin, galv_builder_wait_at(b, i)->on);
        }
    }
    for (int32_t stage = 0; stage < b->n_ranks; stage++) {
        for (size_t i = list->begin[stage] + 1; i < list->begin[stage + 1]; i++) {
            galv_builder_add_wait(b, list->twin_of[list->ops[i]], list->ops[i - 1]);
        }
    }
}

galv_status galv_compile_meet_copies(galv_builder *builder, galv_err *err)
{
    meeting_list list = {.builder = builder};
    if (builder->failed) {
        return GALV_OK; /* told when the program is finished */
    }
    list.ops = malloc((builder->n_ops + 1) * sizeof *list.ops);
    list.twin_of = malloc((builder->n_ops + 1) * sizeof *list.twin_of);
    list.begin = calloc((size_t)builder->n_ranks + 1, sizeof *list.begin);
    galv_status status = GALV_OK;
    if (list.ops == NULL || list.twin_of == NULL || list.begin == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "two copies do not fit in memory");
    } else {
        fill_list(&list);
    }
    for (int32_t stage = 0; stage < builder->n_ranks / 2 && status == GALV_OK;
         stage++) {
        status = pair_stage(&list, stage, err);
    }
    if (status == GALV_OK) {
        share_waits(builder, &list);
    }
    free(list.ops);
    free(list.twin_of);
    free(list.begin);
    return status;
}
