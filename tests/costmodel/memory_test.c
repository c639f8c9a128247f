#include "tests/costmodel/job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(costmodel_memory);

#define GIB 1073741824.0

static double kept(const galv_job *job, int32_t tp, int32_t pp, int32_t mb, galv_sp sp,
                   galv_recompute recompute)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = tp;
    s.sp = sp;
    s.recompute = recompute;
    test_plan p;
    test_uniform_plan(&p, job, &s, pp, mb);
    galv_costmodel *model = test_model(job, NULL);
    galv_cost cost = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 1, 1);
    galv_costmodel_free(model);
    return cost.end_bytes[GALV_MEMORY_ACTIVATIONS];
}

/* What a profile says of its machine's memory takes the place of what is built in: on a
 * host nothing is held beside states (4 + 4 + 12 bytes, where a master copy is kept
 * beside fp32 weights), and a step takes nothing more. */
Test(costmodel_memory, a_profile_says_what_its_machine_holds_besides)
{
    static const struct {
        const char *factor;
        double value;
    } said[] = {{"context_mib", 0},     {"collectives_mib", 0}, {"group_mib", 0},
                {"allocator_slack", 0}, {"workspace", 0},       {"step_transient", 0},
                {"loss_transient", 0},  {"optimizer_bytes", 12}};
    galv_job job;
    test_gpt_job(&job, 4, 512, 8, 128, 1024, 2, 4);
    job.workload.precision = GALV_FP32;
    job.workload.software = GALV_SOFTWARE_OTHER;
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 2;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_profile *profile = galv_profile_new();
    galv_err err = GALV_ERR_INIT;
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        galv_profile_row row = {.kind = GALV_PROFILE_FACTOR, .precision = -1};
        strcpy(row.op, said[i].factor);
        row.value = said[i].value;
        cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK);
    }
    galv_stage_memory usual, own;
    galv_costmodel *model = test_model(&job, NULL);
    galv_costmodel_stage_memory(&usual, model, &p.plan, 0);
    galv_costmodel_free(model);
    model = test_model(&job, profile);
    galv_costmodel_stage_memory(&own, model, &p.plan, 0);
    galv_cost step = test_op(model, &p, GALV_OP_OPTIMIZER, GALV_PART_WHOLE, 0, 6);
    galv_costmodel_free(model);
    galv_profile_free(profile);
    double parameters = own.bytes[GALV_MEMORY_PARAMETERS] / 4;
    cr_expect(usual.bytes[GALV_MEMORY_CONTEXT] > 950 * 1048576.0); /* 600 + 200 + 150 */
    cr_expect_float_eq(usual.bytes[GALV_MEMORY_OPTIMIZER], 8 * parameters, 1);
    cr_expect_eq(own.bytes[GALV_MEMORY_CONTEXT], 0);
    cr_expect_eq(own.bytes[GALV_MEMORY_BUFFERS], 0);
    cr_expect_float_eq(own.bytes[GALV_MEMORY_OPTIMIZER], 12 * parameters, 1);
    cr_expect_eq(step.transient_bytes, 0);
}

/* Korthikanti et al. 2022 (arXiv 2205.05198), Table 3 models. Figure 7: per cent of the
 * activations without any saving: sequence parallel, selective, both, full; it holds
 * small terms outside the layers too, hence 0.15 points. Figure 1:
 * GiB of activations without saving (first stage, all layers' worth; 2 s b h p (1 +
 * (p-1)/(p m')) of input and output left out). */
