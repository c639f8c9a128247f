/* Rows of cells. A row is the computation of one rank; under it, if asked for, one lane
 * per kind of communication. Without lanes, communication that computation does not
 * hide is drawn as a low band at the foot of the row: it is neither work nor idleness,
 * and a reader should see it without asking. Cells are cut at the frame's edges. A
 * number is written into a cell only where it fits with a margin, and so does any
 * number of two digits where there are such; "3.1" (micro-batch and chunk) is used only
 * where it fits all cells of a frame. */
#include "viz/figure_internal.h"
#include "viz/timeline_parts_internal.h"

#include <math.h>
#include <stdio.h>

#define CELL_BORDER_PX  0.5
#define LABEL_MARGIN_PX 0.8
#define EXPOSED_SHARE   0.32 /* of the row's height */
#define TITLE_GAP       16.0 /* between the axis's title and its first tick */
#define THINNEST_PX     1.0  /* thinner messages in lanes are drawn as a tint */
#define TINTED_GAP_PX   12.0

double galv_frame_x(const galv_frame *frame, double time_s)
{
    double share = (time_s - frame->start_s) / (frame->end_s - frame->start_s);
    return frame->x + fmin(fmax(share, 0.0), 1.0) * frame->w;
}

static int lanes_of(const galv_scene *scene)
{
    int n_lanes = 0;
    for (int lane = 0; lane < GALV_N_LANES; lane++) {
        n_lanes += scene->lane_used[lane];
    }
    return n_lanes;
}

double galv_row_pitch(const galv_scene *scene, const galv_row_layout *rows)
{
    double lanes = rows->lanes ? GALV_LANE_PITCH * lanes_of(scene) : 0.0;
    return rows->height + lanes + rows->gap;
}

double galv_rows_height(const galv_scene *scene, const galv_row_layout *rows)
{
    return scene->n_shown * galv_row_pitch(scene, rows) - rows->gap;
}

/* Top of a lane, relative to the row's. */
static double lane_offset(const galv_scene *scene, const galv_row_layout *rows,
                          galv_lane lane)
{
    double y = rows->height + 1.0;
    for (int above = 0; above < (int)lane; above++) {
        y += scene->lane_used[above] ? GALV_LANE_PITCH : 0.0;
    }
    return y;
}

void galv_draw_row_labels(galv_canvas *canvas, const galv_scene *scene, double x,
                          const galv_row_layout *rows)
{
    char label[48];
    char layers[48];
    double right = x - GALV_LABEL_GAP;
    for (int32_t i = 0; i < scene->n_shown; i++) {
        double y = rows->y + i * galv_row_pitch(scene, rows);
        double middle = y + rows->height / 2.0;
        galv_canvas_tag(canvas, "row label", scene->shown[i]);
        galv_scene_row_label(scene, scene->shown[i], label, sizeof label);
        galv_scene_layers_label(scene, scene->shown[i], layers, sizeof layers);
        bool tall = rows->height >= 20.0;
        double size = rows->height >= 14.0 ? GALV_SIZE_AXIS : GALV_SIZE_CELL;
        bool two_lines = tall && layers[0] != '\0';
        double baseline = two_lines ? y + 8.5 : middle + 0.36 * size;
        galv_canvas_text(canvas, right, baseline,
                         galv_style(size, GALV_COLOR_TEXT, GALV_ALIGN_RIGHT), label);
        if (two_lines) {
            galv_canvas_text(
                canvas, right, y + 18.5,
                galv_style(GALV_SIZE_CELL, GALV_COLOR_FOOTER, GALV_ALIGN_RIGHT),
                layers);
        }
        for (int lane = 0; rows->lanes && lane < GALV_N_LANES; lane++) {
            if (scene->lane_used[lane]) {
                galv_canvas_text(
                    canvas, right, y + lane_offset(scene, rows, (galv_lane)lane) + 5.8,
                    galv_style(GALV_SIZE_CELL, GALV_COLOR_FOOTER, GALV_ALIGN_RIGHT),
                    galv_lane_name((galv_lane)lane));
            }
        }
    }
}

static bool fits(const char *label, double w)
{
    return label[0] != '\0' &&
           galv_text_width(label, GALV_SIZE_CELL, false) + 2.0 * LABEL_MARGIN_PX <= w;
}

