/* The worker: one rank at work. Its layers, what they keep of each micro-batch between
 * passes, and what layers need to compute and to communicate.
 *
 * A layer's part (plan/operation.h) is computed by one function per pass, which also
 * does the collectives that belong to it, those around it in the program included: the
 * program's operations on the TP, CP and EP streams say when they are due, and are
 * recorded when they really happen, under the same kind, part, pass, layer and
 * micro-batch. A computation that waits for one is recorded in pieces. */
#ifndef GALV_EXEC_WORKER_H
#define GALV_EXEC_WORKER_H

#include "base/arena.h"
#include "exec/backend.h"
#include "exec/batch.h"
#include "exec/layout.h"
#include "exec/parameters.h"
#include "exec/recorder.h"
#include "exec/reshard.h"
#include "exec/world.h"
#include "plan/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a layer keeps of one micro-batch. Device memory, NULL when there is none; "own"
 * rows are those held between parts, "all" those of the matrix products. */
typedef struct galv_saved {
    void *input;           /* own [rows, h], until backward is over */
    void *output;          /* own, until the next layer or a message takes it */
    void *output_gradient; /* own */
    void *input_gradient;  /* own, until the layer before or a message takes it */
    void *received, *received_gradient; /* from another stage, in its layout */
    galv_event received_at, received_gradient_at;
    /* attention */
    void *norm1; /* own; head: the normalised input */
    void *norm1_all;
    float *mean1, *rstd1;
    void *q, *k, *v;        /* of the heads here, all rows of the tp group */
    void *context, *joined; /* answers by heads; the same by own rows (Ulysses) */
    float *lse;
    void *dqkv, *attention_dy; /* for weights */
    void *middle;              /* own: the input of MLP or router */
    void *middle_gradient;
    /* MLP, shared experts */
    void *norm2, *norm2_all;
    float *mean2, *rstd2;
    void *wide, *active; /* before and after the activation function */
    void *dwide, *mlp_dy;
    /* an input gradient on its way to be reduced */
    void *reducing;
    galv_event reduced_at;
    struct galv_routed *routed; /* experts */
    /* head */
    void *logits; /* then their gradients */
    float *row_max, *sum, *target;
    int32_t *tokens; /* embedding: tokens; head: targets */
} galv_saved;

typedef struct galv_layer_work {
    int32_t index;
    bool here; /* on this stage */
    int32_t stage, chunk;
    const galv_layer_group *group;
    const galv_groups *groups;
    const galv_place *place;
    galv_layer_tensors tensors;
    size_t hidden;
    size_t own_rows;  /* held between parts */
    size_t rows;      /* of matrix products */
    size_t core_rows; /* of attention: of the tp group */
    size_t head_dim;
    size_t n_heads, n_key_heads;       /* of the projections here */
    size_t core_heads, core_key_heads; /* of attention here */
    size_t width;                      /* of the MLP here, one projection */
    size_t wide_factor;                /* 2 with a gate */
    size_t vocabulary;                 /* rows of the table here */
    galv_saved *saved;                 /* [n_micro_batches] */
} galv_layer_work;

typedef struct galv_worker {
    galv_backend *b;
    const galv_job *job;
    const galv_plan *plan;
    galv_arena *arena;
    galv_layout layout;
    galv_recorder recorder;
    galv_layer_work *layers; /* [plan->n_layers] */
    galv_reshard *reshards;  /* [n_strategies * n_strategies] */
    bool *reshard_made;
    galv_batch batch;
    int64_t first_sample; /* of the next step's batch */
    float *losses;        /* device [n_micro_batches], sums over tokens */
    float *squares;       /* device [1] */
    int64_t *counts;      /* scratch [2 * (stage_size + 1)] */
    bool rotary;
    float loss_factor; /* 1 / tokens of a step */
    galv_world *world;
    galv_comm *tied;  /* this rank and its partner that holds the table too; NULL */
    galv_adamw adamw; /* of the next step */
    double clip_norm; /* gradients are scaled down to it; 0 = never */
    bool stepped;     /* the norm is known, and ... */
    double loss, gradient_norm; /* ... these are of this step */
    /* the operation at work */
    const galv_operation *operation;
    int32_t micro_batch;
    int serves; /* pass of its collectives */
    bool open;
    galv_event opened_at;
    double slow_factor; /* computes so many times as slowly; 0 = as it can */
    galv_err err;       /* of the host's side, sticky */
} galv_worker;

/* ---- memory ---- */
void *galv_take(galv_worker *w, size_t rows, size_t cols); /* elements */
float *galv_take_floats(galv_worker *w, size_t n);
int32_t *galv_take_ints(galv_worker *w, size_t n);
/* Releases what `*memory` points to, on the compute stream, and forgets it. */
#define GALV_DROP(w, memory)                                        \
    do {                                                            \
        if ((memory) != NULL) {                                     \
            (w)->b->release((w)->b, (memory), GALV_STREAM_COMPUTE); \
            (memory) = NULL;                                        \
        }                                                           \
    } while (0)

