/* Experts in place of the MLP: router, experts, combination; shared experts beside.
 *
 * Forward: norm, router, the tokens' copies to the ranks of their experts (ROUTER,
 * exchange, EXPERTS), back (exchange), and their weighted sum with the residual
 * (COMBINE). Experts are whole: tensor parallelism does not cut them, but its ranks
 * share the tokens out: they hold different ones under sequence parallelism, and under
 * sp=none each routes its share of the rows and they join what they made.
 *
 * Shared experts are a dense MLP that tp cuts. Under sp=none its parts are added up
 * together with the joining of the routed tokens, in one all-reduce that is recorded as
 * the all-gather of the program; without shared experts it is that all-gather, if rows
 * divide.
 *
 * No tokens are dropped and there is no balancing loss: capacity is what it takes.
 * Source: Jiang et al. 2024 (Mixtral, arXiv 2401.04088); Dai et al. 2024 (DeepSeekMoE,
 * arXiv 2401.06066) for shared experts. */
#include "exec/routing.h"

static bool gathers(const galv_layer_work *layer)
{
    return layer->place->cuts_weights && layer->place->cuts_rows;
}

/* Do tp ranks hold the same rows? */
static bool shares_out(const galv_layer_work *layer)
{
    return layer->place->cuts_weights && !layer->place->cuts_rows;
}

static size_t share_begin(const galv_layer_work *layer, int32_t rank)
{
    size_t tp = (size_t)layer->place->strategy.tp;
    return shares_out(layer) ? layer->own_rows * (size_t)rank / tp : 0;
}

static size_t share_end(const galv_layer_work *layer, int32_t rank)
{
    return shares_out(layer) ? share_begin(layer, rank + 1) : layer->own_rows;
}

static char *row_of(const galv_worker *w, const galv_layer_work *layer,
                    const void *rows, size_t row)
{
    return (char *)(uintptr_t)rows + row * layer->hidden * (size_t)w->b->element_bytes;
}

static size_t in_width(const galv_layer_work *layer)
{
    return (size_t)layer->group->moe_ffn_hidden_size * layer->wide_factor;
}

static galv_activation activation_of(const galv_layer_work *layer)
{
    return layer->wide_factor == 2 ? GALV_SWIGLU : GALV_GELU;
}

/* All rows from what each tp rank has of them, others 0 (sp=none): queued, the sum is
 * there after the event. */
static void *start_joining(galv_worker *w, const galv_layer_work *layer, int part,
                           void *rows, galv_event *done)
{
    size_t n = layer->own_rows * layer->hidden;
    size_t tp = (size_t)layer->place->strategy.tp;
    double bytes = (double)n * w->b->element_bytes;
    galv_event start = galv_worker_begin(w, GALV_STREAM_TP);
    if (layer->width == 0 && layer->own_rows % tp == 0) {
        size_t mine = share_begin(layer, layer->place->tp_index);
        w->b->all_gather(w->b, GALV_STREAM_TP, layer->groups->tp, rows,
                         row_of(w, layer, rows, mine), n / tp, GALV_ELEMENT);
    } else {
        w->b->all_reduce(w->b, GALV_STREAM_TP, layer->groups->tp, rows, n, GALV_ELEMENT,
                         GALV_SUM);
    }
    *done = galv_worker_end(w, GALV_STREAM_TP, GALV_OP_ALL_GATHER, part, layer->index,
                            bytes, start);
    return rows;
}

/* Zeros for all own rows. */
static void *no_rows(galv_worker *w, const galv_layer_work *layer)
{
    void *rows = galv_take(w, layer->own_rows, layer->hidden);
    w->b->fill_zero(w->b, GALV_STREAM_COMPUTE, rows,
                    layer->own_rows * layer->hidden * (size_t)w->b->element_bytes);
    return rows;
}

/* ---- router ---- */

void galv_router_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    int32_t tp_index = layer->place->tp_index;
    size_t first = share_begin(layer, tp_index);
    size_t n = share_end(layer, tp_index) - first;
    void *shared = NULL;
    s->norm2 = galv_normalize(w, layer, s->middle, GALV_TENSOR_NORM2_WEIGHT, &s->mean2,
                              &s->rstd2);
    if (layer->width > 0) {
        void *x = s->norm2;
        if (gathers(layer)) {
            x = galv_gather_rows(w, layer, GALV_PART_ROUTER, s->norm2);
        }
        shared = galv_mlp_inner(w, layer, s, x);
        if (gathers(layer)) {
            GALV_DROP(w, x);
            shared = galv_reduce_rows(w, layer, GALV_PART_ROUTER, shared);
        }
    }
    s->routed = galv_route(w, layer, row_of(w, layer, s->norm2, first), first, n);
    if (s->routed != NULL) {
        s->routed->shared = shared;
    } else {
        GALV_DROP(w, shared);
    }
}

