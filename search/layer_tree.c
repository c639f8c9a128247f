/* Depth first, layer by layer: does a new virtual stage begin here, and which strategy?
 *
 * A branch is cut when what is placed already needs too much memory on its stage, or
 * when one of these is no better than the time to beat:
 *
 *   - the stages before have passed one micro-batch down and up, and this stage has
 * done all of them with the layers that it has so far (one chunk per stage);
 *   - all layers, those not placed yet at their best, spread over the stages as evenly
 *     as numbers can be.
 *
 * Changes of strategy are counted with the later layer, once it is known. A leaf is
 * replayed in full. */
#include "search/layer_tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A replay of a leaf costs about as much as a node for every so many passes. */
enum { PASSES_OF_A_NODE = 16 };

/* What adding a layer changes, to take it back to the bit. */
typedef struct saved {
    double forward_s[2], backward_s[2], weight_s;
    double load_s[2][GALV_N_STREAMS];
    double optimizer_s, bytes, placed_s;
} saved;

typedef struct tree {
    const galv_layer_table *table;
    galv_replay *replay;
    const galv_model *model;
    galv_layer_tree_limits limits;
    galv_arena *arena;
    galv_layer_leaves *out;
    size_t capacity;
    galv_layering_sums sums;
    int32_t n_virtual;
    galv_bare_ends bare;
    int32_t *stage_of, *chunk_of; /* [n_virtual] */
    galv_layering at;
    double *rest_s;  /* [n_layers + 1] least latency of the layers from here on */
    int32_t *blocks; /* [n_layers + 1] blocks from here on */
    double placed_s; /* latency of what is placed */
    saved *stack;    /* [n_layers] */
    bool failed;
} tree;

static const galv_layer_price *price_at(const tree *t, int32_t layer)
{
    return &t->table
                ->prices[galv_layer_table_group(t->table, layer)][t->at.choice[layer]];
}

static double latency_s(const galv_layer_price *price)
{
    return price->forward_s + price->backward_s + price->weight_s;
}

static void save_stage(const tree *t, saved *s, int which, int32_t v)
{
    s->forward_s[which] = t->sums.forward_s[v];
    s->backward_s[which] = t->sums.backward_s[v];
    memcpy(s->load_s[which], &t->sums.load_s[(size_t)t->stage_of[v] * GALV_N_STREAMS],
           sizeof s->load_s[which]);
}

static void restore_stage(tree *t, const saved *s, int which, int32_t v)
{
    t->sums.forward_s[v] = s->forward_s[which];
    t->sums.backward_s[v] = s->backward_s[which];
    memcpy(&t->sums.load_s[(size_t)t->stage_of[v] * GALV_N_STREAMS], s->load_s[which],
           sizeof s->load_s[which]);
}

/* Adds layer `layer`, chosen in t->at, to virtual stage v; the layer before it lies in
 * virtual stage `before_v`, whose gradients now know whether they change hands. */
static void push(tree *t, int32_t layer, int32_t v, int32_t before_v)
{
    saved *s = &t->stack[layer];
    int32_t stage = t->stage_of[v];
    const galv_layer_price *price = price_at(t, layer);
    const galv_layer_price *before = layer > 0 ? price_at(t, layer - 1) : NULL;
    save_stage(t, s, 0, before_v);
    save_stage(t, s, 1, v);
    s->weight_s = t->sums.weight_s[v];
    s->optimizer_s = t->sums.optimizer_s[stage];
    s->bytes = t->sums.bytes[stage];
    s->placed_s = t->placed_s;
    galv_layering_add(&t->sums, price, before, NULL, stage, v,
                      galv_replay_kept(t->replay, stage, t->chunk_of[v]));
    t->placed_s += latency_s(price);
    if (before) {
        double up_s = galv_layer_change_s(price, before);
        t->sums.backward_s[before_v] += up_s;
        t->sums
            .load_s[(size_t)t->stage_of[before_v] * GALV_N_STREAMS + GALV_STREAM_TP] +=
            up_s;
    }
}

static void pop(tree *t, int32_t layer, int32_t v, int32_t before_v)
{
    const saved *s = &t->stack[layer];
    restore_stage(t, s, 1, v);
    restore_stage(t, s, 0, before_v);
    t->sums.weight_s[v] = s->weight_s;
    t->sums.optimizer_s[t->stage_of[v]] = s->optimizer_s;
    t->sums.bytes[t->stage_of[v]] = s->bytes;
    t->placed_s = s->placed_s;
}

