/* Scaling: throughput on the left, how well the devices are used on the right.
 *
 * Left, both axes logarithmic, so that perfect scaling is a straight line (dotted, from
 * the first point of each series that has a line; one line where they agree). Right,
 * MFU (solid) and scaling efficiency (dashed): tokens per second and device over those
 * at the series' fewest devices. Devices are marked at the counts that occur. Measured
 * series are hollow marks without a line.
 *
 * The plans stand beside their points where all of them have room there. Where not,
 * none does: they stand in a table below, by series and devices, so that none is
 * missing and the lines are not buried under them. */
#include "viz/scaling_figure.h"

#include "viz/plot_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_MARKERS   6  /* as many as there are colours of series */
#define MOST_SERIES 36 /* pairs of marker and colour */
#define LINE_STEPS  16 /* boxes along a line between two points, to keep labels off */
#define TOP         68.0
#define PLOT_HEIGHT 270.0
#define AXIS        46.0
#define LEFT        62.0
#define MIDDLE      74.0 /* between the panels */
#define RIGHT       24.0

typedef struct scaling_series {
    const char *name;
    bool measured;
    const galv_scaling_point **points; /* ascending devices */
    size_t n_points;
} scaling_series;

typedef struct scaling_chart {
    scaling_series series[MOST_SERIES];
    int n_series;
    double marks[64]; /* device counts that occur, ascending */
    int n_marks;
    double most_tokens, least_tokens;
    bool has_mfu;
} scaling_chart;

static int compare_points(const void *a, const void *b)
{
    const galv_scaling_point *one = *(const galv_scaling_point *const *)a;
    const galv_scaling_point *other = *(const galv_scaling_point *const *)b;
    if (one->n_devices != other->n_devices) {
        return one->n_devices < other->n_devices ? -1 : 1;
    }
    return one < other ? -1 : one > other;
}

static int compare_f64(const void *a, const void *b)
{
    double one = *(const double *)a;
    double other = *(const double *)b;
    return (one > other) - (one < other);
}

static const char *name_of(const galv_scaling_point *point)
{
    return point->series != NULL ? point->series : "";
}

static bool knows_mfu(const galv_scaling_point *point)
{
    return point->mfu >= 0.0 && isfinite(point->mfu);
}

/* Devices that occur; the list is thinned by the axis when crowded. */
static void add_mark(scaling_chart *chart, double n_devices)
{
    for (int i = 0; i < chart->n_marks; i++) {
        if (chart->marks[i] == n_devices) {
            return;
        }
    }
    if (chart->n_marks < (int)(sizeof chart->marks / sizeof chart->marks[0])) {
        chart->marks[chart->n_marks++] = n_devices;
    }
}

/* Sorts the points into series; `storage` holds a pointer for each. */
static galv_status sort_points(scaling_chart *chart, const galv_scaling_point **storage,
                               const galv_scaling_point *points, size_t n_points,
                               galv_err *err)
{
    size_t n_stored = 0;
    chart->least_tokens = HUGE_VAL;
    for (size_t i = 0; i < n_points; i++) {
        const galv_scaling_point *point = &points[i];
        if (point->n_devices < 1 || !(point->tokens_per_s > 0.0) ||
            !isfinite(point->tokens_per_s)) {
            return galv_fail(err, GALV_INPUT,
                             "point %zu: %d devices and %g tokens/s cannot be drawn", i,
                             (int)point->n_devices, point->tokens_per_s);
        }
        chart->most_tokens = fmax(chart->most_tokens, point->tokens_per_s);
        chart->least_tokens = fmin(chart->least_tokens, point->tokens_per_s);
        chart->has_mfu = chart->has_mfu || knows_mfu(point);
        add_mark(chart, point->n_devices);
        bool known = false;
        for (int s = 0; s < chart->n_series; s++) {
            known = known || strcmp(chart->series[s].name, name_of(point)) == 0;
        }
        if (known) {
            continue;
        }
        if (chart->n_series == MOST_SERIES) {
            return galv_fail(err, GALV_INPUT, "more than %d series cannot be drawn",
                             MOST_SERIES);
        }
        scaling_series *series = &chart->series[chart->n_series++];
        series->name = name_of(point);
        series->measured = strncmp(series->name, "measured", 8) == 0;
        series->points = storage + n_stored;
        for (size_t j = i; j < n_points; j++) {
            if (strcmp(series->name, name_of(&points[j])) == 0) {
                series->points[series->n_points++] = &points[j];
                n_stored++;
            }
        }
        qsort(series->points, series->n_points, sizeof *series->points, compare_points);
    }
    qsort(chart->marks, (size_t)chart->n_marks, sizeof chart->marks[0], compare_f64);
    return GALV_OK;
}

