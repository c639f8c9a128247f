/* Two passes beside each other: where they are cut, and how they take turns.
 *
 * A device computes one thing at a time, so two passes side by side are one queue of
 * computations in which both have their turns; their communications lie on streams of
 * their own and overlap whatever is computed meanwhile. What is hidden is not said
 * here: it follows from the order when the program is replayed.
 *
 * A stretch is a run of computations with the communications that follow them, up to
 * the first computation that waits for one of these. A layer of experts has two in
 * forward, (attention, router) dispatch (experts) combine, and the mirror image in
 * backward; after as many turns each exchange of one has stood beside a computation of
 * the other: dispatch beside the backward of the experts, combine beside the backward
 * of attention. Exchanges of backward stand beside weight gradients too, as those wait
 * for nobody (compile_layers.c). A backward that recomputes has twice as many stretches
 * as its forward, so that two of its stretches follow one another where forward has run
 * out of its share. Which stretch comes next is a matter of counts alone; a schedule
 * knows no costs. */
#include "schedule/compile_internal.h"

#include <string.h>

/* One of the two passes while they are merged. */
typedef struct turn {
    const galv_pass_layout *layout;
    int32_t at; /* ops merged */
    int32_t n_stretches, n_done;
    int32_t *place; /* [layout->n_ops] in the pair */
} turn;

/* Where the stretch that begins at an op ends. */
static int32_t end_of_stretch(const galv_pass_layout *layout, int32_t begin)
{
    bool computes = false;
    for (int32_t i = begin; i < layout->n_ops; i++) {
        const galv_pass_op *op = &layout->ops[i];
        if (op->operation.stream != GALV_STREAM_COMPUTE) {
            continue;
        }
        for (int32_t k = 0; k < op->n_waits && computes; k++) {
            if (op->waits[k] >= begin) { /* never one of its own stream */
                return i;
            }
        }
        computes = true;
    }
    return layout->n_ops;
}

static int32_t count_stretches(const galv_pass_layout *layout)
{
    int32_t n = 0;
    for (int32_t at = 0; at < layout->n_ops; n++) {
        at = end_of_stretch(layout, at);
    }
    return n;
}

/* Appends the next stretch of a pass to the pair. */
static void take_turn(galv_pass_layout *pair, turn *t, int which)
{
    int32_t end = end_of_stretch(t->layout, t->at);
    for (; t->at < end; t->at++) {
        galv_pass_op *op = &pair->ops[pair->n_ops];
        *op = t->layout->ops[t->at];
        op->of = (uint8_t)which;
        op->class_index = 0;
        for (int32_t k = 0; k < op->n_waits; k++) {
            op->waits[k] = t->place[op->waits[k]];
        }
        t->place[t->at] = pair->n_ops++;
    }
    t->n_done++;
}

/* Whose share of stretches is done less; backward when they are even. */
static int whose_turn(const turn turns[2])
{
    int64_t forward = (int64_t)turns[0].n_done * turns[1].n_stretches;
    int64_t backward = (int64_t)turns[1].n_done * turns[0].n_stretches;
    bool cut = turns[0].n_stretches > 1 || turns[1].n_stretches > 1;
    return backward < forward || (backward == forward && cut) ? 1 : 0;
}

/* What is over when both passes are. */
static void end_pair(galv_pass_layout *pair, const turn turns[2])
{
    for (int which = 0; which < 2; which++) {
        const galv_pass_layout *from = turns[which].layout;
        for (int32_t i = 0; i < from->n_exits; i++) {
            pair->exits[pair->n_exits++] = turns[which].place[from->exits[i]];
        }
    }
    int32_t ends[2] = {-1, -1};
    for (int which = 0; which < 2; which++) {
        int32_t end = turns[which].layout->unit_ends[0];
        ends[which] = end < 0 ? -1 : turns[which].place[end];
    }
    int last = ends[1] > ends[0] ? 1 : 0;
    pair->unit_ends[0] = ends[last];
    pair->unit_ends[1] = ends[1 - last];
}

galv_status galv_compile_pair(galv_pass_layout *layout, const galv_pass_layout *forward,
                              const galv_pass_layout *backward, galv_arena *arena,
                              galv_err *err)
{
    const galv_pass_layout *passes[2] = {forward, backward};
    galv_pass_layout made = {0};
    turn turns[2];
    memset(turns, 0, sizeof turns);
    made.capacity = forward->n_ops + backward->n_ops;
    made.ops = GALV_NEW_ARRAY(arena, galv_pass_op, made.capacity);
    for (int which = 0; which < 2; which++) {
        turns[which].layout = passes[which];
        turns[which].n_stretches = count_stretches(passes[which]);
        turns[which].place = GALV_NEW_ARRAY(arena, int32_t, passes[which]->n_ops);
    }
    if (made.ops == NULL || turns[0].place == NULL || turns[1].place == NULL) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "a pair of passes of %d operations does not fit in memory",
                         (int)made.capacity);
    }
    while (made.n_ops < made.capacity) {
        int which = whose_turn(turns);
        take_turn(&made, &turns[which], which);
    }
    end_pair(&made, turns);
    *layout = made;
    return GALV_OK;
}
