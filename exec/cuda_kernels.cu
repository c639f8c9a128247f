/* Arithmetic of the layers on the device: biases, normalisation, activations, rotation,
 * AdamW.
 *
 * Statistics of a row are summed in float32 by a block. Gradients of weights are summed
 * over rows by a block for each 32 columns, each thread every 32nd row, then the 32
 * sums: no atomics, one order. The rest is memory traffic, eight values at a time where
 * rows and addresses allow that, else one.
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_device.cuh"

#include <math.h>

/* ---- biases ---- */

template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    add_bias_rows(bf16 *x, const bf16 *bias, size_t rows, size_t cols)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        for (size_t col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
            bf16 *at = x + row * cols + col;
            cuda_pack<bf16, N> values = take_pack<N>(at);
            cuda_pack<bf16, N> more = take_pack<N>(bias + col);
#pragma unroll
            for (int i = 0; i < N; i++) {
                values.of[i] = __float2bfloat16(__bfloat162float(values.of[i]) +
                                                __bfloat162float(more.of[i]));
            }
            put_pack<N>(at, values);
        }
    }
}

static void add_bias(galv_backend *b, galv_stream stream, void *x, const void *bias,
                     size_t rows, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, x) || rows == 0 || cols == 0) {
        return;
    }
    auto *kernel = galv_cuda_packs(cols, PACK_16, x, bias) ? add_bias_rows<PACK_16>
                                                           : add_bias_rows<1>;
    CUDA_LAUNCH(kernel, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0, c->streams[stream],
                (bf16 *)x, (const bf16 *)bias, rows, cols);
    galv_cuda_launched(c, "add a bias");
}

/* Adds over rows, for each column: dy n to dweight with n = (x - mean) rstd, and dy to
 * dbias. Either may be NULL; without dweight, x, mean and rstd are not read. */
__global__ void __launch_bounds__(1024)
    sum_columns(float *dweight, float *dbias, const bf16 *dy, const bf16 *x,
                const float *mean, const float *rstd, size_t rows, size_t cols)
{
    __shared__ float weights[CUDA_WARP][CUDA_WARP + 1];
    __shared__ float biases[CUDA_WARP][CUDA_WARP + 1];
    for (size_t first = (size_t)blockIdx.x * CUDA_WARP; first < cols;
         first += (size_t)gridDim.x * CUDA_WARP) {
        size_t col = first + threadIdx.x;
        float weight = 0;
        float bias = 0;
        for (size_t row = threadIdx.y; col < cols && row < rows; row += CUDA_WARP) {
            float up = __bfloat162float(dy[row * cols + col]);
            bias += up;
            if (dweight != nullptr) {
                float centre = mean != nullptr ? mean[row] : 0.0F;
                float normal =
                    (__bfloat162float(x[row * cols + col]) - centre) * rstd[row];
                weight += up * normal;
            }
        }
        __syncthreads(); /* the former columns have been read */
        weights[threadIdx.y][threadIdx.x] = weight;
        biases[threadIdx.y][threadIdx.x] = bias;
        __syncthreads();
        /* thread (i, j) adds up column j: its sums lie in column j of the tables */
        float all_weights = warp_sum(weights[threadIdx.x][threadIdx.y]);
        float all_biases = warp_sum(biases[threadIdx.x][threadIdx.y]);
        size_t mine = first + threadIdx.y;
        if (threadIdx.x == 0 && mine < cols) {
            if (dweight != nullptr) {
                dweight[mine] += all_weights;
            }
            if (dbias != nullptr) {
                dbias[mine] += all_biases;
            }
        }
    }
}

static void launch_sum_columns(galv_cuda *c, galv_stream stream, float *dweight,
                               float *dbias, const void *dy, const void *x,
                               const float *mean, const float *rstd, size_t rows,
                               size_t cols)
{
    CUDA_LAUNCH(sum_columns, galv_cuda_blocks(cols, CUDA_WARP),
                dim3(CUDA_WARP, CUDA_WARP), 0, c->streams[stream], dweight, dbias,
                (const bf16 *)dy, (const bf16 *)x, mean, rstd, rows, cols);
    galv_cuda_launched(c, "gradients of a bias or norm");
}

