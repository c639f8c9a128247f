/* The options under "How": --tp, --pp, --zero and so on. */
#ifndef GALV_CLI_CHOICES_H
#define GALV_CLI_CHOICES_H

#include "cli/job.h"
#include "search/space.h"

/* --tp, --pp ... as lists to search within. */
galv_status galv_space_read(galv_space *space, const galv_cli *cli, galv_err *err);

/* Prints, where plans of one strategy for all layers alone were looked at, that there
 * are others: plan looks at them unasked, so its answer for the same job can be faster.
 */
void galv_space_say(const galv_space *space, const galv_cli *cli);

/* --tp, --pp ... as one plan: degrees not given are 1, dp takes what is left. */
galv_status galv_plan_by_hand(galv_plan **plan, const galv_setup *setup,
                              const galv_cli *cli, galv_err *err);

#endif
