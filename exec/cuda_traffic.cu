/* Memory traffic and element-wise sums on the device.
 *
 * Kernels stride over the grid, a pack of values per thread where addresses allow that,
 * else one. No float atomics: sums
 * over rows are made by one thread for each column, in the order of the rows, so the
 * same input gives the same bits.
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_device.cuh"

#include <stdlib.h>

static void fill_zero(galv_backend *b, galv_stream stream, void *data, size_t bytes)
{
    galv_cuda *c = galv_cuda_of(b);
    if (galv_cuda_enter(b, stream, data) && bytes > 0) {
        galv_cuda_ok(c, cudaMemsetAsync(data, 0, bytes, c->streams[stream]), "fill");
    }
}

static void copy(galv_backend *b, galv_stream stream, void *out, const void *in,
                 size_t bytes)
{
    galv_cuda *c = galv_cuda_of(b);
    if (galv_cuda_enter(b, stream, out) && bytes > 0 && out != in) {
        galv_cuda_ok(c,
                     cudaMemcpyAsync(out, in, bytes, cudaMemcpyDeviceToDevice,
                                     c->streams[stream]),
                     "copy");
    }
}

static void copy_columns(galv_backend *b, galv_stream stream, void *out,
                         size_t out_stride, const void *in, size_t in_stride,
                         size_t rows, size_t cols, galv_element type)
{
    galv_cuda *c = galv_cuda_of(b);
    size_t size = galv_cuda_bytes(type);
    if (galv_cuda_enter(b, stream, out) && rows > 0 && cols > 0) {
        galv_cuda_ok(c,
                     cudaMemcpy2DAsync(out, out_stride * size, in, in_stride * size,
                                       cols * size, rows, cudaMemcpyDeviceToDevice,
                                       c->streams[stream]),
                     "copy columns");
    }
}

/* ---- conversion ---- */

template <int N, typename Out, typename In>
__global__ void __launch_bounds__(CUDA_THREADS)
    convert_floats(Out *out, const In *in, size_t n)
{
    for (size_t at = grid_first() * N; at < n; at += grid_step() * N) {
        cuda_pack<In, N> values = take_pack<N>(in + at);
        cuda_pack<Out, N> made;
#pragma unroll
        for (int i = 0; i < N; i++) {
            put_value(made.of + i, value_of(values.of[i]));
        }
        put_pack<N>(out + at, made);
    }
}

template <typename Out, typename In>
static void launch_conversion(cudaStream_t queue, Out *out, const In *in, size_t n)
{
    bool packs = galv_cuda_packs(n, PACK_32, out, in);
    auto *kernel =
        packs ? convert_floats<PACK_32, Out, In> : convert_floats<1, Out, In>;
    size_t each = CUDA_THREADS * (packs ? PACK_32 : 1);
    CUDA_LAUNCH(kernel, galv_cuda_blocks(n, each), CUDA_THREADS, 0, queue, out, in, n);
}

template <typename In>
__global__ void __launch_bounds__(CUDA_THREADS)
    convert_to_int(int32_t *out, const In *in, size_t n)
{
    for (size_t i = grid_first(); i < n; i += grid_step()) {
        out[i] = (int32_t)value_of(in[i]);
    }
}

template <typename Out>
__global__ void __launch_bounds__(CUDA_THREADS)
    convert_from_int(Out *out, const int32_t *in, size_t n)
{
    for (size_t i = grid_first(); i < n; i += grid_step()) {
        put_value(out + i, (float)in[i]);
    }
}

static void convert(galv_backend *b, galv_stream stream, void *out,
                    galv_element out_type, const void *in, galv_element in_type,
                    size_t n)
{
    galv_cuda *c = galv_cuda_of(b);
    if (out_type == in_type) {
        copy(b, stream, out, in, n * galv_cuda_bytes(in_type));
        return;
    }
    if (!galv_cuda_enter(b, stream, out) || n == 0) {
        return;
    }
    unsigned blocks = galv_cuda_blocks(n, CUDA_THREADS);
    cudaStream_t queue = c->streams[stream];
    if (out_type == GALV_FLOAT32 && in_type == GALV_ELEMENT) {
        launch_conversion(queue, (float *)out, (const bf16 *)in, n);
    } else if (out_type == GALV_ELEMENT && in_type == GALV_FLOAT32) {
        launch_conversion(queue, (bf16 *)out, (const float *)in, n);
    } else if (out_type == GALV_INT32 && in_type == GALV_FLOAT32) {
        CUDA_LAUNCH(convert_to_int, blocks, CUDA_THREADS, 0, queue, (int32_t *)out,
                    (const float *)in, n);
    } else if (out_type == GALV_INT32) {
        CUDA_LAUNCH(convert_to_int, blocks, CUDA_THREADS, 0, queue, (int32_t *)out,
                    (const bf16 *)in, n);
    } else if (out_type == GALV_FLOAT32) {
        CUDA_LAUNCH(convert_from_int, blocks, CUDA_THREADS, 0, queue, (float *)out,
                    (const int32_t *)in, n);
    } else {
        CUDA_LAUNCH(convert_from_int, blocks, CUDA_THREADS, 0, queue, (bf16 *)out,
                    (const int32_t *)in, n);
    }
    galv_cuda_launched(c, "convert");
}

