/* Bounds from layers, as search/bound.c has them from compiled passes: with A_i the
 * forwards of the virtual stages before stage i's first one and D_i their backwards,
 *
 *   T >= A_i + m max(latency of i, load of a stream of i) + D_i + the longest step
 *
 * of every stage, and of a stage from any of its virtual stages on; or what hiding
 * parameter messages takes (galv_layer_hiding_s, search/relaxation.h), if that is more.
 * Layers are charged what search/layer_table.h says is a lower bound of what each adds,
 * so the sum is below what bound.c would say; it costs some hundred times less. */
#include "search/shapes.h"

#include "search/layering.h"
#include "search/relaxation.h"
#include "search/replay.h"

#include <math.h>

#define ROUNDING 1e-12

typedef struct maker {
    galv_shapes *shapes;
    const galv_costmodel *model;
    const galv_job *job;
    const galv_space *space;
    const galv_candidates *candidates;
    int32_t pool; /* -1 = the only one */
    size_t capacity;
    galv_arena *arena;
    galv_arena *scratch; /* of one shape */
    galv_layer_times *times;
    galv_err *err;
} maker;

/* The stages of a pool, when there are pp: [first, first + n). */
static int32_t stages_of_pool(int32_t *first, const galv_cluster *cluster, int32_t pool,
                              int32_t pp)
{
    int64_t per_stage = galv_cluster_n_devices(cluster) / pp;
    int64_t before = 0;
    for (int32_t i = 0; i < pool; i++) {
        before +=
            (int64_t)cluster->pools[i].n_nodes * cluster->pools[i].devices_per_node;
    }
    *first = (int32_t)(before / per_stage);
    return (int32_t)((int64_t)cluster->pools[pool].n_nodes *
                     cluster->pools[pool].devices_per_node / per_stage);
}

static bool same_pipeline(const galv_shape *shape, const galv_candidate *c)
{
    return shape->pp == c->pp && shape->vpp == c->vpp && shape->schedule == c->schedule;
}

static bool can_mix(const maker *m, const galv_candidate *c)
{
    return (m->job->cluster.n_pools == 1 || m->pool >= 0) &&
           c->rank_order == GALV_RANK_ORDER_DP_INSIDE && !c->schedule->follows_costs &&
           !c->schedule->pairs;
}

static bool add_shape(maker *m, const galv_candidate *c)
{
    galv_shapes *s = m->shapes;
    if (s->n == m->capacity) {
        size_t capacity = m->capacity ? 2 * m->capacity : 256;
        galv_layer_table *grown = GALV_NEW_ARRAY(m->arena, galv_layer_table, capacity);
        if (!grown) {
            return false;
        }
        for (size_t i = 0; i < s->n; i++) {
            grown[i] = s->tables[i];
        }
        s->tables = grown;
        m->capacity = capacity;
    }
    galv_shape *shape = &s->tables[s->n++].shape;
    *shape = (galv_shape){.pp = c->pp,
                          .vpp = c->vpp,
                          .schedule = c->schedule,
                          .samples = (int64_t)c->micro_batch_size * c->strategy.dp};
    if (m->pool >= 0) {
        shape->n_stages =
            stages_of_pool(&shape->first_stage, &m->job->cluster, m->pool, c->pp);
    }
    return true;
}

/* The tree has pipeline, schedule and chunks first: candidates that share them are in a
 * row, and a shape is looked for among the last ones. */
static bool collect(maker *m)
{
    galv_shapes *s = m->shapes;
    for (size_t i = 0; i < m->candidates->n_candidates; i++) {
        const galv_candidate *c = &m->candidates->candidates[i];
        s->shape_of[i] = -1;
        if (!can_mix(m, c)) {
            continue;
        }
        int64_t samples = (int64_t)c->micro_batch_size * c->strategy.dp;
        size_t at = s->n;
        while (at > 0 && same_pipeline(&s->tables[at - 1].shape, c) &&
               s->tables[at - 1].shape.samples != samples) {
            at--;
        }
        if (at == 0 || !same_pipeline(&s->tables[at - 1].shape, c)) {
            if (!add_shape(m, c)) {
                return false;
            }
            at = s->n;
        }
        s->shape_of[i] = (int32_t)at - 1;
        s->strategy_of[i] = s->tables[at - 1].shape.n_strategies++;
    }
    return true;
}

static bool fill_strategies(maker *m)
{
    galv_shapes *s = m->shapes;
    galv_strategy **own = GALV_NEW_ARRAY(m->arena, galv_strategy *, s->n + 1);
    for (size_t k = 0; own && k < s->n; k++) {
        galv_shape *shape = &s->tables[k].shape;
        own[k] = GALV_NEW_ARRAY(m->arena, galv_strategy, shape->n_strategies);
        shape->strategies = own[k];
        if (!own[k]) {
            return false;
        }
    }
    for (size_t i = 0; own && i < m->candidates->n_candidates; i++) {
        if (s->shape_of[i] >= 0) {
            own[s->shape_of[i]][s->strategy_of[i]] =
                m->candidates->candidates[i].strategy;
        }
    }
    return own != NULL;
}

