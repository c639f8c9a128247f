/* What all layers share: memory, time, products with weights, and the collectives of
 * the tp group.
 *
 * A collective first waits for the computation so far, and is recorded from when it
 * could begin to when it was over; the computation that needs it ends its piece, waits,
 * and begins another. */
#include "exec/worker.h"

#include <time.h>

#define EPSILON 1e-5f /* of norms */

/* ---- memory ---- */

void *galv_take(galv_worker *w, size_t rows, size_t cols)
{
    size_t n = rows * cols;
    return w->b->allocate(w->b, (n > 0 ? n : 1) * (size_t)w->b->element_bytes);
}

float *galv_take_floats(galv_worker *w, size_t n)
{
    return w->b->allocate(w->b, (n > 0 ? n : 1) * sizeof(float));
}

int32_t *galv_take_ints(galv_worker *w, size_t n)
{
    return w->b->allocate(w->b, (n > 0 ? n : 1) * sizeof(int32_t));
}

/* ---- time ---- */

/* Sleeps for the rest of the time that a slow rank's computation would take, from when
 * what it waited for was there. Where computation is done when it is called: on the
 * host backend. */
static void linger(const galv_worker *w)
{
    galv_backend *b = w->b;
    galv_event now = b->record(b, GALV_STREAM_COMPUTE);
    double took_s = b->event_time_s(b, now) - b->event_time_s(b, w->opened_at);
    double rest_s = took_s > 0 ? (w->slow_factor - 1) * took_s : 0;
    struct timespec rest = {.tv_sec = (time_t)rest_s};
    rest.tv_nsec = (long)(1e9 * (rest_s - (double)rest.tv_sec));
    nanosleep(&rest, NULL);
}

void galv_worker_open(galv_worker *w)
{
    w->opened_at = w->b->record(w->b, GALV_STREAM_COMPUTE);
    w->open = true;
}

void galv_worker_close(galv_worker *w)
{
    if (w->open) {
        if (w->slow_factor > 1) {
            linger(w);
        }
        galv_event end = w->b->record(w->b, GALV_STREAM_COMPUTE);
        galv_recorder_add(&w->recorder, w->operation, w->micro_batch, 0, w->opened_at,
                          end);
        w->open = false;
    }
}

void galv_worker_await(galv_worker *w, galv_event event)
{
    bool open = w->open;
    galv_worker_close(w);
    w->b->wait(w->b, GALV_STREAM_COMPUTE, event);
    if (open) {
        galv_worker_open(w);
    }
}

galv_event galv_worker_begin(galv_worker *w, galv_stream stream)
{
    galv_event computed = w->b->record(w->b, GALV_STREAM_COMPUTE);
    w->b->wait(w->b, stream, computed);
    return w->b->record(w->b, stream);
}

galv_event galv_worker_end(galv_worker *w, galv_stream stream, int kind, int part,
                           int32_t layer, double bytes, galv_event start)
{
    galv_operation operation = *w->operation;
    galv_event end = w->b->record(w->b, stream);
    operation.kind = (uint8_t)kind;
    operation.stream = (uint8_t)stream;
    operation.part = (uint8_t)part;
    operation.pass = (uint8_t)w->serves;
    operation.first_layer = layer;
    operation.n_layers = 1;
    galv_recorder_add(&w->recorder, &operation, w->micro_batch, bytes, start, end);
    return end;
}

/* ---- collectives ---- */

void *galv_gather_rows(galv_worker *w, const galv_layer_work *layer, int part,
                       const void *own)
{
    size_t n = layer->own_rows * layer->hidden;
    void *all = galv_take(w, layer->rows, layer->hidden);
    galv_event start = galv_worker_begin(w, GALV_STREAM_TP);
    w->b->all_gather(w->b, GALV_STREAM_TP, layer->groups->tp, all, own, n,
                     GALV_ELEMENT);
    galv_event done = galv_worker_end(
        w, GALV_STREAM_TP, GALV_OP_ALL_GATHER, part, layer->index,
        (double)n * w->b->element_bytes * layer->place->strategy.tp, start);
    galv_worker_await(w, done);
    return all;
}

