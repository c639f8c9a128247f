/* Plans evaluated with the built-in catalog and cost model: what must hold for every
 * one of them, whatever things cost. */
#include "plan/cluster.h"
#include "plan/model.h"
#include "sim/evaluate.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(sim_evaluate);

typedef struct setup {
    const char *name;
    const char *model;
    int32_t n_nodes;
    galv_strategy strategy; /* tp cp ep dp sp zero recompute */
    int32_t pp, vpp;
    int32_t global_batch;
    galv_overlap overlap; /* grad_reduce param_gather tp_comm p2p */
    const char *schedule; /* NULL = the usual one */
} setup;

static const setup setups[] = {
    {"data parallel",
     "llama3-8b",
     1,
     {1, 1, 1, 8, GALV_SP_NONE, 0, 0},
     1,
     1,
     32,
     {true, true, false, true, false},
     NULL},
    {"zero 1",
     "llama3-8b",
     1,
     {1, 1, 1, 8, GALV_SP_NONE, 1, 0},
     1,
     1,
     32,
     {false, false, false, true, false},
     NULL},
    {"zero 2",
     "llama3-8b",
     1,
     {1, 1, 1, 8, GALV_SP_NONE, 2, GALV_RECOMPUTE_FULL},
     1,
     1,
     32,
     {true, true, false, true, false},
     NULL},
    {"zero 3",
     "llama3-8b",
     2,
     {1, 1, 1, 16, GALV_SP_NONE, 3, 0},
     1,
     1,
     64,
     {true, true, false, true, false},
     NULL},
    {"zero 3, tp, full recomputation, no overlap",
     "llama3-8b",
     2,
     {2, 1, 1, 8, GALV_SP_MEGATRON, 3, GALV_RECOMPUTE_FULL},
     1,
     1,
     32,
     {false, false, false, false, false},
     NULL},
    {"tp, pp",
     "llama3-70b",
     8,
     {8, 1, 1, 2, GALV_SP_MEGATRON, 1, 0},
     4,
     1,
     32,
     {true, true, false, true, false},
     NULL},
    {"tp, pp, vpp, selective",
     "llama3-70b",
     8,
     {8, 1, 1, 2, GALV_SP_MEGATRON, 1, GALV_RECOMPUTE_SELECTIVE},
     4,
     5,
     32,
     {true, true, false, false, false},
     NULL},
    {"tp without sp",
     "llama3-70b",
     8,
     {8, 1, 1, 2, GALV_SP_NONE, 1, 0},
     4,
     2,
     32,
     {true, true, true, true, false},
     NULL},
    {"cp",
     "llama3-70b",
     8,
     {4, 2, 1, 2, GALV_SP_MEGATRON, 1, 0},
     4,
     1,
     32,
     {true, true, false, true, false},
     NULL},
    {"ulysses",
     "llama3-70b",
     8,
     {8, 1, 1, 2, GALV_SP_ULYSSES, 3, 0},
     4,
     1,
     32,
     {true, true, false, true, false},
     NULL},
    {"experts",
     "mixtral-8x7b",
     8,
     {1, 1, 8, 16, GALV_SP_NONE, 1, 0},
     4,
     1,
     64,
     {true, true, false, true, false},
     NULL},
    {"experts and tp",
     "mixtral-8x7b",
     8,
     {2, 1, 8, 8, GALV_SP_MEGATRON, 3, GALV_RECOMPUTE_FULL},
     4,
     2,
     64,
     {true, true, false, true, false},
     NULL},
    {"zb-h1 and tp",
     "llama3-70b",
     8,
     {8, 1, 1, 2, GALV_SP_MEGATRON, 1, 0},
     4,
     1,
     32,
     {true, true, false, true, false},
     "zb-h1"},
    {"zb-h2, zero 3, full recomputation",
     "llama3-8b",
     1,
     {1, 1, 1, 2, GALV_SP_NONE, 3, GALV_RECOMPUTE_FULL},
     4,
     1,
     32,
     {true, true, false, true, false},
     "zb-h2"},
    {"breadth-first and zero 2",
     "llama3-8b",
     1,
     {1, 1, 1, 2, GALV_SP_NONE, 2, 0},
     4,
     2,
     32,
     {true, true, false, true, false},
     "breadth-first"},
    {"zb-1p and full recomputation",
     "llama3-70b",
     8,
     {8, 1, 1, 2, GALV_SP_MEGATRON, 1, GALV_RECOMPUTE_FULL},
     4,
     1,
     32,
     {true, true, false, false, false},
     "zb-1p"},
    {"zb-2p and ulysses",
     "llama3-70b",
     8,
     {8, 1, 1, 2, GALV_SP_ULYSSES, 2, 0},
     4,
     1,
     32,
     {true, true, false, true, false},
     "zb-2p"},
    {"zb-v, tp without sp, no overlap",
     "llama3-70b",
     8,
     {8, 1, 1, 2, GALV_SP_NONE, 1, 0},
     4,
     2,
     32,
     {false, false, false, false, false},
     "zb-v"},
    {"v-half, zero 3, full recomputation",
     "llama3-8b",
     1,
     {1, 1, 1, 2, GALV_SP_NONE, 3, GALV_RECOMPUTE_FULL},
     4,
     2,
     32,
     {true, true, false, true, false},
     "v-half"},
    {"v-min and tp_comm overlap",
     "llama3-70b",
     8,
     {8, 1, 1, 2, GALV_SP_MEGATRON, 1, 0},
     4,
     2,
     32,
     {true, true, true, true, false},
     "v-min"},
    {"zb-v and experts",
     "mixtral-8x7b",
     8,
     {2, 1, 8, 8, GALV_SP_MEGATRON, 1, 0},
     4,
     2,
     64,
     {true, true, false, true, false},
     "zb-v"},
};

