/* Scaling, memory, breakdown, Pareto and accuracy: lengths are proportional to what
 * they stand for, no texts meet, impossible numbers are refused. */
#include "tests/viz/drawing.h"
#include "viz/accuracy_figure.h"
#include "viz/breakdown_figure.h"
#include "viz/memory_figure.h"
#include "viz/pareto_figure.h"
#include "viz/plan_map_figure.h"
#include "viz/scaling_figure.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_DRAWING_SUITE(viz_charts);

#define GIB 1073741824.0

static void expect_clean(const galv_canvas *canvas, const char *name)
{
    galv_text meetings = GALV_TEXT_INIT;
    cr_expect_eq(galv_canvas_describe_collisions(canvas, &meetings), 0, "%s: %s", name,
                 galv_text_string(&meetings));
    galv_text_release(&meetings);
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        bool inside = true;
        if (item->kind == GALV_ITEM_RECT) {
            inside = item->x >= 0 && item->x + item->w <= galv_canvas_width(canvas) &&
                     item->y >= 0 && item->y + item->h <= galv_canvas_height(canvas);
        } else if (item->kind == GALV_ITEM_MARKER) {
            inside = item->x >= 0 && item->x <= galv_canvas_width(canvas) &&
                     item->y >= 0 && item->y <= galv_canvas_height(canvas);
        }
        for (size_t p = 0; p < item->n_points; p++) {
            inside = inside && item->points[p].x >= -1e-6 &&
                     item->points[p].x <= galv_canvas_width(canvas) + 1e-6 &&
                     item->points[p].y >= -1e-6 &&
                     item->points[p].y <= galv_canvas_height(canvas) + 1e-6;
        }
        cr_expect(inside, "%s: item %zu of [%s]", name, i, item->tag);
    }
}

/* A sequence that repeats: numbers in [0, 1). */
static double noise(unsigned *state)
{
    *state = *state * 1664525U + 1013904223U;
    return (*state >> 8) / 16777216.0;
}

/* ---- scaling ---- */

static size_t make_scaling(galv_scaling_point *points, int n_series, int n_sizes)
{
    static const char *const names[] = {"h100-sxm-80gb", "a100-sxm-80gb",
                                        "measured, Megatron-LM"};
    static const char *const plans[] = {"tp 8", "tp 8, pp 2", "tp 8, pp 2",
                                        "tp 8, pp 4", "tp 8, pp 8, vpp 2"};
    size_t n = 0;
    for (int s = 0; s < n_series; s++) {
        for (int i = 0; i < n_sizes; i++) {
            int devices = 8 << i;
            points[n++] = (galv_scaling_point){
                devices, devices * (700.0 - 150.0 * s) * pow(0.96, i),
                s == 1 ? NAN : 0.45 * pow(0.96, i), s < 2 ? plans[i % 5] : NULL,
                n_series > 1 ? names[s] : NULL};
        }
    }
    return n;
}

Test(viz_charts, scaling_is_clean_for_one_to_three_series_and_one_to_ten_sizes)
{
    galv_scaling_point points[64];
    for (int n_series = 1; n_series <= 3; n_series++) {
        for (int n_sizes = 1; n_sizes <= 10; n_sizes++) {
            char name[64];
            snprintf(name, sizeof name, "%d series of %d", n_series, n_sizes);
            size_t n = make_scaling(points, n_series, n_sizes);
            galv_canvas *canvas = NULL;
            galv_err err = GALV_ERR_INIT;
            galv_figure_options options = {.width_px = n_sizes % 2 == 0 ? 0 : 640,
                                           .footer = "galvatron-sim 0.1.0"};
            cr_assert_eq(galv_scaling_compose(&canvas, points, n, "Weak scaling",
                                              &options, &err),
                         GALV_OK, "%s: %s", name, err.message);
            expect_clean(canvas, name);
            cr_expect((find_text(canvas, "perfect scaling") != NULL) == (n_sizes > 1));
            galv_canvas_free(canvas);
        }
    }
}

