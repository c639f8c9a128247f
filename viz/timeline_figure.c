/* Putting the timeline figure together.
 *
 * Three shapes, chosen by how wide a cell would be. Wide enough to be read: one frame
 * with every cell. Too narrow: an overview of the whole iteration, and below it three
 * windows at one common scale (begin, middle, end), in which cells can be read; boxes
 * on the overview say where they are. A plan without a pipeline has one row: a close-up
 * of its layers is added. Heights are added up first, since the page is as high as what
 * stands on it. Left out: arrows of dependencies and the critical path, which a
 * timeline does not hold. */
#include "viz/timeline_figure.h"

#include "viz/figure_internal.h"
#include "viz/timeline_parts_internal.h"

#include <math.h>
#include <stdio.h>

#define LEFT           72.0
#define RIGHT          24.0
#define TOP            60.0
#define AXIS           24.0
#define STRIP          56.0
#define STRIP_GAP      10.0
#define BOX_LABEL      8.0 /* names of windows below the overview */
#define NOTE           14.0
#define FOOT           20.0
#define READABLE_PX    9.0  /* narrower median cells call for windows */
#define WINDOW_GAP     22.0 /* between windows, with the break marks */
#define WINDOW_HEAD    30.0
#define N_WINDOWS      3
#define MOST_TALL_ROWS 32

typedef struct figure_sheet {
    galv_scene *scene;
    const galv_figure_options *options;
    galv_frame whole;
    bool windowed; /* overview and windows */
    bool close_up;
    galv_close_up detail;     /* if close_up */
    galv_row_layout rows;     /* of cells */
    galv_row_layout overview; /* if windowed */
    galv_frame windows[N_WINDOWS];
    double strip_y; /* memory; 0 = none */
    double axis_y;  /* of the whole */
    double note_y;
    double windows_y;
    double close_up_y;
    double legend_y;
    double height;
    galv_legend_entry legend[GALV_N_INKS + 4];
    size_t n_legend;
    char texts[2][64]; /* legend texts made here */
} figure_sheet;

/* ---- layout ---- */

static double row_height(int32_t n_rows)
{
    return n_rows <= MOST_TALL_ROWS ? 22.0 : 12.0;
}

static void choose_windows(figure_sheet *sheet)
{
    const galv_scene *scene = sheet->scene;
    double w = (sheet->whole.w - (N_WINDOWS - 1) * WINDOW_GAP) / N_WINDOWS;
    int32_t most = 0;
    for (size_t i = 0; i < scene->n_cells; i++) {
        most = scene->cells[i].micro_batch > most ? scene->cells[i].micro_batch : most;
    }
    char widest[32];
    snprintf(widest, sizeof widest, "%d", (int)most);
    double wide_px = galv_text_width(widest, GALV_SIZE_CELL, false) + 3.0;
    double narrow_px = galv_text_width("00", GALV_SIZE_CELL, false) + 3.0;
    double px_per_s =
        fmax(wide_px / scene->median_s, fmin(wide_px, narrow_px) / scene->forward_s);
    double length_s = fmin(w / px_per_s, scene->duration_s / N_WINDOWS);
    double middle_s = scene->steady_end_s > scene->steady_start_s
                          ? (scene->steady_start_s + scene->steady_end_s) / 2.0
                          : scene->duration_s / 2.0;
    double last_end_s = fmin(scene->duration_s, scene->compute_end_s + 0.5 * length_s);
    double starts[N_WINDOWS] = {0.0, middle_s - length_s / 2.0, last_end_s - length_s};
    for (int i = 0; i < N_WINDOWS; i++) {
        sheet->windows[i].x = sheet->whole.x + i * (w + WINDOW_GAP);
        sheet->windows[i].w = w;
        sheet->windows[i].start_s = starts[i];
        sheet->windows[i].end_s = starts[i] + length_s;
    }
}

