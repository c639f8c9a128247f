/* Charts' common parts. Ticks are few and round; a label that would meet another is
 * left out rather than turned or shrunk. Labels of points try eight places around the
 * point, nearest to the reader's habit first (above right), and give up when all are
 * taken: a missing label is better than two unreadable ones. */
#include "viz/plot_internal.h"

#include <math.h>
#include <stdio.h>

double galv_axis_at(const galv_axis *axis, double value)
{
    double share = axis->logarithmic
                       ? log(value / axis->low) / log(axis->high / axis->low)
                       : (value - axis->low) / (axis->high - axis->low);
    return axis->from_px + share * (axis->to_px - axis->from_px);
}

static int log_marks(const galv_axis *axis, int most, double marks[GALV_MOST_MARKS])
{
    /* finest first: all of 1 2 5, then decades, then every second decade... */
    for (int coarse = 0; coarse < 12; coarse++) {
        static const double mantissas[] = {1.0, 2.0, 5.0};
        int n_mantissas = coarse == 0 ? 3 : 1;
        int stride = coarse == 0 ? 1 : coarse;
        int n_marks = 0;
        int first = (int)floor(log10(axis->low));
        int last = (int)ceil(log10(axis->high));
        for (int exponent = first; exponent <= last; exponent++) {
            for (int i = 0; i < n_mantissas && exponent % stride == 0; i++) {
                double value = mantissas[i] * pow(10.0, exponent);
                bool inside = value >= axis->low * (1.0 - 1e-9) &&
                              value <= axis->high * (1.0 + 1e-9);
                if (inside && n_marks < GALV_MOST_MARKS) {
                    marks[n_marks++] = value;
                }
            }
        }
        if (n_marks <= most) {
            return n_marks;
        }
    }
    return 0;
}

int galv_axis_marks(const galv_axis *axis, int most, double marks[GALV_MOST_MARKS])
{
    if (axis->logarithmic) {
        int n_marks = log_marks(axis, most, marks);
        if (n_marks >= 3) {
            return n_marks;
        }
    }
    galv_ticks ticks = galv_ticks_choose(axis->low, axis->high, most);
    int n_marks = ticks.n_ticks < GALV_MOST_MARKS ? ticks.n_ticks : GALV_MOST_MARKS;
    int kept = 0;
    for (int i = 0; i < n_marks; i++) {
        double value = galv_tick(&ticks, i);
        if (!axis->logarithmic || value > 0.0) {
            marks[kept++] = value;
        }
    }
    return kept;
}

void galv_print_mark(char *buffer, size_t size, double value, double step)
{
    static const struct {
        double unit;
        const char *suffix;
    } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1.0, ""}};
    double magnitude = fabs(value);
    int u = 0;
    while (u < 4 && magnitude < units[u].unit * 0.9999) {
        u++;
    }
    if (u == 3 && magnitude < 9999.5) {
        u = 4; /* 2000 rather than 2k */
    }
    double shown = value / units[u].unit;
    double shown_step = step / units[u].unit;
    int decimals = 0;
    while (decimals < 6 &&
           fabs(shown_step - round(shown_step * pow(10.0, decimals)) /
                                 pow(10.0, decimals)) > 1e-6 * fabs(shown_step)) {
        decimals++;
    }
    snprintf(buffer, size, "%.*f%s", decimals, shown, units[u].suffix);
}

static double mark_step(const galv_axis *axis, const double *marks, int n_marks, int i)
{
    if (axis->logarithmic || n_marks < 2) {
        return marks[i];
    }
    return marks[1] - marks[0];
}

