#include "schedule/schedule_file.h"

#include "schedule/program.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(schedule_file);

static galv_status read_text(galv_order **order, const char *text, galv_arena *arena,
                             galv_err *err)
{
    galv_csv table;
    galv_status status =
        galv_csv_read_text(&table, "my.csv", text, strlen(text), arena, err);
    return status != GALV_OK ? status
                             : galv_schedule_file_read_table(order, &table, arena, err);
}

/* Two ways of saying the same order: the same slots in the same places. */
static void expect_same(const galv_schedule *a, const galv_schedule *b,
                        const galv_schedule_shape *shape, const char *name)
{
    static galv_slot of_a[4096], of_b[4096];
    galv_err err = GALV_ERR_INIT;
    size_t n = galv_schedule_n_slots(a, shape);
    size_t n_b = galv_schedule_n_slots(b, shape);
    cr_assert(n * 4 <= 4096);
    cr_assert_eq(galv_schedule_order(of_a, a, shape, &err), GALV_OK);
    cr_assert_eq(galv_schedule_order(of_b, b, shape, &err), GALV_OK, "%s: %s", name,
                 err.message);
    for (int32_t stage = 0; stage < shape->n_stages; stage++) {
        for (size_t i = 0; i < n; i++) {
            const galv_slot *s = &of_a[(size_t)stage * n + i];
            if (i >= n_b || s->pass == GALV_PASS_NONE) {
                cr_expect_eq(s->pass, GALV_PASS_NONE, "%s", name);
                continue;
            }
            const galv_slot *t = &of_b[(size_t)stage * n_b + i];
            cr_expect(s->pass == t->pass && s->chunk == t->chunk &&
                          s->micro_batch == t->micro_batch && s->paired == t->paired,
                      "%s: stage %d, slot %zu", name, (int)stage, i);
            cr_expect_eq(galv_schedule_virtual_stage(a, shape, stage, s->chunk),
                         galv_schedule_virtual_stage(b, shape, stage, s->chunk), "%s",
                         name);
        }
    }
}

Test(schedule_file, every_schedule_comes_back_from_its_file_and_from_json)
{
    size_t n_schedules = 0;
    const galv_schedule *schedules = galv_schedules(&n_schedules);
    for (size_t i = 0; i < n_schedules; i++) {
        const galv_schedule *s = &schedules[i];
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_text csv = GALV_TEXT_INIT;
        galv_text text = GALV_TEXT_INIT;
        int32_t p = strcmp(s->name, "none") == 0 ? 1 : 4;
        galv_schedule_shape shape = {p, s->min_chunks, 8, 0, NULL};
        cr_assert_eq(galv_schedule_file_put(&csv, s, &shape, &err), GALV_OK, "%s: %s",
                     s->name, err.message);
        galv_order *order = NULL;
        cr_assert_eq(read_text(&order, galv_text_string(&csv), arena, &err), GALV_OK,
                     "%s: %s", s->name, err.message);
        galv_schedule own = galv_schedule_of_order(order);
        cr_expect_eq(own.two_way, s->two_way, "%s", s->name);
        expect_same(s, &own, &shape, s->name);

        galv_json_writer writer;
        galv_json *document = NULL;
        galv_order *again = NULL;
        galv_json_writer_init(&writer, &text);
        galv_order_to_json(order, &writer);
        cr_assert_eq(galv_json_finish(&writer, &err), GALV_OK);
        cr_assert_eq(galv_json_read_text(&document, "o.json", galv_text_string(&text),
                                         text.length, &err),
                     GALV_OK, "%s", err.message);
        cr_assert_eq(
            galv_order_from_json(&again, galv_json_root(document), arena, &err),
            GALV_OK, "%s: %s", s->name, err.message);
        own = galv_schedule_of_order(again);
        expect_same(s, &own, &shape, s->name);
        galv_json_free(document);
        galv_text_release(&text);
        galv_text_release(&csv);
        galv_arena_free(arena);
    }
}

