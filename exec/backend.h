/* The backend: what a device must be able to do so that programs can run on it.
 *
 * The layers (layer.h) and the interpreter (interpreter.h) are written once against
 * this table of functions; host.h (MPI and a BLAS, float32) and cuda.h (NCCL, cuBLASLt,
 * bf16 with float32 master weights) fill it in.
 *
 * Order. Every function that takes a stream queues its work there and may return before
 * it is done; work of one stream runs in order. Between streams only events order:
 * `record` marks a place in a stream, `wait` makes a stream wait for it. All ranks of a
 * communicator must queue its operations in the same order, and no two ranks may queue
 * operations of two communicators that they share in different orders. What the host
 * sees (download, event_time_s, max_device_bytes) is valid after `synchronize`.
 *
 * Numbers. "element" is the type of activations and of the weights that matrix products
 * read: float32 on the host, bf16 on CUDA. Gradients of weights, master weights,
 * optimizer state, statistics and losses are float32 everywhere. Matrices are row-major
 * and dense: x[rows, cols]. Tokens are rows; a micro-batch of `n_samples` sequences of
 * `n_positions` is rows in that order.
 *
 * Errors are sticky: after the first one, functions do nothing, and `status` tells it.
 * Ranks that wait for one that failed fail too, instead of waiting for ever; what comes
 * next is galv_world_agree, free, and the end of the process (communicators are of no
 * use any more).
 * Pointers to device memory are `void *` for elements and `float *` for float32; the
 * host must not look through them. */
#ifndef GALV_EXEC_BACKEND_H
#define GALV_EXEC_BACKEND_H

#include "base/status.h"
#include "plan/operation.h"

#include <stddef.h>
#include <stdint.h>

/* Ranks that communicate with each other; made by comm_new, freed by comm_free. */
typedef struct galv_comm galv_comm;

/* A place in a stream: an index handed out by `record`. */
typedef int32_t galv_event;

typedef enum galv_element { GALV_ELEMENT, GALV_FLOAT32, GALV_INT32 } galv_element;

typedef enum galv_reduction { GALV_SUM, GALV_MAX } galv_reduction;

typedef enum galv_activation { GALV_GELU, GALV_SWIGLU } galv_activation;

/* One call of attention: queries of some tokens against keys and values of some, which
 * need not be the same (context parallelism passes keys block by block). Layouts:
 * q, out, dq [n_samples, n_queries, n_heads, qk_dim or v_dim]; k, v, dk, dv
 * [n_samples, n_keys, n_groups, qk_dim or v_dim]; lse and delta float32 [n_samples,
 * n_heads, n_queries]. Head h reads group h / (n_heads / n_groups). With `causal`, a
 * query at position p sees the keys at positions <= p: positions are int32 device
 * arrays, query_positions[n_queries], key_positions[n_keys], the same for all samples.
 * `in_order` says that both are 0, 1, 2 and so on, so that the mask is a triangle. A
 * query that sees no key has out = 0 and lse = -infinity. */
typedef struct galv_attention {
    int32_t n_samples;
    int32_t n_queries, n_keys;
    int32_t n_heads, n_groups;
    int32_t qk_dim, v_dim;
    bool causal;
    bool in_order;
    float scale; /* of the scores, usually 1 / sqrt(qk_dim) */
    const int32_t *query_positions;
    const int32_t *key_positions;
} galv_attention;

/* What AdamW needs at step `step` (from 1). Source: Loshchilov and Hutter 2019 (arXiv
 * 1711.05101), algorithm 2, with decay lr * weight_decay. */
typedef struct galv_adamw {
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    int64_t step;
    float gradient_scale; /* gradients are multiplied by it first (clipping) */
} galv_adamw;

typedef struct galv_backend galv_backend;
struct galv_backend {
    const char *name;       /* "host", "cuda" */
    char device[64];        /* "NVIDIA H200", or the processor's name */
    char libraries[160];    /* "OpenBLAS 0.3.21, Open MPI 4.1.4", for profiles */
    int32_t element_bytes;  /* 4 or 2 */
    bool moves_when_called; /* messages stand still while the rank computes */
    int32_t rank, n_ranks;  /* of the world */
    size_t device_bytes;    /* memory of the device; 0 = not limited */
    int32_t n_processors;   /* that share a product: multiprocessors of a GPU; 0 = 1 */

