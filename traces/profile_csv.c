/* The profile as CSV: one measurement per row, columns by name.
 *
 * One table says which column is which field, so that reading and writing cannot drift
 * apart. Times have three columns (s, ms, us), of which a row uses one: people measure
 * layers in milliseconds and messages in microseconds, and a unit in the name cannot be
 * mistaken. What is written is in seconds, which reads back exactly. A file given as a
 * profile by mistake (no column `kind`) is refused by that column's name. */
#include "traces/profile.h"
#include "traces/profile_internal.h"

#include "base/file.h"
#include "base/text.h"
#include "base/units.h"
#include "base/words.h"
#include "plan/strategy.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef enum field_type {
    I32,
    I64,
    F64,
    TEXT,
    PRECISION,
    PHASE,
    SP,
    RECOMPUTE
} field_type;

/* X(column, type, bytes of the text) */
#define FIELD_TABLE(X)          \
    X(device, TEXT)             \
    X(precision, PRECISION)     \
    X(layer, TEXT)              \
    X(phase, PHASE)             \
    X(hidden_size, I32)         \
    X(ffn_hidden_size, I32)     \
    X(num_attention_heads, I32) \
    X(num_query_groups, I32)    \
    X(num_experts, I32)         \
    X(moe_router_topk, I32)     \
    X(vocab_size, I32)          \
    X(seq_length, I32)          \
    X(micro_batch_size, F64)    \
    X(tp, I32)                  \
    X(cp, I32)                  \
    X(op, TEXT)                 \
    X(m, I64)                   \
    X(n, I64)                   \
    X(k, I64)                   \
    X(ranks, I32)               \
    X(ranks_per_node, I32)      \
    X(message_bytes, F64)       \
    X(time_s, F64)              \
    X(stddev_s, F64)            \
    X(samples, I32)             \
    X(activation_bytes, F64)    \
    X(parameter_bytes, F64)     \
    X(recompute, RECOMPUTE)     \
    X(sp, SP)                   \
    X(compute_slowdown, F64)    \
    X(comm_slowdown, F64)       \
    X(value, F64)               \
    X(source, TEXT)

typedef struct field {
    const char *column;
    field_type type;
    size_t offset;
    size_t size;
} field;

