/* The layer-wise search is held to brute force: every partition of the blocks, every
 * strategy of every layer, each plan estimated and simulated by itself. */
#include "search/layer_tree.h"
#include "search/layerwise.h"
#include "search/relaxation.h"
#include "sim/pass_price.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(search_layerwise);

/* A small generator of our own: the instances are the same everywhere. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static int32_t pick(uint64_t *state, const int32_t *values, uint32_t n)
{
    return values[next_random(state) % n];
}

typedef struct instance {
    galv_job job;
    galv_space space;
    galv_costmodel *model;
    galv_arena *arena;
    galv_err err;
    galv_candidates uniform;
    galv_shapes shapes;
} instance;

static void add_group(galv_model *m, galv_layer_kind kind, int32_t n, int32_t hidden,
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

/* False when the space is empty. */
static bool instance_begin(instance *in, uint64_t seed)
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

static void instance_end(instance *in)
{
    galv_costmodel_free(in->model);
    galv_arena_free(in->arena);
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
    double best_s;
    double least_bytes; /* of any plan, whether it fits or not */
    size_t n_plans;
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
    b->n_plans++;
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
        b->best_s = fmin(b->best_s, result.iteration_time_s);
    }
    b->least_bytes = fmin(b->least_bytes, result.peak_memory_bytes);
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

static bool alike(const galv_candidate *a, const galv_candidate *b)
{
    return a->pp == b->pp && a->vpp == b->vpp && a->schedule == b->schedule &&
           a->micro_batch_size * a->strategy.dp == b->micro_batch_size * b->strategy.dp;
}

/* Every plan of the space. */
static brute try_all(instance *in, bool count_only)
{
    brute b = {.in = in,
               .best_s = INFINITY,
               .least_bytes = INFINITY,
               .count_only = count_only};
    b.arena = galv_arena_new();
    b.n_layers = galv_model_n_layers(&in->job.model);
    b.n_blocks = galv_model_n_blocks(&in->job.model);
    for (size_t i = 0; i < in->uniform.n_candidates; i++) {
        const galv_candidate *c = &in->uniform.candidates[i];
        bool seen = false;
        for (size_t k = 0; k < i; k++) {
            seen |= alike(&in->uniform.candidates[k], c);
        }
        if (seen) {
            continue;
        }
        b.shape = c;
        b.n_strategies = 0;
        for (size_t k = i; k < in->uniform.n_candidates; k++) {
            if (alike(&in->uniform.candidates[k], c)) {
                cr_assert_lt(b.n_strategies, 16);
                b.strategies[b.n_strategies++] = in->uniform.candidates[k].strategy;
            }
        }
        try_partitions(&b, 0, b.n_blocks);
    }
    galv_arena_free(b.arena);
    return b;
}

/* INFINITY when none fits. */
static double brute_force(instance *in, size_t *n_plans, bool count_only)
{
    brute b = try_all(in, count_only);
    *n_plans = b.n_plans;
    return b.best_s;
}

enum { INSTANCES = 500, MOST_PLANS = 1500 };

