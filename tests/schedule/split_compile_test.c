/* Plans whose schedule splits the backward pass, compiled: what each half does, and
 * that the whole can run. */
#include "schedule/program.h"
#include "tests/schedule/small_job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(schedule_split_compile);

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

/* " I.mlp tp:all_reduce.mlp" of one pass of the last stage. */
static const char *words_of(const galv_job *job, const galv_plan *plan, int pass,
                            galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_pass_ops ops;
    galv_text text = GALV_TEXT_INIT;
    cr_assert_eq(galv_program_pass(&ops, job, plan, plan->pp - 1, 0, pass, arena, &err),
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

Test(schedule_split_compile, each_half_of_a_backward_does_its_part)
{
    static const struct {
        const char *name;
        galv_strategy strategy;     /* tp cp ep dp sp zero recompute */
        const char *input, *weight; /* of the last stage: one block and the head */
    } cases[] = {
        {"dense",
         {1, 1, 1, 4, GALV_SP_NONE, 1, GALV_RECOMPUTE_NONE},
         " I1 I1",
         " W1 W1"},
        {"full recomputation, once, before the inputs",
         {1, 1, 1, 4, GALV_SP_NONE, 1, GALV_RECOMPUTE_FULL},
         " I1 R1 I1",
         " W1 W1"},
        {"tensor parallel: nothing to communicate for weights",
         {4, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
         " I1 tp:all_reduce1 I.mlp tp:all_reduce.mlp I.attention "
         "tp:all_reduce.attention",
         " W1 W1"},
        {"zero 2: gradients are reduced when they are there",
         {1, 1, 1, 4, GALV_SP_NONE, 2, GALV_RECOMPUTE_NONE},
         " I1 I1",
         " W1 dp:reduce_scatter.dense W1 dp:reduce_scatter.dense"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_job job = small_job(GALV_LAYER_DECODER, 2, 8, 16);
        galv_plan *plan = make_plan(&job, cases[i].strategy, "zb-h1", 2, 1, arena);
        cr_expect_str_eq(words_of(&job, plan, GALV_PASS_BACKWARD_INPUT, arena),
                         cases[i].input, "case %s:%s", cases[i].name,
                         words_of(&job, plan, GALV_PASS_BACKWARD_INPUT, arena));
        cr_expect_str_eq(words_of(&job, plan, GALV_PASS_BACKWARD_WEIGHT, arena),
                         cases[i].weight, "case %s:%s", cases[i].name,
                         words_of(&job, plan, GALV_PASS_BACKWARD_WEIGHT, arena));
        galv_arena_free(arena);
    }
}

/* Every schedule that plans can have, under strategies that cut it in every way. */
Test(schedule_split_compile, every_schedule_compiles_to_a_program_that_can_run)
{
    static const galv_strategy strategies[] = {
        {1, 1, 1, 2, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
        {2, 1, 1, 1, GALV_SP_MEGATRON, 0, GALV_RECOMPUTE_FULL},
        {2, 1, 1, 1, GALV_SP_ULYSSES, 3, GALV_RECOMPUTE_SELECTIVE},
        {1, 2, 1, 1, GALV_SP_NONE, 2, GALV_RECOMPUTE_FULL},
        {1, 1, 1, 2, GALV_SP_NONE, 3, GALV_RECOMPUTE_FULL},
    };
    size_t n = 0;
    const galv_schedule *all = galv_schedules(&n);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof strategies / sizeof strategies[0]; k++) {
            for (int64_t batch = 2; batch <= 16; batch += 14) { /* m 2: fewer than pp */
                bool too_few = all[i].pairs && batch == 2;
                galv_arena *arena = galv_arena_new();
                galv_err err = GALV_ERR_INIT;
                galv_program *program = NULL;
                int32_t pp = strcmp(all[i].name, "none") == 0 ? 1 : 4;
                galv_job job = small_job(GALV_LAYER_DECODER, 9, 2 * pp, batch);
                galv_plan *plan = make_plan(&job, strategies[k], all[i].name, pp,
                                            all[i].min_chunks, arena);
                galv_status status =
                    galv_program_compile(&program, &job, plan, arena, &err);
                cr_expect_eq(status, too_few ? GALV_USAGE : GALV_OK, "%s: %s",
                             all[i].name, err.message);
                if (status == GALV_OK) {
                    cr_expect_eq(galv_program_check(program, arena, &err), GALV_OK,
                                 "%s, strategy %zu: %s", all[i].name, k, err.message);
                    cr_expect(program->n_ops <= galv_program_count(&job, plan), "%s",
                              all[i].name);
                }
                galv_arena_free(arena);
            }
        }
    }
}
