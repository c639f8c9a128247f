/* The critical path, for explain. */
#ifndef GALV_CLI_PATH_REPORT_H
#define GALV_CLI_PATH_REPORT_H

#include "cli/output.h"
#include "sim/critical_path.h"

/* Prints the shares of the path, and a table of why each stage idles where there are
 * several. */
void galv_path_report_print(const galv_cli *cli, const galv_critical_path *path);

#endif
