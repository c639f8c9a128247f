/* The two ends of the model: embedding; final norm, logits and loss.
 *
 * Both tables are cut by rows of the vocabulary under tensor parallelism: each rank
 * looks up the tokens that it has, zeros for the others, and the sum over the group is
 * the embedding; each rank has the logits of its words, and the softmax reduces maxima
 * and sums over the group. Learned positions are cut and summed the same way.
 * Source: Shoeybi et al. 2019 (arXiv 1909.08053) section 3.
 *
 * The reductions inside of the loss are small; the program has no operation for them,
 * the timeline shows them where they happen. */
#include "exec/worker.h"

static bool gathers(const galv_layer_work *layer)
{
    return layer->place->cuts_weights && layer->place->cuts_rows;
}

/* Positions of the rows that tokens are looked up for. */
static const int32_t *positions_of(const galv_layer_work *layer)
{
    return layer->groups->row_positions +
           (layer->place->cuts_weights ? 0 : layer->place->first_row);
}

static void range_of(const galv_layer_work *layer, galv_tensor_id id, int32_t *begin,
                     int32_t *end)
{
    const galv_tensor *t = layer->tensors.tensor[id];
    *begin = (int32_t)t->first_row;
    *end = (int32_t)(t->first_row + t->n_rows);
}

void galv_embedding_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    int32_t begin;
    int32_t end;
    void *y = galv_take(w, layer->rows, layer->hidden);
    range_of(layer, GALV_TENSOR_TOKEN_TABLE, &begin, &end);
    b->embed(b, GALV_STREAM_COMPUTE, y,
             galv_weights(b, &layer->tensors, GALV_TENSOR_TOKEN_TABLE), s->tokens,
             begin, end, layer->rows, layer->hidden);
    if (layer->tensors.tensor[GALV_TENSOR_POSITION_TABLE] != NULL) {
        void *learned = galv_take(w, layer->rows, layer->hidden);
        range_of(layer, GALV_TENSOR_POSITION_TABLE, &begin, &end);
        b->embed(b, GALV_STREAM_COMPUTE, learned,
                 galv_weights(b, &layer->tensors, GALV_TENSOR_POSITION_TABLE),
                 positions_of(layer), begin, end, layer->rows, layer->hidden);
        b->add(b, GALV_STREAM_COMPUTE, y, y, learned, layer->rows * layer->hidden);
        GALV_DROP(w, learned);
    }
    if (layer->place->cuts_weights) {
        y = galv_reduce_rows(w, layer, GALV_PART_WHOLE, y);
    }
    s->output = y;
}

void galv_embedding_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    s->mlp_dy = s->output_gradient;
    if (gathers(layer)) {
        s->mlp_dy = galv_gather_rows(w, layer, GALV_PART_WHOLE, s->output_gradient);
    }
}

void galv_embedding_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    int32_t begin;
    int32_t end;
    range_of(layer, GALV_TENSOR_TOKEN_TABLE, &begin, &end);
    b->embed_backward(b, GALV_STREAM_COMPUTE,
                      galv_gradient(b, &layer->tensors, GALV_TENSOR_TOKEN_TABLE),
                      s->mlp_dy, s->tokens, begin, end, layer->rows, layer->hidden);
    if (layer->tensors.tensor[GALV_TENSOR_POSITION_TABLE] != NULL) {
        range_of(layer, GALV_TENSOR_POSITION_TABLE, &begin, &end);
        b->embed_backward(b, GALV_STREAM_COMPUTE,
                          galv_gradient(b, &layer->tensors, GALV_TENSOR_POSITION_TABLE),
                          s->mlp_dy, positions_of(layer), begin, end, layer->rows,
                          layer->hidden);
    }
    if (s->mlp_dy != s->output_gradient) {
        GALV_DROP(w, s->mlp_dy);
    }
    s->mlp_dy = NULL;
    GALV_DROP(w, s->output_gradient);
}

/* Reduces a float32 value of each row over the tp group. */
static void reduce_row_values(galv_worker *w, const galv_layer_work *layer,
                              float *values, galv_reduction reduction)
{
    if (!layer->place->cuts_weights) {
        return;
    }
    galv_event start = galv_worker_begin(w, GALV_STREAM_TP);
    w->b->all_reduce(w->b, GALV_STREAM_TP, layer->groups->tp, values, layer->rows,
                     GALV_FLOAT32, reduction);
    galv_worker_await(w, galv_worker_end(w, GALV_STREAM_TP, GALV_OP_ALL_REDUCE,
                                         GALV_PART_WHOLE, layer->index,
                                         4 * (double)layer->rows, start));
}

