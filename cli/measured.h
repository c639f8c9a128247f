/* One plan's predicted timeline beside a measured one. */
#ifndef GALV_CLI_MEASURED_H
#define GALV_CLI_MEASURED_H

#include "cli/job.h"

/* Simulates the plan, reads the measured timeline, prints both: the iteration, and the
 * mean seconds of a rank by stream and kind of operation (table, or JSON under --json).
 * `error_frac`: predicted / measured - 1 of the iteration. */
galv_status galv_measured_compare(double *error_frac, const galv_cli *cli,
                                  const char *plan_path, const char *timeline_path,
                                  galv_err *err);

#endif