Test(viz_charts,
     the_plan_of_a_point_has_the_colour_of_its_series_where_there_are_several)
{
    galv_scaling_point points[4];
    for (int i = 0; i < 4; i++) { /* two lines so close that labels change sides */
        points[i] = (galv_scaling_point){
            128 << i % 2, (i < 2 ? 1042.0 : 1172.0) * (128 << i % 2), 0.5,
            i % 2 ? "tp4 pp4" : "tp4 pp2", i < 2 ? "h100" : "h200"};
    }
    for (size_t n = 2; n <= 4; n += 2) {
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_scaling_compose(&canvas, points, n, "t", NULL, &err),
                     GALV_OK);
        int seen = 0;
        for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
            const galv_item *item = galv_canvas_item(canvas, i);
            if (strcmp(item->tag, "plans") == 0 && item->kind == GALV_ITEM_TEXT) {
                galv_color own = galv_series_color(item->row);
                cr_expect_eq(item->style.color, n > 2 ? own : GALV_COLOR_AXIS);
                seen++;
            }
        }
        cr_expect_geq(seen, 2);
        galv_canvas_free(canvas);
    }
}

/* Counts the texts of a tag. */
static int count_texts(const galv_canvas *canvas, const char *tag)
{
    int n = 0;
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        n += item->kind == GALV_ITEM_TEXT && strcmp(item->tag, tag) == 0;
    }
    return n;
}

Test(viz_charts, no_plan_of_a_crowded_scaling_picture_is_missing)
{
    galv_scaling_point points[5 * 7];
    char labels[5 * 7][64];
    static const char *const names[] = {"h100-sxm-80gb", "h200-sxm-141gb", "b200-180gb",
                                        "gb200-186gb", "a gpu of a very long name"};
    for (int n_series = 2; n_series <= 5; n_series++) {
        size_t n = 0;
        for (int s = 0; s < n_series; s++) {
            for (int i = 0; i < 7; i++) { /* the third plan holds on to the fourth */
                snprintf(labels[n], sizeof labels[n],
                         "tp8 pp%d dp%d v6 mb1 zero1/2/3 per-layer uneven", s + 1,
                         i == 3 ? 2 : i);
                points[n] = (galv_scaling_point){8 << i, (100.0 + 5 * s) * (8 << i),
                                                 0.4, labels[n], names[s]};
                n++;
            }
        }
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_scaling_compose(&canvas, points, n, "t", NULL, &err),
                     GALV_OK);
        expect_clean(canvas, "crowded");
        for (size_t i = 0; i < n; i++) {
            cr_expect_not_null(find_text(canvas, labels[i]), "%s", labels[i]);
        }
        cr_expect_eq(count_texts(canvas, "plans"), 0, "either beside points or below");
        cr_expect_eq(count_texts(canvas, "key"), n_series * (1 + 2 * 6));
        cr_expect_not_null(find_text(canvas, "32\xE2\x80\x93"
                                             "64"));
        galv_canvas_free(canvas);
    }
}

Test(viz_charts, perfect_scaling_lies_on_its_dotted_line)
{
    galv_scaling_point points[4];
    for (int i = 0; i < 4; i++) {
        points[i] = (galv_scaling_point){8 << i, 100.0 * (8 << i), 0.4, NULL, NULL};
    }
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_scaling_compose(&canvas, points, 4, "t", NULL, &err), GALV_OK);
    const galv_item *ideal = NULL;
    int seen = 0;
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (strcmp(item->tag, "ideal") == 0) {
            ideal = item;
        }
        bool left = item->x < 500.0 && item->kind == GALV_ITEM_MARKER &&
                    strcmp(item->tag, "series") == 0;
        if (left && ideal != NULL) {
            const galv_point *a = &ideal->points[0], *b = &ideal->points[1];
            double y = a->y + (b->y - a->y) * (item->x - a->x) / (b->x - a->x);
            cr_expect_float_eq(item->y, y, 0.01);
            seen++;
        }
    }
    cr_expect_eq(seen, 4);
    galv_canvas_free(canvas);
}

Test(viz_charts, scaling_refuses_impossible_points)
{
    const galv_scaling_point bad[] = {{0, 1.0, 0.4, NULL, NULL},
                                      {-8, 1.0, 0.4, NULL, NULL},
                                      {8, 0.0, 0.4, NULL, NULL},
                                      {8, NAN, 0.4, NULL, NULL},
                                      {8, INFINITY, 0.4, NULL, NULL}};
    galv_canvas *canvas = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_scaling_compose(&canvas, &bad[i], 1, "t", NULL, &err),
                     GALV_INPUT, "point %zu", i);
    }
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_scaling_compose(&canvas, bad, 0, "t", NULL, &err), GALV_INPUT);
    cr_expect_null(canvas);
}

/* ---- memory ---- */

