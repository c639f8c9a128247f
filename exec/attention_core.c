/* Core attention: at once, or key/value block by key/value block around the ring.
 *
 * A cp rank has the queries of its positions. Keys and values pass from rank to rank:
 * while the core works on one block the next one comes; answers over blocks are joined
 * by their log-sum-exp. Back, keys and values go around once more, each block followed
 * by the gradient that every rank adds to, which comes home after a full round.
 * Source: Liu et al. 2023 (arXiv 2310.01889), the joining as in Dao 2023 (arXiv
 * 2307.08691).
 *
 * A step of the ring is an all-to-all in which each rank has a message for its
 * neighbour alone, so that no rank waits to send until it has received. Blocks that the
 * causal mask hides altogether are not skipped: with two pieces from both ends of the
 * sequence there are none but in part. */
#include "exec/attention.h"

#include <math.h>

static galv_attention shape_of(const galv_layer_work *layer, int32_t key_rank)
{
    const galv_place *p = layer->place;
    const int32_t *positions = layer->groups->positions;
    galv_attention shape = {0};
    shape.n_samples = p->n_samples;
    shape.n_queries = shape.n_keys = p->n_positions;
    shape.n_heads = (int32_t)layer->core_heads;
    shape.n_groups = (int32_t)layer->core_key_heads;
    shape.qk_dim = shape.v_dim = (int32_t)layer->head_dim;
    shape.causal = true;
    shape.in_order = p->strategy.cp == 1;
    shape.scale = (float)(1.0 / sqrt((double)layer->head_dim));
    shape.query_positions = positions + (size_t)p->cp_index * (size_t)p->n_positions;
    shape.key_positions = positions + (size_t)key_rank * (size_t)p->n_positions;
    return shape;
}

static size_t key_values(const galv_layer_work *layer)
{
    return layer->core_rows * layer->core_key_heads * layer->head_dim;
}

/* The cp rank whose keys are here after `i` steps of the ring. */
static int32_t owner(const galv_layer_work *layer, int32_t i)
{
    int32_t cp = layer->place->strategy.cp;
    return (layer->place->cp_index - i + cp) % cp;
}

/* Passes n values on to the next rank of the ring, once they are computed. */
static galv_event pass_on(galv_worker *w, const galv_layer_work *layer, void *out,
                          const void *in, size_t n, galv_element type)
{
    int32_t cp = layer->place->strategy.cp;
    int32_t next = (layer->place->cp_index + 1) % cp;
    int32_t before = (layer->place->cp_index + cp - 1) % cp;
    int64_t *send = w->counts;
    int64_t *recv = w->counts + cp + 1;
    for (int32_t i = 0; i <= cp; i++) {
        send[i] = i > next ? (int64_t)n : 0;
        recv[i] = i > before ? (int64_t)n : 0;
    }
    galv_event start = galv_worker_begin(w, GALV_STREAM_CP);
    w->b->all_to_all(w->b, GALV_STREAM_CP, layer->groups->cp, out, recv, in, send,
                     type);
    double bytes = (double)n * (type == GALV_ELEMENT ? w->b->element_bytes : 4);
    return galv_worker_end(w, GALV_STREAM_CP, GALV_OP_RING_EXCHANGE,
                           GALV_PART_ATTENTION, layer->index, bytes, start);
}

void galv_core_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    int32_t cp = layer->place->strategy.cp;
    size_t n_out = layer->core_rows * layer->core_heads * layer->head_dim;
    size_t n_lse = layer->core_rows * layer->core_heads;
    size_t n_kv = key_values(layer);
    galv_attention shape = shape_of(layer, layer->place->cp_index);
    s->context = galv_take(w, 1, n_out);
    s->lse = galv_take_floats(w, n_lse);
    if (cp == 1) {
        b->attend(b, GALV_STREAM_COMPUTE, &shape, s->context, s->lse, s->q, s->k, s->v);
        return;
    }
    float *sum = galv_take_floats(w, n_out);
    float *part_lse = galv_take_floats(w, n_lse);
    void *block = s->k;
    for (int32_t i = 0; i < cp; i++) {
        void *next = NULL;
        galv_event came = 0;
        if (i + 1 < cp) {
            next = galv_take(w, 2, n_kv);
            came = pass_on(w, layer, next, block, 2 * n_kv, GALV_ELEMENT);
        }
        const char *values = (const char *)block + n_kv * (size_t)b->element_bytes;
        shape = shape_of(layer, owner(layer, i));
        b->attend(b, GALV_STREAM_COMPUTE, &shape, s->context,
                  i == 0 ? s->lse : part_lse, s->q, block, values);
        if (i == 0) {
            b->convert(b, GALV_STREAM_COMPUTE, sum, GALV_FLOAT32, s->context,
                       GALV_ELEMENT, n_out);
        } else {
            b->attend_merge(b, GALV_STREAM_COMPUTE, &shape, sum, s->lse, s->context,
                            part_lse);
        }
        if (next != NULL) {
            galv_worker_await(w, came);
        }
        if (block != s->k) {
            GALV_DROP(w, block);
        }
        block = next;
    }
    b->convert(b, GALV_STREAM_COMPUTE, s->context, GALV_ELEMENT, sum, GALV_FLOAT32,
               n_out);
    GALV_DROP(w, sum);
    GALV_DROP(w, part_lse);
}

