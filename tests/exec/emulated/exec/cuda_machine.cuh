/* exec/cuda_machine.cuh for a processor: the same contract, fragments as the PTX ISA
 * lays them out ("Matrix Fragments for mma.m16n8k16 with floating point type", and
 * ldmatrix), computed for a whole warp at once. */
#ifndef GALV_TESTS_EMULATED_CUDA_MACHINE_CUH
#define GALV_TESTS_EMULATED_CUDA_MACHINE_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>

/* Arguments are taken when the launch is queued, as on a device. */
#define CUDA_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)             \
    emulated_launch_of([=](auto... values) { kernel(values...); }, grid, block, \
                       shared_bytes, stream, __VA_ARGS__)

#define CUDA_SHARED_ARRAY(type, name) type *name = (type *)emulated_shared()

template <typename Kernel, typename... Values>
static void emulated_launch_of(Kernel kernel, dim3 grid, dim3 block,
                               size_t shared_bytes, cudaStream_t stream,
                               Values... values)
{
    emulated_launch(grid, block, shared_bytes, stream, [=]() { kernel(values...); });
}

void emulated_multiply(emulated_slot *all);
void emulated_load_transposed(emulated_slot *all);

static inline void machine_multiply(float c[4], const uint32_t a[4],
                                    const uint32_t b[2])
{
    unsigned char brought[EMULATED_SLOT];
    memcpy(brought, a, 16);
    memcpy(brought + 16, b, 8);
    memcpy(brought + 24, c, 16);
    emulated_slot *all = emulated_warp_meet(EMULATED_MULTIPLY, brought, sizeof brought,
                                            emulated_multiply);
    memcpy(c, all[emulated_lane()].bytes + 24, 16);
}

static inline void machine_load_transposed(uint32_t out[2], const void *row)
{
    unsigned char brought[16] = {};
    memcpy(brought, &row, sizeof row);
    emulated_slot *all = emulated_warp_meet(EMULATED_LOAD_TRANSPOSED, brought,
                                            sizeof brought, emulated_load_transposed);
    memcpy(out, all[emulated_lane()].bytes + 8, 8);
}

#endif
