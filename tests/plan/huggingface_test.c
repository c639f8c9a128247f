/* Configurations of other tools: the shape read from the keys that each family uses has
 * the number of parameters published with its weights. */
#include "base/yaml.h"
#include "plan/model.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(plan_huggingface);

static galv_status parse(galv_model *model, const char *text, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status =
        galv_json_read_text(&document, "config.json", text, strlen(text), err);
    if (status == GALV_OK) {
        status = galv_model_from_huggingface(model, galv_json_root(document), err);
    }
    galv_json_free(document);
    return status;
}

/* Only the keys that matter, values as published; totals of the safetensors files. The
 * tolerance covers what plan/model.c leaves out (norms of heads, relative positions).
 */
static const struct {
    const char *what;
    const char *config;
    double parameters;
    double tolerance;
} published[] = {
    {"llama3.1-405b",
     "{\"model_type\":\"llama\",\"hidden_size\":16384,\"intermediate_size\":53248,"
     "\"num_hidden_layers\":126,\"num_attention_heads\":128,\"num_key_value_heads\":8,"
     "\"vocab_size\":128256,\"max_position_embeddings\":131072,"
     "\"rope_scaling\":{\"original_max_position_embeddings\":8192}}",
     405853388800, 1e-9},
    {"qwen2-7b",
     "{\"model_type\":\"qwen2\",\"hidden_size\":3584,\"intermediate_size\":18944,"
     "\"num_hidden_layers\":28,\"num_attention_heads\":28,\"num_key_value_heads\":4,"
     "\"vocab_size\":152064,\"max_position_embeddings\":131072,"
     "\"tie_word_embeddings\":false,\"head_dim\":null}",
     7615616512, 1e-9},
    {"gemma-2b, tied by default and heads wider than hidden / heads",
     "{\"model_type\":\"gemma\",\"hidden_size\":2048,\"intermediate_size\":16384,"
     "\"num_hidden_layers\":18,\"num_attention_heads\":8,\"num_key_value_heads\":1,"
     "\"head_dim\":256,\"vocab_size\":256000,\"max_position_embeddings\":8192}",
     2506172416, 1e-9},
    {"phi3-mini",
     "{\"model_type\":\"phi3\",\"hidden_size\":3072,\"intermediate_size\":8192,"
     "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":32,"
     "\"vocab_size\":32064,\"max_position_embeddings\":4096}",
     3821079552, 1e-9},
    {"gpt2",
     "{\"model_type\":\"gpt2\",\"n_embd\":768,\"n_layer\":12,\"n_head\":12,"
     "\"n_positions\":1024,\"n_inner\":null,\"vocab_size\":50257}",
     124439808, 1e-9},
    {"gpt-neox-20b",
     "{\"model_type\":\"gpt_neox\",\"hidden_size\":6144,\"intermediate_size\":24576,"
     "\"num_hidden_layers\":44,\"num_attention_heads\":64,\"vocab_size\":50432,"
     "\"max_position_embeddings\":2048,\"tie_word_embeddings\":false}",
     20554567680, 1e-6},
    {"bloom-560m",
     "{\"model_type\":\"bloom\",\"n_embed\":1024,\"n_layer\":24,"
     "\"num_attention_heads\":16,\"vocab_size\":250880}",
     559214592, 5e-6},
    {"opt-125m",
     "{\"model_type\":\"opt\",\"hidden_size\":768,\"ffn_dim\":3072,"
     "\"num_hidden_layers\":12,\"num_attention_heads\":12,\"vocab_size\":50272,"
     "\"max_position_embeddings\":2048}",
     125239296, 2e-5},
    {"falcon-7b, one key and value head",
     "{\"model_type\":\"falcon\",\"hidden_size\":4544,\"num_hidden_layers\":32,"
     "\"num_attention_heads\":71,\"vocab_size\":65024,\"multi_query\":true,"
     "\"bias\":false,\"new_decoder_architecture\":false}",
     6921720704, 5e-5},
    {"falcon-40b, eight",
     "{\"model_type\":\"falcon\",\"hidden_size\":8192,\"num_hidden_layers\":60,"
     "\"num_attention_heads\":128,\"num_kv_heads\":8,\"vocab_size\":65024,"
     "\"multi_query\":true,\"bias\":false,\"new_decoder_architecture\":true}",
     41303293952, 5e-5},
    {"bert-base",
     "{\"model_type\":\"bert\",\"hidden_size\":768,\"intermediate_size\":3072,"
     "\"num_hidden_layers\":12,\"num_attention_heads\":12,\"vocab_size\":30522,"
     "\"max_position_embeddings\":512,\"hidden_dropout_prob\":0.1}",
     109482240, 0.006},
    {"t5-small",
     "{\"model_type\":\"t5\",\"d_model\":512,\"d_ff\":2048,\"d_kv\":64,"
     "\"num_layers\":6,\"num_heads\":8,\"vocab_size\":32128,\"dropout_rate\":0.1}",
     60506624, 2e-5},
    {"flan-t5-base, gated and untied",
     "{\"model_type\":\"t5\",\"d_model\":768,\"d_ff\":2048,\"d_kv\":64,"
     "\"num_layers\":12,\"num_decoder_layers\":12,\"num_heads\":12,"
     "\"feed_forward_proj\":\"gated-gelu\",\"tie_word_embeddings\":false,"
     "\"vocab_size\":32128}",
     247577856, 1e-5},
    {"vit-base",
     "{\"model_type\":\"vit\",\"hidden_size\":768,\"intermediate_size\":3072,"
     "\"num_hidden_layers\":12,\"num_attention_heads\":12,\"image_size\":224,"
     "\"patch_size\":16,\"num_channels\":3}",
     86567656, 1e-9},
    {"mixtral-8x7b",
     "{\"model_type\":\"mixtral\",\"hidden_size\":4096,\"intermediate_size\":14336,"
     "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":8,"
     "\"num_local_experts\":8,\"num_experts_per_tok\":2,\"vocab_size\":32000,"
     "\"max_position_embeddings\":32768}",
     46702792704, 1e-9},
    {"qwen1.5-moe-a2.7b, shared experts",
     "{\"model_type\":\"qwen2_moe\",\"hidden_size\":2048,\"intermediate_size\":5632,"
     "\"num_hidden_layers\":24,\"num_attention_heads\":16,\"num_key_value_heads\":16,"
     "\"num_experts\":60,\"num_experts_per_tok\":4,\"moe_intermediate_size\":1408,"
     "\"shared_expert_intermediate_size\":5632,\"decoder_sparse_step\":1,"
     "\"vocab_size\":151936,\"max_position_embeddings\":8192}",
     14315784192, 1e-5},
    {"deepseek-v3, dense layers first and latent attention",
     "{\"model_type\":\"deepseek_v3\",\"hidden_size\":7168,"
     "\"intermediate_size\":18432,\"num_hidden_layers\":61,"
     "\"num_attention_heads\":128,\"num_key_value_heads\":128,"
     "\"n_routed_experts\":256,\"n_shared_experts\":1,\"num_experts_per_tok\":8,"
     "\"moe_intermediate_size\":2048,\"first_k_dense_replace\":3,"
     "\"moe_layer_freq\":1,\"q_lora_rank\":1536,\"kv_lora_rank\":512,"
     "\"qk_nope_head_dim\":128,\"qk_rope_head_dim\":64,\"v_head_dim\":128,"
     "\"vocab_size\":129280,\"max_position_embeddings\":163840}",
     671026419200, 1e-6},
    {"deepseek-v2-lite, queries not compressed",
     "{\"model_type\":\"deepseek_v2\",\"hidden_size\":2048,"
     "\"intermediate_size\":10944,\"num_hidden_layers\":27,"
     "\"num_attention_heads\":16,\"num_key_value_heads\":16,"
     "\"n_routed_experts\":64,\"n_shared_experts\":2,\"num_experts_per_tok\":6,"
     "\"moe_intermediate_size\":1408,\"first_k_dense_replace\":1,"
     "\"q_lora_rank\":null,\"kv_lora_rank\":512,\"qk_nope_head_dim\":128,"
     "\"qk_rope_head_dim\":64,\"v_head_dim\":128,\"vocab_size\":102400}",
     15706484224, 1e-9},
};

