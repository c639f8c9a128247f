/* Routing of tokens to experts on the device, and their way back.
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_device.cuh"

#include <math.h>

enum { ROW_THREADS = 128, ROWS_OF_BLOCK = ROW_THREADS / CUDA_WARP };

/* The next choice after (value, index): the largest logit, the lowest index among equal
 * ones, of those that come later in that order. -1: none (all are NaN). The same in all
 * lanes. */
__device__ static inline int next_expert(const float *logits, int n_experts,
                                         float value, int index)
{
    float best_value = -INFINITY;
    int best = -1;
    for (int i = (int)(threadIdx.x % CUDA_WARP); i < n_experts; i += CUDA_WARP) {
        float x = logits[i];
        bool later = index < 0 || x < value || (x == value && i > index);
        if (later && x == x && (best < 0 || x > best_value)) {
            best_value = x;
            best = i;
        }
    }
    for (int step = CUDA_WARP / 2; step > 0; step /= 2) {
        float x = __shfl_xor_sync(0xffffffffU, best_value, step);
        int i = __shfl_xor_sync(0xffffffffU, best, step);
        if (i >= 0 && (best < 0 || x > best_value || (x == best_value && i < best))) {
            best_value = x;
            best = i;
        }
    }
    return best;
}

/* A warp for a row. Logits that are NaN choose the first experts, so that no index lies
 * outside; the loss then tells. */
__global__ void __launch_bounds__(ROW_THREADS)
    route_rows(int32_t *experts, float *weights, const float *logits, size_t rows,
               int n_experts, int topk)
{
    int lane = (int)(threadIdx.x % CUDA_WARP);
    size_t step = (size_t)gridDim.x * ROWS_OF_BLOCK;
    for (size_t row = (size_t)blockIdx.x * ROWS_OF_BLOCK + threadIdx.x / CUDA_WARP;
         row < rows; row += step) {
        const float *in = logits + row * (size_t)n_experts;
        int32_t *chosen = experts + row * (size_t)topk;
        float *weight = weights + row * (size_t)topk;
        float value = 0;
        float greatest = 0;
        float sum = 0;
        int last = -1;
        for (int k = 0; k < topk; k++) {
            int best = next_expert(in, n_experts, value, last);
            best = best < 0 ? k : best;
            value = in[best];
            last = best;
            greatest = k == 0 ? value : greatest;
            float e = expf(value - greatest);
            sum += e;
            if (lane == 0) {
                chosen[k] = best;
                weight[k] = e;
            }
        }
        if (lane == 0) {
            for (int k = 0; k < topk; k++) {
                weight[k] /= sum;
            }
        }
    }
}

static bool fits(galv_cuda *c, int32_t n_experts, int32_t topk)
{
    if (topk < 1 || topk > n_experts) {
        return galv_cuda_fail(c, GALV_INTERNAL,
                              "more experts for a token than there are");
    }
    return true;
}

static void route(galv_backend *b, galv_stream stream, int32_t *experts, float *weights,
                  const float *logits, size_t rows, int32_t n_experts, int32_t topk)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, experts, weights) || rows == 0 ||
        !fits(c, n_experts, topk)) {
        return;
    }
    CUDA_LAUNCH(route_rows, galv_cuda_blocks(rows, ROWS_OF_BLOCK), ROW_THREADS, 0,
                c->streams[stream], experts, weights, logits, rows, n_experts, topk);
    galv_cuda_launched(c, "router");
}

/* With w the softmax over the chosen: dlogit = w (dw - sum of w dw). */
__global__ void __launch_bounds__(ROW_THREADS)
    route_back(float *dlogits, const float *dweights, const int32_t *experts,
               const float *weights, size_t rows, int n_experts, int topk)
{
    int lane = (int)(threadIdx.x % CUDA_WARP);
    size_t step = (size_t)gridDim.x * ROWS_OF_BLOCK;
    for (size_t row = (size_t)blockIdx.x * ROWS_OF_BLOCK + threadIdx.x / CUDA_WARP;
         row < rows; row += step) {
        const float *dw = dweights + row * (size_t)topk;
        const float *w = weights + row * (size_t)topk;
        const int32_t *chosen = experts + row * (size_t)topk;
        float *out = dlogits + row * (size_t)n_experts;
        float mean = 0;
        for (int k = 0; k < topk; k++) {
            mean += w[k] * dw[k];
        }
        for (int i = lane; i < n_experts; i += CUDA_WARP) {
            float value = 0;
            for (int k = 0; k < topk; k++) {
                value = chosen[k] == i ? w[k] * (dw[k] - mean) : value;
            }
            out[i] = value;
        }
    }
}

