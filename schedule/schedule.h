/* Schedules: in which order a pipeline stage works through its micro-batches.
 *
 * A schedule is a table entry: to add one, write schedule/NAME.c with an `order`
 * function and add it to the table in schedule.c. A schedule knows passes, chunks and
 * micro-batches, never layers; of costs, at most what they are relative to each other.
 */
#ifndef GALV_SCHEDULE_SCHEDULE_H
#define GALV_SCHEDULE_SCHEDULE_H

#include "base/status.h"
#include "plan/order.h"
#include "plan/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the passes of one whole stage (all its chunks) cost, as plain ratios. */
typedef struct galv_stage_weights {
    double forward, input, weight;
    double waiting; /* share of an activation that waits for the gradients of weights
                       when those of inputs are done; 0 = a half */
} galv_stage_weights;

/* The share that waits, whatever is left open. */
static inline double galv_stage_waiting(const galv_stage_weights *weights)
{
    return weights->waiting > 0 ? weights->waiting : 0.5;
}

/* Sums of shares that should be equal differ by less. */
#define GALV_SHARE_ROUNDING 1e-9

/* What orders that follow costs go by. The orders of all other schedules ignore it. */
typedef struct galv_schedule_weights {
    const galv_stage_weights *stages; /* [n_stages]; NULL = all 1 */
    double message;                   /* between two stages, in the same ratios */
    double memory_limit; /* activations of one micro-batch on one whole stage; backward
                            for inputs frees what does not wait, for weights the rest;
                            0 = as the schedule says */
    bool rolling; /* stages begin the next iteration without waiting for one another:
                     what counts is the longest time from a stage's first pass to its
                     last, not from the first of all to the last of all */
} galv_schedule_weights;

typedef struct galv_schedule_shape {
    int32_t n_stages;        /* p */
    int32_t n_chunks;        /* v, chunks per stage */
    int32_t n_micro_batches; /* m */
    int32_t group_size;      /* interleaved: micro-batches per group; 0 = p */
    const galv_schedule_weights *weights; /* NULL = all 1, messages free */
} galv_schedule_shape;

typedef struct galv_schedule {
    const char *name;               /* "1f1b" */
    const char *summary;            /* one line for `catalog schedules` */
    const char *source;             /* where it was published */
    const char *needs;              /* what `check` asks, in words; NULL = nothing */
    bool splits_backward;           /* uses BACKWARD_INPUT and BACKWARD_WEIGHT */
    int32_t min_chunks, max_chunks; /* chunks per stage it can do */
    int32_t min_stages;
    bool searched; /* part of an open search: what training frameworks in common use
                      run as they come; the others are tried when asked for by name */
    bool follows_costs; /* goes by galv_schedule_shape.weights */
    bool fills_memory;  /* wants the memory that there is for its limit */
    bool pairs;         /* has paired slots, and both whole and split backwards */
    bool two_way;       /* each stage holds two virtual stages of p, its own and that of
                           the stage opposite: two copies of all parameters. The first half
                           of the micro-batches enters at stage 0, the second at the last */
    /* Can it do a shape whose counts are within the limits above? NULL = any. Errors:
     * GALV_USAGE with the reason and the nearest that it can. */
    galv_status (*check)(const galv_schedule_shape *shape, galv_err *err);
    /* Fills slots[galv_schedule_n_slots] with the order of one stage; NULL where
     * `order_all` does. Errors: GALV_USAGE when the shape is not one it can do, with
     * the nearest that is. */
    galv_status (*order)(galv_slot *slots, const galv_schedule_shape *shape,
                         int32_t stage, galv_err *err);
    /* The same for all stages at once, one after another: orders that follow costs. */
    galv_status (*order_all)(galv_slot *slots, const galv_schedule_shape *shape,
                             galv_err *err);
    /* Virtual stage (0 .. p*v-1, in the direction of forward) of a chunk of a stage;
     * NULL = looped: chunk * p + stage. */
    int32_t (*virtual_stage)(const galv_schedule_shape *shape, int32_t stage,
                             int32_t chunk);
    const galv_order *own; /* an order of one's own in place of the callbacks; NULL for
                              all that are listed */
} galv_schedule;

/* All schedules, in the order in which they should be listed. */
const galv_schedule *galv_schedules(size_t *n_schedules);

/* By name ("bfs" is breadth-first). The names of galv_order_schedule are found too, but
 * what is found for them has no order: galv_schedule_of_plan. Errors: GALV_USAGE with
 * the nearest name. */
galv_status galv_schedule_find(const galv_schedule **schedule, const char *name,
                               galv_err *err);

/* The schedule that is a user's own order, called by galv_order_schedule. It refers to
 * the order. */
galv_schedule galv_schedule_of_order(const galv_order *order);

/* The schedule of a plan: by its name, or its own order, which it refers to. Errors:
 * GALV_USAGE with the nearest name, or when an order of one's own is missing. */
galv_status galv_schedule_of_plan(galv_schedule *schedule, const galv_plan *plan,
                                  galv_err *err);

/* Slots of one stage: 2 m v, or 3 m v where backward is split. Where only some
 * backwards are, the last slots are GALV_PASS_NONE. */
size_t galv_schedule_n_slots(const galv_schedule *schedule,
                             const galv_schedule_shape *shape);

/* Has a stage passes of this kind (galv_pass) in some order of the schedule? */
bool galv_schedule_uses(const galv_schedule *schedule, int pass);

/* Can the schedule do a shape? Without making an order. Errors: GALV_USAGE with the
 * reason and the nearest that it can. */
galv_status galv_schedule_check(const galv_schedule *schedule,
                                const galv_schedule_shape *shape, galv_err *err);

/* The orders of all stages: slots[n_stages * galv_schedule_n_slots], stage by stage.
 * Errors: GALV_USAGE when the shape is not one it can do, or weights are negative or
 * not finite; GALV_NO_MEMORY. */
galv_status galv_schedule_order(galv_slot *slots, const galv_schedule *schedule,
                                const galv_schedule_shape *shape, galv_err *err);

/* Virtual stages of the schedule: p v, or p where it is two-way. */
int32_t galv_schedule_n_virtual_stages(const galv_schedule *schedule,
                                       const galv_schedule_shape *shape);

int32_t galv_schedule_virtual_stage(const galv_schedule *schedule,
                                    const galv_schedule_shape *shape, int32_t stage,
                                    int32_t chunk);

#endif
