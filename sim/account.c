/* Where a rank's time and memory go.
 *
 * Time: between two changes of what runs on a rank, the time goes to computation if any
 * runs, else to the first of tp, cp, ep, dp and pp that runs, else to the bubble. So a
 * second of a rank is counted once, and communication counts only where it is exposed.
 *
 * Memory: what is held throughout, plus what each operation takes when it starts and
 * gives or takes when it ends, plus its transient while it runs (counted as buffers).
 * At an end the transient goes first, so that an operation's own output does not meet
 * its workspace; what must meet it the cost model takes at the start. */
#include "sim/simulate_internal.h"

#include <string.h>

const char *const galv_breakdown_names[GALV_N_BREAKDOWNS] = {
#define GALV_WORD(name, word) word,
    GALV_BREAKDOWN_TABLE(GALV_WORD)
#undef GALV_WORD
};

uint8_t galv_sim_breakdown_of(const galv_operation *operation)
{
    static const uint8_t by_stream[GALV_N_STREAMS] = {
        [GALV_STREAM_COMPUTE] = GALV_BREAKDOWN_COMPUTE,
        [GALV_STREAM_TP] = GALV_BREAKDOWN_TP,
        [GALV_STREAM_CP] = GALV_BREAKDOWN_CP,
        [GALV_STREAM_EP] = GALV_BREAKDOWN_EP,
        [GALV_STREAM_DP] = GALV_BREAKDOWN_DP,
        [GALV_STREAM_PP_SEND] = GALV_BREAKDOWN_PP,
        [GALV_STREAM_PP_RECV] = GALV_BREAKDOWN_PP,
    };
    if (operation->stream == GALV_STREAM_COMPUTE) {
        if (operation->kind == GALV_OP_RECOMPUTE) {
            return GALV_BREAKDOWN_RECOMPUTE;
        }
        if (operation->kind == GALV_OP_OPTIMIZER) {
            return GALV_BREAKDOWN_OPTIMIZER;
        }
    }
    return by_stream[operation->stream];
}

void galv_account_finish(rank_account *account, galv_rank_result *result, double now_s)
{
    galv_account_time(account, result, now_s);
    double spent = 0;
    for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
        if (part != GALV_BREAKDOWN_BUBBLE) {
            spent += result->spent_s[part];
        }
    }
    result->busy_s = result->comm_s[GALV_STREAM_COMPUTE];
    result->spent_s[GALV_BREAKDOWN_BUBBLE] = now_s > spent ? now_s - spent : 0;
}

/* Adds changes of the uses in `changed`, and keeps the peak with what made it. */
static void change_memory(rank_account *account, galv_rank_result *result,
                          unsigned changed, const double *changes, double transient,
                          uint32_t op, double now_s)
{
    double *uses = account->use_bytes;
    for (int use = 0; changed != 0; use++, changed >>= 1) {
        if ((changed & 1U) != 0) {
            uses[use] += changes[use];
        }
    }
    uses[GALV_MEMORY_BUFFERS] += transient;
    double total = 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        total += uses[use];
    }
    if (total > result->peak_bytes) {
        result->peak_bytes = total;
        result->peak_time_s = now_s;
        result->peak_op = op;
        memcpy(result->peak_use_bytes, account->use_bytes, sizeof account->use_bytes);
    }
    if (account->samples != NULL) {
        size_t n = account->n_samples;
        if (n == 0 || account->samples[n - 1].time_s < now_s) {
            account->n_samples++;
        } else {
            n--; /* what was written at this very moment did not last */
        }
        account->samples[n].rank = account->sampled_as;
        account->samples[n].time_s = now_s;
        account->samples[n].bytes = total;
    }
}

void galv_account_start(rank_account *account, galv_rank_result *result,
                        const hot_class *class, const galv_cost *cost, uint32_t op,
                        double now_s)
{
    change_memory(account, result, class->start_memory, cost->start_bytes,
                  cost->transient_bytes, op, now_s);
}

void galv_account_end(rank_account *account, galv_rank_result *result,
                      const hot_class *class, const galv_cost *cost, uint32_t op,
                      double now_s)
{
    change_memory(account, result, class->end_memory, cost->end_bytes,
                  -cost->transient_bytes, op, now_s);
}

void galv_account_begin(rank_account *account, galv_rank_result *result,
                        const galv_stage_memory *base)
{
    account->breakdown = GALV_BREAKDOWN_BUBBLE;
    const unsigned all = (1U << GALV_N_MEMORY_USES) - 1;
    change_memory(account, result, base == NULL ? 0 : all,
                  base == NULL ? NULL : base->bytes, 0, 0, 0);
}
