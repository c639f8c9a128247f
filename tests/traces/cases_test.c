/* Cases of public sources: what is read, and what plan becomes of it. */
#include "plan/catalog.h"
#include "tests/support/leaks.h"
#include "traces/cases.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(traces_cases);

#define CASES_FILE       GALV_SOURCE_DIR "/tests/traces/data/cases.csv"
#define STAGE_TIMES_FILE GALV_SOURCE_DIR "/tests/traces/data/stage_times.csv"

static galv_case *read_file(const char *path, size_t *n_cases, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = NULL;
    cr_assert_eq(galv_cases_read(&cases, n_cases, path, arena, &err), GALV_OK,
                 "%s:%ld: %s", err.file, err.line, err.message);
    return cases;
}

static const galv_case *find(const galv_case *cases, size_t n_cases, const char *id)
{
    for (size_t i = 0; i < n_cases; i++) {
        if (strcmp(cases[i].case_id, id) == 0) {
            return &cases[i];
        }
    }
    cr_assert_fail("no case %s", id);
    return NULL;
}

static galv_status read_text(galv_case **cases, size_t *n_cases, const char *text,
                             galv_arena *arena, galv_err *err)
{
    galv_csv table;
    galv_status status =
        galv_csv_read_text(&table, "c.csv", text, strlen(text), arena, err);
    return status == GALV_OK ? galv_cases_read_table(cases, n_cases, &table, arena, err)
                             : status;
}

Test(traces_cases, every_case_becomes_a_plan)
{
    galv_arena *arena = galv_arena_new();
    size_t n_cases = 0;
    const galv_case *cases = read_file(CASES_FILE, &n_cases, arena);
    cr_assert_eq(n_cases, 8);
    for (size_t i = 0; i < n_cases; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_job job;
        galv_plan *plan = NULL;
        galv_status status = galv_case_to_plan(&job, &plan, &cases[i], arena, &err);
        cr_assert_eq(status, GALV_OK, "%s: %s", cases[i].case_id, err.message);
        cr_expect_eq(galv_plan_n_devices(plan), cases[i].num_gpus);
        cr_expect_eq(galv_cluster_n_devices(&job.cluster), cases[i].num_gpus);
        cr_expect_eq(plan->global_batch_size, cases[i].global_batch_size);
        cr_expect_str_eq(plan->schedule, cases[i].schedule, "%s", cases[i].case_id);
    }
    galv_arena_free(arena);
}

Test(traces_cases, stages_hold_the_blocks_that_the_source_states)
{
    /* BLOOM's 106 blocks: 8-9-...-9-8, the embedding and the head taking a place each,
       so that every stage holds nine layers. Zero Bubble's 22 blocks on 24 virtual
       stages: one layer each. Llama 3.1 405B in MLPerf: 128 layers, two on each of 64.
     */
    static const struct {
        const char *id;
        int32_t n_virtual, layers_each;
    } cases[] = {{"bloom_jeanzay_a100-0207", 12, 9},
                 {"zero_bubble_a100-0007", 24, 1},
                 {"mlperf_gpt3_llama405b-0022", 64, 2}};
    galv_arena *arena = galv_arena_new();
    size_t n = 0;
    const galv_case *all = read_file(CASES_FILE, &n, arena);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_job job;
        galv_plan *plan = NULL;
        cr_assert_eq(
            galv_case_to_plan(&job, &plan, find(all, n, cases[i].id), arena, &err),
            GALV_OK, "%s", err.message);
        cr_assert_eq(plan->pp * plan->vpp, cases[i].n_virtual);
        for (int32_t s = 0; s < cases[i].n_virtual; s++) {
            cr_expect_eq(plan->first_layer[s + 1] - plan->first_layer[s],
                         cases[i].layers_each, "%s, virtual stage %d", cases[i].id,
                         (int)s);
        }
    }
    galv_arena_free(arena);
}

