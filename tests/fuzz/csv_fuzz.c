/* Any bytes as a CSV table; what was read, written again, reads back the same. */
#include "base/csv.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_numbers(const galv_csv *table)
{
    for (size_t row = 0; row < table->n_rows && row < 20; row++) {
        for (int column = -1; column < (int)table->n_columns && column < 20; column++) {
            galv_err errors[2] = {GALV_ERR_INIT};
            double number = 0;
            int32_t whole = 0;
            galv_csv_f64(table, row, column, 0, 1e9, &number, &errors[0]);
            galv_csv_i32(table, row, column, 0, 1000, &whole, &errors[1]);
            if (!(number >= 0 && number <= 1e9) || whole < 0 || whole > 1000) {
                abort();
            }
        }
    }
}

static void put_row(galv_text *out, const char *const *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        galv_csv_put(out, cells[i], i == 0);
    }
    galv_text_append_char(out, '\n');
}

static void check_round_trip(const galv_csv *table, galv_arena *arena)
{
    galv_text out = GALV_TEXT_INIT;
    size_t n = table->n_columns;
    put_row(&out, table->columns, n);
    for (size_t row = 0; row < table->n_rows; row++) {
        put_row(&out, table->cells + row * n, n);
    }
    galv_csv again;
    galv_err err = GALV_ERR_INIT;
    if (galv_csv_read_text(&again, "again", out.bytes, out.length, arena, &err) !=
            GALV_OK ||
        again.n_rows != table->n_rows || again.n_columns != n) {
        abort();
    }
    for (size_t i = 0; i < n * table->n_rows; i++) {
        if (strcmp(again.cells[i], table->cells[i]) != 0) {
            abort();
        }
    }
    galv_text_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_arena *arena = galv_arena_new();
    galv_csv table;
    galv_err err = GALV_ERR_INIT;
    if (arena != NULL && galv_csv_read_text(&table, "fuzz.csv", (const char *)data,
                                            size, arena, &err) == GALV_OK) {
        read_numbers(&table);
        check_round_trip(&table, arena);
    }
    galv_arena_free(arena);
    return 0;
}
