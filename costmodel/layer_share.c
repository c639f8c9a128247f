/* What a strategy leaves of a layer on one rank, for one micro-batch: rows of products,
 * heads, experts, and what the software does of itself. */
#include "costmodel/layer_internal.h"

#include <math.h>

void galv_model_facts_init(galv_model_facts *facts, const galv_job *job)
{
    const galv_model *model = &job->model;
    facts->model = model;
    facts->n_layers = galv_model_n_layers(model);
    facts->encoder_seq = 0;
    for (int32_t i = 0; i < model->n_groups; i++) {
        const galv_layer_group *group = &model->groups[i];
        if (group->kind == GALV_LAYER_ENCODER) {
            facts->encoder_seq =
                group->seq_length > 0 ? group->seq_length : job->workload.seq_length;
        }
    }
    const galv_layer_group *first = &model->groups[0];
    facts->image = first->kind == GALV_LAYER_PATCH_EMBEDDING;
    facts->rotary =
        !facts->image && first->max_positions == 0 && facts->encoder_seq == 0;
}

void galv_layer_share_init(galv_layer_share *share, const galv_model_facts *facts,
                           const galv_workload *workload, const galv_layer_group *group,
                           const galv_strategy *strategy, double samples,
                           double imbalance)
{
    bool ulysses = strategy->sp == GALV_SP_ULYSSES;
    double degree = strategy->tp;
    share->group = group;
    share->workload = workload;
    share->samples = samples;
    share->tp = ulysses ? 1 : degree;
    share->cp = strategy->cp;
    share->seq = group->seq_length > 0 ? group->seq_length : workload->seq_length;
    share->tokens = samples * share->seq / share->cp / (ulysses ? degree : 1);
    share->region_tokens =
        strategy->sp == GALV_SP_MEGATRON ? share->tokens / degree : share->tokens;
    share->heads = group->num_attention_heads / degree;
    share->groups =
        group->num_query_groups > degree ? group->num_query_groups / degree : 1;
    share->heads_out = group->num_attention_heads / share->tp;
    share->qk_dim = galv_layer_qk_head_dim(group);
    share->v_dim = group->kv_lora_rank > 0 ? group->v_head_dim : group->kv_channels;
    share->encoder_seq = facts->encoder_seq;
    share->rotary = facts->rotary;
    share->fused = workload->flash_attention;
    bool causal = workload->causal && group->kind != GALV_LAYER_ENCODER;
    share->masked = causal && share->fused;
    share->local_experts = (double)group->num_experts / strategy->ep;
    /* tokens enter the experts once, whatever tp is: each rank sends its own part, and
     * the ranks that hold parts of one expert gather what each of them was sent */
    share->expert_tp = galv_expert_tp(workload, group, strategy);
    share->routed_rows = group->moe_router_topk * samples * share->seq / share->cp /
                         degree * share->expert_tp * imbalance;
    share->vocab =
        workload->vocab_unpadded
            ? floor(group->vocab_size / share->tp)
            : galv_padded_vocab(group->vocab_size, share->tp, workload->software) /
                  share->tp;
    share->head_tokens = facts->image ? samples : share->tokens;
    share->sums_apart = galv_sums_apart(workload, strategy->zero);
    bool chooses = workload->software == GALV_SOFTWARE_MEGATRON &&
                   strategy->recompute == GALV_RECOMPUTE_SELECTIVE;
    share->again = chooses ? workload->recompute_modules : 0;
}
