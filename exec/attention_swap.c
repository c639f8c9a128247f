/* Ulysses: the tp group exchanges rows of all heads for all rows of some heads.
 *
 * On the way in, rank i is sent the columns of its heads; what comes from the ranks in
 * their order are the rows in theirs (layout.h). On the way out each is sent its rows,
 * and what comes is put beside each other. Key/value heads fewer than ranks are sent to
 * every rank that has a query for them, and their gradients added up.
 * Source: Jacobs et al. 2023 (arXiv 2309.14509). */
#include "exec/attention.h"

/* Three runs of columns of a row: queries, keys, values. */
typedef struct piece {
    size_t first; /* column among those of all heads */
    size_t cols;
    size_t at; /* column among those of the heads of one rank */
} piece;

bool galv_swaps_heads(const galv_layer_work *layer)
{
    return layer->place->cuts_rows && !layer->place->cuts_weights;
}

size_t galv_core_columns(const galv_layer_work *layer)
{
    return (layer->core_heads + 2 * layer->core_key_heads) * layer->head_dim;
}

static int pieces_of(piece pieces[3], const galv_layer_work *layer, size_t rank,
                     bool qkv)
{
    size_t d = layer->head_dim;
    size_t tp = (size_t)layer->place->strategy.tp;
    size_t key = rank * layer->n_key_heads / tp; /* first key/value head of the rank */
    size_t q = layer->core_heads * d;
    size_t kv = layer->core_key_heads * d;
    size_t all_q = layer->n_heads * d;
    size_t all_kv = layer->n_key_heads * d;
    pieces[0] = (piece){rank * q, q, 0};
    pieces[1] = (piece){all_q + key * d, kv, q};
    pieces[2] = (piece){all_q + all_kv + key * d, kv, q + kv};
    return qkv ? 3 : 1;
}

static void exchange(galv_worker *w, const galv_layer_work *layer, void *out,
                     const void *in, size_t values_of_rank)
{
    int32_t tp = layer->place->strategy.tp;
    for (int32_t i = 0; i <= tp; i++) {
        w->counts[i] = (int64_t)values_of_rank * i;
    }
    galv_event start = galv_worker_begin(w, GALV_STREAM_TP);
    w->b->all_to_all(w->b, GALV_STREAM_TP, layer->groups->tp, out, w->counts, in,
                     w->counts, GALV_ELEMENT);
    double bytes = (double)values_of_rank * tp * w->b->element_bytes;
    galv_event done = galv_worker_end(w, GALV_STREAM_TP, GALV_OP_ALL_TO_ALL,
                                      GALV_PART_ATTENTION, layer->index, bytes, start);
    galv_worker_await(w, done);
}

void *galv_swap_in(galv_worker *w, const galv_layer_work *layer, void *x, bool qkv)
{
    size_t tp = (size_t)layer->place->strategy.tp;
    size_t element = (size_t)w->b->element_bytes;
    size_t d = layer->head_dim;
    size_t rows = layer->own_rows;
    size_t cols = qkv ? galv_core_columns(layer) : layer->core_heads * d;
    size_t all =
        qkv ? (layer->n_heads + 2 * layer->n_key_heads) * d : layer->n_heads * d;
    char *out = galv_take(w, rows * tp, cols);
    for (size_t rank = 0; rank < tp; rank++) {
        piece pieces[3];
        int n = pieces_of(pieces, layer, rank, qkv);
        for (int i = 0; i < n; i++) {
            w->b->copy_columns(w->b, GALV_STREAM_COMPUTE,
                               out + (rank * rows * cols + pieces[i].at) * element,
                               cols, (const char *)x + pieces[i].first * element, all,
                               rows, pieces[i].cols, GALV_ELEMENT);
        }
    }
    GALV_DROP(w, x);
    void *swapped = galv_take(w, rows * tp, cols);
    exchange(w, layer, swapped, out, rows * cols);
    GALV_DROP(w, out);
    return swapped;
}

void *galv_swap_out(galv_worker *w, const galv_layer_work *layer, const void *x)
{
    size_t tp = (size_t)layer->place->strategy.tp;
    size_t rows = layer->own_rows;
    size_t cols = layer->core_heads * layer->head_dim;
    char *parts = galv_take(w, rows * tp, cols);
    exchange(w, layer, parts, x, rows * cols);
    char *joined = galv_take(w, rows, cols * tp);
    for (size_t rank = 0; rank < tp; rank++) {
        w->b->copy_columns(w->b, GALV_STREAM_COMPUTE,
                           joined + rank * cols * (size_t)w->b->element_bytes,
                           cols * tp,
                           parts + rank * rows * cols * (size_t)w->b->element_bytes,
                           cols, rows, cols, GALV_ELEMENT);
    }
    GALV_DROP(w, parts);
    return joined;
}

/* Columns of one piece of all ranks' parts into their place; those that several ranks
 * have for the same head are added up. */
static void join_piece(galv_worker *w, const galv_layer_work *layer, char *joined,
                       const char *parts, int which)
{
    size_t tp = (size_t)layer->place->strategy.tp;
    size_t element = (size_t)w->b->element_bytes;
    size_t rows = layer->own_rows;
    size_t cols = galv_core_columns(layer);
    size_t all = (layer->n_heads + 2 * layer->n_key_heads) * layer->head_dim;
    size_t alike = which > 0 && tp > layer->n_key_heads ? tp / layer->n_key_heads : 1;
    void *sum = NULL;
    for (size_t rank = 0; rank < tp; rank++) {
        piece pieces[3];
        pieces_of(pieces, layer, rank, true);
        const piece *p = &pieces[which];
        void *part = galv_take(w, rows, p->cols);
        w->b->copy_columns(w->b, GALV_STREAM_COMPUTE, part, p->cols,
                           parts + (rank * rows * cols + p->at) * element, cols, rows,
                           p->cols, GALV_ELEMENT);
        if (rank % alike == 0) {
            sum = part;
        } else {
            w->b->add(w->b, GALV_STREAM_COMPUTE, sum, sum, part, rows * p->cols);
            GALV_DROP(w, part);
        }
        if (rank % alike == alike - 1) {
            w->b->copy_columns(w->b, GALV_STREAM_COMPUTE, joined + p->first * element,
                               all, sum, p->cols, rows, p->cols, GALV_ELEMENT);
            GALV_DROP(w, sum);
        }
    }
}

void *galv_swap_back(galv_worker *w, const galv_layer_work *layer, void *x)
{
    size_t tp = (size_t)layer->place->strategy.tp;
    size_t rows = layer->own_rows;
    size_t cols = galv_core_columns(layer);
    char *parts = galv_take(w, rows * tp, cols);
    exchange(w, layer, parts, x, rows * cols);
    GALV_DROP(w, x);
    char *joined =
        galv_take(w, rows, (layer->n_heads + 2 * layer->n_key_heads) * layer->head_dim);
    for (int which = 0; which < 3; which++) {
        join_piece(w, layer, joined, parts, which);
    }
    GALV_DROP(w, parts);
    return joined;
}
