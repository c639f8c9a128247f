/* A stage is filled as if every way were tried at each limit, in whatever order the
 * limits come. */
#include "search/relaxation.h"
#include "search/stage_fronts.h"
#include "tests/search/small_jobs.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>

GALV_TEST_SUITE(stage_fronts);

enum { MOST_LAYERS = 6, MAX_RUNS = 2 };

/* Layers of a stage in the order of their groups. */
typedef struct stage_case {
    const galv_layer_table *table;
    const galv_stage_fronts *fronts;
    const galv_replay *replay;
    int32_t stage, n;
    int32_t group[MOST_LAYERS];
    double room_bytes;
} stage_case;

typedef struct way {
    double time_s, bytes;
} way;

static way add_layer(const stage_case *c, const int32_t *choice, int32_t i, way before)
{
    const galv_layer_price *p = &c->table->prices[c->group[i]][choice[i]];
    double kept = 0;
    for (int32_t chunk = 0; chunk < c->table->shape.vpp; chunk++) {
        kept = fmax(kept, galv_replay_kept(c->replay, c->stage, chunk));
    }
    way w = {before.time_s + galv_layer_guide_s(p, c->table->n_micro_batches),
             before.bytes + p->held_bytes + kept * p->kept_bytes};
    if (i > 0) {
        const galv_layer_price *last =
            &c->table->prices[c->group[i - 1]][choice[i - 1]];
        w.time_s += galv_layer_change_s(last, p) + galv_layer_change_s(p, last);
    }
    return w;
}

/* The least seconds of all ways of at most MAX_RUNS runs a group; INFINITY: none fits.
 * *least_bytes gets the least of any. */
static double try_all(const stage_case *c, int32_t *choice, int32_t i, int32_t runs,
                      way before, double *least_bytes)
{
    if (i == c->n) {
        *least_bytes = fmin(*least_bytes, before.bytes);
        return before.bytes <= c->room_bytes ? before.time_s : (double)INFINITY;
    }
    galv_stage_menu menu = galv_stage_fronts_menu(c->fronts, c->stage, c->group[i]);
    bool begins = i == 0 || c->group[i] != c->group[i - 1];
    double best_s = INFINITY;
    for (int32_t k = 0; k < menu.n; k++) {
        choice[i] = menu.choice[k];
        int32_t now = begins ? 1 : runs + (choice[i] != choice[i - 1]);
        if (now <= MAX_RUNS) {
            best_s =
                fmin(best_s, try_all(c, choice, i + 1, now,
                                     add_layer(c, choice, i, before), least_bytes));
        }
    }
    return best_s;
}

static void expect_filled(stage_case *c, galv_stage_fronts *fronts,
                          const int32_t *n_layers, uint64_t seed)
{
    int32_t choice[MOST_LAYERS];
    galv_stage_fill fill;
    galv_err err = GALV_ERR_INIT;
    double least_bytes = INFINITY;
    double best_s = try_all(c, choice, 0, 0, (way){0, 0}, &least_bytes);
    cr_assert_eq(
        galv_stage_fronts_fill(&fill, fronts, c->stage, n_layers, c->room_bytes, &err),
        GALV_OK, "%s", err.message);
    cr_expect_eq(fill.fits, isfinite(best_s), "instance %llu: fits in %g bytes",
                 (unsigned long long)seed, c->room_bytes);
    if (!fill.fits || !isfinite(best_s)) {
        return;
    }
    way w = {0, 0};
    for (int32_t i = 0; i < c->n; i++) {
        w = add_layer(c, fill.choice, i, w);
    }
    cr_expect_float_eq(w.time_s, best_s, 1e-12 * best_s,
                       "instance %llu, %g bytes: %.12g s, all ways %.12g s",
                       (unsigned long long)seed, c->room_bytes, w.time_s, best_s);
    cr_expect_float_eq(w.bytes, fill.bytes, 1e-12 * w.bytes, "instance %llu: bytes",
                       (unsigned long long)seed);
    cr_expect_leq(fill.bytes, c->room_bytes, "instance %llu", (unsigned long long)seed);
}

/* One shape, one stage of it after the other, some layers, eight limits up and down. */
static size_t expect_shape(instance *in, const galv_layer_table *table, uint64_t seed)
{
    galv_replay *replay = NULL;
    galv_stage_fronts *fronts = NULL;
    galv_schedule_shape order = {table->shape.pp, table->shape.vpp,
                                 table->n_micro_batches, 0, NULL};
    uint64_t state = seed + 77;
    size_t n_done = 0;
    if (galv_replay_new(&replay, table->shape.schedule, &order, in->arena, &in->err) !=
        GALV_OK) {
        return 0;
    }
    cr_assert_eq(galv_stage_fronts_new(&fronts, table, replay, galv_layer_guide_s,
                                       MAX_RUNS, in->arena, &in->err),
                 GALV_OK, "%s", in->err.message);
    for (int32_t stage = 0; stage < table->shape.pp; stage++) {
        stage_case c = {table, fronts, replay, stage, 0, {0}, INFINITY};
        int32_t n_layers[GALV_MAX_GROUPS] = {0};
        int32_t choice[MOST_LAYERS];
        for (int32_t g = 0; g < table->n_groups; g++) {
            n_layers[g] = 1 + (int32_t)(next_random(&state) % 2);
            for (int32_t k = 0; k < n_layers[g] && c.n < MOST_LAYERS; k++) {
                c.group[c.n++] = g;
            }
        }
        double least = INFINITY;
        (void)try_all(&c, choice, 0, 0, (way){0, 0}, &least);
        for (int i = 0; i < 8; i++) {
            c.room_bytes = least * (0.97 + 0.05 * (next_random(&state) % 30));
            expect_filled(&c, fronts, n_layers, seed);
            n_done++;
        }
    }
    return n_done;
}

Test(stage_fronts, every_limit_gets_the_fastest_way_that_fits)
{
    size_t n_done = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        instance in;
        if (!instance_begin(&in, seed)) {
            continue;
        }
        for (size_t k = 0; k < in.shapes.n; k++) {
            if (in.shapes.tables[k].n_groups <= MOST_LAYERS / 2) {
                n_done += expect_shape(&in, &in.shapes.tables[k], seed);
            }
        }
        instance_end(&in);
    }
    cr_expect_gt(n_done, 1000, "only %zu limits were tried", n_done);
}
