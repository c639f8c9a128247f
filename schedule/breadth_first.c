/* Breadth-first: chunk by chunk, every micro-batch forward, then backward the same way.
 *
 * The bubble is (p - 1)(f + b) / v for m >= p, as with interleaving, but every stage
 * holds the activations of all m micro-batches of all v chunks. In return a chunk is
 * entered once and left once in each direction, so its parameters need to be gathered,
 * and its gradients reduced, only once in an iteration where data parallelism shards
 * them (the program reduces ZeRO-2 and 3 gradients by micro-batch all the same).
 * Source: Lamy-Poirier 2023, arXiv 2211.05953. */
#include "schedule/schedule_internal.h"

galv_status galv_order_breadth_first(galv_slot *slots, const galv_schedule_shape *shape,
                                     int32_t stage, galv_err *err)
{
    galv_status status = galv_schedule_check_shape("breadth-first", shape, stage, err);
    if (status != GALV_OK) {
        return status;
    }
    size_t at = 0;
    for (int32_t chunk = 0; chunk < shape->n_chunks; chunk++) {
        for (int32_t mb = 0; mb < shape->n_micro_batches; mb++) {
            slots[at++] = galv_slot_make(GALV_PASS_FORWARD, chunk, mb);
        }
    }
    for (int32_t chunk = shape->n_chunks - 1; chunk >= 0; chunk--) {
        for (int32_t mb = 0; mb < shape->n_micro_batches; mb++) {
            slots[at++] = galv_slot_make(GALV_PASS_BACKWARD, chunk, mb);
        }
    }
    return GALV_OK;
}