/* Do two shapes price their layers alike? */
static bool same_prices(const galv_shape *a, const galv_shape *b)
{
    bool same = a->pp == b->pp && a->samples == b->samples &&
                a->schedule->splits_backward == b->schedule->splits_backward &&
                a->n_strategies == b->n_strategies;
    for (int32_t i = 0; same && i < a->n_strategies; i++) {
        same = galv_strategy_equal(&a->strategies[i], &b->strategies[i]);
    }
    return same;
}

static galv_status price(maker *m, size_t index)
{
    galv_layer_table *tables = m->shapes->tables;
    galv_shape shape = tables[index].shape;
    for (size_t k = 0; k < index; k++) {
        if (same_prices(&tables[k].shape, &shape)) {
            tables[index] = tables[k];
            tables[index].shape = shape;
            return GALV_OK;
        }
    }
    return galv_layer_table_make(&tables[index], m->model, &shape, &m->space->overlap,
                                 m->times, m->arena, m->err);
}

/* Sums of the own counts, along the way and over the virtual stages of a stage. */
static galv_status add_up(galv_shape_counts *counts, maker *m, size_t index)
{
    const galv_layer_table *table = &m->shapes->tables[index];
    const galv_shape *of = &table->shape;
    int32_t n_virtual = of->pp * of->vpp;
    int32_t n_groups = table->n_groups;
    int32_t *stage_of = GALV_NEW_ARRAY(m->arena, int32_t, n_virtual);
    int32_t *later = GALV_NEW_ARRAY(m->arena, int32_t, of->pp * n_groups);
    if (!stage_of || !later) {
        return galv_fail(m->err, GALV_NO_MEMORY, "out of memory");
    }
    galv_schedule_shape order = {of->pp, of->vpp, table->n_micro_batches, 0, NULL};
    for (int32_t i = 0; i < n_virtual; i++) {
        stage_of[galv_schedule_virtual_stage(of->schedule, &order, i / of->vpp,
                                             i % of->vpp)] = i / of->vpp;
    }
    for (int32_t v = 1; v < n_virtual; v++) {
        counts->borders[v] = counts->borders[v - 1] + (stage_of[v] != stage_of[v - 1]);
        for (int32_t g = 0; g < n_groups; g++) {
            counts->before[v * n_groups + g] = counts->before[(v - 1) * n_groups + g] +
                                               counts->own[(v - 1) * n_groups + g];
        }
    }
    for (int32_t v = n_virtual - 1; v >= 0; v--) {
        for (int32_t g = 0; g < n_groups; g++) {
            int32_t *sum = &later[stage_of[v] * n_groups + g];
            *sum += counts->own[v * n_groups + g];
            counts->later[v * n_groups + g] = *sum;
        }
    }
    return GALV_OK;
}

static galv_status count_layers(galv_shape_counts *counts, maker *m, size_t index)
{
    const galv_layer_table *table = &m->shapes->tables[index];
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    size_t n_counts = (size_t)n_virtual * (size_t)table->n_groups;
    int32_t *blocks = GALV_NEW_ARRAY(m->arena, int32_t, n_virtual);
    int32_t *first_layer = GALV_NEW_ARRAY(m->arena, int32_t, n_virtual + 1);
    *counts = (galv_shape_counts){GALV_NEW_ARRAY(m->arena, int32_t, n_counts),
                                  GALV_NEW_ARRAY(m->arena, int32_t, n_counts),
                                  GALV_NEW_ARRAY(m->arena, int32_t, n_counts),
                                  GALV_NEW_ARRAY(m->arena, int32_t, n_virtual)};
    if (!blocks || !first_layer || !counts->own || !counts->before || !counts->later ||
        !counts->borders) {
        return galv_fail(m->err, GALV_NO_MEMORY, "out of memory");
    }
    galv_plan_balance(blocks, galv_model_n_blocks(&m->job->model), table->shape.pp,
                      table->shape.vpp);
    galv_layering_divide(first_layer, &m->job->model, blocks, n_virtual);
    for (int32_t v = 0; v < n_virtual; v++) {
        for (int32_t layer = first_layer[v]; layer < first_layer[v + 1]; layer++) {
            counts->own[v * table->n_groups + galv_layer_table_group(table, layer)]++;
        }
    }
    return add_up(counts, m, index);
}

/* Micro-batches, in rounds of one for each stage, of an iteration that says what is
 * kept: longer ones begin alike, and keep no less. */
