/* Recording. A canvas is a list of primitives in drawing order, kept because one list
 * serves three file formats and the tests, and because what was drawn can then be
 * checked: that nothing leaves the page, that no two texts overlap. Strings and points
 * live in an arena of the canvas; the items in one array that grows. Coordinates that
 * are not numbers are dropped here, so that no writer meets them. */
#include "viz/canvas.h"

#include "base/arena.h"
#include "base/file.h"
#include "viz/canvas_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct galv_canvas {
    double width, height;
    galv_arena *arena;
    galv_item *items;
    size_t n_items;
    size_t capacity;
    bool failed;
    const char *tag;
    int32_t row;
};

galv_canvas *galv_canvas_new(double width, double height)
{
    galv_canvas *canvas = calloc(1, sizeof *canvas);
    if (canvas == NULL) {
        return NULL;
    }
    canvas->arena = galv_arena_new();
    if (canvas->arena == NULL) {
        free(canvas);
        return NULL;
    }
    canvas->width = width;
    canvas->height = height;
    canvas->tag = "";
    canvas->row = -1;
    return canvas;
}

void galv_canvas_free(galv_canvas *canvas)
{
    if (canvas != NULL) {
        galv_arena_free(canvas->arena);
        free(canvas->items);
        free(canvas);
    }
}

double galv_canvas_width(const galv_canvas *canvas)
{
    return canvas->width;
}

double galv_canvas_height(const galv_canvas *canvas)
{
    return canvas->height;
}

bool galv_canvas_is_whole(const galv_canvas *canvas)
{
    return !canvas->failed;
}

size_t galv_canvas_n_items(const galv_canvas *canvas)
{
    return canvas->n_items;
}

const galv_item *galv_canvas_item(const galv_canvas *canvas, size_t index)
{
    return &canvas->items[index];
}

void galv_canvas_tag(galv_canvas *canvas, const char *tag, int32_t row)
{
    canvas->tag = tag;
    canvas->row = row;
}

/* Room for one more item, already tagged; NULL when memory is out. */
static galv_item *append(galv_canvas *canvas, galv_item_kind kind)
{
    if (canvas->failed) {
        return NULL;
    }
    if (canvas->n_items == canvas->capacity) {
        size_t capacity = canvas->capacity == 0 ? 256 : canvas->capacity * 2;
        galv_item *items = realloc(canvas->items, capacity * sizeof *items);
        if (items == NULL) {
            canvas->failed = true;
            return NULL;
        }
        canvas->items = items;
        canvas->capacity = capacity;
    }
    galv_item *item = &canvas->items[canvas->n_items++];
    memset(item, 0, sizeof *item);
    item->kind = (uint8_t)kind;
    item->tag = canvas->tag;
    item->row = canvas->row;
    return item;
}

void galv_canvas_rect(galv_canvas *canvas, double x, double y, double w, double h,
                      galv_fill fill)
{
    if (!isfinite(x + y + w + h) || w <= 0.0 || h <= 0.0) {
        return;
    }
    galv_item *item = append(canvas, GALV_ITEM_RECT);
    if (item != NULL) {
        item->x = x;
        item->y = y;
        item->w = w;
        item->h = h;
        item->fill = fill;
    }
}

void galv_canvas_outline(galv_canvas *canvas, double x, double y, double w, double h,
                         galv_stroke stroke)
{
    galv_point corners[5] = {{x, y}, {x + w, y}, {x + w, y + h}, {x, y + h}, {x, y}};
    galv_canvas_polyline(canvas, corners, 5, stroke);
}

/* Copies the points that are numbers into the item. */
static void append_points(galv_canvas *canvas, galv_item_kind kind,
                          const galv_point *points, size_t n_points, galv_fill fill,
                          galv_stroke stroke)
{
    if (n_points < 2 || canvas->failed) {
        return;
    }
    galv_point *copy = GALV_NEW_ARRAY(canvas->arena, galv_point, n_points);
    if (copy == NULL) {
        canvas->failed = true;
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < n_points; i++) {
        if (isfinite(points[i].x) && isfinite(points[i].y)) {
            copy[kept++] = points[i];
        }
    }
    galv_item *item = kept < 2 ? NULL : append(canvas, kind);
    if (item != NULL) {
        item->points = copy;
        item->n_points = kept;
        item->fill = fill;
        item->stroke = stroke;
    }
}

