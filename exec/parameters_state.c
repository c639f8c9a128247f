/* What happens to blocks in a step: gathered, used, reduced, stepped.
 *
 * A reduction first adds up what copies of a tensor on other tp ranks have (norms under
 * sequence parallelism, key/value heads held several times), over the gradient as a
 * whole, since shares of ZeRO cut through tensors; then it sums over the ranks that
 * hold the block: all-reduce (ZeRO-0) or reduce-scatter. ZeRO-2 and 3 do so for every
 * micro-batch: the share is added to, and the whole gradient is given up.
 *
 * The simulator's program has no operation for the first part (schedule/ says that it
 * is left out); it is timed as part of the reduction. */
#include "exec/parameters.h"

#include <assert.h>
#include <string.h>

void galv_block_release(galv_block *block, galv_backend *b)
{
    void *owned[] = {block->weights,        block->weight_share, block->gradient,
                     block->gradient_share, block->master,       block->moment1,
                     block->moment2};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        if (owned[i] != NULL) {
            b->release(b, owned[i], GALV_STREAM_COMPUTE);
        }
    }
    while (block->n_gathered > 0) {
        galv_block_drop(block, b);
    }
    block->weights = block->weight_share = NULL;
    block->gradient = block->gradient_share = NULL;
    block->master = block->moment1 = block->moment2 = NULL;
}

void *galv_weights(const galv_backend *b, const galv_layer_tensors *tensors,
                   galv_tensor_id id)
{
    const galv_block *block = tensors->block[id];
    if (block == NULL) {
        return NULL;
    }
    char *base = block->zero < 3         ? block->weights
                 : block->n_gathered > 0 ? block->gathered[0].weights
                                         : NULL;
    assert(base != NULL && "weights are used before they are gathered");
    return base == NULL
               ? NULL
               : base + (size_t)tensors->tensor[id]->offset * (size_t)b->element_bytes;
}

float *galv_gradient(galv_backend *b, const galv_layer_tensors *tensors,
                     galv_tensor_id id)
{
    galv_block *block = tensors->block[id];
    if (block == NULL) {
        return NULL;
    }
    if (block->gradient == NULL) {
        size_t bytes = (size_t)block->n * sizeof(float);
        block->gradient = b->allocate(b, bytes);
        if (block->gradient == NULL) {
            return NULL;
        }
        b->fill_zero(b, GALV_STREAM_COMPUTE, block->gradient, bytes);
    }
    return block->gradient + tensors->tensor[id]->offset;
}

void galv_block_gather(galv_block *block, galv_backend *b, galv_stream stream)
{
    size_t own = (size_t)block->own_n;
    size_t element = (size_t)b->element_bytes;
    if (block->zero == 1 || block->zero == 2) {
        char *weights = block->weights;
        b->all_gather(b, stream, block->holders, weights,
                      weights + (size_t)block->own_first * element, own, GALV_ELEMENT);
    } else if (block->zero == 3) {
        assert(block->n_gathered < GALV_MOST_GATHERED);
        galv_gathered *g = &block->gathered[block->n_gathered++];
        g->weights = b->allocate(b, (size_t)block->n * element);
        if (g->weights != NULL) {
            b->all_gather(b, stream, block->holders, g->weights, block->weight_share,
                          own, GALV_ELEMENT);
        }
        g->ready = b->record(b, stream);
    }
}

void galv_block_await(galv_block *block, galv_backend *b)
{
    if (block != NULL && block->zero == 3 && block->n_gathered > 0) {
        b->wait(b, GALV_STREAM_COMPUTE, block->gathered[0].ready);
    }
}

void galv_block_drop(galv_block *block, galv_backend *b)
{
    if (block == NULL || block->n_gathered == 0) {
        return;
    }
    b->release(b, block->gathered[0].weights, GALV_STREAM_COMPUTE);
    block->n_gathered--;
    memmove(block->gathered, block->gathered + 1,
            (size_t)block->n_gathered * sizeof *block->gathered);
}

