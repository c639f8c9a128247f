/* Predicted over measured, on a square with equal logarithmic axes: a point on the
 * diagonal is right, one above it was predicted too slow. The dotted lines are ten per
 * cent away. The three worst points are named, and the subtitle carries what the
 * picture means: how many points, their mean absolute error and their bias. */
#include "viz/accuracy_figure.h"

#include "viz/plot_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH        560
#define LEFT         62.0
#define RIGHT        24.0
#define TOP          68.0
#define AXIS         46.0
#define MOST_SOURCES 6
#define TOLERANCE    0.10

typedef struct source_list {
    const char *names[MOST_SOURCES];
    int n_names;
} source_list;

static const char *source_of(const galv_accuracy_point *point)
{
    return point->source != NULL ? point->source : "";
}

/* Index of a source; the last stands for all that are too many. */
static int source_index(const source_list *list, const char *name)
{
    for (int i = 0; i < list->n_names; i++) {
        if (strcmp(list->names[i], name) == 0) {
            return i;
        }
    }
    return list->n_names - 1;
}

static galv_status check(const galv_accuracy_point *points, size_t n_points,
                         source_list *list, galv_err *err)
{
    if (n_points == 0) {
        return galv_fail(err, GALV_INPUT, "there are no points to draw");
    }
    for (size_t i = 0; i < n_points; i++) {
        const galv_accuracy_point *point = &points[i];
        if (!(point->measured_s > 0.0) || !(point->predicted_s > 0.0) ||
            !isfinite(point->measured_s) || !isfinite(point->predicted_s)) {
            return galv_fail(err, GALV_INPUT,
                             "point %zu: %g s measured, %g s predicted cannot be drawn",
                             i, point->measured_s, point->predicted_s);
        }
        bool known = false;
        for (int k = 0; k < list->n_names; k++) {
            known = known || strcmp(list->names[k], source_of(point)) == 0;
        }
        if (!known && list->n_names < MOST_SOURCES) {
            list->names[list->n_names++] = source_of(point);
        } else if (!known) {
            list->names[MOST_SOURCES - 1] = "other";
        }
    }
    return GALV_OK;
}

static double error_of(const galv_accuracy_point *point)
{
    return point->predicted_s / point->measured_s - 1.0;
}

static galv_marker marker_of(int index)
{
    static const galv_marker markers[MOST_SOURCES] = {
        GALV_MARKER_CIRCLE,  GALV_MARKER_SQUARE, GALV_MARKER_TRIANGLE,
        GALV_MARKER_DIAMOND, GALV_MARKER_DOWN,   GALV_MARKER_CROSS};
    return markers[index];
}

static void draw_diagonals(galv_canvas *canvas, const galv_plot *plot)
{
    static const double factors[] = {1.0, 1.0 + TOLERANCE, 1.0 - TOLERANCE};
    double low = plot->x.low;
    double high = plot->x.high;
    galv_canvas_tag(canvas, "diagonals", -1);
    for (int i = 0; i < 3; i++) {
        double factor = factors[i];
        double from = fmax(low, low / factor);
        double to = fmin(high, high / factor);
        galv_stroke stroke = i == 0 ? galv_line(GALV_COLOR_AXIS, 1.0)
                                    : galv_line_dashed(0x8C8C8C, 1.0, GALV_DASH_DOTTED);
        galv_canvas_line(
            canvas, galv_axis_at(&plot->x, from), galv_axis_at(&plot->y, from * factor),
            galv_axis_at(&plot->x, to), galv_axis_at(&plot->y, to * factor), stroke);
    }
}

static void draw_points(galv_canvas *canvas, const galv_plot *plot,
                        const galv_accuracy_point *points, size_t n_points,
                        const source_list *list)
{
    for (size_t i = 0; i < n_points; i++) {
        int source = source_index(list, source_of(&points[i]));
        galv_canvas_tag(canvas, "points", source);
        galv_canvas_marker(canvas, galv_axis_at(&plot->x, points[i].measured_s),
                           galv_axis_at(&plot->y, points[i].predicted_s),
                           marker_of(source), 6.5, galv_series_color(source), true);
    }
}

/* Names the three points furthest from the diagonal, with their errors. */
static void label_worst(galv_canvas *canvas, const galv_plot *plot,
                        const galv_accuracy_point *points, size_t n_points)
{
    galv_placer placer = {.n_boxes = 0,
                          .left = plot->x.from_px + 2.0,
                          .top = plot->y.to_px,
                          .right = plot->x.to_px + 10.0,
                          .bottom = plot->y.from_px - 2.0};
    for (size_t i = 0; i < n_points; i++) {
        double x = galv_axis_at(&plot->x, points[i].measured_s);
        double y = galv_axis_at(&plot->y, points[i].predicted_s);
        galv_placer_block(&placer, x - 4.0, y - 4.0, x + 4.0, y + 4.0);
    }
    galv_canvas_tag(canvas, "worst", -1);
    double before = HUGE_VAL;
    for (int k = 0; k < 3; k++) {
        const galv_accuracy_point *worst = NULL;
        for (size_t i = 0; i < n_points; i++) {
            double error = fabs(log1p(error_of(&points[i])));
            bool further = worst == NULL || error > fabs(log1p(error_of(worst)));
            if (error < before && further && points[i].label != NULL) {
                worst = &points[i];
            }
        }
        if (worst == NULL) {
            return;
        }
        before = fabs(log1p(error_of(worst)));
        char name[96];
        char label[128];
        galv_text_fit(name, sizeof name, worst->label, 150.0, GALV_SIZE_CELL, false);
        double percent = round(100.0 * error_of(worst));
        snprintf(label, sizeof label,
                 fabs(percent) > 0 ? "%s  %+.0f %%" : "%s  %.0f %%", name,
                 percent + 0.0);
        galv_placer_label(&placer, canvas, galv_axis_at(&plot->x, worst->measured_s),
                          galv_axis_at(&plot->y, worst->predicted_s), 5.0,
                          galv_style(GALV_SIZE_CELL, GALV_COLOR_AXIS, GALV_ALIGN_LEFT),
                          label);
    }
}