Test(traces_cases, parameters_match_the_published_sizes)
{
    static const struct {
        const char *id;
        double parameters; /* as the sources name the models */
        double tolerance;
    } cases[] = {{"bloom_jeanzay_a100-0207", 195e9, 0.01},
                 {"mlperf_gpt3_llama405b-0022", 405e9, 0.01},
                 {"llm_foundry_mpt_a100_h100-0012", 6.7e9, 0.02},
                 {"zero_bubble_a100-0007", 1.5e9, 0.05}};
    galv_arena *arena = galv_arena_new();
    size_t n = 0;
    const galv_case *all = read_file(CASES_FILE, &n, arena);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double parameters = galv_model_parameters(&find(all, n, cases[i].id)->model);
        cr_expect_float_eq(parameters / cases[i].parameters, 1, cases[i].tolerance,
                           "%s: %g", cases[i].id, parameters);
    }
    galv_arena_free(arena);
}

Test(traces_cases, software_family_and_nodes_are_as_the_header_says)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    size_t n = 0;
    const galv_case *all = read_file(CASES_FILE, &n, arena);
    galv_job job;
    galv_plan *plan = NULL;

    const galv_case *c = find(all, n, "vtrain_single_node_a100-0002");
    cr_assert_eq(galv_case_to_plan(&job, &plan, c, arena, &err), GALV_OK);
    cr_expect_eq(job.workload.precision, GALV_FP16);
    cr_expect_eq(job.workload.grad_precision, GALV_FP16);
    cr_expect_eq(job.workload.software, GALV_SOFTWARE_MEGATRON);
    cr_expect_eq(job.workload.software_year, 2022);
    cr_expect(!job.workload.flash_attention && job.workload.causal);
    cr_expect(!plan->overlap.grad_reduce && !plan->overlap.p2p);
    cr_expect_eq(job.model.groups[1].dropout, 0.1);
    cr_expect_eq(job.model.groups[0].vocab_size, 50257);
    cr_expect_eq(job.model.groups[0].max_positions, 1024);
    cr_expect(job.model.tied_embeddings && job.model.groups[1].linear_bias);
    cr_expect_eq(galv_plan_strategy(plan, 3)->recompute, GALV_RECOMPUTE_FULL);
    cr_expect_not(job.workload.vocab_unpadded);
    cr_expect_eq(job.cluster.pools[0].intra_bytes_per_s, 300e9);
    cr_expect_eq(c->iteration_time_s, 0.21973);

    c = find(all, n, "bloom_jeanzay_a100-0207");
    cr_assert_eq(galv_case_to_plan(&job, &plan, c, arena, &err), GALV_OK);
    cr_expect_eq(job.workload.grad_precision, GALV_FP32);
    cr_expect_eq(job.cluster.pools[0].n_nodes, 48);
    cr_expect_eq(job.cluster.pools[0].inter_bytes_per_s, 6.25e9);
    cr_expect_eq(c->peak_memory_bytes, 79 * 1073741824.0);

    /* reductions overlap, tensor-parallel collectives do not: no recipe of NVIDIA's */
    galv_case like = *find(all, n, "dgxc_benchmarking_h100_gb200-0097");
    like.tp_comm_overlap = false;
    cr_assert_eq(galv_case_to_plan(&job, &plan, &like, arena, &err), GALV_OK);
    cr_expect_eq(job.workload.grad_precision, GALV_FP32);

    c = find(all, n, "dgxc_benchmarking_h100_gb200-0097");
    cr_assert_eq(galv_case_to_plan(&job, &plan, c, arena, &err), GALV_OK);
    cr_expect_eq(job.model.groups[1].kind, GALV_LAYER_MOE_DECODER);
    cr_expect_eq(job.model.groups[1].moe_ffn_hidden_size, 32768);
    cr_expect_eq(galv_plan_strategy(plan, 1)->ep, 4);
    cr_expect_eq(galv_plan_strategy(plan, 1)->sp, GALV_SP_MEGATRON);

    c = find(all, n, "oneflow_dlperf_gpt_v100-0001");
    cr_assert_eq(galv_case_to_plan(&job, &plan, c, arena, &err), GALV_OK);
    cr_expect_eq(job.cluster.pools[0].devices_per_node, 1);
    cr_expect_eq(job.cluster.pools[0].scaleup_domain, 8);
    galv_arena_free(arena);
}

