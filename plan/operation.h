/* The operation: one thing that one rank does in a training iteration.
 *
 * This is the vocabulary shared by what compiles plans into programs (schedule/), what
 * prices operations (costmodel/), what replays them (sim/), what runs them (exec/), and
 * what records them (traces/timeline.h). It says what is done, not when, nor how long
 * it takes.
 *
 * An operation covers a run of consecutive layers of one kind and one strategy that no
 * other operation waits inside of: a dense chunk without communication of its own is a
 * single forward; a tensor-parallel layer is cut at its collectives. */
#ifndef GALV_PLAN_OPERATION_H
#define GALV_PLAN_OPERATION_H

#include <stdint.h>

/* X(name, word) */
#define GALV_OP_KIND_TABLE(X)                                                     \
    X(FORWARD, "forward")                                                         \
    X(BACKWARD, "backward") /* for inputs and weights together */                 \
    X(BACKWARD_INPUT, "backward_input")                                           \
    X(BACKWARD_WEIGHT, "backward_weight")                                         \
    X(RECOMPUTE, "recompute") /* forward again, before backward */                \
    X(OPTIMIZER, "optimizer")                                                     \
    X(SEND, "send") /* to the neighbouring virtual stage */                       \
    X(RECV, "recv")                                                               \
    X(ALL_REDUCE, "all_reduce")                                                   \
    X(ALL_GATHER, "all_gather")                                                   \
    X(REDUCE_SCATTER, "reduce_scatter")                                           \
    X(ALL_TO_ALL, "all_to_all")                                                   \
    X(RING_EXCHANGE, "ring_exchange") /* all key/value steps of ring attention */ \
    X(BROADCAST, "broadcast")

typedef enum galv_op_kind {
#define GALV_ENUM(name, word) GALV_OP_##name,
    GALV_OP_KIND_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_OP_KINDS
} galv_op_kind;

/* Streams of one rank: operations of one stream run one after another. X(name, word) */
#define GALV_STREAM_TABLE(X)                                    \
    X(COMPUTE, "compute")                                       \
    X(TP, "tp")      /* tensor/sequence parallel collectives */ \
    X(CP, "cp")      /* context parallel ring */                \
    X(EP, "ep")      /* expert all-to-all */                    \
    X(DP, "dp")      /* gradient reduction, ZeRO gathers */     \
    X(PP_SEND, "pp") /* pipeline messages out */                \
    X(PP_RECV, "pp_recv")

typedef enum galv_stream {
#define GALV_ENUM(name, word) GALV_STREAM_##name,
    GALV_STREAM_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_STREAMS
} galv_stream;

/* The part of a layer an operation covers. X(name, word) */
#define GALV_PART_TABLE(X)                                                            \
    X(WHOLE, "whole")         /* whole layers */                                      \
    X(ATTENTION, "attention") /* norm, QKV, core, projection, residual (and the cross \
                                 attention of a cross_decoder) */                     \
    X(MLP, "mlp")             /* norm, dense MLP, residual */                         \
    X(ROUTER, "router")       /* norm, router, permutation; shared experts */         \
    X(EXPERTS, "experts")     /* routed experts; of a reduction: their gradients */   \
    X(COMBINE, "combine")     /* un-permutation, residual */                          \
    X(DENSE, "dense")         /* of a reduction or gather: all but routed experts */  \
    X(TIED, "tied")           /* gradient of tied embeddings, first and last stage */

typedef enum galv_part {
#define GALV_ENUM(name, word) GALV_PART_##name,
    GALV_PART_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_PARTS
} galv_part;

extern const char *const galv_op_kind_names[GALV_N_OP_KINDS];
extern const char *const galv_stream_names[GALV_N_STREAMS];
extern const char *const galv_part_names[GALV_N_PARTS];

/* What is done, whatever the micro-batch: operations that differ in the micro-batch
 * alone are of one class and cost the same. */
typedef struct galv_operation {
    uint8_t kind;        /* galv_op_kind */
    uint8_t stream;      /* galv_stream */
    uint8_t part;        /* galv_part */
    uint8_t pass;        /* for collectives: the pass they serve, GALV_OP_FORWARD,
                            _BACKWARD, _BACKWARD_INPUT, _RECOMPUTE or _OPTIMIZER */
    int32_t stage;       /* pipeline stage (physical) */
    int32_t chunk;       /* chunk of that stage */
    int32_t first_layer; /* layers [first_layer, first_layer + n_layers) */
    int32_t n_layers;
    int32_t peer_stage; /* send, recv: the stage at the other end; else -1 */
} galv_operation;

/* The optimizer's step of some layers of a chunk. */
galv_operation galv_optimizer_step(int32_t stage, int32_t chunk, int32_t first_layer,
                                   int32_t n_layers);

/* One letter for terminals: F B I W R o, '>' send, '<' recv, '.' collectives. */
char galv_op_letter(int kind);

#endif
