/* The timeline as CSV: one row per span, and three kinds of rows that are no spans:
 *
 *   iteration  one row: rank = number of rows, chunk = chunks per stage, stream =
 *              "simulated" or "measured", end_s = duration, bytes = memory limit,
 *              part = title, pass = subtitle
 *   rank       one per rank where layers are known: first_layer, n_layers of its first
 *              chunk, bytes = its own memory limit where ranks differ in it
 *   memory     one per sample: rank, start_s, bytes
 *
 * Numbers are written as the shortest decimals that read back to the same double, so a
 * timeline survives the round trip to the last bit. A file without an iteration row
 * (written by somebody else's tracer) is a measured timeline whose duration is its last
 * end. What is refused: a time or size that is negative, NaN or infinite, an end before
 * its start, a word that is not in the vocabulary, a rank beyond the count. */
#include "traces/timeline.h"
#include "traces/timeline_internal.h"

#include "base/csv.h"
#include "base/file.h"
#include "base/text.h"
#include "base/units.h"
#include "base/words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ITERATION_ROW GALV_N_OP_KINDS
#define RANK_ROW      (GALV_N_OP_KINDS + 1)
#define MEMORY_ROW    (GALV_N_OP_KINDS + 2)
#define N_ROW_KINDS   (GALV_N_OP_KINDS + 3)

static const char *const origins[2] = {"simulated", "measured"};

/* X(name): the columns, in the order written. */
#define COLUMN_TABLE(X) \
    X(rank)             \
    X(stream)           \
    X(kind)             \
    X(part)             \
    X(pass)             \
    X(stage)            \
    X(chunk)            \
    X(micro_batch)      \
    X(first_layer)      \
    X(n_layers)         \
    X(start_s)          \
    X(end_s)            \
    X(bytes)

typedef struct columns {
#define COLUMN_FIELD(name) int name;
    COLUMN_TABLE(COLUMN_FIELD)
#undef COLUMN_FIELD
} columns;

/* ---- reading ---- */

typedef struct reader {
    const galv_csv *table;
    columns at;
    const char *row_kinds[N_ROW_KINDS];
    galv_timeline *timeline;
    galv_arena *arena;
    galv_err *err;
    long iteration_line; /* 0 = none so far */
    int32_t max_rank;
    double last_end_s;
} reader;

static galv_status find_columns(reader *r)
{
    static const char *const required[] = {"rank", "stream", "kind", "start_s",
                                           "end_s"};
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        if (galv_csv_require(r->table, required[i], r->err) < 0) {
            return GALV_INPUT;
        }
    }
    static const char *const names[] = {
#define COLUMN_NAME(name) #name,
        COLUMN_TABLE(COLUMN_NAME)
#undef COLUMN_NAME
    };
    if (galv_csv_not_nearly(r->table, names, sizeof names / sizeof names[0], r->err) !=
        GALV_OK) {
        return GALV_INPUT;
    }
#define FIND_COLUMN(name) r->at.name = galv_csv_column(r->table, #name);
    COLUMN_TABLE(FIND_COLUMN)
#undef FIND_COLUMN
    for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
        r->row_kinds[kind] = galv_op_kind_names[kind];
    }
    r->row_kinds[ITERATION_ROW] = "iteration";
    r->row_kinds[RANK_ROW] = "rank";
    r->row_kinds[MEMORY_ROW] = "memory";
    return GALV_OK;
}

/* Index of the cell's word; an empty cell leaves `index` as it is. */
static galv_status read_word(const reader *r, size_t row, int column,
                             const char *const words[], size_t n_words, int *index)
{
    const char *word = galv_csv_cell(r->table, row, column);
    if (word[0] == '\0') {
        return GALV_OK;
    }
    int found = galv_word_index(words, n_words, word);
    if (found < 0) {
        galv_csv_fail(r->table, row, column, r->err, "unknown word '%.60s'", word);
        galv_hint_words(r->err, words, n_words, word);
        return GALV_INPUT;
    }
    *index = found;
    return GALV_OK;
}

/* A number that the row cannot do without. */
static galv_status read_needed(const reader *r, size_t row, int column, double high,
                               double *number)
{
    if (galv_csv_cell(r->table, row, column)[0] == '\0') {
        return galv_csv_fail(r->table, row, column, r->err, "a number is missing");
    }
    return galv_csv_f64(r->table, row, column, 0, high, number, r->err);
}

static galv_status read_rank(reader *r, size_t row, int32_t *rank)
{
    if (galv_csv_cell(r->table, row, r->at.rank)[0] == '\0') {
        return galv_csv_fail(r->table, row, r->at.rank, r->err, "the rank is missing");
    }
    galv_status status = galv_csv_i32(r->table, row, r->at.rank, 0,
                                      GALV_TIMELINE_MAX_RANKS - 1, rank, r->err);
    if (status == GALV_OK && *rank > r->max_rank) {
        r->max_rank = *rank;
    }
    return status;
}

