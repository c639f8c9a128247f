/* Galvatron's strategy files: those that its search wrote (an excerpt, and all recorded
 * runs where they are) and random plans, there and back; and what cannot be said. */
#include "tests/support/leaks.h"
#include "tests/traces/helpers.h"
#include "traces/galvatron_plan.h"

#include "base/file.h"
#include "plan/catalog.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(traces_galvatron_plan);

#define CONFIGS GALV_SOURCE_DIR "/tests/traces/data/galvatron_configs.json"

static galv_job job_of(int32_t n_blocks, int32_t n_nodes, int32_t per_node)
{
    galv_job job;
    memset(&job, 0, sizeof job);
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_catalog_model(&job.model, "llama2-7b", &err), GALV_OK);
    job.model.groups[1].n_layers = n_blocks;
    cr_assert_eq(galv_cluster_from_device(&job.cluster, "a100-sxm-80gb", n_nodes, &err),
                 GALV_OK);
    job.cluster.pools[0].devices_per_node = per_node;
    job.cluster.pools[0].scaleup_domain = per_node;
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.seq_length = 4096;
    return job;
}

static const char *text_of(galv_json_value object, const char *key)
{
    const char *text = "";
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_json_to_string(&text, galv_json_member(object, key), &err),
                 GALV_OK, "%s: %s", key, err.message);
    return text;
}

static int64_t number_of(galv_json_value object, const char *key)
{
    int64_t number = -1;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(
        galv_json_to_i64(&number, galv_json_member(object, key), -1, 1000000000, &err),
        GALV_OK, "%s: %s", key, err.message);
    return number;
}

/* Writes a plan and reads the document again; caller frees it. */
static galv_json *write_document(const galv_job *job, const galv_plan *plan)
{
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    galv_json *document = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_json_writer_init(&writer, &text);
    cr_assert_eq(galv_galvatron_plan_to_json(job, plan, &writer, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_json_finish(&writer, &err), GALV_OK);
    cr_assert_eq(galv_json_read_text(&document, "written", galv_text_string(&text),
                                     text.length, &err),
                 GALV_OK, "%s", err.message);
    galv_text_release(&text);
    return document;
}

/* Is everything of Galvatron's strategy that means something in the one we write? */
static void expect_same_config(galv_json_value theirs, galv_json_value ours,
                               const char *name)
{
    static const char *const texts[] = {"tp_sizes_enc", "tp_consecutive_flags",
                                        "dp_types_enc", "use_sp",
                                        "checkpoint",   "pp_division"};
    static const char *const numbers[] = {
        "pp_deg", "world_size", "global_bsz", "chunks", "vtp", "vsp", "embed_sdp"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_expect_str_eq(text_of(ours, texts[i]), text_of(theirs, texts[i]), "%s: %s",
                         name, texts[i]);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        cr_expect_eq(number_of(ours, numbers[i]), number_of(theirs, numbers[i]),
                     "%s: %s", name, numbers[i]);
    }
    cr_expect_eq(number_of(ours, "vocab_sdp"), number_of(theirs, "embed_sdp"), "%s",
                 name);
    if (number_of(theirs, "pp_deg") > 1) { /* else there is no pipeline */
        cr_expect_str_eq(text_of(ours, "pipeline_type"),
                         text_of(theirs, "pipeline_type"), "%s", name);
    }
    bool all_sharded = strchr(text_of(theirs, "dp_types_enc"), '0') == NULL &&
                       number_of(theirs, "embed_sdp") == 1;
    if (!all_sharded) { /* else nothing has the default type */
        cr_expect_str_eq(text_of(ours, "default_dp_type"),
                         text_of(theirs, "default_dp_type"), "%s", name);
    }
}

/* Returns whether the strategy could be read. */
static bool round_trip(galv_json_value config, int32_t n_blocks, const char *name,
                       galv_arena *arena)
{
    int32_t world = (int32_t)number_of(config, "world_size");
    galv_job job = job_of(n_blocks, world / 8, 8);
    galv_plan *plan = NULL;
    galv_err err = GALV_ERR_INIT;
    if (galv_galvatron_plan_from_json(&job, &plan, config, arena, &err) != GALV_OK) {
        cr_expect_not_null(strstr(err.message, "do not share out"), "%s: %s", name,
                           err.message);
        return false;
    }
    cr_expect_eq(job.workload.global_batch_size, number_of(config, "global_bsz"));
    galv_json *written = write_document(&job, plan);
    expect_same_config(config, galv_json_root(written), name);
    galv_json_free(written);
    return true;
}

Test(traces_galvatron_plan, what_its_search_wrote_comes_back)
{
    galv_json *document = NULL;
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_json_read_file(&document, CONFIGS, &err), GALV_OK, "%s",
                 err.message);
    galv_json_value configs = galv_json_member(galv_json_root(document), "configs");
    size_t n = galv_json_length(configs);
    cr_assert_eq(n, 8);
    for (size_t i = 0; i < n; i++) {
        galv_json_value entry = galv_json_element(configs, i);
        const char *name = text_of(entry, "run");
        bool read = round_trip(galv_json_member(entry, "config"),
                               (int32_t)number_of(entry, "n_layers"), name, arena);
        /* 24 samples in 4 micro-batches over dp 4: its engine floors, we refuse */
        cr_expect_eq(read, strstr(name, "_b24_") == NULL, "%s", name);
    }
    galv_json_free(document);
    galv_arena_free(arena);
}