void galv_draw_cell(galv_canvas *canvas, double x, double y, double w, double h,
                    galv_fill fill, const char *label)
{
    double border = w > 3.0 ? CELL_BORDER_PX / 2.0 : 0.0;
    galv_canvas_rect(canvas, x + border, y, w - 2.0 * border, h, fill);
    if (!fits(label, w) || h < GALV_SIZE_CELL) {
        return;
    }
    galv_text_style style =
        galv_style(GALV_SIZE_CELL, galv_color_text_on(fill.color), GALV_ALIGN_CENTER);
    double middle = x + w / 2.0;
    double baseline = y + h / 2.0 + 0.36 * GALV_SIZE_CELL;
    if (fill.hatch != GALV_HATCH_NONE) {
        double width = galv_text_width(label, GALV_SIZE_CELL, false) + 2.0;
        galv_canvas_rect(canvas, middle - width / 2.0, baseline - 7.0, width, 8.6,
                         galv_plain(fill.color));
    }
    galv_canvas_text(canvas, middle, baseline, style, label);
}

/* Two cells that a row computes at once (DualPipe) share its height. */
static bool shares_row(const galv_scene *scene, int32_t rank, size_t index)
{
    const galv_span *cell = &scene->cells[index];
    double slack = 1e-6 * scene->duration_s;
    bool before =
        index > scene->row_begin[rank] && cell[-1].end_s > cell->start_s + slack;
    bool after =
        index + 1 < scene->lane_begin[rank] && cell[1].start_s < cell->end_s - slack;
    return before || after;
}

static int32_t most_micro_batch(const galv_scene *scene)
{
    int32_t most = 0;
    for (size_t i = 0; i < scene->n_cells; i++) {
        most = scene->cells[i].micro_batch > most ? scene->cells[i].micro_batch : most;
    }
    return most;
}

static void draw_computation(galv_canvas *canvas, const galv_scene *scene, int32_t rank,
                             const galv_frame *frame, double y, double height)
{
    int32_t n_chunks = scene->timeline->n_chunks;
    double forward_px = scene->forward_s * frame->w / (frame->end_s - frame->start_s);
    bool with_chunk = n_chunks > 1 && fits("00.0", forward_px);
    bool two_digits = most_micro_batch(scene) > 9;
    for (size_t i = scene->row_begin[rank]; i < scene->lane_begin[rank]; i++) {
        const galv_span *cell = &scene->cells[i];
        if (cell->end_s <= frame->start_s || cell->start_s >= frame->end_s) {
            continue;
        }
        double x0 = galv_frame_x(frame, cell->start_s);
        double x1 = galv_frame_x(frame, cell->end_s);
        galv_ink ink = galv_span_ink(cell);
        galv_fill fill = galv_ink_fill(ink);
        if (ink != GALV_INK_OPTIMIZER) {
            fill.color = galv_color_shade(fill.color, cell->chunk, n_chunks);
        }
        char label[32];
        galv_cell_label(cell, with_chunk, label, sizeof label);
        if (two_digits && !fits("00", x1 - x0)) {
            label[0] = '\0'; /* not the first ten of its kind and then no more */
        }
        double top = y;
        double h = height;
        if (shares_row(scene, rank, i)) {
            h = height / 2.0;
            top = ink == GALV_INK_FORWARD ? y : y + h;
        }
        galv_draw_cell(canvas, x0, top, x1 - x0, h, fill, label);
    }
}

static void draw_message(galv_canvas *canvas, const galv_frame *frame, double start_s,
                         double end_s, double y, double h, galv_ink ink)
{
    double x0 = galv_frame_x(frame, start_s);
    double x1 = galv_frame_x(frame, end_s);
    if (x1 - x0 >= GALV_SMALLEST_PX) {
        galv_canvas_rect(canvas, x0, y, x1 - x0, h, galv_ink_fill(ink));
    }
}

void galv_draw_exposed(galv_canvas *canvas, const galv_scene *scene, int32_t rank,
                       const galv_frame *frame, double y, double height)
{
    double h = round(height * EXPOSED_SHARE);
    size_t first = scene->lane_begin[rank];
    size_t cover = 0;
    for (size_t i = first; i < scene->row_begin[rank + 1]; i++) {
        const galv_span *span = &scene->cells[i];
        if (i == first || span->stream != span[-1].stream) {
            cover = 0;
        }
        double at = span->start_s;
        double from = 0.0;
        double to = 0.0;
        while (galv_scene_next_exposed(scene, span, &cover, &at, &from, &to)) {
            draw_message(canvas, frame, from, to, y + height - h, h,
                         galv_span_ink(span));
        }
    }
}

