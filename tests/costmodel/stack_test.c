/* What a stack does beside its kernels. */
#include "costmodel/device_law_internal.h"
#include "costmodel/software_internal.h"
#include "tests/costmodel/job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(costmodel_stack);

static galv_cost layer(const galv_job *job, const galv_strategy *s, int kind)
{
    test_plan p;
    test_uniform_plan(&p, job, s, 1, 1);
    galv_costmodel *model = test_model(job, NULL);
    galv_cost cost = test_op(model, &p, kind, GALV_PART_WHOLE, 2, 1);
    galv_costmodel_free(model);
    return cost;
}

static galv_strategy strategy(int32_t tp, int32_t cp, int32_t dp, int32_t zero)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = tp;
    s.cp = cp;
    s.dp = dp;
    s.zero = zero;
    return s;
}

/* Forward of one layer on one rank of `tp`, with the host's times as given. */
static double paced(const galv_job *job, int32_t tp, double host_us,
                    double collective_us)
{
    static const char *const names[] = {"host_forward_us", "host_collective_us"};
    double values[] = {host_us, collective_us};
    galv_profile *profile = galv_profile_new();
    for (int i = 0; i < 2; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_profile_row row = {
            .kind = GALV_PROFILE_FACTOR, .precision = -1, .value = values[i]};
        strcpy(row.op, names[i]);
        cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK);
    }
    galv_strategy s = strategy(tp, 1, 8 / tp, 0);
    test_plan p;
    test_uniform_plan(&p, job, &s, 1, 1);
    galv_costmodel *model = test_model(job, profile);
    double time_s = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 2, 1).work_s;
    galv_costmodel_free(model);
    galv_profile_free(profile);
    return time_s;
}

/* Host and device set the pace in turns: together they take the root of the sum of
 * their squares, so the slower one alone when they are far apart. */
Test(costmodel_stack, host_and_device_pace_a_layer_in_turns)
{
    galv_job job;
    test_gpt_job(&job, 6, 4096, 64, 4096, 51200, 1, 64);
    double device_s = paced(&job, 1, 0, 0);
    static const double ratios[] = {0.1, 1, 10};
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        double time_s = paced(&job, 1, 1e6 * ratios[i] * device_s, 0);
        cr_expect_float_eq(time_s / device_s, sqrt(1 + ratios[i] * ratios[i]), 1e-9);
    }
}

/* A profile may say by another exponent how they share the pace: at 1 they add up. */
Test(costmodel_stack, the_exponent_of_the_pace_is_a_factor)
{
    static const char *const names[] = {"pace_exponent", "host_forward_us"};
    galv_job job;
    galv_err err = GALV_ERR_INIT;
    test_gpt_job(&job, 6, 4096, 64, 4096, 51200, 1, 64);
    double device_s = paced(&job, 1, 0, 0);
    for (int exponent = 1; exponent <= 3; exponent++) {
        double values[] = {exponent, 1e6 * device_s};
        galv_profile *profile = galv_profile_new();
        for (int i = 0; i < 2; i++) {
            galv_profile_row row = {
                .kind = GALV_PROFILE_FACTOR, .precision = -1, .value = values[i]};
            strcpy(row.op, names[i]);
            cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK);
        }
        galv_strategy s = strategy(1, 1, 8, 0);
        test_plan p;
        test_uniform_plan(&p, &job, &s, 1, 1);
        galv_costmodel *model = test_model(&job, profile);
        double time_s =
            test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 2, 1).work_s;
        cr_expect_float_eq(time_s / device_s, pow(2, 1.0 / exponent), 1e-9, "%d: %g",
                           exponent, time_s / device_s);
        galv_costmodel_free(model);
        galv_profile_free(profile);
    }
}

/* Parts and halves of a pass share out its launches as the factors say, and nothing is
 * lost: with kernels that take no time to speak of, the host's is all there is. */
