/* How fast what runs on a rank goes on.
 *
 * An activity alone has rate 1. Computation beside communication is slowed by the
 * largest compute_slowdown of the communications that run (they contend with it for the
 * same processors and memory; several at once share a link, so together they do not ask
 * for more than the greediest alone). A communication beside computation is slowed by
 * its own comm_slowdown. Communications whose shares of the scale-up link, or of the
 * network, add up to more than 1 are slowed by that sum, those that use the link alike.
 *
 * A change of rate moves the end of an activity: what is left of it, (end - now) * old
 * rate, goes on at the new one. Ends of activities whose rate stays are left alone, to
 * the last bit. Left out: contention at the receiver and inside the network between
 * ranks, which the cost model's shares of a collective already hold for the usual
 * placements. */
#include "sim/simulate_internal.h"

#include <math.h>

static void set_rate(sim *s, sim_queue *queue, double rate)
{
    if (rate != queue->rate) {
        queue->end_s = s->now_s + (queue->end_s - s->now_s) * queue->rate / rate;
        queue->rate = rate;
        s->n_events++;
    }
}

static double greater(double a, double b)
{
    return a > b ? a : b;
}

/* Alone on its device. */
static void set_rate_alone(sim *s, int32_t rank, sim_queue *queues)
{
    sim_rank *state = &s->ranks[rank];
    state->next_s = INFINITY;
    if (state->running != 0) {
        sim_queue *queue = &queues[galv_sim_first_stream(state->running)];
        set_rate(s, queue, 1);
        state->next_s = queue->end_s;
    }
}

void galv_sim_set_rates(sim *s, int32_t rank)
{
    sim_rank *state = &s->ranks[rank];
    sim_queue *queues = &s->queues[(size_t)rank * GALV_N_STREAMS];
    const unsigned running = state->running;
    const unsigned compute_bit = 1U << GALV_STREAM_COMPUTE;
    if ((running & (running - 1)) == 0) { /* one activity or none */
        set_rate_alone(s, rank, queues);
        return;
    }
    double intra = 0;
    double inter = 0;
    double slowest = 1;
    for (unsigned left = running & ~compute_bit; left != 0; left &= left - 1) {
        const sim_queue *queue = &queues[galv_sim_first_stream(left)];
        const hot_class *class = &s->classes[queue->class_index];
        intra += class->intra_share;
        inter += class->inter_share;
        slowest = greater(slowest, class->compute_slowdown);
    }
    double next_s = INFINITY;
    for (unsigned left = running; left != 0; left &= left - 1) {
        int stream = galv_sim_first_stream(left);
        const hot_class *class = &s->classes[queues[stream].class_index];
        double slowed = 1;
        if (stream == GALV_STREAM_COMPUTE) {
            slowed = slowest;
        } else {
            if (class->intra_share > 0) {
                slowed = greater(slowed, intra);
            }
            if (class->inter_share > 0) {
                slowed = greater(slowed, inter);
            }
            if ((running & compute_bit) != 0) {
                slowed *= greater(class->comm_slowdown, 1);
            }
        }
        set_rate(s, &queues[stream], 1 / slowed);
        next_s = queues[stream].end_s < next_s ? queues[stream].end_s : next_s;
    }
    state->next_s = next_s;
}
