/* What kind of run is it: the features by which errors are told apart and like runs are
 * found. Each feature is one word, so that kinds can be written, read and compared. */
#ifndef GALV_ACCURACY_RUN_KIND_H
#define GALV_ACCURACY_RUN_KIND_H

#include "plan/plan.h"
#include "sim/evaluate.h"

/* X(NAME, word). Order: most telling first, as accuracy/interval.c drops them from the
 * end.
 */
#define GALV_FEATURE_TABLE(X)                                                        \
    X(SOFTWARE, "software")     /* the workload's word: megatron, eager... */        \
    X(GENERATION, "generation") /* Volta, Ampere, Ada, Hopper, Blackwell, other */   \
    X(PRECISION, "precision")   /* 32-bit, 16-bit, 8-bit, 4-bit */                   \
    X(PACE, "pace")             /* launch: a layer's passes take less than           \
                                   GALV_LAUNCH_PACE_S, so the host may set the pace; \
                                   else kernel */                                    \
    X(NODES, "nodes")           /* one, several */                                   \
    X(ZERO, "zero")             /* 0, 1, 2, 3 */                                     \
    X(PIPELINE, "pipeline")     /* none, or the schedule: 1f1b, interleaved... */    \
    X(EXPERTS, "experts")       /* dense, moe */                                     \
    X(TENSOR, "tensor")         /* tp1, tp-in-node, tp-across-nodes */               \
    X(RECOMPUTE, "recompute")   /* none, selective, full, mixed */                   \
    X(ATTENTION, "attention")   /* fused, matrix */

typedef enum galv_feature {
#define GALV_ENUM(id, word) GALV_FEATURE_##id,
    GALV_FEATURE_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_FEATURES
} galv_feature;

extern const char *const galv_feature_names[GALV_N_FEATURES];

/* Forward and backward of one layer and micro-batch below which a run counts as paced
 * by launches: the host needs 0.75 to 2.5 ms for them (costmodel/data/insitu.csv). */
#define GALV_LAUNCH_PACE_S 3e-3

typedef struct galv_run_kind {
    char words[GALV_N_FEATURES][24]; /* "" = unknown */
    double host_share;   /* launches of a layer's passes over what they compute; 0 =
                            unknown. Near 1 the host sets the pace */
    double memory_share; /* of a layer's passes, what moves in proportion to the time of
                            memory-bound kernels (norms, activations, softmax, sums):
                            d ln t / d ln of the factor "memory"; 0 = unknown */
} galv_run_kind;

/* The kind of a run, from what is run and what it was predicted to take (for the pace
 * and the shares alone; `result` NULL leaves that word empty and the shares 0). Prices
 * a layer twice: some hundred microseconds. */
void galv_run_kind_init(galv_run_kind *kind, const galv_job *job, const galv_plan *plan,
                        const galv_result *result);

/* Generation of a device by its architecture: "Hopper+Grace" and "Hopper" are one.
 * A word of a static table; "other" for those without validated runs. */
const char *galv_generation(const galv_device *device);

#endif