Test(search_layerwise, finds_the_optimum_of_brute_force_on_500_random_instances)
{
    size_t n_done = 0, n_fit = 0, n_mixed = 0, n_chunked = 0, n_plans_in_all = 0;
    uint64_t n_simulated = 0;
    for (uint64_t seed = 1; n_done < INSTANCES && seed < 20 * INSTANCES; seed++) {
        instance in;
        size_t n_plans = 0;
        galv_layerwise_result found;
        galv_layerwise_options options = {.max_runs = 99, .max_nodes = 1000000};
        bool any = instance_begin(&in, seed);
        if (any) {
            brute_force(&in, &n_plans, true);
        }
        if (!any || n_plans > MOST_PLANS || n_plans < 4) {
            instance_end(&in);
            continue;
        }
        double best_s = brute_force(&in, &n_plans, false);
        cr_assert_eq(galv_layerwise_search(&found, in.model, &in.space, &in.shapes,
                                           INFINITY, &options, in.arena, &in.err),
                     GALV_OK, "%s", in.err.message);
        cr_expect_eq(found.best_s, best_s,
                     "instance %d (pp %d, %zu plans): found %.9g, brute force %.9g",
                     (int)seed, (int)in.space.pp.values[0], n_plans, found.best_s,
                     best_s);
        cr_expect(found.complete && !found.interrupted, "instance %d", (int)seed);
        cr_expect_eq(found.lower_bound_s, best_s, "instance %d", (int)seed);
        n_done++;
        n_fit += isfinite(best_s);
        n_chunked += isfinite(best_s) && in.space.vpp.values[0] > 1;
        n_plans_in_all += n_plans;
        n_simulated += found.n_simulated;
        if (found.best >= 0) {
            const galv_plan *p = found.searched[found.best].candidate.layered;
            char line[128];
            n_mixed += strstr(galv_plan_print(line, sizeof line, p), "per-layer") != 0;
        }
        instance_end(&in);
    }
    cr_expect_eq(n_done, INSTANCES);
    cr_expect_gt(n_fit, INSTANCES / 2, "only %zu have a plan that fits", n_fit);
    cr_expect_gt(n_mixed, INSTANCES / 10, "only %zu mix strategies", n_mixed);
    cr_expect_gt(n_chunked, INSTANCES / 20, "only %zu have chunks", n_chunked);
    cr_expect_lt(n_simulated, n_plans_in_all, "nothing was cut");
    if (getenv("GALV_TEST_TALK")) {
        fprintf(stderr, "%zu instances, %zu fit, %zu mixed, %zu plans, %zu simulated\n",
                n_done, n_fit, n_mixed, n_plans_in_all, (size_t)n_simulated);
    }
}

/* Where the tree cannot be walked, guesses and exchanges must do alone. */
Test(search_layerwise, guesses_and_exchanges_alone_mostly_find_the_optimum)
{
    enum { WANTED = 100 };
    size_t n_done = 0, n_best = 0, n_missed = 0;
    double worst = 0;
    for (uint64_t seed = 1; n_done < WANTED && seed < 20 * WANTED; seed++) {
        instance in;
        size_t n_plans = 0;
        galv_layerwise_result found;
        galv_layerwise_options options = {.max_runs = 99, .max_nodes = 1};
        bool any = instance_begin(&in, seed);
        if (any) {
            brute_force(&in, &n_plans, true);
        }
        double best_s = any && n_plans <= MOST_PLANS && n_plans >= 4
                            ? brute_force(&in, &n_plans, false)
                            : INFINITY;
        if (isfinite(best_s)) {
            cr_assert_eq(galv_layerwise_search(&found, in.model, &in.space, &in.shapes,
                                               INFINITY, &options, in.arena, &in.err),
                         GALV_OK, "%s", in.err.message);
            cr_expect_geq(found.best_s, best_s);
            n_done++;
            n_best += found.best_s <= best_s * (1 + 1e-12);
            n_missed += found.best_s > best_s * 1.001;
            worst = fmax(worst, isfinite(found.best_s) ? found.best_s / best_s - 1 : 0);
        }
        instance_end(&in);
    }
    if (getenv("GALV_TEST_TALK")) {
        fprintf(stderr, "%zu of %zu exact, %zu not within 0.1 %%, worst %.3g\n", n_best,
                n_done, n_missed, worst);
    }
    cr_expect_eq(n_done, WANTED);
    /* without exchanges 65 and 33 */
    cr_expect_geq(n_best, 85, "only %zu are exact", n_best);
    cr_expect_leq(n_missed, 15, "%zu are not within 0.1 %%", n_missed);
}

/* The same job with another limit. */
static void limit_memory(instance *in, double bytes)
{
    galv_costmodel_free(in->model);
    in->job.workload.memory_limit_bytes = bytes;
    cr_assert_eq(galv_costmodel_new(&in->model, &in->job, NULL, &in->err), GALV_OK);
    cr_assert_eq(galv_shapes_make(&in->shapes, in->model, &in->space, &in->uniform,
                                  in->arena, &in->err),
                 GALV_OK, "%s", in->err.message);
}

/* The same job where communication is dear: 4 or 16 times slower links. */
static void slow_links(instance *in, uint64_t how)
{
    galv_pool *pool = &in->job.cluster.pools[0];
    pool->intra_bytes_per_s /= how == 0 ? 1 : how == 1 ? 4 : 16;
    pool->device.scaleup_bytes_per_s = pool->intra_bytes_per_s;
    limit_memory(in, in->job.workload.memory_limit_bytes);
}

/* At the very edge just one plan fits, to the byte. The tree finds it; where it cannot
 * be walked, going down in memory does, mostly. */
