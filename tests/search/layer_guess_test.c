/* Guesses of layerings: what a few of them must have in mind. */
#include "search/layer_guess.h"
#include "search/layering.h"
#include "sim/evaluate.h"
#include "tests/search/small_jobs.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(search_guess);

/* A job, its only shape, and guesses of it. */
typedef struct guessed {
    instance in;
    galv_layer_table table;
    galv_layer_leaves leaves;
    double about_s;                /* galv_layer_guess_time */
    const galv_candidate *uniform; /* the first of the shape */
} guessed;

static void begin(guessed *g, int32_t n_nodes, int64_t batch, int32_t vocabulary)
{
    instance *in = &g->in;
    memset(g, 0, sizeof *g);
    in->arena = galv_arena_new();
    galv_model *m = &in->job.model;
    snprintf(m->name, sizeof m->name, "small");
    snprintf(m->family, sizeof m->family, "llama");
    m->seq_length = 1024;
    add_group(m, GALV_LAYER_EMBEDDING, 1, 1024, 0, 0, vocabulary);
    add_group(m, GALV_LAYER_DECODER, 24, 1024, 4096, 8, 0);
    add_group(m, GALV_LAYER_HEAD, 1, 1024, 0, 0, vocabulary);
    cr_assert_eq(galv_cluster_load(&in->job.cluster, "dgx-a100", n_nodes, &in->err),
                 GALV_OK);
    in->job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    in->job.workload.global_batch_size = batch;
    galv_job_fill_defaults(&in->job);
    in->space = (galv_space)GALV_SPACE_INIT;
    in->space.cp = (galv_choices){1, {1}};
    in->space.recompute = (galv_choices){1, {GALV_RECOMPUTE_NONE}};
}

static void make(guessed *g)
{
    instance *in = &g->in;
    galv_replay *replay = NULL;
    cr_assert_eq(galv_costmodel_new(&in->model, &in->job, NULL, &in->err), GALV_OK);
    cr_assert_eq(
        galv_space_enumerate(&in->uniform, &in->space, &in->job, in->arena, &in->err),
        GALV_OK, "%s", in->err.message);
    const galv_candidate *c = g->uniform = &in->uniform.candidates[0];
    galv_strategy *strategies =
        GALV_NEW_ARRAY(in->arena, galv_strategy, in->uniform.n_candidates);
    galv_shape shape = {.pp = c->pp,
                        .vpp = c->vpp,
                        .schedule = c->schedule,
                        .samples = (int64_t)c->micro_batch_size * c->strategy.dp,
                        .strategies = strategies};
    for (size_t i = 0; i < in->uniform.n_candidates; i++) {
        if (candidates_alike(&in->uniform.candidates[i], c)) {
            strategies[shape.n_strategies++] = in->uniform.candidates[i].strategy;
        }
    }
    cr_assert_eq(galv_layer_table_make(&g->table, in->model, &shape, &in->space.overlap,
                                       NULL, in->arena, &in->err),
                 GALV_OK);
    galv_schedule_shape order = {c->pp, c->vpp, g->table.n_micro_batches, 0, NULL};
    cr_assert_eq(galv_replay_new(&replay, c->schedule, &order, in->arena, &in->err),
                 GALV_OK);
    galv_layer_guesser guesser = {in->model,
                                  &g->table,
                                  replay,
                                  &in->space.overlap,
                                  galv_costmodel_memory_limit(in->model),
                                  2,
                                  NULL};
    cr_assert_eq(galv_layer_guess_time(&g->about_s, &guesser, in->arena, &in->err),
                 GALV_OK);
    cr_assert_eq(galv_layer_guess(&g->leaves, &guesser, in->arena, &in->err), GALV_OK);
    cr_assert_gt(g->leaves.n_leaves, 0);
}

static double time_of(guessed *g, const galv_plan *plan)
{
    galv_result result;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    cr_assert_eq(
        galv_evaluate(&result, g->in.model, plan, &options, g->in.arena, &g->in.err),
        GALV_OK);
    return result.iteration_time_s;
}

static double fastest_guess_s(guessed *g)
{
    double best_s = INFINITY;
    for (size_t i = 0; i < g->leaves.n_leaves; i++) {
        galv_plan *plan = NULL;
        cr_assert_eq(galv_layering_plan(&plan, &g->leaves.leaves[i].layering, &g->table,
                                        &g->in.space.overlap, &g->in.job, g->in.arena,
                                        &g->in.err),
                     GALV_OK);
        best_s = fmin(best_s, time_of(g, plan));
    }
    return best_s;
}

/* A large vocabulary makes the last stage long: it gets fewer blocks, spread over its
 * chunks, whatever their number. */
Test(search_guess, stages_of_several_chunks_share_a_heavy_head)
{
    for (int32_t vpp = 1; vpp <= 3; vpp++) {
        guessed g;
        galv_plan *even = NULL;
        begin(&g, 1, 64, 131072);
        g.in.space.tp = (galv_choices){1, {1}};
        g.in.space.pp = (galv_choices){1, {4}};
        g.in.space.vpp = (galv_choices){1, {vpp}};
        g.in.space.micro_batch = (galv_choices){1, {1}};
        g.in.space.zero = (galv_choices){1, {1}};
        g.in.space.n_schedules = 1;
        g.in.space.schedules[0] = vpp > 1 ? "interleaved" : "1f1b";
        make(&g);
        cr_assert_eq(galv_candidate_plan(&even, g.uniform, &g.in.space, &g.in.job,
                                         g.in.arena, &g.in.err),
                     GALV_OK);
        double even_s = time_of(&g, even);
        double guess_s = fastest_guess_s(&g);
        cr_expect_lt(guess_s, 0.92 * even_s, "%d chunks: %g of %g", (int)vpp, guess_s,
                     even_s);
        instance_end(&g.in);
    }
}

/* Shapes are ranked by about how long they take: what is sent once an iteration, and
 * what waits for a message or for the one micro-batch before, is part of that. */
Test(search_guess, the_time_of_a_shape_is_known_about)
{
    static const struct {
        int32_t n_nodes, pp, vpp, samples;
        double slower; /* links between nodes */
        double least;  /* of the time of the best plan guessed */
    } cases[] = {
        {4, 1, 1, 1, 1, 0.85},
        {4, 1, 1, 1, 16, 0.75}, /* gradients after one micro-batch */
        {4, 2, 1, 1, 16, 0.75},
        {1, 8, 1, 8, 1, 0.9}, /* four micro-batches through eight stages */
        {1, 8, 2, 8, 1, 0.85},
        {1, 4, 3, 2, 1, 0.65},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        guessed g;
        begin(&g, cases[i].n_nodes, 32, 8192);
        g.in.job.cluster.pools[0].inter_bytes_per_s /= cases[i].slower;
        g.in.space.tp = (galv_choices){1, {1}};
        g.in.space.pp = (galv_choices){1, {cases[i].pp}};
        g.in.space.vpp = (galv_choices){1, {cases[i].vpp}};
        g.in.space.micro_batch = (galv_choices){1, {cases[i].samples}};
        g.in.space.zero = (galv_choices){1, {1}};
        g.in.space.n_schedules = 1;
        g.in.space.schedules[0] = cases[i].pp == 1    ? "none"
                                  : cases[i].vpp == 1 ? "1f1b"
                                                      : "interleaved";
        make(&g);
        double best_s = fastest_guess_s(&g);
        cr_expect(g.about_s > cases[i].least * best_s && g.about_s < 1.3 * best_s,
                  "case %zu: about %.3f of it", i, g.about_s / best_s);
        instance_end(&g.in);
    }
}
