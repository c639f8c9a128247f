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

void galv_sim_count_time(sim *s, int32_t rank)
{
    sim_rank *state = &s->ranks[rank];
    if (state->counted_s < s->now_s) {
        s->results[rank].spent_s[state->breakdown] += s->now_s - state->counted_s;
        state->counted_s = s->now_s;
    }
}

void galv_sim_set_breakdown(sim *s, int32_t rank)
{
    sim_rank *state = &s->ranks[rank];
    unsigned running = state->running;
    state->breakdown = GALV_BREAKDOWN_BUBBLE;
    for (int stream = 0; running != 0; stream++, running >>= 1) {
        if ((running & 1U) != 0) { /* streams are numbered in the order that counts */
            const sim_queue *queue =
                &s->queues[(size_t)rank * GALV_N_STREAMS + (size_t)stream];
            state->breakdown = s->classes[queue->class_index].breakdown;
            return;
        }
    }
}

/* Adds changes, and keeps the peak with what made it. */
static void change_memory(sim *s, int32_t rank, uint32_t op, const double *changes,
                          double transient)
{
    sim_rank *state = &s->ranks[rank];
    double total = 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        if (changes != NULL) {
            state->use_bytes[use] += changes[use];
        }
        if (use == GALV_MEMORY_BUFFERS) {
            state->use_bytes[use] += transient;
        }
        total += state->use_bytes[use];
    }
    galv_rank_result *result = &s->results[rank];
    if (total > result->peak_bytes) {
        result->peak_bytes = total;
        result->peak_time_s = s->now_s;
        result->peak_op = op;
        memcpy(result->peak_use_bytes, state->use_bytes, sizeof state->use_bytes);
    }
    if (state->samples != NULL) {
        size_t n = state->n_samples;
        if (n == 0 || state->samples[n - 1].time_s < s->now_s) {
            state->n_samples++;
        } else {
            n--; /* what was written at this very moment did not last */
        }
        state->samples[n].rank = rank;
        state->samples[n].time_s = s->now_s;
        state->samples[n].bytes = total;
    }
}

void galv_sim_start_memory(sim *s, int32_t rank, uint32_t op, uint32_t class_index)
{
    const galv_cost *cost = &s->costs[class_index];
    change_memory(s, rank, op, cost->start_bytes, cost->transient_bytes);
}

void galv_sim_end_memory(sim *s, int32_t rank, uint32_t op, uint32_t class_index)
{
    const galv_cost *cost = &s->costs[class_index];
    change_memory(s, rank, op, cost->end_bytes, -cost->transient_bytes);
}

void galv_sim_begin_memory(sim *s, int32_t rank, const galv_stage_memory *base)
{
    change_memory(s, rank, 0, base == NULL ? NULL : base->bytes, 0);
}
