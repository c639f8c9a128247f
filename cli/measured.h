/* What was measured of a plan: as one iteration, and as a timeline beside the predicted
 * one. */
#ifndef GALV_CLI_MEASURED_H
#define GALV_CLI_MEASURED_H

#include "accuracy/calibrate.h"
#include "cli/job.h"

/* The iteration of a measured file, iteration_time_s and noise_frac of a run: of a
 * timeline where it is CSV, else of a Megatron-LM log. Errors: GALV_INPUT, also for a
 * timeline of more stages or micro-batches than the run's plan has. */
galv_status galv_measured_read(galv_measured_run *run, const galv_cli *cli,
                               const char *path, galv_err *err);

/* Warns of the first run that took half as long again as predicted, or so much less. */
galv_status galv_measured_warn(const galv_cli *cli, const galv_calibration *calibration,
                               galv_err *err);

/* Simulates the plan, reads the measured timeline, prints both: the iteration, and the
 * mean seconds of a rank by stream and kind of operation (table, or JSON under --json);
 * of a Megatron-LM log (any file but .csv) the iteration alone.
 * `error_frac`: predicted / measured - 1 of the iteration. */
galv_status galv_measured_compare(double *error_frac, const galv_cli *cli,
                                  const char *plan_path, const char *timeline_path,
                                  galv_err *err);

#endif
