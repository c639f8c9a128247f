/* Layers, measured by the very functions that run them.
 *
 * A probe is a model with the layers of the job's, a few of each kind, under one
 * strategy, with one micro-batch and as many data-parallel copies as there are ranks:
 * so all ranks compute at once, and share caches, memory and clocks as in a run. The
 * trainer makes it and takes one step, for the tokens; then each round takes every
 * layer forward, and back, each pass by itself between two events.
 *
 * The time of a pass is that of its pieces of computation, as the recorder has them:
 * without the collectives inside and what the rank waits for them. Samples of all ranks
 * and of all layers of a kind go together. Gradients between copies are not reduced.
 *
 * Every layer gives a sample of its own: their mean would be disturbed four times as
 * often as each of them.
 *
 * Two kinds of rounds take turns where both are wanted: with the backward pass whole,
 * and with gradients of inputs and of weights apart. */
#include "exec/optimizer.h"
#include "exec/profile_measure.h"
#include "exec/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_LAYERS 4 /* of a group, in a probe */

typedef struct probe {
    galv_arena *arena;
    galv_job job;
    galv_plan *plan;
    galv_trainer *trainer;
    galv_worker *w;
    galv_needs *needs;
    galv_meter *meter;
    galv_samples *samples; /* [n_wanted] */
    double *values;        /* [n_wanted * MOST_LAYERS] of this round */
    int32_t *counts;       /* [n_wanted] of them */
    size_t *wanted;        /* [n_wanted] indices of needs */
    size_t n_wanted;
    bool splits, whole; /* passes that are wanted */
} probe;

static bool same_probe(const galv_wanted_row *a, const galv_wanted_row *b)
{
    return a->row.kind != GALV_PROFILE_COLLECTIVE &&
           b->row.kind != GALV_PROFILE_COLLECTIVE &&
           galv_strategy_equal(&a->strategy, &b->strategy) &&
           a->micro_batch_size == b->micro_batch_size &&
           a->row.seq_length == b->row.seq_length;
}

static galv_status choose(probe *p, size_t first, galv_err *err)
{
    p->wanted = GALV_NEW_ARRAY(p->arena, size_t, p->needs->n);
    p->samples = GALV_NEW_ARRAY(p->arena, galv_samples, p->needs->n);
    p->values = GALV_NEW_ARRAY(p->arena, double, p->needs->n *MOST_LAYERS);
    p->counts = GALV_NEW_ARRAY(p->arena, int32_t, p->needs->n);
    if (p->wanted == NULL || p->samples == NULL || p->values == NULL ||
        p->counts == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for samples");
    }
    for (size_t i = first; i < p->needs->n; i++) {
        const galv_wanted_row *need = &p->needs->needs[i];
        if (!need->done && same_probe(&p->needs->needs[first], need)) {
            p->wanted[p->n_wanted++] = i;
            bool split = need->row.kind == GALV_PROFILE_COMPUTE &&
                         (need->row.phase == GALV_OP_BACKWARD_INPUT ||
                          need->row.phase == GALV_OP_BACKWARD_WEIGHT);
            p->splits = p->splits || split;
            p->whole = p->whole || !split;
        }
    }
    return GALV_OK;
}

static galv_status make_probe(probe *p, const galv_wanted_row *need,
                              const galv_job *job, galv_err *err)
{
    int32_t n_ranks = galv_world_size(p->meter->world);
    galv_uniform_plan uniform = {.strategy = need->strategy,
                                 .pp = 1,
                                 .vpp = 1,
                                 .micro_batch_size = need->micro_batch_size,
                                 .overlap = GALV_OVERLAP_INIT};
    int32_t ranks = need->strategy.tp * need->strategy.cp;
    if (n_ranks % ranks != 0) {
        galv_fail(err, GALV_USAGE,
                  "layers with tp %d and cp %d cannot be measured on %d ranks",
                  (int)need->strategy.tp, (int)need->strategy.cp, (int)n_ranks);
        galv_hint(err, "start it with: mpirun -np %d galvatron-exec profile ...",
                  (int)ranks);
        return GALV_USAGE;
    }
    p->job = *job;
    for (int32_t g = 0; g < p->job.model.n_groups; g++) {
        galv_layer_group *group = &p->job.model.groups[g];
        group->n_layers = group->n_layers > MOST_LAYERS ? MOST_LAYERS : group->n_layers;
    }
    uniform.strategy.dp = n_ranks / ranks;
    p->job.workload.seq_length = need->row.seq_length;
    p->job.workload.global_batch_size =
        (int64_t)need->micro_batch_size * uniform.strategy.dp;
    galv_trainer_options options = GALV_TRAINER_OPTIONS_INIT;
    galv_step_result ignored;
    galv_status status =
        galv_plan_make_uniform(&p->plan, &p->job, &uniform, p->arena, err);
    if (status == GALV_OK) {
        status = galv_trainer_new(&p->trainer, &p->job, p->plan, p->meter->backend,
                                  p->meter->world, &options, err);
    }
    if (status == GALV_OK) {
        p->w = galv_trainer_worker(p->trainer);
        status = galv_trainer_step(p->trainer, &ignored, err);
    }
    return status;
}

