/* Attention on the device: tiles in shared memory, products by tensor cores.
 *
 * A block of four warps has 64 queries (or, for the gradients of keys and values, 64
 * keys), a warp 16 of them. Forward: the block walks over keys, tile by tile, and keeps
 * for each query the maximum, the sum and the answer so far. Backward: scores are
 * computed again from the log-sum-exp; one kernel walks over keys for dq, another over
 * queries for dk and dv, so nothing needs atomics and sums have one order, at the price
 * of 7 products instead of 5. Tiles of keys that no query of the block sees are left
 * out. Heads of up to 256 values, padded with zeros to 64, 128 or 256.
 * Source: Dao 2023 (arXiv 2307.08691), algorithms 1 and 2.
 *
 * Fragments lie in registers as cuda_machine.cuh says. So C of two neighbouring tiles,
 * rounded to bf16, is A of the next product without moving.
 *
 * Left out: overlap of loading and computing (cp.async, TMA), Hopper's wgmma. So it is
 * well below the best known kernels, and cuDNN's go before it where there are any
 * (cuda_dnn.cu).
 *
 * State: it compiles; it has not yet run on a device. */
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

__device__ static inline size_t row_place(const attend_work *w, int head)
{
    return ((size_t)blockIdx.z * (size_t)w->n_heads + (size_t)head) *
           (size_t)w->n_queries;
}

/* ---- forward: grid (tiles of queries, heads, samples) ---- */

template <int D>
__global__ void __launch_bounds__(THREADS) attend_forward(attend_work w)
{
    CUDA_SHARED_ARRAY(unsigned char, shared);
    __shared__ int key_positions[TILE];
    __shared__ int query_positions[TILE];
    bf16 *q = (bf16 *)shared;
    bf16 *k = q + TILE * (D + PAD);
    bf16 *v = k + TILE * (D + PAD);
    constexpr int N_KEYS = TILE / 8;
    constexpr int N_OUT = D / 8;
    int lane = (int)(threadIdx.x % CUDA_WARP);
    int warp_row = (int)(threadIdx.x / CUDA_WARP) * 16;
    /* with a causal mask the last queries have most to do: they go first */
    int first = (int)(gridDim.x - 1 - blockIdx.x) * TILE;
    int head = (int)blockIdx.y;
    int group = head / (w.n_heads / w.n_groups);
    if (threadIdx.x < TILE) {
        query_positions[threadIdx.x] = query_position(&w, first + (int)threadIdx.x);
    }
    load_rows<D, TILE>(q, w.q + query_place(&w, first, w.qk_dim) + head * w.qk_dim,
                       (size_t)w.n_heads * (size_t)w.qk_dim, w.n_queries - first,
                       w.qk_dim, w.wide_qk);
    __syncthreads();
    int latest = INT32_MIN;
    for (int i = 0; i < TILE; i++) {
        latest = max(latest, query_positions[i]);
    }
    int position[2] = {query_positions[warp_row + lane / 4],
                       query_positions[warp_row + lane / 4 + 8]};
    float greatest[2] = {-INFINITY, -INFINITY};
    float sum[2] = {0, 0};
    float out[N_OUT][4] = {};
    float to_log2 = w.scale * LOG2_E;
    for (int key = 0; key < w.n_keys; key += TILE) {
        int mine =
            threadIdx.x < TILE ? key_position(&w, key + (int)threadIdx.x) : INT32_MAX;
        /* also: all have done with the tile before */
        if (__syncthreads_or(mine <= latest) == 0) {
            continue;
        }
        if (threadIdx.x < TILE) {
            key_positions[threadIdx.x] = mine;
        }
        load_rows<D, TILE>(k, w.k + key_place(&w, key, w.qk_dim) + group * w.qk_dim,
                           (size_t)w.n_groups * (size_t)w.qk_dim, w.n_keys - key,
                           w.qk_dim, w.wide_qk);
        load_rows<D, TILE>(v, w.v + key_place(&w, key, w.v_dim) + group * w.v_dim,
                           (size_t)w.n_groups * (size_t)w.v_dim, w.n_keys - key,
                           w.v_dim, w.wide_v);
        __syncthreads();
        float s[N_KEYS][4];
        multiply_rows<D, N_KEYS>(s, q, warp_row, k);
        float more[2] = {-INFINITY, -INFINITY};
#pragma unroll
        for (int n = 0; n < N_KEYS; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int at = key_positions[n * 8 + lane % 4 * 2 + e % 2];
                s[n][e] = at <= position[e / 2] ? s[n][e] * to_log2 : -INFINITY;
                more[e / 2] = fmaxf(more[e / 2], s[n][e]);
            }
        }
        float keep[2];
        float shift[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float now = fmaxf(greatest[r], row_max_of(more[r]));
            shift[r] = now == -INFINITY ? 0.0F : now; /* nothing seen so far */
            keep[r] = exp2f(greatest[r] - shift[r]);
            greatest[r] = now;
            sum[r] *= keep[r];
        }
#pragma unroll
        for (int n = 0; n < N_KEYS; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                s[n][e] = exp2f(s[n][e] - shift[e / 2]);
                sum[e / 2] += s[n][e];
            }
        }