Test(costmodel_memory, activations_match_korthikanti)
{
    static const struct {
        const char *name;
        int32_t heads, hidden, layers, tp, pp, vpp, mb;
        double none, seq, selective, both, full;
        double none_gib, both_gib;
    } rows[] = {
        {"22B", 64, 6144, 48, 8, 1, 1, 4, 100, 66.84, 49.42, 16.18, 7.64, 59.25, 9.56},
        {"175B", 96, 12288, 96, 8, 8, 3, 1, 100, 62.04, 56.53, 18.49, 8.71, 66.84,
         12.35},
        {"530B", 128, 20480, 105, 8, 35, 3, 1, 100, 58.31, 62.04, 20.27, 9.42, 114.02,
         23.08},
        {"1T", 160, 25600, 128, 8, 64, 1, 1, 100, 58.31, 62.04, 20.27, 9.42, 131.25,
         26.56},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        galv_job job;
        test_gpt_job(&job, rows[i].layers, rows[i].hidden, rows[i].heads, 2048, 51200,
                     1, 8);
        int32_t tp = rows[i].tp;
        double none = kept(&job, tp, 1, rows[i].mb, GALV_SP_NONE, GALV_RECOMPUTE_NONE);
        double seq =
            kept(&job, tp, 1, rows[i].mb, GALV_SP_MEGATRON, GALV_RECOMPUTE_NONE);
        double selective =
            kept(&job, tp, 1, rows[i].mb, GALV_SP_NONE, GALV_RECOMPUTE_SELECTIVE);
        double both =
            kept(&job, tp, 1, rows[i].mb, GALV_SP_MEGATRON, GALV_RECOMPUTE_SELECTIVE);
        double full = kept(&job, tp, 1, rows[i].mb, GALV_SP_NONE, GALV_RECOMPUTE_FULL);
        cr_expect_float_eq(100 * seq / none, rows[i].seq, 0.15, "%s", rows[i].name);
        cr_expect_float_eq(100 * selective / none, rows[i].selective, 0.15, "%s",
                           rows[i].name);
        cr_expect_float_eq(100 * both / none, rows[i].both, 0.15, "%s", rows[i].name);
        cr_expect_float_eq(100 * full / none, rows[i].full, 0.15, "%s", rows[i].name);
        double p = rows[i].pp;
        double interleaved = rows[i].vpp > 1 ? 1 + (p - 1) / (p * rows[i].vpp) : 1;
        double all = rows[i].layers * interleaved / GIB;
        cr_expect_float_eq(all * none, rows[i].none_gib, 0.006, "%s %g", rows[i].name,
                           all * none);
        cr_expect_float_eq(all * both, rows[i].both_gib, 0.006, "%s %g", rows[i].name,
                           all * both);
    }
}

/* Megatron-LM's table of bytes per parameter (docs, distributed optimizer), but for the
 * fp32 copy of 16-bit gradients, which lives during the step alone. */
Test(costmodel_memory, states_match_the_zero_table)
{
    static const struct {
        const char *name;
        galv_precision precision, gradients;
        int32_t zero;
        double fixed, shared; /* fixed + shared / D */
    } rows[] = {
        {"fp16, fp16 gradients", GALV_FP16, GALV_FP16, 0, 20 - 4, 0},
        {"fp16 distributed", GALV_FP16, GALV_FP16, 1, 4, 16 - 4},
        {"bf16, fp32 gradients", GALV_BF16, GALV_FP32, 0, 18, 0},
        {"bf16 distributed", GALV_BF16, GALV_FP32, 1, 6, 12},
        {"fp32", GALV_FP32, GALV_FP32, 0, 16, 0},
        {"fp32 distributed", GALV_FP32, GALV_FP32, 1, 8, 8},
        {"bf16, bf16 gradients, stage 1", GALV_BF16, GALV_BF16, 1, 4, 12},
        {"stage 2", GALV_BF16, GALV_BF16, 2, 2, 14},
        {"stage 3", GALV_BF16, GALV_BF16, 3, 0, 16},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        galv_job job;
        test_gpt_job(&job, 4, 1024, 16, 1024, 51200, 1, 8);
        job.workload.precision = rows[i].precision;
        job.workload.grad_precision = rows[i].gradients;
        galv_strategy s = GALV_STRATEGY_INIT;
        s.dp = 8;
        s.zero = rows[i].zero;
        test_plan p;
        test_uniform_plan(&p, &job, &s, 1, 1);
        galv_costmodel *model = test_model(&job, NULL);
        galv_stage_memory memory;
        galv_costmodel_stage_memory(&memory, model, &p.plan, 0);
        double bytes = memory.bytes[GALV_MEMORY_PARAMETERS] +
                       memory.bytes[GALV_MEMORY_GRADIENTS] +
                       memory.bytes[GALV_MEMORY_OPTIMIZER];
        double parameters = galv_model_parameters(&job.model);
        double each = rows[i].fixed + rows[i].shared / 8;
        cr_expect_float_eq(bytes / parameters, each, 0.002 * each, "%s: %g, not %g",
                           rows[i].name, bytes / parameters, each);
        galv_costmodel_free(model);
    }
}

