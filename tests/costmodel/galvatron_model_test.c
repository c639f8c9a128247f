/* Galvatron's cost model equals the published engine. A few of the engine's values are
 * in tests/costmodel/data/galvatron_values.json; the whole set of recorded runs is
 * compared where it is there (GALV_GOLDEN_DIR, or ../shared/data/galvatron_golden
 * beside the source). */
#include "tests/costmodel/galvatron_values.h"
#include "tests/support/leaks.h"

#include "base/file.h"
#include "plan/catalog.h"
#include "traces/galvatron_plan.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(costmodel_galvatron);

#define VALUES GALV_SOURCE_DIR "/tests/costmodel/data/galvatron_values.json"

static galv_json *read_json(const char *path)
{
    galv_json *document = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_json_read_file(&document, path, &err), GALV_OK, "%s: %s", path,
                 err.message);
    return document;
}

Test(costmodel_galvatron, values_equal_the_engines_to_nine_digits)
{
    galv_json *document = read_json(VALUES);
    galv_json_value sets = galv_json_member(galv_json_root(document), "sets");
    size_t n_values = 0;
    for (size_t i = 0; i < galv_json_length(sets); i++) {
        char name[32];
        snprintf(name, sizeof name, "set %zu", i);
        n_values += test_galvatron_document(galv_json_element(sets, i), name);
    }
    cr_expect_gt(n_values, 400, "%zu values", n_values);
    galv_json_free(document);
}

/* ---- every recorded run, where they are ---- */

static const char *golden_folder(char *buffer, size_t size)
{
    const char *named = getenv("GALV_GOLDEN_DIR");
    snprintf(buffer, size, "%s",
             named != NULL ? named
                           : GALV_SOURCE_DIR "/../shared/data/galvatron_golden");
    return galv_is_folder(buffer) ? buffer : NULL;
}

static size_t compare_folder(const char *folder, const char *part, size_t *n_files)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    char path[1024];
    char **names = NULL;
    size_t n_names = 0, n_values = 0;
    snprintf(path, sizeof path, "%s/%s", folder, part);
    cr_assert_eq(galv_folder_list(&names, &n_names, path, arena, &err), GALV_OK, "%s",
                 err.message);
    for (size_t i = 0; i < n_names; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", folder, part, names[i]);
        galv_json *document = read_json(path);
        n_values += test_galvatron_document(galv_json_root(document), names[i]);
        galv_json_free(document);
    }
    *n_files += n_names;
    galv_arena_free(arena);
    return n_values;
}

Test(costmodel_galvatron, every_recorded_value_equals_the_engines)
{
    char buffer[1024];
    const char *folder = golden_folder(buffer, sizeof buffer);
    if (folder == NULL) {
        cr_skip_test("no recorded runs here: set GALV_GOLDEN_DIR to their folder");
    }
    size_t n_files = 0;
    size_t n_values = compare_folder(folder, "tables", &n_files);
    n_values += compare_folder(folder, "runs", &n_files);
    cr_expect_gt(n_values, 10 * n_files, "%zu values in %zu files", n_values, n_files);
}

/* ---- from the files ---- */

#define PROFILE GALV_SOURCE_DIR "/tests/cli/data/galvatron-1x8"

/* llama2-7b on one node of eight A100, 2048 tokens: what the shipped profiles are of.
 */
static galv_job shipped_job(void)
{
    galv_job job;
    memset(&job, 0, sizeof job);
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_catalog_model(&job.model, "llama2-7b", &err), GALV_OK);
    cr_assert_eq(galv_cluster_from_device(&job.cluster, "a100-sxm-80gb", 1, &err),
                 GALV_OK);
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.seq_length = 2048;
    job.workload.global_batch_size = 64;
    return job;
}

static galv_galvatron_inputs shipped_inputs(void)
{
    galv_job job = shipped_job();
    galv_galvatron_inputs inputs;
    galv_galvatron_inputs_options options = {.folder = PROFILE,
                                             .time_mode = GALV_GALVATRON_TIME_BATCH};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_galvatron_inputs_read(&inputs, &job, &options, &err), GALV_OK,
                 "%s: %s", err.file, err.message);
    return inputs;
}

static void near(double ours, double theirs, double tolerance, const char *what)
{
    cr_expect(fabs(ours - theirs) <= tolerance * fmax(fabs(ours), fabs(theirs)),
              "%s: %.17g, Galvatron %.17g", what, ours, theirs);
}

