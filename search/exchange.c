/* Single changes are listed first: of a stage, so many layers at one end of a run, to
 * one strategy. Pairs of single changes of one layer each follow, and moves of one
 * block over a border. Each is weighed by the seconds of guesses (galv_layer_guide_s
 * and what changing hands takes), stages put together as a pipeline is. Only the most
 * promising are made and get a true bound. */
#include "search/exchange.h"

#include "search/relaxation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Layers [first, next) take prices[option] of their group. */
typedef struct change {
    int32_t stage, v, first, next;
    int16_t option;
    double time_s, bytes; /* what it adds to its stage */
} change;

typedef struct exchange {
    double time_s; /* expected, of the iteration */
    size_t order;  /* found as the so-manieth */
    change parts[2];
    int32_t n_parts;
    int32_t border, moved; /* besides: first_layer[border] += moved */
    const struct exchange
        *everywhere; /* [pp] of each stage one, instead of parts; NULL */
} exchange;

/* Shares of what stages have to spare that exchanges of all of them take: one stage
 * that was thought to have more spoils them all. */
enum { N_SHARES = 3 };
static const double shares[N_SHARES] = {1, 0.5, 0};

typedef struct exchanger {
    const galv_layering *from;
    const galv_layer_table *table;
    galv_replay *replay;
    const galv_model *model;
    const galv_exchange_limits *limits;
    galv_arena *arena;
    galv_err *err;
    double *stage_s;    /* [pp] guide of one micro-batch */
    exchange *of_stage; /* [N_SHARES][pp] by which it gains most; time_s: gained, < 0 */
    int32_t *stage_of;  /* [pp * vpp] */
    int32_t *chunk_of;  /* [pp * vpp] */
    exchange *best;     /* [n_wanted] a heap, worst first */
    int32_t n_best;
    size_t n_seen;
    change *changes; /* of the stage at hand */
    size_t n_changes, capacity;
} exchanger;

static const galv_layer_price *price_at(const exchanger *x, int32_t layer,
                                        int32_t option)
{
    return &x->table->prices[galv_layer_table_group(x->table, layer)][option];
}

static const galv_layer_price *present(const exchanger *x, int32_t layer)
{
    return price_at(x, layer, x->from->choice[layer]);
}

static double both_ways_s(const galv_layer_price *a, const galv_layer_price *b)
{
    return galv_layer_change_s(a, b) + galv_layer_change_s(b, a);
}

/* ---- the most promising ---- */

static bool is_worse(const exchange *a, const exchange *b)
{
    return a->time_s > b->time_s || (!(a->time_s < b->time_s) && a->order > b->order);
}

static void sink(exchanger *x, int32_t at)
{
    for (;;) {
        int32_t worst = at;
        for (int32_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < x->n_best && is_worse(&x->best[child], &x->best[worst])) {
                worst = child;
            }
        }
        if (worst == at) {
            return;
        }
        exchange held = x->best[at];
        x->best[at] = x->best[worst];
        x->best[worst] = held;
        at = worst;
    }
}

static void offer(exchanger *x, exchange *e)
{
    e->order = x->n_seen++;
    if (x->n_best == x->limits->n_wanted) {
        if (is_worse(&x->best[0], e)) {
            x->best[0] = *e;
            sink(x, 0);
        }
        return;
    }
    int32_t at = x->n_best++;
    x->best[at] = *e;
    while (at > 0 && is_worse(&x->best[at], &x->best[(at - 1) / 2])) {
        exchange held = x->best[at];
        x->best[at] = x->best[(at - 1) / 2];
        x->best[(at - 1) / 2] = held;
        at = (at - 1) / 2;
    }
}

/* Stages put together, stage a being `more_a` longer and b `more_b`.
 * Source: Narayanan et al. 2021 (arXiv 2104.04473, section 2.2.1), for equal stages. */
static double pipeline_s(const exchanger *x, int32_t a, double more_a, int32_t b,
                         double more_b)
{
    double sum_s = 0, most_s = 0;
    for (int32_t stage = 0; stage < x->table->shape.pp; stage++) {
        double t =
            x->stage_s[stage] + (stage == a ? more_a : 0) + (stage == b ? more_b : 0);
        sum_s += t / x->table->shape.vpp;
        most_s = fmax(most_s, t);
    }
    return sum_s + (x->table->n_micro_batches - 1) * most_s;
}

/* ---- changes of one stage ---- */