    void (*free)(galv_backend *b);
    /* First error since the start, with its message. */
    galv_status (*status)(galv_backend *b, galv_err *err);

    /* ---- memory (a pool: allocation is cheap and counted) ---- */

    /* NULL and a sticky GALV_NO_MEMORY when there is none; bytes are rounded up to 256.
     * A buffer may be released while queued work of `stream` still uses it: it is
     * handed out again only to work queued later on that stream. */
    void *(*allocate)(galv_backend *b, size_t bytes);
    void (*release)(galv_backend *b, void *memory, galv_stream stream);
    size_t (*allocated_bytes)(const galv_backend *b);
    size_t (*peak_bytes)(const galv_backend *b); /* since reset_peak */
    void (*reset_peak)(galv_backend *b);
    /* Held by the process on its device, the context and libraries included; 0 =
     * unknown. */
    size_t (*device_used_bytes)(galv_backend *b);
    /* Of these what is held beside the pool's memory: the context, libraries and their
     * workspaces (on a GPU those of other processes, too). 0 on the host, whose
     * predictions leave it out. */
    size_t (*beside_bytes)(galv_backend *b);

    /* Synchronous copies of n values; the host side is float32 for elements (converted
     * on the way) and for GALV_FLOAT32, int32_t for GALV_INT32. */
    void (*upload)(galv_backend *b, void *device, const void *host, size_t n,
                   galv_element type);
    void (*download)(galv_backend *b, void *host, const void *device, size_t n,
                     galv_element type);

    /* ---- order and time ---- */
    galv_event (*record)(galv_backend *b, galv_stream stream);
    void (*wait)(galv_backend *b, galv_stream stream, galv_event event);
    void (*synchronize)(galv_backend *b); /* all streams */
    /* Seconds from `reset_events` to the event. */
    double (*event_time_s)(galv_backend *b, galv_event event);
    /* Synchronizes and forgets all events; time counts from here. */
    void (*reset_events)(galv_backend *b);

    /* ---- communication; counts are of values ---- */

    /* The communicator of these ranks of the world, ascending, this rank among them.
     * Collective over those ranks; n_ranks may be 1. NULL after an error. */
    galv_comm *(*comm_new)(galv_backend *b, const int32_t *ranks, int32_t n_ranks);
    void (*comm_free)(galv_backend *b, galv_comm *comm);
    void (*all_reduce)(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                       size_t n, galv_element type, galv_reduction reduction);
    /* out[n_ranks * n] from in[n]; in may be out + index * n. */
    void (*all_gather)(galv_backend *b, galv_stream stream, galv_comm *comm, void *out,
                       const void *in, size_t n, galv_element type);
    /* out[n] the sum of everyone's in[index * n ...]; out may be in + index * n. */
    void (*reduce_scatter)(galv_backend *b, galv_stream stream, galv_comm *comm,
                           void *out, const void *in, size_t n, galv_element type);
    void (*broadcast)(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                      size_t n, galv_element type, int32_t root);
    /* To rank i of the communicator the values [send_begin[i], send_begin[i + 1]) of
     * in, from it [recv_begin[i], recv_begin[i + 1]) of out. Host arrays, copied. */
    void (*all_to_all)(galv_backend *b, galv_stream stream, galv_comm *comm, void *out,
                       const int64_t *recv_begin, const void *in,
                       const int64_t *send_begin, galv_element type);
    /* Messages between ranks of the communicator, matched in the order queued for each
     * (sender, receiver). A send never blocks other work of its rank; sends and
     * receives that are neighbours in a stream go on together if their buffers do not
     * overlap, so two ranks may both send first. */
    void (*send)(galv_backend *b, galv_stream stream, galv_comm *comm, const void *data,
                 size_t n, galv_element type, int32_t to);
    void (*recv)(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                 size_t n, galv_element type, int32_t from);