Test(traces_galvatron_plan, every_recorded_strategy_comes_back)
{
    char folder[1024], path[2048];
    const char *named = getenv("GALV_GOLDEN_DIR");
    snprintf(folder, sizeof folder, "%s/runs",
             named != NULL ? named
                           : GALV_SOURCE_DIR "/../shared/data/galvatron_golden");
    if (!galv_is_folder(folder)) {
        cr_skip_test("no recorded runs here: set GALV_GOLDEN_DIR to their folder");
    }
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    char **names = NULL;
    size_t n_names = 0, n_read = 0, n_refused = 0;
    cr_assert_eq(galv_folder_list(&names, &n_names, folder, arena, &err), GALV_OK);
    for (size_t i = 0; i < n_names; i++) {
        galv_json *document = NULL;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        cr_assert_eq(galv_json_read_file(&document, path, &err), GALV_OK);
        galv_json_value root = galv_json_root(document);
        galv_json_value config =
            galv_json_member(galv_json_member(root, "result"), "galvatron_config");
        if (galv_json_type_of(config) == GALV_JSON_OBJECT) {
            int32_t n_blocks =
                (int32_t)number_of(galv_json_member(root, "request"), "num_layers");
            bool read = round_trip(config, n_blocks, names[i], arena);
            n_read += read;
            n_refused += !read;
        }
        galv_json_free(document);
    }
    cr_expect_gt(n_read, 9 * n_refused, "%zu read, %zu refused", n_read, n_refused);
    galv_arena_free(arena);
}

/* ---- random plans ---- */

static int32_t pick(uint64_t *state, const int32_t *values, int n)
{
    return values[test_random(state) % (uint64_t)n];
}

/* A strategy on `devices` GPUs that Galvatron can say; `zero`: the default type. */
static galv_strategy random_strategy(uint64_t *state, int32_t devices, int32_t zero,
                                     bool is_end)
{
    static const int32_t degrees[] = {1, 2, 4, 8, 16, 32}; /* that divide heads */
    galv_strategy s = GALV_STRATEGY_INIT;
    do {
        s.tp = pick(state, degrees, 6);
        s.cp = pick(state, degrees, 2);
    } while (devices % (s.tp * s.cp) != 0);
    s.dp = devices / s.tp / s.cp;
    s.sp = s.tp == 1                     ? GALV_SP_NONE
           : test_random(state) % 2 == 0 ? GALV_SP_ULYSSES
                                         : GALV_SP_MEGATRON;
    s.zero = test_random(state) % 3 == 0 ? 3 : zero;
    if (galv_strategy_gradient_ranks(&s) == 1) {
        s.zero = zero;
    }
    s.recompute = !is_end && test_random(state) % 2 == 0 ? GALV_RECOMPUTE_FULL
                                                         : GALV_RECOMPUTE_NONE;
    return s;
}