/* Past six, series take the colours again, each with another marker. */
static galv_marker marker_of(int index)
{
    static const galv_marker markers[N_MARKERS] = {
        GALV_MARKER_CIRCLE,  GALV_MARKER_SQUARE, GALV_MARKER_TRIANGLE,
        GALV_MARKER_DIAMOND, GALV_MARKER_DOWN,   GALV_MARKER_CROSS};
    return markers[(index + index / N_MARKERS) % N_MARKERS];
}

typedef double value_of(const scaling_series *series, size_t index);

static double tokens_of(const scaling_series *series, size_t index)
{
    return series->points[index]->tokens_per_s;
}

static double mfu_of(const scaling_series *series, size_t index)
{
    const galv_scaling_point *point = series->points[index];
    return knows_mfu(point) ? 100.0 * point->mfu : (double)NAN;
}

static double efficiency_of(const scaling_series *series, size_t index)
{
    const galv_scaling_point *first = series->points[0];
    const galv_scaling_point *point = series->points[index];
    return 100.0 * (point->tokens_per_s / point->n_devices) /
           (first->tokens_per_s / first->n_devices);
}

static galv_point place(const galv_plot *plot, const scaling_series *series,
                        size_t index, value_of *value)
{
    galv_point at = {galv_axis_at(&plot->x, series->points[index]->n_devices),
                     galv_axis_at(&plot->y, value(series, index))};
    return at;
}

static void draw_series(galv_canvas *canvas, const galv_plot *plot,
                        const scaling_chart *chart, int index, value_of *value,
                        galv_dash dash)
{
    const scaling_series *series = &chart->series[index];
    galv_color color = galv_series_color(index);
    galv_canvas_tag(canvas, "series", index);
    for (size_t i = 1; i < series->n_points && !series->measured; i++) {
        galv_point from = place(plot, series, i - 1, value);
        galv_point to = place(plot, series, i, value);
        galv_canvas_line(canvas, from.x, from.y, to.x, to.y,
                         galv_line_dashed(color, 1.5, dash));
    }
    for (size_t i = 0; i < series->n_points; i++) {
        galv_point at = place(plot, series, i, value);
        galv_canvas_marker(canvas, at.x, at.y, marker_of(index), 6.0, color,
                           series->measured || dash != GALV_DASH_SOLID);
    }
}

/* Perfect scaling from the series' first point, as far as the panel reaches. */
static void draw_ideal(galv_canvas *canvas, const galv_plot *plot,
                       const scaling_series *series)
{
    const galv_scaling_point *first = series->points[0];
    double rate = first->tokens_per_s / first->n_devices;
    double until = fmin(plot->x.high, plot->y.high / rate);
    galv_canvas_tag(canvas, "ideal", -1);
    galv_canvas_line(canvas, galv_axis_at(&plot->x, first->n_devices),
                     galv_axis_at(&plot->y, first->tokens_per_s),
                     galv_axis_at(&plot->x, until),
                     galv_axis_at(&plot->y, until * rate),
                     galv_line_dashed(0x8C8C8C, 1.0, GALV_DASH_DOTTED));
}

