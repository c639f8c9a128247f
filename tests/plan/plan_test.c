/* Plans: balance, checks with their hints, one line, and documents that round trip. */
#include "plan/catalog.h"
#include "plan/plan.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(plan_plan);

static galv_job make_job(const char *model, const char *cluster, int32_t n_nodes,
                         int64_t batch)
{
    galv_job job = {0};
    galv_err err = GALV_ERR_INIT;
    galv_workload workload = GALV_WORKLOAD_INIT;
    job.workload = workload;
    job.workload.global_batch_size = batch;
    cr_assert_eq(galv_catalog_model(&job.model, model, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_cluster_load(&job.cluster, cluster, n_nodes, &err), GALV_OK, "%s",
                 err.message);
    galv_job_fill_defaults(&job);
    return job;
}

static galv_uniform_plan uniform(int32_t tp, int32_t pp, int32_t dp, int32_t vpp)
{
    galv_uniform_plan u = {GALV_STRATEGY_INIT, pp,  vpp, NULL, 1,
                           GALV_OVERLAP_INIT,  NULL};
    u.strategy.tp = tp;
    u.strategy.dp = dp;
    u.strategy.sp = tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE;
    u.strategy.zero = 1;
    return u;
}

Test(plan_plan, balance_shares_blocks_out_within_one)
{
    int32_t blocks[512];
    for (int32_t pp = 1; pp <= 12; pp++) {
        for (int32_t vpp = 1; vpp <= 5; vpp++) {
            for (int32_t n = pp * vpp; n <= 130; n++) {
                galv_plan_balance(blocks, n, pp, vpp);
                int32_t total = 0, low = n, high = 0;
                int32_t stage_low = n, stage_high = 0;
                for (int32_t stage = 0; stage < pp; stage++) {
                    int32_t held = 0;
                    for (int32_t chunk = 0; chunk < vpp; chunk++) {
                        int32_t b = blocks[chunk * pp + stage];
                        held += b;
                        low = b < low ? b : low;
                        high = b > high ? b : high;
                    }
                    total += held;
                    stage_low = held < stage_low ? held : stage_low;
                    stage_high = held > stage_high ? held : stage_high;
                }
                cr_expect(total == n && high - low <= 1 && stage_high - stage_low <= 1,
                          "n %d pp %d vpp %d", n, pp, vpp);
            }
        }
    }
}

Test(plan_plan, the_remainder_goes_to_the_middle)
{
    int32_t blocks[8];
    galv_plan_balance(blocks, 30, 4, 1);
    static const int32_t expected[] = {7, 8, 8, 7};
    cr_expect(memcmp(blocks, expected, sizeof expected) == 0);
    galv_plan_balance(blocks, 31, 8, 1);
    cr_expect_eq(blocks[7], 3, "the stage with the head has the fewest");
    galv_plan_balance(blocks, 11, 4, 2);
    for (int32_t s = 0; s < 8; s++) {
        cr_expect_eq(blocks[s], s < 3 ? 2 : 1, "virtual stage %d", s);
    }
}

Test(plan_plan, ends_may_have_stages_of_their_own)
{
    int32_t blocks[24];
    galv_plan_balance(blocks, 22, 8, 3);
    for (int32_t s = 0; s < 24; s++) {
        cr_expect_eq(blocks[s], s == 0 || s == 23 ? 0 : 1, "virtual stage %d", s);
    }
    galv_plan_balance(blocks, 23, 8, 3);
    for (int32_t s = 0; s < 24; s++) {
        cr_expect_eq(blocks[s], s == 23 ? 0 : 1, "virtual stage %d", s);
    }
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_job job = make_job("gpt3-175b", "dgx-a100", 98, 64);
    galv_uniform_plan u = uniform(8, 98, 1, 1);
    galv_plan *plan = NULL;
    cr_assert_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_OK, "%s",
                 err.message);
    for (int32_t s = 0; s <= 98; s++) {
        cr_expect_eq(plan->first_layer[s], s);
    }
    galv_arena_free(arena);
}

