/* Orders and programs by themselves, without a clock. */
#include "schedule/builder_internal.h"
#include "schedule/program.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(schedule_program);

Test(schedule_program, a_schedule_is_found_by_name_or_the_nearest_is_told)
{
    galv_err err = GALV_ERR_INIT;
    const galv_schedule *schedule = NULL;
    cr_assert_eq(galv_schedule_find(&schedule, "1f1b", &err), GALV_OK);
    cr_expect_str_eq(schedule->name, "1f1b");
    cr_expect_eq(galv_schedule_find(&schedule, "1fb1", &err), GALV_USAGE);
    cr_expect_not_null(strstr(err.hint, "1f1b"), "%s", err.hint);
}

Test(schedule_program, shapes_that_cannot_be_are_refused)
{
    static const struct {
        const char *name;
        galv_schedule_shape shape;
    } cases[] = {
        {"none", {2, 1, 4, 0, NULL}},
        {"gpipe", {4, 2, 4, 0, NULL}},
        {"1f1b", {4, 0, 4, 0, NULL}},
        {"1f1b", {0, 1, 4, 0, NULL}},
        {"1f1b", {4, 1, 0, 0, NULL}},
        {"interleaved", {4, 1, 4, 0, NULL}},
        {"interleaved", {1, 2, 4, 0, NULL}},
        {"interleaved", {4, 2, 8, 3, NULL}},
        {"interleaved", {4, 2, 8, -1, NULL}},
        {"1f1b", {-3, -1, -1, -1, NULL}},
        {"interleaved", {4, 2000000000, 8, 0, NULL}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_arena *arena = galv_arena_new();
        const galv_schedule *schedule = NULL;
        galv_program *program = NULL;
        cr_assert_eq(galv_schedule_find(&schedule, cases[i].name, &err), GALV_OK);
        cr_expect_eq(galv_program_from_schedule(&program, schedule, &cases[i].shape,
                                                arena, &err),
                     GALV_USAGE, "case %zu", i);
        cr_expect(err.message[0] != '\0', "case %zu", i);
        cr_expect_null(program);
        galv_arena_free(arena);
    }
}

Test(schedule_program, the_last_short_group_of_interleaving_joins_the_one_before)
{
    /* 9 micro-batches in groups of 4 on 4 stages: 4 + 5, not 4 + 4 + 1, with which
     * stage 0 and stage 3 would wait for each other */
    galv_err err = GALV_ERR_INIT;
    const galv_schedule *schedule = NULL;
    galv_schedule_shape shape = {4, 3, 9, 4, NULL};
    galv_slot slots[54];
    cr_assert_eq(galv_schedule_find(&schedule, "interleaved", &err), GALV_OK);
    cr_assert_eq(schedule->order(slots, &shape, 3, &err), GALV_OK);
    for (int k = 12; k < 17; k++) { /* stage 3 warms up with (3 - 1) * 5 forwards */
        int slot = 10 + 2 * (k - 10);
        cr_expect_eq(slots[slot].pass, GALV_PASS_FORWARD);
        cr_expect_eq(slots[slot].chunk, 0);
        cr_expect_eq(slots[slot].micro_batch, 4 + k - 12);
    }
}

static galv_operation operation(int kind, int stream, int32_t stage, int32_t peer)
{
    galv_operation made = {0};
    made.kind = (uint8_t)kind;
    made.stream = (uint8_t)stream;
    made.stage = stage;
    made.peer_stage = peer;
    return made;
}

static uint32_t add(galv_builder *builder, galv_operation made)
{
    return galv_builder_add(builder, made.stage, galv_builder_class(builder, &made), 0);
}

Test(schedule_program, a_cycle_is_named)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_builder builder;
    galv_program *program = NULL;
    galv_builder_init(&builder, NULL, 3, 1, 1);
    uint32_t a = add(&builder, operation(GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 0, -1));
    uint32_t b = add(&builder, operation(GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 1, -1));
    uint32_t c = add(&builder, operation(GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 2, -1));
    galv_builder_add_wait(&builder, a, b);
    galv_builder_add_wait(&builder, b, c);
    galv_builder_add_wait(&builder, c, a);
    cr_assert_eq(galv_builder_finish(&program, &builder, arena, &err), GALV_OK);
    cr_expect_eq(galv_program_check(program, arena, &err), GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "cycle of 3 operations"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "forward of stage 0"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "all_reduce of stage 2"), "%s", err.message);
    galv_builder_release(&builder);
    galv_arena_free(arena);
}

Test(schedule_program, a_message_without_its_other_end_is_named)
{
    for (int which = 0; which < 2; which++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_builder builder;
        galv_program *program = NULL;
        galv_builder_init(&builder, NULL, 2, 1, 1);
        if (which == 0) {
            add(&builder, operation(GALV_OP_SEND, GALV_STREAM_PP_SEND, 0, 1));
        } else {
            add(&builder, operation(GALV_OP_RECV, GALV_STREAM_PP_RECV, 1, 0));
        }
        cr_assert_eq(galv_builder_finish(&program, &builder, arena, &err), GALV_OK);
        cr_expect_eq(galv_program_check(program, arena, &err), GALV_INPUT);
        cr_expect_not_null(
            strstr(err.message, which == 0 ? "never received" : "follows 0 sends"),
            "%s", err.message);
        galv_builder_release(&builder);
        galv_arena_free(arena);
    }
}

Test(schedule_program, prints_one_line_per_operation)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    const galv_schedule *schedule = NULL;
    galv_program *program = NULL;
    galv_schedule_shape shape = {2, 1, 1, 0, NULL};
    galv_text text = GALV_TEXT_INIT;
    cr_assert_eq(galv_schedule_find(&schedule, "1f1b", &err), GALV_OK);
    cr_assert_eq(galv_program_from_schedule(&program, schedule, &shape, arena, &err),
                 GALV_OK);
    galv_program_print(&text, program);
    cr_expect_str_eq(
        galv_text_string(&text),
        "0 rank 0 compute forward 0.0 mb 0 layers 0+1 whole\n"
        "1 rank 0 compute backward 0.0 mb 0 layers 0+1 whole after 3\n"
        "2 rank 0 pp send 0.0 mb 0 layers 0+1 whole for forward peer 1 after 0\n"
        "3 rank 0 pp_recv recv 0.0 mb 0 layers 0+1 whole for backward peer 1 after 6\n"
        "4 rank 1 compute forward 1.0 mb 0 layers 1+1 whole after 7\n"
        "5 rank 1 compute backward 1.0 mb 0 layers 1+1 whole\n"
        "6 rank 1 pp send 1.0 mb 0 layers 1+1 whole for backward peer 0 after 5\n"
        "7 rank 1 pp_recv recv 1.0 mb 0 layers 1+1 whole for forward peer 0 after "
        "2\n");
    for (uint32_t op = 0; op < program->n_ops; op++) {
        cr_expect_eq(galv_program_rank(program, op), op / 4);
    }
    galv_text_release(&text);
    galv_arena_free(arena);
}