Test(schedule_file, what_is_wrong_is_refused_at_its_place)
{
    static const struct {
        const char *text;
        const char *message;
        long line;
    } cases[] = {
        {"stage,pass,micro_batch\n0,F,0\n0,X,0\n", "no pass 'X'", 3},
        {"stage,pass,micro_batch\n0,F,0\n0,F,0\n", "is there twice", 3},
        {"stage,pass,micro_batch\n0,B,0\n0,F,0\n", "before its forward", 2},
        {"stage,pass,micro_batch\n0,F,0\n0,W,0\n0,I,0\n", "before its I", 3},
        {"stage,pass,micro_batch\n0,F,0\n0,I,0\n0,B,0\n", "another form", 4},
        {"stage,pass,micro_batch\n0,F,0\n0,I,0\n", "has no W", 0},
        {"stage,pass,micro_batch\n0,F,0\n0,B,0\n1,F,0\n", "has no B", 0},
        {"stage,pass,micro_batch\n0,F,0\n0,B,0\n1,F,1\n1,B,1\n", "has no F", 0},
        {"stage,pass,micro_batch\n0,F,0\n0,B,0\n0,F,900000\n", "3 slots", 0},
        {"stage,pass,micro_batch\n0,F,-1\n", "micro_batch", 2},
        {"stage,pass,micro_batch\n,F,1\n", "is empty", 2},
        {"stage,pass,micro_batch\n", "no slots", 1},
        {"stage,pass,microbatch\n0,F,1\n", "micro_batch", 1},
        {"stage,pass,micro_batch,chunks\n0,F,1,1\n", "unknown column 'chunks'", 1},
        {"stage,pass,micro_batch,beside\n0,F,0,1\n0,B,0,0\n", "own forward", 3},
        {"stage,pass,micro_batch,beside\n0,F,0,0\n0,B,0,1\n", "none to run beside", 0},
        {"stage,pass,micro_batch,virtual_stage\n0,F,0,0\n0,B,0,1\n", "was virtual", 3},
        {"stage,pass,micro_batch,virtual_stage\n0,F,0,0\n0,B,0,0\n1,F,0,0\n1,B,0,0\n",
         "is there twice", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_order *order = NULL;
        cr_expect_eq(read_text(&order, cases[i].text, arena, &err), GALV_INPUT,
                     "case %zu", i);
        cr_expect(strstr(err.message, cases[i].message) != NULL, "case %zu: %s", i,
                  err.message);
        cr_expect_str_eq(err.file, "my.csv", "case %zu", i);
        cr_expect_eq(err.line, cases[i].line, "case %zu: line %ld", i, err.line);
        galv_arena_free(arena);
    }
}

/* Stage 0 wants the backward of 0 before it forwards 1; stage 1 wants 1 first. */
Test(schedule_file, stages_that_wait_for_each_other_are_named)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_order *order = NULL;
    const char *text = "stage,pass,micro_batch\n0,F,0\n0,B,0\n0,F,1\n0,B,1\n"
                       "1,F,0\n1,F,1\n1,B,0\n1,B,1\n";
    cr_expect_eq(read_text(&order, text, arena, &err), GALV_INPUT);
    cr_expect(strstr(err.message, "deadlock") != NULL &&
                  strstr(err.message, "backward of stage 0") != NULL &&
                  strstr(err.message, "forward of stage 1") != NULL,
              "%s", err.message);
    cr_expect_str_eq(err.file, "my.csv");
    galv_arena_free(arena);
}

/* Some backwards whole, some split: 1 F, 1 B, and F I W. */
Test(schedule_file, backwards_may_be_whole_and_split_in_one_order)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_order *order = NULL;
    const char *text = "stage,pass,micro_batch\n0,F,0\n0,B,0\n0,F,1\n0,I,1\n0,W,1\n";
    cr_assert_eq(read_text(&order, text, arena, &err), GALV_OK, "%s", err.message);
    cr_expect_eq(order->n_slots, 6);
    cr_expect_eq(order->slots[5].pass, GALV_PASS_NONE);
    cr_expect_str_eq(galv_order_schedule(order), "custom-split");
    galv_arena_free(arena);
}