static void near_tables(const galv_galvatron_by_degree *ours,
                        const galv_galvatron_by_degree *theirs, const char *what)
{
    for (int32_t i = 0; i < theirs->n; i++) {
        double value = NAN;
        if (theirs->degrees[i] > 1 || theirs->values[i] > 0) { /* one rank: 0 */
            cr_expect(galv_galvatron_at_degree(&value, ours, theirs->degrees[i]),
                      "%s of %d is missing", what, (int)theirs->degrees[i]);
            near(value, theirs->values[i], 1e-9, what);
        }
    }
}

static void near_times(const galv_galvatron_collective *ours,
                       const galv_galvatron_collective *theirs)
{
    cr_assert_eq(ours->n, theirs->n);
    for (int32_t g = 0; g < ours->n; g++) {
        const galv_galvatron_times *a = &ours->groups[g];
        const galv_galvatron_times *b = &theirs->groups[g];
        cr_assert_eq(a->n_ranks, b->n_ranks);
        cr_assert_eq(a->n, b->n);
        for (int32_t i = 0; i < a->n; i++) {
            near(a->message_mib[i], b->message_mib[i], 0, "message");
            near(a->time_ms[i], b->time_ms[i], 1e-12, "time");
        }
        near(a->line.slope, b->line.slope, 1e-8, "slope");
        near(a->line.constant, b->line.constant, 1e-8, "constant");
    }
}

/* Its curve fits stop at 1e-8, ours are exact. */
static void near_inputs(const galv_galvatron_inputs *ours,
                        const galv_galvatron_inputs *theirs)
{
    near(ours->layer_ms.slope, theirs->layer_ms.slope, 1e-8, "layer's slope");
    near(ours->layer_ms.constant, theirs->layer_ms.constant, 1e-7, "layer's constant");
    near(ours->ends_ms.slope, theirs->ends_ms.slope, 1e-8, "ends' slope");
    near(ours->ends_ms.constant, theirs->ends_ms.constant, 1e-7, "ends' constant");
    near(ours->parameter_mib, theirs->parameter_mib, 1e-12, "parameters");
    near(ours->checkpoint_mib, theirs->checkpoint_mib, 1e-12, "checkpoint");
    near(ours->overlap, theirs->overlap, 1e-12, "overlap");
    near_tables(&ours->activation_mib, &theirs->activation_mib, "activations");
    for (int place = 0; place < GALV_GALVATRON_N_PLACES; place++) {
        near_tables(&ours->ends[place].states_mib, &theirs->ends[place].states_mib,
                    "ends' states");
        near_tables(&ours->ends[place].activation_mib,
                    &theirs->ends[place].activation_mib, "ends' activations");
    }
    near_tables(&ours->consecutive_ms_per_mib, &theirs->consecutive_ms_per_mib,
                "consecutive ranks");
    near_tables(&ours->strided_ms_per_mib, &theirs->strided_ms_per_mib,
                "strided ranks");
    near_tables(&ours->p2p_ms_per_mib, &theirs->p2p_ms_per_mib, "messages");
    near_times(&ours->all_gather, &theirs->all_gather);
    near_times(&ours->all_to_all, &theirs->all_to_all);
}

Test(costmodel_galvatron, files_are_read_as_galvatron_reads_them)
{
    galv_json *document = read_json(VALUES);
    galv_json_value set =
        galv_json_element(galv_json_member(galv_json_root(document), "sets"), 0);
    galv_galvatron_inputs theirs, ours = shipped_inputs();
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(
        galv_galvatron_inputs_from_run(&theirs, galv_json_member(set, "request"),
                                       galv_json_member(set, "resolved_inputs"), &err),
        GALV_OK);
    cr_expect_eq(ours.n_layers, theirs.n_layers);
    cr_expect_eq(ours.hidden_size, theirs.hidden_size);
    cr_expect_eq(ours.n_devices, theirs.n_devices);
    near_inputs(&ours, &theirs);
    galv_json_free(document);
}

static const char *member_text(galv_json_value object, const char *key)
{
    const char *text = "";
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_json_to_string(&text, galv_json_member(object, key), &err),
                 GALV_OK, "%s", err.message);
    return text;
}

