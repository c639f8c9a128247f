/* Timelines of every kind: several together, letters on a terminal, and whatever a file
 * might hold. */
#include "viz/timeline_figure.h"
#include "viz/timelines_figure.h"

#include "tests/viz/drawing.h"
#include "tests/viz/sample_timelines.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

GALV_DRAWING_SUITE(viz_timelines);

/* A number in [0, n). */
static uint32_t random_below(uint32_t *state, uint32_t n)
{
    *state = *state * 1664525U + 1013904223U;
    return (*state >> 8) % n;
}

Test(viz_timelines, any_timeline_is_drawn_or_refused)
{
    const double times[] = {0.0, 1e-300, 1e-9, 0.5, 1.0, 1.0, 3.7, 100.0, -2.0, 1e300};
    const int32_t numbers[] = {0, 1, 2, 7, -1, -5, 1000000, INT32_MAX, INT32_MIN};
    uint32_t state = 1;
    int n_drawn = 0;
    for (int round = 0; round < 300; round++) {
        galv_span spans[40];
        galv_memory_sample samples[10];
        int32_t layers[40];
        galv_timeline timeline = {.n_ranks = 1 + (int32_t)random_below(&state, 40),
                                  .n_chunks = numbers[random_below(&state, 9)],
                                  .first_layer = layers,
                                  .last_layer = layers,
                                  .duration_s = times[random_below(&state, 10)],
                                  .memory_limit_bytes = times[random_below(&state, 10)],
                                  .n_spans = random_below(&state, 41),
                                  .spans = spans,
                                  .n_samples = random_below(&state, 11),
                                  .samples = samples};
        uint32_t n_times = round % 3 == 0 ? 10 : 8; /* now and then absurd ones */
        for (int i = 0; i < 40; i++) {
            double a = times[random_below(&state, n_times)];
            double b = times[random_below(&state, n_times)];
            layers[i] = numbers[random_below(&state, 9)];
            spans[i] = (galv_span){
                .rank = (int32_t)random_below(&state, (uint32_t)timeline.n_ranks),
                .stream = (uint8_t)random_below(&state, GALV_N_STREAMS),
                .kind = (uint8_t)random_below(&state, GALV_N_OP_KINDS),
                .stage = numbers[random_below(&state, 9)],
                .chunk = numbers[random_below(&state, 9)],
                .micro_batch = numbers[random_below(&state, 9)],
                .first_layer = numbers[random_below(&state, 9)],
                .n_layers = numbers[random_below(&state, 9)],
                .start_s = fmin(a, b),
                .end_s = fmax(a, b)};
        }
        for (int i = 0; i < 10; i++) {
            samples[i] = (galv_memory_sample){
                (int32_t)random_below(&state, (uint32_t)timeline.n_ranks),
                times[random_below(&state, n_times)],
                fabs(times[random_below(&state, n_times)])};
        }
        galv_figure_options options = {.streams = round % 2 == 0,
                                       .all_rows = round % 5 == 0};
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        galv_text out = GALV_TEXT_INIT;
        if (galv_timeline_compose(&canvas, &timeline, &options, &err) == GALV_OK) {
            n_drawn++;
            galv_canvas_dump(canvas, &out);
            cr_expect(strstr(galv_text_string(&out), "nan") == NULL, "round %d", round);
            cr_expect(strstr(galv_text_string(&out), "inf") == NULL, "round %d", round);
        } else {
            cr_expect(err.message[0] != '\0');
        }
        galv_canvas_free(canvas);
        galv_text_reset(&out);
        err = (galv_err)GALV_ERR_INIT;
        galv_timeline_draw_ascii(&out, &timeline, 80, &err);
        galv_text_release(&out);
    }
    cr_expect(n_drawn > 150, "%d", n_drawn);
}

/* ---- several ---- */

Test(viz_timelines, several_share_one_time_scale)
{
    galv_arena *arena = galv_arena_new();
    galv_timeline timelines[3] = {sample_timeline(&sample_shapes[0].shape, arena),
                                  sample_timeline(&sample_shapes[9].shape, arena),
                                  sample_timeline(&sample_shapes[2].shape, arena)};
    const galv_timeline *several[3] = {&timelines[0], &timelines[1], &timelines[2]};
    timelines[1].measured = true;
    for (int32_t width = 400; width <= 1600; width += 400) {
        galv_figure_options options = {.width_px = width, .footer = "footer"};
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(
            galv_timelines_compose(&canvas, several, 3, "Three", &options, &err),
            GALV_OK, "%s", err.message);
        galv_text meetings = GALV_TEXT_INIT;
        cr_expect_eq(galv_canvas_describe_collisions(canvas, &meetings), 0, "%s",
                     galv_text_string(&meetings));
        galv_text_release(&meetings);
        /* the grey of row 0 is as wide as its iteration is long; the third is an
           overview, whose first rectangle of the row is its background */
        double widths[3];
        size_t n = 0;
        const char *tag = "";
        for (size_t k = 0; k < galv_canvas_n_items(canvas) && n < 3; k++) {
            const galv_item *item = galv_canvas_item(canvas, k);
            bool first = strcmp(tag, item->tag) != 0;
            tag = item->tag;
            if (first && item->kind == GALV_ITEM_RECT && item->row == 0 &&
                (strcmp(tag, "idle") == 0 || strcmp(tag, "overview") == 0)) {
                widths[n++] = item->w;
            }
        }
        cr_assert_eq(n, 3);
        for (int i = 0; i < 2; i++) {
            cr_expect_float_eq(widths[i] / widths[2],
                               timelines[i].duration_s / timelines[2].duration_s, 1e-9);
        }
        cr_expect_not_null(find_text(canvas, "measured \xC2\xB7 "));
        cr_expect_not_null(find_text(canvas, "simulated \xC2\xB7 "));
        galv_canvas_free(canvas);
    }
    galv_arena_free(arena);
}