Test(plan_plan, uniform_plans_put_embedding_first_and_head_last)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_job job = make_job("gpt3-175b", "dgx-a100", 128, 1536);
    galv_uniform_plan u = uniform(8, 16, 8, 3);
    galv_plan *plan = NULL;
    cr_assert_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_expect_str_eq(plan->schedule, "interleaved");
    cr_expect_eq(plan->first_layer[0], 0);
    cr_expect_eq(plan->first_layer[1], 3, "embedding and two blocks");
    cr_expect_eq(plan->first_layer[47], 95);
    cr_expect_eq(plan->first_layer[48], 98);
    cr_expect_eq(galv_plan_n_micro_batches(plan), 192);
    cr_expect_eq(galv_plan_n_devices(plan), 1024);
    cr_expect_eq(galv_plan_local_samples(plan, 50), 1);
    char line[80];
    cr_expect_str_eq(galv_plan_print(line, sizeof line, plan),
                     "tp8 pp16 dp8 v3 mb1 zero1 sp");
    char small[6];
    cr_expect_str_eq(galv_plan_print(small, sizeof small, plan), "tp8 p");
    galv_arena_free(arena);
}

Test(plan_plan, experts_get_ep_and_dense_layers_do_not)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_job job = make_job("deepseek-v3", "dgx-h100", 128, 4096);
    galv_uniform_plan u = uniform(1, 16, 64, 1);
    u.strategy.ep = 64;
    u.strategy.recompute = GALV_RECOMPUTE_FULL;
    galv_plan *plan = NULL;
    cr_assert_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_OK, "%s %s",
                 err.message, err.hint);
    cr_expect_eq(galv_plan_strategy(plan, 0)->ep, 1);
    cr_expect_eq(galv_plan_strategy(plan, 0)->recompute, GALV_RECOMPUTE_NONE);
    cr_expect_eq(galv_plan_strategy(plan, 3)->ep, 1);
    cr_expect_eq(galv_plan_strategy(plan, 4)->ep, 64);
    cr_expect_eq(galv_plan_strategy(plan, 4)->recompute, GALV_RECOMPUTE_FULL);
    char line[80];
    cr_expect_str_eq(galv_plan_print(line, sizeof line, plan),
                     "ep64 pp16 dp64 mb1 zero1 recompute");
    galv_arena_free(arena);
}

Test(plan_plan, stage_blocks_may_be_given)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_job job = make_job("llama3.1-405b", "dgx-h100", 16, 128);
    galv_uniform_plan u = uniform(8, 4, 4, 1);
    static const int32_t blocks[] = {0, 64, 62, 0};
    u.stage_blocks = blocks;
    galv_plan *plan = NULL;
    cr_assert_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_expect_eq(plan->first_layer[1], 1, "the embedding alone");
    cr_expect_eq(plan->first_layer[2], 65);
    cr_expect_eq(plan->first_layer[3], 127, "the head alone");
    static const int32_t too_few[] = {1, 1, 1, 1};
    u.stage_blocks = too_few;
    cr_expect_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_USAGE);
    galv_arena_free(arena);
}

Test(plan_plan, plans_that_do_not_fit_are_refused_with_numbers_that_do)
{
    static const struct {
        int32_t tp, pp, dp, vpp, micro_batch;
        int64_t batch;
        const char *message, *hint;
    } cases[] = {{8, 4, 4, 1, 1, 64, "= 128 devices, the cluster has 64", "dp 2"},
                 {8, 4, 2, 1, 1, 63, "global batch 63", "62 and 64"},
                 {8, 4, 2, 1, 4, 4, "global batch 4", "8"},
                 {8, 4, 2, 1, 0, 64, "micro-batch of 0", ""},
                 {3, 1, 1, 1, 1, 64, "= 3 devices", "must be 64"},
                 {8, 1, 8, 2, 1, 64, "vpp 2 with pp 1", "vpp 1"},
                 {1, 64, 1, 2, 1, 64, "pp 64 * vpp 2", "vpp is at most 1"},
                 {1, 128, 1, 1, 1, 64, "pp 128", "pp is at most 82"},
                 {8, 0, 2, 1, 1, 64, "pp 0", ""},
                 {32, 2, 1, -1, 1, 64, "vpp -1", ""}};
    galv_arena *arena = galv_arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_job job = make_job("llama3-70b", "dgx-h100", 8, cases[i].batch);
        galv_uniform_plan u =
            uniform(cases[i].tp, cases[i].pp, cases[i].dp, cases[i].vpp);
        u.micro_batch_size = cases[i].micro_batch;
        galv_plan *plan = NULL;
        cr_expect_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_USAGE,
                     "case %zu", i);
        cr_expect_null(plan);
        cr_expect(strstr(err.message, cases[i].message) != NULL, "case %zu: %s", i,
                  err.message);
        cr_expect(strstr(err.hint, cases[i].hint) != NULL, "case %zu: %s", i, err.hint);
    }
    galv_arena_free(arena);
}

