/* The model: shapes, parameter counts and sanity.
 *
 * A transformer is what its matrices are: attention (QKV, projection), MLP (two or
 * three matrices), norms, tables. Parameters are counted from the shapes alone:
 *
 *   attention       h (a + 2 g) d + a d h        (+ biases)
 *   latent          h q + q a (n + r) + h (k + r) + k a (n + v) + a v h, and two norms
 *   MLP             2 h f, or 3 h f when gated   (+ biases)
 *   norm            2 h (LayerNorm) or h (RMSNorm)
 *   embedding       V h + positions h
 *
 * with q, k the latent ranks and n, r, v the head sizes of DeepSeek. Left out because
 * they are below 1e-4 of any model: relative position tables, norms of single heads,
 * the embedding norm of BLOOM and BERT, gates of shared experts, the MLM transform of
 * BERT, the multi-token-prediction block of DeepSeek-V3 (published apart). */
#include "plan/model.h"

#include <assert.h>
#include <stddef.h>

#define GALV_WORD(name, word) word,
const char *const galv_layer_kind_names[GALV_N_LAYER_KINDS] = {
    GALV_LAYER_KIND_TABLE(GALV_WORD)};
#undef GALV_WORD

static bool is_block(galv_layer_kind kind)
{
    return kind == GALV_LAYER_ENCODER || kind == GALV_LAYER_DECODER ||
           kind == GALV_LAYER_CROSS_DECODER || kind == GALV_LAYER_MOE_DECODER;
}

int32_t galv_model_n_layers(const galv_model *model)
{
    int32_t n_layers = 0;
    for (int32_t i = 0; i < model->n_groups; i++) {
        n_layers += model->groups[i].n_layers;
    }
    return n_layers;
}

int32_t galv_model_n_blocks(const galv_model *model)
{
    int32_t n_blocks = 0;
    for (int32_t i = 0; i < model->n_groups; i++) {
        if (is_block(model->groups[i].kind)) {
            n_blocks += model->groups[i].n_layers;
        }
    }
    return n_blocks;
}

const galv_layer_group *galv_model_layer(const galv_model *model, int32_t layer)
{
    assert(layer >= 0);
    for (int32_t i = 0; i < model->n_groups; i++) {
        if (layer < model->groups[i].n_layers) {
            return &model->groups[i];
        }
        layer -= model->groups[i].n_layers;
    }
    assert(!"layer outside the model");
    return &model->groups[model->n_groups - 1];
}

const galv_layer_group *galv_model_first_block(const galv_model *model)
{
    for (int32_t i = 0; i < model->n_groups; i++) {
        if (is_block(model->groups[i].kind)) {
            return &model->groups[i];
        }
    }
    return NULL;
}

int32_t galv_layer_qk_head_dim(const galv_layer_group *layer)
{
    return layer->kv_lora_rank > 0 ? layer->qk_nope_head_dim + layer->qk_rope_head_dim
                                   : layer->kv_channels;
}

static double count_norm(const galv_layer_group *layer)
{
    return layer->normalization == GALV_LAYERNORM ? 2.0 * layer->hidden_size
                                                  : 1.0 * layer->hidden_size;
}

static double count_attention(const galv_layer_group *layer)
{
    double h = layer->hidden_size;
    double a = layer->num_attention_heads;
    if (layer->kv_lora_rank > 0) {
        double q = layer->q_lora_rank;
        double k = layer->kv_lora_rank;
        double nope = layer->qk_nope_head_dim;
        double rope = layer->qk_rope_head_dim;
        double v = layer->v_head_dim;
        double queries =
            q > 0 ? h * q + q + q * a * (nope + rope) : h * a * (nope + rope);
        return queries + h * (k + rope) + k + k * a * (nope + v) + a * v * h;
    }
    double g = layer->num_query_groups;
    double d = layer->kv_channels;
    double qkv = (a + 2 * g) * d;
    double count = h * qkv + a * d * h;
    if (layer->linear_bias || layer->qkv_bias) {
        count += qkv;
    }
    return layer->linear_bias ? count + h : count;
}

static double count_mlp(const galv_layer_group *layer, double width)
{
    double h = layer->hidden_size;
    double n_in = layer->gated_linear_unit ? 2 : 1;
    double count = (n_in + 1) * h * width;
    return layer->linear_bias ? count + n_in * width + h : count;
}

