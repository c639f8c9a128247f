/* Layers on one rank: what a strategy leaves of them, their kernels, their bytes. */
#ifndef GALV_COSTMODEL_LAYER_INTERNAL_H
#define GALV_COSTMODEL_LAYER_INTERNAL_H

#include "costmodel/device_law_internal.h"
#include "costmodel/software_internal.h"
#include "plan/model.h"
#include "plan/operation.h"
#include "plan/plan.h"

/* One layer as one rank sees it for one micro-batch. */
typedef struct galv_layer_share {
    const galv_layer_group *group;
    const galv_workload *workload;
    double samples;
    double tp;            /* cuts weights: 1 under Ulysses */
    double tokens;        /* rows of matrix products */
    double region_tokens; /* rows of norms, residuals: tokens / tp with sp=megatron */
    double seq;           /* whole sequence */
    double cp;
    double heads, groups; /* of the core of attention, on this rank */
    double heads_out;     /* width of attention's output / v head size: a, cut by tp */
    double qk_dim, v_dim;
    double encoder_seq; /* cross attention */
    double routed_rows; /* rows of all local experts together */
    double local_experts;
    double expert_tp;   /* ranks that one expert is cut over */
    double vocab;       /* padded, on this rank */
    double head_tokens; /* rows of the logits */
    bool rotary;
    bool fused;      /* flash attention */
    bool masked;     /* causal, and the kernel skips */
    bool sums_apart; /* gradients of weights are summed by kernels of their own */
    uint32_t again;  /* modules made again before backward, bits of
                        galv_recompute_module */
} galv_layer_share;

/* Is a module made again under selective recomputation? */
static inline bool galv_layer_makes_again(const galv_layer_share *share,
                                          galv_recompute_module module)
{
    return (share->again >> module & 1) != 0;
}

/* What does not change with the strategy, for one model. */
typedef struct galv_model_facts {
    const galv_model *model;
    int32_t n_layers;
    double encoder_seq; /* tokens of the encoder, 0 = none */
    bool rotary;
    bool image; /* the head sees one token per image */
} galv_model_facts;

/* Is it neither embedding, merge nor head? */
static inline bool galv_layer_is_block(galv_layer_kind kind)
{
    return kind == GALV_LAYER_ENCODER || kind == GALV_LAYER_DECODER ||
           kind == GALV_LAYER_CROSS_DECODER || kind == GALV_LAYER_MOE_DECODER;
}

/* Is it Megatron-DeepSpeed? Megatron-LM had no ZeRO of its own before 2023. */
static inline bool galv_is_megatron_deepspeed(const galv_workload *workload,
                                              int32_t zero)
{
    return zero > 0 && galv_software_is_before(workload, GALV_CHANGE_SHARDS_ITSELF);
}

/* Is it DeepSpeed that shards, under kernels of its own or Megatron's? */
static inline bool galv_is_deepspeed(const galv_workload *workload, int32_t zero)
{
    return galv_is_megatron_deepspeed(workload, zero) ||
           (workload->software == GALV_SOFTWARE_DEEPSPEED && zero > 0);
}

/* Are bf16 gradients summed into fp32 ones by kernels of their own, and both kept?
 * Source: DeepSpeed, runtime/bf16_optimizer.py. */
static inline bool galv_sums_apart(const galv_workload *workload, int32_t zero)
{
    return galv_is_megatron_deepspeed(workload, zero) &&
           workload->precision == GALV_BF16 && workload->grad_precision <= GALV_TF32;
}

/* Bytes for each parameter that a rank steps, of the flat 16-bit gradient of its shard
 * and the fp32 copy of that. Source: DeepSpeed, stage_1_and_2.py, step; ColossalAI's
 * optimizer and InternEvo's after it. */
#define GALV_FLAT_STEP_BYTES 6.0

/* Ranks that each expert is cut over. Megatron-LM cuts experts by tp unless told
 * otherwise (--expert-tensor-parallel-size), which is told where ep takes the
 * tensor-parallel ranks too, and for experts narrower than the model, which nobody
 * cuts: DeepSeek-V2 and -V3, Qwen3. Others do not cut them. A workload that states
 * expert_tp is believed where the ranks of a stage are a multiple of ep times it. */
int32_t galv_expert_tp(const galv_workload *workload, const galv_layer_group *group,
                       const galv_strategy *strategy);