/* The inputs of a recorded run, from the files that it names. */
static void compare_files(const char *folder, const char *name,
                          galv_json_value document)
{
    galv_json_value request = galv_json_member(document, "request");
    char model_folder[2048], hardware_folder[2048];
    galv_galvatron_inputs theirs, ours;
    galv_job job = shipped_job();
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(
        galv_galvatron_inputs_from_run(
            &theirs, request, galv_json_member(document, "resolved_inputs"), &err),
        GALV_OK);
    snprintf(model_folder, sizeof model_folder, "%s/%s", folder,
             member_text(request, "config_dir"));
    snprintf(hardware_folder, sizeof hardware_folder, "%s/%s", folder,
             member_text(request, "hw_dir"));
    job.workload.seq_length = theirs.seq_length;
    cr_assert_eq(galv_cluster_set_nodes(&job.cluster, theirs.n_devices / 8, &err),
                 GALV_OK);
    galv_galvatron_inputs_options options = {.folder = model_folder,
                                             .hardware_folder = hardware_folder};
    const char *time_mode = member_text(request, "time_profile_mode");
    const char *memory_mode = member_text(request, "memory_profile_mode");
    for (int mode = 0; mode < 3; mode++) {
        if (strcmp(time_mode, galv_galvatron_time_mode_names[mode]) == 0) {
            options.time_mode = (galv_galvatron_time_mode)mode;
        }
    }
    options.memory_mode = strcmp(memory_mode, "sequence") == 0
                              ? GALV_GALVATRON_MEMORY_SEQUENCE
                              : GALV_GALVATRON_MEMORY_STATIC;
    cr_assert_eq(galv_galvatron_inputs_read(&ours, &job, &options, &err), GALV_OK,
                 "%s: %s: %s", name, err.file, err.message);
    near_inputs(&ours, &theirs);
}

Test(costmodel_galvatron, files_of_every_recorded_run_give_its_inputs)
{
    char buffer[1024], path[2048];
    const char *folder = golden_folder(buffer, sizeof buffer);
    if (folder == NULL) {
        cr_skip_test("no recorded runs here: set GALV_GOLDEN_DIR to their folder");
    }
    static const char *const runs[] = {
        "fab_8x8_m24_b64",
        "llama2-7b_1x8_m24_b64_pipedream_flush_zero2",
        "llama2-7b_2x8_m24_b16_pipedream_flush_zero2_sptime-from-1node",
        "tests_fixture_llama28_seq8192_fine",
        "tests_fixture_static_seq4096_m24_b16",
        "variant_static_m36_b32"};
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        snprintf(path, sizeof path, "%s/runs/%s.json", folder, runs[i]);
        galv_json *document = read_json(path);
        compare_files(folder, runs[i], galv_json_root(document));
        galv_json_free(document);
    }
}

Test(costmodel_galvatron, what_the_files_lack_is_named)
{
    galv_job job = shipped_job();
    galv_galvatron_inputs inputs;
    galv_galvatron_inputs_options batch = {.folder = PROFILE,
                                           .time_mode = GALV_GALVATRON_TIME_BATCH};
    galv_err err = GALV_ERR_INIT;
    galv_galvatron_inputs_options options = batch;
    options.time_mode = GALV_GALVATRON_TIME_SEQUENCE; /* one length only */
    cr_expect_eq(galv_galvatron_inputs_read(&inputs, &job, &options, &err), GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "sequence lengths"), "%s", err.message);

    err = (galv_err)GALV_ERR_INIT;
    options = batch;
    options.without_sequence_parallel = true; /* only keys ending in _sp */
    cr_expect_eq(galv_galvatron_inputs_read(&inputs, &job, &options, &err), GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "'layertype_0' is missing"), "%s",
                       err.message);

    err = (galv_err)GALV_ERR_INIT;
    job.workload.seq_length = 1024;
    cr_expect_eq(galv_galvatron_inputs_read(&inputs, &job, &batch, &err), GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "1024"), "%s", err.message);

    err = (galv_err)GALV_ERR_INIT;
    job = shipped_job();
    cr_assert_eq(galv_cluster_set_nodes(&job.cluster, 2, &err), GALV_OK);
    cr_expect_eq(galv_galvatron_inputs_read(&inputs, &job, &batch, &err), GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "allreduce_bandwidth_2nodes"), "%s",
                       err.message);

    err = (galv_err)GALV_ERR_INIT;
    job = shipped_job();
    job.workload.precision = GALV_FP8;
    cr_expect_eq(galv_galvatron_inputs_read(&inputs, &job, &batch, &err), GALV_USAGE);
    cr_expect_not_null(strstr(err.message, "fp8"), "%s", err.message);
}

/* ---- closed forms ---- */

