/* The scaling figure: tokens per second and MFU over the number of devices. */
#ifndef GALV_VIZ_SCALING_FIGURE_H
#define GALV_VIZ_SCALING_FIGURE_H

#include "viz/figure.h"

#include <stddef.h>

typedef struct galv_scaling_point {
    int32_t n_devices;
    double tokens_per_s;
    double mfu;         /* 0..1; NaN or negative = unknown */
    const char *label;  /* the plan, told where it changes; NULL = none */
    const char *series; /* points of one series make a line; NULL = one series.
                           Series whose name begins with "measured" are hollow marks
                           without a line. */
} galv_scaling_point;

/* Points in any order. Errors: GALV_INPUT (no points, or impossible ones). */
galv_status galv_scaling_compose(galv_canvas **canvas, const galv_scaling_point *points,
                                 size_t n_points, const char *title,
                                 const galv_figure_options *options, galv_err *err);
galv_status galv_scaling_draw(const galv_scaling_point *points, size_t n_points,
                              const char *title, const char *path,
                              const galv_figure_options *options, galv_err *err);

#endif