static galv_status read_span(reader *r, size_t row, int kind)
{
    const columns *at = &r->at;
    galv_span span = {.kind = (uint8_t)kind, .micro_batch = -1, .first_layer = -1};
    int stream = -1;
    int part = GALV_PART_WHOLE;
    int pass = kind <= GALV_OP_OPTIMIZER ? kind : GALV_OP_FORWARD;
    if (read_rank(r, row, &span.rank) != GALV_OK ||
        read_word(r, row, at->stream, galv_stream_names, GALV_N_STREAMS, &stream) !=
            GALV_OK ||
        read_word(r, row, at->part, galv_part_names, GALV_N_PARTS, &part) != GALV_OK ||
        read_word(r, row, at->pass, galv_op_kind_names, GALV_N_OP_KINDS, &pass) !=
            GALV_OK) {
        return r->err->status;
    }
    if (stream < 0) {
        galv_csv_fail(r->table, row, at->stream, r->err, "the stream is missing");
        galv_hint_words(r->err, galv_stream_names, GALV_N_STREAMS, "");
        return GALV_INPUT;
    }
    span.stream = (uint8_t)stream;
    span.part = (uint8_t)part;
    span.pass = (uint8_t)pass;
    const galv_csv *table = r->table;
    galv_err *err = r->err;
    if (galv_csv_i32(table, row, at->stage, 0, GALV_TIMELINE_MAX_RANKS - 1, &span.stage,
                     err) != GALV_OK ||
        galv_csv_i32(table, row, at->chunk, 0, GALV_TIMELINE_MAX_LAYERS, &span.chunk,
                     err) != GALV_OK ||
        galv_csv_i32(table, row, at->micro_batch, -1, INT32_MAX, &span.micro_batch,
                     err) != GALV_OK ||
        galv_csv_i32(table, row, at->first_layer, -1, GALV_TIMELINE_MAX_LAYERS,
                     &span.first_layer, err) != GALV_OK ||
        galv_csv_i32(table, row, at->n_layers, 0, GALV_TIMELINE_MAX_LAYERS,
                     &span.n_layers, err) != GALV_OK ||
        read_needed(r, row, at->start_s, GALV_TIMELINE_MAX_S, &span.start_s) !=
            GALV_OK ||
        read_needed(r, row, at->end_s, GALV_TIMELINE_MAX_S, &span.end_s) != GALV_OK ||
        galv_csv_f64(table, row, at->bytes, 0, GALV_TIMELINE_MAX_BYTES, &span.bytes,
                     err) != GALV_OK) {
        return err->status;
    }
    if (span.end_s < span.start_s) {
        return galv_csv_fail(table, row, at->end_s, err,
                             "the end %s lies before the start %s",
                             galv_csv_cell(table, row, at->end_s),
                             galv_csv_cell(table, row, at->start_s));
    }
    if (span.end_s > r->last_end_s) {
        r->last_end_s = span.end_s;
    }
    r->timeline->spans[r->timeline->n_spans++] = span;
    return GALV_OK;
}

static galv_status read_sample(reader *r, size_t row)
{
    galv_memory_sample sample = {0, 0, 0};
    if (read_rank(r, row, &sample.rank) != GALV_OK ||
        read_needed(r, row, r->at.start_s, GALV_TIMELINE_MAX_S, &sample.time_s) !=
            GALV_OK ||
        read_needed(r, row, r->at.bytes, GALV_TIMELINE_MAX_BYTES, &sample.bytes) !=
            GALV_OK) {
        return r->err->status;
    }
    r->timeline->samples[r->timeline->n_samples++] = sample;
    return GALV_OK;
}

static galv_status read_name(const reader *r, size_t row, int column, char *buffer,
                             size_t size)
{
    const char *cell = galv_csv_cell(r->table, row, column);
    if (strlen(cell) >= size) {
        return galv_csv_fail(r->table, row, column, r->err, "longer than %zu bytes",
                             size - 1);
    }
    strcpy(buffer, cell);
    return GALV_OK;
}

