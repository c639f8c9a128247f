/* A grid of cells. Colour tells layouts apart, not how good they are: the number in the
 * cell does that. Colours are the series' ones, lightened so that black text reads on
 * them, and are given in the order in which layouts first appear; after the last they
 * begin again with a hatch. What fits nowhere is left white. */
#include "viz/plan_map_figure.h"

#include "viz/figure_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TOP        52.0
#define ROW        44.0
#define LEAST_PAGE 440.0
#define MOST_WIDE  190.0
#define LEAST_WIDE 60.0
#define N_COLORS   6
#define GAP        2.0
#define AXIS       34.0

static const char *kind_of(const galv_map_cell *cell)
{
    return cell->kind != NULL ? cell->kind : cell->plan;
}

/* How many other layouts appear before this one. */
static int32_t color_index(const galv_plan_map *map, size_t index)
{
    int32_t n_before = 0;
    for (size_t i = 0; i < map->n_rows * map->n_columns; i++) {
        const galv_map_cell *cell = &map->cells[i];
        if (cell->plan == NULL) {
            continue;
        }
        if (strcmp(kind_of(cell), kind_of(&map->cells[index])) == 0) {
            return n_before;
        }
        bool first = true;
        for (size_t k = 0; k < i && first; k++) {
            first = map->cells[k].plan == NULL ||
                    strcmp(kind_of(&map->cells[k]), kind_of(cell)) != 0;
        }
        n_before += first;
    }
    return n_before;
}

static galv_color lightened(galv_color color)
{
    galv_color light = 0;
    for (int shift = 0; shift <= 16; shift += 8) {
        double part = (double)(color >> shift & 0xFFu);
        light |= (galv_color)lround(part + 0.6 * (255.0 - part)) << shift;
    }
    return light;
}

static galv_fill fill_of(const galv_plan_map *map, size_t index)
{
    int32_t n = color_index(map, index);
    galv_color color = galv_series_color(n % N_COLORS);
    galv_fill fill = {lightened(color), 0xFFFFFF, GALV_HATCH_NONE, 0};
    if (n >= N_COLORS) {
        fill.hatch = n / N_COLORS % 2 == 1 ? GALV_HATCH_RISING : GALV_HATCH_FALLING;
    }
    return fill;
}

static void centered(galv_canvas *page, double x, double y, double width, double size,
                     bool bold, galv_color color, const char *text)
{
    char fitted[200];
    galv_text_fit(fitted, sizeof fitted, text, width - 6.0, size, bold);
    galv_text_style style = {
        .size = size, .color = color, .align = GALV_ALIGN_CENTER, .bold = bold};
    galv_canvas_text(page, x + width / 2.0, y, style, fitted);
}

/* A plan's words on at most two lines. */
static void draw_plan(galv_canvas *page, double x, double y, double width,
                      const char *plan)
{
    char first[200];
    size_t length = strlen(plan);
    if (galv_text_width(plan, GALV_SIZE_TICK, true) <= width - 6.0) {
        centered(page, x, y + 18.0, width, GALV_SIZE_TICK, true, GALV_COLOR_TEXT, plan);
        return;
    }
    size_t cut = 0;
    for (size_t i = 0; i < length && i < sizeof first - 1; i++) {
        memcpy(first, plan, i);
        first[i] = '\0';
        if (plan[i] == ' ' &&
            galv_text_width(first, GALV_SIZE_TICK, true) <= width - 6.0) {
            cut = i;
        }
    }
    if (cut == 0) {
        centered(page, x, y + 18.0, width, GALV_SIZE_TICK, true, GALV_COLOR_TEXT, plan);
        return;
    }
    memcpy(first, plan, cut);
    first[cut] = '\0';
    centered(page, x, y + 12.5, width, GALV_SIZE_TICK, true, GALV_COLOR_TEXT, first);
    centered(page, x, y + 23.5, width, GALV_SIZE_TICK, true, GALV_COLOR_TEXT,
             plan + cut + 1);
}