/* float32 to elements; gives `x` up. */
static void *narrow(galv_worker *w, float *x, size_t n)
{
    void *y = galv_take(w, 1, n);
    w->b->convert(w->b, GALV_STREAM_COMPUTE, y, GALV_ELEMENT, x, GALV_FLOAT32, n);
    GALV_DROP(w, x);
    return y;
}

static float *zeros(galv_worker *w, size_t n)
{
    float *x = galv_take_floats(w, n);
    w->b->fill_zero(w->b, GALV_STREAM_COMPUTE, x, n * sizeof(float));
    return x;
}

/* Adds to dq and, all around the ring, to the gradients of keys and values, which it
 * returns: [2][key_values]. */
static float *ring_back(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                        const void *dcontext, float *dq)
{
    galv_backend *b = w->b;
    int32_t cp = layer->place->strategy.cp;
    size_t n_kv = key_values(layer);
    void *block = s->k;
    float *gradient = zeros(w, 2 * n_kv);
    for (int32_t i = 0; i < cp; i++) {
        void *next = NULL;
        galv_event came = 0;
        if (i + 1 < cp) {
            next = galv_take(w, 2, n_kv);
            came = pass_on(w, layer, next, block, 2 * n_kv, GALV_ELEMENT);
        }
        const char *values = (const char *)block + n_kv * (size_t)b->element_bytes;
        galv_attention shape = shape_of(layer, owner(layer, i));
        b->attend_backward(b, GALV_STREAM_COMPUTE, &shape, dq, gradient,
                           gradient + n_kv, dcontext, s->q, block, values, s->context,
                           s->lse);
        /* after the last step to its owner */
        float *theirs = galv_take_floats(w, 2 * n_kv);
        galv_event passed = pass_on(w, layer, theirs, gradient, 2 * n_kv, GALV_FLOAT32);
        galv_worker_await(w, passed);
        GALV_DROP(w, gradient);
        gradient = theirs;
        if (next != NULL) {
            galv_worker_await(w, came);
        }
        if (block != s->k) {
            GALV_DROP(w, block);
        }
        block = next;
    }
    return gradient;
}

void galv_core_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                        const void *dcontext, void **dq, void **dk, void **dv)
{
    galv_backend *b = w->b;
    size_t n_q = layer->core_rows * layer->core_heads * layer->head_dim;
    size_t n_kv = key_values(layer);
    if (layer->place->strategy.cp == 1) {
        galv_attention shape = shape_of(layer, layer->place->cp_index);
        *dq = galv_take(w, 1, n_q);
        *dk = galv_take(w, 1, n_kv);
        *dv = galv_take(w, 1, n_kv);
        b->attend_backward_whole(b, GALV_STREAM_COMPUTE, &shape, *dq, *dk, *dv,
                                 dcontext, s->q, s->k, s->v, s->context, s->lse);
        return;
    }
    float *queries = zeros(w, n_q);
    float *gradient = ring_back(w, layer, s, dcontext, queries);
    *dq = narrow(w, queries, n_q);
    *dk = galv_take(w, 1, n_kv);
    *dv = galv_take(w, 1, n_kv);
    b->convert(b, GALV_STREAM_COMPUTE, *dk, GALV_ELEMENT, gradient, GALV_FLOAT32, n_kv);
    b->convert(b, GALV_STREAM_COMPUTE, *dv, GALV_ELEMENT, gradient + n_kv, GALV_FLOAT32,
               n_kv);
    GALV_DROP(w, gradient);
}
