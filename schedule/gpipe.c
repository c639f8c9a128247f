/* GPipe: every micro-batch forward, then every one backward.
 *
 * Time (m + p - 1)(f + b) for equal stages and free messages, and m micro-batches of
 * activations on every stage. Backward takes micro-batches in ascending order; in
 * descending order (as the paper draws it) the time is the same.
 * Source: Huang et al. 2019, arXiv 1811.06965. */
#include "schedule/schedule_internal.h"

galv_status galv_order_gpipe(galv_slot *slots, const galv_schedule_shape *shape,
                             int32_t stage, galv_err *err)
{
    galv_status status = galv_schedule_check_shape("gpipe", shape, stage, err);
    if (status != GALV_OK) {
        return status;
    }
    int32_t m = shape->n_micro_batches;
    for (int32_t mb = 0; mb < m; mb++) {
        slots[mb] = galv_slot_make(GALV_PASS_FORWARD, 0, mb);
        slots[m + mb] = galv_slot_make(GALV_PASS_BACKWARD, 0, mb);
    }
    return GALV_OK;
}
