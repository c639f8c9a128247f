/* Where the time goes: one stacked bar per plan or stage, on one scale, so that a
 * difference between two plans is a length. Only exposed communication is in the stack;
 * what computation hides is a thin bar below it, so that overlap gets its credit
 * without being added to the total. */
#include "viz/breakdown_figure.h"

#include "viz/plot_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define N_PARTS    9
#define PITCH      26.0
#define BAR        16.0
#define THIN       4.0
#define TOP        52.0
#define AXIS       40.0
#define TOTAL_ROOM 64.0
#define SEEN_PX    0.4

static const char *const part_names[N_PARTS] = {
    "compute",          "recompute",       "tensor parallel",
    "context parallel", "expert parallel", "pipeline",
    "data parallel",    "optimizer",       "bubble"};

static galv_fill part_fill(int part)
{
    static const galv_ink part_inks[N_PARTS] = {
        GALV_INK_FORWARD, GALV_INK_RECOMPUTE, GALV_INK_TP,
        GALV_INK_CP,      GALV_INK_EP,        GALV_INK_PP,
        GALV_INK_DP,      GALV_INK_OPTIMIZER, GALV_INK_IDLE};
    return galv_ink_fill(part_inks[part]);
}

static galv_fill hidden_fill(void)
{
    galv_fill fill = {0xFFFFFF, 0x737373, GALV_HATCH_RISING, 0};
    return fill;
}

static void parts_of(const galv_breakdown_row *row, double parts[N_PARTS])
{
    double all[N_PARTS] = {row->compute_s, row->recompute_s, row->tp_s,
                           row->cp_s,      row->ep_s,        row->pp_s,
                           row->dp_s,      row->optimizer_s, row->bubble_s};
    for (int p = 0; p < N_PARTS; p++) {
        parts[p] = all[p];
    }
}

static double total_of(const galv_breakdown_row *row)
{
    double parts[N_PARTS];
    double total = 0.0;
    parts_of(row, parts);
    for (int p = 0; p < N_PARTS; p++) {
        total += parts[p];
    }
    return total;
}

static galv_status check(const galv_breakdown_row *rows, size_t n_rows, galv_err *err)
{
    if (n_rows == 0) {
        return galv_fail(err, GALV_INPUT, "there is no time to draw");
    }
    for (size_t i = 0; i < n_rows; i++) {
        double parts[N_PARTS];
        parts_of(&rows[i], parts);
        for (int p = 0; p < N_PARTS; p++) {
            if (!(parts[p] >= 0.0) || !isfinite(parts[p])) {
                return galv_fail(err, GALV_INPUT, "%s of row %zu: %g s cannot be",
                                 part_names[p], i, parts[p]);
            }
        }
        if (!(rows[i].hidden_s >= 0.0) || !isfinite(rows[i].hidden_s)) {
            return galv_fail(err, GALV_INPUT,
                             "hidden communication of row %zu: %g s cannot be", i,
                             rows[i].hidden_s);
        }
    }
    return GALV_OK;
}

static void print_share(char *buffer, size_t size, double value, double total)
{
    snprintf(buffer, size, "%.*f %%", value / total < 0.0995 ? 1 : 0,
             100.0 * value / total);
}

static void label_of(const galv_breakdown_row *row, size_t index, double page_width,
                     char *buffer, size_t size)
{
    if (row->label != NULL) {
        galv_text_fit(buffer, size, row->label, fmin(320.0, 0.4 * page_width),
                      GALV_SIZE_AXIS, false);
    } else {
        snprintf(buffer, size, "stage %zu", index);
    }
}

static void draw_row(galv_canvas *canvas, const galv_axis *x, galv_time_unit unit,
                     const galv_breakdown_row *row, size_t index, double y)
{
    char label[256];
    label_of(row, index, galv_canvas_width(canvas), label, sizeof label);
    galv_canvas_tag(canvas, "bar", (int32_t)index);
    galv_canvas_text(canvas, x->from_px - 6.0, y + BAR / 2.0 + 0.36 * GALV_SIZE_AXIS,
                     galv_style(GALV_SIZE_AXIS, GALV_COLOR_TEXT, GALV_ALIGN_RIGHT),
                     label);
    double parts[N_PARTS];
    parts_of(row, parts);
    galv_segment segments[N_PARTS];
    for (int p = 0; p < N_PARTS; p++) {
        segments[p] = (galv_segment){parts[p], part_fill(p), p == N_PARTS - 1};
    }
    double end = galv_draw_stack(canvas, x, y, BAR, segments, N_PARTS, print_share);
    char number[32];
    galv_print_figures(number, sizeof number, total_of(row) / unit.seconds);
    galv_canvas_printf(canvas, end + 6.0, y + BAR / 2.0 + 0.36 * GALV_SIZE_TICK,
                       galv_style(GALV_SIZE_TICK, GALV_COLOR_TEXT, GALV_ALIGN_LEFT),
                       "%s %s", number, unit.name);
    if (row->hidden_s > 0.0) {
        double w = fmin(galv_axis_at(x, row->hidden_s), x->to_px) - x->from_px;
        galv_canvas_rect(canvas, x->from_px, y + BAR + 1.0, w, THIN, hidden_fill());
    }
}

