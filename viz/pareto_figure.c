/* All candidates by two costs. Many thousands of points say where plans lie, not which
 * they are: they are small, light, and one per two pixels. The front is a staircase,
 * because between two plans there is none; the chosen plan is ringed and named first.
 * What lies beyond the limit is tinted. An axis whose values span more than a factor of
 * eight is logarithmic. */
#include "viz/pareto_figure.h"

#include "viz/plot_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WIDTH       700
#define LEFT        62.0
#define RIGHT       28.0
#define TOP         68.0
#define PLOT_HEIGHT 380.0
#define AXIS        46.0
#define GRID_PX     2.0 /* one candidate per cell of this size */
#define MOST_LABELS 6
#define FEW         200 /* points: so few are drawn large, and no label hides one */
#define CROWDED     40  /* points of a front, from where they are drawn smaller */
#define LOG_FROM    8.0

static galv_axis make_axis(double low, double high, double from_px, double to_px)
{
    galv_axis axis = {low, high, from_px, to_px, false};
    if (low > 0.0 && high / low > LOG_FROM) {
        double pad = pow(high / low, 0.05);
        axis.low = low / pad;
        axis.high = high * pad;
        axis.logarithmic = true;
        return axis;
    }
    double pad = high > low ? 0.06 * (high - low) : fmax(fabs(high) * 0.5, 1e-12);
    axis.low = low - pad < 0.0 && low >= 0.0 ? 0.0 : low - pad;
    axis.high = high + pad;
    return axis;
}

static galv_status check(const galv_pareto_point *points, size_t n_points,
                         galv_err *err)
{
    if (n_points == 0) {
        return galv_fail(err, GALV_INPUT, "there are no points to draw");
    }
    for (size_t i = 0; i < n_points; i++) {
        if (!isfinite(points[i].x) || !isfinite(points[i].y)) {
            return galv_fail(err, GALV_INPUT, "point %zu: %g, %g cannot be drawn", i,
                             points[i].x, points[i].y);
        }
    }
    return GALV_OK;
}

static galv_plot make_plot(const galv_pareto_point *points, size_t n_points,
                           double x_limit, double width)
{
    double x_low = HUGE_VAL, x_high = -HUGE_VAL, y_low = HUGE_VAL, y_high = -HUGE_VAL;
    for (size_t i = 0; i < n_points; i++) {
        x_low = fmin(x_low, points[i].x);
        x_high = fmax(x_high, points[i].x);
        y_low = fmin(y_low, points[i].y);
        y_high = fmax(y_high, points[i].y);
    }
    if (x_limit > 0.0) {
        x_low = fmin(x_low, x_limit);
        x_high = fmax(x_high, x_limit);
    }
    galv_plot plot = {make_axis(x_low, x_high, LEFT, width - RIGHT),
                      make_axis(y_low, y_high, TOP + PLOT_HEIGHT, TOP)};
    return plot;
}

static void draw_limit(galv_canvas *canvas, const galv_plot *plot,
                       const galv_pareto_axes *axes)
{
    double at = galv_axis_at(&plot->x, axes->x_limit);
    char number[48];
    galv_print_figures(number, sizeof number, axes->x_limit);
    galv_canvas_tag(canvas, "limit", -1);
    galv_canvas_line(canvas, at, plot->y.from_px, at, plot->y.to_px,
                     galv_line_dashed(GALV_COLOR_LIMIT, 1.0, GALV_DASH_DASHED));
    galv_canvas_printf(canvas, at, plot->y.to_px - 4.0,
                       galv_style(GALV_SIZE_TICK, 0xA64500, GALV_ALIGN_RIGHT),
                       "limit %s",
                       axes->x_limit_label != NULL ? axes->x_limit_label : number);
}