Test(costmodel_stack, launches_are_shared_out_by_factors)
{
    static const char *const names[] = {"host_forward_us", "host_backward_us",
                                        "launches_attention", "launches_input"};
    static const double values[] = {1e9, 2e9, 0.7, 0.9};
    galv_job job;
    galv_err err = GALV_ERR_INIT;
    test_gpt_job(&job, 6, 512, 8, 512, 51200, 1, 8);
    galv_profile *profile = galv_profile_new();
    for (int i = 0; i < 4; i++) {
        galv_profile_row row = {
            .kind = GALV_PROFILE_FACTOR, .precision = -1, .value = values[i]};
        strcpy(row.op, names[i]);
        cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK);
    }
    galv_strategy s = strategy(1, 1, 8, 0);
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *model = test_model(&job, profile);
    static const struct {
        int kind, part;
        double seconds;
    } expected[] = {
        {GALV_OP_FORWARD, GALV_PART_WHOLE, 1000},
        {GALV_OP_FORWARD, GALV_PART_ATTENTION, 700},
        {GALV_OP_FORWARD, GALV_PART_MLP, 300},
        {GALV_OP_BACKWARD, GALV_PART_WHOLE, 2000},
        {GALV_OP_BACKWARD_INPUT, GALV_PART_WHOLE, 1800},
        {GALV_OP_BACKWARD_WEIGHT, GALV_PART_WHOLE, 200},
        {GALV_OP_BACKWARD_INPUT, GALV_PART_MLP, 540},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        galv_cost cost = test_op(model, &p, expected[i].kind, expected[i].part, 2, 1);
        cr_expect_float_eq(cost.work_s, expected[i].seconds, 1e-3, "%zu: %g", i,
                           cost.work_s);
    }
    galv_costmodel_free(model);
    galv_profile_free(profile);
}

/* Each collective of tensor parallelism waits for the slowest of t hosts: log2 t times
 * the factor, two a pass, none where there is one rank. */
Test(costmodel_stack, hosts_wait_for_each_other_at_every_collective)
{
    galv_job job;
    test_gpt_job(&job, 6, 4096, 64, 4096, 51200, 1, 64);
    double second_us =
        1e6; /* longer than any kernel: the host's time is all there is */
    for (int32_t tp = 2; tp <= 8; tp *= 2) {
        double without_s = paced(&job, tp, second_us, 0);
        double with_s = paced(&job, tp, second_us, second_us);
        cr_expect_float_eq(with_s - without_s, 2 * log2(tp), 1e-3, "tp %d: %g", (int)tp,
                           with_s - without_s);
    }
    cr_expect_float_eq(paced(&job, 1, second_us, second_us),
                       paced(&job, 1, second_us, 0), 1e-12);
}

/* Logits of an odd number of columns take 2.2 times as long on the tensor cores; where
 * the vocabulary is padded there are none such. */
Test(costmodel_stack, logits_of_an_unpadded_vocabulary_are_slow)
{
    static const struct {
        int32_t tp;
        double least, most;
    } rows[] = {{1, 1.5, 2.2}, {2, 0.99, 1}, {4, 1.1, 1.5}, {8, 1.2, 2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double time_s[2];
        for (int unpadded = 0; unpadded < 2; unpadded++) {
            galv_job job;
            test_gpt_job(&job, 4, 4096, 64, 2048, 50257, 1, 64);
            job.workload.vocab_unpadded = unpadded;
            galv_strategy s = strategy(rows[i].tp, 1, 8 / rows[i].tp, 0);
            test_plan p;
            test_uniform_plan(&p, &job, &s, 1, 4);
            galv_costmodel *model = test_model(&job, NULL);
            time_s[unpadded] =
                test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 5, 1).work_s;
            galv_costmodel_free(model);
        }
        double ratio = time_s[1] / time_s[0];
        cr_expect(ratio > rows[i].least && ratio <= rows[i].most, "tp %d: %g",
                  (int)rows[i].tp, ratio);
    }
}