/* ---- a round ---- */

/* Seconds of computation recorded since the last reset. */
static double computed_s(galv_worker *w, galv_err *err)
{
    galv_recorder *r = &w->recorder;
    galv_span *spans = calloc(r->n_spans + 1, sizeof *spans);
    galv_memory_sample *samples = calloc(r->n_samples + 1, sizeof *samples);
    double sum = 0;
    if (spans == NULL || samples == NULL || r->failed) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for spans");
    } else {
        galv_recorder_resolve(r, spans, samples, w->b->rank, 0);
        for (size_t i = 0; i < r->n_spans; i++) {
            sum += spans[i].stream == GALV_STREAM_COMPUTE
                       ? spans[i].end_s - spans[i].start_s
                       : 0;
        }
    }
    free(spans);
    free(samples);
    return sum;
}

/* A figure of a layer goes to the need that asks for it. */
static void give(probe *p, int32_t layer, galv_profile_kind kind, int phase,
                 double value)
{
    const galv_layer_group *g = galv_model_layer(&p->job.model, layer);
    for (size_t i = 0; i < p->n_wanted; i++) {
        const galv_profile_row *row = &p->needs->needs[p->wanted[i]].row;
        bool moe = g->kind == GALV_LAYER_MOE_DECODER;
        if (row->kind == kind && (kind == GALV_PROFILE_MEMORY || row->phase == phase) &&
            strcmp(row->layer, galv_layer_kind_names[g->kind]) == 0 &&
            row->ffn_hidden_size ==
                (moe ? g->moe_ffn_hidden_size : g->ffn_hidden_size) &&
            row->num_attention_heads == g->num_attention_heads &&
            row->num_query_groups == g->num_query_groups &&
            row->num_experts == g->num_experts &&
            row->moe_router_topk == g->moe_router_topk) {
            if (p->counts[i] < MOST_LAYERS) {
                p->values[i * MOST_LAYERS + (size_t)p->counts[i]++] = value;
            }
        }
    }
}

static void pass_layer(probe *p, int32_t layer, int phase, galv_err *err)
{
    galv_worker *w = p->w;
    galv_operation operation = {.kind = (uint8_t)phase,
                                .stream = GALV_STREAM_COMPUTE,
                                .part = GALV_PART_WHOLE,
                                .pass = (uint8_t)phase,
                                .first_layer = layer,
                                .n_layers = 1,
                                .peer_stage = -1};
    galv_block *blocks[3];
    galv_recorder_reset(&w->recorder);
    w->operation = &operation;
    w->micro_batch = 0;
    w->serves = phase;
    galv_worker_open(w);
    switch (phase) {
    case GALV_OP_FORWARD:
    case GALV_OP_RECOMPUTE:
        galv_layer_forward(w, layer, 0, GALV_PART_WHOLE, phase == GALV_OP_RECOMPUTE);
        break;
    case GALV_OP_BACKWARD:
        galv_layer_backward(w, layer, 0, GALV_PART_WHOLE, GALV_BACKWARD_BOTH);
        break;
    case GALV_OP_BACKWARD_INPUT:
        galv_layer_backward(w, layer, 0, GALV_PART_WHOLE, GALV_BACKWARD_INPUT);
        break;
    case GALV_OP_BACKWARD_WEIGHT:
        galv_layer_weight(w, layer, 0, GALV_PART_WHOLE, false);
        break;
    default: {
        int n = galv_blocks_of(blocks, w, layer, GALV_PART_WHOLE);
        for (int i = 0; i < n; i++) {
            galv_block_sum_squares(blocks[i], w->b, w->squares);
            galv_block_step(blocks[i], w->b, &w->adamw);
        }
        break;
    }
    }
    galv_worker_close(w);
    w->b->synchronize(w->b);
    w->operation = NULL;
    give(p, layer, GALV_PROFILE_COMPUTE, phase, computed_s(w, err));
}

static void clear_gradients(probe *p)
{
    galv_block *blocks[3];
    galv_backend *b = p->w->b;
    for (int32_t i = 0; i < p->plan->n_layers; i++) {
        int n = galv_blocks_of(blocks, p->w, i, GALV_PART_WHOLE);
        for (int k = 0; k < n; k++) {
            galv_block_clear(blocks[k], b);
        }
    }
    b->fill_zero(b, GALV_STREAM_COMPUTE, p->w->squares, sizeof(float));
    b->fill_zero(b, GALV_STREAM_COMPUTE, p->w->losses, sizeof(float));
    b->synchronize(b);
}

