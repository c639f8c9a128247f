#include "tests/costmodel/job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(costmodel_message);

static galv_cost price(const galv_job *job, const test_plan *p, galv_operation op)
{
    galv_costmodel *model = test_model(job, NULL);
    galv_cost cost;
    galv_costmodel_operation(&cost, model, &p->plan, &op);
    galv_costmodel_free(model);
    return cost;
}

static galv_cost price_send(galv_job *job, int32_t tp, galv_sp sp,
                            galv_software software)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = tp;
    s.sp = sp;
    job->workload.software = software;
    test_plan p;
    test_uniform_plan(&p, job, &s, 2, 1);
    galv_operation op = {.kind = GALV_OP_SEND,
                         .stream = GALV_STREAM_PP_SEND,
                         .pass = GALV_OP_FORWARD,
                         .stage = 0,
                         .first_layer = 2,
                         .n_layers = 1,
                         .peer_stage = 1};
    return price(job, &p, op);
}

/* Narayanan et al. 2021 (arXiv 2104.04473), section 4.1: each of t ranks sends 1/t of
 * what all of them hold. */
Test(costmodel_message, pipeline_messages_are_sent_in_pieces)
{
    galv_job job;
    test_gpt_job(&job, 4, 8192, 64, 2048, 51200, 2, 8);
    double whole = 2.0 * 2048 * 8192;
    galv_cost all = price_send(&job, 8, GALV_SP_NONE, GALV_SOFTWARE_OTHER);
    galv_cost piece = price_send(&job, 8, GALV_SP_NONE, GALV_SOFTWARE_MEGATRON);
    galv_cost parallel = price_send(&job, 8, GALV_SP_MEGATRON, GALV_SOFTWARE_MEGATRON);
    cr_expect_float_eq(all.message_bytes, whole, 1);
    cr_expect_float_eq(piece.message_bytes, whole / 8, 1);
    cr_expect_float_eq(parallel.message_bytes, whole / 8, 1);
    cr_expect_lt(piece.work_s, 0.4 * all.work_s);
    cr_expect_gt(piece.work_s, parallel.work_s, "the pieces must be gathered again");
}

static void make_experts(galv_job *job, int32_t width)
{
    test_gpt_job(job, 4, 4096, 32, 4096, 51200, 4, 32);
    galv_layer_group *g = &job->model.groups[1];
    g->kind = GALV_LAYER_MOE_DECODER;
    g->num_experts = 64;
    g->moe_router_topk = 8;
    g->moe_ffn_hidden_size = width;
    g->gated_linear_unit = true;
    g->linear_bias = false;
}

static double stage_parameters(const galv_job *job, const test_plan *p)
{
    galv_costmodel *model = test_model(job, NULL);
    galv_stage_memory memory;
    galv_costmodel_stage_memory(&memory, model, &p->plan, 0);
    galv_costmodel_free(model);
    return memory.bytes[GALV_MEMORY_PARAMETERS] / 2;
}

/* Whatever cuts experts, all ranks together do the same work, and hold 1/ep of the
 * experts on each group of ranks that one expert is cut over. */