static size_t make_legend(galv_legend_entry *legend, const source_list *list)
{
    size_t n_legend = 0;
    for (int i = 0; i < list->n_names; i++) {
        if (list->names[i][0] != '\0') {
            legend[n_legend++] =
                (galv_legend_entry){.text = list->names[i],
                                    .mark = GALV_LEGEND_MARKER,
                                    .fill = galv_plain(galv_series_color(i)),
                                    .marker = marker_of(i),
                                    .hollow = true};
        }
    }
    legend[n_legend++] = (galv_legend_entry){.text = "exact",
                                             .mark = GALV_LEGEND_LINE,
                                             .stroke = galv_line(GALV_COLOR_AXIS, 1.0)};
    legend[n_legend++] = (galv_legend_entry){
        .text = "\xC2\xB1"
                "10 %",
        .mark = GALV_LEGEND_LINE,
        .stroke = galv_line_dashed(0x8C8C8C, 1.0, GALV_DASH_DOTTED)};
    return n_legend;
}

static void print_verdict(char *buffer, size_t size, const galv_accuracy_point *points,
                          size_t n_points)
{
    double absolute = 0.0;
    double bias = 0.0;
    size_t n_within = 0;
    for (size_t i = 0; i < n_points; i++) {
        absolute += fabs(error_of(&points[i]));
        bias += error_of(&points[i]);
        n_within += fabs(error_of(&points[i])) <= TOLERANCE * (1.0 + 1e-9);
    }
    double n = (double)n_points;
    snprintf(buffer, size,
             "%zu point%s \xC2\xB7 mean absolute error %.1f %% \xC2\xB7 bias %+.1f %% "
             "\xC2\xB7 %.0f %% within \xC2\xB1"
             "10 %%",
             n_points, n_points == 1 ? "" : "s", 100.0 * absolute / n, 100.0 * bias / n,
             100.0 * (double)n_within / n);
}

galv_status galv_accuracy_compose(galv_canvas **canvas,
                                  const galv_accuracy_point *points, size_t n_points,
                                  const char *title, const galv_figure_options *options,
                                  galv_err *err)
{
    galv_figure_options resolved;
    source_list list = {{NULL}, 0};
    galv_status status = galv_figure_resolve(&resolved, options, WIDTH, err);
    if (status == GALV_OK) {
        status = check(points, n_points, &list, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    double low = HUGE_VAL;
    double high = 0.0;
    for (size_t i = 0; i < n_points; i++) {
        low = fmin(low, fmin(points[i].measured_s, points[i].predicted_s));
        high = fmax(high, fmax(points[i].measured_s, points[i].predicted_s));
    }
    double pad = fmax(pow(high / low, 0.06), 1.15);
    double side = resolved.width_px - LEFT - RIGHT;
    galv_plot plot = {{low / pad, high * pad, LEFT, LEFT + side, true},
                      {low / pad, high * pad, TOP + side, TOP, true}};
    galv_legend_entry legend[MOST_SOURCES + 2];
    size_t n_legend = make_legend(legend, &list);
    double height = TOP + side + AXIS +
                    galv_figure_legend_height(side, legend, n_legend) +
                    (resolved.footer != NULL ? 18.0 : 2.0);
    galv_canvas *page = galv_canvas_new(resolved.width_px, ceil(height));
    if (page == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    char verdict[192];
    print_verdict(verdict, sizeof verdict, points, n_points);
    galv_figure_heading(page, title, verdict);
    galv_plot_draw_axes(page, &plot, NULL, 0, "measured iteration time (s)",
                        "predicted iteration time (s)");
    draw_diagonals(page, &plot);
    draw_points(page, &plot, points, n_points, &list);
    label_worst(page, &plot, points, n_points);
    galv_figure_legend(page, LEFT, TOP + side + AXIS, side, legend, n_legend);
    galv_figure_footer(page, resolved.footer);
    *canvas = page;
    return GALV_OK;
}

galv_status galv_accuracy_draw(const galv_accuracy_point *points, size_t n_points,
                               const char *title, const char *path,
                               const galv_figure_options *options, galv_err *err)
{
    galv_canvas *canvas = NULL;
    galv_status status = galv_canvas_check_path(path, err);
    if (status == GALV_OK) {
        status = galv_accuracy_compose(&canvas, points, n_points, title, options, err);
    }
    return galv_figure_finish(canvas, status, path, options, err);
}
