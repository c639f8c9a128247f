/* CSV tables over libcsv, which hands out cells and row ends and knows no places. The
 * text is therefore fed to it one physical line at a time: when a row ends, we know in
 * which line, and a parse error is at a byte of a known line. A row may span lines (a
 * quoted cell holds line breaks); its line is where it begins.
 *
 * libcsv runs strict: otherwise a stray quote swallows the next row in silence. It
 * trims blanks around unquoted cells and skips blank lines. Left out: comments, other
 * delimiters, tables without a header. */
#include "base/csv.h"

#include "base/file.h"
#include "base/units.h"
#include "base/words.h"

#include <assert.h>
#include <csv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS     4096
#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

/* State between libcsv's callbacks, which cannot stop the parse: `status` does. */
typedef struct reading {
    galv_csv *table;
    galv_arena *arena;
    galv_err *err;
    galv_status status;
    const char **row; /* cells of the row being read */
    size_t n_row;
    size_t row_capacity;
    const char **cells;
    size_t n_cells;
    size_t cells_capacity;
    long *lines;
    size_t n_rows;
    size_t lines_capacity;
    long line;     /* line being fed */
    long row_line; /* where the row being read began */
    bool in_row;   /* a row has begun and not ended */
    bool has_header;
} reading;

static void out_of_memory(reading *state)
{
    state->status = galv_fail(state->err, GALV_NO_MEMORY, "out of memory reading %s",
                              state->table->name);
}

/* An array twice as large with the old content; NULL when memory is out. */
static void *grow(void *old, size_t *capacity, size_t size)
{
    size_t larger = *capacity == 0 ? 64 : *capacity * 2;
    if (larger > SIZE_MAX / 2 / size) {
        return NULL;
    }
    void *made = realloc(old, larger * size);
    if (made != NULL) {
        *capacity = larger;
    }
    return made;
}

static void on_cell(void *bytes, size_t length, void *context)
{
    reading *state = context;
    if (state->status != GALV_OK) {
        return;
    }
    if (state->n_row >= MAX_COLUMNS) {
        state->status = galv_fail_at(state->err, state->table->name, state->row_line, 0,
                                     "more than %d cells in a row", MAX_COLUMNS);
        return;
    }
    if (state->n_row == state->row_capacity) {
        const char **row = grow(state->row, &state->row_capacity, sizeof *row);
        if (row == NULL) {
            out_of_memory(state);
            return;
        }
        state->row = row;
    }
    const char *cell = "";
    if (length > 0) {
        char *copy = galv_arena_calloc(state->arena, length + 1, 1);
        if (copy == NULL) {
            out_of_memory(state);
            return;
        }
        memcpy(copy, bytes, length);
        cell = copy;
    }
    state->row[state->n_row++] = cell;
}

static void take_header(reading *state)
{
    galv_csv *table = state->table;
    table->columns = GALV_NEW_ARRAY(state->arena, const char *, state->n_row);
    if (table->columns == NULL) {
        out_of_memory(state);
        return;
    }
    for (size_t i = 0; i < state->n_row; i++) {
        const char *name = state->row[i];
        if (name[0] == '\0') {
            state->status = galv_fail_at(state->err, table->name, state->row_line, 0,
                                         "column %zu has no name", i + 1);
            return;
        }
        if (galv_word_index(table->columns, i, name) >= 0) {
            state->status = galv_fail_at(state->err, table->name, state->row_line, 0,
                                         "two columns are named '%.80s'", name);
            return;
        }
        table->columns[i] = name;
    }
    table->n_columns = state->n_row;
    state->has_header = true;
}

static void take_row(reading *state)
{
    galv_csv *table = state->table;
    if (state->n_row != table->n_columns) {
        state->status =
            galv_fail_at(state->err, table->name, state->row_line, 0,
                         "the row has %zu cell%s, the header has %zu", state->n_row,
                         state->n_row == 1 ? "" : "s", table->n_columns);
        return;
    }
    if (state->n_rows == state->lines_capacity) {
        long *lines = grow(state->lines, &state->lines_capacity, sizeof *lines);
        if (lines == NULL) {
            out_of_memory(state);
            return;
        }
        state->lines = lines;
    }
    while (state->n_cells + state->n_row > state->cells_capacity) {
        const char **cells = grow(state->cells, &state->cells_capacity, sizeof *cells);
        if (cells == NULL) {
            out_of_memory(state);
            return;
        }
        state->cells = cells;
    }
    memcpy(state->cells + state->n_cells, state->row,
           state->n_row * sizeof *state->row);
    state->n_cells += state->n_row;
    state->lines[state->n_rows++] = state->row_line;
}

static void on_row(int terminator, void *context)
{
    reading *state = context;
    (void)terminator;
    if (state->status == GALV_OK) {
        if (state->has_header) {
            take_row(state);
        } else {
            take_header(state);
        }
    }
    state->n_row = 0;
    state->in_row = false;
}

