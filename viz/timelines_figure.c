/* Small multiples: the same drawing of rows as in the timeline figure, one block per
 * timeline, on one time axis, so that a difference is a length. A block ends where its
 * iteration ends, with the time it took. Rows whose cells would be too narrow to read
 * are drawn as shares of time instead (timeline_strip.c). Memory is left out: its
 * scales differ, and the memory figure compares it. */
#include "viz/timelines_figure.h"

#include "viz/figure_internal.h"
#include "viz/timeline_parts_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LEFT        72.0
#define RIGHT       64.0 /* for the times at the blocks' ends */
#define TOP         30.0 /* below the title */
#define BLOCK_HEAD  34.0
#define BLOCK_GAP   10.0
#define AXIS        24.0
#define READABLE_PX 9.0

typedef struct timeline_block {
    galv_scene scene;
    galv_frame frame;
    galv_row_layout rows;
    bool dense; /* shares instead of cells */
    double y;   /* of the heading */
} timeline_block;

typedef struct block_sheet {
    timeline_block blocks[GALV_MOST_TIMELINES];
    size_t n_blocks;
    const galv_figure_options *options;
    const char *title;
    double start_s, end_s; /* of the axis */
    double longest_s;
    double axis_y;
} block_sheet;

/* Lays the blocks out from the top; returns where they end. */
static double lay_out(block_sheet *sheet)
{
    double w = sheet->options->width_px - LEFT - RIGHT;
    bool titled = sheet->title != NULL && sheet->title[0] != '\0';
    double y = titled ? TOP : 4.0;
    for (size_t i = 0; i < sheet->n_blocks; i++) {
        timeline_block *block = &sheet->blocks[i];
        double end_s = fmin(block->scene.duration_s, sheet->end_s);
        double share = (end_s - sheet->start_s) / (sheet->end_s - sheet->start_s);
        block->frame = (galv_frame){LEFT, w * share, sheet->start_s, end_s};
        double cell_px = block->scene.median_s / (sheet->end_s - sheet->start_s) * w;
        block->dense = cell_px < READABLE_PX;
        block->y = y;
        block->rows.y = y + BLOCK_HEAD;
        block->rows.height = block->dense               ? 9.0
                             : block->scene.n_shown > 8 ? 14.0
                                                        : 18.0;
        block->rows.gap = block->dense ? 1.0 : 2.0;
        y = block->rows.y + galv_rows_height(&block->scene, &block->rows) + BLOCK_GAP;
    }
    return y - BLOCK_GAP + 6.0;
}

static size_t make_legend(galv_legend_entry legend[GALV_N_INKS + 1], block_sheet *sheet)
{
    bool used[GALV_N_INKS] = {false};
    bool chunks = false;
    for (size_t i = 0; i < sheet->n_blocks; i++) {
        timeline_block *block = &sheet->blocks[i];
        const galv_frame *frame = &block->frame;
        chunks = chunks || (!block->dense && block->scene.timeline->n_chunks > 1);
        if (frame->end_s <= frame->start_s) {
            continue;
        }
        galv_scene_find_inks(&block->scene, frame->start_s, frame->end_s,
                             GALV_SMALLEST_PX * (frame->end_s - frame->start_s) /
                                 frame->w);
        for (int ink = 0; ink < GALV_N_INKS; ink++) {
            used[ink] = used[ink] || block->scene.ink_used[ink];
        }
    }
    used[GALV_INK_IDLE] = true;
    size_t n_legend = 0;
    for (int ink = 0; ink < GALV_N_INKS; ink++) {
        if (used[ink]) {
            bool split = ink == GALV_INK_BACKWARD && used[GALV_INK_WEIGHT];
            galv_legend_entry entry = {.text = split ? "backward, input gradient"
                                                     : galv_ink_legend((galv_ink)ink),
                                       .fill = galv_ink_fill((galv_ink)ink)};
            if (ink == GALV_INK_IDLE) {
                entry.stroke = galv_line(0xBFBFBF, 0.5);
            }
            legend[n_legend++] = entry;
        }
    }
    if (chunks) {
        galv_fill light = galv_ink_fill(GALV_INK_FORWARD);
        light.color = galv_color_shade(light.color, 1, 2);
        legend[n_legend++] =
            (galv_legend_entry){.text = "lighter: later chunks", .fill = light};
    }
    return n_legend;
}

