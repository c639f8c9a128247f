/* Groups by stride and size.
 *
 * The rules are those of plan/placement.c, which describes one group of a kind; here
 * every group is wanted. Experts follow Megatron Core: the ranks of an expert-parallel
 * group are neighbours, those that share an expert are ep apart. */
#include "sim/meeting.h"

int galv_meeting_kind(const galv_operation *operation)
{
    switch (operation->stream) {
    case GALV_STREAM_TP:
        return GALV_GROUP_TP;
    case GALV_STREAM_CP:
        return GALV_GROUP_CP;
    case GALV_STREAM_EP:
        return GALV_GROUP_EP;
    case GALV_STREAM_DP:
        return operation->part == GALV_PART_TIED      ? GALV_GROUP_TIED
               : operation->part == GALV_PART_EXPERTS ? GALV_GROUP_EXPERT_DP
                                                      : GALV_GROUP_DP;
    case GALV_STREAM_PP_SEND:
    case GALV_STREAM_PP_RECV:
        return GALV_GROUP_PP;
    default:
        return -1;
    }
}

static galv_meeting meeting_of(const galv_plan *plan, const galv_operation *operation)
{
    galv_meeting meeting = {1, 1};
    const galv_strategy *s = galv_plan_strategy(plan, operation->first_layer);
    switch (galv_meeting_kind(operation)) {
    case GALV_GROUP_TP:
        meeting.n = s->tp;
        break;
    case GALV_GROUP_CP:
        meeting.stride = s->tp;
        meeting.n = s->cp;
        break;
    case GALV_GROUP_EP:
        meeting.n = s->ep;
        break;
    case GALV_GROUP_DP:
        meeting.stride = s->sp == GALV_SP_ULYSSES ? 1 : s->tp;
        meeting.n = galv_strategy_gradient_ranks(s);
        break;
    case GALV_GROUP_EXPERT_DP:
        meeting.stride = s->ep;
        meeting.n = galv_strategy_expert_gradient_ranks(s);
        break;
    default:
        break;
    }
    if (meeting.n <= 1) {
        meeting.stride = meeting.n = 1;
    }
    return meeting;
}

galv_status galv_meetings_of_plan(galv_meeting **meetings, int32_t *ranks_per_stage,
                                  const galv_plan *plan, const galv_program *program,
                                  galv_arena *arena, galv_err *err)
{
    galv_meeting *made = GALV_NEW_ARRAY(arena, galv_meeting, program->n_classes);
    int64_t per_stage = galv_plan_n_devices(plan) / plan->pp;
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %u classes",
                         (unsigned)program->n_classes);
    }
    if (per_stage * plan->pp * GALV_N_STREAMS > INT32_MAX) {
        return galv_fail(err, GALV_USAGE,
                         "%lld ranks are more than can be simulated one by one",
                         (long long)galv_plan_n_devices(plan));
    }
    for (uint32_t i = 0; i < program->n_classes; i++) {
        made[i] = meeting_of(plan, &program->classes[i]);
    }
    *meetings = made;
    *ranks_per_stage = (int32_t)per_stage;
    return GALV_OK;
}

uint32_t galv_meeting_group(galv_meeting meeting, uint32_t place)
{
    uint32_t stride = (uint32_t)meeting.stride;
    uint32_t block = stride * (uint32_t)meeting.n;
    return place / block * stride + place % block % stride;
}

uint32_t galv_meeting_first_place(galv_meeting meeting, uint32_t group)
{
    uint32_t stride = (uint32_t)meeting.stride;
    uint32_t block = stride * (uint32_t)meeting.n;
    return group / stride * block + group % stride;
}
