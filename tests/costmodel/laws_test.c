/* The table of constants that hold for all devices. */
#include "costmodel/law_constants_internal.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(costmodel_laws);

/* Every constant stands in the table once, with what it rests on. */
Test(costmodel_laws, every_constant_has_a_row_and_a_source)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_law_table table = {.err = &err};
    double constants[GALV_N_CONSTANTS];
    char path[512];
    snprintf(path, sizeof path, "%s/costmodel/data/laws.csv", GALV_SOURCE_DIR);
    cr_assert_eq(galv_csv_read_file(&table.csv, path, arena, &err), GALV_OK, "%s",
                 err.message);
    galv_law_constants_read(constants, &table);
    cr_assert_eq(table.status, GALV_OK, "%s", err.message);
    cr_expect_eq(table.csv.n_rows, GALV_N_CONSTANTS);
    for (size_t row = 0; row < table.csv.n_rows; row++) {
        cr_expect_gt(strlen(galv_law_cell(&table, row, "source")), 5, "%s",
                     galv_law_cell(&table, row, "constant"));
    }
    for (int i = 0; i < GALV_N_CONSTANTS; i++) {
        cr_expect_gt(constants[i], 0);
    }
    galv_arena_free(arena);
}

/* A table that lacks one is broken, and says of which. */
Test(costmodel_laws, a_missing_constant_is_told)
{
    static const char text[] = "constant,value,source\nproduct_share,0.5,none\n";
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_law_table table;
    double constants[GALV_N_CONSTANTS];
    galv_law_table_open(&table, "laws.csv", text, strlen(text), arena, &err);
    cr_assert_eq(table.status, GALV_OK);
    galv_law_constants_read(constants, &table);
    cr_expect_eq(table.status, GALV_INTERNAL);
    cr_expect_not_null(strstr(err.message, "product_start_us"), "%s", err.message);
    galv_arena_free(arena);
}
