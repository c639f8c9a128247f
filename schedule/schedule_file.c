/* A schedule's order as a CSV: one row a slot.
 *
 * The rows of different stages may be mixed as they come; within a stage their order is
 * the order of the stage. What is read is made a program without layers once, to see
 * that it can run: two stages that wait for each other are found here, by name, not in
 * a simulation that stands still.
 *
 * Left out: costs, and when a slot runs. Both follow (sim/stage_times.h, plans). */
#include "schedule/schedule_file.h"

#include "base/words.h"
#include "schedule/program.h"

#include <stdlib.h>
#include <string.h>

static const char *const column_names[] = {"stage",       "pass",          "chunk",
                                           "micro_batch", "virtual_stage", "beside"};

enum { STAGE, PASS, CHUNK, MICRO_BATCH, VIRTUAL_STAGE, BESIDE, N_COLUMNS };

bool galv_schedule_file_is(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".csv") == 0;
}

/* ---- reading ---- */

static galv_status find_columns(int columns[N_COLUMNS], const galv_csv *table,
                                galv_err *err)
{
    for (int i = 0; i < N_COLUMNS; i++) {
        bool needed = i == STAGE || i == PASS || i == MICRO_BATCH;
        columns[i] = needed ? galv_csv_require(table, column_names[i], err)
                            : galv_csv_column(table, column_names[i]);
        if (needed && columns[i] < 0) {
            return err->status;
        }
    }
    if (galv_csv_only(table, column_names, N_COLUMNS, err) != GALV_OK) {
        return GALV_INPUT;
    }
    return table->n_rows > 0 ? GALV_OK
                             : galv_fail_at(err, table->name, 1, 0, "no slots");
}

static galv_status read_pass(uint8_t *pass, const galv_csv *table, size_t row,
                             int column, galv_err *err)
{
    const char *word = galv_csv_cell(table, row, column);
    int index = galv_word_index(galv_pass_letters, GALV_PASS_NONE, word);
    if (index < 0) {
        galv_csv_fail(table, row, column, err, "no pass '%.40s'", word);
        galv_hint(err, "F, B (whole backward), I (for inputs) or W (for weights)");
        return GALV_INPUT;
    }
    *pass = (uint8_t)index;
    return GALV_OK;
}

/* `place` gets the virtual stage, -1 = not given. */
static galv_status read_row(galv_order_entry *entry, int32_t *place,
                            const galv_csv *table, size_t row, const int *columns,
                            galv_err *err)
{
    int32_t chunk = 0;
    int32_t beside = 0;
    const struct {
        int column;
        int32_t *to;
        int32_t end;
    } numbers[] = {
        {STAGE, &entry->stage, GALV_MOST_ORDER_STAGES},
        {CHUNK, &chunk, GALV_MOST_ORDER_CHUNKS},
        {MICRO_BATCH, &entry->slot.micro_batch, GALV_MOST_ORDER_MICRO_BATCHES},
        {VIRTUAL_STAGE, place, GALV_MOST_ORDER_STAGES * GALV_MOST_ORDER_CHUNKS},
        {BESIDE, &beside, 2},
    };
    const int needed[] = {STAGE, MICRO_BATCH};
    *place = -1;
    for (size_t i = 0; i < 2; i++) {
        if (galv_csv_cell(table, row, columns[needed[i]])[0] == '\0') {
            return galv_csv_fail(table, row, columns[needed[i]], err, "is empty");
        }
    }
    galv_status status = read_pass(&entry->slot.pass, table, row, columns[PASS], err);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && status == GALV_OK;
         i++) {
        status = galv_csv_i32(table, row, columns[numbers[i].column], 0,
                              numbers[i].end - 1, numbers[i].to, err);
    }
    entry->slot.chunk = (int16_t)chunk;
    entry->slot.paired = (uint8_t)beside;
    return status;
}

/* Where the chunks lie, by stage and chunk; NULL when no row says so. */
static galv_status gather_places(int32_t **places, const galv_order_entry *entries,
                                 const int32_t *place_of, const galv_csv *table,
                                 int column, galv_arena *arena, galv_err *err)
{
    int32_t n_stages = 0;
    int32_t n_chunks = 0;
    *places = NULL;
    galv_order_count(&n_stages, &n_chunks, entries, table->n_rows);
    size_t n = (size_t)n_stages * (size_t)n_chunks;
    if (column < 0 || n > table->n_rows) { /* too few rows is said later */
        return GALV_OK;
    }
    int32_t *made = GALV_NEW_ARRAY(arena, int32_t, n);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu chunks", n);
    }
    memset(made, 0xff, n * sizeof *made);
    for (size_t i = 0; i < table->n_rows; i++) {
        const galv_order_entry *e = &entries[i];
        int32_t *at = &made[e->stage * n_chunks + e->slot.chunk];
        if (place_of[i] >= 0 && *at >= 0 && *at != place_of[i]) {
            return galv_csv_fail(table, i, column, err,
                                 "stage %d, chunk %d, was virtual stage %d before",
                                 (int)e->stage, (int)e->slot.chunk, (int)*at);
        }
        *at = place_of[i] >= 0 ? place_of[i] : *at;
    }
    *places = made;
    return GALV_OK;
}