void galv_head_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    int32_t begin;
    int32_t end;
    range_of(layer, GALV_TENSOR_TOKEN_TABLE, &begin, &end);
    s->norm1 = galv_normalize(w, layer, s->input, GALV_TENSOR_NORM1_WEIGHT, &s->mean1,
                              &s->rstd1);
    void *x = s->norm1;
    if (gathers(layer)) {
        x = galv_gather_rows(w, layer, GALV_PART_WHOLE, s->norm1);
    }
    s->logits = galv_take(w, layer->rows, layer->vocabulary);
    galv_linear(w, layer, s->logits, x, GALV_TENSOR_TOKEN_TABLE, layer->rows,
                layer->vocabulary, layer->hidden);
    galv_bias(w, layer, s->logits, GALV_TENSOR_HEAD_BIAS, layer->rows,
              layer->vocabulary);
    if (x != s->norm1) {
        GALV_DROP(w, x);
    }
    s->row_max = galv_take_floats(w, layer->rows);
    s->sum = galv_take_floats(w, layer->rows);
    s->target = galv_take_floats(w, layer->rows);
    b->softmax_max(b, GALV_STREAM_COMPUTE, s->row_max, s->logits, layer->rows,
                   layer->vocabulary);
    reduce_row_values(w, layer, s->row_max, GALV_MAX);
    b->softmax_sum(b, GALV_STREAM_COMPUTE, s->sum, s->target, s->logits, s->row_max,
                   s->tokens, begin, layer->rows, layer->vocabulary);
    reduce_row_values(w, layer, s->sum, GALV_SUM);
    reduce_row_values(w, layer, s->target, GALV_SUM);
    if (!layer->place->cuts_weights || layer->place->tp_index == 0) {
        b->cross_entropy(b, GALV_STREAM_COMPUTE, w->losses + w->micro_batch, s->sum,
                         s->target, layer->rows);
    }
    GALV_DROP(w, s->target);
}

void galv_head_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    galv_backend *b = w->b;
    int32_t begin;
    int32_t end;
    range_of(layer, GALV_TENSOR_TOKEN_TABLE, &begin, &end);
    if (gathers(layer)) {
        s->norm1_all = galv_gather_rows(w, layer, GALV_PART_WHOLE, s->norm1);
    }
    b->cross_entropy_backward(b, GALV_STREAM_COMPUTE, s->logits, s->row_max, s->sum,
                              s->tokens, begin, w->loss_factor, layer->rows,
                              layer->vocabulary);
    GALV_DROP(w, s->row_max);
    GALV_DROP(w, s->sum);
    void *dx = galv_take(w, layer->rows, layer->hidden);
    galv_linear_back(w, layer, dx, s->logits, GALV_TENSOR_TOKEN_TABLE, layer->rows,
                     layer->vocabulary, layer->hidden);
    s->reducing = dx;
    if (layer->place->cuts_weights) {
        s->reducing =
            galv_start_reduction(w, layer, GALV_PART_WHOLE, dx, &s->reduced_at);
    }
}

void galv_head_weight(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    const void *x = s->norm1_all != NULL ? s->norm1_all : s->norm1;
    galv_linear_weight(w, layer, s->logits, x, GALV_TENSOR_TOKEN_TABLE, layer->rows,
                       layer->vocabulary, layer->hidden);
    galv_bias_weight(w, layer, s->logits, GALV_TENSOR_HEAD_BIAS, layer->rows,
                     layer->vocabulary);
    GALV_DROP(w, s->logits);
    GALV_DROP(w, s->norm1_all);
    GALV_DROP(w, s->norm1);
}

void galv_head_finish(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    if (layer->place->cuts_weights) {
        galv_worker_await(w, s->reduced_at);
    }
    s->input_gradient = galv_normalize_back(
        w, layer, s->reducing, s->input, GALV_TENSOR_NORM1_WEIGHT, s->mean1, s->rstd1);
    GALV_DROP(w, s->reducing);
    GALV_DROP(w, s->input);
    GALV_DROP(w, s->mean1);
    GALV_DROP(w, s->rstd1);
}