#pragma unroll
        for (int n = 0; n < N_OUT; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                out[n][e] *= keep[e / 2];
            }
        }
        multiply_values<D, N_OUT, N_KEYS>(out, s, v, 0);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int query = first + warp_row + lane / 4 + r * 8;
        float total = row_sum_of(sum[r]);
        float inverse = total == 0 ? 0.0F : 1.0F / total;
        if (query >= w.n_queries) {
            continue;
        }
        if (lane % 4 == 0) {
            w.lse[row_place(&w, head) + (size_t)query] =
                total == 0 ? -INFINITY : (greatest[r] + log2f(total)) * LN_2;
        }
        bf16 *to = w.out + query_place(&w, query, w.v_dim) + head * w.v_dim;
#pragma unroll
        for (int n = 0; n < N_OUT; n++) {
            int col = n * 8 + lane % 4 * 2;
            if (col < w.v_dim) {
                to[col] = __float2bfloat16(out[n][r * 2] * inverse);
            }
            if (col + 1 < w.v_dim) {
                to[col + 1] = __float2bfloat16(out[n][r * 2 + 1] * inverse);
            }
        }
    }
}

/* ---- backward ---- */

/* delta = the product of dout and out of each query and head. A warp for each. */
__global__ void __launch_bounds__(THREADS)
    find_delta(float *delta, const bf16 *dout, const bf16 *out, size_t n_rows,
               int n_queries, int n_heads, int dim)
{
    int lane = (int)(threadIdx.x % CUDA_WARP);
    size_t step = (size_t)gridDim.x * (THREADS / CUDA_WARP);
    for (size_t row =
             (size_t)blockIdx.x * (THREADS / CUDA_WARP) + threadIdx.x / CUDA_WARP;
         row < n_rows; row += step) {
        float sum = 0;
        for (int i = lane; i < dim; i += CUDA_WARP) {
            size_t at = row * (size_t)dim + (size_t)i;
            sum += __bfloat162float(dout[at]) * __bfloat162float(out[at]);
        }
        sum = warp_sum(sum);
        size_t token = row / (size_t)n_heads;
        size_t sample = token / (size_t)n_queries;
        size_t place =
            (sample * (size_t)n_heads + row % (size_t)n_heads) * (size_t)n_queries +
            token % (size_t)n_queries;
        if (lane == 0) {
            delta[place] = sum;
        }
    }
}

/* In units of log 2; a query that saw nothing gets +infinity, which makes its
 * probabilities 0. */
__device__ static inline float lse_of(const attend_work *w, int head, int query)
{
    if (query >= w->n_queries) {
        return INFINITY;
    }
    float lse = w->lse[row_place(w, head) + (size_t)query];
    return lse == -INFINITY ? INFINITY : lse * LOG2_E;
}

__device__ static inline float delta_of(const attend_work *w, int head, int query)
{
    return query >= w->n_queries ? 0.0F : w->delta[row_place(w, head) + (size_t)query];
}