static void draw_heading(galv_canvas *canvas, const timeline_block *block, size_t index,
                         double page_width)
{
    const galv_timeline *timeline = block->scene.timeline;
    double room = page_width - 2.0 * GALV_FIGURE_MARGIN;
    char text[384];
    char fitted[256];
    galv_canvas_tag(canvas, "block", (int32_t)index);
    snprintf(text, sizeof text, "%.160s",
             timeline->title[0] != '\0' ? timeline->title : "Timeline");
    galv_text_fit(fitted, sizeof fitted, text, room, GALV_SIZE_AXIS, true);
    galv_canvas_text(canvas, GALV_FIGURE_MARGIN, block->y + 14.0,
                     galv_style_bold(GALV_SIZE_AXIS, GALV_COLOR_TEXT, GALV_ALIGN_LEFT),
                     fitted);
    snprintf(text, sizeof text, "%s%s%.200s",
             timeline->measured ? "measured" : "simulated",
             timeline->subtitle[0] != '\0' ? " \xC2\xB7 " : "", timeline->subtitle);
    if (block->scene.n_shown < timeline->n_ranks) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, " \xC2\xB7 %d of %d %s shown",
                 (int)block->scene.n_shown, (int)timeline->n_ranks,
                 block->scene.rows_are_stages ? "stages" : "ranks");
    }
    galv_text_fit(fitted, sizeof fitted, text, room, GALV_SIZE_TICK, false);
    galv_canvas_text(canvas, GALV_FIGURE_MARGIN, block->y + 26.0,
                     galv_style(GALV_SIZE_TICK, GALV_COLOR_AXIS, GALV_ALIGN_LEFT),
                     fitted);
}

/* The time at the end of a block, if its end is on the page. */
static void draw_end(galv_canvas *canvas, const block_sheet *sheet,
                     const timeline_block *block)
{
    if (block->scene.duration_s > sheet->end_s * (1.0 + 1e-9)) {
        return;
    }
    galv_time_unit unit = galv_time_unit_for(sheet->longest_s);
    char number[32];
    double x = block->frame.x + block->frame.w;
    double bottom = block->rows.y + galv_rows_height(&block->scene, &block->rows);
    galv_canvas_line(canvas, x, block->rows.y - 3.0, x, bottom + 3.0,
                     galv_line(GALV_COLOR_AXIS, 1.0));
    galv_print_figures(number, sizeof number, block->scene.duration_s / unit.seconds);
    galv_canvas_printf(
        canvas, x + 5.0, (block->rows.y + bottom) / 2.0 + 3.0,
        galv_style_bold(GALV_SIZE_TICK, GALV_COLOR_TEXT, GALV_ALIGN_LEFT), "%s %s",
        number, unit.name);
}

static galv_status draw_block(galv_canvas *canvas, const block_sheet *sheet,
                              size_t index, galv_err *err)
{
    const timeline_block *block = &sheet->blocks[index];
    draw_heading(canvas, block, index, sheet->options->width_px);
    galv_draw_row_labels(canvas, &block->scene, LEFT, &block->rows);
    if (block->frame.end_s <= block->frame.start_s) {
        return GALV_OK; /* over before the window begins */
    }
    galv_status status = GALV_OK;
    if (block->dense) {
        status =
            galv_draw_overview(canvas, &block->scene, &block->frame, &block->rows, err);
    } else {
        galv_draw_rows(canvas, &block->scene, &block->frame, &block->rows);
    }
    draw_end(canvas, sheet, block);
    return status;
}

