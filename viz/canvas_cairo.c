/* PNG and PDF, by cairo. Both play the same list; only the surface differs, so their
 * layouts agree. Hinting and metric rounding are off: they would move text in the PNG
 * but not in the PDF. cairo writes no resolution into a PNG, so that word processors
 * would print it four times too large: the pHYs chunk is put in here. The PDF's
 * creation date is fixed, and nothing else that changes between runs is written. */
#include "viz/canvas_internal.h"
#include "viz/figure.h"

#include <assert.h>
#include <cairo-pdf.h>
#include <cairo.h>
#include <dlfcn.h>
#include <math.h>
#include <string.h>

#define PX_PER_INCH    96.0
#define PT_PER_PX      0.75
#define METRE_PER_INCH 0.0254
#define PI             3.14159265358979323846
/* Of cairo 1.16's images. */
#define SIDE_LIMIT_PX 32767.0

size_t galv_marker_corners(galv_marker marker, double x, double y, double size,
                           galv_point points[4])
{
    double r = size / 2.0;
    switch (marker) {
    case GALV_MARKER_SQUARE:
        r *= 0.9;
        points[0] = (galv_point){x - r, y - r};
        points[1] = (galv_point){x + r, y - r};
        points[2] = (galv_point){x + r, y + r};
        points[3] = (galv_point){x - r, y + r};
        return 4;
    case GALV_MARKER_DIAMOND:
        r *= 1.2;
        points[0] = (galv_point){x, y - r};
        points[1] = (galv_point){x + r, y};
        points[2] = (galv_point){x, y + r};
        points[3] = (galv_point){x - r, y};
        return 4;
    case GALV_MARKER_TRIANGLE:
        points[0] = (galv_point){x, y - r * 1.1};
        points[1] = (galv_point){x + r * 1.1, y + r * 0.8};
        points[2] = (galv_point){x - r * 1.1, y + r * 0.8};
        return 3;
    case GALV_MARKER_DOWN:
        points[0] = (galv_point){x, y + r * 1.1};
        points[1] = (galv_point){x + r * 1.1, y - r * 0.8};
        points[2] = (galv_point){x - r * 1.1, y - r * 0.8};
        return 3;
    default:
        return 0;
    }
}

int galv_stroke_dashes(galv_stroke stroke, double dashes[2])
{
    if (stroke.dash == GALV_DASH_SOLID) {
        return 0;
    }
    bool dashed = stroke.dash == GALV_DASH_DASHED;
    dashes[0] = dashed ? 5.0 : 1.0;
    dashes[1] = dashed ? 3.0 : 2.5;
    return 2;
}

static void set_color(cairo_t *cr, galv_color color, uint8_t alpha)
{
    cairo_set_source_rgba(cr, ((color >> 16) & 0xFFU) / 255.0,
                          ((color >> 8) & 0xFFU) / 255.0, (color & 0xFFU) / 255.0,
                          alpha == 0 ? 1.0 : alpha / 255.0);
}

/* Lines over the box, clipped to the current path; their phase is that of the page, so
 * that neighbouring areas continue each other. */
static void hatch(cairo_t *cr, galv_fill fill)
{
    double x0, y0, x1, y1;
    cairo_path_extents(cr, &x0, &y0, &x1, &y1);
    cairo_save(cr);
    cairo_clip(cr);
    set_color(cr, fill.hatch_color, fill.alpha);
    cairo_set_line_width(cr, GALV_HATCH_WIDTH);
    double step = GALV_HATCH_PITCH * sqrt(2.0);
    if (fill.hatch != GALV_HATCH_FALLING) {
        for (double c = floor((x0 + y0) / step) * step; c < x1 + y1 + step; c += step) {
            cairo_move_to(cr, c - y0 + 1.0, y0 - 1.0);
            cairo_line_to(cr, c - y1 - 1.0, y1 + 1.0);
        }
    }
    if (fill.hatch != GALV_HATCH_RISING) {
        for (double c = floor((x0 - y1) / step) * step; c < x1 - y0 + step; c += step) {
            cairo_move_to(cr, c + y0 - 1.0, y0 - 1.0);
            cairo_line_to(cr, c + y1 + 1.0, y1 + 1.0);
        }
    }
    cairo_stroke(cr);
    cairo_restore(cr);
}

static void fill_path(cairo_t *cr, galv_fill fill)
{
    set_color(cr, fill.color, fill.alpha);
    if (fill.hatch == GALV_HATCH_NONE) {
        cairo_fill(cr);
    } else {
        cairo_fill_preserve(cr);
        hatch(cr, fill);
        cairo_new_path(cr);
    }
}

