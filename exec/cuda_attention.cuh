/* What attention's kernels share, forward and backward: tiles in shared memory,
 * products by tensor cores, who sees whom, and how kernels are launched.
 *
 * A block of four warps has 64 queries (or, for the gradients of keys and values, 64
 * keys), a warp 16 of them. Fragments lie in registers as cuda_machine.cuh says. So C
 * of two neighbouring tiles, rounded to bf16, is A of the next product without moving.
 */
#ifndef GALV_EXEC_CUDA_ATTENTION_CUH
#define GALV_EXEC_CUDA_ATTENTION_CUH

#include "exec/cuda_device.cuh"

#include <math.h>

enum {
    THREADS = 128,
    TILE = 64, /* rows that a block owns; keys of a step forward */
    STEP = 32, /* rows of a step backward */
    PAD = 8,   /* values behind each row: rows begin in different banks */
    MOST_DIM = 256
};

#define LOG2_E 1.4426950408889634F
#define LN_2   0.6931471805599453F

typedef struct attend_work {
    const bf16 *q, *k, *v;
    bf16 *out;
    float *lse;
    const bf16 *dout;
    const float *delta; /* [n_samples, n_heads, n_queries] */
    float *dq, *dk, *dv;
    const int32_t *query_positions, *key_positions;
    int n_queries, n_keys, n_heads, n_groups, qk_dim, v_dim;
    bool causal;
    bool wide_qk, wide_v; /* rows can be read 16 bytes at a time */
    float scale;
} attend_work;

/* ---- tiles and fragments ---- */

/* tile[ROWS, D] := rows of dim values that lie `stride` apart, zeros beyond. */
template <int D, int ROWS>
__device__ static inline void load_rows(bf16 *tile, const bf16 *from, size_t stride,
                                        int n_rows, int dim, bool wide)
{
    if (wide) {
        constexpr int UNITS = D / 8;
        for (int i = (int)threadIdx.x; i < ROWS * UNITS; i += THREADS) {
            int row = i / UNITS;
            int col = i % UNITS * 8;
            uint4 values = make_uint4(0, 0, 0, 0);
            if (row < n_rows && col < dim) {
                values = *(const uint4 *)(from + (size_t)row * stride + col);
            }
            *(uint4 *)(tile + row * (D + PAD) + col) = values;
        }
        return;
    }
    for (int i = (int)threadIdx.x; i < ROWS * D; i += THREADS) {
        int row = i / D;
        int col = i % D;
        bool inside = row < n_rows && col < dim;
        tile[row * (D + PAD) + col] =
            inside ? from[(size_t)row * stride + col] : __float2bfloat16(0.0F);
    }
}

__device__ static inline uint32_t pair_at(const bf16 *at)
{
    return *(const uint32_t *)at;
}

__device__ static inline uint32_t pack(float low, float high)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &both, sizeof bits);
    return bits;
}

/* A of rows [row, row + 16) and columns [col, col + 16) of a tile. */
template <int D>
__device__ static inline void load_a(uint32_t a[4], const bf16 *tile, int row, int col)
{
    int lane = (int)(threadIdx.x % CUDA_WARP);
    const bf16 *at = tile + (row + lane / 4) * (D + PAD) + col + lane % 4 * 2;
    a[0] = pair_at(at);
    a[1] = pair_at(at + 8 * (D + PAD));
    a[2] = pair_at(at + 8);
    a[3] = pair_at(at + 8 * (D + PAD) + 8);
}

/* B with the columns in the tile's rows: B[k, n] = tile[row + n, col + k]. */
template <int D>
__device__ static inline void load_b_rows(uint32_t b[2], const bf16 *tile, int row,
                                          int col)
{
    int lane = (int)(threadIdx.x % CUDA_WARP);
    const bf16 *at = tile + (row + lane / 4) * (D + PAD) + col + lane % 4 * 2;
    b[0] = pair_at(at);
    b[1] = pair_at(at + 8);
}

/* B as it lies in the tile: B[k, n] = tile[row + k, col + n]. */
template <int D>
__device__ static inline void load_b(uint32_t b[2], const bf16 *tile, int row, int col)
{
    int lane = (int)(threadIdx.x % CUDA_WARP);
    machine_load_transposed(b, tile + (row + lane % 16) * (D + PAD) + col);
}

/* c[16, 8 N] = rows [row, row + 16) of `a` times the transpose of rows [0, 8 N) of `b`.
 */
template <int D, int N>
__device__ static inline void multiply_rows(float c[N][4], const bf16 *a, int row,
                                            const bf16 *b)
{
    for (int n = 0; n < N; n++) {
        for (int e = 0; e < 4; e++) {
            c[n][e] = 0;
        }
    }
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        uint32_t left[4];
        load_a<D>(left, a, row, k);
#pragma unroll
        for (int n = 0; n < N; n++) {
            uint32_t right[2];
            load_b_rows<D>(right, b, n * 8, k);
            machine_multiply(c[n], left, right);
        }
    }
}