/* Can nothing below this node both fit and be fast enough? */
static bool hopeless(const tree *t, int32_t layer, int32_t v)
{
    int32_t stage = t->stage_of[v];
    double m = t->table->n_micro_batches;
    if (t->sums.bytes[stage] > t->limits.memory_bytes) {
        return true;
    }
    double even_s =
        m * (t->placed_s + t->rest_s[layer + 1]) / (double)t->table->shape.pp;
    double here_s = 0;
    if (t->table->shape.vpp == 1) {
        for (int32_t s = 0; s < v; s++) {
            here_s +=
                t->sums.forward_s[s] +
                (t->table->shape.schedule->splits_backward ? 0 : t->sums.backward_s[s]);
        }
        here_s +=
            m * (t->sums.forward_s[v] + t->sums.backward_s[v] + t->sums.weight_s[v]);
    }
    double least = (even_s > here_s ? even_s : here_s) + t->sums.optimizer_s[stage];
    return least * (1 - 1e-12) >= t->limits.stop_at_s;
}

static void add_leaf(tree *t)
{
    galv_layer_leaves *out = t->out;
    out->n_nodes += galv_replay_cost(t->replay) / PASSES_OF_A_NODE;
    double bound = galv_layering_bound_s(&t->sums, t->table, t->replay);
    if (bound >= t->limits.stop_at_s) {
        return;
    }
    if (out->n_leaves == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 256;
        galv_layer_leaf *grown = GALV_NEW_ARRAY(t->arena, galv_layer_leaf, capacity);
        if (!grown) {
            t->failed = true;
            return;
        }
        if (out->n_leaves > 0) {
            memcpy(grown, out->leaves, out->n_leaves * sizeof *grown);
        }
        out->leaves = grown;
        t->capacity = capacity;
    }
    galv_layer_leaf *leaf = &out->leaves[out->n_leaves];
    leaf->bound_s = bound;
    leaf->layering.choice = GALV_NEW_ARRAY(t->arena, int16_t, t->table->n_layers);
    leaf->layering.first_layer = GALV_NEW_ARRAY(t->arena, int32_t, t->n_virtual + 1);
    if (!leaf->layering.choice || !leaf->layering.first_layer) {
        t->failed = true;
        return;
    }
    memcpy(leaf->layering.choice, t->at.choice,
           (size_t)t->table->n_layers * sizeof(int16_t));
    memcpy(leaf->layering.first_layer, t->at.first_layer,
           ((size_t)t->n_virtual + 1) * sizeof(int32_t));
    out->n_leaves++;
}

static void walk(tree *t, int32_t layer, int32_t v, int32_t n_runs);

/* Tries every strategy for a layer in virtual stage v. */
static void choose(tree *t, int32_t layer, int32_t v, int32_t n_runs)
{
    int32_t g = galv_layer_table_group(t->table, layer);
    int32_t before_v = layer > 0 && t->at.first_layer[v] == layer ? v - 1 : v;
    bool begins = t->at.first_layer[v] == layer || t->table->group_of[g] == layer;
    for (int32_t i = 0; i < t->table->n_prices[g] && !t->failed; i++) {
        bool goes_on = !begins && t->at.choice[layer - 1] == i;
        int32_t runs = goes_on ? n_runs : begins ? 1 : n_runs + 1;
        if (runs > t->limits.max_runs) {
            continue;
        }
        if (t->out->n_nodes++ >= t->limits.max_nodes) {
            t->out->complete = false;
            return;
        }
        t->at.choice[layer] = (int16_t)i;
        push(t, layer, v, before_v);
        if (!hopeless(t, layer, v)) {
            walk(t, layer + 1, v, runs);
        }
        pop(t, layer, v, before_v);
    }
}

/* Has virtual stage v a block before `layer`? */
static bool holds_block(const tree *t, int32_t layer, int32_t v)
{
    return t->blocks[t->at.first_layer[v]] > t->blocks[layer];
}

/* Layers before `layer` are placed, the last of them in virtual stage v. */
static void walk(tree *t, int32_t layer, int32_t v, int32_t n_runs)
{
    if (layer == t->table->n_layers) {
        if (v == t->n_virtual - 1) {
            t->at.first_layer[t->n_virtual] = layer;
            add_leaf(t);
        }
        return;
    }
    int32_t stages_left = t->n_virtual - 1 - v;
    int32_t needed = stages_left - (stages_left > 0 && t->bare.last);
    if (t->blocks[layer] >= needed) {
        choose(t, layer, v, n_runs);
    }
    /* a stage begins with a block, or with what goes with the block after it: so after
     * a block, and with a block still to come unless the head may be alone; or after
     * the embedding alone */
    bool after_block =
        layer > 0 && galv_layer_is_block(galv_model_layer(t->model, layer - 1));
    bool may_end =
        after_block ? holds_block(t, layer, v) : v == 0 && layer == 1 && t->bare.first;
    if (stages_left > 0 && may_end && t->blocks[layer] >= needed) {
        t->at.first_layer[v + 1] = layer;
        choose(t, layer, v + 1, 0);
    }
}