static const field fields[] = {
#define FIELD_ROW(name, type)                       \
    {#name, type, offsetof(galv_profile_row, name), \
     sizeof(((galv_profile_row *)NULL)->name)},
    FIELD_TABLE(FIELD_ROW)
#undef FIELD_ROW
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

#define MAX_NUMBER 1e30
#define MAX_COUNT  1000000000

/* ---- reading ---- */

typedef struct columns {
    int kind;
    int field[N_FIELDS];
    int time_ms, time_us, stddev_ms, stddev_us;
} columns;

static galv_status find_columns(columns *at, const galv_csv *table, galv_err *err)
{
    at->kind = galv_csv_require(table, "kind", err);
    if (at->kind < 0) {
        return GALV_INPUT;
    }
    for (size_t i = 0; i < N_FIELDS; i++) {
        at->field[i] = galv_csv_column(table, fields[i].column);
    }
    at->time_ms = galv_csv_column(table, "time_ms");
    at->time_us = galv_csv_column(table, "time_us");
    at->stddev_ms = galv_csv_column(table, "stddev_ms");
    at->stddev_us = galv_csv_column(table, "stddev_us");
    const char *names[N_FIELDS];
    size_t n = 0;
    bool has_time = at->time_ms >= 0 || at->time_us >= 0;
    for (size_t i = 0; i < N_FIELDS; i++) {
        bool says_how = strcmp(fields[i].column, "source") == 0 ||
                        strcmp(fields[i].column, "samples") == 0 ||
                        strcmp(fields[i].column, "stddev_s") == 0;
        bool said = has_time && strcmp(fields[i].column, "time_s") == 0;
        if (!says_how && !said) {
            names[n++] = fields[i].column;
        }
    }
    return galv_csv_not_nearly(table, names, n, err);
}

static galv_status read_word(const galv_csv *table, size_t row, int column,
                             const char *const words[], size_t n_words, int *index,
                             galv_err *err)
{
    const char *word = galv_csv_cell(table, row, column);
    if (word[0] == '\0') {
        return GALV_OK;
    }
    int found = galv_word_index(words, n_words, word);
    if (found < 0) {
        galv_csv_fail(table, row, column, err, "unknown word '%.60s'", word);
        galv_hint_words(err, words, n_words, word);
        return GALV_INPUT;
    }
    *index = found;
    return GALV_OK;
}

static galv_status read_text(const galv_csv *table, size_t row, int column,
                             char *buffer, size_t size, galv_err *err)
{
    const char *cell = galv_csv_cell(table, row, column);
    if (strlen(cell) >= size) {
        return galv_csv_fail(table, row, column, err, "longer than %zu bytes",
                             size - 1);
    }
    strcpy(buffer, cell);
    return GALV_OK;
}

static galv_status read_field(const galv_csv *table, size_t row, const field *f,
                              int column, galv_profile_row *out, galv_err *err)
{
    void *place = (char *)out + f->offset;
    switch (f->type) {
    case I32:
        return galv_csv_i32(table, row, column, 0, MAX_COUNT, place, err);
    case I64:
        return galv_csv_i64(table, row, column, 0, (int64_t)1 << 50, place, err);
    case F64:
        return galv_csv_f64(table, row, column, 0, MAX_NUMBER, place, err);
    case TEXT:
        return read_text(table, row, column, place, f->size, err);
    case PRECISION:
        return read_word(table, row, column, galv_precision_names, GALV_N_PRECISIONS,
                         place, err);
    case PHASE: /* the first words of the operations are the phases */
        return read_word(table, row, column, galv_op_kind_names, GALV_OP_OPTIMIZER + 1,
                         place, err);
    case SP:
        return read_word(table, row, column, galv_sp_names, GALV_N_SPS, place, err);
    default:
        return read_word(table, row, column, galv_recompute_names, GALV_N_RECOMPUTES,
                         place, err);
    }
}

/* The other two columns of a time; more than one of the three is refused. */
static galv_status read_time(const galv_csv *table, size_t row, const char *name,
                             int column_ms, int column_us, double *seconds,
                             galv_err *err)
{
    char column_name[16];
    snprintf(column_name, sizeof column_name, "%s_s", name);
    const char *cell = galv_csv_cell(table, row, galv_csv_column(table, column_name));
    int n_given = cell[0] != '\0';
    const struct {
        int column;
        double per_second;
    } others[] = {{column_ms, 1e3}, {column_us, 1e6}};
    for (size_t i = 0; i < 2; i++) {
        if (galv_csv_cell(table, row, others[i].column)[0] == '\0') {
            continue;
        }
        if (n_given++ > 0) {
            return galv_csv_fail(table, row, others[i].column, err,
                                 "%s is given in two units", name);
        }
        double value = 0;
        galv_status status =
            galv_csv_f64(table, row, others[i].column, 0, MAX_NUMBER, &value, err);
        if (status != GALV_OK) {
            return status;
        }
        *seconds = value / others[i].per_second;
    }
    return GALV_OK;
}

static galv_status read_row(const galv_csv *table, size_t row, const columns *at,
                            galv_profile_row *out, galv_device_memo *memo,
                            galv_err *err)
{
    *out = (galv_profile_row){.precision = -1,
                              .phase = -1,
                              .micro_batch_size = 1,
                              .tp = 1,
                              .cp = 1,
                              .compute_slowdown = 0};
    int kind = GALV_N_PROFILE_KINDS;
    galv_status status = read_word(table, row, at->kind, galv_profile_kind_names,
                                   GALV_N_PROFILE_KINDS, &kind, err);
    out->kind = (galv_profile_kind)kind;
    if (kind == GALV_PROFILE_OVERLAP) {
        out->compute_slowdown = out->comm_slowdown = 1;
    }
    for (size_t i = 0; i < N_FIELDS && status == GALV_OK; i++) {
        status = read_field(table, row, &fields[i], at->field[i], out, err);
    }
    if (status == GALV_OK) {
        status =
            read_time(table, row, "time", at->time_ms, at->time_us, &out->time_s, err);
    }
    if (status == GALV_OK) {
        status = read_time(table, row, "stddev", at->stddev_ms, at->stddev_us,
                           &out->stddev_s, err);
    }
    if (status == GALV_OK && galv_profile_check_with(out, memo, err) != GALV_OK) {
        galv_err_set_file(err, table->name);
        err->line = table->lines[row];
        status = err->status;
    }
    return status;
}

galv_status galv_profile_read_table(galv_profile *profile, const galv_csv *table,
                                    galv_err *err)
{
    columns at;
    galv_status status = find_columns(&at, table, err);
    galv_device_memo memo = {.is_known = false};
    size_t n_before = profile->n_rows;
    for (size_t row = 0; row < table->n_rows && status == GALV_OK; row++) {
        galv_profile_row read;
        status = read_row(table, row, &at, &read, &memo, err);
        if (status == GALV_OK) {
            status = galv_profile_add(profile, &read, err);
        }
    }
    if (status != GALV_OK) {
        profile->n_rows = n_before;
    }
    return status;
}

static galv_status read_file(galv_profile *profile, const char *path, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_csv table;
    galv_status status = galv_csv_read_file(&table, path, arena, err);
    if (status == GALV_OK) {
        status = galv_profile_read_table(profile, &table, err);
    }
    galv_arena_free(arena);
    return status;
}

static galv_status read_folder(galv_profile *profile, const char *path,
                               galv_arena *arena, galv_err *err)
{
    char **names = NULL;
    size_t n_names = 0;
    size_t n_files = 0;
    size_t n_before = profile->n_rows;
    galv_status status = galv_folder_list(&names, &n_names, path, arena, err);
    for (size_t i = 0; i < n_names && status == GALV_OK; i++) {
        char *file = galv_path_join(arena, path, names[i]);
        if (file == NULL) {
            status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
        } else if (galv_path_has_extension(file, ".csv") && galv_is_file(file)) {
            status = read_file(profile, file, err);
            n_files++;
        }
    }
    if (status == GALV_OK && n_files == 0) {
        status = galv_fail_at(err, path, 0, 0, "no .csv file in this folder");
    }
    if (status != GALV_OK) {
        profile->n_rows = n_before;
    }
    return status;
}

galv_status galv_profile_read(galv_profile *profile, const char *path, galv_err *err)
{
    if (!galv_is_folder(path)) {
        return read_file(profile, path, err);
    }
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = read_folder(profile, path, arena, err);
    galv_arena_free(arena);
    return status;
}

/* ---- writing ---- */

static void put_number(galv_text *out, double number)
{
    char digits[40];
    galv_csv_put(out, galv_print_exact(digits, sizeof digits, number), false);
}

static const char *word_or_nothing(const char *const words[], int n_words, int index)
{
    return index >= 0 && index < n_words ? words[index] : "";
}

/* Zeros are written too: an empty cell would be read as the default, which is not 0 for
 * degrees. */
static void put_field(galv_text *out, const galv_profile_row *row, const field *f)
{
    const char *place = (const char *)row + f->offset;
    int32_t i32 = 0;
    int64_t i64 = 0;
    double f64 = 0;
    switch (f->type) {
    case I32:
        memcpy(&i32, place, sizeof i32);
        galv_text_printf(out, ",%d", (int)i32);
        return;
    case I64:
        memcpy(&i64, place, sizeof i64);
        galv_text_printf(out, ",%lld", (long long)i64);
        return;
    case F64:
        memcpy(&f64, place, sizeof f64);
        put_number(out, f64);
        return;
    case TEXT:
        galv_csv_put(out, place, false);
        return;
    case PRECISION:
        galv_csv_put(
            out,
            word_or_nothing(galv_precision_names, GALV_N_PRECISIONS, row->precision),
            false);
        return;
    case PHASE:
        galv_csv_put(
            out, word_or_nothing(galv_op_kind_names, GALV_OP_OPTIMIZER + 1, row->phase),
            false);
        return;
    case SP:
        galv_csv_put(out, word_or_nothing(galv_sp_names, GALV_N_SPS, row->sp), false);
        return;
    default:
        galv_csv_put(
            out,
            word_or_nothing(galv_recompute_names, GALV_N_RECOMPUTES, row->recompute),
            false);
        return;
    }
}

galv_status galv_profile_write_csv(const galv_profile *profile, const char *path,
                                   galv_err *err)
{
    galv_text out = GALV_TEXT_INIT;
    galv_text_append(&out, "kind");
    for (size_t i = 0; i < N_FIELDS; i++) {
        galv_csv_put(&out, fields[i].column, false);
    }
    galv_text_append_char(&out, '\n');
    for (size_t row = 0; row < profile->n_rows; row++) {
        galv_text_append(&out, galv_profile_kind_names[profile->rows[row].kind]);
        for (size_t i = 0; i < N_FIELDS; i++) {
            put_field(&out, &profile->rows[row], &fields[i]);
        }
        galv_text_append_char(&out, '\n');
    }
    galv_status status = out.failed ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                                    : galv_file_write(path, out.bytes, out.length, err);
    galv_text_release(&out);
    return status;
}
