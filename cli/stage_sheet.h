/* Schedules played under stage times, set side by side. */
#ifndef GALV_CLI_STAGE_SHEET_H
#define GALV_CLI_STAGE_SHEET_H

#include "cli/output.h"
#include "sim/stage_times.h"

#define GALV_MOST_STAGE_ROWS 64

typedef struct galv_stage_row {
    const galv_schedule *schedule;
    const char *why_not; /* NULL: it was played */
    galv_stage_times_result result;
} galv_stage_row;

typedef struct galv_stage_sheet {
    const galv_cli *cli;
    galv_target target;
    galv_stage_times times;
    galv_stage_times_options options;
    bool all; /* schedules were asked for, not some by name */
    size_t n_rows;
    galv_stage_row rows[GALV_MOST_STAGE_ROWS]; /* what was played first */
} galv_stage_sheet;

/* The rows that were played: the first ones. */
size_t galv_stage_sheet_n_played(const galv_stage_sheet *s);

/* For people: a table, what was left out and why. */
void galv_stage_sheet_print(const galv_stage_sheet *s);

/* For programs: CSV, and the document galvatron-sim/stage-times (docs/formats.md). */
void galv_stage_sheet_put_csv(galv_text *out, const galv_stage_sheet *s);
galv_status galv_stage_sheet_document(galv_text *out, const galv_stage_sheet *s,
                                      galv_err *err);

#endif
