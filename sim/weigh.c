/* The weight of a pass is its longest path: operations of one stream one after another,
 * each after what it waits for, so collectives that nothing hides count and hidden ones
 * do not. That is what a stage is busy with one micro-batch in the middle of the
 * iteration, but for the slowing of overlapped work, which an order need not know. A
 * message weighs what it takes between neighbouring stages, on average.
 *
 * Memory. A stage that holds n activations when a pass begins holds at most n plus what
 * the pass reaches on the way, so n is what is left of the device after what is held
 * throughout and the highest of these, in whole halves of an activation (or of what
 * waits for the gradients of weights where that is more, as with full recomputation).
 * Twice the stages is enough for any order. */
#include "sim/weigh.h"

#include "sim/pass_price.h"

#include <math.h>

/* Longest path of a pass of a chunk; negative when memory is out. */
static double path_s(const galv_pass_ops *ops, galv_prices *prices, galv_arena *arena)
{
    double *end_s = GALV_NEW_ARRAY(arena, double, ops->n_ops + 1);
    double queue_end_s[GALV_N_STREAMS] = {0};
    double longest = 0;
    if (end_s == NULL) {
        return -1;
    }
    for (int32_t i = 0; i < ops->n_ops; i++) {
        const galv_cost *cost = galv_prices_get(prices, &ops->ops[i]);
        const int32_t waits[2] = {ops->waits_for[i], ops->also_waits_for[i]};
        int stream = ops->ops[i].stream;
        double start = queue_end_s[stream];
        if (cost == NULL) {
            return -1;
        }
        for (int k = 0; k < 2; k++) {
            if (waits[k] >= 0 && end_s[waits[k]] > start) {
                start = end_s[waits[k]];
            }
        }
        bool beside = stream == GALV_STREAM_DP; /* runs across passes */
        end_s[i] = start + (beside ? 0 : cost->work_s);
        queue_end_s[stream] = end_s[i];
        longest = end_s[i] > longest ? end_s[i] : longest;
    }
    return longest;
}

/* What one micro-batch takes of a stage. */
typedef struct stage_room {
    double kept;    /* after forward */
    double waiting; /* after backward for inputs */
    double over;    /* by the pass that is on, beyond what is counted as held */
    double message, ahead;
} stage_room;

static galv_status walk_stage(stage_room *room, const galv_plan *plan,
                              galv_prices *prices, int32_t stage, galv_err *err)
{
    static const int passes[] = {GALV_PASS_FORWARD, GALV_PASS_BACKWARD_INPUT,
                                 GALV_PASS_BACKWARD_WEIGHT};
    stage_room made = {0};
    for (int32_t chunk = 0; chunk < plan->vpp; chunk++) {
        for (int k = 0; k < 3; k++) {
            const galv_pass_price *price = NULL;
            galv_status status =
                galv_prices_pass(&price, prices, stage, chunk, passes[k], err);
            if (status != GALV_OK) {
                return status;
            }
            const galv_pass_memory m = price->memory;
            bool forward = passes[k] == GALV_PASS_FORWARD;
            made.kept += forward ? m.net_bytes : 0;
            made.waiting += passes[k] == GALV_PASS_BACKWARD_WEIGHT ? 0 : m.net_bytes;
            made.over = fmax(made.over, m.crest_bytes - (forward ? m.net_bytes : 0));
            made.message = fmax(made.message, m.message_bytes);
            made.ahead = fmax(made.ahead, m.ahead_bytes);
        }
    }
    *room = made;
    return GALV_OK;
}

static galv_status weigh_stage(galv_stage_weights *weights, const galv_job *job,
                               const galv_plan *plan, galv_prices *prices,
                               int32_t stage, galv_arena *arena, galv_err *err)
{
    static const int passes[] = {GALV_PASS_FORWARD, GALV_PASS_BACKWARD_INPUT,
                                 GALV_PASS_BACKWARD_WEIGHT};
    double sums[3] = {0};
    for (int32_t chunk = 0; chunk < plan->vpp; chunk++) {
        for (int k = 0; k < 3; k++) {
            galv_pass_ops ops = {0};
            galv_status status =
                galv_program_pass(&ops, job, plan, stage, chunk, passes[k], arena, err);
            if (status != GALV_OK) {
                return status;
            }
            double path = path_s(&ops, prices, arena);
            if (path < 0) {
                return galv_fail(err, GALV_NO_MEMORY, "no memory to weigh passes");
            }
            sums[k] += path;
        }
    }
    weights->forward = sums[0];
    weights->input = sums[1];
    weights->weight = sums[2];
    stage_room room = {0};
    galv_status status = walk_stage(&room, plan, prices, stage, err);
    weights->waiting = room.kept > 0 ? room.waiting / room.kept : 0;
    return status;
}