Test(search_layerwise, finds_the_only_plan_that_fits)
{
    enum { WANTED = 150 };
    size_t n_done = 0, n_gone_down = 0, n_uniform = 0;
    for (uint64_t seed = 1; n_done < WANTED && seed < 20 * WANTED; seed++) {
        instance in;
        size_t n_plans = 0;
        galv_layerwise_result found, guessed;
        galv_layerwise_options walk = {.max_runs = 99, .max_nodes = 1000000};
        galv_layerwise_options guess = {.max_runs = 99, .max_nodes = 1};
        bool any = instance_begin(&in, seed);
        if (any) {
            brute_force(&in, &n_plans, true);
        }
        if (any && n_plans <= MOST_PLANS && n_plans >= 4) {
            limit_memory(&in, try_all(&in, false).least_bytes);
            double best_s = brute_force(&in, &n_plans, false);
            cr_assert(isfinite(best_s), "instance %d", (int)seed);
            cr_assert_eq(galv_layerwise_search(&found, in.model, &in.space, &in.shapes,
                                               INFINITY, &walk, in.arena, &in.err),
                         GALV_OK, "%s", in.err.message);
            cr_expect_eq(found.best_s, best_s, "instance %d: found %.9g, there is %.9g",
                         (int)seed, found.best_s, best_s);
            cr_assert_eq(galv_layerwise_search(&guessed, in.model, &in.space,
                                               &in.shapes, INFINITY, &guess, in.arena,
                                               &in.err),
                         GALV_OK, "%s", in.err.message);
            cr_expect_leq(guessed.lower_bound_s, best_s, "instance %d", (int)seed);
            n_done++;
            n_gone_down += isfinite(guessed.best_s);
            if (found.best >= 0) {
                const galv_plan *p = found.searched[found.best].candidate.layered;
                char line[128];
                n_uniform +=
                    strstr(galv_plan_print(line, sizeof line, p), "per-layer") == 0;
            }
        }
        instance_end(&in);
    }
    if (getenv("GALV_TEST_TALK")) {
        fprintf(stderr, "%zu edges, %zu of uniform plans, %zu found without the tree\n",
                n_done, n_uniform, n_gone_down);
    }
    cr_expect_eq(n_done, WANTED);
    cr_expect_lt(n_uniform, n_done - n_done / 10, "hardly any edge is of a mixed plan");
    cr_expect_geq(n_gone_down, 140, "only %zu are found without the tree", n_gone_down);
}

/* Latency of a pass as compiled, priced as if the host did nothing once a pass. */
static double pass_latency(instance *in, galv_plan *plan, int32_t stage, int pass,
                           galv_arena *arena)
{
    galv_pass_ops ops = {0};
    galv_plan amid = *plan;
    int32_t first_layer[9];
    cr_assert_eq(
        galv_program_pass(&ops, &in->job, plan, stage, 0, pass, arena, &in->err),
        GALV_OK);
    double *end_s = GALV_NEW_ARRAY(arena, double, ops.n_ops + 1);
    double *work_s = GALV_NEW_ARRAY(arena, double, ops.n_ops + 1);
    for (int32_t i = 0; i <= plan->pp; i++) {
        first_layer[i] = i == 0 ? -1 : plan->n_layers;
    }
    amid.first_layer = first_layer;
    for (int32_t i = 0; i < ops.n_ops; i++) {
        galv_cost cost;
        galv_costmodel_operation(&cost, in->model, &amid, &ops.ops[i]);
        work_s[i] = cost.work_s;
    }
    return galv_pass_latency(end_s, &ops, work_s);
}

/* Where nothing of a layer runs beside the next, sums are not only bounds: changes of
 * strategy are counted where the compiler has them, once each. */
static void expect_sums_exact(instance *in, const galv_layer_table *table,
                              const galv_layering_sums *sums, galv_plan *plan,
                              galv_arena *arena, int seed)
{
    bool exact = in->space.overlap.grad_reduce && !in->space.overlap.tp_comm;
    for (int32_t i = 0; i < plan->n_strategies; i++) {
        exact &= plan->strategies[i].zero < 3;
    }
    for (int32_t stage = 0; exact && stage < table->shape.pp; stage++) {
        double forward = pass_latency(in, plan, stage, GALV_PASS_FORWARD, arena);
        double backward = pass_latency(in, plan, stage, GALV_PASS_BACKWARD, arena);
        cr_expect_float_eq(sums->forward_s[stage], forward, 1e-9 * forward,
                           "instance %d, stage %d forward: %.9g, compiled %.9g", seed,
                           (int)stage, sums->forward_s[stage], forward);
        cr_expect_float_eq(sums->backward_s[stage], backward, 1e-9 * backward,
                           "instance %d, stage %d backward: %.9g, compiled %.9g", seed,
                           (int)stage, sums->backward_s[stage], backward);
    }
}