    /* ---- memory traffic ---- */
    void (*fill_zero)(galv_backend *b, galv_stream stream, void *data, size_t bytes);
    void (*copy)(galv_backend *b, galv_stream stream, void *out, const void *in,
                 size_t bytes);
    /* out[row * out_stride ...] = in[row * in_stride ...], cols values of a row. */
    void (*copy_columns)(galv_backend *b, galv_stream stream, void *out,
                         size_t out_stride, const void *in, size_t in_stride,
                         size_t rows, size_t cols, galv_element type);
    void (*convert)(galv_backend *b, galv_stream stream, void *out,
                    galv_element out_type, const void *in, galv_element in_type,
                    size_t n);
    /* out[i, :] = in[index[i], :]; index int32 device array; -1 gives zeros. */
    void (*gather_rows)(galv_backend *b, galv_stream stream, void *out, const void *in,
                        const int32_t *index, size_t rows, size_t cols,
                        galv_element type);
    /* out[index[i], :] += in[i, :]; rows of index -1 are dropped; float32 or element.
     */
    void (*scatter_add_rows)(galv_backend *b, galv_stream stream, void *out,
                             const void *in, const int32_t *index, size_t rows,
                             size_t cols, galv_element type);

    /* ---- arithmetic ---- */
    /* c[m, n] = alpha * op(a) op(b) + beta * c, op(a) [m, k], op(b) [k, n]; a and b
     * elements, c of c_type; sums in float32. */
    void (*gemm)(galv_backend *b, galv_stream stream, bool transpose_a,
                 bool transpose_b, size_t m, size_t n, size_t k, float alpha,
                 const void *a, const void *bb, float beta, void *c,
                 galv_element c_type);
    /* out = a + b_, n elements; out may be a. */
    void (*add)(galv_backend *b, galv_stream stream, void *out, const void *a,
                const void *b_, size_t n);
    void (*scale)(galv_backend *b, galv_stream stream, void *data, size_t n,
                  galv_element type, float factor);
    /* sum[n] += in[n], float32 += element or float32. */
    void (*accumulate)(galv_backend *b, galv_stream stream, float *sum, const void *in,
                       galv_element in_type, size_t n);
    /* x[row, :] += bias[:], and its gradient, dbias[:] += sum of rows of dx. */
    void (*add_bias)(galv_backend *b, galv_stream stream, void *x, const void *bias,
                     size_t rows, size_t cols);
    void (*bias_gradient)(galv_backend *b, galv_stream stream, float *dbias,
                          const void *dx, size_t rows, size_t cols);
    /* Normalisation over columns. `bias` NULL: RMSNorm (mean is not written or read,
     * may be NULL); else LayerNorm. mean, rstd float32 [rows]. */
    void (*norm)(galv_backend *b, galv_stream stream, void *y, float *mean, float *rstd,
                 const void *x, const void *weight, const void *bias, size_t rows,
                 size_t cols, float epsilon);
    /* `mean` NULL: RMSNorm. dx = gradient of x, NULL leaves it out; dweight and dbias
     * are added to, NULL leaves them out (RMSNorm has no dbias). */
    void (*norm_backward)(galv_backend *b, galv_stream stream, void *dx, float *dweight,
                          float *dbias, const void *dy, const void *x,
                          const void *weight, const float *mean, const float *rstd,
                          size_t rows, size_t cols);
    /* GALV_GELU (tanh form): y[rows, cols] of x[rows, cols]; GALV_SWIGLU: y[rows, cols]
     * = silu(x[:, :cols]) * x[:, cols:] of x[rows, 2 cols]. */
    void (*activate)(galv_backend *b, galv_stream stream, galv_activation activation,
                     void *y, const void *x, size_t rows, size_t cols);
    void (*activate_backward)(galv_backend *b, galv_stream stream,
                              galv_activation activation, void *dx, const void *dy,
                              const void *x, size_t rows, size_t cols);
    /* Rotates pairs (i, i + dim / 2) of each head of x[rows, n_heads, dim] in place by
     * the angle positions[row % n_positions] * base^(-2i / dim), or back.
     * Source: Su et al. 2021 (arXiv 2104.09864), in the half-split form of Llama. */
    void (*rotate)(galv_backend *b, galv_stream stream, void *x,
                   const int32_t *positions, size_t n_positions, size_t rows,
                   int32_t n_heads, int32_t dim, float base, bool back);