static void bias_gradient(galv_backend *b, galv_stream stream, float *dbias,
                          const void *dx, size_t rows, size_t cols)
{
    if (galv_cuda_enter(b, stream, dbias) && rows > 0 && cols > 0) {
        launch_sum_columns(galv_cuda_of(b), stream, nullptr, dbias, dx, nullptr,
                           nullptr, nullptr, rows, cols);
    }
}

/* ---- normalisation ---- */

/* A block for a row. `bias` NULL: RMSNorm. The variance is taken around the mean, in a
 * second look at the row. */
template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    normalise(bf16 *y, float *mean, float *rstd, const bf16 *x, const bf16 *weight,
              const bf16 *bias, size_t rows, size_t cols, float epsilon)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const bf16 *in = x + row * cols;
        float centre = 0;
        if (bias != nullptr) {
            float sum = 0;
            for (size_t col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
                cuda_pack<bf16, N> values = take_pack<N>(in + col);
#pragma unroll
                for (int i = 0; i < N; i++) {
                    sum += __bfloat162float(values.of[i]);
                }
            }
            centre = block_sum(sum) / (float)cols;
        }
        float squares = 0;
        for (size_t col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
            cuda_pack<bf16, N> values = take_pack<N>(in + col);
#pragma unroll
            for (int i = 0; i < N; i++) {
                float d = __bfloat162float(values.of[i]) - centre;
                squares += d * d;
            }
        }
        float variance = block_sum(squares) / (float)cols;
        float inverse = 1.0F / sqrtf(variance + epsilon);
        if (threadIdx.x == 0) {
            rstd[row] = inverse;
            if (bias != nullptr) {
                mean[row] = centre;
            }
        }
        for (size_t col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
            cuda_pack<bf16, N> values = take_pack<N>(in + col);
            cuda_pack<bf16, N> scales = take_pack<N>(weight + col);
            cuda_pack<bf16, N> shifts = {};
            if (bias != nullptr) {
                shifts = take_pack<N>(bias + col);
            }
#pragma unroll
            for (int i = 0; i < N; i++) {
                float normal = (__bfloat162float(values.of[i]) - centre) * inverse;
                float shift = bias != nullptr ? __bfloat162float(shifts.of[i]) : 0.0F;
                values.of[i] =
                    __float2bfloat16(normal * __bfloat162float(scales.of[i]) + shift);
            }
            put_pack<N>(y + row * cols + col, values);
        }
    }
}

static void norm(galv_backend *b, galv_stream stream, void *y, float *mean, float *rstd,
                 const void *x, const void *weight, const void *bias, size_t rows,
                 size_t cols, float epsilon)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, y, mean, rstd) || rows == 0 || cols == 0) {
        return;
    }
    auto *kernel = galv_cuda_packs(cols, PACK_16, y, x, weight, bias)
                       ? normalise<PACK_16>
                       : normalise<1>;
    CUDA_LAUNCH(kernel, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0, c->streams[stream],
                (bf16 *)y, mean, rstd, (const bf16 *)x, (const bf16 *)weight,
                (const bf16 *)bias, rows, cols, epsilon);
    galv_cuda_launched(c, "norm");
}

/* With n = (x - mean) rstd and g = dy w: dx = rstd (g - [mean of g] - n mean of g n),
 * the bracket for LayerNorm only. dx may be dy. */