/* dq. Grid (tiles of queries, heads, samples). */
template <int D>
__global__ void __launch_bounds__(THREADS) attend_back_queries(attend_work w)
{
    CUDA_SHARED_ARRAY(unsigned char, shared);
    __shared__ int key_positions[STEP];
    __shared__ int query_positions[TILE];
    bf16 *q = (bf16 *)shared;
    bf16 *dout = q + TILE * (D + PAD);
    bf16 *k = dout + TILE * (D + PAD);
    bf16 *v = k + STEP * (D + PAD);
    constexpr int N_KEYS = STEP / 8;
    constexpr int N_OUT = D / 8;
    int lane = (int)(threadIdx.x % CUDA_WARP);
    int warp_row = (int)(threadIdx.x / CUDA_WARP) * 16;
    int first = (int)(gridDim.x - 1 - blockIdx.x) * TILE;
    int head = (int)blockIdx.y;
    int group = head / (w.n_heads / w.n_groups);
    if (threadIdx.x < TILE) {
        query_positions[threadIdx.x] = query_position(&w, first + (int)threadIdx.x);
    }
    load_rows<D, TILE>(q, w.q + query_place(&w, first, w.qk_dim) + head * w.qk_dim,
                       (size_t)w.n_heads * (size_t)w.qk_dim, w.n_queries - first,
                       w.qk_dim, w.wide_qk);
    load_rows<D, TILE>(dout, w.dout + query_place(&w, first, w.v_dim) + head * w.v_dim,
                       (size_t)w.n_heads * (size_t)w.v_dim, w.n_queries - first,
                       w.v_dim, w.wide_v);
    __syncthreads();
    int latest = INT32_MIN;
    for (int i = 0; i < TILE; i++) {
        latest = max(latest, query_positions[i]);
    }
    int position[2];
    float lse[2];
    float delta[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int row = warp_row + lane / 4 + r * 8;
        position[r] = query_positions[row];
        lse[r] = lse_of(&w, head, first + row);
        delta[r] = delta_of(&w, head, first + row);
    }
    float dq[N_OUT][4] = {};
    float to_log2 = w.scale * LOG2_E;
    for (int key = 0; key < w.n_keys; key += STEP) {
        int mine =
            threadIdx.x < STEP ? key_position(&w, key + (int)threadIdx.x) : INT32_MAX;
        if (__syncthreads_or(mine <= latest) == 0) {
            continue;
        }
        if (threadIdx.x < STEP) {
            key_positions[threadIdx.x] = mine;
        }
        load_rows<D, STEP>(k, w.k + key_place(&w, key, w.qk_dim) + group * w.qk_dim,
                           (size_t)w.n_groups * (size_t)w.qk_dim, w.n_keys - key,
                           w.qk_dim, w.wide_qk);
        load_rows<D, STEP>(v, w.v + key_place(&w, key, w.v_dim) + group * w.v_dim,
                           (size_t)w.n_groups * (size_t)w.v_dim, w.n_keys - key,
                           w.v_dim, w.wide_v);
        __syncthreads();
        float s[N_KEYS][4];
        float dp[N_KEYS][4];
        multiply_rows<D, N_KEYS>(s, q, warp_row, k);
        multiply_rows<D, N_KEYS>(dp, dout, warp_row, v);
#pragma unroll
        for (int n = 0; n < N_KEYS; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int at = key_positions[n * 8 + lane % 4 * 2 + e % 2];
                float p = at <= position[e / 2] ? exp2f(s[n][e] * to_log2 - lse[e / 2])
                                                : 0.0F;
                s[n][e] = p * (dp[n][e] - delta[e / 2]) * w.scale;
            }
        }
        multiply_values<D, N_OUT, N_KEYS>(dq, s, k, 0);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int query = first + warp_row + lane / 4 + r * 8;
        if (query >= w.n_queries) {
            continue;
        }
        float *to = w.dq + query_place(&w, query, w.qk_dim) + head * w.qk_dim;
#pragma unroll
        for (int n = 0; n < N_OUT; n++) {
            for (int e = 0; e < 2; e++) {
                int col = n * 8 + lane % 4 * 2 + e;
                if (col < w.qk_dim) {
                    to[col] += dq[n][r * 2 + e];
                }
            }
        }
    }
}

/* Columns of dk and dv that a block keeps in registers. */
template <int D> struct part_of {
    static constexpr int COLS = D < 128 ? D : 128;
    static constexpr int N = D / COLS;
};

/* Adds a warp's 16 rows of 8 N columns to rows of keys, from column `col`. */
template <int N>
__device__ static inline void add_to_keys(const attend_work *w, float *to,
                                          const float sums[N][4], int first_key,
                                          int group, int col, int dim)
{
    int lane = (int)(threadIdx.x % CUDA_WARP);
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int key = first_key + lane / 4 + e / 2 * 8;
            int at = col + n * 8 + lane % 4 * 2 + e % 2;
            if (key < w->n_keys && at < dim) {
                to[key_place(w, key, dim) + (size_t)(group * dim + at)] += sums[n][e];
            }
        }
    }
}

