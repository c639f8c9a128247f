/* Cross-entropy over a split vocabulary on the host. */
#include "exec/host_internal.h"
#include "exec/host_math.h"

#include <math.h>
#include <string.h>

static void softmax_max(galv_backend *b, galv_stream stream, float *row_max,
                        const void *logits, size_t rows, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *in = (const float *)logits + row * cols;
        row_max[row] = max_of(in, cols, -INFINITY);
    }
}

/* Column of the target in this rank's part of the vocabulary, or cols. */
static size_t column_of(int32_t target, int32_t begin, size_t cols)
{
    int64_t column = (int64_t)target - begin;
    return column >= 0 && (size_t)column < cols ? (size_t)column : cols;
}

enum { BLOCK = 512 };

static void softmax_sum(galv_backend *b, galv_stream stream, float *sum, float *target,
                        const void *logits, const float *row_max,
                        const int32_t *targets, int32_t begin, size_t rows, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *in = (const float *)logits + row * cols;
        double total = 0;
        for (size_t col = 0; col < cols; col += BLOCK) {
            float block[BLOCK];
            size_t n = cols - col < BLOCK ? cols - col : BLOCK;
            memcpy(block, in + col, n * sizeof *block);
            exp_all(block, row_max[row], n);
            total += sum_of(block, n);
        }
        sum[row] = (float)total;
        size_t column = column_of(targets[row], begin, cols);
        target[row] = column < cols ? in[column] - row_max[row] : 0.0F;
    }
}

static void cross_entropy(galv_backend *b, galv_stream stream, float *loss_sum,
                          const float *sum, const float *target, size_t rows)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    double total = 0;
    for (size_t row = 0; row < rows; row++) {
        total += log((double)sum[row]) - (double)target[row];
    }
    loss_sum[0] += (float)total;
}

static void cross_entropy_backward(galv_backend *b, galv_stream stream, void *logits,
                                   const float *row_max, const float *sum,
                                   const int32_t *targets, int32_t begin, float factor,
                                   size_t rows, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        float *x = (float *)logits + row * cols;
        float scale = factor / sum[row];
        for (size_t col = 0; col < cols; col++) {
            x[col] = exp_of(x[col] - row_max[row]) * scale;
        }
        size_t column = column_of(targets[row], begin, cols);
        if (column < cols) {
            x[column] -= factor;
        }
    }
}

void galv_host_fill_loss(galv_backend *b)
{
    b->softmax_max = softmax_max;
    b->softmax_sum = softmax_sum;
    b->cross_entropy = cross_entropy;
    b->cross_entropy_backward = cross_entropy_backward;
}
