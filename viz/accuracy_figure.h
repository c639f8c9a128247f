/* The accuracy figure: predicted over measured iteration time. */
#ifndef GALV_VIZ_ACCURACY_FIGURE_H
#define GALV_VIZ_ACCURACY_FIGURE_H

#include "viz/figure.h"

#include <stddef.h>

typedef struct galv_accuracy_point {
    double measured_s;
    double predicted_s;
    const char *source; /* points of one source share a marker; NULL = one source */
    const char *label;  /* shown for the three worst; NULL = none */
} galv_accuracy_point;

/* Both axes are logarithmic; y = x solid, +-10 % dotted; the number of points and their
 * mean absolute percentage error stand under the title. Errors: GALV_INPUT (no points,
 * times that are not positive). */
galv_status galv_accuracy_compose(galv_canvas **canvas,
                                  const galv_accuracy_point *points, size_t n_points,
                                  const char *title, const galv_figure_options *options,
                                  galv_err *err);
galv_status galv_accuracy_draw(const galv_accuracy_point *points, size_t n_points,
                               const char *title, const char *path,
                               const galv_figure_options *options, galv_err *err);

#endif
