/* Parameters: the tensors of a layer, and the blocks of memory that hold them.
 *
 * A block is one flat run of values: all dense tensors of a layer, or its routed
 * experts, or the table that embedding and head share. Each tensor is a slice of it,
 * and knows which box of the whole tensor it is. ZeRO cuts blocks, not tensors: block
 * [n] is padded to a multiple of the ranks that hold it, and rank i of them owns the
 * i-th share.
 *
 *   zero  weights   gradient (float32)             master, moments (float32)
 *   0     whole     whole                          whole
 *   1     whole     whole; share after reduction   share
 *   2     whole     share, and while backward      share
 *                   makes it whole
 *   3     share, and whole while computing         share
 *
 * First values are a function of (seed, layer, tensor, index in the whole tensor), so
 * every plan begins with the same model.
 *
 * For checkpoints: a tensor's `whole` shape and box and the block's own range are all
 * that is needed to write and read values by global index (galv_tensor_index). */
#ifndef GALV_EXEC_PARAMETERS_H
#define GALV_EXEC_PARAMETERS_H

#include "base/arena.h"
#include "exec/layout.h"
#include "plan/model.h"

#include <stdbool.h>
#include <stdint.h>

/* X(ID, name) */
#define GALV_TENSOR_TABLE(X)                                                       \
    X(NORM1_WEIGHT, "norm1.weight") /* before attention; final norm of the head */ \
    X(NORM1_BIAS, "norm1.bias")                                                    \
    X(QUERY, "attention.query") /* [heads * d, h] */                               \
    X(KEY, "attention.key")     /* [groups * d, h], right after QUERY */           \
    X(VALUE, "attention.value") /* right after KEY */                              \
    X(QUERY_BIAS, "attention.query_bias")                                          \
    X(KEY_BIAS, "attention.key_bias")                                              \
    X(VALUE_BIAS, "attention.value_bias")                                          \
    X(PROJECTION, "attention.projection") /* [h, heads * d] */                     \
    X(PROJECTION_BIAS, "attention.projection_bias")                                \
    X(NORM2_WEIGHT, "norm2.weight")                                                \
    X(NORM2_BIAS, "norm2.bias")                                                    \
    X(GATE, "mlp.gate") /* [f, h]; dense MLP or shared experts */                  \
    X(UP, "mlp.up")     /* right after GATE */                                     \
    X(GATE_BIAS, "mlp.gate_bias")                                                  \
    X(UP_BIAS, "mlp.up_bias")                                                      \
    X(DOWN, "mlp.down") /* [h, f] */                                               \
    X(DOWN_BIAS, "mlp.down_bias")                                                  \
    X(ROUTER, "router")        /* [experts, h] */                                  \
    X(EXPERT_IN, "experts.in") /* [experts * (gate and up), h] */                  \
    X(EXPERT_IN_BIAS, "experts.in_bias")                                           \
    X(EXPERT_OUT, "experts.out")           /* [experts * h, f] */                  \
    X(EXPERT_OUT_BIAS, "experts.out_bias") /* [experts, h] */                      \
    X(TOKEN_TABLE, "tokens")               /* [vocabulary, h] */                   \
    X(POSITION_TABLE, "positions")         /* [positions, h] */                    \
    X(HEAD_BIAS, "head_bias")              /* [vocabulary] */

typedef enum galv_tensor_id {
#define GALV_ENUM(id, name) GALV_TENSOR_##id,
    GALV_TENSOR_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_TENSORS
} galv_tensor_id;

extern const char *const galv_tensor_names[GALV_N_TENSORS];

typedef struct galv_tensor {
    galv_tensor_id id;
    int32_t layer;      /* that it is named after: of a tied table layer 0 */
    int64_t rows, cols; /* whole */
    int64_t first_row, n_rows, first_col, n_cols; /* the box held here */
    int64_t offset;   /* of its first value in the block; rows follow one another */
    int32_t n_copies; /* tp ranks that hold this box ... */
    int32_t copy;     /* ... and which of them this is */
    bool sums;        /* their gradients are parts that must be added */
} galv_tensor;

/* Whole weights while they are gathered (ZeRO-3). */
typedef struct galv_gathered {
    void *weights;
    galv_event ready;
} galv_gathered;

