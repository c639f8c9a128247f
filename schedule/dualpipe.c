/* DualPipe and DualPipeV: forwards and backwards in pairs, from both ends.
 *
 * DualPipe keeps two copies of the model, laid over the stages in opposite directions:
 * stage r holds virtual stages r and p - 1 - r. Half of the micro-batches enter at
 * stage 0, half at the last stage; in the middle a forward of one half runs beside a
 * backward of the other, so that the one computes while the other communicates.
 *
 * DualPipeV is one half of that, folded: chunk 0 of stage r is virtual stage r, chunk 1
 * is 2p - 1 - r, so a micro-batch comes back to the stage where it began and there is
 * one copy of the model. The steps are the same, with r for the distance from the near
 * end and p for the half of the stages.
 *
 * With h stages between a stage and its near end, n of them on one side, and k micro-
 * batches in each direction, the steps are
 *   1. 2 (n - h - 1) forwards of the near direction
 *   2. h + 1 times: forward near, forward far
 *   3. n - h - 1 times: backward far for inputs, for weights, forward far
 *   4. k - 2n + h + 1 times: pairs (forward near, backward far), (forward far,
 *      backward near)
 *   5. n - h - 1 times: backward far, pair (forward far, backward near)
 *   6. h + 1 times: backward far, backward near, from half-way on for inputs alone
 *   7. n - h - 1 times: weights, backward near for inputs
 *   8. the h + 1 weight gradients that are left
 * and the stage that waits longest waits (n - 1) (f&b + b - 3w), where f&b is the time
 * of a pair, b that of a whole backward and w that of its weights: exactly so where
 * forward and the two gradients cost the same, nearly so otherwise. A stage holds 2n +
 * 1 chunks' activations at most. It needs k >= 2n.
 *
 * On the stages where near and far meet (h = n - 1) the very first pair runs one after
 * the other, as nothing has come back yet that could be late.
 * Source: DeepSeek-AI 2024, arXiv 2412.19437 section 3.2.1, and the DualPipe
 * repository's README; DualPipeV: Qi et al. 2025, "cut-in-half" (same repository). */
#include "schedule/schedule_internal.h"

/* An order being written. Directions: 0 = near (enters at the near end), 1 = far. */
typedef struct order {
    galv_slot *slots;
    size_t n_slots;
    int32_t chunk[2];        /* of a direction on this stage */
    int32_t first[2];        /* first micro-batch of a direction */
    int32_t n_forward[2];    /* forwards done */
    int32_t n_backward[2];   /* backwards done, for inputs at least */
    galv_slot *waiting;      /* weight gradients not done: later slots' micro-batches */
    int32_t n_begun, n_done; /* of weight gradients */
} order;

static void put(order *o, galv_pass pass, int side, int32_t micro_batch)
{
    o->slots[o->n_slots++] =
        galv_slot_make(pass, o->chunk[side], o->first[side] + micro_batch);
}

static void forward(order *o, int side)
{
    put(o, GALV_PASS_FORWARD, side, o->n_forward[side]++);
}

static void backward(order *o, int side)
{
    put(o, GALV_PASS_BACKWARD, side, o->n_backward[side]++);
}

/* Weight gradients wait in the order of their input gradients; which they are is read
 * off the slots again, from `n_done` on. */
static void backward_input(order *o, int side)
{
    put(o, GALV_PASS_BACKWARD_INPUT, side, o->n_backward[side]++);
    o->n_begun++;
}

static void weight(order *o)
{
    const galv_slot *slot = o->waiting;
    while (slot->pass != GALV_PASS_BACKWARD_INPUT) {
        slot++;
    }
    o->slots[o->n_slots] = *slot;
    o->slots[o->n_slots++].pass = GALV_PASS_BACKWARD_WEIGHT;
    o->waiting += slot - o->waiting + 1;
    o->n_done++;
}

/* A forward of one side beside a backward of the other. */
static void pair(order *o, int forward_side, bool together)
{
    forward(o, forward_side);
    o->slots[o->n_slots - 1].paired = together;
    backward(o, 1 - forward_side);
}

