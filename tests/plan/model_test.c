/* Parameter counts against published totals, and what makes a shape a model. */
#include "plan/catalog.h"
#include "plan/model.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(plan_model);

/* Totals as published with the weights (safetensors totals on the model cards) where
 * there are any, else the rounded ones of the papers. The tolerance covers the rounding
 * of the source and the small parts that plan/model.c says it leaves out. */
static const struct {
    const char *name;
    double published;
    double tolerance;
} totals[] = {
    {"megatron-gpt-1.7b", 1.7e9, 0.03},
    {"megatron-gpt-3.6b", 3.6e9, 0.012},
    {"megatron-gpt-7.5b", 7.5e9, 0.005},
    {"megatron-gpt-18.4b", 18.4e9, 0.003},
    {"megatron-gpt-39.1b", 39.1e9, 0.001},
    {"megatron-gpt-76.1b", 76.1e9, 0.001},
    {"megatron-gpt-145.6b", 145.6e9, 5e-4},
    {"megatron-gpt-310.1b", 310.1e9, 2e-4},
    {"megatron-gpt-529.6b", 529.6e9, 1e-5},
    {"megatron-gpt-1t", 1008.0e9, 5e-5},
    {"megatron-22b", 22e9, 0.005},
    {"megatron-175b", 174.6e9, 2e-4},
    {"megatron-530b", 529.6e9, 1e-5},
    {"megatron-1t", 1008.0e9, 5e-5},
    {"gpt3-175b", 174.6e9, 1e-4},
    {"gpt3-125m", 125e6, 0.003},
    {"gpt3-350m", 356e6, 0.002},
    {"gpt3-760m", 760e6, 0.001},
    {"gpt3-1.3b", 1.3157e9, 1e-4},
    {"gpt3-2.7b", 2.65e9, 0.001},
    {"gpt3-6.7b", 6.66e9, 0.001},
    {"gpt3-13b", 12.85e9, 0.001},
    {"gpt2-small", 124439808, 1e-9},
    {"gpt2-medium", 354823168, 1e-9},
    {"gpt2-large", 774030080, 1e-9},
    {"gpt2-xl", 1557611200, 1e-9},
    {"llama-7b", 6738415616, 1e-9},
    {"llama-13b", 13015864320, 1e-9},
    {"llama-30b", 32528943616, 1e-9},
    {"llama-65b", 65285660672, 1e-9},
    {"llama2-7b", 6738415616, 1e-9},
    {"llama2-13b", 13015864320, 1e-9},
    {"llama2-70b", 68976648192, 1e-9},
    {"llama3-8b", 8030261248, 1e-9},
    {"llama3-70b", 70553706496, 1e-9},
    {"llama3.1-405b", 405853388800, 1e-9},
    {"llama3.2-1b", 1235814400, 1e-9},
    {"llama3.2-3b", 3212749824, 1e-9},
    {"qwen2.5-7b", 7615616512, 1e-9},
    {"qwen2.5-14b", 14770033664, 1e-9},
    {"qwen2.5-32b", 32763876352, 1e-9},
    {"qwen2.5-72b", 72706203648, 1e-9},
    {"qwen3-8b", 8190735360, 2e-6},
    {"qwen3-14b", 14768307200, 2e-6},
    {"qwen3-32b", 32762123264, 2e-6},
    {"qwen3-30b-a3b", 30532122624, 2e-6},
    {"qwen3-235b-a22b", 235093634560, 2e-6},
    {"mistral-7b", 7241732096, 1e-9},
    {"mixtral-8x7b", 46702792704, 1e-9},
    {"mixtral-8x22b", 140630071296, 1e-9},
    {"deepseek-v2", 235741434880, 1e-9},
    {"deepseek-v2-lite", 15706484224, 1e-9},
    {"deepseek-v3", 671026419200, 1e-6},
    {"bert-base", 109482240, 0.006},
    {"bert-large", 335141888, 0.0035},
    {"t5-base", 222903552, 1e-4},
    {"t5-large", 737668096, 1e-4},
    {"t5-3b", 2851598336, 1e-5},
    {"t5-11b", 11307321344, 1e-5},
    {"vit-base", 86567656, 1e-9},
    {"vit-large", 304326632, 1e-9},
    {"vit-huge", 632045800, 1e-9},
    {"mt-nlg-530b", 529.6e9, 1e-5},
    {"bloom-176b", 176247271424, 1e-6},
};

Test(plan_model, parameter_counts_match_published_totals)
{
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        galv_model model = {0};
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_catalog_model(&model, totals[i].name, &err), GALV_OK,
                     "%s: %s", totals[i].name, err.message);
        double count = galv_model_parameters(&model);
        cr_expect(fabs(count / totals[i].published - 1) <= totals[i].tolerance,
                  "%s: %.0f against %.0f", totals[i].name, count, totals[i].published);
    }
}

