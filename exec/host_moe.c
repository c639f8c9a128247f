/* Routing of tokens to experts on the host, and their way back. */
#include "exec/host_internal.h"
#include "exec/host_math.h"

#include <math.h>
#include <string.h>

/* The topk largest logits of a row, largest first, ties to the lower index; topk is
 * small, so one look over all experts for each. */
static void choose(int32_t *chosen, const float *logits, int32_t n_experts,
                   int32_t topk)
{
    for (int32_t k = 0; k < topk; k++) {
        int32_t best = -1;
        for (int32_t expert = 0; expert < n_experts; expert++) {
            bool taken = false;
            for (int32_t i = 0; i < k; i++) {
                taken = taken || chosen[i] == expert;
            }
            if (!taken && (best < 0 || logits[expert] > logits[best])) {
                best = expert;
            }
        }
        chosen[k] = best;
    }
}

static void route(galv_backend *b, galv_stream stream, int32_t *experts, float *weights,
                  const float *logits, size_t rows, int32_t n_experts, int32_t topk)
{
    host *h = galv_host_enter(b, stream);
    if (h == NULL) {
        return;
    }
    if (topk < 1 || topk > n_experts) {
        galv_host_fail(h, GALV_INTERNAL, "more experts for a token than there are");
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *in = logits + row * (size_t)n_experts;
        int32_t *chosen = experts + row * (size_t)topk;
        float *w = weights + row * (size_t)topk;
        choose(chosen, in, n_experts, topk);
        float sum = 0;
        for (int32_t k = 0; k < topk; k++) {
            w[k] = expf(in[chosen[k]] - in[chosen[0]]);
            sum += w[k];
        }
        for (int32_t k = 0; k < topk; k++) {
            w[k] /= sum;
        }
    }
}

static void route_backward(galv_backend *b, galv_stream stream, float *dlogits,
                           const float *dweights, const int32_t *experts,
                           const float *weights, size_t rows, int32_t n_experts,
                           int32_t topk)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    memset(dlogits, 0, rows * (size_t)n_experts * sizeof *dlogits);
    for (size_t row = 0; row < rows; row++) {
        const float *dw = dweights + row * (size_t)topk;
        const float *w = weights + row * (size_t)topk;
        const int32_t *chosen = experts + row * (size_t)topk;
        float mean = 0;
        for (int32_t k = 0; k < topk; k++) {
            mean += w[k] * dw[k];
        }
        for (int32_t k = 0; k < topk; k++) {
            dlogits[row * (size_t)n_experts + (size_t)chosen[k]] =
                w[k] * (dw[k] - mean);
        }
    }
}

static void combine(galv_backend *b, galv_stream stream, void *out, const void *in,
                    const int32_t *place, const float *weights, size_t rows,
                    int32_t topk, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        float *to = (float *)out + row * cols;
        memset(to, 0, cols * sizeof *to);
        for (int32_t k = 0; k < topk; k++) {
            size_t choice = row * (size_t)topk + (size_t)k;
            if (place[choice] < 0) {
                continue;
            }
            const float *from = (const float *)in + (size_t)place[choice] * cols;
            for (size_t col = 0; col < cols; col++) {
                to[col] += weights[choice] * from[col];
            }
        }
    }
}

static void combine_backward(galv_backend *b, galv_stream stream, void *din,
                             float *dweights, const void *dout, const void *in,
                             const int32_t *place, const float *weights, size_t rows,
                             int32_t topk, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *up = (const float *)dout + row * cols;
        for (int32_t k = 0; k < topk; k++) {
            size_t choice = row * (size_t)topk + (size_t)k;
            if (place[choice] < 0) {
                dweights[choice] = 0;
                continue;
            }
            const float *from = (const float *)in + (size_t)place[choice] * cols;
            float *to = (float *)din + (size_t)place[choice] * cols;
            dweights[choice] = (float)dot_of(up, from, cols);
            for (size_t col = 0; col < cols; col++) {
                to[col] = weights[choice] * up[col];
            }
        }
    }
}

void galv_host_fill_moe(galv_backend *b)
{
    b->route = route;
    b->route_backward = route_backward;
    b->combine = combine;
    b->combine_backward = combine_backward;
}
