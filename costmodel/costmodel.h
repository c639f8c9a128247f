/* The cost model: a job and what was measured in; seconds, bytes and provenance out.
 *
 * It knows kernels, collectives, memory and the optimizer. It does not know schedules
 * or events: what runs beside what is the simulator's business.
 *
 * Thread-safe once made: every query is const. Pure: the same inputs give the same
 * bits.
 *
 * What schedule/ and sim/ may rely on (memory.c has the whole of it):
 *   - Parts of a layer, in forward order: ATTENTION, MLP; ATTENTION, ROUTER, EXPERTS,
 *     COMBINE with experts; or WHOLE. Their times and bytes add up to the whole's.
 *   - Over FORWARD, RECOMPUTE and BACKWARD (or BACKWARD_INPUT and BACKWARD_WEIGHT) of
 *     the same layers and parts, the lasting changes of memory add up to nothing.
 *   - RECOMPUTE has a cost under full recomputation only; selective recomputation is
 *     in the price of BACKWARD and BACKWARD_INPUT.
 *   - An ALL_GATHER on the dp stream with pass FORWARD or BACKWARD takes the weights of
 *     its layers under ZeRO-3; the last FORWARD part (WHOLE, MLP, COMBINE), or the last
 *     BACKWARD or BACKWARD_INPUT part (WHOLE, ATTENTION), gives them back.
 *   - Ulysses has two ALL_TO_ALL of one class around the core of attention, each priced
 *     as their mean.
 *   - Sends: first_layer .. n_layers are the layers whose border is crossed. */
#ifndef GALV_COSTMODEL_COSTMODEL_H
#define GALV_COSTMODEL_COSTMODEL_H

#include "base/status.h"
#include "costmodel/cost.h"
#include "plan/operation.h"
#include "plan/plan.h"
#include "traces/profile.h"

typedef struct galv_costmodel galv_costmodel;

/* Makes a cost model for a job. `profile` (NULL allowed) is read during the call and
 * copied where needed; `job` is copied. Caller frees with galv_costmodel_free.
 * Errors: GALV_NO_MEMORY, GALV_INPUT (a profile that contradicts itself). */
galv_status galv_costmodel_new(galv_costmodel **model, const galv_job *job,
                               const galv_profile *profile, galv_err *err);
void galv_costmodel_free(galv_costmodel *model);

const galv_job *galv_costmodel_job(const galv_costmodel *model);

/* The cost of one operation of a plan that galv_plan_check accepts. Never fails: an
 * unmeasured thing is priced from the specification and says so. Sends have the
 * transfer as work; receives are free (the message's arrival is a dependency). */
void galv_costmodel_operation(galv_cost *cost, const galv_costmodel *model,
                              const galv_plan *plan, const galv_operation *operation);

/* Times of layers' kernels that were computed before, for whoever prices many plans one
 * after another: what layers compute is the same under many strategies. Of any model;
 * one thread at a time. NULL when memory is out; caller frees with
 * galv_layer_times_free (NULL is allowed). */
typedef struct galv_layer_times galv_layer_times;
galv_layer_times *galv_layer_times_new(void);
void galv_layer_times_free(galv_layer_times *times);

/* As galv_costmodel_operation, to the bit; looks into `times` (NULL allowed), and adds
 * to them. They must not outlive a model they were used with. */
void galv_costmodel_operation_by(galv_cost *cost, const galv_costmodel *model,
                                 const galv_plan *plan, const galv_operation *operation,
                                 galv_layer_times *times);

/* Bytes held by a rank of a pipeline stage through the whole iteration (all chunks of
 * the stage): parameters, gradients, optimizer state, static buffers, context. */
void galv_costmodel_stage_memory(galv_stage_memory *memory, const galv_costmodel *model,
                                 const galv_plan *plan, int32_t stage);

/* What a process takes of its device beside what PyTorch's allocator hands out (its
 * "allocated"): slack and flat temporaries are "reserved" as well, the driver is seen
 * by nvidia-smi alone. */
