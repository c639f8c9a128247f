#include "tests/costmodel/job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(costmodel_profile);

static galv_profile_row layer_row(double samples, double time_s)
{
    galv_profile_row row;
    memset(&row, 0, sizeof row);
    row.kind = GALV_PROFILE_COMPUTE;
    strcpy(row.device, "a100-sxm-80gb");
    row.precision = GALV_BF16;
    strcpy(row.layer, "decoder");
    row.phase = GALV_OP_FORWARD;
    row.hidden_size = 1024;
    row.seq_length = 1024;
    row.micro_batch_size = samples;
    row.tp = 1;
    row.cp = 1;
    row.time_s = time_s;
    return row;
}

static void add(galv_profile *profile, galv_profile_row row)
{
    galv_err err = GALV_ERR_INIT;
    cr_assert(galv_profile_add(profile, &row, &err) == GALV_OK, "%s", err.message);
}

static galv_cost price(const galv_job *job, const galv_profile *profile, int kind,
                       int part, int32_t micro_batch, int32_t tp)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = tp;
    s.dp = 8 / tp;
    test_plan p;
    test_uniform_plan(&p, job, &s, 1, micro_batch);
    galv_costmodel *model = test_model(job, profile);
    galv_cost cost = test_op(model, &p, kind, part, 1, 3);
    galv_costmodel_free(model);
    return cost;
}

static void expect_one_origin(const galv_cost *cost, galv_provenance provenance)
{
    cr_expect_float_eq(cost->provenance_s[provenance], cost->work_s,
                       1e-12 * cost->work_s, "%s: %g of %g",
                       galv_provenance_names[provenance],
                       cost->provenance_s[provenance], cost->work_s);
}

Test(costmodel_profile, a_measured_layer_is_replayed_to_the_bit)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    add(profile, layer_row(1, 1e-3));
    add(profile, layer_row(2, 1.9e-3));
    add(profile, layer_row(4, 3.7e-3));
    galv_cost cost = price(&job, profile, GALV_OP_FORWARD, GALV_PART_WHOLE, 2, 1);
    cr_expect_float_eq(cost.work_s, 3 * 1.9e-3, 1e-15);
    expect_one_origin(&cost, GALV_PROVENANCE_MEASURED);
    /* between points: a line */
    cost = price(&job, profile, GALV_OP_FORWARD, GALV_PART_WHOLE, 3, 1);
    cr_expect_float_eq(cost.work_s, 3 * 2.8e-3, 1e-12);
    expect_one_origin(&cost, GALV_PROVENANCE_INTERPOLATED);
    /* outside: the least-squares line, 0.9 ms a sample and 0.1 ms */
    cost = price(&job, profile, GALV_OP_FORWARD, GALV_PART_WHOLE, 8, 1);
    cr_expect_float_eq(cost.work_s, 3 * 7.3e-3, 1e-12);
    expect_one_origin(&cost, GALV_PROVENANCE_FITTED);
    galv_profile_free(profile);
}

Test(costmodel_profile, parts_of_a_measured_layer_add_up_to_it)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    add(profile, layer_row(8, 8e-3));
    galv_cost attention =
        price(&job, profile, GALV_OP_FORWARD, GALV_PART_ATTENTION, 8, 1);
    galv_cost mlp = price(&job, profile, GALV_OP_FORWARD, GALV_PART_MLP, 8, 1);
    cr_expect_float_eq(attention.work_s + mlp.work_s, 3 * 8e-3, 1e-9);
    expect_one_origin(&attention, GALV_PROVENANCE_MEASURED);
    galv_profile_free(profile);
}

Test(costmodel_profile, what_was_not_measured_is_not_called_measured)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    add(profile, layer_row(8, 8e-3));
    galv_cost backward = price(&job, profile, GALV_OP_BACKWARD, GALV_PART_WHOLE, 8, 1);
    expect_one_origin(&backward, GALV_PROVENANCE_FITTED);
    cr_expect(backward.work_s > 3 * 8e-3 && backward.work_s < 3 * 3 * 8e-3);
    galv_cost cut = price(&job, profile, GALV_OP_FORWARD, GALV_PART_WHOLE, 8, 2);
    expect_one_origin(&cut, GALV_PROVENANCE_FITTED);
    cr_expect(cut.work_s > 3 * 4e-3 && cut.work_s < 3 * 8e-3);
    galv_profile_free(profile);
}

