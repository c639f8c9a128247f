/* Attention on the device, forward, and joining answers over several sets of keys.
 *
 * The block walks over keys, tile by tile (cuda_attention.cuh), and keeps for each
 * query the maximum, the sum and the answer so far. Tiles of keys that no query of the
 * block sees are left out. Heads of up to 256 values, padded with zeros to 64, 128 or
 * 256. Source: Dao 2023 (arXiv 2307.08691), algorithm 1.
 *
 * Left out: overlap of loading and computing (cp.async, TMA), Hopper's wgmma. So it is
 * well below the best known kernels, and cuDNN's go before it where there are any
 * (cuda_dnn.cu).
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_attention.cuh"

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
    load_queries<D, TILE>(q, w.q, &w, first, head, w.qk_dim, w.wide_qk);
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
        load_keys<D, TILE>(k, w.k, &w, key, group, w.qk_dim, w.wide_qk);
        load_keys<D, TILE>(v, w.v, &w, key, group, w.v_dim, w.wide_v);
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

bool galv_cuda_take_attention(galv_cuda *c, attend_work *w, const galv_attention *shape,
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

static void attend(galv_backend *b, galv_stream stream, const galv_attention *shape,
                   void *out, float *lse, const void *q, const void *k, const void *v)
{
    galv_cuda *c = galv_cuda_of(b);
    attend_work w = {};
    if (!galv_cuda_enter(b, stream, out, lse) || shape->n_queries <= 0 ||
        shape->n_samples <= 0 || shape->n_heads <= 0 ||
        !galv_cuda_take_attention(c, &w, shape, q, k, v) ||
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

void galv_cuda_fill_attention(galv_backend *b)
{
    b->attend = attend;
    b->attend_merge = attend_merge;
    galv_cuda_fill_attention_backward(b);
}
