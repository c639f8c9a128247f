/* Norm and loss are sums over ranks of float64 made of float32 sums on each device: of
 * squares over a rank's share of the gradients, each value of the model on one rank
 * alone, and of losses by micro-batch. All ranks add them up in the same order, so all
 * scale alike.
 *
 * Source of clipping: Pascanu et al. 2013 (arXiv 1211.5063). */
#include "exec/optimizer.h"

#include <math.h>
#include <stdlib.h>

int galv_blocks_of(galv_block *blocks[3], const galv_worker *w, int32_t layer, int part)
{
    const galv_layer_tensors *t = &w->layers[layer].tensors;
    int n = 0;
    if (part != GALV_PART_EXPERTS && t->dense != NULL) {
        blocks[n++] = t->dense;
    }
    if (part != GALV_PART_EXPERTS && t->table != NULL &&
        (layer == 0 || !w->layers[0].here)) {
        blocks[n++] = t->table;
    }
    if (part != GALV_PART_DENSE && t->expert != NULL) {
        blocks[n++] = t->expert;
    }
    return n;
}

/* The compute stream waits for all gradients of this rank. */
static void await_gradients(galv_worker *w)
{
    galv_block *blocks[3];
    for (int32_t layer = 0; layer < w->plan->n_layers; layer++) {
        int n = w->layers[layer].here
                    ? galv_blocks_of(blocks, w, layer, GALV_PART_WHOLE)
                    : 0;
        for (int i = 0; i < n; i++) {
            if (blocks[i]->reduced) {
                galv_worker_await(w, blocks[i]->reduced_at);
            } else { /* one rank holds it: what is left are copies over tp */
                galv_block_reduce(blocks[i], w->b, GALV_STREAM_COMPUTE);
            }
        }
    }
}

/* Waiting for the last rank is no computation: outside of the step's span. */
static galv_status meet(void *all, galv_worker *w, const void *mine, size_t bytes)
{
    galv_worker_close(w);
    galv_status status = galv_world_all_gather(w->world, all, mine, bytes, &w->err);
    galv_worker_open(w);
    return status;
}

static void find_norm(galv_worker *w)
{
    galv_backend *b = w->b;
    size_t n_losses = (size_t)w->layout.n_micro_batches;
    galv_block *blocks[3];
    await_gradients(w);
    b->fill_zero(b, GALV_STREAM_COMPUTE, w->squares, sizeof(float));
    for (int32_t layer = 0; layer < w->plan->n_layers; layer++) {
        int n = w->layers[layer].here
                    ? galv_blocks_of(blocks, w, layer, GALV_PART_WHOLE)
                    : 0;
        for (int i = 0; i < n; i++) {
            galv_block_sum_squares(blocks[i], b, w->squares);
        }
    }
    b->synchronize(b);
    float squares = 0;
    float *losses = calloc(n_losses, sizeof *losses);
    double mine[2] = {0, 0};
    double *all = calloc((size_t)b->n_ranks * 2, sizeof *all);
    b->download(b, &squares, w->squares, 1, GALV_FLOAT32);
    if (losses != NULL) {
        b->download(b, losses, w->losses, n_losses, GALV_FLOAT32);
    }
    mine[0] = (double)squares;
    for (size_t i = 0; losses != NULL && i < n_losses; i++) {
        mine[1] += (double)losses[i];
    }
    if (losses == NULL || all == NULL) {
        galv_fail(&w->err, GALV_NO_MEMORY, "no memory for the losses");
    } else if (meet(all, w, mine, sizeof mine) == GALV_OK) {
        double sum[2] = {0, 0};
        for (int32_t rank = 0; rank < b->n_ranks; rank++) {
            sum[0] += all[2 * rank];
            sum[1] += all[2 * rank + 1];
        }
        w->gradient_norm = sqrt(sum[0]);
        w->loss = sum[1] * (double)w->loss_factor;
    }
    free(losses);
    free(all);
}

/* A step by what is no number would make all weights none, and checkpoints of them
 * would take the place of those before. All ranks know the same sums, and so end alike.
 */
static void check_norm(galv_worker *w)
{
    if (w->err.status == GALV_OK && w->b->status(w->b, &w->err) == GALV_OK &&
        (!isfinite(w->loss) || !isfinite(w->gradient_norm))) {
        galv_fail(&w->err, GALV_INTERNAL,
                  "at step %lld the loss is %g and the gradient norm %g: nothing was "
                  "stepped",
                  (long long)w->adamw.step, w->loss, w->gradient_norm);
        galv_hint(&w->err, "a smaller --learning-rate, perhaps from an earlier "
                           "checkpoint: those written are as they were");
    }
}

void galv_optimizer_run(galv_worker *w, int32_t first_layer, int32_t n_layers)
{
    galv_block *blocks[3];
    if (!w->stepped) {
        find_norm(w);
        check_norm(w);
        w->stepped = true;
        w->adamw.gradient_scale = w->clip_norm > 0 && w->gradient_norm > w->clip_norm
                                      ? (float)(w->clip_norm / w->gradient_norm)
                                      : 1;
    }
    for (int32_t layer = first_layer;
         layer < first_layer + n_layers && w->err.status == GALV_OK; layer++) {
        int n = galv_blocks_of(blocks, w, layer, GALV_PART_WHOLE);
        for (int i = 0; i < n; i++) {
            galv_block_step(blocks[i], w->b, &w->adamw);
        }
    }
}
