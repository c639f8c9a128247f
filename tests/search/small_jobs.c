#include "tests/search/small_jobs.h"

#include "sim/evaluate.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static int32_t pick(uint64_t *state, const int32_t *values, uint32_t n)
{
    return values[next_random(state) % n];
}

void add_group(galv_model *m, galv_layer_kind kind, int32_t n, int32_t hidden,
               int32_t ffn, int32_t heads, int32_t vocab)
{
    galv_layer_group *g = &m->groups[m->n_groups++];
    g->kind = kind;
    g->n_layers = n;
    g->hidden_size = hidden;
    g->normalization = GALV_RMSNORM;
    if (kind == GALV_LAYER_DECODER) {
        g->ffn_hidden_size = ffn;
        g->num_attention_heads = heads;
        g->num_query_groups = heads;
        g->kv_channels = hidden / heads;
        g->gated_linear_unit = true;
    } else {
        g->vocab_size = vocab;
    }
}

static void random_model(galv_model *m, uint64_t *random, int32_t n_blocks)
{
    static const int32_t hiddens[] = {1024, 2048, 4096};
    static const int32_t ffns[] = {2048, 8192, 16384};
    static const int32_t vocabs[] = {8192, 32000, 128000};
    int32_t hidden = pick(random, hiddens, 3);
    int32_t vocab = pick(random, vocabs, 3);
    int32_t first = n_blocks > 1 && next_random(random) % 2 == 0 ? 1 : 0;
    memset(m, 0, sizeof *m);
    snprintf(m->name, sizeof m->name, "small");
    snprintf(m->family, sizeof m->family, "llama");
    m->seq_length = 1024;
    m->tied_embeddings = next_random(random) % 4 == 0;
    add_group(m, GALV_LAYER_EMBEDDING, 1, hidden, 0, 0, vocab);
    if (first > 0) { /* blocks that differ */
        add_group(m, GALV_LAYER_DECODER, first, hidden, pick(random, ffns, 3), 8, 0);
    }
    add_group(m, GALV_LAYER_DECODER, n_blocks - first, hidden, pick(random, ffns, 3), 8,
              0);
    add_group(m, GALV_LAYER_HEAD, 1, hidden, 0, 0, vocab);
}

/* Two or three strategies to mix: what makes tp, ZeRO, recomputation, and resharding
 * meet. */
static void random_space(galv_space *space, uint64_t *random, int32_t n_layers)
{
    *space = (galv_space)GALV_SPACE_INIT;
    uint32_t kind = next_random(random) % 5;
    space->tp = (galv_choices){1, {next_random(random) % 2 ? 1 : 2}};
    space->cp = (galv_choices){1, {1}};
    space->sp = (galv_choices){1, {next_random(random) % 3}};
    space->zero = (galv_choices){1, {next_random(random) % 4}};
    space->recompute = (galv_choices){1, {GALV_RECOMPUTE_NONE}};
    if (kind == 0 || kind == 3) {
        space->recompute =
            (galv_choices){2, {GALV_RECOMPUTE_NONE, GALV_RECOMPUTE_FULL}};
    }
    if (kind == 1 || kind == 3) {
        space->tp = (galv_choices){2, {1, 2}};
    }
    if (kind == 2) {
        space->zero = (galv_choices){2, {next_random(random) % 2, 3}};
    }
    if (kind == 4) {
        space->tp = (galv_choices){1, {2}};
        space->sp = (galv_choices){2, {GALV_SP_MEGATRON, GALV_SP_ULYSSES}};
    }
    if (kind == 3 && n_layers > 4) {
        space->tp.n_values = 1;
    }
    static const int32_t pps[] = {1, 2, 4};
    space->pp = (galv_choices){1, {pick(random, pps, 3)}};
    bool chunks = space->pp.values[0] == 2 && n_layers >= 6 && next_random(random) % 2;
    space->vpp = (galv_choices){1, {chunks ? 2 : 1}};
    space->micro_batch = (galv_choices){2, {1, 2}};
    space->overlap.grad_reduce = next_random(random) % 3 != 0;
    space->overlap.param_gather = next_random(random) % 3 != 0;
    space->overlap.tp_comm = next_random(random) % 5 == 0;
    space->overlap.p2p = next_random(random) % 3 != 0;
}

bool instance_begin(instance *in, uint64_t seed)
{
    uint64_t random = seed * 7919 + 17;
    memset(in, 0, sizeof *in);
    in->arena = galv_arena_new();
    int32_t n_blocks = 2 + (int32_t)(next_random(&random) % 4);
    random_model(&in->job.model, &random, n_blocks);
    cr_assert_eq(galv_model_check(&in->job.model, &in->err), GALV_OK, "%s",
                 in->err.message);
    cr_assert_eq(galv_cluster_load(&in->job.cluster, "dgx-a100", 1, &in->err), GALV_OK,
                 "%s", in->err.message);
    random_space(&in->space, &random, n_blocks + 2);
    in->job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    in->job.workload.global_batch_size = 8 << next_random(&random) % 2;
    double gib = 1.5 + 0.25 * (next_random(&random) % 64);
    in->job.workload.memory_limit_bytes = gib * 0x1p30;
    galv_job_fill_defaults(&in->job);
    cr_assert_eq(galv_costmodel_new(&in->model, &in->job, NULL, &in->err), GALV_OK,
                 "%s", in->err.message);
    if (galv_space_enumerate(&in->uniform, &in->space, &in->job, in->arena, &in->err) !=
        GALV_OK) {
        return false;
    }
    cr_assert_eq(galv_shapes_make(&in->shapes, in->model, &in->space, &in->uniform,
                                  in->arena, &in->err),
                 GALV_OK, "%s", in->err.message);
    return true;
}

