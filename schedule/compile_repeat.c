/* Does a pass repeat itself?
 *
 * What is written for a unit follows from the unit and from what the writer holds: what
 * the next operation waits for and which exchanges are under way. So when two stretches
 * of a pass have the same operations, each waiting for ops as far back, and the writer
 * holds the same at the end of both, stretches of equal units after them are like them,
 * however many. */
#include "schedule/compile_writer_internal.h"

#include <string.h>

void galv_pass_set_mark(galv_pass_mark *mark, const galv_pass_writer *w)
{
    mark->n_ops = w->layout->n_ops;
    mark->n_frontier = w->n_frontier;
    memcpy(mark->frontier, w->frontier, sizeof mark->frontier);
    mark->hidden = w->hidden;
    mark->due = w->due;
    mark->other = w->at_entry || w->n_sides > 0 || w->n_late > 0 || w->gather >= 0 ||
                  w->gather_op >= 0;
}

/* Two ops, or none both times, as far from where they are seen? */
static bool shifted(int32_t from, int32_t to, int32_t by)
{
    return from < 0 ? to < 0 : to == from + by;
}

static bool same_op(const galv_pass_op *a, const galv_pass_op *b, int32_t by,
                    int32_t first)
{
    bool same = a->operation.kind == b->operation.kind &&
                a->operation.stream == b->operation.stream &&
                a->operation.part == b->operation.part &&
                a->operation.pass == b->operation.pass &&
                a->operation.n_layers == b->operation.n_layers &&
                a->enters == b->enters && a->waits_unit == b->waits_unit &&
                a->gather == b->gather && a->n_waits == b->n_waits;
    for (int32_t i = 0; same && i < a->n_waits; i++) {
        same = b->waits[i] == a->waits[i] + by && b->waits[i] >= first;
    }
    return same;
}

bool galv_pass_comes_round(const galv_pass_writer *w, const galv_pass_mark *first,
                           const galv_pass_mark *second, const galv_pass_mark *now)
{
    int32_t by = now->n_ops - second->n_ops;
    if (by != second->n_ops - first->n_ops || second->other || now->other ||
        second->n_frontier != now->n_frontier ||
        !shifted(second->hidden, now->hidden, by) ||
        !shifted(second->due, now->due, by)) {
        return false;
    }
    for (int32_t i = 0; i < now->n_frontier; i++) {
        if (!shifted(second->frontier[i], now->frontier[i], by)) {
            return false;
        }
    }
    for (int32_t i = second->n_ops; i < now->n_ops; i++) {
        if (!same_op(&w->layout->ops[i - by], &w->layout->ops[i], by, first->n_ops)) {
            return false;
        }
    }
    return true;
}