Test(costmodel_profile, another_sequence_is_extrapolated_with_a_warning)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 4096, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    for (int i = 1; i <= 4; i++) { /* 1 ms a 1024 tokens and a square */
        galv_profile_row row = layer_row(1, 1e-3 * i / 2 + 0.1e-3 * i * i / 4);
        row.seq_length = 512 * i;
        add(profile, row);
    }
    galv_cost cost = price(&job, profile, GALV_OP_FORWARD, GALV_PART_WHOLE, 1, 1);
    cr_expect_float_eq(cost.work_s, 3 * (4e-3 + 1.6e-3), 1e-9, "%g", cost.work_s);
    expect_one_origin(&cost, GALV_PROVENANCE_FITTED);
    galv_costmodel *model = test_model(&job, profile);
    size_t n = 0;
    const char *const *warnings = galv_costmodel_warnings(model, &n);
    bool told = false;
    for (size_t i = 0; i < n; i++) {
        told = told || strstr(warnings[i], "2 times the longest") != NULL;
    }
    cr_expect(told);
    galv_costmodel_free(model);
    galv_profile_free(profile);
}

Test(costmodel_profile, measured_collectives_overlap_and_factors_win)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    galv_profile_row row;
    memset(&row, 0, sizeof row);
    row.kind = GALV_PROFILE_COLLECTIVE;
    row.precision = -1;
    strcpy(row.op, "all_reduce");
    row.ranks = 8;
    row.message_bytes = 1 << 20;
    row.time_s = 100e-6;
    add(profile, row);
    row.message_bytes = 4 << 20;
    row.time_s = 200e-6;
    add(profile, row);
    memset(&row, 0, sizeof row);
    row.kind = GALV_PROFILE_OVERLAP;
    row.precision = -1;
    row.compute_slowdown = 1.5;
    row.comm_slowdown = 2;
    add(profile, row);
    galv_costmodel *model = test_model(&job, profile);
    galv_cost cost;
    galv_costmodel_collective(&cost, model, GALV_OP_ALL_REDUCE, 8, 8, 1, 1 << 20);
    cr_expect_float_eq(cost.work_s, 100e-6, 1e-12);
    expect_one_origin(&cost, GALV_PROVENANCE_MEASURED);
    cr_expect_float_eq(cost.compute_slowdown, 1.5, 1e-12);
    cr_expect_float_eq(cost.comm_slowdown, 2, 1e-12);
    galv_costmodel_collective(&cost, model, GALV_OP_ALL_REDUCE, 8, 8, 1, 2 << 20);
    cr_expect_float_eq(cost.work_s, 100e-6 * sqrt(2), 1e-9); /* a line of logarithms */
    expect_one_origin(&cost, GALV_PROVENANCE_INTERPOLATED);
    galv_costmodel_collective(&cost, model, GALV_OP_ALL_REDUCE, 8, 8, 1, 8 << 20);
    expect_one_origin(&cost, GALV_PROVENANCE_FITTED);
    galv_costmodel_free(model);
    memset(&row, 0, sizeof row);
    row.kind = GALV_PROFILE_FACTOR;
    row.precision = -1;
    strcpy(row.op, "gemm");
    row.value = 10;
    galv_profile *factor = galv_profile_new();
    add(factor, row);
    galv_cost usual = price(&job, NULL, GALV_OP_FORWARD, GALV_PART_MLP, 8, 1);
    galv_cost slowed = price(&job, factor, GALV_OP_FORWARD, GALV_PART_MLP, 8, 1);
    cr_expect(slowed.work_s > 4 * usual.work_s);
    galv_profile_free(factor);
    galv_profile_free(profile);
}

