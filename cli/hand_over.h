/* Commands that galvatron-exec does. */
#ifndef GALV_CLI_HAND_OVER_H
#define GALV_CLI_HAND_OVER_H

#include "cli/parse.h"

/* Becomes galvatron-exec with the command and what was typed after it, untouched. Comes
 * back only when there is none to be run: then it has said so and returns 6. */
int galv_hand_over(const galv_cli *cli);

#endif