#define N_SETUPS (sizeof setups / sizeof setups[0])

typedef struct stand {
    galv_arena *arena;
    galv_job job;
    galv_costmodel *model;
    galv_plan *plan;
} stand;

static stand set_up(const setup *from)
{
    stand s;
    galv_err err = GALV_ERR_INIT;
    galv_workload workload = GALV_WORKLOAD_INIT;
    memset(&s, 0, sizeof s);
    s.arena = galv_arena_new();
    s.job.workload = workload;
    s.job.workload.global_batch_size = from->global_batch;
    cr_assert_eq(galv_model_load(&s.job.model, from->model, &err), GALV_OK, "%s: %s",
                 from->name, err.message);
    cr_assert_eq(galv_cluster_load(&s.job.cluster, "dgx-h100", from->n_nodes, &err),
                 GALV_OK, "%s: %s", from->name, err.message);
    galv_job_fill_defaults(&s.job);
    galv_uniform_plan parameters = {
        from->strategy, from->pp, from->vpp, from->schedule, 1, from->overlap, NULL};
    cr_assert_eq(galv_plan_make_uniform(&s.plan, &s.job, &parameters, s.arena, &err),
                 GALV_OK, "%s: %s", from->name, err.message);
    cr_assert_eq(galv_costmodel_new(&s.model, &s.job, NULL, &err), GALV_OK, "%s: %s",
                 from->name, err.message);
    return s;
}

static void tear_down(stand *s)
{
    galv_costmodel_free(s->model);
    galv_arena_free(s->arena);
}

static galv_result evaluate(const stand *s, bool record)
{
    galv_err err = GALV_ERR_INIT;
    galv_result result = {0};
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.sim.record_timeline = record;
    cr_assert_eq(galv_evaluate(&result, s->model, s->plan, &options, s->arena, &err),
                 GALV_OK, "%s", err.message);
    return result;
}

Test(sim_evaluate, every_second_is_accounted_for)
{
    for (size_t i = 0; i < N_SETUPS; i++) {
        stand s = set_up(&setups[i]);
        galv_result result = evaluate(&s, false);
        double sum = 0;
        double shares = 0;
        for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
            cr_expect(result.breakdown_s[part] >= 0);
            sum += result.breakdown_s[part];
        }
        for (int p = 0; p < GALV_N_PROVENANCES; p++) {
            shares += result.provenance[p];
        }
        double time_s = result.iteration_time_s;
        cr_expect(time_s > 0);
        cr_expect_float_eq(sum, time_s, 1e-9 * time_s, "%s: %.12g of %.12g",
                           setups[i].name, sum, time_s);
        cr_expect_float_eq(shares, 1, 1e-9, "%s", setups[i].name);
        cr_expect_float_eq(result.tokens_per_s * time_s,
                           (double)setups[i].global_batch * s.job.workload.seq_length,
                           1e-3, "%s", setups[i].name);
        cr_expect(result.mfu > 0 && result.mfu < 1, "%s: MFU %g", setups[i].name,
                  result.mfu);
        for (int32_t stage = 0; stage < result.n_stages; stage++) {
            cr_expect(result.stages[stage].busy_s <= time_s);
        }
        tear_down(&s);
    }
}

