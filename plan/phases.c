/* One row is one phase; what a row leaves empty is as in the job. */
#include "plan/phases.h"

#include "base/units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_TOKENS INT64_C(1000000000000000000) /* 10^18 */

/* What there is room for, and no part of a character. */
static void take_name(char *name, size_t size, const char *word)
{
    size_t length = strlen(word);
    if (length >= size) {
        size_t end = size - 1;
        length = end;
        while (end - length < 4 && ((unsigned char)word[length] & 0xC0U) == 0x80U) {
            length--;
        }
        length = end - length < 4 ? length : end; /* no character is that long */
    }
    memcpy(name, word, length);
    name[length] = '\0';
}

static galv_status read_row(galv_phase *phase, const galv_csv *table, size_t row,
                            galv_err *err)
{
    int name = galv_csv_column(table, "phase");
    int tokens = galv_csv_column(table, "tokens");
    int64_t count = 0;
    const char *cell = galv_csv_cell(table, row, tokens);
    galv_status status = galv_csv_i32(table, row, galv_csv_column(table, "seq_length"),
                                      1, INT32_MAX, &phase->seq_length, err);
    if (status == GALV_OK) {
        status = galv_csv_i64(table, row, galv_csv_column(table, "global_batch"), 1,
                              INT64_C(1000000000), &phase->global_batch_size, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (cell[0] == '\0') {
        return galv_csv_fail(table, row, tokens, err, "is empty");
    }
    galv_err why = GALV_ERR_INIT;
    if (galv_parse_count(&count, cell, 1, MOST_TOKENS, &why) != GALV_OK) {
        return galv_csv_fail(table, row, tokens, err, "%.200s", why.message);
    }
    phase->tokens = (double)count;
    const char *word = galv_csv_cell(table, row, name);
    if (word[0] != '\0') {
        take_name(phase->name, sizeof phase->name, word);
    } else {
        snprintf(phase->name, sizeof phase->name, "%zu", row + 1);
    }
    return GALV_OK;
}

galv_status galv_phases_read_table(galv_phase **phases, size_t *n_phases,
                                   const galv_csv *table, galv_arena *arena,
                                   galv_err *err)
{
    static const char *const names[] = {"phase", "seq_length", "global_batch",
                                        "tokens"};
    galv_status status =
        galv_csv_only(table, names, sizeof names / sizeof names[0], err);
    if (status != GALV_OK) {
        return status;
    }
    if (galv_csv_require(table, "tokens", err) < 0) {
        return GALV_INPUT;
    }
    if (table->n_rows < 1 || table->n_rows > GALV_MOST_PHASES) {
        return galv_fail_at(err, table->name, 1, 0, "has %zu phases, not 1 to %d",
                            table->n_rows, GALV_MOST_PHASES);
    }
    galv_phase *made = GALV_NEW_ARRAY(arena, galv_phase, table->n_rows);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t row = 0; row < table->n_rows && status == GALV_OK; row++) {
        status = read_row(&made[row], table, row, err);
    }
    if (status == GALV_OK) {
        *phases = made;
        *n_phases = table->n_rows;
    }
    return status;
}

galv_status galv_phases_read(galv_phase **phases, size_t *n_phases, const char *path,
                             galv_arena *arena, galv_err *err)
{
    galv_csv table;
    galv_status status = galv_csv_read_file(&table, path, arena, err);
    return status == GALV_OK
               ? galv_phases_read_table(phases, n_phases, &table, arena, err)
               : status;
}

galv_job galv_phase_job(const galv_job *job, const galv_phase *phase)
{
    galv_job own = *job;
    if (phase->seq_length > 0) {
        own.workload.seq_length = phase->seq_length;
    }
    if (phase->global_batch_size > 0) {
        own.workload.global_batch_size = phase->global_batch_size;
    }
    own.workload.tokens_to_train = phase->tokens;
    galv_job_fill_defaults(&own);
    return own;
}

double galv_phase_steps(const galv_job *phase_job, const galv_phase *phase)
{
    double tokens_per_step = (double)phase_job->workload.global_batch_size *
                             (double)phase_job->workload.seq_length;
    return fmax(1, ceil(phase->tokens / tokens_per_step));
}
