/* Attention: norm, queries, keys and values, the core, projection, residual.
 *
 * Tensor parallelism gives each rank heads; key/value heads fewer than tp are held by
 * several. Ulysses computes the projections on a rank's own rows with all heads, and
 * exchanges rows for heads around the core.
 * Source: Jacobs et al. 2023 (arXiv 2309.14509).
 *
 * Kept for backward: the normalised input, q, k, v, and the core's answer; selective
 * recomputation gives the answer up and makes it again. */
#include "exec/attention.h"

#define WHOLE_QKV(layer) \
    (((layer)->n_heads + 2 * (layer)->n_key_heads) * (layer)->head_dim)

static bool gathers(const galv_layer_work *layer)
{
    return layer->place->cuts_weights && layer->place->cuts_rows;
}

static bool keeps_answer(const galv_layer_work *layer)
{
    return layer->place->strategy.recompute != GALV_RECOMPUTE_SELECTIVE;
}

static void split(galv_worker *w, const galv_layer_work *layer, void *part,
                  const void *qkv, size_t first, size_t cols)
{
    size_t all = galv_core_columns(layer);
    w->b->copy_columns(w->b, GALV_STREAM_COMPUTE, part, cols,
                       (const char *)qkv + first * (size_t)w->b->element_bytes, all,
                       layer->core_rows, cols, GALV_ELEMENT);
}

static void join(galv_worker *w, const galv_layer_work *layer, void *qkv,
                 const void *part, size_t first, size_t cols)
{
    size_t all = galv_core_columns(layer);
    w->b->copy_columns(w->b, GALV_STREAM_COMPUTE,
                       (char *)qkv + first * (size_t)w->b->element_bytes, all, part,
                       cols, layer->core_rows, cols, GALV_ELEMENT);
}

static void rotate(galv_worker *w, const galv_layer_work *layer, void *x,
                   size_t n_heads, bool back)
{
    if (w->rotary) {
        const galv_place *p = layer->place;
        w->b->rotate(w->b, GALV_STREAM_COMPUTE, x,
                     layer->groups->positions +
                         (size_t)p->cp_index * (size_t)p->n_positions,
                     (size_t)p->n_positions, layer->core_rows, (int32_t)n_heads,
                     (int32_t)layer->head_dim, GALV_ROTARY_BASE, back);
    }
}

/* q, k, v of the heads here from the normalised own rows. */
static void project_in(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    size_t n = WHOLE_QKV(layer);
    size_t q = layer->core_heads * layer->head_dim;
    size_t kv = layer->core_key_heads * layer->head_dim;
    void *x = s->norm1;
    if (gathers(layer)) {
        x = galv_gather_rows(w, layer, GALV_PART_ATTENTION, s->norm1);
    }
    void *qkv = galv_take(w, layer->rows, n);
    galv_linear(w, layer, qkv, x, GALV_TENSOR_QUERY, layer->rows, n, layer->hidden);
    galv_bias(w, layer, qkv, GALV_TENSOR_QUERY_BIAS, layer->rows, n);
    if (x != s->norm1) {
        GALV_DROP(w, x);
    }
    if (galv_swaps_heads(layer)) {
        qkv = galv_swap_in(w, layer, qkv, true);
    }
    s->q = galv_take(w, layer->core_rows, q);
    s->k = galv_take(w, 2 * layer->core_rows, kv); /* k, then v: one message */
    s->v = (char *)s->k + layer->core_rows * kv * (size_t)w->b->element_bytes;
    split(w, layer, s->q, qkv, 0, q);
    split(w, layer, s->k, qkv, q, kv);
    split(w, layer, s->v, qkv, q + kv, kv);
    GALV_DROP(w, qkv);
    rotate(w, layer, s->q, layer->core_heads, false);
    rotate(w, layer, s->k, layer->core_key_heads, false);
}

/* The core's answer, by own rows in `joined`. */
static void answer(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_core_forward(w, layer, s);
    s->joined = s->context;
    if (galv_swaps_heads(layer)) {
        s->joined = galv_swap_out(w, layer, s->context);
    }
}

static void drop_answer(galv_worker *w, galv_saved *s)
{
    if (s->joined != s->context) {
        GALV_DROP(w, s->joined);
    }
    s->joined = NULL;
    GALV_DROP(w, s->context);
    GALV_DROP(w, s->lse);
}

void galv_attention_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    s->norm1 = galv_normalize(w, layer, s->input, GALV_TENSOR_NORM1_WEIGHT, &s->mean1,
                              &s->rstd1);
    project_in(w, layer, s);
    answer(w, layer, s);
    void *y = galv_take(w, layer->rows, layer->hidden);
    galv_linear(w, layer, y, s->joined, GALV_TENSOR_PROJECTION, layer->rows,
                layer->hidden, layer->n_heads * layer->head_dim);
    if (!keeps_answer(layer)) {
        drop_answer(w, s);
    }
    if (layer->place->cuts_weights) {
        y = galv_reduce_rows(w, layer, GALV_PART_ATTENTION, y);
    }
    galv_bias(w, layer, y, GALV_TENSOR_PROJECTION_BIAS, layer->own_rows, layer->hidden);
    w->b->add(w->b, GALV_STREAM_COMPUTE, y, y, s->input,
              layer->own_rows * layer->hidden);
    s->middle = y;
}