void galv_canvas_polygon(galv_canvas *canvas, const galv_point *points, size_t n_points,
                         galv_fill fill)
{
    galv_stroke none = {0, 0.0, GALV_DASH_SOLID};
    append_points(canvas, GALV_ITEM_POLYGON, points, n_points, fill, none);
}

void galv_canvas_polyline(galv_canvas *canvas, const galv_point *points,
                          size_t n_points, galv_stroke stroke)
{
    galv_fill none = {0, 0, GALV_HATCH_NONE, 0};
    append_points(canvas, GALV_ITEM_POLYLINE, points, n_points, none, stroke);
}

void galv_canvas_line(galv_canvas *canvas, double x0, double y0, double x1, double y1,
                      galv_stroke stroke)
{
    galv_point points[2] = {{x0, y0}, {x1, y1}};
    galv_canvas_polyline(canvas, points, 2, stroke);
}

void galv_canvas_marker(galv_canvas *canvas, double x, double y, galv_marker marker,
                        double size, galv_color color, bool hollow)
{
    if (!isfinite(x + y + size)) {
        return;
    }
    galv_item *item = append(canvas, GALV_ITEM_MARKER);
    if (item != NULL) {
        item->marker = (uint8_t)marker;
        item->hollow = hollow;
        item->x = x;
        item->y = y;
        item->w = size;
        item->fill.color = color;
        item->stroke.color = color;
        item->stroke.width = 1.2;
    }
}

/* Replaces what is no printable UTF-8 by '?', in place: cairo refuses the rest of a
 * drawing after one invalid string. */
static void tidy_utf8(char *text)
{
    char *out = text;
    const unsigned char *in = (const unsigned char *)text;
    while (*in != '\0') {
        size_t length = *in < 0x80                     ? 1
                        : (*in >= 0xC2 && *in <= 0xDF) ? 2
                        : (*in >= 0xE0 && *in <= 0xEF) ? 3
                        : (*in >= 0xF0 && *in <= 0xF4) ? 4
                                                       : 0;
        bool good = length != 0 && *in >= 0x20 && *in != 0x7F;
        for (size_t i = 1; good && i < length; i++) {
            good = (in[i] & 0xC0U) == 0x80U;
        }
        good = good && !(in[0] == 0xE0 && in[1] < 0xA0) &&
               !(in[0] == 0xED && in[1] > 0x9F) && !(in[0] == 0xF0 && in[1] < 0x90) &&
               !(in[0] == 0xF4 && in[1] > 0x8F);
        if (good) {
            memmove(out, in, length);
            out += length;
            in += length;
        } else {
            *out++ = '?';
            in++;
        }
    }
    *out = '\0';
}

void galv_canvas_text(galv_canvas *canvas, double x, double y, galv_text_style style,
                      const char *string)
{
    if (!isfinite(x + y) || string == NULL || string[0] == '\0' || canvas->failed) {
        return;
    }
    char *copy = galv_arena_strdup(canvas->arena, string);
    if (copy == NULL) {
        canvas->failed = true;
        return;
    }
    tidy_utf8(copy);
    galv_item *item = append(canvas, GALV_ITEM_TEXT);
    if (item != NULL) {
        item->x = x;
        item->y = y;
        item->style = style;
        item->string = copy;
        item->w = galv_text_width(copy, style.size, style.bold);
    }
}

void galv_canvas_printf(galv_canvas *canvas, double x, double y, galv_text_style style,
                        const char *format, ...)
{
    char buffer[512];
    va_list args;
    va_start(args, format);
    vsnprintf(buffer, sizeof buffer, format, args);
    va_end(args);
    galv_canvas_text(canvas, x, y, style, buffer);
}

static void dump_points(const galv_item *item, galv_text *out)
{
    for (size_t i = 0; i < item->n_points; i++) {
        galv_text_printf(out, " %.1f,%.1f", item->points[i].x, item->points[i].y);
    }
}

