/* What kernels share: values of both types, sums over a block, grids. */
#ifndef GALV_EXEC_CUDA_DEVICE_CUH
#define GALV_EXEC_CUDA_DEVICE_CUH

#include "exec/cuda_internal.h"
#include "exec/cuda_machine.cuh"

enum { CUDA_THREADS = 256, CUDA_WARP = 32, CUDA_MOST_BLOCKS = 1 << 16 };

__device__ static inline float value_of(float x)
{
    return x;
}

__device__ static inline float value_of(bf16 x)
{
    return __bfloat162float(x);
}

__device__ static inline void put_value(float *to, float x)
{
    *to = x;
}

__device__ static inline void put_value(bf16 *to, float x)
{
    *to = __float2bfloat16(x);
}

/* N values that lie together and are read or written at once: 16 bytes for the widest
 * access that a thread has. Kernels are made for packs (PACK_16, or PACK_32 where
 * values of 4 bytes are among them) and for single values, N = 1, which any address
 * will do. */
enum { PACK_16 = 8, PACK_32 = 4 };

template <typename T, int N> struct alignas(N * sizeof(T)) cuda_pack {
    T of[N];
};

template <int N, typename T>
__device__ static inline cuda_pack<T, N> take_pack(const T *from)
{
    return *(const cuda_pack<T, N> *)from;
}

template <int N, typename T>
__device__ static inline void put_pack(T *to, const cuda_pack<T, N> &values)
{
    *(cuda_pack<T, N> *)to = values;
}

/* Whether n values (of a row, or in all) are whole packs, and all of these begin where
 * 16 bytes may; NULL does. */
static inline bool galv_cuda_packs(size_t n, int pack, const void *a,
                                   const void *b = nullptr, const void *c = nullptr,
                                   const void *d = nullptr, const void *e = nullptr)
{
    uintptr_t bits =
        (uintptr_t)a | (uintptr_t)b | (uintptr_t)c | (uintptr_t)d | (uintptr_t)e;
    return n % (size_t)pack == 0 && bits % 16 == 0;
}

/* Index of this thread in the grid, and the number of threads of the grid. */
__device__ static inline size_t grid_first()
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ static inline size_t grid_step()
{
    return (size_t)gridDim.x * blockDim.x;
}

__device__ static inline float warp_sum(float x)
{
    for (int step = CUDA_WARP / 2; step > 0; step /= 2) {
        x += __shfl_xor_sync(0xffffffffU, x, step);
    }
    return x;
}

__device__ static inline float warp_max(float x)
{
    for (int step = CUDA_WARP / 2; step > 0; step /= 2) {
        x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, step));
    }
    return x;
}

/* The sum over all threads of a block (a multiple of 32, up to 1024), in every thread,
 * in an order that does not change. All threads call it. */
__device__ static inline float block_sum(float x)
{
    __shared__ float sums[CUDA_WARP];
    int n_warps = (int)(blockDim.x / CUDA_WARP);
    int lane = (int)(threadIdx.x % CUDA_WARP);
    x = warp_sum(x);
    __syncthreads(); /* a former call has been read */
    if (lane == 0) {
        sums[threadIdx.x / CUDA_WARP] = x;
    }
    __syncthreads();
    return warp_sum(lane < n_warps ? sums[lane] : 0.0F);
}

__device__ static inline float block_max(float x)
{
    __shared__ float greatest[CUDA_WARP];
    int n_warps = (int)(blockDim.x / CUDA_WARP);
    int lane = (int)(threadIdx.x % CUDA_WARP);
    x = warp_max(x);
    __syncthreads();
    if (lane == 0) {
        greatest[threadIdx.x / CUDA_WARP] = x;
    }
    __syncthreads();
    return warp_max(lane < n_warps ? greatest[lane] : -INFINITY);
}

__device__ static inline double block_sum_double(double x)
{
    __shared__ double sums[CUDA_WARP];
    int n_warps = (int)(blockDim.x / CUDA_WARP);
    int lane = (int)(threadIdx.x % CUDA_WARP);
    for (int step = CUDA_WARP / 2; step > 0; step /= 2) {
        x += __shfl_xor_sync(0xffffffffU, x, step);
    }
    __syncthreads();
    if (lane == 0) {
        sums[threadIdx.x / CUDA_WARP] = x;
    }
    __syncthreads();
    x = lane < n_warps ? sums[lane] : 0.0;
    for (int step = CUDA_WARP / 2; step > 0; step /= 2) {
        x += __shfl_xor_sync(0xffffffffU, x, step);
    }
    return x;
}

/* Blocks for n values, `each` by a block; kernels stride over what is left. At least 1.
 */
static inline unsigned galv_cuda_blocks(size_t n, size_t each)
{
    size_t blocks = (n + each - 1) / each;
    blocks = blocks < 1 ? 1 : blocks;
    return (unsigned)(blocks < (size_t)CUDA_MOST_BLOCKS ? blocks
                                                        : (size_t)CUDA_MOST_BLOCKS);
}

#endif
