/* Several timelines above one another on one time scale: plans, or the prediction and
 * the measurement of one plan, compared by eye. */
#ifndef GALV_VIZ_TIMELINES_FIGURE_H
#define GALV_VIZ_TIMELINES_FIGURE_H

#include "traces/timeline.h"
#include "viz/figure.h"

#include <stddef.h>

/* At most GALV_MOST_TIMELINES of them, drawn in the order given, each under its title;
 * the longest fills the width. `title` may be NULL. Of the options, the window is of
 * the common time axis, and `streams` is not used. Errors: as galv_timeline_compose,
 * and GALV_USAGE for no timelines or too many. */
#define GALV_MOST_TIMELINES 24
galv_status galv_timelines_compose(galv_canvas **canvas,
                                   const galv_timeline *const *timelines,
                                   size_t n_timelines, const char *title,
                                   const galv_figure_options *options, galv_err *err);
galv_status galv_timelines_draw(const galv_timeline *const *timelines,
                                size_t n_timelines, const char *title, const char *path,
                                const galv_figure_options *options, galv_err *err);

#endif
