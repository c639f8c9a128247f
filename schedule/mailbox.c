/* The mailbox: a table by (direction, virtual stage, micro-batch) and a list of wants.
 *
 * Wants are delivered in the order in which they were made known, so the program does
 * not depend on anything but the order of the ranks' layout. */
#include "schedule/mailbox_internal.h"

#include <stdlib.h>
#include <string.h>

galv_status galv_mailbox_init(galv_mailbox *mailbox, int32_t n_virtual_stages,
                              int32_t n_micro_batches, galv_err *err)
{
    memset(mailbox, 0, sizeof *mailbox);
    mailbox->n_virtual_stages = n_virtual_stages;
    mailbox->n_micro_batches = n_micro_batches;
    size_t n = (size_t)n_virtual_stages * (size_t)n_micro_batches;
    for (int direction = 0; direction < GALV_N_DIRECTIONS; direction++) {
        uint32_t *table = malloc((n + 1) * sizeof *table);
        if (table == NULL) {
            return galv_fail(err, GALV_NO_MEMORY,
                             "%d virtual stages with %d micro-batches do not fit in "
                             "memory",
                             (int)n_virtual_stages, (int)n_micro_batches);
        }
        memset(table, 0xff, (n + 1) * sizeof *table); /* GALV_NO_OP */
        mailbox->made_by[direction] = table;
    }
    return GALV_OK;
}

void galv_mailbox_release(galv_mailbox *mailbox)
{
    for (int direction = 0; direction < GALV_N_DIRECTIONS; direction++) {
        free(mailbox->made_by[direction]);
    }
    free(mailbox->wants);
    memset(mailbox, 0, sizeof *mailbox);
}

static size_t at(const galv_mailbox *mailbox, int32_t virtual_stage,
                 int32_t micro_batch)
{
    return (size_t)virtual_stage * (size_t)mailbox->n_micro_batches +
           (size_t)micro_batch;
}

void galv_mailbox_put(galv_mailbox *mailbox, galv_direction direction,
                      int32_t virtual_stage, int32_t micro_batch, uint32_t op)
{
    mailbox->made_by[direction][at(mailbox, virtual_stage, micro_batch)] = op;
}

void galv_mailbox_want(galv_mailbox *mailbox, galv_direction direction,
                       int32_t virtual_stage, int32_t micro_batch, uint32_t op)
{
    if (op == GALV_NO_OP || mailbox->failed) {
        return;
    }
    if (mailbox->n_wants == mailbox->capacity) {
        size_t wanted = mailbox->capacity == 0 ? 256 : mailbox->capacity * 2;
        galv_want *grown = realloc(mailbox->wants, wanted * sizeof *grown);
        if (grown == NULL) {
            mailbox->failed = true;
            return;
        }
        mailbox->wants = grown;
        mailbox->capacity = wanted;
    }
    galv_want *want = &mailbox->wants[mailbox->n_wants++];
    want->op = op;
    want->direction = direction;
    want->virtual_stage = virtual_stage;
    want->micro_batch = micro_batch;
}

galv_status galv_mailbox_deliver(const galv_mailbox *mailbox, galv_builder *builder,
                                 galv_err *err)
{
    if (mailbox->failed) {
        return galv_fail(err, GALV_NO_MEMORY, "pipeline messages do not fit in memory");
    }
    for (size_t i = 0; i < mailbox->n_wants; i++) {
        const galv_want *want = &mailbox->wants[i];
        uint32_t made_by =
            mailbox->made_by[want->direction]
                            [at(mailbox, want->virtual_stage, want->micro_batch)];
        if (made_by == GALV_NO_OP && !builder->failed) {
            return galv_fail(err, GALV_INTERNAL,
                             "the schedule never runs virtual stage %d of micro-batch "
                             "%d %s",
                             (int)want->virtual_stage, (int)want->micro_batch,
                             want->direction == GALV_DIRECTION_FORWARD ? "forward"
                                                                       : "backward");
        }
        galv_builder_add_wait(builder, want->op, made_by);
    }
    return GALV_OK;
}
