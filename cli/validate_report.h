/* What `validate` says about its cases: for people, as JSON, as CSV. */
#ifndef GALV_CLI_VALIDATE_REPORT_H
#define GALV_CLI_VALIDATE_REPORT_H

#include "accuracy/error_sums.h"
#include "accuracy/interval.h"
#include "cli/output.h"

typedef struct galv_validate_report {
    const galv_cli *cli;
    const galv_validation *validation;
    const galv_interval *intervals; /* [n_cases], the case's own source left out */
    const galv_interval *memory_intervals; /* [n_cases], the same of the peak */
    const bool *refitted;                  /* [n_cases]; NULL: nothing was left out */
} galv_validate_report;

/* The intervals of every case, of its time and of its peak, its own source left out.
 * Owned by cli->arena. */
galv_status galv_validate_intervals(galv_interval **intervals,
                                    galv_interval **memory_intervals,
                                    const galv_cli *cli,
                                    const galv_validation *validation, galv_err *err);

/* Every case, or without `all` those that were predicted but never measured; and why
 * some were not predicted. */
void galv_validate_print_cases(const galv_validate_report *report, bool all);

/* One table of sums; `by` as in accuracy/error_sums.h. */
galv_status galv_validate_print_by(const galv_validate_report *report, int by,
                                   galv_err *err);

/* The sweeps: how each was ranked. */
galv_status galv_validate_print_sweeps(const galv_validate_report *report,
                                       galv_err *err);

/* The lines under the tables: ranking in all, coverage, what was left out. */
galv_status galv_validate_print_foot(const galv_validate_report *report, galv_err *err);

galv_status galv_validate_document(galv_text *out, const galv_validate_report *report,
                                   galv_err *err);
void galv_validate_csv(galv_text *out, const galv_validate_report *report);

#endif