static void add_legend(figure_sheet *sheet, galv_legend_entry entry)
{
    sheet->legend[sheet->n_legend++] = entry;
}

static void collect_legend(figure_sheet *sheet)
{
    const galv_scene *scene = sheet->scene;
    bool split = scene->ink_used[GALV_INK_WEIGHT] ||
                 (sheet->close_up && sheet->detail.ink_used[GALV_INK_WEIGHT]);
    galv_stroke none = {0, 0.0, GALV_DASH_SOLID};
    for (int ink = 0; ink < GALV_N_INKS; ink++) {
        bool used = scene->ink_used[ink] ||
                    (sheet->rows.lanes && scene->lane_ink_used[ink]) ||
                    (sheet->close_up && sheet->detail.ink_used[ink]);
        if (used || ink == GALV_INK_IDLE) {
            const char *text = galv_ink_legend((galv_ink)ink);
            if (ink == GALV_INK_BACKWARD && split) {
                text = sheet->close_up || scene->whole_backward
                           ? "backward, input gradient"
                           : "input gradient";
            }
            galv_legend_entry entry = {
                text, GALV_LEGEND_SWATCH, galv_ink_fill((galv_ink)ink),
                none, GALV_MARKER_CIRCLE, false};
            if (ink == GALV_INK_IDLE) {
                entry.stroke = galv_line(0xBFBFBF, 0.5);
            }
            add_legend(sheet, entry);
        }
    }
    int32_t n_chunks = scene->timeline->n_chunks;
    if (n_chunks > 1) {
        galv_fill light = galv_ink_fill(GALV_INK_FORWARD);
        light.color = galv_color_shade(light.color, n_chunks - 1, n_chunks);
        snprintf(sheet->texts[1], sizeof sheet->texts[1],
                 n_chunks == 2 ? "lighter: chunk %d"
                               : "lighter: chunks 1\xE2\x80\x93%d",
                 (int)(n_chunks - 1));
        galv_legend_entry entry = {sheet->texts[1],
                                   GALV_LEGEND_SWATCH,
                                   light,
                                   none,
                                   GALV_MARKER_CIRCLE,
                                   false};
        add_legend(sheet, entry);
    }
    if (scene->worst_rank >= 0) {
        char label[48];
        galv_scene_row_label(scene, scene->worst_rank, label, sizeof label);
        snprintf(sheet->texts[0], sizeof sheet->texts[0], "memory, %s", label);
        galv_legend_entry line = {scene->timeline->n_ranks > 1 ? sheet->texts[0]
                                                               : "memory",
                                  GALV_LEGEND_LINE,
                                  galv_plain(GALV_COLOR_AXIS),
                                  galv_line(GALV_COLOR_AXIS, 1.5),
                                  GALV_MARKER_CIRCLE,
                                  false};
        add_legend(sheet, line);
        bool apart = scene->timeline->rank_limit_bytes != NULL;
        galv_legend_entry band = {!scene->rows_are_stages ? "memory, all ranks"
                                  : apart                 ? "memory, its pool"
                                                          : "memory, all stages",
                                  GALV_LEGEND_SWATCH,
                                  galv_plain(0xD9D9D9),
                                  none,
                                  GALV_MARKER_CIRCLE,
                                  false};
        if (scene->timeline->n_ranks > 1) {
            add_legend(sheet, band);
        }
    }
}

/* Height of the memory strip with its gap; 0 without samples. */
static double strip_height(const galv_scene *scene)
{
    return scene->worst_rank >= 0 ? STRIP_GAP + STRIP : 0.0;
}

static void find_inks(figure_sheet *sheet)
{
    for (int i = -1; i < (sheet->windowed ? N_WINDOWS : 0); i++) {
        const galv_frame *frame = i < 0 ? &sheet->whole : &sheet->windows[i];
        double px_s = (frame->end_s - frame->start_s) / frame->w;
        galv_scene_find_inks(sheet->scene, frame->start_s, frame->end_s,
                             GALV_SMALLEST_PX * px_s);
    }
}

