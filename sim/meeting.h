/* Who meets whom: the ranks of a pipeline stage that do an operation together.
 *
 * A stage's n ranks stand at places 0 .. n - 1, in the order of Megatron Core: tp
 * fastest, then cp, then dp. Groups of n ranks, stride apart, fill the places in blocks
 * of stride * n: group g of a block begins at its g-th place. */
#ifndef GALV_SIM_MEETING_H
#define GALV_SIM_MEETING_H

#include "plan/placement.h"
#include "schedule/program.h"

/* Places first, first + stride, ..., n of them. n = 1: each rank by itself. */
typedef struct galv_meeting {
    int32_t stride;
    int32_t n;
} galv_meeting;

/* The kind of group that a communication of a plan is done by: GALV_GROUP_PP for
 * messages, GALV_GROUP_TIED for tied embeddings; -1 for what is no communication. */
int galv_meeting_kind(const galv_operation *operation);

/* The meeting of every class of a plan's program: meetings[n_classes], owned by the
 * arena; and the ranks of one stage. Messages and tied embeddings concern the same
 * place of two stages: those ranks do their part by themselves. Errors: GALV_USAGE
 * (more ranks than can be simulated), GALV_NO_MEMORY. */
galv_status galv_meetings_of_plan(galv_meeting **meetings, int32_t *ranks_per_stage,
                                  const galv_plan *plan, const galv_program *program,
                                  galv_arena *arena, galv_err *err);

/* The group that a place belongs to, and the place where a group begins. */
uint32_t galv_meeting_group(galv_meeting meeting, uint32_t place);
uint32_t galv_meeting_first_place(galv_meeting meeting, uint32_t group);

#endif