/* Rajbhandari et al. 2020 (arXiv 1910.02054), figure 1: 7.5 billion parameters on 64
 * ranks, Adam in mixed precision: 120, 31.4, 16.6 and 1.9 GB. */
Test(costmodel_memory, states_match_the_zero_paper)
{
    static const double gb[] = {120, 31.4, 16.6, 1.9};
    for (int32_t zero = 0; zero < 4; zero++) {
        galv_job job;
        test_gpt_job(&job, 37, 4096, 32, 1024, 1024, 8, 64);
        job.workload.precision = GALV_FP16;
        job.workload.grad_precision = GALV_FP16;
        job.workload.software = GALV_SOFTWARE_DEEPSPEED;
        galv_strategy s = GALV_STRATEGY_INIT;
        s.dp = 64;
        s.zero = zero;
        test_plan p;
        test_uniform_plan(&p, &job, &s, 1, 1);
        galv_costmodel *model = test_model(&job, NULL);
        galv_stage_memory memory;
        galv_costmodel_stage_memory(&memory, model, &p.plan, 0);
        double bytes = memory.bytes[GALV_MEMORY_PARAMETERS] +
                       memory.bytes[GALV_MEMORY_GRADIENTS] +
                       memory.bytes[GALV_MEMORY_OPTIMIZER];
        bytes *= 7.5e9 / galv_model_parameters(&job.model);
        cr_expect_float_eq(bytes / 1e9, gb[zero], 0.05, "stage %d: %g", (int)zero,
                           bytes / 1e9);
        galv_costmodel_free(model);
    }
}

/* Bytes of a weight of 8- and 4-bit products, converted ones counted: beside bf16, or
 * alone (4-bit ones never are). Hopper multiplies along one side only and keeps a
 * transposed copy; blocks of 32 (16) have a scale on either side. */
Test(costmodel_memory, narrow_products_keep_converted_weights)
{
    static const struct {
        galv_precision precision;
        bool blackwell;
        double beside, alone;
    } rows[] = {
        {GALV_BF16, true, 2, 2},
        {GALV_FP8, false, 2 + 2, 2},
        {GALV_FP8, true, 2 + 1, 1},
        {GALV_MXFP8, true, 2 + 2.0625, 2.0625},
        {GALV_NVFP4, true, 2 + 1.125, 2 + 1.125},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int alone = 0; alone < 2; alone++) {
            galv_job job;
            test_gpt_job(&job, 3, 1024, 16, 1024, 1024, 1, 8);
            job.workload.precision = rows[i].precision;
            job.workload.fp8_params = alone > 0;
            if (rows[i].blackwell) {
                job.cluster.pools[0].device.peak_flop_per_s[GALV_NVFP4] = 9e15;
            }
            galv_strategy s = GALV_STRATEGY_INIT;
            test_plan p;
            test_uniform_plan(&p, &job, &s, 3, 1);
            galv_costmodel *model = test_model(&job, NULL);
            galv_stage_memory memory; /* of a stage with one layer and no ends */
            galv_costmodel_stage_memory(&memory, model, &p.plan, 1);
            double each =
                memory.bytes[GALV_MEMORY_PARAMETERS] /
                galv_layer_count_parameters(&job.model, &job.model.groups[1]).dense;
            cr_expect_float_eq(each, alone > 0 ? rows[i].alone : rows[i].beside, 1e-9,
                               "row %zu: %g", i, each);
            galv_costmodel_free(model);
        }
    }
}

