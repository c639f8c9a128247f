/* Schedules: in which order a pipeline stage works through its micro-batches.
 *
 * A schedule is a table entry: to add one, write schedule/NAME.c with an `order`
 * function and add it to the table in schedule.c. A schedule knows passes, chunks and
 * micro-batches, never seconds or layers. */
#ifndef GALV_SCHEDULE_SCHEDULE_H
#define GALV_SCHEDULE_SCHEDULE_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/* What is done with one micro-batch on one chunk. */
typedef enum galv_pass {
    GALV_PASS_FORWARD,
    GALV_PASS_BACKWARD, /* for inputs and weights together */
    GALV_PASS_BACKWARD_INPUT,
    GALV_PASS_BACKWARD_WEIGHT
} galv_pass;

typedef struct galv_slot {
    uint8_t pass; /* galv_pass */
    int16_t chunk;
    int32_t micro_batch;
} galv_slot;

typedef struct galv_schedule_shape {
    int32_t n_stages;        /* p */
    int32_t n_chunks;        /* v, chunks per stage */
    int32_t n_micro_batches; /* m */
    int32_t group_size;      /* interleaved: micro-batches per group; 0 = p */
} galv_schedule_shape;

typedef struct galv_schedule {
    const char *name;               /* "1f1b" */
    const char *summary;            /* one line for `catalog schedules` */
    const char *source;             /* where it was published */
    bool splits_backward;           /* uses BACKWARD_INPUT and BACKWARD_WEIGHT */
    int32_t min_chunks, max_chunks; /* chunks per stage it can do */
    int32_t min_stages;
    /* Fills slots[galv_schedule_n_slots] with the order of one stage. Errors:
     * GALV_USAGE when the shape is not one it can do, with the nearest that is. */
    galv_status (*order)(galv_slot *slots, const galv_schedule_shape *shape,
                         int32_t stage, galv_err *err);
    /* Virtual stage (0 .. p*v-1, in the direction of forward) of a chunk of a stage;
     * NULL = looped: chunk * p + stage. */
    int32_t (*virtual_stage)(const galv_schedule_shape *shape, int32_t stage,
                             int32_t chunk);
} galv_schedule;

/* All schedules, in the order in which they should be listed. */
const galv_schedule *galv_schedules(size_t *n_schedules);

/* By name. Errors: GALV_USAGE with the nearest name. */
galv_status galv_schedule_find(const galv_schedule **schedule, const char *name,
                               galv_err *err);

/* Slots of one stage: 2 m v, or 3 m v where backward is split. */
size_t galv_schedule_n_slots(const galv_schedule *schedule,
                             const galv_schedule_shape *shape);

int32_t galv_schedule_virtual_stage(const galv_schedule *schedule,
                                    const galv_schedule_shape *shape, int32_t stage,
                                    int32_t chunk);

#endif
