/* Kernels bound by memory: norms, elementwise steps, softmax, tables, losses.
 *
 *   t = n t0 + bytes / (BW e)
 *
 * e is a share of the memory's peak by generation and kernel stack: fused kernels of
 * Megatron and cuDNN reach 0.7 forward and 0.65 backward, eager PyTorch 0.55 and 0.32,
 * since it writes out what fused kernels keep (measured norms of cudnn-frontend, MIT).
 * Tensors that stay in the L2 cache go at up to twice the rate:
 *
 *   BW' = BW e (1 + L2 / (L2 + 4 bytes))
 */
#include "costmodel/kernels_internal.h"

double galv_memory_time(const galv_memory_law *law, bool backward, double bytes,
                        double n_kernels)
{
    if (!(bytes > 0)) {
        return 0;
    }
    double rate = backward ? law->backward_bytes_per_s : law->forward_bytes_per_s;
    double cached = 1 + law->cache_bytes / (law->cache_bytes + 4 * bytes / n_kernels);
    return n_kernels * law->t0_s + law->factor * bytes / (rate * cached);
}
