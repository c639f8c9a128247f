/* Headings, legends and ticks. Everything here is a matter of taste that should be
 * decided once: the figures differ in what they show, not in how they speak. */
#include "viz/figure_internal.h"

#include <math.h>
#include <stdio.h>

galv_status galv_figure_resolve(galv_figure_options *resolved,
                                const galv_figure_options *options, int32_t width_px,
                                galv_err *err)
{
    galv_figure_options defaults = GALV_FIGURE_OPTIONS_INIT;
    galv_figure_options result = options != NULL ? *options : defaults;
    if (result.width_px == 0) {
        result.width_px = width_px;
    }
    if (result.scale == 0.0) {
        result.scale = 2.0;
    }
    if (result.width_px < 320 || result.width_px > 8000) {
        return galv_fail(err, GALV_USAGE,
                         "a picture %d pixels wide is not between 320 and 8000",
                         (int)result.width_px);
    }
    *resolved = result;
    return GALV_OK;
}

galv_status galv_figure_finish(galv_canvas *canvas, galv_status status,
                               const char *path, const galv_figure_options *options,
                               galv_err *err)
{
    if (status == GALV_OK) {
        double scale = options != NULL && options->scale != 0.0 ? options->scale : 2.0;
        status = galv_canvas_write(canvas, path, scale, err);
        galv_canvas_free(canvas);
    }
    return status;
}

galv_text_style galv_style(double size, galv_color color, galv_align align)
{
    galv_text_style style = {size, color, (uint8_t)align, false, false};
    return style;
}

galv_text_style galv_style_bold(double size, galv_color color, galv_align align)
{
    galv_text_style style = {size, color, (uint8_t)align, true, false};
    return style;
}

galv_stroke galv_line(galv_color color, double width)
{
    return galv_line_dashed(color, width, GALV_DASH_SOLID);
}

galv_stroke galv_line_dashed(galv_color color, double width, galv_dash dash)
{
    galv_stroke stroke = {color, width, (uint8_t)dash};
    return stroke;
}

galv_fill galv_plain(galv_color color)
{
    galv_fill fill = {color, 0, GALV_HATCH_NONE, 0};
    return fill;
}

void galv_figure_heading(galv_canvas *canvas, const char *title, const char *subtitle)
{
    char buffer[512];
    double width = galv_canvas_width(canvas) - 2.0 * GALV_FIGURE_MARGIN;
    galv_canvas_tag(canvas, "heading", -1);
    if (title != NULL && title[0] != '\0') {
        galv_text_fit(buffer, sizeof buffer, title, width, GALV_SIZE_TITLE, true);
        galv_canvas_text(
            canvas, GALV_FIGURE_MARGIN, 21.0,
            galv_style_bold(GALV_SIZE_TITLE, GALV_COLOR_TEXT, GALV_ALIGN_LEFT), buffer);
    }
    if (subtitle != NULL && subtitle[0] != '\0') {
        galv_text_fit(buffer, sizeof buffer, subtitle, width, GALV_SIZE_SUBTITLE,
                      false);
        galv_canvas_text(
            canvas, GALV_FIGURE_MARGIN, 36.0,
            galv_style(GALV_SIZE_SUBTITLE, GALV_COLOR_AXIS, GALV_ALIGN_LEFT), buffer);
    }
}

void galv_figure_footer(galv_canvas *canvas, const char *footer)
{
    if (footer == NULL || footer[0] == '\0') {
        return;
    }
    char buffer[512];
    double width = galv_canvas_width(canvas) - 2.0 * GALV_FIGURE_MARGIN;
    galv_text_fit(buffer, sizeof buffer, footer, width, GALV_SIZE_CELL, false);
    galv_canvas_tag(canvas, "footer", -1);
    galv_canvas_text(canvas, GALV_FIGURE_MARGIN, galv_canvas_height(canvas) - 7.0,
                     galv_style(GALV_SIZE_CELL, GALV_COLOR_FOOTER, GALV_ALIGN_LEFT),
                     buffer);
}

#define LEGEND_MARK_WIDTH  14.0
#define LEGEND_MARK_GAP    4.0
#define LEGEND_ENTRY_GAP   16.0
#define LEGEND_LINE_HEIGHT 16.0

static double entry_width(const galv_legend_entry *entry)
{
    return LEGEND_MARK_WIDTH + LEGEND_MARK_GAP +
           galv_text_width(entry->text, GALV_SIZE_TICK, false);
}

