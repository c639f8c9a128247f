/* Adding up layers.
 *
 * Time: passes of one virtual stage add up, so do the loads of streams and the steps of
 * a stage's chunks; see search/layer_table.h for why each term is a lower bound, and
 * search/replay.h for how they become an iteration. The step comes after every stage's
 * gradients, so the longest is added. The result is taken down by one part in 1e12:
 * sums in another order than the engine's must not end above it.
 *
 * Memory: what is held throughout, and the activations of as many micro-batches as the
 * schedule's order keeps at its highest point. Buffers are left out, so what the
 * estimate or the simulation says is never less. */
#include "search/layering.h"

#include <string.h>

#define ROUNDING 1e-12

bool galv_layer_is_block(const galv_layer_group *group)
{
    return group->kind == GALV_LAYER_ENCODER || group->kind == GALV_LAYER_DECODER ||
           group->kind == GALV_LAYER_CROSS_DECODER ||
           group->kind == GALV_LAYER_MOE_DECODER;
}

galv_bare_ends galv_model_bare_ends(const galv_model *model)
{
    int32_t n_layers = galv_model_n_layers(model);
    galv_bare_ends bare = {false, false};
    if (n_layers > 2) {
        bare.last = !galv_layer_is_block(galv_model_layer(model, n_layers - 1));
        bare.first = bare.last && !galv_layer_is_block(galv_model_layer(model, 0)) &&
                     galv_layer_is_block(galv_model_layer(model, 1));
    }
    return bare;
}

void galv_layering_divide(int32_t *first_layer, const galv_model *model,
                          const int32_t *blocks, int32_t n_virtual)
{
    int32_t n_layers = galv_model_n_layers(model);
    int32_t layer = 0;
    for (int32_t v = 0; v < n_virtual; v++) {
        first_layer[v] = layer;
        if (v == 0 && !galv_layer_is_block(galv_model_layer(model, 0))) {
            layer = 1; /* the embedding, also where no block follows it */
        }
        for (int32_t left = blocks[v]; layer < n_layers && left > 0; layer++) {
            left -= galv_layer_is_block(galv_model_layer(model, layer));
        }
    }
    first_layer[n_virtual] = n_layers;
}

int32_t galv_model_most_stages(const galv_model *model)
{
    galv_bare_ends bare = galv_model_bare_ends(model);
    return galv_model_n_blocks(model) + bare.first + bare.last;
}

galv_status galv_layering_sums_new(galv_layering_sums *sums,
                                   const galv_layer_table *table, galv_arena *arena,
                                   galv_err *err)
{
    size_t pp = (size_t)table->shape.pp;
    size_t n_virtual = pp * (size_t)table->shape.vpp;
    sums->forward_s = GALV_NEW_ARRAY(arena, double, n_virtual);
    sums->backward_s = GALV_NEW_ARRAY(arena, double, n_virtual);
    sums->weight_s = GALV_NEW_ARRAY(arena, double, n_virtual);
    sums->load_s = GALV_NEW_ARRAY(arena, double, pp *GALV_N_STREAMS);
    sums->optimizer_s = GALV_NEW_ARRAY(arena, double, pp);
    sums->bytes = GALV_NEW_ARRAY(arena, double, pp);
    if (!sums->forward_s || !sums->backward_s || !sums->weight_s || !sums->load_s ||
        !sums->optimizer_s || !sums->bytes) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    return GALV_OK;
}

void galv_layering_sums_clear(galv_layering_sums *sums, const galv_layer_table *table)
{
    size_t pp = (size_t)table->shape.pp;
    size_t n_virtual = pp * (size_t)table->shape.vpp;
    memset(sums->forward_s, 0, n_virtual * sizeof(double));
    memset(sums->backward_s, 0, n_virtual * sizeof(double));
    memset(sums->weight_s, 0, n_virtual * sizeof(double));
    memset(sums->load_s, 0, pp * GALV_N_STREAMS * sizeof(double));
    memset(sums->optimizer_s, 0, pp * sizeof(double));
    for (size_t stage = 0; stage < pp; stage++) {
        sums->bytes[stage] = table->base_bytes;
    }
}

