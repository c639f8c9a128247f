/* Model FLOP: what a training step must compute, whatever the plan.
 *
 * Matrix products only, multiply-add = 2, backward twice forward, attention over the
 * whole square, no recomputation: 72 B s l h^2 (1 + s/6h + V/12lh) for a GPT with
 * f = 4 h (Narayanan et al. 2021, eq. 3 less its recompute term). The vocabulary is
 * counted as the model states it, before padding. */
#include "costmodel/costmodel_internal.h"

static double attention_weights(const galv_layer_group *g)
{
    double h = g->hidden_size;
    double a = g->num_attention_heads;
    if (g->kv_lora_rank > 0) {
        double qk = galv_layer_qk_head_dim(g);
        double q = g->q_lora_rank;
        double kv = g->kv_lora_rank;
        double queries = q > 0 ? h * q + q * a * qk : h * a * qk;
        return queries + h * (kv + g->qk_rope_head_dim) +
               kv * a * (g->qk_nope_head_dim + g->v_head_dim) + a * g->v_head_dim * h;
    }
    double d = g->kv_channels;
    return h * (a + 2.0 * g->num_query_groups) * d + a * d * h;
}

static double mlp_weights(const galv_layer_group *g, double width)
{
    return (g->gated_linear_unit ? 3 : 2) * g->hidden_size * width;
}

/* Forward FLOP of one layer for one sample. */
static double layer_flop(const galv_model_facts *facts, const galv_layer_group *g,
                         double seq)
{
    double heads_dim = (double)g->num_attention_heads *
                       (galv_layer_qk_head_dim(g) +
                        (g->kv_lora_rank > 0 ? g->v_head_dim : g->kv_channels));
    double square = 2 * seq * seq * heads_dim;
    switch (g->kind) {
    case GALV_LAYER_EMBEDDING:
        return 0;
    case GALV_LAYER_PATCH_EMBEDDING:
        return 2 * seq * g->patch_size * g->patch_size * g->num_channels *
               g->hidden_size;
    case GALV_LAYER_PATCH_MERGE:
        return 4 * seq * g->hidden_size * g->hidden_size;
    case GALV_LAYER_HEAD:
        return 2 * (facts->image ? 1 : seq) * g->hidden_size * g->vocab_size;
    case GALV_LAYER_CROSS_DECODER: {
        double a = (double)g->num_attention_heads * g->kv_channels;
        double cross = 2 * seq * 2.0 * g->hidden_size * a +
                       2 * facts->encoder_seq * 2.0 * g->hidden_size *
                           g->num_query_groups * g->kv_channels;
        return 2 * seq * (attention_weights(g) + mlp_weights(g, g->ffn_hidden_size)) +
               square + cross + 2 * seq * facts->encoder_seq * heads_dim;
    }
    case GALV_LAYER_MOE_DECODER: {
        double active = (double)g->hidden_size * g->num_experts +
                        g->moe_router_topk * mlp_weights(g, g->moe_ffn_hidden_size) +
                        mlp_weights(g, g->moe_shared_ffn_hidden_size);
        return 2 * seq * (attention_weights(g) + active) + square;
    }
    default:
        return 2 * seq * (attention_weights(g) + mlp_weights(g, g->ffn_hidden_size)) +
               square;
    }
}

double galv_count_model_flop(const galv_job *job)
{
    galv_model_facts facts;
    galv_model_facts_init(&facts, job);
    double total = 0;
    for (int32_t i = 0; i < job->model.n_groups; i++) {
        const galv_layer_group *g = &job->model.groups[i];
        double seq = g->seq_length > 0 ? g->seq_length : job->workload.seq_length;
        total += g->n_layers * layer_flop(&facts, g, seq);
    }
    return 3 * total * (double)job->workload.global_batch_size;
}