/* With blocking launches the host's time comes on top, whatever the kernels take: the
 * same seconds for a wide layer as for a narrow one. */
Test(costmodel_stack, blocking_launches_add_the_hosts_time)
{
    galv_strategy s = strategy(1, 1, 8, 0);
    double added[2];
    for (int wide = 0; wide < 2; wide++) {
        galv_job job;
        test_gpt_job(&job, 6, wide ? 8192 : 4096, 64, 4096, 51200, 1, 64);
        double device_s = paced(&job, 1, 0, 0);
        job.workload.launch_blocking = true;
        added[wide] = layer(&job, &s, GALV_OP_FORWARD).work_s - device_s;
    }
    cr_expect_gt(added[0], 1e-4);
    cr_expect_float_eq(added[0], added[1], 1e-9);
}

/* DeepSpeed's BF16_Optimizer: 22 bytes a parameter more than a product that sums. */
Test(costmodel_stack, gradients_summed_apart_cost_their_bytes)
{
    galv_job job;
    test_gpt_job(&job, 6, 8192, 64, 4096, 51200, 1, 64);
    galv_strategy s = strategy(1, 1, 8, 1);
    job.workload.software_year = 2023;
    double later_s = layer(&job, &s, GALV_OP_BACKWARD_WEIGHT).work_s;
    job.workload.software_year = 2022;
    double apart_s = layer(&job, &s, GALV_OP_BACKWARD_WEIGHT).work_s;
    double parameters = 12.0 * 8192 * 8192;
    /* 0.82 of 2039 GB/s; the sums that the product made before hid behind it */
    double bytes_s = 22 * parameters / (0.82 * 2039e9);
    cr_expect(fabs((apart_s - later_s) / bytes_s - 1) < 0.1, "%g for %g",
              apart_s - later_s, bytes_s);
}

/* A message that waits costs what it takes: half speed for both is one after the
 * other. Megatron-LM of 2021 waits, that of 2022 does not. */
Test(costmodel_stack, early_megatron_waits_for_tensor_parallel_messages)
{
    galv_strategy s = strategy(8, 1, 1, 0);
    for (int32_t year = 2021; year <= 2022; year++) {
        galv_job job;
        galv_cost cost;
        test_plan p;
        test_gpt_job(&job, 6, 8192, 64, 4096, 51200, 1, 64);
        job.workload.software_year = year;
        test_uniform_plan(&p, &job, &s, 1, 1);
        galv_costmodel *model = test_model(&job, NULL);
        galv_operation o = {.kind = GALV_OP_ALL_REDUCE,
                            .stream = GALV_STREAM_TP,
                            .pass = GALV_OP_BACKWARD,
                            .first_layer = 2,
                            .n_layers = 1,
                            .peer_stage = -1};
        galv_costmodel_operation(&cost, model, &p.plan, &o);
        cr_expect_eq(cost.compute_slowdown == 2, year == 2021);
        cr_expect_eq(cost.comm_slowdown == 2, year == 2021);
        galv_costmodel_free(model);
    }
}

/* Ring attention shares causal work evenly (Megatron's, at cp 4: the FLOP of the whole
 * over four); PyTorch's takes 0.5 + 3 x 0.815 squares where 0.5 + 3 x 0.5 would do. */
Test(costmodel_stack, rings_take_the_work_of_their_stack)
{
    galv_job job;
    test_gpt_job(&job, 6, 4096, 32, 32768, 51200, 1, 64);
    job.workload.flash_attention = true;
    job.workload.causal = true;
    galv_strategy one = strategy(1, 1, 8, 0);
    galv_strategy four = strategy(1, 4, 2, 0);
    double whole = layer(&job, &one, GALV_OP_FORWARD).flop;
    double cut = layer(&job, &four, GALV_OP_FORWARD).flop;
    cr_expect_float_eq(cut, whole / 4, 1e-6 * whole);
    job.workload.software = GALV_SOFTWARE_OTHER;
    double square = 4.0 * 8192 * 8192 * 4096;
    double more = layer(&job, &four, GALV_OP_FORWARD).flop - cut;
    cr_expect_float_eq(more, 3 * 0.315 * square, 1e-6 * whole);
}

