/* The effective configuration: for --print-config and inside every document. */
#ifndef GALV_CLI_CONFIG_H
#define GALV_CLI_CONFIG_H

#include "cli/job.h"

/* Prints every value with its origin (or, under --json, a document of them). */
galv_status galv_config_print(const galv_cli *cli, const galv_setup *setup,
                              galv_err *err);

/* Writes "config": {...} and "seed" into an open document: model, cluster, workload,
 * what the search was confined to, the profiles. Nothing that does not change the
 * answer (threads, colour) is in there. */
void galv_config_to_json(const galv_cli *cli, const galv_setup *setup,
                         galv_json_writer *writer);

#endif