static double message_s(const galv_plan *plan, galv_prices *prices)
{
    double sum = 0;
    for (int32_t stage = 0; stage + 1 < plan->pp; stage++) {
        int32_t end = plan->first_layer[stage + 1];
        galv_operation send = {.kind = GALV_OP_SEND,
                               .stream = GALV_STREAM_PP_SEND,
                               .part = GALV_PART_WHOLE,
                               .pass = GALV_OP_FORWARD,
                               .stage = stage,
                               .first_layer = end > 0 ? end - 1 : 0,
                               .n_layers = 1,
                               .peer_stage = stage + 1};
        const galv_cost *cost = galv_prices_get(prices, &send);
        sum += cost != NULL ? cost->work_s : 0;
    }
    return plan->pp > 1 ? sum / (plan->pp - 1) : 0;
}

/* Activations of one micro-batch that a stage has room for. */
static galv_status count_room(double *room, const galv_costmodel *model,
                              const galv_plan *plan, galv_prices *prices, int32_t stage,
                              galv_err *err)
{
    stage_room of = {0};
    galv_status status = walk_stage(&of, plan, prices, stage, err);
    if (status != GALV_OK) {
        return status;
    }
    const galv_stage_memory *base = galv_prices_held(prices, stage);
    double left = galv_costmodel_stage_limit(model, plan, stage) - of.over -
                  of.message - of.ahead;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        left -= base->bytes[use];
    }
    double held = fmax(of.kept, of.waiting);
    *room = held > 0 ? floor(2 * left / held) / 2 : (double)INFINITY;
    return GALV_OK;
}

static galv_status fill_memory(galv_schedule_weights *weights,
                               const galv_costmodel *model, const galv_plan *plan,
                               galv_prices *prices, galv_err *err)
{
    galv_status status = GALV_OK;
    double least = 2.0 * plan->pp;
    for (int32_t stage = 0; stage < plan->pp && status == GALV_OK; stage++) {
        double room = 0;
        status = count_room(&room, model, plan, prices, stage, err);
        least = fmin(least, room);
    }
    weights->memory_limit = fmax(least, 1); /* it will not fit, but it can run */
    return status;
}

galv_status galv_weigh_plan(const galv_schedule_weights **weights,
                            const galv_costmodel *model, const galv_plan *plan,
                            galv_prices *prices, galv_arena *arena, galv_err *err)
{
    const galv_job *job = galv_costmodel_job(model);
    const galv_schedule *schedule = NULL;
    galv_status status = galv_schedule_find(&schedule, plan->schedule, err);
    if (status != GALV_OK || !schedule->follows_costs) {
        *weights = NULL;
        return status;
    }
    galv_stage_weights *stages = GALV_NEW_ARRAY(arena, galv_stage_weights, plan->pp);
    galv_schedule_weights *made = GALV_NEW(arena, galv_schedule_weights);
    if (stages == NULL || made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to weigh passes");
    }
    for (int32_t stage = 0; stage < plan->pp && status == GALV_OK; stage++) {
        status = weigh_stage(&stages[stage], job, plan, prices, stage, arena, err);
    }
    if (status == GALV_OK && schedule->fills_memory) {
        status = fill_memory(made, model, plan, prices, err);
    }
    if (status == GALV_OK) {
        made->stages = stages;
        made->message = message_s(plan, prices);
        made->rolling = plan->overlap.step;
        *weights = made;
    }
    return status;
}

/* `prices` NULL: made here, if they are needed. */
static galv_status weigh(const galv_schedule_weights **weights,
                         const galv_costmodel *model, const galv_plan *plan,
                         galv_prices *prices, galv_arena *arena, galv_err *err)
{
    const galv_schedule *schedule = NULL;
    galv_status status = galv_schedule_find(&schedule, plan->schedule, err);
    *weights = NULL;
    if (status != GALV_OK || !schedule->follows_costs) {
        return status;
    }
    if (prices == NULL) {
        status = galv_prices_new(&prices, model, plan, NULL, arena, err);
    }
    return status == GALV_OK ? galv_weigh_plan(weights, model, plan, prices, arena, err)
                             : status;
}

galv_status galv_program_of_plan(galv_program **program, const galv_costmodel *model,
                                 const galv_plan *plan, galv_prices *prices,
                                 galv_arena *arena, galv_err *err)
{
    const galv_schedule_weights *weights = NULL;
    galv_status status = weigh(&weights, model, plan, prices, arena, err);
    return status == GALV_OK
               ? galv_program_compile_weighted(program, galv_costmodel_job(model), plan,
                                               weights, arena, err)
               : status;
}

galv_status galv_program_of_plan_by_pass(galv_program **program,
                                         const galv_costmodel *model,
                                         const galv_plan *plan, galv_prices *prices,
                                         galv_arena *arena, galv_err *err)
{
    const galv_schedule_weights *weights = NULL;
    galv_status status = weigh(&weights, model, plan, prices, arena, err);
    return status == GALV_OK
               ? galv_program_compile_by_pass(program, galv_costmodel_job(model), plan,
                                              weights, arena, err)
               : status;
}
