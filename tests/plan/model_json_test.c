/* Model documents: exact round trips, the short form, and refusals with their place. */
#include "plan/catalog.h"
#include "plan/model.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(plan_model_json);

static galv_status parse(galv_model *model, const char *text, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status =
        galv_json_read_text(&document, "model.json", text, strlen(text), err);
    if (status == GALV_OK) {
        status = galv_model_from_json(model, galv_json_root(document), err);
    }
    galv_json_free(document);
    return status;
}

static void write_model(galv_text *text, const galv_model *model)
{
    galv_err err = GALV_ERR_INIT;
    galv_json_writer writer;
    galv_json_writer_init(&writer, text);
    galv_model_to_json(model, &writer);
    cr_assert_eq(galv_json_finish(&writer, &err), GALV_OK);
}

Test(plan_model_json, every_model_of_the_catalog_round_trips)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_model *models = NULL;
    size_t n_models = 0;
    cr_assert_eq(galv_catalog_models(&models, &n_models, arena, &err), GALV_OK);
    for (size_t i = 0; i < n_models; i++) {
        galv_text text = GALV_TEXT_INIT;
        galv_text again = GALV_TEXT_INIT;
        write_model(&text, &models[i]);
        galv_model read = {0};
        cr_assert_eq(parse(&read, galv_text_string(&text), &err), GALV_OK, "%s: %s",
                     models[i].name, err.message);
        cr_expect(memcmp(&read, &models[i], sizeof read) == 0, "%s", models[i].name);
        write_model(&again, &read);
        cr_expect_str_eq(galv_text_string(&again), galv_text_string(&text));
        galv_text_release(&text);
        galv_text_release(&again);
    }
    galv_arena_free(arena);
}

Test(plan_model_json, the_short_form_means_the_usual_groups)
{
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&model,
                       "{\"name\": \"x\", \"seq_length\": 2048, \"num_layers\": 4,"
                       " \"hidden_size\": 512, \"num_attention_heads\": 8,"
                       " \"vocab_size\": 1000, \"num_experts\": 4,"
                       " \"moe_router_topk\": 2, \"ffn_hidden_size\": 700}",
                       &err),
                 GALV_OK, "%s", err.message);
    const galv_layer_group *block = galv_model_first_block(&model);
    cr_expect_eq(model.n_groups, 3);
    cr_expect_eq(block->kind, GALV_LAYER_MOE_DECODER);
    cr_expect_eq(block->n_layers, 4);
    cr_expect_eq(block->num_query_groups, 8);
    cr_expect_eq(block->kv_channels, 64);
    cr_expect_eq(block->moe_ffn_hidden_size, 700);
    cr_expect_eq(model.groups[0].vocab_size, 1000);
    cr_expect_eq(model.groups[0].num_attention_heads, 0);
}

Test(plan_model_json, wrong_documents_are_refused_at_their_place)
{
#define HEAD  "{\"name\": \"x\", \"seq_length\": 2048, "
#define SHAPE "\"hidden_size\": 512, \"num_attention_heads\": 8, \"vocab_size\": 1000"
    static const char *const wrong[] = {
        "{}",
        "17",
        HEAD "\"num_layers\": 4}",
        HEAD SHAPE "}",
        HEAD SHAPE ", \"num_layers\": 0}",
        HEAD SHAPE ", \"num_layers\": 4.5}",
        HEAD SHAPE ", \"num_layers\": 4, \"hiden_size\": 4}",
        HEAD SHAPE ", \"num_layers\": 4, \"num_query_groups\": 3}",
        HEAD SHAPE ", \"num_layers\": 4, \"kind\": \"decodr\"}",
        HEAD SHAPE ", \"num_layers\": 4, \"kind\": \"head\"}",
        HEAD SHAPE ", \"num_layers\": 4, \"dropout\": -0.5}",
        HEAD SHAPE ", \"num_layers\": 4, \"dropout\": 1}",
        HEAD SHAPE ", \"num_layers\": 4, \"gated_linear_unit\": true}",
        HEAD SHAPE ", \"num_layers\": 4, \"normalization\": \"batchnorm\"}",
        HEAD SHAPE ", \"num_layers\": 4, \"groups\": []}",
        HEAD SHAPE ", \"groups\": [{\"kind\": \"embedding\"}, {\"kind\": \"head\"}]}",
        HEAD SHAPE ", \"groups\": [{\"kind\": \"decoder\"}, {\"kind\": \"decoder\"},"
                   " {\"kind\": \"head\"}]}",
        HEAD SHAPE ", \"groups\": 5}",
        HEAD SHAPE ", \"num_layers\": 4, \"schema\": \"galvatron-sim/plan\"}"};
#undef HEAD
#undef SHAPE
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        galv_model model = {0};
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(parse(&model, wrong[i], &err), GALV_INPUT, "case %s", wrong[i]);
        cr_expect_str_eq(err.file, "model.json", "case %s", wrong[i]);
        cr_expect(err.line >= 1, "case %s", wrong[i]);
        cr_expect_eq(model.n_groups, 0, "case %s", wrong[i]);
    }
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    parse(&model, wrong[6], &err);
    cr_expect(strstr(err.hint, "hidden_size") != NULL, "%s", err.hint);
}
