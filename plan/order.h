/* An order of one's own: what each pipeline stage does, slot by slot.
 *
 * It comes from a file of the user (schedule/schedule_file.h) or from a plan document,
 * which holds it whole, so that a result can be made again without the file. */
#ifndef GALV_PLAN_ORDER_H
#define GALV_PLAN_ORDER_H

#include "base/arena.h"
#include "base/json.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is done with one micro-batch on one chunk. */
typedef enum galv_pass {
    GALV_PASS_FORWARD,
    GALV_PASS_BACKWARD, /* for inputs and weights together */
    GALV_PASS_BACKWARD_INPUT,
    GALV_PASS_BACKWARD_WEIGHT,
    GALV_PASS_NONE /* no slot: the order ended before (see galv_schedule_n_slots) */
} galv_pass;

typedef struct galv_slot {
    uint8_t pass;   /* galv_pass */
    uint8_t paired; /* 1: runs beside the next slot (a forward, then a backward): both
                       begin when both can, and end together */
    int16_t chunk;  /* two_way: 0 = the copy for micro-batches that enter at stage 0,
                       1 = for those that enter at the last stage */
    int32_t micro_batch;
} galv_slot;

#define GALV_MOST_ORDER_STAGES        65536
#define GALV_MOST_ORDER_CHUNKS        4096
#define GALV_MOST_ORDER_MICRO_BATCHES 1000000

/* "F", "B", "I", "W": by galv_pass. */
extern const char *const galv_pass_letters[GALV_PASS_NONE];

typedef struct galv_order {
    int32_t n_stages;
    int32_t n_chunks; /* of the plan: 1 where it is two-way */
    int32_t n_micro_batches;
    bool splits_backward;    /* some I and W */
    bool pairs;              /* some slots run beside each other */
    bool two_way;            /* two copies in opposite directions, see galv_schedule */
    size_t n_slots;          /* of a stage: (splits_backward ? 3 : 2) m v; what is not
                                used is GALV_PASS_NONE, at the end */
    galv_slot *slots;        /* [n_stages * n_slots], stage by stage */
    int32_t *virtual_stages; /* [n_stages * (two_way ? 2 : n_chunks)], stage by stage */
} galv_order;                /* everything is owned by the arena it was made in */

/* One slot of one stage. */
typedef struct galv_order_entry {
    int32_t stage;
    galv_slot slot;
} galv_order_entry;

/* Makes an order of `n` entries, the slots of a stage in their order, stages mixed as
 * they come. Stages, chunks and micro-batches are counted; `virtual_stages[stage *
 * chunks + chunk]` says where a chunk lies in the model, NULL = looped (chunk * stages
 * + stage). Where chunk 0 of every stage r is virtual stage r and chunk 1 is the one
 * opposite, p - 1 - r, the order is two-way.
 *
 * Checked: every micro-batch of every chunk has one forward and one backward, or one
 * for inputs and one for weights, none before what it needs on its own stage; numbers
 * in range; pairs of a forward and a backward. Not checked: whether the stages wait for
 * each other in a circle (galv_program_check). Errors: GALV_INPUT, with *at the entry
 * to blame, SIZE_MAX when it is none; GALV_NO_MEMORY. */
galv_status galv_order_make(galv_order **order, const galv_order_entry *entries,
                            size_t n, const int32_t *virtual_stages, size_t *at,
                            galv_arena *arena, galv_err *err);

/* Stages and chunks of entries, to lay out virtual_stages by. */
void galv_order_count(int32_t *n_stages, int32_t *n_chunks,
                      const galv_order_entry *entries, size_t n);

/* Where a chunk of a stage (two-way: a copy) lies in the model. */
int32_t galv_order_virtual_stage(const galv_order *order, int32_t stage, int32_t chunk);

/* What the schedule of such an order is called: "custom", "custom-split" ... */
const char *galv_order_schedule(const galv_order *order);

/* Member "schedule_order" of a plan document: one line of words for each stage, "F0 F1
 * B0 B1", where F3.1 is the forward of micro-batch 3 on chunk 1 and F4+B2 a pair. */
void galv_order_to_json(const galv_order *order, galv_json_writer *writer);
galv_status galv_order_from_json(galv_order **order, galv_json_value value,
                                 galv_arena *arena, galv_err *err);

/* A copy, owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_order_copy(galv_order **copy, const galv_order *order,
                            galv_arena *arena, galv_err *err);

#endif
