/* Cross-entropy over a split vocabulary on the device: a block for a row. A row whose
 * part here is all -infinity keeps that maximum, as on the host.
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_device.cuh"

#include <math.h>

__global__ void __launch_bounds__(CUDA_THREADS)
    max_rows(float *row_max, const bf16 *logits, size_t rows, size_t cols)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const bf16 *in = logits + row * cols;
        float greatest = -INFINITY;
        for (size_t col = threadIdx.x; col < cols; col += blockDim.x) {
            greatest = fmaxf(greatest, __bfloat162float(in[col]));
        }
        greatest = block_max(greatest);
        if (threadIdx.x == 0) {
            row_max[row] = greatest;
        }
    }
}

static void softmax_max(galv_backend *b, galv_stream stream, float *row_max,
                        const void *logits, size_t rows, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, row_max) || rows == 0) {
        return;
    }
    CUDA_LAUNCH(max_rows, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0,
                c->streams[stream], row_max, (const bf16 *)logits, rows, cols);
    galv_cuda_launched(c, "maximum of logits");
}

/* Column of the target in this rank's part of the vocabulary, or -1. */
__device__ static inline int64_t column_of(int32_t target, int32_t begin, size_t cols)
{
    int64_t column = (int64_t)target - begin;
    return column >= 0 && (size_t)column < cols ? column : -1;
}

__global__ void __launch_bounds__(CUDA_THREADS)
    sum_rows(float *sum, float *target, const bf16 *logits, const float *row_max,
             const int32_t *targets, int32_t begin, size_t rows, size_t cols)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const bf16 *in = logits + row * cols;
        float greatest = row_max[row];
        float total = 0;
        for (size_t col = threadIdx.x; col < cols; col += blockDim.x) {
            total += expf(__bfloat162float(in[col]) - greatest);
        }
        total = block_sum(total);
        if (threadIdx.x == 0) {
            int64_t column = column_of(targets[row], begin, cols);
            sum[row] = total;
            target[row] = column >= 0 ? __bfloat162float(in[column]) - greatest : 0.0F;
        }
    }
}

static void softmax_sum(galv_backend *b, galv_stream stream, float *sum, float *target,
                        const void *logits, const float *row_max,
                        const int32_t *targets, int32_t begin, size_t rows, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, sum, target) || rows == 0) {
        return;
    }
    CUDA_LAUNCH(sum_rows, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0,
                c->streams[stream], sum, target, (const bf16 *)logits, row_max, targets,
                begin, rows, cols);
    galv_cuda_launched(c, "sum of logits");
}

/* One block, so that the sum has one order. */
__global__ void __launch_bounds__(1024)
    add_losses(float *loss_sum, const float *sum, const float *target, size_t rows)
{
    double total = 0;
    for (size_t row = threadIdx.x; row < rows; row += blockDim.x) {
        total += log((double)sum[row]) - (double)target[row];
    }
    total = block_sum_double(total);
    if (threadIdx.x == 0) {
        loss_sum[0] += (float)total;
    }
}

static void cross_entropy(galv_backend *b, galv_stream stream, float *loss_sum,
                          const float *sum, const float *target, size_t rows)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, loss_sum) || rows == 0) {
        return;
    }
    CUDA_LAUNCH(add_losses, 1, 1024, 0, c->streams[stream], loss_sum, sum, target,
                rows);
    galv_cuda_launched(c, "cross-entropy");
}

__global__ void __launch_bounds__(CUDA_THREADS)
    loss_back(bf16 *logits, const float *row_max, const float *sum,
              const int32_t *targets, int32_t begin, float factor, size_t rows,
              size_t cols)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        bf16 *x = logits + row * cols;
        float greatest = row_max[row];
        float scale = factor / sum[row];
        int64_t column = column_of(targets[row], begin, cols);
        for (size_t col = threadIdx.x; col < cols; col += blockDim.x) {
            float value = expf(__bfloat162float(x[col]) - greatest) * scale;
            value -= (int64_t)col == column ? factor : 0.0F;
            x[col] = __float2bfloat16(value);
        }
    }
}

static void cross_entropy_backward(galv_backend *b, galv_stream stream, void *logits,
                                   const float *row_max, const float *sum,
                                   const int32_t *targets, int32_t begin, float factor,
                                   size_t rows, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, logits) || rows == 0 || cols == 0) {
        return;
    }
    CUDA_LAUNCH(loss_back, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0,
                c->streams[stream], (bf16 *)logits, row_max, sum, targets, begin,
                factor, rows, cols);
    galv_cuda_launched(c, "cross-entropy, backward");
}

void galv_cuda_fill_loss(galv_backend *b)
{
    b->softmax_max = softmax_max;
    b->softmax_sum = softmax_sum;
    b->cross_entropy = cross_entropy;
    b->cross_entropy_backward = cross_entropy_backward;
}
