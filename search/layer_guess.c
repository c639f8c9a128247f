/* Guided by seconds that are neither bounds nor the judge's: a layer's latency, and
 * part of the parameter messages of each of its micro-batches, which are hidden only as
 * far as they are shorter than the layer and slow it even so; and, where what is sent
 * once an iteration is much, once more with that as well.
 *
 * First the blocks are divided, each stage taking what its memory allows at best when
 * layers could be cut in pieces: along the lower convex hull of each group's options,
 * steepest gain first. Then each stage gets the fastest point of its exact frontier.
 * Those know what is held and kept, not buffers; so the plan's memory is estimated, and
 * stages that need too much try again with so much less. With several chunks a stage,
 * what a stage gets is spread evenly over them, and layers are chosen for as if they
 * lay in one. */
#include "search/layer_guess.h"

#include "search/partition.h"
#include "search/relaxation.h"
#include "search/stage_fronts.h"
#include "sim/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REPAIRS     5
#define WIDENINGS   2
#define MOST_RAISED 10
#define MOST_LEAVES (2 * 4 * (1 + WIDENINGS) + MOST_RAISED)
#define MUCH_ONCE   0.01 /* of the time, in messages that are sent once and show */
#define FEW_STAGES  4    /* for which more of their plans are tried */

typedef struct guess {
    const galv_layer_guesser *g;
    galv_arena *arena;
    galv_err *err;
    galv_relaxation *relaxation;
    galv_stage_fronts *fronts;
    double *used_bytes; /* [pp] of the room, by the layers chosen */
    double *left_bytes; /* [pp] of the memory, by the estimate */
    bool bold;          /* as if all buffers that may not meet did not */
    galv_layering at;
} guess;

static galv_status begin(guess *at, const galv_layer_guesser *g,
                         galv_layer_seconds seconds, galv_arena *arena, galv_err *err)
{
    const galv_layer_table *table = g->table;
    const galv_model *model = &galv_costmodel_job(g->model)->model;
    size_t pp = (size_t)table->shape.pp;
    memset(at, 0, sizeof *at);
    at->g = g;
    at->arena = arena;
    at->err = err;
    at->used_bytes = GALV_NEW_ARRAY(arena, double, pp);
    at->left_bytes = GALV_NEW_ARRAY(arena, double, pp);
    at->at.choice = GALV_NEW_ARRAY(arena, int16_t, table->n_layers);
    at->at.first_layer =
        GALV_NEW_ARRAY(arena, int32_t, pp * (size_t)table->shape.vpp + 1);
    if (!at->used_bytes || !at->left_bytes || !at->at.choice || !at->at.first_layer) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = galv_relaxation_new(&at->relaxation, table, g->replay, model,
                                             g->memory_bytes, seconds, arena, err);
    return status == GALV_OK ? galv_stage_fronts_new(&at->fronts, table, g->replay,
                                                     seconds, g->max_runs, arena, err)
                             : status;
}

/* m micro-batches through stages of which the slowest is never kept waiting.
 * Source: Narayanan et al. 2021 (arXiv 2104.04473, section 2.2.1), for equal stages. */
static double pipeline_s(void *n_micro_batches, double sum_s, double most_s)
{
    return sum_s + (*(const double *)n_micro_batches - 1) * most_s;
}

/* Fewest blocks of a stage: chunks without one stand at the ends alone. */
static int32_t least_blocks(const guess *at, int32_t stage)
{
    const galv_shape *shape = &at->g->table->shape;
    galv_bare_ends bare =
        galv_model_bare_ends(&galv_costmodel_job(at->g->model)->model);
    bool bare_end = (stage == 0 && bare.first) || (stage == shape->pp - 1 && bare.last);
    return shape->vpp - bare_end;
}

static double stage_s(void *context, int32_t stage, int32_t first, int32_t n)
{
    const guess *at = context;
    return n < least_blocks(at, stage)
               ? (double)INFINITY
               : galv_relaxation_stage_s(at->relaxation, stage, first, n);
}

/* Spreads what every stage got over its chunks, from n_blocks[pp] to [pp * vpp]: what
 * is over goes to the chunks in the middle. */
