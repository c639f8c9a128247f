/* Memory at the peak, stage by stage: stacked bars on one scale, the fullest on top,
 * against the limit. Bars and not a treemap, because lengths compare and areas do not.
 * Stages beyond the fullest forty are named in a note only. */
#include "viz/memory_figure.h"

#include "viz/plot_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define GIB       1073741824.0
#define N_PARTS   6
#define MOST_BARS 40
#define PITCH     22.0
#define BAR       16.0
#define TOP       64.0
#define AXIS      40.0

typedef struct memory_bar {
    size_t index; /* of the row, for ties */
    double parts_bytes[N_PARTS];
    double total_bytes;
} memory_bar;

static const char *const part_names[N_PARTS] = {"parameters",  "gradients", "optimizer",
                                                "activations", "buffers",   "context"};

static galv_fill part_fill(int part)
{
    static const galv_ink part_inks[N_PARTS] = {GALV_INK_FORWARD,   GALV_INK_RECOMPUTE,
                                                GALV_INK_OPTIMIZER, GALV_INK_BACKWARD,
                                                GALV_INK_TP,        GALV_INK_PP};
    galv_fill fill = galv_ink_fill(part_inks[part]);
    fill.hatch = GALV_HATCH_NONE;
    return fill;
}

static int compare_bars(const void *a, const void *b)
{
    const memory_bar *one = a;
    const memory_bar *other = b;
    if (one->total_bytes != other->total_bytes) {
        return one->total_bytes < other->total_bytes ? 1 : -1;
    }
    return one->index < other->index ? -1 : 1;
}

static galv_status make_bars(memory_bar *bars, const galv_memory_row *rows,
                             size_t n_rows, galv_err *err)
{
    for (size_t i = 0; i < n_rows; i++) {
        const galv_memory_row *row = &rows[i];
        double parts[N_PARTS] = {row->parameters_bytes, row->gradients_bytes,
                                 row->optimizer_bytes,  row->activations_bytes,
                                 row->buffers_bytes,    row->context_bytes};
        bars[i].index = i;
        if (!(row->limit_bytes >= 0.0) || !isfinite(row->limit_bytes)) {
            return galv_fail(err, GALV_INPUT, "a limit of %g bytes cannot be",
                             row->limit_bytes);
        }
        for (int p = 0; p < N_PARTS; p++) {
            if (!(parts[p] >= 0.0) || !isfinite(parts[p])) {
                return galv_fail(err, GALV_INPUT, "%s of stage %zu: %g bytes cannot be",
                                 part_names[p], i, parts[p]);
            }
            bars[i].parts_bytes[p] = parts[p];
            bars[i].total_bytes += parts[p];
        }
    }
    qsort(bars, n_rows, sizeof *bars, compare_bars);
    return GALV_OK;
}

static void row_label(const galv_memory_row *rows, size_t index, double page_width,
                      char *buffer, size_t size)
{
    if (rows[index].label != NULL) {
        galv_text_fit(buffer, size, rows[index].label, fmin(200.0, 0.3 * page_width),
                      GALV_SIZE_AXIS, false);
    } else {
        snprintf(buffer, size, "stage %zu", index);
    }
}

static void print_gib(char *buffer, size_t size, double value, double total)
{
    (void)total;
    galv_print_figures(buffer, size, value / GIB);
}

/* The limit that all rows have; 0 = they differ, or it is unknown. */
static double common_limit(const galv_memory_row *rows, size_t n_rows)
{
    double limit_bytes = rows[0].limit_bytes;
    for (size_t i = 1; i < n_rows; i++) {
        limit_bytes = rows[i].limit_bytes == limit_bytes ? limit_bytes : 0.0;
    }
    return limit_bytes;
}

static void draw_limit(galv_canvas *canvas, const galv_axis *x, double limit_bytes,
                       double top, double bottom)
{
    double at = galv_axis_at(x, limit_bytes);
    galv_canvas_tag(canvas, "limit", -1);
    galv_canvas_line(canvas, at, top, at, bottom,
                     galv_line_dashed(GALV_COLOR_LIMIT, 1.0, GALV_DASH_DASHED));
}

static void name_limit(galv_canvas *canvas, const galv_axis *x, double limit_bytes)
{
    char number[32];
    galv_print_figures(number, sizeof number, limit_bytes / GIB);
    galv_canvas_printf(canvas, galv_axis_at(x, limit_bytes), TOP - 11.0,
                       galv_style(GALV_SIZE_TICK, 0xA64500, GALV_ALIGN_CENTER),
                       "limit %s GiB", number);
}