static int by_bound(const void *left, const void *right)
{
    const galv_layer_leaf *a = left;
    const galv_layer_leaf *b = right;
    if (a->bound_s < b->bound_s || a->bound_s > b->bound_s) {
        return a->bound_s < b->bound_s ? -1 : 1;
    }
    return a->layering.choice < b->layering.choice ? -1 : 1; /* see prepare_sort */
}

/* Ties must not depend on where the arena put things: choices are copied to one array
 * in the order of the tree, so that their addresses are that order. */
static bool prepare_sort(tree *t)
{
    galv_layer_leaves *out = t->out;
    size_t n_layers = (size_t)t->table->n_layers;
    int16_t *all = GALV_NEW_ARRAY(t->arena, int16_t, out->n_leaves * n_layers + 1);
    for (size_t i = 0; all && i < out->n_leaves; i++) {
        memcpy(&all[i * n_layers], out->leaves[i].layering.choice,
               n_layers * sizeof *all);
        out->leaves[i].layering.choice = &all[i * n_layers];
    }
    return all != NULL;
}

static bool allocate(tree *t, galv_arena *scratch)
{
    size_t n_layers = (size_t)t->table->n_layers;
    t->stage_of = GALV_NEW_ARRAY(scratch, int32_t, t->n_virtual);
    t->chunk_of = GALV_NEW_ARRAY(scratch, int32_t, t->n_virtual);
    t->at.choice = GALV_NEW_ARRAY(scratch, int16_t, n_layers);
    t->at.first_layer = GALV_NEW_ARRAY(scratch, int32_t, t->n_virtual + 1);
    t->rest_s = GALV_NEW_ARRAY(scratch, double, n_layers + 1);
    t->blocks = GALV_NEW_ARRAY(scratch, int32_t, n_layers + 1);
    t->stack = GALV_NEW_ARRAY(scratch, saved, n_layers);
    return t->stage_of && t->chunk_of && t->at.choice && t->at.first_layer &&
           t->rest_s && t->blocks && t->stack;
}

static void fill(tree *t)
{
    for (int32_t i = 0; i < t->n_virtual; i++) {
        int32_t stage = i / t->table->shape.vpp;
        int32_t chunk = i % t->table->shape.vpp;
        int32_t v = galv_replay_virtual_stage(t->replay, stage, chunk);
        t->stage_of[v] = stage;
        t->chunk_of[v] = chunk;
    }
    for (int32_t layer = t->table->n_layers - 1; layer >= 0; layer--) {
        int32_t g = galv_layer_table_group(t->table, layer);
        double least = INFINITY;
        for (int32_t i = 0; i < t->table->n_prices[g]; i++) {
            least = fmin(least, latency_s(&t->table->prices[g][i]));
        }
        t->rest_s[layer] = t->rest_s[layer + 1] + least;
        t->blocks[layer] =
            t->blocks[layer + 1] + galv_layer_is_block(&t->model->groups[g]);
    }
}

/* Is the tree far too large, whatever is cut? Ways to divide the blocks, times the
 * options of each group. */
static bool too_large(const tree *t)
{
    double ways = 1;
    int32_t places = t->blocks[0] + t->bare.first + t->bare.last;
    for (int32_t i = 1; i < t->n_virtual; i++) {
        ways *= (double)(places - i) / i;
    }
    for (int32_t g = 0; g < t->table->n_groups; g++) {
        ways *= t->table->n_prices[g];
    }
    return ways > 100 * (double)t->limits.max_nodes ||
           galv_replay_cost(t->replay) > t->limits.max_nodes;
}

galv_status galv_layer_tree_walk(galv_layer_leaves *leaves,
                                 const galv_layer_table *table, galv_replay *replay,
                                 const galv_model *model,
                                 const galv_layer_tree_limits *limits,
                                 galv_arena *arena, galv_err *err)
{
    galv_layer_leaves found = {0, NULL, 0, true};
    galv_arena *scratch = galv_arena_new();
    tree t = {.table = table,
              .replay = replay,
              .model = model,
              .limits = *limits,
              .arena = arena,
              .out = &found,
              .n_virtual = table->shape.pp * table->shape.vpp,
              .bare = galv_model_bare_ends(model)};
    t.failed = !scratch || !allocate(&t, scratch) ||
               galv_layering_sums_new(&t.sums, table, scratch, err) != GALV_OK;
    if (!t.failed) {
        fill(&t);
        galv_layering_sums_clear(&t.sums, table);
        found.complete = !too_large(&t);
    }
    if (!t.failed && found.complete) {
        choose(&t, 0, 0, 0);
    }
    if (!t.failed && found.n_leaves > 0) {
        t.failed = !prepare_sort(&t);
        qsort(found.leaves, found.n_leaves, sizeof *found.leaves, by_bound);
    }
    galv_arena_free(scratch);
    if (t.failed) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    *leaves = found;
    return GALV_OK;
}