/* Bytes that a layer holds from its forward to its backward; the input of a layer is
 * the output of the one before and was counted there. */
static void forward_layers(probe *p, galv_err *err)
{
    galv_backend *b = p->w->b;
    for (int32_t i = 0; i < p->plan->n_layers; i++) {
        size_t before = b->allocated_bytes(b);
        pass_layer(p, i, GALV_OP_FORWARD, err);
        size_t after = b->allocated_bytes(b);
        give(p, i, GALV_PROFILE_MEMORY, 0,
             after > before ? (double)(after - before) : 0);
    }
}

static void run_round(probe *p, bool split, galv_err *err)
{
    int32_t n = p->plan->n_layers;
    clear_gradients(p);
    forward_layers(p, err);
    for (int32_t i = n - 1; i >= 0; i--) {
        const galv_strategy *s = &p->w->layers[i].place->strategy;
        if (s->recompute == GALV_RECOMPUTE_FULL) {
            pass_layer(p, i, GALV_OP_RECOMPUTE, err);
        }
        if (split) {
            pass_layer(p, i, GALV_OP_BACKWARD_INPUT, err);
            pass_layer(p, i, GALV_OP_BACKWARD_WEIGHT, err);
        } else {
            pass_layer(p, i, GALV_OP_BACKWARD, err);
        }
    }
    GALV_DROP(p->w, p->w->layers[0].saved[0].input_gradient);
    for (int32_t i = 0; i < n; i++) {
        pass_layer(p, i, GALV_OP_OPTIMIZER, err);
    }
}

static galv_status run_rounds(probe *p, galv_err *err)
{
    galv_worker *w = p->w;
    bool enough = false;
    bool split = !p->whole;
    while (!enough) {
        double begin_s = galv_measure_now_s();
        for (size_t i = 0; i < p->n_wanted * MOST_LAYERS; i++) {
            p->values[i] = -1;
        }
        memset(p->counts, 0, p->n_wanted * sizeof *p->counts);
        run_round(p, split, err);
        if (w->err.status != GALV_OK && err->status == GALV_OK) {
            *err = w->err;
        }
        galv_status status =
            galv_meter_take(&enough, p->samples, p->values, p->n_wanted, MOST_LAYERS,
                            galv_measure_now_s() - begin_s, p->meter, err);
        if (status != GALV_OK) {
            return status;
        }
        split = p->splits && (!split || !p->whole);
    }
    return GALV_OK;
}

/* ---- results ---- */

static double parameter_bytes(const probe *p, const galv_profile_row *row)
{
    for (int32_t g = 0; g < p->job.model.n_groups; g++) {
        const galv_layer_group *group = &p->job.model.groups[g];
        if (strcmp(row->layer, galv_layer_kind_names[group->kind]) == 0 &&
            row->ffn_hidden_size == (group->kind == GALV_LAYER_MOE_DECODER
                                         ? group->moe_ffn_hidden_size
                                         : group->ffn_hidden_size)) {
            galv_layer_parameters n = galv_layer_count_parameters(&p->job.model, group);
            return 4 * (n.dense + n.experts);
        }
    }
    return 0;
}

static void fill_rows(probe *p)
{
    for (size_t i = 0; i < p->n_wanted; i++) {
        galv_wanted_row *need = &p->needs->needs[p->wanted[i]];
        galv_profile_row *row = &need->row;
        need->done = galv_samples_fill(row, &p->samples[i]);
        if (row->kind == GALV_PROFILE_MEMORY) {
            row->activation_bytes = row->time_s;
            row->parameter_bytes = row->tp == 1 ? parameter_bytes(p, row) : 0;
            row->time_s = row->stddev_s = 0;
        }
    }
}

galv_status galv_measure_layers(galv_needs *needs, size_t first, const galv_job *job,
                                galv_meter *meter, galv_err *err)
{
    probe p = {.needs = needs, .meter = meter, .arena = galv_arena_new()};
    galv_status status = GALV_OK;
    if (p.arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a probe");
    }
    status = choose(&p, first, err);
    if (status == GALV_OK) {
        status = make_probe(&p, &needs->needs[first], job, err);
    }
    if (status == GALV_OK) {
        status = run_rounds(&p, err);
    }
    if (status == GALV_OK) {
        fill_rows(&p);
    }
    for (size_t i = 0; p.samples != NULL && i < p.n_wanted; i++) {
        galv_samples_release(&p.samples[i]);
    }
    galv_trainer_free(p.trainer);
    galv_arena_free(p.arena);
    return status;
}
