/* What the writers of a canvas share. */
#ifndef GALV_VIZ_CANVAS_INTERNAL_H
#define GALV_VIZ_CANVAS_INTERNAL_H

#include "viz/canvas.h"

/* Is the canvas still whole? (false once memory ran out) */
bool galv_canvas_is_whole(const galv_canvas *canvas);

/* The drawing as bytes, appended to `out`. */
galv_status galv_canvas_encode_png(galv_text *out, const galv_canvas *canvas,
                                   double scale, galv_err *err);
galv_status galv_canvas_encode_pdf(galv_text *out, const galv_canvas *canvas,
                                   galv_err *err);
galv_status galv_canvas_encode_svg(galv_text *out, const galv_canvas *canvas,
                                   galv_err *err);

/* Distance between hatch lines, and their width, in logical pixels. */
#define GALV_HATCH_PITCH 4.0
#define GALV_HATCH_WIDTH 0.8

/* Corners of a marker that is a polygon, into points[4]; their number, 0 for others. */
size_t galv_marker_corners(galv_marker marker, double x, double y, double size,
                           galv_point points[4]);

/* Points of the item's dashes into dashes[2]; their number. */
int galv_stroke_dashes(galv_stroke stroke, double dashes[2]);

#endif