#define GALV_MOST_GATHERED 8

/* Of a parameter's optimizer: master, moment1, moment2. */
#define GALV_OPTIMIZER_BYTES (3 * sizeof(float))

typedef struct galv_block {
    int32_t layer;
    bool experts, tied; /* else the dense part */
    bool counted;       /* in the gradient's norm: not a second copy of a tied table */
    int32_t n_tensors;
    galv_tensor tensors[GALV_N_TENSORS];
    int64_t n;                 /* values, padded */
    int64_t own_first, own_n;  /* stepped here */
    int32_t zero;              /* 0 where one rank holds it alone */
    int32_t n_holders, holder; /* ranks of `holders` and this one's index */
    galv_comm *holders;        /* NULL: this rank alone */
    galv_comm *copies, *key_copies;
    void *weights;      /* [n] elements; NULL under ZeRO-3 */
    void *weight_share; /* [own_n] under ZeRO-3 */
    galv_gathered
        gathered[GALV_MOST_GATHERED]; /* in the order in which they are used */
    int32_t n_gathered;
    float *gradient;       /* [n], NULL until it is needed under ZeRO-2 and 3 */
    float *gradient_share; /* [own_n] under ZeRO-2 and 3 */
    bool reduced;          /* in this step, once at least */
    galv_event reduced_at;
    float *master, *moment1, *moment2; /* [own_n] */
} galv_block;

/* The tensors of a layer as found by its computations. */
typedef struct galv_layer_tensors {
    galv_block *block[GALV_N_TENSORS]; /* NULL: the layer has no such tensor */
    const galv_tensor *tensor[GALV_N_TENSORS];
    galv_block *dense, *expert, *table; /* NULL where there is none */
} galv_layer_tensors;

/* Makes the blocks of layer `layer`, with memory and first values. `table` is the tied
 * table made by the embedding when this stage has one already, else NULL. Blocks are
 * owned by the arena; their device memory is released by galv_block_release. Errors:
 * GALV_UNAVAILABLE (a kind of layer that is not built), GALV_NO_MEMORY. */
galv_status galv_parameters_make(galv_layer_tensors *tensors, const galv_layout *layout,
                                 int32_t layer, galv_block *table, uint64_t seed,
                                 galv_arena *arena, galv_err *err);
void galv_block_release(galv_block *block, galv_backend *b);

/* Bytes of parameters, gradients and optimizer state on this rank while nothing
 * computes, and the largest block whole, without allocating. */
galv_status galv_parameters_bytes(double *bytes, const galv_layout *layout,
                                  int32_t layer, galv_err *err);

/* ---- use ---- */

/* Weights of a tensor: whole rows of its box, elements. NULL after an error. */
void *galv_weights(const galv_backend *b, const galv_layer_tensors *tensors,
                   galv_tensor_id id);
/* Gradient of a tensor, to be added to; made (zero) where there is none yet. */
float *galv_gradient(galv_backend *b, const galv_layer_tensors *tensors,
                     galv_tensor_id id);

/* Gathers weights on a stream: under ZeRO-3 for the next use, else in place after a
 * step in shares. */
void galv_block_gather(galv_block *block, galv_backend *b, galv_stream stream);
/* The compute stream waits for the weights that are used next (ZeRO-3). */
void galv_block_await(galv_block *block, galv_backend *b);
/* Their use is over. */
void galv_block_drop(galv_block *block, galv_backend *b);

/* Adds up gradients over all that made parts of them, on a stream. */
void galv_block_reduce(galv_block *block, galv_backend *b, galv_stream stream);
/* Adds the squares of this rank's share of the gradient to sum[0], each value of the
 * model counted on one rank only. */
void galv_block_sum_squares(galv_block *block, galv_backend *b, float *sum);
void galv_block_step(galv_block *block, galv_backend *b, const galv_adamw *settings);
/* Forgets gradients, before a step. */
void galv_block_clear(galv_block *block, galv_backend *b);
/* The gradient that a step will read: [own_n]. */
float *galv_block_own_gradient(galv_block *block);

/* First values [first, first + n) of a tensor's box. */
void galv_tensor_first_values(float *values, const galv_tensor *tensor, int64_t first,
                              int64_t n, uint64_t seed);

#endif