/* An expert cut over two ranks has half of its columns there, and is shared by half as
 * many ranks. */
Test(costmodel_stack, stated_expert_tp_is_believed)
{
    galv_job job;
    test_gpt_job(&job, 6, 4096, 32, 4096, 51200, 1, 64);
    galv_layer_group *block = &job.model.groups[1];
    block->kind = GALV_LAYER_MOE_DECODER;
    block->num_experts = 8;
    block->moe_router_topk = 2;
    block->moe_ffn_hidden_size =
        2048; /* narrower than the model: whole if not stated */
    galv_strategy s = strategy(2, 1, 4, 0);
    s.ep = 4;
    galv_stage_memory memory[2];
    for (int i = 0; i < 2; i++) {
        test_plan p;
        job.workload.expert_tp = i == 0 ? 0 : 2;
        test_uniform_plan(&p, &job, &s, 1, 1);
        galv_costmodel *model = test_model(&job, NULL);
        galv_costmodel_stage_memory(&memory[i], model, &p.plan, 0);
        galv_costmodel_free(model);
    }
    galv_layer_parameters whole = galv_layer_count_parameters(&job.model, block);
    double less = memory[0].bytes[GALV_MEMORY_PARAMETERS] -
                  memory[1].bytes[GALV_MEMORY_PARAMETERS];
    cr_expect_float_eq(less, 2 * 6 * whole.experts / 4 / 2, 1);
}

/* What products of a run take over the same alone, on a device. */
static double in_a_run(const char *device)
{
    static galv_device_law law;
    galv_err err = GALV_ERR_INIT;
    galv_cluster cluster;
    galv_workload workload = GALV_WORKLOAD_INIT;
    cr_assert_eq(galv_cluster_from_device(&cluster, device, 1, &err), GALV_OK);
    cr_assert_eq(galv_device_law_init(&law, &cluster.pools[0], &workload, NULL, &err),
                 GALV_OK);
    return law.gemm[GALV_BF16].factor;
}

/* Products of a run are slower than alone by what the device has to compute for each
 * watt: 1.11 and 1.21 in runs of Megatron-LM on A100 and H100, 1.47 in SimuMax's on
 * B200, which is nearer to that than Hopper's; and the same chip with less power the
 * more so. */
Test(costmodel_stack, products_of_a_run_are_slower_the_less_power_there_is)
{
    double a100 = in_a_run("a100-sxm-80gb");
    double h100 = in_a_run("h100-sxm-80gb");
    double b200 = in_a_run("b200-180gb");
    cr_expect_float_eq(a100, 1.11, 0.01, "%g", a100);
    cr_expect_float_eq(h100, 1.21, 0.01, "%g", h100);
    cr_expect(b200 - h100 > (1.47 - 1.21) / 2 && b200 < 1.47, "%g", b200);
    double capped = in_a_run("h100-sxm-96gb-500w");
    cr_expect_float_eq((capped - 1) / (h100 - 1), 700.0 / 500, 1e-9, "%g", capped);
}

/* Seconds that the gradients of a block's weights take in fp8 under a software of a
 * year, without the host's. */