template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    normalise_back(bf16 *dx, const bf16 *dy, const bf16 *x, const bf16 *weight,
                   const float *mean, const float *rstd, size_t rows, size_t cols)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        size_t base = row * cols;
        float inverse = rstd[row];
        float centre = mean != nullptr ? mean[row] : 0.0F;
        float sum_g = 0;
        float sum_gn = 0;
        for (size_t col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
            cuda_pack<bf16, N> ups = take_pack<N>(dy + base + col);
            cuda_pack<bf16, N> values = take_pack<N>(x + base + col);
            cuda_pack<bf16, N> scales = take_pack<N>(weight + col);
#pragma unroll
            for (int i = 0; i < N; i++) {
                float g = __bfloat162float(ups.of[i]) * __bfloat162float(scales.of[i]);
                float normal = (__bfloat162float(values.of[i]) - centre) * inverse;
                sum_g += g;
                sum_gn += g * normal;
            }
        }
        float mean_g = mean != nullptr ? block_sum(sum_g) / (float)cols : 0.0F;
        float mean_gn = block_sum(sum_gn) / (float)cols;
        for (size_t col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
            cuda_pack<bf16, N> ups = take_pack<N>(dy + base + col);
            cuda_pack<bf16, N> values = take_pack<N>(x + base + col);
            cuda_pack<bf16, N> scales = take_pack<N>(weight + col);
#pragma unroll
            for (int i = 0; i < N; i++) {
                float g = __bfloat162float(ups.of[i]) * __bfloat162float(scales.of[i]);
                float normal = (__bfloat162float(values.of[i]) - centre) * inverse;
                values.of[i] =
                    __float2bfloat16(inverse * (g - mean_g - normal * mean_gn));
            }
            put_pack<N>(dx + base + col, values);
        }
    }
}

static void norm_backward(galv_backend *b, galv_stream stream, void *dx, float *dweight,
                          float *dbias, const void *dy, const void *x,
                          const void *weight, const float *mean, const float *rstd,
                          size_t rows, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, dx, dweight, dbias) || rows == 0 || cols == 0) {
        return;
    }
    if (dweight != nullptr || dbias != nullptr) {
        launch_sum_columns(c, stream, dweight, dbias, dy, x, mean, rstd, rows, cols);
    }
    if (dx != nullptr) {
        auto *kernel = galv_cuda_packs(cols, PACK_16, dx, dy, x, weight)
                           ? normalise_back<PACK_16>
                           : normalise_back<1>;
        CUDA_LAUNCH(kernel, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0,
                    c->streams[stream], (bf16 *)dx, (const bf16 *)dy, (const bf16 *)x,
                    (const bf16 *)weight, mean, rstd, rows, cols);
        galv_cuda_launched(c, "norm, backward");
    }
}

/* ---- activations ---- */

/* gelu(x) = x/2 (1 + tanh(a (x + c x^3))), a = sqrt(2/pi), c = 0.044715.
 * Source: Hendrycks and Gimpel 2016 (arXiv 1606.08415), section 2. */
#define GELU_A 0.7978845608F
#define GELU_C 0.044715F

__device__ static inline float sigmoid_of(float x)
{
    return 1.0F / (1.0F + expf(-x));
}

template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    gelu_values(bf16 *y, const bf16 *x, size_t n)
{
    for (size_t at = grid_first() * N; at < n; at += grid_step() * N) {
        cuda_pack<bf16, N> values = take_pack<N>(x + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            float v = __bfloat162float(values.of[i]);
            float t = tanhf(GELU_A * (v + GELU_C * v * v * v));
            values.of[i] = __float2bfloat16(0.5F * v * (1.0F + t));
        }
        put_pack<N>(y + at, values);
    }
}