static galv_status compose(galv_canvas **canvas, block_sheet *sheet, galv_err *err)
{
    const galv_figure_options *options = sheet->options;
    bool chosen = options->window_start_s != 0.0 || options->window_end_s != 0.0;
    sheet->start_s = chosen ? options->window_start_s : 0.0;
    sheet->end_s =
        chosen ? fmin(options->window_end_s, sheet->longest_s) : sheet->longest_s;
    if (!(sheet->start_s >= 0.0 && sheet->end_s > sheet->start_s)) {
        return galv_fail(
            err, GALV_USAGE, "the window from %g s to %g s holds nothing of %g s",
            options->window_start_s, options->window_end_s, sheet->longest_s);
    }
    sheet->axis_y = lay_out(sheet);
    galv_legend_entry legend[GALV_N_INKS + 1];
    size_t n_legend = make_legend(legend, sheet);
    double w = options->width_px - LEFT - RIGHT;
    double legend_y = sheet->axis_y + AXIS + 12.0;
    bool footed = options->footer != NULL && options->footer[0] != '\0';
    double height = legend_y - 6.0 + galv_figure_legend_height(w, legend, n_legend) +
                    (footed ? 20.0 : 8.0);
    galv_canvas *page = galv_canvas_new(options->width_px, ceil(height));
    if (page == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    galv_figure_heading(page, sheet->title, NULL);
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK && i < sheet->n_blocks; i++) {
        status = draw_block(page, sheet, i, err);
    }
    galv_frame frame = {LEFT, w, sheet->start_s, sheet->end_s};
    galv_draw_time_axis(page, &frame, sheet->axis_y, sheet->longest_s, true);
    galv_figure_legend(page, LEFT, legend_y, w, legend, n_legend);
    galv_figure_footer(page, options->footer);
    if (status != GALV_OK) {
        galv_canvas_free(page);
        return status;
    }
    *canvas = page;
    return GALV_OK;
}

galv_status galv_timelines_compose(galv_canvas **canvas,
                                   const galv_timeline *const *timelines,
                                   size_t n_timelines, const char *title,
                                   const galv_figure_options *options, galv_err *err)
{
    galv_figure_options resolved;
    galv_status status = galv_figure_resolve(&resolved, options, 1000, err);
    if (status != GALV_OK) {
        return status;
    }
    if (n_timelines == 0 || n_timelines > GALV_MOST_TIMELINES) {
        return galv_fail(err, GALV_USAGE,
                         "%zu timelines cannot be drawn together, 1 to %d can",
                         n_timelines, GALV_MOST_TIMELINES);
    }
    galv_arena *arena = galv_arena_new();
    block_sheet *sheet = arena != NULL ? GALV_NEW(arena, block_sheet) : NULL;
    if (sheet == NULL) {
        galv_arena_free(arena);
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    sheet->options = &resolved;
    sheet->title = title;
    sheet->n_blocks = n_timelines;
    for (size_t i = 0; status == GALV_OK && i < n_timelines; i++) {
        galv_scene *scene = &sheet->blocks[i].scene;
        status = galv_scene_make(scene, timelines[i], resolved.all_rows, arena, err);
        sheet->longest_s = fmax(sheet->longest_s, scene->duration_s);
    }
    if (status == GALV_OK) {
        status = compose(canvas, sheet, err);
    }
    galv_arena_free(arena);
    return status;
}

galv_status galv_timelines_draw(const galv_timeline *const *timelines,
                                size_t n_timelines, const char *title, const char *path,
                                const galv_figure_options *options, galv_err *err)
{
    galv_canvas *canvas = NULL;
    galv_status status = galv_canvas_check_path(path, err);
    if (status == GALV_OK) {
        status = galv_timelines_compose(&canvas, timelines, n_timelines, title, options,
                                        err);
    }
    return galv_figure_finish(canvas, status, path, options, err);
}
