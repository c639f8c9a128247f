/* Messages: over which group, with how many bytes.
 *
 * Messages, S of one layer and micro-batch (e bytes an element, T tokens on this rank
 * before sequence parallelism, all counted as nccl-tests does):
 *
 *   tp    all-reduce, all-gather, reduce-scatter   e T h
 *         all-to-all (Ulysses), one of two a pass  e T (a + g) d: the mean of queries,
 *                                                  keys and values out, output back
 *   cp    ring, each step                          2 e T g d / t, twice backward
 *   ep    all-to-all                               e k T h (T of this rank's own)
 *         and where experts are cut, all-gather    e k T h, T of all tp ranks
 *         (between nodes, since 2025: a token once to each node it goes to)
 *   dp    gradients of a run of layers             their parameters here, 2 or 4 bytes
 *         weights of a run of layers               their parameters here, e bytes
 *   pp    send                                     e T h of the boundary layer, over t
 *                                                  with sequence parallelism
 *
 * Without sequence parallelism Megatron-LM and DeepSpeed cut what all t ranks hold
 * alike into t pieces, send one piece each over its own NIC, and gather them inside the
 * node (Narayanan et al. 2021, arXiv 2104.04473, section 4.1); others send everything
 * from every rank. */
#include "costmodel/message_internal.h"

#include <math.h>
#include <string.h>

/* Half the speed for both while both run: as long as one after the other. */
static void run_alone(galv_cost *cost)
{
    cost->compute_slowdown = 2;
    cost->comm_slowdown = 2;
}

/* Prices a group's collective, from measurements where there are any. */
static void price_group(galv_cost *cost, const galv_costmodel *model,
                        const galv_device_law *law, int kind, const galv_group *group,
                        double bytes, double times)
{
    if (group->n_ranks <= 1 || !(bytes > 0)) {
        return;
    }
    galv_cost one;
    memset(&one, 0, sizeof one);
    galv_collective_cost(&one, &law->collective, kind, group, bytes);
    const double priced_s = one.work_s;
    if (model->measured.n_collectives > 0) {
        bool ring = kind == GALV_OP_RING_EXCHANGE;
        double steps = ring ? group->n_ranks - 1 : 1;
        int32_t ranks = ring || kind == GALV_OP_SEND ? 2 : group->n_ranks;
        int32_t per_node =
            group->n_nodes > 1
                ? (ring || kind == GALV_OP_SEND ? 1 : group->ranks_per_node)
                : ranks;
        double time = 0;
        galv_provenance provenance = GALV_PROVENANCE_MEASURED;
        if (galv_measured_collective(&time, &provenance, &model->measured,
                                     ring ? GALV_OP_SEND : kind, ranks, per_node,
                                     bytes)) {
            one.work_s = 0;
            one.headroom = 1;
            memset(one.provenance_s, 0, sizeof one.provenance_s);
            galv_cost_add(&one, steps * time, provenance, 0);
        }
    }
    /* measured whole: the law tells how much of it is latency */
    double latency_frac = priced_s > 0 ? fmin(one.latency_s / priced_s, 1) : 0;
    cost->latency_s += times * latency_frac * one.work_s;
    cost->headroom =
        cost->headroom > 0 ? fmin(cost->headroom, one.headroom) : one.headroom;
    cost->work_s += times * one.work_s;
    for (int p = 0; p < GALV_N_PROVENANCES; p++) {
        cost->provenance_s[p] += times * one.provenance_s[p];
    }
    cost->message_bytes += times * one.message_bytes;
    cost->intra_share =
        one.intra_share > cost->intra_share ? one.intra_share : cost->intra_share;
    cost->inter_share =
        one.inter_share > cost->inter_share ? one.inter_share : cost->inter_share;
    cost->link_busy = fmax(cost->link_busy, one.link_busy);
    galv_cost_set_slowdowns(cost, law->factors[GALV_FACTOR_COMPUTE_SLOWDOWN],
                            law->factors[GALV_FACTOR_COMM_SLOWDOWN],
                            law->measured_overlap);
    if (model->job.workload.launch_blocking) {
        run_alone(cost);
    }
}

