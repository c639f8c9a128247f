/* A menu lists what no other option of its group beats; where that is too many, the
 * smallest, the fastest, and some between are kept. A frontier is made with a little
 * more room than was asked for, for rooms grow and shrink by little. */
#include "search/stage_fronts.h"

#include "search/frontier.h"
#include "search/relaxation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_KEPT  10  /* options of a group */
#define SPARE_ROOM 1.1 /* of the room asked for, where a frontier is made */

typedef struct menu {
    int32_t n;
    int32_t choice[MOST_KEPT];
    galv_frontier_option options[MOST_KEPT];
} menu;

/* A frontier, of what, and how far it goes. Rows are the groups that the stage has. */
typedef struct known {
    int32_t stage;
    int32_t n_layers[GALV_MAX_GROUPS];
    double room_bytes;
    galv_frontier frontier;
    struct known *next;
} known;

struct galv_stage_fronts {
    const galv_layer_table *table;
    int32_t max_runs;
    galv_arena *arena;
    menu *menus; /* [pp][n_groups] */
    known *first;
    int32_t *choice; /* [n_layers of the table] for galv_stage_fill */
};

/* ---- menus ---- */

typedef struct ranked {
    double time_s, bytes;
    int32_t choice;
} ranked;

static int by_bytes(const void *left, const void *right)
{
    const ranked *a = left;
    const ranked *b = right;
    if (a->bytes < b->bytes || a->bytes > b->bytes) {
        return a->bytes < b->bytes ? -1 : 1;
    }
    if (a->time_s < b->time_s || a->time_s > b->time_s) {
        return a->time_s < b->time_s ? -1 : 1;
    }
    return a->choice < b->choice ? -1 : a->choice > b->choice;
}

static void fill_menu(menu *to, const galv_layer_table *table, int32_t group,
                      galv_layer_seconds seconds, double kept, ranked *all)
{
    int32_t n = table->n_prices[group];
    double m = table->n_micro_batches;
    for (int32_t i = 0; i < n; i++) {
        const galv_layer_price *p = &table->prices[group][i];
        all[i] = (ranked){seconds(p, m), p->held_bytes + kept * p->kept_bytes, i};
    }
    qsort(all, (size_t)n, sizeof *all, by_bytes);
    int32_t front = 0;
    for (int32_t i = 0; i < n; i++) {
        if (front == 0 || all[i].time_s < all[front - 1].time_s) {
            all[front++] = all[i];
        }
    }
    to->n = front < MOST_KEPT ? front : MOST_KEPT;
    for (int32_t i = 0; i < to->n; i++) {
        const ranked *r =
            &all[front <= MOST_KEPT ? i : i * (front - 1) / (MOST_KEPT - 1)];
        to->choice[i] = r->choice;
        to->options[i] = (galv_frontier_option){r->time_s, r->bytes};
    }
}

static const menu *menu_of(const galv_stage_fronts *f, int32_t stage, int32_t group)
{
    return &f->menus[stage * f->table->n_groups + group];
}

galv_stage_menu galv_stage_fronts_menu(const galv_stage_fronts *fronts, int32_t stage,
                                       int32_t group)
{
    const menu *of = menu_of(fronts, stage, group);
    return (galv_stage_menu){of->n, of->choice};
}

galv_status galv_stage_fronts_new(galv_stage_fronts **fronts,
                                  const galv_layer_table *table,
                                  const galv_replay *replay, galv_layer_seconds seconds,
                                  int32_t max_runs, galv_arena *arena, galv_err *err)
{
    size_t n_groups = (size_t)table->n_groups;
    int32_t most = 1;
    for (int32_t g = 0; g < table->n_groups; g++) {
        most = table->n_prices[g] > most ? table->n_prices[g] : most;
    }
    galv_stage_fronts *f = GALV_NEW(arena, galv_stage_fronts);
    menu *menus = GALV_NEW_ARRAY(arena, menu, (size_t)table->shape.pp * n_groups);
    int32_t *choice = GALV_NEW_ARRAY(arena, int32_t, table->n_layers);
    ranked *scratch = GALV_NEW_ARRAY(arena, ranked, most);
    if (!f || !menus || !choice || !scratch) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    double filled = -1;
    for (int32_t stage = 0; stage < table->shape.pp; stage++) {
        menu *own = &menus[(size_t)stage * n_groups];
        double kept = 0; /* of one chunk: the most */
        for (int32_t chunk = 0; chunk < table->shape.vpp; chunk++) {
            kept = fmax(kept, galv_replay_kept(replay, stage, chunk));
        }
        bool again = stage > 0 && kept >= filled && kept <= filled;
        if (again) {
            memcpy(own, own - n_groups, n_groups * sizeof *own);
        }
        for (int32_t g = 0; g < table->n_groups && !again; g++) {
            fill_menu(&own[g], table, g, seconds, kept, scratch);
        }
        filled = kept;
    }
    *f = (galv_stage_fronts){table, max_runs, arena, menus, NULL, choice};
    *fronts = f;
    return GALV_OK;
}

