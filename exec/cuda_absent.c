/* Stands in for the CUDA backend where it is not built. */
#include "exec/cuda.h"

galv_status galv_cuda_backend_new(galv_backend **backend, galv_world *world,
                                  galv_err *err)
{
    (void)backend;
    (void)world;
    galv_fail(err, GALV_UNAVAILABLE, "galvatron-exec was built without CUDA");
    galv_hint(err, "build it where nvcc and nccl.h are found, or use the host backend");
    return GALV_UNAVAILABLE;
}
