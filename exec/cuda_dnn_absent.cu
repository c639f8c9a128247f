/* Where cuDNN is not found: attention by our own kernels. */
#include "exec/cuda_internal.h"

bool galv_cuda_dnn_new(galv_cuda *)
{
    return true;
}

void galv_cuda_dnn_free(galv_cuda *)
{
}

int galv_cuda_dnn_version(const galv_cuda *)
{
    return 0;
}

bool galv_cuda_dnn_attend(galv_cuda *, galv_stream, const galv_attention *, void *,
                          float *, const void *, const void *, const void *)
{
    return false;
}

bool galv_cuda_dnn_attend_backward(galv_cuda *, galv_stream, const galv_attention *,
                                   float *, float *, float *, const void *,
                                   const void *, const void *, const void *,
                                   const void *, const float *)
{
    return false;
}

bool galv_cuda_dnn_attend_backward_whole(galv_cuda *, galv_stream,
                                         const galv_attention *, void *, void *, void *,
                                         const void *, const void *, const void *,
                                         const void *, const void *, const float *)
{
    return false;
}
