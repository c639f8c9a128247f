/* What a plan needs to be measured, counted by hand; and the file that holds it. */
#include "exec/profile_measure.h"
#include "exec/profile_rows.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

GALV_TEST_SUITE(exec_profile);

enum { SEQ = 8, HIDDEN = 16, FFN = 24, VOCABULARY = 32, SAMPLES = 2, BLOCKS = 2 };

typedef struct setup {
    galv_arena *arena;
    galv_job job;
    galv_plan *plan;
    galv_needs needs;
} setup;

/* A small llama on two devices. */
static void begin(setup *s, const galv_uniform_plan *uniform)
{
    galv_err err = GALV_ERR_INIT;
    galv_model *m = &s->job.model;
    memset(s, 0, sizeof *s);
    s->arena = galv_arena_new();
    snprintf(m->name, sizeof m->name, "small");
    m->seq_length = SEQ;
    m->n_groups = 3;
    for (int i = 0; i < 3; i++) {
        m->groups[i].n_layers = i == 1 ? BLOCKS : 1;
        m->groups[i].hidden_size = HIDDEN;
        m->groups[i].normalization = GALV_RMSNORM;
    }
    m->groups[0].kind = GALV_LAYER_EMBEDDING;
    m->groups[1].kind = GALV_LAYER_DECODER;
    m->groups[2].kind = GALV_LAYER_HEAD;
    m->groups[0].vocab_size = m->groups[2].vocab_size = VOCABULARY;
    m->groups[1].ffn_hidden_size = FFN;
    m->groups[1].num_attention_heads = m->groups[1].num_query_groups = 4;
    m->groups[1].kv_channels = 4;
    m->groups[1].gated_linear_unit = true;
    galv_workload workload = GALV_WORKLOAD_INIT;
    s->job.workload = workload;
    s->job.workload.precision = GALV_FP32;
    s->job.workload.seq_length = SEQ;
    s->job.workload.global_batch_size = 8;
    cr_assert_eq(galv_cluster_from_device(&s->job.cluster, "a100-sxm-80gb", 1, &err),
                 GALV_OK, "%s", err.message);
    s->job.cluster.pools[0].devices_per_node = 2;
    s->job.cluster.pools[0].scaleup_domain = 2;
    cr_assert_eq(galv_plan_make_uniform(&s->plan, &s->job, uniform, s->arena, &err),
                 GALV_OK, "%s", err.message);
    s->needs.arena = s->arena;
    s->needs.device = "host-test";
    s->needs.precision = GALV_FP32;
    cr_assert_eq(galv_needs_of_plan(&s->needs, &s->job, s->plan, &err), GALV_OK, "%s",
                 err.message);
}

static galv_uniform_plan plan_of(int32_t tp, int32_t dp, int32_t pp)
{
    galv_uniform_plan p = {.strategy = GALV_STRATEGY_INIT,
                           .pp = pp,
                           .vpp = 1,
                           .micro_batch_size = SAMPLES};
    p.strategy.tp = tp;
    p.strategy.dp = dp;
    p.strategy.sp = tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE;
    return p;
}

static size_t count(const setup *s, galv_profile_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < s->needs.n; i++) {
        n += s->needs.needs[i].row.kind == kind;
    }
    return n;
}

static size_t count_message(const setup *s, const char *op, int32_t ranks, double bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < s->needs.n; i++) {
        const galv_profile_row *row = &s->needs.needs[i].row;
        n += row->kind == GALV_PROFILE_COLLECTIVE && strcmp(row->op, op) == 0 &&
             row->ranks == ranks && row->message_bytes == bytes;
    }
    return n;
}

static size_t count_layer(const setup *s, const char *layer, int phase, int32_t tp)
{
    size_t n = 0;
    for (size_t i = 0; i < s->needs.n; i++) {
        const galv_profile_row *row = &s->needs.needs[i].row;
        n += row->kind == GALV_PROFILE_COMPUTE && strcmp(row->layer, layer) == 0 &&
             row->phase == phase && row->tp == tp && row->micro_batch_size == SAMPLES &&
             row->seq_length == SEQ;
    }
    return n;
}

