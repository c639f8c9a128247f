/* Strategies: which degrees are allowed, gradient groups, and the workload's checks. */
#include "plan/catalog.h"
#include "plan/operation.h"
#include "plan/strategy.h"
#include "plan/workload.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(plan_strategy);

static galv_model get(const char *name)
{
    galv_model model = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_catalog_model(&model, name, &err), GALV_OK, "%s", err.message);
    return model;
}

Test(plan_strategy, degrees_must_divide_what_they_cut)
{
    static const struct {
        const char *model;
        galv_strategy strategy; /* tp cp ep dp sp zero recompute */
        bool allowed;
        const char *hint;
    } cases[] = {
        {"llama3-70b",
         {8, 1, 1, 1, GALV_SP_MEGATRON, 1, GALV_RECOMPUTE_FULL},
         true,
         ""},
        {"llama3-70b", {16, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, true, ""},
        {"llama3-70b",
         {3, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
         false,
         "tp 2 or 4"},
        {"llama3-70b",
         {128, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
         false,
         "tp 64"},
        {"llama3-70b",
         {4, 2, 1, 1, GALV_SP_MEGATRON, 0, GALV_RECOMPUTE_NONE},
         true,
         ""},
        {"llama3-70b", {1, 3, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, false, ""},
        {"llama3-70b",
         {1, 1, 2, 2, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
         false,
         "ep 1"},
        {"qwen2.5-7b", {7, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, false, ""},
        {"qwen2.5-7b", {4, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, true, ""},
        {"qwen2.5-7b", {8, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, false, ""},
        {"mixtral-8x7b", {1, 1, 8, 8, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, true, ""},
        {"mixtral-8x7b", {4, 1, 8, 2, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, true, ""},
        {"mixtral-8x7b", {1, 1, 8, 4, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, false, ""},
        {"mixtral-8x7b",
         {1, 1, 3, 3, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE},
         false,
         "ep 2 or 4"},
        {"llama2-7b", {8, 1, 1, 1, GALV_SP_ULYSSES, 3, GALV_RECOMPUTE_NONE}, true, ""},
        {"llama2-7b",
         {64, 1, 1, 1, GALV_SP_ULYSSES, 3, GALV_RECOMPUTE_NONE},
         false,
         ""},
        {"vit-large", {4, 1, 1, 1, GALV_SP_MEGATRON, 0, GALV_RECOMPUTE_NONE}, true, ""},
        {"llama2-7b", {0, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, false, ""},
        {"llama2-7b", {1, 1, 1, -2, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE}, false, ""},
        {"llama2-7b", {1, 1, 1, 1, GALV_SP_NONE, 4, GALV_RECOMPUTE_NONE}, false, ""},
        {"llama2-7b", {1, 1, 1, 1, (galv_sp)9, 0, GALV_RECOMPUTE_NONE}, false, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_model model = get(cases[i].model);
        galv_err err = GALV_ERR_INIT;
        galv_status status = galv_strategy_check(
            &cases[i].strategy, galv_model_first_block(&model), model.seq_length, &err);
        cr_expect_eq(status, cases[i].allowed ? GALV_OK : GALV_USAGE, "case %zu: %s", i,
                     err.message);
        cr_expect(strstr(err.hint, cases[i].hint) != NULL, "case %zu: %s", i, err.hint);
    }
}

Test(plan_strategy, refused_degrees_are_those_that_leave_a_remainder)
{
    galv_model model = get("gpt3-175b");
    for (int32_t tp = 1; tp <= 200; tp++) {
        galv_strategy strategy = GALV_STRATEGY_INIT;
        galv_err err = GALV_ERR_INIT;
        strategy.tp = tp;
        bool allowed = galv_strategy_check(&strategy, galv_model_first_block(&model),
                                           2048, &err) == GALV_OK;
        cr_expect_eq(allowed, 96 % tp == 0 && 49152 % tp == 0 && 12288 % tp == 0,
                     "tp %d", tp);
    }
}

Test(plan_strategy, gradient_groups_are_the_ranks_with_the_same_weights)
{
    galv_strategy s = {4, 2, 8, 16, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE};
    cr_expect_eq(galv_strategy_gradient_ranks(&s), 32);
    cr_expect_eq(galv_strategy_expert_gradient_ranks(&s), 16);
    s.sp = GALV_SP_ULYSSES;
    cr_expect_eq(galv_strategy_gradient_ranks(&s), 128);
}

Test(plan_strategy, workloads_that_cannot_be_are_refused)
{
    galv_workload good = GALV_WORKLOAD_INIT;
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_workload_check(&good, &err), GALV_OK);
    for (int what = 0; what <= 7; what++) {
        galv_workload workload = GALV_WORKLOAD_INIT;
        err = (galv_err)GALV_ERR_INIT;
        switch (what) {
        case 0:
            workload.seq_length = -1;
            break;
        case 1:
            workload.global_batch_size = -5;
            break;
        case 2:
            workload.precision = (galv_precision)42;
            break;
        case 3:
            workload.grad_precision = GALV_FP16;
            break;
        case 4:
            workload.tokens_to_train = NAN;
            break;
        case 5:
            workload.memory_limit_bytes = -1;
            break;
        case 6:
            workload.tokens_to_train = INFINITY;
            break;
        default:
            workload.software_year = 1999;
            break;
        }
        cr_expect_eq(galv_workload_check(&workload, &err), GALV_USAGE, "case %d", what);
    }
}

Test(plan_strategy, elements_of_low_precision_training_have_two_bytes)
{
    cr_expect_eq(galv_precision_bytes(GALV_FP32), 4);
    cr_expect_eq(galv_precision_bytes(GALV_BF16), 2);
    cr_expect_eq(galv_precision_bytes(GALV_FP8), 2);
    cr_expect_str_eq(galv_precision_names[GALV_NVFP4], "nvfp4");
    cr_expect_str_eq(galv_software_names[GALV_SOFTWARE_EAGER], "eager");
}

Test(plan_strategy, operations_have_words_and_letters)
{
    for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
        cr_expect(strlen(galv_op_kind_names[kind]) > 0);
    }
    cr_expect_str_eq(galv_op_kind_names[GALV_OP_ALL_TO_ALL], "all_to_all");
    cr_expect_str_eq(galv_stream_names[GALV_STREAM_PP_RECV], "pp_recv");
    cr_expect_str_eq(galv_part_names[GALV_PART_TIED], "tied");
    cr_expect_eq(galv_op_letter(GALV_OP_FORWARD), 'F');
    cr_expect_eq(galv_op_letter(GALV_OP_BACKWARD_WEIGHT), 'W');
    cr_expect_eq(galv_op_letter(GALV_OP_ALL_REDUCE), '.');
}
