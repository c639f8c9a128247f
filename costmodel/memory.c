/* Memory: what a rank holds throughout, and what each operation takes and gives back.
 *
 * Throughout, bytes per parameter before ZeRO (16-bit training): weights 2, gradients 2
 * or 4, optimizer 12 (fp32 weights and two moments; 16-bit gradients are cast to fp32
 * for the step alone: operation.c); fp32 training 4, 4 and 8. Stage 1 spreads the
 * optimizer over the D ranks that share the parameters, stage 2 the gradients too,
 * stage 3 the weights too. FSDP of eager PyTorch shards the fp32 weights themselves and
 * has no 16-bit copy beside them. ZeRO under Megatron before 2023 is
 * Megatron-DeepSpeed's, which sums bf16 gradients into fp32 ones and keeps both.
 * Experts have a D of their own. Source: Megatron-LM, docs/dist_optimizer; Rajbhandari
 * et al. 2020 (arXiv 1910.02054).
 *
 * Where stages hold two copies of the model (plan/chunks.h: DualPipe), a rank holds the
 * states of both its chunks, so twice of what is not sharded; but each layer is held by
 * twice as many ranks, over which ZeRO spreads it, so as much as with one copy of what
 * is. ZeRO-1 thus doubles weights and gradients and leaves the optimizer as it was.
 *
 * Activations, rules that the schedule and the simulator rely on:
 *   - FORWARD ends by keeping what the layers need; BACKWARD ends by giving it back.
 *     Split, BACKWARD_INPUT gives back all but what waits for the weights (inputs of
 *     products and gradients of their outputs, which it makes), and BACKWARD_WEIGHT
 *     that.
 *   - A BACKWARD over several layers lets the activations of each go before it comes to
 *     the one before: its transient is the most that it holds over what it began with.
 *   - Full recomputation keeps the input alone. RECOMPUTE starts by taking the rest,
 *     for one layer at a time (frameworks recompute layer by layer even where one
 *     operation covers several); BACKWARD gives both back.
 *   - The head keeps its softmax (GALV_MEMORY_BUFFERS) from forward to backward.
 *   - A ZeRO-3 ALL_GATHER of pass FORWARD, BACKWARD or RECOMPUTE starts by taking the
 *     whole weights (BUFFERS). They are given back at the end of the FORWARD of the
 *     layer's last part (WHOLE, MLP or COMBINE), or of the BACKWARD or BACKWARD_INPUT
 *     of its first (WHOLE or ATTENTION).
 *   - Sharded gradients (stages 2, 3) exist whole while they are reduced: transient of
 *     the REDUCE_SCATTER.
 *
 * Context: CUDA and its modules, and NCCL for each kind of group. What the allocator
 * keeps of large temporaries is told apart (galv_costmodel_kept): short of memory, it
 * gives that back. Left out: the allocator's fragmentation beyond 2 % (Megatron) or 4 %
 * of what is held throughout. These and what the optimizer holds are factors
 * (data/insitu.csv) that a profile may replace by its machine's own. */
#include "costmodel/message_internal.h"

#include <math.h>
#include <string.h>

#define MIB 1048576.0

static const galv_device *device_of(const galv_costmodel *model, const galv_plan *plan,
                                    int32_t stage)
{
    const galv_cluster *cluster = &model->job.cluster;
    int32_t pool = cluster->n_pools > 1 ? galv_placement_pool(plan, cluster, stage) : 0;
    return &cluster->pools[pool].device;
}

/* ---- throughout ---- */

galv_local_parameters galv_count_local(const galv_costmodel *model,
                                       const galv_layer_group *group,
                                       const galv_strategy *strategy, int32_t pp)
{
    galv_local_parameters local = galv_layer_local_parameters(
        &model->job.model, group, strategy, &model->job.workload, pp);
    if (model->measured.n_memory > 0) {
        double ratio =
            galv_measured_parameter_ratio(&model->measured, &model->job.model, group);
        local.dense *= ratio;
        local.experts *= ratio;
    }
    return local;
}

typedef struct state_bytes {
    double weights, gradients, optimizer;
} state_bytes;

/* Bytes of one parameter of each state, before sharding. */
static state_bytes state_of(const galv_workload *workload, const galv_device_law *law,
                            int32_t zero)
{
    state_bytes s = {galv_weight_bytes(workload), galv_gradient_bytes(workload),
                     law->factors[GALV_FACTOR_OPTIMIZER]};
    if (galv_sums_apart(workload, zero)) {
        s.gradients += 2;
    }
    if (workload->software == GALV_SOFTWARE_EAGER && zero == 3) {
        s.weights = 0;
        s.gradients = 4;
    }
    return s;
}