static galv_status draw_candidates(galv_canvas *canvas, const galv_plot *plot,
                                   const galv_pareto_point *points, size_t n_points,
                                   galv_err *err)
{
    size_t n_columns = (size_t)((plot->x.to_px - plot->x.from_px) / GRID_PX) + 1;
    size_t n_lines = (size_t)(PLOT_HEIGHT / GRID_PX) + 1;
    bool *taken = calloc(n_columns * n_lines, sizeof *taken);
    if (taken == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    double size = n_points < FEW ? 5.0 : n_points < 2000 ? 3.0 : 2.2;
    galv_canvas_tag(canvas, "candidates", -1);
    for (size_t i = 0; i < n_points; i++) {
        double x = galv_axis_at(&plot->x, points[i].x);
        double y = galv_axis_at(&plot->y, points[i].y);
        size_t column = (size_t)((x - plot->x.from_px) / GRID_PX);
        size_t line = (size_t)((y - plot->y.to_px) / GRID_PX);
        if (column < n_columns && line < n_lines && !taken[line * n_columns + column]) {
            taken[line * n_columns + column] = true;
            galv_fill dot = {points[i].infeasible ? 0xD9A07F : 0x9A9A9A, 0,
                             GALV_HATCH_NONE, 150};
            galv_canvas_rect(canvas, x - size / 2.0, y - size / 2.0, size, size, dot);
        }
    }
    free(taken);
    return GALV_OK;
}

static int compare_front(const void *a, const void *b)
{
    const galv_pareto_point *one = *(const galv_pareto_point *const *)a;
    const galv_pareto_point *other = *(const galv_pareto_point *const *)b;
    if (one->x != other->x) {
        return one->x < other->x ? -1 : 1;
    }
    return (one->y > other->y) - (one->y < other->y);
}

static void draw_front(galv_canvas *canvas, const galv_plot *plot,
                       const galv_pareto_point **front, size_t n_front)
{
    galv_color color = galv_series_color(0);
    galv_canvas_tag(canvas, "front", -1);
    for (size_t i = 1; i < n_front; i++) {
        double x0 = galv_axis_at(&plot->x, front[i - 1]->x);
        double y0 = galv_axis_at(&plot->y, front[i - 1]->y);
        double x1 = galv_axis_at(&plot->x, front[i]->x);
        double y1 = galv_axis_at(&plot->y, front[i]->y);
        galv_point steps[3] = {{x0, y0}, {x1, y0}, {x1, y1}};
        galv_canvas_polyline(canvas, steps, 3, galv_line(color, 1.5));
    }
    for (size_t i = 0; i < n_front; i++) {
        galv_canvas_marker(canvas, galv_axis_at(&plot->x, front[i]->x),
                           galv_axis_at(&plot->y, front[i]->y), GALV_MARKER_CIRCLE,
                           n_front > CROWDED ? 3.5 : 6.0, color, false);
    }
}

/* Where names may stand: off the front, and if there is room off all points drawn large
 * too, lest one be hidden. */
typedef struct label_room {
    galv_placer *off_front, *off_points;
} label_room;

static void block_last(galv_placer *placer, const galv_placer *with)
{
    size_t last = with->n_boxes - 1;
    galv_placer_block(placer, with->boxes[last].x0, with->boxes[last].y0,
                      with->boxes[last].x1, with->boxes[last].y1);
}

static void label_point(galv_canvas *canvas, const galv_plot *plot, label_room *room,
                        const galv_pareto_point *point)
{
    if (point->label == NULL) {
        return;
    }
    char label[128];
    galv_text_fit(label, sizeof label, point->label, 220.0, GALV_SIZE_TICK,
                  point->chosen);
    galv_text_style style =
        point->chosen
            ? galv_style_bold(GALV_SIZE_TICK, GALV_COLOR_TEXT, GALV_ALIGN_LEFT)
            : galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_LEFT);
    double x = galv_axis_at(&plot->x, point->x);
    double y = galv_axis_at(&plot->y, point->y);
    double distance = point->chosen ? 7.0 : 5.0;
    if (galv_placer_label(room->off_points, canvas, x, y, distance, style, label)) {
        block_last(room->off_front, room->off_points);
    } else if (galv_placer_label(room->off_front, canvas, x, y, distance, style,
                                 label)) {
        block_last(room->off_points, room->off_front);
    }
}

static void block_front(galv_placer *placer, const galv_plot *plot,
                        const galv_pareto_point **front, size_t n_front)
{
    for (size_t i = 0; i < n_front; i++) {
        double x = galv_axis_at(&plot->x, front[i]->x);
        double y = galv_axis_at(&plot->y, front[i]->y);
        galv_placer_block(placer, x - 4.0, y - 4.0, x + 4.0, y + 4.0);
        if (i > 0) {
            double x0 = galv_axis_at(&plot->x, front[i - 1]->x);
            double y0 = galv_axis_at(&plot->y, front[i - 1]->y);
            galv_placer_block(placer, x0, y0 - 1.0, x, y0 + 1.0);
            galv_placer_block(placer, x - 1.0, y0, x + 1.0, y);
        }
    }
}