/* With t the tanh: (1 + t)/2 + x/2 (1 - t^2) a (1 + 3 c x^2). */
template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    gelu_back(bf16 *dx, const bf16 *dy, const bf16 *x, size_t n)
{
    for (size_t at = grid_first() * N; at < n; at += grid_step() * N) {
        cuda_pack<bf16, N> values = take_pack<N>(x + at);
        cuda_pack<bf16, N> ups = take_pack<N>(dy + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            float v = __bfloat162float(values.of[i]);
            float t = tanhf(GELU_A * (v + GELU_C * v * v * v));
            float inner = GELU_A * (1.0F + 3.0F * GELU_C * v * v);
            float slope = 0.5F * (1.0F + t) + 0.5F * v * (1.0F - t * t) * inner;
            values.of[i] = __float2bfloat16(__bfloat162float(ups.of[i]) * slope);
        }
        put_pack<N>(dx + at, values);
    }
}

/* Rows by blocks: x[row, 2 cols] holds gate and up. */
template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    swiglu_rows(bf16 *y, const bf16 *x, size_t rows, size_t cols)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const bf16 *gate = x + row * 2 * cols;
        const bf16 *up = gate + cols;
        for (size_t col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
            cuda_pack<bf16, N> gates = take_pack<N>(gate + col);
            cuda_pack<bf16, N> ups = take_pack<N>(up + col);
#pragma unroll
            for (int i = 0; i < N; i++) {
                float g = __bfloat162float(gates.of[i]);
                ups.of[i] =
                    __float2bfloat16(g * sigmoid_of(g) * __bfloat162float(ups.of[i]));
            }
            put_pack<N>(y + row * cols + col, ups);
        }
    }
}

template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    swiglu_back(bf16 *dx, const bf16 *dy, const bf16 *x, size_t rows, size_t cols)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const bf16 *gate = x + row * 2 * cols;
        const bf16 *up = gate + cols;
        bf16 *dgate = dx + row * 2 * cols;
        bf16 *dup = dgate + cols;
        for (size_t col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
            cuda_pack<bf16, N> downs = take_pack<N>(dy + row * cols + col);
            cuda_pack<bf16, N> gates = take_pack<N>(gate + col);
            cuda_pack<bf16, N> ups = take_pack<N>(up + col);
#pragma unroll
            for (int i = 0; i < N; i++) {
                float d = __bfloat162float(downs.of[i]);
                float g = __bfloat162float(gates.of[i]);
                float u = __bfloat162float(ups.of[i]);
                float s = sigmoid_of(g);
                gates.of[i] = __float2bfloat16(d * u * s * (1.0F + g * (1.0F - s)));
                ups.of[i] = __float2bfloat16(d * g * s);
            }
            put_pack<N>(dgate + col, gates);
            put_pack<N>(dup + col, ups);
        }
    }
}

static void activate(galv_backend *b, galv_stream stream, galv_activation activation,
                     void *y, const void *x, size_t rows, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, y) || rows == 0 || cols == 0) {
        return;
    }
    cudaStream_t queue = c->streams[stream];
    if (activation == GALV_GELU) {
        size_t n = rows * cols;
        bool packs = galv_cuda_packs(n, PACK_16, y, x);
        auto *kernel = packs ? gelu_values<PACK_16> : gelu_values<1>;
        size_t each = CUDA_THREADS * (packs ? PACK_16 : 1);
        CUDA_LAUNCH(kernel, galv_cuda_blocks(n, each), CUDA_THREADS, 0, queue,
                    (bf16 *)y, (const bf16 *)x, n);
    } else {
        auto *kernel = galv_cuda_packs(cols, PACK_16, y, x) ? swiglu_rows<PACK_16>
                                                            : swiglu_rows<1>;
        CUDA_LAUNCH(kernel, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0, queue,
                    (bf16 *)y, (const bf16 *)x, rows, cols);
    }
    galv_cuda_launched(c, "activation");
}