Test(traces_cases, stage_times_are_read_where_there_is_no_model)
{
    galv_arena *arena = galv_arena_new();
    size_t n = 0;
    const galv_case *cases = read_file(STAGE_TIMES_FILE, &n, arena);
    cr_assert_eq(n, 2);
    cr_expect_eq(cases[1].t_f_s, 0.018522);
    cr_expect_eq(cases[1].t_b_s, 0.018086);
    cr_expect_eq(cases[1].t_w_s, 0.009337);
    cr_expect_eq(cases[1].t_comm_s, 0.000601);
    cr_expect_eq(cases[1].memory_limit_activations, 16);
    cr_expect_eq(cases[1].n_micro_batches, 24);
    cr_expect_eq(cases[1].pp, 8);
    cr_expect_str_eq(cases[1].schedule, "zb-2p");
    galv_err err = GALV_ERR_INIT;
    galv_job job;
    galv_plan *plan = NULL;
    cr_expect_eq(galv_case_to_plan(&job, &plan, &cases[0], arena, &err),
                 GALV_UNAVAILABLE);
    galv_arena_free(arena);
}

/* 12 devices in domains of 8: rank r lies in domain r / 8, the second half full. 64 in
 * a rack of 64: one domain. */
Test(traces_cases, domains_are_those_of_the_row_even_where_the_last_is_part_full)
{
    static const struct {
        int32_t num_gpus, gpus_per_node, n_nodes, devices_per_node;
    } cases[] = {{12, 8, 3, 4}, {64, 64, 1, 64}, {4, 8, 1, 4}, {16, 4, 4, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_case *read = NULL;
        size_t n = 0;
        char text[600];
        snprintf(text, sizeof text,
                 "case_id,gpu,num_gpus,gpus_per_node,num_layers,hidden_size,"
                 "num_attention_heads,vocab_size,seq_length,global_batch_size\n"
                 "a,h100-sxm-80gb,%d,%d,4,512,8,1000,128,192\n",
                 (int)cases[i].num_gpus, (int)cases[i].gpus_per_node);
        galv_job job;
        galv_plan *plan = NULL;
        cr_assert_eq(read_text(&read, &n, text, arena, &err), GALV_OK, "%s",
                     err.message);
        cr_assert_eq(galv_case_to_plan(&job, &plan, read, arena, &err), GALV_OK, "%s",
                     err.message);
        const galv_pool *pool = &job.cluster.pools[0];
        cr_expect_eq(pool->n_nodes, cases[i].n_nodes, "case %zu", i);
        cr_expect_eq(pool->devices_per_node, cases[i].devices_per_node, "case %zu", i);
        cr_expect_eq(pool->scaleup_domain, cases[i].gpus_per_node, "case %zu", i);
        galv_arena_free(arena);
    }
}

#define HEADER                                                                      \
    "case_id,gpu,num_gpus,model_family,num_layers,hidden_size,num_attention_heads," \
    "vocab_size,seq_length,global_batch_size,tp,dp,pp,precision,software,schedule," \
    "stage_layers,measured_iteration_time_s,zero,num_experts\n"
#define GOOD_ROW \
    "a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,2,1,bf16,megatron,,,1.5,0,\n"

Test(traces_cases, rows_that_cannot_be_read_are_refused_with_their_line)
{
    static const struct {
        const char *row;
        const char *says;
    } cases[] = {
        {",a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,2,1,bf16,megatron,,,1.5,0,\n",
         "case_id"},
        {GOOD_ROW GOOD_ROW, "already"},
        {"a,x,4,gpt,4,512,7,1000,128,8,2,2,1,bf16,megatron,,,1.5,0,\n", "heads"},
        {"a,x,4,gptt,4,512,8,1000,128,8,2,2,1,bf16,megatron,,,1.5,0,\n", "gpt"},
        {"a,x,4,gpt,4,512,8,1000,128,8,2,2,1,bf17,megatron,,,1.5,0,\n", "bf16"},
        {"a,x,4,gpt,4,512,8,1000,128,8,2,2,1,bf16,megatrn,,,1.5,0,\n", "megatron"},
        {"a,x,4,gpt,4,512,8,1000,128,8,2,2,1,bf16,,,,-1,0,\n", ""},
        {"a,x,4,gpt,4,512,8,1000,128,8,2,2,1,bf16,,,,nan,0,\n", ""},
        {"a,x,4,gpt,4,512,8,1000,128,8,0,2,1,bf16,,,,1,0,\n", ""},
        {"a,x,4,gpt,4,512,8,1000,128,8,2,2,1,bf16,,,,1,4,\n", "zero"},
        {"a,x,4,gpt,4,512,8,,128,8,2,2,1,bf16,,,,1,0,\n", "vocab_size"},
        {"a,x,4,moe,4,512,8,1000,128,8,2,2,1,bf16,,,,1,0,\n", "num_experts"},
        {"a,x,4,gpt,,512,8,1000,128,8,2,2,1,bf16,,,,1,0,\n", "num_layers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_case *read = NULL;
        size_t n = 0;
        char text[1200];
        snprintf(text, sizeof text, "%s%s", HEADER, cases[i].row);
        cr_expect_eq(read_text(&read, &n, text, arena, &err), GALV_INPUT, "case %s",
                     cases[i].row);
        cr_expect(strstr(err.message, cases[i].says) != NULL ||
                      strstr(err.hint, cases[i].says) != NULL,
                  "case %s says %s (%s)", cases[i].row, err.message, err.hint);
        cr_expect_geq(err.line, 2, "case %s", cases[i].row);
        galv_arena_free(arena);
    }
}

Test(traces_cases, cases_that_contradict_themselves_make_no_plan)
{
    static const struct {
        const char *row;
        galv_status status;
    } cases[] = {
        {GOOD_ROW, GALV_OK},
        /* without dp: what the others leave */
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,,1,bf16,,,,1,0,\n", GALV_OK},
        {"a,a100-sxm-80gb,12,gpt,4,512,8,1000,128,12,1,12,1,bf16,,,,1,0,\n", GALV_OK},
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,1,2,bf16,,1f1b,1-3,1,0,\n",
         GALV_OK},
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,1,2,bf16,,1f1b,1-2,1,0,\n",
         GALV_INPUT},
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,1,2,bf16,,1f1b,4,1,0,\n",
         GALV_INPUT},
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,1,2,bf16,,1f1b,2-2-,1,0,\n",
         GALV_INPUT},
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,1,2,bf16,,1f1b,-2-2,1,0,\n",
         GALV_INPUT},
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,4,1,bf16,,,,1,0,\n", GALV_INPUT},
        {"a,a100-sxm-80gb,,gpt,4,512,8,1000,128,8,2,2,1,bf16,,,,1,0,\n", GALV_INPUT},
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,,2,2,1,bf16,,,,1,0,\n", GALV_INPUT},
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,7,2,2,1,bf16,,,,1,0,\n", GALV_INPUT},
        {"a,a100-sxm-81gb,4,gpt,4,512,8,1000,128,8,2,2,1,bf16,,,,1,0,\n", GALV_INPUT},
        {"a,,4,gpt,4,512,8,1000,128,8,2,2,1,bf16,,,,1,0,\n", GALV_INPUT},
        /* whether there is such a schedule is found out where programs are compiled */
        {"a,a100-sxm-80gb,4,gpt,4,512,8,1000,128,8,2,2,1,bf16,,dualpipe,,1,0,\n",
         GALV_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_case *read = NULL;
        size_t n = 0;
        char text[800];
        snprintf(text, sizeof text, "%s%s", HEADER, cases[i].row);
        cr_assert_eq(read_text(&read, &n, text, arena, &err), GALV_OK, "case %s: %s",
                     cases[i].row, err.message);
        galv_job job;
        galv_plan *plan = NULL;
        galv_status status = galv_case_to_plan(&job, &plan, &read[0], arena, &err);
        cr_expect_eq(status, cases[i].status, "case %s: %s", cases[i].row, err.message);
        cr_expect_eq(err.status, cases[i].status, "case %s", cases[i].row);
        if (status != GALV_OK) {
            cr_expect_eq(err.line, 2, "case %s: line %ld", cases[i].row, err.line);
            cr_expect_str_eq(err.file, "c.csv");
        }
        galv_arena_free(arena);
    }
}