static void draw_y_axis(galv_canvas *canvas, const galv_plot *plot, const char *title)
{
    double marks[GALV_MOST_MARKS];
    int most = (int)fmax(3.0, fmin(fabs(plot->y.to_px - plot->y.from_px) / 34.0, 9.0));
    int n_marks = galv_axis_marks(&plot->y, most, marks);
    for (int i = 0; i < n_marks; i++) {
        double y = galv_axis_at(&plot->y, marks[i]);
        char label[32];
        galv_print_mark(label, sizeof label, marks[i],
                        mark_step(&plot->y, marks, n_marks, i));
        galv_canvas_line(canvas, plot->x.from_px, y, plot->x.to_px, y,
                         galv_line(GALV_COLOR_GRID, 0.5));
        galv_canvas_text(canvas, plot->x.from_px - 6.0, y + 0.36 * GALV_SIZE_TICK,
                         galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_RIGHT),
                         label);
    }
    /* over the axis, where it reads without turning the head */
    galv_canvas_text(canvas, plot->x.from_px, plot->y.to_px - 9.0,
                     galv_style(GALV_SIZE_AXIS, GALV_COLOR_AXIS, GALV_ALIGN_LEFT),
                     title);
}

void galv_plot_draw_axes(galv_canvas *canvas, const galv_plot *plot,
                         const double *x_marks, int n_x_marks, const char *x_title,
                         const char *y_title)
{
    galv_canvas_tag(canvas, "axes", -1);
    draw_y_axis(canvas, plot, y_title);
    double own[GALV_MOST_MARKS];
    bool given = x_marks != NULL;
    if (!given) {
        int most = (int)fmax(3.0, fmin((plot->x.to_px - plot->x.from_px) / 50.0, 9.0));
        n_x_marks = galv_axis_marks(&plot->x, most, own);
        x_marks = own;
    }
    galv_stroke line = galv_line(GALV_COLOR_AXIS, 0.75);
    double bottom = plot->y.from_px;
    galv_canvas_line(canvas, plot->x.from_px, bottom, plot->x.to_px, bottom, line);
    double free_from = -1e9;
    for (int i = 0; i < n_x_marks; i++) {
        double x = galv_axis_at(&plot->x, x_marks[i]);
        char label[32];
        if (given) {
            snprintf(label, sizeof label, "%.0f", x_marks[i]);
        } else {
            galv_print_mark(label, sizeof label, x_marks[i],
                            mark_step(&plot->x, x_marks, n_x_marks, i));
        }
        double half = galv_text_width(label, GALV_SIZE_TICK, false) / 2.0;
        galv_canvas_line(canvas, x, bottom, x, bottom + 3.0, line);
        if (x - half >= free_from) {
            galv_canvas_text(
                canvas, x, bottom + 12.5,
                galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_CENTER), label);
            free_from = x + half + 4.0;
        }
    }
    galv_canvas_text(canvas, (plot->x.from_px + plot->x.to_px) / 2.0, bottom + 27.0,
                     galv_style(GALV_SIZE_AXIS, GALV_COLOR_AXIS, GALV_ALIGN_CENTER),
                     x_title);
}

/* ---- labels ---- */

static void remember(galv_placer *placer, double x0, double y0, double x1, double y1)
{
    placer->boxes[placer->n_boxes].x0 = x0;
    placer->boxes[placer->n_boxes].y0 = y0;
    placer->boxes[placer->n_boxes].x1 = x1;
    placer->boxes[placer->n_boxes].y1 = y1;
    placer->n_boxes++;
}

void galv_placer_block(galv_placer *placer, double x0, double y0, double x1, double y1)
{
    if (placer->n_boxes < GALV_MOST_BOXES - GALV_MOST_LABELS) {
        remember(placer, x0, y0, x1, y1);
    }
}

static bool is_free(const galv_placer *placer, double x0, double y0, double x1,
                    double y1)
{
    if (x0 < placer->left || x1 > placer->right || y0 < placer->top ||
        y1 > placer->bottom) {
        return false;
    }
    for (size_t i = 0; i < placer->n_boxes; i++) {
        if (x0 < placer->boxes[i].x1 && placer->boxes[i].x0 < x1 &&
            y0 < placer->boxes[i].y1 && placer->boxes[i].y0 < y1) {
            return false;
        }
    }
    return true;
}