/* The bound of every leaf of every tree against the simulation of its plan. */
/* All layerings of a shape, simulated, and what is said of them all; their number. */
static size_t expect_bounds(instance *in, const galv_shape *shape,
                            const galv_candidate *c, int seed)
{
    size_t n_done = 0;
    galv_layer_table table;
    galv_replay *replay = NULL;
    galv_layer_leaves leaves;
    galv_layer_tree_limits limits = {INFINITY, INFINITY, 99, 1000000};
    galv_relaxation *relaxation = NULL;
    enum { SHARES = 5 };
    double shape_s = 0, between_s[2][SHARES]; /* [whatever fits, all] */
    cr_assert_eq(galv_layer_table_make(&table, in->model, shape, &in->space.overlap,
                                       in->arena, &in->err),
                 GALV_OK, "%s", in->err.message);
    galv_schedule_shape order = {c->pp, c->vpp, table.n_micro_batches, 0, NULL};
    cr_assert_eq(galv_replay_new(&replay, c->schedule, &order, in->arena, &in->err),
                 GALV_OK);
    cr_assert_eq(galv_relaxation_new(&relaxation, &table, replay, &in->job.model, 1e15,
                                     galv_layer_latency_s, in->arena, &in->err),
                 GALV_OK);
    cr_assert_eq(galv_relaxation_bound(&shape_s, relaxation, INFINITY, &in->err),
                 GALV_OK);
    for (int share = 0; share < 2 * SHARES; share++) {
        cr_assert_eq(galv_relaxation_new_between(
                         &relaxation, &table, replay, &in->job.model,
                         share < SHARES ? galv_costmodel_memory_limit(in->model) : 1e15,
                         share % SHARES / (SHARES - 1.0), in->arena, &in->err),
                     GALV_OK);
        cr_assert_eq(
            galv_relaxation_between_bound(&between_s[share / SHARES][share % SHARES],
                                          relaxation, &in->err),
            GALV_OK);
    }
    cr_assert_eq(galv_layer_tree_walk(&leaves, &table, replay, &in->job.model, &limits,
                                      in->arena, &in->err),
                 GALV_OK);
    for (size_t k = 0; k < leaves.n_leaves; k++) {
        galv_plan *plan = NULL;
        galv_result result;
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        galv_layering_sums sums;
        galv_arena *arena = galv_arena_new();
        cr_assert_eq(galv_layering_plan(&plan, &leaves.leaves[k].layering, &table,
                                        &in->space.overlap, &in->job, arena, &in->err),
                     GALV_OK, "%s", in->err.message);
        cr_assert_eq(galv_evaluate(&result, in->model, plan, &options, arena, &in->err),
                     GALV_OK);
        cr_expect_leq(leaves.leaves[k].bound_s, result.iteration_time_s,
                      "instance %d, leaf %zu", seed, k);
        for (int share = 0; share < SHARES; share++) {
            cr_expect_leq(between_s[1][share], result.iteration_time_s,
                          "instance %d, leaf %zu: share %d", seed, k, share);
            cr_expect(!result.fits || between_s[0][share] <= result.iteration_time_s,
                      "instance %d, leaf %zu: share %d within memory", seed, k, share);
        }
        cr_expect_leq(shape_s, result.iteration_time_s,
                      "instance %d, leaf %zu: its shape's", seed, k);
        cr_assert_eq(galv_layering_sums_new(&sums, &table, arena, &in->err), GALV_OK);
        galv_layering_sum(&sums, &leaves.leaves[k].layering, &table, replay);
        if (c->vpp == 1) {
            expect_sums_exact(in, &table, &sums, plan, arena, seed);
        }
        for (int32_t stage = 0; stage < plan->pp; stage++) {
            cr_expect_leq(sums.bytes[stage],
                          result.stages[stage].peak_memory_bytes * (1 + 1e-9),
                          "instance %d, leaf %zu, stage %d", seed, k, stage);
        }
        galv_arena_free(arena);
        n_done++;
    }
    return n_done;
}