Test(plan_plan, defaults_make_about_four_million_tokens)
{
    galv_job job = make_job("llama3-8b", "dgx-h100", 64, 0);
    cr_expect_eq(job.workload.seq_length, 8192);
    cr_expect_eq(job.workload.global_batch_size, 512, "512 devices, 4 Mi tokens");
    job = make_job("llama3-8b", "dgx-h100", 3, 0);
    cr_expect_eq(job.workload.global_batch_size % 24, 0);
    cr_expect(llabs(job.workload.global_batch_size * 8192 - 4194304) <= 24 * 8192 / 2);
    job = make_job("llama3-8b", "dgx-h100", 4096, 0);
    cr_expect_eq(job.workload.global_batch_size, 32768, "a sample for each device");
}

/* ---- documents ---- */

static void write_plan(galv_text *text, const galv_job *job, const galv_plan *plan)
{
    galv_err err = GALV_ERR_INIT;
    galv_json_writer writer;
    galv_json_writer_init(&writer, text);
    galv_plan_to_json(job, plan, &writer);
    cr_assert_eq(galv_json_finish(&writer, &err), GALV_OK);
}

static galv_status parse(galv_job *job, galv_plan **plan, const char *text,
                         size_t length, galv_arena *arena, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status = galv_json_read_text(&document, "plan.json", text, length, err);
    if (status == GALV_OK) {
        status = galv_plan_from_json(job, plan, galv_json_root(document), arena, err);
    }
    galv_json_free(document);
    return status;
}

static void make_document(galv_text *text, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_job job = make_job("deepseek-v3", "gb200-nvl72", 64, 2048);
    job.workload.tokens_to_train = 14.8e12 / 3;
    job.cluster.pools[0].inter_efficiency = 1.0 / 3;
    galv_uniform_plan u = uniform(1, 4, 64, 2);
    u.strategy.ep = 32;
    u.overlap.tp_comm = true;
    galv_plan *plan = NULL;
    cr_assert_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_OK, "%s %s",
                 err.message, err.hint);
    plan->group_size = 8;
    write_plan(text, &job, plan);
}

Test(plan_plan, documents_round_trip_to_the_last_bit)
{
    galv_arena *arena = galv_arena_new();
    galv_text text = GALV_TEXT_INIT;
    make_document(&text, arena);
    galv_job job = {0};
    galv_plan *plan = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&job, &plan, galv_text_string(&text), text.length, arena, &err),
                 GALV_OK, "%ld:%ld %s %s", err.line, err.column, err.message, err.hint);
    cr_expect_eq(job.workload.tokens_to_train, 14.8e12 / 3);
    cr_expect_eq(job.cluster.pools[0].inter_efficiency, 1.0 / 3);
    cr_expect_eq(plan->group_size, 8);
    cr_expect_eq(plan->n_strategies, 2);
    galv_text again = GALV_TEXT_INIT;
    write_plan(&again, &job, plan);
    cr_expect_str_eq(galv_text_string(&again), galv_text_string(&text));
    galv_text_release(&text);
    galv_text_release(&again);
    galv_arena_free(arena);
}