static galv_plan *random_plan(const galv_job *job, uint64_t *state, galv_arena *arena)
{
    static const int32_t depths[] = {1, 2, 3, 4, 6};
    int32_t n_devices = (int32_t)galv_cluster_n_devices(&job->cluster);
    int32_t zero = test_random(state) % 2 == 0 ? 0 : 2;
    galv_plan *plan = GALV_NEW(arena, galv_plan);
    do {
        plan->pp = pick(state, depths, 5);
    } while (n_devices % plan->pp != 0);
    plan->vpp = 1;
    plan->n_layers = galv_model_n_layers(&job->model);
    plan->overlap = (galv_overlap)GALV_OVERLAP_INIT;
    snprintf(plan->schedule, sizeof plan->schedule, "%s",
             plan->pp == 1                 ? "none"
             : test_random(state) % 2 == 0 ? "gpipe"
                                           : "1f1b");
    snprintf(plan->rank_order, sizeof plan->rank_order, "tp-cp-dp-pp");
    plan->strategies = GALV_NEW_ARRAY(arena, galv_strategy, plan->n_layers);
    plan->layer_strategy = GALV_NEW_ARRAY(arena, int32_t, plan->n_layers);
    plan->first_layer = GALV_NEW_ARRAY(arena, int32_t, plan->pp + 1);
    for (int32_t i = 0; i + 1 < plan->n_layers; i++) {
        plan->strategies[i] =
            random_strategy(state, n_devices / plan->pp, zero, i == 0);
        plan->layer_strategy[i] = i;
    }
    plan->n_strategies = plan->n_layers - 1;
    plan->layer_strategy[plan->n_layers - 1] = 0;
    for (int32_t s = 1; s < plan->pp; s++) { /* a block for each stage at least */
        int32_t left = plan->n_layers - 1 - (plan->pp - s);
        int32_t least = plan->first_layer[s - 1] + (s == 1 ? 2 : 1);
        plan->first_layer[s] =
            least + (int32_t)(test_random(state) % (uint64_t)(left - least + 1));
    }
    plan->first_layer[plan->pp] = plan->n_layers;
    plan->micro_batch_size = n_devices; /* divides whatever dp is */
    plan->global_batch_size = (int64_t)n_devices * plan->strategies[0].dp *
                              (1 + (int64_t)(test_random(state) % 5));
    return plan;
}

Test(traces_galvatron_plan, random_plans_come_back_unchanged)
{
    galv_arena *arena = galv_arena_new();
    uint64_t state = 20261122;
    for (int i = 0; i < 500; i++) {
        galv_job job = job_of(8 + (int32_t)(test_random(&state) % 24),
                              1 + (int32_t)(test_random(&state) % 3), 8);
        galv_plan *plan = random_plan(&job, &state, arena);
        job.workload.global_batch_size = plan->global_batch_size;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_plan_check(plan, &job, &err), GALV_OK, "case %d: %s", i,
                     err.message);
        galv_json *document = write_document(&job, plan);
        galv_plan *again = NULL;
        job.workload.global_batch_size = 0;
        cr_assert_eq(galv_galvatron_plan_from_json(
                         &job, &again, galv_json_root(document), arena, &err),
                     GALV_OK, "case %d: %s", i, err.message);
        galv_json_free(document);
        cr_expect_eq(again->pp, plan->pp, "case %d", i);
        cr_expect_eq(again->micro_batch_size, plan->micro_batch_size, "case %d", i);
        cr_expect_eq(job.workload.global_batch_size, plan->global_batch_size, "case %d",
                     i);
        cr_expect_str_eq(again->schedule, plan->schedule, "case %d", i);
        for (int32_t s = 0; s <= plan->pp; s++) {
            cr_expect_eq(again->first_layer[s], plan->first_layer[s], "case %d", i);
        }
        for (int32_t layer = 0; layer < plan->n_layers; layer++) {
            const galv_strategy *a = galv_plan_strategy(plan, layer);
            const galv_strategy *b = galv_plan_strategy(again, layer);
            galv_strategy moot = *b; /* zero of one rank */
            if (galv_strategy_gradient_ranks(a) == 1) {
                moot.zero = a->zero;
            }
            cr_expect(galv_strategy_equal(a, &moot), "case %d, layer %d", i,
                      (int)layer);
        }
        galv_arena_reset(arena);
    }
    galv_arena_free(arena);
}

/* ---- what cannot be said ---- */

typedef void change(galv_plan *plan);

