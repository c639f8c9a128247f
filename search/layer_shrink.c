/* Where nothing that fits was found: layerings that need less memory, one exchange at a
 * time.
 *
 * From the uniform plans of a shape that need least, the fullest stage gives one of its
 * runs of alike layers, or the first or last of a run, another strategy, or all stages
 * do so at once, or it hands a block to a neighbour: whatever lessens the peak most, by
 * the estimate from below. What is met on the way and may fit is simulated. Buffers
 * that layers share make that more than taking the smallest strategy of each layer.
 * Nothing is claimed for what is not found. */
#include "search/layer_tree.h"
#include "search/layerwise_internal.h"
#include "sim/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_WEIGHED = 3000,   /* estimates in all */
    MOST_SHAPES_FOUND = 4, /* in so many something that fits was found: enough */
    MOST_STARTS = 3,       /* of a shape, until something is found */
    MOST_JUDGED = 64,      /* of a shape, beside those on the way down */
    SHORT_ROUNDS = 4       /* micro-batches, in rounds of one for each stage */
};

typedef struct shrinker {
    galv_layerwise *l;
    const galv_layerwise_shape *entry;
    galv_replay *replay;
    int32_t *stage_of;    /* [pp * vpp] of each virtual stage */
    double *least, *most; /* [pp] */
    int32_t fullest;
    int32_t *n_weighed;
    int32_t n_judged;
    galv_layering at;
    double at_bytes;
    galv_layering next; /* the best exchange so far */
    double next_bytes;
    galv_layering tried;
} shrinker;

static bool new_layering(galv_layering *layering, const galv_layer_table *table,
                         galv_arena *arena)
{
    layering->choice = GALV_NEW_ARRAY(arena, int16_t, table->n_layers);
    layering->first_layer =
        GALV_NEW_ARRAY(arena, int32_t, table->shape.pp * table->shape.vpp + 1);
    return layering->choice && layering->first_layer;
}

static void copy(galv_layering *to, const galv_layering *from,
                 const galv_layer_table *table)
{
    memcpy(to->choice, from->choice, (size_t)table->n_layers * sizeof(int16_t));
    memcpy(to->first_layer, from->first_layer,
           ((size_t)table->shape.pp * (size_t)table->shape.vpp + 1) * sizeof(int32_t));
}

/* The least that the fullest stage needs; s->fullest is that stage. */
static galv_status weigh(double *bytes, shrinker *s, const galv_layering *layering)
{
    galv_layerwise *l = s->l;
    galv_arena *arena = l->arenas[0];
    galv_plan *plan = NULL;
    int32_t pp = s->entry->table->shape.pp;
    galv_status status = galv_layering_plan(&plan, layering, s->entry->table,
                                            &l->space->overlap, l->job, arena, l->err);
    if (status == GALV_OK) {
        int64_t m = galv_plan_n_micro_batches(plan);
        int64_t few = SHORT_ROUNDS * (int64_t)pp + m % (2 * (int64_t)pp);
        plan->global_batch_size = plan->global_batch_size / m * (m < few ? m : few);
        status = galv_estimate_memory_between(s->least, s->most, l->model, plan, NULL,
                                              arena, l->err);
    }
    *bytes = 0;
    for (int32_t stage = 0; status == GALV_OK && stage < pp; stage++) {
        if (s->least[stage] > *bytes) {
            *bytes = s->least[stage];
            s->fullest = stage;
        }
    }
    *bytes *= 1 - GALV_ESTIMATE_SLACK_FRAC;
    ++*s->n_weighed;
    galv_arena_reset(arena);
    return status;
}