Test(costmodel_galvatron, pipeline_looks_at_the_first_and_last_stage_only)
{
    /* stages of 1, 2, 1, 1 s and 16 micro-batches: the formula says 20 s, a 1F1B
     * schedule takes 33.67 s */
    galv_galvatron_stage stages[4] = {{0, 1, 0}, {0, 2, 0}, {0, 1, 0}, {0, 1, 0}};
    near(galv_galvatron_pipeline_s(stages, 4, 16), 20, 1e-15, "slow middle");
    /* equal stages: (n + p - 1) t */
    for (int s = 0; s < 4; s++) {
        stages[s] = (galv_galvatron_stage){0, 0.5, 0};
    }
    near(galv_galvatron_pipeline_s(stages, 4, 16), 9.5, 1e-15, "equal stages");
    near(galv_galvatron_pipeline_s(stages, 1, 16), 8, 1e-15, "one stage");
    /* fewer micro-batches than stages, of 10, 1, 1, 1 s: 13 s and another 1 s */
    galv_galvatron_stage uneven[4] = {{0, 10, 0}, {0, 1, 0}, {0, 1, 0}, {0, 1, 0}};
    near(galv_galvatron_pipeline_s(uneven, 4, 2), 14, 1e-15, "few micro-batches");
    /* a reduction that outlasts its stage's passes is added */
    stages[0].sync_s = 0.75;
    near(galv_galvatron_pipeline_s(stages, 1, 1), 0.75, 1e-15, "exposed reduction");
}

Test(costmodel_galvatron, a_fifth_is_kept_free_above_twenty_gibibytes)
{
    near(galv_galvatron_reserve_mib(20 * 1024), 0, 0, "20 GiB");
    near(21 * 1024 - galv_galvatron_reserve_mib(21 * 1024), 17204, 0, "21 GiB");
    near(galv_galvatron_reserve_mib(80 * 1024), 16384, 0, "80 GiB");
}

static galv_strategy strategy_of(int32_t tp, int32_t dp, int32_t zero, galv_sp sp)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = tp;
    s.dp = dp;
    s.zero = zero;
    s.sp = tp > 1 ? sp : GALV_SP_NONE;
    return s;
}

Test(costmodel_galvatron, switching_is_charged_a_hundred_times_and_ties_are_broken)
{
    galv_galvatron_inputs inputs = shipped_inputs();
    galv_galvatron_task task = {1, 1, 8, false};
    galv_strategy one = strategy_of(1, 8, 2, GALV_SP_NONE);
    galv_strategy two = strategy_of(2, 4, 2, GALV_SP_MEGATRON);
    galv_strategy swapped = strategy_of(2, 4, 2, GALV_SP_ULYSSES);
    galv_strategy sharded = strategy_of(2, 4, 3, GALV_SP_MEGATRON);
    galv_strategy again = two;
    again.recompute = GALV_RECOMPUTE_FULL;
    galv_strategy both = again;
    both.zero = 3;
    galv_err err = GALV_ERR_INIT;
    double cost = 0;
    /* K 2: half of two samples (batch 8 over dp 4) of 16 MiB at 138.156 MiB/ms */
    cr_assert_eq(galv_galvatron_switch_cost(&cost, &inputs, &task, &one, &two, &err),
                 GALV_OK);
    near(cost, 16777216 / 138.156 * 1e-7, 1e-12, "1 to 2");
    const struct {
        const galv_strategy *from, *to;
        double cost_s;
    } ties[] = {
        {&two, &swapped, 1e-10}, {&swapped, &two, 0},     {&two, &sharded, 1e-9},
        {&sharded, &two, 0},     {&two, &again, 2e-9},    {&two, &both, 3e-9},
        {&again, &both, 3e-9},   {&sharded, &both, 3e-9}, {&sharded, &again, 1e-9},
        {&again, &sharded, 0},   {&two, &two, 0}};
    for (size_t i = 0; i < sizeof ties / sizeof ties[0]; i++) {
        cr_assert_eq(galv_galvatron_switch_cost(&cost, &inputs, &task, ties[i].from,
                                                ties[i].to, &err),
                     GALV_OK);
        cr_expect(cost <= ties[i].cost_s && cost >= ties[i].cost_s,
                  "case %zu: %g, not %g", i, cost, ties[i].cost_s);
    }
}