static void use_zero1(galv_plan *plan)
{
    plan->strategies[0].zero = 1;
}
static void use_selective(galv_plan *plan)
{
    plan->strategies[0].recompute = GALV_RECOMPUTE_SELECTIVE;
}
static void use_plain_tp(galv_plan *plan)
{
    plan->strategies[0].sp = GALV_SP_NONE;
}
static void use_interleaved(galv_plan *plan)
{
    plan->vpp = 2;
}
static void use_zero_bubble(galv_plan *plan)
{
    snprintf(plan->schedule, sizeof plan->schedule, "zb-h1");
}
static void use_tp_overlap(galv_plan *plan)
{
    plan->overlap.tp_comm = true;
}
static void use_other_head(galv_plan *plan)
{
    plan->strategies[1] = plan->strategies[0];
    plan->strategies[1].zero = 3;
    plan->n_strategies = 2;
    plan->layer_strategy[plan->n_layers - 1] = 1;
}
static void use_both_defaults(galv_plan *plan)
{
    plan->strategies[1] = plan->strategies[0];
    plan->strategies[1].zero = 0;
    plan->n_strategies = 2;
    plan->layer_strategy[5] = 1;
}
static void use_empty_stage(galv_plan *plan)
{
    plan->first_layer[1] = 1;
}

Test(traces_galvatron_plan, what_cannot_be_said_is_refused_with_the_nearest)
{
    static const struct {
        change *apply;
        const char *message, *hint;
    } cases[] = {
        {use_zero1, "zero 1", "zero 2"},
        {use_selective, "selective", "full"},
        {use_plain_tp, "sp none", "sp megatron"},
        {use_interleaved, "vpp 2", "1f1b"},
        {use_zero_bubble, "zb-h1", "1f1b"},
        {use_tp_overlap, "tp_comm", "not of tp_comm"},
        {use_other_head, "head", "embedding"},
        {use_both_defaults, "zero 0 (layer 5) beside zero 2 (layer 0)", "zero 2"},
        {use_empty_stage, "stage 0", "a block"},
    };
    galv_arena *arena = galv_arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_job job = job_of(16, 1, 8);
        job.workload.global_batch_size = 32;
        galv_uniform_plan uniform = {.strategy = GALV_STRATEGY_INIT,
                                     .pp = 2,
                                     .vpp = 1,
                                     .micro_batch_size = 2,
                                     .overlap = GALV_OVERLAP_INIT};
        uniform.strategy.tp = 2;
        uniform.strategy.dp = 2;
        uniform.strategy.zero = 2;
        uniform.strategy.sp = GALV_SP_MEGATRON;
        galv_plan *plan = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_plan_make_uniform(&plan, &job, &uniform, arena, &err),
                     GALV_OK, "%s", err.message);
        cases[i].apply(plan);
        galv_text text = GALV_TEXT_INIT;
        galv_json_writer writer;
        galv_json_writer_init(&writer, &text);
        cr_expect_eq(galv_galvatron_plan_to_json(&job, plan, &writer, &err), GALV_USAGE,
                     "case %zu", i);
        cr_expect_not_null(strstr(err.message, cases[i].message), "case %zu: %s", i,
                           err.message);
        cr_expect_not_null(strstr(err.hint, cases[i].hint), "case %zu: %s", i,
                           err.hint);
        cr_expect_eq(text.length, 0, "case %zu wrote", i);
        galv_text_release(&text);
    }
    galv_arena_free(arena);
}