static galv_placer make_placer(const galv_plot *plot)
{
    galv_placer placer = {.n_boxes = 0,
                          .left = plot->x.from_px + 2.0,
                          .top = plot->y.to_px - 4.0,
                          .right = plot->x.to_px + 14.0,
                          .bottom = plot->y.from_px - 2.0};
    return placer;
}

/* Keeps labels off the points and off the lines between them. */
static void block_series(galv_placer *placer, const galv_plot *plot,
                         const scaling_series *series, value_of *value)
{
    for (size_t i = 0; i < series->n_points; i++) {
        galv_point at = place(plot, series, i, value);
        galv_placer_block(placer, at.x - 4.0, at.y - 4.0, at.x + 4.0, at.y + 4.0);
        for (int step = 1;
             step < LINE_STEPS && i + 1 < series->n_points && !series->measured;
             step++) {
            galv_point next = place(plot, series, i + 1, value);
            double x = at.x + (next.x - at.x) * step / LINE_STEPS;
            double y = at.y + (next.y - at.y) * step / LINE_STEPS;
            galv_placer_block(placer, x - 1.5, y - 1.5, x + 1.5, y + 1.5);
        }
    }
}

static void block_ideal(galv_placer *placer, const galv_plot *plot,
                        const scaling_series *series)
{
    const galv_scaling_point *first = series->points[0];
    double rate = first->tokens_per_s / first->n_devices;
    for (size_t i = 0; i < series->n_points; i++) {
        double n_devices = series->points[i]->n_devices;
        for (int step = 0; step < LINE_STEPS; step++) {
            double at = n_devices * pow(2.0, (double)step / LINE_STEPS);
            double x = galv_axis_at(&plot->x, at);
            double y = galv_axis_at(&plot->y, at * rate);
            galv_placer_block(placer, x - 1.0, y - 1.0, x + 1.0, y + 1.0);
        }
    }
}

/* The points from `first` on that have its plan: the index after the last; where there
 * is no plan, the next. */
static size_t same_plan_until(const scaling_series *series, size_t first)
{
    const char *label = series->points[first]->label;
    size_t until = first + 1;
    while (label != NULL && until < series->n_points &&
           (series->points[until]->label == NULL ||
            strcmp(series->points[until]->label, label) == 0)) {
        until++;
    }
    return until;
}

/* The plan, at the first point and wherever it changes. A label may lie nearer to a
 * point of another series than to its own: among several it has its own one's colour.
 * Returns whether all have room; `canvas` NULL: only looks. */
static bool label_plans(galv_canvas *canvas, const galv_plot *plot,
                        const scaling_chart *chart)
{
    galv_placer placer = make_placer(plot);
    bool all = true;
    for (int s = 0; s < chart->n_series; s++) {
        block_series(&placer, plot, &chart->series[s], tokens_of);
        if (!chart->series[s].measured && chart->series[s].n_points > 1) {
            block_ideal(&placer, plot, &chart->series[s]);
        }
    }
    for (int s = 0; s < chart->n_series; s++) {
        const scaling_series *series = &chart->series[s];
        galv_color color = chart->n_series > 1 ? galv_series_color(s) : GALV_COLOR_AXIS;
        if (canvas != NULL) {
            galv_canvas_tag(canvas, "plans", s);
        }
        for (size_t i = 0; i < series->n_points; i = same_plan_until(series, i)) {
            if (series->points[i]->label != NULL) {
                galv_point at = place(plot, series, i, tokens_of);
                all &= galv_placer_label(
                    &placer, canvas, at.x, at.y, 5.0,
                    galv_style(GALV_SIZE_CELL, color, GALV_ALIGN_LEFT),
                    series->points[i]->label);
            }
        }
    }
    return all;
}

/* ---- plans in a table ---- */

#define KEY_LINE        12.0
#define KEY_MARK        11.0 /* from the mark of a block to its heading */
#define KEY_GAP         24.0 /* between blocks */
#define KEY_DEVICES_GAP 6.0

