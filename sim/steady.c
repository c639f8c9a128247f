/* Iterations of very many micro-batches, from shorter ones.
 *
 * A pipeline that works through equal micro-batches settles into a rhythm: after its
 * fill every round of micro-batches costs the same. So three iterations that differ by
 * the same number of rounds are simulated, and where what they say lies on a line, the
 * long one lies on it too. What is asked for that:
 *
 *   - the time, every share of every rank's time, and every peak of memory grow by the
 *     same from the first to the second as from the second to the third;
 *   - no rank's bubble shrinks. A stage that takes a little longer than the one that
 *     sets the pace now would catch up with it in the end: its bubble shrinks, since
 *     what it does grows faster than the time.
 *
 * Otherwise the whole iteration is simulated. The answer agrees with that of the whole
 * simulation up to rounding (some parts in 1e12; tests hold it to 1e-9). */
#include "sim/evaluate_internal.h"

#include <math.h>
#include <string.h>

enum {
    PERIOD_ROUNDS = 8, /* micro-batches between, in rounds of one for each stage */
    LONG_ROUNDS = 96   /* for shorter iterations it is not worth it */
};
#define TOLERANCE 1e-9

/* The three iterations. */
typedef struct line {
    galv_result results[3];
    galv_evaluation found[3];
    double periods; /* from the last one to the one asked for */
    double scale_s; /* what counts as nothing is told by this */
    bool straight;
} line;

bool galv_steady_is_long(const galv_plan *plan)
{
    int64_t m = galv_plan_n_micro_batches(plan);
    return plan->order == NULL && plan->group_size <= 0 &&
           m >= (int64_t)LONG_ROUNDS * plan->pp;
}

/* Micro-batches of the shortest of the three iterations. */
static int64_t first_of(const galv_plan *plan)
{
    int64_t period = (int64_t)PERIOD_ROUNDS * plan->pp;
    return period + galv_plan_n_micro_batches(plan) % period;
}

/* The plan with n micro-batches. */
static galv_plan shorten(const galv_plan *plan, int64_t n)
{
    galv_plan shorter = *plan;
    shorter.global_batch_size =
        plan->global_batch_size / galv_plan_n_micro_batches(plan) * n;
    return shorter;
}

double galv_evaluate_ops(const galv_job *job, const galv_plan *plan)
{
    double n = 0;
    if (!galv_steady_is_long(plan)) {
        return galv_program_count(job, plan);
    }
    for (int i = 0; i < 3; i++) {
        galv_plan shorter =
            shorten(plan, first_of(plan) + (int64_t)i * PERIOD_ROUNDS * plan->pp);
        n += galv_program_count(job, &shorter);
    }
    return n;
}

/* The value on the line through three points; notes when they do not lie on one. */
static double extend(line *l, double a, double b, double c, double scale)
{
    double step = c - b;
    if (fabs(step - (b - a)) > TOLERANCE * scale) {
        l->straight = false;
    }
    return c + l->periods * step;
}

static void extend_rank(line *l, galv_rank_result *to, int32_t rank)
{
    const galv_rank_result *r[3];
    for (int i = 0; i < 3; i++) {
        r[i] = &l->found[i].sim.ranks[rank];
    }
    *to = *r[2];
    to->busy_s = extend(l, r[0]->busy_s, r[1]->busy_s, r[2]->busy_s, l->scale_s);
    for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
        to->spent_s[part] = extend(l, r[0]->spent_s[part], r[1]->spent_s[part],
                                   r[2]->spent_s[part], l->scale_s);
    }
    double shrinks =
        r[1]->spent_s[GALV_BREAKDOWN_BUBBLE] - r[2]->spent_s[GALV_BREAKDOWN_BUBBLE];
    if (shrinks > TOLERANCE * l->scale_s) {
        l->straight = false;
    }
    to->peak_bytes = extend(l, r[0]->peak_bytes, r[1]->peak_bytes, r[2]->peak_bytes,
                            r[2]->peak_bytes);
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        to->peak_use_bytes[use] =
            extend(l, r[0]->peak_use_bytes[use], r[1]->peak_use_bytes[use],
                   r[2]->peak_use_bytes[use], r[2]->peak_bytes);
    }
}

