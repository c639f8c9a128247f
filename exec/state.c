/* Which values a rank holds, and what two holders have in common.
 *
 * Counted pieces are dealt as the norm of the gradient is (parameters_state.c): of what
 * several ranks hold alike, each counts its share, so writing a checkpoint is spread
 * over all of them. Owned pieces may overlap between ranks.
 *
 * Weights are not part of the state: they are the master weights, rounded. */
#include "exec/state.h"

#include "exec/optimizer.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(galv_piece) == 2 * 4 + 9 * 8, "a record of files has no holes");

/* Where a piece lies on its rank. */
typedef struct place {
    galv_block *block;
    int64_t at; /* in master and moments */
} place;

/* The pieces of a tensor within the block's values [first, end): at most one. */
static bool piece_within(galv_piece *piece, const galv_tensor *t, int64_t first,
                         int64_t end)
{
    int64_t last = t->offset + t->n_rows * t->n_cols;
    int64_t begin = t->offset > first ? t->offset : first;
    last = last < end ? last : end;
    if (begin >= last) {
        return false;
    }
    *piece = (galv_piece){.layer = t->layer,
                          .tensor = (int32_t)t->id,
                          .rows = t->rows,
                          .cols = t->cols,
                          .first_row = t->first_row,
                          .n_rows = t->n_rows,
                          .first_col = t->first_col,
                          .n_cols = t->n_cols,
                          .begin = begin - t->offset,
                          .end = last - t->offset};
    return true;
}

/* What walks over the pieces of a rank does with each. */
typedef void visit_piece(void *context, const galv_piece *piece, place where);

static void visit_block(galv_block *block, galv_pieces which, visit_piece *visit,
                        void *context)
{
    int64_t first = block->own_first;
    int64_t n = block->own_n;
    if (which == GALV_PIECES_COUNTED) {
        if (!block->counted) {
            return;
        }
        n = block->n / block->n_holders;
        first = n * block->holder;
    }
    for (int32_t i = 0; i < block->n_tensors; i++) {
        const galv_tensor *t = &block->tensors[i];
        galv_piece piece;
        if ((which == GALV_PIECES_OWNED || t->copy == 0) &&
            piece_within(&piece, t, first, first + n)) {
            int64_t at = t->offset + piece.begin - block->own_first;
            visit(context, &piece, (place){block, at});
        }
    }
}

static void visit_pieces(galv_worker *w, galv_pieces which, visit_piece *visit,
                         void *context)
{
    galv_block *blocks[3];
    for (int32_t layer = 0; layer < w->plan->n_layers; layer++) {
        int n = w->layers[layer].here
                    ? galv_blocks_of(blocks, w, layer, GALV_PART_WHOLE)
                    : 0;
        for (int i = 0; i < n; i++) {
            visit_block(blocks[i], which, visit, context);
        }
    }
}

/* ---- the state of a rank ---- */

static void count_piece(void *context, const galv_piece *piece, place where)
{
    galv_state *state = context;
    (void)where;
    state->n_pieces++;
    state->n_values += piece->end - piece->begin;
}

static void add_piece(void *context, const galv_piece *piece, place where)
{
    galv_state *state = context;
    (void)where;
    galv_piece *added = &state->pieces[state->n_pieces++];
    *added = *piece;
    added->offset = state->n_values;
    state->n_values += piece->end - piece->begin;
}

galv_status galv_state_new(galv_state **state, galv_worker *worker, galv_pieces which,
                           galv_err *err)
{
    galv_state *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the state");
    }
    visit_pieces(worker, which, count_piece, made);
    made->pieces = calloc((size_t)made->n_pieces + 1, sizeof *made->pieces);
    bool ok = made->pieces != NULL;
    for (int i = 0; i < GALV_STATE_ARRAYS; i++) {
        made->values[i] = calloc((size_t)made->n_values + 1, sizeof(float));
        ok = ok && made->values[i] != NULL;
    }
    if (!ok) {
        double gib = 12.0 * (double)made->n_values / 1073741824;
        galv_state_free(made);
        return galv_fail(err, GALV_NO_MEMORY,
                         "no memory on the host for the state: %.2f GiB", gib);
    }
    made->n_pieces = made->n_values = 0;
    visit_pieces(worker, which, add_piece, made);
    *state = made;
    return GALV_OK;
}

void galv_state_free(galv_state *state)
{
    if (state == NULL) {
        return;
    }
    for (int i = 0; i < GALV_STATE_ARRAYS; i++) {
        free(state->values[i]);
    }
    free(state->pieces);
    free(state);
}

/* ---- from and to the device ---- */