/* "32", or "32-128" where a plan holds on. */
static void print_devices(char text[32], const scaling_series *series, size_t first,
                          size_t until)
{
    int32_t from = series->points[first]->n_devices;
    int32_t to = series->points[until - 1]->n_devices;
    if (from == to) {
        snprintf(text, 32, "%d", (int)from);
    } else {
        snprintf(text, 32, "%d\xE2\x80\x93%d", (int)from, (int)to);
    }
}

/* What all blocks of the table have: the widths of its two columns and of a block. */
typedef struct key_layout {
    double devices_w, plan_w, block_w;
} key_layout;

static void print_heading(char text[96], const scaling_series *series)
{
    snprintf(text, 96, "%.64s%splan by devices", series->name,
             series->name[0] != '\0' ? ", " : "");
}

/* Lines of a series: its heading and each change of plan; 0 where it has no plans. */
static int measure_block(key_layout *layout, const scaling_series *series)
{
    char text[96];
    int n_lines = 0;
    for (size_t i = 0; i < series->n_points; i = same_plan_until(series, i)) {
        const char *label = series->points[i]->label;
        if (label != NULL) {
            print_devices(text, series, i, same_plan_until(series, i));
            layout->devices_w =
                fmax(layout->devices_w, galv_text_width(text, GALV_SIZE_CELL, false));
            layout->plan_w =
                fmax(layout->plan_w, galv_text_width(label, GALV_SIZE_CELL, false));
            n_lines++;
        }
    }
    print_heading(text, series);
    layout->block_w =
        fmax(layout->block_w, KEY_MARK + galv_text_width(text, GALV_SIZE_CELL, false));
    return n_lines > 0 ? n_lines + 1 : 0;
}

static void draw_block(galv_canvas *canvas, const key_layout *layout,
                       const scaling_chart *chart, int index, double x, double y)
{
    const scaling_series *series = &chart->series[index];
    char text[96], fitted[160];
    double baseline = y + KEY_LINE;
    galv_text_style right =
        galv_style(GALV_SIZE_CELL, GALV_COLOR_AXIS, GALV_ALIGN_RIGHT);
    galv_text_style left = galv_style(GALV_SIZE_CELL, GALV_COLOR_AXIS, GALV_ALIGN_LEFT);
    galv_canvas_tag(canvas, "key", index);
    galv_canvas_marker(canvas, x + 3.0, baseline - 0.36 * GALV_SIZE_CELL,
                       marker_of(index), 6.0, galv_series_color(index),
                       series->measured);
    print_heading(text, series);
    galv_canvas_text(canvas, x + KEY_MARK, baseline, left, text);
    for (size_t i = 0; i < series->n_points; i = same_plan_until(series, i)) {
        const char *label = series->points[i]->label;
        if (label != NULL) {
            baseline += KEY_LINE;
            print_devices(text, series, i, same_plan_until(series, i));
            galv_canvas_text(canvas, x + layout->devices_w, baseline, right, text);
            galv_text_fit(fitted, sizeof fitted, label, layout->plan_w, GALV_SIZE_CELL,
                          false);
            galv_canvas_text(canvas, x + layout->devices_w + KEY_DEVICES_GAP, baseline,
                             left, fitted);
        }
    }
}

/* The blocks of all series, as many beside one another as there is room for. Returns
 * the height; `canvas` NULL: only that. */