/* Bytes by which 8- and 4-bit products change what a weight takes. Transformer Engine
 * converts weights once for all micro-batches and keeps the result, twice where it is
 * wanted along both sides (by the transposed product of Hopper, or as blocks have a
 * scale each), and the bf16 weight beside it unless it is trained in 8 bits alone.
 * Source: Transformer Engine, Float8Tensor, MXFP8Tensor, NVFP4Tensor;
 * is_first_microbatch. */
static double narrow_weight_bytes(const galv_workload *workload,
                                  const galv_device *device, int32_t zero)
{
    if (workload->software != GALV_SOFTWARE_MEGATRON || zero >= 3) {
        return 0;
    }
    bool is_blackwell = device->peak_flop_per_s[GALV_NVFP4] > 0;
    double beside = workload->fp8_params ? galv_weight_bytes(workload) : 0;
    switch (workload->precision) {
    case GALV_FP8:
        return (is_blackwell ? 1 : 2) - beside;
    case GALV_MXFP8:
        return 2 * (1 + 1.0 / 32) - beside;
    case GALV_NVFP4: /* bf16 weights always */
        return 2 * (0.5 + 1.0 / 16);
    default:
        return 0;
    }
}

static void add_states(galv_stage_memory *memory, const galv_workload *workload,
                       const galv_device_law *law, const galv_strategy *strategy,
                       double parameters, double shards)
{
    state_bytes s = state_of(workload, law, strategy->zero);
    double *bytes = memory->bytes;
    bytes[GALV_MEMORY_PARAMETERS] +=
        parameters * s.weights / (strategy->zero >= 3 ? shards : 1);
    bytes[GALV_MEMORY_GRADIENTS] +=
        parameters * s.gradients / (strategy->zero >= 2 ? shards : 1);
    bytes[GALV_MEMORY_OPTIMIZER] +=
        parameters * s.optimizer / (strategy->zero >= 1 ? shards : 1);
}

/* CUDA, its modules and libraries; NCCL, and its buffers for each kind of group. */
static double driver_bytes(const galv_plan *plan, const galv_device_law *law)
{
    double groups = plan->pp > 1 ? 1 : 0;
    int32_t tp = 1;
    int32_t cp = 1;
    int32_t ep = 1;
    int32_t dp = 1;
    for (int32_t i = 0; i < plan->n_strategies; i++) {
        const galv_strategy *s = &plan->strategies[i];
        tp = s->tp > tp ? s->tp : tp;
        cp = s->cp > cp ? s->cp : cp;
        ep = s->ep > ep ? s->ep : ep;
        dp = s->dp > dp ? s->dp : dp;
    }
    const double *factors = law->factors;
    groups += (tp > 1) + (cp > 1) + (ep > 1) + (dp > 1);
    return (factors[GALV_FACTOR_CONTEXT] +
            (groups > 0 ? factors[GALV_FACTOR_COLLECTIVES] : 0) +
            factors[GALV_FACTOR_GROUP] * groups) *
           MIB;
}

static double slack_bytes(const galv_stage_memory *memory, const galv_device_law *law)
{
    double held = 0;
    for (int use = 0; use < GALV_MEMORY_CONTEXT; use++) {
        held += memory->bytes[use];
    }
    return law->factors[GALV_FACTOR_SLACK] * held;
}

/* Workspaces of products. cuBLAS: 32 MiB for the thread that runs forward and as much
 * for the one that runs backward (PyTorch's default from Hopper on, and what
 * CUBLAS_WORKSPACE_CONFIG=:4096:8 of reproducible runs asks for anywhere).
 * Transformer Engine: 32 MiB where fp8 exists (Hopper and later), else 4; with experts
 * in any layer, one more for each of the four streams of grouped products. */
static double workspace(const galv_costmodel *model, const galv_plan *plan,
                        int32_t stage)
{
    const galv_job *job = &model->job;
    const double cublas = 2 * 32 * MIB;
    if (!galv_software_has(&job->workload, GALV_CHANGE_HAS_TRANSFORMER_ENGINE)) {
        return cublas;
    }
    bool experts = false;
    for (int32_t g = 0; g < job->model.n_groups; g++) {
        experts = experts || job->model.groups[g].kind == GALV_LAYER_MOE_DECODER;
    }
    bool has_fp8 = device_of(model, plan, stage)->peak_flop_per_s[GALV_FP8] > 0;
    return cublas + (experts ? 5 : 1) * (has_fp8 ? 32 : 4) * MIB;
}

