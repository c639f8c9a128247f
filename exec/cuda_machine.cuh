/* What the kernels need of the machine beyond C++: launches, shared memory whose size a
 * launch gives, and the instructions of tensor cores. Tests put another header in its
 * place (tests/exec/emulated), and run the same kernels on a processor.
 *
 * Fragments of mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16"): with g =
 * lane / 4 and t = lane % 4, a thread has of A[16, 16] the pairs (g, 2t), (g + 8, 2t),
 * (g, 2t + 8), (g + 8, 2t + 8); of B[16, 8] the pairs of rows 2t and 2t + 8 of column
 * g; of C[16, 8] the pairs (g, 2t) and (g + 8, 2t). The lower index of a pair lies in
 * the lower half of its register. */
#ifndef GALV_EXEC_CUDA_MACHINE_CUH
#define GALV_EXEC_CUDA_MACHINE_CUH

#include <stdint.h>

/* kernel(arguments...) on a grid, in the order of a stream. */
#define CUDA_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)

/* Declares the launch's shared memory as values of a type. */
#define CUDA_SHARED_ARRAY(type, name) extern __shared__ __align__(16) type name[]

/* c += a b, A and B of bf16, C of float32. All lanes of a warp call it. */
__device__ static inline void machine_multiply(float c[4], const uint32_t a[4],
                                               const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Two 8 by 8 matrices of 16-bit values, transposed on the way: lanes 0 to 7 give the
 * rows of the first, lanes 8 to 15 of the second (16 bytes each, in shared memory,
 * aligned to 16; what other lanes give is not read). With g and t as above, the lane
 * gets the values (2t, g) and (2t + 1, g) of each matrix as it lies in memory. All
 * lanes of a warp call it. */
__device__ static inline void machine_load_transposed(uint32_t out[2], const void *row)
{
    uint32_t address = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];\n"
                 : "=r"(out[0]), "=r"(out[1])
                 : "r"(address)
                 : "memory");
}

#endif