/* ---- rows ---- */

/* A block for a row; `Unit` is the widest type that all rows are made of and aligned
 * to. */
template <typename Unit>
__global__ void __launch_bounds__(CUDA_THREADS)
    gather(Unit *out, const Unit *in, const int32_t *index, size_t rows, size_t units)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        int32_t from = index[row];
        Unit *to = out + row * units;
        const Unit *source = in + (size_t)(from < 0 ? 0 : from) * units;
        for (size_t i = threadIdx.x; i < units; i += blockDim.x) {
            to[i] = from < 0 ? Unit{} : source[i];
        }
    }
}

static bool aligned(const void *a, const void *b, size_t row_bytes, size_t unit)
{
    return (uintptr_t)a % unit == 0 && (uintptr_t)b % unit == 0 &&
           row_bytes % unit == 0;
}

static void gather_rows(galv_backend *b, galv_stream stream, void *out, const void *in,
                        const int32_t *index, size_t rows, size_t cols,
                        galv_element type)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, out) || rows == 0 || cols == 0) {
        return;
    }
    size_t bytes = cols * galv_cuda_bytes(type);
    unsigned blocks = galv_cuda_blocks(rows, 1);
    cudaStream_t queue = c->streams[stream];
    if (aligned(out, in, bytes, 16)) {
        CUDA_LAUNCH(gather, blocks, CUDA_THREADS, 0, queue, (uint4 *)out,
                    (const uint4 *)in, index, rows, bytes / 16);
    } else if (aligned(out, in, bytes, 4)) {
        CUDA_LAUNCH(gather, blocks, CUDA_THREADS, 0, queue, (uint32_t *)out,
                    (const uint32_t *)in, index, rows, bytes / 4);
    } else {
        CUDA_LAUNCH(gather, blocks, CUDA_THREADS, 0, queue, (uint16_t *)out,
                    (const uint16_t *)in, index, rows, bytes / 2);
    }
    galv_cuda_launched(c, "gather rows");
}

/* Adds rows of `in` to rows key - begin of `out`, for keys in [begin, end), in the
 * order of the rows. The block of the first row with a key adds all rows with it; the
 * others do nothing. So a row of `out` belongs to one block, and the sum has one order.
 * O(rows^2 / 256) comparisons of keys, which are few next to the columns. */
template <typename Out, typename In>
__global__ void __launch_bounds__(CUDA_THREADS)
    add_by_key(Out *out, const In *in, const int32_t *keys, int32_t begin, int32_t end,
               size_t rows, size_t cols)
{
    __shared__ bool same[CUDA_THREADS];
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        int32_t key = keys[row];
        bool earlier = key < begin || key >= end;
        for (size_t i = threadIdx.x; i < row && !earlier; i += blockDim.x) {
            earlier = keys[i] == key;
        }
        if (__syncthreads_or(earlier) != 0) {
            continue;
        }
        Out *to = out + (size_t)(key - begin) * cols;
        for (size_t first = row; first < rows; first += blockDim.x) {
            size_t mine = first + threadIdx.x;
            bool match = mine < rows && keys[mine] == key;
            same[threadIdx.x] = match;
            if (__syncthreads_or(match) != 0) {
                for (int i = 0; i < CUDA_THREADS; i++) {
                    if (!same[i]) {
                        continue;
                    }
                    const In *from = in + (first + (size_t)i) * cols;
                    for (size_t col = threadIdx.x; col < cols; col += blockDim.x) {
                        put_value(to + col, value_of(to[col]) + value_of(from[col]));
                    }
                }
            }
            __syncthreads(); /* before `same` is written again */
        }
    }
}

