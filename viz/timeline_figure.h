/* The timeline figure: what every pipeline stage does, second by second.
 *
 * Rows are the timeline's ranks. A cell is the forward, backward... of one micro-batch;
 * grey is idle. With many micro-batches an overview of the whole iteration stands above
 * three windows (begin, middle, end) in which single cells can be read. */
#ifndef GALV_VIZ_TIMELINE_FIGURE_H
#define GALV_VIZ_TIMELINE_FIGURE_H

#include "base/text.h"
#include "traces/timeline.h"
#include "viz/figure.h"

/* Composes the figure; the caller frees the canvas. `options` may be NULL. Errors:
 * GALV_USAGE (empty or reversed window), GALV_INPUT (an empty timeline, or spans that
 * are not numbers), GALV_NO_MEMORY. */
galv_status galv_timeline_compose(galv_canvas **canvas, const galv_timeline *timeline,
                                  const galv_figure_options *options, galv_err *err);

/* Composes and writes. Further errors: GALV_USAGE (extension), GALV_IO. */
galv_status galv_timeline_draw(const galv_timeline *timeline, const char *path,
                               const galv_figure_options *options, galv_err *err);

/* The terminal's twin: one line per row, one letter per quantum of time (F, B, W...
 * as galv_op_letter, '.' idle), at most `columns` wide (at least 40). */
galv_status galv_timeline_draw_ascii(galv_text *out, const galv_timeline *timeline,
                                     int columns, galv_err *err);

#endif
