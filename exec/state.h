/* The state of a training, apart from any plan: master weights and both moments of
 * every value of the model, in host memory.
 *
 * A piece is a run of values of one tensor: a box of the whole tensor, and of the box,
 * row by row, the values [begin, end). Whatever a plan makes of the model, a rank's
 * share is a list of pieces, and what two lists have in common is found value by value
 * from their places in the whole tensors. So the state of one plan can be given to
 * another, by way of files (checkpoint.h) or of messages (galv_state_exchange). */
#ifndef GALV_EXEC_STATE_H
#define GALV_EXEC_STATE_H

#include "exec/worker.h"

#include <stdint.h>

enum { GALV_STATE_ARRAYS = 3 }; /* master weights, first and second moments */

/* Also the record of files: no pointers, no holes. */
typedef struct galv_piece {
    int32_t layer, tensor; /* that it is named after; galv_tensor_id */
    int64_t rows, cols;    /* of the whole tensor */
    int64_t first_row, n_rows, first_col, n_cols; /* the box */
    int64_t begin, end;                           /* of the box's values */
    int64_t offset; /* of its first value among those of its rank */
} galv_piece;

typedef enum galv_pieces {
    GALV_PIECES_COUNTED, /* each value of the model on one rank only */
    GALV_PIECES_OWNED    /* all that this rank steps */
} galv_pieces;

typedef struct galv_state {
    int64_t n_pieces;
    galv_piece *pieces;
    int64_t n_values;
    float *values[GALV_STATE_ARRAYS]; /* [n_values] each */
} galv_state;

/* The pieces of this rank, values zero. Freed by galv_state_free (NULL is allowed).
 * Errors: GALV_NO_MEMORY. */
galv_status galv_state_new(galv_state **state, galv_worker *worker, galv_pieces which,
                           galv_err *err);
void galv_state_free(galv_state *state);

/* From the device. */
galv_status galv_state_download(galv_state *state, galv_worker *worker, galv_err *err);
/* To the device, of GALV_PIECES_OWNED: master, moments, and weights made of them.
 * Collective. */
galv_status galv_state_upload(const galv_state *state, galv_worker *worker,
                              galv_err *err);

/* Fills `to` (owned pieces of one plan) from `from` (counted pieces of another) over
 * all ranks of the backend, layer by layer. Collective. Errors: GALV_NO_MEMORY,
 * GALV_INTERNAL (values are missing), those of the backend. */
galv_status galv_state_exchange(galv_state *to, const galv_state *from,
                                int32_t n_layers, galv_worker *worker, galv_err *err);

/* `n` values from `at_a` on of piece a (counted from its own first) are those from
 * `at_b` on of piece b. */
typedef void galv_overlap_visit(void *context, int64_t at_a, int64_t at_b, int64_t n);
/* Visits what two pieces have in common, in the order of the whole tensor. */
void galv_piece_overlap(const galv_piece *a, const galv_piece *b,
                        galv_overlap_visit *visit, void *context);

#endif