/* Adds up the gradients of tensors that several tp ranks hold, run by run. */
static void sum_copies(galv_block *block, galv_backend *b, galv_stream stream)
{
    for (int32_t i = 0; i < block->n_tensors; i++) {
        const galv_tensor *t = &block->tensors[i];
        if (!t->sums) {
            continue;
        }
        bool keys = t->id == GALV_TENSOR_KEY || t->id == GALV_TENSOR_VALUE ||
                    t->id == GALV_TENSOR_KEY_BIAS || t->id == GALV_TENSOR_VALUE_BIAS;
        int64_t begin = t->offset;
        int64_t end = begin + t->n_rows * t->n_cols;
        while (!keys && i + 1 < block->n_tensors && block->tensors[i + 1].sums &&
               block->tensors[i + 1].n_copies == t->n_copies &&
               block->tensors[i + 1].id != GALV_TENSOR_KEY) {
            i++;
            end = block->tensors[i].offset +
                  block->tensors[i].n_rows * block->tensors[i].n_cols;
        }
        b->all_reduce(b, stream, keys ? block->key_copies : block->copies,
                      block->gradient + begin, (size_t)(end - begin), GALV_FLOAT32,
                      GALV_SUM);
    }
}

void galv_block_reduce(galv_block *block, galv_backend *b, galv_stream stream)
{
    size_t n = (size_t)block->n;
    size_t own = (size_t)block->own_n;
    if (block->gradient == NULL) { /* nothing was added: the others wait for zeros */
        block->gradient = b->allocate(b, n * sizeof(float));
        if (block->gradient == NULL) {
            return;
        }
        b->fill_zero(b, stream, block->gradient, n * sizeof(float));
    }
    sum_copies(block, b, stream);
    float *mine = block->gradient + block->own_first;
    if (block->holders != NULL && block->zero == 0) {
        b->all_reduce(b, stream, block->holders, block->gradient, n, GALV_FLOAT32,
                      GALV_SUM);
    } else if (block->holders != NULL) {
        b->reduce_scatter(b, stream, block->holders, mine, block->gradient, own,
                          GALV_FLOAT32);
    }
    if (block->zero >= 2) {
        b->accumulate(b, stream, block->gradient_share, mine, GALV_FLOAT32, own);
        b->release(b, block->gradient, stream);
        block->gradient = NULL;
    }
    block->reduced = true;
    block->reduced_at = b->record(b, stream);
}

float *galv_block_own_gradient(galv_block *block)
{
    return block->zero >= 2 ? block->gradient_share
                            : block->gradient + block->own_first;
}

void galv_block_sum_squares(galv_block *block, galv_backend *b, float *sum)
{
    if (!block->counted) {
        return;
    }
    /* without ZeRO all holders have all of it: each counts its share */
    int64_t share = block->n / block->n_holders;
    int64_t first = share * block->holder;
    const float *gradient = galv_block_own_gradient(block) - block->own_first;
    for (int32_t i = 0; i < block->n_tensors; i++) {
        const galv_tensor *t = &block->tensors[i];
        if (t->copy != 0) {
            continue;
        }
        int64_t begin = t->offset > first ? t->offset : first;
        while (i + 1 < block->n_tensors && block->tensors[i + 1].copy == 0) {
            t = &block->tensors[++i]; /* gaps between tensors are 0 */
        }
        int64_t end = t->offset + t->n_rows * t->n_cols;
        end = end < first + share ? end : first + share;
        if (begin < end) {
            b->sum_squares(b, GALV_STREAM_COMPUTE, sum, gradient + begin,
                           (size_t)(end - begin));
        }
    }
}

void galv_block_step(galv_block *block, galv_backend *b, const galv_adamw *settings)
{
    char *weights = block->zero < 3
                        ? (char *)block->weights +
                              (size_t)block->own_first * (size_t)b->element_bytes
                        : block->weight_share;
    b->adamw(b, GALV_STREAM_COMPUTE, settings, block->master, block->moment1,
             block->moment2, weights, galv_block_own_gradient(block),
             (size_t)block->own_n);
}

void galv_block_clear(galv_block *block, galv_backend *b)
{
    if (block->zero >= 2) {
        b->fill_zero(b, GALV_STREAM_COMPUTE, block->gradient_share,
                     (size_t)block->own_n * sizeof(float));
    } else {
        b->fill_zero(b, GALV_STREAM_COMPUTE, block->gradient,
                     (size_t)block->n * sizeof(float));
    }
    block->reduced = false;
}