Test(sim_evaluate, memory_returns_to_what_is_held_throughout)
{
    for (size_t i = 0; i < N_SETUPS; i++) {
        stand s = set_up(&setups[i]);
        galv_result result = evaluate(&s, true);
        const galv_timeline *timeline = &result.timeline;
        for (size_t k = 0; k < timeline->n_samples; k++) {
            const galv_memory_sample *sample = &timeline->samples[k];
            cr_expect(sample->bytes <= result.stages[sample->rank].peak_memory_bytes);
            if (k + 1 < timeline->n_samples &&
                timeline->samples[k + 1].rank == sample->rank) {
                continue;
            }
            galv_stage_memory base;
            double held = 0;
            galv_costmodel_stage_memory(&base, s.model, s.plan, sample->rank);
            for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
                held += base.bytes[use];
            }
            cr_expect_float_eq(sample->bytes, held, 1e-6 * held,
                               "%s: stage %d ends with %.10g, holds %.10g",
                               setups[i].name, (int)sample->rank, sample->bytes, held);
        }
        tear_down(&s);
    }
}

Test(sim_evaluate, memory_estimated_by_order_is_what_the_simulation_finds_or_more)
{
    for (size_t i = 0; i < N_SETUPS; i++) {
        stand s = set_up(&setups[i]);
        galv_result result = evaluate(&s, false);
        galv_err err = GALV_ERR_INIT;
        double peaks[8];
        cr_assert_eq(galv_estimate_memory(peaks, s.model, s.plan, NULL, s.arena, &err),
                     GALV_OK);
        for (int32_t stage = 0; stage < result.n_stages; stage++) {
            double found = result.stages[stage].peak_memory_bytes;
            cr_expect(peaks[stage] >= found * (1 - 1e-9),
                      "%s stage %d: estimate %.6g under %.6g", setups[i].name,
                      (int)stage, peaks[stage], found);
            cr_expect(peaks[stage] <= found * 1.3,
                      "%s stage %d: estimate %.6g far over %.6g", setups[i].name,
                      (int)stage, peaks[stage], found);
        }
        tear_down(&s);
    }
}

Test(sim_evaluate, memory_found_by_simulation_lies_between_the_estimates)
{
    for (size_t i = 0; i < N_SETUPS; i++) {
        stand s = set_up(&setups[i]);
        galv_result result = evaluate(&s, false);
        galv_err err = GALV_ERR_INIT;
        double least[8], most[8];
        cr_assert_eq(galv_estimate_memory_between(least, most, s.model, s.plan, NULL,
                                                  s.arena, &err),
                     GALV_OK);
        for (int32_t stage = 0; stage < result.n_stages; stage++) {
            double found = result.stages[stage].peak_memory_bytes;
            cr_expect(least[stage] * (1 - GALV_ESTIMATE_SLACK_FRAC) <= found &&
                          found <= most[stage] * (1 + 1e-9),
                      "%s stage %d: %.6g is not between %.6g and %.6g", setups[i].name,
                      (int)stage, found, least[stage], most[stage]);
            cr_expect(least[stage] >= 0.9 * found, "%s stage %d: %.6g far below %.6g",
                      setups[i].name, (int)stage, least[stage], found);
        }
        tear_down(&s);
    }
}

Test(sim_evaluate, the_same_plan_gives_the_same_bits)
{
    for (size_t i = 0; i < N_SETUPS; i += 3) {
        stand s = set_up(&setups[i]);
        galv_result first = evaluate(&s, true);
        galv_result second = evaluate(&s, true);
        cr_expect(first.iteration_time_s == second.iteration_time_s);
        cr_expect_arr_eq(first.breakdown_s, second.breakdown_s,
                         sizeof first.breakdown_s);
        cr_expect_eq(first.timeline.n_spans, second.timeline.n_spans);
        for (size_t k = 0; k < first.timeline.n_spans; k++) {
            cr_assert(first.timeline.spans[k].end_s == second.timeline.spans[k].end_s);
        }
        tear_down(&s);
    }
}