static void scatter_add_rows(galv_backend *b, galv_stream stream, void *out,
                             const void *in, const int32_t *index, size_t rows,
                             size_t cols, galv_element type)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, out) || rows == 0 || cols == 0) {
        return;
    }
    unsigned blocks = galv_cuda_blocks(rows, 1);
    if (type == GALV_ELEMENT) {
        CUDA_LAUNCH(add_by_key, blocks, CUDA_THREADS, 0, c->streams[stream],
                    (bf16 *)out, (const bf16 *)in, index, 0, INT32_MAX, rows, cols);
    } else {
        CUDA_LAUNCH(add_by_key, blocks, CUDA_THREADS, 0, c->streams[stream],
                    (float *)out, (const float *)in, index, 0, INT32_MAX, rows, cols);
    }
    galv_cuda_launched(c, "scatter rows");
}

static void embed_backward(galv_backend *b, galv_stream stream, float *dtable,
                           const void *dout, const int32_t *tokens, int32_t begin,
                           int32_t end, size_t rows, size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, dtable) || rows == 0 || cols == 0) {
        return;
    }
    CUDA_LAUNCH(add_by_key, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0,
                c->streams[stream], dtable, (const bf16 *)dout, tokens, begin, end,
                rows, cols);
    galv_cuda_launched(c, "gradient of the embedding");
}

template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    embed_rows(bf16 *out, const bf16 *table, const int32_t *tokens, int32_t begin,
               int32_t end, size_t rows, size_t cols)
{
    for (size_t row = blockIdx.x; row < rows; row += gridDim.x) {
        int32_t token = tokens[row];
        bool here = token >= begin && token < end;
        const bf16 *from = table + (size_t)(here ? token - begin : 0) * cols;
        for (size_t col = threadIdx.x * N; col < cols; col += blockDim.x * N) {
            cuda_pack<bf16, N> values = take_pack<N>(from + col);
#pragma unroll
            for (int i = 0; i < N; i++) {
                values.of[i] = here ? values.of[i] : __float2bfloat16(0.0F);
            }
            put_pack<N>(out + row * cols + col, values);
        }
    }
}

static void embed(galv_backend *b, galv_stream stream, void *out, const void *table,
                  const int32_t *tokens, int32_t begin, int32_t end, size_t rows,
                  size_t cols)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, out) || rows == 0 || cols == 0) {
        return;
    }
    auto *kernel = galv_cuda_packs(cols, PACK_16, out, table) ? embed_rows<PACK_16>
                                                              : embed_rows<1>;
    CUDA_LAUNCH(kernel, galv_cuda_blocks(rows, 1), CUDA_THREADS, 0, c->streams[stream],
                (bf16 *)out, (const bf16 *)table, tokens, begin, end, rows, cols);
    galv_cuda_launched(c, "embedding");
}

/* ---- element by element ---- */

/* `out` may be `a`. */
template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    add_values(bf16 *out, const bf16 *a, const bf16 *b, size_t n)
{
    for (size_t at = grid_first() * N; at < n; at += grid_step() * N) {
        cuda_pack<bf16, N> values = take_pack<N>(a + at);
        cuda_pack<bf16, N> more = take_pack<N>(b + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            values.of[i] = __float2bfloat16(__bfloat162float(values.of[i]) +
                                            __bfloat162float(more.of[i]));
        }
        put_pack<N>(out + at, values);
    }
}

static void add(galv_backend *b, galv_stream stream, void *out, const void *a,
                const void *b_, size_t n)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, out) || n == 0) {
        return;
    }
    bool packs = galv_cuda_packs(n, PACK_16, out, a, b_);
    auto *kernel = packs ? add_values<PACK_16> : add_values<1>;
    size_t each = CUDA_THREADS * (packs ? PACK_16 : 1);
    CUDA_LAUNCH(kernel, galv_cuda_blocks(n, each), CUDA_THREADS, 0, c->streams[stream],
                (bf16 *)out, (const bf16 *)a, (const bf16 *)b_, n);
    galv_cuda_launched(c, "add");
}

template <int N, typename T>
__global__ void __launch_bounds__(CUDA_THREADS)
    scale_values(T *data, size_t n, float factor)
{
    for (size_t at = grid_first() * N; at < n; at += grid_step() * N) {
        cuda_pack<T, N> values = take_pack<N>(data + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            put_value(values.of + i, value_of(values.of[i]) * factor);
        }
        put_pack<N>(data + at, values);
    }
}