Test(exec_profile,
     a_data_parallel_plan_needs_its_layers_and_the_reductions_of_all_parameters)
{
    setup s;
    galv_uniform_plan uniform = plan_of(1, 2, 1);
    static const char *const layers[] = {"embedding", "decoder", "head"};
    static const int phases[] = {GALV_OP_FORWARD, GALV_OP_BACKWARD, GALV_OP_OPTIMIZER};
    begin(&s, &uniform);
    for (int i = 0; i < 9; i++) {
        cr_assert_eq(count_layer(&s, layers[i / 3], phases[i % 3], 1), 1, "%s %d",
                     layers[i / 3], phases[i % 3]);
    }
    cr_assert_eq(count(&s, GALV_PROFILE_COMPUTE), 9);
    cr_assert_eq(count(&s, GALV_PROFILE_MEMORY), 1);
    /* attention 4 h^2, MLP 3 h f, two norms; two tables, the last norm */
    double parameters =
        BLOCKS * (4.0 * HIDDEN * HIDDEN + 3.0 * HIDDEN * FFN + 2.0 * HIDDEN) +
        2.0 * VOCABULARY * HIDDEN + HIDDEN;
    double reduced = 0;
    for (size_t i = 0; i < s.needs.n; i++) {
        const galv_profile_row *row = &s.needs.needs[i].row;
        reduced += row->message_bytes;
        cr_assert(row->kind != GALV_PROFILE_COLLECTIVE ||
                  (strcmp(row->op, "all_reduce") == 0 && row->ranks == 2));
    }
    cr_assert(reduced == 4 * parameters, "%g, not %g", reduced, 4 * parameters);
    galv_arena_free(s.arena);
}

Test(exec_profile, a_pipeline_needs_the_message_between_its_stages)
{
    setup s;
    galv_uniform_plan uniform = plan_of(1, 1, 2);
    begin(&s, &uniform);
    cr_assert_eq(count(&s, GALV_PROFILE_COMPUTE), 9);
    cr_assert_eq(count_message(&s, "send_recv", 2, 4.0 * SAMPLES * SEQ * HIDDEN), 1);
    cr_assert_eq(count(&s, GALV_PROFILE_COLLECTIVE), 1);
    galv_arena_free(s.arena);
}

Test(exec_profile, a_tensor_parallel_plan_needs_gathers_and_scatters_of_activations)
{
    setup s;
    galv_uniform_plan uniform = plan_of(2, 1, 1);
    double bytes = 4.0 * SAMPLES * SEQ * HIDDEN;
    begin(&s, &uniform);
    cr_assert_eq(count_message(&s, "all_gather", 2, bytes), 1);
    cr_assert_eq(count_message(&s, "reduce_scatter", 2, bytes), 1);
    cr_assert_eq(count_layer(&s, "decoder", GALV_OP_FORWARD, 2), 1);
    cr_assert_eq(count_layer(&s, "decoder", GALV_OP_FORWARD, 1), 0);
    galv_arena_free(s.arena);
}

Test(exec_profile, recomputation_is_needed_only_where_the_plan_has_it)
{
    setup s;
    galv_uniform_plan uniform = plan_of(1, 2, 1);
    begin(&s, &uniform);
    cr_assert_eq(count_layer(&s, "decoder", GALV_OP_RECOMPUTE, 1), 0);
    galv_arena_free(s.arena);
    uniform.strategy.recompute = GALV_RECOMPUTE_FULL;
    begin(&s, &uniform);
    cr_assert_eq(count_layer(&s, "decoder", GALV_OP_RECOMPUTE, 1), 1);
    cr_assert_eq(count_layer(&s, "head", GALV_OP_RECOMPUTE, 1), 0);
    galv_arena_free(s.arena);
}

Test(exec_profile, collectives_of_a_machine_go_over_all_sizes_once)
{
    galv_err err = GALV_ERR_INIT;
    setup s = {.arena = galv_arena_new()};
    s.needs = (galv_needs){.arena = s.arena, .device = "d", .precision = GALV_FP32};
    cr_assert_eq(galv_needs_of_collectives(&s.needs, 2, 65536, &err), GALV_OK);
    cr_assert_eq(s.needs.n, 6 * 4); /* 1, 4, 16, 64 KiB */
    cr_assert_eq(galv_needs_of_collectives(&s.needs, 6, 1024, &err), GALV_OK);
    cr_assert_eq(s.needs.n, 6 * 4 + 5 * 2); /* groups of 4 and of 6 */
    cr_assert_eq(count_message(&s, "all_to_all", 6, 1024), 1);
    galv_arena_free(s.arena);
}

