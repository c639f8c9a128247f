/* Pictures of many points: no two series look alike, no name hides a point. */
#include "tests/viz/drawing.h"
#include "viz/pareto_figure.h"
#include "viz/scaling_figure.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

GALV_DRAWING_SUITE(viz_points);

#define MOST_SERIES 36

static galv_status draw_series(galv_canvas **canvas, int n_series, galv_err *err)
{
    static char names[MOST_SERIES + 1][16];
    galv_scaling_point points[MOST_SERIES + 1];
    for (int i = 0; i < n_series; i++) {
        snprintf(names[i], sizeof names[i], "cluster-%d", i);
        points[i] = (galv_scaling_point){8, 1000.0 * (i + 1), 0.4, NULL, names[i]};
    }
    return galv_scaling_compose(canvas, points, (size_t)n_series, "t", NULL, err);
}

Test(viz_points, three_dozen_series_of_a_scaling_picture_look_each_another)
{
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(draw_series(&canvas, MOST_SERIES, &err), GALV_OK, "%s", err.message);
    const galv_item *seen[MOST_SERIES];
    int n_seen = 0;
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (item->kind != GALV_ITEM_MARKER || strcmp(item->tag, "legend") != 0) {
            continue;
        }
        for (int k = 0; k < n_seen; k++) {
            cr_expect(item->marker != seen[k]->marker ||
                          item->fill.color != seen[k]->fill.color,
                      "series %d looks like %d", n_seen, k);
        }
        cr_assert(n_seen < MOST_SERIES);
        seen[n_seen++] = item;
    }
    cr_expect_eq(n_seen, MOST_SERIES);
    cr_expect_eq(galv_canvas_text_collisions(canvas), 0);
    galv_canvas_free(canvas);
    canvas = NULL;
    cr_expect_eq(draw_series(&canvas, MOST_SERIES + 1, &err), GALV_INPUT);
    cr_expect_null(canvas);
}

/* The names of a front lie where other plans would be, were they not kept off: to the
 * right of and above its points. */
Test(viz_points, names_of_a_pareto_front_hide_no_other_plan)
{
    galv_pareto_point points[3 + 3 * 4];
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        double x = 40 + 10.0 * i, y = 9 - i;
        points[n++] = (galv_pareto_point){x, y, "64 h100-sxm-80gb", true, false, false};
        for (int k = 1; k <= 4; k++) {
            points[n++] =
                (galv_pareto_point){x + 0.5 * k, y + 0.08, NULL, false, false, false};
        }
    }
    const galv_pareto_axes axes = {.title = "t", .x_title = "x", .y_title = "y"};
    galv_canvas *canvas = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_pareto_compose(&canvas, points, n, &axes, NULL, &err), GALV_OK);
    int names = 0;
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *name = galv_canvas_item(canvas, i);
        if (name->kind != GALV_ITEM_TEXT || strcmp(name->tag, "labels") != 0) {
            continue;
        }
        names++;
        double right =
            name->x + galv_text_width(name->string, name->style.size, name->style.bold);
        for (size_t k = 0; k < galv_canvas_n_items(canvas); k++) {
            const galv_item *dot = galv_canvas_item(canvas, k);
            bool other =
                dot->kind == GALV_ITEM_RECT && strcmp(dot->tag, "candidates") == 0;
            cr_expect(!other || dot->x + dot->w <= name->x || dot->x >= right ||
                          dot->y + dot->h <= name->y - 0.7 * name->style.size ||
                          dot->y >= name->y,
                      "name at %g, %g, plan at %g, %g", name->x, name->y, dot->x,
                      dot->y);
        }
    }
    cr_expect_eq(names, 3);
    galv_canvas_free(canvas);
}

/* The cheapest and fastest plan of all lies in the corner that the arrow points to. */
Test(viz_points, a_plan_in_the_best_corner_takes_the_place_of_the_arrow)
{
    galv_pareto_point points[3] = {{1, 1, "best", true, false, false},
                                   {9, 9, NULL, false, false, false},
                                   {9, 1.5, NULL, false, false, false}};
    const galv_pareto_axes axes = {.title = "t", .x_title = "x", .y_title = "y"};
    for (int best = 0; best <= 1; best++) {
        points[0].x = points[0].y = best ? 1 : 5;
        galv_canvas *canvas = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_pareto_compose(&canvas, points, 3, &axes, NULL, &err),
                     GALV_OK);
        cr_expect_eq(find_text(canvas, "best") != NULL, true);
        cr_expect_eq(find_text(canvas, "better on") != NULL, true);
        bool arrow = false;
        for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
            arrow |= strcmp(galv_canvas_item(canvas, i)->tag, "better") == 0;
        }
        cr_expect_eq(arrow, !best);
        galv_canvas_free(canvas);
    }
}
