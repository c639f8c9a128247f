/* Cheap questions first.
 *
 * What a stage holds throughout takes no pass and no order to know, and is too much for
 * most plans that do not fit. Then an iteration of few micro-batches is estimated: with
 * more of them a stage never keeps less, since its order begins alike. Orders that keep
 * a fixed number (1F1B and its kin) have settled by then: when twice as many
 * micro-batches change no peak, more will not. Orders that keep all (GPipe) have not,
 * and are walked whole. So an iteration of a hundred thousand micro-batches costs no
 * more to price than one of a hundred.
 *
 * Only a plan that surely does not fit is left aside: its memory from below is over the
 * limit. Where the order alone does not tell, the simulator will. */
#include "search/pricing.h"

#include "schedule/schedule.h"
#include "search/bound.h"
#include "sim/evaluate.h"

#include <math.h>

/* Sums of what a pass takes and of what the pass back gives may differ by this. */
#define ROUNDING 1e-12

/* Micro-batches, in rounds of one for each stage, of a short iteration. */
enum { SHORT_ROUNDS = 4 };

static double total_bytes(const galv_stage_memory *memory)
{
    double sum = 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        sum += memory->bytes[use];
    }
    return sum;
}

static galv_memory_need most_held(const galv_costmodel *model, const galv_plan *plan,
                                  galv_prices *prices)
{
    galv_memory_need most = {0, 0};
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        if (galv_prices_stage_class(prices, stage) == stage) {
            galv_memory_need_add(&most, total_bytes(galv_prices_held(prices, stage)),
                                 galv_costmodel_stage_limit(model, plan, stage));
        }
    }
    return most;
}

/* The least that the fullest stage needs in an iteration of n micro-batches; 0 = all.
 */
static galv_status estimate(galv_memory_need *need, const galv_costmodel *model,
                            const galv_plan *plan, int64_t n, galv_prices *prices,
                            galv_arena *arena, galv_err *err)
{
    galv_plan shorter = *plan;
    double *peaks = GALV_NEW_ARRAY(arena, double, plan->pp);
    double *most = GALV_NEW_ARRAY(arena, double, plan->pp);
    if (!peaks || !most) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (n > 0) {
        shorter.global_batch_size =
            plan->global_batch_size / galv_plan_n_micro_batches(plan) * n;
    }
    galv_status status =
        galv_estimate_memory_between(peaks, most, model, &shorter, prices, arena, err);
    *need = (galv_memory_need){0, 0};
    for (int32_t stage = 0; status == GALV_OK && stage < plan->pp; stage++) {
        galv_memory_need_add(need, peaks[stage] * (1 - GALV_ESTIMATE_SLACK_FRAC),
                             galv_costmodel_stage_limit(model, plan, stage));
    }
    return status;
}

galv_status galv_price_memory(galv_memory_need *need, const galv_costmodel *model,
                              const galv_plan *plan, galv_prices *prices, bool whole,
                              galv_arena *arena, galv_err *err)
{
    galv_schedule schedule;
    int64_t m = galv_plan_n_micro_batches(plan);
    int64_t few = (int64_t)SHORT_ROUNDS * plan->pp + m % (2 * (int64_t)plan->pp);
    int64_t more = few + (int64_t)SHORT_ROUNDS * plan->pp;
    galv_memory_need of_few = {0, 0};
    galv_status status = galv_schedule_of_plan(&schedule, plan, err);
    if (status != GALV_OK) {
        return status;
    }
    bool shortens = m > more && !schedule.follows_costs && schedule.own == NULL &&
                    plan->group_size <= 0;
    if (shortens) {
        status = estimate(&of_few, model, plan, few, prices, arena, err);
        if (status != GALV_OK || (!whole && !galv_memory_need_fits(&of_few))) {
            *need = of_few;
            return status;
        }
        status = estimate(need, model, plan, more, prices, arena, err);
        bool settled = need->bytes <= of_few.bytes * (1 + ROUNDING);
        if (status != GALV_OK || settled || (!whole && !galv_memory_need_fits(need))) {
            return status;
        }
    }
    return estimate(need, model, plan, 0, prices, arena, err);
}

galv_status galv_price_plan(galv_plan_price *price, const galv_costmodel *model,
                            const galv_plan *plan, galv_prices *prices,
                            galv_arena *arena, galv_err *err)
{
    galv_plan_price made = {most_held(model, plan, prices), 0};
    galv_status status = GALV_OK;
    if (galv_memory_need_fits(&made.held)) {
        status = galv_bound_time(&made.bound_s, model, plan, prices, arena, err);
    }
    if (status == GALV_OK) {
        *price = made;
    }
    return status;
}
