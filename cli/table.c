/* Laying out tables.
 *
 * Widths are counted in code points. Columns are parted by two blanks. When the whole
 * does not fit, columns of the largest priority number go first; a table whose columns
 * of priority 0 are still too wide has its widest text column cut with an ellipsis. */
#include "cli/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define GAP 2

void galv_table_init(galv_table *table, galv_arena *arena, const galv_column *columns,
                     size_t n_columns)
{
    memset(table, 0, sizeof *table);
    table->arena = arena;
    table->n_columns =
        n_columns < GALV_MAX_TABLE_COLUMNS ? n_columns : GALV_MAX_TABLE_COLUMNS;
    memcpy(table->columns, columns, table->n_columns * sizeof columns[0]);
}

void galv_table_row(galv_table *table)
{
    if (table->failed) {
        return;
    }
    if (table->n_rows == table->capacity) {
        size_t capacity = table->capacity == 0 ? 16 : table->capacity * 2;
        char **cells =
            GALV_NEW_ARRAY(table->arena, char *, capacity * table->n_columns);
        if (cells == NULL) {
            table->failed = true;
            return;
        }
        if (table->n_rows > 0) {
            memcpy(cells, table->cells,
                   table->n_rows * table->n_columns * sizeof cells[0]);
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    table->n_rows++;
    table->n_filled = 0;
}

/* "-0.0" and "+0.0" are "0.0": what rounds to nothing has no sign. */
static const char *without_idle_sign(const char *text)
{
    const char *digits = text + 1;
    return (text[0] == '-' || text[0] == '+') && digits[0] == '0' &&
                   digits[strspn(digits, "0.")] == '\0'
               ? digits
               : text;
}

void galv_table_cell(galv_table *table, const char *format, ...)
{
    if (table->failed || table->n_rows == 0 || table->n_filled >= table->n_columns) {
        return;
    }
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    char *copy = galv_arena_strdup(table->arena, without_idle_sign(text));
    table->failed = copy == NULL;
    if (copy != NULL) {
        table->cells[(table->n_rows - 1) * table->n_columns + table->n_filled++] = copy;
    }
}

static const char *cell_at(const galv_table *table, size_t row, size_t column)
{
    const char *cell = table->cells[row * table->n_columns + column];
    return cell == NULL ? "" : cell;
}

static size_t column_width(const galv_table *table, size_t column)
{
    size_t width = galv_text_columns(table->columns[column].header);
    size_t unit = galv_text_columns(table->columns[column].unit);
    width = unit > width ? unit : width;
    for (size_t row = 0; row < table->n_rows; row++) {
        size_t cell = galv_text_columns(cell_at(table, row, column));
        width = cell > width ? cell : width;
    }
    return width;
}

static size_t total_width(const size_t *widths, const bool *shown, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        if (shown[i]) {
            total += widths[i] + (total > 0 ? GAP : 0);
        }
    }
    return total;
}

/* The column to leave out next: the largest priority, the rightmost of equals. */
static size_t least_important(const galv_table *table, const bool *shown)
{
    size_t least = table->n_columns;
    for (size_t i = 0; i < table->n_columns; i++) {
        if (shown[i] && table->columns[i].priority > 0 &&
            (least == table->n_columns ||
             table->columns[i].priority >= table->columns[least].priority)) {
            least = i;
        }
    }
    return least;
}

static void cut_widest(const galv_table *table, size_t *widths, const bool *shown,
                       size_t limit)
{
    size_t total = total_width(widths, shown, table->n_columns);
    size_t widest = table->n_columns;
    for (size_t i = 0; i < table->n_columns; i++) {
        if (shown[i] && table->columns[i].left &&
            (widest == table->n_columns || widths[i] > widths[widest])) {
            widest = i;
        }
    }
    if (widest < table->n_columns && total > limit) {
        size_t excess = total - limit;
        widths[widest] = widths[widest] > excess + 8 ? widths[widest] - excess : 8;
    }
}

/* Cuts the columns that allow it, as far as they do and as is needed. */
static void cut_allowed(const galv_table *table, size_t *widths, const bool *shown,
                        size_t limit)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        size_t least = (size_t)table->columns[i].min_width;
        size_t total = total_width(widths, shown, table->n_columns);
        if (least > 0 && widths[i] > least && total > limit) {
            size_t excess = total - limit;
            widths[i] = widths[i] > excess + least ? widths[i] - excess : least;
        }
    }
}