Test(search_layerwise, bounds_never_exceed_the_simulation)
{
    size_t n_leaves = 0;
    for (uint64_t seed = 1000; seed < 1240; seed++) {
        instance in;
        size_t n_plans = 0;
        if (!instance_begin(&in, seed)) {
            instance_end(&in);
            continue;
        }
        slow_links(&in, seed % 3);
        brute_force(&in, &n_plans, true);
        for (size_t i = 0; i < in.uniform.n_candidates && n_plans <= MOST_PLANS; i++) {
            const galv_candidate *c = &in.uniform.candidates[i];
            galv_strategy strategies[16];
            galv_shape shape = {.pp = c->pp,
                                .vpp = c->vpp,
                                .schedule = c->schedule,
                                .samples =
                                    (int64_t)c->micro_batch_size * c->strategy.dp,
                                .strategies = strategies};
            bool seen = false;
            for (size_t k = 0; k < in.uniform.n_candidates; k++) {
                bool same = alike(&in.uniform.candidates[k], c);
                seen |= same && k < i;
                if (same) {
                    strategies[shape.n_strategies++] =
                        in.uniform.candidates[k].strategy;
                }
            }
            if (seen) {
                continue;
            }
            n_leaves += expect_bounds(&in, &shape, c, (int)seed);
            /* of one strategy there is less to choose, and bounds are closer */
            for (int32_t k = 0; shape.n_strategies > 1 && k < shape.n_strategies; k++) {
                galv_shape alone = shape;
                alone.n_strategies = 1;
                alone.strategies = &strategies[k];
                n_leaves += expect_bounds(&in, &alone, c, (int)seed);
            }
        }
        instance_end(&in);
    }
    cr_expect_gt(n_leaves, 20000);
}

/* A shape of one strategy and its only plan with blocks spread evenly: the bound over
 * the plan's time. */
static double closeness(int32_t pp, int32_t tp, int32_t zero, double slower,
                        double hiding_share)
{
    instance in;
    memset(&in, 0, sizeof in);
    in.arena = galv_arena_new();
    galv_model *m = &in.job.model;
    snprintf(m->name, sizeof m->name, "small");
    snprintf(m->family, sizeof m->family, "llama");
    m->seq_length = 4096;
    add_group(m, GALV_LAYER_EMBEDDING, 1, 4096, 0, 0, 512);
    add_group(m, GALV_LAYER_DECODER, 8, 4096, 16384, 8, 0);
    add_group(m, GALV_LAYER_HEAD, 1, 4096, 0, 0, 512);
    cr_assert_eq(galv_cluster_load(&in.job.cluster, "dgx-a100", 1, &in.err), GALV_OK);
    in.job.cluster.pools[0].intra_bytes_per_s /= slower;
    in.job.cluster.pools[0].device.scaleup_bytes_per_s /= slower;
    in.job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    in.job.workload.global_batch_size = 64 / pp / tp;
    galv_job_fill_defaults(&in.job);
    in.space = (galv_space)GALV_SPACE_INIT;
    in.space.tp = (galv_choices){1, {tp}};
    in.space.cp = (galv_choices){1, {1}};
    in.space.pp = (galv_choices){1, {pp}};
    in.space.vpp = (galv_choices){1, {1}};
    in.space.sp = (galv_choices){1, {GALV_SP_NONE}};
    in.space.zero = (galv_choices){1, {zero}};
    in.space.recompute = (galv_choices){1, {GALV_RECOMPUTE_NONE}};
    in.space.micro_batch = (galv_choices){1, {1}};
    in.space.n_schedules = 1;
    in.space.schedules[0] = pp > 1 ? "1f1b" : "none";
    cr_assert_eq(galv_costmodel_new(&in.model, &in.job, NULL, &in.err), GALV_OK);
    cr_assert_eq(
        galv_space_enumerate(&in.uniform, &in.space, &in.job, in.arena, &in.err),
        GALV_OK, "%s", in.err.message);
    cr_assert_eq(in.uniform.n_candidates, 1);
    const galv_candidate *c = &in.uniform.candidates[0];
    galv_shape shape = {.pp = pp,
                        .vpp = 1,
                        .schedule = c->schedule,
                        .samples = (int64_t)c->micro_batch_size * c->strategy.dp,
                        .n_strategies = 1,
                        .strategies = &c->strategy};
    galv_layer_table table;
    galv_replay *replay = NULL;
    galv_relaxation *relaxation = NULL;
    galv_plan *plan = NULL;
    galv_result result;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    double bound_s = 0;
    cr_assert_eq(galv_layer_table_make(&table, in.model, &shape, &in.space.overlap,
                                       in.arena, &in.err),
                 GALV_OK);
    galv_schedule_shape order = {pp, 1, table.n_micro_batches, 0, NULL};
    cr_assert_eq(galv_replay_new(&replay, c->schedule, &order, in.arena, &in.err),
                 GALV_OK);
    cr_assert_eq(galv_relaxation_new_between(&relaxation, &table, replay, m, 1e15,
                                             hiding_share, in.arena, &in.err),
                 GALV_OK);
    cr_assert_eq(galv_relaxation_between_bound(&bound_s, relaxation, &in.err), GALV_OK);
    cr_assert_eq(galv_candidate_plan(&plan, c, &in.space, &in.job, in.arena, &in.err),
                 GALV_OK);
    cr_assert_eq(galv_evaluate(&result, in.model, plan, &options, in.arena, &in.err),
                 GALV_OK);
    instance_end(&in);
    if (getenv("GALV_TEST_TALK")) {
        fprintf(stderr, "pp %d tp %d zero %d, links / %g, share %g: %.4f\n", (int)pp,
                (int)tp, (int)zero, slower, hiding_share,
                bound_s / result.iteration_time_s);
    }
    return bound_s / result.iteration_time_s;
}