void galv_router_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    galv_routed *r = s->routed;
    size_t n_experts = (size_t)layer->group->num_experts;
    size_t h = layer->hidden;
    if (r == NULL) {
        return;
    }
    float *dlogits = galv_take_floats(w, r->n_rows * n_experts);
    b->route_backward(b, GALV_STREAM_COMPUTE, dlogits, r->dweights, r->experts,
                      r->weights, r->n_rows, (int32_t)n_experts,
                      layer->group->moe_router_topk);
    r->dlogits = galv_take(w, r->n_rows, n_experts);
    b->convert(b, GALV_STREAM_COMPUTE, r->dlogits, GALV_ELEMENT, dlogits, GALV_FLOAT32,
               r->n_rows * n_experts);
    GALV_DROP(w, dlogits);
    void *all = NULL; /* gradients of all rows of the matrix products */
    if (layer->width > 0) {
        s->mlp_dy = s->output_gradient;
        if (gathers(layer)) {
            s->mlp_dy =
                galv_gather_rows(w, layer, GALV_PART_ROUTER, s->output_gradient);
            s->norm2_all = galv_gather_rows(w, layer, GALV_PART_ROUTER, s->norm2);
        }
        all = galv_mlp_inner_back(w, layer, s, s->mlp_dy);
    }
    if (gathers(layer) && all != NULL) { /* goes another way than the own rows */
        s->reducing =
            galv_start_reduction(w, layer, GALV_PART_ROUTER, all, &s->reduced_at);
        all = r->dx = no_rows(w, layer);
    } else if (all == NULL) {
        all = no_rows(w, layer);
    }
    char *mine = row_of(w, layer, all, r->first_row);
    b->scatter_add_rows(b, GALV_STREAM_COMPUTE, mine, r->dsent, r->dispatch, r->n_sent,
                        h, GALV_ELEMENT);
    GALV_DROP(w, r->dsent);
    b->gemm(b, GALV_STREAM_COMPUTE, false, false, r->n_rows, h, n_experts, 1,
            r->dlogits, galv_weights(b, &layer->tensors, GALV_TENSOR_ROUTER), 1, mine,
            GALV_ELEMENT);
    if (s->reducing == NULL) {
        s->reducing = all;
        if (shares_out(layer)) {
            s->reducing =
                start_joining(w, layer, GALV_PART_ROUTER, all, &s->reduced_at);
        }
    }
}

void galv_router_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_routed *r = s->routed;
    size_t n_experts = (size_t)layer->group->num_experts;
    if (r == NULL) {
        return;
    }
    galv_linear_weight(w, layer, r->dlogits, row_of(w, layer, s->norm2, r->first_row),
                       GALV_TENSOR_ROUTER, r->n_rows, n_experts, layer->hidden);
    GALV_DROP(w, r->dlogits);
    if (layer->width > 0) {
        galv_mlp_weight(w, layer, s);
    } else {
        GALV_DROP(w, s->norm2);
        if (s->reducing == NULL) { /* finished before */
            GALV_DROP(w, s->output_gradient);
        }
    }
    if (s->reducing == NULL && r->dy == NULL) {
        galv_routed_drop(w, s);
    }
}

void galv_router_finish(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_routed *r = s->routed;
    if (r == NULL) {
        return;
    }
    if (r->dx != NULL) {
        galv_worker_await(w, s->reduced_at);
        w->b->add(w->b, GALV_STREAM_COMPUTE, s->reducing, s->reducing, r->dx,
                  layer->own_rows * layer->hidden);
        GALV_DROP(w, r->dx);
    } else if (shares_out(layer)) {
        galv_worker_await(w, s->reduced_at);
    }
    s->middle_gradient = galv_normalize_back(
        w, layer, s->reducing, s->middle, GALV_TENSOR_NORM2_WEIGHT, s->mean2, s->rstd2);
    GALV_DROP(w, s->reducing);
    w->b->add(w->b, GALV_STREAM_COMPUTE, s->middle_gradient, s->middle_gradient,
              s->output_gradient, layer->own_rows * layer->hidden);
    GALV_DROP(w, s->middle);
    GALV_DROP(w, s->mean2);
    GALV_DROP(w, s->rstd2);
    if (r->dlogits == NULL) { /* the weights were done before */
        GALV_DROP(w, s->output_gradient);
        if (r->dy == NULL) {
            galv_routed_drop(w, s);
        }
    }
}

/* ---- experts ---- */

/* Rows [begin, end) of one expert, and where its weights begin. */
typedef struct expert {
    size_t begin, n;
    size_t first; /* of rows of experts before it: in a matrix of `height` rows each */
} expert;