/* Tries the places around a point at one distance. */
static bool label_at(galv_placer *placer, galv_canvas *canvas, double x, double y,
                     double distance, galv_text_style style, const char *text)
{
    /* shares of the text's width to the left of x, and lines above y */
    static const struct {
        double left, up;
    } places[] = {{0.0, 1.0}, {0.0, -1.0}, {1.0, 1.0}, {1.0, -1.0},
                  {0.5, 1.4}, {0.5, -1.4}, {0.0, 0.0}, {1.0, 0.0}};
    double width = galv_text_width(text, style.size, style.bold);
    double height = style.size;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        double side = places[i].left == 0.0   ? distance
                      : places[i].left == 1.0 ? -distance
                                              : 0.0;
        double x0 = x - places[i].left * width + side;
        double middle = y - places[i].up * (distance + 0.4 * height);
        double y0 = middle - height / 2.0;
        if (is_free(placer, x0 - 1.0, y0 - 1.0, x0 + width + 1.0, y0 + height + 1.0)) {
            galv_fill paper = {GALV_COLOR_WHITE, 0, GALV_HATCH_NONE, 200};
            if (canvas != NULL) {
                galv_canvas_rect(canvas, x0 - 1.0, y0, width + 2.0, height, paper);
                galv_canvas_text(canvas, x0, middle + 0.36 * style.size, style, text);
            }
            remember(placer, x0 - 2.0, y0 - 1.0, x0 + width + 2.0, y0 + height + 1.0);
            return true;
        }
    }
    return false;
}

bool galv_placer_label(galv_placer *placer, galv_canvas *canvas, double x, double y,
                       double distance, galv_text_style style, const char *text)
{
    style.align = GALV_ALIGN_LEFT;
    for (int further = 0; further < 3 && placer->n_boxes < GALV_MOST_BOXES; further++) {
        if (label_at(placer, canvas, x, y, distance + 5.0 * further, style, text)) {
            return true;
        }
    }
    return false;
}

/* ---- stacks ---- */

#define LABELLED_PX 28.0

double galv_draw_stack(galv_canvas *canvas, const galv_axis *x, double y, double height,
                       const galv_segment *segments, size_t n_segments,
                       galv_segment_print *print)
{
    double total = 0.0;
    for (size_t i = 0; i < n_segments; i++) {
        total += segments[i].value;
    }
    double sum = 0.0;
    double x0 = galv_axis_at(x, 0.0);
    for (size_t i = 0; i < n_segments; i++) {
        sum += segments[i].value;
        double x1 = galv_axis_at(x, sum);
        const galv_segment *segment = &segments[i];
        galv_canvas_rect(canvas, x0, y, x1 - x0, height, segment->fill);
        if (segment->outlined && x1 - x0 > 1.0) {
            galv_canvas_outline(canvas, x0 + 0.25, y + 0.25, x1 - x0 - 0.5,
                                height - 0.5, galv_line(0xBFBFBF, 0.5));
        }
        if (x1 - x0 >= LABELLED_PX) {
            char label[32];
            print(label, sizeof label, segment->value, total);
            double width = galv_text_width(label, GALV_SIZE_CELL, false);
            double middle = (x0 + x1) / 2.0;
            double baseline = y + height / 2.0 + 0.36 * GALV_SIZE_CELL;
            if (segment->fill.hatch != GALV_HATCH_NONE) {
                galv_canvas_rect(canvas, middle - width / 2.0 - 2.0, baseline - 7.0,
                                 width + 4.0, 8.8, galv_plain(segment->fill.color));
            }
            if (width + 4.0 <= x1 - x0) {
                galv_canvas_text(canvas, middle, baseline,
                                 galv_style(GALV_SIZE_CELL,
                                            galv_color_text_on(segment->fill.color),
                                            GALV_ALIGN_CENTER),
                                 label);
            }
        }
        x0 = x1;
    }
    return x0;
}
