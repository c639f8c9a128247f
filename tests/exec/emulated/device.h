/* What runtime.cpp calls of device.cpp and nccl.cpp. */
#ifndef GALV_TESTS_EMULATED_DEVICE_H
#define GALV_TESTS_EMULATED_DEVICE_H

#include <cuda_runtime.h>

/* Runs all blocks of a grid, one after another, from one drawn by lot. */
void emulated_run_grid(dim3 grid, dim3 threads, size_t shared_bytes,
                       const std::function<void()> &thread);

/* Says which operation of NCCL has to begin before all others. */
void emulated_tell_of_launches(void);

#endif