/* Messages in lanes. Those too thin to be seen are drawn together, as a tint as strong
 * as the share of time they take: a row of hairlines would vanish or shimmer. */
static void draw_lanes(galv_canvas *canvas, const galv_scene *scene, int32_t rank,
                       const galv_frame *frame, double y, const galv_row_layout *rows)
{
    double px_per_s = frame->w / (frame->end_s - frame->start_s);
    size_t end = scene->row_begin[rank + 1];
    size_t next = 0;
    for (size_t i = scene->lane_begin[rank]; i < end; i = next) {
        const galv_span *span = &scene->cells[i];
        galv_ink ink = galv_span_ink(span);
        double busy_s = span->end_s - span->start_s;
        double end_s = span->end_s;
        next = i + 1;
        if (busy_s * px_per_s < THINNEST_PX) {
            while (next < end && galv_span_ink(&scene->cells[next]) == ink &&
                   scene->cells[next].stream == span->stream &&
                   (scene->cells[next].end_s - scene->cells[next].start_s) * px_per_s <
                       THINNEST_PX &&
                   (scene->cells[next].start_s - end_s) * px_per_s < TINTED_GAP_PX) {
                busy_s += scene->cells[next].end_s - scene->cells[next].start_s;
                end_s = fmax(end_s, scene->cells[next].end_s);
                next++;
            }
        }
        double top = y + lane_offset(scene, rows, galv_span_lane(span));
        if (next == i + 1) {
            double left = galv_frame_x(frame, span->start_s);
            double w = galv_frame_x(frame, end_s) - left;
            if (w > 0.0) {
                galv_canvas_rect(canvas, left, top, fmax(w, THINNEST_PX),
                                 GALV_LANE_HEIGHT, galv_ink_fill(ink));
            }
            continue;
        }
        double x0 = galv_frame_x(frame, span->start_s);
        galv_fill fill = galv_ink_fill(ink);
        double share = busy_s / fmax(end_s - span->start_s, 1e-300);
        fill.alpha = (uint8_t)(90.0 + 165.0 * fmin(share, 1.0));
        galv_canvas_rect(canvas, x0, top, galv_frame_x(frame, end_s) - x0,
                         GALV_LANE_HEIGHT, fill);
    }
}

void galv_draw_rows(galv_canvas *canvas, const galv_scene *scene,
                    const galv_frame *frame, const galv_row_layout *rows)
{
    for (int32_t i = 0; i < scene->n_shown; i++) {
        int32_t rank = scene->shown[i];
        double y = rows->y + i * galv_row_pitch(scene, rows);
        galv_canvas_tag(canvas, "idle", rank);
        galv_canvas_rect(canvas, frame->x, y, frame->w, rows->height,
                         galv_ink_fill(GALV_INK_IDLE));
        galv_canvas_tag(canvas, "cells", rank);
        draw_computation(canvas, scene, rank, frame, y, rows->height);
        if (!rows->lanes) {
            galv_canvas_tag(canvas, "exposed", rank);
            galv_draw_exposed(canvas, scene, rank, frame, y, rows->height);
            continue;
        }
        galv_canvas_tag(canvas, "lanes", rank);
        for (int lane = 0; lane < GALV_N_LANES; lane++) {
            if (scene->lane_used[lane]) {
                galv_canvas_rect(canvas, frame->x,
                                 y + lane_offset(scene, rows, (galv_lane)lane),
                                 frame->w, GALV_LANE_HEIGHT, galv_plain(0xFAFAFA));
            }
        }
        draw_lanes(canvas, scene, rank, frame, y, rows);
    }
}