Test(plan_plan, results_are_read_for_the_plan_inside)
{
    galv_arena *arena = galv_arena_new();
    galv_text text = GALV_TEXT_INIT;
    galv_text_append(&text, "{\"schema\": \"galvatron-sim/plans\", \"plans\": [{"
                            "\"rank\": 1, \"mfu\": 0.4, \"plan\": ");
    galv_text inner = GALV_TEXT_INIT;
    make_document(&inner, arena);
    galv_text_append(&text, galv_text_string(&inner));
    galv_text_append(&text, "}]}");
    galv_job job = {0};
    galv_plan *plan = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&job, &plan, galv_text_string(&text), text.length, arena, &err),
                 GALV_OK, "%s", err.message);
    cr_expect_eq(plan->pp, 4);
    galv_text_release(&text);
    galv_text_release(&inner);
    galv_arena_free(arena);
}

Test(plan_plan, a_plan_may_be_written_by_hand)
{
    static const char text[] = "{\"model\": \"llama3-70b\", \"cluster\": \"dgx-h100\","
                               " \"n_nodes\": 8, \"tp\": 8, \"pp\": 4, \"zero\": 1,"
                               " \"sp\": \"megatron\", \"global_batch_size\": 64}";
    galv_arena *arena = galv_arena_new();
    galv_job job = {0};
    galv_plan *plan = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&job, &plan, text, strlen(text), arena, &err), GALV_OK, "%s %s",
                 err.message, err.hint);
    cr_expect_eq(galv_plan_strategy(plan, 1)->dp, 2, "what is left of 64");
    cr_expect_eq(galv_plan_n_micro_batches(plan), 32);
    cr_expect_str_eq(plan->schedule, "1f1b");
    cr_expect_eq(job.workload.global_batch_size, 64);
    cr_expect_eq(job.workload.seq_length, 8192);
    galv_arena_free(arena);
}

Test(plan_plan, wrong_documents_are_refused_at_their_place)
{
#define JOB "\"model\": \"llama3-8b\", \"cluster\": \"dgx-h100\", "
    static const char *const wrong[] = {
        "[]",
        "{}",
        "{\"plans\": []}",
        "{\"plans\": [[]]}",
        "{\"model\": \"llama3-8b\", \"tp\": 8}",
        "{\"model\": 3, \"cluster\": \"dgx-h100\"}",
        "{\"model\": \"lama\", \"cluster\": \"dgx-h100\"}",
        "{" JOB "\"tp\": 3}",
        "{" JOB "\"tp\": 8, \"tpp\": 4}",
        "{" JOB "\"tp\": 8, \"dp\": 2}",
        "{" JOB "\"tp\": 1048576, \"cp\": 1048576, \"dp\": 1048576, \"pp\": 32}",
        "{" JOB "\"tp\": 8, \"schedule\": \"no good\"}",
        "{" JOB "\"tp\": 8, \"rank_order\": \"pp-tp\"}",
        "{" JOB "\"tp\": 8, \"sp\": \"megatronn\"}",
        "{" JOB "\"tp\": 8, \"layers\": []}",
        "{" JOB "\"pp\": 8, \"stage_blocks\": [1,2]}",
        "{" JOB "\"pp\": 60000, \"vpp\": 60000, \"stage_blocks\": [1,2]}",
        "{" JOB "\"pp\": 1, \"schedule\": \"none\", \"global_batch_size\": 8,"
        " \"stages\": [34], \"layers\": [{\"n_layers\": 33, \"strategy\": {\"dp\": "
        "8}}]}",
        "{" JOB "\"pp\": 1, \"schedule\": \"none\", \"global_batch_size\": 8,"
        " \"stages\": [33], \"layers\": [{\"n_layers\": 34, \"strategy\": {\"dp\": "
        "8}}]}",
        "{" JOB "\"pp\": 1, \"schedule\": \"none\", \"global_batch_size\": 8,"
        " \"stages\": [34], \"layers\": [{\"n_layers\": 34, \"strategy\": {\"dp\": "
        "0}}]}",
        "{" JOB "\"schema\": \"galvatron-sim/timeline\", \"tp\": 8}"};
#undef JOB
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_job job = {0};
        galv_plan *plan = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(parse(&job, &plan, wrong[i], strlen(wrong[i]), arena, &err),
                     GALV_INPUT, "case %s", wrong[i]);
        cr_expect_str_eq(err.file, "plan.json", "case %s", wrong[i]);
        cr_expect_null(plan);
        cr_expect_eq(job.model.n_groups, 0);
        galv_arena_free(arena);
    }
}

