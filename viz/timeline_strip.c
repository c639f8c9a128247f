/* Bands over the whole iteration: shares of time, and memory.
 *
 * Overview. Where a cell would be two pixels wide, drawing cells gives moire. What is
 * drawn instead is, for every second pixel, the share of forward, backward... within a
 * window as long as one micro-batch takes on a row: in the steady phase those shares
 * are constant, so that a steady phase looks steady and a bubble looks grey.
 *
 * Memory. For every pixel the highest value within it, so that no peak is lost; where
 * micro-batches follow one another too closely, the highest within one of them. A step
 * line for the rank with the highest peak, a band from the lowest to the highest rank.
 */
#include "viz/figure_internal.h"
#include "viz/timeline_parts_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define OVERVIEW_COLUMN_PX 2.0
#define PEAK_HEADROOM      1.28
#define DENSE_PX                                                         \
    16.0 /* rises and falls closer than this are drawn as their envelope \
          */
#define GIB 1073741824.0

/* Bottom to top; idle is the background. */
static const galv_ink stack[] = {GALV_INK_FORWARD, GALV_INK_BACKWARD, GALV_INK_WEIGHT,
                                 GALV_INK_RECOMPUTE};
#define N_STACK (sizeof stack / sizeof stack[0])

/* Adds to shares[column] the part of [column's window] in which cells of the ink run.
 */
static void add_shares(const galv_scene *scene, int32_t rank, galv_ink ink,
                       const galv_frame *frame, double *shares, int n_columns)
{
    double column_s = (frame->end_s - frame->start_s) / n_columns;
    double half = fmax(scene->period_s, column_s) / 2.0;
    for (size_t i = scene->row_begin[rank]; i < scene->lane_begin[rank]; i++) {
        const galv_span *cell = &scene->cells[i];
        if (galv_span_ink(cell) != ink) {
            continue;
        }
        double from_column = (cell->start_s - half - frame->start_s) / column_s - 0.5;
        double to_column = (cell->end_s + half - frame->start_s) / column_s - 0.5;
        int first = (int)floor(fmin(fmax(from_column, 0.0), n_columns));
        int last = (int)ceil(fmin(fmax(to_column, -1.0), n_columns - 1));
        for (int c = first; c <= last; c++) {
            double middle = frame->start_s + (c + 0.5) * column_s;
            double from = fmax(middle - half, frame->start_s);
            double to = fmin(middle + half, frame->end_s);
            double covered = fmin(cell->end_s, to) - fmax(cell->start_s, from);
            if (covered > 0.0) {
                shares[c] += covered / (to - from);
            }
        }
    }
}

/* The area between two heights per column, as one polygon of steps. */
static void draw_steps(galv_canvas *canvas, const galv_frame *frame, const double *low,
                       const double *high, int n_columns, double bottom, double height,
                       galv_fill fill, galv_point *points)
{
    double w = frame->w / n_columns;
    size_t n_points = 0;
    for (int pass = 0; pass < 2; pass++) {
        const double *share = pass == 0 ? high : low;
        for (int i = 0; i < n_columns; i++) {
            int c = pass == 0 ? i : n_columns - 1 - i;
            double y = bottom - round(share[c] * height * 10.0) / 10.0;
            double left = frame->x + c * w;
            double from = pass == 0 ? left : left + w;
            double to = pass == 0 ? left + w : left;
            bool level = n_points >= 2 && points[n_points - 1].y == y &&
                         points[n_points - 2].y == y;
            if (level) {
                points[n_points - 1].x = to;
            } else {
                points[n_points++] = (galv_point){from, y};
                points[n_points++] = (galv_point){to, y};
            }
        }
    }
    galv_canvas_polygon(canvas, points, n_points, fill);
}

/* The optimizer runs once: it is drawn as it is. */
static void draw_optimizer(galv_canvas *canvas, const galv_scene *scene, int32_t rank,
                           const galv_frame *frame, double y, double height)
{
    for (size_t i = scene->row_begin[rank]; i < scene->lane_begin[rank]; i++) {
        const galv_span *cell = &scene->cells[i];
        if (galv_span_ink(cell) == GALV_INK_OPTIMIZER) {
            double x0 = galv_frame_x(frame, cell->start_s);
            double w = galv_frame_x(frame, cell->end_s) - x0;
            galv_canvas_rect(canvas, x0, y, fmax(w, 1.0), height,
                             galv_ink_fill(GALV_INK_OPTIMIZER));
        }
    }
}

