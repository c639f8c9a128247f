/* Where the chunks of a plan's pipeline stages lie in the model, and who else holds
 * them.
 *
 * Mostly a stage holds plan->vpp virtual stages, and nobody else holds those. A two-way
 * plan (schedule dualpipe, or such an order of one's own) holds the model twice, laid
 * over the stages in opposite directions: chunk 0 of stage i is virtual stage i, chunk
 * 1 is pp - 1 - i. Each copy works on a half of the micro-batches, so stages i and pp -
 * 1 - i, which hold the same layers, reduce their gradients together, and what ZeRO
 * shards, it shards over the ranks of both.
 * Source: DeepSeek-AI 2024, arXiv 2412.19437 section 3.2.1 (bidirectional, "two copies
 * of the model parameters"). */
#ifndef GALV_PLAN_CHUNKS_H
#define GALV_PLAN_CHUNKS_H

#include "plan/plan.h"

/* Does chunk 1 of a schedule of this name go back over the stages, as a V does? Not for
 * dualpipe, whose second chunk is of another copy. */
bool galv_schedule_is_folded(const char *schedule);

/* Copies of the model that the plan's stages hold: 1, or 2 when it is two-way. */
int32_t galv_plan_n_copies(const galv_plan *plan);

/* Chunks of a stage: plan->vpp, or 2 when the plan is two-way. */
int32_t galv_plan_n_chunks(const galv_plan *plan);

/* The virtual stage (index into plan->first_layer) of a chunk of a stage: looped, V, or
 * as the order of one's own says. */
int32_t galv_plan_virtual_stage(const galv_plan *plan, int32_t stage, int32_t chunk);

/* Ranks that hold the same dense parameters of a layer and so reduce their gradients
 * together: those of galv_strategy_gradient_ranks, of every copy. */
int32_t galv_plan_gradient_ranks(const galv_plan *plan, int32_t layer);

/* The same for one routed expert. */
int32_t galv_plan_expert_gradient_ranks(const galv_plan *plan, int32_t layer);

#endif