static void block_points(galv_placer *placer, const galv_plot *plot,
                         const galv_pareto_point *points, size_t n_points)
{
    for (size_t i = 0; i < n_points && n_points < FEW; i++) {
        double x = galv_axis_at(&plot->x, points[i].x);
        double y = galv_axis_at(&plot->y, points[i].y);
        if (!points[i].on_front) {
            galv_placer_block(placer, x - 2.5, y - 2.5, x + 2.5, y + 2.5);
        }
    }
}

/* Rings the chosen, names it and up to MOST_LABELS points spread along the front. */
static void draw_labels(galv_canvas *canvas, const galv_plot *plot,
                        const galv_pareto_point *points, size_t n_points,
                        const galv_pareto_point **front, size_t n_front,
                        label_room *room)
{
    galv_canvas_tag(canvas, "labels", -1);
    for (size_t i = 0; i < n_points; i++) {
        if (points[i].chosen) {
            double x = galv_axis_at(&plot->x, points[i].x);
            double y = galv_axis_at(&plot->y, points[i].y);
            galv_canvas_marker(canvas, x, y, GALV_MARKER_CIRCLE, 11.0, GALV_COLOR_TEXT,
                               true);
            galv_canvas_marker(canvas, x, y, GALV_MARKER_CIRCLE, 6.0,
                               galv_series_color(0), false);
            label_point(canvas, plot, room, &points[i]);
        }
    }
    size_t stride = (n_front + MOST_LABELS - 1) / MOST_LABELS;
    for (size_t i = 0; i<n_front; i += stride> 0 ? stride : 1) {
        if (!front[i]->chosen) {
            label_point(canvas, plot, room, front[i]);
        }
    }
}

/* "better", with an arrow into the corner where both costs are least, unless a plan is
 * there: the heading says it too. */
static void draw_arrow(galv_canvas *canvas, const galv_plot *plot, label_room *room)
{
    double x = plot->x.from_px + 10.0;
    double y = plot->y.from_px - 10.0;
    double left = x - 2.0, top = y - 24.0, right = x + 52.0, bottom = y + 4.0;
    for (size_t i = 0; i < room->off_points->n_boxes; i++) {
        if (left < room->off_points->boxes[i].x1 &&
            room->off_points->boxes[i].x0 < right &&
            top < room->off_points->boxes[i].y1 &&
            room->off_points->boxes[i].y0 < bottom) {
            return;
        }
    }
    galv_stroke line = galv_line(0x8C8C8C, 1.2);
    galv_canvas_tag(canvas, "better", -1);
    galv_canvas_line(canvas, x + 16.0, y - 16.0, x, y, line);
    galv_point head[3] = {{x + 7.0, y}, {x, y}, {x, y - 7.0}};
    galv_canvas_polyline(canvas, head, 3, line);
    galv_canvas_text(canvas, x + 20.0, y - 12.0,
                     galv_style(GALV_SIZE_TICK, GALV_COLOR_FOOTER, GALV_ALIGN_LEFT),
                     "better");
    galv_placer_block(room->off_points, left, top, right, bottom);
    galv_placer_block(room->off_front, left, top, right, bottom);
}

static size_t make_legend(galv_legend_entry legend[4], const galv_pareto_point *points,
                          size_t n_points)
{
    bool infeasible = false, front = false, chosen = false, other = false;
    for (size_t i = 0; i < n_points; i++) {
        infeasible = infeasible || points[i].infeasible;
        front = front || points[i].on_front;
        chosen = chosen || points[i].chosen;
        other = other || (!points[i].infeasible && !points[i].on_front);
    }
    size_t n_legend = 0;
    if (chosen) {
        legend[n_legend++] = (galv_legend_entry){.text = "chosen",
                                                 .mark = GALV_LEGEND_MARKER,
                                                 .fill = galv_plain(GALV_COLOR_TEXT),
                                                 .marker = GALV_MARKER_CIRCLE,
                                                 .hollow = true};
    }
    if (front) {
        legend[n_legend++] =
            (galv_legend_entry){.text = "Pareto front",
                                .mark = GALV_LEGEND_MARKER,
                                .fill = galv_plain(galv_series_color(0)),
                                .marker = GALV_MARKER_CIRCLE};
    }
    if (other) {
        legend[n_legend++] = (galv_legend_entry){.text = "other plans",
                                                 .mark = GALV_LEGEND_MARKER,
                                                 .fill = galv_plain(0xB0B0B0),
                                                 .marker = GALV_MARKER_SQUARE};
    }
    if (infeasible) {
        legend[n_legend++] = (galv_legend_entry){.text = "does not fit",
                                                 .mark = GALV_LEGEND_MARKER,
                                                 .fill = galv_plain(0xD9A07F),
                                                 .marker = GALV_MARKER_SQUARE};
    }
    return n_legend;
}