/* Megatron-LM gathers the input of products that are its own (the logits'; before it
 * had Transformer Engine's, all) into a buffer that it keeps. */
static double gather_buffer(const galv_costmodel *model, const galv_layer_share *share)
{
    const galv_workload *workload = &model->job.workload;
    bool own = share->group->kind == GALV_LAYER_HEAD ||
               (!galv_software_has(workload, GALV_CHANGE_HAS_TRANSFORMER_ENGINE) &&
                galv_layer_is_block(share->group->kind));
    return workload->software == GALV_SOFTWARE_MEGATRON && own &&
                   share->region_tokens < share->tokens
               ? galv_weight_bytes(workload) * share->tokens * share->group->hidden_size
               : 0;
}

/* Where gradients of weights are summed into the main ones by the products themselves,
 * autograd still wants some: Transformer Engine gives it an empty one, by now one for
 * each shape, kept for good. */
static double add_placeholders(galv_weight_shapes *seen, const galv_costmodel *model,
                               const galv_layer_share *share)
{
    const galv_workload *workload = &model->job.workload;
    return galv_software_has(workload, GALV_CHANGE_KEEPS_EMPTY_GRADIENTS) &&
                   workload->precision > GALV_TF32
               ? galv_weight_bytes(workload) * galv_layer_add_shapes(seen, share)
               : 0;
}

/* Buffers that stay once they are made. */
static double standing_buffers(const galv_costmodel *model, const galv_plan *plan,
                               int32_t stage)
{
    galv_weight_shapes seen = {.n_shapes = 0};
    double placeholders = 0;
    double gather = 0;
    const galv_layer_group *last = NULL;
    for (int32_t chunk = 0; chunk < galv_plan_n_chunks(plan); chunk++) {
        int32_t v = galv_plan_virtual_stage(plan, stage, chunk);
        for (int32_t layer = plan->first_layer[v]; layer < plan->first_layer[v + 1];
             layer++) {
            const galv_layer_group *group = galv_model_layer(&model->job.model, layer);
            if (group == last) {
                continue;
            }
            last = group;
            galv_layer_share share;
            galv_layer_share_init(&share, &model->facts, &model->job.workload, group,
                                  galv_plan_strategy(plan, layer),
                                  galv_plan_local_samples(plan, layer), 1);
            placeholders += add_placeholders(&seen, model, &share);
            double needed = gather_buffer(model, &share);
            gather = needed > gather ? needed : gather;
        }
    }
    const galv_device_law *law = galv_costmodel_law(model, plan, stage);
    return law->factors[GALV_FACTOR_WORKSPACE] * workspace(model, plan, stage) +
           placeholders + gather;
}

/* Adds the states of a row of equal layers, worked out once. */
static void add_row(galv_stage_memory *memory, const galv_costmodel *model,
                    const galv_plan *plan, int32_t stage, const galv_layer_group *group,
                    const galv_strategy *strategy, int32_t n_layers)
{
    const galv_workload *workload = &model->job.workload;
    const galv_device_law *law = galv_costmodel_law(model, plan, stage);
    galv_stage_memory dense = {{0}};
    galv_stage_memory experts = {{0}};
    galv_local_parameters local = galv_count_local(model, group, strategy, plan->pp);
    add_states(&dense, workload, law, strategy, local.dense,
               galv_dense_shards(plan, strategy));
    add_states(&experts, workload, law, strategy, local.experts,
               galv_expert_shards(workload, group, plan, strategy));
    double narrow = 0;
    if (galv_layer_is_block(group->kind)) {
        narrow = (local.dense + local.experts) *
                 narrow_weight_bytes(workload, device_of(model, plan, stage),
                                     strategy->zero);
    }
    /* layer by layer, so that sums round as if each had been counted by itself */
    for (int32_t i = 0; i < n_layers; i++) {
        for (int use = GALV_MEMORY_PARAMETERS; use <= GALV_MEMORY_OPTIMIZER; use++) {
            memory->bytes[use] += dense.bytes[use];
            memory->bytes[use] += experts.bytes[use];
        }
        memory->bytes[GALV_MEMORY_PARAMETERS] += narrow;
    }
}

