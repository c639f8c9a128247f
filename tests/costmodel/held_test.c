#include "tests/costmodel/job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(costmodel_held);

static double standing_buffers(galv_job *job, const galv_strategy *s, int32_t pp,
                               int32_t stage)
{
    test_plan p;
    test_uniform_plan(&p, job, s, pp, 1);
    galv_costmodel *model = test_model(job, NULL);
    galv_stage_memory memory;
    galv_costmodel_stage_memory(&memory, model, &p.plan, stage);
    galv_costmodel_free(model);
    return memory.bytes[GALV_MEMORY_BUFFERS];
}

/* cuBLAS: 32 MiB for each of two threads. Transformer Engine: 4 MiB on Ampere and 32
 * from Hopper on; with experts four more, one for each stream. The year is one without
 * placeholders of gradients. */
Test(costmodel_held, products_have_workspaces_by_thread_and_stream)
{
    double buffers[4];
    for (int i = 0; i < 4; i++) {
        galv_job job;
        test_gpt_job(&job, 2, 512, 8, 1024, 1024, 1, 8);
        job.workload.software_year = 2024;
        if (i % 2 > 0) {
            galv_layer_group *block = &job.model.groups[1];
            block->kind = GALV_LAYER_MOE_DECODER;
            block->num_experts = 4;
            block->moe_router_topk = 2;
            block->moe_ffn_hidden_size = 2048;
        }
        if (i > 1) {
            job.cluster.pools[0].device.peak_flop_per_s[GALV_FP8] = 1979e12;
        }
        galv_strategy s = GALV_STRATEGY_INIT;
        buffers[i] = standing_buffers(&job, &s, 1, 0) / 1048576;
    }
    cr_expect_float_eq(buffers[0], 64 + 4, 1e-9);
    cr_expect_float_eq(buffers[1], 64 + 5 * 4, 1e-9);
    cr_expect_float_eq(buffers[2], 64 + 32, 1e-9);
    cr_expect_float_eq(buffers[3], 64 + 5 * 32, 1e-9);
}

/* Llama-like layers of h 512, f 1536, 8 heads and 2 groups of 64, tp 2. By hand, for
 * each of two stages, in elements: QKV (4 + 2) 64 x 512, projection 512 x 256, gate and
 * up 1536 x 512, down 512 x 768; each shape once, however many layers. Whoever makes
 * them anew, or lets autograd have the gradients, keeps none. */
Test(costmodel_held, gradients_summed_in_products_leave_placeholders)
{
    galv_job job;
    test_gpt_job(&job, 4, 512, 8, 1024, 1024, 1, 8);
    galv_layer_group *block = &job.model.groups[1];
    block->ffn_hidden_size = 1536;
    block->num_query_groups = 2;
    block->gated_linear_unit = true;
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = 2;
    job.workload.software_year = 2024;
    double before = standing_buffers(&job, &s, 2, 0);
    job.workload.software_year = 2025;
    const double each = 2 * 512.0 * (6 * 64 + 256 + 1536 + 768);
    cr_expect_float_eq(standing_buffers(&job, &s, 2, 0) - before, each, 1e-3);
    cr_expect_float_eq(standing_buffers(&job, &s, 2, 1) - before, each, 1e-3);
    job.workload.software_year = 0;
    cr_expect_float_eq(standing_buffers(&job, &s, 2, 0) - before, each, 1e-3);
    /* two groups of layers with the same shapes, save for the width of their MLPs */
    job.model.groups[3] = job.model.groups[2];
    job.model.groups[2] = job.model.groups[1];
    job.model.groups[1].n_layers = job.model.groups[2].n_layers = 2;
    job.model.groups[2].ffn_hidden_size = 1024;
    job.model.n_groups = 4;
    cr_expect_float_eq(standing_buffers(&job, &s, 1, 0) - before,
                       each + 2 * 512.0 * (1024 + 512), 1e-3);
    job.workload.software = GALV_SOFTWARE_EAGER;
    cr_expect_float_eq(standing_buffers(&job, &s, 2, 0), 64 * 1048576.0, 1e-3);
}

/* Sequence parallelism gathers the input of the logits, 2 bytes of 1024 x 512, into a
 * buffer that stays; before Transformer Engine that of every product. */
Test(costmodel_held, gathered_inputs_of_own_products_stay)
{
    galv_job job;
    test_gpt_job(&job, 4, 512, 8, 1024, 1024, 1, 8);
    for (int32_t year = 2022; year <= 2024; year += 2) {
        job.workload.software_year = year;
        double stays[2];
        for (int32_t stage = 0; stage < 2; stage++) {
            galv_strategy s = GALV_STRATEGY_INIT;
            s.tp = 2;
            double without = standing_buffers(&job, &s, 2, stage);
            s.sp = GALV_SP_MEGATRON;
            stays[stage] = standing_buffers(&job, &s, 2, stage) - without;
        }
        cr_expect_float_eq(stays[0], year == 2022 ? 2 * 1024 * 512 : 0, 1e-3);
        cr_expect_float_eq(stays[1], 2 * 1024 * 512, 1e-3);
    }
}

