/* Passes that run beside each other, two copies of the model, and where the chunks of
 * every schedule lie. */
#include "plan/chunks.h"
#include "schedule/program.h"
#include "schedule/schedule_file.h"
#include "tests/schedule/small_job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(schedule_pair_compile);

static galv_plan *make_plan(const galv_job *job, galv_strategy strategy,
                            const char *schedule, int32_t pp, int32_t vpp,
                            galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_plan *plan = NULL;
    galv_overlap overlap = GALV_OVERLAP_INIT;
    galv_uniform_plan parameters = {strategy, pp, vpp, schedule, 1, overlap, NULL};
    cr_assert_eq(galv_plan_make_uniform(&plan, job, &parameters, arena, &err), GALV_OK,
                 "%s", err.message);
    return plan;
}

/* "B.combine ep:all_to_all ..." of a pair on stage 1. */
static const char *pair_words(const galv_job *job, const galv_plan *plan,
                              galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_pass_ops ops;
    galv_text text = GALV_TEXT_INIT;
    cr_assert_eq(
        galv_program_pair(&ops, job, plan, 1, 0, 1, GALV_PASS_BACKWARD, arena, &err),
        GALV_OK, "%s", err.message);
    for (int32_t i = 0; i < ops.n_ops; i++) {
        const galv_operation *op = &ops.ops[i];
        if (op->stream == GALV_STREAM_COMPUTE) {
            galv_text_printf(&text, " %c", galv_op_letter(op->kind));
        } else {
            galv_text_printf(&text, " %s%c", galv_stream_names[op->stream],
                             galv_op_letter(op->pass));
        }
        if (op->part != GALV_PART_WHOLE) {
            galv_text_printf(&text, ".%c", galv_part_names[op->part][0]);
        }
    }
    const char *words = galv_arena_strdup(arena, galv_text_string(&text));
    galv_text_release(&text);
    return words;
}

