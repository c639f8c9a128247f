/* Redistribution: tokens from the ranks that hold them under one strategy to those that
 * want them under another, inside of a pipeline stage.
 *
 * Activations and gradients of activations go the same way: where several ranks hold a
 * token, each holds all of it. A rank that holds what it wants takes its own copy, so
 * where every rank does nothing is sent. */
#ifndef GALV_EXEC_RESHARD_H
#define GALV_EXEC_RESHARD_H

#include "base/arena.h"
#include "exec/layout.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct galv_reshard {
    bool same;                        /* nothing to do: rows stay where they are */
    bool sends;                       /* some rank wants what it does not hold */
    int32_t n_send, n_recv;           /* rows of this rank */
    int64_t *send_begin, *recv_begin; /* [stage_size + 1] rows */
    int32_t *pack;   /* device [n_send]: row of the old order; without sends [n_recv] */
    int32_t *unpack; /* device [n_recv]: place among the received */
} galv_reshard;

/* Arrays are owned by the arena, device memory by the backend until it is freed.
 * Errors: GALV_USAGE, GALV_NO_MEMORY. */
galv_status galv_reshard_make(galv_reshard *reshard, const galv_layout *layout,
                              int32_t from_strategy, int32_t to_strategy,
                              galv_arena *arena, galv_err *err);
void galv_reshard_release(galv_reshard *reshard, galv_backend *b);

#endif