Test(plan_huggingface, shapes_have_their_published_parameters)
{
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        galv_model model = {0};
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(parse(&model, published[i].config, &err), GALV_OK, "%s: %s",
                     published[i].what, err.message);
        double count = galv_model_parameters(&model);
        cr_expect(fabs(count / published[i].parameters - 1) <= published[i].tolerance,
                  "%s: %.0f against %.0f", published[i].what, count,
                  published[i].parameters);
        cr_expect(model.seq_length > 0 && model.seq_length <= 8192, "%s",
                  published[i].what);
    }
}

Test(plan_huggingface, every_other_layer_with_experts_makes_groups)
{
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&model,
                       "{\"model_type\":\"qwen3_moe\",\"hidden_size\":64,"
                       "\"intermediate_size\":128,\"num_hidden_layers\":6,"
                       "\"num_attention_heads\":4,\"num_experts\":4,"
                       "\"num_experts_per_tok\":2,\"moe_intermediate_size\":32,"
                       "\"decoder_sparse_step\":2,\"mlp_only_layers\":[5],"
                       "\"vocab_size\":100,\"_name_or_path\":\"org/tiny-moe\"}",
                       &err),
                 GALV_OK, "%s", err.message);
    /* layers 1 and 3 are sparse; 5 would be, but is named */
    static const galv_layer_kind expected[] = {
        GALV_LAYER_EMBEDDING, GALV_LAYER_DECODER,     GALV_LAYER_MOE_DECODER,
        GALV_LAYER_DECODER,   GALV_LAYER_MOE_DECODER, GALV_LAYER_DECODER,
        GALV_LAYER_DECODER,   GALV_LAYER_HEAD};
    cr_assert_eq(galv_model_n_layers(&model), 8);
    for (int32_t layer = 0; layer < 8; layer++) {
        cr_expect_eq(galv_model_layer(&model, layer)->kind, expected[layer], "layer %d",
                     layer);
    }
    cr_expect_str_eq(model.name, "tiny-moe");
    cr_expect_str_eq(model.family, "moe");
}

