/* Operations are taken in program order, each with its transient: a message's is kept
 * apart, since messages run on streams of their own, beside any computation. */
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

static galv_status walk(galv_pass_memory *memory, galv_prices *prices,
                        const galv_pass_ops *ops, galv_err *err)
{
    memset(memory, 0, sizeof *memory);
    double now = 0;
    for (int32_t i = 0; i < ops->n_ops; i++) {
        const galv_cost *cost = galv_prices_get(prices, &ops->ops[i]);
        if (cost == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "no memory to estimate memory");
        }
        bool message = ops->ops[i].stream != GALV_STREAM_COMPUTE;
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
    memory->net_bytes = now;
    return GALV_OK;
}

galv_status galv_pass_memory_walk(galv_pass_memory *memory, galv_prices *prices,
                                  const galv_job *job, const galv_plan *plan,
                                  int32_t stage, int32_t chunk, int pass,
                                  galv_arena *arena, galv_err *err)
{
    galv_pass_ops ops = {0};
    galv_status status =
        galv_program_pass(&ops, job, plan, stage, chunk, pass, arena, err);
    return status == GALV_OK ? walk(memory, prices, &ops, err) : status;
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
    return status == GALV_OK ? walk(memory, prices, &ops, err) : status;
}
