/* The plan map: the best plan for every pair of two conditions, such as batch and
 * memory budget. Cells of the same layout share a colour, so that borders between plans
 * show. */
#ifndef GALV_VIZ_PLAN_MAP_FIGURE_H
#define GALV_VIZ_PLAN_MAP_FIGURE_H

#include "viz/figure.h"

#include <stddef.h>

typedef struct galv_map_cell {
    const char *plan;  /* "tp8 pp4 dp16 ..."; NULL: nothing fits */
    const char *kind;  /* cells with equal words share a colour; NULL = plan */
    const char *value; /* "412 tok/s/GPU", under the plan */
} galv_map_cell;

typedef struct galv_plan_map {
    const char *title;
    const char *x_title, *y_title; /* "global batch (samples)", "memory budget" */
    size_t n_columns, n_rows;
    const char *const *columns; /* [n_columns] */
    const char *const *rows;    /* [n_rows], the first at the bottom */
    const galv_map_cell *cells; /* [n_rows * n_columns], row by row */
} galv_plan_map;

/* Errors: GALV_INPUT (no cells). */
galv_status galv_plan_map_compose(galv_canvas **canvas, const galv_plan_map *map,
                                  const galv_figure_options *options, galv_err *err);
galv_status galv_plan_map_draw(const galv_plan_map *map, const char *path,
                               const galv_figure_options *options, galv_err *err);

#endif