static void add_changes(double sum[GALV_N_MEMORY_USES], const galv_cost *cost)
{
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        sum[use] += cost->start_bytes[use] + cost->end_bytes[use];
    }
}

/* Whatever is taken is given back, whole or in parts, with every recomputation. */
Test(costmodel_memory, memory_ends_where_it_began)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 8);
    for (int recompute = 0; recompute < GALV_N_RECOMPUTES; recompute++) {
        for (int way = 0; way < 3; way++) {
            galv_strategy s = GALV_STRATEGY_INIT;
            s.dp = 8;
            s.recompute = (galv_recompute)recompute;
            test_plan p;
            test_uniform_plan(&p, &job, &s, 1, 1);
            galv_costmodel *model = test_model(&job, NULL);
            static const int whole[] = {GALV_PART_WHOLE, -1};
            static const int cut[] = {GALV_PART_ATTENTION, GALV_PART_MLP, -1};
            const int *parts = way == 1 ? cut : whole;
            double sum[GALV_N_MEMORY_USES] = {0};
            for (const int *part = parts; *part >= 0; part++) {
                static const int joint[] = {GALV_OP_FORWARD, GALV_OP_RECOMPUTE,
                                            GALV_OP_BACKWARD, -1};
                static const int split[] = {GALV_OP_FORWARD, GALV_OP_RECOMPUTE,
                                            GALV_OP_BACKWARD_INPUT,
                                            GALV_OP_BACKWARD_WEIGHT, -1};
                for (const int *pass = way == 2 ? split : joint; *pass >= 0; pass++) {
                    galv_cost cost = test_op(model, &p, *pass, *part, 1, 6);
                    add_changes(sum, &cost);
                    if (*part == GALV_PART_WHOLE) {
                        cost = test_op(model, &p, *pass, *part, 7, 1);
                        if (*pass != GALV_OP_RECOMPUTE) {
                            add_changes(sum, &cost);
                        }
                    }
                }
            }
            for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
                cr_expect(fabs(sum[use]) < 1, "recompute %d way %d: %s %+g", recompute,
                          way, galv_memory_use_names[use], sum[use]);
            }
            galv_costmodel_free(model);
        }
    }
}

/* ZeRO-3: what a gather takes, the forward of the same layers frees. */
Test(costmodel_memory, gathered_weights_are_freed)
{
    galv_job job;
    test_gpt_job(&job, 6, 1024, 16, 1024, 51200, 1, 8);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 8;
    s.zero = 3;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *model = test_model(&job, NULL);
    galv_operation gather;
    memset(&gather, 0, sizeof gather);
    gather.kind = GALV_OP_ALL_GATHER;
    gather.stream = GALV_STREAM_DP;
    gather.part = GALV_PART_DENSE;
    gather.pass = GALV_OP_FORWARD;
    gather.first_layer = 1;
    gather.n_layers = 2;
    galv_cost took;
    galv_costmodel_operation(&took, model, &p.plan, &gather);
    galv_cost gave = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 1, 2);
    double bytes = took.start_bytes[GALV_MEMORY_BUFFERS];
    double h = 1024;
    cr_expect_float_eq(bytes, 2 * 2 * (12 * h * h + 13 * h), 1);
    cr_expect_float_eq(gave.end_bytes[GALV_MEMORY_BUFFERS], -bytes, 1e-3);
    gave = test_op(model, &p, GALV_OP_BACKWARD, GALV_PART_ATTENTION, 1, 2);
    cr_expect_float_eq(gave.end_bytes[GALV_MEMORY_BUFFERS], -bytes, 1e-3);
    gave = test_op(model, &p, GALV_OP_BACKWARD, GALV_PART_MLP, 1, 2);
    cr_expect_float_eq(gave.end_bytes[GALV_MEMORY_BUFFERS], 0, 1e-3);
    galv_costmodel_free(model);
}