/* Appends at most `width` code points, the last one an ellipsis when cut. */
static void append_cut(galv_text *out, const char *text, size_t width)
{
    if (galv_text_columns(text) <= width) {
        galv_text_append(out, text);
        return;
    }
    const char *at = text;
    for (size_t n = 0; n + 1 < width && *at != '\0'; n++) {
        do {
            galv_text_append_char(out, *at++);
        } while (((unsigned char)*at & 0xC0) == 0x80);
    }
    galv_text_append(out, "…");
}

typedef struct layout {
    const galv_table *table;
    size_t widths[GALV_MAX_TABLE_COLUMNS];
    bool shown[GALV_MAX_TABLE_COLUMNS];
} layout;

static const char *header_of(const galv_table *table, size_t row, size_t column)
{
    (void)row;
    return table->columns[column].header;
}

static const char *unit_of(const galv_table *table, size_t row, size_t column)
{
    (void)row;
    return table->columns[column].unit;
}

static void append_row(galv_text *out, const layout *l, size_t row,
                       const char *(*text_of)(const galv_table *, size_t, size_t))
{
    size_t pending = 0; /* blanks owed; dropped at the end of the line */
    bool first = true;
    for (size_t i = 0; i < l->table->n_columns; i++) {
        if (!l->shown[i]) {
            continue;
        }
        const char *text = text_of(l->table, row, i);
        size_t width = galv_text_columns(text);
        size_t pad = width < l->widths[i] ? l->widths[i] - width : 0;
        pending += first ? 0 : GAP;
        first = false;
        if (!l->table->columns[i].left) {
            pending += pad;
        }
        if (width > 0) {
            galv_text_append_repeated(out, ' ', pending);
            pending = 0;
            append_cut(out, text, l->widths[i]);
        }
        if (l->table->columns[i].left) {
            pending += pad;
        }
    }
}

size_t galv_table_print(galv_text *out, const galv_table *table, int width,
                        const char *bold, const char *plain)
{
    if (table->failed) {
        out->failed = true;
        return 0;
    }
    layout l = {.table = table};
    bool has_units = false;
    for (size_t i = 0; i < table->n_columns; i++) {
        l.widths[i] = column_width(table, i);
        l.shown[i] = true;
    }
    size_t limit = width > 0 ? (size_t)width : 0;
    size_t n_left_out = 0;
    if (limit > 0) {
        cut_allowed(table, l.widths, l.shown, limit);
    }
    while (limit > 0 && total_width(l.widths, l.shown, table->n_columns) > limit) {
        size_t least = least_important(table, l.shown);
        if (least == table->n_columns) {
            cut_widest(table, l.widths, l.shown, limit);
            break;
        }
        l.shown[least] = false;
        n_left_out++;
    }
    if (n_left_out > 0) { /* what was cut before may have room again */
        for (size_t i = 0; i < table->n_columns; i++) {
            if (table->columns[i].min_width > 0) {
                l.widths[i] = column_width(table, i);
            }
        }
        cut_allowed(table, l.widths, l.shown, limit);
        if (total_width(l.widths, l.shown, table->n_columns) > limit) {
            cut_widest(table, l.widths, l.shown, limit);
        }
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        has_units = has_units || (l.shown[i] && table->columns[i].unit[0] != '\0');
    }
    galv_text_append(out, bold);
    append_row(out, &l, 0, header_of);
    galv_text_append(out, plain);
    galv_text_append_char(out, '\n');
    if (has_units) {
        append_row(out, &l, 0, unit_of);
        galv_text_append_char(out, '\n');
    }
    for (size_t row = 0; row < table->n_rows; row++) {
        append_row(out, &l, row, cell_at);
        galv_text_append_char(out, '\n');
    }
    return n_left_out;
}

int galv_table_decimals(const double *values, size_t n_values)
{
    int decimals = 0;
    for (size_t i = 0; i < n_values; i++) {
        double size = fabs(values[i]);
        if (!isfinite(size) || size == 0) {
            continue;
        }
        int need = size >= 99.95      ? 0
                   : size >= 9.995    ? 1
                   : size >= 0.9995   ? 2
                   : size >= 0.09995  ? 3
                   : size >= 0.009995 ? 4
                                      : 5;
        decimals = need > decimals ? need : decimals;
    }
    return decimals;
}