void galv_draw_gaps(galv_canvas *canvas, const galv_scene *scene,
                    const galv_frame *frame, const galv_row_layout *rows)
{
    galv_canvas_tag(canvas, "gaps", -1);
    galv_time_unit unit = galv_time_unit_for(scene->duration_s);
    for (int i = 0; i < scene->n_gaps; i++) {
        const galv_gap *gap = &scene->gaps[i];
        int32_t place = 0;
        while (scene->shown[place] != gap->rank) {
            place++;
        }
        double x0 = galv_frame_x(frame, gap->start_s);
        double x1 = galv_frame_x(frame, gap->end_s);
        char number[32];
        char label[48];
        galv_print_figures(number, sizeof number,
                           (gap->end_s - gap->start_s) / unit.seconds);
        snprintf(label, sizeof label, "%s %s", number, unit.name);
        if (galv_text_width(label, GALV_SIZE_CELL, false) + 6.0 <= x1 - x0) {
            double y = rows->y + place * galv_row_pitch(scene, rows);
            galv_canvas_text(canvas, (x0 + x1) / 2.0,
                             y + rows->height / 2.0 + 0.36 * GALV_SIZE_CELL,
                             galv_style(GALV_SIZE_CELL, galv_ink_text(GALV_INK_IDLE),
                                        GALV_ALIGN_CENTER),
                             label);
        }
    }
}

void galv_draw_time_axis(galv_canvas *canvas, const galv_frame *frame, double y,
                         double duration_s, bool titled)
{
    galv_time_unit unit = galv_time_unit_for(duration_s);
    int most = (int)fmax(3.0, fmin(frame->w / 55.0, 10.0));
    galv_ticks ticks = galv_ticks_choose(frame->start_s / unit.seconds,
                                         frame->end_s / unit.seconds, most);
    galv_stroke line = galv_line(GALV_COLOR_AXIS, 0.75);
    galv_canvas_tag(canvas, "time axis", -1);
    galv_canvas_line(canvas, frame->x, y, frame->x + frame->w, y, line);
    for (int i = 0; i < ticks.n_ticks; i++) {
        double value = galv_tick(&ticks, i);
        double x = galv_frame_x(frame, value * unit.seconds);
        galv_canvas_line(canvas, x, y, x, y + 3.0, line);
        galv_canvas_printf(
            canvas, x, y + 12.5,
            galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_CENTER), "%.*f",
            ticks.decimals, value);
    }
    if (titled) {
        galv_canvas_printf(
            canvas, frame->x - TITLE_GAP, y + 12.5,
            galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_RIGHT), "time (%s)",
            unit.name);
    }
}

/* ---- phases ---- */

static void draw_brace(galv_canvas *canvas, const galv_frame *frame, double start_s,
                       double end_s, double y, const char *label)
{
    if (end_s <= frame->start_s || start_s >= frame->end_s) {
        return;
    }
    double x0 = galv_frame_x(frame, start_s) + 1.5;
    double x1 = galv_frame_x(frame, end_s) - 1.5;
    if (x1 - x0 < 4.0) {
        return;
    }
    galv_point bracket[4] = {{x0, y}, {x0, y - 3.0}, {x1, y - 3.0}, {x1, y}};
    galv_canvas_polyline(canvas, bracket, 4, galv_line(0x8C8C8C, 0.75));
    if (galv_text_width(label, GALV_SIZE_CELL, false) <= x1 - x0) {
        galv_canvas_text(canvas, (x0 + x1) / 2.0, y - 6.0,
                         galv_style(GALV_SIZE_CELL, GALV_COLOR_AXIS, GALV_ALIGN_CENTER),
                         label);
    }
}

void galv_draw_phases(galv_canvas *canvas, const galv_scene *scene,
                      const galv_frame *frame, double y)
{
    if (scene->n_stages < 2 || scene->steady_start_s < 0.0) {
        return;
    }
    galv_canvas_tag(canvas, "phases", -1);
    double end_s = scene->compute_end_s;
    if (scene->steady_end_s > scene->steady_start_s) {
        draw_brace(canvas, frame, 0.0, scene->steady_start_s, y, "warm-up");
        draw_brace(canvas, frame, scene->steady_start_s, scene->steady_end_s, y,
                   "steady");
        draw_brace(canvas, frame, scene->steady_end_s, end_s, y, "cool-down");
    } else {
        draw_brace(canvas, frame, 0.0, scene->steady_start_s, y, "forward");
        draw_brace(canvas, frame, scene->steady_start_s, end_s, y, "backward");
    }
    draw_brace(canvas, frame, end_s, scene->duration_s, y, "flush");
}
