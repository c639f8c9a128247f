/* The dense MLP: norm, into the wide, activation, back; with its residual.
 *
 * Under tensor parallelism each rank has a share of the width: its answer is a part of
 * a sum over the tp group. The same inner part serves shared experts (layer_router.c).
 * Biases after the sum are added once, to the summed rows. */
#include "exec/worker.h"

static galv_activation activation_of(const galv_layer_work *layer)
{
    return layer->wide_factor == 2 ? GALV_SWIGLU : GALV_GELU;
}

static galv_tensor_id in_weight(const galv_layer_work *layer)
{
    return layer->wide_factor == 2 ? GALV_TENSOR_GATE : GALV_TENSOR_UP;
}

static galv_tensor_id in_bias(const galv_layer_work *layer)
{
    return layer->wide_factor == 2 ? GALV_TENSOR_GATE_BIAS : GALV_TENSOR_UP_BIAS;
}

void *galv_mlp_inner(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                     const void *x)
{
    size_t wide = layer->width * layer->wide_factor;
    s->wide = galv_take(w, layer->rows, wide);
    galv_linear(w, layer, s->wide, x, in_weight(layer), layer->rows, wide,
                layer->hidden);
    galv_bias(w, layer, s->wide, in_bias(layer), layer->rows, wide);
    s->active = galv_take(w, layer->rows, layer->width);
    w->b->activate(w->b, GALV_STREAM_COMPUTE, activation_of(layer), s->active, s->wide,
                   layer->rows, layer->width);
    void *y = galv_take(w, layer->rows, layer->hidden);
    galv_linear(w, layer, y, s->active, GALV_TENSOR_DOWN, layer->rows, layer->hidden,
                layer->width);
    return y;
}

void *galv_mlp_inner_back(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                          const void *dy)
{
    size_t wide = layer->width * layer->wide_factor;
    void *dactive = galv_take(w, layer->rows, layer->width);
    galv_linear_back(w, layer, dactive, dy, GALV_TENSOR_DOWN, layer->rows,
                     layer->hidden, layer->width);
    s->dwide = galv_take(w, layer->rows, wide);
    w->b->activate_backward(w->b, GALV_STREAM_COMPUTE, activation_of(layer), s->dwide,
                            dactive, s->wide, layer->rows, layer->width);
    GALV_DROP(w, dactive);
    GALV_DROP(w, s->wide);
    void *dx = galv_take(w, layer->rows, layer->hidden);
    galv_linear_back(w, layer, dx, s->dwide, in_weight(layer), layer->rows, wide,
                     layer->hidden);
    return dx;
}

void galv_mlp_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    bool gathers = layer->place->cuts_weights && layer->place->cuts_rows;
    s->norm2 = galv_normalize(w, layer, s->middle, GALV_TENSOR_NORM2_WEIGHT, &s->mean2,
                              &s->rstd2);
    void *x = s->norm2;
    if (gathers) {
        x = galv_gather_rows(w, layer, GALV_PART_MLP, s->norm2);
    }
    void *y = galv_mlp_inner(w, layer, s, x);
    if (gathers) {
        GALV_DROP(w, x);
    }
    if (layer->place->cuts_weights) {
        y = galv_reduce_rows(w, layer, GALV_PART_MLP, y);
    }
    galv_bias(w, layer, y, GALV_TENSOR_DOWN_BIAS, layer->own_rows, layer->hidden);
    w->b->add(w->b, GALV_STREAM_COMPUTE, y, y, s->middle,
              layer->own_rows * layer->hidden);
    s->output = y;
}

void galv_mlp_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    bool gathers = layer->place->cuts_weights && layer->place->cuts_rows;
    s->mlp_dy = s->output_gradient;
    if (gathers) {
        s->mlp_dy = galv_gather_rows(w, layer, GALV_PART_MLP, s->output_gradient);
        s->norm2_all = galv_gather_rows(w, layer, GALV_PART_MLP, s->norm2);
    }
    void *dx = galv_mlp_inner_back(w, layer, s, s->mlp_dy);
    s->reducing = dx;
    if (layer->place->cuts_weights) {
        s->reducing = galv_start_reduction(w, layer, GALV_PART_MLP, dx, &s->reduced_at);
    }
}

void galv_mlp_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    size_t wide = layer->width * layer->wide_factor;
    const void *x = s->norm2_all != NULL ? s->norm2_all : s->norm2;
    galv_linear_weight(w, layer, s->mlp_dy, s->active, GALV_TENSOR_DOWN, layer->rows,
                       layer->hidden, layer->width);
    galv_linear_weight(w, layer, s->dwide, x, in_weight(layer), layer->rows, wide,
                       layer->hidden);
    galv_bias_weight(w, layer, s->dwide, in_bias(layer), layer->rows, wide);
    galv_bias_weight(w, layer, s->output_gradient, GALV_TENSOR_DOWN_BIAS,
                     layer->own_rows, layer->hidden);
    if (s->mlp_dy != s->output_gradient) {
        GALV_DROP(w, s->mlp_dy);
    }
    s->mlp_dy = NULL;
    GALV_DROP(w, s->norm2_all);
    GALV_DROP(w, s->norm2);
    GALV_DROP(w, s->dwide);
    GALV_DROP(w, s->active);
    if (s->reducing == NULL) { /* finished before */
        GALV_DROP(w, s->output_gradient);
    }
}

void galv_mlp_finish(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    if (layer->place->cuts_weights) {
        galv_worker_await(w, s->reduced_at);
    }
    s->middle_gradient = galv_normalize_back(
        w, layer, s->reducing, s->middle, GALV_TENSOR_NORM2_WEIGHT, s->mean2, s->rstd2);
    GALV_DROP(w, s->reducing);
    w->b->add(w->b, GALV_STREAM_COMPUTE, s->middle_gradient, s->middle_gradient,
              s->output_gradient, layer->own_rows * layer->hidden);
    if (s->dwide == NULL) { /* the weights were done before */
        GALV_DROP(w, s->output_gradient);
    }
    GALV_DROP(w, s->middle);
    GALV_DROP(w, s->mean2);
    GALV_DROP(w, s->rstd2);
}
