/* What is said about a job, a plan and its result: for people, as JSON, as files. */
#ifndef GALV_CLI_REPORT_H
#define GALV_CLI_REPORT_H

#include "cli/job.h"
#include "cli/output.h"
#include "sim/evaluate.h"

/* Two lines: what is trained on what, and how. */
void galv_report_job(const galv_cli *cli, const galv_setup *setup);

/* What --set changed, if anything: a cluster that was changed is called as it was. */
void galv_report_changes(const galv_cli *cli);

/* The plan in two lines, then time, throughput, memory, where time goes, where the
 * numbers come from. `title` is "Best plan", "Plan"... */
void galv_report_result(const galv_cli *cli, const galv_setup *setup,
                        const galv_costmodel *model, const galv_plan *plan,
                        const galv_result *result, const char *title);

/* Prints parts with " · " between them, broken between parts at 79 columns. NULL ends
 * the list; "" is left out. */
void galv_report_parts(const galv_cli *cli, const char *first, ...);

/* One row for each stage: layers, busy time, memory by use. */
void galv_report_stages(const galv_cli *cli, const galv_result *result);

/* The same as a line "  label   compute 80.9  tp 9.8  %", broken where it must be. */
void galv_report_share_line(const galv_cli *cli, const char *label,
                            const double *values, const char *const *names, size_t n,
                            double total);

/* The result as a document: head, config, the members of the result, the plan. */
galv_status galv_result_document(galv_text *out, const galv_cli *cli,
                                 const galv_setup *setup, const galv_plan *plan,
                                 const galv_result *result, galv_err *err);

/* Files. A file that cannot be written is GALV_IO. */
galv_status galv_plan_write(const char *path, const galv_job *job,
                            const galv_plan *plan, galv_err *err);
galv_status galv_result_write(const char *path, const galv_cli *cli,
                              const galv_setup *setup, const galv_plan *plan,
                              const galv_result *result, galv_err *err);

/* A timeline by the extension of the name: picture, .csv, or .json (Chrome trace). */
galv_status galv_timeline_write(const char *path, const galv_timeline *timeline,
                                galv_err *err);

/* The line at the foot of every picture. */
#define GALV_FOOTER "galvatron-sim " GALV_VERSION

#endif