/* Can it run? */
static galv_status check_runs(const galv_order *order, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    galv_program *program = NULL;
    galv_schedule schedule = galv_schedule_of_order(order);
    galv_schedule_shape shape = {order->n_stages, order->n_chunks,
                                 order->n_micro_batches, 0, NULL};
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status =
        galv_program_from_schedule(&program, &schedule, &shape, arena, err);
    if (status == GALV_OK) {
        status = galv_program_check(program, arena, err);
    }
    galv_arena_free(arena);
    return status;
}

static galv_status make_order(galv_order **order, const galv_order_entry *entries,
                              const int32_t *places, const galv_csv *table, int column,
                              galv_arena *arena, galv_err *err)
{
    size_t at = SIZE_MAX;
    galv_order *made = NULL;
    galv_err why = GALV_ERR_INIT;
    galv_status status =
        galv_order_make(&made, entries, table->n_rows, places, &at, arena, &why);
    if (status == GALV_INPUT && at != SIZE_MAX) {
        return galv_csv_fail(table, at, column, err, "%s", why.message);
    }
    if (status == GALV_OK) {
        status = check_runs(made, &why);
    }
    if (status == GALV_INPUT || status == GALV_USAGE) {
        return galv_fail_at(err, table->name, 0, 0, "%s", why.message);
    }
    if (status != GALV_OK) {
        *err = why;
        return status;
    }
    *order = made;
    return GALV_OK;
}

galv_status galv_schedule_file_read_table(galv_order **order, const galv_csv *table,
                                          galv_arena *arena, galv_err *err)
{
    int columns[N_COLUMNS];
    galv_status status = find_columns(columns, table, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_order_entry *entries = GALV_NEW_ARRAY(arena, galv_order_entry, table->n_rows);
    int32_t *place_of = GALV_NEW_ARRAY(arena, int32_t, table->n_rows);
    int32_t *places = NULL;
    if (entries == NULL || place_of == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu slots", table->n_rows);
    }
    for (size_t i = 0; i < table->n_rows && status == GALV_OK; i++) {
        status = read_row(&entries[i], &place_of[i], table, i, columns, err);
    }
    if (status == GALV_OK) {
        status = gather_places(&places, entries, place_of, table,
                               columns[VIRTUAL_STAGE], arena, err);
    }
    return status == GALV_OK
               ? make_order(order, entries, places, table, columns[PASS], arena, err)
               : status;
}

galv_status galv_schedule_file_read(galv_order **order, const char *path,
                                    galv_arena *arena, galv_err *err)
{
    galv_csv table;
    galv_status status = galv_csv_read_file(&table, path, arena, err);
    return status != GALV_OK ? status
                             : galv_schedule_file_read_table(order, &table, arena, err);
}

/* ---- writing ---- */

static bool is_looped(const galv_schedule *schedule, const galv_schedule_shape *shape)
{
    int32_t lanes = schedule->two_way ? 2 : shape->n_chunks;
    bool looped = !schedule->two_way;
    for (int32_t i = 0; i < shape->n_stages * lanes; i++) {
        looped = looped &&
                 galv_schedule_virtual_stage(schedule, shape, i / lanes, i % lanes) ==
                     i % lanes * shape->n_stages + i / lanes;
    }
    return looped;
}

static void put_rows(galv_text *out, const galv_slot *slots, size_t n_slots,
                     const galv_schedule *schedule, const galv_schedule_shape *shape,
                     int32_t stage, bool looped, bool pairs)
{
    for (size_t i = 0; i < n_slots && slots[i].pass != GALV_PASS_NONE; i++) {
        const galv_slot *s = &slots[i];
        galv_text_printf(out, "%d,%s,%d,%d", (int)stage, galv_pass_letters[s->pass],
                         (int)s->chunk, (int)s->micro_batch);
        if (!looped) {
            galv_text_printf(
                out, ",%d",
                (int)galv_schedule_virtual_stage(schedule, shape, stage, s->chunk));
        }
        galv_text_append(out, !pairs ? "\n" : s->paired ? ",1\n" : ",0\n");
    }
}

galv_status galv_schedule_file_put(galv_text *out, const galv_schedule *schedule,
                                   const galv_schedule_shape *shape, galv_err *err)
{
    size_t n_slots = galv_schedule_n_slots(schedule, shape);
    size_t n = n_slots * (size_t)shape->n_stages;
    galv_slot *slots = calloc(n > 0 ? n : 1, sizeof *slots);
    if (slots == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu slots", n);
    }
    galv_status status = galv_schedule_order(slots, schedule, shape, err);
    bool pairs = false;
    for (size_t i = 0; i < n && status == GALV_OK; i++) {
        pairs |= slots[i].pass != GALV_PASS_NONE && slots[i].paired;
    }
    bool looped = status == GALV_OK && is_looped(schedule, shape);
    if (status == GALV_OK) {
        galv_text_printf(out, "stage,pass,chunk,micro_batch%s%s\n",
                         looped ? "" : ",virtual_stage", pairs ? ",beside" : "");
    }
    for (int32_t stage = 0; stage < shape->n_stages && status == GALV_OK; stage++) {
        put_rows(out, &slots[(size_t)stage * n_slots], n_slots, schedule, shape, stage,
                 looped, pairs);
    }
    free(slots);
    return status;
}