Test(costmodel_message, wide_experts_are_cut_by_tp_and_narrow_ones_are_not)
{
    static const struct {
        const char *name;
        int32_t width, tp, ep;
        double cut;
        galv_software software;
    } rows[] = {
        {"wide", 16384, 4, 2, 4, GALV_SOFTWARE_MEGATRON},
        {"narrow", 1024, 4, 2, 1, GALV_SOFTWARE_MEGATRON},
        {"ep takes the tp ranks", 16384, 4, 32, 1, GALV_SOFTWARE_MEGATRON},
        {"other software", 16384, 4, 2, 1, GALV_SOFTWARE_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        galv_job job;
        make_experts(&job, rows[i].width);
        job.workload.software = rows[i].software;
        galv_strategy s = GALV_STRATEGY_INIT;
        s.tp = rows[i].tp;
        s.sp = GALV_SP_MEGATRON;
        s.ep = rows[i].ep;
        s.dp = 32 / rows[i].tp;
        test_plan p;
        test_uniform_plan(&p, &job, &s, 1, 1);
        galv_costmodel *model = test_model(&job, NULL);
        galv_cost cost = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_EXPERTS, 1, 1);
        galv_costmodel_free(model);
        double expert = 3.0 * 4096 * rows[i].width;
        double flop = 2 * 8 * 4096.0 * expert / s.tp;
        cr_expect_float_eq(cost.flop / flop, 1.1, 1e-9, "%s: %g", rows[i].name,
                           cost.flop / flop);
        double all = stage_parameters(&job, &p);
        make_experts(&job, 2 * rows[i].width);
        job.workload.software = rows[i].software;
        double wider = stage_parameters(&job, &p);
        double each = 4 * 64 * expert / (s.ep * rows[i].cut);
        cr_expect_float_eq((wider - all) / each, 1, 1e-9, "%s: %g", rows[i].name,
                           (wider - all) / each);
    }
}

/* Of eight choices among experts on two nodes, 2 (1 - 2^-8) nodes are expected. */
Test(costmodel_message, tokens_go_once_to_each_node_since_2025)
{
    galv_job job;
    make_experts(&job, 2048);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.ep = 16;
    s.dp = 32;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_operation op = {.kind = GALV_OP_ALL_TO_ALL,
                         .stream = GALV_STREAM_EP,
                         .part = GALV_PART_EXPERTS,
                         .pass = GALV_OP_FORWARD,
                         .first_layer = 1,
                         .n_layers = 1,
                         .peer_stage = -1};
    job.workload.software_year = 2024;
    double before = price(&job, &p, op).message_bytes;
    job.workload.software_year = 2025;
    double since = price(&job, &p, op).message_bytes;
    cr_expect_float_eq(before, 2.0 * 8 * 4096 * 4096, 1);
    cr_expect_float_eq(since / before, 2 * (1 - 1 / 256.0) / 8, 1e-12);
}

static double attention_time(int32_t heads)
{
    galv_job job;
    test_gpt_job(&job, 4, 13824, heads, 2048, 51200, 1, 8);
    job.cluster.pools[0].device.peak_flop_per_s[GALV_FP32] = 19.5e12;
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = 8;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 4);
    galv_costmodel *model = test_model(&job, NULL);
    galv_cost cost = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_ATTENTION, 2, 1);
    galv_costmodel_free(model);
    return cost.work_s;
}

/* Heads of 108 leave the tensor cores; those of 216 and 72, on both sides, do not. */
Test(costmodel_message, misaligned_heads_are_slow)
{
    double misaligned = attention_time(128);
    cr_expect_gt(misaligned, 1.1 * attention_time(64));
    cr_expect_gt(misaligned, 1.02 * attention_time(192));
}

/* The host's work for a pass is hidden where kernels outlast their launches. */
Test(costmodel_message, a_pass_opens_for_free_behind_long_kernels)
{
    static const struct {
        const char *name;
        int32_t hidden, micro_batch;
        bool free;
    } rows[] = {{"long", 8192, 4, true}, {"short", 512, 1, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        galv_job job;
        test_gpt_job(&job, 4, rows[i].hidden, 8, 2048, 51200, 1, 8);
        job.workload.software_year = 2022;
        galv_strategy s = GALV_STRATEGY_INIT;
        test_plan p;
        test_uniform_plan(&p, &job, &s, 1, rows[i].micro_batch);
        galv_costmodel *model = test_model(&job, NULL);
        double all_s =
            test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 0, 5).work_s;
        double first_s = all_s;
        p.plan.first_layer[0] = 5; /* nothing begins at layer 0 any more */
        all_s = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 0, 5).work_s;
        galv_costmodel_free(model);
        cr_expect(rows[i].free ? first_s <= all_s : first_s > all_s + 5e-4,
                  "%s: %g and %g", rows[i].name, first_s, all_s);
    }
}