static void activate_backward(galv_backend *b, galv_stream stream,
                              galv_activation activation, void *dx, const void *dy,
                              const void *x, size_t rows, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, dx) || rows == 0 || cols == 0) {
        return;
    }
    cudaStream_t queue = c->streams[stream];
    if (activation == GALV_GELU) {
        size_t n = rows * cols;
        bool packs = galv_cuda_packs(n, PACK_16, dx, dy, x);
        auto *kernel = packs ? gelu_back<PACK_16> : gelu_back<1>;
        size_t each = CUDA_THREADS * (packs ? PACK_16 : 1);
        CUDA_LAUNCH(kernel, galv_cuda_blocks(n, each), CUDA_THREADS, 0, queue,
                    (bf16 *)dx, (const bf16 *)dy, (const bf16 *)x, n);
    } else {
        auto *kernel = galv_cuda_packs(cols, PACK_16, dx, dy, x) ? swiglu_back<PACK_16>
                                                                 : swiglu_back<1>;
        CUDA_LAUNCH(kernel, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0, queue,
                    (bf16 *)dx, (const bf16 *)dy, (const bf16 *)x, rows, cols);
    }
    galv_cuda_launched(c, "activation, backward");
}

/* ---- rotation ---- */

/* A block for some rows: their angles once, in double as on the host (positions of 10^5
 * leave float32 no digits behind the point), then all heads. So many rows that all
 * threads have an angle: powers, sines and cosines in double take longer than the rows'
 * way through memory where few threads find them. Shared: at_once * half pairs (cos,
 * sin). */
template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    rotate_rows(bf16 *x, const int32_t *positions, size_t n_positions, size_t rows,
                int n_heads, int half, int at_once, double base, bool back)
{
    CUDA_SHARED_ARRAY(float2, turns);
    int n = n_heads * (half / N); /* packs of a row's first halves */
    for (size_t top = (size_t)blockIdx.x * (size_t)at_once; top < rows;
         top += (size_t)gridDim.x * (size_t)at_once) {
        int here = rows - top < (size_t)at_once ? (int)(rows - top) : at_once;
        __syncthreads(); /* the former rows have been turned */
        for (int i = (int)threadIdx.x; i < here * half; i += (int)blockDim.x) {
            double position =
                (double)positions[(top + (size_t)(i / half)) % n_positions];
            double sine = 0;
            double cosine = 0;
            sincos(position * pow(base, -(double)(i % half) / (double)half), &sine,
                   &cosine);
            turns[i] = make_float2((float)cosine, (float)(back ? -sine : sine));
        }
        __syncthreads();
        for (int row = 0; row < here; row++) {
            bf16 *heads =
                x + (top + (size_t)row) * (size_t)n_heads * (size_t)(2 * half);
            for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) {
                int pair = i % (half / N) * N;
                bf16 *first =
                    heads + (size_t)(i / (half / N)) * (size_t)(2 * half) + pair;
                cuda_pack<bf16, N> us = take_pack<N>(first);
                cuda_pack<bf16, N> vs = take_pack<N>(first + half);
#pragma unroll
                for (int e = 0; e < N; e++) {
                    float u = __bfloat162float(us.of[e]);
                    float v = __bfloat162float(vs.of[e]);
                    float2 turn = turns[row * half + pair + e];
                    us.of[e] = __float2bfloat16(u * turn.x - v * turn.y);
                    vs.of[e] = __float2bfloat16(u * turn.y + v * turn.x);
                }
                put_pack<N>(first, us);
                put_pack<N>(first + half, vs);
            }
        }
    }
}

static void rotate(galv_backend *b, galv_stream stream, void *x,
                   const int32_t *positions, size_t n_positions, size_t rows,
                   int32_t n_heads, int32_t dim, float base, bool back)
{
    galv_cuda *c = galv_cuda_of(b);
    int half = dim / 2;
    if (!galv_cuda_enter(b, stream, x) || half <= 0 || n_positions == 0 || rows == 0 ||
        n_heads <= 0) {
        return;
    }
    int at_once = half < CUDA_THREADS ? CUDA_THREADS / half : 1;
    size_t shared = (size_t)at_once * (size_t)half * sizeof(float2);
    if (dim % 2 != 0 || shared > (48U << 10) || n_heads > INT32_MAX / half) {
        galv_cuda_fail(c, GALV_UNAVAILABLE, "heads of %d values cannot be rotated",
                       (int)dim);
        return;
    }
    auto *kernel = galv_cuda_packs((size_t)half, PACK_16, x) ? rotate_rows<PACK_16>
                                                             : rotate_rows<1>;
    CUDA_LAUNCH(kernel, galv_cuda_blocks(rows, (size_t)at_once), CUDA_THREADS, shared,
                c->streams[stream], (bf16 *)x, positions, n_positions, rows, n_heads,
                half, at_once, (double)base, back);
    galv_cuda_launched(c, "rotation");
}