Test(plan_huggingface, unknown_types_with_the_keys_of_llama_are_read_as_llama)
{
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&model,
                       "{\"model_type\":\"newcomer\",\"text_config\":{"
                       "\"model_type\":\"newcomer_text\",\"hidden_size\":64,"
                       "\"intermediate_size\":128,\"num_hidden_layers\":2,"
                       "\"num_attention_heads\":4,\"vocab_size\":100}}",
                       &err),
                 GALV_OK, "%s", err.message);
    cr_expect(galv_model_layer(&model, 1)->gated_linear_unit);
    cr_expect_eq(parse(&model, "{\"model_type\":\"newcomer\",\"width\":3}", &err),
                 GALV_INPUT);
    cr_expect(strlen(err.hint) > 0);
}

Test(plan_huggingface, configurations_that_cannot_be_are_refused)
{
    static const char *const wrong[] = {
        "[]",
        "3",
        "{}",
        "{\"model_type\":7}",
        "{\"model_type\":\"gpt2\"}",
        "{\"model_type\":\"llama\",\"hidden_size\":-4,\"num_hidden_layers\":2,"
        "\"num_attention_heads\":4,\"vocab_size\":100}",
        "{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":2,"
        "\"num_attention_heads\":0,\"vocab_size\":100}",
        "{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":2000000000,"
        "\"num_attention_heads\":4,\"vocab_size\":100}",
        "{\"model_type\":\"mixtral\",\"hidden_size\":64,\"num_hidden_layers\":"
        "2000000000,"
        "\"num_attention_heads\":4,\"vocab_size\":100,\"num_local_experts\":8,"
        "\"num_experts_per_tok\":2}",
        "{\"model_type\":\"mixtral\",\"hidden_size\":64,\"num_hidden_layers\":2,"
        "\"num_attention_heads\":4,\"vocab_size\":100,\"num_local_experts\":8,"
        "\"num_experts_per_tok\":9}",
        "{\"model_type\":\"llama\",\"hidden_size\":\"64\",\"num_hidden_layers\":2,"
        "\"num_attention_heads\":4,\"vocab_size\":100}",
        "{\"model_type\":\"llama\",\"hidden_size\":63,\"num_hidden_layers\":2,"
        "\"num_attention_heads\":4,\"vocab_size\":100}",
        "{\"model_type\":\"vit\",\"hidden_size\":64,\"num_hidden_layers\":2,"
        "\"num_attention_heads\":4,\"patch_size\":0}",
        "{\"model_type\":\"qwen3_moe\",\"hidden_size\":64,\"num_hidden_layers\":40,"
        "\"num_attention_heads\":4,\"num_experts\":4,\"num_experts_per_tok\":2,"
        "\"decoder_sparse_step\":2,\"vocab_size\":100}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        galv_model model = {0};
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(parse(&model, wrong[i], &err), GALV_INPUT, "case %s", wrong[i]);
        cr_expect_eq(model.n_groups, 0, "case %s", wrong[i]);
    }
}

