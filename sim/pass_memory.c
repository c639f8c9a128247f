/* Operations are taken in program order, each with its transient: a message's is kept
 * apart, since messages run on streams of their own, beside any computation. A row that
 * repeats begins each time where the one before it ended, so it reaches highest the
 * first time or the last. */
#include "sim/pass_memory.h"

#include <string.h>

static double sum(const double *bytes)
{
    double total = 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        total += bytes[use];
    }
    return total;
}

typedef struct walk {
    galv_pass_memory *memory;
    const galv_pass_ops *ops;
    const galv_cost *const *costs;
    double now;
} walk;

static void go(walk *w, int32_t first, int32_t end)
{
    galv_pass_memory *memory = w->memory;
    double now = w->now;
    for (int32_t i = first; i < end; i++) {
        const galv_cost *cost = w->costs[i];
        bool message = w->ops->ops[i].stream != GALV_STREAM_COMPUTE;
        double taken = sum(cost->start_bytes);
        now += taken;
        if (message && cost->transient_bytes > memory->message_bytes) {
            memory->message_bytes = cost->transient_bytes;
        }
        if (message && taken > memory->ahead_bytes) {
            memory->ahead_bytes = taken;
        }
        double crest = now + (message ? 0 : cost->transient_bytes);
        if (crest > memory->crest_bytes) {
            memory->crest_bytes = crest;
        }
        now += sum(cost->end_bytes);
        if (now > memory->crest_bytes) {
            memory->crest_bytes = now;
        }
    }
    w->now = now;
}

/* What a row changes for good. */
static double net_of(const walk *w, const galv_pass_repeat *row)
{
    double net = 0;
    for (int32_t i = row->first_op; i < row->first_op + row->n_ops; i++) {
        net += sum(w->costs[i]->start_bytes) + sum(w->costs[i]->end_bytes);
    }
    return net;
}

void galv_pass_memory_add_up(galv_pass_memory *memory, const galv_pass_ops *ops,
                             const galv_cost *const *costs)
{
    walk w = {memory, ops, costs, 0};
    int32_t at = 0;
    memset(memory, 0, sizeof *memory);
    for (int32_t r = 0; r < ops->n_repeats; r++) {
        const galv_pass_repeat *row = &ops->repeats[r];
        int32_t end = row->first_op + row->n_ops;
        go(&w, at, end);
        w.now += net_of(&w, row) * (row->times - 1);
        go(&w, row->first_op, end); /* the first time was before: this is the last */
        at = end;
    }
    go(&w, at, ops->n_ops);
    memory->net_bytes = w.now;
}

galv_status galv_pair_memory_walk(galv_pass_memory *memory, galv_prices *prices,
                                  const galv_job *job, const galv_plan *plan,
                                  int32_t stage, int32_t forward_chunk,
                                  int32_t backward_chunk, int backward_pass,
                                  galv_arena *arena, galv_err *err)
{
    galv_pass_ops ops = {0};
    galv_status status = galv_program_pair(&ops, job, plan, stage, forward_chunk,
                                           backward_chunk, backward_pass, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    const galv_cost **costs = GALV_NEW_ARRAY(arena, const galv_cost *, ops.n_ops + 1);
    for (int32_t i = 0; costs != NULL && i < ops.n_ops; i++) {
        costs[i] = galv_prices_get(prices, &ops.ops[i]);
        costs = costs[i] == NULL ? NULL : costs;
    }
    if (costs == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to estimate memory");
    }
    galv_pass_memory_add_up(memory, &ops, costs);
    return GALV_OK;
}