/* What layers [first, next) cost with their neighbours, as they are or with `option`.
 */
static double span_s(const exchanger *x, int32_t first, int32_t next, int32_t option)
{
    double m = x->table->n_micro_batches;
    const galv_layer_price *p =
        option < 0 ? present(x, first) : price_at(x, first, option);
    double time_s = (next - first) * galv_layer_guide_s(p, m);
    if (first > 0) {
        time_s += both_ways_s(present(x, first - 1), p);
    }
    if (next < x->table->n_layers) {
        time_s += both_ways_s(p, present(x, next));
    }
    return time_s;
}

static double kept_of(const exchanger *x, int32_t v)
{
    return galv_replay_kept(x->replay, x->stage_of[v], x->chunk_of[v]);
}

static double bytes_of(const galv_layer_price *p, double kept)
{
    return p->held_bytes + kept * p->kept_bytes;
}

static galv_status add_change(exchanger *x, const change *c)
{
    if (x->n_changes == x->capacity) {
        size_t capacity = x->capacity ? 2 * x->capacity : 256;
        change *grown = GALV_NEW_ARRAY(x->arena, change, capacity);
        if (!grown) {
            return galv_fail(x->err, GALV_NO_MEMORY, "out of memory");
        }
        if (x->n_changes > 0) {
            memcpy(grown, x->changes, x->n_changes * sizeof *grown);
        }
        x->changes = grown;
        x->capacity = capacity;
    }
    x->changes[x->n_changes++] = *c;
    return GALV_OK;
}

