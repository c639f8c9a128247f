/* Every rank of the cluster: from --straggler, --jitter and their like to a report. */
#ifndef GALV_CLI_WHOLE_CLUSTER_H
#define GALV_CLI_WHOLE_CLUSTER_H

#include "cli/job.h"
#include "sim/evaluate.h"

/* Reads what makes ranks and links differ into the options of an evaluation;
 * `differences` is the caller's and is borrowed by them. Errors: GALV_USAGE. */
galv_status galv_whole_cluster_read(galv_evaluate_options *options,
                                    galv_differences *differences, const galv_cli *cli,
                                    const galv_setup *setup, galv_err *err);

/* Prints below a result what it tells of the ranks; nothing when it is folded. */
void galv_whole_cluster_print(const galv_cli *cli, const galv_result *result,
                              const galv_evaluate_options *options);

/* Writes "all_ranks": {...} into an open document; nothing when it is folded. */
void galv_whole_cluster_to_json(const galv_result *result,
                                const galv_evaluate_options *options,
                                galv_json_writer *writer);

#endif
