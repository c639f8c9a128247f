/* The check of the CUDA backend on a device: every function is called on the host
 * backend and on the device with the same numbers, and what comes out is compared. */
#ifndef GALV_TESTS_EXEC_GPU_CHECK_H
#define GALV_TESTS_EXEC_GPU_CHECK_H

#include "exec/backend.h"
#include "exec/world.h"

enum { HOST, GPU, N_SIDES };
static const galv_stream on = GALV_STREAM_COMPUTE;

typedef struct check {
    galv_world *world;
    galv_backend *b[N_SIDES]; /* both of this rank alone, or the GPU's of all ranks */
    uint64_t random;
    bool small; /* sizes for a device that is slow */
    int n_passed, n_failed;
} check;

/* The same values on both sides. Elements are bf16 values on both. Behind them lie
 * values that nobody may touch. */
typedef struct twin {
    void *at[N_SIDES];
    size_t n;
    galv_element type;
} twin;

enum { GUARD = 64 };

/* Random values between -size and size. */
twin twin_new(check *c, size_t n, galv_element type, double size);
/* All the same value. */
twin twin_all(check *c, size_t n, galv_element type, double value);
twin twin_ints(check *c, const int32_t *values, size_t n);
/* Random whole numbers of [low, high). */
twin twin_random_ints(check *c, size_t n, int32_t low, int32_t high);
void twin_free(check *c, twin *t);
uint32_t draw(check *c, uint32_t below);

/* One line: passed when |gpu - host| <= tolerance (|host| + root mean square of host)
 * for all values, infinities are where they should be, there is no NaN on the device
 * alone, and what lies behind is untouched. */
void compare(check *c, const char *what, const twin *t, double tolerance);
/* A claim that needs no host. */
void claim(check *c, bool holds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void check_traffic(check *c);
void check_kernels(check *c);
void check_gemm(check *c);
void check_loss(check *c);
void check_experts(check *c);
void check_attention(check *c);
void check_memory(check *c);
/* On all ranks of the world, against sums in closed form. */
void check_collectives(check *c);
/* Losses of a few steps by both backends. */
void check_training(check *c);
/* Prints rates: matrix products, attention, memory, a stack of layers. */
void measure(check *c);
/* Of these, those of attention. */
void measure_attention(check *c);

#endif