/* The group of every `stride`-th of n * stride ranks that follow each other. */
static galv_group every_nth_rank(const galv_costmodel *model, const galv_plan *plan,
                                 int32_t stage, int32_t stride, int32_t n)
{
    const galv_cluster *cluster = &model->job.cluster;
    int64_t stages = 1;
    int32_t domain = (int32_t)galv_placement_domain(plan, cluster, stage, &stages);
    galv_group group = {
        .n_ranks = n, .n_nodes = 1, .ranks_per_node = n, .sharers_per_node = 1};
    if ((int64_t)n * stride <= domain) {
        return group;
    }
    group.ranks_per_node = domain > stride ? domain / stride : 1;
    group.n_nodes = (n + group.ranks_per_node - 1) / group.ranks_per_node;
    group.sharers_per_node = domain / group.ranks_per_node * (int32_t)stages;
    galv_placement_wire(&group, cluster, stride);
    return group;
}

/* The ranks that hold the same piece of an expert that tp cuts. */
static galv_group ranks_of_cut_expert(const galv_costmodel *model,
                                      const galv_plan *plan, int32_t stage, int32_t etp,
                                      const galv_strategy *strategy)
{
    int32_t stride = etp * strategy->ep;
    int32_t n = galv_strategy_expert_gradient_ranks(strategy) / etp;
    return galv_plan_n_copies(plan) > 1
               ? galv_placement_both_copies(plan, &model->job.cluster, stage, stride, n)
               : every_nth_rank(model, plan, stage, stride, n);
}

/* Between two stages; where they lie in different pools, at the pace of the slower. */
static void price_pair(galv_cost *cost, const galv_costmodel *model,
                       const galv_plan *plan, galv_group_kind kind,
                       const galv_operation *operation, int collective, double bytes)
{
    const galv_cluster *cluster = &model->job.cluster;
    int32_t stages[2] = {operation->stage, operation->peer_stage};
    galv_cost prices[2];
    bool mixed = galv_placement_pool(plan, cluster, stages[0]) !=
                 galv_placement_pool(plan, cluster, stages[1]);
    for (int i = 0; i < (mixed ? 2 : 1); i++) {
        prices[i] = *cost;
        galv_group pair = galv_placement_group(
            plan, cluster, kind, operation->first_layer, stages[i], stages[1 - i]);
        price_group(&prices[i], model, galv_costmodel_law(model, plan, stages[i]),
                    collective, &pair, bytes, 1);
    }
    *cost = mixed && prices[1].work_s > prices[0].work_s ? prices[1] : prices[0];
}

static double layer_message(const galv_layer_share *share,
                            const galv_strategy *strategy,
                            const galv_operation *operation, double element)
{
    const galv_layer_group *g = share->group;
    double backward =
        operation->pass == GALV_OP_BACKWARD || operation->pass == GALV_OP_BACKWARD_INPUT
            ? 2
            : 1;
    switch (operation->stream) {
    case GALV_STREAM_CP: {
        double groups =
            g->num_query_groups > share->tp ? g->num_query_groups / share->tp : 1;
        double width = g->kv_lora_rank > 0
                           ? share->heads_out * (share->qk_dim + share->v_dim)
                           : 2 * groups * g->kv_channels;
        return backward * element * share->tokens * width;
    }
    case GALV_STREAM_EP:
        return element * g->moe_router_topk * share->samples * share->seq / share->cp /
               strategy->tp * g->hidden_size;
    default:
        break;
    }
    if (operation->kind == GALV_OP_ALL_TO_ALL) {
        double groups =
            g->kv_lora_rank > 0 ? g->num_attention_heads : g->num_query_groups;
        double mean = g->num_attention_heads * share->v_dim / 2 +
                      (g->num_attention_heads * share->qk_dim +
                       groups * (share->qk_dim + share->v_dim)) /
                          2;
        return element * share->tokens * mean;
    }
    return element * share->tokens * g->hidden_size;
}

/* Share of the bytes of an all-to-all over experts that crosses nodes when a token goes
 * once to each node that has experts for it, and is copied there: of k choices among
 * experts on N nodes, N (1 - (1 - 1/N)^k) nodes are expected. Source: DeepSeek-V3
 * (arXiv 2412.19437), section 3.2.2; DeepEP.
 */