static galv_status change_span(exchanger *x, int32_t v, int32_t first, int32_t next)
{
    int32_t g = galv_layer_table_group(x->table, first);
    double kept = kept_of(x, v);
    double now_s = span_s(x, first, next, -1);
    double now_bytes = bytes_of(present(x, first), kept);
    /* between layers of the run that stays, or of one layer, nothing changes hands now
     */
    for (int32_t option = 0; option < x->table->n_prices[g]; option++) {
        if (option == x->from->choice[first]) {
            continue;
        }
        change c = {.stage = x->stage_of[v],
                    .v = v,
                    .first = first,
                    .next = next,
                    .option = (int16_t)option,
                    .time_s = span_s(x, first, next, option) - now_s,
                    .bytes = (next - first) *
                             (bytes_of(price_at(x, first, option), kept) - now_bytes)};
        galv_status status = add_change(x, &c);
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

/* Runs of virtual stage v. */
static galv_status change_runs(exchanger *x, int32_t v)
{
    int32_t end = x->from->first_layer[v + 1];
    int32_t next = 0;
    for (int32_t first = x->from->first_layer[v]; first < end; first = next) {
        int32_t g = galv_layer_table_group(x->table, first);
        for (next = first + 1;
             next < end && galv_layer_table_group(x->table, next) == g &&
             x->from->choice[next] == x->from->choice[first];
             next++) {
        }
        galv_status status = change_span(x, v, first, next);
        for (int32_t n = 1; status == GALV_OK && n < next - first; n *= 2) {
            status = change_span(x, v, first, first + n);
            if (status == GALV_OK) {
                status = change_span(x, v, next - n, next);
            }
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

/* Offers an exchange inside one stage, which takes `more_s` longer. */
static void offer_in_stage(exchanger *x, exchange *e, double more_s, double more_bytes)
{
    int32_t stage = e->parts[0].stage;
    e->time_s = pipeline_s(x, stage, more_s, -1, 0);
    offer(x, e);
    for (int i = 0; i < N_SHARES; i++) {
        exchange *best = &x->of_stage[i * x->table->shape.pp + stage];
        if (more_s < best->time_s &&
            more_bytes <= fmax(0, shares[i] * x->limits->spare_bytes[stage])) {
            *best = *e;
            best->time_s = more_s;
        }
    }
}

static bool fits(const exchanger *x, int32_t stage, double bytes)
{
    return bytes <= 0 || bytes <= x->limits->spare_bytes[stage];
}

static void pair_changes(exchanger *x)
{
    for (size_t i = 0; i < x->n_changes; i++) {
        const change *a = &x->changes[i];
        if (a->next - a->first > 1 || !(a->time_s < 0)) {
            continue; /* a: the one that gains */
        }
        for (size_t k = 0; k < x->n_changes; k++) {
            const change *b = &x->changes[k];
            if (b->next - b->first > 1 || !(b->bytes < 0) || b->first == a->first ||
                (b->time_s < 0 && k < i) || !fits(x, a->stage, a->bytes + b->bytes)) {
                continue;
            }
            exchange e = {.n_parts = 2, .parts = {*a, *b}};
            offer_in_stage(x, &e, a->time_s + b->time_s, a->bytes + b->bytes);
        }
    }
}

static galv_status exchange_in_stages(exchanger *x)
{
    int32_t n_virtual = x->table->shape.pp * x->table->shape.vpp;
    for (int32_t stage = 0; stage < x->table->shape.pp; stage++) {
        x->n_changes = 0;
        for (int32_t v = 0; v < n_virtual; v++) {
            galv_status status = x->stage_of[v] == stage ? change_runs(x, v) : GALV_OK;
            if (status != GALV_OK) {
                return status;
            }
        }
        for (size_t i = 0; i < x->n_changes; i++) {
            const change *c = &x->changes[i];
            if (fits(x, c->stage, c->bytes)) {
                exchange e = {.n_parts = 1, .parts = {*c}};
                offer_in_stage(x, &e, c->time_s, c->bytes);
            }
        }
        pair_changes(x);
    }
    return GALV_OK;
}

/* What helps each stage most, in all of them at once: alone none may help, where all
 * take about as long. */
static void exchange_everywhere(exchanger *x)
{
    int32_t pp = x->table->shape.pp;
    for (int i = 0; pp > 1 && i < N_SHARES; i++) {
        exchange e = {.everywhere = &x->of_stage[i * pp]};
        for (int32_t stage = 0; stage < pp; stage++) {
            x->stage_s[stage] += e.everywhere[stage].time_s;
        }
        e.time_s = pipeline_s(x, -1, 0, -1, 0);
        for (int32_t stage = 0; stage < pp; stage++) {
            x->stage_s[stage] -= e.everywhere[stage].time_s;
        }
        offer(x, &e);
    }
}

/* ---- borders ---- */

static bool is_block(const exchanger *x, int32_t layer)
{
    return galv_layer_is_block(
        &x->model->groups[galv_layer_table_group(x->table, layer)]);
}

static int32_t count_blocks(const exchanger *x, int32_t v)
{
    int32_t n = 0;
    for (int32_t l = x->from->first_layer[v]; l < x->from->first_layer[v + 1]; l++) {
        n += is_block(x, l);
    }
    return n;
}

/* Layer `moved` goes from virtual stage `giver` to `taker`, next to `beside` there,
 * whose strategy it takes if it can. */
static void move_layer(exchanger *x, int32_t giver, int32_t taker, int32_t moved,
                       int32_t beside)
{
    bool alike = galv_layer_table_group(x->table, moved) ==
                 galv_layer_table_group(x->table, beside);
    if (!is_block(x, moved) || !is_block(x, beside) || count_blocks(x, giver) < 2) {
        return;
    }
    int16_t option = x->from->choice[alike ? beside : moved];
    const galv_layer_price *now = present(x, moved);
    const galv_layer_price *then = price_at(x, moved, option);
    double m = x->table->n_micro_batches;
    exchange e = {.n_parts = 1,
                  .parts = {{.stage = x->stage_of[taker],
                             .v = taker,
                             .first = moved,
                             .next = moved + 1,
                             .option = option}},
                  .border = giver < taker ? taker : giver,
                  .moved = giver < taker ? -1 : 1};
    if (!fits(x, x->stage_of[taker], bytes_of(then, kept_of(x, taker)))) {
        return;
    }
    e.time_s = pipeline_s(x, x->stage_of[giver], -galv_layer_guide_s(now, m),
                          x->stage_of[taker], galv_layer_guide_s(then, m));
    offer(x, &e);
}

static void move_borders(exchanger *x)
{
    for (int32_t v = 1; v < x->table->shape.pp * x->table->shape.vpp; v++) {
        int32_t border = x->from->first_layer[v];
        move_layer(x, v - 1, v, border - 1, border);
        move_layer(x, v, v - 1, border, border - 1);
    }
}

/* ---- the whole ---- */

static galv_status weigh_stages(exchanger *x)
{
    const galv_shape *shape = &x->table->shape;
    double m = x->table->n_micro_batches;
    for (int32_t i = 0; i < shape->pp * shape->vpp; i++) {
        int32_t stage = i / shape->vpp;
        int32_t chunk = i % shape->vpp;
        int32_t v = galv_replay_virtual_stage(x->replay, stage, chunk);
        x->stage_of[v] = stage;
        x->chunk_of[v] = chunk;
        for (int32_t l = x->from->first_layer[v]; l < x->from->first_layer[v + 1];
             l++) {
            x->stage_s[stage] += galv_layer_guide_s(present(x, l), m);
            if (l > 0) {
                x->stage_s[stage] += both_ways_s(present(x, l - 1), present(x, l));
            }
        }
    }
    return GALV_OK;
}

static int by_time(const void *left, const void *right)
{
    return is_worse(left, right) ? 1 : -1;
}

static void apply(galv_layering *layering, const exchange *e)
{
    for (int32_t part = 0; part < e->n_parts; part++) {
        for (int32_t l = e->parts[part].first; l < e->parts[part].next; l++) {
            layering->choice[l] = e->parts[part].option;
        }
    }
    layering->first_layer[e->border] += e->moved;
}

static galv_status make_leaves(galv_layer_leaves *leaves, exchanger *x)
{
    const galv_layer_table *table = x->table;
    size_t n_layers = (size_t)table->n_layers;
    size_t n_borders = (size_t)table->shape.pp * (size_t)table->shape.vpp + 1;
    galv_layering_sums sums;
    galv_status status = galv_layering_sums_new(&sums, table, x->arena, x->err);
    qsort(x->best, (size_t)x->n_best, sizeof *x->best, by_time);
    for (int32_t i = 0; status == GALV_OK && i < x->n_best; i++) {
        const exchange *e = &x->best[i];
        galv_layer_leaf *leaf = &leaves->leaves[leaves->n_leaves];
        leaf->layering.choice = GALV_NEW_ARRAY(x->arena, int16_t, n_layers);
        leaf->layering.first_layer = GALV_NEW_ARRAY(x->arena, int32_t, n_borders);
        if (!leaf->layering.choice || !leaf->layering.first_layer) {
            return galv_fail(x->err, GALV_NO_MEMORY, "out of memory");
        }
        memcpy(leaf->layering.choice, x->from->choice, n_layers * sizeof(int16_t));
        memcpy(leaf->layering.first_layer, x->from->first_layer,
               n_borders * sizeof(int32_t));
        apply(&leaf->layering, e);
        for (int32_t stage = 0; e->everywhere && stage < table->shape.pp; stage++) {
            apply(&leaf->layering, &e->everywhere[stage]);
        }
        galv_layering_sum(&sums, &leaf->layering, table, x->replay);
        leaf->bound_s = galv_layering_bound_s(&sums, table, x->replay);
        leaves->n_leaves += leaf->bound_s < x->limits->stop_at_s;
    }
    return status;
}

galv_status galv_layer_exchanges(galv_layer_leaves *leaves,
                                 const galv_layering *layering,
                                 const galv_layer_table *table, galv_replay *replay,
                                 const galv_model *model,
                                 const galv_exchange_limits *limits, galv_arena *arena,
                                 galv_err *err)
{
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    exchanger x = {.from = layering,
                   .table = table,
                   .replay = replay,
                   .model = model,
                   .limits = limits,
                   .arena = arena,
                   .err = err,
                   .stage_s = GALV_NEW_ARRAY(arena, double, table->shape.pp),
                   .of_stage =
                       GALV_NEW_ARRAY(arena, exchange, N_SHARES * table->shape.pp),
                   .stage_of = GALV_NEW_ARRAY(arena, int32_t, n_virtual),
                   .chunk_of = GALV_NEW_ARRAY(arena, int32_t, n_virtual),
                   .best = GALV_NEW_ARRAY(arena, exchange, limits->n_wanted)};
    galv_layer_leaves found = {
        0, GALV_NEW_ARRAY(arena, galv_layer_leaf, limits->n_wanted), 0, false};
    if (!x.stage_s || !x.of_stage || !x.stage_of || !x.chunk_of || !x.best ||
        !found.leaves) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = weigh_stages(&x);
    if (status == GALV_OK) {
        status = exchange_in_stages(&x);
    }
    if (status == GALV_OK) {
        exchange_everywhere(&x);
        move_borders(&x);
        status = make_leaves(&found, &x);
    }
    if (status == GALV_OK) {
        found.n_nodes = x.n_seen;
        *leaves = found;
    }
    return status;
}