/* ---- frontiers ---- */

/* The groups that a stage has, as rows: the layers of one group are one row, whatever
 * chunks they lie in, for what is known of chunks here is the same for all. */
typedef struct stage_rows {
    const galv_stage_fronts *fronts;
    int32_t stage, n;
    galv_frontier_row rows[GALV_MAX_GROUPS];
    int32_t group[GALV_MAX_GROUPS];
} stage_rows;

static double change_s(void *context, int32_t row_a, int32_t option_a, int32_t row_b,
                       int32_t option_b)
{
    const stage_rows *r = context;
    const galv_layer_table *table = r->fronts->table;
    int32_t a = r->group[row_a];
    int32_t b = r->group[row_b];
    int32_t choice_a = menu_of(r->fronts, r->stage, a)->choice[option_a];
    int32_t choice_b = menu_of(r->fronts, r->stage, b)->choice[option_b];
    const galv_layer_price *from = &table->prices[a][choice_a];
    const galv_layer_price *to = &table->prices[b][choice_b];
    return galv_layer_change_s(from, to) + galv_layer_change_s(to, from);
}

static void fill_rows(stage_rows *r, const int32_t *n_layers)
{
    for (int32_t g = 0; g < r->fronts->table->n_groups; g++) {
        const menu *of = menu_of(r->fronts, r->stage, g);
        if (n_layers[g] > 0) {
            r->rows[r->n] = (galv_frontier_row){n_layers[g], of->n, of->options};
            r->group[r->n++] = g;
        }
    }
}

/* Would two stages be filled alike? */
static bool same_menus(const galv_stage_fronts *f, int32_t a, int32_t b)
{
    return a == b || memcmp(menu_of(f, a, 0), menu_of(f, b, 0),
                            (size_t)f->table->n_groups * sizeof(menu)) == 0;
}

static galv_status find_front(known **found, galv_stage_fronts *f, int32_t stage,
                              const int32_t *n_layers, double room_bytes, galv_err *err)
{
    size_t size = (size_t)f->table->n_groups * sizeof *n_layers;
    for (known *k = f->first; k != NULL; k = k->next) {
        if (k->room_bytes >= room_bytes && memcmp(k->n_layers, n_layers, size) == 0 &&
            same_menus(f, k->stage, stage)) {
            *found = k;
            return GALV_OK;
        }
    }
    stage_rows rows = {.fronts = f, .stage = stage};
    known *made = GALV_NEW(f->arena, known);
    if (!made) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    fill_rows(&rows, n_layers);
    made->stage = stage;
    memcpy(made->n_layers, n_layers, size);
    made->room_bytes = SPARE_ROOM * room_bytes;
    made->next = f->first;
    galv_frontier_problem problem = {rows.n,      rows.rows, made->room_bytes,
                                     f->max_runs, change_s,  &rows};
    f->first = made;
    *found = made;
    return galv_frontier_make(&made->frontier, &problem, f->arena, err);
}

galv_status galv_stage_fronts_fill(galv_stage_fill *fill, galv_stage_fronts *fronts,
                                   int32_t stage, const int32_t *n_layers,
                                   double room_bytes, galv_err *err)
{
    known *of = NULL;
    *fill = (galv_stage_fill){false, 0, fronts->choice};
    galv_status status = find_front(&of, fronts, stage, n_layers, room_bytes, err);
    if (status != GALV_OK) {
        return status;
    }
    size_t n = of->frontier.n_points;
    while (n > 0 && of->frontier.points[n - 1].bytes > room_bytes) {
        n--;
    }
    if (n == 0) {
        return GALV_OK;
    }
    const galv_frontier_point *point = &of->frontier.points[n - 1];
    fill->fits = true;
    fill->bytes = point->bytes;
    for (int32_t g = 0, i = 0; g < fronts->table->n_groups; g++) {
        for (int32_t k = 0; k < n_layers[g]; k++, i++) {
            fronts->choice[i] = menu_of(fronts, stage, g)->choice[point->options[i]];
        }
    }
    return GALV_OK;
}
