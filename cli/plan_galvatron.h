/* plan --cost-model galvatron. */
#ifndef GALV_CLI_PLAN_GALVATRON_H
#define GALV_CLI_PLAN_GALVATRON_H

#include "cli/parse.h"

/* The whole command; returns its exit status. */
int galv_plan_galvatron(const galv_cli *cli);

#endif
