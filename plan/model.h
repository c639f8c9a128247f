/* The model: an ordered sequence of layers, in groups of identical ones.
 *
 * Layers are numbered from 0 over the whole model, the embedding and the head
 * included: a GPT of 96 blocks has 98 layers, 0 the embedding and 97 the head. Stages
 * and strategies speak of these numbers, so nothing has to treat the ends apart.
 * "Block" means a layer that is neither embedding, patch merge nor head. */
#ifndef GALV_PLAN_MODEL_H
#define GALV_PLAN_MODEL_H

#include "base/json.h"
#include "base/status.h"

#include <stdint.h>

#define GALV_NAME_SIZE  64
#define GALV_MAX_GROUPS 16

/* X(name, word) */
#define GALV_LAYER_KIND_TABLE(X)                                                      \
    X(EMBEDDING, "embedding")             /* token (and learned position) table */    \
    X(PATCH_EMBEDDING, "patch_embedding") /* image patches to tokens (ViT, Swin) */   \
    X(PATCH_MERGE, "patch_merge")         /* 2x2 tokens to one (Swin) */              \
    X(ENCODER, "encoder")                 /* self-attention without causal mask */    \
    X(DECODER, "decoder")                 /* causal self-attention, dense MLP */      \
    X(CROSS_DECODER, "cross_decoder")     /* causal self- and cross-attention (T5) */ \
    X(MOE_DECODER, "moe_decoder")         /* causal self-attention, experts */        \
    X(HEAD, "head")                       /* final norm, logits, loss */

typedef enum galv_layer_kind {
#define GALV_ENUM(name, word) GALV_LAYER_##name,
    GALV_LAYER_KIND_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_LAYER_KINDS
} galv_layer_kind;

typedef enum galv_normalization { GALV_LAYERNORM, GALV_RMSNORM } galv_normalization;

/* Identical layers in a row. Fields that a kind does not use are 0. */
typedef struct galv_layer_group {
    galv_layer_kind kind;
    int32_t n_layers;            /* 1 for embedding, patch_embedding, merge, head */
    int32_t hidden_size;         /* h; of a patch_merge: after merging */
    int32_t ffn_hidden_size;     /* f: width of one projection of the dense MLP */
    int32_t num_attention_heads; /* a */
    int32_t num_query_groups;    /* g: key/value heads; = heads without GQA */
    int32_t kv_channels;         /* d: size of one head */
    bool gated_linear_unit;      /* SwiGLU/GeGLU: three MLP matrices, not two */
    galv_normalization normalization;
    bool linear_bias;   /* linear layers have biases (GPT, BERT) */
    bool qkv_bias;      /* only the QKV projection has one (Qwen2) */
    double dropout;     /* hidden and attention dropout; 0 = none */
    int32_t seq_length; /* tokens per sample here; 0 = the workload's */

    /* multi-head latent attention (DeepSeek); kv_lora_rank 0 = none */
    int32_t q_lora_rank; /* 0 = queries are not compressed */
    int32_t kv_lora_rank;
    int32_t qk_nope_head_dim;
    int32_t qk_rope_head_dim;
    int32_t v_head_dim;

    /* experts (moe_decoder) */
    int32_t num_experts;
    int32_t moe_router_topk;
    int32_t moe_ffn_hidden_size;        /* width of one expert's projection */
    int32_t moe_shared_ffn_hidden_size; /* all shared experts together; 0 = none */

    /* embedding and head */
    int32_t vocab_size;    /* before padding; head of a ViT: classes */
    int32_t max_positions; /* learned position table; 0 = none (RoPE, ALiBi) */
    int32_t patch_size;    /* patch_embedding: pixels a side */
    int32_t num_channels;  /* patch_embedding: colours */
} galv_layer_group;

typedef struct galv_model {
    char name[GALV_NAME_SIZE];
    char family[24];      /* gpt, llama, moe, bert, t5, vit, swin */
    int32_t seq_length;   /* usual training length, the workload's default */
    bool tied_embeddings; /* head shares the embedding's table */
    int32_t n_groups;
    galv_layer_group groups[GALV_MAX_GROUPS];
    char source[256]; /* where the shape was published */
    char as_of[16];   /* date of that source, "2024-07" */
} galv_model;

/* Words of galv_layer_kind: names[kind]. */
extern const char *const galv_layer_kind_names[GALV_N_LAYER_KINDS];

/* Layers, the embedding and head included. */
int32_t galv_model_n_layers(const galv_model *model);

/* Transformer blocks. */
int32_t galv_model_n_blocks(const galv_model *model);

/* Group of a layer, 0 <= layer < galv_model_n_layers. */
const galv_layer_group *galv_model_layer(const galv_model *model, int32_t layer);

/* First block of a kind with attention, for messages and defaults; NULL if none. */
const galv_layer_group *galv_model_first_block(const galv_model *model);

/* Size of the head of attention: kv_channels, or nope + rope under MLA. */
int32_t galv_layer_qk_head_dim(const galv_layer_group *layer);

/* Trainable parameters of one layer of a group, whole (no parallelism), split into
 * what every rank of a tensor-parallel group divides and the experts. The head of a
 * tied model has only its final norm.
 * Source: Narayanan et al. 2021 (arXiv 2104.04473) section 5.1 for GPT; the shapes of
 * the published configurations otherwise. */
typedef struct galv_layer_parameters {
    double dense;   /* everything but routed experts */
    double experts; /* all routed experts together */
} galv_layer_parameters;
galv_layer_parameters galv_layer_count_parameters(const galv_model *model,
                                                  const galv_layer_group *layer);

/* Trainable parameters of the whole model, and those active for one token. */
double galv_model_parameters(const galv_model *model);
double galv_model_active_parameters(const galv_model *model);

/* Is the model one that can be trained? Positive shapes, heads divisible by groups,
 * topk <= experts, embedding first and head last. Errors: GALV_INPUT. */
galv_status galv_model_check(const galv_model *model, galv_err *err);

/* Our JSON ("schema": "galvatron-sim/model"), strictly. Fields of a group given for the
 * model as a whole are defaults of its groups, and "num_layers" (with "kind") stands
 * for embedding, blocks, head; see plan/model_json.c. */
galv_status galv_model_from_json(galv_model *model, galv_json_value value,
                                 galv_err *err);
void galv_model_to_json(const galv_model *model, galv_json_writer *writer);

/* A Hugging Face config.json (llama, mistral, qwen2, qwen3, qwen*_moe, mixtral,
 * deepseek_v2, deepseek_v3, gpt2, gpt_neox, bloom, opt, falcon, phi3, gemma*, bert, t5,
 * vit; text_config of multi-modal ones). Unknown keys are ignored, as theirs are many;
 * an unknown model_type with llama's keys is read as llama's. */
galv_status galv_model_from_huggingface(galv_model *model, galv_json_value value,
                                        galv_err *err);

/* A Galvatron model yaml (hidden_size, num_layers, seq_length, model_size...). */
galv_status galv_model_from_galvatron(galv_model *model, galv_json_value value,
                                      galv_err *err);

/* Whatever names a model: a catalog name, a file of ours, a Hugging Face config.json,
 * a Galvatron yaml (told apart by content). Errors: GALV_USAGE for an unknown name
 * (with the nearest one), GALV_INPUT for a bad file. */
galv_status galv_model_load(galv_model *model, const char *name_or_path, galv_err *err);

/* Names a model whose file does not: after its folder if the file is a config.json,
 * else after the file, without its extension. */
void galv_model_name_from_path(galv_model *model, const char *path);

#endif
