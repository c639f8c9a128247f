/* The best plans of different shapes, improved one exchange (search/exchange.h) at a
 * time: the fastest of a wave of the most promising ones is where the next begins. It
 * ends when a round of them gains nothing, or hardly anything, or has used up its
 * operations, so that large jobs do not wait for the last per mille. */
#include "search/exchange.h"
#include "search/layerwise_internal.h"
#include "sim/evaluate.h"

#include <math.h>
#include <string.h>

#define MOST_EXCHANGED (2 * GALV_LAYERWISE_WAVE) /* judged in a round */
#define EXCHANGE_OPS   2e6                       /* simulated, about */
#define WORTH_ANOTHER  1e-4 /* relative gain of one, for others to be looked for */

static galv_status copy_layering(galv_layering *copy, const galv_layering *from,
                                 const galv_layer_table *table, galv_arena *arena,
                                 galv_err *err)
{
    size_t n_layers = (size_t)table->n_layers;
    size_t n_borders = (size_t)table->shape.pp * (size_t)table->shape.vpp + 1;
    copy->choice = GALV_NEW_ARRAY(arena, int16_t, n_layers);
    copy->first_layer = GALV_NEW_ARRAY(arena, int32_t, n_borders);
    if (!copy->choice || !copy->first_layer) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    memcpy(copy->choice, from->choice, n_layers * sizeof(int16_t));
    memcpy(copy->first_layer, from->first_layer, n_borders * sizeof(int32_t));
    return GALV_OK;
}

galv_status galv_layerwise_offer(galv_layerwise *l, const galv_layerwise_shape *entry,
                                 const galv_layering *layering, double time_s)
{
    int at = 0;
    while (at < GALV_LAYERWISE_STARTS - 1 && l->starts[at].entry != NULL &&
           l->starts[at].entry != entry) {
        at++;
    } /* its shape's place, the first free one, or the last */
    if (l->starts[at].entry != NULL && !(time_s < l->starts[at].time_s)) {
        return GALV_OK;
    }
    for (; at > 0 && time_s < l->starts[at - 1].time_s; at--) {
        l->starts[at] = l->starts[at - 1];
    }
    l->starts[at] = (galv_layerwise_start){entry, time_s, {NULL, NULL}};
    return copy_layering(&l->starts[at].layering, layering, entry->table, l->arena,
                         l->err);
}

/* A uniform candidate as a layering, to start from. */
galv_status galv_layerwise_offer_uniform(galv_layerwise *l, const galv_shapes *shapes,
                                         const galv_podium_place *place)
{
    size_t index = place->index;
    if (shapes->shape_of[index] < 0) {
        return GALV_OK;
    }
    const galv_layerwise_shape *entry = &l->shapes[shapes->shape_of[index]];
    const galv_layer_table *table = entry->table;
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    int32_t *blocks = GALV_NEW_ARRAY(l->scratch, int32_t, n_virtual);
    galv_layering at = {GALV_NEW_ARRAY(l->scratch, int16_t, table->n_layers),
                        GALV_NEW_ARRAY(l->scratch, int32_t, n_virtual + 1)};
    if (!blocks || !at.choice || !at.first_layer) {
        return galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
    }
    galv_plan_balance(blocks, galv_model_n_blocks(&l->job->model), table->shape.pp,
                      table->shape.vpp);
    galv_layering_divide(at.first_layer, &l->job->model, blocks, n_virtual);
    for (int32_t layer = 0; layer < table->n_layers; layer++) {
        at.choice[layer] =
            (int16_t)table->price_of[galv_layer_table_group(table, layer)]
                                    [shapes->strategy_of[index]];
    }
    l->entry = entry; /* it is on the podium already */
    galv_status status = galv_layerwise_remember(l, &at, (double)INFINITY);
    return status == GALV_OK ? galv_layerwise_offer(l, entry, &at, place->time_s)
                             : status;
}

