/* The strategy: how one layer is spread over the devices of its pipeline stage. */
#ifndef GALV_PLAN_STRATEGY_H
#define GALV_PLAN_STRATEGY_H

#include "base/json.h"
#include "base/status.h"
#include "plan/model.h"

#include <stdint.h>

/* Sequence parallelism beside tensor parallelism. */
typedef enum galv_sp {
    GALV_SP_NONE,     /* tp groups all-reduce activations; norms are repeated */
    GALV_SP_MEGATRON, /* all-gather and reduce-scatter; norms on 1/tp of the tokens */
    GALV_SP_ULYSSES,  /* the tp group splits the sequence and swaps it for heads by
                         all-to-all; weights are whole on each rank */
    GALV_N_SPS
} galv_sp;

typedef enum galv_recompute {
    GALV_RECOMPUTE_NONE,
    GALV_RECOMPUTE_SELECTIVE, /* only core attention */
    GALV_RECOMPUTE_FULL,      /* every layer from its input */
    GALV_N_RECOMPUTES
} galv_recompute;

extern const char *const galv_sp_names[GALV_N_SPS];
extern const char *const galv_recompute_names[GALV_N_RECOMPUTES];

/* Degrees multiply: dp * tp * cp = devices of one pipeline stage. Expert parallelism
 * lies inside dp * cp * tp, as in Megatron Core. */
typedef struct galv_strategy {
    int32_t tp; /* tensor parallel, or Ulysses degree when sp is ulysses */
    int32_t cp; /* context parallel (ring attention) */
    int32_t ep; /* expert parallel; 1 for layers without experts */
    int32_t dp; /* data parallel */
    galv_sp sp;
    int32_t zero; /* 0 none, 1 optimizer, 2 + gradients, 3 + parameters */
    galv_recompute recompute;
} galv_strategy;

#define GALV_STRATEGY_INIT                               \
    {                                                    \
        1, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE \
    }

bool galv_strategy_equal(const galv_strategy *a, const galv_strategy *b);

/* Ranks that hold the same dense parameters and so reduce their gradients together:
 * dp * cp, and * tp under Ulysses. */
int32_t galv_strategy_gradient_ranks(const galv_strategy *strategy);

/* The same for one routed expert: dp * cp * tp / ep (experts are not cut by tp). */
int32_t galv_strategy_expert_gradient_ranks(const galv_strategy *strategy);

/* May a layer be spread so? tp divides heads, query groups (or the other way round),
 * ffn and hidden size; Ulysses divides heads; ep divides experts and dp * cp * tp;
 * cp * 2 divides the sequence; and so on. Errors: GALV_USAGE, with the reason and the
 * nearest degree that works. */
galv_status galv_strategy_check(const galv_strategy *strategy,
                                const galv_layer_group *layer, int32_t seq_length,
                                galv_err *err);

galv_status galv_strategy_from_json(galv_strategy *strategy, galv_json_value value,
                                    galv_err *err);
void galv_strategy_to_json(const galv_strategy *strategy, galv_json_writer *writer);

#endif