Test(costmodel_galvatron, samples_that_do_not_divide_are_free)
{
    galv_galvatron_inputs inputs = shipped_inputs();
    galv_strategy s = strategy_of(2, 4, 2, GALV_SP_MEGATRON);
    galv_galvatron_part seven, four;
    galv_err err = GALV_ERR_INIT;
    galv_galvatron_task task = {1, 8, 56, false}; /* 7 samples over dp 4 */
    cr_assert_eq(galv_galvatron_layer_cost(&seven, &inputs, &task, &s, &err), GALV_OK);
    task.global_batch_size = 32;
    cr_assert_eq(galv_galvatron_layer_cost(&four, &inputs, &task, &s, &err), GALV_OK);
    near(seven.sync_s, four.sync_s, 0, "7 samples and 4");
}

Test(costmodel_galvatron, what_it_cannot_cost_is_refused_with_the_nearest)
{
    galv_galvatron_inputs inputs = shipped_inputs();
    galv_galvatron_task task = {1, 1, 8, false};
    galv_strategy good = strategy_of(2, 4, 2, GALV_SP_MEGATRON);
    galv_strategy cases[8];
    for (int i = 0; i < 8; i++) {
        cases[i] = good;
    }
    cases[0].zero = 1;
    cases[1].cp = 2;
    cases[2].ep = 2;
    cases[3].recompute = GALV_RECOMPUTE_SELECTIVE;
    cases[4].sp = GALV_SP_NONE;
    cases[5].dp = 8;
    cases[6].tp = 1; /* of what should be 8 devices, 4 */
    cases[7].zero = 7;
    static const char *const words[] = {"ZeRO-1",    "cp 2",    "ep 2",
                                        "selective", "sp none", "8 devices",
                                        "8 devices", "ZeRO-7"};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_galvatron_check(&inputs, &task, &good, &err), GALV_OK);
    for (int i = 0; i < 8; i++) {
        err = (galv_err)GALV_ERR_INIT;
        cr_expect_eq(galv_galvatron_check(&inputs, &task, &cases[i], &err), GALV_USAGE,
                     "case %d", i);
        cr_expect_not_null(strstr(err.message, words[i]), "case %d: %s", i,
                           err.message);
    }
    task.global_batch_size = 2;
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_galvatron_check(&inputs, &task, &good, &err), GALV_USAGE);
    cr_expect_not_null(strstr(err.message, "without a sample"), "%s", err.message);
}

/* ---- plans of ours ---- */

static galv_plan *strategy_file(galv_job *job, galv_json_value config,
                                galv_arena *arena)
{
    galv_plan *plan = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_status status = galv_galvatron_plan_from_json(job, &plan, config, arena, &err);
    if (status != GALV_OK) { /* samples that its engine loses */
        cr_expect_not_null(strstr(err.message, "do not share out"), "%s", err.message);
    }
    return plan;
}

Test(costmodel_galvatron, a_strategy_file_costs_what_its_search_said)
{
    galv_arena *arena = galv_arena_new();
    galv_job job = shipped_job();
    galv_galvatron_inputs inputs = shipped_inputs();
    galv_galvatron_cost cost;
    galv_err err = GALV_ERR_INIT;
    galv_json *document =
        read_json(GALV_SOURCE_DIR "/tests/cli/data/galvatron-config.json");
    galv_plan *plan = strategy_file(&job, galv_json_root(document), arena);
    cr_assert_not_null(plan);
    cr_assert_eq(galv_galvatron_plan_cost(&cost, &inputs, plan, 24 * 1024, arena, &err),
                 GALV_OK, "%s", err.message);
    near(cost.iteration_s, 5.056953720833461, 1e-9, "iteration");
    near(cost.samples_per_s, 12.655840557989494, 1e-9, "throughput");
    near(cost.memory_mib, 24557, 0, "memory");
    cr_expect_eq(cost.fullest_stage, 0);
    cr_expect(cost.fits);
    static const double used[] = {24557, 23827, 24084, 24148};
    for (int s = 0; s < 4; s++) {
        near(cost.stages[s].memory_mib + cost.reserve_mib, used[s], 0, "stage");
    }
    /* 18 MiB are left of 24 GiB: a little less does not do */
    cr_assert_eq(galv_galvatron_plan_cost(&cost, &inputs, plan, 24550, arena, &err),
                 GALV_OK);
    cr_expect_not(cost.fits);
    cr_assert_eq(galv_galvatron_plan_cost(&cost, &inputs, plan, 0, arena, &err),
                 GALV_OK);
    cr_expect(cost.fits, "without a budget");
    galv_json_free(document);
    galv_arena_free(arena);
}

