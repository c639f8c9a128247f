/* The CUDA backend: one device per process, NCCL, cuBLASLt in bf16 with float32 master
 * weights, kernels of our own. It compiles, and has not yet run on a device
 * (docs/executor.md, section CUDA). */
#ifndef GALV_EXEC_CUDA_H
#define GALV_EXEC_CUDA_H

#include "exec/backend.h"
#include "exec/world.h"

/* Collective over the world. Device: the world's local rank modulo the devices that are
 * visible. Errors: GALV_UNAVAILABLE (built without CUDA, no device, driver too old: the
 * message says which), GALV_NO_MEMORY. */
galv_status galv_cuda_backend_new(galv_backend **backend, galv_world *world,
                                  galv_err *err);

#endif
