/* Zero bubble, the two schedules by hand: backward is split into the gradient of the
 * input, which the stage before waits for, and that of the weights, which nobody waits
 * for and which fills gaps.
 *
 * ZB-H1 keeps the order of 1F1B, and its p micro-batches of activations, now on every
 * stage (those of a weight gradient are held until it is done): stage r lets r weight
 * gradients wait. The bubble is (p - 1)(f + i - w).
 *
 * ZB-H2 warms up with 2(p - r) - 1 forwards and holds up to 2p - 1: with equal costs no
 * stage idles between its first and its last operation.
 *
 * Left out: taking the optimizer's synchronisation out of the way (their post-step
 * validation), so the step still waits for all stages; and the orders found by search
 * for given costs (ZB-1p, ZB-2p).
 * Source: Qi et al. 2023, arXiv 2401.10241, sections 2 and 3. */
#include "schedule/schedule_internal.h"

/* An order being written: how many of each are done. */
typedef struct order {
    galv_slot *slots;
    size_t n_slots;
    int32_t n_forward, n_input, n_weight;
} order;

static void put(order *o, galv_pass pass, int32_t *micro_batch)
{
    o->slots[o->n_slots++] = galv_slot_make(pass, 0, (*micro_batch)++);
}

static void drain(order *o, int32_t n_micro_batches)
{
    while (o->n_weight < n_micro_batches) {
        put(o, GALV_PASS_BACKWARD_WEIGHT, &o->n_weight);
    }
}

galv_status galv_order_zb_h1(galv_slot *slots, const galv_schedule_shape *shape,
                             int32_t stage, galv_err *err)
{
    galv_status status = galv_schedule_check_shape("zb-h1", shape, stage, err);
    if (status != GALV_OK) {
        return status;
    }
    order o = {slots, 0, 0, 0, 0};
    int32_t m = shape->n_micro_batches;
    while (o.n_forward < m && o.n_forward < shape->n_stages - 1 - stage) {
        put(&o, GALV_PASS_FORWARD, &o.n_forward);
    }
    while (o.n_input < m) {
        if (o.n_forward < m) {
            put(&o, GALV_PASS_FORWARD, &o.n_forward);
        }
        put(&o, GALV_PASS_BACKWARD_INPUT, &o.n_input);
        if (o.n_input - o.n_weight > stage) {
            put(&o, GALV_PASS_BACKWARD_WEIGHT, &o.n_weight);
        }
    }
    drain(&o, m);
    return GALV_OK;
}

galv_status galv_order_zb_h2(galv_slot *slots, const galv_schedule_shape *shape,
                             int32_t stage, galv_err *err)
{
    galv_status status = galv_schedule_check_shape("zb-h2", shape, stage, err);
    if (status != GALV_OK) {
        return status;
    }
    order o = {slots, 0, 0, 0, 0};
    int32_t m = shape->n_micro_batches;
    int32_t p = shape->n_stages;
    while (o.n_forward < m && o.n_forward < 2 * (p - stage) - 1) {
        put(&o, GALV_PASS_FORWARD, &o.n_forward);
    }
    while (o.n_input < m) {
        put(&o, GALV_PASS_BACKWARD_INPUT, &o.n_input);
        if (o.n_forward < m) {
            if (o.n_forward - o.n_weight >= 2 * p - 1) {
                put(&o, GALV_PASS_BACKWARD_WEIGHT, &o.n_weight);
            }
            put(&o, GALV_PASS_FORWARD, &o.n_forward);
        } else {
            put(&o, GALV_PASS_BACKWARD_WEIGHT, &o.n_weight);
        }
    }
    drain(&o, m);
    return GALV_OK;
}