/* One order has one name, whatever a source calls it and counts as a chunk. */
Test(traces_cases, schedules_by_other_names_become_the_one_they_are)
{
    static const struct {
        int32_t pp, vpp;
        const char *stated;
        const char *schedule;
        int32_t chunks;
    } cases[] = {
        {1, 1, "1f1b", "none", 1},
        {1, 2, "interleaved", "none", 1},
        {2, 1, "other", "1f1b", 1},
        {2, 2, "other", "interleaved", 2},
        {2, 1, "", "1f1b", 1},
        {2, 2, "", "interleaved", 2},
        {2, 1, "interleaved", "1f1b", 1},
        {2, 2, "1f1b", "interleaved", 2},
        {2, 2, "gpipe", "breadth-first", 2},
        {2, 1, "breadth-first", "gpipe", 1},
        {2, 1, "zb-v", "zb-v", 2},
        {2, 2, "zb-v", "zb-v", 2},
        {2, 1, "v-1f1b", "v-1f1b", 2},
        {2, 1, "v-half", "v-half", 2},
        {2, 1, "dualpipev", "dualpipev", 2},
        {2, 2, "dualpipe", "dualpipe", 1},
        {2, 1, "zb-h1", "zb-h1", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_case *read = NULL;
        size_t n = 0;
        char text[800];
        snprintf(text, sizeof text,
                 "case_id,gpu,num_gpus,num_layers,hidden_size,num_attention_heads,"
                 "vocab_size,seq_length,global_batch_size,pp,vpp,schedule\n"
                 "a,a100-sxm-80gb,%d,8,512,8,1000,128,8,%d,%d,%s\n",
                 (int)cases[i].pp, (int)cases[i].pp, (int)cases[i].vpp,
                 cases[i].stated);
        cr_assert_eq(read_text(&read, &n, text, arena, &err), GALV_OK, "%s",
                     err.message);
        galv_job job;
        galv_plan *plan = NULL;
        cr_assert_eq(galv_case_to_plan(&job, &plan, &read[0], arena, &err), GALV_OK,
                     "%s: %s", cases[i].stated, err.message);
        cr_expect_str_eq(plan->schedule, cases[i].schedule, "%s of %d chunks",
                         cases[i].stated, (int)cases[i].vpp);
        cr_expect_eq(plan->vpp, cases[i].chunks, "%s", cases[i].stated);
        galv_arena_free(arena);
    }
}

/* What comes back up a V has its stages in the other direction. */
Test(traces_cases, stage_layers_of_a_v_are_laid_out_both_ways)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *read = NULL;
    size_t n = 0;
    galv_job job;
    galv_plan *plan = NULL;
    cr_assert_eq(
        read_text(&read, &n,
                  "case_id,gpu,num_gpus,num_layers,hidden_size,num_attention_heads,"
                  "vocab_size,seq_length,global_batch_size,pp,schedule,stage_layers\n"
                  "a,a100-sxm-80gb,2,10,512,8,1000,128,8,2,zb-v,4-6\n",
                  arena, &err),
        GALV_OK);
    cr_assert_eq(galv_case_to_plan(&job, &plan, &read[0], arena, &err), GALV_OK, "%s",
                 err.message);
    static const int32_t first[] = {0, 3, 6, 9, 12}; /* 1 + 2, 3, 3, 2 + 1 layers */
    for (int i = 0; i <= 4; i++) {
        cr_expect_eq(plan->first_layer[i], first[i], "stage %d begins at %d", i,
                     (int)plan->first_layer[i]);
    }
    cr_expect_str_eq(plan->schedule, "zb-v");
    galv_arena_free(arena);
}

