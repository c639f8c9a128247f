/* Axes of charts, stacked bars, and labels that find a place. */
#ifndef GALV_VIZ_PLOT_INTERNAL_H
#define GALV_VIZ_PLOT_INTERNAL_H

#include "viz/figure_internal.h"

/* One axis: values low..high over from_px..to_px, linear or logarithmic. */
typedef struct galv_axis {
    double low, high;
    double from_px, to_px;
    bool logarithmic;
} galv_axis;

/* Position of a value; values off the axis lie off it. */
double galv_axis_at(const galv_axis *axis, double value);

/* Values to mark: {1, 2, 5} x 10^k on a logarithmic axis (thinned to `most`), ticks as
 * galv_ticks_choose gives on a linear one. Returns their number. */
#define GALV_MOST_MARKS 24
int galv_axis_marks(const galv_axis *axis, int most, double marks[GALV_MOST_MARKS]);

/* "0.5", "20", "100k", "1.5M": short, for ticks. */
void galv_print_mark(char *buffer, size_t size, double value, double step);

/* A chart: two axes; y.from_px is the bottom. */
typedef struct galv_plot {
    galv_axis x, y;
} galv_plot;

/* Grid, ticks and titles. `x_marks` given by the caller, or NULL for the usual ones;
 * marks whose labels would meet are left out. */
void galv_plot_draw_axes(galv_canvas *canvas, const galv_plot *plot,
                         const double *x_marks, int n_x_marks, const char *x_title,
                         const char *y_title);

/* Labels placed, and what they must keep off. The last places are kept for labels. */
#define GALV_MOST_BOXES  2048
#define GALV_MOST_LABELS 64
typedef struct galv_placer {
    struct {
        double x0, y0, x1, y1;
    } boxes[GALV_MOST_BOXES];
    size_t n_boxes;
    double left, top, right, bottom; /* labels stay within */
} galv_placer;

/* Keeps labels out of a rectangle, as long as there is room to remember it. */
void galv_placer_block(galv_placer *placer, double x0, double y0, double x1, double y1);
/* Draws a label beside (x, y), at `distance`, where it meets none before it; false when
 * there is no such place, and then nothing is drawn. `canvas` NULL: only looks, and
 * takes the place. */
bool galv_placer_label(galv_placer *placer, galv_canvas *canvas, double x, double y,
                       double distance, galv_text_style style, const char *text);

/* Stacked horizontal bars. */
typedef struct galv_segment {
    double value;
    galv_fill fill;
    bool outlined;
} galv_segment;

/* Draws one stack from x(0) on; writes what `print` says into segments of 28 px and
 * more. Returns the right end. */
typedef void galv_segment_print(char *buffer, size_t size, double value, double total);
double galv_draw_stack(galv_canvas *canvas, const galv_axis *x, double y, double height,
                       const galv_segment *segments, size_t n_segments,
                       galv_segment_print *print);

#endif