/* A strategy of two blocks on two GPUs; `change` stands for one of its lines. */
static galv_status read_changed(const char *key, const char *line, galv_err *err)
{
    static const char *const lines[][2] = {
        {"pp_deg", "\"pp_deg\": 1"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": \"1,2\""},
        {"tp_consecutive_flags", "\"tp_consecutive_flags\": \"1,1\""},
        {"dp_types_enc", "\"dp_types_enc\": \"0,1\""},
        {"use_sp", "\"use_sp\": \"0,1\""},
        {"checkpoint", "\"checkpoint\": \"0,1\""},
        {"world_size", "\"world_size\": 2"},
        {"global_bsz", "\"global_bsz\": 4"},
        {"chunks", "\"chunks\": 2"},
        {"pp_division", "\"pp_division\": \"2\""},
        {"pipeline_type", "\"pipeline_type\": \"gpipe\""},
        {"default_dp_type", "\"default_dp_type\": \"ddp\""},
        {"vtp", "\"vtp\": 1"},
        {"vsp", "\"vsp\": 0"},
        {"embed_sdp", "\"embed_sdp\": 1"},
        {"vocab_sdp", "\"vocab_sdp\": 1"}};
    galv_text text = GALV_TEXT_INIT;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        bool changed = strcmp(lines[i][0], key) == 0;
        galv_text_printf(&text, "%s%s", i == 0 ? "{" : ",\n",
                         changed ? line : lines[i][1]);
    }
    galv_text_append(&text, "}");
    galv_json *document = NULL;
    galv_arena *arena = galv_arena_new();
    galv_job job = job_of(2, 1, 2);
    galv_plan *plan = NULL;
    galv_status status = galv_json_read_text(&document, "config.json",
                                             galv_text_string(&text), text.length, err);
    if (status == GALV_OK) {
        status = galv_galvatron_plan_from_json(&job, &plan, galv_json_root(document),
                                               arena, err);
    }
    cr_expect_eq(status == GALV_OK, plan != NULL);
    galv_json_free(document);
    galv_arena_free(arena);
    galv_text_release(&text);
    return status;
}

Test(traces_galvatron_plan, wrong_files_are_refused_at_the_field)
{
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(read_changed("", "", &err), GALV_OK, "%s", err.message);
    static const struct {
        const char *key, *line, *message;
    } cases[] = {
        {"pp_deg", "\"pp_deg\": 3", "3"},
        {"pp_deg", "\"pp_deg\": 0", "0"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": \"1,2,1\"", "3 numbers, 2"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": \"1,x\"", "near 'x'"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": \"1,\"", "whole numbers"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": \"\"", "whole numbers"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": \"1,99999999999999999999\"", "not in 1"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": \"1,-1\"", "near '-1'"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": \"1,0\"", "not in 1"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": \"1,4\"", "divide"},
        {"tp_sizes_enc", "\"tp_sizes_enc\": 2", "a string"},
        {"dp_types_enc", "\"dp_types_enc\": \"0,2\"", "not in 0 .. 1"},
        {"dp_types_enc", "\"vsq\": 0", "dp_types_enc"},
        {"checkpoint", "\"checkpoint\": \"2,0\"", "not in 0 .. 1"},
        {"world_size", "\"world_size\": 16", "the cluster has 2"},
        {"chunks", "\"chunks\": 3", "do not share out"},
        {"chunks", "\"chunks\": -1", "-1"},
        {"pp_division", "\"pp_division\": \"3\"", "3 blocks, the model has 2"},
        {"pp_division", "\"pp_division\": \"1,1\"", "2 numbers, 1"},
        {"pipeline_type", "\"pipeline_type\": \"1f1b\"", "1f1b"},
        {"default_dp_type", "\"default_dp_type\": \"zero1\"", "zero1"},
        {"vocab_sdp", "\"vocab_sdp\": 0", "two names"},
        {"vtp", "\"vtp_\": 1", "vtp_"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        err = (galv_err)GALV_ERR_INIT;
        cr_expect_eq(read_changed(cases[i].key, cases[i].line, &err), GALV_INPUT,
                     "case %zu", i);
        cr_expect_not_null(strstr(err.message, cases[i].message), "case %zu: %s", i,
                           err.message);
        cr_expect_str_eq(err.file, "config.json", "case %zu", i);
    }
}

Test(traces_galvatron_plan, the_runtimes_rare_fields_are_read_and_written)
{
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(read_changed("tp_sizes_enc",
                              "\"tp_sizes_enc\": \"1,1\", \"cp_sizes_enc\": \"2,1\", "
                              "\"vcp\": 2",
                              &err),
                 GALV_OK, "%s", err.message);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(read_changed("vsp", "\"tp_of_ep_sizes_enc\": \"1,2\"", &err),
                 GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "experts"), "%s", err.message);
    err = (galv_err)GALV_ERR_INIT; /* a dense model has no experts to spread */
    cr_expect_eq(read_changed("vsp", "\"ep_sizes_enc\": \"1,2\"", &err), GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "ep 2"), "%s", err.message);
}
