/* CSV tables with a header row (RFC 4180, over libcsv).
 *
 * Any column order; a byte-order mark is stripped; blank lines are skipped; ragged
 * rows, duplicate or empty column names, stray or unterminated quotes and NUL bytes are
 * errors with file, line and column. Cells are text owned by the table. */
#ifndef GALV_BASE_CSV_H
#define GALV_BASE_CSV_H

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"

#include <stdint.h>

typedef struct galv_csv {
    const char *name; /* file name, for messages */
    size_t n_columns;
    size_t n_rows;        /* without the header */
    const char **columns; /* [n_columns] */
    const char **cells;   /* [n_rows * n_columns], row-major; "" = empty */
    long *lines;          /* [n_rows] line where the row begins, from 1 */
} galv_csv;

/* Reads a file ("-" = standard input) or a text; the table lives in the arena. */
galv_status galv_csv_read_file(galv_csv *table, const char *path, galv_arena *arena,
                               galv_err *err);
galv_status galv_csv_read_text(galv_csv *table, const char *name, const char *text,
                               size_t length, galv_arena *arena, galv_err *err);

/* Index of a column, or -1. */
int galv_csv_column(const galv_csv *table, const char *name);

/* Index of a column, or -1 with an error that names the nearest one. */
int galv_csv_require(const galv_csv *table, const char *name, galv_err *err);

/* Refuses columns that are none of `names`, with the nearest: for tables where a column
 * that nobody reads would change the answer in silence. */
galv_status galv_csv_only(const galv_csv *table, const char *const names[],
                          size_t n_names, galv_err *err);

/* The same for tables that may hold columns of others: refuses only what is nearly one
 * of `names` (at most GALV_MOST_COLUMNS_NAMED) that the table lacks. One or two letters
 * are near to everything, and let be. */
#define GALV_MOST_COLUMNS_NAMED 64
galv_status galv_csv_not_nearly(const galv_csv *table, const char *const names[],
                                size_t n_names, galv_err *err);

/* The cell's text; "" when empty or when `column` is -1. */
const char *galv_csv_cell(const galv_csv *table, size_t row, int column);

/* Numbers in [low, high] with the error at the cell. An empty cell, or column -1,
 * leaves the output untouched and returns GALV_OK. */
galv_status galv_csv_f64(const galv_csv *table, size_t row, int column, double low,
                         double high, double *number, galv_err *err);
galv_status galv_csv_i64(const galv_csv *table, size_t row, int column, int64_t low,
                         int64_t high, int64_t *number, galv_err *err);
galv_status galv_csv_i32(const galv_csv *table, size_t row, int column, int32_t low,
                         int32_t high, int32_t *number, galv_err *err);

/* Records an error at a cell: file, line, and the column's name. */
galv_status galv_csv_fail(const galv_csv *table, size_t row, int column, galv_err *err,
                          const char *format, ...) GALV_PRINTF(5, 6);

/* Appends one cell, quoted only where needed (an empty first cell is, since alone it
 * would be a blank line); a comma before it unless `first`. */
void galv_csv_put(galv_text *out, const char *cell, bool first);

#endif