/* Length of the line at `text`, with its line break (LF, CRLF or CR). */
static size_t line_length(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n') {
            return i + 1;
        }
        if (text[i] == '\r') {
            return i + 1 < length && text[i + 1] == '\n' ? i + 2 : i + 1;
        }
    }
    return length;
}

static bool is_blank(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (strchr(" \t\r\n", line[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static void parser_failed(reading *state, struct csv_parser *parser, long column)
{
    if (csv_error(parser) == CSV_EPARSE) {
        state->status =
            galv_fail_at(state->err, state->table->name, state->line, column,
                         "a quote that neither begins nor ends a cell");
        galv_hint(state->err, "put the whole cell in quotes and double those inside: "
                              "\"say \"\"yes\"\"\"");
        return;
    }
    out_of_memory(state);
}

/* Feeds every line; then the end. */
static void feed(reading *state, struct csv_parser *parser, const char *text,
                 size_t length)
{
    size_t done = 0;
    while (done < length && state->status == GALV_OK) {
        const char *line = text + done;
        size_t size = line_length(line, length - done);
        state->line++;
        if (memchr(line, '\0', size) != NULL) {
            const char *nul = memchr(line, '\0', size);
            state->status = galv_fail_at(state->err, state->table->name, state->line,
                                         (long)(nul - line) + 1, "a NUL byte");
            return;
        }
        if (!state->in_row && !is_blank(line, size)) {
            state->in_row = true; /* on_row clears it */
            state->row_line = state->line;
        }
        size_t used = csv_parse(parser, line, size, on_cell, on_row, state);
        if (used != size && state->status == GALV_OK) {
            parser_failed(state, parser, (long)used + 1);
        }
        done += size;
    }
    if (state->status != GALV_OK) {
        return; /* csv_fini would hand out a row that is none */
    }
    if (csv_fini(parser, on_cell, on_row, state) != 0 && state->status == GALV_OK) {
        if (csv_error(parser) == CSV_EPARSE) {
            state->status =
                galv_fail_at(state->err, state->table->name, state->row_line, 0,
                             "a quoted cell that begins in this row never ends");
        } else {
            out_of_memory(state);
        }
    }
}

/* Moves what was read into the arena and the table. */
static void finish(reading *state)
{
    galv_csv *table = state->table;
    if (!state->has_header) {
        state->status = galv_fail_at(state->err, table->name, 0, 0,
                                     "the file is empty: a header row is needed");
        return;
    }
    table->cells = GALV_NEW_ARRAY(state->arena, const char *, state->n_cells);
    table->lines = GALV_NEW_ARRAY(state->arena, long, state->n_rows);
    if (table->cells == NULL || table->lines == NULL) {
        out_of_memory(state);
        return;
    }
    if (state->n_rows > 0) {
        memcpy(table->cells, state->cells, state->n_cells * sizeof *state->cells);
        memcpy(table->lines, state->lines, state->n_rows * sizeof *state->lines);
    }
    table->n_rows = state->n_rows;
}

galv_status galv_csv_read_text(galv_csv *table, const char *name, const char *text,
                               size_t length, galv_arena *arena, galv_err *err)
{
    galv_csv made = {0};
    made.name = galv_arena_strdup(arena, name);
    reading state = {.table = &made, .arena = arena, .err = err};
    struct csv_parser parser;
    if (made.name == NULL ||
        csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) != 0) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", name);
    }
    if (length >= 3 && memcmp(text, BYTE_ORDER_MARK, 3) == 0) {
        text += 3;
        length -= 3;
    }
    feed(&state, &parser, text, length);
    if (state.status == GALV_OK) {
        finish(&state);
    }
    csv_free(&parser);
    free(state.row);
    free(state.cells);
    free(state.lines);
    if (state.status == GALV_OK) {
        *table = made;
    }
    return state.status;
}

galv_status galv_csv_read_file(galv_csv *table, const char *path, galv_arena *arena,
                               galv_err *err)
{
    char *text = NULL;
    size_t length = 0;
    galv_status status = galv_file_read(&text, &length, path, 0, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    return galv_csv_read_text(table, name, text, length, arena, err);
}

int galv_csv_column(const galv_csv *table, const char *name)
{
    return galv_word_index(table->columns, table->n_columns, name);
}

int galv_csv_require(const galv_csv *table, const char *name, galv_err *err)
{
    int column = galv_csv_column(table, name);
    if (column < 0) {
        galv_fail_at(err, table->name, 1, 0, "the column '%s' is missing", name);
        const char *near = galv_word_nearest(table->columns, table->n_columns, name);
        if (near != NULL) {
            galv_hint(err, "there is a column '%s'", near);
        }
    }
    return column;
}

static galv_status refuse_column(const galv_csv *table, const char *name,
                                 const char *const names[], size_t n_names,
                                 galv_err *err)
{
    galv_fail_at(err, table->name, 1, 0, "unknown column '%.64s'", name);
    galv_hint_words(err, names, n_names, name);
    return GALV_INPUT;
}

galv_status galv_csv_only(const galv_csv *table, const char *const names[],
                          size_t n_names, galv_err *err)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        if (galv_word_index(names, n_names, table->columns[i]) < 0) {
            return refuse_column(table, table->columns[i], names, n_names, err);
        }
    }
    return GALV_OK;
}

galv_status galv_csv_not_nearly(const galv_csv *table, const char *const names[],
                                size_t n_names, galv_err *err)
{
    const char *lacking[GALV_MOST_COLUMNS_NAMED];
    size_t n = 0;
    assert(n_names <= GALV_MOST_COLUMNS_NAMED);
    for (size_t i = 0; i < n_names; i++) {
        if (galv_csv_column(table, names[i]) < 0) {
            lacking[n++] = names[i];
        }
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        const char *name = table->columns[i];
        if (strlen(name) > 2 && galv_word_index(names, n_names, name) < 0 &&
            galv_word_nearest(lacking, n, name) != NULL) {
            return refuse_column(table, name, lacking, n, err);
        }
    }
    return GALV_OK;
}

const char *galv_csv_cell(const galv_csv *table, size_t row, int column)
{
    if (column < 0) {
        return "";
    }
    return table->cells[row * table->n_columns + (size_t)column];
}

galv_status galv_csv_f64(const galv_csv *table, size_t row, int column, double low,
                         double high, double *number, galv_err *err)
{
    const char *cell = galv_csv_cell(table, row, column);
    if (cell[0] == '\0') {
        return GALV_OK;
    }
    galv_err why = GALV_ERR_INIT;
    double value = 0;
    if (galv_parse_number(&value, cell, &why) != GALV_OK) {
        return galv_csv_fail(table, row, column, err, "%s", why.message);
    }
    if (!(value >= low && value <= high)) {
        char least[40];
        char most[40];
        return galv_csv_fail(table, row, column, err, "%s is not between %s and %s",
                             cell, galv_print_exact(least, sizeof least, low),
                             galv_print_exact(most, sizeof most, high));
    }
    *number = value;
    return GALV_OK;
}

galv_status galv_csv_i64(const galv_csv *table, size_t row, int column, int64_t low,
                         int64_t high, int64_t *number, galv_err *err)
{
    const char *cell = galv_csv_cell(table, row, column);
    if (cell[0] == '\0') {
        return GALV_OK;
    }
    galv_err why = GALV_ERR_INIT;
    int64_t value = 0;
    if (galv_parse_count(&value, cell, low, high, &why) != GALV_OK) {
        return galv_csv_fail(table, row, column, err, "%s", why.message);
    }
    *number = value;
    return GALV_OK;
}

galv_status galv_csv_i32(const galv_csv *table, size_t row, int column, int32_t low,
                         int32_t high, int32_t *number, galv_err *err)
{
    int64_t wide = *number;
    galv_status status = galv_csv_i64(table, row, column, low, high, &wide, err);
    if (status == GALV_OK) {
        *number = (int32_t)wide;
    }
    return status;
}

galv_status galv_csv_fail(const galv_csv *table, size_t row, int column, galv_err *err,
                          const char *format, ...)
{
    galv_text message = GALV_TEXT_INIT;
    if (column >= 0) {
        galv_text_printf(&message, "column '%.80s': ", table->columns[column]);
    }
    va_list args;
    va_start(args, format);
    galv_text_vprintf(&message, format, args);
    va_end(args);
    galv_fail_at(err, table->name, table->lines[row], 0, "%s",
                 galv_text_string(&message));
    galv_text_release(&message);
    return GALV_INPUT;
}

void galv_csv_put(galv_text *out, const char *cell, bool first)
{
    if (!first) {
        galv_text_append_char(out, ',');
    }
    size_t length = strlen(cell);
    bool trimmed = length > 0 && (strchr(" \t", cell[0]) != NULL ||
                                  strchr(" \t", cell[length - 1]) != NULL);
    /* Alone in its row an empty cell would be a blank line; at the head of a file a
     * byte-order mark would be taken for the file's own. */
    bool odd = first && (length == 0 || strncmp(cell, BYTE_ORDER_MARK, 3) == 0);
    if (!trimmed && !odd && strpbrk(cell, ",\"\r\n") == NULL) {
        galv_text_append_bytes(out, cell, length);
        return;
    }
    galv_text_append_char(out, '"');
    for (const char *at = cell; *at != '\0'; at++) {
        if (*at == '"') {
            galv_text_append_char(out, '"');
        }
        galv_text_append_char(out, *at);
    }
    galv_text_append_char(out, '"');
}