void galv_layering_add(galv_layering_sums *sums, const galv_layer_price *price,
                       const galv_layer_price *before, const galv_layer_price *after,
                       int32_t stage, int32_t v, double kept)
{
    double *load_s = &sums->load_s[(size_t)stage * GALV_N_STREAMS];
    double forward_s = before ? galv_layer_change_s(before, price) : 0;
    double backward_s = after ? galv_layer_change_s(after, price) : 0;
    sums->forward_s[v] += price->forward_s + forward_s;
    sums->backward_s[v] += price->backward_s + backward_s;
    sums->weight_s[v] += price->weight_s;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        load_s[stream] += price->load_s[stream];
    }
    load_s[GALV_STREAM_TP] += forward_s + backward_s;
    sums->optimizer_s[stage] += price->optimizer_s;
    sums->bytes[stage] += price->held_bytes + kept * price->kept_bytes;
}

double galv_layering_bound_s(const galv_layering_sums *sums,
                             const galv_layer_table *table, galv_replay *replay)
{
    double passes =
        galv_replay_time(replay, sums->forward_s, sums->backward_s, sums->weight_s);
    double optimizer = 0;
    for (int32_t stage = 0; stage < table->shape.pp; stage++) {
        double busy = 0; /* the replay may be of fewer micro-batches */
        for (int32_t chunk = 0; chunk < table->shape.vpp; chunk++) {
            int32_t v = galv_replay_virtual_stage(replay, stage, chunk);
            busy += sums->forward_s[v] + sums->backward_s[v] + sums->weight_s[v];
        }
        busy *= table->n_micro_batches;
        passes = busy > passes ? busy : passes;
        for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
            double load = table->n_micro_batches *
                          sums->load_s[(size_t)stage * GALV_N_STREAMS + (size_t)stream];
            passes = load > passes ? load : passes;
        }
        optimizer =
            sums->optimizer_s[stage] > optimizer ? sums->optimizer_s[stage] : optimizer;
    }
    return (passes + optimizer) * (1 - ROUNDING);
}

void galv_layering_sum(galv_layering_sums *sums, const galv_layering *layering,
                       const galv_layer_table *table, const galv_replay *replay)
{
    galv_layering_sums_clear(sums, table);
    for (int32_t i = 0; i < table->shape.pp * table->shape.vpp; i++) {
        int32_t stage = i / table->shape.vpp;
        int32_t chunk = i % table->shape.vpp;
        int32_t v = galv_replay_virtual_stage(replay, stage, chunk);
        for (int32_t layer = layering->first_layer[v];
             layer < layering->first_layer[v + 1]; layer++) {
            const galv_layer_price *prices[3] = {NULL, NULL, NULL};
            for (int k = 0; k < 3; k++) {
                int32_t at = layer - 1 + k;
                if (at >= 0 && at < table->n_layers) {
                    prices[k] = &table->prices[galv_layer_table_group(table, at)]
                                              [layering->choice[at]];
                }
            }
            galv_layering_add(sums, prices[1], prices[0], prices[2], stage, v,
                              galv_replay_kept(replay, stage, chunk));
        }
    }
}

galv_status galv_layering_plan(galv_plan **plan, const galv_layering *layering,
                               const galv_layer_table *table,
                               const galv_overlap *overlap, const galv_job *job,
                               galv_arena *arena, galv_err *err)
{
    int32_t n_virtual = table->shape.pp * table->shape.vpp;
    galv_strategy *strategies = GALV_NEW_ARRAY(arena, galv_strategy, table->n_layers);
    int32_t *stage_blocks = GALV_NEW_ARRAY(arena, int32_t, n_virtual);
    if (!strategies || !stage_blocks) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t v = 0; v < n_virtual; v++) {
        for (int32_t layer = layering->first_layer[v];
             layer < layering->first_layer[v + 1]; layer++) {
            int32_t g = galv_layer_table_group(table, layer);
            strategies[layer] = table->prices[g][layering->choice[layer]].strategy;
            stage_blocks[v] += galv_layer_is_block(&job->model.groups[g]);
        }
    }
    galv_uniform_plan parameters = {
        .pp = table->shape.pp,
        .vpp = table->shape.vpp,
        .schedule = table->shape.schedule->name,
        .micro_batch_size = (int32_t)(table->shape.samples / strategies[0].dp),
        .overlap = *overlap,
        .stage_blocks = stage_blocks};
    return galv_plan_make_layered(plan, job, &parameters, strategies, arena, err);
}
