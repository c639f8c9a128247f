/* SVG, written by hand. cairo's SVG turns text into outlines and numbers its elements
 * by a counter of the process, so that the same picture drawn twice differs; this one
 * keeps text as text, to be searched, copied and edited, and repeats to the byte.
 * `textLength` holds every text to the width the layout counted on, whatever font the
 * reader has. Lengths are rounded to 0.01 px. */
#include "viz/canvas_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_number(galv_text *out, double number)
{
    char buffer[48];
    double rounded = round(number * 100.0) / 100.0;
    snprintf(buffer, sizeof buffer, "%.2f", rounded == 0.0 ? 0.0 : rounded);
    size_t length = strlen(buffer);
    while (buffer[length - 1] == '0') {
        length--;
    }
    if (buffer[length - 1] == '.') {
        length--;
    }
    galv_text_append_bytes(out, buffer, length);
}

static void put_attribute(galv_text *out, const char *name, double number)
{
    galv_text_printf(out, " %s=\"", name);
    put_number(out, number);
    galv_text_append_char(out, '"');
}

static void put_escaped(galv_text *out, const char *string)
{
    for (; *string != '\0'; string++) {
        switch (*string) {
        case '&':
            galv_text_append(out, "&amp;");
            break;
        case '<':
            galv_text_append(out, "&lt;");
            break;
        case '>':
            galv_text_append(out, "&gt;");
            break;
        case '"':
            galv_text_append(out, "&quot;");
            break;
        default:
            galv_text_append_char(out, *string);
            break;
        }
    }
}

static void put_fill(galv_text *out, galv_fill fill, bool hatched)
{
    if (hatched) {
        galv_text_printf(out, " fill=\"url(#h%d-%06x)\"", fill.hatch,
                         (unsigned)fill.hatch_color);
    } else {
        galv_text_printf(out, " fill=\"#%06x\"", (unsigned)fill.color);
    }
    if (fill.alpha != 0) {
        put_attribute(out, "fill-opacity", fill.alpha / 255.0);
    }
}

static void put_stroke(galv_text *out, galv_stroke stroke)
{
    galv_text_printf(out, " fill=\"none\" stroke=\"#%06x\"", (unsigned)stroke.color);
    put_attribute(out, "stroke-width", stroke.width);
    double dashes[2];
    if (galv_stroke_dashes(stroke, dashes) > 0) {
        galv_text_printf(out, " stroke-dasharray=\"%g %g\"", dashes[0], dashes[1]);
    }
}

static void put_points(galv_text *out, const galv_point *points, size_t n_points)
{
    galv_text_append(out, " points=\"");
    for (size_t i = 0; i < n_points; i++) {
        if (i > 0) {
            galv_text_append_char(out, ' ');
        }
        put_number(out, points[i].x);
        galv_text_append_char(out, ',');
        put_number(out, points[i].y);
    }
    galv_text_append_char(out, '"');
}

static void put_area(galv_text *out, const galv_item *item, bool hatched)
{
    if (item->kind == GALV_ITEM_RECT) {
        galv_text_append(out, "<rect");
        put_attribute(out, "x", item->x);
        put_attribute(out, "y", item->y);
        put_attribute(out, "width", item->w);
        put_attribute(out, "height", item->h);
    } else {
        galv_text_append(out, "<polygon");
        put_points(out, item->points, item->n_points);
    }
    put_fill(out, item->fill, hatched);
    galv_text_append(out, "/>\n");
}

static void put_marker(galv_text *out, const galv_item *item)
{
    galv_point corners[4];
    size_t n_corners = galv_marker_corners((galv_marker)item->marker, item->x, item->y,
                                           item->w, corners);
    if (item->marker == GALV_MARKER_CROSS) {
        double r = item->w * 0.42;
        galv_text_append(out, "<path d=\"M");
        put_number(out, item->x - r);
        galv_text_append_char(out, ' ');
        put_number(out, item->y - r);
        galv_text_append(out, "l");
        put_number(out, 2.0 * r);
        galv_text_append_char(out, ' ');
        put_number(out, 2.0 * r);
        galv_text_append(out, "m0 ");
        put_number(out, -2.0 * r);
        galv_text_append(out, "l");
        put_number(out, -2.0 * r);
        galv_text_append_char(out, ' ');
        put_number(out, 2.0 * r);
        galv_text_append_char(out, '"');
        put_stroke(out, item->stroke);
        galv_text_append(out, "/>\n");
        return;
    }
    if (n_corners > 0) {
        galv_text_append(out, "<polygon");
        put_points(out, corners, n_corners);
    } else {
        galv_text_append(out, "<circle");
        put_attribute(out, "cx", item->x);
        put_attribute(out, "cy", item->y);
        put_attribute(out, "r", item->w / 2.0);
    }
    galv_fill fill = item->fill;
    if (item->hollow) {
        fill.color = GALV_COLOR_WHITE;
        galv_text_printf(out, " stroke=\"#%06x\"", (unsigned)item->stroke.color);
        put_attribute(out, "stroke-width", item->stroke.width);
    }
    put_fill(out, fill, false);
    galv_text_append(out, "/>\n");
}