static galv_status spread(int32_t *n_blocks, const guess *at)
{
    int32_t pp = at->g->table->shape.pp;
    int32_t vpp = at->g->table->shape.vpp;
    int32_t *of_stage = GALV_NEW_ARRAY(at->arena, int32_t, pp);
    if (!of_stage) {
        return galv_fail(at->err, GALV_NO_MEMORY, "out of memory");
    }
    memcpy(of_stage, n_blocks, (size_t)pp * sizeof *of_stage);
    for (int32_t stage = 0; stage < pp; stage++) {
        int32_t each = of_stage[stage] / vpp;
        int32_t over = of_stage[stage] % vpp;
        int32_t from = stage == 0 ? vpp - over : stage == pp - 1 ? 0 : (vpp - over) / 2;
        for (int32_t chunk = 0; chunk < vpp; chunk++) {
            int32_t v = galv_replay_virtual_stage(at->g->replay, stage, chunk);
            n_blocks[v] = each + (chunk >= from && chunk < from + over);
        }
    }
    return GALV_OK;
}

/* Divides the blocks; *time_s is INFINITY when no way fits. */
static galv_status divide(guess *at, double *time_s, bool evenly)
{
    const galv_layer_table *table = at->g->table;
    const galv_model *model = &galv_costmodel_job(at->g->model)->model;
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    int32_t total = galv_relaxation_n_blocks(at->relaxation);
    int32_t *n_blocks = GALV_NEW_ARRAY(at->arena, int32_t, n_virtual);
    double m = table->n_micro_batches * table->shape.vpp;
    if (!n_blocks) {
        return galv_fail(at->err, GALV_NO_MEMORY, "out of memory");
    }
    if (n_virtual > galv_model_most_stages(model)) {
        *time_s = INFINITY;
        return GALV_OK;
    }
    galv_plan_balance(n_blocks, total, table->shape.pp, table->shape.vpp);
    *time_s = 0;
    if (!evenly) {
        galv_bare_ends bare = galv_model_bare_ends(model);
        galv_partition_problem problem = {
            .n_stages = table->shape.pp,
            .total = total,
            .bare_first = bare.first,
            .bare_last = bare.last,
            .cost = stage_s,
            .value = pipeline_s,
            .cost_context = at,
            .value_context = &m,
        };
        galv_status status = galv_partition(n_blocks, time_s, &problem, at->err);
        *time_s /= table->shape.vpp;
        if (status == GALV_OK && table->shape.vpp > 1 && isfinite(*time_s)) {
            status = spread(n_blocks, at);
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    galv_layering_divide(at->at.first_layer, model, n_blocks, n_virtual);
    return GALV_OK;
}

/* ---- one stage ---- */

/* Goes through the layers of a stage in order; begins with {0, -1}. */
typedef struct stage_layers {
    int32_t chunk, layer;
} stage_layers;

static bool next_layer(stage_layers *walk, const guess *at, int32_t stage)
{
    const galv_shape *shape = &at->g->table->shape;
    while (walk->chunk < shape->vpp) {
        int32_t v = galv_replay_virtual_stage(at->g->replay, stage, walk->chunk);
        const int32_t *first = &at->at.first_layer[v];
        walk->layer = walk->layer < first[0] ? first[0] : walk->layer + 1;
        if (walk->layer < first[1]) {
            return true;
        }
        walk->chunk++;
        walk->layer = -1;
    }
    return false;
}

/* Chooses for the layers of a stage; false when nothing fits. */
static galv_status fill_stage(guess *at, int32_t stage, bool *fits)
{
    const galv_layer_table *table = at->g->table;
    int32_t count[GALV_MAX_GROUPS] = {0};
    stage_layers walk = {0, -1};
    while (next_layer(&walk, at, stage)) {
        count[galv_layer_table_group(table, walk.layer)]++;
    }
    galv_stage_fill fill;
    galv_status status =
        galv_stage_fronts_fill(&fill, at->fronts, stage, count,
                               *galv_relaxation_room(at->relaxation, stage), at->err);
    *fits = status == GALV_OK && fill.fits;
    if (!*fits) {
        return status;
    }
    at->used_bytes[stage] = fill.bytes;
    int32_t next[GALV_MAX_GROUPS] = {0}; /* of each group, in the choices */
    for (int32_t g = 1; g < table->n_groups; g++) {
        next[g] = next[g - 1] + count[g - 1];
    }
    walk = (stage_layers){0, -1};
    while (next_layer(&walk, at, stage)) {
        int32_t g = galv_layer_table_group(table, walk.layer);
        at->at.choice[walk.layer] = (int16_t)fill.choice[next[g]++];
    }
    return GALV_OK;
}

/* ---- the whole ---- */

/* Estimates the plan and takes from stages what they need too much; *fits: none does.
 */
static galv_status repair(guess *at, bool *fits, bool *changed)
{
    const galv_layer_table *table = at->g->table;
    galv_plan *plan = NULL;
    galv_prices *prices = NULL;
    double *peaks = GALV_NEW_ARRAY(at->arena, double, table->shape.pp);
    double *least = GALV_NEW_ARRAY(at->arena, double, table->shape.pp);
    galv_status status =
        peaks && least
            ? galv_layering_plan(&plan, &at->at, table, at->g->overlap,
                                 galv_costmodel_job(at->g->model), at->arena, at->err)
            : galv_fail(at->err, GALV_NO_MEMORY, "out of memory");
    if (status == GALV_OK) {
        status = galv_prices_new(&prices, at->g->model, plan, at->g->prices, at->arena,
                                 at->err);
    }
    if (status == GALV_OK) {
        status = galv_estimate_memory_between(least, peaks, at->g->model, plan, prices,
                                              at->arena, at->err);
    }
    *fits = true;
    for (int32_t stage = 0; status == GALV_OK && stage < table->shape.pp; stage++) {
        double excess = (at->bold ? least : peaks)[stage] - at->g->memory_bytes;
        at->left_bytes[stage] = -excess;
        changed[stage] = excess > 0;
        *fits &= !changed[stage];
        if (excess > 0) { /* so that the next one is another */
            *galv_relaxation_room(at->relaxation, stage) =
                at->used_bytes[stage] - excess;
        }
    }
    return status;
}

/* Fills all stages until the plan fits, or a stage cannot. */
static galv_status fill_stages(guess *at, bool *fits)
{
    int32_t pp = at->g->table->shape.pp;
    bool *changed = GALV_NEW_ARRAY(at->arena, bool, pp);
    if (!changed) {
        return galv_fail(at->err, GALV_NO_MEMORY, "out of memory");
    }
    memset(changed, 1, (size_t)pp * sizeof *changed);
    for (int32_t stage = 0; stage < pp; stage++) {
        *galv_relaxation_room(at->relaxation, stage) =
            at->g->memory_bytes - at->g->table->base_bytes;
    }
    *fits = false;
    for (int i = 0; i < REPAIRS && !*fits; i++) {
        bool possible = true;
        galv_status status = GALV_OK;
        for (int32_t stage = 0; stage < pp && possible && status == GALV_OK; stage++) {
            if (changed[stage]) {
                status = fill_stage(at, stage, &possible);
            }
        }
        if (status == GALV_OK && possible) {
            status = repair(at, fits, changed);
        }
        if (status != GALV_OK || !possible) {
            return status;
        }
    }
    return GALV_OK;
}

/* Gives every stage what its plan has left, or takes what it lacks: what a stage needs
 * does not grow with its layers alone. *fits: this one does. */
static galv_status widen(guess *at, bool *fits)
{
    int32_t pp = at->g->table->shape.pp;
    bool *changed = GALV_NEW_ARRAY(at->arena, bool, pp);
    bool possible = true;
    galv_status status = changed ? GALV_OK : GALV_NO_MEMORY;
    for (int32_t stage = 0; status == GALV_OK && possible && stage < pp; stage++) {
        *galv_relaxation_room(at->relaxation, stage) =
            at->used_bytes[stage] + at->left_bytes[stage];
        status = fill_stage(at, stage, &possible);
    }
    *fits = false;
    return status == GALV_OK && possible ? repair(at, fits, changed) : status;
}

/* Is the layering one of those kept? */
static bool is_known(const galv_layer_leaves *leaves, const guess *at)
{
    const galv_layer_table *table = at->g->table;
    size_t n_layers = (size_t)table->n_layers;
    size_t n_borders = (size_t)table->shape.pp * (size_t)table->shape.vpp + 1;
    for (size_t i = 0; i < leaves->n_leaves; i++) {
        const galv_layering *other = &leaves->leaves[i].layering;
        if (memcmp(other->choice, at->at.choice, n_layers * sizeof *other->choice) ==
                0 &&
            memcmp(other->first_layer, at->at.first_layer,
                   n_borders * sizeof *other->first_layer) == 0) {
            return true;
        }
    }
    return false;
}

static galv_status keep(galv_layer_leaves *leaves, guess *at)
{
    const galv_layer_table *table = at->g->table;
    galv_layering_sums sums;
    size_t n_borders = (size_t)table->shape.pp * (size_t)table->shape.vpp + 1;
    galv_layer_leaf *leaf = &leaves->leaves[leaves->n_leaves];
    galv_status status = galv_layering_sums_new(&sums, table, at->arena, at->err);
    leaf->layering.choice = GALV_NEW_ARRAY(at->arena, int16_t, table->n_layers);
    leaf->layering.first_layer = GALV_NEW_ARRAY(at->arena, int32_t, n_borders);
    if (status != GALV_OK || !leaf->layering.choice || !leaf->layering.first_layer) {
        return galv_fail(at->err, GALV_NO_MEMORY, "out of memory");
    }
    memcpy(leaf->layering.choice, at->at.choice,
           (size_t)table->n_layers * sizeof(int16_t));
    memcpy(leaf->layering.first_layer, at->at.first_layer, n_borders * sizeof(int32_t));
    galv_layering_sum(&sums, &leaf->layering, table, at->g->replay);
    leaf->bound_s = galv_layering_bound_s(&sums, table, at->g->replay);
    galv_layer_leaf made = *leaf; /* by their bounds */
    size_t place = leaves->n_leaves++;
    for (; place > 0 && leaves->leaves[place - 1].bound_s > made.bound_s; place--) {
        leaves->leaves[place] = leaves->leaves[place - 1];
    }
    leaves->leaves[place] = made;
    return GALV_OK;
}

/* Gives the last block of every stage the option `more` places up its menu, towards
 * faster and larger ones; false when none has such a one. */
static bool raise_last(guess *at, int32_t more)
{
    const galv_layer_table *table = at->g->table;
    const galv_model *model = &galv_costmodel_job(at->g->model)->model;
    bool any = false;
    for (int32_t stage = 0; stage < table->shape.pp; stage++) {
        stage_layers walk = {0, -1};
        int32_t last = -1;
        while (next_layer(&walk, at, stage)) {
            last = galv_layer_is_block(galv_model_layer(model, walk.layer)) ? walk.layer
                                                                            : last;
        }
        if (last < 0) {
            continue;
        }
        int32_t g = galv_layer_table_group(table, last);
        galv_stage_menu menu = galv_stage_fronts_menu(at->fronts, stage, g);
        int32_t k = 0;
        while (k < menu.n && menu.choice[k] != at->at.choice[last]) {
            k++;
        }
        if (k + more < menu.n) {
            at->at.choice[last] = (int16_t)menu.choice[k + more];
            any = true;
        }
    }
    return any;
}

/* A stage is often fullest when its last block begins backward, and nothing of another
 * block is gathered or recomputed then: that one may hold more than the others. */
static galv_status favour_last(galv_layer_leaves *leaves, guess *at)
{
    galv_layer_leaf from = leaves->leaves[0];
    size_t n_borders =
        (size_t)at->g->table->shape.pp * (size_t)at->g->table->shape.vpp + 1;
    bool *changed = GALV_NEW_ARRAY(at->arena, bool, at->g->table->shape.pp);
    galv_status status = changed ? GALV_OK : GALV_NO_MEMORY;
    for (int32_t more = 1; status == GALV_OK && more < MOST_RAISED; more++) {
        bool fits = false;
        memcpy(at->at.choice, from.layering.choice,
               (size_t)at->g->table->n_layers * sizeof(int16_t));
        memcpy(at->at.first_layer, from.layering.first_layer,
               n_borders * sizeof(int32_t));
        if (!raise_last(at, more)) {
            break;
        }
        status = repair(at, &fits, changed);
        if (status == GALV_OK && fits && !is_known(leaves, at)) {
            status = keep(leaves, at);
        }
    }
    return status;
}

/* With several chunks a stage a chunk's forward and backward take a turn, and of no
 * more micro-batches than stages each waits for the one before all the way. As if the
 * stages could be of one length. Source of the turns: as pipeline_s. */
static double interleaved_s(const guess *at)
{
    const galv_layer_table *table = at->g->table;
    int64_t pp = table->shape.pp;
    int64_t vpp = table->shape.vpp;
    int64_t m = table->n_micro_batches;
    int64_t n_blocks = galv_relaxation_n_blocks(at->relaxation);
    double sum_s = 0;
    for (int64_t stage = 0; stage < pp; stage++) {
        int32_t first = (int32_t)(n_blocks * stage / pp);
        int32_t next = (int32_t)(n_blocks * (stage + 1) / pp);
        sum_s += galv_relaxation_stage_s(at->relaxation, (int32_t)stage, first,
                                         next - first);
    }
    int64_t turns = m <= pp ? pp * vpp + m - 1 : (m + pp - 1) / pp * pp * vpp + pp - 1;
    bool waits = m <= pp || !at->g->overlap->p2p;
    return (double)turns * sum_s / (double)(pp * vpp) +
           2 * table->least_message_s * (double)(waits ? turns : pp * vpp);
}

galv_status galv_layer_guess_time(double *time_s, const galv_layer_guesser *guesser,
                                  galv_arena *arena, galv_err *err)
{
    guess at;
    int32_t pp = guesser->table->shape.pp;
    bool chunked = guesser->table->shape.vpp > 1;
    galv_status status = begin(&at, guesser, galv_layer_guide_whole_s, arena, err);
    if (status == GALV_OK) {
        status = divide(&at, time_s, chunked);
    }
    if (status == GALV_OK && isfinite(*time_s)) {
        *time_s = chunked ? interleaved_s(&at)
                          : *time_s + 2 * (pp - 1) * guesser->table->least_message_s;
    }
    return status;
}

/* Adds layerings made by one guide. */
static galv_status make_leaves(galv_layer_leaves *found, guess *at)
{
    galv_status status = GALV_OK;
    for (int way = at->g->table->shape.pp == 1 ? 2 : 0; status == GALV_OK && way < 4;
         way++) {
        double time_s = INFINITY;
        bool fits = false;
        size_t n_before = found->n_leaves;
        at->bold = way % 2 == 0;
        status = divide(at, &time_s, way >= 2);
        if (status == GALV_OK && isfinite(time_s)) {
            status = fill_stages(at, &fits);
        }
        if (status == GALV_OK && fits && !is_known(found, at)) {
            status = keep(found, at);
        }
        for (int i = 0;
             status == GALV_OK && n_before < found->n_leaves && i < WIDENINGS; i++) {
            status = widen(at, &fits);
            if (status == GALV_OK && fits && !is_known(found, at)) {
                status = keep(found, at);
            }
        }
    }
    return status;
}

/* Does a layering send so much once an iteration that layers had better be chosen with
 * that in mind? */
static bool sends_much_once(const galv_layer_table *table,
                            const galv_layering *layering)
{
    double m = table->n_micro_batches;
    double guide_s = 0, whole_s = 0;
    for (int32_t layer = 0; layer < table->n_layers; layer++) {
        const galv_layer_price *p = &table->prices[galv_layer_table_group(table, layer)]
                                                  [layering->choice[layer]];
        guide_s += galv_layer_guide_s(p, m);
        whole_s += galv_layer_guide_whole_s(p, m);
    }
    return whole_s > guide_s * (1 + MUCH_ONCE);
}

galv_status galv_layer_guess(galv_layer_leaves *leaves,
                             const galv_layer_guesser *guesser, galv_arena *arena,
                             galv_err *err)
{
    guess at;
    galv_layer_leaves found = {0, GALV_NEW_ARRAY(arena, galv_layer_leaf, MOST_LEAVES),
                               0, false};
    galv_status status = found.leaves
                             ? begin(&at, guesser, galv_layer_guide_s, arena, err)
                             : galv_fail(err, GALV_NO_MEMORY, "out of memory");
    if (status == GALV_OK) {
        status = make_leaves(&found, &at);
    }
    if (status == GALV_OK && found.n_leaves > 0 &&
        sends_much_once(guesser->table, &found.leaves[0].layering)) {
        guess whole;
        status = begin(&whole, guesser, galv_layer_guide_whole_s, arena, err);
        if (status == GALV_OK) {
            status = make_leaves(&found, &whole);
        }
    }
    if (status == GALV_OK && found.n_leaves > 0 &&
        guesser->table->shape.pp <= FEW_STAGES) {
        at.bold = true;
        status = favour_last(&found, &at);
    }
    if (status == GALV_OK) {
        *leaves = found;
    }
    return status;
}