/* Where there is nothing to choose a bound has no excuse, and too much of any of its
 * terms is over the time. */
Test(search_layerwise, bounds_are_close_where_nothing_is_chosen)
{
    static const struct {
        int32_t pp, tp, zero;
        double slower, hiding_share, least;
    } cases[] = {
        {1, 1, 1, 1, 0, 0.98}, {1, 4, 1, 1, 0, 0.98},
        {8, 1, 1, 1, 0, 0.9}, /* one block on each stage: head and embedding are free */
        {4, 2, 1, 1, 0, 0.8}, /* stages before might have held fewer blocks */
        {1, 1, 3, 4, 1, 0.88}, {1, 2, 3, 8, 1, 0.62}, /* messages that show */
        {2, 1, 3, 8, 1, 0.59}, {1, 4, 3, 8, 0.5, 0.63},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double close = closeness(cases[i].pp, cases[i].tp, cases[i].zero,
                                 cases[i].slower, cases[i].hiding_share);
        cr_expect_leq(close, 1, "case %zu: %.6g of the time", i, close);
        cr_expect_geq(close, cases[i].least, "case %zu: %.6g of the time", i, close);
    }
}

static void search_job(galv_search_result *found, const char *model,
                       const char *cluster, int n_nodes, int64_t batch,
                       const galv_space *space, int n_jobs, galv_arena *arena)
{
    galv_job job;
    galv_costmodel *costs = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    memset(&job, 0, sizeof job);
    cr_assert_eq(galv_model_load(&job.model, model, &err), GALV_OK, "%s", err.message);
    cr_assert_eq(galv_cluster_load(&job.cluster, cluster, n_nodes, &err), GALV_OK, "%s",
                 err.message);
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.global_batch_size = batch;
    galv_job_fill_defaults(&job);
    cr_assert_eq(galv_costmodel_new(&costs, &job, NULL, &err), GALV_OK, "%s",
                 err.message);
    options.n_jobs = n_jobs;
    cr_assert_eq(galv_search(found, costs, space, &options, arena, &err), GALV_OK, "%s",
                 err.message);
    galv_costmodel_free(costs);
}

