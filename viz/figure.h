/* What all figures share: their options, and the end of drawing.
 *
 * Each figure has `compose`, which makes the drawing (a canvas that the caller frees
 * with galv_canvas_free), and `draw`, which also writes it: the format is that of the
 * file's extension (.png, .svg, .pdf), another one is GALV_USAGE. Files are written
 * whole or not at all, and the same input gives the same bytes. */
#ifndef GALV_VIZ_FIGURE_H
#define GALV_VIZ_FIGURE_H

#include "base/status.h"
#include "viz/canvas.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct galv_figure_options {
    int32_t width_px;      /* logical pixels; 0 = 1000 (what the figure is made for) */
    double scale;          /* PNG pixels per logical pixel; 0 = 2 (192 dpi) */
    const char *footer;    /* "galvatron-sim 0.1.0 ...", or NULL */
    double window_start_s; /* timeline: show this window only; 0, 0 = all of it */
    double window_end_s;
    bool all_rows; /* timeline: every row, even where many are alike */
    bool streams;  /* timeline: lanes for communication under each row */
} galv_figure_options;

#define GALV_FIGURE_OPTIONS_INIT             \
    {                                        \
        0, 0.0, NULL, 0.0, 0.0, false, false \
    }

/* Frees what cairo and fontconfig keep until the process ends, so that leak checkers
 * stay silent. Call once, at exit, when no other thread draws. */
void galv_viz_shutdown(void);

#endif
