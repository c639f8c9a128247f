/* plan --phases: a plan for each phase of a run. */
#ifndef GALV_CLI_PHASES_H
#define GALV_CLI_PHASES_H

#include "cli/parse.h"

/* The whole command; returns the exit status. */
int galv_plan_phases(const galv_cli *cli);

#endif