/* 24, 40 and 96 GPUs, a batch of 56: nothing here is a power of two. */
Test(search_layerwise, is_never_worse_than_the_uniform_search)
{
    static const struct {
        const char *model, *cluster;
        int n_nodes;
        int64_t batch;
    } jobs[] = {{"llama2-7b", "dgx-a100", 1, 56},
                {"llama3-8b", "dgx-h100", 3, 96},
                {"gpt3-1.3b", "dgx-a100", 5, 80},
                {"llama3-8b", "dgx-h100", 12, 192}};
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        galv_space space = GALV_SPACE_INIT;
        galv_search_result uniform, layered;
        galv_arena *arena = galv_arena_new();
        space.micro_batch = (galv_choices){2, {1, 2}};
        space.sp = (galv_choices){2, {GALV_SP_NONE, GALV_SP_MEGATRON}};
        search_job(&uniform, jobs[i].model, jobs[i].cluster, jobs[i].n_nodes,
                   jobs[i].batch, &space, 1, arena);
        space.layer_wise = true;
        search_job(&layered, jobs[i].model, jobs[i].cluster, jobs[i].n_nodes,
                   jobs[i].batch, &space, 1, arena);
        double best_s = layered.plans[0].result.iteration_time_s;
        cr_expect_leq(best_s, uniform.plans[0].result.iteration_time_s, "job %zu", i);
        cr_expect_leq(layered.lower_bound_s, best_s, "job %zu", i);
        cr_expect(layered.plans[0].result.fits, "job %zu", i);
        cr_expect_eq(galv_plan_n_devices(layered.plans[0].plan), 8 * jobs[i].n_nodes);
        galv_arena_free(arena);
    }
}

/* 31 blocks on 8 stages, 56 samples: numbers that divide nothing. Every stage works,
 * none holds much more than its share, and no sample is lost. */
Test(search_layerwise, blocks_that_do_not_divide_are_spread_sensibly)
{
    galv_job job;
    galv_costmodel *model = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_space space = GALV_SPACE_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_search_result found;
    galv_arena *arena = galv_arena_new();
    memset(&job, 0, sizeof job);
    cr_assert_eq(galv_model_load(&job.model, "llama2-7b", &err), GALV_OK);
    cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-a100", 1, &err), GALV_OK);
    cr_assert_eq(job.model.groups[1].n_layers, 32);
    job.model.groups[1].n_layers = 31;
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.global_batch_size = 56;
    galv_job_fill_defaults(&job);
    cr_assert_eq(galv_costmodel_new(&model, &job, NULL, &err), GALV_OK, "%s",
                 err.message);
    space.pp = (galv_choices){1, {8}};
    space.layer_wise = true;
    cr_assert_eq(galv_search(&found, model, &space, &options, arena, &err), GALV_OK,
                 "%s", err.message);
    cr_assert_gt(found.n_plans, 0);
    for (int32_t i = 0; i < found.n_plans; i++) {
        const galv_plan *plan = found.plans[i].plan;
        int32_t n_blocks = 0;
        cr_expect_eq((int64_t)galv_plan_n_micro_batches(plan) * plan->micro_batch_size *
                         galv_plan_strategy(plan, 0)->dp,
                     56);
        for (int32_t stage = 0; stage < plan->pp; stage++) {
            int32_t here = found.plans[i].result.stages[stage].n_layers;
            cr_expect(here >= 2 && here <= 5, "stage %d of plan %d holds %d blocks",
                      (int)stage, (int)i, (int)here);
            n_blocks += here;
        }
        cr_expect_eq(n_blocks, 31);
    }
    cr_expect_leq(found.lower_bound_s, found.plans[0].result.iteration_time_s);
    galv_costmodel_free(model);
    galv_arena_free(arena);
}

Test(search_layerwise, answer_does_not_depend_on_the_number_of_threads)
{
    galv_space space = GALV_SPACE_INIT;
    galv_search_result one, three;
    galv_arena *arena = galv_arena_new();
    space.layer_wise = true;
    space.micro_batch = (galv_choices){1, {1}};
    search_job(&one, "llama3-8b", "dgx-h100", 1, 64, &space, 1, arena);
    search_job(&three, "llama3-8b", "dgx-h100", 1, 64, &space, 3, arena);
    cr_assert_eq(one.n_searched, three.n_searched);
    cr_expect_eq(one.lower_bound_s, three.lower_bound_s);
    for (size_t i = 0; i < one.n_searched; i++) {
        cr_expect_eq(one.searched[i].fate, three.searched[i].fate, "row %zu", i);
        cr_expect_eq(one.searched[i].bound_s, three.searched[i].bound_s, "row %zu", i);
        cr_expect_eq(one.searched[i].peak_memory_bytes,
                     three.searched[i].peak_memory_bytes, "row %zu", i);
    }
    cr_expect_eq(one.plans[0].result.iteration_time_s,
                 three.plans[0].result.iteration_time_s);
    galv_arena_free(arena);
}