/* Gradients of q, k, v as one matrix over the rows of the projection. */
static void *core_back(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                       void *djoined)
{
    size_t q = layer->core_heads * layer->head_dim;
    size_t kv = layer->core_key_heads * layer->head_dim;
    void *dcontext = djoined;
    if (galv_swaps_heads(layer)) {
        dcontext = galv_swap_in(w, layer, djoined, false);
    }
    void *dq;
    void *dk;
    void *dv;
    galv_core_backward(w, layer, s, dcontext, &dq, &dk, &dv);
    GALV_DROP(w, dcontext);
    rotate(w, layer, dq, layer->core_heads, true);
    rotate(w, layer, dk, layer->core_key_heads, true);
    void *dqkv = galv_take(w, layer->core_rows, galv_core_columns(layer));
    join(w, layer, dqkv, dq, 0, q);
    join(w, layer, dqkv, dk, q, kv);
    join(w, layer, dqkv, dv, q + kv, kv);
    GALV_DROP(w, dq);
    GALV_DROP(w, dk);
    GALV_DROP(w, dv);
    return galv_swaps_heads(layer) ? galv_swap_back(w, layer, dqkv) : dqkv;
}

void galv_attention_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    size_t n_in = layer->n_heads * layer->head_dim;
    s->attention_dy = s->middle_gradient;
    if (gathers(layer)) {
        s->attention_dy =
            galv_gather_rows(w, layer, GALV_PART_ATTENTION, s->middle_gradient);
        s->norm1_all = galv_gather_rows(w, layer, GALV_PART_ATTENTION, s->norm1);
    }
    if (s->context == NULL) {
        answer(w, layer, s);
    }
    void *djoined = galv_take(w, layer->rows, n_in);
    galv_linear_back(w, layer, djoined, s->attention_dy, GALV_TENSOR_PROJECTION,
                     layer->rows, layer->hidden, n_in);
    s->dqkv = core_back(w, layer, s, djoined);
    GALV_DROP(w, s->q);
    GALV_DROP(w, s->k);
    s->v = NULL;
    GALV_DROP(w, s->lse);
    if (s->joined != s->context) {
        GALV_DROP(w, s->context);
    }
    void *dx = galv_take(w, layer->rows, layer->hidden);
    galv_linear_back(w, layer, dx, s->dqkv, GALV_TENSOR_QUERY, layer->rows,
                     WHOLE_QKV(layer), layer->hidden);
    s->reducing = dx;
    if (layer->place->cuts_weights) {
        s->reducing =
            galv_start_reduction(w, layer, GALV_PART_ATTENTION, dx, &s->reduced_at);
    }
}

void galv_attention_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    size_t n = WHOLE_QKV(layer);
    const void *x = s->norm1_all != NULL ? s->norm1_all : s->norm1;
    galv_linear_weight(w, layer, s->attention_dy, s->joined, GALV_TENSOR_PROJECTION,
                       layer->rows, layer->hidden, layer->n_heads * layer->head_dim);
    galv_bias_weight(w, layer, s->middle_gradient, GALV_TENSOR_PROJECTION_BIAS,
                     layer->own_rows, layer->hidden);
    galv_linear_weight(w, layer, s->dqkv, x, GALV_TENSOR_QUERY, layer->rows, n,
                       layer->hidden);
    galv_bias_weight(w, layer, s->dqkv, GALV_TENSOR_QUERY_BIAS, layer->rows, n);
    if (s->attention_dy != s->middle_gradient) {
        GALV_DROP(w, s->attention_dy);
    }
    s->attention_dy = NULL;
    s->context = NULL; /* it was `joined`, or is dropped */
    GALV_DROP(w, s->joined);
    GALV_DROP(w, s->norm1_all);
    GALV_DROP(w, s->norm1);
    GALV_DROP(w, s->dqkv);
    if (s->reducing == NULL) { /* finished before */
        GALV_DROP(w, s->middle_gradient);
    }
}

void galv_attention_finish(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    if (layer->place->cuts_weights) {
        galv_worker_await(w, s->reduced_at);
    }
    s->input_gradient = galv_normalize_back(
        w, layer, s->reducing, s->input, GALV_TENSOR_NORM1_WEIGHT, s->mean1, s->rstd1);
    GALV_DROP(w, s->reducing);
    w->b->add(w->b, GALV_STREAM_COMPUTE, s->input_gradient, s->input_gradient,
              s->middle_gradient, layer->own_rows * layer->hidden);
    if (s->dqkv == NULL) { /* the weights were done before */
        GALV_DROP(w, s->middle_gradient);
    }
    GALV_DROP(w, s->input);
    GALV_DROP(w, s->mean1);
    GALV_DROP(w, s->rstd1);
}