Test(viz_charts, memory_segments_are_as_long_as_their_bytes_and_the_fullest_is_on_top)
{
    galv_memory_row rows[3] = {
        {NULL, 1 * GIB, 2 * GIB, 3 * GIB, 4 * GIB, 5 * GIB, 6 * GIB, -1, 80 * GIB},
        {NULL, 10 * GIB, 20 * GIB, 0, 30 * GIB, 0, 0, -1, 80 * GIB},
        {"the head", 8 * GIB, 0, 0, 0, 0, 2 * GIB, 0.5, 80 * GIB}};
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_memory_compose(&canvas, rows, 3, "t", NULL, &err), GALV_OK);
    expect_clean(canvas, "memory");
    double px_per_gib = 0.0, top[3] = {0, 0, 0}, sum[3] = {0, 0, 0};
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (item->kind == GALV_ITEM_RECT && strcmp(item->tag, "bar") == 0) {
            sum[item->row] += item->w;
            top[item->row] = item->y;
            if (item->row == 2 && px_per_gib == 0.0) {
                px_per_gib = item->w / 8.0;
            }
        }
    }
    cr_expect_float_eq(sum[0], 21.0 * px_per_gib, 0.01);
    cr_expect_float_eq(sum[1], 60.0 * px_per_gib, 0.01);
    cr_expect_float_eq(sum[2], 10.0 * px_per_gib, 0.01);
    cr_expect(top[1] < top[0] && top[0] < top[2]);
    cr_expect_not_null(find_text(canvas, "limit 80.0 GiB"));
    cr_expect_not_null(find_text(canvas, "60.0 GiB"));
    cr_expect_not_null(find_text(canvas, "10.0 GiB at 500 ms"));
    cr_expect_not_null(find_text(canvas, "free"));
    galv_canvas_free(canvas);
    rows[0].limit_bytes = 40 * GIB; /* where limits differ each bar tells its own */
    cr_assert_eq(galv_memory_compose(&canvas, rows, 3, "t", NULL, &err), GALV_OK);
    expect_clean(canvas, "memory of unlike devices");
    cr_expect_null(find_text(canvas, "limit 80.0 GiB"));
    cr_expect_not_null(find_text(canvas, "21.0 of 40.0 GiB"));
    cr_expect_not_null(find_text(canvas, "60.0 of 80.0 GiB"));
    galv_canvas_free(canvas);
}

Test(viz_charts, memory_is_clean_for_many_stages_with_and_without_a_limit)
{
    galv_memory_row rows[64];
    unsigned state = 7;
    for (int i = 0; i < 64; i++) {
        rows[i] = (galv_memory_row){NULL,
                                    noise(&state) * 20 * GIB,
                                    noise(&state) * 20 * GIB,
                                    noise(&state) * 20 * GIB,
                                    noise(&state) * 40 * GIB,
                                    noise(&state) * 3 * GIB,
                                    noise(&state) * 3 * GIB,
                                    noise(&state) * 9,
                                    0};
    }
    const size_t counts[] = {1, 2, 8, 40, 64};
    for (size_t i = 0; i < 5; i++) {
        for (int limited = 0; limited < 4; limited++) {
            galv_canvas *canvas = NULL;
            galv_err err = GALV_ERR_INIT;
            for (int k = 0; k < 64; k++) { /* 3: of unlike devices */
                rows[k].limit_bytes = (limited < 3 ? limited : 1 + k % 2) * 40 * GIB;
            }
            cr_assert_eq(galv_memory_compose(&canvas, rows, counts[i], "t", NULL, &err),
                         GALV_OK);
            expect_clean(canvas, "memory of many stages");
            cr_expect((find_text(canvas, "24 stages with less") != NULL) ==
                      (counts[i] == 64));
            galv_canvas_free(canvas);
        }
    }
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    rows[3].activations_bytes = NAN;
    cr_expect_eq(galv_memory_compose(&canvas, rows, 8, "t", NULL, &err), GALV_INPUT);
    cr_expect(strstr(err.message, "activations") != NULL);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_memory_compose(&canvas, rows, 0, "t", NULL, &err), GALV_INPUT);
}

/* ---- breakdown ---- */