galv_status galv_draw_overview(galv_canvas *canvas, const galv_scene *scene,
                               const galv_frame *frame, const galv_row_layout *rows,
                               galv_err *err)
{
    int n_columns = (int)fmax(1.0, floor(frame->w / OVERVIEW_COLUMN_PX));
    double *low = calloc((size_t)n_columns * 2, sizeof *low);
    galv_point *points = calloc((size_t)n_columns * 4 + 4, sizeof *points);
    if (low == NULL || points == NULL) {
        free(low);
        free(points);
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    double *high = low + n_columns;
    for (int32_t i = 0; i < scene->n_shown; i++) {
        int32_t rank = scene->shown[i];
        double y = rows->y + i * (rows->height + rows->gap);
        galv_canvas_tag(canvas, "overview", rank);
        galv_canvas_rect(canvas, frame->x, y, frame->w, rows->height,
                         galv_ink_fill(GALV_INK_IDLE));
        for (int c = 0; c < n_columns; c++) {
            low[c] = 0.0;
            high[c] = 0.0;
        }
        for (size_t s = 0; s < N_STACK; s++) {
            if (!scene->ink_used[stack[s]]) {
                continue;
            }
            add_shares(scene, rank, stack[s], frame, high, n_columns);
            draw_steps(canvas, frame, low, high, n_columns, y + rows->height,
                       rows->height, galv_ink_fill(stack[s]), points);
            for (int c = 0; c < n_columns; c++) {
                low[c] = high[c];
            }
        }
        draw_optimizer(canvas, scene, rank, frame, y, rows->height);
        galv_draw_exposed(canvas, scene, rank, frame, y, rows->height);
    }
    free(low);
    free(points);
    return GALV_OK;
}

/* ---- memory ---- */

/* Highest (and lowest) bytes per column of one rank; samples hold until the next one.
 */
static void scan_rank(const galv_memory_sample *samples, size_t n_samples,
                      const galv_frame *frame, int n_columns, double *high, double *low)
{
    double column_s = (frame->end_s - frame->start_s) / n_columns;
    for (int c = 0; c < n_columns; c++) {
        high[c] = -1.0;
        low[c] = -1.0;
    }
    for (size_t i = 0; i < n_samples; i++) {
        double until = i + 1 < n_samples ? samples[i + 1].time_s : frame->end_s;
        if (until < frame->start_s || samples[i].time_s > frame->end_s) {
            continue;
        }
        double from = fmax(samples[i].time_s, frame->start_s);
        int first = (int)floor((from - frame->start_s) / column_s);
        int last =
            (int)floor((fmin(until, frame->end_s) - frame->start_s) / column_s - 1e-9);
        first = first >= n_columns ? n_columns - 1 : first;
        last = last >= n_columns ? n_columns - 1 : last;
        for (int c = first; c <= (last > first ? last : first); c++) {
            high[c] = fmax(high[c], samples[i].bytes);
            low[c] = low[c] < 0.0 ? samples[i].bytes : fmin(low[c], samples[i].bytes);
        }
    }
}

/* Replaces each column by the highest (sign 1) or lowest (-1) within `reach` columns.
 */
static void spread(double *values, double *scratch, int n_columns, int reach,
                   double sign)
{
    for (int c = 0; c < n_columns; c++) {
        scratch[c] = values[c];
        for (int k = c - reach; k <= c + reach; k++) {
            if (k >= 0 && k < n_columns && sign * values[k] > sign * scratch[c]) {
                scratch[c] = values[k];
            }
        }
    }
    for (int c = 0; c < n_columns; c++) {
        values[c] = scratch[c];
    }
}

/* A step line over the columns that hold a value. */
static void draw_step_line(galv_canvas *canvas, const galv_frame *frame,
                           const double *values, int n_columns, double bottom,
                           double px_per_byte, galv_point *points)
{
    size_t n_points = 0;
    double w = frame->w / n_columns;
    for (int c = 0; c < n_columns; c++) {
        if (values[c] < 0.0) {
            continue;
        }
        double y = bottom - values[c] * px_per_byte;
        if (n_points >= 2 && fabs(points[n_points - 1].y - y) < 0.02) {
            points[n_points - 1].x = frame->x + (c + 1) * w;
        } else {
            points[n_points++] = (galv_point){frame->x + c * w, y};
            points[n_points++] = (galv_point){frame->x + (c + 1) * w, y};
        }
    }
    galv_canvas_polyline(canvas, points, n_points, galv_line(GALV_COLOR_AXIS, 1.5));
}

static void draw_memory_axis(galv_canvas *canvas, const galv_frame *frame, double y,
                             double height, double top_bytes, double px_per_byte)
{
    galv_ticks ticks = galv_ticks_choose(0.0, top_bytes / GIB, height > 50.0 ? 5 : 3);
    for (int i = 0; i < ticks.n_ticks; i++) {
        double value = galv_tick(&ticks, i);
        double at = y + height - value * GIB * px_per_byte;
        char label[32];
        snprintf(label, sizeof label, "%.*f%s", ticks.decimals, value,
                 i == ticks.n_ticks - 1 ? " GiB" : "");
        galv_canvas_line(
            canvas, frame->x, at, frame->x + frame->w, at,
            galv_line(i == 0 ? GALV_COLOR_AXIS : GALV_COLOR_GRID, i == 0 ? 0.75 : 0.5));
        galv_canvas_text(canvas, frame->x - GALV_LABEL_GAP, at + 0.36 * GALV_SIZE_TICK,
                         galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_RIGHT),
                         label);
    }
}

