/* The timeline figure: what is drawn is what happened, nothing overlaps, and the page
 * says no more than there is. Shapes come from sample_timelines.h, whose arithmetic is
 * that of the schedules and not of the figure. */
#include "viz/timeline_figure.h"

#include "tests/viz/drawing.h"
#include "tests/viz/sample_timelines.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

GALV_DRAWING_SUITE(viz_timeline);

#define LEFT_PX  72.0
#define FRAME_PX 904.0 /* of a page 1000 px wide */

static galv_canvas *compose(const galv_timeline *timeline,
                            const galv_figure_options *options)
{
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_status status = galv_timeline_compose(&canvas, timeline, options, &err);
    cr_assert_eq(status, GALV_OK, "%s", err.message);
    return canvas;
}

static galv_canvas *compose_shape(const sample_shape *shape,
                                  const galv_figure_options *options)
{
    galv_arena *arena = galv_arena_new();
    galv_timeline timeline = sample_timeline(shape, arena);
    galv_canvas *canvas = compose(&timeline, options);
    galv_arena_free(arena);
    return canvas;
}

Test(viz_timeline, no_texts_meet_whatever_the_shape_and_the_width)
{
    const int32_t widths[] = {0, 336, 690, 1600};
    for (size_t i = 0; i < N_SAMPLE_SHAPES; i++) {
        for (size_t w = 0; w < 4; w++) {
            for (int streams = 0; streams < 2; streams++) {
                galv_figure_options options = GALV_FIGURE_OPTIONS_INIT;
                options.width_px = widths[w];
                options.streams = streams == 1;
                options.all_rows = streams == 1;
                options.footer = "galvatron-sim 0.1.0";
                galv_canvas *canvas = compose_shape(&sample_shapes[i].shape, &options);
                galv_text meetings = GALV_TEXT_INIT;
                cr_expect_eq(galv_canvas_describe_collisions(canvas, &meetings), 0,
                             "%s, %d px: %s", sample_shapes[i].name, (int)widths[w],
                             galv_text_string(&meetings));
                galv_text_release(&meetings);
                galv_canvas_free(canvas);
            }
        }
    }
}

Test(viz_timeline, nothing_leaves_the_page_and_no_text_is_tiny)
{
    for (size_t i = 0; i < N_SAMPLE_SHAPES; i++) {
        galv_canvas *canvas = compose_shape(&sample_shapes[i].shape, NULL);
        double width = galv_canvas_width(canvas), height = galv_canvas_height(canvas);
        for (size_t k = 0; k < galv_canvas_n_items(canvas); k++) {
            const galv_item *item = galv_canvas_item(canvas, k);
            bool inside = true;
            if (item->kind == GALV_ITEM_RECT) {
                inside = item->x >= 0 && item->y >= 0 && item->x + item->w <= width &&
                         item->y + item->h <= height;
            } else if (item->kind == GALV_ITEM_TEXT) {
                cr_expect(item->style.size >= 7.5, "%s: '%s'", sample_shapes[i].name,
                          item->string);
            }
            for (size_t p = 0; p < item->n_points; p++) {
                inside = inside && item->points[p].x >= 0 &&
                         item->points[p].x <= width && item->points[p].y >= 0 &&
                         item->points[p].y <= height;
            }
            cr_expect(inside, "%s: item %zu of [%s]", sample_shapes[i].name, k,
                      item->tag);
        }
        galv_canvas_free(canvas);
    }
}

/* Rectangles of cells on row `rank`, without those that clear the ground for a number.
 */
static bool is_cell(const galv_item *item, int32_t rank)
{
    return item->kind == GALV_ITEM_RECT && item->row == rank &&
           strcmp(item->tag, "cells") == 0 && item->h > 10.0;
}

