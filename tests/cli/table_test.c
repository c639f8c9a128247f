/* Tables: alignment, units, and what happens when the terminal is too narrow. */
#include "cli/table.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(cli_table);

static const galv_column columns[] = {
    {"plan", "", true, 0, 0}, {"step", "s", false, 0, 0}, {"MFU", "%", false, 1, 0}};

/* Prints two rows at a width; the text is the caller's to release. */
static size_t print(galv_text *out, int width)
{
    galv_arena *arena = galv_arena_new();
    galv_table table;
    galv_table_init(&table, arena, columns, 3);
    galv_table_row(&table);
    galv_table_cell(&table, "tp8 pp4");
    galv_table_cell(&table, "%.2f", 8.79);
    galv_table_cell(&table, "%.1f", 46.0);
    galv_table_row(&table);
    galv_table_cell(&table, "tp4");
    galv_table_cell(&table, "%.2f", 12.5);
    galv_table_cell(&table, "%.1f", 5.0);
    size_t left_out = galv_table_print(out, &table, width, "", "");
    galv_arena_free(arena);
    return left_out;
}

Test(cli_table, numbers_are_right_aligned_under_header_and_unit)
{
    galv_text out = GALV_TEXT_INIT;
    cr_expect_eq(print(&out, 80), 0);
    cr_expect_str_eq(galv_text_string(&out), "plan      step   MFU\n"
                                             "             s     %\n"
                                             "tp8 pp4   8.79  46.0\n"
                                             "tp4      12.50   5.0\n");
    galv_text_release(&out);
}

Test(cli_table, the_least_important_column_is_left_out_first)
{
    galv_text out = GALV_TEXT_INIT;
    cr_expect_eq(print(&out, 19), 1);
    cr_expect_str_eq(galv_text_string(&out), "plan      step\n"
                                             "             s\n"
                                             "tp8 pp4   8.79\n"
                                             "tp4      12.50\n");
    galv_text_release(&out);
}

Test(cli_table, no_line_is_wider_than_asked_for)
{
    for (int width = 16; width < 40; width++) {
        galv_text out = GALV_TEXT_INIT;
        print(&out, width);
        char *text = out.bytes;
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
            cr_expect_leq(galv_text_columns(line), (size_t)width, "width %d: '%s'",
                          width, line);
        }
        galv_text_release(&out);
    }
}

Test(cli_table, decimals_are_those_that_the_smallest_number_needs)
{
    cr_expect_eq(galv_table_decimals((const double[]){8.79, 12.5}, 2), 2);
    cr_expect_eq(galv_table_decimals((const double[]){100, 250}, 2), 0);
    cr_expect_eq(galv_table_decimals((const double[]){0.0123}, 1), 4);
    cr_expect_eq(galv_table_decimals((const double[]){9.999, 10.0}, 2), 1);
}
