/* The workload: what one training step does to the model, and with which software. */
#ifndef GALV_PLAN_WORKLOAD_H
#define GALV_PLAN_WORKLOAD_H

#include "base/json.h"
#include "base/status.h"

#include <stdint.h>

#define GALV_NAME_SIZE 64

/* X(name, word, bytes of one element of a weight or an activation) */
#define GALV_PRECISION_TABLE(X)                                                \
    X(FP32, "fp32", 4)                                                         \
    X(TF32, "tf32", 4)                                                         \
    X(BF16, "bf16", 2)                                                         \
    X(FP16, "fp16", 2)                                                         \
    X(FP8, "fp8", 2)     /* matrix products in fp8, everything else in bf16 */ \
    X(MXFP8, "mxfp8", 2) /* fp8 with block scales */                           \
    X(NVFP4, "nvfp4", 2) /* matrix products in fp4 with block scales */

typedef enum galv_precision {
#define GALV_ENUM(name, word, bytes) GALV_##name,
    GALV_PRECISION_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_PRECISIONS
} galv_precision;

/* Kernel stacks, as in the validation cases. X(name, word) */
#define GALV_SOFTWARE_TABLE(X)                                             \
    X(MEGATRON, "megatron")   /* Megatron-LM/Core, NeMo: fused kernels */  \
    X(EAGER, "eager")         /* PyTorch FSDP without compilation */       \
    X(DEEPSPEED, "deepspeed") /* DeepSpeed ZeRO-3 with Megatron kernels */ \
    X(ONEFLOW, "oneflow")                                                  \
    X(OTHER, "other") /* torch.compile, vendor stacks */

typedef enum galv_software {
#define GALV_ENUM(name, word) GALV_SOFTWARE_##name,
    GALV_SOFTWARE_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_SOFTWARES
} galv_software;

/* What selective recomputation makes again under Megatron Core (its
 * --recompute-modules), as far as the layer has it. Norms are those of their own, in
 * front of latent attention and of experts: others are part of the product behind them.
 * X(name, word) */
#define GALV_RECOMPUTE_MODULE_TABLE(X)                                            \
    X(CORE_ATTN, "core_attn")     /* the square of attention that is not fused */ \
    X(LAYERNORM, "layernorm")     /* outputs of norms */                          \
    X(MLA_UP_PROJ, "mla_up_proj") /* queries, keys and values, from latents */    \
    X(MOE_ACT, "moe_act")         /* the experts' activation */

typedef enum galv_recompute_module {
#define GALV_ENUM(name, word) GALV_AGAIN_##name,
    GALV_RECOMPUTE_MODULE_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_RECOMPUTE_MODULES
} galv_recompute_module;

extern const char *const galv_recompute_module_names[GALV_N_RECOMPUTE_MODULES];
extern const char *const galv_precision_names[GALV_N_PRECISIONS];
extern const char *const galv_software_names[GALV_N_SOFTWARES];

/* Bytes of one element of a weight or an activation. */
double galv_precision_bytes(galv_precision precision);

typedef struct galv_workload {
    int32_t seq_length;            /* tokens of one sample; 0 = the model's */
    int64_t global_batch_size;     /* samples of one optimizer step */
    galv_precision precision;      /* of the matrix products */
    galv_precision grad_precision; /* of accumulated and reduced gradients:
                                      GALV_FP32 or the 16-bit one */
    bool flash_attention;          /* fused attention: no a s^2 matrix in memory */
    bool causal;                   /* causal models mask; only fused kernels skip */
    galv_software software;
    int32_t software_year;     /* 0 = current */
    double tokens_to_train;    /* 0 = not asked */
    double memory_limit_bytes; /* per device; 0 = what the device has to offer */
    double memory_limit_frac;  /* of that, where there is no limit in bytes; 0 = all */
    int32_t expert_tp;         /* ranks that each expert is cut over (Megatron Core,
                                  --expert-tensor-parallel-size); 0 = as the software does */
    bool vocab_unpadded;  /* each rank has vocab_size / tp columns of logits, rounded
                             down */
    bool launch_blocking; /* CUDA_LAUNCH_BLOCKING=1: the host waits for each kernel */
    bool fp8_params; /* weights of 8-bit products are kept in 8 bits alone (Megatron
                        Core, --fp8-param-gather; NeMo's recipes), not beside bf16 */
    bool fp8_activation_input;  /* 8-bit training keeps the input of a gated activation
                                   in  8 bits (Megatron Core,
                                   activation_func_fp8_input_store) */
    uint32_t recompute_modules; /* bits 1 << galv_recompute_module; 0 = core_attn */
} galv_workload;

/* bf16, fp32 gradients, fused attention, megatron, batch 0 (chosen later). */
#define GALV_WORKLOAD_INIT                                                             \
    {                                                                                  \
        0, 0, GALV_BF16, GALV_FP32, true, true, GALV_SOFTWARE_MEGATRON, 0, 0, 0, 0, 0, \
            false, false, false, false, 0                                              \
    }

galv_status galv_workload_check(const galv_workload *workload, galv_err *err);
galv_status galv_workload_from_json(galv_workload *workload, galv_json_value value,
                                    galv_err *err);
void galv_workload_to_json(const galv_workload *workload, galv_json_writer *writer);

#endif