/* "43.4 GiB", of how much where stages differ in that, and when if that is known. */
static void total_label(const memory_bar *bar, const galv_memory_row *rows, bool unlike,
                        galv_time_unit unit, char *buffer, size_t size)
{
    char number[32], of[48] = "";
    galv_print_figures(number, sizeof number, bar->total_bytes / GIB);
    double when = rows[bar->index].peak_time_s;
    if (unlike && rows[bar->index].limit_bytes > 0.0) {
        char limit[32];
        galv_print_figures(limit, sizeof limit, rows[bar->index].limit_bytes / GIB);
        snprintf(of, sizeof of, " of %s", limit);
    }
    if (when > 0.0 && isfinite(when)) {
        char time[32];
        galv_print_figures(time, sizeof time, when / unit.seconds);
        snprintf(buffer, size, "%s%s GiB at %s %s", number, of, time, unit.name);
    } else {
        snprintf(buffer, size, "%s%s GiB", number, of);
    }
}

static void draw_bar(galv_canvas *canvas, const galv_axis *x, const memory_bar *bar,
                     const galv_memory_row *rows, bool unlike, galv_time_unit unit,
                     double y)
{
    double limit_bytes = rows[bar->index].limit_bytes;
    char label[128];
    row_label(rows, bar->index, galv_canvas_width(canvas), label, sizeof label);
    galv_canvas_tag(canvas, "bar", (int32_t)bar->index);
    galv_canvas_text(canvas, x->from_px - 6.0, y + BAR / 2.0 + 0.36 * GALV_SIZE_AXIS,
                     galv_style(GALV_SIZE_AXIS, GALV_COLOR_TEXT, GALV_ALIGN_RIGHT),
                     label);
    galv_segment segments[N_PARTS];
    for (int p = 0; p < N_PARTS; p++) {
        segments[p] = (galv_segment){bar->parts_bytes[p], part_fill(p), false};
    }
    double end = galv_draw_stack(canvas, x, y, BAR, segments, N_PARTS, print_gib);
    double free_end = galv_axis_at(x, limit_bytes);
    if (free_end > end + 1.0) {
        galv_canvas_outline(canvas, end, y + 0.25, free_end - end, BAR - 0.5,
                            galv_line(0xBFBFBF, 0.5));
    }
    char total[96];
    total_label(bar, rows, unlike, unit, total, sizeof total);
    bool over = limit_bytes > 0.0 && bar->total_bytes > limit_bytes * (1.0 + 1e-9);
    galv_canvas_text(canvas, x->to_px + 8.0, y + BAR / 2.0 + 0.36 * GALV_SIZE_TICK,
                     over
                         ? galv_style_bold(GALV_SIZE_TICK, 0xA64500, GALV_ALIGN_LEFT)
                         : galv_style(GALV_SIZE_TICK, GALV_COLOR_TEXT, GALV_ALIGN_LEFT),
                     total);
    if (unlike && limit_bytes > 0.0) {
        draw_limit(canvas, x, limit_bytes, y - 1.5, y + BAR + 1.5);
    }
}

static void draw_axis(galv_canvas *canvas, const galv_axis *x, double bottom)
{
    galv_canvas_tag(canvas, "axes", -1);
    galv_ticks ticks = galv_ticks_choose(0.0, x->high / GIB, 9);
    galv_canvas_line(canvas, x->from_px, bottom, x->to_px, bottom,
                     galv_line(GALV_COLOR_AXIS, 0.75));
    for (int i = 0; i < ticks.n_ticks; i++) {
        double value = galv_tick(&ticks, i);
        double at = galv_axis_at(x, value * GIB);
        galv_canvas_line(canvas, at, bottom, at, bottom + 3.0,
                         galv_line(GALV_COLOR_AXIS, 0.75));
        galv_canvas_printf(
            canvas, at, bottom + 12.5,
            galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_CENTER), "%.*f",
            ticks.decimals, value);
    }
    galv_canvas_text(canvas, x->from_px - 16.0, bottom + 12.5,
                     galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_RIGHT),
                     "GiB");
}

