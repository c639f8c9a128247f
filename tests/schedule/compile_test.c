/* Plans compiled: what is cut where, what waits for what, and that all of it can run.
 */
#include "schedule/program.h"
#include "tests/schedule/small_job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(schedule_compile);

static galv_plan *make_plan(const galv_job *job, galv_strategy strategy, int32_t pp,
                            int32_t vpp, galv_overlap overlap, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_plan *plan = NULL;
    galv_uniform_plan parameters = {strategy, pp, vpp, NULL, 1, overlap, NULL};
    cr_assert_eq(galv_plan_make_uniform(&plan, job, &parameters, arena, &err), GALV_OK,
                 "%s", err.message);
    return plan;
}

static galv_program *compile(const galv_job *job, const galv_plan *plan,
                             galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_program *program = NULL;
    cr_assert_eq(galv_program_compile(&program, job, plan, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_program_check(program, arena, &err), GALV_OK, "%s", err.message);
    return program;
}

/* "F.attention ag.mlp ..." of one pass. */
static const char *pass_words(const galv_job *job, const galv_plan *plan, int32_t stage,
                              int pass, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_pass_ops ops;
    galv_text text = GALV_TEXT_INIT;
    cr_assert_eq(galv_program_pass(&ops, job, plan, stage, 0, pass, arena, &err),
                 GALV_OK, "%s", err.message);
    for (int32_t i = 0; i < ops.n_ops; i++) {
        const galv_operation *op = &ops.ops[i];
        if (op->stream == GALV_STREAM_COMPUTE) {
            galv_text_printf(&text, " %c", galv_op_letter(op->kind));
        } else {
            galv_text_printf(&text, " %s:%s", galv_stream_names[op->stream],
                             galv_op_kind_names[op->kind]);
        }
        if (op->part == GALV_PART_WHOLE) {
            galv_text_printf(&text, "%d", (int)op->n_layers);
        } else {
            galv_text_printf(&text, ".%s", galv_part_names[op->part]);
        }
    }
    const char *words = galv_arena_strdup(arena, galv_text_string(&text));
    galv_text_release(&text);
    return words;
}

static const galv_overlap usual = GALV_OVERLAP_INIT;

Test(schedule_compile, layers_are_cut_only_at_their_collectives)
{
    static const struct {
        const char *name;
        galv_layer_kind kind;
        galv_strategy strategy;         /* tp cp ep dp sp zero recompute */
        const char *forward, *backward; /* of the last stage: one block and the head */
    } cases[] = {
        {"data parallel",
         GALV_LAYER_DECODER,
         {1, 1, 1, 8, GALV_SP_NONE, 1, GALV_RECOMPUTE_NONE},
         " F1 F1",
         " B1 B1"},
        {"full recomputation",
         GALV_LAYER_DECODER,
         {1, 1, 1, 8, GALV_SP_NONE, 1, GALV_RECOMPUTE_FULL},
         " F1 F1",
         " B1 R1 B1"},
        {"tensor parallel",
         GALV_LAYER_DECODER,
         {8, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
         " F.attention tp:all_reduce.attention F.mlp tp:all_reduce.mlp F1",
         " I1 tp:all_reduce1 W1 I.mlp tp:all_reduce.mlp W.mlp I.attention "
         "tp:all_reduce.attention W.attention"},
        {"sequence parallel",
         GALV_LAYER_DECODER,
         {8, 1, 1, 1, GALV_SP_MEGATRON, 0, GALV_RECOMPUTE_NONE},
         " tp:all_gather.attention F.attention tp:reduce_scatter.attention "
         "tp:all_gather.mlp F.mlp tp:reduce_scatter.mlp tp:all_gather1 F1",
         " tp:all_gather1 I1 tp:reduce_scatter1 W1 tp:all_gather.mlp "
         "tp:all_gather.mlp I.mlp tp:reduce_scatter.mlp W.mlp tp:all_gather.attention "
         "tp:all_gather.attention I.attention tp:reduce_scatter.attention "
         "W.attention"},
        {"ulysses",
         GALV_LAYER_DECODER,
         {8, 1, 1, 1, GALV_SP_ULYSSES, 0, GALV_RECOMPUTE_NONE},
         " tp:all_to_all.attention F.attention tp:all_to_all.attention F.mlp F1",
         " B1 B.mlp tp:all_to_all.attention B.attention tp:all_to_all.attention"},
        {"context parallel",
         GALV_LAYER_DECODER,
         {1, 8, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
         " cp:ring_exchange.attention F.attention F.mlp F1",
         " B1 B.mlp cp:ring_exchange.attention B.attention"},
        {"experts",
         GALV_LAYER_MOE_DECODER,
         {1, 1, 8, 8, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
         " F.attention F.router ep:all_to_all.experts F.experts ep:all_to_all.combine "
         "F.combine F1",
         " B1 B.combine ep:all_to_all.combine B.experts ep:all_to_all.experts B.router "
         "B.attention"},
        {"ZeRO-3",
         GALV_LAYER_DECODER,
         {1, 1, 1, 8, GALV_SP_NONE, 3, GALV_RECOMPUTE_NONE},
         " dp:all_gather.dense dp:all_gather.dense F1 F1",
         " dp:all_gather.dense dp:all_gather.dense B1 dp:reduce_scatter.dense B1 "
         "dp:reduce_scatter.dense"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_job job = small_job(cases[i].kind, 2, 16, 16);
        galv_plan *plan = make_plan(&job, cases[i].strategy, 2, 1, usual, arena);
        const char *forward = pass_words(&job, plan, 1, GALV_PASS_FORWARD, arena);
        const char *backward = pass_words(&job, plan, 1, GALV_PASS_BACKWARD, arena);
        cr_expect_str_eq(forward, cases[i].forward, "%s:%s", cases[i].name, forward);
        cr_expect_str_eq(backward, cases[i].backward, "%s:%s", cases[i].name, backward);
        compile(&job, plan, arena);
        galv_arena_free(arena);
    }
}

/* Ops of a kind and pass on a rank; *first and *last get their places. */
static uint32_t count(const galv_program *program, int32_t rank, int kind, int stream,
                      int pass)
{
    uint32_t n = 0;
    const uint32_t *begin =
        &program->queue_begin[(size_t)rank * GALV_N_STREAMS + (size_t)stream];
    for (uint32_t op = begin[0]; op < begin[1]; op++) {
        const galv_operation *class = &program->classes[program->ops[op].class_index];
        n += class->kind == kind && (pass < 0 || class->pass == pass);
    }
    return n;
}

Test(schedule_compile, gradients_are_reduced_once_or_in_every_micro_batch_by_zero)
{
    /* 4 blocks and the two ends on one stage: 3 buckets of small layers (blocks of
     * 12.6 M parameters: all four in one), 4 micro-batches */
    static const struct {
        int32_t zero;
        int kind;
        uint32_t reductions, gathers; /* gathers around the step */
    } cases[] = {{0, GALV_OP_ALL_REDUCE, 3, 0},
                 {1, GALV_OP_REDUCE_SCATTER, 3, 3},
                 {2, GALV_OP_REDUCE_SCATTER, 3 * 4, 3},
                 {3, GALV_OP_REDUCE_SCATTER, 6 * 4, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int overlaps = 0; overlaps < 2; overlaps++) {
            galv_arena *arena = galv_arena_new();
            galv_job job = small_job(GALV_LAYER_DECODER, 4, 8, 32);
            galv_strategy strategy = GALV_STRATEGY_INIT;
            galv_overlap overlap = {overlaps == 1, overlaps == 1, false, true, false};
            strategy.dp = 8;
            strategy.zero = cases[i].zero;
            galv_plan *plan = make_plan(&job, strategy, 1, 1, overlap, arena);
            galv_program *program = compile(&job, plan, arena);
            cr_expect_eq(
                count(program, 0, cases[i].kind, GALV_STREAM_DP, GALV_OP_BACKWARD),
                cases[i].reductions, "zero %d: %u", (int)cases[i].zero,
                count(program, 0, cases[i].kind, GALV_STREAM_DP, GALV_OP_BACKWARD));
            cr_expect_eq(count(program, 0, GALV_OP_ALL_GATHER, GALV_STREAM_DP,
                               GALV_OP_OPTIMIZER),
                         cases[i].gathers, "zero %d", (int)cases[i].zero);
            uint32_t gathers = cases[i].zero == 3 ? 6 * 4 : 0;
            cr_expect_eq(
                count(program, 0, GALV_OP_ALL_GATHER, GALV_STREAM_DP, GALV_OP_FORWARD),
                gathers);
            cr_expect_eq(
                count(program, 0, GALV_OP_ALL_GATHER, GALV_STREAM_DP, GALV_OP_BACKWARD),
                gathers);
            cr_expect_eq(count(program, 0, GALV_OP_OPTIMIZER, GALV_STREAM_COMPUTE, -1),
                         1);
            cr_expect(galv_program_count(&job, plan) >= program->n_ops);
            galv_arena_free(arena);
        }
    }
}

Test(schedule_compile, tied_tables_are_reduced_by_first_and_last_stage)
{
    galv_arena *arena = galv_arena_new();
    galv_job job = small_job(GALV_LAYER_DECODER, 8, 8, 16);
    galv_strategy strategy = GALV_STRATEGY_INIT;
    strategy.dp = 2;
    for (int tied = 0; tied < 2; tied++) {
        job.model.tied_embeddings = tied == 1;
        galv_plan *plan = make_plan(&job, strategy, 4, 2, usual, arena);
        galv_program *program = compile(&job, plan, arena);
        for (int32_t rank = 0; rank < 4; rank++) {
            const uint32_t *begin =
                &program->queue_begin[(size_t)rank * GALV_N_STREAMS];
            uint32_t n = 0;
            for (uint32_t op = begin[0]; op < begin[GALV_N_STREAMS]; op++) {
                const galv_operation *class =
                    &program->classes[program->ops[op].class_index];
                if (class->part == GALV_PART_TIED) {
                    n++;
                    cr_expect_eq(class->peer_stage, 3 - rank);
                    cr_expect_eq(class->first_layer, rank == 0 ? 0 : 9);
                }
            }
            cr_expect_eq(n, tied == 1 && (rank == 0 || rank == 3) ? 1 : 0);
        }
    }
    galv_arena_free(arena);
}

Test(schedule_compile, the_program_holds_the_pass_once_per_micro_batch)
{
    galv_arena *arena = galv_arena_new();
    galv_job job = small_job(GALV_LAYER_DECODER, 8, 16, 32);
    galv_strategy strategy = {4, 1, 1, 1, GALV_SP_MEGATRON, 0, GALV_RECOMPUTE_FULL};
    galv_plan *plan = make_plan(&job, strategy, 4, 2, usual, arena);
    galv_program *program = compile(&job, plan, arena);
    galv_err err = GALV_ERR_INIT;
    uint32_t want = 0;
    for (int32_t stage = 0; stage < 4; stage++) {
        for (int32_t chunk = 0; chunk < 2; chunk++) {
            for (int pass = GALV_PASS_FORWARD; pass <= GALV_PASS_BACKWARD; pass++) {
                galv_pass_ops ops;
                cr_assert_eq(galv_program_pass(&ops, &job, plan, stage, chunk, pass,
                                               arena, &err),
                             GALV_OK);
                want += 32 * (uint32_t)ops.n_ops;
            }
        }
    }
    want += 4 * 2;          /* the step of each chunk */
    want += 2 * 2 * 7 * 32; /* sends and receives over 7 borders, both ways */
    cr_expect_eq(program->n_ops, want, "%u, not %u", program->n_ops, want);
    galv_arena_free(arena);
}

Test(schedule_compile, every_plan_of_a_grid_can_run)
{
    static const int32_t degrees[][3] = {{1, 1, 1}, {2, 1, 1}, {1, 2, 1},
                                         {2, 2, 1}, {1, 1, 2}, {2, 1, 4}};
    uint32_t n = 0;
    for (size_t d = 0; d < sizeof degrees / sizeof degrees[0]; d++) {
        for (int bits = 0; bits < 16 * 4 * 3 * 3; bits++) {
            galv_overlap overlap = {bits & 1, bits >> 1 & 1, bits >> 2 & 1,
                                    bits >> 3 & 1, false};
            galv_strategy strategy = {degrees[d][0],
                                      degrees[d][1],
                                      degrees[d][2],
                                      16 / (degrees[d][0] * degrees[d][1]),
                                      (galv_sp)(bits / 64 % 3),
                                      bits / 16 % 4,
                                      (galv_recompute)(bits / 192 % 3)};
            int32_t pp = 1 << (n % 3);
            int32_t vpp = pp > 1 && n % 2 == 0 ? 2 : 1;
            galv_arena *arena = galv_arena_new();
            galv_job job = small_job(GALV_LAYER_MOE_DECODER, 8, 16 * pp, 64);
            job.model.tied_embeddings = n % 5 == 0;
            static const char *const names[] = {NULL, "gpipe", "zb-h1", "zb-h2"};
            static const char *const looped[] = {NULL, "breadth-first"};
            galv_uniform_plan parameters = {strategy, pp, vpp, NULL, 1, overlap, NULL};
            if (pp > 1) {
                parameters.schedule = vpp > 1 ? looped[n / 2 % 2] : names[n / 2 % 4];
            }
            galv_plan *plan = NULL;
            galv_err err = GALV_ERR_INIT;
            if (galv_plan_make_uniform(&plan, &job, &parameters, arena, &err) ==
                GALV_OK) {
                galv_program *program = compile(&job, plan, arena);
                cr_expect(galv_program_count(&job, plan) >= program->n_ops);
                n++;
            }
            galv_arena_free(arena);
        }
    }
    cr_expect(n > 1000, "only %u plans", n);
}

Test(schedule_compile, activations_are_gathered_where_strategies_meet)
{
    /* block 1 is spread over tp 4, block 2 over dp 8, both on one stage of 8 */
    static const struct {
        galv_sp sp;
        const char *forward, *backward;
    } cases[] = {
        /* whole tokens on every rank of tp: a slice will do on the way out; gradients
         * must be gathered on the way in */
        {GALV_SP_NONE,
         " F1 tp:all_gather1 F.attention tp:all_reduce.attention F.mlp "
         "tp:all_reduce.mlp F2",
         " B2 tp:all_gather1 I.mlp tp:all_reduce.mlp W.mlp I.attention "
         "tp:all_reduce.attention W.attention B1"},
        /* pieces of sequences: gathered on both sides */
        {GALV_SP_ULYSSES,
         " F1 tp:all_gather1 tp:all_to_all.attention F.attention "
         "tp:all_to_all.attention F.mlp tp:all_gather1 F2",
         " B2 tp:all_gather1 B.mlp tp:all_to_all.attention B.attention "
         "tp:all_to_all.attention tp:all_gather1 B1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_job job = small_job(GALV_LAYER_DECODER, 3, 8, 32);
        galv_strategy strategy = {1, 1, 1, 8, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE};
        galv_plan *plan = make_plan(&job, strategy, 1, 1, usual, arena);
        galv_strategy *strategies = GALV_NEW_ARRAY(arena, galv_strategy, 2);
        strategies[0] = strategy;
        strategies[1] = strategy;
        strategies[1].tp = 4;
        strategies[1].dp = 2;
        strategies[1].sp = cases[i].sp;
        plan->strategies = strategies;
        plan->n_strategies = 2;
        plan->layer_strategy[1] = 1;
        plan->first_layer[1] = 4; /* only the first four layers: end blocks, no head */
        galv_arena *words = arena;
        const char *forward = pass_words(&job, plan, 0, GALV_PASS_FORWARD, words);
        const char *backward = pass_words(&job, plan, 0, GALV_PASS_BACKWARD, words);
        cr_expect_str_eq(forward, cases[i].forward, "%s", forward);
        cr_expect_str_eq(backward, cases[i].backward, "%s", backward);
        plan->first_layer[1] = 5;
        compile(&job, plan, arena);
        galv_arena_free(arena);
    }
}

Test(schedule_compile, more_micro_batches_than_can_be_simulated_are_refused)
{
    galv_arena *arena = galv_arena_new();
    galv_job job = small_job(GALV_LAYER_DECODER, 8, 1, 16);
    galv_strategy strategy = GALV_STRATEGY_INIT;
    galv_plan *plan = make_plan(&job, strategy, 1, 1, usual, arena);
    plan->global_batch_size = 2000000000;
    galv_program *program = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_program_compile(&program, &job, plan, arena, &err), GALV_USAGE);
    cr_expect_not_null(strstr(err.message, "more than can be simulated"), "%s",
                       err.message);
    galv_arena_free(arena);
}

Test(schedule_compile, a_schedule_that_cannot_do_the_plan_is_a_usage_error)
{
    galv_arena *arena = galv_arena_new();
    galv_job job = small_job(GALV_LAYER_DECODER, 8, 8, 16);
    galv_strategy strategy = GALV_STRATEGY_INIT;
    strategy.dp = 2;
    galv_plan *plan = make_plan(&job, strategy, 4, 2, usual, arena);
    static const char *const names[] = {"1f1b", "none", "gpipe", "nonsense"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_program *program = NULL;
        strcpy(plan->schedule, names[i]);
        cr_expect_eq(galv_program_compile(&program, &job, plan, arena, &err),
                     GALV_USAGE, "%s", names[i]);
        cr_expect_null(program);
    }
    galv_arena_free(arena);
}