    void (*attend)(galv_backend *b, galv_stream stream, const galv_attention *shape,
                   void *out, float *lse, const void *q, const void *k, const void *v);
    /* Joins the answers over two sets of keys: out, lse := both; out float32 [as out],
     * part elements. A first call with lse = -infinity everywhere takes the part. */
    void (*attend_merge)(galv_backend *b, galv_stream stream,
                         const galv_attention *shape, float *out, float *lse,
                         const void *part_out, const float *part_lse);
    /* Gradients over one set of keys, given the final out and lse over all of them.
     * dq, dk, dv are float32 and added to. */
    void (*attend_backward)(galv_backend *b, galv_stream stream,
                            const galv_attention *shape, float *dq, float *dk,
                            float *dv, const void *dout, const void *q, const void *k,
                            const void *v, const void *out, const float *lse);
    /* The same where these are all the keys: dq, dk, dv are elements, and written. */
    void (*attend_backward_whole)(galv_backend *b, galv_stream stream,
                                  const galv_attention *shape, void *dq, void *dk,
                                  void *dv, const void *dout, const void *q,
                                  const void *k, const void *v, const void *out,
                                  const float *lse);

    /* out[row, :] = table[tokens[row] - begin, :] for begin <= token < end, else 0. */
    void (*embed)(galv_backend *b, galv_stream stream, void *out, const void *table,
                  const int32_t *tokens, int32_t begin, int32_t end, size_t rows,
                  size_t cols);
    void (*embed_backward)(galv_backend *b, galv_stream stream, float *dtable,
                           const void *dout, const int32_t *tokens, int32_t begin,
                           int32_t end, size_t rows, size_t cols);
    /* Cross-entropy over a vocabulary that is split over ranks, in steps between which
     * the ranks reduce: row_max[row] of logits; then sum[row] of exp(logit - max) and
     * target[row], the logit of the target less max where it is here, else 0; then
     * loss_sum[0] += sum over rows of log(sum) - target; and
     * dlogits = (softmax - onehot) * factor, in place. logits elements
     * [rows, end - begin]. Source: Shoeybi et al. 2019 (arXiv 1909.08053) section 3. */
    void (*softmax_max)(galv_backend *b, galv_stream stream, float *row_max,
                        const void *logits, size_t rows, size_t cols);
    void (*softmax_sum)(galv_backend *b, galv_stream stream, float *sum, float *target,
                        const void *logits, const float *row_max,
                        const int32_t *targets, int32_t begin, size_t rows,
                        size_t cols);
    void (*cross_entropy)(galv_backend *b, galv_stream stream, float *loss_sum,
                          const float *sum, const float *target, size_t rows);
    void (*cross_entropy_backward)(galv_backend *b, galv_stream stream, void *logits,
                                   const float *row_max, const float *sum,
                                   const int32_t *targets, int32_t begin, float factor,
                                   size_t rows, size_t cols);

    /* Router: of float32 logits[rows, n_experts] the topk largest, ties to the lower
     * index: experts int32 and weights float32 [rows, topk], softmax over the chosen
     * ones. Source: Jiang et al. 2024 (Mixtral, arXiv 2401.04088) section 2.1. */
    void (*route)(galv_backend *b, galv_stream stream, int32_t *experts, float *weights,
                  const float *logits, size_t rows, int32_t n_experts, int32_t topk);
    /* dlogits are written; 0 for experts that were not chosen. */
    void (*route_backward)(galv_backend *b, galv_stream stream, float *dlogits,
                           const float *dweights, const int32_t *experts,
                           const float *weights, size_t rows, int32_t n_experts,
                           int32_t topk);
    /* out[row, :] = sum over k of weights[row, k] * in[place[row, k], :]; and backward:
     * din[place[row, k], :] = weights[row, k] * dout[row, :], dweights[row, k] = the
     * product of dout[row, :] and in[place[row, k], :]. A place of -1 (a token that no
     * expert took) gives nothing and gets dweights 0. */
    void (*combine)(galv_backend *b, galv_stream stream, void *out, const void *in,
                    const int32_t *place, const float *weights, size_t rows,
                    int32_t topk, size_t cols);
    void (*combine_backward)(galv_backend *b, galv_stream stream, void *din,
                             float *dweights, const void *dout, const void *in,
                             const int32_t *place, const float *weights, size_t rows,
                             int32_t topk, size_t cols);

    /* ---- optimizer ---- */
    /* sum[0] += sum of squares of x[n]. */
    void (*sum_squares)(galv_backend *b, galv_stream stream, float *sum, const float *x,
                        size_t n);
    /* One step on n parameters; weights (elements) := master. */
    void (*adamw)(galv_backend *b, galv_stream stream, const galv_adamw *settings,
                  float *master, float *moment1, float *moment2, void *weights,
                  const float *gradient, size_t n);
};

#endif