Test(exec_profile, what_is_written_is_found_again_and_nothing_else)
{
    setup s;
    galv_err err = GALV_ERR_INIT;
    galv_sheet sheet;
    char path[] = "/tmp/galvatron-profile-XXXXXX";
    int file = mkstemp(path);
    cr_assert(file >= 0);
    close(file);
    galv_uniform_plan uniform = plan_of(2, 1, 1);
    begin(&s, &uniform);
    cr_assert_eq(galv_sheet_open(&sheet, path, false, &err), GALV_OK);
    for (size_t i = 0; i + 1 < s.needs.n; i++) { /* the last one is left out */
        galv_profile_row row = s.needs.needs[i].row;
        cr_assert_null(galv_sheet_find(&sheet, &row));
        row.time_s = 1e-3 / 3 * (double)(i + 1);
        row.stddev_s = 1e-5 / 7;
        row.samples = 11;
        row.activation_bytes = row.kind == GALV_PROFILE_MEMORY ? 4096 : 0;
        snprintf(row.source, sizeof row.source, "here, \"there\"");
        cr_assert_eq(galv_sheet_add(&sheet, &row, &err), GALV_OK, "%s", err.message);
    }
    cr_assert_eq(galv_sheet_save(&sheet, &err), GALV_OK, "%s", err.message);
    galv_sheet_close(&sheet);
    cr_assert_eq(galv_sheet_open(&sheet, path, true, &err), GALV_OK, "%s", err.message);
    cr_assert_eq(sheet.n_before, s.needs.n - 1);
    for (size_t i = 0; i < s.needs.n; i++) {
        const galv_profile_row *row = galv_sheet_find(&sheet, &s.needs.needs[i].row);
        cr_assert_eq(row == NULL, i + 1 == s.needs.n, "row %zu", i);
        if (row != NULL) {
            cr_assert(row->time_s == 1e-3 / 3 * (double)(i + 1));
            cr_assert_eq(row->samples, 11);
            cr_assert_str_eq(row->source, "here, \"there\"");
        }
    }
    galv_sheet_close(&sheet);
    unlink(path);
    galv_arena_free(s.arena);
}

Test(exec_profile, a_row_of_another_degree_or_phase_is_another_row)
{
    galv_profile_row a = {.kind = GALV_PROFILE_COMPUTE,
                          .device = "d",
                          .layer = "decoder",
                          .phase = GALV_OP_FORWARD,
                          .hidden_size = 16,
                          .seq_length = 8,
                          .micro_batch_size = 1,
                          .tp = 1,
                          .cp = 1};
    galv_profile_row b = a;
    b.time_s = 1;
    b.samples = 5;
    cr_assert(galv_row_is_of(&a, &b));
    b.tp = 2;
    cr_assert_not(galv_row_is_of(&a, &b));
    b = a;
    b.phase = GALV_OP_BACKWARD;
    cr_assert_not(galv_row_is_of(&a, &b));
    b = a;
    b.sp = GALV_SP_ULYSSES;
    cr_assert_not(galv_row_is_of(&a, &b));
    b = a;
    strcpy(b.device, "e");
    cr_assert_not(galv_row_is_of(&a, &b));
}

Test(exec_profile, devices_are_named_after_their_processor)
{
    char slug[32];
    galv_device_slug(slug, sizeof slug, "host", "AMD EPYC");
    cr_assert_str_eq(slug, "host-amd-epyc");
    galv_device_slug(slug, sizeof slug, "host",
                     "Intel(R) Xeon(R) Platinum 8488C CPU @ 2.40GHz");
    cr_assert_str_eq(slug, "host-intel-r-xeon-r-platinum-84");
    galv_device_slug(slug, sizeof slug, "host", "Odd (!)");
    cr_assert_str_eq(slug, "host-odd");
}
