/* A run of days: from --run-days, --mtbf-device and their like to a verdict. */
#ifndef GALV_CLI_RUN_DAYS_H
#define GALV_CLI_RUN_DAYS_H

#include "cli/job.h"
#include "sim/evaluate.h"
#include "sim/failures.h"

#define GALV_RUN_DAYS_MOST_DEFAULTS 4

typedef struct galv_run_days {
    bool given; /* a run was asked for */
    double work_s;
    galv_failure_options options;
    const char *defaults[GALV_RUN_DAYS_MOST_DEFAULTS]; /* what nobody said */
    size_t n_defaults;
    galv_run_result result;
} galv_run_days;

/* Does the command line ask for a run of days? */
bool galv_run_days_asked(const galv_cli *cli);

/* Reads the options and, where a run is asked for, plays it: as many days of work as
 * --run-days says, or what --tokens take at the result's rate. Errors: GALV_USAGE when
 * an option of a run is given and no length; as galv_failure_simulate. */
galv_status galv_run_days_play(galv_run_days *run, const galv_cli *cli,
                               const galv_setup *setup, const galv_plan *plan,
                               const galv_result *result, galv_err *err);

/* Prints it below a result; nothing when none was asked for. */
void galv_run_days_print(const galv_run_days *run, const galv_cli *cli);

/* Writes "run": {...} into an open document; nothing when none was asked for. */
void galv_run_days_to_json(const galv_run_days *run, galv_json_writer *writer);

#endif
