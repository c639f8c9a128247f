#include "base/csv.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(base_csv);

static galv_status read(galv_csv *table, const char *text, galv_arena *arena,
                        galv_err *err)
{
    return galv_csv_read_text(table, "t.csv", text, strlen(text), arena, err);
}

Test(base_csv, cells_and_lines)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_csv table;
    static const char TEXT[] = "\xEF\xBB\xBFkind,time_ms , note\r\n"
                               "compute,1.5,\"a, \"\"b\"\"\"\r\n"
                               "\r\n"
                               "   \n"
                               "memory,,\"two\nlines\"\n"
                               "end,3e2,last";
    cr_assert_eq(read(&table, TEXT, arena, &err), GALV_OK, "%ld: %s", err.line,
                 err.message);
    cr_assert_eq(table.n_columns, 3);
    cr_assert_eq(table.n_rows, 3);
    cr_expect_str_eq(table.columns[0], "kind");
    cr_expect_str_eq(table.columns[1], "time_ms");
    cr_expect_str_eq(galv_csv_cell(&table, 0, 2), "a, \"b\"");
    cr_expect_str_eq(galv_csv_cell(&table, 1, 1), "");
    cr_expect_str_eq(galv_csv_cell(&table, 1, 2), "two\nlines");
    cr_expect_str_eq(galv_csv_cell(&table, 2, 2), "last");
    cr_expect_str_eq(galv_csv_cell(&table, 0, -1), "");
    cr_expect_eq(table.lines[0], 2);
    cr_expect_eq(table.lines[1], 5);
    cr_expect_eq(table.lines[2], 7);
    double ms = 9;
    cr_expect_eq(galv_csv_f64(&table, 1, 1, 0, 1, &ms, &err), GALV_OK);
    cr_expect_eq(ms, 9, "an empty cell leaves the output");
    cr_expect_eq(galv_csv_f64(&table, 2, 1, 0, 1e9, &ms, &err), GALV_OK);
    cr_expect_eq(ms, 300);
    int32_t n = 0;
    cr_expect_eq(galv_csv_i32(&table, 0, 1, 0, 9, &n, &err), GALV_INPUT);
    cr_expect_str_eq(err.message, "column 'time_ms': '1.5' is not a whole number");
    cr_expect_eq(err.line, 2);
    galv_arena_free(arena);
}

Test(base_csv, wrong_tables_are_refused_at_their_line)
{
    static const struct {
        const char *text;
        long line;
        long column;
    } CASES[] = {
        {"", 0, 0},
        {"\n\n", 0, 0},
        {"a,b\n1,2\n1\n", 3, 0}, /* ragged */
        {"a,b\n1,2,3\n", 2, 0},
        {"a,b,a\n", 1, 0},              /* duplicate */
        {"a,,c\n", 1, 0},               /* no name */
        {"a,b\n\"x\"y,2\n3,4\n", 2, 4}, /* stray quote */
        {"a,b\nx\"y,2\n", 2, 2},
        {"a,b\n1,\"2\n3,4\n", 2, 0}, /* never ends */
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_csv table;
        memset(&table, 7, sizeof table);
        galv_csv before = table;
        cr_expect_eq(read(&table, CASES[i].text, arena, &err), GALV_INPUT, "case %s",
                     CASES[i].text);
        cr_expect_eq(err.line, CASES[i].line, "case %s: line %ld", CASES[i].text,
                     err.line);
        cr_expect_eq(err.column, CASES[i].column, "case %s: column %ld", CASES[i].text,
                     err.column);
        cr_expect_eq(memcmp(&table, &before, sizeof table), 0);
        galv_arena_free(arena);
    }
}

Test(base_csv, a_nul_byte_is_refused)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_csv table;
    cr_expect_eq(galv_csv_read_text(&table, "t", "a,b\n1,\0", 7, arena, &err),
                 GALV_INPUT);
    cr_expect_eq(err.line, 2);
    cr_expect_eq(err.column, 3);
    galv_arena_free(arena);
}

Test(base_csv, columns_by_name)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_csv table;
    cr_assert_eq(read(&table, "kind,time_ms\n", arena, &err), GALV_OK);
    cr_expect_eq(table.n_rows, 0);
    cr_expect_eq(galv_csv_column(&table, "time_ms"), 1);
    cr_expect_eq(galv_csv_column(&table, "time"), -1);
    cr_expect_eq(galv_csv_require(&table, "time_us", &err), -1);
    cr_expect_str_eq(err.message, "the column 'time_us' is missing");
    cr_expect_str_eq(err.hint, "there is a column 'time_ms'");
    galv_arena_free(arena);
}

Test(base_csv, numbers_that_cannot_be_are_refused)
{
    static const char *const CELLS[] = {"nan", "inf", "-1",  "1e999",
                                        "x",   "1 2", "0x1", "1000001"};
    for (size_t i = 0; i < sizeof CELLS / sizeof CELLS[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_csv table;
        cr_assert_eq(
            read(&table, galv_arena_printf(arena, "a\n%s\n", CELLS[i]), arena, &err),
            GALV_OK);
        double number = 5;
        int64_t whole = 5;
        cr_expect_eq(galv_csv_f64(&table, 0, 0, 0, 1e6, &number, &err), GALV_INPUT,
                     "cell %s", CELLS[i]);
        galv_err other = GALV_ERR_INIT;
        cr_expect_eq(galv_csv_i64(&table, 0, 0, 0, 1000000, &whole, &other), GALV_INPUT,
                     "cell %s", CELLS[i]);
        cr_expect_eq(number, 5);
        cr_expect_eq(whole, 5);
        galv_arena_free(arena);
    }
}

Test(base_csv, what_is_put_is_read_back)
{
    static const char *const CELLS[] = {"plain",    "a,b",  "say \"yes\"", "two\nlines",
                                        " blanks ", "12.5", "cr\rlf"};
    size_t n = sizeof CELLS / sizeof CELLS[0];
    galv_text out = GALV_TEXT_INIT;
    galv_text_append(&out, "a,b,c,d,e,f,g\n");
    for (size_t i = 0; i < n; i++) {
        galv_csv_put(&out, CELLS[i], i == 0);
    }
    cr_expect_not_null(strstr(galv_text_string(&out), "\nplain,\"a,b\","));
    galv_text_append(&out, "\n");
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_csv table;
    cr_assert_eq(read(&table, galv_text_string(&out), arena, &err), GALV_OK, "%s",
                 err.message);
    for (size_t i = 0; i < n; i++) {
        cr_expect_str_eq(galv_csv_cell(&table, 0, (int)i), CELLS[i]);
    }
    galv_text_release(&out);
    galv_arena_free(arena);
}

Test(base_csv, an_empty_cell_alone_in_its_row_is_still_a_row)
{
    galv_text out = GALV_TEXT_INIT;
    galv_csv_put(&out, "", true);
    cr_expect_str_eq(galv_text_string(&out), "\"\"");
    galv_text_reset(&out);
    galv_csv_put(&out, "", false);
    cr_expect_str_eq(galv_text_string(&out), ",");
    galv_text_release(&out);
}
