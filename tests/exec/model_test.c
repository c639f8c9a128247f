/* One rank against a transformer written in double precision: its loss, and its
 * gradients against central differences of that loss. Weights, norms and biases too,
 * are random, so that nothing is hidden by ones and zeros. */
#include "exec/trainer.h"
#include "tests/exec/reference_model.h"
#include "tests/exec/support.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(exec_model);

enum { SEQ = 8, BATCH = 4, PER_TENSOR = 5 };

static galv_model small_model(const char *name)
{
    bool gpt = strncmp(name, "gpt", 3) == 0;
    bool moe = strstr(name, "moe") != NULL;
    galv_model m = {0};
    snprintf(m.name, sizeof m.name, "%s", name);
    snprintf(m.family, sizeof m.family, "gpt");
    m.seq_length = SEQ;
    m.n_groups = 3;
    m.tied_embeddings = strstr(name, "tied") != NULL;
    for (int i = 0; i < 3; i++) {
        galv_layer_group *g = &m.groups[i];
        g->n_layers = i == 1 ? 2 : 1;
        g->hidden_size = 16;
        g->normalization = gpt ? GALV_LAYERNORM : GALV_RMSNORM;
        g->linear_bias = gpt;
    }
    m.groups[0].kind = GALV_LAYER_EMBEDDING;
    m.groups[2].kind = GALV_LAYER_HEAD;
    m.groups[0].vocab_size = m.groups[2].vocab_size = 29;
    m.groups[0].max_positions = gpt ? 11 : 0;
    galv_layer_group *g = &m.groups[1];
    g->kind = moe ? GALV_LAYER_MOE_DECODER : GALV_LAYER_DECODER;
    g->num_attention_heads = 4;
    g->num_query_groups = gpt ? 4 : 2;
    g->kv_channels = gpt ? 4 : 6; /* 4 * 6 is not 16 */
    g->gated_linear_unit = !gpt;
    g->qkv_bias = moe;
    g->ffn_hidden_size = moe ? 0 : 24;
    g->num_experts = moe ? 4 : 0;
    g->moe_router_topk = moe ? 2 : 0;
    g->moe_ffn_hidden_size = moe ? 12 : 0;
    g->moe_shared_ffn_hidden_size = strstr(name, "shared") != NULL ? 10 : 0;
    return m;
}

typedef struct setup {
    device device;
    galv_arena *arena;
    galv_job job;
    galv_plan *plan;
    galv_trainer *trainer;
    reference_model reference;
    int32_t tokens[BATCH * (SEQ + 1)];
} setup;

/* Random weights, the same in the trainer and in the reference. */
static void randomise(setup *s)
{
    galv_worker *w = galv_trainer_worker(s->trainer);
    galv_backend *b = w->b;
    unsigned seed = 1;
    s->reference.model = &s->job.model;
    s->reference.n_layers = s->plan->n_layers;
    for (int32_t layer = 0; layer < s->plan->n_layers; layer++) {
        galv_layer_tensors *t = &w->layers[layer].tensors;
        for (int id = 0; id < GALV_N_TENSORS; id++) {
            if (t->tensor[id] == NULL) {
                continue;
            }
            size_t n = (size_t)(t->tensor[id]->n_rows * t->tensor[id]->n_cols);
            double *values = calloc(n, sizeof *values);
            float *floats = calloc(n, sizeof *floats);
            float *weights = galv_weights(b, t, id);
            cr_assert(values && floats);
            b->download(b, floats, weights, n, GALV_ELEMENT);
            fill_random(values, n, seed++);
            bool tied = layer > 0 && t->block[id]->tied;
            for (size_t i = 0; i < n; i++) {
                floats[i] += tied ? 0 : (float)(0.2 * values[i]);
                values[i] = (double)floats[i];
            }
            b->upload(b, weights, floats, n, GALV_ELEMENT);
            free(floats);
            if (tied) {
                free(values);
                values = s->reference.weights[0][id];
            }
            s->reference.weights[layer][id] = values;
        }
    }
    for (int i = 0; i < BATCH; i++) {
        for (int p = 0; p <= SEQ; p++) {
            s->tokens[i * (SEQ + 1) + p] = galv_batch_token(&w->batch, i, p);
        }
    }
}

static void begin(setup *s, const char *model, galv_recompute recompute)
{
    galv_err err = GALV_ERR_INIT;
    memset(s, 0, sizeof *s);
    s->device = device_open();
    s->arena = galv_arena_new();
    s->job.model = small_model(model);
    cr_assert_eq(galv_cluster_load(&s->job.cluster, "dgx-h100", 1, &err), GALV_OK);
    s->job.cluster.pools[0].n_nodes = 1;
    s->job.cluster.pools[0].devices_per_node = 1;
    s->job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    s->job.workload.seq_length = SEQ;
    s->job.workload.global_batch_size = BATCH;
    galv_uniform_plan uniform = {0};
    uniform.strategy = (galv_strategy)GALV_STRATEGY_INIT;
    uniform.strategy.recompute = recompute;
    uniform.pp = uniform.vpp = 1;
    uniform.micro_batch_size = 2;
    uniform.overlap = (galv_overlap)GALV_OVERLAP_INIT;
    cr_assert_eq(galv_plan_make_uniform(&s->plan, &s->job, &uniform, s->arena, &err),
                 GALV_OK, "%s", err.message);
    galv_trainer_options options = GALV_TRAINER_OPTIONS_INIT;
    options.learning_rate = 0; /* weights stay as they are */
    cr_assert_eq(galv_trainer_new(&s->trainer, &s->job, s->plan, s->device.b,
                                  s->device.world, &options, &err),
                 GALV_OK, "%s", err.message);
    randomise(s);
}

