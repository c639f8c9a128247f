/* A drawing as a list of primitives, written as PNG, SVG, PDF or text.
 *
 * Figures draw into a canvas; nothing is rendered until it is written, so the same list
 * gives every format, and tests read it. Units are logical pixels (96 per inch), y
 * downward, text at its baseline. Text widths come from a table of DejaVu Sans's
 * advance widths, never from the fonts installed: the layout is the same on every
 * machine.
 *
 * Sticky: after memory runs out nothing more is recorded, and writing says
 * GALV_NO_MEMORY. Strings are copied. Not thread-safe; one canvas per thread. */
#ifndef GALV_VIZ_CANVAS_H
#define GALV_VIZ_CANVAS_H

#include "base/status.h"
#include "base/text.h"
#include "viz/palette.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct galv_canvas galv_canvas;

typedef struct galv_point {
    double x, y;
} galv_point;

typedef enum galv_dash {
    GALV_DASH_SOLID,
    GALV_DASH_DASHED,
    GALV_DASH_DOTTED
} galv_dash;

typedef struct galv_stroke {
    galv_color color;
    double width;
    uint8_t dash; /* galv_dash */
} galv_stroke;

typedef enum galv_align {
    GALV_ALIGN_LEFT,
    GALV_ALIGN_CENTER,
    GALV_ALIGN_RIGHT
} galv_align;

typedef struct galv_text_style {
    double size;
    galv_color color;
    uint8_t align; /* galv_align */
    bool bold;
    bool upward; /* turned by 90 degrees, reads from below */
} galv_text_style;

typedef enum galv_marker {
    GALV_MARKER_CIRCLE,
    GALV_MARKER_SQUARE,
    GALV_MARKER_TRIANGLE,
    GALV_MARKER_DIAMOND,
    GALV_MARKER_DOWN,
    GALV_MARKER_CROSS
} galv_marker;

typedef enum galv_item_kind {
    GALV_ITEM_RECT,
    GALV_ITEM_POLYGON,
    GALV_ITEM_POLYLINE,
    GALV_ITEM_MARKER,
    GALV_ITEM_TEXT
} galv_item_kind;

/* One primitive as recorded; `tag` and `row` are those set by galv_canvas_tag. */
typedef struct galv_item {
    uint8_t kind;   /* galv_item_kind */
    uint8_t marker; /* galv_marker */
    bool hollow;
    const char *tag;
    int32_t row;
    double x, y, w, h; /* rect; marker and text: x, y (marker: w = size) */
    galv_fill fill;
    galv_stroke stroke;
    galv_text_style style;
    const char *string; /* text */
    const galv_point *points;
    size_t n_points;
} galv_item;

/* A white canvas; NULL when memory is out. Freed with galv_canvas_free. */
galv_canvas *galv_canvas_new(double width, double height);
void galv_canvas_free(galv_canvas *canvas);
double galv_canvas_width(const galv_canvas *canvas);
double galv_canvas_height(const galv_canvas *canvas);

/* Names what is drawn from here on, for tests and dumps: a string constant, and the row
 * it belongs to. */
void galv_canvas_tag(galv_canvas *canvas, const char *tag, int32_t row);

void galv_canvas_rect(galv_canvas *canvas, double x, double y, double w, double h,
                      galv_fill fill);
/* The outline lies centred on the rectangle's edge. */
void galv_canvas_outline(galv_canvas *canvas, double x, double y, double w, double h,
                         galv_stroke stroke);
void galv_canvas_polygon(galv_canvas *canvas, const galv_point *points, size_t n_points,
                         galv_fill fill);
void galv_canvas_line(galv_canvas *canvas, double x0, double y0, double x1, double y1,
                      galv_stroke stroke);
void galv_canvas_polyline(galv_canvas *canvas, const galv_point *points,
                          size_t n_points, galv_stroke stroke);
void galv_canvas_marker(galv_canvas *canvas, double x, double y, galv_marker marker,
                        double size, galv_color color, bool hollow);
/* Invalid UTF-8 and control characters are replaced by '?'. */
void galv_canvas_text(galv_canvas *canvas, double x, double y, galv_text_style style,
                      const char *string);
void galv_canvas_printf(galv_canvas *canvas, double x, double y, galv_text_style style,
                        const char *format, ...) GALV_PRINTF(5, 6);

/* Width of a string in logical pixels. */
double galv_text_width(const char *string, double size, bool bold);

/* Copies `string` cut with an ellipsis to at most `width` pixels into buffer[size]. */
void galv_text_fit(char *buffer, size_t buffer_size, const char *string, double width,
                   double size, bool bold);

/* What was recorded, in drawing order. Valid until the canvas is freed or drawn on. */
size_t galv_canvas_n_items(const galv_canvas *canvas);
const galv_item *galv_canvas_item(const galv_canvas *canvas, size_t index);

/* Pairs of texts whose boxes overlap, and texts that leave the canvas. */
size_t galv_canvas_text_collisions(const galv_canvas *canvas);
/* The same, naming them: one line each. */
size_t galv_canvas_describe_collisions(const galv_canvas *canvas, galv_text *out);

/* Appends one line per primitive, coordinates to 0.1 px: the display list. */
void galv_canvas_dump(const galv_canvas *canvas, galv_text *out);

/* Writes the drawing; the format is that of the extension (.png, .svg, .pdf). `scale`:
 * PNG pixels per logical pixel. The file is whole or untouched. Errors: GALV_USAGE for
 * another extension or a scale outside [0.1, 8], GALV_IO, GALV_NO_MEMORY. */
galv_status galv_canvas_write(const galv_canvas *canvas, const char *path, double scale,
                              galv_err *err);

/* GALV_OK, or GALV_USAGE naming the extensions that are known. */
galv_status galv_canvas_check_path(const char *path, galv_err *err);

#endif