Test(viz_timeline, cells_lie_in_the_frame_do_not_overlap_and_are_as_wide_as_their_time)
{
    const size_t whole[] = {0, 1, 3, 8, 9, 10}; /* shapes drawn in one frame */
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        const sample_shape *s = &sample_shapes[whole[i]].shape;
        galv_canvas *canvas = compose_shape(s, NULL);
        galv_arena *arena = galv_arena_new();
        double duration = sample_timeline(s, arena).duration_s;
        galv_arena_free(arena);
        /* each micro-batch computes f + b per chunk (f again when recomputed); of the
           layered shape the last span of a pass leaves its 20 % of messages out */
        double per_pass = s->forward_s * (s->recompute ? 2.0 : 1.0) + s->backward_s;
        double cut = s->layers ? 0.2 * (s->forward_s + s->backward_s) / s->n_layers : 0;
        double busy = s->m * s->v * (per_pass - cut) + s->optimizer_s;
        for (int32_t rank = 0; rank < s->p; rank++) {
            double sum = 0.0, end = LEFT_PX;
            for (size_t k = 0; k < galv_canvas_n_items(canvas); k++) {
                const galv_item *item = galv_canvas_item(canvas, k);
                if (!is_cell(item, rank)) {
                    continue;
                }
                cr_expect(item->x >= end - 1e-6, "%s, stage %d: %.2f < %.2f",
                          sample_shapes[whole[i]].name, (int)rank, item->x, end);
                end = item->x + item->w;
                sum += item->w + (item->w > 2.5 ? 0.5 : 0.0); /* the white border */
            }
            cr_expect(end <= LEFT_PX + FRAME_PX + 1e-6, "%s",
                      sample_shapes[whole[i]].name);
            cr_expect_float_eq(sum, busy / duration * FRAME_PX, 0.5, "%s, stage %d: %g",
                               sample_shapes[whole[i]].name, (int)rank, sum);
        }
        galv_canvas_free(canvas);
    }
}

Test(viz_timeline, first_cell_of_a_stage_begins_after_the_forwards_above_it)
{
    const sample_shape *s = &sample_shapes[10].shape; /* two stages, no messages */
    galv_canvas *canvas = compose_shape(s, NULL);
    /* step of 1F1B with free messages: (m + p - 1)(f + b) */
    double px_per_s = FRAME_PX / ((s->m + s->p - 1) * (s->forward_s + s->backward_s));
    for (size_t k = 0; k < galv_canvas_n_items(canvas); k++) {
        const galv_item *item = galv_canvas_item(canvas, k);
        if (is_cell(item, 1)) {
            cr_expect_float_eq(item->x, LEFT_PX + 1000.0 * px_per_s, 0.3);
            break;
        }
    }
    galv_canvas_free(canvas);
}

Test(viz_timeline, says_who_made_it)
{
    galv_arena *arena = galv_arena_new();
    galv_timeline timeline = sample_timeline(&sample_shapes[0].shape, arena);
    galv_canvas *canvas = compose(&timeline, NULL);
    cr_expect_not_null(find_text(canvas, "peak 54.0 of 79.6 GiB \xC2\xB7 simulated"));
    cr_expect_not_null(find_text(canvas, timeline.title));
    galv_canvas_free(canvas);
    timeline.measured = true;
    timeline.subtitle[0] = '\0';
    canvas = compose(&timeline, NULL);
    const galv_item *origin = find_text(canvas, "measured");
    cr_assert_not_null(origin);
    cr_expect_str_eq(origin->string, "measured");
    galv_canvas_free(canvas);
    galv_arena_free(arena);
}

Test(viz_timeline, says_so_on_a_narrow_page_too)
{
    galv_figure_options options = {.width_px = 320};
    galv_canvas *canvas = compose_shape(&sample_shapes[0].shape, &options);
    cr_expect_not_null(find_text(canvas, "\xE2\x80\xA6 \xC2\xB7 simulated"));
    galv_canvas_free(canvas);
}

