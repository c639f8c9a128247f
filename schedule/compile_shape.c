/* What a plan asks of its schedule, and whether it can be: before anything is laid out,
 * so that what cannot run is told in terms of the plan. */
#include "schedule/compile_internal.h"

#define MOST_SLOTS 1e8

static galv_status check_schedule(const galv_schedule *schedule,
                                  const galv_schedule_shape *shape,
                                  const galv_plan *plan, galv_err *err)
{
    galv_schedule_shape longer = *shape;
    galv_err ignored = GALV_ERR_INIT;
    galv_status status = galv_schedule_check(schedule, shape, err);
    longer.n_micro_batches = 4 * shape->n_stages;
    if (status != GALV_OK &&
        galv_schedule_check(schedule, &longer, &ignored) == GALV_OK) {
        galv_hint(err,
                  "micro-batches are the global batch %lld / (micro-batch %d * dp %d)",
                  (long long)plan->global_batch_size, (int)plan->micro_batch_size,
                  (int)galv_plan_strategy(plan, 0)->dp);
    }
    return status;
}

galv_status galv_compile_shape(galv_schedule *schedule, galv_schedule_shape *shape,
                               const galv_plan *plan, galv_err *err)
{
    shape->n_stages = plan->pp;
    shape->n_chunks = plan->vpp;
    shape->n_micro_batches = galv_plan_n_micro_batches(plan);
    shape->group_size = plan->group_size;
    shape->weights = NULL;
    galv_status status = galv_schedule_of_plan(schedule, plan, err);
    if (status == GALV_OK && (shape->n_micro_batches < 1 || plan->vpp > INT16_MAX ||
                              plan->vpp < 1 || plan->pp < 1)) {
        status = galv_fail(err, GALV_USAGE,
                           "a plan of pp %d, vpp %d and %d micro-batches cannot run",
                           (int)plan->pp, (int)plan->vpp, (int)shape->n_micro_batches);
    }
    double n_slots = 3.0 * shape->n_micro_batches * plan->vpp * plan->pp;
    if (status == GALV_OK && n_slots > MOST_SLOTS) {
        status = galv_fail(err, GALV_USAGE,
                           "%d micro-batches on %d x %d stages are more than can be "
                           "simulated; take larger micro-batches",
                           (int)shape->n_micro_batches, (int)plan->pp, (int)plan->vpp);
    }
    if (status == GALV_OK) {
        status = check_schedule(schedule, shape, plan, err);
    }
    if (status == GALV_OK && schedule->two_way && plan->pp % 2 != 0) {
        status = galv_fail(err, GALV_USAGE,
                           "schedule %s needs an even number of stages, not %d: with "
                           "two copies in opposite directions the middle stage would "
                           "hold the same layers twice",
                           plan->schedule, (int)plan->pp);
    }
    return status;
}