Test(sim_evaluate, a_compiled_pipeline_takes_the_closed_form)
{
    /* blocks cost 1 forward and 2 backward a stage, all else nothing */
    for (int32_t vpp = 1; vpp <= 4; vpp *= 2) {
        setup from = setups[0];
        galv_err err = GALV_ERR_INIT;
        from.n_nodes = 1;
        from.strategy.dp = 1;
        from.pp = 8;
        from.vpp = vpp;
        stand s = set_up(&from);
        galv_program *program = NULL;
        cr_assert_eq(galv_program_compile(&program, &s.job, s.plan, s.arena, &err),
                     GALV_OK);
        galv_cost *costs = GALV_NEW_ARRAY(s.arena, galv_cost, program->n_classes);
        for (uint32_t i = 0; i < program->n_classes; i++) {
            const galv_operation *class = &program->classes[i];
            bool blocks = galv_model_layer(&s.job.model, class->first_layer)->kind ==
                          GALV_LAYER_DECODER;
            double share = class->n_layers / 4.0; /* 32 blocks on 8 stages */
            costs[i].compute_slowdown = costs[i].comm_slowdown = 1;
            if (blocks && class->kind == GALV_OP_FORWARD) {
                costs[i].work_s = share;
            } else if (blocks && class->kind == GALV_OP_BACKWARD) {
                costs[i].work_s = 2 * share;
            }
        }
        galv_sim_result sim;
        galv_sim_options options = GALV_SIM_OPTIONS_INIT;
        cr_assert_eq(galv_simulate(&sim, program, costs, NULL, &options, s.arena, &err),
                     GALV_OK);
        double want = 3 * (32 + 7.0 / vpp);
        cr_expect_float_eq(sim.iteration_time_s, want, 1e-9, "vpp %d: %.12g not %.12g",
                           (int)vpp, sim.iteration_time_s, want);
        tear_down(&s);
    }
}

Test(sim_evaluate, full_recomputation_costs_a_forward_and_saves_memory)
{
    setup from = setups[0];
    stand s = set_up(&from);
    galv_result plain = evaluate(&s, false);
    tear_down(&s);
    from.strategy.recompute = GALV_RECOMPUTE_FULL;
    s = set_up(&from);
    galv_result full = evaluate(&s, false);
    tear_down(&s);
    /* blocks do 4/3 of the work (7/6 to 4/3 with the ends and uneven kernels) */
    double ratio = full.iteration_time_s / plain.iteration_time_s;
    cr_expect(ratio > 1.15 && ratio < 1.36, "%g", ratio);
    cr_expect(full.breakdown_s[GALV_BREAKDOWN_RECOMPUTE] > 0);
    cr_expect(full.peak_memory_bytes < plain.peak_memory_bytes);
    cr_expect_float_eq(full.model_tflops_per_gpu * full.iteration_time_s,
                       plain.model_tflops_per_gpu * plain.iteration_time_s, 1e-6);
    cr_expect(full.hfu / full.mfu > plain.hfu / plain.mfu);
}

Test(sim_evaluate, overlap_never_makes_a_step_longer_by_much)
{
    setup from = setups[5];
    from.strategy.zero = 1;
    stand s = set_up(&from);
    double with = evaluate(&s, false).iteration_time_s;
    tear_down(&s);
    galv_overlap none = {false, false, false, false, false};
    from.overlap = none;
    s = set_up(&from);
    double without = evaluate(&s, false).iteration_time_s;
    tear_down(&s);
    cr_expect(with < without, "%g with overlap, %g without", with, without);
}