static void lay_out(figure_sheet *sheet)
{
    const galv_scene *scene = sheet->scene;
    bool phases = scene->n_stages > 1 && scene->steady_start_s >= 0.0;
    double y = phases ? TOP : TOP - 12.0;
    sheet->rows.height = row_height(scene->n_shown);
    sheet->rows.gap = sheet->rows.height > 14.0 ? 4.0 : 2.0;
    sheet->rows.lanes = sheet->options->streams;
    if (sheet->windowed) {
        sheet->overview.y = y;
        sheet->overview.gap = 1.0;
        sheet->overview.height = scene->n_shown <= 4   ? 16.0
                                 : scene->n_shown <= 8 ? 12.0
                                                       : 9.0;
        y += scene->n_shown * (sheet->overview.height + 1.0) - 1.0;
    } else {
        sheet->rows.y = y;
        y += galv_rows_height(scene, &sheet->rows);
    }
    if (strip_height(scene) > 0.0) {
        y += sheet->windowed ? BOX_LABEL : 0.0;
        sheet->strip_y = y + STRIP_GAP;
        y += strip_height(scene);
    } else {
        y += sheet->windowed ? 16.0 : 4.0;
    }
    sheet->axis_y = y;
    y += AXIS;
    if (sheet->windowed) {
        sheet->windows_y = y;
        sheet->rows.y = y + WINDOW_HEAD;
        choose_windows(sheet);
        y = sheet->rows.y + galv_rows_height(scene, &sheet->rows) + 3.0 + AXIS;
    }
    if (scene->n_shown < scene->timeline->n_ranks) {
        sheet->note_y = y;
        y += NOTE;
    }
    if (sheet->close_up) {
        sheet->close_up_y = y;
        y += galv_close_up_height(&sheet->detail);
    }
    find_inks(sheet);
    collect_legend(sheet);
    sheet->legend_y = y + 12.0;
    y +=
        6.0 + galv_figure_legend_height(sheet->whole.w, sheet->legend, sheet->n_legend);
    y += sheet->options->footer != NULL && sheet->options->footer[0] != '\0' ? FOOT
                                                                             : 8.0;
    sheet->height = ceil(y);
}

/* ---- drawing ---- */

static void draw_break(galv_canvas *canvas, double x, double y)
{
    galv_stroke line = galv_line(GALV_COLOR_AXIS, 0.75);
    for (int i = 0; i < 2; i++) {
        double at = x + (i == 0 ? -2.5 : 2.5);
        galv_canvas_line(canvas, at - 2.0, y + 4.0, at + 2.0, y - 4.0, line);
    }
}

static void draw_windows(galv_canvas *canvas, const figure_sheet *sheet)
{
    static const char *const names[N_WINDOWS] = {"a", "b", "c"};
    static const char *const pipeline[N_WINDOWS] = {"warm-up", "steady phase",
                                                    "cool-down and flush"};
    static const char *const plain[N_WINDOWS] = {"begin", "middle", "end"};
    const galv_scene *scene = sheet->scene;
    const char *const *titles =
        scene->n_stages > 1 && scene->steady_end_s > scene->steady_start_s ? pipeline
                                                                           : plain;
    double bottom = sheet->rows.y + galv_rows_height(scene, &sheet->rows);
    galv_draw_row_labels(canvas, scene, sheet->whole.x, &sheet->rows);
    for (int i = 0; i < N_WINDOWS; i++) {
        const galv_frame *window = &sheet->windows[i];
        galv_draw_rows(canvas, scene, window, &sheet->rows);
        galv_draw_time_axis(canvas, window, bottom + 3.0, scene->duration_s, false);
        galv_canvas_tag(canvas, "window", i);
        char heading[96];
        char full[96];
        snprintf(full, sizeof full, "%s \xC2\xB7 %s", names[i], titles[i]);
        galv_text_fit(heading, sizeof heading, full, window->w, GALV_SIZE_AXIS, true);
        galv_canvas_text(
            canvas, window->x, sheet->rows.y - 7.0,
            galv_style_bold(GALV_SIZE_AXIS, GALV_COLOR_TEXT, GALV_ALIGN_LEFT), heading);
        if (i > 0) {
            draw_break(canvas, window->x - WINDOW_GAP / 2.0, bottom + 3.0);
        }
    }
}