/* What a plan's stages leave of memory at most. */
static galv_status find_spare(double *spare_bytes, galv_layerwise *l,
                              const galv_layerwise_start *start)
{
    galv_plan *plan = NULL;
    galv_prices *prices = NULL;
    int32_t pp = start->entry->table->shape.pp;
    double *most = GALV_NEW_ARRAY(l->scratch, double, pp);
    galv_status status =
        most ? galv_layering_plan(&plan, &start->layering, start->entry->table,
                                  &l->space->overlap, l->job, l->scratch, l->err)
             : galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
    if (status == GALV_OK) {
        status = galv_prices_new(&prices, l->model, plan, galv_layerwise_table(l, 0),
                                 l->scratch, l->err);
    }
    if (status == GALV_OK) {
        status = galv_estimate_memory_between(spare_bytes, most, l->model, plan, prices,
                                              l->scratch, l->err);
    }
    for (int32_t stage = 0; status == GALV_OK && stage < pp; stage++) {
        spare_bytes[stage] = l->limit_bytes - spare_bytes[stage];
    }
    return status;
}

static bool exchanged_enough(galv_layerwise *l)
{
    return l->n_ops > l->exchange_until_ops || galv_layerwise_out_of_time(l);
}

/* Judges exchanges, most promising first, until a wave holds a faster plan: *better,
 * when it is so by enough to go on. */
static galv_status judge_exchanges(galv_layerwise *l, const galv_layer_leaves *leaves,
                                   galv_layerwise_start *start, bool *better)
{
    galv_status status = GALV_OK;
    galv_layerwise_start best = *start;
    *better = false;
    for (size_t next = 0;
         next < leaves->n_leaves && !*better && !exchanged_enough(l);) {
        next += galv_layerwise_fill_wave(l, &leaves->leaves[next],
                                         leaves->n_leaves - next, &start->time_s);
        if (l->n_wave == 0) {
            break;
        }
        status = galv_layerwise_judge(l);
        for (size_t i = 0; status == GALV_OK && i < l->n_wave; i++) {
            const galv_searched *c = &l->judged[i];
            if (c->fate == GALV_FATE_SIMULATED && c->time_s < best.time_s) {
                *better = true;
                best.time_s = c->time_s;
                best.layering = l->wave[i].layering;
            }
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    if (*better) {
        *better = best.time_s < start->time_s * (1 - WORTH_ANOTHER);
        start->time_s = best.time_s;
        status = copy_layering(&start->layering, &best.layering, start->entry->table,
                               l->arena, l->err);
    }
    return status;
}

/* Exchanges layers of a plan while that makes it faster. */
static galv_status improve(galv_layerwise *l, galv_layerwise_start start)
{
    galv_status status = GALV_OK;
    for (bool better = true; better && status == GALV_OK && !exchanged_enough(l);) {
        const galv_layer_table *table = start.entry->table;
        galv_layer_guesser guesser;
        galv_layer_leaves leaves = {0};
        bool possible = false;
        better = false;
        status = galv_layerwise_open(l, start.entry, &guesser, &possible);
        double *spare_bytes = GALV_NEW_ARRAY(l->scratch, double, table->shape.pp);
        if (status == GALV_OK && possible && spare_bytes) {
            status = find_spare(spare_bytes, l, &start);
        }
        if (status != GALV_OK || !possible || !spare_bytes) {
            break;
        }
        galv_exchange_limits limits = {spare_bytes, start.time_s, MOST_EXCHANGED};
        status = galv_layer_exchanges(&leaves, &start.layering, table, guesser.replay,
                                      &l->job->model, &limits, l->scratch, l->err);
        if (status == GALV_OK) {
            status = judge_exchanges(l, &leaves, &start, &better);
        }
    }
    return status;
}

galv_status galv_layerwise_improve(galv_layerwise *l)
{
    galv_layerwise_start starts[GALV_LAYERWISE_STARTS];
    galv_status status = GALV_OK;
    memcpy(starts, l->starts, sizeof starts);
    l->exchange_until_ops = l->n_ops + EXCHANGE_OPS;
    for (int i = 0; status == GALV_OK && i < GALV_LAYERWISE_STARTS && starts[i].entry;
         i++) {
        status = improve(l, starts[i]);
    }
    return status;
}