static double lay_key(galv_canvas *canvas, const scaling_chart *chart, double x,
                      double y, double width)
{
    key_layout layout = {0};
    int n_lines[MOST_SERIES];
    for (int s = 0; s < chart->n_series; s++) {
        n_lines[s] = measure_block(&layout, &chart->series[s]);
    }
    double before = layout.devices_w + KEY_DEVICES_GAP;
    layout.plan_w = fmin(layout.plan_w, width - before);
    layout.block_w = fmin(fmax(layout.block_w, before + layout.plan_w), width);
    int n_beside = (int)floor((width + KEY_GAP) / (layout.block_w + KEY_GAP));
    double top = y;
    int n_laid = 0, most_lines = 0;
    for (int s = 0; s < chart->n_series; s++) {
        if (n_lines[s] == 0) {
            continue;
        }
        if (n_laid > 0 && n_laid % n_beside == 0) {
            y += (most_lines + 1) * KEY_LINE;
            most_lines = 0;
        }
        if (canvas != NULL) {
            draw_block(canvas, &layout, chart, s,
                       x + n_laid % n_beside * (layout.block_w + KEY_GAP), y);
        }
        most_lines = n_lines[s] > most_lines ? n_lines[s] : most_lines;
        n_laid++;
    }
    return y + (most_lines + 1) * KEY_LINE - top;
}

static double pad_low(double value, double other)
{
    return value == other ? value / 2.0 : value / pow(other / value, 0.06);
}

static double pad_high(double value, double other)
{
    return value == other ? value * 2.0 : value * pow(value / other, 0.06);
}

/* `beside`: plans stand beside their points. */
static void draw_left(galv_canvas *canvas, const galv_plot *plot,
                      const scaling_chart *chart, bool beside)
{
    galv_plot_draw_axes(canvas, plot, chart->marks, chart->n_marks, "devices",
                        "tokens per second");
    for (int s = 0; s < chart->n_series; s++) {
        if (!chart->series[s].measured && chart->series[s].n_points > 1) {
            draw_ideal(canvas, plot, &chart->series[s]);
        }
    }
    for (int s = 0; s < chart->n_series; s++) {
        draw_series(canvas, plot, chart, s, tokens_of, GALV_DASH_SOLID);
    }
    if (beside) {
        label_plans(canvas, plot, chart);
    }
}

static void draw_right(galv_canvas *canvas, const galv_plot *plot,
                       const scaling_chart *chart)
{
    galv_plot_draw_axes(canvas, plot, chart->marks, chart->n_marks, "devices",
                        chart->has_mfu ? "MFU and scaling efficiency (%)"
                                       : "scaling efficiency (%)");
    for (int s = 0; s < chart->n_series; s++) {
        if (!chart->series[s].measured && chart->series[s].n_points > 1) {
            draw_series(canvas, plot, chart, s, efficiency_of, GALV_DASH_DASHED);
        }
        bool all_known = true;
        for (size_t i = 0; i < chart->series[s].n_points; i++) {
            all_known = all_known && knows_mfu(chart->series[s].points[i]);
        }
        if (all_known) {
            draw_series(canvas, plot, chart, s, mfu_of, GALV_DASH_SOLID);
        }
    }
}

static size_t make_legend(galv_legend_entry *legend, const scaling_chart *chart)
{
    size_t n_legend = 0;
    bool lines = false;
    for (int s = 0; s < chart->n_series; s++) {
        const scaling_series *series = &chart->series[s];
        lines = lines || (!series->measured && series->n_points > 1);
        if (series->name[0] != '\0') {
            legend[n_legend++] =
                (galv_legend_entry){.text = series->name,
                                    .mark = GALV_LEGEND_MARKER,
                                    .fill = galv_plain(galv_series_color(s)),
                                    .marker = marker_of(s),
                                    .hollow = series->measured};
        }
    }
    if (chart->has_mfu && lines) {
        legend[n_legend++] =
            (galv_legend_entry){.text = "MFU",
                                .mark = GALV_LEGEND_LINE,
                                .stroke = galv_line(GALV_COLOR_AXIS, 1.5)};
    }
    if (lines) {
        legend[n_legend++] = (galv_legend_entry){
            .text = "scaling efficiency",
            .mark = GALV_LEGEND_LINE,
            .stroke = galv_line_dashed(GALV_COLOR_AXIS, 1.5, GALV_DASH_DASHED)};
        legend[n_legend++] = (galv_legend_entry){
            .text = "perfect scaling",
            .mark = GALV_LEGEND_LINE,
            .stroke = galv_line_dashed(0x8C8C8C, 1.0, GALV_DASH_DOTTED)};
    }
    return n_legend;
}