Test(traces_cases, every_gpu_of_the_catalog_makes_a_cluster_of_any_nodes)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_device *devices = NULL;
    size_t n_devices = 0;
    cr_assert_eq(galv_catalog_devices(&devices, &n_devices, arena, &err), GALV_OK);
    cr_assert_gt(n_devices, 50);
    for (size_t i = 0; i < n_devices; i++) {
        for (int k = 0; k < 8; k++) {
            static const int domains[] = {1, 3, 8, 72};
            galv_case *read = NULL;
            size_t n = 0;
            char text[800];
            galv_job job;
            galv_plan *plan = NULL;
            snprintf(text, sizeof text,
                     "case_id,gpu,num_gpus,gpus_per_node,inter_gbytes_per_s,"
                     "num_layers,hidden_size,"
                     "num_attention_heads,vocab_size,seq_length,global_batch_size\n"
                     "a,%s,24,%d,%s,4,512,8,1000,128,24\n",
                     devices[i].id, domains[k / 2], k % 2 == 0 ? "" : "25");
            cr_assert_eq(read_text(&read, &n, text, arena, &err), GALV_OK);
            cr_expect_eq(galv_case_to_plan(&job, &plan, &read[0], arena, &err), GALV_OK,
                         "%s, %d a node: %s", devices[i].id, domains[k / 2],
                         err.message);
            err = (galv_err)GALV_ERR_INIT;
        }
    }
    galv_arena_free(arena);
}