typedef struct transfer {
    galv_backend *b;
    float *values[GALV_STATE_ARRAYS];
    int64_t at;
    bool up;
} transfer;

static void transfer_piece(void *context, const galv_piece *piece, place where)
{
    transfer *t = context;
    float *arrays[GALV_STATE_ARRAYS] = {where.block->master, where.block->moment1,
                                        where.block->moment2};
    int64_t n = piece->end - piece->begin;
    for (int i = 0; i < GALV_STATE_ARRAYS; i++) {
        float *host = t->values[i] + t->at;
        if (t->up) {
            t->b->upload(t->b, arrays[i] + where.at, host, (size_t)n, GALV_FLOAT32);
        } else {
            t->b->download(t->b, host, arrays[i] + where.at, (size_t)n, GALV_FLOAT32);
        }
    }
    t->at += n;
}

static transfer transfer_of(const galv_state *state, galv_worker *w, bool up)
{
    transfer t = {.b = w->b, .up = up};
    for (int i = 0; i < GALV_STATE_ARRAYS; i++) {
        t.values[i] = state->values[i];
    }
    return t;
}

galv_status galv_state_download(galv_state *state, galv_worker *worker, galv_err *err)
{
    transfer t = transfer_of(state, worker, false);
    worker->b->synchronize(worker->b);
    visit_pieces(worker, GALV_PIECES_COUNTED, transfer_piece, &t);
    return worker->b->status(worker->b, err);
}

/* Weights of a block from its master weights. */
static void publish(galv_block *block, galv_backend *b)
{
    char *weights = block->zero < 3
                        ? (char *)block->weights +
                              (size_t)block->own_first * (size_t)b->element_bytes
                        : block->weight_share;
    b->convert(b, GALV_STREAM_COMPUTE, weights, GALV_ELEMENT, block->master,
               GALV_FLOAT32, (size_t)block->own_n);
    if (block->zero == 1 || block->zero == 2) {
        galv_block_gather(block, b, GALV_STREAM_COMPUTE);
    }
}

galv_status galv_state_upload(const galv_state *state, galv_worker *worker,
                              galv_err *err)
{
    galv_worker *w = worker;
    galv_block *blocks[3];
    transfer t = transfer_of(state, w, true);
    visit_pieces(w, GALV_PIECES_OWNED, transfer_piece, &t);
    for (int32_t layer = 0; layer < w->plan->n_layers; layer++) {
        int n = w->layers[layer].here
                    ? galv_blocks_of(blocks, w, layer, GALV_PART_WHOLE)
                    : 0;
        for (int i = 0; i < n; i++) {
            publish(blocks[i], w->b);
        }
    }
    w->b->synchronize(w->b);
    return w->b->status(w->b, err);
}

/* ---- what two pieces have in common ---- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Columns [first, end) of the whole tensor that a piece has of a row of it. */
static void columns_of(const galv_piece *p, int64_t row, int64_t *first, int64_t *end)
{
    int64_t before = (row - p->first_row) * p->n_cols;
    *first = p->first_col + most(p->begin - before, 0);
    *end = p->first_col + least(p->end - before, p->n_cols);
}

/* Of a place in the whole tensor, the value of the piece. */
static int64_t value_at(const galv_piece *p, int64_t row, int64_t col)
{
    return (row - p->first_row) * p->n_cols + col - p->first_col - p->begin;
}

void galv_piece_overlap(const galv_piece *a, const galv_piece *b,
                        galv_overlap_visit *visit, void *context)
{
    if (a->layer != b->layer || a->tensor != b->tensor || a->begin >= a->end ||
        b->begin >= b->end) {
        return;
    }
    int64_t row =
        most(a->first_row + a->begin / a->n_cols, b->first_row + b->begin / b->n_cols);
    int64_t last = least(a->first_row + (a->end - 1) / a->n_cols,
                         b->first_row + (b->end - 1) / b->n_cols);
    int64_t at_a = 0, at_b = 0, n = 0; /* a run that may go on in the next row */
    for (; row <= last; row++) {
        int64_t first, end, first_b, end_b;
        columns_of(a, row, &first, &end);
        columns_of(b, row, &first_b, &end_b);
        first = most(first, first_b);
        end = least(end, end_b);
        if (first >= end) {
            continue;
        }
        int64_t in_a = value_at(a, row, first);
        int64_t in_b = value_at(b, row, first);
        if (n > 0 && (in_a != at_a + n || in_b != at_b + n)) {
            visit(context, at_a, at_b, n);
            n = 0;
        }
        if (n == 0) {
            at_a = in_a;
            at_b = in_b;
        }
        n += end - first;
    }
    if (n > 0) {
        visit(context, at_a, at_b, n);
    }
}