static void end(setup *s)
{
    for (int32_t layer = 0; layer < s->plan->n_layers; layer++) {
        for (int id = 0; id < GALV_N_TENSORS; id++) {
            if (layer == 0 ||
                s->reference.weights[layer][id] != s->reference.weights[0][id]) {
                free(s->reference.weights[layer][id]);
            }
        }
    }
    galv_trainer_free(s->trainer);
    galv_arena_free(s->arena);
    device_close(&s->device);
}

static double loss_of(const setup *s)
{
    return reference_loss(&s->reference, s->tokens, BATCH, SEQ);
}

/* Some values of one tensor: the trainer's gradient against differences. */
static void check_tensor(setup *s, int32_t layer, int id)
{
    galv_worker *w = galv_trainer_worker(s->trainer);
    galv_layer_tensors *t = &w->layers[layer].tensors;
    double *values = s->reference.weights[layer][id];
    size_t n = (size_t)(t->tensor[id]->n_rows * t->tensor[id]->n_cols);
    float *gradient = calloc(n, sizeof *gradient);
    cr_assert_not_null(gradient);
    w->b->download(w->b, gradient, galv_gradient(w->b, t, id), n, GALV_FLOAT32);
    for (size_t i = 0; i < PER_TENSOR; i++) {
        size_t at = (i * 7919 + (size_t)id * 31) % n;
        double value = values[at];
        const double step = 1e-4;
        values[at] = value + step;
        double above = loss_of(s);
        values[at] = value - step;
        double below = loss_of(s);
        values[at] = value;
        double want = (above - below) / (2 * step);
        double have = (double)gradient[at];
        cr_expect(fabs(have - want) <= 2e-6 + 2e-5 * fabs(want),
                  "%s of layer %d, value %zu: gradient %.9g, by differences %.9g",
                  galv_tensor_names[id], (int)layer, at, have, want);
    }
    free(gradient);
}

static void check(const char *model, galv_recompute recompute)
{
    setup s;
    galv_err err = GALV_ERR_INIT;
    galv_step_result step = {0};
    begin(&s, model, recompute);
    cr_assert_eq(galv_trainer_step(s.trainer, &step, &err), GALV_OK, "%s", err.message);
    double want = loss_of(&s);
    cr_expect_float_eq(step.loss, want, 1e-6 * want, "%s: loss %.9g, in double %.9g",
                       model, step.loss, want);
    galv_worker *w = galv_trainer_worker(s.trainer);
    for (int32_t layer = 0; layer < s.plan->n_layers; layer++) {
        for (int id = 0; id < GALV_N_TENSORS; id++) {
            if (w->layers[layer].tensors.tensor[id] != NULL) {
                check_tensor(&s, layer, id);
            }
        }
    }
    end(&s);
}

Test(exec_model, loss_and_gradients_of_gpt_are_those_of_its_formula)
{
    check("gpt", GALV_RECOMPUTE_NONE);
}

Test(exec_model, loss_and_gradients_of_llama_are_those_of_its_formula)
{
    check("llama", GALV_RECOMPUTE_NONE);
}

Test(exec_model, a_tied_table_has_the_gradients_of_both_its_uses)
{
    check("gpt-tied", GALV_RECOMPUTE_FULL);
}

Test(exec_model, loss_and_gradients_with_experts_are_those_of_their_formula)
{
    check("moe", GALV_RECOMPUTE_NONE);
    check("moe-shared", GALV_RECOMPUTE_SELECTIVE);
    check("gpt-moe", GALV_RECOMPUTE_NONE);
}

Test(exec_model, a_model_that_cannot_fit_is_refused_before_it_starts)
{
    device d = device_open();
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_job job = {.model = small_model("llama")};
    galv_plan *plan = NULL;
    galv_trainer *trainer = NULL;
    galv_trainer_options options = GALV_TRAINER_OPTIONS_INIT;
    galv_uniform_plan uniform = {.pp = 1, .vpp = 1, .micro_batch_size = 1};
    cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-h100", 1, &err), GALV_OK);
    job.cluster.pools[0].n_nodes = 1;
    job.cluster.pools[0].devices_per_node = 1;
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.seq_length = SEQ;
    job.workload.global_batch_size = 1;
    job.model.groups[1].n_layers = 1000; /* of 4 GiB and more */
    for (int i = 0; i < 3; i++) {
        job.model.groups[i].hidden_size = 8192;
    }
    uniform.strategy = (galv_strategy)GALV_STRATEGY_INIT;
    uniform.overlap = (galv_overlap)GALV_OVERLAP_INIT;
    job.model.groups[1].ffn_hidden_size = 32768;
    cr_assert_eq(galv_plan_make_uniform(&plan, &job, &uniform, arena, &err), GALV_OK,
                 "%s", err.message);
    cr_expect_eq(galv_trainer_new(&trainer, &job, plan, d.b, d.world, &options, &err),
                 GALV_NO_MEMORY);
    cr_expect(strstr(err.message, "GiB at least") != NULL, "%s", err.message);
    galv_arena_free(arena);
    device_close(&d);
}