/* What a name says of embedding and head: its end. */
static const char *vocabulary_of(const char *name)
{
    const char *at = strstr(name, " v");
    return at == NULL ? "" : at + 1;
}

Test(plan_plan, plans_that_differ_in_embedding_or_head_alone_have_different_names)
{
    static const char *const text =
        "{\"model\": \"llama2-7b\", \"cluster\": \"dgx-a100\", \"schedule\": \"none\","
        " \"micro_batch_size\": 4, \"global_batch_size\": 64, \"stages\": [34],"
        " \"layers\": [{\"n_layers\": 1, \"strategy\": {%s}},"
        " {\"n_layers\": 32, \"strategy\": {%s}}, {\"n_layers\": 1, \"strategy\": "
        "{%s}}]}";
    static const struct {
        const char *embedding, *blocks, *head, *vocabulary;
    } cases[] = {
        {"\"dp\": 8", "\"dp\": 8", "\"dp\": 8", ""},
        {"\"tp\": 2, \"dp\": 4", "\"dp\": 8", "\"dp\": 8", "vtp2"},
        {"\"dp\": 8", "\"tp\": 2, \"dp\": 4", "\"dp\": 8", "vtp1"},
        {"\"dp\": 8", "\"dp\": 8", "\"tp\": 4, \"dp\": 2", "vtp4"},
        {"\"dp\": 8", "\"dp\": 8", "\"dp\": 8, \"zero\": 3", "vzero3"},
    };
    galv_arena *arena = galv_arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char document[900], line[80];
        snprintf(document, sizeof document, text, cases[i].embedding, cases[i].blocks,
                 cases[i].head);
        galv_job job = {0};
        galv_plan *plan = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(parse(&job, &plan, document, strlen(document), arena, &err),
                     GALV_OK, "case %zu: %s %s", i, err.message, err.hint);
        galv_plan_print(line, sizeof line, plan);
        cr_expect_str_eq(vocabulary_of(line), cases[i].vocabulary, "%s", line);
    }
    galv_arena_free(arena);
}

Test(plan_plan, layers_may_differ_when_samples_divide)
{
    static const char *const text =
        "{\"model\": \"llama2-7b\", \"cluster\": \"dgx-a100\", \"schedule\": \"none\","
        " \"micro_batch_size\": %d, \"global_batch_size\": 64, \"stages\": [34],"
        " \"layers\": [{\"n_layers\": 10, \"strategy\": {\"tp\": 2, \"dp\": 4}},"
        " {\"n_layers\": 24, \"strategy\": {\"dp\": 8, \"zero\": 3}}]}";
    galv_arena *arena = galv_arena_new();
    for (int32_t micro_batch = 1; micro_batch <= 2; micro_batch++) {
        char document[600];
        snprintf(document, sizeof document, text, (int)micro_batch);
        galv_job job = {0};
        galv_plan *plan = NULL;
        galv_err err = GALV_ERR_INIT;
        galv_status status =
            parse(&job, &plan, document, strlen(document), arena, &err);
        if (micro_batch == 1) { /* 4 samples over 8 ranks */
            cr_expect_eq(status, GALV_INPUT);
            cr_expect(strstr(err.hint, "multiples of 2") != NULL, "%s", err.hint);
        } else {
            cr_assert_eq(status, GALV_OK, "%s", err.message);
            cr_expect_eq(galv_plan_local_samples(plan, 20), 1);
            char line[80];
            cr_expect_str_eq(galv_plan_print(line, sizeof line, plan),
                             "tp1/2 dp4/8 mb1/2 zero0/3 per-layer");
        }
    }
    galv_arena_free(arena);
}