/* 126 blocks on 128 virtual stages: the embedding and the head fill the two places. */
Test(traces_cases, ends_take_the_places_that_blocks_leave)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *read = NULL;
    size_t n = 0;
    galv_job job;
    galv_plan *plan = NULL;
    cr_assert_eq(
        read_text(&read, &n,
                  "case_id,gpu,num_gpus,num_layers,hidden_size,num_attention_heads,"
                  "vocab_size,seq_length,global_batch_size,pp,vpp\n"
                  "a,h100-sxm-80gb,16,126,512,8,1000,128,64,16,8\n"
                  "b,h100-sxm-80gb,16,125,512,8,1000,128,64,16,8\n",
                  arena, &err),
        GALV_OK);
    cr_assert_eq(galv_case_to_plan(&job, &plan, &read[0], arena, &err), GALV_OK, "%s",
                 err.message);
    cr_expect_eq(plan->first_layer[1], 1, "the embedding alone");
    cr_expect_eq(plan->first_layer[127], 127, "the head alone");
    cr_expect_eq(plan->first_layer[64], 64);
    cr_expect_eq(galv_case_to_plan(&job, &plan, &read[1], arena, &err), GALV_INPUT);
    galv_arena_free(arena);
}

Test(traces_cases, a_micro_batch_that_does_not_divide_becomes_one_that_does)
{
    static const struct {
        int global, micro, becomes; /* dp 2 */
    } cases[] = {{32, 5, 4}, {32, 8, 8}, {8, 16, 4}, {24, 5, 4}, {14, 3, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_case *read = NULL;
        size_t n = 0;
        galv_job job;
        galv_plan *plan = NULL;
        char text[400];
        snprintf(text, sizeof text,
                 "case_id,gpu,num_gpus,num_layers,hidden_size,num_attention_heads,"
                 "vocab_size,seq_length,global_batch_size,micro_batch_size\n"
                 "a,a100-sxm-80gb,2,8,512,8,1000,128,%d,%d\n",
                 cases[i].global, cases[i].micro);
        cr_assert_eq(read_text(&read, &n, text, arena, &err), GALV_OK);
        cr_assert_eq(galv_case_to_plan(&job, &plan, &read[0], arena, &err), GALV_OK,
                     "%s", err.message);
        cr_expect_eq(plan->micro_batch_size, cases[i].becomes, "%d of %d: %d",
                     cases[i].micro, cases[i].global, (int)plan->micro_batch_size);
        galv_arena_free(arena);
    }
}

/* One table for both ends goes with the family, unless the row says otherwise. */
Test(traces_cases, a_row_may_say_whether_its_ends_share_a_table)
{
    static const char table[] =
        "case_id,gpu,num_gpus,model_family,num_layers,hidden_size,num_attention_heads,"
        "vocab_size,seq_length,tied_embeddings\n"
        "gpt,a100-sxm-80gb,1,gpt,2,64,4,1000,64,\n"
        "gpt-untied,a100-sxm-80gb,1,gpt,2,64,4,1000,64,0\n"
        "llama,a100-sxm-80gb,1,llama,2,64,4,1000,64,\n"
        "llama-tied,a100-sxm-80gb,1,llama,2,64,4,1000,64,1\n";
    static const bool tied[] = {true, false, false, true};
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_case *cases = NULL;
    size_t n = 0;
    cr_assert_eq(read_text(&cases, &n, table, arena, &err), GALV_OK, "%s", err.message);
    cr_assert_eq(n, 4);
    for (size_t i = 0; i < n; i++) {
        cr_expect_eq(cases[i].model.tied_embeddings, tied[i], "%s", cases[i].case_id);
    }
    galv_arena_free(arena);
}