static void dump_fill(galv_fill fill, galv_text *out)
{
    galv_text_printf(out, " #%06X", (unsigned)fill.color);
    if (fill.hatch != GALV_HATCH_NONE) {
        galv_text_printf(out, " hatch%d #%06X", fill.hatch, (unsigned)fill.hatch_color);
    }
    if (fill.alpha != 0) {
        galv_text_printf(out, " alpha %d", fill.alpha);
    }
}

static void dump_item(const galv_item *item, galv_text *out)
{
    static const char *const aligns[] = {"left", "center", "right"};
    switch (item->kind) {
    case GALV_ITEM_RECT:
        galv_text_printf(out, "rect %.1f %.1f %.1f %.1f", item->x, item->y, item->w,
                         item->h);
        dump_fill(item->fill, out);
        break;
    case GALV_ITEM_POLYGON:
        galv_text_append(out, "polygon");
        dump_fill(item->fill, out);
        dump_points(item, out);
        break;
    case GALV_ITEM_POLYLINE:
        galv_text_printf(out, "line #%06X %.2f dash%d", (unsigned)item->stroke.color,
                         item->stroke.width, item->stroke.dash);
        dump_points(item, out);
        break;
    case GALV_ITEM_MARKER:
        galv_text_printf(out, "marker%d%s %.1f %.1f %.1f", item->marker,
                         item->hollow ? " hollow" : "", item->x, item->y, item->w);
        dump_fill(item->fill, out);
        break;
    default:
        galv_text_printf(out, "text %.1f %.1f %s %.1f%s%s #%06X \"%s\"", item->x,
                         item->y, aligns[item->style.align], item->style.size,
                         item->style.bold ? " bold" : "",
                         item->style.upward ? " upward" : "",
                         (unsigned)item->style.color, item->string);
        break;
    }
    galv_text_append_char(out, '\n');
}

void galv_canvas_dump(const galv_canvas *canvas, galv_text *out)
{
    galv_text_printf(out, "canvas %.1f %.1f\n", canvas->width, canvas->height);
    const char *tag = "";
    int32_t row = -1;
    for (size_t i = 0; i < canvas->n_items; i++) {
        const galv_item *item = &canvas->items[i];
        if (strcmp(item->tag, tag) != 0 || item->row != row) {
            tag = item->tag;
            row = item->row;
            galv_text_printf(out, "[%s", tag);
            if (row >= 0) {
                galv_text_printf(out, " %d", (int)row);
            }
            galv_text_append(out, "]\n");
        }
        dump_item(item, out);
    }
}

galv_status galv_canvas_check_path(const char *path, galv_err *err)
{
    if (galv_path_has_extension(path, ".png") ||
        galv_path_has_extension(path, ".svg") ||
        galv_path_has_extension(path, ".pdf")) {
        return GALV_OK;
    }
    galv_fail(err, GALV_USAGE, "a picture cannot be written as '%s'", path);
    galv_hint(err, "name a file that ends in .png, .svg or .pdf");
    return GALV_USAGE;
}

galv_status galv_canvas_write(const galv_canvas *canvas, const char *path, double scale,
                              galv_err *err)
{
    galv_status status = galv_canvas_check_path(path, err);
    if (status != GALV_OK) {
        return status;
    }
    if (!(scale >= 0.1 && scale <= 8.0)) {
        return galv_fail(err, GALV_USAGE, "the scale %g is not between 0.1 and 8",
                         scale);
    }
    if (canvas->failed) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    galv_text bytes = GALV_TEXT_INIT;
    if (galv_path_has_extension(path, ".png")) {
        status = galv_canvas_encode_png(&bytes, canvas, scale, err);
    } else if (galv_path_has_extension(path, ".pdf")) {
        status = galv_canvas_encode_pdf(&bytes, canvas, err);
    } else {
        status = galv_canvas_encode_svg(&bytes, canvas, err);
    }
    if (status == GALV_OK && bytes.failed) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    if (status == GALV_OK) {
        status = galv_file_write(path, bytes.bytes, bytes.length, err);
    }
    galv_text_release(&bytes);
    return status;
}
