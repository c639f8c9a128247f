/* Peak memory from the order alone, without a clock.
 *
 * Each stage's slots are walked in their order with the prices that the simulator would
 * use. A pass, or a pair of passes that take turns, counts as one step: what it changes
 * for good (its net), and the highest point that it reaches on the way (its crest,
 * taken over its operations in program order, each with its transient). On top comes
 * the largest transient of any message of the stage, since messages run on streams of
 * their own and may be in flight at that moment. So the estimate is at least what the
 * simulator finds, up to gathers of ZeRO-3 that run ahead across the border of two
 * passes, and more than it only by buffers that are not held at the same moment. */
#include "sim/evaluate.h"

#include "plan/chunks.h"
#include "sim/pass_price.h"
#include "sim/weigh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double sum(const double *bytes)
{
    double total = 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        total += bytes[use];
    }
    return total;
}

/* What a pair of passes does, by the classes of their virtual stages. */
typedef struct pair_memory {
    struct pair_memory *next;
    int32_t forward_class, backward_class;
    int backward_pass;
    galv_pass_memory memory;
} pair_memory;

typedef struct estimate {
    const galv_costmodel *model;
    const galv_plan *plan;
    galv_arena *arena;
    galv_schedule schedule;
    galv_schedule_shape shape;
    galv_slot *slots; /* [pp][slots of a stage] */
    pair_memory *pairs;
    galv_prices *prices;
} estimate;

/* Two slots that run beside each other. */
static galv_status walk_pair(galv_pass_memory *memory, estimate *e, int32_t stage,
                             const galv_slot *slots, const int32_t *class_of,
                             galv_err *err)
{
    int32_t forward = class_of[slots[0].chunk];
    int32_t backward = class_of[slots[1].chunk];
    for (const pair_memory *at = e->pairs; at != NULL; at = at->next) {
        if (at->forward_class == forward && at->backward_class == backward &&
            at->backward_pass == slots[1].pass) {
            *memory = at->memory;
            return GALV_OK;
        }
    }
    pair_memory *made = GALV_NEW(e->arena, pair_memory);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to estimate memory");
    }
    galv_status status = galv_pair_memory_walk(
        &made->memory, e->prices, galv_costmodel_job(e->model), e->plan, stage,
        slots[0].chunk, slots[1].chunk, slots[1].pass, e->arena, err);
    if (status == GALV_OK) {
        made->forward_class = forward;
        made->backward_class = backward;
        made->backward_pass = slots[1].pass;
        made->next = e->pairs;
        e->pairs = made;
        *memory = made->memory;
    }
    return status;
}

/* What the optimizer's step holds besides, for the largest of a stage's chunks. */
static double step_bytes(const estimate *e, int32_t stage)
{
    double most = 0;
    for (int32_t chunk = 0; chunk < galv_plan_n_chunks(e->plan); chunk++) {
        int32_t v = galv_plan_virtual_stage(e->plan, stage, chunk);
        const int32_t *first = &e->plan->first_layer[v];
        galv_operation op =
            galv_optimizer_step(stage, chunk, first[0], first[1] - first[0]);
        const galv_cost *cost =
            op.n_layers > 0 ? galv_prices_get(e->prices, &op) : NULL;
        most =
            cost != NULL && cost->transient_bytes > most ? cost->transient_bytes : most;
    }
    return most;
}

/* The schedule's highest point on one stage, over what the stage holds throughout; the
 * step comes when all passes are over. */
static galv_status walk_slots(double *highest, estimate *e, int32_t stage,
                              const int32_t *class_of,
                              const galv_pass_price *const *passes, galv_err *err)
{
    size_t n_slots = galv_schedule_n_slots(&e->schedule, &e->shape);
    const galv_slot *slots = &e->slots[(size_t)stage * n_slots];
    double now = 0;
    *highest = 0;
    for (size_t i = 0; i < n_slots && slots[i].pass != GALV_PASS_NONE;) {
        galv_pass_memory memory = passes[4 * slots[i].chunk + slots[i].pass]->memory;
        if (slots[i].paired) {
            galv_status status = walk_pair(&memory, e, stage, &slots[i], class_of, err);
            if (status != GALV_OK) {
                return status;
            }
        }
        double crest = now + memory.crest_bytes;
        *highest = crest > *highest ? crest : *highest;
        now += memory.net_bytes;
        i += slots[i].paired ? 2 : 1;
    }
    double step = now + step_bytes(e, stage);
    *highest = step > *highest ? step : *highest;
    return GALV_OK;
}