Test(plan_plan, truncated_and_damaged_documents_never_crash)
{
    galv_arena *arena = galv_arena_new();
    galv_text text = GALV_TEXT_INIT;
    make_document(&text, arena);
    galv_arena *scratch = galv_arena_new();
    uint32_t random = 12345;
    char *damaged = malloc(text.length + 1);
    /* without its last newline it is whole */
    for (size_t cut = 0; cut + 1 < text.length; cut += 13) {
        galv_job job = {0};
        galv_plan *plan = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_expect_neq(parse(&job, &plan, text.bytes, cut, scratch, &err), GALV_OK);
        memcpy(damaged, text.bytes, text.length + 1);
        for (int i = 0; i < 3; i++) {
            random = random * 1664525u + 1013904223u;
            size_t at = (random >> 8) % text.length;
            damaged[at] = (char)("0123456789-.eE\"{}[]:, "[random % 22]);
        }
        err = (galv_err)GALV_ERR_INIT;
        plan = NULL;
        galv_status status = parse(&job, &plan, damaged, text.length, scratch, &err);
        cr_expect_eq(status == GALV_OK, plan != NULL);
        galv_arena_reset(scratch);
    }
    free(damaged);
    galv_text_release(&text);
    galv_arena_free(scratch);
    galv_arena_free(arena);
}

/* Blocks 1..16 with tp 4, the rest with tp 2, on stages of 20 and 12. */
Test(plan_plan, layers_may_each_have_a_strategy_and_copies_are_whole)
{
    galv_job job = make_job("llama2-7b", "dgx-a100", 2, 64);
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_plan *plan = NULL, *copy = NULL;
    galv_strategy layers[64];
    const int32_t blocks[] = {20, 12};
    char line[128];
    galv_uniform_plan u = uniform(2, 2, 4, 1);
    u.stage_blocks = blocks;
    u.micro_batch_size = 1;
    for (int32_t layer = 0; layer < 34; layer++) {
        layers[layer] = u.strategy;
        if (layer > 0 && layer <= 16) {
            layers[layer].tp = 4;
            layers[layer].dp = 2;
        }
    }
    cr_assert_eq(galv_plan_make_layered(&plan, &job, &u, layers, arena, &err), GALV_OK,
                 "%s", err.message);
    cr_expect_eq(plan->n_strategies, 2);
    cr_expect_eq(plan->first_layer[1], 21);
    for (int32_t layer = 0; layer < 34; layer++) {
        cr_expect(galv_strategy_equal(galv_plan_strategy(plan, layer), &layers[layer]));
    }
    cr_expect_eq(galv_plan_local_samples(plan, 1), 2.0);
    cr_expect_str_eq(galv_plan_print(line, sizeof line, plan),
                     "tp2/4 pp2 dp2/4 mb1/2 zero1 per-layer uneven");
    /* what blocks compute with is named, not what the embedding does */
    cr_expect_eq(galv_plan_micro_batch(plan), 2);
    cr_expect_eq(plan->micro_batch_size, 1);
    cr_assert_eq(galv_plan_copy(&copy, plan, arena, &err), GALV_OK);
    plan->layer_strategy[5] = 0;
    plan->first_layer[1] = 7;
    plan->strategies[1].tp = 1;
    cr_expect(galv_strategy_equal(galv_plan_strategy(copy, 5), &layers[5]));
    cr_expect_eq(copy->first_layer[1], 21);
    layers[3].dp = 3; /* degrees of a layer must multiply to the stage's devices */
    cr_expect_eq(galv_plan_make_layered(&plan, &job, &u, layers, arena, &err),
                 GALV_USAGE);
    galv_arena_free(arena);
}

/* Copies of the same layers step at one pace, so they lie in one pool. */
Test(plan_plan, copies_of_a_layer_lie_in_one_pool)
{
    galv_job job = make_job("llama3-8b", "dgx-h100", 1, 64);
    job.cluster.pools[job.cluster.n_pools++] = job.cluster.pools[0];
    galv_uniform_plan u = uniform(2, 4, 2, 1);
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    galv_plan *plan = NULL;
    cr_expect_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_OK, "%s",
                 err.message);
    u.schedule = "dualpipe";
    cr_expect_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_USAGE);
    cr_expect(strstr(err.message, "stages 0 and 3") != NULL, "%s", err.message);
    job.cluster.n_pools = 1;
    job.cluster.pools[0].n_nodes = 2;
    cr_expect_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_OK, "%s",
                 err.message);
    galv_arena_free(arena);
}