static expert expert_at(const galv_routed *r, size_t index, size_t height)
{
    expert e;
    e.begin = (size_t)r->expert_begin[index];
    e.n = (size_t)r->expert_begin[index + 1] - e.begin;
    e.first = index * height;
    return e;
}

static char *at(const galv_worker *w, const void *matrix, size_t row, size_t cols)
{
    return (char *)(uintptr_t)matrix + row * cols * (size_t)w->b->element_bytes;
}

static void forward_of_experts(galv_worker *w, galv_layer_work *layer, galv_routed *r,
                               void *answer)
{
    galv_backend *b = w->b;
    size_t h = layer->hidden;
    size_t in = in_width(layer);
    size_t f = (size_t)layer->group->moe_ffn_hidden_size;
    const void *weights = galv_weights(b, &layer->tensors, GALV_TENSOR_EXPERT_IN);
    const void *out = galv_weights(b, &layer->tensors, GALV_TENSOR_EXPERT_OUT);
    const void *bias = galv_weights(b, &layer->tensors, GALV_TENSOR_EXPERT_IN_BIAS);
    const void *out_bias =
        galv_weights(b, &layer->tensors, GALV_TENSOR_EXPERT_OUT_BIAS);
    for (size_t i = 0; i < galv_experts_here(layer); i++) {
        expert e = expert_at(r, i, in);
        if (e.n == 0) {
            continue;
        }
        b->gemm(b, GALV_STREAM_COMPUTE, false, true, e.n, in, h, 1,
                at(w, r->x, e.begin, h), at(w, weights, e.first, h), 0,
                at(w, r->wide, e.begin, in), GALV_ELEMENT);
        if (bias != NULL) {
            b->add_bias(b, GALV_STREAM_COMPUTE, at(w, r->wide, e.begin, in),
                        at(w, bias, i, in), e.n, in);
        }
        b->activate(b, GALV_STREAM_COMPUTE, activation_of(layer),
                    at(w, r->active, e.begin, f), at(w, r->wide, e.begin, in), e.n, f);
        b->gemm(b, GALV_STREAM_COMPUTE, false, true, e.n, h, f, 1,
                at(w, r->active, e.begin, f), at(w, out, i * h, f), 0,
                at(w, answer, e.begin, h), GALV_ELEMENT);
        if (out_bias != NULL) {
            b->add_bias(b, GALV_STREAM_COMPUTE, at(w, answer, e.begin, h),
                        at(w, out_bias, i, h), e.n, h);
        }
    }
}

/* Rows of what came, sorted by expert, or back; gives `in` up. */
static void *permute(galv_worker *w, const galv_layer_work *layer, const galv_routed *r,
                     void *in, const int32_t *index)
{
    void *out = galv_take(w, r->n_received, layer->hidden);
    w->b->gather_rows(w->b, GALV_STREAM_COMPUTE, out, in, index, r->n_received,
                      layer->hidden, GALV_ELEMENT);
    GALV_DROP(w, in);
    return out;
}

void galv_experts_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_routed *r = s->routed;
    if (r == NULL) {
        return;
    }
    void *came = galv_exchange_tokens(w, layer, r, r->sent, true, GALV_PART_EXPERTS);
    r->sent = NULL;
    r->x = permute(w, layer, r, came, r->sort);
    r->wide = galv_take(w, r->n_received, in_width(layer));
    r->active = galv_take(w, r->n_received, (size_t)layer->group->moe_ffn_hidden_size);
    void *answer = galv_take(w, r->n_received, layer->hidden);
    forward_of_experts(w, layer, r, answer);
    r->answer = permute(w, layer, r, answer, r->unsort);
}

void galv_experts_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    galv_routed *r = s->routed;
    size_t h = layer->hidden;
    size_t in = in_width(layer);
    size_t f = (size_t)layer->group->moe_ffn_hidden_size;
    if (r == NULL) {
        return;
    }
    const void *weights = galv_weights(b, &layer->tensors, GALV_TENSOR_EXPERT_IN);
    const void *out = galv_weights(b, &layer->tensors, GALV_TENSOR_EXPERT_OUT);
    void *dactive = galv_take(w, r->n_received, f);
    void *dx = galv_take(w, r->n_received, h);
    r->dwide = galv_take(w, r->n_received, in);
    for (size_t i = 0; i < galv_experts_here(layer); i++) {
        expert e = expert_at(r, i, in);
        if (e.n == 0) {
            continue;
        }
        b->gemm(b, GALV_STREAM_COMPUTE, false, false, e.n, f, h, 1,
                at(w, r->dy, e.begin, h), at(w, out, i * h, f), 0,
                at(w, dactive, e.begin, f), GALV_ELEMENT);
        b->activate_backward(b, GALV_STREAM_COMPUTE, activation_of(layer),
                             at(w, r->dwide, e.begin, in), at(w, dactive, e.begin, f),
                             at(w, r->wide, e.begin, in), e.n, f);
        b->gemm(b, GALV_STREAM_COMPUTE, false, false, e.n, h, in, 1,
                at(w, r->dwide, e.begin, in), at(w, weights, e.first, h), 0,
                at(w, dx, e.begin, h), GALV_ELEMENT);
    }
    GALV_DROP(w, dactive);
    GALV_DROP(w, r->wide);
    dx = permute(w, layer, r, dx, r->unsort);
    r->dsent = galv_exchange_tokens(w, layer, r, dx, false, GALV_PART_EXPERTS);
}