Test(viz_charts, breakdown_stacks_add_up_to_the_total_and_hidden_time_does_not)
{
    galv_breakdown_row rows[2] = {{"plan a", 5, 1, 0.5, 0.1, 0, 0.1, 0.2, 0.1, 1, 2},
                                  {"plan b", 4, 0, 0.25, 0, 0.25, 0, 0.5, 0, 0, 0}};
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_breakdown_compose(&canvas, rows, 2, "t", NULL, &err), GALV_OK);
    expect_clean(canvas, "breakdown");
    double sum[2] = {0, 0};
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (item->kind == GALV_ITEM_RECT && strcmp(item->tag, "bar") == 0 &&
            item->h > 12.0) {
            sum[item->row] += item->w;
        }
    }
    cr_expect_float_eq(sum[0] / sum[1], 8.0 / 5.0, 1e-6);
    cr_expect_not_null(find_text(canvas, "8.00 s"));
    cr_expect_not_null(find_text(canvas, "5.00 s"));
    cr_expect_not_null(find_text(canvas, "80 %")); /* 4 of 5 s */
    cr_expect_not_null(find_text(canvas, "hidden communication"));
    galv_canvas_free(canvas);
    rows[0].hidden_s = 0;
    cr_assert_eq(galv_breakdown_compose(&canvas, rows, 2, "t", NULL, &err), GALV_OK);
    cr_expect_null(find_text(canvas, "hidden communication"));
    galv_canvas_free(canvas);
}

Test(viz_charts, breakdown_is_clean_for_tiny_huge_and_zero_times_and_refuses_bad_ones)
{
    const double scales[] = {0.0, 1e-9, 1e-4, 1.0, 1e5};
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        double s = scales[i];
        galv_breakdown_row rows[2] = {
            {"a plan with a label so long that it could never be printed as a whole", s,
             s / 7, s / 9, s, s / 3, s, s / 100, s, s, 30 * s},
            {NULL, 2 * s, 0, 0, 0, 0, 0, 0, 0, 0, 0}};
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_breakdown_compose(&canvas, rows, 2, "t", NULL, &err), GALV_OK,
                     "%g: %s", s, err.message);
        expect_clean(canvas, "breakdown");
        galv_canvas_free(canvas);
    }
    galv_breakdown_row narrow = {
        "a plan with a label so long that it could never be printed as a whole",
        1,
        1,
        1,
        1,
        1,
        1,
        1,
        1,
        1,
        1};
    galv_figure_options options = {.width_px = 320};
    galv_canvas *page = NULL;
    galv_err none = GALV_ERR_INIT;
    cr_assert_eq(galv_breakdown_compose(&page, &narrow, 1, "t", &options, &none),
                 GALV_OK);
    expect_clean(page, "narrow breakdown");
    galv_canvas_free(page);
    const double bad[] = {-1.0, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        galv_breakdown_row row = {.compute_s = 1.0, .bubble_s = bad[i]};
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_breakdown_compose(&canvas, &row, 1, "t", NULL, &err),
                     GALV_INPUT);
        cr_expect(strstr(err.message, "bubble") != NULL);
    }
}

/* ---- Pareto ---- */

static size_t make_pareto(galv_pareto_point *points, size_t n, unsigned state)
{
    size_t n_front = 0;
    for (size_t i = 0; i < n; i++) {
        double x = 20.0 + 90.0 * noise(&state);
        double y = (8.0 + 120.0 / (x - 8.0)) * (1.0 + noise(&state));
        points[i] = (galv_pareto_point){x, y, NULL, false, false, x > 79.6};
    }
    for (size_t i = 0; i < n; i++) {
        bool beaten = points[i].infeasible;
        for (size_t k = 0; k < n && !beaten; k++) {
            beaten = !points[k].infeasible && points[k].x < points[i].x &&
                     points[k].y < points[i].y;
        }
        points[i].on_front = !beaten;
        points[i].label = beaten ? NULL : "tp 8, pp 8, vpp 2";
        n_front += !beaten;
    }
    for (size_t i = 0; i < n; i++) {
        if (points[i].on_front) {
            points[i].chosen = true;
            break;
        }
    }
    return n_front;
}

Test(viz_charts, pareto_is_clean_and_thins_what_cannot_be_told_apart)
{
    const galv_pareto_axes axes = {"Plans", "peak memory per GPU (GiB)",
                                   "iteration time (s)", 79.6, "79.6 GiB"};
    const size_t counts[] = {1, 2, 30, 2000};
    galv_pareto_point *points = calloc(20000, sizeof *points);
    for (size_t c = 0; c < 4; c++) {
        make_pareto(points, counts[c], 3);
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_pareto_compose(&canvas, points, counts[c], &axes, NULL, &err),
                     GALV_OK);
        expect_clean(canvas, "pareto");
        galv_canvas_free(canvas);
    }
    for (size_t i = 0; i < 20000; i++) { /* all on one spot */
        points[i] = (galv_pareto_point){40.0, 9.0, NULL, false, false, false};
    }
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_pareto_compose(&canvas, points, 20000, &axes, NULL, &err),
                 GALV_OK);
    cr_expect(galv_canvas_n_items(canvas) < 100, "%zu", galv_canvas_n_items(canvas));
    galv_canvas_free(canvas);
    points[5].y = NAN;
    cr_expect_eq(galv_pareto_compose(&canvas, points, 10, &axes, NULL, &err),
                 GALV_INPUT);
    free(points);
}