/* Every second has an origin, for every kind of operation. */
Test(costmodel_profile, origins_add_up_to_the_whole)
{
    galv_job job;
    test_gpt_job(&job, 8, 2048, 16, 2048, 51200, 4, 64);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = 4;
    s.dp = 4;
    s.zero = 1;
    s.recompute = GALV_RECOMPUTE_FULL;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 2, 2);
    galv_costmodel *model = test_model(&job, NULL);
    for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
        for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
            galv_operation op;
            memset(&op, 0, sizeof op);
            op.kind = (uint8_t)kind;
            op.stream = (uint8_t)stream;
            op.first_layer = 2;
            op.n_layers = 1;
            op.peer_stage = 1;
            galv_cost cost;
            galv_costmodel_operation(&cost, model, &p.plan, &op);
            double sum = 0;
            for (int i = 0; i < GALV_N_PROVENANCES; i++) {
                sum += cost.provenance_s[i];
            }
            cr_expect(isfinite(cost.work_s) && cost.work_s >= 0);
            cr_expect_float_eq(sum, cost.work_s, 1e-12 + 1e-9 * cost.work_s, "%s",
                               galv_op_kind_names[kind]);
            cr_expect(cost.intra_share >= 0 && cost.intra_share <= 1 &&
                      cost.inter_share >= 0 && cost.inter_share <= 1);
        }
    }
    galv_costmodel_free(model);
}

static galv_profile_row gemm_row(int64_t m, int64_t n, int64_t k, double time_s)
{
    galv_profile_row row;
    memset(&row, 0, sizeof row);
    row.kind = GALV_PROFILE_KERNEL;
    strcpy(row.device, "a100-sxm-80gb");
    row.precision = GALV_BF16;
    strcpy(row.op, "gemm");
    row.m = m;
    row.n = n;
    row.k = k;
    row.time_s = time_s;
    return row;
}

static galv_cost product(const galv_job *job, const galv_profile *profile, double m,
                         double n, double k)
{
    galv_cost cost;
    galv_costmodel *model = test_model(job, profile);
    galv_costmodel_gemm(&cost, model, GALV_BF16, m, n, k);
    galv_costmodel_free(model);
    return cost;
}

/* A measured product is replayed, in either order of m and n; where all products near
 * by took twice the law's time, so does one in between. */
Test(costmodel_profile, measured_products_win)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    double law_s = product(&job, NULL, 4096, 8192, 2048).work_s;
    add(profile, gemm_row(4096, 8192, 2048, 2 * law_s));
    galv_cost there = product(&job, profile, 4096, 8192, 2048);
    cr_expect_float_eq(there.work_s, 2 * law_s, 1e-12);
    cr_expect_float_eq(there.provenance_s[GALV_PROVENANCE_MEASURED], 2 * law_s, 1e-12);
    cr_expect_float_eq(product(&job, profile, 8192, 4096, 2048).work_s, 2 * law_s,
                       1e-12);
    double other_s = product(&job, NULL, 4096, 4096, 4096).work_s;
    galv_cost near = product(&job, profile, 4096, 4096, 4096);
    cr_expect_float_eq(near.work_s, 2 * other_s, 1e-9 * other_s);
    cr_expect_float_eq(near.provenance_s[GALV_PROVENANCE_INTERPOLATED], near.work_s,
                       1e-12);
    galv_profile_free(profile);
}

/* Parameters that a profile states replace those counted from the shape. */
Test(costmodel_profile, measured_parameters_win)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    const galv_layer_group *block = &job.model.groups[1];
    galv_layer_parameters counted = galv_layer_count_parameters(&job.model, block);
    galv_profile_row row = layer_row(1, 0);
    row.kind = GALV_PROFILE_MEMORY;
    row.parameter_bytes = 1.25 * 4 * (counted.dense + counted.experts);
    strcpy(row.layer, galv_layer_kind_names[block->kind]);
    row.hidden_size = block->hidden_size;
    add(profile, row);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 8;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_stage_memory with, without;
    galv_costmodel *model = test_model(&job, NULL);
    galv_costmodel_stage_memory(&without, model, &p.plan, 0);
    galv_costmodel_free(model);
    model = test_model(&job, profile);
    galv_costmodel_stage_memory(&with, model, &p.plan, 0);
    galv_costmodel_free(model);
    double more =
        with.bytes[GALV_MEMORY_PARAMETERS] - without.bytes[GALV_MEMORY_PARAMETERS];
    cr_expect_float_eq(more, 0.25 * 2 * block->n_layers * counted.dense, 1);
    galv_profile_free(profile);
}

