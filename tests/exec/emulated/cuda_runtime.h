/* A device that is this processor: what the CUDA backend uses of the runtime, so that
 * its kernels and the order of its streams are tested where there is no GPU.
 *
 * Kernels. Every thread of a block is a fiber with a stack of its own; between two
 * meetings of threads (barriers, votes, shuffles, products of tensor cores) one runs at
 * a time. Which one is drawn by lot, and in every other block one warp runs as far
 * ahead as it can: what lacks a barrier then reads what is not there yet. Shared memory
 * whose size a launch gives is exactly that large and holds no numbers at first. A
 * meeting that not all threads reach ends the program with a message.
 *
 * Streams. Nothing runs when it is queued. Whoever waits makes the device go on, and
 * which of the streams that can go on does so is drawn by lot too; so work that is
 * ordered by luck only comes in the wrong order sooner or later. New memory of the
 * device holds no numbers.
 *
 * GALV_EMULATED_SEED=N draws other lots (1). Not told apart from a device: speed, the
 * rounding of products (sums of 16 in another order), numbers of registers. */
#ifndef GALV_TESTS_EMULATED_CUDA_RUNTIME_H
#define GALV_TESTS_EMULATED_CUDA_RUNTIME_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>

#define __device__
#define __global__
#define __host__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
/* One block runs at a time. */
#define __shared__ static

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline float2 make_float2(float x, float y)
{
    return float2{x, y};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return float4{x, y, z, w};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return uint4{x, y, z, w};
}

/* ---- in kernels ---- */

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

template <typename T> static inline T min(T a, T b)
{
    return b < a ? b : a;
}
template <typename T> static inline T max(T a, T b)
{
    return a < b ? b : a;
}
using std::isinf;
using std::isnan;

enum emulated_meeting {
    EMULATED_SYNCWARP = 1,
    EMULATED_SHUFFLE,
    EMULATED_MULTIPLY,
    EMULATED_LOAD_TRANSPOSED
};

enum { EMULATED_WARP = 32, EMULATED_SLOT = 40 };

/* What a lane brings to a meeting of its warp, seen by all lanes until their next. */
struct alignas(8) emulated_slot {
    unsigned char bytes[EMULATED_SLOT];
};

/* All threads of the block; the sum of what they bring. */
int emulated_block_meet(int brought);
/* All lanes of the warp. The last to come calls `together` with all slots, if any;
 * every lane gets all slots. */
emulated_slot *emulated_warp_meet(emulated_meeting meeting, const void *brought,
                                  size_t bytes, void (*together)(emulated_slot *all));
/* The block's shared memory whose size the launch gave. */
void *emulated_shared(void);
[[noreturn]] void emulated_complain(const char *format, ...);

static inline void __syncthreads()
{
    emulated_block_meet(0);
}
static inline int __syncthreads_or(int predicate)
{
    return emulated_block_meet(predicate != 0) != 0;
}
static inline void __syncwarp(unsigned mask = 0xffffffffU)
{
    if (mask != 0xffffffffU) {
        emulated_complain("a part of a warp meets; this is not emulated");
    }
    emulated_warp_meet(EMULATED_SYNCWARP, nullptr, 0, nullptr);
}
/* Of this thread in its warp. */
unsigned emulated_lane(void);

template <typename T> static inline T __shfl_xor_sync(unsigned mask, T value, int lanes)
{
    static_assert(sizeof value <= EMULATED_SLOT, "a value fits");
    if (mask != 0xffffffffU) {
        emulated_complain("a part of a warp shuffles; this is not emulated");
    }
    emulated_slot *all =
        emulated_warp_meet(EMULATED_SHUFFLE, &value, sizeof value, nullptr);
    T theirs;
    memcpy(&theirs, all[emulated_lane() ^ (unsigned)lanes].bytes, sizeof theirs);
    return theirs;
}

/* ---- on the host ---- */

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorDevicesUnavailable = 46,
    cudaErrorNoDevice = 100,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorMisalignedAddress = 716,
    cudaErrorLaunchFailure = 719
} cudaError_t;

typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_event *cudaEvent_t;

enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
typedef enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice
} cudaMemcpyKind;
typedef enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8
} cudaFuncAttribute;

typedef struct cudaDeviceProp {
    char name[256];
    struct {
        char bytes[16];
    } uuid;
    size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount;
} cudaDeviceProp;

const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError(void);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes);
cudaError_t cudaMalloc(void **memory, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from,
                              size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags,
                                         int priority);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *time_ms, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute,
                                 int value);

/* Queues work: false from it means that it cannot end yet and is to be called again.
 * `what` is said where streams wait for ever. */
void emulated_queue(cudaStream_t stream, std::string what, std::function<bool()> work);
/* Makes some stream go on; false where none can. Where none could for a minute it tells
 * what each stream waits for, and ends the program. */
bool emulated_progress(void);
/* Queues a grid; `thread` is what each of its threads does. */
void emulated_launch(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                     std::function<void()> thread);
/* A random number below `below`. */
unsigned emulated_draw(unsigned below);

#endif