galv_layer_parameters galv_layer_count_parameters(const galv_model *model,
                                                  const galv_layer_group *layer)
{
    galv_layer_parameters count = {0, 0};
    double h = layer->hidden_size;
    switch (layer->kind) {
    case GALV_LAYER_EMBEDDING:
        count.dense = h * layer->vocab_size + h * layer->max_positions;
        break;
    case GALV_LAYER_PATCH_EMBEDDING:
        /* one convolution; with a position table there is a class token too (ViT) */
        count.dense = h * layer->patch_size * layer->patch_size * layer->num_channels +
                      h + h * layer->max_positions + (layer->max_positions > 0 ? h : 0);
        break;
    case GALV_LAYER_PATCH_MERGE:
        /* four neighbours of h/2 channels each, normed and projected to h */
        count.dense = 2 * h * h + 2 * count_norm(layer);
        break;
    case GALV_LAYER_ENCODER:
    case GALV_LAYER_DECODER:
        count.dense = count_attention(layer) +
                      count_mlp(layer, layer->ffn_hidden_size) + 2 * count_norm(layer);
        break;
    case GALV_LAYER_CROSS_DECODER:
        count.dense = 2 * count_attention(layer) +
                      count_mlp(layer, layer->ffn_hidden_size) + 3 * count_norm(layer);
        break;
    case GALV_LAYER_MOE_DECODER:
        count.dense =
            count_attention(layer) + h * layer->num_experts + 2 * count_norm(layer);
        if (layer->moe_shared_ffn_hidden_size > 0) {
            count.dense += count_mlp(layer, layer->moe_shared_ffn_hidden_size);
        }
        count.experts =
            layer->num_experts * count_mlp(layer, layer->moe_ffn_hidden_size);
        break;
    case GALV_LAYER_HEAD:
        count.dense = count_norm(layer);
        if (!model->tied_embeddings) {
            count.dense += (h + (layer->linear_bias ? 1 : 0)) * layer->vocab_size;
        }
        break;
    default:
        assert(!"unknown layer kind");
        break;
    }
    return count;
}

double galv_model_parameters(const galv_model *model)
{
    double total = 0;
    for (int32_t i = 0; i < model->n_groups; i++) {
        galv_layer_parameters one =
            galv_layer_count_parameters(model, &model->groups[i]);
        total += model->groups[i].n_layers * (one.dense + one.experts);
    }
    return total;
}

double galv_model_active_parameters(const galv_model *model)
{
    double total = 0;
    for (int32_t i = 0; i < model->n_groups; i++) {
        const galv_layer_group *group = &model->groups[i];
        galv_layer_parameters one = galv_layer_count_parameters(model, group);
        double share = group->num_experts > 0
                           ? (double)group->moe_router_topk / group->num_experts
                           : 0;
        total += group->n_layers * (one.dense + share * one.experts);
    }
    return total;
}

/* ---- is it a model? ---- */

typedef struct shape_check {
    const galv_layer_group *group;
    int32_t index; /* of the group, for messages */
    galv_err *err;
    galv_status status;
} shape_check;

static void require_range(shape_check *check, const char *name, int32_t value,
                          int32_t low, int32_t high)
{
    if (check->status == GALV_OK && (value < low || value > high)) {
        check->status = galv_fail(
            check->err, GALV_INPUT, "groups[%d] (%s): %s %d is not in %d .. %d",
            (int)check->index, galv_layer_kind_names[check->group->kind], name,
            (int)value, (int)low, (int)high);
    }
}

#define MAX_WIDTH 4194304

static void check_attention(shape_check *check)
{
    const galv_layer_group *g = check->group;
    require_range(check, "num_attention_heads", g->num_attention_heads, 1, 65536);
    if (g->kv_lora_rank != 0) {
        require_range(check, "kv_lora_rank", g->kv_lora_rank, 1, MAX_WIDTH);
        require_range(check, "q_lora_rank", g->q_lora_rank, 0, MAX_WIDTH);
        require_range(check, "qk_nope_head_dim", g->qk_nope_head_dim, 1, 65536);
        require_range(check, "qk_rope_head_dim", g->qk_rope_head_dim, 0, 65536);
        require_range(check, "v_head_dim", g->v_head_dim, 1, 65536);
        return;
    }
    require_range(check, "num_query_groups", g->num_query_groups, 1,
                  g->num_attention_heads);
    require_range(check, "kv_channels", g->kv_channels, 1, 65536);
    if (check->status == GALV_OK && g->num_attention_heads % g->num_query_groups != 0) {
        check->status = galv_fail(
            check->err, GALV_INPUT,
            "groups[%d]: num_attention_heads %d is not a multiple of "
            "num_query_groups %d",
            (int)check->index, (int)g->num_attention_heads, (int)g->num_query_groups);
    }
}

