/* Interleaved 1F1B: every stage holds v chunks of layers, p stages apart, and works
 * through the micro-batches in groups of g, chunk by chunk within a group.
 *
 * The bubble is (p - 1)(f + b) / v where m is a multiple of p, and larger otherwise;
 * stage i holds at most 2(p - i - 1) + (v - 1) g + 1 chunks' activations. As in
 * Megatron-LM, g is at least p (with fewer a stage would wait for its own later chunk),
 * and by default p.
 *
 * The last group may be short: it goes through all its chunks like any other.
 * Megatron-LM refuses one of fewer than p micro-batches; here one or two fewer are
 * allowed, and a shorter one, with which stages can come to wait for each other in a
 * circle, is taken into the group before it. The warm-up then counts that longer group,
 * so the bubble is the least possible again, for (v - 1) times its surplus of
 * activations more.
 *
 * The k-th forward of a stage is found in closed form, not from a table: full groups
 * take g v slots each, and the rest of k is chunk by chunk inside its group. The k-th
 * backward is the same with chunks in the other direction.
 * Source: Narayanan et al. 2021, arXiv 2104.04473 section 2.2; the warm-up count and
 * the group as in Megatron-LM (megatron/core/pipeline_parallel/schedules.py). */
#include "schedule/schedule_internal.h"

/* Groups of `size` micro-batches, but the last takes what is left. */
typedef struct grouping {
    int64_t n_micro_batches, n_chunks;
    int64_t size;
    int64_t n_groups;
    int64_t longest; /* group */
} grouping;

static grouping group_micro_batches(const galv_schedule_shape *shape, int64_t size)
{
    int64_t m = shape->n_micro_batches;
    int64_t rest = m % size;
    grouping groups = {m, shape->n_chunks, size, m / size, size};
    if (rest > 0) {
        if (m > size && shape->n_stages - rest > 2) {
            groups.longest = size + rest;
        } else {
            groups.n_groups++;
        }
    }
    return groups;
}

static galv_slot kth(const grouping *groups, galv_pass pass, int64_t k)
{
    int64_t v = groups->n_chunks;
    int64_t group = k / (groups->size * v);
    bool last = group >= groups->n_groups - 1;
    if (last) {
        group = groups->n_groups - 1;
    }
    int64_t begin = group * groups->size;
    int64_t in_group = last ? groups->n_micro_batches - begin : groups->size;
    int64_t within = k - begin * v;
    int64_t chunk = within / in_group;
    int64_t micro_batch = begin + within % in_group;
    if (pass != GALV_PASS_FORWARD) {
        chunk = v - 1 - chunk;
    }
    return galv_slot_make(pass, (int32_t)chunk, (int32_t)micro_batch);
}

galv_status galv_order_interleaved(galv_slot *slots, const galv_schedule_shape *shape,
                                   int32_t stage, galv_err *err)
{
    galv_status status = galv_schedule_check_shape("interleaved", shape, stage, err);
    if (status != GALV_OK) {
        return status;
    }
    int32_t p = shape->n_stages;
    int32_t g = shape->group_size == 0 ? p : shape->group_size;
    if (g < p) {
        return galv_fail(err, GALV_USAGE,
                         "schedule interleaved: groups of %d micro-batches are fewer "
                         "than the %d pipeline stages; the nearest is %d",
                         (int)g, (int)p, (int)p);
    }
    grouping groups = group_micro_batches(shape, g);
    int64_t total = groups.n_micro_batches * groups.n_chunks;

    int64_t warm_up =
        2 * ((int64_t)p - stage - 1) + (groups.n_chunks - 1) * groups.longest;
    if (warm_up > total) {
        warm_up = total;
    }
    size_t at = 0;
    for (int64_t k = 0; k < warm_up; k++) {
        slots[at++] = kth(&groups, GALV_PASS_FORWARD, k);
    }
    for (int64_t k = 0; k < total - warm_up; k++) {
        slots[at++] = kth(&groups, GALV_PASS_FORWARD, k + warm_up);
        slots[at++] = kth(&groups, GALV_PASS_BACKWARD, k);
    }
    for (int64_t k = total - warm_up; k < total; k++) {
        slots[at++] = kth(&groups, GALV_PASS_BACKWARD, k);
    }
    return GALV_OK;
}