/* Boxes on the overview that say where the windows are. */
static void draw_window_boxes(galv_canvas *canvas, const figure_sheet *sheet)
{
    static const char *const names[N_WINDOWS] = {"a", "b", "c"};
    double top = sheet->overview.y;
    double height =
        sheet->scene->n_shown * (sheet->overview.height + sheet->overview.gap) - 1.0;
    galv_canvas_tag(canvas, "window boxes", -1);
    for (int i = 0; i < N_WINDOWS; i++) {
        double x0 = galv_frame_x(&sheet->whole, sheet->windows[i].start_s);
        double x1 = galv_frame_x(&sheet->whole, sheet->windows[i].end_s);
        galv_canvas_outline(canvas, x0, top - 1.0, x1 - x0, height + 2.0,
                            galv_line(GALV_COLOR_TEXT, 1.2));
        galv_canvas_text(
            canvas, (x0 + x1) / 2.0, top + height + 10.5,
            galv_style_bold(GALV_SIZE_TICK, GALV_COLOR_TEXT, GALV_ALIGN_CENTER),
            names[i]);
    }
}

/* The verdict and who gave it; on a narrow page the verdict is cut, never its origin.
 */
static void print_subtitle(char *buffer, size_t size, const galv_timeline *timeline,
                           double page_width)
{
    const char *origin = timeline->measured ? "measured" : "simulated";
    if (timeline->subtitle[0] == '\0') {
        snprintf(buffer, size, "%s", origin);
        return;
    }
    char verdict[256];
    double room = page_width - 2.0 * GALV_FIGURE_MARGIN -
                  galv_text_width(" \xC2\xB7 ", GALV_SIZE_SUBTITLE, false) -
                  galv_text_width(origin, GALV_SIZE_SUBTITLE, false);
    galv_text_fit(verdict, sizeof verdict, timeline->subtitle, room, GALV_SIZE_SUBTITLE,
                  false);
    snprintf(buffer, size, "%s \xC2\xB7 %s", verdict, origin);
}

static galv_status draw_sheet(galv_canvas *canvas, const figure_sheet *sheet,
                              galv_err *err)
{
    const galv_scene *scene = sheet->scene;
    const galv_timeline *timeline = scene->timeline;
    char subtitle[320];
    print_subtitle(subtitle, sizeof subtitle, timeline, sheet->options->width_px);
    char title[192];
    snprintf(title, sizeof title, "%.160s",
             timeline->title[0] != '\0' ? timeline->title : "Timeline");
    galv_figure_heading(canvas, title, subtitle);
    galv_draw_phases(canvas, scene, &sheet->whole, TOP - 3.5);
    galv_status status = GALV_OK;
    if (sheet->windowed) {
        galv_draw_row_labels(canvas, scene, sheet->whole.x, &sheet->overview);
        status =
            galv_draw_overview(canvas, scene, &sheet->whole, &sheet->overview, err);
    } else {
        galv_draw_row_labels(canvas, scene, sheet->whole.x, &sheet->rows);
        galv_draw_rows(canvas, scene, &sheet->whole, &sheet->rows);
        galv_draw_gaps(canvas, scene, &sheet->whole, &sheet->rows);
    }
    if (status == GALV_OK && sheet->strip_y > 0.0) {
        status = galv_draw_memory_strip(canvas, scene, &sheet->whole, sheet->strip_y,
                                        STRIP, err);
    }
    galv_draw_time_axis(canvas, &sheet->whole, sheet->axis_y, scene->duration_s, true);
    if (sheet->windowed) {
        draw_window_boxes(canvas, sheet);
        draw_windows(canvas, sheet);
    }
    if (sheet->note_y > 0.0) {
        galv_canvas_tag(canvas, "note", -1);
        galv_canvas_printf(
            canvas, sheet->whole.x, sheet->note_y + 9.0,
            galv_style(GALV_SIZE_TICK, GALV_COLOR_FOOTER, GALV_ALIGN_LEFT),
            "\xE2\x80\xA6 %d similar %s not shown",
            (int)(timeline->n_ranks - scene->n_shown),
            scene->rows_are_stages ? "stages" : "ranks");
    }
    if (sheet->close_up) {
        galv_draw_close_up(canvas, scene, &sheet->detail, sheet->close_up_y);
    }
    galv_figure_legend(canvas, sheet->whole.x, sheet->legend_y, sheet->whole.w,
                       sheet->legend, sheet->n_legend);
    galv_figure_footer(canvas, sheet->options->footer);
    return status;
}