Test(sim_evaluate, the_timeline_has_a_title_a_verdict_and_layers)
{
    stand s = set_up(&setups[6]);
    galv_result result = evaluate(&s, true);
    cr_expect_str_eq(
        result.timeline.title,
        "llama3-70b on 8 x dgx-h100 (64 GPUs): tp8 pp4 dp2 v5 mb1 zero1 sp "
        "selective",
        "%s", result.timeline.title);
    cr_expect_not_null(strstr(result.timeline.subtitle, "step "), "%s",
                       result.timeline.subtitle);
    cr_expect_not_null(strstr(result.timeline.subtitle, " GiB"));
    cr_expect_eq(result.timeline.n_ranks, 4);
    cr_expect_eq(result.timeline.first_layer[0], 1);
    cr_expect_eq(result.timeline.last_layer[0], 4);
    cr_expect_eq(result.stages[0].n_layers, 20);
    tear_down(&s);
}

Test(sim_evaluate, a_result_is_written_as_json_that_reads_back)
{
    stand s = set_up(&setups[5]);
    galv_result result = evaluate(&s, false);
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    galv_err err = GALV_ERR_INIT;
    galv_json_writer_init(&writer, &text);
    galv_json_begin_object(&writer, false);
    galv_result_to_json(&result, &s.job, s.plan, &writer);
    galv_json_end_object(&writer);
    cr_assert_eq(galv_json_finish(&writer, &err), GALV_OK);
    galv_json *document = NULL;
    cr_assert_eq(
        galv_json_read_text(&document, "result", text.bytes, text.length, &err),
        GALV_OK, "%s", err.message);
    galv_json_value root = galv_json_root(document);
    double time_s = 0;
    cr_expect_eq(galv_json_to_f64(&time_s, galv_json_member(root, "iteration_time_s"),
                                  0, 1e9, &err),
                 GALV_OK);
    cr_expect(time_s == result.iteration_time_s);
    cr_expect_eq(galv_json_length(galv_json_member(root, "stages")), 4);
    galv_job job;
    galv_plan *plan = NULL;
    cr_expect_eq(
        galv_plan_from_json(&job, &plan, galv_json_member(root, "plan"), s.arena, &err),
        GALV_OK, "%s", err.message);
    galv_json_free(document);
    galv_text_release(&text);
    tear_down(&s);
}

/* Where steps overlap, an iteration takes as long as the stage that takes longest from
 * its first computation to its end; zb-2p is then shorter by what its stages begin one
 * after another, 1f1b, whose first stage has the first and the last pass, is not. */
Test(sim_evaluate, steps_that_overlap_take_the_longest_stage)
{
    static const char *const schedules[] = {"1f1b", "zb-1p", "zb-2p", "zb-h2"};
    for (int i = 0; i < 4; i++) {
        setup from = {"",          "llama3-8b",
                      1,           {2, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
                      4,           1,
                      24,          GALV_OVERLAP_INIT,
                      schedules[i]};
        stand s = set_up(&from);
        double common_s = evaluate(&s, false).iteration_time_s;
        s.plan->overlap.step = true;
        galv_result rolling = evaluate(&s, true);
        double longest_s = 0;
        double parts_s = 0;
        for (int32_t stage = 0; stage < 4; stage++) {
            double begin_s = INFINITY;
            double end_s = 0;
            for (size_t k = 0; k < rolling.timeline.n_spans; k++) {
                const galv_span *span = &rolling.timeline.spans[k];
                if (span->rank == stage && span->stream == GALV_STREAM_COMPUTE) {
                    begin_s = fmin(begin_s, span->start_s);
                    end_s = fmax(end_s, span->end_s);
                }
            }
            longest_s = fmax(longest_s, end_s - begin_s);
        }
        for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
            cr_expect(rolling.breakdown_s[part] >= 0, "%s: part %d", schedules[i],
                      part);
            parts_s += rolling.breakdown_s[part];
        }
        cr_expect_float_eq(rolling.iteration_time_s / longest_s, 1, 1e-12, "%s",
                           schedules[i]);
        cr_expect_float_eq(parts_s / rolling.iteration_time_s, 1, 1e-12);
        double saved_frac = 1 - rolling.iteration_time_s / common_s;
        cr_expect(i == 0 ? fabs(saved_frac) < 0.02 : saved_frac >= 0, "%s saves %g",
                  schedules[i], saved_frac);
        cr_expect(i < 2 || saved_frac > 0.015, "%s saves %g", schedules[i], saved_frac);
        tear_down(&s);
    }
}