static galv_status read_iteration(reader *r, size_t row)
{
    galv_timeline *t = r->timeline;
    if (r->iteration_line != 0) {
        return galv_csv_fail(r->table, row, r->at.kind, r->err,
                             "a second iteration row (the first is line %ld)",
                             r->iteration_line);
    }
    r->iteration_line = r->table->lines[row];
    int measured = 0;
    if (galv_csv_i32(r->table, row, r->at.rank, 0, GALV_TIMELINE_MAX_RANKS, &t->n_ranks,
                     r->err) != GALV_OK ||
        galv_csv_i32(r->table, row, r->at.chunk, 0, GALV_TIMELINE_MAX_LAYERS,
                     &t->n_chunks, r->err) != GALV_OK ||
        read_word(r, row, r->at.stream, origins, 2, &measured) != GALV_OK ||
        read_needed(r, row, r->at.end_s, GALV_TIMELINE_MAX_S, &t->duration_s) !=
            GALV_OK ||
        galv_csv_f64(r->table, row, r->at.bytes, 0, GALV_TIMELINE_MAX_BYTES,
                     &t->memory_limit_bytes, r->err) != GALV_OK ||
        read_name(r, row, r->at.part, t->title, sizeof t->title) != GALV_OK ||
        read_name(r, row, r->at.pass, t->subtitle, sizeof t->subtitle) != GALV_OK) {
        return r->err->status;
    }
    t->measured = measured == 1;
    return GALV_OK;
}

/* Rank rows are read last, when the number of ranks is known. */
static galv_status read_rank_layers(reader *r, const int *kinds)
{
    galv_timeline *t = r->timeline;
    for (size_t row = 0; row < r->table->n_rows; row++) {
        if (kinds[row] != RANK_ROW) {
            continue;
        }
        if (t->first_layer == NULL) {
            t->first_layer = GALV_NEW_ARRAY(r->arena, int32_t, t->n_ranks);
            t->last_layer = GALV_NEW_ARRAY(r->arena, int32_t, t->n_ranks);
            if (t->first_layer == NULL || t->last_layer == NULL) {
                return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
            }
            for (int32_t rank = 0; rank < t->n_ranks; rank++) {
                t->first_layer[rank] = t->last_layer[rank] = -1;
            }
        }
        if (t->rank_limit_bytes == NULL &&
            galv_csv_cell(r->table, row, r->at.bytes)[0] != '\0') {
            t->rank_limit_bytes = GALV_NEW_ARRAY(r->arena, double, t->n_ranks);
            if (t->rank_limit_bytes == NULL) {
                return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
            }
            for (int32_t rank = 0; rank < t->n_ranks; rank++) {
                t->rank_limit_bytes[rank] = t->memory_limit_bytes;
            }
        }
        int32_t rank = 0;
        int32_t first = -1;
        int32_t n_layers = 0;
        double limit = t->memory_limit_bytes;
        if (read_rank(r, row, &rank) != GALV_OK ||
            galv_csv_i32(r->table, row, r->at.first_layer, 0, GALV_TIMELINE_MAX_LAYERS,
                         &first, r->err) != GALV_OK ||
            galv_csv_i32(r->table, row, r->at.n_layers, 0, GALV_TIMELINE_MAX_LAYERS,
                         &n_layers, r->err) != GALV_OK ||
            galv_csv_f64(r->table, row, r->at.bytes, 0, GALV_TIMELINE_MAX_BYTES, &limit,
                         r->err) != GALV_OK) {
            return r->err->status;
        }
        if (t->rank_limit_bytes != NULL) {
            t->rank_limit_bytes[rank] = limit;
        }
        t->first_layer[rank] = first;
        t->last_layer[rank] = first < 0 ? -1 : first + n_layers - 1;
    }
    return GALV_OK;
}