static void draw_entry(galv_canvas *canvas, double x, double y,
                       const galv_legend_entry *entry)
{
    double middle = x + LEGEND_MARK_WIDTH / 2.0;
    switch (entry->mark) {
    case GALV_LEGEND_SWATCH:
        galv_canvas_rect(canvas, x, y - 4.5, LEGEND_MARK_WIDTH, 9.0, entry->fill);
        if (entry->stroke.width > 0.0) {
            galv_canvas_outline(canvas, x, y - 4.5, LEGEND_MARK_WIDTH, 9.0,
                                entry->stroke);
        }
        break;
    case GALV_LEGEND_LINE:
        galv_canvas_line(canvas, x, y, x + LEGEND_MARK_WIDTH, y, entry->stroke);
        break;
    default:
        galv_canvas_marker(canvas, middle, y, entry->marker, 7.0, entry->fill.color,
                           entry->hollow);
        break;
    }
    galv_canvas_text(
        canvas, x + LEGEND_MARK_WIDTH + LEGEND_MARK_GAP, y + 0.36 * GALV_SIZE_TICK,
        galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_LEFT), entry->text);
}

/* Lays the entries out; draws them unless `canvas` is NULL. Returns the lines used. */
static int lay_out(galv_canvas *canvas, double x, double y, double width,
                   const galv_legend_entry *entries, size_t n_entries)
{
    double at = x;
    int n_lines = n_entries > 0 ? 1 : 0;
    for (size_t i = 0; i < n_entries; i++) {
        double wanted = entry_width(&entries[i]);
        if (at > x && at + wanted > x + width) {
            at = x;
            n_lines++;
        }
        if (canvas != NULL) {
            draw_entry(canvas, at, y + (n_lines - 1) * LEGEND_LINE_HEIGHT, &entries[i]);
        }
        at += wanted + LEGEND_ENTRY_GAP;
    }
    return n_lines;
}

void galv_figure_legend(galv_canvas *canvas, double x, double y, double width,
                        const galv_legend_entry *entries, size_t n_entries)
{
    galv_canvas_tag(canvas, "legend", -1);
    lay_out(canvas, x, y, width, entries, n_entries);
}

double galv_figure_legend_height(double width, const galv_legend_entry *entries,
                                 size_t n_entries)
{
    return lay_out(NULL, 0.0, 0.0, width, entries, n_entries) * LEGEND_LINE_HEIGHT;
}

galv_ticks galv_ticks_choose(double low, double high, int most)
{
    galv_ticks ticks = {low, 1.0, 1, 0};
    double span = high - low;
    if (!(span > 0.0) || !isfinite(span)) {
        return ticks;
    }
    static const double mantissas[] = {1.0, 2.0, 5.0, 10.0};
    double magnitude = pow(10.0, floor(log10(span / most)));
    for (int i = 0; i < 4; i++) {
        double step = magnitude * mantissas[i];
        double first = ceil(low / step - 1e-9) * step;
        int n_ticks = (int)floor((high - first) / step + 1e-9) + 1;
        if (n_ticks <= most || i == 3) {
            ticks.first = first;
            ticks.step = step;
            ticks.n_ticks = n_ticks > 0 ? n_ticks : 1;
            break;
        }
    }
    ticks.decimals = (int)fmax(0.0, -floor(log10(ticks.step) + 1e-9));
    return ticks;
}

double galv_tick(const galv_ticks *ticks, int index)
{
    double value = ticks->first + index * ticks->step;
    return fabs(value) < ticks->step * 1e-6 ? 0.0 : value;
}

galv_time_unit galv_time_unit_for(double duration_s)
{
    galv_time_unit seconds = {1.0, "s"};
    galv_time_unit milliseconds = {1e-3, "ms"};
    galv_time_unit microseconds = {1e-6, "\xC2\xB5s"};
    return duration_s >= 1.0    ? seconds
           : duration_s >= 1e-3 ? milliseconds
                                : microseconds;
}

void galv_print_figures(char *buffer, size_t size, double value)
{
    double magnitude = fabs(value);
    int decimals = magnitude >= 99.95    ? 0
                   : magnitude >= 9.995  ? 1
                   : magnitude >= 0.9995 ? 2
                   : magnitude >= 0.1    ? 3
                   : magnitude >= 0.01   ? 4
                                         : 5;
    snprintf(buffer, size, "%.*f", magnitude == 0.0 ? 0 : decimals, value);
}