/* c[16, 8 N] += p[16, 8 K] times rows [0, 8 K) of a tile, from its column `col`; p is
 * rounded to bf16. */
template <int D, int N, int K>
__device__ static inline void multiply_values(float c[N][4], const float p[K][4],
                                              const bf16 *tile, int col)
{
    static_assert(K % 2 == 0, "two tiles make a fragment");
#pragma unroll
    for (int k = 0; k < K; k += 2) {
        uint32_t left[4] = {pack(p[k][0], p[k][1]), pack(p[k][2], p[k][3]),
                            pack(p[k + 1][0], p[k + 1][1]),
                            pack(p[k + 1][2], p[k + 1][3])};
#pragma unroll
        for (int n = 0; n < N; n++) {
            uint32_t right[2];
            load_b<D>(right, tile, k * 8, col + n * 8);
            machine_multiply(c[n], left, right);
        }
    }
}

/* Over the four lanes that share a row of C. */
__device__ static inline float row_max_of(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffU, x, 2));
}

__device__ static inline float row_sum_of(float x)
{
    x += __shfl_xor_sync(0xffffffffU, x, 1);
    return x + __shfl_xor_sync(0xffffffffU, x, 2);
}

/* ---- who sees whom: a query sees a key whose position is not greater ---- */

__device__ static inline int query_position(const attend_work *w, int query)
{
    return query >= w->n_queries ? INT32_MIN
           : w->causal           ? w->query_positions[query]
                                 : 0;
}

__device__ static inline int key_position(const attend_work *w, int key)
{
    return key >= w->n_keys ? INT32_MAX : w->causal ? w->key_positions[key] : 0;
}

/* ---- places ---- */

__device__ static inline size_t query_place(const attend_work *w, int query, int dim)
{
    size_t token = (size_t)blockIdx.z * (size_t)w->n_queries + (size_t)query;
    return token * (size_t)w->n_heads * (size_t)dim;
}

__device__ static inline size_t key_place(const attend_work *w, int key, int dim)
{
    size_t token = (size_t)blockIdx.z * (size_t)w->n_keys + (size_t)key;
    return token * (size_t)w->n_groups * (size_t)dim;
}

/* tile := rows of one head of q or what lies like it, from query `first` on. */
template <int D, int ROWS>
__device__ static inline void load_queries(bf16 *tile, const bf16 *from,
                                           const attend_work *w, int first, int head,
                                           int dim, bool wide)
{
    load_rows<D, ROWS>(tile, from + query_place(w, first, dim) + head * dim,
                       (size_t)w->n_heads * (size_t)dim, w->n_queries - first, dim,
                       wide);
}

/* The same of k or v, of one group. */
template <int D, int ROWS>
__device__ static inline void load_keys(bf16 *tile, const bf16 *from,
                                        const attend_work *w, int first, int group,
                                        int dim, bool wide)
{
    load_rows<D, ROWS>(tile, from + key_place(w, first, dim) + group * dim,
                       (size_t)w->n_groups * (size_t)dim, w->n_keys - first, dim, wide);
}

__device__ static inline size_t row_place(const attend_work *w, int head)
{
    return ((size_t)blockIdx.z * (size_t)w->n_heads + (size_t)head) *
           (size_t)w->n_queries;
}

/* ---- launching ---- */

/* Fills in what both directions need; false, and an error, where it cannot be. */
bool galv_cuda_take_attention(galv_cuda *c, attend_work *w, const galv_attention *shape,
                              const void *q, const void *k, const void *v);

template <typename Kernel>
static void launch(galv_cuda *c, galv_stream stream, Kernel *kernel, const char *name,
                   dim3 grid, size_t n_shared_rows, int dim, const attend_work *w)
{
    size_t bytes = n_shared_rows * (size_t)(dim + PAD) * sizeof(bf16);
    if (bytes + 1024 > (size_t)c->shared_bytes) {
        galv_cuda_fail(
            c, GALV_UNAVAILABLE,
            "%s of heads of up to %d values needs %zu bytes of shared memory, "
            "%s has %d",
            name, dim, bytes, c->base.device, c->shared_bytes);
        return;
    }
    if (galv_cuda_ok(c,
                     cudaFuncSetAttribute((const void *)kernel,
                                          cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          (int)bytes),
                     name)) {
        CUDA_LAUNCH(kernel, grid, THREADS, bytes, c->streams[stream], *w);
        galv_cuda_launched(c, name);
    }
}

/* Values of a head, as the kernels are made for. */
static inline int padded(const galv_attention *shape)
{
    int dim = shape->qk_dim > shape->v_dim ? shape->qk_dim : shape->v_dim;
    return dim <= 64 ? 64 : dim <= 128 ? 128 : 256;
}

static inline unsigned tiles(int32_t n)
{
    return (unsigned)((n + (TILE - 1)) / TILE);
}

static inline size_t count_rows(const galv_attention *shape)
{
    return (size_t)shape->n_samples * (size_t)shape->n_queries * (size_t)shape->n_heads;
}

/* cuda_attention_backward.cu */
void galv_cuda_fill_attention_backward(galv_backend *b);

#endif
