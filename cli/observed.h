/* plan PLAN.json --observed FILE: keep the plan, or change it. */
#ifndef GALV_CLI_OBSERVED_H
#define GALV_CLI_OBSERVED_H

#include "cli/parse.h"

/* The whole command; returns the exit status. */
int galv_plan_observed(const galv_cli *cli);

#endif