/* dk and dv. Grid (tiles of keys * parts of columns, groups, samples). Scores are
 * computed transposed: rows are keys, columns are queries. */
template <int D>
__global__ void __launch_bounds__(THREADS) attend_back_keys(attend_work w)
{
    CUDA_SHARED_ARRAY(unsigned char, shared);
    __shared__ int key_positions[TILE];
    __shared__ int query_positions[STEP];
    __shared__ float lse[STEP];
    __shared__ float delta[STEP];
    bf16 *k = (bf16 *)shared;
    bf16 *v = k + TILE * (D + PAD);
    bf16 *q = v + TILE * (D + PAD);
    bf16 *dout = q + STEP * (D + PAD);
    constexpr int N_QUERIES = STEP / 8;
    constexpr int N_OUT = part_of<D>::COLS / 8;
    int lane = (int)(threadIdx.x % CUDA_WARP);
    int warp_row = (int)(threadIdx.x / CUDA_WARP) * 16;
    int first = (int)(blockIdx.x / part_of<D>::N) * TILE;
    int col = (int)(blockIdx.x % part_of<D>::N) * part_of<D>::COLS;
    int group = (int)blockIdx.y;
    int n_shared = w.n_heads / w.n_groups; /* heads of the group */
    if (threadIdx.x < TILE) {
        key_positions[threadIdx.x] = key_position(&w, first + (int)threadIdx.x);
    }
    load_rows<D, TILE>(k, w.k + key_place(&w, first, w.qk_dim) + group * w.qk_dim,
                       (size_t)w.n_groups * (size_t)w.qk_dim, w.n_keys - first,
                       w.qk_dim, w.wide_qk);
    load_rows<D, TILE>(v, w.v + key_place(&w, first, w.v_dim) + group * w.v_dim,
                       (size_t)w.n_groups * (size_t)w.v_dim, w.n_keys - first, w.v_dim,
                       w.wide_v);
    __syncthreads();
    int earliest = INT32_MAX;
    for (int i = 0; i < TILE; i++) {
        earliest = min(earliest, key_positions[i]);
    }
    int position[2] = {key_positions[warp_row + lane / 4],
                       key_positions[warp_row + lane / 4 + 8]};
    float dk[N_OUT][4] = {};
    float dv[N_OUT][4] = {};
    float to_log2 = w.scale * LOG2_E;
    for (int head = group * n_shared; head < (group + 1) * n_shared; head++) {
        for (int query = 0; query < w.n_queries; query += STEP) {
            int mine = threadIdx.x < STEP ? query_position(&w, query + (int)threadIdx.x)
                                          : INT32_MIN;
            if (__syncthreads_or(mine >= earliest) == 0) {
                continue;
            }
            if (threadIdx.x < STEP) {
                query_positions[threadIdx.x] = mine;
                lse[threadIdx.x] = lse_of(&w, head, query + (int)threadIdx.x);
                delta[threadIdx.x] = delta_of(&w, head, query + (int)threadIdx.x);
            }
            load_rows<D, STEP>(q,
                               w.q + query_place(&w, query, w.qk_dim) + head * w.qk_dim,
                               (size_t)w.n_heads * (size_t)w.qk_dim,
                               w.n_queries - query, w.qk_dim, w.wide_qk);
            load_rows<D, STEP>(
                dout, w.dout + query_place(&w, query, w.v_dim) + head * w.v_dim,
                (size_t)w.n_heads * (size_t)w.v_dim, w.n_queries - query, w.v_dim,
                w.wide_v);
            __syncthreads();
            float p[N_QUERIES][4];
            float ds[N_QUERIES][4];
            multiply_rows<D, N_QUERIES>(p, k, warp_row, q);
            multiply_rows<D, N_QUERIES>(ds, v, warp_row, dout);
#pragma unroll
            for (int n = 0; n < N_QUERIES; n++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int at = n * 8 + lane % 4 * 2 + e % 2;
                    bool sees = position[e / 2] <= query_positions[at];
                    p[n][e] = sees ? exp2f(p[n][e] * to_log2 - lse[at]) : 0.0F;
                    ds[n][e] = p[n][e] * (ds[n][e] - delta[at]) * w.scale;
                }
            }
            multiply_values<D, N_OUT, N_QUERIES>(dv, p, dout, col);
            multiply_values<D, N_OUT, N_QUERIES>(dk, ds, q, col);
        }
    }
    add_to_keys<N_OUT>(&w, w.dk, dk, first + warp_row, group, col, w.qk_dim);
    add_to_keys<N_OUT>(&w, w.dv, dv, first + warp_row, group, col, w.v_dim);
}

