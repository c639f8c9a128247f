/* What the figures share: heading, footer, legend, ticks, units of time. */
#ifndef GALV_VIZ_FIGURE_INTERNAL_H
#define GALV_VIZ_FIGURE_INTERNAL_H

#include "viz/figure.h"

#include <stddef.h>

#define GALV_FIGURE_MARGIN 14.0 /* of the page, left and right of headings */

/* Options with every default filled in; `options` may be NULL. Errors: GALV_USAGE for a
 * width outside [320, 8000]. */
galv_status galv_figure_resolve(galv_figure_options *resolved,
                                const galv_figure_options *options, int32_t width_px,
                                galv_err *err);

/* Writes and frees the canvas; keeps an earlier error. */
galv_status galv_figure_finish(galv_canvas *canvas, galv_status status,
                               const char *path, const galv_figure_options *options,
                               galv_err *err);

/* Style shorthands. */
galv_text_style galv_style(double size, galv_color color, galv_align align);
galv_text_style galv_style_bold(double size, galv_color color, galv_align align);
galv_stroke galv_line(galv_color color, double width);
galv_stroke galv_line_dashed(galv_color color, double width, galv_dash dash);
galv_fill galv_plain(galv_color color);

/* Title (bold) and subtitle at the top, cut to the width; NULL or "" = none. Takes the
 * first 44 px of the page. */
void galv_figure_heading(galv_canvas *canvas, const char *title, const char *subtitle);
/* Footer at the very bottom; takes 16 px. */
void galv_figure_footer(galv_canvas *canvas, const char *footer);

typedef enum galv_legend_mark {
    GALV_LEGEND_SWATCH,
    GALV_LEGEND_LINE,
    GALV_LEGEND_MARKER
} galv_legend_mark;

typedef struct galv_legend_entry {
    const char *text;
    galv_legend_mark mark;
    galv_fill fill;     /* swatch */
    galv_stroke stroke; /* line */
    galv_marker marker; /* marker */
    bool hollow;
} galv_legend_entry;

/* Draws entries from (x, y) on, wrapping at `width`; y is the first line's middle. */
void galv_figure_legend(galv_canvas *canvas, double x, double y, double width,
                        const galv_legend_entry *entries, size_t n_entries);
/* Height the legend will take: 16 px per line; 0 when empty. */
double galv_figure_legend_height(double width, const galv_legend_entry *entries,
                                 size_t n_entries);

/* Ticks at multiples of {1, 2, 5} x 10^k. */
typedef struct galv_ticks {
    double first;
    double step;
    int n_ticks;
    int decimals; /* to print them with */
} galv_ticks;

/* At most `most` ticks (at least 2) in [low, high]. */
galv_ticks galv_ticks_choose(double low, double high, int most);
double galv_tick(const galv_ticks *ticks, int index);

typedef struct galv_time_unit {
    double seconds;   /* in one of it */
    const char *name; /* "s", "ms", "us" with the Greek letter */
} galv_time_unit;

galv_time_unit galv_time_unit_for(double duration_s);

/* Three significant figures without an exponent: "8.79", "0.0312", "18400". */
void galv_print_figures(char *buffer, size_t size, double value);

#endif