Test(viz_charts, pareto_front_never_passes_above_a_feasible_point_on_its_left_below)
{
    galv_pareto_point points[400];
    make_pareto(points, 400, 11);
    const galv_pareto_axes axes = {"Plans", "x", "y", 79.6, NULL};
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_pareto_compose(&canvas, points, 400, &axes, NULL, &err), GALV_OK);
    /* steps go right at the old height, then down: both never rise */
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (strcmp(item->tag, "front") == 0 && item->kind == GALV_ITEM_POLYLINE) {
            cr_expect(item->points[1].x >= item->points[0].x);
            cr_expect_float_eq(item->points[1].y, item->points[0].y, 1e-9);
            cr_expect(item->points[2].y >= item->points[1].y); /* y points down */
        }
    }
    galv_canvas_free(canvas);
}

/* ---- accuracy ---- */

Test(viz_charts, accuracy_states_the_error_it_shows)
{
    /* errors +10 %, -10 %, +30 %: mean absolute 16.7 %, bias +10 %, two of three within
     */
    const galv_accuracy_point points[] = {
        {1.0, 1.1, "a", "one"}, {10.0, 9.0, "a", "two"}, {100.0, 130.0, "b", "three"}};
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_accuracy_compose(&canvas, points, 3, "t", NULL, &err), GALV_OK);
    expect_clean(canvas, "accuracy");
    cr_expect_not_null(
        find_text(canvas, "3 points \xC2\xB7 mean absolute error 16.7 %"));
    cr_expect_not_null(find_text(canvas, "bias +10.0 %"));
    cr_expect_not_null(find_text(canvas, "67 % within"));
    cr_expect_not_null(find_text(canvas, "three  +30 %"));
    galv_canvas_free(canvas);
}

Test(viz_charts, accuracy_diagonal_is_where_prediction_equals_measurement)
{
    const galv_accuracy_point points[] = {{0.5, 0.5, NULL, NULL}, {50, 50, NULL, NULL}};
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_accuracy_compose(&canvas, points, 2, "t", NULL, &err), GALV_OK);
    const galv_item *diagonal = NULL;
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (strcmp(item->tag, "diagonals") == 0 && diagonal == NULL) {
            diagonal = item;
        } else if (strcmp(item->tag, "points") == 0) {
            const galv_point *a = &diagonal->points[0], *b = &diagonal->points[1];
            double y = a->y + (b->y - a->y) * (item->x - a->x) / (b->x - a->x);
            cr_expect_float_eq(item->y, y, 1e-6);
        }
    }
    galv_canvas_free(canvas);
}

Test(viz_charts, accuracy_is_clean_for_crowds_and_refuses_what_has_no_logarithm)
{
    galv_accuracy_point points[300];
    static const char *const sources[] = {
        "Megatron-LM 2021", "Korthikanti 2022", "Llama 3",   "DeepSeek-V3",
        "Galvatron",        "own runs",         "a seventh", NULL};
    unsigned state = 5;
    for (int i = 0; i < 300; i++) {
        double measured = 0.4 * pow(150.0, noise(&state));
        points[i] =
            (galv_accuracy_point){measured, measured * (0.8 + 0.4 * noise(&state)),
                                  sources[i % 8], "a case with a long name"};
    }
    const size_t counts[] = {1, 5, 40, 300};
    for (size_t i = 0; i < 4; i++) {
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_accuracy_compose(&canvas, points, counts[i], "t", NULL, &err),
                     GALV_OK);
        expect_clean(canvas, "accuracy");
        galv_canvas_free(canvas);
    }
    const double bad[] = {0.0, -1.0, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        galv_accuracy_point point = {bad[i], 1.0, NULL, NULL};
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_accuracy_compose(&canvas, &point, 1, "t", NULL, &err),
                     GALV_INPUT);
    }
}

/* ---- files ---- */

