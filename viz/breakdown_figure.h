/* The breakdown figure: where the time of an iteration goes, one bar per plan or stage.
 */
#ifndef GALV_VIZ_BREAKDOWN_FIGURE_H
#define GALV_VIZ_BREAKDOWN_FIGURE_H

#include "viz/figure.h"

#include <stddef.h>

/* Seconds; communication is what is exposed (not hidden behind computation). */
typedef struct galv_breakdown_row {
    const char *label;
    double compute_s;
    double recompute_s;
    double tp_s;
    double cp_s;
    double ep_s;
    double pp_s;
    double dp_s;
    double optimizer_s;
    double bubble_s;
    double hidden_s; /* communication hidden behind computation; thin bar; 0 = none */
} galv_breakdown_row;

/* Rows are drawn in the order given. Errors: GALV_INPUT (no rows, impossible times). */
galv_status galv_breakdown_compose(galv_canvas **canvas, const galv_breakdown_row *rows,
                                   size_t n_rows, const char *title,
                                   const galv_figure_options *options, galv_err *err);
galv_status galv_breakdown_draw(const galv_breakdown_row *rows, size_t n_rows,
                                const char *title, const char *path,
                                const galv_figure_options *options, galv_err *err);

#endif