/* ---- joining ---- */

/* With a and b the log-sum-exps of two sets of keys and c of both, out is
 * e^(a-c) out_a + e^(b-c) out_b; a side without keys is not read. A warp for each query
 * and head. */
__global__ void __launch_bounds__(THREADS)
    merge_rows(float *out, float *lse, const bf16 *part, const float *part_lse,
               size_t n_rows, int n_queries, int n_heads, int dim)
{
    int lane = (int)(threadIdx.x % CUDA_WARP);
    size_t step = (size_t)gridDim.x * (THREADS / CUDA_WARP);
    for (size_t row =
             (size_t)blockIdx.x * (THREADS / CUDA_WARP) + threadIdx.x / CUDA_WARP;
         row < n_rows; row += step) {
        size_t token = row / (size_t)n_heads;
        size_t place =
            (token / (size_t)n_queries * (size_t)n_heads + row % (size_t)n_heads) *
                (size_t)n_queries +
            token % (size_t)n_queries;
        float a = lse[place];
        float b = part_lse[place];
        float more = fmaxf(a, b);
        float both = isinf(more) ? more : more + log1pf(expf(fminf(a, b) - more));
        float keep = isinf(a) ? 0.0F : expf(a - both);
        float take = isinf(b) ? 0.0F : expf(b - both);
        __syncwarp(); /* all have read lse */
        for (int i = lane; i < dim; i += CUDA_WARP) {
            size_t at = row * (size_t)dim + (size_t)i;
            float ours = isinf(a) ? 0.0F : keep * out[at];
            float theirs = isinf(b) ? 0.0F : take * __bfloat162float(part[at]);
            out[at] = ours + theirs;
        }
        if (lane == 0) {
            lse[place] = both;
        }
    }
}

/* ---- launching ---- */

static bool take_shape(galv_cuda *c, attend_work *w, const galv_attention *shape,
                       const void *q, const void *k, const void *v)
{
    if (shape->qk_dim > MOST_DIM || shape->v_dim > MOST_DIM) {
        galv_cuda_fail(c, GALV_UNAVAILABLE,
                       "attention over heads of %d and %d values; at most %d can be",
                       (int)shape->qk_dim, (int)shape->v_dim, (int)MOST_DIM);
        galv_cuda_hint(c, "use --backend host, or a model with smaller heads");
        return false;
    }
    if (shape->n_heads > 65535 || shape->n_samples > 65535 || shape->n_groups < 1 ||
        shape->n_heads % shape->n_groups != 0) {
        return galv_cuda_fail(
            c, GALV_INTERNAL, "attention with %d heads in %d groups, %d samples",
            (int)shape->n_heads, (int)shape->n_groups, (int)shape->n_samples);
    }
    w->q = (const bf16 *)q;
    w->k = (const bf16 *)k;
    w->v = (const bf16 *)v;
    w->query_positions = shape->query_positions;
    w->key_positions = shape->key_positions;
    w->n_queries = shape->n_queries;
    w->n_keys = shape->n_keys;
    w->n_heads = shape->n_heads;
    w->n_groups = shape->n_groups;
    w->qk_dim = shape->qk_dim;
    w->v_dim = shape->v_dim;
    w->causal = shape->causal;
    w->scale = shape->scale;
    w->wide_qk =
        shape->qk_dim % 8 == 0 && (uintptr_t)q % 16 == 0 && (uintptr_t)k % 16 == 0;
    w->wide_v = shape->v_dim % 8 == 0 && (uintptr_t)v % 16 == 0;
    return true;
}

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
static int padded(const galv_attention *shape)
{
    int dim = shape->qk_dim > shape->v_dim ? shape->qk_dim : shape->v_dim;
    return dim <= 64 ? 64 : dim <= 128 ? 128 : 256;
}

static unsigned tiles(int32_t n)
{
    return (unsigned)((n + (TILE - 1)) / TILE);
}

