/* A few steps of training by both backends, and how fast the device is. */
#include "exec/trainer.h"
#include "plan/plan.h"
#include "tests/exec/gpu/gpu_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sizes {
    const char *kind; /* gpt, llama, moe */
    int32_t hidden, layers, heads, groups, ffn, vocabulary, seq, batch;
} sizes;

static void make_model(galv_model *m, const sizes *z)
{
    bool gpt = strcmp(z->kind, "gpt") == 0;
    bool moe = strcmp(z->kind, "moe") == 0;
    memset(m, 0, sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", z->kind);
    snprintf(m->family, sizeof m->family, "gpt");
    m->seq_length = z->seq;
    m->n_groups = 3;
    for (int i = 0; i < 3; i++) {
        galv_layer_group *g = &m->groups[i];
        g->n_layers = i == 1 ? z->layers : 1;
        g->hidden_size = z->hidden;
        g->normalization = gpt ? GALV_LAYERNORM : GALV_RMSNORM;
        g->linear_bias = gpt;
    }
    m->groups[0].kind = GALV_LAYER_EMBEDDING;
    m->groups[2].kind = GALV_LAYER_HEAD;
    m->groups[0].vocab_size = m->groups[2].vocab_size = z->vocabulary;
    m->groups[0].max_positions = gpt ? z->seq : 0;
    galv_layer_group *g = &m->groups[1];
    g->kind = moe ? GALV_LAYER_MOE_DECODER : GALV_LAYER_DECODER;
    g->num_attention_heads = z->heads;
    g->num_query_groups = z->groups;
    g->kv_channels = z->hidden / z->heads;
    g->gated_linear_unit = !gpt;
    if (moe) {
        g->num_experts = 4;
        g->moe_router_topk = 2;
        g->moe_ffn_hidden_size = z->ffn;
    } else {
        g->ffn_hidden_size = z->ffn;
    }
}

static galv_status make_plan(galv_plan **plan, galv_job *job, const sizes *z,
                             galv_arena *arena, galv_err *err)
{
    galv_strategy layers[64];
    const galv_strategy plain = GALV_STRATEGY_INIT;
    galv_uniform_plan uniform;
    memset(job, 0, sizeof *job);
    memset(&uniform, 0, sizeof uniform);
    make_model(&job->model, z);
    galv_status status = galv_cluster_load(&job->cluster, "dgx-h100", 1, err);
    if (status != GALV_OK) {
        return status;
    }
    job->cluster.pools[0].n_nodes = 1;
    job->cluster.pools[0].devices_per_node = 1;
    job->workload = (galv_workload)GALV_WORKLOAD_INIT;
    job->workload.seq_length = z->seq;
    job->workload.global_batch_size = z->batch;
    uniform.pp = uniform.vpp = uniform.micro_batch_size = 1;
    uniform.overlap = (galv_overlap)GALV_OVERLAP_INIT;
    for (int32_t i = 0; i < galv_model_n_layers(&job->model); i++) {
        layers[i] = galv_plan_strategy_for(&plain, galv_model_layer(&job->model, i));
    }
    return galv_plan_make_layered(plan, job, &uniform, layers, arena, err);
}

/* Trains for some steps; the time is that of the fastest of the last ones. */
static galv_status train(check *c, int side, const sizes *z, int steps, double *losses,
                         double *least_s, galv_err *err)
{
    galv_job job;
    galv_plan *plan = NULL;
    galv_trainer *trainer = NULL;
    galv_arena *arena = galv_arena_new();
    galv_trainer_options options = GALV_TRAINER_OPTIONS_INIT;
    options.learning_rate = 3e-3F;
    options.seed = 7;
    *least_s = INFINITY;
    galv_status status = make_plan(&plan, &job, z, arena, err);
    if (status == GALV_OK) {
        status =
            galv_trainer_new(&trainer, &job, plan, c->b[side], c->world, &options, err);
    }
    for (int step = 0; step < steps && status == GALV_OK; step++) {
        galv_step_result result = {0};
        status = galv_trainer_step(trainer, &result, err);
        losses[step] = result.loss;
        if (step >= 2) {
            *least_s = fmin(*least_s, result.time_s);
        }
    }
    galv_trainer_free(trainer);
    galv_arena_free(arena);
    return status;
}

void check_training(check *c)
{
    enum { STEPS = 8 };
    static const sizes models[] = {{"gpt", 64, 2, 4, 4, 256, 97, 48, 4},
                                   {"llama", 96, 3, 6, 2, 200, 101, 64, 4},
                                   {"moe", 64, 2, 4, 2, 48, 97, 32, 4}};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        double losses[N_SIDES][STEPS] = {{0}};
        double time_s = 0;
        galv_err err = GALV_ERR_INIT;
        galv_status status = GALV_OK;
        for (int side = 0; side < N_SIDES && status == GALV_OK; side++) {
            status = train(c, side, &models[i], STEPS, losses[side], &time_s, &err);
        }
        double most = 0;
        for (int step = 0; step < STEPS; step++) {
            double error = fabs(losses[GPU][step] / losses[HOST][step] - 1);
            most = error > most || isnan(error) ? error : most;
        }
        claim(c, status == GALV_OK && most <= 2e-2,
              "train %s: loss %.4f to %.4f, host %.4f to %.4f; differ by %.1e, allowed "
              "2e-02 %s",
              models[i].kind, losses[GPU][0], losses[GPU][STEPS - 1], losses[HOST][0],
              losses[HOST][STEPS - 1], most, err.message);
        claim(c, losses[GPU][STEPS - 1] < losses[GPU][0], "  the loss falls");
    }
}