/* DualPipe holds the model twice; a V holds it once, whatever lies where. */
Test(costmodel_memory, stages_hold_what_their_schedule_gives_them)
{
    galv_job job;
    test_gpt_job(&job, 16, 1024, 16, 1024, 51200, 1, 8);
    static const struct {
        const char *schedule;
        int32_t vpp;
        double copies;
    } rows[] = {
        {"1f1b", 1, 1}, {"dualpipe", 1, 2}, {"dualpipev", 2, 1}, {"zb-v", 2, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        galv_strategy s = GALV_STRATEGY_INIT;
        test_plan p;
        test_uniform_plan(&p, &job, &s, 4 * rows[i].vpp, 1);
        p.plan.pp = 4;
        p.plan.vpp = rows[i].vpp;
        strcpy(p.plan.schedule, rows[i].schedule);
        galv_costmodel *model = test_model(&job, NULL);
        double weights = 0;
        double ends[2] = {0};
        for (int32_t stage = 0; stage < 4; stage++) {
            galv_stage_memory memory;
            galv_costmodel_stage_memory(&memory, model, &p.plan, stage);
            weights += memory.bytes[GALV_MEMORY_PARAMETERS];
            ends[stage == 0 ? 0 : 1] = memory.bytes[GALV_MEMORY_PARAMETERS];
        }
        /* the tied table is held at both ends; 2 bytes a weight */
        double once = 2 * (galv_model_parameters(&job.model) + 1024.0 * 51200);
        cr_expect_float_eq(weights / once, rows[i].copies, 1e-3, "%s: %g",
                           rows[i].schedule, weights / once);
        if (rows[i].vpp == 2) { /* a V has both ends on stage 0 */
            cr_expect(ends[0] > ends[1] + 2 * 2 * 1024.0 * 51200);
        }
        galv_costmodel_free(model);
    }
}

/* Two copies of the model: a stage holds its own layers and those of the stage
 * opposite; what ZeRO shards, it shards over the ranks of both. */
Test(costmodel_memory, copies_double_what_is_not_sharded)
{
    static const int states[] = {GALV_MEMORY_PARAMETERS, GALV_MEMORY_GRADIENTS,
                                 GALV_MEMORY_OPTIMIZER};
    galv_job job;
    test_gpt_job(&job, 14, 1024, 16, 1024, 51200, 4, 32);
    for (int32_t zero = 0; zero <= 3; zero++) {
        galv_strategy s = GALV_STRATEGY_INIT;
        s.dp = 8;
        s.zero = zero;
        test_plan one, two;
        test_uniform_plan(&one, &job, &s, 4, 1);
        two = one;
        two.plan.strategies = &two.strategy;
        two.plan.layer_strategy = two.layer_strategy;
        two.plan.first_layer = two.first_layer;
        strcpy(one.plan.schedule, "1f1b");
        strcpy(two.plan.schedule, "dualpipe");
        galv_costmodel *model = test_model(&job, NULL);
        for (int32_t stage = 0; stage < 4; stage++) {
            galv_stage_memory own, opposite, both;
            galv_costmodel_stage_memory(&own, model, &one.plan, stage);
            galv_costmodel_stage_memory(&opposite, model, &one.plan, 3 - stage);
            galv_costmodel_stage_memory(&both, model, &two.plan, stage);
            for (int k = 0; k < 3; k++) {
                bool sharded = zero >= 3 - k;
                double sum = own.bytes[states[k]] + opposite.bytes[states[k]];
                cr_expect_float_eq(both.bytes[states[k]], sharded ? sum / 2 : sum,
                                   1e-9 * sum, "zero %d, stage %d, use %d: %g, %g",
                                   (int)zero, (int)stage, states[k],
                                   both.bytes[states[k]], sum);
            }
        }
        galv_costmodel_free(model);
    }
}

/* One layer of 4 experts, top 2, h 512, f 2048, 8 heads of 64, one sample of 1024
 * tokens, no gate. */
static double moe_kept(galv_software software, int32_t year, int part, bool gated)
{
    galv_job job;
    test_gpt_job(&job, 2, 512, 8, 1024, 1024, 1, 8);
    galv_layer_group *block = &job.model.groups[1];
    block->kind = GALV_LAYER_MOE_DECODER;
    block->num_experts = 4;
    block->moe_router_topk = 2;
    block->moe_ffn_hidden_size = 2048;
    block->ffn_hidden_size = 0;
    block->gated_linear_unit = gated;
    job.workload.software = software;
    job.workload.software_year = year;
    galv_strategy s = GALV_STRATEGY_INIT;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *model = test_model(&job, NULL);
    galv_cost cost = test_op(model, &p, GALV_OP_FORWARD, part, 1, 1);
    galv_costmodel_free(model);
    return cost.end_bytes[GALV_MEMORY_ACTIVATIONS];
}

/* By hand, 2048 routed rows of 2 bytes on the mean rank and 1.1 times that on the
 * busiest (the factor expert_imbalance) (Megatron Core's grouped MLP and dispatchers).
 * Weighed inside: the token, the first product's output, its activation (without a
 * gate), the weighed activation; nothing for the combination. Weighed behind: the
 * token, the first product's output, its activation; and the last product's output. */
Test(costmodel_memory, experts_keep_what_weighs_their_rows)
{
    double row = 1.1 * 2 * 2048;
    const double h = 512;
    const double f = 2048;
    cr_expect_float_eq(moe_kept(GALV_SOFTWARE_MEGATRON, 2025, GALV_PART_EXPERTS, false),
                       row * (h + 3 * f), 1);
    cr_expect_float_eq(moe_kept(GALV_SOFTWARE_MEGATRON, 0, GALV_PART_EXPERTS, true),
                       row * (h + 3 * f), 1, "halves of the gate, and their product");
    cr_expect_eq(moe_kept(GALV_SOFTWARE_MEGATRON, 2025, GALV_PART_COMBINE, false), 0);
    cr_expect_float_eq(moe_kept(GALV_SOFTWARE_MEGATRON, 2023, GALV_PART_EXPERTS, false),
                       row * (h + 2 * f), 1);
    cr_expect_float_eq(moe_kept(GALV_SOFTWARE_MEGATRON, 2023, GALV_PART_COMBINE, false),
                       row * h, 1);
    cr_expect_float_eq(moe_kept(GALV_SOFTWARE_EAGER, 2025, GALV_PART_COMBINE, true),
                       1.4 * row * h, 1, "as it was, times the stack's factor");
}

static double step_transient(galv_software software, galv_precision gradients,
                             int32_t zero)
{
    galv_job job;
    test_gpt_job(&job, 4, 1024, 16, 1024, 1024, 1, 8);
    job.workload.software = software;
    job.workload.precision = gradients == GALV_FP16 ? GALV_FP16 : GALV_BF16;
    job.workload.grad_precision = gradients;
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 4;
    s.zero = zero;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *model = test_model(&job, NULL);
    galv_cost cost = test_op(model, &p, GALV_OP_OPTIMIZER, GALV_PART_WHOLE, 1, 4);
    double each = cost.transient_bytes /
                  (galv_layer_count_parameters(&job.model, &job.model.groups[1]).dense);
    galv_costmodel_free(model);
    return each;
}

/* Bytes per parameter of the shard that live during a step alone: two fp32 temporaries
 * of AdamW; the fp32 gradient; the flat 16-bit one it is made of in stages 1 and 2.
 * Four layers over four ranks. */
Test(costmodel_memory, steps_copy_gradients_of_16_bits)
{
    static const struct {
        galv_software software;
        galv_precision gradients;
        int32_t zero;
        double each;
    } rows[] = {
        {GALV_SOFTWARE_MEGATRON, GALV_FP32, 1, 0},
        {GALV_SOFTWARE_MEGATRON, GALV_BF16, 1, 4},
        {GALV_SOFTWARE_MEGATRON, GALV_FP16, 1, 4},
        {GALV_SOFTWARE_MEGATRON, GALV_FP16, 0, 16}, /* whole on each of four */
        {GALV_SOFTWARE_EAGER, GALV_FP32, 3, 8},
        {GALV_SOFTWARE_OTHER, GALV_FP32, 3, 12},
        {GALV_SOFTWARE_OTHER, GALV_FP32, 1, 14},
        {GALV_SOFTWARE_OTHER, GALV_FP32, 2, 14},
        {GALV_SOFTWARE_DEEPSPEED, GALV_FP16, 1, 6},
        {GALV_SOFTWARE_DEEPSPEED, GALV_FP16, 2, 6},
        {GALV_SOFTWARE_DEEPSPEED, GALV_FP16, 3, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double each = step_transient(rows[i].software, rows[i].gradients, rows[i].zero);
        cr_expect_float_eq(each, rows[i].each, 1e-6, "%zu: %g", i, each);
    }
}

static galv_kept_memory kept_by(galv_software software, int32_t year,
                                galv_precision precision, int32_t dp)
{
    galv_job job;
    test_gpt_job(&job, 24, 8192, 64, 1024, 51200, 1, 16);
    job.workload.software = software;
    job.workload.software_year = year;
    job.workload.precision = precision;
    job.workload.grad_precision = precision == GALV_FP16 ? GALV_FP16 : GALV_FP32;
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = dp;
    s.zero = 1;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *model = test_model(&job, NULL);
    galv_kept_memory kept;
    galv_stage_memory memory;
    galv_costmodel_kept(&kept, model, &p.plan, 0);
    galv_costmodel_stage_memory(&memory, model, &p.plan, 0);
    cr_expect_float_eq(kept.driver_bytes + kept.slack_bytes,
                       memory.bytes[GALV_MEMORY_CONTEXT], 1);
    double weights = memory.bytes[GALV_MEMORY_PARAMETERS] / 2;
    kept.flat_bytes /= weights;
    galv_costmodel_free(model);
    return kept;
}

/* Bytes per parameter that DeepSpeed's allocator keeps of large temporaries: the
 * shard's gradient flat and in fp32 (6 over dp), or one bf16 copy of all (2); and two
 * buckets of 1e9 bytes where there is somebody to reduce and gather with. Megatron-LM's
 * own optimizer, and DeepSpeed's before it shards, have none. */
Test(costmodel_memory, deepspeed_keeps_large_temporaries)
{
    double parameters = 24 * 12 * 8192.0 * 8192 + 8192.0 * 51200;
    double buckets = 2e9 / parameters;
    galv_kept_memory kept = kept_by(GALV_SOFTWARE_MEGATRON, 2022, GALV_FP16, 8);
    cr_expect_float_eq(kept.flat_bytes, 6.0 / 8 + buckets, 1e-3, "%g", kept.flat_bytes);
    kept = kept_by(GALV_SOFTWARE_MEGATRON, 2022, GALV_BF16, 8);
    cr_expect_float_eq(kept.flat_bytes, 2 + buckets, 1e-3, "%g", kept.flat_bytes);
    kept = kept_by(GALV_SOFTWARE_MEGATRON, 2022, GALV_FP16, 1);
    cr_expect_float_eq(kept.flat_bytes, 6, 1e-3, "%g", kept.flat_bytes);
    kept = kept_by(GALV_SOFTWARE_DEEPSPEED, 0, GALV_FP16, 8);
    cr_expect_float_eq(kept.flat_bytes, 6.0 / 8 + buckets, 1e-3, "%g", kept.flat_bytes);
    kept = kept_by(GALV_SOFTWARE_MEGATRON, 2024, GALV_BF16, 8);
    cr_expect_float_eq(kept.flat_bytes, 0, 0);
}