static void attend(galv_backend *b, galv_stream stream, const galv_attention *shape,
                   void *out, float *lse, const void *q, const void *k, const void *v)
{
    galv_cuda *c = galv_cuda_of(b);
    attend_work w = {};
    if (!galv_cuda_enter(b, stream, out, lse) || shape->n_queries <= 0 ||
        shape->n_samples <= 0 || shape->n_heads <= 0 ||
        !take_shape(c, &w, shape, q, k, v) ||
        galv_cuda_dnn_attend(c, stream, shape, out, lse, q, k, v)) {
        return;
    }
    w.out = (bf16 *)out;
    w.lse = lse;
    dim3 grid(tiles(shape->n_queries), (unsigned)shape->n_heads,
              (unsigned)shape->n_samples);
    const char *name = "attention";
    switch (padded(shape)) {
    case 64:
        launch(c, stream, attend_forward<64>, name, grid, 3 * TILE, 64, &w);
        break;
    case 128:
        launch(c, stream, attend_forward<128>, name, grid, 3 * TILE, 128, &w);
        break;
    default:
        launch(c, stream, attend_forward<256>, name, grid, 3 * TILE, 256, &w);
        break;
    }
}

static size_t count_rows(const galv_attention *shape)
{
    return (size_t)shape->n_samples * (size_t)shape->n_queries * (size_t)shape->n_heads;
}

static void attend_merge(galv_backend *b, galv_stream stream,
                         const galv_attention *shape, float *out, float *lse,
                         const void *part_out, const float *part_lse)
{
    galv_cuda *c = galv_cuda_of(b);
    size_t n_rows = count_rows(shape);
    if (!galv_cuda_enter(b, stream, out, lse) || n_rows == 0) {
        return;
    }
    CUDA_LAUNCH(merge_rows, galv_cuda_blocks(n_rows, THREADS / CUDA_WARP), THREADS, 0,
                c->streams[stream], out, lse, (const bf16 *)part_out, part_lse, n_rows,
                shape->n_queries, shape->n_heads, shape->v_dim);
    galv_cuda_launched(c, "joining of attention");
}

template <int D>
static void launch_backward(galv_cuda *c, galv_stream stream,
                            const galv_attention *shape, const attend_work *w)
{
    dim3 by_queries(tiles(shape->n_queries), (unsigned)shape->n_heads,
                    (unsigned)shape->n_samples);
    dim3 by_keys(tiles(shape->n_keys) * part_of<D>::N, (unsigned)shape->n_groups,
                 (unsigned)shape->n_samples);
    launch(c, stream, attend_back_queries<D>, "attention, backward", by_queries,
           2 * (TILE + STEP), D, w);
    launch(c, stream, attend_back_keys<D>, "attention, backward", by_keys,
           2 * (TILE + STEP), D, w);
}

static void attend_backward(galv_backend *b, galv_stream stream,
                            const galv_attention *shape, float *dq, float *dk,
                            float *dv, const void *dout, const void *q, const void *k,
                            const void *v, const void *out, const float *lse)
{
    galv_cuda *c = galv_cuda_of(b);
    attend_work w = {};
    size_t n_rows = count_rows(shape);
    if (!galv_cuda_enter(b, stream, dq, dk, dv) || n_rows == 0 || shape->n_keys <= 0 ||
        !take_shape(c, &w, shape, q, k, v) ||
        galv_cuda_dnn_attend_backward(c, stream, shape, dq, dk, dv, dout, q, k, v, out,
                                      lse)) {
        return;
    }
    float *delta = (float *)b->allocate(b, n_rows * sizeof *delta);
    if (delta == nullptr || !galv_cuda_enter(b, stream, delta)) {
        return;
    }
    CUDA_LAUNCH(find_delta, galv_cuda_blocks(n_rows, THREADS / CUDA_WARP), THREADS, 0,
                c->streams[stream], delta, (const bf16 *)dout, (const bf16 *)out,
                n_rows, shape->n_queries, shape->n_heads, shape->v_dim);
    galv_cuda_launched(c, "attention, backward");
    w.lse = (float *)lse;
    w.dout = (const bf16 *)dout;
    w.delta = delta;
    w.dq = dq;
    w.dk = dk;
    w.dv = dv;
    w.wide_v = w.wide_v && (uintptr_t)dout % 16 == 0;
    switch (padded(shape)) {
    case 64:
        launch_backward<64>(c, stream, shape, &w);
        break;
    case 128:
        launch_backward<128>(c, stream, shape, &w);
        break;
    default:
        launch_backward<256>(c, stream, shape, &w);
        break;
    }
    b->release(b, delta, stream);
}

void galv_cuda_fill_attention(galv_backend *b)
{
    b->attend = attend;
    b->attend_merge = attend_merge;
    b->attend_backward = attend_backward;
}