/* ---- rates ---- */

typedef void work(galv_backend *b, void **x, size_t n);

static void multiply(galv_backend *b, void **x, size_t n)
{
    b->gemm(b, on, false, true, n, n, n, 1, x[0], x[1], 0, x[2], GALV_ELEMENT);
}

static galv_attention heads(size_t n)
{
    galv_attention shape = {.n_samples = 1,
                            .n_queries = (int32_t)n,
                            .n_keys = (int32_t)n,
                            .n_heads = 32,
                            .n_groups = 8,
                            .qk_dim = 128,
                            .v_dim = 128,
                            .scale = 0.088F};
    return shape;
}

static void attend(galv_backend *b, void **x, size_t n)
{
    galv_attention shape = heads(n);
    b->attend(b, on, &shape, x[3], x[4], x[0], x[1], x[2]);
}

static void attend_back(galv_backend *b, void **x, size_t n)
{
    galv_attention shape = heads(n);
    b->attend_backward_whole(b, on, &shape, x[5], x[6], x[7], x[3], x[0], x[1], x[2],
                             x[3], x[4]);
}

static void accumulate(galv_backend *b, void **x, size_t n)
{
    b->accumulate(b, on, x[0], x[1], GALV_FLOAT32, n);
}

enum { MOST_BUFFERS = 8 };

/* Seconds of one call: the median of 5 times 10 calls, after 3. Buffers hold small
 * random values, since zeros take less power. */
