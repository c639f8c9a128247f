/* The optimizer's step: the norm of all gradients, clipping, AdamW. */
#ifndef GALV_EXEC_OPTIMIZER_H
#define GALV_EXEC_OPTIMIZER_H

#include "exec/worker.h"

/* Blocks of a layer that are reduced, gathered or stepped with it; the tied table goes
 * with the embedding where this stage has it, else with the head. Returns how many of
 * blocks[3]. `part`: GALV_PART_DENSE, _EXPERTS, or _WHOLE for all. */
int galv_blocks_of(galv_block *blocks[3], const galv_worker *w, int32_t layer,
                   int part);

/* Steps the layers of an optimizer operation; the first one of a step waits for all
 * gradients and finds their norm and the loss, with all other ranks. */
void galv_optimizer_run(galv_worker *w, int32_t first_layer, int32_t n_layers);

#endif
