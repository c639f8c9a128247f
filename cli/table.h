/* Tables for people: a header row, a row of units, right-aligned numbers.
 *
 * A table that is wider than the terminal leaves out its least important columns and
 * says so; --wide shows all. */
#ifndef GALV_CLI_TABLE_H
#define GALV_CLI_TABLE_H

#include "base/arena.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

#define GALV_MAX_TABLE_COLUMNS 32

typedef struct galv_column {
    const char *header;
    const char *unit; /* second header row; "" = none */
    bool left;        /* text; else right-aligned */
    int priority;     /* 0 = always shown; the largest is left out first */
    int min_width;    /* text may be cut to this width before a column is left out;
                         0 = only when nothing else helps */
} galv_column;

typedef struct galv_table {
    galv_arena *arena;
    size_t n_columns;
    galv_column columns[GALV_MAX_TABLE_COLUMNS];
    size_t n_rows, capacity;
    char **cells;    /* [n_rows * n_columns], NULL = empty */
    size_t n_filled; /* cells of the row being filled */
    bool failed;     /* memory ran out: the table prints nothing */
} galv_table;

/* An empty table with these columns (copied). */
void galv_table_init(galv_table *table, galv_arena *arena, const galv_column *columns,
                     size_t n_columns);

/* Begins a row, and fills its cells from left to right. */
void galv_table_row(galv_table *table);
void galv_table_cell(galv_table *table, const char *format, ...) GALV_PRINTF(2, 3);

/* Appends the table, at most `width` columns wide (0 = any): UTF-8, no trailing blanks.
 * Cells of the last text column are cut where nothing else helps. `bold` and `plain` go
 * around the header. Returns how many columns were left out. */
size_t galv_table_print(galv_text *out, const galv_table *table, int width,
                        const char *bold, const char *plain);

/* Three significant figures in the format of a column: always as many decimals as the
 * smallest of the values needs, at most five, so that decimal points stand in line. */
int galv_table_decimals(const double *values, size_t n_values);

#endif