/* Puts a layering in the wave, which is judged when it is full. */
static galv_status judge_later(shrinker *s, const galv_layering *layering)
{
    galv_layerwise *l = s->l;
    galv_layer_leaf *leaf = &l->wave[l->n_wave];
    *leaf = (galv_layer_leaf){.bound_s = s->entry->bound_s};
    if (!new_layering(&leaf->layering, s->entry->table, l->scratch)) {
        return galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
    }
    copy(&leaf->layering, layering, s->entry->table);
    s->n_judged++;
    l->stop_at_s[l->n_wave++] = INFINITY;
    if (l->n_wave < GALV_LAYERWISE_WAVE) {
        return GALV_OK;
    }
    galv_status status = galv_layerwise_judge(l);
    l->n_wave = 0;
    return status;
}

/* Weighs s->tried, and keeps it as the next one if it needs less than that; while
 * nothing was found, all that may fit are judged. */
static galv_status try(shrinker *s)
{
    double bytes = 0;
    int32_t fullest = s->fullest;
    galv_status status = weigh(&bytes, s, &s->tried);
    s->fullest = fullest;
    if (status == GALV_OK && bytes <= s->l->limit_bytes &&
        !isfinite(s->l->result->best_s) && s->n_judged < MOST_JUDGED) {
        status = judge_later(s, &s->tried);
    }
    if (status == GALV_OK && bytes < s->next_bytes) {
        s->next_bytes = bytes;
        copy(&s->next, &s->tried, s->entry->table);
    }
    return status;
}

static bool is_block(const shrinker *s, int32_t layer)
{
    return galv_layer_is_block(galv_model_layer(&s->l->job->model, layer));
}

/* The strategy of layers [first, next) in all ways. */
static galv_status change(shrinker *s, int32_t first, int32_t next)
{
    const galv_layer_table *table = s->entry->table;
    int32_t g = galv_layer_table_group(table, first);
    galv_status status = GALV_OK;
    for (int32_t i = 0; i < table->n_prices[g] && status == GALV_OK; i++) {
        if (i == s->at.choice[first]) {
            continue;
        }
        copy(&s->tried, &s->at, table);
        for (int32_t layer = first; layer < next; layer++) {
            s->tried.choice[layer] = (int16_t)i;
        }
        status = try(s);
    }
    return status;
}

/* Runs of alike layers on the fullest stage. */
static galv_status change_runs(shrinker *s)
{
    const galv_layer_table *table = s->entry->table;
    galv_status status = GALV_OK;
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    for (int32_t v = 0; v < n_virtual && status == GALV_OK; v++) {
        int32_t end = s->at.first_layer[v + 1];
        int32_t next = 0;
        for (int32_t first = s->at.first_layer[v];
             s->stage_of[v] == s->fullest && first < end && status == GALV_OK;
             first = next) {
            int32_t g = galv_layer_table_group(table, first);
            for (next = first + 1;
                 next < end && galv_layer_table_group(table, next) == g &&
                 s->at.choice[next] == s->at.choice[first];
                 next++) {
            }
            status = change(s, first, next);
            if (status == GALV_OK && next > first + 1) {
                status = change(s, first, first + 1);
            }
            if (status == GALV_OK && next > first + 1) {
                status = change(s, next - 1, next);
            }
        }
    }
    return status;
}

/* All layers of one group, or the last of each virtual stage: stages may be equally
 * full. */
static galv_status change_everywhere(shrinker *s)
{
    const galv_layer_table *table = s->entry->table;
    galv_status status = GALV_OK;
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    for (int32_t g = 0; n_virtual > 1 && g < table->n_groups; g++) {
        for (int32_t i = 0; i < table->n_prices[g] && status == GALV_OK; i++) {
            for (int last = 0; last < 2 && status == GALV_OK; last++) {
                copy(&s->tried, &s->at, table);
                for (int32_t v = 0; v < n_virtual; v++) {
                    int32_t end = s->at.first_layer[v + 1];
                    int32_t first = last ? end - 1 : s->at.first_layer[v];
                    for (int32_t layer = first; layer < end; layer++) {
                        if (galv_layer_table_group(table, layer) == g) {
                            s->tried.choice[layer] = (int16_t)i;
                        }
                    }
                }
                status = try(s);
            }
        }
    }
    return status;
}