static void draw_cell(galv_canvas *page, const galv_plan_map *map, size_t index,
                      double x, double y, double width)
{
    const galv_map_cell *cell = &map->cells[index];
    galv_canvas_tag(page, "cell", (int32_t)index);
    if (cell->plan == NULL) {
        galv_stroke line = {GALV_COLOR_GRID, 0.75, GALV_DASH_SOLID};
        galv_canvas_outline(page, x, y, width - GAP, ROW - GAP, line);
        centered(page, x, y + 24.0, width - GAP, GALV_SIZE_TICK, false,
                 GALV_COLOR_FOOTER, "nothing fits");
        return;
    }
    galv_canvas_rect(page, x, y, width - GAP, ROW - GAP, fill_of(map, index));
    draw_plan(page, x, y, width - GAP, cell->plan);
    if (cell->value != NULL) {
        centered(page, x, y + 36.0, width - GAP, GALV_SIZE_TICK, false, GALV_COLOR_TEXT,
                 cell->value);
    }
}

static void draw_axes(galv_canvas *page, const galv_plan_map *map, double left,
                      double width, double bottom)
{
    galv_canvas_tag(page, "axes", -1);
    galv_text_style right = {
        .size = GALV_SIZE_AXIS, .color = GALV_COLOR_TEXT, .align = GALV_ALIGN_RIGHT};
    for (size_t row = 0; row < map->n_rows; row++) {
        double y = bottom - (double)(row + 1) * ROW;
        galv_canvas_text(page, left - 8.0, y + ROW / 2.0 + 2.0, right, map->rows[row]);
    }
    for (size_t column = 0; column < map->n_columns; column++) {
        centered(page, left + (double)column * width, bottom + 12.0, width - GAP,
                 GALV_SIZE_AXIS, false, GALV_COLOR_TEXT, map->columns[column]);
    }
    centered(page, left, bottom + 27.0, width * (double)map->n_columns, GALV_SIZE_AXIS,
             false, GALV_COLOR_AXIS, map->x_title);
}

galv_status galv_plan_map_compose(galv_canvas **canvas, const galv_plan_map *map,
                                  const galv_figure_options *options, galv_err *err)
{
    galv_figure_options resolved;
    galv_status status = galv_figure_resolve(&resolved, options, 1000, err);
    if (status == GALV_OK && (map->n_rows == 0 || map->n_columns == 0)) {
        status = galv_fail(err, GALV_INPUT, "there are no plans to draw");
    }
    if (status != GALV_OK) {
        return status;
    }
    double left = 40.0;
    for (size_t row = 0; row < map->n_rows; row++) {
        left = fmax(left, GALV_FIGURE_MARGIN + 12.0 +
                              galv_text_width(map->rows[row], GALV_SIZE_AXIS, false));
    }
    double room = resolved.width_px - left - GALV_FIGURE_MARGIN;
    double width = fmin(MOST_WIDE, floor(room / (double)map->n_columns));
    if (width < LEAST_WIDE) {
        return galv_fail(err, GALV_USAGE, "%zu columns do not fit into %d pixels",
                         map->n_columns, (int)resolved.width_px);
    }
    double bottom = TOP + (double)map->n_rows * ROW;
    double height = bottom + AXIS + (resolved.footer != NULL ? 18.0 : 2.0);
    double used = left + width * (double)map->n_columns + GALV_FIGURE_MARGIN;
    double page_width = fmin(resolved.width_px, fmax(used, LEAST_PAGE));
    galv_canvas *page = galv_canvas_new(ceil(page_width), ceil(height));
    if (page == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    char subtitle[160];
    snprintf(subtitle, sizeof subtitle,
             "best plan by %s; cells of one colour share a layout", map->y_title);
    galv_figure_heading(page, map->title, subtitle);
    for (size_t i = 0; i < map->n_rows * map->n_columns; i++) {
        double x = left + (double)(i % map->n_columns) * width;
        double y = bottom - (double)(i / map->n_columns + 1) * ROW;
        draw_cell(page, map, i, x, y, width);
    }
    draw_axes(page, map, left, width, bottom);
    galv_figure_footer(page, resolved.footer);
    *canvas = page;
    return GALV_OK;
}

galv_status galv_plan_map_draw(const galv_plan_map *map, const char *path,
                               const galv_figure_options *options, galv_err *err)
{
    galv_canvas *canvas = NULL;
    galv_status status = galv_canvas_check_path(path, err);
    if (status == GALV_OK) {
        status = galv_plan_map_compose(&canvas, map, options, err);
    }
    return galv_figure_finish(canvas, status, path, options, err);
}
