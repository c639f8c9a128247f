/* simulate --stage-times: schedules side by side under measured stage times. */
#ifndef GALV_CLI_STAGE_TIMES_H
#define GALV_CLI_STAGE_TIMES_H

#include "cli/parse.h"

/* The whole of `simulate --stage-times FILE.csv`; the exit status. */
int galv_cmd_stage_times(const galv_cli *cli);

#endif