static int32_t count_blocks(const shrinker *s, int32_t v)
{
    int32_t n = 0;
    for (int32_t k = s->at.first_layer[v]; k < s->at.first_layer[v + 1]; k++) {
        n += is_block(s, k);
    }
    return n;
}

/* A block of the fullest stage goes over one of its borders. */
static galv_status move_borders(shrinker *s)
{
    const galv_layer_table *table = s->entry->table;
    galv_status status = GALV_OK;
    for (int32_t v = 1; v < table->shape.pp * table->shape.vpp && status == GALV_OK;
         v++) {
        for (int up = 0; up < 2 && status == GALV_OK; up++) {
            int32_t giver = up ? v : v - 1;
            int32_t moved = s->at.first_layer[v] - !up;
            int32_t beside = s->at.first_layer[v] - up;
            if (s->stage_of[giver] != s->fullest || !is_block(s, moved) ||
                !is_block(s, beside) || count_blocks(s, giver) < 2) {
                continue;
            }
            copy(&s->tried, &s->at, table);
            s->tried.first_layer[v] += up ? 1 : -1;
            status = try(s);
        }
    }
    return status;
}

/* A plan of one strategy whose blocks are spread evenly. */
static galv_status make_uniform(shrinker *s, int32_t strategy)
{
    const galv_layer_table *table = s->entry->table;
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    int32_t *blocks = GALV_NEW_ARRAY(s->l->scratch, int32_t, n_virtual);
    if (!blocks) {
        return galv_fail(s->l->err, GALV_NO_MEMORY, "out of memory");
    }
    galv_plan_balance(blocks, galv_model_n_blocks(&s->l->job->model), table->shape.pp,
                      table->shape.vpp);
    galv_layering_divide(s->tried.first_layer, &s->l->job->model, blocks, n_virtual);
    for (int32_t layer = 0; layer < table->n_layers; layer++) {
        int32_t g = galv_layer_table_group(table, layer);
        s->tried.choice[layer] = (int16_t)table->price_of[g][strategy];
    }
    return GALV_OK;
}

static galv_status open_shape(shrinker *s, bool *possible)
{
    galv_layerwise *l = s->l;
    const galv_layer_table *table = s->entry->table;
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    galv_layer_guesser guesser;
    galv_status status = galv_layerwise_open(l, s->entry, &guesser, possible);
    *possible &= n_virtual <= galv_model_most_stages(&l->job->model);
    if (status != GALV_OK || !*possible) {
        return status;
    }
    s->replay = guesser.replay;
    s->stage_of = GALV_NEW_ARRAY(l->scratch, int32_t, n_virtual);
    s->least = GALV_NEW_ARRAY(l->scratch, double, table->shape.pp);
    s->most = GALV_NEW_ARRAY(l->scratch, double, table->shape.pp);
    if (!s->stage_of || !s->least || !s->most ||
        !new_layering(&s->at, table, l->scratch) ||
        !new_layering(&s->next, table, l->scratch) ||
        !new_layering(&s->tried, table, l->scratch)) {
        return galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t i = 0; i < n_virtual; i++) {
        int32_t stage = i / table->shape.vpp;
        s->stage_of[galv_replay_virtual_stage(s->replay, stage, i % table->shape.vpp)] =
            stage;
    }
    s->next_bytes = INFINITY;
    return GALV_OK;
}

/* s->at: the smallest uniform plan of the shape of which none was begun yet; used[].
 */
static galv_status begin_smallest(shrinker *s, bool *used)
{
    galv_status status = GALV_OK;
    const galv_layer_table *table = s->entry->table;
    int32_t smallest = -1;
    s->next_bytes = INFINITY;
    for (int32_t i = 0; i < table->shape.n_strategies && status == GALV_OK; i++) {
        double before = s->next_bytes;
        if (used[i]) {
            continue;
        }
        status = make_uniform(s, i);
        if (status == GALV_OK) {
            status = try(s);
        }
        smallest = s->next_bytes < before ? i : smallest;
    }
    if (smallest >= 0) {
        used[smallest] = true;
    }
    copy(&s->at, &s->next, table);
    s->at_bytes = s->next_bytes;
    return status == GALV_OK ? weigh(&s->at_bytes, s, &s->at) : status;
}