/* ---- Galvatron ---- */

static galv_status parse_yaml(galv_model *model, const char *text, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status =
        galv_yaml_read_text(&document, "model.yaml", text, strlen(text), err);
    if (status == GALV_OK) {
        status = galv_model_from_galvatron(model, galv_json_root(document), err);
    }
    galv_json_free(document);
    return status;
}

Test(plan_huggingface, galvatron_yaml_gives_the_shape)
{
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse_yaml(&model,
                            "model_size: tiny\nhidden_size: 4096\nnum_layers: 32\n"
                            "num_attention_heads: 32\nnum_query_groups: 8\n"
                            "ffn_hidden_size: 14336\nvocab_size: 128256\n"
                            "normalization: RMSNorm\ngated_linear_unit: true\n"
                            "position_embedding_type: rope\nadd_bias_linear: false\n"
                            "untie_embeddings_and_output_weights: true\n"
                            "seq_length: 8192\n",
                            &err),
                 GALV_OK, "%s", err.message);
    cr_expect_float_eq(galv_model_parameters(&model), 8030261248, 0.5, "as llama3-8b");
    cr_expect_eq(model.seq_length, 8192);
    cr_expect_str_eq(model.name, "tiny");
}

Test(plan_huggingface, galvatron_yaml_with_a_name_alone_takes_the_catalog)
{
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse_yaml(&model,
                            "model_info:\n  model_size: llama2-7b\n"
                            "common_train_info:\n  seq_length: 2048\n",
                            &err),
                 GALV_OK, "%s", err.message);
    cr_expect_float_eq(galv_model_parameters(&model), 6738415616, 0.5);
    cr_expect_eq(model.seq_length, 2048);
    cr_expect_eq(parse_yaml(&model, "model_info:\n  model_size: lama2-7b\n", &err),
                 GALV_INPUT);
    cr_expect(strstr(err.hint, "llama2-7b") != NULL, "%s", err.hint);
}

/* ---- files ---- */

Test(plan_huggingface, load_tells_files_apart_by_content)
{
    static const struct {
        const char *file;
        const char *name;
        double parameters;
    } files[] = {{"tests/plan/data/tiny-llama/config.json", "tiny-llama", 1100048384},
                 {"tests/plan/data/tiny-llama", "tiny-llama", 1100048384},
                 {"tests/plan/data/llama3-8b-galvatron.yaml", "llama3-8b", 8030261248},
                 {"tests/plan/data/own-model.json", "own", 6738415616},
                 {"llama3-70b", "llama3-70b", 70553706496}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[1024];
        bool is_file = strchr(files[i].file, '/') != NULL;
        snprintf(path, sizeof path, "%s%s%s", is_file ? GALV_SOURCE_DIR : "",
                 is_file ? "/" : "", files[i].file);
        galv_model model = {0};
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_model_load(&model, path, &err), GALV_OK, "%s: %s",
                     files[i].file, err.message);
        cr_expect_str_eq(model.name, files[i].name);
        cr_expect_float_eq(galv_model_parameters(&model), files[i].parameters, 0.5,
                           "%s", files[i].file);
    }
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_model_load(&model, "no/such/config.json", &err), GALV_INPUT);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_model_load(&model, "", &err), GALV_USAGE);
}
