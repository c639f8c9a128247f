/* The core of attention, over the context-parallel ring, and Ulysses' exchanges around
 * it. */
#ifndef GALV_EXEC_ATTENTION_H
#define GALV_EXEC_ATTENTION_H

#include "exec/worker.h"

#define GALV_ROTARY_BASE 10000.0f

/* Do the ranks of the tp group exchange rows for heads? */
bool galv_swaps_heads(const galv_layer_work *layer);
/* Columns of q, k and v of the heads that the core has here. */
size_t galv_core_columns(const galv_layer_work *layer);

/* From own rows of all heads to all rows of the heads here; `qkv`: queries, keys and
 * values beside each other, else queries (or answers) alone. Gives `x` up. */
void *galv_swap_in(galv_worker *w, const galv_layer_work *layer, void *x, bool qkv);
/* From all rows of the answers of the heads here to own rows of all heads. */
void *galv_swap_out(galv_worker *w, const galv_layer_work *layer, const void *x);
/* From gradients of q, k, v of the heads here to own rows of all heads; those of a
 * key/value head that several ranks hold are added up. Gives `x` up. */
void *galv_swap_back(galv_worker *w, const galv_layer_work *layer, void *x);

/* context and lse from q, k, v. */
void galv_core_forward(galv_worker *w, galv_layer_work *layer, galv_saved *s);
/* Gradients, elements, of the caller. */
void galv_core_backward(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                        const void *dcontext, void **dq, void **dk, void **dv);

#endif