Test(viz_timelines, several_refuse_none_too_many_and_empty_windows)
{
    galv_arena *arena = galv_arena_new();
    galv_timeline timeline = sample_timeline(&sample_shapes[0].shape, arena);
    const galv_timeline *several[GALV_MOST_TIMELINES + 1];
    for (int i = 0; i <= GALV_MOST_TIMELINES; i++) {
        several[i] = &timeline;
    }
    galv_canvas *canvas = NULL;
    const size_t counts[] = {0, GALV_MOST_TIMELINES + 1};
    for (int i = 0; i < 2; i++) {
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(
            galv_timelines_compose(&canvas, several, counts[i], NULL, NULL, &err),
            GALV_USAGE);
    }
    galv_figure_options options = {.window_start_s = 100.0, .window_end_s = 101.0};
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_timelines_compose(&canvas, several, 2, NULL, &options, &err),
                 GALV_USAGE);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_timelines_draw(several, 2, NULL, "a.jpeg", NULL, &err),
                 GALV_USAGE);
    cr_expect_null(canvas);
    galv_arena_free(arena);
}

/* ---- the terminal ---- */

Test(viz_timelines, terminal_lines_are_never_too_wide)
{
    for (size_t i = 0; i < N_SAMPLE_SHAPES; i++) {
        galv_arena *arena = galv_arena_new();
        galv_timeline timeline = sample_timeline(&sample_shapes[i].shape, arena);
        for (int columns = 40; columns <= 200; columns += 20) {
            galv_text out = GALV_TEXT_INIT;
            galv_err err = GALV_ERR_INIT;
            cr_assert_eq(galv_timeline_draw_ascii(&out, &timeline, columns, &err),
                         GALV_OK);
            char *text = strdup(galv_text_string(&out));
            for (char *line = strtok(text, "\n"); line != NULL;
                 line = strtok(NULL, "\n")) {
                cr_expect(galv_text_columns(line) <= (size_t)columns, "%s: '%s'",
                          sample_shapes[i].name, line);
                cr_expect(line[strlen(line) - 1] != ' ', "%s: '%s'",
                          sample_shapes[i].name, line);
            }
            free(text);
            galv_text_release(&out);
        }
        galv_arena_free(arena);
    }
}

Test(viz_timelines, terminal_shows_busy_shares_of_the_closed_form)
{
    /* 1F1B, free messages: every stage computes m / (m + p - 1) of the time */
    const sample_shape shape = {
        .p = 4, .m = 8, .v = 1, .n_layers = 1, .forward_s = 1.0, .backward_s = 2.0};
    galv_arena *arena = galv_arena_new();
    galv_timeline timeline = sample_timeline(&shape, arena);
    galv_text out = GALV_TEXT_INIT;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_timeline_draw_ascii(&out, &timeline, 48, &err), GALV_OK);
    /* 33 quanta of 1 s: the schedule itself, letter by letter */
    cr_expect_not_null(strstr(galv_text_string(&out),
                              "\nstage 0  FFFF......BBFBBFBBFBBFBB.BB.BB.BB  73 %\n"),
                       "%s", galv_text_string(&out));
    cr_expect_not_null(strstr(galv_text_string(&out),
                              "\nstage 3  ...FBBFBBFBBFBBFBBFBBFBBFBB......  73 %\n"),
                       "%s", galv_text_string(&out));
    galv_text_release(&out);
    galv_arena_free(arena);
}

Test(viz_timelines, terminal_refuses_widths_that_cannot_hold_a_row)
{
    galv_arena *arena = galv_arena_new();
    galv_timeline timeline = sample_timeline(&sample_shapes[0].shape, arena);
    const int widths[] = {-5, 0, 39, 1001};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        galv_text out = GALV_TEXT_INIT;
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_timeline_draw_ascii(&out, &timeline, widths[i], &err),
                     GALV_USAGE);
        galv_text_release(&out);
    }
    galv_arena_free(arena);
}

/* ---- two at once ---- */

Test(viz_timelines, cells_computed_at_once_share_the_rows_height_forward_on_top)
{
    galv_span spans[3] = {
        {.kind = GALV_OP_FORWARD, .micro_batch = 5, .n_layers = 1, .end_s = 1.0},
        {.kind = GALV_OP_BACKWARD, .micro_batch = 2, .n_layers = 1, .end_s = 2.0},
        {.kind = GALV_OP_FORWARD,
         .micro_batch = 6,
         .n_layers = 1,
         .start_s = 2.0,
         .end_s = 3.0}};
    galv_timeline timeline = {
        .n_ranks = 1, .n_chunks = 1, .duration_s = 3.0, .n_spans = 3, .spans = spans};
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_timeline_compose(&canvas, &timeline, NULL, &err), GALV_OK);
    double y[3], h[3];
    int n = 0;
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (item->kind == GALV_ITEM_RECT && strcmp(item->tag, "cells") == 0 && n < 3) {
            y[n] = item->y;
            h[n++] = item->h;
        }
    }
    cr_assert_eq(n, 3);
    cr_expect_float_eq(h[0] + h[1], h[2], 1e-9);
    cr_expect_float_eq(y[0], y[2], 1e-9);
    cr_expect_float_eq(y[1], y[0] + h[0], 1e-9);
    galv_canvas_free(canvas);
}
