/* Attention on the device, backward.
 *
 * Scores are computed again from the log-sum-exp; one kernel walks over keys for dq,
 * another over queries for dk and dv, so nothing needs atomics and sums have one order,
 * at the price of 7 products instead of 5.
 * Source: Dao 2023 (arXiv 2307.08691), algorithm 2.
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_attention.cuh"

/* ---- kernels ---- */

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
    load_queries<D, TILE>(q, w.q, &w, first, head, w.qk_dim, w.wide_qk);
    load_queries<D, TILE>(dout, w.dout, &w, first, head, w.v_dim, w.wide_v);
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
        load_keys<D, STEP>(k, w.k, &w, key, group, w.qk_dim, w.wide_qk);
        load_keys<D, STEP>(v, w.v, &w, key, group, w.v_dim, w.wide_v);
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
    load_keys<D, TILE>(k, w.k, &w, first, group, w.qk_dim, w.wide_qk);
    load_keys<D, TILE>(v, w.v, &w, first, group, w.v_dim, w.wide_v);
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
            load_queries<D, STEP>(q, w.q, &w, query, head, w.qk_dim, w.wide_qk);
            load_queries<D, STEP>(dout, w.dout, &w, query, head, w.v_dim, w.wide_v);
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

/* ---- launching ---- */

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
        !galv_cuda_take_attention(c, &w, shape, q, k, v) ||
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

/* Our own kernels add to float32. */
static void attend_backward_whole(galv_backend *b, galv_stream stream,
                                  const galv_attention *shape, void *dq, void *dk,
                                  void *dv, const void *dout, const void *q,
                                  const void *k, const void *v, const void *out,
                                  const float *lse)
{
    galv_cuda *c = galv_cuda_of(b);
    size_t n_keys =
        (size_t)shape->n_samples * (size_t)shape->n_keys * (size_t)shape->n_groups;
    size_t n[3] = {count_rows(shape) * (size_t)shape->qk_dim,
                   n_keys * (size_t)shape->qk_dim, n_keys * (size_t)shape->v_dim};
    if (!galv_cuda_enter(b, stream, dq, dk, dv) ||
        (n[0] > 0 && n[1] > 0 &&
         galv_cuda_dnn_attend_backward_whole(c, stream, shape, dq, dk, dv, dout, q, k,
                                             v, out, lse))) {
        return;
    }
    float *sums[3];
    for (int i = 0; i < 3; i++) {
        sums[i] = (float *)b->allocate(b, n[i] * sizeof(float));
        b->fill_zero(b, stream, sums[i], n[i] * sizeof(float));
    }
    attend_backward(b, stream, shape, sums[0], sums[1], sums[2], dout, q, k, v, out,
                    lse);
    void *to[3] = {dq, dk, dv};
    for (int i = 0; i < 3; i++) {
        b->convert(b, stream, to[i], GALV_ELEMENT, sums[i], GALV_FLOAT32, n[i]);
        b->release(b, sums[i], stream);
    }
}

void galv_cuda_fill_attention_backward(galv_backend *b)
{
    b->attend_backward_whole = attend_backward_whole;
    b->attend_backward = attend_backward;
}