static galv_status draw(galv_canvas *page, const galv_plot *plot,
                        const galv_pareto_point *points, size_t n_points,
                        const galv_pareto_axes *axes, galv_err *err)
{
    const galv_pareto_point **front = calloc(n_points, sizeof *front);
    if (front == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    size_t n_front = 0;
    for (size_t i = 0; i < n_points; i++) {
        if (points[i].on_front) {
            front[n_front++] = &points[i];
        }
    }
    qsort(front, n_front, sizeof *front, compare_front);
    galv_placer placer = {.n_boxes = 0,
                          .left = plot->x.from_px + 2.0,
                          .top = plot->y.to_px + 2.0,
                          .right = plot->x.to_px,
                          .bottom = plot->y.from_px - 2.0};
    if (axes->x_limit > 0.0) {
        double at = galv_axis_at(&plot->x, axes->x_limit);
        galv_canvas_tag(page, "limit", -1);
        galv_canvas_rect(page, at, plot->y.to_px, plot->x.to_px - at,
                         plot->y.from_px - plot->y.to_px, galv_plain(0xFBEFE8));
        /* plans that fit are named on the side that fits */
        placer.right = at - 3.0;
    }
    galv_plot_draw_axes(page, plot, NULL, 0, axes->x_title, axes->y_title);
    if (axes->x_limit > 0.0) {
        draw_limit(page, plot, axes);
    }
    galv_status status = draw_candidates(page, plot, points, n_points, err);
    draw_front(page, plot, front, n_front);
    block_front(&placer, plot, front, n_front);
    galv_placer off_points = placer;
    block_points(&off_points, plot, points, n_points);
    label_room room = {&placer, &off_points};
    draw_arrow(page, plot, &room);
    draw_labels(page, plot, points, n_points, front, n_front, &room);
    free(front);
    return status;
}

galv_status galv_pareto_compose(galv_canvas **canvas, const galv_pareto_point *points,
                                size_t n_points, const galv_pareto_axes *axes,
                                const galv_figure_options *options, galv_err *err)
{
    galv_figure_options resolved;
    galv_status status = galv_figure_resolve(&resolved, options, WIDTH, err);
    if (status == GALV_OK) {
        status = check(points, n_points, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_plot plot = make_plot(points, n_points, axes->x_limit, resolved.width_px);
    galv_legend_entry legend[4];
    size_t n_legend = make_legend(legend, points, n_points);
    double bottom = TOP + PLOT_HEIGHT;
    double width = resolved.width_px - LEFT - RIGHT;
    double height = bottom + AXIS + galv_figure_legend_height(width, legend, n_legend) +
                    (resolved.footer != NULL ? 18.0 : 2.0);
    galv_canvas *page = galv_canvas_new(resolved.width_px, ceil(height));
    if (page == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    char count[96];
    snprintf(count, sizeof count, "%zu plan%s; less is better on both axes", n_points,
             n_points == 1 ? "" : "s");
    galv_figure_heading(page, axes->title, count);
    status = draw(page, &plot, points, n_points, axes, err);
    galv_figure_legend(page, LEFT, bottom + AXIS, width, legend, n_legend);
    galv_figure_footer(page, resolved.footer);
    if (status != GALV_OK) {
        galv_canvas_free(page);
        return status;
    }
    *canvas = page;
    return GALV_OK;
}

galv_status galv_pareto_draw(const galv_pareto_point *points, size_t n_points,
                             const galv_pareto_axes *axes, const char *path,
                             const galv_figure_options *options, galv_err *err)
{
    galv_canvas *canvas = NULL;
    galv_status status = galv_canvas_check_path(path, err);
    if (status == GALV_OK) {
        status = galv_pareto_compose(&canvas, points, n_points, axes, options, err);
    }
    return galv_figure_finish(canvas, status, path, options, err);
}