enum { SHORT_ROUNDS = 4 };

/* Micro-batches kept, all 0 where the schedule cannot do so many. */
static galv_status count_kept(double **kept, maker *m, size_t index)
{
    const galv_layer_table *table = &m->shapes->tables[index];
    const galv_shape *of = &table->shape;
    int32_t few = SHORT_ROUNDS * of->pp + table->n_micro_batches % (2 * of->pp);
    galv_schedule_shape shape = {
        of->pp, of->vpp, table->n_micro_batches > few ? few : table->n_micro_batches, 0,
        NULL};
    galv_arena_reset(m->scratch);
    *kept = GALV_NEW_ARRAY(m->arena, double, of->pp * of->vpp);
    if (!*kept) {
        return galv_fail(m->err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status =
        galv_replay_count_kept(*kept, of->schedule, &shape, m->scratch, m->err);
    return status == GALV_USAGE ? GALV_OK : status;
}

/* Counts and kept micro-batches of a shape, or those of the one before. */
static galv_status describe(maker *m, size_t k)
{
    galv_shapes *s = m->shapes;
    const galv_shape *shape = &s->tables[k].shape;
    const galv_shape *last = k > 0 ? &s->tables[k - 1].shape : shape;
    bool again = k > 0 && last->pp == shape->pp && last->vpp == shape->vpp &&
                 last->schedule == shape->schedule;
    galv_status status = GALV_OK;
    if (again) {
        s->counts_of[k] = s->counts_of[k - 1];
    } else {
        status = count_layers(&s->counts_of[k], m, k);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (again && s->tables[k - 1].n_micro_batches == s->tables[k].n_micro_batches) {
        s->kept_of[k] = s->kept_of[k - 1];
        return GALV_OK;
    }
    return count_kept(&s->kept_of[k], m, k);
}

static galv_status fill(maker *m)
{
    galv_shapes *s = m->shapes;
    s->counts_of = GALV_NEW_ARRAY(m->arena, galv_shape_counts, s->n + 1);
    s->kept_of = GALV_NEW_ARRAY(m->arena, double *, s->n + 1);
    galv_status status = s->counts_of && s->kept_of && m->scratch && m->times
                             ? GALV_OK
                             : galv_fail(m->err, GALV_NO_MEMORY, "out of memory");
    for (size_t k = 0; status == GALV_OK && k < s->n; k++) {
        status = price(m, k);
        if (status == GALV_OK) {
            status = describe(m, k);
        }
    }
    return status;
}

static galv_status make(galv_shapes *shapes, const galv_costmodel *model,
                        const galv_space *space, const galv_candidates *candidates,
                        int32_t pool, galv_arena *arena, galv_err *err)
{
    galv_shapes made = {0};
    maker m = {.shapes = &made,
               .model = model,
               .job = galv_costmodel_job(model),
               .space = space,
               .candidates = candidates,
               .pool = pool,
               .arena = arena,
               .err = err};
    size_t n = candidates->n_candidates + 1;
    made.limit_bytes = galv_costmodel_memory_limit(model);
    made.shape_of = GALV_NEW_ARRAY(arena, int32_t, n);
    made.strategy_of = GALV_NEW_ARRAY(arena, int32_t, n);
    if (!made.shape_of || !made.strategy_of || !collect(&m) || !fill_strategies(&m)) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    m.scratch = galv_arena_new();
    m.times = galv_layer_times_new();
    galv_status status = fill(&m);
    galv_layer_times_free(m.times);
    galv_arena_free(m.scratch);
    if (status == GALV_OK) {
        *shapes = made;
    }
    return status;
}

galv_status galv_shapes_make(galv_shapes *shapes, const galv_costmodel *model,
                             const galv_space *space, const galv_candidates *candidates,
                             galv_arena *arena, galv_err *err)
{
    return make(shapes, model, space, candidates, -1, arena, err);
}

galv_status galv_shapes_make_on_pool(galv_shapes *shapes, const galv_costmodel *model,
                                     const galv_space *space,
                                     const galv_candidates *candidates, int32_t pool,
                                     galv_arena *arena, galv_err *err)
{
    return make(shapes, model, space, candidates, pool, arena, err);
}

/* ---- bounds ---- */

/* What some layers add. */
typedef struct sums {
    double forward_s, backward_s, weight_s;
    double load_s[GALV_N_STREAMS];
    double optimizer_s, hiding_s, bytes;
} sums;

/* n layers, of a chunk that keeps the activations of `kept` micro-batches. */
static void add_layers(sums *to, const galv_layer_price *price, double n, double kept)
{
    to->forward_s += n * price->forward_s;
    to->backward_s += n * price->backward_s;
    to->weight_s += n * price->weight_s;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        to->load_s[stream] += n * price->load_s[stream];
    }
    to->optimizer_s += n * price->optimizer_s;
    to->hiding_s += n * galv_layer_hiding_s(price, 1);
    to->bytes += n * (price->held_bytes + kept * price->kept_bytes);
}

/* What a stage is busy with between the first arrival and the last way back: messages
 * of parameters may begin before and end after. */
static double busiest_s(const sums *stage)
{
    double most = stage->forward_s + stage->backward_s + stage->weight_s;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        most = fmax(most, stream == GALV_STREAM_DP ? 0 : stage->load_s[stream]);
    }
    return most;
}

/* Seconds of some layers of every group. */
typedef struct pass_times {
    double forward_s, backward_s, weight_s;
} pass_times;

static pass_times time_layers(const int32_t *counts,
                              const galv_layer_price *const *prices, int32_t n_groups)
{
    pass_times times = {0, 0, 0};
    for (int32_t g = 0; g < n_groups; g++) {
        times.forward_s += counts[g] * prices[g]->forward_s;
        times.backward_s += counts[g] * prices[g]->backward_s;
        times.weight_s += counts[g] * prices[g]->weight_s;
    }
    return times;
}

/* From the first forward to the last backward: the way to a virtual stage, m times what
 * its stage does from there on, and the way back, see search/bound.c. */
static double chains_s(const galv_layer_table *table, const galv_shape_counts *counts,
                       const galv_layer_price *const *prices)
{
    const galv_shape *shape = &table->shape;
    double m = table->n_micro_batches;
    int32_t n_groups = table->n_groups;
    bool splits = shape->schedule->splits_backward;
    double most = 0;
    for (int32_t v = 0; v < shape->pp * shape->vpp; v++) {
        pass_times way = time_layers(&counts->before[v * n_groups], prices, n_groups);
        pass_times own = time_layers(&counts->later[v * n_groups], prices, n_groups);
        double messages_s = counts->borders[v] * table->least_message_s;
        double chain_s = way.forward_s + messages_s +
                         m * (own.forward_s + own.backward_s + own.weight_s) +
                         (splits ? 0 : way.backward_s + messages_s);
        most = fmax(most, chain_s);
    }
    return most;
}

galv_shape_bound galv_shapes_bound(const galv_shapes *shapes, size_t candidate)
{
    galv_shape_bound found = {0, {0, shapes->limit_bytes}};
    if (shapes->shape_of[candidate] < 0) {
        return shapes->known != NULL ? shapes->known[candidate] : found;
    }
    const galv_layer_table *table = &shapes->tables[shapes->shape_of[candidate]];
    const galv_shape_counts *counts = &shapes->counts_of[shapes->shape_of[candidate]];
    const double *kept = shapes->kept_of[shapes->shape_of[candidate]];
    const galv_shape *shape = &table->shape;
    const galv_layer_price *prices[GALV_MAX_GROUPS];
    for (int32_t g = 0; g < table->n_groups; g++) {
        prices[g] =
            &table->prices[g][table->price_of[g][shapes->strategy_of[candidate]]];
    }
    galv_schedule_shape order = {shape->pp, shape->vpp, table->n_micro_batches, 0,
                                 NULL};
    double m = table->n_micro_batches;
    double messages =
        shape->pp > 1 ? 4.0 * shape->vpp * table->message_s * table->most_slowing : 0;
    double step_s = 0;
    double hiding_s = 0;
    found.bound_s = chains_s(table, counts, prices);
    for (int32_t stage = 0; stage < shape->pp; stage++) {
        sums all = {0};
        for (int32_t chunk = 0; chunk < shape->vpp; chunk++) {
            int32_t v =
                galv_schedule_virtual_stage(shape->schedule, &order, stage, chunk);
            for (int32_t g = 0; g < table->n_groups; g++) {
                int32_t n = counts->own[v * table->n_groups + g];
                if (n > 0) {
                    add_layers(&all, prices[g], n, kept[stage * shape->vpp + chunk]);
                }
            }
        }
        pass_times way =
            time_layers(&counts->before[stage * table->n_groups], prices,
                        table->n_groups); /* to chunk 0, which is virtual stage i */
        double passed_s =
            way.forward_s + (shape->schedule->splits_backward ? 0 : way.backward_s);
        found.bound_s = fmax(found.bound_s, passed_s + m * busiest_s(&all));
        found.bound_s = fmax(found.bound_s, m * all.load_s[GALV_STREAM_DP]);
        hiding_s = fmax(hiding_s, m * (all.hiding_s - messages));
        found.least.bytes = fmax(found.least.bytes, table->base_bytes + all.bytes);
        step_s = fmax(step_s, all.optimizer_s);
    }
    found.bound_s = fmax(found.bound_s + step_s, hiding_s) * (1 - ROUNDING);
    found.least.bytes *= 1 - ROUNDING;
    return found;
}