Test(viz_timeline, legend_names_what_is_drawn_and_nothing_else)
{
    static const struct {
        size_t shape;
        const char *present[6];
        const char *absent[6];
    } cases[] = {
        {0,
         {"forward", "backward", "optimizer", "data parallel: reduce", "idle"},
         {"weight gradient", "recompute", "tensor parallel", "context parallel",
          "lighter"}},
        {9,
         {"input gradient", "weight gradient", "recompute", "data parallel: reduce"},
         {"optimizer", "pipeline messages", "lighter"}},
        {3,
         {"lighter: chunks 1\xE2\x80\x93"
          "3",
          "memory, all stages"},
         {"optimizer"}},
        {6, {"forward", "memory"}, {"memory, all stages", "warm-up", "data parallel"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_canvas *canvas = compose_shape(&sample_shapes[cases[i].shape].shape, NULL);
        for (int k = 0; k < 6 && cases[i].present[k] != NULL; k++) {
            cr_expect_not_null(find_text(canvas, cases[i].present[k]), "case %zu: %s",
                               i, cases[i].present[k]);
        }
        for (int k = 0; k < 6 && cases[i].absent[k] != NULL; k++) {
            cr_expect_null(find_text(canvas, cases[i].absent[k]), "case %zu: %s", i,
                           cases[i].absent[k]);
        }
        galv_canvas_free(canvas);
    }
}

Test(viz_timeline, memory_strip_shows_the_peak_and_the_limit_even_when_exceeded)
{
    /* stage 0 of 1F1B holds p micro-batches: 28 + 26 = 54 GiB by the sample's sizes */
    galv_canvas *canvas = compose_shape(&sample_shapes[0].shape, NULL);
    cr_expect_not_null(find_text(canvas, "peak 54.0 GiB"));
    cr_expect_not_null(find_text(canvas, "limit 79.6 GiB"));
    galv_canvas_free(canvas);
    canvas = compose_shape(&sample_shapes[2].shape, NULL);
    cr_expect_not_null(find_text(canvas, "limit 50.0 GiB"));
    bool over = false;
    for (size_t k = 0; k < galv_canvas_n_items(canvas); k++) {
        const galv_item *item = galv_canvas_item(canvas, k);
        over = over || (strcmp(item->tag, "memory") == 0 &&
                        item->fill.color == GALV_COLOR_LIMIT && item->fill.alpha == 77);
    }
    cr_expect(over, "what exceeds the limit is tinted");
    galv_canvas_free(canvas);
}

Test(viz_timeline, memory_strip_shows_the_fullest_stage_for_what_it_has)
{
    /* stage 2 holds 25 + 2 x 6.5 = 38 GiB, less than stage 0 but more than it has */
    static double limits[4] = {79.6 * 1073741824, 79.6 * 1073741824, 37 * 1073741824.0,
                               37 * 1073741824.0};
    galv_arena *arena = galv_arena_new();
    galv_timeline timeline = sample_timeline(&sample_shapes[0].shape, arena);
    timeline.rank_limit_bytes = limits;
    galv_canvas *canvas = compose(&timeline, NULL);
    cr_expect_not_null(find_text(canvas, "peak 38.0 GiB"));
    cr_expect_not_null(find_text(canvas, "limit 37.0 GiB"));
    cr_expect_not_null(find_text(canvas, "memory, stage 2"));
    cr_expect_null(find_text(canvas, "memory, all stages"));
    galv_canvas_free(canvas);
    galv_arena_free(arena);
}

Test(viz_timeline, longest_gaps_carry_their_length)
{
    /* stage 0 waits for the first backward: (p - 1)(f + b) - (p - 1) f with free
       messages; shape 8: f = 1 ms, b + recompute = 3 ms, all m forwards first:
       (p - 1)(f + 3 ms) = 12 ms */
    galv_canvas *canvas = compose_shape(&sample_shapes[8].shape, NULL);
    cr_expect_not_null(find_text(canvas, "12.0 ms"));
    cr_expect_not_null(find_text(canvas, "9.00 ms"));
    galv_canvas_free(canvas);
}

static size_t rows_named(const galv_canvas *canvas)
{
    size_t n = 0;
    for (size_t k = 0; k < galv_canvas_n_items(canvas); k++) {
        const galv_item *item = galv_canvas_item(canvas, k);
        n += item->kind == GALV_ITEM_TEXT && strncmp(item->string, "stage ", 6) == 0;
    }
    return n;
}

Test(viz_timeline, many_rows_are_thinned_and_the_rest_is_owned_up_to)
{
    galv_canvas *canvas = compose_shape(&sample_shapes[7].shape, NULL);
    cr_expect_not_null(find_text(canvas, "48 similar stages not shown"));
    cr_expect_not_null(find_text(canvas, "stage 0"));
    cr_expect_not_null(find_text(canvas, "stage 63"));
    cr_expect_eq(rows_named(canvas), 2 * 16); /* overview and windows */
    galv_canvas_free(canvas);
    galv_figure_options options = GALV_FIGURE_OPTIONS_INIT;
    options.all_rows = true;
    canvas = compose_shape(&sample_shapes[7].shape, &options);
    cr_expect_null(find_text(canvas, "not shown"));
    cr_expect_eq(rows_named(canvas), 2 * 64);
    galv_canvas_free(canvas);
}

Test(viz_timeline, many_micro_batches_get_an_overview_and_three_windows_to_read)
{
    galv_canvas *canvas = compose_shape(&sample_shapes[4].shape, NULL);
    cr_expect_not_null(find_text(canvas, "a \xC2\xB7 warm-up"));
    cr_expect_not_null(find_text(canvas, "b \xC2\xB7 steady phase"));
    cr_expect_not_null(find_text(canvas, "c \xC2\xB7 cool-down"));
    cr_expect_not_null(find_text(canvas, "127"), "the last micro-batch can be read");
    double narrowest = 1e9;
    for (size_t k = 0; k < galv_canvas_n_items(canvas); k++) {
        const galv_item *item = galv_canvas_item(canvas, k);
        bool forward = is_cell(item, 0) &&
                       item->fill.color == galv_ink_fill(GALV_INK_FORWARD).color;
        bool cut = item->x <= LEFT_PX + 0.1 || item->x + item->w > 280.0;
        if (forward && !cut) {
            narrowest = fmin(narrowest, item->w);
        }
    }
    cr_expect(narrowest > 11.0, "%.1f px", narrowest);
    galv_canvas_free(canvas);
    /* a window asked for is drawn as it is */
    galv_figure_options options = GALV_FIGURE_OPTIONS_INIT;
    options.window_start_s = 1.0;
    options.window_end_s = 2.0;
    canvas = compose_shape(&sample_shapes[4].shape, &options);
    cr_expect_null(find_text(canvas, "a \xC2\xB7 "));
    cr_expect_null(find_text(canvas, "optimizer"), "not within the window");
    galv_canvas_free(canvas);
}

Test(viz_timeline, one_stage_gets_a_close_up_of_its_layers)
{
    galv_canvas *canvas = compose_shape(&sample_shapes[5].shape, NULL);
    cr_expect_not_null(find_text(canvas, "Close-up"));
    cr_expect_not_null(find_text(canvas, "79"), "the layer at the turn");
    cr_expect_not_null(find_text(canvas, "tensor parallel"));
    cr_expect_null(find_text(canvas, "cool-down"));
    galv_canvas_free(canvas);
}

Test(viz_timeline, streams_get_lanes_of_their_own)
{
    galv_figure_options options = GALV_FIGURE_OPTIONS_INIT;
    options.streams = true;
    galv_canvas *canvas = compose_shape(&sample_shapes[1].shape, &options);
    int lanes[4] = {0, 0, 0, 0};
    for (size_t k = 0; k < galv_canvas_n_items(canvas); k++) {
        const galv_item *item = galv_canvas_item(canvas, k);
        if (item->kind == GALV_ITEM_TEXT) {
            lanes[0] += strcmp(item->string, "tp") == 0;
            lanes[1] += strcmp(item->string, "dp") == 0;
            lanes[2] += strcmp(item->string, "pp") == 0;
            lanes[3] += strcmp(item->string, "ep") == 0;
        }
    }
    cr_expect(lanes[0] == 4 && lanes[1] == 4 && lanes[2] == 4);
    cr_expect_eq(lanes[3], 0, "only lanes in use");
    galv_canvas_free(canvas);
}

Test(viz_timeline, joining_leaves_the_callers_timeline_alone)
{
    galv_arena *arena = galv_arena_new();
    galv_timeline timeline = sample_timeline(&sample_shapes[1].shape, arena);
    size_t n_spans = timeline.n_spans;
    galv_span *copy = GALV_NEW_ARRAY(arena, galv_span, n_spans);
    memcpy(copy, timeline.spans, n_spans * sizeof *copy);
    galv_canvas_free(compose(&timeline, NULL));
    cr_expect_eq(timeline.n_spans, n_spans);
    cr_expect_eq(memcmp(copy, timeline.spans, n_spans * sizeof *copy), 0);
    galv_arena_free(arena);
}

Test(viz_timeline, files_repeat_to_the_byte)
{
    galv_arena *arena = galv_arena_new();
    galv_timeline timeline = sample_timeline(&sample_shapes[2].shape, arena);
    const char *const names[] = {"t.png", "t.svg", "t.pdf"};
    for (int i = 0; i < 3; i++) {
        char paths[2][256];
        char *bytes[2];
        size_t lengths[2] = {0, 0};
        for (int run = 0; run < 2; run++) {
            galv_err err = GALV_ERR_INIT;
            make_path(paths[run], names[i]);
            cr_assert_eq(galv_timeline_draw(&timeline, paths[run], NULL, &err), GALV_OK,
                         "%s", err.message);
            bytes[run] = slurp(paths[run], &lengths[run]);
            remove_path(paths[run]);
        }
        cr_expect(lengths[0] == lengths[1] && lengths[0] > 1000 &&
                      memcmp(bytes[0], bytes[1], lengths[0]) == 0,
                  "%s differs", names[i]);
        free(bytes[0]);
        free(bytes[1]);
    }
    galv_arena_free(arena);
}

Test(viz_timeline, sixteen_stages_of_128_micro_batches_are_drawn_at_once)
{
#if defined(__SANITIZE_ADDRESS__)
    const double limit_s = 5.0;
#else
    const double limit_s = 0.5;
#endif
    galv_arena *arena = galv_arena_new();
    galv_timeline timeline = sample_timeline(&sample_shapes[4].shape, arena);
    const char *const names[] = {"t.png", "t.svg", "t.pdf"};
    clock_t before = clock();
    for (int i = 0; i < 3; i++) {
        char path[256];
        galv_err err = GALV_ERR_INIT;
        make_path(path, names[i]);
        cr_assert_eq(galv_timeline_draw(&timeline, path, NULL, &err), GALV_OK);
        remove_path(path);
    }
    double spent_s = (double)(clock() - before) / CLOCKS_PER_SEC;
    cr_expect(spent_s < limit_s, "%.2f s", spent_s);
    galv_arena_free(arena);
}

Test(viz_timeline, impossible_timelines_and_wishes_are_refused)
{
    galv_arena *arena = galv_arena_new();
    galv_canvas *canvas = NULL;
    const double bad_times[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        galv_timeline timeline = sample_timeline(&sample_shapes[0].shape, arena);
        galv_err err = GALV_ERR_INIT;
        timeline.spans[3].end_s = bad_times[i];
        cr_expect_eq(galv_timeline_compose(&canvas, &timeline, NULL, &err), GALV_INPUT);
        cr_expect(strstr(err.message, "span 3") != NULL, "%s", err.message);
    }
    galv_timeline timeline = sample_timeline(&sample_shapes[0].shape, arena);
    galv_err err = GALV_ERR_INIT;
    timeline.spans[0].rank = 4;
    cr_expect_eq(galv_timeline_compose(&canvas, &timeline, NULL, &err), GALV_INPUT);
    timeline = sample_timeline(&sample_shapes[0].shape, arena);
    err = (galv_err)GALV_ERR_INIT;
    timeline.samples[0].bytes = NAN;
    cr_expect_eq(galv_timeline_compose(&canvas, &timeline, NULL, &err), GALV_INPUT);
    galv_timeline empty = {.n_ranks = 0};
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_timeline_compose(&canvas, &empty, NULL, &err), GALV_INPUT);
    timeline = sample_timeline(&sample_shapes[0].shape, arena);
    const double windows[][2] = {{2, 1}, {-1, 1}, {99, 100}, {NAN, 1}, {1, 1}};
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        galv_figure_options options = GALV_FIGURE_OPTIONS_INIT;
        options.window_start_s = windows[i][0];
        options.window_end_s = windows[i][1];
        err = (galv_err)GALV_ERR_INIT;
        cr_expect_eq(galv_timeline_compose(&canvas, &timeline, &options, &err),
                     GALV_USAGE, "window %zu", i);
    }
    const int32_t widths[] = {-1, 1, 319, 8001, INT32_MAX};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        galv_figure_options options = GALV_FIGURE_OPTIONS_INIT;
        options.width_px = widths[i];
        err = (galv_err)GALV_ERR_INIT;
        cr_expect_eq(galv_timeline_compose(&canvas, &timeline, &options, &err),
                     GALV_USAGE, "width %d", (int)widths[i]);
    }
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_timeline_draw(&timeline, "t.gif", NULL, &err), GALV_USAGE);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_timeline_draw(&timeline, "/nonexistent-folder/t.png", NULL, &err),
                 GALV_IO);
    cr_expect_null(canvas);
    galv_arena_free(arena);
}

Test(viz_timeline, display_lists_are_as_they_were)
{
    const struct {
        const char *file;
        sample_shape shape;
        galv_figure_options options;
    } cases[] = {
        {"timeline-2x3.list", sample_shapes[10].shape, GALV_FIGURE_OPTIONS_INIT},
        {"timeline-4x6-split.list", sample_shapes[9].shape, GALV_FIGURE_OPTIONS_INIT},
        {"timeline-4x8-streams.list", sample_shapes[0].shape, {.streams = true}},
        {"timeline-1x8.list", sample_shapes[5].shape, GALV_FIGURE_OPTIONS_INIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_canvas *canvas = compose_shape(&cases[i].shape, &cases[i].options);
        galv_text list = GALV_TEXT_INIT;
        galv_canvas_dump(canvas, &list);
        cr_expect_eq(differs_from_golden(galv_text_string(&list), cases[i].file), 0,
                     "%s", cases[i].file);
        galv_text_release(&list);
        galv_canvas_free(canvas);
    }
}