/* ---- time ---- */
void galv_worker_open(galv_worker *w);  /* a piece of computation begins */
void galv_worker_close(galv_worker *w); /* and ends */
/* The computation waits for an event. */
void galv_worker_await(galv_worker *w, galv_event event);
/* A collective on `stream` that needs what was computed so far; then it was. */
galv_event galv_worker_begin(galv_worker *w, galv_stream stream);
galv_event galv_worker_end(galv_worker *w, galv_stream stream, int kind, int part,
                           int32_t layer, double bytes, galv_event start);

/* ---- collectives over the tp group, awaited ---- */

/* All rows from the own rows of each (sp=megatron). */
void *galv_gather_rows(galv_worker *w, const galv_layer_work *layer, int part,
                       const void *own);
/* Starts to add up what each rank of the tp group has of all rows (`partial`, given
 * up); the sum, all rows or the own ones, is there after the event. */
void *galv_start_reduction(galv_worker *w, const galv_layer_work *layer, int part,
                           void *partial, galv_event *done);
void *galv_reduce_rows(galv_worker *w, const galv_layer_work *layer, int part,
                       void *partial);

/* ---- matrix products with weights [out, in] ---- */
/* y[rows, out] = x W^T (+ bias) */
void galv_linear(galv_worker *w, const galv_layer_work *layer, void *y, const void *x,
                 galv_tensor_id weight, size_t rows, size_t n_out, size_t n_in);
/* dx[rows, in] = dy W */
void galv_linear_back(galv_worker *w, const galv_layer_work *layer, void *dx,
                      const void *dy, galv_tensor_id weight, size_t rows, size_t n_out,
                      size_t n_in);
/* dW += dy^T x */
void galv_linear_weight(galv_worker *w, const galv_layer_work *layer, const void *dy,
                        const void *x, galv_tensor_id weight, size_t rows, size_t n_out,
                        size_t n_in);
void galv_bias(galv_worker *w, const galv_layer_work *layer, void *y,
               galv_tensor_id bias, size_t rows, size_t n_out);
void galv_bias_weight(galv_worker *w, const galv_layer_work *layer, const void *dy,
                      galv_tensor_id bias, size_t rows, size_t n_out);
/* y = norm(x) over own rows; keeps mean and rstd. */
void *galv_normalize(galv_worker *w, const galv_layer_work *layer, const void *x,
                     galv_tensor_id weight, float **mean, float **rstd);
/* dx of it, gradients of its weights added up. */
void *galv_normalize_back(galv_worker *w, const galv_layer_work *layer, const void *dy,
                          const void *x, galv_tensor_id weight, const float *mean,
                          const float *rstd);

/* ---- parts; `s` is what the layer keeps of the micro-batch ---- */
void galv_attention_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_attention_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_attention_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_attention_finish(galv_worker *w, galv_layer_work *layer, galv_saved *s);

void galv_mlp_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_mlp_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_mlp_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_mlp_finish(galv_worker *w, galv_layer_work *layer, galv_saved *s);

/* Of x, all rows: the MLP up to its reduction; and back. */
void *galv_mlp_inner(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                     const void *x);
void *galv_mlp_inner_back(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                          const void *dy);

void galv_router_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_experts_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_combine_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_combine_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_experts_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_router_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_router_finish(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_experts_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_router_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_routed_drop(galv_worker *w, galv_saved *s);

void galv_embedding_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_embedding_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_embedding_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_head_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_head_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_head_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s);
void galv_head_finish(galv_worker *w, galv_layer_work *layer, galv_saved *s);

/* ---- a layer (layer.c): the parts in their order ---- */

/* Full recomputation: of a block that is to be made again, is the input alone there? */
bool galv_layer_is_dropped(const galv_worker *w, int32_t layer, int32_t micro_batch);

/* Forward of a part, or of all for GALV_PART_WHOLE. Takes the input from the layer
 * before or from the message that came. */
void galv_layer_forward(galv_worker *w, int32_t layer, int32_t micro_batch, int part,
                        bool again);
typedef enum galv_backward_kind {
    GALV_BACKWARD_BOTH,  /* gradients of inputs and of weights */
    GALV_BACKWARD_INPUT, /* of inputs alone */
    GALV_BACKWARD_HIDES  /* of inputs, their reduction left under way: the weights come
                            next, and finish it */
} galv_backward_kind;
void galv_layer_backward(galv_worker *w, int32_t layer, int32_t micro_batch, int part,
                         galv_backward_kind kind);
/* Gradients of weights; `finishes` after GALV_BACKWARD_HIDES. */
void galv_layer_weight(galv_worker *w, int32_t layer, int32_t micro_batch, int part,
                       bool finishes);
/* What a layer hands on: its output or the gradient of its input, given away. */
void *galv_layer_give_output(galv_worker *w, int32_t layer, int32_t micro_batch);
void *galv_layer_give_gradient(galv_worker *w, int32_t layer, int32_t micro_batch);

#endif
