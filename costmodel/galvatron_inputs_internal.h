/* What the readers of Galvatron's inputs share. */
#ifndef GALV_COSTMODEL_GALVATRON_INPUTS_INTERNAL_H
#define GALV_COSTMODEL_GALVATRON_INPUTS_INTERNAL_H

#include "costmodel/galvatron_inputs.h"

#include <stddef.h>

#define GALV_GALVATRON_MAX_INPUT                                                    \
    1e9                             /* no time, size or bandwidth of theirs is more \
                                     */
#define GALV_GALVATRON_MIN_POINTS 8 /* that Galvatron wants for a line */

/* Adds a value, which must not be there yet; `value` is where errors point. */
galv_status galv_galvatron_put(galv_galvatron_by_degree *table, int32_t degree,
                               double number, galv_json_value value, galv_err *err);

/* Fills a table from an object with numbers for keys ({"1": 514.5, "2": ...}); other
 * keys are left to the caller. Clears it first. */
galv_status galv_galvatron_put_object(galv_galvatron_by_degree *table,
                                      galv_json_value object, galv_err *err);

/* A number that is 0 or more. */
galv_status galv_galvatron_number(double *number, galv_json_value value, galv_err *err);

/* A member that must be there. */
galv_status galv_galvatron_need(galv_json_value *member, galv_json_value object,
                                const char *key, galv_err *err);

/* Adds one measured time of a group; the groups are made as they come. */
galv_status galv_galvatron_put_time(galv_galvatron_collective *collective,
                                    int32_t n_ranks, double message_mib, double time_ms,
                                    galv_json_value value, galv_err *err);

/* Least squares: a line, and the value at x of a parabola (n >= 3 different x). */
galv_galvatron_line galv_galvatron_fit_line(const double *x, const double *y, size_t n);
double galv_galvatron_fit_parabola(const double *x, const double *y, size_t n,
                                   double at);

/* One file each; `root` is the whole document. */
galv_status galv_galvatron_inputs_computation(galv_galvatron_inputs *inputs,
                                              galv_json_value root,
                                              galv_galvatron_time_mode mode,
                                              galv_err *err);
galv_status galv_galvatron_inputs_memory(galv_galvatron_inputs *inputs,
                                         galv_json_value root,
                                         galv_galvatron_memory_mode mode,
                                         galv_err *err);
galv_status galv_galvatron_inputs_all_reduce(galv_galvatron_inputs *inputs,
                                             galv_json_value root, galv_err *err);
galv_status galv_galvatron_inputs_p2p(galv_galvatron_inputs *inputs,
                                      galv_json_value root, galv_err *err);
galv_status galv_galvatron_inputs_sp_time(galv_galvatron_inputs *inputs,
                                          galv_json_value root, galv_err *err);
galv_status galv_galvatron_inputs_overlap(galv_galvatron_inputs *inputs,
                                          galv_json_value root, galv_err *err);

#endif