static galv_canvas *compose(const memory_bar *bars, size_t n_bars,
                            const galv_memory_row *rows, size_t n_rows,
                            const char *title, const galv_figure_options *options)
{
    double limit_bytes = common_limit(rows, n_rows);
    bool unlike = !(limit_bytes > 0.0);
    double most_bytes = 0.0;
    galv_legend_entry legend[N_PARTS + 1];
    size_t n_legend = 0;
    bool any_free = false;
    for (int p = 0; p < N_PARTS; p++) {
        bool used = false;
        for (size_t i = 0; i < n_bars; i++) {
            used = used || bars[i].parts_bytes[p] > 0.0;
            double limit = rows[bars[i].index].limit_bytes;
            any_free = any_free || bars[i].total_bytes < limit;
            most_bytes = fmax(most_bytes, limit);
        }
        if (used) {
            legend[n_legend++] =
                (galv_legend_entry){.text = part_names[p], .fill = part_fill(p)};
        }
    }
    if (any_free) {
        legend[n_legend++] = (galv_legend_entry){.text = "free",
                                                 .fill = galv_plain(GALV_COLOR_WHITE),
                                                 .stroke = galv_line(0xBFBFBF, 0.5)};
    }
    double latest_s = 0.0;
    for (size_t i = 0; i < n_bars; i++) {
        latest_s = fmax(latest_s, rows[bars[i].index].peak_time_s);
    }
    galv_time_unit unit = galv_time_unit_for(latest_s);
    double left = 48.0;
    double right = 0.0;
    char label[128];
    for (size_t i = 0; i < n_bars; i++) {
        total_label(&bars[i], rows, unlike, unit, label, sizeof label);
        right = fmax(right, galv_text_width(label, GALV_SIZE_TICK, true));
        row_label(rows, bars[i].index, options->width_px, label, sizeof label);
        left = fmax(left, GALV_FIGURE_MARGIN + 6.0 +
                              galv_text_width(label, GALV_SIZE_AXIS, false));
    }
    double high = fmax(most_bytes, bars[0].total_bytes) * 1.03;
    galv_axis x = {0.0, high > 0.0 ? high : 1.0, left,
                   options->width_px - right - 8.0 - GALV_FIGURE_MARGIN, false};
    double bottom = TOP + (double)n_bars * PITCH;
    double legend_y = bottom + AXIS;
    double height =
        legend_y + galv_figure_legend_height(x.to_px - left, legend, n_legend) +
        (n_bars < n_rows ? 14.0 : 0.0) + (options->footer != NULL ? 18.0 : 2.0);
    galv_canvas *canvas = galv_canvas_new(options->width_px, ceil(height));
    if (canvas == NULL) {
        return NULL;
    }
    galv_figure_heading(canvas, title, "memory per device at its peak, by stage");
    for (size_t i = 0; i < n_bars; i++) {
        draw_bar(canvas, &x, &bars[i], rows, unlike, unit, TOP + (double)i * PITCH);
    }
    draw_axis(canvas, &x, bottom);
    if (limit_bytes > 0.0) {
        draw_limit(canvas, &x, limit_bytes, TOP - 8.0, bottom);
        name_limit(canvas, &x, limit_bytes);
    }
    galv_figure_legend(canvas, left, legend_y, x.to_px - left, legend, n_legend);
    if (n_bars < n_rows) {
        galv_canvas_printf(
            canvas, left, height - (options->footer != NULL ? 24.0 : 8.0),
            galv_style(GALV_SIZE_TICK, GALV_COLOR_FOOTER, GALV_ALIGN_LEFT),
            "\xE2\x80\xA6 %zu stages with less memory not shown", n_rows - n_bars);
    }
    galv_figure_footer(canvas, options->footer);
    return canvas;
}

galv_status galv_memory_compose(galv_canvas **canvas, const galv_memory_row *rows,
                                size_t n_rows, const char *title,
                                const galv_figure_options *options, galv_err *err)
{
    galv_figure_options resolved;
    galv_status status = galv_figure_resolve(&resolved, options, 1000, err);
    if (status != GALV_OK) {
        return status;
    }
    if (n_rows == 0) {
        return galv_fail(err, GALV_INPUT, "there is no memory to draw");
    }
    memory_bar *bars = calloc(n_rows, sizeof *bars);
    if (bars == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    status = make_bars(bars, rows, n_rows, err);
    if (status == GALV_OK) {
        size_t n_bars = n_rows < MOST_BARS ? n_rows : MOST_BARS;
        galv_canvas *page = compose(bars, n_bars, rows, n_rows, title, &resolved);
        if (page != NULL) {
            *canvas = page;
        } else {
            status = galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
        }
    }
    free(bars);
    return status;
}

galv_status galv_memory_draw(const galv_memory_row *rows, size_t n_rows,
                             const char *title, const char *path,
                             const galv_figure_options *options, galv_err *err)
{
    galv_canvas *canvas = NULL;
    galv_status status = galv_canvas_check_path(path, err);
    if (status == GALV_OK) {
        status = galv_memory_compose(&canvas, rows, n_rows, title, options, err);
    }
    return galv_figure_finish(canvas, status, path, options, err);
}