void galv_costmodel_stage_memory(galv_stage_memory *memory, const galv_costmodel *model,
                                 const galv_plan *plan, int32_t stage)
{
    memset(memory, 0, sizeof *memory);
    for (int32_t chunk = 0; chunk < galv_plan_n_chunks(plan); chunk++) {
        int32_t v = galv_plan_virtual_stage(plan, stage, chunk);
        int32_t end = plan->first_layer[v + 1];
        int32_t n = 1;
        for (int32_t layer = plan->first_layer[v]; layer < end; layer += n) {
            int32_t rest = 0;
            int32_t g = galv_find_group(&model->job.model, layer, &rest);
            n = 1;
            while (n < rest && layer + n < end &&
                   plan->layer_strategy[layer + n] == plan->layer_strategy[layer]) {
                n++;
            }
            add_row(memory, model, plan, stage, &model->job.model.groups[g],
                    galv_plan_strategy(plan, layer), n);
        }
    }
    memory->bytes[GALV_MEMORY_BUFFERS] += standing_buffers(model, plan, stage);
    const galv_device_law *law = galv_costmodel_law(model, plan, stage);
    memory->bytes[GALV_MEMORY_CONTEXT] =
        driver_bytes(plan, law) + slack_bytes(memory, law);
}

/* ---- what an allocator keeps ---- */

/* Bytes of a bucket of DeepSpeed's: 5e8 elements of 16 bits. Source: DeepSpeed,
 * reduce_bucket_size, allgather_bucket_size, MEMORY_OPT_ALLREDUCE_SIZE. */
#define BUCKET_BYTES 1e9

/* Large temporaries of DeepSpeed's reduction and step. ZeRO-1 and -2 put the gradients
 * of a bucket into one tensor to reduce them, those of the shard into another for the
 * step, and that into fp32; BF16_Optimizer makes a bf16 copy of all fp32 gradients at
 * once to reduce them. Both gather weights by buckets, whose parts PyTorch puts into
 * one tensor first. They come when activations are let go, but are larger than any of
 * the blocks that held those, so that the allocator asks the driver for more and keeps
 * it. Source: DeepSpeed, runtime/zero/stage_1_and_2.py (step, allreduce_bucket),
 * runtime/engine.py (allreduce_bucket, communication_data_type), runtime/utils.py
 * (all_gather_dp_groups); PyTorch, CUDACachingAllocator, ProcessGroupNCCL::allgather.
 */
static double flat_bytes(const galv_costmodel *model, const galv_plan *plan,
                         int32_t stage)
{
    const galv_workload *workload = &model->job.workload;
    double bytes = 0;
    double parameters = 0;
    bool spread = false;
    for (int32_t chunk = 0; chunk < galv_plan_n_chunks(plan); chunk++) {
        int32_t v = galv_plan_virtual_stage(plan, stage, chunk);
        for (int32_t layer = plan->first_layer[v]; layer < plan->first_layer[v + 1];
             layer++) {
            const galv_strategy *strategy = galv_plan_strategy(plan, layer);
            if (!galv_is_deepspeed(workload, strategy->zero) || strategy->zero > 2) {
                continue;
            }
            const galv_layer_group *group = galv_model_layer(&model->job.model, layer);
            galv_local_parameters local =
                galv_count_local(model, group, strategy, plan->pp);
            double dense = galv_dense_shards(plan, strategy);
            double experts = galv_expert_shards(workload, group, plan, strategy);
            bool apart = galv_sums_apart(workload, strategy->zero);
            spread = spread || dense > 1;
            parameters += local.dense + local.experts;
            bytes += apart ? 2 * (local.dense + local.experts)
                           : GALV_FLAT_STEP_BYTES *
                                 (local.dense / dense + local.experts / experts);
        }
    }
    double bucket = fmin(BUCKET_BYTES, 2 * parameters);
    return bytes + (spread ? 2 * bucket : 0);
}

void galv_costmodel_kept(galv_kept_memory *kept, const galv_costmodel *model,
                         const galv_plan *plan, int32_t stage)
{
    const galv_device_law *law = galv_costmodel_law(model, plan, stage);
    galv_stage_memory memory;
    galv_costmodel_stage_memory(&memory, model, plan, stage);
    memory.bytes[GALV_MEMORY_CONTEXT] = 0;
    kept->driver_bytes = driver_bytes(plan, law);
    kept->slack_bytes = slack_bytes(&memory, law);
    kept->flat_bytes = flat_bytes(model, plan, stage);
}

/* ---- by operation ---- */

static bool is_first_part(int part)
{
    return part == GALV_PART_WHOLE || part == GALV_PART_ATTENTION;
}

static bool is_last_part(int part)
{
    return part == GALV_PART_WHOLE || part == GALV_PART_MLP ||
           part == GALV_PART_COMBINE;
}