/* Goes down from a uniform plan as far as it goes. */
static galv_status descend(shrinker *s, bool *used)
{
    galv_layerwise *l = s->l;
    l->n_wave = 0;
    galv_status status = begin_smallest(s, used);
    while (status == GALV_OK) {
        if (s->at_bytes <= l->limit_bytes) {
            status = judge_later(s, &s->at);
        }
        s->next_bytes = s->at_bytes;
        if (status == GALV_OK) {
            status = change_runs(s);
        }
        if (status == GALV_OK) {
            status = change_everywhere(s);
        }
        if (status == GALV_OK) {
            status = move_borders(s);
        }
        if (status != GALV_OK || !(s->next_bytes < s->at_bytes) ||
            *s->n_weighed > MOST_WEIGHED || galv_layerwise_out_of_time(l)) {
            break;
        }
        copy(&s->at, &s->next, s->entry->table);
        status = weigh(&s->at_bytes, s, &s->at);
    }
    if (status == GALV_OK && l->n_wave > 0) {
        status = galv_layerwise_judge(l);
    }
    l->n_wave = 0;
    return status;
}

typedef struct shape_key {
    double bytes;
    size_t index;
} shape_key;

static int compare(const void *left, const void *right)
{
    const shape_key *a = left;
    const shape_key *b = right;
    if (a->bytes < b->bytes || a->bytes > b->bytes) {
        return a->bytes < b->bytes ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

/* What the smallest strategy of every layer holds on a stage of average size: shapes
 * that need little come first. */
static double held_bytes(const galv_layer_table *table)
{
    double sum = 0;
    for (int32_t g = 0; g < table->n_groups; g++) {
        double least = INFINITY;
        for (int32_t i = 0; i < table->n_prices[g]; i++) {
            const galv_layer_price *p = &table->prices[g][i];
            least = fmin(least, p->held_bytes + table->shape.pp * p->kept_bytes);
        }
        sum += least * (table->group_of[g + 1] - table->group_of[g]);
    }
    return sum / table->shape.pp + table->base_bytes;
}

galv_status galv_layerwise_shrink(galv_layerwise *l)
{
    int32_t n_weighed = 0;
    int32_t n_found = 0;
    shape_key *keys = GALV_NEW_ARRAY(l->arena, shape_key, l->n_shapes + 1);
    size_t n = 0;
    galv_status status =
        keys ? GALV_OK : galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
    for (size_t i = 0; keys && i < l->n_shapes; i++) {
        if (isfinite(l->shapes[i].bound_s)) {
            keys[n++] = (shape_key){held_bytes(l->shapes[i].table), i};
        }
    }
    if (keys) {
        qsort(keys, n, sizeof *keys, compare);
    }
    for (size_t i = 0; i < n && status == GALV_OK && n_weighed <= MOST_WEIGHED &&
                       n_found < MOST_SHAPES_FOUND && !galv_layerwise_out_of_time(l);
         i++) {
        shrinker s = {
            .l = l, .entry = &l->shapes[keys[i].index], .n_weighed = &n_weighed};
        double before_s = l->result->best_s;
        bool possible = false;
        int32_t n_starts = s.entry->table->shape.n_strategies;
        bool *used = GALV_NEW_ARRAY(l->arena, bool, n_starts);
        if (!used) {
            return galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
        }
        status = open_shape(&s, &possible);
        for (int32_t start = 0;
             status == GALV_OK && possible && start < n_starts && start < MOST_STARTS &&
             n_weighed <= MOST_WEIGHED && !(l->result->best_s < before_s);
             start++) {
            status = descend(&s, used);
        }
        n_found += l->result->best_s < before_s;
    }
    return status;
}
