/* 1F1B (PipeDream-flush): after a warm-up of p - 1 - stage forwards, one forward and
 * one backward in turn, so that stage i never holds more than p - i micro-batches.
 *
 * Time (m + p - 1)(f + b) for equal stages and free messages. With one stage it is
 * plain gradient accumulation, which is what the schedule "none" means.
 * Source: Narayanan et al. 2021, arXiv 2006.09503 section 4 and 2104.04473 section
 * 2.2. */
#include "schedule/schedule_internal.h"

static void fill(galv_slot *slots, const galv_schedule_shape *shape, int32_t stage)
{
    int32_t m = shape->n_micro_batches;
    int32_t warm_up = shape->n_stages - 1 - stage;
    if (warm_up > m) {
        warm_up = m;
    }
    size_t at = 0;
    for (int32_t mb = 0; mb < warm_up; mb++) {
        slots[at++] = galv_slot_make(GALV_PASS_FORWARD, 0, mb);
    }
    for (int32_t mb = 0; mb < m - warm_up; mb++) {
        slots[at++] = galv_slot_make(GALV_PASS_FORWARD, 0, mb + warm_up);
        slots[at++] = galv_slot_make(GALV_PASS_BACKWARD, 0, mb);
    }
    for (int32_t mb = m - warm_up; mb < m; mb++) {
        slots[at++] = galv_slot_make(GALV_PASS_BACKWARD, 0, mb);
    }
}

galv_status galv_order_1f1b(galv_slot *slots, const galv_schedule_shape *shape,
                            int32_t stage, galv_err *err)
{
    galv_status status = galv_schedule_check_shape("1f1b", shape, stage, err);
    if (status == GALV_OK) {
        fill(slots, shape, stage);
    }
    return status;
}

galv_status galv_order_none(galv_slot *slots, const galv_schedule_shape *shape,
                            int32_t stage, galv_err *err)
{
    galv_status status = galv_schedule_check_shape("none", shape, stage, err);
    if (status != GALV_OK) {
        return status;
    }
    if (shape->n_stages != 1) {
        status = galv_fail(err, GALV_USAGE,
                           "schedule none is for one pipeline stage, not %d",
                           (int)shape->n_stages);
        galv_hint(err, "with stages take 1f1b");
        return status;
    }
    fill(slots, shape, stage);
    return GALV_OK;
}
