/* The critical path, for explain. */
#ifndef GALV_CLI_PATH_REPORT_H
#define GALV_CLI_PATH_REPORT_H

#include "cli/output.h"
#include "sim/critical_path.h"
#include "sim/evaluate.h"

/* Prints the shares of the path, and a table of why each stage idles where there are
 * several; or `why_not`, if there is no path. */
void galv_path_report_print(const galv_cli *cli, const galv_critical_path *path,
                            const char *why_not);

/* The critical path of a result that `options` gave, of every rank where every rank was
 * simulated. One that is too large to be made is left out, with the reason in *why_not
 * (of the arena; NULL = it is there). Errors: those of sim/critical_path.h but that. */
galv_status galv_path_report_find(galv_critical_path *path, const char **why_not,
                                  const galv_costmodel *model, const galv_plan *plan,
                                  const galv_result *result,
                                  const galv_evaluate_options *options,
                                  galv_arena *arena, galv_err *err);

#endif