void galv_model_facts_init(galv_model_facts *facts, const galv_job *job);

void galv_layer_share_init(galv_layer_share *share, const galv_model_facts *facts,
                           const galv_workload *workload, const galv_layer_group *group,
                           const galv_strategy *strategy, double samples,
                           double imbalance);

/* The vocabulary, padded: Megatron and DeepSpeed pad to a multiple of 128 tp, "other"
 * stacks to one of 8 tp, the rest to one of tp. Source: Megatron-LM,
 * --make-vocab-size-divisible-by; flash-attention's GPT, pad_vocab_size_multiple;
 * PyTorch's compiler pads products alike (shape_padding). */
double galv_padded_vocab(double vocab, double tp, galv_software software);

/* Adds the kernels of `count` layers: `pass` is GALV_OP_FORWARD, _BACKWARD,
 * _BACKWARD_INPUT, _BACKWARD_WEIGHT or _RECOMPUTE; a part that the kind does not have
 * adds nothing; embedding and head have WHOLE only. Recomputation of the core of
 * attention (selective) is part of the backward pass. */
void galv_layer_add(galv_cost *cost, const galv_device_law *law,
                    const galv_layer_share *share, galv_recompute recompute, int part,
                    int pass, double count);

/* Seconds that the host needs to launch the kernels of a part of one layer. 0 for
 * embedding and head. */
double galv_layer_host_time(const galv_device_law *law, const galv_layer_share *share,
                            int part, int pass);

/* Seconds of work that takes the device and the host so long when neither waits for the
 * other (see host.c); at least the longer of the two. */
double galv_paced_time(const galv_device_law *law, double device_s, double host_s);

/* Does selective recomputation go by operation (see layer.c)? */
bool galv_layer_is_op_selective(const galv_layer_share *share,
                                galv_recompute recompute);

/* Bytes of activations that one layer keeps for backward, all of them kept (the core of
 * attention left out when `selective`); sum over parts = WHOLE. Not scaled by the
 * stack's factor. Source: Korthikanti et al. 2022 (arXiv 2205.05198) eqs. 1-6;
 * reference for gated layers: 12 h + 4 g d + 6 f + 4 a bytes per token. */
double galv_layer_activation_bytes(const galv_layer_share *share, bool selective,
                                   int part);

/* Bytes of the layer's input, all that full recomputation keeps: 2 s b h. */
double galv_layer_input_bytes(const galv_layer_share *share);

/* Bytes that the gradients of weights wait with when the gradients of inputs are done
 * (BACKWARD_INPUT): input and gradient of the output of every product, 32 h a token of
 * a GPT layer. Source: Qi et al. 2023 (arXiv 2401.10241), table 1. */
double galv_layer_waiting_bytes(const galv_layer_share *share, int part);

/* Bytes that exist only while a pass of the part runs: gradients of the widest
 * activations, the attention matrix recomputed, logits in 16 bits, the gradient of the
 * embedding's table. */
double galv_layer_transient_bytes(const galv_layer_share *share,
                                  galv_recompute recompute, int part, int pass);

/* Bytes of the softmax over the vocabulary kept from the head's forward to its
 * backward: 4 per logit (fp32). Source: Korthikanti et al. 2022, section 4.3. */
double galv_layer_logit_bytes(const galv_layer_share *share);

/* Shapes of the weights of products, each once. */
#define GALV_MAX_WEIGHT_SHAPES 64
typedef struct galv_weight_shapes {
    int32_t n_shapes;
    double rows[GALV_MAX_WEIGHT_SHAPES], columns[GALV_MAX_WEIGHT_SHAPES];
} galv_weight_shapes;

/* Adds the products of a block on one rank; the elements of those whose shape was not
 * seen before. 0 for embedding and head. */
double galv_layer_add_shapes(galv_weight_shapes *seen, const galv_layer_share *share);

/* Parameters of one layer on one rank before ZeRO. A tied head on a stage of its own
 * (pp > 1) holds its copy of the table. */
typedef struct galv_local_parameters {
    double dense, experts;
} galv_local_parameters;
galv_local_parameters galv_layer_local_parameters(const galv_model *model,
                                                  const galv_layer_group *group,
                                                  const galv_strategy *strategy,
                                                  const galv_workload *workload,
                                                  int32_t pp);

#endif