/* Qi et al. 2023 (arXiv 2401.10241), table 1: of a GPT layer s b h (34 + 5 a s / h)
 * bytes are kept, and 32 s b h of them and of gradients wait for the weights'
 * gradients. The head's: its input and the gradient of the logits. */
Test(costmodel_held, weights_wait_with_inputs_and_gradients_of_products)
{
    galv_job job;
    test_gpt_job(&job, 4, 2304, 24, 1024, 50304, 1, 8);
    galv_strategy s = GALV_STRATEGY_INIT;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *model = test_model(&job, NULL);
    const double sbh = 1024.0 * 2304;
    const double kept = sbh * (34 + 5.0 * 24 * 1024 / 2304);
    int act = GALV_MEMORY_ACTIVATIONS;
    galv_cost forward = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 1, 3);
    galv_cost input = test_op(model, &p, GALV_OP_BACKWARD_INPUT, GALV_PART_WHOLE, 1, 3);
    galv_cost weight =
        test_op(model, &p, GALV_OP_BACKWARD_WEIGHT, GALV_PART_WHOLE, 1, 3);
    cr_expect_float_eq(forward.end_bytes[act], 3 * kept, 1);
    cr_expect_float_eq(input.end_bytes[act], -3 * (kept - 32 * sbh), 1);
    cr_expect_float_eq(weight.end_bytes[act], -3 * 32 * sbh, 1);
    weight = test_op(model, &p, GALV_OP_BACKWARD_WEIGHT, GALV_PART_WHOLE, 5, 1);
    cr_expect_float_eq(weight.end_bytes[act], -2 * (sbh + 1024.0 * 50304), 1);
    galv_costmodel_free(model);
}

/* A layer backward, h 512, f 2048, 1024 tokens of 2 bytes, fused attention: the
 * gradient of its output, and those of the activation and of what that was made of, for
 * which the activation itself makes room. Without a gate 2 (h + f) a token, with one
 * 2 (h + 2 f); while the gradients of weights wait, the activation stays. */
Test(costmodel_held, backward_lets_go_what_it_has_used)
{
    const double rows = 2 * 1024;
    for (int gated = 0; gated < 2; gated++) {
        galv_job job;
        test_gpt_job(&job, 4, 512, 8, 1024, 1024, 1, 8);
        job.model.groups[1].gated_linear_unit = gated > 0;
        job.workload.flash_attention = true;
        galv_strategy s = GALV_STRATEGY_INIT;
        test_plan p;
        test_uniform_plan(&p, &job, &s, 1, 1);
        galv_costmodel *model = test_model(&job, NULL);
        galv_cost cost = test_op(model, &p, GALV_OP_BACKWARD, GALV_PART_WHOLE, 1, 2);
        cr_expect_float_eq(cost.transient_bytes, rows * (512 + (1 + gated) * 2048.0),
                           1e-3);
        cost = test_op(model, &p, GALV_OP_BACKWARD_INPUT, GALV_PART_WHOLE, 1, 2);
        cr_expect_float_eq(cost.transient_bytes, rows * (512 + (2 + gated) * 2048.0),
                           1e-3);
        galv_costmodel_free(model);
    }
}

/* The table of 30 000 rows has a gradient of 2 bytes x 512 each beside that of the
 * embedding's output. It comes last: by then the layers behind it, in the same
 * operation, have given theirs back, and only what is over counts. */
Test(costmodel_held, the_gradient_of_the_table_comes_last)
{
    galv_job job;
    test_gpt_job(&job, 4, 512, 8, 1024, 29952, 1, 8);
    galv_strategy s = GALV_STRATEGY_INIT;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *model = test_model(&job, NULL);
    const double table = 2 * 512 * (1024.0 + 29952);
    galv_cost own = test_op(model, &p, GALV_OP_BACKWARD, GALV_PART_WHOLE, 0, 1);
    galv_cost layer = test_op(model, &p, GALV_OP_BACKWARD, GALV_PART_WHOLE, 1, 1);
    cr_expect_float_eq(own.transient_bytes, table, 1e-3);
    cr_expect(table > layer.transient_bytes);
    galv_cost run = test_op(model, &p, GALV_OP_BACKWARD, GALV_PART_WHOLE, 0, 2);
    double over = table + layer.end_bytes[GALV_MEMORY_ACTIVATIONS];
    cr_expect(over < layer.transient_bytes);
    cr_expect_float_eq(run.transient_bytes, layer.transient_bytes, 1e-3);
    galv_costmodel_free(model);
}

/* ---- what selective recomputation makes again ---- */

#define MODULE(name) (1u << GALV_AGAIN_##name)

/* One layer of DeepSeek's kind: h 1024, 8 heads with keys of 128 + 64 and values of
 * 128, latents of 256 and 128; 8 experts of 512 columns, top 2, gated, one shared.
 * Enough tokens to keep the device busier than the host. */