static void route_backward(galv_backend *b, galv_stream stream, float *dlogits,
                           const float *dweights, const int32_t *experts,
                           const float *weights, size_t rows, int32_t n_experts,
                           int32_t topk)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, dlogits) || rows == 0 ||
        !fits(c, n_experts, topk)) {
        return;
    }
    CUDA_LAUNCH(route_back, galv_cuda_blocks(rows, ROWS_OF_BLOCK), ROW_THREADS, 0,
                c->streams[stream], dlogits, dweights, experts, weights, rows,
                n_experts, topk);
    galv_cuda_launched(c, "router, backward");
}

__global__ void __launch_bounds__(CUDA_THREADS)
    combine_rows(bf16 *out, const bf16 *in, const int32_t *place, const float *weights,
                 size_t rows, int topk, size_t cols)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const int32_t *places = place + row * (size_t)topk;
        const float *weight = weights + row * (size_t)topk;
        for (size_t col = threadIdx.x; col < cols; col += blockDim.x) {
            float sum = 0;
            for (int k = 0; k < topk; k++) {
                if (places[k] >= 0) {
                    sum += weight[k] *
                           __bfloat162float(in[(size_t)places[k] * cols + col]);
                }
            }
            out[row * cols + col] = __float2bfloat16(sum);
        }
    }
}

static void combine(galv_backend *b, galv_stream stream, void *out, const void *in,
                    const int32_t *place, const float *weights, size_t rows,
                    int32_t topk, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, out) || rows == 0 || cols == 0) {
        return;
    }
    CUDA_LAUNCH(combine_rows, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0,
                c->streams[stream], (bf16 *)out, (const bf16 *)in, place, weights, rows,
                topk, cols);
    galv_cuda_launched(c, "combine");
}

/* A block for each choice of each row; places of choices differ, so no two write to one
 * row of din. */
__global__ void __launch_bounds__(CUDA_THREADS)
    combine_back(bf16 *din, float *dweights, const bf16 *dout, const bf16 *in,
                 const int32_t *place, const float *weights, size_t choices, int topk,
                 size_t cols)
{
    for (size_t choice = blockIdx.x; choice < choices; choice += gridDim.x) {
        const bf16 *up = dout + choice / (size_t)topk * cols;
        int32_t at = place[choice];
        float sum = 0;
        if (at >= 0) {
            const bf16 *from = in + (size_t)at * cols;
            bf16 *to = din + (size_t)at * cols;
            float weight = weights[choice];
            for (size_t col = threadIdx.x; col < cols; col += blockDim.x) {
                float d = __bfloat162float(up[col]);
                sum += d * __bfloat162float(from[col]);
                to[col] = __float2bfloat16(weight * d);
            }
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) {
            dweights[choice] = sum;
        }
    }
}

static void combine_backward(galv_backend *b, galv_stream stream, void *din,
                             float *dweights, const void *dout, const void *in,
                             const int32_t *place, const float *weights, size_t rows,
                             int32_t topk, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    size_t choices = rows * (size_t)topk;
    if (!galv_cuda_enter(b, stream, din, dweights) || choices == 0) {
        return;
    }
    CUDA_LAUNCH(combine_back, galv_cuda_blocks(choices, 1), CUDA_THREADS, 0,
                c->streams[stream], (bf16 *)din, dweights, (const bf16 *)dout,
                (const bf16 *)in, place, weights, choices, topk, cols);
    galv_cuda_launched(c, "combine, backward");
}

void galv_cuda_fill_moe(galv_backend *b)
{
    b->route = route;
    b->route_backward = route_backward;
    b->combine = combine;
    b->combine_backward = combine_backward;
}