/* n stages to a side, h of them nearer the end, k micro-batches a direction. */
static void write_steps(order *o, int32_t n, int32_t h, int32_t k)
{
    for (int32_t i = 0; i < 2 * (n - h - 1); i++) {
        forward(o, 0);
    }
    for (int32_t i = 0; i < h + 1; i++) {
        forward(o, 0);
        forward(o, 1);
    }
    for (int32_t i = 0; i < n - h - 1; i++) {
        backward_input(o, 1);
        weight(o);
        forward(o, 1);
    }
    for (int32_t i = 0; i < k - 2 * n + h + 1; i++) {
        pair(o, 0, i > 0 || h < n - 1);
        pair(o, 1, true);
    }
    for (int32_t i = 0; i < n - h - 1; i++) {
        backward(o, 1);
        pair(o, 1, true);
    }
    for (int32_t i = 0; i < h + 1; i++) {
        bool far_alone = 2 * i >= h + 1; /* for inputs alone, from half-way on */
        bool near_alone = 2 * i >= h;
        (far_alone ? backward_input : backward)(o, 1);
        (near_alone ? backward_input : backward)(o, 0);
    }
    for (int32_t i = 0; i < n - h - 1; i++) {
        weight(o);
        backward_input(o, 0);
    }
    while (o->n_done < o->n_begun) {
        weight(o);
    }
}

static void finish(order *o, size_t n_slots)
{
    while (o->n_slots < n_slots) {
        o->slots[o->n_slots++] = galv_slot_make(GALV_PASS_NONE, 0, 0);
    }
}

/* Both begin with the forwards that fill the pipeline from a near end and need as many
 * again while the first ones come back. */
static galv_status check_micro_batches(const char *name,
                                       const galv_schedule_shape *shape, bool even,
                                       galv_err *err)
{
    int32_t m = shape->n_micro_batches;
    int32_t least = 2 * shape->n_stages;
    if (m < least) {
        return galv_fail(
            err, GALV_USAGE,
            "schedule %s on %d stages cannot do %d micro-batches: it needs "
            "two for each stage; the nearest is %d",
            name, (int)shape->n_stages, (int)m, (int)least);
    }
    if (even && m % 2 != 0) {
        return galv_fail(err, GALV_USAGE,
                         "schedule %s on %d stages cannot do %d micro-batches: a half "
                         "of them enters at either end; the nearest is %d",
                         name, (int)shape->n_stages, (int)m, (int)(m + 1));
    }
    return GALV_OK;
}

galv_status galv_check_dualpipe(const galv_schedule_shape *shape, galv_err *err)
{
    int32_t p = shape->n_stages;
    if (p % 2 != 0) {
        return galv_fail(
            err, GALV_USAGE,
            "schedule dualpipe needs an even number of stages, not %d: the "
            "two directions meet between two of them; the nearest is %d",
            (int)p, (int)(p + 1));
    }
    return check_micro_batches("dualpipe", shape, true, err);
}

galv_status galv_check_dualpipev(const galv_schedule_shape *shape, galv_err *err)
{
    return check_micro_batches("dualpipev", shape, false, err);
}

galv_status galv_order_dualpipe(galv_slot *slots, const galv_schedule_shape *shape,
                                int32_t stage, galv_err *err)
{
    galv_status status = galv_schedule_check_shape("dualpipe", shape, stage, err);
    if (status == GALV_OK) {
        status = galv_check_dualpipe(shape, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    int32_t p = shape->n_stages;
    int32_t k = shape->n_micro_batches / 2;
    int32_t near = stage < p / 2 ? 0 : 1; /* copy whose micro-batches enter here */
    order o = {.slots = slots,
               .chunk = {near, 1 - near},
               .first = {near * k, (1 - near) * k},
               .waiting = slots};
    write_steps(&o, p / 2, near == 0 ? stage : p - 1 - stage, k);
    finish(&o, 3 * (size_t)shape->n_micro_batches);
    return GALV_OK;
}

galv_status galv_order_dualpipev(galv_slot *slots, const galv_schedule_shape *shape,
                                 int32_t stage, galv_err *err)
{
    galv_status status = galv_schedule_check_shape("dualpipev", shape, stage, err);
    if (status == GALV_OK) {
        status = galv_check_dualpipev(shape, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    order o = {.slots = slots, .chunk = {0, 1}, .waiting = slots};
    write_steps(&o, shape->n_stages, stage, shape->n_micro_batches);
    finish(&o, 6 * (size_t)shape->n_micro_batches);
    return GALV_OK;
}

int32_t galv_virtual_stage_two_way(const galv_schedule_shape *shape, int32_t stage,
                                   int32_t chunk)
{
    return chunk == 0 ? stage : shape->n_stages - 1 - stage;
}
