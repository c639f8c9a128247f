/* plan --global-batch with a list: reading it, and what is said of each batch. */
#ifndef GALV_CLI_BATCHES_H
#define GALV_CLI_BATCHES_H

#include "base/json.h"
#include "cli/parse.h"
#include "search/batches.h"

#define GALV_MOST_BATCHES 64

/* The values of --global-batch; *n is 0 when there is no list of several. */
galv_status galv_batches_read(int64_t *batches, size_t *n, const galv_cli *cli,
                              galv_err *err);

/* Refuses a list where one value is wanted. */
galv_status galv_batches_refuse(const galv_cli *cli, galv_err *err);

/* The batch that a plan found is of, with its job. */
const galv_batch_point *galv_batches_of_plan(const galv_batches_result *result,
                                             const galv_plan *plan);

/* A row for each batch: its best plan's rate, and the rate that none of it exceeds. */
void galv_batches_print(const galv_cli *cli, const galv_batches_result *result);
void galv_batches_to_json(const galv_batches_result *result, galv_json_writer *writer);

#endif