/* What a micro-batch of 1 keeps of a block. */
static galv_profile_row memory_row(const galv_job *job)
{
    galv_profile_row row = layer_row(1, 0);
    row.kind = GALV_PROFILE_MEMORY;
    strcpy(row.layer, galv_layer_kind_names[job->model.groups[1].kind]);
    row.hidden_size = job->model.groups[1].hidden_size;
    row.micro_batch_size = 1;
    return row;
}

static double kept(const galv_job *job, const galv_profile *profile,
                   const galv_strategy *s)
{
    test_plan p;
    test_uniform_plan(&p, job, s, 1, 2);
    galv_costmodel *model = test_model(job, profile);
    galv_cost cost = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 1, 1);
    galv_costmodel_free(model);
    return cost.end_bytes[GALV_MEMORY_ACTIVATIONS];
}

static double kept_by(const galv_job *job, const galv_profile *profile, int32_t cp,
                      galv_recompute recompute)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.cp = cp;
    s.recompute = recompute;
    return kept(job, profile, &s);
}

/* What a layer keeps as measured: by recomputation apart, and of a ring's rank, which
 * holds a part of the sequence, for the whole. */
Test(costmodel_profile, measured_activations_are_of_their_recomputation_and_ring)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    galv_profile_row row = memory_row(&job);
    row.cp = 2;
    row.activation_bytes = 3e6;
    add(profile, row);
    row.cp = 1;
    row.recompute = GALV_RECOMPUTE_SELECTIVE;
    row.activation_bytes = 5e6;
    add(profile, row);
    cr_expect_float_eq(kept_by(&job, profile, 2, GALV_RECOMPUTE_NONE), 2 * 3e6, 1);
    cr_expect_float_eq(kept_by(&job, profile, 1, GALV_RECOMPUTE_NONE), 2 * 6e6, 1);
    cr_expect_float_eq(kept_by(&job, profile, 1, GALV_RECOMPUTE_SELECTIVE), 2 * 5e6, 1);
    galv_profile_free(profile);
}

static double kept_of_two(const galv_job *job, const galv_profile *profile, galv_sp sp)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = 2;
    s.sp = sp;
    return kept(job, profile, &s);
}

/* Ulysses' ranks keep other tensors than those of tensor parallelism, so what was
 * measured of one says nothing of the other; a table that does not say which stands
 * for both. */
Test(costmodel_profile, measured_activations_are_of_their_sequence_parallelism)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    galv_profile_row row = memory_row(&job);
    row.tp = 2;
    row.sp = GALV_SP_MEGATRON;
    row.activation_bytes = 3e6;
    double counted = kept_of_two(&job, NULL, GALV_SP_ULYSSES);
    add(profile, row);
    cr_expect_float_eq(kept_of_two(&job, profile, GALV_SP_MEGATRON), 2 * 3e6, 1);
    cr_expect_float_eq(kept_of_two(&job, profile, GALV_SP_ULYSSES), counted, 1);
    row.sp = GALV_SP_NONE;
    row.activation_bytes = 5e6;
    add(profile, row);
    cr_expect_float_eq(kept_of_two(&job, profile, GALV_SP_MEGATRON), 2 * 3e6, 1);
    cr_expect_float_eq(kept_of_two(&job, profile, GALV_SP_ULYSSES), 2 * 5e6, 1);
    row.sp = GALV_SP_ULYSSES;
    row.activation_bytes = 7e6;
    add(profile, row);
    cr_expect_float_eq(kept_of_two(&job, profile, GALV_SP_ULYSSES), 2 * 7e6, 1);
    galv_profile_free(profile);
}