static double limit_of_worst(const galv_scene *scene)
{
    return scene->worst_rank >= 0
               ? galv_timeline_limit(scene->timeline, scene->worst_rank)
               : scene->timeline->memory_limit_bytes;
}

/* Has the rank as much memory as the one that is drawn? The band is of those. */
static bool is_like_worst(const galv_scene *scene, int32_t rank)
{
    double limit = galv_timeline_limit(scene->timeline, rank);
    return limit >= limit_of_worst(scene) && limit <= limit_of_worst(scene);
}

/* The dashed line of the limit, what exceeds it, and the peak's dot and value. */
static void draw_memory_marks(galv_canvas *canvas, const galv_scene *scene,
                              const galv_frame *frame, double y, double height,
                              const double *worst, int n_columns, double px_per_byte)
{
    double bottom = y + height;
    double limit = limit_of_worst(scene);
    double limit_y = bottom - limit * px_per_byte;
    char label[64];
    char number[32];
    if (limit > 0.0) {
        galv_fill over = {GALV_COLOR_LIMIT, 0, GALV_HATCH_NONE, 77};
        double w = frame->w / n_columns;
        for (int c = 0; c < n_columns; c++) {
            if (worst[c] > limit) {
                double top = bottom - worst[c] * px_per_byte;
                galv_canvas_rect(canvas, frame->x + c * w, top, w, limit_y - top, over);
            }
        }
        galv_canvas_line(canvas, frame->x, limit_y, frame->x + frame->w, limit_y,
                         galv_line_dashed(GALV_COLOR_LIMIT, 1.0, GALV_DASH_DASHED));
    }
    double peak_x = galv_frame_x(frame, scene->peak_time_s);
    double peak_y = bottom - scene->peak_bytes * px_per_byte;
    bool visible =
        scene->peak_time_s >= frame->start_s && scene->peak_time_s <= frame->end_s;
    /* what a label covers shines through only a little */
    galv_fill paper = {GALV_COLOR_WHITE, 0, GALV_HATCH_NONE, 215};
    if (visible) {
        galv_canvas_marker(canvas, peak_x, peak_y, GALV_MARKER_CIRCLE, 5.0,
                           GALV_COLOR_AXIS, false);
    }
    galv_print_figures(number, sizeof number, scene->peak_bytes / GIB);
    snprintf(label, sizeof label, "peak %s GiB", number);
    double half = galv_text_width(label, GALV_SIZE_TICK, false) / 2.0;
    double at = fmin(fmax(peak_x, frame->x + half + 4.0), frame->x + frame->w - half);
    double baseline = peak_y - 4.5;
    if (visible) {
        galv_canvas_rect(canvas, at - half - 2.0, baseline - 7.2, 2.0 * half + 4.0, 9.4,
                         paper);
        galv_canvas_text(canvas, at, baseline,
                         galv_style(GALV_SIZE_TICK, GALV_COLOR_TEXT, GALV_ALIGN_CENTER),
                         label);
    }
    if (limit > 0.0) {
        galv_print_figures(number, sizeof number, limit / GIB);
        snprintf(label, sizeof label, "limit %s GiB", number);
        double width = galv_text_width(label, GALV_SIZE_TICK, false);
        double right = frame->x + frame->w;
        double label_y = limit_y + 10.0;
        bool meets_peak = visible && at + half + 4.0 > right - width &&
                          fabs(baseline - label_y) < 9.0;
        double end = meets_peak ? frame->x + 4.0 + width : right;
        galv_canvas_rect(canvas, end - width - 2.0, label_y - 7.2, width + 4.0, 9.4,
                         paper);
        galv_canvas_text(canvas, end, label_y,
                         galv_style(GALV_SIZE_TICK, 0xA64500, GALV_ALIGN_RIGHT), label);
    }
}