/* Puts what the ranks say together, as the whole evaluation does. */
static void sum_up(galv_result *made, line *l, const galv_costmodel *model,
                   const galv_plan *plan)
{
    double n = made->n_stages;
    memset(made->breakdown_s, 0, sizeof made->breakdown_s);
    for (int32_t stage = 0; stage < made->n_stages; stage++) {
        galv_rank_result rank;
        galv_stage_result *to = &made->stages[stage];
        extend_rank(l, &rank, stage);
        to->busy_s = rank.busy_s;
        to->peak_memory_bytes = rank.peak_bytes;
        memcpy(to->memory, rank.peak_use_bytes, sizeof to->memory);
        for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
            made->breakdown_s[part] += rank.spent_s[part] / n;
        }
    }
    double exposed = 0;
    for (int part = GALV_BREAKDOWN_TP; part <= GALV_BREAKDOWN_DP; part++) {
        exposed += made->breakdown_s[part];
    }
    made->bubble_frac =
        made->breakdown_s[GALV_BREAKDOWN_BUBBLE] / made->iteration_time_s;
    made->exposed_comm_frac = exposed / made->iteration_time_s;
    galv_evaluate_need(made, model, plan);
    const galv_evaluation *e = l->found;
    double priced_s =
        extend(l, e[0].priced_s, e[1].priced_s, e[2].priced_s, e[2].priced_s);
    for (int p = 0; p < GALV_N_PROVENANCES && priced_s > 0; p++) {
        double seconds[3];
        for (int i = 0; i < 3; i++) {
            seconds[i] = l->results[i].provenance[p] * e[i].priced_s;
        }
        made->provenance[p] =
            extend(l, seconds[0], seconds[1], seconds[2], e[2].priced_s) / priced_s;
    }
    galv_evaluate_rates(made, model, plan,
                        extend(l, e[0].executed_flop, e[1].executed_flop,
                               e[2].executed_flop, e[2].executed_flop));
}

galv_status galv_steady_evaluate(galv_result *result, bool *steady,
                                 const galv_costmodel *model, const galv_plan *plan,
                                 const galv_evaluate_options *options,
                                 galv_arena *arena, galv_err *err)
{
    int64_t m = galv_plan_n_micro_batches(plan);
    int64_t period = (int64_t)PERIOD_ROUNDS * plan->pp;
    int64_t first = first_of(plan);
    galv_status status = GALV_OK;
    line *l = GALV_NEW(arena, line);
    *steady = false;
    if (l == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for three iterations");
    }
    l->periods = (double)((m - first - 2 * period) / period);
    for (int i = 0; i < 3 && status == GALV_OK; i++) {
        galv_evaluate_options whole = *options;
        galv_plan shorter = shorten(plan, first + i * period);
        whole.sim.stop_at_s = 0;
        status = galv_evaluate_whole(&l->results[i], &l->found[i], model, &shorter,
                                     &whole, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    const galv_result *r = l->results;
    galv_result made = r[2];
    l->scale_s = r[2].iteration_time_s;
    l->straight = r[2].n_stages == l->found[2].sim.n_ranks;
    made.iteration_time_s = extend(l, r[0].iteration_time_s, r[1].iteration_time_s,
                                   r[2].iteration_time_s, l->scale_s);
    made.events += (r[2].events - r[1].events) * (uint64_t)l->periods;
    made.stopped =
        options->sim.stop_at_s > 0 && made.iteration_time_s > options->sim.stop_at_s;
    if (l->straight) {
        sum_up(&made, l, model, plan);
    }
    if (l->straight) {
        made.wall_s = r[0].wall_s + r[1].wall_s + r[2].wall_s;
        *result = made;
        *steady = true;
    }
    return GALV_OK;
}
