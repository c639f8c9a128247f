/* The shapes of the schedules by name. schedule/ has them with the orders; this room
 * may not ask there, and what holds memory or reduces gradients must know without an
 * order. A test holds the two to each other. */
#include "plan/chunks.h"

#include <string.h>

static bool is_two_way(const galv_plan *plan)
{
    return plan->order != NULL ? plan->order->two_way
                               : strcmp(plan->schedule, "dualpipe") == 0;
}

bool galv_schedule_is_folded(const char *schedule)
{
    static const char *const names[] = {"zb-v", "v-1f1b", "v-half", "v-min",
                                        "dualpipev"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(schedule, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

int32_t galv_plan_n_copies(const galv_plan *plan)
{
    return is_two_way(plan) ? 2 : 1;
}

int32_t galv_plan_n_chunks(const galv_plan *plan)
{
    return is_two_way(plan) ? 2 : plan->vpp;
}

int32_t galv_plan_virtual_stage(const galv_plan *plan, int32_t stage, int32_t chunk)
{
    if (plan->order != NULL) {
        return galv_order_virtual_stage(plan->order, stage, chunk);
    }
    if (chunk == 1 && is_two_way(plan)) {
        return plan->pp - 1 - stage;
    }
    if (chunk == 1 && galv_schedule_is_folded(plan->schedule)) {
        return 2 * plan->pp - 1 - stage;
    }
    return chunk * plan->pp + stage;
}

int32_t galv_plan_gradient_ranks(const galv_plan *plan, int32_t layer)
{
    return galv_plan_n_copies(plan) *
           galv_strategy_gradient_ranks(galv_plan_strategy(plan, layer));
}

int32_t galv_plan_expert_gradient_ranks(const galv_plan *plan, int32_t layer)
{
    return galv_plan_n_copies(plan) *
           galv_strategy_expert_gradient_ranks(galv_plan_strategy(plan, layer));
}