static bool warns_of_kernels(const galv_job *job, const galv_profile *profile)
{
    galv_costmodel *model = test_model(job, profile);
    size_t n = 0;
    const char *const *warnings = galv_costmodel_warnings(model, &n);
    bool warned = false;
    for (size_t i = 0; i < n; i++) {
        warned = warned || strstr(warnings[i], "no kernel of") != NULL;
    }
    galv_costmodel_free(model);
    return warned;
}

/* Whoever has measured the layers themselves needs no kernel. */
Test(costmodel_profile, measured_layers_need_no_measured_kernels)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    strcpy(job.cluster.pools[0].device.id, "nobody-knows-it");
    galv_profile *profile = galv_profile_new();
    cr_expect(warns_of_kernels(&job, NULL));
    galv_profile_row row = layer_row(1, 1e-3);
    strcpy(row.device, "nobody-knows-it");
    add(profile, row);
    cr_expect_not(warns_of_kernels(&job, profile));
    galv_profile_free(profile);
}

/* The step of three layers under a strategy, nothing fixed beside it. */
static galv_cost price_step(const galv_job *job, galv_profile *profile,
                            const galv_strategy *strategy)
{
    test_plan p;
    test_uniform_plan(&p, job, strategy, 1, 1);
    galv_costmodel *model = test_model(job, profile);
    galv_cost cost = test_op(model, &p, GALV_OP_OPTIMIZER, GALV_PART_WHOLE, 1, 3);
    galv_costmodel_free(model);
    return cost;
}

Test(costmodel_profile, measured_steps_win_whatever_the_samples)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    galv_profile_row fixed = {.kind = GALV_PROFILE_FACTOR, .precision = -1};
    strcpy(fixed.op, "step_us");
    add(profile, fixed);
    for (int i = 1; i <= 2; i++) { /* of other samples and lengths: 4 and 6 ms */
        galv_profile_row row = layer_row(i, 2e-3 + 2e-3 * i);
        row.phase = GALV_OP_OPTIMIZER;
        row.seq_length = 512 * i;
        add(profile, row);
    }
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 8;
    galv_cost cost = price_step(&job, profile, &s);
    cr_expect_float_eq(cost.work_s, 3 * 5e-3, 1e-12, "%g", cost.work_s);
    expect_one_origin(&cost, GALV_PROVENANCE_MEASURED);
    s.zero = 1; /* an eighth of it on each */
    cost = price_step(&job, profile, &s);
    cr_expect_float_eq(cost.work_s, 3 * 5e-3 / 8, 1e-12, "%g", cost.work_s);
    expect_one_origin(&cost, GALV_PROVENANCE_FITTED);
    s.zero = 0;
    s.tp = 2; /* half of the weights */
    s.dp = 4;
    cost = price_step(&job, profile, &s);
    cr_expect_float_eq(cost.work_s, 3 * 5e-3 / 2, 1e-12, "%g", cost.work_s);
    expect_one_origin(&cost, GALV_PROVENANCE_FITTED);
    galv_profile_free(profile);
}

Test(costmodel_profile, ulysses_takes_its_own_measurements_first)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 64);
    galv_profile *profile = galv_profile_new();
    galv_profile_row row = layer_row(8, 8e-3);
    row.tp = 2;
    row.sp = GALV_SP_MEGATRON;
    add(profile, row);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = 2;
    s.dp = 4;
    for (int measured = 0; measured < 2; measured++) {
        for (int sp = GALV_SP_MEGATRON; sp <= GALV_SP_ULYSSES; sp++) {
            test_plan p;
            s.sp = (galv_sp)sp;
            test_uniform_plan(&p, &job, &s, 1, 8);
            galv_costmodel *model = test_model(&job, profile);
            galv_cost cost = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 1, 3);
            double each_s = measured > 0 && sp == GALV_SP_ULYSSES ? 9e-3 : 8e-3;
            cr_expect_float_eq(cost.work_s, 3 * each_s, 1e-12, "%g", cost.work_s);
            galv_costmodel_free(model);
        }
        row.sp = GALV_SP_ULYSSES;
        row.time_s = 9e-3;
        add(profile, row);
    }
    galv_profile_free(profile);
}