/* Weights that ZeRO-3 gathered for the pass and that its last operation frees. */
static double gathered_bytes(const galv_costmodel *model, const galv_plan *plan,
                             const galv_layer_share *share,
                             const galv_strategy *strategy)
{
    if (strategy->zero < 3) {
        return 0;
    }
    galv_local_parameters local =
        galv_count_local(model, share->group, strategy, plan->pp);
    double parameters =
        (galv_dense_shards(plan, strategy) > 1 ? local.dense : 0) +
        (galv_expert_shards(&model->job.workload, share->group, plan, strategy) > 1
             ? local.experts
             : 0);
    return parameters * galv_weight_bytes(&model->job.workload);
}

static void change_activations(galv_cost *cost, const galv_operation *operation,
                               double kept, double input, double waiting, bool full,
                               double count)
{
    double *at_end = &cost->end_bytes[GALV_MEMORY_ACTIVATIONS];
    double rest = kept - input;
    switch (operation->kind) {
    case GALV_OP_FORWARD:
        *at_end += count * (full ? input : kept);
        break;
    case GALV_OP_RECOMPUTE:
        cost->start_bytes[GALV_MEMORY_ACTIVATIONS] += full ? rest : 0;
        break;
    case GALV_OP_BACKWARD:
        *at_end -= full ? rest + count * input : count * kept;
        break;
    case GALV_OP_BACKWARD_INPUT:
        *at_end -= full ? rest + count * (input - waiting) : count * (kept - waiting);
        break;
    case GALV_OP_BACKWARD_WEIGHT:
        *at_end -= count * waiting;
        break;
    default:
        break;
    }
}

void galv_memory_of_compute(galv_cost *cost, const galv_costmodel *model,
                            const galv_device_law *law, const galv_plan *plan,
                            const galv_operation *operation,
                            const galv_layer_share *share, double count)
{
    const galv_strategy *strategy = galv_plan_strategy(plan, operation->first_layer);
    int part = operation->part;
    int kind = operation->kind;
    bool backward = kind == GALV_OP_BACKWARD || kind == GALV_OP_BACKWARD_INPUT;
    bool full = strategy->recompute == GALV_RECOMPUTE_FULL &&
                galv_layer_is_block(share->group->kind);
    bool selective = strategy->recompute == GALV_RECOMPUTE_SELECTIVE;
    /* by operation, what is kept is chosen, whatever the stack would keep */
    bool chosen = galv_layer_is_op_selective(share, strategy->recompute);
    double kept = (chosen ? 1 : law->factors[GALV_FACTOR_STACK]) *
                  galv_layer_activation_bytes(share, selective, part);
    kept *= galv_measured_memory_ratio(&model->measured, share, strategy);
    double input = is_first_part(part) ? galv_layer_input_bytes(share) : 0;
    double before = cost->end_bytes[GALV_MEMORY_ACTIVATIONS];
    change_activations(cost, operation, kept, input < kept ? input : kept,
                       galv_layer_waiting_bytes(share, part), full, count);
    double given_back = before - cost->end_bytes[GALV_MEMORY_ACTIVATIONS];
    double *buffers = &cost->end_bytes[GALV_MEMORY_BUFFERS];
    bool is_head = share->group->kind == GALV_LAYER_HEAD;
    double logits = is_head ? galv_layer_logit_bytes(share) : 0;
    if (backward) {
        /* layers come here first to last, and go backward last to first */
        cost->transient_bytes -= given_back + logits;
    }
    double transient =
        (is_head ? law->factors[GALV_FACTOR_LOSS_TRANSIENT] : 1) *
        galv_layer_transient_bytes(share, strategy->recompute, part, kind);
    if (transient > cost->transient_bytes) {
        cost->transient_bytes = transient;
    }
    if (is_head) {
        *buffers += kind == GALV_OP_FORWARD ? logits : 0;
        *buffers -= backward ? logits : 0;
    }
    if ((kind == GALV_OP_FORWARD && is_last_part(part)) ||
        (backward && is_first_part(part))) {
        *buffers -= count * gathered_bytes(model, plan, share, strategy);
    }
}

void galv_memory_of_gather(galv_cost *cost, const galv_operation *operation,
                           const galv_strategy *strategy, double dense_bytes,
                           double expert_bytes)
{
    if (operation->kind == GALV_OP_ALL_GATHER && strategy->zero >= 3 &&
        operation->pass != GALV_OP_OPTIMIZER) {
        cost->start_bytes[GALV_MEMORY_BUFFERS] += dense_bytes + expert_bytes;
    } else if (operation->kind == GALV_OP_REDUCE_SCATTER && strategy->zero >= 2) {
        cost->transient_bytes = dense_bytes + expert_bytes;
    }
}