/* Is there something to see between the cells of a single row? */
static bool has_layers(const galv_scene *scene)
{
    size_t n_computing = 0;
    for (size_t i = 0; i < scene->timeline->n_spans; i++) {
        n_computing += galv_span_computes(&scene->timeline->spans[i]);
    }
    size_t n_cells = scene->lane_begin[0] - scene->row_begin[0];
    return scene->timeline->n_ranks == 1 && n_computing >= 4 * n_cells;
}

static galv_status compose(galv_canvas **canvas, galv_scene *scene,
                           const galv_figure_options *options, galv_err *err)
{
    figure_sheet sheet = {.scene = scene, .options = options};
    double w = options->width_px - LEFT - RIGHT;
    bool chosen = options->window_start_s != 0.0 || options->window_end_s != 0.0;
    double start_s = chosen ? options->window_start_s : 0.0;
    double end_s =
        chosen ? fmin(options->window_end_s, scene->duration_s) : scene->duration_s;
    if (!(start_s >= 0.0 && end_s > start_s)) {
        return galv_fail(err, GALV_USAGE,
                         "the window from %g s to %g s holds nothing of an iteration "
                         "of %g s",
                         options->window_start_s, options->window_end_s,
                         scene->duration_s);
    }
    sheet.whole = (galv_frame){LEFT, w, start_s, end_s};
    sheet.windowed = !chosen && scene->median_s / scene->duration_s * w < READABLE_PX;
    sheet.close_up = !chosen && has_layers(scene);
    if (sheet.close_up) {
        sheet.detail = galv_close_up_choose(scene, LEFT, w);
    }
    lay_out(&sheet);
    galv_canvas *page = galv_canvas_new(options->width_px, sheet.height);
    if (page == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    galv_status status = draw_sheet(page, &sheet, err);
    if (status != GALV_OK) {
        galv_canvas_free(page);
        return status;
    }
    *canvas = page;
    return GALV_OK;
}

galv_status galv_timeline_compose(galv_canvas **canvas, const galv_timeline *timeline,
                                  const galv_figure_options *options, galv_err *err)
{
    galv_figure_options resolved;
    galv_status status = galv_figure_resolve(&resolved, options, 1000, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    galv_scene scene;
    status = galv_scene_make(&scene, timeline, resolved.all_rows, arena, err);
    if (status == GALV_OK) {
        status = compose(canvas, &scene, &resolved, err);
    }
    galv_arena_free(arena);
    return status;
}

galv_status galv_timeline_draw(const galv_timeline *timeline, const char *path,
                               const galv_figure_options *options, galv_err *err)
{
    galv_canvas *canvas = NULL;
    galv_status status = galv_canvas_check_path(path, err);
    if (status == GALV_OK) {
        status = galv_timeline_compose(&canvas, timeline, options, err);
    }
    return galv_figure_finish(canvas, status, path, options, err);
}