void *galv_start_reduction(galv_worker *w, const galv_layer_work *layer, int part,
                           void *partial, galv_event *done)
{
    size_t n = layer->rows * layer->hidden;
    bool scatters = layer->place->cuts_rows;
    double bytes = (double)n * w->b->element_bytes;
    void *sum = partial;
    galv_event start;
    if (scatters) {
        sum = galv_take(w, layer->own_rows, layer->hidden);
        start = galv_worker_begin(w, GALV_STREAM_TP);
        w->b->reduce_scatter(w->b, GALV_STREAM_TP, layer->groups->tp, sum, partial,
                             layer->own_rows * layer->hidden, GALV_ELEMENT);
        w->b->release(w->b, partial, GALV_STREAM_TP);
    } else {
        start = galv_worker_begin(w, GALV_STREAM_TP);
        w->b->all_reduce(w->b, GALV_STREAM_TP, layer->groups->tp, partial, n,
                         GALV_ELEMENT, GALV_SUM);
    }
    *done = galv_worker_end(w, GALV_STREAM_TP,
                            scatters ? GALV_OP_REDUCE_SCATTER : GALV_OP_ALL_REDUCE,
                            part, layer->index, bytes, start);
    return sum;
}

void *galv_reduce_rows(galv_worker *w, const galv_layer_work *layer, int part,
                       void *partial)
{
    galv_event done;
    void *sum = galv_start_reduction(w, layer, part, partial, &done);
    galv_worker_await(w, done);
    return sum;
}

/* ---- products ---- */

void galv_linear(galv_worker *w, const galv_layer_work *layer, void *y, const void *x,
                 galv_tensor_id weight, size_t rows, size_t n_out, size_t n_in)
{
    w->b->gemm(w->b, GALV_STREAM_COMPUTE, false, true, rows, n_out, n_in, 1, x,
               galv_weights(w->b, &layer->tensors, weight), 0, y, GALV_ELEMENT);
}

void galv_linear_back(galv_worker *w, const galv_layer_work *layer, void *dx,
                      const void *dy, galv_tensor_id weight, size_t rows, size_t n_out,
                      size_t n_in)
{
    w->b->gemm(w->b, GALV_STREAM_COMPUTE, false, false, rows, n_in, n_out, 1, dy,
               galv_weights(w->b, &layer->tensors, weight), 0, dx, GALV_ELEMENT);
}

void galv_linear_weight(galv_worker *w, const galv_layer_work *layer, const void *dy,
                        const void *x, galv_tensor_id weight, size_t rows, size_t n_out,
                        size_t n_in)
{
    w->b->gemm(w->b, GALV_STREAM_COMPUTE, true, false, n_out, n_in, rows, 1, dy, x, 1,
               galv_gradient(w->b, &layer->tensors, weight), GALV_FLOAT32);
}

void galv_bias(galv_worker *w, const galv_layer_work *layer, void *y,
               galv_tensor_id bias, size_t rows, size_t n_out)
{
    const void *values = galv_weights(w->b, &layer->tensors, bias);
    if (values != NULL) {
        w->b->add_bias(w->b, GALV_STREAM_COMPUTE, y, values, rows, n_out);
    }
}

void galv_bias_weight(galv_worker *w, const galv_layer_work *layer, const void *dy,
                      galv_tensor_id bias, size_t rows, size_t n_out)
{
    float *gradient = galv_gradient(w->b, &layer->tensors, bias);
    if (gradient != NULL) {
        w->b->bias_gradient(w->b, GALV_STREAM_COMPUTE, gradient, dy, rows, n_out);
    }
}

void *galv_normalize(galv_worker *w, const galv_layer_work *layer, const void *x,
                     galv_tensor_id weight, float **mean, float **rstd)
{
    size_t rows = layer->own_rows;
    void *y = galv_take(w, rows, layer->hidden);
    *mean = layer->group->normalization == GALV_LAYERNORM ? galv_take_floats(w, rows)
                                                          : NULL;
    *rstd = galv_take_floats(w, rows);
    w->b->norm(w->b, GALV_STREAM_COMPUTE, y, *mean, *rstd, x,
               galv_weights(w->b, &layer->tensors, weight),
               galv_weights(w->b, &layer->tensors, weight + 1), rows, layer->hidden,
               EPSILON);
    return y;
}

void *galv_normalize_back(galv_worker *w, const galv_layer_work *layer, const void *dy,
                          const void *x, galv_tensor_id weight, const float *mean,
                          const float *rstd)
{
    size_t rows = layer->own_rows;
    void *dx = galv_take(w, rows, layer->hidden);
    w->b->norm_backward(
        w->b, GALV_STREAM_COMPUTE, dx, galv_gradient(w->b, &layer->tensors, weight),
        galv_gradient(w->b, &layer->tensors, weight + 1), dy, x,
        galv_weights(w->b, &layer->tensors, weight), mean, rstd, rows, layer->hidden);
    return dx;
}