/* ---- optimizer ---- */

typedef struct adamw_factors {
    float beta1, beta2, correct1, correct2, keep, rate, epsilon, factor;
} adamw_factors;

/* Master weights, moments and the bf16 weights in one pass. `weights` may be NULL. */
template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    adamw_values(adamw_factors f, float *master, float *moment1, float *moment2,
                 bf16 *weights, const float *gradient, size_t n)
{
    for (size_t at = grid_first() * N; at < n; at += grid_step() * N) {
        cuda_pack<float, N> gradients = take_pack<N>(gradient + at);
        cuda_pack<float, N> first = take_pack<N>(moment1 + at);
        cuda_pack<float, N> second = take_pack<N>(moment2 + at);
        cuda_pack<float, N> values = take_pack<N>(master + at);
        cuda_pack<bf16, N> narrow;
#pragma unroll
        for (int i = 0; i < N; i++) {
            float g = gradients.of[i] * f.factor;
            float m = f.beta1 * first.of[i] + (1.0F - f.beta1) * g;
            float v = f.beta2 * second.of[i] + (1.0F - f.beta2) * g * g;
            float step = m * f.correct1 / (sqrtf(v * f.correct2) + f.epsilon);
            first.of[i] = m;
            second.of[i] = v;
            values.of[i] = f.keep * values.of[i] - f.rate * step;
            narrow.of[i] = __float2bfloat16(values.of[i]);
        }
        put_pack<N>(moment1 + at, first);
        put_pack<N>(moment2 + at, second);
        put_pack<N>(master + at, values);
        if (weights != nullptr) {
            put_pack<N>(weights + at, narrow);
        }
    }
}

static void adamw(galv_backend *b, galv_stream stream, const galv_adamw *s,
                  float *master, float *moment1, float *moment2, void *weights,
                  const float *gradient, size_t n)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, master, moment1, moment2, weights) || n == 0) {
        return;
    }
    adamw_factors f = {};
    f.beta1 = s->beta1;
    f.beta2 = s->beta2;
    f.correct1 = (float)(1 / (1 - pow((double)s->beta1, (double)s->step)));
    f.correct2 = (float)(1 / (1 - pow((double)s->beta2, (double)s->step)));
    f.keep = 1.0F - s->learning_rate * s->weight_decay;
    f.rate = s->learning_rate;
    f.epsilon = s->epsilon;
    f.factor = s->gradient_scale;
    bool packs =
        galv_cuda_packs(n, PACK_32, master, moment1, moment2, weights, gradient);
    auto *kernel = packs ? adamw_values<PACK_32> : adamw_values<1>;
    size_t each = CUDA_THREADS * (packs ? PACK_32 : 1);
    CUDA_LAUNCH(kernel, galv_cuda_blocks(n, each), CUDA_THREADS, 0, c->streams[stream],
                f, master, moment1, moment2, (bf16 *)weights, gradient, n);
    galv_cuda_launched(c, "AdamW");
}

void galv_cuda_fill_kernels(galv_backend *b)
{
    b->add_bias = add_bias;
    b->bias_gradient = bias_gradient;
    b->norm = norm;
    b->norm_backward = norm_backward;
    b->activate = activate;
    b->activate_backward = activate_backward;
    b->rotate = rotate;
    b->adamw = adamw;
}