static void check_group(shape_check *check)
{
    const galv_layer_group *g = check->group;
    bool single = !is_block(g->kind);
    require_range(check, "n_layers", g->n_layers, 1, single ? 1 : 100000);
    require_range(check, "hidden_size", g->hidden_size, 1, MAX_WIDTH);
    require_range(check, "seq_length", g->seq_length, 0, 1 << 28);
    if (is_block(g->kind)) {
        check_attention(check);
        if (g->kind == GALV_LAYER_MOE_DECODER) {
            require_range(check, "num_experts", g->num_experts, 1, 65536);
            require_range(check, "moe_router_topk", g->moe_router_topk, 1,
                          g->num_experts);
            require_range(check, "moe_ffn_hidden_size", g->moe_ffn_hidden_size, 1,
                          MAX_WIDTH);
            require_range(check, "moe_shared_ffn_hidden_size",
                          g->moe_shared_ffn_hidden_size, 0, MAX_WIDTH);
        } else {
            require_range(check, "ffn_hidden_size", g->ffn_hidden_size, 1, MAX_WIDTH);
            require_range(check, "num_experts", g->num_experts, 0, 0);
        }
    }
    if (g->kind == GALV_LAYER_EMBEDDING || g->kind == GALV_LAYER_HEAD) {
        require_range(check, "vocab_size", g->vocab_size, 1, 1 << 28);
    }
    if (g->kind == GALV_LAYER_PATCH_EMBEDDING) {
        require_range(check, "patch_size", g->patch_size, 1, 4096);
        require_range(check, "num_channels", g->num_channels, 1, 4096);
    }
    require_range(check, "max_positions", g->max_positions, 0, 1 << 28);
    if (check->status == GALV_OK && !(g->dropout >= 0 && g->dropout < 1)) {
        check->status =
            galv_fail(check->err, GALV_INPUT, "groups[%d]: dropout is not in 0 .. 1",
                      (int)check->index);
    }
}

galv_status galv_model_check(const galv_model *model, galv_err *err)
{
    if (model->n_groups < 3 || model->n_groups > GALV_MAX_GROUPS) {
        return galv_fail(err, GALV_INPUT,
                         "a model has 3 to %d groups (embedding, blocks, head), not %d",
                         GALV_MAX_GROUPS, (int)model->n_groups);
    }
    for (int32_t i = 0; i < model->n_groups; i++) {
        const galv_layer_group *group = &model->groups[i];
        if ((unsigned)group->kind >= GALV_N_LAYER_KINDS) {
            return galv_fail(err, GALV_INPUT, "groups[%d]: unknown kind", (int)i);
        }
        shape_check check = {group, i, err, GALV_OK};
        check_group(&check);
        if (check.status != GALV_OK) {
            return check.status;
        }
        bool is_embedding = group->kind == GALV_LAYER_EMBEDDING ||
                            group->kind == GALV_LAYER_PATCH_EMBEDDING;
        if (is_embedding != (i == 0)) {
            return galv_fail(err, GALV_INPUT,
                             "groups[%d]: the first group, and no other, is the "
                             "embedding",
                             (int)i);
        }
        if ((group->kind == GALV_LAYER_HEAD) != (i == model->n_groups - 1)) {
            return galv_fail(err, GALV_INPUT,
                             "groups[%d]: the last group, and no other, is the head",
                             (int)i);
        }
    }
    if (galv_model_n_blocks(model) == 0) {
        return galv_fail(err, GALV_INPUT, "the model has no transformer blocks");
    }
    if (model->seq_length < 1 || model->seq_length > (1 << 28)) {
        return galv_fail(err, GALV_INPUT, "seq_length %d is not in 1 .. %d",
                         (int)model->seq_length, 1 << 28);
    }
    if (model->tied_embeddings && model->groups[0].kind == GALV_LAYER_EMBEDDING &&
        model->groups[0].vocab_size != model->groups[model->n_groups - 1].vocab_size) {
        return galv_fail(err, GALV_INPUT,
                         "tied embeddings need the same vocab_size in embedding and "
                         "head");
    }
    return GALV_OK;
}