galv_status galv_draw_memory_strip(galv_canvas *canvas, const galv_scene *scene,
                                   const galv_frame *frame, double y, double height,
                                   galv_err *err)
{
    int n_columns = (int)fmax(1.0, floor(frame->w));
    size_t n = (size_t)n_columns;
    double *values = calloc(n * 5, sizeof *values);
    galv_point *points = calloc(n * 4 + 4, sizeof *points);
    if (values == NULL || points == NULL) {
        free(values);
        free(points);
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    double *worst = values, *band_high = values + n, *band_low = values + 2 * n;
    double *high = values + 3 * n, *low = values + 4 * n;
    /* a peak leaves room for its label */
    double top = fmax(limit_of_worst(scene) * 1.06, scene->peak_bytes * PEAK_HEADROOM);
    double px_per_byte = top > 0.0 ? height / top : 0.0;
    bool any = false;
    for (size_t begin = 0, end = 0; begin < scene->n_samples; begin = end) {
        while (end < scene->n_samples &&
               scene->samples[end].rank == scene->samples[begin].rank) {
            end++;
        }
        int32_t rank = scene->samples[begin].rank;
        bool is_worst = rank == scene->worst_rank;
        if (!is_like_worst(scene, rank)) {
            continue;
        }
        scan_rank(scene->samples + begin, end - begin, frame, n_columns, high, low);
        for (size_t c = 0; c < n; c++) {
            double lowest = fmax(low[c], 0.0);
            worst[c] = is_worst ? high[c] : worst[c];
            band_high[c] = fmax(band_high[c], high[c]);
            band_low[c] = any ? fmin(band_low[c], lowest) : lowest;
        }
        any = true;
    }
    double period_px = scene->period_s / (frame->end_s - frame->start_s) * frame->w;
    if (period_px < DENSE_PX) {
        int reach = (int)ceil(period_px / 2.0);
        spread(worst, high, n_columns, reach, 1.0);
        spread(band_high, high, n_columns, reach, 1.0);
        spread(band_low, high, n_columns, reach, -1.0);
    }
    galv_canvas_tag(canvas, "memory", scene->worst_rank);
    draw_memory_axis(canvas, frame, y, height, top, px_per_byte);
    if (scene->n_samples > 0 && scene->timeline->n_ranks > 1 && top > 0.0) {
        for (size_t c = 0; c < n; c++) {
            band_low[c] /= top;
            band_high[c] /= top;
        }
        draw_steps(canvas, frame, band_low, band_high, n_columns, y + height, height,
                   galv_plain(0xD9D9D9), points);
    }
    draw_step_line(canvas, frame, worst, n_columns, y + height, px_per_byte, points);
    draw_memory_marks(canvas, scene, frame, y, height, worst, n_columns, px_per_byte);
    free(values);
    free(points);
    return GALV_OK;
}
