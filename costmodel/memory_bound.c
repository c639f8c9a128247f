/* Kernels bound by memory: norms, elementwise steps, softmax, tables, losses.
 *
 *   t = n t0 + bytes / (BW e)
 *
 * e is a share of the memory's peak by generation and kernel stack: fused kernels of
 * Megatron and cuDNN reach 0.7 forward and 0.65 backward, eager PyTorch 0.55 and 0.32,
 * since it writes out what fused kernels keep (measured norms of cudnn-frontend, MIT).
 * Small tensors that stay in the L2 cache are faster than this says. */
#include "costmodel/kernels_internal.h"

double galv_memory_time(const galv_memory_law *law, bool backward, double bytes,
                        double n_kernels)
{
    if (!(bytes > 0)) {
        return 0;
    }
    double rate = backward ? law->backward_bytes_per_s : law->forward_bytes_per_s;
    return n_kernels * law->t0_s + law->factor * bytes / rate;
}