Test(schedule_pair_compile, passes_take_turns_where_they_wait_for_an_exchange)
{
    static const struct {
        const char *name;
        galv_layer_kind kind;
        galv_strategy strategy; /* tp cp ep dp sp zero recompute */
        const char *words;
    } cases[] = {
        {"nothing to hide: forward first",
         GALV_LAYER_DECODER,
         {1, 1, 1, 2, GALV_SP_NONE, 1, GALV_RECOMPUTE_NONE},
         " F B"},
        {"experts",
         GALV_LAYER_MOE_DECODER,
         {1, 1, 2, 2, GALV_SP_NONE, 1, GALV_RECOMPUTE_NONE},
         " B.c epB.c F.a F.r epF.e I.e epB.e W.e F.e epF.c I.r I.a W.r W.a F.c"},
        {"experts, recomputed: backward has twice the turns",
         GALV_LAYER_MOE_DECODER,
         {1, 1, 2, 2, GALV_SP_NONE, 1, GALV_RECOMPUTE_FULL},
         " R.a R.r epR.e F.a F.r epF.e R.e epR.c F.e epF.c R.c B.c epB.c I.e epB.e W.e "
         "F.c I.r I.a W.r W.a"},
        {"gradients reduced in every pass: weights are done by then",
         GALV_LAYER_MOE_DECODER,
         {1, 1, 2, 2, GALV_SP_NONE, 2, GALV_RECOMPUTE_NONE},
         " B.c epB.c F.a F.r epF.e I.e epB.e W.e F.e epF.c I.r I.a W.r W.a dpB.d dpB.e "
         "F.c"},
        {"tensor parallel",
         GALV_LAYER_DECODER,
         {2, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
         " I.m tpB.m W.m F.a tpF.a I.a tpB.a W.a F.m tpF.m"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_job job = small_job(cases[i].kind, 4, 8, 16);
        galv_plan *plan = make_plan(&job, cases[i].strategy, "dualpipe", 4, 1, arena);
        const char *words = pair_words(&job, plan, arena);
        cr_expect_str_eq(words, cases[i].words, "%s:%s", cases[i].name, words);
        galv_arena_free(arena);
    }
}

/* What is known of schedules by name agrees with the schedules. */
Test(schedule_pair_compile, chunks_lie_where_the_schedules_say)
{
    size_t n = 0;
    const galv_schedule *all = galv_schedules(&n);
    for (size_t i = 0; i < n; i++) {
        galv_schedule_shape shape = {6, all[i].min_chunks, 12, 0, NULL};
        galv_plan plan = {.pp = 6, .vpp = all[i].min_chunks};
        strcpy(plan.schedule, all[i].name);
        int32_t n_chunks = all[i].two_way ? 2 : shape.n_chunks;
        cr_expect_eq(galv_plan_n_chunks(&plan), n_chunks, "%s", all[i].name);
        cr_expect_eq(galv_plan_n_copies(&plan), all[i].two_way ? 2 : 1, "%s",
                     all[i].name);
        for (int32_t k = 0; k < 6 * n_chunks; k++) {
            cr_expect_eq(galv_plan_virtual_stage(&plan, k / n_chunks, k % n_chunks),
                         galv_schedule_virtual_stage(&all[i], &shape, k / n_chunks,
                                                     k % n_chunks),
                         "%s", all[i].name);
        }
    }
}

Test(schedule_pair_compile, shapes_that_cannot_be_are_refused_with_the_nearest)
{
    static const struct {
        const char *schedule;
        int32_t pp, vpp, m;
        const char *says; /* NULL: it can */
    } cases[] = {
        {"dualpipe", 4, 1, 8, NULL},
        {"dualpipe", 4, 1, 6, "nearest is 8"},
        {"dualpipe", 4, 1, 9, "nearest is 10"},
        {"dualpipe", 3, 1, 12, "nearest is 4"},
        {"dualpipe", 2, 1, 4, NULL},
        {"dualpipe", 2, 1, 2, "nearest is 4"},
        {"dualpipe", 4, 2, 8, "nearest is 1"},
        {"dualpipev", 4, 2, 8, NULL},
        {"dualpipev", 4, 2, 11, NULL},
        {"dualpipev", 3, 2, 6, NULL},
        {"dualpipev", 2, 2, 4, NULL},
        {"dualpipev", 4, 2, 7, "nearest is 8"},
        {"dualpipev", 4, 1, 8, "nearest is 2"},
        {"dualpipev", 4, 3, 8, "nearest is 2"},
    };
    static const galv_strategy alone = GALV_STRATEGY_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_program *program = NULL;
        galv_job job = small_job(GALV_LAYER_DECODER, 13, cases[i].pp, cases[i].m);
        galv_plan *plan =
            make_plan(&job, alone, cases[i].schedule, cases[i].pp, cases[i].vpp, arena);
        galv_status status = galv_program_compile(&program, &job, plan, arena, &err);
        cr_expect_eq(status, cases[i].says == NULL ? GALV_OK : GALV_USAGE, "%s",
                     err.message);
        if (status == GALV_OK) {
            cr_expect_eq(galv_program_check(program, arena, &err), GALV_OK, "%s",
                         err.message);
        } else {
            cr_expect(strstr(err.message, cases[i].says) != NULL, "%s", err.message);
            cr_expect(strstr(err.message, cases[i].schedule) != NULL, "%s",
                      err.message);
        }
        galv_arena_free(arena);
    }
}

/* Every micro-batch goes once through every layer, uneven as the stages may be. */
Test(schedule_pair_compile, every_layer_sees_every_micro_batch_once)
{
    static const galv_strategy alone = GALV_STRATEGY_INIT;
    static const struct {
        const char *schedule;
        int32_t vpp;
    } cases[] = {{"dualpipe", 1}, {"dualpipev", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_program *program = NULL;
        galv_job job = small_job(GALV_LAYER_DECODER, 11, 4, 10);
        galv_plan *plan =
            make_plan(&job, alone, cases[i].schedule, 4, cases[i].vpp, arena);
        int32_t seen[13][10][3] = {0}; /* forward, for inputs, for weights */
        int32_t reduced[13] = {0};
        cr_assert_eq(galv_program_compile(&program, &job, plan, arena, &err), GALV_OK,
                     "%s", err.message);
        for (uint32_t op = 0; op < program->n_ops; op++) {
            const galv_operation *c = &program->classes[program->ops[op].class_index];
            int32_t mb = program->ops[op].micro_batch;
            for (int32_t l = c->first_layer; l < c->first_layer + c->n_layers; l++) {
                bool compute = c->stream == GALV_STREAM_COMPUTE;
                reduced[l] += c->stream == GALV_STREAM_DP;
                if (!compute || c->kind == GALV_OP_OPTIMIZER) {
                    continue;
                }
                seen[l][mb][0] += c->kind == GALV_OP_FORWARD;
                seen[l][mb][1] +=
                    c->kind == GALV_OP_BACKWARD || c->kind == GALV_OP_BACKWARD_INPUT;
                seen[l][mb][2] +=
                    c->kind == GALV_OP_BACKWARD || c->kind == GALV_OP_BACKWARD_WEIGHT;
            }
        }
        for (int32_t l = 0; l < 13; l++) {
            for (int32_t k = 0; k < 30; k++) {
                cr_expect_eq(seen[l][k / 3][k % 3], 1, "%s, layer %d",
                             cases[i].schedule, (int)l);
            }
            /* one rank a stage: only copies of the model have anything to reduce, and
             * each of the two takes part */
            cr_expect_eq(reduced[l], 2 * (galv_plan_n_copies(plan) - 1), "%s, layer %d",
                         cases[i].schedule, (int)l);
        }
        galv_arena_free(arena);
    }
}

/* An order of one's own on two copies: stage 0 and stage 1 each with their forwards and
 * backwards of both ways. */
static galv_status compile_own(galv_program **program, const char *text,
                               galv_arena *arena, galv_err *err)
{
    galv_csv table;
    galv_order *order = NULL;
    galv_job job = small_job(GALV_LAYER_DECODER, 4, 2, 4);
    galv_plan *plan =
        make_plan(&job, (galv_strategy)GALV_STRATEGY_INIT, "1f1b", 2, 1, arena);
    cr_assert_eq(galv_csv_read_text(&table, "o.csv", text, strlen(text), arena, err),
                 GALV_OK, "%s", err->message);
    cr_assert_eq(galv_schedule_file_read_table(&order, &table, arena, err), GALV_OK,
                 "%s", err->message);
    cr_assert_eq(galv_plan_set_order(plan, order, err), GALV_OK, "%s", err->message);
    return galv_program_compile(program, &job, plan, arena, err);
}

#define HEAD "stage,pass,chunk,micro_batch,virtual_stage,beside\n"

Test(schedule_pair_compile, an_order_of_ones_own_on_two_copies_runs_as_its_schedule)
{
    static const char stage_0[] =
        "0,F,0,0,0,0\n0,F,1,2,1,0\n0,F,0,1,0,0\n0,B,1,2,1,0\n"
        "0,F,1,3,1,1\n0,B,0,0,0,0\n0,B,1,3,1,0\n0,B,0,1,0,0\n";
    static const struct {
        const char *stage_1;
        galv_status status;
        const char *says;
    } cases[] = {
        {"1,F,1,2,0,0\n1,F,0,0,1,0\n1,F,1,3,0,0\n1,B,0,0,1,0\n1,F,0,1,1,1\n1,B,1,2,0,"
         "0\n"
         "1,B,0,1,1,0\n1,B,1,3,0,0\n",
         GALV_OK, ""},
        /* the last two the other way round: gradients in another order than stage 0 */
        {"1,F,1,2,0,0\n1,F,0,0,1,0\n1,F,1,3,0,0\n1,B,0,0,1,0\n1,F,0,1,1,1\n1,B,1,2,0,"
         "0\n"
         "1,B,1,3,0,0\n1,B,0,1,1,0\n",
         GALV_USAGE, "different orders"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_program *program = NULL;
        galv_text text = GALV_TEXT_INIT;
        galv_text_printf(&text, "%s%s%s", HEAD, stage_0, cases[i].stage_1);
        galv_status status =
            compile_own(&program, galv_text_string(&text), arena, &err);
        cr_expect_eq(status, cases[i].status, "%s", err.message);
        cr_expect(strstr(err.message, cases[i].says) != NULL, "%s", err.message);
        if (status == GALV_OK) {
            cr_expect_eq(galv_program_check(program, arena, &err), GALV_OK, "%s",
                         err.message);
        }
        galv_text_release(&text);
        galv_arena_free(arena);
    }
}

/* A V whose stage 1 begins with the chunk that works on the output of its other one. */
Test(schedule_pair_compile, an_order_that_forestalls_its_own_stage_is_refused)
{
    static const int32_t places[] = {0, 3, 1, 2};
    static const galv_order_entry entries[] = {
        {0, {GALV_PASS_FORWARD, 0, 0, 0}},  {0, {GALV_PASS_FORWARD, 0, 1, 0}},
        {0, {GALV_PASS_BACKWARD, 0, 1, 0}}, {0, {GALV_PASS_BACKWARD, 0, 0, 0}},
        {1, {GALV_PASS_FORWARD, 0, 1, 0}},  {1, {GALV_PASS_FORWARD, 0, 0, 0}},
        {1, {GALV_PASS_BACKWARD, 0, 1, 0}}, {1, {GALV_PASS_BACKWARD, 0, 0, 0}}};
    static const galv_strategy alone = GALV_STRATEGY_INIT;
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_order *order = NULL;
    galv_program *program = NULL;
    size_t at = 0;
    galv_job job = small_job(GALV_LAYER_DECODER, 4, 2, 1);
    galv_plan *plan = make_plan(&job, alone, "interleaved", 2, 2, arena);
    cr_assert_eq(galv_order_make(&order, entries, 8, places, &at, arena, &err), GALV_OK,
                 "%s", err.message);
    cr_assert_eq(galv_plan_set_order(plan, order, &err), GALV_OK, "%s", err.message);
    cr_expect_eq(galv_program_compile(&program, &job, plan, arena, &err), GALV_INPUT);
    cr_expect(strstr(err.message, "F of micro-batch 0 on stage 1, chunk 1") != NULL,
              "%s", err.message);
    galv_arena_free(arena);
}
