/* Inside of a cost model. */
#ifndef GALV_COSTMODEL_COSTMODEL_INTERNAL_H
#define GALV_COSTMODEL_COSTMODEL_INTERNAL_H

#include "base/arena.h"
#include "costmodel/costmodel.h"
#include "costmodel/device_law_internal.h"
#include "costmodel/layer_internal.h"
#include "costmodel/profile_use_internal.h"
#include "plan/chunks.h"

#define GALV_MAX_WARNINGS 32

struct galv_costmodel {
    galv_arena *arena;
    galv_job job;
    galv_model_facts facts;
    galv_device_law laws[GALV_MAX_POOLS];
    galv_measured measured;
    double model_flop;
    size_t n_warnings;
    const char *warnings[GALV_MAX_WARNINGS];
};

/* Times of one layer, and so on: see operation.c. */
static inline const galv_device_law *
galv_costmodel_law(const galv_costmodel *model, const galv_plan *plan, int32_t stage)
{
    const galv_cluster *cluster = &model->job.cluster;
    return cluster->n_pools <= 1
               ? &model->laws[0]
               : &model->laws[galv_placement_pool(plan, cluster, stage)];
}

/* Model FLOP of one iteration. See costmodel.h. */
double galv_count_model_flop(const galv_job *job);

/* Changes of memory that an operation makes; see memory.c. */
void galv_memory_of_compute(galv_cost *cost, const galv_costmodel *model,
                            const galv_device_law *law, const galv_plan *plan,
                            const galv_operation *operation,
                            const galv_layer_share *share, double count);
void galv_memory_of_gather(galv_cost *cost, const galv_operation *operation,
                           const galv_strategy *strategy, double dense_bytes,
                           double expert_bytes);

/* Bytes of an element of a weight as it is computed with. */
static inline double galv_weight_bytes(const galv_workload *workload)
{
    return workload->precision <= GALV_TF32 ? 4 : 2;
}

static inline double galv_gradient_bytes(const galv_workload *workload)
{
    return workload->grad_precision <= GALV_TF32 ? 4 : 2;
}

/* Can a tensor-parallel collective run beside the products of a backward pass? The code
 * that Megatron-DeepSpeed left Megatron-LM at, and SC'21's, waits for it. */
static inline bool galv_tp_runs_beside(const galv_workload *workload, int32_t zero)
{
    return !galv_software_is_before(workload, GALV_CHANGE_BEGINS_BEFORE_WEIGHTS) &&
           !galv_is_megatron_deepspeed(workload, zero);
}

/* Parameters of one layer on one rank, as measured where they were. */
galv_local_parameters galv_count_local(const galv_costmodel *model,
                                       const galv_layer_group *group,
                                       const galv_strategy *strategy, int32_t pp);

/* Ranks over which ZeRO spreads the dense parameters and the experts of a layer. */
static inline double galv_dense_shards(const galv_plan *plan,
                                       const galv_strategy *strategy)
{
    return galv_plan_n_copies(plan) * galv_strategy_gradient_ranks(strategy);
}

static inline double galv_expert_shards(const galv_workload *workload,
                                        const galv_layer_group *group,
                                        const galv_plan *plan,
                                        const galv_strategy *strategy)
{
    return galv_plan_n_copies(plan) * galv_strategy_expert_gradient_ranks(strategy) /
           galv_expert_tp(workload, group, strategy);
}

#endif