static double sent_once_per_node(const galv_workload *workload, const galv_group *group,
                                 double topk)
{
    double nodes = group->n_nodes;
    if (!galv_software_has(workload, GALV_CHANGE_SENDS_TOKENS_ONCE) || nodes <= 1 ||
        topk <= 1) {
        return 1;
    }
    return nodes * (1 - pow(1 - 1 / nodes, topk)) / topk;
}

/* Experts cut over the tensor-parallel ranks too: tokens go to the ranks of the expert
 * and are gathered there, or summed and scattered on the way back. Source: Megatron
 * Core, MoEAlltoAllTokenDispatcher. */
static void price_cut_experts(galv_cost *cost, const galv_costmodel *model,
                              const galv_device_law *law, const galv_plan *plan,
                              const galv_operation *operation, double bytes,
                              double topk, int32_t expert_tp)
{
    const galv_strategy *strategy = galv_plan_strategy(plan, operation->first_layer);
    double times = operation->n_layers > 1 ? operation->n_layers : 1;
    galv_group group =
        every_nth_rank(model, plan, operation->stage, expert_tp, strategy->ep);
    double sent = sent_once_per_node(&model->job.workload, &group, topk);
    price_group(cost, model, law, operation->kind, &group, sent * bytes, times);
    galv_group parts = every_nth_rank(model, plan, operation->stage, 1, expert_tp);
    price_group(cost, model, law, GALV_OP_ALL_GATHER, &parts, bytes * expert_tp, times);
}

void galv_price_layer_message(galv_cost *cost, const galv_costmodel *model,
                              const galv_plan *plan, const galv_operation *operation)
{
    const galv_device_law *law = galv_costmodel_law(model, plan, operation->stage);
    const galv_strategy *strategy = galv_plan_strategy(plan, operation->first_layer);
    int32_t rest = 0;
    int32_t g = galv_find_group(&model->job.model, operation->first_layer, &rest);
    galv_layer_share share;
    galv_layer_share_init(&share, &model->facts, &model->job.workload,
                          &model->job.model.groups[g], strategy,
                          galv_plan_local_samples(plan, operation->first_layer), 1);
    galv_group_kind kind = operation->stream == GALV_STREAM_TP   ? GALV_GROUP_TP
                           : operation->stream == GALV_STREAM_CP ? GALV_GROUP_CP
                                                                 : GALV_GROUP_EP;
    galv_group group =
        galv_placement_group(plan, &model->job.cluster, kind, operation->first_layer,
                             operation->stage, operation->stage);
    double bytes = layer_message(&share, strategy, operation,
                                 galv_weight_bytes(&model->job.workload));
    if (operation->stream == GALV_STREAM_EP && share.expert_tp > 1) {
        price_cut_experts(cost, model, law, plan, operation, bytes,
                          share.group->moe_router_topk, (int32_t)share.expert_tp);
        return;
    }
    if (operation->stream == GALV_STREAM_EP) {
        bytes *= sent_once_per_node(&model->job.workload, &group,
                                    share.group->moe_router_topk);
    }
    double times = operation->n_layers > 1 ? operation->n_layers : 1;
    price_group(cost, model, law, operation->kind, &group, bytes, times);
    if (group.n_ranks > 1) {
        double waits_s = 1e-6 * times * law->factors[GALV_FACTOR_STREAMS];
        galv_cost_add(cost, waits_s, GALV_PROVENANCE_FITTED, 0);
        cost->latency_s += waits_s;
    }
    if (operation->stream == GALV_STREAM_TP &&
        !galv_tp_runs_beside(&model->job.workload, strategy->zero)) {
        run_alone(cost);
    }
}

