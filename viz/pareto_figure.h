/* The Pareto figure: every candidate by two costs, and the front of the best. */
#ifndef GALV_VIZ_PARETO_FIGURE_H
#define GALV_VIZ_PARETO_FIGURE_H

#include "viz/figure.h"

#include <stddef.h>

typedef struct galv_pareto_point {
    double x; /* less is better, both ways */
    double y;
    const char *label; /* shown for up to six points of the front; NULL = none */
    bool on_front;
    bool chosen;
    bool infeasible;
} galv_pareto_point;

typedef struct galv_pareto_axes {
    const char *title;
    const char *x_title;       /* "peak memory per GPU (GiB)" */
    const char *y_title;       /* "iteration time (s)" */
    double x_limit;            /* dashed line, what lies beyond is tinted; 0 = none */
    const char *x_limit_label; /* "79.6 GiB"; NULL = the number */
} galv_pareto_axes;

/* Errors: GALV_INPUT (no points, or points that are not numbers). */
galv_status galv_pareto_compose(galv_canvas **canvas, const galv_pareto_point *points,
                                size_t n_points, const galv_pareto_axes *axes,
                                const galv_figure_options *options, galv_err *err);
galv_status galv_pareto_draw(const galv_pareto_point *points, size_t n_points,
                             const galv_pareto_axes *axes, const char *path,
                             const galv_figure_options *options, galv_err *err);

#endif