static galv_status read_rows(reader *r, int *kinds)
{
    for (size_t row = 0; row < r->table->n_rows; row++) {
        int kind = -1;
        galv_status status =
            read_word(r, row, r->at.kind, r->row_kinds, N_ROW_KINDS, &kind);
        if (status == GALV_OK && kind < 0) {
            status =
                galv_csv_fail(r->table, row, r->at.kind, r->err, "the kind is missing");
        }
        if (status != GALV_OK) {
            return status;
        }
        kinds[row] = kind;
        if (kind == ITERATION_ROW) {
            status = read_iteration(r, row);
        } else if (kind == MEMORY_ROW) {
            status = read_sample(r, row);
        } else if (kind == RANK_ROW) {
            int32_t rank = 0;
            status = read_rank(r, row, &rank);
        } else {
            status = read_span(r, row, kind);
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

galv_status galv_timeline_read_table(galv_timeline *timeline, const galv_csv *table,
                                     galv_arena *arena, galv_err *err)
{
    galv_timeline read = {.n_chunks = 1, .measured = true};
    reader r = {
        .table = table, .timeline = &read, .arena = arena, .err = err, .max_rank = -1};
    galv_status status = find_columns(&r);
    if (status != GALV_OK) {
        return status;
    }
    read.spans = GALV_NEW_ARRAY(arena, galv_span, table->n_rows);
    read.samples = GALV_NEW_ARRAY(arena, galv_memory_sample, table->n_rows);
    int *kinds = GALV_NEW_ARRAY(arena, int, table->n_rows);
    if (read.spans == NULL || read.samples == NULL || kinds == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    status = read_rows(&r, kinds);
    if (status != GALV_OK) {
        return status;
    }
    if (r.iteration_line == 0) {
        read.duration_s = r.last_end_s;
    }
    if (read.n_ranks == 0) {
        read.n_ranks = r.max_rank + 1;
    } else if (r.max_rank >= read.n_ranks) {
        return galv_fail_at(err, table->name, r.iteration_line, 0,
                            "the iteration has %d ranks, but the file speaks of "
                            "rank %d",
                            (int)read.n_ranks, (int)r.max_rank);
    }
    status = read_rank_layers(&r, kinds);
    if (status != GALV_OK) {
        return status;
    }
    galv_timeline_sort(&read);
    *timeline = read;
    return GALV_OK;
}

galv_status galv_timeline_read_csv(galv_timeline *timeline, const char *path,
                                   galv_arena *arena, galv_err *err)
{
    galv_csv table;
    galv_status status = galv_csv_read_file(&table, path, arena, err);
    return status == GALV_OK ? galv_timeline_read_table(timeline, &table, arena, err)
                             : status;
}

/* ---- writing ---- */

static void put_number(galv_text *out, double number)
{
    char digits[40];
    galv_text_append_char(out, ',');
    galv_text_append(out, galv_print_exact(digits, sizeof digits, number));
}

static void write_iteration(galv_text *out, const galv_timeline *t)
{
    galv_text_printf(out, "%d,%s,iteration", (int)t->n_ranks, origins[t->measured]);
    galv_csv_put(out, t->title, false);
    galv_csv_put(out, t->subtitle, false);
    galv_text_printf(out, ",,%d,,,,", (int)t->n_chunks);
    put_number(out, t->duration_s);
    put_number(out, t->memory_limit_bytes);
    galv_text_append_char(out, '\n');
    for (int32_t rank = 0;
         rank < t->n_ranks && t->first_layer != NULL && t->last_layer != NULL; rank++) {
        if (t->first_layer[rank] < 0) {
            galv_text_printf(out, "%d,,rank,,,,,,,0,,", (int)rank);
        } else {
            galv_text_printf(out, "%d,,rank,,,,,,%d,%d,,", (int)rank,
                             (int)t->first_layer[rank],
                             (int)(t->last_layer[rank] - t->first_layer[rank] + 1));
        }
        if (t->rank_limit_bytes != NULL) {
            put_number(out, t->rank_limit_bytes[rank]);
        } else {
            galv_text_append_char(out, ',');
        }
        galv_text_append_char(out, '\n');
    }
}

static void write_span(galv_text *out, const galv_span *s)
{
    galv_text_printf(out, "%d,%s,%s,%s,%s,%d,%d,%d,%d,%d", (int)s->rank,
                     galv_stream_names[s->stream], galv_op_kind_names[s->kind],
                     galv_part_names[s->part], galv_op_kind_names[s->pass],
                     (int)s->stage, (int)s->chunk, (int)s->micro_batch,
                     (int)s->first_layer, (int)s->n_layers);
    put_number(out, s->start_s);
    put_number(out, s->end_s);
    put_number(out, s->bytes);
    galv_text_append_char(out, '\n');
}

galv_status galv_timeline_put_csv(galv_text *out, const galv_timeline *timeline,
                                  galv_err *err)
{
    galv_status status = galv_timeline_check(timeline, err);
    if (status != GALV_OK) {
        return status;
    }
    bool first = true;
#define PUT_COLUMN(name)             \
    galv_csv_put(out, #name, first); \
    first = false;
    COLUMN_TABLE(PUT_COLUMN)
#undef PUT_COLUMN
    galv_text_append_char(out, '\n');
    write_iteration(out, timeline);
    for (size_t i = 0; i < timeline->n_spans; i++) {
        write_span(out, &timeline->spans[i]);
    }
    for (size_t i = 0; i < timeline->n_samples; i++) {
        const galv_memory_sample *sample = &timeline->samples[i];
        galv_text_printf(out, "%d,,memory,,,,,,,", (int)sample->rank);
        put_number(out, sample->time_s);
        galv_text_append_char(out, ',');
        put_number(out, sample->bytes);
        galv_text_append_char(out, '\n');
    }
    return out->failed ? galv_fail(err, GALV_NO_MEMORY, "out of memory") : GALV_OK;
}

galv_status galv_timeline_write_csv(const galv_timeline *timeline, const char *path,
                                    galv_err *err)
{
    galv_text out = GALV_TEXT_INIT;
    galv_status status = galv_timeline_put_csv(&out, timeline, err);
    if (status == GALV_OK) {
        status = galv_file_write(path, out.bytes, out.length, err);
    }
    galv_text_release(&out);
    return status;
}
