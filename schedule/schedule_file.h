/* Orders as tables: a schedule of one's own from a CSV, and any schedule as one. */
#ifndef GALV_SCHEDULE_SCHEDULE_FILE_H
#define GALV_SCHEDULE_SCHEDULE_FILE_H

#include "base/csv.h"
#include "schedule/schedule.h"

/* Reads a CSV with a header: stage, pass (F; B, the whole backward; I, for inputs; W,
 * for weights), micro_batch and, as far as they are needed, chunk (0), virtual_stage
 * (where a chunk lies in the model; looped) and beside (1: runs beside the next slot of
 * its stage). One row for each slot, those of a stage in their order. The order can
 * run: stages that wait for each other in a circle are refused. Owned by the arena.
 * Errors: GALV_INPUT with file, line, column where there is one. */
galv_status galv_schedule_file_read(galv_order **order, const char *path,
                                    galv_arena *arena, galv_err *err);

/* The same from a table that is read already. */
galv_status galv_schedule_file_read_table(galv_order **order, const galv_csv *table,
                                          galv_arena *arena, galv_err *err);

/* Appends the order of a schedule as such a CSV. Errors: as galv_schedule_order. */
galv_status galv_schedule_file_put(galv_text *out, const galv_schedule *schedule,
                                   const galv_schedule_shape *shape, galv_err *err);

/* Is it the name of such a file rather than of a schedule? It ends in ".csv". */
bool galv_schedule_file_is(const char *name);

#endif
