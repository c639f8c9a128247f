/* What the schedules share among themselves: their order functions, for the table in
 * schedule.c, and the check of a shape. Not for other rooms. */
#ifndef GALV_SCHEDULE_SCHEDULE_INTERNAL_H
#define GALV_SCHEDULE_SCHEDULE_INTERNAL_H

#include "schedule/schedule.h"

galv_status galv_order_none(galv_slot *slots, const galv_schedule_shape *shape,
                            int32_t stage, galv_err *err);
galv_status galv_order_gpipe(galv_slot *slots, const galv_schedule_shape *shape,
                             int32_t stage, galv_err *err);
galv_status galv_order_1f1b(galv_slot *slots, const galv_schedule_shape *shape,
                            int32_t stage, galv_err *err);
galv_status galv_order_interleaved(galv_slot *slots, const galv_schedule_shape *shape,
                                   int32_t stage, galv_err *err);
galv_status galv_order_breadth_first(galv_slot *slots, const galv_schedule_shape *shape,
                                     int32_t stage, galv_err *err);
galv_status galv_order_zb_h1(galv_slot *slots, const galv_schedule_shape *shape,
                             int32_t stage, galv_err *err);
galv_status galv_order_zb_h2(galv_slot *slots, const galv_schedule_shape *shape,
                             int32_t stage, galv_err *err);
galv_status galv_order_dualpipe(galv_slot *slots, const galv_schedule_shape *shape,
                                int32_t stage, galv_err *err);
galv_status galv_check_dualpipe(const galv_schedule_shape *shape, galv_err *err);
galv_status galv_check_dualpipev(const galv_schedule_shape *shape, galv_err *err);
galv_status galv_order_dualpipev(galv_slot *slots, const galv_schedule_shape *shape,
                                 int32_t stage, galv_err *err);
galv_status galv_order_zb_auto(galv_slot *slots, const galv_schedule_shape *shape,
                               galv_err *err);
galv_status galv_order_zb_1p(galv_slot *slots, const galv_schedule_shape *shape,
                             galv_err *err);
galv_status galv_order_zb_2p(galv_slot *slots, const galv_schedule_shape *shape,
                             galv_err *err);
galv_status galv_order_zb_v(galv_slot *slots, const galv_schedule_shape *shape,
                            galv_err *err);
galv_status galv_order_v_half(galv_slot *slots, const galv_schedule_shape *shape,
                              galv_err *err);
galv_status galv_order_v_min(galv_slot *slots, const galv_schedule_shape *shape,
                             galv_err *err);

galv_status galv_order_v_1f1b(galv_slot *slots, const galv_schedule_shape *shape,
                              galv_err *err);

/* Two chunks a stage in a V: chunk 1 of stage r is virtual stage 2p - 1 - r. */
int32_t galv_virtual_stage_v(const galv_schedule_shape *shape, int32_t stage,
                             int32_t chunk);
/* Two copies of the model in opposite directions. */
int32_t galv_virtual_stage_two_way(const galv_schedule_shape *shape, int32_t stage,
                                   int32_t chunk);

/* Is the shape one that the schedule called `name` can do? Positive counts, a stage
 * inside, and chunks and stages within the limits of the table. */
galv_status galv_schedule_check_shape(const char *name,
                                      const galv_schedule_shape *shape, int32_t stage,
                                      galv_err *err);

/* A slot of a pass. */
galv_slot galv_slot_make(galv_pass pass, int32_t chunk, int32_t micro_batch);

/* For orders that are laid out on a board of units of time: checks the shape, and that
 * `wanted` units for each stage can be counted. Errors: GALV_USAGE, GALV_NO_MEMORY. */
galv_status galv_schedule_units(int32_t *n_units, const char *name,
                                const galv_schedule_shape *shape, double wanted,
                                galv_err *err);

/* GALV_NO_MEMORY, with the numbers. */
galv_status galv_schedule_no_room(const galv_schedule_shape *shape, galv_err *err);

#endif
