/* plan --front: time against memory. */
#ifndef GALV_CLI_FRONT_H
#define GALV_CLI_FRONT_H

#include "cli/parse.h"

/* The whole command; returns the exit status. */
int galv_plan_front(const galv_cli *cli);

#endif