static void put_text(galv_text *out, const galv_item *item)
{
    static const char *const anchors[] = {"", " text-anchor=\"middle\"",
                                          " text-anchor=\"end\""};
    galv_text_append(out, "<text");
    if (item->style.upward) {
        galv_text_append(out, " transform=\"translate(");
        put_number(out, item->x);
        galv_text_append_char(out, ' ');
        put_number(out, item->y);
        galv_text_append(out, ") rotate(-90)\"");
    } else {
        put_attribute(out, "x", item->x);
        put_attribute(out, "y", item->y);
    }
    put_attribute(out, "font-size", item->style.size);
    galv_text_append(out, anchors[item->style.align]);
    if (item->style.bold) {
        galv_text_append(out, " font-weight=\"bold\"");
    }
    if (item->style.color != GALV_COLOR_TEXT) {
        galv_text_printf(out, " fill=\"#%06x\"", (unsigned)item->style.color);
    }
    put_attribute(out, "textLength", item->w);
    galv_text_append_char(out, '>');
    put_escaped(out, item->string);
    galv_text_append(out, "</text>\n");
}

/* One <pattern> for each kind and colour of hatch in use, in order of first use. */
static void put_patterns(galv_text *out, const galv_canvas *canvas)
{
    static const char *const lines[] = {"", "M-1 1l2 -2M0 8L8 0M7 9l2 -2",
                                        "M-1 7l2 2M0 0L8 8M7 -1l2 2",
                                        "M-1 1l2 -2M0 8L8 0M7 9l2 -2"
                                        "M-1 7l2 2M0 0L8 8M7 -1l2 2"};
    uint64_t seen[64];
    size_t n_seen = 0;
    const double period = GALV_HATCH_PITCH * sqrt(2.0);
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        galv_fill fill = galv_canvas_item(canvas, i)->fill;
        uint64_t key = ((uint64_t)fill.hatch << 32) | fill.hatch_color;
        bool known = fill.hatch == GALV_HATCH_NONE;
        for (size_t k = 0; k < n_seen; k++) {
            known = known || seen[k] == key;
        }
        if (known || n_seen == sizeof seen / sizeof seen[0]) {
            continue;
        }
        seen[n_seen++] = key;
        galv_text_printf(out,
                         "<pattern id=\"h%d-%06x\" width=\"8\" height=\"8\" "
                         "patternUnits=\"userSpaceOnUse\" patternTransform=\"scale(",
                         fill.hatch, (unsigned)fill.hatch_color);
        put_number(out, period / 8.0);
        galv_text_printf(out, ")\"><path d=\"%s\" fill=\"none\" stroke=\"#%06x\"",
                         lines[fill.hatch], (unsigned)fill.hatch_color);
        put_attribute(out, "stroke-width", GALV_HATCH_WIDTH * 8.0 / period);
        galv_text_append(out, "/></pattern>\n");
    }
}

galv_status galv_canvas_encode_svg(galv_text *out, const galv_canvas *canvas,
                                   galv_err *err)
{
    double width = galv_canvas_width(canvas);
    double height = galv_canvas_height(canvas);
    galv_text_append(out, "<svg xmlns=\"http://www.w3.org/2000/svg\"");
    put_attribute(out, "width", width);
    put_attribute(out, "height", height);
    galv_text_append(out, " viewBox=\"0 0 ");
    put_number(out, width);
    galv_text_append_char(out, ' ');
    put_number(out, height);
    galv_text_append(out, "\" font-family=\"'DejaVu Sans', Verdana, sans-serif\">\n");
    put_patterns(out, canvas);
    galv_text_append(out, "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        switch (item->kind) {
        case GALV_ITEM_RECT:
        case GALV_ITEM_POLYGON:
            put_area(out, item, false);
            if (item->fill.hatch != GALV_HATCH_NONE) {
                put_area(out, item, true);
            }
            break;
        case GALV_ITEM_POLYLINE:
            galv_text_append(out, "<polyline");
            put_points(out, item->points, item->n_points);
            put_stroke(out, item->stroke);
            galv_text_append(out, "/>\n");
            break;
        case GALV_ITEM_MARKER:
            put_marker(out, item);
            break;
        default:
            put_text(out, item);
            break;
        }
    }
    galv_text_append(out, "</svg>\n");
    if (out->failed) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    return GALV_OK;
}