void galv_experts_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    galv_routed *r = s->routed;
    size_t h = layer->hidden;
    size_t in = in_width(layer);
    size_t f = (size_t)layer->group->moe_ffn_hidden_size;
    if (r == NULL) {
        return;
    }
    float *weights = galv_gradient(b, &layer->tensors, GALV_TENSOR_EXPERT_IN);
    float *out = galv_gradient(b, &layer->tensors, GALV_TENSOR_EXPERT_OUT);
    float *bias = galv_gradient(b, &layer->tensors, GALV_TENSOR_EXPERT_IN_BIAS);
    float *out_bias = galv_gradient(b, &layer->tensors, GALV_TENSOR_EXPERT_OUT_BIAS);
    for (size_t i = 0; i < galv_experts_here(layer); i++) {
        expert e = expert_at(r, i, in);
        if (e.n == 0) {
            continue;
        }
        b->gemm(b, GALV_STREAM_COMPUTE, true, false, h, f, e.n, 1,
                at(w, r->dy, e.begin, h), at(w, r->active, e.begin, f), 1,
                out + i * h * f, GALV_FLOAT32);
        b->gemm(b, GALV_STREAM_COMPUTE, true, false, in, h, e.n, 1,
                at(w, r->dwide, e.begin, in), at(w, r->x, e.begin, h), 1,
                weights + e.first * h, GALV_FLOAT32);
        if (bias != NULL) {
            b->bias_gradient(b, GALV_STREAM_COMPUTE, bias + i * in,
                             at(w, r->dwide, e.begin, in), e.n, in);
            b->bias_gradient(b, GALV_STREAM_COMPUTE, out_bias + i * h,
                             at(w, r->dy, e.begin, h), e.n, h);
        }
    }
    GALV_DROP(w, r->dy);
    GALV_DROP(w, r->dwide);
    GALV_DROP(w, r->active);
    GALV_DROP(w, r->x);
}

/* ---- combination ---- */

void galv_combine_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    galv_routed *r = s->routed;
    size_t n = layer->own_rows * layer->hidden;
    if (r == NULL) {
        return;
    }
    r->returned =
        galv_exchange_tokens(w, layer, r, r->answer, false, GALV_PART_COMBINE);
    r->answer = NULL;
    void *sum = galv_take(w, r->n_rows, layer->hidden);
    b->combine(b, GALV_STREAM_COMPUTE, sum, r->returned, r->place, r->weights,
               r->n_rows, layer->group->moe_router_topk, layer->hidden);
    void *y = r->shared;
    r->shared = NULL;
    if (y == NULL && shares_out(layer)) {
        y = no_rows(w, layer);
    }
    if (y == NULL) {
        y = sum;
    } else {
        char *mine = row_of(w, layer, y, r->first_row);
        b->add(b, GALV_STREAM_COMPUTE, mine, mine, sum, r->n_rows * layer->hidden);
        GALV_DROP(w, sum);
    }
    if (shares_out(layer)) {
        galv_event done;
        y = start_joining(w, layer, GALV_PART_COMBINE, y, &done);
        galv_worker_await(w, done);
    }
    galv_bias(w, layer, y, GALV_TENSOR_DOWN_BIAS, layer->own_rows, layer->hidden);
    b->add(b, GALV_STREAM_COMPUTE, y, y, s->middle, n);
    s->output = y;
}

void galv_combine_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    galv_routed *r = s->routed;
    int32_t topk = layer->group->moe_router_topk;
    if (r == NULL) {
        return;
    }
    void *dreturned = galv_take(w, r->n_sent, layer->hidden);
    r->dweights = galv_take_floats(w, r->n_rows * (size_t)topk);
    b->combine_backward(b, GALV_STREAM_COMPUTE, dreturned, r->dweights,
                        row_of(w, layer, s->output_gradient, r->first_row), r->returned,
                        r->place, r->weights, r->n_rows, topk, layer->hidden);
    GALV_DROP(w, r->returned);
    void *came = galv_exchange_tokens(w, layer, r, dreturned, true, GALV_PART_COMBINE);
    r->dy = permute(w, layer, r, came, r->sort);
}

void galv_routed_drop(galv_worker *w, galv_saved *s)
{
    galv_routed_free(w, s->routed);
    s->routed = NULL;
}
