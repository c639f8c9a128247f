/* Memory traffic and element-wise sums of the host backend. Every type has four bytes
 * here, so copies do not look at it. */
#include "exec/host_internal.h"
#include "exec/host_math.h"

#include <string.h>

static void fill_zero(galv_backend *b, galv_stream stream, void *data, size_t bytes)
{
    if (galv_host_enter(b, stream) != NULL && bytes > 0) {
        memset(data, 0, bytes);
    }
}

static void copy(galv_backend *b, galv_stream stream, void *out, const void *in,
                 size_t bytes)
{
    if (galv_host_enter(b, stream) != NULL && bytes > 0) {
        memmove(out, in, bytes);
    }
}

static void copy_columns(galv_backend *b, galv_stream stream, void *out,
                         size_t out_stride, const void *in, size_t in_stride,
                         size_t rows, size_t cols, galv_element type)
{
    (void)type;
    if (galv_host_enter(b, stream) == NULL || cols == 0) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        memcpy((char *)out + row * out_stride * HOST_VALUE_BYTES,
               (const char *)in + row * in_stride * HOST_VALUE_BYTES,
               cols * HOST_VALUE_BYTES);
    }
}

static void convert(galv_backend *b, galv_stream stream, void *out,
                    galv_element out_type, const void *in, galv_element in_type,
                    size_t n)
{
    if (galv_host_enter(b, stream) == NULL || n == 0) {
        return;
    }
    if ((out_type == GALV_INT32) == (in_type == GALV_INT32)) {
        memmove(out, in, n * HOST_VALUE_BYTES);
    } else if (out_type == GALV_INT32) {
        for (size_t i = 0; i < n; i++) {
            ((int32_t *)out)[i] = (int32_t)((const float *)in)[i];
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            ((float *)out)[i] = (float)((const int32_t *)in)[i];
        }
    }
}

static void gather_rows(galv_backend *b, galv_stream stream, void *out, const void *in,
                        const int32_t *index, size_t rows, size_t cols,
                        galv_element type)
{
    (void)type;
    if (galv_host_enter(b, stream) == NULL || cols == 0) {
        return;
    }
    size_t row_bytes = cols * HOST_VALUE_BYTES;
    for (size_t row = 0; row < rows; row++) {
        char *to = (char *)out + row * row_bytes;
        if (index[row] < 0) {
            memset(to, 0, row_bytes);
        } else {
            memcpy(to, (const char *)in + (size_t)index[row] * row_bytes, row_bytes);
        }
    }
}

static void scatter_add_rows(galv_backend *b, galv_stream stream, void *out,
                             const void *in, const int32_t *index, size_t rows,
                             size_t cols, galv_element type)
{
    (void)type;
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        if (index[row] < 0) {
            continue;
        }
        float *to = (float *)out + (size_t)index[row] * cols;
        const float *from = (const float *)in + row * cols;
        for (size_t col = 0; col < cols; col++) {
            to[col] += from[col];
        }
    }
}

static void add(galv_backend *b, galv_stream stream, void *out, const void *a,
                const void *b_, size_t n)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    float *sum = out;
    const float *left = a;
    const float *right = b_;
    for (size_t i = 0; i < n; i++) {
        sum[i] = left[i] + right[i];
    }
}

static void scale(galv_backend *b, galv_stream stream, void *data, size_t n,
                  galv_element type, float factor)
{
    (void)type;
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    float *x = data;
    for (size_t i = 0; i < n; i++) {
        x[i] *= factor;
    }
}

static void accumulate(galv_backend *b, galv_stream stream, float *sum, const void *in,
                       galv_element in_type, size_t n)
{
    (void)in_type;
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    const float *x = in;
    for (size_t i = 0; i < n; i++) {
        sum[i] += x[i];
    }
}

static void add_bias(galv_backend *b, galv_stream stream, void *x, const void *bias,
                     size_t rows, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    const float *add_to = bias;
    for (size_t row = 0; row < rows; row++) {
        float *out = (float *)x + row * cols;
        for (size_t col = 0; col < cols; col++) {
            out[col] += add_to[col];
        }
    }
}

static void bias_gradient(galv_backend *b, galv_stream stream, float *dbias,
                          const void *dx, size_t rows, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *in = (const float *)dx + row * cols;
        for (size_t col = 0; col < cols; col++) {
            dbias[col] += in[col];
        }
    }
}

static void sum_squares(galv_backend *b, galv_stream stream, float *sum, const float *x,
                        size_t n)
{
    if (galv_host_enter(b, stream) != NULL) {
        sum[0] += (float)dot_of(x, x, n);
    }
}

void galv_host_fill_traffic(galv_backend *b)
{
    b->fill_zero = fill_zero;
    b->copy = copy;
    b->copy_columns = copy_columns;
    b->convert = convert;
    b->gather_rows = gather_rows;
    b->scatter_add_rows = scatter_add_rows;
    b->add = add;
    b->scale = scale;
    b->accumulate = accumulate;
    b->add_bias = add_bias;
    b->bias_gradient = bias_gradient;
    b->sum_squares = sum_squares;
}