static galv_status compose(galv_canvas **canvas, const scaling_chart *chart,
                           const char *title, const galv_figure_options *options,
                           galv_err *err)
{
    galv_legend_entry legend[MOST_SERIES + 3];
    size_t n_legend = make_legend(legend, chart);
    double panel = (options->width_px - LEFT - MIDDLE - RIGHT) / 2.0;
    double bottom = TOP + PLOT_HEIGHT;
    double width = options->width_px - LEFT - RIGHT;
    double fewest = chart->marks[0];
    double most = chart->marks[chart->n_marks - 1];
    galv_axis x = {pad_low(fewest, most), pad_high(most, fewest), LEFT, LEFT + panel,
                   true};
    galv_axis y = {pad_low(chart->least_tokens, chart->most_tokens),
                   pad_high(chart->most_tokens, chart->least_tokens), bottom, TOP,
                   true};
    galv_plot left = {x, y};
    bool beside = label_plans(NULL, &left, chart);
    double legend_h = galv_figure_legend_height(width, legend, n_legend);
    double key_h = beside ? 0.0 : lay_key(NULL, chart, LEFT, 0.0, width);
    galv_canvas *page = galv_canvas_new(options->width_px,
                                        ceil(bottom + AXIS + legend_h + key_h +
                                             (options->footer != NULL ? 18.0 : 2.0)));
    if (page == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    x.from_px = LEFT + panel + MIDDLE;
    x.to_px = x.from_px + panel;
    double highest = 100.0;
    for (int s = 0; s < chart->n_series; s++) {
        for (size_t i = 0; i < chart->series[s].n_points; i++) {
            if (!chart->series[s].measured) {
                highest = fmax(highest, efficiency_of(&chart->series[s], i));
            }
        }
    }
    galv_axis share = {0.0, highest * 1.04, bottom, TOP, false};
    galv_plot right = {x, share};
    galv_figure_heading(page, title, "throughput, and how well the devices are used");
    draw_left(page, &left, chart, beside);
    draw_right(page, &right, chart);
    galv_figure_legend(page, LEFT, bottom + AXIS, width, legend, n_legend);
    if (!beside) {
        lay_key(page, chart, LEFT, bottom + AXIS + legend_h, width);
    }
    galv_figure_footer(page, options->footer);
    *canvas = page;
    return GALV_OK;
}

galv_status galv_scaling_compose(galv_canvas **canvas, const galv_scaling_point *points,
                                 size_t n_points, const char *title,
                                 const galv_figure_options *options, galv_err *err)
{
    galv_figure_options resolved;
    galv_status status = galv_figure_resolve(&resolved, options, 1000, err);
    if (status != GALV_OK) {
        return status;
    }
    if (n_points == 0) {
        return galv_fail(err, GALV_INPUT, "there are no points to draw");
    }
    const galv_scaling_point **storage = calloc(n_points, sizeof *storage);
    scaling_chart *chart = calloc(1, sizeof *chart);
    if (storage == NULL || chart == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    } else {
        status = sort_points(chart, storage, points, n_points, err);
    }
    if (status == GALV_OK) {
        status = compose(canvas, chart, title, &resolved, err);
    }
    free(storage);
    free(chart);
    return status;
}

galv_status galv_scaling_draw(const galv_scaling_point *points, size_t n_points,
                              const char *title, const char *path,
                              const galv_figure_options *options, galv_err *err)
{
    galv_canvas *canvas = NULL;
    galv_status status = galv_canvas_check_path(path, err);
    if (status == GALV_OK) {
        status = galv_scaling_compose(&canvas, points, n_points, title, options, err);
    }
    return galv_figure_finish(canvas, status, path, options, err);
}