void instance_end(instance *in)
{
    galv_costmodel_free(in->model);
    galv_arena_free(in->arena);
}

void instance_limit_memory(instance *in, double bytes)
{
    galv_costmodel_free(in->model);
    in->job.workload.memory_limit_bytes = bytes;
    cr_assert_eq(galv_costmodel_new(&in->model, &in->job, NULL, &in->err), GALV_OK);
    cr_assert_eq(galv_shapes_make(&in->shapes, in->model, &in->space, &in->uniform,
                                  in->arena, &in->err),
                 GALV_OK, "%s", in->err.message);
}

void instance_slow_links(instance *in, uint64_t how)
{
    galv_pool *pool = &in->job.cluster.pools[0];
    pool->intra_bytes_per_s /= how == 0 ? 1 : how == 1 ? 4 : 16;
    pool->device.scaleup_bytes_per_s = pool->intra_bytes_per_s;
    instance_limit_memory(in, in->job.workload.memory_limit_bytes);
}

/* ---- brute force ---- */

typedef struct brute {
    instance *in;
    const galv_candidate *shape; /* any of its candidates */
    galv_strategy strategies[16];
    int32_t n_strategies;
    galv_strategy layers[32];
    int32_t blocks[8];
    int32_t n_layers, n_blocks;
    galv_arena *arena;
    brute_found found;
    bool count_only;
} brute;

static void try_plan(brute *b)
{
    galv_uniform_plan p = {.pp = b->shape->pp,
                           .vpp = b->shape->vpp,
                           .schedule = b->shape->schedule->name,
                           .overlap = b->in->space.overlap,
                           .stage_blocks = b->blocks};
    int64_t samples = (int64_t)b->shape->micro_batch_size * b->shape->strategy.dp;
    galv_plan *plan = NULL;
    galv_result result;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    b->found.n_plans++;
    if (b->count_only) {
        return;
    }
    p.micro_batch_size = (int32_t)(samples / b->layers[0].dp);
    galv_arena_reset(b->arena);
    cr_assert_eq(galv_plan_make_layered(&plan, &b->in->job, &p, b->layers, b->arena,
                                        &b->in->err),
                 GALV_OK, "%s", b->in->err.message);
    cr_assert_eq(
        galv_evaluate(&result, b->in->model, plan, &options, b->arena, &b->in->err),
        GALV_OK, "%s", b->in->err.message);
    if (result.fits) {
        b->found.best_s = fmin(b->found.best_s, result.iteration_time_s);
    }
    b->found.least_bytes = fmin(b->found.least_bytes, result.peak_memory_bytes);
}

static void try_layers(brute *b, int32_t layer)
{
    if (layer == b->n_layers) {
        try_plan(b);
        return;
    }
    const galv_layer_group *group = galv_model_layer(&b->in->job.model, layer);
    for (int32_t i = 0; i < b->n_strategies; i++) {
        galv_strategy s = galv_plan_strategy_for(&b->strategies[i], group);
        bool again = false;
        for (int32_t k = 0; k < i; k++) {
            galv_strategy before = galv_plan_strategy_for(&b->strategies[k], group);
            again |= galv_strategy_equal(&s, &before);
        }
        if (!again) {
            b->layers[layer] = s;
            try_layers(b, layer + 1);
        }
    }
}

static void try_partitions(brute *b, int32_t stage, int32_t left)
{
    int32_t last = b->shape->pp * b->shape->vpp - 1;
    if (stage == last) {
        b->blocks[stage] = left; /* none: the head alone */
        if (left > 0 || last > 0) {
            try_layers(b, 0);
        }
        return;
    }
    for (int32_t n = stage > 0; n <= left; n++) { /* none: the embedding alone */
        b->blocks[stage] = n;
        try_partitions(b, stage + 1, left - n);
    }
}

bool candidates_alike(const galv_candidate *a, const galv_candidate *b)
{
    return a->pp == b->pp && a->vpp == b->vpp && a->schedule == b->schedule &&
           a->micro_batch_size * a->strategy.dp == b->micro_batch_size * b->strategy.dp;
}

brute_found brute_force(instance *in, bool count_only)
{
    brute b = {.in = in, .found = {INFINITY, INFINITY, 0}, .count_only = count_only};
    b.arena = galv_arena_new();
    b.n_layers = galv_model_n_layers(&in->job.model);
    b.n_blocks = galv_model_n_blocks(&in->job.model);
    for (size_t i = 0; i < in->uniform.n_candidates; i++) {
        const galv_candidate *c = &in->uniform.candidates[i];
        bool seen = false;
        for (size_t k = 0; k < i; k++) {
            seen |= candidates_alike(&in->uniform.candidates[k], c);
        }
        if (seen) {
            continue;
        }
        b.shape = c;
        b.n_strategies = 0;
        for (size_t k = i; k < in->uniform.n_candidates; k++) {
            if (candidates_alike(&in->uniform.candidates[k], c)) {
                cr_assert_lt(b.n_strategies, 16);
                b.strategies[b.n_strategies++] = in->uniform.candidates[k].strategy;
            }
        }
        try_partitions(&b, 0, b.n_blocks);
    }
    galv_arena_free(b.arena);
    return b.found;
}