static galv_status estimate_stage(double *least_bytes, double *most_bytes, estimate *e,
                                  int32_t stage, galv_err *err)
{
    double message = 0;
    double ahead = 0;
    int32_t n_chunks = galv_plan_n_chunks(e->plan);
    int32_t *class_of = GALV_NEW_ARRAY(e->arena, int32_t, n_chunks);
    const galv_pass_price **passes =
        GALV_NEW_ARRAY(e->arena, const galv_pass_price *, 4 * n_chunks);
    if (class_of == NULL || passes == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to estimate memory");
    }
    for (int32_t chunk = 0; chunk < n_chunks; chunk++) {
        int32_t v = galv_plan_virtual_stage(e->plan, stage, chunk);
        class_of[chunk] = galv_prices_class(e->prices, v);
        for (int pass = 0; pass < 4; pass++) {
            const galv_pass_price **price = &passes[4 * chunk + pass];
            if (!galv_schedule_uses(&e->schedule, pass)) {
                continue;
            }
            galv_status status =
                galv_prices_pass(price, e->prices, stage, chunk, pass, err);
            if (status != GALV_OK) {
                return status;
            }
            message = fmax(message, (*price)->memory.message_bytes);
            ahead = fmax(ahead, (*price)->memory.ahead_bytes);
        }
    }
    double highest = 0;
    galv_status status = walk_slots(&highest, e, stage, class_of, passes, err);
    *least_bytes = sum(galv_prices_held(e->prices, stage)->bytes) + highest;
    *most_bytes = *least_bytes + message + ahead;
    return status;
}

galv_status galv_estimate_memory(double *peak_bytes, const galv_costmodel *model,
                                 const galv_plan *plan, galv_prices *prices,
                                 galv_arena *arena, galv_err *err)
{
    double *least = GALV_NEW_ARRAY(arena, double, plan->pp);
    if (least == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to estimate memory");
    }
    return galv_estimate_memory_between(least, peak_bytes, model, plan, prices, arena,
                                        err);
}

galv_status galv_estimate_memory_between(double *least_bytes, double *most_bytes,
                                         const galv_costmodel *model,
                                         const galv_plan *plan, galv_prices *prices,
                                         galv_arena *arena, galv_err *err)
{
    estimate e = {.model = model, .plan = plan, .arena = arena, .prices = prices};
    galv_status status = galv_schedule_of_plan(&e.schedule, plan, err);
    if (status == GALV_OK && prices == NULL) {
        status = galv_prices_new(&e.prices, model, plan, NULL, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_program_check_shape(plan, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    e.shape.n_stages = plan->pp;
    e.shape.n_chunks = plan->vpp;
    e.shape.n_micro_batches = galv_plan_n_micro_batches(plan);
    e.shape.group_size = plan->group_size;
    if (e.shape.n_micro_batches < 1) {
        return galv_fail(err, GALV_USAGE, "the plan has no whole micro-batch");
    }
    double *peaks = calloc(2 * (size_t)plan->pp, sizeof *peaks);
    e.slots = calloc((size_t)plan->pp * galv_schedule_n_slots(&e.schedule, &e.shape),
                     sizeof *e.slots);
    if (e.slots == NULL || peaks == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory to estimate memory");
    }
    if (status == GALV_OK) {
        status = galv_weigh_plan(&e.shape.weights, model, plan, e.prices, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_schedule_order(e.slots, &e.schedule, &e.shape, err);
    }
    for (int32_t stage = 0; stage < plan->pp && status == GALV_OK; stage++) {
        status =
            estimate_stage(&peaks[stage], &peaks[plan->pp + stage], &e, stage, err);
    }
    if (status == GALV_OK) {
        memcpy(least_bytes, peaks, (size_t)plan->pp * sizeof *peaks);
        memcpy(most_bytes, peaks + plan->pp, (size_t)plan->pp * sizeof *peaks);
    }
    free(peaks);
    free(e.slots);
    return status;
}