static void trace_points(cairo_t *cr, const galv_point *points, size_t n_points)
{
    for (size_t i = 0; i < n_points; i++) {
        cairo_line_to(cr, points[i].x, points[i].y);
    }
}

static void play_polyline(cairo_t *cr, const galv_item *item)
{
    double dashes[2];
    int n_dashes = galv_stroke_dashes(item->stroke, dashes);
    cairo_set_dash(cr, dashes, n_dashes, 0.0);
    cairo_set_line_width(cr, item->stroke.width);
    set_color(cr, item->stroke.color, 0);
    trace_points(cr, item->points, item->n_points);
    const galv_point *last = &item->points[item->n_points - 1];
    if (item->n_points > 2 && item->points[0].x == last->x &&
        item->points[0].y == last->y) {
        cairo_close_path(cr);
    }
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0.0);
}

static void play_marker(cairo_t *cr, const galv_item *item)
{
    galv_point corners[4];
    size_t n_corners = galv_marker_corners((galv_marker)item->marker, item->x, item->y,
                                           item->w, corners);
    cairo_set_line_width(cr, item->stroke.width);
    if (item->marker == GALV_MARKER_CROSS) {
        double r = item->w * 0.42;
        cairo_move_to(cr, item->x - r, item->y - r);
        cairo_line_to(cr, item->x + r, item->y + r);
        cairo_move_to(cr, item->x - r, item->y + r);
        cairo_line_to(cr, item->x + r, item->y - r);
        set_color(cr, item->stroke.color, 0);
        cairo_stroke(cr);
        return;
    }
    if (n_corners > 0) {
        trace_points(cr, corners, n_corners);
        cairo_close_path(cr);
    } else {
        cairo_new_sub_path(cr);
        cairo_arc(cr, item->x, item->y, item->w / 2.0, 0.0, 2.0 * PI);
    }
    set_color(cr, item->hollow ? GALV_COLOR_WHITE : item->fill.color, item->fill.alpha);
    cairo_fill_preserve(cr);
    set_color(cr, item->stroke.color, 0);
    if (item->hollow) {
        cairo_stroke(cr);
    } else {
        cairo_new_path(cr);
    }
}

static void play_text(cairo_t *cr, const galv_item *item)
{
    cairo_select_font_face(cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           item->style.bold ? CAIRO_FONT_WEIGHT_BOLD
                                            : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, item->style.size);
    cairo_text_extents_t extents;
    cairo_text_extents(cr, item->string, &extents);
    double shift = item->style.align == GALV_ALIGN_LEFT     ? 0.0
                   : item->style.align == GALV_ALIGN_CENTER ? extents.x_advance / 2.0
                                                            : extents.x_advance;
    set_color(cr, item->style.color, 0);
    cairo_save(cr);
    cairo_translate(cr, item->x, item->y);
    if (item->style.upward) {
        cairo_rotate(cr, -PI / 2.0);
    }
    cairo_move_to(cr, -shift, 0.0);
    cairo_show_text(cr, item->string);
    cairo_restore(cr);
}

static void play(cairo_t *cr, const galv_canvas *canvas)
{
    cairo_font_options_t *fonts = cairo_font_options_create();
    cairo_font_options_set_hint_style(fonts, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(fonts, CAIRO_HINT_METRICS_OFF);
    cairo_font_options_set_antialias(fonts, CAIRO_ANTIALIAS_GRAY);
    cairo_set_font_options(cr, fonts);
    cairo_font_options_destroy(fonts);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_MITER);
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        cairo_new_path(cr);
        switch (item->kind) {
        case GALV_ITEM_RECT:
            cairo_rectangle(cr, item->x, item->y, item->w, item->h);
            fill_path(cr, item->fill);
            break;
        case GALV_ITEM_POLYGON:
            trace_points(cr, item->points, item->n_points);
            cairo_close_path(cr);
            fill_path(cr, item->fill);
            break;
        case GALV_ITEM_POLYLINE:
            play_polyline(cr, item);
            break;
        case GALV_ITEM_MARKER:
            play_marker(cr, item);
            break;
        default:
            play_text(cr, item);
            break;
        }
    }
}