Test(viz_charts, every_chart_is_written_and_refuses_unknown_endings)
{
    galv_scaling_point scaling[16];
    size_t n_scaling = make_scaling(scaling, 1, 4);
    galv_memory_row memory = {NULL, GIB, GIB, GIB, GIB, 0, GIB, -1, 0};
    galv_breakdown_row breakdown = {.label = "a", .compute_s = 1.0};
    galv_pareto_point pareto = {1.0, 2.0, "a", true, true, false};
    galv_pareto_axes axes = {"t", "x", "y", 0.0, NULL};
    galv_accuracy_point accuracy = {1.0, 1.0, NULL, NULL};
    const char *const names[] = {"a.png", "a.svg", "a.pdf", "a.bmp"};
    for (int i = 0; i < 4; i++) {
        char path[256];
        make_path(path, names[i]);
        galv_status wanted = i == 3 ? GALV_USAGE : GALV_OK;
        galv_status status[5];
        for (int chart = 0; chart < 5; chart++) {
            galv_err err = GALV_ERR_INIT;
            switch (chart) {
            case 0:
                status[chart] =
                    galv_scaling_draw(scaling, n_scaling, "t", path, NULL, &err);
                break;
            case 1:
                status[chart] = galv_memory_draw(&memory, 1, "t", path, NULL, &err);
                break;
            case 2:
                status[chart] =
                    galv_breakdown_draw(&breakdown, 1, "t", path, NULL, &err);
                break;
            case 3:
                status[chart] = galv_pareto_draw(&pareto, 1, &axes, path, NULL, &err);
                break;
            default:
                status[chart] = galv_accuracy_draw(&accuracy, 1, "t", path, NULL, &err);
                break;
            }
            size_t length = 0;
            char *bytes = slurp(path, &length);
            cr_expect_eq(status[chart], wanted, "%s, chart %d: %s", names[i], chart,
                         err.message);
            cr_expect((bytes != NULL && length > 500) == (i < 3), "%s, chart %d",
                      names[i], chart);
            free(bytes);
            remove(path);
        }
        remove_path(path);
    }
}

/* Eleven layouts, one of them twice, and a hole. */
Test(viz_charts, cells_of_a_plan_map_share_a_colour_exactly_when_they_share_a_layout)
{
    enum { COLUMNS = 4, ROWS = 3 };
    char names[COLUMNS * ROWS][80];
    galv_map_cell cells[COLUMNS * ROWS];
    const char *columns[COLUMNS] = {"32", "64", "128", "100 000"};
    const char *rows[ROWS] = {"20 GiB", "40 GiB", "all of it"};
    for (int i = 0; i < COLUMNS * ROWS; i++) {
        snprintf(names[i], sizeof names[i],
                 "tp%d pp16 dp128 v10 mb1 zero1 sp recompute", i == 7 ? 2 : i);
        cells[i] = (galv_map_cell){names[i], NULL, "10200 tok/s/GPU"};
    }
    cells[5] = (galv_map_cell){NULL, NULL, NULL};
    galv_plan_map map = {"Best plans", "global batch", "memory budget",
                         COLUMNS,      ROWS,           columns,
                         rows,         cells};
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_plan_map_compose(&canvas, &map, NULL, &err), GALV_OK, "%s",
                 err.message);
    expect_clean(canvas, "plan map");
    galv_fill fills[COLUMNS * ROWS];
    bool drawn[COLUMNS * ROWS] = {false};
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (item->kind == GALV_ITEM_RECT && item->row >= 0 &&
            strcmp(item->tag, "cell") == 0) {
            fills[item->row] = item->fill;
            drawn[item->row] = true;
            cr_expect_geq(galv_color_contrast(item->fill.color, GALV_COLOR_TEXT), 4.5);
        }
    }
    cr_expect_not(drawn[5], "a cell where nothing fits is coloured");
    for (int a = 0; a < COLUMNS * ROWS; a++) {
        for (int b = 0; b < a; b++) {
            if (drawn[a] && drawn[b]) {
                bool alike = fills[a].color == fills[b].color &&
                             fills[a].hatch == fills[b].hatch;
                cr_expect_eq(alike, strcmp(names[a], names[b]) == 0, "cells %d, %d", a,
                             b);
            }
        }
    }
    galv_canvas_free(canvas);
    map.n_rows = 0;
    cr_expect_eq(galv_plan_map_compose(&canvas, &map, NULL, &err), GALV_INPUT);
}