static double time_of(check *c, work *what, const size_t *values, int n_buffers,
                      size_t n)
{
    galv_backend *b = c->b[GPU];
    void *x[MOST_BUFFERS] = {NULL};
    double times[5];
    size_t piece = (size_t)1 << 20;
    float *noise = malloc(piece * sizeof *noise);
    for (size_t i = 0; noise != NULL && i < piece; i++) {
        noise[i] = (float)draw(c, 1024) / 1024 - 0.5F;
    }
    for (int i = 0; i < n_buffers; i++) {
        /* as elements; read as float32, pairs of them are small numbers too */
        size_t n_elements = values[i] * 4 / (size_t)b->element_bytes;
        x[i] = b->allocate(b, values[i] * 4);
        for (size_t at = 0; noise != NULL && x[i] != NULL && at < n_elements;
             at += piece) {
            size_t here = n_elements - at < piece ? n_elements - at : piece;
            b->upload(b, (char *)x[i] + at * (size_t)b->element_bytes, noise, here,
                      GALV_ELEMENT);
        }
    }
    free(noise);
    for (int i = 0; i < 3; i++) {
        what(b, x, n);
    }
    for (int round = 0; round < 5; round++) {
        b->reset_events(b);
        galv_event begin = b->record(b, on);
        for (int i = 0; i < 10; i++) {
            what(b, x, n);
        }
        galv_event end = b->record(b, on);
        b->synchronize(b);
        times[round] = (b->event_time_s(b, end) - b->event_time_s(b, begin)) / 10;
    }
    for (int i = 0; i < n_buffers; i++) {
        b->release(b, x[i], on);
    }
    for (int i = 1; i < 5; i++) {
        for (int k = i; k > 0 && times[k] < times[k - 1]; k--) {
            double swap = times[k];
            times[k] = times[k - 1];
            times[k - 1] = swap;
        }
    }
    return times[2];
}

static double measure_products(check *c)
{
    double best = 0;
    for (size_t n = 1024; n <= 8192; n *= 2) {
        size_t values[] = {n * n, n * n, n * n};
        double time_s = time_of(c, multiply, values, 3, n);
        double rate = 2 * (double)n * (double)n * (double)n / time_s;
        printf("rate  bf16 product of %zu: %.1f TFLOP/s\n", n, 1e-12 * rate);
        best = rate > best ? rate : best;
    }
    return best;
}

/* A stack of layers: model FLOPs count matrix products and the causal half of
 * attention, three times for forward and backward, without recomputation. */
static void measure_layers(check *c, double ceiling)
{
    enum { STEPS = 5 };
    const sizes z = {"llama", 4096, 4, 32, 32, 11008, 32000, 4096, 4};
    double losses[STEPS];
    double time_s = 0;
    galv_err err = GALV_ERR_INIT;
    if (train(c, GPU, &z, STEPS, losses, &time_s, &err) != GALV_OK) {
        printf("rate  stack of layers: %s (%s)\n", err.message, err.hint);
        return;
    }
    double h = z.hidden;
    double products =
        z.layers * (h * h * (2 + 2.0 * z.groups / z.heads) + 3 * h * z.ffn) +
        h * z.vocabulary;
    double flop = 6 * products + 6 * (double)z.layers * z.seq * h;
    double tokens = (double)z.batch * z.seq;
    printf(
        "rate  4 layers of Llama 2 7B's size, with head and optimizer: %.0f tokens/s, "
        "%.1f TFLOP/s, %.1f %% of the product's rate\n",
        tokens / time_s, 1e-12 * flop * tokens / time_s,
        100 * flop * tokens / time_s / ceiling);
}

void measure_attention(check *c)
{
    size_t n = 4096;
    size_t q = n * 32 * 128;
    size_t k = n * 8 * 128;
    size_t values[] = {q, k, k, q, n * 32, q, k, k};
    double flop = 4 * (double)n * (double)n * 32 * 128;
    double time_s = time_of(c, attend, values, 8, n);
    printf("rate  attention: %.1f TFLOP/s\n", 1e-12 * flop / time_s);
    time_s = time_of(c, attend_back, values, 8, n);
    printf("rate  attention, backward: %.1f TFLOP/s (of 2.5 times the forward's)\n",
           1e-12 * 2.5 * flop / time_s);
}

void measure(check *c)
{
    size_t many = (size_t)256 << 20;
    size_t sums[] = {many, many};
    double best = measure_products(c);
    double time_s = time_of(c, accumulate, sums, 2, many);
    printf("rate  memory: %.0f GB/s\n", 1e-9 * 12 * (double)many / time_s);
    measure_attention(c);
    measure_layers(c, best);
}