typedef struct galv_kept_memory {
    double driver_bytes; /* CUDA, its modules and libraries; collectives */
    double slack_bytes;  /* between and around what is held */
    double flat_bytes;   /* temporaries of the reduction and the step, of which the
                            allocator keeps the memory beside that of activations; 0
                            where the software makes none that large. Out of memory, it
                            is given back: whether a plan fits does not hang on it */
} galv_kept_memory;

/* Of a rank of a stage. GALV_MEMORY_CONTEXT of galv_costmodel_stage_memory is driver
 * and slack. O(layers). */
void galv_costmodel_kept(galv_kept_memory *kept, const galv_costmodel *model,
                         const galv_plan *plan, int32_t stage);

/* Model FLOP of one iteration, the whole cluster: forward and backward without
 * recomputation, full (not causal) attention, as Megatron-LM and MFU count it.
 * Source: Narayanan et al. 2021 (arXiv 2104.04473) eq. 3 less its recompute term;
 * for other shapes the same count by layer: 6 per parameter and token in matrix
 * products, 12 s h-like attention terms, active experts only. */
double galv_costmodel_model_flop(const galv_costmodel *model);

/* Peak FLOP/s that MFU is measured against: the device's dense peak in the workload's
 * precision (bf16 where the precision is not supported); in a mixed cluster the mean
 * over its devices. */
double galv_costmodel_peak_flop_per_s(const galv_costmodel *model);

/* Usable bytes of device memory: the workload's limit, else its share of memory as sold
 * less what the driver keeps. In a mixed cluster what every device has; those of one
 * pool, or of the pool that a stage lies in, may have more, and no limit is more than a
 * device has. */
double galv_costmodel_memory_limit(const galv_costmodel *model);
double galv_costmodel_pool_limit(const galv_costmodel *model, int32_t pool);
double galv_costmodel_stage_limit(const galv_costmodel *model, const galv_plan *plan,
                                  int32_t stage);

/* What a plan needs of memory: of the stage that fills the largest share of what its
 * device has. {0, 0} = nothing yet. */
typedef struct galv_memory_need {
    double bytes, limit_bytes;
} galv_memory_need;

/* Another stage needs so much. */
void galv_memory_need_add(galv_memory_need *need, double bytes, double limit_bytes);
static inline bool galv_memory_need_fits(const galv_memory_need *need)
{
    return need->bytes <= need->limit_bytes;
}

/* Kernels and collectives by themselves, for tables, tests and benchmarks. */
void galv_costmodel_gemm(galv_cost *cost, const galv_costmodel *model,
                         galv_precision precision, double m, double n, double k);
/* Fused attention, `passes`: GALV_OP_FORWARD or GALV_OP_BACKWARD. */
void galv_costmodel_attention(galv_cost *cost, const galv_costmodel *model, int pass,
                              double batch, double heads, double query_groups,
                              double seq_q, double seq_kv, double head_dim,
                              bool causal);
/* A collective (galv_op_kind) of `message_bytes` as nccl-tests counts them. */
void galv_costmodel_collective(galv_cost *cost, const galv_costmodel *model, int kind,
                               int32_t n_ranks, int32_t ranks_per_node,
                               int32_t sharers_per_node, double message_bytes);

/* The value that a named factor ("gemm", "host_forward_us"...:
 * costmodel/data/insitu.csv) has for a device and a workload; rows of `profile` (NULL
 * allowed) win over those compiled in. NAN when there is no factor of that name, or no
 * memory. */
double galv_costmodel_factor(const char *name, const galv_device *device,
                             const galv_workload *workload,
                             const galv_profile *profile);

/* The precision at whose rate a device multiplies when it is asked for one: that one
 * itself where it has it, else fp8 for the block-scaled kinds, tf32 and fp32 for each
 * other, and what it has of bf16 and fp16 for all else. */
galv_precision galv_device_stand_in(const galv_device *device,
                                    galv_precision precision);

/* Bytes per second of the network that a device of a pool has, one direction, as
 * messages are priced: nominal, times what long messages get of it. */
double galv_costmodel_network_rate(const galv_costmodel *model, int32_t pool);

/* Warnings the user should see (extrapolation beyond the profile and how far, device
 * without measurements): `n` of them, owned by the model. Fixed when it is made. */
const char *const *galv_costmodel_warnings(const galv_costmodel *model, size_t *n);

#endif