Test(plan_model, active_parameters_match_the_published_ones)
{
    static const struct {
        const char *name;
        double published; /* rounded as in the papers and model cards */
        double tolerance;
    } active[] = {{"mixtral-8x7b", 12.9e9, 0.005},   {"mixtral-8x22b", 39e9, 0.006},
                  {"qwen3-30b-a3b", 3.3e9, 0.02},    {"qwen3-235b-a22b", 22e9, 0.01},
                  {"deepseek-v2", 21e9, 0.02},       {"deepseek-v3", 37e9, 0.02},
                  {"deepseek-v2-lite", 2.4e9, 0.12}, {"llama3-8b", 8030261248, 1e-9}};
    for (size_t i = 0; i < sizeof active / sizeof active[0]; i++) {
        galv_model model = {0};
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_catalog_model(&model, active[i].name, &err), GALV_OK);
        double count = galv_model_active_parameters(&model);
        cr_expect(fabs(count / active[i].published - 1) <= active[i].tolerance,
                  "%s: %.4g against %.4g", active[i].name, count, active[i].published);
    }
}

/* Equation 2 of arXiv 2104.04473: P = 12 l h^2 (1 + 13/(12h) + (V+s)/(12 l h)). */
Test(plan_model, gpt_parameters_follow_the_closed_form)
{
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_catalog_model(&model, "megatron-gpt-18.4b", &err), GALV_OK);
    double l = 40, h = 6144, v = 51200, s = 2048;
    double closed = 12 * l * h * h * (1 + 13 / (12 * h) + (v + s) / (12 * l * h));
    cr_expect_float_eq(galv_model_parameters(&model), closed + 2 * h, 1.0,
                       "the last norm is not in the formula");
}

/* One block of DeepSeek-V3 counted by hand from its published configuration. */
Test(plan_model, latent_attention_counts_each_matrix)
{
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_catalog_model(&model, "deepseek-v3", &err), GALV_OK);
    const galv_layer_group *dense = galv_model_layer(&model, 1);
    cr_assert_eq(dense->kind, GALV_LAYER_DECODER);
    double q = 7168.0 * 1536 + 1536 + 1536.0 * 128 * 192;
    double kv = 7168.0 * (512 + 64) + 512 + 512.0 * 128 * 256;
    double o = 128.0 * 128 * 7168;
    double mlp = 3.0 * 7168 * 18432;
    cr_expect_float_eq(galv_layer_count_parameters(&model, dense).dense,
                       q + kv + o + mlp + 2 * 7168, 0.5);
    cr_expect_eq(galv_layer_qk_head_dim(dense), 192);
    const galv_layer_group *sparse = galv_model_layer(&model, 4);
    cr_assert_eq(sparse->kind, GALV_LAYER_MOE_DECODER);
    cr_expect_float_eq(galv_layer_count_parameters(&model, sparse).experts,
                       256 * 3.0 * 7168 * 2048, 0.5);
}

Test(plan_model, layers_are_numbered_through_the_groups)
{
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_catalog_model(&model, "gpt3-175b", &err), GALV_OK);
    cr_expect_eq(galv_model_n_layers(&model), 98);
    cr_expect_eq(galv_model_n_blocks(&model), 96);
    cr_expect_eq(galv_model_layer(&model, 0)->kind, GALV_LAYER_EMBEDDING);
    cr_expect_eq(galv_model_layer(&model, 1)->kind, GALV_LAYER_DECODER);
    cr_expect_eq(galv_model_layer(&model, 96)->kind, GALV_LAYER_DECODER);
    cr_expect_eq(galv_model_layer(&model, 97)->kind, GALV_LAYER_HEAD);
    cr_expect_eq(galv_model_first_block(&model), galv_model_layer(&model, 1));
}

/* Each entry spoils one thing of a good model. */
static void spoil(galv_model *model, int what)
{
    galv_layer_group *block = &model->groups[1];
    switch (what) {
    case 0:
        block->num_query_groups = 7;
        break;
    case 1:
        block->hidden_size = -1;
        break;
    case 2:
        block->moe_router_topk = block->num_experts + 1;
        break;
    case 3:
        model->groups[0].kind = GALV_LAYER_DECODER;
        break;
    case 4:
        model->groups[2].kind = GALV_LAYER_MOE_DECODER;
        break;
    case 5:
        model->n_groups = 1 << 30;
        break;
    case 6:
        model->seq_length = 0;
        break;
    case 7:
        block->dropout = NAN;
        break;
    case 8:
        block->kind = (galv_layer_kind)77;
        break;
    case 9:
        block->n_layers = 0;
        break;
    case 10:
        model->groups[2].vocab_size = 0;
        break;
    default:
        block->kv_channels = 0;
        break;
    }
}

Test(plan_model, shapes_that_cannot_be_trained_are_refused)
{
    for (int what = 0; what <= 11; what++) {
        galv_model model = {0};
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_catalog_model(&model, "mixtral-8x7b", &err), GALV_OK);
        cr_assert_eq(galv_model_check(&model, &err), GALV_OK);
        spoil(&model, what);
        cr_expect_eq(galv_model_check(&model, &err), GALV_INPUT, "case %d", what);
        cr_expect(strlen(err.message) > 0);
    }
}