void galv_price_parameter_message(galv_cost *cost, const galv_costmodel *model,
                                  const galv_plan *plan,
                                  const galv_operation *operation)
{
    const galv_device_law *law = galv_costmodel_law(model, plan, operation->stage);
    const galv_workload *workload = &model->job.workload;
    const galv_cluster *cluster = &model->job.cluster;
    int32_t layer = operation->first_layer;
    galv_run_parameters run = galv_count_run(model, plan, operation);
    double element = operation->kind == GALV_OP_ALL_GATHER
                         ? galv_weight_bytes(workload)
                         : galv_gradient_bytes(workload);
    double dense = element * run.dense;
    double experts = element * run.experts;
    if (operation->part == GALV_PART_TIED) {
        const galv_layer_group *first = galv_model_layer(&model->job.model, 0);
        galv_local_parameters table =
            galv_count_local(model, first, galv_plan_strategy(plan, 0), plan->pp);
        /* of the words: positions are the first stage's alone */
        double words = table.dense - (double)first->hidden_size * first->max_positions;
        price_pair(cost, model, plan, GALV_GROUP_TIED, operation, operation->kind,
                   element * words);
        return;
    }
    /* DeepSpeed's pipeline engine sums gradients whole on every rank, ZeRO-1 or not */
    int kind = operation->kind;
    if (kind == GALV_OP_REDUCE_SCATTER &&
        galv_is_megatron_deepspeed(workload, galv_plan_strategy(plan, layer)->zero)) {
        kind = GALV_OP_ALL_REDUCE;
    }
    if (operation->part == GALV_PART_EXPERTS) {
        dense = 0;
    } else if (operation->part == GALV_PART_DENSE) {
        experts = 0;
    }
    if (dense > 0) {
        galv_group group = galv_placement_group(plan, cluster, GALV_GROUP_DP, layer,
                                                operation->stage, operation->stage);
        price_group(cost, model, law, kind, &group, dense, 1);
        dense = group.n_ranks > 1 ? dense : 0;
    }
    if (experts > 0) {
        const galv_strategy *strategy = galv_plan_strategy(plan, layer);
        int32_t etp = galv_expert_tp(
            workload, galv_model_layer(&model->job.model, layer), strategy);
        galv_group group =
            etp > 1 ? ranks_of_cut_expert(model, plan, operation->stage, etp, strategy)
                    : galv_placement_group(plan, cluster, GALV_GROUP_EXPERT_DP, layer,
                                           operation->stage, operation->stage);
        price_group(cost, model, law, kind, &group, experts, 1);
        experts = group.n_ranks > 1 ? experts : 0;
    }
    galv_memory_of_gather(cost, operation, galv_plan_strategy(plan, layer), dense,
                          experts);
}

/* Is a pipeline message cut over the tensor-parallel ranks and gathered again? */
static bool sends_pieces(const galv_workload *workload, const galv_strategy *strategy)
{
    bool megatron = workload->software == GALV_SOFTWARE_MEGATRON ||
                    workload->software == GALV_SOFTWARE_DEEPSPEED;
    return megatron && strategy->tp > 1 && strategy->sp == GALV_SP_NONE;
}

void galv_price_send(galv_cost *cost, const galv_costmodel *model,
                     const galv_plan *plan, const galv_operation *operation)
{
    bool forward = operation->pass == GALV_OP_FORWARD;
    int32_t layer = operation->first_layer;
    if (forward && operation->n_layers > 1) {
        layer += operation->n_layers - 1;
    }
    const galv_strategy *strategy = galv_plan_strategy(plan, layer);
    int32_t rest = 0;
    int32_t g = galv_find_group(&model->job.model, layer, &rest);
    galv_layer_share share;
    galv_layer_share_init(&share, &model->facts, &model->job.workload,
                          &model->job.model.groups[g], strategy,
                          galv_plan_local_samples(plan, layer), 1);
    double bytes = galv_layer_input_bytes(&share);
    if (share.group->kind == GALV_LAYER_CROSS_DECODER && share.seq > 0) {
        bytes *=
            1 + share.encoder_seq / share.seq; /* the encoder's output goes along */
    }
    bool in_pieces = sends_pieces(&model->job.workload, strategy);
    price_pair(cost, model, plan, GALV_GROUP_PP, operation, GALV_OP_SEND,
               in_pieces ? bytes / strategy->tp : bytes);
    if (in_pieces) {
        galv_group peers =
            galv_placement_group(plan, &model->job.cluster, GALV_GROUP_TP, layer,
                                 operation->peer_stage, operation->peer_stage);
        const galv_device_law *law =
            galv_costmodel_law(model, plan, operation->peer_stage);
        galv_cost gather;
        memset(&gather, 0, sizeof gather);
        galv_collective_cost(&gather, &law->collective, GALV_OP_ALL_GATHER, &peers,
                             bytes);
        galv_cost_add(cost, gather.work_s, law->collective.provenance, 0);
        cost->latency_s += gather.work_s; /* as far as the network is asked */
    }
}
