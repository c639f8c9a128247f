/* Where pipeline messages meet: what made the output of a virtual stage for a
 * micro-batch, and which operations want it. Ranks are laid out one after another, so a
 * receive is often known before its send: the waits are added at the end. */
#ifndef GALV_SCHEDULE_MAILBOX_INTERNAL_H
#define GALV_SCHEDULE_MAILBOX_INTERNAL_H

#include "schedule/builder_internal.h"

typedef enum galv_direction {
    GALV_DIRECTION_FORWARD,
    GALV_DIRECTION_BACKWARD,
    GALV_N_DIRECTIONS
} galv_direction;

typedef struct galv_want {
    uint32_t op;
    int32_t direction;
    int32_t virtual_stage;
    int32_t micro_batch;
} galv_want;

typedef struct galv_mailbox {
    int32_t n_virtual_stages, n_micro_batches;
    uint32_t *made_by[GALV_N_DIRECTIONS]; /* [n_virtual_stages * n_micro_batches] */
    galv_want *wants;
    size_t n_wants, capacity;
    bool failed;
} galv_mailbox;

/* Caller releases with galv_mailbox_release, after a failure too. */
galv_status galv_mailbox_init(galv_mailbox *mailbox, int32_t n_virtual_stages,
                              int32_t n_micro_batches, galv_err *err);
void galv_mailbox_release(galv_mailbox *mailbox);

/* The output of a virtual stage in a direction is there when `op` has ended. */
void galv_mailbox_put(galv_mailbox *mailbox, galv_direction direction,
                      int32_t virtual_stage, int32_t micro_batch, uint32_t op);
/* `op` starts when that output is there. */
void galv_mailbox_want(galv_mailbox *mailbox, galv_direction direction,
                       int32_t virtual_stage, int32_t micro_batch, uint32_t op);

/* Adds every wait. Errors: GALV_NO_MEMORY; GALV_INTERNAL when something is wanted that
 * nobody makes (a schedule that leaves out a slot). */
galv_status galv_mailbox_deliver(const galv_mailbox *mailbox, galv_builder *builder,
                                 galv_err *err);

#endif