Test(costmodel_galvatron, plans_it_cannot_cost_are_refused)
{
    galv_arena *arena = galv_arena_new();
    galv_galvatron_inputs inputs = shipped_inputs();
    galv_galvatron_cost cost;
    static const char *const words[] = {"vpp 2", "zb-h1", "30 blocks", "differ"};
    for (int i = 0; i < 4; i++) {
        galv_job job = shipped_job();
        galv_err err = GALV_ERR_INIT;
        galv_json *document =
            read_json(GALV_SOURCE_DIR "/tests/cli/data/galvatron-config.json");
        galv_plan *plan = strategy_file(&job, galv_json_root(document), arena);
        cr_assert_not_null(plan);
        plan->vpp = i == 0 ? 2 : 1;
        snprintf(plan->schedule, sizeof plan->schedule, "%s",
                 i == 1 ? "zb-h1" : "1f1b");
        plan->n_layers -= i == 2 ? 2 : 0;
        plan->layer_strategy[plan->n_layers - 1] = i == 3 ? 1 : 0;
        cr_expect_eq(galv_galvatron_plan_cost(&cost, &inputs, plan, 0, arena, &err),
                     GALV_USAGE, "case %d", i);
        cr_expect_not_null(strstr(err.message, words[i]), "case %d: %s", i,
                           err.message);
        galv_json_free(document);
    }
    galv_arena_free(arena);
}

/* Reads the strategy of a recorded run and costs it; returns whether there was one. */
static bool cost_best(galv_json_value root, const char *name, galv_arena *arena)
{
    galv_json_value result = galv_json_member(root, "result");
    galv_json_value config = galv_json_member(result, "galvatron_config");
    galv_json_value best = galv_json_member(result, "best_task");
    galv_json_value resolved = galv_json_member(root, "resolved_inputs");
    galv_galvatron_inputs inputs;
    galv_galvatron_cost cost;
    galv_job job = shipped_job();
    galv_err err = GALV_ERR_INIT;
    if (galv_json_type_of(config) != GALV_JSON_OBJECT) {
        return false;
    }
    double time_s = 0, budget = 0;
    cr_assert_eq(galv_galvatron_inputs_from_run(
                     &inputs, galv_json_member(root, "request"), resolved, &err),
                 GALV_OK);
    galv_json_to_f64(&time_s, galv_json_member(best, "time_cost"), 0, 1e9, &err);
    galv_json_to_f64(&budget, galv_json_member(resolved, "memory_constraint_MB"), 0,
                     1e9, &err);
    job.model.groups[1].n_layers = inputs.n_layers;
    cr_assert_eq(galv_cluster_set_nodes(&job.cluster, inputs.n_devices / 8, &err),
                 GALV_OK);
    galv_plan *plan = strategy_file(&job, config, arena);
    if (plan == NULL) {
        return false;
    }
    cr_assert_eq(galv_galvatron_plan_cost(&cost, &inputs, plan, budget, arena, &err),
                 GALV_OK, "%s: %s", name, err.message);
    near(cost.iteration_s, time_s, 1e-9, name);
    cr_expect(cost.fits, "%s does not fit", name);
    galv_json_value used = galv_json_member(best, "memory_used_MB");
    for (int32_t s = 0; s < cost.n_stages; s++) {
        double theirs = 0;
        galv_json_to_f64(&theirs, galv_json_element(used, (size_t)s), 0, 1e9, &err);
        /* its search may have assumed a larger buffer than the plan needs */
        cr_expect_leq(cost.stages[s].memory_mib + cost.reserve_mib, theirs + 0.5,
                      "%s, stage %d", name, (int)s);
    }
    return true;
}

Test(costmodel_galvatron, every_recorded_strategy_costs_what_was_recorded)
{
    char buffer[1024], path[2048];
    const char *folder = golden_folder(buffer, sizeof buffer);
    if (folder == NULL) {
        cr_skip_test("no recorded runs here: set GALV_GOLDEN_DIR to their folder");
    }
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    char **names = NULL;
    size_t n_names = 0, n_costed = 0;
    snprintf(path, sizeof path, "%s/runs", folder);
    cr_assert_eq(galv_folder_list(&names, &n_names, path, arena, &err), GALV_OK);
    for (size_t i = 0; i < n_names; i++) {
        snprintf(path, sizeof path, "%s/runs/%s", folder, names[i]);
        galv_json *document = read_json(path);
        n_costed += cost_best(galv_json_root(document), names[i], arena);
        galv_json_free(document);
    }
    cr_expect_gt(2 * n_costed, n_names, "%zu of %zu", n_costed, n_names);
    galv_arena_free(arena);
}