#define SAMPLES 64
#define TOKENS  (SAMPLES * 1024.0)

static void latent_job(galv_job *job, uint32_t modules)
{
    test_gpt_job(job, 2, 1024, 8, 1024, 1024, 1, SAMPLES);
    job->workload.flash_attention = true;
    job->workload.recompute_modules = modules;
    galv_layer_group *g = &job->model.groups[1];
    g->kind = GALV_LAYER_MOE_DECODER;
    g->dropout = 0;
    g->gated_linear_unit = true;
    g->q_lora_rank = 256;
    g->kv_lora_rank = 128;
    g->qk_nope_head_dim = 128;
    g->qk_rope_head_dim = 64;
    g->v_head_dim = 128;
    g->num_experts = 8;
    g->moe_router_topk = 2;
    g->moe_ffn_hidden_size = 512;
    g->moe_shared_ffn_hidden_size = 512;
}

typedef struct made_again {
    double kept_bytes, backward_s, backward_bytes; /* of one layer */
} made_again;

static made_again with_modules(uint32_t modules, galv_recompute recompute)
{
    galv_job job;
    latent_job(&job, modules);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.recompute = recompute;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, SAMPLES);
    galv_costmodel *model = test_model(&job, NULL);
    galv_cost forward = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 1, 1);
    galv_cost backward = test_op(model, &p, GALV_OP_BACKWARD, GALV_PART_WHOLE, 1, 1);
    galv_costmodel_free(model);
    made_again made = {forward.end_bytes[GALV_MEMORY_ACTIVATIONS], backward.work_s,
                       backward.transient_bytes};
    return made;
}

/* By hand, bytes a token that are not kept: the outputs of the two norms (2 h each);
 * queries, keys, values (2 x 8 (192 + 192 + 128)) and the normed latents
 * (2 (256 + 128)); the experts' activation (2 x 512 for two rows, 1.1 times as many on
 * the busiest rank). What is made again takes time before the gradients, and room. */
Test(costmodel_held, modules_made_again_are_not_kept)
{
    static const struct {
        uint32_t modules;
        double token_bytes;
    } rows[] = {
        {MODULE(CORE_ATTN), 0},
        {MODULE(LAYERNORM), 2 * 2 * 1024},
        {MODULE(MLA_UP_PROJ), 2 * 8 * (192 + 192 + 128) + 2 * (256 + 128)},
        {MODULE(MOE_ACT), 1.1 * 2 * 2 * 512},
        {MODULE(LAYERNORM) | MODULE(MOE_ACT), 2 * 2 * 1024 + 1.1 * 2 * 2 * 512},
    };
    made_again all = with_modules(0, GALV_RECOMPUTE_SELECTIVE);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        made_again made = with_modules(rows[i].modules, GALV_RECOMPUTE_SELECTIVE);
        cr_expect_float_eq((all.kept_bytes - made.kept_bytes) / TOKENS,
                           rows[i].token_bytes, 1e-6, "row %zu: %g", i,
                           (all.kept_bytes - made.kept_bytes) / TOKENS);
        cr_expect((made.backward_s > all.backward_s) == (i > 0), "row %zu", i);
        cr_expect(made.backward_bytes >= all.backward_bytes, "row %zu", i);
        made = with_modules(rows[i].modules, GALV_RECOMPUTE_NONE);
        cr_expect_float_eq(made.kept_bytes, all.kept_bytes, 1e-6,
                           "asked for with selective recomputation alone");
        cr_expect_float_eq(made.backward_s, all.backward_s, 0);
    }
}

/* Fused attention under fp8 keeps what goes into products in 1 byte, what goes into the
 * gated activation in 2, or with fp8_activation_input in 1: 2 f bytes a token less. */
Test(costmodel_held, the_input_of_a_gated_activation_can_be_narrow)
{
    double kept[2];
    for (int i = 0; i < 2; i++) {
        galv_job job;
        test_gpt_job(&job, 2, 1024, 8, 1024, 1024, 1, 8);
        job.model.groups[1].gated_linear_unit = true;
        job.workload.precision = GALV_FP8;
        job.workload.fp8_activation_input = i > 0;
        galv_strategy s = GALV_STRATEGY_INIT;
        test_plan p;
        test_uniform_plan(&p, &job, &s, 1, 1);
        galv_costmodel *model = test_model(&job, NULL);
        galv_cost cost = test_op(model, &p, GALV_OP_FORWARD, GALV_PART_MLP, 1, 1);
        kept[i] = cost.end_bytes[GALV_MEMORY_ACTIVATIONS];
        galv_costmodel_free(model);
    }
    /* input of the norm, its output, mask of dropout; halves, their product */
    cr_expect_float_eq(kept[0], 1024.0 * (4 * 1024 + (2 * 2 + 1) * 4096), 1e-6);
    cr_expect_float_eq(kept[0] - kept[1], 1024.0 * 2 * 4096, 1e-6);
}
