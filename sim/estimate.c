/* Peak memory from the order alone, without a clock.
 *
 * Each stage's slots are walked in their order with the prices that the simulator would
 * use. A pass counts as one step: what it changes for good (its net), and the highest
 * point that it reaches on the way (its crest, taken over its operations in program
 * order, each with its transient). On top comes the largest transient of any message of
 * the stage, since messages run on streams of their own and may be in flight at that
 * moment. So the estimate is at least what the simulator finds, up to gathers of ZeRO-3
 * that run ahead across the border of two passes, and more than it only by buffers that
 * are not held at the same moment. */
#include "sim/evaluate.h"

#include "sim/pass_memory.h"
#include "sim/prices.h"
#include "sim/weigh.h"

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

typedef struct estimate {
    galv_schedule schedule;
    galv_schedule_shape shape;
    galv_slot *slots;         /* [pp][slots of a stage] */
    galv_pass_memory *passes; /* [pp * vpp][4] by class of virtual stage and pass */
    bool *walked;             /* [pp * vpp] */
    galv_prices *prices;
} estimate;

/* The schedule's highest point on one stage, over what the stage holds throughout. */
static double walk_slots(const estimate *e, int32_t stage, const int32_t *class_of)
{
    size_t n_slots = galv_schedule_n_slots(&e->schedule, &e->shape);
    const galv_slot *slots = &e->slots[(size_t)stage * n_slots];
    double now = 0;
    double highest = 0;
    for (size_t i = 0; i < n_slots && slots[i].pass != GALV_PASS_NONE; i++) {
        const galv_pass_memory *memory =
            &e->passes[4 * class_of[slots[i].chunk] + slots[i].pass];
        double crest = now + memory->crest_bytes;
        highest = crest > highest ? crest : highest;
        now += memory->net_bytes;
    }
    return highest;
}

/* Walks the passes of a virtual stage, unless one like it was walked before. */
static galv_status walk_passes(estimate *e, const galv_costmodel *model,
                               const galv_plan *plan, int32_t class_of, int32_t stage,
                               int32_t chunk, galv_arena *arena, galv_err *err)
{
    galv_status status = GALV_OK;
    if (e->walked[class_of]) {
        return GALV_OK;
    }
    e->walked[class_of] = true;
    for (int pass = 0; pass < 4 && status == GALV_OK; pass++) {
        bool split = pass >= GALV_PASS_BACKWARD_INPUT;
        bool mixed = e->schedule.own != NULL && e->schedule.splits_backward;
        if (pass == GALV_PASS_FORWARD || mixed ||
            split == e->schedule.splits_backward) {
            status = galv_pass_memory_walk(&e->passes[4 * class_of + pass], e->prices,
                                           galv_costmodel_job(model), plan, stage,
                                           chunk, pass, arena, err);
        }
    }
    return status;
}

static galv_status estimate_stage(double *peak_bytes, estimate *e,
                                  const galv_costmodel *model, const galv_plan *plan,
                                  int32_t stage, galv_arena *arena, galv_err *err)
{
    double message = 0;
    double ahead = 0;
    int32_t *class_of = GALV_NEW_ARRAY(arena, int32_t, plan->vpp);
    if (class_of == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to estimate memory");
    }
    for (int32_t chunk = 0; chunk < plan->vpp; chunk++) {
        int32_t v = galv_schedule_virtual_stage(&e->schedule, &e->shape, stage, chunk);
        class_of[chunk] = galv_prices_class(e->prices, v);
        galv_status status =
            walk_passes(e, model, plan, class_of[chunk], stage, chunk, arena, err);
        if (status != GALV_OK) {
            return status;
        }
        for (int pass = 0; pass < 4; pass++) {
            const galv_pass_memory *memory = &e->passes[4 * class_of[chunk] + pass];
            message = memory->message_bytes > message ? memory->message_bytes : message;
            ahead = memory->ahead_bytes > ahead ? memory->ahead_bytes : ahead;
        }
    }
    double highest = walk_slots(e, stage, class_of);
    galv_stage_memory base;
    galv_costmodel_stage_memory(&base, model, plan, stage);
    *peak_bytes = sum(base.bytes) + highest + message + ahead;
    return GALV_OK;
}

galv_status galv_estimate_memory(double *peak_bytes, const galv_costmodel *model,
                                 const galv_plan *plan, galv_prices *prices,
                                 galv_arena *arena, galv_err *err)
{
    estimate e = {.prices = prices};
    galv_status status = galv_schedule_of_plan(&e.schedule, plan, err);
    if (status == GALV_OK && prices == NULL) {
        status = galv_prices_new(&e.prices, model, plan, arena, err);
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
    double *peaks = calloc((size_t)plan->pp, sizeof *peaks);
    e.slots = calloc((size_t)plan->pp * galv_schedule_n_slots(&e.schedule, &e.shape),
                     sizeof *e.slots);
    size_t n_virtual = (size_t)plan->pp * (size_t)plan->vpp;
    e.passes = calloc(n_virtual * 4, sizeof *e.passes);
    e.walked = calloc(n_virtual, sizeof *e.walked);
    if (e.slots == NULL || e.passes == NULL || e.walked == NULL || peaks == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory to estimate memory");
    }
    if (status == GALV_OK) {
        status = galv_weigh_plan(&e.shape.weights, model, plan, e.prices, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_schedule_order(e.slots, &e.schedule, &e.shape, err);
    }
    for (int32_t stage = 0; stage < plan->pp && status == GALV_OK; stage++) {
        status = estimate_stage(&peaks[stage], &e, model, plan, stage, arena, err);
    }
    if (status == GALV_OK) {
        memcpy(peak_bytes, peaks, (size_t)plan->pp * sizeof *peaks);
    }
    free(peaks);
    free(e.slots);
    free(e.passes);
    free(e.walked);
    return status;
}