static cairo_status_t append_bytes(void *closure, const unsigned char *bytes,
                                   unsigned int length)
{
    galv_text *out = closure;
    galv_text_append_bytes(out, (const char *)bytes, length);
    return out->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

static galv_status report(cairo_status_t status, galv_err *err)
{
    if (status == CAIRO_STATUS_SUCCESS) {
        return GALV_OK;
    }
    if (status == CAIRO_STATUS_NO_MEMORY) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    return galv_fail(err, GALV_INTERNAL, "cairo could not draw: %s",
                     cairo_status_to_string(status));
}

/* ---- PNG ---- */

/* Source: PNG specification (ISO/IEC 15948), annex D. */
static uint32_t crc_of(const unsigned char *bytes, size_t length)
{
    uint32_t crc = 0xFFFFFFFFU;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1U) != 0 ? 0xEDB88320U ^ (crc >> 1) : crc >> 1;
        }
    }
    return crc ^ 0xFFFFFFFFU;
}

static void put_u32(unsigned char *at, uint32_t number)
{
    at[0] = (unsigned char)(number >> 24);
    at[1] = (unsigned char)(number >> 16);
    at[2] = (unsigned char)(number >> 8);
    at[3] = (unsigned char)number;
}

/* Appends `png` with a pHYs chunk after its IHDR (signature 8, IHDR 25 bytes). */
static void append_with_resolution(galv_text *out, const galv_text *png, double scale)
{
    const size_t head = 8 + 25;
    assert(png->length > head);
    unsigned char chunk[21] = {0, 0, 0, 9, 'p', 'H', 'Y', 's'};
    uint32_t per_metre = (uint32_t)lround(scale * PX_PER_INCH / METRE_PER_INCH);
    put_u32(chunk + 8, per_metre);
    put_u32(chunk + 12, per_metre);
    chunk[16] = 1; /* the unit is the metre */
    put_u32(chunk + 17, crc_of(chunk + 4, 13));
    galv_text_append_bytes(out, png->bytes, head);
    galv_text_append_bytes(out, (const char *)chunk, sizeof chunk);
    galv_text_append_bytes(out, png->bytes + head, png->length - head);
}

galv_status galv_canvas_encode_png(galv_text *out, const galv_canvas *canvas,
                                   double scale, galv_err *err)
{
    double width = ceil(galv_canvas_width(canvas) * scale);
    double height = ceil(galv_canvas_height(canvas) * scale);
    if (width > SIDE_LIMIT_PX || height > SIDE_LIMIT_PX) {
        galv_fail(err, GALV_USAGE, "a PNG of %.0f x %.0f pixels is too large", width,
                  height);
        galv_hint(err, "pass a smaller scale, or write .svg or .pdf");
        return GALV_USAGE;
    }
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
    cairo_t *cr = cairo_create(surface);
    cairo_set_source_rgb(cr, 1.0, 1.0, 1.0);
    cairo_paint(cr);
    cairo_scale(cr, scale, scale);
    play(cr, canvas);
    cairo_status_t status = cairo_status(cr);
    cairo_destroy(cr);
    galv_text png = GALV_TEXT_INIT;
    if (status == CAIRO_STATUS_SUCCESS) {
        status = cairo_surface_write_to_png_stream(surface, append_bytes, &png);
    }
    cairo_surface_destroy(surface);
    galv_status result = report(status, err);
    if (result == GALV_OK) {
        append_with_resolution(out, &png, scale);
    }
    galv_text_release(&png);
    return result;
}

/* ---- PDF ---- */

galv_status galv_canvas_encode_pdf(galv_text *out, const galv_canvas *canvas,
                                   galv_err *err)
{
    cairo_surface_t *surface = cairo_pdf_surface_create_for_stream(
        append_bytes, out, galv_canvas_width(canvas) * PT_PER_PX,
        galv_canvas_height(canvas) * PT_PER_PX);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE,
                                   "2000-01-01T00:00:00Z");
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATOR,
                                   "galvatron-sim");
    cairo_t *cr = cairo_create(surface);
    cairo_scale(cr, PT_PER_PX, PT_PER_PX);
    play(cr, canvas);
    cairo_show_page(cr);
    cairo_status_t status = cairo_status(cr);
    cairo_destroy(cr);
    cairo_surface_finish(surface);
    if (status == CAIRO_STATUS_SUCCESS) {
        status = cairo_surface_status(surface);
    }
    cairo_surface_destroy(surface);
    return report(status, err);
}

void galv_viz_shutdown(void)
{
    cairo_debug_reset_static_data();
    /* cairo brings fontconfig along but does not end it; asked for by name, so that
     * nothing need be linked for the sake of this one call. */
    void *program = dlopen(NULL, RTLD_LAZY);
    if (program != NULL) {
        void *symbol = dlsym(program, "FcFini");
        if (symbol != NULL) {
            void (*finish)(void);
            memcpy(&finish, &symbol, sizeof finish);
            finish();
        }
        dlclose(program);
    }
}