template <typename T>
static void launch_scale(cudaStream_t queue, T *data, size_t n, float factor)
{
    const int pack = 16 / sizeof(T);
    bool packs = galv_cuda_packs(n, pack, data);
    auto *kernel = packs ? scale_values<16 / sizeof(T), T> : scale_values<1, T>;
    size_t each = CUDA_THREADS * (packs ? (size_t)pack : 1);
    CUDA_LAUNCH(kernel, galv_cuda_blocks(n, each), CUDA_THREADS, 0, queue, data, n,
                factor);
}

static void scale(galv_backend *b, galv_stream stream, void *data, size_t n,
                  galv_element type, float factor)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, data) || n == 0) {
        return;
    }
    if (type == GALV_ELEMENT) {
        launch_scale(c->streams[stream], (bf16 *)data, n, factor);
    } else {
        launch_scale(c->streams[stream], (float *)data, n, factor);
    }
    galv_cuda_launched(c, "scale");
}

template <int N, typename T>
__global__ void __launch_bounds__(CUDA_THREADS)
    accumulate_values(float *sum, const T *in, size_t n)
{
    for (size_t at = grid_first() * N; at < n; at += grid_step() * N) {
        cuda_pack<float, N> sums = take_pack<N>(sum + at);
        cuda_pack<T, N> more = take_pack<N>(in + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            sums.of[i] += value_of(more.of[i]);
        }
        put_pack<N>(sum + at, sums);
    }
}

template <typename T>
static void launch_accumulate(cudaStream_t queue, float *sum, const T *in, size_t n)
{
    bool packs = galv_cuda_packs(n, PACK_32, sum, in);
    auto *kernel = packs ? accumulate_values<PACK_32, T> : accumulate_values<1, T>;
    size_t each = CUDA_THREADS * (packs ? PACK_32 : 1);
    CUDA_LAUNCH(kernel, galv_cuda_blocks(n, each), CUDA_THREADS, 0, queue, sum, in, n);
}

static void accumulate(galv_backend *b, galv_stream stream, float *sum, const void *in,
                       galv_element in_type, size_t n)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, sum) || n == 0) {
        return;
    }
    if (in_type == GALV_ELEMENT) {
        launch_accumulate(c->streams[stream], sum, (const bf16 *)in, n);
    } else {
        launch_accumulate(c->streams[stream], sum, (const float *)in, n);
    }
    galv_cuda_launched(c, "accumulate");
}

/* ---- sums over an array ---- */

template <int N>
__global__ void __launch_bounds__(CUDA_THREADS)
    square_parts(double *parts, const float *x, size_t n)
{
    double sum = 0;
    for (size_t at = grid_first() * N; at < n; at += grid_step() * N) {
        cuda_pack<float, N> values = take_pack<N>(x + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum += (double)values.of[i] * (double)values.of[i];
        }
    }
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

__global__ void __launch_bounds__(CUDA_THREADS)
    add_parts(float *sum, const double *parts, unsigned n)
{
    double total = 0;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
        total += parts[i];
    }
    total = block_sum_double(total);
    if (threadIdx.x == 0) {
        sum[0] += (float)total;
    }
}

static void sum_squares(galv_backend *b, galv_stream stream, float *sum, const float *x,
                        size_t n)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, sum) || n == 0) {
        return;
    }
    unsigned blocks = galv_cuda_blocks(n, CUDA_THREADS * 8);
    blocks = blocks < CUDA_N_PARTS ? blocks : (unsigned)CUDA_N_PARTS;
    cudaStream_t queue = c->streams[stream];
    auto *kernel =
        galv_cuda_packs(n, PACK_32, x) ? square_parts<PACK_32> : square_parts<1>;
    CUDA_LAUNCH(kernel, blocks, CUDA_THREADS, 0, queue, c->parts[stream], x, n);
    CUDA_LAUNCH(add_parts, 1, CUDA_THREADS, 0, queue, sum, c->parts[stream], blocks);
    galv_cuda_launched(c, "sum of squares");
}

void galv_cuda_fill_traffic(galv_backend *b)
{
    b->fill_zero = fill_zero;
    b->copy = copy;
    b->copy_columns = copy_columns;
    b->convert = convert;
    b->gather_rows = gather_rows;
    b->scatter_add_rows = scatter_add_rows;
    b->embed = embed;
    b->embed_backward = embed_backward;
    b->add = add;
    b->scale = scale;
    b->accumulate = accumulate;
    b->sum_squares = sum_squares;
}