static double weights_in_fp8(galv_software software, int32_t year)
{
    static const char *const free_of_cost[] = {"host_forward_us", "host_backward_us"};
    galv_job job;
    galv_err err = GALV_ERR_INIT;
    galv_cluster cluster;
    test_gpt_job(&job, 6, 4096, 32, 4096, 51200, 1, 64);
    cr_assert_eq(galv_cluster_load(&cluster, "dgx-h100", 1, &err), GALV_OK);
    job.cluster = cluster;
    job.workload.precision = GALV_FP8;
    job.workload.software = software;
    job.workload.software_year = year;
    galv_profile *profile = galv_profile_new();
    for (int i = 0; i < 2; i++) {
        galv_profile_row row = {.kind = GALV_PROFILE_FACTOR, .precision = -1};
        strcpy(row.op, free_of_cost[i]);
        cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK);
    }
    galv_strategy s = strategy(1, 1, 8, 0);
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *model = test_model(&job, profile);
    double time_s =
        test_op(model, &p, GALV_OP_BACKWARD_WEIGHT, GALV_PART_WHOLE, 2, 1).work_s;
    galv_costmodel_free(model);
    galv_profile_free(profile);
    return time_s;
}

/* Transformer Engine keeps what it made narrow for the products before: the gradients
 * of weights need no conversion of the gradients of outputs, 8.188 bytes of each of the
 * 3 h + h + 4 h + h a token; before there was one, and elsewhere, they do. */
Test(costmodel_stack, gradients_of_weights_take_what_was_narrow_already)
{
    double before_s = weights_in_fp8(GALV_SOFTWARE_MEGATRON, 2022);
    double since_s = weights_in_fp8(GALV_SOFTWARE_MEGATRON, 2023);
    double convert_s = 8.188 * 9 * 4096 * 4096 / 3350e9;
    cr_expect_float_eq((before_s - since_s) / convert_s, 1, 1e-3, "%g s of %g",
                       before_s - since_s, convert_s);
    cr_expect_float_eq(weights_in_fp8(GALV_SOFTWARE_OTHER, 2022),
                       weights_in_fp8(GALV_SOFTWARE_OTHER, 2023), 0);
}

/* The factors that the model uses can be asked for, a profile's first. */
Test(costmodel_stack, factors_can_be_asked_for)
{
    galv_job job;
    galv_err err = GALV_ERR_INIT;
    test_gpt_job(&job, 6, 4096, 32, 4096, 51200, 1, 64);
    const galv_device *device = &job.cluster.pools[0].device;
    double built_in = galv_costmodel_factor("gemm", device, &job.workload, NULL);
    cr_expect(built_in > 0.9 && built_in < 1.6, "%g", built_in);
    galv_profile_row row = {
        .kind = GALV_PROFILE_FACTOR, .precision = -1, .op = "gemm", .value = 3};
    galv_profile *profile = galv_profile_new();
    cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK);
    cr_expect_float_eq(galv_costmodel_factor("gemm", device, &job.workload, profile), 3,
                       0);
    cr_expect(isnan(galv_costmodel_factor("gem", device, &job.workload, NULL)));
    galv_profile_free(profile);
}

/* What a release changed is there from its year on, and where no year is told; of other
 * software it says nothing. */
Test(costmodel_stack, changes_of_software_begin_with_their_year)
{
    galv_workload w = GALV_WORKLOAD_INIT;
    for (int change = 0; change < GALV_N_CHANGES; change++) {
        galv_change_row row = galv_change_of((galv_change)change);
        w.software = row.software;
        w.software_year = row.year;
        cr_expect(galv_software_has(&w, (galv_change)change));
        cr_expect_not(galv_software_is_before(&w, (galv_change)change));
        w.software_year--;
        cr_expect_not(galv_software_has(&w, (galv_change)change));
        cr_expect(galv_software_is_before(&w, (galv_change)change));
        w.software_year = 0;
        cr_expect(galv_software_has(&w, (galv_change)change));
        w.software = GALV_SOFTWARE_OTHER;
        w.software_year = row.year - 1;
        cr_expect_not(galv_software_has(&w, (galv_change)change));
        cr_expect_not(galv_software_is_before(&w, (galv_change)change));
    }
}