static void draw_axis(galv_canvas *canvas, const galv_axis *x, galv_time_unit unit,
                      double bottom)
{
    galv_canvas_tag(canvas, "axes", -1);
    galv_ticks ticks = galv_ticks_choose(0.0, x->high / unit.seconds, 9);
    galv_canvas_line(canvas, x->from_px, bottom, x->to_px, bottom,
                     galv_line(GALV_COLOR_AXIS, 0.75));
    for (int i = 0; i < ticks.n_ticks; i++) {
        double value = galv_tick(&ticks, i);
        double at = galv_axis_at(x, value * unit.seconds);
        galv_canvas_line(canvas, at, bottom, at, bottom + 3.0,
                         galv_line(GALV_COLOR_AXIS, 0.75));
        galv_canvas_printf(
            canvas, at, bottom + 12.5,
            galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_CENTER), "%.*f",
            ticks.decimals, value);
    }
    galv_canvas_printf(canvas, x->from_px - 16.0, bottom + 12.5,
                       galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_RIGHT),
                       "time (%s)", unit.name);
}

/* Parts that are wide enough to be seen. */
static size_t make_legend(galv_legend_entry legend[N_PARTS + 1],
                          const galv_breakdown_row *rows, size_t n_rows, double least_s)
{
    bool used[N_PARTS + 1] = {false};
    for (size_t i = 0; i < n_rows; i++) {
        double parts[N_PARTS];
        parts_of(&rows[i], parts);
        for (int p = 0; p < N_PARTS; p++) {
            used[p] = used[p] || (parts[p] > 0.0 && parts[p] >= least_s);
        }
        used[N_PARTS] = used[N_PARTS] || rows[i].hidden_s > 0.0;
    }
    size_t n_legend = 0;
    for (int p = 0; p <= N_PARTS; p++) {
        if (used[p]) {
            galv_legend_entry entry = {
                .text = p < N_PARTS ? part_names[p] : "hidden communication",
                .fill = p < N_PARTS ? part_fill(p) : hidden_fill()};
            if (p >= N_PARTS - 1) {
                entry.stroke = galv_line(0xBFBFBF, 0.5);
            }
            legend[n_legend++] = entry;
        }
    }
    return n_legend;
}

galv_status galv_breakdown_compose(galv_canvas **canvas, const galv_breakdown_row *rows,
                                   size_t n_rows, const char *title,
                                   const galv_figure_options *options, galv_err *err)
{
    galv_figure_options resolved;
    galv_status status = galv_figure_resolve(&resolved, options, 1000, err);
    if (status == GALV_OK) {
        status = check(rows, n_rows, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    double left = 72.0;
    double longest_s = 0.0;
    for (size_t i = 0; i < n_rows; i++) {
        char label[256];
        label_of(&rows[i], i, resolved.width_px, label, sizeof label);
        left = fmax(left, GALV_FIGURE_MARGIN + 6.0 +
                              galv_text_width(label, GALV_SIZE_AXIS, false));
        longest_s = fmax(longest_s, fmax(total_of(&rows[i]), rows[i].hidden_s));
    }
    galv_time_unit unit = galv_time_unit_for(longest_s);
    galv_axis x = {0.0, longest_s > 0.0 ? longest_s : 1.0, left,
                   resolved.width_px - TOTAL_ROOM, false};
    double legend_x = left > 160.0 ? GALV_FIGURE_MARGIN : left;
    galv_legend_entry legend[N_PARTS + 1];
    size_t n_legend =
        make_legend(legend, rows, n_rows, SEEN_PX * x.high / (x.to_px - x.from_px));
    double bottom = TOP + (double)n_rows * PITCH;
    double height = bottom + AXIS +
                    galv_figure_legend_height(x.to_px - legend_x, legend, n_legend) +
                    (resolved.footer != NULL ? 18.0 : 2.0);
    galv_canvas *page = galv_canvas_new(resolved.width_px, ceil(height));
    if (page == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    galv_figure_heading(page, title,
                        "time of one iteration; communication as far as exposed");
    for (size_t i = 0; i < n_rows; i++) {
        draw_row(page, &x, unit, &rows[i], i, TOP + (double)i * PITCH);
    }
    draw_axis(page, &x, unit, bottom);
    galv_figure_legend(page, legend_x, bottom + AXIS, x.to_px - legend_x, legend,
                       n_legend);
    galv_figure_footer(page, resolved.footer);
    *canvas = page;
    return GALV_OK;
}

galv_status galv_breakdown_draw(const galv_breakdown_row *rows, size_t n_rows,
                                const char *title, const char *path,
                                const galv_figure_options *options, galv_err *err)
{
    galv_canvas *canvas = NULL;
    galv_status status = galv_canvas_check_path(path, err);
    if (status == GALV_OK) {
        status = galv_breakdown_compose(&canvas, rows, n_rows, title, options, err);
    }
    return galv_figure_finish(canvas, status, path, options, err);
}
